//! Random access: any range of the plaintext, from the frames that cover it.
//!
//! The header's tag vouches for the frame length, the final frame's tag for how many frames there
//! are and how long the last one is; so the final frame is read first, from the end of the
//! message, and its place must be where whole frames lead to. Any other frame is read when a range
//! asks for it, and released once its own tag has verified:
//!
//! ```text
//! header | L+32 | L+32 | … | L+32 | final 40 + f | footer of a signed message
//!          0      1          k-1    k                  plaintext: k · L + f bytes
//! ```

use super::Release;
use super::buffer::{Buffer, Chunk};
use super::error::OpenError;
use super::frame::{self, FrameCipher};
use super::header::Header;
use super::incoming::Opener;
use super::opener::SIGNATURE_BYTES_MAX;
use super::reader::read_once;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

/// What to make of the signature of a message that is read in ranges. Only a pass over the whole
/// message can verify it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedRange {
    /// A signed message is an error ([`OpenError::SignedRange`]).
    Refused,
    /// The signature is not checked. What is read is authentic to whoever can open the message,
    /// and each of those could have written it; who did is not known.
    SignatureUnchecked,
}

impl<R: Read + Seek> Opener<R> {
    /// The plaintext as something to read from and seek in.
    ///
    /// The message ends where the reader does, and begins where [`Incoming::read`] began. The
    /// length of the plaintext is proved before this returns: the final frame is read and
    /// verified, and any other length of the message than that of the frames before it is an
    /// error.
    ///
    /// A body without frames is opened as a whole and kept in memory, within
    /// [`Limits::frame_bytes_max`]; where it is signed, the signature is verified.
    ///
    /// [`Incoming::read`]: super::Incoming::read
    /// [`Limits::frame_bytes_max`]: super::Limits::frame_bytes_max
    ///
    /// # Errors
    /// [`OpenError::SignedRange`] when `signed` is [`SignedRange::Refused`] and the message is
    /// signed; [`OpenError`] for whatever is wrong with the message's end.
    pub fn into_range_reader(mut self, signed: SignedRange) -> Result<RangeReader<R>, OpenError> {
        let Some(frame_bytes) = self.header.frame_bytes() else {
            return self.unframed();
        };
        let is_signed = self.header.suite().is_signed();
        if is_signed && signed == SignedRange::Refused {
            return Err(OpenError::SignedRange);
        }
        let here = self.reader.stream_position().map_err(OpenError::Read)?;
        let end = self.reader.seek(SeekFrom::End(0));
        let end = end.map_err(OpenError::Read)?;
        let (cipher, frame_bytes_max) = self.body.into_cipher();
        let mut reader = RangeReader {
            message: self.reader,
            header: self.header,
            cipher: Some(cipher),
            layout: Layout {
                body_at: here.saturating_sub(self.ahead.len() as u64),
                frame_bytes: u64::from(frame_bytes.get()),
                regular: 0,
                final_bytes: 0,
            },
            window: Window::nothing(),
            position: 0,
        };
        let footer = match is_signed {
            true => FOOTER_BYTES,
            false => 0..=0,
        };
        reader.find_end(end, footer, frame_bytes_max as u64)?;
        Ok(reader)
    }

    /// The one frame that there is, kept.
    fn unframed(self) -> Result<RangeReader<R>, OpenError> {
        let (mut message, mut opening) = self.split(Release::Unverified)?;
        while opening.next_text()?.is_some() {}
        loop {
            let read = read_once(&mut message, opening.room()).map_err(OpenError::Read)?;
            if read == 0 {
                break;
            }
            opening.filled(read);
            while opening.next_text()?.is_some() {}
        }
        let (text, totals) = opening.end()?;
        Ok(RangeReader {
            message,
            cipher: None,
            layout: Layout {
                body_at: 0,
                frame_bytes: totals.plaintext_bytes.max(1),
                regular: 0,
                final_bytes: totals.plaintext_bytes,
            },
            window: Window::of(opening.text(text)),
            header: opening.into_header(),
            position: 0,
        })
    }
}

/// Reads any range of the plaintext of a message. From [`Opener::into_range_reader`].
///
/// Its length is that of the message's authentic end, and each frame is verified before a byte of
/// it is given. A frame that is not authentic fails the reads that touch it and no others; what is
/// wrong with a message is an [`io::Error`] of kind [`InvalidData`](io::ErrorKind::InvalidData)
/// with the [`OpenError`] in it.
///
/// Each read fetches the frames that cover it, at most about 1 MiB of them at once, with one seek
/// and one read beneath; reads within frames that are in memory fetch nothing. Seeking costs
/// nothing. The reader beneath must not change meanwhile; if it does, what is read is still
/// authentic or an error.
pub struct RangeReader<R> {
    message: R,
    header: Header,
    /// `None` where the whole plaintext is in the window.
    cipher: Option<FrameCipher>,
    layout: Layout,
    window: Window,
    position: u64,
}

/// Where the frames are.
#[derive(Debug, Clone, Copy)]
struct Layout {
    /// Where the first frame begins.
    body_at: u64,
    /// Plaintext in a frame.
    frame_bytes: u64,
    /// Frames before the final one.
    regular: u32,
    /// Plaintext in the final one.
    final_bytes: u64,
}

/// Opened frames that follow each other.
struct Window {
    buffer: Buffer,
    /// Index of the first of them.
    first: u32,
    /// Where in the buffer the text of each is.
    texts: Vec<Range<usize>>,
}

/// The footer of a signed message: its length in two bytes, and a signature of any DER length.
const FOOTER_BYTES: std::ops::RangeInclusive<u64> = 2..=2 + SIGNATURE_BYTES_MAX as u64;
const FINAL_OVERHEAD_BYTES: u64 = frame::FINAL_OVERHEAD_BYTES as u64;

const WRONG_END: OpenError = OpenError::Malformed {
    rule: "it does not end with its final frame: it is truncated, or something was appended",
};

impl<R: Read + Seek> RangeReader<R> {
    /// Writes the part of the plaintext that lies in `range`; an end beyond that of the plaintext
    /// is that of the plaintext. Returns how many bytes were written. The position for reading
    /// stays as it is.
    ///
    /// # Errors
    /// [`OpenError::RangeStart`] when the range begins beyond the end of the plaintext;
    /// [`OpenError`] as for reading. What was written until then came from frames that verified.
    pub fn copy_range(
        &mut self,
        range: Range<u64>,
        plaintext: &mut dyn Write,
    ) -> Result<u64, OpenError> {
        let plaintext_bytes = self.plaintext_bytes();
        if range.start > plaintext_bytes {
            return Err(OpenError::RangeStart {
                start: range.start,
                plaintext_bytes,
            });
        }
        let end = range.end.min(plaintext_bytes);
        let mut at = range.start;
        while at < end {
            self.cover(at, end - at)?;
            let texts = self.window.texts_from(at, end - at, self.layout);
            at += texts.iter().map(|text| text.len() as u64).sum::<u64>();
            let written = self.window.buffer.write_parts(&texts, plaintext);
            written.map_err(OpenError::Write)?;
        }
        plaintext.flush().map_err(OpenError::Write)?;
        Ok(end.saturating_sub(range.start))
    }

    /// Finds and verifies the final frame. `end` is where the message ends, `footer` how long its
    /// footer may be.
    fn find_end(
        &mut self,
        end: u64,
        footer: std::ops::RangeInclusive<u64>,
        frame_bytes_max: u64,
    ) -> Result<(), OpenError> {
        let Layout {
            body_at,
            frame_bytes,
            ..
        } = self.layout;
        let slot_bytes = self.layout.slot_bytes();
        let rest = end.saturating_sub(body_at);
        // What the final frame's text and all regular frames have together, at most.
        let most = rest.checked_sub(FINAL_OVERHEAD_BYTES + footer.start());
        let most = most.ok_or(OpenError::Truncated)?;
        let least = most.saturating_sub(footer.end() - footer.start());
        // The indices that a final frame of 0 to L bytes could have. Without a footer there is at
        // most one, because a regular frame has more bytes than the longest final text.
        let indices = least.saturating_sub(frame_bytes).div_ceil(slot_bytes)..=most / slot_bytes;
        for index in indices {
            let Ok(regular) = u32::try_from(index) else {
                return Err(WRONG_END);
            };
            let at = body_at + index * slot_bytes;
            let mut head = [0; frame::FINAL_HEAD_BYTES];
            self.read_at(at, &mut head)?;
            let (mark, sequence, stated) = final_head(&head);
            let final_bytes = u64::from(stated);
            let is_final = mark == frame::FINAL_MARK && Some(sequence) == regular.checked_add(1);
            if !is_final || final_bytes > frame_bytes {
                continue;
            }
            let after = (end - at).checked_sub(FINAL_OVERHEAD_BYTES + final_bytes);
            let Some(after) = after.filter(|after| footer.contains(after)) else {
                continue;
            };
            if after > 0 && !self.is_footer(end - after, after)? {
                continue;
            }
            let longest = if regular > 0 {
                frame_bytes
            } else {
                final_bytes
            };
            if longest > frame_bytes_max {
                return Err(limit(longest, frame_bytes_max));
            }
            self.layout.regular = regular;
            self.layout.final_bytes = final_bytes;
            return self.fetch(regular, regular);
        }
        Err(WRONG_END)
    }

    /// Whether the footer says that it has the length that it has.
    fn is_footer(&mut self, at: u64, bytes: u64) -> Result<bool, OpenError> {
        let mut stated = [0; 2];
        self.read_at(at, &mut stated)?;
        Ok(u64::from(u16::from_be_bytes(stated)) + 2 == bytes)
    }

    /// Sees to it that the frame of the byte `at` is in the window, and, if it was not, as many of
    /// the next as `bytes` need and fit into a chunk.
    fn cover(&mut self, at: u64, bytes: u64) -> Result<(), OpenError> {
        let first = self.layout.index(at);
        if self.window.frames().contains(&first) {
            return Ok(());
        }
        let last = self.layout.index(at + (bytes - 1));
        let slots = Chunk::of(self.layout.frame_bytes as usize, frame::OVERHEAD_BYTES).slots;
        let most = first.saturating_add(slots as u32 - 1);
        self.fetch(first, last.min(most))
    }

    /// Reads and opens the frames `first` to `last`. On failure the window has none.
    fn fetch(&mut self, first: u32, last: u32) -> Result<(), OpenError> {
        let layout = self.layout;
        let (Some(at), Some(end)) = (layout.frame_at(first), layout.frame_end(last)) else {
            return Err(WRONG_END);
        };
        let bytes = usize::try_from(end - at).map_err(|_| WRONG_END)?;
        let mut window = std::mem::replace(&mut self.window, Window::nothing());
        window.first = first;
        window.texts.clear();
        window.buffer.reserve(bytes);
        self.read_at(at, &mut window.buffer.bytes_mut()[..bytes])?;
        self.open_all(&mut window, last, bytes)?;
        self.window = window;
        Ok(())
    }

    fn open_all(&self, window: &mut Window, last: u32, bytes: usize) -> Result<(), OpenError> {
        let slot_bytes = self.layout.slot_bytes() as usize;
        let Some(cipher) = &self.cipher else {
            return Err(WRONG_END);
        };
        let mut begin = 0;
        for index in window.first..=last {
            let is_final = index == self.layout.regular;
            let slot_end = match is_final {
                true => bytes,
                false => begin + slot_bytes,
            };
            let slot = &mut window.buffer.bytes_mut()[begin..slot_end];
            let text = open_one(cipher, index, is_final, slot)?;
            window.texts.push(begin + text.start..begin + text.end);
            begin = slot_end;
        }
        Ok(())
    }

    fn read_at(&mut self, at: u64, room: &mut [u8]) -> Result<(), OpenError> {
        let sought = self.message.seek(SeekFrom::Start(at));
        sought.map_err(OpenError::Read)?;
        let mut filled = 0;
        while filled < room.len() {
            match read_once(&mut self.message, &mut room[filled..]).map_err(OpenError::Read)? {
                0 => return Err(OpenError::Truncated),
                read => filled += read,
            }
        }
        Ok(())
    }
}

impl<R> RangeReader<R> {
    /// What the header says. It is authentic.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Length of the plaintext in bytes. It is authentic.
    pub fn plaintext_bytes(&self) -> u64 {
        self.layout.plaintext_bytes()
    }
}

impl<R: Read + Seek> Read for RangeReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.plaintext_bytes().saturating_sub(self.position);
        let wanted = left.min(buffer.len() as u64);
        if wanted == 0 {
            return Ok(0);
        }
        self.cover(self.position, wanted)?;
        let mut given = 0;
        for text in self.window.texts_from(self.position, wanted, self.layout) {
            let until = given + text.len();
            buffer[given..until].copy_from_slice(&self.window.buffer.bytes()[text]);
            given = until;
        }
        self.position += given as u64;
        Ok(given)
    }
}

impl<R> Seek for RangeReader<R> {
    /// As in a file: positions beyond the end are allowed, and give no bytes.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.plaintext_bytes().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let wrong = "a position before the beginning or over 2⁶⁴";
        let wrong = || io::Error::new(io::ErrorKind::InvalidInput, wrong);
        self.position = position.ok_or_else(wrong)?;
        Ok(self.position)
    }
}

impl Layout {
    fn slot_bytes(self) -> u64 {
        self.frame_bytes + frame::OVERHEAD_BYTES as u64
    }

    fn plaintext_bytes(self) -> u64 {
        u64::from(self.regular) * self.frame_bytes + self.final_bytes
    }

    /// Which frame has the byte `at` of the plaintext: never beyond the final one.
    fn index(self, at: u64) -> u32 {
        u32::try_from(at / self.frame_bytes).map_or(self.regular, |index| index.min(self.regular))
    }

    /// Where a frame begins in the message. (The sum was within it when the end was found.)
    fn frame_at(self, index: u32) -> Option<u64> {
        u64::from(index)
            .checked_mul(self.slot_bytes())?
            .checked_add(self.body_at)
    }

    fn frame_end(self, index: u32) -> Option<u64> {
        let bytes = match index == self.regular {
            true => FINAL_OVERHEAD_BYTES + self.final_bytes,
            false => self.slot_bytes(),
        };
        self.frame_at(index)?.checked_add(bytes)
    }
}

impl Window {
    fn nothing() -> Self {
        Self {
            buffer: Buffer::empty(),
            first: 0,
            texts: Vec::new(),
        }
    }

    /// The one frame of a body without frames.
    fn of(text: &[u8]) -> Self {
        let mut buffer = Buffer::empty();
        buffer.reserve(text.len());
        buffer.bytes_mut().copy_from_slice(text);
        Self {
            buffer,
            first: 0,
            texts: std::iter::once(0..text.len()).collect(),
        }
    }

    fn frames(&self) -> Range<u32> {
        self.first..self.first + self.texts.len() as u32
    }

    /// The text from the byte `at` of the plaintext on, which is in the window: `bytes` of it, or
    /// as much as is there.
    fn texts_from(&self, at: u64, bytes: u64, layout: Layout) -> Vec<Range<usize>> {
        let index = layout.index(at);
        let mut skip = (at - u64::from(index) * layout.frame_bytes) as usize;
        let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
        let mut found = Vec::new();
        for text in &self.texts[(index - self.first) as usize..] {
            let begin = text.start + skip;
            let end = text.end.min(begin.saturating_add(left));
            if begin == end {
                break;
            }
            left -= end - begin;
            skip = 0;
            found.push(begin..end);
        }
        found
    }
}

/// Opens one frame. That it says itself which it is, is compared too: a message has one form.
fn open_one(
    cipher: &FrameCipher,
    index: u32,
    is_final: bool,
    slot: &mut [u8],
) -> Result<Range<usize>, OpenError> {
    let expected = index.checked_add(1).ok_or(WRONG_END)?;
    if is_final {
        return Ok(cipher.open_final(expected, slot)?);
    }
    let found = number(slot, 0);
    if found != expected {
        return Err(OpenError::Sequence { expected, found });
    }
    Ok(cipher.open(expected, slot)?)
}

fn limit(value: u64, max: u64) -> OpenError {
    OpenError::Limit {
        what: "a frame length in bytes",
        value,
        max,
    }
}

/// Mark, sequence number and text length of a final frame.
fn final_head(head: &[u8; frame::FINAL_HEAD_BYTES]) -> (u32, u32, u32) {
    (
        number(head, 0),
        number(head, 4),
        number(head, frame::FINAL_HEAD_BYTES - 4),
    )
}

fn number(bytes: &[u8], at: usize) -> u32 {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    found.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

impl<R> std::fmt::Debug for RangeReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "RangeReader({:?}, {:?})",
            self.header.suite(),
            self.layout
        )
    }
}
