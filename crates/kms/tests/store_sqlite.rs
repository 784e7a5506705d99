//! What the SQLite store promises beyond every other: about files, processes and accidents.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use waxseal_kms::store::{Batch, Expect, SqliteStore, Store, StoreError};

#[test]
fn files_are_for_their_owner_alone() {
    let home = Home::new();
    let store = home.open();
    put(&store, "k", "v");
    for suffix in ["", "-wal", "-shm", "-mark"] {
        let file = PathBuf::from(format!("{}{suffix}", home.store().display()));
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
}

/// What two handles commit is seen by both at once, however they take turns; and a commit whose
/// writer left no mark is seen soon.
#[test]
fn marks_hide_nothing() {
    let home = Home::new();
    let (one, other) = (home.open(), home.open());
    let mut heads = [one.watch(0).unwrap().head, other.watch(0).unwrap().head];
    for round in 0..200 {
        let writer = if round % 3 == 0 { &one } else { &other };
        put(writer, &format!("k{round}"), "v");
        for (store, head) in [&one, &other].into_iter().zip(&mut heads) {
            let seen = store.watch(*head).unwrap();
            assert_eq!(seen.keys, [format!("k{round}")], "round {round}");
            *head = seen.head;
            assert!(store.watch(*head).unwrap().keys.is_empty());
        }
    }
    let mut refused = Batch::new();
    refused.put("k0", Expect::Absent, b"v".to_vec());
    other.commit(&refused).unwrap_err();
    assert!(one.watch(heads[0]).unwrap().keys.is_empty());

    let mark = PathBuf::from(format!("{}-mark", home.store().display()));
    let before = fs::read(&mark).unwrap();
    put(&other, "unmarked", "v");
    fs::write(&mark, before).unwrap();
    let begin = Instant::now();
    while one.watch(heads[0]).unwrap().keys.is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn odd_names_are_names() {
    let home = Home::new();
    for name in ["file:x?mode=memory", ":memory:", "sp ace%20", "ü"] {
        let path = home.0.path().join(name);
        put(&SqliteStore::open(&path).unwrap(), "k", name);
        assert!(fs::metadata(&path).unwrap().len() > 0);
        let again = SqliteStore::open(&path).unwrap();
        assert_eq!(again.get("k").unwrap().unwrap().body, name.as_bytes());
    }
}

#[test]
fn an_empty_file_becomes_a_store() {
    let home = Home::new();
    fs::write(home.store(), b"").unwrap();
    put(&home.open(), "k", "v");
    assert_eq!(home.open().get("k").unwrap().unwrap().body, b"v");
}

#[test]
fn foreign_files_are_left_alone() {
    let home = Home::new();
    let database = |script: &str| {
        let path = home.0.path().join("foreign");
        let _ = fs::remove_file(&path);
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch(script).unwrap();
        connection.close().unwrap();
        fs::read(&path).unwrap()
    };
    let cases = [
        b"some text, surely not a database".to_vec(),
        vec![0; 4096],
        database("CREATE TABLE t (x)"),
        database("CREATE TABLE document (key)"),
        database("PRAGMA application_id = 7; CREATE TABLE t (x); DROP TABLE t"),
        database("PRAGMA user_version = 1; CREATE TABLE t (x); DROP TABLE t"),
        database("PRAGMA journal_mode = WAL; CREATE TABLE t (x)"),
    ];
    for content in cases {
        fs::write(home.store(), &content).unwrap();
        let error = SqliteStore::open(&home.store()).unwrap_err();
        assert_eq!(error, StoreError::NotAStore(home.store()));
        assert_eq!(fs::read(home.store()).unwrap(), content);
    }
    fs::remove_file(home.store()).unwrap();
    fs::create_dir(home.store()).unwrap();
    let error = SqliteStore::open(&home.store()).unwrap_err();
    assert_eq!(error, StoreError::NotAStore(home.store()));
}

#[test]
fn a_newer_store_is_refused_and_left_alone() {
    let home = Home::new();
    put(&home.open(), "k", "v");
    home.sql("PRAGMA user_version = 2");
    let before = fs::read(home.store()).unwrap();
    let error = SqliteStore::open(&home.store()).unwrap_err();
    let (found, known) = (2, 1);
    assert_eq!(error, StoreError::NewerVersion { found, known });
    assert_eq!(fs::read(home.store()).unwrap(), before);
    for version in [0, -1] {
        home.sql(&format!("PRAGMA user_version = {version}"));
        let error = SqliteStore::open(&home.store()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    }
}

#[test]
fn a_missing_folder_is_an_error() {
    let home = Home::new();
    let path = home.0.path().join("none").join("store");
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Io(_)), "{error:?}");
}

/// Damage is an error, or it is in a body, where whoever sealed it notices. Never a panic.
#[test]
fn damage_is_noticed_or_harmless() {
    let home = Home::new();
    let body = |number: usize| format!("{number}-").repeat(40);
    {
        let store = home.open();
        let mut batch = Batch::new();
        (0..60).for_each(|n| {
            batch.put(format!("k{n:02}"), Expect::Absent, body(n));
        });
        store.commit(&batch).unwrap();
    }
    let sound = fs::read(home.store()).unwrap();
    let (mut noticed, mut refused) = (0, 0);
    let mut random = 1_u64;
    for _ in 0..400 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let mut damaged = sound.clone();
        let place = usize::try_from(random >> 33).unwrap() % damaged.len();
        damaged[place] ^= 1 << (random >> 30 & 7);
        fs::write(home.store(), &damaged).unwrap();
        let all = SqliteStore::open(&home.store()).and_then(|store| store.scan(""));
        noticed += usize::from(all.is_err());
    }
    assert!(noticed > 10, "{noticed}");
    for length in (0..sound.len()).step_by(509).skip(1) {
        fs::write(home.store(), &sound[..length]).unwrap();
        let opened = SqliteStore::open(&home.store());
        // SQLite reads the missing end of the last page as zeros: the end of a body, here.
        match opened.and_then(|store| store.scan("")) {
            Ok(found) => assert!(found.len() == 60 && sound.len() - length < 4096, "{length}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 20, "{refused}");
}

#[test]
fn rows_that_break_the_rules_are_corrupt() {
    let home = Home::new();
    put(&home.open(), "k", "v");
    for damage in [
        "UPDATE document SET revision = -1",
        "UPDATE document SET revision = 1, body = zeroblob(1048577)",
        "DROP TABLE document",
    ] {
        home.sql(damage);
        let error = home.open().get("k").unwrap_err();
        assert!(
            matches!(error, StoreError::Corrupt(_)),
            "{damage}: {error:?}"
        );
    }
}

#[test]
fn deleted_bodies_do_not_stay_in_the_file() {
    let home = Home::new();
    let canary = "canary-canary-canary";
    put(&home.open(), "k", &canary.repeat(50));
    let holds = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        bytes.windows(canary.len()).any(|w| w == canary.as_bytes())
    };
    assert!(holds(&home.store()));
    let store = home.open();
    store
        .commit(Batch::new().delete("k", Expect::Revision(1)))
        .unwrap();
    drop(store);
    assert!(!holds(&home.store()));
}

#[test]
fn reading_alone_writes_nothing_back() {
    let home = Home::new();
    put(&home.open(), "k", "v");
    let before = fs::metadata(home.store()).unwrap();
    let store = home.open();
    assert!(store.get("k").unwrap().is_some());
    drop(store);
    let after = fs::metadata(home.store()).unwrap();
    assert_eq!(
        (before.mtime(), before.mtime_nsec(), before.len()),
        (after.mtime(), after.mtime_nsec(), after.len())
    );
}

#[test]
fn a_lock_that_stays_is_busy_in_the_end() {
    let home = Home::new();
    let store = home.open();
    put(&store, "k", "v");
    let holder = rusqlite::Connection::open(home.store()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let start = Instant::now();
    let error = store.commit(Batch::new().put("l", Expect::Absent, "v"));
    assert_eq!(error, Err(StoreError::Busy));
    let waited = start.elapsed();
    assert!(waited > Duration::from_secs(4) && waited < Duration::from_secs(9));
    assert!(store.get("k").unwrap().is_some(), "readers are not held up");
    holder.execute_batch("ROLLBACK").unwrap();
    put(&store, "l", "v");
}

#[test]
fn processes_lose_no_update() {
    const PROCESSES: u64 = 6;
    const ROUNDS: u64 = 25;
    let home = Home::new();
    // Nobody made the store before: they race for that, too.
    let children: Vec<Child> = (0..PROCESSES)
        .map(|_| home.child(&format!("count {ROUNDS}")).spawn().unwrap())
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let store = home.open();
    let found = store.get("counter").unwrap().unwrap();
    assert_eq!(found.revision, PROCESSES * ROUNDS);
    assert_eq!(store.watch(0).unwrap().head, PROCESSES * ROUNDS);
    assert_eq!(found.body, (PROCESSES * ROUNDS).to_string().as_bytes());
}

#[test]
fn sixteen_processes_make_one_store() {
    for _ in 0..5 {
        let home = Home::new();
        let children: Vec<Child> = (0..16)
            .map(|_| home.child("count 1").spawn().unwrap())
            .collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        assert_eq!(home.open().get("counter").unwrap().unwrap().revision, 16);
    }
}

#[test]
fn killed_commits_keep_what_was_acknowledged() {
    let home = Home::new();
    let mut acknowledged = 0;
    for round in 0..20_u64 {
        let mut child = home
            .child("count 1000000")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(15_000 + round * 3_137 % 40_000));
            child.kill().unwrap();
            child.wait().unwrap();
        });
        for line in BufReader::new(output).lines() {
            if let Some(head) = line.unwrap().strip_prefix("head ") {
                acknowledged = head.parse().unwrap();
            }
        }
        killer.join().unwrap();
        let store = home.open();
        let head = store.watch(0).unwrap().head;
        assert!(head >= acknowledged, "{head} < {acknowledged}");
        // The one that was answered by nobody may be there; whole, if so.
        assert!(head <= acknowledged + 1);
        if head > 0 {
            let counter = store.get("counter").unwrap().unwrap();
            assert_eq!(counter.revision, head);
            assert_eq!(counter.body, head.to_string().as_bytes());
            let twin = store.get("twin").unwrap().unwrap();
            assert_eq!((twin.revision, twin.body), (head, counter.body));
        }
        acknowledged = head;
    }
    assert!(acknowledged > 20, "{acknowledged}");
}

/// Not a test: what the tests above run in other processes.
#[test]
fn child() {
    let Ok(task) = std::env::var("STORE_CHILD") else {
        return;
    };
    let rounds: u64 = task.strip_prefix("count ").unwrap().parse().unwrap();
    let store = SqliteStore::open(Path::new(&std::env::var("STORE_PATH").unwrap())).unwrap();
    for _ in 0..rounds {
        let head = raise(&store);
        writeln!(std::io::stdout(), "head {head}").unwrap();
    }
}

fn raise(store: &SqliteStore) -> u64 {
    loop {
        let mut batch = Batch::new();
        for key in ["counter", "twin"] {
            let found = store.get(key).unwrap();
            let expect = found
                .as_ref()
                .map_or(Expect::Absent, |f| Expect::Revision(f.revision));
            let count: u64 =
                found.map_or(0, |f| String::from_utf8(f.body).unwrap().parse().unwrap());
            batch.put(key, expect, (count + 1).to_string());
        }
        match store.commit(&batch) {
            Ok(head) => return head,
            Err(StoreError::Conflict { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

/// A full and a read-only file system, in a mount namespace of our own.
#[test]
fn full_and_read_only_file_systems() {
    let exe = std::env::current_exe().unwrap();
    let script = r#"
        set -e
        mount -t tmpfs -o size=256k none "$STORE_MOUNT"
        "$EXE" --exact full_child --nocapture
        mount -o remount,ro "$STORE_MOUNT"
        "$EXE" --exact read_only_child --nocapture
    "#;
    let mount = tempfile::tempdir().unwrap();
    let possible = Command::new("unshare").args(["-rm", "true"]).status();
    if !possible.is_ok_and(|status| status.success()) {
        writeln!(std::io::stderr(), "SKIPPED: no mount namespaces here").unwrap();
        return;
    }
    let status = Command::new("unshare")
        .args(["-rm", "sh", "-c", script])
        .env("EXE", exe)
        .env("STORE_MOUNT", mount.path())
        .status()
        .unwrap();
    assert!(status.success());
}

/// Not a test by itself: see above.
#[test]
fn full_child() {
    let Ok(mount) = std::env::var("STORE_MOUNT") else {
        return;
    };
    let mount = Path::new(&mount);
    let ballast = mount.join("ballast");
    let store = SqliteStore::open(&mount.join("store")).unwrap();
    put(&store, "k", "v");
    let _ = fs::write(&ballast, vec![1; 1 << 20]);
    let mut number = 0;
    let error = loop {
        let body = vec![b'x'; 3000];
        match store.commit(Batch::new().put(format!("f{number}"), Expect::Absent, body)) {
            Ok(_) => number += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, StoreError::Full);
    assert_eq!(store.watch(0).unwrap().head, 1 + number);
    assert_eq!(store.get("k").unwrap().unwrap().body, b"v");
    let other = SqliteStore::open(&mount.join("other")).and_then(|s| s.get("k"));
    assert_eq!(other, Err(StoreError::Full));
    // It recovers alone when space returns.
    fs::remove_file(&ballast).unwrap();
    let _ = fs::remove_file(mount.join("other"));
    put(&store, "after", "v");
    assert_eq!(store.watch(0).unwrap().head, 2 + number);
}

/// Not a test by itself: see above.
#[test]
fn read_only_child() {
    let Ok(mount) = std::env::var("STORE_MOUNT") else {
        return;
    };
    for name in ["store", "new"] {
        let error = SqliteStore::open(&Path::new(&mount).join(name)).unwrap_err();
        assert_eq!(error, StoreError::ReadOnly, "{name}");
    }
}

#[test]
#[ignore = "a measurement"]
fn latencies() {
    let home = Home::new();
    put(&home.open(), "k", "v");
    let report = |what: &str, times: &mut Vec<Duration>| {
        times.sort_unstable();
        let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        writeln!(std::io::stdout(), "{what}: p50 {p50:?} p99 {p99:?}").unwrap();
    };
    let time = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    let mut cold = (0..300)
        .map(|_| {
            time(&mut || {
                let store = home.open();
                assert!(store.get("k").unwrap().is_some());
            })
        })
        .collect();
    report("open + get + close", &mut cold);
    let mut opening = (0..300)
        .map(|_| {
            let mut store = None;
            let elapsed = time(&mut || store = Some(home.open()));
            drop(store);
            elapsed
        })
        .collect();
    report("open", &mut opening);
    let store = home.open();
    let mut gets = (0..3000)
        .map(|_| time(&mut || drop(store.get("k"))))
        .collect();
    report("get", &mut gets);
    let mut watches = (0..3000)
        .map(|_| time(&mut || drop(store.watch(1))))
        .collect();
    report("watch, nothing new", &mut watches);
    let mut revision = 1;
    let mut commits = (0..500)
        .map(|_| {
            time(&mut || {
                let batch =
                    store.commit(Batch::new().put("k", Expect::Revision(revision), [0; 300]));
                batch.unwrap();
                revision += 1;
            })
        })
        .collect();
    report("commit", &mut commits);
}

struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn store(&self) -> PathBuf {
        self.0.path().join("store")
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.store()).unwrap()
    }

    fn sql(&self, script: &str) {
        let connection = rusqlite::Connection::open(self.store()).unwrap();
        connection.execute_batch(script).unwrap();
        connection.close().unwrap();
    }

    fn child(&self, task: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "child", "--nocapture"])
            .env("STORE_CHILD", task)
            .env("STORE_PATH", self.store())
            .stdout(Stdio::null());
        command
    }
}

fn put(store: &SqliteStore, key: &str, body: &str) {
    store
        .commit(Batch::new().put(key, Expect::Absent, body))
        .unwrap();
}
