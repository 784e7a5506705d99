//! Payloads that Go wrote: byte for byte both ways, and what other Go programs write is read.
#![allow(clippy::unwrap_used)] // helpers outside #[test] may fail too

use base64::prelude::*;
use serde::Deserialize;
use waxseal::secretbox::{
    Definition, Field, Limits, Payload, PayloadError, PayloadRef, open_in, open_with, seal_into,
    seal_with,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Vector {
    name: String,
    data_key: String,
    wrapped_key: String,
    nonce: String,
    plaintext: String,
    payload: String,
}

/// Go 1.19, `encoding/gob` and `golang.org/x/crypto/nacl/secretbox`.
const VECTORS: &str = include_str!("../../../conformance/vectors/gob-secretbox/vectors.json");

#[test]
fn go_vectors_open_and_are_written_again() {
    let vectors: Vec<Vector> = serde_json::from_str(VECTORS).unwrap();
    assert_eq!(vectors.len(), 9);
    for vector in vectors {
        let bytes = |text: &str| BASE64_STANDARD.decode(text).unwrap();
        let key: [u8; 32] = bytes(&vector.data_key).try_into().unwrap();
        let nonce: [u8; 24] = bytes(&vector.nonce).try_into().unwrap();
        let [wrapped, plaintext, payload] =
            [&vector.wrapped_key, &vector.plaintext, &vector.payload].map(|text| bytes(text));

        let (definition, read) =
            PayloadRef::decode_with_definition(&payload, &Limits::default()).unwrap();
        assert_eq!(definition, Definition::WRITTEN, "{}", vector.name);
        assert_eq!(
            (read.key, read.nonce),
            (&wrapped[..], nonce),
            "{}",
            vector.name
        );
        assert_eq!(read.plaintext_bytes(), plaintext.len(), "{}", vector.name);
        assert_eq!(
            open_in(&key, read).unwrap().expose(),
            plaintext,
            "{}",
            vector.name
        );
        assert_eq!(read.encode(), payload, "{}", vector.name);

        let sealed = seal_with(&key, wrapped.clone(), nonce, &plaintext).unwrap();
        assert_eq!(sealed.encode(), payload, "{}", vector.name);
        assert_eq!(
            open_with(&key, &sealed).unwrap().expose(),
            plaintext,
            "{}",
            vector.name
        );
        assert_eq!(
            seal_into(&key, &wrapped, nonce, &plaintext).unwrap(),
            payload,
            "{}",
            vector.name
        );
        assert_eq!(
            Payload::decode(&payload, &Limits::default()),
            Ok(sealed),
            "{}",
            vector.name
        );
    }
}

/// Go 1.19 programs that declare the struct otherwise or met other types before; all hold the
/// wrapped key 01 and sixteen zeros as message.
const ANONYMOUS: &str = "2bff85030102ff8600010301034b6579010a0001054e6f6e636501ff840001074d657373\
    616765010a00000019ff83010101095b32345d75696e743801ff840001060130000032ff86010101011800000000\
    000000000000000000000000000000000000000001100000000000000000000000000000000000";
const OTHER_ORDER: &str = "34ff87030101077061796c6f616401ff8800010301074d657373616765010a0001054e\
    6f6e636501ff840001034b6579010a00000019ff83010101095b32345d75696e743801ff840001060130000032ff\
    88011000000000000000000000000000000000011800000000000000000000000000000000000000000000000001\
    010100";
const POINTERS: &str = "30ff8d03010103426f7801ff8e00010301034b6579010a0001054e6f6e636501ff8400010\
    74d657373616765010a00000019ff83010101095b32345d75696e743801ff840001060130000032ff8e010101011\
    80000000000000000000000000000000000000000000000000110000000000000000000000000000000000\
    0";
const ARRAY_MET_BEFORE: &str = "34ff83030101077061796c6f616401ff8400010301034b6579010a0001054e6f6\
    e636501ff820001074d657373616765010a0000000eff81010102ff820001060130000032ff84010101011800000\
    00000000000000000000000000000000000000000000110000000000000000000000000000000000\
    0";

#[test]
fn other_go_programs_are_read_and_printed_back() {
    let written = Definition::WRITTEN;
    let cases = [
        (
            ANONYMOUS,
            Definition {
                type_name: "",
                type_id: 67,
                ..written.clone()
            },
        ),
        (
            OTHER_ORDER,
            Definition {
                type_id: 68,
                fields: [Field::Message, Field::Nonce, Field::Key],
                ..written.clone()
            },
        ),
        (
            POINTERS,
            Definition {
                type_name: "Box",
                type_id: 71,
                ..written.clone()
            },
        ),
        (
            ARRAY_MET_BEFORE,
            Definition {
                type_id: 66,
                nonce_type_name: "",
                nonce_type_id: 65,
                ..written
            },
        ),
    ];
    for (text, expected) in cases {
        let bytes = hex::decode(text).unwrap();
        let (definition, payload) =
            PayloadRef::decode_with_definition(&bytes, &Limits::default()).unwrap();
        assert_eq!(definition, expected);
        assert_eq!(Definition::read(&bytes).unwrap(), expected);
        assert_eq!((payload.key, payload.nonce), (&[1][..], [0; 24]));
        assert_eq!(payload.message, [0; 16]);
        assert_eq!(hex::encode(payload.encode_as(&definition)), text);
    }
}

/// `payload{}`: Go leaves out the empty slices, and sends the array though it is all zero.
#[test]
fn empty_fields_are_left_out_as_go_does() {
    let payload = Payload {
        key: Vec::new(),
        nonce: [0; 24],
        message: Vec::new(),
    };
    let go = "34ff81030101077061796c6f616401ff8200010301034b6579010a0001054e6f6e636501ff840001074\
        d657373616765010a00000019ff83010101095b32345d75696e743801ff84000106013000001dff820218000\
        00000000000000000000000000000000000000000000000";
    assert_eq!(hex::encode(payload.encode()), go);
    assert_eq!(
        Payload::decode(&payload.encode(), &Limits::default()),
        Err(PayloadError::MissingField {
            offset: 108,
            field: "Message"
        })
    );
}

/// One Go encoder that sent two payloads: the second is not silently dropped.
#[test]
fn a_second_value_is_refused() {
    let go = "34ff81030101077061796c6f616401ff8200010301034b6579010a0001054e6f6e636501ff840001074\
        d657373616765010a00000019ff83010101095b32345d75696e743801ff840001060130000023ff820101010\
        1180000000000000000000000000000000000000000000000000101020023ff8201010101180000000000000\
        0000000000000000000000000000000000001010200";
    assert_eq!(
        Payload::decode(&hex::decode(go).unwrap(), &Limits::default()),
        Err(PayloadError::TrailingBytes { offset: 115 })
    );
}

/// `type nonce [24]byte` makes another type of the field than a payload has.
#[test]
fn a_named_array_type_is_refused() {
    let go = "34ff89030101075061796c6f616401ff8a00010301034b6579010a0001054e6f6e636501ff8c0001074\
        d657373616765010a00000015ff8b010101056e6f6e636501ff8c0001060130000033ff8a010101011800000\
        0ffc8000000000000000000000000000000000000000001100000000000000000000000000000000000";
    assert_eq!(
        Payload::decode(&hex::decode(go).unwrap(), &Limits::default()),
        Err(PayloadError::Unexpected {
            offset: 59,
            expected: "the name of the type"
        })
    );
}
