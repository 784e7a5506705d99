//! Engines for suites that call them without a process between: one root, one home, and what a test
//! hands in.

use std::sync::{Arc, Mutex};
use time::{Duration, OffsetDateTime};
use waxseal_core::SecretBytes;
use waxseal_core::arn::Home;
use waxseal_core::crypto::random::SystemEntropy;
use waxseal_kms::Engine;
use waxseal_kms::audit::AuditLog;
use waxseal_kms::clock::{Clock, SystemClock};
use waxseal_kms::engine::Parts;
use waxseal_kms::op::Perform;
use waxseal_kms::seal::RowSealer;
use waxseal_kms::store::Store;
use waxseal_kms_api::KmsError;

/// The parts of an engine that owns Region `local` of account 000000000000, by the system's clock. Every
/// engine on the same store opens the rows of the others.
pub fn parts(store: impl Store + 'static, audit: AuditLog) -> Parts {
    Parts {
        store: Box::new(store),
        audit,
        rows: RowSealer::new(SecretBytes::new(vec![7; 32]), [1; 16]),
        home: home("local", "000000000000"),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    }
}

/// A Region of an account.
pub fn home(region: &str, account: &str) -> Home {
    Home {
        partition: "aws".into(),
        region: region.into(),
        account: account.into(),
    }
}

/// A request of the owner.
///
/// # Errors
/// What the engine answers.
///
/// # Panics
/// When it takes no request at all.
pub fn call<O: Perform>(engine: &Engine, input: O) -> Result<O::Output, KmsError> {
    engine.call(
        engine
            .by_owner("promise", input)
            .expect("it takes requests"),
    )
}

/// A clock that is set by hand, beside the time that really passes.
#[derive(Debug)]
pub struct Hands(Mutex<(OffsetDateTime, Duration)>);

impl Default for Hands {
    fn default() -> Self {
        let begin = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        Self(Mutex::new((begin, Duration::ZERO)))
    }
}

impl Clock for Hands {
    fn now(&self) -> OffsetDateTime {
        self.0.lock().expect("nobody panics with it").0
    }
    fn elapsed(&self) -> Duration {
        self.0.lock().expect("nobody panics with it").1
    }
}

impl Hands {
    /// Time passes.
    pub fn pass(&self, time: Duration) {
        let mut hands = self.0.lock().expect("nobody panics with it");
        hands.0 += time;
        hands.1 += time;
    }

    /// Somebody sets the clock ahead, or back.
    pub fn jump(&self, by: Duration) {
        self.0.lock().expect("nobody panics with it").0 += by;
    }
}
