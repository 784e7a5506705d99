//! The keys that sign digests, and nothing else; nobody can name them.
//!
//! One signs at a time, for [`PERIOD`]. The first digest that ends later is signed by a new one; of the one
//! before, the public half is kept, and its private half is gone from store and medium. Both happen in one
//! commit, with a record that names the new key, so that whoever reads the log knows it too.

use super::HOUR;
use crate::audit::Event;
use crate::engine::{Engine, internal};
use crate::model::DIGEST_KEY_DOCUMENT;
use crate::op;
use crate::request::Change;
use crate::store::Expect;
use serde::{Deserialize, Serialize};
use waxseal_core::crypto::hash::sha256;
use waxseal_core::crypto::key_pair::{KeyPair, PairSpec, SignatureAlgorithm, Signed};
use waxseal_core::crypto::rsa::RsaVerifyingKey;
use waxseal_kms_api::KmsError;
use waxseal_kms_api::members::Members;
use waxseal_kms_api::shape::{Blob, SecretBlob};

const FORMER_DOCUMENT: &str = "trail/former-keys";
/// How long a key signs digests, by where they end: 365 days. A stolen key is worth nothing for what comes
/// after, and those who verify with copies of the public keys need a new copy no more than once a year.
pub(super) const PERIOD: i64 = 365 * 24 * HOUR;

/// The key that signs now.
#[derive(Serialize, Deserialize)]
struct KeyRecord {
    /// When it was made, in seconds since 1970.
    created: i64,
    /// Where its first digest begins. Versions that had one key for ever did not say.
    #[serde(default)]
    since: Option<i64>,
    private: SecretBlob,
}

impl KeyRecord {
    /// Where the last digest that it signs can end.
    fn until(&self) -> i64 {
        self.created + PERIOD
    }

    fn since(&self) -> i64 {
        // A digest is signed when its last hour is over.
        let hour = self.created - self.created.rem_euclid(HOUR);
        self.since.unwrap_or(hour - HOUR)
    }

    fn pair(&self) -> Result<KeyPair, KmsError> {
        let private = self.private.0.expose();
        KeyPair::from_pkcs8(PairSpec::Rsa2048, private).map_err(internal)
    }
}

/// A key that signs no more.
#[derive(Serialize, Deserialize)]
struct FormerKey {
    /// PKCS #1, in DER.
    public: Blob,
    since: i64,
    /// Where its last digest ends.
    until: i64,
}

/// The public key of digests.
#[derive(Debug, Clone)]
pub(crate) struct DigestKey {
    /// PKCS #1, in DER.
    pub(crate) public: Vec<u8>,
    /// Where its first digest begins, in seconds since 1970.
    pub(crate) since: i64,
    /// Where its last digest ends, or can end while it still signs.
    pub(crate) until: i64,
    /// Whether it signs now.
    pub(crate) is_current: bool,
}

impl DigestKey {
    /// Hexadecimal digits that name it.
    pub(crate) fn fingerprint(&self) -> String {
        fingerprint(&self.public)
    }
}

/// What digests call the key with this `RSAPublicKey`.
pub(super) fn fingerprint(public: &[u8]) -> String {
    hex::encode(&sha256(&[public])[..16])
}

/// The key that signs now, at hand.
pub(super) struct Signer {
    pair: KeyPair,
    pub(super) fingerprint: String,
}

impl Signer {
    fn new(pair: KeyPair) -> Result<Self, KmsError> {
        let public = pair.pkcs1_public_key().map_err(internal)?;
        let fingerprint = fingerprint(&public);
        Ok(Self { pair, fingerprint })
    }

    /// RSASSA-PKCS1-v1_5 with SHA-256.
    pub(super) fn sign(&self, text: &str) -> Result<Vec<u8>, KmsError> {
        let text = Signed::Message(text.as_bytes());
        let signature = self.pair.sign(SignatureAlgorithm::Pkcs1Sha256, text);
        signature.map_err(internal)
    }
}

impl Engine {
    /// The public keys that digests are verified with, each as SubjectPublicKeyInfo in DER, the oldest
    /// first; there is none before the first digest.
    ///
    /// # Errors
    /// `KMSInternalException` when the store cannot be read.
    pub fn digest_public_keys(&self) -> Result<Vec<Vec<u8>>, KmsError> {
        let spki = |key: DigestKey| {
            let key = RsaVerifyingKey::from_der(&key.public).map_err(internal)?;
            key.spki().map_err(internal)
        };
        self.digest_keys()?.into_iter().map(spki).collect()
    }

    /// The same, and when each of them signed.
    pub(crate) fn digest_keys(&self) -> Result<Vec<DigestKey>, KmsError> {
        // First the one that signs: replaced in between, it is there twice, and not missing.
        let current = self.kept::<KeyRecord>(DIGEST_KEY_DOCUMENT)?;
        let former = self.kept::<Vec<FormerKey>>(FORMER_DOCUMENT)?;
        let former = former.map(|(_, former)| former).unwrap_or_default();
        let mut keys: Vec<_> = former.into_iter().map(DigestKey::from).collect();
        if let Some((_, record)) = current {
            let public = record.pair()?.pkcs1_public_key().map_err(internal)?;
            keys.retain(|key| key.public != public);
            keys.push(DigestKey {
                public,
                since: record.since(),
                until: record.until(),
                is_current: true,
            });
        }
        Ok(keys)
    }

    /// The key that signs the digest from `begin` to `end`: a new one when there is none, or when the one
    /// there is has signed for long enough.
    pub(super) fn signer(&self, begin: i64, end: i64) -> Result<Signer, KmsError> {
        if let Some((_, record)) = self.kept::<KeyRecord>(DIGEST_KEY_DOCUMENT)?
            && end <= record.until()
        {
            return Signer::new(record.pair()?);
        }
        let pair = KeyPair::generate(PairSpec::Rsa2048).map_err(internal)?;
        let record = KeyRecord {
            created: self.now().unix_timestamp(),
            since: Some(begin),
            private: SecretBlob(pair.pkcs8().map_err(internal)?),
        };
        let made = Signer::new(pair)?;
        let is_made = self.change_itself(|engine| engine.replacement(&record, &made))?;
        if !is_made {
            return Err(internal("the key of the trail was changed meanwhile"));
        }
        // What is left of the old one is tried again by whoever tends.
        let _ = self.tidy();
        Ok(made)
    }

    /// The changes that put a key into the place of the one there is, and their record.
    fn replacement(
        &self,
        record: &KeyRecord,
        made: &Signer,
    ) -> Result<Option<(Vec<Change>, Event<'static>)>, KmsError> {
        let mut additional = Members::new();
        additional.insert("fingerprint", made.fingerprint.as_str());
        let mut changes = Vec::new();
        let (expect, name) = match self.kept::<KeyRecord>(DIGEST_KEY_DOCUMENT)? {
            None => (Expect::Absent, "CreateDigestKey"),
            Some((revision, old)) => {
                let public = old.pair()?.pkcs1_public_key().map_err(internal)?;
                let former = fingerprint(&public);
                additional.insert("previousFingerprint", former.as_str());
                changes.push(self.one_more_former(FormerKey {
                    public: Blob(public),
                    since: old.since(),
                    until: record.since(),
                })?);
                (Expect::Revision(revision), "RotateDigestKey")
            }
        };
        changes.push(op::put(DIGEST_KEY_DOCUMENT.to_owned(), expect, record)?);
        let event = self.event_itself(self.home(), name, additional)?;
        Ok(Some((changes, event)))
    }

    fn one_more_former(&self, key: FormerKey) -> Result<Change, KmsError> {
        let (expect, mut former) = match self.kept::<Vec<FormerKey>>(FORMER_DOCUMENT)? {
            Some((revision, former)) => (Expect::Revision(revision), former),
            None => (Expect::Absent, Vec::new()),
        };
        former.push(key);
        op::put(FORMER_DOCUMENT.to_owned(), expect, &former)
    }
}

impl From<FormerKey> for DigestKey {
    fn from(key: FormerKey) -> Self {
        Self {
            public: key.public.0,
            since: key.since,
            until: key.until,
            is_current: false,
        }
    }
}
