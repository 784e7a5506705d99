//! What every refusal of the program has in common, however it comes about.

use crate::program::Ran;
use crate::world::{OLD, World};
use std::fs;

/// Formats as the suites name them; `signed` is a message of suite 0x0578.
pub const FORMATS: [&str; 4] = ["message", "signed", "direct", "secretbox"];

/// The encryption context of [`sealed_world`].
pub const CONTEXT: &[&str] = &["-c", "purpose=testing"];

/// Plaintext that no error may repeat.
pub const PLAINTEXT: &[u8] =
    b"MARKED-PLAINTEXT that no error may repeat, long enough to be cut somewhere";

const MARK: &str = "MARKED-PLAINTEXT";

/// A world with [`PLAINTEXT`] in `plain`, and sealed in each format under `alias/default`, in
/// files named as the format.
pub fn sealed_world() -> World {
    let world = World::new();
    world.write("plain", PLAINTEXT);
    for format in FORMATS {
        let kind: &[&str] = match format {
            "signed" => &["--signed"],
            _ => &["-f", format],
        };
        world.ok(
            &[&["encrypt", "-o", format, "plain"], kind, CONTEXT].concat(),
            b"",
        );
    }
    world
}

/// Runs `args`, which name neither output nor `--json`, in three ways: over an existing output
/// file, to stdout, and with `--json`. Each must exit with `code`, tell why, and leave no trace.
#[track_caller]
pub fn refused(world: &World, args: &[&str], stdin: &[u8], code: i32) {
    refused_behind(&[], world, args, stdin, code);
}

/// [`refused`] with another program in front, which lowers rights, for instance.
#[track_caller]
pub fn refused_behind(wrapper: &[&str], world: &World, args: &[&str], stdin: &[u8], code: i32) {
    let run = |args: &[&str]| match wrapper {
        [] => world.run(args, stdin),
        _ => Ran::of(world.command_behind(wrapper, args), stdin),
    };
    let before = world.names(".");
    world.write("out", OLD);
    let inode = world.inode("out");

    let ran = run(&[args, &["-o", "out"]].concat()).exits(code);
    assert_told(&ran);
    assert_eq!(ran.stdout, b"", "stdout of {}", ran.line);
    assert_eq!(world.read("out"), OLD, "written over by {}", ran.line);
    assert_eq!(world.inode("out"), inode, "replaced by {}", ran.line);

    let ran = run(args).exits(code);
    assert_told(&ran);
    assert_eq!(ran.stdout, b"", "stdout of {}", ran.line);

    let ran = run(&[args, &["--json"]].concat()).exits(code);
    assert_eq!(ran.stdout, b"", "stdout of {}", ran.line);
    let error: serde_json::Value = serde_json::from_str(&ran.stderr)
        .unwrap_or_else(|error| panic!("one JSON line of {}: {error}: {}", ran.line, ran.stderr));
    assert_eq!(error["exit"], code, "{}", ran.line);
    for member in ["error", "hint"] {
        assert!(
            error[member].as_str().is_some_and(|text| !text.is_empty()),
            "{error}"
        );
    }
    assert!(!ran.stderr.contains(MARK), "{}", ran.stderr);

    fs::remove_file(world.path("out")).expect("it was written above");
    assert_eq!(world.names("."), before, "left behind by {}", ran.line);
    assert!(world.names("tmp").is_empty(), "left behind by {}", ran.line);
}

/// A refusal of a command that writes no data.
#[track_caller]
pub fn refused_plain(world: &World, args: &[&str], stdin: &[u8], code: i32) {
    let ran = world.run(args, stdin).exits(code);
    assert_told(&ran);
    assert_eq!(ran.stdout, b"", "stdout of {}", ran.line);
}

/// Two lines on stderr, what and what to do, without plaintext.
#[track_caller]
pub fn assert_told(ran: &Ran) {
    let lines: Vec<_> = ran.stderr.lines().collect();
    let [what, hint] = lines[..] else {
        panic!("two lines, not these, of {}: {}", ran.line, ran.stderr);
    };
    let what = what
        .strip_prefix("waxseal: error: ")
        .expect("it says whose error it is");
    assert!(
        !what.trim().is_empty() && !hint.trim().is_empty(),
        "{}",
        ran.stderr
    );
    assert!(hint.starts_with("  "), "{}", ran.stderr);
    assert!(!ran.stderr.contains(MARK), "{}", ran.stderr);
}
