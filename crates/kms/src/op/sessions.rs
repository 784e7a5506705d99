//! STS: GetCallerIdentity and AssumeRole.

use super::{Needs, Perform, invalid};
use crate::authorize::{Access, Resource, refused};
use crate::caller::Who;
use crate::engine::{View, internal};
use crate::policy::{Policy, PolicyKind};
use crate::principals::{PrincipalEntry, Session, Sort, new_id, new_secret, session_arn};
use crate::request::Done;
use serde_json::json;
use std::sync::Arc;
use waxseal_core::SecretBytes;
use waxseal_kms_api::shape::{SecretBlob, Timestamp};
use waxseal_kms_api::sts::*;
use waxseal_kms_api::{Action, ErrorCode, KmsError};

/// How long a session is when no number is given, and the longest one that a session may begin.
const SESSION_SECONDS: i64 = 3_600;

impl Perform for GetCallerIdentityRequest {
    type Target = ();
    const MUTATES: bool = false;

    /// Everyone may ask who they are.
    fn needs(&self, _: &View<'_>) -> Result<Needs<()>, KmsError> {
        Ok(Needs {
            target: (),
            accesses: Vec::new(),
        })
    }

    fn run(self, (): (), view: &View<'_>) -> Result<Done<GetCallerIdentityResponse>, KmsError> {
        let caller = view.caller()?;
        Ok(Done::read(GetCallerIdentityResponse {
            account: caller.account().to_owned(),
            arn: caller.arn().to_owned(),
            user_id: caller.id(),
        }))
    }
}

impl Perform for AssumeRoleRequest {
    type Target = Arc<PrincipalEntry>;
    const MUTATES: bool = false;

    fn needs(&self, view: &View<'_>) -> Result<Needs<Arc<PrincipalEntry>>, KmsError> {
        let action = Action::of::<Self>();
        let role = named(view, &self.role_arn)?;
        // A role that is not there is answered like one that may not be assumed.
        let role = role.ok_or_else(|| {
            let because = format!("because no resource-based policy allows the {action} action");
            view.caller().map_or_else(
                |error| error,
                |caller| refused(caller, action, &self.role_arn, &because),
            )
        })?;
        Ok(Needs {
            accesses: vec![Access {
                action,
                resource: Resource::Role(role.clone()),
            }],
            target: role,
        })
    }

    fn run(
        self,
        role: Arc<PrincipalEntry>,
        view: &View<'_>,
    ) -> Result<Done<AssumeRoleResponse>, KmsError> {
        let caller = view.caller()?;
        if caller.is_root() {
            return Err(KmsError::new(
                ErrorCode::AccessDenied,
                "Roles may not be assumed by root accounts.",
            ));
        }
        let most = match caller.who() {
            Who::Session { .. } => SESSION_SECONDS,
            _ => role.record.session_seconds_max,
        };
        let seconds = self.duration_seconds.unwrap_or(SESSION_SECONDS);
        if seconds > most {
            return Err(invalid(
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            ));
        }
        if let Some(text) = &self.policy {
            Policy::parse(text, PolicyKind::Identity).map_err(|error| {
                KmsError::new(ErrorCode::MalformedPolicyDocument, error.to_string())
            })?;
        }
        let id = new_id("ASIA", view.entropy()).map_err(internal)?;
        let secret = new_secret(view.entropy()).map_err(internal)?;
        let since = view.now.unix_timestamp();
        let session = Session {
            account: role.account.clone(),
            role: role.name.clone(),
            role_id: role.record.id.clone(),
            name: self.role_session_name.clone(),
            secret: SecretBlob(SecretBytes::copy_of(secret.expose())),
            since,
            end: since + seconds,
            policy: self.policy,
        };
        let partition = &view.home().partition;
        let arn = session_arn(partition, &role.account, &role.name, &session.name);
        let assumed_role_id = format!("{}:{}", role.record.id, session.name);
        let mut done = Done::read(AssumeRoleResponse {
            arn: arn.clone(),
            assumed_role_id: assumed_role_id.clone(),
            access_key_id: id.clone(),
            secret_access_key: SecretBlob(secret),
            session_token: SecretBlob(view.session_token(&id, &session)?),
            expiration: Timestamp(session.end as f64),
        });
        done.response_elements = Some(json!({
            "credentials": { "accessKeyId": id },
            "assumedRoleUser": { "assumedRoleId": assumed_role_id, "arn": arn },
        }));
        Ok(done)
    }
}

/// The role of an ARN, if there is one.
fn named(view: &View<'_>, arn: &str) -> Result<Option<Arc<PrincipalEntry>>, KmsError> {
    let malformed = || invalid(format!("{arn} is invalid"));
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, rest] = parts[..] else {
        return Err(malformed());
    };
    let name = rest.strip_prefix("role/").ok_or_else(malformed)?;
    // Paths are not kept apart from names here: there are none.
    if partition != view.home().partition || name.contains('/') {
        return Ok(None);
    }
    view.principal_of(Sort::Role, account, name)
}
