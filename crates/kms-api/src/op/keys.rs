//! Operations on keys: create, describe, list, enable, disable, describe anew.

use super::{key_id, length, page};
use crate::error::KmsError;
use crate::op::Tag;
use crate::shape::Timestamp;
use serde::{Deserialize, Serialize};

/// The most characters of a description.
pub const DESCRIPTION_CHARS_MAX: usize = 8_192;

/// Creates a symmetric key.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateKeyRequest {
    /// At most 8,192 characters.
    #[serde(default)]
    pub description: String,
    /// `SYMMETRIC_DEFAULT` when absent; no other value is supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_spec: Option<String>,
    /// `ENCRYPT_DECRYPT` when absent; no other value is supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_usage: Option<String>,
    /// At most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
}

impl CreateKeyRequest {
    pub(super) fn check(&self) -> Result<(), KmsError> {
        length(
            "description",
            self.description.chars().count(),
            0..=DESCRIPTION_CHARS_MAX,
        )?;
        for tag in &self.tags {
            tag.check()?;
        }
        Ok(())
    }
}

/// Everything about a key but its material.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyMetadata {
    /// The account the key belongs to.
    #[serde(rename = "AWSAccountId")]
    pub aws_account_id: String,
    /// The id.
    pub key_id: String,
    /// The ARN.
    pub arn: String,
    /// When it was created.
    pub creation_date: Timestamp,
    /// Whether the state is `Enabled`.
    pub enabled: bool,
    /// As given.
    pub description: String,
    /// `ENCRYPT_DECRYPT`.
    pub key_usage: String,
    /// `Enabled` or `Disabled`.
    pub key_state: String,
    /// `AWS_KMS`.
    pub origin: String,
    /// `CUSTOMER`.
    pub key_manager: String,
    /// `SYMMETRIC_DEFAULT`; the older name of `key_spec`.
    pub customer_master_key_spec: String,
    /// `SYMMETRIC_DEFAULT`.
    pub key_spec: String,
    /// `["SYMMETRIC_DEFAULT"]`.
    pub encryption_algorithms: Vec<String>,
    /// Whether replicas may exist in other Regions.
    pub multi_region: bool,
    /// The material that encrypts now: 64 hexadecimal digits.
    pub current_key_material_id: String,
}

/// Answer of CreateKey.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateKeyResponse {
    /// The new key.
    pub key_metadata: KeyMetadata,
}

macro_rules! key_request {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        pub struct $name {
            /// The key.
            pub key_id: String,
        }

        impl $name {
            pub(super) fn check(&self) -> Result<(), KmsError> {
                key_id("keyId", &self.key_id)
            }
        }
    };
}

key_request! {
    /// Describes a key, named by id, ARN, alias or alias ARN.
    DescribeKeyRequest
}

key_request! {
    /// Allows use of a key again, named by id or ARN.
    EnableKeyRequest
}

key_request! {
    /// Forbids use of a key, named by id or ARN.
    DisableKeyRequest
}

/// Answer of DescribeKey.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeKeyResponse {
    /// The key.
    pub key_metadata: KeyMetadata,
}

/// Replaces a description.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateKeyDescriptionRequest {
    /// Id or ARN.
    pub key_id: String,
    /// At most 8,192 characters.
    pub description: String,
}

impl UpdateKeyDescriptionRequest {
    pub(super) fn check(&self) -> Result<(), KmsError> {
        key_id("keyId", &self.key_id)?;
        length(
            "description",
            self.description.chars().count(),
            0..=DESCRIPTION_CHARS_MAX,
        )
    }
}

/// Lists all keys of the account.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListKeysRequest {
    /// 1 to 1,000; 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// `NextMarker` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marker: Option<String>,
}

impl ListKeysRequest {
    pub(super) fn check(&self) -> Result<(), KmsError> {
        page(self.limit, self.marker.as_deref())
    }
}

/// A key in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyListEntry {
    /// The id.
    pub key_id: String,
    /// The ARN.
    pub key_arn: String,
}

/// Answer of ListKeys.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListKeysResponse {
    /// In the order of their ids.
    pub keys: Vec<KeyListEntry>,
    /// Where the next page starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
    /// Whether there is a next page.
    pub truncated: bool,
}
