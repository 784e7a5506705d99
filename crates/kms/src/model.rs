//! What the engine keeps: one record a document, JSON inside the seal.
//!
//! | document key | record |
//! |---|---|
//! | `root` | [`crate::root::RootRecord`], not sealed |
//! | `key/KEY` | [`KeyRecord`] |
//! | `material/KEY/VERSION` (8 hexadecimal digits) | a backing key: 32 bytes, or what the key's spec has |
//! | `alias/NAME` | [`AliasRecord`] of the engine's own Region and account |
//! | `alias@REGION/ACCOUNT/alias/NAME` | [`AliasRecord`] of another |
//! | `grant/KEY/GRANT-ID` | [`GrantRecord`] |
//! | `keystore/ID` | [`StoreRecord`] |
//! | `keystore-password/ID` | the PIN that a custom key store logs in with |
//! | `pending/1` | the audit event whose change is committed and whose record may not be written yet |
//!
//! `KEY` is the id of a key, which is unique over all Regions; the replicas of a multi-Region key
//! share their id, and are told apart by `ID@REGION`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use time::OffsetDateTime;
use waxseal_core::arn::Home;
use waxseal_core::{AliasName, KeyId};

/// The state of a key, as `KeyState` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum KeyState {
    Enabled,
    Disabled,
    PendingDeletion,
    PendingImport,
    /// The primary of a multi-Region key, waiting for its replicas to go.
    PendingReplicaDeletion,
}

impl KeyState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
            Self::PendingDeletion => "PendingDeletion",
            Self::PendingImport => "PendingImport",
            Self::PendingReplicaDeletion => "PendingReplicaDeletion",
        }
    }
}

/// Everything of a key but its material.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeyRecord {
    pub(crate) id: String,
    /// Empty in records of keys in the engine's own place.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) region: String,
    /// As `region`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) account: String,
    pub(crate) created: f64,
    pub(crate) description: String,
    pub(crate) state: KeyState,
    #[serde(default = "symmetric")]
    pub(crate) spec: String,
    #[serde(default = "encrypt_decrypt")]
    pub(crate) usage: String,
    /// The key policy as it was given; none is the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
    /// When it goes, while its deletion is pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deletion: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rotation: Option<RotationRecord>,
    /// How long the waiting period will be, in days, while the replicas must go first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deletion_days: Option<i64>,
    #[serde(default)]
    pub(crate) multi_region: bool,
    /// The Region of a multi-Region key's primary, in the records of its replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) primary_region: Option<String>,
    /// `AWS_KMS`, `EXTERNAL` for material that is imported, or `AWS_CLOUDHSM` for material in a device.
    #[serde(default = "aws_kms")]
    pub(crate) origin: String,
    /// The custom key store whose device has the material.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) custom_key_store: Option<String>,
    /// Whether the last material waits for a rotation on demand.
    #[serde(default)]
    pub(crate) is_last_pending: bool,
    pub(crate) tags: BTreeMap<String, String>,
    /// Oldest first; version `n` is at place `n - 1`. The last one encrypts, or the one before it
    /// while the last is pending.
    pub(crate) materials: Vec<MaterialRecord>,
}

fn symmetric() -> String {
    waxseal_kms_api::op::SYMMETRIC_DEFAULT.to_owned()
}

fn encrypt_decrypt() -> String {
    crate::spec::ENCRYPT_DECRYPT.to_owned()
}

fn aws_kms() -> String {
    AWS_KMS.to_owned()
}

/// Material that was made here.
pub(crate) const AWS_KMS: &str = "AWS_KMS";
/// Material that is imported.
pub(crate) const EXTERNAL: &str = "EXTERNAL";

/// Material that is in a device.
pub(crate) const AWS_CLOUDHSM: &str = "AWS_CLOUDHSM";

/// Seconds of a day.
pub(crate) const DAY: f64 = 86_400.0;

/// Rotation at intervals.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct RotationRecord {
    pub(crate) days: i64,
    /// When it was enabled, or its interval changed.
    pub(crate) since: f64,
}

/// What is known of one backing key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MaterialRecord {
    pub(crate) material_id: String,
    pub(crate) since: f64,
    pub(crate) kind: MaterialKind,
    /// Of imported material.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) import: Option<ImportRecord>,
}

/// What is known of imported material.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImportRecord {
    /// Whether its row is there: it was imported, and not removed since.
    pub(crate) is_here: bool,
    /// When it expires.
    pub(crate) valid_to: Option<f64>,
    pub(crate) description: Option<String>,
}

impl MaterialRecord {
    /// Whether it can be used, until it expires.
    pub(crate) fn is_here(&self) -> bool {
        self.import.as_ref().is_none_or(|import| import.is_here)
    }

    pub(crate) fn valid_to(&self) -> Option<f64> {
        let import = self.import.as_ref().filter(|import| import.is_here)?;
        import.valid_to
    }

    fn is_expired(&self, now: f64) -> bool {
        self.valid_to().is_some_and(|end| end <= now)
    }
}

/// How a backing key came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MaterialKind {
    Created,
    OnDemand,
    Automatic,
}

impl KeyRecord {
    /// A key of one Region with nothing to it yet: enabled, of the default policy, and without
    /// material.
    pub(crate) fn new(home: &Home, id: &KeyId, created: f64, spec: &str, usage: &str) -> Self {
        Self {
            id: id.to_string(),
            region: home.region.clone(),
            account: home.account.clone(),
            created,
            description: String::new(),
            state: KeyState::Enabled,
            spec: spec.to_owned(),
            usage: usage.to_owned(),
            policy: None,
            deletion: None,
            rotation: None,
            deletion_days: None,
            multi_region: id.is_multi_region(),
            primary_region: None,
            origin: aws_kms(),
            custom_key_store: None,
            is_last_pending: false,
            tags: BTreeMap::new(),
            materials: Vec::new(),
        }
    }

    /// Where the key is, in an engine whose own place is `home`.
    pub(crate) fn place(&self, home: &Home) -> Home {
        let or = |own: &str, other: &str| if own.is_empty() { other } else { own }.to_owned();
        Home {
            partition: home.partition.clone(),
            region: or(&self.region, &home.region),
            account: or(&self.account, &home.account),
        }
    }

    /// When the key is rotated next by itself: an interval after rotation was enabled, or after
    /// the last time it was rotated by itself.
    pub(crate) fn next_rotation(&self) -> Option<f64> {
        let rotation = self.rotation.filter(|_| self.is_primary())?;
        let automatic = self.materials.iter().rev();
        let last = automatic
            .filter(|material| material.kind == MaterialKind::Automatic)
            .map(|material| material.since)
            .next()
            .unwrap_or(0.0);
        Some(last.max(rotation.since) + rotation.days as f64 * DAY)
    }

    /// Whether its material is in a device, where every operation is done.
    pub(crate) fn is_hosted(&self) -> bool {
        self.origin == AWS_CLOUDHSM
    }

    /// The documents of all its material, in an engine whose own place is `home`.
    pub(crate) fn material_documents(&self, home: &Home) -> Vec<String> {
        let Ok(id) = self.id.parse::<KeyId>() else {
            return Vec::new();
        };
        let region = self.place(home).region;
        let versions = (1..).zip(&self.materials).map(|(version, _)| version);
        versions
            .map(|version| material_document(&region, &id, version))
            .collect()
    }

    /// The version that encrypts; 0 before the first import.
    pub(crate) fn current_version(&self) -> u32 {
        // At most 2³² by the version's type.
        (self.materials.len() - usize::from(self.is_last_pending)) as u32
    }

    /// The material that encrypts.
    pub(crate) fn current(&self) -> Option<&MaterialRecord> {
        self.material(self.current_version())
    }

    /// The imported material that waits for a rotation.
    pub(crate) fn pending(&self) -> Option<&MaterialRecord> {
        self.materials.last().filter(|_| self.is_last_pending)
    }

    /// Whether this is the primary of a multi-Region key, or a key of one Region.
    pub(crate) fn is_primary(&self) -> bool {
        self.primary_region.is_none()
    }

    /// Whether all material is there that the key ever had in use.
    pub(crate) fn is_complete(&self) -> bool {
        let used = self.materials.iter().take(self.current_version() as usize);
        self.current_version() > 0 && used.clone().all(MaterialRecord::is_here)
    }

    /// Whether any material has an end.
    pub(crate) fn can_expire(&self) -> bool {
        self.materials
            .iter()
            .any(|material| material.valid_to().is_some())
    }

    /// The versions whose time is over, and the record without their material.
    pub(crate) fn without_expired(&self, now: f64) -> Option<(Vec<u32>, Self)> {
        let numbered = (1..).zip(&self.materials);
        let over = numbered.filter(|(_, material)| material.is_expired(now));
        let over: Vec<u32> = over.map(|(version, _)| version).collect();
        if over.is_empty() {
            return None;
        }
        let mut record = self.clone();
        for version in &over {
            record.lose(*version);
        }
        Some((over, record))
    }

    /// Takes note that the imported material of a version is gone. A key that lost what it ever
    /// had in use waits for it.
    pub(crate) fn lose(&mut self, version: u32) {
        if version > self.current_version() {
            self.materials.pop();
            self.is_last_pending = false;
            return;
        }
        let at = version as usize - 1;
        if let Some(import) = self
            .materials
            .get_mut(at)
            .and_then(|one| one.import.as_mut())
        {
            import.is_here = false;
            import.valid_to = None;
        }
        if matches!(self.state, KeyState::Enabled | KeyState::Disabled) {
            self.state = KeyState::PendingImport;
        }
    }

    pub(crate) fn material(&self, version: u32) -> Option<&MaterialRecord> {
        self.materials
            .get(usize::try_from(version).ok()?.checked_sub(1)?)
    }
}

/// A custom key store. Its password is a document of its own, and read when the store is connected.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoreRecord {
    pub(crate) id: String,
    pub(crate) region: String,
    pub(crate) account: String,
    pub(crate) name: String,
    /// As an operator configured it.
    pub(crate) cluster: String,
    /// In PEM, as it was given.
    pub(crate) trust_anchor: String,
    pub(crate) created: f64,
    pub(crate) state: ConnectionState,
    /// Why the last connection failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// How often it was to be connected: each time the password is tried once.
    pub(crate) connection: u64,
}

impl StoreRecord {
    /// Where it is, in an engine whose own place is `home`.
    pub(crate) fn place(&self, home: &Home) -> Home {
        Home {
            partition: home.partition.clone(),
            region: self.region.clone(),
            account: self.account.clone(),
        }
    }
}

/// `ConnectionState` of the service model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ConnectionState {
    Disconnected,
    Connecting,
    Connected,
    Failed,
}

impl ConnectionState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Disconnected => "DISCONNECTED",
            Self::Connecting => "CONNECTING",
            Self::Connected => "CONNECTED",
            Self::Failed => "FAILED",
        }
    }
}

/// Who else may do what with a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct GrantRecord {
    pub(crate) id: String,
    pub(crate) created: f64,
    pub(crate) issuing_account: String,
    pub(crate) terms: GrantTerms,
}

/// What a grant says. The same terms under the same name are the same grant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct GrantTerms {
    pub(crate) name: Option<String>,
    pub(crate) grantee: Option<String>,
    pub(crate) grantee_service: Option<String>,
    pub(crate) retiring: Option<String>,
    pub(crate) retiring_service: Option<String>,
    pub(crate) operations: Vec<String>,
    pub(crate) context_subset: BTreeMap<String, String>,
    pub(crate) context_equals: BTreeMap<String, String>,
    pub(crate) source_arn: Option<String>,
}

/// Which key a name means.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AliasRecord {
    pub(crate) target: String,
    pub(crate) created: f64,
    pub(crate) updated: f64,
}

pub(crate) const KEY_PREFIX: &str = "key/";
pub(crate) const PENDING_PREFIX: &str = "pending/";
/// How far the audit log was when the store was changed last.
pub(crate) const LOG_DOCUMENT: &str = "log";

pub(crate) const STORE_PREFIX: &str = "keystore/";

pub(crate) fn store_document(id: &str) -> String {
    format!("{STORE_PREFIX}{id}")
}

pub(crate) fn store_password_document(id: &str) -> String {
    format!("keystore-password/{id}")
}

/// What the documents of a key in `region` are called by, in parts.
fn key_name<'a>(region: &'a str, id: &'a KeyId) -> [&'a str; 3] {
    match id.is_multi_region() {
        true => [id.as_str(), "@", region],
        false => [id.as_str(), "", ""],
    }
}

pub(crate) fn key_document(region: &str, id: &KeyId) -> String {
    let [id, at, region] = key_name(region, id);
    [KEY_PREFIX, id, at, region].concat()
}

/// What the records of a multi-Region key begin with, in all Regions.
pub(crate) fn siblings_prefix(id: &KeyId) -> String {
    format!("{KEY_PREFIX}{id}@")
}

pub(crate) fn material_document(region: &str, id: &KeyId, version: u32) -> String {
    let [id, at, region] = key_name(region, id);
    let version = hex::encode(version.to_be_bytes());
    ["material/", id, at, region, "/", &version].concat()
}

/// The last use of a key, once the record of it was removed from the log.
pub(crate) fn last_use_document(region: &str, id: &KeyId) -> String {
    let [id, at, region] = key_name(region, id);
    ["last-use/", id, at, region].concat()
}

/// The key that signs digests of the trail.
pub(crate) const DIGEST_KEY_DOCUMENT: &str = "trail/key";

/// Whether a document is a secret itself.
pub(crate) fn is_secret(document: &str) -> bool {
    document.starts_with("material/")
        || document.starts_with("keystore-password/")
        || document == DIGEST_KEY_DOCUMENT
}

/// What the grants of a key begin with; their ids follow.
pub(crate) fn grants_prefix(region: &str, id: &KeyId) -> String {
    let [id, at, region] = key_name(region, id);
    ["grant/", id, at, region, "/"].concat()
}

/// What the grants begin with among which the document of this name is, if it is one.
pub(crate) fn grants_of(document: &str) -> Option<&str> {
    let (key, _) = document.strip_prefix("grant/")?.split_once('/')?;
    document.get(.."grant/".len() + key.len() + 1)
}

/// What the aliases of `place` begin with, in an engine whose own place is `home`; the name
/// follows, from `alias/` on.
pub(crate) fn aliases_prefix(home: &Home, place: &Home) -> String {
    if home == place {
        return String::new();
    }
    format!("alias@{}/{}/", place.region, place.account)
}

pub(crate) fn alias_document(home: &Home, place: &Home, alias: &AliasName) -> String {
    format!("{}{alias}", aliases_prefix(home, place))
}

/// There is one at a time, since changes hold the log's lock. One name for all of them leaves one
/// row of a deleted document in the store, not one for each change that there ever was.
pub(crate) fn pending_document() -> String {
    format!("{PENDING_PREFIX}1")
}

pub(crate) fn seconds(time: OffsetDateTime) -> f64 {
    crate::clock::timestamp(time).0
}
