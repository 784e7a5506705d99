//! The nouns of envelope encryption, the joint between formats and key services, and the one
//! door to cryptography.
//!
//! * [`secret`]: bytes that zero themselves and cannot be printed.
//! * [`context`]: the encryption context, its canonical bytes and its limits.
//! * [`arn`]: key ids, key ARNs and alias names, parsed once; [`bucket`]: names of buckets.
//! * [`keyring`]: the [`Keyring`] trait, encrypted data keys, the multi-keyring, and the local
//!   keyrings: raw AES, RSA and ECDH keys, and branch keys of a store that is handed in.
//! * [`crypto`]: every primitive the project uses. No other crate names a cryptographic library.
//!
//! Nothing here opens a file or a socket or reads a clock. Randomness comes through
//! [`crypto::random::Entropy`], handed in by the caller.
//!
//! ```
//! use waxseal_core::context::EncryptionContext;
//!
//! let mut context = EncryptionContext::new();
//! context.insert("purpose", "backup")?;
//! assert_eq!(context.serialize()?, b"\0\x01\0\x07purpose\0\x06backup");
//! # Ok::<(), waxseal_core::context::ContextError>(())
//! ```

pub mod arn;
pub mod bucket;
pub mod context;
pub mod crypto;
pub mod keyring;
pub mod secret;

pub use arn::{AliasName, KeyArn, KeyId, KeyRef};
pub use context::EncryptionContext;
pub use keyring::{DataKey, EncryptedDataKey, Keyring, KeyringError};
pub use secret::SecretBytes;
