//! RotateKeyOnDemand and ListKeyRotations.

use super::{Needs, Perform, paginate, put, usable};
use crate::engine::{Aliases, KeyEntry, View, internal};
use crate::model::{KeyRecord, MaterialKind, MaterialRecord, key_document, material_document};
use crate::request::{Change, Done};
use crate::store::Expect;
use serde_json::{Value, json};
use waxseal_core::crypto::kdf;
use waxseal_core::{KeyArn, SecretBytes};
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::Timestamp;
use waxseal_kms_api::{ErrorCode, KmsError};

/// How often a key may be rotated on demand (KMS quotas).
pub(super) const ROTATIONS_ON_DEMAND_MAX: usize = 25;

const MATERIAL_ID_LABEL: &[u8] = b"waxseal-kms/material-id/1";

impl Perform for RotateKeyOnDemandRequest {
    type Target = KeyEntry;
    const MUTATES: bool = true;

    fn parameters(&self) -> Value {
        json!({ "keyId": self.key_id })
    }

    fn needs(&self, view: &View<'_>) -> Result<Needs<KeyEntry>, KmsError> {
        Needs::named::<Self>(view, &self.key_id, Aliases::Refused)
    }

    fn run(
        self,
        key: KeyEntry,
        view: &View<'_>,
    ) -> Result<Done<RotateKeyOnDemandResponse>, KmsError> {
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
        let version = key.record.current_version() + 1;
        let material = new_material(view, &key.arn, version, MaterialKind::OnDemand)?;
        let mut record = KeyRecord::clone(&key.record);
        record.materials.push(material.record);
        let expect = Expect::Revision(key.revision);
        let mut done = Done::read(RotateKeyOnDemandResponse {
            key_id: key.arn.to_string(),
        });
        done.response_elements = Some(json!({ "keyId": key.arn.to_string() }));
        done.changes = vec![
            put(
                key_document(&key.arn.home.region, &key.arn.id),
                expect,
                &record,
            )?,
            material.change,
        ];
        Ok(done)
    }
}

impl Perform for ListKeyRotationsRequest {
    type Target = KeyEntry;
    const MUTATES: bool = false;

    fn parameters(&self) -> Value {
        json!({ "keyId": self.key_id, "limit": self.limit, "marker": self.marker })
    }

    fn needs(&self, view: &View<'_>) -> Result<Needs<KeyEntry>, KmsError> {
        Needs::named::<Self>(view, &self.key_id, Aliases::Refused)
    }

    fn run(self, key: KeyEntry, _: &View<'_>) -> Result<Done<ListKeyRotationsResponse>, KmsError> {
        let all = self.include_key_material == Some(IncludeKeyMaterial::AllKeyMaterial);
        let current = key.record.materials.len();
        let entries = key
            .record
            .materials
            .iter()
            .enumerate()
            .map(|(at, material)| {
                let entry = RotationsListEntry {
                    key_id: key.record.id.clone(),
                    key_material_id: material.material_id.clone(),
                    key_material_state: if at + 1 == current {
                        "CURRENT"
                    } else {
                        "NON_CURRENT"
                    }
                    .to_owned(),
                    rotation_date: (at > 0).then_some(Timestamp(material.since)),
                    rotation_type: (at > 0).then(|| "ON_DEMAND".to_owned()),
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

/// A fresh backing key: what is said of it in the key's record, and the row that holds it.
pub(super) struct NewMaterial {
    pub(super) record: MaterialRecord,
    pub(super) change: Change,
}

/// Makes version `version` of a key. The material id is derived from the material, so that
/// it also tells whether a material is the one it is taken for.
pub(super) fn new_material(
    view: &View<'_>,
    key: &KeyArn,
    version: u32,
    kind: MaterialKind,
) -> Result<NewMaterial, KmsError> {
    let mut backing_key = SecretBytes::zeroed(32);
    view.entropy()
        .fill(backing_key.expose_mut())
        .map_err(internal)?;
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
