//! Devices that the keys of custom key stores live in, as the engine sees them.
//!
//! An operator ties the ids of clusters to devices before anybody asks ([`Engine::attach`]); a request
//! names such an id and no more. A store that is connected holds one [`Device`], which is logged in.
//!
//! ```text
//! CreateCustomKeyStore ─▶ DISCONNECTED ◀──────────── DisconnectCustomKeyStore ──────────┐
//!                              │ ConnectCustomKeyStore                                 │
//!                              ▼                                                       │
//!                          CONNECTING ── the PIN is tried, once ──▶ CONNECTED, or FAILED with a code
//! ```
//!
//! The state is kept in the store and the login in each process: one that starts again logs in again,
//! once for a connection, and takes a PIN that is refused for a connection that failed. A device that
//! went away is looked for at the next use; a PIN that was refused is not tried again before the next
//! ConnectCustomKeyStore, since devices lock.

use crate::audit::Event;
use crate::engine::{Engine, internal};
use crate::model::{ConnectionState, StoreRecord, store_document, store_password_document};
use crate::op;
use crate::store::Expect;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use waxseal_core::SecretBytes;
use waxseal_kms_api::KmsError;
use waxseal_kms_api::members::Members;

/// Bytes that the key of one message is derived from.
pub const SALT_BYTES: usize = 32;

/// Whether a text is the id of a cluster, as the service model has them.
pub fn is_cluster_id(text: &str) -> bool {
    let id = text.strip_prefix("cluster-").unwrap_or_default();
    let is_one = |byte: u8| byte.is_ascii_alphabetic() || (b'2'..=b'7').contains(&byte);
    (11..=16).contains(&id.len()) && id.bytes().all(is_one)
}

/// Devices under the id of a cluster, as an operator configured them.
pub trait Cluster: Send + Sync {
    /// The certificate that TrustAnchorCertificate must be, in DER, where the operator gave one.
    fn trust_anchor(&self) -> Option<&[u8]>;

    /// Whether a device is there, and has what is needed of it. No PIN is tried.
    ///
    /// # Errors
    /// [`Refusal`].
    fn look(&self) -> Result<(), Refusal>;

    /// Logs in. The PIN is tried once.
    ///
    /// # Errors
    /// [`Refusal`].
    fn connect(&self, pin: &SecretBytes) -> Result<Arc<dyn Device>, Refusal>;
}

/// A device, logged in. No call takes longer than the device's deadline.
pub trait Device: Send + Sync {
    /// Makes an AES-256 key of this label that cannot leave the device, and tries it out.
    ///
    /// # Errors
    /// [`DeviceError`].
    fn generate(&self, label: &str) -> Result<(), DeviceError>;

    /// AES-256-GCM under a key that the device derives for this one message from the key of this
    /// label and `salt`; ciphertext and tag.
    ///
    /// # Errors
    /// [`DeviceError`].
    fn encrypt(
        &self,
        label: &str,
        salt: [u8; SALT_BYTES],
        associated: Vec<u8>,
        plaintext: SecretBytes,
    ) -> Result<Vec<u8>, DeviceError>;

    /// The reverse.
    ///
    /// # Errors
    /// [`DeviceError`].
    fn decrypt(
        &self,
        label: &str,
        salt: [u8; SALT_BYTES],
        associated: Vec<u8>,
        sealed: Vec<u8>,
    ) -> Result<SecretBytes, DeviceError>;

    /// Destroys the key of this label. One that is not there is destroyed.
    ///
    /// # Errors
    /// [`DeviceError`].
    fn destroy(&self, label: &str) -> Result<(), DeviceError>;

    /// Random bytes of the device's own.
    ///
    /// # Errors
    /// [`DeviceError`].
    fn random(&self, bytes: usize) -> Result<SecretBytes, DeviceError>;

    /// Logs out. Whoever has the device still is refused from then on.
    fn close(&self);
}

/// Why a store is not connected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No cluster of this id is configured.
    #[error("no device is configured for the cluster")]
    Unknown,
    /// The device is not there.
    #[error("the device is not there: {0}")]
    Absent(String),
    /// The device cannot do what is needed.
    #[error("the device cannot hold keys: {0}")]
    Unfit(String),
    /// The PIN was refused. It was tried once.
    #[error("the device refused the PIN")]
    WrongPin,
    /// The device lets nobody in any more.
    #[error("the device locked its user out")]
    Locked,
    /// The device's user has no PIN yet.
    #[error("the device has no user")]
    NoUser,
    /// Somebody in this process is logged in already, so that the PIN cannot be checked.
    #[error("the device's user is logged in already")]
    LoggedIn,
    /// It did not answer in time.
    #[error("the device did not answer in time")]
    Late,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl Refusal {
    /// As `ConnectionErrorCode` of the service model.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "CLUSTER_NOT_FOUND",
            Self::Absent(_) => "INSUFFICIENT_CLOUDHSM_HSMS",
            Self::WrongPin => "INVALID_CREDENTIALS",
            Self::Locked => "USER_LOCKED_OUT",
            Self::NoUser => "USER_NOT_FOUND",
            Self::LoggedIn => "USER_LOGGED_IN",
            Self::Late => "NETWORK_ERRORS",
            Self::Unfit(_) | Self::Failed(_) => "INTERNAL_ERROR",
        }
    }

    /// Whether another attempt would come to the same, and may lock the device.
    fn is_final(&self) -> bool {
        matches!(self, Self::WrongPin | Self::Locked | Self::NoUser)
    }
}

/// Why a device did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The tag is wrong.
    #[error("not authentic")]
    Unauthentic,
    /// There is no such key, or it is not as it must be.
    #[error("{0}")]
    Key(String),
    /// The device is not there any more, or its login is over.
    #[error("{0}")]
    Gone(String),
    /// It did not answer in time. What it was asked may be done yet.
    #[error("the device did not answer in time")]
    Late,
}

/// The logins of this process.
#[derive(Default)]
pub(crate) struct Devices {
    clusters: OnceLock<BTreeMap<String, Arc<dyn Cluster>>>,
    lines: Mutex<HashMap<String, Arc<Mutex<Line>>>>,
}

/// What came of one connection of a store.
#[derive(Default)]
struct Line {
    /// [`StoreRecord::connection`].
    number: u64,
    held: Held,
}

#[derive(Default)]
enum Held {
    #[default]
    Nothing,
    Device(Arc<dyn Device>),
    /// Nothing is tried before the next connection.
    Refused(Refusal),
}

impl Line {
    fn hang_up(&mut self) {
        if let Held::Device(device) = std::mem::take(&mut self.held) {
            device.close();
        }
    }
}

impl Devices {
    /// The cluster of this id.
    pub(crate) fn cluster(&self, id: &str) -> Option<&Arc<dyn Cluster>> {
        self.clusters.get()?.get(id)
    }

    fn line(&self, store: &str) -> Arc<Mutex<Line>> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.entry(store.to_owned()).or_default().clone()
    }

    /// The device of a store that is connected, or is to be. Blocks.
    fn device(
        &self,
        record: &StoreRecord,
        pin: impl FnOnce() -> Result<SecretBytes, KmsError>,
    ) -> Result<Arc<dyn Device>, Refusal> {
        let cluster = self.cluster(&record.cluster).ok_or(Refusal::Unknown)?;
        let line = self.line(&record.id);
        let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
        if line.number != record.connection {
            line.hang_up();
            line.number = record.connection;
        }
        match &line.held {
            Held::Device(device) => return Ok(device.clone()),
            Held::Refused(refusal) => return Err(refusal.clone()),
            Held::Nothing => {}
        }
        let pin = pin().map_err(|error| Refusal::Failed(error.to_string()))?;
        match cluster.connect(&pin) {
            Ok(device) => {
                line.held = Held::Device(device.clone());
                Ok(device)
            }
            Err(refusal) => {
                if refusal.is_final() {
                    line.held = Held::Refused(refusal.clone());
                }
                Err(refusal)
            }
        }
    }

    /// Gives up the login of a store.
    fn hang_up(&self, store: &str) {
        let line = {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.remove(store)
        };
        if let Some(line) = line {
            line.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .hang_up();
        }
    }

    /// Gives up a device that went away. It is looked for again at the next use.
    fn lose(&self, store: &str, gone: &Arc<dyn Device>) {
        let line = self.line(store);
        let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(&line.held, Held::Device(device) if Arc::ptr_eq(device, gone)) {
            line.hang_up();
        }
    }
}

impl Engine {
    /// Ties ids of clusters to devices, for custom key stores. Said once; what is said later is
    /// passed over.
    pub fn attach(&self, clusters: BTreeMap<String, Arc<dyn Cluster>>) {
        // The first word holds.
        let _ = self.devices().clusters.set(clusters);
    }

    /// Whether keys may be in devices: their use takes longer than microseconds.
    pub(crate) fn has_devices(&self) -> bool {
        self.devices()
            .clusters
            .get()
            .is_some_and(|all| !all.is_empty())
    }

    /// Asks the device of a store that is connected. Blocks.
    pub(crate) fn with_device<T>(
        &self,
        record: &StoreRecord,
        ask: impl FnOnce(&dyn Device) -> Result<T, DeviceError>,
    ) -> Result<Result<T, DeviceError>, Refusal> {
        let device = self
            .devices()
            .device(record, || self.store_password(record))?;
        let answer = ask(device.as_ref());
        if matches!(answer, Err(DeviceError::Gone(_))) {
            self.devices().lose(&record.id, &device);
        }
        Ok(answer)
    }

    /// Connects the custom key stores that are to be connected, gives up the logins of others, and
    /// takes note of connections that failed. Blocks as long as devices take.
    ///
    /// # Errors
    /// `KMSInternalException` when the store or the log cannot be read or written.
    pub fn follow_stores(&self) -> Result<(), KmsError> {
        self.refresh()?;
        for (record, _) in self.key_stores()? {
            let is_meant = matches!(
                record.state,
                ConnectionState::Connecting | ConnectionState::Connected
            );
            if !is_meant {
                self.devices().hang_up(&record.id);
                continue;
            }
            let connected = self
                .devices()
                .device(&record, || self.store_password(&record));
            let (state, error) = match connected.map(drop) {
                Ok(()) => (ConnectionState::Connected, None),
                // It may come back by itself, or is another process's to reach.
                Err(refusal)
                    if record.state == ConnectionState::Connected && !refusal.is_final() =>
                {
                    continue;
                }
                Err(refusal) => (ConnectionState::Failed, Some(refusal.code().to_owned())),
            };
            if state != record.state {
                self.note_connection(&record, state, error)?;
            }
        }
        Ok(())
    }

    /// Keeps what came of a connection, unless there is another one by now.
    fn note_connection(
        &self,
        tried: &StoreRecord,
        state: ConnectionState,
        error: Option<String>,
    ) -> Result<(), KmsError> {
        self.change_itself(|engine| {
            let Some((record, revision)) = engine.key_store(&tried.id)? else {
                return Ok(None);
            };
            if record.connection != tried.connection || record.state != tried.state {
                return Ok(None);
            }
            let changed = StoreRecord {
                state,
                error,
                ..StoreRecord::clone(&record)
            };
            let document = store_document(&record.id);
            let event = engine.event_of_connection(&changed)?;
            let change = op::put(document, Expect::Revision(revision), &changed)?;
            Ok(Some((vec![change], event)))
        })
        .map(drop)
    }

    fn event_of_connection(&self, record: &StoreRecord) -> Result<Event<'static>, KmsError> {
        let mut additional = Members::new();
        additional.insert("customKeyStoreId", record.id.as_str());
        additional.insert("connectionState", record.state.name());
        if let Some(code) = &record.error {
            additional.insert("connectionErrorCode", code.as_str());
        }
        let place = record.place(self.home());
        self.event_itself(&place, "ConnectCustomKeyStore", additional)
    }

    fn store_password(&self, record: &StoreRecord) -> Result<SecretBytes, KmsError> {
        let name = store_password_document(&record.id);
        let document = self.document(&name)?;
        let missing = || internal("the password of the custom key store is missing");
        self.opened(&document.ok_or_else(missing)?)
    }
}
