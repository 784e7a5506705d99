//! A writer to push into: what is written becomes a message.

use super::Totals;
use super::buffer::{CHUNK_BYTES, overstated};
use super::error::SealError;
use super::sealer::Sealer;
use super::sealing::Sealing;
use std::io::{self, Write};

/// Writes a message: plaintext that is written to it leaves sealed.
///
/// **[`finish`](Self::finish) ends the message.** Dropped before, it leaves a truncated message
/// behind, which every reader refuses: whoever fails half-way need not clean up.
///
/// About 1 MiB of sealed frames is gathered before the writer beneath is called. `flush` passes on
/// every frame that is full; what is in a frame that is not full stays, because a frame that was
/// sealed short would be the last.
///
/// Errors of the writer beneath come as they are; nothing of the plaintext was taken then, and
/// nothing is sealed or written twice when the call is repeated. What is wrong with the sealing is
/// an [`io::Error`] with the [`SealError`] in it, and final.
///
/// ```
/// # use std::sync::Arc;
/// # use waxseal::message::{self, OpenOptions, SealOptions, SealWriter, Sealer};
/// # use waxseal::{RawAesKeyring, SecretBytes, SystemEntropy};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # pollster::block_on(async {
/// # let key = SecretBytes::new(vec![7; 32]);
/// # let keyring = RawAesKeyring::new("example", "key-1", &key, Arc::new(SystemEntropy))?;
/// use std::io::Write;
///
/// let sealer = Sealer::new(&keyring, SealOptions::default(), &SystemEntropy).await?;
/// let mut writer = SealWriter::new(sealer, Vec::new());
/// writeln!(writer, "attack at {}", "dawn")?;
/// let (message, totals) = writer.finish()?;
/// assert_eq!(totals.message_bytes, message.len() as u64);
/// # let (plaintext, _) = message::decrypt(&keyring, &message, &OpenOptions::default()).await?;
/// # assert_eq!(plaintext.expose(), b"attack at dawn\n");
/// # Ok(())
/// # })
/// # }
/// ```
pub struct SealWriter<W> {
    inner: W,
    sealing: Sealing,
    sealed: Sealed,
}

/// What is sealed, and written up to `begin`.
struct Sealed {
    bytes: Vec<u8>,
    begin: usize,
}

impl<W: Write> SealWriter<W> {
    /// Begins a message on `message`, to which nothing is written yet.
    pub fn new(sealer: Sealer, message: W) -> Self {
        let mut sealed = Vec::new();
        Self {
            inner: message,
            sealing: Sealing::begin(sealer, &mut sealed),
            sealed: Sealed {
                bytes: sealed,
                begin: 0,
            },
        }
    }

    /// Ends the message, writes what is left of it, and flushes. Gives the writer back.
    ///
    /// # Errors
    /// [`SealError`]; what was written is no message then.
    pub fn finish(mut self) -> Result<(W, Totals), SealError> {
        let totals = self.sealing.finish(&mut self.sealed.bytes)?;
        let written = self.sealed.write_out(&mut self.inner);
        written.map_err(SealError::Write)?;
        self.inner.flush().map_err(SealError::Write)?;
        Ok((self.inner, totals))
    }
}

impl<W: Write> Write for SealWriter<W> {
    fn write(&mut self, plaintext: &[u8]) -> io::Result<usize> {
        if self.sealed.bytes.len() >= CHUNK_BYTES {
            self.sealed.write_out(&mut self.inner)?;
        }
        let taken = plaintext.len().min(CHUNK_BYTES);
        let now = &plaintext[..taken];
        self.sealing.push(now, &mut self.sealed.bytes)?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sealed.write_out(&mut self.inner)?;
        self.inner.flush()
    }
}

impl Sealed {
    /// Writes all of it. What was written before an error is not written again.
    fn write_out(&mut self, out: &mut impl Write) -> io::Result<()> {
        while self.begin < self.bytes.len() {
            let unwritten = &self.bytes[self.begin..];
            match out.write(unwritten) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) if written > unwritten.len() => return Err(overstated()),
                Ok(written) => self.begin += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.bytes.clear();
        self.begin = 0;
        Ok(())
    }
}

impl<W> std::fmt::Debug for SealWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealWriter({:?})", self.sealing)
    }
}
