//! An I/O error at the N-th call, for every N until it passes the end: what was acknowledged is there
//! and recorded, what was not is whole or absent, and whoever comes next can work.
//!
//! The errors are put in by `strace`; where it may not trace, this is not tried.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use waxseal_conformance::world::copy_tree;
use waxseal_conformance::{Ran, World, promise};

/// Calls that fail, and how.
const FAULTS: [(&str, &str); 11] = [
    ("pwrite64", "EIO"),
    ("pwrite64", "ENOSPC"),
    ("write", "EIO"),
    ("fsync", "EIO"),
    ("fdatasync", "EIO"),
    ("fdatasync", "ENOSPC"),
    ("ftruncate", "EIO"),
    ("pread64", "EIO"),
    ("fallocate", "ENOSPC"),
    ("flock", "ENOLCK"),
    ("unlink", "EROFS"),
];
/// Nothing makes so many calls; it is a loop that ends.
const CALLS_MAX: usize = 400;
const TEXT: &[u8] = b"some plaintext";

#[test]
fn an_error_at_any_call_acknowledges_nothing_that_is_not_so() {
    if !may_trace() {
        promise("03", "NOT TRIED: strace is missing, or may not trace here");
        return;
    }
    let world = World::new();
    world.ok(&["encrypt", "-f", "direct", "-o", "blob"], TEXT);
    let key = world
        .run(&["key", "create", "--json"], b"")
        .exits(0)
        .json_lines();
    let key = key[0]["keyId"].as_str().unwrap().to_owned();
    let blob = world.read("blob");
    let commands: [(&str, Vec<&str>, &[u8]); 5] = [
        ("CreateKey", vec!["key", "create", "--json"], b""),
        ("DisableKey", vec!["key", "disable", &key], b""),
        ("RotateKeyOnDemand", vec!["key", "rotate", &key], b""),
        ("Encrypt", vec!["encrypt", "-f", "direct"], TEXT),
        ("Decrypt", vec!["decrypt"], &blob),
    ];
    let cases: Vec<_> = commands
        .iter()
        .flat_map(|command| FAULTS.map(|fault| (command, fault)))
        .collect();
    let (next, tried, done) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(((event, args, stdin), fault)) =
                    cases.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let case = Case {
                        kept: &world,
                        event,
                        args,
                        stdin,
                        fault: *fault,
                    };
                    for number in 1.. {
                        assert!(number < CALLS_MAX, "{case:?}");
                        match case.run(number) {
                            None => break,
                            Some(was_done) => {
                                done.fetch_add(usize::from(was_done), Ordering::Relaxed)
                            }
                        };
                        tried.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let (tried, done) = (tried.into_inner(), done.into_inner());
    assert!(
        tried > 100 && done < tried,
        "{tried} faults, {done} done all the same"
    );
    promise(
        "03",
        format!(
            "{tried} faults, at each call of {} kinds of {} commands: {done} were of no consequence, the others \
             refused; 0 acknowledged in vain, every home went on",
            FAULTS.len(),
            commands.len()
        ),
    );
}

struct Case<'c> {
    kept: &'c World,
    event: &'c str,
    args: &'c [&'c str],
    stdin: &'c [u8],
    fault: (&'c str, &'c str),
}

impl std::fmt::Debug for Case<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} under {:?}", self.event, self.fault)
    }
}

impl Case<'_> {
    /// Lets the call of this number fail. Whether the command succeeded all the same; nothing when there
    /// is no such call.
    fn run(&self, number: usize) -> Option<bool> {
        let world = World::new();
        copy_tree(&self.kept.home(), &world.home());
        let before = done(&world, self.event);
        let (call, error) = self.fault;
        let (trace, inject) = (
            format!("trace={call}"),
            format!("inject={call}:error={error}:when={number}"),
        );
        let log = world.path("calls");
        let wrapper = [
            "strace",
            "-f",
            "-qq",
            "-o",
            log.to_str().unwrap(),
            "-e",
            &trace,
            "-e",
            &inject,
        ];
        let ran = Ran::of(world.command_behind(&wrapper, self.args), self.stdin);
        let calls = String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
        if !calls.contains("INJECTED") {
            return None;
        }
        let about = format!("{self:?}, call {number}: {ran:?}");
        // Whoever comes next finds a home that works and a log that holds.
        world.ok(&["audit", "verify"], b"");
        let after = done(&world, self.event);
        world.ok(&["encrypt", "-f", "direct"], b"next");
        world.ok(&["audit", "verify"], b"");
        let is_done = ran.code == Some(0);
        if is_done {
            assert_eq!(after, before + 1, "no record: {about}");
            self.assert_done(&world, &ran, &about);
        } else {
            assert!(ran.code.is_some(), "{about}");
            // `write` is stdout itself, and the answer was recorded by then.
            assert!(
                self.event == "CreateKey" || call == "write" || ran.stdout.is_empty(),
                "{about}"
            );
            assert!(after <= before + 1, "{about}");
        }
        Some(is_done)
    }

    fn assert_done(&self, world: &World, ran: &Ran, about: &str) {
        let keys = world
            .run(&["key", "list", "--json"], b"")
            .exits(0)
            .json_lines();
        let state = |id: &str| {
            let key = keys.iter().find(|key| key["keyId"] == id);
            key.map(|key| key["state"].as_str().unwrap().to_owned())
        };
        match self.event {
            "CreateKey" => {
                let made = ran.json_lines()[0]["keyId"].as_str().unwrap().to_owned();
                assert_eq!(state(&made).as_deref(), Some("Enabled"), "{about}");
            }
            "DisableKey" => assert_eq!(state(self.args[2]).as_deref(), Some("Disabled"), "{about}"),
            "Encrypt" => assert_eq!(world.ok(&["decrypt"], &ran.stdout), TEXT, "{about}"),
            "Decrypt" => assert_eq!(ran.stdout, TEXT, "{about}"),
            _ => {}
        }
    }
}

/// How many requests of this name the log has that were done.
fn done(world: &World, event: &str) -> usize {
    let events = world.events();
    events.iter().filter(|found| *found == event).count()
}

fn may_trace() -> bool {
    Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=none", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
