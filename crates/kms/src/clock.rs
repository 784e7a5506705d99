//! Time, handed in wherever it is needed so that years pass in a test.

use time::OffsetDateTime;
use waxseal_kms_api::shape::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now, in UTC.
    fn now(&self) -> OffsetDateTime;
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }
}

/// As the wire writes it: epoch seconds, to the millisecond.
pub fn timestamp(time: OffsetDateTime) -> Timestamp {
    Timestamp((time.unix_timestamp_nanos() / 1_000_000) as f64 / 1_000.0)
}
