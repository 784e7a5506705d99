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

mod lease;
mod roots;

pub use lease::{Keeper, LeaseNotice};
pub use roots::{
    FileRoot, RootSource, Tried, Wanted, add_root, exchange_root, init, migrate_root, remove_root,
    roots_of, try_roots,
};

use crate::audit::{AuditError, AuditLog};
use crate::clock::SystemClock;
use crate::engine::{Engine, Parts, Rollback, RollbackError};
use crate::files;
use crate::reserve::Reserve;
use crate::root::{RootError, RootKind, RootRecord};
use crate::store::{SqliteStore, StoreError};
use roots::Roots;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use waxseal_core::arn::Home;
use waxseal_core::crypto::password::PasswordParamsError;
use waxseal_core::crypto::random::Entropy;
use waxseal_kms_api::KmsError;
use waxseal_kms_api::op::{CreateAliasRequest, CreateKeyRequest};

/// The alias that stands for "no key was named".
pub const DEFAULT_ALIAS: &str = "alias/default";

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
    /// Something of the home can be changed by others.
    #[error("{path} has mode {mode:04o}: others can change it")]
    Changeable {
        /// What.
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
    /// A root elsewhere, in a device or another KMS, cannot be used.
    #[error("{0}")]
    Elsewhere(String),
    /// None of several roots opens the store.
    #[error("no root opens the store: {}", listed(.0))]
    NoRoot(Vec<(RootKind, Self)>),
    /// There is a store already where one was to be made.
    #[error("there is a store in {} already", .0.display())]
    Exists(PathBuf),
    /// The store does not hang from that root.
    #[error("the store does not hang from {0}")]
    NoSuchRoot(String),
    /// No passphrase was given.
    #[error("no passphrase: {0}")]
    NoPassphrase(String),
    /// There are no shares to be had, or nobody to give new ones to.
    #[error("no shares: {0}")]
    NoShares(String),
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

fn listed(failures: &[(RootKind, HomeError)]) -> String {
    let told = failures
        .iter()
        .map(|(kind, error)| format!("{kind}: {error}"));
    told.collect::<Vec<_>>().join("; ")
}

impl From<RollbackError> for HomeError {
    fn from(error: RollbackError) -> Self {
        match error {
            RollbackError::Engine(error) => Self::Engine(error),
            rollback => Self::RolledBack(rollback),
        }
    }
}

/// An opened home.
#[derive(Debug)]
pub struct EmbeddedHome {
    directory: PathBuf,
    engine: Arc<Engine>,
    roots: Arc<Roots>,
    opened_by: RootKind,
}

impl EmbeddedHome {
    /// Opens the home in `directory` with the first of its roots that does, and makes it when it is not
    /// there.
    ///
    /// `place` names partition, Region and account of a new home; an existing one keeps its own.
    ///
    /// # Errors
    /// [`HomeError`]. Nothing that exists is ever replaced. [`HomeError::RolledBack`] when an older copy
    /// of the store or of the audit log lies in its place.
    pub fn open(
        directory: &Path,
        place: &Home,
        source: Arc<dyn RootSource>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, HomeError> {
        Self::open_with(directory, place, source, entropy, Rollback::Refused)
    }

    /// The same, and says what to do with a store and an audit log that do not belong together.
    ///
    /// # Errors
    /// [`HomeError`].
    pub fn open_with(
        directory: &Path,
        place: &Home,
        source: Arc<dyn RootSource>,
        entropy: Arc<dyn Entropy>,
        rollback: Rollback,
    ) -> Result<Self, HomeError> {
        make_directory(directory)?;
        unchangeable(directory)?;
        let store = SqliteStore::open(&directory.join(STORE_FILE));
        let store = match store {
            // Opening it takes room, too; who then may use it is another question.
            Err(StoreError::Full) if Reserve::give_up_in(directory) => {
                SqliteStore::open(&directory.join(STORE_FILE))
            }
            opened => opened,
        }?;
        let roots = Roots::new(directory, source, entropy.clone());
        let (by, opened) = match RootRecord::read(&store)? {
            Some(record) => roots.open(&record)?,
            None => roots.open_or_create(&store, place)?,
        };
        let parts = Parts {
            store: Box::new(store),
            audit: AuditLog::open(&directory.join("audit"))?,
            rows: opened.rows,
            home: opened.home,
            clock: Arc::new(SystemClock),
            entropy,
        };
        let engine = Engine::open(parts, directory, rollback)?;
        let roots = Arc::new(roots);
        engine.reopen_by(Box::new(roots.clone()));
        Ok(Self {
            directory: directory.to_owned(),
            engine: Arc::new(engine),
            roots,
            opened_by: by.kind,
        })
    }

    /// The root that opened it.
    pub fn opened_by(&self) -> &RootKind {
        &self.opened_by
    }

    /// Gives the store a new domain key, and seals every row anew, while others use it; or goes on with
    /// that where it was begun. `told` hears how many rows were looked at, of how many. How many were sealed
    /// anew. Tokens of sessions and of imports from before end with it.
    ///
    /// # Errors
    /// [`HomeError`]; every root must be at hand to begin, one to go on. What ended early is gone on with
    /// by calling this again.
    pub fn rotate_domain_key(&self, told: &dyn Fn(usize, usize)) -> Result<usize, HomeError> {
        let _lock = lock(&self.directory)?;
        self.roots.begin_epoch(&self.engine)?;
        Ok(self.engine.reseal(told)?)
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

/// Refuses a home that others can change: they could put another store into the place of this one.
fn unchangeable(directory: &Path) -> Result<(), HomeError> {
    let parts = ["", STORE_FILE, "store.db-wal", "audit"].map(|name| directory.join(name));
    for path in parts {
        match files::changeable(&path) {
            Ok(None) => {}
            Ok(Some(mode)) => return Err(HomeError::Changeable { path, mode }),
            Err(source) => return Err(HomeError::Io { path, source }),
        }
    }
    Ok(())
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
