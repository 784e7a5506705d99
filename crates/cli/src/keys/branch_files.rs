//! Branch keys in a folder: `DIR/ID/ACTIVE.json` and `DIR/ID/VERSION.json`, each one row of
//! AWS's key store as JSON, its key wrapped by any keyring.

use crate::failure::Failure;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use waxseal_core::EncryptedDataKey;
use waxseal_core::keyring::branch_key::{BranchKeyRows, BranchKeyVersion, WrappedBranchKey};

/// The most bytes of a row: a key that some thirty RSA keys wrapped.
const ROW_BYTES_MAX: u64 = 65_536;
const ACTIVE: &str = "ACTIVE";

/// A folder of branch keys.
#[derive(Debug, Clone)]
pub(crate) struct BranchFiles(PathBuf);

impl BranchFiles {
    /// The folder `directory`, which need not be there yet.
    pub(crate) fn new(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// Every branch key's id, sorted.
    pub(crate) fn ids(&self) -> Result<Vec<String>, Failure> {
        let mut ids = names(&self.0)?;
        ids.retain(|id| is_id(id) && self.place(id, None).exists());
        Ok(ids)
    }

    /// Every version of a branch key, the oldest first.
    pub(crate) fn versions(&self, id: &str) -> Result<Vec<WrappedBranchKey>, Failure> {
        let mut rows = Vec::new();
        for name in names(&self.0.join(id))? {
            let stem = name
                .strip_suffix(".json")
                .and_then(|stem| stem.parse().ok());
            if let Some(version) = stem {
                let row = self.read(id, Some(version));
                let row = row.map_err(|what| {
                    Failure::configuration(what, "put the file back as it was, or remove it")
                })?;
                rows.extend(row);
            }
        }
        rows.sort_by(|a, b| (&a.created, a.version).cmp(&(&b.created, b.version)));
        Ok(rows)
    }

    fn place(&self, id: &str, version: Option<BranchKeyVersion>) -> PathBuf {
        let name = version.map_or_else(|| ACTIVE.to_owned(), |version| version.to_string());
        self.0.join(id).join(format!("{name}.json"))
    }

    fn put(&self, row: &WrappedBranchKey) -> io::Result<()> {
        let place = self.place(&row.id, (!row.active).then_some(row.version));
        let directory = place.parent().unwrap_or(&self.0);
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        serde_json::to_writer_pretty(&mut file, &Row::from(row))?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        match row.active {
            true => file.persist(&place)?,
            false => file.persist_noclobber(&place)?,
        };
        File::open(directory)?.sync_all()
    }
}

/// Whether an id can be the name of a folder.
pub(crate) fn is_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=128).contains(&id.len()) && !id.starts_with('.') && id.bytes().all(allowed)
}

/// What to say of an id that cannot.
pub(crate) fn not_an_id(id: &str) -> Failure {
    Failure::usage(
        format!("'{id}' cannot be the id of a branch key in a folder"),
        "use 1 to 128 of A-Z a-z 0-9 . _ - and no '.' in front",
    )
}

fn names(directory: &Path) -> Result<Vec<String>, Failure> {
    let failed = |error: io::Error| Failure {
        exit: crate::failure::Exit::Configuration,
        ..Failure::io(
            "read the branch keys in",
            &directory.display().to_string(),
            &error,
        )
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

impl BranchKeyRows for BranchFiles {
    fn read(
        &self,
        id: &str,
        version: Option<BranchKeyVersion>,
    ) -> Result<Option<WrappedBranchKey>, String> {
        if !is_id(id) {
            return Ok(None);
        }
        let place = self.place(id, version);
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", place.display());
        let file = match File::open(&place) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&error)),
        };
        let mut text = Vec::new();
        let read = file.take(ROW_BYTES_MAX + 1).read_to_end(&mut text);
        read.map_err(|error| failed(&error))?;
        if text.len() as u64 > ROW_BYTES_MAX {
            return Err(failed(&"this is too long for a branch key"));
        }
        let row: Row = serde_json::from_slice(&text).map_err(|error| failed(&error))?;
        let row = row.parsed();
        row.map(Some)
            .ok_or_else(|| failed(&"this is no row of a branch key"))
    }

    fn write(&self, version: &WrappedBranchKey, active: &WrappedBranchKey) -> Result<(), String> {
        if !is_id(&version.id) {
            return Err(not_an_id(&version.id).what);
        }
        let directory = self.0.join(&version.id);
        let written = std::fs::create_dir_all(&directory)
            .and_then(|()| self.put(version))
            .and_then(|()| self.put(active));
        written.map_err(|error| format!("{}: {error}", directory.display()))
    }
}

/// A row as it stands in a file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Row {
    branch_key_id: String,
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    create_time: String,
    hierarchy_version: String,
    enc: Vec<Enc>,
}

/// One wrapping of the key.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Enc {
    provider_id: String,
    provider_info: String,
    ciphertext: String,
}

const TYPE_ACTIVE: &str = "branch:ACTIVE";
const TYPE_VERSION: &str = "branch:version:";

impl From<&WrappedBranchKey> for Row {
    fn from(row: &WrappedBranchKey) -> Self {
        let version = format!("{TYPE_VERSION}{}", row.version);
        let enc = row.encrypted.iter().map(|key| Enc {
            provider_id: key.provider_id.clone(),
            provider_info: STANDARD.encode(&key.provider_info),
            ciphertext: STANDARD.encode(&key.ciphertext),
        });
        let (r#type, version) = match row.active {
            true => (TYPE_ACTIVE.to_owned(), Some(version)),
            false => (version, None),
        };
        Self {
            branch_key_id: row.id.clone(),
            r#type,
            version,
            create_time: row.created.clone(),
            hierarchy_version: "1".to_owned(),
            enc: enc.collect(),
        }
    }
}

impl Row {
    fn parsed(self) -> Option<WrappedBranchKey> {
        let active = self.r#type == TYPE_ACTIVE;
        let version = match (active, self.version) {
            (true, Some(version)) => version,
            (false, None) => self.r#type,
            _ => return None,
        };
        let encrypted = self.enc.into_iter().map(|key| {
            Some(EncryptedDataKey {
                provider_id: key.provider_id,
                provider_info: STANDARD.decode(key.provider_info).ok()?,
                ciphertext: STANDARD.decode(key.ciphertext).ok()?,
            })
        });
        Some(WrappedBranchKey {
            id: self.branch_key_id,
            version: version.strip_prefix(TYPE_VERSION)?.parse().ok()?,
            active,
            created: self.create_time,
            encrypted: encrypted.collect::<Option<_>>()?,
        })
        .filter(|_| self.hierarchy_version == "1")
    }
}
