//! Sign, Verify, GenerateMac, VerifyMac and GetPublicKey.

use super::keys::metadata;
use super::{Perform, invalid, one_key, only_material, spec, unsupported, usable, used_by};
use crate::engine::{KeyEntry, View, internal};
use crate::request::Done;
use crate::spec::{GENERATE_VERIFY_MAC, Material, SIGN_VERIFY, signature_algorithm};
use std::sync::Arc;
use waxseal_core::SecretBytes;
use waxseal_core::crypto::kem::KemKey;
use waxseal_core::crypto::key_pair::{KeyPair, SignatureAlgorithm, Signed};
use waxseal_core::crypto::mac::{self, MacHash};
use waxseal_core::crypto::ml_dsa_mu::MU_BYTES;
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::Blob;
use waxseal_kms_api::{ErrorCode, KmsError, Operation};

/// Bytes of the SHA-512 that Ed25519ph is given.
const ED25519PH_DIGEST_BYTES: usize = 64;

impl Perform for SignRequest {
    one_key!(used);

    fn run(self, key: KeyEntry, view: &View<'_>) -> Result<Done<SignResponse>, KmsError> {
        let (pair, algorithm) = signing::<Self>(view, &key, &self.signing_algorithm)?;
        let kind = self.message_type.as_deref();
        let signed = signed(algorithm, &self.signing_algorithm, kind, &self.message.0)?;
        let signature = pair.sign(algorithm, signed).map_err(internal)?;
        Ok(Done::read(SignResponse {
            key_id: key.arn.text(),
            signature: Blob(signature),
            signing_algorithm: self.signing_algorithm,
        }))
    }
}

impl Perform for VerifyRequest {
    one_key!(used);

    fn run(self, key: KeyEntry, view: &View<'_>) -> Result<Done<VerifyResponse>, KmsError> {
        let (pair, algorithm) = signing::<Self>(view, &key, &self.signing_algorithm)?;
        let kind = self.message_type.as_deref();
        let signed = signed(algorithm, &self.signing_algorithm, kind, &self.message.0)?;
        pair.verify(algorithm, signed, &self.signature.0)
            .map_err(|_| KmsError {
                code: ErrorCode::InvalidMessageSignature,
                message: None,
            })?;
        Ok(Done::read(VerifyResponse {
            key_id: key.arn.text(),
            signature_valid: true,
            signing_algorithm: self.signing_algorithm,
        }))
    }
}

impl Perform for GenerateMacRequest {
    one_key!(used);
    const IS_QUICK: bool = true;

    fn run(self, key: KeyEntry, view: &View<'_>) -> Result<Done<GenerateMacResponse>, KmsError> {
        let (secret, hash) = mac_key::<Self>(view, &key, &self.mac_algorithm)?;
        let mac = mac::hmac(hash, secret.expose(), &[&self.message.0]);
        Ok(Done::read(GenerateMacResponse {
            mac: Blob(mac),
            mac_algorithm: self.mac_algorithm,
            key_id: key.arn.text(),
        }))
    }
}

impl Perform for VerifyMacRequest {
    one_key!(used);
    const IS_QUICK: bool = true;

    fn run(self, key: KeyEntry, view: &View<'_>) -> Result<Done<VerifyMacResponse>, KmsError> {
        let (secret, hash) = mac_key::<Self>(view, &key, &self.mac_algorithm)?;
        mac::verify(hash, secret.expose(), &self.message.0, &self.mac.0).map_err(|_| KmsError {
            code: ErrorCode::InvalidMac,
            message: None,
        })?;
        Ok(Done::read(VerifyMacResponse {
            key_id: key.arn.text(),
            mac_valid: true,
            mac_algorithm: self.mac_algorithm,
        }))
    }
}

impl Perform for GetPublicKeyRequest {
    one_key!(shown);

    fn run(self, key: KeyEntry, view: &View<'_>) -> Result<Done<GetPublicKeyResponse>, KmsError> {
        let public_key = match spec(&key)?.material {
            Material::Symmetric | Material::Mac(_) => return Err(unsupported()),
            Material::Pair(_) => {
                usable(&key)?;
                pair(view, &key)?.spki().map_err(internal)?
            }
            Material::Kem(_) => {
                usable(&key)?;
                kem_key(view, &key)?.spki()
            }
        };
        let KeyMetadata {
            key_spec,
            customer_master_key_spec,
            key_usage,
            encryption_algorithms,
            signing_algorithms,
            key_agreement_algorithms,
            encapsulation_algorithms,
            ..
        } = metadata(view, &key.arn, &key.record)?;
        Ok(Done::read(GetPublicKeyResponse {
            key_id: key.arn.text(),
            public_key: Blob(public_key),
            customer_master_key_spec,
            key_spec,
            key_usage,
            encryption_algorithms,
            signing_algorithms,
            key_agreement_algorithms,
            encapsulation_algorithms,
        }))
    }
}

/// The pair that signs, and the algorithm, which is one of the key's.
fn signing<O: Operation>(
    view: &View<'_>,
    key: &KeyEntry,
    algorithm: &str,
) -> Result<(KeyPair, SignatureAlgorithm), KmsError> {
    used_by::<O>(key, SIGN_VERIFY, algorithm)?;
    let algorithm = signature_algorithm(algorithm).ok_or_else(unsupported)?;
    Ok((pair(view, key)?, algorithm))
}

/// What is signed: the message, the digest of one, or its μ. Ed25519ph takes a digest for its
/// message, and hashes again, as the API has it.
fn signed<'m>(
    algorithm: SignatureAlgorithm,
    name: &str,
    kind: Option<&str>,
    message: &'m [u8],
) -> Result<Signed<'m>, KmsError> {
    let kind = kind.unwrap_or("RAW");
    let (kinds, bytes): (&[&str], _) = match algorithm {
        SignatureAlgorithm::Ed25519ph => (&["DIGEST"], Some(ED25519PH_DIGEST_BYTES)),
        SignatureAlgorithm::MlDsa => (&["RAW", "EXTERNAL_MU"], Some(MU_BYTES)),
        _ => match algorithm.digest_bytes() {
            Some(bytes) => (&["RAW", "DIGEST"], Some(bytes)),
            None => (&["RAW"], None),
        },
    };
    if !kinds.contains(&kind) {
        let kinds = kinds.join(" or ");
        return Err(invalid(format!(
            "MessageType {kind} is not compatible with algorithm {name}, which takes {kinds}."
        )));
    }
    if kind != "RAW" && bytes != Some(message.len()) {
        return Err(invalid(format!(
            "Digest is invalid length for algorithm {name}."
        )));
    }
    Ok(match (kind, algorithm) {
        ("DIGEST", SignatureAlgorithm::Ed25519ph) | ("RAW", _) => Signed::Message(message),
        ("DIGEST", _) => Signed::Digest(message),
        _ => Signed::Mu(message),
    })
}

fn mac_key<O: Operation>(
    view: &View<'_>,
    key: &KeyEntry,
    algorithm: &str,
) -> Result<(Arc<SecretBytes>, MacHash), KmsError> {
    used_by::<O>(key, GENERATE_VERIFY_MAC, algorithm)?;
    match spec(key)?.material {
        Material::Mac(hash) => Ok((only_material(view, key)?, hash)),
        _ => Err(internal("a key for MACs has other material")),
    }
}

/// The key pair that is a key's material.
pub(super) fn pair(view: &View<'_>, key: &KeyEntry) -> Result<KeyPair, KmsError> {
    match spec(key)?.material {
        Material::Pair(pair) => {
            let material = only_material(view, key)?;
            KeyPair::from_pkcs8(pair, material.expose())
                .map_err(|_| internal("the material of the key is no key pair"))
        }
        _ => Err(internal("the key is no key pair")),
    }
}

/// The decapsulation key that is a key's material.
pub(super) fn kem_key(view: &View<'_>, key: &KeyEntry) -> Result<KemKey, KmsError> {
    match spec(key)?.material {
        Material::Kem(set) => {
            let material = only_material(view, key)?;
            KemKey::from_bytes(set, material.expose())
                .map_err(|_| internal("the material of the key is no decapsulation key"))
        }
        _ => Err(internal("the key does not decapsulate")),
    }
}
