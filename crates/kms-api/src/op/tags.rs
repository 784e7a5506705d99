//! Operations on tags.

use super::{key_id, length, page};
use crate::error::KmsError;
use serde::{Deserialize, Serialize};

/// The most tags of one key.
pub const TAGS_MAX: usize = 50;

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tag {
    /// 1 to 128 characters; `aws:` is reserved.
    pub tag_key: String,
    /// At most 256 characters.
    pub tag_value: String,
}

impl Tag {
    pub(super) fn check(&self) -> Result<(), KmsError> {
        length("tagKey", self.tag_key.chars().count(), 1..=128)?;
        length("tagValue", self.tag_value.chars().count(), 0..=256)
    }
}

/// Sets tags; a tag of the same key is replaced.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TagResourceRequest {
    /// Id or ARN.
    pub key_id: String,
    /// What to set.
    pub tags: Vec<Tag>,
}

impl TagResourceRequest {
    pub(super) fn check(&self) -> Result<(), KmsError> {
        key_id("keyId", &self.key_id)?;
        self.tags.iter().try_for_each(Tag::check)
    }
}

/// Removes tags; keys that are not there are no error.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UntagResourceRequest {
    /// Id or ARN.
    pub key_id: String,
    /// Keys of the tags to remove.
    pub tag_keys: Vec<String>,
}

impl UntagResourceRequest {
    pub(super) fn check(&self) -> Result<(), KmsError> {
        key_id("keyId", &self.key_id)?;
        self.tag_keys
            .iter()
            .try_for_each(|key| length("tagKeys", key.chars().count(), 1..=128))
    }
}

/// Lists the tags of a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListResourceTagsRequest {
    /// Id or ARN.
    pub key_id: String,
    /// 1 to 50; 50 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// `NextMarker` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marker: Option<String>,
}

impl ListResourceTagsRequest {
    pub(super) fn check(&self) -> Result<(), KmsError> {
        key_id("keyId", &self.key_id)?;
        page(self.limit, self.marker.as_deref())
    }
}

/// Answer of ListResourceTags.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListResourceTagsResponse {
    /// In the order of their keys.
    pub tags: Vec<Tag>,
    /// Where the next page starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
    /// Whether there is a next page.
    pub truncated: bool,
}
