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
use ml_kem::KeyExport as _;
use zeroize::Zeroizing;

/// Bytes of the secret, for every parameter set.
pub const SECRET_BYTES: usize = 32;

/// Bytes of the seed that makes a key pair.
pub const SEED_BYTES: usize = 64;

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

    /// `AlgorithmIdentifier` in DER (RFC 9935).
    fn algorithm_der(self) -> Vec<u8> {
        let arc = self.arc();
        let arcs = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x04, arc];
        der(0x30, &der(0x06, &arcs))
    }

    fn spki(self, public: &[u8]) -> Vec<u8> {
        let bits = [&[0], public].concat();
        der(0x30, &[self.algorithm_der(), der(0x03, &bits)].concat())
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

/// A key pair that leaves, in the forms that others read.
#[derive(Debug)]
pub struct KemPair {
    /// PKCS#8 `PrivateKeyInfo` in DER, with the seed and not the expanded key (RFC 9935): 86 bytes.
    pub private: SecretBytes,
    /// `SubjectPublicKeyInfo` in DER.
    pub public: Vec<u8>,
}

impl KemPair {
    /// The pair that a seed makes (FIPS 203, Algorithm 16). AWS-LC's bindings take none; ml-kem does.
    ///
    /// ```text
    /// seed = d 32 | z 32
    /// ```
    ///
    /// # Errors
    /// [`Unauthentic`] for another length than [`SEED_BYTES`].
    pub fn from_seed(set: KemSet, seed: &SecretBytes) -> Result<Self, Unauthentic> {
        let bytes = <[u8; SEED_BYTES]>::try_from(seed.expose()).map_err(|_| Unauthentic)?;
        let bytes = Zeroizing::new(ml_kem::Seed::from(bytes));
        macro_rules! public {
            ($key:ident) => {
                ml_kem::$key::from_seed(*bytes)
                    .encapsulation_key()
                    .to_bytes()
                    .to_vec()
            };
        }
        let public = match set {
            KemSet::MlKem512 => public!(DecapsulationKey512),
            KemSet::MlKem768 => public!(DecapsulationKey768),
            KemSet::MlKem1024 => public!(DecapsulationKey1024),
        };
        let key = SecretBytes::new(der(0x80, seed.expose()));
        let octets = SecretBytes::new(der(0x04, key.expose()));
        let version = [0x02, 0x01, 0x00];
        let parts = [&version[..], &set.algorithm_der(), octets.expose()].concat();
        let parts = SecretBytes::new(parts);
        Ok(Self {
            private: SecretBytes::new(der(0x30, parts.expose())),
            public: set.spki(&public),
        })
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
        self.set.spki(self.public_bytes())
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

    /// FIPS 203's intermediate values are not at hand here; `conformance/interop` has another
    /// implementation read the pair, and AWS-LC takes the public key.
    #[test]
    fn pairs_come_from_seeds() {
        for set in [KemSet::MlKem512, KemSet::MlKem768, KemSet::MlKem1024] {
            let seed = SecretBytes::new((0..64).collect());
            let pair = KemPair::from_seed(set, &seed).unwrap();
            assert_eq!(pair.private.len(), 86);
            assert!(pair.private.expose().ends_with(seed.expose()));
            assert_eq!(KemPair::from_seed(set, &seed).unwrap().public, pair.public);
            let other = KemPair::from_seed(set, &SecretBytes::new(vec![7; 64])).unwrap();
            assert_ne!(other.public, pair.public);
            let spki = spki::SubjectPublicKeyInfoRef::try_from(pair.public.as_slice()).unwrap();
            let raw = spki.subject_public_key.raw_bytes();
            let key = EncapsulationKey::new(set.algorithm(), raw).unwrap();
            key.encapsulate().unwrap();
            assert!(KemPair::from_seed(set, &SecretBytes::new(vec![7; 63])).is_err());
        }
    }
}
