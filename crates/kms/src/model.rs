//! What the engine keeps: one record a document, JSON inside the seal.
//!
//! | document key | record |
//! |---|---|
//! | `root` | [`crate::root::RootRecord`], not sealed |
//! | `key/ID` | [`KeyRecord`] |
//! | `material/ID/VERSION` (8 hexadecimal digits) | the 32 bytes of a backing key |
//! | `alias/NAME` | [`AliasRecord`] |
//! | `pending/EVENT-ID` | an audit event whose change is committed and whose record may not be written yet |

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use time::OffsetDateTime;
use waxseal_core::{AliasName, KeyId};

/// The state of a key, as `KeyState` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum KeyState {
    Enabled,
    Disabled,
}

impl KeyState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
        }
    }
}

/// Everything of a key but its material.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeyRecord {
    pub(crate) id: String,
    pub(crate) created: f64,
    pub(crate) description: String,
    pub(crate) state: KeyState,
    pub(crate) tags: BTreeMap<String, String>,
    /// Oldest first; version `n` is at place `n - 1`. The last one encrypts.
    pub(crate) materials: Vec<MaterialRecord>,
}

/// What is known of one backing key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MaterialRecord {
    pub(crate) material_id: String,
    pub(crate) since: f64,
    pub(crate) kind: MaterialKind,
}

/// How a backing key came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MaterialKind {
    Created,
    OnDemand,
}

impl KeyRecord {
    /// The version that encrypts.
    pub(crate) fn current_version(&self) -> u32 {
        // A key has one material from its creation on, and at most 2³² by the version's type.
        self.materials.len() as u32
    }

    pub(crate) fn material(&self, version: u32) -> Option<&MaterialRecord> {
        self.materials
            .get(usize::try_from(version).ok()?.checked_sub(1)?)
    }
}

/// Which key a name means.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AliasRecord {
    pub(crate) target: String,
    pub(crate) created: f64,
    pub(crate) updated: f64,
}

pub(crate) const KEY_PREFIX: &str = "key/";
pub(crate) const ALIAS_PREFIX: &str = "alias/";
pub(crate) const PENDING_PREFIX: &str = "pending/";

pub(crate) fn key_document(id: &KeyId) -> String {
    format!("{KEY_PREFIX}{id}")
}

pub(crate) fn material_document(id: &KeyId, version: u32) -> String {
    format!("material/{id}/{version:08x}")
}

pub(crate) fn alias_document(alias: &AliasName) -> String {
    alias.as_str().to_owned()
}

pub(crate) fn pending_document(event_id: &str) -> String {
    format!("{PENDING_PREFIX}{event_id}")
}

pub(crate) fn seconds(time: OffsetDateTime) -> f64 {
    crate::clock::timestamp(time).0
}
