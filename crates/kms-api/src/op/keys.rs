//! Operations on keys: create, describe, list, enable, disable, last use.

use crate::model::{Rule, items, patterns, shapes, values};
use crate::op::Tag;
use crate::shape::Timestamp;

/// The most characters of a description.
pub const DESCRIPTION_CHARS_MAX: usize = 8_192;

shapes! {
    /// Creates a key.
    #[derive(Clone, PartialEq)]
    CreateKeyRequest {
        /// A key policy, as JSON text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<String> => "Policy", Rule::text(1, 131072).matching(&patterns::POLICY);
        /// At most 8,192 characters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String> => "Description", Rule::text(0, 8192);
        /// What the key is for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_usage: Option<String> => "KeyUsage", Rule::one_of(values::KEY_USAGE_TYPE);
        /// The older name of the key spec.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        customer_master_key_spec: Option<String> => "CustomerMasterKeySpec", Rule::one_of(values::CUSTOMER_MASTER_KEY_SPEC);
        /// What kind of key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_spec: Option<String> => "KeySpec", Rule::one_of(values::KEY_SPEC);
        /// Where the material is from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<String> => "Origin", Rule::one_of(values::ORIGIN_TYPE);
        /// A custom key store.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        custom_key_store_id: Option<String> => "CustomKeyStoreId", Rule::text(1, 64);
        /// Whether a policy is taken that shuts out whoever puts it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bypass_policy_lockout_safety_check: Option<bool> => "BypassPolicyLockoutSafetyCheck", Rule::flag();
        /// At most 50.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tags: Vec<Tag> => "Tags", Rule::list_of(Tag::MEMBERS);
        /// Whether replicas may exist in other Regions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        multi_region: Option<bool> => "MultiRegion", Rule::flag();
        /// The id of a key outside.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        xks_key_id: Option<String> => "XksKeyId", Rule::text(1, 128).matching(&patterns::XKS_KEY_ID);
    }

    /// Answer of CreateKey.
    #[derive(Clone, PartialEq)]
    CreateKeyResponse {
        /// The key.
        key_metadata: KeyMetadata => "KeyMetadata", Rule::structure(KeyMetadata::MEMBERS);
    }

    /// Describes a key, named by id, ARN, alias or alias ARN.
    #[derive(Clone, PartialEq)]
    DescribeKeyRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// Tokens of grants that may not be known everywhere yet; at most 10.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        grant_tokens: Vec<String> => "GrantTokens", Rule::list(&items::GRANT_TOKEN_TYPE).sized(0, 10);
    }

    /// Answer of DescribeKey.
    #[derive(Clone, PartialEq)]
    DescribeKeyResponse {
        /// The key.
        key_metadata: KeyMetadata => "KeyMetadata", Rule::structure(KeyMetadata::MEMBERS);
    }

    /// Lists all keys of the account in the Region.
    #[derive(Clone, PartialEq)]
    ListKeysRequest {
        /// The most entries of a page, 1 to 1,000.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<i64> => "Limit", Rule::number(1, 1000);
        /// `NextMarker` of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        marker: Option<String> => "Marker", Rule::text(1, 1024).matching(&patterns::MARKER);
        /// Whose keys.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        resource_owners: Vec<String> => "ResourceOwners", Rule::list(&items::RESOURCE_OWNER_TYPE).sized(1, 2);
    }

    /// Answer of ListKeys.
    #[derive(Clone, PartialEq)]
    ListKeysResponse {
        /// In the order of their ids.
        #[serde(default)]
        keys: Vec<KeyListEntry> => "Keys", Rule::list_of(KeyListEntry::MEMBERS);
        /// Where the next page starts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_marker: Option<String> => "NextMarker", Rule::text(1, 1024).matching(&patterns::MARKER);
        /// Whether there is a next page.
        truncated: bool => "Truncated", Rule::flag();
    }

    /// Allows use of a key again.
    #[derive(Clone, PartialEq)]
    EnableKeyRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
    }

    /// Forbids use of a key.
    #[derive(Clone, PartialEq)]
    DisableKeyRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
    }

    /// Replaces a description.
    #[derive(Clone, PartialEq)]
    UpdateKeyDescriptionRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// At most 8,192 characters.
        description: String => "Description", Rule::text(0, 8192).required();
    }

    /// Tells when a key was last used.
    #[derive(Clone, PartialEq)]
    GetKeyLastUsageRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
    }

    /// Answer of GetKeyLastUsage.
    #[derive(Clone, PartialEq)]
    GetKeyLastUsageResponse {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
        /// The last use; empty where there was none.
        key_last_usage: KeyLastUsageData => "KeyLastUsage", Rule::structure(KeyLastUsageData::MEMBERS);
        /// Since when uses are kept.
        tracking_start_date: Timestamp => "TrackingStartDate", Rule::time();
        /// When the key was made.
        key_creation_date: Timestamp => "KeyCreationDate", Rule::time();
    }

    /// Everything about a key but its material.
    #[derive(Clone, PartialEq)]
    KeyMetadata {
        /// The account the key belongs to.
        aws_account_id: String => "AWSAccountId", Rule::any_text();
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// The ARN.
        arn: String => "Arn", Rule::text(20, 2048);
        /// When it was made.
        creation_date: Timestamp => "CreationDate", Rule::time();
        /// Whether the state is `Enabled`.
        enabled: bool => "Enabled", Rule::flag();
        /// At most 8,192 characters.
        description: String => "Description", Rule::text(0, 8192);
        /// What the key is for.
        key_usage: String => "KeyUsage", Rule::one_of(values::KEY_USAGE_TYPE);
        /// The state.
        key_state: String => "KeyState", Rule::one_of(values::KEY_STATE);
        /// When the key goes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deletion_date: Option<Timestamp> => "DeletionDate", Rule::time();
        /// When the material expires.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        valid_to: Option<Timestamp> => "ValidTo", Rule::time();
        /// Where the material is from.
        origin: String => "Origin", Rule::one_of(values::ORIGIN_TYPE);
        /// A custom key store.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        custom_key_store_id: Option<String> => "CustomKeyStoreId", Rule::text(1, 64);
        /// The cluster of a custom key store.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cloud_hsm_cluster_id: Option<String> => "CloudHsmClusterId", Rule::text(19, 24).matching(&patterns::CLUSTER_ID);
        /// Whether the material expires.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expiration_model: Option<String> => "ExpirationModel", Rule::one_of(values::EXPIRATION_MODEL_TYPE);
        /// `CUSTOMER`.
        key_manager: String => "KeyManager", Rule::one_of(values::KEY_MANAGER_TYPE);
        /// The older name of the key spec.
        customer_master_key_spec: String => "CustomerMasterKeySpec", Rule::one_of(values::CUSTOMER_MASTER_KEY_SPEC);
        /// What kind of key.
        key_spec: String => "KeySpec", Rule::one_of(values::KEY_SPEC);
        /// Those the key can do.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        encryption_algorithms: Vec<String> => "EncryptionAlgorithms", Rule::list(&items::ENCRYPTION_ALGORITHM_SPEC);
        /// Those the key can do.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        signing_algorithms: Vec<String> => "SigningAlgorithms", Rule::list(&items::SIGNING_ALGORITHM_SPEC);
        /// Those the key can do.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        key_agreement_algorithms: Vec<String> => "KeyAgreementAlgorithms", Rule::list(&items::KEY_AGREEMENT_ALGORITHM_SPEC);
        /// Those the key can do.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        encapsulation_algorithms: Vec<String> => "EncapsulationAlgorithms", Rule::list(&items::ENCAPSULATION_ALGORITHM_SPEC);
        /// Whether replicas may exist in other Regions.
        multi_region: bool => "MultiRegion", Rule::flag();
        /// Its primary key and replicas.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        multi_region_configuration: Option<MultiRegionConfiguration> => "MultiRegionConfiguration", Rule::structure(MultiRegionConfiguration::MEMBERS);
        /// The waiting period of a primary key whose replicas must go first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pending_deletion_window_in_days: Option<i64> => "PendingDeletionWindowInDays", Rule::number(1, 365);
        /// Those the key can do.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        mac_algorithms: Vec<String> => "MacAlgorithms", Rule::list(&items::MAC_ALGORITHM_SPEC);
        /// The key outside.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        xks_key_configuration: Option<XksKeyConfigurationType> => "XksKeyConfiguration", Rule::structure(XksKeyConfigurationType::MEMBERS);
        /// The material that encrypts now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        current_key_material_id: Option<String> => "CurrentKeyMaterialId", Rule::text(64, 64).matching(&patterns::LOWER_HEX);
    }

    /// How a multi-Region key hangs together.
    #[derive(Clone, PartialEq)]
    MultiRegionConfiguration {
        /// `PRIMARY` or `REPLICA`.
        multi_region_key_type: String => "MultiRegionKeyType", Rule::one_of(values::MULTI_REGION_KEY_TYPE);
        /// The primary key.
        primary_key: MultiRegionKey => "PrimaryKey", Rule::structure(MultiRegionKey::MEMBERS);
        /// The replicas.
        #[serde(default)]
        replica_keys: Vec<MultiRegionKey> => "ReplicaKeys", Rule::list_of(MultiRegionKey::MEMBERS);
    }

    /// One key of a multi-Region key.
    #[derive(Clone, PartialEq)]
    MultiRegionKey {
        /// The ARN.
        arn: String => "Arn", Rule::text(20, 2048);
        /// Its Region.
        region: String => "Region", Rule::text(1, 32).matching(&patterns::REGION);
    }

    /// A key outside, that a custom key store stands for.
    #[derive(Clone, PartialEq)]
    XksKeyConfigurationType {
        /// The id.
        id: String => "Id", Rule::text(1, 128).matching(&patterns::XKS_KEY_ID);
    }

    /// A key in a list.
    #[derive(Clone, PartialEq)]
    KeyListEntry {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
        /// The ARN.
        key_arn: String => "KeyArn", Rule::text(20, 2048);
    }

    /// One use of a key.
    #[derive(Clone, PartialEq)]
    KeyLastUsageData {
        /// Which operation it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        operation: Option<String> => "Operation", Rule::one_of(values::KEY_LAST_USAGE_TRACKING_OPERATION);
        /// When.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timestamp: Option<Timestamp> => "Timestamp", Rule::time();
        /// The id of its audit record.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cloud_trail_event_id: Option<String> => "CloudTrailEventId", Rule::any_text();
        /// The id of its request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kms_request_id: Option<String> => "KmsRequestId", Rule::any_text();
    }
}
