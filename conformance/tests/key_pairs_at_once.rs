//! Whoever asks for many key pairs at once gets some of them, and is told to come again for the rest; each
//! answer is recorded, and whoever does something else meanwhile is not held up. Its own process: how many
//! are made at once is counted for all of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use waxseal_conformance::engines::{call, parts};
use waxseal_conformance::world::quick_place;
use waxseal_core::SecretBytes;
use waxseal_kms::Engine;
use waxseal_kms::audit::{self, AuditLog};
use waxseal_kms::store::MemoryStore;
use waxseal_kms_api::ErrorCode;
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::SecretBlob;

/// More than may be made and wait on any machine that runs this, and hardly more.
const BEYOND: usize = 16;
const WAITING_MAX: usize = 128;

#[test]
fn many_key_pairs_at_once_leave_room_for_others() {
    let place = quick_place();
    let log = place.path().join("audit");
    let engine = parts(MemoryStore::new(), AuditLog::open(&log).unwrap());
    let engine = Engine::new(engine).unwrap();
    let made = call(&engine, CreateKeyRequest::default()).unwrap();
    let key_id = made.key_metadata.key_id;
    let cores = std::thread::available_parallelism().unwrap().get();
    let asking = cores + WAITING_MAX + BEYOND;
    let (begin, left) = (Barrier::new(asking), AtomicUsize::new(asking));
    let answers: Vec<_> = std::thread::scope(|scope| {
        let ask = |number: usize| {
            let (engine, key_id, begin, left) = (&engine, &key_id, &begin, &left);
            scope.spawn(move || {
                begin.wait();
                let answer = match number % 2 {
                    0 => call(
                        engine,
                        CreateKeyRequest {
                            key_spec: Some("RSA_2048".to_owned()),
                            key_usage: Some("SIGN_VERIFY".to_owned()),
                            ..CreateKeyRequest::default()
                        },
                    )
                    .map(drop),
                    _ => call(
                        engine,
                        GenerateDataKeyPairWithoutPlaintextRequest {
                            key_id: key_id.clone(),
                            key_pair_spec: "RSA_2048".to_owned(),
                            ..GenerateDataKeyPairWithoutPlaintextRequest::default()
                        },
                    )
                    .map(drop),
                };
                left.fetch_sub(1, Ordering::Relaxed);
                answer
            })
        };
        let asked: Vec<_> = (0..asking).map(ask).collect();
        let mut meanwhile = 0;
        while left.load(Ordering::Relaxed) > 0 {
            let plaintext = SecretBlob(SecretBytes::copy_of(b"text"));
            let request = EncryptRequest {
                key_id: key_id.clone(),
                plaintext,
                ..EncryptRequest::default()
            };
            call(&engine, request).unwrap();
            meanwhile += 1;
        }
        assert!(meanwhile > asking, "{meanwhile} others were answered");
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let refused: Vec<_> = answers
        .iter()
        .filter_map(|one| one.as_ref().err())
        .collect();
    assert!((1..=BEYOND).contains(&refused.len()), "{refused:?}");
    assert!(refused.iter().all(|one| one.code == ErrorCode::Throttling));
    drop(engine);
    let recorded = audit::records(&log).filter(|record| {
        let event = record.as_ref().unwrap().event().unwrap();
        event["errorCode"].as_str() == Some("ThrottlingException")
    });
    assert_eq!(recorded.count(), refused.len());
}
