//! `decrypt --range`.

mod support;

use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::{Outcome, Place, noise};

fn range(place: &Place, span: &str, more: &[&str]) -> Outcome {
    let arguments = ["decrypt", "-k", "raw-aes:key", "--range", span, "-o", "-"];
    place.run(&[&arguments[..], more, &["sealed"]].concat(), b"")
}

#[test]
fn a_range_is_the_slice() {
    let place = Place::new();
    let plaintext = noise(20_000);
    place.write("sealed", place.sealed(&plaintext, &["--frame", "4KiB"]));
    for (span, start, end) in [
        ("..", 0, 20_000),
        ("..5", 0, 5),
        ("19990..", 19_990, 20_000),
        ("4095..4097", 4095, 4097),
        ("4KiB..8KiB", 4096, 8192),
        ("1..19999", 1, 19_999),
        ("10000..+1KiB", 10_000, 11_024),
        ("19990..1GiB", 19_990, 20_000),
        ("20000..", 20_000, 20_000),
        ("7..7", 7, 7),
    ] {
        let outcome = range(&place, span, &[]).ok();
        assert!(outcome.stdout() == &plaintext[start..end], "{span}");
    }
    range(&place, "20001..", &[]).refused(2, "the plaintext has 20000 bytes");
    range(&place, "5..4", &[]).exits(2);
}

#[test]
fn a_range_goes_into_a_file() {
    let place = Place::new();
    place.write("sealed", place.sealed(b"0123456789", &[]));
    let arguments = [
        "decrypt",
        "-k",
        "raw-aes:key",
        "--range",
        "2..5",
        "-o",
        "out",
        "sealed",
    ];
    place.run(&arguments, b"").ok();
    assert_eq!(place.read("out"), b"234");
    // What is refused leaves the file as it was.
    let arguments = [
        "decrypt",
        "-k",
        "raw-aes:key",
        "--range",
        "11..",
        "-o",
        "out",
        "sealed",
    ];
    place.run(&arguments, b"").refused(2, "begins at byte 11");
    assert_eq!(place.read("out"), b"234");
}

#[test]
fn a_signed_message_needs_a_word() {
    let place = Place::new();
    place.write("sealed", place.sealed(b"0123456789", &["--signed"]));
    range(&place, "2..5", &[]).refused(2, "signature");
    let read = range(&place, "2..5", &["--signature-unchecked"]).ok();
    assert_eq!(read.stdout(), b"234");
    // The option is for ranges alone.
    let whole = ["decrypt", "--signature-unchecked", "sealed"];
    place.run(&whole, b"").exits(2);
}

#[test]
fn the_context_is_demanded_of_ranges_too() {
    let place = Place::new();
    place.write("sealed", place.sealed(b"0123456789", &["-c", "a=1"]));
    assert_eq!(range(&place, "2..5", &["-c", "a=1"]).ok().stdout(), b"234");
    range(&place, "2..5", &["-c", "a=2"]).refused(7, "context");
}

#[test]
fn older_suites_and_unstored_pairs_have_ranges_too() {
    let place = Place::new();
    let policy = ["--commitment-policy", "forbid-encrypt-allow-decrypt"];
    let older = [&["--suite", "0x0178"], &policy[..]].concat();
    place.write("sealed", place.sealed(b"0123456789", &older));
    range(&place, "2..5", &[]).refused(8, "commitment");
    assert_eq!(range(&place, "2..5", &policy).ok().stdout(), b"234");
    let sealed = place.sealed(b"0123456789", &["--required-context", "a=1"]);
    place.write("sealed", sealed);
    assert_eq!(range(&place, "2..5", &["-c", "a=1"]).ok().stdout(), b"234");
    range(&place, "2..5", &[]).exits(3);
}

#[test]
fn altered_messages_give_what_is_not_altered() {
    let place = Place::new();
    let plaintext = noise(10_000);
    let sealed = place.sealed(&plaintext, &["--frame", "1KiB"]);
    let second_frame = sealed.len() - 40 - 10_000 % 1024 - 8 * (1024 + 32);
    let mut altered = sealed.clone();
    altered[second_frame + 500] ^= 1;
    place.write("sealed", &altered);
    assert_eq!(
        range(&place, "0..1KiB", &[]).ok().stdout(),
        &plaintext[..1024]
    );
    range(&place, "1KiB..+1", &[]).refused(3, "not authentic");
    for wrong in [&sealed[..sealed.len() - 1], &[&sealed[..], b"x"].concat()] {
        place.write("sealed", wrong);
        range(&place, "0..1", &[]).refused(3, "truncated, or something was appended");
    }
}

#[test]
fn a_range_is_of_one_file() {
    let place = Place::new();
    place.write("sealed", place.sealed(b"0123456789", &[]));
    place.write("text", place.sealed(b"0123456789", &["--base64"]));
    let refused = |arguments: &[&str], what: &str| {
        let all = [
            &["decrypt", "-k", "raw-aes:key", "--range", "1..2"],
            arguments,
        ]
        .concat();
        place.run(&all, b"piped").refused(2, what);
    };
    refused(&["sealed", "sealed"], "one file");
    refused(&["-r", "sealed"], "one file");
    refused(&[], "stdin is not a file");
    refused(&["text"], "base64");
    refused(&["-f", "secretbox", "sealed"], "secretbox");
    refused(&["."], "is not a file");
    // Stdin may be a file.
    let mut command = place.waxseal();
    command.args(["decrypt", "-k", "raw-aes:key", "--range", "1..2"]);
    command.stdin(File::open(place.path("sealed")).unwrap());
    command.stdout(Stdio::piped());
    assert_eq!(command.output().unwrap().stdout, b"1");
}

/// Reading takes no longer when the message is larger: 512 MiB take a second to decrypt.
#[test]
fn a_range_costs_its_own_frames() {
    let place = Place::new();
    let piece = noise(1 << 20);
    let mut encrypt = place.waxseal();
    encrypt.args(["encrypt", "-k", "raw-aes:key", "--no-sync", "-o", "sealed"]);
    let mut child = encrypt.stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    for _ in 0..512 {
        std::io::Write::write_all(&mut pipe, &piece).unwrap();
    }
    drop(pipe);
    assert!(child.wait().unwrap().success());
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let begun = Instant::now();
        let read = range(&place, "300MiB..+1KiB", &[]).ok();
        fastest = fastest.min(begun.elapsed());
        assert_eq!(read.stdout(), &piece[..1024]);
    }
    assert!(fastest < Duration::from_millis(100), "{fastest:?}");
}
