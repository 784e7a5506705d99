//! The footer: behind a message that the official Python SDK signed, anything but its own footer is
//! refused, and the final frame stays withheld.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};
use waxseal::message::{CommitmentPolicy, Incoming, Limits, OpenOptions, Release};
use waxseal::{RawAesKeyring, SecretBytes, SystemEntropy};

/// P-256 and P-384; one frame each.
static MESSAGES: [&[u8]; 2] = [
    include_bytes!("../../conformance/vectors/esdk-python-raw-aes/0214-fl4096-p128-ec0.bin"),
    include_bytes!("../../conformance/vectors/esdk-python-raw-aes/0578-fl4096-p128-ec0.bin"),
];
const FOOTER_BYTES: [usize; 2] = [2 + 71, 2 + 103];

static KEYRING: LazyLock<RawAesKeyring> = LazyLock::new(|| {
    let key = SecretBytes::new((0..32).collect());
    RawAesKeyring::new("bench", "k", &key, Arc::new(SystemEntropy)).unwrap()
});

fuzz_target!(|input: &[u8]| {
    let Some((&which, footer)) = input.split_first() else {
        return;
    };
    let which = usize::from(which % 2);
    let message = MESSAGES[which];
    let (front, own) = message.split_at(message.len() - FOOTER_BYTES[which]);
    let options = OpenOptions {
        commitment: CommitmentPolicy::ForbidEncryptAllowDecrypt,
        ..OpenOptions::default()
    };
    let altered = [front, footer].concat();
    let incoming = Incoming::read(&altered[..], &Limits::default()).unwrap();
    let opener = pollster::block_on(incoming.open(&*KEYRING, &options)).unwrap();
    let mut out = Vec::new();
    let opened = opener.open_stream(&mut out, Release::Unverified);
    assert_eq!(opened.is_ok(), footer == own);
    assert_eq!(out.len(), if footer == own { 128 } else { 0 });
});
