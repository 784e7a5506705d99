//! RSA encryption (RFC 8017): PKCS#1 v1.5 and OAEP, keys of 2,048 to 8,192 bits.
//!
//! aws-lc refuses shorter and longer keys, and public exponents of more than 33 bits. It blinds
//! private operations, and draws the randomness of padding and blinding by itself: its interface
//! has no place to hand it in.

use super::Unauthentic;
use super::hash::sha256;
use super::pem::{self, KeyError, Label, Section};
use crate::secret::SecretBytes;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::rsa::{
    KeyPair, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384,
    OAEP_SHA512_MGF1SHA512, OaepAlgorithm, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    Pkcs1PrivateDecryptingKey, Pkcs1PublicEncryptingKey, PrivateDecryptingKey, PublicEncryptingKey,
    PublicKey,
};
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use std::fmt;
use std::str::FromStr;

/// How a message is padded before it is raised to the public exponent. MGF1 has the hash of OAEP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RsaPadding {
    /// PKCS#1 v1.5 (RFC 8017, section 7.2): for compatibility only. Whoever may try many
    /// ciphertexts and see which ones fail can decrypt one (Bleichenbacher 1998).
    Pkcs1,
    /// OAEP with SHA-1.
    OaepSha1,
    /// OAEP with SHA-256.
    OaepSha256,
    /// OAEP with SHA-384.
    OaepSha384,
    /// OAEP with SHA-512.
    OaepSha512,
}

impl RsaPadding {
    /// Every padding, for tables and help.
    pub const ALL: [Self; 5] = [
        Self::Pkcs1,
        Self::OaepSha1,
        Self::OaepSha256,
        Self::OaepSha384,
        Self::OaepSha512,
    ];

    /// `pkcs1` or `oaep-sha1` … `oaep-sha512`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pkcs1 => "pkcs1",
            Self::OaepSha1 => "oaep-sha1",
            Self::OaepSha256 => "oaep-sha256",
            Self::OaepSha384 => "oaep-sha384",
            Self::OaepSha512 => "oaep-sha512",
        }
    }

    fn oaep(self) -> Option<&'static OaepAlgorithm> {
        match self {
            Self::Pkcs1 => None,
            Self::OaepSha1 => Some(&OAEP_SHA1_MGF1SHA1),
            Self::OaepSha256 => Some(&OAEP_SHA256_MGF1SHA256),
            Self::OaepSha384 => Some(&OAEP_SHA384_MGF1SHA384),
            Self::OaepSha512 => Some(&OAEP_SHA512_MGF1SHA512),
        }
    }
}

impl fmt::Display for RsaPadding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no padding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no RSA padding: pkcs1, oaep-sha1, oaep-sha256, oaep-sha384, oaep-sha512")]
pub struct UnknownPadding(String);

impl FromStr for RsaPadding {
    type Err = UnknownPadding;

    fn from_str(text: &str) -> Result<Self, UnknownPadding> {
        let known = Self::ALL.into_iter().find(|padding| padding.name() == text);
        known.ok_or_else(|| UnknownPadding(text.to_owned()))
    }
}

/// A key that verifies RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, section 8.2).
#[derive(Debug)]
pub struct RsaVerifyingKey {
    key: ParsedPublicKey,
    public: PublicKey,
}

impl RsaVerifyingKey {
    /// Reads all public keys in a PEM text (`PUBLIC KEY` or `RSA PUBLIC KEY`), in their order; one at
    /// least.
    ///
    /// # Errors
    /// [`KeyError`]; one that is no RSA key is refused, too.
    pub fn all_from_pem(text: &[u8]) -> Result<Vec<Self>, KeyError> {
        let public = pem::public_keys(text)?;
        let keys = public.iter().map(|key| Self::from_der(key.der.expose()));
        keys.collect()
    }

    /// Reads a `SubjectPublicKeyInfo` or an `RSAPublicKey` in DER, 2,048 to 8,192 bits.
    ///
    /// # Errors
    /// [`KeyError::Refused`].
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let refused = |error| refused("RSA public key", error);
        Ok(Self {
            key: ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).map_err(refused)?,
            public: PublicKey::from_der(der).map_err(refused)?,
        })
    }

    /// As an `RSAPublicKey` (PKCS #1) in DER.
    pub fn pkcs1(&self) -> &[u8] {
        self.public.as_ref()
    }

    /// As a `SubjectPublicKeyInfo` in DER.
    ///
    /// # Errors
    /// [`Unauthentic`] when the library refuses, for want of memory for instance.
    pub fn spki(&self) -> Result<Vec<u8>, Unauthentic> {
        let der = self.public.as_der().map_err(|_| Unauthentic)?;
        Ok(der.as_ref().to_vec())
    }

    /// Verifies.
    ///
    /// # Errors
    /// [`Unauthentic`] for a wrong signature.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Unauthentic> {
        let verified = self.key.verify_sig(message, signature);
        verified.map_err(|_| Unauthentic)
    }
}

/// A key that encrypts.
#[derive(Clone)]
pub struct RsaPublicKey(PublicEncryptingKey);

impl RsaPublicKey {
    /// Reads the one public key in `text` (`PUBLIC KEY` or `RSA PUBLIC KEY`).
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        RsaKeys::from_pem(text)?
            .public
            .ok_or(KeyError::Missing("public key"))
    }

    /// Reads an X.509 `SubjectPublicKeyInfo` in DER, as key services give it.
    ///
    /// # Errors
    /// [`KeyError::Refused`].
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let key = PublicEncryptingKey::from_der(der);
        Ok(Self(key.map_err(|error| refused("RSA public key", error))?))
    }

    /// Length of the modulus in bits, 2,048 to 8,192.
    pub fn bits(&self) -> usize {
        self.0.key_size_bits()
    }

    /// Encrypts at most modulus − 11 bytes (PKCS#1 v1.5) or modulus − 2 × hash − 2 (OAEP).
    ///
    /// # Errors
    /// [`Unauthentic`] when `plaintext` is longer.
    pub fn encrypt(&self, padding: RsaPadding, plaintext: &[u8]) -> Result<Vec<u8>, Unauthentic> {
        let mut out = vec![0; self.0.key_size_bytes()];
        let key = self.0.clone();
        let written = match padding.oaep() {
            Some(algorithm) => OaepPublicEncryptingKey::new(key)
                .and_then(|key| Ok(key.encrypt(algorithm, plaintext, &mut out, None)?.len())),
            None => Pkcs1PublicEncryptingKey::new(key)
                .and_then(|key| Ok(key.encrypt(plaintext, &mut out)?.len())),
        };
        out.truncate(written.map_err(|_| Unauthentic)?);
        Ok(out)
    }

    fn from_section(section: &Section) -> Result<Self, KeyError> {
        let refused = |error| refused("RSA public key", error);
        let key = match section.label {
            Label::Pkcs1Public => {
                let key = PublicKey::from_der(section.der.expose()).map_err(refused)?;
                let der = key.as_der().map_err(|_| KeyError::NotPem)?;
                PublicEncryptingKey::from_der(der.as_ref())
            }
            _ => PublicEncryptingKey::from_der(section.der.expose()),
        };
        Ok(Self(key.map_err(refused)?))
    }
}

impl fmt::Debug for RsaPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RsaPublicKey({} bits)", self.bits())
    }
}

/// A key that decrypts.
pub struct RsaPrivateKey(PrivateDecryptingKey);

impl RsaPrivateKey {
    /// Reads the one private key in `text` (`PRIVATE KEY` or `RSA PRIVATE KEY`, with the factors).
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        RsaKeys::from_pem(text)?
            .private
            .ok_or(KeyError::Missing("private key"))
    }

    /// Reads a PKCS#8 `PrivateKeyInfo` in DER.
    ///
    /// # Errors
    /// [`KeyError::Refused`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let key = PrivateDecryptingKey::from_pkcs8(der);
        Ok(Self(
            key.map_err(|error| refused("RSA private key", error))?,
        ))
    }

    /// Length of the modulus in bits, 2,048 to 8,192.
    pub fn bits(&self) -> usize {
        self.0.key_size_bits()
    }

    /// The public half.
    pub fn public_key(&self) -> RsaPublicKey {
        RsaPublicKey(self.0.public_key())
    }

    /// Decrypts.
    ///
    /// # Errors
    /// [`Unauthentic`] for every failure: another length than the modulus has, and any padding
    /// that does not fit.
    pub fn decrypt(
        &self,
        padding: RsaPadding,
        ciphertext: &[u8],
    ) -> Result<SecretBytes, Unauthentic> {
        let mut out = SecretBytes::zeroed(self.0.key_size_bytes());
        let key = self.0.clone();
        let len = match padding.oaep() {
            Some(algorithm) => OaepPrivateDecryptingKey::new(key).and_then(|key| {
                let plain = key.decrypt(algorithm, ciphertext, out.expose_mut(), None)?;
                Ok(plain.len())
            }),
            None => Pkcs1PrivateDecryptingKey::new(key)
                .and_then(|key| Ok(key.decrypt(ciphertext, out.expose_mut())?.len())),
        };
        let len = len.map_err(|_| Unauthentic)?;
        Ok(SecretBytes::copy_of(&out.expose()[..len]))
    }

    fn from_section(section: &Section) -> Result<Self, KeyError> {
        let refused = |error| refused("RSA private key", error);
        let key = match section.label {
            Label::Pkcs1Private => {
                let key = KeyPair::from_der(section.der.expose()).map_err(refused)?;
                let der = key.as_der().map_err(|_| KeyError::NotPem)?;
                PrivateDecryptingKey::from_pkcs8(der.as_ref())
            }
            _ => PrivateDecryptingKey::from_pkcs8(section.der.expose()),
        };
        Ok(Self(key.map_err(refused)?))
    }
}

impl fmt::Debug for RsaPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RsaPrivateKey({} bits)", self.bits())
    }
}

/// What a PEM text holds: a public key, a private key, or both of one pair.
#[derive(Debug)]
pub struct RsaKeys {
    /// The key that encrypts. It is never derived from the private one.
    pub public: Option<RsaPublicKey>,
    /// The key that decrypts.
    pub private: Option<RsaPrivateKey>,
}

impl RsaKeys {
    /// Reads the keys in `text`.
    ///
    /// # Errors
    /// [`KeyError`]; among them two keys that are no pair.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let (private, public) = pem::keys(text)?;
        let keys = Self {
            public: public
                .as_ref()
                .map(RsaPublicKey::from_section)
                .transpose()?,
            private: private
                .as_ref()
                .map(RsaPrivateKey::from_section)
                .transpose()?,
        };
        match (&keys.public, &keys.private) {
            (Some(public), Some(private)) if !same(public, &private.public_key()) => {
                Err(KeyError::NotAPair)
            }
            _ => Ok(keys),
        }
    }
}

impl RsaKeys {
    /// SHA-256 of the public key's `SubjectPublicKeyInfo`: the same for both halves of a pair.
    pub fn fingerprint(&self) -> [u8; 32] {
        let derived = self.private.as_ref().map(RsaPrivateKey::public_key);
        let public = self.public.as_ref().or(derived.as_ref());
        // A key that was read can be printed.
        let spki = public.and_then(|key| Some(key.0.as_der().ok()?.as_ref().to_vec()));
        sha256(&[&spki.unwrap_or_default()])
    }
}

fn same(left: &RsaPublicKey, right: &RsaPublicKey) -> bool {
    match (left.0.as_der(), right.0.as_der()) {
        (Ok(left), Ok(right)) => left.as_ref() == right.as_ref(),
        _ => false,
    }
}

fn refused(kind: &'static str, error: KeyRejected) -> KeyError {
    KeyError::Refused {
        kind,
        reason: error.to_string(),
    }
}
