//! DeriveSharedSecret, Encapsulate and Decapsulate.

use super::signing::{kem_key, pair};
use super::{Perform, for_recipient, one_key, used_by};
use crate::engine::{KeyEntry, View, internal};
use crate::request::Done;
use crate::spec::{ENCAPSULATE_DECAPSULATE, KEY_AGREEMENT};
use waxseal_core::crypto::kem::KemKey;
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::{Blob, SecretBlob};
use waxseal_kms_api::{ErrorCode, KmsError, Operation};

impl Perform for DeriveSharedSecretRequest {
    one_key!(used);
    for_recipient!();

    fn run(
        self,
        key: KeyEntry,
        view: &View<'_>,
    ) -> Result<Done<DeriveSharedSecretResponse>, KmsError> {
        used_by::<Self>(&key, KEY_AGREEMENT, &self.key_agreement_algorithm)?;
        let own = pair(view, &key)?;
        let secret = own.agree(&self.public_key.0).map_err(|_| KmsError {
            code: ErrorCode::Validation,
            message: None,
        })?;
        let (shared_secret, ciphertext_for_recipient) = view.handed(secret)?;
        Ok(Done::read(DeriveSharedSecretResponse {
            key_id: key.arn.text(),
            shared_secret,
            ciphertext_for_recipient,
            key_agreement_algorithm: self.key_agreement_algorithm,
            key_origin: key.record.origin.clone(),
        }))
    }
}

impl Perform for EncapsulateRequest {
    one_key!(used);

    fn run(self, key: KeyEntry, view: &View<'_>) -> Result<Done<EncapsulateResponse>, KmsError> {
        let own = encapsulating::<Self>(view, &key, &self.encapsulation_algorithm)?;
        let (ciphertext, secret) = own.encapsulate().map_err(internal)?;
        Ok(Done::read(EncapsulateResponse {
            key_id: key.arn.text(),
            shared_secret: SecretBlob(secret),
            shared_secret_ciphertext_blob: Blob(ciphertext),
            encapsulation_algorithm: self.encapsulation_algorithm,
        }))
    }
}

impl Perform for DecapsulateRequest {
    one_key!(used);

    fn run(self, key: KeyEntry, view: &View<'_>) -> Result<Done<DecapsulateResponse>, KmsError> {
        let own = encapsulating::<Self>(view, &key, &self.encapsulation_algorithm)?;
        let secret = own.decapsulate(&self.shared_secret_ciphertext_blob.0);
        let secret = secret.map_err(|_| KmsError::invalid_ciphertext())?;
        Ok(Done::read(DecapsulateResponse {
            key_id: key.arn.text(),
            shared_secret: SecretBlob(secret),
            encapsulation_algorithm: self.encapsulation_algorithm,
        }))
    }
}

fn encapsulating<O: Operation>(
    view: &View<'_>,
    key: &KeyEntry,
    algorithm: &str,
) -> Result<KemKey, KmsError> {
    used_by::<O>(key, ENCAPSULATE_DECAPSULATE, algorithm)?;
    kem_key(view, key)
}
