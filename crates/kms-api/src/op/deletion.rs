//! Operations that end keys.

use crate::model::{Rule, shapes, values};
use crate::shape::Timestamp;

shapes! {
    /// Deletes a key once a waiting period is over.
    #[derive(Clone, PartialEq)]
    ScheduleKeyDeletionRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// The waiting period, 7 to 30 days; 30 when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pending_window_in_days: Option<i64> => "PendingWindowInDays", Rule::number(1, 365);
    }

    /// Answer of ScheduleKeyDeletion.
    #[derive(Clone, PartialEq)]
    ScheduleKeyDeletionResponse {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
        /// When the key goes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deletion_date: Option<Timestamp> => "DeletionDate", Rule::time();
        /// The state.
        key_state: String => "KeyState", Rule::one_of(values::KEY_STATE);
        /// The waiting period, 7 to 30 days; 30 when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pending_window_in_days: Option<i64> => "PendingWindowInDays", Rule::number(1, 365);
    }

    /// Keeps a key that waits for its deletion; it is disabled then.
    #[derive(Clone, PartialEq)]
    CancelKeyDeletionRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
    }

    /// Answer of CancelKeyDeletion.
    #[derive(Clone, PartialEq)]
    CancelKeyDeletionResponse {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
    }
}
