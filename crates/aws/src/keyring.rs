//! The keyring: which requests are made, and what is believed of the answers.
//!
//! After the AWS Encryption SDK specification, `framework/aws-kms/aws-kms-keyring.md` and
//! `aws-kms-discovery-keyring.md`:
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
use crate::failure::Failure;
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
const BLOB_BYTES: RangeInclusive<usize> = 1..=6144;

/// Data keys wrapped by a key in Amazon KMS. Made by [`AwsKms::keyring`] and
/// [`AwsKms::discovery`].
///
/// # What a strict keyring unwraps
/// An encrypted data key whose provider information is
///
/// * the ARN of the configured key;
/// * any key ARN that the configured id or alias ARN does not contradict (same id; same partition,
///   Region and account), or any at all for a bare alias: KMS is asked to decrypt with the
///   configured key, and `IncorrectKeyException` means [`Unwrapped::NotMine`];
/// * empty: likewise.
///
/// Anything else is [`Unwrapped::NotMine`], without a request. An answer is believed only when its
/// `KeyId` is the configured key, as far as that can be told, and the ARN in the provider
/// information.
///
/// # Regions
/// The Region is that of the ARN: of the configured key, or in discovery of the encrypted data
/// key. Names without one are looked for in the configured Region. Replicas of a multi-Region key
/// are different keys here.
#[derive(Clone)]
pub struct AwsKmsKeyring {
    kms: Arc<AwsKms>,
    /// `None`: discovery.
    key: Option<KeyRef>,
}

impl AwsKmsKeyring {
    pub(crate) fn strict(kms: Arc<AwsKms>, key: KeyRef) -> Self {
        let key = Some(key);
        Self { kms, key }
    }

    pub(crate) fn discovery(kms: Arc<AwsKms>) -> Self {
        Self { kms, key: None }
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
        let encrypted = wrapped(key, answer.key_id.as_deref(), answer.ciphertext_blob)?;
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
        let encrypted = wrapped(key, answer.key_id.as_deref(), answer.ciphertext_blob)?;
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
        let named = self.wrapping_arn(encrypted)?;
        if let (Some(key), Some(arn)) = (&self.key, &named)
            && !may_be(key, arn)
        {
            return Ok(Unwrapped::NotMine);
        }
        // Strict: the configured key. Discovery: the key that the encrypted data key names.
        let ask = self.key.clone().or_else(|| named.clone().map(KeyRef::Arn));
        let label = label(ask.as_ref());
        checked(encrypted.ciphertext.len(), BLOB_BYTES, "a blob", &label)?;
        let request = |client: aws_sdk_kms::Client| {
            client
                .decrypt()
                .set_key_id(ask.as_ref().map(ToString::to_string))
                .ciphertext_blob(Blob::new(encrypted.ciphertext.as_slice()))
                .set_encryption_context(pairs(context))
                .send()
        };
        let region = ask.as_ref().and_then(region);
        let answer = match self.kms.send(region, &label, request).await {
            Ok(answer) => answer,
            Err(failure) => return not_mine_or_failed(failure, ask.as_ref(), named.as_ref()),
        };
        let plaintext = secret(answer.plaintext, &label)?;
        check_answering_key(
            &label,
            answer.key_id.as_deref(),
            ask.as_ref(),
            named.as_ref(),
        )?;
        checked(plaintext.len(), PLAINTEXT_BYTES, "a data key", &label)?;
        Ok(Unwrapped::Key(DataKey::new(plaintext)))
    }

    fn wrapping_key(&self) -> Result<&KeyRef, KeyringError> {
        self.key.as_ref().ok_or_else(|| KeyringError::Unsupported {
            key: "Amazon KMS without a key".to_owned(),
            reason: "wrapping needs a key; name one".to_owned(),
        })
    }

    /// The ARN in the provider information; `None` when there is no provider information.
    fn wrapping_arn(&self, encrypted: &EncryptedDataKey) -> Result<Option<KeyArn>, KeyringError> {
        if encrypted.provider_info.is_empty() {
            return Ok(None);
        }
        let arn = std::str::from_utf8(&encrypted.provider_info)
            .ok()
            .and_then(|text| text.parse().ok());
        // The specification fails here as well; it is not somebody else's, it is broken.
        let malformed = || KeyringError::Unsupported {
            key: label(self.key.as_ref()),
            reason: "the provider information of an encrypted data key is not the ARN of a KMS key"
                .to_owned(),
        };
        arn.map(Some).ok_or_else(malformed)
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
        write!(f, "AwsKmsKeyring({})", label(self.key.as_ref()))
    }
}

/// How errors name the wrapping key.
fn label(key: Option<&KeyRef>) -> String {
    match key {
        Some(key) => key.to_string(),
        None => "the KMS key of this blob".to_owned(),
    }
}

fn region(key: &KeyRef) -> Option<&str> {
    key.home().map(|home| home.region.as_str())
}

/// Whether `key` can be a name of the key with this ARN, as far as the name tells.
fn may_be(key: &KeyRef, arn: &KeyArn) -> bool {
    match key {
        KeyRef::Arn(own) => own == arn,
        KeyRef::Id(id) => *id == arn.id,
        // An alias lives with its key.
        KeyRef::AliasArn(home, _) => *home == arn.home,
        KeyRef::Alias(_) => true,
    }
}

/// "Another key has wrapped this" means *not mine*, unless the encrypted data key claims the very
/// key that was asked: then it is forged or broken.
fn not_mine_or_failed(
    failure: Failure,
    asked: Option<&KeyRef>,
    named: Option<&KeyArn>,
) -> Result<Unwrapped, KeyringError> {
    let claims_it =
        matches!((asked, named), (Some(KeyRef::Arn(asked)), Some(named)) if asked == named);
    if failure.incorrect_key && !claims_it {
        return Ok(Unwrapped::NotMine);
    }
    Err(failure.into())
}

/// Refuses a plaintext that comes from another key than the one that was asked or named.
fn check_answering_key(
    label: &str,
    answered: Option<&str>,
    asked: Option<&KeyRef>,
    named: Option<&KeyArn>,
) -> Result<(), KeyringError> {
    let arn = answering_arn(label, answered)?;
    if asked.is_some_and(|key| !may_be(key, &arn)) || named.is_some_and(|named| *named != arn) {
        return Err(wrong_answer(label, &format!("the key {arn}")));
    }
    Ok(())
}

fn answering_arn(label: &str, answered: Option<&str>) -> Result<KeyArn, KeyringError> {
    answered
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| wrong_answer(label, "no key ARN"))
}

/// The encrypted data key out of an answer of `GenerateDataKey` or `Encrypt`.
fn wrapped(
    key: &KeyRef,
    answered: Option<&str>,
    blob: Option<Blob>,
) -> Result<EncryptedDataKey, KeyringError> {
    let label = key.to_string();
    check_answering_key(&label, answered, Some(key), None)?;
    let arn = answering_arn(&label, answered)?;
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
fn secret(plaintext: Option<Blob>, label: &str) -> Result<SecretBytes, KeyringError> {
    plaintext
        .map(|blob| SecretBytes::new(blob.into_inner()))
        .ok_or_else(|| wrong_answer(label, "no plaintext"))
}

fn wrong_answer(label: &str, what: &str) -> KeyringError {
    KeyringError::Service {
        key: label.to_owned(),
        reason: format!("the service answered with {what}"),
    }
}

/// The number in the SDK's form, when it is within the limits.
fn checked(
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
