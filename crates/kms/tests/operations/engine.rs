//! The way through the engine: names, limits, records, crashes, and other engines on the same store.

use crate::support::{World, call, open};
use std::sync::{Arc, Mutex};
use time::Duration;
use waxseal_core::{EncryptionContext, KeyRef, Keyring as _, SecretBytes};
use waxseal_kms::EngineKeyring;
use waxseal_kms::audit::{self};
use waxseal_kms::engine::Engine;
use waxseal_kms::store::{Batch, Changes, Document, MemoryStore, Store, StoreError};
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::{Blob, SecretBlob};
use waxseal_kms_api::{ErrorCode, KmsError};

/// Event names and error codes in the log, which must verify.
fn events(world: &World) -> Vec<(String, String)> {
    audit::verify(world.directory.path()).unwrap();
    audit::records(world.directory.path())
        .map(|record| {
            let value = record.unwrap().event().unwrap();
            let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
            (text("eventName"), text("errorCode"))
        })
        .collect()
}

fn create(engine: &Engine) -> KeyMetadata {
    call(engine, CreateKeyRequest::default())
        .unwrap()
        .key_metadata
}

fn encrypt(key: &str, plaintext: &[u8]) -> EncryptRequest {
    EncryptRequest {
        key_id: key.to_owned(),
        plaintext: SecretBlob(SecretBytes::copy_of(plaintext)),
        encryption_context: ContextMap::new(),
        ..EncryptRequest::default()
    }
}

fn decrypt(blob: &Blob) -> DecryptRequest {
    DecryptRequest {
        ciphertext_blob: Some(blob.clone()),
        encryption_context: ContextMap::new(),
        key_id: None,
        ..DecryptRequest::default()
    }
}

fn alias(engine: &Engine, name: &str, key: &str) -> Result<Empty, KmsError> {
    let (alias_name, target_key_id) = (name.to_owned(), key.to_owned());
    call(
        engine,
        CreateAliasRequest {
            alias_name,
            target_key_id,
        },
    )
}

fn refusal<T: std::fmt::Debug>(result: Result<T, KmsError>) -> (ErrorCode, String) {
    let error = result.unwrap_err();
    (error.code, error.message.unwrap_or_default())
}

#[test]
fn a_secret_goes_in_and_comes_out_under_every_name_of_its_key() {
    let (world, engine) = fixture();
    let key = create(&engine);
    alias(&engine, "alias/mine", &key.key_id).unwrap();
    for name in [
        &key.key_id,
        &key.arn,
        "alias/mine",
        "arn:aws:kms:local:000000000000:alias/mine",
    ] {
        let sealed = call(&engine, encrypt(name, b"secret")).unwrap();
        assert_eq!(sealed.key_id, key.arn);
        let opened = call(&engine, decrypt(&sealed.ciphertext_blob)).unwrap();
        assert!(opened.plaintext.0.ct_eq(b"secret"));
        assert_eq!(
            (opened.key_id, opened.key_material_id),
            (key.arn.clone(), key.current_key_material_id.clone())
        );
    }
    drop(world);
}

fn fixture() -> (World, Engine) {
    let world = World::new();
    let engine = world.engine();
    (world, engine)
}

#[test]
fn limits_hold_on_both_sides() {
    let (_world, engine) = fixture();
    let key = create(&engine).key_id;
    assert!(call(&engine, encrypt(&key, &[0; 4096])).is_ok());
    assert_eq!(
        refusal(call(&engine, encrypt(&key, &[0; 4097]))),
        (
            ErrorCode::Validation,
            "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: \
             Member must have length less than or equal to 4096"
                .to_owned()
        )
    );
    assert_eq!(
        refusal(call(&engine, encrypt(&key, b""))).0,
        ErrorCode::Validation
    );
    for (bytes, fits) in [(0, false), (1, true), (1024, true), (1025, false)] {
        let request = GenerateRandomRequest {
            number_of_bytes: Some(bytes),
            ..GenerateRandomRequest::default()
        };
        let answer = call(&engine, request);
        assert_eq!(answer.is_ok(), fits, "{bytes} random bytes");
        if let Ok(answer) = answer {
            assert_eq!(answer.plaintext.0.len() as i64, bytes);
        }
        assert_eq!(
            call(&engine, data_key(&key, None, Some(bytes))).is_ok(),
            fits,
            "{bytes}"
        );
    }
    assert_eq!(
        refusal(call(
            &engine,
            GenerateRandomRequest {
                number_of_bytes: None,
                ..GenerateRandomRequest::default()
            }
        ))
        .1,
        "NumberOfBytes is required."
    );
    let mut request = encrypt(&key, b"x");
    request
        .encryption_context
        .insert("n".to_owned(), "v".repeat(65_528));
    assert!(call(&engine, request).is_ok());
    let mut request = encrypt(&key, b"x");
    request
        .encryption_context
        .insert("n".to_owned(), "v".repeat(65_529));
    assert_eq!(refusal(call(&engine, request)).0, ErrorCode::Validation);
}

fn data_key(
    key: &str,
    key_spec: Option<String>,
    number_of_bytes: Option<i64>,
) -> GenerateDataKeyRequest {
    let encryption_context = ContextMap::new();
    GenerateDataKeyRequest {
        key_id: key.to_owned(),
        encryption_context,
        key_spec,
        number_of_bytes,
        ..GenerateDataKeyRequest::default()
    }
}

#[test]
fn data_keys_have_the_length_asked_for_and_open_to_themselves() {
    let (_world, engine) = fixture();
    let key = create(&engine).key_id;
    for (spec, number, bytes) in [
        (Some("AES_128".to_owned()), None, 16),
        (Some("AES_256".to_owned()), None, 32),
        (None, Some(24), 24),
    ] {
        let made = call(&engine, data_key(&key, spec, number)).unwrap();
        assert_eq!(made.plaintext.0.len(), bytes);
        let opened = call(&engine, decrypt(&made.ciphertext_blob)).unwrap();
        assert!(opened.plaintext.0.ct_eq(made.plaintext.0.expose()));
    }
    for (spec, number) in [(None, None), (Some("AES_256".to_owned()), Some(32))] {
        assert_eq!(
            refusal(call(&engine, data_key(&key, spec, number))).0,
            ErrorCode::Validation
        );
    }
    let request = GenerateDataKeyWithoutPlaintextRequest {
        key_id: key,
        encryption_context: ContextMap::new(),
        key_spec: Some("AES_256".to_owned()),
        number_of_bytes: None,
        ..GenerateDataKeyWithoutPlaintextRequest::default()
    };
    let made = call(&engine, request).unwrap();
    assert_eq!(
        call(&engine, decrypt(&made.ciphertext_blob))
            .unwrap()
            .plaintext
            .0
            .len(),
        32
    );
}

#[test]
fn context_must_match_exactly() {
    let (_world, engine) = fixture();
    let key = create(&engine).key_id;
    let pairs = |pairs: &[(&str, &str)]| -> ContextMap {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    let mut request = encrypt(&key, b"x");
    request.encryption_context = pairs(&[("a", "1"), ("b", "2")]);
    let sealed = call(&engine, request).unwrap();
    for wrong in [
        &[][..],
        &[("a", "1")],
        &[("a", "1"), ("b", "2"), ("c", "3")],
        &[("A", "1"), ("b", "2")],
    ] {
        let mut request = decrypt(&sealed.ciphertext_blob);
        request.encryption_context = pairs(wrong);
        let error = call(&engine, request).unwrap_err();
        assert_eq!(
            (error.code, error.message),
            (ErrorCode::InvalidCiphertext, None)
        );
    }
    let mut request = decrypt(&sealed.ciphertext_blob);
    request.encryption_context = pairs(&[("b", "2"), ("a", "1")]);
    assert!(call(&engine, request).is_ok());
}

#[test]
fn a_disabled_key_is_of_no_use_until_enabled_again() {
    let (_world, engine) = fixture();
    let key = create(&engine);
    let sealed = call(&engine, encrypt(&key.key_id, b"x")).unwrap();
    call(
        &engine,
        DisableKeyRequest {
            key_id: key.key_id.clone(),
        },
    )
    .unwrap();
    let disabled = (ErrorCode::Disabled, format!("{} is disabled.", key.arn));
    assert_eq!(refusal(call(&engine, encrypt(&key.key_id, b"x"))), disabled);
    assert_eq!(
        refusal(call(&engine, decrypt(&sealed.ciphertext_blob))),
        disabled
    );
    assert_eq!(
        refusal(call(&engine, data_key(&key.key_id, None, Some(32)))),
        disabled
    );
    assert_eq!(
        refusal(call(
            &engine,
            RotateKeyOnDemandRequest {
                key_id: key.key_id.clone()
            }
        )),
        disabled
    );
    let described = call(
        &engine,
        DescribeKeyRequest {
            key_id: key.key_id.clone(),
            ..DescribeKeyRequest::default()
        },
    )
    .unwrap();
    assert_eq!(
        (
            described.key_metadata.enabled,
            described.key_metadata.key_state.as_str()
        ),
        (false, "Disabled")
    );
    call(&engine, EnableKeyRequest { key_id: key.arn }).unwrap();
    assert!(call(&engine, decrypt(&sealed.ciphertext_blob)).is_ok());
}

#[test]
fn names_that_mean_nothing_are_refused_as_aws_does() {
    let (_world, engine) = fixture();
    let absent = "1234abcd-12ab-34cd-56ef-1234567890ab";
    for (name, message) in [
        (
            absent,
            format!("Key 'arn:aws:kms:local:000000000000:key/{absent}' does not exist"),
        ),
        ("no-uuid", "Invalid keyId 'no-uuid'".to_owned()),
        (
            "alias/none",
            "Alias arn:aws:kms:local:000000000000:alias/none is not found.".to_owned(),
        ),
        (
            &format!("arn:aws:kms:eu-west-1:000000000000:key/{absent}"),
            "Invalid arn eu-west-1".to_owned(),
        ),
    ] {
        assert_eq!(
            refusal(call(&engine, encrypt(name, b"x"))),
            (ErrorCode::NotFound, message)
        );
    }
    // Management operations take no alias.
    let key = create(&engine);
    alias(&engine, "alias/mine", &key.key_id).unwrap();
    assert_eq!(
        refusal(call(
            &engine,
            DisableKeyRequest {
                key_id: "alias/mine".to_owned()
            }
        )),
        (ErrorCode::NotFound, "Invalid keyId 'alias/mine'".to_owned())
    );
}

#[test]
fn foreign_and_misdirected_blobs_are_told_apart_as_little_as_aws_does() {
    let (_world, engine) = fixture();
    let (one, two) = (create(&engine), create(&engine));
    let sealed = call(&engine, encrypt(&one.key_id, b"x")).unwrap();
    let mut request = decrypt(&sealed.ciphertext_blob);
    request.key_id = Some(two.key_id.clone());
    assert_eq!(refusal(call(&engine, request)).0, ErrorCode::IncorrectKey);
    let mut request = decrypt(&sealed.ciphertext_blob);
    request.key_id = Some(one.key_id.clone());
    assert!(call(&engine, request).is_ok());
    assert_eq!(
        refusal(call(&engine, decrypt(&Blob(vec![1; 200])))).0,
        ErrorCode::InvalidCiphertext
    );
    // The blob of a key that another engine has.
    let (_other_world, other) = fixture();
    assert_eq!(
        refusal(call(&other, decrypt(&sealed.ciphertext_blob))).0,
        ErrorCode::AccessDenied
    );
    // A version that the key never had.
    let mut blob = sealed.ciphertext_blob;
    blob.0[26] = 9;
    assert_eq!(
        refusal(call(&engine, decrypt(&blob))).0,
        ErrorCode::InvalidCiphertext
    );
}

#[test]
fn every_material_keeps_decrypting_after_rotation() {
    let (world, engine) = fixture();
    let key = create(&engine).key_id;
    let mut blobs = Vec::new();
    for round in 0..25 {
        blobs.push(
            call(&engine, encrypt(&key, &[round + 1]))
                .unwrap()
                .ciphertext_blob,
        );
        *world.clock.0.lock().unwrap() += Duration::days(365);
        call(
            &engine,
            RotateKeyOnDemandRequest {
                key_id: key.clone(),
            },
        )
        .unwrap();
    }
    assert_eq!(
        refusal(call(
            &engine,
            RotateKeyOnDemandRequest {
                key_id: key.clone()
            }
        ))
        .0,
        ErrorCode::LimitExceeded
    );
    let again = world.engine();
    let mut materials = std::collections::HashSet::new();
    for (round, blob) in blobs.iter().enumerate() {
        let opened = call(&again, decrypt(blob)).unwrap();
        assert!(opened.plaintext.0.ct_eq(&[round as u8 + 1]));
        assert!(materials.insert(opened.key_material_id));
    }
    let request = ListKeyRotationsRequest {
        key_id: key,
        include_key_material: Some("ALL_KEY_MATERIAL".to_owned()),
        limit: None,
        marker: None,
    };
    let mut rotations = call(&again, request.clone()).unwrap().rotations;
    assert_eq!(rotations.len(), 26);
    assert_eq!(rotations.pop().unwrap().key_material_state, "CURRENT");
    assert!(
        rotations
            .iter()
            .all(|entry| materials.contains(&Some(entry.key_material_id.clone())))
    );
    assert_eq!(
        rotations[1].rotation_date.unwrap().0 - 1_800_000_000.0,
        365.0 * 86_400.0
    );
    let only = ListKeyRotationsRequest {
        include_key_material: None,
        ..request
    };
    assert_eq!(call(&again, only).unwrap().rotations.len(), 25);
}

#[test]
fn re_encrypt_moves_a_blob_to_another_key_and_context() {
    let (_world, engine) = fixture();
    let (one, two) = (create(&engine), create(&engine));
    let sealed = call(&engine, encrypt(&one.key_id, b"x")).unwrap();
    let to = ContextMap::from([("a".to_owned(), "1".to_owned())]);
    let request = |blob: &Blob| ReEncryptRequest {
        ciphertext_blob: Some(blob.clone()),
        source_encryption_context: ContextMap::new(),
        source_key_id: None,
        destination_key_id: two.key_id.clone(),
        destination_encryption_context: to.clone(),
        ..ReEncryptRequest::default()
    };
    let moved = call(&engine, request(&sealed.ciphertext_blob)).unwrap();
    assert_eq!(
        (moved.source_key_id, moved.key_id),
        (one.arn, two.arn.clone())
    );
    let mut opening = decrypt(&moved.ciphertext_blob);
    opening.encryption_context = to.clone();
    assert!(call(&engine, opening).unwrap().plaintext.0.ct_eq(b"x"));
    call(
        &engine,
        DisableKeyRequest {
            key_id: two.key_id.clone(),
        },
    )
    .unwrap();
    assert_eq!(
        refusal(call(&engine, request(&sealed.ciphertext_blob))),
        (ErrorCode::Disabled, format!("{} is disabled.", two.arn))
    );
}

#[test]
fn aliases_are_made_moved_listed_and_removed() {
    let (_world, engine) = fixture();
    let (one, two) = (create(&engine), create(&engine));
    alias(&engine, "alias/b", &one.key_id).unwrap();
    alias(&engine, "alias/a", &one.arn).unwrap();
    assert_eq!(
        refusal(alias(&engine, "alias/a", &two.key_id)).0,
        ErrorCode::AlreadyExists
    );
    for (wrong, code) in [
        ("a", ErrorCode::Validation),
        ("alias/", ErrorCode::InvalidAliasName),
        ("alias/aws/x", ErrorCode::NotAuthorized),
        ("alias/a:b", ErrorCode::Validation),
        ("alias/ä", ErrorCode::Validation),
    ] {
        assert_eq!(refusal(alias(&engine, wrong, &one.key_id)).0, code);
    }
    let refused = refusal(alias(&engine, "alias/c", "alias/a"));
    let message = "Aliases must refer to keys. Not aliases".to_owned();
    assert_eq!(refused, (ErrorCode::Validation, message));
    let blob = call(&engine, encrypt("alias/a", b"x"))
        .unwrap()
        .ciphertext_blob;
    call(
        &engine,
        UpdateAliasRequest {
            alias_name: "alias/a".into(),
            target_key_id: two.key_id.clone(),
        },
    )
    .unwrap();
    assert_eq!(
        call(&engine, encrypt("alias/a", b"x")).unwrap().key_id,
        two.arn
    );
    assert_eq!(call(&engine, decrypt(&blob)).unwrap().key_id, one.arn);
    let list = |key: Option<&KeyMetadata>| {
        let key_id = key.map(|key| key.key_id.clone());
        let request = ListAliasesRequest {
            key_id,
            ..ListAliasesRequest::default()
        };
        let aliases = call(&engine, request).unwrap().aliases;
        aliases
            .into_iter()
            .map(|alias| alias.alias_name)
            .collect::<Vec<_>>()
    };
    assert_eq!(list(None), ["alias/a", "alias/b"]);
    assert_eq!(list(Some(&one)), ["alias/b"]);
    call(
        &engine,
        DeleteAliasRequest {
            alias_name: "alias/a".into(),
        },
    )
    .unwrap();
    assert_eq!(
        refusal(call(&engine, encrypt("alias/a", b"x"))).0,
        ErrorCode::NotFound
    );
    alias(&engine, "alias/a", &one.key_id).unwrap();
    assert_eq!(list(Some(&one)), ["alias/a", "alias/b"]);
}

#[test]
fn tags_and_descriptions_are_kept_within_their_limits() {
    let (_world, engine) = fixture();
    let key = create(&engine).key_id;
    let tag = |n: usize| Tag {
        tag_key: format!("k{n:02}"),
        tag_value: "v".into(),
    };
    let set = |tags: Vec<Tag>| {
        call(
            &engine,
            TagResourceRequest {
                key_id: key.clone(),
                tags,
            },
        )
    };
    set((0..50).map(tag).collect()).unwrap();
    assert_eq!(
        refusal(set(vec![tag(50)])),
        (ErrorCode::Tag, "Too many tags".to_owned())
    );
    let reserved = Tag {
        tag_key: "aws:x".into(),
        tag_value: String::new(),
    };
    assert_eq!(refusal(set(vec![reserved])).0, ErrorCode::Tag);
    let remove = UntagResourceRequest {
        key_id: key.clone(),
        tag_keys: vec!["k00".into(), "none".into()],
    };
    call(&engine, remove).unwrap();
    let list = ListResourceTagsRequest {
        key_id: key.clone(),
        limit: None,
        marker: None,
    };
    let tags = call(&engine, list).unwrap().tags;
    assert_eq!((tags.len(), tags[0].tag_key.as_str()), (49, "k01"));
    let describe = |description: String| {
        call(
            &engine,
            UpdateKeyDescriptionRequest {
                key_id: key.clone(),
                description,
            },
        )
    };
    describe("d".repeat(8192)).unwrap();
    assert_eq!(refusal(describe("d".repeat(8193))).0, ErrorCode::Validation);
}

#[test]
fn an_answered_change_holds_for_the_next_request_of_another_engine() {
    let world = World::new();
    let (one, two) = (world.engine(), world.engine());
    let key = create(&one).key_id;
    assert!(call(&two, encrypt(&key, b"x")).is_ok());
    call(
        &one,
        DisableKeyRequest {
            key_id: key.clone(),
        },
    )
    .unwrap();
    assert_eq!(
        refusal(call(&two, encrypt(&key, b"x"))).0,
        ErrorCode::Disabled
    );
    call(
        &two,
        EnableKeyRequest {
            key_id: key.clone(),
        },
    )
    .unwrap();
    assert!(call(&one, encrypt(&key, b"x")).is_ok());
    call(
        &two,
        RotateKeyOnDemandRequest {
            key_id: key.clone(),
        },
    )
    .unwrap();
    let blob = call(&one, encrypt(&key, b"x")).unwrap().ciphertext_blob;
    assert_eq!(blob.0[26], 2, "the new material encrypts");
}

#[test]
fn every_request_is_recorded_refusals_too_and_no_secret_is() {
    let (world, engine) = fixture();
    let key = create(&engine).key_id;
    let secret = b"a-secret-that-must-not-be-logged";
    let mut request = encrypt(&key, secret);
    request
        .encryption_context
        .insert("purpose".into(), "test".into());
    let blob = call(&engine, request).unwrap().ciphertext_blob;
    call(&engine, decrypt(&blob)).unwrap_err();
    call(&engine, encrypt("alias/none", secret)).unwrap_err();
    call(&engine, encrypt(&key, &[0; 4097])).unwrap_err();
    let log = events(&world);
    let log: Vec<_> = log
        .iter()
        .map(|(name, error)| (name.as_str(), error.as_str()))
        .collect();
    assert_eq!(
        log,
        [
            ("CreateKey", ""),
            ("Encrypt", ""),
            ("Decrypt", "InvalidCiphertextException"),
            ("Encrypt", "NotFoundException"),
            ("Encrypt", "ValidationException"),
        ]
    );
    let text: String = audit::records(world.directory.path())
        .map(|record| record.unwrap().event().unwrap().to_string())
        .collect();
    assert!(
        text.contains(r#""purpose":"test""#),
        "the context is not secret and is recorded"
    );
    let blob_hex = blob
        .0
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    for hidden in ["a-secret-that-must-not-be-logged", &blob_hex] {
        assert!(!text.contains(hidden));
    }
}

/// A store that stops working right after a commit, as a crash between the change and its record.
struct CrashAfterCommit(Arc<MemoryStore>, Mutex<bool>);

impl Store for CrashAfterCommit {
    fn get(&self, key: &str) -> Result<Option<Document>, StoreError> {
        self.0.get(key)
    }
    fn scan(&self, prefix: &str) -> Result<Vec<Document>, StoreError> {
        self.0.scan(prefix)
    }
    fn commit(&self, batch: &Batch) -> Result<u64, StoreError> {
        let mut crashed = self.1.lock().unwrap();
        assert!(!*crashed, "the process is gone");
        *crashed = true;
        self.0.commit(batch)
    }
    fn watch(&self, since: u64) -> Result<Changes, StoreError> {
        self.0.watch(since)
    }
}

#[test]
fn a_crash_cannot_separate_a_change_from_its_record() {
    let world = World::new();
    let key = create(&world.engine()).key_id;
    let before = events(&world).len();
    let audit = tempfile::tempdir().unwrap();
    let store = CrashAfterCommit(world.store.clone(), Mutex::new(false));
    // Its record goes nowhere that survives: the process dies before the log has it.
    let engine = open(store, audit.path(), world.clock.clone()).unwrap();
    let request = DisableKeyRequest {
        key_id: key.clone(),
    };
    let crash = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| call(&engine, request)));
    assert!(crash.is_err());
    assert_eq!(events(&world).len(), before, "the log has no record yet");
    let next = world.engine();
    let log = events(&world);
    assert_eq!(log.len(), before + 1);
    assert_eq!(log.last().unwrap().0, "DisableKey");
    assert_eq!(
        refusal(call(&next, encrypt(&key, b"x"))).0,
        ErrorCode::Disabled
    );
    drop(world.engine());
    assert_eq!(
        events(&world)
            .iter()
            .filter(|(name, _)| name == "DisableKey")
            .count(),
        1
    );
}

#[test]
fn lists_come_in_pages() {
    let (_world, engine) = fixture();
    let mut made: Vec<String> = (0..7).map(|_| create(&engine).key_id).collect();
    made.sort();
    let (mut seen, mut marker) = (Vec::new(), None);
    loop {
        let page = call(
            &engine,
            ListKeysRequest {
                limit: Some(3),
                marker,
                ..ListKeysRequest::default()
            },
        )
        .unwrap();
        seen.extend(page.keys.into_iter().map(|key| key.key_id));
        assert_eq!(page.truncated, page.next_marker.is_some());
        marker = page.next_marker;
        if marker.is_none() {
            break;
        }
    }
    assert_eq!(seen, made);
    let over = ListKeysRequest {
        limit: Some(1001),
        marker: None,
        ..ListKeysRequest::default()
    };
    assert_eq!(refusal(call(&engine, over)).0, ErrorCode::Validation);
}

#[test]
fn rows_say_nothing_in_the_clear() {
    let (world, engine) = fixture();
    let request = CreateKeyRequest {
        description: Some("a-telling-description".into()),
        ..Default::default()
    };
    call(&engine, request).unwrap();
    for document in world.store.scan("").unwrap() {
        let text = String::from_utf8_lossy(&document.body).into_owned();
        assert!(
            !text.contains("telling") && !text.contains("Enabled"),
            "{}",
            document.key
        );
    }
}

#[test]
fn the_keyring_wraps_with_one_key_and_leaves_the_keys_of_others_alone() {
    let (_world, engine) = fixture();
    let (one, two) = (create(&engine), create(&engine));
    let engine = Arc::new(engine);
    let keyring = |name: &str| {
        let key: KeyRef = name.parse().unwrap();
        EngineKeyring::strict(engine.clone(), key, "test")
    };
    let discovery = EngineKeyring::discovery(engine.clone(), "test");
    let mut context = EncryptionContext::new();
    context.insert("a", "1").unwrap();
    let made = pollster::block_on(keyring(&one.arn).generate(32, &context)).unwrap();
    let encrypted = &made.encrypted[0];
    assert_eq!(
        (
            encrypted.provider_id.as_str(),
            encrypted.provider_info.as_slice()
        ),
        ("aws-kms", one.arn.as_bytes())
    );
    let unwrap = |keyring: &EngineKeyring, encrypted| {
        use waxseal_core::keyring::Unwrapped;
        match pollster::block_on(keyring.unwrap(encrypted, &context)) {
            Ok(Unwrapped::Key(key)) => Some(key.expose() == made.key.expose()),
            Ok(Unwrapped::NotMine) => None,
            Err(error) => panic!("{error}"),
        }
    };
    alias(&engine, "alias/two", &two.key_id).unwrap();
    for keyring in [keyring(&one.arn), keyring(&one.key_id)] {
        assert_eq!(unwrap(&keyring, encrypted), Some(true));
    }
    assert_eq!(unwrap(&discovery, encrypted), Some(true));
    for keyring in [
        keyring(&two.arn),
        keyring(&two.key_id),
        keyring("alias/two"),
    ] {
        assert_eq!(unwrap(&keyring, encrypted), None);
    }
    let bare = waxseal_core::EncryptedDataKey::bare(encrypted.ciphertext.clone());
    assert_eq!(unwrap(&discovery, &bare), Some(true));
    let amazon = waxseal_core::EncryptedDataKey::bare(vec![1, 2, 2, 0, 0x78]);
    assert_eq!(unwrap(&discovery, &amazon), None);
    assert!(pollster::block_on(discovery.generate(32, &context)).is_err());
}

#[test]
fn the_outbox_leaves_one_deleted_document() {
    let (world, engine) = fixture();
    for _ in 0..20 {
        create(&engine);
    }
    // What was deleted is among what changed, too.
    let changed = world.store.watch(0).unwrap().keys;
    let pending = changed.iter().filter(|key| key.starts_with("pending/"));
    assert_eq!(pending.count(), 1);
    assert!(world.store.scan("pending/").unwrap().is_empty());
}
