//! What may go wrong, each rule with the data to mend it.

use std::io;
use waxseal_core::context::ContextError;
use waxseal_core::crypto::random::EntropyError;
use waxseal_core::keyring::KeyringError;

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
    /// A data key of the message belongs to this keyring and did not unwrap.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// Every data key of the message was wrapped by somebody else.
    #[error("the keyring holds none of the keys that the message was encrypted under: {}", .providers.join(", "))]
    NobodysKey {
        /// Who wrapped them: provider id, and the key ARN where there is one.
        providers: Vec<String>,
    },
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
    #[error("algorithm suite 0x{0:04x} is not supported in a message of version 2")]
    UnsupportedSuite(u16),
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

fn unsupported_version(version: u8) -> String {
    match version {
        1 => "the message has header version 1, whose suites have no key commitment; only version 2 is supported".to_owned(),
        other => format!("the first byte is 0x{other:02x}; a message of version 2 begins with 0x02"),
    }
}
