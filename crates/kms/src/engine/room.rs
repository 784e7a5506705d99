//! Which requests may use the room on the disk that is kept, and what happens when there is no other.

use super::{Engine, internal};
use crate::audit::{AuditError, Event, Exclusive, Receipt};
use crate::op::Perform;
use crate::reserve::Reserve;
use crate::store::{Batch, StoreError};
use std::path::Path;
use std::sync::PoisonError;
use waxseal_kms_api::KmsError;

/// The room that a request may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// What there is, the reserve left alone.
    Common,
    /// The reserve too, when there is no other.
    Reserve,
}

impl Room {
    pub(super) fn of<O: Perform>() -> Self {
        match O::USES_RESERVE {
            true => Self::Reserve,
            false => Self::Common,
        }
    }
}

/// What is said while the reserve is given up.
pub(super) const LOW: &str = "the disk is full";

impl Engine {
    /// Keeps room in the home in `directory`.
    pub(super) fn keep_reserve(&self, directory: &Path) {
        // There is one.
        let _ = self.reserve.set(Reserve::keep(directory));
    }

    /// Refuses what may not use the reserve while that is given up: it would use it.
    pub(super) fn admit(&self, room: Room) -> Result<(), KmsError> {
        match (room, self.reserve.get()) {
            (Room::Common, Some(reserve)) if !reserve.is_kept() => Err(internal(format!(
                "{LOW}; only what takes rights away is done until there is space"
            ))),
            _ => Ok(()),
        }
    }

    /// Commits, and remembers whether that was possible.
    pub(super) fn committed(&self, batch: &Batch, room: Room) -> Result<(), StoreError> {
        let mut committed = self.parts.store.commit(batch);
        if committed == Err(StoreError::Full) && self.gives_up(room) {
            committed = self.parts.store.commit(batch);
        }
        let trouble = match &committed {
            Ok(_) | Err(StoreError::Conflict { .. }) => None,
            Err(error) => Some(error.reason()),
        };
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        committed.map(drop)
    }

    /// Appends a record to the log that is held.
    pub(super) fn appended(
        &self,
        log: &mut Exclusive<'_>,
        event: &Event<'_>,
        room: Room,
    ) -> Result<(), KmsError> {
        self.with_room(room, || log.append(event))
    }

    /// The same for the record of a change.
    pub(super) fn appended_change(
        &self,
        log: &mut Exclusive<'_>,
        event: &Event<'_>,
        room: Room,
    ) -> Result<(), KmsError> {
        self.with_room(room, || log.append_change(event))
    }

    fn with_room(
        &self,
        room: Room,
        mut append: impl FnMut() -> Result<Receipt, AuditError>,
    ) -> Result<(), KmsError> {
        match append() {
            Err(AuditError::Full) if self.gives_up(room) => append(),
            appended => appended,
        }
        .map(drop)
        .map_err(internal)
    }

    /// Whether there is more room now.
    fn gives_up(&self, room: Room) -> bool {
        room == Room::Reserve && self.reserve.get().is_some_and(Reserve::give_up)
    }
}
