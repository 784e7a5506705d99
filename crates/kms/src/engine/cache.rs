//! What is kept of the store in memory, opened, until it is changed.

use super::{Engine, GrantEntry, KeyEntry, internal, serving};
use crate::federation::ProviderEntry;
use crate::model::{self, AliasRecord, KeyRecord, StoreRecord};
use crate::policy::{Policy, PolicyKind};
use crate::principals::{AccessKeyEntry, PrincipalEntry, SessionEntry};
use crate::store::{Document, StoreError};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use waxseal_core::SecretBytes;
use waxseal_kms_api::KmsError;

#[derive(Default)]
pub(super) struct Cache {
    /// Everything in `entries` is as new as this head of the store, or newer.
    head: u64,
    entries: HashMap<String, Entry>,
    /// Sessions whose tokens were opened, by their access key ids. No document says when they end.
    sessions: HashMap<String, Arc<SessionEntry>>,
}

/// How many sessions are remembered. It is a matter of speed: when there are more, all are forgotten.
const SESSIONS_MAX: usize = 1_000;

/// A record that was read and opened.
#[derive(Clone)]
pub(crate) enum Entry {
    Key(KeyEntry),
    Alias(Arc<AliasRecord>, u64),
    /// All grants of a key, under what their documents begin with.
    Grants(Arc<[GrantEntry]>),
    Material(Arc<SecretBytes>),
    Principal(Arc<PrincipalEntry>),
    AccessKey(Arc<AccessKeyEntry>),
    Provider(Arc<ProviderEntry>),
    KeyStore(Arc<StoreRecord>, u64),
}

impl Entry {
    pub(super) fn key_store(engine: &Engine, document: &Document) -> Result<Self, KmsError> {
        let record = Arc::new(engine.open_json(document)?);
        Ok(Self::KeyStore(record, document.revision))
    }

    pub(super) fn key(engine: &Engine, document: &Document) -> Result<Self, KmsError> {
        let record: KeyRecord = engine.open_json(document)?;
        let id = record.id.parse().map_err(internal)?;
        let arn = record.place(engine.home()).key_arn(id);
        let policy = match &record.policy {
            // It was read before it was stored. One that cannot be read lets nobody in.
            Some(text) => Arc::new(Policy::parse(text, PolicyKind::Key).map_err(internal)?),
            None => engine.default_policy(&arn.home)?,
        };
        Ok(Self::Key(KeyEntry {
            name: arn.text().into(),
            arn: Arc::new(arn),
            record: Arc::new(record),
            policy,
            revision: document.revision,
        }))
    }

    pub(super) fn alias(engine: &Engine, document: &Document) -> Result<Self, KmsError> {
        let record = Arc::new(engine.open_json(document)?);
        Ok(Self::Alias(record, document.revision))
    }
}

impl Engine {
    /// Drops from memory what was changed since it was read, by whatever process. After this, a
    /// change that was answered before this request came is seen by it.
    pub(crate) fn refresh(&self) -> Result<(), KmsError> {
        let serving = self.serving()?;
        let head = serving
            .cache
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .head;
        let changes = self.parts.store.watch(head).map_err(internal)?;
        if changes.head == head {
            return Ok(());
        }
        let mut cache = serving
            .cache
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for key in &changes.keys {
            // A key that was disabled, or waits for its deletion, is not to be used: its material leaves
            // this process. One that was changed in another way is opened again at its next use.
            if let Some(grants) = model::grants_of(key) {
                cache.entries.remove(grants);
            }
            if let Some(Entry::Key(key)) = cache.entries.remove(key) {
                for material in key.record.material_documents(self.home()) {
                    cache.entries.remove(&material);
                }
            }
        }
        cache.head = cache.head.max(changes.head);
        drop(cache);
        match serving::names_root(&changes.keys) {
            true => self.learn_root(),
            false => Ok(()),
        }
    }

    /// The cached record of a document, read and opened when it is not there.
    pub(crate) fn cached(
        &self,
        key: &str,
        read: fn(&Self, &Document) -> Result<Entry, KmsError>,
    ) -> Result<Option<Entry>, KmsError> {
        self.cached_as(key, || match self.parts.store.get(key) {
            Ok(Some(document)) => read(self, &document).map(Some),
            // What no document can be called, though somebody asks for it, is none.
            Ok(None) | Err(StoreError::InvalidKey { .. }) => Ok(None),
            Err(error) => Err(internal(error)),
        })
    }

    /// What is cached of a document, or of all whose names begin so, read when it is not there. What was
    /// read is kept only while nothing else was learnt since: another request may have found it changed
    /// meanwhile, and would not look again.
    pub(crate) fn cached_as(
        &self,
        key: &str,
        read: impl FnOnce() -> Result<Option<Entry>, KmsError>,
    ) -> Result<Option<Entry>, KmsError> {
        let serving = self.serving()?;
        let head = {
            let cache = serving.cache.read();
            let cache = cache.unwrap_or_else(PoisonError::into_inner);
            if let Some(entry) = cache.entries.get(key) {
                return Ok(Some(entry.clone()));
            }
            cache.head
        };
        let Some(entry) = read()? else {
            return Ok(None);
        };
        let mut cache = serving
            .cache
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // What was read before a change that others have seen since is not kept: nobody would see the
        // change any more.
        if cache.head == head {
            cache.entries.insert(key.to_owned(), entry.clone());
        }
        Ok(Some(entry))
    }

    pub(crate) fn known_session(&self, id: &str) -> Result<Option<Arc<SessionEntry>>, KmsError> {
        let serving = self.serving()?;
        let cache = serving.cache.read();
        let cache = cache.unwrap_or_else(PoisonError::into_inner);
        Ok(cache.sessions.get(id).cloned())
    }

    pub(crate) fn remember_session(
        &self,
        id: &str,
        session: Arc<SessionEntry>,
    ) -> Result<(), KmsError> {
        let serving = self.serving()?;
        let mut cache = serving
            .cache
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if cache.sessions.len() >= SESSIONS_MAX {
            cache.sessions.clear();
        }
        cache.sessions.insert(id.to_owned(), session);
        Ok(())
    }

    /// All entries whose documents begin with `prefix`, in the order of their keys.
    pub(crate) fn entries(
        &self,
        prefix: &str,
        read: fn(&Self, &Document) -> Result<Entry, KmsError>,
    ) -> Result<Vec<Entry>, KmsError> {
        let names = self.names(prefix)?.into_iter();
        let entries = names.map(|name| self.cached(&name, read));
        entries.filter_map(Result::transpose).collect()
    }
}
