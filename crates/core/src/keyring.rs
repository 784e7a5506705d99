//! The joint: whoever can make, wrap and unwrap a data key is a [`Keyring`].
//!
//! Formats sit above it and know no key service; key services sit below it and know no format.
//! Terms and bytes are those of the AWS Encryption SDK specification
//! (`framework/keyring-interface.md`, `framework/structures.md`).

pub mod branch_key;
mod hierarchical;
pub mod key_agreement;
mod multi;
mod raw_aes;
mod raw_ecdh;
mod raw_rsa;

pub use hierarchical::{
    BranchKeyOf, ChooseBranchKey, Elapsed, HierarchicalError, HierarchicalKeyring,
    PROVIDER_AWS_KMS_HIERARCHY,
};
pub use multi::MultiKeyring;
pub use raw_aes::{RawAesError, RawAesKeyring};
pub use raw_ecdh::{CurveMismatch, RawEcdhKeyring};
pub use raw_rsa::{RawRsaError, RawRsaKeyring};

use crate::context::EncryptionContext;
use crate::crypto::random::Entropy;
use crate::secret::SecretBytes;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// The provider id of keys in a key service that speaks the KMS API.
pub const PROVIDER_AWS_KMS: &str = "aws-kms";

/// What the methods of [`Keyring`] return: object-safe and free of any runtime.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A plaintext data key, or whatever else of 1 to 4,096 bytes is wrapped directly.
#[derive(Debug)]
pub struct DataKey(SecretBytes);

impl DataKey {
    /// Takes the bytes.
    pub fn new(bytes: SecretBytes) -> Self {
        Self(bytes)
    }

    /// The key itself.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Hands the bytes on.
    pub fn into_secret(self) -> SecretBytes {
        self.0
    }
}

/// A data key as one keyring wrapped it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptedDataKey {
    /// Which kind of keyring: `aws-kms`, or the namespace of a raw key.
    pub provider_id: String,
    /// Which key: its ARN, or name and parameters of a raw key.
    pub provider_info: Vec<u8>,
    /// The wrapped key.
    pub ciphertext: Vec<u8>,
}

impl EncryptedDataKey {
    /// A ciphertext blob of a KMS that travels alone, without provider information. Only keyrings
    /// whose blobs name their own key can unwrap it.
    pub fn bare(blob: Vec<u8>) -> Self {
        Self {
            provider_id: PROVIDER_AWS_KMS.to_owned(),
            provider_info: Vec::new(),
            ciphertext: blob,
        }
    }

    /// Whether the ciphertext can be unwrapped without the provider information.
    pub fn is_self_describing(&self) -> bool {
        self.provider_id == PROVIDER_AWS_KMS
    }
}

/// What [`Keyring::generate`] gives.
#[derive(Debug)]
pub struct Generated {
    /// The fresh data key.
    pub key: DataKey,
    /// The same key, wrapped: one entry for each wrapping key, in their order. Never empty.
    pub encrypted: Vec<EncryptedDataKey>,
}

/// What [`Keyring::unwrap`] gives when nothing failed.
#[derive(Debug)]
pub enum Unwrapped {
    /// The key was wrapped by somebody else; try the next.
    NotMine,
    /// The data key.
    Key(DataKey),
}

/// Makes, wraps and unwraps data keys under an encryption context.
pub trait Keyring: Send + Sync {
    /// Makes a data key of `key_bytes` bytes and wraps it.
    fn generate<'a>(
        &'a self,
        key_bytes: usize,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Generated, KeyringError>>;

    /// Wraps a key that is there already: once for each wrapping key behind this keyring.
    fn wrap<'a>(
        &'a self,
        key: &'a DataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>>;

    /// Unwraps. An error means: mine, but it failed.
    fn unwrap<'a>(
        &'a self,
        encrypted: &'a EncryptedDataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>>;
}

macro_rules! pass_on {
    ($($pointer:ty),*) => {$(
        impl<K: Keyring + ?Sized> Keyring for $pointer {
            fn generate<'a>(
                &'a self,
                key_bytes: usize,
                context: &'a EncryptionContext,
            ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
                (**self).generate(key_bytes, context)
            }

            fn wrap<'a>(
                &'a self,
                key: &'a DataKey,
                context: &'a EncryptionContext,
            ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>> {
                (**self).wrap(key, context)
            }

            fn unwrap<'a>(
                &'a self,
                encrypted: &'a EncryptedDataKey,
                context: &'a EncryptionContext,
            ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>> {
                (**self).unwrap(encrypted, context)
            }
        }
    )*};
}

pass_on!(&K, Arc<K>);

/// Why a keyring could not do what was asked. `key` names the wrapping key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// The caller may not use the key, or its credentials are not accepted.
    #[error("access to {key} was denied: {reason}")]
    AccessDenied {
        /// The wrapping key.
        key: String,
        /// As the service says it.
        reason: String,
    },
    /// The key exists and cannot be used now: disabled, pending deletion, wrong usage.
    #[error("{key} cannot be used: {reason}")]
    KeyState {
        /// The wrapping key.
        key: String,
        /// As the service says it.
        reason: String,
    },
    /// There is no such key or alias.
    #[error("there is no key {key}: {reason}")]
    NotFound {
        /// The wrapping key.
        key: String,
        /// As the service says it.
        reason: String,
    },
    /// The service was not reached, answered too late or asked to come back later.
    #[error("the service of {key} could not be reached: {reason}")]
    Unreachable {
        /// The wrapping key.
        key: String,
        /// What the client saw.
        reason: String,
    },
    /// The wrapped key did not open. Wrong key, wrong context and altered bytes look alike.
    #[error("{key} did not open the encrypted data key")]
    Unauthentic {
        /// The wrapping key.
        key: String,
    },
    /// A length or a count is out of bounds.
    #[error("{key} refused the request: {reason}")]
    Limit {
        /// The wrapping key.
        key: String,
        /// Which limit, and what it is.
        reason: String,
    },
    /// The keyring or its key cannot do this at all.
    #[error("{key} cannot do this: {reason}")]
    Unsupported {
        /// The wrapping key.
        key: String,
        /// What it cannot do.
        reason: String,
    },
    /// Configuration is missing or wrong: region, credentials, a key file.
    #[error("{key} is not configured: {reason}")]
    Configuration {
        /// The wrapping key.
        key: String,
        /// What is missing.
        reason: String,
    },
    /// The key service could not read or write its own files, its audit log included.
    #[error("the key service of {key} failed: {reason}")]
    Service {
        /// The wrapping key.
        key: String,
        /// What failed.
        reason: String,
    },
    /// Several keyrings were tried and each one failed.
    #[error("no keyring could unwrap the data key: {}", list(.0))]
    AllFailed(Vec<Self>),
}

fn list(errors: &[KeyringError]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// Unwraps the first of `encrypted` that `keyring` can open to a key of `key_bytes` bytes
/// (any length when `None`).
///
/// # Errors
/// [`KeyringError::AllFailed`] with every failure; the list is empty when every key was wrapped by
/// somebody else.
pub async fn unwrap_any(
    keyring: &dyn Keyring,
    encrypted: &[EncryptedDataKey],
    context: &EncryptionContext,
    key_bytes: Option<usize>,
) -> Result<DataKey, KeyringError> {
    let mut failures = Vec::new();
    for candidate in encrypted {
        match keyring.unwrap(candidate, context).await {
            Ok(Unwrapped::Key(key)) if key_bytes.is_none_or(|n| n == key.len()) => return Ok(key),
            Ok(Unwrapped::Key(key)) => failures.push(KeyringError::Limit {
                key: candidate.provider_id.clone(),
                reason: format!(
                    "the data key has {} bytes where the algorithm suite needs {}",
                    key.len(),
                    key_bytes.unwrap_or_default()
                ),
            }),
            Ok(Unwrapped::NotMine) => {}
            Err(KeyringError::AllFailed(inner)) => failures.extend(inner),
            Err(error) => failures.push(error),
        }
    }
    Err(KeyringError::AllFailed(failures))
}

/// Whether a raw key may have this namespace: a provider id of at least one byte that is not the
/// one of KMS keys.
fn is_raw_namespace(namespace: &str) -> bool {
    (1..=65_535).contains(&namespace.len()) && namespace != PROVIDER_AWS_KMS
}

/// A random data key for keyrings that draw it here. `label` names the wrapping key in errors.
///
/// # Errors
/// [`KeyringError::Service`] when `entropy` gives no bytes.
pub fn fresh_data_key(
    key_bytes: usize,
    entropy: &dyn Entropy,
    label: impl Fn() -> String,
) -> Result<DataKey, KeyringError> {
    let mut secret = SecretBytes::zeroed(key_bytes);
    let filled = entropy.fill(secret.expose_mut());
    filled.map_err(|error| KeyringError::Service {
        key: label(),
        reason: error.to_string(),
    })?;
    Ok(DataKey::new(secret))
}
