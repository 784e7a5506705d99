//! The document `root`, as JSON:
//!
//! ```text
//! { "layout": 2, "store_id": 32 hex digits, "partition": …, "region": …, "account": …,
//!   "epoch": 1,               which domain key of the store it is
//!   "check": 32 hex digits,   KDF(domain key, "waxseal-kms/check/1", store id | epoch u32)
//!   "roots": [ { "root": { "kind": … }, "provider_info": hex, "wrapped_domain_key": hex }, … ],
//!   "former": { "epoch": …, "sealed": hex } }           while rows are sealed anew only
//! ```
//!
//! The KDF is SP 800-108 in counter mode with HMAC-SHA-256: what a root opens is compared with `check`
//! before it is used. Each root wrapped the same 32 bytes, each under a context of its own: the purpose, layout, store id,
//! partition, Region, account, epoch, and `root` as JSON. Layout 1 had one root beside the other
//! members, no check and no epoch, which is 1; it is read, and written as layout 2 with the next change.
//!
//! `former` is the domain key before, sealed under the new one as a row (`seal.rs`) with key `root/former`
//! and its epoch as revision. It goes when no row needs it any more.

use super::{LAYOUT, ROOT_DOCUMENT, ROOTS_MAX, Root, RootError, RootKind, no_entropy};
use crate::seal::{DomainKey, RowSealer};
use crate::store::{Batch, Document, Expect, Store};
use serde::{Deserialize, Serialize};
use waxseal_core::arn::Home;
use waxseal_core::crypto::kdf;
use waxseal_core::crypto::random::{self, Entropy};
use waxseal_core::keyring::{Unwrapped, fresh_data_key};
use waxseal_core::{DataKey, EncryptedDataKey, EncryptionContext, KeyringError, SecretBytes};

const DOMAIN_KEY_BYTES: usize = 32;
const FIRST_EPOCH: u32 = 1;
const FORMER_ROW: &str = "root/former";
const CHECK_BYTES: usize = 16;
const CHECK_LABEL: &[u8] = b"waxseal-kms/check/1";

/// What the store hangs from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RootRecord {
    layout: u32,
    store_id: String,
    partition: String,
    region: String,
    account: String,
    epoch: u32,
    check: String,
    roots: Vec<Hung>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    former: Option<Former>,
    /// Of the document that it was read from.
    #[serde(skip)]
    revision: u64,
}

/// One root, and the domain key as it wrapped it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Hung {
    root: RootKind,
    provider_info: String,
    wrapped_domain_key: String,
}

/// The domain key before.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Former {
    epoch: u32,
    sealed: String,
}

/// A record of layout 1.
#[derive(Deserialize)]
struct Layout1 {
    store_id: String,
    partition: String,
    region: String,
    account: String,
    #[serde(flatten)]
    root: Hung,
}

/// A store whose domain key is open.
#[derive(Debug)]
pub struct Opened {
    /// Partition, Region and account of the keys in the store.
    pub home: Home,
    /// Seals and opens its rows.
    pub rows: RowSealer,
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
        let mut record: Self = match layout {
            Some(1) => serde_json::from_value::<Layout1>(value)
                .map_err(damaged)?
                .into(),
            Some(LAYOUT) => serde_json::from_value(value).map_err(damaged)?,
            Some(found) => return Err(RootError::Newer { found }),
            None => return Err(RootError::Damaged("there is no layout number".to_owned())),
        };
        if record.roots.is_empty() {
            return Err(RootError::Damaged("it names no root".to_owned()));
        }
        record.revision = document.revision;
        Ok(Some(record))
    }

    fn present(store: &dyn Store) -> Result<Self, RootError> {
        let missing = || RootError::Damaged("there is no root record".to_owned());
        Self::read(store)?.ok_or_else(missing)
    }

    /// An id for a store that is made.
    ///
    /// # Errors
    /// [`RootError::Keyring`] when there is no randomness.
    pub fn new_store_id(entropy: &dyn Entropy) -> Result<[u8; 16], RootError> {
        random::array(entropy).map_err(no_entropy)
    }

    /// Makes a domain key for an empty store, has each root wrap it, and writes the record.
    ///
    /// # Errors
    /// [`RootError::Store`] with a conflict when somebody else was first.
    pub fn create(
        store: &dyn Store,
        home: &Home,
        store_id: [u8; 16],
        roots: &[Root],
        entropy: &dyn Entropy,
    ) -> Result<Self, RootError> {
        let mut record = Self {
            layout: LAYOUT,
            store_id: hex::encode(store_id),
            partition: home.partition.clone(),
            region: home.region.clone(),
            account: home.account.clone(),
            epoch: FIRST_EPOCH,
            check: String::new(),
            roots: Vec::new(),
            former: None,
            revision: 0,
        };
        let label = || "the domain key".to_owned();
        let domain_key = fresh_data_key(DOMAIN_KEY_BYTES, entropy, label)?;
        record.check = record.check_of(&domain_key)?;
        for root in roots {
            record.hang(root, &domain_key)?;
        }
        record.write(store)
    }

    /// How the roots are found, in the order they were added.
    pub fn kinds(&self) -> impl Iterator<Item = &RootKind> {
        self.roots.iter().map(|hung| &hung.root)
    }

    /// The epochs of the domain keys: that which seals, and the one before while rows are sealed anew.
    pub fn epochs(&self) -> (u32, Option<u32>) {
        (self.epoch, self.former.as_ref().map(|former| former.epoch))
    }

    /// Hangs the store from one more root. `by` opens it now.
    ///
    /// # Errors
    /// As [`RootRecord::open`]; [`RootError::Twice`], [`RootError::TooMany`]; [`RootError::Store`] with a
    /// conflict when somebody else changed the record meanwhile. The store then hangs from what it
    /// hung from.
    pub fn add(store: &dyn Store, by: &Root, new: &Root) -> Result<Self, RootError> {
        let mut record = Self::present(store)?;
        let domain_key = record.domain_key(by)?;
        record.renew(by, &domain_key)?;
        record.hang(new, &domain_key)?;
        record.write(store)
    }

    /// Lets go of a root: what it is does not open the store any more. `by` is another one, and opens
    /// it.
    ///
    /// # Errors
    /// As [`RootRecord::add`]; [`RootError::Last`].
    pub fn remove(store: &dyn Store, by: &Root, gone: &RootKind) -> Result<Self, RootError> {
        let mut record = Self::present(store)?;
        if by.kind == *gone {
            return Err(RootError::Last);
        }
        let domain_key = record.domain_key(by)?;
        record.renew(by, &domain_key)?;
        record.roots.retain(|hung| hung.root != *gone);
        record.write(store)
    }

    /// Hangs the store from other roots alone. Whoever has it open goes on as before.
    ///
    /// # Errors
    /// As [`RootRecord::add`].
    pub fn replace(store: &dyn Store, by: &Root, roots: &[Root]) -> Result<Self, RootError> {
        let mut record = Self::present(store)?;
        let domain_key = record.domain_key(by)?;
        record.layout = LAYOUT;
        record.check = record.check_of(&domain_key)?;
        record.roots.clear();
        for root in roots {
            record.hang(root, &domain_key)?;
        }
        record.write(store)
    }

    /// Puts a new root in the place of `gone`, which may be of the same kind.
    ///
    /// # Errors
    /// As [`RootRecord::add`].
    pub fn exchange(
        store: &dyn Store,
        by: &Root,
        gone: &RootKind,
        new: &Root,
    ) -> Result<Self, RootError> {
        let mut record = Self::present(store)?;
        let domain_key = record.domain_key(by)?;
        record.renew(by, &domain_key)?;
        let place = record.roots.iter().position(|hung| hung.root == *gone);
        let Some(place) = place else {
            return Err(gone.wrong());
        };
        record.roots.remove(place);
        record.hang(new, &domain_key)?;
        record.roots[place..].rotate_right(1);
        record.write(store)
    }

    /// A record with a new domain key, which opens rows of the one before as well. It is not written:
    /// [`Engine::begin_epoch`](crate::engine::Engine::begin_epoch) does. Every root is needed, to wrap it.
    ///
    /// # Errors
    /// As [`RootRecord::add`]; [`RootError::Missing`] names a root that is not among `roots`,
    /// [`RootError::Rotating`] when rows are being sealed anew.
    pub fn next_epoch(
        store: &dyn Store,
        roots: &[Root],
        entropy: &dyn Entropy,
    ) -> Result<Self, RootError> {
        let mut record = Self::present(store)?;
        if record.former.is_some() {
            return Err(RootError::Rotating);
        }
        let is_missing = |kind: &&RootKind| !roots.iter().any(|root| root.kind == **kind);
        if let Some(missing) = record.kinds().find(is_missing) {
            return Err(RootError::Missing(missing.clone()));
        }
        let Some(first) = roots.first() else {
            return Err(RootError::Last);
        };
        let (old_key, old_epoch) = (record.domain_key(first)?, record.epoch);
        let new_key = fresh_data_key(DOMAIN_KEY_BYTES, entropy, || "the domain key".to_owned())?;
        record.layout = LAYOUT;
        record.epoch = old_epoch.checked_add(1).ok_or(RootError::TooMany)?;
        record.check = record.check_of(&new_key)?;
        let order: Vec<RootKind> = record.kinds().cloned().collect();
        record.roots.clear();
        for kind in &order {
            if let Some(root) = roots.iter().find(|root| root.kind == *kind) {
                record.hang(root, &new_key)?;
            }
        }
        let key = SecretBytes::copy_of(new_key.expose());
        let epoch = record.epoch;
        let sealed = RowSealer::of(DomainKey { epoch, key }, record.store_id()?)
            .seal(FORMER_ROW, old_epoch.into(), old_key.expose(), entropy)
            .map_err(|error| RootError::Damaged(error.to_string()))?;
        record.former = Some(Former {
            epoch: old_epoch,
            sealed: hex::encode(sealed),
        });
        Ok(record)
    }

    /// Lets go of the domain key before.
    ///
    /// # Errors
    /// [`RootError::Store`].
    pub fn forget_former(store: &dyn Store) -> Result<Self, RootError> {
        let mut record = Self::present(store)?;
        record.former = None;
        record.write(store)
    }

    /// Opens the store.
    ///
    /// # Errors
    /// [`RootError::WrongKey`] for another root key and for a record that was altered alike.
    pub fn open(&self, by: &Root) -> Result<Opened, RootError> {
        let store_id = self.store_id()?;
        let key = self.domain_key(by)?.into_secret();
        let epoch = self.epoch;
        let mut rows = RowSealer::of(DomainKey { epoch, key }, store_id);
        if let Some(Former { epoch, sealed }) = &self.former {
            let damaged = |error: &dyn std::fmt::Display| RootError::Damaged(error.to_string());
            let row = Document {
                key: FORMER_ROW.to_owned(),
                revision: (*epoch).into(),
                body: hex::decode(sealed).map_err(|error| damaged(&error))?,
            };
            let (epoch, key) = (*epoch, rows.open(&row).map_err(|error| damaged(&error))?);
            rows = rows.knowing(DomainKey { epoch, key });
        }
        Ok(Opened {
            home: Home {
                partition: self.partition.clone(),
                region: self.region.clone(),
                account: self.account.clone(),
            },
            rows,
        })
    }

    /// Which store it is.
    ///
    /// # Errors
    /// [`RootError::Damaged`] when it has not 16 bytes.
    pub fn store_id(&self) -> Result<[u8; 16], RootError> {
        let mut store_id = [0; 16];
        hex::decode_to_slice(&self.store_id, &mut store_id)
            .map_err(|_| RootError::Damaged("the store id has not 16 bytes".to_owned()))?;
        Ok(store_id)
    }

    /// The known answer of a domain key.
    fn check_of(&self, domain_key: &DataKey) -> Result<String, RootError> {
        let mut check = [0; CHECK_BYTES];
        let parts = [&self.store_id()?[..], &self.epoch.to_be_bytes()];
        kdf::sp800_108(domain_key.expose(), CHECK_LABEL, &parts, &mut check)
            .map_err(|error| RootError::Damaged(error.to_string()))?;
        Ok(hex::encode(check))
    }

    /// Has `root` wrap the domain key, and opens it once more: what cannot be opened again is not
    /// written.
    fn hang(&mut self, root: &Root, domain_key: &DataKey) -> Result<(), RootError> {
        if self.kinds().any(|kind| *kind == root.kind) {
            return Err(RootError::Twice(root.kind.clone()));
        }
        if self.roots.len() >= ROOTS_MAX {
            return Err(RootError::TooMany);
        }
        let hung = self.wrapped(root, domain_key)?;
        self.roots.push(hung);
        let opened = self.domain_key(root)?.into_secret();
        match opened.ct_eq(domain_key.expose()) {
            true => Ok(()),
            false => Err(root.kind.wrong()),
        }
    }

    fn wrapped(&self, root: &Root, domain_key: &DataKey) -> Result<Hung, RootError> {
        let context = self.context(&root.kind)?;
        let wrapped = pollster::block_on(root.keyring.wrap(domain_key, &context))?;
        let wrapped = wrapped.into_iter().next();
        let wrapped = wrapped
            .ok_or_else(|| RootError::Damaged("the root keyring wrapped nothing".to_owned()))?;
        Ok(Hung {
            root: root.kind.clone(),
            provider_info: hex::encode(wrapped.provider_info),
            wrapped_domain_key: hex::encode(wrapped.ciphertext),
        })
    }

    /// Brings a record of layout 1 to the layout of today: its one root wraps the domain key anew.
    fn renew(&mut self, by: &Root, domain_key: &DataKey) -> Result<(), RootError> {
        if self.layout != LAYOUT {
            self.layout = LAYOUT;
            self.check = self.check_of(domain_key)?;
            self.roots.clear();
            self.hang(by, domain_key)?;
        }
        Ok(())
    }

    /// Writes it where it was read from.
    ///
    /// # Errors
    /// [`RootError::Store`] with a conflict when somebody else wrote meanwhile.
    pub(crate) fn write(mut self, store: &dyn Store) -> Result<Self, RootError> {
        let expect = match self.revision {
            0 => Expect::Absent,
            read => Expect::Revision(read),
        };
        let body =
            serde_json::to_vec(&self).map_err(|error| RootError::Damaged(error.to_string()))?;
        let mut batch = Batch::new();
        batch.put(ROOT_DOCUMENT, expect, body);
        store.commit(&batch)?;
        self.revision += 1;
        Ok(self)
    }

    fn domain_key(&self, by: &Root) -> Result<DataKey, RootError> {
        let wrong = || by.kind.wrong();
        let hung = self.roots.iter().find(|hung| hung.root == by.kind);
        let hung = hung.ok_or_else(wrong)?;
        let bytes =
            |text: &str| hex::decode(text).map_err(|error| RootError::Damaged(error.to_string()));
        let encrypted = EncryptedDataKey {
            provider_id: by.kind.provider_id().to_owned(),
            provider_info: bytes(&hung.provider_info)?,
            ciphertext: bytes(&hung.wrapped_domain_key)?,
        };
        let context = self.context(&by.kind)?;
        match pollster::block_on(by.keyring.unwrap(&encrypted, &context)) {
            Ok(Unwrapped::Key(key))
                if key.len() == DOMAIN_KEY_BYTES
                    && (self.layout == 1 || self.check_of(&key)? == self.check) =>
            {
                Ok(key)
            }
            Ok(_) | Err(KeyringError::Unauthentic { .. }) => Err(wrong()),
            Err(error) => Err(error.into()),
        }
    }

    /// What a root's wrapped key is bound to: everything that the record says of the store and of it.
    fn context(&self, root: &RootKind) -> Result<EncryptionContext, RootError> {
        let damaged = |error: String| RootError::Damaged(error);
        let root = serde_json::to_string(root).map_err(|error| damaged(error.to_string()))?;
        let (layout, epoch) = (self.layout.to_string(), self.epoch.to_string());
        let mut pairs = vec![
            ("purpose", "waxseal-kms domain key"),
            ("layout", &layout),
            ("store-id", &self.store_id),
            ("partition", &self.partition),
            ("region", &self.region),
            ("account", &self.account),
            ("root", &root),
        ];
        if self.layout > 1 {
            pairs.push(("epoch", &epoch));
        }
        let mut context = EncryptionContext::new();
        for (name, value) in pairs {
            context
                .insert(name, value)
                .map_err(|error| damaged(error.to_string()))?;
        }
        Ok(context)
    }
}

impl From<Layout1> for RootRecord {
    fn from(old: Layout1) -> Self {
        Self {
            layout: 1,
            store_id: old.store_id,
            partition: old.partition,
            region: old.region,
            account: old.account,
            epoch: FIRST_EPOCH,
            check: String::new(),
            roots: vec![old.root],
            former: None,
            revision: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::PROVIDER_ROOT;
    use super::*;
    use crate::store::{MemoryStore, StoreError};
    use std::sync::Arc;
    use waxseal_core::Keyring;
    use waxseal_core::crypto::password::PasswordParams;
    use waxseal_core::crypto::random::SystemEntropy;
    use waxseal_core::keyring::{BoxFuture, Generated};

    fn home() -> Home {
        Home {
            partition: "aws".into(),
            region: "local".into(),
            account: "000000000000".into(),
        }
    }

    fn root(kind: RootKind, byte: u8) -> Root {
        let key = SecretBytes::new(vec![byte; 32]);
        let keyring = kind.keyring(&key, Arc::new(SystemEntropy)).unwrap();
        let keyring = Box::new(keyring);
        Root { kind, keyring }
    }

    fn file(byte: u8) -> Root {
        root(RootKind::File, byte)
    }

    fn passphrase(byte: u8) -> Root {
        let params = PasswordParams::recommended([7; 16]);
        root(RootKind::passphrase(&params), byte)
    }

    fn create(store: &MemoryStore, roots: &[Root]) -> Result<RootRecord, RootError> {
        RootRecord::create(store, &home(), [3; 16], roots, &SystemEntropy)
    }

    fn read(store: &MemoryStore) -> RootRecord {
        RootRecord::read(store).unwrap().unwrap()
    }

    fn is_wrong<T>(result: Result<T, RootError>) -> bool {
        matches!(result, Err(RootError::WrongKey(_)))
    }

    #[test]
    fn a_root_opens_with_its_key_and_unaltered_only() {
        let store = MemoryStore::new();
        assert!(RootRecord::read(&store).unwrap().is_none());
        create(&store, &[file(1)]).unwrap();
        let record = read(&store);
        assert_eq!(record.open(&file(1)).unwrap().home, home());
        assert!(is_wrong(record.open(&file(2))));
        for alter in [
            |record: &mut RootRecord| record.account = "111111111111".into(),
            |record: &mut RootRecord| record.region = "eu-west-1".into(),
            |record: &mut RootRecord| record.store_id = "00".repeat(16),
            |record: &mut RootRecord| record.epoch = 2,
        ] {
            let mut altered = record.clone();
            alter(&mut altered);
            assert!(is_wrong(altered.open(&file(1))));
        }
    }

    /// A device that opens to other bytes than it wrapped.
    struct Liar;

    impl Keyring for Liar {
        fn generate<'a>(
            &'a self,
            _: usize,
            _: &'a EncryptionContext,
        ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
            unreachable!("the domain key is made here")
        }

        fn wrap<'a>(
            &'a self,
            key: &'a DataKey,
            _: &'a EncryptionContext,
        ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>> {
            let wrapped = EncryptedDataKey {
                provider_id: PROVIDER_ROOT.to_owned(),
                provider_info: Vec::new(),
                ciphertext: key.expose().to_vec(),
            };
            Box::pin(async move { Ok(vec![wrapped]) })
        }

        fn unwrap<'a>(
            &'a self,
            encrypted: &'a EncryptedDataKey,
            _: &'a EncryptionContext,
        ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>> {
            let mut key = SecretBytes::copy_of(&encrypted.ciphertext);
            key.expose_mut()[31] ^= 1;
            Box::pin(async move { Ok(Unwrapped::Key(DataKey::new(key))) })
        }
    }

    #[test]
    fn what_a_root_opens_is_compared_with_the_known_answer() {
        let store = MemoryStore::new();
        let liar = || Root {
            kind: RootKind::Kms { key: "k".into() },
            keyring: Box::new(Liar),
        };
        assert!(is_wrong(create(&store, &[liar()])));
        create(&store, &[file(1)]).unwrap();
        assert!(is_wrong(RootRecord::add(&store, &file(1), &liar())));
        let mut record = read(&store);
        record.check = "00".repeat(16);
        assert!(is_wrong(record.open(&file(1))));
    }

    #[test]
    fn each_of_several_roots_opens_the_same_rows() {
        let store = MemoryStore::new();
        let before = create(&store, &[file(1)]).unwrap().open(&file(1)).unwrap();
        assert!(is_wrong(RootRecord::add(&store, &file(3), &passphrase(2))));
        RootRecord::add(&store, &file(1), &passphrase(2)).unwrap();
        let record = read(&store);
        assert_eq!(record.kinds().count(), 2);
        let sealed = before.rows.seal("k", 1, b"row", &SystemEntropy).unwrap();
        let document = Document {
            key: "k".to_owned(),
            revision: 1,
            body: sealed,
        };
        for root in [file(1), passphrase(2)] {
            let after = record.open(&root).unwrap();
            assert_eq!(after.rows.open(&document).unwrap().expose(), b"row");
        }
        // What one root wrapped is not taken for what another one did.
        let mut swapped = record.clone();
        let first = swapped.roots[0].wrapped_domain_key.clone();
        swapped.roots[1].wrapped_domain_key = first;
        assert!(is_wrong(swapped.open(&root(passphrase(1).kind, 1))));
        assert!(matches!(
            RootRecord::add(&store, &file(1), &file(4)),
            Err(RootError::Twice(RootKind::File))
        ));
    }

    #[test]
    fn a_root_that_was_removed_opens_nothing_and_the_last_one_stays() {
        let store = MemoryStore::new();
        create(&store, &[file(1), passphrase(2)]).unwrap();
        let remove = |by: &Root, gone| RootRecord::remove(&store, by, gone);
        assert!(is_wrong(remove(&passphrase(3), &RootKind::File)));
        remove(&passphrase(2), &RootKind::File).unwrap();
        assert!(is_wrong(read(&store).open(&file(1))));
        assert!(matches!(
            remove(&passphrase(2), &passphrase(2).kind),
            Err(RootError::Last)
        ));
        read(&store).open(&passphrase(2)).unwrap();
    }

    #[test]
    fn a_store_hangs_from_the_root_key_it_was_migrated_to_and_from_no_other() {
        let store = MemoryStore::new();
        create(&store, &[file(1)]).unwrap();
        let migrate = |from: &Root| RootRecord::replace(&store, from, &[passphrase(2)]);
        assert!(is_wrong(migrate(&file(3))));
        migrate(&file(1)).unwrap();
        let record = read(&store);
        assert_eq!(record.kinds().collect::<Vec<_>>(), [&passphrase(2).kind]);
        record.open(&passphrase(2)).unwrap();
        assert!(is_wrong(record.open(&file(1))));
        assert!(is_wrong(migrate(&file(1))));
    }

    /// As version 0.1 wrote it, under the key of 32 bytes 01.
    #[test]
    fn layout_1_is_read_and_becomes_layout_2() {
        let store = MemoryStore::new();
        let mut old = create(&MemoryStore::new(), &[file(1)]).unwrap();
        old.layout = 1;
        let key = DataKey::new(SecretBytes::new(vec![5; 32]));
        old.roots = vec![old.wrapped(&file(1), &key).unwrap()];
        let mut body = serde_json::to_value(&old).unwrap();
        let members = body.as_object_mut().unwrap();
        members.remove("epoch");
        members.remove("check");
        let roots = members.remove("roots").unwrap();
        members.append(&mut roots[0].as_object().unwrap().clone());
        let mut batch = Batch::new();
        batch.put(ROOT_DOCUMENT, Expect::Absent, body.to_string());
        store.commit(&batch).unwrap();

        let opened = |root: &Root| read(&store).domain_key(root).unwrap().into_secret();
        assert_eq!(read(&store).layout, 1);
        assert!(opened(&file(1)).ct_eq(key.expose()));
        RootRecord::add(&store, &file(1), &passphrase(2)).unwrap();
        assert_eq!(read(&store).layout, 2);
        assert!(opened(&file(1)).ct_eq(key.expose()));
        assert!(opened(&passphrase(2)).ct_eq(key.expose()));
    }

    #[test]
    fn a_new_domain_key_opens_what_the_one_before_sealed_until_that_is_let_go() {
        let store = MemoryStore::new();
        let old = create(&store, &[file(1), passphrase(2)])
            .unwrap()
            .open(&file(1))
            .unwrap();
        let row = |body| Document {
            key: "k".to_owned(),
            revision: 1,
            body,
        };
        let sealed = old.rows.seal("k", 1, b"old", &SystemEntropy).unwrap();
        let next = |roots: &[Root]| RootRecord::next_epoch(&store, roots, &SystemEntropy);
        assert!(matches!(next(&[file(1)]), Err(RootError::Missing(_))));
        assert!(is_wrong(next(&[file(3), passphrase(2)])));
        let next_record = next(&[passphrase(2), file(1)]).unwrap();
        assert_eq!(read(&store).epochs(), (1, None));
        next_record.write(&store).unwrap();
        assert!(matches!(
            next(&[file(1), passphrase(2)]),
            Err(RootError::Rotating)
        ));
        let record = read(&store);
        assert_eq!(record.epochs(), (2, Some(1)));
        assert_eq!(record.kinds().next(), Some(&RootKind::File));
        let mut resealed = Vec::new();
        for root in [file(1), passphrase(2)] {
            let new = record.open(&root).unwrap();
            assert_eq!(
                new.rows.open(&row(sealed.clone())).unwrap().expose(),
                b"old"
            );
            resealed = new.rows.seal("k", 1, b"new", &SystemEntropy).unwrap();
        }
        // A root may come while both are there.
        RootRecord::exchange(&store, &file(1), &RootKind::File, &file(9)).unwrap();
        RootRecord::forget_former(&store).unwrap();
        let record = read(&store);
        assert_eq!(record.epochs(), (2, None));
        assert!(is_wrong(record.open(&file(1))));
        let new = record.open(&file(9)).unwrap();
        assert!(new.rows.open(&row(sealed)).is_err());
        assert_eq!(new.rows.open(&row(resealed)).unwrap().expose(), b"new");
    }

    #[test]
    fn two_root_records_for_one_store_are_refused() {
        let store = MemoryStore::new();
        create(&store, &[file(1)]).unwrap();
        assert!(matches!(
            create(&store, &[file(1)]),
            Err(RootError::Store(StoreError::Conflict { .. }))
        ));
    }

    #[test]
    fn a_newer_layout_is_refused() {
        let store = MemoryStore::new();
        let mut batch = Batch::new();
        batch.put(ROOT_DOCUMENT, Expect::Absent, br#"{"layout":3}"#.to_vec());
        store.commit(&batch).unwrap();
        assert!(matches!(
            RootRecord::read(&store),
            Err(RootError::Newer { found: 3 })
        ));
    }
}
