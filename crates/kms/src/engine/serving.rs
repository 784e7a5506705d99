//! What an engine has while it serves, and has not while it is sealed: the domain key, and what was
//! opened with it.
//!
//! ```text
//! serving ── no root opens the store any more ──▶ sealed ── one does again ──▶ serving
//! ```
//!
//! Rows are sealed and opened through [`Serving`] alone, and so is the memory of rows that were opened. A
//! sealed engine holds none: requests that began before end with what they have, and with the last of
//! them everything is zeroed.

use super::{Cache, Engine, internal};
use crate::audit::{Event, EventError};
use crate::root::{ROOT_DOCUMENT, RootRecord};
use crate::seal::RowSealer;
use crate::store::{Document, Store};
use std::sync::{Arc, PoisonError, RwLock};
use waxseal_core::SecretBytes;
use waxseal_kms_api::members::Members;
use waxseal_kms_api::{ErrorCode, KmsError};

/// The domain key, and what was opened with it.
pub(crate) struct Serving {
    pub(super) rows: RowSealer,
    pub(super) cache: RwLock<Cache>,
}

impl Serving {
    pub(super) fn new(rows: RowSealer) -> Arc<Self> {
        Arc::new(Self {
            rows,
            cache: RwLock::default(),
        })
    }
}

/// Serving, or sealed and why.
pub(super) struct Gate(RwLock<Result<Arc<Serving>, String>>);

impl Gate {
    pub(super) fn open(rows: RowSealer) -> Self {
        Self(RwLock::new(Ok(Serving::new(rows))))
    }

    fn serving(&self) -> Result<Arc<Serving>, KmsError> {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        state.clone().map_err(|why| {
            let message = format!("The KMS is sealed: {why}");
            KmsError::new(ErrorCode::KeyUnavailable, message)
        })
    }

    /// Gives what there was before.
    fn set(&self, state: Result<Arc<Serving>, String>) -> Result<Arc<Serving>, String> {
        let mut place = self.0.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut place, state)
    }
}

/// Opens the domain key of the store anew, by a root.
pub trait Reopen: Send + Sync {
    /// What rows are sealed and opened with now.
    ///
    /// # Errors
    /// A sentence that says why no root opens it.
    fn reopen(&self, store: &dyn Store, by: By) -> Result<RowSealer, String>;
}

/// Which roots open the domain key anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Those that are there now: it proves that they are.
    Reachable,
    /// Those too whose key was typed and is kept.
    Any,
}

impl Engine {
    /// The domain key and what was opened with it, while there is one.
    pub(crate) fn serving(&self) -> Result<Arc<Serving>, KmsError> {
        self.gate.serving()
    }

    /// Why the engine is sealed, if it is.
    pub fn why_sealed(&self) -> Option<String> {
        let state = self.gate.0.read();
        let state = state.unwrap_or_else(PoisonError::into_inner);
        state.as_ref().err().cloned()
    }

    /// How the domain key is opened anew: when another process gave the store a new one. Said once.
    pub fn reopen_by(&self, reopen: Box<dyn Reopen>) {
        // The first word holds.
        let _ = self.reopen.set(reopen);
    }

    /// Drops the domain key and everything that was opened with it, and refuses every request until
    /// [`Engine::serve`]. It is recorded once; whether it was.
    pub fn seal(&self, why: &str) -> bool {
        let before = self.gate.set(Err(why.to_owned()));
        let is_new = before.is_ok();
        // The last request that still has it zeroes it.
        drop(before);
        if is_new {
            self.record_edge("SealKms", Some(why));
        }
        is_new
    }

    fn unseal(&self, rows: RowSealer) -> bool {
        let was_sealed = self.gate.set(Ok(Serving::new(rows))).is_err();
        if was_sealed {
            self.record_edge("UnsealKms", None);
        }
        was_sealed
    }

    /// Opens the domain key anew; `None` where nobody said how ([`Engine::reopen_by`]). The engine stays as
    /// it is until it is told to [`Engine::serve`] with that.
    pub fn open_root(&self, by: By) -> Option<Result<RowSealer, String>> {
        let reopen = self.reopen.get()?;
        Some(reopen.reopen(self.parts.store.as_ref(), by))
    }

    /// Serves with `rows`: again, when it was sealed; with another domain key, when there is one. Whether
    /// it was sealed.
    pub fn serve(&self, rows: RowSealer) -> bool {
        let known = self.serving().map(|serving| serving.rows.epochs());
        known != Ok(rows.epochs()) && self.unseal(rows)
    }

    /// Learns of a new domain key, or that the one before is gone, when the store's record says so. An
    /// engine that cannot open the new one is sealed: it would open some rows and not others.
    pub(super) fn learn_root(&self) -> Result<(), KmsError> {
        let known = self.serving()?.rows.epochs();
        let record = RootRecord::read(self.parts.store.as_ref()).map_err(internal)?;
        if record.is_none_or(|record| record.epochs() == known) {
            return Ok(());
        }
        match self.open_root(By::Any) {
            Some(Ok(rows)) => self.serve(rows),
            Some(Err(why)) => self.seal(&format!("the store has another domain key; {why}")),
            None => false,
        };
        Ok(())
    }

    /// Opens a row; one that a new domain key sealed, after learning that.
    pub(crate) fn opened(&self, document: &Document) -> Result<SecretBytes, KmsError> {
        let serving = self.serving()?;
        if !serving.rows.is_unknown(&document.body) {
            return serving.rows.open(document);
        }
        self.learn_root()?;
        self.serving()?.rows.open(document)
    }

    /// Records that the engine was sealed, or serves again. That it cannot be recorded changes nothing:
    /// no key is used by it.
    fn record_edge(&self, name: &'static str, why: Option<&str>) {
        let error = why.map(|why| EventError {
            code: ErrorCode::KeyUnavailable.name().to_owned(),
            message: why.to_owned(),
        });
        if let Ok(event) = self.event_itself(self.home(), name, Members::new()) {
            drop(self.parts.audit.append(&Event { error, ..event }));
        }
    }
}

/// Whether the root record is among what changed.
pub(super) fn names_root(keys: &[String]) -> bool {
    keys.iter().any(|key| key == ROOT_DOCUMENT)
}
