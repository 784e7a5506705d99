//! Where the engine's state lives: documents under keys, changed by compare-and-set batches.
//!
//! A [`Store`] sees sealed bytes only: it is trusted to keep them, not to read them. Four calls
//! are all there is, so that SQLite, PostgreSQL, etcd and FoundationDB can stand behind them
//! alike. [`MemoryStore`] is the model that the others are tested against; [`SqliteStore`] is the
//! embedded default.
//!
//! ```
//! use waxseal_kms::store::{Batch, Expect, MemoryStore, Store};
//!
//! let store = MemoryStore::new();
//! store.commit(Batch::new().put("alias/a", Expect::Absent, "first"))?;
//! let found = store.get("alias/a")?.map(|document| document.revision);
//! assert_eq!(found, Some(1));
//! # Ok::<(), waxseal_kms::store::StoreError>(())
//! ```
//!
//! **Head.** Every commit that changes something raises the store's head by one. A reader keeps
//! the head that its memory stands for and asks [`Store::watch`] what happened after it.
//!
//! **Revisions** count the writes of one document: 1, 2, … A document that is created again
//! under the key of a deleted one starts at 1 again. Whoever must tell the two apart writes an
//! identity into the body.

mod memory;
mod sqlite;

pub use memory::MemoryStore;
pub use sqlite::SqliteStore;

use std::collections::BTreeSet;
use std::path::PathBuf;

/// The most bytes of a key. The least is one.
pub const KEY_BYTES_MAX: usize = 512;

/// The most bytes of a document's body: 1 MiB.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// The most changes of one batch.
pub const BATCH_CHANGES_MAX: usize = 1024;

/// Documents under keys, shared by every handle and process that opened the same store.
///
/// A commit that was answered is seen by every later call on every handle.
pub trait Store: Send + Sync {
    /// The document under `key`.
    ///
    /// # Errors
    /// [`StoreError::InvalidKey`] and whatever goes wrong with the medium.
    fn get(&self, key: &str) -> Result<Option<Document>, StoreError>;

    /// All documents whose keys begin with `prefix` (all there are when it is empty), in the byte
    /// order of their keys, as they stood together at one moment.
    ///
    /// # Errors
    /// As [`Store::get`].
    fn scan(&self, prefix: &str) -> Result<Vec<Document>, StoreError>;

    /// The keys of these documents. Bodies are not read where that can be helped: they may be many.
    ///
    /// # Errors
    /// As [`Store::get`].
    fn names(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let found = self.scan(prefix)?.into_iter();
        Ok(found.map(|document| document.key).collect())
    }

    /// Applies all of `batch` or nothing, and gives the new head. What it wrote is durable when
    /// it returns. A batch that holds checks alone, or nothing, leaves the head as it is.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when an expectation does not hold, the limits of [`Batch`], and
    /// whatever goes wrong with the medium. After [`StoreError::Io`] the outcome is unknown until
    /// the store has been read again; after every other error nothing was written.
    fn commit(&self, batch: &Batch) -> Result<u64, StoreError>;

    /// The head, and what was written or deleted after `since`. Microseconds when nothing was:
    /// every request asks.
    ///
    /// # Errors
    /// [`StoreError::RolledBack`] when the head lies before `since`, and as [`Store::get`].
    fn watch(&self, since: u64) -> Result<Changes, StoreError>;

    /// Removes what the medium still has of documents that were deleted or replaced. Whether nothing
    /// is left; otherwise somebody reads, and it is to be tried again.
    ///
    /// # Errors
    /// Whatever goes wrong with the medium.
    fn scrub(&self) -> Result<bool, StoreError> {
        Ok(true)
    }

    /// Whether a call has waited for the medium for longer than [`STALL`](crate::turn::STALL).
    fn is_stalled(&self) -> bool {
        false
    }
}

/// One document as the store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// 1 to [`KEY_BYTES_MAX`] bytes of printable ASCII.
    pub key: String,
    /// How often it was written: 1, 2, …
    pub revision: u64,
    /// At most [`BODY_BYTES_MAX`] bytes.
    pub body: Vec<u8>,
}

/// What a batch expects of a document before it changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// There is none under that key.
    Absent,
    /// It is there and was not written since this revision was read.
    Revision(u64),
}

/// Changes that happen together or not at all.
///
/// Each key appears at most once; at most [`BATCH_CHANGES_MAX`] changes. The limits are checked
/// by [`Store::commit`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    changes: Vec<Change>,
}

impl Batch {
    /// A batch that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a document.
    pub fn put(
        &mut self,
        key: impl Into<String>,
        expect: Expect,
        body: impl Into<Vec<u8>>,
    ) -> &mut Self {
        self.push(key.into(), expect, Action::Put(body.into()))
    }

    /// Removes a document. With [`Expect::Absent`] this is [`Batch::check`].
    pub fn delete(&mut self, key: impl Into<String>, expect: Expect) -> &mut Self {
        let action = match expect {
            Expect::Absent => Action::Check,
            Expect::Revision(_) => Action::Delete,
        };
        self.push(key.into(), expect, action)
    }

    /// Changes nothing, and lets the batch fail unless the expectation holds.
    pub fn check(&mut self, key: impl Into<String>, expect: Expect) -> &mut Self {
        self.push(key.into(), expect, Action::Check)
    }

    /// Number of changes, checks included.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there is no change and no check.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn push(&mut self, key: String, expect: Expect, action: Action) -> &mut Self {
        self.changes.push(Change {
            key,
            expect,
            action,
        });
        self
    }

    fn writes(&self) -> bool {
        self.changes
            .iter()
            .any(|change| !matches!(change.action, Action::Check))
    }

    fn validate(&self) -> Result<(), StoreError> {
        if self.changes.len() > BATCH_CHANGES_MAX {
            return Err(StoreError::TooManyChanges {
                changes: self.changes.len(),
            });
        }
        let mut seen = BTreeSet::new();
        for change in &self.changes {
            validate_key(&change.key)?;
            change.validate_body()?;
            if !seen.insert(change.key.as_str()) {
                return Err(StoreError::DuplicateKey {
                    key: change.key.clone(),
                });
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    key: String,
    expect: Expect,
    action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Put(Vec<u8>),
    Delete,
    Check,
}

impl Change {
    fn validate_body(&self) -> Result<(), StoreError> {
        match &self.action {
            Action::Put(body) if body.len() > BODY_BYTES_MAX => Err(StoreError::BodyTooLong {
                key: self.key.clone(),
                bytes: body.len(),
            }),
            _ => Ok(()),
        }
    }

    /// Compares with the revision that is there, and gives the one a write would have.
    fn next_revision(&self, found: Option<u64>) -> Result<u64, StoreError> {
        match (self.expect, found) {
            (Expect::Absent, None) => Ok(1),
            (Expect::Revision(expected), Some(found)) if expected == found => Ok(found + 1),
            _ => Err(StoreError::Conflict {
                key: self.key.clone(),
            }),
        }
    }
}

/// What [`Store::watch`] saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The store's head, to be handed to the next [`Store::watch`].
    pub head: u64,
    /// Keys written or deleted after the head that was asked about, in byte order, each once.
    pub keys: Vec<String>,
}

/// Why a store did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// An expectation did not hold; nothing was written.
    #[error("the document '{key}' was changed by somebody else")]
    Conflict {
        /// The first document of the batch that was not as expected.
        key: String,
    },
    /// A key is empty, too long or not printable ASCII.
    #[error("a key of the store has 1 to {KEY_BYTES_MAX} bytes of printable ASCII: {key:?}")]
    InvalidKey {
        /// The key, cut to 64 characters.
        key: String,
    },
    /// A body is longer than [`BODY_BYTES_MAX`].
    #[error("the document '{key}' has {bytes} bytes; the limit is {BODY_BYTES_MAX}")]
    BodyTooLong {
        /// Where it was to go.
        key: String,
        /// Its length.
        bytes: usize,
    },
    /// A batch names a key twice.
    #[error("a batch changes the document '{key}' twice")]
    DuplicateKey {
        /// That key.
        key: String,
    },
    /// A batch is longer than [`BATCH_CHANGES_MAX`].
    #[error("a batch has {changes} changes; the limit is {BATCH_CHANGES_MAX}")]
    TooManyChanges {
        /// Its length.
        changes: usize,
    },
    /// A later version of this program made or upgraded the store.
    #[error("the store has layout {found}; this version knows layouts up to {known}")]
    NewerVersion {
        /// The layout of the store.
        found: u32,
        /// The newest layout that this program knows.
        known: u32,
    },
    /// Something that this program did not make lies at that path. It was not touched.
    #[error("{} is not a store of this program", .0.display())]
    NotAStore(PathBuf),
    /// The store's own structure does not hold.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// The head lies before one that was seen: an older copy was put in the store's place.
    #[error("the store is at head {head}, but was at {known} before: an older copy took its place")]
    RolledBack {
        /// The head that was found.
        head: u64,
        /// The head that was seen before.
        known: u64,
    },
    /// The file or its file system cannot be written.
    #[error("the store cannot be written: it or its file system is read-only")]
    ReadOnly,
    /// No space is left.
    #[error("no space is left for the store")]
    Full,
    /// The disk has not answered for [`STALL`](crate::turn::STALL).
    #[error("the store's disk does not answer")]
    Stalled,
    /// Others kept the store locked for longer than a caller can wait.
    #[error("the store is locked by another process")]
    Busy,
    /// The operating system failed to read or write.
    #[error("the store could not be read or written: {0}")]
    Io(String),
}

impl StoreError {
    /// The same in a few words that name nothing, for everybody to see.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Full => "the store's disk is full",
            Self::ReadOnly => "the store is read-only",
            Self::Stalled => "the store's disk does not answer",
            Self::Busy => "the store is locked by another process",
            Self::Corrupt(_) => "the store is damaged",
            Self::RolledBack { .. } => "an older copy took the store's place",
            _ => "the store cannot be read or written",
        }
    }
}

fn validate_key(key: &str) -> Result<(), StoreError> {
    if key.is_empty() {
        return Err(invalid_key(key));
    }
    validate_prefix(key)
}

fn validate_prefix(prefix: &str) -> Result<(), StoreError> {
    let printable = prefix.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if prefix.len() > KEY_BYTES_MAX || !printable {
        return Err(invalid_key(prefix));
    }
    Ok(())
}

fn invalid_key(key: &str) -> StoreError {
    StoreError::InvalidKey {
        key: key.chars().take(64).collect(),
    }
}
