//! ML-KEM (FIPS 203): a secret, and the ciphertext that carries it to the holder of a key.
//!
//! ```text
//! decapsulation key = dk_PKE 384k | encapsulation key 384k + 32 | H 32 | z 32        k = 2, 3, 4
//! ```

use super::Unauthentic;
use crate::secret::SecretBytes;
use aws_lc_rs::kem::{
    Algorithm, AlgorithmId, Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_512, ML_KEM_768,
    ML_KEM_1024,
};

/// Bytes of the secret, for every parameter set.
pub const SECRET_BYTES: usize = 32;

/// A parameter set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KemSet {
    /// ML-KEM-512
    MlKem512,
    /// ML-KEM-768
    MlKem768,
    /// ML-KEM-1024
    MlKem1024,
}

impl KemSet {
    fn algorithm(self) -> &'static Algorithm<AlgorithmId> {
        match self {
            Self::MlKem512 => &ML_KEM_512,
            Self::MlKem768 => &ML_KEM_768,
            Self::MlKem1024 => &ML_KEM_1024,
        }
    }

    fn k(self) -> usize {
        match self {
            Self::MlKem512 => 2,
            Self::MlKem768 => 3,
            Self::MlKem1024 => 4,
        }
    }

    /// The last arc of the object identifier 2.16.840.1.101.3.4.4.*.
    fn arc(self) -> u8 {
        match self {
            Self::MlKem512 => 1,
            Self::MlKem768 => 2,
            Self::MlKem1024 => 3,
        }
    }

    /// Bytes of a ciphertext: 768, 1,088 or 1,568.
    pub fn ciphertext_bytes(self) -> usize {
        match self {
            Self::MlKem512 => 768,
            Self::MlKem768 => 1_088,
            Self::MlKem1024 => 1_568,
        }
    }
}

/// A decapsulation key.
#[derive(Debug)]
pub struct KemKey {
    set: KemSet,
    private: SecretBytes,
}

impl KemKey {
    /// Makes a key. The library draws its own randomness.
    ///
    /// # Errors
    /// [`Unauthentic`] when the library fails, which no input causes.
    pub fn generate(set: KemSet) -> Result<Self, Unauthentic> {
        let key = DecapsulationKey::generate(set.algorithm()).map_err(|_| Unauthentic)?;
        let bytes = key.key_bytes().map_err(|_| Unauthentic)?;
        let private = SecretBytes::copy_of(bytes.as_ref());
        Ok(Self { set, private })
    }

    /// With the decapsulation key's bytes.
    ///
    /// # Errors
    /// [`Unauthentic`] for another length.
    pub fn from_bytes(set: KemSet, bytes: &[u8]) -> Result<Self, Unauthentic> {
        DecapsulationKey::new(set.algorithm(), bytes).map_err(|_| Unauthentic)?;
        Ok(Self {
            set,
            private: SecretBytes::copy_of(bytes),
        })
    }

    /// The decapsulation key.
    pub fn private_bytes(&self) -> &SecretBytes {
        &self.private
    }

    /// The encapsulation key, which stands in the decapsulation key.
    pub fn public_bytes(&self) -> &[u8] {
        let k = self.set.k();
        &self.private.expose()[384 * k..768 * k + 32]
    }

    /// The encapsulation key as `SubjectPublicKeyInfo` in DER (RFC 9935).
    pub fn spki(&self) -> Vec<u8> {
        let bits = [&[0], self.public_bytes()].concat();
        der(0x30, &[self.algorithm_der(), der(0x03, &bits)].concat())
    }

    /// The decapsulation key as PKCS#8 `PrivateKeyInfo` in DER, in its expanded form (RFC 9935).
    pub fn pkcs8(&self) -> SecretBytes {
        let version = [0x02, 0x01, 0x00];
        let key = SecretBytes::new(der(0x04, self.private.expose()));
        let octets = SecretBytes::new(der(0x04, key.expose()));
        let algorithm = self.algorithm_der();
        let parts = [&version[..], &algorithm, octets.expose()].concat();
        let parts = SecretBytes::new(parts);
        SecretBytes::new(der(0x30, parts.expose()))
    }

    fn algorithm_der(&self) -> Vec<u8> {
        let arcs = [
            0x60,
            0x86,
            0x48,
            0x01,
            0x65,
            0x03,
            0x04,
            0x04,
            self.set.arc(),
        ];
        der(0x30, &der(0x06, &arcs))
    }

    /// A ciphertext, and the secret in it.
    ///
    /// # Errors
    /// [`Unauthentic`] when the library fails, which no input causes.
    pub fn encapsulate(&self) -> Result<(Vec<u8>, SecretBytes), Unauthentic> {
        let key = EncapsulationKey::new(self.set.algorithm(), self.public_bytes());
        let made = key.map_err(|_| Unauthentic)?.encapsulate();
        let (ciphertext, secret) = made.map_err(|_| Unauthentic)?;
        let secret = SecretBytes::copy_of(secret.as_ref());
        Ok((ciphertext.as_ref().to_vec(), secret))
    }

    /// The secret in a ciphertext. A ciphertext for another key gives another secret, as the
    /// standard has it (implicit rejection).
    ///
    /// # Errors
    /// [`Unauthentic`] for another length than [`KemSet::ciphertext_bytes`].
    pub fn decapsulate(&self, ciphertext: &[u8]) -> Result<SecretBytes, Unauthentic> {
        if ciphertext.len() != self.set.ciphertext_bytes() {
            return Err(Unauthentic);
        }
        let key = DecapsulationKey::new(self.set.algorithm(), self.private.expose());
        let secret = key
            .map_err(|_| Unauthentic)?
            .decapsulate(Ciphertext::from(ciphertext));
        Ok(SecretBytes::copy_of(
            secret.map_err(|_| Unauthentic)?.as_ref(),
        ))
    }
}

/// Tag, length and value. Values of up to 65,535 bytes.
fn der(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 4);
    out.push(tag);
    match value.len() {
        len @ 0..=0x7f => out.push(len as u8),
        len @ 0x80..=0xff => out.extend([0x81, len as u8]),
        len => out.extend([0x82, (len >> 8) as u8, len as u8]),
    }
    out.extend_from_slice(value);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_travel() {
        for set in [KemSet::MlKem512, KemSet::MlKem768, KemSet::MlKem1024] {
            let key = KemKey::generate(set).unwrap();
            let (ciphertext, secret) = key.encapsulate().unwrap();
            assert_eq!(ciphertext.len(), set.ciphertext_bytes());
            assert_eq!(secret.len(), SECRET_BYTES);
            let again = KemKey::from_bytes(set, key.private_bytes().expose()).unwrap();
            assert_eq!(again.spki(), key.spki());
            let opened = again.decapsulate(&ciphertext).unwrap();
            assert!(opened.ct_eq(secret.expose()));
            let other = KemKey::generate(set).unwrap();
            let opened = other.decapsulate(&ciphertext).unwrap();
            assert!(!opened.ct_eq(secret.expose()));
            assert!(key.decapsulate(&ciphertext[1..]).is_err());
            assert!(KemKey::from_bytes(set, &[1; 32]).is_err());
        }
    }
}
