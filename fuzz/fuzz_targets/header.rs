//! The header: what parses prints back the same, byte for byte, from nothing but what its accessors
//! say. The printer below is the specification's (`data-format/message-header.md`) and shares no
//! code with the reader.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waxseal::message::{Header, Incoming, Limits};

fuzz_target!(|bytes: &[u8]| {
    let Ok(incoming) = Incoming::read(bytes, &Limits::default()) else {
        return;
    };
    let header = incoming.header();
    assert_eq!(header.bytes(), &bytes[..header.header_bytes()]);
    let at = context_at(header);
    let context_bytes = usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    let stored = &bytes[at + 2..][..context_bytes];
    let context = header.context().serialize().unwrap();
    // Pairs may stand in any order; in theirs or in ours they are as many bytes.
    assert_eq!(context.len(), stored.len());
    let printed = print(header, stored);
    assert_eq!(printed, bytes[..printed.len()]);
    let tail_bytes = if header.version() == 1 { 12 + 16 } else { 16 };
    assert_eq!(printed.len() + tail_bytes, header.header_bytes());
});

/// Where the context's length stands.
fn context_at(header: &Header) -> usize {
    match header.version() {
        1 => 1 + 1 + 2 + 16,
        _ => 1 + 2 + 32,
    }
}

fn print(header: &Header, stored_context: &[u8]) -> Vec<u8> {
    let mut out = vec![header.version()];
    if header.version() == 1 {
        out.push(0x80);
    }
    out.extend(header.suite().id().to_be_bytes());
    out.extend(header.message_id());
    field(&mut out, stored_context);
    let keys = header.encrypted_data_keys();
    out.extend(u16::try_from(keys.len()).unwrap().to_be_bytes());
    for key in keys {
        field(&mut out, key.provider_id.as_bytes());
        field(&mut out, &key.provider_info);
        field(&mut out, &key.ciphertext);
    }
    out.push(if header.frame_bytes().is_some() { 2 } else { 1 });
    if header.version() == 1 {
        out.extend([0, 0, 0, 0, 12]);
    }
    out.extend(
        header
            .frame_bytes()
            .map_or(0, |bytes| bytes.get())
            .to_be_bytes(),
    );
    out.extend(header.commitment());
    out
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
    out.extend(bytes);
}
