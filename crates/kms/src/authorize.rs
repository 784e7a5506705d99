//! Who may do what.
//!
//! Default deny. Every key carries the default key policy of AWS KMS, which gives the account
//! that owns it every action; nobody else is mentioned, so nobody else is allowed. Key policies of
//! one's own, identity policies and grants are evaluated here when they come.

use crate::request::Caller;
use waxseal_core::KeyArn;
use waxseal_core::arn::Home;
use waxseal_kms_api::{Action, ErrorCode, KmsError};

/// What an action is done to.
#[derive(Debug, Clone)]
pub(crate) enum Resource {
    /// A key.
    Key(KeyArn),
    /// The account as a whole: listing, creating, random bytes; aliases too.
    Account(Home),
}

impl Resource {
    /// The key's ARN, for audit records.
    pub(crate) fn key_arn(&self) -> Option<String> {
        match self {
            Self::Key(arn) => Some(arn.to_string()),
            Self::Account(_) => None,
        }
    }

    /// The account it belongs to.
    pub(crate) fn account(&self) -> &str {
        match self {
            Self::Key(arn) => &arn.home.account,
            Self::Account(home) => &home.account,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Key(arn) => arn.to_string(),
            Self::Account(_) => "*".to_owned(),
        }
    }
}

/// One thing that a request needs to be allowed.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) action: Action,
    pub(crate) resource: Resource,
}

/// Allows, or says no as AWS does.
pub(crate) fn decide(caller: &Caller, access: &Access) -> Result<(), KmsError> {
    let Home {
        partition, account, ..
    } = match &access.resource {
        Resource::Key(arn) => &arn.home,
        Resource::Account(home) => home,
    };
    // Statement of the default key policy: Principal {"AWS": "arn:PARTITION:iam::ACCOUNT:root"},
    // Action "kms:*", Resource "*".
    if caller.arn() == format!("arn:{partition}:iam::{account}:root") {
        return Ok(());
    }
    Err(KmsError::new(
        ErrorCode::AccessDenied,
        format!(
            "User: {} is not authorized to perform: {} on resource: {}",
            caller.arn(),
            access.action,
            access.resource.name()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(account: &str) -> Home {
        Home {
            partition: "aws".into(),
            region: "local".into(),
            account: account.into(),
        }
    }

    #[test]
    fn the_owner_is_allowed_and_nobody_else() {
        let access = Access {
            action: Action("Decrypt"),
            resource: Resource::Key(home("111122223333").key_arn("k".parse().unwrap())),
        };
        assert!(decide(&Caller::owner(&home("111122223333"), "test"), &access).is_ok());
        let denied = decide(&Caller::owner(&home("444455556666"), "test"), &access).unwrap_err();
        assert_eq!(denied.code, ErrorCode::AccessDenied);
        assert_eq!(
            denied.message.unwrap(),
            "User: arn:aws:iam::444455556666:root is not authorized to perform: kms:Decrypt \
             on resource: arn:aws:kms:local:111122223333:key/k"
        );
    }
}
