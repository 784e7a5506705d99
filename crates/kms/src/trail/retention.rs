//! How long the audit log is kept: whole segments go once they are old, delivered in digests, and
//! shipped.
//!
//! Where the kept log begins is said by a signed note like a checkpoint, in the file `begin` beside the
//! log: number and hash of the last record that was removed. It is durable before anything is removed, and
//! so is the last use of each key there, which the store keeps.

use super::{STATE_DOCUMENT, State};
use crate::audit::{self, timestamp};
use crate::engine::{Engine, internal};
use time::Duration;
use waxseal_kms_api::KmsError;

impl Engine {
    /// Removes segments of the log whose last record is older than `days`, if they were delivered and
    /// shipped, and hold. Never the newest two. How many there were.
    ///
    /// # Errors
    /// `KMSInternalException` when log or store cannot be read or written, or the log is damaged.
    pub fn retain_log(&self, days: u32) -> Result<usize, KmsError> {
        let Some((_, state)) = self.kept::<State>(STATE_DOCUMENT)? else {
            return Ok(0);
        };
        let Some(_lock) = self.trail().lock().map_err(internal)? else {
            // Another process is at it.
            return Ok(0);
        };
        let dir = self.audit_directory();
        let until = state.sequence.min(self.shipped_records()?);
        let before = timestamp(self.now() - Duration::days(i64::from(days)));
        if let Some((records, head)) = audit::removable(dir, until, &before).map_err(internal)? {
            let gone = audit::begin(dir).map_err(internal)?;
            self.keep_uses(gone.map_or(0, |gone| gone.records), records)?;
            self.write_begin(records, head)?;
        }
        audit::remove_before_begin(dir).map_err(internal)
    }
}
