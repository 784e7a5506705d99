//! Operations on aliases.

use super::{key_id, length, page};
use crate::error::KmsError;
use crate::shape::Timestamp;
use serde::{Deserialize, Serialize};
use waxseal_core::arn::ALIAS_CHARS_MAX;

/// Names a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateAliasRequest {
    /// `alias/NAME`.
    pub alias_name: String,
    /// Id or ARN of the key.
    pub target_key_id: String,
}

impl CreateAliasRequest {
    pub(super) fn check(&self) -> Result<(), KmsError> {
        length("aliasName", self.alias_name.len(), 1..=ALIAS_CHARS_MAX)?;
        key_id("targetKeyId", &self.target_key_id)
    }
}

/// Moves a name to another key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateAliasRequest {
    /// `alias/NAME`.
    pub alias_name: String,
    /// Id or ARN of the key.
    pub target_key_id: String,
}

impl UpdateAliasRequest {
    pub(super) fn check(&self) -> Result<(), KmsError> {
        length("aliasName", self.alias_name.len(), 1..=ALIAS_CHARS_MAX)?;
        key_id("targetKeyId", &self.target_key_id)
    }
}

/// Removes a name; the key stays.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteAliasRequest {
    /// `alias/NAME`.
    pub alias_name: String,
}

impl DeleteAliasRequest {
    pub(super) fn check(&self) -> Result<(), KmsError> {
        length("aliasName", self.alias_name.len(), 1..=ALIAS_CHARS_MAX)
    }
}

/// Lists names, of one key or of all.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListAliasesRequest {
    /// Only names of this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// 1 to 1,000; 50 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// `NextMarker` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marker: Option<String>,
}

impl ListAliasesRequest {
    pub(super) fn check(&self) -> Result<(), KmsError> {
        if let Some(key) = &self.key_id {
            key_id("keyId", key)?;
        }
        page(self.limit, self.marker.as_deref())
    }
}

/// An alias in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AliasListEntry {
    /// `alias/NAME`.
    pub alias_name: String,
    /// The alias ARN.
    pub alias_arn: String,
    /// Id of the key.
    pub target_key_id: String,
    /// When the name was made.
    pub creation_date: Timestamp,
    /// When it was moved last.
    pub last_updated_date: Timestamp,
}

/// Answer of ListAliases.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListAliasesResponse {
    /// In the order of their names.
    pub aliases: Vec<AliasListEntry>,
    /// Where the next page starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
    /// Whether there is a next page.
    pub truncated: bool,
}
