//! The one who writes: holds the lock between processes and knows where the log ends.

use super::event::{Encoded, Link};
use super::segment::{self, BATCH_BYTES_MAX, Backward};
use super::{AuditError, SEGMENT_BYTES_MAX};
use crate::files::sync_directory;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use waxseal_core::crypto::hash::sha256;

#[derive(Debug)]
pub(super) struct Writer {
    dir: PathBuf,
    lock: File,
    pub(super) segment_bytes_max: u64,
    /// How a segment is made durable; tests put failures here.
    pub(super) sync: fn(&File) -> io::Result<()>,
    pub(super) syncs: u64,
    end: Option<End>,
    /// The lines of the last batch: its memory serves the next one.
    lines: Vec<u8>,
    /// Whether room is made ahead: for those who write much.
    pub(super) makes_room: bool,
    /// Records that this handle wrote or saw.
    known: u64,
    refusing: bool,
}

/// Where the log ends.
#[derive(Debug)]
struct End {
    next_sequence: u64,
    /// Of the last record's line.
    hash: [u8; 32],
    /// The newest segment; none before the first record.
    segment: Option<Segment>,
}

#[derive(Debug)]
struct Segment {
    first: u64,
    file: File,
    /// Up to the end of the last record.
    bytes: u64,
    /// Of the file: room that is made ahead lies behind the records, zero bytes.
    file_bytes: u64,
}

/// How a segment ends.
#[derive(Debug)]
struct Tail {
    /// The sequence number after its last record, and the hash of that record's line.
    last: Option<(u64, [u8; 32])>,
    /// Its length up to the last newline.
    whole_bytes: u64,
}

impl Writer {
    pub(super) fn open(dir: &Path) -> Result<Self, AuditError> {
        create_dir(dir)?;
        let path = dir.join("lock");
        let mut options = OpenOptions::new();
        let lock = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| AuditError::io("open", &path, &error))?;
        Ok(Self {
            dir: dir.to_owned(),
            lock,
            segment_bytes_max: SEGMENT_BYTES_MAX,
            sync: File::sync_data,
            syncs: 0,
            end: None,
            lines: Vec::new(),
            makes_room: false,
            known: 0,
            refusing: false,
        })
    }

    /// Takes the lock and finds the end of the log, which nobody else moves until
    /// [`Writer::unlock`].
    pub(super) fn lock(&mut self) -> Result<(), AuditError> {
        if self.refusing {
            return Err(AuditError::Refusing);
        }
        self.wait_for_lock()?;
        self.refresh().inspect_err(|_| self.unlock())
    }

    pub(super) fn unlock(&self) {
        // Failing to unlock a file that is open and locked has no cause that could be mended; the
        // lock goes with the descriptor at the latest.
        let _ = self.lock.unlock();
    }

    /// Sequence number of the record that is written next.
    pub(super) fn next_sequence(&self) -> u64 {
        let known = self.known + 1;
        self.end.as_ref().map_or(known, |end| end.next_sequence)
    }

    /// SHA-256 of the last record's line; zeros before the first. Needs the lock.
    pub(super) fn head(&self) -> [u8; 32] {
        self.end.as_ref().map_or([0; 32], |end| end.hash)
    }

    /// Writes and syncs; gives the first one's sequence number. Needs the lock.
    pub(super) fn append(&mut self, records: &[Encoded]) -> Result<u64, AuditError> {
        let mut first = None;
        let mut rest = records;
        loop {
            let (batch, later) = rest.split_at(fitting(rest));
            let begun = self.append_batch(batch)?;
            first.get_or_insert(begun);
            match (first, later) {
                (Some(first), []) => return Ok(first),
                (_, later) => rest = later,
            }
        }
    }

    fn append_batch(&mut self, records: &[Encoded]) -> Result<u64, AuditError> {
        if self.refusing {
            return Err(AuditError::Refusing);
        }
        // Whatever goes wrong below, the end is read again before it is believed again.
        let mut end = match self.end.take() {
            Some(end) => end,
            None => self.load()?,
        };
        let first = end.next_sequence;
        let mut lines = std::mem::take(&mut self.lines);
        lines.clear();
        for record in records {
            let begin = lines.len();
            record.write(end.next_sequence, &end.hash, &mut lines);
            end.hash = sha256(&[&lines[begin..]]);
            end.next_sequence += 1;
            lines.push(b'\n');
        }
        let bytes = lines.len() as u64;
        let full = |s: &Segment| s.bytes > 0 && s.bytes + bytes > self.segment_bytes_max;
        let (mut segment, created) = match end.segment.take() {
            Some(segment) if !full(&segment) => (segment, false),
            Some(segment) => {
                segment.cut(segment.bytes);
                (Segment::create(&self.dir, first)?, true)
            }
            None => (Segment::create(&self.dir, first)?, true),
        };
        if self.makes_room {
            segment.make_room(bytes);
        }
        let written = self.write(&segment, &lines);
        self.lines = lines;
        written?;
        if created && let Err(error) = sync_dir(&self.dir) {
            self.refusing = true;
            segment.cut(0);
            return Err(error);
        }
        segment.bytes += bytes;
        segment.file_bytes = segment.file_bytes.max(segment.bytes);
        self.known = end.next_sequence - 1;
        end.segment = Some(segment);
        self.end = Some(end);
        Ok(first)
    }

    /// Whether a record with `sequence >= since` has this event id. Needs the lock.
    pub(super) fn contains(&self, since: u64, event_id: &str) -> Result<bool, AuditError> {
        if since >= self.next_sequence() {
            return Ok(false);
        }
        for &first in segment::list(&self.dir)?.segments.iter().rev() {
            let content = segment::Content::open(&self.dir, first)?;
            let mut lines = content.lines()?;
            while let Some(line) = lines.next().map_err(|error| content.failed(&error))? {
                let link = Link::parse(line).map_err(|e| AuditError::corrupt(first, e))?;
                if link.sequence() < since {
                    return Ok(false);
                }
                if link.event_id == event_id {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn wait_for_lock(&self) -> Result<(), AuditError> {
        // Not the blocking call: a process that was stopped while it holds the lock must not stop
        // every other for ever.
        let deadline = Instant::now() + LOCK_WAIT_MAX;
        let mut pause = Duration::from_micros(50);
        loop {
            match self.lock.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {}
                Err(TryLockError::WouldBlock) => return Err(AuditError::Busy),
                Err(TryLockError::Error(error)) => {
                    return Err(AuditError::io("lock", &self.dir.join("lock"), &error));
                }
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(1));
        }
    }

    fn refresh(&mut self) -> Result<(), AuditError> {
        if let Some(end) = &self.end
            && end.is_current(&self.dir)
        {
            return Ok(());
        }
        self.end = Some(self.load()?);
        Ok(())
    }

    fn load(&mut self) -> Result<End, AuditError> {
        let end = End::load(&self.dir)?;
        if end.next_sequence <= self.known {
            return Err(AuditError::RolledBack {
                found: end.next_sequence,
                known: self.known,
            });
        }
        self.known = end.next_sequence - 1;
        Ok(end)
    }

    /// All of `lines`, durably, or as if nothing had been written.
    fn write(&mut self, segment: &Segment, lines: &[u8]) -> Result<(), AuditError> {
        let path = segment::path(&self.dir, segment.first);
        if let Err(error) = segment.file.write_all_at(lines, segment.bytes) {
            segment.cut(segment.bytes);
            return Err(AuditError::io("write", &path, &error));
        }
        self.syncs += 1;
        if let Err(error) = (self.sync)(&segment.file) {
            self.refusing = true;
            segment.cut(segment.bytes);
            return Err(AuditError::io("sync", &path, &error));
        }
        Ok(())
    }
}

impl Drop for Writer {
    /// Room that was made and not needed is given back, if nobody else is writing.
    fn drop(&mut self) {
        if !self.makes_room || self.lock.try_lock().is_err() {
            return;
        }
        if let Some(end) = &self.end
            && let Some(segment) = &end.segment
            && end.is_current(&self.dir)
        {
            segment.cut(segment.bytes);
        }
        self.unlock();
    }
}

impl End {
    /// Whether nobody else has written since. A newer segment would be named by the record that
    /// comes next: one look shows whether there is one.
    fn is_current(&self, dir: &Path) -> bool {
        let Some(segment) = &self.segment else {
            return false;
        };
        let unchanged = segment
            .file
            .metadata()
            .is_ok_and(|found| found.len() == segment.file_bytes && found.nlink() > 0);
        unchanged
            && segment.is_free()
            && (segment.first == self.next_sequence
                || !segment::path(dir, self.next_sequence).exists())
    }

    /// Reads the end of the log, and cuts off what a crash left behind the last newline.
    fn load(dir: &Path) -> Result<Self, AuditError> {
        let segments = segment::list(dir)?.segments;
        let Some((&newest, older)) = segments.split_last() else {
            return Ok(Self {
                next_sequence: 1,
                hash: [0; 32],
                segment: None,
            });
        };
        let mut segment = Segment::open(dir, newest)?;
        let tail = segment.tail(dir)?;
        let (next_sequence, hash) = match tail.last {
            Some(last) => last,
            None if newest == 1 => (1, [0; 32]),
            None => Self::of_older(dir, older, newest)?,
        };
        if tail.whole_bytes < segment.file_bytes {
            let path = segment::path(dir, newest);
            let cut = segment.file.set_len(tail.whole_bytes);
            cut.map_err(|error| AuditError::io("cut", &path, &error))?;
            segment.bytes = tail.whole_bytes;
            segment.file_bytes = tail.whole_bytes;
        }
        Ok(Self {
            next_sequence,
            hash,
            segment: Some(segment),
        })
    }

    /// The newest segment holds no record: what the one before it ends with.
    fn of_older(dir: &Path, older: &[u64], newest: u64) -> Result<(u64, [u8; 32]), AuditError> {
        let last = match older.last() {
            Some(&first) => Segment::open(dir, first)?.tail(dir)?.last,
            None => None,
        };
        match last {
            Some((next, hash)) if next == newest => Ok((next, hash)),
            _ => Err(AuditError::corrupt(
                newest,
                "the segment before it does not end with the record before",
            )),
        }
    }
}

impl Segment {
    fn open(dir: &Path, first: u64) -> Result<Self, AuditError> {
        let path = segment::path(dir, first);
        let failed = |error| AuditError::io("open", &path, &error);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).open(&path).map_err(failed)?;
        let file_bytes = file.metadata().map_err(failed)?.len();
        let mut bytes = segment::written(&file, file_bytes).map_err(failed)?;
        if bytes < file_bytes {
            bytes = segment::before_holes(&file, bytes).map_err(failed)?;
        }
        Ok(Self {
            first,
            file,
            bytes,
            file_bytes,
        })
    }

    fn create(dir: &Path, first: u64) -> Result<Self, AuditError> {
        let path = segment::path(dir, first);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options
            .open(&path)
            .map_err(|error| AuditError::io("create", &path, &error))?;
        Ok(Self {
            first,
            file,
            bytes: 0,
            file_bytes: 0,
        })
    }

    /// Whether nothing lies behind the last record where room was made: what another writer put there
    /// would begin with a brace.
    fn is_free(&self) -> bool {
        let mut next = [0];
        self.file_bytes == self.bytes
            || (self.file.read_exact_at(&mut next, self.bytes).is_ok() && next == [0])
    }

    /// Makes room for so many bytes and those to come, if there is none: a file that does not grow is
    /// synced without its metadata. A zero byte is always left at the end, which says that room was
    /// made. When it cannot be, the file grows with its records.
    fn make_room(&mut self, bytes: u64) {
        if self.bytes + bytes < self.file_bytes {
            return;
        }
        let begin = self.file_bytes.max(self.bytes);
        let mut end = begin;
        let mut made = Ok(());
        while made.is_ok() && end <= self.bytes + bytes {
            made = self.file.write_all_at(&ZEROS, end);
            end += ZEROS.len() as u64;
        }
        match made {
            Ok(()) => self.file_bytes = end,
            Err(_) => {
                self.cut(self.bytes);
                self.file_bytes = self.bytes;
            }
        }
    }

    fn tail(&self, dir: &Path) -> Result<Tail, AuditError> {
        let failed = |error| segment::failed(&segment::path(dir, self.first), self.first, &error);
        let mut lines = Backward::new(&self.file, self.bytes).map_err(failed)?;
        let whole_bytes = lines.end();
        let last = match lines.next().map_err(failed)? {
            Some(line) => Some((self.sequence(line)? + 1, sha256(&[line]))),
            None => None,
        };
        Ok(Tail { last, whole_bytes })
    }

    fn sequence(&self, line: &[u8]) -> Result<u64, AuditError> {
        let corrupt = |reason| AuditError::corrupt(self.first, reason);
        let sequence = Link::parse(line).map_err(corrupt)?.sequence();
        if sequence < self.first || sequence == u64::MAX {
            return Err(corrupt(format!("it ends with record {sequence}")));
        }
        Ok(sequence)
    }

    /// As far as possible: what stays is cut off by the next writer, or was never acknowledged.
    fn cut(&self, bytes: u64) {
        let _ = self.file.set_len(bytes);
    }
}

/// How many of the records are written before one sync.
fn fitting(records: &[Encoded]) -> usize {
    let mut bytes = 0;
    let fit = records.iter().take_while(|record| {
        bytes += record.bytes_max();
        bytes <= BATCH_BYTES_MAX
    });
    fit.count().max(1).min(records.len())
}

fn create_dir(dir: &Path) -> Result<(), AuditError> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => {
            let absolute = std::path::absolute(dir);
            let absolute = absolute.map_err(|error| AuditError::io("find", dir, &error))?;
            sync_dir(absolute.parent().unwrap_or(dir))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(AuditError::io("create", dir, &error)),
    }
}

fn sync_dir(dir: &Path) -> Result<(), AuditError> {
    sync_directory(dir).map_err(|error| AuditError::io("sync", dir, &error))
}

/// How much room is made at once.
static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
const LOCK_WAIT_MAX: Duration = Duration::from_secs(10);
