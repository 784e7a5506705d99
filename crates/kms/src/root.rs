//! What the hierarchy hangs from.
//!
//! ```text
//! root key ─┐
//! root key ─┴─ wrap ──▶ domain key ── seals ──▶ rows, among them the backing keys
//!                                               backing key ── derives ──▶ a key a blob
//! ```
//!
//! A root key is a [`Keyring`]: a file, a passphrase, shares, a key in a device or
//! in another KMS. A store hangs from one or several, and each of them alone opens it. The document
//! `root` ([`RootRecord`]) holds the domain key as each of them wrapped it, and how to find them. It
//! is the one row that is not sealed; what it says of a root is bound to what that root wrapped as
//! encryption context, so that nothing in it can be changed unnoticed.

mod kind;
mod record;
mod share;

pub use kind::RootKind;
pub use record::{Opened, RootRecord};
pub use share::{Illegible, RootShare, SHARE_BYTES_MAX, SHARES_MAX, combine_shares, make_shares};

use crate::store::StoreError;
use waxseal_core::{Keyring, KeyringError};
use waxseal_kms_api::KmsError;

/// The provider id of domain keys that were wrapped here or by a device.
pub const PROVIDER_ROOT: &str = "waxseal-root";

/// The document that holds the [`RootRecord`].
pub const ROOT_DOCUMENT: &str = "root";

/// The most roots that one store hangs from.
pub const ROOTS_MAX: usize = 16;

const LAYOUT: u32 = 2;

/// A root key at hand: how it is found again, and its keyring.
pub struct Root {
    /// How it is found.
    pub kind: RootKind,
    /// Wraps and opens the domain key.
    pub keyring: Box<dyn Keyring>,
}

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Root({:?})", self.kind)
    }
}

/// Why the root of a store could not be made or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// The root key did not open the domain key: another file, or another passphrase.
    #[error("the {0} does not open this store")]
    WrongKey(&'static str),
    /// The shares are too few, repeated, altered, or of another splitting: it is not said which.
    #[error(
        "the shares do not open this store: {need} different ones are needed, all of those that were made \
         together for it"
    )]
    Shares {
        /// How many are needed.
        need: u8,
    },
    /// A root key cannot be split like that.
    #[error("of 2 to {SHARES_MAX} shares at least 2 must be needed, and at most all of them")]
    ShareNumbers,
    /// The record is of a newer layout.
    #[error("the store's root record has layout {found}; this version knows up to {LAYOUT}")]
    Newer {
        /// Layout found.
        found: u32,
    },
    /// The record does not follow its layout.
    #[error("the store's root record is damaged: {0}")]
    Damaged(String),
    /// The store hangs from that root already.
    #[error("the store hangs from that already: {0}")]
    Twice(RootKind),
    /// The store would hang from nothing.
    #[error("the store hangs from nothing else: the last root is not removed")]
    Last,
    /// The store would hang from more than [`ROOTS_MAX`] roots.
    #[error("a store hangs from {ROOTS_MAX} roots at most")]
    TooMany,
    /// A root is needed that is not at hand.
    #[error("every root is needed for this, and one is not there: {0}")]
    Missing(RootKind),
    /// The domain key is being rotated.
    #[error("the store's rows are being sealed anew: waxseal root rotate goes on with it")]
    Rotating,
    /// The root keyring failed otherwise.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] KmsError),
}

fn no_entropy(error: impl std::fmt::Display) -> RootError {
    RootError::Keyring(KeyringError::Service {
        key: "the root".to_owned(),
        reason: error.to_string(),
    })
}
