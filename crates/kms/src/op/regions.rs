//! ReplicateKey and UpdatePrimaryRegion.
//!
//! The keys of a multi-Region key share id, material, rotation and usage; policy, grants, tags,
//! aliases, description and state are each one's own. All are in the same store, so that what is
//! shared changes in one commit.

use super::keys::{changed, logged, metadata};
use super::policies::acceptable;
use super::rotation::material_row;
use super::{Needs, Perform, invalid, is_primary, not_primary, put, tagged, tags, usable};
use crate::authorize::{Access, Resource};
use crate::engine::{Aliases, KeyEntry, View};
use crate::model::{EXTERNAL, KeyRecord, KeyState, key_document};
use crate::policy::default_key_policy;
use crate::request::Done;
use crate::store::Expect;
use serde_json::json;
use waxseal_core::SecretBytes;
use waxseal_core::arn::Home;
use waxseal_kms_api::op::*;
use waxseal_kms_api::{Action, ErrorCode, KmsError};

impl Perform for ReplicateKeyRequest {
    type Target = KeyEntry;
    const MUTATES: bool = true;

    fn needs(&self, view: &View<'_>) -> Result<Needs<KeyEntry>, KmsError> {
        let mut needs = Needs::named::<Self>(view, &self.key_id, Aliases::Refused)?;
        let home = in_region(&needs.target.arn.home, &self.replica_region);
        let tagged = tagged(&self.tags, &home);
        needs.accesses.push(Access {
            action: Action::of::<CreateKeyRequest>(),
            resource: Resource::Account(home),
        });
        needs.accesses.extend(tagged);
        Ok(needs)
    }

    fn run(self, key: KeyEntry, view: &View<'_>) -> Result<Done<ReplicateKeyResponse>, KmsError> {
        if !key.record.multi_region {
            return Err(not_primary(&key));
        }
        is_primary(&key)?;
        usable(&key)?;
        let home = in_region(&key.arn.home, &self.replica_region);
        let arn = home.key_arn(key.arn.id.clone());
        let mut siblings = view.siblings(&key.arn)?.into_iter();
        if arn == *key.arn || siblings.any(|sibling| *sibling.arn == arn) {
            return Err(KmsError::new(
                ErrorCode::AlreadyExists,
                format!("The key {arn} already exists."),
            ));
        }
        if let Some(policy) = &self.policy {
            let bypass = self.bypass_policy_lockout_safety_check;
            acceptable(view, &arn, policy, bypass.unwrap_or(false))?;
        }
        let given = (self.policy, self.description, self.tags);
        let record = replica(view, &key, &home, given)?;
        let mut told = metadata(view, &arn, &record)?;
        // It can be used once this is answered; AWS takes its time, and says so.
        told.key_state = "Creating".to_owned();
        told.enabled = false;
        told.current_key_material_id = None;
        told.multi_region_configuration = with_replica(told.multi_region_configuration, &arn);
        let default = || default_key_policy(&home.partition, &home.account);
        let mut done = Done::read(ReplicateKeyResponse {
            replica_policy: record.policy.clone().unwrap_or_else(default),
            replica_tags: tags::listed(&record),
            replica_key_metadata: told.clone(),
        });
        done.response_elements = Some(json!({ "replicaKeyMetadata": logged(&told) }));
        done.changes = vec![put(
            key_document(&home.region, &arn.id),
            Expect::Absent,
            &record,
        )?];
        for (version, material) in (1..).zip(&record.materials) {
            if material.is_here() {
                let own = view.material(&key.arn, version)?;
                let copy = SecretBytes::copy_of(own.expose());
                done.changes.push(material_row(&arn, version, copy));
            }
        }
        done.created = Some(arn);
        Ok(done)
    }
}

/// The record of a new replica. Imported material must be imported again, the same.
fn replica(
    view: &View<'_>,
    key: &KeyEntry,
    home: &Home,
    (policy, description, given): (Option<String>, Option<String>, Vec<Tag>),
) -> Result<KeyRecord, KmsError> {
    let mut record = KeyRecord {
        region: home.region.clone(),
        account: home.account.clone(),
        created: view.seconds(),
        description: description.unwrap_or_default(),
        state: KeyState::Enabled,
        policy,
        deletion: None,
        deletion_days: None,
        primary_region: Some(key.arn.home.region.clone()),
        tags: tags::added(Default::default(), given)?,
        ..KeyRecord::clone(&key.record)
    };
    if record.origin == EXTERNAL {
        record.state = KeyState::PendingImport;
        // What waits for a rotation is none of the replica's yet, and goes first.
        for version in (1..=record.materials.len()).rev() {
            // A version by its type.
            record.lose(version as u32);
        }
    }
    Ok(record)
}

/// What is said of a key's Regions once there is one more.
fn with_replica(
    configuration: Option<MultiRegionConfiguration>,
    arn: &waxseal_core::KeyArn,
) -> Option<MultiRegionConfiguration> {
    let mut configuration = configuration?;
    let (own, region) = (arn.to_string(), arn.home.region.clone());
    configuration.replica_keys.retain(|key| key.arn != own);
    configuration
        .replica_keys
        .push(MultiRegionKey { arn: own, region });
    Some(configuration)
}

impl Perform for UpdatePrimaryRegionRequest {
    type Target = (KeyEntry, KeyEntry);
    const MUTATES: bool = true;

    fn needs(&self, view: &View<'_>) -> Result<Needs<(KeyEntry, KeyEntry)>, KmsError> {
        let Needs {
            target: primary,
            mut accesses,
        } = Needs::named::<Self>(view, &self.key_id, Aliases::Refused)?;
        let home = in_region(&primary.arn.home, &self.primary_region);
        let arn = home.key_arn(primary.arn.id.clone());
        let mut siblings = view.siblings(&primary.arn)?.into_iter();
        let next = match arn == *primary.arn {
            true => Some(primary.clone()),
            false => siblings.find(|sibling| *sibling.arn == arn),
        };
        let next = next.ok_or_else(|| {
            KmsError::new(ErrorCode::NotFound, format!("Key '{arn}' does not exist"))
        })?;
        accesses.push(Access {
            action: Action::of::<Self>(),
            resource: Resource::key(&next),
        });
        Ok(Needs {
            target: (primary, next),
            accesses,
        })
    }

    fn run(
        self,
        (primary, next): (KeyEntry, KeyEntry),
        view: &View<'_>,
    ) -> Result<Done<Empty>, KmsError> {
        if !primary.record.multi_region {
            return Err(not_primary(&primary));
        }
        is_primary(&primary)?;
        usable(&primary)?;
        usable(&next)?;
        if primary.arn == next.arn {
            return Err(invalid(
                "The key is the primary key in that Region already.",
            ));
        }
        let region = &next.arn.home.region;
        let mut done = Done::read(Empty {});
        let siblings = view.siblings(&primary.arn)?;
        for key in siblings.iter().chain([&primary]) {
            let own = &key.arn.home.region;
            let elsewhere = (own != region).then(|| region.clone());
            let change = changed(key, |record| record.primary_region = elsewhere)?;
            done.changes.extend(change.changes);
        }
        Ok(done)
    }
}

fn in_region(home: &Home, region: &str) -> Home {
    Home {
        region: region.to_owned(),
        ..home.clone()
    }
}
