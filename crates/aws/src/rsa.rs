//! The keyring of an RSA key in Amazon KMS: wraps here, with the public key; unwraps there.
//!
//! After the AWS Encryption SDK specification, `framework/aws-kms/aws-kms-rsa-keyring.md`:
//!
//! ```text
//! provider id    aws-kms-rsa
//! provider info  ARN of the wrapping key, as configured
//! ciphertext     RSA-OAEP(SHA-384(serialized encryption context) 48 | data key)
//! ```
//!
//! The public key is asked of the service (`GetPublicKey`) unless it is given, where the
//! specification only knows the latter.

use crate::connection::AwsKms;
use crate::keyring::{BLOB_BYTES, check_answering_key, checked, secret, wrong_answer};
use crate::scope::{is_related, named_key};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{EncryptionAlgorithmSpec, KeyUsageType};
use std::fmt;
use std::sync::Arc;
use tokio::sync::OnceCell;
use waxseal_core::crypto::hash;
use waxseal_core::crypto::random::Entropy;
use waxseal_core::crypto::rsa::{RsaPadding, RsaPublicKey};
use waxseal_core::keyring::{BoxFuture, Generated, Unwrapped, fresh_data_key};
use waxseal_core::secret::ct_eq;
use waxseal_core::{
    DataKey, EncryptedDataKey, EncryptionContext, KeyArn, Keyring, KeyringError, SecretBytes,
};

/// The provider id of data keys wrapped by RSA keys in a KMS.
pub const PROVIDER_AWS_KMS_RSA: &str = "aws-kms-rsa";

/// What a signing suite puts into the encryption context.
const SIGNING_CONTEXT: &str = "aws-crypto-public-key";
/// Bytes of SHA-384.
const DIGEST_BYTES: usize = 48;

/// How KMS pads for its RSA keys (KMS API, `EncryptionAlgorithmSpec`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KmsRsaAlgorithm {
    /// `RSAES_OAEP_SHA_1`.
    OaepSha1,
    /// `RSAES_OAEP_SHA_256`.
    OaepSha256,
}

impl KmsRsaAlgorithm {
    fn padding(self) -> RsaPadding {
        match self {
            Self::OaepSha1 => RsaPadding::OaepSha1,
            Self::OaepSha256 => RsaPadding::OaepSha256,
        }
    }

    fn spec(self) -> EncryptionAlgorithmSpec {
        match self {
            Self::OaepSha1 => EncryptionAlgorithmSpec::RsaesOaepSha1,
            Self::OaepSha256 => EncryptionAlgorithmSpec::RsaesOaepSha256,
        }
    }
}

impl TryFrom<RsaPadding> for KmsRsaAlgorithm {
    type Error = RsaPadding;

    /// Gives the padding back when KMS has no such one.
    fn try_from(padding: RsaPadding) -> Result<Self, RsaPadding> {
        match padding {
            RsaPadding::OaepSha1 => Ok(Self::OaepSha1),
            RsaPadding::OaepSha256 => Ok(Self::OaepSha256),
            other => Err(other),
        }
    }
}

/// Data keys wrapped by an RSA key whose private half is in Amazon KMS. Made by
/// [`AwsKms::rsa_keyring`].
///
/// It wraps without a request (with one, the first time, when the public key was not given) and
/// unwraps what its key, or a replica of it, has wrapped under the same encryption context.
///
/// # No signing suites
/// Anybody can wrap with a public key, so a signature would prove nothing: the specification
/// forbids the combination. A signing suite is known by `aws-crypto-public-key` in the encryption
/// context, and then wrapping and unwrapping are refused as [`KeyringError::Unsupported`].
pub struct AwsKmsRsaKeyring {
    kms: Arc<AwsKms>,
    key: KeyArn,
    algorithm: KmsRsaAlgorithm,
    public: OnceCell<RsaPublicKey>,
    entropy: Arc<dyn Entropy>,
}

impl AwsKmsRsaKeyring {
    pub(crate) fn new(
        kms: Arc<AwsKms>,
        key: KeyArn,
        algorithm: KmsRsaAlgorithm,
        public: Option<RsaPublicKey>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let public = OnceCell::new_with(public);
        Self {
            kms,
            key,
            algorithm,
            public,
            entropy,
        }
    }

    async fn generate_now(
        &self,
        key_bytes: usize,
        context: &EncryptionContext,
    ) -> Result<Generated, KeyringError> {
        let label = || self.key.to_string();
        let key = fresh_data_key(key_bytes, self.entropy.as_ref(), label)?;
        let encrypted = self.wrap_now(&key, context).await?;
        Ok(Generated { key, encrypted })
    }

    async fn wrap_now(
        &self,
        key: &DataKey,
        context: &EncryptionContext,
    ) -> Result<Vec<EncryptedDataKey>, KeyringError> {
        let digest = self.digest(context)?;
        let public = self.public_key().await?;
        // An empty data key would pass here and nowhere else.
        let sealed = match key.is_empty() {
            true => None,
            false => {
                let mut plaintext = SecretBytes::zeroed(DIGEST_BYTES + key.len());
                let (head, tail) = plaintext.expose_mut().split_at_mut(DIGEST_BYTES);
                head.copy_from_slice(&digest);
                tail.copy_from_slice(key.expose());
                let padding = self.algorithm.padding();
                public.encrypt(padding, plaintext.expose()).ok()
            }
        };
        let ciphertext = sealed.ok_or_else(|| KeyringError::Limit {
            key: self.key.to_string(),
            reason: format!("{} bytes cannot be wrapped by {public:?}", key.len()),
        })?;
        Ok(vec![EncryptedDataKey {
            provider_id: PROVIDER_AWS_KMS_RSA.to_owned(),
            provider_info: self.key.to_string().into_bytes(),
            ciphertext,
        }])
    }

    async fn unwrap_now(
        &self,
        encrypted: &EncryptedDataKey,
        context: &EncryptionContext,
    ) -> Result<Unwrapped, KeyringError> {
        if encrypted.provider_id != PROVIDER_AWS_KMS_RSA {
            return Ok(Unwrapped::NotMine);
        }
        let label = self.key.to_string();
        if !is_related(&self.key, &named_key(&encrypted.provider_info, &label)?) {
            return Ok(Unwrapped::NotMine);
        }
        let canonical = self.digest(context)?;
        checked(encrypted.ciphertext.len(), BLOB_BYTES, "a blob", &label)?;
        let request = |client: aws_sdk_kms::Client| {
            client
                .decrypt()
                .key_id(label.clone())
                .ciphertext_blob(Blob::new(encrypted.ciphertext.as_slice()))
                .encryption_algorithm(self.algorithm.spec())
                .send()
        };
        let region = Some(self.key.home.region.as_str());
        let answer = self.kms.send(region, &label, request).await?;
        let plaintext = secret(answer.plaintext, &label)?;
        check_answering_key(&self.key, answer.key_id.as_deref())?;
        // Some writers sorted the context otherwise, and hashed it so.
        let stored = context.stored().map(|bytes| hash::sha384(&[bytes]));
        let is_bound = |digest: &[u8]| {
            let mut forms = std::iter::once(&canonical).chain(&stored);
            forms.any(|form| ct_eq(digest, form))
        };
        match plaintext.expose().split_at_checked(DIGEST_BYTES) {
            Some((digest, key)) if is_bound(digest) && !key.is_empty() => {
                Ok(Unwrapped::Key(DataKey::new(SecretBytes::copy_of(key))))
            }
            _ => Err(KeyringError::Unauthentic { key: label }),
        }
    }

    /// What binds the encryption context to the data key.
    fn digest(&self, context: &EncryptionContext) -> Result<[u8; DIGEST_BYTES], KeyringError> {
        if context.value(SIGNING_CONTEXT).is_some() {
            return Err(KeyringError::Unsupported {
                key: self.key.to_string(),
                reason: "an RSA key in a KMS does not go with a signing suite: anybody can wrap \
                    with its public half"
                    .to_owned(),
            });
        }
        let serialized = context.serialize().map_err(|error| KeyringError::Limit {
            key: self.key.to_string(),
            reason: error.to_string(),
        })?;
        Ok(hash::sha384(&[&serialized]))
    }

    async fn public_key(&self) -> Result<&RsaPublicKey, KeyringError> {
        self.public.get_or_try_init(|| self.ask_public_key()).await
    }

    async fn ask_public_key(&self) -> Result<RsaPublicKey, KeyringError> {
        let label = self.key.to_string();
        let request =
            |client: aws_sdk_kms::Client| client.get_public_key().key_id(label.clone()).send();
        let region = Some(self.key.home.region.as_str());
        let answer = self.kms.send(region, &label, request).await?;
        check_answering_key(&self.key, answer.key_id.as_deref())?;
        let algorithms = answer.encryption_algorithms.unwrap_or_default();
        if answer.key_usage != Some(KeyUsageType::EncryptDecrypt)
            || !algorithms.contains(&self.algorithm.spec())
        {
            return Err(KeyringError::Unsupported {
                key: label,
                reason: format!("it does not encrypt with {}", self.algorithm.spec()),
            });
        }
        let der = answer.public_key.map(Blob::into_inner).unwrap_or_default();
        RsaPublicKey::from_spki(&der)
            .map_err(|error| wrong_answer(&label, &format!("no public key: {error}")))
    }
}

impl Keyring for AwsKmsRsaKeyring {
    /// Draws the data key and wraps it.
    fn generate<'a>(
        &'a self,
        key_bytes: usize,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
        Box::pin(self.generate_now(key_bytes, context))
    }

    /// RSA-OAEP here; the data key and its 48 bytes of digest must fit: 1 to 142 bytes for 2,048
    /// bits with SHA-256.
    fn wrap<'a>(
        &'a self,
        key: &'a DataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>> {
        Box::pin(self.wrap_now(key, context))
    }

    /// `Decrypt`.
    fn unwrap<'a>(
        &'a self,
        encrypted: &'a EncryptedDataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>> {
        Box::pin(self.unwrap_now(encrypted, context))
    }
}

impl fmt::Debug for AwsKmsRsaKeyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwsKmsRsaKeyring({})", self.key)
    }
}
