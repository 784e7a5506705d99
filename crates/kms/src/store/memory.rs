//! A store that forgets: the model of what a store does, and a store for tests.

use super::{
    Action, Batch, Change, Changes, Document, Store, StoreError, validate_key, validate_prefix,
};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Documents in memory. Nothing is durable, everything else is as [`Store`] says.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    head: u64,
    entries: BTreeMap<String, Entry>,
}

/// A deleted document stays as an entry without content, so that `watch` can name it.
#[derive(Debug)]
struct Entry {
    /// The head of the commit that wrote or deleted it.
    changed_at: u64,
    content: Option<Content>,
}

#[derive(Debug)]
struct Content {
    revision: u64,
    body: Vec<u8>,
}

impl MemoryStore {
    /// An empty store with head 0.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere cannot leave a batch half applied: checks come before the first write.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &str) -> Result<Option<Document>, StoreError> {
        validate_key(key)?;
        let state = self.state();
        Ok(state.entries.get(key).and_then(|entry| entry.document(key)))
    }

    fn scan(&self, prefix: &str) -> Result<Vec<Document>, StoreError> {
        validate_prefix(prefix)?;
        let state = self.state();
        Ok(state
            .entries
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter_map(|(key, entry)| entry.document(key))
            .collect())
    }

    fn commit(&self, batch: &Batch) -> Result<u64, StoreError> {
        batch.validate()?;
        let mut state = self.state();
        let revisions = batch
            .changes
            .iter()
            .map(|change| change.next_revision(state.revision(&change.key)))
            .collect::<Result<Vec<_>, _>>()?;
        if batch.writes() {
            state.head += 1;
        }
        for (change, revision) in batch.changes.iter().zip(revisions) {
            state.apply(change, revision);
        }
        Ok(state.head)
    }

    fn watch(&self, since: u64) -> Result<Changes, StoreError> {
        let state = self.state();
        let head = state.head;
        if head < since {
            return Err(StoreError::RolledBack { head, known: since });
        }
        if head == since {
            let keys = Vec::new();
            return Ok(Changes { head, keys });
        }
        let changed = state.entries.iter().filter(|(_, e)| e.changed_at > since);
        let keys = changed.map(|(key, _)| key.clone()).collect();
        Ok(Changes { head, keys })
    }
}

impl State {
    fn revision(&self, key: &str) -> Option<u64> {
        let content = self.entries.get(key)?.content.as_ref()?;
        Some(content.revision)
    }

    fn apply(&mut self, change: &Change, revision: u64) {
        let content = match &change.action {
            Action::Check => return,
            Action::Delete => None,
            Action::Put(body) => Some(Content {
                revision,
                body: body.clone(),
            }),
        };
        let entry = Entry {
            changed_at: self.head,
            content,
        };
        self.entries.insert(change.key.clone(), entry);
    }
}

impl Entry {
    fn document(&self, key: &str) -> Option<Document> {
        let content = self.content.as_ref()?;
        Some(Document {
            key: key.to_owned(),
            revision: content.revision,
            body: content.body.clone(),
        })
    }
}
