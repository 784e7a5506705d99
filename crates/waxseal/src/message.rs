//! AWS Encryption SDK messages: sealed and opened as streams of frames, in bounded memory.
//!
//! All [suites](Suite) of both header versions are read and, where the [`CommitmentPolicy`] admits
//! them, written; written bodies always have frames, and bodies without frames are read when they
//! fit into memory. Source: the AWS Encryption SDK specification, `data-format/`.
//!
//! Order of opening: [`Incoming`] holds a header that nobody vouches for; [`Incoming::open`]
//! unwraps the data key, compares the commitment, verifies the header and gives an [`Opener`];
//! [`Opener::open_stream`] releases plaintext, as do the other ways from an `Opener`:
//! [`into_reader`](Opener::into_reader), [`into_opening`](Opener::into_opening) and
//! [`into_range_reader`](Opener::into_range_reader). There is no other way to a plaintext byte.
//! Data keys come from a keyring, or from a [materials manager](crate::materials).
//!
//! Sizes: a message of n plaintext bytes in frames of L bytes has `header | n | 32 a frame | 8 |
//! footer` bytes ([`Sealer::message_bytes`] says exactly how many); the footer has 105 bytes when
//! the suite signs and none otherwise.

#[cfg(feature = "tokio")]
mod asynchronous;
mod buffer;
mod error;
mod frame;
mod header;
mod incoming;
mod intake;
mod keys;
mod opener;
mod opening;
mod pipeline;
mod positioned;
mod range;
mod reader;
mod sealer;
mod sealing;
mod stream;
mod suite;
mod window;
mod writer;

#[cfg(feature = "tokio")]
pub use asynchronous::seal_async;
pub use error::{Attempt, OpenError, SealError};
pub use header::Header;
pub(crate) use header::PUBLIC_KEY_NAME;
pub use incoming::{Incoming, Opener};
pub use opening::{HeaderIntake, Opening};
pub use pipeline::{Sink, Source, seal_parallel};
pub use positioned::{ReadAt, WriteAt};
pub use range::{RangeReader, SignedRange};
pub use reader::{OpenReader, SealReader};
pub use sealer::Sealer;
pub use sealing::Sealing;
pub use stream::seal_stream;
pub use suite::{Suite, UnknownSuite};
pub use writer::SealWriter;

use crate::materials::{DefaultManager, MaterialsManager};
use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use waxseal_core::context::EncryptionContext;
use waxseal_core::crypto::random::Entropy;
use waxseal_core::keyring::Keyring;
use waxseal_core::secret::SecretBytes;

/// The frame length that is written unless another is asked for: 64 KiB. Other implementations
/// default to 4,096 bytes, which costs all readers two to four times as much work per byte.
pub const FRAME_BYTES_DEFAULT: NonZeroU32 = match NonZeroU32::new(64 * 1024) {
    Some(bytes) => bytes,
    None => NonZeroU32::MIN,
};

/// The longest frame that is written, and that is read unless [`Limits`] says otherwise: 64 MiB.
/// A frame is held in memory as a whole, because nothing of it may be released before its tag at
/// the end has verified.
pub const FRAME_BYTES_MAX_DEFAULT: usize = 64 * 1024 * 1024;

/// The most encrypted data keys that are read unless [`Limits`] says otherwise. Each costs a call
/// to a key service.
pub const ENCRYPTED_DATA_KEYS_MAX_DEFAULT: usize = 64;

/// The longest header that is read unless [`Limits`] says otherwise: 512 KiB, room for a full
/// encryption context (64 KiB) and 64 encrypted data keys with the largest KMS blob (6 KiB each).
pub const HEADER_BYTES_MAX_DEFAULT: usize = 512 * 1024;

/// How a message is to be sealed.
#[derive(Debug, Clone)]
pub struct SealOptions {
    /// The algorithm suite; [`Suite::COMMITTING`] by default.
    pub suite: Suite,
    /// Plaintext bytes in a frame; [`FRAME_BYTES_DEFAULT`] by default, at most
    /// [`FRAME_BYTES_MAX_DEFAULT`].
    pub frame_bytes: NonZeroU32,
    /// The encryption context; it stands in the header for all to read, but for
    /// `required_names`. Names that begin with `aws-crypto-` belong to the format.
    pub context: EncryptionContext,
    /// Names in `context` whose pairs are authenticated and not stored: readers must know them
    /// (`framework/required-encryption-context-cmm.md`). None by default.
    pub required_names: BTreeSet<String>,
    /// Which suites may be written.
    pub commitment: CommitmentPolicy,
}

impl Default for SealOptions {
    fn default() -> Self {
        Self {
            suite: Suite::COMMITTING,
            frame_bytes: FRAME_BYTES_DEFAULT,
            context: EncryptionContext::new(),
            required_names: BTreeSet::new(),
            commitment: CommitmentPolicy::default(),
        }
    }
}

/// What a reader demands of a message.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// Pairs that the message must be under: those that its header has must have these values,
    /// and those that it has not are added, for messages whose writer authenticated them without
    /// storing them. The message may have other pairs.
    pub required_context: EncryptionContext,
    /// Which suites may be opened.
    pub commitment: CommitmentPolicy,
    /// Also opens what the AWS Encryption SDK for .NET 4.0.0 wrote, whose key derivation left out
    /// the message id (suites of version 1) and whose header tag covered a length too many. Off by
    /// default: a header that does not verify is then tried in up to three further ways.
    pub net_4_0_0: bool,
}

/// Which suites may be written and read (AWS Encryption SDK specification,
/// `framework/commitment-policy.md`). Without commitment one ciphertext can be made to open
/// differently under two keys.
///
/// It prints as, and parses from, the names that the specification gives its members, in lower
/// case with hyphens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CommitmentPolicy {
    /// Only suites without key commitment are written, any is read. For writers whose readers
    /// know nothing newer.
    ForbidEncryptAllowDecrypt,
    /// Only suites with key commitment are written, any is read. For as long as there is old
    /// data.
    RequireEncryptAllowDecrypt,
    /// Only suites with key commitment, both ways.
    #[default]
    RequireEncryptRequireDecrypt,
}

/// A text that names no commitment policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no commitment policy: give forbid-encrypt-allow-decrypt, require-encrypt-allow-decrypt or require-encrypt-require-decrypt"
)]
pub struct UnknownPolicy(pub String);

impl CommitmentPolicy {
    /// All there are, the weakest first.
    pub const ALL: [Self; 3] = [
        Self::ForbidEncryptAllowDecrypt,
        Self::RequireEncryptAllowDecrypt,
        Self::RequireEncryptRequireDecrypt,
    ];

    /// Its name: `require-encrypt-require-decrypt`, for instance.
    pub fn name(self) -> &'static str {
        match self {
            Self::ForbidEncryptAllowDecrypt => "forbid-encrypt-allow-decrypt",
            Self::RequireEncryptAllowDecrypt => "require-encrypt-allow-decrypt",
            Self::RequireEncryptRequireDecrypt => "require-encrypt-require-decrypt",
        }
    }

    /// Whether a message of this suite may be written.
    pub fn may_seal(self, suite: Suite) -> bool {
        suite.is_committing() != (self == Self::ForbidEncryptAllowDecrypt)
    }

    /// Whether a message of this suite may be read.
    pub fn may_open(self, suite: Suite) -> bool {
        suite.is_committing() || self != Self::RequireEncryptRequireDecrypt
    }

    /// The suite that is written under this policy unless another is asked for.
    pub fn default_suite(self) -> Suite {
        match self {
            Self::ForbidEncryptAllowDecrypt => Suite::UNCOMMITTED_SIGNED,
            _ => Suite::COMMITTING,
        }
    }
}

impl FromStr for CommitmentPolicy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        let named = text.replace('_', "-").to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|policy| policy.name() == named)
            .ok_or_else(|| UnknownPolicy(text.to_owned()))
    }
}

impl fmt::Display for CommitmentPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How much of a message that nobody vouches for is taken into memory. Limits are checked before
/// anything is allocated, and memory grows with what was read, not with what was announced.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Encrypted data keys in the header; [`ENCRYPTED_DATA_KEYS_MAX_DEFAULT`] by default.
    pub encrypted_data_keys_max: usize,
    /// Length of the header with its tag; [`HEADER_BYTES_MAX_DEFAULT`] by default.
    pub header_bytes_max: usize,
    /// Plaintext bytes of a frame, or of a body without frames; [`FRAME_BYTES_MAX_DEFAULT`] by
    /// default. It bounds the frames that are there: a header that names a longer frame length
    /// than any of its frames has is no reason to refuse.
    pub frame_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            encrypted_data_keys_max: ENCRYPTED_DATA_KEYS_MAX_DEFAULT,
            header_bytes_max: HEADER_BYTES_MAX_DEFAULT,
            frame_bytes_max: FRAME_BYTES_MAX_DEFAULT,
        }
    }
}

/// When plaintext may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Each frame once it has verified. A signed message is refused
    /// ([`OpenError::SignedRelease`]): none of it is verified before its end.
    Verified,
    /// Each frame once its tag has verified, also when a signature is still to come. The caller
    /// withholds what it gets until the stream ends well, or accepts that the author is not
    /// certain. The final frame is withheld until the signature has verified.
    Unverified,
}

/// What went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of plaintext.
    pub plaintext_bytes: u64,
    /// Bytes of the message: header, body and footer.
    pub message_bytes: u64,
    /// Frames, the final one included; 1 for a body without frames.
    pub frames: u32,
}

/// Seals a plaintext that is in memory.
///
/// # Errors
/// [`SealError`].
pub async fn encrypt(
    keyring: &dyn Keyring,
    plaintext: &[u8],
    options: SealOptions,
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, SealError> {
    let manager = DefaultManager::new(keyring);
    encrypt_with(&manager, plaintext, options, entropy).await
}

/// The same with the keys that `manager` supplies.
///
/// # Errors
/// [`SealError`].
pub async fn encrypt_with(
    manager: &dyn MaterialsManager,
    plaintext: &[u8],
    options: SealOptions,
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, SealError> {
    let plaintext_bytes = Some(plaintext.len() as u64);
    let sealer = Sealer::with(manager, options, plaintext_bytes, entropy).await?;
    let bytes = sealer.message_bytes(plaintext.len() as u64).unwrap_or(0);
    let mut message = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
    seal_stream(sealer, &mut &*plaintext, &mut message)?;
    Ok(message)
}

/// Opens a message that is in memory, within the default [`Limits`]. The header that comes with
/// the plaintext is authentic. Nothing is given out before the end has verified, the signature of
/// a signed message included.
///
/// # Errors
/// [`OpenError`].
pub async fn decrypt(
    keyring: &dyn Keyring,
    message: &[u8],
    options: &OpenOptions,
) -> Result<(SecretBytes, Header), OpenError> {
    decrypt_with(&DefaultManager::new(keyring), message, options).await
}

/// The same with the keys that `manager` supplies.
///
/// # Errors
/// [`OpenError`].
pub async fn decrypt_with(
    manager: &dyn MaterialsManager,
    message: &[u8],
    options: &OpenOptions,
) -> Result<(SecretBytes, Header), OpenError> {
    let opener = Incoming::read(message, &Limits::default())?
        .open_with(manager, options)
        .await?;
    let header = opener.header().clone();
    // A plaintext is shorter than its message: nothing is reallocated, so no copy is left behind,
    // and the secret wipes what was written when the end does not verify.
    let mut plaintext = Vec::with_capacity(message.len());
    let opened = opener.open_stream(&mut plaintext, Release::Unverified);
    let plaintext = SecretBytes::new(plaintext);
    opened?;
    Ok((plaintext, header))
}
