//! Operations on key material versions.

use super::{key_id, page};
use crate::error::KmsError;
use crate::shape::Timestamp;
use serde::{Deserialize, Serialize};

/// Gives a key new material now; all earlier material keeps decrypting.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RotateKeyOnDemandRequest {
    /// Id or ARN.
    pub key_id: String,
}

impl RotateKeyOnDemandRequest {
    pub(super) fn check(&self) -> Result<(), KmsError> {
        key_id("keyId", &self.key_id)
    }
}

/// Answer of RotateKeyOnDemand.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RotateKeyOnDemandResponse {
    /// The key's ARN.
    pub key_id: String,
}

/// Whether the first material is listed too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IncludeKeyMaterial {
    /// Every material that the key ever had.
    #[serde(rename = "ALL_KEY_MATERIAL")]
    AllKeyMaterial,
    /// Completed rotations only (when absent).
    #[serde(rename = "ROTATIONS_ONLY")]
    RotationsOnly,
}

/// Lists the rotations of a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListKeyRotationsRequest {
    /// Id or ARN.
    pub key_id: String,
    /// Whether the first material is listed too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_key_material: Option<IncludeKeyMaterial>,
    /// 1 to 1,000; 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// `NextMarker` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marker: Option<String>,
}

impl ListKeyRotationsRequest {
    pub(super) fn check(&self) -> Result<(), KmsError> {
        key_id("keyId", &self.key_id)?;
        page(self.limit, self.marker.as_deref())
    }
}

/// A material of a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RotationsListEntry {
    /// Id of the key.
    pub key_id: String,
    /// 64 hexadecimal digits.
    pub key_material_id: String,
    /// `CURRENT` or `NON_CURRENT`.
    pub key_material_state: String,
    /// When the material came into use; absent for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation_date: Option<Timestamp>,
    /// `AUTOMATIC` or `ON_DEMAND`; absent for the first material.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation_type: Option<String>,
}

/// Answer of ListKeyRotations.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListKeyRotationsResponse {
    /// Oldest first.
    pub rotations: Vec<RotationsListEntry>,
    /// Where the next page starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
    /// Whether there is a next page.
    pub truncated: bool,
}
