//! The states of a key, what time does to it, and where it is.

use crate::support::{World, home, refused};
use std::collections::HashSet;
use waxseal_kms_api::ErrorCode;
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::{Blob, Timestamp};

#[test]
fn a_key_that_waits_for_its_deletion_does_nothing_and_then_is_gone() {
    let world = World::new();
    let key = world.symmetric();
    let key_id = || key.clone();
    let arn = world.describe(&key).unwrap().arn;
    let sealed = world.encrypt(&key).unwrap();
    let alias = CreateAliasRequest {
        alias_name: "alias/going".to_owned(),
        target_key_id: key_id(),
    };
    world.call(alias.clone()).unwrap();
    let schedule = |days: i64| {
        world.call(ScheduleKeyDeletionRequest {
            key_id: key_id(),
            pending_window_in_days: Some(days),
        })
    };
    let cancel = || world.call(CancelKeyDeletionRequest { key_id: key_id() });
    for days in [6, 31] {
        assert_eq!(refused(schedule(days)).0, ErrorCode::Validation);
    }
    let message = format!("{arn} is not pending deletion.");
    assert_eq!(refused(cancel()), (ErrorCode::InvalidState, message));
    let scheduled = schedule(7).unwrap();
    assert_eq!(scheduled.key_id, arn);
    assert_eq!(scheduled.deletion_date.unwrap().0, 1_800_604_800.0);
    let seen = world.describe(&key).unwrap();
    assert_eq!(seen.key_state, "PendingDeletion");
    assert!(!seen.enabled);
    let message = format!("{arn} is pending deletion.");
    let pending = (ErrorCode::InvalidState, message);
    assert_eq!(refused(world.encrypt(&key)), pending);
    assert_eq!(refused(schedule(7)), pending);
    let enable = || world.call(EnableKeyRequest { key_id: key_id() });
    let disable = || world.call(DisableKeyRequest { key_id: key_id() });
    assert_eq!(refused(enable()), pending);
    assert_eq!(refused(disable()), pending);
    assert_eq!(refused(world.call(alias)), pending);
    let describe_anew = UpdateKeyDescriptionRequest {
        key_id: key_id(),
        description: "x".to_owned(),
    };
    assert_eq!(refused(world.call(describe_anew)), pending);
    let rotate = RotateKeyOnDemandRequest { key_id: key_id() };
    assert_eq!(refused(world.call(rotate)), pending);

    world.later(6);
    assert_eq!(cancel().unwrap().key_id, arn);
    assert_eq!(world.describe(&key).unwrap().key_state, "Disabled");
    enable().unwrap();
    world.encrypt(&key).unwrap();

    schedule(7).unwrap();
    world.later(7);
    let gone = format!("Key '{arn}' does not exist");
    assert_eq!(refused(world.describe(&key)), (ErrorCode::NotFound, gone));
    assert_eq!(refused(world.decrypt(&sealed)).0, ErrorCode::AccessDenied);
    assert_eq!(world.engine.tend().unwrap(), 1);
    assert_eq!(world.engine.tend().unwrap(), 0);
    assert_eq!(refused(world.decrypt(&sealed)).0, ErrorCode::AccessDenied);
    let listed = world.call(ListAliasesRequest::default()).unwrap();
    assert!(listed.aliases.is_empty());
    assert!(world.log().contains("\"DeleteKey\""));
}

#[test]
fn keys_rotate_by_themselves_and_open_what_they_ever_sealed() {
    let world = World::new();
    let key = world.symmetric();
    let key_id = || key.clone();
    let status = || world.call(GetKeyRotationStatusRequest { key_id: key_id() });
    assert!(!status().unwrap().key_rotation_enabled);
    let enable = |rotation_period_in_days: Option<i64>| {
        world.call(EnableKeyRotationRequest {
            key_id: key_id(),
            rotation_period_in_days,
        })
    };
    assert_eq!(refused(enable(Some(89))).0, ErrorCode::Validation);
    enable(None).unwrap();
    assert_eq!(status().unwrap().rotation_period_in_days, Some(365));
    enable(Some(90)).unwrap();
    let next = status().unwrap().next_rotation_date.unwrap();
    assert_eq!(next.0, 1_800_000_000.0 + 90.0 * 86_400.0);
    let mut sealed = Vec::new();
    for _ in 0..40 {
        sealed.push(world.encrypt(&key).unwrap());
        assert_eq!(world.engine.tend().unwrap(), 0);
        world.later(90);
        assert_eq!(world.engine.tend().unwrap(), 1);
    }
    let opened = sealed.iter().map(|blob| world.decrypt(blob).unwrap());
    let materials: HashSet<_> = opened.map(|opened| opened.key_material_id).collect();
    assert_eq!(materials.len(), 40);
    let rotations = world.call(ListKeyRotationsRequest {
        key_id: key_id(),
        ..ListKeyRotationsRequest::default()
    });
    let rotations = rotations.unwrap().rotations;
    assert_eq!(rotations.len(), 40);
    let mut kinds = rotations.iter().map(|one| one.rotation_type.as_deref());
    assert!(kinds.all(|kind| kind == Some("AUTOMATIC")));
    let disable = DisableKeyRotationRequest { key_id: key_id() };
    world.call(disable).unwrap();
    world.later(1_000);
    assert_eq!(world.engine.tend().unwrap(), 0);
    let pair = EnableKeyRotationRequest {
        key_id: world.key("RSA_2048", "SIGN_VERIFY"),
        rotation_period_in_days: None,
    };
    assert_eq!(refused(world.call(pair)).0, ErrorCode::UnsupportedOperation);
    assert!(world.log().contains("\"RotateKey\""));
}

#[test]
fn regions_and_accounts_are_kept_apart() {
    let world = World::new();
    let places = [
        home("eu-west-1", "111122223333"),
        home("us-east-1", "111122223333"),
        home("eu-west-1", "444455556666"),
    ];
    let mut keys = Vec::new();
    for place in &places {
        let made = world.call_from(place, CreateKeyRequest::default());
        let made = made.unwrap().key_metadata;
        assert_eq!(made.arn, format!("{place}:key/{}", made.key_id));
        let alias = CreateAliasRequest {
            alias_name: "alias/same".to_owned(),
            target_key_id: made.key_id.clone(),
        };
        world.call_from(place, alias).unwrap();
        keys.push(made);
    }
    for (at, place) in places.iter().enumerate() {
        let listed = world.call_from(place, ListKeysRequest::default()).unwrap();
        let ids: Vec<_> = listed.keys.into_iter().map(|key| key.key_id).collect();
        assert_eq!(ids, [keys[at].key_id.clone()]);
        let listed = world.call_from(place, ListAliasesRequest::default());
        let listed = listed.unwrap().aliases;
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].target_key_id, keys[at].key_id);
        let describe = |name: &str| {
            let request = DescribeKeyRequest {
                key_id: name.to_owned(),
                ..DescribeKeyRequest::default()
            };
            world.call_from(place, request)
        };
        assert_eq!(describe("alias/same").unwrap().key_metadata, keys[at]);
        for (other, key) in keys.iter().enumerate().filter(|(other, _)| *other != at) {
            let (code, message) = refused(describe(&key.key_id));
            assert_eq!(code, ErrorCode::NotFound);
            let absent = format!("Key '{place}:key/{}' does not exist", key.key_id);
            assert_eq!(message, absent);
            let (code, message) = refused(describe(&key.arn));
            let region = &places[other].region;
            if *region == place.region {
                // It is there, and another account's.
                assert_eq!(code, ErrorCode::AccessDenied);
            } else {
                assert_eq!(message, format!("Invalid arn {region}"));
            }
        }
    }
    let own = world.call(ListKeysRequest::default()).unwrap();
    assert!(own.keys.is_empty());
}

#[test]
fn multi_region_keys_have_their_own_kind_of_id() {
    let world = World::new();
    let request = CreateKeyRequest {
        multi_region: Some(true),
        ..CreateKeyRequest::default()
    };
    let made = world.call(request).unwrap().key_metadata;
    assert!(made.key_id.starts_with("mrk-") && made.key_id.len() == 36);
    let configuration = made.multi_region_configuration.unwrap();
    assert_eq!(configuration.multi_region_key_type, "PRIMARY");
    assert_eq!(configuration.primary_key.arn, made.arn);
    let sealed = world.encrypt(&made.key_id).unwrap();
    assert_eq!(world.decrypt(&sealed).unwrap().key_id, made.arn);
}

/// Thirty years, looked after every five days: keys that rotate at four intervals and open whatever they
/// sealed; material that is imported for a year, expires to the day and is imported again; keys that
/// are made, used and deleted, some of them after a change of mind. The log verifies at the end.
#[test]
fn thirty_years_pass() {
    const STEP: i64 = 5;
    const YEAR: i64 = 365;
    let world = World::new();
    let intervals = [90, 365, 1_000, 2_560];
    let mut rotating: Vec<(i64, String, Vec<Blob>)> = Vec::new();
    for days in intervals {
        let key_id = world.symmetric();
        let enable = EnableKeyRotationRequest {
            key_id: key_id.clone(),
            rotation_period_in_days: Some(days),
        };
        world.call(enable).unwrap();
        rotating.push((days, key_id, Vec::new()));
    }
    let external = world.call(CreateKeyRequest {
        origin: Some("EXTERNAL".to_owned()),
        ..CreateKeyRequest::default()
    });
    let external = external.unwrap().key_metadata.key_id;
    let import = || {
        let now = world.clock.0.lock().unwrap().unix_timestamp() as f64;
        world
            .call(ImportKeyMaterialRequest {
                expiration_model: Some("KEY_MATERIAL_EXPIRES".to_owned()),
                valid_to: Some(Timestamp(now + 365.0 * 86_400.0)),
                ..world.import(&external, &[9; 32])
            })
            .unwrap();
    };
    let mut of_external: Vec<Blob> = Vec::new();
    // The key that goes, when it goes, and what it sealed.
    let mut going: Option<(String, i64, Blob)> = None;
    let (mut gone, mut kept, mut rotations, mut expiries) = (Vec::new(), Vec::new(), 0, 0);
    for day in (0..30 * YEAR).step_by(STEP as usize) {
        for (_, key, sealed) in &mut rotating {
            if day % 180 == 0 {
                sealed.push(world.encrypt(key).unwrap());
            }
        }
        if day % YEAR == 0 {
            // What was imported a year ago is over today.
            let state = world.describe(&external).unwrap().key_state;
            assert_eq!(state, "PendingImport", "day {day}");
            import();
            of_external.push(world.encrypt(&external).unwrap());
        } else {
            assert!(
                world.decrypt(of_external.last().unwrap()).is_ok(),
                "day {day}"
            );
        }
        match &going {
            None => {
                let key_id = world.symmetric();
                let sealed = world.encrypt(&key_id).unwrap();
                // 7 to 30 days, in steps of five: a day that is looked at.
                let days = 10 + day % 25;
                let scheduled = world.call(ScheduleKeyDeletionRequest {
                    key_id: key_id.clone(),
                    pending_window_in_days: Some(days.min(30)),
                });
                scheduled.unwrap();
                going = Some((key_id, day + days.min(30), sealed));
            }
            Some((key, due, sealed)) if day >= *due => {
                let code = refused(world.describe(key)).0;
                assert_eq!(code, ErrorCode::NotFound, "day {day}");
                gone.push(sealed.clone());
                going = None;
            }
            Some((key, due, sealed)) => {
                let state = world.describe(key).unwrap().key_state;
                assert_eq!(state, "PendingDeletion", "day {day}, due {due}");
                assert_eq!(refused(world.decrypt(sealed)).0, ErrorCode::InvalidState);
                // Now and then somebody changes their mind.
                if day % 7 == 3 {
                    let key_id = key.clone();
                    world.call(CancelKeyDeletionRequest { key_id }).unwrap();
                    let key_id = key.clone();
                    world.call(EnableKeyRequest { key_id }).unwrap();
                    kept.push(sealed.clone());
                    going = None;
                }
            }
        }
        world.later(STEP);
        world.engine.tend().unwrap();
    }
    for (days, key_id, sealed) in &rotating {
        let mut materials = HashSet::new();
        for blob in sealed {
            materials.insert(world.decrypt(blob).unwrap().key_material_id);
        }
        let (mut marker, mut seen) = (None, 0);
        loop {
            let page = world.call(ListKeyRotationsRequest {
                key_id: key_id.clone(),
                marker,
                ..ListKeyRotationsRequest::default()
            });
            let page = page.unwrap();
            seen += page.rotations.len() as i64;
            marker = page.next_marker;
            if marker.is_none() {
                break;
            }
        }
        assert_eq!(seen, 30 * YEAR / days, "every {days} days");
        assert!(materials.len() as i64 <= seen + 1);
        rotations += seen;
    }
    import();
    for blob in &of_external {
        assert!(world.decrypt(blob).is_ok());
        expiries += 1;
    }
    for blob in &gone {
        assert_eq!(refused(world.decrypt(blob)).0, ErrorCode::AccessDenied);
    }
    for blob in &kept {
        assert!(world.decrypt(blob).is_ok());
    }
    assert_eq!((rotations, expiries), (121 + 30 + 10 + 4, 30));
    assert!(
        gone.len() > 100 && kept.len() > 20,
        "{} gone, {} kept",
        gone.len(),
        kept.len()
    );
    let log = world.log();
    let events = |name: &str| log.matches(&format!("\"eventName\":\"{name}\"")).count();
    assert_eq!(events("DeleteKey"), gone.len());
    assert_eq!(events("DeleteExpiredKeyMaterial"), expiries);
    assert_eq!(events("RotateKey"), rotations as usize);
}
