//! Data keys under branch keys (AWS Encryption SDK specification,
//! `framework/aws-kms/aws-kms-hierarchical-keyring.md`).
//!
//! ```text
//! provider id    aws-kms-hierarchy
//! provider info  the branch key's id
//! ciphertext     salt 16 | nonce 12 | branch key version 16 | AES-256-GCM(data key) | tag 16
//!                AAD: "aws-kms-hierarchy" | branch key id | version 16 | serialized context
//!
//! wrapping key 32 = SP 800-108 counter mode, HMAC-SHA-256
//!                   (branch key, label: "aws-kms-hierarchy", context: salt)
//! ```
//!
//! Salt and nonce are 28 random bytes to a wrapping: a branch key may wrap without counting.

use super::branch_key::{BRANCH_KEY_BYTES, BranchKey, BranchKeyStore, BranchKeyVersion, label};
use super::{BoxFuture, DataKey, EncryptedDataKey, Generated, Keyring, KeyringError, Unwrapped};
use crate::context::EncryptionContext;
use crate::crypto::Unauthentic;
use crate::crypto::aead::{AesGcm, NONCE_BYTES, TAG_BYTES};
use crate::crypto::kdf;
use crate::crypto::random::{self, Entropy};
use crate::secret::SecretBytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The provider id of data keys under a branch key.
pub const PROVIDER_AWS_KMS_HIERARCHY: &str = "aws-kms-hierarchy";

/// Time since some fixed moment of this process, never going back.
pub type Elapsed = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The id of the branch key for an encryption context, for instance a tenant's; `None` when the
/// context names none.
pub type ChooseBranchKey = Arc<dyn Fn(&EncryptionContext) -> Option<String> + Send + Sync>;

/// Which branch key: always the same, or the one that the encryption context says.
#[derive(Clone)]
pub enum BranchKeyOf {
    /// This id.
    Id(String),
    /// The id that this says.
    Context(ChooseBranchKey),
}

impl std::fmt::Debug for BranchKeyOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => write!(f, "Id({id})"),
            Self::Context(_) => f.write_str("Context"),
        }
    }
}

/// Wraps data keys under branch keys, which a store keeps and this keyring remembers for a while.
///
/// A branch key is used for at most the time to live after it was read from the store: so long a
/// rotation, or a lost right to the wrapping key, may go unnoticed. At most 1,000 versions are
/// remembered.
pub struct HierarchicalKeyring {
    branch: BranchKeyOf,
    store: Arc<dyn BranchKeyStore>,
    cache: Cache,
    entropy: Arc<dyn Entropy>,
}

/// Why a hierarchical keyring could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HierarchicalError {
    /// The branch key's id is empty or too long.
    #[error("the id of a branch key must have 1 to 65,535 bytes")]
    Id,
    /// The time to live is zero.
    #[error("the time to live of a branch key must be greater than zero")]
    TimeToLive,
}

impl HierarchicalKeyring {
    /// A keyring for the branch key `branch` of `store`.
    ///
    /// # Errors
    /// [`HierarchicalError`].
    pub fn new(
        branch: BranchKeyOf,
        store: Arc<dyn BranchKeyStore>,
        time_to_live: Duration,
        elapsed: Elapsed,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, HierarchicalError> {
        if matches!(&branch, BranchKeyOf::Id(id) if !is_id(id)) {
            return Err(HierarchicalError::Id);
        }
        if time_to_live.is_zero() {
            return Err(HierarchicalError::TimeToLive);
        }
        Ok(Self {
            branch,
            store,
            cache: Cache {
                time_to_live,
                elapsed,
                entries: Mutex::default(),
            },
            entropy,
        })
    }

    fn branch(&self, context: &EncryptionContext) -> Result<String, KeyringError> {
        let id = match &self.branch {
            BranchKeyOf::Id(id) => Some(id.clone()),
            BranchKeyOf::Context(choose) => choose(context).filter(|id| is_id(id)),
        };
        id.ok_or_else(|| KeyringError::Configuration {
            key: "the branch key".to_owned(),
            reason: "the encryption context names none".to_owned(),
        })
    }

    /// From the cache, or else from the store.
    async fn branch_key(
        &self,
        id: &str,
        version: Option<BranchKeyVersion>,
    ) -> Result<Arc<BranchKey>, KeyringError> {
        if let Some(known) = self.cache.find(id, version) {
            return Ok(known);
        }
        // Its age counts from before the store was asked.
        let asked = (self.cache.elapsed)();
        let key = match version {
            Some(version) => self.store.version(id, version).await?,
            None => self.store.active(id).await?,
        };
        let fits = version.is_none_or(|version| version == key.version);
        if key.key.len() != BRANCH_KEY_BYTES || !fits {
            return Err(KeyringError::Service {
                key: label(id),
                reason: "the store gave another key than it was asked for".to_owned(),
            });
        }
        let key = Arc::new(key);
        self.cache.keep(id, version, key.clone(), asked);
        Ok(key)
    }

    async fn wrap_now(
        &self,
        key: &DataKey,
        context: &EncryptionContext,
    ) -> Result<EncryptedDataKey, KeyringError> {
        let id = self.branch(context)?;
        let limit = |reason: String| KeyringError::Limit {
            key: label(&id),
            reason,
        };
        let serialized = context
            .serialize()
            .map_err(|error| limit(error.to_string()))?;
        if key.len() > KEY_BYTES_MAX {
            return Err(limit(format!("a key has at most {KEY_BYTES_MAX} bytes")));
        }
        let branch_key = self.branch_key(&id, None).await?;
        let random: [u8; SALT_BYTES + NONCE_BYTES] =
            random::array(self.entropy.as_ref()).map_err(|error| KeyringError::Service {
                key: label(&id),
                reason: error.to_string(),
            })?;
        let head = Head::new(&random, branch_key.version);
        let mut out = [&random[..], head.version.as_bytes(), key.expose()].concat();
        let sealed = head.key(&branch_key).and_then(|wrapping| {
            let aad = head.aad(&id, &serialized);
            wrapping.seal(head.nonce, &aad, &mut out[HEAD_BYTES..])
        });
        let tag = sealed.map_err(|_| KeyringError::Unauthentic { key: label(&id) })?;
        out.extend_from_slice(&tag);
        Ok(EncryptedDataKey {
            provider_id: PROVIDER_AWS_KMS_HIERARCHY.to_owned(),
            provider_info: id.into_bytes(),
            ciphertext: out,
        })
    }

    async fn unwrap_now(
        &self,
        encrypted: &EncryptedDataKey,
        context: &EncryptionContext,
    ) -> Result<Unwrapped, KeyringError> {
        if encrypted.provider_id != PROVIDER_AWS_KMS_HIERARCHY {
            return Ok(Unwrapped::NotMine);
        }
        let id = self.branch(context)?;
        if encrypted.provider_info != id.as_bytes() {
            return Ok(Unwrapped::NotMine);
        }
        let unauthentic = || KeyringError::Unauthentic { key: label(&id) };
        let (head, sealed) = Head::parse(&encrypted.ciphertext).ok_or_else(unauthentic)?;
        let branch_key = self.branch_key(&id, Some(head.version)).await?;
        let wrapping = head.key(&branch_key).map_err(|_| unauthentic())?;
        let canonical = context.serialize().map_err(|_| unauthentic())?;
        for form in std::iter::once(canonical.as_slice()).chain(context.stored()) {
            let mut key = SecretBytes::copy_of(sealed);
            if let Ok(len) = wrapping.open(head.nonce, &head.aad(&id, form), key.expose_mut()) {
                let key = SecretBytes::copy_of(&key.expose()[..len]);
                return Ok(Unwrapped::Key(DataKey::new(key)));
            }
        }
        Err(unauthentic())
    }
}

fn is_id(id: &str) -> bool {
    (1..=65_535).contains(&id.len())
}

/// What stands before the sealed data key.
struct Head {
    salt: [u8; SALT_BYTES],
    nonce: [u8; NONCE_BYTES],
    version: BranchKeyVersion,
}

impl Head {
    fn new(random: &[u8; SALT_BYTES + NONCE_BYTES], version: BranchKeyVersion) -> Self {
        let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; NONCE_BYTES]);
        salt.copy_from_slice(&random[..SALT_BYTES]);
        nonce.copy_from_slice(&random[SALT_BYTES..]);
        Self {
            salt,
            nonce,
            version,
        }
    }

    fn parse(ciphertext: &[u8]) -> Option<(Self, &[u8])> {
        let (random, rest) = ciphertext.split_first_chunk()?;
        let (version, sealed) = rest.split_first_chunk()?;
        let version = BranchKeyVersion::from_bytes(*version);
        Some((Self::new(random, version), sealed))
    }

    fn key(&self, branch_key: &BranchKey) -> Result<AesGcm, Unauthentic> {
        let mut key = SecretBytes::zeroed(WRAPPING_KEY_BYTES);
        let (branch_key, label) = (branch_key.key.expose(), PROVIDER_AWS_KMS_HIERARCHY);
        kdf::sp800_108(
            branch_key,
            label.as_bytes(),
            &[&self.salt],
            key.expose_mut(),
        )
        .map_err(|_| Unauthentic)?;
        AesGcm::new(key.expose()).map_err(|_| Unauthentic)
    }

    fn aad(&self, id: &str, context: &[u8]) -> Vec<u8> {
        let provider = PROVIDER_AWS_KMS_HIERARCHY.as_bytes();
        [provider, id.as_bytes(), self.version.as_bytes(), context].concat()
    }
}

/// Branch keys that were read not long ago: the active one of an id under `None`.
struct Cache {
    time_to_live: Duration,
    elapsed: Elapsed,
    entries: Mutex<HashMap<(String, Option<BranchKeyVersion>), Entry>>,
}

struct Entry {
    key: Arc<BranchKey>,
    read: Duration,
}

impl Cache {
    fn find(&self, id: &str, version: Option<BranchKeyVersion>) -> Option<Arc<BranchKey>> {
        let now = (self.elapsed)();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (id.to_owned(), version);
        let entry = entries.get(&place)?;
        if self.lives(entry, now) {
            return Some(entry.key.clone());
        }
        entries.remove(&place);
        None
    }

    fn keep(
        &self,
        id: &str,
        version: Option<BranchKeyVersion>,
        key: Arc<BranchKey>,
        read: Duration,
    ) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= ENTRIES_MAX {
            entries.retain(|_, entry| self.lives(entry, read));
        }
        if entries.len() >= ENTRIES_MAX {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.read);
            if let Some(oldest) = oldest.map(|(place, _)| place.clone()) {
                entries.remove(&oldest);
            }
        }
        entries.insert((id.to_owned(), version), Entry { key, read });
    }

    /// A clock that went back ends a life as well.
    fn lives(&self, entry: &Entry, now: Duration) -> bool {
        let age = now.checked_sub(entry.read);
        age.is_some_and(|age| age <= self.time_to_live)
    }
}

impl std::fmt::Debug for HierarchicalKeyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HierarchicalKeyring({:?})", self.branch)
    }
}

impl Keyring for HierarchicalKeyring {
    fn generate<'a>(
        &'a self,
        key_bytes: usize,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
        Box::pin(async move {
            let name = || format!("{:?}", self.branch);
            let key = super::fresh_data_key(key_bytes, self.entropy.as_ref(), name)?;
            let encrypted = vec![self.wrap_now(&key, context).await?];
            Ok(Generated { key, encrypted })
        })
    }

    fn wrap<'a>(
        &'a self,
        key: &'a DataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>> {
        Box::pin(async move { Ok(vec![self.wrap_now(key, context).await?]) })
    }

    fn unwrap<'a>(
        &'a self,
        encrypted: &'a EncryptedDataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>> {
        Box::pin(self.unwrap_now(encrypted, context))
    }
}

const SALT_BYTES: usize = 16;
const WRAPPING_KEY_BYTES: usize = 32;
/// Salt, nonce and version.
const HEAD_BYTES: usize = SALT_BYTES + NONCE_BYTES + 16;
/// So that the ciphertext's length fits into a `u16`.
const KEY_BYTES_MAX: usize = 65_535 - HEAD_BYTES - TAG_BYTES;
/// The capacity that the specification gives the default cache.
const ENTRIES_MAX: usize = 1_000;
