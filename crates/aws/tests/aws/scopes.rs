//! Discovery with a filter, multi-Region keys, and discovery within a Region.

use crate::support::{ARN, OTHER_ARN, Stub, block_on, edk, error, hermetic, ok};
use serde_json::json;
use waxseal_aws::{AwsKmsKeyring, DiscoveryFilter};
use waxseal_core::keyring::Unwrapped;
use waxseal_core::{
    DataKey, EncryptedDataKey, EncryptionContext, KeyArn, Keyring, KeyringError, SecretBytes,
};

const MRK: &str = "arn:aws:kms:eu-west-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab";
const REPLICA: &str = "arn:aws:kms:us-east-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab";

/// What came of an unwrapping.
#[derive(Debug, PartialEq)]
enum Outcome {
    Key,
    NotMine,
    Unsupported,
    Unauthentic,
    Service(String),
    Other(KeyringError),
}

fn unwrap(keyring: &AwsKmsKeyring, encrypted: &EncryptedDataKey) -> Outcome {
    match block_on(keyring.unwrap(encrypted, &EncryptionContext::new())) {
        Ok(Unwrapped::Key(key)) if key.expose() == b"key" => Outcome::Key,
        Ok(Unwrapped::Key(_)) => panic!("another key"),
        Ok(Unwrapped::NotMine) => Outcome::NotMine,
        Err(KeyringError::Unsupported { key, reason }) if !key.is_empty() && !reason.is_empty() => {
            Outcome::Unsupported
        }
        Err(KeyringError::Unauthentic { .. }) => Outcome::Unauthentic,
        Err(KeyringError::Service { reason, .. }) => Outcome::Service(reason),
        Err(error) => Outcome::Other(error),
    }
}

/// A service that decrypts with whatever key is named, or with `alone` when none is.
fn obliging(alone: &'static str) -> Stub {
    Stub::start(move |request, _| {
        let key = request.body["KeyId"].as_str().unwrap_or(alone);
        ok(json!({"KeyId": key, "Plaintext": "a2V5"}))
    })
}

/// A service that decrypts with `key`, whatever is asked.
fn stubborn(key: &'static str) -> Stub {
    Stub::answering(json!({"KeyId": key, "Plaintext": "a2V5"}))
}

fn filter(accounts: &[&str]) -> Option<DiscoveryFilter> {
    Some(DiscoveryFilter::new("aws", accounts.iter().copied()).unwrap())
}

fn bare() -> EncryptedDataKey {
    EncryptedDataKey::bare(b"blob".to_vec())
}

hermetic! {
    fn discovery_keeps_to_its_filter() => {
        let stub = obliging(ARN);
        let keyring = stub.kms().discovery(filter(&["123456789012", "111122223333"]));
        assert_eq!(unwrap(&keyring, &edk(ARN)), Outcome::Key);
        assert_eq!(unwrap(&keyring, &edk(&ARN.replace("eu-west-1", "us-east-1"))), Outcome::Key);
        assert_eq!(stub.requests().len(), 2);
        for stranger in [
            ARN.replace("123456789012", "444455556666"),
            ARN.replace("arn:aws:", "arn:aws-cn:"),
        ] {
            assert_eq!(unwrap(&keyring, &edk(&stranger)), Outcome::NotMine);
        }
        let raw = EncryptedDataKey { provider_id: "aws-kms-rsa".into(), ..edk(ARN) };
        assert_eq!(unwrap(&keyring, &raw), Outcome::NotMine);
        assert_eq!(unwrap(&keyring, &edk("alias/a")), Outcome::Unsupported);
        assert_eq!(stub.requests().len(), 2);
    }

    fn filter_holds_for_blobs_that_name_no_key() => {
        let stub = obliging(ARN);
        assert_eq!(unwrap(&stub.kms().discovery(filter(&["123456789012"])), &bare()), Outcome::Key);
        let keyring = stub.kms().discovery(filter(&["444455556666"]));
        let outcome = unwrap(&keyring, &bare());
        assert!(matches!(&outcome, Outcome::Service(why) if why.contains(ARN)), "{outcome:?}");
    }

    fn multi_region_keyring_asks_its_own_replica() => {
        let stub = obliging(ARN);
        let keyring = stub.kms().multi_region_keyring(MRK.parse().unwrap());
        for named in [MRK, REPLICA] {
            assert_eq!(unwrap(&keyring, &edk(named)), Outcome::Key);
        }
        for request in stub.requests() {
            assert_eq!(request.body["KeyId"], MRK);
            assert_eq!(request.scope(), "eu-west-1/kms/aws4_request");
        }
        for stranger in [
            REPLICA.replace("123456789012", "444455556666"),
            REPLICA.replace("arn:aws:", "arn:aws-cn:"),
            REPLICA.replace("mrk-1", "mrk-2"),
            ARN.to_owned(),
        ] {
            assert_eq!(unwrap(&keyring, &edk(&stranger)), Outcome::NotMine, "{stranger}");
        }
        assert_eq!(unwrap(&keyring, &edk("mrk-1234abcd12ab34cd56ef1234567890ab")), Outcome::Unsupported);
        assert_eq!(stub.requests().len(), 2);
    }

    fn strict_keyring_knows_no_replicas() => {
        let stub = obliging(ARN);
        let keyring = stub.kms().keyring(MRK.parse().unwrap());
        assert_eq!(unwrap(&keyring, &edk(REPLICA)), Outcome::NotMine);
        assert!(stub.requests().is_empty());
    }

    fn multi_region_keyring_of_a_single_region_key_is_strict() => {
        let stub = obliging(ARN);
        let keyring = stub.kms().multi_region_keyring(ARN.parse().unwrap());
        assert_eq!(unwrap(&keyring, &edk(ARN)), Outcome::Key);
        let elsewhere = ARN.replace("eu-west-1", "us-east-1");
        assert_eq!(unwrap(&keyring, &edk(&elsewhere)), Outcome::NotMine);
    }

    fn answer_must_come_from_the_replica_that_was_asked() => {
        // The one that wrapped it, a third one, and another key.
        let third: &'static str = REPLICA.replace("us-east-1", "sa-east-1").leak();
        for answering in [REPLICA, third, ARN] {
            let stub = stubborn(answering);
            for keyring in [
                stub.kms().multi_region_keyring(MRK.parse().unwrap()),
                stub.kms().region_discovery("eu-west-1", None),
            ] {
                let outcome = unwrap(&keyring, &edk(REPLICA));
                let Outcome::Service(why) = outcome else { panic!("{outcome:?}") };
                assert!(why.contains(answering), "{why}");
            }
        }
    }

    fn a_replica_that_knows_nothing_of_it_is_no_stranger() => {
        let stub = Stub::start(|_, _| error(400, "IncorrectKeyException"));
        for keyring in [
            stub.kms().multi_region_keyring(MRK.parse().unwrap()),
            stub.kms().region_discovery("eu-west-1", None),
        ] {
            assert_eq!(unwrap(&keyring, &edk(REPLICA)), Outcome::Unauthentic);
        }
    }

    fn aliases_of_multi_region_keys_wrap_and_do_not_unwrap() => {
        let stub = Stub::answering(json!({"KeyId": MRK, "CiphertextBlob": "YmxvYg=="}));
        let id = "mrk-1234abcd12ab34cd56ef1234567890ab";
        for name in ["alias/a", "arn:aws:kms:eu-west-1:123456789012:alias/a", id] {
            let keyring = stub.kms().multi_region_keyring(name.parse().unwrap());
            let key = DataKey::new(SecretBytes::new(vec![7; 32]));
            let wrapped = block_on(keyring.wrap(&key, &EncryptionContext::new())).unwrap();
            assert_eq!(wrapped[0].provider_info, MRK.as_bytes());
            let asked = stub.requests().len();
            assert_eq!(unwrap(&keyring, &edk(MRK)), Outcome::Unsupported);
            assert_eq!(stub.requests().len(), asked);
        }
    }

    fn region_discovery_asks_one_region() => {
        let stub = obliging(OTHER_ARN);
        let keyring = stub.kms().region_discovery("eu-west-1", None);
        for (named, asked) in [(ARN, Some(ARN)), (MRK, Some(MRK)), (REPLICA, Some(MRK))] {
            assert_eq!(unwrap(&keyring, &edk(named)), Outcome::Key);
            let request = stub.requests().pop().unwrap();
            assert_eq!(request.body["KeyId"].as_str(), asked);
            assert_eq!(request.scope(), "eu-west-1/kms/aws4_request");
        }
        let elsewhere = ARN.replace("eu-west-1", "us-east-1");
        assert_eq!(unwrap(&keyring, &edk(&elsewhere)), Outcome::NotMine);
        assert_eq!(unwrap(&keyring, &edk("alias/mrk-1")), Outcome::Unsupported);
        assert_eq!(stub.requests().len(), 3);
        // A blob that names no key is brought there, too.
        assert_eq!(unwrap(&keyring, &bare()), Outcome::Key);
        assert_eq!(stub.requests()[3].body.get("KeyId"), None);
        assert_eq!(stub.requests()[3].scope(), "eu-west-1/kms/aws4_request");
    }

    fn region_discovery_keeps_to_its_filter() => {
        let stub = obliging(ARN);
        let keyring = stub.kms().region_discovery("eu-west-1", filter(&["444455556666"]));
        for named in [ARN, MRK, REPLICA] {
            assert_eq!(unwrap(&keyring, &edk(named)), Outcome::NotMine);
            let theirs = named.replace("123456789012", "444455556666");
            assert_eq!(unwrap(&keyring, &edk(&theirs)), Outcome::Key);
        }
        assert_eq!(stub.requests().len(), 3);
    }

    fn region_discovery_believes_its_region_alone() => {
        let stub = stubborn(REPLICA);
        let outcome = unwrap(&stub.kms().region_discovery("eu-west-1", None), &bare());
        assert!(matches!(outcome, Outcome::Service(_)), "{outcome:?}");
    }

    fn a_region_that_is_none_is_reported() => {
        let stub = obliging(ARN);
        let keyring = stub.kms().region_discovery("evil.example/", None);
        let outcome = unwrap(&keyring, &edk(REPLICA));
        assert!(
            matches!(outcome, Outcome::Other(KeyringError::Configuration { .. })),
            "{outcome:?}"
        );
        assert!(stub.requests().is_empty());
    }

    fn discovery_of_any_kind_wraps_nothing() => {
        let stub = obliging(ARN);
        for keyring in [stub.kms().discovery(filter(&["1"])), stub.kms().region_discovery("r", None)] {
            let key = DataKey::new(SecretBytes::new(vec![7; 32]));
            let wrapped = block_on(keyring.wrap(&key, &EncryptionContext::new()));
            assert!(matches!(wrapped, Err(KeyringError::Unsupported { .. })), "{wrapped:?}");
            let generated = block_on(keyring.generate(32, &EncryptionContext::new()));
            assert!(matches!(generated, Err(KeyringError::Unsupported { .. })));
        }
        assert!(stub.requests().is_empty());
    }

    fn replicas_of_one_key_are_not_combined() => {
        let stub = obliging(ARN);
        let key = |text: &str| -> KeyArn { text.parse().unwrap() };
        let error = stub
            .kms()
            .multi_region_keyrings(key(MRK), vec![key(ARN), key(REPLICA)])
            .unwrap_err();
        assert!(error.to_string().contains(MRK) && error.to_string().contains(REPLICA));

        let keyring = stub.kms().multi_region_keyrings(key(MRK), vec![key(ARN), key(ARN)]).unwrap();
        for named in [REPLICA, ARN] {
            let unwrapped = block_on(keyring.unwrap(&edk(named), &EncryptionContext::new()));
            assert!(matches!(unwrapped, Ok(Unwrapped::Key(_))), "{unwrapped:?}");
        }
        let asked: Vec<_> = stub.requests().iter().map(|r| r.body["KeyId"].clone()).collect();
        assert_eq!(asked, [MRK, ARN]);
    }
}
