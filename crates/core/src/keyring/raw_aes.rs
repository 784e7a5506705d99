//! A wrapping key that is just bytes (AWS Encryption SDK specification,
//! `framework/raw-aes-keyring.md`).
//!
//! ```text
//! provider id    the namespace
//! provider info  name | tag bits u32 (128) | nonce length u32 (12) | nonce 12
//! ciphertext     AES-GCM(data key) | tag 16      AAD: the serialized encryption context
//! ```
//!
//! A context that was stored in another order than the canonical one is tried in both.

use super::{BoxFuture, DataKey, EncryptedDataKey, Generated, Keyring, KeyringError, Unwrapped};
use crate::context::EncryptionContext;
use crate::crypto::aead::{AesGcm, KeyLength, NONCE_BYTES, TAG_BYTES};
use crate::crypto::random::{self, Entropy};
use crate::secret::SecretBytes;
use std::sync::Arc;

/// Wraps data keys with a local AES key of 128, 192 or 256 bits.
///
/// Each wrapping draws a random 96-bit nonce: keep the number of wrappings under one key below
/// 2³² (NIST SP 800-38D, section 8.3).
pub struct RawAesKeyring {
    namespace: String,
    name: String,
    key: AesGcm,
    entropy: Arc<dyn Entropy>,
}

/// Why a raw AES keyring could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RawAesError {
    /// The wrapping key has no length that AES knows.
    #[error(transparent)]
    KeyLength(#[from] KeyLength),
    /// The namespace is empty, too long, or the one that KMS keys have.
    #[error("the key namespace must have 1 to 65,535 bytes and may not be 'aws-kms'")]
    Namespace,
    /// The key name is too long.
    #[error("the key name must have at most 65,515 bytes")]
    Name,
}

impl RawAesKeyring {
    /// A keyring for the wrapping key `key`, known to readers as `namespace` and `name`.
    ///
    /// # Errors
    /// [`RawAesError`].
    pub fn new(
        namespace: impl Into<String>,
        name: impl Into<String>,
        key: &SecretBytes,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, RawAesError> {
        let (namespace, name) = (namespace.into(), name.into());
        if !super::is_raw_namespace(&namespace) {
            return Err(RawAesError::Namespace);
        }
        if name.len() > 65_535 - PARAMETERS_BYTES {
            return Err(RawAesError::Name);
        }
        Ok(Self {
            namespace,
            name,
            key: AesGcm::new(key.expose())?,
            entropy,
        })
    }

    fn label(&self) -> String {
        format!("raw-aes key {}/{}", self.namespace, self.name)
    }

    fn wrap_now(
        &self,
        key: &DataKey,
        context: &EncryptionContext,
    ) -> Result<EncryptedDataKey, KeyringError> {
        let aad = context.serialize().map_err(|error| KeyringError::Limit {
            key: self.label(),
            reason: error.to_string(),
        })?;
        let failed = |reason: &str| KeyringError::Service {
            key: self.label(),
            reason: reason.to_owned(),
        };
        let nonce: [u8; NONCE_BYTES] =
            random::array(self.entropy.as_ref()).map_err(|error| failed(&error.to_string()))?;
        let mut ciphertext = key.expose().to_vec();
        let tag = self
            .key
            .seal(nonce, &aad, &mut ciphertext)
            .map_err(|_| failed("the data key is too long"))?;
        ciphertext.extend_from_slice(&tag);
        let mut provider_info = self.name.as_bytes().to_vec();
        provider_info.extend_from_slice(&TAG_BITS.to_be_bytes());
        provider_info.extend_from_slice(&(NONCE_BYTES as u32).to_be_bytes());
        provider_info.extend_from_slice(&nonce);
        Ok(EncryptedDataKey {
            provider_id: self.namespace.clone(),
            provider_info,
            ciphertext,
        })
    }

    /// The nonce, when namespace, name and parameters are this keyring's.
    fn nonce_of(&self, encrypted: &EncryptedDataKey) -> Option<[u8; NONCE_BYTES]> {
        if encrypted.provider_id != self.namespace {
            return None;
        }
        let parameters = encrypted.provider_info.strip_prefix(self.name.as_bytes())?;
        let (tag_bits, rest) = parameters.split_first_chunk::<4>()?;
        let (nonce_len, nonce) = rest.split_first_chunk::<4>()?;
        let known =
            *tag_bits == TAG_BITS.to_be_bytes() && *nonce_len == (NONCE_BYTES as u32).to_be_bytes();
        if known { nonce.try_into().ok() } else { None }
    }

    fn unwrap_now(
        &self,
        encrypted: &EncryptedDataKey,
        context: &EncryptionContext,
    ) -> Result<Unwrapped, KeyringError> {
        let Some(nonce) = self.nonce_of(encrypted) else {
            return Ok(Unwrapped::NotMine);
        };
        let unauthentic = || KeyringError::Unauthentic { key: self.label() };
        let canonical = context.serialize().map_err(|_| unauthentic())?;
        // Writers that sorted by locale wrapped under their own order.
        for aad in std::iter::once(canonical.as_slice()).chain(context.stored()) {
            let mut key = SecretBytes::copy_of(&encrypted.ciphertext);
            if let Ok(opened) = self.key.open(nonce, aad, key.expose_mut()) {
                let key = SecretBytes::copy_of(&key.expose()[..opened]);
                return Ok(Unwrapped::Key(DataKey::new(key)));
            }
        }
        Err(unauthentic())
    }
}

impl std::fmt::Debug for RawAesKeyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RawAesKeyring({})", self.label())
    }
}

impl Keyring for RawAesKeyring {
    fn generate<'a>(
        &'a self,
        key_bytes: usize,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
        Box::pin(async move {
            let key = super::fresh_data_key(key_bytes, self.entropy.as_ref(), || self.label())?;
            let encrypted = vec![self.wrap_now(&key, context)?];
            Ok(Generated { key, encrypted })
        })
    }

    fn wrap<'a>(
        &'a self,
        key: &'a DataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>> {
        Box::pin(async move { Ok(vec![self.wrap_now(key, context)?]) })
    }

    fn unwrap<'a>(
        &'a self,
        encrypted: &'a EncryptedDataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>> {
        Box::pin(async move { self.unwrap_now(encrypted, context) })
    }
}

const TAG_BITS: u32 = TAG_BYTES as u32 * 8;
/// Tag bits, nonce length and nonce behind the key's name.
const PARAMETERS_BYTES: usize = 4 + 4 + NONCE_BYTES;
