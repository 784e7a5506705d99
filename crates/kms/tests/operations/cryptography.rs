//! What keys of each kind do.

use crate::support::{World, refused, secret};
use waxseal_core::crypto::hash;
use waxseal_kms_api::model::values;
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::Blob;
use waxseal_kms_api::{ErrorCode, KmsError};

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
                Err(error) if *spec == "SYMMETRIC_DEFAULT" => assert_eq!(
                    error.message.unwrap(),
                    format!(
                        "The operation failed because the KeyUsage value of the CMK is {usage}. To \
                         perform this operation, the KeyUsage value must be ENCRYPT_DECRYPT."
                    )
                ),
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
    if algorithm == "ED25519_PH_SHA_512" {
        takes_digests_alone(world, &made.arn, sign);
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
    if !algorithm.starts_with("ML_DSA") {
        let external = sign("EXTERNAL_MU", &[0; 64]);
        assert_eq!(refused(external).0, ErrorCode::Validation);
        return;
    }
    // μ is the message's own digest, made by somebody else: see core, and conformance/interop.
    let of_mu = sign("EXTERNAL_MU", &[7; 64]).unwrap().signature;
    let verify = |kind: &str, message: &[u8]| {
        world.call(VerifyRequest {
            key_id: made.arn.clone(),
            message: Blob(message.to_vec()),
            message_type: Some(kind.to_owned()),
            signature: of_mu.clone(),
            signing_algorithm: algorithm.to_owned(),
            ..VerifyRequest::default()
        })
    };
    assert!(verify("EXTERNAL_MU", &[7; 64]).unwrap().signature_valid);
    assert_eq!(refused(verify("EXTERNAL_MU", &[8; 64])), wrong);
    assert_eq!(refused(verify("RAW", &[7; 64])), wrong);
    for bytes in [63, 65] {
        let refusal = refused(sign("EXTERNAL_MU", &vec![7; bytes]));
        assert_eq!(refusal.0, ErrorCode::Validation);
    }
}

/// The digest is a message to Ed25519ph, which hashes again.
fn takes_digests_alone(
    world: &World,
    key: &str,
    sign: impl Fn(&str, &[u8]) -> Result<SignResponse, KmsError>,
) {
    let digest = [9; 64];
    let signature = sign("DIGEST", &digest).unwrap().signature;
    let verify = |algorithm: &str, kind: &str| {
        world.call(VerifyRequest {
            key_id: key.to_owned(),
            message: Blob(digest.to_vec()),
            message_type: Some(kind.to_owned()),
            signature: signature.clone(),
            signing_algorithm: algorithm.to_owned(),
            ..VerifyRequest::default()
        })
    };
    assert!(
        verify("ED25519_PH_SHA_512", "DIGEST")
            .unwrap()
            .signature_valid
    );
    let other = refused(verify("ED25519_SHA_512", "RAW"));
    assert_eq!(other, (ErrorCode::InvalidMessageSignature, String::new()));
    assert_eq!(refused(sign("RAW", b"message")).0, ErrorCode::Validation);
    assert_eq!(
        refused(sign("DIGEST", &digest[1..])).0,
        ErrorCode::Validation
    );
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
fn a_dry_run_without_a_ciphertext_asks_who_may() {
    let world = World::new();
    let key = world.symmetric();
    let ask = |key_id: Option<&str>, dry_run, modifier: Option<&str>| DecryptRequest {
        key_id: key_id.map(str::to_owned),
        dry_run: Some(dry_run),
        dry_run_modifiers: modifier.map(str::to_owned).into_iter().collect(),
        ..DecryptRequest::default()
    };
    let ignoring = Some("IGNORE_CIPHERTEXT");
    for (request, code) in [
        (ask(Some(&key), true, ignoring), ErrorCode::DryRun),
        (ask(None, true, ignoring), ErrorCode::Validation),
        (ask(Some(&key), false, ignoring), ErrorCode::Validation),
        (ask(Some(&key), true, None), ErrorCode::Validation),
    ] {
        assert_eq!(refused(world.call(request)).0, code);
    }
    let request = ReEncryptRequest {
        source_key_id: Some(key.clone()),
        destination_key_id: key.clone(),
        dry_run: Some(true),
        dry_run_modifiers: vec!["IGNORE_CIPHERTEXT".to_owned()],
        ..ReEncryptRequest::default()
    };
    assert_eq!(refused(world.call(request)).0, ErrorCode::DryRun);
    let key_id = key.clone();
    world.call(DisableKeyRequest { key_id }).unwrap();
    let refusal = refused(world.call(ask(Some(&key), true, ignoring)));
    assert_eq!(refusal.0, ErrorCode::Disabled);
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
