//! Promise 24: secrets are nowhere but where they belong. Marked secrets go through every member of
//! every operation of a server that may hold one, through errors of every kind and through headers,
//! and are looked for in everything that the server leaves: logs, audit, trail, store, temporary files,
//! metrics, its output, and the answers of what it refused.
//!
//! What is meant to be logged is no secret: names, descriptions, encryption context, policies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use waxseal_conformance::inputs::members;
use waxseal_conformance::{Dice, Served, World, promise};
use waxseal_kms_api::model::{Kind, Member};
use waxseal_kms_api::op::OPERATIONS;

/// Bytes of a secret that are looked for at once.
const PART: usize = 12;

/// Every secret that was ever used, in the forms in which it could turn up.
#[derive(Default)]
struct Canaries {
    /// The parts of all forms, and whose they are.
    parts: HashMap<[u8; PART], usize>,
    count: usize,
}

impl Canaries {
    /// Remembers a secret of 16 bytes or more.
    fn add(&mut self, secret: &[u8]) {
        assert!(secret.len() >= 16);
        self.count += 1;
        let hexadecimal = hex::encode(secret);
        let upper = hexadecimal.to_uppercase();
        let list = format!("{secret:?}");
        let mut forms = vec![
            secret.to_vec(),
            hexadecimal.into_bytes(),
            upper.into_bytes(),
            list.trim_matches(['[', ']']).as_bytes().to_vec(),
        ];
        // Base64 depends on where in a group of three the secret begins.
        for skip in 0..3 {
            let whole = &secret[skip..][..(secret.len() - skip) / 3 * 3];
            forms.push(STANDARD.encode(whole).into_bytes());
        }
        for form in forms {
            // A part gives away as much as the whole.
            for part in [&form[..PART], &form[form.len() - PART..]] {
                self.parts.insert(part.try_into().unwrap(), self.count);
            }
        }
    }

    /// The secrets that are in `bytes`.
    fn found_in(&self, bytes: &[u8]) -> HashSet<usize> {
        let parts = bytes.windows(PART);
        let found = parts.filter_map(|part| {
            let part: [u8; PART] = part.try_into().ok()?;
            self.parts.get(&part).copied()
        });
        found.collect()
    }
}

struct Hunt {
    canaries: Canaries,
    dice: Dice,
    places: usize,
    found: Vec<String>,
}

impl Hunt {
    /// A secret as text that goes everywhere: letters and digits.
    fn text(&mut self) -> String {
        let text = format!("Canary{:016x}{:016x}", self.dice.roll(), self.dice.roll());
        self.canaries.add(text.as_bytes());
        text
    }

    /// A secret as bytes, as the wire has it.
    fn blob(&mut self, bytes: usize) -> String {
        let secret = self.dice.bytes(bytes);
        self.canaries.add(&secret);
        STANDARD.encode(secret)
    }

    /// What a server handed out, in base64.
    fn handed(&mut self, answer: &Value, member: &str) {
        let secret = answer[member]
            .as_str()
            .unwrap_or_else(|| panic!("{member} in {answer}"));
        let secret = STANDARD.decode(secret).unwrap();
        if secret.len() >= 16 {
            self.canaries.add(&secret);
        }
    }

    fn through(&mut self, what: &str, bytes: &[u8]) {
        self.places += 1;
        let found = self.canaries.found_in(bytes);
        if !found.is_empty() {
            self.found
                .push(format!("{} secrets in {what}", found.len()));
        }
    }

    /// What was refused says nothing of what was sent.
    fn refused(&mut self, what: &str, answer: &waxseal_conformance::served::Answer) {
        if answer.status() != 200 {
            self.through(
                &format!("the refusal of {what}, head"),
                answer.head.as_bytes(),
            );
            self.through(&format!("the refusal of {what}"), &answer.body);
        }
    }
}

/// What is meant to be seen by whoever gets it, and by nobody else: all bytes, and what the model says.
fn is_secret(member: &Member) -> bool {
    let rule = &member.rule;
    rule.is_secret || rule.kind == Kind::Blob || rule.item.is_some_and(|item| item.is_secret)
}

#[test]
fn nothing_secret_is_anywhere_else() {
    let (dice, seed) = Dice::new(0x24_ca_4a);
    let mut hunt = Hunt {
        canaries: Canaries::default(),
        dice,
        places: 0,
        found: Vec::new(),
    };
    let world = World::new();
    let passphrase = hunt.text();
    let file = world.write("passphrase", &passphrase);
    let world = world.with("WAXSEAL_PASSPHRASE_FILE", &file);
    let data = world.path("data");
    let data = data.to_str().unwrap().to_owned();
    let mut server = Served::start(&world, &["--dev", "--data", &data]);
    what_is_done(&mut hunt, &server);
    what_is_refused(&mut hunt, &server);
    hunt.through("metrics", &server.get("/metrics").body);
    hunt.through("health", &server.get("/healthz").body);
    assert_eq!(server.end_by("TERM").code(), Some(0));

    // One that knows who calls.
    let owned = Served::start(&world, &[]);
    strangers(&mut hunt, &owned);
    hunt.through("metrics", &owned.get("/metrics").body);
    drop(owned);
    for (path, bytes) in world.files() {
        if path != file {
            hunt.through(&path.display().to_string(), &bytes);
        }
    }
    assert!(
        hunt.found.is_empty(),
        "seed {seed}:\n{}",
        hunt.found.join("\n")
    );
    assert!(
        hunt.canaries.count >= 1_000,
        "{} secrets",
        hunt.canaries.count
    );
    promise(
        "24",
        format!(
            "{} secrets in 7 forms through {} operations and their errors, {} places: 0 found",
            hunt.canaries.count,
            OPERATIONS.len(),
            hunt.places
        ),
    );
}

/// Operations that do what they are asked, with secrets going in and coming out.
fn what_is_done(hunt: &mut Hunt, server: &Served) {
    let made = |body: &Value| {
        let made = server.done("CreateKey", body);
        made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
    };
    let key = made(&json!({}));
    let context = json!({ "purpose": "test" });
    for bytes in 0..150 {
        let plaintext = hunt.blob(16 + bytes);
        let sealed = server.done(
            "Encrypt",
            &json!({ "KeyId": key, "Plaintext": plaintext, "EncryptionContext": context }),
        );
        let blob = &sealed["CiphertextBlob"];
        let opened = json!({ "CiphertextBlob": blob, "EncryptionContext": context });
        assert_eq!(
            server.done("Decrypt", &opened)["Plaintext"],
            plaintext.as_str()
        );
        // Whoever fails in the middle had the plaintext in hand.
        let refused = server.ask("Decrypt", &json!({ "CiphertextBlob": blob }));
        assert_eq!(refused.status(), 400);
        hunt.refused("Decrypt", &refused);
        server.done(
            "ReEncrypt",
            &json!({ "CiphertextBlob": blob, "SourceEncryptionContext": context,
                     "DestinationKeyId": key }),
        );
    }
    for _ in 0..150 {
        let made = server.done(
            "GenerateDataKey",
            &json!({ "KeyId": key, "KeySpec": "AES_256" }),
        );
        hunt.handed(&made, "Plaintext");
        let made = server.done("GenerateRandom", &json!({ "NumberOfBytes": 32 }));
        hunt.handed(&made, "Plaintext");
    }
    let pair = json!({ "KeyId": key, "KeyPairSpec": "ECC_NIST_P256" });
    for _ in 0..20 {
        let made = server.done("GenerateDataKeyPair", &pair);
        // The curve and the public key are in it too: what is secret is in the middle.
        let private = STANDARD.decode(made["PrivateKeyPlaintext"].as_str().unwrap());
        hunt.canaries.add(&private.unwrap()[36..68]);
    }
    let mac = made(&json!({ "KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC" }));
    let pair = made(&json!({ "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY" }));
    for _ in 0..50 {
        let mut body =
            json!({ "KeyId": mac, "Message": hunt.blob(40), "MacAlgorithm": "HMAC_SHA_256" });
        let tag = server.done("GenerateMac", &body);
        hunt.handed(&tag, "Mac");
        body["Mac"] = tag["Mac"].clone();
        server.done("VerifyMac", &body);
        body["Mac"] = hunt.blob(32).into();
        let refused = server.ask("VerifyMac", &body);
        hunt.refused("VerifyMac", &refused);
        let message = hunt.blob(40);
        let mut body =
            json!({ "KeyId": pair, "Message": message, "SigningAlgorithm": "ECDSA_SHA_256" });
        let signed = server.done("Sign", &body);
        body["Signature"] = signed["Signature"].clone();
        server.done("Verify", &body);
        body["Message"] = hunt.blob(40).into();
        let refused = server.ask("Verify", &body);
        hunt.refused("Verify", &refused);
    }
    let agreement = json!({ "KeySpec": "ECC_NIST_P256", "KeyUsage": "KEY_AGREEMENT" });
    let (ours, theirs) = (made(&agreement), made(&agreement));
    let public = server.done("GetPublicKey", &json!({ "KeyId": theirs }));
    let derived = server.done(
        "DeriveSharedSecret",
        &json!({ "KeyId": ours, "KeyAgreementAlgorithm": "ECDH", "PublicKey": public["PublicKey"] }),
    );
    hunt.handed(&derived, "SharedSecret");
    let kem = made(&json!({ "KeySpec": "ML_KEM_768", "KeyUsage": "ENCAPSULATE_DECAPSULATE" }));
    let made = server.done(
        "Encapsulate",
        &json!({ "KeyId": kem, "EncapsulationAlgorithm": "ML_KEM" }),
    );
    hunt.handed(&made, "SharedSecret");
    server.done(
        "Decapsulate",
        &json!({ "KeyId": kem, "EncapsulationAlgorithm": "ML_KEM",
                 "SharedSecretCiphertextBlob": made["SharedSecretCiphertextBlob"] }),
    );
}

/// Secrets in members of requests that are refused: alone, beside others, in the wrong type, in what is
/// no JSON; for every operation.
fn what_is_refused(hunt: &mut Hunt, server: &Served) {
    for operation in OPERATIONS {
        let all = members(operation);
        let secret = |hunt: &mut Hunt, member: &Member| -> Value {
            match member.rule.kind {
                Kind::Blob => hunt.blob(32).into(),
                Kind::List => json!([hunt.text()]),
                Kind::Structure => {
                    let inner = member.rule.members.unwrap_or_default();
                    let inner = inner.iter().filter(|one| is_secret(one));
                    inner
                        .map(|one| (one.name.to_owned(), Value::from(hunt.text())))
                        .collect()
                }
                _ => hunt.text().into(),
            }
        };
        for member in all {
            let is_structure = member.rule.kind == Kind::Structure;
            if !is_secret(member) && !is_structure {
                continue;
            }
            let alone = json!({ member.name: secret(hunt, member) });
            hunt.refused(operation, &server.ask(operation, &alone));
            let mut beside = json!({ "KeyId": "alias/nobody", member.name: secret(hunt, member) });
            for other in all.iter().filter(|other| is_secret(other)) {
                beside[other.name] = secret(hunt, other);
            }
            hunt.refused(operation, &server.ask(operation, &beside));
            // Too long, and in the wrong place.
            let long = hunt.text().repeat(300);
            hunt.refused(
                operation,
                &server.ask(operation, &json!({ member.name: long })),
            );
            for wrong in [json!({ "a": hunt.text() }), json!([[hunt.text()]])] {
                let body = json!({ member.name: wrong });
                hunt.refused(operation, &server.ask(operation, &body));
            }
        }
        // In members that are not known, and in what is no JSON at all.
        let unknown = json!({ "Unknown": hunt.text() });
        hunt.refused(operation, &server.ask(operation, &unknown));
        let text = hunt.text();
        for broken in [
            format!("{{\"Plaintext\": \"{text}"),
            format!("{{\"Plaintext\": {text}}}"),
            text.to_string(),
        ] {
            let refused = server.send(operation, broken.as_bytes(), "");
            hunt.refused(operation, &refused);
        }
        let headers = format!(
            "Authorization: AWS4-HMAC-SHA256 Credential=A/20260101/local/kms/aws4_request, \
             SignedHeaders=host, Signature={}\r\nX-Amz-Security-Token: {}\r\n",
            hunt.text(),
            hunt.text()
        );
        hunt.refused(operation, &server.send(operation, b"{}", &headers));
    }
}

/// Secrets in the hands of people who are not let in, and of those who ask STS.
fn strangers(hunt: &mut Hunt, server: &Served) {
    for operation in ["Encrypt", "ListKeys", "CreateCustomKeyStore"] {
        for _ in 0..20 {
            let body = json!({ "Plaintext": hunt.blob(24), "KeyStorePassword": hunt.text() });
            hunt.refused(operation, &server.ask(operation, &body));
            let headers = format!(
                "Authorization: AWS4-HMAC-SHA256 Credential=AKIA/20260101/local/kms/aws4_request, \
                 SignedHeaders=host;x-amz-date, Signature={}\r\n\
                 X-Amz-Date: 20260101T000000Z\r\nX-Amz-Security-Token: {}\r\n",
                hunt.text(),
                hunt.text()
            );
            let refused = server.send(operation, body.to_string().as_bytes(), &headers);
            hunt.refused(operation, &refused);
        }
    }
    for _ in 0..20 {
        let token = hunt.text();
        let form = format!(
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn:aws:iam::000000000000:role/r\
             &RoleSessionName=s&WebIdentityToken={token}"
        );
        hunt.refused("AssumeRoleWithWebIdentity", &server.form(&form));
    }
}

/// What a hunt would miss it has to find first.
#[test]
fn the_hunt_finds() {
    let mut canaries = Canaries::default();
    canaries.add(b"CANARY-0123456789abcdef");
    for hidden in [
        b"..CANARY-0123456789abcdef..".to_vec(),
        hex::encode("CANARY-0123456789abcdef").into_bytes(),
        hex::encode_upper("CANARY-0123456789abcdef").into_bytes(),
        format!("{:?}", b"--CANARY-0123456789abcdef--").into_bytes(),
        STANDARD.encode(b"CANARY-0123456789abcdef").into_bytes(),
        STANDARD.encode(b"-CANARY-0123456789abcdef").into_bytes(),
        STANDARD.encode(b"--CANARY-0123456789abcdef-").into_bytes(),
        b"--- 0456789abcdef ---".to_vec(),
    ] {
        let found = canaries.found_in(&hidden).len();
        let is_there = found == 1 || hidden.starts_with(b"---");
        assert!(is_there, "{}", String::from_utf8_lossy(&hidden));
    }
    assert!(canaries.found_in(b"CANARY-0000000000000000").is_empty());
}
