//! SIGKILL of a server under mixed load: no acknowledged write is lost, every acknowledged request has
//! its record, and the server is ready again at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};
use waxseal_conformance::{Client, Dice, Server, World, promise, tier};
use waxseal_core::crypto::rsa::{RsaPadding, RsaPublicKey};

const CALLERS: usize = 16;
/// How long the load lasts at most before the kill.
const LOAD: Duration = Duration::from_millis(600);
/// Within which the server is to answer again.
const READY: Duration = Duration::from_secs(2);

#[test]
fn nothing_that_was_acknowledged_is_lost() {
    let kills = tier(60, 1_000);
    let (mut dice, seed) = Dice::new(0x5ea1_0101);
    let world = World::new();
    let data = world.path("data");
    let mut all = Promised::default();
    let mut slowest = Duration::ZERO;
    let mut server = Server::start(&world, &data);
    for kill in 0..kills {
        let moment = dice.moment(LOAD);
        let fresh = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CALLERS)
                .map(|number| {
                    let client = server.client();
                    scope.spawn(move || load(client, &format!("{kill}-{number}"), number))
                })
                .collect();
            std::thread::sleep(moment);
            server.kill();
            let mut fresh = Promised::default();
            for client in clients {
                fresh.add(client.join().unwrap());
            }
            fresh
        });
        let begin = Instant::now();
        server = Server::start(&world, &data);
        let health = server.client().get("/healthz").unwrap();
        slowest = slowest.max(begin.elapsed());
        assert_eq!(health.status, 200, "kill {kill}: {health:?}");
        fresh.assert_kept(&mut server.client(), kill);
        all.add(fresh);
    }
    all.assert_kept(&mut server.client(), kills);
    server.kill();
    let audit = data.join("audit");
    waxseal_kms::audit::verify(&audit).unwrap();
    let mut recorded = HashSet::new();
    for record in waxseal_kms::audit::records(&audit) {
        let event: Value = serde_json::from_str(&record.unwrap().line).unwrap();
        recorded.insert(event["requestID"].as_str().unwrap().to_owned());
    }
    let missing = all
        .requests
        .iter()
        .filter(|id| !recorded.contains(*id))
        .count();
    assert_eq!(missing, 0, "acknowledged requests without a record");
    assert!(slowest < READY, "ready again after {slowest:?}");
    let rotations: usize = all.rotations.values().sum();
    assert!(all.keys.len() > kills && rotations > kills / 2, "{all:?}");
    promise(
        "01",
        format!(
            "{kills} kills (seed {seed}) of a server with {CALLERS} callers: {} keys, {} aliases, {} grants, \
             {rotations} rotations, {} imports and {} ciphertexts acknowledged, 0 lost; {} requests \
             acknowledged, 0 without a record; ready again within {slowest:.1?}",
            all.keys.len(),
            all.aliases.len(),
            all.grants.len(),
            all.imported.len(),
            all.blobs.len(),
            all.requests.len(),
        ),
    );
}

/// What was acknowledged.
#[derive(Debug, Default)]
struct Promised {
    keys: BTreeSet<String>,
    aliases: BTreeMap<String, String>,
    /// Key and grant.
    grants: BTreeSet<(String, String)>,
    rotations: BTreeMap<String, usize>,
    imported: BTreeSet<String>,
    /// Ciphertext and plaintext, in base64.
    blobs: Vec<(String, String)>,
    requests: Vec<String>,
}

/// Asks until nobody answers any more.
fn load(mut client: Client, name: &str, number: usize) -> Promised {
    let mut promised = Promised::default();
    for round in 0.. {
        let name = format!("{name}-{round}");
        if promised
            .a_round(&mut client, &name, number + round)
            .is_none()
        {
            break;
        }
    }
    promised
}

impl Promised {
    /// One request; nothing when it was not answered.
    fn ask(&mut self, client: &mut Client, operation: &str, input: Value) -> Option<Value> {
        let answer = client.call(operation, &input).ok()?;
        assert!(answer.is_done(), "{operation}: {answer:?}");
        self.requests.push(answer.request_id);
        Some(answer.body)
    }

    fn a_round(&mut self, client: &mut Client, name: &str, kind: usize) -> Option<()> {
        if kind % 8 == 7 {
            return self.import(client);
        }
        let key = self.ask(client, "CreateKey", json!({}))?;
        let key = key["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
        self.keys.insert(key.clone());
        for step in 0..6 {
            self.encrypt(client, &key, &format!("{name}-{step}"))?;
            match (kind + step) % 3 {
                0 => {
                    let alias = format!("alias/{name}-{step}");
                    let input = json!({ "AliasName": alias, "TargetKeyId": key });
                    self.ask(client, "CreateAlias", input)?;
                    self.aliases.insert(alias, key.clone());
                }
                1 => {
                    let input = json!({
                        "KeyId": key,
                        "GranteePrincipal": "arn:aws:iam::000000000000:user/ann",
                        "Operations": ["Decrypt"],
                        "Name": format!("{name}-{step}"),
                    });
                    let grant = self.ask(client, "CreateGrant", input)?;
                    let grant = grant["GrantId"].as_str().unwrap().to_owned();
                    self.grants.insert((key.clone(), grant));
                }
                _ => {
                    self.ask(client, "RotateKeyOnDemand", json!({ "KeyId": key }))?;
                    *self.rotations.entry(key.clone()).or_default() += 1;
                }
            }
        }
        Some(())
    }

    fn encrypt(&mut self, client: &mut Client, key: &str, text: &str) -> Option<()> {
        let plaintext = STANDARD.encode(text);
        let input = json!({ "KeyId": key, "Plaintext": plaintext });
        let answer = self.ask(client, "Encrypt", input)?;
        let blob = answer["CiphertextBlob"].as_str().unwrap().to_owned();
        self.blobs.push((blob, plaintext));
        Some(())
    }

    fn import(&mut self, client: &mut Client) -> Option<()> {
        let key = self.ask(client, "CreateKey", json!({ "Origin": "EXTERNAL" }))?;
        let key = key["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
        self.keys.insert(key.clone());
        let input = json!({
            "KeyId": key,
            "WrappingAlgorithm": "RSAES_OAEP_SHA_256",
            "WrappingKeySpec": "RSA_2048",
        });
        let parameters = self.ask(client, "GetParametersForImport", input)?;
        let spki = STANDARD
            .decode(parameters["PublicKey"].as_str().unwrap())
            .unwrap();
        let wrapping = RsaPublicKey::from_spki(&spki).unwrap();
        let padding: RsaPadding = "oaep-sha256".parse().unwrap();
        let wrapped = wrapping.encrypt(padding, key.as_bytes().first_chunk::<32>().unwrap());
        let input = json!({
            "KeyId": key,
            "ImportToken": parameters["ImportToken"],
            "EncryptedKeyMaterial": STANDARD.encode(wrapped.unwrap()),
            "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
        });
        self.ask(client, "ImportKeyMaterial", input)?;
        self.imported.insert(key.clone());
        self.encrypt(client, &key, "imported")
    }

    fn add(&mut self, other: Self) {
        self.keys.extend(other.keys);
        self.aliases.extend(other.aliases);
        self.grants.extend(other.grants);
        self.rotations.extend(other.rotations);
        self.imported.extend(other.imported);
        self.blobs.extend(other.blobs);
        self.requests.extend(other.requests);
    }

    fn assert_kept(&self, client: &mut Client, kill: usize) {
        let mut ask = |operation: &str, input: Value| {
            let answer = client.call(operation, &input).unwrap();
            assert!(
                answer.is_done(),
                "kill {kill}: {operation} {input}: {answer:?}"
            );
            answer.body
        };
        for key in &self.keys {
            let told = ask("DescribeKey", json!({ "KeyId": key }));
            let state = told["KeyMetadata"]["KeyState"].as_str().unwrap();
            let is_usable = state == "Enabled";
            assert!(
                is_usable || !self.imported.contains(key),
                "{key} is {state}"
            );
        }
        for (alias, key) in &self.aliases {
            let told = ask("DescribeKey", json!({ "KeyId": alias }));
            assert_eq!(told["KeyMetadata"]["KeyId"], *key, "{alias}");
        }
        for (key, grant) in &self.grants {
            let told = ask("ListGrants", json!({ "KeyId": key, "GrantId": grant }));
            assert_eq!(told["Grants"].as_array().unwrap().len(), 1, "{key} {grant}");
        }
        for (key, rotations) in &self.rotations {
            let told = ask("ListKeyRotations", json!({ "KeyId": key }));
            assert!(
                told["Rotations"].as_array().unwrap().len() >= *rotations,
                "{key}"
            );
        }
        for (blob, plaintext) in &self.blobs {
            let told = ask("Decrypt", json!({ "CiphertextBlob": blob }));
            assert_eq!(told["Plaintext"], *plaintext);
        }
    }
}
