//! GetKeyPolicy, PutKeyPolicy and ListKeyPolicies. A key has one policy, called `default`: the one
//! that it was given, or that of AWS KMS.

use super::keys::changed;
use super::{Perform, one_key};
use crate::engine::{KeyEntry, View};
use crate::policy::decision::locks_out;
use crate::policy::{Facts, Policy, PolicyKind, default_key_policy};
use crate::request::Done;
use waxseal_core::KeyArn;
use waxseal_kms_api::op::*;
use waxseal_kms_api::{ErrorCode, KmsError};

/// The name of the one policy that a key has.
const DEFAULT: &str = "default";

impl Perform for GetKeyPolicyRequest {
    one_key!(listed);

    fn run(self, key: KeyEntry, _: &View<'_>) -> Result<Done<GetKeyPolicyResponse>, KmsError> {
        named(self.policy_name.as_deref())?;
        let home = &key.arn.home;
        let given = key.record.policy.clone();
        Ok(Done::read(GetKeyPolicyResponse {
            policy: given.unwrap_or_else(|| default_key_policy(&home.partition, &home.account)),
            policy_name: DEFAULT.to_owned(),
        }))
    }
}

impl Perform for ListKeyPoliciesRequest {
    one_key!(listed);

    fn run(self, _: KeyEntry, _: &View<'_>) -> Result<Done<ListKeyPoliciesResponse>, KmsError> {
        Ok(Done::read(ListKeyPoliciesResponse {
            policy_names: vec![DEFAULT.to_owned()],
            next_marker: None,
            truncated: false,
        }))
    }
}

impl Perform for PutKeyPolicyRequest {
    one_key!(changed);

    fn run(self, key: KeyEntry, view: &View<'_>) -> Result<Done<Empty>, KmsError> {
        named(self.policy_name.as_deref())?;
        let bypass = self.bypass_policy_lockout_safety_check;
        acceptable(view, &key.arn, &self.policy, bypass.unwrap_or(false))?;
        changed(&key, |record| record.policy = Some(self.policy))
    }
}

/// Refuses any name but the one there is.
fn named(name: Option<&str>) -> Result<(), KmsError> {
    match name {
        None | Some(DEFAULT) => Ok(()),
        Some(_) => Err(KmsError::new(ErrorCode::NotFound, "No such policy exists")),
    }
}

/// Refuses what is no policy, and a policy under which the caller could not put another one, unless
/// they say that they mean it.
pub(super) fn acceptable(
    view: &View<'_>,
    key: &KeyArn,
    text: &str,
    may_lock_out: bool,
) -> Result<(), KmsError> {
    let malformed = |what: String| KmsError::new(ErrorCode::MalformedPolicyDocument, what);
    let policy =
        Policy::parse(text, PolicyKind::Key).map_err(|error| malformed(error.to_string()))?;
    let mut facts = Facts::default();
    let caller = view.caller()?;
    facts.set("aws:PrincipalArn", caller.arn());
    facts.set("aws:PrincipalAccount", caller.account());
    facts.set("kms:CallerAccount", caller.account());
    if !may_lock_out && locks_out(&policy, &caller.principal(), &key.to_string(), &facts) {
        return Err(malformed(
            "The new key policy will not allow you to update the key policy in the future."
                .to_owned(),
        ));
    }
    Ok(())
}
