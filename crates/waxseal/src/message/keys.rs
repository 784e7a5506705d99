//! From data key to message key (AWS Encryption SDK specification,
//! `framework/algorithm-suites.md` and `framework/transitive-requirements.md`).
//!
//! ```text
//! PRK         HKDF-Extract(salt = message id, data key)
//! commitment  HKDF-Expand(PRK, "COMMITKEY", 32)
//! key         HKDF-Expand(PRK, suite id u16 | "DERIVEKEY", 32)
//! ```

use super::suite::Suite;
use waxseal_core::crypto::Unauthentic;
use waxseal_core::crypto::aead::AesGcm;
use waxseal_core::crypto::kdf::{self, Prk};
use waxseal_core::keyring::DataKey;
use waxseal_core::secret::{self, SecretBytes};

/// The key of a new message, and the commitment to write into its header.
///
/// # Errors
/// A data key of another length than the suite's. (The length is the only way to fail; callers
/// have checked it, to name it in their own error.)
pub(crate) fn derive(
    suite: Suite,
    data_key: &DataKey,
    message_id: &[u8],
) -> Result<(AesGcm, Vec<u8>), Unauthentic> {
    let prk = extract(suite, data_key, message_id)?;
    Ok((message_key(suite, &prk)?, commitment(suite, &prk)?))
}

/// The key of a message that was read, once the commitment in its header is found to be that of
/// `data_key`. No key exists before that comparison, which takes constant time.
///
/// # Errors
/// Another commitment, or a data key of another length than the suite's.
pub(crate) fn derive_committed(
    suite: Suite,
    data_key: &DataKey,
    message_id: &[u8],
    stored_commitment: &[u8],
) -> Result<AesGcm, Unauthentic> {
    let prk = extract(suite, data_key, message_id)?;
    if !secret::ct_eq(&commitment(suite, &prk)?, stored_commitment) {
        return Err(Unauthentic);
    }
    message_key(suite, &prk)
}

fn extract(suite: Suite, data_key: &DataKey, message_id: &[u8]) -> Result<Prk, Unauthentic> {
    if data_key.len() != suite.key_bytes() {
        return Err(Unauthentic);
    }
    Ok(kdf::extract(suite.hash(), message_id, data_key.expose()))
}

fn commitment(suite: Suite, prk: &Prk) -> Result<Vec<u8>, Unauthentic> {
    let mut out = vec![0; suite.commitment_bytes()];
    prk.expand(&[b"COMMITKEY"], &mut out)
        .map_err(|_| Unauthentic)?;
    Ok(out)
}

fn message_key(suite: Suite, prk: &Prk) -> Result<AesGcm, Unauthentic> {
    let mut key = SecretBytes::zeroed(suite.key_bytes());
    prk.expand(&[&suite.id().to_be_bytes(), b"DERIVEKEY"], key.expose_mut())
        .map_err(|_| Unauthentic)?;
    AesGcm::new(key.expose()).map_err(|_| Unauthentic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(bytes: &[u8]) -> DataKey {
        DataKey::new(SecretBytes::copy_of(bytes))
    }

    #[test]
    fn only_the_committed_key_comes_through() {
        let suite = Suite::COMMITTING;
        let (_, commitment) = derive(suite, &key(&[1; 32]), &[2; 32]).unwrap();
        assert!(derive_committed(suite, &key(&[1; 32]), &[2; 32], &commitment).is_ok());
        assert!(derive_committed(suite, &key(&[0; 32]), &[2; 32], &commitment).is_err());
        assert!(derive_committed(suite, &key(&[1; 32]), &[3; 32], &commitment).is_err());
        assert!(derive_committed(suite, &key(&[1; 32]), &[2; 32], &commitment[..31]).is_err());
        assert!(derive_committed(suite, &key(&[1; 32]), &[2; 32], b"").is_err());
    }

    #[test]
    fn data_keys_have_one_length() {
        for bytes in [0, 16, 31, 33] {
            assert!(derive(Suite::COMMITTING, &key(&vec![1; bytes]), &[2; 32]).is_err());
        }
    }
}
