//! Memory for frames on their way: wiped when dropped, and grown with what was really read.

use std::io::{self, IoSlice, Write};
use std::ops::Range;
use waxseal_core::secret::SecretBytes;

/// Plaintext bytes that go through in one piece.
pub(crate) const CHUNK_BYTES: usize = 1024 * 1024;
/// The most frames in a chunk: what one vectored read or write takes (`IOV_MAX` on Linux).
const SLOTS_MAX: usize = 1024;
/// What a buffer begins with: enough for a secret, little to wipe.
const FIRST_BYTES: usize = 8 * 1024;

/// How many frames of some length go through at once: as many as fit into [`CHUNK_BYTES`], and
/// always one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunk {
    /// Plaintext bytes in a frame.
    pub(crate) frame_bytes: usize,
    /// The frame with what is around the ciphertext.
    pub(crate) slot_bytes: usize,
    pub(crate) slots: usize,
}

impl Chunk {
    pub(crate) fn of(frame_bytes: usize, overhead_bytes: usize) -> Self {
        Self::within(CHUNK_BYTES, frame_bytes, overhead_bytes)
    }

    /// As many as fit into `bytes`.
    pub(crate) fn within(bytes: usize, frame_bytes: usize, overhead_bytes: usize) -> Self {
        Self {
            frame_bytes,
            slot_bytes: frame_bytes.saturating_add(overhead_bytes),
            slots: (bytes / frame_bytes).clamp(1, SLOTS_MAX),
        }
    }

    /// Plaintext bytes in a full chunk.
    pub(crate) fn text_bytes(self) -> usize {
        self.slots * self.frame_bytes
    }

    /// Bytes of all slots of a full chunk.
    pub(crate) fn bytes(self) -> usize {
        self.slots * self.slot_bytes
    }
}

/// Bytes that are wiped on drop and on growth.
#[derive(Debug)]
pub(crate) struct Buffer(SecretBytes);

impl Buffer {
    pub(crate) fn new() -> Self {
        Self(SecretBytes::zeroed(FIRST_BYTES))
    }

    /// No bytes, for the moment in which a buffer is lent.
    pub(crate) fn empty() -> Self {
        Self(SecretBytes::zeroed(0))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.expose()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.expose_mut()
    }

    /// Has at least `len` bytes from now on.
    pub(crate) fn reserve(&mut self, len: usize) {
        if len > self.len() {
            let mut grown = SecretBytes::zeroed(len);
            grown.expose_mut()[..self.len()].copy_from_slice(self.bytes());
            self.0 = grown;
        }
    }

    /// Becomes four times as long, but not longer than `max`; a little that would be left then is
    /// not worth another copy.
    pub(crate) fn grow(&mut self, max: usize) {
        let longer = self.len().saturating_mul(4);
        let nearly = max.saturating_sub(longer) <= FIRST_BYTES;
        self.reserve(if nearly { max } else { longer });
    }

    /// Writes the parts one after the other: in one call, when the writer takes several slices.
    pub(crate) fn write_parts(
        &self,
        parts: &[Range<usize>],
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = parts
            .iter()
            .map(|part| IoSlice::new(&self.bytes()[part.clone()]))
            .collect();
        let mut left: usize = parts.iter().map(Range::len).sum();
        let mut slices = slices.as_mut_slice();
        while left > 0 {
            match out.write_vectored(slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) if written > left => return Err(overstated()),
                Ok(written) => {
                    left -= written;
                    IoSlice::advance_slices(&mut slices, written);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Overwrites plaintext in memory that is not ours to drop.
pub(crate) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    // Seen by somebody, as far as the compiler knows: not left out as a store to dead memory.
    std::hint::black_box(bytes);
}

/// A reader or writer that breaks the contract of its trait.
pub(crate) fn overstated() -> io::Error {
    io::Error::other("more bytes were reported than were asked for")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_have_about_one_mebibyte() {
        for (frame_bytes, slots) in [
            (1, 1024),
            (1024, 1024),
            (4096, 256),
            (65_536, 16),
            (1 << 20, 1),
            (1 << 30, 1),
        ] {
            assert_eq!(Chunk::of(frame_bytes, 32).slots, slots);
        }
    }

    #[test]
    fn parts_go_through_a_writer_that_takes_little() {
        struct Little(Vec<u8>);
        impl Write for Little {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let taken = bytes.len().min(3);
                self.0.extend_from_slice(&bytes[..taken]);
                Ok(taken)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut buffer = Buffer::new();
        buffer.bytes_mut()[..10].copy_from_slice(b"0123456789");
        let mut out = Little(Vec::new());
        buffer
            .write_parts(&[0..0, 1..5, 5..5, 6..10], &mut out)
            .unwrap();
        assert_eq!(out.0, b"12346789");
    }

    #[test]
    fn growth_keeps_what_is_there() {
        let mut buffer = Buffer::new();
        buffer.bytes_mut().fill(7);
        buffer.grow(FIRST_BYTES + 1);
        assert_eq!(buffer.len(), FIRST_BYTES + 1);
        assert!(buffer.bytes()[..FIRST_BYTES].iter().all(|byte| *byte == 7));
        buffer.reserve(1);
        assert_eq!(buffer.len(), FIRST_BYTES + 1);
    }
}
