//! Every operation against who asks and which state its key is in: one row an operation, every cell
//! asserted. An operation without a row fails the test.
//!
//! States follow the Developer Guide (*Key states of AWS KMS keys*).

use crate::device::{CERTIFICATE, CLUSTER, Fake, PIN, Token};
use crate::support::World;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use waxseal_kms::caller::Caller;
use waxseal_kms::device::Cluster;
use waxseal_kms_api::ErrorCode;
use waxseal_kms_api::op::*;

/// What a cell comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    Done,
    Refused(ErrorCode),
}

use Cell::Done;
const DISABLED: Cell = Cell::Refused(ErrorCode::Disabled);
const STATE: Cell = Cell::Refused(ErrorCode::InvalidState);
const DENIED: Cell = Cell::Refused(ErrorCode::AccessDenied);

/// The key of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Symmetric,
    Mac,
    Pair,
    Agreement,
    Kem,
    MultiRegion,
    External,
    /// No key: a custom key store.
    Store,
    /// No key: the account.
    None,
}

struct Row {
    name: &'static str,
    kind: Kind,
    /// What the owner gets: the key enabled, disabled, waiting for its deletion. Keys of origin
    /// EXTERNAL have no material, and are so waiting for its import where others are enabled.
    owner: [Cell; 3],
    /// Whether a grant of all operations lets a user do it.
    granted: bool,
}

const fn row(name: &'static str, kind: Kind, owner: [Cell; 3], granted: bool) -> Row {
    Row {
        name,
        kind,
        owner,
        granted,
    }
}

/// An operation that uses a key, and needs it enabled.
const fn used(name: &'static str, kind: Kind) -> Row {
    row(name, kind, [Done, DISABLED, STATE], true)
}

/// One that looks at it, or at what belongs to it.
const fn looked(name: &'static str) -> Row {
    row(name, Kind::Symmetric, [Done, Done, Done], false)
}

/// One on the account.
const fn on_account(name: &'static str, cell: Cell) -> Row {
    row(name, Kind::None, [cell, cell, cell], false)
}

/// One on a custom key store, which the device of a cluster stands behind.
const fn on_store(name: &'static str) -> Row {
    row(name, Kind::Store, [Done, Done, Done], false)
}

impl Kind {
    fn has_key(self) -> bool {
        !matches!(self, Self::Store | Self::None)
    }
}

fn rows() -> Vec<Row> {
    use Kind::*;
    vec![
        row("CancelKeyDeletion", Symmetric, [STATE, STATE, Done], false),
        on_store("ConnectCustomKeyStore"),
        row("CreateAlias", Symmetric, [Done, Done, STATE], false),
        on_store("CreateCustomKeyStore"),
        row("CreateGrant", Symmetric, [Done, DISABLED, STATE], true),
        on_account("CreateKey", Done),
        used("Decapsulate", Kem),
        used("Decrypt", Symmetric),
        looked("DeleteAlias"),
        on_store("DeleteCustomKeyStore"),
        row(
            "DeleteImportedKeyMaterial",
            External,
            [Done, STATE, Done],
            false,
        ),
        used("DeriveSharedSecret", Agreement),
        on_store("DescribeCustomKeyStores"),
        row("DescribeKey", Symmetric, [Done, Done, Done], true),
        row("DisableKey", Symmetric, [Done, Done, STATE], false),
        row(
            "DisableKeyRotation",
            Symmetric,
            [Done, DISABLED, STATE],
            false,
        ),
        on_store("DisconnectCustomKeyStore"),
        row("EnableKey", Symmetric, [Done, Done, STATE], false),
        row(
            "EnableKeyRotation",
            Symmetric,
            [Done, DISABLED, STATE],
            false,
        ),
        used("Encapsulate", Kem),
        used("Encrypt", Symmetric),
        used("GenerateDataKey", Symmetric),
        used("GenerateDataKeyPair", Symmetric),
        used("GenerateDataKeyPairWithoutPlaintext", Symmetric),
        used("GenerateDataKeyWithoutPlaintext", Symmetric),
        used("GenerateMac", Mac),
        on_account("GenerateRandom", Done),
        looked("GetKeyLastUsage"),
        looked("GetKeyPolicy"),
        looked("GetKeyRotationStatus"),
        row(
            "GetParametersForImport",
            External,
            [Done, STATE, STATE],
            false,
        ),
        used("GetPublicKey", Pair),
        row("ImportKeyMaterial", External, [Done, STATE, STATE], false),
        on_account("ListAliases", Done),
        looked("ListGrants"),
        looked("ListKeyPolicies"),
        looked("ListKeyRotations"),
        on_account("ListKeys", Done),
        looked("ListResourceTags"),
        on_account("ListRetirableGrants", Done),
        looked("PutKeyPolicy"),
        used("ReEncrypt", Symmetric),
        row("ReplicateKey", MultiRegion, [Done, DISABLED, STATE], false),
        // Who may stands in the grant.
        row("RetireGrant", Symmetric, [Done, Done, Done], true),
        looked("RevokeGrant"),
        row(
            "RotateKeyOnDemand",
            Symmetric,
            [Done, DISABLED, STATE],
            false,
        ),
        row("ScheduleKeyDeletion", Symmetric, [Done, Done, STATE], false),
        used("Sign", Pair),
        row("TagResource", Symmetric, [Done, Done, STATE], false),
        row("UntagResource", Symmetric, [Done, Done, STATE], false),
        row("UpdateAlias", Symmetric, [Done, Done, STATE], false),
        on_store("UpdateCustomKeyStore"),
        row(
            "UpdateKeyDescription",
            Symmetric,
            [Done, Done, STATE],
            false,
        ),
        row(
            "UpdatePrimaryRegion",
            MultiRegion,
            [Done, DISABLED, STATE],
            false,
        ),
        used("Verify", Pair),
        used("VerifyMac", Mac),
    ]
}

/// Brings a stage into a state.
type Prepare = fn(&Stage);

struct Stage {
    world: World,
    key: String,
    /// By name: what a request says.
    bodies: BTreeMap<&'static str, Value>,
    user: Caller,
}

impl Stage {
    /// A key of a kind, and what every operation on it takes; it may be `ask`ed for.
    fn new(kind: Kind) -> Self {
        let world = World::new();
        let owner = Caller::owner(world.engine.home(), "test");
        let ask = |name: &str, body: Value| -> Value {
            let body = serde_json::to_vec(&body).unwrap();
            let answer = world
                .engine
                .answer(owner.clone(), "local", name, &body)
                .unwrap();
            serde_json::from_slice(answer.result.unwrap().expose()).unwrap()
        };
        let (spec, usage) = match kind {
            Kind::Mac => ("HMAC_256", "GENERATE_VERIFY_MAC"),
            Kind::Pair => ("ECC_NIST_P256", "SIGN_VERIFY"),
            Kind::Agreement => ("ECC_NIST_P256", "KEY_AGREEMENT"),
            Kind::Kem => ("ML_KEM_768", "ENCAPSULATE_DECAPSULATE"),
            _ => ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"),
        };
        let origin = if kind == Kind::External {
            "EXTERNAL"
        } else {
            "AWS_KMS"
        };
        let made = ask(
            "CreateKey",
            json!({ "KeySpec": spec, "KeyUsage": usage, "Origin": origin,
                    "MultiRegion": kind == Kind::MultiRegion }),
        );
        let key = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
        let of_key = |more: Value| {
            let mut body = json!({ "KeyId": key });
            for (name, value) in more.as_object().unwrap() {
                body[name] = value.clone();
            }
            body
        };
        let message = json!({ "Message": "bWVzc2FnZQ==" });
        let mut bodies: BTreeMap<&'static str, Value> = OPERATIONS
            .iter()
            .map(|name| (*name, json!({ "KeyId": key })))
            .collect();
        let mut set = |name: &'static str, body: Value| bodies.insert(name, body);
        for name in [
            "CreateKey",
            "ListKeys",
            "ListAliases",
            "DescribeCustomKeyStores",
        ] {
            set(name, json!({}));
        }
        set("GenerateRandom", json!({ "NumberOfBytes": 8 }));
        set(
            "ListRetirableGrants",
            json!({ "RetiringPrincipal": owner.arn() }),
        );
        set(
            "TagResource",
            of_key(json!({ "Tags": [{ "TagKey": "a", "TagValue": "b" }] })),
        );
        set("UntagResource", of_key(json!({ "TagKeys": ["a"] })));
        set(
            "UpdateKeyDescription",
            of_key(json!({ "Description": "d" })),
        );
        set(
            "CreateAlias",
            json!({ "AliasName": "alias/new", "TargetKeyId": key }),
        );
        set(
            "UpdateAlias",
            json!({ "AliasName": "alias/old", "TargetKeyId": key }),
        );
        set("DeleteAlias", json!({ "AliasName": "alias/old" }));
        set(
            "ReplicateKey",
            of_key(json!({ "ReplicaRegion": "us-east-1" })),
        );
        set(
            "UpdatePrimaryRegion",
            of_key(json!({ "PrimaryRegion": "eu-west-1" })),
        );
        set("PutKeyPolicy", of_key(json!({ "Policy": owners_policy() })));
        ask(
            "CreateAlias",
            json!({ "AliasName": "alias/old", "TargetKeyId": key }),
        );

        let user = ask_user(&world);
        let granted = possible(kind);
        if kind != Kind::External && kind.has_key() {
            let grant = ask(
                "CreateGrant",
                of_key(json!({ "GranteePrincipal": user.arn(), "Operations": granted })),
            );
            let id = grant["GrantId"].clone();
            set("RevokeGrant", of_key(json!({ "GrantId": id })));
            set("RetireGrant", of_key(json!({ "GrantId": id })));
        }
        let other = json!({ "GranteePrincipal": "arn:aws:iam::000000000000:user/zoe",
                            "Operations": ["DescribeKey"] });
        set("CreateGrant", of_key(other));
        match kind {
            Kind::Symmetric => {
                set("Encrypt", of_key(json!({ "Plaintext": "YQ==" })));
                let blob = ask("Encrypt", of_key(json!({ "Plaintext": "YQ==" })));
                let blob = &blob["CiphertextBlob"];
                set("Decrypt", json!({ "CiphertextBlob": blob }));
                set(
                    "ReEncrypt",
                    json!({ "CiphertextBlob": blob, "DestinationKeyId": key }),
                );
                for name in ["GenerateDataKey", "GenerateDataKeyWithoutPlaintext"] {
                    set(name, of_key(json!({ "KeySpec": "AES_256" })));
                }
                for name in ["GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext"] {
                    set(name, of_key(json!({ "KeyPairSpec": "ECC_NIST_P256" })));
                }
            }
            Kind::Mac => {
                let mut body = of_key(message);
                body["MacAlgorithm"] = "HMAC_SHA_256".into();
                let mac = ask("GenerateMac", body.clone());
                set("GenerateMac", body.clone());
                body["Mac"] = mac["Mac"].clone();
                set("VerifyMac", body);
            }
            Kind::Pair => {
                let mut body = of_key(message);
                body["SigningAlgorithm"] = "ECDSA_SHA_256".into();
                let signed = ask("Sign", body.clone());
                set("Sign", body.clone());
                body["Signature"] = signed["Signature"].clone();
                set("Verify", body);
            }
            Kind::Agreement => {
                let public = ask("GetPublicKey", json!({ "KeyId": key }));
                let body =
                    json!({ "KeyAgreementAlgorithm": "ECDH", "PublicKey": public["PublicKey"] });
                set("DeriveSharedSecret", of_key(body));
            }
            Kind::Kem => {
                let body = of_key(json!({ "EncapsulationAlgorithm": "ML_KEM" }));
                let made = ask("Encapsulate", body.clone());
                set("Encapsulate", body.clone());
                let mut body = body;
                body["SharedSecretCiphertextBlob"] = made["SharedSecretCiphertextBlob"].clone();
                set("Decapsulate", body);
            }
            Kind::External => {
                let wanted = json!({ "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048" });
                set("GetParametersForImport", of_key(wanted));
                let request = world.import(&key, &[1; 32]);
                set("ImportKeyMaterial", serde_json::to_value(&request).unwrap());
            }
            Kind::MultiRegion => {
                let there = json!({ "ReplicaRegion": "eu-west-1" });
                ask("ReplicateKey", of_key(there));
            }
            Kind::Store => {
                let cluster = |_| Arc::new(Fake(Arc::new(Token::default()))) as Arc<dyn Cluster>;
                let ids = ["aaaaaaaaaaa", "bbbbbbbbbbb"].map(|id| format!("cluster-{id}"));
                let ids = ids.into_iter().chain([CLUSTER.to_owned()]);
                world
                    .engine
                    .attach(ids.map(|id| (id.clone(), cluster(id))).collect());
                let wanted = |name: &str, id: &str| {
                    json!({ "CustomKeyStoreName": name, "CloudHsmClusterId": id,
                            "KeyStorePassword": PIN, "TrustAnchorCertificate": CERTIFICATE })
                };
                let made = ask(
                    "CreateCustomKeyStore",
                    wanted("apart", "cluster-aaaaaaaaaaa"),
                );
                for name in [
                    "ConnectCustomKeyStore",
                    "DeleteCustomKeyStore",
                    "UpdateCustomKeyStore",
                ] {
                    set(name, made.clone());
                }
                let made = ask(
                    "CreateCustomKeyStore",
                    wanted("together", "cluster-bbbbbbbbbbb"),
                );
                ask("ConnectCustomKeyStore", made.clone());
                set("DisconnectCustomKeyStore", made);
                set("CreateCustomKeyStore", wanted("mine", CLUSTER));
            }
            Kind::None => {}
        }
        Self {
            world,
            key,
            bodies,
            user,
        }
    }

    fn ask(&self, caller: &Caller, name: &str) -> Cell {
        let body = serde_json::to_vec(&self.bodies[name]).unwrap();
        let answer = self
            .world
            .engine
            .answer(caller.clone(), "local", name, &body);
        match answer.unwrap().result {
            Ok(_) => Done,
            Err(error) => Cell::Refused(error.code),
        }
    }

    fn disable(&self) {
        let key_id = self.key.clone();
        let _ = self.world.call(DisableKeyRequest { key_id });
    }

    fn delete(&self) {
        let request = ScheduleKeyDeletionRequest {
            key_id: self.key.clone(),
            pending_window_in_days: None,
        };
        self.world.call(request).unwrap();
    }
}

fn owners_policy() -> String {
    let statement = json!({ "Effect": "Allow", "Principal": { "AWS": "000000000000" },
                            "Action": "kms:*", "Resource": "*" });
    json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
}

fn ask_user(world: &World) -> Caller {
    let made = world.user("000000000000", "ann");
    let credential = world.engine.credential(&made.access_key_id, None).unwrap();
    credential.unwrap().caller
}

/// What a grant on a key of this kind can allow.
fn possible(kind: Kind) -> Vec<&'static str> {
    let own: &[&str] = match kind {
        Kind::Mac => &["GenerateMac", "VerifyMac"],
        Kind::Pair => &["Sign", "Verify", "GetPublicKey"],
        Kind::Agreement => &["DeriveSharedSecret", "GetPublicKey"],
        Kind::Kem => &["Encapsulate", "Decapsulate", "GetPublicKey"],
        _ => &[
            "Encrypt",
            "Decrypt",
            "GenerateDataKey",
            "GenerateDataKeyWithoutPlaintext",
            "GenerateDataKeyPair",
            "GenerateDataKeyPairWithoutPlaintext",
            "ReEncryptFrom",
            "ReEncryptTo",
        ],
    };
    [own, &["CreateGrant", "RetireGrant", "DescribeKey"]].concat()
}

#[test]
fn every_operation_is_in_the_matrix() {
    let mut named: Vec<_> = rows().iter().map(|row| row.name).collect();
    named.sort_unstable();
    assert_eq!(named, OPERATIONS);
}

#[test]
fn every_cell_of_the_matrix_is_as_it_says() {
    let mut wrong = Vec::new();
    for row in rows() {
        let owner = |stage: &Stage| Caller::owner(stage.world.engine.home(), "test");
        let mut expect = |what: &str, seen: Cell, expected: Cell| {
            if seen != expected {
                wrong.push(format!("{} {what}: {seen:?}, not {expected:?}", row.name));
            }
        };
        let states: [(&str, Prepare); 3] = [
            ("by the owner", |_| {}),
            ("disabled", Stage::disable),
            ("pending deletion", Stage::delete),
        ];
        for ((what, prepare), cell) in states.into_iter().zip(row.owner) {
            // A key without material cannot be disabled.
            if row.kind == Kind::External && what == "disabled" {
                continue;
            }
            let stage = Stage::new(row.kind);
            prepare(&stage);
            expect(what, stage.ask(&owner(&stage), row.name), cell);
        }
        let stage = Stage::new(row.kind);
        if row.kind.has_key() && row.kind != Kind::External {
            let cell = if row.granted { row.owner[0] } else { DENIED };
            expect("by a grantee", stage.ask(&stage.user, row.name), cell);
        }
        let stranger = Caller::owner(
            &waxseal_core::arn::Home {
                account: "999988887777".to_owned(),
                ..stage.world.engine.home().clone()
            },
            "test",
        );
        if row.kind.has_key() && !row.name.contains("Alias") {
            let key = format!("arn:aws:kms:local:000000000000:key/{}", stage.key);
            let mut elsewhere = Stage::new(row.kind);
            let key = key.replace(&stage.key, &elsewhere.key);
            for body in elsewhere.bodies.values_mut() {
                for member in ["KeyId", "DestinationKeyId", "TargetKeyId"] {
                    if body.get(member).is_some() {
                        body[member] = key.clone().into();
                    }
                }
            }
            expect(
                "by another account",
                elsewhere.ask(&stranger, row.name),
                DENIED,
            );
        }
        if !row.kind.has_key() {
            let denied = stage.ask(&stage.user, row.name);
            expect("by a user without a policy", denied, DENIED);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The table of the documentation.
fn table() -> String {
    let said = |cell: &Cell| match cell {
        Done => "yes".to_owned(),
        Cell::Refused(code) => format!("`{}`", code.name()),
    };
    let mut lines = vec![
        "# Operations and key states".to_owned(),
        String::new(),
        "What the owner is answered, by the state of the key; and whether a grant of the operation is \
         enough for somebody whom no policy lets. Written by the test that asserts each cell \
         (`crates/kms/tests/operations/matrix.rs`); it fails when this file says something else. Keys of \
         origin EXTERNAL are waiting for their import where others are enabled, and cannot be disabled \
         then."
            .to_owned(),
        String::new(),
        "| operation | key | enabled | disabled | pending deletion | by a grant |".to_owned(),
        "|---|---|---|---|---|---|".to_owned(),
    ];
    for row in rows() {
        let kind = match row.kind {
            Kind::Symmetric => "symmetric",
            Kind::Mac => "HMAC",
            Kind::Pair => "RSA, ECC, ML-DSA",
            Kind::Agreement => "ECC for key agreement",
            Kind::Kem => "ML-KEM",
            Kind::MultiRegion => "multi-Region",
            Kind::External => "origin EXTERNAL",
            Kind::Store => "none: a custom key store",
            Kind::None => "none",
        };
        let [enabled, disabled, pending] = &row.owner;
        let disabled = match row.kind {
            Kind::External => "-".to_owned(),
            _ => said(disabled),
        };
        let grant = match row.kind {
            _ if !row.kind.has_key() => "-",
            _ if row.granted => "yes",
            _ => "no",
        };
        lines.push(format!(
            "| {} | {kind} | {} | {disabled} | {} | {grant} |",
            row.name,
            said(enabled),
            said(pending)
        ));
    }
    lines.join("\n") + "\n"
}

/// `WAXSEAL_WRITE_DOCS=1` writes the file.
#[test]
fn the_documentation_says_what_the_matrix_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    if std::env::var_os("WAXSEAL_WRITE_DOCS").is_some() {
        std::fs::write(path, table()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), table());
}
