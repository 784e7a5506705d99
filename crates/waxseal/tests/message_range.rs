//! Ranges: each equals the slice of the plaintext, costs its own frames, and is verified.
#![allow(clippy::panic, clippy::unwrap_used, reason = "test code")]

mod message_support;

use message_support::*;
use proptest::prelude::*;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use waxseal::message::{Incoming, Limits, OpenError, OpenOptions, RangeReader, SignedRange, Suite};

const SLOT_OVERHEAD_BYTES: usize = 32;

fn reader_within<R: Read + Seek>(
    message: R,
    signed: SignedRange,
    limits: &Limits,
) -> Result<RangeReader<R>, OpenError> {
    let incoming = Incoming::read(message, limits)?;
    let opener = pollster::block_on(incoming.open(&keyring(), &lenient()))?;
    opener.into_range_reader(signed)
}

fn reader<R: Read + Seek>(message: R) -> Result<RangeReader<R>, OpenError> {
    let signed = SignedRange::SignatureUnchecked;
    reader_within(message, signed, &Limits::default())
}

fn header_bytes(message: &[u8]) -> usize {
    let incoming = Incoming::read(message, &Limits::default()).unwrap();
    incoming.header().header_bytes()
}

/// Lengths around the multiples of a frame length.
fn sizes(frame_bytes: usize) -> Vec<usize> {
    let around = |frames: usize| {
        let middle = frames * frame_bytes;
        [middle.saturating_sub(1), middle, middle + 1]
    };
    let mut sizes: Vec<usize> = [0, 1, 2, 3].into_iter().flat_map(around).collect();
    sizes.dedup();
    sizes
}

#[test]
fn every_range_of_short_plaintexts() {
    for suite in Suite::all() {
        for frame_bytes in [1, 7] {
            for size in sizes(frame_bytes) {
                let plaintext = pattern(size);
                let sealed = seal(suite, frame_bytes as u32, &plaintext);
                let mut reader = reader(Cursor::new(&sealed)).unwrap();
                assert_eq!(reader.plaintext_bytes(), size as u64);
                for start in 0..=size {
                    for end in start..=size + 2 {
                        check(&mut reader, &plaintext, start, end);
                    }
                }
            }
        }
    }
}

/// By copying, and by seeking and reading.
fn check<R: Read + Seek>(reader: &mut RangeReader<R>, plaintext: &[u8], start: usize, end: usize) {
    let expected = &plaintext[start..end.min(plaintext.len()).max(start)];
    let mut copied = Vec::new();
    let bytes = reader
        .copy_range(start as u64..end as u64, &mut copied)
        .unwrap();
    assert_eq!(copied, expected);
    assert_eq!(bytes, expected.len() as u64);
    let mut read = Vec::new();
    reader.seek(SeekFrom::Start(start as u64)).unwrap();
    reader
        .take((end - start) as u64)
        .read_to_end(&mut read)
        .unwrap();
    assert_eq!(read, expected);
}

proptest! {
    #[test]
    fn any_range_is_the_slice(
        suite in prop::sample::select(Suite::all().collect::<Vec<_>>()),
        (frame_bytes, size) in prop::sample::select(vec![1usize, 7, 128, 4096])
            .prop_flat_map(|frame_bytes| (Just(frame_bytes), prop::sample::select(sizes(frame_bytes)))),
        ranges in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..8),
    ) {
        let plaintext = pattern(size);
        let sealed = seal(suite, frame_bytes as u32, &plaintext);
        let mut reader = reader(Cursor::new(sealed)).unwrap();
        for (one, other) in ranges {
            let (one, other) = (one.index(size + 1), other.index(size + 1));
            check(&mut reader, &plaintext, one.min(other), one.max(other));
        }
    }
}

/// Bodies that our own sealer does not write and published messages have, under a data key that is
/// known.
mod forge {
    use super::*;
    use std::num::NonZeroU32;
    use waxseal::message::{SealOptions, Sealer};
    use waxseal::{DataKey, EncryptedDataKey, EncryptionContext, Keyring, KeyringError};
    use waxseal::{SecretBytes, SystemEntropy};
    use waxseal_core::crypto::aead::AesGcm;
    use waxseal_core::crypto::kdf::{self, HkdfHash};
    use waxseal_core::keyring::{BoxFuture, Generated, Unwrapped};

    pub(super) struct Known;

    const DATA_KEY: [u8; 32] = [9; 32];

    impl Keyring for Known {
        fn generate<'a>(
            &'a self,
            _: usize,
            _: &'a EncryptionContext,
        ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
            Box::pin(async {
                Ok(Generated {
                    key: DataKey::new(SecretBytes::copy_of(&DATA_KEY)),
                    encrypted: vec![EncryptedDataKey::bare(vec![1])],
                })
            })
        }

        fn wrap<'a>(
            &'a self,
            _: &'a DataKey,
            _: &'a EncryptionContext,
        ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>> {
            unreachable!("nothing is wrapped twice")
        }

        fn unwrap<'a>(
            &'a self,
            _: &'a EncryptedDataKey,
            _: &'a EncryptionContext,
        ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>> {
            Box::pin(async {
                let key = DataKey::new(SecretBytes::copy_of(&DATA_KEY));
                Ok(Unwrapped::Key(key))
            })
        }
    }

    /// A header, and the key under which its body is sealed.
    fn begun(frame_bytes: u32) -> (Vec<u8>, Vec<u8>, AesGcm) {
        let options = SealOptions {
            frame_bytes: NonZeroU32::new(frame_bytes).unwrap(),
            ..SealOptions::default()
        };
        let sealer = pollster::block_on(Sealer::new(&Known, options, &SystemEntropy)).unwrap();
        let id = sealer.header().message_id().to_vec();
        let mut key = [0; 32];
        let info: [&[u8]; 2] = [&0x0478_u16.to_be_bytes(), b"DERIVEKEY"];
        let prk = kdf::extract(HkdfHash::Sha512, &id, &DATA_KEY);
        prk.expand(&info, &mut key).unwrap();
        (
            sealer.header_bytes().to_vec(),
            id,
            AesGcm::new(&key).unwrap(),
        )
    }

    fn sealed(key: &AesGcm, id: &[u8], kind: &str, sequence: u32, text: &[u8]) -> Vec<u8> {
        let mut nonce = [0; 12];
        nonce[8..].copy_from_slice(&sequence.to_be_bytes());
        let aad = [
            id,
            b"AWSKMSEncryptionClient ",
            kind.as_bytes(),
            &sequence.to_be_bytes(),
            &(text.len() as u64).to_be_bytes(),
        ];
        let mut text = text.to_vec();
        let tag = key.seal(nonce, &aad.concat(), &mut text).unwrap();
        [&nonce[..], &text, &tag].concat()
    }

    pub(super) fn empty_final_frame(frame_bytes: usize, frames: usize) -> Vec<u8> {
        let (mut message, id, key) = begun(frame_bytes as u32);
        let plaintext = pattern(frame_bytes * frames);
        for (at, text) in plaintext.chunks(frame_bytes).enumerate() {
            let sequence = at as u32 + 1;
            message.extend(sequence.to_be_bytes());
            message.extend(sealed(&key, &id, "Frame", sequence, text));
        }
        let sequence = frames as u32 + 1;
        message.extend([0xff; 4]);
        message.extend(sequence.to_be_bytes());
        let last = sealed(&key, &id, "Final Frame", sequence, b"");
        message.extend(&last[..12]);
        message.extend([0; 4]);
        message.extend(&last[12..]);
        message
    }

    pub(super) fn unframed(plaintext: &[u8]) -> Vec<u8> {
        let (mut header, id, key) = begun(1);
        let (body_bytes, content) = (header.len() - 16, header.len() - 16 - 32 - 5);
        header.truncate(body_bytes);
        header[content..content + 5].copy_from_slice(&[1, 0, 0, 0, 0]);
        let tag = key.seal([0; 12], &header, &mut []).unwrap();
        let body = sealed(&key, &id, "Single Block", 1, plaintext);
        let length = (plaintext.len() as u64).to_be_bytes();
        [&header[..], &tag, &body[..12], &length, &body[12..]].concat()
    }

    pub(super) fn reader(message: &[u8]) -> Result<RangeReader<Cursor<&[u8]>>, OpenError> {
        let incoming = Incoming::read(Cursor::new(message), &Limits::default())?;
        let opener = pollster::block_on(incoming.open(&Known, &OpenOptions::default()))?;
        opener.into_range_reader(SignedRange::Refused)
    }
}

#[test]
fn a_final_frame_may_be_empty() {
    for frame_bytes in [1, 7, 128, 4096] {
        for frames in 0..4 {
            let plaintext = pattern(frame_bytes * frames);
            let sealed = forge::empty_final_frame(frame_bytes, frames);
            let mut reader = forge::reader(&sealed).unwrap();
            let size = plaintext.len();
            assert_eq!(reader.plaintext_bytes(), size as u64);
            check(&mut reader, &plaintext, 0, size);
            check(&mut reader, &plaintext, size, size + 1);
            check(&mut reader, &plaintext, size.saturating_sub(1), size + 1);
            for len in 0..sealed.len() {
                assert!(forge::reader(&sealed[..len]).is_err());
            }
        }
    }
}

#[test]
fn a_body_without_frames_is_opened_as_a_whole() {
    for size in [0, 1, 5000, 3_000_000] {
        let plaintext = pattern(size);
        let sealed = forge::unframed(&plaintext);
        let mut reader = forge::reader(&sealed).unwrap();
        check(&mut reader, &plaintext, size / 3, size / 2);
        check(&mut reader, &plaintext, 0, size + 9);
        assert!(forge::reader(&sealed[..sealed.len() - 1]).is_err());
        assert!(forge::reader(&[&sealed[..], &[0]].concat()).is_err());
    }
    let long = forge::unframed(&pattern(waxseal::message::FRAME_BYTES_MAX_DEFAULT + 1));
    assert!(matches!(forge::reader(&long), Err(OpenError::Limit { .. })));
}

#[test]
fn seeking_is_as_in_a_file() {
    let plaintext = pattern(100);
    let mut reader = reader(Cursor::new(seal(Suite::COMMITTING, 16, &plaintext))).unwrap();
    let mut byte = [0];
    assert_eq!(reader.seek(SeekFrom::End(-1)).unwrap(), 99);
    assert_eq!(reader.read(&mut byte).unwrap(), 1);
    assert_eq!(byte, [plaintext[99]]);
    assert_eq!(reader.read(&mut byte).unwrap(), 0);
    assert_eq!(reader.seek(SeekFrom::Current(-50)).unwrap(), 50);
    assert_eq!(reader.read(&mut byte).unwrap(), 1);
    assert_eq!(byte, [plaintext[50]]);
    assert_eq!(reader.seek(SeekFrom::Start(u64::MAX)).unwrap(), u64::MAX);
    assert_eq!(reader.read(&mut byte).unwrap(), 0);
    for wrong in [SeekFrom::End(-101), SeekFrom::Current(1)] {
        let error = reader.seek(wrong).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
    assert_eq!(reader.stream_position().unwrap(), u64::MAX);
    let range = 101..102;
    let error = reader.copy_range(range, &mut Vec::new()).unwrap_err();
    assert!(matches!(
        error,
        OpenError::RangeStart {
            start: 101,
            plaintext_bytes: 100
        }
    ));
}

#[test]
fn a_message_may_begin_anywhere() {
    let plaintext = pattern(100);
    let mut bytes = vec![0xff; 333];
    bytes.extend(seal(Suite::COMMITTING, 16, &plaintext));
    let mut cursor = Cursor::new(bytes);
    cursor.set_position(333);
    check(&mut reader(cursor).unwrap(), &plaintext, 20, 70);
}

#[test]
fn signed_messages_need_a_word() {
    let sealed = seal(Suite::COMMITTING_SIGNED, 16, &pattern(100));
    let refused = reader_within(
        Cursor::new(&sealed),
        SignedRange::Refused,
        &Limits::default(),
    );
    assert!(matches!(refused, Err(OpenError::SignedRange)));
    let unsigned = seal(Suite::COMMITTING, 16, &pattern(100));
    assert!(
        reader_within(
            Cursor::new(unsigned),
            SignedRange::Refused,
            &Limits::default()
        )
        .is_ok()
    );
}

/// Counts what is read, and notes where.
struct Counting<R> {
    inner: R,
    read_bytes: usize,
    calls: usize,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read_bytes += read;
        self.calls += 1;
        Ok(read)
    }
}

impl<R: Seek> Seek for Counting<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

#[test]
fn only_the_frames_that_are_needed_are_read() {
    for suite in COMMITTING {
        let plaintext = pattern(1_000_000);
        let sealed = seal(suite, 4096, &plaintext);
        let mut counting = Counting {
            inner: Cursor::new(&sealed),
            read_bytes: 0,
            calls: 0,
        };
        let mut reader = reader(&mut counting).unwrap();
        let mut out = Vec::new();
        reader.copy_range(500_000..501_024, &mut out).unwrap();
        reader.copy_range(501_024..501_100, &mut out).unwrap();
        assert_eq!(out, plaintext[500_000..501_100]);
        let final_frame = 40 + 1_000_000 % 4096;
        // The header is read in steps of 4,096 bytes; the head of the final frame is read twice,
        // and a signed message has more places where it could be.
        let heads = 3 * 24 + 2;
        assert!(counting.read_bytes <= 4096 + heads + final_frame + 4096 + 32);
        assert!(counting.calls <= 7, "{}", counting.calls);
    }
}

#[test]
fn long_ranges_are_read_in_large_pieces() {
    let plaintext = pattern(3_000_000);
    let sealed = seal(Suite::COMMITTING, 4096, &plaintext);
    let mut counting = Counting {
        inner: Cursor::new(&sealed),
        read_bytes: 0,
        calls: 0,
    };
    let mut out = Vec::new();
    let mut reader = reader(&mut counting).unwrap();
    reader.copy_range(0..u64::MAX, &mut out).unwrap();
    assert!(out == plaintext);
    assert!(counting.calls <= 8, "{}", counting.calls);
}

fn refused(message: &[u8]) -> OpenError {
    match reader(Cursor::new(message)) {
        Ok(_) => panic!("opened"),
        Err(error) => error,
    }
}

#[test]
fn every_other_length_is_refused_before_a_byte_leaves() {
    for suite in Suite::all() {
        for frame_bytes in [1, 7, 64] {
            let sealed = seal(suite, frame_bytes, &pattern(200));
            for len in 0..sealed.len() {
                refused(&sealed[..len]);
            }
            let slot = frame_bytes as usize + SLOT_OVERHEAD_BYTES;
            let last_frame = &sealed[sealed.len() - slot..];
            for more in [
                &[0][..],
                &[0xff; 31],
                &[0; 39],
                &[0; 40],
                last_frame,
                &sealed,
            ] {
                refused(&[&sealed, more].concat());
            }
        }
    }
}

#[test]
fn dropped_and_repeated_frames_are_refused() {
    let slot = 64 + SLOT_OVERHEAD_BYTES;
    for suite in COMMITTING {
        let sealed = seal(suite, 64, &pattern(300));
        let body = header_bytes(&sealed);
        let frame = |at: usize| &sealed[body + at * slot..][..slot];
        let (header, last) = (&sealed[..body], &sealed[body + 4 * slot..]);
        for parts in [
            vec![header, frame(0), frame(1), frame(2), last],
            vec![
                header,
                frame(0),
                frame(1),
                frame(2),
                frame(3),
                frame(3),
                last,
            ],
            vec![header, frame(0), frame(1), frame(2), frame(3)],
            vec![header, last],
            vec![header],
        ] {
            refused(&parts.concat());
        }
    }
}

#[test]
fn swapped_frames_fail_where_they_are_and_nowhere_else() {
    let slot = 64 + SLOT_OVERHEAD_BYTES;
    let plaintext = pattern(300);
    for suite in COMMITTING {
        let sealed = seal(suite, 64, &plaintext);
        let body = header_bytes(&sealed);
        let frame = |at: usize| &sealed[body + at * slot..][..slot];
        // The second, out of its place, with its own number or with that of the place.
        let mut renumbered = frame(2).to_vec();
        renumbered[..4].copy_from_slice(&2u32.to_be_bytes());
        for stranger in [frame(2), &renumbered] {
            let mut altered = sealed.clone();
            altered[body + slot..][..slot].copy_from_slice(stranger);
            let mut reader = reader(Cursor::new(&altered)).unwrap();
            check(&mut reader, &plaintext, 0, 64);
            let error = reader.copy_range(60..70, &mut Vec::new()).unwrap_err();
            assert!(matches!(
                error,
                OpenError::Sequence { .. } | OpenError::Unauthentic
            ));
            reader.seek(SeekFrom::Start(127)).unwrap();
            let error = reader.read(&mut [0; 1]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(!matches!(OpenError::from_io(error), OpenError::Read(_)));
            check(&mut reader, &plaintext, 128, 300);
        }
    }
}

#[test]
fn frames_of_another_message_are_refused() {
    let slot = 64 + SLOT_OVERHEAD_BYTES;
    for suite in COMMITTING {
        let (one, other) = (
            seal(suite, 64, &pattern(300)),
            seal(suite, 64, &pattern(300)),
        );
        let body = header_bytes(&one);
        assert_eq!(one.len(), other.len());
        let mut altered = one.clone();
        altered[body + 4 * slot..].copy_from_slice(&other[body + 4 * slot..]);
        assert!(matches!(refused(&altered), OpenError::Unauthentic));
        // A longer one's end, so that the length is right too.
        let longer = seal(suite, 64, &pattern(364));
        assert_eq!(header_bytes(&longer), body);
        let spliced = [&one[..body], &longer[body..]].concat();
        assert!(matches!(refused(&spliced), OpenError::Unauthentic));
        let mut altered = one.clone();
        altered[body..][..slot].copy_from_slice(&other[body..][..slot]);
        let mut reader = reader(Cursor::new(&altered)).unwrap();
        let error = reader.copy_range(0..1, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, OpenError::Unauthentic));
    }
}

#[test]
fn every_flipped_bit_is_noticed_by_whom_it_concerns() {
    let plaintext = pattern(100);
    for suite in COMMITTING {
        let sealed = seal(suite, 32, &plaintext);
        let footer = if suite.is_signed() { 105 } else { 0 };
        for bit in 0..sealed.len() * 8 {
            let mut altered = sealed.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            let mut out = Vec::new();
            let result = reader(Cursor::new(&altered))
                .and_then(|mut reader| reader.copy_range(0..100, &mut out));
            assert!(plaintext.starts_with(&out));
            // The signature is what was said not to be checked; its length still must be right.
            let in_signature = bit / 8 >= sealed.len() - footer + 2 * footer.min(1);
            assert_eq!(result.is_ok(), in_signature, "{suite:?}, bit {bit}");
        }
    }
}

#[test]
fn limits_hold_for_the_frames_that_are_there() {
    let limits = Limits {
        frame_bytes_max: 100,
        ..Limits::default()
    };
    let within = |frame_bytes, size| {
        let sealed = seal(Suite::COMMITTING, frame_bytes, &pattern(size));
        reader_within(Cursor::new(sealed), SignedRange::Refused, &limits)
    };
    assert!(within(100, 1000).is_ok());
    assert!(within(101, 100).is_ok());
    for (frame_bytes, size) in [(101, 101), (101, 102), (101, 1000), (5000, 101)] {
        assert!(matches!(
            within(frame_bytes, size),
            Err(OpenError::Limit { max: 100, .. })
        ));
    }
}

#[test]
fn slow_readers_are_read_to_the_end() {
    let plaintext = pattern(1000);
    struct Slow<'a>(Dribble<Cursor<&'a [u8]>>);
    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }
    impl Seek for Slow<'_> {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.inner.seek(to)
        }
    }
    let sealed = seal(Suite::COMMITTING, 128, &plaintext);
    let slow = Slow(Dribble::new(Cursor::new(&sealed[..]), 1));
    check(&mut reader(slow).unwrap(), &plaintext, 100, 900);
}

#[test]
fn a_message_that_is_cut_while_it_is_read_is_truncated() {
    use std::cell::RefCell;
    struct Shrinking<'a>(&'a RefCell<Cursor<Vec<u8>>>);
    impl Read for Shrinking<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.borrow_mut().read(buffer)
        }
    }
    impl Seek for Shrinking<'_> {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.borrow_mut().seek(to)
        }
    }
    let sealed = seal(Suite::COMMITTING, 128, &pattern(1000));
    let half = sealed.len() / 2;
    let file = RefCell::new(Cursor::new(sealed));
    let mut reader = reader(Shrinking(&file)).unwrap();
    file.borrow_mut().get_mut().truncate(half);
    let error = reader.copy_range(800..801, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, OpenError::Truncated));
    assert!(reader.copy_range(0..100, &mut Vec::new()).is_ok());
}
