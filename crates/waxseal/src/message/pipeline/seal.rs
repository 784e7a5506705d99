//! Sealing by several threads.

use super::order::{Order, Turn};
use super::{Delivery, Sink, Source, Supply};
use crate::message::Totals;
use crate::message::buffer::Chunk;
use crate::message::error::SealError;
use crate::message::frame::{self, FrameCipher};
use crate::message::intake::Intake;
use crate::message::sealer::{Sealer, Signature};
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Writes the whole message as [`seal_stream`](crate::message::seal_stream) does, byte for byte,
/// with several threads where it is long enough. `workers` is how many; `None` is the number of
/// cores.
///
/// ```
/// # use std::sync::Arc;
/// # use waxseal::{RawAesKeyring, SecretBytes, SystemEntropy};
/// use waxseal::message::{SealOptions, Sealer, Sink, Source, seal_parallel};
///
/// # let key = SecretBytes::new(vec![7; 32]);
/// # let keyring = RawAesKeyring::new("ns", "name", &key, Arc::new(SystemEntropy))?;
/// # let (plaintext, message) = (tempfile::tempfile()?, tempfile::tempfile()?);
/// let sealer = Sealer::new(&keyring, SealOptions::default(), &SystemEntropy);
/// let (source, sink) = (Source::Positioned(&plaintext), Sink::Withheld(&message));
/// let totals = seal_parallel(pollster::block_on(sealer)?, source, sink, None)?;
/// message.set_len(totals.message_bytes)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`SealError`]: the first in the order of the message. What was written until then is no
/// message.
pub fn seal_parallel(
    sealer: Sealer,
    plaintext: Source<'_>,
    mut message: Sink<'_>,
    workers: Option<NonZeroUsize>,
) -> Result<Totals, SealError> {
    let frame_bytes = sealer.frame_bytes().get();
    let (header, cipher, signature) = sealer.into_parts();
    super::write_first(&mut message, header.bytes()).map_err(SealError::Write)?;
    let line = Line {
        order: Order::new(),
        piece: super::piece_of(
            frame_bytes as usize,
            frame::OVERHEAD_BYTES,
            signature.is_some(),
        ),
        cipher,
        body_at: header.bytes().len() as u64,
        is_signed: signature.is_some(),
        signature: Mutex::new(signature),
        text: Supply::new(plaintext),
        message: Delivery::new(message),
    };
    let count = || super::workers(workers, line.piece);
    let make = |long| match long {
        true => Intake::full_size(line.piece),
        false => Intake::new(line.piece),
    };
    super::run(count, &line.order, make, |intake| line.step(intake));
    match line.order.take_end() {
        Some(Ok((at, intake))) => line.finish(at, intake),
        Some(Err(error)) => Err(error),
        None => Err(SealError::Crypto),
    }
}

/// What the workers share.
struct Line<'i, 'o> {
    /// The message ends with the piece after which there is nothing to read.
    order: Order<Result<(u64, Intake), SealError>>,
    piece: Chunk,
    cipher: FrameCipher,
    /// Where the frames begin in the message.
    body_at: u64,
    is_signed: bool,
    signature: Mutex<Option<Signature>>,
    /// A piece leaves the byte after it to the next one.
    text: Supply<'i, Option<u8>>,
    message: Delivery<'o>,
}

impl Line<'_, '_> {
    /// Goes through one piece; whether there may be more.
    fn step(&self, intake: &mut Intake) -> bool {
        let place = |at| at * self.piece.text_bytes() as u64;
        let taken = self.text.take(&self.order, place, |reader, carry| {
            intake.begin(carry.take());
            let more = intake.fill(reader)?;
            *carry = intake.take_carry();
            Ok(more)
        });
        let Some((at, filled)) = taken else {
            return false;
        };
        let passed = match filled {
            Err(error) => Err(SealError::Read(error)),
            Ok(true) => self.pass(at, intake.full()),
            Ok(false) => {
                let last = std::mem::replace(intake, Intake::new(self.piece));
                self.order.end(at, Ok((at, last)));
                return false;
            }
        };
        match passed {
            Ok(passed) => passed.is_some(),
            Err(error) => {
                self.order.end(at, Err(error));
                false
            }
        }
    }

    /// A piece of regular frames. `None`: an earlier piece ended the message.
    fn pass(&self, at: u64, frames: &mut [u8]) -> Result<Option<()>, SealError> {
        self.seal(self.first_number(at), frames)?;
        if self.is_signed {
            let hash = || {
                self.hash(frames);
                Ok::<_, SealError>(())
            };
            if self.order.in_turn(Turn::Hash, at, hash)?.is_none() {
                return Ok(None);
            }
        }
        let place = self.place(at);
        let written = self
            .message
            .write(&self.order, at, place, |out| out.write_all(frames));
        written.map_err(SealError::Write)
    }

    /// The piece with the final frame, and the footer. All before it are written, and nobody else
    /// writes.
    fn finish(&self, at: u64, mut intake: Intake) -> Result<Totals, SealError> {
        let text_bytes = at * self.piece.text_bytes() as u64 + intake.filled() as u64;
        let (regular_bytes, frames) = intake.last();
        let (regular, last) = frames.split_at_mut(regular_bytes);
        self.seal(self.first_number(at), regular)?;
        let number = self.first_number(at) + (regular_bytes / self.piece.slot_bytes) as u64;
        let number = u32::try_from(number).map_err(|_| self.too_many())?;
        let sealed = self.cipher.seal_final(number, last);
        sealed.map_err(|_| SealError::Crypto)?;
        self.hash(frames);
        let footer = self.signature().take().map(Signature::footer).transpose()?;
        let footer = footer.unwrap_or_default();
        let written = self.message.write_last(self.place(at), |out| {
            out.write_all(frames)?;
            out.write_all(&footer)
        });
        written.map_err(SealError::Write)?;
        Ok(Totals {
            plaintext_bytes: text_bytes,
            message_bytes: self.place(at) + (frames.len() + footer.len()) as u64,
            frames: number,
        })
    }

    /// The sequence number of the first frame of a piece.
    fn first_number(&self, at: u64) -> u64 {
        at * self.piece.slots as u64 + 1
    }

    /// Where a piece begins in the message.
    fn place(&self, at: u64) -> u64 {
        self.body_at + at * self.piece.bytes() as u64
    }

    /// Seals regular frames.
    fn seal(&self, first: u64, frames: &mut [u8]) -> Result<(), SealError> {
        let slots = frames.chunks_exact_mut(self.piece.slot_bytes);
        for (number, slot) in (first..).zip(slots) {
            // The highest number is a final frame's alone.
            let number = u32::try_from(number).ok();
            let number = number.filter(|number| *number != frame::FINAL_MARK);
            let number = number.ok_or_else(|| self.too_many())?;
            let sealed = self.cipher.seal(number, slot);
            sealed.map_err(|_| SealError::Crypto)?;
        }
        Ok(())
    }

    fn too_many(&self) -> SealError {
        SealError::TooManyFrames {
            frame_bytes: u32::try_from(self.piece.frame_bytes).unwrap_or(u32::MAX),
        }
    }

    fn hash(&self, frames: &[u8]) {
        if let Some(signature) = self.signature().as_mut() {
            signature.hasher.update(frames);
        }
    }

    fn signature(&self) -> MutexGuard<'_, Option<Signature>> {
        self.signature
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
