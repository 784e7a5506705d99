//! Lines on their way to a file, in whole blocks where these can go past the page cache (`O_DIRECT`,
//! open(2)): no copy, no page that is looked for and written back, and a sync that has nothing to do
//! but to empty the cache of the disk.

use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// What offsets, lengths and memory are multiples of: no disk asks for more.
pub(super) const BLOCK_BYTES: usize = 4_096;

/// Lines behind the head: what the block that they begin in holds already.
#[derive(Debug, Default)]
pub(super) struct Lines {
    memory: Vec<u8>,
    /// Where in `memory` the block begins, at an address that is a multiple of [`BLOCK_BYTES`].
    begin: usize,
    head_bytes: usize,
}

impl Lines {
    /// Makes room for lines of at most so many bytes, behind `head`.
    pub(super) fn start(&mut self, head: &[u8], bytes_max: usize) {
        self.memory.clear();
        // Less than a block before, and less than one behind.
        self.memory
            .reserve(head.len() + bytes_max + 2 * BLOCK_BYTES);
        self.begin = self.memory.as_ptr().align_offset(BLOCK_BYTES) % BLOCK_BYTES;
        self.memory.resize(self.begin, 0);
        self.memory.extend_from_slice(head);
        self.head_bytes = head.len();
    }

    /// Where lines are appended.
    pub(super) fn memory(&mut self) -> &mut Vec<u8> {
        &mut self.memory
    }

    /// The lines, without the head.
    pub(super) fn lines(&self) -> &[u8] {
        &self.memory[self.begin + self.head_bytes..]
    }

    fn write(&mut self, file: &File, end: u64) -> io::Result<()> {
        let lines_end = self.memory.len();
        let blocks = (lines_end - self.begin).next_multiple_of(BLOCK_BYTES);
        self.memory.resize(self.begin + blocks, 0);
        let written = file.write_all_at(&self.memory[self.begin..], end - self.head_bytes as u64);
        self.memory.truncate(lines_end);
        written
    }
}

/// A file with room behind its end, for whole blocks.
#[derive(Debug)]
pub(super) struct Direct {
    file: File,
    /// What the block holds that the end is in, up to the end.
    head: Vec<u8>,
}

impl Direct {
    /// The file at `path`, which is open as `file` and written up to `end`. Nothing where the file system
    /// knows no such thing.
    pub(super) fn open(path: &Path, file: &File, end: u64) -> Option<Self> {
        let flags = OFlags::DIRECT.bits().cast_signed();
        let mut options = OpenOptions::new();
        let direct = options.write(true).custom_flags(flags).open(path).ok()?;
        let (this, that) = (file.metadata().ok()?, direct.metadata().ok()?);
        let head_bytes = end % BLOCK_BYTES as u64;
        let mut head = vec![0; head_bytes as usize];
        file.read_exact_at(&mut head, end - head_bytes).ok()?;
        let is_same = (this.dev(), this.ino()) == (that.dev(), that.ino());
        is_same.then_some(Self { file: direct, head })
    }

    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Writes head and lines, which go to `end`, and zero bytes up to the end of the last block. Nothing
    /// when the lines begin behind another head.
    pub(super) fn write(&self, lines: &mut Lines, end: u64) -> Option<io::Result<()>> {
        (lines.head_bytes == self.head.len()).then(|| lines.write(&self.file, end))
    }

    /// After lines were written, so that the file ends at `end`.
    pub(super) fn advance(&mut self, lines: &[u8], end: u64) {
        let head_bytes = (end % BLOCK_BYTES as u64) as usize;
        match lines.len().checked_sub(head_bytes) {
            Some(before) => {
                self.head.clear();
                self.head.extend_from_slice(&lines[before..]);
            }
            // All in one block.
            None => self.head.extend_from_slice(lines),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of many lengths, some of them behind another head than was expected, come out as if they had
    /// been written one after the other.
    #[test]
    fn blocks_hold_what_was_written() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = dir.path().join("file");
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create_new(true);
        let file = options.open(&path).unwrap();
        file.write_all_at(b"before", 0).unwrap();
        file.set_len(1 << 20).unwrap();
        let mut direct = Direct::open(&path, &file, 6).expect("the file system has O_DIRECT");
        let mut expected = b"before".to_vec();
        let mut lines = Lines::default();
        let mut directly = 0;
        for number in 0..200_usize {
            let line = vec![b'a' + (number % 26) as u8; number * 37 % 9_000];
            let end = expected.len() as u64;
            let head = if number % 10 == 9 { &[] } else { direct.head() };
            lines.start(head, line.len());
            lines.memory().extend_from_slice(&line);
            match direct.write(&mut lines, end) {
                Some(written) => {
                    written.unwrap();
                    directly += 1;
                }
                None => file.write_all_at(lines.lines(), end).unwrap(),
            }
            expected.extend_from_slice(&line);
            direct.advance(lines.lines(), expected.len() as u64);
            assert_eq!(
                direct.head(),
                &expected[expected.len() / BLOCK_BYTES * BLOCK_BYTES..]
            );
        }
        assert!(directly > 150, "{directly} of 200");
        let mut found = vec![0; expected.len()];
        file.read_exact_at(&mut found, 0).unwrap();
        assert!(found == expected);
    }
}
