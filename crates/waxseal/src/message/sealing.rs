//! Sealing without I/O: plaintext is pushed in, the message comes out.

use super::buffer::Buffer;
use super::error::SealError;
use super::frame;
use super::header::Header;
use super::sealer::Sealer;
use super::{Totals, buffer};

/// A message being sealed, with no I/O of its own: it fits under any reader and writer, callback
/// or event loop. [`seal_stream`](super::seal_stream), [`SealWriter`](super::SealWriter) and
/// [`SealReader`](super::SealReader) are for those who have `std::io`.
///
/// What is pushed in comes out as whole frames, and what is left of a frame at
/// [`finish`](Self::finish); so each plaintext has one message, however it was cut into pieces.
/// What was pushed out is never needed again.
///
/// Memory: one frame of plaintext, and what the caller leaves in the output. That one grows by
/// the plaintext pushed, so push pieces and take the output away between them.
///
/// ```
/// # use std::sync::Arc;
/// # use waxseal::message::{self, OpenOptions, SealOptions, Sealer, Sealing};
/// # use waxseal::{RawAesKeyring, SecretBytes, SystemEntropy};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # pollster::block_on(async {
/// # let key = SecretBytes::new(vec![7; 32]);
/// # let keyring = RawAesKeyring::new("example", "key-1", &key, Arc::new(SystemEntropy))?;
/// let sealer = Sealer::new(&keyring, SealOptions::default(), &SystemEntropy).await?;
/// let mut message = Vec::new();
/// let mut sealing = Sealing::begin(sealer, &mut message);
/// for piece in ["attack ", "at ", "dawn"] {
///     sealing.push(piece.as_bytes(), &mut message)?;
/// }
/// let totals = sealing.finish(&mut message)?;
/// assert_eq!(totals.plaintext_bytes, 14);
/// # let (plaintext, _) = message::decrypt(&keyring, &message, &OpenOptions::default()).await?;
/// # assert_eq!(plaintext.expose(), b"attack at dawn");
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Debug)]
pub struct Sealing {
    sealer: Sealer,
    /// Plaintext of a frame that is not full.
    pending: Buffer,
    pending_bytes: usize,
    plaintext_bytes: u64,
    message_bytes: u64,
    has_failed: bool,
}

impl Sealing {
    /// Begins a message: appends its header to `message`.
    pub fn begin(sealer: Sealer, message: &mut Vec<u8>) -> Self {
        let header = sealer.header_bytes();
        message.extend_from_slice(header);
        Self {
            message_bytes: header.len() as u64,
            sealer,
            pending: Buffer::new(),
            pending_bytes: 0,
            plaintext_bytes: 0,
            has_failed: false,
        }
    }

    /// What the header says.
    pub fn header(&self) -> &Header {
        self.sealer.header()
    }

    /// Takes the next plaintext, of any length, and appends the frames that it completes to
    /// `message`.
    ///
    /// # Errors
    /// [`SealError::TooManyFrames`]: there are no more sequence numbers. The message is lost; every
    /// later call fails too.
    pub fn push(&mut self, plaintext: &[u8], message: &mut Vec<u8>) -> Result<(), SealError> {
        let frame_bytes = self.frame_bytes();
        let mut rest = plaintext;
        while !rest.is_empty() {
            if self.pending_bytes == 0 && rest.len() >= frame_bytes {
                // A whole frame goes straight to its place.
                let (text, more) = rest.split_at(frame_bytes);
                self.seal(text, message)?;
                rest = more;
                continue;
            }
            let fits = rest.len().min(frame_bytes - self.pending_bytes);
            let (now, later) = rest.split_at(fits);
            self.keep(now);
            rest = later;
            if self.pending_bytes == frame_bytes {
                self.seal_pending(message)?;
            }
        }
        self.plaintext_bytes += plaintext.len() as u64;
        Ok(())
    }

    /// Ends the message: appends the final frame, and the footer where the suite signs.
    ///
    /// # Errors
    /// An earlier [`push`](Self::push) failed, or the cryptographic library does, which no input
    /// causes.
    pub fn finish(mut self, message: &mut Vec<u8>) -> Result<Totals, SealError> {
        self.check()?;
        let at = message.len();
        let text = &self.pending.bytes()[..self.pending_bytes];
        place(text, frame::FINAL_HEAD_BYTES, message);
        let footer = self.sealer.finish(&mut message[at..]);
        let (footer, frames) = footer.inspect_err(|_| wipe(at, message))?;
        message.extend_from_slice(&footer);
        self.message_bytes += (message.len() - at) as u64;
        Ok(Totals {
            plaintext_bytes: self.plaintext_bytes,
            message_bytes: self.message_bytes,
            frames,
        })
    }

    fn frame_bytes(&self) -> usize {
        self.sealer.frame_bytes().get() as usize
    }

    fn keep(&mut self, text: &[u8]) {
        let until = self.pending_bytes + text.len();
        if until > self.pending.len() {
            self.pending.grow(self.frame_bytes());
            self.pending.reserve(until);
        }
        self.pending.bytes_mut()[self.pending_bytes..until].copy_from_slice(text);
        self.pending_bytes = until;
    }

    fn seal_pending(&mut self, message: &mut Vec<u8>) -> Result<(), SealError> {
        let pending = std::mem::replace(&mut self.pending, Buffer::empty());
        let sealed = self.seal(&pending.bytes()[..self.pending_bytes], message);
        self.pending = pending;
        self.pending_bytes = 0;
        sealed
    }

    /// Seals one regular frame onto the end of `message`.
    fn seal(&mut self, text: &[u8], message: &mut Vec<u8>) -> Result<(), SealError> {
        self.check()?;
        let at = message.len();
        place(text, frame::HEAD_BYTES, message);
        let sealed = self.sealer.seal_frames(&mut message[at..]);
        if sealed.is_err() {
            self.has_failed = true;
            wipe(at, message);
        }
        self.message_bytes += (message.len() - at) as u64;
        sealed
    }

    fn check(&self) -> Result<(), SealError> {
        match self.has_failed {
            true => Err(SealError::TooManyFrames {
                frame_bytes: self.sealer.frame_bytes().get(),
            }),
            false => Ok(()),
        }
    }
}

/// Appends an empty slot with `text` in its place. Room is made first: what is moved by a vector
/// that grows is left behind in memory.
fn place(text: &[u8], head_bytes: usize, message: &mut Vec<u8>) {
    let at = message.len();
    let tag_bytes = frame::OVERHEAD_BYTES - frame::HEAD_BYTES;
    message.reserve(head_bytes + text.len() + tag_bytes);
    message.resize(at + head_bytes, 0);
    message.extend_from_slice(text);
    message.resize(message.len() + tag_bytes, 0);
}

/// Takes plaintext that was not sealed out of `message` again.
fn wipe(at: usize, message: &mut Vec<u8>) {
    buffer::wipe(&mut message[at..]);
    message.truncate(at);
}

#[cfg(test)]
mod tests {
    use super::super::{FRAME_BYTES_MAX_DEFAULT, SealOptions};
    use super::*;
    use std::num::NonZeroU32;
    use std::sync::Arc;
    use waxseal_core::crypto::random::SystemEntropy;
    use waxseal_core::keyring::RawAesKeyring;
    use waxseal_core::secret::SecretBytes;

    fn sealing(frame_bytes: usize, message: &mut Vec<u8>) -> Sealing {
        let key = SecretBytes::zeroed(32);
        let keyring = RawAesKeyring::new("ns", "k", &key, Arc::new(SystemEntropy)).unwrap();
        let options = SealOptions {
            frame_bytes: NonZeroU32::new(frame_bytes as u32).unwrap(),
            ..SealOptions::default()
        };
        let sealer = pollster::block_on(Sealer::new(&keyring, options, &SystemEntropy)).unwrap();
        Sealing::begin(sealer, message)
    }

    #[test]
    fn memory_grows_with_what_was_pushed() {
        let mut sealing = sealing(FRAME_BYTES_MAX_DEFAULT, &mut Vec::new());
        sealing.push(&[1; 100_000], &mut Vec::new()).unwrap();
        assert!(sealing.pending.len() <= 400_000);
    }

    #[test]
    fn after_a_failure_nothing_works() {
        let mut message = Vec::new();
        let mut sealing = sealing(4, &mut message);
        sealing.has_failed = true;
        let before = message.clone();
        assert!(sealing.push(b"12345", &mut message).is_err());
        assert!(sealing.finish(&mut message).is_err());
        assert_eq!(message, before);
    }
}
