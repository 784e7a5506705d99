//! What is sent for generate and wrap, and what is made of the answers.

use crate::support::{ARN, OTHER_ARN, Stub, block_on, context, hermetic};
use serde_json::{Value, json};
use waxseal_core::{DataKey, EncryptionContext, Keyring, KeyringError, SecretBytes};

/// 32 bytes of `k`, in base64.
const KEY_BASE64: &str = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=";

fn generated(arn: &str) -> Value {
    json!({"KeyId": arn, "Plaintext": KEY_BASE64, "CiphertextBlob": "YmxvYg=="})
}

fn encrypted(arn: &str) -> Value {
    json!({"KeyId": arn, "CiphertextBlob": "YmxvYg==", "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"})
}

fn data_key(bytes: usize) -> DataKey {
    DataKey::new(SecretBytes::new(vec![b'k'; bytes]))
}

hermetic! {
    fn generate_is_generate_data_key() => {
        let stub = Stub::answering(generated(ARN));
        let keyring = stub.kms().keyring("alias/backup".parse().unwrap());
        let generated = block_on(keyring.generate(32, &context(&[("b", "2"), ("ä", "1")]))).unwrap();

        assert_eq!(generated.key.expose(), [b'k'; 32]);
        let [encrypted] = generated.encrypted.as_slice() else { panic!() };
        assert_eq!(encrypted.provider_id, "aws-kms");
        assert_eq!(encrypted.provider_info, ARN.as_bytes());
        assert_eq!(encrypted.ciphertext, b"blob");

        let request = stub.only_request();
        assert_eq!(request.operation(), "GenerateDataKey");
        assert_eq!(request.header("content-type"), "application/x-amz-json-1.1");
        assert_eq!(request.scope(), "eu-west-1/kms/aws4_request");
        assert_eq!(request.body, json!({
            "KeyId": "alias/backup",
            "NumberOfBytes": 32,
            "EncryptionContext": {"b": "2", "ä": "1"},
        }));
    }

    fn wrap_is_encrypt() => {
        let stub = Stub::answering(encrypted(ARN));
        let keyring = stub.kms().keyring(ARN.parse().unwrap());
        for bytes in [1, 4096] {
            let wrapped = block_on(keyring.wrap(&data_key(bytes), &EncryptionContext::new()));
            let [wrapped] = wrapped.unwrap().try_into().unwrap();
            assert_eq!(wrapped.provider_info, ARN.as_bytes());
            assert_eq!(wrapped.ciphertext, b"blob");
        }
        let request = &stub.requests()[0];
        assert_eq!(request.operation(), "Encrypt");
        // No context, no member.
        assert_eq!(request.body, json!({"KeyId": ARN, "Plaintext": "aw=="}));
    }

    fn lengths_out_of_bounds_are_not_sent() => {
        let stub = Stub::answering(json!({}));
        let keyring = stub.kms().keyring(ARN.parse().unwrap());
        let empty = EncryptionContext::new();
        let limit = |result: Result<(), KeyringError>| {
            assert!(matches!(result, Err(KeyringError::Limit { .. })), "{result:?}");
        };
        for bytes in [0, 1025, usize::MAX] {
            limit(block_on(keyring.generate(bytes, &empty)).map(drop));
        }
        for bytes in [0, 4097] {
            limit(block_on(keyring.wrap(&data_key(bytes), &empty)).map(drop));
        }
        assert!(stub.requests().is_empty());
    }

    fn largest_data_key_passes_and_no_larger_one_is_believed() => {
        let key_of_1024 = "a2tr".repeat(341) + "aw==";
        let key_of_1025 = "a2tr".repeat(341) + "a2s=";
        for (plaintext, fits) in [(key_of_1024, true), (key_of_1025, false)] {
            let stub = Stub::answering(
                json!({"KeyId": ARN, "Plaintext": plaintext, "CiphertextBlob": "YmxvYg=="}),
            );
            let keyring = stub.kms().keyring(ARN.parse().unwrap());
            let result = block_on(keyring.generate(1024, &EncryptionContext::new()));
            assert_eq!(result.is_ok(), fits, "{result:?}");
            assert_eq!(stub.only_request().body["NumberOfBytes"], 1024);
        }
    }

    fn answers_that_cannot_be_true_are_refused() => {
        let change = |name: &str, value: Value| {
            let mut answer = generated(ARN);
            answer[name] = value;
            answer
        };
        let blob_of_6145_bytes = "AAAA".repeat(2048) + "AA==";
        for answer in [
            json!({}),
            change("KeyId", json!(OTHER_ARN)),
            change("KeyId", json!("alias/backup")),
            change("KeyId", Value::Null),
            change("Plaintext", json!("a2tr")),
            change("Plaintext", Value::Null),
            change("CiphertextBlob", json!("")),
            change("CiphertextBlob", json!(blob_of_6145_bytes)),
            change("CiphertextBlob", Value::Null),
            change("CiphertextBlob", json!("no base64")),
        ] {
            let stub = Stub::answering(answer.clone());
            let keyring = stub.kms().keyring(ARN.parse().unwrap());
            let result = block_on(keyring.generate(32, &EncryptionContext::new()));
            assert!(matches!(result, Err(KeyringError::Service { .. })), "{answer} {result:?}");
            let text = format!("{}", result.unwrap_err());
            assert!(!text.contains(KEY_BASE64) && !text.contains("kkkk"), "{text}");
        }
    }

    fn region_is_that_of_the_arn() => {
        let stub = Stub::start(|request, _| {
            crate::support::ok(generated(request.body["KeyId"].as_str().unwrap()))
        });
        let kms = stub.kms();
        let key = |region: &str| ARN.replace("eu-west-1", region);
        for region in ["us-east-1", "ap-south-1", "us-east-1"] {
            let keyring = kms.keyring(key(region).parse().unwrap());
            block_on(keyring.generate(32, &EncryptionContext::new())).unwrap();
        }
        let scopes: Vec<_> = stub.requests().iter().map(|r| r.scope()).collect();
        assert_eq!(scopes, [
            "us-east-1/kms/aws4_request",
            "ap-south-1/kms/aws4_request",
            "us-east-1/kms/aws4_request",
        ]);
    }

    fn first_arn_does_not_lend_its_region_to_aliases() with [("AWS_REGION", "")] => {
        let stub = Stub::answering(generated(&ARN.replace("eu-west-1", "us-east-1")));
        let kms = stub.kms();
        let arn = ARN.replace("eu-west-1", "us-east-1");
        block_on(kms.keyring(arn.parse().unwrap()).generate(32, &EncryptionContext::new())).unwrap();
        let keyring = kms.keyring("alias/x".parse().unwrap());
        let result = block_on(keyring.generate(32, &EncryptionContext::new()));
        let Err(KeyringError::Configuration { reason, .. }) = result else { panic!("{result:?}") };
        assert!(reason.contains("AWS_REGION"), "{reason}");
        assert_eq!(stub.requests().len(), 1);
    }

    fn many_calls_at_once_share_one_connection_set() => {
        let stub = Stub::answering(generated(ARN));
        let keyring = stub.kms().keyring(ARN.parse().unwrap());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        block_on(keyring.generate(32, &EncryptionContext::new())).unwrap();
                    }
                });
            }
        });
        assert_eq!(stub.requests().len(), 80);
    }

    fn debug_tells_the_key_and_no_secret() => {
        let stub = Stub::answering(json!({}));
        let kms = stub.kms();
        let keyring = kms.keyring(ARN.parse().unwrap());
        assert_eq!(format!("{keyring:?}"), format!("AwsKmsKeyring({ARN})"));
        assert!(!format!("{kms:?}").contains("secret"));
    }
}
