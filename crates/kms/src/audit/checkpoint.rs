//! How far a log was at some moment, signed: what is kept elsewhere, so that a log that lost its end
//! is found to have lost it.
//!
//! A signed note with the lines of a checkpoint (C2SP, `signed-note` and `tlog-checkpoint`). The hash is
//! the head of the chain, not the root of a tree.
//!
//! ```text
//! waxseal.audit/PARTITION/REGION/ACCOUNT       origin, and name of the key
//! 41277                                        number of records
//! base64(SHA-256 of the last one's line)       32 zero bytes when there is none
//! 2026-01-31T23:59:59Z                         when
//!                                              (an empty line)
//! — NAME base64(key id ‖ signature)            Ed25519 of the lines before the empty one
//!
//! verifier key:  NAME+hex(key id)+base64(0x01 ‖ public key)
//! key id:        the first 4 bytes of SHA-256(NAME LF 0x01 ‖ public key)
//! ```

use super::records::records_after;
use super::{AuditError, segment};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::path::Path;
use waxseal_core::crypto::ed25519::{Ed25519VerifyingKey, PUBLIC_KEY_BYTES};
use waxseal_core::crypto::hash::sha256;

/// The most bytes of a checkpoint.
pub const CHECKPOINT_BYTES_MAX: usize = 4_096;
/// The newest checkpoint, in the folder of the log.
pub const CHECKPOINT_FILE: &str = "checkpoint";
/// Where the kept log begins, in the folder of the log: a note like a checkpoint, of the last record
/// that retention removed.
pub const BEGIN_FILE: &str = "begin";
/// What its origin ends with, so that it is no checkpoint.
pub(crate) const BEGIN_ORIGIN: &str = "/begin";
/// Ed25519, in key ids and verifier keys.
const ED25519: u8 = 1;
const KEY_ID_BYTES: usize = 4;

/// How far a log was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: also the name of the key that signs.
    pub origin: String,
    /// Number of records.
    pub records: u64,
    /// SHA-256 of the last one's line; zeros when there is none.
    pub head: [u8; 32],
    /// When: `2026-01-31T23:59:59Z`.
    pub time: String,
}

/// Why a checkpoint is not believed, or a log not the one that it speaks of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The text is none.
    #[error("this is no checkpoint")]
    Malformed,
    /// The text is no verifier key.
    #[error(
        "there is no key for checkpoints: a line NAME+ID+KEY, as waxseal audit public-key prints it"
    )]
    NoKey,
    /// Another key signed it, or somebody altered it.
    #[error("the checkpoint is not signed by this key")]
    NotSigned,
    /// The log is shorter, or another one.
    #[error(
        "the log has lost its end, or is another one: record {records}, which a checkpoint of {time} \
         speaks of, is not in it"
    )]
    Lost {
        /// The record.
        records: u64,
        /// When it was the last one.
        time: String,
    },
    /// The log could not be read.
    #[error(transparent)]
    Unreadable(#[from] AuditError),
}

impl Checkpoint {
    /// What is signed.
    fn text(&self) -> String {
        let Self {
            origin,
            records,
            head,
            time,
        } = self;
        format!("{origin}\n{records}\n{}\n{time}\n", STANDARD.encode(head))
    }

    /// As a signed note. `sign` signs with the key whose public half is `key`.
    pub(crate) fn signed<E>(
        &self,
        key: &Ed25519VerifyingKey,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<String, E> {
        let text = self.text();
        let key = CheckpointKey::new(&self.origin, *key);
        let mut signature = key.id.to_vec();
        signature.extend(sign(text.as_bytes())?);
        let signature = STANDARD.encode(signature);
        Ok(format!("{text}\n\u{2014} {} {signature}\n", self.origin))
    }

    /// Whether the log in `dir` holds the record that this speaks of. What retention removed before the
    /// first record that is kept, nobody can tell of any more: `false`.
    ///
    /// # Errors
    /// [`CheckpointError::Lost`], and [`CheckpointError::Unreadable`].
    pub fn check(&self, dir: &Path) -> Result<bool, CheckpointError> {
        if self.records == 0 {
            return Ok(true);
        }
        let first = segment::list(dir)?.segments.first().copied();
        if first.is_some_and(|first| first > self.records) {
            return Ok(false);
        }
        let record = records_after(dir, self.records - 1).next().transpose()?;
        let is_there = record.is_some_and(|record| {
            record.sequence == self.records && sha256(&[record.line.as_bytes()]) == self.head
        });
        match is_there {
            true => Ok(true),
            false => Err(CheckpointError::Lost {
                records: self.records,
                time: self.time.clone(),
            }),
        }
    }
}

/// A checkpoint with its signatures, which are not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    /// Names and what they sign with: key id and signature.
    signatures: Vec<(String, Vec<u8>)>,
}

impl SignedCheckpoint {
    /// Reads a signed note. There is one way to write a checkpoint.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        Self::read(text).ok_or(CheckpointError::Malformed)
    }

    fn read(text: &str) -> Option<Self> {
        if text.len() > CHECKPOINT_BYTES_MAX {
            return None;
        }
        let (note, signatures) = text.split_once("\n\n")?;
        let mut lines = note.split('\n');
        let checkpoint = Checkpoint {
            origin: lines.next()?.to_owned(),
            records: lines.next()?.parse().ok()?,
            head: STANDARD.decode(lines.next()?).ok()?.try_into().ok()?,
            time: lines.next()?.to_owned(),
        };
        let is_canonical = checkpoint.text().strip_suffix('\n') == Some(note);
        if lines.next().is_some() || !is_canonical {
            return None;
        }
        let signature = |line: &str| {
            let (name, signature) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
            Some((name.to_owned(), STANDARD.decode(signature).ok()?))
        };
        let lines = signatures.strip_suffix('\n')?.split('\n');
        let signatures = lines.map(signature).collect::<Option<_>>()?;
        Some(Self {
            checkpoint,
            signatures,
        })
    }

    /// The checkpoint, once it is known that this key signed it.
    ///
    /// # Errors
    /// [`CheckpointError::NotSigned`].
    pub fn verified(self, key: &CheckpointKey) -> Result<Checkpoint, CheckpointError> {
        let text = self.checkpoint.text();
        let is_signed = self.checkpoint.origin == key.name
            && self.signatures.iter().any(|(name, signature)| {
                *name == key.name
                    && signature
                        .strip_prefix(&key.id)
                        .is_some_and(|signature| key.key.verify(text.as_bytes(), signature).is_ok())
            });
        match is_signed {
            true => Ok(self.checkpoint),
            false => Err(CheckpointError::NotSigned),
        }
    }

    /// The checkpoint, believed because of where it was kept.
    pub fn unverified(self) -> Checkpoint {
        self.checkpoint
    }
}

/// The public key that checkpoints are verified with. It is printed as a verifier key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointKey {
    name: String,
    id: [u8; KEY_ID_BYTES],
    key: Ed25519VerifyingKey,
}

impl CheckpointKey {
    /// The key of the log with this origin.
    pub fn new(name: &str, key: Ed25519VerifyingKey) -> Self {
        let hash = sha256(&[name.as_bytes(), b"\n", &[ED25519], key.bytes()]);
        let mut id = [0; KEY_ID_BYTES];
        id.copy_from_slice(&hash[..KEY_ID_BYTES]);
        Self {
            name: name.to_owned(),
            id,
            key,
        }
    }

    /// The same key, under the name by which it signs where a kept log begins.
    #[must_use]
    pub fn for_begin(&self) -> Self {
        Self::new(&format!("{}{BEGIN_ORIGIN}", self.name), self.key)
    }

    /// The verifier key in a text, which may have other lines.
    ///
    /// # Errors
    /// [`CheckpointError::NoKey`].
    pub fn find(text: &str) -> Result<Self, CheckpointError> {
        let found = text.lines().find_map(Self::parse);
        found.ok_or(CheckpointError::NoKey)
    }

    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.trim_end().splitn(3, '+');
        let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
        let key: [u8; 1 + PUBLIC_KEY_BYTES] = STANDARD.decode(key).ok()?.try_into().ok()?;
        let [ED25519, key @ ..] = key else {
            return None;
        };
        let this = Self::new(name, Ed25519VerifyingKey::new(key));
        (!name.is_empty() && hex::encode(this.id) == id).then_some(this)
    }
}

impl fmt::Display for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[ED25519], self.key.bytes().as_slice()].concat();
        write!(
            f,
            "{}+{}+{}",
            self.name,
            hex::encode(self.id),
            STANDARD.encode(key)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxseal_core::crypto::key_pair::{KeyPair, PairSpec, SignatureAlgorithm, Signed};

    fn signed(origin: &str) -> (String, CheckpointKey) {
        let pair = KeyPair::generate(PairSpec::Ed25519).unwrap();
        let key = Ed25519VerifyingKey::from_spki(&pair.spki().unwrap()).unwrap();
        let checkpoint = Checkpoint {
            origin: origin.to_owned(),
            records: 41_277,
            head: [0xab; 32],
            time: "2026-01-31T23:59:59Z".to_owned(),
        };
        let sign = |text: &[u8]| pair.sign(SignatureAlgorithm::Ed25519, Signed::Message(text));
        let note = checkpoint.signed(&key, sign).unwrap();
        (note, CheckpointKey::new(origin, key))
    }

    #[test]
    fn what_is_signed_is_read() {
        let (note, key) = signed("waxseal.audit/aws/local/000000000000");
        assert!(
            note.starts_with("waxseal.audit/aws/local/000000000000\n41277\nq6ur"),
            "{note}"
        );
        let read = SignedCheckpoint::parse(&note)
            .unwrap()
            .verified(&key)
            .unwrap();
        assert_eq!((read.records, read.head), (41_277, [0xab; 32]));
        let printed = format!("other lines\n{key}\n");
        assert_eq!(CheckpointKey::find(&printed), Ok(key.clone()));
        // Others may sign too: witnesses.
        let witnessed = format!("{note}\u{2014} witness AAAAAAAA\n");
        assert!(
            SignedCheckpoint::parse(&witnessed)
                .unwrap()
                .verified(&key)
                .is_ok()
        );
    }

    #[test]
    fn any_other_byte_is_refused() {
        let (note, key) = signed("log");
        let (_, other) = signed("log");
        let parsed = SignedCheckpoint::parse(&note).unwrap();
        assert_eq!(parsed.verified(&other), Err(CheckpointError::NotSigned));
        for at in 0..note.len() {
            for bit in 0..8 {
                let mut bent = note.clone().into_bytes();
                bent[at] ^= 1 << bit;
                let Ok(bent) = String::from_utf8(bent) else {
                    continue;
                };
                let read = SignedCheckpoint::parse(&bent).and_then(|note| note.verified(&key));
                assert!(read.is_err(), "{bent}");
            }
        }
        for bad in [
            "",
            "\n\n",
            "a\n1\n\n",
            "log\n+1\nq6ur\nt\n\n\u{2014} log AAAA\n",
        ] {
            assert_eq!(
                SignedCheckpoint::parse(bad),
                Err(CheckpointError::Malformed)
            );
        }
    }

    #[test]
    fn keys_that_are_none() {
        let (_, key) = signed("log");
        let printed = key.to_string();
        for bad in [
            "",
            "log",
            "log+00000000+AAAA",
            &printed[1..],
            &printed[..printed.len() - 4],
        ] {
            assert_eq!(
                CheckpointKey::find(bad),
                Err(CheckpointError::NoKey),
                "{bad}"
            );
        }
    }
}
