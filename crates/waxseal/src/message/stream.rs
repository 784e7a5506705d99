//! Messages through blocking readers and writers, one chunk of frames at a time.
//!
//! A chunk has about 1 MiB: one read and one write call for many frames, and no copy besides the
//! kernel's, because text is read into its place among the frames and sealed or opened there.
//! That needs vectored calls; a reader or writer that wraps another one should pass
//! `read_vectored` and `write_vectored` on, or each frame costs a call of its own.
//!
//! Memory: one chunk, or one frame where frames are longer than that (for a moment a quarter
//! more, while it grows).

use super::buffer::{Buffer, CHUNK_BYTES, Chunk, overstated};
use super::error::{OpenError, SealError};
use super::frame;
use super::incoming::Opener;
use super::opener::{Footer, Part};
use super::sealer::Sealer;
use super::{Release, Totals};
use std::io::{self, IoSliceMut, Read, Write};
use std::ops::Range;

/// Writes the whole message: header, frames, footer. Plaintext is read to its end.
///
/// # Errors
/// [`SealError`]; what was written until then is no message.
pub fn seal_stream(
    mut sealer: Sealer,
    plaintext: &mut dyn Read,
    message: &mut dyn Write,
) -> Result<Totals, SealError> {
    let mut intake = Intake::new(sealer.frame_bytes().get() as usize);
    let mut plaintext_bytes = 0;
    let mut message_bytes = 0;
    let mut write = |bytes: &[u8]| {
        message_bytes += bytes.len() as u64;
        message.write_all(bytes).map_err(SealError::Write)
    };
    write(sealer.header_bytes())?;
    while intake.fill(plaintext).map_err(SealError::Read)? {
        let frames = intake.full();
        sealer.seal_frames(frames)?;
        write(frames)?;
        plaintext_bytes += intake.chunk.text_bytes() as u64;
        intake.next();
    }
    plaintext_bytes += intake.filled as u64;
    let (regular_bytes, rest) = intake.last();
    let (regular, last) = rest.split_at_mut(regular_bytes);
    sealer.seal_frames(regular)?;
    let (footer, frames) = sealer.finish(last)?;
    write(rest)?;
    write(&footer)?;
    message.flush().map_err(SealError::Write)?;
    Ok(Totals {
        plaintext_bytes,
        message_bytes,
        frames,
    })
}

/// Plaintext on its way into slots.
///
/// Whether a frame is the final one is known only once there is a byte after it. So each call
/// that fills the last slot also offers room for one byte more, which becomes the first byte of
/// the next chunk.
struct Intake {
    chunk: Chunk,
    buffer: Buffer,
    /// Plaintext bytes in the slots.
    filled: usize,
    /// The byte after a full chunk.
    carry: Option<u8>,
}

impl Intake {
    fn new(frame_bytes: usize) -> Self {
        Self {
            chunk: Chunk::of(frame_bytes, frame::OVERHEAD_BYTES),
            buffer: Buffer::new(),
            filled: 0,
            carry: None,
        }
    }

    /// Reads until the slots are full and there is more (true), or until the end (false).
    fn fill(&mut self, reader: &mut dyn Read) -> io::Result<bool> {
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

    /// All slots, and what a final frame in the last one has more than a regular one.
    fn bytes_max(&self) -> usize {
        self.chunk.bytes() + frame::FINAL_OVERHEAD_BYTES - frame::OVERHEAD_BYTES
    }

    /// A full chunk.
    fn full(&mut self) -> &mut [u8] {
        &mut self.buffer.bytes_mut()[..self.chunk.bytes()]
    }

    /// Begins the next chunk.
    fn next(&mut self) {
        self.filled = 0;
        if let Some(byte) = self.carry.take() {
            self.buffer.bytes_mut()[frame::HEAD_BYTES] = byte;
            self.filled = 1;
        }
    }

    /// What is left at the end: how many bytes of regular frames, and these with the final frame
    /// behind them. The final frame has at least one byte, unless the plaintext has none.
    fn last(&mut self) -> (usize, &mut [u8]) {
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

impl<R: Read> Opener<R> {
    /// Writes the plaintext. The final frame leaves only when everything else is known to be
    /// right: the signature, where there is one, and the end of the input.
    ///
    /// # Errors
    /// [`OpenError`]. What was written until then came from frames that verified, in their order;
    /// after an error it is incomplete.
    pub fn open_stream(
        mut self,
        plaintext: &mut dyn Write,
        release: Release,
    ) -> Result<Totals, OpenError> {
        if self.header.suite().is_signed() && release == Release::Verified {
            return Err(OpenError::SignedRelease);
        }
        let chunk_bytes = self.chunk_bytes();
        let mut window = Window::new(&self.ahead);
        let mut parts = Vec::new();
        let mut totals = Totals {
            plaintext_bytes: 0,
            message_bytes: self.header.header_bytes() as u64,
            frames: 0,
        };
        let mut want = chunk_bytes;
        loop {
            window.rewind();
            window
                .fill(&mut self.reader, want)
                .map_err(OpenError::Read)?;
            let consumed_from = window.begin;
            let found = self.open_parts(&mut window, &mut parts)?;
            totals.plaintext_bytes += parts.iter().map(|part| part.len() as u64).sum::<u64>();
            totals.message_bytes += (window.begin - consumed_from) as u64;
            match found {
                Found::Last => break,
                Found::NeedMore(_) if window.at_end && parts.is_empty() => {
                    return Err(OpenError::Truncated);
                }
                Found::NeedMore(more) => want = more.max(chunk_bytes),
            }
            window
                .buffer
                .write_parts(&parts, plaintext)
                .map_err(OpenError::Write)?;
        }
        totals.message_bytes += self.close(&mut window)? as u64;
        window
            .buffer
            .write_parts(&parts, plaintext)
            .map_err(OpenError::Write)?;
        plaintext.flush().map_err(OpenError::Write)?;
        totals.frames = self.body.frames();
        Ok(totals)
    }

    /// Opens every whole frame in the window; `parts` says where their plaintext stands.
    fn open_parts(
        &mut self,
        window: &mut Window,
        parts: &mut Vec<Range<usize>>,
    ) -> Result<Found, OpenError> {
        parts.clear();
        loop {
            let begin = window.begin;
            let (opened, is_last) = match self.body.open(window.unread_mut())? {
                Part::NeedMore(bytes) => return Ok(Found::NeedMore(bytes)),
                Part::Regular(opened) => (opened, false),
                Part::Last(opened) => (opened, true),
            };
            parts.push(begin + opened.text.start..begin + opened.text.end);
            window.begin += opened.bytes;
            if is_last {
                return Ok(Found::Last);
            }
        }
    }

    /// Verifies the footer, and that nothing follows it. Returns the footer's length.
    fn close(&mut self, window: &mut Window) -> Result<usize, OpenError> {
        let footer_bytes = loop {
            match self.body.footer(window.unread())? {
                Footer::Verified(bytes) => break bytes,
                Footer::NeedMore(_) if window.at_end => return Err(OpenError::Truncated),
                Footer::NeedMore(bytes) => window
                    .fill(&mut self.reader, bytes)
                    .map_err(OpenError::Read)?,
            }
        };
        window.begin += footer_bytes;
        window.fill(&mut self.reader, 1).map_err(OpenError::Read)?;
        if !window.unread().is_empty() {
            return Err(OpenError::TrailingBytes);
        }
        Ok(footer_bytes)
    }

    /// How much is read at once: whole frames, as many as make a chunk.
    fn chunk_bytes(&self) -> usize {
        match self.header.frame_bytes() {
            Some(bytes) if bytes.get() as usize <= CHUNK_BYTES => {
                Chunk::of(bytes.get() as usize, frame::OVERHEAD_BYTES).bytes()
            }
            _ => CHUNK_BYTES,
        }
    }
}

/// Where a pass over the window ended.
enum Found {
    Last,
    /// So many bytes, counted from the beginning of what is unread.
    NeedMore(usize),
}

/// What was read of the message and not opened yet: `buffer[begin..end]`.
struct Window {
    buffer: Buffer,
    begin: usize,
    end: usize,
    at_end: bool,
}

impl Window {
    fn new(ahead: &[u8]) -> Self {
        let mut buffer = Buffer::new();
        buffer.reserve(ahead.len());
        buffer.bytes_mut()[..ahead.len()].copy_from_slice(ahead);
        Self {
            buffer,
            begin: 0,
            end: ahead.len(),
            at_end: false,
        }
    }

    fn unread(&self) -> &[u8] {
        &self.buffer.bytes()[self.begin..self.end]
    }

    fn unread_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.bytes_mut()[self.begin..self.end]
    }

    /// Moves what is unread to the front. That is nothing while whole frames come in, and less
    /// than a frame at the end.
    fn rewind(&mut self) {
        self.buffer.bytes_mut().copy_within(self.begin..self.end, 0);
        self.end -= self.begin;
        self.begin = 0;
    }

    /// Reads until `want` bytes are unread, or to the end of the input. Nothing is moved.
    fn fill(&mut self, reader: &mut dyn Read, want: usize) -> io::Result<()> {
        let until = self.begin.saturating_add(want);
        while self.end < until && !self.at_end {
            if self.end == self.buffer.len() {
                self.buffer.grow(until);
            }
            let upto = until.min(self.buffer.len());
            let room = &mut self.buffer.bytes_mut()[self.end..upto];
            match reader.read(room) {
                Ok(0) => self.at_end = true,
                Ok(read) if read > room.len() => return Err(overstated()),
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
