//! Formats by their first bytes.

mod message_support;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use message_support::seal;
use proptest::prelude::*;
use waxseal::detect::{Encoding, Format, detect};
use waxseal::message::Suite;

/// The beginning of a payload as Go writes it: the definition of `type payload struct`, of
/// `[24]uint8`, and the first bytes of the value.
const GOB: &[u8] = b"4\xff\x81\x03\x01\x01\x07payload\x01\xff\x82\x00\x01\x03\x01\x03Key\x01\n\x00\
    \x01\x05Nonce\x01\xff\x84\x00\x01\x07Message\x01\n\x00\x00\x00\x19\xff\x83\x01\x01\x01\t[24]uint8\
    \x01\xff\x84\x00\x01\x06\x010\x00\x00\xff\xf5\xff\x82\x01";

fn samples() -> Vec<(Vec<u8>, Format)> {
    let mut samples: Vec<(Vec<u8>, Format)> = Suite::all()
        .map(|suite| {
            let version = suite.version();
            (seal(suite, 64, b"text"), Format::Message { version })
        })
        .collect();
    samples.push((
        b"\x01\x80\x03\x78rest".to_vec(),
        Format::Message { version: 1 },
    ));
    samples.push((
        b"\x01\x80\x00\x14rest".to_vec(),
        Format::Message { version: 1 },
    ));
    samples.push((b"WXKB\x01rest".to_vec(), Format::Direct));
    samples.push((b"\x01\x02\x02\x00\x78rest".to_vec(), Format::Direct));
    samples.push((b"\x01\x02\x03\x00\x78rest".to_vec(), Format::Direct));
    samples.push((GOB.to_vec(), Format::Secretbox));
    // The same struct under another name.
    let renamed = [&b"3"[..], &GOB[1..6], b"\x06Sealed", &GOB[14..]].concat();
    samples.push((renamed, Format::Secretbox));
    samples
}

#[test]
fn binary() {
    for (bytes, format) in samples() {
        assert_eq!(detect(&bytes), Some((format, Encoding::Binary)));
    }
}

#[test]
fn base64_in_its_kinds() {
    for (bytes, format) in samples() {
        let plain = STANDARD.encode(&bytes);
        let lines = |width: usize, end: &str| -> String {
            let rows = plain.as_bytes().chunks(width);
            rows.map(|row| format!("{}{end}", String::from_utf8_lossy(row)))
                .collect()
        };
        for text in [
            plain.clone(),
            format!("\r\n  {plain}\n"),
            lines(76, "\n"),
            lines(64, "\r\n"),
            lines(5, "\n"),
            URL_SAFE.encode(&bytes),
            STANDARD_NO_PAD.encode(&bytes),
        ] {
            let found = detect(text.as_bytes());
            assert_eq!(found, Some((format, Encoding::Base64)), "{text}");
        }
    }
}

#[test]
fn others_are_not_ours() {
    for bytes in [
        &b""[..],
        b"\x01",
        b"\x02",
        b"\x02\x04",
        b"\x02\x03\x78",
        b"\x01\x80\x04\x78",
        b"WXK",
        b"My very secret data",
        b"AgR",
        b"AgN4",
        b"-----BEGIN PGP MESSAGE-----",
        b"age-encryption.org/v1\n",
        b"{\"payload\":1}",
        b"\x1f\x8b\x08\x00",
        b"4\xff\x81\x03\x01\x01\x00",
        b"\x05\xff\x81\x03\x01\x01\x07payload",
        b"4\xff\x82\x03\x01\x01\x07payload",
        b"4\xff\x81\x02\x01\x01\x07payload",
    ] {
        assert_eq!(detect(bytes), None, "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_have_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
        let _ = detect(&bytes);
    }

    #[test]
    fn a_short_prefix_says_the_same(sample in prop::sample::select(samples()), at in 20usize..4096) {
        let (bytes, format) = sample;
        let cut = at.min(bytes.len());
        prop_assert_eq!(detect(&bytes[..cut]), Some((format, Encoding::Binary)));
        let text = STANDARD.encode(&bytes);
        let cut = at.max(28).min(text.len());
        prop_assert_eq!(detect(&text.as_bytes()[..cut]), Some((format, Encoding::Base64)));
    }
}
