//! AWS Encryption SDK messages: sealed and opened as streams of frames, in bounded memory.
//!
//! Written are messages of header version 2, framed, in the suites [`Suite::COMMITTING`]
//! (0x0478) and [`Suite::COMMITTING_SIGNED`] (0x0578). Read are the same, and bodies without
//! frames that fit into memory. Source: the AWS Encryption SDK specification, `data-format/`.
//!
//! Order of opening: [`Incoming`] holds a header that nobody vouches for; [`Incoming::open`]
//! unwraps the data key, compares the commitment, verifies the header and gives an [`Opener`];
//! [`Opener::open_stream`] releases plaintext. There is no other way to a plaintext byte.
//!
//! Sizes: a message of n plaintext bytes in frames of L bytes has `header | n | 32 a frame | 8 |
//! footer` bytes ([`Sealer::message_bytes`] says exactly how many); the footer has 105 bytes when
//! the suite signs and none otherwise.

mod buffer;
mod error;
mod frame;
mod header;
mod incoming;
mod intake;
mod keys;
mod opener;
mod pipeline;
mod positioned;
mod sealer;
mod stream;
mod suite;
mod window;

pub use error::{OpenError, SealError};
pub use header::Header;
pub use incoming::{Incoming, Opener};
pub use pipeline::{Sink, Source, seal_parallel};
pub use positioned::{ReadAt, WriteAt};
pub use sealer::Sealer;
pub use stream::seal_stream;
pub use suite::Suite;

use std::num::NonZeroU32;
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
    /// The encryption context; it stands in the header for all to read.
    pub context: EncryptionContext,
}

impl Default for SealOptions {
    fn default() -> Self {
        Self {
            suite: Suite::COMMITTING,
            frame_bytes: FRAME_BYTES_DEFAULT,
            context: EncryptionContext::new(),
        }
    }
}

/// What a reader demands of a message.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// Pairs that the message's encryption context must have. It may have others.
    pub required_context: EncryptionContext,
    /// Which suites may be opened.
    pub commitment: CommitmentPolicy,
}

/// Which suites may be written and read (AWS Encryption SDK specification,
/// `framework/commitment-policy.md`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommitmentPolicy {
    /// Only suites with key commitment, both ways (`REQUIRE_ENCRYPT_REQUIRE_DECRYPT`). Without
    /// commitment one ciphertext can be made to open differently under two keys.
    #[default]
    RequireRequire,
}

impl CommitmentPolicy {
    fn may_open(self, suite: Suite) -> bool {
        match self {
            Self::RequireRequire => suite.is_committing(),
        }
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
    let sealer = Sealer::new(keyring, options, entropy).await?;
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
    let opener = Incoming::read(message, &Limits::default())?
        .open(keyring, options)
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
