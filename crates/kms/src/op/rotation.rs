//! Rotation: on demand, at intervals, and the list of what there was.

use super::keys::{changed_everywhere, kept};
use super::{Perform, is_primary, of_origin, one_key, paginate, spec, unsupported, usable};
use crate::engine::{KeyEntry, View, internal};
use crate::model::{
    AWS_KMS, EXTERNAL, ImportRecord, KeyRecord, KeyState, MaterialKind, MaterialRecord,
    RotationRecord, material_document,
};
use crate::request::{Change, Done};
use crate::spec::Spec;
use crate::store::Expect;
use serde_json::json;
use std::cmp::Ordering;
use waxseal_core::crypto::kdf;
use waxseal_core::{KeyArn, SecretBytes};
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
        usable(&key)?;
        rotates(&key)?;
        is_primary(&key)?;
        let materials = key.record.materials.iter();
        let used = materials.take(key.record.current_version() as usize);
        let on_demand = used.filter(|material| material.kind == MaterialKind::OnDemand);
        if on_demand.count() >= ROTATIONS_ON_DEMAND_MAX {
            return Err(KmsError::new(
                ErrorCode::LimitExceeded,
                format!(
                    "The on-demand rotations limit has been reached for the given keyId. No more \
                     on-demand rotations can be performed for this key: {}",
                    key.arn
                ),
            ));
        }
        let changes = match key.record.origin.as_str() {
            EXTERNAL => to_pending(view, &key)?,
            _ => rotated(view, &key, MaterialKind::OnDemand)?,
        };
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

    fn run(
        self,
        key: KeyEntry,
        view: &View<'_>,
    ) -> Result<Done<ListKeyRotationsResponse>, KmsError> {
        rotates(&key)?;
        let pending = match is_pending_everywhere(view, &key)? {
            true => "PENDING_ROTATION",
            false => "PENDING_MULTI_REGION_IMPORT_AND_ROTATION",
        };
        let all = self.include_key_material.as_deref() == Some("ALL_KEY_MATERIAL");
        let current = key.record.current_version() as usize;
        let entries = key
            .record
            .materials
            .iter()
            .enumerate()
            .map(|(at, material)| {
                let state = match (at + 1).cmp(&current) {
                    Ordering::Equal => "CURRENT",
                    Ordering::Less => "NON_CURRENT",
                    Ordering::Greater => pending,
                };
                let import = material.import.as_ref();
                let here = import.filter(|import| import.is_here);
                let is_in_use = at > 0 && at < current;
                let kind = match material.kind {
                    MaterialKind::Automatic => "AUTOMATIC",
                    MaterialKind::Created | MaterialKind::OnDemand => "ON_DEMAND",
                };
                let entry = RotationsListEntry {
                    key_id: key.record.id.clone(),
                    key_material_id: material.material_id.clone(),
                    key_material_state: state.to_owned(),
                    key_material_description: import.and_then(|import| import.description.clone()),
                    import_state: import.map(|import| {
                        let state = if import.is_here {
                            "IMPORTED"
                        } else {
                            "PENDING_IMPORT"
                        };
                        state.to_owned()
                    }),
                    expiration_model: here.map(|import| expiration(import).to_owned()),
                    valid_to: material.valid_to().map(Timestamp),
                    rotation_date: is_in_use.then_some(Timestamp(material.since)),
                    rotation_type: is_in_use.then(|| kind.to_owned()),
                };
                (format!("{at:08}"), entry)
            });
        let wanted = entries.skip(usize::from(!all)).collect();
        let marker = self.marker.as_deref();
        let page = paginate(wanted, |(at, _)| at.clone(), marker, self.limit, 100)?;
        Ok(Done::read(ListKeyRotationsResponse {
            rotations: page.items.into_iter().map(|(_, entry)| entry).collect(),
            truncated: page.next.is_some(),
            next_marker: page.next,
        }))
    }
}

impl Perform for EnableKeyRotationRequest {
    one_key!(changed);

    fn run(self, key: KeyEntry, view: &View<'_>) -> Result<Done<Empty>, KmsError> {
        rotates_by_itself(&key)?;
        let so_far = key.record.rotation;
        let days = self.rotation_period_in_days;
        let days = days.or(so_far.map(|rotation| rotation.days));
        let days = days.unwrap_or(ROTATION_DAYS_DEFAULT);
        if so_far.is_some_and(|rotation| rotation.days == days) {
            return Ok(Done::read(Empty {}));
        }
        let since = view.seconds();
        changed_everywhere(view, &key, |record| {
            record.rotation = Some(RotationRecord { days, since });
        })
    }
}

impl Perform for DisableKeyRotationRequest {
    one_key!(changed);

    fn run(self, key: KeyEntry, view: &View<'_>) -> Result<Done<Empty>, KmsError> {
        rotates_by_itself(&key)?;
        if key.record.rotation.is_none() {
            return Ok(Done::read(Empty {}));
        }
        changed_everywhere(view, &key, |record| record.rotation = None)
    }
}

impl Perform for GetKeyRotationStatusRequest {
    one_key!(listed);

    fn run(
        self,
        key: KeyEntry,
        _: &View<'_>,
    ) -> Result<Done<GetKeyRotationStatusResponse>, KmsError> {
        // Of a key that never rotates it is no error to ask; while its deletion is pending, no key
        // does.
        let stays = key.record.state != KeyState::PendingDeletion;
        let rotation = key.record.rotation.filter(|_| stays);
        let next = key.record.next_rotation().filter(|_| stays);
        Ok(Done::read(GetKeyRotationStatusResponse {
            key_rotation_enabled: rotation.is_some(),
            key_id: key.arn.to_string(),
            rotation_period_in_days: rotation.map(|rotation| rotation.days),
            next_rotation_date: next.map(Timestamp),
            on_demand_rotation_start_date: None,
        }))
    }
}

/// Refuses a key that has one material for ever: key pairs, keys for MACs, keys in devices.
fn rotates(key: &KeyEntry) -> Result<(), KmsError> {
    match spec(key)?.is_symmetric() && !key.record.is_hosted() {
        true => Ok(()),
        false => Err(unsupported()),
    }
}

/// Refuses a key that is not rotated at intervals.
fn rotates_by_itself(key: &KeyEntry) -> Result<(), KmsError> {
    usable(key)?;
    rotates(key)?;
    of_origin(key, AWS_KMS)?;
    is_primary(key)
}

/// The changes that take the imported material into use that waits for it, in every Region.
fn to_pending(view: &View<'_>, key: &KeyEntry) -> Result<Vec<Change>, KmsError> {
    if key.record.pending().is_none() || !is_pending_everywhere(view, key)? {
        return Err(KmsError::new(
            ErrorCode::InvalidState,
            format!(
                "No available key material pending rotation for the key: {}.",
                key.arn
            ),
        ));
    }
    let siblings = view.siblings(&key.arn)?;
    let all = siblings.iter().chain([key]);
    all.map(|key| {
        let mut record = KeyRecord::clone(&key.record);
        record.is_last_pending = false;
        if let Some(material) = record.materials.last_mut() {
            material.since = view.seconds();
            material.kind = MaterialKind::OnDemand;
        }
        kept(key, &record)
    })
    .collect()
}

/// Whether what is pending in one Region is pending in all where the key is.
fn is_pending_everywhere(view: &View<'_>, key: &KeyEntry) -> Result<bool, KmsError> {
    let id = |record: &KeyRecord| {
        let pending = record.pending();
        pending.map(|material| material.material_id.clone())
    };
    let own = id(&key.record);
    let mut siblings = view.siblings(&key.arn)?.into_iter();
    Ok(siblings.all(|sibling| id(&sibling.record) == own))
}

/// The changes that give a key new material, in every Region where it is.
pub(crate) fn rotated(
    view: &View<'_>,
    key: &KeyEntry,
    kind: MaterialKind,
) -> Result<Vec<Change>, KmsError> {
    let version = key.record.current_version() + 1;
    let made = new_material(view, spec(key)?, &key.arn, kind)?;
    let mut changes = Vec::new();
    for sibling in view.siblings(&key.arn)? {
        let copy = SecretBytes::copy_of(made.bytes.expose());
        changes.push(material_row(&sibling.arn, version, copy));
        changes.push(with_material(&sibling, made.record.clone())?);
    }
    changes.push(with_material(key, made.record)?);
    changes.push(material_row(&key.arn, version, made.bytes));
    Ok(changes)
}

fn with_material(key: &KeyEntry, material: MaterialRecord) -> Result<Change, KmsError> {
    let mut record = KeyRecord::clone(&key.record);
    record.materials.push(material);
    kept(key, &record)
}

/// The row of a material. It is written once.
pub(crate) fn material_row(key: &KeyArn, version: u32, material: SecretBytes) -> Change {
    Change {
        key: material_document(&key.home.region, &key.id, version),
        expect: Expect::Absent,
        body: Some(material),
    }
}

/// Whether imported material expires, as the service model says it.
pub(super) fn expiration(import: &ImportRecord) -> &'static str {
    match import.valid_to {
        Some(_) => "KEY_MATERIAL_EXPIRES",
        None => "KEY_MATERIAL_DOES_NOT_EXPIRE",
    }
}

/// A fresh backing key, and what is said of it in the key's record.
pub(super) struct NewMaterial {
    pub(super) record: MaterialRecord,
    pub(super) bytes: SecretBytes,
}

/// Makes a material for a key.
fn new_material(
    view: &View<'_>,
    spec: &Spec,
    key: &KeyArn,
    kind: MaterialKind,
) -> Result<NewMaterial, KmsError> {
    of_bytes(view, key, kind, spec.new_material(view.entropy())?)
}

/// A material for a key that is made already.
pub(super) fn of_bytes(
    view: &View<'_>,
    key: &KeyArn,
    kind: MaterialKind,
    bytes: SecretBytes,
) -> Result<NewMaterial, KmsError> {
    let record = MaterialRecord {
        material_id: material_id(key, &bytes)?,
        since: view.seconds(),
        kind,
        import: None,
    };
    Ok(NewMaterial { record, bytes })
}

/// The id of a material is derived from it, so that it also tells whether a material is the one it
/// is taken for.
pub(crate) fn material_id(key: &KeyArn, material: &SecretBytes) -> Result<String, KmsError> {
    let mut id = [0; 32];
    let context = [key.id.as_str().as_bytes()];
    kdf::sp800_108(material.expose(), MATERIAL_ID_LABEL, &context, &mut id).map_err(internal)?;
    Ok(hex::encode(id))
}
