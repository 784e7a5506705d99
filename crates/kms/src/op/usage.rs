//! GetKeyLastUsage.
//!
//! The audit log has every use of every key. It is read from its end back to the last use of the key
//! that is asked for, and the next time only as far as it has grown: uses themselves pay nothing for it.
//! What retention is about to remove of the log is read once more before it goes, and the last use of each
//! key is kept in the store (`last-use/…`).

use super::{Perform, one_key};
use crate::audit::{self, AuditError, Glance, Go, Needles};
use crate::engine::{Engine, KeyEntry, View, internal};
use crate::model::{key_document, last_use_document};
use crate::request::Done;
use crate::store::{Batch, Expect};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;
use waxseal_core::KeyArn;
use waxseal_kms_api::KmsError;
use waxseal_kms_api::model::values::KEY_LAST_USAGE_TRACKING_OPERATION;
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::Timestamp;

impl Perform for GetKeyLastUsageRequest {
    one_key!(listed);

    fn run(
        self,
        key: KeyEntry,
        view: &View<'_>,
    ) -> Result<Done<GetKeyLastUsageResponse>, KmsError> {
        let arn = key.arn.to_string();
        Ok(Done::read(GetKeyLastUsageResponse {
            key_last_usage: view.last_use(&key.arn)?.unwrap_or_default(),
            key_id: arn,
            tracking_start_date: Timestamp(key.record.created),
            key_creation_date: Timestamp(key.record.created),
        }))
    }
}

/// The last uses that were asked for.
#[derive(Debug, Default)]
pub(crate) struct Uses(HashMap<String, Seen>);

/// The last use of a key, as far as the log was read.
#[derive(Debug, Default)]
struct Seen {
    /// The sequence number up to which there is no later use.
    sequence: u64,
    used: Option<KeyLastUsageData>,
}

impl Uses {
    /// The last use of the key with this ARN.
    pub(crate) fn of(
        &mut self,
        log: &Path,
        arn: &str,
    ) -> Result<Option<KeyLastUsageData>, AuditError> {
        let seen = self.0.entry(arn.to_owned()).or_default();
        let (mut used, needles) = (None, Needles::of([arn]));
        let newest = audit::backwards(log, u64::MAX, seen.sequence, &needles, |record| {
            used = last_use(&record.glance()?, arn);
            Ok(match used {
                None => Go::On,
                Some(_) => Go::Stop,
            })
        })?;
        seen.sequence = newest;
        if used.is_some() {
            seen.used = used;
        }
        Ok(seen.used.clone())
    }
}

/// The last use of a key in what retention removed of the log.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The number of its record.
    sequence: u64,
    used: KeyLastUsageData,
}

/// Keys whose last uses are kept in one commit.
const KEPT_AT_ONCE: usize = 256;

impl Engine {
    /// The last use of a key in what retention removed of the log.
    pub(crate) fn kept_use(&self, key: &KeyArn) -> Result<Option<KeyLastUsageData>, KmsError> {
        let document = self.document(&last_use_document(&key.home.region, &key.id))?;
        let kept = document.map(|document| self.open_json::<Kept>(&document));
        Ok(kept.transpose()?.map(|kept| kept.used))
    }

    /// Keeps the last use of each key in the records after `after`, up to `until`. Done again, it changes
    /// nothing.
    pub(crate) fn keep_uses(&self, after: u64, until: u64) -> Result<(), KmsError> {
        let mut uses = HashMap::new();
        for record in audit::records_after(self.audit_directory(), after) {
            let record = record.map_err(internal)?;
            if record.sequence > until {
                break;
            }
            let event = record.glance().map_err(internal)?;
            for resource in &event.resources {
                if let Some(used) = last_use(&event, &resource.arn) {
                    let sequence = record.sequence;
                    uses.insert(resource.arn.clone(), Kept { sequence, used });
                }
            }
        }
        let uses: Vec<(String, Kept)> = uses.into_iter().collect();
        for some in uses.chunks(KEPT_AT_ONCE) {
            self.commit_rows(|batch| {
                some.iter()
                    .try_for_each(|(arn, kept)| self.keep_use(arn, kept, batch))
            })?;
        }
        Ok(())
    }

    /// Unless the key is gone, or a later use is kept.
    fn keep_use(&self, arn: &str, kept: &Kept, batch: &mut Batch) -> Result<(), KmsError> {
        let Ok(arn) = arn.parse::<KeyArn>() else {
            return Ok(());
        };
        let (region, id) = (&arn.home.region, &arn.id);
        if self.document(&key_document(region, id))?.is_none() {
            return Ok(());
        }
        let name = last_use_document(region, id);
        let expect = match self.document(&name)? {
            None => Expect::Absent,
            Some(document) => {
                if self.open_json::<Kept>(&document)?.sequence >= kept.sequence {
                    return Ok(());
                }
                Expect::Revision(document.revision)
            }
        };
        let body = serde_json::to_vec(kept).map_err(internal)?;
        let body = self.sealed(&name, expect, &body)?;
        batch.put(name, expect, body);
        Ok(())
    }
}

/// The use that an event is of the key with this ARN.
fn last_use(event: &Glance<'_>, arn: &str) -> Option<KeyLastUsageData> {
    let is_use = KEY_LAST_USAGE_TRACKING_OPERATION.contains(&&*event.event_name)
        && event.error_code.is_none()
        && event.resources.iter().any(|resource| resource.arn == arn);
    is_use.then(|| KeyLastUsageData {
        operation: Some(event.event_name.clone().into_owned()),
        timestamp: event.time().map(crate::clock::timestamp),
        cloud_trail_event_id: Some(event.event_id.clone().into_owned()),
        kms_request_id: Some(event.request_id.clone().into_owned()),
    })
}
