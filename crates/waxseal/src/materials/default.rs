//! The manager that asks a keyring for every message (AWS Encryption SDK specification,
//! `framework/default-cmm.md`).

use super::{
    Attempt, MaterialsManager, OpeningMaterials, OpeningRequest, SealingMaterials, SealingRequest,
};
use crate::message::{OpenError, PUBLIC_KEY_NAME, SealError, Suite};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;
use waxseal_core::context::EncryptionContext;
use waxseal_core::crypto::ecdsa::{Curve, SigningKey, VerifyingKey};
use waxseal_core::keyring::{
    BoxFuture, DataKey, EncryptedDataKey, Keyring, KeyringError, Unwrapped,
};

/// Asks a keyring for a fresh data key, and makes a key pair for each signed message.
#[derive(Debug)]
pub struct DefaultManager<K>(K);

impl<K: Keyring> DefaultManager<K> {
    /// The keyring may be owned, borrowed or shared.
    pub fn new(keyring: K) -> Self {
        Self(keyring)
    }

    async fn seal(&self, request: SealingRequest<'_>) -> Result<SealingMaterials, SealError> {
        let suite = request.suite;
        let mut context = request.context.clone();
        let signing_key = suite
            .signature()
            .map(|curve| signing_key(curve, &mut context))
            .transpose()?;
        // Said before a key service is asked.
        context.serialize()?;
        let generated = self.0.generate(suite.key_bytes(), &context).await?;
        if generated.key.len() != suite.key_bytes() {
            return Err(SealError::DataKeyBytes {
                expected: suite.key_bytes(),
                found: generated.key.len(),
            });
        }
        Ok(SealingMaterials {
            context,
            data_key: Arc::new(generated.key),
            encrypted_data_keys: generated.encrypted,
            signing_key,
        })
    }

    async fn open(&self, request: OpeningRequest<'_>) -> Result<OpeningMaterials, OpenError> {
        let verifying_key = verifying_key(request.suite, request.context)?;
        let mut attempts = Vec::new();
        for encrypted in request.encrypted_data_keys {
            let unwrapped = self.0.unwrap(encrypted, request.context).await;
            match key_or_failures(unwrapped, encrypted, request.suite.key_bytes()) {
                Ok(key) => {
                    return Ok(OpeningMaterials {
                        data_key: Arc::new(key),
                        verifying_key,
                    });
                }
                Err(failures) => attempts.push(Attempt::new(encrypted, failures)),
            }
        }
        Err(OpenError::NoDataKey(attempts))
    }
}

impl<K: Keyring> MaterialsManager for DefaultManager<K> {
    fn for_sealing<'a>(
        &'a self,
        request: SealingRequest<'a>,
    ) -> BoxFuture<'a, Result<SealingMaterials, SealError>> {
        Box::pin(self.seal(request))
    }

    fn for_opening<'a>(
        &'a self,
        request: OpeningRequest<'a>,
    ) -> BoxFuture<'a, Result<OpeningMaterials, OpenError>> {
        Box::pin(self.open(request))
    }
}

/// No failure at all means that nobody wrapped it.
fn key_or_failures(
    unwrapped: Result<Unwrapped, KeyringError>,
    encrypted: &EncryptedDataKey,
    key_bytes: usize,
) -> Result<DataKey, Vec<KeyringError>> {
    match unwrapped {
        Ok(Unwrapped::Key(key)) if key.len() == key_bytes => Ok(key),
        Ok(Unwrapped::Key(key)) => Err(vec![KeyringError::Limit {
            key: encrypted.provider_id.clone(),
            reason: format!(
                "the data key has {} bytes where the algorithm suite needs {key_bytes}",
                key.len()
            ),
        }]),
        Ok(Unwrapped::NotMine) => Err(Vec::new()),
        Err(KeyringError::AllFailed(failures)) => Err(failures),
        Err(error) => Err(vec![error]),
    }
}

/// A key pair for this message; its public half goes into the context.
fn signing_key(
    curve: Curve,
    context: &mut EncryptionContext,
) -> Result<Arc<SigningKey>, SealError> {
    let key = SigningKey::generate(curve).map_err(|_| SealError::Crypto)?;
    let point = key.public_key().map_err(|_| SealError::Crypto)?;
    context.insert(PUBLIC_KEY_NAME, STANDARD.encode(point))?;
    Ok(Arc::new(key))
}

/// Whether there is a public key must agree with the suite.
fn verifying_key(
    suite: Suite,
    context: &EncryptionContext,
) -> Result<Option<VerifyingKey>, OpenError> {
    let malformed = |rule| OpenError::Malformed { rule };
    match (suite.signature(), context.value(PUBLIC_KEY_NAME)) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(malformed("an unsigned message carries a public key")),
        (Some(_), None) => Err(malformed("a signed message carries no public key")),
        (Some(curve), Some(text)) => {
            let wrong = || malformed("the public key is not a point of its curve in base64");
            let point = STANDARD.decode(text).map_err(|_| wrong())?;
            let key = VerifyingKey::from_point(curve, &point).map_err(|_| wrong())?;
            Ok(Some(key))
        }
    }
}
