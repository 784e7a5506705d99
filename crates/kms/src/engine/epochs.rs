//! A new domain key for a store that is in use.
//!
//! 1. The new key is written to the root record, with the one before sealed under it. From then on every
//!    process seals under the new one: changes refresh under the log's lock, and see the record.
//! 2. Every row is sealed anew, some at a time under the log's lock, so that no change comes between.
//! 3. When no row needs it any more, the key before is removed from the record.
//!
//! Whatever ends early is gone on with: both keys are in the record until the end.

use super::{Engine, Room, internal};
use crate::model::PENDING_PREFIX;
use crate::root::{ROOT_DOCUMENT, RootError, RootRecord};
use crate::store::{Batch, Document, Expect};
use waxseal_kms_api::KmsError;
use waxseal_kms_api::members::Members;

/// Rows that are sealed anew under one lock: others wait for no more than these.
const ROWS_AT_ONCE: usize = 64;

impl Engine {
    /// Gives the store the domain key of `record` ([`RootRecord::next_epoch`]).
    ///
    /// # Errors
    /// [`RootError::Store`] with a conflict when somebody else changed the record meanwhile;
    /// [`RootError::Engine`] when it cannot be recorded.
    pub fn begin_epoch(&self, record: RootRecord) -> Result<(), RootError> {
        let mut log = self.parts.audit.exclusive().map_err(internal)?;
        self.settle(&mut log, Room::Common)?;
        let (epoch, _) = record.epochs();
        record.write(self.parts.store.as_ref())?;
        self.refresh()?;
        let event = self.epoch_event("BeginDomainKeyRotation", epoch)?;
        Ok(self.commit_recorded(&mut log, &[], &event, Room::Common)??)
    }

    /// Seals every row anew that is not sealed under the newest domain key, and lets go of the one before.
    /// `told` hears how many were looked at, of how many. How many were sealed anew.
    ///
    /// # Errors
    /// [`RootError`]; what was not done is done the next time.
    pub fn reseal(&self, told: &dyn Fn(usize, usize)) -> Result<usize, RootError> {
        self.refresh()?;
        let mut resealed = 0;
        loop {
            let names = self.parts.store.watch(0)?.keys;
            let mut seen = 0;
            for some in names.chunks(ROWS_AT_ONCE) {
                resealed += self.reseal_some(some)?;
                seen += some.len();
                told(seen, names.len());
            }
            if self.end_epoch()? {
                return Ok(resealed);
            }
        }
    }

    fn reseal_some(&self, names: &[String]) -> Result<usize, RootError> {
        let mut log = self.parts.audit.exclusive().map_err(internal)?;
        self.settle(&mut log, Room::Common)?;
        let mut batch = Batch::new();
        for name in names {
            let Some(document) = self.old_row(name)? else {
                continue;
            };
            let body = self.opened(&document)?;
            let expect = Expect::Revision(document.revision);
            batch.put(name, expect, self.sealed(name, expect, body.expose())?);
        }
        if !batch.is_empty() {
            self.commit_batch(&batch)?;
        }
        Ok(batch.len())
    }

    /// The row of this name, if it is sealed under a domain key from before.
    fn old_row(&self, name: &str) -> Result<Option<Document>, RootError> {
        // A record that waits for the log is written there first: `settle`.
        if name == ROOT_DOCUMENT || name.starts_with(PENDING_PREFIX) {
            return Ok(None);
        }
        let serving = self.serving()?;
        let document = self.parts.store.get(name)?;
        // What says nothing is not sealed: it is written to see whether something can be.
        let is_old = |document: &Document| {
            !document.body.is_empty() && !serving.rows.is_current(&document.body)
        };
        Ok(document.filter(is_old))
    }

    /// Lets go of the domain key before, unless a row needs it still.
    fn end_epoch(&self) -> Result<bool, RootError> {
        let mut log = self.parts.audit.exclusive().map_err(internal)?;
        self.settle(&mut log, Room::Common)?;
        let (epoch, former) = self.serving()?.rows.epochs();
        if former.is_none() {
            return Ok(true);
        }
        for name in self.parts.store.watch(0)?.keys {
            let is_left = name.starts_with(PENDING_PREFIX) && self.document(&name)?.is_some();
            if is_left || self.old_row(&name)?.is_some() {
                return Ok(false);
            }
        }
        RootRecord::forget_former(self.parts.store.as_ref())?;
        self.refresh()?;
        let event = self.epoch_event("EndDomainKeyRotation", epoch)?;
        self.commit_recorded(&mut log, &[], &event, Room::Common)??;
        Ok(true)
    }

    fn epoch_event(
        &self,
        name: &'static str,
        epoch: u32,
    ) -> Result<crate::audit::Event<'static>, KmsError> {
        let additional = Members::from_iter([("domainKeyEpoch", epoch)]);
        self.event_itself(self.home(), name, additional)
    }
}
