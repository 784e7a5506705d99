//! Who calls, and from where.

use crate::audit::Written;
use crate::federation::Federated;
use crate::policy::{self, Policy, Principal};
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};
use time::OffsetDateTime;
use waxseal_core::arn::Home;

/// Who calls, and from where.
#[derive(Debug, Clone)]
pub struct Caller {
    known: Arc<Known>,
    source_ip_address: Arc<str>,
    user_agent: String,
    is_secure: bool,
}

/// What all requests of a caller have in common.
#[derive(Debug, Clone)]
struct Known {
    who: Who,
    arn: String,
    account: String,
    access_key_id: Option<String>,
    identity: Vec<Arc<Policy>>,
    session: Vec<Arc<Policy>>,
    /// `userIdentity`, once it was asked for.
    told: OnceLock<Written>,
}

/// What kind of principal, and what is known of each.
#[derive(Debug, Clone)]
pub(crate) enum Who {
    /// The account itself.
    Root,
    /// Nobody who is known.
    Stranger,
    /// A user.
    User { id: String, name: String },
    /// A session of a role.
    Session {
        role_id: String,
        role_name: String,
        role_arn: String,
        session_name: String,
        /// When it began, in seconds since 1970.
        since: i64,
        /// Whom the token named that it began with, if it was a web identity's.
        federated: Option<Federated>,
    },
    /// Whom a token of an OpenID Connect provider names.
    Web(Federated),
}

impl Caller {
    /// The owner of the account that `home` names: whoever can open an embedded KMS.
    ///
    /// `user_agent` describes the program, for the audit log.
    pub fn owner(home: &Home, user_agent: impl Into<String>) -> Self {
        let arn = format!("arn:{}:iam::{}:root", home.partition, home.account);
        let mut caller = Self::new(Who::Root, arn, home.account.clone());
        caller.user_agent = user_agent.into();
        caller
    }

    /// Somebody who did not prove who they are: for the record of their refusal. No policy lets
    /// them do anything, for they are in no account.
    pub fn stranger() -> Self {
        Self::new(Who::Stranger, String::new(), String::new())
    }

    pub(crate) fn new(who: Who, arn: String, account: String) -> Self {
        Self {
            known: Arc::new(Known {
                who,
                arn,
                account,
                access_key_id: None,
                identity: Vec::new(),
                session: Vec::new(),
                told: OnceLock::new(),
            }),
            source_ip_address: "127.0.0.1".into(),
            user_agent: String::new(),
            is_secure: false,
        }
    }

    fn known_mut(&mut self) -> &mut Known {
        let known = Arc::make_mut(&mut self.known);
        known.told = OnceLock::new();
        known
    }

    /// With the policies of the user or role, and of the session.
    pub(crate) fn under(mut self, identity: Vec<Arc<Policy>>, session: Vec<Arc<Policy>>) -> Self {
        let known = self.known_mut();
        known.identity = identity;
        known.session = session;
        self
    }

    /// The same caller, calling from `source_ip_address`.
    #[must_use]
    pub fn from_address(mut self, source_ip_address: impl Into<Arc<str>>) -> Self {
        self.source_ip_address = source_ip_address.into();
        self
    }

    /// The same caller, with the program that it says it is.
    #[must_use]
    pub fn by_program(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// The same caller, who signed with this access key.
    #[must_use]
    pub fn with_access_key(mut self, id: impl Into<String>) -> Self {
        self.known_mut().access_key_id = Some(id.into());
        self
    }

    /// The same caller, over TLS or not.
    #[must_use]
    pub fn over_tls(mut self, is_secure: bool) -> Self {
        self.is_secure = is_secure;
        self
    }

    /// The principal's ARN.
    pub fn arn(&self) -> &str {
        &self.known.arn
    }

    /// The principal's account.
    pub fn account(&self) -> &str {
        &self.known.account
    }

    /// The principal's unique id: `AIDA…` of a user, `AROA…:SESSION` of a session, the account of
    /// its root.
    pub(crate) fn id(&self) -> String {
        match &self.known.who {
            Who::Root | Who::Stranger => self.known.account.clone(),
            Who::User { id, .. } => id.clone(),
            Who::Session {
                role_id,
                session_name,
                ..
            } => format!("{role_id}:{session_name}"),
            Who::Web(Federated {
                provider,
                subject,
                audience,
                ..
            }) => format!("{provider}:{audience}:{subject}"),
        }
    }

    /// Whom a token named, of a web identity or of a session that it began.
    pub(crate) fn federated(&self) -> Option<&Federated> {
        match &self.known.who {
            Who::Web(federated) => Some(federated),
            Who::Session { federated, .. } => federated.as_ref(),
            Who::Root | Who::Stranger | Who::User { .. } => None,
        }
    }

    pub(crate) fn who(&self) -> &Who {
        &self.known.who
    }

    /// Whether it is the account itself that calls.
    pub(crate) fn is_root(&self) -> bool {
        matches!(self.known.who, Who::Root)
    }

    /// The policies of the user or role.
    pub(crate) fn identity_policies(&self) -> &[Arc<Policy>] {
        &self.known.identity
    }

    /// The policies that the session was begun with.
    pub(crate) fn session_policies(&self) -> &[Arc<Policy>] {
        &self.known.session
    }

    /// From where.
    pub(crate) fn source_ip_address(&self) -> &str {
        &self.source_ip_address
    }

    /// With which program, as it says itself.
    pub(crate) fn user_agent(&self) -> &str {
        &self.user_agent
    }

    /// Whether the request came over TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// As policies see them.
    pub(crate) fn principal(&self) -> Principal<'_> {
        let (kind, role_arn) = match &self.known.who {
            Who::Root => (policy::Kind::Root, None),
            Who::Stranger => (policy::Kind::Service, None),
            Who::User { .. } => (policy::Kind::User, None),
            Who::Session { role_arn, .. } => (policy::Kind::Session, Some(role_arn.as_str())),
            Who::Web(_) => (policy::Kind::Web, None),
        };
        Principal {
            arn: &self.known.arn,
            account: &self.known.account,
            kind,
            role_arn,
        }
    }

    /// `userIdentity` of the audit record.
    pub(crate) fn identity(&self) -> Written {
        let told = &self.known.told;
        told.get_or_init(|| Written::from(self.identified()))
            .clone()
    }

    fn identified(&self) -> Value {
        let (kind, id) = match &self.known.who {
            Who::Root => ("Root", self.known.account.clone()),
            Who::Stranger => {
                return json!({
                    "type": "Unknown",
                    "principalId": "",
                    "accountId": "ANONYMOUS_PRINCIPAL",
                });
            }
            Who::Web(federated) => {
                return json!({
                    "type": "WebIdentityUser",
                    "principalId": self.id(),
                    "userName": federated.subject,
                    "identityProvider": federated.provider,
                });
            }
            Who::User { .. } => ("IAMUser", self.id()),
            Who::Session { .. } => ("AssumedRole", self.id()),
        };
        let mut identity = json!({
            "type": kind,
            "principalId": id,
            "arn": self.known.arn,
            "accountId": self.known.account,
        });
        if let Some(access_key_id) = &self.known.access_key_id {
            identity["accessKeyId"] = json!(access_key_id);
        }
        match &self.known.who {
            Who::Root | Who::Stranger | Who::Web(_) => {}
            Who::User { name, .. } => identity["userName"] = json!(name),
            Who::Session {
                role_id,
                role_name,
                role_arn,
                since,
                federated,
                ..
            } => {
                identity["sessionContext"] = json!({
                    "sessionIssuer": {
                        "type": "Role",
                        "principalId": role_id,
                        "arn": role_arn,
                        "accountId": self.known.account,
                        "userName": role_name,
                    },
                    "attributes": {
                        "creationDate": date(*since),
                        "mfaAuthenticated": "false",
                    },
                });
                if let Some(Federated { provider, .. }) = federated {
                    identity["sessionContext"]["webIdFederationData"] =
                        json!({ "federatedProvider": provider, "attributes": {} });
                }
            }
        }
        identity
    }
}

/// `2026-01-31T23:59:59Z`
fn date(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds);
    crate::audit::timestamp(time.unwrap_or(OffsetDateTime::UNIX_EPOCH))
}
