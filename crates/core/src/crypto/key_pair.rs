//! Key pairs that sign, decrypt or agree: RSA, ECDSA and ECDH, Ed25519, ML-DSA.
//!
//! The library draws the randomness of key pairs, signatures and paddings by itself.

use super::Unauthentic;
use super::ecdh::{EcdhCurve, EcdhPrivateKey, EcdhPublicKey};
use super::pem::{self, KeyError, Label};
use super::rsa::{RsaPadding, RsaPrivateKey};
use super::{ed25519ph, ml_dsa_mu};
use crate::secret::SecretBytes;
use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::{AsBigEndian as _, AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{self as sig, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, PqdsaKeyPair};
use aws_lc_rs::signature::{RsaEncoding, UnparsedPublicKey, VerificationAlgorithm};
use spki::SubjectPublicKeyInfoRef;

/// The kinds of key pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PairSpec {
    /// RSA, 2,048 bits.
    Rsa2048,
    /// RSA, 3,072 bits.
    Rsa3072,
    /// RSA, 4,096 bits.
    Rsa4096,
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
    /// secp256k1 (SEC 2).
    P256k1,
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// ML-DSA-44 (FIPS 204).
    MlDsa44,
    /// ML-DSA-65.
    MlDsa65,
    /// ML-DSA-87.
    MlDsa87,
}

/// How to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// RSASSA-PSS with SHA-256; the salt is as long as the digest.
    PssSha256,
    /// RSASSA-PSS with SHA-384.
    PssSha384,
    /// RSASSA-PSS with SHA-512.
    PssSha512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Pkcs1Sha256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Pkcs1Sha384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Pkcs1Sha512,
    /// ECDSA with SHA-256, signatures in DER.
    EcdsaSha256,
    /// ECDSA with SHA-384.
    EcdsaSha384,
    /// ECDSA with SHA-512.
    EcdsaSha512,
    /// Ed25519 of the message itself.
    Ed25519,
    /// Ed25519ph: Ed25519 of the SHA-512 of what is given, always.
    Ed25519ph,
    /// ML-DSA of the message itself, with an empty context.
    MlDsa,
}

impl SignatureAlgorithm {
    /// Bytes of the digest that is signed; none for algorithms that take the message whole.
    pub fn digest_bytes(self) -> Option<usize> {
        self.digest().map(digest::Algorithm::output_len)
    }

    fn digest(self) -> Option<&'static digest::Algorithm> {
        match self {
            Self::PssSha256 | Self::Pkcs1Sha256 | Self::EcdsaSha256 => Some(&digest::SHA256),
            Self::PssSha384 | Self::Pkcs1Sha384 | Self::EcdsaSha384 => Some(&digest::SHA384),
            Self::PssSha512 | Self::Pkcs1Sha512 | Self::EcdsaSha512 => Some(&digest::SHA512),
            Self::Ed25519 | Self::Ed25519ph | Self::MlDsa => None,
        }
    }

    fn rsa(self) -> Option<(&'static dyn RsaEncoding, &'static dyn VerificationAlgorithm)> {
        Some(match self {
            Self::PssSha256 => (&sig::RSA_PSS_SHA256, &sig::RSA_PSS_2048_8192_SHA256),
            Self::PssSha384 => (&sig::RSA_PSS_SHA384, &sig::RSA_PSS_2048_8192_SHA384),
            Self::PssSha512 => (&sig::RSA_PSS_SHA512, &sig::RSA_PSS_2048_8192_SHA512),
            Self::Pkcs1Sha256 => (&sig::RSA_PKCS1_SHA256, &sig::RSA_PKCS1_2048_8192_SHA256),
            Self::Pkcs1Sha384 => (&sig::RSA_PKCS1_SHA384, &sig::RSA_PKCS1_2048_8192_SHA384),
            Self::Pkcs1Sha512 => (&sig::RSA_PKCS1_SHA512, &sig::RSA_PKCS1_2048_8192_SHA512),
            _ => return None,
        })
    }
}

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub enum Signed<'a> {
    /// A message, which is hashed as the algorithm says.
    Message(&'a [u8]),
    /// The digest of a message.
    Digest(&'a [u8]),
    /// The representative μ of a message, for ML-DSA: 64 bytes (FIPS 204, section 6.2).
    Mu(&'a [u8]),
}

/// A key pair.
pub struct KeyPair {
    spec: PairSpec,
    inner: Inner,
}

enum Inner {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    MlDsa(PqdsaKeyPair),
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyPair({:?})", self.spec)
    }
}

/// Where the library sorts a spec in.
enum Family {
    Rsa(KeySize, usize),
    Ecdsa(&'static sig::EcdsaSigningAlgorithm, SignatureAlgorithm),
    Ed25519,
    MlDsa(&'static sig::PqdsaSigningAlgorithm),
}

impl PairSpec {
    fn family(self) -> Family {
        match self {
            Self::Rsa2048 => Family::Rsa(KeySize::Rsa2048, 256),
            Self::Rsa3072 => Family::Rsa(KeySize::Rsa3072, 384),
            Self::Rsa4096 => Family::Rsa(KeySize::Rsa4096, 512),
            Self::P256 => Family::Ecdsa(
                &sig::ECDSA_P256_SHA256_ASN1_SIGNING,
                SignatureAlgorithm::EcdsaSha256,
            ),
            Self::P384 => Family::Ecdsa(
                &sig::ECDSA_P384_SHA384_ASN1_SIGNING,
                SignatureAlgorithm::EcdsaSha384,
            ),
            Self::P521 => Family::Ecdsa(
                &sig::ECDSA_P521_SHA512_ASN1_SIGNING,
                SignatureAlgorithm::EcdsaSha512,
            ),
            Self::P256k1 => Family::Ecdsa(
                &sig::ECDSA_P256K1_SHA256_ASN1_SIGNING,
                SignatureAlgorithm::EcdsaSha256,
            ),
            Self::Ed25519 => Family::Ed25519,
            Self::MlDsa44 => Family::MlDsa(&sig::ML_DSA_44_SIGNING),
            Self::MlDsa65 => Family::MlDsa(&sig::ML_DSA_65_SIGNING),
            Self::MlDsa87 => Family::MlDsa(&sig::ML_DSA_87_SIGNING),
        }
    }

    fn signs_by(self, algorithm: SignatureAlgorithm) -> bool {
        let is_ph = algorithm == SignatureAlgorithm::Ed25519ph;
        (is_ph && self == Self::Ed25519) || self.verification(algorithm).is_some()
    }

    /// What the library verifies by; it has no Ed25519ph.
    fn verification(
        self,
        algorithm: SignatureAlgorithm,
    ) -> Option<&'static dyn VerificationAlgorithm> {
        match (self.family(), algorithm) {
            (Family::Rsa(..), _) => algorithm.rsa().map(|(_, verification)| verification),
            (Family::Ecdsa(_, own), _) if own == algorithm => Some(match self {
                Self::P384 => &sig::ECDSA_P384_SHA384_ASN1,
                Self::P521 => &sig::ECDSA_P521_SHA512_ASN1,
                Self::P256k1 => &sig::ECDSA_P256K1_SHA256_ASN1,
                _ => &sig::ECDSA_P256_SHA256_ASN1,
            }),
            (Family::Ed25519, SignatureAlgorithm::Ed25519) => Some(&sig::ED25519),
            (Family::MlDsa(_), SignatureAlgorithm::MlDsa) => Some(match self {
                Self::MlDsa44 => &sig::ML_DSA_44,
                Self::MlDsa65 => &sig::ML_DSA_65,
                _ => &sig::ML_DSA_87,
            }),
            _ => None,
        }
    }

    fn curve(self) -> Option<EcdhCurve> {
        match self {
            Self::P256 => Some(EcdhCurve::P256),
            Self::P384 => Some(EcdhCurve::P384),
            Self::P521 => Some(EcdhCurve::P521),
            _ => None,
        }
    }
}

impl KeyPair {
    /// Makes a key pair.
    ///
    /// # Errors
    /// [`Unauthentic`] when the library fails, which no input causes.
    pub fn generate(spec: PairSpec) -> Result<Self, Unauthentic> {
        let inner = match spec.family() {
            Family::Rsa(size, _) => RsaKeyPair::generate(size).map(Inner::Rsa),
            Family::Ecdsa(algorithm, _) => EcdsaKeyPair::generate(algorithm).map(Inner::Ecdsa),
            Family::Ed25519 => Ed25519KeyPair::generate().map(Inner::Ed25519),
            Family::MlDsa(algorithm) => PqdsaKeyPair::generate(algorithm).map(Inner::MlDsa),
        };
        let inner = inner.map_err(|_| Unauthentic)?;
        Ok(Self { spec, inner })
    }

    /// Reads a PKCS#8 `PrivateKeyInfo` in DER.
    ///
    /// # Errors
    /// [`Unauthentic`] for anything that is no key of this spec.
    pub fn from_pkcs8(spec: PairSpec, der: &[u8]) -> Result<Self, Unauthentic> {
        let inner = match spec.family() {
            Family::Rsa(_, modulus) => RsaKeyPair::from_pkcs8(der)
                .ok()
                .filter(|key| key.public_modulus_len() == modulus)
                .map(Inner::Rsa),
            Family::Ecdsa(algorithm, _) => EcdsaKeyPair::from_pkcs8(algorithm, der)
                .ok()
                .map(Inner::Ecdsa),
            Family::Ed25519 => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
                .ok()
                .map(Inner::Ed25519),
            Family::MlDsa(algorithm) => PqdsaKeyPair::from_pkcs8(algorithm, der)
                .ok()
                .map(Inner::MlDsa),
        };
        let inner = inner.ok_or(Unauthentic)?;
        Ok(Self { spec, inner })
    }

    /// Reads the one private key in a PEM text: PKCS#8, PKCS#1 or SEC 1.
    ///
    /// # Errors
    /// [`KeyError`] for text that holds none, or one that is no key of this spec.
    pub fn from_pem(spec: PairSpec, text: &[u8]) -> Result<Self, KeyError> {
        let (private, _) = pem::keys(text)?;
        let section = private.ok_or(KeyError::Missing("private key"))?;
        let der = section.der.expose();
        let inner = match (section.label, spec.family()) {
            (Label::Pkcs1Private, Family::Rsa(_, modulus)) => RsaKeyPair::from_der(der)
                .ok()
                .filter(|key| key.public_modulus_len() == modulus)
                .map(Inner::Rsa),
            (Label::Sec1Private, Family::Ecdsa(algorithm, _)) => {
                let key = EcdsaKeyPair::from_private_key_der(algorithm, der);
                key.ok().map(Inner::Ecdsa)
            }
            _ => Self::from_pkcs8(spec, der).ok().map(|pair| pair.inner),
        };
        let refused = || KeyError::Refused {
            kind: "private key",
            reason: "it is of another kind than the key spec".to_owned(),
        };
        let inner = inner.ok_or_else(refused)?;
        Ok(Self { spec, inner })
    }

    /// The private key as PKCS#8 `PrivateKeyInfo` in DER.
    ///
    /// # Errors
    /// [`Unauthentic`] when the library fails, which no input causes.
    pub fn pkcs8(&self) -> Result<SecretBytes, Unauthentic> {
        let copy = |bytes: &[u8]| SecretBytes::copy_of(bytes);
        let der = match &self.inner {
            Inner::Rsa(key) => AsDer::<Pkcs8V1Der<'_>>::as_der(key).map(|der| copy(der.as_ref())),
            Inner::Ecdsa(key) => key.to_pkcs8v1().map(|der| copy(der.as_ref())),
            Inner::Ed25519(key) => key.to_pkcs8v1().map(|der| copy(der.as_ref())),
            Inner::MlDsa(key) => key.to_pkcs8v1().map(|der| copy(der.as_ref())),
        };
        der.map_err(|_| Unauthentic)
    }

    /// The public key as X.509 `SubjectPublicKeyInfo` in DER.
    ///
    /// # Errors
    /// [`Unauthentic`] when the library fails, which no input causes.
    pub fn spki(&self) -> Result<Vec<u8>, Unauthentic> {
        let der = match &self.inner {
            Inner::Rsa(key) => key.public_key().as_der(),
            Inner::Ecdsa(key) => key.public_key().as_der(),
            Inner::Ed25519(key) => key.public_key().as_der(),
            Inner::MlDsa(key) => key.public_key().as_der(),
        };
        Ok(der.map_err(|_| Unauthentic)?.as_ref().to_vec())
    }

    /// The public key of an RSA pair as PKCS #1 `RSAPublicKey` in DER (RFC 8017, appendix A.1.1).
    ///
    /// # Errors
    /// [`Unauthentic`] for another kind of key.
    pub fn pkcs1_public_key(&self) -> Result<Vec<u8>, Unauthentic> {
        let Inner::Rsa(_) = &self.inner else {
            return Err(Unauthentic);
        };
        let spki = self.spki()?;
        let spki = SubjectPublicKeyInfoRef::try_from(spki.as_slice()).map_err(|_| Unauthentic)?;
        Ok(spki.subject_public_key.raw_bytes().to_vec())
    }

    /// Signs.
    ///
    /// # Errors
    /// [`Unauthentic`] for an algorithm that is not this key's, a digest of another length than
    /// the algorithm's, and a digest or μ where the algorithm does not take it.
    pub fn sign(
        &self,
        algorithm: SignatureAlgorithm,
        signed: Signed<'_>,
    ) -> Result<Vec<u8>, Unauthentic> {
        let fail = |_| Unauthentic;
        if !self.spec.signs_by(algorithm) {
            return Err(Unauthentic);
        }
        match (&self.inner, signed) {
            (Inner::Rsa(key), _) => {
                let (encoding, _) = algorithm.rsa().ok_or(Unauthentic)?;
                let mut out = vec![0; key.public_modulus_len()];
                key.sign_digest(encoding, &digested(algorithm, signed)?, &mut out)
                    .map_err(fail)?;
                Ok(out)
            }
            (Inner::Ecdsa(key), _) => {
                let signature = key.sign_digest(&digested(algorithm, signed)?);
                Ok(signature.map_err(fail)?.as_ref().to_vec())
            }
            (Inner::Ed25519(key), Signed::Message(message))
                if algorithm == SignatureAlgorithm::Ed25519ph =>
            {
                let seed = key.seed().map_err(fail)?.as_be_bytes().map_err(fail)?;
                ed25519ph::sign(seed.as_ref(), message)
            }
            (Inner::Ed25519(key), Signed::Message(message)) => {
                Ok(key.try_sign(message).map_err(fail)?.as_ref().to_vec())
            }
            (Inner::MlDsa(key), Signed::Message(message)) => {
                let mut out = vec![0; key.algorithm().signature_len()];
                let written = key.sign(message, &mut out).map_err(fail)?;
                out.truncate(written);
                Ok(out)
            }
            (Inner::MlDsa(_), Signed::Mu(mu)) => {
                ml_dsa_mu::sign(self.spec, self.pkcs8()?.expose(), mu)
            }
            (_, Signed::Digest(_) | Signed::Mu(_)) => Err(Unauthentic),
        }
    }

    /// Verifies a signature.
    ///
    /// # Errors
    /// [`Unauthentic`] for a wrong one, and as [`KeyPair::sign`].
    pub fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        signed: Signed<'_>,
        signature: &[u8],
    ) -> Result<(), Unauthentic> {
        match (&self.inner, algorithm, signed) {
            (Inner::Ed25519(key), SignatureAlgorithm::Ed25519ph, Signed::Message(message)) => {
                return ed25519ph::verify(key.public_key().as_ref(), message, signature);
            }
            (Inner::MlDsa(key), SignatureAlgorithm::MlDsa, Signed::Mu(mu)) => {
                return ml_dsa_mu::verify(self.spec, key.public_key().as_ref(), mu, signature);
            }
            _ => {}
        }
        let verification = self.spec.verification(algorithm).ok_or(Unauthentic)?;
        let key = UnparsedPublicKey::new(verification, self.spki()?);
        let verified = match (algorithm.digest(), signed) {
            (Some(_), _) => key.verify_digest(&digested(algorithm, signed)?, signature),
            (None, Signed::Message(message)) => key.verify(message, signature),
            (None, Signed::Digest(_) | Signed::Mu(_)) => return Err(Unauthentic),
        };
        verified.map_err(|_| Unauthentic)
    }

    /// Encrypts for an RSA key.
    ///
    /// # Errors
    /// [`Unauthentic`] for another key, and for more bytes than the padding leaves room for.
    pub fn encrypt(&self, padding: RsaPadding, plaintext: &[u8]) -> Result<Vec<u8>, Unauthentic> {
        self.decrypting()?.public_key().encrypt(padding, plaintext)
    }

    /// Decrypts with an RSA key.
    ///
    /// # Errors
    /// [`Unauthentic`] for another key, and whatever is wrong with the ciphertext.
    pub fn decrypt(
        &self,
        padding: RsaPadding,
        ciphertext: &[u8],
    ) -> Result<SecretBytes, Unauthentic> {
        self.decrypting()?.decrypt(padding, ciphertext)
    }

    fn decrypting(&self) -> Result<RsaPrivateKey, Unauthentic> {
        match &self.inner {
            Inner::Rsa(_) => {
                RsaPrivateKey::from_pkcs8(self.pkcs8()?.expose()).map_err(|_| Unauthentic)
            }
            _ => Err(Unauthentic),
        }
    }

    /// The x coordinate of the point shared with the holder of `peer`, a `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    /// [`Unauthentic`] for a key that is not on P-256, P-384 or P-521, and a peer on another curve.
    pub fn agree(&self, peer: &[u8]) -> Result<SecretBytes, Unauthentic> {
        let curve = self.spec.curve().ok_or(Unauthentic)?;
        let peer = EcdhPublicKey::from_spki(peer).map_err(|_| Unauthentic)?;
        let own = EcdhPrivateKey::from_pkcs8(curve, self.pkcs8()?.expose());
        own.map_err(|_| Unauthentic)?.shared_secret(&peer)
    }
}

/// The digest that is signed.
fn digested(algorithm: SignatureAlgorithm, signed: Signed<'_>) -> Result<Digest, Unauthentic> {
    let hash = algorithm.digest().ok_or(Unauthentic)?;
    match signed {
        Signed::Message(message) => Ok(digest::digest(hash, message)),
        Signed::Digest(bytes) => Digest::import_less_safe(bytes, hash).map_err(|_| Unauthentic),
        Signed::Mu(_) => Err(Unauthentic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use SignatureAlgorithm as Alg;

    const ALGORITHMS: [Alg; 12] = [
        Alg::PssSha256,
        Alg::PssSha384,
        Alg::PssSha512,
        Alg::Pkcs1Sha256,
        Alg::Pkcs1Sha384,
        Alg::Pkcs1Sha512,
        Alg::EcdsaSha256,
        Alg::EcdsaSha384,
        Alg::EcdsaSha512,
        Alg::Ed25519,
        Alg::Ed25519ph,
        Alg::MlDsa,
    ];

    fn own(spec: PairSpec) -> &'static [Alg] {
        match spec {
            PairSpec::Rsa2048 | PairSpec::Rsa3072 | PairSpec::Rsa4096 => &ALGORITHMS[..6],
            PairSpec::P256 | PairSpec::P256k1 => &[Alg::EcdsaSha256],
            PairSpec::P384 => &[Alg::EcdsaSha384],
            PairSpec::P521 => &[Alg::EcdsaSha512],
            PairSpec::Ed25519 => &[Alg::Ed25519, Alg::Ed25519ph],
            _ => &[Alg::MlDsa],
        }
    }

    #[test]
    fn each_key_signs_with_its_algorithms_and_no_other() {
        for spec in [
            PairSpec::Rsa2048,
            PairSpec::Rsa3072,
            PairSpec::P256,
            PairSpec::P384,
            PairSpec::P521,
            PairSpec::P256k1,
            PairSpec::Ed25519,
            PairSpec::MlDsa44,
            PairSpec::MlDsa65,
            PairSpec::MlDsa87,
        ] {
            let made = KeyPair::generate(spec).unwrap();
            let key = KeyPair::from_pkcs8(spec, made.pkcs8().unwrap().expose()).unwrap();
            assert_eq!(key.spki().unwrap(), made.spki().unwrap(), "{spec:?}");
            for algorithm in ALGORITHMS {
                let message = Signed::Message(b"message");
                let signature = key.sign(algorithm, message);
                assert_eq!(
                    signature.is_ok(),
                    own(spec).contains(&algorithm),
                    "{spec:?} {algorithm:?}"
                );
                let Ok(mut signature) = signature else {
                    assert!(made.verify(algorithm, message, b"x").is_err());
                    continue;
                };
                made.verify(algorithm, message, &signature).unwrap();
                let digest = algorithm
                    .digest()
                    .map(|hash| digest::digest(hash, b"message"));
                if let Some(digest) = digest {
                    let digest = Signed::Digest(digest.as_ref());
                    made.verify(algorithm, digest, &signature).unwrap();
                    let again = key.sign(algorithm, digest).unwrap();
                    made.verify(algorithm, message, &again).unwrap();
                    assert!(key.sign(algorithm, Signed::Digest(b"short")).is_err());
                } else {
                    assert!(key.sign(algorithm, Signed::Digest(&[0; 64])).is_err());
                }
                assert!(
                    made.verify(algorithm, Signed::Message(b"other"), &signature)
                        .is_err()
                );
                let last = signature.len() - 1;
                signature[last] ^= 1;
                assert!(made.verify(algorithm, message, &signature).is_err());
            }
        }
    }

    /// AWS-LC, which hashes for itself, has to find the same μ.
    #[test]
    fn a_signature_of_mu_is_one_of_the_message() {
        for spec in [PairSpec::MlDsa44, PairSpec::MlDsa65, PairSpec::MlDsa87] {
            let key = KeyPair::generate(spec).unwrap();
            let mu = mu(&key.spki().unwrap(), b"message");
            let (message, mu) = (Signed::Message(b"message"), Signed::Mu(&mu));
            let of_mu = key.sign(Alg::MlDsa, mu).unwrap();
            assert_ne!(of_mu, key.sign(Alg::MlDsa, mu).unwrap());
            key.verify(Alg::MlDsa, message, &of_mu).unwrap();
            let of_message = key.sign(Alg::MlDsa, message).unwrap();
            key.verify(Alg::MlDsa, mu, &of_message).unwrap();
            let other = KeyPair::generate(spec).unwrap();
            assert!(other.verify(Alg::MlDsa, mu, &of_message).is_err());
            assert!(key.verify(Alg::MlDsa, mu, &of_message[1..]).is_err());
            let mut spoilt = of_mu;
            spoilt[40] ^= 1;
            assert!(key.verify(Alg::MlDsa, mu, &spoilt).is_err());
            for bytes in [63, 65] {
                assert!(key.sign(Alg::MlDsa, Signed::Mu(&vec![0; bytes])).is_err());
            }
        }
        let key = KeyPair::generate(PairSpec::Ed25519).unwrap();
        assert!(key.sign(Alg::Ed25519, Signed::Mu(&[0; 64])).is_err());
    }

    fn mu(spki: &[u8], message: &[u8]) -> [u8; 64] {
        let spki = SubjectPublicKeyInfoRef::try_from(spki).unwrap();
        let tr = shake256(&[spki.subject_public_key.raw_bytes()]);
        shake256(&[&tr, &[0, 0], message])
    }

    fn shake256(parts: &[&[u8]]) -> [u8; 64] {
        use shake::digest::{ExtendableOutput as _, Update as _, XofReader as _};
        let (mut hash, mut out) = (shake::Shake256::default(), [0; 64]);
        for part in parts {
            hash.update(part);
        }
        hash.finalize_xof().read(&mut out);
        out
    }

    #[test]
    fn keys_of_another_spec_are_refused() {
        let key = KeyPair::generate(PairSpec::P256).unwrap().pkcs8().unwrap();
        for spec in [
            PairSpec::P384,
            PairSpec::P256k1,
            PairSpec::Rsa2048,
            PairSpec::Ed25519,
        ] {
            assert!(KeyPair::from_pkcs8(spec, key.expose()).is_err(), "{spec:?}");
        }
        let rsa = KeyPair::generate(PairSpec::Rsa2048)
            .unwrap()
            .pkcs8()
            .unwrap();
        assert!(KeyPair::from_pkcs8(PairSpec::Rsa3072, rsa.expose()).is_err());
    }

    #[test]
    fn agreement_is_mutual() {
        for spec in [PairSpec::P256, PairSpec::P384, PairSpec::P521] {
            let (one, two) = (
                KeyPair::generate(spec).unwrap(),
                KeyPair::generate(spec).unwrap(),
            );
            let left = one.agree(&two.spki().unwrap()).unwrap();
            let right = two.agree(&one.spki().unwrap()).unwrap();
            assert!(left.ct_eq(right.expose()));
            let k1 = KeyPair::generate(PairSpec::P256k1).unwrap();
            assert!(one.agree(&k1.spki().unwrap()).is_err());
            assert!(k1.agree(&one.spki().unwrap()).is_err());
        }
    }

    #[test]
    fn rsa_keys_decrypt_what_was_encrypted_for_them() {
        let key = KeyPair::generate(PairSpec::Rsa2048).unwrap();
        for (padding, most) in [(RsaPadding::OaepSha1, 214), (RsaPadding::OaepSha256, 190)] {
            let sealed = key.encrypt(padding, &vec![7; most]).unwrap();
            assert!(key.decrypt(padding, &sealed).unwrap().ct_eq(&vec![7; most]));
            assert!(key.encrypt(padding, &vec![7; most + 1]).is_err());
            assert!(key.decrypt(padding, &sealed[1..]).is_err());
        }
        let ec = KeyPair::generate(PairSpec::P256).unwrap();
        assert!(ec.encrypt(RsaPadding::OaepSha256, b"x").is_err());
    }
}
