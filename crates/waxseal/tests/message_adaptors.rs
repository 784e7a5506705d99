//! Messages without I/O, and as readers and writers.
#![allow(clippy::panic, clippy::unwrap_used, reason = "test code")]

mod message_support;

use message_support::*;
use proptest::prelude::*;
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::rc::Rc;
use waxseal::message::{
    FRAME_BYTES_MAX_DEFAULT, HeaderIntake, Incoming, Limits, OpenError, OpenReader, Opening,
    Release, SealError, SealReader, SealWriter, Sealing, Suite, Totals,
};

fn pushed(suite: Suite, frame_bytes: u32, pieces: &[&[u8]]) -> (Vec<u8>, Totals) {
    let mut message = Vec::new();
    let mut sealing = Sealing::begin(sealer(suite, frame_bytes), &mut message);
    for piece in pieces {
        sealing.push(piece, &mut message).unwrap();
    }
    let totals = sealing.finish(&mut message).unwrap();
    (message, totals)
}

/// Opens a message that comes in pieces: through the machines, and what came out until the end.
fn taken(pieces: &[&[u8]]) -> (Result<Totals, OpenError>, Vec<u8>) {
    let mut plaintext = Vec::new();
    let result = take(pieces, &mut plaintext);
    (result, plaintext)
}

fn take(pieces: &[&[u8]], plaintext: &mut Vec<u8>) -> Result<Totals, OpenError> {
    let mut intake = HeaderIntake::new(&Limits::default());
    let mut opening: Option<Opening> = None;
    for piece in pieces {
        match &mut opening {
            Some(opening) => opening.push(piece, plaintext)?,
            None => {
                if let Some(incoming) = intake.push(piece)? {
                    let (keyring, options) = (keyring(), lenient());
                    let opener = pollster::block_on(incoming.open(&keyring, &options))?;
                    opening = Some(opener.into_opening(Release::Unverified)?);
                } else {
                    assert!(intake.missing_bytes() > 0);
                }
            }
        }
    }
    match opening {
        Some(opening) => opening.finish(plaintext),
        None => Err(OpenError::Truncated),
    }
}

fn reader_of<R: Read>(message: R, release: Release) -> Result<OpenReader<R>, OpenError> {
    let incoming = Incoming::read(message, &Limits::default())?;
    let opener = pollster::block_on(incoming.open(&keyring(), &lenient()))?;
    opener.into_reader(release)
}

fn pieces_of<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let ends = cuts.iter().copied().chain([bytes.len()]);
    let begins = [0].into_iter().chain(cuts.iter().copied());
    begins
        .zip(ends)
        .map(|(begin, end)| &bytes[begin..end])
        .collect()
}

proptest! {
    #[test]
    fn however_it_is_cut_it_is_one_message(
        suite in prop::sample::select(Suite::all().collect::<Vec<_>>()),
        frame_bytes in prop::sample::select(vec![1u32, 7, 128, 4096]),
        frames in 0..4usize,
        more in -1..2isize,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        message_cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let size = (frames * frame_bytes as usize).saturating_add_signed(more);
        let plaintext = pattern(size);
        let (message, totals) = pushed(suite, frame_bytes, &pieces_of(&plaintext, &cuts));
        // As long, and in as many frames, as the stream of the same plaintext.
        let expected = sealer(suite, frame_bytes).message_bytes(size as u64);
        prop_assert_eq!(Some(message.len() as u64), expected);
        let (result, out) = open(&message);
        prop_assert_eq!(result.unwrap(), totals);
        prop_assert!(out == plaintext);
        let (result, out) = taken(&pieces_of(&message, &message_cuts));
        prop_assert_eq!(result.unwrap(), totals);
        prop_assert!(out == plaintext);
    }

    #[test]
    fn readers_and_writers_agree_with_streams(
        suite in prop::sample::select(Suite::all().collect::<Vec<_>>()),
        frame_bytes in prop::sample::select(vec![1u32, 7, 128, 4096, 70_000]),
        size in 0..20_000usize,
        step_bytes in prop::sample::select(vec![1usize, 13, 5000, 1 << 20]),
    ) {
        let plaintext = pattern(size);
        let mut writer = SealWriter::new(
            sealer(suite, frame_bytes),
            Dribble::new(Vec::new(), step_bytes.max(13)),
        );
        for piece in plaintext.chunks(step_bytes) {
            writer.write_all(piece).unwrap();
        }
        let (written, totals) = writer.finish().unwrap();
        let written = written.inner;
        prop_assert_eq!(totals.message_bytes, written.len() as u64);
        prop_assert!(open(&written).1 == plaintext);

        let source = Dribble::new(&plaintext[..], step_bytes);
        let mut sealing = SealReader::new(sealer(suite, frame_bytes), source);
        let mut read = Vec::new();
        sealing.read_to_end(&mut read).unwrap();
        prop_assert_eq!(sealing.totals(), Some(open(&read).0.unwrap()));
        prop_assert_eq!(read.len(), written.len());

        let message = Dribble::new(&read[..], step_bytes);
        let mut reader = reader_of(message, Release::Unverified).unwrap();
        let mut out = Vec::new();
        reader.read_to_end(&mut out).unwrap();
        prop_assert!(out == plaintext);
        prop_assert_eq!(reader.totals(), sealing.totals());
        prop_assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }
}

const PLAINTEXT_BYTES: usize = 200;

/// Neither machines nor readers succeed; what leaves is a beginning, never all of it.
fn refused(message: &[u8], what: &str) {
    let plaintext = pattern(PLAINTEXT_BYTES);
    for piece_bytes in [1, 50, message.len().max(1)] {
        let pieces: Vec<_> = message.chunks(piece_bytes).collect();
        let (result, out) = taken(&pieces);
        assert!(result.is_err(), "{what}");
        assert!(
            out.len() < plaintext.len() && plaintext.starts_with(&out),
            "{what}"
        );
    }
    let Ok(mut reader) = reader_of(message, Release::Unverified) else {
        return;
    };
    let mut out = Vec::new();
    let error = reader.read_to_end(&mut out).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{what}");
    assert!(
        out.len() < plaintext.len() && plaintext.starts_with(&out),
        "{what}"
    );
    assert!(reader.totals().is_none());
    // It does not become right.
    assert!(reader.read(&mut [0]).is_err(), "{what}");
}

#[test]
fn altered_messages_are_refused() {
    for suite in COMMITTING {
        let sealed = seal(suite, 64, &pattern(PLAINTEXT_BYTES));
        for bit in 0..sealed.len() * 8 {
            let mut altered = sealed.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            refused(&altered, &format!("{suite:?}, bit {bit}"));
        }
        for len in 0..sealed.len() {
            refused(&sealed[..len], &format!("{suite:?}, {len} bytes"));
        }
        for more in [&[0][..], &[0xff; 5000], &sealed] {
            refused(&[&sealed, more].concat(), "trailing bytes");
        }
    }
}

#[test]
fn signed_messages_are_read_by_those_who_say_so() {
    let sealed = seal(Suite::COMMITTING_SIGNED, 64, &pattern(PLAINTEXT_BYTES));
    let refused = reader_of(&sealed[..], Release::Verified);
    assert!(matches!(refused, Err(OpenError::SignedRelease)));
}

#[test]
fn what_is_verified_is_given_before_the_error() {
    let plaintext = pattern(PLAINTEXT_BYTES);
    let mut sealed = seal(Suite::COMMITTING, 64, &plaintext);
    // The third of four frames.
    let at = sealed.len() - (40 + 8) - 32;
    sealed[at] ^= 1;
    let mut reader = reader_of(&sealed[..], Release::Verified).unwrap();
    let mut out = [0; PLAINTEXT_BYTES];
    assert_eq!(reader.read(&mut out).unwrap(), 128);
    assert_eq!(out[..128], plaintext[..128]);
    let error = OpenError::from_io(reader.read(&mut out).unwrap_err());
    assert!(matches!(error, OpenError::Unauthentic));
    assert!(reader.read(&mut out).is_err());
}

/// Fails now and then, without having taken or given anything.
struct Flaky<T> {
    inner: T,
    calls: usize,
    is_well: Rc<Cell<bool>>,
}

impl<T> Flaky<T> {
    fn new(inner: T) -> Self {
        Self {
            inner,
            calls: 0,
            is_well: Rc::default(),
        }
    }

    fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        match self.calls % 3 {
            0 if !self.is_well.get() => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(()),
        }
    }
}

impl<T: Read> Read for Flaky<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.call()?;
        let upto = buffer.len().min(100);
        self.inner.read(&mut buffer[..upto])
    }
}

impl<T: Write> Write for Flaky<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.call()?;
        self.inner.write(&bytes[..bytes.len().min(100_000)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Reads to the end, asking again when there was nothing yet.
fn patiently(mut reader: impl Read) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let mut piece = [0; 1000];
        match reader.read(&mut piece) {
            Ok(0) => return out,
            Ok(read) => out.extend_from_slice(&piece[..read]),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
}

#[test]
fn errors_beneath_do_no_harm_to_going_on() {
    let plaintext = pattern(3_000_000);
    for suite in COMMITTING {
        let sink = Flaky::new(Vec::new());
        let is_well = sink.is_well.clone();
        let mut writer = SealWriter::new(sealer(suite, 4096), sink);
        let mut rest = &plaintext[..];
        while !rest.is_empty() {
            match writer.write(rest) {
                Ok(taken) => rest = &rest[taken..],
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        while writer.flush().is_err() {}
        is_well.set(true);
        let (message, _) = writer.finish().unwrap();
        let message = message.inner;
        assert!(open(&message).1 == plaintext);

        let sealed = SealReader::new(sealer(suite, 4096), Flaky::new(&plaintext[..]));
        assert!(open(&patiently(sealed)).1 == plaintext);

        // The header is read at once, and the body by and by.
        let body = Incoming::read(&message[..], &Limits::default()).unwrap();
        let header_bytes = body.header().header_bytes();
        let (header, body) = message.split_at(header_bytes);
        let source = header.chain(Flaky::new(body));
        let reader = reader_of(source, Release::Unverified);
        // 4,096 bytes are asked for with the header, which ends the first part.
        assert!(patiently(reader.unwrap()) == plaintext);
    }
}

#[test]
fn an_unfinished_message_is_truncated() {
    for suite in COMMITTING {
        let plaintext = pattern(PLAINTEXT_BYTES);
        let mut message = Vec::new();
        {
            let mut writer = SealWriter::new(sealer(suite, 50), &mut message);
            writer.write_all(&plaintext).unwrap();
            writer.flush().unwrap();
        }
        let (result, out) = open(&message);
        assert!(matches!(result, Err(OpenError::Truncated)));
        // All four frames are there; the final one, which says so, is not.
        assert_eq!(out, plaintext);
    }
}

#[test]
fn a_failed_sink_fails_the_message() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut writer = SealWriter::new(sealer(Suite::COMMITTING, 50), Full);
    writer.write_all(b"text").unwrap();
    assert_eq!(
        writer.flush().unwrap_err().kind(),
        io::ErrorKind::StorageFull
    );
    assert!(matches!(writer.finish(), Err(SealError::Write(_))));
}

#[test]
fn memory_grows_with_what_came() {
    let frame_bytes = FRAME_BYTES_MAX_DEFAULT as u32;
    let sealed = seal(Suite::COMMITTING, frame_bytes, &pattern(100_000));
    struct Watched<R>(R, usize);
    impl<R: Read> Read for Watched<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = self.1.max(buffer.len());
            self.0.read(buffer)
        }
    }
    let mut watched = Watched(&sealed[..], 0);
    let mut reader = reader_of(&mut watched, Release::Verified).unwrap();
    let mut out = Vec::new();
    reader.read_to_end(&mut out).unwrap();
    drop(reader);
    assert!(out == pattern(100_000));
    assert!(watched.1 <= 4 * 100_000, "{}", watched.1);
}

#[test]
fn the_intake_goes_from_message_to_message() {
    let (one, two) = (
        seal(Suite::COMMITTING, 64, b"one"),
        seal(Suite::COMMITTING, 64, b"two"),
    );
    let mut intake = HeaderIntake::new(&Limits::default());
    for message in [one, two] {
        let mut bytes = message.iter();
        let incoming = loop {
            let byte = [*bytes.next().unwrap()];
            if let Some(incoming) = intake.push(&byte).unwrap() {
                break incoming;
            }
        };
        let header_bytes = incoming.header().header_bytes();
        assert_eq!(header_bytes, message.len() - bytes.len());
        assert_eq!(incoming.header().bytes(), &message[..header_bytes]);
    }
}
