//! What the ECDH keyrings share: all but the shared secret (AWS Encryption SDK specification,
//! `framework/raw-ecdh-keyring.md`, `framework/key-agreement-schemas.md`).
//!
//! ```text
//! provider id    raw-ecdh | aws-kms-ecdh
//! provider info  01 | length u32 | recipient's public key | length u32 | sender's public key
//! ciphertext     salt 32 | commitment 32 | AES-256-GCM(data key) | tag 16
//!                nonce zero: the key is used once; AAD: fixed info
//!
//! commitment 32 | key 32 = SP 800-108 counter mode, HMAC-SHA-384
//!                          (shared secret, label: fixed info, context: salt)
//! fixed info = "ecdh-key-derivation" 00 curve 00 "HMAC_SHA384" 00
//!              sender's key | recipient's key 00 01 00 | serialized encryption context
//! ```
//!
//! Public keys are compressed points; the curve is `p256`, `p384` or `p521`. Where the
//! specification says otherwise (upper-case name, AAD of context and fixed info, salt as the
//! label), this is what the implementations write.

use super::{DataKey, EncryptedDataKey, KeyringError};
use crate::context::EncryptionContext;
use crate::crypto::Unauthentic;
use crate::crypto::aead::{AesGcm, NONCE_BYTES, TAG_BYTES};
use crate::crypto::ecdh::{EcdhCurve, EcdhPublicKey};
use crate::crypto::kdf;
use crate::crypto::random::{self, Entropy};
use crate::secret::SecretBytes;

/// The provider id of data keys that local ECDH keys wrapped.
pub const PROVIDER_RAW_ECDH: &str = "raw-ecdh";
/// The provider id of data keys that ECDH keys in a KMS wrapped.
pub const PROVIDER_AWS_KMS_ECDH: &str = "aws-kms-ecdh";

/// Whether data keys of this provider id are wrapped as this module says. A keyring of either
/// kind unwraps those of the other: the shared secret is the same.
pub fn is_provider(provider_id: &str) -> bool {
    matches!(provider_id, PROVIDER_RAW_ECDH | PROVIDER_AWS_KMS_ECDH)
}

/// Who agreed on a key, as provider information tells it: not checked to be points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parties<'a> {
    /// The curve that both compressed points have the length of.
    pub curve: EcdhCurve,
    /// The sender's compressed point.
    pub sender: &'a [u8],
    /// The recipient's compressed point.
    pub recipient: &'a [u8],
}

impl<'a> Parties<'a> {
    /// The parties when encrypting. `None` when their curves differ.
    pub fn new(sender: &'a EcdhPublicKey, recipient: &'a EcdhPublicKey) -> Option<Self> {
        (sender.curve() == recipient.curve()).then(|| Self {
            curve: sender.curve(),
            sender: sender.compressed(),
            recipient: recipient.compressed(),
        })
    }

    /// Reads provider information. `None` when it is not of this layout, version and of one curve.
    pub fn parse(provider_info: &'a [u8]) -> Option<Self> {
        let rest = provider_info.strip_prefix(&[VERSION])?;
        let (recipient, rest) = take_point(rest)?;
        let (sender, rest) = take_point(rest)?;
        let mut curves = EcdhCurve::ALL.into_iter();
        let curve = curves.find(|curve| curve.compressed_bytes() == sender.len())?;
        let fits = rest.is_empty() && recipient.len() == sender.len();
        fits.then_some(Self {
            curve,
            sender,
            recipient,
        })
    }

    /// Whether these are the two, in either order: both ends of a static pair open what either
    /// one sealed.
    pub fn are(&self, one: &EcdhPublicKey, other: &EcdhPublicKey) -> bool {
        let (one, other) = (one.compressed(), other.compressed());
        (self.sender == one && self.recipient == other)
            || (self.sender == other && self.recipient == one)
    }

    /// The provider information.
    pub fn provider_info(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        for point in [self.recipient, self.sender] {
            // A compressed point has at most 67 bytes.
            out.extend_from_slice(&(point.len() as u32).to_be_bytes());
            out.extend_from_slice(point);
        }
        out
    }

    fn fixed_info(&self, context: &[u8]) -> Vec<u8> {
        let parties = [self.sender, self.recipient].concat();
        let fields: [&[u8]; 6] = [
            b"ecdh-key-derivation",
            self.curve.name().as_bytes(),
            b"HMAC_SHA384",
            &parties,
            &[VERSION],
            context,
        ];
        fields.join(&0)
    }
}

fn take_point(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = rest.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)
}

/// Wraps `key` under a shared secret. `label` names the wrapping key in errors.
///
/// # Errors
/// [`KeyringError::Limit`] for a context or a key too long, [`KeyringError::Service`] without
/// randomness.
pub fn wrap(
    provider_id: &str,
    parties: &Parties<'_>,
    shared_secret: &SecretBytes,
    key: &DataKey,
    context: &EncryptionContext,
    entropy: &dyn Entropy,
    label: &str,
) -> Result<EncryptedDataKey, KeyringError> {
    let limit = |reason: String| KeyringError::Limit {
        key: label.to_owned(),
        reason,
    };
    let context = context
        .serialize()
        .map_err(|error| limit(error.to_string()))?;
    if key.len() > KEY_BYTES_MAX {
        return Err(limit(format!("a key has at most {KEY_BYTES_MAX} bytes")));
    }
    let salt: [u8; SALT_BYTES] = random::array(entropy).map_err(|error| KeyringError::Service {
        key: label.to_owned(),
        reason: error.to_string(),
    })?;
    let fixed_info = parties.fixed_info(&context);
    let failed = |_| limit("the key derivation refused the context".to_owned());
    let derived = Derived::new(shared_secret, &fixed_info, &salt).map_err(failed)?;
    let mut wrapped = key.expose().to_vec();
    let tag = derived
        .key
        .seal([0; NONCE_BYTES], &fixed_info, &mut wrapped);
    let tag = tag.map_err(failed)?;
    Ok(EncryptedDataKey {
        provider_id: provider_id.to_owned(),
        provider_info: parties.provider_info(),
        ciphertext: [&salt[..], derived.commitment.expose(), &wrapped, &tag].concat(),
    })
}

/// Unwraps `ciphertext` with a shared secret of `parties`. A context that was read in another
/// order than the canonical one is tried in both.
///
/// # Errors
/// [`Unauthentic`] for every failure.
pub fn unwrap(
    parties: &Parties<'_>,
    shared_secret: &SecretBytes,
    ciphertext: &[u8],
    context: &EncryptionContext,
) -> Result<DataKey, Unauthentic> {
    let (salt, rest) = ciphertext
        .split_first_chunk::<SALT_BYTES>()
        .ok_or(Unauthentic)?;
    let (commitment, sealed) = rest
        .split_first_chunk::<COMMITMENT_BYTES>()
        .ok_or(Unauthentic)?;
    let canonical = context.serialize().map_err(|_| Unauthentic)?;
    for form in std::iter::once(canonical.as_slice()).chain(context.stored()) {
        let fixed_info = parties.fixed_info(form);
        let derived = Derived::new(shared_secret, &fixed_info, salt)?;
        if !derived.commitment.ct_eq(commitment) {
            continue;
        }
        let mut key = SecretBytes::copy_of(sealed);
        let len = derived
            .key
            .open([0; NONCE_BYTES], &fixed_info, key.expose_mut())?;
        return Ok(DataKey::new(SecretBytes::copy_of(&key.expose()[..len])));
    }
    Err(Unauthentic)
}

/// What both sides derive from the shared secret.
struct Derived {
    commitment: SecretBytes,
    key: AesGcm,
}

impl Derived {
    fn new(
        shared_secret: &SecretBytes,
        fixed_info: &[u8],
        salt: &[u8; SALT_BYTES],
    ) -> Result<Self, Unauthentic> {
        let mut out = SecretBytes::zeroed(COMMITMENT_BYTES + WRAPPING_KEY_BYTES);
        kdf::sp800_108_sha384(
            shared_secret.expose(),
            fixed_info,
            &[salt],
            out.expose_mut(),
        )
        .map_err(|_| Unauthentic)?;
        let (commitment, key) = out.expose().split_at(COMMITMENT_BYTES);
        Ok(Self {
            commitment: SecretBytes::copy_of(commitment),
            key: AesGcm::new(key).map_err(|_| Unauthentic)?,
        })
    }
}

const VERSION: u8 = 1;
const SALT_BYTES: usize = 32;
const COMMITMENT_BYTES: usize = 32;
const WRAPPING_KEY_BYTES: usize = 32;
/// So that the ciphertext's length fits into a `u16`.
const KEY_BYTES_MAX: usize = 65_535 - SALT_BYTES - COMMITMENT_BYTES - TAG_BYTES;
