//! Whether store and log belong together: an older copy in the place of either is noticed.
//!
//! Each change writes, with everything else that it writes, how far the log was: the document `log`, sealed
//! like every row.
//!
//! ```text
//! {"records":N,"hash":"…"}   the log had N records; the line of the last has this SHA-256
//! ```
//!
//! The record of the change is then the next one, and the document says so once that is written; what a
//! crash left between the two is known by its pending record. The record of the change and all later ones
//! name it (`additionalEventData.lastChange`) until there is another. The two hold each other:
//!
//! * A log with fewer than N records, or with another N-th one, is not the one that the store was
//!   changed with: it lost its end, or an older copy took its place.
//! * A log whose last line names a change after N, of which the store has nothing pending, has seen
//!   changes that the store does not have: an older copy took the store's place. What was revoked since
//!   would be in force again.
//!
//! Both are refused when the KMS is opened, unless whoever opens it accepts it in so many words. That is
//! recorded, and from then on the two belong together as they are. A home that was put back as a whole
//! looks as it did; only what is kept elsewhere tells.

use super::{Engine, Parts, Pending, Room, internal};
use crate::audit::{self, Event, Exclusive, Last};
use crate::model::{LOG_DOCUMENT, PENDING_PREFIX};
use crate::request::Caller;
use crate::store::{Batch, Document, Expect};
use serde::{Deserialize, Serialize};
use std::path::Path;
use waxseal_kms_api::KmsError;
use waxseal_kms_api::members::Members;

/// Store and log do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RollbackError {
    /// The log has records of changes that the store does not have.
    #[error(
        "an older copy took the store's place: it knows of {found} records of the audit log, in which record \
         {known} is that of a change"
    )]
    Store {
        /// The records that there were when the store was changed last.
        found: u64,
        /// The newest change in the log.
        known: u64,
    },
    /// The log does not have what it had when the store was changed last.
    #[error(
        "the audit log lost its end, or an older copy took its place: it has {found} records, and the store \
         was changed last when it had {known} others"
    )]
    Log {
        /// How many records there are.
        found: u64,
        /// How many there were.
        known: u64,
    },
    /// It could not be found out.
    #[error(transparent)]
    Engine(#[from] KmsError),
}

/// What to do with store and log that do not belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rollback {
    /// Nothing is opened.
    Refused,
    /// They are taken as they are, and that is recorded.
    Accepted,
}

/// How far the log was when the store was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    records: u64,
    hash: String,
}

impl Mark {
    fn of(last: &Last) -> Self {
        Self {
            records: last.next_sequence - 1,
            hash: hex::encode(last.hash),
        }
    }

    /// What does not fit, where the log in `dir` ends with `last`.
    fn compare(&self, dir: &Path, last: &Last) -> Result<(), RollbackError> {
        let records = last.next_sequence - 1;
        let hash = match self.records {
            0 => Some([0; 32]),
            own if own == records => Some(last.hash),
            own => audit::hash_of(dir, own).map_err(internal)?,
        };
        // A record that was moved elsewhere since is taken to be the one it was.
        let is_another = hash.is_some_and(|hash| hex::encode(hash) != self.hash);
        if records < self.records || is_another {
            return Err(RollbackError::Log {
                found: records,
                known: self.records,
            });
        }
        if last.last_change > self.records {
            return Err(RollbackError::Store {
                found: self.records,
                known: last.last_change,
            });
        }
        Ok(())
    }
}

impl Engine {
    /// As [`Engine::new`] for the home in `directory`, unless an older copy of the store or of the log lies
    /// in its place.
    ///
    /// # Errors
    /// [`RollbackError`].
    pub fn open(parts: Parts, directory: &Path, rollback: Rollback) -> Result<Self, RollbackError> {
        let engine = Self::unsettled(parts);
        engine.keep_reserve(directory);
        let verified = engine.verify_together();
        match (verified, rollback) {
            (Ok(()), _) => engine.settle_all()?,
            (Err(RollbackError::Engine(error)), _) => return Err(error.into()),
            (Err(error), Rollback::Refused) => return Err(error),
            (Err(error), Rollback::Accepted) => engine.accept(&error)?,
        }
        Ok(engine)
    }

    fn verify_together(&self) -> Result<(), RollbackError> {
        // Others may be at work: what fits at first sight fits, and the rest is looked at again under the
        // lock.
        let pending = self.scan(PENDING_PREFIX)?;
        if pending.is_empty()
            && let Ok(last) = audit::peek(self.audit_directory())
            && self.compare(&last).is_ok()
        {
            return Ok(());
        }
        let mut log = self.parts.audit.exclusive().map_err(internal)?;
        let mut last = log.last().map_err(internal)?;
        // Where a crash left a record that was to be written, other requests may have been recorded before
        // it was.
        for document in self.scan(PENDING_PREFIX)? {
            let pending: Pending<'_> = self.open_json(&document)?;
            let found = log.find(pending.since_sequence, &pending.event.event_id);
            if found.map_err(internal)? == Some(last.last_change) {
                last.last_change = 0;
            }
        }
        self.compare(&last)
    }

    /// How far the log was when the store was changed last.
    fn mark(&self) -> Result<Option<Mark>, KmsError> {
        let document = self.document(LOG_DOCUMENT)?;
        document
            .map(|document| self.open_json(&document))
            .transpose()
    }

    /// What does not fit, where the log ends with `last`.
    fn compare(&self, last: &Last) -> Result<(), RollbackError> {
        match (self.mark()?, last.last_change) {
            (Some(mark), _) => mark.compare(self.audit_directory(), last),
            // Nothing was changed since there are marks.
            (None, 0) => Ok(()),
            (None, known) => Err(RollbackError::Store { found: 0, known }),
        }
    }

    /// Adds to a batch that the log goes as far as it does now.
    pub(super) fn mark_log(
        &self,
        log: &mut Exclusive<'_>,
        batch: &mut Batch,
    ) -> Result<(), KmsError> {
        let expect = match self.document(LOG_DOCUMENT)? {
            Some(Document { revision, .. }) => Expect::Revision(revision),
            None => Expect::Absent,
        };
        let last = log.last().map_err(internal)?;
        let body = serde_json::to_vec(&Mark::of(&last)).map_err(internal)?;
        batch.put(
            LOG_DOCUMENT,
            expect,
            self.sealed(LOG_DOCUMENT, expect, &body)?,
        );
        Ok(())
    }

    /// Takes store and log as they are. The record of it is that of a change which changes nothing but
    /// the mark.
    fn accept(&self, error: &RollbackError) -> Result<(), KmsError> {
        let mut log = self.parts.audit.exclusive().map_err(internal)?;
        self.settle(&mut log, Room::Common)?;
        let caller = Caller::owner(self.home(), concat!("waxseal/", env!("CARGO_PKG_VERSION")));
        let event = Event {
            event_id: self.uuid()?.into(),
            event_time: self.now(),
            event_source: "kms.amazonaws.com".into(),
            event_name: "AcceptRollback".into(),
            aws_region: (&self.home().region).into(),
            account_id: (&self.home().account).into(),
            user_identity: caller.identity(),
            source_ip_address: caller.source_ip_address().into(),
            user_agent: caller.user_agent().into(),
            request_id: self.uuid()?.into(),
            request_parameters: Some(Members::from_iter([("accepted", error.to_string())])),
            response_elements: None,
            additional: Default::default(),
            resources: Vec::new(),
            read_only: false,
            error: None,
        };
        self.commit_recorded(&mut log, &[], &event, Room::Common)?
    }

    /// Notes how far the log is now, so that it cannot lose its end unnoticed since the last change either.
    pub(super) fn note_log(&self) -> Result<(), KmsError> {
        let mut log = self.parts.audit.exclusive().map_err(internal)?;
        self.refresh()?;
        let now = Mark::of(&log.last().map_err(internal)?);
        if now.records == 0 || self.mark()? == Some(now) {
            return Ok(());
        }
        let mut batch = Batch::new();
        self.mark_log(&mut log, &mut batch)?;
        self.commit_batch(&batch)
    }
}
