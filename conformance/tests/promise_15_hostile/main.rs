//! Bytes of every evil kind against a server: bodies that are no JSON or too much of it, values of the
//! wrong kind for every member of every operation, policies, grants, ciphertexts, public keys and
//! attestation documents that are none, heads that are no HTTP, and requests with anything altered.
//!
//! Each is answered with an error that clients know, or, where it is no HTTP, refused by the protocol;
//! none with an error of the server's own, none by a panic, none without its record where it became a
//! request. Memory stays bounded, and afterwards everything works.
//!
//! What stands at the edges of the model's constraints is in `conformance/interop/py/kms_bounds.py`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod altered;
mod ciphertexts;
mod heads;
mod json;
mod services;
mod strangers;
mod support;

use access::{grants, policies};
use altered::altered;
use ciphertexts::{ciphertexts, structures};
use heads::heads;
use json::{bodies, values};
use services::other_services;
use std::collections::HashSet;
use std::time::Duration;
use strangers::strangers;
use support::{Attack, Keys, assert_no_panic};
use waxseal_conformance::world::quick_place;
use waxseal_conformance::{Dice, Served, World, promise};
use waxseal_kms::audit;

/// The promise on a machine of its own.
const PROMISED: Duration = Duration::from_millis(10);
/// What may be added to the memory of the server, in KiB, whatever it is sent: keys that were made on
/// the way are in it.
const GROWTH_KIB_MAX: u64 = 64 * 1024;
/// The longest answer that a body as long as it may be can have.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

#[test]
fn whatever_comes_is_answered_as_it_should_be() {
    let (mut dice, seed) = Dice::new(0x5ea1_1515);
    let world = World::new();
    let place = quick_place();
    let data = place.path().join("data");
    let data = data.to_str().unwrap().to_owned();
    // Without a root no attestation document is looked at.
    let root = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../crates/kms/tests/data/customer-ca.pem"
    );
    let more = ["--dev", "--data", &data, "--attestation-root", root];
    let mut server = Served::start(&world, &more);
    // So that what is needed anyway is there.
    for _ in 0..50 {
        assert_eq!(Keys::new(&server).opened(&server), b"text");
    }
    let before = server.resident_kib("VmRSS");
    let mut attack = Attack::new(&server);
    bodies(&mut attack);
    values(&mut attack);
    let keys = Keys::new(&server);
    policies(&mut attack, &keys);
    grants(&mut attack, &keys);
    ciphertexts(&mut attack, &keys, &mut dice);
    structures(&mut attack, &keys);
    other_services(&mut attack);
    heads(&mut attack);
    altered(&mut attack, &keys, &mut dice);
    let (after, most) = (server.resident_kib("VmRSS"), server.resident_kib("VmHWM"));
    assert_eq!(keys.opened(&server), b"text", "it works as before");
    let count = attack.count();
    let Attack {
        mut took,
        ids,
        kinds,
        by_protocol,
        done,
        longest,
        faults,
        ..
    } = attack;
    assert_eq!(server.end_by("TERM").code(), Some(0));
    assert_no_panic(&world);
    assert!(
        after.saturating_sub(before) < GROWTH_KIB_MAX && most < before + 2 * GROWTH_KIB_MAX,
        "{before} KiB, then {after}, at most {most}"
    );
    let log = std::path::Path::new(&data).join("audit");
    audit::verify(&log).unwrap();
    let recorded: HashSet<String> = audit::records(&log)
        .map(|record| record.unwrap().event().unwrap()["requestID"].clone())
        .filter_map(|id| id.as_str().map(str::to_owned))
        .collect();
    took.sort();
    println!("{kinds:?}; the longest answer has {longest:?}; the slowest:");
    for (time, what) in took.iter().rev().take(12) {
        println!("{time:.1?} {what}");
    }
    assert!(
        faults.is_empty(),
        "seed {seed}, {} faults:\n{}",
        faults.len(),
        faults[..faults.len().min(20)].join("\n")
    );
    assert!(longest.0 < ANSWER_BYTES_MAX, "{longest:?}");
    let missing: Vec<_> = ids
        .iter()
        .filter(|(id, _)| !recorded.contains(*id))
        .collect();
    assert!(missing.is_empty(), "without a record: {missing:?}");
    let strangers = strangers(&mut dice);
    let within = took.partition_point(|(time, _)| *time <= PROMISED);
    promise(
        "15",
        format!(
            "{count} hostile requests of {} kinds (seed {seed}): {} refused, {by_protocol} of them by the \
             protocol, {done} harmless, {} recorded; {:.2} % of the refusals within {PROMISED:?}, 99.9 % \
             within {:.1?}, all within {:.1?}; {} MiB of memory more; {strangers}",
            kinds.len(),
            took.len(),
            ids.len(),
            100.0 * within as f64 / took.len() as f64,
            took[took.len() * 999 / 1000].0,
            took[took.len() - 1].0,
            after.saturating_sub(before).div_ceil(1024),
        ),
    );
}
