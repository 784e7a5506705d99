//! The ciphertext blob that Encrypt and GenerateDataKey return.
//!
//! ```text
//! offset  bytes
//!      0      4  magic 57 58 4B 42 ("WXKB")
//!      4      1  layout version, 01
//!      5      1  suite, 01: SP 800-108 HMAC-SHA-256, AES-256-GCM, key commitment
//!      6      1  kind of key id, 00: UUID, 01: `mrk-` and the digits of a UUID
//!      7     16  key id
//!     23      4  backing key version, u32 big-endian, from 1
//!     27     24  salt, random
//!     51     32  commitment
//!     83      n  ciphertext, 1 to 4,096 bytes
//!   83+n     16  tag
//! ```
//!
//! `K 32 | commitment 32 = KDF(backing key, "waxseal-kms/blob/1", bytes 4..51)`, an SP 800-108
//! counter-mode KDF with HMAC-SHA-256. AES-256-GCM runs under `K` with a nonce of zeros: the salt
//! is fresh for each blob, so no key ever seals twice and no invocation limit is near. The
//! associated data is bytes 0..83 followed by the canonical encryption context. The commitment is
//! compared before anything is decrypted, so one blob opens under one key only.
//!
//! A key in a device (a custom key store) makes blobs of another suite, all of whose cryptography is
//! done in the device:
//!
//! ```text
//! offset  bytes
//!      0      5  as above
//!      5      1  suite, 02: CKM_AES_CBC_ENCRYPT_DATA, AES-256-GCM, known blocks
//!      6     21  as above
//!     27     32  salt, random
//!     59   32+n  ciphertext of 32 bytes of zero and the plaintext, 1 to 4,096 bytes
//!   91+n     16  tag
//! ```
//!
//! The device encrypts the salt by AES-256-CBC, with an initialization vector of zeros, under the key
//! that lives in it, keeps the 32 bytes as a key of this one message, and runs AES-256-GCM under that
//! with a nonce of zeros. The associated data is bytes 0..59 followed by the canonical encryption
//! context. Three things hang on this:
//!
//! * **How much one key may encrypt.** Keys in devices are not rotated, and 2^32 random nonces of 96
//!   bits, the limit of SP 800-38D for one key, last 28 days at 1,800 requests a second, the quota of a
//!   custom key store. Counting would need a counter that survives a restored backup. Here every
//!   message has a key of its own, from a salt of 256 bits: two of them meet when two blocks of AES
//!   output do, which is to be expected after about 2^64 messages.
//! * **The device does it.** Neither the long-lived key nor the message's key is ever outside: both
//!   are sensitive and not extractable. The long-lived key can do nothing but derive.
//! * **Commitment.** AES-GCM alone lets one ciphertext open under two keys. The 32 bytes of zero fix
//!   two blocks of the key stream: another key that gives the same 256 bits is a collision, 2^128 work.
//!   They are compared after opening; what they are is no secret. (Albertini and others, *How to abuse
//!   and fix authenticated encryption without key commitment*, 2022: the padding fix.)
//!
//! There is one encoding: no optional field, no trailing byte.

use crate::device::SALT_BYTES as DEVICE_SALT_BYTES;
use crate::engine::internal;
use waxseal_core::crypto::aead::{AesGcm, NONCE_BYTES, TAG_BYTES};
use waxseal_core::crypto::kdf;
use waxseal_core::crypto::random::{self, Entropy};
use waxseal_core::secret::ct_eq;
use waxseal_core::{EncryptionContext, KeyId, SecretBytes};
use waxseal_kms_api::KmsError;
use waxseal_kms_api::op::PLAINTEXT_BYTES_MAX;

/// The first bytes of every blob.
pub const MAGIC: [u8; 4] = *b"WXKB";
/// Bytes before the ciphertext.
pub const HEADER_BYTES: usize = 83;
/// Bytes of a blob beyond its plaintext.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + TAG_BYTES;

/// Bytes before the ciphertext, when a device made it.
pub const DEVICE_HEADER_BYTES: usize = SALT_AT + DEVICE_SALT_BYTES;
/// Bytes of a blob beyond its plaintext, when a device made it.
pub const DEVICE_OVERHEAD_BYTES: usize = DEVICE_HEADER_BYTES + KNOWN_BYTES + TAG_BYTES;

/// The version of the layout above.
pub const LAYOUT: u8 = 1;
const SUITE: u8 = 1;
const SUITE_DEVICE: u8 = 2;
const KIND_UUID: u8 = 0;
const KIND_MRK: u8 = 1;
const MULTI_REGION_PREFIX: &str = "mrk-";
const SALT_AT: usize = 27;
const SALT_BYTES: usize = 24;
const KNOWN_BYTES: usize = 32;
const DERIVED_FROM: std::ops::Range<usize> = 4..51;
const LABEL: &[u8] = b"waxseal-kms/blob/1";

/// What a blob says of itself. Nothing of it is authenticated before the blob was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobFacts {
    /// The key that made it.
    pub key_id: KeyId,
    /// The version of its backing key.
    pub backing_key_version: u32,
    /// Length of the plaintext in bytes.
    pub plaintext_bytes: usize,
    /// Whether a device made it.
    pub is_of_device: bool,
}

impl BlobFacts {
    /// Reads the header of a blob.
    ///
    /// # Errors
    /// `InvalidCiphertextException` for whatever is not a blob of this layout.
    pub fn parse(blob: &[u8]) -> Result<Self, KmsError> {
        let foreign = KmsError::invalid_ciphertext;
        if blob.len() < OVERHEAD_BYTES || blob[..4] != MAGIC || blob[4] != LAYOUT {
            return Err(foreign());
        }
        let (overhead, is_of_device) = match blob[5] {
            SUITE => (OVERHEAD_BYTES, false),
            SUITE_DEVICE => (DEVICE_OVERHEAD_BYTES, true),
            _ => return Err(foreign()),
        };
        let plaintext_bytes = blob.len().checked_sub(overhead).ok_or_else(foreign)?;
        if blob[6] > KIND_MRK || !(1..=PLAINTEXT_BYTES_MAX).contains(&plaintext_bytes) {
            return Err(foreign());
        }
        let id = <[u8; 16]>::try_from(&blob[7..23]).map_err(|_| foreign())?;
        let version = <[u8; 4]>::try_from(&blob[23..27]).map_err(|_| foreign())?;
        let backing_key_version = u32::from_be_bytes(version);
        if backing_key_version == 0 {
            return Err(foreign());
        }
        let uuid = uuid::Uuid::from_bytes(id);
        let key_id = match blob[6] {
            KIND_MRK => format!("{MULTI_REGION_PREFIX}{}", uuid.simple()),
            _ => uuid.hyphenated().to_string(),
        };
        let key_id = key_id.parse().map_err(|_| foreign())?;
        Ok(Self {
            key_id,
            backing_key_version,
            plaintext_bytes,
            is_of_device,
        })
    }
}

/// What every blob begins with, bytes 0..27, in a vector that `bytes` fit into.
fn beginning(
    suite: u8,
    key_id: &KeyId,
    backing_key_version: u32,
    bytes: usize,
) -> Result<Vec<u8>, KmsError> {
    let (kind, id) = match key_id.as_str().strip_prefix(MULTI_REGION_PREFIX) {
        Some(digits) => (KIND_MRK, digits),
        None => (KIND_UUID, key_id.as_str()),
    };
    let id = uuid::Uuid::parse_str(id).map_err(|_| internal("the key id is not a UUID"))?;
    let mut blob = Vec::with_capacity(bytes);
    blob.extend_from_slice(&MAGIC);
    blob.extend_from_slice(&[LAYOUT, suite, kind]);
    blob.extend_from_slice(id.as_bytes());
    blob.extend_from_slice(&backing_key_version.to_be_bytes());
    Ok(blob)
}

/// What a device is asked for: salt, associated data, and what to encrypt or decrypt.
pub(crate) struct Asked<T> {
    pub(crate) salt: [u8; DEVICE_SALT_BYTES],
    pub(crate) associated: Vec<u8>,
    pub(crate) text: T,
}

/// Seals `plaintext` (1 to 4,096 bytes, checked by the caller) in a device.
///
/// # Errors
/// As `encrypt`; `KMSInternalException` when there is no randomness, the key id is no UUID, or what the
/// device gave has another length.
pub(crate) fn seal_in_device(
    key_id: &KeyId,
    plaintext: &[u8],
    context: &[u8],
    entropy: &dyn Entropy,
    encrypt: impl FnOnce(Asked<SecretBytes>) -> Result<Vec<u8>, KmsError>,
) -> Result<Vec<u8>, KmsError> {
    let salt: [u8; DEVICE_SALT_BYTES] = random::array(entropy).map_err(internal)?;
    let bytes = DEVICE_OVERHEAD_BYTES + plaintext.len();
    let mut blob = beginning(SUITE_DEVICE, key_id, 1, bytes)?;
    blob.extend_from_slice(&salt);
    let mut text = SecretBytes::zeroed(KNOWN_BYTES + plaintext.len());
    text.expose_mut()[KNOWN_BYTES..].copy_from_slice(plaintext);
    let sealed = encrypt(Asked {
        salt,
        associated: [blob.as_slice(), context].concat(),
        text,
    })?;
    if blob.len() + sealed.len() != bytes {
        return Err(internal("the device sealed to another length"));
    }
    blob.extend_from_slice(&sealed);
    Ok(blob)
}

/// Opens a blob that a device made.
///
/// # Errors
/// As `decrypt`; `InvalidCiphertextException` when the known blocks are others.
pub(crate) fn open_in_device(
    blob: &[u8],
    context: &EncryptionContext,
    decrypt: impl FnOnce(Asked<Vec<u8>>) -> Result<SecretBytes, KmsError>,
) -> Result<SecretBytes, KmsError> {
    let foreign = KmsError::invalid_ciphertext;
    let facts = BlobFacts::parse(blob)?;
    if !facts.is_of_device {
        return Err(foreign());
    }
    let (header, sealed) = blob.split_at(DEVICE_HEADER_BYTES);
    let context = context.serialize().map_err(|_| foreign())?;
    let opened = decrypt(Asked {
        salt: header[SALT_AT..].try_into().map_err(|_| foreign())?,
        associated: [header, context.as_slice()].concat(),
        text: sealed.to_vec(),
    })?;
    match opened.expose().split_at_checked(KNOWN_BYTES) {
        Some((known, plaintext))
            if ct_eq(known, &[0; KNOWN_BYTES]) && plaintext.len() == facts.plaintext_bytes =>
        {
            Ok(SecretBytes::copy_of(plaintext))
        }
        _ => Err(foreign()),
    }
}

/// Seals `plaintext` (1 to 4,096 bytes, checked by the caller).
///
/// # Errors
/// `KMSInternalException` when there is no randomness or the key id is no UUID.
pub fn seal(
    backing_key: &SecretBytes,
    key_id: &KeyId,
    backing_key_version: u32,
    plaintext: &[u8],
    context: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, KmsError> {
    let salt: [u8; SALT_BYTES] = random::array(entropy).map_err(internal)?;
    let bytes = OVERHEAD_BYTES + plaintext.len();
    let mut blob = beginning(SUITE, key_id, backing_key_version, bytes)?;
    blob.extend_from_slice(&salt);
    let derived = derive(backing_key, &blob)?;
    blob.extend_from_slice(derived.commitment());
    let aad = [blob.as_slice(), context].concat();
    blob.extend_from_slice(plaintext);
    let tag = derived
        .cipher()?
        .seal([0; NONCE_BYTES], &aad, &mut blob[HEADER_BYTES..])
        .map_err(internal)?;
    blob.extend_from_slice(&tag);
    Ok(blob)
}

/// Opens a blob with the backing key that [`BlobFacts`] asked for.
///
/// # Errors
/// `InvalidCiphertextException` for altered bytes, another key and another context alike.
pub fn open(
    backing_key: &SecretBytes,
    blob: &[u8],
    context: &EncryptionContext,
) -> Result<SecretBytes, KmsError> {
    let facts = BlobFacts::parse(blob)?;
    if facts.is_of_device {
        return Err(KmsError::invalid_ciphertext());
    }
    let (header, sealed) = blob.split_at(HEADER_BYTES);
    let derived = derive(backing_key, header)?;
    if !ct_eq(derived.commitment(), &header[DERIVED_FROM.end..]) {
        return Err(KmsError::invalid_ciphertext());
    }
    let context = context
        .serialize()
        .map_err(|_| KmsError::invalid_ciphertext())?;
    let aad = [header, context.as_slice()].concat();
    let mut plaintext = sealed.to_vec();
    derived
        .cipher()?
        .open([0; NONCE_BYTES], &aad, &mut plaintext)
        .map_err(|_| KmsError::invalid_ciphertext())?;
    // What is cut off held the tag, which is not secret.
    plaintext.truncate(facts.plaintext_bytes);
    Ok(SecretBytes::new(plaintext))
}

/// `K | commitment`.
struct Derived(SecretBytes);

impl Derived {
    fn commitment(&self) -> &[u8] {
        &self.0.expose()[32..]
    }

    fn cipher(&self) -> Result<AesGcm, KmsError> {
        AesGcm::new(&self.0.expose()[..32]).map_err(internal)
    }
}

fn derive(backing_key: &SecretBytes, header: &[u8]) -> Result<Derived, KmsError> {
    let mut out = SecretBytes::zeroed(64);
    kdf::sp800_108(
        backing_key.expose(),
        LABEL,
        &[&header[DERIVED_FROM]],
        out.expose_mut(),
    )
    .map_err(internal)?;
    Ok(Derived(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use waxseal_core::crypto::random::SystemEntropy;

    const ID: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";

    fn key(byte: u8) -> SecretBytes {
        SecretBytes::new(vec![byte; 32])
    }

    fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
        let mut context = EncryptionContext::new();
        for (name, value) in pairs {
            context.insert(*name, *value).unwrap();
        }
        context
    }

    fn sealed(plaintext: &[u8], context: &EncryptionContext) -> Vec<u8> {
        let context = context.serialize().unwrap();
        seal(
            &key(1),
            &ID.parse().unwrap(),
            7,
            plaintext,
            &context,
            &SystemEntropy,
        )
        .unwrap()
    }

    #[test]
    fn layout_is_as_documented() {
        let blob = sealed(b"secret", &EncryptionContext::new());
        assert_eq!(blob.len(), 6 + OVERHEAD_BYTES);
        const { assert!(OVERHEAD_BYTES <= 128) };
        assert_eq!(&blob[..7], b"WXKB\x01\x01\x00");
        let facts = BlobFacts::parse(&blob).unwrap();
        assert_eq!((facts.key_id.as_str(), facts.backing_key_version), (ID, 7));
        assert_eq!(facts.plaintext_bytes, 6);
    }

    #[test]
    fn every_bit_truncation_and_extension_is_refused() {
        let pairs = context(&[("purpose", "test")]);
        let blob = sealed(&[9; 200], &pairs);
        assert!(open(&key(1), &blob, &pairs).unwrap().ct_eq(&[9; 200]));
        for bit in 0..blob.len() * 8 {
            let mut bad = blob.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&key(1), &bad, &pairs).is_err(), "bit {bit}");
        }
        for len in 0..blob.len() {
            assert!(open(&key(1), &blob[..len], &pairs).is_err(), "{len} bytes");
        }
        assert!(open(&key(1), &[blob.as_slice(), b"x"].concat(), &pairs).is_err());
    }

    #[test]
    fn key_and_context_are_bound() {
        let pairs = context(&[("a", "1"), ("b", "2")]);
        let blob = sealed(b"x", &pairs);
        assert!(open(&key(2), &blob, &pairs).is_err());
        for wrong in [
            &[][..],
            &[("a", "1")],
            &[("a", "2"), ("b", "1")],
            &[("A", "1"), ("b", "2")],
        ] {
            assert!(open(&key(1), &blob, &context(wrong)).is_err());
        }
        assert!(open(&key(1), &blob, &context(&[("b", "2"), ("a", "1")])).is_ok());
    }

    #[test]
    fn two_blobs_of_one_plaintext_share_nothing() {
        let (one, two) = (
            sealed(b"same", &context(&[])),
            sealed(b"same", &context(&[])),
        );
        assert_ne!(one[27..51], two[27..51]);
        assert_ne!(one[51..], two[51..]);
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_open(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(open(&key(1), &bytes, &EncryptionContext::new()).is_err());
        }

        #[test]
        fn round_trip(plaintext in proptest::collection::vec(any::<u8>(), 1..4097)) {
            let blob = sealed(&plaintext, &context(&[("n", "v")]));
            prop_assert!(open(&key(1), &blob, &context(&[("n", "v")])).unwrap().ct_eq(&plaintext));
        }
    }
}
