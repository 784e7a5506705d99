//! Who may do what: the facts of a request, and what the policies say to them.
//!
//! Default deny. A key has the policy it was given, or the default one, which leaves everything to
//! its account. See [`policy`](crate::policy) for the evaluation.

use crate::attestation::Enclave;
use crate::caller::{Caller, Who};
use crate::engine::{KeyEntry, View};
use crate::model::GrantTerms;
use crate::policy::{Decision, Facts, Known, Question, decide as decided};
use crate::principals::PrincipalEntry;
use serde_json::Value;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use time::format_description::well_known::Rfc3339;
use waxseal_core::arn::Home;
use waxseal_kms_api::members::Members;
use waxseal_kms_api::{Action, ErrorCode, KmsError};

/// What an action is done to.
#[derive(Debug, Clone)]
pub(crate) enum Resource {
    /// A key.
    Key(KeyEntry),
    /// An alias.
    Alias(String, Home),
    /// A role.
    Role(Arc<PrincipalEntry>),
    /// The account as a whole: listing, creating, random bytes.
    Account(Home),
    /// A key that there is not yet: what is said of any key of the account is said of it.
    AnyKey(Home),
}

impl Resource {
    pub(crate) fn key(entry: &KeyEntry) -> Self {
        Self::Key(entry.clone())
    }

    /// The ARN of a key or role, for audit records.
    pub(crate) fn arn(&self) -> Option<&str> {
        match self {
            Self::Key(key) => Some(&key.name),
            Self::Role(role) => Some(&role.arn),
            Self::Alias(..) | Self::Account(_) | Self::AnyKey(_) => None,
        }
    }

    /// The account it belongs to.
    pub(crate) fn account(&self) -> &str {
        match self {
            Self::Key(key) => &key.arn.home.account,
            Self::Role(role) => &role.account,
            Self::Alias(_, home) | Self::Account(home) | Self::AnyKey(home) => &home.account,
        }
    }

    fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Alias(arn, _) => arn.into(),
            Self::AnyKey(home) => format!("{home}:key/*").into(),
            _ => self.arn().unwrap_or("*").into(),
        }
    }
}

/// One thing that a request needs to be allowed.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) action: Action,
    pub(crate) resource: Resource,
}

/// Who asks, and for what.
pub(crate) struct Asked<'a> {
    pub(crate) caller: &'a Caller,
    /// As in the audit log.
    pub(crate) parameters: &'a Members,
    pub(crate) view: &'a View<'a>,
}

/// Allows, or says no as AWS does.
pub(crate) fn decide(asked: &Asked<'_>, access: &Access) -> Result<(), KmsError> {
    let caller = asked.caller;
    let is_own = caller.account() == access.resource.account();
    let has_default_policy = match &access.resource {
        Resource::Key(key) => key.has_default_policy(),
        Resource::Role(_) => false,
        Resource::Alias(..) | Resource::Account(_) | Resource::AnyKey(_) => true,
    };
    // What the evaluation below comes to for whoever owns the account.
    if is_own && has_default_policy && caller.is_root() {
        return Ok(());
    }
    let decision = evaluate(asked, access)?;
    if decision.allowed {
        return Ok(());
    }
    let because = decision.because(&access.action.to_string());
    Err(refused(
        caller,
        access.action,
        &access.resource.name(),
        &because,
    ))
}

/// `AccessDeniedException`, as AWS says it.
pub(crate) fn refused(caller: &Caller, action: Action, resource: &str, because: &str) -> KmsError {
    if matches!(caller.who(), Who::Web(_)) {
        return KmsError::new(
            ErrorCode::AccessDenied,
            format!("Not authorized to perform {action}"),
        );
    }
    let who = caller.arn();
    KmsError::new(
        ErrorCode::AccessDenied,
        format!(
            "User: {who} is not authorized to perform: {action} on resource: {resource} {because}"
        ),
    )
}

/// What the policies and grants say.
pub(crate) fn evaluate(asked: &Asked<'_>, access: &Access) -> Result<Decision, KmsError> {
    let known = Gathered::new(asked, access);
    let key_policy = match &access.resource {
        Resource::Alias(..) | Resource::Account(_) | Resource::AnyKey(_) => None,
        Resource::Role(role) => role.trust.as_deref(),
        Resource::Key(key) => Some(key.policy.as_ref()),
    };
    let question = Question {
        principal: asked.caller.principal(),
        action: &access.action.to_string(),
        resource: &access.resource.name(),
        account: access.resource.account(),
        facts: &known,
        key_policy,
        identity: asked.caller.identity_policies(),
        session: asked.caller.session_policies(),
        has_grant: false,
    };
    let mut decision = decided(&question);
    // A grant takes nothing away, so it is looked for where nothing else allows.
    if !decision.allowed && grant(asked, access)?.is_some() {
        decision = decided(&Question {
            has_grant: true,
            ..question
        });
    }
    known.trouble.into_inner().map_or(Ok(decision), Err)
}

/// What conditions and variables may ask for. It is put together when one does: most policies have none.
struct Gathered<'a> {
    asked: &'a Asked<'a>,
    access: &'a Access,
    facts: OnceCell<Facts<'a>>,
    /// `kms:ResourceAliases`, for which all aliases of the place are read.
    aliases: OnceCell<Vec<Cow<'static, str>>>,
    /// Why something could not be put together. Nothing is decided then.
    trouble: OnceCell<KmsError>,
}

impl<'a> Gathered<'a> {
    fn new(asked: &'a Asked<'a>, access: &'a Access) -> Self {
        Self {
            asked,
            access,
            facts: OnceCell::new(),
            aliases: OnceCell::new(),
            trouble: OnceCell::new(),
        }
    }

    /// What was put together, or nothing, and trouble.
    fn or_trouble<T: Default>(&self, made: Result<T, KmsError>) -> T {
        made.unwrap_or_else(|error| {
            // The first is told.
            let _ = self.trouble.set(error);
            T::default()
        })
    }
}

impl std::fmt::Debug for Gathered<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gathered({:?})", self.facts)
    }
}

impl Known for Gathered<'_> {
    fn all(&self, name: &str) -> Option<&[Cow<'_, str>]> {
        if let Resource::Key(key) = &self.access.resource
            && name.eq_ignore_ascii_case("kms:ResourceAliases")
        {
            let read = || self.or_trouble(names_of_key(key, self.asked.view));
            return Some(self.aliases.get_or_init(read));
        }
        let gather = || self.or_trouble(facts(self.asked, self.access));
        self.facts.get_or_init(gather).all(name)
    }
}

/// The id of a grant that lets the caller do it.
pub(crate) fn grant(asked: &Asked<'_>, access: &Access) -> Result<Option<String>, KmsError> {
    let Resource::Key(key) = &access.resource else {
        return Ok(None);
    };
    let principal = asked.caller.principal();
    let (context, _) = names_of(access.action);
    let context = asked.parameters.get(context).and_then(Value::as_object);
    let grants = asked.view.grants(&key.arn)?;
    let found = grants.iter().find(|grant| {
        let terms = &grant.record.terms;
        let mut operations = terms.operations.iter();
        principal.is_named(terms.grantee.as_deref())
            && operations.any(|operation| operation == access.action.name)
            && constraints_hold(terms, access.action, context)
    });
    Ok(found.map(|grant| grant.record.id.clone()))
}

/// Whether the encryption context of a request is as a grant wants it. Operations that have none
/// are not constrained.
fn constraints_hold(
    terms: &GrantTerms,
    action: Action,
    context: Option<&serde_json::Map<String, Value>>,
) -> bool {
    if matches!(
        action.name,
        "DescribeKey" | "GetPublicKey" | "CreateGrant" | "RetireGrant"
    ) {
        return true;
    }
    let value = |name: &str| context?.get(name)?.as_str();
    let has = |pairs: &BTreeMap<String, String>| {
        let mut pairs = pairs.iter();
        pairs.all(|(name, own)| value(name) == Some(own.as_str()))
    };
    let count = context.map(serde_json::Map::len).unwrap_or_default();
    let equals = &terms.context_equals;
    has(&terms.context_subset)
        && (equals.is_empty() || (has(equals) && equals.len() == count))
        && terms.source_arn.is_none()
}

/// The members of a request that hold the encryption context and the key's name.
fn names_of(action: Action) -> (&'static str, &'static str) {
    match action {
        Action::RE_ENCRYPT_FROM => ("sourceEncryptionContext", "sourceKeyId"),
        Action::RE_ENCRYPT_TO => ("destinationEncryptionContext", "destinationKeyId"),
        _ => ("encryptionContext", "keyId"),
    }
}

/// All that conditions may ask for.
fn facts<'a>(asked: &Asked<'a>, access: &'a Access) -> Result<Facts<'a>, KmsError> {
    let Asked {
        caller,
        parameters,
        view,
    } = *asked;
    let mut facts = Facts::default();
    // First: what an issuer says is never to stand in the place of what is known.
    if let Some(federated) = caller.federated() {
        for (name, values) in &federated.claims {
            let values = values.iter().map(String::as_str);
            facts.set_all(format!("{}:{name}", federated.issuer), values);
        }
        facts.set("aws:FederatedProvider", federated.provider.as_str());
    }
    let principal = caller.principal();
    facts.set(
        "aws:PrincipalArn",
        principal.role_arn.unwrap_or(principal.arn),
    );
    facts.set("aws:PrincipalAccount", caller.account());
    facts.set("aws:PrincipalIsAWSService", "false");
    facts.set("aws:userid", caller.id());
    facts.set("aws:SecureTransport", flag(caller.is_secure()));
    match caller.who() {
        Who::Root => facts.set("aws:PrincipalType", "Account"),
        Who::Stranger => facts.set("aws:PrincipalType", "Anonymous"),
        Who::User { name, .. } => {
            facts.set("aws:PrincipalType", "User");
            facts.set("aws:username", name.as_str());
        }
        Who::Session { since, .. } => {
            facts.set("aws:PrincipalType", "AssumedRole");
            facts.set("aws:TokenIssueTime", since.to_string());
        }
        Who::Web(_) => facts.set("aws:PrincipalType", "FederatedUser"),
    }
    facts.set("kms:CallerAccount", caller.account());
    facts.set("aws:SourceIp", caller.source_ip_address());
    facts.set("aws:UserAgent", caller.user_agent());
    facts.set("aws:RequestedRegion", view.home().region.as_str());
    facts.set("aws:EpochTime", view.now.unix_timestamp().to_string());
    let now = view.now.format(&Rfc3339).map_err(crate::engine::internal)?;
    facts.set("aws:CurrentTime", now);
    of_request(&mut facts, access, parameters);
    for (name, value) in view.enclave().into_iter().flat_map(Enclave::facts) {
        facts.set(format!("kms:RecipientAttestation:{name}"), value);
    }
    if let Resource::Key(key) = &access.resource {
        of_key(&mut facts, key);
    }
    Ok(facts)
}

/// The names of a key in the request's place.
fn names_of_key(key: &KeyEntry, view: &View<'_>) -> Result<Vec<Cow<'static, str>>, KmsError> {
    let aliases = view.aliases()?.into_iter();
    let own = aliases.filter(|alias| alias.record.target == key.record.id);
    Ok(own.map(|alias| alias.name.to_string().into()).collect())
}

/// But for its names, which [`Gathered`] has.
fn of_key<'a>(facts: &mut Facts<'a>, key: &'a KeyEntry) {
    facts.set("kms:KeySpec", key.record.spec.as_str());
    facts.set("kms:KeyUsage", key.record.usage.as_str());
    facts.set("kms:KeyOrigin", key.record.origin.as_str());
    facts.set("kms:MultiRegion", flag(key.record.multi_region));
    if key.record.multi_region {
        let is_primary = key.record.is_primary();
        facts.set(
            "kms:MultiRegionKeyType",
            if is_primary { "PRIMARY" } else { "REPLICA" },
        );
    }
    for (name, value) in &key.record.tags {
        facts.set(format!("aws:ResourceTag/{name}"), value.as_str());
    }
}

/// Members of requests, as the audit log names them, and the condition keys they are.
const MEMBERS: [(&str, &str); 22] = [
    ("granteePrincipal", "kms:GranteePrincipal"),
    ("retiringPrincipal", "kms:RetiringPrincipal"),
    ("encryptionAlgorithm", "kms:EncryptionAlgorithm"),
    ("signingAlgorithm", "kms:SigningAlgorithm"),
    ("macAlgorithm", "kms:MacAlgorithm"),
    ("messageType", "kms:MessageType"),
    ("keyAgreementAlgorithm", "kms:KeyAgreementAlgorithm"),
    ("keyPairSpec", "kms:DataKeyPairSpec"),
    ("rotationPeriodInDays", "kms:RotationPeriodInDays"),
    (
        "pendingWindowInDays",
        "kms:ScheduleKeyDeletionPendingWindowInDays",
    ),
    (
        "bypassPolicyLockoutSafetyCheck",
        "kms:BypassPolicyLockoutSafetyCheck",
    ),
    ("keyUsage", "kms:KeyUsage"),
    ("origin", "kms:KeyOrigin"),
    ("multiRegion", "kms:MultiRegion"),
    ("expirationModel", "kms:ExpirationModel"),
    ("validTo", "kms:ValidTo"),
    ("wrappingAlgorithm", "kms:WrappingAlgorithm"),
    ("wrappingKeySpec", "kms:WrappingKeySpec"),
    ("primaryRegion", "kms:PrimaryRegion"),
    ("replicaRegion", "kms:ReplicaRegion"),
    ("externalId", "sts:ExternalId"),
    ("roleSessionName", "sts:RoleSessionName"),
];

fn of_request<'a>(facts: &mut Facts<'a>, access: &Access, parameters: &'a Members) {
    let text = |name: &str| match parameters.get(name)? {
        Value::String(text) => Some(Cow::from(text)),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
        other => Some(other.to_string().into()),
    };
    for (name, key) in MEMBERS {
        if let Some(value) = text(name) {
            facts.set(key, value);
        }
    }
    let (context, named) = names_of(access.action);
    if let Some(Value::Array(operations)) = parameters.get("operations") {
        let names = operations.iter().filter_map(Value::as_str);
        facts.set_all("kms:GrantOperations", names);
        facts.set("kms:GrantIsForAWSResource", "false");
    }
    if let Some(Value::Object(constraints)) = parameters.get("constraints") {
        let kind = match constraints.contains_key("encryptionContextEquals") {
            true => "EncryptionContextEquals",
            false => "EncryptionContextSubset",
        };
        facts.set("kms:GrantConstraintType", kind);
    }
    if let Some(alias) = text(named).filter(|name| name.starts_with("alias/")) {
        facts.set("kms:RequestAlias", alias);
    }
    if let Some(Value::Object(pairs)) = parameters.get(context) {
        for (name, value) in pairs {
            let value = value.as_str().unwrap_or_default();
            facts.set(format!("kms:EncryptionContext:{name}"), value);
        }
        let names = pairs.keys().map(String::as_str);
        facts.set_all("kms:EncryptionContextKeys", names);
    }
    let tag = |tag: &'a Value, member: &str| tag.get(member).and_then(Value::as_str);
    if let Some(Value::Array(tags)) = parameters.get("tags") {
        for one in tags {
            if let (Some(name), Some(value)) = (tag(one, "tagKey"), tag(one, "tagValue")) {
                facts.set(format!("aws:RequestTag/{name}"), value);
            }
        }
        let names = tags.iter().filter_map(|one| tag(one, "tagKey"));
        facts.set_all("aws:TagKeys", names);
    }
    if let Some(Value::Array(names)) = parameters.get("tagKeys") {
        facts.set_all("aws:TagKeys", names.iter().filter_map(Value::as_str));
    }
}

fn flag(is_so: bool) -> &'static str {
    match is_so {
        true => "true",
        false => "false",
    }
}
