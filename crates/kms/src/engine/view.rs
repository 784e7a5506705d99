//! State, time and randomness as one request sees them.

use super::{Engine, Entry, internal, uuid};
use crate::attestation::{self, Enclave};
use crate::caller::Caller;
use crate::federation::ProviderEntry;
use crate::model::{
    self, AliasRecord, GrantRecord, KeyRecord, StoreRecord, alias_document, aliases_prefix,
    grants_prefix, key_document, material_document, siblings_prefix,
};
use crate::op::NewKey;
use crate::policy::Policy;
use crate::principals::{PrincipalEntry, Session, Sort};
use crate::store::Document;
use std::sync::{Arc, Mutex, PoisonError};
use time::OffsetDateTime;
use waxseal_core::arn::Home;
use waxseal_core::crypto::random::{self, Drawn, Entropy};
use waxseal_core::{AliasName, KeyArn, KeyId, KeyRef, SecretBytes};
use waxseal_kms_api::op::{KeyLastUsageData, RecipientInfo};
use waxseal_kms_api::shape::{Blob, SecretBlob};
use waxseal_kms_api::{ErrorCode, KmsError};

/// A key as one request sees it.
#[derive(Debug, Clone)]
pub struct KeyEntry {
    pub(crate) arn: Arc<KeyArn>,
    /// The ARN in text.
    pub(crate) name: Arc<str>,
    pub(crate) record: Arc<KeyRecord>,
    /// The one that it was given, or the default one.
    pub(crate) policy: Arc<Policy>,
    pub(crate) revision: u64,
}

impl KeyEntry {
    /// Whether it was given no policy.
    pub(crate) fn has_default_policy(&self) -> bool {
        self.record.policy.is_none()
    }
}

/// A grant as one request sees it.
#[derive(Debug, Clone)]
pub struct GrantEntry {
    pub(crate) record: GrantRecord,
    pub(crate) document: String,
    pub(crate) revision: u64,
}

/// An alias as one request sees it.
#[derive(Debug, Clone)]
pub struct AliasEntry {
    pub(crate) name: AliasName,
    pub(crate) record: Arc<AliasRecord>,
    pub(crate) revision: u64,
}

/// State, time and randomness for one request.
#[derive(Debug)]
pub struct View<'e> {
    engine: &'e Engine,
    place: &'e Home,
    /// Who asks, where somebody does.
    caller: Option<&'e Caller>,
    pub(crate) now: OffsetDateTime,
    drawn: Drawn,
    /// Whom the answer is encrypted for, where a request says so.
    enclave: Option<Enclave>,
    /// What was made before the log was held.
    ahead: Mutex<Option<NewKey>>,
}

impl Engine {
    pub(crate) fn view<'e>(&'e self, place: &'e Home, caller: Option<&'e Caller>) -> View<'e> {
        self.view_drawing(self.draw(), place, caller)
    }

    /// The same, with randomness that was drawn for the request before.
    pub(crate) fn view_drawing<'e>(
        &'e self,
        drawn: Drawn,
        place: &'e Home,
        caller: Option<&'e Caller>,
    ) -> View<'e> {
        View {
            engine: self,
            place,
            caller,
            now: self.now(),
            drawn,
            enclave: None,
            ahead: Mutex::default(),
        }
    }
}

impl View<'_> {
    /// The same with what was made ahead.
    pub(crate) fn with(mut self, ahead: Option<NewKey>) -> Self {
        self.ahead = Mutex::new(ahead);
        self
    }

    /// What was made ahead; taken once.
    pub(crate) fn ahead(&self) -> Option<NewKey> {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.take()
    }

    /// Verifies whom the answer is to be encrypted for.
    pub(crate) fn attest(&mut self, recipient: Option<&RecipientInfo>) -> Result<(), KmsError> {
        let roots = self.engine.enclaves.get();
        let seconds = self.now.unix_timestamp();
        let enclave = recipient.map(|recipient| Enclave::verified(recipient, roots, seconds));
        self.enclave = enclave.transpose()?;
        Ok(())
    }

    /// Whom the answer is encrypted for.
    pub(crate) fn enclave(&self) -> Option<&Enclave> {
        self.enclave.as_ref()
    }

    /// The members `Plaintext` and `CiphertextForRecipient` of an answer.
    pub(crate) fn handed(
        &self,
        secret: SecretBytes,
    ) -> Result<(SecretBlob, Option<Blob>), KmsError> {
        attestation::handed(secret, self.enclave(), self.entropy())
    }

    /// The place of the request: its Region, and the account of its caller.
    pub(crate) fn home(&self) -> &Home {
        self.place
    }

    /// Who asks.
    pub(crate) fn caller(&self) -> Result<&Caller, KmsError> {
        self.caller.ok_or_else(|| internal("nobody asks"))
    }

    /// The document of an alias in the request's place.
    pub(crate) fn alias_document(&self, alias: &AliasName) -> String {
        alias_document(self.engine.home(), self.place, alias)
    }

    pub(crate) fn entropy(&self) -> &dyn Entropy {
        &self.drawn
    }

    /// Now, as records keep it.
    pub(crate) fn seconds(&self) -> f64 {
        model::seconds(self.now)
    }

    /// The same for what cannot be taken back: see [`Steady`](crate::clock::Steady).
    pub(crate) fn steady_seconds(&self) -> f64 {
        let engine = self.engine;
        model::seconds(engine.steady.now(engine.parts.clock.as_ref()))
    }

    /// A UUID; for a multi-Region key `mrk-` and its digits.
    pub(crate) fn new_key_id(&self, is_multi_region: bool) -> Result<KeyId, KmsError> {
        let uuid = uuid(self.entropy())?;
        let text = match is_multi_region {
            true => format!("mrk-{}", uuid.replace('-', "")),
            false => uuid,
        };
        text.parse().map_err(internal)
    }

    /// The key of this id in the request's Region, whichever account it is in.
    pub(crate) fn key(&self, id: &KeyId) -> Result<Option<KeyEntry>, KmsError> {
        let name = key_document(&self.place.region, id);
        let entry = self.engine.cached(&name, Entry::key)?;
        let entry = self.key_entry(entry);
        Ok(entry.filter(|entry| entry.arn.home.region == self.place.region))
    }

    /// Whether a key's deletion was pending, and is due: there is no such key any more.
    fn is_gone(&self, record: &KeyRecord) -> bool {
        record
            .deletion
            .is_some_and(|due| due <= self.steady_seconds())
    }

    fn key_entry(&self, entry: Option<Entry>) -> Option<KeyEntry> {
        match entry {
            Some(Entry::Key(mut key)) if !self.is_gone(&key.record) => {
                // Material whose time is over is not there, whether it was removed yet or not.
                if key.record.can_expire()
                    && let Some((_, lasting)) = key.record.without_expired(self.steady_seconds())
                {
                    key.record = Arc::new(lasting);
                }
                Some(key)
            }
            _ => None,
        }
    }

    pub(crate) fn alias(&self, name: &AliasName) -> Result<Option<AliasEntry>, KmsError> {
        let entry = self
            .engine
            .cached(&self.alias_document(name), Entry::alias)?;
        Ok(match entry {
            Some(Entry::Alias(record, revision)) => Some(AliasEntry {
                name: name.clone(),
                record,
                revision,
            }),
            _ => None,
        })
    }

    /// The custom key store of a key in a device.
    pub(crate) fn store_of(&self, key: &KeyRecord) -> Result<Option<Arc<StoreRecord>>, KmsError> {
        let Some(id) = &key.custom_key_store else {
            return Ok(None);
        };
        let found = self.engine.key_store(id)?;
        Ok(found.map(|(record, _)| record))
    }

    /// Whether any key, those whose time is over included, is in a custom key store.
    pub(crate) fn is_store_in_use(&self, id: &str) -> Result<bool, KmsError> {
        let entries = self.engine.entries(model::KEY_PREFIX, Entry::key)?;
        let mut keys = entries.iter();
        Ok(keys.any(|entry| {
            matches!(entry, Entry::Key(key) if key.record.custom_key_store.as_deref() == Some(id))
        }))
    }

    /// The backing key of one version, which is there.
    pub(crate) fn material(
        &self,
        key: &KeyArn,
        version: u32,
    ) -> Result<Arc<SecretBytes>, KmsError> {
        let name = material_document(&key.home.region, &key.id, version);
        let entry = self.engine.cached(&name, |engine, document| {
            Ok(Entry::Material(Arc::new(engine.opened(document)?)))
        })?;
        match entry {
            Some(Entry::Material(key)) => Ok(key),
            _ => Err(internal(
                "the material of the key is missing from the store",
            )),
        }
    }

    /// All keys of the request's place, in the order of their ids.
    pub(crate) fn keys(&self) -> Result<Vec<KeyEntry>, KmsError> {
        self.keys_after(None, usize::MAX)
    }

    /// The first so many of those with a greater id than `after`.
    pub(crate) fn keys_after(
        &self,
        after: Option<&str>,
        most: usize,
    ) -> Result<Vec<KeyEntry>, KmsError> {
        let is_after = |name: &&String| {
            let id = name.strip_prefix(model::KEY_PREFIX).unwrap_or_default();
            let id = id.split('@').next().unwrap_or_default();
            after.is_none_or(|after| id > after)
        };
        let names = self.engine.names(model::KEY_PREFIX)?;
        let found = names.iter().filter(is_after).map(|name| {
            let entry = self.engine.cached(name, Entry::key)?;
            let key = self.key_entry(entry);
            Ok(key.filter(|key| key.arn.home == *self.place))
        });
        found.filter_map(Result::transpose).take(most).collect()
    }

    /// The key in the other Regions where a multi-Region key is.
    pub(crate) fn siblings(&self, key: &KeyArn) -> Result<Vec<KeyEntry>, KmsError> {
        let mut found = Vec::new();
        if !key.id.is_multi_region() {
            return Ok(found);
        }
        for document in self.engine.scan(&siblings_prefix(&key.id))? {
            let entry = self.engine.cached(&document.key, Entry::key)?;
            found.extend(self.key_entry(entry));
        }
        found.retain(|sibling| *sibling.arn != *key);
        Ok(found)
    }

    /// As [`Engine::seal_for_later`].
    pub(crate) fn seal(&self, name: &str, body: &[u8]) -> Result<Vec<u8>, KmsError> {
        self.engine.seal_for_later(name, body)
    }

    /// As [`Engine::open_sealed`].
    pub(crate) fn open(&self, name: &str, sealed: &[u8]) -> Result<SecretBytes, KmsError> {
        self.engine.open_sealed(name, sealed)
    }

    /// A user or role of the caller's account.
    pub(crate) fn principal(
        &self,
        sort: Sort,
        name: &str,
    ) -> Result<Option<Arc<PrincipalEntry>>, KmsError> {
        self.principal_of(sort, &self.place.account, name)
    }

    /// A user or role of any account.
    pub(crate) fn principal_of(
        &self,
        sort: Sort,
        account: &str,
        name: &str,
    ) -> Result<Option<Arc<PrincipalEntry>>, KmsError> {
        self.engine.principal(sort, account, name)
    }

    /// All users or roles of the caller's account, in the order of their names.
    pub(crate) fn principals(&self, sort: Sort) -> Result<Vec<Arc<PrincipalEntry>>, KmsError> {
        self.engine.principals(sort, &self.place.account)
    }

    /// The engine's own place, whoever asks.
    pub(crate) fn own_home(&self) -> &Home {
        self.engine.home()
    }

    /// The engine.
    pub(crate) fn engine(&self) -> &Engine {
        self.engine
    }

    /// An OpenID Connect provider of the caller's account.
    pub(crate) fn provider(&self, url: &str) -> Result<Option<Arc<ProviderEntry>>, KmsError> {
        self.engine.provider(&self.place.account, url)
    }

    /// All of them, in the order of their names.
    pub(crate) fn providers(&self) -> Result<Vec<Arc<ProviderEntry>>, KmsError> {
        self.engine.providers(&self.place.account)
    }

    /// As [`Engine::session_token`].
    pub(crate) fn session_token(
        &self,
        id: &str,
        session: &Session,
    ) -> Result<SecretBytes, KmsError> {
        self.engine.session_token(id, session)
    }

    /// The grants of a key, in the order of their ids.
    pub(crate) fn grants(&self, key: &KeyArn) -> Result<Arc<[GrantEntry]>, KmsError> {
        let prefix = grants_prefix(&key.home.region, &key.id);
        let entry = |document: &Document| {
            Ok(GrantEntry {
                record: self.engine.open_json(document)?,
                document: document.key.clone(),
                revision: document.revision,
            })
        };
        let read = || {
            let documents = self.engine.scan(&prefix)?;
            let grants: Result<_, KmsError> = documents.iter().map(entry).collect();
            Ok(Some(Entry::Grants(grants?)))
        };
        match self.engine.cached_as(&prefix, read)? {
            Some(Entry::Grants(grants)) => Ok(grants),
            _ => Err(internal("the grants of the key are something else")),
        }
    }

    /// The last use of a key.
    pub(crate) fn last_use(&self, key: &KeyArn) -> Result<Option<KeyLastUsageData>, KmsError> {
        let used = {
            let uses = self.engine.uses.lock();
            let mut uses = uses.unwrap_or_else(PoisonError::into_inner);
            uses.of(self.engine.parts.audit.dir(), &key.to_string())
                .map_err(internal)?
        };
        match used {
            // What was removed from the log meanwhile was kept before.
            None => self.engine.kept_use(key),
            used => Ok(used),
        }
    }

    /// A fresh id for a grant: 64 hexadecimal digits.
    pub(crate) fn new_grant_id(&self) -> Result<String, KmsError> {
        let bytes: [u8; 32] = random::array(self.entropy()).map_err(internal)?;
        Ok(hex::encode(bytes))
    }

    /// All aliases of the request's place, in the order of their names.
    pub(crate) fn aliases(&self) -> Result<Vec<AliasEntry>, KmsError> {
        let prefix = aliases_prefix(self.engine.home(), self.place);
        let documents = self.engine.scan(&format!("{prefix}alias/"))?;
        let entry = |document: &Document| {
            let name = document.key.strip_prefix(&prefix).unwrap_or_default();
            let name = name.parse().map_err(internal)?;
            let record = Arc::new(self.engine.open_json(document)?);
            Ok(AliasEntry {
                name,
                record,
                revision: document.revision,
            })
        };
        documents.iter().map(entry).collect()
    }

    /// The key that `text` names by id or ARN, and when `aliases` are allowed by alias too.
    pub(crate) fn resolve(&self, text: &str, aliases: Aliases) -> Result<KeyEntry, KmsError> {
        let invalid = || KmsError::new(ErrorCode::NotFound, format!("Invalid keyId '{text}'"));
        let name: KeyRef = text.parse().map_err(|_| invalid())?;
        let place = name.home().unwrap_or(self.place);
        if place.region != self.place.region || place.partition != self.place.partition {
            let message = format!("Invalid arn {}", place.region);
            return Err(KmsError::new(ErrorCode::NotFound, message));
        }
        let target: KeyId;
        let id = match &name {
            KeyRef::Id(id) if id.is_well_formed() => id,
            KeyRef::Arn(arn) => &arn.id,
            KeyRef::Alias(alias) | KeyRef::AliasArn(_, alias) if aliases == Aliases::Allowed => {
                let there = View {
                    engine: self.engine,
                    place,
                    caller: self.caller,
                    now: self.now,
                    drawn: self.engine.draw(),
                    enclave: None,
                    ahead: Mutex::default(),
                };
                let entry = there.alias(alias)?.ok_or_else(|| there.no_alias(alias))?;
                target = entry.record.target.parse().map_err(internal)?;
                &target
            }
            _ => return Err(invalid()),
        };
        let found = self.key(id)?;
        found
            .filter(|key| key.arn.home.account == place.account)
            .ok_or_else(|| {
                let arn = place.key_arn(id.clone());
                KmsError::new(ErrorCode::NotFound, format!("Key '{arn}' does not exist"))
            })
    }

    pub(crate) fn no_alias(&self, alias: &AliasName) -> KmsError {
        let arn = self.home().alias_arn(alias);
        KmsError::new(ErrorCode::NotFound, format!("Alias {arn} is not found."))
    }
}

/// Whether an operation takes aliases where it takes key ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aliases {
    /// Cryptographic operations and DescribeKey.
    Allowed,
    /// Management operations.
    Refused,
}
