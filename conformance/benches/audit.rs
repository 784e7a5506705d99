//! The audit log by itself: how fast it is verified and searched, and how fast it is written beside a
//! bare loop that appends as many bytes and calls `fdatasync`.
//!
//! `cargo bench -p waxseal-conformance --bench audit -- [verify|commit]…`, or `bench/audit`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot be set up has nothing to say"
)]

use serde_json::json;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};
use waxseal_kms::audit::{AuditLog, Event, Filter, Outcome, Resource, records, verify};
use waxseal_kms_api::members::Members;

/// Records of the log that is read.
const RECORDS: u64 = 1_000_000;
/// Keys that they are about, in turn.
const KEYS: u64 = 1_000;
const ROUNDS: usize = 5;
const WRITERS: [usize; 3] = [1, 16, 256];
/// How long each round of each writer goes on.
const ROUND: Duration = Duration::from_secs(1);

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |name: &str| {
        let mut named = wanted.iter().filter(|arg| !arg.starts_with('-')).peekable();
        named.peek().is_none() || named.any(|arg| arg == name)
    };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    if is_wanted("verify") {
        reading(&folder.path().join("read"));
    }
    if is_wanted("commit") {
        committing(folder.path());
    }
}

fn key_id(number: u64) -> String {
    format!(
        "{:08x}-0000-4000-8000-{:012x}",
        number % KEYS,
        number % KEYS
    )
}

/// What the server records of a GenerateDataKey by a user.
fn event(number: u64) -> Event<'static> {
    let key = key_id(number);
    let arn = format!("arn:aws:kms:eu-west-1:111122223333:key/{key}");
    let time = 1_800_000_000 + i64::try_from(number / 100).unwrap();
    Event {
        event_id: format!("f3b5e7a4-0000-4000-8000-{number:012x}").into(),
        event_time: time::OffsetDateTime::from_unix_timestamp(time).unwrap(),
        event_source: "kms.amazonaws.com".into(),
        event_name: "GenerateDataKey".into(),
        aws_region: "eu-west-1".into(),
        account_id: "111122223333".into(),
        user_identity: json!({
            "type": "IAMUser", "principalId": "AIDA5F6G7H8J9K0L1M2N",
            "arn": "arn:aws:iam::111122223333:user/orders", "accountId": "111122223333",
            "accessKeyId": "AKIA5F6G7H8J9K0L1M2N", "userName": "orders",
        })
        .into(),
        source_ip_address: "10.1.2.3".into(),
        user_agent: "aws-sdk-rust/1.3.10 os/linux lang/rust/1.95.0".into(),
        request_id: format!("0b1c2d3e-0000-4000-8000-{number:012x}").into(),
        request_parameters: Some(Members::from_iter([
            ("keyId", json!(arn)),
            ("keySpec", json!("AES_256")),
            (
                "encryptionContext",
                json!({ "tenant": format!("t{}", number % 97), "purpose": "orders" }),
            ),
        ])),
        response_elements: None,
        additional: Members::from_iter([("keyMaterialId", "ab".repeat(32))]),
        resources: vec![Resource {
            arn: arn.into(),
            account_id: "111122223333".into(),
        }],
        read_only: true,
        error: None,
    }
}

/// A log of many records, made without waiting for each.
fn made(dir: &Path) -> u64 {
    let log = AuditLog::open(dir).unwrap();
    let mut last = None;
    for number in 0..RECORDS {
        last = Some(log.submit(&event(number)).unwrap());
        if number % 10_000 == 0 {
            pollster::block_on(last.take().unwrap()).unwrap();
        }
    }
    if let Some(last) = last {
        pollster::block_on(last).unwrap();
    }
    drop(log);
    let segments = std::fs::read_dir(dir).unwrap();
    segments
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Seconds of wall and of CPU time, medians.
fn timed(mut work: impl FnMut()) -> (f64, f64) {
    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (begun, used) = (Instant::now(), cpu_seconds());
        work();
        wall.push(begun.elapsed().as_secs_f64());
        cpu.push(cpu_seconds() - used);
    }
    (median(wall), median(cpu))
}

/// Of the whole process, in ticks of 10 ms (proc_pid_stat(5)).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks
        .map(|ticks| ticks.parse::<f64>().unwrap() / 100.0)
        .sum()
}

fn reading(dir: &Path) {
    let bytes = made(dir);
    println!("{RECORDS} records, {} bytes each", bytes / RECORDS);
    let tell = |what: &str, (wall, cpu): (f64, f64)| {
        println!(
            "{what:<42} {wall:>7.3} s {:>10.0} records/s   {cpu:>7.3} s of CPU {:>10.0} records/s a core",
            RECORDS as f64 / wall,
            RECORDS as f64 / cpu,
        );
    };
    tell(
        "verify",
        timed(|| assert_eq!(verify(dir).unwrap().records, RECORDS)),
    );
    let key = key_id(7);
    tell(
        "list of one key",
        timed(|| {
            let filter = Filter {
                key: Some(key.clone()),
                ..Filter::default()
            };
            assert_eq!(filter.records(dir).count() as u64, RECORDS / KEYS);
        }),
    );
    let filter = Filter {
        outcome: Some(Outcome::Refused),
        ..Filter::default()
    };
    tell(
        "list of refusals, of which there are none",
        timed(|| assert_eq!(filter.records(dir).count(), 0)),
    );
}

fn committing(folder: &Path) {
    let bytes = serde_json::to_vec(&event(1)).unwrap().len();
    println!(
        "records of {bytes} bytes and their links, a second; medians of {ROUNDS} rounds in turns"
    );
    println!(
        "{:>8} {:>12} {:>12} {:>6}",
        "writers", "bare", "log", "ratio"
    );
    for writers in WRITERS {
        let (mut bare, mut log) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let name = |what: &str| folder.join(format!("{what}-{writers}-{round}"));
            bare.push(bare_loop(&name("bare"), writers));
            log.push(log_loop(&name("log"), writers));
        }
        let (bare, log) = (median(bare), median(log));
        println!(
            "{writers:>8} {bare:>10.0}/s {log:>10.0}/s {:>6.2}",
            log / bare
        );
    }
}

/// Records a second by `writers` threads that each wait for every record.
fn rate(writers: usize, append: impl Fn() + Sync) -> f64 {
    let begun = Instant::now();
    let done: u64 = std::thread::scope(|scope| {
        let write = || {
            let mut done = 0_u64;
            while begun.elapsed() < ROUND {
                append();
                done += 1;
            }
            done
        };
        let threads: Vec<_> = (0..writers).map(|_| scope.spawn(write)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    done as f64 / begun.elapsed().as_secs_f64()
}

fn log_loop(dir: &Path, writers: usize) -> f64 {
    let log = AuditLog::open(dir).unwrap();
    let event = event(1);
    // As in a server.
    pollster::block_on(log.submit(&event).unwrap()).unwrap();
    rate(writers, || {
        log.append(&event).unwrap();
    })
}

/// The least that a group commit can be: whoever finds nobody writing writes what waits, into a file
/// that was preallocated, and calls `fdatasync`.
fn bare_loop(path: &Path, writers: usize) -> f64 {
    let line = vec![b'x'; record_bytes()];
    let bare = Bare::new(path);
    rate(writers, || bare.append(&line))
}

/// The length of the record that the log writes.
fn record_bytes() -> usize {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = AuditLog::open(folder.path()).unwrap();
    log.append(&event(1)).unwrap();
    records(folder.path()).next().unwrap().unwrap().line.len() + 1
}

struct Bare {
    file: File,
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<u8>,
    /// The batch that gathers, and the last that is durable.
    batch: u64,
    durable: u64,
    flushing: bool,
    end: u64,
}

impl Bare {
    fn new(path: &Path) -> Self {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(path);
        let file = file.unwrap();
        let state = State {
            batch: 1,
            ..State::default()
        };
        let this = Self {
            file,
            state: Mutex::new(state),
            done: Condvar::new(),
        };
        this.make_room(0);
        this
    }

    fn make_room(&self, begin: u64) {
        let zeros = vec![0; ROOM_BYTES as usize];
        self.file.write_all_at(&zeros, begin).unwrap();
        self.file.sync_data().unwrap();
    }

    fn append(&self, line: &[u8]) {
        let mut state = self.state.lock().unwrap();
        state.lines.extend_from_slice(line);
        let mine = state.batch;
        while state.flushing && state.durable < mine {
            state = self.done.wait(state).unwrap();
        }
        if state.durable >= mine {
            return;
        }
        state.flushing = true;
        state.batch += 1;
        let lines = std::mem::take(&mut state.lines);
        let begin = state.end;
        state.end += lines.len() as u64;
        drop(state);
        if begin / ROOM_BYTES != (begin + lines.len() as u64) / ROOM_BYTES {
            self.make_room((begin / ROOM_BYTES + 1) * ROOM_BYTES);
        }
        self.file.write_all_at(&lines, begin).unwrap();
        self.file.sync_data().unwrap();
        let mut state = self.state.lock().unwrap();
        state.durable = mine;
        state.flushing = false;
        drop(state);
        self.done.notify_all();
    }
}

const ROOM_BYTES: u64 = 1 << 20;
