//! The message reader: a header that parses is the bytes it was read from, what opens seals to the
//! same length again, and nothing panics. The key is 32 zeros, so that the seeds open.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};
use waxseal::message::{
    CommitmentPolicy, Incoming, Limits, OpenOptions, SealOptions, Sealer, decrypt,
};
use waxseal::{RawAesKeyring, SecretBytes, SystemEntropy};

static KEYRING: LazyLock<RawAesKeyring> = LazyLock::new(|| {
    let key = SecretBytes::zeroed(32);
    RawAesKeyring::new("fuzz", "zero", &key, Arc::new(SystemEntropy)).unwrap()
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(incoming) = Incoming::read(bytes, &Limits::default()) else {
        return;
    };
    let header = incoming.header();
    assert!(bytes.starts_with(header.bytes()));
    let framed = header.frame_bytes();
    let options = OpenOptions {
        commitment: CommitmentPolicy::ForbidEncryptAllowDecrypt,
        net_4_0_0: true,
        ..OpenOptions::default()
    };
    let opened = pollster::block_on(decrypt(&*KEYRING, bytes, &options));
    if let (Ok((plaintext, header)), Some(frame_bytes)) = (opened, framed) {
        assert_eq!(header.bytes(), &bytes[..header.header_bytes()]);
        let commitment = match header.suite().is_committing() {
            true => CommitmentPolicy::default(),
            false => CommitmentPolicy::ForbidEncryptAllowDecrypt,
        };
        let suite = header.suite();
        let options = SealOptions {
            suite,
            frame_bytes,
            commitment,
            ..SealOptions::default()
        };
        let sealer = pollster::block_on(Sealer::new(&*KEYRING, options, &SystemEntropy)).unwrap();
        assert!(sealer.message_bytes(plaintext.len() as u64).is_some());
    }
});
