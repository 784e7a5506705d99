//! Several roots for one home, leases, and new domain keys while it is used.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the point"
)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use waxseal_core::SecretBytes;
use waxseal_core::arn::Home;
use waxseal_core::crypto::random::SystemEntropy;
use waxseal_kms::Engine;
use waxseal_kms::audit;
use waxseal_kms::home::{
    EmbeddedHome, FileRoot, HomeError, LeaseNotice, RootSource, Wanted, add_root, exchange_root,
    init, migrate_root, remove_root, roots_of, try_roots,
};
use waxseal_kms::root::{RootError, RootKind, RootRecord, RootShare};
use waxseal_kms::store::{Expect, SqliteStore, Store};
use waxseal_kms_api::ErrorCode;
use waxseal_kms_api::op::{
    CreateKeyRequest, DecryptRequest, DisableKeyRequest, EnableKeyRequest, EncryptRequest,
};
use waxseal_kms_api::shape::{Blob, SecretBlob};

/// Whoever keeps the passphrase and the shares.
#[derive(Default)]
struct Keepers {
    passphrase: Mutex<Vec<u8>>,
    shares: Mutex<Vec<Vec<u8>>>,
    asked: AtomicUsize,
}

impl RootSource for Keepers {
    fn wanted(&self) -> Vec<Wanted> {
        vec![Wanted::File]
    }

    fn is_at_hand(&self, _: &RootKind) -> bool {
        false
    }

    fn passphrase(&self, _: bool) -> Result<SecretBytes, String> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(SecretBytes::copy_of(&self.passphrase.lock().unwrap()))
    }

    fn shares(&self, _: u8) -> Result<Vec<RootShare>, String> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let shares = self.shares.lock().unwrap();
        let read = shares.iter().map(|text| RootShare::read(text));
        read.collect::<Result<_, _>>()
            .map_err(|error| error.to_string())
    }

    fn hand_out(&self, shares: &[SecretBytes]) -> Result<(), String> {
        let shares = shares.iter().map(|share| share.expose().to_vec());
        *self.shares.lock().unwrap() = shares.collect();
        Ok(())
    }
}

fn place() -> Home {
    Home {
        partition: "aws".into(),
        region: "local".into(),
        account: "000000000000".into(),
    }
}

fn open(directory: &Path, source: Arc<dyn RootSource>) -> Result<EmbeddedHome, HomeError> {
    EmbeddedHome::open(directory, &place(), source, Arc::new(SystemEntropy))
}

fn opened(directory: &Path) -> EmbeddedHome {
    open(directory, Arc::new(FileRoot)).unwrap()
}

fn key(engine: &Engine) -> String {
    let request = engine.by_owner("test", CreateKeyRequest::default());
    let made = engine.call(request.unwrap()).unwrap();
    made.key_metadata.key_id
}

fn encrypt(engine: &Engine, key: &str) -> Result<Vec<u8>, ErrorCode> {
    let input = EncryptRequest {
        key_id: key.to_owned(),
        plaintext: SecretBlob(SecretBytes::copy_of(b"secret")),
        ..EncryptRequest::default()
    };
    let request = engine.by_owner("test", input).map_err(|error| error.code)?;
    let answer = engine.call(request).map_err(|error| error.code)?;
    Ok(answer.ciphertext_blob.0)
}

fn decrypts(engine: &Engine, blob: &[u8]) -> Result<(), ErrorCode> {
    let input = DecryptRequest {
        ciphertext_blob: Some(Blob(blob.to_vec())),
        ..DecryptRequest::default()
    };
    let request = engine.by_owner("test", input).map_err(|error| error.code)?;
    let answer = engine.call(request).map_err(|error| error.code)?;
    assert!(answer.plaintext.0.ct_eq(b"secret"));
    Ok(())
}

fn recorded(directory: &Path, name: &str) -> usize {
    let log = EmbeddedHome::audit_directory(directory);
    let named = format!("\"eventName\":\"{name}\"");
    let records = audit::records(&log).map(|record| record.unwrap());
    records
        .filter(|record| record.line.contains(&named))
        .count()
}

fn within(limit: Duration, holds: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < limit {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

#[test]
fn each_of_a_file_a_passphrase_and_shares_opens_a_home() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let keepers = Arc::new(Keepers::default());
    *keepers.passphrase.lock().unwrap() = b"right".to_vec();
    let entropy = || Arc::new(SystemEntropy);
    let wanted = [Wanted::File, Wanted::Passphrase];
    init(directory, &place(), keepers.clone(), &wanted, entropy()).unwrap();
    assert!(matches!(
        init(directory, &place(), keepers.clone(), &wanted, entropy()),
        Err(HomeError::Exists(_))
    ));
    let shares = Wanted::Shares { need: 3, of: 5 };
    add_root(directory, keepers.clone(), &shares, entropy()).unwrap();
    assert_eq!(roots_of(directory).unwrap().len(), 3);
    let home = open(directory, keepers.clone()).unwrap();
    let blob = encrypt(home.engine(), &key(home.engine())).unwrap();
    assert_eq!(keepers.asked.load(Ordering::SeqCst), 1, "nobody was asked");

    // Without the file the passphrase is asked for, and shares after it.
    let (file, aside) = (directory.join("root.key"), directory.join("aside"));
    std::fs::rename(&file, &aside).unwrap();
    let home = open(directory, keepers.clone()).unwrap();
    decrypts(home.engine(), &blob).unwrap();
    *keepers.passphrase.lock().unwrap() = b"wrong".to_vec();
    let all = keepers.shares.lock().unwrap().clone();
    let given = |numbers: &[usize]| {
        let given = numbers.iter().map(|number| all[*number].clone());
        *keepers.shares.lock().unwrap() = given.collect();
        open(directory, keepers.clone())
    };
    let home = given(&[4, 0, 2]).unwrap();
    decrypts(home.engine(), &blob).unwrap();
    drop(home);
    let refused = |numbers: &[usize]| given(numbers).unwrap_err().to_string();
    let few = refused(&[0, 1]);
    assert!(few.contains("root.key") && few.contains("passphrase") && few.contains("3 different"));
    assert_eq!(refused(&[0, 1, 1]), few);
    assert_eq!(refused(&[]), few);

    // The last ones stay, and nothing goes that is needed.
    std::fs::rename(&aside, &file).unwrap();
    let tried = try_roots(directory, keepers.clone(), entropy()).unwrap();
    let outcomes: Vec<bool> = tried.iter().map(|tried| tried.outcome.is_some()).collect();
    assert_eq!(outcomes, [true, false, false]);
    let passphrase = roots_of(directory).unwrap()[1].clone();
    remove_root(directory, keepers.clone(), &passphrase, entropy()).unwrap();
    assert!(matches!(
        remove_root(directory, keepers.clone(), &passphrase, entropy()),
        Err(HomeError::NoSuchRoot(_))
    ));
    assert!(remove_root(directory, keepers.clone(), &RootKind::File, entropy()).is_err());
    assert!(file.exists());
    given(&[0, 1, 2]).unwrap();
    remove_root(directory, keepers.clone(), &RootKind::File, entropy()).unwrap();
    assert!(!file.exists());
    let last = roots_of(directory).unwrap()[0].clone();
    assert!(matches!(
        remove_root(directory, keepers.clone(), &last, entropy()),
        Err(HomeError::Root(RootError::Last))
    ));
    migrate_root(directory, keepers, &[Wanted::File], entropy()).unwrap();
    decrypts(opened(directory).engine(), &blob).unwrap();
}

#[test]
fn an_engine_without_its_root_is_sealed_after_the_lease_and_serves_again_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let home = opened(directory);
    let engine = home.engine();
    let key = key(engine);
    let blob = encrypt(engine, &key).unwrap();
    let notices = Arc::new(Mutex::new(Vec::new()));
    let heard = notices.clone();
    let keeper = home.keep_lease(Duration::from_millis(600), move |notice| {
        heard.lock().unwrap().push(notice);
    });
    let keeper = keeper.unwrap();
    let (file, aside) = (directory.join("root.key"), directory.join("aside"));
    for round in 1..=2 {
        std::thread::sleep(Duration::from_millis(900));
        decrypts(engine, &blob).unwrap();
        std::fs::rename(&file, &aside).unwrap();
        let patience = Duration::from_secs(20);
        assert!(within(patience, || engine.why_sealed().is_some()));
        assert!(engine.why_sealed().unwrap().contains("root.key"));
        assert_eq!(decrypts(engine, &blob), Err(ErrorCode::KeyUnavailable));
        assert_eq!(encrypt(engine, &key), Err(ErrorCode::KeyUnavailable));
        assert!(engine.check_health().is_err());
        assert!(engine.tend().is_err());
        assert_eq!(recorded(directory, "SealKms"), round);
        assert_eq!(recorded(directory, "UnsealKms"), round - 1);
        // Another key in that place is not taken.
        std::fs::write(&file, [7; 32]).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&file, private).unwrap();
        std::thread::sleep(Duration::from_millis(1_200));
        assert_eq!(decrypts(engine, &blob), Err(ErrorCode::KeyUnavailable));
        std::fs::rename(&aside, &file).unwrap();
        assert!(within(patience, || engine.why_sealed().is_none()));
        decrypts(engine, &blob).unwrap();
        assert_eq!(recorded(directory, "UnsealKms"), round);
    }
    drop(keeper);
    std::fs::rename(&file, &aside).unwrap();
    std::thread::sleep(Duration::from_millis(1_500));
    decrypts(engine, &blob).unwrap();
    let notices = notices.lock().unwrap();
    assert!(matches!(notices[0], LeaseNotice::Lost(_)));
    let sealed = notices
        .iter()
        .filter(|notice| matches!(notice, LeaseNotice::Sealed(_)));
    assert_eq!(sealed.count(), 2);
    audit::verify(&EmbeddedHome::audit_directory(directory)).unwrap();
}

/// Rows of a store by the first byte of their bodies: the layout.
fn layouts(directory: &Path) -> Vec<u8> {
    let store = SqliteStore::open(&directory.join("store.db")).unwrap();
    let rows = store.scan("").unwrap().into_iter();
    rows.filter(|row| row.key != "root")
        .map(|row| row.body[0])
        .collect()
}

fn epochs(directory: &Path) -> (u32, Option<u32>) {
    let store = SqliteStore::open(&directory.join("store.db")).unwrap();
    RootRecord::read(&store).unwrap().unwrap().epochs()
}

#[test]
fn a_store_gets_new_domain_keys_while_others_use_it() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let home = opened(directory);
    let keys: Vec<String> = (0..100).map(|_| key(home.engine())).collect();
    let blob = encrypt(home.engine(), &keys[0]).unwrap();
    assert!(layouts(directory).iter().all(|layout| *layout == 1));
    let is_over = AtomicBool::new(false);
    let others: Vec<EmbeddedHome> = (0..2).map(|_| opened(directory)).collect();
    std::thread::scope(|scope| {
        let users: Vec<_> = others
            .iter()
            .enumerate()
            .map(|(user, home)| {
                let (keys, blob, is_over) = (&keys, &blob, &is_over);
                scope.spawn(move || {
                    let engine = home.engine();
                    let mut uses = 0;
                    while !is_over.load(Ordering::SeqCst) {
                        decrypts(engine, blob).unwrap();
                        // Changes, each of which must last. Keys of its own: two users of one key may
                        // meet, which is told.
                        let mine = &keys[1 + 2 * (uses % 49) + user];
                        let disable = DisableKeyRequest {
                            key_id: mine.clone(),
                        };
                        engine
                            .call(engine.by_owner("test", disable).unwrap())
                            .unwrap();
                        assert_eq!(encrypt(engine, mine), Err(ErrorCode::Disabled));
                        let enable = EnableKeyRequest {
                            key_id: mine.clone(),
                        };
                        engine
                            .call(engine.by_owner("test", enable).unwrap())
                            .unwrap();
                        decrypts(engine, &encrypt(engine, mine).unwrap()).unwrap();
                        uses += 1;
                    }
                    uses
                })
            })
            .collect();
        for epoch in 2..=4 {
            let resealed = home.rotate_domain_key(&|_, _| {}).unwrap();
            assert!(resealed > 0);
            assert_eq!(epochs(directory), (epoch, None));
        }
        is_over.store(true, Ordering::SeqCst);
        for user in users {
            assert!(user.join().unwrap() > 0);
        }
    });
    assert!(layouts(directory).iter().all(|layout| *layout == 2));
    for home in others.iter().chain([&home, &opened(directory)]) {
        decrypts(home.engine(), &blob).unwrap();
        for key in &keys {
            encrypt(home.engine(), key).unwrap();
        }
    }
    assert_eq!(recorded(directory, "BeginDomainKeyRotation"), 3);
    assert_eq!(recorded(directory, "EndDomainKeyRotation"), 3);
    audit::verify(&EmbeddedHome::audit_directory(directory)).unwrap();
}

#[test]
fn a_rotation_that_ended_early_is_gone_on_with() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let home = opened(directory);
    let keys: Vec<String> = (0..150).map(|_| key(home.engine())).collect();
    let blob = encrypt(home.engine(), &keys[0]).unwrap();
    // It ends after the first rows.
    let rotated = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        home.rotate_domain_key(&|seen, _| assert!(seen == 0, "enough"))
    }));
    assert!(rotated.is_err());
    assert_eq!(epochs(directory), (2, Some(1)));
    let some = layouts(directory);
    assert!(some.contains(&1) && some.contains(&2));
    drop(home);
    let home = opened(directory);
    decrypts(home.engine(), &blob).unwrap();
    for key in &keys {
        encrypt(home.engine(), key).unwrap();
    }
    home.rotate_domain_key(&|_, _| {}).unwrap();
    assert_eq!(epochs(directory), (2, None));
    assert!(layouts(directory).iter().all(|layout| *layout == 2));
    decrypts(opened(directory).engine(), &blob).unwrap();
}

#[test]
fn every_root_is_needed_for_a_new_domain_key() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let keepers = Arc::new(Keepers::default());
    *keepers.passphrase.lock().unwrap() = b"right".to_vec();
    let wanted = [Wanted::File, Wanted::Passphrase];
    init(
        directory,
        &place(),
        keepers.clone(),
        &wanted,
        Arc::new(SystemEntropy),
    )
    .unwrap();
    let home = open(directory, keepers.clone()).unwrap();
    *keepers.passphrase.lock().unwrap() = b"wrong".to_vec();
    assert!(home.rotate_domain_key(&|_, _| {}).is_err());
    assert_eq!(epochs(directory), (1, None));
    *keepers.passphrase.lock().unwrap() = b"right".to_vec();
    home.rotate_domain_key(&|_, _| {}).unwrap();
    assert_eq!(epochs(directory), (2, None));
    std::fs::remove_file(directory.join("root.key")).unwrap();
    open(directory, keepers).unwrap();
}

#[test]
fn a_root_key_file_is_exchanged_and_a_crash_in_between_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let home = opened(directory);
    let blob = encrypt(home.engine(), &key(home.engine())).unwrap();
    let exchange = || {
        let source = Arc::new(FileRoot);
        exchange_root(directory, source, &RootKind::File, Arc::new(SystemEntropy)).unwrap();
    };
    let read = |name: &str| std::fs::read(directory.join(name)).unwrap();
    let old = read("root.key");
    exchange();
    assert_ne!(read("root.key"), old);
    // As if the process had ended before the new file had its name.
    let file = |name: &str| -> PathBuf { directory.join(name) };
    std::fs::rename(file("root.key"), file("root.key.next")).unwrap();
    std::fs::write(file("root.key"), &old).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(file("root.key"), private).unwrap();
    decrypts(opened(directory).engine(), &blob).unwrap();
    assert!(!file("root.key.next").exists());
    decrypts(opened(directory).engine(), &blob).unwrap();
    // As if it had ended before the store was changed.
    std::fs::write(file("root.key.next"), [9; 32]).unwrap();
    decrypts(opened(directory).engine(), &blob).unwrap();
    exchange();
    decrypts(opened(directory).engine(), &blob).unwrap();
    decrypts(home.engine(), &blob).unwrap();
}

/// Nobody can write a row that another one's place needs: what the store holds under another epoch than
/// its record says opens nowhere.
#[test]
fn rows_from_before_a_rotation_cannot_be_put_back() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let home = opened(directory);
    let key = key(home.engine());
    let store = SqliteStore::open(&directory.join("store.db")).unwrap();
    let before = store.get(&format!("key/{key}")).unwrap().unwrap();
    home.rotate_domain_key(&|_, _| {}).unwrap();
    let now = store.get(&before.key).unwrap().unwrap();
    assert_eq!(now.revision, before.revision + 1);
    let mut batch = waxseal_kms::store::Batch::new();
    batch.put(before.key, Expect::Revision(now.revision), before.body);
    store.commit(&batch).unwrap();
    assert_eq!(
        encrypt(home.engine(), &key).unwrap_err(),
        ErrorCode::Internal
    );
}
