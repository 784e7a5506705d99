//! The audit log's disk stops answering, is full, the server is killed: no request is answered without
//! its record, none is left hanging, and everything goes on by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use waxseal_conformance::disk::{Disk, alone};
use waxseal_conformance::{Client, Server, World, promise, tier};

/// Callers at once.
const CALLERS: usize = 32;
/// How long the disk is stuck each time: much longer than a request may take.
const STUCK: Duration = Duration::from_secs(4);
/// How often each of the three happens.
const ROUNDS: usize = 3;
/// What a request may take while the disk does not answer: two seconds, and as much again for a machine
/// that has other things to do.
const BOUND: Duration = Duration::from_secs(4);

#[test]
fn no_answer_without_its_record() {
    if !alone("no_answer_without_its_record") {
        return;
    }
    let world = World::new();
    // A call takes some 1.3 KiB of the log.
    let mut disk = Disk::new(&world.path("disk"), tier(512, 2_560) as u64);
    let data = world.path("disk/home");
    let mut server = Server::start(&world, &data);
    let key = server.client().call("CreateKey", &json!({})).unwrap();
    let key = key.text("/KeyMetadata/KeyId").to_owned();
    // One that is changed all the time: the store is stuck as well.
    let other = server.client().call("CreateKey", &json!({})).unwrap();
    let other = other.text("/KeyMetadata/KeyId").to_owned();
    let a_round = tier(100_000, 1_000_000) / ROUNDS;
    let (mut answered, mut total) = (HashSet::new(), Tally::default());
    for round in 0..ROUNDS {
        let calls = Calls::new(&server, [&key, &other], a_round);
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..CALLERS)
                .map(|caller| {
                    scope.spawn({
                        let calls = &calls;
                        move || calls.make(caller)
                    })
                })
                .collect();
            calls.wait_for(a_round / 4);
            disk.freeze();
            std::thread::sleep(STUCK);
            // It is known by now, and the rest is refused at once.
            let health = server.client().get("/healthz").unwrap();
            assert_eq!(health.status, 503);
            assert!(
                health.text("/reason").contains("does not answer"),
                "{health:?}"
            );
            let begin = Instant::now();
            let change = server.client().call("DisableKey", &json!({ "KeyId": key }));
            assert_eq!(change.unwrap().status, 500);
            assert!(begin.elapsed() < BOUND, "a change was left hanging");
            disk.thaw();
            recovers(&server, &key);

            calls.wait_for(a_round / 2);
            disk.fill();
            let (full, health) = loop {
                let full = refused(&server, &key);
                let health = server.client().get("/healthz").unwrap();
                // A journal gives blocks back a little later: then there is room again.
                if health.status == 503 {
                    break (full, health);
                }
            };
            assert!(full.contains("full") || full.contains("space"), "{full}");
            assert!(health.text("/reason").contains("full"), "{health:?}");
            disk.empty();
            recovers(&server, &key);
            for caller in callers {
                let (ids, tally) = caller.join().unwrap();
                answered.extend(ids);
                total.add(&tally);
            }
        });
        // Killed in the middle of some more.
        let calls = Calls::new(&server, [&key, &other], a_round / 10);
        let killed = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..CALLERS)
                .map(|caller| {
                    scope.spawn({
                        let calls = &calls;
                        move || calls.make(caller)
                    })
                })
                .collect();
            calls.wait_for(a_round / 20);
            server.kill();
            let callers = callers.into_iter().map(|caller| caller.join().unwrap());
            callers.collect::<Vec<_>>()
        });
        for (ids, tally) in killed {
            answered.extend(ids);
            total.add(&tally);
        }
        assert!(total.refused > 0, "round {round}: nothing was refused");
        server = Server::start(&world, &data);
    }
    server.kill();
    let recorded = recorded(&data.join("audit"));
    let missing = answered.difference(&recorded).count();
    assert_eq!(missing, 0, "{missing} answers without a record");
    assert!(total.slowest < BOUND, "a request took {:?}", total.slowest);
    promise(
        "22",
        format!(
            "{} calls, {ROUNDS} times the disk stuck for {STUCK:?}, full, and the server killed: {} answered, \
             {} refused, 0 answered without a record; the slowest took {:.1?}",
            answered.len() + total.refused,
            answered.len(),
            total.refused,
            total.slowest,
        ),
    );
}

/// A disk with an error is mounted read-only by Linux, under a server that is running.
#[test]
fn a_file_system_that_turns_read_only_is_told() {
    if !alone("a_file_system_that_turns_read_only_is_told") {
        return;
    }
    let world = World::new();
    let disk = Disk::new(&world.path("disk"), 64);
    let data = world.path("disk/home");
    let server = Server::start(&world, &data);
    let mut client = server.client();
    let key = client.call("CreateKey", &json!({})).unwrap();
    let key = key.text("/KeyMetadata/KeyId").to_owned();
    let encrypt = json!({ "KeyId": key, "Plaintext": "c2VjcmV0" });
    let sealed = client.call("Encrypt", &encrypt).unwrap();
    let blob = json!({ "CiphertextBlob": sealed.text("/CiphertextBlob") });
    disk.fail();
    let mut slowest = Duration::ZERO;
    for _ in 0..3 {
        for (operation, input) in [
            ("Encrypt", &encrypt),
            ("Decrypt", &blob),
            ("DisableKey", &json!({ "KeyId": key })),
            ("CreateKey", &json!({})),
            ("ListKeys", &json!({})),
            ("NoSuchOperation", &json!({})),
        ] {
            let begin = Instant::now();
            let answer = client.call(operation, input).unwrap();
            slowest = slowest.max(begin.elapsed());
            assert_eq!(answer.status, 500, "{operation}: {answer:?}");
            assert_eq!(answer.body["__type"], "KMSInternalException", "{answer:?}");
        }
    }
    let health = client.get("/healthz").unwrap();
    assert_eq!(health.status, 503);
    assert!(health.text("/reason").contains("read-only"), "{health:?}");
    assert!(slowest < BOUND, "a request took {slowest:?}");
    server.kill();
    disk.mend();
    let server = Server::start(&world, &data);
    let opened = server.client().call("Decrypt", &blob).unwrap();
    assert!(opened.is_done(), "{opened:?}");
    server.kill();
    waxseal_kms::audit::verify(&data.join("audit")).unwrap();
    promise(
        "22-read-only",
        format!("18 requests refused, the slowest in {slowest:.1?}; after repair all is there"),
    );
}

/// Requests of many callers, until so many were made.
struct Calls<'s> {
    address: SocketAddr,
    keys: [&'s str; 2],
    most: usize,
    made: AtomicUsize,
    gone: AtomicBool,
}

#[derive(Default)]
struct Tally {
    refused: usize,
    slowest: Duration,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.refused += other.refused;
        self.slowest = self.slowest.max(other.slowest);
    }
}

impl<'s> Calls<'s> {
    fn new(server: &Server, keys: [&'s str; 2], most: usize) -> Self {
        Self {
            address: server.address,
            keys,
            most,
            made: AtomicUsize::new(0),
            gone: AtomicBool::new(false),
        }
    }

    fn wait_for(&self, made: usize) {
        while self.made.load(Ordering::Relaxed) < made {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// One caller: the request ids of what was done.
    fn make(&self, caller: usize) -> (Vec<String>, Tally) {
        let mut client = Client::of(self.address);
        let (mut ids, mut tally) = (Vec::new(), Tally::default());
        let [key, other] = self.keys;
        let encrypt = json!({ "KeyId": key, "Plaintext": "c2VjcmV0" });
        let change = json!({ "KeyId": other });
        while !self.gone.load(Ordering::Relaxed) {
            if self.made.fetch_add(1, Ordering::Relaxed) >= self.most {
                break;
            }
            let begin = Instant::now();
            let call = match (caller, ids.len() % 2) {
                (0, 0) => client.call("DisableKey", &change),
                (0, _) => client.call("EnableKey", &change),
                _ => client.call("Encrypt", &encrypt),
            };
            match call {
                Ok(answer) if answer.is_done() => ids.push(answer.request_id),
                Ok(answer) => {
                    assert_eq!(answer.status, 500, "{answer:?}");
                    tally.refused += 1;
                    // Whoever is refused asks again a little later.
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(_) => self.gone.store(true, Ordering::Relaxed),
            }
            tally.slowest = tally.slowest.max(begin.elapsed());
        }
        (ids, tally)
    }
}

fn encrypted(client: &mut Client, key: &str) -> Result<(), String> {
    encrypted_in(client, key, "short")
}

fn encrypted_in(client: &mut Client, key: &str, context: &str) -> Result<(), String> {
    let context = json!({ "in": context });
    let input = json!({ "KeyId": key, "Plaintext": "c2VjcmV0", "EncryptionContext": context });
    let answer = client.call("Encrypt", &input).unwrap();
    match answer.is_done() {
        true => Ok(()),
        false => Err(answer.body.to_string()),
    }
}

fn recovers(server: &Server, key: &str) {
    let mut client = server.client();
    let begin = Instant::now();
    while let Err(why) = encrypted(&mut client, key) {
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "it did not go on: {why}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let health = client.get("/healthz").unwrap();
    assert_eq!(health.body["status"], "ok", "{health:?}");
}

fn refused(server: &Server, key: &str) -> String {
    let mut client = server.client();
    // Room that was made ahead is used up first: by records that are long, and then by short ones.
    let long = "x".repeat(30_000);
    while encrypted_in(&mut client, key, &long).is_ok() {}
    loop {
        if let Err(why) = encrypted(&mut client, key) {
            return why;
        }
    }
}

fn recorded(audit: &Path) -> HashSet<String> {
    waxseal_kms::audit::verify(audit).unwrap();
    let records = waxseal_kms::audit::records(audit);
    let events =
        records.map(|record| serde_json::from_str::<Value>(&record.unwrap().line).unwrap());
    let done = events.filter(|event| event["errorCode"].is_null());
    done.map(|event| event["requestID"].as_str().unwrap().to_owned())
        .collect()
}
