//! Every message that the makers of the AWS Encryption SDK publish, or that was made with their
//! programs, and that opens without Amazon KMS: through the library and through the command.
//!
//! | set | cases | run here | the rest |
//! |---|---|---|---|
//! | Python SDK 4.0.7, raw AES | 198 | 198 | |
//! | commitment | 46 | 46, library | |
//! | decrypt oracle | 27 | 18, library | 9 KMS |
//! | .NET 4.0.1 | 132 | 99 | 33 KMS |
//! | .NET 4.0.0, valid | 5 | 5 | |
//! | .NET 4.0.0, invalid | 28 | 28 with the option, 28 refused without | |
//! | Dafny 4.1.0 | 487 | 297 | 190 KMS |
//!
//! `library` alone are sets that give the data key itself, which no `-k` can spell.
//!
//! `WAXSEAL_MANIFEST` names more manifests, separated by `:` (files, or folders that hold one), in
//! any published version of the format; all their local cases must pass.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use waxseal::message::{CommitmentPolicy, OpenError, OpenOptions, Release};
use waxseal_conformance::manifest::{Case, Key, Manifest, json};
use waxseal_conformance::opening::{GivenKey, How, open, through_command, through_library};
use waxseal_conformance::{World, promise, vectors};

#[test]
fn python_4_0_7() {
    let folder = vectors::own("esdk-python-raw-aes");
    let manifest = json(&folder.join("manifest.json"));
    let key = Key::Aes {
        namespace: manifest["wrapping"]["namespace"]
            .as_str()
            .unwrap()
            .to_owned(),
        name: manifest["wrapping"]["name"].as_str().unwrap().to_owned(),
        key: hex::decode(manifest["wrapping"]["key-hex"].as_str().unwrap()).unwrap(),
    };
    let world = World::new();
    let cases: Vec<_> = manifest["tests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|test| {
            let name = test["file"].as_str().unwrap();
            let plaintext = hex::decode(test["plaintext-hex"].as_str().unwrap()).unwrap();
            let context = test["encryption-context"].as_object().unwrap();
            Case {
                name: name.to_owned(),
                sealed: folder.join(name),
                keys: vec![key.clone()],
                elsewhere: Vec::new(),
                context: context
                    .iter()
                    .map(|(n, v)| (n.clone(), v.as_str().unwrap().to_owned()))
                    .collect(),
                plaintext: Some(world.write(&format!("{name}.plain"), plaintext)),
                unsigned_stream_only: false,
            }
        })
        .collect();
    let ran = run(&cases, How::default());
    assert_eq!(
        ran,
        Ran {
            opened: 198,
            refused: 0,
            elsewhere: 0
        }
    );
    promise("vectors-python-4.0.7", ran.told());
}

#[test]
fn net_4_0_1() {
    let Some(folder) = vectors::shared("esdk/v4-Net-4.0.1", 99) else {
        return;
    };
    let manifest = Manifest::read(&folder);
    assert_eq!(manifest.version, 4);
    assert_eq!(
        count(&manifest.cases, |key| matches!(key, Key::Aes { .. })),
        33
    );
    assert_eq!(
        count(&manifest.cases, |key| matches!(key, Key::Rsa { .. })),
        66
    );
    let ran = run(&manifest.cases, How::default());
    assert_eq!(
        ran,
        Ran {
            opened: 99,
            refused: 0,
            elsewhere: 33
        }
    );
    promise("vectors-net-4.0.1", ran.told());
}

#[test]
fn net_4_0_0_valid() {
    let Some(folder) = vectors::shared("esdk/valid-Net-4.0.0", 5) else {
        return;
    };
    let cases = Manifest::read(&folder).cases;
    for net_4_0_0 in [false, true] {
        let ran = run(&cases, How { net_4_0_0 });
        assert_eq!(
            ran,
            Ran {
                opened: 5,
                refused: 0,
                elsewhere: 0
            }
        );
        promise("vectors-net-4.0.0-valid", ran.told());
    }
}

/// Readable behind an option, and refused without it.
#[test]
fn net_4_0_0_invalid() {
    let Some(folder) = vectors::shared("esdk/invalid-Net-4.0.0", 28) else {
        return;
    };
    let mut cases = Manifest::read(&folder).cases;
    let ran = run(&cases, How { net_4_0_0: true });
    assert_eq!(
        ran,
        Ran {
            opened: 28,
            refused: 0,
            elsewhere: 0
        }
    );
    promise("vectors-net-4.0.0-invalid, option given", ran.told());
    for case in &mut cases {
        case.plaintext = None;
    }
    let ran = run(&cases, How::default());
    assert_eq!(
        ran,
        Ran {
            opened: 0,
            refused: 28,
            elsewhere: 0
        }
    );
    promise("vectors-net-4.0.0-invalid, without it", ran.told());
}

#[test]
fn dafny_4_1_0() {
    let Some(folder) = vectors::shared("esdk/dafny-4.1.0", 297) else {
        return;
    };
    let manifest = Manifest::read(&folder);
    assert_eq!(manifest.version, 5);
    let cases = manifest.cases;
    let mut elsewhere: BTreeMap<&str, usize> = BTreeMap::new();
    for case in &cases {
        for kind in &case.elsewhere {
            *elsewhere.entry(&kind.0).or_default() += 1;
        }
    }
    let kinds = [
        ("aws-kms", 22),
        ("aws-kms-ecdh", 66),
        ("aws-kms-mrk-aware", 44),
        ("aws-kms-mrk-aware-discovery", 44),
        ("aws-kms-rsa", 14),
    ];
    assert_eq!(elsewhere, BTreeMap::from(kinds));
    let one = |key: fn(&Key) -> bool, context: bool| {
        let alone = |case: &&Case| case.keys.len() == 1 && key(&case.keys[0]);
        cases
            .iter()
            .filter(alone)
            .filter(|case| case.context.is_empty() != context)
            .count()
    };
    // Half of the multi-keyrings have one key: 33 + 22, and 22 with two.
    assert_eq!(one(|key| matches!(key, Key::Aes { .. }), false), 33 + 22);
    assert_eq!(cases.iter().filter(|case| case.keys.len() == 2).count(), 22);
    assert_eq!(one(|key| matches!(key, Key::Rsa { .. }), false), 55);
    assert_eq!(one(|key| matches!(key, Key::Ecdh(_)), false), 99);
    assert_eq!(one(|key| matches!(key, Key::Branch(_)), false), 11);
    assert_eq!(one(|_| true, true), 55, "required encryption context");
    let ran = run(&cases, How::default());
    assert_eq!(
        ran,
        Ran {
            opened: 297,
            refused: 0,
            elsewhere: 190
        }
    );
    promise("vectors-dafny-4.1.0", ran.told());
}

#[test]
fn others_that_are_named() {
    let Ok(named) = std::env::var("WAXSEAL_MANIFEST") else {
        return;
    };
    for path in named.split(':').filter(|path| !path.is_empty()) {
        let manifest = Manifest::read(Path::new(path));
        let ran = run(&manifest.cases, How::default());
        assert!(
            ran.opened + ran.refused > 0,
            "{path} has no case that runs without a KMS"
        );
        promise(path, ran.told());
    }
}

/// The data key is given. The command cannot be told one, and is not run.
#[test]
fn commitment() {
    let Some(file) = vectors::shared("esdk/commitment-test-vectors.json", 46) else {
        return;
    };
    let vectors = json(&file);
    let (mut good, mut bad) = (0, 0);
    for vector in vectors["tests"].as_array().unwrap() {
        let comment = vector["comment"].as_str().unwrap();
        let keyring = GivenKey(base64(&vector["decrypted-dek"]));
        let sealed = base64(&vector["ciphertext"]);
        let opened = open(
            &keyring,
            &sealed,
            &OpenOptions::default(),
            Release::Unverified,
        );
        if vector["status"] == Value::Bool(false) {
            assert!(matches!(opened, Err(OpenError::Unauthentic)), "{comment}");
            bad += 1;
        } else {
            let plaintext = opened.unwrap_or_else(|error| panic!("{comment}: {error}"));
            assert_eq!(
                String::from_utf8(plaintext).unwrap(),
                frames(vector),
                "{comment}"
            );
            good += 1;
        }
    }
    assert_eq!((good, bad), (41, 5));
    promise("vectors-commitment", "41 opened, 5 refused (library)");
}

/// The frames, given as a list, or as a list in the notation of Python.
fn frames(vector: &Value) -> String {
    let list = match &vector["plaintext-frames"] {
        Value::String(python) => serde_json::from_str(&python.replace('\'', "\"")).unwrap(),
        other => other.clone(),
    };
    list.as_array()
        .unwrap()
        .iter()
        .map(|frame| frame.as_str().unwrap())
        .collect()
}

/// A data key of zeros, or of 1, 2, 3…; the header lists what nobody can unwrap.
#[test]
fn decrypt_oracle() {
    let Some(file) = vectors::shared("esdk/python-decrypt-oracle-vectors.json", 18) else {
        return;
    };
    let options = OpenOptions {
        commitment: CommitmentPolicy::ForbidEncryptAllowDecrypt,
        ..OpenOptions::default()
    };
    let mut ran: BTreeMap<String, usize> = BTreeMap::new();
    for vector in json(&file).as_array().unwrap() {
        let text = |member: &str| vector[member].as_str().unwrap();
        let (kind, suite) = (text("key-type"), text("algorithm-suite"));
        *ran.entry(kind.to_owned()).or_default() += 1;
        let key_bytes = match &suite[2..] {
            "14" => 16,
            "46" => 24,
            "78" => 32,
            other => panic!("a suite that ends in {other}"),
        };
        let key = match kind {
            "null" => vec![0; key_bytes],
            "test_counting" => (1..=u8::try_from(key_bytes).unwrap()).collect(),
            _ => continue,
        };
        let sealed = base64(&vector["ciphertext"]);
        let opened = open(&GivenKey(key), &sealed, &options, Release::Unverified);
        let opened = opened.unwrap_or_else(|error| panic!("{kind} {suite}: {error}"));
        assert_eq!(opened, base64(&vector["plaintext"]), "{kind} {suite}");
    }
    let counts = [("aws-kms", 9), ("null", 9), ("test_counting", 9)];
    assert_eq!(
        ran,
        counts.map(|(kind, count)| (kind.to_owned(), count)).into()
    );
    promise(
        "vectors-decrypt-oracle",
        "18 opened (library); 9 of KMS keys not run",
    );
}

fn base64(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

/// What became of the cases of a set; each number holds for the library and for the command.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ran {
    opened: usize,
    refused: usize,
    elsewhere: usize,
}

impl Ran {
    fn told(&self) -> String {
        format!(
            "{} opened, {} refused, as expected, by library and command; {} need a KMS and were not run",
            self.opened, self.refused, self.elsewhere
        )
    }
}

fn count(cases: &[Case], key: fn(&Key) -> bool) -> usize {
    cases
        .iter()
        .filter(|case| case.keys.first().is_some_and(key))
        .count()
}

/// Runs all cases that need no KMS, on all cores. Fails with every case that failed.
fn run(cases: &[Case], how: How) -> Ran {
    let world = World::new();
    let (next, ran) = (AtomicUsize::new(0), Mutex::new(Ran::default()));
    let failures = Mutex::new(Vec::new());
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            if !case.is_local() {
                ran.lock().unwrap().elsewhere += 1;
                continue;
            }
            match checked(&world, case, how) {
                Ok(()) if case.plaintext.is_some() => ran.lock().unwrap().opened += 1,
                Ok(()) => ran.lock().unwrap().refused += 1,
                Err(why) => failures
                    .lock()
                    .unwrap()
                    .push(format!("{}: {why}", case.name)),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
    ran.into_inner().unwrap()
}

fn checked(world: &World, case: &Case, how: How) -> Result<(), String> {
    let expected = case
        .plaintext
        .as_ref()
        .map(|path| fs::read(path).expect("a plaintext"));
    match (through_library(case, how), &expected) {
        (Ok(opened), Some(plaintext)) if opened == *plaintext => {}
        (Ok(_), Some(_)) => return Err("library: another plaintext".into()),
        (Ok(_), None) => return Err("library: opened".into()),
        (Err(error), Some(_)) => return Err(format!("library: {error}")),
        (Err(_), None) => {}
    }
    // The command keeps a signed message back instead, and then opens it.
    if case.unsigned_stream_only {
        return Ok(());
    }
    let ran = through_command(world, case, how);
    match (ran.code, &expected) {
        (Some(0), Some(plaintext)) if ran.stdout == *plaintext => Ok(()),
        (Some(0), Some(_)) => Err("command: another plaintext".into()),
        (Some(0), None) => Err("command: opened".into()),
        (Some(3 | 4 | 7 | 8), None) => Ok(()),
        _ => Err(format!("command: {:?}: {}", ran.code, ran.stderr)),
    }
}
