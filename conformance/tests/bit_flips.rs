//! Every bit of sealed data flipped, every truncation, and some extensions, with the embedded
//! engine as the keyring: nothing opens, nothing panics.
//!
//! The formats have such tests of their own with raw keys. Here a flipped bit may also reach the
//! engine, inside the wrapped key, and its answer is part of the promise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use pollster::block_on;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use waxseal::message::{self, OpenOptions, SealOptions, Suite};
use waxseal::{EncryptionContext, SystemEntropy, direct, secretbox};
use waxseal_conformance::promise;
use waxseal_core::arn::Home;
use waxseal_core::{KeyRef, SecretBytes};
use waxseal_kms::audit::{self, AuditLog};
use waxseal_kms::clock::SystemClock;
use waxseal_kms::engine::Parts;
use waxseal_kms::seal::RowSealer;
use waxseal_kms::store::MemoryStore;
use waxseal_kms::{Engine, EngineKeyring};
use waxseal_kms_api::op::CreateKeyRequest;

const PLAINTEXT: [u8; 200] = [0x5a; 200];

/// An engine whose state is in memory and whose log is where syncing costs least.
struct Kms {
    engine: Arc<Engine>,
    key: KeyRef,
    log: tempfile::TempDir,
}

impl Kms {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let log = match memory.is_dir() {
            true => tempfile::tempdir_in(memory).unwrap(),
            false => tempfile::tempdir().unwrap(),
        };
        let engine = Engine::new(Parts {
            store: Box::new(MemoryStore::new()),
            audit: AuditLog::open(log.path()).unwrap(),
            rows: RowSealer::new(SecretBytes::new(vec![9; 32]), [3; 16]),
            home: Home {
                partition: "aws".into(),
                region: "local".into(),
                account: "000000000000".into(),
            },
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        })
        .unwrap();
        let create = engine
            .by_owner("test", CreateKeyRequest::default())
            .unwrap();
        let key = engine.call(create).unwrap().key_metadata.key_id;
        Self {
            engine: Arc::new(engine),
            key: key.parse().unwrap(),
            log,
        }
    }

    fn sealing(&self) -> EngineKeyring {
        EngineKeyring::strict(self.engine.clone(), self.key.clone(), "test")
    }

    fn opening(&self) -> EngineKeyring {
        EngineKeyring::discovery(self.engine.clone(), "test")
    }
}

fn context() -> EncryptionContext {
    let mut context = EncryptionContext::new();
    context.insert("purpose", "flips").unwrap();
    context
}

fn sealed_message(kms: &Kms, suite: Suite) -> Vec<u8> {
    let options = SealOptions {
        suite,
        context: context(),
        ..SealOptions::default()
    };
    block_on(message::encrypt(
        &kms.sealing(),
        &PLAINTEXT,
        options,
        &SystemEntropy,
    ))
    .unwrap()
}

fn open_message(kms: &Kms, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let opened = block_on(message::decrypt(
        &kms.opening(),
        bytes,
        &OpenOptions::default(),
    ));
    opened
        .map(|(plaintext, _)| plaintext.expose().to_vec())
        .map_err(|error| error.to_string())
}

/// Alters `sealed` in every way; `open` must refuse each and open the original.
fn refuse_all(
    name: &str,
    kms: &Kms,
    sealed: &[u8],
    open: impl Fn(&Kms, &[u8]) -> Result<Vec<u8>, String>,
) {
    let begin = Instant::now();
    assert_eq!(open(kms, sealed).unwrap(), PLAINTEXT, "{name}");
    let mut refusals: BTreeMap<String, usize> = BTreeMap::new();
    let mut refuse = |bytes: &[u8], how: String| match open(kms, bytes) {
        Ok(opened) => panic!(
            "{name}, {how}: opened to {} plaintext",
            if opened == PLAINTEXT {
                "the same"
            } else {
                "ANOTHER"
            }
        ),
        Err(reason) => *refusals.entry(reason).or_default() += 1,
    };
    let mut changed = sealed.to_vec();
    for bit in 0..sealed.len() * 8 {
        changed[bit / 8] ^= 1 << (bit % 8);
        refuse(&changed, format!("bit {} of byte {}", bit % 8, bit / 8));
        changed[bit / 8] ^= 1 << (bit % 8);
    }
    for len in 0..sealed.len() {
        refuse(&sealed[..len], format!("cut to {len} bytes"));
    }
    let mut extensions = 0;
    for more in [&[0_u8][..], &[0xff], &[0; 16], &[0; 4096], sealed] {
        refuse(
            &[sealed, more].concat(),
            format!("{} bytes behind it", more.len()),
        );
        refuse(
            &[more, sealed].concat(),
            format!("{} bytes before it", more.len()),
        );
        extensions += 2;
    }
    assert_eq!(open(kms, sealed).unwrap(), PLAINTEXT, "{name}, afterwards");
    let verified = audit::verify(kms.log.path()).unwrap();
    promise(
        &format!("bit-flips-{name}"),
        format!(
            "{} bits, {} truncations, {extensions} extensions of {} bytes: 0 opened, 0 panics; {} kinds \
             of refusal; {} audit records; {:.1?}",
            sealed.len() * 8,
            sealed.len(),
            sealed.len(),
            refusals.len(),
            verified.records,
            begin.elapsed()
        ),
    );
}

#[test]
fn message_0478() {
    let kms = Kms::new();
    let sealed = sealed_message(&kms, Suite::COMMITTING);
    refuse_all("message-0478", &kms, &sealed, open_message);
}

#[test]
fn message_0578() {
    let kms = Kms::new();
    let sealed = sealed_message(&kms, Suite::COMMITTING_SIGNED);
    refuse_all("message-0578", &kms, &sealed, open_message);
}

#[test]
fn direct_blob() {
    let kms = Kms::new();
    let plaintext = SecretBytes::copy_of(&PLAINTEXT);
    let sealed = block_on(direct::seal(&kms.sealing(), plaintext, &context())).unwrap();
    refuse_all("direct", &kms, &sealed, |kms, bytes| {
        let opened = block_on(direct::open(&kms.opening(), bytes, &context()));
        opened
            .map(|plaintext| plaintext.expose().to_vec())
            .map_err(|error| error.to_string())
    });
}

#[test]
fn secretbox_payload() {
    let kms = Kms::new();
    let limits = secretbox::Limits::default();
    let (keyring, context) = (kms.sealing(), context());
    let sealed = secretbox::seal_bytes(&keyring, &PLAINTEXT, &context, &SystemEntropy, &limits);
    let sealed = block_on(sealed).unwrap();
    refuse_all("secretbox", &kms, &sealed, |kms, bytes| {
        let opened = block_on(secretbox::open_bytes(
            &kms.opening(),
            bytes,
            &context,
            &limits,
        ));
        opened
            .map(|plaintext| plaintext.expose().to_vec())
            .map_err(|error| error.to_string())
    });
}
