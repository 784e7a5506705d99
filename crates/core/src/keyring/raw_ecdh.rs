//! Wrapping keys that two parties agree on with local keys (AWS Encryption SDK specification,
//! `framework/raw-ecdh-keyring.md`). Bytes: see [`super::key_agreement`].

use super::key_agreement::{self, PROVIDER_RAW_ECDH, Parties};
use super::{BoxFuture, DataKey, EncryptedDataKey, Generated, Keyring, KeyringError, Unwrapped};
use crate::context::EncryptionContext;
use crate::crypto::ecdh::{EcdhPrivateKey, EcdhPublicKey};
use crate::crypto::random::Entropy;
use std::sync::Arc;

/// Wraps data keys under a secret that is shared with somebody else.
///
/// | made by | wraps | unwraps |
/// |---|---|---|
/// | [`RawEcdhKeyring::with_peer`] | for the peer | what either end wrapped for the other |
/// | [`RawEcdhKeyring::to_recipient`] | for the recipient, with a fresh key pair each time | nothing |
/// | [`RawEcdhKeyring::discovery`] | nothing | what anybody wrapped for this key |
///
/// With a peer, a data key that unwraps was wrapped by one of the two; otherwise the sender is
/// not known.
pub struct RawEcdhKeyring {
    role: Role,
    entropy: Arc<dyn Entropy>,
}

enum Role {
    WithPeer(EcdhPrivateKey, EcdhPublicKey),
    ToRecipient(EcdhPublicKey),
    Discovery(EcdhPrivateKey),
}

/// Own key and peer's key are on different curves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the private key is on {own} and the peer's public key on {peer}")]
pub struct CurveMismatch {
    own: &'static str,
    peer: &'static str,
}

impl RawEcdhKeyring {
    /// Both ends have static keys (specification: `RawPrivateKeyToStaticPublicKey`).
    ///
    /// # Errors
    /// [`CurveMismatch`].
    pub fn with_peer(
        own: EcdhPrivateKey,
        peer: EcdhPublicKey,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, CurveMismatch> {
        if own.curve() != peer.curve() {
            return Err(CurveMismatch {
                own: own.curve().name(),
                peer: peer.curve().name(),
            });
        }
        let role = Role::WithPeer(own, peer);
        Ok(Self { role, entropy })
    }

    /// Only encrypts, to `recipient` (specification: `EphemeralPrivateKeyToStaticPublicKey`).
    pub fn to_recipient(recipient: EcdhPublicKey, entropy: Arc<dyn Entropy>) -> Self {
        let role = Role::ToRecipient(recipient);
        Self { role, entropy }
    }

    /// Only decrypts, from any sender (specification: `PublicKeyDiscovery`).
    pub fn discovery(own: EcdhPrivateKey, entropy: Arc<dyn Entropy>) -> Self {
        let role = Role::Discovery(own);
        Self { role, entropy }
    }

    fn label(&self) -> String {
        let (public, kind) = match &self.role {
            Role::WithPeer(own, _) => (own.public_key(), "static"),
            Role::ToRecipient(recipient) => (recipient, "recipient's"),
            Role::Discovery(own) => (own.public_key(), "recipient's"),
        };
        let point = hex::encode(&public.compressed()[..8]);
        format!("raw-ecdh {kind} key {} {point}…", public.curve().name())
    }

    fn failed(&self) -> KeyringError {
        KeyringError::Unauthentic { key: self.label() }
    }

    fn unsupported(&self, reason: &str) -> KeyringError {
        KeyringError::Unsupported {
            key: self.label(),
            reason: reason.to_owned(),
        }
    }

    fn wrap_now(
        &self,
        key: &DataKey,
        context: &EncryptionContext,
    ) -> Result<EncryptedDataKey, KeyringError> {
        let ephemeral;
        let (sender, recipient) = match &self.role {
            Role::WithPeer(own, peer) => (own, peer),
            Role::ToRecipient(recipient) => {
                ephemeral = EcdhPrivateKey::generate(recipient.curve());
                (ephemeral.as_ref().map_err(|_| self.failed())?, recipient)
            }
            Role::Discovery(_) => {
                return Err(self.unsupported("without a peer's public key it only decrypts"));
            }
        };
        let parties = Parties::new(sender.public_key(), recipient).ok_or_else(|| self.failed())?;
        let secret = sender.shared_secret(recipient).map_err(|_| self.failed())?;
        let entropy = self.entropy.as_ref();
        let label = self.label();
        key_agreement::wrap(
            PROVIDER_RAW_ECDH,
            &parties,
            &secret,
            key,
            context,
            entropy,
            &label,
        )
    }

    fn unwrap_now(
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
            Role::WithPeer(own, peer) if parties.are(own.public_key(), peer) => {
                own.shared_secret(peer)
            }
            Role::Discovery(own) if parties.recipient == own.public_key().compressed() => {
                let sender = EcdhPublicKey::from_point(parties.curve, parties.sender);
                sender.map_or(Err(crate::crypto::Unauthentic), |sender| {
                    own.shared_secret(&sender)
                })
            }
            Role::ToRecipient(recipient) if parties.recipient == recipient.compressed() => {
                return Err(self.unsupported("a public key only encrypts"));
            }
            _ => return Ok(Unwrapped::NotMine),
        };
        let key = secret.and_then(|secret| {
            key_agreement::unwrap(&parties, &secret, &encrypted.ciphertext, context)
        });
        Ok(Unwrapped::Key(key.map_err(|_| self.failed())?))
    }
}

impl std::fmt::Debug for RawEcdhKeyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RawEcdhKeyring({})", self.label())
    }
}

impl Keyring for RawEcdhKeyring {
    fn generate<'a>(
        &'a self,
        key_bytes: usize,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
        Box::pin(async move {
            let key = super::fresh_data_key(key_bytes, self.entropy.as_ref(), || self.label())?;
            let encrypted = vec![self.wrap_now(&key, context)?];
            Ok(Generated { key, encrypted })
        })
    }

    fn wrap<'a>(
        &'a self,
        key: &'a DataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>> {
        Box::pin(async move { Ok(vec![self.wrap_now(key, context)?]) })
    }

    fn unwrap<'a>(
        &'a self,
        encrypted: &'a EncryptedDataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>> {
        Box::pin(async move { self.unwrap_now(encrypted, context) })
    }
}
