//! Whole formats from memory to nowhere, and the engine behind them: what the libraries cost
//! without files and processes around them.
//!
//! `cargo bench -p waxseal-conformance --bench frames [FILTER]`

#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot be set up has nothing to say"
)]

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use waxseal::materials::{
    CacheLimits, CachingManager, DefaultManager, MaterialsManager, SystemClock,
};
use waxseal::message::{self, Incoming, Limits, OpenOptions, Release, SealOptions, Sealer, Suite};
use waxseal::{RawAesKeyring, SecretBytes, SystemEntropy};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

fn main() {
    divan::main();
}

/// Nothing here waits for anything: what the keyrings give is ready at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("local keyrings do not wait"),
    }
}

fn keyring() -> RawAesKeyring {
    let key = SecretBytes::new(vec![7; 32]);
    RawAesKeyring::new("bench", "key", &key, Arc::new(SystemEntropy)).unwrap()
}

#[divan::bench_group]
mod message_64_mib {
    use super::*;

    /// Frame length and suite.
    const SHAPES: [Shape; 4] = [
        Shape {
            frame_kib: 64,
            signed: false,
        },
        Shape {
            frame_kib: 4,
            signed: false,
        },
        Shape {
            frame_kib: 64,
            signed: true,
        },
        Shape {
            frame_kib: 4,
            signed: true,
        },
    ];
    const PLAINTEXT_BYTES: usize = 64 * MIB;

    #[derive(Clone, Copy)]
    struct Shape {
        frame_kib: u32,
        signed: bool,
    }

    impl std::fmt::Display for Shape {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let signed = if self.signed { ", signed" } else { "" };
            write!(f, "{} KiB{signed}", self.frame_kib)
        }
    }

    impl Shape {
        fn options(self) -> SealOptions {
            SealOptions {
                suite: match self.signed {
                    true => Suite::COMMITTING_SIGNED,
                    false => Suite::COMMITTING,
                },
                frame_bytes: NonZeroU32::new(self.frame_kib * 1024).unwrap(),
                ..SealOptions::default()
            }
        }
    }

    #[divan::bench(args = SHAPES, sample_count = 20)]
    fn seal_stream(bencher: Bencher<'_, '_>, shape: Shape) {
        let (keyring, plaintext) = (keyring(), vec![1; PLAINTEXT_BYTES]);
        bencher
            .counter(BytesCount::new(PLAINTEXT_BYTES))
            .bench_local(|| {
                let sealer = now(Sealer::new(&keyring, shape.options(), &SystemEntropy)).unwrap();
                message::seal_stream(sealer, &mut &plaintext[..], &mut std::io::sink()).unwrap()
            });
    }

    #[divan::bench(args = SHAPES, sample_count = 20)]
    fn open_stream(bencher: Bencher<'_, '_>, shape: Shape) {
        let keyring = keyring();
        let plaintext = vec![1; PLAINTEXT_BYTES];
        let sealed = message::encrypt(&keyring, &plaintext, shape.options(), &SystemEntropy);
        let sealed = now(sealed).unwrap();
        bencher
            .counter(BytesCount::new(PLAINTEXT_BYTES))
            .bench_local(|| {
                let incoming = Incoming::read(&sealed[..], &Limits::default()).unwrap();
                let opener = now(incoming.open(&keyring, &OpenOptions::default())).unwrap();
                opener
                    .open_stream(&mut std::io::sink(), Release::Unverified)
                    .unwrap()
            });
    }
}

/// Messages of 1 KiB on one thread, and how many of them a second: with a wrapped key of their own,
/// and with one from the cache.
#[divan::bench_group]
mod message_1_kib {
    use super::*;

    type Cached = CachingManager<DefaultManager<RawAesKeyring>>;

    fn cached() -> Cached {
        let limits = CacheLimits::by_age(Duration::from_secs(300)).unwrap();
        let clock = Arc::new(SystemClock::start());
        CachingManager::new(DefaultManager::new(keyring()), limits, clock)
    }

    #[divan::bench]
    fn seal(bencher: Bencher<'_, '_>) {
        sealing(bencher, &DefaultManager::new(keyring()));
    }

    #[divan::bench]
    fn open(bencher: Bencher<'_, '_>) {
        opening(bencher, &DefaultManager::new(keyring()));
    }

    #[divan::bench]
    fn seal_cached(bencher: Bencher<'_, '_>) {
        sealing(bencher, &cached());
    }

    #[divan::bench]
    fn open_cached(bencher: Bencher<'_, '_>) {
        opening(bencher, &cached());
    }

    fn sealing(bencher: Bencher<'_, '_>, manager: &dyn MaterialsManager) {
        bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
            let options = SealOptions::default();
            now(message::encrypt_with(
                manager,
                &[1; KIB],
                options,
                &SystemEntropy,
            ))
            .unwrap()
        });
    }

    fn opening(bencher: Bencher<'_, '_>, manager: &dyn MaterialsManager) {
        let options = SealOptions::default();
        let sealed = now(message::encrypt_with(
            manager,
            &[1; KIB],
            options,
            &SystemEntropy,
        ));
        let (sealed, demands) = (sealed.unwrap(), OpenOptions::default());
        bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
            let opened = now(message::decrypt_with(manager, &sealed, &demands)).unwrap();
            divan::black_box_drop(opened);
        });
    }
}

/// A short message: header, key derivation, wrapping.
#[divan::bench_group]
mod message_20_bytes {
    use super::*;

    #[divan::bench(args = [false, true])]
    fn seal(bencher: Bencher<'_, '_>, signed: bool) {
        let keyring = keyring();
        bencher.bench_local(|| {
            now(message::encrypt(
                &keyring,
                &[1; 20],
                options(signed),
                &SystemEntropy,
            ))
            .unwrap()
        });
    }

    #[divan::bench(args = [false, true])]
    fn open(bencher: Bencher<'_, '_>, signed: bool) {
        let keyring = keyring();
        let sealed = message::encrypt(&keyring, &[1; 20], options(signed), &SystemEntropy);
        let sealed = now(sealed).unwrap();
        let demands = OpenOptions::default();
        bencher.bench_local(|| now(message::decrypt(&keyring, &sealed, &demands)).unwrap());
    }

    fn options(signed: bool) -> SealOptions {
        let mut options = SealOptions::default();
        if signed {
            options.suite = Suite::COMMITTING_SIGNED;
        }
        options
    }
}

#[divan::bench_group]
mod secretbox_payload {
    use super::*;
    use waxseal::secretbox::{self, Limits, PayloadRef};

    const BYTES: [usize; 2] = [64 * KIB, 16 * MIB];

    #[divan::bench(args = BYTES)]
    fn seal(bencher: Bencher<'_, '_>, bytes: usize) {
        let plaintext = vec![1; bytes];
        bencher.counter(BytesCount::new(bytes)).bench_local(|| {
            secretbox::seal_into(&[7; 32], &[8; 200], [9; 24], &plaintext).unwrap()
        });
    }

    #[divan::bench(args = BYTES)]
    fn open(bencher: Bencher<'_, '_>, bytes: usize) {
        let sealed = secretbox::seal_into(&[7; 32], &[8; 200], [9; 24], &vec![1; bytes]).unwrap();
        bencher.counter(BytesCount::new(bytes)).bench_local(|| {
            let payload = PayloadRef::decode(&sealed, &Limits::default()).unwrap();
            secretbox::open_in(&[7; 32], payload).unwrap()
        });
    }
}

/// The engine with its state in memory; each request is durable in the audit log before it is
/// answered. The folder of the log decides: memory shows the engine, the disk shows `fdatasync`.
#[divan::bench_group]
mod generate_data_key {
    use super::*;
    use std::path::Path;
    use waxseal_conformance::engines::parts;
    use waxseal_kms::Engine;
    use waxseal_kms::audit::AuditLog;
    use waxseal_kms::store::MemoryStore;
    use waxseal_kms_api::op::{CreateKeyRequest, GenerateDataKeyRequest};

    const THREADS: [usize; 3] = [1, 16, 64];

    #[divan::bench(threads = THREADS, sample_count = 50, sample_size = 64)]
    fn log_on_tmpfs(bencher: Bencher<'_, '_>) {
        generate(bencher, Path::new("/dev/shm"));
    }

    #[divan::bench(threads = THREADS, sample_count = 50, sample_size = 64)]
    fn log_on_disk(bencher: Bencher<'_, '_>) {
        generate(bencher, Path::new(env!("CARGO_TARGET_TMPDIR")));
    }

    fn generate(bencher: Bencher<'_, '_>, directory: &Path) {
        let folder = tempfile::tempdir_in(directory).unwrap();
        let engine = engine(folder.path());
        let request = engine
            .by_owner("bench", CreateKeyRequest::default())
            .unwrap();
        let key_id = engine.call(request).unwrap().key_metadata.key_id;
        bencher.counter(ItemsCount::new(1_u32)).bench(|| {
            let input = GenerateDataKeyRequest {
                key_id: key_id.clone(),
                encryption_context: [("purpose".to_owned(), "bench".to_owned())].into(),
                key_spec: None,
                number_of_bytes: Some(32),
                ..GenerateDataKeyRequest::default()
            };
            engine
                .call(engine.by_owner("bench", input).unwrap())
                .unwrap()
        });
    }

    fn engine(folder: &Path) -> Engine {
        let log = AuditLog::open(&folder.join("audit")).unwrap();
        Engine::new(parts(MemoryStore::new(), log)).unwrap()
    }
}
