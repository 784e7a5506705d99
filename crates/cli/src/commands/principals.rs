//! `waxseal user`, `waxseal role` and `waxseal oidc`: who may call the server besides the owner.

use super::Session;
use crate::args::{Account, Oidc, PolicyChange, Principal, Role, User};
use crate::embedded;
use crate::failure::Failure;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::path::Path;
use waxseal_core::SecretBytes;
use waxseal_kms::Engine;
use waxseal_kms::op::Perform;
use waxseal_kms_api::iam::{
    AccessKey, CreateAccessKeyRequest, CreateOpenIDConnectProviderRequest, CreateRoleRequest,
    CreateUserRequest, DeleteOpenIDConnectProviderRequest, DeleteRoleRequest, DeleteUserRequest,
    DisableUserRequest, EnableUserRequest, ListOpenIDConnectProvidersRequest, ListRolesRequest,
    ListUsersRequest, PrincipalEntry, PutRolePolicyRequest, PutUserPolicyRequest,
};

/// The most bytes of a policy that are read.
const POLICY_BYTES_MAX: u64 = 131_072;

/// Runs one of the commands on users.
pub(super) fn user(command: User, session: &Session) -> Result<(), Failure> {
    let home = embedded::open(&session.world)?;
    let it = Principals {
        engine: home.engine(),
        session,
    };
    match command {
        User::Create {
            name,
            policy,
            account,
        } => {
            // Read before there is a user that nobody asked for.
            let policy = policy.as_deref().map(document).transpose()?;
            let user_name = name.clone();
            let made = it.call(&account, CreateUserRequest { user_name })?;
            if policy.is_some() {
                let put = PutUserPolicyRequest {
                    user_name: name.clone(),
                    policy_name: "policy".to_owned(),
                    policy_document: policy,
                };
                if let Err(refused) = it.call(&account, put) {
                    let user_name = name;
                    it.call(&account, DeleteUserRequest { user_name })?;
                    return Err(refused);
                }
            }
            it.told(&made)
        }
        User::List { account } => it.list(it.call(&account, ListUsersRequest {})?.users),
        User::Disable(Principal { name, account }) => {
            let user_name = name.clone();
            it.call(&account, DisableUserRequest { user_name })?;
            it.done(&name, "disabled")
        }
        User::Enable(Principal { name, account }) => {
            let user_name = name.clone();
            it.call(&account, EnableUserRequest { user_name })?;
            it.done(&name, "enabled")
        }
        User::RotateKey {
            name,
            keep,
            account,
        } => {
            let request = CreateAccessKeyRequest {
                user_name: name,
                keep_others: keep,
            };
            it.told(&it.call(&account, request)?)
        }
        User::Policy {
            name,
            policy,
            account,
        } => {
            let request = PutUserPolicyRequest {
                user_name: name.clone(),
                policy_document: given(&policy)?,
                policy_name: policy.policy_name,
            };
            let changed = if policy.remove {
                "without it"
            } else {
                "with it"
            };
            it.call(&account, request)?;
            it.done(&name, changed)
        }
        User::Delete(Principal { name, account }) => {
            let user_name = name.clone();
            it.call(&account, DeleteUserRequest { user_name })?;
            it.done(&name, "deleted")
        }
    }
}

/// Runs one of the commands on roles.
pub(super) fn role(command: Role, session: &Session) -> Result<(), Failure> {
    let home = embedded::open(&session.world)?;
    let it = Principals {
        engine: home.engine(),
        session,
    };
    match command {
        Role::Create {
            name,
            trust,
            max_session,
            account,
        } => {
            let request = CreateRoleRequest {
                role_name: name,
                assume_role_policy_document: document(&trust)?,
                max_session_duration: max_session,
            };
            let arn = it.call(&account, request)?.arn;
            session.tell(&arn, || json!({ "arn": arn }))
        }
        Role::List { account } => it.list(it.call(&account, ListRolesRequest {})?.roles),
        Role::Policy {
            name,
            policy,
            account,
        } => {
            let request = PutRolePolicyRequest {
                role_name: name.clone(),
                policy_document: given(&policy)?,
                policy_name: policy.policy_name,
            };
            let changed = if policy.remove {
                "without it"
            } else {
                "with it"
            };
            it.call(&account, request)?;
            it.done(&name, changed)
        }
        Role::Delete(Principal { name, account }) => {
            let role_name = name.clone();
            it.call(&account, DeleteRoleRequest { role_name })?;
            it.done(&name, "deleted")
        }
    }
}

/// Runs one of the commands on OpenID Connect providers.
pub(super) fn oidc(command: Oidc, session: &Session) -> Result<(), Failure> {
    let home = embedded::open(&session.world)?;
    let it = Principals {
        engine: home.engine(),
        session,
    };
    match command {
        Oidc::Create {
            url,
            keys,
            client_ids,
            account,
        } => {
            let request = CreateOpenIDConnectProviderRequest {
                url,
                client_ids,
                keys: document(&keys)?,
            };
            let arn = it.call(&account, request)?.arn;
            session.tell(&arn, || json!({ "arn": arn }))
        }
        Oidc::List { account } => {
            let listed = it.call(&account, ListOpenIDConnectProvidersRequest {})?;
            for provider in listed.providers {
                let clients = provider.client_ids.join(" ");
                session.tell(&format!("{}  {clients}", provider.arn), || {
                    json!({
                        "url": provider.url,
                        "arn": provider.arn,
                        "clientIds": provider.client_ids,
                    })
                })?;
            }
            Ok(())
        }
        Oidc::Delete { url, account } => {
            let name = url.clone();
            it.call(&account, DeleteOpenIDConnectProviderRequest { url })?;
            it.done(&name, "deleted")
        }
    }
}

struct Principals<'s> {
    engine: &'s Engine,
    session: &'s Session,
}

impl Principals<'_> {
    /// One request by the owner of the account that is named.
    fn call<O: Perform>(&self, account: &Account, input: O) -> Result<O::Output, Failure> {
        let home = self.engine.home();
        let account = account.account.as_deref().unwrap_or(&home.account);
        let caller = self.engine.owner_of(account, &embedded::user_agent());
        let request = self.engine.by_caller(caller, &home.region, input);
        Ok(request.and_then(|request| self.engine.call(request))?)
    }

    /// A new access key, in the form of a shared credentials file.
    fn told(&self, made: &AccessKey) -> Result<(), Failure> {
        let (id, secret) = (&made.access_key_id, &made.secret_access_key.0);
        if self.session.report.json {
            return self.session.tell("", || {
                json!({
                    "arn": made.arn,
                    "accessKeyId": id,
                    "secretAccessKey": String::from_utf8_lossy(secret.expose()),
                })
            });
        }
        let parts: [&[u8]; 5] = [
            b"[default]\naws_access_key_id = ",
            id.as_bytes(),
            b"\naws_secret_access_key = ",
            secret.expose(),
            b"\n",
        ];
        let text = SecretBytes::new(parts.concat());
        std::io::stdout()
            .lock()
            .write_all(text.expose())
            .map_err(|error| Failure::io("write", "stdout", &error))
    }

    fn list(&self, entries: Vec<PrincipalEntry>) -> Result<(), Failure> {
        for entry in entries {
            let line = format!(
                "{}  {:<8}  {}  {}",
                entry.arn,
                if entry.enabled { "enabled" } else { "disabled" },
                entry.access_key_ids.join(" "),
                entry.policy_names.join(" "),
            );
            self.session.tell(line.trim_end(), || {
                json!({
                    "name": entry.name,
                    "arn": entry.arn,
                    "enabled": entry.enabled,
                    "accessKeyIds": entry.access_key_ids,
                    "policyNames": entry.policy_names,
                })
            })?;
        }
        Ok(())
    }

    fn done(&self, name: &str, what: &str) -> Result<(), Failure> {
        match self.session.report.json {
            true => self
                .session
                .tell("", || json!({ "name": name, "done": what })),
            false => Ok(()),
        }
    }
}

/// What a policy becomes.
fn given(change: &PolicyChange) -> Result<Option<String>, Failure> {
    change.file.as_deref().map(document).transpose()
}

/// A policy's text.
fn document(path: &Path) -> Result<String, Failure> {
    let name = path.display().to_string();
    let failed = |error: std::io::Error| Failure::io("read", &name, &error);
    let mut text = String::new();
    let read = match path.to_str() {
        Some("-") => std::io::stdin()
            .lock()
            .take(POLICY_BYTES_MAX + 1)
            .read_to_string(&mut text),
        _ => std::fs::File::open(path)
            .map_err(failed)?
            .take(POLICY_BYTES_MAX + 1)
            .read_to_string(&mut text),
    };
    read.map_err(failed)?;
    Ok(text)
}
