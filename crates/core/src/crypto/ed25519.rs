//! Ed25519 signatures (RFC 8032) by whom only the public key is known.

use super::Unauthentic;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

/// Bytes of a public key.
pub const PUBLIC_KEY_BYTES: usize = 32;

/// A public key that verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ed25519VerifyingKey([u8; PUBLIC_KEY_BYTES]);

impl Ed25519VerifyingKey {
    /// The key with these bytes (RFC 8032, section 5.1.5). Whether they are one shows when it verifies.
    pub fn new(bytes: [u8; PUBLIC_KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The key of a `SubjectPublicKeyInfo` in DER (RFC 8410).
    ///
    /// # Errors
    /// [`Unauthentic`] for anything that is no Ed25519 key.
    pub fn from_spki(der: &[u8]) -> Result<Self, Unauthentic> {
        let key = der.strip_prefix(SPKI_PREFIX).ok_or(Unauthentic)?;
        key.try_into().map(Self).map_err(|_| Unauthentic)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.0
    }

    /// Verifies.
    ///
    /// # Errors
    /// [`Unauthentic`] for a wrong signature.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Unauthentic> {
        let key = UnparsedPublicKey::new(&ED25519, &self.0);
        key.verify(message, signature).map_err(|_| Unauthentic)
    }
}

/// What comes before the key's bytes: algorithm 1.3.101.112, and a bit string of 32 bytes.
const SPKI_PREFIX: &[u8] = &[
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed expectation is the point")]
mod tests {
    use super::*;
    use crate::crypto::key_pair::{KeyPair, PairSpec, SignatureAlgorithm, Signed};

    #[test]
    fn a_key_pair_s_signatures_verify() {
        let pair = KeyPair::generate(PairSpec::Ed25519).unwrap();
        let sign = |text| pair.sign(SignatureAlgorithm::Ed25519, Signed::Message(text));
        let key = Ed25519VerifyingKey::from_spki(&pair.spki().unwrap()).unwrap();
        let signature = sign(b"this").unwrap();
        assert_eq!(key.verify(b"this", &signature), Ok(()));
        assert_eq!(key.verify(b"that", &signature), Err(Unauthentic));
        assert_eq!(key.verify(b"this", &signature[1..]), Err(Unauthentic));
        assert_eq!(Ed25519VerifyingKey::new(*key.bytes()), key);
    }

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn the_published_vector() {
        let bytes = |text: &str| hex(text);
        let key = bytes("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let signature = bytes(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        );
        let key = Ed25519VerifyingKey::new(key.try_into().unwrap());
        assert_eq!(key.verify(&[0x72], &signature), Ok(()));
    }

    fn hex(text: &str) -> Vec<u8> {
        let pairs = text.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        pairs.map(byte).collect()
    }

    #[test]
    fn other_keys_are_none() {
        let pair = KeyPair::generate(PairSpec::P256).unwrap();
        assert!(Ed25519VerifyingKey::from_spki(&pair.spki().unwrap()).is_err());
        assert!(Ed25519VerifyingKey::from_spki(&SPKI_PREFIX[..5]).is_err());
    }
}
