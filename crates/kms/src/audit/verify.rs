//! Proving that a log is whole: every record there, in order, as it was written.

use super::event::Link;
use super::retain::begin;
use super::segment::{self, Forward, Listing, Next};
use super::{AuditError, RECORD_BYTES_MAX};
use std::io;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use waxseal_core::crypto::hash::sha256;

/// A log whose chain holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Number of records, those that retention removed included.
    pub records: u64,
    /// How many retention removed: the note where the log begins says so. Its signature is not
    /// looked at here.
    pub removed: u64,
    /// Number of segments.
    pub segments: u64,
    /// SHA-256 of the last record's line; zeros when there is none. Compared with a copy kept
    /// elsewhere it shows that no record was cut off at the end.
    pub head: [u8; 32],
    /// What a crash left behind the last record. It was never acknowledged.
    pub torn_tail: Option<TornTail>,
}

/// Bytes after the last newline of the last segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The segment's name.
    pub segment: String,
    /// How many bytes.
    pub bytes: u64,
}

/// Why a log was not verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The chain breaks. All records before the one that is named hold.
    #[error(transparent)]
    Broken(#[from] BrokenRecord),
    /// The log could not be read.
    #[error(transparent)]
    Unreadable(#[from] AuditError),
}

/// The first record that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("audit record {sequence} does not hold (segment {segment}, line {line}): {reason}")]
pub struct BrokenRecord {
    /// Where it is: the segment's name.
    pub segment: String,
    /// Where it is in the segment: 1, 2, …
    pub line: u64,
    /// The sequence number that it must have.
    pub sequence: u64,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The line is no event with the members of the chain.
    #[error("the line is not a record: {0}")]
    Malformed(String),
    /// The line is longer than any record.
    #[error("the line is longer than {RECORD_BYTES_MAX} bytes")]
    TooLong,
    /// Another record lies here: records were removed, inserted or moved.
    #[error("record {found} lies in its place")]
    Sequence {
        /// The sequence number that was found.
        found: u64,
    },
    /// The record after it was written behind another line than this.
    #[error("the line was altered: the record after it names another hash")]
    Altered,
    /// It was not written behind the line that lies before it, and the record after it was not
    /// written behind it.
    #[error("the line was altered: it does not name the hash of the record before it")]
    PreviousHash,
    /// The segment that should begin here is missing or has another name.
    #[error("the segment that begins with it is missing; the next begins with record {found}")]
    SegmentMissing {
        /// The sequence number in the name of the segment that was found.
        found: u64,
    },
    /// A segment that is not the last ends in the middle of a line.
    #[error("the segment ends inside the line")]
    Unfinished,
    /// The compressed segment cannot be read on from here.
    #[error("{0}")]
    Damaged(String),
    /// A file with the ending of segments is none: perhaps a segment that was renamed.
    #[error("the log ends before it, but holds a file '{0}' that is no segment")]
    StrayFile(String),
}

/// Reads the whole log and checks that each record is there, in its place, and follows from the
/// one before it.
///
/// Needs no lock: records that are appended meanwhile may or may not be counted.
///
/// # Errors
/// [`VerifyError::Broken`] names the first record that does not hold: everything before it does.
pub fn verify(dir: &Path) -> Result<Verified, VerifyError> {
    let mut listing = segment::list(dir)?;
    let gone = begin(dir)?.map_or_else(Gone::default, |gone| Gone {
        records: gone.records,
        head: gone.head,
    });
    // What a crash kept from being removed is not of the log any more.
    listing.segments.retain(|first| *first > gone.records);
    let verified = match listing.bytes(dir) >= TOGETHER_BYTES_MIN {
        true => together(dir, &listing, &gone),
        false => None,
    };
    match verified {
        Some(verified) => Ok(verified),
        // What is wrong, and where first, is told by reading in order.
        None => in_order(dir, listing, &gone),
    }
}

/// What retention removed.
#[derive(Debug, Default)]
struct Gone {
    records: u64,
    head: [u8; 32],
}

/// With fewer bytes threads are not worth their while.
const TOGETHER_BYTES_MIN: u64 = 4 << 20;

fn in_order(dir: &Path, listing: Listing, gone: &Gone) -> Result<Verified, VerifyError> {
    let mut chain = Chain {
        records: gone.records,
        hash: gone.head,
        ..Chain::default()
    };
    let mut torn_tail = None;
    for (index, &first) in listing.segments.iter().enumerate() {
        let last = index + 1 == listing.segments.len();
        chain.begin(first)?;
        if let Some(bytes) = chain.read(dir, first)? {
            if !last {
                return Err(chain.broken(Reason::Unfinished).into());
            }
            let segment = segment::name(first);
            torn_tail = Some(TornTail { segment, bytes });
        }
    }
    chain.settle()?;
    if let Some(stray) = listing.strays.into_iter().next() {
        return Err(chain.broken(Reason::StrayFile(stray)).into());
    }
    Ok(Verified {
        records: chain.records,
        removed: gone.records,
        segments: listing.segments.len() as u64,
        head: chain.hash,
        torn_tail,
    })
}

/// Reads the segments by as many threads as there are cores. Each of them holds by itself, from the
/// hash on that its first record names, and is then held against the one before it. `None` when
/// anything does not hold.
fn together(dir: &Path, listing: &Listing, gone: &Gone) -> Option<Verified> {
    if !listing.strays.is_empty() {
        return None;
    }
    let segments = &listing.segments;
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let (next, is_doubtful) = (AtomicUsize::new(0), AtomicBool::new(false));
    let read = || {
        let mut read = Vec::new();
        while !is_doubtful.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(&first) = segments.get(index) else {
                break;
            };
            match Span::of(dir, first) {
                Some(span) => read.push((index, span)),
                None => is_doubtful.store(true, Ordering::Relaxed),
            }
        }
        read
    };
    let mut spans: Vec<(usize, Span)> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(segments.len()))
            .map(|_| scope.spawn(read))
            .collect();
        let mut spans = read();
        // One that panicked has read nothing: what it left out is missed below.
        spans.extend(
            others
                .into_iter()
                .filter_map(|other| other.join().ok())
                .flatten(),
        );
        spans
    });
    spans.sort_by_key(|(index, _)| *index);
    let mut verified = Verified {
        records: gone.records,
        removed: gone.records,
        segments: segments.len() as u64,
        head: gone.head,
        torn_tail: None,
    };
    for (place, &first) in segments.iter().enumerate() {
        let (_, span) = spans.get(place).filter(|(index, _)| *index == place)?;
        if first != verified.records + 1 || verified.torn_tail.is_some() {
            return None;
        }
        if let Some((previous, last)) = span.hashes {
            if previous != verified.head {
                return None;
            }
            verified.head = last;
        }
        verified.records += span.records;
        verified.torn_tail = span.torn_bytes.map(|bytes| TornTail {
            segment: segment::name(first),
            bytes,
        });
    }
    Some(verified)
}

/// A segment that holds by itself.
pub(super) struct Span {
    pub(super) records: u64,
    /// The one that its first record names, and that of its last; none when it has no record.
    pub(super) hashes: Option<([u8; 32], [u8; 32])>,
    torn_bytes: Option<u64>,
}

impl Span {
    pub(super) fn of(dir: &Path, first: u64) -> Option<Self> {
        let mut lines = Forward::open(dir, first).ok()?;
        let mut chain = Chain {
            records: first - 1,
            ..Chain::default()
        };
        chain.begin(first).ok()?;
        let mut previous = None;
        let torn_bytes = loop {
            match lines.next().ok()? {
                Next::Line(line) => {
                    if previous.is_none() {
                        chain.hash = Link::parse(line).ok()?.previous()?;
                        previous = Some(chain.hash);
                    }
                    chain.add(line).ok()?;
                }
                Next::TooLong => return None,
                Next::Torn(bytes) => break Some(bytes),
                Next::End => break None,
            }
        };
        chain.settle().ok()?;
        Some(Self {
            records: chain.records + 1 - first,
            hashes: previous.map(|previous| (previous, chain.hash)),
            torn_bytes,
        })
    }
}

/// What holds so far.
#[derive(Debug, Default)]
struct Chain {
    records: u64,
    hash: [u8; 32],
    /// The place of the next line.
    next: Place,
    /// The place of the last line.
    last: Place,
    /// The last line does not follow from the one before it, whose place this is. Which of the two
    /// was altered is seen at the next line.
    doubt: Option<Place>,
}

/// A segment, and a line in it.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    first: u64,
    line: u64,
    sequence: u64,
}

impl Chain {
    fn begin(&mut self, first: u64) -> Result<(), BrokenRecord> {
        self.next = Place {
            first,
            line: 1,
            sequence: self.records + 1,
        };
        if first != self.next.sequence {
            return Err(self.broken(Reason::SegmentMissing { found: first }));
        }
        Ok(())
    }

    /// Reads a segment; gives the length of its torn tail.
    fn read(&mut self, dir: &Path, first: u64) -> Result<Option<u64>, VerifyError> {
        let path = segment::path(dir, first);
        let mut lines = match Forward::open(dir, first) {
            Ok(lines) => lines,
            Err(error) => return Err(self.unread(&path, &error)),
        };
        loop {
            let next = match lines.next() {
                Ok(next) => next,
                Err(error) => return Err(self.unread(&path, &error)),
            };
            match next {
                Next::Line(line) => self.add(line)?,
                Next::TooLong => return Err(self.broken(Reason::TooLong).into()),
                Next::Torn(bytes) => return Ok(Some(bytes)),
                Next::End => return Ok(None),
            }
        }
    }

    /// A segment whose bytes are none, or one that cannot be read.
    fn unread(&self, path: &Path, error: &io::Error) -> VerifyError {
        match error.kind() {
            io::ErrorKind::InvalidData => self.broken(Reason::Damaged(error.to_string())).into(),
            _ => AuditError::io("read", path, error).into(),
        }
    }

    fn add(&mut self, line: &[u8]) -> Result<(), BrokenRecord> {
        let link = Link::parse(line).map_err(|error| self.broken(Reason::Malformed(error)))?;
        let found = link.sequence();
        if found != self.next.sequence {
            return Err(self.broken(Reason::Sequence { found }));
        }
        let follows = link.follows(&self.hash);
        if let Some(before) = self.doubt {
            return Err(match follows {
                // This one vouches for the last, so the one before the last was altered.
                true => before.broken(Reason::Altered),
                false => self.last.broken(Reason::PreviousHash),
            });
        }
        if !follows {
            if self.last.sequence == 0 {
                // Nothing lies before it that could have been altered.
                return Err(self.broken(Reason::PreviousHash));
            }
            self.doubt = Some(self.last);
        }
        self.hash = sha256(&[line]);
        self.records += 1;
        self.last = self.next;
        self.next.line += 1;
        self.next.sequence += 1;
        Ok(())
    }

    /// Nothing follows: of the two records in doubt the first is the first that may not hold.
    fn settle(&self) -> Result<(), BrokenRecord> {
        match self.doubt {
            Some(before) => Err(before.broken(Reason::Altered)),
            None => Ok(()),
        }
    }

    /// The next line does not hold, unless one before it is in doubt already.
    fn broken(&self, reason: Reason) -> BrokenRecord {
        match self.settle() {
            Err(earlier) => earlier,
            Ok(()) => self.next.broken(reason),
        }
    }
}

impl Place {
    fn broken(self, reason: Reason) -> BrokenRecord {
        BrokenRecord {
            segment: segment::name(self.first),
            line: self.line,
            sequence: self.sequence,
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{AuditLog, Event};
    use std::fs;

    fn event(number: u64) -> Event<'static> {
        Event::blank(number.to_string())
    }

    /// Whatever is done to a log, threads find it sound when reading in order does, and only then.
    #[test]
    fn threads_find_what_is_found_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let log = AuditLog::open(dir).unwrap().with_segment_bytes_max(2_000);
        for number in 0..20 {
            log.append(&event(number)).unwrap();
        }
        drop(log);
        let listed = segment::list(dir).unwrap();
        assert!(listed.segments.len() > 3);
        let same = || {
            let listing = segment::list(dir).unwrap();
            let in_order = in_order(dir, segment::list(dir).unwrap(), &Gone::default()).ok();
            assert_eq!(together(dir, &listing, &Gone::default()), in_order);
            in_order
        };
        assert_eq!(same().unwrap().records, 20);
        for &first in &listed.segments {
            let path = segment::path(dir, first);
            let sound = fs::read(&path).unwrap();
            for place in (0..sound.len()).step_by(7) {
                let mut bent = sound.clone();
                bent[place] ^= 1 << (place % 8);
                fs::write(&path, &bent).unwrap();
                same();
            }
            fs::write(&path, &sound[..sound.len() - 20]).unwrap();
            same();
            fs::remove_file(&path).unwrap();
            same();
            fs::write(segment::path(dir, first + 1), &sound).unwrap();
            assert_eq!(same(), None);
            fs::remove_file(segment::path(dir, first + 1)).unwrap();
            fs::write(&path, &sound).unwrap();
        }
        fs::write(dir.join("x.jsonl"), "").unwrap();
        assert_eq!(same(), None);
    }
}
