//! Envelope encryption: data is sealed with a fresh data key, the data key is wrapped by a key
//! that never leaves its key service, and both travel together.
//!
//! * [`message`]: AWS Encryption SDK messages, any size, as streams in bounded memory.
//! * [`direct`]: the ciphertext blob of a key service itself, for at most 4,096 bytes.
//! * [`secretbox`]: XSalsa20-Poly1305 payloads in Go's `gob` encoding, held in memory as a whole.
//! * [`detect`]: which of these some bytes are.
//!
//! Keys come from a [`Keyring`]: a KMS, a raw key, or several of them at once; [`materials`] lets
//! several messages share one.
//!
//! ```
//! use std::sync::Arc;
//! use waxseal::message::{self, OpenOptions, SealOptions};
//! use waxseal::{RawAesKeyring, SecretBytes, SystemEntropy};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # pollster::block_on(async {
//! let wrapping_key = SecretBytes::new(vec![7; 32]); // yours comes from a safe place
//! let keyring = RawAesKeyring::new("example", "key-1", &wrapping_key, Arc::new(SystemEntropy))?;
//!
//! let mut options = SealOptions::default();
//! options.context.insert("purpose", "backup")?;
//! let sealed = message::encrypt(&keyring, b"attack at dawn", options, &SystemEntropy).await?;
//!
//! let mut demands = OpenOptions::default();
//! demands.required_context.insert("purpose", "backup")?;
//! let (plaintext, header) = message::decrypt(&keyring, &sealed, &demands).await?;
//! assert_eq!(plaintext.expose(), b"attack at dawn");
//! assert_eq!(header.suite().id(), 0x0478);
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! Promises: nothing is given out that was not authenticated; input from outside never panics;
//! limits hold before memory is taken; failed decryption does not say why; nothing here opens a
//! file or a socket, or draws randomness that was not handed in (but for signing keys, which the
//! cryptographic library makes by itself).

pub mod detect;
pub mod direct;
pub mod materials;
pub mod message;
pub mod secretbox;

pub use waxseal_core::arn::{AliasName, KeyArn, KeyId, KeyRef};
pub use waxseal_core::context::{ContextError, EncryptionContext};
pub use waxseal_core::crypto::random::{Entropy, EntropyError, SystemEntropy};
pub use waxseal_core::keyring::{
    DataKey, EncryptedDataKey, Keyring, KeyringError, MultiKeyring, RawAesKeyring,
};
pub use waxseal_core::secret::SecretBytes;
