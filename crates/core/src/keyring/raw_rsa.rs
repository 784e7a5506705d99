//! A wrapping key that is an RSA key pair, or half of one (AWS Encryption SDK specification,
//! `framework/raw-rsa-keyring.md`).
//!
//! ```text
//! provider id    the namespace
//! provider info  the name
//! ciphertext     RSA(data key), as long as the modulus; the encryption context is not bound
//! ```

use super::{BoxFuture, DataKey, EncryptedDataKey, Generated, Keyring, KeyringError, Unwrapped};
use crate::context::EncryptionContext;
use crate::crypto::random::Entropy;
use crate::crypto::rsa::{RsaKeys, RsaPadding};
use std::sync::Arc;

/// Wraps data keys with an RSA public key and unwraps them with the private one. With a public
/// key alone it only wraps, with a private key alone it only unwraps: the public key is not
/// derived from the private one, as the specification demands.
///
/// RSA does not bind the encryption context; the message that carries the wrapped key does.
///
/// With [`RsaPadding::Pkcs1`] only data keys of 16, 24 and 32 bytes are wrapped and unwrapped.
/// Whatever else a padding holds fails as a wrong padding does, so that as little as possible can
/// be learnt from which ciphertexts fail.
pub struct RawRsaKeyring {
    namespace: String,
    name: String,
    padding: RsaPadding,
    keys: RsaKeys,
    entropy: Arc<dyn Entropy>,
}

/// Why a raw RSA keyring could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RawRsaError {
    /// The namespace is empty, too long, or the one that KMS keys have.
    #[error("the key namespace must have 1 to 65,535 bytes and may not be 'aws-kms'")]
    Namespace,
    /// The key name is too long.
    #[error("the key name must have at most 65,535 bytes")]
    Name,
    /// Neither a public nor a private key.
    #[error("a raw RSA keyring needs a public key, a private key, or both")]
    NoKey,
}

impl RawRsaKeyring {
    /// A keyring for `keys`, known to readers as `namespace` and `name`. The padding is not
    /// recorded in what is wrapped: both sides must name the same.
    ///
    /// # Errors
    /// [`RawRsaError`].
    pub fn new(
        namespace: impl Into<String>,
        name: impl Into<String>,
        padding: RsaPadding,
        keys: RsaKeys,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, RawRsaError> {
        let (namespace, name) = (namespace.into(), name.into());
        if !super::is_raw_namespace(&namespace) {
            return Err(RawRsaError::Namespace);
        }
        if name.len() > 65_535 {
            return Err(RawRsaError::Name);
        }
        if keys.public.is_none() && keys.private.is_none() {
            return Err(RawRsaError::NoKey);
        }
        Ok(Self {
            namespace,
            name,
            padding,
            keys,
            entropy,
        })
    }

    fn label(&self) -> String {
        format!("raw-rsa key {}/{}", self.namespace, self.name)
    }

    fn takes(&self, data_key_bytes: usize) -> bool {
        self.padding != RsaPadding::Pkcs1 || matches!(data_key_bytes, 16 | 24 | 32)
    }

    fn wrap_now(&self, key: &DataKey) -> Result<EncryptedDataKey, KeyringError> {
        let public = (self.keys.public.as_ref()).ok_or_else(|| KeyringError::Unsupported {
            key: self.label(),
            reason: "it has no public key to encrypt with".to_owned(),
        })?;
        let too_long = || KeyringError::Limit {
            key: self.label(),
            reason: format!(
                "{} bytes cannot be wrapped by {} bits with {}",
                key.len(),
                public.bits(),
                self.padding
            ),
        };
        if !self.takes(key.len()) {
            return Err(too_long());
        }
        let ciphertext = public.encrypt(self.padding, key.expose());
        Ok(EncryptedDataKey {
            provider_id: self.namespace.clone(),
            provider_info: self.name.as_bytes().to_vec(),
            ciphertext: ciphertext.map_err(|_| too_long())?,
        })
    }

    fn unwrap_now(&self, encrypted: &EncryptedDataKey) -> Result<Unwrapped, KeyringError> {
        if encrypted.provider_id != self.namespace
            || encrypted.provider_info != self.name.as_bytes()
        {
            return Ok(Unwrapped::NotMine);
        }
        let private = (self.keys.private.as_ref()).ok_or_else(|| KeyringError::Unsupported {
            key: self.label(),
            reason: "it has no private key to decrypt with".to_owned(),
        })?;
        match private.decrypt(self.padding, &encrypted.ciphertext) {
            Ok(key) if self.takes(key.len()) => Ok(Unwrapped::Key(DataKey::new(key))),
            _ => Err(KeyringError::Unauthentic { key: self.label() }),
        }
    }
}

impl std::fmt::Debug for RawRsaKeyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RawRsaKeyring({}, {})", self.label(), self.padding)
    }
}

impl Keyring for RawRsaKeyring {
    fn generate<'a>(
        &'a self,
        key_bytes: usize,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
        Box::pin(async move {
            let key = super::fresh_data_key(key_bytes, self.entropy.as_ref(), || self.label())?;
            let encrypted = vec![self.wrap_now(&key)?];
            Ok(Generated { key, encrypted })
        })
    }

    fn wrap<'a>(
        &'a self,
        key: &'a DataKey,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>> {
        Box::pin(async move { Ok(vec![self.wrap_now(key)?]) })
    }

    fn unwrap<'a>(
        &'a self,
        encrypted: &'a EncryptedDataKey,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>> {
        Box::pin(async move { self.unwrap_now(encrypted) })
    }
}
