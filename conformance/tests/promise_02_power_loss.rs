//! The power fails at any moment: of what was written since the last sync any sectors are missing, and
//! the files have any length between the old and the new one.
//!
//! The engine runs on files; between any two of its syncs the files are looked at, and what may be on
//! the disk if the power failed there is made beside them and opened. The store syncs before it answers
//! (`Store::commit`), the log before the next change begins: so one of the two differs between two looks,
//! and where SQLite synced more than once in between, the order is known ([`stages`]).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use waxseal_conformance::engines::{self, parts};
use waxseal_conformance::world::quick_place;
use waxseal_conformance::{Dice, promise, tier};
use waxseal_core::SecretBytes;
use waxseal_kms::Engine;
use waxseal_kms::audit::{self, AuditLog};
use waxseal_kms::engine::Rollback;
use waxseal_kms::op::Perform;
use waxseal_kms::store::{Batch, Changes, Document, SqliteStore, Store, StoreError};
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::SecretBlob;

const SECTOR: usize = 512;
/// What a write-ahead log of SQLite begins with ("WAL-mode file format", section 2.1).
const LOG_HEADER_BYTES: usize = 32;
/// Power failures between two looks.
const FAILURES: usize = 4;
/// So many keys; then they are used and changed.
const KEYS: usize = 6;

/// Power failures in the life of one engine. Each failure reads the whole log, which grows with each
/// call: many short lives look at more than a long one.
const LIFE: usize = 2_000;

#[test]
fn whatever_the_disk_has_of_the_last_write_nothing_acknowledged_is_lost() {
    let failures = tier(2_000, 100_000);
    let (mut dice, seed) = Dice::new(0x5ea1_0202);
    let mut tally = Tally::default();
    while tally.failures < failures {
        let lived = live(&mut dice, failures - tally.failures);
        tally.lives += 1;
        tally.failures += lived.failures;
        tally.torn += lived.torn;
        tally.checkpoints += lived.checkpoints;
    }
    assert!(
        tally.torn > failures / 4 && tally.checkpoints > failures / 10,
        "the failures came between writes: {tally:?}"
    );
    promise(
        "02",
        format!(
            "{} power failures (seed {seed}, lives of engines: {}), {} of them within a write, {} with a \
             checkpoint: 0 acknowledged changes or records lost, 0 changes without their record",
            tally.failures, tally.lives, tally.torn, tally.checkpoints
        ),
    );
}

/// How many calls there are between two checkpoints: SQLite makes one by itself for a thousand pages, which
/// is once in many lives.
const CALLS: u64 = 12;

/// Moves the write-ahead log of SQLite into its file, as any process may that has it open.
fn checkpoint(store: &Path) {
    let beside = rusqlite::Connection::open(store).unwrap();
    let pragma = "PRAGMA wal_checkpoint(PASSIVE)";
    let busy: i64 = beside.query_row(pragma, [], |row| row.get(0)).unwrap();
    assert_eq!(busy, 0);
}

/// The life of one engine, from an empty home on.
fn live(dice: &mut Dice, failures: usize) -> Tally {
    let place = quick_place();
    let home = place.path().join("home");
    fs::create_dir(&home).unwrap();
    let watch = Watch(Arc::new(Mutex::new(Looks {
        home: home.clone(),
        beside: place.path().join("beside"),
        before: Files::new(),
        state: State::default(),
        dice: dice.another(),
        tally: Tally::default(),
    })));
    let store = SqliteStore::open(&home.join("store.db")).unwrap();
    let store = Watched {
        store,
        watch: watch.clone(),
    };
    let engine = engine(store, &home);
    let mut keys = Vec::new();
    while watch.failures() < failures.min(LIFE) {
        match dice.below(5) {
            0 if keys.len() < KEYS => {
                let made = call(&engine, CreateKeyRequest::default());
                keys.push((made.key_metadata.key_id, true));
            }
            0..3 if !keys.is_empty() => {
                let key = dice.below(keys.len() as u64) as usize;
                let (key_id, enabled) = &mut keys[key];
                let key_id = key_id.clone();
                *enabled = !*enabled;
                match *enabled {
                    true => drop(call(&engine, EnableKeyRequest { key_id })),
                    false => drop(call(&engine, DisableKeyRequest { key_id })),
                }
            }
            _ => {
                let Some((key_id, _)) = keys.iter().find(|(_, enabled)| *enabled) else {
                    continue;
                };
                let plaintext = SecretBytes::new(vec![b'x'; 1 + dice.below(100) as usize]);
                let request = EncryptRequest {
                    key_id: key_id.clone(),
                    plaintext: SecretBlob(plaintext),
                    ..EncryptRequest::default()
                };
                call(&engine, request);
            }
        }
        watch.acknowledge(&keys);
        if dice.below(CALLS) == 0 {
            checkpoint(&home.join("store.db"));
            watch.look();
        }
    }
    watch.0.lock().unwrap().tally.clone()
}

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// What was acknowledged.
#[derive(Debug, Clone, Default)]
struct State {
    keys: BTreeMap<String, bool>,
    records: u64,
    head: [u8; 32],
}

#[derive(Debug, Clone, Default)]
struct Tally {
    lives: usize,
    failures: usize,
    torn: usize,
    checkpoints: usize,
}

/// The files as they were when somebody looked last, and what comes of failures since then.
struct Looks {
    home: PathBuf,
    beside: PathBuf,
    before: Files,
    state: State,
    dice: Dice,
    tally: Tally,
}

#[derive(Clone)]
struct Watch(Arc<Mutex<Looks>>);

impl Watch {
    fn failures(&self) -> usize {
        self.0.lock().unwrap().tally.failures
    }

    fn look(&self) {
        self.0.lock().unwrap().look();
    }

    fn acknowledge(&self, keys: &[(String, bool)]) {
        let mut looks = self.0.lock().unwrap();
        looks.look();
        let verified = audit::verify(&looks.home.join("audit")).unwrap();
        looks.state = State {
            keys: keys.iter().cloned().collect(),
            records: verified.records,
            head: verified.head,
        };
    }
}

impl Looks {
    /// Lets the power fail some times between the last look and this one.
    fn look(&mut self) {
        let now = files(&self.home);
        // A home in the making is not looked at: nothing was acknowledged of it.
        if now == self.before || self.before.is_empty() {
            self.before = now;
            return;
        }
        let (stages, is_checkpoint) = stages(&self.before, &now);
        let failures = match is_checkpoint {
            true => 10 * FAILURES,
            false => FAILURES,
        };
        for pair in stages.windows(2) {
            for _ in 0..failures {
                let failed = torn(&pair[0], &pair[1], &mut self.dice);
                self.tally.torn += usize::from(failed != pair[0] && failed != pair[1]);
                self.tally.checkpoints += usize::from(is_checkpoint);
                self.tally.failures += 1;
                self.assert_kept(&failed);
            }
        }
        self.before = now;
    }

    fn assert_kept(&self, files: &Files) {
        let _ = fs::remove_dir_all(&self.beside);
        fs::create_dir_all(self.beside.join("audit")).unwrap();
        for (name, bytes) in files {
            fs::write(self.beside.join(name), bytes).unwrap();
        }
        if !files.contains_key(Path::new("store.db")) {
            return;
        }
        let log = self.beside.join("audit");
        let verified = audit::verify(&log).unwrap();
        assert!(verified.records >= self.state.records, "records were lost");
        let store = SqliteStore::open(&self.beside.join("store.db")).unwrap();
        let engine = engine(store, &self.beside);
        let listed = call(&engine, ListKeysRequest::default()).keys;
        for key in self.state.keys.keys() {
            assert!(
                listed.iter().any(|entry| entry.key_id == *key),
                "a key was lost"
            );
        }
        let mut enabled = BTreeMap::new();
        for entry in listed {
            let request = DescribeKeyRequest {
                key_id: entry.key_id.clone(),
                ..DescribeKeyRequest::default()
            };
            let told = call(&engine, request).key_metadata;
            enabled.insert(entry.key_id, told.enabled);
        }
        drop(engine);
        // Each state of a key is that of its newest record: no change without, none undone.
        audit::verify(&log).unwrap();
        let (mut recorded, mut sequence) = (BTreeMap::new(), 0);
        for record in audit::records(&log) {
            let record = record.unwrap();
            sequence += 1;
            if sequence == self.state.records {
                let head = waxseal_core::crypto::hash::sha256(&[record.line.as_bytes()]);
                assert_eq!(head, self.state.head, "another record took its place");
            }
            let event: Value = serde_json::from_str(&record.line).unwrap();
            let is_enabled = match event["eventName"].as_str().unwrap() {
                "CreateKey" | "EnableKey" => true,
                "DisableKey" => false,
                _ => continue,
            };
            let arn = event["resources"][0]["ARN"].as_str().unwrap();
            let id = arn.rsplit('/').next().unwrap().to_owned();
            recorded.insert(id, is_enabled);
        }
        assert_eq!(enabled, recorded, "changes and their records");
        let changed = self
            .state
            .keys
            .iter()
            .filter(|(key, was)| enabled[*key] != **was);
        assert!(changed.count() <= 1, "more than the last change is another");
    }
}

/// What was synced one after the other on the way from `before` to `now`, these two included; and whether a
/// checkpoint is among it.
fn stages(before: &Files, now: &Files) -> (Vec<Files>, bool) {
    let (store, log) = (Path::new("store.db"), Path::new("store.db-wal"));
    let mut stages = vec![before.clone()];
    // After a checkpoint the log is written from its beginning. Its header, which ends all that is behind it,
    // is synced before anything else is overwritten.
    let header = |files: &Files| files.get(log)?.get(..LOG_HEADER_BYTES).map(<[u8]>::to_vec);
    if let (Some(old), Some(new)) = (header(before), header(now))
        && old != new
    {
        let mut begun = before.clone();
        if let Some(bytes) = begun.get_mut(log) {
            bytes[..LOG_HEADER_BYTES].copy_from_slice(&new);
        }
        stages.push(begun);
    }
    // A checkpoint writes the file once the log is synced.
    let is_checkpoint = before.get(store) != now.get(store);
    if let (true, Some(old)) = (is_checkpoint, before.get(store)) {
        let mut logged = now.clone();
        logged.insert(store.to_owned(), old.clone());
        if Some(&logged) != stages.last() {
            stages.push(logged);
        }
    }
    stages.push(now.clone());
    (stages, is_checkpoint)
}

/// Files of which some sectors are those of `from` still, and whose lengths lie between the two.
fn torn(from: &Files, to: &Files, dice: &mut Dice) -> Files {
    let mut files = to.clone();
    for (name, new) in &mut files {
        let old = from.get(name).map_or(&[][..], Vec::as_slice);
        if old == new {
            continue;
        }
        // All there, none, or any.
        let share = [0, 20, 50, 80, 95, 100][dice.below(6) as usize];
        let whole = new.clone();
        new.resize(old.len().max(whole.len()), 0);
        for (number, sector) in new.chunks_mut(SECTOR).enumerate() {
            if dice.below(100) < share {
                continue;
            }
            sector.fill(0);
            let begin = number * SECTOR;
            if let Some(rest) = old.get(begin..) {
                let bytes = rest.len().min(sector.len());
                sector[..bytes].copy_from_slice(&rest[..bytes]);
            }
        }
        let (shorter, longer) = (old.len().min(whole.len()), old.len().max(whole.len()));
        let sectors = (longer - shorter) / SECTOR;
        let length = match (share, dice.below(3)) {
            (100, _) | (_, 0) => whole.len(),
            (0, _) | (_, 1) => old.len(),
            _ => shorter + dice.below(sectors as u64 + 1) as usize * SECTOR,
        };
        new.truncate(length);
    }
    files
}

fn files(home: &Path) -> Files {
    let mut files = Files::new();
    for name in ["store.db", "store.db-wal"] {
        if let Ok(bytes) = fs::read(home.join(name)) {
            files.insert(name.into(), bytes);
        }
    }
    for entry in fs::read_dir(home.join("audit")).into_iter().flatten() {
        let name = Path::new("audit").join(entry.unwrap().file_name());
        if name.extension().is_some_and(|end| end == "jsonl") {
            files.insert(name.clone(), fs::read(home.join(name)).unwrap());
        }
    }
    files
}

/// A store between whose syncs somebody looks.
struct Watched {
    store: SqliteStore,
    watch: Watch,
}

impl Store for Watched {
    fn get(&self, key: &str) -> Result<Option<Document>, StoreError> {
        self.store.get(key)
    }
    fn scan(&self, prefix: &str) -> Result<Vec<Document>, StoreError> {
        self.store.scan(prefix)
    }
    fn commit(&self, batch: &Batch) -> Result<u64, StoreError> {
        self.watch.look();
        let committed = self.store.commit(batch);
        self.watch.look();
        committed
    }
    fn watch(&self, since: u64) -> Result<Changes, StoreError> {
        self.store.watch(since)
    }
}

fn engine(store: impl Store + 'static, home: &Path) -> Engine {
    let log = AuditLog::open(&home.join("audit")).unwrap();
    Engine::open(parts(store, log), home, Rollback::Refused).unwrap()
}

fn call<O: Perform>(engine: &Engine, input: O) -> O::Output {
    engines::call(engine, input).unwrap()
}
