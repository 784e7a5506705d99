//! The secretbox reader: what parses prints back the same, byte for byte, and opening never panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waxseal::secretbox::{Definition, Limits, Payload, PayloadRef, open_in};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits {
        plaintext_bytes_max: 4096,
    };
    let Ok((definition, payload)) = PayloadRef::decode_with_definition(bytes, &limits) else {
        return;
    };
    assert_eq!(payload.encode_as(&definition), bytes);
    assert_eq!(Definition::read(bytes), Ok(definition));
    // Under the written definitions it is the same payload again.
    assert_eq!(
        Payload::decode(&payload.encode(), &limits),
        Ok(payload.to_owned())
    );
    assert!(open_in(&[0; 32], payload).is_err() || payload.message.len() >= 16);
});
