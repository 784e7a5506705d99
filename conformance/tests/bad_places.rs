//! Inputs that cannot be read, disks that are full, homes that cannot be opened: through the
//! command, each its exit code and its two lines, and nothing lost.
//!
//! Permission bits are tried as nobody when the tests run as root. A full disk is a tmpfs in a
//! mount namespace of its own where that is permitted; `/dev/full` and a file size limit, which
//! need no rights, are tried everywhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use waxseal_conformance::refusal::{
    CONTEXT, PLAINTEXT, assert_told, refused, refused_behind, refused_plain, sealed_world,
};
use waxseal_conformance::world::OLD;
use waxseal_conformance::{Ran, World, program, promise, rights};

fn chmod(world: &World, name: &str, mode: u32) {
    fs::set_permissions(world.path(name), Permissions::from_mode(mode)).unwrap();
}

/// A world that permission bits bind: everything in it is nobody's, when we are root.
fn bound(world: &World) {
    if rights::is_root() {
        world.give_to(rights::NOBODY);
    }
}

/// Runs bound by permission bits.
fn run_bound(world: &World, args: &[&str]) -> Ran {
    match rights::bound() {
        [] => world.run(args, b""),
        wrapper => Ran::of(world.command_behind(wrapper, args), b""),
    }
}

#[test]
fn inputs_that_cannot_be_read() {
    let world = sealed_world();
    world.write("closed", PLAINTEXT);
    chmod(&world, "closed", 0o000);
    bound(&world);
    assert_eq!(
        run_bound(&world, &["encrypt", "plain"]).code,
        Some(0),
        "nobody may do the rest"
    );
    let by = rights::bound();
    refused_behind(by, &world, &["encrypt", "closed"], b"", 74);
    refused_behind(by, &world, &["decrypt", "closed"], b"", 74);
    // The output's directory is the same, and may not be written.
    fs::create_dir(world.path("shut")).unwrap();
    world.write("shut/out", OLD);
    bound(&world);
    chmod(&world, "shut", 0o555);
    let ran = run_bound(&world, &["encrypt", "-o", "shut/out", "plain"]).exits(74);
    assert_told(&ran);
    assert_eq!(
        (world.read("shut/out"), world.names("shut")),
        (OLD.to_vec(), vec!["out".into()])
    );
    promise("unreadable-input", "exit 74");
}

#[test]
fn a_full_disk_without_rights() {
    let world = sealed_world();
    let full = |args: &[&str]| {
        let mut command =
            world.command_behind(&["sh", "-c", "exec \"$0\" \"$@\" > /dev/full"], args);
        command.stdin(std::process::Stdio::null());
        Ran::of(command, b"")
    };
    let decrypt = [&["decrypt", "message"], CONTEXT].concat();
    for args in [
        &["encrypt", "plain"][..],
        &decrypt,
        &["inspect", "message"],
        &["key", "list"],
    ] {
        let ran = full(args).exits(74);
        assert_told(&ran);
    }
    // Files of at most 1 MiB (2,048 blocks of 512 bytes). SIGXFSZ is ignored: a write fails.
    world.write("large", vec![b'x'; 3 << 20]);
    let script = "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\"";
    world.write("out", OLD);
    let before = world.names(".");
    for args in [
        &["encrypt", "-o", "out", "large"][..],
        &["encrypt", "--no-sync", "-o", "out", "large"],
    ] {
        let command = world.command_behind(&["sh", "-c", script], args);
        assert_told(&Ran::of(command, b"").exits(74));
        assert_eq!(world.read("out"), OLD);
        assert_eq!(world.names("."), before);
    }
    promise(
        "full-disk-anywhere",
        "/dev/full and a file size limit: exit 74, old file untouched",
    );
}

/// Runs a script in a mount namespace of its own; `$waxseal` is the program.
fn in_namespace(world: &World, script: &str) -> Ran {
    let script = format!("set -e; {script}");
    let mut command = world.command_behind(&["unshare", "-m", "sh", "-c", &script], &[]);
    command.env("waxseal", program::binary());
    Ran::of(command, b"")
}

#[test]
fn a_full_disk_of_our_own() {
    if !rights::may_mount() {
        // `a_full_disk_without_rights` has tried what can be tried.
        promise("full-disk", "NOT TRIED on a tmpfs: no right to mount here");
        return;
    }
    let world = sealed_world();
    fs::create_dir(world.path("small")).unwrap();
    world.write("large", vec![b'x'; 3 << 20]);
    world.ok(&["encrypt", "-o", "large.wax", "large"], b"");
    for (args, stream) in [
        ("encrypt -o small/out large", false),
        ("encrypt --no-sync -o small/out large", false),
        ("decrypt -o small/out large.wax", false),
        ("encrypt -f secretbox -o small/out large", false),
        // Of unknown length: it is found out in the middle.
        ("encrypt -o small/out < large", true),
        ("decrypt -o small/out < large.wax", true),
    ] {
        let ran = in_namespace(
            &world,
            &format!(
                "mount -t tmpfs -o size=1m tmpfs small; printf old > small/out; code=0; \
                 $waxseal {args} || code=$?; test \"$(cat small/out)\" = old; ls -A small; exit $code"
            ),
        )
        .exits(74);
        assert_told(&ran);
        assert_eq!(
            ran.text(),
            "out\n",
            "left behind by {args} (stream: {stream})"
        );
    }
    promise(
        "full-disk",
        "6 commands onto a tmpfs of 1 MiB: exit 74, old file untouched, no debris",
    );
}

/// A full disk for the audit log: no key is used without its record.
#[test]
fn a_full_audit_disk() {
    if !rights::may_mount() {
        // `an_audit_log_that_cannot_grow` has tried what can be tried.
        promise(
            "full-audit-disk",
            "NOT TRIED on a tmpfs: no right to mount here",
        );
        return;
    }
    let world = sealed_world();
    let before = world.verified().records;
    world.write("large", vec![0; 512 << 10]);
    // The last block of the log has room for some more records: each use until then is recorded.
    let ran = in_namespace(
        &world,
        "cp -a home/audit log; mount -t tmpfs -o size=512k,mode=700 tmpfs home/audit; \
         cp -a log/. home/audit/; cp large home/audit/filler 2>/dev/null || true; \
         uses=0; code=0; \
         while test $uses -lt 40; do \
           code=0; $waxseal decrypt -c purpose=testing direct > got 2> told || code=$?; \
           test $code -eq 0 || break; uses=$((uses + 1)); \
         done; \
         rm -rf failed; cp -a home/audit failed; \
         code2=0; $waxseal encrypt plain > got2 2> told2 || code2=$?; \
         code3=0; $waxseal key create > got3 2> told3 || code3=$?; \
         rm home/audit/filler; $waxseal decrypt -c purpose=testing message > got4; \
         $waxseal key list > keys; \
         $waxseal audit verify > verified; cp -a home/audit after; \
         echo $uses $code $code2 $code3",
    )
    .exits(0);
    let numbers: Vec<u64> = ran
        .text()
        .split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect();
    let [uses, decrypt, encrypt, create] = numbers[..] else {
        panic!("{ran:?}")
    };
    assert_eq!((decrypt, encrypt, create), (74, 74, 74), "{}", ran.text());
    for name in ["got", "got2", "got3"] {
        assert_eq!(
            world.read(name),
            b"",
            "{name}: an answer without its record"
        );
    }
    for name in ["told", "told2", "told3"] {
        let told = String::from_utf8(world.read(name)).unwrap();
        assert_eq!(told.lines().count(), 2, "{told}");
    }
    let verify = |name| waxseal_kms::audit::verify(&world.path(name)).unwrap();
    assert_eq!(
        verify("failed").records,
        before + uses,
        "a record for each answered use"
    );
    assert_eq!(
        world.read("got4"),
        PLAINTEXT,
        "with room again, keys are used again"
    );
    assert!(verify("after").records > before + uses);
    assert_eq!(
        String::from_utf8(world.read("keys"))
            .unwrap()
            .lines()
            .count(),
        1,
        "one key still"
    );
    promise(
        "full-audit-disk",
        format!("{uses} uses recorded, then exit 74 and nothing answered"),
    );
}

/// The same without rights: files end at 32 KiB, which is what SQLite needs beside its store.
#[test]
fn an_audit_log_that_cannot_grow() {
    let world = sealed_world();
    let before = world.verified().records;
    let script = "trap '' XFSZ; ulimit -f 64; uses=0; code=0; \
                  while test $uses -lt 100; do \
                    code=0; \"$0\" decrypt -c purpose=testing direct > got 2> told || code=$?; \
                    test $code -eq 0 || break; uses=$((uses + 1)); \
                  done; echo $uses $code";
    let ran = Ran::of(world.command_behind(&["sh", "-c", script], &[]), b"").exits(0);
    let numbers: Vec<u64> = ran
        .text()
        .split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect();
    let [uses, code] = numbers[..] else {
        panic!("{ran:?}")
    };
    assert_eq!(code, 74, "after {uses} uses");
    assert!(uses > 5, "it was the log that was full");
    assert_eq!(world.read("got"), b"", "an answer without its record");
    assert_eq!(
        world.verified().records,
        before + uses,
        "a record for each answered use"
    );
    let decrypt = [&["decrypt", "direct"], CONTEXT].concat();
    assert_eq!(
        world.ok(&decrypt, b""),
        PLAINTEXT,
        "with room again, keys are used again"
    );
    assert_eq!(world.verified().records, before + uses + 1);
    promise(
        "full-audit-file",
        format!("{uses} uses recorded, then exit 74 and nothing answered"),
    );
}

#[test]
fn passphrases() {
    let world = World::new();
    let file = world.write("passphrase", "correct horse battery staple\n");
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let world = world.with("WAXSEAL_PASSPHRASE_FILE", &file);
    world.write("plain", PLAINTEXT);
    world.ok(&["encrypt", "-o", "message", "plain"], b"");
    assert!(
        !world.path("home/root.key").exists(),
        "the passphrase is the root"
    );
    assert_eq!(world.ok(&["decrypt", "message"], b""), PLAINTEXT);
    world.write("passphrase", "correct horse battery staple");
    assert_eq!(
        world.ok(&["decrypt", "message"], b""),
        PLAINTEXT,
        "a line end does not count"
    );
    for wrong in [
        "correct horse battery stapl",
        "Correct horse battery staple\n",
        " ",
    ] {
        world.write("passphrase", wrong);
        refused(&world, &["decrypt", "message"], b"", 4);
        refused(&world, &["encrypt", "plain"], b"", 4);
    }
    for none in ["", "\n"] {
        world.write("passphrase", none);
        refused(&world, &["decrypt", "message"], b"", 78);
    }
    world.write("passphrase", vec![b'x'; 5000]);
    refused(&world, &["decrypt", "message"], b"", 78);
    world.write("passphrase", "correct horse battery staple");
    for mode in [0o640, 0o604] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        refused(&world, &["decrypt", "message"], b"", 78);
    }
    fs::remove_file(&file).unwrap();
    refused(&world, &["decrypt", "message"], b"", 78);
    // Without a file it would ask on the terminal; a session of its own has none.
    let world = world.with("WAXSEAL_PASSPHRASE_FILE", "");
    refused_behind(
        &["setsid", "--wait"],
        &world,
        &["decrypt", "message"],
        b"",
        78,
    );
    let fresh = World::new().with("WAXSEAL_ROOT", "passphrase");
    let command = fresh.command_behind(&["setsid", "--wait"], &["encrypt"]);
    assert_told(&Ran::of(command, PLAINTEXT).exits(78));
    promise(
        "passphrases",
        "right 0, wrong 4, missing or open to others 78",
    );
}

#[test]
fn stores_of_another_time() {
    // The SQLite header holds `user_version` in its bytes 60 to 63 and `application_id` in its
    // bytes 68 to 71 (SQLite file format, section 1.3).
    for (at, what) in [(63, "a newer version"), (71, "another application")] {
        let world = sealed_world();
        let mut store = world.read("home/store.db");
        store[at] = store[at].wrapping_add(1);
        world.write("home/store.db", &store);
        refused(&world, &["encrypt", "plain"], b"", 78);
        refused(
            &world,
            &[&["decrypt", "message"], CONTEXT].concat(),
            b"",
            78,
        );
        refused_plain(&world, &["key", "list"], b"", 78);
        assert_eq!(
            world.read("home/store.db"),
            store,
            "{what}: the store is left as it is"
        );
    }
    let world = sealed_world();
    world.write(
        "home/store.db",
        b"not a database, but somebody's notes for next week\n".repeat(99),
    );
    refused(&world, &["encrypt", "plain"], b"", 78);
    promise("store-of-newer-version", "exit 78, the store left as it is");
}

#[test]
fn homes_that_cannot_be_opened() {
    let world = sealed_world();
    let decrypt = [&["decrypt", "message"], CONTEXT].concat();
    for mode in [0o644, 0o640, 0o604, 0o660] {
        chmod(&world, "home/root.key", mode);
        refused(&world, &decrypt, b"", 78);
        refused(&world, &["encrypt", "plain"], b"", 78);
    }
    chmod(&world, "home/root.key", 0o600);
    assert_eq!(world.ok(&decrypt, b""), PLAINTEXT);

    let key = world.read("home/root.key");
    let other = sealed_world().read("home/root.key");
    for wrong in [&other[..], &key[..31], &[&key[..], b"\n"].concat(), b""] {
        world.write("home/root.key", wrong);
        refused(&world, &decrypt, b"", 78);
        refused(&world, &["encrypt", "plain"], b"", 78);
        assert_eq!(world.read("home/root.key"), wrong, "it is left as it is");
    }
    fs::remove_file(world.path("home/root.key")).unwrap();
    refused(&world, &decrypt, b"", 78);
    refused(&world, &["encrypt", "plain"], b"", 78);
    assert!(
        !world.path("home/root.key").exists(),
        "no new root for an old store"
    );
    world.write("home/root.key", &key);
    chmod(&world, "home/root.key", 0o400);
    assert_eq!(
        world.ok(&decrypt, b""),
        PLAINTEXT,
        "a key that cannot be written is enough"
    );

    // A file where the home should be; a home that may not be made.
    let world = World::new();
    world.write("home", "a file");
    let encrypt = Ran::of(world.command(&["encrypt"]), PLAINTEXT).exits(74);
    assert_told(&encrypt);
    let world = World::new().with("WAXSEAL_HOME", "/proc/no/such/home");
    assert_told(&Ran::of(world.command(&["encrypt"]), PLAINTEXT).exits(74));
    promise(
        "root-key",
        "weak mode, missing, of another home or length: exit 78, left as it is",
    );
}

#[test]
fn a_home_that_may_only_be_read() {
    let world = sealed_world();
    bound(&world);
    assert_eq!(
        run_bound(&world, &["key", "list"]).code,
        Some(0),
        "nobody may use this home"
    );
    for (name, mode) in [("home/audit", 0o500), ("home", 0o500)] {
        chmod(&world, name, mode);
    }
    for directory in ["home", "home/audit"] {
        for name in world.names(directory) {
            if !world.path(directory).join(&name).is_dir() {
                chmod(&world, &format!("{directory}/{name}"), 0o400);
            }
        }
    }
    let before: Vec<_> = world.names("home");
    let by = rights::bound();
    refused_behind(
        by,
        &world,
        &[&["decrypt", "message"], CONTEXT].concat(),
        b"",
        74,
    );
    refused_behind(by, &world, &["encrypt", "plain"], b"", 74);
    assert_eq!(world.names("home"), before);
    // What is only read can be read.
    assert_eq!(run_bound(&world, &["audit", "verify"]).code, Some(0));
    if rights::may_mount() {
        let world = sealed_world();
        let script = "mount --bind home home; mount -o remount,ro,bind home; \
                      exec $waxseal decrypt -c purpose=testing message";
        let ran = in_namespace(&world, script).exits(74);
        assert_told(&ran);
        assert_eq!(ran.stdout, b"");
    }
    let mounted = match rights::may_mount() {
        true => "and by a read-only mount",
        false => "(a read-only mount NOT TRIED: no right to mount here)",
    };
    promise(
        "read-only-home",
        format!("by permission bits {mounted}: exit 74"),
    );
}
