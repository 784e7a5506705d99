//! What retention removes of the log is not forgotten where somebody asks for it.

use crate::support::{self, World, secret};
use serde_json::json;
use time::Duration;
use waxseal_core::SecretBytes;
use waxseal_core::crypto::random::SystemEntropy;
use waxseal_kms::Engine;
use waxseal_kms::op::Perform;
use waxseal_kms::seal::RowSealer;
use waxseal_kms::store::{Batch, Expect, Store as _};
use waxseal_kms_api::op::*;

const TO: &str = "s3://elsewhere/";

fn call<O: Perform>(engine: &Engine, input: O) -> O::Output {
    support::call(engine, input).unwrap()
}

fn last_use(engine: &Engine, key: &str) -> KeyLastUsageData {
    let key_id = key.to_owned();
    call(engine, GetKeyLastUsageRequest { key_id }).key_last_usage
}

fn encrypt(engine: &Engine, key: &str) {
    let request = EncryptRequest {
        key_id: key.to_owned(),
        plaintext: secret(b"plaintext"),
        ..EncryptRequest::default()
    };
    call(engine, request);
}

/// Delivers, ships and removes what is older than five days. How many segments were removed.
fn retain(world: &World, engine: &Engine) -> usize {
    *world.clock.0.lock().unwrap() += Duration::HOUR;
    assert!(engine.deliver().unwrap());
    while let Some(shipment) = engine.next_shipment(TO).unwrap() {
        engine.note_shipped(TO, &shipment).unwrap();
    }
    engine.retain_log(5).unwrap()
}

/// What is in the log so far grows old and is removed.
fn age(world: &World, engine: &Engine) {
    for _ in 0..40 {
        call(engine, ListKeysRequest::default());
    }
    retain(world, engine);
    world.later(10);
    assert!(retain(world, engine) > 5);
}

#[test]
fn the_last_use_of_a_key_outlives_its_record() {
    let world = World::new();
    let engine = world.engine_of_short_segments();
    engine.deliver().unwrap();
    let [once, again, never, gone] = [(); 4].map(|()| world.symmetric());
    for key in [&once, &again, &gone] {
        encrypt(&engine, key);
    }
    let before = [&once, &again, &gone].map(|key| last_use(&engine, key));
    assert!(
        before
            .iter()
            .all(|used| used.operation.as_deref() == Some("Encrypt"))
    );
    age(&world, &engine);
    // Another process has read nothing of what is gone.
    let other = world.engine();
    let after = [&once, &again, &gone].map(|key| last_use(&other, key));
    assert_eq!(after, before);
    assert_eq!(last_use(&other, &never), KeyLastUsageData::default());

    // A later use, first in the log and then kept in the place of the earlier one.
    encrypt(&engine, &again);
    let later = last_use(&engine, &again);
    assert_ne!(later, before[1]);
    assert_eq!(last_use(&world.engine(), &again), later);
    age(&world, &engine);
    let other = world.engine();
    assert_eq!(last_use(&other, &again), later);
    assert_eq!(last_use(&other, &once), before[0]);

    // It goes with the key.
    let kept = |key: &str| world.store.get(&format!("last-use/{key}")).unwrap();
    assert!(kept(&gone).is_some() && kept(&never).is_none());
    let request = ScheduleKeyDeletionRequest {
        key_id: gone.clone(),
        pending_window_in_days: Some(7),
    };
    call(&engine, request);
    world.later(8);
    engine.tend().unwrap();
    assert!(kept(&gone).is_none() && kept(&once).is_some());
}

/// Earlier versions shipped no signatures as objects.
#[test]
fn where_signatures_are_missing_everything_is_shipped_once_more() {
    let world = World::new();
    world.engine.deliver().unwrap();
    for _ in 0..2 {
        *world.clock.0.lock().unwrap() += Duration::HOUR;
        assert!(world.engine.deliver().unwrap());
    }
    let next = || world.engine.next_shipment(TO).unwrap();
    let first = next().unwrap();
    let shipped = json!({ "to": TO, "digest": first.digest, "records": 0 });
    let rows = RowSealer::new(SecretBytes::new(vec![7; 32]), [1; 16]);
    let name = "trail/shipped";
    let body = rows.seal(name, 1, shipped.to_string().as_bytes(), &SystemEntropy);
    let mut batch = Batch::new();
    batch.put(name, Expect::Absent, body.unwrap());
    world.store.commit(&batch).unwrap();
    assert_eq!(next().as_ref(), Some(&first));
    world.engine.note_shipped(TO, &first).unwrap();
    let second = next().unwrap();
    assert!(second.digest > first.digest);
    world.engine.note_shipped(TO, &second).unwrap();
    assert_eq!(next(), None);
}
