//! The house stands: imports point down only, only `core` names a cryptographic library, and what benchmarks
//! change in the sources can still be changed there.

#![allow(clippy::unwrap_used, reason = "a failed expectation is the point")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Which of our crates each of our crates may use, as ARCHITECTURE.md draws it.
const MAY_USE: &[(&str, &[&str])] = &[
    ("waxseal-core", &[]),
    ("waxseal", &["waxseal-core"]),
    ("waxseal-kms-api", &["waxseal-core"]),
    ("waxseal-kms", &["waxseal-core", "waxseal-kms-api"]),
    (
        "waxseal-server",
        &["waxseal-core", "waxseal-kms", "waxseal-kms-api"],
    ),
    ("waxseal-aws", &["waxseal-core"]),
    ("waxseal-hsm", &["waxseal-core"]),
    (
        "waxseal-cli",
        &[
            "waxseal",
            "waxseal-aws",
            "waxseal-core",
            "waxseal-hsm",
            "waxseal-kms",
            "waxseal-kms-api",
            "waxseal-server",
        ],
    ),
];

/// Libraries that hold primitives. Ours may reach them through `core` alone.
const CRYPTOGRAPHY: &[&str] = &[
    "aes",
    "aes-gcm",
    "argon2",
    "aws-lc-rs",
    "aws-lc-sys",
    "blake2",
    "chacha20poly1305",
    "crypto_secretbox",
    "dryoc",
    "ed25519-dalek",
    "getrandom",
    "hkdf",
    "hmac",
    "k256",
    "openssl",
    "p256",
    "p384",
    "rand",
    "ring",
    "rsa",
    "sha1",
    "sha2",
    "sodiumoxide",
    "subtle",
    "vsss-rs",
];

/// Direct dependencies of our crates, build and test dependencies left out.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let direct = package["dependencies"].as_array().unwrap().iter();
            let direct = direct.filter(|dependency| dependency["kind"].is_null());
            (
                text(&package["name"]),
                direct.map(|dependency| text(&dependency["name"])).collect(),
            )
        })
        .collect()
}

#[test]
fn imports_point_down_only() {
    let dependencies = dependencies();
    for (name, allowed) in MAY_USE {
        let ours = dependencies[*name]
            .iter()
            .filter(|used| used.starts_with("waxseal"));
        for used in ours {
            assert!(
                allowed.contains(&used.as_str()),
                "{name} may not use {used}"
            );
        }
    }
    let known: BTreeSet<&str> = MAY_USE.iter().map(|(name, _)| *name).collect();
    for name in dependencies
        .keys()
        .filter(|name| *name != "waxseal-conformance")
    {
        assert!(
            known.contains(name.as_str()),
            "{name} has no place in the house"
        );
    }
}

#[test]
fn only_core_names_a_cryptographic_library() {
    for (name, used) in dependencies() {
        if name == "waxseal-core" || name == "waxseal-conformance" {
            continue;
        }
        for library in CRYPTOGRAPHY {
            assert!(
                !used.contains(*library),
                "{name} may not use {library}: see core::crypto"
            );
        }
    }
}

/// A server without an audit log is built from a copy of the sources for `bench/roots --audit`, and not before
/// somebody asks for it.
#[test]
fn the_patch_of_the_benchmarks_fits() {
    let output = Command::new("git")
        .args(["apply", "--check", "bench/unaudited.patch"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
}
