//! Custom key stores, and keys that live in a device.

use crate::device::{CERTIFICATE, CLUSTER, Fake, OTHER_CERTIFICATE, OTHER_CLUSTER, PIN, Token};
use crate::support::{World, call, home, refused, secret};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use waxseal_core::crypto::certificate;
use waxseal_kms::blob::{BlobFacts, DEVICE_OVERHEAD_BYTES};
use waxseal_kms::caller::Caller;
use waxseal_kms::device::{Cluster, Refusal};
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::Blob;
use waxseal_kms_api::{ErrorCode, KmsError};

/// A KMS with two clusters, each of one device.
struct Site {
    world: World,
    token: Arc<Token>,
    other: Arc<Token>,
}

impl Site {
    fn new() -> Self {
        let known = |certificate: &str| Token {
            trust_anchor: Some(certificate::only_in_pem(certificate.as_bytes()).unwrap()),
            ..Token::default()
        };
        let site = Self {
            world: World::new(),
            token: Arc::new(known(CERTIFICATE)),
            other: Arc::new(known(CERTIFICATE)),
        };
        site.attach(&site.world.engine);
        site
    }

    fn attach(&self, engine: &waxseal_kms::Engine) {
        let cluster = |token: &Arc<Token>| Arc::new(Fake(token.clone())) as Arc<dyn Cluster>;
        engine.attach(BTreeMap::from([
            (CLUSTER.to_owned(), cluster(&self.token)),
            (OTHER_CLUSTER.to_owned(), cluster(&self.other)),
        ]));
    }

    fn create(
        &self,
        change: impl FnOnce(&mut CreateCustomKeyStoreRequest),
    ) -> Result<String, KmsError> {
        let mut request = CreateCustomKeyStoreRequest {
            custom_key_store_name: "vault".to_owned(),
            cloud_hsm_cluster_id: Some(CLUSTER.to_owned()),
            trust_anchor_certificate: Some(CERTIFICATE.to_owned()),
            key_store_password: Some(PIN.to_owned()),
            ..CreateCustomKeyStoreRequest::default()
        };
        change(&mut request);
        let made = self.world.call(request)?;
        Ok(made.custom_key_store_id.unwrap())
    }

    fn connect(&self, store: &str) -> Result<Empty, KmsError> {
        self.world.call(ConnectCustomKeyStoreRequest {
            custom_key_store_id: store.to_owned(),
        })
    }

    fn disconnect(&self, store: &str) -> Result<Empty, KmsError> {
        self.world.call(DisconnectCustomKeyStoreRequest {
            custom_key_store_id: store.to_owned(),
        })
    }

    fn delete(&self, store: &str) -> Result<Empty, KmsError> {
        self.world.call(DeleteCustomKeyStoreRequest {
            custom_key_store_id: store.to_owned(),
        })
    }

    fn update(
        &self,
        store: &str,
        change: impl FnOnce(&mut UpdateCustomKeyStoreRequest),
    ) -> Result<Empty, KmsError> {
        let mut request = UpdateCustomKeyStoreRequest {
            custom_key_store_id: store.to_owned(),
            ..UpdateCustomKeyStoreRequest::default()
        };
        change(&mut request);
        self.world.call(request)
    }

    fn described(&self) -> Vec<CustomKeyStoresListEntry> {
        let all = self.world.call(DescribeCustomKeyStoresRequest::default());
        all.unwrap().custom_key_stores
    }

    fn state(&self, store: &str) -> (String, Option<String>) {
        let all = self.described();
        let is_it =
            |one: &&CustomKeyStoresListEntry| one.custom_key_store_id.as_deref() == Some(store);
        let one = all.iter().find(is_it).unwrap();
        (
            one.connection_state.clone(),
            one.connection_error_code.clone(),
        )
    }

    /// A store that is connected, and a key in it.
    fn key(&self) -> (String, String) {
        let store = self.create(|_| {}).unwrap();
        self.connect(&store).unwrap();
        let key = self.key_in(&store).unwrap().key_id;
        (store, key)
    }

    fn key_in(&self, store: &str) -> Result<KeyMetadata, KmsError> {
        let request = CreateKeyRequest {
            origin: Some("AWS_CLOUDHSM".to_owned()),
            custom_key_store_id: Some(store.to_owned()),
            ..CreateKeyRequest::default()
        };
        Ok(self.world.call(request)?.key_metadata)
    }

    /// As a client asks: by name, with JSON.
    fn ask(&self, name: &str, body: &Value) -> Result<Value, KmsError> {
        let engine = &self.world.engine;
        let owner = Caller::owner(engine.home(), "test");
        let body = serde_json::to_vec(body).unwrap();
        let answer = engine.answer(owner, "local", name, &body).unwrap();
        let body = answer.result?;
        Ok(serde_json::from_slice(body.expose()).unwrap_or_default())
    }
}

#[test]
fn a_store_goes_through_its_states() {
    let site = Site::new();
    let store = site.create(|_| {}).unwrap();
    assert!(store.starts_with("cks-") && store.len() == 21, "{store}");
    assert_eq!(
        site.token.tried(),
        0,
        "no PIN is tried before the connection"
    );
    let told = site.described().remove(0);
    assert_eq!(told.custom_key_store_name, "vault");
    assert_eq!(told.cloud_hsm_cluster_id.as_deref(), Some(CLUSTER));
    assert_eq!(told.trust_anchor_certificate.as_deref(), Some(CERTIFICATE));
    assert_eq!(told.custom_key_store_type, "AWS_CLOUDHSM");
    assert_eq!(told.connection_state, "DISCONNECTED");

    let (code, _) = refused(site.disconnect(&store));
    assert_eq!(code, ErrorCode::CustomKeyStoreInvalidState);
    let (code, _) = refused(site.key_in(&store));
    assert_eq!(code, ErrorCode::CustomKeyStoreInvalidState);

    site.connect(&store).unwrap();
    assert_eq!(site.state(&store), ("CONNECTED".to_owned(), None));
    assert_eq!(site.token.tried(), 1);
    // Once more changes nothing, and tries nothing.
    site.connect(&store).unwrap();
    assert_eq!(site.token.tried(), 1);
    let (code, _) = refused(site.delete(&store));
    assert_eq!(code, ErrorCode::CustomKeyStoreInvalidState);

    site.disconnect(&store).unwrap();
    assert_eq!(site.state(&store), ("DISCONNECTED".to_owned(), None));
    site.delete(&store).unwrap();
    assert!(site.described().is_empty());
    let (code, _) = refused(site.connect(&store));
    assert_eq!(code, ErrorCode::CustomKeyStoreNotFound);
    // Nothing of it stays in the store.
    let left = waxseal_kms::store::Store::scan(&*site.world.store, "keystore").unwrap();
    assert!(left.is_empty());
}

#[test]
fn what_is_wrong_with_a_new_store_is_named() {
    let site = Site::new();
    let code = |change: fn(&mut CreateCustomKeyStoreRequest)| refused(site.create(change)).0;
    assert_eq!(
        code(|store| store.cloud_hsm_cluster_id = Some("cluster-unknown2222".to_owned())),
        ErrorCode::CloudHsmClusterNotFound
    );
    assert_eq!(
        code(|store| store.trust_anchor_certificate = Some(OTHER_CERTIFICATE.to_owned())),
        ErrorCode::IncorrectTrustAnchor
    );
    assert_eq!(
        code(|store| store.trust_anchor_certificate = Some("certificate".to_owned())),
        ErrorCode::IncorrectTrustAnchor
    );
    for missing in [
        (|store| store.key_store_password = None) as fn(&mut CreateCustomKeyStoreRequest),
        |store| store.trust_anchor_certificate = None,
        |store| store.cloud_hsm_cluster_id = None,
        |store| store.xks_proxy_uri_path = Some("/kms/xks/v1".to_owned()),
        |store| store.key_store_password = Some("short".to_owned()),
    ] {
        assert_eq!(code(missing), ErrorCode::Validation);
    }
    assert_eq!(
        code(|store| store.custom_key_store_type = Some("EXTERNAL_KEY_STORE".to_owned())),
        ErrorCode::XksProxyUriUnreachable
    );
    site.token.is_absent.store(true, Ordering::SeqCst);
    assert_eq!(code(|_| {}), ErrorCode::CloudHsmClusterNotActive);
    site.token.is_absent.store(false, Ordering::SeqCst);
    site.token.is_unfit.store(true, Ordering::SeqCst);
    assert_eq!(code(|_| {}), ErrorCode::CloudHsmClusterInvalidConfiguration);
    site.token.is_unfit.store(false, Ordering::SeqCst);
    assert!(site.described().is_empty());

    site.create(|_| {}).unwrap();
    assert_eq!(
        code(|store| store.cloud_hsm_cluster_id = Some(OTHER_CLUSTER.to_owned())),
        ErrorCode::CustomKeyStoreNameInUse
    );
    assert_eq!(
        code(|store| store.custom_key_store_name = "another".to_owned()),
        ErrorCode::CloudHsmClusterInUse
    );
    // Another account has no store, and the cluster is not its to have.
    let elsewhere = home("local", "111122223333");
    let request = CreateCustomKeyStoreRequest {
        custom_key_store_name: "vault".to_owned(),
        cloud_hsm_cluster_id: Some(CLUSTER.to_owned()),
        trust_anchor_certificate: Some(CERTIFICATE.to_owned()),
        key_store_password: Some(PIN.to_owned()),
        ..CreateCustomKeyStoreRequest::default()
    };
    let (code, _) = refused(site.world.call_from(&elsewhere, request));
    assert_eq!(code, ErrorCode::CloudHsmClusterInUse);
    let theirs = site
        .world
        .call_from(&elsewhere, DescribeCustomKeyStoresRequest::default());
    assert!(theirs.unwrap().custom_key_stores.is_empty());
}

#[test]
fn a_pin_is_tried_once_a_connection() {
    let site = Site::new();
    let store = site
        .create(|store| store.key_store_password = Some("wrong-pin".to_owned()))
        .unwrap();
    site.connect(&store).unwrap();
    let failed = ("FAILED".to_owned(), Some("INVALID_CREDENTIALS".to_owned()));
    assert_eq!(site.state(&store), failed);
    assert_eq!(site.token.tried(), 1);
    // Neither time nor another process tries it again.
    site.world.engine.tend().unwrap();
    let second = site.world.engine();
    site.attach(&second);
    second.follow_stores().unwrap();
    let (code, _) = refused(site.connect(&store));
    assert_eq!(code, ErrorCode::CustomKeyStoreInvalidState);
    let (code, _) = refused(site.key_in(&store));
    assert_eq!(code, ErrorCode::CustomKeyStoreInvalidState);
    let (code, _) = refused(site.update(&store, |to| to.key_store_password = Some(PIN.to_owned())));
    assert_eq!(code, ErrorCode::CustomKeyStoreInvalidState);
    assert_eq!(site.token.tried(), 1);

    site.disconnect(&store).unwrap();
    site.update(&store, |to| to.key_store_password = Some(PIN.to_owned()))
        .unwrap();
    assert_eq!(site.token.tried(), 1);
    site.connect(&store).unwrap();
    assert_eq!(site.state(&store), ("CONNECTED".to_owned(), None));
    assert_eq!(site.token.tried(), 2);
    assert!(!site.world.log().contains(PIN));
}

#[test]
fn why_a_connection_failed_is_told_in_the_words_of_the_model() {
    for (refusal, code) in [
        (Refusal::Locked, "USER_LOCKED_OUT"),
        (Refusal::NoUser, "USER_NOT_FOUND"),
        (Refusal::LoggedIn, "USER_LOGGED_IN"),
        (
            Refusal::Absent("no".to_owned()),
            "INSUFFICIENT_CLOUDHSM_HSMS",
        ),
        (Refusal::Late, "NETWORK_ERRORS"),
        (Refusal::Failed("no".to_owned()), "INTERNAL_ERROR"),
    ] {
        let site = Site::new();
        let store = site.create(|_| {}).unwrap();
        *site.token.refusal.lock().unwrap() = Some(refusal);
        site.connect(&store).unwrap();
        assert_eq!(
            site.state(&store),
            ("FAILED".to_owned(), Some(code.to_owned()))
        );
        assert!(
            waxseal_kms_api::model::values::CONNECTION_ERROR_CODE_TYPE.contains(&code),
            "{code}"
        );
    }
    // A process that knows no such cluster.
    let site = Site::new();
    let store = site.create(|_| {}).unwrap();
    let second = site.world.engine();
    let request = ConnectCustomKeyStoreRequest {
        custom_key_store_id: store.clone(),
    };
    call(&second, request).unwrap();
    let failed = ("FAILED".to_owned(), Some("CLUSTER_NOT_FOUND".to_owned()));
    assert_eq!(site.state(&store), failed);
}

#[test]
fn a_store_moves_to_a_related_cluster_alone() {
    let site = Site::new();
    let (store, key) = site.key();
    let blob = site.world.encrypt(&key).unwrap();
    let (code, _) = refused(site.update(&store, |to| {
        to.cloud_hsm_cluster_id = Some(OTHER_CLUSTER.to_owned());
    }));
    assert_eq!(code, ErrorCode::CustomKeyStoreInvalidState);
    // Its name alone may change while it is connected.
    site.update(&store, |to| {
        to.new_custom_key_store_name = Some("new".to_owned());
    })
    .unwrap();
    assert_eq!(site.described()[0].custom_key_store_name, "new");
    site.disconnect(&store).unwrap();
    site.update(&store, |to| {
        to.cloud_hsm_cluster_id = Some(OTHER_CLUSTER.to_owned());
    })
    .unwrap();
    // The device there is a copy of the first one.
    for (label, key) in site.token.keys.lock().unwrap().iter() {
        let key = waxseal_core::SecretBytes::copy_of(key.expose());
        site.other.keys.lock().unwrap().insert(label.clone(), key);
    }
    site.connect(&store).unwrap();
    assert!(
        site.world
            .decrypt(&blob)
            .unwrap()
            .plaintext
            .0
            .ct_eq(b"plaintext")
    );
    let told = site.world.describe(&key).unwrap();
    assert_eq!(told.cloud_hsm_cluster_id.as_deref(), Some(OTHER_CLUSTER));

    let unrelated = Site {
        other: Arc::default(),
        ..Site::new()
    };
    let world = World::new();
    let unrelated = Site { world, ..unrelated };
    unrelated.attach(&unrelated.world.engine);
    let store = unrelated.create(|_| {}).unwrap();
    let (code, _) = refused(unrelated.update(&store, |to| {
        to.cloud_hsm_cluster_id = Some(OTHER_CLUSTER.to_owned());
    }));
    assert_eq!(code, ErrorCode::CloudHsmClusterNotRelated);
}

#[test]
fn a_key_lives_in_the_device() {
    let site = Site::new();
    let (store, key) = site.key();
    assert_eq!(site.token.labels(), [key.as_str()]);
    let told = site.world.describe(&key).unwrap();
    assert_eq!(told.origin, "AWS_CLOUDHSM");
    assert_eq!(told.custom_key_store_id.as_deref(), Some(store.as_str()));
    assert_eq!(told.cloud_hsm_cluster_id.as_deref(), Some(CLUSTER));
    assert_eq!((told.key_state.as_str(), told.enabled), ("Enabled", true));
    assert_eq!(told.current_key_material_id, None);
    // The store has no material of it.
    let rows = waxseal_kms::store::Store::scan(&*site.world.store, "material/").unwrap();
    assert!(rows.is_empty());

    let Blob(blob) = site.world.encrypt(&key).unwrap();
    assert_eq!(blob.len(), 9 + DEVICE_OVERHEAD_BYTES);
    const { assert!(DEVICE_OVERHEAD_BYTES <= 128) };
    let facts = BlobFacts::parse(&blob).unwrap();
    assert!(facts.is_of_device && facts.key_id.as_str() == key);
    let opened = site.world.decrypt(&Blob(blob.clone())).unwrap();
    assert!(opened.plaintext.0.ct_eq(b"plaintext"));
    for bit in 0..blob.len() * 8 {
        let mut bad = blob.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(site.world.decrypt(&Blob(bad)).is_err(), "bit {bit}");
    }
    for len in 0..blob.len() {
        assert!(site.world.decrypt(&Blob(blob[..len].to_vec())).is_err());
    }
    // Another device's key of the same name opens nothing, by the known blocks or by the tag.
    let key_bytes = waxseal_core::SecretBytes::new(vec![9; 32]);
    site.token
        .keys
        .lock()
        .unwrap()
        .insert(key.clone(), key_bytes);
    let (code, _) = refused(site.world.decrypt(&Blob(blob)));
    assert_eq!(code, ErrorCode::InvalidCiphertext);
}

#[test]
fn the_context_is_bound_and_blobs_are_re_encrypted_both_ways() {
    let site = Site::new();
    let (_, key) = site.key();
    let ordinary = site.world.symmetric();
    let context = |value: &str| ContextMap::from([("purpose".to_owned(), value.to_owned())]);
    let sealed = site.world.call(EncryptRequest {
        key_id: key.clone(),
        plaintext: secret(b"x"),
        encryption_context: context("test"),
        ..EncryptRequest::default()
    });
    let blob = sealed.unwrap().ciphertext_blob;
    assert_eq!(
        refused(site.world.decrypt(&blob)).0,
        ErrorCode::InvalidCiphertext
    );
    let moved = site.world.call(ReEncryptRequest {
        ciphertext_blob: Some(blob),
        source_encryption_context: context("test"),
        destination_key_id: ordinary,
        ..ReEncryptRequest::default()
    });
    let moved = moved.unwrap();
    assert!(moved.source_key_material_id.is_none() && moved.destination_key_material_id.is_some());
    let back = site.world.call(ReEncryptRequest {
        ciphertext_blob: Some(moved.ciphertext_blob),
        destination_key_id: key,
        ..ReEncryptRequest::default()
    });
    let back = back.unwrap();
    assert!(
        BlobFacts::parse(&back.ciphertext_blob.0)
            .unwrap()
            .is_of_device
    );
    let opened = site.world.decrypt(&back.ciphertext_blob).unwrap();
    assert!(opened.plaintext.0.ct_eq(b"x"));
}

#[test]
fn no_device_no_use() {
    let site = Site::new();
    let (store, key) = site.key();
    let blob = site.world.encrypt(&key).unwrap();
    // Gone for a while: it is looked for at each use, and found.
    site.token.is_absent.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let (code, message) = refused(site.world.decrypt(&blob));
        assert_eq!(code, ErrorCode::InvalidState);
        assert!(message.contains("cannot communicate"), "{message}");
    }
    assert_eq!(
        site.token.tried(),
        1,
        "a device that is not there sees no PIN"
    );
    assert_eq!(site.state(&store).0, "CONNECTED");
    site.token.is_absent.store(false, Ordering::SeqCst);
    assert!(site.world.decrypt(&blob).is_ok());
    assert_eq!(site.token.tried(), 2);
    // Back with another PIN: that is a connection that failed, and stays one.
    site.token.is_absent.store(true, Ordering::SeqCst);
    assert!(site.world.decrypt(&blob).is_err());
    site.token.is_absent.store(false, Ordering::SeqCst);
    *site.token.refusal.lock().unwrap() = Some(Refusal::WrongPin);
    for _ in 0..3 {
        assert_eq!(
            refused(site.world.decrypt(&blob)).0,
            ErrorCode::InvalidState
        );
    }
    assert_eq!(site.token.tried(), 3);
    site.world.engine.tend().unwrap();
    let failed = ("FAILED".to_owned(), Some("INVALID_CREDENTIALS".to_owned()));
    assert_eq!(site.state(&store), failed);
    assert_eq!(site.token.tried(), 3);
    let told = site.world.describe(&key).unwrap();
    assert_eq!(
        (told.key_state.as_str(), told.enabled),
        ("Unavailable", false)
    );
    // One that hangs.
    *site.token.refusal.lock().unwrap() = None;
    site.disconnect(&store).unwrap();
    site.connect(&store).unwrap();
    site.token.is_late.store(true, Ordering::SeqCst);
    assert_eq!(
        refused(site.world.decrypt(&blob)).0,
        ErrorCode::DependencyTimeout
    );
    site.token.is_late.store(false, Ordering::SeqCst);
    assert!(site.world.decrypt(&blob).is_ok());
}

#[test]
fn a_disconnect_holds_for_the_next_request_of_every_process() {
    let site = Site::new();
    let (store, key) = site.key();
    let blob = site.world.encrypt(&key).unwrap();
    let second = site.world.engine();
    site.attach(&second);
    let open = || {
        let request = DecryptRequest {
            ciphertext_blob: Some(blob.clone()),
            ..DecryptRequest::default()
        };
        call(&second, request)
    };
    // A process that starts later logs in by itself.
    assert!(open().is_ok());
    site.disconnect(&store).unwrap();
    let (code, message) = refused(open());
    assert_eq!(code, ErrorCode::InvalidState);
    assert!(message.ends_with("is unavailable."), "{message}");
    site.connect(&store).unwrap();
    assert!(open().is_ok());
}

/// What each operation on a key in a device comes to: connected, and not.
#[test]
fn every_operation_on_a_key_in_a_device() {
    use ErrorCode::{InvalidKeyUsage, InvalidState, NotFound, UnsupportedOperation};
    let unsupported = (Some(UnsupportedOperation), Some(UnsupportedOperation));
    let used = (None, Some(InvalidState));
    let managed = (None, None);
    let not_for_it = (Some(InvalidKeyUsage), Some(InvalidKeyUsage));
    let rows = [
        (
            "CancelKeyDeletion",
            (Some(InvalidState), Some(InvalidState)),
        ),
        ("CreateAlias", managed),
        ("CreateGrant", managed),
        ("Decapsulate", not_for_it),
        ("Decrypt", used),
        ("DeleteImportedKeyMaterial", unsupported),
        ("DeriveSharedSecret", not_for_it),
        ("DescribeKey", managed),
        ("DisableKeyRotation", unsupported),
        ("EnableKey", managed),
        ("EnableKeyRotation", unsupported),
        ("Encapsulate", not_for_it),
        ("Encrypt", used),
        ("GenerateDataKey", used),
        ("GenerateDataKeyPair", unsupported),
        ("GenerateDataKeyPairWithoutPlaintext", unsupported),
        ("GenerateDataKeyWithoutPlaintext", used),
        ("GenerateMac", not_for_it),
        (
            "GenerateRandom",
            (None, Some(ErrorCode::CustomKeyStoreInvalidState)),
        ),
        ("GetKeyLastUsage", managed),
        ("GetKeyPolicy", managed),
        ("GetKeyRotationStatus", managed),
        ("GetParametersForImport", unsupported),
        ("GetPublicKey", unsupported),
        ("ImportKeyMaterial", unsupported),
        ("ListGrants", managed),
        ("ListKeyPolicies", managed),
        ("ListKeyRotations", unsupported),
        ("ListResourceTags", managed),
        ("ReEncrypt", used),
        ("ReplicateKey", unsupported),
        ("RotateKeyOnDemand", unsupported),
        ("Sign", not_for_it),
        ("TagResource", managed),
        ("UntagResource", managed),
        ("UpdateKeyDescription", managed),
        ("UpdatePrimaryRegion", (Some(NotFound), Some(NotFound))),
        ("Verify", not_for_it),
        ("VerifyMac", not_for_it),
        ("DisableKey", managed),
        ("ScheduleKeyDeletion", managed),
    ];
    let named: Vec<&str> = rows.iter().map(|(name, _)| *name).collect();
    // Those that name no key, or need something of it that is made by another one.
    let others = [
        "ConnectCustomKeyStore",
        "CreateCustomKeyStore",
        "CreateKey",
        "DeleteAlias",
        "DeleteCustomKeyStore",
        "DescribeCustomKeyStores",
        "DisconnectCustomKeyStore",
        "ListAliases",
        "ListKeys",
        "ListRetirableGrants",
        "PutKeyPolicy",
        "RetireGrant",
        "RevokeGrant",
        "UpdateAlias",
        "UpdateCustomKeyStore",
    ];
    for operation in OPERATIONS {
        assert!(
            named.contains(operation) || others.contains(operation),
            "{operation}"
        );
    }
    let mut wrong = Vec::new();
    for is_connected in [true, false] {
        let site = Site::new();
        let (store, key) = site.key();
        let blob = serde_json::to_value(site.world.encrypt(&key).unwrap()).unwrap();
        if !is_connected {
            site.disconnect(&store).unwrap();
        }
        for (name, (connected, not)) in &rows {
            let mut body = match *name {
                "Decrypt" => json!({ "CiphertextBlob": blob }),
                "ReEncrypt" => json!({ "CiphertextBlob": blob, "DestinationKeyId": key }),
                "GenerateRandom" => json!({ "NumberOfBytes": 8, "CustomKeyStoreId": store }),
                "CreateAlias" => json!({ "AliasName": "alias/a", "TargetKeyId": key }),
                _ => json!({ "KeyId": key }),
            };
            let more = match *name {
                "CreateGrant" => json!({ "GranteePrincipal": "arn:aws:iam::000000000000:root",
                                         "Operations": ["Decrypt"] }),
                "Encrypt" => json!({ "Plaintext": "YQ==" }),
                "GenerateDataKey" | "GenerateDataKeyWithoutPlaintext" => {
                    json!({ "KeySpec": "AES_256" })
                }
                "GenerateDataKeyPair" | "GenerateDataKeyPairWithoutPlaintext" => {
                    json!({ "KeyPairSpec": "ECC_NIST_P256" })
                }
                "GenerateMac" => json!({ "Message": "YQ==", "MacAlgorithm": "HMAC_SHA_256" }),
                "VerifyMac" => {
                    json!({ "Message": "YQ==", "MacAlgorithm": "HMAC_SHA_256", "Mac": "YQ==" })
                }
                "Sign" => json!({ "Message": "YQ==", "SigningAlgorithm": "ECDSA_SHA_256" }),
                "Verify" => {
                    json!({ "Message": "YQ==", "SigningAlgorithm": "ECDSA_SHA_256", "Signature": "YQ==" })
                }
                "DeriveSharedSecret" => {
                    json!({ "KeyAgreementAlgorithm": "ECDH", "PublicKey": "YQ==" })
                }
                "Encapsulate" => json!({ "EncapsulationAlgorithm": "ML_KEM" }),
                "Decapsulate" => {
                    json!({ "EncapsulationAlgorithm": "ML_KEM", "SharedSecretCiphertextBlob": "YQ==" })
                }
                "GetParametersForImport" => {
                    json!({ "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048" })
                }
                "ImportKeyMaterial" => {
                    json!({ "ImportToken": "YQ==", "EncryptedKeyMaterial": "YQ==" })
                }
                "ReplicateKey" => json!({ "ReplicaRegion": "us-east-1" }),
                "UpdatePrimaryRegion" => json!({ "PrimaryRegion": "us-east-1" }),
                "TagResource" => json!({ "Tags": [{ "TagKey": "a", "TagValue": "b" }] }),
                "UntagResource" => json!({ "TagKeys": ["a"] }),
                "UpdateKeyDescription" => json!({ "Description": "d" }),
                _ => json!({}),
            };
            body.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            let expected = if is_connected { connected } else { not };
            let seen = site.ask(name, &body).err().map(|error| error.code);
            if seen != *expected {
                wrong.push(format!(
                    "{name}, connected {is_connected}: {seen:?}, not {expected:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn keys_of_another_kind_are_not_made_in_a_device() {
    let site = Site::new();
    let store = site.create(|_| {}).unwrap();
    site.connect(&store).unwrap();
    let mut body = json!({ "CustomKeyStoreId": store, "Origin": "AWS_CLOUDHSM" });
    for (member, value, code) in [
        ("MultiRegion", json!(true), ErrorCode::UnsupportedOperation),
        (
            "KeySpec",
            json!("HMAC_256"),
            ErrorCode::UnsupportedOperation,
        ),
        ("Origin", json!("AWS_KMS"), ErrorCode::Validation),
        ("XksKeyId", json!("a"), ErrorCode::Validation),
        (
            "CustomKeyStoreId",
            json!("cks-unknown"),
            ErrorCode::CustomKeyStoreNotFound,
        ),
    ] {
        let before = body.clone();
        body[member] = value;
        if member == "KeySpec" {
            body["KeyUsage"] = json!("GENERATE_VERIFY_MAC");
        }
        assert_eq!(refused(site.ask("CreateKey", &body)).0, code, "{member}");
        body = before;
    }
    body.as_object_mut().unwrap().remove("CustomKeyStoreId");
    assert_eq!(
        refused(site.ask("CreateKey", &body)).0,
        ErrorCode::Validation
    );
    assert!(site.token.labels().is_empty());
}

#[test]
fn a_key_is_destroyed_in_the_device_when_its_time_is_over() {
    let site = Site::new();
    let (store, key) = site.key();
    let blob = site.world.encrypt(&key).unwrap();
    let schedule = || {
        site.world.call(ScheduleKeyDeletionRequest {
            key_id: key.clone(),
            pending_window_in_days: Some(7),
        })
    };
    // Cancelled, also while the store is not connected: the key is as it was.
    schedule().unwrap();
    site.disconnect(&store).unwrap();
    assert_eq!(
        site.world.describe(&key).unwrap().key_state,
        "PendingDeletion"
    );
    let key_id = key.clone();
    site.world
        .call(CancelKeyDeletionRequest { key_id })
        .unwrap();
    site.connect(&store).unwrap();
    let key_id = key.clone();
    site.world.call(EnableKeyRequest { key_id }).unwrap();
    assert!(site.world.decrypt(&blob).is_ok());

    schedule().unwrap();
    site.world.later(6);
    site.world.engine.tend().unwrap();
    assert_eq!(site.token.labels().len(), 1);
    // Its time is over, and the device is not there: it waits.
    site.world.later(2);
    site.token.is_absent.store(true, Ordering::SeqCst);
    site.world.engine.tend().unwrap();
    assert_eq!(
        site.world
            .describe(&key)
            .map(drop)
            .map_err(|error| error.code),
        Err(ErrorCode::NotFound)
    );
    assert_eq!(site.token.labels().len(), 1);
    site.token.is_absent.store(false, Ordering::SeqCst);
    site.disconnect(&store).unwrap();
    site.world.engine.tend().unwrap();
    assert_eq!(site.token.labels().len(), 1);
    assert_eq!(
        refused(site.delete(&store)).0,
        ErrorCode::CustomKeyStoreHasCmks
    );
    site.connect(&store).unwrap();
    assert_eq!(site.world.engine.tend().unwrap(), 1);
    assert!(site.token.labels().is_empty());
    assert!(site.world.log().contains("DeleteKey"));
    site.disconnect(&store).unwrap();
    site.delete(&store).unwrap();
}

/// A device may take its time for a key: others go on, as the log is not held for it. It is asked once, also
/// when it does not answer in time.
#[test]
fn others_go_on_while_a_device_makes_a_key() {
    let site = Site::new();
    let (store, key) = site.key();
    let other = site.world.engine();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    *site.token.meanwhile.lock().unwrap() = Some(Box::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        let request = UpdateKeyDescriptionRequest {
            key_id: key.clone(),
            description: "meanwhile".to_owned(),
        };
        call(&other, request).unwrap();
    }));
    let made = site.key_in(&store).unwrap();
    assert!(site.token.labels().contains(&made.key_id));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    site.token.is_late.store(true, Ordering::SeqCst);
    let (code, _) = refused(site.key_in(&store));
    assert_eq!(code, ErrorCode::DependencyTimeout);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

/// What the caller may not have is not made.
#[test]
fn nobody_has_a_device_make_a_key_that_they_may_not_have() {
    let site = Site::new();
    let (store, _) = site.key();
    let before = site.token.labels();
    let request = || CreateKeyRequest {
        origin: Some("AWS_CLOUDHSM".to_owned()),
        custom_key_store_id: Some(store.clone()),
        ..CreateKeyRequest::default()
    };
    let key = site.world.user("000000000000", "eve").access_key_id;
    let eve = site.world.engine.credential(&key, None).unwrap().unwrap();
    let asked = site
        .world
        .engine
        .by_caller(eve.caller, "local", request())
        .unwrap();
    let (code, _) = refused(site.world.engine.call(asked));
    assert_eq!(code, ErrorCode::AccessDenied);
    let bad_policy = CreateKeyRequest {
        policy: Some("{}".to_owned()),
        ..request()
    };
    assert_eq!(
        refused(site.world.call(bad_policy)).0,
        ErrorCode::MalformedPolicyDocument
    );
    assert_eq!(site.token.labels(), before);
}

#[test]
fn requests_that_wait_for_a_device_are_not_begun_without_a_thread() {
    let site = Site::new();
    let (store, key) = site.key();
    let ordinary = site.world.symmetric();
    let engine = &site.world.engine;
    let blob = serde_json::to_value(site.world.encrypt(&key).unwrap()).unwrap();
    let other = serde_json::to_value(site.world.encrypt(&ordinary).unwrap()).unwrap();
    let begun = |name: &str, body: Value| {
        let owner = Caller::owner(engine.home(), "test");
        let body = serde_json::to_vec(&body).unwrap();
        engine.begin_answer(owner, "local", name, &body).is_ok()
    };
    for (name, waits, not) in [
        (
            "Encrypt",
            json!({ "KeyId": key, "Plaintext": "YQ==" }),
            json!({ "KeyId": ordinary, "Plaintext": "YQ==" }),
        ),
        (
            "GenerateDataKey",
            json!({ "KeyId": key, "KeySpec": "AES_256" }),
            json!({ "KeyId": ordinary, "KeySpec": "AES_256" }),
        ),
        (
            "GenerateDataKeyWithoutPlaintext",
            json!({ "KeyId": key, "KeySpec": "AES_256" }),
            json!({ "KeyId": ordinary, "KeySpec": "AES_256" }),
        ),
        (
            "Decrypt",
            json!({ "CiphertextBlob": blob }),
            json!({ "CiphertextBlob": other }),
        ),
        (
            "ReEncrypt",
            json!({ "CiphertextBlob": other, "DestinationKeyId": key }),
            json!({ "CiphertextBlob": other, "DestinationKeyId": ordinary }),
        ),
        (
            "GenerateRandom",
            json!({ "NumberOfBytes": 1, "CustomKeyStoreId": store }),
            json!({ "NumberOfBytes": 1 }),
        ),
    ] {
        assert!(!begun(name, waits), "{name}");
        assert!(begun(name, not), "{name}");
    }
}
