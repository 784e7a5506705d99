//! GetKeyPolicy and ListKeyPolicies. Every key has the default policy of AWS KMS.

use super::{Needs, Perform};
use crate::engine::{Aliases, KeyEntry, View};
use crate::request::Done;
use waxseal_kms_api::op::*;
use waxseal_kms_api::{ErrorCode, KmsError};

/// The name of the one policy that a key has.
const DEFAULT: &str = "default";

impl Perform for GetKeyPolicyRequest {
    type Target = KeyEntry;
    const MUTATES: bool = false;

    fn needs(&self, view: &View<'_>) -> Result<Needs<KeyEntry>, KmsError> {
        Needs::named::<Self>(view, &self.key_id, Aliases::Refused)
    }

    fn run(self, key: KeyEntry, _: &View<'_>) -> Result<Done<GetKeyPolicyResponse>, KmsError> {
        if self
            .policy_name
            .as_deref()
            .is_some_and(|name| name != DEFAULT)
        {
            return Err(KmsError::new(ErrorCode::NotFound, "No such policy exists"));
        }
        Ok(Done::read(GetKeyPolicyResponse {
            policy: default_key_policy(&key.arn.home.partition, &key.arn.home.account),
            policy_name: DEFAULT.to_owned(),
        }))
    }
}

impl Perform for ListKeyPoliciesRequest {
    type Target = KeyEntry;
    const MUTATES: bool = false;

    fn needs(&self, view: &View<'_>) -> Result<Needs<KeyEntry>, KmsError> {
        Needs::named::<Self>(view, &self.key_id, Aliases::Refused)
    }

    fn run(self, _: KeyEntry, _: &View<'_>) -> Result<Done<ListKeyPoliciesResponse>, KmsError> {
        Ok(Done::read(ListKeyPoliciesResponse {
            policy_names: vec![DEFAULT.to_owned()],
            next_marker: None,
            truncated: false,
        }))
    }
}

/// The policy of a key that was created without one (AWS KMS Developer Guide, "Default key
/// policy"): its account may do everything, and may let others.
fn default_key_policy(partition: &str, account: &str) -> String {
    format!(
        r#"{{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {{
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {{
      "AWS" : "arn:{partition}:iam::{account}:root"
    }},
    "Action" : "kms:*",
    "Resource" : "*"
  }} ]
}}"#
    )
}
