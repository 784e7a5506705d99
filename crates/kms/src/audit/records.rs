//! Reading the log record by record.

use super::event::Link;
use super::segment::{self, Forward, Next};
use super::{AuditError, RECORD_BYTES_MAX};
use serde_json::Value;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// A record as it lies in the log. The chain is not verified by reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its place in the log: 1, 2, …
    pub sequence: u64,
    /// The line, without its newline: what the chain hashes.
    pub line: String,
    /// The CloudTrail event.
    pub event: Value,
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
        state: State::New,
    }
}

/// What [`records`] gives.
#[derive(Debug)]
pub struct Records {
    dir: PathBuf,
    after: u64,
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
                        AuditError::io("read", &segment::path(&self.dir, first), &error)
                    })?;
                    match next {
                        Next::Line(line) => match parse(first, line, self.after)? {
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
                let path = segment::path(&self.dir, first);
                let lines = Forward::open(&path);
                State::Reading {
                    first,
                    lines: lines.map_err(|error| AuditError::io("open", &path, &error))?,
                    later: segments,
                }
            }
        };
        Ok(())
    }
}

/// The record in a line, unless it is not after `after`.
fn parse(first: u64, line: Vec<u8>, after: u64) -> Result<Option<Record>, AuditError> {
    let corrupt = |reason| AuditError::corrupt(first, reason);
    let sequence = Link::parse(&line).map_err(corrupt)?.sequence();
    if sequence <= after {
        return Ok(None);
    }
    let event = serde_json::from_slice(&line).map_err(|error| corrupt(error.to_string()))?;
    debug_assert!(line.len() <= RECORD_BYTES_MAX);
    let line = String::from_utf8(line).map_err(|error| corrupt(error.to_string()))?;
    Ok(Some(Record {
        sequence,
        line,
        event,
    }))
}
