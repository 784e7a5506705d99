//! Several keyrings as one (AWS Encryption SDK specification, `framework/multi-keyring.md`).

use super::{BoxFuture, DataKey, EncryptedDataKey, Generated, Keyring, KeyringError, Unwrapped};
use crate::context::EncryptionContext;
use std::sync::Arc;

/// A generator that makes the data key and children that wrap it too. Any one of them can unwrap.
pub struct MultiKeyring {
    generator: Arc<dyn Keyring>,
    children: Vec<Arc<dyn Keyring>>,
}

impl MultiKeyring {
    /// The generator's encrypted data key comes first, the children's follow in their order.
    pub fn new(generator: Arc<dyn Keyring>, children: Vec<Arc<dyn Keyring>>) -> Self {
        Self {
            generator,
            children,
        }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<dyn Keyring>> {
        std::iter::once(&self.generator).chain(&self.children)
    }
}

impl std::fmt::Debug for MultiKeyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MultiKeyring({} children)", self.children.len())
    }
}

impl Keyring for MultiKeyring {
    fn generate<'a>(
        &'a self,
        key_bytes: usize,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
        Box::pin(async move {
            let mut generated = self.generator.generate(key_bytes, context).await?;
            for child in &self.children {
                generated
                    .encrypted
                    .extend(child.wrap(&generated.key, context).await?);
            }
            Ok(generated)
        })
    }

    fn wrap<'a>(
        &'a self,
        key: &'a DataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>> {
        Box::pin(async move {
            let mut encrypted = Vec::new();
            for keyring in self.all() {
                encrypted.extend(keyring.wrap(key, context).await?);
            }
            Ok(encrypted)
        })
    }

    /// The first success wins; when there is none, every failure is reported.
    fn unwrap<'a>(
        &'a self,
        encrypted: &'a EncryptedDataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>> {
        Box::pin(async move {
            let mut failures = Vec::new();
            for keyring in self.all() {
                match keyring.unwrap(encrypted, context).await {
                    Ok(Unwrapped::Key(key)) => return Ok(Unwrapped::Key(key)),
                    Ok(Unwrapped::NotMine) => {}
                    Err(error) => failures.push(error),
                }
            }
            match failures.len() {
                0 => Ok(Unwrapped::NotMine),
                _ => Err(KeyringError::AllFailed(failures)),
            }
        })
    }
}
