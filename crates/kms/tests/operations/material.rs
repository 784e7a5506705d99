//! Imported key material.

use crate::support::{World, home, refused, secret};
use waxseal_core::arn::Home;
use waxseal_core::crypto::key_pair::{KeyPair, PairSpec};
use waxseal_core::crypto::key_wrap;
use waxseal_core::crypto::rsa::{RsaPadding, RsaPublicKey};
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::{Blob, Timestamp};
use waxseal_kms_api::{ErrorCode, KmsError};

const FOR_EVER: &str = "KEY_MATERIAL_DOES_NOT_EXPIRE";

impl World {
    fn external(&self, spec: &str, usage: &str) -> KeyMetadata {
        let request = CreateKeyRequest {
            key_spec: Some(spec.to_owned()),
            key_usage: Some(usage.to_owned()),
            origin: Some("EXTERNAL".to_owned()),
            ..CreateKeyRequest::default()
        };
        self.call(request).unwrap().key_metadata
    }

    fn parameters(
        &self,
        key: &str,
        algorithm: &str,
    ) -> Result<GetParametersForImportResponse, KmsError> {
        self.call(GetParametersForImportRequest {
            key_id: key.to_owned(),
            wrapping_algorithm: algorithm.to_owned(),
            wrapping_key_spec: "RSA_2048".to_owned(),
        })
    }

    /// A request that imports `material`, for ever, as what it is by default.
    pub(crate) fn import(&self, key: &str, material: &[u8]) -> ImportKeyMaterialRequest {
        let given = self.parameters(key, "RSA_AES_KEY_WRAP_SHA_256").unwrap();
        let public = RsaPublicKey::from_spki(&given.public_key.0).unwrap();
        let mut wrapped = public.encrypt(RsaPadding::OaepSha256, &[5; 32]).unwrap();
        wrapped.extend(key_wrap::wrap(&[5; 32], material).unwrap());
        ImportKeyMaterialRequest {
            key_id: key.to_owned(),
            import_token: given.import_token,
            encrypted_key_material: Blob(wrapped),
            expiration_model: Some(FOR_EVER.to_owned()),
            ..ImportKeyMaterialRequest::default()
        }
    }

    fn import_new(
        &self,
        key: &str,
        material: &[u8],
    ) -> Result<ImportKeyMaterialResponse, KmsError> {
        self.call(ImportKeyMaterialRequest {
            import_type: Some("NEW_KEY_MATERIAL".to_owned()),
            ..self.import(key, material)
        })
    }

    fn remove(&self, key: &str, material: Option<&str>) -> Result<(), KmsError> {
        let request = DeleteImportedKeyMaterialRequest {
            key_id: key.to_owned(),
            key_material_id: material.map(str::to_owned),
        };
        self.call(request).map(drop)
    }

    fn rotate(&self, key: &str) -> Result<RotateKeyOnDemandResponse, KmsError> {
        let key_id = key.to_owned();
        self.call(RotateKeyOnDemandRequest { key_id })
    }

    fn now(&self) -> f64 {
        self.clock.0.lock().unwrap().unix_timestamp() as f64
    }
}

#[test]
fn material_is_used_from_its_import_to_its_removal() {
    let world = World::new();
    let key = world.external("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT");
    assert_eq!(
        (key.key_state.as_str(), key.enabled),
        ("PendingImport", false)
    );
    let (code, message) = refused(world.encrypt(&key.key_id));
    assert_eq!(code, ErrorCode::InvalidState);
    assert_eq!(message, format!("{} is pending import.", key.arn));

    let imported = world.call(world.import(&key.key_id, &[1; 32])).unwrap();
    let seen = world.describe(&key.key_id).unwrap();
    assert_eq!(seen.current_key_material_id, imported.key_material_id);
    assert_eq!(seen.expiration_model.as_deref(), Some(FOR_EVER));
    let blob = world.encrypt(&key.key_id).unwrap();
    assert!(world.decrypt(&blob).is_ok());

    world.remove(&key.key_id, None).unwrap();
    assert_eq!(refused(world.decrypt(&blob)).0, ErrorCode::InvalidState);
    assert_eq!(
        world.describe(&key.key_id).unwrap().key_state,
        "PendingImport"
    );
    world.remove(&key.key_id, None).unwrap();
    // Another one is not the key's.
    let other = world.call(world.import(&key.key_id, &[2; 32]));
    assert_eq!(refused(other).0, ErrorCode::IncorrectKeyMaterial);
    world.call(world.import(&key.key_id, &[1; 32])).unwrap();
    assert!(world.decrypt(&blob).is_ok());
    assert!(!world.log().contains("encryptedKeyMaterial"));
}

#[test]
fn every_wrapping_gives_the_material_and_what_was_altered_does_not() {
    let world = World::new();
    let key = world.external("HMAC_256", "GENERATE_VERIFY_MAC").key_id;
    for (algorithm, padding) in [
        ("RSAES_OAEP_SHA_1", RsaPadding::OaepSha1),
        ("RSAES_OAEP_SHA_256", RsaPadding::OaepSha256),
        ("RSA_AES_KEY_WRAP_SHA_1", RsaPadding::OaepSha1),
        ("RSA_AES_KEY_WRAP_SHA_256", RsaPadding::OaepSha256),
    ] {
        let given = world.parameters(&key, algorithm).unwrap();
        let public = RsaPublicKey::from_spki(&given.public_key.0).unwrap();
        let wrapped = match algorithm.contains("AES_KEY") {
            false => public.encrypt(padding, &[3; 32]).unwrap(),
            true => {
                let mut wrapped = public.encrypt(padding, &[4; 32]).unwrap();
                wrapped.extend(key_wrap::wrap(&[4; 32], &[3; 32]).unwrap());
                wrapped
            }
        };
        let request = |wrapped: &[u8], token: &[u8]| ImportKeyMaterialRequest {
            key_id: key.clone(),
            import_token: Blob(token.to_owned()),
            encrypted_key_material: Blob(wrapped.to_owned()),
            expiration_model: Some(FOR_EVER.to_owned()),
            ..ImportKeyMaterialRequest::default()
        };
        let token = &given.import_token.0;
        for at in [0, 100, wrapped.len() - 1] {
            let mut bad = wrapped.clone();
            bad[at] ^= 1;
            let (code, _) = refused(world.call(request(&bad, token)));
            assert_eq!(code, ErrorCode::InvalidCiphertext, "{algorithm} {at}");
        }
        let (code, _) = refused(world.call(request(&wrapped[1..], token)));
        assert_eq!(code, ErrorCode::InvalidCiphertext);
        for at in [0, 40, token.len() - 1] {
            let mut bad = token.clone();
            bad[at] ^= 1;
            let (code, _) = refused(world.call(request(&wrapped, &bad)));
            assert_eq!(code, ErrorCode::InvalidImportToken);
        }
        world.call(request(&wrapped, token)).unwrap();
    }
    let mac = GenerateMacRequest {
        key_id: key,
        message: Blob(b"message".to_vec()),
        mac_algorithm: "HMAC_SHA_256".to_owned(),
        ..GenerateMacRequest::default()
    };
    // hmac.new(bytes([3] * 32), b"message", "sha256") of Python.
    let expected = "2711b651e74d648df4efdb9d2456283fb7e7be49f922a1ca24754632bfdf4c1c";
    let mac = world.call(mac).unwrap().mac.0;
    assert_eq!(hex::encode(mac), expected);
}

#[test]
fn a_token_is_for_one_key_and_one_day() {
    let world = World::new();
    let one = world
        .external("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
        .key_id;
    let two = world
        .external("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
        .key_id;
    let elsewhere = ImportKeyMaterialRequest {
        key_id: two,
        ..world.import(&one, &[1; 32])
    };
    assert_eq!(
        refused(world.call(elsewhere)).0,
        ErrorCode::InvalidImportToken
    );
    let late = world.import(&one, &[1; 32]);
    world.later(1);
    assert_eq!(refused(world.call(late)).0, ErrorCode::ExpiredImportToken);
    let own = world.symmetric();
    let (code, message) = refused(world.parameters(&own, "RSAES_OAEP_SHA_256"));
    assert_eq!(code, ErrorCode::UnsupportedOperation);
    let arn = world.describe(&own).unwrap().arn;
    assert_eq!(
        message,
        format!("{arn} origin is AWS_KMS which is not valid for this operation.")
    );
}

#[test]
fn material_is_held_to_the_spec_of_its_key() {
    let world = World::new();
    let key = world
        .external("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
        .key_id;
    for bytes in [16, 31, 33] {
        let request = world.import(&key, &vec![1; bytes]);
        assert_eq!(
            refused(world.call(request)).0,
            ErrorCode::IncorrectKeyMaterial
        );
    }
    let p384 = KeyPair::generate(PairSpec::P384).unwrap();
    let der = p384.pkcs8().unwrap();
    let other = world.external("ECC_NIST_P256", "SIGN_VERIFY").key_id;
    let request = world.import(&other, der.expose());
    assert_eq!(
        refused(world.call(request)).0,
        ErrorCode::IncorrectKeyMaterial
    );
    let fitting = world.external("ECC_NIST_P384", "SIGN_VERIFY").key_id;
    let answer = world.call(world.import(&fitting, der.expose())).unwrap();
    assert_eq!(answer.key_material_id, None);
    let public = world.public_key(&fitting).unwrap().public_key.0;
    assert_eq!(public, p384.spki().unwrap());
    // It has this material for ever.
    let more = KeyPair::generate(PairSpec::P384).unwrap().pkcs8().unwrap();
    let more = world.import_new(&fitting, more.expose());
    assert_eq!(refused(more).0, ErrorCode::UnsupportedOperation);
}

#[test]
fn material_expires_on_its_date() {
    let world = World::new();
    let key = world
        .external("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
        .key_id;
    let lasting = |valid_to: Option<f64>, model: Option<&str>| ImportKeyMaterialRequest {
        valid_to: valid_to.map(Timestamp),
        expiration_model: model.map(str::to_owned),
        ..world.import(&key, &[1; 32])
    };
    let day = 86_400.0;
    for (wrong, model) in [
        (None, None),
        (Some(world.now()), None),
        (Some(world.now() + 365.0 * day + 1.0), None),
        (Some(world.now() + day), Some(FOR_EVER)),
    ] {
        let (code, _) = refused(world.call(lasting(wrong, model)));
        assert_eq!(code, ErrorCode::Validation);
    }
    let end = world.now() + 3.0 * day;
    world.call(lasting(Some(end), None)).unwrap();
    let seen = world.describe(&key).unwrap();
    assert_eq!(seen.valid_to, Some(Timestamp(end)));
    assert_eq!(
        seen.expiration_model.as_deref(),
        Some("KEY_MATERIAL_EXPIRES")
    );
    let blob = world.encrypt(&key).unwrap();
    world.later(2);
    assert_eq!(world.engine.tend().unwrap(), 0);
    assert!(world.decrypt(&blob).is_ok());
    world.later(1);
    // Nobody tended it yet.
    assert_eq!(refused(world.decrypt(&blob)).0, ErrorCode::InvalidState);
    assert_eq!(world.describe(&key).unwrap().key_state, "PendingImport");
    let rows = || {
        let all = waxseal_kms::store::Store::scan(world.store.as_ref(), "material/").unwrap();
        all.len()
    };
    assert_eq!(rows(), 1);
    assert_eq!(world.engine.tend().unwrap(), 1);
    assert_eq!(rows(), 0);
    assert!(world.log().contains("DeleteExpiredKeyMaterial"));
    world.call(world.import(&key, &[1; 32])).unwrap();
    assert!(world.decrypt(&blob).is_ok());
}

#[test]
fn a_second_material_waits_for_its_rotation() {
    let world = World::new();
    let made = world.external("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT");
    let (key, arn) = (made.key_id, made.arn);
    let (code, _) = refused(world.rotate(&key));
    assert_eq!(code, ErrorCode::InvalidState);
    let first = world
        .import_new(&key, &[1; 32])
        .unwrap()
        .key_material_id
        .unwrap();
    let (code, message) = refused(world.rotate(&key));
    assert_eq!(code, ErrorCode::InvalidState);
    assert_eq!(
        message,
        format!("No available key material pending rotation for the key: {arn}.")
    );
    let again = world.import_new(&key, &[1; 32]);
    assert_eq!(refused(again).0, ErrorCode::IncorrectKeyMaterial);
    let old = world.encrypt(&key).unwrap();
    let second = world
        .import_new(&key, &[2; 32])
        .unwrap()
        .key_material_id
        .unwrap();
    let current = || {
        world
            .describe(&key)
            .unwrap()
            .current_key_material_id
            .unwrap()
    };
    assert_eq!(current(), first);
    let (code, message) = refused(world.import_new(&key, &[3; 32]));
    assert_eq!(code, ErrorCode::InvalidState);
    assert!(message.ends_with(&format!("(id: {second}) is pending rotation.")));

    // The one that waits can go, and come again.
    world.remove(&key, Some(&second)).unwrap();
    assert!(world.decrypt(&old).is_ok());
    assert_eq!(refused(world.rotate(&key)).0, ErrorCode::InvalidState);
    world.import_new(&key, &[2; 32]).unwrap();
    assert_eq!(world.rotate(&key).unwrap().key_id, arn);
    assert_eq!(current(), second);
    let new = world.encrypt(&key).unwrap();
    for (blob, material) in [(&old, &first), (&new, &second)] {
        let opened = world.decrypt(blob).unwrap();
        assert_eq!(opened.key_material_id.as_ref(), Some(material));
    }
    world.import_new(&key, &[3; 32]).unwrap();
    // Without its first material the key is not usable at all.
    world.remove(&key, Some(&first)).unwrap();
    assert_eq!(refused(world.decrypt(&new)).0, ErrorCode::InvalidState);
    let list = ListKeyRotationsRequest {
        key_id: key.clone(),
        include_key_material: Some("ALL_KEY_MATERIAL".to_owned()),
        ..ListKeyRotationsRequest::default()
    };
    let listed = world.call(list).unwrap().rotations;
    let states: Vec<_> = listed
        .iter()
        .map(|entry| {
            (
                entry.key_material_state.as_str(),
                entry.import_state.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        states,
        [
            ("NON_CURRENT", Some("PENDING_IMPORT")),
            ("CURRENT", Some("IMPORTED")),
            ("PENDING_ROTATION", Some("IMPORTED")),
        ]
    );
    world.call(world.import(&key, &[1; 32])).unwrap();
    assert!(world.decrypt(&old).is_ok() && world.decrypt(&new).is_ok());
    let request = EnableKeyRotationRequest {
        key_id: key,
        ..EnableKeyRotationRequest::default()
    };
    assert_eq!(
        refused(world.call(request)).0,
        ErrorCode::UnsupportedOperation
    );
}

/// An import of `material` in another Region.
fn import_at(
    world: &World,
    place: &Home,
    (key, material): (&str, &[u8]),
    kind: &str,
) -> Result<ImportKeyMaterialResponse, KmsError> {
    let given = world.call_from(
        place,
        GetParametersForImportRequest {
            key_id: key.to_owned(),
            wrapping_algorithm: "RSAES_OAEP_SHA_256".to_owned(),
            wrapping_key_spec: "RSA_2048".to_owned(),
        },
    )?;
    let public = RsaPublicKey::from_spki(&given.public_key.0).unwrap();
    let wrapped = public.encrypt(RsaPadding::OaepSha256, material).unwrap();
    world.call_from(
        place,
        ImportKeyMaterialRequest {
            key_id: key.to_owned(),
            import_token: given.import_token,
            encrypted_key_material: Blob(wrapped),
            expiration_model: Some(FOR_EVER.to_owned()),
            import_type: Some(kind.to_owned()),
            ..ImportKeyMaterialRequest::default()
        },
    )
}

#[test]
fn a_multi_region_key_rotates_once_every_region_has_the_material() {
    const NEW: &str = "NEW_KEY_MATERIAL";
    const EXISTING: &str = "EXISTING_KEY_MATERIAL";
    let world = World::new();
    let (here, there) = (
        home("local", "000000000000"),
        home("eu-south-1", "000000000000"),
    );
    let request = CreateKeyRequest {
        origin: Some("EXTERNAL".to_owned()),
        multi_region: Some(true),
        ..CreateKeyRequest::default()
    };
    let key = world.call(request).unwrap().key_metadata.key_id;
    import_at(&world, &here, (&key, &[1; 32]), NEW).unwrap();
    let replicate = |region: &str| {
        world.call(ReplicateKeyRequest {
            key_id: key.clone(),
            replica_region: region.to_owned(),
            ..ReplicateKeyRequest::default()
        })
    };
    replicate("eu-south-1").unwrap();
    import_at(&world, &there, (&key, &[1; 32]), EXISTING).unwrap();
    let blob = world.encrypt(&key).unwrap();
    let opens = |place: &Home| {
        let request = DecryptRequest {
            ciphertext_blob: Some(blob.clone()),
            ..DecryptRequest::default()
        };
        world.call_from(place, request).unwrap()
    };
    assert_eq!(opens(&there).key_material_id, opens(&here).key_material_id);

    // The primary first, then each replica, and no replica what the primary has not.
    let early = import_at(&world, &there, (&key, &[2; 32]), NEW);
    assert_eq!(refused(early).0, ErrorCode::UnsupportedOperation);
    let early = import_at(&world, &there, (&key, &[2; 32]), EXISTING);
    assert_eq!(refused(early).0, ErrorCode::IncorrectKeyMaterial);
    import_at(&world, &here, (&key, &[2; 32]), NEW).unwrap();
    let pending = |place: &Home| {
        let request = ListKeyRotationsRequest {
            key_id: key.clone(),
            include_key_material: Some("ALL_KEY_MATERIAL".to_owned()),
            ..ListKeyRotationsRequest::default()
        };
        let listed = world.call_from(place, request).unwrap().rotations;
        listed.last().unwrap().key_material_state.clone()
    };
    assert_eq!(pending(&here), "PENDING_MULTI_REGION_IMPORT_AND_ROTATION");
    assert_eq!(pending(&there), "CURRENT");
    assert_eq!(refused(world.rotate(&key)).0, ErrorCode::InvalidState);
    import_at(&world, &there, (&key, &[2; 32]), EXISTING).unwrap();
    assert_eq!(pending(&here), "PENDING_ROTATION");
    assert_eq!(pending(&there), "PENDING_ROTATION");

    // A replica that comes in between has none of what waits, and must be given it.
    replicate("eu-north-1").unwrap();
    let north = home("eu-north-1", "000000000000");
    import_at(&world, &north, (&key, &[1; 32]), EXISTING).unwrap();
    assert_eq!(pending(&north), "CURRENT");
    assert_eq!(pending(&here), "PENDING_MULTI_REGION_IMPORT_AND_ROTATION");
    assert_eq!(refused(world.rotate(&key)).0, ErrorCode::InvalidState);

    // The primary takes another one instead: what waits elsewhere goes.
    world
        .remove(&key, Some(&material_id(&world, &key, 1)))
        .unwrap();
    import_at(&world, &here, (&key, &[3; 32]), NEW).unwrap();
    assert_eq!(pending(&there), "CURRENT");
    let replaced = import_at(&world, &there, (&key, &[2; 32]), EXISTING);
    assert_eq!(refused(replaced).0, ErrorCode::IncorrectKeyMaterial);
    for place in [&there, &north] {
        import_at(&world, place, (&key, &[3; 32]), EXISTING).unwrap();
    }
    world.rotate(&key).unwrap();
    for place in [&here, &there, &north] {
        assert_eq!(pending(place), "CURRENT");
        assert!(opens(place).plaintext.0.ct_eq(b"plaintext"));
        let sealed = world.call_from(
            place,
            EncryptRequest {
                key_id: key.clone(),
                plaintext: secret(b"anew"),
                ..EncryptRequest::default()
            },
        );
        let sealed = sealed.unwrap().ciphertext_blob;
        let opened = world.decrypt(&sealed).unwrap();
        assert_ne!(opened.key_material_id, opens(place).key_material_id);
    }
}

fn material_id(world: &World, key: &str, at: usize) -> String {
    let request = ListKeyRotationsRequest {
        key_id: key.to_owned(),
        include_key_material: Some("ALL_KEY_MATERIAL".to_owned()),
        ..ListKeyRotationsRequest::default()
    };
    let listed = world.call(request).unwrap().rotations;
    listed[at].key_material_id.clone()
}
