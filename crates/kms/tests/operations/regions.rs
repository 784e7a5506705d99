//! Multi-Region keys: what their replicas share, and what not. And when keys were last used.

use crate::support::{World, call, home, refused, secret};
use waxseal_core::arn::Home;
use waxseal_kms::op::Perform;
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::Blob;
use waxseal_kms_api::{ErrorCode, KmsError};

const ACCOUNT: &str = "111122223333";

struct Regions {
    world: World,
    here: Home,
    there: Home,
    key: String,
}

impl Regions {
    fn new() -> Self {
        let world = World::new();
        let here = home("eu-west-1", ACCOUNT);
        let request = CreateKeyRequest {
            multi_region: Some(true),
            description: Some("the first".to_owned()),
            ..CreateKeyRequest::default()
        };
        let made = world.call_from(&here, request).unwrap().key_metadata;
        let there = home("us-east-1", ACCOUNT);
        Self {
            world,
            here,
            there,
            key: made.key_id,
        }
    }

    fn replicate(&self, from: &Home, to: &str) -> Result<ReplicateKeyResponse, KmsError> {
        let request = ReplicateKeyRequest {
            key_id: self.key.clone(),
            replica_region: to.to_owned(),
            tags: vec![Tag {
                tag_key: "a".to_owned(),
                tag_value: "b".to_owned(),
            }],
            ..ReplicateKeyRequest::default()
        };
        self.world.call_from(from, request)
    }

    fn seen(&self, place: &Home) -> Result<KeyMetadata, KmsError> {
        let request = DescribeKeyRequest {
            key_id: self.key.clone(),
            ..DescribeKeyRequest::default()
        };
        Ok(self.world.call_from(place, request)?.key_metadata)
    }

    fn encrypt(&self, place: &Home) -> Result<Blob, KmsError> {
        let request = EncryptRequest {
            key_id: self.key.clone(),
            plaintext: secret(b"plaintext"),
            ..EncryptRequest::default()
        };
        Ok(self.world.call_from(place, request)?.ciphertext_blob)
    }

    fn decrypt(&self, place: &Home, blob: &Blob) -> Result<DecryptResponse, KmsError> {
        let request = DecryptRequest {
            ciphertext_blob: Some(blob.clone()),
            ..DecryptRequest::default()
        };
        self.world.call_from(place, request)
    }

    fn call<O: Perform>(&self, place: &Home, input: O) -> Result<O::Output, KmsError> {
        self.world.call_from(place, input)
    }

    fn rotate(&self, place: &Home) -> Result<RotateKeyOnDemandResponse, KmsError> {
        let key_id = self.key.clone();
        self.call(place, RotateKeyOnDemandRequest { key_id })
    }

    fn delete(&self, place: &Home) -> Result<ScheduleKeyDeletionResponse, KmsError> {
        let request = ScheduleKeyDeletionRequest {
            key_id: self.key.clone(),
            pending_window_in_days: Some(7),
        };
        self.call(place, request)
    }

    fn move_primary(&self, from: &Home, to: &str) -> Result<Empty, KmsError> {
        let request = UpdatePrimaryRegionRequest {
            key_id: self.key.clone(),
            primary_region: to.to_owned(),
        };
        self.call(from, request)
    }
}

#[test]
fn replicas_open_what_any_of_them_sealed() {
    let it = Regions::new();
    assert_eq!(refused(it.seen(&it.there)).0, ErrorCode::NotFound);
    let before = it.encrypt(&it.here).unwrap();
    let answer = it.replicate(&it.here, "us-east-1").unwrap();
    assert_eq!(answer.replica_key_metadata.key_state, "Creating");
    assert_eq!(answer.replica_tags.len(), 1);
    let replica = it.seen(&it.there).unwrap();
    assert_eq!(
        (replica.key_state.as_str(), replica.description.as_str()),
        ("Enabled", "")
    );
    let configuration = replica.multi_region_configuration.unwrap();
    assert_eq!(configuration.multi_region_key_type, "REPLICA");
    assert_eq!(configuration.primary_key.region, "eu-west-1");
    assert_eq!(configuration.replica_keys.len(), 1);
    let primary = it
        .seen(&it.here)
        .unwrap()
        .multi_region_configuration
        .unwrap();
    assert_eq!(primary.multi_region_key_type, "PRIMARY");
    assert_eq!(primary.replica_keys, configuration.replica_keys);

    assert!(it.decrypt(&it.there, &before).is_ok());
    let key = it.key.clone();
    it.call(
        &it.here,
        DisableKeyRequest {
            key_id: key.clone(),
        },
    )
    .unwrap();
    assert_eq!(refused(it.encrypt(&it.here)).0, ErrorCode::Disabled);
    let there = it.encrypt(&it.there).unwrap();
    it.call(&it.here, EnableKeyRequest { key_id: key }).unwrap();
    let opened = it.decrypt(&it.here, &there).unwrap();
    assert!(opened.key_id.contains(":eu-west-1:"));

    let twice = it.replicate(&it.here, "us-east-1");
    assert_eq!(refused(twice).0, ErrorCode::AlreadyExists);
    let itself = it.replicate(&it.here, "eu-west-1");
    assert_eq!(refused(itself).0, ErrorCode::AlreadyExists);
    let (code, message) = refused(it.replicate(&it.there, "ap-south-1"));
    assert_eq!(code, ErrorCode::UnsupportedOperation);
    assert!(message.ends_with("is not a multi-region primary key."));
}

#[test]
fn rotation_is_the_primary_s_and_reaches_all() {
    let it = Regions::new();
    it.replicate(&it.here, "us-east-1").unwrap();
    let old = it.encrypt(&it.there).unwrap();
    it.rotate(&it.here).unwrap();
    assert_eq!(
        refused(it.rotate(&it.there)).0,
        ErrorCode::UnsupportedOperation
    );
    let ids = [&it.here, &it.there].map(|place| it.seen(place).unwrap().current_key_material_id);
    assert_eq!(ids[0], ids[1]);
    let new = it.encrypt(&it.there).unwrap();
    for blob in [&old, &new] {
        assert!(it.decrypt(&it.here, blob).is_ok() && it.decrypt(&it.there, blob).is_ok());
    }
    let enable = EnableKeyRotationRequest {
        key_id: it.key.clone(),
        rotation_period_in_days: Some(90),
    };
    it.call(&it.here, enable).unwrap();
    it.world.later(91);
    assert_eq!(it.world.engine.tend().unwrap(), 1);
    let later = it.encrypt(&it.here).unwrap();
    let opened = it.decrypt(&it.there, &later).unwrap();
    assert!(opened.key_material_id.is_some() && opened.key_material_id != ids[0]);
    // A replica made now has all there ever was.
    it.replicate(&it.here, "ap-south-1").unwrap();
    let third = home("ap-south-1", ACCOUNT);
    for blob in [&old, &new, &later] {
        assert!(it.decrypt(&third, blob).is_ok());
    }
}

#[test]
fn the_primary_moves() {
    let it = Regions::new();
    let nowhere = it.move_primary(&it.here, "us-east-1");
    assert_eq!(refused(nowhere).0, ErrorCode::NotFound);
    it.replicate(&it.here, "us-east-1").unwrap();
    it.replicate(&it.here, "ap-south-1").unwrap();
    it.move_primary(&it.here, "us-east-1").unwrap();
    let third = home("ap-south-1", ACCOUNT);
    for place in [&it.here, &it.there, &third] {
        let seen = it.seen(place).unwrap().multi_region_configuration.unwrap();
        assert_eq!(seen.primary_key.region, "us-east-1");
        let replicas: Vec<_> = seen
            .replica_keys
            .iter()
            .map(|key| key.region.as_str())
            .collect();
        assert_eq!(replicas, ["ap-south-1", "eu-west-1"]);
    }
    assert!(it.rotate(&it.there).is_ok());
    assert_eq!(
        refused(it.rotate(&it.here)).0,
        ErrorCode::UnsupportedOperation
    );
    let again = it.move_primary(&it.here, "ap-south-1");
    assert_eq!(refused(again).0, ErrorCode::UnsupportedOperation);
}

#[test]
fn a_primary_goes_after_its_replicas() {
    let it = Regions::new();
    it.replicate(&it.here, "us-east-1").unwrap();
    let answer = it.delete(&it.here).unwrap();
    assert_eq!(answer.key_state, "PendingReplicaDeletion");
    assert_eq!(answer.deletion_date, None);
    let seen = it.seen(&it.here).unwrap();
    assert_eq!(seen.pending_deletion_window_in_days, Some(7));
    assert_eq!(refused(it.encrypt(&it.here)).0, ErrorCode::InvalidState);
    it.world.later(30);
    assert_eq!(it.world.engine.tend().unwrap(), 0);
    it.delete(&it.there).unwrap();
    it.world.later(7);
    // The replica goes; then the primary's own waiting period begins.
    assert!(it.world.engine.tend().unwrap() >= 1);
    it.world.engine.tend().unwrap();
    assert_eq!(refused(it.seen(&it.there)).0, ErrorCode::NotFound);
    assert_eq!(it.seen(&it.here).unwrap().key_state, "PendingDeletion");
    it.world.later(7);
    assert_eq!(refused(it.seen(&it.here)).0, ErrorCode::NotFound);
    it.world.engine.tend().unwrap();
    let left = waxseal_kms::store::Store::scan(it.world.store.as_ref(), "").unwrap();
    let left: Vec<_> = left.iter().map(|document| document.key.as_str()).collect();
    assert_eq!(left, ["log"], "how far the log was, and nothing else");
    it.world.log();
}

#[test]
fn the_last_use_of_a_key_is_told() {
    let world = World::new();
    let key = world.symmetric();
    let told = || {
        let request = GetKeyLastUsageRequest {
            key_id: key.clone(),
        };
        world.call(request).unwrap()
    };
    assert_eq!(told().key_last_usage, KeyLastUsageData::default());
    let blob = world.encrypt(&key).unwrap();
    world.later(3);
    world.describe(&key).unwrap();
    assert_eq!(told().key_last_usage.operation.as_deref(), Some("Encrypt"));
    world.decrypt(&blob).unwrap();
    world
        .call(DisableKeyRequest {
            key_id: key.clone(),
        })
        .unwrap();
    refused(world.encrypt(&key));
    let last = told();
    assert_eq!(last.key_last_usage.operation.as_deref(), Some("Decrypt"));
    let used = last.key_last_usage.timestamp.unwrap().0;
    assert!((used - last.key_creation_date.0 - 3.0 * 86_400.0).abs() < 1.0);
    assert!(last.key_last_usage.cloud_trail_event_id.is_some());
    // Another engine on the same log knows as much.
    let other = world.engine();
    let request = GetKeyLastUsageRequest { key_id: key };
    assert_eq!(call(&other, request).unwrap(), last);
}
