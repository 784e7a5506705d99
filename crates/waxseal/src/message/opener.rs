//! Opening without I/O: part after part of the body, then the footer.

use super::error::OpenError;
use super::frame::{self, FrameCipher};
use std::num::NonZeroU32;
use std::ops::Range;
use waxseal_core::crypto::ecdsa::{Hasher, VerifyingKey};

/// The longest signature that could verify: DER of P-384 with two full-length integers.
pub(crate) const SIGNATURE_BYTES_MAX: usize = 104;
/// The longest footer that could verify.
pub(crate) const FOOTER_BYTES_MAX: usize = 2 + SIGNATURE_BYTES_MAX;

/// The frames of a message whose header is authentic: pure functions of bytes and of the number
/// that belongs to them, which threads may share.
#[derive(Debug)]
pub(crate) struct Frames {
    cipher: FrameCipher,
    frame_bytes: Option<NonZeroU32>,
    frame_bytes_max: usize,
}

/// What the bytes at some place begin with, going by what they say themselves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// At least so many bytes are needed.
    NeedMore(usize),
    /// A regular frame of so many bytes.
    Regular(usize),
    /// The final frame, or a whole body without frames, of so many bytes.
    Last(usize),
}

/// The key that a signature is verified with, and the hash of what came before it.
pub(crate) type Signature = (VerifyingKey, Hasher);

/// The body and footer of a message whose header is authentic.
#[derive(Debug)]
pub(crate) struct Body {
    frames: Frames,
    /// Sequence number of the next frame.
    sequence: u32,
    signature: Option<Signature>,
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

impl Frames {
    /// The frame length; none for a body without frames.
    pub(crate) fn frame_bytes(&self) -> Option<NonZeroU32> {
        self.frame_bytes
    }

    /// How long the frame at the front of `bytes` is, when it has this number.
    ///
    /// # Errors
    /// [`OpenError`]: out of sequence, over a limit, malformed.
    pub(crate) fn measure(&self, sequence: u32, bytes: &[u8]) -> Result<Shape, OpenError> {
        let Some(frame_bytes) = self.frame_bytes else {
            return self.measure_unframed(bytes);
        };
        match number(bytes, 0) {
            None => Ok(Shape::NeedMore(4)),
            Some(frame::FINAL_MARK) => self.measure_final(frame_bytes, sequence, bytes),
            Some(found) => {
                check_sequence(sequence, found)?;
                let text_bytes = self.check_length(u64::from(frame_bytes.get()))?;
                let slot_bytes = text_bytes + frame::OVERHEAD_BYTES;
                Ok(whole(bytes, slot_bytes, Shape::Regular))
            }
        }
    }

    /// Opens the frame at the front of `bytes` in place; `shape` is what it measured. Returns
    /// where its plaintext stands.
    ///
    /// # Errors
    /// The frame does not verify, or is not all there.
    pub(crate) fn open(
        &self,
        sequence: u32,
        shape: Shape,
        bytes: &mut [u8],
    ) -> Result<Range<usize>, OpenError> {
        let (Shape::Regular(slot_bytes) | Shape::Last(slot_bytes)) = shape else {
            return Err(OpenError::Truncated);
        };
        let slot = bytes.get_mut(..slot_bytes).ok_or(OpenError::Truncated)?;
        let opened = match (shape, self.frame_bytes) {
            (_, None) => self.cipher.open_unframed(slot),
            (Shape::Last(_), Some(_)) => self.cipher.open_final(sequence, slot),
            (_, Some(_)) => self.cipher.open(sequence, slot),
        };
        Ok(opened?)
    }

    fn measure_final(
        &self,
        frame_bytes: NonZeroU32,
        sequence: u32,
        bytes: &[u8],
    ) -> Result<Shape, OpenError> {
        let (Some(found), Some(stated)) =
            (number(bytes, 4), number(bytes, frame::FINAL_HEAD_BYTES - 4))
        else {
            return Ok(Shape::NeedMore(frame::FINAL_HEAD_BYTES));
        };
        check_sequence(sequence, found)?;
        if stated > frame_bytes.get() {
            return Err(OpenError::FinalFrameBytes {
                bytes: stated,
                frame_bytes: frame_bytes.get(),
            });
        }
        let text_bytes = self.check_length(u64::from(stated))?;
        let slot_bytes = text_bytes + frame::FINAL_OVERHEAD_BYTES;
        Ok(whole(bytes, slot_bytes, Shape::Last))
    }

    fn measure_unframed(&self, bytes: &[u8]) -> Result<Shape, OpenError> {
        let Some(stated) = bytes.get(frame::UNFRAMED_HEAD_BYTES - 8..frame::UNFRAMED_HEAD_BYTES)
        else {
            return Ok(Shape::NeedMore(frame::UNFRAMED_HEAD_BYTES));
        };
        let stated = stated
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte));
        let text_bytes = self.check_length(stated)?;
        let slot_bytes = text_bytes + frame::UNFRAMED_OVERHEAD_BYTES;
        Ok(whole(bytes, slot_bytes, Shape::Last))
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
}

fn check_sequence(expected: u32, found: u32) -> Result<(), OpenError> {
    if found != expected {
        return Err(OpenError::Sequence { expected, found });
    }
    Ok(())
}

fn whole(bytes: &[u8], slot_bytes: usize, shape: fn(usize) -> Shape) -> Shape {
    match bytes.len() < slot_bytes {
        true => Shape::NeedMore(slot_bytes),
        false => shape(slot_bytes),
    }
}

impl Body {
    /// The cipher, and the longest frame that may be read, for those who read frames out of order.
    pub(crate) fn into_cipher(self) -> (FrameCipher, usize) {
        (self.frames.cipher, self.frames.frame_bytes_max)
    }

    /// `signature` is the key to verify with, and the hash with the header already in it.
    pub(crate) fn new(
        cipher: FrameCipher,
        frame_bytes: Option<NonZeroU32>,
        frame_bytes_max: usize,
        signature: Option<Signature>,
    ) -> Self {
        Self {
            frames: Frames {
                cipher,
                frame_bytes,
                frame_bytes_max,
            },
            sequence: 1,
            signature,
        }
    }

    /// Opens the part at the front of `bytes` in place.
    ///
    /// # Errors
    /// [`OpenError`]: out of sequence, over a limit, malformed, not authentic.
    pub(crate) fn open(&mut self, bytes: &mut [u8]) -> Result<Part, OpenError> {
        let shape = self.frames.measure(self.sequence, bytes)?;
        let slot_bytes = match shape {
            Shape::NeedMore(more) => return Ok(Part::NeedMore(more)),
            Shape::Regular(slot_bytes) | Shape::Last(slot_bytes) => slot_bytes,
        };
        if let Some((_, hasher)) = &mut self.signature {
            hasher.update(&bytes[..slot_bytes]);
        }
        let text = self.frames.open(self.sequence, shape, bytes)?;
        let opened = Opened {
            bytes: slot_bytes,
            text,
        };
        if matches!(shape, Shape::Last(_)) {
            return Ok(Part::Last(opened));
        }
        // No overflow: 2³² − 1 marks a final frame and never comes here.
        self.sequence += 1;
        Ok(Part::Regular(opened))
    }

    /// How many frames were opened, once the last one is: its sequence number.
    pub(crate) fn frames(&self) -> u32 {
        self.sequence
    }

    /// Verifies the footer at the front of `bytes`. A message without a signature has none.
    ///
    /// # Errors
    /// [`OpenError::Unauthentic`].
    pub(crate) fn footer(&mut self, bytes: &[u8]) -> Result<Footer, OpenError> {
        footer(&mut self.signature, bytes)
    }

    /// Whether a frame of so many bytes of text is within the limit.
    pub(crate) fn admits(&self, text_bytes: usize) -> bool {
        text_bytes <= self.frames.frame_bytes_max
    }

    /// The pure part, and what the signature needs.
    pub(crate) fn into_parts(self) -> (Frames, Option<Signature>) {
        (self.frames, self.signature)
    }
}

/// Verifies the footer at the front of `bytes`; without a signature there is none. What the
/// signature needs is used up once the footer is complete.
///
/// ```text
/// length u16 | DER ECDSA signature over header and body
/// ```
///
/// # Errors
/// [`OpenError::Unauthentic`].
pub(crate) fn footer(signature: &mut Option<Signature>, bytes: &[u8]) -> Result<Footer, OpenError> {
    if signature.is_none() {
        return Ok(Footer::Verified(0));
    }
    let Some((stated, rest)) = bytes.split_first_chunk::<2>() else {
        return Ok(Footer::NeedMore(2));
    };
    let stated = usize::from(u16::from_be_bytes(*stated));
    if stated > SIGNATURE_BYTES_MAX {
        return Err(OpenError::Unauthentic);
    }
    let Some(found) = rest.get(..stated) else {
        return Ok(Footer::NeedMore(2 + stated));
    };
    if let Some((key, hasher)) = signature.take() {
        key.verify(hasher, found)?;
    }
    Ok(Footer::Verified(2 + stated))
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
