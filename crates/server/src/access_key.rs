//! The owner's access key: what requests to this server are signed with.
//!
//! It is a file of the form that AWS tools read as their *shared credentials file* (AWS SDKs and
//! Tools Reference Guide, *Shared config and credentials files*), so that naming it in
//! `AWS_SHARED_CREDENTIALS_FILE` is all that a client needs:
//!
//! ```text
//! [default]
//! aws_access_key_id = AKIA…            20 characters
//! aws_secret_access_key = …            40 characters
//! ```

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use waxseal_core::SecretBytes;
use waxseal_core::crypto::random::Entropy;
use waxseal_kms::principals;

/// The longest file that is read.
const FILE_BYTES_MAX: u64 = 16 * 1024;
const ID_PREFIX: &str = "AKIA";

/// An access key id and its secret.
#[derive(Debug)]
pub struct AccessKey {
    /// `AKIA…`; not secret.
    pub id: String,
    /// What requests are signed with.
    pub secret: Arc<SecretBytes>,
}

/// Why there is no access key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessKeyError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// As the system says it.
        source: std::io::Error,
    },
    /// Others can read the secret.
    #[error("{path} has mode {mode:04o}: others can read it")]
    WeakMode {
        /// Which one.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is no credentials file with one complete key in its first profile.
    #[error("{path} holds no access key: {what}")]
    Malformed {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    NoEntropy,
}

impl AccessKey {
    /// Reads the key in `path`, or makes one, with mode 0600, when there is no such file. Says
    /// whether it was made now.
    ///
    /// # Errors
    /// [`AccessKeyError`]. A file that is there is never replaced.
    pub fn read_or_make(
        path: &Path,
        entropy: &dyn Entropy,
    ) -> Result<(Self, bool), AccessKeyError> {
        match Self::read(path) {
            Err(AccessKeyError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            other => return other.map(|key| (key, false)),
        }
        let key = Self::random(entropy)?;
        match key.write_new(path) {
            // Another process was faster: its key counts.
            Err(AccessKeyError::Io { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {
                Self::read(path).map(|key| (key, false))
            }
            made => made.map(|()| (key, true)),
        }
    }

    /// Reads a credentials file.
    ///
    /// # Errors
    /// [`AccessKeyError`].
    pub fn read(path: &Path) -> Result<Self, AccessKeyError> {
        let io = |source| AccessKeyError::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(io)?;
        let mode = file.metadata().map_err(io)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            let path = path.to_owned();
            return Err(AccessKeyError::WeakMode { path, mode });
        }
        // Memory for all of it at once: a text that grows leaves copies behind.
        let mut text = Vec::with_capacity(FILE_BYTES_MAX as usize + 1);
        let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text);
        let text = SecretBytes::new(text);
        read.map_err(io)?;
        Self::parse(text.expose()).map_err(|what| AccessKeyError::Malformed {
            path: path.to_owned(),
            what,
        })
    }

    fn parse(text: &[u8]) -> Result<Self, &'static str> {
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err("it is too long");
        }
        let text = str::from_utf8(text).map_err(|_| "it is no text")?;
        let (mut id, mut secret, mut profiles) = (None, None, 0);
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                profiles += 1;
            } else if let Some((name, value)) = line.split_once('=') {
                match name.trim() {
                    _ if profiles > 1 => {}
                    "aws_access_key_id" => id = Some(value.trim()),
                    "aws_secret_access_key" => secret = Some(value.trim()),
                    _ => {}
                }
            }
        }
        let id = id
            .filter(|id| !id.is_empty())
            .ok_or("no aws_access_key_id")?;
        let secret = secret.filter(|secret| secret.len() >= 16);
        let secret = secret.ok_or("no aws_secret_access_key of 16 characters or more")?;
        Ok(Self {
            id: id.to_owned(),
            secret: Arc::new(SecretBytes::copy_of(secret.as_bytes())),
        })
    }

    fn random(entropy: &dyn Entropy) -> Result<Self, AccessKeyError> {
        let failed = |_| AccessKeyError::NoEntropy;
        Ok(Self {
            id: principals::new_id(ID_PREFIX, entropy).map_err(failed)?,
            secret: Arc::new(principals::new_secret(entropy).map_err(failed)?),
        })
    }

    fn write_new(&self, path: &Path) -> Result<(), AccessKeyError> {
        let io = |source| AccessKeyError::Io {
            path: path.to_owned(),
            source,
        };
        let parts: [&[u8]; 5] = [
            b"[default]\naws_access_key_id = ",
            self.id.as_bytes(),
            b"\naws_secret_access_key = ",
            self.secret.expose(),
            b"\n",
        ];
        let text = SecretBytes::new(parts.concat());
        // Whole under another name first: who reads meanwhile finds all of it or nothing.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let draft = path.with_file_name(format!(".{name}.{}", std::process::id()));
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .map_err(io)?;
        let written = file.write_all(text.expose()).and_then(|()| file.sync_all());
        let named = written.and_then(|()| std::fs::hard_link(&draft, path));
        let removed = std::fs::remove_file(&draft);
        named.and(removed).map_err(io)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    struct Counting;

    impl Entropy for Counting {
        fn fill(&self, out: &mut [u8]) -> Result<(), waxseal_core::crypto::random::EntropyError> {
            for (at, byte) in out.iter_mut().enumerate() {
                *byte = at as u8;
            }
            Ok(())
        }
    }

    #[test]
    fn keys_have_the_form_of_aws() {
        let key = AccessKey::random(&Counting).unwrap();
        assert_eq!(key.id, "AKIAABCDEFGHIJKLMNOP");
        assert_eq!(key.secret.len(), 40);
        assert!(!format!("{key:?}").contains("QRST"));
    }

    #[test]
    fn the_first_profile_counts() {
        let text = b"# mine\n[default]\naws_access_key_id=AKIA1\n aws_secret_access_key = 0123456789abcdef/+= \n[other]\naws_access_key_id=AKIA2\n";
        let key = AccessKey::parse(text).unwrap();
        assert_eq!(key.id, "AKIA1");
        assert_eq!(key.secret.expose(), b"0123456789abcdef/+=");
        for wrong in [
            &b""[..],
            b"[default]\naws_access_key_id = AKIA1\n",
            b"[default]\naws_secret_access_key = 0123456789abcdef\n",
            b"[default]\naws_access_key_id = A\naws_secret_access_key = short\n",
            b"\xff",
        ] {
            assert!(AccessKey::parse(wrong).is_err());
        }
    }
}
