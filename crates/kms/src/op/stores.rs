//! Custom key stores: of type AWS_CLOUDHSM, over devices that an operator configured. No proxy is
//! reached from here, and no external key store can be made.

use super::{Perform, hosted, invalid, of_account, paginate, put, unsupported};
use crate::device::{Device, DeviceError, Refusal};
use crate::engine::{View, internal};
use crate::model::{ConnectionState, StoreRecord, store_document, store_password_document};
use crate::request::{Change, Done};
use crate::store::Expect;
use serde_json::json;
use std::sync::Arc;
use waxseal_core::SecretBytes;
use waxseal_core::crypto::certificate;
use waxseal_core::crypto::random;
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::Timestamp;
use waxseal_kms_api::{ErrorCode, KmsError};

/// Custom key stores of an account in a Region (KMS quotas).
const STORES_MAX: usize = 10;

const CLOUDHSM: &str = "AWS_CLOUDHSM";

impl Perform for CreateCustomKeyStoreRequest {
    of_account!(true);

    fn run(self, (): (), view: &View<'_>) -> Result<Done<CreateCustomKeyStoreResponse>, KmsError> {
        if self.custom_key_store_type.as_deref() == Some("EXTERNAL_KEY_STORE") {
            return Err(KmsError::new(
                ErrorCode::XksProxyUriUnreachable,
                "External key stores are not reached from here.",
            ));
        }
        let is_of_proxy = self.xks_proxy_uri_endpoint.is_some()
            || self.xks_proxy_uri_path.is_some()
            || self.xks_proxy_vpc_endpoint_service_name.is_some()
            || self.xks_proxy_vpc_endpoint_service_owner.is_some()
            || self.xks_proxy_authentication_credential.is_some()
            || self.xks_proxy_connectivity.is_some();
        if is_of_proxy {
            return Err(invalid(
                "Members of external key stores are not valid for the CustomKeyStoreType AWS_CLOUDHSM.",
            ));
        }
        let (Some(cluster), Some(password), Some(trust_anchor)) = (
            self.cloud_hsm_cluster_id,
            self.key_store_password,
            self.trust_anchor_certificate,
        ) else {
            return Err(invalid(
                "CloudHsmClusterId, KeyStorePassword and TrustAnchorCertificate are required for the \
                 CustomKeyStoreType AWS_CLOUDHSM.",
            ));
        };
        let password = SecretBytes::new(password.into_bytes());
        free_name(view, &self.custom_key_store_name, None)?;
        if here(view)?.len() >= STORES_MAX {
            return Err(KmsError::new(
                ErrorCode::LimitExceeded,
                format!("There are {STORES_MAX} custom key stores already."),
            ));
        }
        free_cluster(view, &cluster, None)?;
        trusted(view, &cluster, &trust_anchor)?;
        let digits: [u8; 9] = random::array(view.entropy()).map_err(internal)?;
        let record = StoreRecord {
            // 17 digits follow, as in ids of AWS.
            id: format!("cks-{}", &hex::encode(digits)[1..]),
            region: view.home().region.clone(),
            account: view.home().account.clone(),
            name: self.custom_key_store_name,
            cluster,
            trust_anchor,
            created: view.seconds(),
            state: ConnectionState::Disconnected,
            error: None,
            connection: 0,
        };
        let mut done = Done::read(CreateCustomKeyStoreResponse {
            custom_key_store_id: Some(record.id.clone()),
        });
        done.response_elements = Some(json!({ "customKeyStoreId": record.id }));
        done.changes = vec![
            put(store_document(&record.id), Expect::Absent, &record)?,
            Change {
                key: store_password_document(&record.id),
                expect: Expect::Absent,
                body: Some(password),
            },
        ];
        Ok(done)
    }
}

impl Perform for DescribeCustomKeyStoresRequest {
    of_account!(false);

    fn run(
        self,
        (): (),
        view: &View<'_>,
    ) -> Result<Done<DescribeCustomKeyStoresResponse>, KmsError> {
        let mut found = here(view)?;
        match (&self.custom_key_store_id, &self.custom_key_store_name) {
            (Some(_), Some(_)) => {
                return Err(invalid(
                    "CustomKeyStoreId and CustomKeyStoreName cannot be given together.",
                ));
            }
            (Some(id), None) => found.retain(|(record, _)| record.id == *id),
            (None, Some(name)) => found.retain(|(record, _)| record.name == *name),
            (None, None) => {}
        }
        let named = self.custom_key_store_id.or(self.custom_key_store_name);
        if let Some(named) = named
            && found.is_empty()
        {
            return Err(no_store(&named));
        }
        let page = paginate(
            found,
            |(record, _)| record.id.clone(),
            self.marker.as_deref(),
            self.limit,
            100,
        )?;
        Ok(Done::read(DescribeCustomKeyStoresResponse {
            custom_key_stores: page.items.iter().map(|(record, _)| entry(record)).collect(),
            truncated: page.next.is_some(),
            next_marker: page.next,
        }))
    }
}

impl Perform for UpdateCustomKeyStoreRequest {
    of_account!(true);

    fn run(self, (): (), view: &View<'_>) -> Result<Done<Empty>, KmsError> {
        let (record, revision) = named(view, &self.custom_key_store_id)?;
        let is_of_proxy = self.xks_proxy_uri_endpoint.is_some()
            || self.xks_proxy_uri_path.is_some()
            || self.xks_proxy_vpc_endpoint_service_name.is_some()
            || self.xks_proxy_vpc_endpoint_service_owner.is_some()
            || self.xks_proxy_authentication_credential.is_some()
            || self.xks_proxy_connectivity.is_some();
        if is_of_proxy {
            return Err(unsupported());
        }
        let is_only_name = self.key_store_password.is_none() && self.cloud_hsm_cluster_id.is_none();
        match record.state {
            ConnectionState::Disconnected => {}
            ConnectionState::Connected if is_only_name => {}
            _ => return Err(wrong_state(&record)),
        }
        let mut changed = StoreRecord::clone(&record);
        let mut changes = Vec::new();
        if let Some(name) = self.new_custom_key_store_name {
            free_name(view, &name, Some(&record.id))?;
            changed.name = name;
        }
        if let Some(cluster) = self.cloud_hsm_cluster_id {
            free_cluster(view, &cluster, Some(&record.id))?;
            related(view, &cluster, &record)?;
            changed.cluster = cluster;
        }
        if let Some(password) = self.key_store_password {
            let name = store_password_document(&record.id);
            let document = view.engine().document(&name)?;
            let missing = || internal("the password of the custom key store is missing");
            changes.push(Change {
                key: name,
                expect: Expect::Revision(document.ok_or_else(missing)?.revision),
                body: Some(SecretBytes::new(password.into_bytes())),
            });
        }
        changes.push(kept(&changed, revision)?);
        let mut done = Done::read(Empty {});
        done.changes = changes;
        Ok(done)
    }
}

impl Perform for ConnectCustomKeyStoreRequest {
    of_account!(true);
    const CONNECTS: bool = true;

    fn run(self, (): (), view: &View<'_>) -> Result<Done<Empty>, KmsError> {
        let (record, revision) = named(view, &self.custom_key_store_id)?;
        match record.state {
            ConnectionState::Failed => Err(wrong_state(&record)),
            ConnectionState::Connected => Ok(Done::read(Empty {})),
            // One that is connecting and never came to an end, since its process did, begins anew.
            ConnectionState::Disconnected | ConnectionState::Connecting => {
                let mut changed = StoreRecord::clone(&record);
                changed.state = ConnectionState::Connecting;
                changed.connection += 1;
                let mut done = Done::read(Empty {});
                done.changes = vec![kept(&changed, revision)?];
                Ok(done)
            }
        }
    }
}

impl Perform for DisconnectCustomKeyStoreRequest {
    of_account!(true);
    const CONNECTS: bool = true;

    fn run(self, (): (), view: &View<'_>) -> Result<Done<Empty>, KmsError> {
        let (record, revision) = named(view, &self.custom_key_store_id)?;
        if record.state == ConnectionState::Disconnected {
            return Err(wrong_state(&record));
        }
        let mut changed = StoreRecord::clone(&record);
        changed.state = ConnectionState::Disconnected;
        changed.error = None;
        let mut done = Done::read(Empty {});
        done.changes = vec![kept(&changed, revision)?];
        Ok(done)
    }
}

impl Perform for DeleteCustomKeyStoreRequest {
    of_account!(true);
    const FORGETS: bool = true;

    fn run(self, (): (), view: &View<'_>) -> Result<Done<Empty>, KmsError> {
        let (record, revision) = named(view, &self.custom_key_store_id)?;
        // A key whose time is over counts until its material is gone from the device.
        if view.is_store_in_use(&record.id)? {
            return Err(KmsError::new(
                ErrorCode::CustomKeyStoreHasCmks,
                format!("The custom key store {} contains KMS keys.", record.id),
            ));
        }
        if record.state != ConnectionState::Disconnected {
            return Err(wrong_state(&record));
        }
        let name = store_password_document(&record.id);
        let password = view.engine().document(&name)?;
        let mut done = Done::read(Empty {});
        done.changes = vec![Change {
            key: store_document(&record.id),
            expect: Expect::Revision(revision),
            body: None,
        }];
        done.changes.extend(password.map(|document| Change {
            key: name,
            expect: Expect::Revision(document.revision),
            body: None,
        }));
        Ok(done)
    }
}

/// The store that CreateKey or GenerateRandom names.
pub(super) fn named(view: &View<'_>, id: &str) -> Result<(Arc<StoreRecord>, u64), KmsError> {
    let found = view.engine().key_store(id)?;
    let place = view.home();
    found
        .filter(|(record, _)| record.place(view.own_home()) == *place)
        .ok_or_else(|| no_store(id))
}

/// What the device of a store answers.
pub(super) fn device_asked<T>(
    view: &View<'_>,
    store: &StoreRecord,
    ask: impl FnOnce(&dyn Device) -> Result<T, DeviceError>,
) -> Result<Result<T, DeviceError>, KmsError> {
    let answer = view.engine().with_device(store, ask);
    answer.map_err(|refusal| hosted::refused(store, &refusal))
}

/// `CustomKeyStoreInvalidStateException` of what needs a store that is connected.
pub(super) fn not_connected(store: &StoreRecord) -> KmsError {
    wrong_state(store)
}

/// `CustomKeyStoreNotFoundException`.
fn no_store(id: &str) -> KmsError {
    let message = format!("Custom key store {id} is not found.");
    KmsError::new(ErrorCode::CustomKeyStoreNotFound, message)
}

fn wrong_state(record: &StoreRecord) -> KmsError {
    let (id, state) = (&record.id, record.state.name());
    KmsError::new(
        ErrorCode::CustomKeyStoreInvalidState,
        format!("The custom key store {id} is {state}, which is not valid for this operation."),
    )
}

/// The stores of the request's place, in the order of their ids.
fn here(view: &View<'_>) -> Result<Vec<(Arc<StoreRecord>, u64)>, KmsError> {
    let mut found = view.engine().key_stores()?;
    found.retain(|(record, _)| record.place(view.own_home()) == *view.home());
    Ok(found)
}

fn kept(record: &StoreRecord, revision: u64) -> Result<Change, KmsError> {
    put(
        store_document(&record.id),
        Expect::Revision(revision),
        record,
    )
}

fn free_name(view: &View<'_>, name: &str, own: Option<&str>) -> Result<(), KmsError> {
    let mut others = here(view)?.into_iter().map(|(record, _)| record);
    match others.any(|record| record.name == name && Some(record.id.as_str()) != own) {
        false => Ok(()),
        true => Err(KmsError::new(
            ErrorCode::CustomKeyStoreNameInUse,
            format!("There is a custom key store of the name {name} already."),
        )),
    }
}

/// A cluster is one store's, of whichever account: it has one user.
fn free_cluster(view: &View<'_>, cluster: &str, own: Option<&str>) -> Result<(), KmsError> {
    let all = view.engine().key_stores()?;
    let mut others = all.iter().map(|(record, _)| record);
    match others.any(|record| record.cluster == cluster && Some(record.id.as_str()) != own) {
        false => Ok(()),
        true => Err(KmsError::new(
            ErrorCode::CloudHsmClusterInUse,
            format!("Cluster {cluster} is associated with a custom key store already."),
        )),
    }
}

/// Checks a cluster and the certificate that is given for it. No password is tried.
fn trusted(view: &View<'_>, id: &str, trust_anchor: &str) -> Result<(), KmsError> {
    let cluster = view.engine().devices().cluster(id);
    let cluster = cluster.ok_or_else(|| no_cluster(id))?;
    let given = certificate::only_in_pem(trust_anchor.as_bytes());
    let given = given.map_err(|error| incorrect_anchor(&error.to_string()))?;
    if cluster.trust_anchor().is_some_and(|known| known != given) {
        return Err(incorrect_anchor(
            "it is not the one that is configured for the cluster",
        ));
    }
    is_active(id, cluster.look())
}

/// Checks the cluster that a store moves to: it has the certificate of the one before.
fn related(view: &View<'_>, id: &str, record: &StoreRecord) -> Result<(), KmsError> {
    let cluster = view.engine().devices().cluster(id);
    let cluster = cluster.ok_or_else(|| no_cluster(id))?;
    let own = certificate::only_in_pem(record.trust_anchor.as_bytes()).map_err(internal)?;
    if id != record.cluster && cluster.trust_anchor() != Some(own.as_slice()) {
        return Err(KmsError::new(
            ErrorCode::CloudHsmClusterNotRelated,
            format!(
                "Cluster {id} is not configured with the trust anchor certificate of the store."
            ),
        ));
    }
    is_active(id, cluster.look())
}

fn is_active(id: &str, found: Result<(), Refusal>) -> Result<(), KmsError> {
    found.map_err(|refusal| match refusal {
        Refusal::Unfit(what) => {
            let message = format!("Cluster {id} cannot hold keys: {what}.");
            KmsError::new(ErrorCode::CloudHsmClusterInvalidConfiguration, message)
        }
        refusal => {
            let message = format!("Cluster {id} is not active: {refusal}.");
            KmsError::new(ErrorCode::CloudHsmClusterNotActive, message)
        }
    })
}

fn no_cluster(id: &str) -> KmsError {
    KmsError::new(
        ErrorCode::CloudHsmClusterNotFound,
        format!("Cluster {id} is not found."),
    )
}

fn incorrect_anchor(why: &str) -> KmsError {
    KmsError::new(
        ErrorCode::IncorrectTrustAnchor,
        format!("The trust anchor certificate is not that of the cluster: {why}."),
    )
}

fn entry(record: &StoreRecord) -> CustomKeyStoresListEntry {
    CustomKeyStoresListEntry {
        custom_key_store_id: Some(record.id.clone()),
        custom_key_store_name: record.name.clone(),
        cloud_hsm_cluster_id: Some(record.cluster.clone()),
        trust_anchor_certificate: Some(record.trust_anchor.clone()),
        connection_state: record.state.name().to_owned(),
        connection_error_code: record.error.clone(),
        creation_date: Timestamp(record.created),
        custom_key_store_type: CLOUDHSM.to_owned(),
        xks_proxy_configuration: None,
    }
}
