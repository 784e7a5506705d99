//! Keys are rotated while they are used, by the calendar and on demand, and their aliases move: every
//! ciphertext that was ever acknowledged opens, with the material that made it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use time::Duration;
use waxseal_conformance::engines::{self, Hands, parts};
use waxseal_conformance::world::quick_place;
use waxseal_conformance::{promise, tier};
use waxseal_core::SecretBytes;
use waxseal_kms::Engine;
use waxseal_kms::audit::AuditLog;
use waxseal_kms::engine::Parts;
use waxseal_kms::op::Perform;
use waxseal_kms::store::MemoryStore;
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::{Blob, SecretBlob};

const KEYS: usize = 10;
const CALLERS: usize = 16;
const ALIAS: &str = "alias/moving";

#[test]
fn every_ciphertext_opens_whatever_was_rotated_meanwhile() {
    let encrypts = tier(100_000, 1_000_000);
    let rotations = tier(400, 1_000);
    let directory = quick_place();
    let clock = Arc::new(Hands::default());
    let engine = engine(directory.path(), clock.clone());
    let keys: Vec<String> = (0..KEYS).map(|_| rotated_yearly(&engine)).collect();
    call(
        &engine,
        CreateAliasRequest {
            alias_name: ALIAS.to_owned(),
            target_key_id: keys[0].clone(),
        },
    );
    let made = AtomicUsize::new(0);
    let (blobs, mut done) = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let (engine, keys, made) = (&engine, &keys, &made);
                scope.spawn(move || {
                    let mut blobs = Vec::new();
                    loop {
                        let number = made.fetch_add(1, Ordering::Relaxed);
                        if number >= encrypts {
                            return blobs;
                        }
                        let name = match number % 3 {
                            0 => ALIAS,
                            _ => &keys[(number + caller) % KEYS],
                        };
                        blobs.push((number, encrypted(engine, name, number)));
                    }
                })
            })
            .collect();
        // Spread over the load, however fast that is.
        let mut done = BTreeMap::<usize, usize>::new();
        let mut rotation = 0;
        while rotation < rotations {
            if made.load(Ordering::Relaxed) * rotations < rotation * encrypts {
                std::thread::yield_now();
                continue;
            }
            if rotation % KEYS == 0 {
                // All of them are due.
                clock.pass(Duration::days(91));
                assert_eq!(engine.tend().unwrap(), KEYS);
                (0..KEYS).for_each(|key| *done.entry(key).or_default() += 1);
                rotation += KEYS;
            }
            let target_key_id = keys[rotation / KEYS % KEYS].clone();
            let alias_name = ALIAS.to_owned();
            let moved = UpdateAliasRequest {
                alias_name,
                target_key_id,
            };
            call(&engine, moved);
        }
        let callers = callers.into_iter().map(|caller| caller.join().unwrap());
        (callers.flatten().collect::<Vec<_>>(), done)
    });
    // By hand as well, as often as that is allowed.
    for (number, key) in keys.iter().enumerate() {
        let key_id = key.clone();
        call(&engine, RotateKeyOnDemandRequest { key_id });
        *done.entry(number).or_default() += 1;
    }
    let total: usize = done.values().sum();
    for (number, (key, blob)) in &blobs {
        let request = DecryptRequest {
            ciphertext_blob: Some(blob.clone()),
            ..DecryptRequest::default()
        };
        let opened = outcome_all(&engine, request, *number);
        assert!(opened.key_id.ends_with(key) || *number % 3 == 0, "{number}");
        assert_eq!(opened.plaintext.0.expose(), number.to_string().as_bytes());
    }
    assert_eq!(blobs.len(), encrypts);
    promise(
        "20",
        format!("{encrypts} ciphertexts made across {total} rotations of {KEYS} keys: all opened"),
    );
}

/// Opens one, and says which.
fn outcome_all(engine: &Engine, request: DecryptRequest, number: usize) -> DecryptResponse {
    let opened = engines::call(engine, request);
    opened.unwrap_or_else(|error| panic!("ciphertext {number}: {error:?}"))
}

fn encrypted(engine: &Engine, name: &str, number: usize) -> (String, Blob) {
    let request = EncryptRequest {
        key_id: name.to_owned(),
        plaintext: SecretBlob(SecretBytes::copy_of(number.to_string().as_bytes())),
        ..EncryptRequest::default()
    };
    let answer = call(engine, request);
    (name.to_owned(), answer.ciphertext_blob)
}

fn rotated_yearly(engine: &Engine) -> String {
    let key_id = call(engine, CreateKeyRequest::default())
        .key_metadata
        .key_id;
    let enabled = EnableKeyRotationRequest {
        key_id: key_id.clone(),
        rotation_period_in_days: Some(90),
    };
    call(engine, enabled);
    key_id
}

fn call<O: Perform>(engine: &Engine, input: O) -> O::Output {
    engines::call(engine, input).unwrap()
}

fn engine(directory: &Path, clock: Arc<Hands>) -> Engine {
    let log = AuditLog::open(&directory.join("audit")).unwrap();
    Engine::new(Parts {
        clock,
        ..parts(MemoryStore::new(), log)
    })
    .unwrap()
}
