//! A piece of a message on its way to being opened.

use super::buffer::{Buffer, overstated};
use std::io::{self, Read};

/// What was read of the message and not opened yet: `buffer[begin..end]`.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) buffer: Buffer,
    pub(super) begin: usize,
    pub(super) end: usize,
    pub(super) at_end: bool,
}

impl Window {
    pub(super) fn new(ahead: &[u8]) -> Self {
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

    /// Forgets everything; what is read next stands at the front.
    pub(super) fn begin(&mut self) {
        (self.begin, self.end, self.at_end) = (0, 0, false);
    }

    pub(super) fn unread(&self) -> &[u8] {
        &self.buffer.bytes()[self.begin..self.end]
    }

    pub(super) fn unread_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.bytes_mut()[self.begin..self.end]
    }

    /// Moves what is unread to the front. That is nothing while whole frames come in, and less
    /// than a frame at the end.
    pub(super) fn rewind(&mut self) {
        self.buffer.bytes_mut().copy_within(self.begin..self.end, 0);
        self.end -= self.begin;
        self.begin = 0;
    }

    /// Reads until `want` bytes are unread, or to the end of the input. Nothing is moved.
    pub(super) fn fill(&mut self, reader: &mut dyn Read, want: usize) -> io::Result<()> {
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
