//! Policies, evaluated as AWS evaluates them (IAM User Guide, "Policy evaluation logic"; AWS KMS
//! Developer Guide, "Key access and permissions").
//!
//! * [`document`]: policies as JSON text, and what is refused as none.
//! * [`pattern`]: `*`, `?` and policy variables.
//! * [`condition`]: the operators of conditions, and the facts they look at.
//! * [`decision`]: key policy, identity policies, session policies and grants together.
//!
//! Everything here is a function of policies and facts. Who a caller is, and what a request says,
//! is put together by [`authorize`](crate::authorize).

pub mod condition;
pub mod decision;
pub mod document;
mod json;
pub mod pattern;

pub use condition::{Facts, Known};
pub use decision::{Decision, Kind, Principal, Question, Reason, decide};
pub use document::{Policy, PolicyError, PolicyKind};

/// The policy of a key that was created without one (AWS KMS Developer Guide, "Default key
/// policy"): its account may do everything, and may let others.
pub fn default_key_policy(partition: &str, account: &str) -> String {
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
