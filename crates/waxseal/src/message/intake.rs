//! Plaintext on its way into the places it is sealed in.

use super::buffer::{Buffer, Chunk, overstated};
use super::frame;
use std::io::{self, IoSliceMut, Read};

/// Plaintext on its way into slots.
///
/// Whether a frame is the final one is known only once there is a byte after it. So each call
/// that fills the last slot also offers room for one byte more, which becomes the first byte of
/// the next chunk.
#[derive(Debug)]
pub(super) struct Intake {
    chunk: Chunk,
    buffer: Buffer,
    /// Plaintext bytes in the slots.
    filled: usize,
    /// The byte after a full chunk.
    carry: Option<u8>,
}

impl Intake {
    pub(super) fn new(chunk: Chunk) -> Self {
        Self {
            chunk,
            buffer: Buffer::new(),
            filled: 0,
            carry: None,
        }
    }

    /// With all its memory from the beginning: for one of many full chunks.
    pub(super) fn full_size(chunk: Chunk) -> Self {
        let mut intake = Self::new(chunk);
        let bytes_max = intake.bytes_max();
        intake.buffer.reserve(bytes_max);
        intake
    }

    /// Reads until the slots are full and there is more (true), or until the end (false).
    pub(super) fn fill(&mut self, reader: &mut dyn Read) -> io::Result<bool> {
        while self.carry.is_none() {
            self.make_room();
            if self.read(reader)? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// One vectored read into the rest of the slots.
    fn read(&mut self, reader: &mut dyn Read) -> io::Result<usize> {
        let mut carry = [0];
        let Chunk {
            frame_bytes,
            slot_bytes,
            slots,
        } = self.chunk;
        let is_whole = self.buffer.len() >= self.bytes_max();
        let first = self.filled / frame_bytes;
        let mut rooms = Vec::with_capacity(slots - first + 1);
        let mut begin = frame::HEAD_BYTES + self.filled % frame_bytes;
        for slot in self
            .buffer
            .bytes_mut()
            .chunks_mut(slot_bytes)
            .take(slots)
            .skip(first)
        {
            let end = slot.len().min(frame::HEAD_BYTES + frame_bytes);
            if begin < end {
                rooms.push(IoSliceMut::new(&mut slot[begin..end]));
            }
            begin = frame::HEAD_BYTES;
        }
        if is_whole {
            rooms.push(IoSliceMut::new(&mut carry));
        }
        let offered: usize = rooms.iter().map(|room| room.len()).sum();
        let read = loop {
            match reader.read_vectored(&mut rooms) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if read > offered {
            return Err(overstated());
        }
        self.filled += read;
        if self.filled > self.chunk.text_bytes() {
            self.filled = self.chunk.text_bytes();
            self.carry = Some(carry[0]);
        }
        Ok(read)
    }

    /// Grows the buffer, if the next byte has no place in it.
    fn make_room(&mut self) {
        let Chunk {
            frame_bytes,
            slot_bytes,
            ..
        } = self.chunk;
        let place =
            self.filled / frame_bytes * slot_bytes + frame::HEAD_BYTES + self.filled % frame_bytes;
        if place >= self.buffer.len() {
            self.buffer.grow(self.bytes_max());
        }
    }

    /// All slots, and an empty final frame after them.
    fn bytes_max(&self) -> usize {
        self.chunk.bytes() + frame::FINAL_OVERHEAD_BYTES
    }

    /// A full chunk.
    pub(super) fn full(&mut self) -> &mut [u8] {
        &mut self.buffer.bytes_mut()[..self.chunk.bytes()]
    }

    /// Plaintext bytes in the slots.
    pub(super) fn filled(&self) -> usize {
        self.filled
    }

    /// Begins the next chunk with the byte that was read beyond this one.
    pub(super) fn next(&mut self) {
        let carry = self.take_carry();
        self.begin(carry);
    }

    /// The byte that was read beyond this chunk, for whoever fills the next one.
    pub(super) fn take_carry(&mut self) -> Option<u8> {
        self.carry.take()
    }

    /// Begins a chunk; `carry` is its first byte, where that was read already.
    pub(super) fn begin(&mut self, carry: Option<u8>) {
        self.carry = None;
        self.filled = 0;
        if let Some(byte) = carry {
            self.buffer.bytes_mut()[frame::HEAD_BYTES] = byte;
            self.filled = 1;
        }
    }

    /// What is left at the end: how many bytes of regular frames, and these with the final frame
    /// behind them. The final frame is shorter than the others, and may be empty.
    pub(super) fn last(&mut self) -> (usize, &mut [u8]) {
        // A full frame is never the final one: see `Sealer::message_bytes`.
        let regular = self.filled / self.chunk.frame_bytes;
        let text_bytes = self.filled - regular * self.chunk.frame_bytes;
        let at = regular * self.chunk.slot_bytes;
        let end = at + frame::FINAL_OVERHEAD_BYTES + text_bytes;
        self.buffer.reserve(end);
        let bytes = &mut self.buffer.bytes_mut()[..end];
        // The head of a final frame is longer than that of the regular frame that was expected.
        let read_at = at + frame::HEAD_BYTES;
        bytes.copy_within(read_at..read_at + text_bytes, at + frame::FINAL_HEAD_BYTES);
        (at, bytes)
    }
}
