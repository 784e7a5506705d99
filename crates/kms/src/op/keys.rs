//! CreateKey, DescribeKey, ListKeys, EnableKey, DisableKey, UpdateKeyDescription.

use super::{
    Needs, PageAsked, Perform, hosted, invalid, one_key, put, stays, tagged, unsupported, usable,
};
use crate::engine::{KeyEntry, View};
use crate::making;
use crate::model::{
    AWS_CLOUDHSM, AWS_KMS, ConnectionState, EXTERNAL, KeyRecord, KeyState, MaterialKind,
    MaterialRecord, StoreRecord, key_document,
};
use crate::op::policies::acceptable;
use crate::op::rotation::{expiration, material_row, of_bytes};
use crate::op::stores;
use crate::op::tags;
use crate::request::{Change, Done};
use crate::spec::{self, Material, Spec};
use crate::store::Expect;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use waxseal_core::{KeyArn, KeyId, SecretBytes};
use waxseal_kms_api::KmsError;
use waxseal_kms_api::members::Members;
use waxseal_kms_api::model::Shape as _;
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::Timestamp;

impl Perform for CreateKeyRequest {
    type Target = ();
    const MUTATES: bool = true;
    const MAKES: bool = true;

    fn needs(&self, view: &View<'_>) -> Result<Needs<()>, KmsError> {
        let mut needs = Needs::account::<Self>(view);
        needs.accesses.extend(tagged(&self.tags, view.home()));
        Ok(needs)
    }

    fn made_ahead(&self, view: &View<'_>) -> Option<NewKey> {
        let id = new_id(self, view).ok()?;
        let plan = Plan::of(self, view, &id).ok()?;
        plan.takes_long().then(|| NewKey {
            made: making::in_turn(|| plan.made(view, &id)),
            id,
        })
    }

    fn run(self, (): (), view: &View<'_>) -> Result<Done<CreateKeyResponse>, KmsError> {
        let (id, made) = match view.ahead() {
            Some(NewKey { id, made }) => (id, Some(made)),
            None => (new_id(&self, view)?, None),
        };
        let plan = Plan::of(&self, view, &id)?;
        let made = made.unwrap_or_else(|| plan.made(view, &id))?;
        let arn = &plan.arn;
        let (materials, bytes) = match made {
            Made::Nothing => (None, None),
            Made::InDevice => (Some(in_device(view)), None),
            Made::Material(bytes) => {
                let made = of_bytes(view, arn, MaterialKind::Created, bytes)?;
                (Some(made.record), Some(made.bytes))
            }
        };
        let record = KeyRecord {
            description: self.description.unwrap_or_default(),
            state: match plan.origin {
                EXTERNAL => KeyState::PendingImport,
                _ => KeyState::Enabled,
            },
            policy: self.policy,
            origin: plan.origin.to_owned(),
            custom_key_store: plan.store.map(|store| store.id.clone()),
            tags: plan.tags,
            materials: materials.into_iter().collect(),
            ..KeyRecord::new(view.home(), &id, view.seconds(), plan.spec.name, plan.usage)
        };
        let metadata = metadata(view, arn, &record)?;
        let mut done = Done::read(CreateKeyResponse {
            key_metadata: metadata.clone(),
        });
        done.response_elements = Some(json!({ "keyMetadata": logged(&metadata) }));
        let document = key_document(&view.home().region, &id);
        done.changes = vec![put(document, Expect::Absent, &record)?];
        done.changes
            .extend(bytes.map(|bytes| material_row(arn, 1, bytes)));
        done.created = Some(plan.arn);
        Ok(done)
    }
}

/// A key that was made before the log was held, and its id: a device has it under that.
#[derive(Debug)]
pub struct NewKey {
    id: KeyId,
    made: Result<Made, KmsError>,
}

/// The material of a new key.
#[derive(Debug)]
enum Made {
    /// It is imported later.
    Nothing,
    InDevice,
    Material(SecretBytes),
}

/// What a new key is to be.
struct Plan {
    spec: &'static Spec,
    usage: &'static str,
    origin: &'static str,
    /// Where its material is to be, if that is a device.
    store: Option<Arc<StoreRecord>>,
    arn: KeyArn,
    tags: BTreeMap<String, String>,
}

impl Plan {
    fn of(request: &CreateKeyRequest, view: &View<'_>, id: &KeyId) -> Result<Self, KmsError> {
        let (spec, usage) = spec_and_usage(request)?;
        let (origin, store) = origin(request, spec, view)?;
        let arn = view.home().key_arn(id.clone());
        if let Some(policy) = &request.policy {
            let bypass = request.bypass_policy_lockout_safety_check;
            acceptable(view, &arn, policy, bypass.unwrap_or(false))?;
        }
        let tags = tags::added(BTreeMap::new(), request.tags.clone())?;
        if let Some(store) = &store {
            hosted::ready(store)?;
        }
        Ok(Self {
            spec,
            usage,
            origin,
            store,
            arn,
            tags,
        })
    }

    /// Whether the material takes longer than a few microseconds.
    fn takes_long(&self) -> bool {
        let is_random = matches!(self.spec.material, Material::Symmetric | Material::Mac(_));
        self.origin != EXTERNAL && (self.store.is_some() || !is_random)
    }

    fn made(&self, view: &View<'_>, id: &KeyId) -> Result<Made, KmsError> {
        match &self.store {
            _ if self.origin == EXTERNAL => Ok(Made::Nothing),
            Some(store) => hosted::made(view, store, id.as_str()).map(|()| Made::InDevice),
            None => self.spec.new_material(view.entropy()).map(Made::Material),
        }
    }
}

fn new_id(request: &CreateKeyRequest, view: &View<'_>) -> Result<KeyId, KmsError> {
    view.new_key_id(request.multi_region.unwrap_or(false))
}

impl Perform for DescribeKeyRequest {
    one_key!(shown);

    fn run(self, key: KeyEntry, view: &View<'_>) -> Result<Done<DescribeKeyResponse>, KmsError> {
        Ok(Done::read(DescribeKeyResponse {
            key_metadata: metadata(view, &key.arn, &key.record)?,
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
        let asked = PageAsked::of(self.marker.as_deref(), self.limit, 100)?;
        let keys = view.keys_after(asked.after.as_deref(), asked.limit + 1)?;
        let page = asked.out_of(keys, |key| key.record.id.clone());
        let entry = |key: KeyEntry| KeyListEntry {
            key_id: key.record.id.clone(),
            key_arn: key.arn.to_string(),
        };
        Ok(Done::read(ListKeysResponse {
            keys: page.items.into_iter().map(entry).collect(),
            truncated: page.next.is_some(),
            next_marker: page.next,
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
    done.changes = vec![kept(key, &record)?];
    Ok(done)
}

/// The same in every Region where a key is.
pub(super) fn changed_everywhere(
    view: &View<'_>,
    key: &KeyEntry,
    edit: impl Fn(&mut KeyRecord),
) -> Result<Done<Empty>, KmsError> {
    let mut done = changed(key, &edit)?;
    for sibling in view.siblings(&key.arn)? {
        done.changes.extend(changed(&sibling, &edit)?.changes);
    }
    Ok(done)
}

/// The change that puts `record` in the place of a key's.
pub(crate) fn kept(key: &KeyEntry, record: &KeyRecord) -> Result<Change, KmsError> {
    let document = key_document(&key.arn.home.region, &key.arn.id);
    put(document, Expect::Revision(key.revision), record)
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
        invalid(match spec.is_symmetric() {
            true => format!(
                "The operation failed because the KeyUsage value of the CMK is {usage}. To perform \
                 this operation, the KeyUsage value must be ENCRYPT_DECRYPT."
            ),
            false => format!("KeyUsage {usage} is not compatible with KeySpec {name}"),
        })
    })?;
    Ok((spec, usage))
}

/// Where the material of a new key comes from.
fn origin(
    request: &CreateKeyRequest,
    spec: &Spec,
    view: &View<'_>,
) -> Result<(&'static str, Option<Arc<StoreRecord>>), KmsError> {
    if let Some(id) = &request.custom_key_store_id {
        let (store, _) = stores::named(view, id)?;
        if request.origin.as_deref() != Some(AWS_CLOUDHSM) || request.xks_key_id.is_some() {
            return Err(invalid(format!(
                "Keys in the custom key store {id} have the origin AWS_CLOUDHSM, and no XksKeyId."
            )));
        }
        // The device has symmetric keys of one Region, and no others.
        if !spec.is_symmetric() || request.multi_region.unwrap_or(false) {
            return Err(unsupported());
        }
        return Ok((AWS_CLOUDHSM, Some(store)));
    }
    let origin = match request.origin.as_deref().unwrap_or(AWS_KMS) {
        AWS_KMS if request.xks_key_id.is_none() => Ok(AWS_KMS),
        EXTERNAL if request.xks_key_id.is_none() && spec.imports() => Ok(EXTERNAL),
        EXTERNAL if request.xks_key_id.is_none() => Err(unsupported()),
        other => Err(invalid(format!(
            "Keys of origin {other} need the custom key store that they are to be in, and only \
             those of origin EXTERNAL_KEY_STORE have an XksKeyId."
        ))),
    };
    Ok((origin?, None))
}

/// What is known of material in a device, which has no id.
fn in_device(view: &View<'_>) -> MaterialRecord {
    MaterialRecord {
        material_id: String::new(),
        since: view.seconds(),
        kind: MaterialKind::Created,
        import: None,
    }
}

/// The state of a key as it is told. Where its custom key store is not connected, it is not to be had.
fn state(record: &KeyRecord, store: Option<&StoreRecord>) -> &'static str {
    match (record.state, store) {
        (KeyState::Enabled | KeyState::Disabled, Some(store))
            if store.state != ConnectionState::Connected =>
        {
            "Unavailable"
        }
        (state, _) => state.name(),
    }
}

/// What may be told of a key.
pub(crate) fn metadata(
    view: &View<'_>,
    arn: &KeyArn,
    record: &KeyRecord,
) -> Result<KeyMetadata, KmsError> {
    let algorithms = |usage: &str| -> Vec<String> {
        let spec = Spec::of(&record.spec).filter(|_| record.usage == usage);
        let names = spec.map(|spec| spec.algorithms(usage)).unwrap_or_default();
        names.iter().map(|name| (*name).to_owned()).collect()
    };
    let is_symmetric = record.spec == SYMMETRIC_DEFAULT;
    let store = view.store_of(record)?;
    let state = state(record, store.as_deref());
    let current = record
        .current()
        .filter(|_| is_symmetric && !record.is_hosted());
    let imported = record
        .current()
        .and_then(|material| material.import.as_ref());
    let imported = imported.filter(|_| record.is_complete());
    let ends = record.materials.iter().filter_map(MaterialRecord::valid_to);
    Ok(KeyMetadata {
        aws_account_id: arn.home.account.clone(),
        key_id: record.id.clone(),
        arn: arn.to_string(),
        creation_date: Timestamp(record.created),
        enabled: state == KeyState::Enabled.name(),
        description: record.description.clone(),
        key_usage: record.usage.clone(),
        key_state: state.to_owned(),
        deletion_date: record.deletion.map(Timestamp),
        pending_deletion_window_in_days: record.deletion_days,
        origin: record.origin.clone(),
        custom_key_store_id: record.custom_key_store.clone(),
        cloud_hsm_cluster_id: store.map(|store| store.cluster.clone()),
        valid_to: imported.and_then(|_| ends.reduce(f64::min)).map(Timestamp),
        expiration_model: imported.map(|import| expiration(import).to_owned()),
        key_manager: "CUSTOMER".to_owned(),
        customer_master_key_spec: record.spec.clone(),
        key_spec: record.spec.clone(),
        encryption_algorithms: algorithms(spec::ENCRYPT_DECRYPT),
        signing_algorithms: algorithms(spec::SIGN_VERIFY),
        key_agreement_algorithms: algorithms(spec::KEY_AGREEMENT),
        encapsulation_algorithms: algorithms(spec::ENCAPSULATE_DECAPSULATE),
        mac_algorithms: algorithms(spec::GENERATE_VERIFY_MAC),
        multi_region: record.multi_region,
        multi_region_configuration: match record.multi_region {
            true => Some(configuration(arn, record, view.siblings(arn)?)),
            false => None,
        },
        current_key_material_id: current.map(|material| material.material_id.clone()),
        ..KeyMetadata::default()
    })
}

/// How a multi-Region key hangs together.
fn configuration(
    arn: &KeyArn,
    record: &KeyRecord,
    siblings: Vec<KeyEntry>,
) -> MultiRegionConfiguration {
    let told = |arn: &KeyArn| MultiRegionKey {
        arn: arn.to_string(),
        region: arn.home.region.clone(),
    };
    let siblings = siblings
        .into_iter()
        .map(|sibling| (sibling.record.is_primary(), told(&sibling.arn)));
    let all = [(record.is_primary(), told(arn))]
        .into_iter()
        .chain(siblings);
    let (primary, mut replicas): (Vec<_>, Vec<_>) = all.partition(|(is_primary, _)| *is_primary);
    replicas.sort_unstable_by(|(_, left), (_, right)| left.region.cmp(&right.region));
    let own_kind = if record.is_primary() {
        "PRIMARY"
    } else {
        "REPLICA"
    };
    MultiRegionConfiguration {
        multi_region_key_type: own_kind.to_owned(),
        primary_key: primary
            .into_iter()
            .map(|(_, key)| key)
            .next()
            .unwrap_or_default(),
        replica_keys: replicas.into_iter().map(|(_, key)| key).collect(),
    }
}

/// As CloudTrail has it: names in its own spelling.
pub(super) fn logged(metadata: &KeyMetadata) -> Members {
    let mut named = metadata.logged();
    // CloudTrail dates are texts; this one is the event's own time.
    named.remove("creationDate");
    named
}
