//! Altered messages: never success, never a panic, never a byte that was not authenticated.
#![allow(clippy::panic, reason = "test code")]

mod message_support;

use message_support::*;
use proptest::prelude::*;
use waxseal::message::{Incoming, Limits, OpenError, OpenOptions, Suite};

const PLAINTEXT_BYTES: usize = 200;
const FRAME_BYTES: u32 = 64;

/// Opening fails, and what left before is the beginning of the plaintext, never all of it.
fn refused(altered: &[u8], what: impl Fn() -> String) -> OpenError {
    let (result, out) = open(altered);
    let plaintext = pattern(PLAINTEXT_BYTES);
    assert!(out.len() < plaintext.len(), "{}: all left", what());
    assert!(
        plaintext.starts_with(&out),
        "{}: something else left",
        what()
    );
    match result {
        Ok(_) => panic!("{}: success", what()),
        Err(error) => error,
    }
}

fn sealed(suite: Suite) -> Vec<u8> {
    let sealed = seal(suite, FRAME_BYTES, &pattern(PLAINTEXT_BYTES));
    assert_eq!(open(&sealed).1, pattern(PLAINTEXT_BYTES));
    sealed
}

#[test]
fn every_flipped_bit_is_noticed() {
    for suite in Suite::all() {
        let sealed = sealed(suite);
        for bit in 0..sealed.len() * 8 {
            let mut altered = sealed.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            refused(&altered, || format!("{suite:?}, bit {bit}"));
        }
    }
}

#[test]
fn every_truncation_is_noticed() {
    for suite in Suite::all() {
        let sealed = sealed(suite);
        for len in 0..sealed.len() {
            let error = refused(&sealed[..len], || format!("{suite:?}, {len} bytes"));
            assert!(matches!(error, OpenError::Truncated), "{len}: {error}");
        }
    }
}

#[test]
fn every_missing_and_every_doubled_byte_is_noticed() {
    for suite in Suite::all() {
        let sealed = sealed(suite);
        for at in 0..sealed.len() {
            let mut less = sealed.clone();
            let byte = less.remove(at);
            refused(&less, || format!("{suite:?}, byte {at} removed"));
            let mut more = sealed.clone();
            more.insert(at, byte);
            refused(&more, || format!("{suite:?}, byte {at} doubled"));
        }
    }
}

#[test]
fn nothing_may_follow() {
    for suite in Suite::all() {
        let sealed = sealed(suite);
        for more in [
            &[0][..],
            &[0xff; 4],
            &[0; 5000],
            &sealed,
            &sealed[sealed.len() - 105..],
        ] {
            let error = refused(&[&sealed, more].concat(), || format!("{suite:?}"));
            assert!(matches!(error, OpenError::TrailingBytes), "{error}");
        }
    }
}

#[test]
fn frames_keep_their_places() {
    let slot = FRAME_BYTES as usize + 32;
    for suite in Suite::all() {
        let sealed = sealed(suite);
        let body = Incoming::read(&sealed[..], &Limits::default())
            .unwrap()
            .header()
            .header_bytes();
        let frame = |at: usize| &sealed[body + at * slot..][..slot];
        let last = &sealed[body + 3 * slot..];
        let header = &sealed[..body];
        for parts in [
            vec![header, frame(1), frame(0), frame(2), last],
            vec![header, frame(0), frame(0), frame(1), frame(2), last],
            vec![header, frame(0), frame(2), last],
            vec![header, frame(1), frame(2), last],
            vec![header, frame(0), frame(1), frame(2)],
            vec![header, last],
            vec![header],
        ] {
            refused(&parts.concat(), || format!("{suite:?}"));
        }
        // The same frames of another message under the same wrapping key.
        let other = self::sealed(suite);
        assert_eq!(other.len(), sealed.len());
        for cut in [
            body,
            body + slot,
            body + 3 * slot,
            20,
            35,
            sealed.len() - 105,
        ] {
            refused(&[&sealed[..cut], &other[cut..]].concat(), || {
                format!("{suite:?}, cut at {cut}")
            });
        }
    }
}

/// The sequence number may be mended to fit; the tag still holds the place.
#[test]
fn renumbered_frames_do_not_verify() {
    let sealed = sealed(Suite::COMMITTING);
    let slot = FRAME_BYTES as usize + 32;
    let body = sealed.len() - (PLAINTEXT_BYTES + 4 * 32 + 8);
    let mut swapped = sealed.clone();
    swapped[body..body + slot].copy_from_slice(&sealed[body + slot..body + 2 * slot]);
    swapped[body + slot..body + 2 * slot].copy_from_slice(&sealed[body..body + slot]);
    for (at, number) in [(body, 1u32), (body + slot, 2)] {
        swapped[at..at + 4].copy_from_slice(&number.to_be_bytes());
    }
    let error = refused(&swapped, || "renumbered".to_owned());
    assert!(matches!(error, OpenError::Unauthentic), "{error}");
}

#[test]
fn failures_look_alike() {
    let text = OpenError::Unauthentic.to_string();
    let signed = sealed(Suite::COMMITTING_SIGNED);
    let header_bytes = Incoming::read(&signed[..], &Limits::default())
        .unwrap()
        .header()
        .header_bytes();
    let commitment = header_bytes - 16 - 1;
    let header_tag = header_bytes - 1;
    let frame = header_bytes + 20;
    let signature = signed.len() - 1;
    for at in [commitment, header_tag, frame, signature] {
        let mut altered = signed.clone();
        altered[at] ^= 1;
        let error = refused(&altered, || format!("byte {at}"));
        assert!(matches!(error, OpenError::Unauthentic));
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_public_key_stands_where_the_suite_signs_and_nowhere_else() {
    for suite in COMMITTING {
        let mut altered = sealed(suite);
        altered[1] ^= 1;
        let error = refused(&altered, || format!("{suite:?} as the other suite"));
        assert!(matches!(error, OpenError::Malformed { .. }), "{error}");
    }
}

/// A required context is compared in authenticated headers only.
#[test]
fn the_context_is_no_oracle() {
    let message = sealed(Suite::COMMITTING);
    let mut options = OpenOptions::default();
    options.required_context.insert("purpose", "other").unwrap();
    let open = |message: &[u8]| {
        let incoming = Incoming::read(message, &Limits::default()).unwrap();
        pollster::block_on(incoming.open(&keyring(), &options)).unwrap_err()
    };
    assert!(matches!(open(&message), OpenError::ContextMismatch { name } if name == "purpose"));
    let tag_at = message.len() - (PLAINTEXT_BYTES + 4 * 32 + 8) - 1;
    let mut altered = message;
    altered[tag_at] ^= 1;
    assert!(matches!(open(&altered), OpenError::Unauthentic));
}

fn suites() -> impl Strategy<Value = Suite> {
    prop::sample::select(Suite::all().collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn random_bytes_do_not_open(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        refused(&bytes, || "random".to_owned());
    }

    #[test]
    fn random_bodies_do_not_open(
        suite in suites(),
        body in prop::collection::vec(any::<u8>(), 0..400),
        begin in prop::sample::select(vec![&b""[..], b"\0\0\0\x01", b"\xff\xff\xff\xff\0\0\0\x01"]),
    ) {
        let message = seal(suite, FRAME_BYTES, b"");
        let header_bytes = Incoming::read(&message[..], &Limits::default()).unwrap().header().header_bytes();
        refused(&[&message[..header_bytes], begin, &body].concat(), || "random body".to_owned());
    }

    #[test]
    fn several_changes_are_noticed(
        suite in suites(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let message = sealed(suite);
        let mut altered = message.clone();
        for (at, byte) in changes {
            altered[at.index(message.len())] = byte;
        }
        if altered != message {
            refused(&altered, || "several".to_owned());
        }
    }
}
