//! Messages through asynchronous readers and writers (feature `tokio`).
//!
//! The same machines as everywhere, fed by `tokio::io`. What is between two awaits is short: one
//! piece of at most 256 KiB is sealed or opened, which takes some 50 µs a core, or 400 µs with a
//! signature to hash for; frames longer than that take their time in proportion, up to 10 ms for
//! 64 MiB. Nothing is spawned. Whoever has a machine full of large messages gives them to blocking
//! threads and [`seal_stream`](super::seal_stream) instead.

use super::buffer::{Buffer, overstated};
use super::error::{OpenError, SealError};
use super::incoming::{Incoming, Opener};
use super::opening::{HeaderIntake, Opening};
use super::sealer::Sealer;
use super::sealing::Sealing;
use super::{Limits, Release, Totals};
use std::io;
use std::ops::Range;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How much is read, worked on and written at once.
const PIECE_BYTES: usize = 256 * 1024;
/// How much of the beginning is asked for at once.
const HEADER_STEP_BYTES: usize = 4096;

/// Writes the whole message: header, frames, footer. Plaintext is read to its end, and the
/// writer is flushed, not shut down.
///
/// Cancelling (dropping the future) leaves a truncated message behind, which every reader refuses.
///
/// # Errors
/// [`SealError`]; what was written until then is no message.
pub async fn seal_async<R, W>(
    sealer: Sealer,
    plaintext: &mut R,
    message: &mut W,
) -> Result<Totals, SealError>
where
    R: AsyncRead + Unpin + ?Sized,
    W: AsyncWrite + Unpin + ?Sized,
{
    let mut sealed = Vec::new();
    let mut sealing = Sealing::begin(sealer, &mut sealed);
    let mut text = Buffer::new();
    loop {
        let read = read_async(plaintext, text.bytes_mut()).await;
        let read = read.map_err(SealError::Read)?;
        if read == 0 {
            break;
        }
        sealing.push(&text.bytes()[..read], &mut sealed)?;
        if read == text.len() {
            text.grow(PIECE_BYTES);
        }
        message.write_all(&sealed).await.map_err(SealError::Write)?;
        sealed.clear();
    }
    let totals = sealing.finish(&mut sealed)?;
    message.write_all(&sealed).await.map_err(SealError::Write)?;
    message.flush().await.map_err(SealError::Write)?;
    Ok(totals)
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    /// Reads the header, and perhaps some of the body behind it.
    ///
    /// # Errors
    /// [`OpenError`]: whatever is no header, ends early, or passes `limits`.
    pub async fn read_async(mut reader: R, limits: &Limits) -> Result<Self, OpenError> {
        let mut intake = HeaderIntake::new(limits);
        let mut piece = [0; HEADER_STEP_BYTES];
        loop {
            let read = read_async(&mut reader, &mut piece).await;
            let read = read.map_err(OpenError::Read)?;
            if read == 0 {
                return Err(OpenError::Truncated);
            }
            if let Some(incoming) = intake.push(&piece[..read])? {
                return Ok(incoming.with_reader(reader));
            }
        }
    }
}

impl<R: AsyncRead + Unpin> Opener<R> {
    /// Writes the plaintext, and flushes. The final frame leaves only when everything else is
    /// known to be right: the signature, where there is one, and the end of the input.
    ///
    /// Cancelling (dropping the future) leaves an incomplete plaintext behind: only what this
    /// returns tells that it is complete.
    ///
    /// # Errors
    /// [`OpenError`]. What was written until then came from frames that verified, in their order;
    /// after an error it is incomplete.
    pub async fn open_async<W>(
        self,
        plaintext: &mut W,
        release: Release,
    ) -> Result<Totals, OpenError>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        let (mut reader, mut opening) = self.split(release)?;
        let mut gathered = Gathered::new();
        loop {
            while let Some(text) = opening.next_text()? {
                gathered.write(&opening, text, plaintext).await?;
            }
            gathered.write_out(plaintext).await?;
            let read = read_async(&mut reader, opening.room()).await;
            match read.map_err(OpenError::Read)? {
                0 => break,
                read => opening.filled(read),
            }
        }
        let (text, totals) = opening.end()?;
        gathered.write(&opening, text, plaintext).await?;
        gathered.write_out(plaintext).await?;
        plaintext.flush().await.map_err(OpenError::Write)?;
        Ok(totals)
    }
}

/// The texts of short frames, to be written in one call.
struct Gathered {
    buffer: Buffer,
    len: usize,
}

impl Gathered {
    fn new() -> Self {
        Self {
            buffer: Buffer::new(),
            len: 0,
        }
    }

    async fn write<W>(
        &mut self,
        opening: &Opening,
        text: Range<usize>,
        out: &mut W,
    ) -> Result<(), OpenError>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        let text = opening.text(text);
        if self.len + text.len() > PIECE_BYTES {
            self.write_out(out).await?;
        }
        if text.len() > PIECE_BYTES {
            return out.write_all(text).await.map_err(OpenError::Write);
        }
        let until = self.len + text.len();
        if until > self.buffer.len() {
            self.buffer.grow(PIECE_BYTES);
            self.buffer.reserve(until);
        }
        self.buffer.bytes_mut()[self.len..until].copy_from_slice(text);
        self.len = until;
        Ok(())
    }

    async fn write_out<W>(&mut self, out: &mut W) -> Result<(), OpenError>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        let text = &self.buffer.bytes()[..self.len];
        out.write_all(text).await.map_err(OpenError::Write)?;
        self.len = 0;
        Ok(())
    }
}

/// One read of at most a piece.
async fn read_async(
    reader: &mut (impl AsyncRead + Unpin + ?Sized),
    room: &mut [u8],
) -> io::Result<usize> {
    let upto = room.len().min(PIECE_BYTES);
    loop {
        match reader.read(&mut room[..upto]).await {
            Ok(read) if read > upto => return Err(overstated()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
