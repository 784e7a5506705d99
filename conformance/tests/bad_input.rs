//! Bad data and keys that cannot be used, through the command. Each case runs over an existing
//! output, to stdout and with `--json`: its exit code, its two lines, and nothing written over,
//! left behind, or released.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use waxseal_conformance::refusal::{
    CONTEXT, FORMATS, PLAINTEXT, assert_told, refused, refused_plain, sealed_world,
};
use waxseal_conformance::{World, promise};

/// The exit codes of bad input in one table: what is wrong, the arguments, and the code. All but
/// the first four need nothing but [`sealed_world`] and the files beside it.
#[rustfmt::skip]
const TABLE: &[(&str, &[&str], i32)] = &[
    // A message carries its context, so that what is missing there can be said. The others have
    // it from the caller alone: a wrong one cannot be told from altered data.
    ("message, wrong context",        &["decrypt", "message", "-c", "purpose=another"], 7),
    ("message, name in another case", &["decrypt", "message", "-c", "Purpose=testing"], 7),
    ("message, a pair too many",      &["decrypt", "message", "-c", "purpose=testing", "-c", "a=b"], 7),
    ("signed, wrong context",         &["decrypt", "signed", "-c", "purpose=another"], 7),
    ("signed, a pair too many",       &["decrypt", "signed", "-c", "purpose=testing", "-c", "a=b"], 7),
    ("direct, wrong context",         &["decrypt", "direct", "-c", "purpose=another"], 3),
    ("direct, no context",            &["decrypt", "direct"], 3),
    ("direct, a pair too many",       &["decrypt", "direct", "-c", "purpose=testing", "-c", "a=b"], 3),
    ("secretbox, wrong context",      &["decrypt", "secretbox", "-c", "purpose=another"], 3),
    ("secretbox, no context",         &["decrypt", "secretbox"], 3),
    ("secretbox, a pair too many",    &["decrypt", "secretbox", "-c", "purpose=testing", "-c", "a=b"], 3),
    ("context given twice",           &["encrypt", "plain", "-c", "a=1", "-c", "a=2"], 2),
    ("context of the format itself",  &["encrypt", "plain", "-c", "aws-crypto-public-key=x"], 2),
    ("alias that is not there",       &["encrypt", "-k", "alias/nobody", "plain"], 5),
    ("id that is not there",          &["encrypt", "-k", "00000000-0000-4000-8000-000000000000", "plain"], 5),
    ("alias not there, secretbox",    &["encrypt", "-f", "secretbox", "-k", "alias/nobody", "plain"], 5),
    ("alias not there, direct",       &["encrypt", "-f", "direct", "-k", "alias/nobody", "plain"], 5),
    ("impossible name",               &["encrypt", "-k", "alias/no body", "plain"], 2),
    ("impossible kind of key",        &["encrypt", "-k", "rot13:file", "plain"], 2),
    ("4,097 bytes, direct",           &["encrypt", "-f", "direct", "4097"], 8),
    ("nothing, direct",               &["encrypt", "-f", "direct", "empty"], 8),
    ("too much for secretbox",        &["encrypt", "-f", "secretbox", "--max-size", "4096", "4097"], 8),
    ("frame too large",               &["encrypt", "--frame", "1GiB", "plain"], 8),
    ("raw key, direct",               &["encrypt", "-f", "direct", "-k", "raw-aes:raw.key", "plain"], 2),
    ("raw key, secretbox",            &["encrypt", "-f", "secretbox", "-k", "raw-aes:raw.key", "plain"], 2),
    ("raw key not there",             &["encrypt", "-k", "raw-aes:absent.key", "plain"], 78),
    ("raw key of 20 bytes",           &["encrypt", "-k", "raw-aes:short.key", "plain"], 78),
    ("key of another kind",           &["decrypt", "-k", "raw-aes:raw.key", "message"], 4),
    ("another raw key",               &["decrypt", "-k", "raw-aes:other.key?name=raw.key", "raw.wax"], 3),
    ("raw key by another name",       &["decrypt", "-k", "raw-aes:raw.key?name=other", "raw.wax"], 4),
    ("no sealed data",                &["decrypt", "plain"], 3),
    ("nothing at all",                &["decrypt", "empty"], 3),
    ("input not there",               &["decrypt", "absent"], 74),
    ("input not there, encrypting",   &["encrypt", "absent"], 74),
    ("a directory, not walked into",  &["encrypt", "tmp"], 2),
];

#[test]
fn the_table() {
    let world = sealed_world();
    world.write("4096", [b'x'; 4096]);
    world.write("4097", [b'x'; 4097]);
    world.write("empty", b"");
    world.write("raw.key", [1; 32]);
    world.write("other.key", [2; 32]);
    world.write("short.key", [1; 20]);
    world.ok(
        &["encrypt", "-k", "raw-aes:raw.key", "-o", "raw.wax", "plain"],
        b"",
    );
    for (what, args, code) in TABLE {
        println!("{code:>3}  {what}");
        refused(&world, args, b"", *code);
    }
    // The other side of each edge.
    for format in FORMATS {
        assert_eq!(
            world.ok(&[&["decrypt", format], CONTEXT].concat(), b""),
            PLAINTEXT
        );
    }
    for format in ["message", "signed"] {
        assert_eq!(
            world.ok(&["decrypt", format], b""),
            PLAINTEXT,
            "no demand is met"
        );
    }
    for args in [
        &["encrypt", "-f", "direct", "4096"][..],
        &["encrypt", "-f", "secretbox", "--max-size", "4096", "4096"],
    ] {
        let sealed = world.ok(args, b"");
        assert_eq!(world.ok(&["decrypt"], &sealed), [b'x'; 4096]);
    }
    let long = format!("a={}", "v".repeat(65_536));
    refused(&world, &["encrypt", "plain", "-c", &long], b"", 8);
    world.ok(&["audit", "verify"], b"");
    promise(
        "bad-input-table",
        format!("{} cases, 3 ways each", TABLE.len() + 1),
    );
}

#[test]
fn altered_data() {
    let world = sealed_world();
    let mut cases = 0;
    for format in FORMATS {
        let sealed = world.read(format);
        let middle = sealed.len() / 2;
        let mut last = sealed.clone();
        *last.last_mut().unwrap() ^= 0x80;
        let alterations = [
            sealed[..sealed.len() - 1].to_vec(),
            sealed[..middle].to_vec(),
            sealed[..8].to_vec(),
            [&sealed[..], b"\0"].concat(),
            [&sealed[..], &sealed[..]].concat(),
            last,
        ];
        for altered in &alterations {
            refused(&world, &[&["decrypt"], CONTEXT].concat(), altered, 3);
            cases += 1;
        }
        // Anywhere: whose the wrapped key is may not be known any more (4), nor the suite (8).
        for at in (0..sealed.len()).step_by(7) {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            let ran = world.run(&[&["decrypt"], CONTEXT].concat(), &flipped);
            assert!(
                matches!(ran.code, Some(3 | 4 | 7 | 8)),
                "{format}, byte {at}: {ran:?}"
            );
            assert_told(&ran);
            assert_eq!(ran.stdout, b"", "{format}, byte {at}");
            cases += 1;
        }
    }
    refused_plain(&world, &["inspect"], &world.read("message")[..40], 3);
    promise(
        "bad-input-altered",
        format!("{cases} alterations: 0 opened, nothing on stdout"),
    );
}

/// To a pipe an unsigned message flows frame by frame: what came out before the damage is a part
/// of the plaintext up to a frame's end. A signed one gives nothing before its end has verified.
#[test]
fn only_what_was_authenticated_reaches_a_pipe() {
    let world = World::new();
    let plaintext: Vec<u8> = (0..300_000_u32).flat_map(|n| n.to_be_bytes()).collect();
    world.write("plain", &plaintext);
    let mut released = 0;
    for (kind, frames_flow) in [("--frame=4096", true), ("--signed", false)] {
        let sealed = world.ok(&["encrypt", kind, "plain"], b"");
        for part in 1..8 {
            let mut altered = sealed.clone();
            altered[sealed.len() * part / 8] ^= 4;
            for damaged in [&altered[..], &sealed[..sealed.len() * part / 8]] {
                let ran = world.run(&["decrypt"], damaged).exits(3);
                assert_told(&ran);
                assert!(
                    plaintext.starts_with(&ran.stdout),
                    "{kind}: not the plaintext"
                );
                assert_eq!(ran.stdout.len() % 4096, 0, "{kind}: part of a frame");
                assert!(
                    frames_flow || ran.stdout.is_empty(),
                    "{kind}: released unverified"
                );
                released += ran.stdout.len();
                let ran = world.run(&["decrypt", "-o", "out"], damaged).exits(3);
                assert!(!world.path("out").exists(), "{}", ran.line);
            }
        }
    }
    assert!(released > 0, "frames that verify flow");
    promise(
        "authenticated-only",
        "28 damaged messages of 1.2 MB: whole verified frames or nothing",
    );
}

#[test]
fn keys_that_may_not_be_used() {
    let world = sealed_world();
    world.ok(&["key", "disable", "alias/default"], b"");
    refused(&world, &["encrypt", "plain"], b"", 5);
    refused(&world, &["encrypt", "-f", "direct", "plain"], b"", 5);
    for format in FORMATS {
        refused(&world, &[&["decrypt", format], CONTEXT].concat(), b"", 5);
    }
    world.ok(&["key", "enable", "alias/default"], b"");
    for format in FORMATS {
        assert_eq!(
            world.ok(&[&["decrypt", format], CONTEXT].concat(), b""),
            PLAINTEXT
        );
    }
    for args in [
        &["key", "show", "alias/nobody"][..],
        &["key", "rotate", "alias/nobody"],
        &["key", "disable", "00000000-0000-4000-8000-000000000000"],
        &["key", "alias", "new", "alias/nobody"],
    ] {
        refused_plain(&world, args, b"", 5);
    }
    // Refusals are records, too.
    let events = world.events();
    let refusals = events
        .iter()
        .filter(|event| event.contains(":Disabled"))
        .count();
    assert_eq!(refusals, 3 * (2 + FORMATS.len()), "{events:?}");
    world.ok(&["audit", "verify"], b"");
    promise(
        "disabled-key",
        format!("{refusals} uses refused with exit 5, each recorded"),
    );
}

/// Another home has keys of its own; so have Amazon's Regions.
#[test]
fn data_from_elsewhere() {
    let (here, there) = (sealed_world(), World::new());
    there.ok(&["encrypt"], b"a home");
    for format in FORMATS {
        there.write(format, here.read(format));
        refused(&there, &[&["decrypt", format], CONTEXT].concat(), b"", 4);
    }
    // A blob as Amazon KMS makes them, of a key that is not ours.
    let amazon = [&[1, 2, 2, 0, 0x78][..], &[0x42; 180]].concat();
    refused(&here, &["decrypt"], &amazon, 4);
    promise(
        "data-from-elsewhere",
        format!("{} cases, exit 4", FORMATS.len() + 1),
    );
}
