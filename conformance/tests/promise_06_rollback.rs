//! An older copy of the store, or of the audit log, in its place: refused, unless it is accepted in so
//! many words, which is recorded. Copies of both together, and backups, open as they are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::fs;
use waxseal_conformance::world::copy_tree;
use waxseal_conformance::{Dice, World, promise, tier};

#[test]
fn older_copies_are_refused() {
    let snapshots = tier(50, 500);
    let (mut dice, seed) = Dice::new(0x5ea1_0006);
    let world = World::new();
    world.ok(&["encrypt", "-f", "direct"], b"first");
    let key = created(&world);
    let mut uses = 0;
    for number in 0..snapshots {
        change(&world, &key, &mut dice);
        // Uses that change nothing, before and behind the copy.
        for _ in 0..dice.below(3) {
            world.ok(&["encrypt", "-f", "direct"], b"before");
            uses += 1;
        }
        keep(&world, number);
        for _ in 0..dice.below(2) {
            world.ok(&["encrypt", "-f", "direct"], b"behind");
            uses += 1;
        }
    }
    keep(&world, snapshots);
    let (mut stores, mut logs, mut both) = (0, 0, 0);
    for number in 0..snapshots {
        let is_newest = number + 1 == snapshots;
        put_back(&world, number, "store.db");
        match is_newest {
            // Nothing was changed since.
            true => drop(world.ok(&["key", "list"], b"")),
            false => stores += refused(&world, "an older copy took the store's place"),
        }
        put_back(&world, snapshots, "store.db");
        // A copy in which nothing was changed since is one that lost records of uses alone: `tend` of a
        // server notices those, and the digests of the trail.
        if !is_newest {
            put_back(&world, number, "audit");
            logs += refused(&world, "lost its end");
        }
        put_back(&world, number, "store.db");
        put_back(&world, number, "audit");
        world.ok(&["key", "list"], b"");
        both += 1;
        put_back(&world, snapshots, "store.db");
        put_back(&world, snapshots, "audit");
        world.ok(&["key", "list"], b"");
        keep(&world, snapshots);
    }
    promise(
        "06",
        format!(
            "{snapshots} copies (seed {seed}, {uses} uses between them): {stores} older stores and {logs} \
             older logs refused with exit 3, {both} whole homes opened"
        ),
    );
}

#[test]
fn an_accepted_rollback_is_recorded() {
    for part in ["store.db", "audit"] {
        let world = World::new();
        let key = created(&world);
        keep(&world, 0);
        world.ok(&["key", "disable", &key], b"");
        put_back(&world, 0, part);
        refused(&world, "took");
        world.ok(&["audit", "accept-rollback"], b"");
        let accepted = |world: &World| {
            let events = world.ok(&["audit", "list", "--json"], b"");
            let events = String::from_utf8(events).unwrap();
            let events = events
                .lines()
                .map(|line| serde_json::from_str(line).unwrap());
            let events = events.filter(|event: &Value| event["eventName"] == "AcceptRollback");
            events.collect::<Vec<_>>()
        };
        let told = accepted(&world);
        assert_eq!(told.len(), 1, "{part}");
        let what = told[0]["requestParameters"]["accepted"].as_str().unwrap();
        assert!(what.contains("took"), "{what}");
        // From here on they belong together, and there is nothing more to accept.
        world.ok(&["key", "enable", &key], b"");
        world.ok(&["audit", "accept-rollback"], b"");
        assert_eq!(accepted(&world).len(), 1);
        world.ok(&["audit", "verify"], b"");
        keep(&world, 1);
        world.ok(&["key", "disable", &key], b"");
        put_back(&world, 1, part);
        refused(&world, "took");
    }
}

#[test]
fn a_restored_backup_is_no_rollback() {
    let world = World::new();
    let key = created(&world);
    world.ok(&["key", "disable", &key], b"");
    world.ok(&["backup", "-o", "copy.tar"], b"");
    let root = world.read("home/root.key");
    world.ok(&["key", "enable", &key], b"");
    fs::remove_dir_all(world.home()).unwrap();
    world.ok(&["restore", "copy.tar"], b"");
    fs::write(world.path("home/root.key"), root).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(world.path("home/root.key"), mode).unwrap();
    world.ok(&["key", "list"], b"");
    world.ok(&["key", "enable", &key], b"");
    world.ok(&["audit", "verify"], b"");
}

/// A store that is gone is not begun anew where a log speaks of another.
#[test]
fn a_store_that_is_gone_is_missed() {
    let world = World::new();
    created(&world);
    for name in ["store.db", "store.db-wal", "store.db-shm"] {
        let _ = fs::remove_file(world.home().join(name));
    }
    refused(&world, "an older copy took the store's place");
}

fn created(world: &World) -> String {
    let made = world
        .run(&["key", "create", "--json"], b"")
        .exits(0)
        .json_lines();
    let id = made[0]["keyId"].as_str().or_else(|| made[0]["id"].as_str());
    id.unwrap_or_else(|| panic!("{made:?}")).to_owned()
}

fn change(world: &World, key: &str, dice: &mut Dice) {
    match dice.below(3) {
        0 => drop(world.ok(&["key", "disable", key], b"")),
        1 => drop(world.ok(&["key", "enable", key], b"")),
        _ => drop(world.ok(&["key", "create"], b"")),
    }
}

/// Whoever opens it is told, with exit code 3.
#[track_caller]
fn refused(world: &World, what: &str) -> usize {
    let ran = world.run(&["key", "list"], b"").exits(3);
    assert!(ran.stderr.contains(what), "{}", ran.stderr);
    assert_eq!(ran.stdout, b"");
    1
}

fn keep(world: &World, number: usize) {
    let kept = world.path(&format!("kept-{number}"));
    let _ = fs::remove_dir_all(&kept);
    copy_tree(&world.home(), &kept);
}

fn put_back(world: &World, number: usize, name: &str) {
    let (from, to) = (world.path(&format!("kept-{number}")), world.home());
    match name {
        "audit" => {
            fs::remove_dir_all(to.join(name)).unwrap();
            copy_tree(&from.join(name), &to.join(name));
        }
        _ => {
            for suffix in ["", "-wal", "-shm"] {
                let name = format!("{name}{suffix}");
                let _ = fs::remove_file(to.join(&name));
                if from.join(&name).exists() {
                    fs::copy(from.join(&name), to.join(&name)).unwrap();
                }
            }
        }
    }
}
