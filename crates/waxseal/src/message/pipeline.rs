//! Messages sealed and opened by several threads.
//!
//! A message is cut into pieces of whole frames. Each worker has one buffer, into which it takes
//! the next piece, seals or opens it where it stands, and writes it. What must happen in the
//! order of the message happens in turns ([`order::Order`]): reading from a stream, hashing for
//! the signature, writing to a stream. What has its own place does not: a file is read and written
//! by all workers at once.
//!
//! ```text
//! worker 1   take 0 │ seal 0 │ write 0 │ take 2 │ …
//! worker 2            take 1 │ seal 1  │ write 1 │ take 3 │ …
//! ```
//!
//! No queues, and no buffer changes hands: a piece stays in the cache of the core that took it.
//! The worker with the first piece never waits for another one, so there is no deadlock; a piece
//! that ends the message, or fails, lets all that come after it go, while those before it are
//! finished. What counts is the first piece in the order of the message which ended or failed, as
//! if one thread had done it all. The last piece is sealed or opened by the calling thread alone,
//! when everything before it has been written.
//!
//! Nobody needs to know a length beforehand: a source ends where a read says so. When a file
//! changes meanwhile, a message holds what the file had up to the first end that was met, in the
//! order of the file, and it is a whole message; what other workers had written beyond is not
//! part of it (see [`Sink::Withheld`]).
//!
//! Memory: a buffer of about [`PIECE_BYTES`] a worker, or one frame where frames are longer, and
//! no more workers than fit into [`BUFFERS_BYTES_MAX`]. The first piece is gone through before the
//! other threads start: short messages have none.

mod open;
mod order;
mod seal;

pub use seal::seal_parallel;

use super::buffer::Chunk;
use super::positioned::{FromPlace, OntoPlace, ReadAt, WriteAt};
use order::{Order, Turn};
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Plaintext bytes in a piece: what stays in a core's second-level cache.
const PIECE_BYTES: usize = 256 * 1024;
/// The same where pieces are hashed for a signature. All wait for the hash, and it waits when one
/// worker hands over to another one: so they do it less often.
const SIGNED_PIECE_BYTES: usize = 1024 * 1024;
/// What all buffers have together; one buffer may be longer.
const BUFFERS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// More threads than this move no more bytes.
const WORKERS_MAX: usize = 16;

/// Where bytes come from.
pub enum Source<'a> {
    /// One after the other.
    Stream(&'a mut (dyn Read + Send)),
    /// From their places, from 0 on, by several threads at once.
    Positioned(&'a dyn ReadAt),
}

/// Where bytes go.
pub enum Sink<'a> {
    /// One after the other.
    Stream(&'a mut (dyn Write + Send)),
    /// To their places, from 0 on, in any order and by several threads at once. **Nobody may see
    /// any of it before the call returned well**, and then what stands beyond the length in
    /// [`Totals`](super::Totals) must be cut off: when a source becomes shorter, the end may be
    /// found by one thread while another one has written what came after it.
    Withheld(&'a dyn WriteAt),
}

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stream(_) => "Source::Stream",
            Self::Positioned(_) => "Source::Positioned",
        })
    }
}

impl std::fmt::Debug for Sink<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stream(_) => "Sink::Stream",
            Self::Withheld(_) => "Sink::Withheld",
        })
    }
}

/// The pieces of messages with this frame length.
fn piece_of(frame_bytes: usize, overhead_bytes: usize, is_signed: bool) -> Chunk {
    let piece_bytes = match is_signed {
        true => SIGNED_PIECE_BYTES,
        false => PIECE_BYTES,
    };
    Chunk::within(piece_bytes, frame_bytes, overhead_bytes)
}

/// How many workers there are: as many as asked for, or as there are cores, but not more than
/// their buffers may take. Asked when more than one is needed: finding out the number of cores
/// takes as long as sealing a short message.
fn workers(asked: Option<NonZeroUsize>, piece: Chunk) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let fitting = (BUFFERS_BYTES_MAX / piece.bytes()).clamp(1, WORKERS_MAX);
    asked.map_or_else(cores, NonZeroUsize::get).min(fitting)
}

/// Lets workers go through pieces until the end. `make` makes what one of them works with; it is
/// told whether the source is known to fill a piece. `step` goes through one piece and says whether
/// there may be more.
fn run<W, T: Send>(
    workers: impl FnOnce() -> usize,
    order: &Order<T>,
    make: impl Fn(bool) -> W + Sync,
    step: impl Fn(&mut W) -> bool + Sync,
) {
    let mut first = make(false);
    if !step(&mut first) {
        return;
    }
    let work = |own: &mut W| {
        let _alarm = order.alarm();
        while step(own) {}
    };
    std::thread::scope(|scope| {
        for _ in 1..workers() {
            let worker = std::thread::Builder::new().name("frames".into());
            // With fewer threads it takes longer.
            if worker
                .spawn_scoped(scope, || work(&mut make(true)))
                .is_err()
            {
                break;
            }
        }
        work(&mut first);
    });
}

/// Where workers take their pieces from.
enum Supply<'a, C> {
    /// Whoever has the lock reads; `C` is what one piece leaves for the next.
    Stream(Mutex<Stream<'a, C>>),
    Positioned {
        source: &'a dyn ReadAt,
        /// The next piece that nobody has.
        next: AtomicU64,
    },
}

struct Stream<'a, C> {
    reader: &'a mut (dyn Read + Send),
    /// The next piece; `None` when there is none.
    next: Option<u64>,
    carry: C,
}

impl<'a, C: Default> Supply<'a, C> {
    fn new(source: Source<'a>) -> Self {
        match source {
            Source::Stream(reader) => Self::Stream(Mutex::new(Stream {
                reader,
                next: Some(0),
                carry: C::default(),
            })),
            Source::Positioned(source) => Self::Positioned {
                source,
                next: AtomicU64::new(0),
            },
        }
    }

    /// Takes the next piece, if there is one. `place` says where a piece begins in the source;
    /// `fill` reads it and says whether there is more after it.
    fn take<T>(
        &self,
        order: &Order<T>,
        place: impl FnOnce(u64) -> u64,
        fill: impl FnOnce(&mut dyn Read, &mut C) -> io::Result<bool>,
    ) -> Option<(u64, io::Result<bool>)> {
        match self {
            Self::Stream(stream) => {
                let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
                let stream = &mut *stream;
                let at = stream.next.take().filter(|at| !order.is_beyond(*at))?;
                let filled = fill(&mut *stream.reader, &mut stream.carry);
                if matches!(filled, Ok(true)) {
                    stream.next = Some(at + 1);
                }
                Some((at, filled))
            }
            Self::Positioned { source, next } => {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if order.is_beyond(at) {
                    return None;
                }
                let mut reader = FromPlace {
                    source: *source,
                    offset: place(at),
                };
                Some((at, fill(&mut reader, &mut C::default())))
            }
        }
    }
}

/// Where workers leave their pieces.
enum Delivery<'a> {
    Stream(Mutex<&'a mut (dyn Write + Send)>),
    Withheld(&'a dyn WriteAt),
}

impl<'a> Delivery<'a> {
    fn new(sink: Sink<'a>) -> Self {
        match sink {
            Sink::Stream(writer) => Self::Stream(Mutex::new(writer)),
            Sink::Withheld(sink) => Self::Withheld(sink),
        }
    }

    /// Writes a piece at its place or in its turn. `None`: an earlier piece ended the message.
    fn write<T>(
        &self,
        order: &Order<T>,
        at: u64,
        place: u64,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<Option<()>> {
        match self {
            Self::Stream(writer) => {
                let in_turn = || {
                    let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                    write(&mut **writer)
                };
                order.in_turn(Turn::Write, at, in_turn)
            }
            Self::Withheld(sink) => {
                let mut onto = OntoPlace {
                    sink: *sink,
                    offset: place,
                };
                write(&mut onto).map(Some)
            }
        }
    }

    /// Writes the last piece, when all others are done.
    fn write_last(
        &self,
        place: u64,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        match self {
            Self::Stream(writer) => {
                let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                write(&mut **writer)?;
                writer.flush()
            }
            Self::Withheld(sink) => write(&mut OntoPlace {
                sink: *sink,
                offset: place,
            }),
        }
    }
}

/// Writes what comes before all pieces.
fn write_first(sink: &mut Sink<'_>, bytes: &[u8]) -> io::Result<()> {
    match sink {
        Sink::Stream(writer) => writer.write_all(bytes),
        Sink::Withheld(sink) => OntoPlace {
            sink: *sink,
            offset: 0,
        }
        .write_all(bytes),
    }
}
