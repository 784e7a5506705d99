//! How a root key is found.

use super::{PROVIDER_ROOT, RootError};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use waxseal_core::SecretBytes;
use waxseal_core::crypto::password::PasswordParams;
use waxseal_core::crypto::random::Entropy;
use waxseal_core::keyring::{PROVIDER_AWS_KMS, RawAesKeyring};

/// How to find a root key. Nothing in it is secret, and nothing in it leads to code or to a server:
/// whoever can write the store could name others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum RootKind {
    /// 32 bytes in a file beside the store.
    File,
    /// Argon2id of a passphrase.
    Passphrase {
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes.
        passes: u32,
        /// Lanes.
        lanes: u32,
        /// 16 bytes in hexadecimal digits.
        salt: String,
    },
    /// 32 bytes that were split into shares.
    Shares {
        /// How many make the key again.
        need: u8,
        /// How many there are.
        of: u8,
        /// Which splitting it was: 4 bytes in hexadecimal digits.
        set: String,
    },
    /// An AES key in a PKCS #11 device.
    Pkcs11 {
        /// The token's serial number.
        serial: String,
        /// The key's label.
        object: String,
    },
    /// A key in another KMS that speaks the AWS KMS API.
    Kms {
        /// Its ARN.
        key: String,
    },
}

impl RootKind {
    /// A passphrase root with these parameters.
    pub fn passphrase(params: &PasswordParams) -> Self {
        Self::Passphrase {
            memory_kib: params.memory_kib,
            passes: params.passes,
            lanes: params.lanes,
            salt: hex::encode(params.salt),
        }
    }

    /// The parameters of a passphrase root.
    ///
    /// # Errors
    /// [`RootError::Damaged`] for another kind of root, and when the salt is not 16 bytes in hexadecimal
    /// digits.
    pub fn password_params(&self) -> Result<PasswordParams, RootError> {
        let Self::Passphrase {
            memory_kib,
            passes,
            lanes,
            salt,
        } = self
        else {
            return Err(RootError::Damaged("there is no passphrase".to_owned()));
        };
        let mut bytes = [0; 16];
        hex::decode_to_slice(salt, &mut bytes)
            .map_err(|error| RootError::Damaged(format!("salt: {error}")))?;
        let (memory_kib, passes, lanes) = (*memory_kib, *passes, *lanes);
        Ok(PasswordParams {
            memory_kib,
            passes,
            lanes,
            salt: bytes,
        })
    }

    /// Whether the key is somewhere else than with this program: a device, another KMS.
    pub fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Pkcs11 { .. } | Self::Kms { .. })
    }

    /// That its key does not open the store.
    pub(super) fn wrong(&self) -> RootError {
        match self {
            Self::Shares { need, .. } => RootError::Shares { need: *need },
            _ => RootError::WrongKey(self.name()),
        }
    }

    /// As errors call it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::File => "root key file",
            Self::Passphrase { .. } => "passphrase",
            Self::Shares { .. } => "key from the shares",
            Self::Pkcs11 { .. } => "key in the device",
            Self::Kms { .. } => "key in the other KMS",
        }
    }

    /// The provider id of what it wraps.
    pub(super) fn provider_id(&self) -> &'static str {
        match self {
            Self::Kms { .. } => PROVIDER_AWS_KMS,
            _ => PROVIDER_ROOT,
        }
    }

    /// The keyring of a root key that is 32 bytes.
    ///
    /// # Errors
    /// [`RootError::Damaged`] when `key` has another length.
    pub fn keyring(
        &self,
        key: &SecretBytes,
        entropy: Arc<dyn Entropy>,
    ) -> Result<RawAesKeyring, RootError> {
        RawAesKeyring::new(PROVIDER_ROOT, self.name(), key, entropy)
            .map_err(|error| RootError::Damaged(error.to_string()))
    }
}

impl fmt::Display for RootKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("a root key file"),
            Self::Passphrase { memory_kib, .. } => {
                write!(f, "a passphrase (Argon2id, {memory_kib} KiB)")
            }
            Self::Shares { need, of, .. } => write!(f, "{need} of {of} shares"),
            Self::Pkcs11 { serial, object } => {
                write!(f, "the key '{object}' in the PKCS #11 device {serial}")
            }
            Self::Kms { key } => write!(f, "the key {key} in another KMS"),
        }
    }
}
