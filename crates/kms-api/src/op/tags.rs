//! Operations on tags.

use crate::model::{Rule, items, patterns, shapes};

/// The most tags of one key.
pub const TAGS_MAX: usize = 50;

shapes! {
    /// Sets tags; a tag of the same key is replaced.
    #[derive(Clone, PartialEq)]
    TagResourceRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// At most 50.
        tags: Vec<Tag> => "Tags", Rule::list_of(Tag::MEMBERS).required();
    }

    /// Removes tags; keys that are not there are no error.
    #[derive(Clone, PartialEq)]
    UntagResourceRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// Keys of the tags to remove.
        tag_keys: Vec<String> => "TagKeys", Rule::list(&items::TAG_KEY_TYPE).required();
    }

    /// Lists the tags of a key.
    #[derive(Clone, PartialEq)]
    ListResourceTagsRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// The most entries of a page, 1 to 1,000.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<i64> => "Limit", Rule::number(1, 1000);
        /// `NextMarker` of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        marker: Option<String> => "Marker", Rule::text(1, 1024).matching(&patterns::MARKER);
    }

    /// Answer of ListResourceTags.
    #[derive(Clone, PartialEq)]
    ListResourceTagsResponse {
        /// At most 50.
        #[serde(default)]
        tags: Vec<Tag> => "Tags", Rule::list_of(Tag::MEMBERS);
        /// Where the next page starts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_marker: Option<String> => "NextMarker", Rule::text(1, 1024).matching(&patterns::MARKER);
        /// Whether there is a next page.
        truncated: bool => "Truncated", Rule::flag();
    }

    /// A tag.
    #[derive(Clone, PartialEq)]
    Tag {
        /// 1 to 128 characters; `aws:` is reserved.
        tag_key: String => "TagKey", Rule::text(1, 128).required();
        /// At most 256 characters.
        tag_value: String => "TagValue", Rule::text(0, 256).required();
    }
}
