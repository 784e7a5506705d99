//! The keyring of keys that agree on secrets: who may open what, what is asked, what is believed.

use crate::support::{ARN, OTHER_ARN, Request, Stub, block_on, context, error, hermetic, ok};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::sync::Arc;
use waxseal_aws::AwsKmsEcdhKeyring;
use waxseal_core::crypto::ecdh::{EcdhCurve, EcdhPrivateKey, EcdhPublicKey};
use waxseal_core::crypto::random::SystemEntropy;
use waxseal_core::keyring::{RawEcdhKeyring, Unwrapped};
use waxseal_core::{
    DataKey, EncryptedDataKey, EncryptionContext, Keyring, KeyringError, SecretBytes,
};

fn pair(curve: EcdhCurve) -> Arc<EcdhPrivateKey> {
    Arc::new(EcdhPrivateKey::generate(curve).unwrap())
}

/// What the service answers with its private key `own`, under `ARN`.
fn answer(own: &EcdhPrivateKey, request: &Request) -> Value {
    assert_eq!(request.body["KeyId"], ARN);
    match request.operation() {
        "GetPublicKey" => json!({
            "KeyId": ARN,
            "PublicKey": STANDARD.encode(own.public_key().spki()),
            "KeyUsage": "KEY_AGREEMENT",
            "KeyAgreementAlgorithms": ["ECDH"],
        }),
        "DeriveSharedSecret" => {
            assert_eq!(request.body["KeyAgreementAlgorithm"], "ECDH");
            let peer = STANDARD
                .decode(request.body["PublicKey"].as_str().unwrap())
                .unwrap();
            let peer = EcdhPublicKey::from_spki(&peer).unwrap();
            let secret = own.shared_secret(&peer).unwrap();
            json!({
                "KeyId": ARN,
                "SharedSecret": STANDARD.encode(secret.expose()),
                "KeyAgreementAlgorithm": "ECDH",
            })
        }
        other => panic!("{other}"),
    }
}

/// A service whose answers are changed by `change` on the way.
fn service_with(
    own: &Arc<EcdhPrivateKey>,
    change: impl Fn(&mut Value) + Send + Sync + 'static,
) -> Stub {
    let own = own.clone();
    Stub::start(move |request, _| {
        let mut answer = answer(&own, request);
        change(&mut answer);
        ok(answer)
    })
}

fn service(own: &Arc<EcdhPrivateKey>) -> Stub {
    service_with(own, |_| {})
}

fn keyring(stub: &Stub, peer: &EcdhPublicKey) -> AwsKmsEcdhKeyring {
    let entropy = Arc::new(SystemEntropy);
    stub.kms()
        .ecdh_keyring(ARN.parse().unwrap(), peer.clone(), None, entropy)
}

fn wrap(keyring: &dyn Keyring) -> EncryptedDataKey {
    let key = DataKey::new(SecretBytes::new(vec![7; 32]));
    let wrapped = block_on(keyring.wrap(&key, &context(&[("a", "1")]))).unwrap();
    let [encrypted] = wrapped.try_into().unwrap();
    encrypted
}

fn unwrap(keyring: &dyn Keyring, encrypted: &EncryptedDataKey) -> Result<Unwrapped, KeyringError> {
    block_on(keyring.unwrap(encrypted, &context(&[("a", "1")])))
}

fn is_key(result: &Result<Unwrapped, KeyringError>) -> bool {
    matches!(result, Ok(Unwrapped::Key(key)) if key.expose() == [7; 32])
}

hermetic! {
    fn both_ends_open_what_either_wrapped() => {
        for curve in EcdhCurve::ALL {
            let (own, peer) = (pair(curve), EcdhPrivateKey::generate(curve).unwrap());
            let stub = service(&own);
            let ours = keyring(&stub, peer.public_key());
            let entropy = Arc::new(SystemEntropy);
            let theirs =
                RawEcdhKeyring::with_peer(peer, own.public_key().clone(), entropy).unwrap();
            let (one, two) = (wrap(&ours), wrap(&theirs));
            assert_eq!((one.provider_id.as_str(), two.provider_id.as_str()), ("aws-kms-ecdh", "raw-ecdh"));
            for encrypted in [&one, &two] {
                for keyring in [&ours as &dyn Keyring, &theirs] {
                    let result = unwrap(keyring, encrypted);
                    assert!(is_key(&result), "{result:?}");
                }
            }
            let generated = block_on(ours.generate(32, &context(&[("a", "1")]))).unwrap();
            let result = unwrap(&theirs, &generated.encrypted[0]);
            assert!(matches!(result, Ok(Unwrapped::Key(key)) if key.expose() == generated.key.expose()));
            // The own public key once, a secret for each wrapping and unwrapping.
            let asked = stub.requests().iter().filter(|r| r.operation() == "GetPublicKey").count();
            assert_eq!((asked, stub.requests().len()), (1, 5));
        }
    }

    fn discovery_opens_what_anybody_wrapped_for_it_and_wraps_nothing() => {
        let own = pair(EcdhCurve::P256);
        let stub = service(&own);
        let discovery = stub.kms().ecdh_discovery(ARN.parse().unwrap(), None);
        let sender = RawEcdhKeyring::to_recipient(own.public_key().clone(), Arc::new(SystemEntropy));
        for _ in 0..2 {
            assert!(is_key(&unwrap(&discovery, &wrap(&sender))));
        }
        let asked = stub.requests().len();
        let generated = block_on(discovery.generate(32, &EncryptionContext::new()));
        assert!(matches!(generated, Err(KeyringError::Unsupported { .. })));
        // What it sent itself to somebody else is not for it.
        let peer = EcdhPrivateKey::generate(EcdhCurve::P256).unwrap();
        let result = unwrap(&discovery, &wrap(&keyring(&stub, peer.public_key())));
        assert!(matches!(result, Ok(Unwrapped::NotMine)), "{result:?}");
        assert_eq!(stub.requests().len(), asked + 2);
    }

    fn strangers_are_not_mine_without_a_request() => {
        let own = pair(EcdhCurve::P384);
        let stub = service(&own);
        let point = |curve| EcdhPrivateKey::generate(curve).unwrap().public_key().clone();
        let ours = keyring(&stub, &point(EcdhCurve::P384));
        let stranger = RawEcdhKeyring::to_recipient(point(EcdhCurve::P384), Arc::new(SystemEntropy));
        let encrypted = wrap(&stranger);
        let other = EncryptedDataKey { provider_id: "aws-kms".into(), ..encrypted.clone() };
        let mut version = encrypted.clone();
        version.provider_info[0] = 2;
        let mut long = encrypted.clone();
        long.provider_info.push(0);
        let empty = EncryptedDataKey { provider_info: vec![], ..encrypted.clone() };
        for encrypted in [&encrypted, &other, &version, &long, &empty] {
            let result = unwrap(&ours, encrypted);
            assert!(matches!(result, Ok(Unwrapped::NotMine)), "{result:?}");
        }
        assert!(stub.requests().is_empty());
    }

    fn altered_keys_and_contexts_do_not_open() => {
        let own = pair(EcdhCurve::P256);
        let stub = service(&own);
        let peer = EcdhPrivateKey::generate(EcdhCurve::P256).unwrap();
        let ours = keyring(&stub, peer.public_key());
        let encrypted = wrap(&ours);
        for at in 0..encrypted.ciphertext.len() {
            let mut altered = encrypted.clone();
            altered.ciphertext[at] ^= 1;
            let result = unwrap(&ours, &altered);
            assert!(matches!(result, Err(KeyringError::Unauthentic { .. })), "{at} {result:?}");
        }
        for pairs in [&[][..], &[("a", "2")]] {
            let result = block_on(ours.unwrap(&encrypted, &context(pairs)));
            assert!(matches!(result, Err(KeyringError::Unauthentic { .. })), "{result:?}");
        }
        // A sender that is no point: not sent to the service.
        let discovery = stub.kms().ecdh_discovery(ARN.parse().unwrap(), Some(own.public_key().clone()));
        let sender = RawEcdhKeyring::to_recipient(own.public_key().clone(), Arc::new(SystemEntropy));
        let mut broken = wrap(&sender);
        let end = broken.provider_info.len() - 33;
        broken.provider_info[end] = 9;
        let asked = stub.requests().len();
        let result = unwrap(&discovery, &broken);
        assert!(matches!(result, Err(KeyringError::Unauthentic { .. })), "{result:?}");
        assert_eq!(stub.requests().len(), asked);
    }

    fn answers_that_cannot_be_true_are_refused() => {
        let own = pair(EcdhCurve::P256);
        let peer = EcdhPrivateKey::generate(EcdhCurve::P256).unwrap();
        for (name, value) in [
            ("KeyId", json!(OTHER_ARN)),
            ("KeyId", json!("1234abcd-12ab-34cd-56ef-1234567890ab")),
            ("KeyId", Value::Null),
            ("PublicKey", json!("AAAA")),
            ("KeyUsage", json!("SIGN_VERIFY")),
            ("KeyUsage", Value::Null),
            ("SharedSecret", json!("AAAA")),
            ("SharedSecret", json!("AA".repeat(64))),
            ("SharedSecret", Value::Null),
            ("KeyAgreementAlgorithm", Value::Null),
        ] {
            let changed = value.clone();
            let stub = service_with(&own, move |answer| {
                if name == "KeyId" || answer.get(name).is_some() {
                    answer[name] = changed.clone();
                }
            });
            let result = block_on(
                keyring(&stub, peer.public_key()).generate(32, &EncryptionContext::new()),
            );
            assert!(
                matches!(result, Err(KeyringError::Service { .. } | KeyringError::Unsupported { .. })),
                "{name} {value} {result:?}"
            );
        }
    }

    fn peers_on_another_curve_are_refused() => {
        let stub = service(&pair(EcdhCurve::P256));
        let peer = EcdhPrivateKey::generate(EcdhCurve::P384).unwrap();
        let result = block_on(
            keyring(&stub, peer.public_key()).generate(32, &EncryptionContext::new()),
        );
        let Err(KeyringError::Unsupported { key, reason }) = result else { panic!("{result:?}") };
        assert!(key == ARN && reason.contains("p256") && reason.contains("p384"), "{reason}");
    }

    fn refusals_of_the_service_keep_their_kind() => {
        let stub = Stub::start(|_, _| error(400, "AccessDeniedException"));
        let peer = EcdhPrivateKey::generate(EcdhCurve::P256).unwrap();
        let result = block_on(
            keyring(&stub, peer.public_key()).generate(32, &EncryptionContext::new()),
        );
        let Err(KeyringError::AccessDenied { key, .. }) = result else { panic!("{result:?}") };
        assert_eq!(key, ARN);
    }
}
