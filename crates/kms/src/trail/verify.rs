//! Proving that a trail is whole, with nothing but the public keys of its digests.

use super::keys::fingerprint;
use super::{Folder, SIGNATURE_ALGORITHM, SIGNATURE_SUFFIX, is_digest};
use crate::audit::Link;
use flate2::bufread::GzDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io::{self, Read};
use std::path::Path;
use waxseal_core::crypto::hash::sha256;
use waxseal_core::crypto::rsa::RsaVerifyingKey;

/// The most bytes of an object that was unpacked.
const UNPACKED_BYTES_MAX: u64 = 4 << 30;

/// A trail whose digests, files and records hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedTrail {
    /// Number of digests.
    pub digests: u64,
    /// Number of files of events.
    pub files: u64,
    /// The last record that was delivered.
    pub records: u64,
    /// SHA-256 of its line; zeros when there is none.
    pub head: [u8; 32],
    /// Until when it goes: `2026-01-31T23:00:00Z`.
    pub end: String,
}

/// The first thing in a trail that does not hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrailError {
    /// An object is not what was delivered. All before it hold.
    #[error("{object} does not hold: {what}")]
    Broken {
        /// Its key in the bucket.
        object: String,
        /// What is wrong.
        what: String,
    },
    /// A digest is signed by a key that was not given, or says so. All before it hold.
    #[error("{object} is signed by the key {fingerprint}, which is not among the public keys")]
    UnknownKey {
        /// Its key in the bucket.
        object: String,
        /// What digests call the key.
        fingerprint: String,
    },
    /// There is no digest.
    #[error("there is no digest in the trail")]
    Empty,
    /// A file could not be read.
    #[error("the trail could not be read: {0}")]
    Io(#[from] io::Error),
}

fn broken<T>(object: &str, what: impl Into<String>) -> Result<T, TrailError> {
    Err(TrailError::Broken {
        object: object.to_owned(),
        what: what.into(),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Digest {
    digest_start_time: String,
    digest_end_time: String,
    digest_s3_bucket: String,
    digest_s3_object: String,
    digest_public_key_fingerprint: String,
    digest_signature_algorithm: String,
    previous_digest_s3_bucket: Option<String>,
    previous_digest_s3_object: Option<String>,
    previous_digest_hash_value: Option<String>,
    previous_digest_signature: Option<String>,
    log_files: Vec<Delivered>,
    waxseal_last_sequence: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Delivered {
    s3_object: String,
    hash_value: String,
}

#[derive(Deserialize)]
struct Events<'a> {
    #[serde(rename = "Records", borrow)]
    records: Vec<&'a RawValue>,
}

/// The public keys, under the names that digests have for them.
struct Keys<'k>(Vec<(String, &'k RsaVerifyingKey)>);

impl<'k> Keys<'k> {
    fn new(keys: &'k [RsaVerifyingKey]) -> Self {
        let named = keys.iter().map(|key| (fingerprint(key.pkcs1()), key));
        Self(named.collect())
    }

    fn named(&self, fingerprint: &str) -> Option<&'k RsaVerifyingKey> {
        let (_, key) = self.0.iter().find(|(name, _)| name == fingerprint)?;
        Some(key)
    }
}

/// What holds so far.
#[derive(Default)]
struct Chain {
    previous: Option<Before>,
    /// The keys that signed, by their fingerprints, the one that signed last at the end.
    signed_by: Vec<String>,
    records: u64,
    head: [u8; 32],
    files: u64,
}

/// The digest before.
struct Before {
    bucket: String,
    object: String,
    hash: String,
    signature: String,
    end: String,
}

/// Verifies the trail in a folder, which holds `AWSLogs/…` as it was delivered: the digests of one account
/// and Region, from the first on. `keys` are all those that signed; once one of them was replaced, it
/// signs no more.
///
/// # Errors
/// [`TrailError::Broken`] names the first object that does not hold.
pub fn verify(folder: &Path, keys: &[RsaVerifyingKey]) -> Result<VerifiedTrail, TrailError> {
    let signers = Keys::new(keys);
    let folder = Folder(folder.to_owned());
    let mut objects = Vec::new();
    folder.collect("", &mut objects)?;
    let keys = objects.into_iter().map(|object| object.key);
    let (mut digests, mut files): (Vec<_>, Vec<_>) = keys.partition(|key| is_digest(key));
    digests.sort();
    let mut chain = Chain::default();
    for object in &digests {
        chain.digest(&folder, object, &signers, &mut files)?;
    }
    let is_signature = |file: &String| {
        let signed = file.strip_suffix(SIGNATURE_SUFFIX);
        signed.is_some_and(|signed| digests.binary_search_by(|one| (**one).cmp(signed)).is_ok())
    };
    files.retain(|file| !is_signature(file));
    if let Some(file) = files.first() {
        return broken(file, "no digest speaks of it");
    }
    let last = chain.previous.ok_or(TrailError::Empty)?;
    Ok(VerifiedTrail {
        digests: digests.len() as u64,
        files: chain.files,
        records: chain.records,
        head: chain.head,
        end: last.end,
    })
}

impl Chain {
    fn digest(
        &mut self,
        folder: &Folder,
        object: &str,
        signers: &Keys<'_>,
        files: &mut Vec<String>,
    ) -> Result<(), TrailError> {
        let Some(found) = folder.read(object)? else {
            return broken(object, "it is not there");
        };
        let Some(signature) = found.signature else {
            return broken(
                object,
                format!(
                    "its signature is not there: a file of that name and {SIGNATURE_SUFFIX}, with what \
                     S3 has in the metadata of the digest as x-amz-meta-signature"
                ),
            );
        };
        let text = unpacked(object, &found.content)?;
        let Ok(digest) = serde_json::from_slice::<Digest>(&text) else {
            return broken(object, "it is no digest");
        };
        let name = digest.digest_public_key_fingerprint.as_str();
        let Some(key) = signers.named(name) else {
            return Err(TrailError::UnknownKey {
                object: object.to_owned(),
                fingerprint: name.to_owned(),
            });
        };
        let hash = hex::encode(sha256(&[&text]));
        let before = digest
            .previous_digest_signature
            .as_deref()
            .unwrap_or("null");
        let end = &digest.digest_end_time;
        let bucket = &digest.digest_s3_bucket;
        let signed = format!("{end}\n{bucket}/{object}\n{hash}\n{before}");
        let is_signed = hex::decode(&signature).is_ok_and(|bytes| {
            // There is one way to write it.
            hex::encode(&bytes) == signature && key.verify(signed.as_bytes(), &bytes).is_ok()
        });
        if !is_signed {
            return broken(object, "its signature is not by this key");
        }
        if !self.may_sign(name) {
            return broken(object, "a key signed it that had been replaced before");
        }
        if digest.digest_s3_object != object
            || digest.digest_signature_algorithm != SIGNATURE_ALGORITHM
        {
            return broken(object, "it was moved, or signed in another way");
        }
        let named = (
            digest.previous_digest_s3_bucket.as_deref(),
            digest.previous_digest_s3_object.as_deref(),
            digest.previous_digest_hash_value.as_deref(),
            digest.previous_digest_signature.as_deref(),
        );
        let own = self.previous.as_ref();
        let own = (
            own.map(|own| own.bucket.as_str()),
            own.map(|own| own.object.as_str()),
            own.map(|own| own.hash.as_str()),
            own.map(|own| own.signature.as_str()),
        );
        if named != own {
            return broken(object, "the digest before it is another one, or missing");
        }
        if let Some(previous) = &self.previous
            && previous.end != digest.digest_start_time
        {
            return broken(object, "it does not begin where the one before ends");
        }
        for file in &digest.log_files {
            self.file(folder, file)?;
            files.retain(|other| *other != file.s3_object);
        }
        if self.records != digest.waxseal_last_sequence {
            return broken(object, "it speaks of other records than its files hold");
        }
        self.previous = Some(Before {
            bucket: digest.digest_s3_bucket,
            object: object.to_owned(),
            hash,
            signature,
            end: digest.digest_end_time,
        });
        Ok(())
    }

    /// Notes which key signed. Whether it may: it signed the digest before, or none so far.
    fn may_sign(&mut self, fingerprint: &str) -> bool {
        if self
            .signed_by
            .last()
            .is_some_and(|last| last == fingerprint)
        {
            return true;
        }
        let is_new = self.signed_by.iter().all(|former| former != fingerprint);
        self.signed_by.push(fingerprint.to_owned());
        is_new
    }

    fn file(&mut self, folder: &Folder, file: &Delivered) -> Result<(), TrailError> {
        let object = &file.s3_object;
        let Some(found) = folder.read(object)? else {
            return broken(object, "it is not there");
        };
        let text = unpacked(object, &found.content)?;
        if hex::encode(sha256(&[&text])) != file.hash_value {
            return broken(object, "its content is not what the digest says");
        }
        let Ok(events) = serde_json::from_slice::<Events<'_>>(&text) else {
            return broken(object, "it holds no events");
        };
        for event in events.records {
            let line = event.get().as_bytes();
            let next = self.records + 1;
            let follows = Link::parse(line)
                .is_ok_and(|link| link.sequence() == next && link.follows(&self.head));
            if !follows {
                return broken(
                    object,
                    format!("record {next} does not follow from the one before"),
                );
            }
            self.records = next;
            self.head = sha256(&[line]);
        }
        self.files += 1;
        Ok(())
    }
}

/// The content of a gzip file of one member, with nothing behind it.
fn unpacked(object: &str, content: &[u8]) -> Result<Vec<u8>, TrailError> {
    let mut text = Vec::new();
    let mut decoder = GzDecoder::new(content);
    let read = (&mut decoder)
        .take(UNPACKED_BYTES_MAX)
        .read_to_end(&mut text);
    match read {
        Ok(_) if decoder.into_inner().is_empty() => Ok(text),
        _ => broken(object, "it is no gzip file, or something follows it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_replaced_signs_no_more() {
        let mut chain = Chain::default();
        let signs = ["one", "one", "two", "two", "one", "three", "two"];
        let may = signs.map(|name| chain.may_sign(name));
        assert_eq!(may, [true, true, true, true, false, true, false]);
    }
}
