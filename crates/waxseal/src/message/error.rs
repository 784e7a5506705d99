//! What may go wrong, each rule with the data to mend it.

use super::CommitmentPolicy;
use std::fmt;
use std::io;
use waxseal_core::context::ContextError;
use waxseal_core::crypto::random::EntropyError;
use waxseal_core::keyring::{EncryptedDataKey, KeyringError};

/// Why a message was not written. What was written before the error is no message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The keyring gave no data key.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The encryption context is too long, the public key of a signed message included.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The context has a name with the prefix that the format keeps for itself.
    #[error("the encryption context names '{0}': names that begin with 'aws-crypto-' are reserved")]
    ReservedContext(String),
    /// A name that is to be authenticated and not stored names no pair of the context.
    #[error("the encryption context has no pair '{0}' that could be required of readers")]
    RequiredName(String),
    /// The commitment policy does not admit the suite.
    #[error("the commitment policy {policy} does not admit writing algorithm suite 0x{suite:04x}")]
    Commitment {
        /// The suite's id.
        suite: u16,
        /// The policy.
        policy: CommitmentPolicy,
    },
    /// The frame length is over the limit that our own readers have.
    #[error("a frame length of {bytes} bytes is over the limit of {max}")]
    FrameBytes {
        /// The frame length asked for.
        bytes: u32,
        /// The limit: [`FRAME_BYTES_MAX_DEFAULT`](super::FRAME_BYTES_MAX_DEFAULT).
        max: usize,
    },
    /// The plaintext needs more frames than a message can have (2³² − 1).
    #[error("the plaintext needs more than 4,294,967,295 frames of {frame_bytes} bytes")]
    TooManyFrames {
        /// The frame length.
        frame_bytes: u32,
    },
    /// The keyring wrapped the data key no times, or more often than a header can list.
    #[error("a message lists 1 to 65,535 encrypted data keys; the keyring gave {count}")]
    EncryptedDataKeys {
        /// How many there are.
        count: usize,
    },
    /// A field of an encrypted data key is longer than the header can say.
    #[error("a field of an encrypted data key has {bytes} bytes; the limit is 65,535")]
    EncryptedDataKeyField {
        /// Its length.
        bytes: usize,
    },
    /// The keyring made a data key of the wrong length.
    #[error("the keyring made a data key of {found} bytes where the suite needs {expected}")]
    DataKeyBytes {
        /// What the suite needs.
        expected: usize,
        /// What the keyring made.
        found: usize,
    },
    /// There was no randomness for the message id.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A primitive refused, which no input causes.
    #[error("the cryptographic library failed")]
    Crypto,
    /// The plaintext could not be read.
    #[error("reading the plaintext failed: {0}")]
    Read(#[source] io::Error),
    /// The message could not be written.
    #[error("writing the message failed: {0}")]
    Write(#[source] io::Error),
}

/// Why a message was not read. Plaintext that was released before the error came from frames
/// that verified; whether it may be kept is the caller's decision.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No encrypted data key of the message could be unwrapped. There is one attempt for each, in
    /// their order.
    #[error("no encrypted data key could be unwrapped: {}", listed(.0))]
    NoDataKey(Vec<Attempt>),
    /// Commitment, header, frame or signature do not verify. Which one is not said.
    #[error("the message is not authentic: it was altered, or its key is another")]
    Unauthentic,
    /// The input ends before the message does.
    #[error("the message is truncated")]
    Truncated,
    /// The input goes on after the message.
    #[error("there are bytes after the end of the message")]
    TrailingBytes,
    /// The bytes are not those of a message.
    #[error("the message is malformed: {rule}")]
    Malformed {
        /// The rule that was broken.
        rule: &'static str,
    },
    /// The context in the header does not follow its layout.
    #[error("the message is malformed: {0}")]
    MalformedContext(#[source] ContextError),
    /// A frame stands in the wrong place.
    #[error("the message is malformed: frame {found} stands where frame {expected} belongs")]
    Sequence {
        /// The sequence number that belongs there.
        expected: u32,
        /// The sequence number that stands there.
        found: u32,
    },
    /// The final frame is longer than the header allows.
    #[error(
        "the message is malformed: the final frame has {bytes} bytes, the frame length is {frame_bytes}"
    )]
    FinalFrameBytes {
        /// Length of the final frame's text.
        bytes: u32,
        /// The frame length in the header.
        frame_bytes: u32,
    },
    /// A header version that is not read.
    #[error("{}", unsupported_version(*.0))]
    UnsupportedVersion(u8),
    /// No suite of this id stands in this header version.
    #[error("there is no algorithm suite 0x{suite:04x} in messages of version {version}")]
    UnsupportedSuite {
        /// The id.
        suite: u16,
        /// The header version.
        version: u8,
    },
    /// The commitment policy does not admit the suite.
    #[error("algorithm suite 0x{suite:04x} has no key commitment, which the policy requires")]
    Commitment {
        /// The suite's id.
        suite: u16,
    },
    /// A limit of [`Limits`](super::Limits) would be passed.
    #[error("the message has {what} of {value}; the limit is {max}")]
    Limit {
        /// What is limited, with its unit.
        what: &'static str,
        /// What the message has, or at least has.
        value: u64,
        /// The limit.
        max: u64,
    },
    /// A required pair is missing from the message's encryption context, or has another value.
    #[error("the encryption context of the message does not have the required value of '{name}'")]
    ContextMismatch {
        /// The pair's name.
        name: String,
    },
    /// A signed message was to be released frame by frame.
    #[error(
        "the message is signed: nothing of it can be released as verified before its end was read"
    )]
    SignedRelease,
    /// A range of a signed message was to be read.
    #[error("the message is signed: a range of it can be read only without checking the signature")]
    SignedRange,
    /// A range begins beyond the end of the plaintext.
    #[error("the range begins at byte {start}; the plaintext has {plaintext_bytes} bytes")]
    RangeStart {
        /// Where the range begins.
        start: u64,
        /// Length of the plaintext.
        plaintext_bytes: u64,
    },
    /// The message could not be read.
    #[error("reading the message failed: {0}")]
    Read(#[source] io::Error),
    /// The plaintext could not be written.
    #[error("writing the plaintext failed: {0}")]
    Write(#[source] io::Error),
}

impl OpenError {
    /// Takes the error out that [`OpenReader`](super::OpenReader) or
    /// [`RangeReader`](super::RangeReader) put into an [`io::Error`]; any other is a failure to
    /// read.
    pub fn from_io(error: io::Error) -> Self {
        error.downcast().unwrap_or_else(Self::Read)
    }
}

/// For readers of plaintext. What was wrong with the message has the kind
/// [`InvalidData`](io::ErrorKind::InvalidData).
impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Read(error) | OpenError::Write(error) => error,
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}

impl SealError {
    /// Takes the error out that [`SealReader`](super::SealReader) or
    /// [`SealWriter`](super::SealWriter) put into an [`io::Error`]; any other is a failure to
    /// write.
    pub fn from_io(error: io::Error) -> Self {
        error.downcast().unwrap_or_else(Self::Write)
    }
}

/// For writers of plaintext and readers of messages.
impl From<SealError> for io::Error {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Read(error) | SealError::Write(error) => error,
            other => Self::other(other),
        }
    }
}

impl From<waxseal_core::crypto::Unauthentic> for OpenError {
    fn from(_: waxseal_core::crypto::Unauthentic) -> Self {
        Self::Unauthentic
    }
}

impl OpenError {
    /// Whether another encryption context could have made the difference.
    pub(crate) fn may_be_context(&self) -> bool {
        match self {
            Self::Unauthentic => true,
            Self::NoDataKey(attempts) => attempts
                .iter()
                .flat_map(|attempt| &attempt.failures)
                .any(|failure| matches!(failure, KeyringError::Unauthentic { .. })),
            _ => false,
        }
    }
}

/// Why one encrypted data key was not unwrapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Who wrapped it: the provider id, and the provider information where that is text, as key
    /// ARNs are. Nothing in it is authentic.
    pub provider: String,
    /// What the keyrings that hold its key said. Empty: no keyring holds it.
    pub failures: Vec<KeyringError>,
}

impl Attempt {
    /// `failures` of `encrypted`.
    pub fn new(encrypted: &EncryptedDataKey, failures: Vec<KeyringError>) -> Self {
        Self {
            provider: provider(encrypted),
            failures,
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let provider = &self.provider;
        let Some((first, others)) = self.failures.split_first() else {
            return write!(f, "{provider}: no keyring given holds this key");
        };
        write!(f, "{provider}: {first}")?;
        others.iter().try_for_each(|other| write!(f, ", {other}"))
    }
}

fn listed(attempts: &[Attempt]) -> String {
    attempts
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// Raw AES keys have binary parameters behind their name; only text is shown.
fn provider(encrypted: &EncryptedDataKey) -> String {
    let id = encrypted.provider_id.escape_debug();
    let info = String::from_utf8_lossy(&encrypted.provider_info);
    let shown: String = info
        .chars()
        .take_while(|c| !c.is_control() && *c != char::REPLACEMENT_CHARACTER)
        .collect();
    match shown.is_empty() {
        true => id.to_string(),
        false => format!("{id} {shown}"),
    }
}

fn unsupported_version(version: u8) -> String {
    format!("the first byte is 0x{version:02x}; a message begins with 0x01 or 0x02")
}
