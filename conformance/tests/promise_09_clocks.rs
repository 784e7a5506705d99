//! The clock jumps ahead and back and stands still, while keys wait for their deletion and imported
//! material for its end: nothing is removed early, nothing that ended comes back, the log keeps its
//! order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};
use waxseal_conformance::engines::{Hands, call, parts};
use waxseal_conformance::world::quick_place;
use waxseal_conformance::{Dice, promise, tier};
use waxseal_core::crypto::rsa::{RsaPadding, RsaPublicKey};
use waxseal_kms::Engine;
use waxseal_kms::audit::{self, AuditLog};
use waxseal_kms::clock::{Clock as _, timestamp};
use waxseal_kms::engine::Parts;
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
        let clock = Arc::new(Hands::default());
        let engine = engine(place.path(), clock.clone());
        let begin = clock.elapsed();
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
        while clock.elapsed() - begin < whole {
            clock.pass(STEP);
            if dice.below(30) == 0 {
                jumps += 1;
                jump(&clock, &mut dice);
            }
            engine.tend().unwrap();
            let passed = clock.elapsed() - begin;
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

/// Somebody sets the clock, or it stands still.
fn jump(clock: &Hands, dice: &mut Dice) {
    clock.jump(*dice.pick(&[
        Duration::minutes(5),
        Duration::minutes(-5),
        Duration::days(1),
        Duration::days(-1),
        Duration::days(10),
        Duration::days(-10),
        // It stood still for a while.
        -STEP,
    ]));
}

fn engine(directory: &Path, clock: Arc<Hands>) -> Engine {
    let log = AuditLog::open(&directory.join("audit")).unwrap();
    Engine::new(Parts {
        clock,
        ..parts(MemoryStore::new(), log)
    })
    .unwrap()
}
