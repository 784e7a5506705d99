//! Web identities: whom the tokens of an OpenID Connect provider stand for.
//!
//! | document key | record |
//! |---|---|
//! | `oidc/ACCOUNT/HOST/PATH` | `ProviderRecord` |
//!
//! A provider is known by its issuer and the public keys that were given for it. Nothing is fetched:
//! a KMS that calls strangers to find out whom to trust can be told by whoever stands between.

use crate::caller::{Caller, Who};
use crate::engine::{Engine, Entry, internal};
use crate::principals::role_of;
use crate::store::Document;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use waxseal_core::crypto::token::{TokenKeys, unverified_claims};
use waxseal_kms_api::sts::AssumeRoleWithWebIdentityRequest;
use waxseal_kms_api::{ErrorCode, KmsError};

/// How far the clock of an issuer may be ahead, in seconds.
const SKEW_SECONDS: f64 = 300.0;
/// What the issuers of all documents begin with.
const SCHEME: &str = "https://";
/// The lengths that `sub` may have (AWS STS API reference, SubjectFromWebIdentityToken).
const SUBJECT_CHARS: std::ops::RangeInclusive<usize> = 1..=255;

/// What is kept of a provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ProviderRecord {
    pub(crate) created: f64,
    pub(crate) client_ids: Vec<String>,
    /// A JWK Set.
    pub(crate) keys: String,
}

/// A provider as one request sees it.
#[derive(Debug)]
pub struct ProviderEntry {
    /// The issuer without its scheme: `HOST/PATH`.
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) record: ProviderRecord,
    pub(crate) keys: TokenKeys,
    pub(crate) revision: u64,
}

impl ProviderEntry {
    pub(crate) fn url(&self) -> String {
        url_of(&self.name)
    }

    fn read(engine: &Engine, document: &Document) -> Result<Entry, KmsError> {
        let record: ProviderRecord = engine.open_json(document)?;
        let mut parts = document.key.splitn(3, '/').skip(1);
        let account = parts.next().unwrap_or_default();
        let name = parts.next().unwrap_or_default().to_owned();
        let partition = &engine.home().partition;
        Ok(Entry::Provider(Arc::new(Self {
            arn: arn(partition, account, &name),
            keys: TokenKeys::parse(&record.keys).map_err(internal)?,
            name,
            record,
            revision: document.revision,
        })))
    }
}

/// What the documents of an account's providers begin with.
pub(crate) fn prefix(account: &str) -> String {
    format!("oidc/{account}/")
}

/// The ARN of a provider.
pub(crate) fn arn(partition: &str, account: &str, name: &str) -> String {
    format!("arn:{partition}:iam::{account}:oidc-provider/{name}")
}

/// The issuer, as its tokens have it.
fn url_of(name: &str) -> String {
    format!("{SCHEME}{name}")
}

/// The issuer without its scheme.
pub(crate) fn name_of(url: &str) -> &str {
    url.strip_prefix(SCHEME).unwrap_or(url)
}

/// Whom a token names, and who says so.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Federated {
    /// The ARN of the provider.
    pub(crate) provider: String,
    /// The issuer without its scheme.
    pub(crate) issuer: String,
    /// `sub`
    pub(crate) subject: String,
    /// `azp`, or else the one of `aud` that is known.
    pub(crate) audience: String,
    /// The claims that conditions may ask for, `aud` and `sub` among them.
    pub(crate) claims: BTreeMap<String, Vec<String>>,
}

impl Federated {
    /// The issuer, as its tokens have it.
    pub(crate) fn url(&self) -> String {
        url_of(&self.issuer)
    }
}

impl Engine {
    pub(crate) fn provider(
        &self,
        account: &str,
        url: &str,
    ) -> Result<Option<Arc<ProviderEntry>>, KmsError> {
        let document = format!("{}{}", prefix(account), name_of(url));
        Ok(match self.cached(&document, ProviderEntry::read)? {
            Some(Entry::Provider(entry)) => Some(entry),
            _ => None,
        })
    }

    pub(crate) fn providers(&self, account: &str) -> Result<Vec<Arc<ProviderEntry>>, KmsError> {
        let read = self.entries(&prefix(account), ProviderEntry::read)?;
        let entries = read.into_iter().filter_map(|entry| match entry {
            Entry::Provider(entry) => Some(entry),
            _ => None,
        });
        Ok(entries.collect())
    }

    /// Whom the token of a request stands for: a web identity, which may do nothing but assume the
    /// roles whose trust policies say so.
    ///
    /// # Errors
    /// `InvalidIdentityToken` for a token of an issuer that the role's account does not know, one
    /// that is not signed by it, or for somebody else; `ExpiredIdentityToken` for one that is over;
    /// `KMSInternalException` when the store cannot be read.
    pub fn web_identity(
        &self,
        request: &AssumeRoleWithWebIdentityRequest,
    ) -> Result<Caller, KmsError> {
        self.refresh()?;
        let token = std::str::from_utf8(request.web_identity_token.0.expose());
        let token = token.map_err(|_| invalid("The ID Token provided is not a valid JWT."))?;
        let claimed = unverified_claims(token)
            .ok_or_else(|| invalid("The ID Token provided is not a valid JWT."))?;
        let account = role_of(&request.role_arn)?.account;
        let issuer = text(&claimed, "iss").unwrap_or_default();
        let provider = match issuer.starts_with(SCHEME) {
            true => self.provider(account, issuer)?,
            false => None,
        };
        let provider = provider.ok_or_else(|| {
            invalid(format!(
                "No OpenIDConnect provider found in your account for {issuer}"
            ))
        })?;
        let claims = provider.keys.verify(token).map_err(|_| {
            invalid("The signature of the ID Token does not match the keys of its provider.")
        })?;
        let federated = judged(&provider, &claims, self.now().unix_timestamp() as f64)?;
        let arn = provider.arn.clone();
        Ok(Caller::new(Who::Web(federated), arn, account.to_owned()))
    }
}

/// Whom the claims of a token name, if they hold now and here.
fn judged(
    provider: &ProviderEntry,
    claims: &Map<String, Value>,
    now: f64,
) -> Result<Federated, KmsError> {
    let time = |name: &str| claims.get(name).and_then(Value::as_f64);
    let needed = |name: &str| {
        time(name).ok_or_else(|| invalid(format!("The ID Token has no claim {name}.")))
    };
    let (end, issued) = (needed("exp")?, needed("iat")?);
    if end <= now {
        return Err(KmsError::new(
            ErrorCode::ExpiredIdentityToken,
            format!(
                "Token expired: current date/time {now:.0} must be before the expiration date/time \
                 {end:.0}"
            ),
        ));
    }
    let begin = time("nbf").map_or(issued, |begin| begin.max(issued));
    if begin > now + SKEW_SECONDS {
        return Err(invalid("The ID Token is not valid yet."));
    }
    let subject = text(claims, "sub").unwrap_or_default().to_owned();
    if !SUBJECT_CHARS.contains(&subject.chars().count()) {
        return Err(invalid(
            "The ID Token has no claim sub of 1 to 255 characters.",
        ));
    }
    let mut told: BTreeMap<_, _> = claims
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), values(value)?)))
        .collect();
    // With an authorized party, `aud` is that, and what was `aud` is `oaud`.
    if let Some(party) = told.get("azp").cloned()
        && let Some(others) = told.insert("aud".to_owned(), party)
    {
        told.insert("oaud".to_owned(), others);
    }
    let audiences = told.get("aud").map(Vec::as_slice).unwrap_or_default();
    let known = |one: &&String| provider.record.client_ids.contains(one);
    let audience = audiences.iter().find(known).cloned();
    let audience = audience.ok_or_else(|| invalid("Incorrect token audience"))?;
    Ok(Federated {
        provider: provider.arn.clone(),
        issuer: provider.name.clone(),
        subject,
        audience,
        claims: told,
    })
}

fn invalid(message: impl Into<String>) -> KmsError {
    KmsError::new(ErrorCode::InvalidIdentityToken, message)
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str()
}

/// A claim as conditions see it: texts, numbers and booleans, or a list of them.
fn values(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Number(_) | Value::Bool(_) => Some(vec![value.to_string()]),
        Value::Array(items) => {
            let texts: Vec<String> = items.iter().filter_map(values).flatten().collect();
            (texts.len() == items.len()).then_some(texts)
        }
        Value::Null | Value::Object(_) => None,
    }
}
