//! The keys that sign digests: replaced after a year, and every digest verifies for ever.

use crate::support::{Hands, World, call, open, refused};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use time::{Duration, OffsetDateTime};
use waxseal_core::SecretBytes;
use waxseal_core::crypto::key_pair::{KeyPair, PairSpec};
use waxseal_core::crypto::random::SystemEntropy;
use waxseal_core::crypto::rsa::RsaVerifyingKey;
use waxseal_kms::Engine;
use waxseal_kms::audit;
use waxseal_kms::seal::RowSealer;
use waxseal_kms::store::{
    Batch, Changes, Document, Expect, MemoryStore, SqliteStore, Store, StoreError,
};
use waxseal_kms::trail::{self, TrailError, VerifiedTrail};
use waxseal_kms_api::ErrorCode;
use waxseal_kms_api::shape::{SecretBlob, Timestamp};
use waxseal_kms_api::trail::{ListPublicKeysRequest, PublicKey};

const BEGIN: i64 = 1_800_000_000;
const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

fn keys(engine: &Engine) -> Vec<RsaVerifyingKey> {
    let keys = engine.digest_public_keys().unwrap();
    keys.iter()
        .map(|key| RsaVerifyingKey::from_der(key).unwrap())
        .collect()
}

fn verified(log: &Path, keys: &[RsaVerifyingKey]) -> Result<VerifiedTrail, TrailError> {
    trail::verify(&log.join(trail::FOLDER), keys)
}

impl World {
    /// One digest, `days` later.
    fn deliver_after(&self, days: i64) {
        self.later(days);
        self.symmetric();
        *self.clock.0.lock().unwrap() += Duration::HOUR;
        assert!(self.engine.deliver().unwrap());
    }

    fn keys_between(&self, start: Option<i64>, end: Option<i64>) -> Vec<PublicKey> {
        let time = |time: i64| Timestamp(time as f64);
        let request = ListPublicKeysRequest {
            start_time: start.map(time),
            end_time: end.map(time),
        };
        self.call(request).unwrap().keys
    }
}

#[test]
fn a_key_signs_for_a_year_and_its_digests_verify_for_ever() {
    let world = World::new();
    world.engine.deliver().unwrap();
    world.deliver_after(0);
    world.deliver_after(364);
    assert_eq!(keys(&world.engine).len(), 1, "its year is not over");
    world.deliver_after(1);
    world.deliver_after(0);
    assert_eq!(keys(&world.engine).len(), 2);
    // Nothing was delivered for two years: the key is replaced once something is.
    world.deliver_after(2 * 365);
    let all = keys(&world.engine);
    assert_eq!(all.len(), 3);
    let log = world.directory.path();
    assert_eq!(verified(log, &all).unwrap().digests, 5);
    for missing in 0..3 {
        let some = keys(&world.engine).into_iter().enumerate();
        let some: Vec<_> = some.filter(|(at, _)| *at != missing).collect();
        let some: Vec<_> = some.into_iter().map(|(_, key)| key).collect();
        let error = verified(log, &some).unwrap_err().to_string();
        assert!(error.contains("is not among the public keys"), "{error}");
    }
    // The log names each key.
    let log = world.log();
    assert_eq!(log.matches("\"eventName\":\"CreateDigestKey\"").count(), 1);
    assert_eq!(log.matches("\"eventName\":\"RotateDigestKey\"").count(), 2);
    for key in world.keys_between(Some(0), None) {
        assert!(log.contains(&format!("\"fingerprint\":\"{}\"", key.fingerprint)));
    }
}

#[test]
fn keys_are_listed_by_the_time_in_which_they_signed() {
    let world = World::new();
    assert!(world.keys_between(None, None).is_empty());
    world.engine.deliver().unwrap();
    world.deliver_after(0);
    world.deliver_after(366);
    let all = world.keys_between(Some(0), None);
    let [first, second] = all.as_slice() else {
        panic!("{all:?}");
    };
    let change = BEGIN + HOUR;
    let end = BEGIN + HOUR + 366 * DAY + HOUR;
    assert_eq!((first.start.0, first.end.0), (BEGIN as f64, change as f64));
    assert_eq!(second.start.0, change as f64);
    let names = |start, end| -> Vec<String> {
        let keys = world.keys_between(start, end).into_iter();
        keys.map(|key| key.fingerprint).collect()
    };
    let (one, other) = (first.fingerprint.as_str(), second.fingerprint.as_str());
    assert_ne!(one, other);
    assert_eq!(names(None, None), [other], "the current one");
    assert_eq!(names(Some(BEGIN), Some(BEGIN + 1)), [one]);
    assert_eq!(names(Some(change), Some(change)), [one, other]);
    assert_eq!(names(Some(change + 1), Some(end)), [other]);
    assert_eq!(names(Some(0), Some(change - 1)), [one]);
    assert!(names(Some(0), Some(BEGIN - 1)).is_empty());
    let backwards = ListPublicKeysRequest {
        start_time: Some(Timestamp(2.0)),
        end_time: Some(Timestamp(1.0)),
    };
    let error = refused(world.call(backwards));
    assert_eq!(error.0, ErrorCode::InvalidTimeRange);
}

/// What versions stored that had one key for ever.
#[test]
fn the_one_key_of_an_older_store_goes_on_and_is_replaced() {
    let world = World::new();
    let pair = KeyPair::generate(PairSpec::Rsa2048).unwrap();
    let private = SecretBlob(pair.pkcs8().unwrap());
    let key = json!({ "created": BEGIN - 5, "private": private });
    let state = json!({ "sequence": 0, "end": BEGIN - HOUR, "previous": null });
    let rows = RowSealer::new(SecretBytes::new(vec![7; 32]), [1; 16]);
    let mut batch = Batch::new();
    for (name, value) in [("trail/key", key), ("trail/state", state)] {
        let body = rows.seal(name, 1, value.to_string().as_bytes(), &SystemEntropy);
        batch.put(name, Expect::Absent, body.unwrap());
    }
    world.store.commit(&batch).unwrap();
    world.deliver_after(0);
    assert_eq!(
        world.engine.digest_public_keys().unwrap(),
        [pair.spki().unwrap()]
    );
    let [key] = world.keys_between(None, None).try_into().unwrap();
    assert!(key.start.0 <= (BEGIN - HOUR) as f64);
    world.deliver_after(366);
    let all = keys(&world.engine);
    assert_eq!(all.len(), 2);
    let digests = verified(world.directory.path(), &all).unwrap().digests;
    assert_eq!(digests, 2);
}

#[test]
fn nothing_is_left_of_a_private_key_that_was_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let begin = OffsetDateTime::from_unix_timestamp(BEGIN).unwrap();
    let clock = Arc::new(Hands(begin.into()));
    let store = SqliteStore::open(&path).unwrap();
    let engine = open(store, &folder.path().join("audit"), clock.clone()).unwrap();
    engine.deliver().unwrap();
    let pass = |time| *clock.0.lock().unwrap() += time;
    pass(Duration::HOUR);
    engine.deliver().unwrap();
    let look = SqliteStore::open(&path).unwrap();
    let old = look.get("trail/key").unwrap().unwrap().body;
    drop(look);
    // Whether any part of it is on the medium.
    let is_there = || {
        ["", "-wal"].into_iter().any(|suffix| {
            let file = std::fs::read(format!("{}{suffix}", path.display())).unwrap();
            let has = |part: &[u8]| file.windows(part.len()).any(|window| window == part);
            old.chunks_exact(32).any(has)
        })
    };
    assert!(is_there());
    pass(Duration::days(366));
    engine.deliver().unwrap();
    assert!(!is_there());
}

/// Fails one commit, before it is done or after: as a crash there looks to whoever comes next.
struct Crashing {
    store: Arc<MemoryStore>,
    left: Arc<AtomicUsize>,
    is_done: bool,
}

impl Store for Crashing {
    fn get(&self, key: &str) -> Result<Option<Document>, StoreError> {
        self.store.get(key)
    }
    fn scan(&self, prefix: &str) -> Result<Vec<Document>, StoreError> {
        self.store.scan(prefix)
    }
    fn commit(&self, batch: &Batch) -> Result<u64, StoreError> {
        let crashed = || StoreError::Corrupt("a crash".to_owned());
        match self.left.load(Ordering::SeqCst) {
            0 => Err(crashed()),
            left => {
                self.left.store(left - 1, Ordering::SeqCst);
                match (left, self.is_done) {
                    (1, false) => Err(crashed()),
                    (1, true) => self.store.commit(batch).and(Err(crashed())),
                    _ => self.store.commit(batch),
                }
            }
        }
    }
    fn watch(&self, since: u64) -> Result<Changes, StoreError> {
        self.store.watch(since)
    }
}

#[test]
fn a_crash_at_any_step_of_a_delivery_loses_nothing() {
    let mut crashes = 0;
    for is_done in [false, true] {
        for step in 1.. {
            let world = World::new();
            world.engine.deliver().unwrap();
            world.deliver_after(0);
            world.later(366);
            world.symmetric();
            *world.clock.0.lock().unwrap() += Duration::HOUR;
            let left = Arc::new(AtomicUsize::new(step));
            let store = Crashing {
                store: world.store.clone(),
                left: left.clone(),
                is_done,
            };
            let engine = open(store, world.directory.path(), world.clock.clone()).unwrap();
            let delivered = engine.deliver();
            if left.load(Ordering::SeqCst) > 0 {
                assert!(delivered.unwrap());
                break;
            }
            crashes += 1;
            drop(engine);
            // Whoever comes next comes hours later.
            *world.clock.0.lock().unwrap() += Duration::HOUR * 3;
            let next = world.engine();
            next.deliver().unwrap();
            call(&next, ListPublicKeysRequest::default()).unwrap();
            *world.clock.0.lock().unwrap() += Duration::HOUR;
            next.deliver().unwrap();
            let all = keys(&next);
            assert_eq!(all.len(), 2, "step {step}");
            let log = audit::verify(world.directory.path()).unwrap();
            let trail = verified(world.directory.path(), &all);
            let trail = trail.unwrap_or_else(|error| panic!("step {step}: {error}"));
            assert_eq!((trail.records, trail.head), (log.records, log.head));
        }
    }
    assert!(crashes >= 8, "{crashes}");
}
