//! Rotation: on demand, at intervals, and the list of what there was.

use super::keys::changed;
use super::{Perform, one_key, paginate, put, spec, unsupported, usable};
use crate::engine::{KeyEntry, View, internal};
use crate::model::{
    KeyRecord, KeyState, MaterialKind, MaterialRecord, RotationRecord, key_document,
    material_document,
};
use crate::request::{Change, Done};
use crate::spec::Spec;
use crate::store::Expect;
use serde_json::json;
use waxseal_core::KeyArn;
use waxseal_core::crypto::kdf;
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::Timestamp;
use waxseal_kms_api::{ErrorCode, KmsError};

/// How often a key may be rotated on demand (KMS quotas).
pub(super) const ROTATIONS_ON_DEMAND_MAX: usize = 25;

/// Days between rotations, when no other number is given.
const ROTATION_DAYS_DEFAULT: i64 = 365;

const MATERIAL_ID_LABEL: &[u8] = b"waxseal-kms/material-id/1";

impl Perform for RotateKeyOnDemandRequest {
    one_key!(changed);

    fn run(
        self,
        key: KeyEntry,
        view: &View<'_>,
    ) -> Result<Done<RotateKeyOnDemandResponse>, KmsError> {
        rotates(&key)?;
        usable(&key)?;
        let so_far = key
            .record
            .materials
            .iter()
            .filter(|m| m.kind == MaterialKind::OnDemand)
            .count();
        if so_far >= ROTATIONS_ON_DEMAND_MAX {
            return Err(KmsError::new(
                ErrorCode::LimitExceeded,
                format!(
                    "{} was rotated on demand {so_far} times; that is the limit.",
                    key.arn
                ),
            ));
        }
        let changes = rotated(view, &key, MaterialKind::OnDemand)?;
        let mut done = Done::read(RotateKeyOnDemandResponse {
            key_id: key.arn.to_string(),
        });
        done.response_elements = Some(json!({ "keyId": key.arn.to_string() }));
        done.changes = changes;
        Ok(done)
    }
}

impl Perform for ListKeyRotationsRequest {
    one_key!(listed);

    fn run(self, key: KeyEntry, _: &View<'_>) -> Result<Done<ListKeyRotationsResponse>, KmsError> {
        rotates(&key)?;
        let all = self.include_key_material.as_deref() == Some("ALL_KEY_MATERIAL");
        let current = key.record.materials.len();
        let entries = key
            .record
            .materials
            .iter()
            .enumerate()
            .map(|(at, material)| {
                let state = match at + 1 == current {
                    true => "CURRENT",
                    false => "NON_CURRENT",
                };
                let kind = match material.kind {
                    MaterialKind::Automatic => "AUTOMATIC",
                    MaterialKind::Created | MaterialKind::OnDemand => "ON_DEMAND",
                };
                let entry = RotationsListEntry {
                    key_id: key.record.id.clone(),
                    key_material_id: material.material_id.clone(),
                    key_material_state: state.to_owned(),
                    rotation_date: (at > 0).then_some(Timestamp(material.since)),
                    rotation_type: (at > 0).then(|| kind.to_owned()),
                    ..RotationsListEntry::default()
                };
                (format!("{at:08}"), entry)
            });
        let wanted = entries.skip(usize::from(!all)).collect();
        let marker = self.marker.as_deref();
        let (page, next_marker) = paginate(wanted, |(at, _)| at.clone(), marker, self.limit, 100);
        Ok(Done::read(ListKeyRotationsResponse {
            rotations: page.into_iter().map(|(_, entry)| entry).collect(),
            truncated: next_marker.is_some(),
            next_marker,
        }))
    }
}

impl Perform for EnableKeyRotationRequest {
    one_key!(changed);

    fn run(self, key: KeyEntry, view: &View<'_>) -> Result<Done<Empty>, KmsError> {
        rotates(&key)?;
        usable(&key)?;
        let so_far = key.record.rotation;
        let days = self.rotation_period_in_days;
        let days = days.or(so_far.map(|rotation| rotation.days));
        let days = days.unwrap_or(ROTATION_DAYS_DEFAULT);
        if so_far.is_some_and(|rotation| rotation.days == days) {
            return Ok(Done::read(Empty {}));
        }
        let since = view.seconds();
        changed(&key, |record| {
            record.rotation = Some(RotationRecord { days, since });
        })
    }
}

impl Perform for DisableKeyRotationRequest {
    one_key!(changed);

    fn run(self, key: KeyEntry, _: &View<'_>) -> Result<Done<Empty>, KmsError> {
        rotates(&key)?;
        usable(&key)?;
        if key.record.rotation.is_none() {
            return Ok(Done::read(Empty {}));
        }
        changed(&key, |record| record.rotation = None)
    }
}

impl Perform for GetKeyRotationStatusRequest {
    one_key!(listed);

    fn run(
        self,
        key: KeyEntry,
        _: &View<'_>,
    ) -> Result<Done<GetKeyRotationStatusResponse>, KmsError> {
        rotates(&key)?;
        // While its deletion is pending, a key is not rotated.
        let stays = key.record.state != KeyState::PendingDeletion;
        let rotation = key.record.rotation.filter(|_| stays);
        let next = key.record.next_rotation().filter(|_| stays);
        Ok(Done::read(GetKeyRotationStatusResponse {
            key_rotation_enabled: rotation.is_some(),
            key_id: key.record.id.clone(),
            rotation_period_in_days: rotation.map(|rotation| rotation.days),
            next_rotation_date: next.map(Timestamp),
            on_demand_rotation_start_date: None,
        }))
    }
}

/// Refuses a key that has one material for ever.
fn rotates(key: &KeyEntry) -> Result<(), KmsError> {
    match spec(key)?.is_symmetric() {
        true => Ok(()),
        false => Err(unsupported()),
    }
}

/// The changes that give a key new material.
pub(crate) fn rotated(
    view: &View<'_>,
    key: &KeyEntry,
    kind: MaterialKind,
) -> Result<Vec<Change>, KmsError> {
    let version = key.record.current_version() + 1;
    let material = new_material(view, spec(key)?, &key.arn, version, kind)?;
    let mut record = KeyRecord::clone(&key.record);
    record.materials.push(material.record);
    let expect = Expect::Revision(key.revision);
    let document = key_document(&key.arn.home.region, &key.arn.id);
    Ok(vec![put(document, expect, &record)?, material.change])
}

/// A fresh backing key: what is said of it in the key's record, and the row that holds it.
pub(super) struct NewMaterial {
    pub(super) record: MaterialRecord,
    pub(super) change: Change,
}

/// Makes version `version` of a key. The material id is derived from the material, so that
/// it also tells whether a material is the one it is taken for.
pub(super) fn new_material(
    view: &View<'_>,
    spec: &Spec,
    key: &KeyArn,
    version: u32,
    kind: MaterialKind,
) -> Result<NewMaterial, KmsError> {
    let backing_key = spec.new_material(view.entropy())?;
    let mut material_id = [0; 32];
    let context = [key.id.as_str().as_bytes()];
    kdf::sp800_108(
        backing_key.expose(),
        MATERIAL_ID_LABEL,
        &context,
        &mut material_id,
    )
    .map_err(internal)?;
    let record = MaterialRecord {
        material_id: hex::encode(material_id),
        since: view.seconds(),
        kind,
    };
    let key = material_document(&key.home.region, &key.id, version);
    let change = Change {
        key,
        expect: Expect::Absent,
        body: Some(backing_key),
    };
    Ok(NewMaterial { record, change })
}
