//! What of the trail was copied elsewhere, and what is next. Who copies brings the network.

use super::{SIGNATURE_ALGORITHM, SIGNATURE_SUFFIX, STATE_DOCUMENT, State, is_digest};
use crate::engine::{Engine, internal};
use crate::store::Expect;
use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read as _;
use waxseal_kms_api::KmsError;

const DOCUMENT: &str = "trail/shipped";
/// The most bytes of a digest that was unpacked.
const DIGEST_BYTES_MAX: u64 = 64 << 20;

/// How far the trail was shipped.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Shipped {
    /// Where to.
    to: String,
    /// The last digest.
    digest: String,
    /// The last record that it speaks of.
    pub(super) records: u64,
    /// Whether signatures were shipped as objects, too. Where earlier versions shipped to they are not,
    /// and everything is shipped once more.
    #[serde(default)]
    has_signatures: bool,
}

/// A digest that was not shipped yet, and the files that it speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipment {
    /// Keys of the files, in order: they go first.
    pub files: Vec<String>,
    /// Key of the digest's signature, for copies without metadata: it goes then.
    pub signature: String,
    /// Key of the digest: once it is there, all of them are.
    pub digest: String,
    records: u64,
}

/// An object of the trail, as it is put into a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// Its bytes.
    pub content: Vec<u8>,
    /// Its metadata, which hold the signature of a digest.
    pub metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Digest {
    log_files: Vec<File>,
    waxseal_last_sequence: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    s3_object: String,
}

impl Engine {
    /// The first digest that was not shipped to `to`.
    ///
    /// # Errors
    /// `KMSInternalException` when store or trail cannot be read.
    pub fn next_shipment(&self, to: &str) -> Result<Option<Shipment>, KmsError> {
        let shipped = self.kept::<Shipped>(DOCUMENT)?.map(|(_, shipped)| shipped);
        let after = shipped.filter(|shipped| shipped.to == to && shipped.has_signatures);
        // One that is not noted yet may be written again.
        let state = self.kept::<State>(STATE_DOCUMENT)?;
        let Some(last) = state.and_then(|(_, state)| state.previous) else {
            return Ok(None);
        };
        let mut objects = Vec::new();
        self.trail().collect("", &mut objects).map_err(internal)?;
        let digests = objects.into_iter().map(|object| object.key).filter(|key| {
            let is_later = after.as_ref().is_none_or(|after| *key > after.digest);
            is_later && *key <= last.object && is_digest(key)
        });
        let Some(digest) = digests.min() else {
            return Ok(None);
        };
        let gone = || internal(format!("{digest} is not in the trail any more"));
        let found = self.delivered_object(&digest)?.ok_or_else(gone)?;
        let mut text = Vec::new();
        GzDecoder::new(found.content.as_slice())
            .take(DIGEST_BYTES_MAX)
            .read_to_end(&mut text)
            .map_err(internal)?;
        let read: Digest = serde_json::from_slice(&text).map_err(internal)?;
        Ok(Some(Shipment {
            files: read
                .log_files
                .into_iter()
                .map(|file| file.s3_object)
                .collect(),
            signature: format!("{digest}{SIGNATURE_SUFFIX}"),
            digest,
            records: read.waxseal_last_sequence,
        }))
    }

    /// An object of a shipment.
    ///
    /// # Errors
    /// `KMSInternalException` when it cannot be read, or is not there.
    pub fn parcel(&self, key: &str) -> Result<Parcel, KmsError> {
        let gone = || internal(format!("{key} is not in the trail any more"));
        let found = self.delivered_object(key)?.ok_or_else(gone)?;
        let metadata = found.signature.map(|signature| {
            [
                ("signature".to_owned(), signature),
                (
                    "signature-algorithm".to_owned(),
                    SIGNATURE_ALGORITHM.to_owned(),
                ),
            ]
        });
        Ok(Parcel {
            content: found.content,
            metadata: metadata.into_iter().flatten().collect(),
        })
    }

    /// Notes that all of a shipment is at `to`, and was found there as it was sent.
    ///
    /// # Errors
    /// `KMSInternalException` when it cannot be noted; it is then shipped again.
    pub fn note_shipped(&self, to: &str, shipment: &Shipment) -> Result<(), KmsError> {
        let expect = match self.kept::<Shipped>(DOCUMENT)? {
            Some((revision, _)) => Expect::Revision(revision),
            None => Expect::Absent,
        };
        let shipped = Shipped {
            to: to.to_owned(),
            digest: shipment.digest.clone(),
            records: shipment.records,
            has_signatures: true,
        };
        self.keep(DOCUMENT, expect, &shipped)
    }

    /// The last record that was shipped; 0 when none was.
    pub(super) fn shipped_records(&self) -> Result<u64, KmsError> {
        let shipped = self.kept::<Shipped>(DOCUMENT)?;
        Ok(shipped.map_or(0, |(_, shipped)| shipped.records))
    }
}
