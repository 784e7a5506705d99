//! CreateKey, DescribeKey, ListKeys, EnableKey, DisableKey, UpdateKeyDescription.

use super::{Needs, Perform, paginate, put};
use crate::engine::{Aliases, KeyEntry, View};
use crate::model::{KeyRecord, KeyState, MaterialKind, key_document};
use crate::op::rotation::new_material;
use crate::op::tags;
use crate::request::Done;
use crate::store::Expect;
use serde_json::{Value, json};
use waxseal_core::arn::Home;
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::Timestamp;
use waxseal_kms_api::{ErrorCode, KmsError};

const ENCRYPT_DECRYPT: &str = "ENCRYPT_DECRYPT";

impl Perform for CreateKeyRequest {
    type Target = ();
    const MUTATES: bool = true;

    fn parameters(&self) -> Value {
        json!({
            "description": self.description,
            "keySpec": self.key_spec.as_deref().unwrap_or(SYMMETRIC_DEFAULT),
            "keyUsage": self.key_usage.as_deref().unwrap_or(ENCRYPT_DECRYPT),
            "tags": self.tags.iter()
                .map(|tag| json!({ "tagKey": tag.tag_key, "tagValue": tag.tag_value }))
                .collect::<Vec<_>>(),
        })
    }

    fn needs(&self, view: &View<'_>) -> Result<Needs<()>, KmsError> {
        Ok(Needs::account::<Self>(view))
    }

    fn run(self, (): (), view: &View<'_>) -> Result<Done<CreateKeyResponse>, KmsError> {
        supported("KeySpec", self.key_spec.as_deref(), SYMMETRIC_DEFAULT)?;
        supported("KeyUsage", self.key_usage.as_deref(), ENCRYPT_DECRYPT)?;
        let id = view.new_key_id()?;
        let arn = view.home().key_arn(id.clone());
        let material = new_material(view, &arn, 1, MaterialKind::Created)?;
        let record = KeyRecord {
            id: id.to_string(),
            region: view.home().region.clone(),
            account: view.home().account.clone(),
            created: view.seconds(),
            description: self.description,
            state: KeyState::Enabled,
            tags: tags::added(Default::default(), self.tags)?,
            materials: vec![material.record],
        };
        let metadata = metadata(view.home(), &record);
        let mut done = Done::read(CreateKeyResponse {
            key_metadata: metadata.clone(),
        });
        done.response_elements = Some(response_elements(&metadata));
        done.created = Some(arn);
        done.changes = vec![
            put(
                key_document(&view.home().region, &id),
                Expect::Absent,
                &record,
            )?,
            material.change,
        ];
        Ok(done)
    }
}

impl Perform for DescribeKeyRequest {
    type Target = KeyEntry;
    const MUTATES: bool = false;

    fn parameters(&self) -> Value {
        json!({ "keyId": self.key_id })
    }

    fn needs(&self, view: &View<'_>) -> Result<Needs<KeyEntry>, KmsError> {
        Needs::named::<Self>(view, &self.key_id, Aliases::Allowed)
    }

    fn run(self, key: KeyEntry, _: &View<'_>) -> Result<Done<DescribeKeyResponse>, KmsError> {
        Ok(Done::read(DescribeKeyResponse {
            key_metadata: metadata(&key.arn.home, &key.record),
        }))
    }
}

impl Perform for ListKeysRequest {
    type Target = ();
    const MUTATES: bool = false;

    fn parameters(&self) -> Value {
        json!({ "limit": self.limit, "marker": self.marker })
    }

    fn needs(&self, view: &View<'_>) -> Result<Needs<()>, KmsError> {
        Ok(Needs::account::<Self>(view))
    }

    fn run(self, (): (), view: &View<'_>) -> Result<Done<ListKeysResponse>, KmsError> {
        let (keys, next_marker) = paginate(
            view.keys()?,
            |key| key.record.id.clone(),
            self.marker.as_deref(),
            self.limit,
            100,
        );
        let entry = |key: KeyEntry| KeyListEntry {
            key_id: key.record.id.clone(),
            key_arn: key.arn.to_string(),
        };
        Ok(Done::read(ListKeysResponse {
            keys: keys.into_iter().map(entry).collect(),
            truncated: next_marker.is_some(),
            next_marker,
        }))
    }
}

impl Perform for EnableKeyRequest {
    type Target = KeyEntry;
    const MUTATES: bool = true;

    fn parameters(&self) -> Value {
        json!({ "keyId": self.key_id })
    }

    fn needs(&self, view: &View<'_>) -> Result<Needs<KeyEntry>, KmsError> {
        Needs::named::<Self>(view, &self.key_id, Aliases::Refused)
    }

    fn run(self, key: KeyEntry, _: &View<'_>) -> Result<Done<Empty>, KmsError> {
        with_state(&key, KeyState::Enabled)
    }
}

impl Perform for DisableKeyRequest {
    type Target = KeyEntry;
    const MUTATES: bool = true;

    fn parameters(&self) -> Value {
        json!({ "keyId": self.key_id })
    }

    fn needs(&self, view: &View<'_>) -> Result<Needs<KeyEntry>, KmsError> {
        Needs::named::<Self>(view, &self.key_id, Aliases::Refused)
    }

    fn run(self, key: KeyEntry, _: &View<'_>) -> Result<Done<Empty>, KmsError> {
        with_state(&key, KeyState::Disabled)
    }
}

impl Perform for UpdateKeyDescriptionRequest {
    type Target = KeyEntry;
    const MUTATES: bool = true;

    fn parameters(&self) -> Value {
        json!({ "keyId": self.key_id, "description": self.description })
    }

    fn needs(&self, view: &View<'_>) -> Result<Needs<KeyEntry>, KmsError> {
        Needs::named::<Self>(view, &self.key_id, Aliases::Refused)
    }

    fn run(self, key: KeyEntry, _: &View<'_>) -> Result<Done<Empty>, KmsError> {
        changed(&key, |record| record.description = self.description)
    }
}

fn with_state(key: &KeyEntry, state: KeyState) -> Result<Done<Empty>, KmsError> {
    if key.record.state == state {
        return Ok(Done::read(Empty {}));
    }
    changed(key, |record| record.state = state)
}

/// A new revision of a key's record.
pub(super) fn changed(
    key: &KeyEntry,
    edit: impl FnOnce(&mut KeyRecord),
) -> Result<Done<Empty>, KmsError> {
    let mut record = KeyRecord::clone(&key.record);
    edit(&mut record);
    let mut done = Done::read(Empty {});
    done.changes = vec![put(
        key_document(&key.arn.home.region, &key.arn.id),
        Expect::Revision(key.revision),
        &record,
    )?];
    Ok(done)
}

/// What may be told of a key.
pub(crate) fn metadata(home: &Home, record: &KeyRecord) -> KeyMetadata {
    KeyMetadata {
        aws_account_id: home.account.clone(),
        key_id: record.id.clone(),
        arn: format!("{home}:key/{}", record.id),
        creation_date: Timestamp(record.created),
        enabled: record.state == KeyState::Enabled,
        description: record.description.clone(),
        key_usage: ENCRYPT_DECRYPT.to_owned(),
        key_state: record.state.name().to_owned(),
        origin: "AWS_KMS".to_owned(),
        key_manager: "CUSTOMER".to_owned(),
        customer_master_key_spec: SYMMETRIC_DEFAULT.to_owned(),
        key_spec: SYMMETRIC_DEFAULT.to_owned(),
        encryption_algorithms: vec![SYMMETRIC_DEFAULT.to_owned()],
        multi_region: false,
        current_key_material_id: record
            .materials
            .last()
            .map(|material| material.material_id.clone())
            .unwrap_or_default(),
    }
}

fn response_elements(metadata: &KeyMetadata) -> Value {
    json!({ "keyMetadata": {
        "aWSAccountId": metadata.aws_account_id,
        "keyId": metadata.key_id,
        "arn": metadata.arn,
        "enabled": metadata.enabled,
        "description": metadata.description,
        "keyUsage": metadata.key_usage,
        "keyState": metadata.key_state,
        "origin": metadata.origin,
        "keyManager": metadata.key_manager,
        "keySpec": metadata.key_spec,
        "encryptionAlgorithms": metadata.encryption_algorithms,
        "multiRegion": metadata.multi_region,
        "currentKeyMaterialId": metadata.current_key_material_id,
    }})
}

fn supported(member: &str, given: Option<&str>, only: &str) -> Result<(), KmsError> {
    match given {
        Some(given) if given != only => Err(KmsError::new(
            ErrorCode::UnsupportedOperation,
            format!("{member} {given} is not supported; the only one is {only}."),
        )),
        _ => Ok(()),
    }
}
