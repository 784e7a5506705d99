//! Checkpoints of the audit log: signed every few seconds, so that no more than those can be cut off
//! its end unseen by whoever keeps the newest one elsewhere.

use crate::audit::{
    BEGIN_FILE, BEGIN_ORIGIN, CHECKPOINT_FILE, Checkpoint, CheckpointKey, SignedCheckpoint,
    timestamp,
};
use crate::engine::{Engine, internal};
use crate::files::replace;
use crate::store::Expect;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::Path;
use waxseal_core::crypto::ed25519::Ed25519VerifyingKey;
use waxseal_core::crypto::key_pair::{KeyPair, PairSpec, SignatureAlgorithm, Signed};
use waxseal_kms_api::KmsError;
use waxseal_kms_api::shape::SecretBlob;

const KEY_DOCUMENT: &str = "trail/checkpoint-key";

/// The key that signs checkpoints; it signs nothing else, and nobody can name it.
#[derive(Serialize, Deserialize)]
struct KeyRecord {
    private: SecretBlob,
}

impl Engine {
    /// Signs how far the audit log is, and writes it beside the log, when records came since the
    /// newest checkpoint; also to the file `elsewhere`, which should be on another machine's disk.
    /// Gives the newest one.
    ///
    /// # Errors
    /// `KMSInternalException` when log or store cannot be read, or a file not be written.
    pub fn checkpoint(&self, elsewhere: Option<&Path>) -> Result<String, KmsError> {
        let (records, head) = self.log_end()?;
        let path = self.audit_directory().join(CHECKPOINT_FILE);
        let is_newest = |note: &String| {
            let signed = SignedCheckpoint::parse(note).map(SignedCheckpoint::unverified);
            signed.is_ok_and(|newest| (newest.records, newest.head) == (records, head))
        };
        let note = match kept_note(&path)?.filter(is_newest) {
            Some(newest) => newest,
            None => {
                let note = self.signed_note(self.log_origin(), records, head)?;
                write(&path, &note)?;
                note
            }
        };
        match elsewhere {
            Some(path) if kept_note(path)?.as_ref() != Some(&note) => write(path, &note)?,
            _ => {}
        }
        Ok(note)
    }

    /// The key that checkpoints are verified with; there is none before the first.
    ///
    /// # Errors
    /// `KMSInternalException` when the store cannot be read.
    pub fn checkpoint_public_key(&self) -> Result<Option<CheckpointKey>, KmsError> {
        let Some((_, record)) = self.kept::<KeyRecord>(KEY_DOCUMENT)? else {
            return Ok(None);
        };
        let key = public(&pair(&record)?)?;
        Ok(Some(CheckpointKey::new(&self.log_origin(), key)))
    }

    /// Signs where the kept log begins, and writes it beside the log.
    pub(super) fn write_begin(&self, records: u64, head: [u8; 32]) -> Result<(), KmsError> {
        let note = self.signed_note(self.log_origin() + BEGIN_ORIGIN, records, head)?;
        write(&self.audit_directory().join(BEGIN_FILE), &note)
    }

    fn signed_note(
        &self,
        origin: String,
        records: u64,
        head: [u8; 32],
    ) -> Result<String, KmsError> {
        let pair = self.checkpoint_pair()?;
        let checkpoint = Checkpoint {
            origin,
            records,
            head,
            time: timestamp(self.now()),
        };
        let sign = |text: &[u8]| pair.sign(SignatureAlgorithm::Ed25519, Signed::Message(text));
        checkpoint.signed(&public(&pair)?, sign).map_err(internal)
    }

    fn log_origin(&self) -> String {
        let home = self.home();
        format!(
            "waxseal.audit/{}/{}/{}",
            home.partition, home.region, home.account
        )
    }

    fn checkpoint_pair(&self) -> Result<KeyPair, KmsError> {
        if let Some((_, record)) = self.kept::<KeyRecord>(KEY_DOCUMENT)? {
            return pair(&record);
        }
        let made = KeyPair::generate(PairSpec::Ed25519).map_err(internal)?;
        let record = KeyRecord {
            private: SecretBlob(made.pkcs8().map_err(internal)?),
        };
        match self.keep(KEY_DOCUMENT, Expect::Absent, &record) {
            Ok(()) => Ok(made),
            // Another process made one first.
            Err(error) => match self.kept::<KeyRecord>(KEY_DOCUMENT)? {
                Some((_, record)) => pair(&record),
                None => Err(error),
            },
        }
    }
}

fn pair(record: &KeyRecord) -> Result<KeyPair, KmsError> {
    let private = record.private.0.expose();
    KeyPair::from_pkcs8(PairSpec::Ed25519, private).map_err(internal)
}

fn public(pair: &KeyPair) -> Result<Ed25519VerifyingKey, KmsError> {
    let spki = pair.spki().map_err(internal)?;
    Ed25519VerifyingKey::from_spki(&spki).map_err(internal)
}

fn kept_note(path: &Path) -> Result<Option<String>, KmsError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        // What is no text is no note either, and is written anew.
        Err(error) if error.kind() == ErrorKind::InvalidData => Ok(None),
        Err(error) => Err(internal(format!("{}: {error}", path.display()))),
    }
}

fn write(path: &Path, note: &str) -> Result<(), KmsError> {
    let written = replace(path, note.as_bytes());
    written.map_err(|error| internal(format!("{}: {error}", path.display())))
}
