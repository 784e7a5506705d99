//! The operations on every kind of key, the states of a key, and what time does to it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the point"
)]

use std::sync::{Arc, Mutex};
use time::{Duration, OffsetDateTime};
use waxseal_core::arn::Home;
use waxseal_core::crypto::random::SystemEntropy;
use waxseal_core::{SecretBytes, crypto::hash};
use waxseal_kms::audit::{self, AuditLog};
use waxseal_kms::clock::Clock;
use waxseal_kms::engine::{Engine, Parts};
use waxseal_kms::op::Perform;
use waxseal_kms::request::Caller;
use waxseal_kms::seal::RowSealer;
use waxseal_kms::store::MemoryStore;
use waxseal_kms_api::model::values;
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::{Blob, SecretBlob};
use waxseal_kms_api::{ErrorCode, KmsError};

struct Hands(Mutex<OffsetDateTime>);

impl Clock for Hands {
    fn now(&self) -> OffsetDateTime {
        *self.0.lock().unwrap()
    }
}

struct World {
    directory: tempfile::TempDir,
    clock: Arc<Hands>,
    engine: Engine,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let begin = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let clock = Arc::new(Hands(Mutex::new(begin)));
        let engine = Engine::new(Parts {
            store: Box::new(MemoryStore::new()),
            audit: AuditLog::open(directory.path()).unwrap(),
            rows: RowSealer::new(SecretBytes::new(vec![7; 32]), [1; 16]),
            home: home("local", "000000000000"),
            clock: clock.clone(),
            entropy: Arc::new(SystemEntropy),
        })
        .unwrap();
        Self {
            directory,
            clock,
            engine,
        }
    }

    fn call<O: Perform>(&self, input: O) -> Result<O::Output, KmsError> {
        let request = self.engine.by_owner("test", input).unwrap();
        self.engine.call(request)
    }

    fn call_from<O: Perform>(&self, place: &Home, input: O) -> Result<O::Output, KmsError> {
        let caller = Caller::owner(place, "test");
        let request = self.engine.by_caller(caller, &place.region, input).unwrap();
        self.engine.call(request)
    }

    fn key(&self, spec: &str, usage: &str) -> String {
        let request = CreateKeyRequest {
            key_spec: Some(spec.to_owned()),
            key_usage: Some(usage.to_owned()),
            ..CreateKeyRequest::default()
        };
        self.call(request).unwrap().key_metadata.key_id
    }

    fn symmetric(&self) -> String {
        self.key("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
    }

    fn describe(&self, key: &str) -> Result<KeyMetadata, KmsError> {
        let request = DescribeKeyRequest {
            key_id: key.to_owned(),
            ..DescribeKeyRequest::default()
        };
        Ok(self.call(request)?.key_metadata)
    }

    fn encrypt(&self, key: &str) -> Result<Blob, KmsError> {
        let request = EncryptRequest {
            key_id: key.to_owned(),
            plaintext: secret(b"plaintext"),
            ..EncryptRequest::default()
        };
        Ok(self.call(request)?.ciphertext_blob)
    }

    fn decrypt(&self, blob: &Blob) -> Result<DecryptResponse, KmsError> {
        self.call(DecryptRequest {
            ciphertext_blob: Some(blob.clone()),
            ..DecryptRequest::default()
        })
    }

    fn public_key(&self, key: &str) -> Result<GetPublicKeyResponse, KmsError> {
        self.call(GetPublicKeyRequest {
            key_id: key.to_owned(),
            ..GetPublicKeyRequest::default()
        })
    }

    fn later(&self, days: i64) {
        *self.clock.0.lock().unwrap() += Duration::days(days);
    }

    /// The audit log, which must verify.
    fn log(&self) -> String {
        audit::verify(self.directory.path()).unwrap();
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        entries
            .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default())
            .collect()
    }
}

fn home(region: &str, account: &str) -> Home {
    Home {
        partition: "aws".into(),
        region: region.into(),
        account: account.into(),
    }
}

fn secret(bytes: &[u8]) -> SecretBlob {
    SecretBlob(SecretBytes::copy_of(bytes))
}

#[track_caller]
fn refused<T>(result: Result<T, KmsError>) -> (ErrorCode, String) {
    match result {
        Ok(_) => panic!("it was done"),
        Err(error) => (error.code, error.message.unwrap_or_default()),
    }
}

#[test]
fn each_spec_has_its_usages_and_no_other() {
    let world = World::new();
    for spec in values::KEY_SPEC {
        let mut usages = Vec::new();
        for usage in values::KEY_USAGE_TYPE {
            let request = CreateKeyRequest {
                key_spec: Some((*spec).to_owned()),
                key_usage: Some((*usage).to_owned()),
                ..CreateKeyRequest::default()
            };
            match world.call(request) {
                Ok(made) => {
                    usages.push(*usage);
                    let seen = world.describe(&made.key_metadata.arn).unwrap();
                    assert_eq!(seen, made.key_metadata);
                    assert_eq!((&*seen.key_spec, &*seen.key_usage), (*spec, *usage));
                }
                Err(error) if *spec == "SM2" => {
                    assert_eq!(error.code, ErrorCode::UnsupportedOperation);
                }
                Err(error) => assert_eq!(
                    error.message.unwrap(),
                    format!("KeyUsage {usage} is not compatible with KeySpec {spec}")
                ),
            }
        }
        let expected: &[&str] = match *spec {
            "SM2" => &[],
            "SYMMETRIC_DEFAULT" => &["ENCRYPT_DECRYPT"],
            name if name.starts_with("RSA") => &["SIGN_VERIFY", "ENCRYPT_DECRYPT"],
            name if name.starts_with("ECC_NIST_P") => &["SIGN_VERIFY", "KEY_AGREEMENT"],
            name if name.starts_with("HMAC") => &["GENERATE_VERIFY_MAC"],
            name if name.starts_with("ML_KEM") => &["ENCAPSULATE_DECAPSULATE"],
            _ => &["SIGN_VERIFY"],
        };
        assert_eq!(usages, expected, "{spec}");
    }
    let unsaid = CreateKeyRequest {
        key_spec: Some("RSA_2048".to_owned()),
        ..CreateKeyRequest::default()
    };
    assert_eq!(refused(world.call(unsaid)).0, ErrorCode::Validation);
}

#[test]
fn signatures_hold_for_each_algorithm_of_a_key_and_no_other() {
    let world = World::new();
    let specs = values::KEY_SPEC.iter();
    for spec in specs.filter(|spec| !spec.starts_with("RSA_4")) {
        let request = CreateKeyRequest {
            key_spec: Some((*spec).to_owned()),
            key_usage: Some("SIGN_VERIFY".to_owned()),
            ..CreateKeyRequest::default()
        };
        let Ok(made) = world.call(request) else {
            continue;
        };
        let made = made.key_metadata;
        for algorithm in values::SIGNING_ALGORITHM_SPEC {
            signs(&world, &made, algorithm);
        }
        let public = world.public_key(&made.key_id).unwrap();
        assert_eq!(public.signing_algorithms, made.signing_algorithms);
        assert_eq!(public.public_key.0[0], 0x30);
        let (code, message) = refused(world.encrypt(&made.key_id));
        assert_eq!(code, ErrorCode::InvalidKeyUsage);
        let arn = &made.arn;
        assert_eq!(
            message,
            format!("{arn} key usage is SIGN_VERIFY which is not valid for Encrypt.")
        );
    }
}

/// One key and one algorithm.
fn signs(world: &World, made: &KeyMetadata, algorithm: &str) {
    let sign = |kind: &str, message: &[u8]| {
        world.call(SignRequest {
            key_id: made.key_id.clone(),
            message: Blob(message.to_vec()),
            message_type: Some(kind.to_owned()),
            signing_algorithm: algorithm.to_owned(),
            ..SignRequest::default()
        })
    };
    if !made.signing_algorithms.iter().any(|own| own == algorithm) {
        let spec = &made.key_spec;
        assert_eq!(
            refused(sign("RAW", b"message")),
            (
                ErrorCode::InvalidKeyUsage,
                format!("Algorithm {algorithm} is incompatible with key spec {spec}.")
            )
        );
        return;
    }
    let signature = sign("RAW", b"message").unwrap().signature;
    let verify = |kind: &str, message: &[u8]| {
        world.call(VerifyRequest {
            key_id: made.arn.clone(),
            message: Blob(message.to_vec()),
            message_type: Some(kind.to_owned()),
            signature: signature.clone(),
            signing_algorithm: algorithm.to_owned(),
            ..VerifyRequest::default()
        })
    };
    assert!(verify("RAW", b"message").unwrap().signature_valid);
    let wrong = (ErrorCode::InvalidMessageSignature, String::new());
    assert_eq!(refused(verify("RAW", b"other")), wrong);
    if algorithm.ends_with("SHA_256") {
        let digest = hash::sha256(&[b"message"]);
        verify("DIGEST", &digest).unwrap();
        assert_eq!(
            refused(sign("DIGEST", &digest[1..])),
            (
                ErrorCode::Validation,
                format!("Digest is invalid length for algorithm {algorithm}.")
            )
        );
    }
    let external = sign("EXTERNAL_MU", &[0; 64]);
    assert_eq!(refused(external).0, ErrorCode::Validation);
}

#[test]
fn macs_hold_for_the_algorithm_of_the_key() {
    let world = World::new();
    for bits in ["224", "256", "384", "512"] {
        let key = world.key(&format!("HMAC_{bits}"), "GENERATE_VERIFY_MAC");
        for other in ["224", "256", "384", "512"] {
            let made = world.call(GenerateMacRequest {
                key_id: key.clone(),
                message: Blob(b"message".to_vec()),
                mac_algorithm: format!("HMAC_SHA_{other}"),
                ..GenerateMacRequest::default()
            });
            if other != bits {
                assert_eq!(refused(made).0, ErrorCode::InvalidKeyUsage);
                continue;
            }
            let made = made.unwrap();
            assert_eq!(made.mac.0.len() * 8, bits.parse::<usize>().unwrap());
            let verify = |message: &[u8]| {
                world.call(VerifyMacRequest {
                    key_id: key.clone(),
                    message: Blob(message.to_vec()),
                    mac: made.mac.clone(),
                    mac_algorithm: made.mac_algorithm.clone(),
                    ..VerifyMacRequest::default()
                })
            };
            assert!(verify(b"message").unwrap().mac_valid);
            let wrong = (ErrorCode::InvalidMac, String::new());
            assert_eq!(refused(verify(b"massage")), wrong);
        }
        let public = world.public_key(&key);
        assert_eq!(refused(public).0, ErrorCode::UnsupportedOperation);
    }
}

#[test]
fn rsa_keys_encrypt_what_fits() {
    let world = World::new();
    let key = world.key("RSA_2048", "ENCRYPT_DECRYPT");
    for (algorithm, most) in [("RSAES_OAEP_SHA_1", 214), ("RSAES_OAEP_SHA_256", 190)] {
        let encrypt = |bytes: usize| EncryptRequest {
            key_id: key.clone(),
            plaintext: secret(&vec![5; bytes]),
            encryption_algorithm: Some(algorithm.to_owned()),
            ..EncryptRequest::default()
        };
        let made = world.call(encrypt(most)).unwrap();
        assert_eq!(made.encryption_algorithm, algorithm);
        let decrypt = |key_id: Option<String>| {
            world.call(DecryptRequest {
                key_id,
                ciphertext_blob: Some(made.ciphertext_blob.clone()),
                encryption_algorithm: Some(algorithm.to_owned()),
                ..DecryptRequest::default()
            })
        };
        let opened = decrypt(Some(key.clone())).unwrap();
        assert!(opened.plaintext.0.ct_eq(&vec![5; most]));
        assert_eq!(opened.key_material_id, None);
        assert_eq!(refused(decrypt(None)).0, ErrorCode::Validation);
        let other = world.key("RSA_2048", "ENCRYPT_DECRYPT");
        let foreign = (ErrorCode::InvalidCiphertext, String::new());
        assert_eq!(refused(decrypt(Some(other))), foreign);
        let (_, message) = refused(world.call(encrypt(most + 1)));
        let words = "cannot encrypt data larger than";
        assert_eq!(
            message,
            format!("Algorithm {algorithm} and key spec RSA_2048 {words} {most} bytes.")
        );
        let mut bound = encrypt(1);
        bound.encryption_context = [("a".into(), "b".into())].into();
        assert_eq!(refused(world.call(bound)).0, ErrorCode::Validation);
        let moved = world.call(ReEncryptRequest {
            ciphertext_blob: Some(made.ciphertext_blob.clone()),
            source_key_id: Some(key.clone()),
            source_encryption_algorithm: Some(algorithm.to_owned()),
            destination_key_id: world.symmetric(),
            ..ReEncryptRequest::default()
        });
        let moved = moved.unwrap();
        assert!(moved.source_key_material_id.is_none());
        let opened = world.decrypt(&moved.ciphertext_blob).unwrap();
        assert!(opened.plaintext.0.ct_eq(&vec![5; most]));
    }
    assert_eq!(
        refused(world.encrypt(&key)),
        (
            ErrorCode::InvalidKeyUsage,
            "Algorithm SYMMETRIC_DEFAULT is incompatible with key spec RSA_2048.".to_owned()
        )
    );
}

#[test]
fn secrets_are_agreed() {
    let world = World::new();
    let public = |key: &str| world.public_key(key).unwrap().public_key;
    let one = world.key("ECC_NIST_P384", "KEY_AGREEMENT");
    let two = world.key("ECC_NIST_P384", "KEY_AGREEMENT");
    let derive = |own: &str, peer: Blob| {
        world.call(DeriveSharedSecretRequest {
            key_id: own.to_owned(),
            key_agreement_algorithm: "ECDH".to_owned(),
            public_key: peer,
            ..DeriveSharedSecretRequest::default()
        })
    };
    let left = derive(&one, public(&two)).unwrap().shared_secret.0;
    let right = derive(&two, public(&one)).unwrap().shared_secret.0;
    assert!(left.ct_eq(right.expose()));
    let other = world.key("ECC_NIST_P256", "KEY_AGREEMENT");
    for wrong in [public(&other), Blob(vec![1])] {
        assert_eq!(refused(derive(&one, wrong)).0, ErrorCode::Validation);
    }
}

#[test]
fn secrets_are_carried() {
    let world = World::new();
    for spec in ["ML_KEM_512", "ML_KEM_768", "ML_KEM_1024"] {
        let key = world.key(spec, "ENCAPSULATE_DECAPSULATE");
        let made = world.call(EncapsulateRequest {
            key_id: key.clone(),
            encapsulation_algorithm: "ML_KEM".to_owned(),
            ..EncapsulateRequest::default()
        });
        let made = made.unwrap();
        let open = |ciphertext: &[u8]| {
            world.call(DecapsulateRequest {
                key_id: key.clone(),
                shared_secret_ciphertext_blob: Blob(ciphertext.to_vec()),
                encapsulation_algorithm: "ML_KEM".to_owned(),
                ..DecapsulateRequest::default()
            })
        };
        let ciphertext = made.shared_secret_ciphertext_blob.0;
        let opened = open(&ciphertext).unwrap().shared_secret.0;
        assert!(opened.ct_eq(made.shared_secret.0.expose()));
        let mut altered = ciphertext.clone();
        altered[0] ^= 1;
        let other = open(&altered).unwrap().shared_secret.0;
        assert!(!other.ct_eq(opened.expose()));
        let short = refused(open(&ciphertext[1..]));
        assert_eq!(short.0, ErrorCode::InvalidCiphertext);
    }
}

#[test]
fn data_key_pairs_come_wrapped() {
    let world = World::new();
    let key = world.symmetric();
    let context = || ContextMap::from([("a".to_owned(), "b".to_owned())]);
    for spec in values::DATA_KEY_PAIR_SPEC {
        let made = world.call(GenerateDataKeyPairRequest {
            key_id: key.clone(),
            key_pair_spec: (*spec).to_owned(),
            encryption_context: context(),
            ..GenerateDataKeyPairRequest::default()
        });
        if *spec == "SM2" {
            assert_eq!(refused(made).0, ErrorCode::UnsupportedOperation);
            continue;
        }
        let made = made.unwrap();
        let opened = world.call(DecryptRequest {
            ciphertext_blob: Some(made.private_key_ciphertext_blob),
            encryption_context: context(),
            ..DecryptRequest::default()
        });
        let private = opened.unwrap().plaintext.0;
        assert!(private.ct_eq(made.private_key_plaintext.0.expose()));
    }
    let wrong = GenerateDataKeyPairWithoutPlaintextRequest {
        key_id: world.key("RSA_2048", "ENCRYPT_DECRYPT"),
        key_pair_spec: "ECC_NIST_P256".to_owned(),
        ..GenerateDataKeyPairWithoutPlaintextRequest::default()
    };
    assert_eq!(refused(world.call(wrong)).0, ErrorCode::InvalidKeyUsage);
}

#[test]
fn a_dry_run_says_so_and_does_nothing() {
    let world = World::new();
    let key = world.symmetric();
    let dry = || GenerateDataKeyRequest {
        key_id: key.clone(),
        number_of_bytes: Some(32),
        dry_run: Some(true),
        ..GenerateDataKeyRequest::default()
    };
    assert_eq!(
        refused(world.call(dry())),
        (
            ErrorCode::DryRun,
            "The request would have succeeded, but the DryRun option is set.".to_owned()
        )
    );
    let key_id = key.clone();
    world.call(DisableKeyRequest { key_id }).unwrap();
    assert_eq!(refused(world.call(dry())).0, ErrorCode::Disabled);
}

#[test]
fn a_key_that_waits_for_its_deletion_does_nothing_and_then_is_gone() {
    let world = World::new();
    let key = world.symmetric();
    let key_id = || key.clone();
    let arn = world.describe(&key).unwrap().arn;
    let sealed = world.encrypt(&key).unwrap();
    let alias = CreateAliasRequest {
        alias_name: "alias/going".to_owned(),
        target_key_id: key_id(),
    };
    world.call(alias.clone()).unwrap();
    let schedule = |days: i64| {
        world.call(ScheduleKeyDeletionRequest {
            key_id: key_id(),
            pending_window_in_days: Some(days),
        })
    };
    let cancel = || world.call(CancelKeyDeletionRequest { key_id: key_id() });
    for days in [6, 31] {
        assert_eq!(refused(schedule(days)).0, ErrorCode::Validation);
    }
    let message = format!("{arn} is not pending deletion.");
    assert_eq!(refused(cancel()), (ErrorCode::InvalidState, message));
    let scheduled = schedule(7).unwrap();
    assert_eq!(scheduled.key_id, arn);
    assert_eq!(scheduled.deletion_date.0, 1_800_604_800.0);
    let seen = world.describe(&key).unwrap();
    assert_eq!(seen.key_state, "PendingDeletion");
    assert!(!seen.enabled);
    let message = format!("{arn} is pending deletion.");
    let pending = (ErrorCode::InvalidState, message);
    assert_eq!(refused(world.encrypt(&key)), pending);
    assert_eq!(refused(schedule(7)), pending);
    let enable = || world.call(EnableKeyRequest { key_id: key_id() });
    let disable = || world.call(DisableKeyRequest { key_id: key_id() });
    assert_eq!(refused(enable()), pending);
    assert_eq!(refused(disable()), pending);
    assert_eq!(refused(world.call(alias)), pending);
    let describe_anew = UpdateKeyDescriptionRequest {
        key_id: key_id(),
        description: "x".to_owned(),
    };
    assert_eq!(refused(world.call(describe_anew)), pending);
    let rotate = RotateKeyOnDemandRequest { key_id: key_id() };
    assert_eq!(refused(world.call(rotate)), pending);

    world.later(6);
    assert_eq!(cancel().unwrap().key_id, arn);
    assert_eq!(world.describe(&key).unwrap().key_state, "Disabled");
    enable().unwrap();
    world.encrypt(&key).unwrap();

    schedule(7).unwrap();
    world.later(7);
    let gone = format!("Key '{arn}' does not exist");
    assert_eq!(refused(world.describe(&key)), (ErrorCode::NotFound, gone));
    assert_eq!(refused(world.decrypt(&sealed)).0, ErrorCode::AccessDenied);
    assert_eq!(world.engine.tend().unwrap(), 1);
    assert_eq!(world.engine.tend().unwrap(), 0);
    assert_eq!(refused(world.decrypt(&sealed)).0, ErrorCode::AccessDenied);
    let listed = world.call(ListAliasesRequest::default()).unwrap();
    assert!(listed.aliases.is_empty());
    assert!(world.log().contains("\"DeleteKey\""));
}

#[test]
fn keys_rotate_by_themselves_and_open_what_they_ever_sealed() {
    let world = World::new();
    let key = world.symmetric();
    let key_id = || key.clone();
    let status = || world.call(GetKeyRotationStatusRequest { key_id: key_id() });
    assert!(!status().unwrap().key_rotation_enabled);
    let enable = |rotation_period_in_days: Option<i64>| {
        world.call(EnableKeyRotationRequest {
            key_id: key_id(),
            rotation_period_in_days,
        })
    };
    assert_eq!(refused(enable(Some(89))).0, ErrorCode::Validation);
    enable(None).unwrap();
    assert_eq!(status().unwrap().rotation_period_in_days, Some(365));
    enable(Some(90)).unwrap();
    let next = status().unwrap().next_rotation_date.unwrap();
    assert_eq!(next.0, 1_800_000_000.0 + 90.0 * 86_400.0);
    let mut sealed = Vec::new();
    for _ in 0..40 {
        sealed.push(world.encrypt(&key).unwrap());
        assert_eq!(world.engine.tend().unwrap(), 0);
        world.later(90);
        assert_eq!(world.engine.tend().unwrap(), 1);
    }
    let opened = sealed.iter().map(|blob| world.decrypt(blob).unwrap());
    let materials: std::collections::HashSet<_> =
        opened.map(|opened| opened.key_material_id).collect();
    assert_eq!(materials.len(), 40);
    let rotations = world.call(ListKeyRotationsRequest {
        key_id: key_id(),
        ..ListKeyRotationsRequest::default()
    });
    let rotations = rotations.unwrap().rotations;
    assert_eq!(rotations.len(), 40);
    let mut kinds = rotations.iter().map(|one| one.rotation_type.as_deref());
    assert!(kinds.all(|kind| kind == Some("AUTOMATIC")));
    let disable = DisableKeyRotationRequest { key_id: key_id() };
    world.call(disable).unwrap();
    world.later(1_000);
    assert_eq!(world.engine.tend().unwrap(), 0);
    let pair = EnableKeyRotationRequest {
        key_id: world.key("RSA_2048", "SIGN_VERIFY"),
        rotation_period_in_days: None,
    };
    assert_eq!(refused(world.call(pair)).0, ErrorCode::UnsupportedOperation);
    assert!(world.log().contains("\"RotateKey\""));
}

#[test]
fn regions_and_accounts_are_kept_apart() {
    let world = World::new();
    let places = [
        home("eu-west-1", "111122223333"),
        home("us-east-1", "111122223333"),
        home("eu-west-1", "444455556666"),
    ];
    let mut keys = Vec::new();
    for place in &places {
        let made = world.call_from(place, CreateKeyRequest::default());
        let made = made.unwrap().key_metadata;
        assert_eq!(made.arn, format!("{place}:key/{}", made.key_id));
        let alias = CreateAliasRequest {
            alias_name: "alias/same".to_owned(),
            target_key_id: made.key_id.clone(),
        };
        world.call_from(place, alias).unwrap();
        keys.push(made);
    }
    for (at, place) in places.iter().enumerate() {
        let listed = world.call_from(place, ListKeysRequest::default()).unwrap();
        let ids: Vec<_> = listed.keys.into_iter().map(|key| key.key_id).collect();
        assert_eq!(ids, [keys[at].key_id.clone()]);
        let listed = world.call_from(place, ListAliasesRequest::default());
        let listed = listed.unwrap().aliases;
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].target_key_id, keys[at].key_id);
        let describe = |name: &str| {
            let request = DescribeKeyRequest {
                key_id: name.to_owned(),
                ..DescribeKeyRequest::default()
            };
            world.call_from(place, request)
        };
        assert_eq!(describe("alias/same").unwrap().key_metadata, keys[at]);
        for (other, key) in keys.iter().enumerate().filter(|(other, _)| *other != at) {
            let (code, message) = refused(describe(&key.key_id));
            assert_eq!(code, ErrorCode::NotFound);
            let absent = format!("Key '{place}:key/{}' does not exist", key.key_id);
            assert_eq!(message, absent);
            let (code, message) = refused(describe(&key.arn));
            let region = &places[other].region;
            if *region == place.region {
                // It is there, and another account's.
                assert_eq!(code, ErrorCode::AccessDenied);
            } else {
                assert_eq!(message, format!("Invalid arn {region}"));
            }
        }
    }
    let own = world.call(ListKeysRequest::default()).unwrap();
    assert!(own.keys.is_empty());
}

#[test]
fn multi_region_keys_have_their_own_kind_of_id() {
    let world = World::new();
    let request = CreateKeyRequest {
        multi_region: Some(true),
        ..CreateKeyRequest::default()
    };
    let made = world.call(request).unwrap().key_metadata;
    assert!(made.key_id.starts_with("mrk-") && made.key_id.len() == 36);
    let configuration = made.multi_region_configuration.unwrap();
    assert_eq!(configuration.multi_region_key_type, "PRIMARY");
    assert_eq!(configuration.primary_key.arn, made.arn);
    let sealed = world.encrypt(&made.key_id).unwrap();
    assert_eq!(world.decrypt(&sealed).unwrap().key_id, made.arn);
}

const OWNER: &str = "000000000000";

/// A key policy of one's own: the owner may do everything, but for what `more` says.
fn policy(more: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Sid":"Owner","Effect":"Allow",
        "Principal":{{"AWS":"arn:aws:iam::{OWNER}:root"}},"Action":"kms:*","Resource":"*"}}{more}]}}"#
    )
}

impl World {
    fn put_policy(&self, key: &str, policy: &str, bypass: bool) -> Result<Empty, KmsError> {
        self.call(PutKeyPolicyRequest {
            key_id: key.to_owned(),
            policy: policy.to_owned(),
            bypass_policy_lockout_safety_check: Some(bypass),
            ..PutKeyPolicyRequest::default()
        })
    }

    fn encrypt_for(&self, key: &str, team: &str) -> Result<Blob, KmsError> {
        let request = EncryptRequest {
            key_id: key.to_owned(),
            plaintext: secret(b"plaintext"),
            encryption_context: [("team".to_owned(), team.to_owned())].into(),
            ..EncryptRequest::default()
        };
        Ok(self.call(request)?.ciphertext_blob)
    }
}

#[test]
fn a_policy_is_given_back_as_it_was_put_and_holds_for_the_next_request() {
    let world = World::new();
    let key = world.symmetric();
    let get = || {
        let request = GetKeyPolicyRequest {
            key_id: key.clone(),
            ..GetKeyPolicyRequest::default()
        };
        world.call(request).unwrap().policy
    };
    assert!(get().contains("key-default-1"));
    let deny = policy(
        r#",{"Sid":"RedOnly","Effect":"Deny","Principal":"*","Action":"kms:Encrypt",
        "Resource":"*","Condition":{"StringNotEquals":{"kms:EncryptionContext:team":"red"}}}"#,
    );
    world.encrypt_for(&key, "blue").unwrap();
    world.put_policy(&key, &deny, false).unwrap();
    assert_eq!(get(), deny);
    world.encrypt_for(&key, "red").unwrap();
    let arn = world.describe(&key).unwrap().arn;
    let (code, message) = refused(world.encrypt_for(&key, "blue"));
    assert_eq!(code, ErrorCode::AccessDenied);
    assert_eq!(
        message,
        format!(
            "User: arn:aws:iam::{OWNER}:root is not authorized to perform: kms:Encrypt on \
             resource: {arn} with an explicit deny in a resource-based policy"
        )
    );
    assert_eq!(refused(world.encrypt(&key)).0, ErrorCode::AccessDenied);
    world.put_policy(&key, &policy(""), false).unwrap();
    world.encrypt(&key).unwrap();
    assert!(world.log().contains("\"AccessDeniedException\""));
}

#[test]
fn policies_that_lock_out_whoever_puts_them_must_be_meant() {
    let world = World::new();
    let key = world.symmetric();
    let nobody = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow",
        "Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}}"#;
    let (code, message) = refused(world.put_policy(&key, nobody, false));
    assert_eq!(code, ErrorCode::MalformedPolicyDocument);
    assert_eq!(
        message,
        "The new key policy will not allow you to update the key policy in the future."
    );
    let malformed = refused(world.put_policy(&key, "{}", true));
    assert_eq!(malformed.0, ErrorCode::MalformedPolicyDocument);
    let create = |policy: &str, bypass: bool| {
        world.call(CreateKeyRequest {
            policy: Some(policy.to_owned()),
            bypass_policy_lockout_safety_check: Some(bypass),
            ..CreateKeyRequest::default()
        })
    };
    let refusal = refused(create(nobody, false));
    assert_eq!(refusal.0, ErrorCode::MalformedPolicyDocument);
    let made = create(nobody, true).unwrap().key_metadata.key_id;
    let (code, message) = refused(world.encrypt(&made));
    assert_eq!(code, ErrorCode::AccessDenied);
    assert!(
        message.contains("because no resource-based policy allows"),
        "{message}"
    );
    assert_eq!(
        refused(world.put_policy(&made, &policy(""), false)).0,
        ErrorCode::AccessDenied
    );
}

#[test]
fn another_account_needs_the_policy_of_the_key() {
    let world = World::new();
    let key = world.symmetric();
    let arn = world.describe(&key).unwrap().arn;
    let other = home("local", "111122223333");
    let encrypt = || {
        let request = EncryptRequest {
            key_id: arn.clone(),
            plaintext: secret(b"plaintext"),
            ..EncryptRequest::default()
        };
        world.call_from(&other, request)
    };
    assert_eq!(refused(encrypt()).0, ErrorCode::AccessDenied);
    let shared = policy(
        r#",{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:Encrypt",
        "Resource":"*","Condition":{"StringEquals":{"kms:CallerAccount":"111122223333"}}}"#,
    );
    world.put_policy(&key, &shared, false).unwrap();
    let sealed = encrypt().unwrap().ciphertext_blob;
    assert_eq!(world.decrypt(&sealed).unwrap().key_id, arn);
    let decrypt = DecryptRequest {
        ciphertext_blob: Some(sealed),
        ..DecryptRequest::default()
    };
    let refusal = refused(world.call_from(&other, decrypt));
    assert_eq!(refusal.0, ErrorCode::AccessDenied);
}

#[test]
fn races_of_a_refusal_and_a_use_are_won_by_the_refusal() {
    let world = World::new();
    let key = world.symmetric();
    let rounds = if std::env::var_os("WAXSEAL_LONG").is_some() {
        20_000
    } else {
        200
    };
    let deny =
        policy(r#",{"Effect":"Deny","Principal":"*","Action":"kms:Encrypt","Resource":"*"}"#);
    for round in 0..rounds {
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let users: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        loop {
                            // Looked at before the use begins.
                            let was_over = is_over.load(std::sync::atomic::Ordering::SeqCst);
                            let used = world.encrypt(&key).is_ok();
                            assert!(!(was_over && used), "used after the answer");
                            if was_over {
                                return;
                            }
                        }
                    })
                })
                .collect();
            if round % 2 == 0 {
                world.put_policy(&key, &deny, false).unwrap();
            } else {
                let key_id = key.clone();
                world.call(DisableKeyRequest { key_id }).unwrap();
            }
            is_over.store(true, std::sync::atomic::Ordering::SeqCst);
            users.into_iter().for_each(|user| user.join().unwrap());
        });
        if round % 2 == 0 {
            world.put_policy(&key, &policy(""), false).unwrap();
        } else {
            let key_id = key.clone();
            world.call(EnableKeyRequest { key_id }).unwrap();
        }
    }
}

#[test]
fn grants_let_others_in_as_far_as_they_say() {
    let world = World::new();
    let key = world.symmetric();
    let arn = world.describe(&key).unwrap().arn;
    let other = home("local", "111122223333");
    let root = "arn:aws:iam::111122223333:root";
    let encrypt = |team: &str| {
        let request = EncryptRequest {
            key_id: arn.clone(),
            plaintext: secret(b"plaintext"),
            encryption_context: [("team".to_owned(), team.to_owned())].into(),
            ..EncryptRequest::default()
        };
        world
            .call_from(&other, request)
            .map(|made| made.ciphertext_blob)
    };
    assert_eq!(refused(encrypt("red")).0, ErrorCode::AccessDenied);
    let request = || CreateGrantRequest {
        key_id: key.clone(),
        grantee_principal: Some(root.to_owned()),
        retiring_principal: Some(root.to_owned()),
        operations: vec!["Encrypt".to_owned(), "RetireGrant".to_owned()],
        name: Some("one".to_owned()),
        constraints: Some(GrantConstraints {
            encryption_context_subset: [("team".to_owned(), "red".to_owned())].into(),
            ..GrantConstraints::default()
        }),
        ..CreateGrantRequest::default()
    };
    let made = world.call(request()).unwrap();
    assert_eq!(world.call(request()).unwrap(), made);
    encrypt("red").unwrap();
    assert_eq!(refused(encrypt("blue")).0, ErrorCode::AccessDenied);
    let decrypt = DecryptRequest {
        ciphertext_blob: Some(encrypt("red").unwrap()),
        encryption_context: [("team".to_owned(), "red".to_owned())].into(),
        ..DecryptRequest::default()
    };
    let refusal = refused(world.call_from(&other, decrypt));
    assert_eq!(refusal.0, ErrorCode::AccessDenied);

    let list = || {
        let request = ListGrantsRequest {
            key_id: key.clone(),
            ..ListGrantsRequest::default()
        };
        world.call(request).unwrap().grants
    };
    let listed = list();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].grant_id, made.grant_id);
    assert_eq!(listed[0].key_id, arn);
    let retirable = || {
        let request = ListRetirableGrantsRequest {
            retiring_principal: Some(root.to_owned()),
            ..ListRetirableGrantsRequest::default()
        };
        world.call(request).unwrap().grants
    };
    assert_eq!(retirable(), listed);
    let retire = |place: &Home| {
        let request = RetireGrantRequest {
            grant_token: Some(made.grant_token.clone()),
            ..RetireGrantRequest::default()
        };
        world.call_from(place, request)
    };
    let stranger = home("local", "444455556666");
    assert_eq!(refused(retire(&stranger)).0, ErrorCode::AccessDenied);
    // The retiring principal names the key by its ARN.
    let by_id = RetireGrantRequest {
        key_id: Some(arn.clone()),
        grant_id: Some(made.grant_id.clone()),
        ..RetireGrantRequest::default()
    };
    let refusal = refused(world.call_from(&stranger, by_id.clone()));
    assert_eq!(refusal.0, ErrorCode::AccessDenied);
    world.call_from(&other, by_id).unwrap();
    assert!(list().is_empty() && retirable().is_empty());
    assert_eq!(refused(encrypt("red")).0, ErrorCode::AccessDenied);

    let made = world.call(request()).unwrap();
    encrypt("red").unwrap();
    let revoke = || RevokeGrantRequest {
        key_id: key.clone(),
        grant_id: made.grant_id.clone(),
        ..RevokeGrantRequest::default()
    };
    world.call(revoke()).unwrap();
    assert_eq!(refused(encrypt("red")).0, ErrorCode::AccessDenied);
    assert_eq!(
        refused(world.call(revoke())),
        (
            ErrorCode::NotFound,
            format!("Grant ID {} not found", made.grant_id)
        )
    );
}

#[test]
fn grants_that_make_no_sense_are_refused() {
    let world = World::new();
    let request = |key: &str, operation: &str| CreateGrantRequest {
        key_id: key.to_owned(),
        grantee_principal: Some("arn:aws:iam::111122223333:root".to_owned()),
        operations: vec![operation.to_owned()],
        ..CreateGrantRequest::default()
    };
    let key = world.symmetric();
    let sign = world.key("ECC_NIST_P256", "SIGN_VERIFY");
    world.call(request(&sign, "Sign")).unwrap();
    for wrong in [
        request(&key, "Sign"),
        request(&sign, "Encrypt"),
        CreateGrantRequest {
            grantee_principal: None,
            ..request(&key, "Encrypt")
        },
        CreateGrantRequest {
            operations: Vec::new(),
            ..request(&key, "Encrypt")
        },
        CreateGrantRequest {
            grantee_service_principal: Some("sns.amazonaws.com".to_owned()),
            ..request(&key, "Encrypt")
        },
    ] {
        assert_eq!(refused(world.call(wrong)).0, ErrorCode::Validation);
    }
    let dry = CreateGrantRequest {
        dry_run: Some(true),
        ..request(&key, "Encrypt")
    };
    assert_eq!(refused(world.call(dry)).0, ErrorCode::DryRun);
    let key_id = key.clone();
    world.call(DisableKeyRequest { key_id }).unwrap();
    let disabled = refused(world.call(request(&key, "Encrypt")));
    assert_eq!(disabled.0, ErrorCode::Disabled);
    let token = RetireGrantRequest {
        grant_token: Some("nonsense".to_owned()),
        ..RetireGrantRequest::default()
    };
    assert_eq!(refused(world.call(token)).0, ErrorCode::InvalidGrantToken);
}
