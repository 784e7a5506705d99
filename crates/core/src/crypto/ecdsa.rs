//! ECDSA over a running hash: P-256 with SHA-256, P-384 with SHA-384 (FIPS 186-5, SEC 1).
//!
//! Signatures are DER `ECDSA-Sig-Value`s. Ours have a fixed length (71 and 103 bytes), so that
//! the length of a message is known before it is written; any length is read.
//!
//! aws-lc draws the randomness of key pairs and signatures by itself: its interface has no place
//! to hand it in.

use super::Unauthentic;
use aws_lc_rs::digest;
use aws_lc_rs::encoding::{AsBigEndian, EcPublicKeyCompressedBin};
use aws_lc_rs::signature as sig;
use aws_lc_rs::signature::KeyPair as _;

/// A curve with the hash that goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// secp256r1 with SHA-256.
    P256,
    /// secp384r1 with SHA-384.
    P384,
}

impl Curve {
    /// Length in bytes of a signature made by [`SigningKey::sign`].
    pub fn signature_bytes(self) -> usize {
        match self {
            Self::P256 => 71,
            Self::P384 => 103,
        }
    }

    /// Length in bytes of a compressed public key.
    pub fn public_key_bytes(self) -> usize {
        match self {
            Self::P256 => 33,
            Self::P384 => 49,
        }
    }

    fn hash(self) -> &'static digest::Algorithm {
        match self {
            Self::P256 => &digest::SHA256,
            Self::P384 => &digest::SHA384,
        }
    }
}

/// The running hash of what is signed or verified.
#[derive(Clone)]
pub struct Hasher(Running);

#[derive(Clone)]
enum Running {
    Base(digest::Context),
    /// The fastest SHA-384 on processors with AVX2: 1.4 times the speed of the other one.
    #[cfg(feature = "openssl")]
    OpenSsl(openssl::sha::Sha384),
}

impl Hasher {
    /// Starts the hash that belongs to `curve`.
    pub fn new(curve: Curve) -> Self {
        #[cfg(feature = "openssl")]
        if curve == Curve::P384 {
            return Self(Running::OpenSsl(openssl::sha::Sha384::new()));
        }
        Self(Running::Base(digest::Context::new(curve.hash())))
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Running::Base(context) => context.update(bytes),
            #[cfg(feature = "openssl")]
            Running::OpenSsl(hash) => hash.update(bytes),
        }
    }

    fn finish(self) -> Result<digest::Digest, Unauthentic> {
        match self.0 {
            Running::Base(context) => Ok(context.finish()),
            #[cfg(feature = "openssl")]
            Running::OpenSsl(hash) => {
                digest::Digest::import_less_safe(&hash.finish(), &digest::SHA384)
                    .map_err(|_| Unauthentic)
            }
        }
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher(..)")
    }
}

/// A private key, made for one message.
pub struct SigningKey {
    curve: Curve,
    pair: sig::EcdsaKeyPair,
}

impl SigningKey {
    /// Makes a key pair.
    ///
    /// # Errors
    /// [`Unauthentic`] when the library fails, which no input causes.
    pub fn generate(curve: Curve) -> Result<Self, Unauthentic> {
        let algorithm = match curve {
            Curve::P256 => &sig::ECDSA_P256_SHA256_ASN1_SIGNING,
            Curve::P384 => &sig::ECDSA_P384_SHA384_ASN1_SIGNING,
        };
        let pair = sig::EcdsaKeyPair::generate(algorithm).map_err(|_| Unauthentic)?;
        Ok(Self { curve, pair })
    }

    /// The public key as a compressed point (SEC 1, section 2.3.3): `02|03 | x`.
    ///
    /// # Errors
    /// [`Unauthentic`] when the library fails, which no input causes.
    pub fn public_key(&self) -> Result<Vec<u8>, Unauthentic> {
        let point: EcPublicKeyCompressedBin<'_> = self
            .pair
            .public_key()
            .as_be_bytes()
            .map_err(|_| Unauthentic)?;
        Ok(point.as_ref().to_vec())
    }

    /// Signs what was hashed, again until the DER form has the fixed length
    /// ([`Curve::signature_bytes`]): about every second attempt has.
    ///
    /// # Errors
    /// [`Unauthentic`] when the library fails, which no input causes.
    pub fn sign(&self, hasher: Hasher) -> Result<Vec<u8>, Unauthentic> {
        let digest = hasher.finish()?;
        loop {
            let signature = self.pair.sign_digest(&digest).map_err(|_| Unauthentic)?;
            if signature.as_ref().len() == self.curve.signature_bytes() {
                return Ok(signature.as_ref().to_vec());
            }
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({:?})", self.curve)
    }
}

/// A public key that parsed as a point of its curve.
#[derive(Debug, Clone)]
pub struct VerifyingKey {
    key: sig::ParsedPublicKey,
}

impl VerifyingKey {
    /// Reads a compressed or uncompressed point.
    ///
    /// # Errors
    /// [`Unauthentic`] when the bytes are not a point of the curve.
    pub fn from_point(curve: Curve, point: &[u8]) -> Result<Self, Unauthentic> {
        let algorithm = match curve {
            Curve::P256 => &sig::ECDSA_P256_SHA256_ASN1,
            Curve::P384 => &sig::ECDSA_P384_SHA384_ASN1,
        };
        let key = sig::ParsedPublicKey::new(algorithm, point).map_err(|_| Unauthentic)?;
        Ok(Self { key })
    }

    /// Verifies a DER signature over what was hashed.
    ///
    /// # Errors
    /// [`Unauthentic`] when it does not verify or is no signature.
    pub fn verify(&self, hasher: Hasher, signature: &[u8]) -> Result<(), Unauthentic> {
        let digest = hasher.finish()?;
        self.key
            .verify_digest_sig(&digest, signature)
            .map_err(|_| Unauthentic)
    }
}
/// Verifies a signature of fixed length, `r | s` (IEEE P1363, and COSE: RFC 9053, section 2.1), by a
/// public key in a SubjectPublicKeyInfo.
///
/// # Errors
/// [`Unauthentic`] when it does not verify, and for a key that is none of the curve.
pub fn verify_fixed(
    curve: Curve,
    spki: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), Unauthentic> {
    let algorithm = match curve {
        Curve::P256 => &sig::ECDSA_P256_SHA256_FIXED,
        Curve::P384 => &sig::ECDSA_P384_SHA384_FIXED,
    };
    let key = sig::ParsedPublicKey::new(algorithm, spki).map_err(|_| Unauthentic)?;
    key.verify_sig(message, signature).map_err(|_| Unauthentic)
}
