//! The directory of an embedded KMS.
//!
//! ```text
//! HOME/            0700
//!   store.db       0600   sealed state (SQLite; with -wal, -shm and -mark beside it)
//!   root.key       0600   32 bytes, when the root is a file
//!   audit/         0700   the log, one segment a file; what was delivered of it in trail/
//!   reserve        0600   room on the disk for taking rights away; another one in audit/
//!   lock           0600   held while the home is made, and while a default key is made
//! ```
//!
//! Several processes may use one home at once.

use crate::audit::{AuditError, AuditLog};
use crate::clock::SystemClock;
use crate::engine::{Engine, Parts, Rollback, RollbackError};
use crate::files::{self, sync_directory};
use crate::reserve::Reserve;
use crate::root::{RootError, RootKind, RootRecord};
use crate::store::{SqliteStore, StoreError};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use waxseal_core::arn::Home;
use waxseal_core::crypto::password::{PasswordParams, PasswordParamsError};
use waxseal_core::crypto::random::{self, Entropy};
use waxseal_core::{Keyring, SecretBytes};
use waxseal_kms_api::KmsError;
use waxseal_kms_api::op::{CreateAliasRequest, CreateKeyRequest};

/// The alias that stands for "no key was named".
pub const DEFAULT_ALIAS: &str = "alias/default";

const ROOT_KEY_BYTES: usize = 32;
const ROOT_KEY_FILE: &str = "root.key";
const STORE_FILE: &str = "store.db";

/// Why a home could not be opened. `path` is where.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HomeError {
    /// A file or directory could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// As the system says it.
        source: std::io::Error,
    },
    /// A secret file can be read by others.
    #[error("{path} has mode {mode:04o}: others can read it")]
    WeakMode {
        /// Which one.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The root key file is not there or has not 32 bytes, though the store needs it.
    #[error("{path} is {what}, and the store cannot be opened without it")]
    RootKey {
        /// Which one.
        path: PathBuf,
        /// `missing`, or what is wrong with it.
        what: &'static str,
    },
    /// The device cannot be used.
    #[error("{0}")]
    Device(String),
    /// No passphrase was given.
    #[error("no passphrase: {0}")]
    NoPassphrase(String),
    /// The passphrase costs are out of bounds.
    #[error(transparent)]
    PasswordParams(#[from] PasswordParamsError),
    /// The root could not be opened.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit log could not be opened.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// Store and audit log do not belong together.
    #[error(transparent)]
    RolledBack(RollbackError),
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] KmsError),
}

impl From<RollbackError> for HomeError {
    fn from(error: RollbackError) -> Self {
        match error {
            RollbackError::Engine(error) => Self::Engine(error),
            rollback => Self::RolledBack(rollback),
        }
    }
}

/// A root key for a home that is made now: how it is found again, and its keyring.
pub type NewRoot = (RootKind, Box<dyn Keyring>);

/// Where a passphrase comes from when one is needed.
pub trait Passphrases {
    /// Whether a home that is made now gets a passphrase root instead of a file root.
    fn wanted_for_new_home(&self) -> bool;

    /// The device that a home that is made now hangs from, if it does: how it is found again, and its
    /// keyring, under [`PROVIDER_ROOT`](crate::root::PROVIDER_ROOT).
    ///
    /// # Errors
    /// A sentence that says why it cannot be used.
    fn device_for_new_home(&self) -> Result<Option<NewRoot>, String> {
        Ok(None)
    }

    /// The keyring of the device that a home hangs from.
    ///
    /// # Errors
    /// A sentence that says why there is none.
    fn device(&self, serial: &str, object: &str) -> Result<Box<dyn Keyring>, String> {
        Err(format!(
            "the store hangs from the key '{object}' in the device {serial}, which is not configured"
        ))
    }

    /// The passphrase; `new` when it is being chosen and should be asked for twice.
    ///
    /// # Errors
    /// A sentence that says why there is none.
    fn passphrase(&self, new: bool) -> Result<SecretBytes, String>;
}

/// An opened home.
#[derive(Debug)]
pub struct EmbeddedHome {
    directory: PathBuf,
    engine: Arc<Engine>,
}

impl EmbeddedHome {
    /// Opens the home in `directory`, and makes it when it is not there.
    ///
    /// `place` names partition, Region and account of a new home; an existing one keeps its own.
    ///
    /// # Errors
    /// [`HomeError`]. Nothing that exists is ever replaced. [`HomeError::RolledBack`] when an older copy
    /// of the store or of the audit log lies in its place.
    pub fn open(
        directory: &Path,
        place: &Home,
        passphrases: &dyn Passphrases,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, HomeError> {
        Self::open_with(directory, place, passphrases, entropy, Rollback::Refused)
    }

    /// The same, and says what to do with a store and an audit log that do not belong together.
    ///
    /// # Errors
    /// [`HomeError`].
    pub fn open_with(
        directory: &Path,
        place: &Home,
        passphrases: &dyn Passphrases,
        entropy: Arc<dyn Entropy>,
        rollback: Rollback,
    ) -> Result<Self, HomeError> {
        make_directory(directory)?;
        let store = SqliteStore::open(&directory.join(STORE_FILE));
        let store = match store {
            // Opening it takes room, too; who then may use it is another question.
            Err(StoreError::Full) if Reserve::give_up_in(directory) => {
                SqliteStore::open(&directory.join(STORE_FILE))
            }
            opened => opened,
        }?;
        let (record, keyring) = match RootRecord::read(&store)? {
            Some(record) => {
                let keyring = root_keyring(directory, &record.root, passphrases, entropy.clone())?;
                (record, keyring)
            }
            None => make_root(directory, &store, place, passphrases, entropy.clone())?,
        };
        let opened = record.open(keyring.as_ref())?;
        let parts = Parts {
            store: Box::new(store),
            audit: AuditLog::open(&directory.join("audit"))?,
            rows: opened.rows,
            home: opened.home,
            clock: Arc::new(SystemClock),
            entropy,
        };
        let engine = Engine::open(parts, directory, rollback)?;
        Ok(Self {
            directory: directory.to_owned(),
            engine: Arc::new(engine),
        })
    }

    /// The engine.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Where the audit log of a home is, opened or not.
    pub fn audit_directory(directory: &Path) -> PathBuf {
        directory.join("audit")
    }

    /// Sees to it that [`DEFAULT_ALIAS`] names a key, and makes one when it does not. However many
    /// processes do this at once, one key is made.
    ///
    /// # Errors
    /// [`HomeError::Engine`], [`HomeError::Io`].
    pub fn ensure_default_key(&self, user_agent: &str) -> Result<(), HomeError> {
        if self.engine.has_alias(DEFAULT_ALIAS)? {
            return Ok(());
        }
        let _lock = lock(&self.directory)?;
        if self.engine.has_alias(DEFAULT_ALIAS)? {
            return Ok(());
        }
        let engine = &self.engine;
        let created = engine.call(engine.by_owner(
            user_agent,
            CreateKeyRequest {
                description: Some("Made on first use".to_owned()),
                ..CreateKeyRequest::default()
            },
        )?)?;
        engine.call(engine.by_owner(
            user_agent,
            CreateAliasRequest {
                alias_name: DEFAULT_ALIAS.to_owned(),
                target_key_id: created.key_metadata.key_id,
            },
        )?)?;
        Ok(())
    }
}

/// Makes root key and root record, and gives record and keyring. Under the lock: of several processes
/// that find the home empty one makes it, the others find it made.
fn make_root(
    directory: &Path,
    store: &SqliteStore,
    place: &Home,
    passphrases: &dyn Passphrases,
    entropy: Arc<dyn Entropy>,
) -> Result<(RootRecord, Box<dyn Keyring>), HomeError> {
    let _lock = lock(directory)?;
    if let Some(record) = RootRecord::read(store)? {
        let keyring = root_keyring(directory, &record.root, passphrases, entropy)?;
        return Ok((record, keyring));
    }
    let (kind, keyring) = new_root(directory, passphrases, entropy.clone())?;
    let record = RootRecord::create(store, place, kind, keyring.as_ref(), entropy.as_ref())?;
    Ok((record, keyring))
}

/// A root key that is there or is made, as `passphrases` wants it for a new home.
fn new_root(
    directory: &Path,
    passphrases: &dyn Passphrases,
    entropy: Arc<dyn Entropy>,
) -> Result<NewRoot, HomeError> {
    let no_entropy = |_| HomeError::Io {
        path: directory.to_owned(),
        source: std::io::Error::other("the operating system gave no random bytes"),
    };
    if let Some(device) = passphrases
        .device_for_new_home()
        .map_err(HomeError::Device)?
    {
        return Ok(device);
    }
    let (kind, key) = if passphrases.wanted_for_new_home() {
        let salt = random::array(entropy.as_ref()).map_err(no_entropy)?;
        let params = PasswordParams::recommended(salt);
        let passphrase = passphrases
            .passphrase(true)
            .map_err(HomeError::NoPassphrase)?;
        (RootKind::passphrase(&params), params.derive(&passphrase)?)
    } else {
        let path = directory.join(ROOT_KEY_FILE);
        if !path.exists() {
            let mut key = SecretBytes::zeroed(ROOT_KEY_BYTES);
            entropy.fill(key.expose_mut()).map_err(no_entropy)?;
            write_secret(directory, &path, &key)?;
        }
        (RootKind::File, read_root_key(&path)?)
    };
    let keyring = kind.keyring(&key, entropy)?;
    Ok((kind, Box::new(keyring)))
}

fn root_keyring(
    directory: &Path,
    root: &RootKind,
    passphrases: &dyn Passphrases,
    entropy: Arc<dyn Entropy>,
) -> Result<Box<dyn Keyring>, HomeError> {
    if let RootKind::Pkcs11 { serial, object } = root {
        return passphrases
            .device(serial, object)
            .map_err(HomeError::Device);
    }
    let key = match root.password_params()? {
        None => read_root_key(&directory.join(ROOT_KEY_FILE))?,
        Some(params) => {
            let passphrase = passphrases
                .passphrase(false)
                .map_err(HomeError::NoPassphrase)?;
            params.derive(&passphrase)?
        }
    };
    Ok(Box::new(root.keyring(&key, entropy)?))
}

/// What a home hangs from; `None` where there is none yet. No key is needed.
///
/// # Errors
/// [`HomeError::Store`], [`HomeError::Root`].
pub fn root_of(directory: &Path) -> Result<Option<RootKind>, HomeError> {
    let path = directory.join(STORE_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let record = RootRecord::read(&SqliteStore::open(&path)?)?;
    Ok(record.map(|record| record.root))
}

/// Hangs the home in `directory` from another root key: that which `to` wants for a new home. `from`
/// opens it as it is. Processes that have it open go on as before; a root key file that is not needed
/// any more is removed.
///
/// # Errors
/// [`HomeError`]; the home then hangs from what it hung from.
pub fn migrate_root(
    directory: &Path,
    from: &dyn Passphrases,
    to: &dyn Passphrases,
    entropy: Arc<dyn Entropy>,
) -> Result<RootKind, HomeError> {
    let _lock = lock(directory)?;
    let store = SqliteStore::open(&directory.join(STORE_FILE))?;
    let record = RootRecord::read(&store)?;
    let record = record.ok_or_else(|| RootError::Damaged("there is no root record".to_owned()))?;
    let old = root_keyring(directory, &record.root, from, entropy.clone())?;
    // The old one opens the store, or nothing is made.
    record.open(old.as_ref())?;
    let (kind, new) = new_root(directory, to, entropy)?;
    let migrated = RootRecord::migrate(&store, old.as_ref(), kind, new.as_ref())?;
    let path = directory.join(ROOT_KEY_FILE);
    if record.root == RootKind::File && migrated.root != RootKind::File {
        std::fs::remove_file(&path).map_err(|source| HomeError::Io { path, source })?;
    }
    Ok(migrated.root)
}

fn read_root_key(path: &Path) -> Result<SecretBytes, HomeError> {
    let root_key = |what| HomeError::RootKey {
        path: path.to_owned(),
        what,
    };
    let io = |source| HomeError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(root_key("missing")),
        Err(error) => return Err(io(error)),
    };
    let metadata = file.metadata().map_err(io)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(HomeError::WeakMode {
            path: path.to_owned(),
            mode,
        });
    }
    if metadata.len() != ROOT_KEY_BYTES as u64 {
        return Err(root_key("not 32 bytes long"));
    }
    let mut key = SecretBytes::zeroed(ROOT_KEY_BYTES);
    file.read_exact(key.expose_mut()).map_err(io)?;
    Ok(key)
}

/// Writes a file that is complete and durable before it has its name.
fn write_secret(directory: &Path, path: &Path, secret: &SecretBytes) -> Result<(), HomeError> {
    let temporary = path.with_extension("key.new");
    let io = |source| HomeError::Io {
        path: temporary.clone(),
        source,
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(io)?;
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(io)?;
    file.write_all(secret.expose()).map_err(io)?;
    file.sync_all().map_err(io)?;
    std::fs::rename(&temporary, path).map_err(io)?;
    sync_directory(directory).map_err(io)
}

fn make_directory(directory: &Path) -> Result<(), HomeError> {
    if directory.is_dir() {
        return Ok(());
    }
    files::make_directory(directory).map_err(|source| HomeError::Io {
        path: directory.to_owned(),
        source,
    })
}

/// Held until the file is dropped; the system lets go of it when the process ends.
fn lock(directory: &Path) -> Result<File, HomeError> {
    let path = directory.join("lock");
    let io = |source| HomeError::Io {
        path: path.clone(),
        source,
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(io)?;
    file.lock().map_err(io)?;
    Ok(file)
}
