//! One frame: pure functions of (message key, message id, sequence number, bytes).
//!
//! Bytes (AWS Encryption SDK specification, `data-format/message-body.md`), integers big-endian;
//! a slot holds one of these, and text is sealed and opened where it stands:
//!
//! ```text
//! regular   seq u32 | IV 12 | ciphertext (frame length) | tag 16
//! final     FFFFFFFF | seq u32 | IV 12 | length u32 | ciphertext | tag 16
//! unframed  IV 12 | length u64 | ciphertext | tag 16          (read only; seq is 1)
//! ```
//!
//! Associated data (`data-format/message-body-aad.md`): `message id | kind | seq u32 | length u64`.
//!
//! Nonces: a message key serves one message, written once, and the IV of a frame is its sequence
//! number, which the sealer never repeats. The header tag has IV 0, frames begin at 1. On reading
//! the stored IV is used as it stands (published messages have others than the sequence number);
//! the tag covers it, and the place of the frame is fixed by the associated data.
//!
//! Nothing here does I/O or keeps state: a [`FrameCipher`] may be shared by threads.

use std::ops::Range;
use waxseal_core::crypto::Unauthentic;
use waxseal_core::crypto::aead::{AesGcm, NONCE_BYTES, TAG_BYTES};

/// What stands before the ciphertext of a regular frame, in bytes.
pub(crate) const HEAD_BYTES: usize = 4 + NONCE_BYTES;
/// What a regular frame has besides its ciphertext, in bytes.
pub(crate) const OVERHEAD_BYTES: usize = HEAD_BYTES + TAG_BYTES;
/// What stands before the ciphertext of the final frame, in bytes.
pub(crate) const FINAL_HEAD_BYTES: usize = 4 + 4 + NONCE_BYTES + 4;
/// What the final frame has besides its ciphertext, in bytes.
pub(crate) const FINAL_OVERHEAD_BYTES: usize = FINAL_HEAD_BYTES + TAG_BYTES;
/// What stands before the ciphertext of an unframed body, in bytes.
pub(crate) const UNFRAMED_HEAD_BYTES: usize = NONCE_BYTES + 8;
/// What an unframed body has besides its ciphertext, in bytes.
pub(crate) const UNFRAMED_OVERHEAD_BYTES: usize = UNFRAMED_HEAD_BYTES + TAG_BYTES;
/// Stands where a regular frame has its sequence number.
pub(crate) const FINAL_MARK: u32 = u32::MAX;
/// The sequence number of an unframed body.
pub(crate) const UNFRAMED_SEQUENCE: u32 = 1;

/// The key of one message, ready to seal and open its frames.
#[derive(Debug)]
pub(crate) struct FrameCipher {
    key: AesGcm,
    message_id: Vec<u8>,
}

impl FrameCipher {
    /// `message_id` has the length that the suite says, at most [`MESSAGE_ID_BYTES_MAX`].
    pub(crate) fn new(key: AesGcm, message_id: &[u8]) -> Self {
        Self {
            key,
            message_id: message_id.to_vec(),
        }
    }

    /// Seals a regular frame. `slot` is the whole frame with the plaintext in its place.
    ///
    /// # Errors
    /// More text than AES-GCM takes.
    pub(crate) fn seal(&self, sequence: u32, slot: &mut [u8]) -> Result<(), Unauthentic> {
        let nonce = nonce(sequence);
        slot[..4].copy_from_slice(&sequence.to_be_bytes());
        slot[4..HEAD_BYTES].copy_from_slice(&nonce);
        self.seal_text(Kind::Regular, sequence, nonce, &mut slot[HEAD_BYTES..])
    }

    /// Seals the final frame. `slot` is the whole frame with the plaintext in its place.
    ///
    /// # Errors
    /// More text than AES-GCM takes or the length field holds.
    pub(crate) fn seal_final(&self, sequence: u32, slot: &mut [u8]) -> Result<(), Unauthentic> {
        let nonce = nonce(sequence);
        let text_bytes =
            u32::try_from(slot.len() - FINAL_OVERHEAD_BYTES).map_err(|_| Unauthentic)?;
        slot[..4].copy_from_slice(&FINAL_MARK.to_be_bytes());
        slot[4..8].copy_from_slice(&sequence.to_be_bytes());
        slot[8..20].copy_from_slice(&nonce);
        slot[20..FINAL_HEAD_BYTES].copy_from_slice(&text_bytes.to_be_bytes());
        self.seal_text(Kind::Final, sequence, nonce, &mut slot[FINAL_HEAD_BYTES..])
    }

    /// Opens a regular frame; returns where in `slot` its plaintext stands.
    ///
    /// # Errors
    /// The tag does not verify; the text is then wiped.
    pub(crate) fn open(&self, sequence: u32, slot: &mut [u8]) -> Result<Range<usize>, Unauthentic> {
        self.open_text(Kind::Regular, sequence, 4, HEAD_BYTES, slot)
    }

    /// Opens the final frame; returns where in `slot` its plaintext stands.
    ///
    /// # Errors
    /// The tag does not verify; the text is then wiped.
    pub(crate) fn open_final(
        &self,
        sequence: u32,
        slot: &mut [u8],
    ) -> Result<Range<usize>, Unauthentic> {
        self.open_text(Kind::Final, sequence, 8, FINAL_HEAD_BYTES, slot)
    }

    /// Opens an unframed body; returns where in `slot` its plaintext stands.
    ///
    /// # Errors
    /// The tag does not verify; the text is then wiped.
    pub(crate) fn open_unframed(&self, slot: &mut [u8]) -> Result<Range<usize>, Unauthentic> {
        self.open_text(
            Kind::Single,
            UNFRAMED_SEQUENCE,
            0,
            UNFRAMED_HEAD_BYTES,
            slot,
        )
    }

    fn seal_text(
        &self,
        kind: Kind,
        sequence: u32,
        nonce: [u8; NONCE_BYTES],
        text_and_tag: &mut [u8],
    ) -> Result<(), Unauthentic> {
        let (text, tag) = text_and_tag.split_at_mut(text_and_tag.len() - TAG_BYTES);
        let aad = Aad::new(&self.message_id, kind, sequence, text.len() as u64);
        tag.copy_from_slice(&self.key.seal(nonce, aad.bytes(), text)?);
        Ok(())
    }

    fn open_text(
        &self,
        kind: Kind,
        sequence: u32,
        nonce_at: usize,
        text_at: usize,
        slot: &mut [u8],
    ) -> Result<Range<usize>, Unauthentic> {
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(&slot[nonce_at..nonce_at + NONCE_BYTES]);
        let sealed = &mut slot[text_at..];
        let aad = Aad::new(
            &self.message_id,
            kind,
            sequence,
            (sealed.len() - TAG_BYTES) as u64,
        );
        let text_bytes = self.key.open(nonce, aad.bytes(), sealed)?;
        Ok(text_at..text_at + text_bytes)
    }
}

/// The sequence number as a 96-bit integer.
fn nonce(sequence: u32) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce[NONCE_BYTES - 4..].copy_from_slice(&sequence.to_be_bytes());
    nonce
}

#[derive(Clone, Copy)]
enum Kind {
    Regular,
    Final,
    Single,
}

impl Kind {
    fn text(self) -> &'static [u8] {
        match self {
            Self::Regular => b"AWSKMSEncryptionClient Frame",
            Self::Final => b"AWSKMSEncryptionClient Final Frame",
            Self::Single => b"AWSKMSEncryptionClient Single Block",
        }
    }
}

/// The longest message id of any header version, in bytes.
pub(crate) const MESSAGE_ID_BYTES_MAX: usize = 32;
const KIND_BYTES_MAX: usize = 35;
const AAD_BYTES_MAX: usize = MESSAGE_ID_BYTES_MAX + KIND_BYTES_MAX + 4 + 8;

/// Associated data on the stack: there is one for each frame.
struct Aad {
    buffer: [u8; AAD_BYTES_MAX],
    len: usize,
}

impl Aad {
    fn new(message_id: &[u8], kind: Kind, sequence: u32, text_bytes: u64) -> Self {
        let mut aad = Self {
            buffer: [0; AAD_BYTES_MAX],
            len: 0,
        };
        for part in [
            message_id,
            kind.text(),
            &sequence.to_be_bytes(),
            &text_bytes.to_be_bytes(),
        ] {
            aad.buffer[aad.len..aad.len + part.len()].copy_from_slice(part);
            aad.len += part.len();
        }
        aad
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

/// Frames may be sealed and opened by several threads at once.
const _: fn() = || {
    fn shared_by_threads<T: Send + Sync>() {}
    shared_by_threads::<FrameCipher>();
};

#[cfg(test)]
mod tests {
    use super::*;

    fn cipher() -> FrameCipher {
        FrameCipher::new(AesGcm::new(&[7; 32]).unwrap(), &[9; 32])
    }

    fn slot(head: usize, text: &[u8]) -> Vec<u8> {
        [vec![0; head], text.to_vec(), vec![0; TAG_BYTES]].concat()
    }

    #[test]
    fn the_longest_kind_fits() {
        for kind in [Kind::Regular, Kind::Final, Kind::Single] {
            assert!(kind.text().len() <= KIND_BYTES_MAX);
            Aad::new(&[0; MESSAGE_ID_BYTES_MAX], kind, u32::MAX, u64::MAX);
        }
    }

    #[test]
    fn a_regular_frame_opens_in_its_place_only() {
        let mut sealed = slot(HEAD_BYTES, b"text");
        cipher().seal(5, &mut sealed).unwrap();
        assert_eq!(sealed[..16], *b"\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\x05");
        for other in [0, 4, 6, u32::MAX] {
            assert!(cipher().open(other, &mut sealed.clone()).is_err());
        }
        assert!(cipher().open_final(5, &mut slot(8, &sealed)).is_err());
        let text = cipher().open(5, &mut sealed).unwrap();
        assert_eq!(sealed[text], *b"text");
    }

    #[test]
    fn a_final_frame_may_be_empty() {
        let mut sealed = slot(FINAL_HEAD_BYTES, b"");
        cipher().seal_final(1, &mut sealed).unwrap();
        assert_eq!(sealed.len(), FINAL_OVERHEAD_BYTES);
        assert_eq!(cipher().open_final(1, &mut sealed).unwrap(), 24..24);
    }
}
