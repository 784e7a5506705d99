//! Whether somebody may do something: key policy, identity policies, session policies and grants
//! together (IAM User Guide, "Policy evaluation logic").
//!
//! ```text
//! any statement that denies                                          no
//! same account    key policy names the caller                        yes
//!                 key policy names the account, and an identity
//!                 policy allows (the root user needs none)           yes
//!                 a grant                                            yes
//! other account   key policy or a grant allows, and an identity
//!                 policy of the caller's account too                 yes
//! no key          an identity policy allows (the root user: always)  yes
//! session         with session policies: one of them allows as well,
//!                 unless the key policy names the session itself
//! otherwise                                                          no
//! ```

use super::condition::Known;
use super::document::{Named, Policy, Principals, Statement};
use std::sync::Arc;

/// What kind of principal calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The account itself.
    Root,
    /// A user.
    User,
    /// A session of a role.
    Session,
    /// Whom a token of an OpenID Connect provider names; the ARN is the provider's.
    Web,
    /// A service.
    Service,
}

/// Who calls.
#[derive(Debug, Clone, Copy)]
pub struct Principal<'a> {
    /// `arn:aws:iam::ACCOUNT:user/NAME`, `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`, …; the
    /// name of a service.
    pub arn: &'a str,
    /// 12 digits.
    pub account: &'a str,
    /// Which kind.
    pub kind: Kind,
    /// The role of a session.
    pub role_arn: Option<&'a str>,
}

impl Principal<'_> {
    /// Whether an ARN names them: their own, or that of a session's role.
    pub fn is_named(&self, arn: Option<&str>) -> bool {
        arn.is_some() && (arn == Some(self.arn) || arn == self.role_arn)
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Who.
    pub principal: Principal<'a>,
    /// What: `kms:Encrypt`.
    pub action: &'a str,
    /// An ARN, or `*` for actions that are on none.
    pub resource: &'a str,
    /// Whose account the resource is in.
    pub account: &'a str,
    /// What is known of the request.
    pub facts: &'a dyn Known,
    /// The key's policy, where the action is on a key.
    pub key_policy: Option<&'a Policy>,
    /// The policies of the user or role.
    pub identity: &'a [Arc<Policy>],
    /// The policies of the session; none, where it was begun without.
    pub session: &'a [Arc<Policy>],
    /// Whether a grant allows it.
    pub has_grant: bool,
}

/// Why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A statement of the key policy.
    KeyPolicy(At),
    /// A statement of an identity policy; the key policy leaves it to the account, if there is a
    /// key.
    Identity(At),
    /// A statement of a session policy.
    Session(At),
    /// A grant.
    Grant,
    /// Root of its own account needs no policy.
    Root,
    /// No statement of the key policy allows it.
    NoKeyPolicy,
    /// No statement of an identity policy allows it.
    NoIdentity,
    /// No statement of a session policy allows it.
    NoSession,
}

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// Which of several policies, from 0.
    pub policy: usize,
    /// Which statement of it, from 0.
    pub statement: usize,
    /// Its id, where it has one.
    pub sid: Option<String>,
}

/// Yes or no, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why, or why not.
    pub reason: Reason,
    /// The statement of an identity policy that had to allow it as well: where the key policy leaves
    /// it to the account, and where the key is another account's.
    pub also: Option<At>,
}

impl Decision {
    fn yes(reason: Reason) -> Self {
        Self {
            allowed: true,
            reason,
            also: None,
        }
    }

    fn no(reason: Reason) -> Self {
        Self {
            allowed: false,
            reason,
            also: None,
        }
    }

    /// What follows "is not authorized to perform: ACTION on resource: ARN", as AWS says it.
    pub fn because(&self, action: &str) -> String {
        match &self.reason {
            Reason::KeyPolicy(_) => "with an explicit deny in a resource-based policy".to_owned(),
            Reason::Identity(_) => "with an explicit deny in an identity-based policy".to_owned(),
            Reason::Session(_) => "with an explicit deny in a session policy".to_owned(),
            Reason::NoIdentity => {
                format!("because no identity-based policy allows the {action} action")
            }
            Reason::NoSession => format!("because no session policy allows the {action} action"),
            Reason::NoKeyPolicy | Reason::Grant | Reason::Root => {
                format!("because no resource-based policy allows the {action} action")
            }
        }
    }
}

/// How a key policy speaks of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Spoken {
    /// Of their account.
    Account,
    /// Of them, or of everyone.
    Them,
    /// Of this one session.
    Session,
}

fn spoken(named: &Named, principal: &Principal<'_>) -> Option<Spoken> {
    match named {
        Named::Anyone => Some(Spoken::Them),
        Named::Account(account) if *account == principal.account => Some(match principal.kind {
            Kind::Root => Spoken::Them,
            _ => Spoken::Account,
        }),
        // The ARN of a provider is nobody's own.
        Named::Arn(_) if principal.kind == Kind::Web => None,
        Named::Arn(arn) if arn == principal.arn => Some(match principal.kind {
            Kind::Session => Spoken::Session,
            _ => Spoken::Them,
        }),
        Named::Arn(arn) if Some(arn.as_str()) == principal.role_arn => Some(Spoken::Them),
        Named::Federated(arn) if principal.kind == Kind::Web && arn == principal.arn => {
            Some(Spoken::Them)
        }
        Named::Service(name) if principal.kind == Kind::Service && name == principal.arn => {
            Some(Spoken::Them)
        }
        _ => None,
    }
}

fn speaks(statement: &Statement, principal: &Principal<'_>) -> Option<Spoken> {
    let strongest = |named: &[Named]| named.iter().filter_map(|one| spoken(one, principal)).max();
    match &statement.principals {
        Principals::Unnamed => Some(Spoken::Them),
        Principals::Only(named) => strongest(named),
        Principals::AllBut(named) => match strongest(named) {
            None => Some(Spoken::Them),
            Some(_) => None,
        },
    }
}

/// The first statement that denies, and the one that allows most plainly.
#[derive(Default)]
struct Found {
    denied: Option<At>,
    allowed: Option<(Spoken, At)>,
}

impl Found {
    /// `action` is the question's, in lower case.
    fn of<'p>(
        policies: impl Iterator<Item = &'p Policy>,
        question: &Question<'_>,
        action: &str,
    ) -> Self {
        let mut found = Self::default();
        for (policy, one) in policies.enumerate() {
            for (statement, it) in one.statements.iter().enumerate() {
                let Some(spoken) = speaks(it, &question.principal) else {
                    continue;
                };
                if !it.speaks_of(action, question.resource, question.facts) {
                    continue;
                }
                let at = || At {
                    policy,
                    statement,
                    sid: it.sid.clone(),
                };
                if !it.allows {
                    found.denied.get_or_insert_with(at);
                } else if found
                    .allowed
                    .as_ref()
                    .is_none_or(|(so_far, _)| spoken > *so_far)
                {
                    found.allowed = Some((spoken, at()));
                }
            }
        }
        found
    }
}

/// Whether it is allowed.
pub fn decide(question: &Question<'_>) -> Decision {
    let action = question.action.to_ascii_lowercase();
    let of =
        |policies: &[Arc<Policy>]| Found::of(policies.iter().map(Arc::as_ref), question, &action);
    let key = Found::of(question.key_policy.into_iter(), question, &action);
    let (identity, session) = (of(question.identity), of(question.session));
    if let Some(at) = key.denied {
        return Decision::no(Reason::KeyPolicy(at));
    }
    if let Some(at) = identity.denied {
        return Decision::no(Reason::Identity(at));
    }
    if let Some(at) = session.denied {
        return Decision::no(Reason::Session(at));
    }
    let is_session_named = matches!(key.allowed, Some((Spoken::Session, _)));
    let allowed = allowed(question, key.allowed, identity.allowed);
    let is_limited = !question.session.is_empty() && !is_session_named;
    if allowed.allowed && is_limited && session.allowed.is_none() {
        return Decision::no(Reason::NoSession);
    }
    allowed
}

/// As if there were no session policies, and nothing denied.
fn allowed(
    question: &Question<'_>,
    key: Option<(Spoken, At)>,
    identity: Option<(Spoken, At)>,
) -> Decision {
    let Question {
        principal,
        account,
        key_policy,
        has_grant,
        ..
    } = question;
    let is_root = principal.kind == Kind::Root;
    let is_own = principal.account == *account;
    let by_identity = match identity {
        Some((_, at)) => Some(Reason::Identity(at)),
        None if is_root => Some(Reason::Root),
        None => None,
    };
    if key_policy.is_none() {
        // On no key: listing, creating. Another account's is nobody's.
        return match by_identity.filter(|_| is_own) {
            Some(reason) => Decision::yes(reason),
            None => Decision::no(Reason::NoIdentity),
        };
    }
    let is_left = matches!(key, Some((Spoken::Account, _)));
    let by_key = match key {
        Some((Spoken::Account, at)) if is_own => match &by_identity {
            // The key policy leaves it to the account.
            Some(_) => Some(Reason::KeyPolicy(at)),
            None if *has_grant => None,
            None => return Decision::no(Reason::NoIdentity),
        },
        Some((_, at)) => Some(Reason::KeyPolicy(at)),
        None => None,
    };
    let reason = match by_key {
        Some(reason) => reason,
        None if *has_grant => Reason::Grant,
        None => return Decision::no(Reason::NoKeyPolicy),
    };
    match by_identity {
        None if !is_own => Decision::no(Reason::NoIdentity),
        Some(Reason::Identity(at)) if !is_own || is_left => Decision {
            also: Some(at),
            ..Decision::yes(reason)
        },
        _ => Decision::yes(reason),
    }
}

/// Whether `policy` would keep `principal` from ever putting another one in its place.
pub fn locks_out(policy: &Policy, principal: &Principal<'_>, key: &str, facts: &dyn Known) -> bool {
    let question = Question {
        principal: *principal,
        action: "kms:PutKeyPolicy",
        resource: key,
        account: principal.account,
        facts,
        key_policy: Some(policy),
        identity: &[],
        session: &[],
        has_grant: false,
    };
    let action = question.action.to_ascii_lowercase();
    let found = Found::of(std::iter::once(policy), &question, &action);
    found.denied.is_some() || found.allowed.is_none()
}
