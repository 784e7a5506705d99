//! The keyring: which requests are made, and what is believed of the answers.
//!
//! After the AWS Encryption SDK specification, `framework/aws-kms/aws-kms-keyring.md` and its three
//! variants (see [`crate::scope`], which decides what is ours):
//!
//! ```text
//! provider id    aws-kms
//! provider info  ARN of the wrapping key, as KMS answered it
//! ciphertext     CiphertextBlob of GenerateDataKey or Encrypt: opaque
//! ```
//!
//! It differs in two points, both on unwrapping. The specification's strict keyring must be given
//! a key ARN; ours takes ids and aliases too, and then leaves the comparison to KMS. And an
//! encrypted data key without provider information, a blob that travels alone, is accepted.

use crate::connection::AwsKms;
use crate::scope::Scope;
use aws_sdk_kms::primitives::Blob;
use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use waxseal_core::keyring::{BoxFuture, Generated, PROVIDER_AWS_KMS, Unwrapped};
use waxseal_core::{
    DataKey, EncryptedDataKey, EncryptionContext, KeyArn, KeyRef, Keyring, KeyringError,
    SecretBytes,
};

/// Bytes of a data key that `GenerateDataKey` makes (KMS API, `NumberOfBytesType`).
const DATA_KEY_BYTES: RangeInclusive<usize> = 1..=1024;
/// Bytes that `Encrypt` takes and `Decrypt` gives (KMS API, `PlaintextType`).
const PLAINTEXT_BYTES: RangeInclusive<usize> = 1..=4096;
/// Bytes of a ciphertext blob (KMS API, `CiphertextType`).
pub(crate) const BLOB_BYTES: RangeInclusive<usize> = 1..=6144;

/// Data keys wrapped by symmetric keys in Amazon KMS. Made by [`AwsKms::keyring`],
/// [`AwsKms::multi_region_keyring`], [`AwsKms::discovery`] and [`AwsKms::region_discovery`].
///
/// # What is unwrapped
/// Encrypted data keys of the provider `aws-kms` whose provider information is
///
/// | keyring | provider information | who is asked |
/// |---|---|---|
/// | of a key ARN | that ARN | that key |
/// | of an id or alias | any key ARN that the name does not contradict: the same id; the same partition, Region and account; any at all for a bare alias | that key |
/// | of a multi-Region key | its ARN, or that of a replica | the configured replica |
/// | discovery | any key ARN that passes the filter | that key |
/// | Region discovery | a key ARN of the Region, or of any multi-Region key, that passes the filter | that key, or its replica in the Region |
/// | all of them | empty: a blob that travels alone | the configured key, or whom the blob names |
///
/// Anything else is [`Unwrapped::NotMine`], without a request. So is `IncorrectKeyException`,
/// unless the encrypted data key names the very key that was asked. An answer is believed only when
/// its `KeyId` is the key that was asked, as far as that can be told beforehand, and within the
/// filter.
///
/// # Regions
/// The Region is that of the ARN that is asked. Names without one are looked for in the configured
/// Region.
#[derive(Clone)]
pub struct AwsKmsKeyring {
    kms: Arc<AwsKms>,
    scope: Scope,
}

impl AwsKmsKeyring {
    pub(crate) fn new(kms: Arc<AwsKms>, scope: Scope) -> Self {
        Self { kms, scope }
    }

    async fn generate_now(
        &self,
        key_bytes: usize,
        context: &EncryptionContext,
    ) -> Result<Generated, KeyringError> {
        let key = self.wrapping_key()?;
        let label = key.to_string();
        let number_of_bytes = checked(key_bytes, DATA_KEY_BYTES, "a data key", &label)?;
        let request = |client: aws_sdk_kms::Client| {
            client
                .generate_data_key()
                .key_id(key.to_string())
                .number_of_bytes(number_of_bytes)
                .set_encryption_context(pairs(context))
                .send()
        };
        let answer = self.kms.send(region(key), &label, request).await?;
        let plaintext = secret(answer.plaintext, &label)?;
        if plaintext.len() != key_bytes {
            return Err(wrong_answer(&label, "a data key of another length"));
        }
        let encrypted = wrapped(
            &self.scope,
            answer.key_id.as_deref(),
            answer.ciphertext_blob,
        )?;
        Ok(Generated {
            key: DataKey::new(plaintext),
            encrypted: vec![encrypted],
        })
    }

    async fn wrap_now(
        &self,
        data_key: &DataKey,
        context: &EncryptionContext,
    ) -> Result<Vec<EncryptedDataKey>, KeyringError> {
        let key = self.wrapping_key()?;
        let label = key.to_string();
        checked(data_key.len(), PLAINTEXT_BYTES, "what is wrapped", &label)?;
        let request = |client: aws_sdk_kms::Client| {
            client
                .encrypt()
                .key_id(key.to_string())
                .plaintext(Blob::new(data_key.expose()))
                .set_encryption_context(pairs(context))
                .send()
        };
        let answer = self.kms.send(region(key), &label, request).await?;
        let encrypted = wrapped(
            &self.scope,
            answer.key_id.as_deref(),
            answer.ciphertext_blob,
        )?;
        Ok(vec![encrypted])
    }

    async fn unwrap_now(
        &self,
        encrypted: &EncryptedDataKey,
        context: &EncryptionContext,
    ) -> Result<Unwrapped, KeyringError> {
        if encrypted.provider_id != PROVIDER_AWS_KMS {
            return Ok(Unwrapped::NotMine);
        }
        let Some(question) = self.scope.question(encrypted)? else {
            return Ok(Unwrapped::NotMine);
        };
        let label = question.label();
        checked(encrypted.ciphertext.len(), BLOB_BYTES, "a blob", &label)?;
        let request = |client: aws_sdk_kms::Client| {
            client
                .decrypt()
                .set_key_id(question.key.as_ref().map(ToString::to_string))
                .ciphertext_blob(Blob::new(encrypted.ciphertext.as_slice()))
                .set_encryption_context(pairs(context))
                .send()
        };
        let region = question.region.as_deref();
        let answer = match self.kms.send(region, &label, request).await {
            Ok(answer) => answer,
            Err(failure) if failure.incorrect_key && !question.is_exact() => {
                return Ok(Unwrapped::NotMine);
            }
            Err(failure) => return Err(failure.into()),
        };
        let plaintext = secret(answer.plaintext, &label)?;
        let arn = answering_key(&self.scope, &label, answer.key_id.as_deref())?;
        if question.answer.is_some_and(|expected| expected != arn) {
            return Err(wrong_answer(&label, &format!("the key {arn}")));
        }
        checked(plaintext.len(), PLAINTEXT_BYTES, "a data key", &label)?;
        Ok(Unwrapped::Key(DataKey::new(plaintext)))
    }

    fn wrapping_key(&self) -> Result<&KeyRef, KeyringError> {
        self.scope
            .wrapping_key()
            .ok_or_else(|| KeyringError::Unsupported {
                key: "Amazon KMS without a key".to_owned(),
                reason: "wrapping needs a key; name one".to_owned(),
            })
    }
}

impl Keyring for AwsKmsKeyring {
    /// `GenerateDataKey`; 1 to 1,024 bytes.
    fn generate<'a>(
        &'a self,
        key_bytes: usize,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
        Box::pin(self.generate_now(key_bytes, context))
    }

    /// `Encrypt`; 1 to 4,096 bytes.
    fn wrap<'a>(
        &'a self,
        key: &'a DataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>> {
        Box::pin(self.wrap_now(key, context))
    }

    /// `Decrypt`; blobs of 1 to 6,144 bytes.
    fn unwrap<'a>(
        &'a self,
        encrypted: &'a EncryptedDataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>> {
        Box::pin(self.unwrap_now(encrypted, context))
    }
}

impl fmt::Debug for AwsKmsKeyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwsKmsKeyring({})", self.scope.label())
    }
}

fn region(key: &KeyRef) -> Option<&str> {
    key.home().map(|home| home.region.as_str())
}

/// The key that answered, when it is one of `scope`.
fn answering_key(
    scope: &Scope,
    label: &str,
    answered: Option<&str>,
) -> Result<KeyArn, KeyringError> {
    let arn = answering_arn(label, answered)?;
    match scope.admits(&arn) {
        true => Ok(arn),
        false => Err(wrong_answer(label, &format!("the key {arn}"))),
    }
}

/// Refuses an answer of another key than `asked`.
pub(crate) fn check_answering_key(
    asked: &KeyArn,
    answered: Option<&str>,
) -> Result<(), KeyringError> {
    let label = asked.to_string();
    let arn = answering_arn(&label, answered)?;
    match arn == *asked {
        true => Ok(()),
        false => Err(wrong_answer(&label, &format!("the key {arn}"))),
    }
}

fn answering_arn(label: &str, answered: Option<&str>) -> Result<KeyArn, KeyringError> {
    answered
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| wrong_answer(label, "no key ARN"))
}

/// The encrypted data key out of an answer of `GenerateDataKey` or `Encrypt`.
fn wrapped(
    scope: &Scope,
    answered: Option<&str>,
    blob: Option<Blob>,
) -> Result<EncryptedDataKey, KeyringError> {
    let label = scope.label();
    let arn = answering_key(scope, &label, answered)?;
    let ciphertext = blob.map(Blob::into_inner).unwrap_or_default();
    if !BLOB_BYTES.contains(&ciphertext.len()) {
        let what = format!("a blob of {} bytes", ciphertext.len());
        return Err(wrong_answer(&label, &what));
    }
    Ok(EncryptedDataKey {
        provider_id: PROVIDER_AWS_KMS.to_owned(),
        provider_info: arn.to_string().into_bytes(),
        ciphertext,
    })
}

/// Moves the plaintext; the SDK keeps no copy of it.
pub(crate) fn secret(plaintext: Option<Blob>, label: &str) -> Result<SecretBytes, KeyringError> {
    plaintext
        .map(|blob| SecretBytes::new(blob.into_inner()))
        .ok_or_else(|| wrong_answer(label, "no plaintext"))
}

pub(crate) fn wrong_answer(label: &str, what: &str) -> KeyringError {
    KeyringError::Service {
        key: label.to_owned(),
        reason: format!("the service answered with {what}"),
    }
}

/// The number in the SDK's form, when it is within the limits.
pub(crate) fn checked(
    bytes: usize,
    limits: RangeInclusive<usize>,
    what: &str,
    label: &str,
) -> Result<i32, KeyringError> {
    match i32::try_from(bytes) {
        Ok(number) if limits.contains(&bytes) => Ok(number),
        _ => Err(KeyringError::Limit {
            key: label.to_owned(),
            reason: format!(
                "{what} has {} to {} bytes, not {bytes}",
                limits.start(),
                limits.end()
            ),
        }),
    }
}

/// An empty context is left out, as every AWS tool does.
fn pairs(context: &EncryptionContext) -> Option<HashMap<String, String>> {
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    (!context.is_empty()).then(|| context.iter().map(owned).collect())
}
