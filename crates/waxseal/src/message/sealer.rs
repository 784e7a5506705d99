//! Sealing without I/O: the header at once, then frame after frame, then the footer.

use super::error::SealError;
use super::frame::{self, FrameCipher};
use super::header::{Fields, Header, PUBLIC_KEY_NAME, RESERVED_PREFIX};
use super::{FRAME_BYTES_MAX_DEFAULT, SealOptions, keys};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::num::NonZeroU32;
use waxseal_core::context::EncryptionContext;
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
    key: SigningKey,
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
    /// and whatever the keyring says.
    pub async fn new(
        keyring: &dyn Keyring,
        options: SealOptions,
        entropy: &dyn Entropy,
    ) -> Result<Self, SealError> {
        let SealOptions {
            suite,
            frame_bytes,
            mut context,
        } = options;
        check_names(&context)?;
        check_frame_bytes(frame_bytes)?;
        let signing = suite
            .signature()
            .map(|curve| signing_key(curve, &mut context));
        let signing = signing.transpose()?;
        let stored_context = context.serialize()?;
        let mut message_id = vec![0; suite.message_id_bytes()];
        entropy.fill(&mut message_id)?;

        let generated = keyring.generate(suite.key_bytes(), &context).await?;
        if generated.key.len() != suite.key_bytes() {
            return Err(SealError::DataKeyBytes {
                expected: suite.key_bytes(),
                found: generated.key.len(),
            });
        }
        let (key, commitment) =
            keys::derive(suite, &generated.key, &message_id).map_err(|_| SealError::Crypto)?;
        let fields = Fields {
            suite,
            message_id,
            context,
            stored_context,
            encrypted_data_keys: generated.encrypted,
            frame_bytes: Some(frame_bytes),
            commitment,
        };
        let header = Header::seal(fields, &key)?;
        let signature = signing.map(|(curve, key)| {
            let mut hasher = Hasher::new(curve);
            hasher.update(header.bytes());
            Signature { curve, key, hasher }
        });
        Ok(Self {
            cipher: FrameCipher::new(key, header.message_id()),
            header,
            frame_bytes,
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
    pub fn message_bytes(&self, plaintext_bytes: u64) -> Option<u64> {
        let frames = plaintext_bytes
            .div_ceil(u64::from(self.frame_bytes.get()))
            .max(1);
        u32::try_from(frames).ok()?;
        let regular = (frames - 1) * frame::OVERHEAD_BYTES as u64;
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

fn check_names(context: &EncryptionContext) -> Result<(), SealError> {
    match context
        .iter()
        .find(|(name, _)| name.starts_with(RESERVED_PREFIX))
    {
        Some((name, _)) => Err(SealError::ReservedContext(name.to_owned())),
        None => Ok(()),
    }
}

fn check_frame_bytes(frame_bytes: NonZeroU32) -> Result<(), SealError> {
    if frame_bytes.get() as usize > FRAME_BYTES_MAX_DEFAULT {
        return Err(SealError::FrameBytes {
            bytes: frame_bytes.get(),
            max: FRAME_BYTES_MAX_DEFAULT,
        });
    }
    Ok(())
}

/// A key pair for this message; its public half goes into the context.
fn signing_key(
    curve: Curve,
    context: &mut EncryptionContext,
) -> Result<(Curve, SigningKey), SealError> {
    let key = SigningKey::generate(curve).map_err(|_| SealError::Crypto)?;
    let point = key.public_key().map_err(|_| SealError::Crypto)?;
    context.insert(PUBLIC_KEY_NAME, STANDARD.encode(point))?;
    Ok((curve, key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
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
        assert!(one.message_bytes(most).is_some());
        assert_eq!(one.message_bytes(most + 1), None);
        assert!(ten.message_bytes(most * 10).is_some());
        assert_eq!(ten.message_bytes(most * 10 + 1), None);
        assert_eq!(ten.message_bytes(u64::MAX), None);
    }
}
