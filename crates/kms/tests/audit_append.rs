//! Appending: by many threads, by many processes, until killed, until the disk is full.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use serde_json::json;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use waxseal_kms::audit::{AuditError, AuditLog, Event, records, verify};
use waxseal_kms_api::members::Members;

#[test]
fn threads_lose_nothing() {
    const THREADS: usize = 16;
    const EACH: usize = 200;
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(dir.path()).unwrap();
    let log = log.with_segment_bytes_max(100_000);
    let receipts: Vec<(u64, String)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let log = &log;
                scope.spawn(move || {
                    (0..EACH)
                        .map(|number| {
                            let id = format!("{thread}-{number}");
                            (log.append(&event(&id)).unwrap().sequence, id)
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|t| t.join().unwrap())
            .collect()
    });
    let verified = verify(dir.path()).unwrap();
    assert_eq!(verified.records, (THREADS * EACH) as u64);
    assert!(verified.segments > 5, "{}", verified.segments);
    let ids = ids(dir.path());
    assert_eq!(receipts.len(), THREADS * EACH);
    for (sequence, id) in receipts {
        assert_eq!(ids[sequence as usize - 1], id);
    }
}

#[test]
fn waiting_threads_share_syncs() {
    const THREADS: usize = 64;
    const EACH: usize = 100;
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let log = &log;
            scope.spawn(move || {
                for number in 0..EACH {
                    log.append(&event(&format!("{thread}-{number}"))).unwrap();
                }
            });
        }
    });
    let records = (THREADS * EACH) as u64;
    assert_eq!(verify(dir.path()).unwrap().records, records);
    assert!(log.syncs() * 4 < records, "{} syncs", log.syncs());
}

#[test]
fn handles_and_processes_lose_nothing() {
    const PROCESSES: usize = 8;
    const EACH: usize = 50;
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("audit");
    let children: Vec<Child> = (0..PROCESSES)
        .map(|number| {
            // Some end segments earlier than others do.
            let segment_bytes = [20_000, 64 << 20, 7_000][number % 3];
            child(&dir, &format!("{number} {EACH} {segment_bytes}"))
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let verified = verify(&dir).unwrap();
    assert_eq!(verified.records, (PROCESSES * EACH) as u64);
    let found = ids(&dir);
    let distinct: BTreeSet<&String> = found.iter().collect();
    assert_eq!(distinct.len(), PROCESSES * EACH);
}

/// One handle makes room behind the end, the other cuts it off.
#[test]
fn those_who_make_room_and_those_who_do_not_share_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let large = AuditLog::open(dir.path()).unwrap();
    let small = AuditLog::open(dir.path()).unwrap();
    let mut written = 0;
    for round in 0..40_u64 {
        for number in 0..round % 7 {
            let ticket = large.submit(&event(&format!("{round}-{number}"))).unwrap();
            written += 1;
            assert_eq!(pollster::block_on(ticket).unwrap().sequence, written);
        }
        written += 1;
        let receipt = small.append(&event(&round.to_string())).unwrap();
        assert_eq!(receipt.sequence, written);
        assert_eq!(verify(dir.path()).unwrap().records, written);
    }
    written += 1;
    pollster::block_on(large.submit(&event("last")).unwrap()).unwrap();
    assert!(last_segment_bytes(dir.path()) > 1 << 20, "no room was made");
    drop(large);
    drop(small);
    assert!(
        last_segment_bytes(dir.path()) < 1 << 20,
        "the room is still there"
    );
    assert_eq!(ids(dir.path()).len() as u64, written);
}

/// Power is lost during a sync: of what was not acknowledged, any blocks are missing.
#[test]
fn lost_blocks_of_the_last_batch_lose_nothing_that_was_acknowledged() {
    const BLOCK: usize = 512;
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(dir.path()).unwrap();
    let append = |id: &str| pollster::block_on(log.submit(&event(id)).unwrap()).unwrap();
    for number in 0..10 {
        append(&number.to_string());
    }
    let path = last_segment(dir.path());
    let used = |bytes: &[u8]| {
        bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1)
    };
    let safe = used(&fs::read(&path).unwrap());
    for number in 0..12 {
        append(&format!("late-{number}"));
    }
    let whole = fs::read(&path).unwrap();
    let end = used(&whole);
    let blocks: Vec<usize> = (safe / BLOCK..=end / BLOCK).collect();
    assert!(blocks.len() > 8 && whole.len() > end);
    for seed in 0_u64..300 {
        let mut mask = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut bytes = whole.clone();
        for block in &blocks {
            mask = mask.rotate_left(7).wrapping_mul(0x2545_f491_4f6c_dd1d);
            if mask >> 63 == 1 {
                let begin = (block * BLOCK).max(safe);
                bytes[begin..(block + 1) * BLOCK].fill(0);
            }
        }
        let lost = tempfile::tempdir().unwrap();
        let copy = lost.path().join(path.file_name().unwrap());
        fs::write(&copy, &bytes).unwrap();
        // Read as it is, and read once somebody went on.
        assert!(verify(lost.path()).unwrap().records >= 10, "seed {seed}");
        let again = AuditLog::open(lost.path()).unwrap();
        let next = again.append(&event("next")).unwrap().sequence;
        assert!(next > 10, "seed {seed}");
        let verified = verify(lost.path()).unwrap();
        assert_eq!(
            (verified.records, verified.torn_tail),
            (next, None),
            "seed {seed}"
        );
    }
}

fn last_segment(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .collect();
    segments.sort();
    segments.pop().unwrap()
}

fn last_segment_bytes(dir: &Path) -> u64 {
    fs::metadata(last_segment(dir)).unwrap().len()
}

#[test]
fn sixteen_processes_begin_one_log() {
    for _ in 0..5 {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("audit");
        let children: Vec<Child> = (0..16)
            .map(|number| {
                let task = format!("{number} 1 1000000");
                child(&dir, &task).stdout(Stdio::null()).spawn().unwrap()
            })
            .collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        assert_eq!(verify(&dir).unwrap().records, 16);
    }
}

#[test]
fn killed_writers_keep_what_was_acknowledged() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("audit");
    let mut acknowledged = Vec::new();
    for round in 0..20_u64 {
        // Two at once, so that one takes over what the other left behind.
        let outputs: Vec<_> = (0..2)
            .map(|number| {
                let task = format!("{round}-{number} 1000000 30000");
                let mut child = child(&dir, &task).stdout(Stdio::piped()).spawn().unwrap();
                let output = child.stdout.take().unwrap();
                std::thread::spawn(move || {
                    let pause = 15_000 + (2 * round + number) * 3_137 % 40_000;
                    std::thread::sleep(Duration::from_micros(pause));
                    child.kill().unwrap();
                    child.wait().unwrap();
                });
                output
            })
            .collect();
        for output in outputs {
            for line in BufReader::new(output).lines() {
                if let Some(receipt) = line.unwrap().strip_prefix("receipt ") {
                    let (sequence, id) = receipt.split_once(' ').unwrap();
                    acknowledged.push((sequence.parse::<usize>().unwrap(), id.to_owned()));
                }
            }
        }
        let log = AuditLog::open(&dir).unwrap();
        let id = format!("after {round}");
        let sequence = log.append(&event(&id)).unwrap().sequence as usize;
        acknowledged.push((sequence, id));
    }
    let verified = verify(&dir).unwrap();
    assert_eq!(verified.torn_tail, None);
    let found = ids(&dir);
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    for (sequence, id) in acknowledged {
        assert_eq!(found[sequence - 1], id);
    }
}

#[test]
fn an_exclusive_holder_keeps_others_out() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (
        AuditLog::open(dir.path()).unwrap(),
        AuditLog::open(dir.path()).unwrap(),
    );
    let mut held = one.exclusive().unwrap();
    let mine = held.next_sequence();
    std::thread::scope(|scope| {
        let same = scope.spawn(|| one.append(&event("same handle")).unwrap().sequence);
        let other = scope.spawn(|| two.append(&event("other handle")).unwrap().sequence);
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(held.append(&event("held")).unwrap().sequence, mine);
        assert_eq!(held.append(&event("held")).unwrap().sequence, mine + 1);
        drop(held);
        assert!(same.join().unwrap() > mine + 1 && other.join().unwrap() > mine + 1);
    });
    assert_eq!(verify(dir.path()).unwrap().records, 4);
}

#[test]
fn a_lock_that_stays_is_busy_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(dir.path()).unwrap();
    let lock = File::open(dir.path().join("lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(log.append(&event("x")), Err(AuditError::Busy));
    lock.unlock().unwrap();
    assert_eq!(log.append(&event("x")).unwrap().sequence, 1);
}

#[test]
fn segments_end_at_their_limit() {
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(dir.path()).unwrap();
    log.append(&event("100")).unwrap();
    let bytes = fs::metadata(dir.path().join(name(1))).unwrap().len();
    // Two of these fit exactly, and not with one byte less.
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(dir.path()).unwrap();
    let log = log.with_segment_bytes_max(2 * bytes);
    for number in 100..104 {
        log.append(&event(&number.to_string())).unwrap();
    }
    let log = log.with_segment_bytes_max(2 * bytes - 1);
    for number in 104..106 {
        log.append(&event(&number.to_string())).unwrap();
    }
    // One that is longer than any segment gets its own.
    let mut long = event("106");
    long.user_agent = "x".repeat(bytes as usize * 3).into();
    log.append(&long).unwrap();
    log.append(&event("107")).unwrap();
    let names: BTreeSet<String> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected = [1, 3, 5, 6, 7, 8].map(name);
    assert!(
        names
            .iter()
            .filter(|name| *name != "lock")
            .eq(expected.iter())
    );
    assert_eq!(verify(dir.path()).unwrap().records, 8);
}

#[test]
fn a_record_that_is_too_long_is_refused_alone() {
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(dir.path()).unwrap();
    let mut long = event("long");
    long.user_agent = "x".repeat(256 << 10).into();
    let error = log.append(&long).unwrap_err();
    assert!(matches!(error, AuditError::RecordTooLong { .. }));
    assert_eq!(log.append(&event("short")).unwrap().sequence, 1);
}

/// A file that may not grow: the write fails in the middle (EFBIG), the log stays as it was.
#[test]
fn a_write_that_fails_leaves_no_trace() {
    let home = tempfile::tempdir().unwrap();
    let script = r#"trap "" XFSZ; ulimit -f 16; exec "$EXE" --exact limited_child --nocapture"#;
    let status = Command::new("sh")
        .args(["-c", script])
        .env("EXE", std::env::current_exe().unwrap())
        .env("AUDIT_LIMITED", home.path().join("audit"))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert!(verify(&home.path().join("audit")).unwrap().records > 10);
}

/// Not a test by itself: see above.
#[test]
fn limited_child() {
    let Some(dir) = std::env::var_os("AUDIT_LIMITED").map(PathBuf::from) else {
        return;
    };
    let log = AuditLog::open(&dir).unwrap();
    let mut number = 0;
    let error = loop {
        match log.append(&event("some")) {
            Ok(_) => number += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(
            error,
            AuditError::Io {
                action: "write",
                ..
            }
        ),
        "{error}"
    );
    let verified = verify(&dir).unwrap();
    assert_eq!((verified.records, verified.torn_tail), (number, None));
    // The handle goes on: nothing is in doubt, and the next segment has room.
    let log = log.with_segment_bytes_max(1);
    assert_eq!(log.append(&event("next")).unwrap().sequence, number + 1);
}

/// A full file system, in a mount namespace of our own.
#[test]
fn a_full_disk_refuses_and_recovers() {
    let script = r#"
        set -e
        mount -t tmpfs -o size=512k none "$AUDIT_MOUNT"
        "$EXE" --exact full_child --nocapture
    "#;
    let possible = Command::new("unshare").args(["-rm", "true"]).status();
    if !possible.is_ok_and(|status| status.success()) {
        writeln!(std::io::stderr(), "SKIPPED: no mount namespaces here").unwrap();
        return;
    }
    let mount = tempfile::tempdir().unwrap();
    let status = Command::new("unshare")
        .args(["-rm", "sh", "-c", script])
        .env("EXE", std::env::current_exe().unwrap())
        .env("AUDIT_MOUNT", mount.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

/// Not a test by itself: see above.
#[test]
fn full_child() {
    let Some(mount) = std::env::var_os("AUDIT_MOUNT").map(PathBuf::from) else {
        return;
    };
    let dir = mount.join("audit");
    let log = AuditLog::open(&dir).unwrap();
    let log = log.with_segment_bytes_max(10_000);
    let mut ballast = File::create(mount.join("ballast")).unwrap();
    while ballast.write_all(&[1; 4096]).is_ok() {}
    let mut acknowledged = 0;
    for cycle in 1..=20_u64 {
        let start = Instant::now();
        acknowledged += std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| until_full(&log))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum::<u64>()
        });
        assert!(start.elapsed() < Duration::from_secs(2));
        let verified = verify(&dir).unwrap();
        assert_eq!((verified.records, verified.torn_tail), (acknowledged, None));
        // Space returns: the same handle goes on.
        ballast
            .set_len(ballast.metadata().unwrap().len() - 12_288)
            .unwrap();
        assert_eq!(
            log.append(&event("after")).unwrap().sequence,
            acknowledged + 1
        );
        acknowledged += 1;
        assert!(acknowledged > 8 * (cycle - 1), "{acknowledged}");
    }
}

fn until_full(log: &AuditLog) -> u64 {
    let mut acknowledged = 0;
    loop {
        match log.append(&event("some")) {
            Ok(_) => acknowledged += 1,
            Err(AuditError::Full) => return acknowledged,
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_log_that_was_removed_is_missed() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("audit");
    let log = AuditLog::open(&dir).unwrap();
    log.append(&event("x")).unwrap();
    fs::remove_file(dir.join(name(1))).unwrap();
    let (found, known) = (1, 1);
    let error = log.append(&event("y")).unwrap_err();
    assert_eq!(error, AuditError::RolledBack { found, known });
    fs::remove_dir_all(&dir).unwrap();
    let error = log.append(&event("y")).unwrap_err();
    let kind = std::io::ErrorKind::NotFound;
    assert!(matches!(error, AuditError::Io { kind: found, .. } if found == kind));
}

/// Not a test: what the tests above run in other processes.
#[test]
fn child_writer() {
    let Some(dir) = std::env::var_os("AUDIT_DIR").map(PathBuf::from) else {
        return;
    };
    let task = std::env::var("AUDIT_CHILD").unwrap();
    let mut words = task.split(' ');
    let name = words.next().unwrap();
    let count: u64 = words.next().unwrap().parse().unwrap();
    let log = AuditLog::open(&dir).unwrap();
    let log = log.with_segment_bytes_max(words.next().unwrap().parse().unwrap());
    for number in 0..count {
        let id = format!("{name}/{number}");
        let sequence = log.append(&event(&id)).unwrap().sequence;
        writeln!(std::io::stdout(), "receipt {sequence} {id}").unwrap();
    }
}

#[test]
#[ignore = "a measurement"]
fn latencies() {
    const ROUNDS: usize = 2000;
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(dir.path()).unwrap();
    log.append(&event("0")).unwrap();
    let segment = dir.path().join(name(1));
    let line = vec![b'x'; fs::metadata(segment).unwrap().len() as usize];
    let bare_path = dir.path().join("bare");
    let mut bare = OpenOptions::new()
        .create(true)
        .append(true)
        .open(bare_path)
        .unwrap();
    let say = |text: String| writeln!(std::io::stdout(), "{text}").unwrap();
    let p50 = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for number in 0..ROUNDS {
        let start = Instant::now();
        log.append(&event(&number.to_string())).unwrap();
        ours.push(start.elapsed());
        let start = Instant::now();
        bare.write_all(&line).unwrap();
        bare.sync_data().unwrap();
        theirs.push(start.elapsed());
    }
    say(format!("record {} bytes", line.len()));
    say(format!(
        "append p50 {:?}, bare append + fdatasync p50 {:?}",
        p50(&mut ours),
        p50(&mut theirs)
    ));
    for threads in [1, 16, 64, 256] {
        let each = 20_000 / threads;
        let (start, syncs) = (Instant::now(), log.syncs());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for _ in 0..each {
                        log.append(&event("x")).unwrap();
                    }
                });
            }
        });
        let rate = (threads * each) as f64 / start.elapsed().as_secs_f64();
        let syncs = log.syncs() - syncs;
        say(format!(
            "{threads} threads: {rate:.0} records/s, {syncs} syncs for {}",
            threads * each
        ));
    }
    let start = Instant::now();
    for _ in 0..ROUNDS {
        bare.write_all(&line).unwrap();
        bare.sync_data().unwrap();
    }
    let rate = ROUNDS as f64 / start.elapsed().as_secs_f64();
    say(format!("bare loop: {rate:.0} records/s"));
    let mut cold: Vec<Duration> = (0..200)
        .map(|_| {
            let start = Instant::now();
            AuditLog::open(dir.path()).unwrap().exclusive().unwrap();
            start.elapsed()
        })
        .collect();
    say(format!("open + find the end p50 {:?}", p50(&mut cold)));
    let start = Instant::now();
    let verified = verify(dir.path()).unwrap();
    let rate = verified.records as f64 / start.elapsed().as_secs_f64();
    say(format!("verify: {rate:.0} records/s"));
}

fn ids(dir: &Path) -> Vec<String> {
    records(dir)
        .enumerate()
        .map(|(index, record)| {
            let record = record.unwrap();
            assert_eq!(record.sequence, index as u64 + 1);
            record.event().unwrap()["eventID"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

fn child(dir: &Path, task: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child_writer", "--nocapture"])
        .env("AUDIT_CHILD", task)
        .env("AUDIT_DIR", dir);
    command
}

fn name(first: u64) -> String {
    format!("{first:020}.jsonl")
}

fn event(id: &str) -> Event<'_> {
    Event {
        event_id: id.into(),
        event_time: OffsetDateTime::from_unix_timestamp(1_420_070_400).unwrap(),
        event_source: "kms.amazonaws.com".into(),
        event_name: "GenerateDataKey".into(),
        aws_region: "eu-west-1".into(),
        account_id: "111122223333".into(),
        user_identity: json!({"type": "IAMUser", "userName": "alice"}).into(),
        source_ip_address: "127.0.0.1".into(),
        user_agent: "test".into(),
        request_id: "r".into(),
        request_parameters: Some(Members::from_iter([(
            "encryptionContext",
            json!({"a": "b"}),
        )])),
        response_elements: None,
        additional: Members::new(),
        resources: vec![],
        read_only: true,
        error: None,
    }
}
