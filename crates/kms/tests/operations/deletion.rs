//! What is deleted is gone: from the bytes of the store, on a real file.

use crate::support::{Hands, call, open, secret};
use std::path::Path;
use std::sync::{Arc, Mutex};
use time::{Duration, OffsetDateTime};
use waxseal_core::crypto::rsa::{RsaPadding, RsaPublicKey};
use waxseal_kms::Engine;
use waxseal_kms::op::Perform;
use waxseal_kms::store::{SqliteStore, Store};
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::Blob;

/// Bytes of a row that are looked for at once: nothing else has them by chance.
const PART: usize = 16;

struct Kms {
    engine: Engine,
    /// Another process, as it were, that looks at the rows as they lie there.
    rows: SqliteStore,
    clock: Arc<Hands>,
    directory: tempfile::TempDir,
}

impl Kms {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let begin = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let clock = Arc::new(Hands(Mutex::new(begin)));
        let store = SqliteStore::open(&path).unwrap();
        let log = directory.path().join("audit");
        Self {
            engine: open(store, &log, clock.clone()).unwrap(),
            rows: SqliteStore::open(&path).unwrap(),
            clock,
            directory,
        }
    }

    fn call<O: Perform>(&self, input: O) -> O::Output {
        call(&self.engine, input).unwrap()
    }

    fn key(&self, origin: &str) -> String {
        let request = CreateKeyRequest {
            origin: Some(origin.to_owned()),
            ..CreateKeyRequest::default()
        };
        self.call(request).key_metadata.key_id
    }

    fn encrypt(&self, key: &str) {
        self.call(EncryptRequest {
            key_id: key.to_owned(),
            plaintext: secret(b"x"),
            ..EncryptRequest::default()
        });
    }

    fn import(&self, key: &str, material: &[u8]) {
        let given = self.call(GetParametersForImportRequest {
            key_id: key.to_owned(),
            wrapping_algorithm: "RSAES_OAEP_SHA_256".to_owned(),
            wrapping_key_spec: "RSA_2048".to_owned(),
        });
        let public = RsaPublicKey::from_spki(&given.public_key.0).unwrap();
        self.call(ImportKeyMaterialRequest {
            key_id: key.to_owned(),
            import_token: given.import_token,
            encrypted_key_material: Blob(public.encrypt(RsaPadding::OaepSha256, material).unwrap()),
            expiration_model: Some("KEY_MATERIAL_DOES_NOT_EXPIRE".to_owned()),
            ..ImportKeyMaterialRequest::default()
        });
    }

    /// The sealed material of a key, as it lies in the store.
    fn row(&self, key: &str) -> Vec<u8> {
        let row = self.rows.get(&format!("material/{key}/00000001")).unwrap();
        row.unwrap().body
    }

    /// Whether any part of a row is in any file of the directory.
    fn holds(&self, row: &[u8]) -> bool {
        let files = files(self.directory.path());
        let parts: std::collections::HashSet<&[u8]> = row.windows(PART).collect();
        let mut texts = files.iter();
        texts.any(|text| text.windows(PART).any(|window| parts.contains(window)))
    }
}

fn files(directory: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(std::fs::read(&path).unwrap()),
        }
    }
    found
}

#[test]
fn nothing_of_a_deleted_key_is_left_in_the_files() {
    let kms = Kms::new();
    let keys: Vec<String> = (0..20).map(|_| kms.key("AWS_KMS")).collect();
    for key in &keys {
        kms.encrypt(key);
    }
    let rows: Vec<Vec<u8>> = keys.iter().map(|key| kms.row(key)).collect();
    assert!(
        rows.iter().all(|row| kms.holds(row)),
        "they are found while they are there"
    );
    let (going, staying) = keys.split_at(10);
    for key in going {
        kms.call(ScheduleKeyDeletionRequest {
            key_id: key.clone(),
            pending_window_in_days: Some(7),
        });
    }
    *kms.clock.0.lock().unwrap() += Duration::days(7);
    assert_eq!(kms.engine.tend().unwrap(), going.len());
    for (at, row) in rows.iter().enumerate() {
        assert_eq!(kms.holds(row), at >= going.len(), "key {at}");
    }
    for key in staying {
        kms.encrypt(key);
    }
}

#[test]
fn nothing_of_deleted_imported_material_is_left_in_the_files() {
    let kms = Kms::new();
    let (going, staying) = (kms.key("EXTERNAL"), kms.key("EXTERNAL"));
    kms.import(&going, &[7; 32]);
    kms.import(&staying, &[8; 32]);
    kms.encrypt(&going);
    let rows = [kms.row(&going), kms.row(&staying)];
    assert!(kms.holds(&rows[0]) && kms.holds(&rows[1]));
    kms.call(DeleteImportedKeyMaterialRequest {
        key_id: going,
        key_material_id: None,
    });
    // At once, without anybody who tends.
    assert!(!kms.holds(&rows[0]));
    assert!(kms.holds(&rows[1]));
    kms.encrypt(&staying);
}
