//! Rows at rest: the store sees sealed bytes only.
//!
//! ```text
//! first domain key            later ones
//! offset  bytes               offset  bytes
//!      0      1  layout, 01        0      1  layout, 02
//!                                  1      4  epoch of the domain key, u32, from 2
//!      1     16  salt, random      5     16  salt, random
//!     17      n  ciphertext       21      n  ciphertext
//!   17+n     16  tag            21+n     16  tag
//! ```
//!
//! `K = KDF(domain key, "waxseal-kms/row/1", salt | identity)`, SP 800-108 in counter mode with
//! HMAC-SHA-256; AES-256-GCM under `K` with a nonce of zeros and `identity` as associated data:
//!
//! ```text
//! identity = store id 16 | revision u64 | document key
//! ```
//!
//! and in layout 2 `"waxseal-kms/row/2"` and
//!
//! ```text
//! identity = store id 16 | epoch u32 | revision u64 | document key
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

const SALT_BYTES: usize = 16;
const EPOCH_BYTES: usize = 4;
const FIRST_EPOCH: u32 = 1;

/// A domain key, and which one of the store it is: 1, 2, …
#[derive(Debug)]
pub struct DomainKey {
    /// Which one.
    pub epoch: u32,
    /// 32 bytes.
    pub key: SecretBytes,
}

/// Seals and opens the documents of one store.
#[derive(Debug)]
pub struct RowSealer {
    store_id: [u8; 16],
    current: DomainKey,
    /// The one before, while rows are sealed anew.
    former: Option<DomainKey>,
}

impl RowSealer {
    /// With the first domain key (32 bytes) of the store called `store_id`.
    pub fn new(domain_key: SecretBytes, store_id: [u8; 16]) -> Self {
        let current = DomainKey {
            epoch: FIRST_EPOCH,
            key: domain_key,
        };
        Self::of(current, store_id)
    }

    /// With a domain key of that store.
    pub fn of(current: DomainKey, store_id: [u8; 16]) -> Self {
        Self {
            store_id,
            current,
            former: None,
        }
    }

    /// Opens what `former` sealed as well.
    pub fn knowing(self, former: DomainKey) -> Self {
        let former = Some(former);
        Self { former, ..self }
    }

    /// The epochs of the domain keys: that which seals, and the one before where it is known.
    pub fn epochs(&self) -> (u32, Option<u32>) {
        (
            self.current.epoch,
            self.former.as_ref().map(|former| former.epoch),
        )
    }

    /// Whether a body is sealed under the newest domain key.
    pub fn is_current(&self, body: &[u8]) -> bool {
        Row::of(body).is_some_and(|row| row.epoch == self.current.epoch)
    }

    /// Whether a body is sealed under a domain key that is not known here: a newer one, as a rule.
    pub fn is_unknown(&self, body: &[u8]) -> bool {
        Row::of(body).is_some_and(|row| self.domain_key(row.epoch).is_none())
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
        let epoch = self.current.epoch;
        let identity = self.identity(epoch, key, revision);
        let mut body = head(epoch);
        body.reserve(SALT_BYTES + plaintext.len() + 16);
        body.extend_from_slice(&salt);
        let sealed_from = body.len();
        body.extend_from_slice(plaintext);
        let tag = cipher(&self.current, &salt, &identity)?
            .seal([0; NONCE_BYTES], &identity, &mut body[sealed_from..])
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
        let row = Row::of(&document.body).ok_or_else(damaged)?;
        let domain_key = self.domain_key(row.epoch).ok_or_else(damaged)?;
        let identity = self.identity(row.epoch, &document.key, document.revision);
        let mut plaintext = SecretBytes::copy_of(row.sealed);
        let len = cipher(domain_key, row.salt, &identity)?
            .open([0; NONCE_BYTES], &identity, plaintext.expose_mut())
            .map_err(|_| damaged())?;
        Ok(SecretBytes::copy_of(&plaintext.expose()[..len]))
    }

    fn domain_key(&self, epoch: u32) -> Option<&DomainKey> {
        let mut known = [Some(&self.current), self.former.as_ref()]
            .into_iter()
            .flatten();
        known.find(|known| known.epoch == epoch)
    }

    fn identity(&self, epoch: u32, key: &str, revision: u64) -> Vec<u8> {
        let revision = revision.to_be_bytes();
        match epoch {
            FIRST_EPOCH => [&self.store_id[..], &revision, key.as_bytes()].concat(),
            _ => [
                &self.store_id[..],
                &epoch.to_be_bytes(),
                &revision,
                key.as_bytes(),
            ]
            .concat(),
        }
    }
}

/// The parts of a sealed body.
struct Row<'b> {
    epoch: u32,
    salt: &'b [u8],
    sealed: &'b [u8],
}

impl<'b> Row<'b> {
    fn of(body: &'b [u8]) -> Option<Self> {
        let (layout, rest) = body.split_first()?;
        let (epoch, rest) = match layout {
            1 => (FIRST_EPOCH, rest),
            2 => {
                let (epoch, rest) = rest.split_first_chunk::<EPOCH_BYTES>()?;
                (u32::from_be_bytes(*epoch), rest)
            }
            _ => return None,
        };
        // One form for each epoch.
        if *layout == 2 && epoch <= FIRST_EPOCH {
            return None;
        }
        let (salt, sealed) = rest.split_at_checked(SALT_BYTES)?;
        Some(Self {
            epoch,
            salt,
            sealed,
        })
    }
}

/// What a body begins with.
fn head(epoch: u32) -> Vec<u8> {
    match epoch {
        FIRST_EPOCH => vec![1],
        _ => [&[2], &epoch.to_be_bytes()[..]].concat(),
    }
}

fn cipher(domain_key: &DomainKey, salt: &[u8], identity: &[u8]) -> Result<AesGcm, KmsError> {
    let label: &[u8] = match domain_key.epoch {
        FIRST_EPOCH => b"waxseal-kms/row/1",
        _ => b"waxseal-kms/row/2",
    };
    let mut key = SecretBytes::zeroed(32);
    kdf::sp800_108(
        domain_key.key.expose(),
        label,
        &[salt, identity],
        key.expose_mut(),
    )
    .map_err(internal)?;
    AesGcm::new(key.expose()).map_err(internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxseal_core::crypto::random::SystemEntropy;

    fn sealer(id: u8) -> RowSealer {
        RowSealer::new(SecretBytes::new(vec![3; 32]), [id; 16])
    }

    fn domain_key(epoch: u32) -> DomainKey {
        let key = SecretBytes::new(vec![epoch as u8 + 2; 32]);
        DomainKey { epoch, key }
    }

    fn later(epoch: u32, former: Option<u32>) -> RowSealer {
        let sealer = RowSealer::of(domain_key(epoch), [1; 16]);
        match former {
            Some(former) => sealer.knowing(domain_key(former)),
            None => sealer,
        }
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
        for sealer_of in [sealer as fn(u8) -> RowSealer, |id| {
            RowSealer::of(domain_key(2), [id; 16])
        }] {
            let body = sealer_of(1)
                .seal("key/a", 2, b"row", &SystemEntropy)
                .unwrap();
            let open = |sealer: &RowSealer, key, revision| {
                sealer
                    .open(&document(key, revision, body.clone()))
                    .map(|row| row.ct_eq(b"row"))
            };
            assert_eq!(open(&sealer_of(1), "key/a", 2), Ok(true));
            assert!(open(&sealer_of(1), "key/b", 2).is_err(), "another row");
            assert!(open(&sealer_of(1), "key/a", 3).is_err(), "another revision");
            assert!(open(&sealer_of(2), "key/a", 2).is_err(), "another store");
        }
    }

    #[test]
    fn every_bit_and_truncation_is_refused() {
        for sealer in [sealer(1), later(2, Some(1))] {
            let body = sealer
                .seal("key/a", 1, b"some row", &SystemEntropy)
                .unwrap();
            for bit in 0..body.len() * 8 {
                let mut bad = body.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(
                    sealer.open(&document("key/a", 1, bad)).is_err(),
                    "bit {bit}"
                );
            }
            for len in 0..body.len() {
                let cut = document("key/a", 1, body[..len].to_vec());
                assert!(sealer.open(&cut).is_err(), "{len} bytes");
            }
        }
    }

    #[test]
    fn a_row_opens_under_the_domain_key_of_its_epoch() {
        let old = sealer(1).seal("k", 1, b"old", &SystemEntropy).unwrap();
        let both = later(2, Some(1));
        let new = both.seal("k", 2, b"new", &SystemEntropy).unwrap();
        assert!(both.is_current(&new) && !both.is_current(&old));
        assert!(sealer(1).is_unknown(&new) && !both.is_unknown(&old));
        assert!(later(2, None).is_unknown(&old));
        let opens = |sealer: &RowSealer, revision, body: &Vec<u8>| {
            sealer.open(&document("k", revision, body.clone())).is_ok()
        };
        assert!(opens(&both, 1, &old) && opens(&both, 2, &new));
        assert!(opens(&later(2, None), 2, &new) && !opens(&later(2, None), 1, &old));
        assert!(!opens(&sealer(1), 2, &new));
    }
}
