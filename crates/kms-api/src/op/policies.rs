//! Operations on key policies.

use crate::model::{Rule, items, patterns, shapes};

shapes! {
    /// Gives a key policy as it was put.
    #[derive(Clone, PartialEq)]
    GetKeyPolicyRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// `default`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy_name: Option<String> => "PolicyName", Rule::text(1, 128).matching(&patterns::WORD);
    }

    /// Answer of GetKeyPolicy.
    #[derive(Clone, PartialEq)]
    GetKeyPolicyResponse {
        /// A key policy, as JSON text.
        policy: String => "Policy", Rule::text(1, 131072).matching(&patterns::POLICY);
        /// `default`.
        policy_name: String => "PolicyName", Rule::text(1, 128).matching(&patterns::WORD);
    }

    /// Replaces a key policy.
    #[derive(Clone, PartialEq)]
    PutKeyPolicyRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// `default`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy_name: Option<String> => "PolicyName", Rule::text(1, 128).matching(&patterns::WORD);
        /// A key policy, as JSON text.
        policy: String => "Policy", Rule::text(1, 131072).matching(&patterns::POLICY).required();
        /// Whether a policy is taken that shuts out whoever puts it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bypass_policy_lockout_safety_check: Option<bool> => "BypassPolicyLockoutSafetyCheck", Rule::flag();
    }

    /// Lists the names of the policies of a key: `default`.
    #[derive(Clone, PartialEq)]
    ListKeyPoliciesRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// The most entries of a page, 1 to 1,000.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<i64> => "Limit", Rule::number(1, 1000);
        /// `NextMarker` of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        marker: Option<String> => "Marker", Rule::text(1, 1024).matching(&patterns::MARKER);
    }

    /// Answer of ListKeyPolicies.
    #[derive(Clone, PartialEq)]
    ListKeyPoliciesResponse {
        /// `default`.
        #[serde(default)]
        policy_names: Vec<String> => "PolicyNames", Rule::list(&items::POLICY_NAME_TYPE);
        /// Where the next page starts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_marker: Option<String> => "NextMarker", Rule::text(1, 1024).matching(&patterns::MARKER);
        /// Whether there is a next page.
        truncated: bool => "Truncated", Rule::flag();
    }
}
