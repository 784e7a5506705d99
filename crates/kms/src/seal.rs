//! Rows at rest: the store sees sealed bytes only.
//!
//! ```text
//! offset  bytes
//!      0      1  layout version, 01
//!      1     16  salt, random
//!     17      n  ciphertext
//!   17+n     16  tag
//! ```
//!
//! `K = KDF(domain key, "waxseal-kms/row/1", salt | identity)`, SP 800-108 in counter mode with
//! HMAC-SHA-256; AES-256-GCM under `K` with a nonce of zeros and `identity` as associated data:
//!
//! ```text
//! identity = store id 16 | revision u64 | document key
//! ```
//!
//! Whoever can write the store can therefore neither read a row, nor put it in another row's
//! place, nor present another revision of it under a newer number.

use crate::engine::internal;
use crate::store::Document;
use waxseal_core::SecretBytes;
use waxseal_core::crypto::aead::{AesGcm, NONCE_BYTES};
use waxseal_core::crypto::kdf;
use waxseal_core::crypto::random::{self, Entropy};
use waxseal_kms_api::KmsError;

const LAYOUT: u8 = 1;
const SALT_BYTES: usize = 16;
const HEADER_BYTES: usize = 1 + SALT_BYTES;
const LABEL: &[u8] = b"waxseal-kms/row/1";

/// Seals and opens the documents of one store.
#[derive(Debug)]
pub struct RowSealer {
    domain_key: SecretBytes,
    store_id: [u8; 16],
}

impl RowSealer {
    /// With the domain key (32 bytes) of the store called `store_id`.
    pub fn new(domain_key: SecretBytes, store_id: [u8; 16]) -> Self {
        Self {
            domain_key,
            store_id,
        }
    }

    /// Seals `plaintext` as revision `revision` of document `key`.
    ///
    /// # Errors
    /// `KMSInternalException` when there is no randomness.
    pub fn seal(
        &self,
        key: &str,
        revision: u64,
        plaintext: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, KmsError> {
        let salt: [u8; SALT_BYTES] = random::array(entropy).map_err(internal)?;
        let identity = self.identity(key, revision);
        let mut body = Vec::with_capacity(HEADER_BYTES + plaintext.len() + 16);
        body.push(LAYOUT);
        body.extend_from_slice(&salt);
        body.extend_from_slice(plaintext);
        let tag = self
            .cipher(&salt, &identity)?
            .seal([0; NONCE_BYTES], &identity, &mut body[HEADER_BYTES..])
            .map_err(internal)?;
        body.extend_from_slice(&tag);
        Ok(body)
    }

    /// Opens a document as the revision that the store says it is.
    ///
    /// # Errors
    /// `KMSInternalException` that names the row when it was altered, moved or made by another
    /// store.
    pub fn open(&self, document: &Document) -> Result<SecretBytes, KmsError> {
        let damaged = || internal(format!("the row '{}' is not authentic", document.key));
        let (header, sealed) = document
            .body
            .split_at_checked(HEADER_BYTES)
            .ok_or_else(damaged)?;
        if header[0] != LAYOUT {
            return Err(damaged());
        }
        let identity = self.identity(&document.key, document.revision);
        let mut plaintext = SecretBytes::copy_of(sealed);
        let len = self
            .cipher(&header[1..], &identity)?
            .open([0; NONCE_BYTES], &identity, plaintext.expose_mut())
            .map_err(|_| damaged())?;
        Ok(SecretBytes::copy_of(&plaintext.expose()[..len]))
    }

    fn identity(&self, key: &str, revision: u64) -> Vec<u8> {
        [&self.store_id[..], &revision.to_be_bytes(), key.as_bytes()].concat()
    }

    fn cipher(&self, salt: &[u8], identity: &[u8]) -> Result<AesGcm, KmsError> {
        let mut key = SecretBytes::zeroed(32);
        kdf::sp800_108(
            self.domain_key.expose(),
            LABEL,
            &[salt, identity],
            key.expose_mut(),
        )
        .map_err(internal)?;
        AesGcm::new(key.expose()).map_err(internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxseal_core::crypto::random::SystemEntropy;

    fn sealer(id: u8) -> RowSealer {
        RowSealer::new(SecretBytes::new(vec![3; 32]), [id; 16])
    }

    fn document(key: &str, revision: u64, body: Vec<u8>) -> Document {
        Document {
            key: key.to_owned(),
            revision,
            body,
        }
    }

    #[test]
    fn a_row_opens_in_its_place_only() {
        let body = sealer(1).seal("key/a", 2, b"row", &SystemEntropy).unwrap();
        let open = |sealer: &RowSealer, key, revision| {
            sealer
                .open(&document(key, revision, body.clone()))
                .map(|row| row.ct_eq(b"row"))
        };
        assert_eq!(open(&sealer(1), "key/a", 2), Ok(true));
        assert!(open(&sealer(1), "key/b", 2).is_err(), "another row");
        assert!(open(&sealer(1), "key/a", 3).is_err(), "another revision");
        assert!(open(&sealer(2), "key/a", 2).is_err(), "another store");
    }

    #[test]
    fn every_bit_and_truncation_is_refused() {
        let body = sealer(1)
            .seal("key/a", 1, b"some row", &SystemEntropy)
            .unwrap();
        for bit in 0..body.len() * 8 {
            let mut bad = body.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(
                sealer(1).open(&document("key/a", 1, bad)).is_err(),
                "bit {bit}"
            );
        }
        for len in 0..body.len() {
            let cut = document("key/a", 1, body[..len].to_vec());
            assert!(sealer(1).open(&cut).is_err(), "{len} bytes");
        }
    }
}
