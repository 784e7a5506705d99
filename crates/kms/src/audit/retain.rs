//! A log whose oldest segments were removed.

use super::checkpoint::{BEGIN_FILE, Checkpoint, CheckpointError, SignedCheckpoint};
use super::filter::Glance;
use super::pack::PLAIN_MIN;
use super::verify::Span;
use super::{AuditError, segment};
use crate::files::sync_directory;
use std::io::ErrorKind;
use std::path::Path;

/// The last record that retention removed: how many records are gone, and the hash that the next one
/// names. The note is read; its signature is not looked at.
///
/// # Errors
/// [`AuditError::Corrupt`] for a file that is no such note, and [`AuditError::Io`].
pub fn begin(dir: &Path) -> Result<Option<Checkpoint>, AuditError> {
    let path = dir.join(BEGIN_FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(AuditError::io("read", &path, &error)),
    };
    let corrupt = |error: CheckpointError| AuditError::Corrupt {
        segment: BEGIN_FILE.to_owned(),
        reason: error.to_string(),
    };
    let note = SignedCheckpoint::parse(&text).map_err(corrupt)?;
    Ok(Some(note.unverified()))
}

/// The last record of the oldest segments that may go, and its hash: all of their records are at or
/// before `until`, the last of each is from before the time `before`, and they hold.
pub(crate) fn removable(
    dir: &Path,
    until: u64,
    before: &str,
) -> Result<Option<(u64, [u8; 32])>, AuditError> {
    let gone = begin(dir)?;
    let mut head = gone.as_ref().map_or([0; 32], |gone| gone.head);
    let gone = gone.map_or(0, |gone| gone.records);
    let mut segments = segment::list(dir)?.segments;
    segments.retain(|first| *first > gone);
    let mut last = None;
    for pair in segments[..segments.len().saturating_sub(PLAIN_MIN - 1)].windows(2) {
        let (first, next) = (pair[0], pair[1]);
        if next - 1 > until || !is_old(dir, first, before)? {
            break;
        }
        let damaged = || AuditError::corrupt(first, "it does not hold: nothing is removed");
        let span = Span::of(dir, first).ok_or_else(damaged)?;
        let (previous, end) = span.hashes.ok_or_else(damaged)?;
        if previous != head || first + span.records != next {
            return Err(damaged());
        }
        head = end;
        last = Some((next - 1, head));
    }
    Ok(last)
}

fn is_old(dir: &Path, first: u64, before: &str) -> Result<bool, AuditError> {
    let content = segment::Content::open(dir, first)?;
    let mut lines = content.lines()?;
    let Some(line) = lines.next().map_err(|error| content.failed(&error))? else {
        return Ok(false);
    };
    let event: Glance<'_> = serde_json::from_slice(line)
        .map_err(|error| AuditError::corrupt(first, error.to_string()))?;
    // All of them are written in UTC, to the second.
    Ok(event.event_time.as_ref() < before)
}

/// Removes the segments that lie before the record where the kept log begins, oldest first. How many
/// there were.
pub(crate) fn remove_before_begin(dir: &Path) -> Result<usize, AuditError> {
    let Some(gone) = begin(dir)? else {
        return Ok(0);
    };
    let mut removed = 0;
    for first in segment::list(dir)?.segments {
        if first > gone.records {
            break;
        }
        for path in [segment::path(dir, first), segment::packed_path(dir, first)] {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(AuditError::io("remove", &path, &error));
                }
                _ => {}
            }
        }
        removed += 1;
    }
    if removed > 0 {
        sync_directory(dir).map_err(|error| AuditError::io("sync", dir, &error))?;
    }
    Ok(removed)
}
