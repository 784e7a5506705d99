//! Messages through blocking readers and writers, one chunk of frames at a time.
//!
//! A chunk has about 1 MiB: one read and one write call for many frames, and no copy besides the
//! kernel's, because text is read into its place among the frames and sealed or opened there.
//! That needs vectored calls; a reader or writer that wraps another one should pass
//! `read_vectored` and `write_vectored` on, or each frame costs a call of its own.
//!
//! Memory: one chunk, or one frame where frames are longer than that (for a moment a quarter
//! more, while it grows).

use super::buffer::{CHUNK_BYTES, Chunk};
use super::error::{OpenError, SealError};
use super::frame;
use super::incoming::Opener;
use super::intake::Intake;
use super::opener::{Footer, Part};
use super::sealer::Sealer;
use super::window::Window;
use super::{Release, Totals};
use std::io::{Read, Write};
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
    let frame_bytes = sealer.frame_bytes().get() as usize;
    let chunk = Chunk::of(frame_bytes, frame::OVERHEAD_BYTES);
    let mut intake = Intake::new(chunk);
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
        plaintext_bytes += chunk.text_bytes() as u64;
        intake.next();
    }
    plaintext_bytes += intake.filled() as u64;
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
        self.refuse_release(release)?;
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
