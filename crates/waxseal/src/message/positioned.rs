//! Reading and writing at places, which threads may do at once.

use super::buffer::overstated;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};

/// Bytes that are read by their place.
pub trait ReadAt: Sync {
    /// Reads at `offset`, counted in bytes from the beginning; 0 bytes mean the end, and fewer
    /// than there is room for do not.
    ///
    /// # Errors
    /// Whatever the source says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The same into several buffers, one after the other. Without one of its own a source fills
    /// the first that has room.
    ///
    /// # Errors
    /// As [`ReadAt::read_at`].
    fn read_vectored_at(&self, buffers: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
        let room = buffers.iter_mut().find(|buffer| !buffer.is_empty());
        room.map_or(Ok(0), |buffer| self.read_at(buffer, offset))
    }
}

/// Bytes that are written at their place.
pub trait WriteAt: Sync {
    /// Writes at `offset`, counted in bytes from the beginning, and says how much was taken.
    ///
    /// # Errors
    /// Whatever the sink says.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// The same from several buffers, one after the other. Without one of its own a sink takes
    /// from the first that is not empty.
    ///
    /// # Errors
    /// As [`WriteAt::write_at`].
    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let some = buffers.iter().find(|buffer| !buffer.is_empty());
        some.map_or(Ok(0), |buffer| self.write_at(buffer, offset))
    }
}

/// A message or plaintext that is in memory.
impl ReadAt for [u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut rest = self.get(from..).unwrap_or_default();
        rest.read(buffer)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buffer, offset)
    }

    fn read_vectored_at(&self, buffers: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
        (**self).read_vectored_at(buffers, offset)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.as_slice().read_at(buffer, offset)
    }
}

#[cfg(unix)]
impl ReadAt for std::fs::File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }

    fn read_vectored_at(&self, buffers: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::preadv(self, buffers, offset)?)
    }
}

#[cfg(unix)]
impl WriteAt for std::fs::File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::write_at(self, bytes, offset)
    }

    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(self, buffers, offset)?)
    }
}

/// A source read from one place on.
pub(super) struct FromPlace<'a> {
    pub(super) source: &'a dyn ReadAt,
    pub(super) offset: u64,
}

impl FromPlace<'_> {
    fn advance(&mut self, read: usize, offered: usize) -> io::Result<usize> {
        if read > offered {
            return Err(overstated());
        }
        self.offset = self.offset.saturating_add(read as u64);
        Ok(read)
    }
}

impl Read for FromPlace<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read_at(buffer, self.offset)?;
        self.advance(read, buffer.len())
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let offered = buffers.iter().map(|buffer| buffer.len()).sum();
        let read = self.source.read_vectored_at(buffers, self.offset)?;
        self.advance(read, offered)
    }
}

/// A sink written from one place on.
pub(super) struct OntoPlace<'a> {
    pub(super) sink: &'a dyn WriteAt,
    pub(super) offset: u64,
}

impl Write for OntoPlace<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.sink.write_at(bytes, self.offset)?;
        self.offset = self.offset.saturating_add(written as u64);
        Ok(written)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = self.sink.write_vectored_at(buffers, self.offset)?;
        self.offset = self.offset.saturating_add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
