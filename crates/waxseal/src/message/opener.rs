//! Opening without I/O: part after part of the body, then the footer.

use super::error::OpenError;
use super::frame::{self, FrameCipher};
use std::num::NonZeroU32;
use std::ops::Range;
use waxseal_core::crypto::ecdsa::{Hasher, VerifyingKey};

/// The longest signature that could verify: DER of P-384 with two full-length integers.
pub(crate) const SIGNATURE_BYTES_MAX: usize = 104;

/// The body and footer of a message whose header is authentic.
#[derive(Debug)]
pub(crate) struct Body {
    cipher: FrameCipher,
    frame_bytes: Option<NonZeroU32>,
    frame_bytes_max: usize,
    /// Sequence number of the next frame.
    sequence: u32,
    signature: Option<(VerifyingKey, Hasher)>,
}

/// What stands at the front of the bytes that were given.
#[derive(Debug)]
pub(crate) enum Part {
    /// At least so many bytes are needed.
    NeedMore(usize),
    /// A frame that verified; others follow.
    Regular(Opened),
    /// The final frame, or a whole body without frames, that verified; the footer follows.
    Last(Opened),
}

/// Plaintext that verified, in place.
#[derive(Debug)]
pub(crate) struct Opened {
    /// How many bytes the frame took.
    pub(crate) bytes: usize,
    /// Where among them the plaintext is.
    pub(crate) text: Range<usize>,
}

/// What [`Body::footer`] makes of the bytes after the last frame.
#[derive(Debug)]
pub(crate) enum Footer {
    /// At least so many bytes are needed.
    NeedMore(usize),
    /// The footer took so many bytes, and the signature, if there is one, verified.
    Verified(usize),
}

impl Body {
    /// `signature` is the key to verify with, and the hash with the header already in it.
    pub(crate) fn new(
        cipher: FrameCipher,
        frame_bytes: Option<NonZeroU32>,
        frame_bytes_max: usize,
        signature: Option<(VerifyingKey, Hasher)>,
    ) -> Self {
        Self {
            cipher,
            frame_bytes,
            frame_bytes_max,
            sequence: 1,
            signature,
        }
    }

    /// Opens the part at the front of `bytes` in place.
    ///
    /// # Errors
    /// [`OpenError`]: out of sequence, over a limit, malformed, not authentic.
    pub(crate) fn open(&mut self, bytes: &mut [u8]) -> Result<Part, OpenError> {
        let Some(frame_bytes) = self.frame_bytes else {
            return self.open_unframed(bytes);
        };
        match number(bytes, 0) {
            None => Ok(Part::NeedMore(4)),
            Some(frame::FINAL_MARK) => self.open_final(frame_bytes, bytes),
            Some(sequence) => self.open_regular(sequence, frame_bytes, bytes),
        }
    }

    /// The cipher, and the longest frame that may be read, for those who read frames out of order.
    pub(crate) fn into_cipher(self) -> (FrameCipher, usize) {
        (self.cipher, self.frame_bytes_max)
    }

    /// How many frames were opened, once the last one is: its sequence number.
    pub(crate) fn frames(&self) -> u32 {
        self.sequence
    }

    fn open_regular(
        &mut self,
        sequence: u32,
        frame_bytes: NonZeroU32,
        bytes: &mut [u8],
    ) -> Result<Part, OpenError> {
        self.check_sequence(sequence)?;
        let text_bytes = self.check_length(u64::from(frame_bytes.get()))?;
        let Some(slot) = bytes.get_mut(..text_bytes + frame::OVERHEAD_BYTES) else {
            return Ok(Part::NeedMore(text_bytes + frame::OVERHEAD_BYTES));
        };
        self.hash(slot);
        let text = self.cipher.open(sequence, slot)?;
        // No overflow: 2³² − 1 marks a final frame and never comes here.
        self.sequence += 1;
        Ok(Part::Regular(Opened {
            bytes: slot.len(),
            text,
        }))
    }

    fn open_final(&mut self, frame_bytes: NonZeroU32, bytes: &mut [u8]) -> Result<Part, OpenError> {
        let (Some(sequence), Some(stated)) =
            (number(bytes, 4), number(bytes, frame::FINAL_HEAD_BYTES - 4))
        else {
            return Ok(Part::NeedMore(frame::FINAL_HEAD_BYTES));
        };
        self.check_sequence(sequence)?;
        if stated > frame_bytes.get() {
            return Err(OpenError::FinalFrameBytes {
                bytes: stated,
                frame_bytes: frame_bytes.get(),
            });
        }
        let text_bytes = self.check_length(u64::from(stated))?;
        let Some(slot) = bytes.get_mut(..text_bytes + frame::FINAL_OVERHEAD_BYTES) else {
            return Ok(Part::NeedMore(text_bytes + frame::FINAL_OVERHEAD_BYTES));
        };
        self.hash(slot);
        let text = self.cipher.open_final(sequence, slot)?;
        Ok(Part::Last(Opened {
            bytes: slot.len(),
            text,
        }))
    }

    fn open_unframed(&mut self, bytes: &mut [u8]) -> Result<Part, OpenError> {
        let Some(stated) = bytes.get(frame::UNFRAMED_HEAD_BYTES - 8..frame::UNFRAMED_HEAD_BYTES)
        else {
            return Ok(Part::NeedMore(frame::UNFRAMED_HEAD_BYTES));
        };
        let stated = stated
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte));
        let text_bytes = self.check_length(stated)?;
        let Some(slot) = bytes.get_mut(..text_bytes + frame::UNFRAMED_OVERHEAD_BYTES) else {
            return Ok(Part::NeedMore(text_bytes + frame::UNFRAMED_OVERHEAD_BYTES));
        };
        self.hash(slot);
        let text = self.cipher.open_unframed(slot)?;
        Ok(Part::Last(Opened {
            bytes: slot.len(),
            text,
        }))
    }

    /// Verifies the footer at the front of `bytes`. A message without a signature has none.
    ///
    /// ```text
    /// length u16 | DER ECDSA signature over header and body
    /// ```
    ///
    /// # Errors
    /// [`OpenError::Unauthentic`].
    pub(crate) fn footer(&mut self, bytes: &[u8]) -> Result<Footer, OpenError> {
        if self.signature.is_none() {
            return Ok(Footer::Verified(0));
        }
        let Some((stated, rest)) = bytes.split_first_chunk::<2>() else {
            return Ok(Footer::NeedMore(2));
        };
        let stated = usize::from(u16::from_be_bytes(*stated));
        if stated > SIGNATURE_BYTES_MAX {
            return Err(OpenError::Unauthentic);
        }
        let Some(signature) = rest.get(..stated) else {
            return Ok(Footer::NeedMore(2 + stated));
        };
        if let Some((key, hasher)) = self.signature.take() {
            key.verify(hasher, signature)?;
        }
        Ok(Footer::Verified(2 + stated))
    }

    fn check_sequence(&self, found: u32) -> Result<(), OpenError> {
        if found != self.sequence {
            return Err(OpenError::Sequence {
                expected: self.sequence,
                found,
            });
        }
        Ok(())
    }

    /// A frame that must be held as a whole has a limit.
    fn check_length(&self, text_bytes: u64) -> Result<usize, OpenError> {
        let max = self.frame_bytes_max;
        match usize::try_from(text_bytes) {
            Ok(fits) if fits <= max => Ok(fits),
            _ => Err(OpenError::Limit {
                what: "a frame length in bytes",
                value: text_bytes,
                max: max as u64,
            }),
        }
    }

    fn hash(&mut self, frame: &[u8]) {
        if let Some((_, hasher)) = &mut self.signature {
            hasher.update(frame);
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let found = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxseal_core::crypto::aead::AesGcm;

    fn cipher() -> FrameCipher {
        FrameCipher::new(AesGcm::new(&[7; 32]).unwrap(), &[9; 32])
    }

    fn body(frame_bytes: u32, sequence: u32) -> Body {
        let mut body = Body::new(cipher(), NonZeroU32::new(frame_bytes), 100, None);
        body.sequence = sequence;
        body
    }

    #[test]
    fn the_last_sequence_number_is_the_final_frames() {
        let mut regular = [0; 33];
        cipher().seal(u32::MAX - 1, &mut regular).unwrap();
        let mut last = [0; 41];
        cipher().seal_final(u32::MAX, &mut last).unwrap();
        let mut body = body(1, u32::MAX - 1);
        assert!(matches!(body.open(&mut regular), Ok(Part::Regular(_))));
        assert!(matches!(body.open(&mut last), Ok(Part::Last(_))));
        assert_eq!(body.frames(), u32::MAX);
    }

    #[test]
    fn the_need_is_exact() {
        let mut last = [0; 44];
        cipher().seal_final(1, &mut last).unwrap();
        for have in 0..44 {
            let need = match have {
                0..4 => 4,
                4..24 => 24,
                _ => 44,
            };
            let Ok(Part::NeedMore(found)) = body(4, 1).open(&mut last[..have]) else {
                panic!("{have} bytes were enough");
            };
            assert_eq!(found, need);
        }
    }

    #[test]
    fn frames_over_the_limit_are_refused_by_their_length_alone() {
        assert!(matches!(
            body(100, 1).open(&mut 1u32.to_be_bytes()),
            Ok(Part::NeedMore(132))
        ));
        assert!(matches!(
            body(101, 1).open(&mut 1u32.to_be_bytes()),
            Err(OpenError::Limit {
                value: 101,
                max: 100,
                ..
            })
        ));
        let mut unframed = [0; 20];
        unframed[12..].copy_from_slice(&100u64.to_be_bytes());
        assert!(matches!(
            body(0, 1).open(&mut unframed),
            Ok(Part::NeedMore(136))
        ));
        unframed[12..].copy_from_slice(&101u64.to_be_bytes());
        assert!(matches!(
            body(0, 1).open(&mut unframed),
            Err(OpenError::Limit { value: 101, .. })
        ));
        unframed[12..].fill(0xff);
        assert!(matches!(
            body(0, 1).open(&mut unframed),
            Err(OpenError::Limit {
                value: u64::MAX,
                ..
            })
        ));
    }

    #[test]
    fn a_final_frame_is_no_longer_than_the_others() {
        for (text_bytes, fits) in [(4, true), (5, false)] {
            let mut last = vec![0; 40 + text_bytes];
            cipher().seal_final(1, &mut last).unwrap();
            assert_eq!(body(4, 1).open(&mut last).is_ok(), fits);
        }
    }

    #[test]
    fn frames_come_in_sequence() {
        let mut frame = [0; 34];
        cipher().seal(3, &mut frame).unwrap();
        assert!(matches!(
            body(2, 2).open(&mut frame),
            Err(OpenError::Sequence {
                expected: 2,
                found: 3
            })
        ));
    }
}
