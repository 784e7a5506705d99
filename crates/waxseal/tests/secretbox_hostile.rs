//! Bytes that are no payload, or no longer the one that was sealed.
#![allow(clippy::unwrap_used)] // helpers outside #[test] may fail too

use proptest::prelude::*;
use waxseal::secretbox::{
    DEFINITION_BYTES_MAX, Definition, Error, Field, Limits, NONCE_BYTES, Payload, PayloadError,
    PayloadRef, TAG_BYTES, WRAPPED_KEY_BYTES_MAX, open_in, seal_into, seal_with,
};

const KEY: [u8; 32] = [7; 32];

/// A payload of 200 bytes of plaintext; its nonce has bytes of both encodings.
fn sealed() -> Vec<u8> {
    let nonce = std::array::from_fn(|i| (i * 11) as u8);
    seal_into(&KEY, &[0xab; 120], nonce, &[0x5a; 200]).unwrap()
}

fn decode(bytes: &[u8]) -> Result<PayloadRef<'_>, PayloadError> {
    PayloadRef::decode(bytes, &Limits::default())
}

fn open(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    Ok(open_in(&KEY, decode(bytes)?)?.expose().to_vec())
}

/// Every bit is refused, by the reader or by the tag, except those of the wrapped key: that one is
/// the KMS's to judge, and here no KMS is asked (`secretbox_keyring.rs` asks one).
#[test]
fn every_flipped_bit() {
    let sealed = sealed();
    let original = decode(&sealed).unwrap();
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let Ok(payload) = decode(&changed) else {
            continue;
        };
        if payload.key != original.key {
            assert_eq!(
                (payload.nonce, payload.message),
                (original.nonce, original.message)
            );
        } else {
            assert!(
                matches!(open_in(&KEY, payload), Err(Error::Unauthentic)),
                "bit {bit}"
            );
        }
    }
}

#[test]
fn another_name_is_told_and_refused() {
    let named = |type_name| {
        let definition = Definition {
            type_name,
            ..Definition::WRITTEN
        };
        payload(1, 16).borrowed().encode_as(&definition)
    };
    assert!(decode(&named("")).is_ok());
    assert!(decode(&named("payload")).is_ok());
    for name in ["Payload", "payloae", "Box"] {
        let refused = PayloadError::TypeName {
            type_name: name.to_owned(),
        };
        assert_eq!(decode(&named(name)), Err(refused));
    }
}

#[test]
fn every_truncation_and_extension() {
    let sealed = sealed();
    assert_eq!(open(&sealed).unwrap(), [0x5a; 200]);
    for len in 0..sealed.len() {
        match open(&sealed[..len]) {
            Err(Error::Payload(PayloadError::Truncated { offset, .. })) => {
                assert!(offset <= len, "length {len}: offset {offset}");
            }
            other => unreachable!("length {len}: {other:?}"),
        }
    }
    for byte in 0..=255 {
        assert_eq!(
            open(&[&sealed[..], &[byte]].concat()),
            Err(PayloadError::TrailingBytes {
                offset: sealed.len()
            }
            .into())
        );
    }
}

#[test]
fn another_key_or_nonce_does_not_open() {
    let mut payload = seal_with(&KEY, vec![1], [3; NONCE_BYTES], b"plaintext").unwrap();
    assert_eq!(
        open_in(&[8; 32], payload.borrowed()).unwrap_err(),
        Error::Unauthentic
    );
    payload.nonce[0] ^= 1;
    assert_eq!(
        open_in(&KEY, payload.borrowed()).unwrap_err(),
        Error::Unauthentic
    );
    payload.message.truncate(TAG_BYTES - 1);
    assert_eq!(
        open_in(&KEY, payload.borrowed()).unwrap_err(),
        Error::Unauthentic
    );
}

fn payload(key_bytes: usize, message_bytes: usize) -> Payload {
    Payload {
        key: vec![1; key_bytes],
        nonce: [0; NONCE_BYTES],
        message: vec![2; message_bytes],
    }
}

#[test]
fn limits_hold_on_both_sides() {
    let limits = Limits {
        plaintext_bytes_max: 1000,
    };
    let decode = |payload: Payload| Payload::decode(&payload.encode(), &limits);
    for key_bytes in [1, 127, 128, 255, 256, WRAPPED_KEY_BYTES_MAX] {
        assert_eq!(decode(payload(key_bytes, 16)), Ok(payload(key_bytes, 16)));
    }
    for message_bytes in [TAG_BYTES, 127, 128, 1000 + TAG_BYTES] {
        assert_eq!(
            decode(payload(1, message_bytes)),
            Ok(payload(1, message_bytes))
        );
    }
    let refused = |payload| match decode(payload) {
        Err(PayloadError::Limit {
            what,
            bytes,
            bytes_max,
            ..
        }) => (what, bytes, bytes_max),
        other => unreachable!("{other:?}"),
    };
    assert_eq!(refused(payload(6145, 16)), ("the wrapped key", 6145, 6144));
    assert_eq!(refused(payload(1, 1017)), ("the message", 1017, 1016));
    assert_eq!(
        decode(payload(1, TAG_BYTES - 1)),
        Err(PayloadError::MessageTooShort {
            offset: 113,
            bytes: 15
        })
    );
    assert_eq!(decode(payload(0, 16)), Ok(payload(0, 16)));
    for key_bytes in [0, 1] {
        let missing = decode(payload(key_bytes, 0));
        assert!(
            matches!(
                missing,
                Err(PayloadError::MissingField {
                    field: "Message",
                    ..
                })
            ),
            "{missing:?}"
        );
    }
}

#[test]
fn what_passes_fits_the_total() {
    for plaintext_bytes_max in [0, 1, 200, 100_000] {
        let limits = Limits {
            plaintext_bytes_max,
        };
        let name = "p".repeat(440);
        let definition = Definition {
            type_name: &name,
            type_id: i32::MAX,
            nonce_type_id: i32::MAX - 1,
            ..Definition::WRITTEN
        };
        let mut largest = payload(
            WRAPPED_KEY_BYTES_MAX,
            plaintext_bytes_max as usize + TAG_BYTES,
        );
        largest.nonce = [255; NONCE_BYTES];
        let bytes = largest.borrowed().encode_as(&definition);
        let read = PayloadRef::decode_with_definition(&bytes, &limits).map(|read| read.1);
        assert_eq!(read, Ok(largest.borrowed()));
        assert!(bytes.len() as u64 <= limits.payload_bytes_max());

        let beyond = vec![0x34; limits.payload_bytes_max() as usize + 1];
        let refused = Payload::decode(&beyond, &limits);
        assert!(
            matches!(
                refused,
                Err(PayloadError::Limit {
                    what: "the payload",
                    ..
                })
            ),
            "{refused:?}"
        );
    }
    assert_eq!(Limits::default().plaintext_bytes_max, 1 << 30);
    assert_eq!(
        Limits {
            plaintext_bytes_max: u64::MAX
        }
        .payload_bytes_max(),
        u64::MAX
    );
}

#[test]
fn the_definition_is_bounded() {
    let decode =
        |bytes: &[u8]| PayloadRef::decode_with_definition(bytes, &Limits::default()).map(drop);
    let encode = |name: &str| {
        let definition = Definition {
            type_name: name,
            ..Definition::WRITTEN
        };
        payload(1, 16).borrowed().encode_as(&definition)
    };
    // 45 bytes of the struct's definition are not its name, and its length takes three bytes.
    let room = DEFINITION_BYTES_MAX as usize - 47;
    assert!(decode(&encode(&"p".repeat(room))).is_ok());
    assert_eq!(
        decode(&encode(&"p".repeat(room + 1))),
        Err(PayloadError::Limit {
            offset: 0,
            what: "a type definition",
            bytes: DEFINITION_BYTES_MAX + 1,
            bytes_max: DEFINITION_BYTES_MAX,
        })
    );
    for name in ["payload", "Payload", "_", "p1", "Größe"] {
        assert!(decode(&encode(name)).is_ok(), "{name}");
    }
    for name in ["1p", "p.q", "p q", "p\n", "p\u{1b}[2J", "[]p"] {
        assert_eq!(
            decode(&encode(name)),
            Err(PayloadError::Unexpected {
                offset: 6,
                expected: "the name of the type"
            }),
            "{name:?}"
        );
    }
}

/// Replaces the one place where `from` stands.
fn replaced(from: &[u8], to: &[u8]) -> Vec<u8> {
    let bytes = payload(1, 16).encode();
    let places: Vec<_> = bytes
        .windows(from.len())
        .enumerate()
        .filter(|(_, w)| *w == from)
        .collect();
    assert_eq!(places.len(), 1);
    let place = places[0].0;
    [&bytes[..place], to, &bytes[place + from.len()..]].concat()
}

#[test]
fn other_structs_are_refused_with_the_reason() {
    let reason = |from: &[u8], to: &[u8]| decode(&replaced(from, to)).unwrap_err();
    for (from, to) in [
        (&b"\x03Key"[..], &b"\x03key"[..]),
        (b"\x05Nonce", b"\x05Salt!"),
    ] {
        let name = std::str::from_utf8(&to[1..]).unwrap();
        assert!(matches!(
            reason(from, to),
            PayloadError::UnknownField { name: found, .. } if found == name
        ));
    }
    // A field twice, four fields, two fields.
    assert!(matches!(
        reason(b"\x01\x05Nonce\x01\xff\x84\0", b"\x01\x03Key\x01\x0a\0"),
        PayloadError::UnknownField { .. } | PayloadError::Unexpected { .. }
    ));
    for count in [0, 2, 4] {
        assert_eq!(
            reason(b"\x01\x03\x01\x03Key", &[1, count, 1, 3, b'K', b'e', b'y']),
            PayloadError::FieldCount {
                offset: 19,
                count: u64::from(count)
            }
        );
    }
    // Key as a string (6), Nonce as []byte (5).
    assert_eq!(
        reason(b"Key\x01\x0a", b"Key\x01\x0c"),
        PayloadError::FieldType {
            offset: 26,
            field: "Key"
        }
    );
    assert_eq!(
        reason(b"Nonce\x01\xff\x84", b"Nonce\x01\x0a\0"),
        PayloadError::FieldType {
            offset: 36,
            field: "Nonce"
        }
    );
    // An array of int (2), of 23, of 25.
    for (from, to) in [(6, 4), (0x30, 0x2e), (0x30, 0x32)] {
        let mut bytes = payload(1, 16).encode();
        let place = if from == 6 { 74 } else { 76 };
        assert_eq!(bytes[place], from);
        bytes[place] = to;
        assert_eq!(
            decode(&bytes),
            Err(PayloadError::Unexpected {
                offset: place,
                expected: "an array of 24 uint8"
            })
        );
    }
}

#[test]
fn ids_that_gob_keeps_for_itself_are_refused() {
    for (type_id, nonce_type_id) in [(64, 65), (66, 65), (64, i32::MAX)] {
        let definition = Definition {
            type_id,
            nonce_type_id,
            ..Definition::WRITTEN
        };
        let bytes = payload(1, 16).borrowed().encode_as(&definition);
        assert!(decode(&bytes).is_ok(), "{type_id} {nonce_type_id}");
    }
    for (type_id, nonce_type_id) in [(63, 65), (65, 63), (5, 6), (0, 65), (-65, 66), (65, 65)] {
        let definition = Definition {
            type_id,
            nonce_type_id,
            ..Definition::WRITTEN
        };
        let bytes = payload(1, 16).borrowed().encode_as(&definition);
        assert!(decode(&bytes).is_err(), "{type_id} {nonce_type_id}");
    }
}

#[test]
fn a_length_that_lies_takes_no_memory() {
    // 2⁶³ bytes of wrapped key, of message, of value, of definition.
    let huge = [0xf8, 0x80, 0, 0, 0, 0, 0, 0, 0];
    let bytes = payload(1, 16).encode();
    for (from, reader) in [(0, "a type definition"), (79, "the value")] {
        let lie = [&bytes[..from], &huge, &bytes[from + 1..]].concat();
        let error = decode(&lie).unwrap_err();
        assert!(error.to_string().contains(reader), "{error}");
    }
    for (from, to) in [(83, "the wrapped key"), (112, "the message")] {
        let mut lie = [&bytes[..from], &huge, &bytes[from + 1..]].concat();
        lie[79] += huge.len() as u8 - 1;
        let error = decode(&lie).unwrap_err();
        assert!(
            matches!(error, PayloadError::Limit { what, .. } if what == to),
            "{error}"
        );
    }
    assert_eq!(
        decode(&[]),
        Err(PayloadError::Truncated {
            offset: 0,
            expected: "a type definition"
        })
    );
}

#[test]
fn sealing_checks_the_wrapped_key() {
    let seal = |bytes: usize| seal_into(&KEY, &vec![1; bytes], [0; NONCE_BYTES], b"");
    assert!(seal(0).is_ok() && seal(WRAPPED_KEY_BYTES_MAX).is_ok());
    for bytes in [WRAPPED_KEY_BYTES_MAX + 1, 100_000] {
        assert_eq!(seal(bytes), Err(Error::WrappedKeyLength { bytes }));
        let with = seal_with(&KEY, vec![1; bytes], [0; NONCE_BYTES], b"");
        assert_eq!(with, Err(Error::WrappedKeyLength { bytes }));
    }
}

fn any_payload() -> impl Strategy<Value = Payload> {
    let key = proptest::collection::vec(any::<u8>(), 0..400);
    let message = proptest::collection::vec(any::<u8>(), TAG_BYTES..600);
    (key, any::<[u8; NONCE_BYTES]>(), message).prop_map(|(key, nonce, message)| Payload {
        key,
        nonce,
        message,
    })
}

fn any_definition() -> impl Strategy<Value = (String, i32, bool, i32, [Field; 3])> {
    let fields = Just([Field::Key, Field::Nonce, Field::Message]).prop_shuffle();
    (
        "([A-Za-z_][A-Za-z0-9_]{0,30})?",
        64..i32::MAX,
        any::<bool>(),
        64..i32::MAX,
        fields,
    )
        .prop_filter("two ids", |(_, id, _, nonce_id, _)| id != nonce_id)
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        payload in any_payload(),
        (name, type_id, named, nonce_type_id, fields) in any_definition(),
    ) {
        let limits = Limits::default();
        prop_assert_eq!(&Payload::decode(&payload.encode(), &limits).unwrap(), &payload);

        let nonce_type_name = if named { "[24]uint8" } else { "" };
        let definition = Definition { type_name: &name, type_id, nonce_type_name, nonce_type_id, fields };
        let bytes = payload.borrowed().encode_as(&definition);
        let (read, again) = PayloadRef::decode_with_definition(&bytes, &limits).unwrap();
        prop_assert_eq!(read, definition);
        prop_assert_eq!(again, payload.borrowed());
    }

    /// Random damage: what still parses prints back the same, so one payload has one encoding.
    #[test]
    fn what_is_read_is_written_the_same(
        payload in any_payload(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in 0usize..3,
    ) {
        let mut bytes = payload.encode();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.truncate(bytes.len() - cut);
        if let Ok((definition, read)) = PayloadRef::decode_with_definition(&bytes, &Limits::default()) {
            prop_assert_eq!(read.encode_as(&definition), bytes);
        }
    }

    #[test]
    fn what_is_sealed_opens(plaintext in proptest::collection::vec(any::<u8>(), 0..500), nonce: [u8; 24]) {
        let sealed = seal_into(&KEY, b"wrapped", nonce, &plaintext).unwrap();
        prop_assert_eq!(open(&sealed).unwrap(), plaintext);
    }
}
