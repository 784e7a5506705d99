//! The keyring of RSA keys: what it wraps, what it asks, and which answers count.

use crate::support::{
    ARN, OTHER_ARN, Reply, Request, Stub, block_on, context, error, hermetic, ok,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::sync::Arc;
use waxseal_aws::{AwsKms, AwsKmsRsaKeyring, KmsRsaAlgorithm, PROVIDER_AWS_KMS_RSA};
use waxseal_core::crypto::hash::sha384;
use waxseal_core::crypto::random::{Entropy, EntropyError, SystemEntropy};
use waxseal_core::crypto::rsa::{RsaPadding, RsaPrivateKey, RsaPublicKey};
use waxseal_core::keyring::Unwrapped;
use waxseal_core::{
    DataKey, EncryptedDataKey, EncryptionContext, Keyring, KeyringError, SecretBytes,
};

/// Made for these tests with `openssl genpkey`.
const PRIVATE: &str = include_str!("../data/rsa-2048.pem");
const PUBLIC: &str = include_str!("../data/rsa-2048.pub.pem");

const MRK: &str = "arn:aws:kms:eu-west-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab";
const REPLICA: &str = "arn:aws:kms:us-east-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab";

fn private() -> RsaPrivateKey {
    RsaPrivateKey::from_pem(PRIVATE.as_bytes()).unwrap()
}

fn public() -> RsaPublicKey {
    RsaPublicKey::from_pem(PUBLIC.as_bytes()).unwrap()
}

/// What the service does with its private key.
fn decrypt(request: &Request) -> Reply {
    let padding = match request.body["EncryptionAlgorithm"].as_str() {
        Some("RSAES_OAEP_SHA_1") => RsaPadding::OaepSha1,
        Some("RSAES_OAEP_SHA_256") => RsaPadding::OaepSha256,
        other => panic!("{other:?}"),
    };
    let blob = STANDARD
        .decode(request.body["CiphertextBlob"].as_str().unwrap())
        .unwrap();
    match private().decrypt(padding, &blob) {
        Ok(plaintext) => ok(json!({
            "KeyId": request.body["KeyId"],
            "Plaintext": STANDARD.encode(plaintext.expose()),
            "EncryptionAlgorithm": request.body["EncryptionAlgorithm"],
        })),
        Err(_) => error(400, "InvalidCiphertextException"),
    }
}

fn public_key(arn: &str) -> Value {
    let spki: String = PUBLIC
        .lines()
        .filter(|line| !line.starts_with("---"))
        .collect();
    json!({
        "KeyId": arn,
        "PublicKey": spki,
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeySpec": "RSA_2048",
        "EncryptionAlgorithms": ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"],
    })
}

fn service() -> Stub {
    Stub::start(|request, _| match request.operation() {
        "GetPublicKey" => ok(public_key(request.body["KeyId"].as_str().unwrap())),
        "Decrypt" => decrypt(request),
        other => panic!("{other}"),
    })
}

fn keyring(kms: &Arc<AwsKms>, arn: &str, algorithm: KmsRsaAlgorithm) -> AwsKmsRsaKeyring {
    kms.rsa_keyring(
        arn.parse().unwrap(),
        algorithm,
        Some(public()),
        Arc::new(SystemEntropy),
    )
}

fn sha256(kms: &Arc<AwsKms>, arn: &str) -> AwsKmsRsaKeyring {
    keyring(kms, arn, KmsRsaAlgorithm::OaepSha256)
}

fn unwrap(
    keyring: &AwsKmsRsaKeyring,
    encrypted: &EncryptedDataKey,
    pairs: &[(&str, &str)],
) -> Result<Unwrapped, KeyringError> {
    block_on(keyring.unwrap(encrypted, &context(pairs)))
}

fn is_key(result: &Result<Unwrapped, KeyringError>, expected: &[u8]) -> bool {
    matches!(result, Ok(Unwrapped::Key(key)) if key.expose() == expected)
}

fn wrap(keyring: &AwsKmsRsaKeyring, pairs: &[(&str, &str)]) -> EncryptedDataKey {
    let key = DataKey::new(SecretBytes::new(vec![7; 32]));
    let [encrypted] = block_on(keyring.wrap(&key, &context(pairs)))
        .unwrap()
        .try_into()
        .unwrap();
    encrypted
}

/// An encrypted data key of these very bytes under the public key.
fn sealed(plaintext: &[u8]) -> EncryptedDataKey {
    EncryptedDataKey {
        provider_id: PROVIDER_AWS_KMS_RSA.to_owned(),
        provider_info: ARN.as_bytes().to_vec(),
        ciphertext: public().encrypt(RsaPadding::OaepSha256, plaintext).unwrap(),
    }
}

hermetic! {
    fn wraps_without_a_request_as_the_specification_lays_it_out() => {
        let stub = service();
        for (algorithm, padding) in [
            (KmsRsaAlgorithm::OaepSha1, RsaPadding::OaepSha1),
            (KmsRsaAlgorithm::OaepSha256, RsaPadding::OaepSha256),
        ] {
            let encrypted = wrap(&keyring(&stub.kms(), ARN, algorithm), &[("b", "2"), ("a", "1")]);
            assert_eq!(encrypted.provider_id, "aws-kms-rsa");
            assert_eq!(encrypted.provider_info, ARN.as_bytes());
            let plaintext = private().decrypt(padding, &encrypted.ciphertext).unwrap();
            let serialized = b"\0\x02\0\x01a\0\x011\0\x01b\0\x012";
            assert_eq!(plaintext.expose()[..48], sha384(&[serialized]));
            assert_eq!(plaintext.expose()[48..], [7; 32]);
        }
        // No pairs: the hash of nothing.
        let encrypted = wrap(&sha256(&stub.kms(), ARN), &[]);
        let plaintext = private().decrypt(RsaPadding::OaepSha256, &encrypted.ciphertext).unwrap();
        assert_eq!(plaintext.expose()[..48], sha384(&[]));
        assert!(stub.requests().is_empty());
    }

    fn generated_keys_unwrap() => {
        let stub = service();
        for algorithm in [KmsRsaAlgorithm::OaepSha1, KmsRsaAlgorithm::OaepSha256] {
            let keyring = keyring(&stub.kms(), ARN, algorithm);
            let context = context(&[("a", "1")]);
            let one = block_on(keyring.generate(32, &context)).unwrap();
            let two = block_on(keyring.generate(32, &context)).unwrap();
            assert_ne!(one.key.expose(), two.key.expose());
            let result = unwrap(&keyring, &one.encrypted[0], &[("a", "1")]);
            assert!(is_key(&result, one.key.expose()), "{result:?}");
        }
    }

    fn unwrap_is_decrypt_with_algorithm_and_without_context() => {
        let stub = service();
        let keyring = sha256(&stub.kms(), ARN);
        let encrypted = wrap(&keyring, &[("a", "1")]);
        assert!(is_key(&unwrap(&keyring, &encrypted, &[("a", "1")]), &[7; 32]));
        let request = stub.only_request();
        assert_eq!(request.operation(), "Decrypt");
        assert_eq!(request.scope(), "eu-west-1/kms/aws4_request");
        assert_eq!(request.body, json!({
            "KeyId": ARN,
            "CiphertextBlob": STANDARD.encode(&encrypted.ciphertext),
            "EncryptionAlgorithm": "RSAES_OAEP_SHA_256",
        }));
    }

    fn another_context_does_not_open_it() => {
        let stub = service();
        let keyring = sha256(&stub.kms(), ARN);
        let encrypted = wrap(&keyring, &[("a", "1")]);
        for pairs in [&[][..], &[("a", "2")], &[("a", "1"), ("b", "2")]] {
            let result = unwrap(&keyring, &encrypted, pairs);
            assert!(matches!(result, Err(KeyringError::Unauthentic { .. })), "{result:?}");
        }
        // Nor do another padding and an altered ciphertext.
        let other = crate::rsa::keyring(&stub.kms(), ARN, KmsRsaAlgorithm::OaepSha1);
        let mut altered = encrypted.clone();
        altered.ciphertext[9] ^= 1;
        for (keyring, encrypted) in [(&other, &encrypted), (&keyring, &altered)] {
            let result = unwrap(keyring, encrypted, &[("a", "1")]);
            assert!(matches!(result, Err(KeyringError::Unauthentic { .. })), "{result:?}");
        }
    }

    fn plaintexts_without_digest_or_key_are_refused() => {
        let stub = service();
        let keyring = sha256(&stub.kms(), ARN);
        let mut plaintext = sha384(&[]).to_vec();
        for short in [&plaintext[..1], &plaintext[..47], &plaintext[..48]] {
            let result = unwrap(&keyring, &sealed(short), &[]);
            assert!(matches!(result, Err(KeyringError::Unauthentic { .. })), "{result:?}");
        }
        plaintext.push(9);
        assert!(is_key(&unwrap(&keyring, &sealed(&plaintext), &[]), &[9]));
    }

    fn signing_suites_are_refused_both_ways() => {
        let stub = service();
        let keyring = sha256(&stub.kms(), ARN);
        let signed = context(&[("aws-crypto-public-key", "AAAA")]);
        let key = DataKey::new(SecretBytes::new(vec![7; 32]));
        for result in [
            block_on(keyring.wrap(&key, &signed)).map(drop),
            block_on(keyring.generate(32, &signed)).map(drop),
            block_on(keyring.unwrap(&wrap(&keyring, &[]), &signed)).map(drop),
        ] {
            let Err(KeyringError::Unsupported { key, reason }) = result else { panic!("{result:?}") };
            assert!(key == ARN && reason.contains("signing"), "{reason}");
        }
        assert!(stub.requests().is_empty());
    }

    fn strangers_are_not_mine_without_a_request() => {
        let stub = service();
        let mine = wrap(&sha256(&stub.kms(), ARN), &[]);
        let mrk = sha256(&stub.kms(), MRK);
        for (keyring, provider, info) in [
            (&sha256(&stub.kms(), ARN), "aws-kms", ARN),
            (&sha256(&stub.kms(), ARN), "aws-kms-rsa", OTHER_ARN),
            (&sha256(&stub.kms(), ARN), "aws-kms-rsa", MRK),
            (&mrk, "aws-kms-rsa", ARN),
            (&mrk, "aws-kms-rsa", &REPLICA.replace("123456789012", "1")),
        ] {
            let encrypted = EncryptedDataKey {
                provider_id: provider.into(),
                provider_info: info.as_bytes().to_vec(),
                ..mine.clone()
            };
            let result = unwrap(keyring, &encrypted, &[]);
            assert!(matches!(result, Ok(Unwrapped::NotMine)), "{provider} {info} {result:?}");
        }
        for broken in [&b""[..], b"alias/a", b"1234abcd-12ab-34cd-56ef-1234567890ab", b"\xff"] {
            let encrypted = EncryptedDataKey { provider_info: broken.to_vec(), ..mine.clone() };
            let result = unwrap(&sha256(&stub.kms(), ARN), &encrypted, &[]);
            assert!(matches!(result, Err(KeyringError::Unsupported { .. })), "{result:?}");
        }
        assert!(stub.requests().is_empty());
    }

    fn replicas_open_what_the_other_wrapped() => {
        let stub = service();
        let encrypted = wrap(&sha256(&stub.kms(), REPLICA), &[]);
        assert_eq!(encrypted.provider_info, REPLICA.as_bytes());
        assert!(is_key(&unwrap(&sha256(&stub.kms(), MRK), &encrypted, &[]), &[7; 32]));
        assert_eq!(stub.only_request().body["KeyId"], MRK);
    }

    fn answers_of_other_keys_are_refused() => {
        for answering in [json!(OTHER_ARN), json!("1234abcd-12ab-34cd-56ef-1234567890ab"), json!(null)] {
            let stub = Stub::start(move |request, _| match (request.operation(), decrypt(request)) {
                (_, Reply::Json(status, mut body)) => {
                    body["KeyId"] = answering.clone();
                    Reply::Json(status, body)
                }
                (_, other) => other,
            });
            let keyring = sha256(&stub.kms(), ARN);
            let result = unwrap(&keyring, &wrap(&keyring, &[]), &[]);
            assert!(matches!(result, Err(KeyringError::Service { .. })), "{result:?}");
        }
    }

    fn lengths_are_checked_on_both_sides() => {
        let stub = service();
        let keyring = sha256(&stub.kms(), ARN);
        let wrap = |bytes: usize| {
            let key = DataKey::new(SecretBytes::new(vec![7; bytes]));
            block_on(keyring.wrap(&key, &EncryptionContext::new()))
        };
        assert!(wrap(1).is_ok() && wrap(142).is_ok());
        for bytes in [0, 143, 4096] {
            let result = wrap(bytes);
            assert!(matches!(result, Err(KeyringError::Limit { .. })), "{result:?}");
        }
        for bytes in [0, 6145] {
            let encrypted = EncryptedDataKey { ciphertext: vec![0; bytes], ..sealed(b"x") };
            let result = unwrap(&keyring, &encrypted, &[]);
            assert!(matches!(result, Err(KeyringError::Limit { .. })), "{result:?}");
        }
        assert!(stub.requests().is_empty());
    }

    fn public_key_is_asked_once() => {
        let stub = service();
        let keyring = stub.kms().rsa_keyring(
            ARN.parse().unwrap(), KmsRsaAlgorithm::OaepSha256, None, Arc::new(SystemEntropy),
        );
        for _ in 0..3 {
            let encrypted = wrap(&keyring, &[]);
            let plaintext = private().decrypt(RsaPadding::OaepSha256, &encrypted.ciphertext);
            assert_eq!(plaintext.unwrap().expose()[48..], [7; 32]);
        }
        let request = stub.only_request();
        assert_eq!(request.operation(), "GetPublicKey");
        assert_eq!(request.body, json!({"KeyId": ARN}));
    }

    fn public_keys_that_cannot_be_the_right_one_are_refused() => {
        let change = |name: &str, value: Value| {
            let mut answer = public_key(ARN);
            answer[name] = value;
            answer
        };
        for answer in [
            change("KeyId", json!(OTHER_ARN)),
            change("KeyId", Value::Null),
            change("KeyUsage", json!("SIGN_VERIFY")),
            change("KeyUsage", Value::Null),
            change("EncryptionAlgorithms", json!(["RSAES_OAEP_SHA_1"])),
            change("EncryptionAlgorithms", Value::Null),
            change("PublicKey", json!("AAAA")),
            change("PublicKey", Value::Null),
        ] {
            let stub = Stub::answering(answer.clone());
            let keyring = stub.kms().rsa_keyring(
                ARN.parse().unwrap(), KmsRsaAlgorithm::OaepSha256, None, Arc::new(SystemEntropy),
            );
            let result = block_on(keyring.generate(32, &EncryptionContext::new()));
            assert!(
                matches!(result, Err(KeyringError::Service { .. } | KeyringError::Unsupported { .. })),
                "{answer} {result:?}"
            );
        }
    }

    fn refusals_of_the_service_keep_their_kind() => {
        for (code, status) in [("AccessDeniedException", 400), ("DisabledException", 400)] {
            let stub = Stub::start(move |_, _| error(status, code));
            let result = unwrap(&sha256(&stub.kms(), ARN), &sealed(b"x"), &[]);
            let text = format!("{result:?}");
            assert!(text.contains(ARN) && text.contains(code), "{text}");
        }
        let stub = Stub::start(|_, _| error(400, "IncorrectKeyException"));
        let result = unwrap(&sha256(&stub.kms(), ARN), &sealed(b"x"), &[]);
        assert!(matches!(result, Err(KeyringError::Unauthentic { .. })), "{result:?}");
    }

    fn nothing_is_wrapped_without_randomness() => {
        struct Dry;
        impl Entropy for Dry {
            fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
                Err(EntropyError)
            }
        }
        let stub = service();
        let keyring = stub.kms().rsa_keyring(
            ARN.parse().unwrap(), KmsRsaAlgorithm::OaepSha256, Some(public()), Arc::new(Dry),
        );
        let result = block_on(keyring.generate(32, &EncryptionContext::new()));
        assert!(matches!(result, Err(KeyringError::Service { .. })), "{result:?}");
    }
}
