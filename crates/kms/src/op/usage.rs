//! GetKeyLastUsage.
//!
//! The audit log has every use of every key. It is read once, as far as it goes, when somebody
//! first asks, and from there on afterwards: uses themselves pay nothing for it.

use super::{Perform, one_key};
use crate::audit::{self, AuditError, Record};
use crate::engine::{KeyEntry, View};
use crate::request::Done;
use std::collections::HashMap;
use std::path::Path;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
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

/// The last use of each key, as far as the log was read.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    /// The sequence number of the last record that was read.
    seen: u64,
    by_key: HashMap<String, KeyLastUsageData>,
}

impl Uses {
    /// The last use of the key with this ARN, after reading on in the log.
    pub(crate) fn of(
        &mut self,
        log: &Path,
        arn: &str,
    ) -> Result<Option<KeyLastUsageData>, AuditError> {
        for record in audit::records_after(log, self.seen) {
            let record = record?;
            self.seen = record.sequence;
            self.note(&record);
        }
        Ok(self.by_key.get(arn).cloned())
    }

    fn note(&mut self, record: &Record) {
        let text = |name: &str| record.event.get(name)?.as_str();
        let Some(operation) = text("eventName") else {
            return;
        };
        let is_use = KEY_LAST_USAGE_TRACKING_OPERATION.contains(&operation);
        if !is_use || text("errorCode").is_some() {
            return;
        }
        let time = text("eventTime").and_then(|time| OffsetDateTime::parse(time, &Rfc3339).ok());
        let resources = record
            .event
            .get("resources")
            .and_then(|list| list.as_array());
        for resource in resources.into_iter().flatten() {
            let Some(arn) = resource.get("ARN").and_then(|arn| arn.as_str()) else {
                continue;
            };
            let used = KeyLastUsageData {
                operation: Some(operation.to_owned()),
                timestamp: time.map(crate::clock::timestamp),
                cloud_trail_event_id: text("eventID").map(str::to_owned),
                kms_request_id: text("requestID").map(str::to_owned),
            };
            self.by_key.insert(arn.to_owned(), used);
        }
    }
}
