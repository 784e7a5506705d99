//! Secretbox payloads: the envelope of a Go program that seals with NaCl's secretbox under a data
//! key of a KMS and writes the result with `encoding/gob`.
//!
//! ```text
//! type payload struct {
//!     Key     []byte    // the data key, wrapped by the KMS
//!     Nonce   [24]byte
//!     Message []byte    // secretbox: tag 16 | XSalsa20-Poly1305 ciphertext
//! }
//! ```
//!
//! [`Payload::encode`] gives what Go's encoder gives, byte for byte; [`PayloadRef::decode`] reads
//! what any Go program with such a struct writes.
//!
//! This format exists to exchange data with such programs. Prefer `message` for anything else, for
//! secretbox
//!
//! * **needs the whole plaintext in memory** and is therefore bounded
//!   ([`PLAINTEXT_BYTES_MAX_DEFAULT`]);
//! * **holds no encryption context.** The context goes to the KMS with the data key, which is not
//!   unwrapped under another one; the payload itself neither stores it nor authenticates it, and a
//!   reader must know it;
//! * **does not commit to its key.** Whoever makes a payload can make one that opens under two data
//!   keys, to two plaintexts. The KMS decides which key the wrapped key is, so this matters where
//!   a writer may choose among wrapped keys and readers must all see the same thing.
//!
//! A nonce is random, 192 bits: one data key may seal as many payloads as you like
//! ([`generate`], then [`seal_into`]).

mod definition;
mod gob;
mod payload;

pub use definition::{DEFINITION_BYTES_MAX, Definition, Field};
pub use payload::{
    Limits, PLAINTEXT_BYTES_MAX_DEFAULT, Payload, PayloadError, PayloadRef, WRAPPED_KEY_BYTES_MAX,
};

use waxseal_core::crypto::random::{self, Entropy, EntropyError};
use waxseal_core::crypto::secretbox as nacl;
use waxseal_core::keyring::{DataKey, EncryptedDataKey, Keyring, KeyringError, unwrap_any};
use waxseal_core::{EncryptionContext, SecretBytes};

pub use nacl::{KEY_BYTES, NONCE_BYTES, TAG_BYTES};

/// Why sealing or opening failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The keyring failed.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// No keyring knows the wrapped key.
    #[error("the payload's data key was wrapped by none of the given keys")]
    NobodysKey,
    /// The payload was sealed under a data key that does not travel with it.
    #[error("the payload carries no wrapped key: only who holds the data key itself can open it")]
    NoWrappedKey,
    /// The wrapped key says nothing about its wrapping key, and a payload has no place to say it.
    #[error(
        "a key of provider '{provider_id}' cannot wrap for a secretbox payload, which has no place for the wrapping key's name: use a KMS key, or the format 'message'"
    )]
    NotSelfDescribing {
        /// The keyring's provider id.
        provider_id: String,
    },
    /// A payload holds one wrapped key.
    #[error(
        "a secretbox payload holds one wrapped key, not {count}: use one key, or the format 'message'"
    )]
    WrappedKeyCount {
        /// How many the keyring made.
        count: usize,
    },
    /// The wrapped key is longer than [`WRAPPED_KEY_BYTES_MAX`].
    #[error("the wrapped key has {bytes} bytes; the limit is {WRAPPED_KEY_BYTES_MAX}")]
    WrappedKeyLength {
        /// Its length.
        bytes: usize,
    },
    /// A keyring gave a data key of another length than was asked for.
    #[error("the data key has {bytes} bytes where secretbox needs {KEY_BYTES}")]
    DataKeyLength {
        /// Its length.
        bytes: usize,
    },
    /// The plaintext is longer than the limit.
    #[error(
        "a plaintext of {bytes} bytes; the limit of secretbox is {bytes_max}: raise it, or use the format 'message', which streams"
    )]
    PlaintextLength {
        /// Its length.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// No random bytes for the nonce.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The bytes are no payload.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The box does not verify under the data key.
    #[error("the payload is not authentic")]
    Unauthentic,
}

/// Seals `plaintext` under a fresh data key of `keyring`.
///
/// [`seal_bytes`] gives the encoded payload without a copy between.
///
/// # Errors
/// [`Error`]: in particular, unless the keyring wraps with exactly one key whose blobs name it,
/// [`Error::NotSelfDescribing`] or [`Error::WrappedKeyCount`]; and a plaintext beyond
/// [`PLAINTEXT_BYTES_MAX_DEFAULT`].
pub async fn seal(
    keyring: &dyn Keyring,
    plaintext: &[u8],
    context: &EncryptionContext,
    entropy: &dyn Entropy,
) -> Result<Payload, Error> {
    check_plaintext(plaintext, &Limits::default())?;
    let (key, wrapped) = generate(keyring, context).await?;
    let nonce = random::array(entropy)?;
    seal_with(key_of(&key)?, wrapped, nonce, plaintext)
}

/// Seals as [`seal`] and returns the payload's bytes.
///
/// # Errors
/// As [`seal`], with the limit that `limits` states.
pub async fn seal_bytes(
    keyring: &dyn Keyring,
    plaintext: &[u8],
    context: &EncryptionContext,
    entropy: &dyn Entropy,
    limits: &Limits,
) -> Result<Vec<u8>, Error> {
    check_plaintext(plaintext, limits)?;
    let (key, wrapped) = generate(keyring, context).await?;
    let nonce = random::array(entropy)?;
    seal_into(key_of(&key)?, &wrapped, nonce, plaintext)
}

/// A fresh data key of [`KEY_BYTES`] bytes, plain and wrapped. It may seal any number of payloads,
/// each with a random nonce.
///
/// # Errors
/// As [`seal`].
pub async fn generate(
    keyring: &dyn Keyring,
    context: &EncryptionContext,
) -> Result<(DataKey, Vec<u8>), Error> {
    let generated = keyring.generate(KEY_BYTES, context).await?;
    let count = generated.encrypted.len();
    // A raw key among several is the first thing to say: no choice of one of them helps.
    if let Some(raw) = generated.encrypted.iter().find(|e| !e.is_self_describing()) {
        return Err(Error::NotSelfDescribing {
            provider_id: raw.provider_id.clone(),
        });
    }
    let [wrapped] = <[EncryptedDataKey; 1]>::try_from(generated.encrypted)
        .map_err(|_| Error::WrappedKeyCount { count })?;
    key_of(&generated.key)?;
    Ok((generated.key, wrapped.ciphertext))
}

/// Opens `payload`.
///
/// # Errors
/// [`Error`]. The box is not touched before the keyring gave the data key.
pub async fn open(
    keyring: &dyn Keyring,
    payload: &Payload,
    context: &EncryptionContext,
) -> Result<SecretBytes, Error> {
    open_borrowed(keyring, payload.borrowed(), context).await
}

/// Opens the payload that `bytes` are, decrypting straight from them into the result.
///
/// # Errors
/// [`Error`]; malformed bytes reach no keyring.
pub async fn open_bytes(
    keyring: &dyn Keyring,
    bytes: &[u8],
    context: &EncryptionContext,
    limits: &Limits,
) -> Result<SecretBytes, Error> {
    open_borrowed(keyring, PayloadRef::decode(bytes, limits)?, context).await
}

async fn open_borrowed(
    keyring: &dyn Keyring,
    payload: PayloadRef<'_>,
    context: &EncryptionContext,
) -> Result<SecretBytes, Error> {
    if payload.key.is_empty() {
        return Err(Error::NoWrappedKey);
    }
    let wrapped = [EncryptedDataKey::bare(payload.key.to_vec())];
    let key = match unwrap_any(keyring, &wrapped, context, Some(KEY_BYTES)).await {
        Err(KeyringError::AllFailed(failures)) if failures.is_empty() => Err(Error::NobodysKey),
        unwrapped => Ok(unwrapped?),
    }?;
    open_in(key_of(&key)?, payload)
}

/// Seals with a data key that is there already.
///
/// `nonce` must never have sealed another plaintext under this key; draw it at random. `wrapped`
/// may be empty where readers have the data key from elsewhere.
///
/// # Errors
/// [`Error::WrappedKeyLength`].
pub fn seal_with(
    data_key: &[u8; KEY_BYTES],
    wrapped: Vec<u8>,
    nonce: [u8; NONCE_BYTES],
    plaintext: &[u8],
) -> Result<Payload, Error> {
    check_wrapped(&wrapped)?;
    let mut message = vec![0; plaintext.len() + TAG_BYTES];
    nacl::seal(data_key, &nonce, plaintext, &mut message).map_err(|_| Error::Unauthentic)?;
    Ok(Payload {
        key: wrapped,
        nonce,
        message,
    })
}

/// Seals as [`seal_with`], straight into the bytes of the payload: one allocation, no copy of the
/// box.
///
/// # Errors
/// [`Error::WrappedKeyLength`].
pub fn seal_into(
    data_key: &[u8; KEY_BYTES],
    wrapped: &[u8],
    nonce: [u8; NONCE_BYTES],
    plaintext: &[u8],
) -> Result<Vec<u8>, Error> {
    check_wrapped(wrapped)?;
    let message_bytes = plaintext.len() + TAG_BYTES;
    let (mut bytes, place) = payload::place(&Definition::WRITTEN, wrapped, &nonce, message_bytes);
    nacl::seal(data_key, &nonce, plaintext, &mut bytes[place]).map_err(|_| Error::Unauthentic)?;
    Ok(bytes)
}

/// Opens with a data key that is there already.
///
/// # Errors
/// [`Error::Unauthentic`].
pub fn open_with(data_key: &[u8; KEY_BYTES], payload: &Payload) -> Result<SecretBytes, Error> {
    open_in(data_key, payload.borrowed())
}

/// Opens a borrowed payload with a data key that is there already.
///
/// # Errors
/// [`Error::Unauthentic`].
pub fn open_in(data_key: &[u8; KEY_BYTES], payload: PayloadRef<'_>) -> Result<SecretBytes, Error> {
    let mut plaintext = SecretBytes::zeroed(payload.plaintext_bytes());
    nacl::open(
        data_key,
        &payload.nonce,
        payload.message,
        plaintext.expose_mut(),
    )
    .map_err(|_| Error::Unauthentic)?;
    Ok(plaintext)
}

fn check_plaintext(plaintext: &[u8], limits: &Limits) -> Result<(), Error> {
    let (bytes, bytes_max) = (plaintext.len() as u64, limits.plaintext_bytes_max);
    if bytes > bytes_max {
        return Err(Error::PlaintextLength { bytes, bytes_max });
    }
    Ok(())
}

fn check_wrapped(wrapped: &[u8]) -> Result<(), Error> {
    let bytes = wrapped.len();
    if bytes > WRAPPED_KEY_BYTES_MAX {
        return Err(Error::WrappedKeyLength { bytes });
    }
    Ok(())
}

fn key_of(key: &DataKey) -> Result<&[u8; KEY_BYTES], Error> {
    key.expose()
        .try_into()
        .map_err(|_| Error::DataKeyLength { bytes: key.len() })
}
