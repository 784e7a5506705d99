//! CreateKey, DescribeKey, ListKeys, EnableKey, DisableKey, UpdateKeyDescription.

use super::{Needs, Perform, invalid, one_key, paginate, put, stays, unsupported, usable};
use crate::engine::{KeyEntry, View};
use crate::model::{KeyRecord, KeyState, MaterialKind, key_document};
use crate::op::policies::acceptable;
use crate::op::rotation::new_material;
use crate::op::tags;
use crate::request::Done;
use crate::spec::{self, Spec};
use crate::store::Expect;
use serde_json::{Value, json};
use waxseal_core::KeyArn;
use waxseal_kms_api::model::Shape as _;
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::Timestamp;
use waxseal_kms_api::{ErrorCode, KmsError};

impl Perform for CreateKeyRequest {
    type Target = ();
    const MUTATES: bool = true;

    fn needs(&self, view: &View<'_>) -> Result<Needs<()>, KmsError> {
        Ok(Needs::account::<Self>(view))
    }

    fn run(self, (): (), view: &View<'_>) -> Result<Done<CreateKeyResponse>, KmsError> {
        let (spec, usage) = spec_and_usage(&self)?;
        let is_multi_region = self.multi_region.unwrap_or(false);
        refuse_what_is_not_here(&self)?;
        let id = view.new_key_id(is_multi_region)?;
        let arn = view.home().key_arn(id.clone());
        if let Some(policy) = &self.policy {
            let bypass = self.bypass_policy_lockout_safety_check;
            acceptable(view, &arn, policy, bypass.unwrap_or(false))?;
        }
        let material = new_material(view, spec, &arn, 1, MaterialKind::Created)?;
        let record = KeyRecord {
            id: id.to_string(),
            region: view.home().region.clone(),
            account: view.home().account.clone(),
            created: view.seconds(),
            description: self.description.unwrap_or_default(),
            state: KeyState::Enabled,
            spec: spec.name.to_owned(),
            usage: usage.to_owned(),
            policy: self.policy,
            deletion: None,
            rotation: None,
            multi_region: is_multi_region,
            tags: tags::added(Default::default(), self.tags)?,
            materials: vec![material.record],
        };
        let metadata = metadata(&arn, &record);
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
    one_key!(shown);

    fn run(self, key: KeyEntry, _: &View<'_>) -> Result<Done<DescribeKeyResponse>, KmsError> {
        Ok(Done::read(DescribeKeyResponse {
            key_metadata: metadata(&key.arn, &key.record),
        }))
    }
}

impl Perform for ListKeysRequest {
    type Target = ();
    const MUTATES: bool = false;

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
    one_key!(changed);

    fn run(self, key: KeyEntry, _: &View<'_>) -> Result<Done<Empty>, KmsError> {
        with_state(&key, KeyState::Enabled)
    }
}

impl Perform for DisableKeyRequest {
    one_key!(changed);

    fn run(self, key: KeyEntry, _: &View<'_>) -> Result<Done<Empty>, KmsError> {
        with_state(&key, KeyState::Disabled)
    }
}

impl Perform for UpdateKeyDescriptionRequest {
    one_key!(changed);

    fn run(self, key: KeyEntry, _: &View<'_>) -> Result<Done<Empty>, KmsError> {
        stays(&key)?;
        changed(&key, |record| record.description = self.description)
    }
}

fn with_state(key: &KeyEntry, state: KeyState) -> Result<Done<Empty>, KmsError> {
    if key.record.state == state {
        return Ok(Done::read(Empty {}));
    }
    if !matches!(key.record.state, KeyState::Enabled | KeyState::Disabled) {
        usable(key)?;
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

/// Spec and usage of a new key.
fn spec_and_usage(request: &CreateKeyRequest) -> Result<(&'static Spec, &'static str), KmsError> {
    let name = match (&request.key_spec, &request.customer_master_key_spec) {
        (Some(_), Some(_)) => {
            return Err(invalid(
                "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. \
                 CustomerMasterKeySpec is deprecated.",
            ));
        }
        (Some(name), None) | (None, Some(name)) => name.as_str(),
        (None, None) => SYMMETRIC_DEFAULT,
    };
    let spec = Spec::of(name).ok_or_else(unsupported)?;
    let usage = match &request.key_usage {
        Some(usage) => usage.as_str(),
        None if spec.is_symmetric() => spec::ENCRYPT_DECRYPT,
        None => {
            return Err(invalid(
                "You must specify a KeyUsage value for all KMS keys except for symmetric \
                 encryption keys.",
            ));
        }
    };
    let found = spec.usages.iter().find(|(name, _)| *name == usage);
    let (usage, _) = found.ok_or_else(|| {
        invalid(format!(
            "KeyUsage {usage} is not compatible with KeySpec {name}"
        ))
    })?;
    Ok((spec, usage))
}

/// Key stores and imported material are not here yet.
fn refuse_what_is_not_here(request: &CreateKeyRequest) -> Result<(), KmsError> {
    let origin = request.origin.as_deref().unwrap_or("AWS_KMS");
    if origin != "AWS_KMS" || request.xks_key_id.is_some() {
        return Err(KmsError::new(
            ErrorCode::UnsupportedOperation,
            format!("Keys of origin {origin} are not supported here."),
        ));
    }
    if let Some(store) = &request.custom_key_store_id {
        return Err(KmsError::new(
            ErrorCode::CustomKeyStoreNotFound,
            format!("Custom key store {store} is not found."),
        ));
    }
    Ok(())
}

/// What may be told of a key.
pub(crate) fn metadata(arn: &KeyArn, record: &KeyRecord) -> KeyMetadata {
    let algorithms = |usage: &str| -> Vec<String> {
        let spec = Spec::of(&record.spec).filter(|_| record.usage == usage);
        let names = spec.map(|spec| spec.algorithms(usage)).unwrap_or_default();
        names.iter().map(|name| (*name).to_owned()).collect()
    };
    let is_symmetric = record.spec == SYMMETRIC_DEFAULT;
    let current = record.materials.last().filter(|_| is_symmetric);
    KeyMetadata {
        aws_account_id: arn.home.account.clone(),
        key_id: record.id.clone(),
        arn: arn.to_string(),
        creation_date: Timestamp(record.created),
        enabled: record.state == KeyState::Enabled,
        description: record.description.clone(),
        key_usage: record.usage.clone(),
        key_state: record.state.name().to_owned(),
        deletion_date: record.deletion.map(Timestamp),
        origin: "AWS_KMS".to_owned(),
        key_manager: "CUSTOMER".to_owned(),
        customer_master_key_spec: record.spec.clone(),
        key_spec: record.spec.clone(),
        encryption_algorithms: algorithms(spec::ENCRYPT_DECRYPT),
        signing_algorithms: algorithms(spec::SIGN_VERIFY),
        key_agreement_algorithms: algorithms(spec::KEY_AGREEMENT),
        encapsulation_algorithms: algorithms(spec::ENCAPSULATE_DECAPSULATE),
        mac_algorithms: algorithms(spec::GENERATE_VERIFY_MAC),
        multi_region: record.multi_region,
        multi_region_configuration: record.multi_region.then(|| MultiRegionConfiguration {
            multi_region_key_type: "PRIMARY".to_owned(),
            primary_key: MultiRegionKey {
                arn: arn.to_string(),
                region: arn.home.region.clone(),
            },
            replica_keys: Vec::new(),
        }),
        current_key_material_id: current.map(|material| material.material_id.clone()),
        ..KeyMetadata::default()
    }
}

/// As CloudTrail has it: names in its own spelling.
fn response_elements(metadata: &KeyMetadata) -> Value {
    let mut named = metadata.logged();
    // CloudTrail dates are texts; this one is the event's own time.
    named.remove("creationDate");
    json!({ "keyMetadata": named })
}
