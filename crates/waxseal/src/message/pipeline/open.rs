//! Opening by several threads.

use super::order::{Order, Turn};
use super::{BUFFERS_BYTES_MAX, Delivery, Sink, Source, Supply};
use crate::message::buffer::Chunk;
use crate::message::error::OpenError;
use crate::message::frame;
use crate::message::incoming::Opener;
use crate::message::opener::{FOOTER_BYTES_MAX, Footer, Frames, Shape, Signature, footer};
use crate::message::positioned::{OntoPlace, ReadAt};
use crate::message::window::Window;
use crate::message::{Release, Totals};
use std::io::{Cursor, Read};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What may follow the place of a last frame that has a regular one's length: what a final frame
/// has more, the footer, and one byte that must not be there.
const BEYOND_BYTES: usize =
    frame::FINAL_OVERHEAD_BYTES - frame::OVERHEAD_BYTES + FOOTER_BYTES_MAX + 1;

impl<R: Read + Send> Opener<R> {
    /// Writes the plaintext as [`Opener::open_stream`] does, with several threads where the
    /// message is long enough. `workers` is how many; `None` is the number of cores.
    ///
    /// # Errors
    /// [`OpenError`]: the first in the order of the message. To a stream went until then what
    /// came from frames that verified, in their order.
    pub fn open_parallel(
        self,
        plaintext: Sink<'_>,
        release: Release,
        workers: Option<NonZeroUsize>,
    ) -> Result<Totals, OpenError> {
        if self.has_long_frames() {
            return self.open_serial(plaintext, release);
        }
        self.refuse_release(release)?;
        let Self {
            reader,
            header,
            ahead,
            body,
        } = self;
        let mut rest = Cursor::new(ahead).chain(reader);
        let source = Source::Stream(&mut rest);
        let parts = body.into_parts();
        open(source, header.header_bytes(), parts, plaintext, workers)
    }

    /// The same where the message can be read by its places: `message` is the whole of it, from
    /// the first byte of its header on. The reader that the header came from is not read further.
    ///
    /// Should `message` be another one than the header came from, nothing in it verifies.
    ///
    /// # Errors
    /// As [`Opener::open_parallel`].
    pub fn open_parallel_at(
        self,
        message: &dyn ReadAt,
        plaintext: Sink<'_>,
        release: Release,
        workers: Option<NonZeroUsize>,
    ) -> Result<Totals, OpenError> {
        if self.has_long_frames() {
            return self.open_serial(plaintext, release);
        }
        self.refuse_release(release)?;
        let source = Source::Positioned(message);
        let header_bytes = self.header.header_bytes();
        open(
            source,
            header_bytes,
            self.body.into_parts(),
            plaintext,
            workers,
        )
    }

    /// No frames, or longer ones than one worker may hold, or than the limits allow: these are
    /// looked at before they are read as a whole.
    fn has_long_frames(&self) -> bool {
        match self.header.frame_bytes() {
            None => true,
            Some(bytes) => {
                let bytes = bytes.get() as usize;
                bytes > BUFFERS_BYTES_MAX || !self.body.admits(bytes)
            }
        }
    }

    fn open_serial(self, plaintext: Sink<'_>, release: Release) -> Result<Totals, OpenError> {
        match plaintext {
            Sink::Stream(writer) => self.open_stream(writer, release),
            Sink::Withheld(sink) => self.open_stream(&mut OntoPlace { sink, offset: 0 }, release),
        }
    }
}

fn open(
    message: Source<'_>,
    header_bytes: usize,
    (frames, signature): (Frames, Option<Signature>),
    plaintext: Sink<'_>,
    workers: Option<NonZeroUsize>,
) -> Result<Totals, OpenError> {
    let frame_bytes = frames.frame_bytes().map_or(1, |bytes| bytes.get() as usize);
    let line = Line {
        order: Order::new(),
        piece: super::piece_of(frame_bytes, frame::OVERHEAD_BYTES, signature.is_some()),
        frames,
        body_at: header_bytes as u64,
        is_signed: signature.is_some(),
        signature: Mutex::new(signature),
        message: Supply::new(message),
        plaintext: Delivery::new(plaintext),
    };
    let count = || super::workers(workers, line.piece);
    let make = |long| match long {
        true => Worker::new(line.piece.bytes() + BEYOND_BYTES),
        false => Worker::new(0),
    };
    super::run(count, &line.order, make, |worker| line.step(worker));
    match line.order.take_end() {
        Some(Ok((at, worker))) => line.finish(at, worker),
        Some(Err(error)) => Err(error),
        None => Err(OpenError::Unauthentic),
    }
}

/// What the workers share.
struct Line<'i, 'o> {
    /// The message ends with the piece that is not full of regular frames.
    order: Order<Result<(u64, Worker), OpenError>>,
    piece: Chunk,
    frames: Frames,
    /// Where the frames begin in the message.
    body_at: u64,
    is_signed: bool,
    signature: Mutex<Option<Signature>>,
    message: Supply<'i, ()>,
    plaintext: Delivery<'o>,
}

/// What a worker has for itself.
struct Worker {
    window: Window,
    shapes: Vec<Shape>,
    parts: Vec<Range<usize>>,
}

impl Worker {
    /// With memory for so many bytes; it grows.
    fn new(bytes: usize) -> Self {
        let mut window = Window::new(&[]);
        window.buffer.reserve(bytes);
        Self {
            window,
            shapes: Vec::new(),
            parts: Vec::new(),
        }
    }
}

/// What a piece looks like before any of it is opened.
struct Outline {
    /// Bytes of all its frames.
    bytes: usize,
    is_last: bool,
    /// What is wrong after these frames.
    fault: Option<OpenError>,
}

impl Line<'_, '_> {
    /// Goes through one piece; whether there may be more.
    fn step(&self, worker: &mut Worker) -> bool {
        let window = &mut worker.window;
        let taken = self.message.take(
            &self.order,
            |at| self.place(at),
            |reader, ()| {
                window.begin();
                window.fill(reader, self.piece.bytes())?;
                if !window.at_end && !self.has_final_mark(window.unread()) {
                    return Ok(true);
                }
                window.fill(reader, self.piece.bytes() + BEYOND_BYTES)?;
                Ok(false)
            },
        );
        let Some((at, read)) = taken else {
            return false;
        };
        let passed = match read {
            Err(error) => Err(OpenError::Read(error)),
            Ok(true) => self.pass(at, worker),
            Ok(false) => {
                let last = std::mem::replace(worker, Worker::new(0));
                self.order.end(at, Ok((at, last)));
                return false;
            }
        };
        match passed {
            Ok(passed) => passed.is_some(),
            Err(error) => {
                self.order.end(at, Err(error));
                false
            }
        }
    }

    /// A piece of regular frames. `None`: an earlier piece ended the message.
    fn pass(&self, at: u64, worker: &mut Worker) -> Result<Option<()>, OpenError> {
        let outline = self.measure(at, worker);
        if self.is_signed && outline.fault.is_none() {
            let hash = || {
                self.hash(&worker.window.unread()[..outline.bytes]);
                Ok::<_, OpenError>(())
            };
            if self.order.in_turn(Turn::Hash, at, hash)?.is_none() {
                return Ok(None);
            }
        }
        self.open(at, worker, outline.fault)?;
        let written = self
            .plaintext
            .write(&self.order, at, self.text_place(at), |out| {
                worker.window.buffer.write_parts(&worker.parts, out)
            });
        written.map_err(OpenError::Write)
    }

    /// The piece with the final frame, and the footer. All before it are opened and written, and
    /// nobody else writes. What is written here is so only when nothing is left to verify.
    fn finish(&self, at: u64, mut worker: Worker) -> Result<Totals, OpenError> {
        let outline = self.measure(at, &mut worker);
        self.hash(&worker.window.unread()[..outline.bytes]);
        self.open(at, &mut worker, outline.fault)?;
        let Worker {
            window,
            shapes,
            parts,
        } = worker;
        if !outline.is_last {
            return Err(OpenError::Truncated);
        }
        let rest = &window.unread()[outline.bytes..];
        let footer_bytes = close(rest, window.at_end, self.signature().take())?;
        let written = self.plaintext.write_last(self.text_place(at), |out| {
            window.buffer.write_parts(&parts, out)
        });
        written.map_err(OpenError::Write)?;
        let text_bytes: usize = parts.iter().map(Range::len).sum();
        Ok(Totals {
            plaintext_bytes: self.text_place(at) + text_bytes as u64,
            message_bytes: self.place(at) + (outline.bytes + footer_bytes) as u64,
            frames: self.number(at, shapes.len().saturating_sub(1)),
        })
    }

    /// Whether a final frame begins where frames of this message begin.
    fn has_final_mark(&self, bytes: &[u8]) -> bool {
        let mark = frame::FINAL_MARK.to_be_bytes();
        let mut slots = bytes.chunks(self.piece.slot_bytes);
        slots.any(|slot| slot.starts_with(&mark))
    }

    /// Finds the frames of a piece, which begins at the window's front.
    fn measure(&self, at: u64, worker: &mut Worker) -> Outline {
        let Worker { window, shapes, .. } = worker;
        shapes.clear();
        let mut outline = Outline {
            bytes: 0,
            is_last: false,
            fault: None,
        };
        while shapes.len() < self.piece.slots && !outline.is_last {
            let rest = &window.unread()[outline.bytes..];
            let shape = match self.frames.measure(self.number(at, shapes.len()), rest) {
                Ok(Shape::NeedMore(_)) => Err(OpenError::Truncated),
                other => other,
            };
            match shape {
                Ok(shape) => {
                    if let Shape::Regular(bytes) | Shape::Last(bytes) = shape {
                        outline.bytes += bytes;
                    }
                    outline.is_last = matches!(shape, Shape::Last(_));
                    shapes.push(shape);
                }
                Err(fault) => {
                    outline.fault = Some(fault);
                    break;
                }
            }
        }
        outline
    }

    /// Opens the frames that were measured, and only then says what is wrong after them.
    fn open(
        &self,
        at: u64,
        worker: &mut Worker,
        fault: Option<OpenError>,
    ) -> Result<(), OpenError> {
        let Worker {
            window,
            shapes,
            parts,
        } = worker;
        parts.clear();
        let mut from = 0;
        for (place, shape) in shapes.iter().enumerate() {
            let bytes = &mut window.unread_mut()[from..];
            let text = self.frames.open(self.number(at, place), *shape, bytes)?;
            parts.push(from + text.start..from + text.end);
            if let Shape::Regular(bytes) | Shape::Last(bytes) = shape {
                from += bytes;
            }
        }
        fault.map_or(Ok(()), Err)
    }

    /// Where a piece begins in the message.
    fn place(&self, at: u64) -> u64 {
        self.body_at + at * self.piece.bytes() as u64
    }

    /// Where its plaintext begins.
    fn text_place(&self, at: u64) -> u64 {
        at * self.piece.text_bytes() as u64
    }

    fn hash(&self, frames: &[u8]) {
        if let Some((_, hasher)) = self.signature().as_mut() {
            hasher.update(frames);
        }
    }

    /// The sequence number of a frame of a piece. There is none beyond the highest: a piece before
    /// one that would need it has ended the message.
    fn number(&self, at: u64, place: usize) -> u32 {
        let number = at * self.piece.slots as u64 + place as u64 + 1;
        u32::try_from(number).unwrap_or(u32::MAX)
    }

    fn signature(&self) -> MutexGuard<'_, Option<Signature>> {
        self.signature
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Verifies the footer, and that nothing follows it. Returns the footer's length.
fn close(rest: &[u8], at_end: bool, mut signature: Option<Signature>) -> Result<usize, OpenError> {
    let footer_bytes = match footer(&mut signature, rest)? {
        Footer::Verified(bytes) => bytes,
        Footer::NeedMore(_) => return Err(OpenError::Truncated),
    };
    match rest.len() == footer_bytes && at_end {
        true => Ok(footer_bytes),
        false => Err(OpenError::TrailingBytes),
    }
}
