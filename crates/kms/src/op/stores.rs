//! Custom key stores. There is none yet, and none can be made: no cluster and no proxy is reached
//! from here.

use super::{Needs, Perform};
use crate::engine::View;
use crate::request::Done;
use waxseal_kms_api::op::*;
use waxseal_kms_api::{ErrorCode, KmsError};

/// `CustomKeyStoreNotFoundException`.
pub(super) fn no_store(id: &str) -> KmsError {
    let message = format!("Custom key store {id} is not found.");
    KmsError::new(ErrorCode::CustomKeyStoreNotFound, message)
}

impl Perform for CreateCustomKeyStoreRequest {
    type Target = ();
    const MUTATES: bool = true;

    fn needs(&self, view: &View<'_>) -> Result<Needs<()>, KmsError> {
        Ok(Needs::account::<Self>(view))
    }

    fn run(self, (): (), _: &View<'_>) -> Result<Done<CreateCustomKeyStoreResponse>, KmsError> {
        if self.custom_key_store_type.as_deref() == Some("EXTERNAL_KEY_STORE") {
            return Err(KmsError::new(
                ErrorCode::XksProxyUriUnreachable,
                "External key stores are not reached from here.",
            ));
        }
        let cluster = self.cloud_hsm_cluster_id.unwrap_or_default();
        Err(KmsError::new(
            ErrorCode::CloudHsmClusterNotFound,
            format!("Cluster {cluster} is not found."),
        ))
    }
}

impl Perform for DescribeCustomKeyStoresRequest {
    type Target = ();
    const MUTATES: bool = false;

    fn needs(&self, view: &View<'_>) -> Result<Needs<()>, KmsError> {
        Ok(Needs::account::<Self>(view))
    }

    fn run(self, (): (), _: &View<'_>) -> Result<Done<DescribeCustomKeyStoresResponse>, KmsError> {
        let named = self.custom_key_store_id.or(self.custom_key_store_name);
        match named {
            Some(id) => Err(no_store(&id)),
            None => Ok(Done::read(DescribeCustomKeyStoresResponse::default())),
        }
    }
}

macro_rules! of_no_store {
    ($($request:ident),*) => {$(
        impl Perform for $request {
            type Target = ();
            const MUTATES: bool = true;

            fn needs(&self, view: &View<'_>) -> Result<Needs<()>, KmsError> {
                Ok(Needs::account::<Self>(view))
            }

            fn run(self, (): (), _: &View<'_>) -> Result<Done<Empty>, KmsError> {
                Err(no_store(&self.custom_key_store_id))
            }
        }
    )*};
}

of_no_store!(
    ConnectCustomKeyStoreRequest,
    DeleteCustomKeyStoreRequest,
    DisconnectCustomKeyStoreRequest,
    UpdateCustomKeyStoreRequest
);
