//! Bad input: each its error and its exit code; nothing written over, nothing left behind,
//! nothing on stdout that was not authenticated.

mod support;

use std::fs::File;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use support::{Outcome, Place, noise};

const KEY: &str = "raw-aes:key";

#[test]
fn usage() {
    let place = Place::new();
    place
        .run(&["encrypt", "-k", KEY, "--no-such"], b"")
        .exits(2);
    place
        .run(&["encrypt", "-k", KEY, "--frame", "0"], b"")
        .exits(2);
    place.run(&["encrypt", "-k", KEY, "-c", "a"], b"").exits(2);
    place.run(&["encrypt", "-k", KEY, "-j", "65"], b"").exits(2);
    place.run(&[""; 0], b"").exits(2);
    let twice = ["encrypt", "-k", KEY, "-c", "a=1", "-c", "a=2"];
    place.run(&twice, b"").refused(2, "twice");
    let reserved = ["encrypt", "-k", KEY, "-c", "aws-crypto-x=1"];
    place.run(&reserved, b"").refused(2, "reserved");
    for misplaced in ["--signed", "--frame=4096"] {
        let arguments = ["encrypt", "-k", KEY, "-f", "direct", misplaced];
        place.run(&arguments, b"x").refused(2, "means nothing");
    }
    place
        .run(&["encrypt", "-k", KEY, "--max-size", "1"], b"")
        .refused(2, "--max-size");
    place
        .run(&["encrypt", "-k", KEY, "."], b"")
        .refused(2, "directory");
    place
        .run(&["encrypt", "-k", KEY, "-r"], b"")
        .refused(2, "need files");
    for format in ["direct", "secretbox"] {
        let raw = ["encrypt", "-k", KEY, "-f", format];
        place.run(&raw, b"x").refused(2, "KMS key");
    }
}

#[test]
fn wrong_keys() {
    let place = Place::new();
    let sealed = place.sealed(b"text", &[]);
    let other = place.run(&["decrypt", "-k", "raw-aes:other"], &sealed);
    other.refused(4, "encrypted under");
    // The right name and other bytes: mine, and it does not open.
    let posing = place.run(&["decrypt", "-k", "raw-aes:other?name=key"], &sealed);
    posing.refused(3, "did not open");
}

#[test]
fn key_files() {
    let place = Place::new();
    place.write("short", [1; 15]);
    for (key, what) in [("raw-aes:none", "none"), ("raw-aes:short", "no AES key")] {
        place.run(&["encrypt", "-k", key], b"x").refused(78, what);
    }
    for malformed in [
        "raw-aes:",
        "raw-aes:key?x=y",
        "raw-aes:key?name",
        "raw-aes:%zz",
    ] {
        place
            .run(&["encrypt", "-k", malformed], b"x")
            .refused(2, "raw");
    }
    let namespace = "raw-aes:key?namespace=aws-kms";
    place
        .run(&["encrypt", "-k", namespace], b"x")
        .refused(2, "namespace");
}

#[test]
fn limits() {
    let place = Place::new();
    let direct = ["encrypt", "-k", KEY, "-f", "direct"];
    place.run(&direct, &noise(4097)).refused(8, "4096");
    // At the limit itself it is the key that does not fit.
    place.run(&direct, &noise(4096)).refused(2, "KMS key");
    let secretbox = ["encrypt", "-k", KEY, "-f", "secretbox", "--max-size", "10"];
    place.run(&secretbox, &noise(11)).refused(8, "11");
    place.run(&secretbox, &noise(10)).refused(2, "KMS key");
    place.write("11", noise(11));
    let file = [&secretbox[..], &["11"]].concat();
    place.run(&file, b"").refused(8, "11");
    let frame = ["encrypt", "-k", KEY, "--frame", "65MiB"];
    place.run(&frame, b"x").refused(8, "frame");
    let long = format!("a={}", "x".repeat(65_535));
    place
        .run(&["encrypt", "-k", KEY, "-c", &long], b"x")
        .refused(8, "65535");
    // A suite that does not commit is neither written nor read unless the policy says so.
    let old = ["--suite", "0x0178"];
    let encrypt = [&["encrypt", "-k", KEY][..], &old].concat();
    place.run(&encrypt, b"x").refused(8, "0x0178");
    let forbid = ["--commitment-policy", "forbid-encrypt-allow-decrypt"];
    let sealed = place.sealed(b"x", &[&old[..], &forbid].concat());
    assert_eq!(sealed[..4], [1, 0x80, 1, 0x78]);
    place.opened(&sealed, &[]).refused(8, "commitment");
    assert_eq!(place.opened(&sealed, &forbid).ok().stdout(), b"x");
    place
        .run(
            &[&["encrypt", "-k", KEY][..], &forbid, &["--suite", "0478"]].concat(),
            b"x",
        )
        .refused(8, "0x0478");
}

#[test]
fn every_flipped_bit_and_every_truncation() {
    let place = Place::new();
    let plaintext = noise(40);
    let sealed = place.sealed(&plaintext, &["--frame", "16"]);
    let refused = |bytes: &[u8]| {
        let outcome = place.opened(bytes, &[]);
        let code = outcome.0.status.code().unwrap();
        assert!([3, 4, 8].contains(&code), "{code}: {}", outcome.stderr());
        // Frames that verified may have gone out; nothing else may.
        assert!(plaintext.starts_with(outcome.stdout()));
        assert!(outcome.stdout().len() < plaintext.len());
    };
    for at in (0..sealed.len()).step_by(3) {
        let mut flipped = sealed.clone();
        flipped[at] ^= 1 << (at % 8);
        refused(&flipped);
        refused(&sealed[..at]);
    }
    refused(&[&sealed[..], b"x"].concat());
}

#[test]
fn signed_messages_are_withheld_until_verified() {
    let place = Place::new();
    let mut sealed = place.sealed(&noise(5 << 20), &["--signed"]);
    *sealed.last_mut().unwrap() ^= 1;
    place.opened(&sealed, &[]).refused(3, "not authentic");
    let early = place.opened(&sealed, &["--release-unverified"]).exits(3);
    assert!(!early.stdout().is_empty());
    place.write("out", b"old");
    place
        .opened(&sealed, &["-o", "out"])
        .refused(3, "not authentic");
    assert_eq!(place.read("out"), b"old");
}

#[test]
fn things_that_are_no_sealed_data() {
    let place = Place::new();
    place.opened(b"", &[]).refused(3, "empty");
    place.opened(b"just text", &[]).refused(3, "no format");
    place.opened(&noise(5000), &[]).refused(3, "no format");
    let text = String::from_utf8(place.sealed(b"text", &["--base64"])).unwrap();
    let end = format!("{}*", text.trim_end());
    place.opened(end.as_bytes(), &["-q"]).refused(3, "base64");
    place
        .run(&["inspect"], b"just text")
        .refused(3, "no format");
}

#[test]
fn existing_outputs_survive_failures() {
    let place = Place::new();
    place.write("out", b"old");
    let mut sealed = place.sealed(&noise(200_000), &[]);
    sealed.truncate(150_000);
    place.write("sealed", &sealed);
    place.write("secret", b"x");
    std::fs::create_dir(place.path("directory")).unwrap();
    let before = place.names(".");
    let failures: [(&[&str], i32); 4] = [
        (&["decrypt", "-k", KEY, "-o", "out", "sealed"], 3),
        (
            &["decrypt", "-k", "raw-aes:other", "-o", "out", "sealed"],
            4,
        ),
        (&["encrypt", "-k", KEY, "-o", "out", "absent"], 74),
        (
            &["encrypt", "-k", KEY, "-o", "out", "-f", "direct", "sealed"],
            8,
        ),
    ];
    for (arguments, code) in failures {
        place.run(arguments, b"").refused(code, "");
        assert_eq!(place.read("out"), b"old");
        assert_eq!(place.names("."), before);
    }
}

#[test]
fn files_that_cannot_be_read_or_written() {
    let place = Place::new();
    place
        .run(&["encrypt", "-k", KEY, "absent"], b"")
        .refused(74, "absent");
    let nowhere = ["encrypt", "-k", KEY, "-o", "no/where"];
    place.run(&nowhere, b"x").refused(74, "no/where");
    symlink("nothing", place.path("dangling")).unwrap();
    place
        .run(&["encrypt", "-k", KEY, "-o", "dangling"], b"x")
        .refused(74, "dangling");
    place
        .run(&["encrypt", "-k", KEY, "-o", "/dev/zero"], b"x")
        .refused(2, "device");
    place
        .run(&["encrypt", "-k", KEY, "-o", "key/x"], b"x")
        .refused(74, "key/x");
}

#[test]
fn a_full_disk() {
    let place = Place::new();
    place.write("in", noise(1 << 20));
    let output = place
        .waxseal()
        .args(["encrypt", "-k", KEY, "in"])
        .stdout(File::options().write(true).open("/dev/full").unwrap())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    Outcome(output).refused(74, "No space left");
}

#[test]
fn a_closed_stdout() {
    let place = Place::new();
    let line = format!(
        "exec {} encrypt -k {KEY} >&-",
        env!("CARGO_BIN_EXE_waxseal")
    );
    let status = Command::new("sh")
        .args(["-c", &line])
        .current_dir(place.path("."))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    // Rust opens /dev/null for descriptors that are closed: nothing is lost but what nobody wanted.
    assert!(matches!(status.code(), Some(0 | 74)), "{status}");
}

#[test]
fn input_and_stdout_are_the_same_file() {
    let place = Place::new();
    let path = place.write("in", b"text");
    let output = place
        .waxseal()
        .args(["encrypt", "-k", KEY, "in"])
        .stdout(File::options().append(true).open(path).unwrap())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    Outcome(output).refused(2, "same file");
    assert_eq!(place.read("in"), b"text");
}

/// Runs `waxseal` with a terminal for stdout and stderr (`script` of util-linux) and returns the
/// exit code and what the terminal saw.
#[allow(
    clippy::unwrap_used,
    reason = "what fails to unwrap here fails its test"
)]
fn on_terminal(place: &Place, arguments: &str) -> (i32, String) {
    let line = format!("{} {arguments}", env!("CARGO_BIN_EXE_waxseal"));
    let output = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .current_dir(place.path("."))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().unwrap(), seen)
}

#[test]
fn no_binary_onto_a_terminal() {
    let place = Place::new();
    place.write("text", "Grüße");
    place.write("binary", b"\x1b[2J\xff");
    for explicit in ["", "-o -", "-o /dev/stdout", "-o /dev/stderr"] {
        let (code, seen) = on_terminal(&place, &format!("encrypt -k {KEY} {explicit} text"));
        assert_eq!(code, 2, "{explicit}");
        assert!(seen.contains("terminal"), "{seen}");
    }
    let (code, seen) = on_terminal(&place, &format!("encrypt --base64 -k {KEY} text"));
    assert_eq!((code, seen.get(..2)), (0, Some("Ag")));

    for name in ["text", "binary"] {
        let sealed = place.sealed(&place.read(name), &[]);
        place.write(&format!("{name}.wax"), sealed);
    }
    let (code, seen) = on_terminal(&place, &format!("decrypt -k {KEY} text.wax"));
    assert_eq!((code, seen.as_str()), (0, "Grüße"));
    let (code, seen) = on_terminal(&place, &format!("decrypt -k {KEY} binary.wax"));
    assert_eq!(code, 2);
    assert!(!seen.contains('\x1b'), "{seen:?}");
    let (code, seen) = on_terminal(&place, &format!("decrypt -k {KEY} -o - binary.wax"));
    assert_eq!(code, 0);
    assert!(seen.contains('\x1b'));
}

#[test]
fn errors_do_not_play_with_the_terminal() {
    let place = Place::new();
    let outcome = place
        .run(&["encrypt", "-k", KEY, "a\x1b[31m\nb"], b"")
        .refused(74, "u{1b}");
    assert!(!outcome.stderr().contains('\x1b'));
}

/// Whatever the moment of a SIGKILL, the output is the old file or the complete new one.
#[test]
fn killed_at_any_moment() {
    let place = Place::new();
    place.write("in", noise(2 << 20));
    place
        .run(&["encrypt", "-k", KEY, "-o", "out", "in"], b"")
        .ok();
    let mut killed = 0;
    for round in 0..40_u64 {
        let mut child = place
            .waxseal()
            .args(["encrypt", "-k", KEY, "-o", "out", "in"])
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_micros(150 * round));
        child.kill().unwrap();
        killed += u32::from(child.wait().unwrap().signal().is_some());
        place
            .run(&["decrypt", "-k", KEY, "-o", "back", "out"], b"")
            .ok();
        assert!(place.read("back") == place.read("in"));
    }
    assert!(killed > 0, "every process was faster than its kill");
}
