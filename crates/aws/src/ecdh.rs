//! The keyring of a key in Amazon KMS that agrees with others on wrapping keys.
//!
//! After the AWS Encryption SDK specification, `framework/aws-kms/aws-kms-ecdh-keyring.md`. Only the
//! shared secret comes from the service; the bytes are those of the raw ECDH keyring, see
//! [`waxseal_core::keyring::key_agreement`].

use crate::connection::AwsKms;
use crate::keyring::{check_answering_key, secret, wrong_answer};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{KeyAgreementAlgorithmSpec, KeyUsageType};
use std::fmt;
use std::sync::Arc;
use tokio::sync::OnceCell;
use waxseal_core::crypto::ecdh::EcdhPublicKey;
use waxseal_core::crypto::random::Entropy;
use waxseal_core::keyring::key_agreement::{self, PROVIDER_AWS_KMS_ECDH, Parties};
use waxseal_core::keyring::{BoxFuture, Generated, Unwrapped, fresh_data_key};
use waxseal_core::{
    DataKey, EncryptedDataKey, EncryptionContext, KeyArn, Keyring, KeyringError, SecretBytes,
};

/// Data keys wrapped under a secret that a key in Amazon KMS shares with somebody else's.
///
/// | made by | wraps | unwraps |
/// |---|---|---|
/// | [`AwsKms::ecdh_keyring`] | for the peer | what either end wrapped for the other |
/// | [`AwsKms::ecdh_discovery`] | nothing | what anybody wrapped for this key |
///
/// Both unwrap data keys of the providers `aws-kms-ecdh` and `raw-ecdh`: the other end may hold its
/// key in a file. Each wrapping and unwrapping is one `DeriveSharedSecret`.
pub struct AwsKmsEcdhKeyring {
    kms: Arc<AwsKms>,
    key: KeyArn,
    own: OnceCell<EcdhPublicKey>,
    role: Role,
}

pub(crate) enum Role {
    /// Specification: `KmsPrivateKeyToStaticPublicKey`.
    WithPeer(EcdhPublicKey, Arc<dyn Entropy>),
    /// Specification: `KmsPublicKeyDiscovery`.
    Discovery,
}

impl AwsKmsEcdhKeyring {
    pub(crate) fn new(
        kms: Arc<AwsKms>,
        key: KeyArn,
        own: Option<EcdhPublicKey>,
        role: Role,
    ) -> Self {
        let own = OnceCell::new_with(own);
        Self {
            kms,
            key,
            own,
            role,
        }
    }

    async fn generate_now(
        &self,
        key_bytes: usize,
        context: &EncryptionContext,
    ) -> Result<Generated, KeyringError> {
        let (_, entropy) = self.peer()?;
        let key = fresh_data_key(key_bytes, entropy, || self.key.to_string())?;
        let encrypted = self.wrap_now(&key, context).await?;
        Ok(Generated { key, encrypted })
    }

    async fn wrap_now(
        &self,
        key: &DataKey,
        context: &EncryptionContext,
    ) -> Result<Vec<EncryptedDataKey>, KeyringError> {
        let (peer, entropy) = self.peer()?;
        let own = self.public_key().await?;
        let parties = Parties::new(own, peer).ok_or_else(|| {
            self.unsupported(format!(
                "it is on {} and the peer's public key on {}",
                own.curve().name(),
                peer.curve().name()
            ))
        })?;
        let secret = self.shared_secret(peer).await?;
        let label = self.key.to_string();
        let provider = PROVIDER_AWS_KMS_ECDH;
        let encrypted =
            key_agreement::wrap(provider, &parties, &secret, key, context, entropy, &label)?;
        Ok(vec![encrypted])
    }

    async fn unwrap_now(
        &self,
        encrypted: &EncryptedDataKey,
        context: &EncryptionContext,
    ) -> Result<Unwrapped, KeyringError> {
        let parties = Parties::parse(&encrypted.provider_info)
            .filter(|_| key_agreement::is_provider(&encrypted.provider_id));
        let Some(parties) = parties else {
            return Ok(Unwrapped::NotMine);
        };
        let secret = match &self.role {
            Role::WithPeer(peer, _) => {
                // Asks the service for the own public key only when it may be a party.
                let named = [parties.sender, parties.recipient].contains(&peer.compressed());
                if !named || !parties.are(self.public_key().await?, peer) {
                    return Ok(Unwrapped::NotMine);
                }
                self.shared_secret(peer).await?
            }
            Role::Discovery => {
                if parties.recipient != self.public_key().await?.compressed() {
                    return Ok(Unwrapped::NotMine);
                }
                let sender = EcdhPublicKey::from_point(parties.curve, parties.sender);
                self.shared_secret(&sender.map_err(|_| self.unauthentic())?)
                    .await?
            }
        };
        let key = key_agreement::unwrap(&parties, &secret, &encrypted.ciphertext, context);
        Ok(Unwrapped::Key(key.map_err(|_| self.unauthentic())?))
    }

    fn peer(&self) -> Result<(&EcdhPublicKey, &dyn Entropy), KeyringError> {
        match &self.role {
            Role::WithPeer(peer, entropy) => Ok((peer, entropy.as_ref())),
            Role::Discovery => {
                Err(self.unsupported("without a peer's public key it only decrypts".to_owned()))
            }
        }
    }

    async fn shared_secret(&self, peer: &EcdhPublicKey) -> Result<SecretBytes, KeyringError> {
        let label = self.key.to_string();
        let request = |client: aws_sdk_kms::Client| {
            client
                .derive_shared_secret()
                .key_id(label.clone())
                .key_agreement_algorithm(KeyAgreementAlgorithmSpec::Ecdh)
                .public_key(Blob::new(peer.spki()))
                .send()
        };
        let region = Some(self.key.home.region.as_str());
        let answer = self.kms.send(region, &label, request).await?;
        let secret = secret(answer.shared_secret, &label)?;
        check_answering_key(&self.key, answer.key_id.as_deref())?;
        if answer.key_agreement_algorithm != Some(KeyAgreementAlgorithmSpec::Ecdh) {
            return Err(wrong_answer(&label, "another key agreement algorithm"));
        }
        match secret.len() == peer.curve().field_bytes() {
            true => Ok(secret),
            false => Err(wrong_answer(&label, "a shared secret of another length")),
        }
    }

    async fn public_key(&self) -> Result<&EcdhPublicKey, KeyringError> {
        self.own.get_or_try_init(|| self.ask_public_key()).await
    }

    async fn ask_public_key(&self) -> Result<EcdhPublicKey, KeyringError> {
        let label = self.key.to_string();
        let request =
            |client: aws_sdk_kms::Client| client.get_public_key().key_id(label.clone()).send();
        let region = Some(self.key.home.region.as_str());
        let answer = self.kms.send(region, &label, request).await?;
        check_answering_key(&self.key, answer.key_id.as_deref())?;
        if answer.key_usage != Some(KeyUsageType::KeyAgreement) {
            return Err(self.unsupported("it is not for key agreement".to_owned()));
        }
        let der = answer.public_key.map(Blob::into_inner).unwrap_or_default();
        EcdhPublicKey::from_spki(&der)
            .map_err(|error| wrong_answer(&label, &format!("no public key: {error}")))
    }

    fn unsupported(&self, reason: String) -> KeyringError {
        KeyringError::Unsupported {
            key: self.key.to_string(),
            reason,
        }
    }

    fn unauthentic(&self) -> KeyringError {
        KeyringError::Unauthentic {
            key: self.key.to_string(),
        }
    }
}

impl Keyring for AwsKmsEcdhKeyring {
    /// Draws the data key and wraps it.
    fn generate<'a>(
        &'a self,
        key_bytes: usize,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
        Box::pin(self.generate_now(key_bytes, context))
    }

    /// `DeriveSharedSecret`, and AES-256-GCM here.
    fn wrap<'a>(
        &'a self,
        key: &'a DataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>> {
        Box::pin(self.wrap_now(key, context))
    }

    /// `DeriveSharedSecret`, and AES-256-GCM here.
    fn unwrap<'a>(
        &'a self,
        encrypted: &'a EncryptedDataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>> {
        Box::pin(self.unwrap_now(encrypted, context))
    }
}

impl fmt::Debug for AwsKmsEcdhKeyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwsKmsEcdhKeyring({})", self.key)
    }
}
