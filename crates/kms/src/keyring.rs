//! The engine as a [`Keyring`]: data keys from GenerateDataKey, Encrypt and Decrypt.

use crate::blob::MAGIC;
use crate::engine::Engine;
use std::sync::Arc;
use waxseal_core::keyring::{BoxFuture, Generated, PROVIDER_AWS_KMS, Unwrapped};
use waxseal_core::{
    DataKey, EncryptedDataKey, EncryptionContext, KeyArn, KeyRef, Keyring, KeyringError,
    SecretBytes,
};
use waxseal_kms_api::op::{ContextMap, DecryptRequest, EncryptRequest, GenerateDataKeyRequest};
use waxseal_kms_api::shape::{Blob, SecretBlob};
use waxseal_kms_api::{ErrorCode, KmsError};

/// Wraps with one key of an engine, or unwraps with any (AWS Encryption SDK specification,
/// `framework/aws-kms/aws-kms-keyring.md`, with the engine in the place of the client).
#[derive(Debug)]
pub struct EngineKeyring {
    engine: Arc<Engine>,
    key: Option<KeyRef>,
    user_agent: String,
}

impl EngineKeyring {
    /// Generates, wraps and unwraps with `key` alone.
    pub fn strict(engine: Arc<Engine>, key: KeyRef, user_agent: impl Into<String>) -> Self {
        Self {
            engine,
            key: Some(key),
            user_agent: user_agent.into(),
        }
    }

    /// Unwraps with whichever key of the engine made the encrypted data key; neither generates
    /// nor wraps.
    pub fn discovery(engine: Arc<Engine>, user_agent: impl Into<String>) -> Self {
        Self {
            engine,
            key: None,
            user_agent: user_agent.into(),
        }
    }

    fn label(&self) -> String {
        match &self.key {
            Some(key) => key.to_string(),
            None => format!("the KMS of {}", self.engine.home()),
        }
    }

    fn wrapping_key(&self) -> Result<String, KeyringError> {
        self.key
            .as_ref()
            .map(ToString::to_string)
            .ok_or_else(|| KeyringError::Unsupported {
                key: self.label(),
                reason: "no key was named to wrap with".to_owned(),
            })
    }

    fn generate_now(
        &self,
        key_bytes: usize,
        context: &EncryptionContext,
    ) -> Result<Generated, KeyringError> {
        let request = GenerateDataKeyRequest {
            key_id: self.wrapping_key()?,
            encryption_context: pairs(context),
            key_spec: None,
            number_of_bytes: i64::try_from(key_bytes).ok(),
            ..GenerateDataKeyRequest::default()
        };
        let answer = self.call(request)?;
        Ok(Generated {
            key: DataKey::new(answer.plaintext.0),
            encrypted: vec![encrypted(answer.key_id, answer.ciphertext_blob)],
        })
    }

    fn wrap_now(
        &self,
        key: &DataKey,
        context: &EncryptionContext,
    ) -> Result<Vec<EncryptedDataKey>, KeyringError> {
        let answer = self.call(EncryptRequest {
            key_id: self.wrapping_key()?,
            plaintext: SecretBlob(SecretBytes::copy_of(key.expose())),
            encryption_context: pairs(context),
            ..EncryptRequest::default()
        })?;
        Ok(vec![encrypted(answer.key_id, answer.ciphertext_blob)])
    }

    /// Whether the encrypted data key can be one of this engine's, judged without using it: its
    /// ARN lives here, or it travels without one; the blob is of our own making; and when one key
    /// was named by ARN or id, it is that key.
    fn may_be_ours(&self, candidate: &EncryptedDataKey) -> bool {
        if candidate.provider_id != PROVIDER_AWS_KMS || !candidate.ciphertext.starts_with(&MAGIC) {
            return false;
        }
        if candidate.provider_info.is_empty() {
            return true;
        }
        let arn = std::str::from_utf8(&candidate.provider_info).ok();
        let Some(arn) = arn.and_then(|text| text.parse::<KeyArn>().ok()) else {
            return false;
        };
        arn.home == *self.engine.home()
            && match &self.key {
                Some(KeyRef::Arn(key)) => *key == arn,
                Some(KeyRef::Id(id)) => *id == arn.id,
                Some(KeyRef::Alias(_) | KeyRef::AliasArn(..)) | None => true,
            }
    }

    fn unwrap_now(
        &self,
        candidate: &EncryptedDataKey,
        context: &EncryptionContext,
    ) -> Result<Unwrapped, KeyringError> {
        if !self.may_be_ours(candidate) {
            return Ok(Unwrapped::NotMine);
        }
        let request = DecryptRequest {
            ciphertext_blob: Some(Blob(candidate.ciphertext.clone())),
            encryption_context: pairs(context),
            key_id: self.key.as_ref().map(ToString::to_string),
            ..DecryptRequest::default()
        };
        let by_owner = self.engine.by_owner(&self.user_agent, request);
        let answer = match by_owner.and_then(|request| self.engine.call(request)) {
            Ok(answer) => answer,
            // Made by another key than the one that was named: for somebody else to open.
            Err(error) if error.code == ErrorCode::IncorrectKey => return Ok(Unwrapped::NotMine),
            Err(error) => return Err(self.failure(error)),
        };
        let info = &candidate.provider_info;
        if !info.is_empty() && *info != answer.key_id.as_bytes() {
            return Err(KeyringError::Unauthentic { key: self.label() });
        }
        Ok(Unwrapped::Key(DataKey::new(answer.plaintext.0)))
    }

    fn call<O: crate::op::Perform>(&self, input: O) -> Result<O::Output, KeyringError> {
        let request = self.engine.by_owner(&self.user_agent, input);
        request
            .and_then(|request| self.engine.call(request))
            .map_err(|error| self.failure(error))
    }

    fn failure(&self, error: KmsError) -> KeyringError {
        let key = self.label();
        let reason = error
            .message
            .unwrap_or_else(|| error.code.name().to_owned());
        match error.code {
            ErrorCode::AccessDenied => KeyringError::AccessDenied { key, reason },
            ErrorCode::NotFound => KeyringError::NotFound { key, reason },
            ErrorCode::Disabled | ErrorCode::InvalidState | ErrorCode::InvalidKeyUsage => {
                KeyringError::KeyState { key, reason }
            }
            ErrorCode::InvalidCiphertext => KeyringError::Unauthentic { key },
            ErrorCode::Validation => KeyringError::Limit { key, reason },
            _ => KeyringError::Service { key, reason },
        }
    }
}

impl Keyring for EngineKeyring {
    fn generate<'a>(
        &'a self,
        key_bytes: usize,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
        Box::pin(async move { self.generate_now(key_bytes, context) })
    }

    fn wrap<'a>(
        &'a self,
        key: &'a DataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>> {
        Box::pin(async move { self.wrap_now(key, context) })
    }

    fn unwrap<'a>(
        &'a self,
        candidate: &'a EncryptedDataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>> {
        Box::pin(async move { self.unwrap_now(candidate, context) })
    }
}

fn pairs(context: &EncryptionContext) -> ContextMap {
    context
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn encrypted(arn: String, blob: Blob) -> EncryptedDataKey {
    EncryptedDataKey {
        provider_id: PROVIDER_AWS_KMS.to_owned(),
        provider_info: arn.into_bytes(),
        ciphertext: blob.0,
    }
}
