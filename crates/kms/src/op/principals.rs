//! Users and roles. What their account's root may do to them, identity policies can let others do
//! as well, under the names of IAM's actions.

use super::{Perform, put};
use crate::engine::{View, internal};
use crate::policy::{Policy, PolicyKind};
use crate::principals::{
    AccessKeyRecord, PrincipalEntry, PrincipalRecord, Sort, access_key_document, new_id, new_secret,
};
use crate::request::{Change, Done};
use crate::store::Expect;
use serde_json::json;
use std::sync::Arc;
use waxseal_core::SecretBytes;
use waxseal_kms_api::iam::{
    self, AccessKey, CreateAccessKeyRequest, CreateRoleRequest, CreateRoleResponse,
    CreateUserRequest, DeleteRoleRequest, DeleteUserRequest, DisableUserRequest, EnableUserRequest,
    ListRolesRequest, ListRolesResponse, ListUsersRequest, ListUsersResponse, PutRolePolicyRequest,
    PutUserPolicyRequest,
};
use waxseal_kms_api::op::Empty;
use waxseal_kms_api::shape::{SecretBlob, Timestamp};
use waxseal_kms_api::{ErrorCode, KmsError};

/// The most access keys of a user (IAM quotas).
const ACCESS_KEYS_MAX: usize = 2;
/// The longest session of a role that was made without a number, in seconds.
const SESSION_SECONDS: i64 = 3_600;

fn found(view: &View<'_>, sort: Sort, name: &str) -> Result<Arc<PrincipalEntry>, KmsError> {
    view.principal(sort, name)?.ok_or_else(|| {
        let sort = sort.name();
        KmsError::new(
            ErrorCode::NotFound,
            format!("The {sort} with name {name} cannot be found."),
        )
    })
}

fn kept(entry: &PrincipalEntry, record: &PrincipalRecord) -> Result<Change, KmsError> {
    put(entry.document(), Expect::Revision(entry.revision), record)
}

fn removed(entry: &PrincipalEntry) -> Change {
    Change {
        key: entry.document(),
        expect: Expect::Revision(entry.revision),
        body: None,
    }
}

fn changed(
    entry: &PrincipalEntry,
    edit: impl FnOnce(&mut PrincipalRecord),
) -> Result<Done<Empty>, KmsError> {
    let mut record = PrincipalRecord::clone(&entry.record);
    edit(&mut record);
    let mut done = Done::read(Empty {});
    done.changes = vec![kept(entry, &record)?];
    Ok(done)
}

/// An access key that was just made.
struct Made {
    id: String,
    secret: SecretBytes,
    change: Change,
}

impl Made {
    fn new(view: &View<'_>, user: &str) -> Result<Self, KmsError> {
        let id = new_id("AKIA", view.entropy()).map_err(internal)?;
        let secret = new_secret(view.entropy()).map_err(internal)?;
        let record = AccessKeyRecord {
            account: view.home().account.clone(),
            user: user.to_owned(),
            created: view.seconds(),
            secret: SecretBlob(SecretBytes::copy_of(secret.expose())),
        };
        let change = put(access_key_document(&id), Expect::Absent, &record)?;
        Ok(Self { id, secret, change })
    }

    fn answer(self, arn: String, mut changes: Vec<Change>) -> Done<AccessKey> {
        changes.push(self.change);
        let mut done = Done::read(AccessKey {
            arn,
            access_key_id: self.id.clone(),
            secret_access_key: SecretBlob(self.secret),
        });
        done.response_elements = Some(json!({ "accessKey": { "accessKeyId": self.id } }));
        done.changes = changes;
        done
    }
}

fn unmade(access_key_id: &str) -> Change {
    Change {
        key: access_key_document(access_key_id),
        // An access key is written once.
        expect: Expect::Revision(1),
        body: None,
    }
}

impl Perform for CreateUserRequest {
    super::of_account!(true);

    fn run(self, (): (), view: &View<'_>) -> Result<Done<AccessKey>, KmsError> {
        let home = view.home();
        let name = &self.user_name;
        if view.principal(Sort::User, name)?.is_some() {
            return Err(KmsError::new(
                ErrorCode::AlreadyExists,
                format!("User with name {name} already exists."),
            ));
        }
        let made = Made::new(view, name)?;
        let record = PrincipalRecord {
            id: new_id("AIDA", view.entropy()).map_err(internal)?,
            created: view.seconds(),
            is_enabled: true,
            policies: Default::default(),
            access_keys: vec![made.id.clone()],
            trust: None,
            session_seconds_max: 0,
        };
        let document = format!("{}{name}", Sort::User.prefix(&home.account));
        let arn = Sort::User.arn(&home.partition, &home.account, name);
        Ok(made.answer(arn, vec![put(document, Expect::Absent, &record)?]))
    }
}

impl Perform for CreateAccessKeyRequest {
    super::of_account!(true);

    fn run(self, (): (), view: &View<'_>) -> Result<Done<AccessKey>, KmsError> {
        let user = found(view, Sort::User, &self.user_name)?;
        let mut record = PrincipalRecord::clone(&user.record);
        let mut changes = Vec::new();
        if !self.keep_others {
            changes = record.access_keys.drain(..).map(|id| unmade(&id)).collect();
        }
        if record.access_keys.len() >= ACCESS_KEYS_MAX {
            return Err(KmsError::new(
                ErrorCode::LimitExceeded,
                format!("Cannot exceed quota for AccessKeysPerUser: {ACCESS_KEYS_MAX}"),
            ));
        }
        let made = Made::new(view, &self.user_name)?;
        record.access_keys.push(made.id.clone());
        changes.push(kept(&user, &record)?);
        Ok(made.answer(user.arn.clone(), changes))
    }
}

impl Perform for EnableUserRequest {
    super::of_account!(true);

    fn run(self, (): (), view: &View<'_>) -> Result<Done<Empty>, KmsError> {
        let user = found(view, Sort::User, &self.user_name)?;
        changed(&user, |record| record.is_enabled = true)
    }
}

impl Perform for DisableUserRequest {
    super::of_account!(true);

    fn run(self, (): (), view: &View<'_>) -> Result<Done<Empty>, KmsError> {
        let user = found(view, Sort::User, &self.user_name)?;
        changed(&user, |record| record.is_enabled = false)
    }
}

impl Perform for DeleteUserRequest {
    super::of_account!(true);

    fn run(self, (): (), view: &View<'_>) -> Result<Done<Empty>, KmsError> {
        let user = found(view, Sort::User, &self.user_name)?;
        let mut done = Done::read(Empty {});
        done.changes = vec![removed(&user)];
        let keys = user.record.access_keys.iter();
        done.changes.extend(keys.map(|id| unmade(id)));
        Ok(done)
    }
}

fn with_policy(
    entry: &PrincipalEntry,
    name: String,
    text: Option<String>,
) -> Result<Done<Empty>, KmsError> {
    if let Some(text) = &text {
        acceptable(text, PolicyKind::Identity)?;
    }
    changed(entry, |record| {
        match text {
            Some(text) => record.policies.insert(name, text),
            None => record.policies.remove(&name),
        };
    })
}

fn acceptable(text: &str, kind: PolicyKind) -> Result<(), KmsError> {
    let malformed = |error: crate::policy::PolicyError| {
        KmsError::new(ErrorCode::MalformedPolicyDocument, error.to_string())
    };
    Policy::parse(text, kind).map(drop).map_err(malformed)
}

impl Perform for PutUserPolicyRequest {
    super::of_account!(true);

    fn run(self, (): (), view: &View<'_>) -> Result<Done<Empty>, KmsError> {
        let user = found(view, Sort::User, &self.user_name)?;
        with_policy(&user, self.policy_name, self.policy_document)
    }
}

impl Perform for PutRolePolicyRequest {
    super::of_account!(true);

    fn run(self, (): (), view: &View<'_>) -> Result<Done<Empty>, KmsError> {
        let role = found(view, Sort::Role, &self.role_name)?;
        with_policy(&role, self.policy_name, self.policy_document)
    }
}

impl Perform for CreateRoleRequest {
    super::of_account!(true);

    fn run(self, (): (), view: &View<'_>) -> Result<Done<CreateRoleResponse>, KmsError> {
        acceptable(&self.assume_role_policy_document, PolicyKind::Trust)?;
        let (home, name) = (view.home(), &self.role_name);
        let arn = Sort::Role.arn(&home.partition, &home.account, name);
        let trust = Some(self.assume_role_policy_document);
        let change = match view.principal(Sort::Role, name)? {
            Some(role) => {
                let mut record = PrincipalRecord::clone(&role.record);
                record.trust = trust;
                if let Some(seconds) = self.max_session_duration {
                    record.session_seconds_max = seconds;
                }
                kept(&role, &record)?
            }
            None => {
                let record = PrincipalRecord {
                    id: new_id("AROA", view.entropy()).map_err(internal)?,
                    created: view.seconds(),
                    is_enabled: true,
                    policies: Default::default(),
                    access_keys: Vec::new(),
                    trust,
                    session_seconds_max: self.max_session_duration.unwrap_or(SESSION_SECONDS),
                };
                let document = format!("{}{name}", Sort::Role.prefix(&home.account));
                put(document, Expect::Absent, &record)?
            }
        };
        let mut done = Done::read(CreateRoleResponse { arn });
        done.changes = vec![change];
        Ok(done)
    }
}

impl Perform for DeleteRoleRequest {
    super::of_account!(true);

    fn run(self, (): (), view: &View<'_>) -> Result<Done<Empty>, KmsError> {
        let role = found(view, Sort::Role, &self.role_name)?;
        let mut done = Done::read(Empty {});
        done.changes = vec![removed(&role)];
        Ok(done)
    }
}

fn listed(view: &View<'_>, sort: Sort) -> Result<Vec<iam::PrincipalEntry>, KmsError> {
    let all = view.principals(sort)?.into_iter();
    let told = |entry: Arc<PrincipalEntry>| iam::PrincipalEntry {
        name: entry.name.clone(),
        arn: entry.arn.clone(),
        create_date: Timestamp(entry.record.created),
        enabled: entry.record.is_enabled,
        access_key_ids: entry.record.access_keys.clone(),
        policy_names: entry.record.policies.keys().cloned().collect(),
    };
    Ok(all.map(told).collect())
}

impl Perform for ListUsersRequest {
    super::of_account!(false);

    fn run(self, (): (), view: &View<'_>) -> Result<Done<ListUsersResponse>, KmsError> {
        let users = listed(view, Sort::User)?;
        Ok(Done::read(ListUsersResponse { users }))
    }
}

impl Perform for ListRolesRequest {
    super::of_account!(false);

    fn run(self, (): (), view: &View<'_>) -> Result<Done<ListRolesResponse>, KmsError> {
        let roles = listed(view, Sort::Role)?;
        Ok(Done::read(ListRolesResponse { roles }))
    }
}
