//! Segments that are full and delivered are compressed where they lie.
//!
//! The compressed file has its name once it is durable and was read back; only then does the other
//! lose its own. A crash in between leaves both, and the next run begins anew.

use super::AuditError;
use super::segment::{self, Forward, Next};
use crate::files::sync_directory;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use waxseal_core::crypto::hash::Sha256;

/// The newest segments, which are never compressed: one is written to, and who finds it empty reads the
/// end of the one before.
pub(super) const PLAIN_MIN: usize = 2;
const CHUNK_BYTES: usize = 64 << 10;

/// Compresses the segments all of whose records are at or before `until`, but the newest two. One
/// process does this at a time; everybody else may read and write meanwhile. How many there were.
pub(crate) fn pack(dir: &Path, until: u64) -> Result<usize, AuditError> {
    let segments = segment::list(dir)?.segments;
    let mut packed = 0;
    for pair in segments[..segments.len().saturating_sub(PLAIN_MIN - 1)].windows(2) {
        let (first, next) = (pair[0], pair[1]);
        let path = segment::path(dir, first);
        if next - 1 > until || !path.exists() {
            continue;
        }
        pack_one(dir, first).map_err(|error| segment::failed(&path, first, &error))?;
        packed += 1;
    }
    Ok(packed)
}

fn pack_one(dir: &Path, first: u64) -> io::Result<()> {
    let (path, packed) = (segment::path(dir, first), segment::packed_path(dir, first));
    let new = packed.with_extension("new");
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let out = BufWriter::new(options.open(&new)?);
    let mut out = GzEncoder::new(out, Compression::default());
    let written = hashed(File::open(&path)?, |chunk| out.write_all(chunk))?;
    let out = out.finish()?.into_inner();
    out.map_err(io::IntoInnerError::into_error)?.sync_all()?;
    let read = segment::unpacking(File::open(&new)?)?;
    if hashed(read, |_| Ok(()))? != written || !is_whole(dir, first)? {
        let what = "the compressed segment is not what was to be compressed";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    std::fs::rename(&new, &packed)?;
    sync_directory(dir)?;
    std::fs::remove_file(&path)?;
    sync_directory(dir)
}

/// Whether a segment that is not compressed ends with a line, without room behind it.
fn is_whole(dir: &Path, first: u64) -> io::Result<bool> {
    let mut lines = Forward::open(dir, first)?;
    loop {
        match lines.next()? {
            Next::Line(_) => {}
            Next::End => break,
            Next::TooLong | Next::Torn(_) => return Ok(false),
        }
    }
    let mut last = [0];
    let file = File::open(segment::path(dir, first))?;
    let bytes = file.metadata()?.len();
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut last, bytes.saturating_sub(1))?;
    Ok(last == *b"\n")
}

/// SHA-256 of all bytes, each of which is told.
fn hashed(
    mut from: impl Read,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::default();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok(hash.finish()),
            Ok(read) => {
                hash.update(&chunk[..read]);
                each(&chunk[..read])?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{AuditLog, Event, Reason, VerifyError, records, verify};
    use std::fs;

    fn event(number: u64) -> Event<'static> {
        Event::blank(format!("event-{number}"))
    }

    fn log(dir: &Path, events: std::ops::Range<u64>) {
        let log = AuditLog::open(dir).unwrap().with_segment_bytes_max(2_000);
        for number in events {
            log.append(&event(number)).unwrap();
        }
    }

    fn lines(dir: &Path) -> Vec<String> {
        records(dir).map(|record| record.unwrap().line).collect()
    }

    #[test]
    fn a_packed_log_is_the_same_log() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        log(dir, 0..30);
        let (before, lines_before) = (verify(dir).unwrap(), lines(dir));
        let segments = segment::list(dir).unwrap().segments;
        assert_eq!(pack(dir, 0).unwrap(), 0, "nothing is delivered");
        assert_eq!(pack(dir, segments[2] - 1).unwrap(), 2);
        assert_eq!(pack(dir, u64::MAX).unwrap(), segments.len() - 4);
        assert_eq!(pack(dir, u64::MAX).unwrap(), 0);
        for (index, &first) in segments.iter().enumerate() {
            let is_packed = index + PLAIN_MIN < segments.len();
            assert_eq!(segment::packed_path(dir, first).exists(), is_packed);
            assert_eq!(segment::path(dir, first).exists(), !is_packed);
        }
        assert_eq!(verify(dir).unwrap(), before);
        assert_eq!(lines(dir), lines_before);
        // It goes on, and what was recorded long ago is found.
        log(dir, 30..33);
        assert_eq!(verify(dir).unwrap().records, 33);
        let open = AuditLog::open(dir).unwrap();
        let mut held = open.exclusive().unwrap();
        assert!(held.contains(1, "event-0").unwrap());
        assert!(!held.contains(1, "event-99").unwrap());
        assert_eq!(
            segment::written_segments(dir).unwrap().len(),
            segments.len() + 1
        );
    }

    #[test]
    fn what_a_crash_left_is_done_again() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        log(dir, 0..20);
        let lines_before = lines(dir);
        let first = segment::path(dir, 1);
        let sound = fs::read(&first).unwrap();
        pack(dir, u64::MAX).unwrap();
        // Both names are there, and half of a file that has none yet.
        fs::write(&first, &sound).unwrap();
        fs::write(dir.join("00000000000000000001.jsonl.new"), b"half").unwrap();
        let packed = segment::packed_path(dir, 1);
        fs::write(&packed, b"torn").unwrap();
        assert_eq!(lines(dir), lines_before);
        verify(dir).unwrap();
        assert_eq!(pack(dir, u64::MAX).unwrap(), 1);
        assert!(!first.exists());
        assert_eq!(lines(dir), lines_before);
    }

    /// Any changed byte of a compressed segment is found, and the record named that it touched or one
    /// before it in the segment.
    #[test]
    fn every_byte_of_a_packed_segment_counts() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        log(dir, 0..20);
        pack(dir, u64::MAX).unwrap();
        let (head, segments) = (
            verify(dir).unwrap().head,
            segment::list(dir).unwrap().segments,
        );
        let packed = segment::packed_path(dir, segments[1]);
        let sound = fs::read(&packed).unwrap();
        let mut found = 0;
        for place in 0..sound.len() {
            let mut bent = sound.clone();
            bent[place] ^= 1 << (place % 8);
            fs::write(&packed, &bent).unwrap();
            match verify(dir) {
                Err(VerifyError::Broken(broken)) => {
                    assert!(
                        (segments[1]..=segments[2]).contains(&broken.sequence),
                        "{broken}"
                    );
                    found += 1;
                }
                // Bits that mean nothing: how hard it was compressed, and what fills the last byte.
                Ok(verified) => assert_eq!(verified.head, head),
                Err(error) => panic!("{error}"),
            }
        }
        assert!(found + 3 > sound.len(), "{found} of {}", sound.len());
        for behind in [&b"\0"[..], &sound] {
            fs::write(&packed, [&sound, behind].concat()).unwrap();
            let Err(VerifyError::Broken(broken)) = verify(dir) else {
                panic!("something follows");
            };
            assert!(matches!(broken.reason, Reason::Damaged(_)), "{broken}");
        }
        for length in [0, 5, 20, sound.len() - 1] {
            fs::write(&packed, &sound[..length]).unwrap();
            assert!(
                matches!(verify(dir), Err(VerifyError::Broken(_))),
                "{length}"
            );
        }
    }
}
