//! The one who writes: holds the lock between processes and knows where the log ends.

use super::blocks::{BLOCK_BYTES, Direct, Lines};
use super::event::{Encoded, Link};
use super::lock::Lock;
use super::segment::{self, BATCH_BYTES_MAX, Backward};
use super::{AuditError, RECORD_BYTES_MAX, SEGMENT_BYTES_MAX};
use crate::files::sync_directory;
use rustix::fs::{AtFlags, StatxFlags, statx};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use waxseal_core::crypto::hash::sha256;

#[derive(Debug)]
pub(super) struct Writer {
    dir: PathBuf,
    lock: Lock,
    pub(super) segment_bytes_max: u64,
    /// How a segment is made durable; tests put failures here.
    pub(super) sync: fn(&File) -> io::Result<()>,
    pub(super) syncs: u64,
    end: Option<End>,
    /// The lines of the last batch: its memory serves the next one.
    lines: Lines,
    /// Whether room is made ahead: for those who write much.
    pub(super) makes_room: bool,
    /// Records that this handle wrote or saw.
    known: u64,
    /// SHA-256 of the last of them.
    known_hash: [u8; 32],
    /// The segment that a failed sync left in doubt.
    doubt: Option<u64>,
    /// Something failed: the file system may be another one by now, and the lock is opened again.
    reopens: bool,
}

/// Where the log ends.
#[derive(Debug)]
struct End {
    next_sequence: u64,
    /// Of the last record's line.
    hash: [u8; 32],
    /// The newest record of a change; 0 where there is none.
    last_change: u64,
    /// The newest segment; none before the first record.
    segment: Option<Segment>,
    /// Whether all of it was synced by this handle. What others left may not have been.
    is_synced: bool,
}

#[derive(Debug)]
struct Segment {
    first: u64,
    file: File,
    /// Up to the end of the last record.
    bytes: u64,
    /// Of the file: room that is made ahead lies behind the records, zero bytes.
    file_bytes: u64,
    way: Way,
}

/// How records get into a segment.
#[derive(Debug)]
enum Way {
    /// Through the page cache, until there is room for blocks.
    Untried,
    /// Through the page cache: the file system knows no other.
    Cached,
    /// Past it, where there is room.
    Direct(Direct),
}

/// How a segment ends.
#[derive(Debug)]
struct Tail {
    last: Option<Last>,
    /// Its length up to the last newline.
    whole_bytes: u64,
}

/// The last record of the log, or of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Last {
    /// The sequence number that the next one gets.
    pub(crate) next_sequence: u64,
    /// SHA-256 of its line; zeros before the first record.
    pub(crate) hash: [u8; 32],
    /// The newest record of a change; 0 where there is none.
    pub(crate) last_change: u64,
}

impl Last {
    /// Where there is no record.
    const NONE: Self = Self {
        next_sequence: 1,
        hash: [0; 32],
        last_change: 0,
    };
}

impl Writer {
    pub(super) fn open(dir: &Path) -> Result<Self, AuditError> {
        create_dir(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            lock: Lock::open(dir)?,
            segment_bytes_max: SEGMENT_BYTES_MAX,
            sync: File::sync_data,
            syncs: 0,
            end: None,
            lines: Lines::default(),
            makes_room: false,
            known: 0,
            known_hash: [0; 32],
            doubt: None,
            reopens: false,
        })
    }

    /// Finds the end of the log, which nobody else moves until [`Writer::unlock`]. Needs the lock.
    pub(super) fn find_end(&mut self) -> Result<(), AuditError> {
        let found = match self.doubt {
            Some(segment) => self.mend(segment),
            None => self.refresh(),
        };
        self.reopens |= found.is_err();
        found
    }

    pub(super) fn unlock(&self) {
        self.lock.release();
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

    /// The last record, which is durable: one that somebody wrote who was killed before the sync counts
    /// from now on. Needs the lock.
    pub(super) fn last(&mut self) -> Result<Last, AuditError> {
        if let Some(End {
            segment: Some(segment),
            is_synced: is_synced @ false,
            ..
        }) = &mut self.end
        {
            if let Err(error) = (self.sync)(&segment.file) {
                self.doubt = Some(segment.first);
                self.reopens = true;
                let path = segment::path(&self.dir, segment.first);
                return Err(AuditError::io("sync", &path, &error));
            }
            *is_synced = true;
        }
        Ok(Last {
            next_sequence: self.next_sequence(),
            hash: self.head(),
            last_change: self.end.as_ref().map_or(0, |end| end.last_change),
        })
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
        let written = self.write_batch(records);
        self.reopens |= written.is_err();
        written
    }

    fn write_batch(&mut self, records: &[Encoded]) -> Result<u64, AuditError> {
        if let Some(segment) = self.doubt {
            self.mend(segment)?;
        }
        // Whatever goes wrong below, the end is read again before it is believed again.
        let mut end = match self.end.take() {
            Some(end) => end,
            None => self.load()?,
        };
        let first = end.next_sequence;
        let mut lines = std::mem::take(&mut self.lines);
        let head = end.segment.as_ref().map_or(&[][..], Segment::head);
        let bytes_max = records.iter().map(|record| record.bytes_max() + 1).sum();
        lines.start(head, bytes_max);
        for record in records {
            let text = lines.memory();
            let begin = text.len();
            if record.is_change {
                end.last_change = end.next_sequence;
            }
            record.write(end.next_sequence, &end.hash, end.last_change, text);
            end.hash = sha256(&[&text[begin..]]);
            end.next_sequence += 1;
            text.push(b'\n');
        }
        let bytes = lines.lines().len() as u64;
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
            segment.go_direct(&self.dir);
        }
        let written = self.write(&mut segment, &mut lines);
        segment.advance(lines.lines());
        self.lines = lines;
        written?;
        if created && let Err(error) = sync_dir(&self.dir) {
            self.doubt = Some(first);
            segment.cut(0);
            return Err(error);
        }
        self.known = end.next_sequence - 1;
        self.known_hash = end.hash;
        end.segment = Some(segment);
        end.is_synced = true;
        self.end = Some(end);
        Ok(first)
    }

    /// The record with `sequence >= since` that has this event id, if there is one. Needs the lock.
    pub(super) fn find(&self, since: u64, event_id: &str) -> Result<Option<u64>, AuditError> {
        if since >= self.next_sequence() {
            return Ok(None);
        }
        for &first in segment::list(&self.dir)?.segments.iter().rev() {
            let content = segment::Content::open(&self.dir, first)?;
            let mut lines = content.lines()?;
            while let Some(line) = lines.next().map_err(|error| content.failed(&error))? {
                let link = Link::parse(line).map_err(|e| AuditError::corrupt(first, e))?;
                if link.sequence() < since {
                    return Ok(None);
                }
                if link.event_id == event_id {
                    return Ok(Some(link.sequence()));
                }
            }
        }
        Ok(None)
    }

    /// Takes the lock between processes.
    pub(super) fn wait_for_lock(&mut self, limit: Duration) -> Result<(), AuditError> {
        if self.reopens {
            self.lock = Lock::open(&self.dir)?;
            self.end = None;
            self.reopens = false;
        }
        let locked = self.lock.wait(limit);
        self.reopens = !matches!(locked, Ok(()) | Err(AuditError::Busy));
        locked
    }

    fn refresh(&mut self) -> Result<(), AuditError> {
        if self.is_current() {
            return Ok(());
        }
        self.end = Some(self.load()?);
        Ok(())
    }

    /// Whether the end is where it was left. Needs the lock.
    fn is_current(&self) -> bool {
        let segment = self.end.as_ref().and_then(|end| end.segment.as_ref());
        segment.is_some_and(Segment::is_unchanged) && self.lock.is_ours()
    }

    /// Reads the end anew. Whoever wrote before has to do so, too, after this.
    fn load(&mut self) -> Result<End, AuditError> {
        self.lock.claim()?;
        let end = End::load(&self.dir)?;
        let found = end.next_sequence;
        if found <= self.known {
            let known = self.known;
            return Err(AuditError::RolledBack { found, known });
        }
        if found == self.known + 1 && self.known > 0 && end.hash != self.known_hash {
            let first = end.segment.as_ref().map_or(found, |segment| segment.first);
            let reason = format!("record {} is not the one that was written", self.known);
            return Err(AuditError::corrupt(first, reason));
        }
        self.known = found - 1;
        self.known_hash = end.hash;
        Ok(end)
    }

    /// Goes on after a failed sync. The pages that it was for may have been dropped, and a second sync
    /// would say yes to nothing: what the segment holds is read back, and so much as the failed write
    /// may have touched is written again before it is synced. The next record begins a new segment.
    fn mend(&mut self, first: u64) -> Result<(), AuditError> {
        let mut end = self.load()?;
        let path = segment::path(&self.dir, first);
        if path.exists() {
            let segment = Segment::open(&self.dir, first)?;
            if segment.tail(&self.dir)?.whole_bytes == 0 {
                let removed = std::fs::remove_file(&path);
                removed.map_err(|error| AuditError::io("remove", &path, &error))?;
            } else {
                segment.rewrite()?;
                let synced = segment
                    .file
                    .sync_all()
                    .and_then(|()| (self.sync)(&segment.file));
                synced.map_err(|error| AuditError::io("sync", &path, &error))?;
            }
        }
        sync_dir(&self.dir)?;
        end.segment = None;
        self.end = Some(end);
        self.doubt = None;
        Ok(())
    }

    /// Whether something can be written and made durable beside the segments.
    pub(super) fn probe(&self) -> Result<(), AuditError> {
        let path = self.dir.join("probe");
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let written = options
            .open(&path)
            .and_then(|file| file.write_all_at(&ZEROS[..PROBE_BYTES], 0).map(|()| file))
            .and_then(|file| (self.sync)(&file));
        // It is in nobody's way.
        let _ = std::fs::remove_file(&path);
        written.map_err(|error| AuditError::io("write", &path, &error))
    }

    /// All of `lines`, durably, or as if nothing had been written.
    fn write(&mut self, segment: &mut Segment, lines: &mut Lines) -> Result<(), AuditError> {
        let failed = |segment: &Segment, action, error| {
            segment.cut(segment.bytes);
            AuditError::io(action, &segment::path(&self.dir, segment.first), &error)
        };
        if let Err(error) = segment.write(lines) {
            return Err(failed(segment, "write", error));
        }
        self.syncs += 1;
        if let Err(error) = (self.sync)(&segment.file) {
            self.doubt = Some(segment.first);
            return Err(failed(segment, "sync", error));
        }
        Ok(())
    }
}

/// The last record, for whoever does not hold the lock: records that are appended meanwhile may or may
/// not be seen.
pub(crate) fn peek(dir: &Path) -> Result<Last, AuditError> {
    for first in segment::list(dir)?.segments.into_iter().rev() {
        let path = segment::path(dir, first);
        let file = File::open(&path).map_err(|error| AuditError::io("open", &path, &error))?;
        if let Some(last) = Segment::of(dir, first, file)?.tail(dir)?.last {
            return Ok(last);
        }
    }
    Ok(Last::NONE)
}

impl Drop for Writer {
    /// Room that was made and not needed is given back, if nobody else is writing.
    fn drop(&mut self) {
        if !self.makes_room || !self.lock.try_take() {
            return;
        }
        if let Some(End {
            segment: Some(segment),
            ..
        }) = &self.end
            && self.is_current()
        {
            segment.cut(segment.bytes);
        }
        self.unlock();
    }
}

impl End {
    /// Reads the end of the log, and cuts off what a crash left behind the last newline.
    fn load(dir: &Path) -> Result<Self, AuditError> {
        let segments = segment::list(dir)?.segments;
        let Some((&newest, older)) = segments.split_last() else {
            return Ok(Self::after(Last::NONE, None));
        };
        let mut segment = Segment::open(dir, newest)?;
        let tail = segment.tail(dir)?;
        let last = match tail.last {
            Some(last) => last,
            None if newest == 1 => Last::NONE,
            None => Self::of_older(dir, older, newest)?,
        };
        if tail.whole_bytes < segment.file_bytes {
            let path = segment::path(dir, newest);
            let cut = segment.file.set_len(tail.whole_bytes);
            cut.map_err(|error| AuditError::io("cut", &path, &error))?;
            segment.bytes = tail.whole_bytes;
            segment.file_bytes = tail.whole_bytes;
        }
        Ok(Self::after(last, Some(segment)))
    }

    fn after(last: Last, segment: Option<Segment>) -> Self {
        Self {
            next_sequence: last.next_sequence,
            hash: last.hash,
            last_change: last.last_change,
            segment,
            is_synced: false,
        }
    }

    /// The newest segment holds no record: what the one before it ends with.
    fn of_older(dir: &Path, older: &[u64], newest: u64) -> Result<Last, AuditError> {
        let last = match older.last() {
            Some(&first) => Segment::open(dir, first)?.tail(dir)?.last,
            None => None,
        };
        match last {
            Some(last) if last.next_sequence == newest => Ok(last),
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
        Self::of(dir, first, file)
    }

    /// A segment in a file, which may be open for reading alone.
    fn of(dir: &Path, first: u64, file: File) -> Result<Self, AuditError> {
        let path = segment::path(dir, first);
        let failed = |error| AuditError::io("read", &path, &error);
        let file_bytes = file.metadata().map_err(failed)?.len();
        // Files that grew by what a power failure left have holes as well.
        let written = segment::written(&file, file_bytes).map_err(failed)?;
        let bytes = segment::before_holes(&file, written).map_err(failed)?;
        Ok(Self {
            first,
            file,
            bytes,
            file_bytes,
            way: Way::Untried,
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
            way: Way::Untried,
        })
    }

    /// Whether the file is as long as it was, and has a name yet. Its times are not asked for: since Linux
    /// 6.13 whoever asks makes the next write give it a new one, which takes a quarter of a sync.
    fn is_unchanged(&self) -> bool {
        let asked = StatxFlags::SIZE | StatxFlags::NLINK;
        let found = statx(&self.file, c"", AtFlags::EMPTY_PATH, asked);
        found.is_ok_and(|found| found.stx_size == self.file_bytes && found.stx_nlink > 0)
    }

    /// Makes room for so many bytes and those to come, if there is none: a file that does not grow is
    /// synced without its metadata. A zero byte is always left at the end, which says that room was
    /// made; the end is that of a block. When it cannot be, the file grows with its records.
    fn make_room(&mut self, bytes: u64) {
        if self.bytes + bytes < self.file_bytes {
            return;
        }
        let mut end = self.file_bytes.max(self.bytes);
        let mut made = Ok(());
        while made.is_ok() && end <= self.bytes + bytes {
            let zeros = ZEROS.len() - (end % BLOCK_BYTES as u64) as usize;
            made = self.file.write_all_at(&ZEROS[..zeros], end);
            end += zeros as u64;
        }
        match made {
            Ok(()) => self.file_bytes = end,
            Err(_) => {
                self.cut(self.bytes);
                self.file_bytes = self.bytes;
            }
        }
    }

    /// Looks whether whole blocks can be written past the page cache.
    fn go_direct(&mut self, dir: &Path) {
        if matches!(self.way, Way::Untried) {
            let path = segment::path(dir, self.first);
            let direct = Direct::open(&path, &self.file, self.bytes);
            self.way = direct.map_or(Way::Cached, Way::Direct);
        }
    }

    /// What lines that are written as blocks are to begin behind.
    fn head(&self) -> &[u8] {
        match &self.way {
            Way::Direct(direct) => direct.head(),
            Way::Untried | Way::Cached => &[],
        }
    }

    /// Writes lines behind the last record: whole blocks where there is room for them.
    fn write(&mut self, lines: &mut Lines) -> io::Result<()> {
        let end = self.bytes + lines.lines().len() as u64;
        if end.next_multiple_of(BLOCK_BYTES as u64) <= self.file_bytes
            && let Way::Direct(direct) = &self.way
            && let Some(written) = direct.write(lines, self.bytes)
        {
            match written {
                // Blocks are larger here, or the file system cannot do what it said. All is written again.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.way = Way::Cached,
                written => return written,
            }
        }
        self.file.write_all_at(lines.lines(), self.bytes)
    }

    /// After lines were written.
    fn advance(&mut self, lines: &[u8]) {
        self.bytes += lines.len() as u64;
        self.file_bytes = self.file_bytes.max(self.bytes);
        if let Way::Direct(direct) = &mut self.way {
            direct.advance(lines, self.bytes);
        }
    }

    fn tail(&self, dir: &Path) -> Result<Tail, AuditError> {
        let failed = |error| segment::failed(&segment::path(dir, self.first), self.first, &error);
        let mut lines = Backward::new(&self.file, self.bytes).map_err(failed)?;
        let whole_bytes = lines.end();
        let last = match lines.next().map_err(failed)? {
            Some(line) => Some(self.last(line)?),
            None => None,
        };
        Ok(Tail { last, whole_bytes })
    }

    fn last(&self, line: &[u8]) -> Result<Last, AuditError> {
        let corrupt = |reason| AuditError::corrupt(self.first, reason);
        let link = Link::parse(line).map_err(corrupt)?;
        let (sequence, last_change) = (link.sequence(), link.last_change());
        if sequence < self.first || sequence == u64::MAX || last_change > sequence {
            return Err(corrupt(format!("it ends with record {sequence}")));
        }
        Ok(Last {
            next_sequence: sequence + 1,
            hash: sha256(&[line]),
            last_change,
        })
    }

    /// Writes again what a failed sync may have touched: the last batch, and the page it began in.
    fn rewrite(&self) -> Result<(), AuditError> {
        let path = || PathBuf::from(segment::name(self.first));
        let mut begin = self.bytes.saturating_sub(REWRITTEN_BYTES);
        let mut chunk = vec![0; ZEROS.len()];
        while begin < self.bytes {
            let bytes = chunk.len().min((self.bytes - begin) as usize);
            let chunk = &mut chunk[..bytes];
            let read = self.file.read_exact_at(chunk, begin);
            let written = read.and_then(|()| self.file.write_all_at(chunk, begin));
            written.map_err(|error| AuditError::io("rewrite", &path(), &error))?;
            begin += bytes as u64;
        }
        Ok(())
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
/// How long the lock between processes is waited for by those who have the time.
pub(super) const LOCK_WAIT_MAX: Duration = Duration::from_secs(10);
/// A batch, a record of any length, and more than any page has.
const REWRITTEN_BYTES: u64 = (BATCH_BYTES_MAX + RECORD_BYTES_MAX + (1 << 20)) as u64;
const PROBE_BYTES: usize = 4_096;
