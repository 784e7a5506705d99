//! What the tests have in common.

use std::sync::{Arc, Mutex};
use time::{Duration, OffsetDateTime};
use waxseal_core::SecretBytes;
use waxseal_core::arn::Home;
use waxseal_core::crypto::random::SystemEntropy;
use waxseal_kms::audit::{self, AuditLog};
use waxseal_kms::clock::Clock;
use waxseal_kms::engine::{Engine, Parts};
use waxseal_kms::op::Perform;
use waxseal_kms::request::Caller;
use waxseal_kms::seal::RowSealer;
use waxseal_kms::store::{Batch, Changes, Document, MemoryStore, Store, StoreError};
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::{Blob, SecretBlob};
use waxseal_kms_api::{ErrorCode, KmsError};

/// A clock that is set by hand.
pub(crate) struct Hands(pub(crate) Mutex<OffsetDateTime>);

impl Clock for Hands {
    fn now(&self) -> OffsetDateTime {
        *self.0.lock().unwrap()
    }
}

/// One store behind several engines.
struct Shared(Arc<MemoryStore>);

impl Store for Shared {
    fn get(&self, key: &str) -> Result<Option<Document>, StoreError> {
        self.0.get(key)
    }
    fn scan(&self, prefix: &str) -> Result<Vec<Document>, StoreError> {
        self.0.scan(prefix)
    }
    fn commit(&self, batch: &Batch) -> Result<u64, StoreError> {
        self.0.commit(batch)
    }
    fn watch(&self, since: u64) -> Result<Changes, StoreError> {
        self.0.watch(since)
    }
    fn scrub(&self) -> Result<bool, StoreError> {
        self.0.scrub()
    }
}

/// A KMS, and all that it is made of.
pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) clock: Arc<Hands>,
    pub(crate) engine: Engine,
}

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let begin = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let clock = Arc::new(Hands(Mutex::new(begin)));
        let store = Arc::new(MemoryStore::new());
        let engine = open(Shared(store.clone()), directory.path(), clock.clone()).unwrap();
        Self {
            directory,
            store,
            clock,
            engine,
        }
    }

    /// Another engine on the same store and log.
    pub(crate) fn engine(&self) -> Engine {
        let store = Shared(self.store.clone());
        open(store, self.directory.path(), self.clock.clone()).unwrap()
    }

    /// The same, which ends segments of the log after a few records.
    pub(crate) fn engine_of_short_segments(&self) -> Engine {
        let log = AuditLog::open(self.directory.path()).unwrap();
        let store = Shared(self.store.clone());
        open_on(store, log.with_segment_bytes_max(3_000), self.clock.clone()).unwrap()
    }

    pub(crate) fn call<O: Perform>(&self, input: O) -> Result<O::Output, KmsError> {
        call(&self.engine, input)
    }

    pub(crate) fn call_from<O: Perform>(
        &self,
        place: &Home,
        input: O,
    ) -> Result<O::Output, KmsError> {
        let caller = Caller::owner(place, "test");
        let request = self.engine.by_caller(caller, &place.region, input).unwrap();
        self.engine.call(request)
    }

    pub(crate) fn key(&self, spec: &str, usage: &str) -> String {
        let request = CreateKeyRequest {
            key_spec: Some(spec.to_owned()),
            key_usage: Some(usage.to_owned()),
            ..CreateKeyRequest::default()
        };
        self.call(request).unwrap().key_metadata.key_id
    }

    pub(crate) fn symmetric(&self) -> String {
        self.key("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
    }

    pub(crate) fn describe(&self, key: &str) -> Result<KeyMetadata, KmsError> {
        let request = DescribeKeyRequest {
            key_id: key.to_owned(),
            ..DescribeKeyRequest::default()
        };
        Ok(self.call(request)?.key_metadata)
    }

    pub(crate) fn encrypt(&self, key: &str) -> Result<Blob, KmsError> {
        let request = EncryptRequest {
            key_id: key.to_owned(),
            plaintext: secret(b"plaintext"),
            ..EncryptRequest::default()
        };
        Ok(self.call(request)?.ciphertext_blob)
    }

    pub(crate) fn decrypt(&self, blob: &Blob) -> Result<DecryptResponse, KmsError> {
        self.call(DecryptRequest {
            ciphertext_blob: Some(blob.clone()),
            ..DecryptRequest::default()
        })
    }

    pub(crate) fn public_key(&self, key: &str) -> Result<GetPublicKeyResponse, KmsError> {
        self.call(GetPublicKeyRequest {
            key_id: key.to_owned(),
            ..GetPublicKeyRequest::default()
        })
    }

    pub(crate) fn later(&self, days: i64) {
        *self.clock.0.lock().unwrap() += Duration::days(days);
    }

    /// The audit log, which must verify.
    pub(crate) fn log(&self) -> String {
        audit::verify(self.directory.path()).unwrap();
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        entries
            .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default())
            .collect()
    }
}

/// An engine on `store`, in Region local and account 000000000000.
pub(crate) fn open(
    store: impl Store + 'static,
    log: &std::path::Path,
    clock: Arc<Hands>,
) -> Result<Engine, KmsError> {
    open_on(store, AuditLog::open(log).unwrap(), clock)
}

/// The same, on a log that is open.
pub(crate) fn open_on(
    store: impl Store + 'static,
    audit: AuditLog,
    clock: Arc<Hands>,
) -> Result<Engine, KmsError> {
    Engine::new(Parts {
        store: Box::new(store),
        audit,
        rows: RowSealer::new(SecretBytes::new(vec![7; 32]), [1; 16]),
        home: home("local", "000000000000"),
        clock,
        entropy: Arc::new(SystemEntropy),
    })
}

/// A request of the owner.
pub(crate) fn call<O: Perform>(engine: &Engine, input: O) -> Result<O::Output, KmsError> {
    engine.call(engine.by_owner("test", input).unwrap())
}

pub(crate) fn home(region: &str, account: &str) -> Home {
    Home {
        partition: "aws".into(),
        region: region.into(),
        account: account.into(),
    }
}

pub(crate) fn secret(bytes: &[u8]) -> SecretBlob {
    SecretBlob(SecretBytes::copy_of(bytes))
}

#[track_caller]
pub(crate) fn refused<T>(result: Result<T, KmsError>) -> (ErrorCode, String) {
    match result {
        Ok(_) => panic!("it was done"),
        Err(error) => (error.code, error.message.unwrap_or_default()),
    }
}
