//! STS: GetCallerIdentity, AssumeRole and AssumeRoleWithWebIdentity.

use super::{Needs, Perform, invalid};
use crate::authorize::{Access, Resource, refused};
use crate::caller::Who;
use crate::engine::{View, internal};
use crate::federation::Federated;
use crate::policy::{Policy, PolicyKind};
use crate::principals::{
    PrincipalEntry, RoleName, Session, Sort, new_id, new_secret, role_of, session_arn,
};
use crate::request::Done;
use serde_json::{Value, json};
use std::sync::Arc;
use waxseal_core::SecretBytes;
use waxseal_kms_api::shape::{SecretBlob, Timestamp};
use waxseal_kms_api::sts::*;
use waxseal_kms_api::{Action, ErrorCode, KmsError, Operation};

/// How long a session is when no number is given, and the longest one that a session may begin.
const SESSION_SECONDS: i64 = 3_600;
/// What conditions may ask of a web identity's token for as long as its session lasts.
const SESSION_CLAIMS: [&str; 3] = ["amr", "aud", "sub"];

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
        Needs::role::<Self>(view, &self.role_arn)
    }

    fn run(
        self,
        role: Arc<PrincipalEntry>,
        view: &View<'_>,
    ) -> Result<Done<AssumeRoleResponse>, KmsError> {
        let caller = view.caller()?;
        let chained_max = match caller.who() {
            Who::Root => {
                return Err(KmsError::new(
                    ErrorCode::AccessDenied,
                    "Roles may not be assumed by root accounts.",
                ));
            }
            Who::Session { .. } => Some(SESSION_SECONDS),
            _ => None,
        };
        let begun = Beginning {
            name: self.role_session_name,
            seconds: self.duration_seconds,
            seconds_max: chained_max.unwrap_or(role.record.session_seconds_max),
            policy: self.policy,
            federated: None,
        };
        let session = begun.begin(&role, view)?;
        let mut done = Done::read(session);
        done.response_elements = Some(told(&done.output));
        Ok(done)
    }
}

impl Perform for AssumeRoleWithWebIdentityRequest {
    type Target = Arc<PrincipalEntry>;
    const MUTATES: bool = false;

    fn needs(&self, view: &View<'_>) -> Result<Needs<Arc<PrincipalEntry>>, KmsError> {
        Needs::role::<Self>(view, &self.role_arn)
    }

    fn run(
        self,
        role: Arc<PrincipalEntry>,
        view: &View<'_>,
    ) -> Result<Done<AssumeRoleWithWebIdentityResponse>, KmsError> {
        let Who::Web(federated) = view.caller()?.who() else {
            return Err(internal("only a web identity asks for this"));
        };
        let mut kept = federated.clone();
        kept.claims
            .retain(|name, _| SESSION_CLAIMS.contains(&name.as_str()));
        let begun = Beginning {
            name: self.role_session_name,
            seconds: self.duration_seconds,
            seconds_max: role.record.session_seconds_max,
            policy: self.policy,
            federated: Some(kept),
        };
        let session = begun.begin(&role, view)?;
        let mut elements = told(&session);
        let (subject, audience) = (federated.subject.clone(), federated.audience.clone());
        elements["subjectFromWebIdentityToken"] = json!(subject);
        elements["audience"] = json!(audience);
        elements["provider"] = json!(federated.provider);
        let mut done = Done::read(AssumeRoleWithWebIdentityResponse {
            session,
            subject,
            provider: federated.url(),
            audience,
        });
        done.response_elements = Some(elements);
        Ok(done)
    }
}

/// A session that is asked for.
struct Beginning {
    name: String,
    seconds: Option<i64>,
    seconds_max: i64,
    policy: Option<String>,
    federated: Option<Federated>,
}

impl Beginning {
    fn begin(self, role: &PrincipalEntry, view: &View<'_>) -> Result<AssumeRoleResponse, KmsError> {
        let seconds = self.seconds.unwrap_or(SESSION_SECONDS);
        if seconds > self.seconds_max {
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
            name: self.name,
            secret: SecretBlob(SecretBytes::copy_of(secret.expose())),
            since,
            end: since + seconds,
            policy: self.policy,
            federated: self.federated,
        };
        let partition = &view.home().partition;
        Ok(AssumeRoleResponse {
            arn: session_arn(partition, &role.account, &role.name, &session.name),
            assumed_role_id: format!("{}:{}", role.record.id, session.name),
            secret_access_key: SecretBlob(secret),
            session_token: SecretBlob(view.session_token(&id, &session)?),
            access_key_id: id,
            expiration: Timestamp(session.end as f64),
        })
    }
}

/// A session as the audit log shows it.
fn told(session: &AssumeRoleResponse) -> Value {
    json!({
        "credentials": { "accessKeyId": session.access_key_id },
        "assumedRoleUser": { "assumedRoleId": session.assumed_role_id, "arn": session.arn },
    })
}

impl Needs<Arc<PrincipalEntry>> {
    /// The action named like the operation, on the role that an ARN names. One that is not there is
    /// answered like one that may not be assumed.
    fn role<O: Operation>(view: &View<'_>, arn: &str) -> Result<Self, KmsError> {
        let action = Action::of::<O>();
        let RoleName {
            partition,
            account,
            name,
        } = role_of(arn)?;
        // Paths are not kept apart from names here: there are none.
        let is_here = partition == view.home().partition && !name.contains('/');
        let role = match is_here {
            true => view.principal_of(Sort::Role, account, name)?,
            false => None,
        };
        let Some(role) = role else {
            let because = format!("because no resource-based policy allows the {action} action");
            return Err(refused(view.caller()?, action, arn, &because));
        };
        Ok(Self {
            accesses: vec![Access {
                action,
                resource: Resource::Role(role.clone()),
            }],
            target: role,
        })
    }
}
