//! Reading the log record by record, from the first to the last or from the last to the first.

use super::AuditError;
use super::event::Link;
use super::filter::{Glance, Needles};
use super::segment::{self, Forward, Next};
use serde::Deserialize;
use serde_json::Value;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// A record as it lies in the log. The chain is not verified by reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the log: 1, 2, …
    pub sequence: u64,
    /// The line, without its newline: what the chain hashes.
    pub line: String,
    /// The segment it lies in, by its first record.
    segment: u64,
}

impl Record {
    /// The CloudTrail event, all of it.
    ///
    /// # Errors
    /// [`AuditError::Corrupt`] for a line that is no JSON.
    pub fn event(&self) -> Result<Value, AuditError> {
        self.parsed()
    }

    /// What most readers want to know of it.
    pub(crate) fn glance(&self) -> Result<Glance<'_>, AuditError> {
        self.parsed()
    }

    fn parsed<'r, T: Deserialize<'r>>(&'r self) -> Result<T, AuditError> {
        let parsed = serde_json::from_str(&self.line);
        parsed.map_err(|error| AuditError::corrupt(self.segment, error.to_string()))
    }

    /// The record in a line, unless it is not after `after`.
    fn parse(first: u64, line: &[u8], after: u64) -> Result<Option<Self>, AuditError> {
        let corrupt = |reason| AuditError::corrupt(first, reason);
        let sequence = Link::parse(line).map_err(corrupt)?.sequence();
        if sequence <= after {
            return Ok(None);
        }
        let line = std::str::from_utf8(line).map_err(|error| corrupt(error.to_string()))?;
        Ok(Some(Self {
            sequence,
            line: line.to_owned(),
            segment: first,
        }))
    }
}

/// All records in order. Ends at a torn tail, and after the first error.
///
/// Needs no lock: records that are appended meanwhile may or may not be seen.
pub fn records(dir: &Path) -> Records {
    records_after(dir, 0)
}

/// As [`records`], from the one after `sequence` on. Segments before it are not read.
pub fn records_after(dir: &Path, sequence: u64) -> Records {
    Records {
        dir: dir.to_owned(),
        after: sequence,
        needles: Needles::default(),
        state: State::New,
    }
}

/// What [`records`] gives.
#[derive(Debug)]
pub struct Records {
    dir: PathBuf,
    after: u64,
    needles: Needles,
    state: State,
}

#[derive(Debug)]
enum State {
    New,
    Reading {
        first: u64,
        lines: Forward,
        later: VecDeque<u64>,
    },
    Done,
}

impl Iterator for Records {
    type Item = Result<Record, AuditError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.read().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.state = State::Done;
        }
        next
    }
}

impl Records {
    /// Only those with all of these texts in their lines. Others are passed over unread.
    pub(super) fn with(mut self, needles: Needles) -> Self {
        self.needles = needles;
        self
    }

    fn read(&mut self) -> Result<Option<Record>, AuditError> {
        loop {
            match &mut self.state {
                State::Done => return Ok(None),
                State::New => {
                    let mut segments = segment::list(&self.dir)?.segments;
                    let before = segments.partition_point(|first| *first <= self.after + 1);
                    segments.drain(..before.saturating_sub(1));
                    self.begin(segments.into())?;
                }
                State::Reading {
                    first,
                    lines,
                    later,
                } => {
                    let first = *first;
                    let next = lines.next().map_err(|error| {
                        segment::failed(&segment::path(&self.dir, first), first, &error)
                    })?;
                    match next {
                        Next::Line(line) if !self.needles.are_in(line) => continue,
                        Next::Line(line) => match Record::parse(first, line, self.after)? {
                            Some(record) => return Ok(Some(record)),
                            None => continue,
                        },
                        Next::TooLong => {
                            return Err(AuditError::corrupt(first, segment::TOO_LONG));
                        }
                        Next::Torn(_) if !later.is_empty() => {
                            return Err(AuditError::corrupt(first, "it ends inside a line"));
                        }
                        Next::Torn(_) | Next::End => {
                            let later = std::mem::take(later);
                            self.begin(later)?;
                        }
                    }
                }
            }
        }
    }

    fn begin(&mut self, mut segments: VecDeque<u64>) -> Result<(), AuditError> {
        self.state = match segments.pop_front() {
            None => State::Done,
            Some(first) => {
                let lines = Forward::open(&self.dir, first);
                let failed =
                    |error| segment::failed(&segment::path(&self.dir, first), first, &error);
                State::Reading {
                    first,
                    lines: lines.map_err(failed)?,
                    later: segments,
                }
            }
        };
        Ok(())
    }
}

/// Tells of the records after `after` and before `before` that have all of the texts, from the newest
/// back, until `each` has enough of them; gives the sequence number of the newest record there was.
///
/// Needs no lock: records that are appended meanwhile may or may not be seen.
pub(crate) fn backwards(
    dir: &Path,
    before: u64,
    after: u64,
    needles: &Needles,
    mut each: impl FnMut(Record) -> Result<Go, AuditError>,
) -> Result<u64, AuditError> {
    let mut segments = segment::list(dir)?.segments;
    segments.truncate(segments.partition_point(|first| *first < before));
    let earlier = segments.partition_point(|first| *first <= after.saturating_add(1));
    segments.drain(..earlier.saturating_sub(1));
    let mut newest = after;
    for first in segments.into_iter().rev() {
        let content = segment::Content::open(dir, first)?;
        let mut lines = content.lines()?;
        while let Some(line) = lines.next().map_err(|error| content.failed(&error))? {
            if newest == after {
                let link = Link::parse(line).map_err(|what| AuditError::corrupt(first, what))?;
                if link.sequence() <= after {
                    return Ok(after);
                }
                newest = link.sequence();
            }
            if !needles.are_in(line) {
                continue;
            }
            match Record::parse(first, line, after)? {
                None => return Ok(newest),
                Some(record) if record.sequence >= before => {}
                Some(record) => match each(record)? {
                    Go::On => {}
                    Go::Stop => return Ok(newest),
                },
            }
        }
    }
    Ok(newest)
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Go {
    On,
    Stop,
}
