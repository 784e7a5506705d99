//! Secrets stay where they belong: marked plaintexts, passphrases and keys go through every
//! command, failing ones included, and are looked for in all that comes out beside the data.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pollster::block_on;
use std::collections::BTreeMap;
use std::sync::Arc;
use waxseal::message::{Incoming, Limits, OpenOptions};
use waxseal::{DataKey, Keyring, RawAesKeyring, SystemEntropy};
use waxseal_conformance::{Dice, Ran, World, promise};
use waxseal_core::keyring::Unwrapped;
use waxseal_core::{EncryptionContext, SecretBytes};
use waxseal_kms_api::op::{DecryptResponse, EncryptRequest, GenerateDataKeyResponse};
use waxseal_kms_api::shape::{Blob, SecretBlob};

/// A secret and the forms in which it could turn up.
struct Canary {
    name: &'static str,
    forms: Vec<Vec<u8>>,
}

impl Canary {
    fn new(name: &'static str, secret: &[u8]) -> Self {
        let debug = format!("{secret:?}");
        let list = debug.trim_matches(['[', ']']).to_owned();
        // Base64 depends on where in a group of three the secret begins.
        let base64 =
            (0..3).map(|skip| STANDARD.encode(&secret[skip..][..(secret.len() - skip) / 3 * 3]));
        let mut forms = vec![
            secret.to_vec(),
            hex::encode(secret).into_bytes(),
            hex::encode_upper(secret).into_bytes(),
            list.into_bytes(),
        ];
        forms.extend(base64.map(String::into_bytes));
        // A part gives away as much as the whole.
        forms.push(secret[secret.len() / 2..].to_vec());
        Self { name, forms }
    }

    #[track_caller]
    fn assert_not_in(&self, what: &str, bytes: &[u8]) {
        for form in &self.forms {
            let found = bytes.windows(form.len()).any(|window| window == form);
            assert!(!found, "{} in {what}", self.name);
        }
    }
}

/// What is looked for, and where it was not found.
struct Hunt {
    canaries: Vec<Canary>,
    places: usize,
}

impl Hunt {
    #[track_caller]
    fn through(&mut self, what: &str, bytes: &[u8]) {
        for canary in &self.canaries {
            canary.assert_not_in(what, bytes);
        }
        self.places += 1;
    }

    /// stderr always; stdout where it does not carry plaintext.
    #[track_caller]
    fn through_run(&mut self, ran: &Ran, carries_plaintext: bool) {
        self.through(&format!("stderr of {}", ran.line), ran.stderr.as_bytes());
        if !carries_plaintext {
            self.through(&format!("stdout of {}", ran.line), &ran.stdout);
        }
    }
}

#[test]
fn nothing_secret_comes_out_beside_the_data() {
    let (mut dice, seed) = Dice::new(0x5ec2_e701);
    let mut marked = |prefix: &str| format!("{prefix}-{:016x}{:016x}", dice.roll(), dice.roll());
    let (plaintext, passphrase) = (marked("CANARY-PLAINTEXT"), marked("CANARY-PASSPHRASE"));
    let wrong_passphrase = marked("CANARY-WRONG");
    let raw_key = dice.bytes(32);

    let world = World::new();
    let passphrase_file = world.write("passphrase", &passphrase);
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&passphrase_file, private).unwrap();
    world.write("raw.key", &raw_key);
    world.write("plain", &plaintext);
    let world = world.with("WAXSEAL_PASSPHRASE_FILE", &passphrase_file);
    let mut hunt = Hunt {
        canaries: vec![
            Canary::new("the plaintext", plaintext.as_bytes()),
            Canary::new("the passphrase", passphrase.as_bytes()),
            Canary::new("the wrong passphrase", wrong_passphrase.as_bytes()),
            Canary::new("the raw key", &raw_key),
        ],
        places: 0,
    };

    let sealing: &[(&str, &[&str])] = &[
        ("message", &[]),
        ("signed", &["--signed"]),
        ("direct", &["-f", "direct"]),
        ("secretbox", &["-f", "secretbox"]),
        ("raw", &["-k", "raw-aes:raw.key"]),
        ("both", &["-k", "alias/default", "-k", "raw-aes:raw.key"]),
        ("text", &["--base64"]),
    ];
    for (name, args) in sealing {
        for json in [&[][..], &["--json"]] {
            let all = [&["encrypt", "-o", name, "plain"], *args, json].concat();
            hunt.through_run(&world.run(&all, b"").exits(0), false);
        }
        hunt.through(name, &world.read(name));
        let raw: &[&str] = if *name == "raw" {
            &["-k", "raw-aes:raw.key"]
        } else {
            &[]
        };
        for json in [&[][..], &["--json"]] {
            let opened = world
                .run(&[&["decrypt", name], raw, json].concat(), b"")
                .exits(0);
            assert_eq!(opened.text(), plaintext);
            hunt.through_run(&opened, true);
            hunt.through_run(
                &world
                    .run(&[&["inspect", name], json].concat(), b"")
                    .exits(0),
                false,
            );
        }
        // Whoever fails in the middle had the data key in hand.
        let mut altered = world.read(name);
        let last = altered.len() - 10;
        altered[last] ^= 1;
        for json in [&[][..], &["--json"]] {
            let ran = world.run(&[&["decrypt"], raw, json].concat(), &altered);
            assert_ne!(ran.code, Some(0));
            hunt.through_run(&ran, false);
            let ran = world.run(&[&["decrypt", name, "-c", "a=b"], raw, json].concat(), b"");
            assert_ne!(ran.code, Some(0));
            hunt.through_run(&ran, false);
        }
    }
    // Data where a key or a name is expected: what is quoted must not be what is secret.
    for (args, input) in [
        (&["decrypt", "plain"][..], &b""[..]),
        (&["inspect", "plain"], b""),
        (&["decrypt"], plaintext.as_bytes()),
        (&["encrypt", "-k", "raw-aes:plain", "plain"], b""),
        (
            &["encrypt", "-f", "direct", "-k", "raw-aes:raw.key", "plain"],
            b"",
        ),
        (&["encrypt", "-k", "alias/nobody"], plaintext.as_bytes()),
        (&["encrypt", "-o", "absent/out", "plain"], b""),
        (&["encrypt", "-o", "tmp", "plain", "absent"], b""),
        (&["decrypt", "-k", "raw-aes:raw.key?name=other", "raw"], b""),
    ] {
        for json in [&[][..], &["--json"]] {
            let ran = world.run(&[args, json].concat(), input);
            assert_ne!(ran.code, Some(0), "{}", ran.line);
            hunt.through_run(&ran, false);
        }
    }
    for args in [
        &[
            "key",
            "create",
            "--alias",
            "second",
            "--description",
            "a second key",
        ][..],
        &["key", "list"],
        &["key", "show", "alias/default"],
        &["key", "rotate", "alias/default"],
        &["key", "rotations", "alias/default"],
        &["key", "alias", "third", "alias/second"],
        &["key", "disable", "alias/second"],
        &["key", "enable", "alias/second"],
        &["audit", "list"],
        &["audit", "verify"],
        &["demo"],
        &["demo", "-f", "secretbox"],
        &["demo", "-f", "direct"],
    ] {
        for json in [&[][..], &["--json"]] {
            // Changing one's mind twice is no failure; making the same alias again is one.
            let ran = world.run(&[args, json].concat(), plaintext.as_bytes());
            hunt.through_run(&ran, args[0] == "demo");
        }
    }
    world.write("passphrase", &wrong_passphrase);
    for args in [
        &["decrypt", "message"][..],
        &["encrypt", "plain"],
        &["key", "list"],
    ] {
        for json in [&[][..], &["--json"]] {
            let ran = world.run(&[args, json].concat(), b"").exits(4);
            hunt.through_run(&ran, false);
        }
    }

    let ours = ["passphrase", "raw.key", "plain"].map(|name| world.path(name));
    for (path, bytes) in world.files() {
        if !ours.contains(&path) {
            hunt.through(&path.display().to_string(), &bytes);
        }
    }
    assert!(world.path("home/audit").is_dir() && !world.events().is_empty());
    promise(
        "canaries",
        format!(
            "4 secrets in 7 forms, {} places: 0 found (seed {seed})",
            hunt.places
        ),
    );
}

/// The root key and the data keys of messages: known only after the fact.
#[test]
fn keys_stay_in() {
    let world = World::new();
    world.write("plain", "some plaintext");
    world.write("raw.key", [0xeb; 32]);
    let mut told = Vec::new();
    for args in [
        &[
            "encrypt",
            "-o",
            "raw",
            "-k",
            "raw-aes:raw.key?name=k",
            "plain",
        ][..],
        &["encrypt", "-o", "message", "plain"],
        &["decrypt", "message", "--json"],
        &["inspect", "message", "--json"],
        &["inspect", "raw"],
        &["key", "rotate", "alias/default"],
        &["key", "show", "alias/default", "--json"],
        &["audit", "list", "--json"],
    ] {
        let ran = world.run(args, b"").exits(0);
        told.extend(ran.stdout);
        told.extend(ran.stderr.into_bytes());
    }
    let sealed = world.read("raw");
    let incoming = Incoming::read(&sealed[..], &Limits::default()).unwrap();
    let key = SecretBytes::new(vec![0xeb; 32]);
    let keyring = RawAesKeyring::new("waxseal", "k", &key, Arc::new(SystemEntropy)).unwrap();
    let header = incoming.header();
    let unwrapped = block_on(keyring.unwrap(&header.encrypted_data_keys()[0], header.context()));
    let Unwrapped::Key(data_key) = unwrapped.unwrap() else {
        panic!("it is this key's")
    };
    let mut hunt = Hunt {
        canaries: vec![
            Canary::new("a data key", data_key.expose()),
            Canary::new("the root key", &world.read("home/root.key")),
        ],
        places: 0,
    };
    hunt.through("everything told", &told);
    for (path, bytes) in world.files() {
        if path != world.path("home/root.key") {
            hunt.through(&path.display().to_string(), &bytes);
        }
    }
    promise(
        "keys-stay-in",
        format!("data key and root key, {} places: 0 found", hunt.places),
    );
}

/// Whoever prints a type for debugging prints no secret.
#[test]
fn debug_formats() {
    let secret = b"CANARY-SECRET-0123456789abcdef!!".to_vec();
    let bytes = || SecretBytes::copy_of(&secret);
    let keyring = RawAesKeyring::new("ns", "name", &bytes(), Arc::new(SystemEntropy)).unwrap();
    let context = EncryptionContext::new();
    let generated = block_on(keyring.generate(32, &context)).unwrap();
    let data_key = generated.key.expose().to_vec();
    let request = EncryptRequest {
        key_id: "alias/x".into(),
        plaintext: SecretBlob(bytes()),
        encryption_context: BTreeMap::new(),
        ..EncryptRequest::default()
    };
    let decrypted = DecryptResponse {
        key_id: String::new(),
        plaintext: SecretBlob(bytes()),
        encryption_algorithm: String::new(),
        key_material_id: None,
        ciphertext_for_recipient: None,
    };
    let answered = GenerateDataKeyResponse {
        ciphertext_for_recipient: None,
        ciphertext_blob: Blob(vec![1]),
        plaintext: SecretBlob(bytes()),
        key_id: String::new(),
        key_material_id: String::new(),
    };
    let formats = [
        format!("{:?} {:#?}", bytes(), bytes()),
        format!("{:?}", DataKey::new(bytes())),
        format!("{:#?}", Unwrapped::Key(DataKey::new(bytes()))),
        format!("{keyring:#?}"),
        format!("{generated:#?}"),
        format!("{request:#?}"),
        format!("{decrypted:#?} {answered:#?}"),
        format!("{:?}", Some(OpenOptions::default())),
    ];
    for canary in [
        Canary::new("a secret", &secret),
        Canary::new("a data key", &data_key),
    ] {
        for format in &formats {
            canary.assert_not_in(format, format.as_bytes());
        }
    }
    promise(
        "debug-formats",
        format!("{} formats: 0 secrets", formats.len()),
    );
}

/// What a hunt would miss it has to find first.
#[test]
fn the_hunt_finds() {
    let canary = Canary::new("a secret", b"CANARY-0123456789abcdef");
    let hides = [
        b"..CANARY-0123456789abcdef..".to_vec(),
        format!("x{}", hex::encode("CANARY-0123456789abcdef")).into_bytes(),
        format!("{:?}", b"--CANARY-0123456789abcdef--").into_bytes(),
        STANDARD.encode(b"-CANARY-0123456789abcdef").into_bytes(),
        STANDARD.encode(b"--CANARY-0123456789abcdef-").into_bytes(),
        b"456789abcdef".to_vec(),
    ];
    for hidden in hides {
        let found = canary
            .forms
            .iter()
            .any(|form| hidden.windows(form.len()).any(|w| w == form));
        assert!(found, "{}", String::from_utf8_lossy(&hidden));
    }
}
