//! What the hierarchy hangs from.
//!
//! ```text
//! root key ── wraps ──▶ domain key ── seals ──▶ rows, among them the backing keys
//!                                               backing key ── derives ──▶ a key a blob
//! ```
//!
//! The root key is a [`Keyring`]: a file, a passphrase, a key in a device; another KMS without a
//! change here. The document `root` holds the wrapped domain key and how to find the root key. It
//! is the one row that is not sealed; everything in it is bound to the wrapped key as encryption
//! context, so that nothing in it can be changed unnoticed.

use crate::store::{Batch, Expect, Store, StoreError};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use waxseal_core::arn::Home;
use waxseal_core::crypto::password::PasswordParams;
use waxseal_core::crypto::random::{self, Entropy};
use waxseal_core::keyring::{Generated, RawAesKeyring, Unwrapped};
use waxseal_core::{
    DataKey, EncryptedDataKey, EncryptionContext, Keyring, KeyringError, SecretBytes,
};

/// The provider id of wrapped domain keys.
pub const PROVIDER_ROOT: &str = "waxseal-root";

/// The document that holds the [`RootRecord`].
pub const ROOT_DOCUMENT: &str = "root";

const LAYOUT: u32 = 1;
const DOMAIN_KEY_BYTES: usize = 32;

/// Why the root of a store could not be made or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// The root key did not open the domain key: another file, or another passphrase.
    #[error("the {0} does not open this store")]
    WrongKey(&'static str),
    /// The record is of a newer layout.
    #[error("the store's root record has layout {found}; this version knows up to {LAYOUT}")]
    Newer {
        /// Layout found.
        found: u32,
    },
    /// The record does not follow its layout.
    #[error("the store's root record is damaged: {0}")]
    Damaged(String),
    /// The root keyring failed otherwise.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How to find the root key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum RootKind {
    /// 32 bytes in a file beside the store.
    File,
    /// Argon2id of a passphrase.
    Passphrase {
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes.
        passes: u32,
        /// Lanes.
        lanes: u32,
        /// 16 bytes in hexadecimal digits.
        salt: String,
    },
    /// An AES key in a PKCS #11 device. Which library leads to the device is not kept: whoever can
    /// write the store could name another one.
    Pkcs11 {
        /// The token's serial number.
        serial: String,
        /// The key's label.
        object: String,
    },
}

impl RootKind {
    /// A passphrase root with these parameters.
    pub fn passphrase(params: &PasswordParams) -> Self {
        Self::Passphrase {
            memory_kib: params.memory_kib,
            passes: params.passes,
            lanes: params.lanes,
            salt: hex::encode(params.salt),
        }
    }

    /// The parameters of a passphrase root.
    ///
    /// # Errors
    /// [`RootError::Damaged`] when the salt is not 16 bytes in hexadecimal digits.
    pub fn password_params(&self) -> Result<Option<PasswordParams>, RootError> {
        let Self::Passphrase {
            memory_kib,
            passes,
            lanes,
            salt,
        } = self
        else {
            return Ok(None);
        };
        let mut bytes = [0; 16];
        hex::decode_to_slice(salt, &mut bytes)
            .map_err(|error| RootError::Damaged(format!("salt: {error}")))?;
        let (memory_kib, passes, lanes) = (*memory_kib, *passes, *lanes);
        Ok(Some(PasswordParams {
            memory_kib,
            passes,
            lanes,
            salt: bytes,
        }))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::File => "root key file",
            Self::Passphrase { .. } => "passphrase",
            Self::Pkcs11 { .. } => "key in the device",
        }
    }

    /// The keyring of a root key that is 32 bytes.
    ///
    /// # Errors
    /// [`RootError::Damaged`] when `key` has another length.
    pub fn keyring(
        &self,
        key: &SecretBytes,
        entropy: Arc<dyn Entropy>,
    ) -> Result<RawAesKeyring, RootError> {
        RawAesKeyring::new(PROVIDER_ROOT, self.name(), key, entropy)
            .map_err(|error| RootError::Damaged(error.to_string()))
    }
}

/// The document `root`, as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RootRecord {
    layout: u32,
    store_id: String,
    partition: String,
    region: String,
    account: String,
    /// How to find the root key.
    pub root: RootKind,
    provider_info: String,
    wrapped_domain_key: String,
}

/// A store whose domain key is open.
#[derive(Debug)]
pub struct Opened {
    /// Partition, Region and account of the keys in the store.
    pub home: Home,
    /// Seals and opens its rows.
    pub rows: crate::seal::RowSealer,
}

impl RootRecord {
    /// Reads the record of a store; `None` for a store that is still empty.
    ///
    /// # Errors
    /// [`RootError::Newer`], [`RootError::Damaged`], [`RootError::Store`].
    pub fn read(store: &dyn Store) -> Result<Option<Self>, RootError> {
        let Some(document) = store.get(ROOT_DOCUMENT)? else {
            return Ok(None);
        };
        let damaged = |error: serde_json::Error| RootError::Damaged(error.to_string());
        let value: serde_json::Value = serde_json::from_slice(&document.body).map_err(damaged)?;
        let layout = value["layout"]
            .as_u64()
            .and_then(|layout| u32::try_from(layout).ok());
        match layout {
            Some(LAYOUT) => serde_json::from_value(value).map(Some).map_err(damaged),
            Some(found) => Err(RootError::Newer { found }),
            None => Err(RootError::Damaged("there is no layout number".to_owned())),
        }
    }

    /// Makes a domain key for an empty store and writes the record.
    ///
    /// # Errors
    /// [`RootError::Store`] with a conflict when somebody else was first.
    pub fn create(
        store: &dyn Store,
        home: &Home,
        root: RootKind,
        keyring: &dyn Keyring,
        entropy: &dyn Entropy,
    ) -> Result<Self, RootError> {
        let store_id: [u8; 16] = random::array(entropy).map_err(|error| {
            RootError::Keyring(KeyringError::Service {
                key: PROVIDER_ROOT.to_owned(),
                reason: error.to_string(),
            })
        })?;
        let mut record = Self {
            layout: LAYOUT,
            store_id: hex::encode(store_id),
            partition: home.partition.clone(),
            region: home.region.clone(),
            account: home.account.clone(),
            root,
            provider_info: String::new(),
            wrapped_domain_key: String::new(),
        };
        let context = record.context()?;
        let Generated { encrypted, .. } =
            pollster::block_on(keyring.generate(DOMAIN_KEY_BYTES, &context))?;
        record.take(encrypted)?;
        record.write(store, Expect::Absent)?;
        Ok(record)
    }

    /// Hangs the store from another root key: the domain key is opened with `from`, wrapped with
    /// `keyring`, and opened once more with that before the record is written. Whoever has the store
    /// open goes on as before.
    ///
    /// # Errors
    /// As [`RootRecord::open`]; [`RootError::Store`] with a conflict when somebody else did the same
    /// meanwhile. The old root key then still opens the store.
    pub fn migrate(
        store: &dyn Store,
        from: &dyn Keyring,
        root: RootKind,
        keyring: &dyn Keyring,
    ) -> Result<Self, RootError> {
        let missing = || RootError::Damaged("there is no root record".to_owned());
        let document = store.get(ROOT_DOCUMENT)?.ok_or_else(missing)?;
        let mut record = Self::read(store)?.ok_or_else(missing)?;
        let domain_key = DataKey::new(record.domain_key(from)?);
        record.root = root;
        let context = record.context()?;
        record.take(pollster::block_on(keyring.wrap(&domain_key, &context))?)?;
        // What cannot be opened again is not written.
        if !record.domain_key(keyring)?.ct_eq(domain_key.expose()) {
            return Err(RootError::WrongKey(record.root.name()));
        }
        record.write(store, Expect::Revision(document.revision))?;
        Ok(record)
    }

    fn take(&mut self, wrapped: Vec<EncryptedDataKey>) -> Result<(), RootError> {
        let wrapped = wrapped.into_iter().next();
        let wrapped = wrapped
            .ok_or_else(|| RootError::Damaged("the root keyring wrapped nothing".to_owned()))?;
        self.provider_info = hex::encode(wrapped.provider_info);
        self.wrapped_domain_key = hex::encode(wrapped.ciphertext);
        Ok(())
    }

    fn write(&self, store: &dyn Store, expect: Expect) -> Result<(), RootError> {
        let body = serde_json::to_vec(self).map_err(|error| RootError::Damaged(error.to_string()));
        let mut batch = Batch::new();
        batch.put(ROOT_DOCUMENT, expect, body?);
        store.commit(&batch)?;
        Ok(())
    }

    /// Opens the store.
    ///
    /// # Errors
    /// [`RootError::WrongKey`] for another root key and for a record that was altered alike.
    pub fn open(&self, keyring: &dyn Keyring) -> Result<Opened, RootError> {
        let mut store_id = [0; 16];
        hex::decode_to_slice(&self.store_id, &mut store_id)
            .map_err(|_| RootError::Damaged("the store id has not 16 bytes".to_owned()))?;
        Ok(Opened {
            home: Home {
                partition: self.partition.clone(),
                region: self.region.clone(),
                account: self.account.clone(),
            },
            rows: crate::seal::RowSealer::new(self.domain_key(keyring)?, store_id),
        })
    }

    fn domain_key(&self, keyring: &dyn Keyring) -> Result<SecretBytes, RootError> {
        let bytes =
            |text: &str| hex::decode(text).map_err(|error| RootError::Damaged(error.to_string()));
        let encrypted = EncryptedDataKey {
            provider_id: PROVIDER_ROOT.to_owned(),
            provider_info: bytes(&self.provider_info)?,
            ciphertext: bytes(&self.wrapped_domain_key)?,
        };
        let context = self.context()?;
        match pollster::block_on(keyring.unwrap(&encrypted, &context)) {
            Ok(Unwrapped::Key(key)) if key.len() == DOMAIN_KEY_BYTES => Ok(key.into_secret()),
            Ok(_) | Err(KeyringError::Unauthentic { .. }) => {
                Err(RootError::WrongKey(self.root.name()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Everything but the wrapped key itself, bound to it.
    fn context(&self) -> Result<EncryptionContext, RootError> {
        let damaged = |error: String| RootError::Damaged(error);
        let root = serde_json::to_string(&self.root).map_err(|error| damaged(error.to_string()))?;
        let mut context = EncryptionContext::new();
        for (name, value) in [
            ("purpose", "waxseal-kms domain key"),
            ("layout", &self.layout.to_string()),
            ("store-id", &self.store_id),
            ("partition", &self.partition),
            ("region", &self.region),
            ("account", &self.account),
            ("root", &root),
        ] {
            context
                .insert(name, value)
                .map_err(|error| damaged(error.to_string()))?;
        }
        Ok(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;
    use waxseal_core::crypto::random::SystemEntropy;

    fn home() -> Home {
        Home {
            partition: "aws".into(),
            region: "local".into(),
            account: "000000000000".into(),
        }
    }

    fn keyring(byte: u8) -> RawAesKeyring {
        let key = SecretBytes::new(vec![byte; 32]);
        RootKind::File
            .keyring(&key, Arc::new(SystemEntropy))
            .unwrap()
    }

    #[test]
    fn a_root_opens_with_its_key_and_unaltered_only() {
        let store = MemoryStore::new();
        assert!(RootRecord::read(&store).unwrap().is_none());
        RootRecord::create(&store, &home(), RootKind::File, &keyring(1), &SystemEntropy).unwrap();
        let record = RootRecord::read(&store).unwrap().unwrap();
        assert_eq!(record.open(&keyring(1)).unwrap().home, home());
        assert!(matches!(
            record.open(&keyring(2)),
            Err(RootError::WrongKey(_))
        ));
        for alter in [
            |record: &mut RootRecord| record.account = "111111111111".into(),
            |record: &mut RootRecord| record.region = "eu-west-1".into(),
            |record: &mut RootRecord| record.store_id = "00".repeat(16),
        ] {
            let mut altered = record.clone();
            alter(&mut altered);
            assert!(matches!(
                altered.open(&keyring(1)),
                Err(RootError::WrongKey(_))
            ));
        }
    }

    #[test]
    fn a_store_hangs_from_the_root_key_it_was_migrated_to_and_from_no_other() {
        let store = MemoryStore::new();
        let record =
            RootRecord::create(&store, &home(), RootKind::File, &keyring(1), &SystemEntropy);
        let before = record.unwrap().open(&keyring(1)).unwrap();
        let params = PasswordParams::recommended([7; 16]);
        let passphrase = RootKind::passphrase(&params);
        let new = passphrase
            .keyring(&SecretBytes::new(vec![2; 32]), Arc::new(SystemEntropy))
            .unwrap();
        let migrate =
            |from: &RawAesKeyring| RootRecord::migrate(&store, from, passphrase.clone(), &new);
        assert!(matches!(migrate(&keyring(3)), Err(RootError::WrongKey(_))));
        migrate(&keyring(1)).unwrap();
        let record = RootRecord::read(&store).unwrap().unwrap();
        assert_eq!(record.root, passphrase);
        // The same domain key, under another root key.
        let sealed = before.rows.seal("k", 1, b"row", &SystemEntropy).unwrap();
        let document = crate::store::Document {
            key: "k".to_owned(),
            revision: 1,
            body: sealed,
        };
        let after = record.open(&new).unwrap();
        assert_eq!(after.rows.open(&document).unwrap().expose(), b"row");
        assert!(matches!(
            record.open(&keyring(1)),
            Err(RootError::WrongKey(_))
        ));
        assert!(matches!(migrate(&keyring(1)), Err(RootError::WrongKey(_))));
    }

    #[test]
    fn two_roots_for_one_store_are_refused() {
        let store = MemoryStore::new();
        let create =
            || RootRecord::create(&store, &home(), RootKind::File, &keyring(1), &SystemEntropy);
        create().unwrap();
        assert!(matches!(
            create(),
            Err(RootError::Store(StoreError::Conflict { .. }))
        ));
    }

    #[test]
    fn a_newer_layout_is_refused() {
        let store = MemoryStore::new();
        let mut batch = Batch::new();
        batch.put(ROOT_DOCUMENT, Expect::Absent, br#"{"layout":2}"#.to_vec());
        store.commit(&batch).unwrap();
        assert!(matches!(
            RootRecord::read(&store),
            Err(RootError::Newer { found: 2 })
        ));
    }
}
