//! Users, roles and sessions: what is kept of them, and whom a credential stands for.
//!
//! | document key | record |
//! |---|---|
//! | `user/ACCOUNT/NAME`, `role/ACCOUNT/NAME` | `PrincipalRecord` |
//! | `access-key/ID` | `AccessKeyRecord`, with the secret |
//!
//! Nothing is kept of a session: its token is sealed by the KMS as the row `session/ID` and holds
//! the secret, the role and the end. The role is looked up at each request, so that what changes
//! of it holds for the sessions there are; a role that was removed, or made anew, ends them.

use crate::caller::{Caller, Who};
use crate::engine::{Engine, Entry, internal};
use crate::federation::Federated;
use crate::policy::{Policy, PolicyKind};
use crate::store::Document;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use waxseal_core::SecretBytes;
use waxseal_core::arn::Home;
use waxseal_core::crypto::random::{Entropy, EntropyError};
use waxseal_core::secret::ct_eq;
use waxseal_kms_api::shape::SecretBlob;
use waxseal_kms_api::{ErrorCode, KmsError};

/// What access key ids are written in (RFC 4648, base32).
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// What secrets are written in: 64 characters, 6 bits each.
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const ID_CHARS: usize = 16;
const SECRET_CHARS: usize = 40;

/// A fresh id of 20 characters: `AKIA` and others for `prefix`.
///
/// # Errors
/// As [`Entropy::fill`].
pub fn new_id(prefix: &str, entropy: &dyn Entropy) -> Result<String, EntropyError> {
    let mut bytes = [0; ID_CHARS];
    entropy.fill(&mut bytes)?;
    let letters = bytes
        .iter()
        .map(|byte| char::from(BASE32[usize::from(byte % 32)]));
    Ok(prefix.chars().chain(letters).collect())
}

/// A fresh secret access key of 40 characters: 240 bits.
///
/// # Errors
/// As [`Entropy::fill`].
pub fn new_secret(entropy: &dyn Entropy) -> Result<SecretBytes, EntropyError> {
    let mut bytes = SecretBytes::zeroed(SECRET_CHARS);
    entropy.fill(bytes.expose_mut())?;
    for byte in bytes.expose_mut() {
        *byte = BASE64[usize::from(*byte % 64)];
    }
    Ok(bytes)
}

/// What is kept of a user or a role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PrincipalRecord {
    /// `AIDA…` or `AROA…`
    pub(crate) id: String,
    pub(crate) created: f64,
    pub(crate) is_enabled: bool,
    /// Identity policies by name, as they were given.
    pub(crate) policies: BTreeMap<String, String>,
    /// Ids, oldest first.
    #[serde(default)]
    pub(crate) access_keys: Vec<String>,
    /// Of a role: who may be it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trust: Option<String>,
    /// Of a role: the longest session.
    #[serde(default)]
    pub(crate) session_seconds_max: i64,
}

/// The two kinds of principals that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    User,
    Role,
}

impl Sort {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Role => "role",
        }
    }

    /// What the documents of an account's principals begin with; the name follows.
    pub(crate) fn prefix(self, account: &str) -> String {
        format!("{}/{account}/", self.name())
    }

    pub(crate) fn arn(self, partition: &str, account: &str, name: &str) -> String {
        format!("arn:{partition}:iam::{account}:{}/{name}", self.name())
    }
}

/// A user or role as one request sees it.
#[derive(Debug, Clone)]
pub struct PrincipalEntry {
    pub(crate) sort: Sort,
    pub(crate) account: String,
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) record: Arc<PrincipalRecord>,
    pub(crate) policies: Vec<Arc<Policy>>,
    pub(crate) trust: Option<Arc<Policy>>,
    pub(crate) revision: u64,
}

impl PrincipalEntry {
    pub(crate) fn document(&self) -> String {
        format!("{}{}", self.sort.prefix(&self.account), self.name)
    }

    pub(crate) fn read(engine: &Engine, document: &Document) -> Result<Entry, KmsError> {
        let record: PrincipalRecord = engine.open_json(document)?;
        let mut parts = document.key.splitn(3, '/');
        let sort = match parts.next() {
            Some("user") => Sort::User,
            _ => Sort::Role,
        };
        let (account, name) = (parts.next(), parts.next());
        let account = account.unwrap_or_default().to_owned();
        let name = name.unwrap_or_default().to_owned();
        // They were read before they were stored. One that cannot be read lets nobody in.
        let parse = |text: &String, kind| Policy::parse(text, kind).map(Arc::new);
        let policies = record.policies.values();
        let policies: Result<_, _> = policies
            .map(|text| parse(text, PolicyKind::Identity))
            .collect();
        let trust = record
            .trust
            .as_ref()
            .map(|text| parse(text, PolicyKind::Trust));
        Ok(Entry::Principal(Arc::new(Self {
            arn: sort.arn(&engine.home().partition, &account, &name),
            sort,
            account,
            name,
            policies: policies.map_err(internal)?,
            trust: trust.transpose().map_err(internal)?,
            record: Arc::new(record),
            revision: document.revision,
        })))
    }
}

/// What is kept of an access key.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AccessKeyRecord {
    pub(crate) account: String,
    pub(crate) user: String,
    pub(crate) created: f64,
    pub(crate) secret: SecretBlob,
}

/// An access key as requests see it.
pub(crate) struct AccessKeyEntry {
    account: String,
    user: String,
    secret: Arc<SecretBytes>,
    caller: Remembered,
}

impl AccessKeyEntry {
    fn read(engine: &Engine, document: &Document) -> Result<Entry, KmsError> {
        let record: AccessKeyRecord = engine.open_json(document)?;
        Ok(Entry::AccessKey(Arc::new(Self {
            account: record.account,
            user: record.user,
            secret: Arc::new(record.secret.0),
            caller: Remembered::default(),
        })))
    }
}

/// The caller that somebody was, and the user or role as they were then: as long as these stay the same
/// it is put together once, and not for each request.
#[derive(Default)]
struct Remembered(Mutex<Option<(Arc<PrincipalEntry>, Caller)>>);

impl Remembered {
    fn or(
        &self,
        principal: Arc<PrincipalEntry>,
        make: impl FnOnce(&PrincipalEntry) -> Caller,
    ) -> Caller {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((seen, caller)) = &*known
            && Arc::ptr_eq(seen, &principal)
        {
            return caller.clone();
        }
        let caller = make(&principal);
        *known = Some((principal, caller.clone()));
        caller
    }
}

pub(crate) fn access_key_document(id: &str) -> String {
    format!("access-key/{id}")
}

/// What a session's token holds.
#[derive(Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) account: String,
    pub(crate) role: String,
    pub(crate) role_id: String,
    pub(crate) name: String,
    pub(crate) secret: SecretBlob,
    pub(crate) since: i64,
    pub(crate) end: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
    /// Of a session that a web identity began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) federated: Option<Federated>,
}

/// A session as requests see it: its token is opened once, and not for each of them.
pub(crate) struct SessionEntry {
    token: String,
    /// But for the secret.
    session: Session,
    secret: Arc<SecretBytes>,
    policy: Option<Arc<Policy>>,
    caller: Remembered,
}

fn session_row(id: &str) -> String {
    format!("session/{id}")
}

/// The account and the name in the ARN of a role.
///
/// # Errors
/// `ValidationException` for an ARN of something else.
pub(crate) fn role_of(arn: &str) -> Result<RoleName<'_>, KmsError> {
    let malformed = || KmsError::new(ErrorCode::Validation, format!("{arn} is invalid"));
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, rest] = parts[..] else {
        return Err(malformed());
    };
    Ok(RoleName {
        partition,
        account,
        name: rest.strip_prefix("role/").ok_or_else(malformed)?,
    })
}

/// What the ARN of a role says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RoleName<'a> {
    pub(crate) partition: &'a str,
    pub(crate) account: &'a str,
    pub(crate) name: &'a str,
}

/// The ARN of a session.
pub(crate) fn session_arn(partition: &str, account: &str, role: &str, session: &str) -> String {
    format!("arn:{partition}:sts::{account}:assumed-role/{role}/{session}")
}

/// A secret, and whom it stands for once a signature proves that somebody has it.
#[derive(Debug)]
pub struct Credential {
    /// What requests are signed with.
    pub secret: Arc<SecretBytes>,
    /// Who signs.
    pub caller: Caller,
}

impl Engine {
    /// Whom an access key stands for, or a session. Nobody: an access key that is not there, one
    /// of a user who is disabled, a token that was not given for this id or whose role is gone.
    ///
    /// # Errors
    /// `ExpiredTokenException` for a session that is over; `KMSInternalException` when the store
    /// cannot be read.
    pub fn credential(
        &self,
        access_key_id: &str,
        session_token: Option<&str>,
    ) -> Result<Option<Credential>, KmsError> {
        self.refresh()?;
        match session_token {
            None => self.user_of(access_key_id),
            Some(token) => self.session_of(access_key_id, token),
        }
    }

    fn user_of(&self, access_key_id: &str) -> Result<Option<Credential>, KmsError> {
        let document = access_key_document(access_key_id);
        let Some(Entry::AccessKey(key)) = self.cached(&document, AccessKeyEntry::read)? else {
            return Ok(None);
        };
        let user = self.principal(Sort::User, &key.account, &key.user)?;
        let Some(user) = user.filter(|user| user.record.is_enabled) else {
            return Ok(None);
        };
        let make = |user: &PrincipalEntry| {
            let who = Who::User {
                id: user.record.id.clone(),
                name: user.name.clone(),
            };
            Caller::new(who, user.arn.clone(), user.account.clone())
                .with_access_key(access_key_id)
                .under(user.policies.clone(), Vec::new())
        };
        Ok(Some(Credential {
            secret: Arc::clone(&key.secret),
            caller: key.caller.or(user, make),
        }))
    }

    fn session_of(&self, id: &str, token: &str) -> Result<Option<Credential>, KmsError> {
        let Some(entry) = self.opened_session(id, token)? else {
            return Ok(None);
        };
        let SessionEntry {
            session, policy, ..
        } = entry.as_ref();
        if session.end <= self.now().unix_timestamp() {
            return Err(KmsError::new(
                ErrorCode::ExpiredToken,
                "The security token included in the request is expired",
            ));
        }
        let role = self.principal(Sort::Role, &session.account, &session.role)?;
        let Some(role) = role.filter(|role| role.record.id == session.role_id) else {
            return Ok(None);
        };
        let make = |role: &PrincipalEntry| {
            let partition = &self.home().partition;
            let arn = session_arn(partition, &role.account, &role.name, &session.name);
            let who = Who::Session {
                role_id: session.role_id.clone(),
                role_name: role.name.clone(),
                role_arn: role.arn.clone(),
                session_name: session.name.clone(),
                since: session.since,
                federated: session.federated.clone(),
            };
            Caller::new(who, arn, role.account.clone())
                .with_access_key(id)
                .under(role.policies.clone(), policy.iter().cloned().collect())
        };
        Ok(Some(Credential {
            secret: Arc::clone(&entry.secret),
            caller: entry.caller.or(role, make),
        }))
    }

    /// What a session's token holds. Nothing when it was not given for this id, by this KMS.
    fn opened_session(&self, id: &str, token: &str) -> Result<Option<Arc<SessionEntry>>, KmsError> {
        if let Some(known) = self.known_session(id)?
            && ct_eq(known.token.as_bytes(), token.as_bytes())
        {
            return Ok(Some(known));
        }
        let opened = STANDARD.decode(token).ok();
        let opened = opened.and_then(|sealed| self.open_sealed(&session_row(id), &sealed).ok());
        let Some(opened) = opened else {
            return Ok(None);
        };
        let mut session: Session = serde_json::from_slice(opened.expose()).map_err(internal)?;
        let policy = session.policy.as_ref();
        let policy = policy.map(|text| Policy::parse(text, PolicyKind::Identity).map(Arc::new));
        let entry = Arc::new(SessionEntry {
            token: token.to_owned(),
            secret: Arc::new(std::mem::take(&mut session.secret).0),
            policy: policy.transpose().map_err(internal)?,
            session,
            caller: Remembered::default(),
        });
        self.remember_session(id, Arc::clone(&entry))?;
        Ok(Some(entry))
    }

    pub(crate) fn principal(
        &self,
        sort: Sort,
        account: &str,
        name: &str,
    ) -> Result<Option<Arc<PrincipalEntry>>, KmsError> {
        let document = format!("{}{name}", sort.prefix(account));
        Ok(match self.cached(&document, PrincipalEntry::read)? {
            Some(Entry::Principal(entry)) => Some(entry),
            _ => None,
        })
    }

    pub(crate) fn principals(
        &self,
        sort: Sort,
        account: &str,
    ) -> Result<Vec<Arc<PrincipalEntry>>, KmsError> {
        let read = self.entries(&sort.prefix(account), PrincipalEntry::read)?;
        let entries = read.into_iter().filter_map(|entry| match entry {
            Entry::Principal(entry) => Some(entry),
            _ => None,
        });
        Ok(entries.collect())
    }

    /// The token of a session with this access key id.
    pub(crate) fn session_token(
        &self,
        id: &str,
        session: &Session,
    ) -> Result<SecretBytes, KmsError> {
        let body = serde_json::to_vec(session).map(SecretBytes::new);
        let sealed = self.seal_for_later(&session_row(id), body.map_err(internal)?.expose())?;
        Ok(SecretBytes::new(STANDARD.encode(sealed).into_bytes()))
    }

    /// The owner of `account` here.
    ///
    /// # Errors
    /// None: every account has one.
    pub fn owner_of(&self, account: &str, user_agent: &str) -> Caller {
        let home = Home {
            account: account.to_owned(),
            ..self.home().clone()
        };
        Caller::owner(&home, user_agent)
    }
}
