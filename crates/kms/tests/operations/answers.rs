//! Answers that are easily taken for something else: each of these was once another one here than at
//! AWS.

use crate::support::{World, home, refused};
use serde_json::{Value, json};
use waxseal_kms::request::Caller;
use waxseal_kms_api::ErrorCode;
use waxseal_kms_api::op::*;

#[test]
fn a_key_that_never_rotates_may_be_asked_whether_it_does() {
    let world = World::new();
    for (spec, usage) in [
        ("HMAC_256", "GENERATE_VERIFY_MAC"),
        ("ECC_NIST_P256", "SIGN_VERIFY"),
        ("ML_KEM_768", "ENCAPSULATE_DECAPSULATE"),
    ] {
        let key_id = world.key(spec, usage);
        let status = world.call(GetKeyRotationStatusRequest {
            key_id: key_id.clone(),
        });
        assert!(!status.unwrap().key_rotation_enabled, "{spec}");
        let enable = world.call(EnableKeyRotationRequest {
            key_id: key_id.clone(),
            rotation_period_in_days: None,
        });
        assert_eq!(refused(enable).0, ErrorCode::UnsupportedOperation);
        let disable = world.call(DisableKeyRotationRequest { key_id });
        assert_eq!(refused(disable).0, ErrorCode::UnsupportedOperation);
    }
}

#[test]
fn a_text_that_is_no_marker_is_refused() {
    let world = World::new();
    let key_id = world.symmetric();
    let marker = || Some("bad-marker".to_owned());
    let refusals = [
        refused(world.call(ListKeysRequest {
            marker: marker(),
            ..ListKeysRequest::default()
        })),
        refused(world.call(ListAliasesRequest {
            marker: marker(),
            ..ListAliasesRequest::default()
        })),
        refused(world.call(ListGrantsRequest {
            marker: marker(),
            key_id: key_id.clone(),
            ..ListGrantsRequest::default()
        })),
        refused(world.call(ListResourceTagsRequest {
            marker: marker(),
            key_id: key_id.clone(),
            ..ListResourceTagsRequest::default()
        })),
        refused(world.call(ListKeyRotationsRequest {
            marker: marker(),
            key_id,
            ..ListKeyRotationsRequest::default()
        })),
    ];
    for (code, _) in refusals {
        assert_eq!(code, ErrorCode::InvalidMarker);
    }
}

#[test]
fn a_grant_is_retired_by_token_and_by_what_it_names_and_by_nothing_else() {
    let world = World::new();
    let (key_id, other) = (world.symmetric(), world.symmetric());
    let grant = || {
        let made = world.call(CreateGrantRequest {
            key_id: key_id.clone(),
            grantee_principal: Some("arn:aws:iam::000000000000:root".to_owned()),
            operations: vec!["Decrypt".to_owned()],
            ..CreateGrantRequest::default()
        });
        let made = made.unwrap();
        (made.grant_token, made.grant_id)
    };
    let retire = |token: Option<&String>, id: Option<&String>, key: Option<&String>| {
        world.call(RetireGrantRequest {
            grant_token: token.cloned(),
            grant_id: id.cloned(),
            key_id: key.cloned(),
            ..RetireGrantRequest::default()
        })
    };
    let ((token, id), (_, second)) = (grant(), grant());
    let wrong = [
        refused(retire(Some(&token), Some(&second), None)),
        refused(retire(Some(&token), None, Some(&other))),
        refused(retire(None, Some(&id), None)),
        refused(retire(None, None, Some(&key_id))),
        refused(retire(None, None, None)),
    ];
    assert!(wrong.iter().all(|(code, _)| *code == ErrorCode::Validation));
    retire(Some(&token), Some(&id), None).unwrap();
    let (token, id) = grant();
    retire(Some(&token), Some(&id), Some(&key_id)).unwrap();
    retire(None, Some(&second), Some(&key_id)).unwrap();
    let left = world.call(ListGrantsRequest {
        key_id,
        ..ListGrantsRequest::default()
    });
    assert!(left.unwrap().grants.is_empty());
}

/// CreateKey as JSON in Region eu-west-1, and the answer.
fn create(world: &World, body: &Value) -> Result<Value, (ErrorCode, String)> {
    let caller = Caller::owner(&home("eu-west-1", "000000000000"), "test");
    let body = serde_json::to_vec(body).unwrap();
    let answer = world.engine.answer(caller, "eu-west-1", "CreateKey", &body);
    match answer.unwrap().result {
        Ok(body) => Ok(serde_json::from_slice::<Value>(body.expose()).unwrap()),
        Err(error) => Err((error.code, error.message.unwrap_or_default())),
    }
}

const CHOSEN: &str = "2ed07a36-4e58-4b10-b6d9-98d76f35a02d";
/// `custom test key material` in base64.
const MATERIAL: &str = "Y3VzdG9tIHRlc3Qga2V5IG1hdGVyaWFs";

fn tag(key: &str, value: &str) -> Value {
    json!({ "TagKey": key, "TagValue": value })
}

#[test]
fn tags_choose_id_and_material_where_that_is_allowed() {
    let world = World::new();
    let body = json!({
        "KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC", "Description": "chosen",
        "Tags": [tag("_custom_id_", CHOSEN), tag("_custom_key_material_", MATERIAL), tag("a", "b")],
    });
    // Not for everybody: tags are tags.
    let made = create(&world, &body).unwrap();
    assert_ne!(made["KeyMetadata"]["KeyId"], CHOSEN);
    world.engine.let_tags_choose();
    let made = create(&world, &body).unwrap();
    let metadata = &made["KeyMetadata"];
    assert_eq!(metadata["KeyId"], CHOSEN);
    assert_eq!(
        metadata["Arn"],
        format!("arn:aws:kms:eu-west-1:000000000000:key/{CHOSEN}")
    );
    assert_eq!(metadata["Description"], "chosen");
    let here = home("eu-west-1", "000000000000");
    let tags = world.call_from(
        &here,
        ListResourceTagsRequest {
            key_id: CHOSEN.to_owned(),
            ..ListResourceTagsRequest::default()
        },
    );
    let tags = tags.unwrap().tags;
    assert_eq!((tags.len(), tags[0].tag_key.as_str()), (1, "a"));
    let mac = world.call_from(
        &here,
        GenerateMacRequest {
            key_id: CHOSEN.to_owned(),
            message: waxseal_kms_api::shape::Blob(b"some important message".to_vec()),
            mac_algorithm: "HMAC_SHA_256".to_owned(),
            ..GenerateMacRequest::default()
        },
    );
    // openssl dgst -sha256 -hmac 'custom test key material'
    assert_eq!(hex::encode(mac.unwrap().mac.0), MAC);
    assert_eq!(
        create(&world, &body).unwrap_err().0,
        ErrorCode::AlreadyExists
    );
    let log = world.log();
    // It is there once: as a tag of the first key, where tags are tags.
    assert_eq!(log.matches(MATERIAL).count(), 1);
}

const MAC: &str = "7da295b8acc92a24e72147dbf2c73a3879b1cfdfcc5b35dc41d065981364888e";

#[test]
fn what_cannot_be_chosen_is_refused() {
    let world = World::new();
    world.engine.let_tags_choose();
    for (spec, name, value) in [
        ("SYMMETRIC_DEFAULT", "_custom_id_", "no uuid"),
        ("SYMMETRIC_DEFAULT", "_custom_key_material_", "no base64!"),
        ("SYMMETRIC_DEFAULT", "_custom_key_material_", "c2hvcnQ="),
        ("RSA_2048", "_custom_key_material_", MATERIAL),
        ("NO_SPEC", "_custom_id_", CHOSEN),
    ] {
        let body = json!({ "KeySpec": spec, "Tags": [tag(name, value)] });
        let refusal = create(&world, &body).unwrap_err();
        assert_eq!(refusal.0, ErrorCode::Validation, "{spec} {name} {value}");
    }
    let here = home("eu-west-1", "000000000000");
    let keys = world.call_from(&here, ListKeysRequest::default());
    assert!(keys.unwrap().keys.is_empty());
}

/// API reference, UpdateAlias: both keys are symmetric, asymmetric, or for MACs, and of one usage.
#[test]
fn an_alias_moves_between_keys_that_are_used_alike() {
    let world = World::new();
    let keys = [
        ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"),
        ("RSA_2048", "ENCRYPT_DECRYPT"),
        ("RSA_2048", "SIGN_VERIFY"),
        ("ECC_NIST_P256", "SIGN_VERIFY"),
        ("ECC_NIST_P256", "KEY_AGREEMENT"),
        ("HMAC_256", "GENERATE_VERIFY_MAC"),
        ("HMAC_512", "GENERATE_VERIFY_MAC"),
    ];
    let kinds = [0, 1, 2, 2, 3, 4, 4];
    let ids = keys.map(|(spec, usage)| world.key(spec, usage));
    for (from, kind) in kinds.iter().enumerate() {
        let alias_name = format!("alias/{from}");
        let target_key_id = ids[from].clone();
        let made = CreateAliasRequest {
            alias_name: alias_name.clone(),
            target_key_id,
        };
        world.call(made).unwrap();
        for (to, other) in kinds.iter().enumerate() {
            let moved = world.call(UpdateAliasRequest {
                alias_name: alias_name.clone(),
                target_key_id: ids[to].clone(),
            });
            if kind == other {
                moved.unwrap();
                continue;
            }
            let (code, message) = refused(moved);
            assert_eq!(code, ErrorCode::Validation);
            let ((_, was), (_, is)) = (keys[from], keys[to]);
            if was != is {
                assert_eq!(
                    message,
                    format!(
                        "Alias {alias_name} cannot be changed from a CMK with key usage {was} to a CMK with \
                         key usage {is}. The key usage of the current CMK and the new CMK must be the same."
                    )
                );
            }
        }
    }
}
