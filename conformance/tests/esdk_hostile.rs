//! Messages that were altered, spliced, or made to open in two ways: none of it opens.
//!
//! The base is one framed and one unframed message of each suite, written by the official Python
//! SDK: every bit of each is flipped, and each is cut at every length. Salamanders are messages that
//! verify under two keys with two plaintexts (Albertini and others, "How to Abuse and Fix
//! Authenticated Encryption Without Key Commitment", 2020): ours are real, which is shown by opening
//! them, where the policy permits suites without commitment.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use waxseal::message::{
    self, CommitmentPolicy, Incoming, Limits, OpenError, OpenOptions, Release, SealOptions, Suite,
};
use waxseal::{
    DataKey, EncryptedDataKey, EncryptionContext, Keyring, KeyringError, RawAesKeyring,
    SecretBytes, SystemEntropy,
};
use waxseal_conformance::manifest::json;
use waxseal_conformance::opening::GivenKey;
use waxseal_conformance::refusal::assert_told;
use waxseal_conformance::{World, promise, vectors};
use waxseal_core::crypto::aead::AesGcm;
use waxseal_core::crypto::kdf::{HkdfHash, extract};
use waxseal_core::keyring::{BoxFuture, Generated, Unwrapped};

/// Everything may be opened: what is refused is refused for another reason.
fn lenient() -> OpenOptions {
    OpenOptions {
        commitment: CommitmentPolicy::RequireEncryptAllowDecrypt,
        ..OpenOptions::default()
    }
}

fn raw_aes(namespace: &str, name: &str, key: Vec<u8>) -> RawAesKeyring {
    let key = SecretBytes::new(key);
    RawAesKeyring::new(namespace, name, &key, Arc::new(SystemEntropy)).unwrap()
}

/// What left, and how it ended.
fn open(
    keyring: &dyn Keyring,
    sealed: &[u8],
    options: &OpenOptions,
) -> (Vec<u8>, Result<(), OpenError>) {
    let mut out = Vec::new();
    let opened = Incoming::read(sealed, &Limits::default())
        .and_then(|incoming| pollster::block_on(incoming.open(keyring, options)))
        .and_then(|opener| opener.open_stream(&mut out, Release::Unverified));
    (out, opened.map(drop))
}

/// The altered message does not open, and what left before that is part of the plaintext.
fn refused(
    keyring: &dyn Keyring,
    altered: &[u8],
    plaintext: &[u8],
    what: impl Fn() -> String,
) -> OpenError {
    let (out, ended) = open(keyring, altered, &lenient());
    assert!(
        plaintext.starts_with(&out),
        "{}: something else left",
        what()
    );
    ended.expect_err(&what())
}

struct Base {
    name: String,
    sealed: Vec<u8>,
    plaintext: Vec<u8>,
}

/// One framed (two frames of 128 bytes) and one unframed message of each suite: 200 bytes of
/// plaintext, two pairs of context.
fn bases() -> (RawAesKeyring, Vec<Base>) {
    let folder = vectors::own("esdk-python-raw-aes");
    let manifest = json(&folder.join("manifest.json"));
    let text = |member: &str| manifest["wrapping"][member].as_str().unwrap();
    let key = hex::decode(text("key-hex")).unwrap();
    let keyring = raw_aes(text("namespace"), text("name"), key);
    let wanted = manifest["tests"].as_array().unwrap().iter().filter(|test| {
        let name = test["file"].as_str().unwrap();
        name.ends_with("-fl0-p200-ec2.bin") || name.ends_with("-fl128-p200-ec2.bin")
    });
    let bases = wanted.map(|test| {
        let name = test["file"].as_str().unwrap().to_owned();
        Base {
            sealed: fs::read(folder.join(&name)).unwrap(),
            plaintext: hex::decode(test["plaintext-hex"].as_str().unwrap()).unwrap(),
            name,
        }
    });
    (keyring, bases.collect())
}

/// On all cores.
fn each<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
}

#[test]
fn every_bit_and_every_truncation() {
    let begin = Instant::now();
    let (keyring, bases) = bases();
    assert_eq!(bases.len(), 22);
    let counts = Mutex::new((0, 0));
    each(&bases, |base| {
        let (out, ended) = open(&keyring, &base.sealed, &lenient());
        ended.unwrap();
        assert_eq!(out, base.plaintext, "{}", base.name);
        let mut altered = base.sealed.clone();
        for bit in 0..altered.len() * 8 {
            altered[bit / 8] ^= 1 << (bit % 8);
            refused(&keyring, &altered, &base.plaintext, || {
                format!("{}, bit {bit}", base.name)
            });
            altered[bit / 8] ^= 1 << (bit % 8);
        }
        for len in 0..altered.len() {
            let what = || format!("{}, cut to {len} bytes", base.name);
            let error = refused(&keyring, &altered[..len], &base.plaintext, what);
            assert!(matches!(error, OpenError::Truncated), "{}: {error}", what());
        }
        let mut counts = counts.lock().unwrap();
        counts.0 += altered.len() * 8;
        counts.1 += altered.len();
    });
    let (bits, truncations) = counts.into_inner().unwrap();
    assert_eq!((bits, truncations), (BITS, BITS / 8));
    promise(
        "hostile-flips",
        format!(
            "{bits} flipped bits and {truncations} truncations of 22 messages: 0 opened; {:.1?}",
            begin.elapsed()
        ),
    );
}

/// Of the 22 messages together.
const BITS: usize = 84_976;

/// Wraps with a raw key, and makes the same data key each time: what a cache would do.
struct SameDataKey {
    wrapping: RawAesKeyring,
    byte: u8,
}

impl Keyring for SameDataKey {
    fn generate<'a>(
        &'a self,
        key_bytes: usize,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
        Box::pin(async move {
            let key = DataKey::new(SecretBytes::new(vec![self.byte; key_bytes]));
            let encrypted = self.wrapping.wrap(&key, context).await?;
            Ok(Generated { key, encrypted })
        })
    }

    fn wrap<'a>(
        &'a self,
        key: &'a DataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>> {
        self.wrapping.wrap(key, context)
    }

    fn unwrap<'a>(
        &'a self,
        encrypted: &'a EncryptedDataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>> {
        self.wrapping.unwrap(encrypted, context)
    }
}

const FRAME_BYTES: usize = 64;
const SLOT_BYTES: usize = FRAME_BYTES + 32;

fn sealed_by(keyring: &dyn Keyring, suite: Suite, plaintext: &[u8]) -> Vec<u8> {
    let commitment = match suite.is_committing() {
        true => CommitmentPolicy::default(),
        false => CommitmentPolicy::ForbidEncryptAllowDecrypt,
    };
    let options = SealOptions {
        suite,
        frame_bytes: NonZeroU32::new(FRAME_BYTES as u32).unwrap(),
        required_names: BTreeSet::new(),
        commitment,
        ..SealOptions::default()
    };
    pollster::block_on(message::encrypt(
        keyring,
        plaintext,
        options,
        &SystemEntropy,
    ))
    .unwrap()
}

/// Frames swapped, repeated, dropped, renumbered, and taken from another message under the same
/// wrapping key and even the same data key.
#[test]
fn frames_out_of_place() {
    let plaintext: Vec<u8> = (0..3 * FRAME_BYTES as u8 + 8).collect();
    let mut tried = 0;
    for suite in Suite::all() {
        let keyring = SameDataKey {
            wrapping: raw_aes("ns", "name", vec![7; 32]),
            byte: 9,
        };
        let sealed = sealed_by(&keyring, suite, &plaintext);
        let other = sealed_by(&keyring, suite, &plaintext);
        let body = Incoming::read(&sealed[..], &Limits::default())
            .unwrap()
            .header()
            .header_bytes();
        assert_eq!(open(&keyring, &sealed, &lenient()).0, plaintext);
        let header = &sealed[..body];
        let frame = |at: usize| &sealed[body + at * SLOT_BYTES..][..SLOT_BYTES];
        let foreign = |at: usize| &other[body + at * SLOT_BYTES..][..SLOT_BYTES];
        let (last, foreign_last) = (
            &sealed[body + 3 * SLOT_BYTES..],
            &other[body + 3 * SLOT_BYTES..],
        );
        let numbered = |frame: &[u8], number: u32, iv: bool| {
            let mut frame = frame.to_vec();
            frame[..4].copy_from_slice(&number.to_be_bytes());
            if iv {
                frame[12..16].copy_from_slice(&number.to_be_bytes());
            }
            frame
        };
        let swapped = |iv| [numbered(frame(1), 1, iv), numbered(frame(0), 2, iv)];
        for (what, parts) in [
            ("swapped", vec![header, frame(1), frame(0), frame(2), last]),
            (
                "swapped and renumbered",
                vec![
                    header,
                    &swapped(false)[0],
                    &swapped(false)[1],
                    frame(2),
                    last,
                ],
            ),
            (
                "swapped, renumbered, other IVs",
                vec![header, &swapped(true)[0], &swapped(true)[1], frame(2), last],
            ),
            (
                "repeated",
                vec![header, frame(0), frame(0), frame(1), frame(2), last],
            ),
            (
                "repeated in place",
                vec![header, frame(0), frame(0), frame(2), last],
            ),
            (
                "repeated and renumbered",
                vec![
                    header,
                    frame(0),
                    &numbered(frame(0), 2, true),
                    frame(2),
                    last,
                ],
            ),
            ("first dropped", vec![header, frame(1), frame(2), last]),
            ("middle dropped", vec![header, frame(0), frame(2), last]),
            (
                "last full one dropped",
                vec![header, frame(0), frame(1), last],
            ),
            ("final dropped", vec![header, frame(0), frame(1), frame(2)]),
            ("final alone", vec![header, last]),
            (
                "final twice",
                vec![header, frame(0), frame(1), frame(2), last, last],
            ),
            (
                "first from another message",
                vec![header, foreign(0), frame(1), frame(2), last],
            ),
            (
                "middle from another message",
                vec![header, frame(0), foreign(1), frame(2), last],
            ),
            (
                "final from another message",
                vec![header, frame(0), frame(1), frame(2), foreign_last],
            ),
            (
                "header from another message",
                vec![&other[..body], frame(0), frame(1), frame(2), last],
            ),
        ] {
            refused(&keyring, &parts.concat(), &plaintext, || {
                format!("{suite:?}: {what}")
            });
            tried += 1;
        }
    }
    assert_eq!(tried, 11 * 16);
    promise(
        "hostile-frames",
        format!("{tried} splices under one data key: 0 opened"),
    );
}

/// A signature by another key pair, and none.
#[test]
fn signatures_of_others() {
    for suite in Suite::all().filter(|suite| suite.is_signed()) {
        let keyring = SameDataKey {
            wrapping: raw_aes("ns", "name", vec![7; 32]),
            byte: 9,
        };
        let sealed = sealed_by(&keyring, suite, b"signed by one");
        let other = sealed_by(&keyring, suite, b"signed by two");
        assert_eq!(sealed.len(), other.len());
        let footer_bytes = if suite.id() == 0x0214 {
            2 + 71
        } else {
            2 + 103
        };
        let cut = sealed.len() - footer_bytes;
        for parts in [
            vec![&sealed[..cut], &other[cut..]],
            vec![&sealed[..cut]],
            vec![&sealed[..cut], &[0, 0]],
            vec![&sealed[..cut], &[0, 8, 0x30, 6, 2, 1, 0, 2, 1, 0]],
        ] {
            let altered = parts.concat();
            let (out, ended) = open(&keyring, &altered, &lenient());
            // The final frame is withheld until the signature has verified.
            assert!(out.is_empty(), "{suite:?}");
            ended.unwrap_err();
        }
    }
}

/// GF(2¹²⁸) of GCM (NIST SP 800-38D, section 6.3): the first bit is the highest.
mod field {
    pub(crate) const ONE: u128 = 1 << 127;

    pub(crate) fn times(x: u128, y: u128) -> u128 {
        let (mut sum, mut shifted) = (0, y);
        for bit in (0..128).rev() {
            if x >> bit & 1 == 1 {
                sum ^= shifted;
            }
            let carry = shifted & 1 == 1;
            shifted >>= 1;
            if carry {
                shifted ^= 0xe1 << 120;
            }
        }
        sum
    }

    pub(crate) fn power(x: u128, exponent: usize) -> u128 {
        (0..exponent).fold(ONE, |product, _| times(product, x))
    }

    /// x to the 2¹²⁸ − 2.
    pub(crate) fn inverse(x: u128) -> u128 {
        let (mut product, mut square) = (ONE, x);
        for _ in 1..128 {
            square = times(square, square);
            product = times(product, square);
        }
        product
    }
}

/// What AES-GCM under one key computes, taken apart.
struct Gcm {
    key: AesGcm,
    /// The hash key.
    h: u128,
}

impl Gcm {
    fn new(key: &[u8]) -> Self {
        let key = AesGcm::new(key).unwrap();
        let tag = |aad: &[u8]| u128::from_be_bytes(key.seal([0; 12], aad, &mut []).unwrap());
        // With one block of zeros as associated data the hash is (lengths × H); without, it is zero.
        let lengths_times_h = tag(&[0; 16]) ^ tag(&[]);
        let h = field::times(lengths_times_h, field::inverse(128 << 64));
        Self { key, h }
    }

    /// What is added to the hash under this nonce.
    fn mask(&self, nonce: [u8; 12]) -> u128 {
        u128::from_be_bytes(self.key.seal(nonce, &[], &mut []).unwrap())
    }

    /// The tag of a ciphertext: any is some plaintext's.
    fn tag(&self, nonce: [u8; 12], aad: &[u8], ciphertext: &[u8]) -> u128 {
        let blocks = blocks(aad, ciphertext);
        let hash = blocks
            .iter()
            .fold(0, |hash, block| field::times(hash ^ block, self.h));
        hash ^ self.mask(nonce)
    }

    fn xor_stream(&self, nonce: [u8; 12], text: &mut [u8]) {
        self.key.seal(nonce, &[], text).unwrap();
    }
}

fn blocks(aad: &[u8], ciphertext: &[u8]) -> Vec<u128> {
    let mut blocks = Vec::new();
    for part in [aad, ciphertext] {
        for chunk in part.chunks(16) {
            let mut block = [0; 16];
            block[..chunk.len()].copy_from_slice(chunk);
            blocks.push(u128::from_be_bytes(block));
        }
    }
    let bits = |part: &[u8]| part.len() as u128 * 8;
    blocks.push(bits(aad) << 64 | bits(ciphertext));
    blocks
}

/// The value of block `free` (zero so far) that gives both keys the same tag.
fn collision(keys: [&Gcm; 2], nonce: [u8; 12], aad: &[u8], ciphertext: &[u8], free: usize) -> u128 {
    let count = blocks(aad, ciphertext).len();
    assert_eq!(blocks(aad, ciphertext)[free], 0);
    let difference = keys[0].tag(nonce, aad, ciphertext) ^ keys[1].tag(nonce, aad, ciphertext);
    let weight = field::power(keys[0].h, count - free) ^ field::power(keys[1].h, count - free);
    field::times(difference, field::inverse(weight))
}

#[test]
fn the_field_and_the_hash_are_right() {
    let (a, b) = (
        0x0388_dace_60b6_a392_f328_c2b9_71b2_fe78,
        0x66e9_4bd4_ef8a_2c3b_884c_fa59_ca34_2b2e,
    );
    // SP 800-38D's authors' test case 2: one product of GHASH.
    assert_eq!(
        field::times(a, b),
        0x5e2e_c746_9170_6288_2c85_b068_5353_deb7
    );
    assert_eq!(field::times(a, field::inverse(a)), field::ONE);
    let gcm = Gcm::new(&[3; 32]);
    let mut text = [5; 40];
    let tag = gcm.key.seal([1; 12], b"some data", &mut text).unwrap();
    assert_eq!(gcm.tag([1; 12], b"some data", &text).to_be_bytes(), tag);
}

/// Two wrapping keys, two data keys, one message of version 1: under either it verifies, and says
/// something else.
fn salamander(suite: Suite, keyrings: [&RawAesKeyring; 2]) -> Vec<u8> {
    const FREE_BYTES: usize = 47; // holds a whole block wherever it begins
    const IV: [u8; 12] = [0; 12];
    const FRAME_IV: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let message_id = [0x5a; 16];
    let data_keys = [[1; 32], [2; 32]];
    let gcms = data_keys.map(|key| Gcm::new(&message_key(suite, &key, &message_id)));
    let gcms = [&gcms[0], &gcms[1]];
    let context = EncryptionContext::new();
    let mut edks = Vec::new();
    for (keyring, key) in keyrings.iter().zip(data_keys) {
        let key = DataKey::new(SecretBytes::copy_of(&key));
        edks.extend(pollster::block_on(keyring.wrap(&key, &context)).unwrap());
    }
    // The free bytes stand where a third data key would.
    edks.push(EncryptedDataKey {
        provider_id: "nobody".into(),
        provider_info: Vec::new(),
        ciphertext: vec![0; FREE_BYTES],
    });

    let mut header = vec![1, 0x80];
    header.extend(suite.id().to_be_bytes());
    header.extend(message_id);
    header.extend([0, 0]);
    header.extend(u16::try_from(edks.len()).unwrap().to_be_bytes());
    for edk in &edks {
        for field in [
            edk.provider_id.as_bytes(),
            &edk.provider_info,
            &edk.ciphertext,
        ] {
            header.extend(u16::try_from(field.len()).unwrap().to_be_bytes());
            header.extend(field);
        }
    }
    let free = (header.len() - FREE_BYTES).div_ceil(16);
    header.extend([2, 0, 0, 0, 0, 12]);
    header.extend(4096_u32.to_be_bytes());
    let block = collision(gcms, IV, &header, &[], free);
    header[free * 16..][..16].copy_from_slice(&block.to_be_bytes());
    let tag = gcms[0].tag(IV, &header, &[]);
    assert_eq!(tag, gcms[1].tag(IV, &header, &[]));

    // Two blocks that the first key reads, two for the second, one free.
    let mut text = [0; 80];
    for (gcm, (words, at)) in gcms.iter().zip([
        (b"pay 100 EUR to alice, as agreed.", 0),
        (b"pay 999 EUR to mallory, at once.", 32),
    ]) {
        let mut stream = [0; 80];
        gcm.xor_stream(FRAME_IV, &mut stream);
        for (place, word) in words.iter().enumerate() {
            text[at + place] = word ^ stream[at + place];
        }
    }
    let text_bytes = u32::try_from(text.len()).unwrap();
    let mut aad = message_id.to_vec();
    aad.extend(b"AWSKMSEncryptionClient Final Frame");
    aad.extend(1_u32.to_be_bytes());
    aad.extend(u64::from(text_bytes).to_be_bytes());
    let free = aad.len().div_ceil(16) + 4;
    let block = collision(gcms, FRAME_IV, &aad, &text, free);
    text[64..].copy_from_slice(&block.to_be_bytes());
    let text_tag = gcms[0].tag(FRAME_IV, &aad, &text);

    let mut message = header;
    message.extend(IV);
    message.extend(tag.to_be_bytes());
    message.extend([0xff; 4]);
    message.extend(1_u32.to_be_bytes());
    message.extend(FRAME_IV);
    message.extend(text_bytes.to_be_bytes());
    message.extend(text);
    message.extend(text_tag.to_be_bytes());
    message
}

fn message_key(suite: Suite, data_key: &[u8], message_id: &[u8]) -> Vec<u8> {
    if suite.id() == 0x0078 {
        return data_key.to_vec();
    }
    assert_eq!(suite.id(), 0x0178);
    let mut key = vec![0; 32];
    let prk = extract(HkdfHash::Sha256, &[0; 32], data_key);
    prk.expand(&[&suite.id().to_be_bytes(), message_id], &mut key)
        .unwrap();
    key
}

#[test]
fn salamanders() {
    let world = World::new();
    let keys = [vec![0xa1; 32], vec![0xb2; 32]];
    let keyrings = [
        raw_aes("ns", "one", keys[0].clone()),
        raw_aes("ns", "two", keys[1].clone()),
    ];
    let typed = ["one", "two"].map(|name| {
        let key = if name == "one" { &keys[0] } else { &keys[1] };
        format!(
            "raw-aes:{}?namespace=ns&name={name}",
            world.write(name, key).display()
        )
    });
    for id in [0x0078, 0x0178] {
        let suite = Suite::by_id(id).unwrap();
        let message = salamander(suite, [&keyrings[0], &keyrings[1]]);
        let opened = [&keyrings[0], &keyrings[1]].map(|keyring| {
            let (out, ended) = open(keyring, &message, &lenient());
            ended.expect("it verifies under both keys");
            let (_, ended) = open(keyring, &message, &OpenOptions::default());
            assert!(
                matches!(ended, Err(OpenError::Commitment { .. })),
                "{ended:?}"
            );
            out
        });
        assert!(opened[0].starts_with(b"pay 100 EUR to alice, as agreed."));
        assert_eq!(&opened[1][32..64], b"pay 999 EUR to mallory, at once.");
        world.write("salamander", &message);
        for key in &typed {
            let ran = world
                .run(&["decrypt", "-k", key, "salamander"], b"")
                .exits(8);
            assert_told(&ran);
            assert_eq!(ran.stdout, b"");
            let lenient = [
                "decrypt",
                "-k",
                key,
                "--commitment-policy",
                "require-encrypt-allow-decrypt",
                "salamander",
            ];
            assert_eq!(world.ok(&lenient, b"").len(), 80);
        }
    }
    promise(
        "hostile-salamanders",
        "2 messages that verify under two keys: refused by policy, library and command (exit 8)",
    );
}

/// With commitment there is no second key: neither another's data key beside the right one, nor a
/// commitment that was put in its place.
#[test]
fn swapped_commitments() {
    const COMMITMENT_BYTES: usize = 32;
    let keyring = SameDataKey {
        wrapping: raw_aes("ns", "name", vec![7; 32]),
        byte: 9,
    };
    for suite in [Suite::COMMITTING, Suite::COMMITTING_SIGNED] {
        let sealed = sealed_by(&keyring, suite, b"committed");
        let header = Incoming::read(&sealed[..], &Limits::default())
            .unwrap()
            .header()
            .clone();
        let at = header.header_bytes() - 16 - COMMITMENT_BYTES;
        assert_eq!(&sealed[at..][..COMMITMENT_BYTES], header.commitment());
        // Another data key is offered for the same message: whoever unwraps it learns nothing.
        let (out, ended) = open(&GivenKey(vec![8; 32]), &sealed, &lenient());
        assert!(
            out.is_empty() && matches!(ended, Err(OpenError::Unauthentic)),
            "{ended:?}"
        );
        // The commitment of that other data key, and a header tag that fits it.
        let prk = extract(HkdfHash::Sha512, header.message_id(), &[8; 32]);
        let (mut commitment, mut key) = ([0; COMMITMENT_BYTES], [0; 32]);
        prk.expand(&[b"COMMITKEY"], &mut commitment).unwrap();
        prk.expand(&[&suite.id().to_be_bytes(), b"DERIVEKEY"], &mut key)
            .unwrap();
        let mut forged = sealed.clone();
        forged[at..][..COMMITMENT_BYTES].copy_from_slice(&commitment);
        let tag = AesGcm::new(&key)
            .unwrap()
            .seal([0; 12], &forged[..at + COMMITMENT_BYTES], &mut [])
            .unwrap();
        forged[at + COMMITMENT_BYTES..][..16].copy_from_slice(&tag);
        for keyring in [&keyring as &dyn Keyring, &GivenKey(vec![8; 32])] {
            let (out, ended) = open(keyring, &forged, &lenient());
            assert!(
                out.is_empty() && matches!(ended, Err(OpenError::Unauthentic)),
                "{ended:?}"
            );
        }
        // The commitment of another message under the same data key.
        let other = sealed_by(&keyring, suite, b"committed");
        let mut forged = sealed.clone();
        forged[at..][..COMMITMENT_BYTES].copy_from_slice(&other[at..][..COMMITMENT_BYTES]);
        let (out, ended) = open(&keyring, &forged, &lenient());
        assert!(
            out.is_empty() && matches!(ended, Err(OpenError::Unauthentic)),
            "{ended:?}"
        );
    }
    promise("hostile-commitments", "6 swapped commitments: 0 opened");
}
