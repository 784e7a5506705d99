//! ScheduleKeyDeletion and CancelKeyDeletion.

use super::keys::changed;
use super::{Perform, invalid, one_key, stays};
use crate::engine::{KeyEntry, View};
use crate::model::{DAY, KeyState};
use crate::request::Done;
use serde_json::json;
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::Timestamp;
use waxseal_kms_api::{ErrorCode, KmsError};

/// The waiting period, in days.
const WINDOW: std::ops::RangeInclusive<i64> = 7..=30;
const WINDOW_DEFAULT: i64 = 30;

impl Perform for ScheduleKeyDeletionRequest {
    one_key!(changed);

    fn run(
        self,
        key: KeyEntry,
        view: &View<'_>,
    ) -> Result<Done<ScheduleKeyDeletionResponse>, KmsError> {
        let days = self.pending_window_in_days.unwrap_or(WINDOW_DEFAULT);
        if !WINDOW.contains(&days) {
            let (least, greatest) = (WINDOW.start(), WINDOW.end());
            return Err(invalid(format!(
                "PendingWindowInDays must be between {least} and {greatest} (inclusive)"
            )));
        }
        stays(&key)?;
        // A primary key outlives its replicas: its own waiting period begins when they are gone.
        let is_first = key.record.is_primary() && !view.siblings(&key.arn)?.is_empty();
        let due = (!is_first).then_some(view.steady_seconds() + days as f64 * DAY);
        let state = match is_first {
            true => KeyState::PendingReplicaDeletion,
            false => KeyState::PendingDeletion,
        };
        let Done { changes, .. } = changed(&key, |record| {
            record.state = state;
            record.deletion = due;
            record.deletion_days = is_first.then_some(days);
        })?;
        let mut done = Done::read(ScheduleKeyDeletionResponse {
            key_id: key.arn.to_string(),
            deletion_date: due.map(Timestamp),
            key_state: state.name().to_owned(),
            pending_window_in_days: Some(days),
        });
        done.response_elements = Some(json!({
            "keyId": key.arn.to_string(),
            "keyState": state.name(),
            "pendingWindowInDays": days,
        }));
        done.changes = changes;
        Ok(done)
    }
}

impl Perform for CancelKeyDeletionRequest {
    one_key!(changed);

    fn run(self, key: KeyEntry, _: &View<'_>) -> Result<Done<CancelKeyDeletionResponse>, KmsError> {
        let pending = [KeyState::PendingDeletion, KeyState::PendingReplicaDeletion];
        if !pending.contains(&key.record.state) {
            let message = format!("{} is not pending deletion.", key.arn);
            return Err(KmsError::new(ErrorCode::InvalidState, message));
        }
        let Done { changes, .. } = changed(&key, |record| {
            record.state = match record.is_complete() {
                true => KeyState::Disabled,
                false => KeyState::PendingImport,
            };
            record.deletion = None;
            record.deletion_days = None;
        })?;
        let mut done = Done::read(CancelKeyDeletionResponse {
            key_id: key.arn.to_string(),
        });
        done.response_elements = Some(json!({ "keyId": key.arn.to_string() }));
        done.changes = changes;
        Ok(done)
    }
}
