//! Operations on multi-Region keys.

use crate::model::{Rule, patterns, shapes};
use crate::op::{KeyMetadata, Tag};

shapes! {
    /// Makes a replica of a multi-Region key in another Region.
    #[derive(Clone, PartialEq)]
    ReplicateKeyRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// The Region of the replica.
        replica_region: String => "ReplicaRegion", Rule::text(1, 32).matching(&patterns::REGION).required();
        /// A key policy, as JSON text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<String> => "Policy", Rule::text(1, 131072).matching(&patterns::POLICY);
        /// Whether a policy is taken that shuts out whoever puts it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bypass_policy_lockout_safety_check: Option<bool> => "BypassPolicyLockoutSafetyCheck", Rule::flag();
        /// At most 8,192 characters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String> => "Description", Rule::text(0, 8192);
        /// At most 50.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tags: Vec<Tag> => "Tags", Rule::list_of(Tag::MEMBERS);
    }

    /// Answer of ReplicateKey.
    #[derive(Clone, PartialEq)]
    ReplicateKeyResponse {
        /// The replica.
        replica_key_metadata: KeyMetadata => "ReplicaKeyMetadata", Rule::structure(KeyMetadata::MEMBERS);
        /// The policy of the replica.
        replica_policy: String => "ReplicaPolicy", Rule::text(1, 131072).matching(&patterns::POLICY);
        /// The tags of the replica.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        replica_tags: Vec<Tag> => "ReplicaTags", Rule::list_of(Tag::MEMBERS);
    }

    /// Makes a replica the primary key, and the primary a replica.
    #[derive(Clone, PartialEq)]
    UpdatePrimaryRegionRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// The Region of the new primary key.
        primary_region: String => "PrimaryRegion", Rule::text(1, 32).matching(&patterns::REGION).required();
    }
}
