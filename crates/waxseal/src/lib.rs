//! Envelope encryption: data is sealed with a fresh data key, the data key is wrapped by a key
//! that never leaves its key service, and both travel together.
//!
//! Messages are those of the AWS Encryption SDK: what its implementations in other languages
//! write is read here, and the reverse. No AWS crate is needed for that, and none is depended on.
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
//! # Formats
//!
//! | module | what | size |
//! |---|---|---|
//! | [`message`] | AWS Encryption SDK messages, all suites of both versions | any, in bounded memory |
//! | [`direct`] | the ciphertext blob of a key service itself | at most 4,096 bytes |
//! | [`secretbox`] | XSalsa20-Poly1305 payloads in Go's `gob` encoding | held in memory as a whole |
//! | [`detect`] | which of these some bytes are | the first 4,096 bytes |
//!
//! # Ways in and out of a message
//!
//! | you have | seal | open |
//! |---|---|---|
//! | everything in memory | [`encrypt`](message::encrypt) | [`decrypt`](message::decrypt) |
//! | a reader and a writer | [`seal_stream`](message::seal_stream) | [`Opener::open_stream`](message::Opener::open_stream) |
//! | code that writes | [`SealWriter`](message::SealWriter) | |
//! | code that reads | [`SealReader`](message::SealReader) | [`Opener::into_reader`](message::Opener::into_reader) |
//! | `tokio::io` (feature `tokio`) | `seal_async` | `Incoming::read_async`, `Opener::open_async` |
//! | I/O of your own | [`Sealing`](message::Sealing) | [`HeaderIntake`](message::HeaderIntake), [`Opening`](message::Opening) |
//! | a file to seek in | | [`Opener::into_range_reader`](message::Opener::into_range_reader) |
//!
//! All seal through one [`Sealer`](message::Sealer), which has asked for a data key and serves one
//! plaintext, and open through [`Incoming`](message::Incoming) (a header that is not trusted) and
//! [`Opener`](message::Opener) (a header that is). The call to the key service is the only
//! asynchronous step; without a runtime, any `block_on` will do, such as that of crate `pollster`.
//!
//! # Keys
//!
//! A [`Keyring`] makes, wraps and unwraps data keys: a raw key ([`RawAesKeyring`]), several
//! keyrings at once ([`MultiKeyring`]), a KMS, or an implementation of yours. A manager from
//! [`materials`] lets several messages share one data key, within limits of age, messages and
//! bytes.
//!
//! # When plaintext may be used
//!
//! * Each frame of an unsigned message is authentic once it is given out. That the plaintext is
//!   *whole* is known only at the end: when the call that opens returns without an error, or a
//!   reader has given 0 bytes.
//! * Nothing of a signed message is attributed to its author before the end.
//!   [`Release::Verified`](message::Release) therefore refuses to stream it;
//!   [`Release::Unverified`](message::Release) streams what readers in possession of the key
//!   could have written themselves, and holds the final frame back until the signature verified.
//!
//! # Errors
//!
//! Every module has enums of its own ([`SealError`](message::SealError),
//! [`OpenError`](message::OpenError), [`direct::Error`], [`secretbox::Error`], and
//! [`KeyringError`] within them) whose variants name the rule that was broken. What could help an
//! attacker is not told: commitment, tags and signatures fail as one
//! [`Unauthentic`](message::OpenError::Unauthentic). Readers and writers put these errors into
//! [`std::io::Error`]; [`OpenError::from_io`](message::OpenError::from_io) and
//! [`SealError::from_io`](message::SealError::from_io) take them out.
//!
//! # Limits
//!
//! | what | default | where to change it |
//! |---|---|---|
//! | encrypted data keys in a header | 64 | [`Limits`](message::Limits) |
//! | length of a header | 512 KiB | [`Limits`](message::Limits) |
//! | length of a frame, or of a body without frames | 64 MiB | [`Limits`](message::Limits) |
//! | encryption context, serialised | 65,535 bytes | the format's |
//! | frames in a message | 2³² − 1 | the format's |
//! | secretbox plaintext | 1 GiB | [`secretbox::Limits`] |
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `tokio` | asynchronous entry points on `tokio::io` (its `io-util` alone) |
//!
//! None is on by default.
//!
//! # Promises
//!
//! Nothing is given out that was not authenticated; input from outside never panics; limits hold
//! before memory is taken; keys and buffered plaintext are wiped; failed decryption does not say
//! why; nothing here opens a file or a socket, or draws randomness that was not handed in (but for
//! signing keys, which the cryptographic library makes by itself).
//!
//! # Examples
//!
//! In `examples/`: `first_message`, `multi_recipient`, `caching`, `range_read` and `axum_upload`, a
//! web server that seals uploads while they arrive.

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
