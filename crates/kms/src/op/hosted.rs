//! Operations with keys whose material is in a device (custom key stores): all of them are done there.
//!
//! What AWS answers when a custom key store is not connected, or its cluster does not answer, is in the
//! Developer Guide (*Troubleshooting a custom key store*): `KMSInvalidStateException`, which may be
//! transient all the same. A device that takes too long is a `DependencyTimeoutException`.

use super::stores::{device_asked, not_connected};
use crate::blob::{self, Asked};
use crate::device::{DeviceError, Refusal};
use crate::engine::{Aliases, Engine, KeyEntry, View, internal};
use crate::model::{ConnectionState, KeyRecord, StoreRecord};
use std::sync::Arc;
use waxseal_core::{EncryptionContext, SecretBytes};
use waxseal_kms_api::{ErrorCode, KmsError};

/// Refuses a store that is not connected, in the words for new keys.
pub(super) fn ready(store: &StoreRecord) -> Result<(), KmsError> {
    match store.state {
        ConnectionState::Connected => Ok(()),
        _ => Err(not_connected(store)),
    }
}

/// Makes the material of a new key in the device of a store that is [`ready`]. It is there before
/// the record is; without a record it is never used.
pub(super) fn made(view: &View<'_>, store: &StoreRecord, id: &str) -> Result<(), KmsError> {
    let generated = device_asked(view, store, |device| device.generate(id))?;
    generated.map_err(|error| match error {
        DeviceError::Key(what) => {
            KmsError::new(ErrorCode::CloudHsmClusterInvalidConfiguration, what)
        }
        error => failed(store, &error),
    })
}

/// Random bytes of the device of a store.
pub(super) fn random(
    view: &View<'_>,
    store: &StoreRecord,
    bytes: usize,
) -> Result<SecretBytes, KmsError> {
    ready(store)?;
    let random = device_asked(view, store, |device| device.random(bytes))?;
    random.map_err(|error| failed(store, &error))
}

/// Seals in the key's device.
pub(super) fn seal(
    view: &View<'_>,
    key: &KeyEntry,
    plaintext: &[u8],
    context: &[u8],
) -> Result<Vec<u8>, KmsError> {
    let store = connected(view, key)?;
    let id = &key.arn.id;
    blob::seal_in_device(id, plaintext, context, view.entropy(), |asked| {
        let Asked {
            salt,
            associated,
            text,
        } = asked;
        reached(view, key, &store, |device| {
            device.encrypt(id.as_str(), salt, associated, text)
        })
    })
}

/// Opens in the key's device.
pub(super) fn open(
    view: &View<'_>,
    key: &KeyEntry,
    blob: &[u8],
    context: &EncryptionContext,
) -> Result<SecretBytes, KmsError> {
    let store = connected(view, key)?;
    blob::open_in_device(blob, context, |asked| {
        let Asked {
            salt,
            associated,
            text,
        } = asked;
        reached(view, key, &store, |device| {
            device.decrypt(key.arn.id.as_str(), salt, associated, text)
        })
    })
}

/// Destroys the material of a key whose waiting period is over; whether it is gone. A store that is
/// not connected, or whose device does not answer, is waited for.
pub(crate) fn destroyed(engine: &Engine, record: &KeyRecord) -> Result<bool, KmsError> {
    let Some((store, _)) =
        engine.key_store(record.custom_key_store.as_deref().unwrap_or_default())?
    else {
        return Err(internal("the custom key store of the key is missing"));
    };
    if store.state != ConnectionState::Connected {
        return Ok(false);
    }
    let destroyed = engine.with_device(&store, |device| device.destroy(&record.id));
    Ok(matches!(destroyed, Ok(Ok(()))))
}

/// Whether the key that a request names is in a device.
pub(super) fn is_named(view: &View<'_>, name: &str) -> bool {
    let found = view.resolve(name, Aliases::Allowed);
    found.is_ok_and(|key| key.record.is_hosted())
}

/// Whether a device made the blob of a request.
pub(super) fn is_of_device(blob: Option<&[u8]>) -> bool {
    let facts = blob.and_then(|blob| blob::BlobFacts::parse(blob).ok());
    facts.is_some_and(|facts| facts.is_of_device)
}

/// The store of a key, which is connected.
fn connected(view: &View<'_>, key: &KeyEntry) -> Result<Arc<StoreRecord>, KmsError> {
    let store = view.store_of(&key.record)?;
    let store = store.ok_or_else(|| internal("the custom key store of the key is missing"))?;
    match store.state {
        ConnectionState::Connected => Ok(store),
        _ => Err(KmsError::new(
            ErrorCode::InvalidState,
            format!("{} is unavailable.", key.arn),
        )),
    }
}

fn reached<T>(
    view: &View<'_>,
    key: &KeyEntry,
    store: &StoreRecord,
    ask: impl FnOnce(&dyn crate::device::Device) -> Result<T, DeviceError>,
) -> Result<T, KmsError> {
    let answer = device_asked(view, store, ask)?;
    answer.map_err(|error| match error {
        DeviceError::Key(what) => KmsError::new(
            ErrorCode::InvalidState,
            format!("KMS cannot use the key material of {}: {what}.", key.arn),
        ),
        error => failed(store, &error),
    })
}

fn failed(store: &StoreRecord, error: &DeviceError) -> KmsError {
    match error {
        DeviceError::Unauthentic => KmsError::invalid_ciphertext(),
        DeviceError::Late => KmsError::new(ErrorCode::DependencyTimeout, error.to_string()),
        error => unreachable_device(store, error),
    }
}

/// A login that is not there.
pub(super) fn refused(store: &StoreRecord, refusal: &Refusal) -> KmsError {
    match refusal {
        Refusal::Late => KmsError::new(ErrorCode::DependencyTimeout, refusal.to_string()),
        refusal => unreachable_device(store, refusal),
    }
}

fn unreachable_device(store: &StoreRecord, why: &dyn std::fmt::Display) -> KmsError {
    KmsError::new(
        ErrorCode::InvalidState,
        format!(
            "KMS cannot communicate with your CloudHSM cluster {}: {why}.",
            store.cluster
        ),
    )
}
