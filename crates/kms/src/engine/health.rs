//! Whether an engine can work, and why not, in words that everybody may read.

use super::{Engine, Room, internal, room};
use crate::store::{Batch, Document, Expect, StoreError};
use std::sync::PoisonError;
use waxseal_core::crypto::random;
use waxseal_kms_api::{ErrorCode, KmsError};

/// Why an engine cannot work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unhealthy {
    /// In a few words that name no file and no key.
    pub reason: &'static str,
    /// What failed, as a request would be told.
    pub error: KmsError,
}

impl Unhealthy {
    fn new(reason: &'static str, error: impl std::fmt::Display) -> Self {
        Self {
            reason,
            error: internal(error),
        }
    }
}

impl std::fmt::Display for Unhealthy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason)
    }
}

impl std::error::Error for Unhealthy {}

impl From<StoreError> for Unhealthy {
    fn from(error: StoreError) -> Self {
        Self::new(error.reason(), error)
    }
}

/// The document that is written to see whether the store can be written again.
const PROBE: &str = "health";

impl Engine {
    /// Whether it can work: a row is sealed and opened, the store is read, and the audit log is
    /// opened for writing. Where the last write failed, something is written. No key is used, and
    /// nothing is recorded.
    ///
    /// # Errors
    /// What failed, in a few words and in full.
    pub fn check_health(&self) -> Result<(), Unhealthy> {
        let sealing = |error: KmsError| Unhealthy {
            reason: match error.code {
                ErrorCode::KeyUnavailable => "sealed",
                _ => "rows cannot be sealed and opened",
            },
            error,
        };
        let mut body: [u8; 32] =
            random::array(self.entropy()).map_err(|error| sealing(internal(error)))?;
        let document = Document {
            key: PROBE.to_owned(),
            revision: 1,
            body: self.sealed(PROBE, Expect::Absent, &body).map_err(sealing)?,
        };
        let opened = self.opened(&document).map_err(sealing)?;
        let same = opened.ct_eq(&body);
        body.fill(0);
        if !same {
            return Err(sealing(internal("a sealed row opened as another")));
        }
        self.admit(Room::Common).map_err(|error| Unhealthy {
            reason: room::LOW,
            error,
        })?;
        let audit = self.parts.audit.check();
        audit.map_err(|error| Unhealthy::new(error.reason(), error))?;
        self.parts.store.watch(0)?;
        if self.trouble().is_some() {
            self.probe_store()?;
        }
        Ok(())
    }

    /// Whether the disk has kept the log or the store from going on for longer than
    /// [`STALL`](crate::turn::STALL).
    pub fn is_stalled(&self) -> bool {
        self.parts.audit.is_stalled() || self.parts.store.is_stalled()
    }

    /// Records of requests that were begun wait from now on until there is nothing else to do. Whoever
    /// asks for this calls [`Engine::idle`] whenever there is not.
    pub fn pace(&self) {
        self.parts.audit.pace();
    }

    /// There is nothing else to do than to write what waits: see [`Engine::pace`].
    pub fn idle(&self) {
        self.parts.audit.idle();
    }

    fn trouble(&self) -> Option<&'static str> {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn probe_store(&self) -> Result<(), Unhealthy> {
        let found = self.parts.store.get(PROBE)?;
        let expect = match found {
            Some(document) => Expect::Revision(document.revision),
            None => Expect::Absent,
        };
        let mut batch = Batch::new();
        batch.put(PROBE, expect, Vec::new());
        Ok(self.committed(&batch, Room::Common)?)
    }
}
