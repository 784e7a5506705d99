//! XSalsa20-Poly1305 against the vector of the NaCl paper.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside #[test] may fail too

use waxseal_core::crypto::Unauthentic;
use waxseal_core::crypto::secretbox::{NONCE_BYTES, TAG_BYTES, open, seal};

/// D. J. Bernstein, *Cryptography in NaCl*, sections 8 to 10; the same as NaCl's tests/secretbox.c.
const KEY: &str = "1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389";
const NONCE: &str = "69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37";
const MESSAGE: &str = "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffc\
     e5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f41db66cce314adb31\
     0e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde\
     048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f93776384864\
     5e0705";
const BOX: &str = "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce\
     48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b4da7f011ec48c972\
     71d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae\
     90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b3\
     7973f622a43d14a6599b1f654cb45a74e355a5";

fn vector() -> ([u8; 32], [u8; NONCE_BYTES], Vec<u8>, Vec<u8>) {
    let [key, nonce, message, boxed] =
        [KEY, NONCE, MESSAGE, BOX].map(|text| hex::decode(text).unwrap());
    (
        key.try_into().unwrap(),
        nonce.try_into().unwrap(),
        message,
        boxed,
    )
}

#[test]
fn nacl_paper() {
    let (key, nonce, message, boxed) = vector();
    let mut sealed = vec![0; message.len() + TAG_BYTES];
    seal(&key, &nonce, &message, &mut sealed).unwrap();
    assert_eq!(sealed, boxed);
    let mut opened = vec![0; message.len()];
    open(&key, &nonce, &boxed, &mut opened).unwrap();
    assert_eq!(opened, message);
}

#[test]
fn every_changed_bit_and_truncation_is_refused_and_leaves_nothing() {
    let (key, nonce, message, boxed) = vector();
    for bit in 0..boxed.len() * 8 {
        let mut changed = boxed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let mut opened = vec![0xaa; message.len()];
        assert_eq!(
            open(&key, &nonce, &changed, &mut opened),
            Err(Unauthentic),
            "bit {bit}"
        );
        assert!(opened.iter().all(|byte| *byte == 0), "bit {bit}");
    }
    for len in TAG_BYTES..boxed.len() {
        let mut opened = vec![0xaa; len - TAG_BYTES];
        assert_eq!(
            open(&key, &nonce, &boxed[..len], &mut opened),
            Err(Unauthentic)
        );
        assert!(opened.iter().all(|byte| *byte == 0), "length {len}");
    }
    for len in 0..TAG_BYTES {
        assert_eq!(open(&key, &nonce, &boxed[..len], &mut []), Err(Unauthentic));
    }
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let (key, nonce, message, boxed) = vector();
    for len in [
        0,
        TAG_BYTES - 1,
        message.len() + TAG_BYTES - 1,
        message.len() + TAG_BYTES + 1,
    ] {
        assert_eq!(
            seal(&key, &nonce, &message, &mut vec![0; len]),
            Err(Unauthentic)
        );
    }
    for len in [message.len() - 1, message.len() + 1] {
        assert_eq!(
            open(&key, &nonce, &boxed, &mut vec![0; len]),
            Err(Unauthentic)
        );
    }
}
