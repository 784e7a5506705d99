//! `inspect` says everything that a header says, without a key and without making a home.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use waxseal_conformance::{World, promise};

const PLAINTEXT: &[u8] = &[b'p'; 300];

/// The same files seen from a place where no key is and no home can be made.
struct Stranger {
    world: World,
    key_arn: String,
    key_id: String,
}

impl Stranger {
    fn new() -> Self {
        let world = World::new();
        world.ok(&["key", "create", "--alias", "inspected"], b"");
        let keys = world.run(&["key", "list", "--json"], b"").json_lines();
        let text = |name: &str| keys[0][name].as_str().expect("text").to_owned();
        let (key_arn, key_id) = (text("arn"), text("keyId"));
        world.write("raw.key", [7; 32]);
        world.write("plain", PLAINTEXT);
        let context = ["-c", "purpose=inspection", "-c", "owner=ann"];
        for (name, args) in [
            ("unsigned.wax", &["--frame", "128"][..]),
            ("signed.wax", &["--signed"]),
            (
                "raw.wax",
                &["-k", "raw-aes:raw.key?namespace=stand&name=key-7"],
            ),
            ("direct.wax", &["-f", "direct"]),
            ("secretbox.wax", &["-f", "secretbox"]),
            ("unsigned.b64", &["--frame", "128", "--base64"]),
            ("direct.b64", &["-f", "direct", "--base64"]),
            ("secretbox.b64", &["-f", "secretbox", "--base64"]),
        ] {
            let mut all = vec!["encrypt", "-k", "alias/inspected", "-o", name];
            all.extend(context);
            all.extend(args);
            all.push("plain");
            world.ok(&all, b"");
        }
        let world = world.with("WAXSEAL_HOME", "/proc/no/such/home");
        Self {
            world,
            key_arn,
            key_id,
        }
    }

    fn json(&self, name: &str) -> Value {
        let ran = self.world.run(&["inspect", "--json", name], b"").exits(0);
        let [line] = &ran.json_lines()[..] else {
            panic!("one line a file: {}", ran.text());
        };
        let piped = self
            .world
            .run(&["inspect", "--json"], &self.world.read(name))
            .exits(0);
        let mut from_pipe = piped.json_lines().remove(0);
        assert_eq!(from_pipe["file"], "-");
        from_pipe["file"] = line["file"].clone();
        assert_eq!(&from_pipe, line, "a pipe is told like a file");
        assert_eq!(line["file"], name);
        assert_eq!(line["authenticated"], false);
        line.clone()
    }

    fn words(&self, name: &str) -> String {
        self.world
            .run(&["inspect", name], b"")
            .exits(0)
            .text()
            .to_owned()
    }

    fn file_bytes(&self, name: &str) -> u64 {
        self.world.read(name).len() as u64
    }
}

#[track_caller]
fn assert_says(words: &str, expected: &[&str]) {
    for text in expected {
        assert!(words.contains(text), "'{text}' is missing:\n{words}");
    }
}

#[test]
fn a_message_shows_suite_keys_context_frames_and_sizes() {
    let stranger = Stranger::new();
    let seen = stranger.json("unsigned.wax");
    assert_eq!(seen["format"], "message");
    assert_eq!(
        (&seen["version"], &seen["suite"]),
        (&2.into(), &"0x0478".into())
    );
    assert_eq!(seen["signed"], false);
    assert_eq!(seen["frame_bytes"], 128);
    // 300 = 2 × 128 + 44
    assert_eq!(
        (&seen["frames"], &seen["plaintext_bytes"]),
        (&3.into(), &300.into())
    );
    assert_eq!(
        seen["ciphertext_bytes"],
        stranger.file_bytes("unsigned.wax")
    );
    let pairs = serde_json::json!({ "owner": "ann", "purpose": "inspection" });
    assert_eq!(seen["context"], pairs);
    let keys = seen["encrypted_data_keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(
        (&keys[0]["provider"], &keys[0]["key"]),
        (&"aws-kms".into(), &stranger.key_arn[..].into())
    );
    assert_eq!(keys[0]["blob"]["key_id"], stranger.key_id);
    assert_eq!(keys[0]["blob"]["plaintext_bytes"], 32);
    let words = stranger.words("unsigned.wax");
    assert_says(
        &words,
        &[
            "0x0478",
            "aws-kms",
            &stranger.key_arn,
            "owner=ann",
            "128",
            "300",
        ],
    );
    assert_says(&words, &["purpose=inspection", "authenticated"]);

    let text = stranger.json("unsigned.b64");
    assert_eq!(
        (&text["base64"], &text["suite"]),
        (&true.into(), &"0x0478".into())
    );
    assert_eq!(
        (&text["frames"], &text["plaintext_bytes"]),
        (&3.into(), &300.into())
    );
    assert_says(&stranger.words("unsigned.b64"), &["base64"]);
    promise(
        "inspect-message",
        "suite, provider, key ARN, context, frame length and sizes",
    );
}

#[test]
fn a_signed_message_shows_its_verification_key() {
    let stranger = Stranger::new();
    let seen = stranger.json("signed.wax");
    assert_eq!(
        (&seen["suite"], &seen["signed"]),
        (&"0x0578".into(), &true.into())
    );
    assert_eq!(
        (&seen["frame_bytes"], &seen["frames"]),
        (&65_536.into(), &1.into())
    );
    assert_eq!(seen["plaintext_bytes"], 300);
    let context = seen["context"].as_object().unwrap();
    assert!(context.contains_key("aws-crypto-public-key"), "{context:?}");
    assert_eq!(context.len(), 3);
    assert_says(
        &stranger.words("signed.wax"),
        &["0x0578", "aws-crypto-public-key"],
    );
}

#[test]
fn every_recipient_is_named() {
    let stranger = Stranger::new();
    let seen = stranger.json("raw.wax");
    let keys = seen["encrypted_data_keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0]["key"], stranger.key_arn);
    assert_eq!(
        (&keys[1]["provider"], &keys[1]["key"]),
        (&"stand".into(), &"key-7".into())
    );
    assert_says(
        &stranger.words("raw.wax"),
        &["stand", "key-7", &stranger.key_arn],
    );
}

#[test]
fn a_blob_and_a_payload_name_their_key_and_sizes() {
    let stranger = Stranger::new();
    for name in ["direct.wax", "direct.b64"] {
        let seen = stranger.json(name);
        assert_eq!(
            (&seen["format"], &seen["base64"]),
            (&"direct".into(), &name.ends_with("b64").into())
        );
        assert_eq!(seen["blob"]["key_id"], stranger.key_id);
        assert_eq!(seen["blob"]["plaintext_bytes"], 300);
        assert_eq!(seen["ciphertext_bytes"], stranger.file_bytes("direct.wax"));
        assert_says(
            &stranger.words(name),
            &["direct", &stranger.key_id, "300 bytes"],
        );
    }
    for name in ["secretbox.wax", "secretbox.b64"] {
        let seen = stranger.json(name);
        assert_eq!(
            (&seen["format"], &seen["algorithm"]),
            (&"secretbox".into(), &"XSalsa20-Poly1305".into())
        );
        assert_eq!(seen["wrapped_key"]["key_id"], stranger.key_id);
        assert_eq!(seen["nonce"].as_str().map(str::len), Some(48));
        assert_eq!(seen["plaintext_bytes"], 300);
        assert_says(
            &stranger.words(name),
            &["XSalsa20-Poly1305", &stranger.key_id, "300 bytes"],
        );
    }
}

/// Neither looking at sealed data nor failing to open it leaves a home behind.
#[test]
fn looking_makes_no_home() {
    let stranger = Stranger::new();
    let names = [
        "unsigned.wax",
        "signed.wax",
        "raw.wax",
        "direct.wax",
        "secretbox.wax",
    ];
    let fresh = World::new();
    for name in names {
        fresh.write(name, stranger.world.read(name));
        fresh.ok(&["inspect", name], b"");
        let ran = fresh.run(&["decrypt", name], b"").exits(4);
        assert_eq!(ran.stdout, b"", "{name}");
        fresh.run(&["decrypt", "-o", "out", name], b"").exits(4);
    }
    fresh.write("noise", [0x55; 400]);
    fresh.run(&["decrypt", "noise"], b"").exits(3);
    fresh.run(&["inspect", "noise"], b"").exits(3);
    fresh.run(&["decrypt", "absent"], b"").exits(74);
    fresh.run(&["audit", "verify"], b"").exits(78);
    assert!(!fresh.home().exists(), "a home was made");
    assert!(!fresh.path("out").exists());
    assert!(fresh.names("tmp").is_empty());
    promise(
        "no-home-by-looking",
        format!("{} files, 3 commands each", names.len()),
    );
}
