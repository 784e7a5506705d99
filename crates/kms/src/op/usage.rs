//! GetKeyLastUsage.
//!
//! The audit log has every use of every key. It is read from its end back to the last use of the key
//! that is asked for, and the next time only as far as it has grown: uses themselves pay nothing for it.

use super::{Perform, one_key};
use crate::audit::{self, AuditError, Glance, Go, Needles};
use crate::engine::{KeyEntry, View};
use crate::request::Done;
use std::collections::HashMap;
use std::path::Path;
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
            key_last_usage: view.last_use(&arn)?.unwrap_or_default(),
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
