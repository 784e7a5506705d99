//! Who supplies the keys of a message: a *cryptographic materials manager* (AWS Encryption SDK
//! specification, `framework/cmm-interface.md`).
//!
//! ```text
//! Sealer, Incoming ─► MaterialsManager ─► Keyring ─► key service
//!                     DefaultManager: asks the keyring each time
//!                     CachingManager: asks another manager, and remembers within limits
//! ```
//!
//! [`Sealer::new`](crate::message::Sealer::new) and
//! [`Incoming::open`](crate::message::Incoming::open) take a keyring and put a [`DefaultManager`]
//! around it. Give a manager yourself to reuse data keys.

mod caching;
mod default;

pub use caching::{
    CacheLimits, CacheStatistics, CachingManager, Clock, InvalidLimits, SystemClock,
};
pub use default::DefaultManager;

use crate::message::{Attempt, CommitmentPolicy, OpenError, SealError, Suite};
use std::collections::BTreeSet;
use std::sync::Arc;
use waxseal_core::context::EncryptionContext;
use waxseal_core::crypto::ecdsa::{SigningKey, VerifyingKey};
use waxseal_core::keyring::{BoxFuture, DataKey, EncryptedDataKey};

/// What a message needs before it can be sealed.
#[derive(Debug, Clone, Copy)]
pub struct SealingRequest<'a> {
    /// The suite it will have.
    pub suite: Suite,
    /// Its encryption context, without names that belong to the format.
    pub context: &'a EncryptionContext,
    /// The names in the context that will be authenticated and not stored.
    pub required_names: &'a BTreeSet<String>,
    /// The policy that admitted the suite.
    pub commitment: CommitmentPolicy,
    /// Length of the plaintext, where it is known beforehand. It bounds what a data key that is
    /// used again protects.
    pub plaintext_bytes: Option<u64>,
}

/// What seals a message.
#[derive(Clone)]
pub struct SealingMaterials {
    /// The encryption context, with the public key when the message will be signed.
    pub context: EncryptionContext,
    /// The data key.
    pub data_key: Arc<DataKey>,
    /// The data key in its wrappings, all of them under `context`.
    pub encrypted_data_keys: Vec<EncryptedDataKey>,
    /// Where the suite signs: the key whose public half is in `context`.
    pub signing_key: Option<Arc<SigningKey>>,
}

/// What a message needs before it can be opened.
#[derive(Debug, Clone, Copy)]
pub struct OpeningRequest<'a> {
    /// The suite that its header claims.
    pub suite: Suite,
    /// The pairs in its header and those that the reader adds.
    pub context: &'a EncryptionContext,
    /// The data key in its wrappings.
    pub encrypted_data_keys: &'a [EncryptedDataKey],
    /// The policy that admits the suite.
    pub commitment: CommitmentPolicy,
}

/// What opens a message.
#[derive(Clone)]
pub struct OpeningMaterials {
    /// The data key.
    pub data_key: Arc<DataKey>,
    /// Where the suite signs: the key in the context.
    pub verifying_key: Option<VerifyingKey>,
}

/// Supplies the keys of messages.
pub trait MaterialsManager: Send + Sync {
    /// A data key, wrapped, and a signing key where the suite has one.
    fn for_sealing<'a>(
        &'a self,
        request: SealingRequest<'a>,
    ) -> BoxFuture<'a, Result<SealingMaterials, SealError>>;

    /// The data key of a message that was read.
    ///
    /// [`OpenError::NoDataKey`] tells why, [`Attempt`] by [`Attempt`], when there is none.
    fn for_opening<'a>(
        &'a self,
        request: OpeningRequest<'a>,
    ) -> BoxFuture<'a, Result<OpeningMaterials, OpenError>>;
}

macro_rules! pass_on {
    ($($pointer:ty),*) => {$(
        impl<M: MaterialsManager + ?Sized> MaterialsManager for $pointer {
            fn for_sealing<'a>(
                &'a self,
                request: SealingRequest<'a>,
            ) -> BoxFuture<'a, Result<SealingMaterials, SealError>> {
                (**self).for_sealing(request)
            }

            fn for_opening<'a>(
                &'a self,
                request: OpeningRequest<'a>,
            ) -> BoxFuture<'a, Result<OpeningMaterials, OpenError>> {
                (**self).for_opening(request)
            }
        }
    )*};
}

pass_on!(&M, Arc<M>);

impl std::fmt::Debug for SealingMaterials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.encrypted_data_keys.len();
        write!(f, "SealingMaterials({count} encrypted data keys)")
    }
}

impl std::fmt::Debug for OpeningMaterials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpeningMaterials")
    }
}
