//! The clock jumps ahead and back and stands still, while keys wait for their deletion and imported
//! material for its end: nothing is removed early, nothing that ended comes back, the log keeps its
//! order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::sync::{Arc, Mutex};
use time::{Duration, OffsetDateTime};
use waxseal_conformance::world::quick_place;
use waxseal_conformance::{Dice, promise, tier};
use waxseal_core::SecretBytes;
use waxseal_core::arn::Home;
use waxseal_core::crypto::random::SystemEntropy;
use waxseal_core::crypto::rsa::{RsaPadding, RsaPublicKey};
use waxseal_kms::Engine;
use waxseal_kms::audit::{self, AuditLog};
use waxseal_kms::clock::{Clock, timestamp};
use waxseal_kms::engine::Parts;
use waxseal_kms::op::Perform;
use waxseal_kms::seal::RowSealer;
use waxseal_kms::store::MemoryStore;
use waxseal_kms_api::KmsError;
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::Blob;

/// What a clock may be believed to have gained in an hour.
const GAIN: Duration = Duration::seconds(2);
const STEP: Duration = Duration::minutes(20);

#[test]
fn nothing_ends_early() {
    let scenarios = tier(40, 400);
    let (mut dice, seed) = Dice::new(0x5ea1_0909);
    let (mut jumps, mut ended) = (0, 0);
    for scenario in 0..scenarios {
        let place = quick_place();
        let clock = Arc::new(Clocks::default());
        let engine = engine(place.path(), clock.clone());
        let begin = clock.really();
        let deleted = created(&engine, CreateKeyRequest::default());
        let days = 7 + dice.below(3) as i64;
        call(
            &engine,
            ScheduleKeyDeletionRequest {
                key_id: deleted.clone(),
                pending_window_in_days: Some(days),
            },
        )
        .unwrap();
        let lasting = Duration::hours(30 + dice.below(100) as i64);
        let imported = imported(&engine, clock.now() + lasting);
        let (mut was_deleted, mut was_expired) = (false, false);
        let whole = Duration::days(days) + Duration::hours(4);
        while clock.really() - begin < whole {
            clock.pass(STEP);
            if dice.below(30) == 0 {
                jumps += 1;
                clock.jump(&mut dice);
            }
            engine.tend().unwrap();
            let passed = clock.really() - begin;
            let slack = GAIN * (passed.whole_hours() as i32 + 1);
            let is_deleted = describe(&engine, &deleted).is_err();
            let expired = describe(&engine, &imported).unwrap() == "PendingImport";
            if is_deleted {
                assert!(
                    passed + slack >= Duration::days(days),
                    "scenario {scenario}: deleted after {passed}"
                );
            }
            if expired {
                assert!(
                    passed + slack >= lasting,
                    "scenario {scenario}: expired after {passed} of {lasting}"
                );
            }
            assert!(is_deleted || !was_deleted, "a deleted key came back");
            assert!(expired || !was_expired, "expired material came back");
            (was_deleted, was_expired) = (is_deleted, expired);
        }
        ended += usize::from(was_deleted) + usize::from(was_expired);
        // Order is that of the chain, whatever the clock said.
        audit::verify(&place.path().join("audit")).unwrap();
    }
    assert!(
        ended > scenarios,
        "{ended} of {} ended in the end",
        2 * scenarios
    );
    promise(
        "09",
        format!(
            "{scenarios} scenarios (seed {seed}) with {jumps} jumps of the clock by up to ten days, ahead, back \
             and standing still: {ended} deletions and expiries, 0 early, 0 taken back"
        ),
    );
}

fn describe(engine: &Engine, key: &str) -> Result<String, KmsError> {
    let request = DescribeKeyRequest {
        key_id: key.to_owned(),
        ..DescribeKeyRequest::default()
    };
    Ok(call(engine, request)?.key_metadata.key_state)
}

fn created(engine: &Engine, request: CreateKeyRequest) -> String {
    call(engine, request).unwrap().key_metadata.key_id
}

fn imported(engine: &Engine, end: OffsetDateTime) -> String {
    let external = CreateKeyRequest {
        origin: Some("EXTERNAL".to_owned()),
        ..CreateKeyRequest::default()
    };
    let key_id = created(engine, external);
    let parameters = GetParametersForImportRequest {
        key_id: key_id.clone(),
        wrapping_algorithm: "RSAES_OAEP_SHA_256".to_owned(),
        wrapping_key_spec: "RSA_2048".to_owned(),
    };
    let parameters = call(engine, parameters).unwrap();
    let wrapping = RsaPublicKey::from_spki(&parameters.public_key.0).unwrap();
    let wrapped = wrapping.encrypt(RsaPadding::OaepSha256, &[7; 32]).unwrap();
    let request = ImportKeyMaterialRequest {
        key_id: key_id.clone(),
        import_token: parameters.import_token,
        encrypted_key_material: Blob(wrapped),
        expiration_model: Some("KEY_MATERIAL_EXPIRES".to_owned()),
        valid_to: Some(timestamp(end)),
        ..ImportKeyMaterialRequest::default()
    };
    call(engine, request).unwrap();
    key_id
}

fn call<O: Perform>(engine: &Engine, input: O) -> Result<O::Output, KmsError> {
    engine.call(engine.by_owner("promise", input).unwrap())
}

/// A clock that is set by anybody, and the time that really passes.
struct Clocks(Mutex<(OffsetDateTime, Duration)>);

impl Default for Clocks {
    fn default() -> Self {
        let begin = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        Self(Mutex::new((begin, Duration::ZERO)))
    }
}

impl Clock for Clocks {
    fn now(&self) -> OffsetDateTime {
        self.0.lock().unwrap().0
    }
    fn elapsed(&self) -> Duration {
        self.0.lock().unwrap().1
    }
}

impl Clocks {
    fn really(&self) -> Duration {
        self.elapsed()
    }

    fn pass(&self, time: Duration) {
        let mut clocks = self.0.lock().unwrap();
        clocks.0 += time;
        clocks.1 += time;
    }

    fn jump(&self, dice: &mut Dice) {
        let by = [
            Duration::minutes(5),
            Duration::minutes(-5),
            Duration::days(1),
            Duration::days(-1),
            Duration::days(10),
            Duration::days(-10),
            // It stood still for a while.
            -STEP,
        ][dice.below(7) as usize];
        self.0.lock().unwrap().0 += by;
    }
}

fn engine(directory: &Path, clock: Arc<Clocks>) -> Engine {
    let parts = Parts {
        store: Box::new(MemoryStore::new()),
        audit: AuditLog::open(&directory.join("audit")).unwrap(),
        rows: RowSealer::new(SecretBytes::new(vec![7; 32]), [1; 16]),
        home: Home {
            partition: "aws".into(),
            region: "local".into(),
            account: "000000000000".into(),
        },
        clock,
        entropy: Arc::new(SystemEntropy),
    };
    Engine::new(parts).unwrap()
}
