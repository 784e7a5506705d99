//! What is compared with a secret takes as long wherever it differs: a right value but for its first
//! byte, and a right value but for its last one, cannot be told apart by the time that it takes to refuse
//! them; nor can a wrong encryption context and a wrong tag.
//!
//! As dudect does it (Reparaz, Balasch and Verbauwhede, *Dude, is my code constant time?*, 2017): two
//! classes of input, which one chance decides, and Welch's t over their times, all of them and without the
//! slowest. The same times, put into two classes that differ in nothing, give the t of a machine that has
//! other things to do besides; and a comparison that stops at the first difference has to be found.
//!
//! | not promised | because |
//! |---|---|
//! | known and unknown access key ids | AWS has an error for each: `UnrecognizedClientException`, and `InvalidSignatureException` |
//! | which header of a ciphertext was altered | nothing that is compared before is a secret |
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;
use waxseal_conformance::engines::{call, parts};
use waxseal_conformance::world::quick_place;
use waxseal_conformance::{Dice, promise, tier};
use waxseal_core::crypto::aead::{AesGcm, NONCE_BYTES};
use waxseal_core::crypto::hash::sha256;
use waxseal_core::crypto::mac::{self, MacHash, hmac};
use waxseal_core::crypto::random::SystemEntropy;
use waxseal_core::crypto::secretbox;
use waxseal_core::secret::ct_eq;
use waxseal_core::{EncryptionContext, KeyId, SecretBytes};
use waxseal_kms::audit::AuditLog;
use waxseal_kms::seed::SeedUser;
use waxseal_kms::store::MemoryStore;
use waxseal_kms::{Engine, blob};
use waxseal_kms_api::sigv4::{Claim, Paths, SignedRequest, SigningKey};

/// Where t says that two classes differ (dudect takes it for a first suspicion).
const THRESHOLD: f64 = 4.5;
/// A difference is one that is there as often as this, and always the same way.
const ROUNDS: usize = 3;
/// Which share of the times is looked at, the slowest left out: interrupts are among them, and the
/// difference is not.
const SHARES: [f64; 5] = [1.0, 0.99, 0.95, 0.8, 0.5];

/// Refuses the input of a class; how long that took, in nanoseconds.
type Refusal<'a> = Box<dyn FnMut(usize) -> u64 + 'a>;

/// t of two classes, and that of a division of the same times which means nothing.
#[derive(Debug, Clone, Copy)]
struct Seen {
    t: f64,
    control: f64,
}

impl Seen {
    /// The sign of a difference beyond what the machine shows by itself.
    fn difference(self) -> Option<bool> {
        let is_there = self.t.abs() > THRESHOLD && self.t.abs() > 2.0 * self.control.abs();
        is_there.then_some(self.t > 0.0)
    }
}

fn measured(samples: usize, dice: &mut Dice, refusal: &mut Refusal<'_>) -> Seen {
    for class in [0, 1].repeat(500) {
        refusal(class);
    }
    // Two labels a class.
    let times: Vec<(usize, u64)> = (0..samples)
        .map(|_| {
            let label = dice.below(4) as usize;
            (label, refusal(label / 2))
        })
        .collect();
    let mut sorted: Vec<u64> = times.iter().map(|(_, time)| *time).collect();
    sorted.sort_unstable();
    let most = |of_one: &dyn Fn(usize) -> bool| {
        let all = SHARES.map(|share| {
            let longest = sorted[((samples - 1) as f64 * share) as usize];
            let kept = times.iter().filter(|(_, time)| *time <= longest);
            welch(kept.map(|(label, time)| (of_one(*label), *time as f64)))
        });
        let by_size = |a: &f64, b: &f64| a.abs().total_cmp(&b.abs());
        all.into_iter().max_by(by_size).unwrap()
    };
    Seen {
        t: most(&|label| label < 2),
        control: most(&|label| label % 2 == 0),
    }
}

/// Welch's t of two classes.
fn welch(times: impl Iterator<Item = (bool, f64)>) -> f64 {
    // Count, mean, and sum of the squares of differences from it (Welford).
    let mut classes = [(0.0, 0.0, 0.0); 2];
    for (is_one, time) in times {
        let (count, mean, squares) = &mut classes[usize::from(is_one)];
        *count += 1.0;
        let before = time - *mean;
        *mean += before / *count;
        *squares += before * (time - *mean);
    }
    let [(n, left, left_squares), (m, right, right_squares)] = classes;
    let variance = left_squares / (n - 1.0) / n + right_squares / (m - 1.0) / m;
    match variance > 0.0 {
        true => (right - left) / variance.sqrt(),
        false => 0.0,
    }
}

/// The time of what is refused. What was to be found out is known before the clock starts.
fn timed<T>(refuse: impl FnOnce() -> T) -> u64 {
    let begin = Instant::now();
    black_box(refuse());
    begin.elapsed().as_nanos() as u64
}

/// A value, but for its first byte and but for its last.
fn spoilt(right: &[u8], by: u8) -> [Vec<u8>; 2] {
    let mut both = [right.to_vec(), right.to_vec()];
    both[0][0] ^= by;
    *both[1].last_mut().unwrap() ^= by;
    both
}

/// The inputs of both classes. They change places now and then: where something is in memory takes its
/// own time, a tenth of a nanosecond more or less, and many samples see it.
struct Inputs {
    places: [Vec<u8>; 2],
    given: usize,
}

/// After how many samples they change places.
const STAY: usize = 1_000;

impl Inputs {
    fn new(places: [Vec<u8>; 2]) -> Self {
        Self { places, given: 0 }
    }

    fn of(&mut self, class: usize) -> &[u8] {
        self.given += 1;
        if self.given.is_multiple_of(STAY) {
            let [one, other] = &mut self.places;
            one.swap_with_slice(other);
        }
        &self.places[class ^ (self.given / STAY % 2)]
    }
}

/// A comparison of 64 bytes that stops where they differ: what must be found.
fn careless() -> Refusal<'static> {
    let right: Vec<u8> = (0..64).collect();
    let mut wrong = Inputs::new(spoilt(&right, 1));
    let mut given = right.clone();
    Box::new(move |class| {
        given.copy_from_slice(wrong.of(class));
        timed(|| {
            let mut pairs = black_box(&given).iter().zip(&right);
            pairs.all(|(left, right)| black_box(left) == right)
        })
    })
}

fn compared() -> Refusal<'static> {
    let right = sha256(&[b"right"]);
    let mut wrong = Inputs::new(spoilt(&right, 1));
    let mut given = right.to_vec();
    Box::new(move |class| {
        given.copy_from_slice(wrong.of(class));
        timed(|| ct_eq(black_box(&given), black_box(&right)))
    })
}

fn gcm_tag(cipher: AesGcm) -> Refusal<'static> {
    let mut text = vec![5; 64];
    let tag = cipher.seal([0; NONCE_BYTES], b"aad", &mut text).unwrap();
    let wrong = spoilt(&tag, 1).map(|tag| [&text[..], &tag].concat());
    let mut given = wrong[0].clone();
    let mut wrong = Inputs::new(wrong);
    Box::new(move |class| {
        given.copy_from_slice(wrong.of(class));
        let time = timed(|| cipher.open([0; NONCE_BYTES], b"aad", &mut given).is_ok());
        assert!(given.iter().all(|byte| *byte == 0), "it was opened");
        time
    })
}

fn poly1305_tag() -> Refusal<'static> {
    let (key, nonce) = ([7; 32], [9; 24]);
    let mut boxed = vec![0; 64 + secretbox::TAG_BYTES];
    secretbox::seal(&key, &nonce, &[5; 64], &mut boxed).unwrap();
    let (tag, text) = boxed.split_at(secretbox::TAG_BYTES);
    let wrong = spoilt(tag, 1).map(|tag| [&tag[..], text].concat());
    let mut wrong = Inputs::new(wrong);
    let (mut given, mut opened) = (boxed.clone(), vec![0; 64]);
    Box::new(move |class| {
        given.copy_from_slice(wrong.of(class));
        timed(|| secretbox::open(&key, &nonce, &given, &mut opened).is_ok())
    })
}

fn message_mac(hash: MacHash) -> Refusal<'static> {
    let wrong = spoilt(&hmac(hash, &[7; 32], &[b"message"]), 1);
    let mut given = wrong[0].clone();
    let mut wrong = Inputs::new(wrong);
    Box::new(move |class| {
        given.copy_from_slice(wrong.of(class));
        timed(|| mac::verify(hash, &[7; 32], b"message", &given).is_ok())
    })
}

/// A request with the right signature, by the rules of Signature Version 4 written down once more.
fn signature() -> Refusal<'static> {
    const DATE: &str = "20260101T000000Z";
    const SCOPE: &str = "20260101/local/kms/aws4_request";
    const SECRET: &[u8] = b"the secret of ann";
    let canonical = format!(
        "POST\n/\n\nhost:x\nx-amz-date:{DATE}\n\nhost;x-amz-date\n{}",
        hex::encode(sha256(&[b"{}"]))
    );
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{DATE}\n{SCOPE}\n{}",
        hex::encode(sha256(&[canonical.as_bytes()]))
    );
    let first = [b"AWS4", SECRET].concat();
    let words = SCOPE.split('/').chain([to_sign.as_str()]);
    let right = words.fold(first, |key, word| {
        hmac(MacHash::Sha256, &key, &[word.as_bytes()])
    });
    let right = hex::encode(right).into_bytes();
    let secret = SecretBytes::copy_of(SECRET);
    let mut given = String::new();
    let mut verified = move |signature: &[u8]| {
        given.clear();
        given += "AWS4-HMAC-SHA256 Credential=AKIAANNANNANNANNANNA/";
        given += SCOPE;
        given += ", SignedHeaders=host;x-amz-date, Signature=";
        given += std::str::from_utf8(signature).unwrap();
        let headers = [
            ("host", "x"),
            ("x-amz-date", DATE),
            ("authorization", given.as_str()),
        ];
        let request = SignedRequest {
            method: "POST",
            path: "/",
            query: "",
            headers: &headers,
            body: b"{}",
        };
        let claim = Claim::parse(request).unwrap();
        let key = SigningKey::derive(&secret, claim.scope());
        let mut is_right = false;
        let time = timed(|| is_right = claim.verify(request, &key, Paths::Normalized).is_ok());
        (is_right, time)
    };
    assert!(verified(&right).0, "it is the right one");
    // From a digit to another.
    let other = |digit: u8| if digit == b'0' { b'1' } else { b'0' };
    let mut wrong = [right.clone(), right];
    wrong[0][0] = other(wrong[0][0]);
    wrong[1][63] = other(wrong[1][63]);
    let mut wrong = Inputs::new(wrong);
    Box::new(move |class| {
        let (is_right, time) = verified(wrong.of(class));
        assert!(!is_right);
        time
    })
}

/// A blob, and how it is opened.
struct Sealed {
    key: SecretBytes,
    blob: Vec<u8>,
}

fn context(value: &str) -> EncryptionContext {
    let mut context = EncryptionContext::new();
    context.insert("purpose", value).unwrap();
    context
}

impl Sealed {
    fn new() -> Self {
        let key = SecretBytes::new(vec![7; 32]);
        let id: KeyId = "1234abcd-12ab-34cd-56ef-1234567890ab".parse().unwrap();
        let context = context("right").serialize().unwrap();
        let blob = blob::seal(&key, &id, 1, &[5; 64], &context, &SystemEntropy).unwrap();
        Self { key, blob }
    }

    /// The right blob with these bytes at `at`.
    fn with(&self, at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut blob = self.blob.clone();
        blob[at..at + bytes.len()].copy_from_slice(bytes);
        blob
    }

    fn refused(self, blobs: [Vec<u8>; 2], contexts: [&'static str; 2]) -> Refusal<'static> {
        let mut given = self.blob.clone();
        let mut blobs = Inputs::new(blobs);
        Box::new(move |class| {
            given.copy_from_slice(blobs.of(class));
            // Made anew, so that both are where the other was.
            let context = context(contexts[class]);
            let mut is_opened = true;
            let time = timed(|| is_opened = blob::open(&self.key, &given, &context).is_ok());
            assert!(!is_opened);
            time
        })
    }
}

fn blob_commitment() -> Refusal<'static> {
    let sealed = Sealed::new();
    let at = blob::HEADER_BYTES - 32;
    let wrong = spoilt(&sealed.blob[at..blob::HEADER_BYTES], 1);
    let blobs = wrong.map(|commitment| sealed.with(at, &commitment));
    sealed.refused(blobs, ["right"; 2])
}

/// Another context, or another tag.
fn blob_reason() -> Refusal<'static> {
    let sealed = Sealed::new();
    let at = sealed.blob.len() - 1;
    let altered = sealed.with(at, &[sealed.blob[at] ^ 1]);
    let blobs = [sealed.blob.clone(), altered];
    sealed.refused(blobs, ["wrong", "right"])
}

/// Whether an access key id is one of the engine's.
fn access_key_id(engine: &Engine) -> Refusal<'_> {
    let ids = ["AKIAANNANNANNANNANNA", "AKIAANNANNANNANNANNB"];
    let mut given = String::new();
    Box::new(move |class| {
        given.clear();
        given += ids[class];
        timed(|| engine.credential(&given, None).unwrap().is_some())
    })
}

#[test]
fn where_a_secret_differs_is_not_told_by_time() {
    let samples = tier(400_000, 20_000_000);
    let (mut dice, seed) = Dice::new(0x5ea1_2626);
    let mut rounds = |refusal: &mut Refusal<'_>| {
        let mut seen = Vec::new();
        for _ in 0..ROUNDS {
            seen.push(measured(samples, &mut dice, refusal));
            if seen[seen.len() - 1].difference().is_none() {
                break;
            }
        }
        seen
    };
    let is_different = |seen: &[Seen]| {
        let signs: Vec<_> = seen.iter().map(|one| one.difference()).collect();
        seen.len() == ROUNDS && signs.iter().all(|sign| sign.is_some() && *sign == signs[0])
    };
    let found = rounds(&mut careless());
    assert!(
        is_different(&found),
        "what must be found was not: {found:?}"
    );

    let cases: [(&str, Refusal<'_>); 9] = [
        ("comparison", compared()),
        ("AES-GCM tag", gcm_tag(AesGcm::new_ring(&[7; 32]).unwrap())),
        (
            "AES-GCM tag (AWS-LC)",
            gcm_tag(AesGcm::new_aws_lc(&[7; 32]).unwrap()),
        ),
        ("Poly1305 tag", poly1305_tag()),
        ("VerifyMac, SHA-256", message_mac(MacHash::Sha256)),
        ("VerifyMac, SHA-512", message_mac(MacHash::Sha512)),
        ("Signature Version 4", signature()),
        ("commitment of a blob", blob_commitment()),
        ("context or tag of a blob", blob_reason()),
    ];
    let mut told = Vec::new();
    for (name, mut refusal) in cases {
        let seen = rounds(&mut refusal);
        assert!(!is_different(&seen), "seed {seed}, {name}: {seen:?}");
        let last = seen[seen.len() - 1];
        told.push(format!(
            "{name} {:.1} ({:.1})",
            last.t.abs(),
            last.control.abs()
        ));
    }

    let place = quick_place();
    let log = AuditLog::open(&place.path().join("audit")).unwrap();
    let engine = Engine::new(parts(MemoryStore::new(), log)).unwrap();
    let ann = SeedUser {
        name: "ann".to_owned(),
        account: None,
        access_key_id: "AKIAANNANNANNANNANNA".to_owned(),
        secret_access_key: "the secret of ann".to_owned(),
        policies: BTreeMap::new(),
    };
    call(&engine, ann).unwrap();
    let known = measured(samples / 4, &mut dice, &mut access_key_id(&engine));
    promise(
        "26",
        format!(
            "{samples} refusals each (seed {seed}), t and in brackets that of classes alike: {}; a careless \
             comparison is found with {:.0}; not promised: known or unknown access key id, {:.0}",
            told.join(", "),
            found[0].t.abs(),
            known.t.abs()
        ),
    );
}
