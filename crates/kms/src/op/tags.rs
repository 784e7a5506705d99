//! TagResource, UntagResource, ListResourceTags.

use super::keys::changed;
use super::{Perform, one_key, paginate, stays};
use crate::engine::{KeyEntry, View};
use crate::model::KeyRecord;
use crate::request::Done;
use std::collections::{BTreeMap, BTreeSet};
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
        let tags = listed(&key.record);
        let name = |tag: &Tag| tag.tag_key.clone();
        let page = paginate(tags, name, self.marker.as_deref(), self.limit, 50)?;
        Ok(Done::read(ListResourceTagsResponse {
            tags: page.items,
            truncated: page.next.is_some(),
            next_marker: page.next,
        }))
    }
}

/// `tags` with those `given` set.
pub(super) fn added(
    mut tags: BTreeMap<String, String>,
    given: Vec<Tag>,
) -> Result<BTreeMap<String, String>, KmsError> {
    let mut new = BTreeSet::new();
    for tag in given {
        let prefix = tag.tag_key.get(..4).unwrap_or_default();
        if prefix.eq_ignore_ascii_case("aws:") {
            return Err(refused("Tags beginning with aws: are reserved"));
        }
        if !new.insert(tag.tag_key.clone()) {
            return Err(refused("Duplicate tag keys"));
        }
        tags.insert(tag.tag_key, tag.tag_value);
    }
    if tags.len() > TAGS_MAX {
        return Err(refused("Too many tags"));
    }
    Ok(tags)
}

fn refused(message: &str) -> KmsError {
    KmsError::new(ErrorCode::Tag, message)
}

/// The tags of a key, as they are told.
pub(super) fn listed(record: &KeyRecord) -> Vec<Tag> {
    let tag = |(key, value): (&String, &String)| Tag {
        tag_key: key.clone(),
        tag_value: value.clone(),
    };
    record.tags.iter().map(tag).collect()
}
