//! Which encrypted data keys are ours, what is asked of the service, and which answers count.

use crate::support::{ARN, OTHER_ARN, Reply, Stub, block_on, context, edk, error, hermetic, ok};
use serde_json::json;
use waxseal_aws::AwsKmsKeyring;
use waxseal_core::keyring::Unwrapped;
use waxseal_core::{EncryptedDataKey, EncryptionContext, Keyring, KeyringError};

fn decrypted(arn: &str) -> Reply {
    ok(json!({"KeyId": arn, "Plaintext": "a2V5", "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}))
}

fn unwrap(
    keyring: &AwsKmsKeyring,
    encrypted: &EncryptedDataKey,
) -> Result<Unwrapped, KeyringError> {
    block_on(keyring.unwrap(encrypted, &EncryptionContext::new()))
}

fn is_key(result: &Result<Unwrapped, KeyringError>) -> bool {
    matches!(result, Ok(Unwrapped::Key(key)) if key.expose() == b"key")
}

fn is_not_mine(result: &Result<Unwrapped, KeyringError>) -> bool {
    matches!(result, Ok(Unwrapped::NotMine))
}

hermetic! {
    fn unwrap_is_decrypt_with_the_configured_key() => {
        let stub = Stub::start(|_, _| decrypted(ARN));
        let keyring = stub.kms().keyring(ARN.parse().unwrap());
        let result = block_on(keyring.unwrap(&edk(ARN), &context(&[("a", "1")])));
        assert!(is_key(&result));
        let request = stub.only_request();
        assert_eq!(request.operation(), "Decrypt");
        assert_eq!(request.body, json!({
            "KeyId": ARN,
            "CiphertextBlob": "YmxvYg==",
            "EncryptionContext": {"a": "1"},
        }));
    }

    fn strangers_are_not_mine_without_a_request() => {
        let stub = Stub::start(|_, _| decrypted(OTHER_ARN));
        let kms = stub.kms();
        let other_region = ARN.replace("eu-west-1", "us-east-1");
        let other_account = ARN.replace("123456789012", "210987654321");
        let raw = EncryptedDataKey { provider_id: "raw".into(), ..edk(ARN) };
        for (key, encrypted) in [
            (ARN, edk(OTHER_ARN)),
            (ARN, edk(&other_region)),
            (ARN, edk(&other_account)),
            ("1234abcd-12ab-34cd-56ef-1234567890ab", edk(OTHER_ARN)),
            ("arn:aws:kms:eu-west-1:123456789012:alias/a", edk(&other_region)),
            ("arn:aws:kms:eu-west-1:123456789012:alias/a", edk(&other_account)),
            (ARN, raw.clone()),
            ("alias/a", raw.clone()),
        ] {
            let keyring = kms.keyring(key.parse().unwrap());
            assert!(is_not_mine(&unwrap(&keyring, &encrypted)), "{key} {encrypted:?}");
        }
        assert!(is_not_mine(&unwrap(&kms.discovery(None), &raw)));
        assert!(stub.requests().is_empty());
    }

    fn provider_information_that_is_no_key_arn_fails() => {
        let stub = Stub::start(|_, _| decrypted(ARN));
        let kms = stub.kms();
        let broken: [&[u8]; 4] = [
            b"alias/a",
            b"arn:aws:kms:eu-west-1:123456789012:alias/a",
            b"arn:aws:kms:evil.example/:123456789012:key/1",
            b"\xff\xfe",
        ];
        for info in broken {
            let encrypted = EncryptedDataKey { provider_info: info.to_vec(), ..edk("") };
            for keyring in [kms.keyring(ARN.parse().unwrap()), kms.discovery(None)] {
                let result = unwrap(&keyring, &encrypted);
                assert!(matches!(result, Err(KeyringError::Unsupported { .. })), "{result:?}");
            }
        }
        assert!(stub.requests().is_empty());
    }

    fn names_without_arn_are_left_to_the_service() => {
        let id = "1234abcd-12ab-34cd-56ef-1234567890ab";
        for key in [id, "alias/a", "arn:aws:kms:eu-west-1:123456789012:alias/a"] {
            let stub = Stub::start(|_, _| decrypted(ARN));
            assert!(is_key(&unwrap(&stub.kms().keyring(key.parse().unwrap()), &edk(ARN))));
            assert_eq!(stub.only_request().body["KeyId"], key);

            let stub = Stub::start(|_, _| error(400, "IncorrectKeyException"));
            let keyring = stub.kms().keyring(key.parse().unwrap());
            assert!(is_not_mine(&unwrap(&keyring, &edk(ARN))));
        }
    }

    fn incorrect_key_under_our_own_arn_is_a_forgery() => {
        let stub = Stub::start(|_, _| error(400, "IncorrectKeyException"));
        for keyring in [stub.kms().keyring(ARN.parse().unwrap()), stub.kms().discovery(None)] {
            let result = unwrap(&keyring, &edk(ARN));
            assert!(matches!(result, Err(KeyringError::Unauthentic { .. })), "{result:?}");
        }
    }

    fn discovery_asks_the_named_key_in_its_region() => {
        let arn = ARN.replace("eu-west-1", "ca-central-1");
        let answered = arn.clone();
        let stub = Stub::start(move |_, _| decrypted(&answered));
        assert!(is_key(&unwrap(&stub.kms().discovery(None), &edk(&arn))));
        let request = stub.only_request();
        assert_eq!(request.body["KeyId"], arn.as_str());
        assert_eq!(request.scope(), "ca-central-1/kms/aws4_request");
    }

    fn discovery_cannot_generate_or_wrap() => {
        let stub = Stub::start(|_, _| decrypted(ARN));
        let keyring = stub.kms().discovery(None);
        let generated = block_on(keyring.generate(32, &EncryptionContext::new()));
        assert!(matches!(generated, Err(KeyringError::Unsupported { .. })));
        assert!(stub.requests().is_empty());
    }

    fn bare_blobs_name_their_key_themselves() => {
        let bare = EncryptedDataKey::bare(b"blob".to_vec());
        let stub = Stub::start(|_, _| decrypted(ARN));
        assert!(is_key(&unwrap(&stub.kms().discovery(None), &bare)));
        assert!(is_key(&unwrap(&stub.kms().keyring(ARN.parse().unwrap()), &bare)));
        assert!(is_key(&unwrap(&stub.kms().keyring("alias/a".parse().unwrap()), &bare)));
        let asked: Vec<_> = stub.requests().iter().map(|r| r.body.get("KeyId").cloned()).collect();
        assert_eq!(asked, [None, Some(json!(ARN)), Some(json!("alias/a"))]);
    }

    fn bare_blob_of_another_key_is_not_mine() => {
        let stub = Stub::start(|_, _| error(400, "IncorrectKeyException"));
        let keyring = stub.kms().keyring(ARN.parse().unwrap());
        assert!(is_not_mine(&unwrap(&keyring, &EncryptedDataKey::bare(b"blob".to_vec()))));
    }

    fn plaintext_of_another_key_is_refused() => {
        let stub = Stub::start(|_, _| decrypted(OTHER_ARN));
        let kms = stub.kms();
        let bare = EncryptedDataKey::bare(b"blob".to_vec());
        let other_home = "arn:aws:kms:us-east-1:123456789012:alias/a";
        for (keyring, encrypted) in [
            (kms.keyring(ARN.parse().unwrap()), edk(ARN)),
            (kms.keyring(ARN.parse().unwrap()), bare.clone()),
            (kms.keyring("1234abcd-12ab-34cd-56ef-1234567890ab".parse().unwrap()), bare.clone()),
            (kms.keyring(other_home.parse().unwrap()), bare.clone()),
            (kms.keyring("alias/a".parse().unwrap()), edk(ARN)),
            (kms.discovery(None), edk(ARN)),
        ] {
            let result = unwrap(&keyring, &encrypted);
            let Err(KeyringError::Service { reason, .. }) = result else { panic!("{result:?}") };
            assert!(reason.contains(OTHER_ARN), "{reason}");
        }
    }

    fn answers_without_key_or_plaintext_are_refused() => {
        for answer in [
            json!({"Plaintext": "a2V5"}),
            json!({"KeyId": ARN}),
            json!({"KeyId": ARN, "Plaintext": ""}),
            json!({"KeyId": "not an arn", "Plaintext": "a2V5"}),
        ] {
            let stub = Stub::answering(answer.clone());
            let result = unwrap(&stub.kms().keyring(ARN.parse().unwrap()), &edk(ARN));
            assert!(result.is_err(), "{answer}");
        }
    }

    fn blobs_out_of_bounds_are_not_sent() => {
        let stub = Stub::start(|_, _| decrypted(ARN));
        let keyring = stub.kms().keyring(ARN.parse().unwrap());
        for bytes in [0, 6145] {
            let encrypted = EncryptedDataKey { ciphertext: vec![0; bytes], ..edk(ARN) };
            let result = unwrap(&keyring, &encrypted);
            assert!(matches!(result, Err(KeyringError::Limit { .. })), "{result:?}");
        }
        assert!(stub.requests().is_empty());
        for bytes in [1, 6144] {
            let encrypted = EncryptedDataKey { ciphertext: vec![0; bytes], ..edk(ARN) };
            assert!(is_key(&unwrap(&keyring, &encrypted)));
        }
    }
}
