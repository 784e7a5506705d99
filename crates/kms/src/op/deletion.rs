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
        let due = view.seconds() + days as f64 * DAY;
        let Done { changes, .. } = changed(&key, |record| {
            record.state = KeyState::PendingDeletion;
            record.deletion = Some(due);
        })?;
        let mut done = Done::read(ScheduleKeyDeletionResponse {
            key_id: key.arn.to_string(),
            deletion_date: Timestamp(due),
            key_state: KeyState::PendingDeletion.name().to_owned(),
            pending_window_in_days: Some(days),
        });
        done.response_elements = Some(json!({
            "keyId": key.arn.to_string(),
            "keyState": KeyState::PendingDeletion.name(),
            "pendingWindowInDays": days,
        }));
        done.changes = changes;
        Ok(done)
    }
}

impl Perform for CancelKeyDeletionRequest {
    one_key!(changed);

    fn run(self, key: KeyEntry, _: &View<'_>) -> Result<Done<CancelKeyDeletionResponse>, KmsError> {
        if key.record.state != KeyState::PendingDeletion {
            let message = format!("{} is not pending deletion.", key.arn);
            return Err(KmsError::new(ErrorCode::InvalidState, message));
        }
        let Done { changes, .. } = changed(&key, |record| {
            record.state = KeyState::Disabled;
            record.deletion = None;
        })?;
        let mut done = Done::read(CancelKeyDeletionResponse {
            key_id: key.arn.to_string(),
        });
        done.response_elements = Some(json!({ "keyId": key.arn.to_string() }));
        done.changes = changes;
        Ok(done)
    }
}
