//! HMAC (FIPS 198-1).

use super::Unauthentic;
use aws_lc_rs::hmac;

/// The hash under HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacHash {
    /// HMAC-SHA-224, 28 bytes.
    Sha224,
    /// HMAC-SHA-256, 32 bytes.
    Sha256,
    /// HMAC-SHA-384, 48 bytes.
    Sha384,
    /// HMAC-SHA-512, 64 bytes.
    Sha512,
}

impl MacHash {
    /// Bytes of a MAC, and of a key that is as strong.
    pub fn bytes(self) -> usize {
        self.algorithm().tag_len()
    }

    fn algorithm(self) -> hmac::Algorithm {
        match self {
            Self::Sha224 => hmac::HMAC_SHA224,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

/// A key that was prepared once for many MACs with HMAC-SHA-256.
pub struct PreparedKey(hmac::Key);

impl PreparedKey {
    /// Prepares a key.
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The MAC of `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(hmac::sign(&self.0, message).as_ref());
        out
    }
}

impl std::fmt::Debug for PreparedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PreparedKey(..)")
    }
}

/// The MAC of the concatenated `parts`.
pub fn hmac(hash: MacHash, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hash.algorithm(), key));
    for part in parts {
        context.update(part);
    }
    context.sign().as_ref().to_vec()
}

/// Compares `mac` with the MAC of `message` in constant time.
///
/// # Errors
/// [`Unauthentic`] when it differs, a wrong length included.
pub fn verify(hash: MacHash, key: &[u8], message: &[u8], mac: &[u8]) -> Result<(), Unauthentic> {
    hmac::verify(&hmac::Key::new(hash.algorithm(), key), message, mac).map_err(|_| Unauthentic)
}
