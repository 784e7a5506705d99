use super::*;
use crate::materials::DefaultManager;
use crate::message::{self, OpenOptions, SealOptions};
use std::sync::atomic::{AtomicU64, Ordering};
use waxseal_core::crypto::random::SystemEntropy;
use waxseal_core::keyring::{
    DataKey, EncryptedDataKey, Generated, Keyring, KeyringError, RawAesKeyring, Unwrapped,
};
use waxseal_core::secret::SecretBytes;

/// Counts what reaches the key service.
struct Counting {
    keyring: RawAesKeyring,
    calls: AtomicU64,
}

impl Counting {
    fn new() -> Arc<Self> {
        let key = SecretBytes::zeroed(32);
        let keyring = RawAesKeyring::new("ns", "k", &key, Arc::new(SystemEntropy)).unwrap();
        let calls = AtomicU64::new(0);
        Arc::new(Self { keyring, calls })
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Keyring for Counting {
    fn generate<'a>(
        &'a self,
        key_bytes: usize,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.keyring.generate(key_bytes, context)
    }

    fn wrap<'a>(
        &'a self,
        key: &'a DataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>> {
        self.keyring.wrap(key, context)
    }

    fn unwrap<'a>(
        &'a self,
        encrypted: &'a EncryptedDataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.keyring.unwrap(encrypted, context)
    }
}

#[derive(Default)]
struct Seconds(AtomicU64);

impl Clock for Seconds {
    fn now(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

struct Bench {
    keyring: Arc<Counting>,
    clock: Arc<Seconds>,
    manager: CachingManager<DefaultManager<Arc<Counting>>>,
}

fn limits() -> CacheLimits {
    CacheLimits::by_age(Duration::from_secs(10)).unwrap()
}

fn bench(limits: CacheLimits) -> Bench {
    let (keyring, clock) = (Counting::new(), Arc::new(Seconds::default()));
    let manager = DefaultManager::new(keyring.clone());
    Bench {
        manager: CachingManager::new(manager, limits, clock.clone()),
        keyring,
        clock,
    }
}

impl Bench {
    fn seal(&self, options: SealOptions, plaintext: &[u8]) -> Vec<u8> {
        let sealed = message::encrypt_with(&self.manager, plaintext, options, &SystemEntropy);
        pollster::block_on(sealed).unwrap()
    }

    fn open(&self, message: &[u8], options: &OpenOptions) -> Vec<u8> {
        let opened = message::decrypt_with(&self.manager, message, options);
        pollster::block_on(opened).unwrap().0.expose().to_vec()
    }

    fn pass(&self, seconds: u64) {
        self.clock.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

fn of(suite: Suite) -> SealOptions {
    SealOptions {
        suite,
        commitment: match suite.is_committing() {
            true => CommitmentPolicy::RequireEncryptRequireDecrypt,
            false => CommitmentPolicy::ForbidEncryptAllowDecrypt,
        },
        ..SealOptions::default()
    }
}

#[test]
fn ten_thousand_messages_cost_ten_calls() {
    let bench = bench(limits().with_messages_max(1000).unwrap());
    let mut sealed = Vec::new();
    for at in 0..10_000_u32 {
        sealed.push(bench.seal(SealOptions::default(), &at.to_be_bytes()));
    }
    assert_eq!(bench.keyring.calls(), 10);
    for (at, message) in sealed.iter().enumerate() {
        let at = at as u32;
        assert_eq!(
            bench.open(message, &OpenOptions::default()),
            at.to_be_bytes()
        );
    }
    assert_eq!(bench.keyring.calls(), 20);
    let CacheStatistics {
        hits,
        misses,
        bypassed,
    } = bench.manager.statistics();
    assert_eq!((hits, misses, bypassed), (19_980, 20, 0));
}

#[test]
fn messages_of_one_data_key_have_their_own_keys() {
    for suite in Suite::all().filter(|suite| suite.derives_keys()) {
        let bench = bench(limits());
        let [one, two] = [(); 2].map(|()| bench.seal(of(suite), b"the same text"));
        assert_eq!(bench.keyring.calls(), 1, "{suite:?}");
        let body = one.len() - 60;
        assert_ne!(one[body..], two[body..]);
        let options = OpenOptions {
            commitment: CommitmentPolicy::RequireEncryptAllowDecrypt,
            ..OpenOptions::default()
        };
        // Each opens for who caches nothing: signatures and wrappings belong together.
        for message in [&one, &two] {
            let keyring = bench.keyring.as_ref();
            let opened = message::decrypt(keyring, message, &options);
            assert_eq!(
                pollster::block_on(opened).unwrap().0.expose(),
                b"the same text"
            );
        }
    }
}

/// Without derivation two messages would have one key, and nonce 1 would meet it twice.
#[test]
fn suites_without_derivation_share_nothing() {
    for suite in Suite::all().filter(|suite| !suite.derives_keys()) {
        let bench = bench(limits());
        let sealed = bench.seal(of(suite), b"x");
        bench.seal(of(suite), b"x");
        assert_eq!(bench.keyring.calls(), 2, "{suite:?}");
        let options = OpenOptions {
            commitment: CommitmentPolicy::RequireEncryptAllowDecrypt,
            ..OpenOptions::default()
        };
        bench.open(&sealed, &options);
        bench.open(&sealed, &options);
        assert_eq!(bench.keyring.calls(), 4, "{suite:?}");
        assert_eq!(bench.manager.statistics().bypassed, 4);
    }
}

#[test]
fn age_ends_an_entry_to_the_second() {
    let bench = bench(limits());
    let sealed = bench.seal(SealOptions::default(), b"x");
    bench.open(&sealed, &OpenOptions::default());
    assert_eq!(bench.keyring.calls(), 2);
    bench.pass(9);
    bench.seal(SealOptions::default(), b"x");
    bench.open(&sealed, &OpenOptions::default());
    assert_eq!(bench.keyring.calls(), 2);
    // Use does not make it younger.
    bench.pass(1);
    bench.seal(SealOptions::default(), b"x");
    bench.open(&sealed, &OpenOptions::default());
    assert_eq!(bench.keyring.calls(), 4);
}

#[test]
fn bytes_are_counted_before_they_are_sealed() {
    let bench = bench(limits().with_bytes_max(10).unwrap());
    bench.seal(SealOptions::default(), &[0; 6]);
    bench.seal(SealOptions::default(), &[0; 4]);
    assert_eq!(bench.keyring.calls(), 1);
    bench.seal(SealOptions::default(), &[0; 1]);
    assert_eq!(bench.keyring.calls(), 2);
    // More than any data key may seal: such a message has one of its own.
    bench.seal(SealOptions::default(), &[0; 11]);
    assert_eq!(bench.keyring.calls(), 3);
    assert_eq!(bench.manager.statistics().bypassed, 1);
}

#[test]
fn what_differs_shares_nothing() {
    let bench = bench(limits());
    let with = |name: &str, required: bool| {
        let mut options = SealOptions::default();
        options.context.insert(name, "v").unwrap();
        if required {
            options.required_names.insert(name.to_owned());
        }
        options
    };
    let all = [
        SealOptions::default(),
        with("a", false),
        with("a", true),
        with("b", false),
        SealOptions {
            commitment: CommitmentPolicy::RequireEncryptAllowDecrypt,
            ..SealOptions::default()
        },
        of(Suite::COMMITTING_SIGNED),
        of(Suite::UNCOMMITTED_SIGNED),
    ];
    for _ in 0..2 {
        for options in &all {
            bench.seal(options.clone(), b"x");
        }
    }
    assert_eq!(bench.keyring.calls(), all.len() as u64);
}

/// A reader who may open everything must not open doors for one who may not, nor the reverse.
#[test]
fn policies_do_not_see_each_others_entries() {
    let bench = bench(limits());
    let sealed = bench.seal(SealOptions::default(), b"x");
    let calls = bench.keyring.calls();
    for commitment in CommitmentPolicy::ALL {
        let options = OpenOptions {
            commitment,
            ..OpenOptions::default()
        };
        bench.open(&sealed, &options);
        bench.open(&sealed, &options);
    }
    assert_eq!(bench.keyring.calls(), calls + 3);
}

#[test]
fn the_one_unused_for_longest_goes() {
    let bench = bench(limits().with_entries_max(2).unwrap());
    let with = |name: &str| {
        let mut options = SealOptions::default();
        options.context.insert(name, "v").unwrap();
        options
    };
    for name in ["a", "b", "a", "c", "a"] {
        bench.pass(1);
        bench.seal(with(name), b"x");
    }
    assert_eq!(bench.keyring.calls(), 3);
    bench.seal(with("b"), b"x");
    assert_eq!(bench.keyring.calls(), 4);
    bench.manager.clear();
    bench.seal(with("b"), b"x");
    assert_eq!(bench.keyring.calls(), 5);
}

#[test]
fn a_plaintext_of_unknown_length_has_its_own_key() {
    let bench = bench(limits());
    for _ in 0..2 {
        let sealer =
            message::Sealer::with(&bench.manager, SealOptions::default(), None, &SystemEntropy);
        pollster::block_on(sealer).unwrap();
    }
    assert_eq!(bench.keyring.calls(), 2);
}

#[test]
fn limits_have_edges() {
    let age = CacheLimits::by_age;
    assert_eq!(age(Duration::ZERO), Err(InvalidLimits::Age));
    assert!(age(Duration::from_nanos(1)).is_ok());
    for (messages, fits) in [
        (0, false),
        (1, true),
        (1 << 32, true),
        ((1 << 32) + 1, false),
    ] {
        assert_eq!(limits().with_messages_max(messages).is_ok(), fits);
    }
    for (bytes, fits) in [
        (0, true),
        (u64::MAX >> 1, true),
        ((u64::MAX >> 1) + 1, false),
    ] {
        assert_eq!(limits().with_bytes_max(bytes).is_ok(), fits);
    }
    assert_eq!(limits().with_entries_max(0), Err(InvalidLimits::Entries));
}

/// What failed is not remembered.
#[test]
fn failures_are_asked_again() {
    let bench = bench(limits());
    let sealed = bench.seal(SealOptions::default(), b"x");
    let mut options = OpenOptions::default();
    options.required_context.insert("tenant", "t").unwrap();
    for _ in 0..2 {
        let opened = message::decrypt_with(&bench.manager, &sealed, &options);
        let error = pollster::block_on(opened).unwrap_err();
        assert!(
            matches!(error, OpenError::ContextMismatch { .. }),
            "{error}"
        );
    }
}
