//! Enclaves that attest themselves: what an attestation document says, once it is verified.
//!
//! ```text
//! COSE_Sign1 (RFC 9052), ES384, with the payload, in CBOR (RFC 8949):
//!   { module_id: text, digest: "SHA384", timestamp: ms, pcrs: { n: bytes } or nitrotpm_pcrs,
//!     certificate: DER, cabundle: [ DER, … ], public_key: DER or null, … }
//! ```
//!
//! The certificate signs the document, and leads by those in the bundle to a root that was given
//! (AWS Nitro Enclaves user guide, "Verifying the root of trust"). How old a document may be, its
//! certificate says: some hours. To replay one gains nothing, for only the enclave has the private
//! key that the answer is encrypted for.

use crate::engine::internal;
use ciborium::Value as Cbor;
use coset::iana::Algorithm;
use coset::{CborSerializable as _, CoseSign1, RegisteredLabelWithPrivate};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use waxseal_core::SecretBytes;
use waxseal_core::crypto::certificate::TrustRoots;
use waxseal_core::crypto::cms;
use waxseal_core::crypto::ecdsa::{Curve, verify_fixed};
use waxseal_core::crypto::random::Entropy;
use waxseal_core::crypto::rsa::RsaPublicKey;
use waxseal_kms_api::op::RecipientInfo;
use waxseal_kms_api::shape::{Blob, SecretBlob};
use waxseal_kms_api::{ErrorCode, KmsError};

/// The CBOR tag of a COSE_Sign1 (RFC 9052, section 2), which may be left out.
const SIGN1_TAG: u8 = 0xd2;
/// The most certificates in a bundle.
const BUNDLE_MAX: usize = 16;
/// The registers that the audit log names (AWS KMS developer guide, "Monitoring requests").
const LOGGED_PCRS: [u32; 5] = [1, 2, 3, 4, 8];

/// An enclave that proved what it is.
#[derive(Debug)]
pub(crate) struct Enclave {
    module_id: String,
    /// How conditions call its registers: `PCR`, or `NitroTPMPCR`.
    register: &'static str,
    pcrs: BTreeMap<u32, String>,
    key: RsaPublicKey,
    spki: Vec<u8>,
}

impl Enclave {
    /// Whom a request's answer is for.
    ///
    /// # Errors
    /// `UnsupportedOperationException` when no roots were given; `ValidationException` for a document
    /// that is none, is not signed by an enclave, or holds no RSA key.
    pub(crate) fn verified(
        recipient: &RecipientInfo,
        roots: Option<&TrustRoots>,
        seconds: i64,
    ) -> Result<Self, KmsError> {
        let roots = roots.ok_or_else(|| {
            KmsError::new(
                ErrorCode::UnsupportedOperation,
                "Recipient needs a root certificate of enclaves, and none is configured.",
            )
        })?;
        let (Some(_), Some(Blob(document))) = (
            &recipient.key_encryption_algorithm,
            &recipient.attestation_document,
        ) else {
            return Err(wrong(
                "Recipient needs KeyEncryptionAlgorithm and AttestationDocument.",
            ));
        };
        let malformed = || wrong("The attestation document is malformed.");
        let document = document.strip_prefix(&[SIGN1_TAG]).unwrap_or(document);
        let signed = CoseSign1::from_slice(document).map_err(|_| malformed())?;
        let es384 = RegisteredLabelWithPrivate::Assigned(Algorithm::ES384);
        if signed.protected.header.alg != Some(es384) || !signed.protected.header.crit.is_empty() {
            return Err(wrong("The attestation document is not signed with ES384."));
        }
        let payload = signed.payload.as_deref().ok_or_else(malformed)?;
        let said = Said::read(payload).ok_or_else(malformed)?;
        let seconds = u64::try_from(seconds).map_err(internal)?;
        let untrusted = || {
            wrong(
                "The attestation document is not signed by an enclave under a root certificate that \
                 is trusted here, or it is too old.",
            )
        };
        let signer = roots
            .verify(&said.certificate, &said.bundle, seconds)
            .map_err(|_| untrusted())?;
        signed
            .verify_signature(b"", |signature, message| {
                verify_fixed(Curve::P384, &signer, message, signature)
            })
            .map_err(|_| untrusted())?;
        let spki = said
            .public_key
            .ok_or_else(|| wrong("The attestation document has no public key."))?;
        let key = RsaPublicKey::from_spki(&spki).map_err(|_| {
            wrong("The public key of the attestation document is no RSA key of 2,048 bits or more.")
        })?;
        Ok(Self {
            module_id: said.module_id,
            register: said.register,
            pcrs: said.pcrs,
            key,
            spki,
        })
    }

    /// What conditions may ask: names without `kms:RecipientAttestation:`, and values.
    pub(crate) fn facts(&self) -> impl Iterator<Item = (String, &str)> {
        let image = self.pcrs.get(&0).filter(|_| self.register == "PCR");
        let image = image.map(|value| ("ImageSha384".to_owned(), value.as_str()));
        let registers = self.pcrs.iter();
        image
            .into_iter()
            .chain(registers.map(|(at, value)| (format!("{}{at}", self.register), value.as_str())))
    }

    /// `recipient` in `additionalEventData` of the audit record.
    pub(crate) fn told(&self) -> Value {
        let mut told = Map::new();
        let mut tell = |name: String, value: &str| told.insert(name, json!(value));
        tell("attestationDocumentModuleId".to_owned(), &self.module_id);
        if let Some(image) = self.pcrs.get(&0) {
            tell("attestationDocumentEnclaveImageDigest".to_owned(), image);
        }
        for at in LOGGED_PCRS {
            if let Some(value) = self.pcrs.get(&at) {
                tell(format!("attestationDocumentEnclavePCR{at}"), value);
            }
        }
        Value::Object(told)
    }

    /// A secret for nobody but the enclave (CMS EnvelopedData).
    pub(crate) fn seal(&self, secret: &[u8], entropy: &dyn Entropy) -> Result<Blob, KmsError> {
        let sealed = cms::seal_for(&self.key, &self.spki, secret, entropy);
        sealed.map(Blob).map_err(internal)
    }
}

/// The members `Plaintext` and `CiphertextForRecipient` of an answer: for the enclave, where there is
/// one, and else for the caller.
pub(crate) fn handed(
    secret: SecretBytes,
    enclave: Option<&Enclave>,
    entropy: &dyn Entropy,
) -> Result<(SecretBlob, Option<Blob>), KmsError> {
    match enclave {
        None => Ok((SecretBlob(secret), None)),
        Some(enclave) => {
            let sealed = enclave.seal(secret.expose(), entropy)?;
            Ok((SecretBlob::default(), Some(sealed)))
        }
    }
}

fn wrong(what: &str) -> KmsError {
    KmsError::new(ErrorCode::Validation, what)
}

/// What a document says, signed or not.
struct Said {
    module_id: String,
    register: &'static str,
    pcrs: BTreeMap<u32, String>,
    certificate: Vec<u8>,
    bundle: Vec<Vec<u8>>,
    public_key: Option<Vec<u8>>,
}

impl Said {
    fn read(payload: &[u8]) -> Option<Self> {
        let value: Cbor = ciborium::from_reader(payload).ok()?;
        let members = value.into_map().ok()?;
        let mut named = BTreeMap::new();
        for (name, value) in members {
            // What is said twice is not said.
            if named.insert(name.into_text().ok()?, value).is_some() {
                return None;
            }
        }
        let mut take = |name: &str| named.remove(name);
        if take("digest")?.as_text()? != "SHA384" {
            return None;
        }
        let (register, pcrs) = match (take("pcrs"), take("nitrotpm_pcrs")) {
            (Some(pcrs), None) => ("PCR", pcrs),
            (None, Some(pcrs)) => ("NitroTPMPCR", pcrs),
            _ => return None,
        };
        let registers = pcrs.into_map().ok()?.into_iter().map(|(at, value)| {
            let at = u32::try_from(at.into_integer().ok()?).ok()?;
            Some((at, hex::encode(value.into_bytes().ok()?)))
        });
        let bundle = take("cabundle")?.into_array().ok()?;
        if bundle.len() > BUNDLE_MAX {
            return None;
        }
        let bundle = bundle.into_iter().map(|one| one.into_bytes().ok());
        let public_key = match take("public_key") {
            None | Some(Cbor::Null) => None,
            Some(key) => Some(key.into_bytes().ok()?),
        };
        Some(Self {
            module_id: take("module_id")?.into_text().ok()?,
            register,
            pcrs: registers.collect::<Option<_>>()?,
            certificate: take("certificate")?.into_bytes().ok()?,
            bundle: bundle.collect::<Option<_>>()?,
            public_key: public_key.filter(|key| !key.is_empty()),
        })
    }
}
