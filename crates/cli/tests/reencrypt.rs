//! `reencrypt`: new data key, other recipients, same plaintext; the old file or the new one.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;
use support::{Outcome, Place, noise};

/// From the key `key` to the key `other`.
fn reencrypt(place: &Place, more: &[&str]) -> Outcome {
    let arguments = [
        "reencrypt",
        "--from-key",
        "raw-aes:key",
        "-k",
        "raw-aes:other",
    ];
    place.run(&[&arguments[..], more].concat(), b"")
}

fn opened_by_other(place: &Place, name: &str) -> Outcome {
    place.run(&["decrypt", "-k", "raw-aes:other", "-o", "-", name], b"")
}

fn facts(place: &Place, name: &str) -> serde_json::Value {
    let outcome = place.run(&["inspect", "--json", name], b"").ok();
    serde_json::from_slice(outcome.stdout()).unwrap()
}

#[test]
fn the_plaintext_stays_and_all_else_is_new() {
    let place = Place::new();
    for (bytes, from, to) in [
        (0, &[][..], &[][..]),
        (10, &["--signed"], &[]),
        (
            100_000,
            &["--frame", "4KiB"],
            &["--signed", "--frame", "1000"],
        ),
        (3_000_000, &[], &["--frame", "1MiB"]),
    ] {
        let plaintext = noise(bytes);
        place.write("old", place.sealed(&plaintext, from));
        reencrypt(&place, &[to, &["-o", "new", "old"]].concat()).ok();
        assert!(opened_by_other(&place, "new").ok().stdout() == plaintext);
        let (old, new) = (facts(&place, "old"), facts(&place, "new"));
        assert_ne!(old["message_id"], new["message_id"]);
        assert_eq!(new["signed"], to.contains(&"--signed"));
        let recipients = new["encrypted_data_keys"].as_array().unwrap();
        assert_eq!(recipients.len(), 1);
        // The old recipients are out.
        let old_key = ["decrypt", "-k", "raw-aes:key", "new"];
        place.run(&old_key, b"").refused(4, "no key given");
    }
}

#[test]
fn unsigned_messages_go_through_pipes() {
    let place = Place::new();
    let plaintext = noise(1_000_000);
    let sealed = place.sealed(&plaintext, &[]);
    let arguments = [
        "reencrypt",
        "--from-key",
        "raw-aes:key",
        "-k",
        "raw-aes:other",
    ];
    let new = place.run(&arguments, &sealed).ok();
    place.write("new", new.stdout());
    assert!(opened_by_other(&place, "new").ok().stdout() == plaintext);
    let signed = place.sealed(&plaintext, &["--signed"]);
    place.run(&arguments, &signed).refused(2, "is signed");
}

#[test]
fn the_context_is_kept_and_changed_by_name() {
    let place = Place::new();
    let sealed = place.sealed(b"text", &["-c", "a=1", "-c", "b=2", "--signed"]);
    place.write("old", sealed);
    reencrypt(&place, &["-c", "b=3", "-c", "c=4", "-o", "new", "old"]).ok();
    let context = facts(&place, "new")["context"].clone();
    let expected = serde_json::json!({"a": "1", "b": "3", "c": "4"});
    assert_eq!(context, expected);
    reencrypt(&place, &["--signed", "-o", "signed", "old"]).ok();
    let context = facts(&place, "signed")["context"].clone();
    assert_eq!((&context["a"], &context["b"]), (&"1".into(), &"2".into()));
    let key = |name: &str| facts(&place, name)["context"]["aws-crypto-public-key"].clone();
    assert_ne!(key("old"), key("signed"));
    // What is demanded of the old message.
    reencrypt(&place, &["--from-context", "a=1", "-o", "new", "old"]).ok();
    let other = ["--from-context", "a=2", "-o", "new", "old"];
    reencrypt(&place, &other).refused(7, "context");
    reencrypt(&place, &["-c", "aws-crypto-x=1", "-o", "new", "old"]).refused(2, "reserved");
}

#[test]
fn in_place_the_file_is_replaced_and_keeps_its_permissions() {
    let place = Place::new();
    let plaintext = noise(300_000);
    for mode in [0o600, 0o644, 0o640] {
        let path = place.write("file", place.sealed(&plaintext, &["--signed"]));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let outcome = reencrypt(&place, &["--in-place", "file"]).ok();
        assert_eq!(outcome.stderr(), "");
        assert!(opened_by_other(&place, "file").ok().stdout() == plaintext);
        let now = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(now & 0o777, mode);
    }
    assert_eq!(place.names("."), ["file", "key", "other"]);
}

#[test]
fn what_fails_in_place_is_left_as_it_was() {
    let place = Place::new();
    for more in [&[][..], &["--signed"]] {
        let mut sealed = place.sealed(&noise(300_000), more);
        let last = sealed.len() - 1;
        sealed[last] ^= 1;
        place.write("file", &sealed);
        reencrypt(&place, &["--in-place", "file"]).refused(3, "not authentic");
        assert!(place.read("file") == sealed);
        place.write("file", &sealed[..last]);
        reencrypt(&place, &["--in-place", "file"]).refused(3, "truncated");
        place.write("file", b"a note");
        reencrypt(&place, &["--in-place", "file"]).refused(3, "no format");
        assert_eq!(place.read("file"), b"a note");
    }
    place.write("file", place.sealed(b"text", &[]));
    let before = place.read("file");
    let unknown = [
        "reencrypt",
        "--from-key",
        "raw-aes:other",
        "-k",
        "raw-aes:key",
        "--in-place",
    ];
    place
        .run(&[&unknown[..], &["file"]].concat(), b"")
        .refused(4, "no key given");
    assert_eq!(place.read("file"), before);
    assert_eq!(place.names("."), ["file", "key", "other"]);
}

#[test]
fn trees_are_done_in_place_or_into_a_directory() {
    let place = Place::new();
    for name in ["tree/a.wax", "tree/b", "tree/sub/c.wax"] {
        place.write(name, place.sealed(name.as_bytes(), &[]));
    }
    let outcome = reencrypt(&place, &["-r", "-o", "out", "tree"]).ok();
    assert!(outcome.stderr().contains("3 files done"));
    reencrypt(&place, &["-r", "--in-place", "tree"]).ok();
    for name in ["tree/a.wax", "tree/b", "tree/sub/c.wax"] {
        assert_eq!(opened_by_other(&place, name).ok().stdout(), name.as_bytes());
        let copy = format!("out/{name}");
        assert_eq!(
            opened_by_other(&place, &copy).ok().stdout(),
            name.as_bytes()
        );
    }
    // A failure of one is told, and the others go on.
    place.write("tree/note", "a note");
    let arguments = [
        "reencrypt",
        "-k",
        "raw-aes:key",
        "--from-key",
        "raw-aes:other",
        "-r",
    ];
    let outcome = place.run(&[&arguments[..], &["--in-place", "tree"]].concat(), b"");
    assert!(outcome.exits(3).stderr().contains("1 of 4 files failed"));
    let opened = place
        .run(&["decrypt", "-k", "raw-aes:key", "tree/b"], b"")
        .ok();
    assert_eq!(opened.stdout(), b"tree/b");
    assert_eq!(place.read("tree/note"), b"a note");
}

#[test]
fn what_was_not_said_is_not_guessed() {
    let place = Place::new();
    place.write("file", place.sealed(b"text", &[]));
    place
        .run(&["reencrypt", "--in-place", "file"], b"")
        .refused(2, "no key was named");
    reencrypt(&place, &["file", "key"]).refused(2, "where several files");
    reencrypt(&place, &["-r", "."]).refused(2, "where several files");
    reencrypt(&place, &["--in-place"]).refused(2, "stdin");
    reencrypt(&place, &["--in-place", "-"]).refused(2, "stdin");
    reencrypt(&place, &["--in-place", "-o", "x", "file"]).exits(2);
    reencrypt(&place, &["--rewrap", "--in-place", "file"]).refused(8, "second header");
}

#[test]
fn base64_is_read_and_written() {
    let place = Place::new();
    place.write("file", place.sealed(b"text", &["--base64"]));
    reencrypt(&place, &["--in-place", "file"]).refused(2, "base64");
    reencrypt(&place, &["-o", "binary", "file"]).ok();
    assert_eq!(opened_by_other(&place, "binary").ok().stdout(), b"text");
    reencrypt(&place, &["--in-place", "--base64", "file"]).ok();
    assert!(place.read("file").is_ascii());
    assert_eq!(opened_by_other(&place, "file").ok().stdout(), b"text");
}

/// The other formats need a key service, of which the embedded one is at hand.
#[test]
fn other_formats_become_messages() {
    let place = Place::new();
    for format in ["direct", "secretbox"] {
        let sealing = ["encrypt", "-f", format, "-c", "a=1"];
        let sealed = place.run(&sealing, b"text").ok().0.stdout;
        place.write("old", sealed);
        let reencrypt = |more: &[&str]| {
            let arguments = ["reencrypt", "-k", "raw-aes:other", "-o", "new", "old"];
            place.run(&[&arguments[..], more].concat(), b"")
        };
        reencrypt(&[]).exits(3);
        reencrypt(&["--from-context", "a=1"]).ok();
        assert_eq!(opened_by_other(&place, "new").ok().stdout(), b"text");
        let facts = facts(&place, "new");
        assert_eq!(facts["suite"], "0x0478");
        assert_eq!(facts["context"], serde_json::json!({"a": "1"}));
    }
}

#[test]
fn suites_without_commitment_are_upgraded() {
    let place = Place::new();
    let plaintext = noise(10_000);
    let forbid = ["--commitment-policy", "forbid-encrypt-allow-decrypt"];
    for suite in ["0x0014", "0x0178", "0x0378"] {
        let old = place.sealed(&plaintext, &[&["--suite", suite], &forbid[..]].concat());
        place.write("file", &old);
        reencrypt(&place, &["--in-place", "file"]).exits(8);
        assert!(place.read("file") == old);
        let allow = ["--commitment-policy", "require-encrypt-allow-decrypt"];
        reencrypt(&place, &[&allow[..], &["--in-place", "file"]].concat()).ok();
        assert!(opened_by_other(&place, "file").ok().stdout() == plaintext);
        assert_eq!(facts(&place, "file")["suite"], "0x0478");
    }
}

#[test]
fn what_was_not_stored_is_not_stored_again() {
    let place = Place::new();
    let sealed = place.sealed(b"text", &["-c", "a=1", "--required-context", "tenant=7"]);
    place.write("old", sealed);
    reencrypt(&place, &["-o", "new", "old"]).exits(3);
    reencrypt(&place, &["--from-context", "tenant=7", "-o", "new", "old"]).ok();
    let context = facts(&place, "new")["context"].clone();
    assert_eq!(context, serde_json::json!({"a": "1"}));
    opened_by_other(&place, "new").exits(3);
    let opened = ["decrypt", "-k", "raw-aes:other", "-c", "tenant=7", "new"];
    assert_eq!(place.run(&opened, b"").ok().stdout(), b"text");
    // Given anew, it is stored.
    let stored = [
        "--from-context",
        "tenant=7",
        "-c",
        "tenant=7",
        "-o",
        "new",
        "old",
    ];
    reencrypt(&place, &stored).ok();
    assert_eq!(opened_by_other(&place, "new").ok().stdout(), b"text");
}

#[test]
fn a_kill_leaves_the_old_or_the_new() {
    let place = Place::new();
    let plaintext = noise(24 << 20);
    let old = place.sealed(&plaintext, &[]);
    let (mut olds, mut news) = (0, 0);
    for round in 0..40_u64 {
        place.write("file", &old);
        let mut child = place
            .waxseal()
            .args([
                "reencrypt",
                "--from-key",
                "raw-aes:key",
                "-k",
                "raw-aes:other",
            ])
            .args(["--in-place", "--no-sync", "file"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(round));
        child.kill().unwrap();
        child.wait().unwrap();
        if place.read("file") == old {
            olds += 1;
        } else {
            news += 1;
            assert!(opened_by_other(&place, "file").ok().stdout() == plaintext);
        }
        for name in place.names(".") {
            let left = name.starts_with(".file.waxseal-");
            assert!(
                left || ["file", "key", "other"].contains(&name.as_str()),
                "{name}"
            );
        }
    }
    assert!(olds > 0, "{olds} {news}");
}
