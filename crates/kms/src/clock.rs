//! Time, handed in wherever it is needed so that years pass in a test.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;
use time::{Duration, OffsetDateTime};
use waxseal_kms_api::shape::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now, in UTC.
    fn now(&self) -> OffsetDateTime;

    /// What has passed since some moment, by a clock that nobody sets. A clock that has no other beside
    /// it is taken at its word.
    fn elapsed(&self) -> Duration {
        self.now() - OffsetDateTime::UNIX_EPOCH
    }
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn elapsed(&self) -> Duration {
        static BEGIN: OnceLock<Instant> = OnceLock::new();
        // Centuries fit.
        Duration::try_from(BEGIN.get_or_init(Instant::now).elapsed()).unwrap_or(Duration::MAX)
    }
}

/// Time for what cannot be taken back: the end of a waiting period, of imported material. It never goes
/// back, and goes ahead no faster than a clock that nobody sets. Where the clock jumps, time goes on as
/// before; what the clock said when the process began, and what it gains slowly, is believed.
#[derive(Debug)]
pub(crate) struct Steady(Mutex<Anchor>);

#[derive(Debug)]
struct Anchor {
    /// What was believed when it was `elapsed`.
    time: OffsetDateTime,
    elapsed: Duration,
    latest: OffsetDateTime,
}

/// What a clock may gain in [`ANCHOR_AGE`]: more than a bad one does, and what a deletion can come too
/// early by in an hour at the worst.
const AHEAD_MAX: Duration = Duration::seconds(2);
/// What it may lose, by being set back a little for instance: everything waits as long.
const BEHIND_MAX: Duration = Duration::minutes(5);
const ANCHOR_AGE: Duration = Duration::hours(1);

impl Steady {
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        let time = clock.now();
        Self(Mutex::new(Anchor {
            time,
            elapsed: clock.elapsed(),
            latest: time,
        }))
    }

    pub(crate) fn now(&self, clock: &dyn Clock) -> OffsetDateTime {
        let mut anchor = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (told, elapsed) = (clock.now(), clock.elapsed());
        let age = elapsed - anchor.elapsed;
        let expected = anchor.time.saturating_add(age);
        let earliest = expected.saturating_sub(BEHIND_MAX);
        let latest = expected.saturating_add(AHEAD_MAX);
        let time = match (earliest..=latest).contains(&told) {
            true => told,
            false => expected,
        };
        if age >= ANCHOR_AGE {
            (anchor.time, anchor.elapsed) = (time, elapsed);
        }
        anchor.latest = anchor.latest.max(time);
        anchor.latest
    }
}

/// As the wire writes it: epoch seconds, to the millisecond.
pub fn timestamp(time: OffsetDateTime) -> Timestamp {
    Timestamp((time.unix_timestamp_nanos() / 1_000_000) as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the clock says, and what really passed.
    struct Two(Mutex<(OffsetDateTime, Duration)>);

    impl Clock for Two {
        fn now(&self) -> OffsetDateTime {
            self.0.lock().unwrap().0
        }
        fn elapsed(&self) -> Duration {
            self.0.lock().unwrap().1
        }
    }

    impl Two {
        fn pass(&self, told: Duration, really: Duration) {
            let mut two = self.0.lock().unwrap();
            two.0 += told;
            two.1 += really;
        }
    }

    const BEGIN: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    #[test]
    fn jumps_are_not_followed_and_slow_clocks_are() {
        let clock = Two(Mutex::new((BEGIN, Duration::ZERO)));
        let steady = Steady::new(&clock);
        let minute = Duration::MINUTE;
        clock.pass(minute, minute);
        assert_eq!(steady.now(&clock), BEGIN + minute);
        clock.pass(Duration::DAY, minute);
        assert_eq!(steady.now(&clock), BEGIN + 2 * minute);
        clock.pass(-2 * Duration::DAY, minute);
        assert_eq!(steady.now(&clock), BEGIN + 3 * minute);
        clock.pass(Duration::ZERO, Duration::HOUR);
        let then = steady.now(&clock);
        assert_eq!(then, BEGIN + 3 * minute + Duration::HOUR);
        // Put right again, and a minute back: it waits for it.
        clock.pass(Duration::DAY + 2 * minute + Duration::HOUR, Duration::ZERO);
        assert_eq!(steady.now(&clock), clock.now());
        clock.pass(-minute, Duration::ZERO);
        assert_eq!(steady.now(&clock), then, "it went back");
        // A second a day too fast, for a year.
        let clock = Two(Mutex::new((BEGIN, Duration::ZERO)));
        let steady = Steady::new(&clock);
        for _ in 0..365 * 24 {
            clock.pass(Duration::HOUR + Duration::milliseconds(40), Duration::HOUR);
            assert_eq!(steady.now(&clock), clock.now());
        }
    }

    #[test]
    fn a_clock_without_another_is_believed() {
        struct Hands(Mutex<OffsetDateTime>);
        impl Clock for Hands {
            fn now(&self) -> OffsetDateTime {
                *self.0.lock().unwrap()
            }
        }
        let clock = Hands(Mutex::new(BEGIN));
        let steady = Steady::new(&clock);
        for _ in 0..10 {
            *clock.0.lock().unwrap() += 100 * Duration::DAY;
            assert_eq!(steady.now(&clock), clock.now());
        }
    }
}
