//! What is sealed opens again, has the length that was foretold, and goes through in pieces.

mod message_support;

use message_support::*;
use proptest::prelude::*;
use std::num::NonZeroU32;
use waxseal::message::{
    self, FRAME_BYTES_DEFAULT, Incoming, Limits, OpenError, OpenOptions, Release, SealOptions,
    Sealer, Suite, seal_stream,
};
use waxseal::{EncryptionContext, SystemEntropy};

fn suites() -> impl Strategy<Value = Suite> {
    prop::sample::select(Suite::all().collect::<Vec<_>>())
}

/// Lengths around the edges of frames and chunks, and others.
fn shapes() -> impl Strategy<Value = (u32, usize)> {
    let frame = prop_oneof![
        1u32..40,
        4000u32..5000,
        60_000u32..70_000,
        1_040_000u32..1_060_000
    ];
    let frames = prop_oneof![0usize..4, 1020usize..1030];
    (frame, frames, -2isize..3).prop_map(|(frame_bytes, frames, off)| {
        let at_most = 2_200_000 / frame_bytes as usize;
        let whole = frames.min(at_most) * frame_bytes as usize;
        (frame_bytes, whole.saturating_add_signed(off))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn what_is_sealed_opens(suite in suites(), (frame_bytes, count) in shapes()) {
        let plaintext = pattern(count);
        let sealer = sealer(suite, frame_bytes);
        let foretold = sealer.message_bytes(count as u64);
        let header = sealer.header().clone();
        let mut sealed = Vec::new();
        let totals = seal_stream(sealer, &mut &plaintext[..], &mut sealed).unwrap();
        prop_assert_eq!(foretold, Some(sealed.len() as u64));
        prop_assert_eq!(totals.message_bytes, sealed.len() as u64);
        prop_assert_eq!(totals.plaintext_bytes, count as u64);
        prop_assert_eq!(totals.frames as usize, count / frame_bytes as usize + 1);
        let incoming = Incoming::read(&sealed[..], &Limits::default()).unwrap();
        prop_assert_eq!(incoming.header(), &header);
        let (opened, out) = open(&sealed);
        prop_assert_eq!(opened.unwrap(), totals);
        prop_assert!(out == plaintext);
    }

    #[test]
    fn pieces_make_no_difference(
        suite in suites(),
        (frame_bytes, count) in shapes(),
        step_bytes in prop_oneof![1_000usize..5_000, 60_000usize..70_000],
    ) {
        let plaintext = pattern(count);
        let mut sealed = Dribble::new(Vec::new(), step_bytes);
        let mut reader = Dribble::new(&plaintext[..], step_bytes);
        seal_stream(sealer(suite, frame_bytes), &mut reader, &mut sealed).unwrap();
        let mut out = Dribble::new(Vec::new(), step_bytes);
        open_into(Dribble::new(&sealed.inner[..], step_bytes), &Limits::default(), &mut out).unwrap();
        prop_assert!(out.inner == plaintext);
    }

    #[test]
    fn any_context_travels(
        suite in suites(),
        pairs in prop::collection::btree_map("[^\u{0}]{1,20}", ".{0,40}", 0..6),
    ) {
        let mut context = EncryptionContext::new();
        for (name, value) in pairs {
            context.insert(name, value).unwrap();
        }
        let options = SealOptions { suite, context: context.clone(), commitment: policy(suite),
            ..SealOptions::default() };
        let sealed =
            pollster::block_on(message::encrypt(&keyring(), b"x", options, &SystemEntropy)).unwrap();
        let options = OpenOptions { required_context: context, ..lenient() };
        let (plaintext, _) =
            pollster::block_on(message::decrypt(&keyring(), &sealed, &options)).unwrap();
        prop_assert_eq!(plaintext.expose(), b"x");
    }
}

#[test]
fn one_byte_at_a_time() {
    let plaintext = pattern(300);
    for suite in Suite::all() {
        let mut sealed = Dribble::new(Vec::new(), 1);
        seal_stream(
            sealer(suite, 64),
            &mut Dribble::new(&plaintext[..], 1),
            &mut sealed,
        )
        .unwrap();
        let mut out = Dribble::new(Vec::new(), 1);
        open_into(
            Dribble::new(&sealed.inner[..], 1),
            &Limits::default(),
            &mut out,
        )
        .unwrap();
        assert_eq!(out.inner, plaintext);
    }
}

/// There is always a final frame, and it is shorter than the others: the official SDK for Python
/// before version 4 refuses one that is full.
#[test]
fn the_final_frame_is_shorter() {
    for (count, frames, last) in [
        (0, 1, 0),
        (1, 1, 1),
        (63, 1, 63),
        (64, 2, 0),
        (65, 2, 1),
        (128, 3, 0),
    ] {
        let sealer = sealer(Suite::COMMITTING, 64);
        let header_bytes = sealer.header().header_bytes();
        let mut sealed = Vec::new();
        let totals = seal_stream(sealer, &mut &pattern(count)[..], &mut sealed).unwrap();
        assert_eq!(totals.frames, frames, "{count} bytes");
        let at = header_bytes + (frames as usize - 1) * 96;
        assert_eq!(sealed[at..at + 4], [0xff; 4]);
        assert_eq!(sealed[at + 20..at + 24], u32::to_be_bytes(last));
        assert_eq!(sealed.len(), at + 40 + last as usize);
    }
}

#[test]
fn defaults_are_what_they_say() {
    let options = SealOptions::default();
    assert_eq!(options.suite.id(), 0x0478);
    assert_eq!(options.frame_bytes.get(), 65_536);
    assert_eq!(FRAME_BYTES_DEFAULT.get(), 65_536);
    assert!(options.context.is_empty());
}

/// Room is asked for as bytes come in, not as a length is announced.
#[test]
fn memory_follows_what_is_read() {
    let plaintext = pattern(3_000_000);
    for count in [0, 1, 100_000, 3_000_000] {
        let longest = 64 * 1024 * 1024;
        let mut sealed = Vec::new();
        let mut reader = Dribble::new(&plaintext[..count], usize::MAX);
        seal_stream(sealer(Suite::COMMITTING, longest), &mut reader, &mut sealed).unwrap();
        assert!(
            reader.room_beyond <= 64 * 1024,
            "sealing offered {} more",
            reader.room_beyond
        );

        // The final frame announces 64 MiB, and there is no more than `count`.
        let header_bytes = sealed.len() - count - 40;
        let length_at = header_bytes + 20;
        sealed[length_at..length_at + 4].copy_from_slice(&longest.to_be_bytes());
        let mut reader = Dribble::new(&sealed[..], usize::MAX);
        let refused = open_into(&mut reader, &Limits::default(), &mut Vec::new());
        assert!(matches!(refused, Err(OpenError::Truncated)));
        assert!(
            reader.room_beyond <= 64 * 1024,
            "opening offered {} more",
            reader.room_beyond
        );
    }
}

#[test]
fn two_messages_share_nothing() {
    let [one, two] = [(); 2].map(|()| seal(Suite::COMMITTING, 64, b"same"));
    assert_ne!(one[3..35], two[3..35], "message id");
    assert_ne!(one[one.len() - 20..], two[two.len() - 20..], "final frame");
}

#[test]
fn a_frame_of_several_mebibytes() {
    let plaintext = pattern(7_000_001);
    for suite in Suite::all() {
        let sealed = seal(suite, 3_000_000, &plaintext);
        let (totals, out) = open(&sealed);
        assert_eq!(totals.unwrap().frames, 3);
        assert!(out == plaintext);
    }
}

#[test]
fn both_halves_may_cross_threads() {
    fn sendable<T: Send>(value: T) -> T {
        value
    }
    let keyring = keyring();
    let options = SealOptions {
        frame_bytes: NonZeroU32::MIN,
        ..SealOptions::default()
    };
    let sealer = pollster::block_on(sendable(Sealer::new(&keyring, options, &SystemEntropy)));
    let mut sealed = Vec::new();
    seal_stream(sendable(sealer.unwrap()), &mut &b"abc"[..], &mut sealed).unwrap();
    let incoming = Incoming::read(&sealed[..], &Limits::default()).unwrap();
    let opener =
        pollster::block_on(sendable(incoming.open(&keyring, &OpenOptions::default()))).unwrap();
    let mut out = Vec::new();
    sendable(opener)
        .open_stream(&mut out, Release::Verified)
        .unwrap();
    assert_eq!(out, b"abc");
}
