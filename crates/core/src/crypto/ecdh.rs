//! Diffie–Hellman on NIST's curves (SP 800-56A, section 5.7.1.2; SEC 1): P-256, P-384, P-521.
//!
//! aws-lc checks that a public key is a point of its curve and not the one at infinity, and draws
//! the randomness of ephemeral keys by itself: its interface has no place to hand it in.

use super::Unauthentic;
use super::pem::{self, KeyError, Section};
use crate::secret::SecretBytes;
use aws_lc_rs::agreement::{
    Algorithm, ECDH_P256, ECDH_P384, ECDH_P521, PrivateKey, UnparsedPublicKey, agree,
};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1,
    EcdsaVerificationAlgorithm, ParsedPublicKey,
};
use std::fmt;

/// A curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EcdhCurve {
    /// secp256r1.
    P256,
    /// secp384r1.
    P384,
    /// secp521r1.
    P521,
}

impl EcdhCurve {
    /// Every curve.
    pub const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// `p256`, `p384` or `p521`.
    pub fn name(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::P521 => "p521",
        }
    }

    /// Length of a coordinate, and of a shared secret, in bytes.
    pub fn field_bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// Length of a compressed point in bytes: 33, 49 or 67.
    pub fn compressed_bytes(self) -> usize {
        1 + self.field_bytes()
    }

    /// Length of a `SubjectPublicKeyInfo` with an uncompressed point in bytes.
    fn spki_bytes(self) -> usize {
        match self {
            Self::P256 => 91,
            Self::P384 => 120,
            Self::P521 => 158,
        }
    }

    fn agreement(self) -> &'static Algorithm {
        match self {
            Self::P256 => &ECDH_P256,
            Self::P384 => &ECDH_P384,
            Self::P521 => &ECDH_P521,
        }
    }

    /// aws-lc parses and prints public keys of its signatures; those of key agreement it only
    /// parses. The keys are the same.
    fn parser(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1,
            Self::P384 => &ECDSA_P384_SHA384_ASN1,
            Self::P521 => &ECDSA_P521_SHA512_ASN1,
        }
    }
}

/// A point of its curve, checked when it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct EcdhPublicKey {
    curve: EcdhCurve,
    spki: Vec<u8>,
    compressed: Vec<u8>,
}

impl EcdhPublicKey {
    /// Reads the one public key in `text` (`PUBLIC KEY`).
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        EcdhKeys::from_pem(text)?
            .public
            .ok_or(KeyError::Missing("public key"))
    }

    /// Reads a `SubjectPublicKeyInfo` in DER, of any of the curves, the point in either form.
    ///
    /// # Errors
    /// [`KeyError::Refused`].
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        // The parser takes bare points and trailing bytes as well.
        let exact = |key: &Self| {
            let shorter = der.first() == Some(&0x30) && der.len() < key.spki.len();
            der == key.spki || (shorter && der.ends_with(&key.compressed))
        };
        let mut parsed = EcdhCurve::ALL
            .into_iter()
            .filter_map(|curve| Self::parse(curve, der));
        parsed.find(exact).ok_or_else(|| refused("EC public key"))
    }

    /// Reads a compressed (`02|03 | x`) or uncompressed (`04 | x | y`) point (SEC 1, section 2.3).
    ///
    /// # Errors
    /// [`KeyError::Refused`] when it is not on the curve, or of another length.
    pub fn from_point(curve: EcdhCurve, point: &[u8]) -> Result<Self, KeyError> {
        let expected_bytes = match point.first() {
            Some(2 | 3) => curve.compressed_bytes(),
            Some(4) => 1 + 2 * curve.field_bytes(),
            _ => 0,
        };
        match point.len() == expected_bytes {
            true => Self::parse(curve, point).ok_or_else(|| refused("EC public key")),
            false => Err(refused("EC public key")),
        }
    }

    /// The curve.
    pub fn curve(&self) -> EcdhCurve {
        self.curve
    }

    /// The compressed point: `02|03 | x`.
    pub fn compressed(&self) -> &[u8] {
        &self.compressed
    }

    /// The `SubjectPublicKeyInfo` in DER, the point uncompressed: 91, 120 or 158 bytes.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    fn parse(curve: EcdhCurve, bytes: &[u8]) -> Option<Self> {
        let key = ParsedPublicKey::new(curve.parser(), bytes).ok()?;
        let spki = key.as_der().ok()?.as_ref().to_vec();
        if spki.len() != curve.spki_bytes() {
            return None;
        }
        // The DER ends with the uncompressed point.
        let coordinates = &spki[spki.len() - 2 * curve.field_bytes()..];
        let (x, y) = coordinates.split_at(curve.field_bytes());
        let mut compressed = vec![2 | (y.last()? & 1)];
        compressed.extend_from_slice(x);
        Some(Self {
            curve,
            spki,
            compressed,
        })
    }
}

impl fmt::Debug for EcdhPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EcdhPublicKey({}, ", self.curve.name())?;
        write!(f, "{})", hex::encode(&self.compressed))
    }
}

/// A scalar with its point.
pub struct EcdhPrivateKey {
    key: PrivateKey,
    public: EcdhPublicKey,
}

impl EcdhPrivateKey {
    /// Makes a key pair.
    ///
    /// # Errors
    /// [`Unauthentic`] when the library fails, which no input causes.
    pub fn generate(curve: EcdhCurve) -> Result<Self, Unauthentic> {
        let key = PrivateKey::generate(curve.agreement()).map_err(|_| Unauthentic)?;
        Self::with_public(curve, key).ok_or(Unauthentic)
    }

    /// Reads the one private key in `text` (`PRIVATE KEY` or `EC PRIVATE KEY`).
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        EcdhKeys::from_pem(text)?
            .private
            .ok_or(KeyError::Missing("private key"))
    }

    /// Reads a PKCS#8 `PrivateKeyInfo` in DER of a key on `curve`.
    ///
    /// # Errors
    /// [`KeyError::Refused`].
    pub fn from_pkcs8(curve: EcdhCurve, der: &[u8]) -> Result<Self, KeyError> {
        let key = PrivateKey::from_private_key_der(curve.agreement(), der).ok();
        key.and_then(|key| Self::with_public(curve, key))
            .ok_or_else(|| refused("EC private key"))
    }

    /// The curve.
    pub fn curve(&self) -> EcdhCurve {
        self.public.curve
    }

    /// The public half.
    pub fn public_key(&self) -> &EcdhPublicKey {
        &self.public
    }

    /// The x coordinate of the shared point, as long as the curve's field.
    ///
    /// # Errors
    /// [`Unauthentic`] when `peer` is on another curve.
    pub fn shared_secret(&self, peer: &EcdhPublicKey) -> Result<SecretBytes, Unauthentic> {
        let theirs = UnparsedPublicKey::new(peer.curve.agreement(), &peer.spki);
        agree(&self.key, theirs, Unauthentic, |secret| {
            Ok(SecretBytes::copy_of(secret))
        })
    }

    fn from_section(section: &Section) -> Result<Self, KeyError> {
        let der = section.der.expose();
        EcdhCurve::ALL
            .into_iter()
            .filter_map(|curve| {
                let key = PrivateKey::from_private_key_der(curve.agreement(), der).ok()?;
                Self::with_public(curve, key)
            })
            .next()
            .ok_or_else(|| refused("EC private key"))
    }

    fn with_public(curve: EcdhCurve, key: PrivateKey) -> Option<Self> {
        let point = key.compute_public_key().ok()?;
        let public = EcdhPublicKey::from_point(curve, point.as_ref()).ok()?;
        Some(Self { key, public })
    }
}

impl fmt::Debug for EcdhPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EcdhPrivateKey({})", self.curve().name())
    }
}

/// What a PEM text holds: a public key, a private key, or both of one pair.
#[derive(Debug)]
pub struct EcdhKeys {
    /// The public key that stands in the text.
    pub public: Option<EcdhPublicKey>,
    /// The private key.
    pub private: Option<EcdhPrivateKey>,
}

impl EcdhKeys {
    /// Reads the keys in `text`.
    ///
    /// # Errors
    /// [`KeyError`]; among them two keys that are no pair.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let (private, public) = pem::keys(text)?;
        let public = public.map(|section| EcdhPublicKey::from_spki(section.der.expose()));
        let keys = Self {
            public: public.transpose()?,
            private: private
                .as_ref()
                .map(EcdhPrivateKey::from_section)
                .transpose()?,
        };
        match (&keys.public, &keys.private) {
            (Some(public), Some(private)) if public != private.public_key() => {
                Err(KeyError::NotAPair)
            }
            _ => Ok(keys),
        }
    }
}

fn refused(kind: &'static str) -> KeyError {
    KeyError::Refused {
        kind,
        reason: "it is no key on P-256, P-384 or P-521".to_owned(),
    }
}
