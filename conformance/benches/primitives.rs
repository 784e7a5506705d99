//! The primitives behind the one door, each at the sizes in which the formats use it.
//!
//! `cargo bench -p waxseal-conformance --bench primitives [FILTER]`

#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot be set up has nothing to say"
)]

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use waxseal_core::crypto::aead::{AesGcm, NONCE_BYTES};
use waxseal_core::crypto::ecdsa::{Curve, Hasher, SigningKey, VerifyingKey};
use waxseal_core::crypto::kdf::{self, HkdfHash};
use waxseal_core::crypto::secretbox;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Frames of other implementations, frames of ours, chunks.
const FRAME_BYTES: [usize; 3] = [4 * KIB, 64 * KIB, MIB];
const BOX_BYTES: [usize; 2] = [64 * KIB, 16 * MIB];

fn main() {
    divan::main();
}

#[divan::bench_group]
mod aes_256_gcm {
    use super::*;

    #[divan::bench(args = FRAME_BYTES)]
    fn ring_seal(bencher: Bencher<'_, '_>, bytes: usize) {
        seal(bencher, &AesGcm::new_ring(&[7; 32]).unwrap(), bytes);
    }

    #[divan::bench(args = FRAME_BYTES)]
    fn aws_lc_seal(bencher: Bencher<'_, '_>, bytes: usize) {
        seal(bencher, &AesGcm::new_aws_lc(&[7; 32]).unwrap(), bytes);
    }

    #[divan::bench(args = FRAME_BYTES)]
    fn ring_open(bencher: Bencher<'_, '_>, bytes: usize) {
        open(bencher, &AesGcm::new_ring(&[7; 32]).unwrap(), bytes);
    }

    #[divan::bench(args = FRAME_BYTES)]
    fn aws_lc_open(bencher: Bencher<'_, '_>, bytes: usize) {
        open(bencher, &AesGcm::new_aws_lc(&[7; 32]).unwrap(), bytes);
    }

    /// What a message costs before its first frame.
    #[divan::bench]
    fn ring_key() -> AesGcm {
        AesGcm::new_ring(black_box(&[7; 32])).unwrap()
    }

    #[divan::bench]
    fn aws_lc_key() -> AesGcm {
        AesGcm::new_aws_lc(black_box(&[7; 32])).unwrap()
    }

    fn seal(bencher: Bencher<'_, '_>, key: &AesGcm, bytes: usize) {
        let mut text = vec![0; bytes];
        bencher.counter(BytesCount::new(bytes)).bench_local(|| {
            key.seal([1; NONCE_BYTES], b"aad", black_box(&mut text))
                .unwrap()
        });
    }

    /// Opening destroys what it opens: each time a copy is made, which the clock does not see.
    fn open(bencher: Bencher<'_, '_>, key: &AesGcm, bytes: usize) {
        let mut sealed = vec![0; bytes];
        let tag = key.seal([1; NONCE_BYTES], b"aad", &mut sealed).unwrap();
        sealed.extend_from_slice(&tag);
        bencher
            .counter(BytesCount::new(bytes))
            .with_inputs(|| sealed.clone())
            .bench_local_refs(|sealed| key.open([1; NONCE_BYTES], b"aad", sealed).unwrap());
    }
}

#[divan::bench_group]
mod xsalsa20_poly1305 {
    use super::*;

    const KEY: [u8; secretbox::KEY_BYTES] = [7; secretbox::KEY_BYTES];
    const NONCE: [u8; secretbox::NONCE_BYTES] = [9; secretbox::NONCE_BYTES];

    #[divan::bench(args = BOX_BYTES)]
    fn seal(bencher: Bencher<'_, '_>, bytes: usize) {
        let text = vec![1; bytes];
        let mut boxed = vec![0; bytes + secretbox::TAG_BYTES];
        bencher
            .counter(BytesCount::new(bytes))
            .bench_local(|| secretbox::seal(&KEY, &NONCE, black_box(&text), &mut boxed).unwrap());
    }

    #[divan::bench(args = BOX_BYTES)]
    fn open(bencher: Bencher<'_, '_>, bytes: usize) {
        let mut text = vec![1; bytes];
        let mut boxed = vec![0; bytes + secretbox::TAG_BYTES];
        secretbox::seal(&KEY, &NONCE, &text, &mut boxed).unwrap();
        bencher
            .counter(BytesCount::new(bytes))
            .bench_local(|| secretbox::open(&KEY, &NONCE, black_box(&boxed), &mut text).unwrap());
    }
}

#[divan::bench_group]
mod derivation {
    use super::*;

    /// As a message does it: extract once, expand key and commitment.
    #[divan::bench]
    fn hkdf_sha512_key_and_commitment() -> [u8; 64] {
        let mut out = [0; 64];
        let (key, commitment) = out.split_at_mut(32);
        let prk = kdf::extract(HkdfHash::Sha512, black_box(&[1; 32]), black_box(&[2; 32]));
        prk.expand(&[b"\x04\x78", b"DERIVEKEY"], key).unwrap();
        prk.expand(&[b"COMMITKEY"], commitment).unwrap();
        out
    }

    /// As a ciphertext blob does it.
    #[divan::bench]
    fn sp800_108_32_bytes() -> [u8; 32] {
        let mut out = [0; 32];
        kdf::sp800_108(
            black_box(&[1; 32]),
            b"label",
            &[&[2; 16], &[3; 16]],
            &mut out,
        )
        .unwrap();
        out
    }
}

#[divan::bench_group]
mod ecdsa_p384 {
    use super::*;

    #[divan::bench(args = FRAME_BYTES)]
    fn sha384(bencher: Bencher<'_, '_>, bytes: usize) {
        let text = vec![1; bytes];
        let mut hasher = Hasher::new(Curve::P384);
        bencher
            .counter(BytesCount::new(bytes))
            .bench_local(|| hasher.update(black_box(&text)));
    }

    #[divan::bench]
    fn generate() -> SigningKey {
        SigningKey::generate(Curve::P384).unwrap()
    }

    /// Until the signature has its fixed length: two attempts on average.
    #[divan::bench]
    fn sign(bencher: Bencher<'_, '_>) {
        let key = SigningKey::generate(Curve::P384).unwrap();
        bencher
            .with_inputs(|| Hasher::new(Curve::P384))
            .bench_local_values(|hasher| key.sign(hasher).unwrap());
    }

    #[divan::bench]
    fn verify(bencher: Bencher<'_, '_>) {
        let key = SigningKey::generate(Curve::P384).unwrap();
        let signature = key.sign(Hasher::new(Curve::P384)).unwrap();
        let key = VerifyingKey::from_point(Curve::P384, &key.public_key().unwrap()).unwrap();
        bencher
            .with_inputs(|| Hasher::new(Curve::P384))
            .bench_local_values(|hasher| key.verify(hasher, &signature).unwrap());
    }
}
