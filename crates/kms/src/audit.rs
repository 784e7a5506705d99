//! The audit log: append-only, hash-chained, on disk before anything is answered.
//!
//! A log is a folder (mode 0700) of segments and a lock file (mode 0600 both):
//!
//! ```text
//! 00000000000000000001.jsonl    named by the sequence number of its first record, 20 digits
//! 00000000000000041277.jsonl    begun when the one before would pass 64 MiB
//! 00000000000000020433.jsonl.gz  one that was compressed since
//! checkpoint                    how far the log was, signed (see [`Checkpoint`])
//! begin                         where it begins, signed, once retention removed segments
//! lock                          locked (flock) by the one process that writes
//! ```
//!
//! A record is one line: a CloudTrail event (`CloudTrail record contents`, eventVersion 1.11) as
//! JSON, ended by a newline. Members come in this order; those in brackets only where they apply:
//!
//! ```text
//! eventVersion userIdentity eventTime eventSource eventName awsRegion sourceIPAddress userAgent
//! [errorCode errorMessage] requestParameters responseElements
//! additionalEventData { sequence previousHash [lastChange] … } requestID eventID readOnly
//! [resources [{ accountId type ARN }]] eventType managementEvent recipientAccountId eventCategory
//! ```
//!
//! * `additionalEventData.sequence` counts 1, 2, … over all segments, without a gap.
//! * `additionalEventData.previousHash` is the SHA-256, in lower-case hexadecimal, of the line
//!   before, its newline left out; 64 zeros in the first record. The chain goes on across
//!   segments.
//! * `additionalEventData.lastChange` is the sequence number of the newest record, up to this one, that
//!   went with a change of the store: so that the last line tells whether the store is as new as the
//!   log.
//!
//! **Crashes.** A record counts once its line, newline included, is on disk: only then does
//! [`AuditLog::append`] return. What a crash left after the last newline was never acknowledged.
//! It is cut off by whoever writes next, and [`verify()`] calls it a torn tail. Every other line
//! that does not parse is damage: nobody appends after it.
//!
//! **Failures.** When a write fails the segment is cut back to its former length and nobody is
//! acknowledged; the next record is tried as if nothing had been. When a sync fails, what the kernel
//! still holds is in doubt, and syncing again would answer for pages that it has already dropped. Before
//! anything else is written, the end is read back and has to be what it was, what the failed write may
//! have touched is written again and synced, and the next record begins a new segment; until that
//! succeeds every record is refused. So a full, failing or read-only disk refuses, with its reason, for
//! as long as it is that, and no longer.
//!
//! **Writing.** Whoever writes holds the file `lock`, in which the one who wrote last leaves a mark: as long
//! as it is one's own, the end is where one left it. A server makes room ahead, 1 MiB of zero bytes behind
//! the last record, and writes whole blocks into it past the page cache where the file system can (`O_DIRECT`):
//! the block that the end lies in is written again, its beginning unchanged.
//!
//! **A disk that does not answer** holds up the thread that waits for it, and nobody else: see
//! [`STALL`](crate::turn::STALL). Requests are refused, though their records may be written in the end:
//! a record without its answer, never the reverse.
//!
//! **What the chain does not show.** Records cut off at the end, or a last record altered without
//! touching its links, leave a chain that holds. [`Verified::head`] compared with a copy kept
//! elsewhere shows both. A process that wrote the missing records notices by itself
//! ([`AuditError::RolledBack`]).

mod batch;
mod blocks;
mod checkpoint;
mod event;
mod filter;
mod find;
mod lock;
mod log;
mod pack;
mod records;
mod retain;
mod scan;
mod segment;
mod verify;
mod writer;

pub use batch::{Receipt, Ticket};
pub(crate) use checkpoint::BEGIN_ORIGIN;
pub use checkpoint::{
    BEGIN_FILE, CHECKPOINT_BYTES_MAX, CHECKPOINT_FILE, Checkpoint, CheckpointError, CheckpointKey,
    SignedCheckpoint,
};
pub use event::{Event, EventError, Resource, Written};
pub(crate) use event::{Link, timestamp};
pub use filter::{Filter, Outcome};
pub(crate) use filter::{Glance, Needles, SeenResource};
pub(crate) use find::hash_of;
pub use log::{AuditLog, Exclusive};
pub(crate) use pack::pack;
pub(crate) use records::{Go, backwards};
pub use records::{Record, Records, records, records_after};
pub use retain::begin;
pub(crate) use retain::{removable, remove_before_begin};
pub(crate) use segment::written_segments;
pub use verify::{BrokenRecord, Reason, TornTail, Verified, VerifyError, verify};
pub(crate) use writer::{Last, peek};

use std::io;
use std::path::{Path, PathBuf};

/// The most bytes of a record: 256 KiB, its newline left out.
pub const RECORD_BYTES_MAX: usize = 256 << 10;

/// A segment that would pass this length is ended, and the record begins the next: 64 MiB. Records
/// that are written together stay together, even if they alone are longer.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// Why the log could not be written or read. After an error nothing was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// A record is longer than [`RECORD_BYTES_MAX`].
    #[error("an audit record has {bytes} bytes; the limit is {RECORD_BYTES_MAX}")]
    RecordTooLong {
        /// Its length.
        bytes: usize,
    },
    /// An event brings a member of `additionalEventData` that belongs to the chain.
    #[error("an audit event may not set additionalEventData.{0}")]
    ReservedMember(&'static str),
    /// An event cannot be written as JSON.
    #[error("an audit event cannot be written as JSON: {0}")]
    Unserializable(String),
    /// A segment does not hold what it should. Run the verification to learn where.
    #[error("the audit log is damaged: segment {segment}: {reason}")]
    Corrupt {
        /// The segment's name.
        segment: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Records that this handle wrote or saw are gone.
    #[error("the audit log ends before record {found}, but had {known} records before")]
    RolledBack {
        /// The sequence number that would be next.
        found: u64,
        /// How many records there were.
        known: u64,
    },
    /// No space is left.
    #[error("no space is left for the audit log")]
    Full,
    /// Another process holds the log's lock for too long.
    #[error("the audit log is locked by another process")]
    Busy,
    /// The file system cannot be written.
    #[error("the audit log cannot be written: its file system is read-only")]
    ReadOnly,
    /// The disk has not answered for [`STALL`](crate::turn::STALL).
    #[error("the audit log's disk does not answer")]
    Stalled,
    /// What writes the log has ended, or could not be started. The next who comes starts it again.
    #[error("the audit log refuses: what writes it has ended")]
    Refusing,
    /// The operating system failed.
    #[error("could not {action} {}: {reason}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// The class of the failure.
        kind: io::ErrorKind,
        /// As the system says it.
        reason: String,
    },
}

impl AuditError {
    fn io(action: &'static str, path: &Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            kind => Self::Io {
                action,
                path: path.to_owned(),
                kind,
                reason: error.to_string(),
            },
        }
    }

    /// The same in a few words that name nothing, for everybody to see.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Full => "the audit log's disk is full",
            Self::ReadOnly => "the audit log's file system is read-only",
            Self::Stalled => "the audit log's disk does not answer",
            Self::Busy => "the audit log is locked by another process",
            Self::Corrupt { .. } => "the audit log is damaged",
            Self::RolledBack { .. } => "the audit log has lost its end",
            _ => "the audit log cannot be written",
        }
    }

    fn corrupt(first: u64, reason: impl Into<String>) -> Self {
        Self::Corrupt {
            segment: segment::name(first),
            reason: reason.into(),
        }
    }
}
