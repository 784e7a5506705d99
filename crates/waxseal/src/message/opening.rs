//! Opening without I/O: the message is pushed in, plaintext comes out.

use super::buffer::{Buffer, CHUNK_BYTES};
use super::error::OpenError;
use super::header::{self, Header, Parsed};
use super::incoming::{Incoming, Opener};
use super::opener::{Body, Footer, Opened, Part};
use super::{Limits, Release, Totals};
use std::ops::Range;

/// A header being received, for those who bring their own I/O: bytes are pushed in until they
/// make a header. [`Incoming::read`] is for those who have `std::io`.
///
/// ```
/// # use std::sync::Arc;
/// # use waxseal::message::{self, HeaderIntake, Limits, OpenOptions, Release, SealOptions};
/// # use waxseal::{RawAesKeyring, SecretBytes, SystemEntropy};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # pollster::block_on(async {
/// # let key = SecretBytes::new(vec![7; 32]);
/// # let keyring = RawAesKeyring::new("example", "key-1", &key, Arc::new(SystemEntropy))?;
/// # let options = SealOptions::default();
/// # let message = message::encrypt(&keyring, b"attack at dawn", options, &SystemEntropy).await?;
/// let mut pieces = message.chunks(50);
/// let mut intake = HeaderIntake::new(&Limits::default());
/// let incoming = loop {
///     let piece = pieces.next().ok_or("the input ended within the header")?;
///     if let Some(incoming) = intake.push(piece)? {
///         break incoming;
///     }
/// };
/// let opener = incoming.open(&keyring, &OpenOptions::default()).await?;
/// let mut opening = opener.into_opening(Release::Verified)?;
/// let mut plaintext = Vec::new();
/// for piece in pieces {
///     opening.push(piece, &mut plaintext)?;
/// }
/// opening.finish(&mut plaintext)?;
/// assert_eq!(plaintext, b"attack at dawn");
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Debug)]
pub struct HeaderIntake {
    bytes: Vec<u8>,
    /// As many bytes are needed before it is worth another look.
    need: usize,
    limits: Limits,
}

impl HeaderIntake {
    /// Begins with nothing.
    pub fn new(limits: &Limits) -> Self {
        Self {
            bytes: Vec::new(),
            need: 1,
            limits: limits.clone(),
        }
    }

    /// Takes the next bytes of the message. Gives the message once its header is complete; what
    /// was pushed beyond the header goes with it, and the intake begins anew.
    ///
    /// # Errors
    /// [`OpenError`]: whatever is no header, or passes the limits.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Incoming<()>>, OpenError> {
        self.bytes.extend_from_slice(bytes);
        while self.bytes.len() >= self.need {
            match header::parse(&self.bytes, &self.limits)? {
                Parsed::NeedMore(more) => self.need = more,
                Parsed::Header(header) => {
                    let ahead = self.bytes.split_off(header.header_bytes());
                    *self = Self::new(&self.limits);
                    let limits = self.limits.clone();
                    return Ok(Some(Incoming::of((), *header, ahead, limits)));
                }
            }
        }
        Ok(None)
    }

    /// How many bytes are missing, at least.
    pub fn missing_bytes(&self) -> usize {
        self.need.saturating_sub(self.bytes.len())
    }
}

impl Opener<()> {
    /// Goes on to the body, whose bytes the caller will push in.
    ///
    /// # Errors
    /// [`OpenError::SignedRelease`] for a signed message and [`Release::Verified`].
    pub fn into_opening(self, release: Release) -> Result<Opening, OpenError> {
        Ok(self.split(release)?.1)
    }
}

impl<R> Opener<R> {
    /// The reader, and the message without one.
    pub(super) fn split(self, release: Release) -> Result<(R, Opening), OpenError> {
        if self.header.suite().is_signed() && release == Release::Verified {
            return Err(OpenError::SignedRelease);
        }
        let mut opening = Opening::new(self.header, self.body);
        opening.take(&self.ahead);
        Ok((self.reader, opening))
    }
}

/// The body of a message being opened, with no I/O of its own: it fits under any reader and
/// writer, callback or event loop. See [`HeaderIntake`] for how to come by one.
///
/// A frame's plaintext comes out once its tag has verified. The final frame is held back until
/// [`finish`](Self::finish): until the signature, where there is one, and the end of the input
/// are known to be right. So a plaintext is whole only when `finish` has succeeded.
///
/// Memory: one frame, or 1 MiB where frames are shorter; and what the caller leaves in the output.
#[derive(Debug)]
pub struct Opening {
    header: Header,
    body: Body,
    /// What was pushed and not opened yet is `buffer[begin..end]`; opened text stands before it.
    buffer: Buffer,
    begin: usize,
    end: usize,
    /// As many bytes from `begin` on are needed.
    need: usize,
    stage: Stage,
    totals: Totals,
}

/// What comes next; ranges are those of the final frame's text, which is being held back.
#[derive(Debug, Clone)]
enum Stage {
    Body,
    Footer(Range<usize>),
    End(Range<usize>),
    Failed,
}

impl Opening {
    fn new(header: Header, body: Body) -> Self {
        Self {
            totals: Totals {
                plaintext_bytes: 0,
                message_bytes: header.header_bytes() as u64,
                frames: 0,
            },
            header,
            body,
            buffer: Buffer::new(),
            begin: 0,
            end: 0,
            need: 1,
            stage: Stage::Body,
        }
    }

    /// What the header says. It is authentic.
    pub fn header(&self) -> &Header {
        &self.header
    }

    pub(super) fn into_header(self) -> Header {
        self.header
    }

    /// Takes the next bytes of the message, any number, and appends the plaintext of the frames
    /// that they complete.
    ///
    /// # Errors
    /// [`OpenError`]; what was given out until then came from frames that verified, in their
    /// order. Every later call fails too.
    pub fn push(&mut self, message: &[u8], plaintext: &mut Vec<u8>) -> Result<(), OpenError> {
        let mut rest = message;
        loop {
            while let Some(text) = self.next_text()? {
                plaintext.extend_from_slice(self.text(text));
            }
            if rest.is_empty() {
                return Ok(());
            }
            let room = self.room();
            let fits = room.len().min(rest.len());
            let (now, later) = rest.split_at(fits);
            room[..fits].copy_from_slice(now);
            self.filled(fits);
            rest = later;
        }
    }

    /// Says that the input has ended, and appends what was held back.
    ///
    /// # Errors
    /// [`OpenError::Truncated`], or an earlier [`push`](Self::push) failed.
    pub fn finish(mut self, plaintext: &mut Vec<u8>) -> Result<Totals, OpenError> {
        while let Some(text) = self.next_text()? {
            plaintext.extend_from_slice(self.text(text));
        }
        let (text, totals) = self.end()?;
        plaintext.extend_from_slice(self.text(text));
        Ok(totals)
    }

    /// Opens the next frame that is there as a whole. `None`: more bytes are needed.
    pub(super) fn next_text(&mut self) -> Result<Option<Range<usize>>, OpenError> {
        let next = self.advance();
        if next.is_err() {
            self.stage = Stage::Failed;
        }
        next
    }

    /// The text of a range that this gave, until more bytes are taken.
    pub(super) fn text(&self, range: Range<usize>) -> &[u8] {
        &self.buffer.bytes()[range]
    }

    /// Where the next bytes of the message go, at least one; texts given before are gone.
    pub(super) fn room(&mut self) -> &mut [u8] {
        // The final frame's text stays where it is; what follows it is short.
        if matches!(self.stage, Stage::Body) && self.begin > 0 {
            self.buffer.bytes_mut().copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
        }
        let until = self.begin + self.need.max(CHUNK_BYTES).max(self.end - self.begin + 1);
        if self.end >= self.buffer.len() {
            self.buffer.grow(until);
        }
        let until = until.min(self.buffer.len());
        &mut self.buffer.bytes_mut()[self.end..until]
    }

    /// So many bytes were written into the room.
    pub(super) fn filled(&mut self, bytes: usize) {
        self.end += bytes;
    }

    /// The input has ended and every frame was taken: the text that was held back.
    pub(super) fn end(&mut self) -> Result<(Range<usize>, Totals), OpenError> {
        match std::mem::replace(&mut self.stage, Stage::Failed) {
            Stage::End(held) if self.begin == self.end => Ok((held, self.totals)),
            Stage::End(_) => Err(OpenError::TrailingBytes),
            Stage::Failed => Err(FAILED_BEFORE),
            Stage::Body | Stage::Footer(_) => Err(OpenError::Truncated),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let until = self.end + bytes.len();
        self.buffer.reserve(until);
        self.buffer.bytes_mut()[self.end..until].copy_from_slice(bytes);
        self.end = until;
    }

    fn advance(&mut self) -> Result<Option<Range<usize>>, OpenError> {
        loop {
            let unread = self.begin..self.end;
            match self.stage.clone() {
                Stage::Body => match self.body.open(&mut self.buffer.bytes_mut()[unread])? {
                    Part::NeedMore(bytes) => return Ok(self.wait(bytes)),
                    Part::Regular(opened) => return Ok(Some(self.passed(&opened))),
                    Part::Last(opened) => self.stage = Stage::Footer(self.passed(&opened)),
                },
                Stage::Footer(held) => match self.body.footer(&self.buffer.bytes()[unread])? {
                    Footer::NeedMore(bytes) => return Ok(self.wait(bytes)),
                    Footer::Verified(bytes) => {
                        self.begin += bytes;
                        self.totals.message_bytes += bytes as u64;
                        self.totals.frames = self.body.frames();
                        self.stage = Stage::End(held);
                    }
                },
                Stage::End(_) if unread.is_empty() => return Ok(self.wait(1)),
                Stage::End(_) => return Err(OpenError::TrailingBytes),
                Stage::Failed => return Err(FAILED_BEFORE),
            }
        }
    }

    fn wait(&mut self, bytes: usize) -> Option<Range<usize>> {
        self.need = bytes;
        None
    }

    /// Counts a frame, and says where its text stands.
    fn passed(&mut self, opened: &Opened) -> Range<usize> {
        let text = self.begin + opened.text.start..self.begin + opened.text.end;
        self.begin += opened.bytes;
        self.totals.message_bytes += opened.bytes as u64;
        self.totals.plaintext_bytes += text.len() as u64;
        text
    }
}

/// What every call after an error says: an input that went wrong does not become right.
const FAILED_BEFORE: OpenError = OpenError::Malformed {
    rule: "what came before was refused",
};
