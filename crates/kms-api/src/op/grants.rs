//! Operations on grants.

use crate::model::{Rule, items, patterns, shapes};
use crate::op::ContextMap;
use crate::shape::Timestamp;
use std::collections::BTreeMap;

shapes! {
    /// Lets somebody do something with a key.
    #[derive(Clone, PartialEq)]
    CreateGrantRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// Who may.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grantee_principal: Option<String> => "GranteePrincipal", Rule::text(1, 256).matching(&patterns::PRINCIPAL);
        /// Who may give it back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retiring_principal: Option<String> => "RetiringPrincipal", Rule::text(1, 256).matching(&patterns::PRINCIPAL);
        /// What they may do.
        operations: Vec<String> => "Operations", Rule::list(&items::GRANT_OPERATION).required();
        /// What their requests must satisfy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        constraints: Option<GrantConstraints> => "Constraints", Rule::structure(GrantConstraints::MEMBERS);
        /// Tokens of grants that may not be known everywhere yet; at most 10.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        grant_tokens: Vec<String> => "GrantTokens", Rule::list(&items::GRANT_TOKEN_TYPE).sized(0, 10);
        /// A name, which makes a repeated request the same grant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String> => "Name", Rule::text(1, 256).matching(&patterns::NAME);
        /// Whether nothing is to be done but the checks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dry_run: Option<bool> => "DryRun", Rule::flag();
        /// A service that may.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grantee_service_principal: Option<String> => "GranteeServicePrincipal", Rule::text(1, 128).matching(&patterns::SERVICE_PRINCIPAL);
        /// A service that may give it back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retiring_service_principal: Option<String> => "RetiringServicePrincipal", Rule::text(1, 128).matching(&patterns::SERVICE_PRINCIPAL);
    }

    /// Answer of CreateGrant.
    #[derive(Clone, PartialEq)]
    CreateGrantResponse {
        /// Stands for the grant until it is known everywhere.
        grant_token: String => "GrantToken", Rule::text(1, 8192);
        /// The id of the grant.
        grant_id: String => "GrantId", Rule::text(1, 128);
    }

    /// Lists the grants of a key.
    #[derive(Clone, PartialEq)]
    ListGrantsRequest {
        /// The most entries of a page, 1 to 1,000.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<i64> => "Limit", Rule::number(1, 1000);
        /// `NextMarker` of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        marker: Option<String> => "Marker", Rule::text(1, 1024).matching(&patterns::MARKER);
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// The id of the grant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grant_id: Option<String> => "GrantId", Rule::text(1, 128);
        /// Who may.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grantee_principal: Option<String> => "GranteePrincipal", Rule::text(1, 256).matching(&patterns::PRINCIPAL);
        /// A service that may.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grantee_service_principal: Option<String> => "GranteeServicePrincipal", Rule::text(1, 128).matching(&patterns::SERVICE_PRINCIPAL);
    }

    /// Answer of ListGrants.
    #[derive(Clone, PartialEq)]
    ListGrantsResponse {
        /// In the order of their ids.
        #[serde(default)]
        grants: Vec<GrantListEntry> => "Grants", Rule::list_of(GrantListEntry::MEMBERS);
        /// Where the next page starts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_marker: Option<String> => "NextMarker", Rule::text(1, 1024).matching(&patterns::MARKER);
        /// Whether there is a next page.
        truncated: bool => "Truncated", Rule::flag();
    }

    /// Lists the grants that somebody may retire.
    #[derive(Clone, PartialEq)]
    ListRetirableGrantsRequest {
        /// The most entries of a page, 1 to 1,000.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<i64> => "Limit", Rule::number(1, 1000);
        /// `NextMarker` of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        marker: Option<String> => "Marker", Rule::text(1, 1024).matching(&patterns::MARKER);
        /// Who may give it back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retiring_principal: Option<String> => "RetiringPrincipal", Rule::text(1, 256).matching(&patterns::PRINCIPAL);
        /// A service that may give it back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retiring_service_principal: Option<String> => "RetiringServicePrincipal", Rule::text(1, 128).matching(&patterns::SERVICE_PRINCIPAL);
    }

    /// Gives a grant back, by token or by id.
    #[derive(Clone, PartialEq)]
    RetireGrantRequest {
        /// Stands for the grant until it is known everywhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grant_token: Option<String> => "GrantToken", Rule::text(1, 8192).secret();
        /// The key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_id: Option<String> => "KeyId", Rule::text(1, 2048);
        /// The id of the grant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grant_id: Option<String> => "GrantId", Rule::text(1, 128);
        /// Whether nothing is to be done but the checks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dry_run: Option<bool> => "DryRun", Rule::flag();
    }

    /// Takes a grant back.
    #[derive(Clone, PartialEq)]
    RevokeGrantRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// The id of the grant.
        grant_id: String => "GrantId", Rule::text(1, 128).required();
        /// Whether nothing is to be done but the checks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dry_run: Option<bool> => "DryRun", Rule::flag();
    }

    /// What the request of a grantee must satisfy.
    #[derive(Clone, PartialEq)]
    GrantConstraints {
        /// Pairs that must be in the encryption context.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        encryption_context_subset: ContextMap => "EncryptionContextSubset", Rule::pairs();
        /// The encryption context.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        encryption_context_equals: ContextMap => "EncryptionContextEquals", Rule::pairs();
        /// On whose behalf the service must act.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source_arn: Option<String> => "SourceArn", Rule::text(20, 512).matching(&patterns::SOURCE_ARN);
    }

    /// A grant in a list.
    #[derive(Clone, PartialEq)]
    GrantListEntry {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
        /// The id of the grant.
        grant_id: String => "GrantId", Rule::text(1, 128);
        /// A name, which makes a repeated request the same grant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String> => "Name", Rule::text(1, 256).matching(&patterns::NAME);
        /// When it was made.
        creation_date: Timestamp => "CreationDate", Rule::time();
        /// Who may.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grantee_principal: Option<String> => "GranteePrincipal", Rule::text(1, 256).matching(&patterns::PRINCIPAL);
        /// Who may give it back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retiring_principal: Option<String> => "RetiringPrincipal", Rule::text(1, 256).matching(&patterns::PRINCIPAL);
        /// Whose account the grant was made in.
        issuing_account: String => "IssuingAccount", Rule::text(1, 256).matching(&patterns::PRINCIPAL);
        /// What they may do.
        #[serde(default)]
        operations: Vec<String> => "Operations", Rule::list(&items::GRANT_OPERATION);
        /// What their requests must satisfy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        constraints: Option<GrantConstraints> => "Constraints", Rule::structure(GrantConstraints::MEMBERS);
        /// A service that may.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grantee_service_principal: Option<String> => "GranteeServicePrincipal", Rule::text(1, 128).matching(&patterns::SERVICE_PRINCIPAL);
        /// A service that may give it back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retiring_service_principal: Option<String> => "RetiringServicePrincipal", Rule::text(1, 128).matching(&patterns::SERVICE_PRINCIPAL);
    }
}
