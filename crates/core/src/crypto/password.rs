//! Argon2id (RFC 9106): a key from a passphrase.

use crate::secret::SecretBytes;
use argon2::{Algorithm, Argon2, Params, Version};

/// Costs and salt of one derivation; stored beside what the key protects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordParams {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
    /// 16 random bytes.
    pub salt: [u8; 16],
}

/// Costs outside what is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the Argon2id costs are out of bounds: {0}")]
pub struct PasswordParamsError(&'static str);

impl PasswordParams {
    /// The second recommendation of RFC 9106, section 4: 64 MiB, three passes, four lanes.
    pub fn recommended(salt: [u8; 16]) -> Self {
        Self {
            memory_kib: 64 * 1024,
            passes: 3,
            lanes: 4,
            salt,
        }
    }

    /// Derives 32 bytes from `passphrase`.
    ///
    /// # Errors
    /// Costs outside 8 KiB…1 GiB of memory per use, 1…64 passes and 1…16 lanes: stored values are
    /// read from disk, and a hostile one must not take the machine's memory.
    pub fn derive(&self, passphrase: &SecretBytes) -> Result<SecretBytes, PasswordParamsError> {
        if self.memory_kib > 1024 * 1024 {
            return Err(PasswordParamsError("more than 1 GiB of memory"));
        }
        if self.passes > 64 || self.lanes > 16 {
            return Err(PasswordParamsError("more than 64 passes or 16 lanes"));
        }
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32))
            .map_err(|_| PasswordParamsError("too little memory, no pass or no lane"))?;
        let mut key = SecretBytes::zeroed(32);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.expose(), &self.salt, key.expose_mut())
            .map_err(|_| PasswordParamsError("the passphrase is too long"))?;
        Ok(key)
    }
}
