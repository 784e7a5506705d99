//! Sixteen processes at once on a home that does not exist yet: one key, one alias, every use
//! recorded, nobody fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};
use waxseal_conformance::{Ran, World, campaign, promise};

const PROCESSES: usize = 16;

#[test]
fn sixteen_at_once_on_a_fresh_home() {
    let rounds = campaign(4);
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        slowest = slowest.max(one_round(round));
    }
    promise(
        "sixteen-at-once",
        format!("{rounds} rounds of {PROCESSES}, slowest {slowest:.1?}"),
    );
}

fn one_round(round: usize) -> Duration {
    let world = World::new();
    let begin = Instant::now();
    let sealed = at_once(|number| {
        // Formats mix: each of the three asks the engine for something else.
        let format = ["message", "secretbox", "direct"][number % 3];
        world.run(&["encrypt", "-f", format], text(number).as_bytes())
    });
    let took = begin.elapsed();
    for ran in &sealed {
        assert_eq!(
            ran.code,
            Some(0),
            "round {round}: {} {}",
            ran.line,
            ran.stderr
        );
        assert_eq!(ran.stderr, "", "round {round}");
    }
    assert_one_key(&world);
    assert_uses(&world, 11, 5, 0);

    // Half of them read what the others wrote, while the others write on.
    let mixed = at_once(|number| match number % 2 {
        0 => world.run(&["decrypt"], &sealed[number].stdout),
        _ => world.run(&["encrypt"], text(number).as_bytes()),
    });
    for (number, ran) in mixed.iter().enumerate() {
        assert_eq!(
            ran.code,
            Some(0),
            "round {round}: {} {}",
            ran.line,
            ran.stderr
        );
        if number % 2 == 0 {
            assert_eq!(ran.text(), text(number));
        } else {
            assert_eq!(world.ok(&["decrypt"], &ran.stdout), text(number).as_bytes());
        }
    }
    assert_one_key(&world);
    assert_uses(&world, 11 + 8, 5, 8 + 8);
    took
}

fn text(number: usize) -> String {
    format!("secret number {number}\n")
}

fn at_once(run: impl Fn(usize) -> Ran + Sync) -> Vec<Ran> {
    let run = &run;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..PROCESSES)
            .map(|number| scope.spawn(move || run(number)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}

fn assert_one_key(world: &World) {
    let keys = world
        .run(&["key", "list", "--json"], b"")
        .exits(0)
        .json_lines();
    assert_eq!(keys.len(), 1, "{keys:?}");
    let aliases = keys[0]["aliases"].as_array().expect("a list of aliases");
    assert_eq!(aliases, &["alias/default"]);
}

/// How often keys were used: no use is missing from the log, none stands in it twice.
fn assert_uses(world: &World, generated: usize, encrypted: usize, decrypted: usize) {
    world.ok(&["audit", "verify"], b"");
    assert!(world.verified().torn_tail.is_none());
    let events = world.events();
    let count = |name: &str| events.iter().filter(|event| *event == name).count();
    assert_eq!(count("GenerateDataKey"), generated, "{events:?}");
    assert_eq!(count("Encrypt"), encrypted);
    assert_eq!(count("Decrypt"), decrypted);
    assert_eq!(count("CreateKey"), 1);
    assert_eq!(count("CreateAlias"), 1);
    let failed: Vec<_> = events.iter().filter(|event| event.contains(':')).collect();
    assert!(failed.is_empty(), "{failed:?}");
}
