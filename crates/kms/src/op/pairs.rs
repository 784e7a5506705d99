//! GenerateDataKeyPair and GenerateDataKeyPairWithoutPlaintext.

use super::cryptography::{Sealed, context, random, seal, used, wrapping};
use super::{Perform, for_recipient, one_key, unsupported};
use crate::engine::{KeyEntry, View, internal};
use crate::making;
use crate::request::Done;
use crate::spec::{Material, Spec};
use waxseal_core::SecretBytes;
use waxseal_core::crypto::kem::{KemPair, SEED_BYTES};
use waxseal_core::crypto::key_pair::KeyPair;
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::Blob;
use waxseal_kms_api::{KmsError, Operation};

impl Perform for GenerateDataKeyPairRequest {
    one_key!(used);
    for_recipient!();

    fn run(
        self,
        key: KeyEntry,
        view: &View<'_>,
    ) -> Result<Done<GenerateDataKeyPairResponse>, KmsError> {
        let made = Made::new::<Self>(view, &key, &self.key_pair_spec, &self.encryption_context)?;
        let (private, ciphertext_for_recipient) = view.handed(made.private)?;
        Ok(used(
            made.sealed.material_id.clone(),
            GenerateDataKeyPairResponse {
                private_key_ciphertext_blob: Blob(made.sealed.blob),
                private_key_plaintext: private,
                public_key: Blob(made.public),
                key_id: key.arn.text(),
                key_pair_spec: self.key_pair_spec,
                ciphertext_for_recipient,
                key_material_id: Some(made.sealed.material_id),
            },
        ))
    }
}

impl Perform for GenerateDataKeyPairWithoutPlaintextRequest {
    one_key!(used);

    fn run(
        self,
        key: KeyEntry,
        view: &View<'_>,
    ) -> Result<Done<GenerateDataKeyPairWithoutPlaintextResponse>, KmsError> {
        let made = Made::new::<Self>(view, &key, &self.key_pair_spec, &self.encryption_context)?;
        Ok(used(
            made.sealed.material_id.clone(),
            GenerateDataKeyPairWithoutPlaintextResponse {
                private_key_ciphertext_blob: Blob(made.sealed.blob),
                public_key: Blob(made.public),
                key_id: key.arn.text(),
                key_pair_spec: self.key_pair_spec,
                key_material_id: made.sealed.material_id,
            },
        ))
    }
}

/// A new key pair.
struct Made {
    private: SecretBytes,
    sealed: Sealed,
    public: Vec<u8>,
}

impl Made {
    fn new<O: Operation>(
        view: &View<'_>,
        key: &KeyEntry,
        spec: &str,
        pairs: &ContextMap,
    ) -> Result<Self, KmsError> {
        let context = context(pairs)?;
        // Before the work: a key that cannot wrap wraps nothing.
        wrapping::<O>(key)?;
        // Keys in devices wrap no key pairs (KMS API, GenerateDataKeyPair).
        if key.record.is_hosted() {
            return Err(unsupported());
        }
        let (private, public) = match Spec::of(spec).ok_or_else(unsupported)?.material {
            Material::Pair(pair) => {
                let made = making::in_turn(|| KeyPair::generate(pair).map_err(internal))?;
                let public = made.spki().map_err(internal)?;
                (made.pkcs8().map_err(internal)?, public)
            }
            Material::Kem(set) => {
                let seed = random(view, SEED_BYTES)?;
                let made = KemPair::from_seed(set, &seed).map_err(internal)?;
                (made.private, made.public)
            }
            Material::Symmetric | Material::Mac(_) => return Err(unsupported()),
        };
        let sealed = seal(view, key, private.expose(), &context)?;
        Ok(Self {
            private,
            sealed,
            public,
        })
    }
}
