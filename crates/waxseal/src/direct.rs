//! The ciphertext blob of a key service itself: for secrets of at most 4,096 bytes, without a
//! data key of their own.
//!
//! The blob is what the service answered to `Encrypt`; it names its own key.

use waxseal_core::context::EncryptionContext;
use waxseal_core::keyring::{DataKey, EncryptedDataKey, Keyring, KeyringError, Unwrapped};
use waxseal_core::secret::SecretBytes;

/// The longest plaintext in bytes (KMS API, `Encrypt`: 1 to 4,096).
pub const PLAINTEXT_BYTES_MAX: usize = 4096;
/// The longest blob in bytes (KMS API, `Decrypt`: 1 to 6,144).
pub const BLOB_BYTES_MAX: usize = 6144;

/// Why a blob was not made or not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The keyring failed; on opening that includes a blob that is not authentic.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The plaintext is empty or too long.
    #[error("a direct plaintext has 1 to {PLAINTEXT_BYTES_MAX} bytes, not {bytes}")]
    PlaintextBytes {
        /// Its length, or at least how long it is known to be.
        bytes: usize,
    },
    /// The blob is empty or too long.
    #[error("a ciphertext blob has 1 to {BLOB_BYTES_MAX} bytes, not {bytes}")]
    BlobBytes {
        /// Its length.
        bytes: usize,
    },
    /// The keyring does not make exactly one blob that names its own key: it holds raw keys, or
    /// several.
    #[error("a direct blob needs exactly one KMS key")]
    NotSelfDescribing,
    /// No key of the keyring made the blob.
    #[error("the keyring holds no key that made this blob")]
    NobodysKey,
}

/// Encrypts `plaintext` under the one KMS key of `keyring`.
///
/// # Errors
/// [`Error`].
pub async fn seal(
    keyring: &dyn Keyring,
    plaintext: SecretBytes,
    context: &EncryptionContext,
) -> Result<Vec<u8>, Error> {
    let bytes = plaintext.len();
    if bytes == 0 || bytes > PLAINTEXT_BYTES_MAX {
        return Err(Error::PlaintextBytes { bytes });
    }
    let mut encrypted = keyring.wrap(&DataKey::new(plaintext), context).await?;
    match encrypted.pop() {
        Some(only) if encrypted.is_empty() && only.is_self_describing() => Ok(only.ciphertext),
        _ => Err(Error::NotSelfDescribing),
    }
}

/// Decrypts a blob.
///
/// # Errors
/// [`Error`].
pub async fn open(
    keyring: &dyn Keyring,
    blob: &[u8],
    context: &EncryptionContext,
) -> Result<SecretBytes, Error> {
    let bytes = blob.len();
    if bytes == 0 || bytes > BLOB_BYTES_MAX {
        return Err(Error::BlobBytes { bytes });
    }
    let encrypted = EncryptedDataKey::bare(blob.to_vec());
    match keyring.unwrap(&encrypted, context).await? {
        Unwrapped::Key(plaintext) => Ok(plaintext.into_secret()),
        Unwrapped::NotMine => Err(Error::NobodysKey),
    }
}
