//! Several threads do what one does: the same bytes, the same refusals, and an end in every case.
#![allow(clippy::panic, clippy::unwrap_used, reason = "test code")]

mod message_support;

use message_support::*;
use proptest::prelude::*;
use std::io::{self, Read, Write};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use waxseal::message::{
    Incoming, Limits, OpenError, OpenOptions, Opener, ReadAt, Release, SealError, SealOptions,
    Sealer, Sink, Source, Suite, Totals, WriteAt, seal_parallel, seal_stream,
};
use waxseal::{Entropy, EntropyError, RawAesKeyring, SecretBytes};

/// Plaintext bytes in a piece, as the pipeline cuts it.
fn piece_bytes(frame_bytes: u32) -> usize {
    let frame_bytes = frame_bytes as usize;
    (256 * 1024 / frame_bytes).clamp(1, 1024) * frame_bytes
}

/// Not random: two sealers of one test make the same message.
struct Fixed;

impl Entropy for Fixed {
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        out.fill(0x5a);
        Ok(())
    }
}

fn fixed_sealer(frame_bytes: u32) -> Sealer {
    let key = SecretBytes::new(vec![7; 32]);
    let keyring = RawAesKeyring::new("ns", "name", &key, Arc::new(Fixed)).unwrap();
    let options = SealOptions {
        frame_bytes: NonZeroU32::new(frame_bytes).unwrap(),
        ..SealOptions::default()
    };
    pollster::block_on(Sealer::new(&keyring, options, &Fixed)).unwrap()
}

/// Memory that is written by its places, a limited number of bytes at once.
struct Places {
    bytes: Mutex<Vec<u8>>,
    step_bytes: usize,
}

impl Places {
    fn new(step_bytes: usize) -> Self {
        let bytes = Mutex::new(Vec::new());
        Self { bytes, step_bytes }
    }

    fn upto(self, len: u64) -> Vec<u8> {
        let mut bytes = self.bytes.into_inner().unwrap();
        assert!(bytes.len() as u64 >= len);
        bytes.truncate(len as usize);
        bytes
    }
}

impl WriteAt for Places {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut all = self.bytes.lock().unwrap();
        let bytes = &bytes[..bytes.len().min(self.step_bytes)];
        let (from, to) = (offset as usize, offset as usize + bytes.len());
        if all.len() < to {
            all.resize(to, 0xee);
        }
        all[from..to].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

/// Which of source and sink are positioned.
const WAYS: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];

fn count(workers: usize) -> Option<NonZeroUsize> {
    NonZeroUsize::new(workers)
}

fn sealed_parallel(
    sealer: Sealer,
    plaintext: &[u8],
    (source_at, sink_at): (bool, bool),
    workers: usize,
) -> (Totals, Vec<u8>) {
    let mut reader = plaintext;
    let source = match source_at {
        true => Source::Positioned(&plaintext),
        false => Source::Stream(&mut reader),
    };
    let (places, mut stream) = (Places::new(usize::MAX), Vec::new());
    let sink = match sink_at {
        true => Sink::Withheld(&places),
        false => Sink::Stream(&mut stream),
    };
    let totals = seal_parallel(sealer, source, sink, count(workers)).unwrap();
    let message = match sink_at {
        true => places.upto(totals.message_bytes),
        false => stream,
    };
    (totals, message)
}

fn opener_of<R: Read>(message: R) -> Result<Opener<R>, OpenError> {
    let incoming = Incoming::read(message, &Limits::default())?;
    pollster::block_on(incoming.open(&keyring(), &OpenOptions::default()))
}

/// What opening says, and what left until then to a stream, or what stands at its places.
fn opened_parallel(
    message: &[u8],
    (source_at, sink_at): (bool, bool),
    workers: usize,
) -> (Result<Totals, OpenError>, Vec<u8>) {
    let opener = match opener_of(message) {
        Ok(opener) => opener,
        Err(error) => return (Err(error), Vec::new()),
    };
    let (places, mut stream) = (Places::new(usize::MAX), Vec::new());
    let sink = match sink_at {
        true => Sink::Withheld(&places),
        false => Sink::Stream(&mut stream),
    };
    let (release, workers) = (Release::Unverified, count(workers));
    let result = match source_at {
        true => opener.open_parallel_at(&message, sink, release, workers),
        false => opener.open_parallel(sink, release, workers),
    };
    let out = match (sink_at, &result) {
        (false, _) => stream,
        (true, Ok(totals)) => places.upto(totals.plaintext_bytes),
        (true, Err(_)) => Vec::new(),
    };
    (result, out)
}

#[test]
fn the_bytes_are_those_of_one_thread() {
    for frame_bytes in [1, 7, 128, 4096, 65_536, 1 << 20] {
        let (frame, piece) = (frame_bytes as usize, piece_bytes(frame_bytes));
        let mut sizes = vec![0, 1, frame - 1, frame, frame + 1];
        for pieces in [1, 2, 5] {
            let whole = pieces * piece;
            sizes.extend([
                whole - 1,
                whole,
                whole + 1,
                whole + frame,
                whole + frame + 1,
            ]);
        }
        for size in sizes {
            let plaintext = pattern(size);
            let mut serial = Vec::new();
            let sealer = fixed_sealer(frame_bytes);
            let expected = seal_stream(sealer, &mut &plaintext[..], &mut serial).unwrap();
            for (way, workers) in WAYS.into_iter().flat_map(|way| [(way, 1), (way, 3)]) {
                let what = format!("{frame_bytes} × {size}, {way:?}, {workers}");
                let sealer = fixed_sealer(frame_bytes);
                let (totals, message) = sealed_parallel(sealer, &plaintext, way, workers);
                assert_eq!(totals, expected, "{what}");
                assert!(message == serial, "{what}: other bytes");
                let (result, out) = opened_parallel(&serial, way, workers);
                assert_eq!(result.unwrap(), expected, "{what}");
                assert!(out == plaintext, "{what}: other plaintext");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn signed_and_not_goes_through_any_number_of_workers(
        suite in prop::sample::select(COMMITTING.to_vec()),
        (frame_bytes, size) in prop_oneof![
            (1u32..20, 0usize..60_000),
            (4000u32..70_000, 0usize..2_000_000),
        ],
        workers in 1usize..9,
        way in prop::sample::select(WAYS.to_vec()),
        back in prop::sample::select(WAYS.to_vec()),
    ) {
        let plaintext = pattern(size);
        let sealer = sealer(suite, frame_bytes);
        let foretold = sealer.message_bytes(size as u64);
        let (totals, message) = sealed_parallel(sealer, &plaintext, way, workers);
        prop_assert_eq!(Some(totals.message_bytes), foretold);
        prop_assert_eq!(message.len() as u64, totals.message_bytes);
        let (serial, out) = open(&message);
        prop_assert_eq!(serial.unwrap(), totals);
        prop_assert!(out == plaintext);
        let (result, out) = opened_parallel(&message, back, workers);
        prop_assert_eq!(result.unwrap(), totals);
        prop_assert!(out == plaintext);
    }

    #[test]
    fn streams_may_be_slow_and_interrupted(size in 0usize..200_000, step in 1000usize..40_000) {
        let plaintext = pattern(size);
        let mut reader = Dribble::new(&plaintext[..], step);
        let mut writer = Dribble::new(Vec::new(), step);
        let source = Source::Stream(&mut reader);
        let sink = Sink::Stream(&mut writer);
        seal_parallel(sealer(Suite::COMMITTING, 64), source, sink, count(4)).unwrap();
        let message = writer.inner;
        let opener = opener_of(Dribble::new(&message[..], step)).unwrap();
        let mut writer = Dribble::new(Vec::new(), step);
        let sink = Sink::Stream(&mut writer);
        opener.open_parallel(sink, Release::Unverified, count(4)).unwrap();
        prop_assert!(writer.inner == plaintext);
    }
}

#[test]
fn places_that_take_little_get_everything() {
    let plaintext = pattern(9000);
    let (message, places) = (Places::new(11), Places::new(11));
    let (source, sink) = (Source::Positioned(&plaintext), Sink::Withheld(&message));
    let totals = seal_parallel(sealer(Suite::COMMITTING, 3), source, sink, count(3)).unwrap();
    let message = message.upto(totals.message_bytes);
    let opener = opener_of(&message[..]).unwrap();
    let sink = Sink::Withheld(&places);
    let totals = opener
        .open_parallel_at(&message, sink, Release::Verified, count(3))
        .unwrap();
    assert!(places.upto(totals.plaintext_bytes) == plaintext);
}

/// One byte a frame makes a piece of 1,024 frames: five and a half pieces.
const SIZE: usize = 5 * 1024 + 512;
const SLOT: usize = 33;

/// Every way of opening refuses it as one thread does, with the same words; to a stream goes a
/// beginning of the plaintext and never all of it.
fn refused_alike(damaged: &[u8], what: &str) {
    let (serial, _) = open(damaged);
    let expected = format!("{:?}", serial.unwrap_err());
    let plaintext = pattern(SIZE);
    for (way, workers) in WAYS.into_iter().flat_map(|way| [(way, 2), (way, 5)]) {
        let (result, out) = opened_parallel(damaged, way, workers);
        let error = match result {
            Ok(_) => panic!("{what}: opened"),
            Err(error) => format!("{error:?}"),
        };
        assert_eq!(error, expected, "{what}, {way:?}, {workers}");
        assert!(plaintext.starts_with(&out) && out.len() < SIZE, "{what}");
    }
}

/// Frames at both sides of the edges between pieces, and some within.
const FRAMES: [usize; 10] = [0, 1, 700, 1022, 1023, 1024, 2047, 2048, 5000, SIZE - 2];

fn frame_at(message: &[u8], frame: usize) -> usize {
    let header = Incoming::read(message, &Limits::default()).unwrap();
    header.header().header_bytes() + frame * SLOT
}

#[test]
fn flipped_bits_are_refused_alike() {
    for suite in COMMITTING {
        let message = seal(suite, 1, &pattern(SIZE));
        for frame in FRAMES.into_iter().chain([SIZE - 1]) {
            // Sequence number, IV, text, tag; in the final frame its mark, number, IV and length.
            for byte in [0, 3, 4, 9, 15, 16, 17, 23, 32] {
                let mut damaged = message.clone();
                damaged[frame_at(&message, frame) + byte] ^= 0x10;
                refused_alike(&damaged, &format!("frame {frame}, byte {byte}"));
            }
        }
        // The end of the message: final tag, or the footer.
        for back in 1..=106.min(message.len()) {
            let mut damaged = message.clone();
            let at = message.len() - back;
            damaged[at] ^= 1;
            refused_alike(&damaged, &format!("{back} from the end"));
        }
    }
}

#[test]
fn truncations_and_additions_are_refused_alike() {
    for suite in COMMITTING {
        let message = seal(suite, 1, &pattern(SIZE));
        for frame in FRAMES.into_iter().chain([SIZE - 1]) {
            for more in [0, 1, 4, 16, 32] {
                let len = frame_at(&message, frame) + more;
                refused_alike(&message[..len], &format!("frame {frame} and {more} bytes"));
            }
        }
        for less in 1..150 {
            refused_alike(&message[..message.len() - less], &format!("{less} less"));
        }
        for more in [1, 8, 33, 200, 40_000] {
            let mut longer = message.clone();
            longer.resize(message.len() + more, 0xff);
            refused_alike(&longer, &format!("{more} more"));
            // Where a reader could take them for frames.
            let repeated = [&message[..], &message[..more.min(message.len())]].concat();
            refused_alike(&repeated, &format!("its beginning again, {more} bytes"));
        }
    }
}

#[test]
fn moved_frames_are_refused_alike() {
    for suite in COMMITTING {
        let message = seal(suite, 1, &pattern(SIZE));
        let other = seal(suite, 1, &pattern(SIZE));
        for frame in FRAMES {
            let at = frame_at(&message, frame);
            let slot = at..at + SLOT;
            let mut dropped = message.clone();
            dropped.drain(slot.clone());
            refused_alike(&dropped, &format!("frame {frame} dropped"));
            let mut twice = message.clone();
            twice.splice(at..at, message[slot.clone()].iter().copied());
            refused_alike(&twice, &format!("frame {frame} twice"));
            for with in FRAMES.into_iter().filter(|with| *with != frame) {
                let mut swapped = message.clone();
                let from = frame_at(&message, with);
                swapped[slot.clone()].copy_from_slice(&message[from..from + SLOT]);
                swapped[from..from + SLOT].copy_from_slice(&message[slot.clone()]);
                refused_alike(&swapped, &format!("frames {frame} and {with} swapped"));
            }
            let foreign = frame_at(&other, frame);
            let mut mixed = message.clone();
            mixed[slot].copy_from_slice(&other[foreign..foreign + SLOT]);
            refused_alike(&mixed, &format!("frame {frame} of another message"));
        }
        // Two faults: the first one counts, whichever thread finds one first.
        let mut twice = message.clone();
        twice[frame_at(&message, 4000) + 16] ^= 1;
        twice[frame_at(&message, 3000) + 3] ^= 1;
        refused_alike(&twice, "two faults");
    }
}

#[test]
fn a_final_frame_before_its_place_is_refused_alike() {
    for suite in COMMITTING {
        let message = seal(suite, 1, &pattern(SIZE));
        let last = frame_at(&message, SIZE - 1);
        for frame in FRAMES {
            let at = frame_at(&message, frame);
            let early = [&message[..at], &message[last..]].concat();
            refused_alike(&early, &format!("the end after frame {frame}"));
            let within = [&message[..at], &message[last..], &message[at..]].concat();
            refused_alike(&within, &format!("an end before frame {frame}"));
        }
    }
}

/// Fails once so many bytes went through.
struct Failing<T> {
    inner: T,
    left: usize,
}

impl<T: Read> Read for Failing<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let room = buffer.len().min(self.left);
        let read = self.inner.read(&mut buffer[..room])?;
        self.left -= read;
        Ok(read)
    }
}

impl<T: Write> Write for Failing<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let some = bytes.len().min(self.left);
        let written = self.inner.write(&bytes[..some])?;
        self.left -= written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Fails at the bytes from some place on.
struct FailingPlaces<'a> {
    bytes: &'a [u8],
    from: u64,
}

impl ReadAt for FailingPlaces<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset >= self.from {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let room = buffer.len().min((self.from - offset) as usize);
        self.bytes.read_at(&mut buffer[..room], offset)
    }
}

impl WriteAt for FailingPlaces<'_> {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        match offset >= self.from {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(bytes.len().min((self.from - offset) as usize)),
        }
    }
}

#[test]
fn sources_and_sinks_that_fail_end_it() {
    let plaintext = pattern(SIZE);
    let message = seal(Suite::COMMITTING_SIGNED, 1, &plaintext);
    for (workers, left) in [1, 2, 8]
        .into_iter()
        .flat_map(|n| [(n, 0), (n, 1500), (n, 5300)])
    {
        let workers = count(workers);
        let sealer = || sealer(Suite::COMMITTING_SIGNED, 1);
        let inner = &plaintext[..];
        let mut reader = Failing { inner, left };
        let (mut out, places) = (Vec::new(), Places::new(usize::MAX));
        let (source, sink) = (Source::Stream(&mut reader), Sink::Withheld(&places));
        let failed = seal_parallel(sealer(), source, sink, workers);
        assert!(
            matches!(failed, Err(SealError::Read(error)) if error.kind() == io::ErrorKind::ConnectionReset)
        );

        let bytes = &plaintext[..];
        let from = left as u64;
        let failing = FailingPlaces { bytes, from };
        let (source, sink) = (Source::Positioned(&failing), Sink::Stream(&mut out));
        let failed = seal_parallel(sealer(), source, sink, workers);
        assert!(matches!(failed, Err(SealError::Read(_))));

        let left = left * SLOT;
        let mut writer = Failing {
            inner: Vec::new(),
            left,
        };
        let (source, sink) = (Source::Positioned(&plaintext), Sink::Stream(&mut writer));
        let failed = seal_parallel(sealer(), source, sink, workers);
        assert!(
            matches!(failed, Err(SealError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe)
        );
        assert_eq!(writer.inner.len(), left);

        let from = left as u64;
        let failing = FailingPlaces { bytes, from };
        let (source, sink) = (Source::Positioned(&plaintext), Sink::Withheld(&failing));
        let failed = seal_parallel(sealer(), source, sink, workers);
        assert!(matches!(failed, Err(SealError::Write(_))));

        let opener = opener_of(&message[..]).unwrap();
        let left = left / SLOT;
        let mut writer = Failing {
            inner: Vec::new(),
            left,
        };
        let sink = Sink::Stream(&mut writer);
        let failed = opener.open_parallel(sink, Release::Unverified, workers);
        assert!(matches!(failed, Err(OpenError::Write(_))));
        assert!(plaintext.starts_with(&writer.inner) && writer.inner.len() == left);

        let bytes = &message[..];
        let from = (frame_at(&message, left) + 5) as u64;
        let failing = FailingPlaces { bytes, from };
        let opener = opener_of(bytes).unwrap();
        let sink = Sink::Withheld(&places);
        let failed = opener.open_parallel_at(&failing, sink, Release::Unverified, workers);
        assert!(matches!(failed, Err(OpenError::Read(_))));
    }
}

/// A file that has another length after some reads.
struct Changing<'a> {
    bytes: &'a [u8],
    before: usize,
    after: usize,
    reads: AtomicUsize,
    reads_before: usize,
}

impl ReadAt for Changing<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let reads = self.reads.fetch_add(1, Ordering::SeqCst);
        let len = match reads < self.reads_before {
            true => self.before,
            false => self.after,
        };
        self.bytes[..len].read_at(buffer, offset)
    }
}

#[test]
fn of_a_file_that_changes_its_length_a_beginning_is_sealed() {
    let plaintext = pattern(8 * 1024);
    let edges = [0, 1, 1023, 1024, 1025, 3000, 4096, 8192];
    for (before, after) in edges.into_iter().flat_map(|a| edges.map(|b| (a, b))) {
        for (workers, reads_before) in [(1, 3), (2, 4), (5, 6), (5, 1030)] {
            for suite in COMMITTING {
                let changing = Changing {
                    bytes: &plaintext,
                    before,
                    after,
                    reads: AtomicUsize::new(0),
                    reads_before,
                };
                let places = Places::new(usize::MAX);
                let (source, sink) = (Source::Positioned(&changing), Sink::Withheld(&places));
                let sealer = sealer(suite, 1);
                let totals = seal_parallel(sealer, source, sink, count(workers)).unwrap();
                let message = places.upto(totals.message_bytes);
                let (result, out) = open(&message);
                assert_eq!(result.unwrap(), totals, "{before} to {after}");
                assert!(plaintext.starts_with(&out));
                assert!(out.len() <= before.max(after) && out.len() >= before.min(after).min(1024));
            }
        }
    }
}

#[test]
fn a_signed_message_is_not_released_as_verified() {
    let message = seal(Suite::COMMITTING_SIGNED, 1, &pattern(SIZE));
    let opener = opener_of(&message[..]).unwrap();
    let mut out = Vec::new();
    let sink = Sink::Stream(&mut out);
    let refused = opener.open_parallel_at(&message, sink, Release::Verified, None);
    assert!(matches!(refused, Err(OpenError::SignedRelease)));
    assert!(out.is_empty());
}

#[test]
fn a_panic_in_a_sink_comes_out_and_leaves_nobody_waiting() {
    struct Panicking;
    impl Write for Panicking {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            assert!(bytes.len() < 20_000, "a sink fails");
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let plaintext = pattern(SIZE);
    let sealed = std::panic::catch_unwind(|| {
        let (source, mut sink) = (Source::Positioned(&plaintext), Panicking);
        let sealer = sealer(Suite::COMMITTING, 1);
        seal_parallel(sealer, source, Sink::Stream(&mut sink), count(4))
    });
    assert!(sealed.is_err());
}
