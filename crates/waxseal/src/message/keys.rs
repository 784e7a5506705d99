//! From data key to message key (AWS Encryption SDK specification,
//! `framework/algorithm-suites.md` and `framework/transitive-requirements.md`).
//!
//! ```text
//! version 2   PRK         HKDF-Extract(salt = message id, data key)
//!             commitment  HKDF-Expand(PRK, "COMMITKEY", 32)
//!             key         HKDF-Expand(PRK, suite id u16 | "DERIVEKEY", key length)
//! version 1   key         HKDF(salt = zeros, data key, suite id u16 | message id, key length)
//!             or, in the suites 0x0014, 0x0046 and 0x0078, the data key itself
//! ```

use super::suite::{Derivation, Suite};
use waxseal_core::crypto::Unauthentic;
use waxseal_core::crypto::aead::AesGcm;
use waxseal_core::crypto::kdf::{self, Prk};
use waxseal_core::keyring::DataKey;
use waxseal_core::secret::{self, SecretBytes};

/// What goes into the derivation of version 1 besides the data key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Info {
    /// Suite id and message id.
    Specified,
    /// The suite id alone, as the AWS Encryption SDK for .NET 4.0.0 had it.
    SuiteOnly,
}

/// The key of a new message, and the commitment to write into its header (empty in version 1).
///
/// # Errors
/// A data key of another length than the suite's. (The length is the only way to fail; callers
/// have checked it, to name it in their own error.)
pub(crate) fn derive(
    suite: Suite,
    data_key: &DataKey,
    message_id: &[u8],
) -> Result<(AesGcm, Vec<u8>), Unauthentic> {
    check_length(suite, data_key)?;
    match suite.derivation() {
        Derivation::Committing(hash) => {
            let prk = kdf::extract(hash, message_id, data_key.expose());
            Ok((committed_key(suite, &prk)?, commitment(suite, &prk)?))
        }
        _ => Ok((
            uncommitted_key(suite, data_key, message_id, Info::Specified)?,
            Vec::new(),
        )),
    }
}

/// The key of a message that was read, once the commitment in its header, where it has one, is
/// found to be that of `data_key`. No key exists before that comparison, which takes constant
/// time.
///
/// # Errors
/// Another commitment, or a data key of another length than the suite's.
pub(crate) fn derive_committed(
    suite: Suite,
    data_key: &DataKey,
    message_id: &[u8],
    stored_commitment: &[u8],
    info: Info,
) -> Result<AesGcm, Unauthentic> {
    check_length(suite, data_key)?;
    let Derivation::Committing(hash) = suite.derivation() else {
        return uncommitted_key(suite, data_key, message_id, info);
    };
    let prk = kdf::extract(hash, message_id, data_key.expose());
    if !secret::ct_eq(&commitment(suite, &prk)?, stored_commitment) {
        return Err(Unauthentic);
    }
    committed_key(suite, &prk)
}

fn check_length(suite: Suite, data_key: &DataKey) -> Result<(), Unauthentic> {
    match data_key.len() == suite.key_bytes() {
        true => Ok(()),
        false => Err(Unauthentic),
    }
}

fn commitment(suite: Suite, prk: &Prk) -> Result<Vec<u8>, Unauthentic> {
    let mut out = vec![0; suite.commitment_bytes()];
    prk.expand(&[b"COMMITKEY"], &mut out)
        .map_err(|_| Unauthentic)?;
    Ok(out)
}

fn committed_key(suite: Suite, prk: &Prk) -> Result<AesGcm, Unauthentic> {
    expanded(suite, prk, &[&suite.id().to_be_bytes(), b"DERIVEKEY"])
}

fn uncommitted_key(
    suite: Suite,
    data_key: &DataKey,
    message_id: &[u8],
    info: Info,
) -> Result<AesGcm, Unauthentic> {
    let Derivation::Hkdf(hash) = suite.derivation() else {
        return AesGcm::new(data_key.expose()).map_err(|_| Unauthentic);
    };
    let prk = kdf::extract(hash, NO_SALT, data_key.expose());
    let id = suite.id().to_be_bytes();
    match info {
        Info::Specified => expanded(suite, &prk, &[&id, message_id]),
        Info::SuiteOnly => expanded(suite, &prk, &[&id]),
    }
}

/// As many zeros as the hash has bytes (RFC 5869, section 2.2).
const NO_SALT: &[u8] = &[];

fn expanded(suite: Suite, prk: &Prk, info: &[&[u8]]) -> Result<AesGcm, Unauthentic> {
    let mut key = SecretBytes::zeroed(suite.key_bytes());
    prk.expand(info, key.expose_mut())
        .map_err(|_| Unauthentic)?;
    AesGcm::new(key.expose()).map_err(|_| Unauthentic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(bytes: &[u8]) -> DataKey {
        DataKey::new(SecretBytes::copy_of(bytes))
    }

    fn opened(key: &DataKey, id: &[u8], commitment: &[u8]) -> Result<AesGcm, Unauthentic> {
        derive_committed(Suite::COMMITTING, key, id, commitment, Info::Specified)
    }

    #[test]
    fn only_the_committed_key_comes_through() {
        let (_, commitment) = derive(Suite::COMMITTING, &key(&[1; 32]), &[2; 32]).unwrap();
        assert!(opened(&key(&[1; 32]), &[2; 32], &commitment).is_ok());
        assert!(opened(&key(&[0; 32]), &[2; 32], &commitment).is_err());
        assert!(opened(&key(&[1; 32]), &[3; 32], &commitment).is_err());
        assert!(opened(&key(&[1; 32]), &[2; 32], &commitment[..31]).is_err());
        assert!(opened(&key(&[1; 32]), &[2; 32], b"").is_err());
    }

    #[test]
    fn data_keys_have_one_length() {
        for suite in Suite::all() {
            let id = vec![2; suite.message_id_bytes()];
            for bytes in [0, 15, 16, 24, 31, 32, 33] {
                let fits = bytes == suite.key_bytes();
                let key = key(&vec![1; bytes]);
                assert_eq!(derive(suite, &key, &id).is_ok(), fits, "{suite:?} {bytes}");
            }
        }
    }
}
