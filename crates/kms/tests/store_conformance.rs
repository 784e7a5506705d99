//! What every store promises, run on every store.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use proptest::prelude::*;
use std::sync::Arc;
use tempfile::TempDir;
use waxseal_kms::store::{
    BATCH_CHANGES_MAX, BODY_BYTES_MAX, Batch, Changes, Document, Expect, KEY_BYTES_MAX,
    MemoryStore, SqliteStore, Store, StoreError,
};

/// A store under test: as many handles as one likes on the same state.
trait Fixture {
    fn new() -> Self;
    fn handle(&self) -> Arc<dyn Store>;
}

struct Memory(Arc<MemoryStore>);

impl Fixture for Memory {
    fn new() -> Self {
        Self(Arc::new(MemoryStore::new()))
    }
    fn handle(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0) as Arc<dyn Store>
    }
}

struct Sqlite(TempDir);

impl Fixture for Sqlite {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn handle(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&self.0.path().join("store")).unwrap())
    }
}

macro_rules! conformance {
    ($name:ident, $fixture:ty: $($case:ident)*) => {
        mod $name {
            $(#[test]
            fn $case() {
                super::$case::<$fixture>();
            })*
        }
    };
    ($($name:ident: $fixture:ty),*) => {
        $(conformance!($name, $fixture:
            starts_empty
            put_and_read_back
            compare_and_set
            all_or_nothing
            check_writes_nothing
            created_again
            scan_order_and_edges
            watch_names_what_changed
            watch_across_handles
            watch_refuses_to_go_back
            key_limits
            body_limits
            batch_limits
            counters_lose_no_update
            random_batches_equal_the_model
        );)*
    };
}

conformance!(memory: super::Memory, sqlite: super::Sqlite);

fn starts_empty<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.handle();
    assert_eq!(store.get("a"), Ok(None));
    assert_eq!(store.scan(""), Ok(vec![]));
    assert_eq!(store.watch(0), Ok(changes(0, &[])));
    assert_eq!(store.commit(&Batch::new()), Ok(0));
}

fn put_and_read_back<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.handle();
    let every_byte: Vec<u8> = (0..=255).collect();
    let mut batch = Batch::new();
    batch.put("bytes", Expect::Absent, every_byte.clone());
    batch.put("empty", Expect::Absent, []);
    assert_eq!(store.commit(&batch), Ok(1));
    assert_eq!(
        store.get("bytes"),
        Ok(Some(document("bytes", 1, &every_byte)))
    );
    assert_eq!(store.get("empty"), Ok(Some(document("empty", 1, b""))));
    assert_eq!(store.get("Empty"), Ok(None));
}

fn compare_and_set<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.handle();
    let conflict = Err(StoreError::Conflict { key: "k".into() });
    let put = |expect, body: &str| store.commit(Batch::new().put("k", expect, body));
    let delete = |expect| store.commit(Batch::new().delete("k", expect));

    assert_eq!(put(Expect::Revision(0), "x"), conflict);
    assert_eq!(put(Expect::Revision(1), "x"), conflict);
    assert_eq!(delete(Expect::Revision(1)), conflict);
    assert_eq!(put(Expect::Absent, "one"), Ok(1));
    assert_eq!(put(Expect::Absent, "x"), conflict);
    assert_eq!(put(Expect::Revision(0), "x"), conflict);
    assert_eq!(put(Expect::Revision(2), "x"), conflict);
    assert_eq!(put(Expect::Revision(u64::MAX), "x"), conflict);
    assert_eq!(put(Expect::Revision(1), "two"), Ok(2));
    assert_eq!(put(Expect::Revision(1), "x"), conflict);
    assert_eq!(store.get("k"), Ok(Some(document("k", 2, b"two"))));
    assert_eq!(delete(Expect::Revision(1)), conflict);
    assert_eq!(delete(Expect::Absent), conflict);
    assert_eq!(delete(Expect::Revision(2)), Ok(3));
    assert_eq!(store.get("k"), Ok(None));
    assert_eq!(delete(Expect::Revision(2)), conflict);
}

fn all_or_nothing<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.handle();
    store
        .commit(Batch::new().put("b", Expect::Absent, "old"))
        .unwrap();
    let before = store.scan("").unwrap();
    let mut batch = Batch::new();
    batch.put("a", Expect::Absent, "new");
    batch.delete("b", Expect::Revision(1));
    batch.put("c", Expect::Revision(7), "new");
    batch.put("d", Expect::Absent, "new");
    assert_eq!(
        store.commit(&batch),
        Err(StoreError::Conflict { key: "c".into() })
    );
    assert_eq!(store.scan(""), Ok(before));
    assert_eq!(store.watch(1), Ok(changes(1, &[])));
}

fn check_writes_nothing<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.handle();
    let put = |key: &str, body: &str| store.commit(Batch::new().put(key, Expect::Absent, body));
    put("k", "body").unwrap();
    let checks = |expect| store.commit(Batch::new().check("k", expect));
    let conflict = Err(StoreError::Conflict { key: "k".into() });
    assert_eq!(checks(Expect::Revision(1)), Ok(1));
    assert_eq!(checks(Expect::Absent), conflict);
    assert_eq!(
        store.commit(Batch::new().delete("none", Expect::Absent)),
        Ok(1)
    );
    assert_eq!(store.watch(1), Ok(changes(1, &[])));

    let mut batch = Batch::new();
    batch.check("k", Expect::Revision(2));
    batch.put("l", Expect::Absent, "x");
    assert_eq!(store.commit(&batch), conflict);
    let mut batch = Batch::new();
    batch.check("k", Expect::Revision(1));
    batch.put("l", Expect::Absent, "x");
    assert_eq!(store.commit(&batch), Ok(2));
    assert_eq!(store.watch(1), Ok(changes(2, &["l"])));
    assert_eq!(store.get("k"), Ok(Some(document("k", 1, b"body"))));
}

fn created_again<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.handle();
    store
        .commit(Batch::new().put("k", Expect::Absent, "one"))
        .unwrap();
    store
        .commit(Batch::new().put("k", Expect::Revision(1), "two"))
        .unwrap();
    store
        .commit(Batch::new().delete("k", Expect::Revision(2)))
        .unwrap();
    assert_eq!(
        store.commit(Batch::new().put("k", Expect::Absent, "three")),
        Ok(4)
    );
    assert_eq!(store.get("k"), Ok(Some(document("k", 1, b"three"))));
}

fn scan_order_and_edges<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.handle();
    let keys = [
        "a", "B", "b/", "b", "b~", "b~~", "b/1", "b/10", "b/2", "c", "b ", "~",
    ];
    let mut batch = Batch::new();
    for key in keys {
        batch.put(key, Expect::Absent, key);
    }
    batch.put("b/gone", Expect::Absent, "x");
    store.commit(&batch).unwrap();
    store
        .commit(Batch::new().delete("b/gone", Expect::Revision(1)))
        .unwrap();
    let scan = |prefix: &str| -> Vec<String> {
        let found = store.scan(prefix).unwrap();
        let found: Vec<String> = found.into_iter().map(|document| document.key).collect();
        assert_eq!(store.names(prefix).unwrap(), found);
        found
    };
    let mut sorted = keys;
    sorted.sort_unstable();
    assert_eq!(scan(""), sorted);
    assert_eq!(
        scan("b"),
        ["b", "b ", "b/", "b/1", "b/10", "b/2", "b~", "b~~"]
    );
    assert_eq!(scan("b/"), ["b/", "b/1", "b/10", "b/2"]);
    assert_eq!(scan("b/1"), ["b/1", "b/10"]);
    assert_eq!(scan("b~"), ["b~", "b~~"]);
    assert_eq!(scan("~"), ["~"]);
    assert_eq!(scan("B"), ["B"]);
    assert_eq!(scan("b/gone"), [""; 0]);
    assert_eq!(scan("%"), [""; 0]);
    assert_eq!(scan("_"), [""; 0]);
}

fn watch_names_what_changed<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.handle();
    let mut batch = Batch::new();
    batch.put("b", Expect::Absent, "");
    batch.put("a", Expect::Absent, "");
    store.commit(&batch).unwrap();
    store
        .commit(Batch::new().put("c", Expect::Absent, ""))
        .unwrap();
    store
        .commit(Batch::new().delete("a", Expect::Revision(1)))
        .unwrap();
    store
        .commit(Batch::new().put("b", Expect::Revision(1), ""))
        .unwrap();
    assert_eq!(store.watch(0), Ok(changes(4, &["a", "b", "c"])));
    assert_eq!(store.watch(1), Ok(changes(4, &["a", "b", "c"])));
    assert_eq!(store.watch(2), Ok(changes(4, &["a", "b"])));
    assert_eq!(store.watch(3), Ok(changes(4, &["b"])));
    assert_eq!(store.watch(4), Ok(changes(4, &[])));
}

fn watch_across_handles<F: Fixture>() {
    let fixture = F::new();
    let (left, right) = (fixture.handle(), fixture.handle());
    assert_eq!(right.watch(0), Ok(changes(0, &[])));
    left.commit(Batch::new().put("k", Expect::Absent, "1"))
        .unwrap();
    assert_eq!(right.watch(0), Ok(changes(1, &["k"])));
    assert_eq!(right.watch(1), Ok(changes(1, &[])));
    assert_eq!(right.get("k"), Ok(Some(document("k", 1, b"1"))));
    right
        .commit(Batch::new().put("k", Expect::Revision(1), "2"))
        .unwrap();
    assert_eq!(right.watch(2), Ok(changes(2, &[])));
    assert_eq!(left.watch(1), Ok(changes(2, &["k"])));
    // One of theirs, then one of ours, before we look: ours must not hide theirs.
    right
        .commit(Batch::new().delete("k", Expect::Revision(2)))
        .unwrap();
    left.commit(Batch::new().put("l", Expect::Absent, ""))
        .unwrap();
    assert_eq!(left.watch(2), Ok(changes(4, &["k", "l"])));
    assert_eq!(right.watch(3), Ok(changes(4, &["l"])));
    // Ours, theirs, ours, and only then a look.
    left.commit(Batch::new().put("m", Expect::Absent, ""))
        .unwrap();
    right
        .commit(Batch::new().put("n", Expect::Absent, ""))
        .unwrap();
    left.commit(Batch::new().put("o", Expect::Absent, ""))
        .unwrap();
    assert_eq!(left.watch(4), Ok(changes(7, &["m", "n", "o"])));
    assert_eq!(left.watch(7), Ok(changes(7, &[])));
    assert_eq!(right.watch(7), Ok(changes(7, &[])));
}

fn watch_refuses_to_go_back<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.handle();
    store
        .commit(Batch::new().put("k", Expect::Absent, ""))
        .unwrap();
    for known in [2, u64::MAX] {
        assert_eq!(
            store.watch(known),
            Err(StoreError::RolledBack { head: 1, known })
        );
    }
}

fn key_limits<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.handle();
    let longest = "k".repeat(KEY_BYTES_MAX);
    let printable: String = (b' '..=b'~').map(char::from).collect();
    for key in [longest.as_str(), printable.as_str(), " ", "~"] {
        store
            .commit(Batch::new().put(key, Expect::Absent, "x"))
            .unwrap();
        assert_eq!(store.get(key), Ok(Some(document(key, 1, b"x"))));
        assert_eq!(store.scan(key).unwrap()[0].key, key);
    }
    let too_long = "k".repeat(KEY_BYTES_MAX + 1);
    for key in [
        "", &too_long, "a\0b", "a\nb", "\u{1f}", "\u{7f}", "é", "a\u{80}",
    ] {
        let refused = |error: StoreError| assert!(matches!(error, StoreError::InvalidKey { .. }));
        refused(store.get(key).unwrap_err());
        refused(
            store
                .commit(Batch::new().put(key, Expect::Absent, "x"))
                .unwrap_err(),
        );
        refused(
            store
                .commit(Batch::new().delete(key, Expect::Absent))
                .unwrap_err(),
        );
        if !key.is_empty() {
            refused(store.scan(key).unwrap_err());
        }
    }
    assert_eq!(store.watch(4), Ok(changes(4, &[])));
}

fn body_limits<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.handle();
    let mut body = vec![7; BODY_BYTES_MAX];
    store
        .commit(Batch::new().put("k", Expect::Absent, body.clone()))
        .unwrap();
    assert_eq!(store.get("k"), Ok(Some(document("k", 1, &body))));
    body.push(7);
    assert_eq!(
        store.commit(Batch::new().put("k", Expect::Revision(1), body)),
        Err(StoreError::BodyTooLong {
            key: "k".into(),
            bytes: BODY_BYTES_MAX + 1
        })
    );
}

fn batch_limits<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.handle();
    let mut batch = Batch::new();
    for number in 0..BATCH_CHANGES_MAX {
        batch.put(format!("k{number}"), Expect::Absent, "");
    }
    assert_eq!(store.commit(&batch), Ok(1));
    batch.check("one more", Expect::Absent);
    assert_eq!(batch.len(), BATCH_CHANGES_MAX + 1);
    assert_eq!(
        store.commit(&batch),
        Err(StoreError::TooManyChanges {
            changes: BATCH_CHANGES_MAX + 1
        })
    );
    let mut twice = Batch::new();
    twice.put("x", Expect::Absent, "");
    twice.check("x", Expect::Absent);
    assert_eq!(
        store.commit(&twice),
        Err(StoreError::DuplicateKey { key: "x".into() })
    );
    assert_eq!(store.get("x"), Ok(None));
}

/// Two documents are raised together by eight threads, each with a handle of its own.
fn counters_lose_no_update<F: Fixture>() {
    const THREADS: u64 = 8;
    const ROUNDS: u64 = 25;
    let fixture = F::new();
    let first = fixture.handle();
    let mut batch = Batch::new();
    batch.put("left", Expect::Absent, "0");
    batch.put("right", Expect::Absent, "0");
    first.commit(&batch).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            let store = fixture.handle();
            scope.spawn(move || (0..ROUNDS).for_each(|_| raise(store.as_ref())));
        }
    });
    let total = THREADS * ROUNDS;
    for key in ["left", "right"] {
        let found = first.get(key).unwrap().unwrap();
        assert_eq!(found.revision, total + 1);
        assert_eq!(found.body, total.to_string().as_bytes());
    }
    assert_eq!(first.watch(0).unwrap().head, total + 1);
}

fn raise(store: &dyn Store) {
    loop {
        let mut batch = Batch::new();
        for key in ["left", "right"] {
            let found = store.get(key).unwrap().unwrap();
            let count: u64 = std::str::from_utf8(&found.body).unwrap().parse().unwrap();
            let body = (count + 1).to_string();
            batch.put(key, Expect::Revision(found.revision), body);
        }
        match store.commit(&batch) {
            Ok(_) => return,
            Err(StoreError::Conflict { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<(u8, u8, Expect, Vec<u8>)>),
    Get(u8),
    Scan(usize),
    Watch(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let expect = prop_oneof![Just(Expect::Absent), (0..4_u64).prop_map(Expect::Revision),];
    let change = (
        0..3_u8,
        0..6_u8,
        expect,
        proptest::collection::vec(any::<u8>(), 0..4),
    );
    prop_oneof![
        4 => proptest::collection::vec(change, 0..4).prop_map(Step::Commit),
        1 => (0..6_u8).prop_map(Step::Get),
        1 => (0..4_usize).prop_map(Step::Scan),
        2 => (0..12_u64).prop_map(Step::Watch),
    ]
}

fn random_batches_equal_the_model<F: Fixture>() {
    const KEYS: [&str; 6] = ["a", "a/", "a/b", "a0", "b", "~"];
    const PREFIXES: [&str; 4] = ["", "a", "a/", "b"];
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(96)
    };
    proptest!(config, |(steps in proptest::collection::vec(step(), 1..40), two: bool)| {
        let fixture = F::new();
        let handles = [fixture.handle(), fixture.handle()];
        let model = MemoryStore::new();
        for (number, step) in steps.into_iter().enumerate() {
            let store = &handles[if two { number % 2 } else { 0 }];
            match step {
                Step::Get(key) => {
                    let key = KEYS[usize::from(key)];
                    prop_assert_eq!(store.get(key), model.get(key));
                }
                Step::Scan(prefix) => {
                    prop_assert_eq!(store.scan(PREFIXES[prefix]), model.scan(PREFIXES[prefix]));
                    prop_assert_eq!(store.names(PREFIXES[prefix]), model.names(PREFIXES[prefix]));
                }
                Step::Watch(since) => prop_assert_eq!(store.watch(since), model.watch(since)),
                Step::Commit(changes) => {
                    let mut batch = Batch::new();
                    for (action, key, expect, body) in changes {
                        let key = KEYS[usize::from(key)];
                        match action {
                            0 => batch.delete(key, expect),
                            1 => batch.check(key, expect),
                            _ => batch.put(key, expect, body),
                        };
                    }
                    prop_assert_eq!(store.commit(&batch), model.commit(&batch));
                }
            }
        }
        prop_assert_eq!(handles[1].scan(""), model.scan(""));
        prop_assert_eq!(handles[0].watch(0), model.watch(0));
    });
}

fn changes(head: u64, keys: &[&str]) -> Changes {
    Changes {
        head,
        keys: keys.iter().map(|&key| key.to_owned()).collect(),
    }
}

fn document(key: &str, revision: u64, body: &[u8]) -> Document {
    Document {
        key: key.to_owned(),
        revision,
        body: body.to_owned(),
    }
}
