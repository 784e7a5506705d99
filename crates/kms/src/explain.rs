//! Why somebody may do something, or may not: the evaluation of a request that nobody makes.

use crate::authorize::{self, Access, Asked, Resource};
use crate::caller::{Caller, Who};
use crate::engine::{Aliases, Engine};
use crate::policy::{Decision, Reason};
use crate::principals::{PrincipalEntry, Sort, session_arn};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use waxseal_core::KeyRef;
use waxseal_core::arn::Home;
use waxseal_kms_api::members::Members;
use waxseal_kms_api::op::OPERATIONS;
use waxseal_kms_api::{Action, ErrorCode, KmsError};

/// What is asked.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Whose ARN: an account's root, a user, a role, a session of a role.
    pub principal: String,
    /// `kms:Decrypt`, with or without the service.
    pub action: String,
    /// The key: id, ARN or alias.
    pub key: String,
    /// The encryption context of the request.
    pub context: BTreeMap<String, String>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Whether it would be allowed now. The key's state and the ciphertext are another matter.
    pub allowed: bool,
    /// Which statement, grant or lack of one decides, in a sentence.
    pub because: String,
    /// The ARN of the key.
    pub key: String,
}

fn wrong(what: String) -> KmsError {
    KmsError::new(ErrorCode::Validation, what)
}

impl Engine {
    /// Evaluates, with nothing done and nothing recorded: a look at the policies by whoever can open
    /// the KMS.
    ///
    /// # Errors
    /// `ValidationException` for a principal or an action that there is not, `NotFoundException` for
    /// a key that is not there, `KMSInternalException` when the store cannot be read.
    pub fn explain(&self, ask: &Ask) -> Result<Explanation, KmsError> {
        self.refresh()?;
        let named = Named::of(self, &ask.principal)?;
        let caller = named.caller(self);
        let action = action(&ask.action)?;
        let key: Option<KeyRef> = ask.key.parse().ok();
        let region = key.as_ref().and_then(KeyRef::home).map(|home| &home.region);
        let place = Home {
            partition: self.home().partition.clone(),
            region: region.unwrap_or(&self.home().region).clone(),
            account: caller.account().to_owned(),
        };
        let view = self.view(&place, Some(&caller));
        let key = view.resolve(&ask.key, Aliases::Allowed)?;
        let context: Value = json!(ask.context);
        let parameters = Members::from_iter([
            ("keyId", json!(ask.key)),
            ("encryptionContext", context.clone()),
            ("sourceEncryptionContext", context.clone()),
            ("destinationEncryptionContext", context),
        ]);
        let asked = Asked {
            caller: &caller,
            parameters: &parameters,
            view: &view,
        };
        let access = Access {
            action,
            resource: Resource::key(&key),
        };
        let decision = authorize::evaluate(&asked, &access)?;
        let grant = match decision.reason {
            Reason::Grant => authorize::grant(&asked, &access)?,
            _ => None,
        };
        Ok(Explanation {
            allowed: decision.allowed,
            because: because(&decision, &named, key.has_default_policy(), grant),
            key: key.arn.to_string(),
        })
    }
}

/// A principal that an ARN names.
enum Named {
    Root(String),
    Entry(Arc<PrincipalEntry>, Option<String>),
}

impl Named {
    fn of(engine: &Engine, arn: &str) -> Result<Self, KmsError> {
        let unknown = || wrong(format!("there is no principal {arn} here"));
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", partition, service, "", account, rest] = parts[..] else {
            return Err(wrong(format!(
                "'{arn}' names no principal: give an ARN such as arn:aws:iam::ACCOUNT:user/NAME"
            )));
        };
        if partition != engine.home().partition {
            return Err(unknown());
        }
        let found = |sort, name| engine.principal(sort, account, name)?.ok_or_else(unknown);
        match (service, rest.split_once('/')) {
            ("iam", None) if rest == "root" => Ok(Self::Root(account.to_owned())),
            ("iam", Some(("user", name))) => Ok(Self::Entry(found(Sort::User, name)?, None)),
            ("iam", Some(("role", name))) => Ok(Self::Entry(
                found(Sort::Role, name)?,
                Some("any".to_owned()),
            )),
            ("sts", Some(("assumed-role", rest))) => {
                let (role, session) = rest.split_once('/').ok_or_else(unknown)?;
                Ok(Self::Entry(
                    found(Sort::Role, role)?,
                    Some(session.to_owned()),
                ))
            }
            _ => Err(unknown()),
        }
    }

    fn caller(&self, engine: &Engine) -> Caller {
        match self {
            Self::Root(account) => engine.owner_of(account, ""),
            Self::Entry(entry, session) => {
                let (who, arn) = match session {
                    None => {
                        let who = Who::User {
                            id: entry.record.id.clone(),
                            name: entry.name.clone(),
                        };
                        (who, entry.arn.clone())
                    }
                    Some(session) => {
                        let who = Who::Session {
                            role_id: entry.record.id.clone(),
                            role_name: entry.name.clone(),
                            role_arn: entry.arn.clone(),
                            session_name: session.clone(),
                            since: engine.now().unix_timestamp(),
                            federated: None,
                        };
                        let partition = &engine.home().partition;
                        let arn = session_arn(partition, &entry.account, &entry.name, session);
                        (who, arn)
                    }
                };
                Caller::new(who, arn, entry.account.clone())
                    .under(entry.policies.clone(), Vec::new())
            }
        }
    }

    /// What an identity policy of this place in their list is called.
    fn policy(&self, at: usize) -> String {
        match self {
            Self::Root(_) => String::new(),
            Self::Entry(entry, _) => {
                let name = entry.record.policies.keys().nth(at);
                let (name, sort) = (name.map_or("", String::as_str), entry.sort.name());
                format!("policy '{name}' of {sort} {}", entry.name)
            }
        }
    }
}

fn action(text: &str) -> Result<Action, KmsError> {
    let name = text.strip_prefix("kms:").unwrap_or(text);
    for own in [Action::RE_ENCRYPT_FROM, Action::RE_ENCRYPT_TO] {
        if own.name == name {
            return Ok(own);
        }
    }
    let found = OPERATIONS.iter().find(|operation| **operation == name);
    let name = found.ok_or_else(|| wrong(format!("there is no action kms:{name}")))?;
    Ok(Action {
        service: "kms",
        name,
    })
}

fn because(
    decision: &Decision,
    named: &Named,
    has_default_policy: bool,
    grant: Option<String>,
) -> String {
    let key_policy = match has_default_policy {
        true => "the default key policy",
        false => "the key policy",
    };
    let does = if decision.allowed { "allows" } else { "denies" };
    let statement = |at: &crate::policy::decision::At| match &at.sid {
        Some(sid) => format!("statement {} (\"{sid}\")", at.statement + 1),
        None => format!("statement {}", at.statement + 1),
    };
    let identity = |at| format!("{} of {}", statement(at), named.policy(at.policy));
    if let Some(also) = &decision.also {
        let first = match &decision.reason {
            Reason::KeyPolicy(at) => format!("{} of {key_policy}", statement(at)),
            _ => format!("grant {}", grant.unwrap_or_default()),
        };
        return format!(
            "{first} leaves it to the account, and {} allows it",
            identity(also)
        );
    }
    match &decision.reason {
        Reason::KeyPolicy(at) => format!("{} of {key_policy} {does} it", statement(at)),
        Reason::Identity(at) => format!("{} {does} it", identity(at)),
        Reason::Session(at) => format!("{} of the session's policy {does} it", statement(at)),
        Reason::Grant => format!("grant {} allows it", grant.unwrap_or_default()),
        Reason::Root => "root may do it in its own account".to_owned(),
        Reason::NoKeyPolicy => format!("no statement of {key_policy} allows it, and no grant"),
        Reason::NoIdentity => {
            format!("no identity policy allows it; {key_policy} alone does not let them")
        }
        Reason::NoSession => "no statement of the session's policy allows it".to_owned(),
    }
}
