//! The hierarchical keyring: published messages, its cache, and the store of wrapped branch keys.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside #[test] may fail too

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{
    Header, Outcome, context, entropy, file, json, now, round_trip, unwrap, vectors, wrap,
};
use waxseal_core::crypto::aead::AesGcm;
use waxseal_core::crypto::kdf;
use waxseal_core::crypto::random::SystemEntropy;
use waxseal_core::keyring::branch_key::{
    BranchKey, BranchKeyRows, BranchKeyStore, BranchKeyVersion, StaticBranchKeys, WrappedBranchKey,
    WrappedBranchKeys,
};
use waxseal_core::keyring::{
    BoxFuture, BranchKeyOf, HierarchicalError, HierarchicalKeyring, RawAesKeyring,
};
use waxseal_core::{EncryptionContext, Keyring, KeyringError, SecretBytes};

const ID: &str = "a branch";

/// A clock that stands until it is moved.
#[derive(Clone, Default)]
struct Seconds(Arc<AtomicU64>);

impl Seconds {
    fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::SeqCst);
    }

    fn keyring(&self, store: Arc<dyn BranchKeyStore>) -> HierarchicalKeyring {
        let clock = self.clone();
        let elapsed = Arc::new(move || Duration::from_secs(clock.0.load(Ordering::SeqCst)));
        let (branch, ttl) = (BranchKeyOf::Id(ID.to_owned()), Duration::from_secs(60));
        HierarchicalKeyring::new(branch, store, ttl, elapsed, entropy()).unwrap()
    }
}

fn branch_key(byte: u8) -> BranchKey {
    BranchKey {
        version: BranchKeyVersion::from_bytes([byte; 16]),
        key: SecretBytes::new(vec![byte; 32]),
    }
}

fn static_keys(versions: &[u8]) -> Arc<StaticBranchKeys> {
    let mut store = StaticBranchKeys::new();
    for byte in versions {
        store.insert(ID, branch_key(*byte));
    }
    store.insert("another", branch_key(99));
    Arc::new(store)
}

#[test]
fn unwraps_what_the_dafny_library_wrapped() {
    let Some(folder) = vectors("esdk/dafny-4.1.0", 11) else {
        return;
    };
    let keys = &json(&folder.join("keys.json"))["keys"];
    let mut opened = 0;
    for (id, test) in json(&folder.join("decrypt-manifest.json"))["tests"]
        .as_object()
        .unwrap()
    {
        let scenario = &test["decryption-scenario"];
        let description = &scenario["decryptKeyDescription"];
        if description["type"] != "aws-kms-hierarchy" {
            continue;
        }
        let key = &keys[description["key"].as_str().unwrap()];
        let branch = key["key-id"].as_str().unwrap();
        let version = key["branchKeyVersion"].as_str().unwrap();
        let mut store = StaticBranchKeys::new();
        let bytes = STANDARD.decode(key["branchKey"].as_str().unwrap()).unwrap();
        let branch_key = BranchKey {
            version: version.parse().unwrap(),
            key: SecretBytes::new(bytes),
        };
        assert_eq!(branch_key.version.to_string(), version);
        store.insert(branch, branch_key);
        let keyring = HierarchicalKeyring::new(
            BranchKeyOf::Id(branch.to_owned()),
            Arc::new(store),
            Duration::from_secs(1),
            Arc::new(|| Duration::ZERO),
            entropy(),
        );
        let header = Header::parse(&file(&folder, &scenario["ciphertext"]));
        match unwrap(&keyring.unwrap(), &header.encrypted[0], &header.context) {
            Outcome::Key(key) => assert!(header.proves(&key, &context(&[])), "{id}"),
            other => panic!("{id}: {other:?}"),
        }
        opened += 1;
    }
    assert_eq!(opened, 11);
}

#[test]
fn wraps_under_the_active_version_and_unwraps_under_any() {
    let clock = Seconds::default();
    let old = clock.keyring(static_keys(&[1]));
    let new = clock.keyring(static_keys(&[1, 2]));
    round_trip(&old, &old);
    round_trip(&old, &new);
    let context = context(&[("a", "b")]);
    let encrypted = wrap(&new, &[5; 32], &context);
    assert_eq!(encrypted.provider_id, "aws-kms-hierarchy");
    assert_eq!(encrypted.provider_info, ID.as_bytes());
    assert_eq!(encrypted.ciphertext.len(), 16 + 12 + 16 + 32 + 16);
    assert_eq!(encrypted.ciphertext[28..44], [2; 16]);
    let missing = unwrap(&old, &encrypted, &context);
    assert!(matches!(missing, Outcome::Other(text) if text.contains("no version 02020202-0202")));
}

#[test]
fn foreign_is_told_from_broken_and_every_bit_counts() {
    let keyring = Seconds::default().keyring(static_keys(&[1]));
    let context = context(&[("a", "b")]);
    let encrypted = wrap(&keyring, &[5; 32], &context);
    let mut foreign = encrypted.clone();
    foreign.provider_info = b"another".to_vec();
    assert_eq!(unwrap(&keyring, &foreign, &context), Outcome::NotMine);
    let mut foreign = encrypted.clone();
    foreign.provider_id = "aws-kms".to_owned();
    assert_eq!(unwrap(&keyring, &foreign, &context), Outcome::NotMine);
    for bit in 0..encrypted.ciphertext.len() * 8 {
        let mut changed = encrypted.clone();
        changed.ciphertext[bit / 8] ^= 1 << (bit % 8);
        match unwrap(&keyring, &changed, &context) {
            Outcome::Unauthentic => assert!(!(28..44).contains(&(bit / 8))),
            Outcome::Other(text) => assert!((28..44).contains(&(bit / 8)), "{text}"),
            other => panic!("bit {bit}: {other:?}"),
        }
    }
    for len in 0..encrypted.ciphertext.len() {
        let mut changed = encrypted.clone();
        changed.ciphertext.truncate(len);
        assert_eq!(unwrap(&keyring, &changed, &context), Outcome::Unauthentic);
    }
    let other = support::context(&[("a", "c")]);
    assert_eq!(unwrap(&keyring, &encrypted, &other), Outcome::Unauthentic);
    // The same version of the same id with other bytes.
    let mut store = StaticBranchKeys::new();
    let mut wrong = branch_key(1);
    wrong.key = SecretBytes::new(vec![7; 32]);
    store.insert(ID, wrong);
    let wrong = Seconds::default().keyring(Arc::new(store));
    assert_eq!(unwrap(&wrong, &encrypted, &context), Outcome::Unauthentic);
}

#[test]
fn a_context_in_another_order_is_tried_as_stored() {
    let stored = b"\0\x02\0\x01b\0\0\0\x01a\0\0";
    let read = EncryptionContext::parse(stored).unwrap();
    let sorted = context(&[("a", ""), ("b", "")]);
    let keyring = Seconds::default().keyring(static_keys(&[1]));
    let mut encrypted = wrap(&keyring, &[5; 32], &read);
    let opened = Outcome::Key(vec![5; 32]);
    assert_eq!(unwrap(&keyring, &encrypted, &read), opened);
    assert_eq!(unwrap(&keyring, &encrypted, &sorted), opened);

    // As a writer did that sorted by locale; the layout spelled out once more.
    let mut key = [0; 32];
    kdf::sp800_108(&[1; 32], b"aws-kms-hierarchy", &[&[8; 16]], &mut key).unwrap();
    let aad = [&b"aws-kms-hierarchy"[..], ID.as_bytes(), &[1; 16], stored].concat();
    let mut sealed = vec![6; 32];
    let tag = AesGcm::new(&key)
        .unwrap()
        .seal([9; 12], &aad, &mut sealed)
        .unwrap();
    encrypted.ciphertext = [&[8; 16][..], &[9; 12], &[1; 16], &sealed, &tag].concat();
    let opened = Outcome::Key(vec![6; 32]);
    assert_eq!(unwrap(&keyring, &encrypted, &read), opened);
    assert_eq!(unwrap(&keyring, &encrypted, &sorted), Outcome::Unauthentic);
}

/// Counts what is asked of a store, and can be cut off.
struct Counted {
    inner: Arc<StaticBranchKeys>,
    active: AtomicUsize,
    version: AtomicUsize,
}

impl BranchKeyStore for Counted {
    fn active<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<BranchKey, KeyringError>> {
        self.active.fetch_add(1, Ordering::SeqCst);
        self.inner.active(id)
    }

    fn version<'a>(
        &'a self,
        id: &'a str,
        version: BranchKeyVersion,
    ) -> BoxFuture<'a, Result<BranchKey, KeyringError>> {
        self.version.fetch_add(1, Ordering::SeqCst);
        self.inner.version(id, version)
    }
}

#[test]
fn branch_keys_are_remembered_for_their_time_and_no_longer() {
    let store = Arc::new(Counted {
        inner: static_keys(&[1]),
        active: AtomicUsize::new(0),
        version: AtomicUsize::new(0),
    });
    let clock = Seconds::default();
    let keyring = clock.keyring(store.clone());
    let context = context(&[]);
    let asked = || {
        let both = [&store.active, &store.version];
        both.map(|count| count.load(Ordering::SeqCst))
    };
    clock.set(1_000);
    let encrypted = wrap(&keyring, &[5; 32], &context);
    for _ in 0..10 {
        wrap(&keyring, &[5; 32], &context);
        assert_eq!(
            unwrap(&keyring, &encrypted, &context),
            Outcome::Key(vec![5; 32])
        );
    }
    assert_eq!(asked(), [1, 1]);
    // The limit of 60 s on both sides.
    clock.set(1_060);
    wrap(&keyring, &[5; 32], &context);
    unwrap(&keyring, &encrypted, &context);
    assert_eq!(asked(), [1, 1]);
    clock.set(1_061);
    wrap(&keyring, &[5; 32], &context);
    unwrap(&keyring, &encrypted, &context);
    assert_eq!(asked(), [2, 2]);
    // Use does not prolong a life, and a clock that goes back ends it.
    clock.set(1_121);
    unwrap(&keyring, &encrypted, &context);
    clock.set(1_122);
    unwrap(&keyring, &encrypted, &context);
    assert_eq!(asked(), [2, 3]);
    clock.set(5);
    wrap(&keyring, &[5; 32], &context);
    assert_eq!(asked(), [3, 3]);
}

#[test]
fn the_cache_has_a_capacity() {
    let mut store = StaticBranchKeys::new();
    for at in 0..1_500 {
        store.insert(format!("tenant {at}"), branch_key(1));
    }
    let store = Arc::new(Counted {
        inner: Arc::new(store),
        active: AtomicUsize::new(0),
        version: AtomicUsize::new(0),
    });
    let tenant = |context: &EncryptionContext| context.value("tenant").map(str::to_owned);
    let clock = Seconds::default();
    let ticks = clock.clone();
    let keyring = HierarchicalKeyring::new(
        BranchKeyOf::Context(Arc::new(tenant)),
        store.clone(),
        Duration::from_secs(1_000_000),
        Arc::new(move || Duration::from_secs(ticks.0.fetch_add(1, Ordering::SeqCst))),
        entropy(),
    )
    .unwrap();
    let seal = |at: usize| {
        let context = context(&[("tenant", &format!("tenant {at}"))]);
        let encrypted = wrap(&keyring, &[5; 32], &context);
        assert_eq!(encrypted.provider_info, format!("tenant {at}").as_bytes());
    };
    (0..1_000).for_each(seal);
    (0..1_000).for_each(seal);
    assert_eq!(
        store.active.load(Ordering::SeqCst),
        1_000,
        "all are remembered"
    );
    seal(1_000);
    seal(999);
    assert_eq!(store.active.load(Ordering::SeqCst), 1_001);
    seal(0);
    assert_eq!(
        store.active.load(Ordering::SeqCst),
        1_002,
        "the oldest made room"
    );
    let refused = now(keyring.generate(32, &context(&[])));
    assert!(matches!(refused, Err(KeyringError::Configuration { .. })));
}

#[test]
fn configuration_is_checked() {
    let new = |id: &str, seconds: u64| {
        let branch = BranchKeyOf::Id(id.to_owned());
        let elapsed = Arc::new(|| Duration::ZERO);
        let ttl = Duration::from_secs(seconds);
        HierarchicalKeyring::new(branch, static_keys(&[]), ttl, elapsed, entropy()).map(|_| ())
    };
    assert_eq!(new("", 1), Err(HierarchicalError::Id));
    assert_eq!(new(&"i".repeat(65_535), 1), Ok(()));
    assert_eq!(new(&"i".repeat(65_536), 1), Err(HierarchicalError::Id));
    assert_eq!(new("i", 0), Err(HierarchicalError::TimeToLive));
    let keyring = Seconds::default().keyring(static_keys(&[]));
    let missing = now(keyring.generate(32, &context(&[])));
    assert!(matches!(missing, Err(KeyringError::NotFound { .. })));
    for wrong in [
        "",
        "x",
        "e9ce18a3edb542729f861cacb7997ff6",
        "{e9ce18a3-edb5-4272-9f86-1cacb7997ff6}",
    ] {
        assert!(wrong.parse::<BranchKeyVersion>().is_err(), "{wrong}");
    }
}

/// Rows in memory.
#[derive(Default)]
struct Rows(Mutex<BTreeMap<(String, Option<BranchKeyVersion>), WrappedBranchKey>>);

impl BranchKeyRows for Rows {
    fn read(
        &self,
        id: &str,
        version: Option<BranchKeyVersion>,
    ) -> Result<Option<WrappedBranchKey>, String> {
        Ok(self
            .0
            .lock()
            .unwrap()
            .get(&(id.to_owned(), version))
            .cloned())
    }

    fn write(&self, version: &WrappedBranchKey, active: &WrappedBranchKey) -> Result<(), String> {
        let mut rows = self.0.lock().unwrap();
        rows.insert((version.id.clone(), Some(version.version)), version.clone());
        rows.insert((active.id.clone(), None), active.clone());
        Ok(())
    }
}

fn wrapped(rows: &Arc<Rows>, name: &str) -> WrappedBranchKeys {
    let key = SecretBytes::new(vec![3; 32]);
    let wrapping = RawAesKeyring::new("ns", name, &key, entropy()).unwrap();
    WrappedBranchKeys::new(rows.clone(), Arc::new(wrapping))
}

#[test]
fn a_store_keeps_branch_keys_wrapped() {
    let rows = Arc::new(Rows::default());
    let store = wrapped(&rows, "k");
    let create = |id| now(store.create(id, "2030-01-01T00:00:00Z", &SystemEntropy));
    let rotate = |id| now(store.rotate(id, "2031-01-01T00:00:00Z", &SystemEntropy));
    assert!(matches!(rotate(ID), Err(KeyringError::NotFound { .. })));
    let first = create(ID).unwrap();
    assert!(matches!(create(ID), Err(KeyringError::KeyState { .. })));
    let clock = Seconds::default();
    let keyring = clock.keyring(Arc::new(wrapped(&rows, "k")));
    let context = context(&[("a", "b")]);
    let sealed_first = wrap(&keyring, &[5; 32], &context);
    let second = rotate(ID).unwrap();
    assert_ne!(first, second);
    clock.set(61);
    let sealed_second = wrap(&keyring, &[5; 32], &context);
    for (sealed, version) in [(&sealed_first, first), (&sealed_second, second)] {
        assert_eq!(&sealed.ciphertext[28..44], version.as_bytes());
        assert_eq!(
            unwrap(&keyring, sealed, &context),
            Outcome::Key(vec![5; 32])
        );
    }
    // A version-4 UUID.
    assert_eq!(first.as_bytes()[6] >> 4, 4);
    assert_eq!(first.as_bytes()[8] >> 6, 2);

    // Another wrapping key has no access.
    let other = wrapped(&rows, "other");
    assert!(matches!(
        now(other.active(ID)),
        Err(KeyringError::AccessDenied { .. })
    ));
}

#[test]
fn a_row_opens_only_in_its_place_and_as_it_was_written() {
    let rows = Arc::new(Rows::default());
    let store = wrapped(&rows, "k");
    let first = now(store.create(ID, "2030", &SystemEntropy)).unwrap();
    now(store.create("another", "2030", &SystemEntropy)).unwrap();
    let second = now(store.rotate(ID, "2031", &SystemEntropy)).unwrap();
    let original = rows.0.lock().unwrap().clone();
    let active = (ID.to_owned(), None);
    let version = (ID.to_owned(), Some(second));
    type Change = Box<dyn Fn(&mut WrappedBranchKey)>;
    let other_active = original[&("another".to_owned(), None)].clone();
    let first_row = original[&(ID.to_owned(), Some(first))].clone();
    let as_active = original[&version].clone();
    let swaps: [(&str, Change); 8] = [
        ("id", Box::new(|row| row.id = "another".to_owned())),
        ("time", Box::new(|row| row.created = "2030".to_owned())),
        ("version", Box::new(move |row| row.version = first)),
        ("kind", Box::new(|row| row.active = !row.active)),
        ("bytes", Box::new(|row| row.encrypted[0].ciphertext[0] ^= 1)),
        (
            "another's",
            Box::new(move |row| *row = other_active.clone()),
        ),
        (
            "another's as ours",
            Box::new(move |row| row.encrypted = first_row.encrypted.clone()),
        ),
        (
            "other kind's key",
            Box::new(move |row| {
                let encrypted = as_active.encrypted.clone();
                row.encrypted = if row.active { encrypted } else { Vec::new() };
            }),
        ),
    ];
    for (what, change) in swaps {
        for place in [&active, &version] {
            let mut changed = original.clone();
            change(changed.get_mut(place).unwrap());
            *rows.0.lock().unwrap() = changed;
            let opened = match place.1 {
                None => now(store.active(ID)),
                Some(version) => now(store.version(ID, version)),
            };
            assert!(opened.is_err(), "{what} of {place:?} was altered");
        }
    }
    *rows.0.lock().unwrap() = original;
    assert_eq!(now(store.active(ID)).unwrap().version, second);
    assert_eq!(now(store.version(ID, first)).unwrap().version, first);
}
