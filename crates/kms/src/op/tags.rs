//! TagResource, UntagResource, ListResourceTags.

use super::keys::changed;
use super::{Perform, one_key, paginate, stays};
use crate::engine::{KeyEntry, View};
use crate::request::Done;
use std::collections::BTreeMap;
use waxseal_kms_api::op::*;
use waxseal_kms_api::{ErrorCode, KmsError};

impl Perform for TagResourceRequest {
    one_key!(changed);

    fn run(self, key: KeyEntry, _: &View<'_>) -> Result<Done<Empty>, KmsError> {
        stays(&key)?;
        let tags = added(key.record.tags.clone(), self.tags)?;
        changed(&key, |record| record.tags = tags)
    }
}

impl Perform for UntagResourceRequest {
    one_key!(changed);

    fn run(self, key: KeyEntry, _: &View<'_>) -> Result<Done<Empty>, KmsError> {
        stays(&key)?;
        changed(&key, |record| {
            record.tags.retain(|name, _| !self.tag_keys.contains(name));
        })
    }
}

impl Perform for ListResourceTagsRequest {
    one_key!(listed);

    fn run(self, key: KeyEntry, _: &View<'_>) -> Result<Done<ListResourceTagsResponse>, KmsError> {
        let tags = key.record.tags.iter();
        let tags = tags
            .map(|(key, value)| Tag {
                tag_key: key.clone(),
                tag_value: value.clone(),
            })
            .collect();
        let name = |tag: &Tag| tag.tag_key.clone();
        let (tags, next_marker) = paginate(tags, name, self.marker.as_deref(), self.limit, 50);
        Ok(Done::read(ListResourceTagsResponse {
            tags,
            truncated: next_marker.is_some(),
            next_marker,
        }))
    }
}

/// `tags` with `new` ones set.
pub(super) fn added(
    mut tags: BTreeMap<String, String>,
    new: Vec<Tag>,
) -> Result<BTreeMap<String, String>, KmsError> {
    for tag in new {
        if tag.tag_key.starts_with("aws:") {
            return Err(KmsError::new(
                ErrorCode::Tag,
                "Tags beginning with aws: are reserved",
            ));
        }
        tags.insert(tag.tag_key, tag.tag_value);
    }
    if tags.len() > TAGS_MAX {
        return Err(KmsError::new(ErrorCode::LimitExceeded, "Too many tags"));
    }
    Ok(tags)
}
