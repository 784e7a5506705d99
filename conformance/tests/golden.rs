//! Files of older versions: whatever a released version wrote, every later one opens.
//!
//! `vectors/golden/VERSION/` holds a whole home (`home/`, with its root key: it protects nothing
//! but these files), a raw AES key and one file of each format, all of the same plaintext, with
//! what they say about themselves in `golden.json`. A directory is made once, when its version is
//! released, and never changed:
//!
//! ```text
//! WAXSEAL_GOLDEN=0.1.0 cargo test --release -p waxseal-conformance --test golden
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use waxseal_conformance::{World, promise};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/golden");
const CONTEXT: &[&str] = &["-c", "purpose=golden", "-c", "größe=ß"];
const RAW: &[&str] = &["-k", "raw-aes:raw.key?namespace=golden&name=raw"];

/// Name of a file, how it is made, and which keys open it.
type Made = (
    &'static str,
    &'static [&'static str],
    &'static [&'static [&'static str]],
);

const FILES: &[Made] = &[
    ("message-0478", &[], &[&[]]),
    ("message-0478-frames", &["--frame", "100"], &[&[]]),
    ("message-0578", &["--signed"], &[&[]]),
    ("message-raw-aes", RAW, &[RAW]),
    (
        "message-two-keys",
        &["-k", "alias/default", RAW[0], RAW[1]],
        &[&[], RAW],
    ),
    ("message-base64", &["--base64"], &[&[]]),
    ("direct", &["-f", "direct"], &[&[]]),
    ("secretbox", &["-f", "secretbox"], &[&[]]),
];

fn plaintext() -> Vec<u8> {
    (0..=255_u8).chain(0..44).collect()
}

#[test]
fn what_older_versions_wrote_opens() {
    if let Some(version) = std::env::var_os("WAXSEAL_GOLDEN") {
        generate(&Path::new(GOLDEN).join(version));
    }
    let mut versions: Vec<PathBuf> = fs::read_dir(GOLDEN)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    versions.retain(|path| path.is_dir());
    versions.sort();
    assert!(!versions.is_empty(), "the corpus is missing");
    let files: usize = versions.iter().map(|version| opened(version)).sum();
    promise(
        "golden",
        format!("{files} files of {} version(s) open", versions.len()),
    );
}

fn opened(version: &Path) -> usize {
    let world = World::new();
    copied(version, &world.path("."));
    let golden: Value = serde_json::from_slice(&world.read("golden.json")).unwrap();
    let files = golden["files"].as_array().unwrap();
    let mut seen = 0;
    for file in files {
        let text = |name: &str| file[name].as_str().unwrap().to_owned();
        let name = text("name");
        let words = |value: &Value| -> Vec<String> {
            value
                .as_array()
                .unwrap()
                .iter()
                .map(|w| w.as_str().unwrap().to_owned())
                .collect()
        };
        for keys in file["open"].as_array().unwrap() {
            let words = words(keys);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let args = [&["decrypt", &name], CONTEXT, &words].concat();
            assert!(
                world.ok(&args, b"") == plaintext(),
                "{} of {}",
                name,
                version.display()
            );
        }
        let mut found = world
            .run(&["inspect", "--json", &name], b"")
            .exits(0)
            .json_lines()
            .remove(0);
        // A later version may say more, and nothing else.
        let found = found.as_object_mut().unwrap();
        for (member, value) in file["inspect"].as_object().unwrap() {
            assert_eq!(&found[member], value, "{member} of {name}");
        }
        seen += 1;
    }
    assert_eq!(seen, golden["files"].as_array().unwrap().len());
    // The home goes on: old records verify, the key rotates, the old files still open.
    world.ok(&["audit", "verify"], b"");
    world.ok(&["key", "rotate", "alias/default"], b"");
    world.ok(&["encrypt"], b"more");
    assert!(world.ok(&[&["decrypt", "direct"], CONTEXT].concat(), b"") == plaintext());
    world.ok(&["audit", "verify"], b"");
    seen
}

/// Copies a directory; what is secret gets mode 0600, which git does not keep.
fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copied(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
            fs::set_permissions(&to, Permissions::from_mode(0o600)).unwrap();
        }
    }
}

fn generate(version: &Path) {
    assert!(
        !version.exists(),
        "{} is there: what was released stays",
        version.display()
    );
    let world = World::new();
    world.write("plain", plaintext());
    world.write("raw.key", (100..132).collect::<Vec<u8>>());
    world.ok(
        &["encrypt", "-o", "tmp/before-rotation"],
        b"makes the default key",
    );
    let mut files = Vec::new();
    for (name, args, open) in FILES {
        if *name == "direct" {
            // Files from before and after a rotation.
            world.ok(&["key", "rotate", "alias/default"], b"");
        }
        world.ok(
            &[&["encrypt", "-o", name, "plain"], CONTEXT, args].concat(),
            b"",
        );
        let seen = world
            .run(&["inspect", "--json", name], b"")
            .exits(0)
            .json_lines()
            .remove(0);
        files.push(json!({ "name": name, "open": open, "inspect": seen }));
    }
    let golden = json!({ "plaintext": "the bytes 0 to 255, then 0 to 43", "files": files });
    let names = FILES.iter().map(|(name, ..)| *name).chain(["raw.key"]);
    fs::create_dir_all(version).unwrap();
    for name in names {
        fs::copy(world.path(name), version.join(name)).unwrap();
    }
    copied(&world.home(), &version.join("home"));
    // Locks are made again; what SQLite keeps beside a closed store is empty or can be made again.
    let wal = fs::metadata(world.home().join("store.db-wal")).map_or(0, |found| found.len());
    assert_eq!(wal, 0, "the store was not closed");
    for name in ["lock", "audit/lock", "store.db-shm", "store.db-wal"] {
        fs::remove_file(version.join("home").join(name)).ok();
    }
    let text = format!("{}\n", serde_json::to_string_pretty(&golden).unwrap());
    fs::write(version.join("golden.json"), text).unwrap();
}
