//! Operations aliases.

use crate::model::{Rule, patterns, shapes};
use crate::shape::Timestamp;

shapes! {
    /// Gives a key a name.
    #[derive(Clone, PartialEq)]
    CreateAliasRequest {
        /// `alias/NAME`.
        alias_name: String => "AliasName", Rule::text(1, 256).matching(&patterns::NAME).required();
        /// The key it names.
        target_key_id: String => "TargetKeyId", Rule::text(1, 2048).required();
    }

    /// Removes a name; the key stays.
    #[derive(Clone, PartialEq)]
    DeleteAliasRequest {
        /// `alias/NAME`.
        alias_name: String => "AliasName", Rule::text(1, 256).matching(&patterns::NAME).required();
    }

    /// Lists the names of the account, or of one key.
    #[derive(Clone, PartialEq)]
    ListAliasesRequest {
        /// The key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_id: Option<String> => "KeyId", Rule::text(1, 2048);
        /// The most entries of a page, 1 to 1,000.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<i64> => "Limit", Rule::number(1, 1000);
        /// `NextMarker` of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        marker: Option<String> => "Marker", Rule::text(1, 1024).matching(&patterns::MARKER);
    }

    /// Answer of ListAliases.
    #[derive(Clone, PartialEq)]
    ListAliasesResponse {
        /// In the order of their names.
        #[serde(default)]
        aliases: Vec<AliasListEntry> => "Aliases", Rule::list_of(AliasListEntry::MEMBERS);
        /// Where the next page starts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_marker: Option<String> => "NextMarker", Rule::text(1, 1024).matching(&patterns::MARKER);
        /// Whether there is a next page.
        truncated: bool => "Truncated", Rule::flag();
    }

    /// Gives a name to another key.
    #[derive(Clone, PartialEq)]
    UpdateAliasRequest {
        /// `alias/NAME`.
        alias_name: String => "AliasName", Rule::text(1, 256).matching(&patterns::NAME).required();
        /// The key it names.
        target_key_id: String => "TargetKeyId", Rule::text(1, 2048).required();
    }

    /// An alias in a list.
    #[derive(Clone, PartialEq)]
    AliasListEntry {
        /// `alias/NAME`.
        alias_name: String => "AliasName", Rule::text(1, 256).matching(&patterns::NAME);
        /// The ARN of the alias.
        alias_arn: String => "AliasArn", Rule::text(20, 2048);
        /// The key it names.
        target_key_id: String => "TargetKeyId", Rule::text(1, 2048);
        /// When it was made.
        creation_date: Timestamp => "CreationDate", Rule::time();
        /// When it was given to its key.
        last_updated_date: Timestamp => "LastUpdatedDate", Rule::time();
    }
}
