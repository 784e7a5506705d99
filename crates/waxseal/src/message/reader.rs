//! Readers to pull from: the plaintext of a message, and the message of a plaintext.

use super::buffer::{Buffer, CHUNK_BYTES, overstated};
use super::error::{OpenError, SealError};
use super::header::Header;
use super::incoming::Opener;
use super::opening::Opening;
use super::sealer::Sealer;
use super::sealing::Sealing;
use super::{Release, Totals};
use std::io::{self, IoSliceMut, Read};
use std::ops::Range;

impl<R: Read> Opener<R> {
    /// The plaintext as a reader.
    ///
    /// # Errors
    /// [`OpenError::SignedRelease`] for a signed message and [`Release::Verified`].
    pub fn into_reader(self, release: Release) -> Result<OpenReader<R>, OpenError> {
        let (message, opening) = self.split(release)?;
        Ok(OpenReader {
            message,
            opening,
            ready: 0..0,
            totals: None,
            error: None,
        })
    }
}

/// Reads the plaintext of a message: each frame once its tag has verified, the final one once
/// everything has. From [`Opener::into_reader`].
///
/// The plaintext is whole when a read has given 0 bytes, never before. What is wrong with a
/// message is an [`io::Error`] of kind [`InvalidData`](io::ErrorKind::InvalidData) with the
/// [`OpenError`] in it ([`OpenError::from_io`] takes it out). Such an error is final: no later read
/// gives a byte. Errors of the reader beneath come as they are, and do no harm to reading on.
///
/// It buffers: there is no use for a [`BufReader`](io::BufReader) on either side.
pub struct OpenReader<R> {
    message: R,
    opening: Opening,
    /// Text that has not been fetched yet.
    ready: Range<usize>,
    /// The input has ended well.
    totals: Option<Totals>,
    /// Found when there was still something to give.
    error: Option<OpenError>,
}

impl<R: Read> OpenReader<R> {
    /// What the header says. It is authentic.
    pub fn header(&self) -> &Header {
        self.opening.header()
    }

    /// What went through; `None` until the last byte of plaintext has been verified.
    pub fn totals(&self) -> Option<Totals> {
        self.totals
    }

    /// Gives as much as `buffer` takes; less where the next frame needs input. 0 is the end.
    fn fetch(&mut self, buffer: &mut [u8]) -> Result<usize, OpenError> {
        let mut given = 0;
        while given < buffer.len() {
            if self.ready.is_empty() && !self.advance(given > 0)? {
                break;
            }
            let fits = self.ready.len().min(buffer.len() - given);
            let text = self.ready.start..self.ready.start + fits;
            buffer[given..given + fits].copy_from_slice(self.opening.text(text));
            self.ready.start += fits;
            given += fits;
        }
        Ok(given)
    }

    /// Opens the next frame with text in it. False: at the end, or, when there `is_some`thing to
    /// give already, where the input would have to be asked or an error told.
    fn advance(&mut self, is_some: bool) -> Result<bool, OpenError> {
        loop {
            if let Some(error) = self.error.take() {
                return Err(error);
            }
            if !self.ready.is_empty() {
                return Ok(true);
            }
            if self.totals.is_some() {
                return Ok(false);
            }
            match self.opening.next_text() {
                Ok(Some(text)) => self.ready = text,
                Err(error) if is_some => {
                    self.error = Some(error);
                    return Ok(false);
                }
                Err(error) => return Err(error),
                Ok(None) if is_some => return Ok(false),
                Ok(None) => self.read_on()?,
            }
        }
    }

    fn read_on(&mut self) -> Result<(), OpenError> {
        let room = self.opening.room();
        let read = read_once(&mut self.message, room).map_err(OpenError::Read)?;
        if read > 0 {
            self.opening.filled(read);
            return Ok(());
        }
        let (text, totals) = self.opening.end()?;
        self.ready = text;
        self.totals = Some(totals);
        Ok(())
    }
}

impl<R: Read> Read for OpenReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.fetch(buffer)?)
    }

    fn read_vectored(&mut self, rooms: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut given = 0;
        for room in rooms {
            if given > 0 && self.ready.is_empty() && !self.advance(true)? {
                break;
            }
            let more = self.fetch(room)?;
            given += more;
            if more < room.len() {
                break;
            }
        }
        Ok(given)
    }
}

/// Reads the message of a plaintext that is read from another reader: for those who are asked for
/// a reader, as HTTP clients do.
///
/// What is wrong with the sealing is an [`io::Error`] with the [`SealError`] in it, and final;
/// errors of the reader beneath come as they are, and do no harm to reading on. A message that
/// was not read to its end is truncated, and every reader will refuse it.
pub struct SealReader<R> {
    plaintext: R,
    /// `None` once the message has ended, or failed.
    sealing: Option<Sealing>,
    text: Buffer,
    message: Vec<u8>,
    /// What was fetched of `message`.
    begin: usize,
    totals: Option<Totals>,
}

impl<R: Read> SealReader<R> {
    /// Begins a message of what `plaintext` gives until its end.
    pub fn new(sealer: Sealer, plaintext: R) -> Self {
        let mut message = Vec::new();
        Self {
            plaintext,
            sealing: Some(Sealing::begin(sealer, &mut message)),
            text: Buffer::new(),
            message,
            begin: 0,
            totals: None,
        }
    }

    /// What went through; `None` until the plaintext has ended.
    pub fn totals(&self) -> Option<Totals> {
        self.totals
    }

    fn read_on(&mut self) -> io::Result<()> {
        self.message.clear();
        self.begin = 0;
        let read = read_once(&mut self.plaintext, self.text.bytes_mut())?;
        if read == 0 {
            // Only a failure leaves neither a message nor its totals.
            let sealing = self.sealing.take().ok_or(SealError::Crypto)?;
            self.totals = Some(sealing.finish(&mut self.message)?);
            return Ok(());
        }
        let sealing = self.sealing.as_mut().ok_or(SealError::Crypto)?;
        sealing.push(&self.text.bytes()[..read], &mut self.message)?;
        if read == self.text.len() {
            self.text.grow(CHUNK_BYTES);
        }
        Ok(())
    }
}

impl<R: Read> Read for SealReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.begin == self.message.len() && self.totals.is_none() {
            self.read_on()?;
        }
        let unread = &self.message[self.begin..];
        let fits = unread.len().min(buffer.len());
        buffer[..fits].copy_from_slice(&unread[..fits]);
        self.begin += fits;
        Ok(fits)
    }
}

/// One read, again when it was interrupted.
pub(super) fn read_once(reader: &mut (impl Read + ?Sized), room: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(room) {
            Ok(read) if read > room.len() => return Err(overstated()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

impl<R> std::fmt::Debug for OpenReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenReader({:?})", self.opening.header().suite())
    }
}

impl<R> std::fmt::Debug for SealReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealReader({:?})", self.sealing)
    }
}
