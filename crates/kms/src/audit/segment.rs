//! Segments as files: their names, and their lines read forwards and backwards.
//!
//! A segment that a server is writing may end with zero bytes: room that is made ahead, so that
//! appending changes nothing but data. No record has one, and whoever opens the segment next cuts them
//! off. When the power fails during a sync, any part of what was written since the last one may be
//! missing, and is zero then: the log ends before it.
//!
//! A segment that is neither the newest nor the one before may be packed: `N.jsonl.gz`, one gzip member
//! with the header that flate2 writes and nothing behind it. When both files are there, a crash came
//! between the one's getting its name and the other's losing it: the one that is not packed counts.

use super::{AuditError, RECORD_BYTES_MAX};
use flate2::bufread::GzDecoder;
use memchr::{memchr, memrchr};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The name of the segment whose first record has this sequence number.
pub(super) fn name(first: u64) -> String {
    format!("{first:020}.jsonl")
}

pub(super) fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(name(first))
}

pub(super) fn packed_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(name(first) + PACKED_SUFFIX)
}

/// A segment's file, and whether it is packed.
fn open(dir: &Path, first: u64) -> io::Result<(File, bool)> {
    let missing = match File::open(path(dir, first)) {
        Ok(file) => return Ok((file, false)),
        Err(error) => error,
    };
    if missing.kind() != io::ErrorKind::NotFound {
        return Err(missing);
    }
    match File::open(packed_path(dir, first)) {
        Ok(file) => Ok((file, true)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing),
        Err(error) => Err(error),
    }
}

/// The content of a file that holds a packed segment.
pub(super) fn unpacking(file: File) -> io::Result<impl Read> {
    Unpacking::new(file)
}

#[derive(Debug)]
struct Unpacking(GzDecoder<BufReader<File>>);

impl Unpacking {
    fn new(file: File) -> io::Result<Self> {
        let mut file = BufReader::with_capacity(PACKED_CHUNK_BYTES, file);
        match file.fill_buf()?.starts_with(&GZIP_HEAD) {
            true => Ok(Self(GzDecoder::new(file))),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, NOT_PACKED)),
        }
    }
}

impl Read for Unpacking {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let broken = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        match self.0.read(bytes) {
            Ok(0) if bytes.is_empty() => Ok(0),
            Ok(0) => match self.0.get_mut().fill_buf()?.is_empty() {
                true => Ok(0),
                false => Err(broken(
                    "something follows the compressed segment".to_owned(),
                )),
            },
            Ok(read) => Ok(read),
            // What the system says has a number; the rest is said of the bytes.
            Err(error) if error.raw_os_error().is_some() => Err(error),
            Err(error) => Err(broken(format!(
                "the compressed segment is damaged: {error}"
            ))),
        }
    }
}

/// What lies in the folder of a log.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The segments, by the sequence number in their names, ascending.
    pub(super) segments: Vec<u64>,
    /// Files that end like segments and are not named like any.
    pub(super) strays: Vec<String>,
}

pub(super) fn list(dir: &Path) -> Result<Listing, AuditError> {
    let failed = |error: io::Error| AuditError::io("list", dir, &error);
    let mut listing = Listing::default();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy();
        let plain = name.strip_suffix(PACKED_SUFFIX).unwrap_or(&name);
        match parse_name(plain) {
            Some(first) => listing.segments.push(first),
            None if plain.ends_with(SUFFIX) => listing.strays.push(name.into_owned()),
            None => {}
        }
    }
    listing.segments.sort_unstable();
    listing.segments.dedup();
    listing.strays.sort_unstable();
    Ok(listing)
}

impl Listing {
    /// Bytes of all segments together.
    pub(super) fn bytes(&self, dir: &Path) -> u64 {
        let bytes =
            |first: &u64| std::fs::metadata(path(dir, *first)).map_or(0, |found| found.len());
        self.segments.iter().map(bytes).sum()
    }
}

const SUFFIX: &str = ".jsonl";
const PACKED_SUFFIX: &str = ".gz";
/// What a gzip member begins with as flate2 writes it: no name, no time, no system; the tenth byte but
/// one says how hard it was compressed.
const GZIP_HEAD: [u8; 8] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0];

fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|&first| first > 0)
}

/// The lines of a segment from the first to the last.
#[derive(Debug)]
pub(super) struct Forward {
    source: Source,
    buffer: Vec<u8>,
    /// What was read and not yet handed out, in the buffer.
    unread: Range<usize>,
    /// How far of it there is no newline.
    searched: usize,
    /// Where `unread` ends in the file.
    place: u64,
}

#[derive(Debug)]
enum Source {
    Plain(File),
    Packed(Box<Unpacking>),
}

#[derive(Debug)]
pub(super) enum Next<'l> {
    /// A whole line, without its newline.
    Line(&'l [u8]),
    /// A line beyond [`RECORD_BYTES_MAX`].
    TooLong,
    /// So many bytes follow the last newline.
    Torn(u64),
    /// The segment ends with its last line.
    End,
}

impl Forward {
    pub(super) fn open(dir: &Path, first: u64) -> io::Result<Self> {
        let (file, is_packed) = open(dir, first)?;
        let (source, bytes) = match is_packed {
            // A byte more, so that the end is seen.
            false => {
                let bytes = (file.metadata()?.len() + 1).min(BUFFER_BYTES as u64);
                (Source::Plain(file), bytes as usize)
            }
            true => {
                let unpacking = Box::new(Unpacking::new(file)?);
                (Source::Packed(unpacking), BUFFER_BYTES)
            }
        };
        Ok(Self {
            source,
            buffer: vec![0; bytes],
            unread: 0..0,
            searched: 0,
            place: 0,
        })
    }

    pub(super) fn next(&mut self) -> io::Result<Next<'_>> {
        loop {
            let unread = &self.buffer[self.unread.clone()];
            let newline = memchr(b'\n', &unread[self.searched..]);
            match newline.map(|at| self.searched + at) {
                Some(length) if length > RECORD_BYTES_MAX => return Ok(Next::TooLong),
                Some(length) => return self.line(length),
                None if unread.len() > RECORD_BYTES_MAX => return self.endless(),
                None => {}
            }
            self.searched = unread.len();
            if self.read()? == 0 {
                return Ok(match written_of(&self.buffer[self.unread.clone()]) {
                    0 => Next::End,
                    written => Next::Torn(written as u64),
                });
            }
        }
    }

    /// Reads on. What was handed out makes room.
    fn read(&mut self) -> io::Result<usize> {
        if self.unread.end == self.buffer.len() {
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
            if self.unread.end == self.buffer.len() {
                // It has grown since it was opened.
                self.buffer.resize(BUFFER_BYTES, 0);
            }
        }
        let read = loop {
            let room = &mut self.buffer[self.unread.end..];
            let read = match &mut self.source {
                Source::Plain(file) => file.read(room),
                Source::Packed(content) => content.read(room),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.unread.end += read;
        self.place += read as u64;
        Ok(read)
    }

    /// A line with a newline. With a zero byte in it, it is the beginning of what a power failure left
    /// of a last batch, or else no record.
    fn line(&mut self, length: usize) -> io::Result<Next<'_>> {
        let line = self.unread.start..self.unread.start + length;
        let begin = self.place - self.unread.len() as u64;
        self.unread.start = line.end + 1;
        self.searched = 0;
        if memchr(0, &self.buffer[line.clone()]).is_some()
            && let Source::Plain(file) = &self.source
        {
            let left = written(file, file.metadata()?.len())?.saturating_sub(begin);
            if left <= HOLE_BYTES_MAX as u64 {
                return Ok(Next::Torn(left));
            }
        }
        Ok(Next::Line(&self.buffer[line]))
    }

    /// More bytes without a newline than any line has: a line that is too long, or what follows the
    /// last newline.
    fn endless(&mut self) -> io::Result<Next<'_>> {
        let (mut skipped, mut written) = (0, 0);
        loop {
            let chunk = &self.buffer[self.unread.clone()];
            if memchr(b'\n', chunk).is_some() {
                return Ok(Next::TooLong);
            }
            match written_of(chunk) {
                0 => {}
                end => written = skipped + end as u64,
            }
            skipped += chunk.len() as u64;
            self.unread = 0..0;
            if self.read()? == 0 {
                return Ok(match written {
                    0 => Next::End,
                    written => Next::Torn(written),
                });
            }
        }
    }
}

/// Where the zero bytes at the end begin.
fn written_of(bytes: &[u8]) -> usize {
    let last = bytes.iter().rposition(|byte| *byte != 0);
    last.map_or(0, |last| last + 1)
}

/// Where the zero bytes at the end of a file of this length begin.
pub(super) fn written(file: &File, mut bytes: u64) -> io::Result<u64> {
    let mut chunk = vec![0; ZEROS_BYTES];
    while bytes > 0 {
        let begin = bytes.saturating_sub(ZEROS_BYTES as u64);
        let chunk = &mut chunk[..(bytes - begin) as usize];
        file.read_exact_at(chunk, begin)?;
        match written_of(chunk) {
            0 => bytes = begin,
            end => return Ok(begin + end as u64),
        }
    }
    Ok(0)
}

/// Where the records end in a file with room behind `end`: before the first zero byte of what may have
/// been under way when the power failed.
pub(super) fn before_holes(file: &File, end: u64) -> io::Result<u64> {
    let begin = end.saturating_sub(HOLE_BYTES_MAX as u64);
    let mut bytes = vec![0; (end - begin) as usize];
    file.read_exact_at(&mut bytes, begin)?;
    let hole = bytes.iter().position(|byte| *byte == 0);
    Ok(hole.map_or(end, |hole| begin + hole as u64))
}

/// The names of all segments, and how far each is written. Under the log's lock, and while nobody packs.
pub(crate) fn written_segments(dir: &Path) -> Result<Vec<(String, u64)>, AuditError> {
    let lengths = list(dir)?.segments.into_iter().map(|first| {
        let path = path(dir, first);
        let read = || {
            let (file, is_packed) = open(dir, first)?;
            let bytes = file.metadata()?.len();
            Ok(match is_packed {
                true => (name(first) + PACKED_SUFFIX, bytes),
                false => (name(first), written(&file, bytes)?),
            })
        };
        read().map_err(|error: io::Error| AuditError::io("read", &path, &error))
    });
    lengths.collect()
}

/// A segment that is read backwards by whoever does not hold the log's lock.
#[derive(Debug)]
pub(super) struct Content {
    path: PathBuf,
    first: u64,
    bytes: Bytes,
    /// Up to the end of what was written.
    end: u64,
}

#[derive(Debug)]
enum Bytes {
    Plain(File),
    Unpacked(Vec<u8>),
}

impl Content {
    pub(super) fn open(dir: &Path, first: u64) -> Result<Self, AuditError> {
        let path = path(dir, first);
        let opened = || {
            let (file, is_packed) = open(dir, first)?;
            if is_packed {
                let mut unpacked = Vec::new();
                let content = Unpacking::new(file)?;
                content
                    .take(UNPACKED_BYTES_MAX)
                    .read_to_end(&mut unpacked)?;
                let end = unpacked.len() as u64;
                return Ok((Bytes::Unpacked(unpacked), end));
            }
            let file_bytes = file.metadata()?.len();
            let end = match written(&file, file_bytes)? {
                end if end < file_bytes => before_holes(&file, end)?,
                end => end,
            };
            Ok((Bytes::Plain(file), end))
        };
        let (bytes, end) = opened().map_err(|error| failed(&path, first, &error))?;
        Ok(Self {
            path,
            first,
            bytes,
            end,
        })
    }

    pub(super) fn lines(&self) -> Result<Backward<'_>, AuditError> {
        let lines = match &self.bytes {
            Bytes::Plain(file) => Backward::new(file, self.end),
            Bytes::Unpacked(bytes) => Backward::begin(Origin::Bytes(bytes), self.end),
        };
        lines.map_err(|error| self.failed(&error))
    }

    pub(super) fn failed(&self, error: &io::Error) -> AuditError {
        failed(&self.path, self.first, error)
    }
}

/// What a failure to read a segment is.
pub(super) fn failed(path: &Path, first: u64, error: &io::Error) -> AuditError {
    match error.kind() {
        io::ErrorKind::InvalidData => AuditError::corrupt(first, error.to_string()),
        _ => AuditError::io("read", path, error),
    }
}

/// The lines of a segment from the last to the first.
#[derive(Debug)]
pub(super) struct Backward<'f> {
    origin: Origin<'f>,
    /// Where `bytes` begins in it.
    start: u64,
    bytes: Vec<u8>,
    /// How far `bytes` was not yet handed out: whole lines, and the end of the one before.
    left: usize,
}

#[derive(Debug, Clone, Copy)]
enum Origin<'f> {
    File(&'f File),
    Bytes(&'f [u8]),
}

impl<'f> Backward<'f> {
    /// Begins at the last newline before `end`. What follows it is left out.
    pub(super) fn new(file: &'f File, end: u64) -> io::Result<Self> {
        Self::begin(Origin::File(file), end)
    }

    fn begin(origin: Origin<'f>, end: u64) -> io::Result<Self> {
        let mut lines = Self {
            origin,
            start: end,
            bytes: Vec::new(),
            left: 0,
        };
        while memchr(b'\n', &lines.bytes).is_none() && lines.grow()? {}
        let whole = memrchr(b'\n', &lines.bytes);
        lines.left = whole.map_or(0, |newline| newline + 1);
        Ok(lines)
    }

    /// Where the line that is handed out next ends, its newline included.
    pub(super) fn end(&self) -> u64 {
        self.start + self.left as u64
    }

    /// A whole line without its newline; nothing at the beginning of the segment.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        if self.end() == 0 {
            return Ok(None);
        }
        let mut begin = self.line_begin();
        while begin.is_none() && self.left <= RECORD_BYTES_MAX + 1 && self.grow()? {
            begin = self.line_begin();
        }
        let begin = match begin {
            Some(begin) => begin,
            None if self.start == 0 => 0,
            None => return Err(io::Error::new(io::ErrorKind::InvalidData, TOO_LONG)),
        };
        let line = &self.bytes[begin..self.left - 1];
        self.left = begin;
        match line.len() {
            0..=RECORD_BYTES_MAX => Ok(Some(line)),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, TOO_LONG)),
        }
    }

    fn line_begin(&self) -> Option<usize> {
        let newline = memrchr(b'\n', &self.bytes[..self.left.checked_sub(1)?])?;
        Some(newline + 1)
    }

    /// Puts what lies before in front: as much as there is already, and a chunk at least.
    fn grow(&mut self) -> io::Result<bool> {
        let wanted = self.left.max(CHUNK_BYTES) as u64;
        let start = self.start.saturating_sub(wanted);
        // No more than a segment, which fits into memory.
        let mut bytes = vec![0; (self.start - start) as usize];
        match self.origin {
            Origin::File(file) => file.read_exact_at(&mut bytes, start)?,
            Origin::Bytes(all) => bytes.copy_from_slice(&all[start as usize..self.start as usize]),
        }
        bytes.extend_from_slice(&self.bytes[..self.left]);
        self.left = bytes.len();
        self.bytes = bytes;
        let grown = start < self.start;
        self.start = start;
        Ok(grown)
    }
}

const CHUNK_BYTES: usize = 16 << 10;
/// What is read at once from the first line to the last: more than a line has.
const BUFFER_BYTES: usize = 2 * RECORD_BYTES_MAX;
const ZEROS_BYTES: usize = 64 << 10;
const PACKED_CHUNK_BYTES: usize = 64 << 10;
/// The most bytes of a segment that was packed: records that are written together may pass the limit.
const UNPACKED_BYTES_MAX: u64 = 1 << 30;
/// The most bytes that are written before a sync, or one record of any length.
pub(super) const BATCH_BYTES_MAX: usize = 1 << 20;
/// The most bytes of which some can be missing.
const HOLE_BYTES_MAX: usize = BATCH_BYTES_MAX + RECORD_BYTES_MAX;

const NOT_PACKED: &str = "the compressed segment does not begin as one";
pub(super) const TOO_LONG: &str = "a line is longer than any record";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(bytes: &[u8]) -> (tempfile::NamedTempFile, File) {
        let named = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(named.path(), bytes).unwrap();
        let file = File::open(named.path()).unwrap();
        (named, file)
    }

    fn forward(bytes: &[u8]) -> (Vec<Vec<u8>>, u64) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(path(dir.path(), 1), bytes).unwrap();
        let mut forward = Forward::open(dir.path(), 1).unwrap();
        let mut lines = Vec::new();
        loop {
            match forward.next().unwrap() {
                Next::Line(line) => lines.push(line.to_vec()),
                Next::Torn(bytes) => return (lines, bytes),
                Next::End => return (lines, 0),
                Next::TooLong => panic!("too long"),
            }
        }
    }

    fn backward(bytes: &[u8]) -> (Vec<Vec<u8>>, u64) {
        let (_named, file) = file(bytes);
        let mut backward = Backward::new(&file, bytes.len() as u64).unwrap();
        let torn = bytes.len() as u64 - backward.end();
        let mut lines = Vec::new();
        while let Some(line) = backward.next().unwrap() {
            lines.push(line.to_vec());
        }
        lines.reverse();
        (lines, torn)
    }

    #[test]
    fn room_that_was_made_ahead_is_no_tail() {
        let room = "\0".repeat(3 * RECORD_BYTES_MAX);
        for (case, records, tail) in [
            ("", 0, 0),
            ("a\nb\n", 2, 0),
            ("a\nb\ntorn", 2, 4),
            ("torn", 0, 4),
        ] {
            for room in [&room[..0], &room[..1], &room[..CHUNK_BYTES], &room] {
                let bytes = format!("{case}{room}");
                let (lines, torn) = forward(bytes.as_bytes());
                assert_eq!((lines.len(), torn), (records, tail), "{case:?}");
                let (_named, file) = file(bytes.as_bytes());
                let end = written(&file, bytes.len() as u64).unwrap();
                assert_eq!(end, case.len() as u64);
            }
        }
    }

    #[test]
    fn names_are_exact() {
        assert_eq!(name(1), "00000000000000000001.jsonl");
        assert_eq!(parse_name(&name(u64::MAX)), Some(u64::MAX));
        for bad in [
            "lock",
            "1.jsonl",
            "00000000000000000000.jsonl",
            "99999999999999999999.jsonl",
            "+0000000000000000001.jsonl",
            "000000000000000000001.jsonl",
            "00000000000000000001.json",
            "00000000000000000001.jsonl.gz",
        ] {
            assert_eq!(parse_name(bad), None, "{bad}");
        }
    }

    #[test]
    fn both_directions_read_the_same() {
        let long = "y".repeat(3 * CHUNK_BYTES + 17);
        let exact = "z".repeat(CHUNK_BYTES - 1);
        let cases = [
            String::new(),
            "\n".into(),
            "torn".into(),
            "a\n".into(),
            "a\nb\n\nc\ntorn".into(),
            format!("{long}\n{exact}\n{long}\n{long}"),
            format!("{exact}\n{exact}\n"),
        ];
        for case in cases {
            assert_eq!(forward(case.as_bytes()), backward(case.as_bytes()));
            let lines: Vec<&str> = case.split('\n').collect();
            let (last, whole) = lines.split_last().unwrap();
            let (read, torn) = forward(case.as_bytes());
            assert_eq!(torn, last.len() as u64);
            assert!(read.iter().eq(whole.iter().map(|line| line.as_bytes())));
        }
    }

    #[test]
    fn the_longest_line_and_one_byte_more() {
        let longest = [vec![b'x'; RECORD_BYTES_MAX], b"\n".to_vec()].concat();
        let twice = longest.repeat(2);
        assert_eq!(forward(&twice).0.len(), 2);
        assert_eq!(backward(&twice).0.len(), 2);
        let longer = [b"x".to_vec(), longest.clone()].concat();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(path(dir.path(), 1), &longer).unwrap();
        let mut reader = Forward::open(dir.path(), 1).unwrap();
        let (_named, file) = file(&longer);
        assert!(matches!(reader.next().unwrap(), Next::TooLong));
        let end = longer.len() as u64;
        assert!(Backward::new(&file, end).unwrap().next().is_err());
        // Without a newline it is what a crash left behind, however long.
        let torn = vec![b'x'; 3 * RECORD_BYTES_MAX];
        assert_eq!(forward(&torn), (vec![], torn.len() as u64));
        assert_eq!(backward(&torn), (vec![], torn.len() as u64));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]
        #[test]
        fn any_bytes(parts in proptest::collection::vec((1..=u8::MAX, 0..40_000_usize), 0..6)) {
            let bytes: Vec<u8> = parts
                .into_iter()
                .flat_map(|(byte, count)| std::iter::repeat_n(byte, count).chain([b'\n', byte]))
                .collect();
            prop_assert_eq!(forward(&bytes), backward(&bytes));
        }
    }
}
