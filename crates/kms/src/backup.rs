//! A copy of a home while it is used, and a home from a copy. Neither needs a key: rows are copied as
//! they are sealed, and the root key is not copied.
//!
//! ```text
//! tar:  MANIFEST.json     what follows: paths, lengths, SHA-256; the head of the audit log; the roots
//!       store.db          a snapshot of the store
//!       audit/N.jsonl     the log, as far as it went at the moment of the snapshot; N.jsonl.gz
//!       audit/trail/…     what was delivered
//! ```
//!
//! Snapshot and log belong together: both are taken while nobody can write to the log, and a change
//! whose record is not in the log yet is in the store with it.

use crate::audit::{self, AuditError, AuditLog, BEGIN_FILE, VerifyError};
use crate::files::{make_directory, sync_directory};
use crate::root::{RootError, RootKind, RootRecord};
use crate::store::{SqliteStore, StoreError};
use crate::trail;
use serde::{Deserialize, Deserializer, Serialize};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use waxseal_core::crypto::hash::Sha256;

const FORMAT: &str = "waxseal-backup";
const LAYOUT: u32 = 2;
const MANIFEST: &str = "MANIFEST.json";
const STORE: &str = "store.db";
const AUDIT: &str = "audit";
/// The most bytes of a manifest.
const MANIFEST_BYTES_MAX: u64 = 64 << 20;
const CHUNK_BYTES: usize = 64 << 10;

/// Why there is no copy, or no home from one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// As the system says it.
        source: io::Error,
    },
    /// The archive is not whole, or not what was written.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// There is something where a home is to be made.
    #[error("{} is there already, and is not empty", .0.display())]
    Occupied(PathBuf),
    /// There is no home to be copied.
    #[error("there is no store in {}", .0.display())]
    NoHome(PathBuf),
    /// The log could not be read.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The chain of the log does not hold.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The root record could not be read.
    #[error(transparent)]
    Root(#[from] RootError),
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError + '_ {
    |source| BackupError::Io {
        path: path.to_owned(),
        source,
    }
}

/// What a copy holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    format: String,
    layout: u32,
    /// What the store hangs from: each of them opens the copy too. Layout 1 had one, called `root`.
    #[serde(alias = "root", deserialize_with = "one_or_more")]
    pub roots: Vec<RootKind>,
    /// The records of the audit log.
    pub records: u64,
    /// SHA-256 of the last record's line, in hexadecimal digits.
    pub head: String,
    files: Vec<Entry>,
}

fn one_or_more<'de, D: Deserializer<'de>>(json: D) -> Result<Vec<RootKind>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Roots {
        One(RootKind),
        More(Vec<RootKind>),
    }
    Ok(match Roots::deserialize(json)? {
        Roots::One(root) => vec![root],
        Roots::More(roots) => roots,
    })
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    path: String,
    bytes: u64,
    sha256: String,
}

/// A folder that is removed at the end, unless it was given another name.
struct Stage(PathBuf);

impl Stage {
    fn new(path: PathBuf) -> Result<Self, BackupError> {
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(at(&path))?;
        Ok(Self(path))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // It is gone when it was given its name.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Copies the home in `directory`, which may be in use, as a tar archive.
///
/// # Errors
/// [`BackupError`].
pub fn backup(directory: &Path, out: &mut dyn Write) -> Result<Manifest, BackupError> {
    let store = directory.join(STORE);
    if !store.exists() {
        return Err(BackupError::NoHome(directory.to_owned()));
    }
    let stage = Stage::new(directory.join(format!("backup-{}", std::process::id())))?;
    let snapshot = stage.0.join(STORE);
    let log = AuditLog::open(&directory.join(AUDIT))?;
    // What is copied keeps its name until it was.
    let _trail = trail::hold(&directory.join(AUDIT)).map_err(at(directory))?;
    let held = log.exclusive()?;
    SqliteStore::open(&store)?.snapshot(&snapshot)?;
    let segments = audit::written_segments(&directory.join(AUDIT))?;
    let (records, head) = (held.next_sequence() - 1, held.head());
    drop(held);

    let root = RootRecord::read(&SqliteStore::open(&snapshot)?)?;
    let root = root.ok_or_else(|| BackupError::NoHome(directory.to_owned()))?;
    let mut sources = vec![(STORE.to_owned(), snapshot.clone(), None)];
    for (name, bytes) in segments {
        let path = directory.join(AUDIT).join(&name);
        sources.push((format!("{AUDIT}/{name}"), path, Some(bytes)));
    }
    let begin = directory.join(AUDIT).join(BEGIN_FILE);
    if begin.exists() {
        sources.push((format!("{AUDIT}/{BEGIN_FILE}"), begin, None));
    }
    for name in trail::delivered(&directory.join(AUDIT)).map_err(at(directory))? {
        let path = directory.join(AUDIT).join(&name);
        sources.push((format!("{AUDIT}/{name}"), path, None));
    }
    let mut files = Vec::with_capacity(sources.len());
    for (name, path, limit) in &sources {
        let (bytes, hash) = hashed(path, *limit)?;
        files.push(Entry {
            path: name.clone(),
            bytes,
            sha256: hex::encode(hash),
        });
    }
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        layout: LAYOUT,
        roots: root.kinds().cloned().collect(),
        records,
        head: hex::encode(head),
        files,
    };
    let mut archive = tar::Builder::new(out);
    let text = serde_json::to_vec_pretty(&manifest)
        .map_err(|error| BackupError::Damaged(error.to_string()))?;
    let out = Path::new("the archive");
    append(
        &mut archive,
        MANIFEST,
        text.len() as u64,
        &mut text.as_slice(),
    )
    .map_err(at(out))?;
    for ((name, path, _), entry) in sources.iter().zip(&manifest.files) {
        let file = File::open(path).map_err(at(path))?;
        let mut bytes = file.take(entry.bytes);
        append(&mut archive, name, entry.bytes, &mut bytes).map_err(at(path))?;
    }
    archive.finish().map_err(at(out))?;
    Ok(manifest)
}

fn append(
    archive: &mut tar::Builder<&mut dyn Write>,
    name: &str,
    bytes: u64,
    content: &mut dyn Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(0o600);
    archive.append_data(&mut header, name, content)
}

fn hashed(path: &Path, limit: Option<u64>) -> Result<(u64, [u8; 32]), BackupError> {
    let file = File::open(path).map_err(at(path))?;
    let mut hash = Sha256::default();
    let mut bytes = 0;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut file = file.take(limit.unwrap_or(u64::MAX));
    loop {
        match file.read(&mut chunk).map_err(at(path))? {
            0 => return Ok((bytes, hash.finish())),
            read => {
                hash.update(&chunk[..read]);
                bytes += read as u64;
            }
        }
    }
}

/// Makes a home in `directory`, which must not be there or be empty, from an archive. Everything is
/// verified before the home has its name: lengths, hashes, the chain of the log and its head, and the
/// store's own consistency.
///
/// # Errors
/// [`BackupError`]; there is no home then.
pub fn restore(archive: &mut dyn Read, directory: &Path) -> Result<Manifest, BackupError> {
    let is_free = match std::fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == ErrorKind::NotFound => true,
        Err(error) => return Err(at(directory)(error)),
    };
    if !is_free {
        return Err(BackupError::Occupied(directory.to_owned()));
    }
    let (stage, manifest) = unpacked(archive, directory)?;
    // An empty folder may be replaced by this one.
    std::fs::rename(&stage.0, directory).map_err(at(directory))?;
    let above = above(directory);
    sync_directory(above).map_err(at(above))?;
    Ok(manifest)
}

/// The directory that a path is in.
fn above(path: &Path) -> &Path {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    above.unwrap_or(Path::new("."))
}

/// Verifies an archive as [`restore`] does, beside `directory`, and makes nothing.
///
/// # Errors
/// As [`restore`].
pub fn check(archive: &mut dyn Read, directory: &Path) -> Result<Manifest, BackupError> {
    unpacked(archive, directory).map(|(_, manifest)| manifest)
}

fn unpacked(archive: &mut dyn Read, directory: &Path) -> Result<(Stage, Manifest), BackupError> {
    let damaged = |what: &str| BackupError::Damaged(what.to_owned());
    let mut name = directory.as_os_str().to_owned();
    name.push(format!(".restoring-{}", std::process::id()));
    if let Some(above) = directory
        .parent()
        .filter(|above| !above.as_os_str().is_empty())
    {
        std::fs::create_dir_all(above).map_err(at(above))?;
    }
    let stage = Stage::new(PathBuf::from(name))?;
    let out = Path::new("the archive");
    let mut archive = tar::Archive::new(archive);
    let mut entries = archive.entries().map_err(at(out))?;
    let first = entries.next().ok_or_else(|| damaged("it is empty"))?;
    let mut first = first.map_err(|error| BackupError::Damaged(error.to_string()))?;
    let manifest = manifest(&mut first)?;
    for expected in &manifest.files {
        let entry = entries.next().ok_or_else(|| damaged("files are missing"))?;
        let mut entry = entry.map_err(|error| BackupError::Damaged(error.to_string()))?;
        let is_expected = entry
            .path()
            .is_ok_and(|path| path == Path::new(&expected.path));
        if !is_expected || !is_one_of_ours(&expected.path) {
            return Err(BackupError::Damaged(format!(
                "{} is not where it must be",
                expected.path
            )));
        }
        let path = stage.0.join(&expected.path);
        let (bytes, hash) = unpack(&mut entry, &path)?;
        if bytes != expected.bytes || hex::encode(hash) != expected.sha256 {
            return Err(BackupError::Damaged(format!(
                "{} is not what was written",
                expected.path
            )));
        }
    }
    if entries.next().is_some() {
        return Err(damaged("there is more than its manifest says"));
    }
    let verified = audit::verify(&stage.0.join(AUDIT))?;
    if (verified.records, hex::encode(verified.head)) != (manifest.records, manifest.head.clone()) {
        return Err(damaged("the audit log does not end as its manifest says"));
    }
    let store = SqliteStore::open(&stage.0.join(STORE))?;
    store.check_integrity()?;
    let root = RootRecord::read(&store)?;
    if !root.iter().flat_map(RootRecord::kinds).eq(&manifest.roots) {
        return Err(damaged(
            "the store hangs from other root keys than its manifest says",
        ));
    }
    Ok((stage, manifest))
}

fn manifest(entry: &mut tar::Entry<'_, &mut dyn Read>) -> Result<Manifest, BackupError> {
    let wrong = |what: String| BackupError::Damaged(what);
    if !entry.path().is_ok_and(|path| path == Path::new(MANIFEST)) {
        return Err(wrong(format!("it does not begin with {MANIFEST}")));
    }
    let mut text = Vec::new();
    entry
        .take(MANIFEST_BYTES_MAX)
        .read_to_end(&mut text)
        .map_err(|error| wrong(error.to_string()))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| wrong(format!("{MANIFEST}: {error}")))?;
    match (manifest.format.as_str(), manifest.layout) {
        (FORMAT, 1..=LAYOUT) => Ok(manifest),
        _ => Err(wrong(format!(
            "{MANIFEST} is of {} {}; this version knows {FORMAT} {LAYOUT}",
            manifest.format, manifest.layout
        ))),
    }
}

/// Whether a path can be one of a home: nothing else is ever written.
fn is_one_of_ours(path: &str) -> bool {
    let plain = Path::new(path)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    plain && (path == STORE || path.starts_with("audit/"))
}

fn unpack(entry: &mut dyn Read, path: &Path) -> Result<(u64, [u8; 32]), BackupError> {
    make_directory(above(path)).map_err(at(path))?;
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).map_err(at(path))?;
    let (mut hash, mut bytes) = (Sha256::default(), 0);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = entry.read(&mut chunk);
        let read = read.map_err(|error| BackupError::Damaged(error.to_string()))?;
        if read == 0 {
            break;
        }
        hash.update(&chunk[..read]);
        file.write_all(&chunk[..read]).map_err(at(path))?;
        bytes += read as u64;
    }
    file.sync_all().map_err(at(path))?;
    Ok((bytes, hash.finish()))
}
