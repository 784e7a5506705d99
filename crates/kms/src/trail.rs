//! The audit log as CloudTrail delivers one: files of events, and hourly digests that are signed, for
//! `aws cloudtrail validate-logs` to check (CloudTrail user guide, "Validating CloudTrail log file
//! integrity").
//!
//! ```text
//! AWSLogs/ACCOUNT/CloudTrail/REGION/YYYY/MM/DD/
//!   ACCOUNT_CloudTrail_REGION_YYYYMMDDTHHMMZ_SEQUENCE.json.gz            {"Records":[event,…]}
//! AWSLogs/ACCOUNT/CloudTrail-Digest/REGION/YYYY/MM/DD/
//!   ACCOUNT_CloudTrail-Digest_REGION_TRAIL_REGION_YYYYMMDDTHHMMSSZ.json.gz   the digest
//!   ….json.gz.signature                                                  its signature, hexadecimal,
//!                                                                        as in the digest's metadata
//!
//! signed: RSASSA-PKCS1-v1_5 with SHA-256 of
//!   digestEndTime LF bucket "/" object LF hex(SHA-256(digest)) LF previousDigestSignature or "null"
//! ```
//!
//! A digest holds the hashes of the files that were delivered since the one before, and hash and
//! signature of that one. It also says how far the log was (`waxsealLastSequence`,
//! `waxsealLastRecordHash`), so that a log that lost its end is found to be shorter than its trail.
//!
//! Files are complete and durable before they have their names, and the digest is the last of them.
//! Until when is delivered is noted in the store before, and that it was, after: what a crash ended is
//! delivered again until the same hour, under the same names.

mod buckets;
mod checkpoint;
mod keys;
mod retention;
mod ship;
mod verify;

pub(crate) use keys::DigestKey;
pub use ship::{Parcel, Shipment};
pub use verify::{TrailError, VerifiedTrail, verify};

use crate::audit::{self, Record, timestamp};
use crate::engine::{Engine, internal};
use crate::files::{make_directory, sync_directory};
use crate::store::Expect;
use flate2::Compression;
use flate2::write::GzEncoder;
use keys::Signer;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use waxseal_core::SecretBytes;
use waxseal_core::crypto::hash::{Sha256, sha256};
use waxseal_kms_api::KmsError;

/// The trail's name.
pub const TRAIL: &str = "waxseal";

const STATE_DOCUMENT: &str = "trail/state";
/// The folder of the trail in that of the audit log.
pub const FOLDER: &str = "trail";
const HOUR: i64 = 3_600;
/// `20260131T2359`
const MINUTE_CHARS: usize = 13;
/// The most records of a file.
const FILE_RECORDS_MAX: usize = 50_000;
const SIGNATURE_SUFFIX: &str = ".signature";
/// How a file is called until it is complete.
const NEW_SUFFIX: &str = ".new";
const SIGNATURE_ALGORITHM: &str = "SHA256withRSA";

/// What was delivered so far.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    /// The last record.
    sequence: u64,
    /// Where the last digest ends, in seconds since 1970: a full hour.
    end: i64,
    /// Where the digest ends that was begun and is not known to be there.
    #[serde(default)]
    begun: Option<i64>,
    previous: Option<Previous>,
}

/// The last digest.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Previous {
    #[serde(default = "buckets::first")]
    bucket: String,
    object: String,
    hash: String,
    signature: String,
}

/// A file of events that was delivered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LogFile {
    s3_bucket: String,
    s3_object: String,
    hash_value: String,
    hash_algorithm: &'static str,
    newest_event_time: String,
    oldest_event_time: String,
}

/// An object of the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) key: String,
    pub(crate) bytes: u64,
}

/// An object that was read.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) content: Vec<u8>,
    /// Of a digest.
    pub(crate) signature: Option<String>,
}

impl Engine {
    /// The trail's ARN.
    pub(crate) fn trail_arn(&self) -> String {
        let home = self.home();
        format!(
            "arn:{}:cloudtrail:{}:{}:trail/{TRAIL}",
            home.partition, home.region, home.account
        )
    }

    fn trail(&self) -> Folder {
        Folder(self.audit_directory().join(FOLDER))
    }

    /// Delivers what was recorded until the last full hour, and its digest; nothing before an hour
    /// is over since the last one. Whether something was delivered.
    ///
    /// # Errors
    /// `KMSInternalException` when log, store or folder cannot be read or written; what was not
    /// delivered is delivered the next time.
    pub fn deliver(&self) -> Result<bool, KmsError> {
        let now = self.now().unix_timestamp();
        let hour = now - now.rem_euclid(HOUR);
        let Some((_, state)) = self.kept::<State>(STATE_DOCUMENT)? else {
            let state = State {
                sequence: 0,
                end: hour,
                begun: None,
                previous: None,
            };
            self.keep(STATE_DOCUMENT, Expect::Absent, &state)?;
            return Ok(false);
        };
        if hour <= state.end {
            return Ok(false);
        }
        let folder = self.trail();
        let Some(_lock) = folder.lock().map_err(internal)? else {
            // Another process is at it.
            return Ok(false);
        };
        let mut is_delivered = false;
        // Until the lock was ours, somebody else may have done it.
        while let Some((revision, state)) = self.kept::<State>(STATE_DOCUMENT)?
            && hour > state.end
        {
            self.deliver_until(&folder, hour, state, revision)?;
            is_delivered = true;
        }
        Ok(is_delivered)
    }

    /// Delivers until `hour`, or until the hour that was begun with. Under the lock of the folder.
    fn deliver_until(
        &self,
        folder: &Folder,
        hour: i64,
        mut state: State,
        mut revision: u64,
    ) -> Result<(), KmsError> {
        let end = match state.begun {
            Some(begun) => begun,
            None => {
                state.begun = Some(hour);
                self.keep(STATE_DOCUMENT, Expect::Revision(revision), &state)?;
                revision += 1;
                hour
            }
        };
        let signer = self.signer(state.end, end)?;
        // Records that are counted here are durable.
        let durable = self.next_record()? - 1;
        let mut delivery = Delivery::new(self, folder, self.trail_bucket()?, end);
        for record in audit::records_after(self.audit_directory(), state.sequence) {
            let record = record.map_err(internal)?;
            let time = record.glance().map_err(internal)?.event_time.into_owned();
            if record.sequence > durable || delivery.is_later(&time) {
                break;
            }
            delivery.add(record, time).map_err(internal)?;
        }
        let next = delivery.finish(&state, &signer)?;
        self.keep(STATE_DOCUMENT, Expect::Revision(revision), &next)
    }

    /// Compresses segments of the log that are full, and delivered in digests. How many there were.
    ///
    /// # Errors
    /// `KMSInternalException` when log, store or folder cannot be read or written.
    pub fn pack_log(&self) -> Result<usize, KmsError> {
        let Some((_, state)) = self.kept::<State>(STATE_DOCUMENT)? else {
            return Ok(0);
        };
        match self.trail().lock().map_err(internal)? {
            Some(_lock) => audit::pack(self.audit_directory(), state.sequence).map_err(internal),
            // Another process is at it.
            None => Ok(0),
        }
    }

    fn kept<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<Option<(u64, T)>, KmsError> {
        let document = self.document(name)?;
        let read = document.map(|document| Ok((document.revision, self.open_json(&document)?)));
        read.transpose()
    }

    fn keep<T: Serialize>(&self, name: &str, expect: Expect, value: &T) -> Result<(), KmsError> {
        let body = serde_json::to_vec(value).map(SecretBytes::new);
        self.commit_row(name, expect, &body.map_err(internal)?)
    }

    /// The objects of a bucket whose keys begin with `prefix`, from after `marker` on; at most
    /// `limit`, and whether there are more.
    pub(crate) fn trail_objects(
        &self,
        bucket: &str,
        prefix: &str,
        marker: &str,
        limit: usize,
    ) -> Result<(Vec<Object>, bool), KmsError> {
        let mut all = Vec::new();
        self.trail().collect("", &mut all).map_err(internal)?;
        let buckets = self.trail_buckets()?;
        all.retain(|Object { key, .. }| {
            key.starts_with(prefix) && key.as_str() > marker && buckets.of_object(key) == bucket
        });
        all.sort_by(|one, other| one.key.cmp(&other.key));
        let is_truncated = all.len() > limit;
        all.truncate(limit);
        Ok((all, is_truncated))
    }

    /// An object of a bucket, if there is one.
    pub(crate) fn trail_object(&self, bucket: &str, key: &str) -> Result<Option<Found>, KmsError> {
        match self.trail_buckets()?.of_object(key) == bucket {
            true => self.delivered_object(key),
            false => Ok(None),
        }
    }

    /// An object, whichever bucket it was delivered to.
    fn delivered_object(&self, key: &str) -> Result<Option<Found>, KmsError> {
        self.trail().read(key).map_err(internal)
    }
}

/// The files of one hour, on their way.
struct Delivery<'e> {
    engine: &'e Engine,
    folder: &'e Folder,
    bucket: String,
    /// Where the digest ends.
    end: OffsetDateTime,
    file: Option<Writing>,
    files: Vec<LogFile>,
    last: Option<Record>,
}

/// A file that is being written.
struct Writing {
    key: String,
    out: GzEncoder<BufWriter<File>>,
    hash: Sha256,
    records: usize,
    oldest: String,
    newest: String,
}

impl Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.out.write_all(bytes)
    }
}

impl<'e> Delivery<'e> {
    fn new(engine: &'e Engine, folder: &'e Folder, bucket: String, end: i64) -> Self {
        let end = OffsetDateTime::from_unix_timestamp(end);
        Self {
            engine,
            folder,
            bucket,
            end: end.unwrap_or(OffsetDateTime::UNIX_EPOCH),
            file: None,
            files: Vec::new(),
            last: None,
        }
    }

    /// Whether a record belongs into a later digest.
    fn is_later(&self, time: &str) -> bool {
        let time = OffsetDateTime::parse(time, &Rfc3339);
        time.is_ok_and(|time| time >= self.end)
    }

    fn add(&mut self, record: Record, time: String) -> io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.begin(record.sequence, &time)?,
        };
        let before: &[u8] = if file.records == 0 {
            b"{\"Records\":["
        } else {
            b","
        };
        file.write(before)?;
        file.write(record.line.as_bytes())?;
        file.records += 1;
        if time < file.oldest {
            file.oldest.clone_from(&time);
        }
        if time > file.newest {
            file.newest.clone_from(&time);
        }
        self.last = Some(record);
        match file.records < FILE_RECORDS_MAX {
            true => self.file = Some(file),
            false => self.end_file(file)?,
        }
        Ok(())
    }

    fn begin(&self, sequence: u64, time: &str) -> io::Result<Writing> {
        let home = self.engine.home();
        let (account, region) = (&home.account, &home.region);
        let key = format!(
            "AWSLogs/{account}/CloudTrail/{region}/{}/{account}_CloudTrail_{region}_{}Z_{sequence:016}.json.gz",
            day(self.end),
            &compact(self.end)[..MINUTE_CHARS],
        );
        let file = self.folder.create(&key)?;
        Ok(Writing {
            key,
            out: GzEncoder::new(BufWriter::new(file), Compression::default()),
            hash: Sha256::default(),
            records: 0,
            oldest: time.to_owned(),
            newest: time.to_owned(),
        })
    }

    fn end_file(&mut self, mut file: Writing) -> io::Result<()> {
        file.write(b"]}")?;
        let written = file.out.finish()?;
        let written = written
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        self.folder.complete(&written, &file.key)?;
        self.files.push(LogFile {
            s3_bucket: self.bucket.clone(),
            s3_object: file.key,
            hash_value: hex::encode(file.hash.finish()),
            hash_algorithm: "SHA-256",
            newest_event_time: file.newest,
            oldest_event_time: file.oldest,
        });
        Ok(())
    }

    /// Writes the digest; gives what is delivered then.
    fn finish(mut self, state: &State, signer: &Signer) -> Result<State, KmsError> {
        if let Some(file) = self.file.take() {
            self.end_file(file).map_err(internal)?;
        }
        let home = self.engine.home();
        let (account, region) = (&home.account, &home.region);
        let object = format!(
            "AWSLogs/{account}/CloudTrail-Digest/{region}/{}/{account}_CloudTrail-Digest_{region}_{TRAIL}_{region}_{}.json.gz",
            day(self.end),
            compact(self.end),
        );
        let begin = OffsetDateTime::from_unix_timestamp(state.end).map_err(internal)?;
        let end_time = timestamp(self.end);
        let oldest = self.files.iter().map(|file| &file.oldest_event_time).min();
        let newest = self.files.iter().map(|file| &file.newest_event_time).max();
        let previous = state.previous.as_ref();
        let last = self.last.as_ref();
        let sequence = last.map_or(state.sequence, |last| last.sequence);
        let last_hash = last.map(|last| hex::encode(sha256(&[last.line.as_bytes()])));
        let digest = json!({
            "awsAccountId": account,
            "digestStartTime": timestamp(begin),
            "digestEndTime": end_time,
            "digestS3Bucket": self.bucket,
            "digestS3Object": object,
            "digestPublicKeyFingerprint": signer.fingerprint,
            "digestSignatureAlgorithm": SIGNATURE_ALGORITHM,
            "newestEventTime": newest,
            "oldestEventTime": oldest,
            "previousDigestS3Bucket": previous.map(|previous| &previous.bucket),
            "previousDigestS3Object": previous.map(|previous| &previous.object),
            "previousDigestHashValue": previous.map(|previous| &previous.hash),
            "previousDigestHashAlgorithm": previous.map(|_| "SHA-256"),
            "previousDigestSignature": previous.map(|previous| &previous.signature),
            "logFiles": self.files,
            "waxsealLastSequence": sequence,
            "waxsealLastRecordHash": last_hash,
        });
        let digest = digest.to_string();
        let hash = hex::encode(sha256(&[digest.as_bytes()]));
        let before = previous.map_or("null", |previous| previous.signature.as_str());
        let to_sign = format!("{end_time}\n{}/{object}\n{hash}\n{before}", self.bucket);
        let signature = hex::encode(signer.sign(&to_sign)?);
        let folder = self.folder;
        folder
            .put(&format!("{object}{SIGNATURE_SUFFIX}"), signature.as_bytes())
            .and_then(|()| {
                let mut out = GzEncoder::new(Vec::new(), Compression::default());
                out.write_all(digest.as_bytes())?;
                folder.put(&object, &out.finish()?)
            })
            .map_err(internal)?;
        Ok(State {
            sequence,
            end: self.end.unix_timestamp(),
            begun: None,
            previous: Some(Previous {
                bucket: self.bucket,
                object,
                hash,
                signature,
            }),
        })
    }
}

/// `2026/01/31`
fn day(time: OffsetDateTime) -> String {
    timestamp(time)[..10].replace('-', "/")
}

/// `20260131T235959Z`
fn compact(time: OffsetDateTime) -> String {
    timestamp(time).replace(['-', ':'], "")
}

/// Where the objects lie, each under its key.
struct Folder(PathBuf);

impl Folder {
    /// Held by the one who delivers.
    fn lock(&self) -> io::Result<Option<File>> {
        let file = self.lock_file()?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// Waits for the one who delivers.
    fn wait(&self) -> io::Result<File> {
        let file = self.lock_file()?;
        file.lock()?;
        Ok(file)
    }

    fn lock_file(&self) -> io::Result<File> {
        make_directory(&self.0)?;
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        options.open(self.0.join("lock"))
    }

    fn create(&self, key: &str) -> io::Result<File> {
        let path = self.0.join(format!("{key}{NEW_SUFFIX}"));
        if let Some(parent) = path.parent() {
            make_directory(parent)?;
        }
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        options.open(path)
    }

    /// Gives a file that was written its name, once it is durable.
    fn complete(&self, file: &File, key: &str) -> io::Result<()> {
        file.sync_all()?;
        let path = self.0.join(key);
        std::fs::rename(self.0.join(format!("{key}{NEW_SUFFIX}")), &path)?;
        match path.parent() {
            Some(parent) => sync_directory(parent),
            None => Ok(()),
        }
    }

    fn put(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.create(key)?;
        file.write_all(bytes)?;
        self.complete(&file, key)
    }

    fn collect(&self, under: &str, found: &mut Vec<Object>) -> io::Result<()> {
        let entries = match std::fs::read_dir(self.0.join(under)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let key = match under {
                "" => name,
                under => format!("{under}/{name}"),
            };
            let about = entry.metadata()?;
            if about.is_dir() {
                self.collect(&key, found)?;
            } else if is_object(&key) {
                found.push(Object {
                    key,
                    bytes: about.len(),
                });
            }
        }
        Ok(())
    }

    fn read(&self, key: &str) -> io::Result<Option<Found>> {
        let path = Path::new(key);
        let is_inside = path
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !is_inside || !is_object(key) {
            return Ok(None);
        }
        let content = match std::fs::read(self.0.join(path)) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let signature = self.0.join(format!("{key}{SIGNATURE_SUFFIX}"));
        let signature = match std::fs::read(signature) {
            // What is no text is no signature either.
            Ok(signature) => Some(String::from_utf8_lossy(&signature).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Some(Found { content, signature }))
    }
}

/// Until the file is dropped, nothing is delivered, and no segment compressed.
pub(crate) fn hold(audit: &Path) -> io::Result<File> {
    Folder(audit.join(FOLDER)).wait()
}

/// The files of the trail, as paths in the folder of the audit log.
pub(crate) fn delivered(audit: &Path) -> io::Result<Vec<String>> {
    let folder = Folder(audit.join(FOLDER));
    let mut objects = Vec::new();
    folder.collect("", &mut objects)?;
    let paths = objects.into_iter();
    let mut paths: Vec<_> = paths
        .map(|object| format!("{FOLDER}/{}", object.key))
        .collect();
    paths.sort();
    Ok(paths)
}

/// Whether a file is one of the bucket, and not one beside it. Signatures are objects of their own as
/// well: a copy as files has no metadata.
fn is_object(key: &str) -> bool {
    is_packed(key.strip_suffix(SIGNATURE_SUFFIX).unwrap_or(key))
}

fn is_digest(key: &str) -> bool {
    is_packed(key) && key.contains("/CloudTrail-Digest/")
}

fn is_packed(key: &str) -> bool {
    key.ends_with(".json.gz")
}
