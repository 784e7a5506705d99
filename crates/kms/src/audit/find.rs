//! One record by its number, without reading the segment before it.

use super::event::Link;
use super::records::records_after;
use super::segment;
use super::{AuditError, RECORD_BYTES_MAX};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use waxseal_core::crypto::hash::sha256;

/// SHA-256 of the line of the record with this sequence number; nothing when it is not in a segment that
/// can be looked into.
///
/// Needs no lock. Takes about as many reads as the length of a segment has bits.
pub(crate) fn hash_of(dir: &Path, sequence: u64) -> Result<Option<[u8; 32]>, AuditError> {
    let segments = segment::list(dir)?.segments;
    let after = segments.partition_point(|first| *first <= sequence);
    let Some(&first) = after.checked_sub(1).and_then(|at| segments.get(at)) else {
        return Ok(None);
    };
    let path = segment::path(dir, first);
    let failed = |error: io::Error| AuditError::io("read", &path, &error);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return packed(dir, sequence),
        file => file.map_err(failed)?,
    };
    let bytes = file.metadata().map_err(failed)?.len();
    let end = segment::written(&file, bytes).map_err(failed)?;
    let lines = Lines { file, first, end };
    let (mut low, mut high) = (0, end);
    while high - low > NEAR_BYTES {
        let middle = low + (high - low) / 2;
        match lines.first_after(middle).map_err(failed)? {
            Some((begin, line)) if begin < high => match lines.sequence(&line)? {
                found if found == sequence => return Ok(Some(sha256(&[&line]))),
                found if found < sequence => low = begin,
                _ => high = middle,
            },
            _ => high = middle,
        }
    }
    let mut next = lines.at(low).map_err(failed)?;
    while let Some((begin, line)) = next {
        match lines.sequence(&line)? {
            found if found == sequence => return Ok(Some(sha256(&[&line]))),
            found if found > sequence => return Ok(None),
            _ => next = lines.at(begin + line.len() as u64 + 1).map_err(failed)?,
        }
    }
    Ok(None)
}

/// The same in a segment that is compressed, and has to be read from its beginning.
fn packed(dir: &Path, sequence: u64) -> Result<Option<[u8; 32]>, AuditError> {
    let record = records_after(dir, sequence.saturating_sub(1))
        .next()
        .transpose()?;
    let record = record.filter(|record| record.sequence == sequence);
    Ok(record.map(|record| sha256(&[record.line.as_bytes()])))
}

struct Lines {
    file: File,
    first: u64,
    /// Behind the last byte that was written.
    end: u64,
}

impl Lines {
    /// The first line that begins behind `place`, and where.
    fn first_after(&self, place: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
        match self.line(place)? {
            Some(part) => self.at(place + part.len() as u64 + 1),
            None => Ok(None),
        }
    }

    /// The line that begins at `begin`.
    fn at(&self, begin: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
        Ok(self.line(begin)?.map(|line| (begin, line)))
    }

    /// What lies between `begin` and the next newline.
    fn line(&self, begin: u64) -> io::Result<Option<Vec<u8>>> {
        let left = usize::try_from(self.end.saturating_sub(begin)).unwrap_or(usize::MAX);
        let mut bytes = CHUNK_BYTES;
        loop {
            let mut chunk = vec![0; bytes.min(left)];
            self.file.read_exact_at(&mut chunk, begin)?;
            if let Some(newline) = chunk.iter().position(|byte| *byte == b'\n') {
                chunk.truncate(newline);
                return Ok(Some(chunk));
            }
            if chunk.len() == left || bytes > RECORD_BYTES_MAX {
                return Ok(None);
            }
            bytes *= 4;
        }
    }

    fn sequence(&self, line: &[u8]) -> Result<u64, AuditError> {
        let link = Link::parse(line).map_err(|what| AuditError::corrupt(self.first, what))?;
        Ok(link.sequence())
    }
}

const CHUNK_BYTES: usize = 8 << 10;
/// As many bytes are read line by line.
const NEAR_BYTES: u64 = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_record_is_found_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let mut lines = Vec::new();
        for (begin, end) in [(1, 300), (300, 1_200), (1_200, 1_201)] {
            let mut text = Vec::new();
            for sequence in begin..end {
                let padding = "x".repeat((sequence as usize * 7_919) % 900);
                let hash = "0".repeat(64);
                let line = format!(
                    "{{\"eventID\":\"{padding}\",\"additionalEventData\":{{\"sequence\":{sequence},\
                     \"previousHash\":\"{hash}\"}}}}"
                );
                text.extend_from_slice(line.as_bytes());
                text.push(b'\n');
                lines.push(line);
            }
            // Room that was made, behind the last.
            text.extend_from_slice(&[0; 100]);
            std::fs::write(segment::path(dir.path(), begin), text).unwrap();
        }
        for (sequence, line) in (1..).zip(&lines) {
            let found = hash_of(dir.path(), sequence).unwrap();
            assert_eq!(found, Some(sha256(&[line.as_bytes()])), "{sequence}");
        }
        for sequence in [0, lines.len() as u64 + 1, u64::MAX] {
            assert_eq!(hash_of(dir.path(), sequence).unwrap(), None, "{sequence}");
        }
    }
}
