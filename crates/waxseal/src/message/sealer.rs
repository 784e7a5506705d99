//! Sealing without I/O: the header at once, then frame after frame, then the footer.

use super::error::SealError;
use super::frame::{self, FrameCipher};
use super::header::{Fields, Header, RESERVED_PREFIX};
use super::{FRAME_BYTES_MAX_DEFAULT, SealOptions, keys};
use crate::materials::{DefaultManager, MaterialsManager, SealingMaterials, SealingRequest};
use std::num::NonZeroU32;
use std::sync::Arc;
use waxseal_core::crypto::ecdsa::{Curve, Hasher, SigningKey};
use waxseal_core::crypto::random::Entropy;
use waxseal_core::keyring::Keyring;

/// A message about to be written: its header is made, its key is ready. It serves one plaintext,
/// so that no nonce can repeat under the key.
#[derive(Debug)]
pub struct Sealer {
    header: Header,
    cipher: FrameCipher,
    frame_bytes: NonZeroU32,
    /// Sequence number of the next frame.
    sequence: u32,
    signature: Option<Signature>,
}

/// What a signature is made with: the key, and the hash of what was written so far.
#[derive(Debug)]
pub(crate) struct Signature {
    curve: Curve,
    key: Arc<SigningKey>,
    pub(crate) hasher: Hasher,
}

impl Signature {
    /// The footer of the message whose header and body were hashed.
    ///
    /// # Errors
    /// The library fails, which no input causes.
    pub(crate) fn footer(self) -> Result<Vec<u8>, SealError> {
        let signature = self.key.sign(self.hasher).map_err(|_| SealError::Crypto)?;
        let mut footer = (self.curve.signature_bytes() as u16).to_be_bytes().to_vec();
        footer.extend_from_slice(&signature);
        Ok(footer)
    }
}

impl Sealer {
    /// Asks `keyring` for a data key and makes the header. `entropy` gives the message id.
    ///
    /// # Errors
    /// [`SealError`]: a context with reserved names or too long, a frame length over the limit,
    /// a suite that the policy does not admit, and whatever the keyring says.
    pub async fn new(
        keyring: &dyn Keyring,
        options: SealOptions,
        entropy: &dyn Entropy,
    ) -> Result<Self, SealError> {
        Self::with(&DefaultManager::new(keyring), options, None, entropy).await
    }

    /// The same with the keys that `manager` supplies. `plaintext_bytes` is the length of the
    /// plaintext where it is known: a caching manager needs it to count.
    ///
    /// # Errors
    /// As [`Sealer::new`].
    pub async fn with(
        manager: &dyn MaterialsManager,
        options: SealOptions,
        plaintext_bytes: Option<u64>,
        entropy: &dyn Entropy,
    ) -> Result<Self, SealError> {
        check(&options)?;
        let materials = manager.for_sealing(SealingRequest {
            suite: options.suite,
            context: &options.context,
            required_names: &options.required_names,
            commitment: options.commitment,
            plaintext_bytes,
        });
        Self::seal_header(materials.await?, &options, entropy)
    }

    fn seal_header(
        materials: SealingMaterials,
        options: &SealOptions,
        entropy: &dyn Entropy,
    ) -> Result<Self, SealError> {
        let suite = options.suite;
        let mut message_id = vec![0; suite.message_id_bytes()];
        entropy.fill(&mut message_id)?;
        let (key, commitment) =
            keys::derive(suite, &materials.data_key, &message_id).map_err(|_| SealError::Crypto)?;
        let (unstored, stored) = materials.context.split(&options.required_names);
        let fields = Fields {
            suite,
            message_id,
            stored_context: stored.serialize()?,
            context: materials.context,
            encrypted_data_keys: materials.encrypted_data_keys,
            frame_bytes: Some(options.frame_bytes),
            commitment,
        };
        let header = Header::seal(fields, &unstored.serialize()?, &key)?;
        let signature = match (suite.signature(), materials.signing_key) {
            (Some(curve), Some(key)) => {
                let mut hasher = Hasher::new(curve);
                hasher.update(header.bytes());
                Some(Signature { curve, key, hasher })
            }
            (None, None) => None,
            _ => return Err(SealError::Crypto),
        };
        Ok(Self {
            cipher: FrameCipher::new(key, header.message_id()),
            header,
            frame_bytes: options.frame_bytes,
            sequence: 1,
            signature,
        })
    }

    /// The header as it will be written.
    pub fn header_bytes(&self) -> &[u8] {
        self.header.bytes()
    }

    /// What the header says.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The exact length of the whole message for a plaintext of this length; `None` when that
    /// would take more than 2³² − 1 frames.
    ///
    /// The final frame is shorter than the others, and empty when these hold all of the plaintext.
    /// The format also permits a final frame that is full, and every reader takes an empty one;
    /// but the SDK for Python before version 4, and with it aws-encryption-cli, refuses a full one.
    pub fn message_bytes(&self, plaintext_bytes: u64) -> Option<u64> {
        let regular_frames = plaintext_bytes / u64::from(self.frame_bytes.get());
        if regular_frames >= u64::from(frame::FINAL_MARK) {
            return None;
        }
        let regular = regular_frames * frame::OVERHEAD_BYTES as u64;
        let around = self.header.bytes().len() + frame::FINAL_OVERHEAD_BYTES + self.footer_bytes();
        // At most 2⁶⁴ for the longest frames: the sum is checked.
        plaintext_bytes
            .checked_add(regular)?
            .checked_add(around as u64)
    }

    pub(crate) fn frame_bytes(&self) -> NonZeroU32 {
        self.frame_bytes
    }

    /// Seals regular frames that stand one after the other, each with its plaintext in its place.
    ///
    /// # Errors
    /// The number of frames is used up: the highest sequence number belongs to the final frame.
    pub(crate) fn seal_frames(&mut self, slots: &mut [u8]) -> Result<(), SealError> {
        let slot_bytes = self.frame_bytes.get() as usize + frame::OVERHEAD_BYTES;
        for slot in slots.chunks_exact_mut(slot_bytes) {
            if self.sequence == frame::FINAL_MARK {
                return Err(SealError::TooManyFrames {
                    frame_bytes: self.frame_bytes.get(),
                });
            }
            self.cipher
                .seal(self.sequence, slot)
                .map_err(|_| SealError::Crypto)?;
            self.sequence += 1;
            self.hash(slot);
        }
        Ok(())
    }

    /// Seals the final frame, whose plaintext stands in its place. Returns the footer (empty
    /// unless the suite signs) and the number of frames.
    ///
    /// # Errors
    /// The library fails, which no input causes.
    pub(crate) fn finish(mut self, slot: &mut [u8]) -> Result<(Vec<u8>, u32), SealError> {
        self.cipher
            .seal_final(self.sequence, slot)
            .map_err(|_| SealError::Crypto)?;
        self.hash(slot);
        let footer = self.signature.map(Signature::footer).transpose()?;
        Ok((footer.unwrap_or_default(), self.sequence))
    }

    /// What seals frames, and what the footer needs, apart: for whoever seals frames in another
    /// order. Each sequence number may be used once; regular frames begin at 1.
    pub(crate) fn into_parts(self) -> (Header, FrameCipher, Option<Signature>) {
        (self.header, self.cipher, self.signature)
    }

    fn hash(&mut self, frame: &[u8]) {
        if let Some(signature) = &mut self.signature {
            signature.hasher.update(frame);
        }
    }

    fn footer_bytes(&self) -> usize {
        self.signature
            .as_ref()
            .map_or(0, |signature| 2 + signature.curve.signature_bytes())
    }
}

fn check(options: &SealOptions) -> Result<(), SealError> {
    let (suite, context) = (options.suite, &options.context);
    if !options.commitment.may_seal(suite) {
        return Err(SealError::Commitment {
            suite: suite.id(),
            policy: options.commitment,
        });
    }
    let reserved = |name: &&str| name.starts_with(RESERVED_PREFIX);
    if let Some(name) = context.iter().map(|(name, _)| name).find(reserved) {
        return Err(SealError::ReservedContext(name.to_owned()));
    }
    let missing = |name: &&String| context.value(name).is_none();
    if let Some(name) = options.required_names.iter().find(missing) {
        return Err(SealError::RequiredName(name.clone()));
    }
    let bytes = options.frame_bytes.get();
    if bytes as usize > FRAME_BYTES_MAX_DEFAULT {
        return Err(SealError::FrameBytes {
            bytes,
            max: FRAME_BYTES_MAX_DEFAULT,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxseal_core::crypto::random::SystemEntropy;
    use waxseal_core::keyring::RawAesKeyring;
    use waxseal_core::secret::SecretBytes;

    fn sealer(frame_bytes: u32) -> Sealer {
        let key = SecretBytes::zeroed(32);
        let keyring = RawAesKeyring::new("ns", "k", &key, Arc::new(SystemEntropy)).unwrap();
        let options = SealOptions {
            frame_bytes: NonZeroU32::new(frame_bytes).unwrap(),
            ..SealOptions::default()
        };
        pollster::block_on(Sealer::new(&keyring, options, &SystemEntropy)).unwrap()
    }

    #[test]
    fn the_last_sequence_number_is_the_final_frames() {
        let mut sealer = sealer(1);
        sealer.sequence = u32::MAX - 1;
        sealer.seal_frames(&mut [0; 33]).unwrap();
        let Err(SealError::TooManyFrames { frame_bytes: 1 }) = sealer.seal_frames(&mut [0; 33])
        else {
            panic!("a regular frame has the number of the final mark");
        };
        let (_, frames) = sealer.finish(&mut [0; 41]).unwrap();
        assert_eq!(frames, u32::MAX);
    }

    #[test]
    fn lengths_end_where_frames_do() {
        let (one, ten) = (sealer(1), sealer(10));
        let most = u64::from(u32::MAX);
        assert!(one.message_bytes(most - 1).is_some());
        assert_eq!(one.message_bytes(most), None);
        assert!(ten.message_bytes(most * 10 - 1).is_some());
        assert_eq!(ten.message_bytes(most * 10), None);
        assert_eq!(ten.message_bytes(u64::MAX), None);
    }
}
