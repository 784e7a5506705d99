//! Branch keys: the keys between a key service and the data keys of the hierarchical keyring, and
//! where they are kept (AWS Encryption SDK specification, `framework/branch-key-store.md`).
//!
//! A branch key has an id and versions. The active version wraps; every version unwraps. A store
//! keeps each version twice, wrapped by a keyring under a context that names it:
//!
//! ```text
//! branch-key-id      the id
//! type               branch:version:VERSION            | branch:ACTIVE
//! version                                              | branch:version:VERSION
//! create-time        ISO 8601
//! hierarchy-version  1
//! ```
//!
//! These are the names that AWS's key store uses, without the ones of its table and KMS key.

use super::{BoxFuture, DataKey, EncryptedDataKey, Keyring, KeyringError, unwrap_any};
use crate::context::EncryptionContext;
use crate::crypto::random::{self, Entropy, EntropyError};
use crate::secret::SecretBytes;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Length of a branch key in bytes.
pub const BRANCH_KEY_BYTES: usize = 32;

/// The version of a branch key: a UUID, written with hyphens in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BranchKeyVersion([u8; 16]);

impl BranchKeyVersion {
    /// The UUID with these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// A fresh UUID of version 4.
    ///
    /// # Errors
    /// Without randomness.
    pub fn random(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let uuid = uuid::Builder::from_random_bytes(random::array(entropy)?).into_uuid();
        Ok(Self(uuid.into_bytes()))
    }

    /// The UUID's bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for BranchKeyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

/// Text that is no UUID with hyphens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no version of a branch key: it is a UUID in 36 characters")]
pub struct NoVersion(String);

impl FromStr for BranchKeyVersion {
    type Err = NoVersion;

    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let parsed = uuid::Uuid::try_parse(text)
            .ok()
            .filter(|_| text.len() == 36);
        let parsed = parsed.ok_or_else(|| NoVersion(text.to_owned()))?;
        Ok(Self(parsed.into_bytes()))
    }
}

/// One version of a branch key.
#[derive(Debug)]
pub struct BranchKey {
    /// The version.
    pub version: BranchKeyVersion,
    /// The key, [`BRANCH_KEY_BYTES`] long.
    pub key: SecretBytes,
}

/// Where branch keys come from. An id that is not there is [`KeyringError::NotFound`].
pub trait BranchKeyStore: Send + Sync {
    /// The version of `id` that wraps now.
    fn active<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<BranchKey, KeyringError>>;

    /// A version of `id`, active or not.
    fn version<'a>(
        &'a self,
        id: &'a str,
        version: BranchKeyVersion,
    ) -> BoxFuture<'a, Result<BranchKey, KeyringError>>;
}

/// Branch keys in memory: for tests, and for keys that come from elsewhere.
#[derive(Debug, Default)]
pub struct StaticBranchKeys(Vec<(String, BranchKey)>);

impl StaticBranchKeys {
    /// No key.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a version of `id` and makes it the active one.
    pub fn insert(&mut self, id: impl Into<String>, key: BranchKey) {
        self.0.push((id.into(), key));
    }

    fn find(&self, id: &str, version: Option<BranchKeyVersion>) -> Result<BranchKey, KeyringError> {
        let fits = |known: &BranchKey| version.is_none_or(|version| version == known.version);
        let mut newest_first = self.0.iter().rev();
        let found = newest_first.find(|(known, key)| known == id && fits(key));
        let (_, key) = found.ok_or_else(|| not_found(id, version))?;
        Ok(BranchKey {
            version: key.version,
            key: SecretBytes::copy_of(key.key.expose()),
        })
    }
}

impl BranchKeyStore for StaticBranchKeys {
    fn active<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<BranchKey, KeyringError>> {
        Box::pin(async move { self.find(id, None) })
    }

    fn version<'a>(
        &'a self,
        id: &'a str,
        version: BranchKeyVersion,
    ) -> BoxFuture<'a, Result<BranchKey, KeyringError>> {
        Box::pin(async move { self.find(id, Some(version)) })
    }
}

/// A version of a branch key as it is kept: wrapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedBranchKey {
    /// The branch key's id.
    pub id: String,
    /// Its version.
    pub version: BranchKeyVersion,
    /// Whether this is the row of the active version; each version has another row besides.
    pub active: bool,
    /// When the version was made, ISO 8601.
    pub created: String,
    /// The key, wrapped under [`WrappedBranchKey::context`], once for each wrapping key.
    pub encrypted: Vec<EncryptedDataKey>,
}

impl WrappedBranchKey {
    /// The encryption context that the key is wrapped under: everything the row says.
    ///
    /// # Errors
    /// [`KeyringError::Limit`], which no row that was read causes.
    pub fn context(&self) -> Result<EncryptionContext, KeyringError> {
        let version = format!("branch:version:{}", self.version);
        let mut pairs = vec![
            ("branch-key-id", self.id.as_str()),
            ("create-time", &self.created),
            ("hierarchy-version", "1"),
        ];
        match self.active {
            true => pairs.extend([("type", "branch:ACTIVE"), ("version", &version)]),
            false => pairs.push(("type", &version)),
        }
        let mut context = EncryptionContext::new();
        for (name, value) in pairs {
            let inserted = context.insert(name, value);
            inserted.map_err(|error| KeyringError::Limit {
                key: label(&self.id),
                reason: error.to_string(),
            })?;
        }
        Ok(context)
    }
}

/// A place for wrapped branch keys: a folder, a table. It needs no secrecy; whoever may write it
/// can make an old version active again, and no more.
pub trait BranchKeyRows: Send + Sync {
    /// The row of a version, or of the active one when `version` is `None`. `Ok(None)`: there is
    /// none.
    ///
    /// # Errors
    /// What is wrong with the place or the row, in words.
    fn read(
        &self,
        id: &str,
        version: Option<BranchKeyVersion>,
    ) -> Result<Option<WrappedBranchKey>, String>;

    /// Keeps `version`, then makes `active` the active row. A crash between the two leaves the
    /// old active row.
    ///
    /// # Errors
    /// What is wrong with the place, in words.
    fn write(&self, version: &WrappedBranchKey, active: &WrappedBranchKey) -> Result<(), String>;
}

/// A store over rows: any keyring wraps the branch keys.
pub struct WrappedBranchKeys {
    rows: Arc<dyn BranchKeyRows>,
    wrapping: Arc<dyn Keyring>,
}

impl WrappedBranchKeys {
    /// Branch keys in `rows`, wrapped by `wrapping`.
    pub fn new(rows: Arc<dyn BranchKeyRows>, wrapping: Arc<dyn Keyring>) -> Self {
        Self { rows, wrapping }
    }

    /// Makes a branch key with its first version. `created` is the time now, ISO 8601.
    ///
    /// # Errors
    /// [`KeyringError::KeyState`] when `id` is there already; what the wrapping keyring and the
    /// rows say.
    pub async fn create(
        &self,
        id: &str,
        created: &str,
        entropy: &dyn Entropy,
    ) -> Result<BranchKeyVersion, KeyringError> {
        if self.row(id, None)?.is_some() {
            return Err(KeyringError::KeyState {
                key: label(id),
                reason: "it exists already".to_owned(),
            });
        }
        self.add(id, created, entropy).await
    }

    /// Makes a new active version. Older ones still unwrap.
    ///
    /// # Errors
    /// [`KeyringError::NotFound`] when `id` is not there, or its active row does not open: nobody
    /// rotates a key that was tampered with. What the wrapping keyring and the rows say.
    pub async fn rotate(
        &self,
        id: &str,
        created: &str,
        entropy: &dyn Entropy,
    ) -> Result<BranchKeyVersion, KeyringError> {
        self.open(id, None).await?;
        self.add(id, created, entropy).await
    }

    async fn add(
        &self,
        id: &str,
        created: &str,
        entropy: &dyn Entropy,
    ) -> Result<BranchKeyVersion, KeyringError> {
        let version = BranchKeyVersion::random(entropy).map_err(|error| service(id, error))?;
        let mut row = WrappedBranchKey {
            id: id.to_owned(),
            version,
            active: false,
            created: created.to_owned(),
            encrypted: Vec::new(),
        };
        let context = row.context()?;
        let generated = self.wrapping.generate(BRANCH_KEY_BYTES, &context).await?;
        row.encrypted = generated.encrypted;
        let mut active = WrappedBranchKey {
            active: true,
            ..row.clone()
        };
        let context = active.context()?;
        active.encrypted = self.wrapping.wrap(&generated.key, &context).await?;
        let written = self.rows.write(&row, &active);
        written.map_err(|error| service(id, error))?;
        Ok(version)
    }

    fn row(
        &self,
        id: &str,
        version: Option<BranchKeyVersion>,
    ) -> Result<Option<WrappedBranchKey>, KeyringError> {
        let row = self.rows.read(id, version);
        row.map_err(|error| service(id, error))
    }

    async fn open(
        &self,
        id: &str,
        version: Option<BranchKeyVersion>,
    ) -> Result<BranchKey, KeyringError> {
        let row = self.row(id, version)?;
        let row = row.ok_or_else(|| not_found(id, version))?;
        // The row must be the one that was asked for; all else in it is authenticated.
        if row.id != id || version.map_or(!row.active, |v| row.active || row.version != v) {
            return Err(KeyringError::Unauthentic { key: label(id) });
        }
        let context = row.context()?;
        let wrapping = self.wrapping.as_ref();
        let key = unwrap_any(wrapping, &row.encrypted, &context, Some(BRANCH_KEY_BYTES)).await;
        let key = key.map_err(|error| match error {
            KeyringError::AllFailed(failures) if failures.is_empty() => {
                KeyringError::AccessDenied {
                    key: label(id),
                    reason: "it is wrapped by another key".to_owned(),
                }
            }
            other => other,
        });
        Ok(BranchKey {
            version: row.version,
            key: DataKey::into_secret(key?),
        })
    }
}

impl fmt::Debug for WrappedBranchKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrappedBranchKeys")
    }
}

impl BranchKeyStore for WrappedBranchKeys {
    fn active<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<BranchKey, KeyringError>> {
        Box::pin(self.open(id, None))
    }

    fn version<'a>(
        &'a self,
        id: &'a str,
        version: BranchKeyVersion,
    ) -> BoxFuture<'a, Result<BranchKey, KeyringError>> {
        Box::pin(self.open(id, Some(version)))
    }
}

pub(super) fn label(id: &str) -> String {
    format!("branch key {id}")
}

fn not_found(id: &str, version: Option<BranchKeyVersion>) -> KeyringError {
    KeyringError::NotFound {
        key: label(id),
        reason: match version {
            Some(version) => format!("the store has no version {version} of it"),
            None => "the store has no active version of it".to_owned(),
        },
    }
}

fn service(id: &str, error: impl fmt::Display) -> KeyringError {
    KeyringError::Service {
        key: label(id),
        reason: error.to_string(),
    }
}
