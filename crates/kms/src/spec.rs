//! Key specs: what they may be used for, with which algorithms, and what their material is.

use waxseal_core::crypto::kem::KemSet;
use waxseal_core::crypto::key_pair::{KeyPair, PairSpec, SignatureAlgorithm};
use waxseal_core::crypto::mac::MacHash;
use waxseal_core::crypto::random::Entropy;
use waxseal_core::{SecretBytes, crypto};
use waxseal_kms_api::KmsError;
use waxseal_kms_api::op::SYMMETRIC_DEFAULT;

use crate::engine::internal;

pub(crate) const ENCRYPT_DECRYPT: &str = "ENCRYPT_DECRYPT";
pub(crate) const SIGN_VERIFY: &str = "SIGN_VERIFY";
pub(crate) const GENERATE_VERIFY_MAC: &str = "GENERATE_VERIFY_MAC";
pub(crate) const KEY_AGREEMENT: &str = "KEY_AGREEMENT";
pub(crate) const ENCAPSULATE_DECAPSULATE: &str = "ENCAPSULATE_DECAPSULATE";

const RSA_ENCRYPTION: &[&str] = &["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"];
const RSA_SIGNING: &[&str] = &[
    "RSASSA_PKCS1_V1_5_SHA_256",
    "RSASSA_PKCS1_V1_5_SHA_384",
    "RSASSA_PKCS1_V1_5_SHA_512",
    "RSASSA_PSS_SHA_256",
    "RSASSA_PSS_SHA_384",
    "RSASSA_PSS_SHA_512",
];

/// What the material of a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Material {
    /// 32 bytes, from which a key is derived for each blob.
    Symmetric,
    /// As many bytes as a MAC has.
    Mac(MacHash),
    /// PKCS#8 `PrivateKeyInfo`.
    Pair(PairSpec),
    /// An ML-KEM decapsulation key.
    Kem(KemSet),
}

/// One key spec.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) material: Material,
    /// Usages, each with its algorithms; the first one is meant when none is given, where that is
    /// allowed.
    pub(crate) usages: &'static [(&'static str, &'static [&'static str])],
}

macro_rules! specs {
    ($( $name:literal $material:expr => $( $usage:ident [$($algorithm:expr),*] ),+ ; )*) => {
        /// All specs that there are here; SM2 is not.
        const SPECS: &[Spec] = &[$(
            Spec { name: $name, material: $material, usages: &[$( ($usage, &[$($algorithm),*]) ),+] },
        )*];
    };
}

specs! {
    "SYMMETRIC_DEFAULT" Material::Symmetric => ENCRYPT_DECRYPT ["SYMMETRIC_DEFAULT"];
    "HMAC_224" Material::Mac(MacHash::Sha224) => GENERATE_VERIFY_MAC ["HMAC_SHA_224"];
    "HMAC_256" Material::Mac(MacHash::Sha256) => GENERATE_VERIFY_MAC ["HMAC_SHA_256"];
    "HMAC_384" Material::Mac(MacHash::Sha384) => GENERATE_VERIFY_MAC ["HMAC_SHA_384"];
    "HMAC_512" Material::Mac(MacHash::Sha512) => GENERATE_VERIFY_MAC ["HMAC_SHA_512"];
    "ECC_NIST_P256" Material::Pair(PairSpec::P256) =>
        SIGN_VERIFY ["ECDSA_SHA_256"], KEY_AGREEMENT ["ECDH"];
    "ECC_NIST_P384" Material::Pair(PairSpec::P384) =>
        SIGN_VERIFY ["ECDSA_SHA_384"], KEY_AGREEMENT ["ECDH"];
    "ECC_NIST_P521" Material::Pair(PairSpec::P521) =>
        SIGN_VERIFY ["ECDSA_SHA_512"], KEY_AGREEMENT ["ECDH"];
    "ECC_SECG_P256K1" Material::Pair(PairSpec::P256k1) => SIGN_VERIFY ["ECDSA_SHA_256"];
    "ECC_NIST_EDWARDS25519" Material::Pair(PairSpec::Ed25519) =>
        SIGN_VERIFY ["ED25519_SHA_512", "ED25519_PH_SHA_512"];
    "ML_DSA_44" Material::Pair(PairSpec::MlDsa44) => SIGN_VERIFY ["ML_DSA_SHAKE_256"];
    "ML_DSA_65" Material::Pair(PairSpec::MlDsa65) => SIGN_VERIFY ["ML_DSA_SHAKE_256"];
    "ML_DSA_87" Material::Pair(PairSpec::MlDsa87) => SIGN_VERIFY ["ML_DSA_SHAKE_256"];
    "ML_KEM_512" Material::Kem(KemSet::MlKem512) => ENCAPSULATE_DECAPSULATE ["ML_KEM"];
    "ML_KEM_768" Material::Kem(KemSet::MlKem768) => ENCAPSULATE_DECAPSULATE ["ML_KEM"];
    "ML_KEM_1024" Material::Kem(KemSet::MlKem1024) => ENCAPSULATE_DECAPSULATE ["ML_KEM"];
}

const fn rsa(name: &'static str, pair: PairSpec) -> Spec {
    Spec {
        name,
        material: Material::Pair(pair),
        usages: &[
            (ENCRYPT_DECRYPT, RSA_ENCRYPTION),
            (SIGN_VERIFY, RSA_SIGNING),
        ],
    }
}

const RSA: &[Spec] = &[
    rsa("RSA_2048", PairSpec::Rsa2048),
    rsa("RSA_3072", PairSpec::Rsa3072),
    rsa("RSA_4096", PairSpec::Rsa4096),
];

impl Spec {
    /// The spec of this name; SM2 is not one here.
    pub(crate) fn of(name: &str) -> Option<&'static Self> {
        SPECS.iter().chain(RSA).find(|spec| spec.name == name)
    }

    pub(crate) fn is_symmetric(&self) -> bool {
        self.name == SYMMETRIC_DEFAULT
    }

    /// What kind of key pair it is, if it is one.
    pub(crate) fn pair(&self) -> Option<PairSpec> {
        match self.material {
            Material::Pair(pair) => Some(pair),
            _ => None,
        }
    }

    /// The algorithms of a key that is used for `usage`.
    pub(crate) fn algorithms(&self, usage: &str) -> &'static [&'static str] {
        let found = self.usages.iter().find(|(name, _)| *name == usage);
        found.map(|(_, algorithms)| *algorithms).unwrap_or_default()
    }

    /// Whether material of one's own can be imported.
    pub(crate) fn imports(&self) -> bool {
        !matches!(self.material, Material::Kem(_))
    }

    /// Imported material, as its row has it, if it is one of this spec: as many bytes as made here,
    /// or a key pair in PKCS#8.
    pub(crate) fn imported(&self, given: &SecretBytes) -> Option<SecretBytes> {
        let sized = |bytes| (given.len() == bytes).then(|| SecretBytes::copy_of(given.expose()));
        match self.material {
            Material::Symmetric => sized(32),
            Material::Mac(hash) => sized(hash.bytes()),
            Material::Pair(pair) => KeyPair::from_pkcs8(pair, given.expose())
                .and_then(|pair| pair.pkcs8())
                .ok(),
            Material::Kem(_) => None,
        }
    }

    /// New material, as its row has it.
    pub(crate) fn new_material(&self, entropy: &dyn Entropy) -> Result<SecretBytes, KmsError> {
        let random = |bytes| {
            let mut secret = SecretBytes::zeroed(bytes);
            entropy.fill(secret.expose_mut()).map_err(internal)?;
            Ok(secret)
        };
        match self.material {
            Material::Symmetric => random(32),
            Material::Mac(hash) => random(hash.bytes()),
            Material::Pair(pair) => KeyPair::generate(pair)
                .and_then(|pair| pair.pkcs8())
                .map_err(internal),
            Material::Kem(set) => {
                let key = crypto::kem::KemKey::generate(set).map_err(internal)?;
                Ok(SecretBytes::copy_of(key.private_bytes().expose()))
            }
        }
    }
}

/// The signature algorithm of a name in the service model.
pub(crate) fn signature_algorithm(name: &str) -> Option<SignatureAlgorithm> {
    Some(match name {
        "RSASSA_PSS_SHA_256" => SignatureAlgorithm::PssSha256,
        "RSASSA_PSS_SHA_384" => SignatureAlgorithm::PssSha384,
        "RSASSA_PSS_SHA_512" => SignatureAlgorithm::PssSha512,
        "RSASSA_PKCS1_V1_5_SHA_256" => SignatureAlgorithm::Pkcs1Sha256,
        "RSASSA_PKCS1_V1_5_SHA_384" => SignatureAlgorithm::Pkcs1Sha384,
        "RSASSA_PKCS1_V1_5_SHA_512" => SignatureAlgorithm::Pkcs1Sha512,
        "ECDSA_SHA_256" => SignatureAlgorithm::EcdsaSha256,
        "ECDSA_SHA_384" => SignatureAlgorithm::EcdsaSha384,
        "ECDSA_SHA_512" => SignatureAlgorithm::EcdsaSha512,
        "ED25519_SHA_512" => SignatureAlgorithm::Ed25519,
        "ED25519_PH_SHA_512" => SignatureAlgorithm::Ed25519ph,
        "ML_DSA_SHAKE_256" => SignatureAlgorithm::MlDsa,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxseal_kms_api::model::values;

    #[test]
    fn the_table_names_what_the_model_names() {
        for name in values::KEY_SPEC {
            let spec = Spec::of(name);
            assert_eq!(spec.is_none(), *name == "SM2", "{name}");
            for (usage, algorithms) in spec.map(|spec| spec.usages).unwrap_or_default() {
                assert!(values::KEY_USAGE_TYPE.contains(usage));
                let known = [
                    values::ENCRYPTION_ALGORITHM_SPEC,
                    values::SIGNING_ALGORITHM_SPEC,
                    values::MAC_ALGORITHM_SPEC,
                    values::KEY_AGREEMENT_ALGORITHM_SPEC,
                    values::ENCAPSULATION_ALGORITHM_SPEC,
                ]
                .concat();
                assert!(algorithms.iter().all(|one| known.contains(one)), "{name}");
                if *usage == SIGN_VERIFY {
                    assert!(
                        algorithms
                            .iter()
                            .all(|one| signature_algorithm(one).is_some())
                    );
                }
            }
        }
    }
}
