//! A byte of the store or of the audit log is another, or either is shorter: nothing but what was is
//! ever answered, nothing that was taken away is given back, and the log tells.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use waxseal_conformance::engines::{self, parts};
use waxseal_conformance::world::quick_place;
use waxseal_conformance::{Dice, promise, tier};
use waxseal_core::SecretBytes;
use waxseal_kms::Engine;
use waxseal_kms::audit::{self, AuditLog};
use waxseal_kms::op::Perform;
use waxseal_kms::store::SqliteStore;
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::{Blob, SecretBlob};

const TEXT: &[u8] = b"what only this may give";
/// With more the files are larger, and nothing else.
const KEYS: usize = 6;

#[test]
fn other_bytes_are_found_or_do_no_harm() {
    let (store, log) = std::thread::scope(|scope| {
        let store = scope.spawn(a_store_with_other_bytes_answers_what_was_or_nothing);
        let log = scope.spawn(a_log_with_other_bytes_tells);
        (store.join().unwrap(), log.join().unwrap())
    });
    promise("05", format!("{store}; {log}"));
}

fn a_store_with_other_bytes_answers_what_was_or_nothing() -> String {
    let flips = tier(10_000, usize::MAX);
    let (mut dice, seed) = Dice::new(0x5ea1_0505);
    let place = quick_place();
    let (keys, _) = furnished(place.path());
    let path = place.path().join("store.db");
    let whole = fs::read(&path).unwrap();
    let changes = changes(&whole, flips, &mut dice);
    let one = |change: &Change| {
        let scratch = quick_place();
        fs::write(scratch.path().join("store.db"), change.of(&whole)).unwrap();
        asked(scratch.path(), &keys)
    };
    let harmless: usize = std::thread::scope(|scope| {
        let half = changes.len().div_ceil(2);
        let halves: Vec<_> = changes
            .chunks(half)
            .map(|half| scope.spawn(|| half.iter().filter(|change| one(change)).count()))
            .collect();
        halves.into_iter().map(|half| half.join().unwrap()).sum()
    });
    let refused = changes.len() - harmless;
    assert!(
        refused > changes.len() / 10,
        "{refused} of {}",
        changes.len()
    );
    format!(
        "{} bytes of a store of {} changed or cut off (seed {seed}): {refused} refused, {harmless} without \
         consequence, 0 wrong plaintexts, 0 disabled keys used",
        changes.len(),
        whole.len()
    )
}

fn a_log_with_other_bytes_tells() -> String {
    let flips = tier(10_000, usize::MAX);
    let (mut dice, seed) = Dice::new(0x5ea1_0506);
    let place = quick_place();
    let (_, head) = furnished(place.path());
    let name = format!("{:020}.jsonl", 1);
    let whole = fs::read(place.path().join("audit").join(&name)).unwrap();
    let log = quick_place();
    let path = log.path().join(&name);
    let changes = changes(&whole, flips, &mut dice);
    for change in &changes {
        fs::write(&path, change.of(&whole)).unwrap();
        // The head is what somebody keeps elsewhere.
        let is_found = audit::verify(log.path()).map_or(true, |verified| verified.head != head);
        assert!(is_found, "{change:?}");
    }
    format!(
        "{} bytes of a log of {} changed or cut off (seed {seed}): all found",
        changes.len(),
        whole.len()
    )
}

#[derive(Debug)]
enum Change {
    Flip { at: usize, by: u8 },
    Cut(usize),
}

impl Change {
    fn of(&self, whole: &[u8]) -> Vec<u8> {
        match self {
            Self::Cut(length) => whole[..*length].to_vec(),
            Self::Flip { at, by } => {
                let mut other = whole.to_vec();
                other[*at] ^= by;
                other
            }
        }
    }
}

/// So many, or one at every byte and a cut at each.
fn changes(whole: &[u8], most: usize, dice: &mut Dice) -> Vec<Change> {
    if most >= 2 * whole.len() {
        let flips = (0..whole.len()).map(|at| Change::Flip { at, by: 1 });
        return flips.chain((0..whole.len()).map(Change::Cut)).collect();
    }
    let place = |dice: &mut Dice| dice.below(whole.len() as u64) as usize;
    let one = |number: usize| match number % 10 {
        9 => Change::Cut(place(dice)),
        _ => Change::Flip {
            at: place(dice),
            by: 1 << dice.below(8),
        },
    };
    (0..most).map(one).collect()
}

struct Keys {
    /// Ciphertexts under keys that may be used.
    enabled: Vec<Blob>,
    /// And under those that may not.
    disabled: Vec<Blob>,
}

fn furnished(place: &Path) -> (Keys, [u8; 32]) {
    let engine = engine(place).unwrap();
    let mut keys = Keys {
        enabled: Vec::new(),
        disabled: Vec::new(),
    };
    for number in 0..KEYS {
        let key_id = call(&engine, CreateKeyRequest::default())
            .unwrap()
            .key_metadata
            .key_id;
        let request = EncryptRequest {
            key_id: key_id.clone(),
            plaintext: SecretBlob(SecretBytes::copy_of(TEXT)),
            ..EncryptRequest::default()
        };
        let blob = call(&engine, request).unwrap().ciphertext_blob;
        if number % 2 == 0 {
            call(&engine, DisableKeyRequest { key_id }).unwrap();
            keys.disabled.push(blob);
        } else {
            keys.enabled.push(blob);
        }
    }
    drop(engine);
    let head = audit::verify(&place.join("audit")).unwrap().head;
    (keys, head)
}

/// Whether everything is as it was.
fn asked(place: &Path, keys: &Keys) -> bool {
    let Ok(engine) = engine(place) else {
        return false;
    };
    let mut is_same = true;
    for blob in &keys.enabled {
        match decrypted(&engine, blob) {
            Some(text) => assert!(text == TEXT, "another plaintext"),
            None => is_same = false,
        }
    }
    for blob in &keys.disabled {
        assert!(
            decrypted(&engine, blob).is_none(),
            "a disabled key was used"
        );
    }
    is_same
}

fn decrypted(engine: &Engine, blob: &Blob) -> Option<Vec<u8>> {
    let request = DecryptRequest {
        ciphertext_blob: Some(blob.clone()),
        ..DecryptRequest::default()
    };
    let answer = call(engine, request)?;
    Some(answer.plaintext.0.expose().to_vec())
}

fn engine(place: &Path) -> Result<Engine, String> {
    let store = SqliteStore::open(&place.join("store.db")).map_err(|error| error.to_string())?;
    let log = AuditLog::open(&place.join("audit")).unwrap();
    Engine::new(parts(store, log)).map_err(|error| format!("{error:?}"))
}

fn call<O: Perform>(engine: &Engine, input: O) -> Option<O::Output> {
    engines::call(engine, input).ok()
}
