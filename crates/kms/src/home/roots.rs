//! The roots of a home: reached, made, added, removed.
//!
//! Of several roots the first that opens the store is taken. Those that can be tried without asking
//! anybody come first, in the order they were added; somebody is asked for the others only then.

use super::{HomeError, STORE_FILE, lock, make_directory};
use crate::engine::{By, Engine, Reopen};
use crate::files::sync_directory;
use crate::root::{
    Opened, Root, RootError, RootKind, RootRecord, RootShare, combine_shares, make_shares,
};
use crate::seal::RowSealer;
use crate::store::{SqliteStore, Store};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use waxseal_core::SecretBytes;
use waxseal_core::arn::Home;
use waxseal_core::crypto::password::PasswordParams;
use waxseal_core::crypto::random::{self, Entropy};
use waxseal_core::keyring::RawAesKeyring;

const ROOT_KEY_BYTES: usize = 32;
const ROOT_KEY_FILE: &str = "root.key";
/// A root key file that the store hangs from, or is about to, and that has not its name yet.
const NEXT_KEY_FILE: &str = "root.key.next";

/// What a store is to hang from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// 32 bytes in `root.key`, which are made unless they are there.
    File,
    /// A passphrase.
    Passphrase,
    /// A key that is split into shares.
    Shares {
        /// How many make it again.
        need: u8,
        /// How many there are.
        of: u8,
    },
    /// A key in a device or another KMS, named as whoever reaches it spells it.
    Elsewhere(String),
}

/// Root keys as those who run this program configured them.
pub trait RootSource: Send + Sync {
    /// What a home that is made now hangs from: one root at least.
    fn wanted(&self) -> Vec<Wanted>;

    /// Whether a root that is no file can be tried without asking anybody.
    fn is_at_hand(&self, root: &RootKind) -> bool;

    /// The passphrase; `new` when it is being chosen and should be asked for twice.
    ///
    /// # Errors
    /// A sentence that says why there is none.
    fn passphrase(&self, new: bool) -> Result<SecretBytes, String>;

    /// Shares of which `need` make the root key, as those who keep them give them.
    ///
    /// # Errors
    /// A sentence that says why there are none.
    fn shares(&self, need: u8) -> Result<Vec<RootShare>, String> {
        Err(format!("{need} shares are needed, and nobody gives them"))
    }

    /// Hands new shares out. They are nowhere else.
    ///
    /// # Errors
    /// A sentence that says why it cannot.
    fn hand_out(&self, shares: &[SecretBytes]) -> Result<(), String> {
        Err(format!(
            "there is nobody to give {} shares to",
            shares.len()
        ))
    }

    /// The root elsewhere that a store hangs from.
    ///
    /// # Errors
    /// A sentence that says why it cannot be used.
    fn reach(&self, root: &RootKind) -> Result<Root, String> {
        Err(format!(
            "the store hangs from {root}, which is not configured"
        ))
    }

    /// The root elsewhere of this name, for a store to hang from; a key that is not in a device yet is
    /// made there.
    ///
    /// # Errors
    /// A sentence that says why it cannot be used.
    fn make(&self, name: &str) -> Result<Root, String> {
        Err(format!("{name} cannot be reached"))
    }
}

/// A root key file, and nothing else.
#[derive(Debug, Clone, Copy)]
pub struct FileRoot;

impl RootSource for FileRoot {
    fn wanted(&self) -> Vec<Wanted> {
        vec![Wanted::File]
    }

    fn is_at_hand(&self, _: &RootKind) -> bool {
        false
    }

    fn passphrase(&self, _: bool) -> Result<SecretBytes, String> {
        Err("there is none".to_owned())
    }
}

/// What came of trying one root of a store.
#[derive(Debug)]
pub struct Tried {
    /// Which one.
    pub root: RootKind,
    /// `None`: it was not tried, since somebody would have to be asked for it.
    pub outcome: Option<Result<(), HomeError>>,
}

/// The roots of one home, as this process can reach them.
pub(super) struct Roots {
    directory: PathBuf,
    source: Arc<dyn RootSource>,
    entropy: Arc<dyn Entropy>,
    /// Those that somebody was asked for: nobody is asked twice.
    typed: Mutex<Vec<Typed>>,
}

/// A root whose key somebody gave.
#[derive(Clone)]
struct Typed {
    kind: RootKind,
    keyring: Arc<RawAesKeyring>,
}

impl Typed {
    fn root(&self) -> Root {
        Root {
            kind: self.kind.clone(),
            keyring: Box::new(self.keyring.clone()),
        }
    }
}

impl Roots {
    pub(super) fn new(
        directory: &Path,
        source: Arc<dyn RootSource>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self {
            directory: directory.to_owned(),
            source,
            entropy,
            typed: Mutex::default(),
        }
    }

    /// Opens the store with the first root that does.
    pub(super) fn open(&self, record: &RootRecord) -> Result<(Root, Opened), HomeError> {
        self.open_by(record, &self.in_order(record))
    }

    /// The same with these roots alone.
    fn open_by(
        &self,
        record: &RootRecord,
        kinds: &[&RootKind],
    ) -> Result<(Root, Opened), HomeError> {
        let mut failures = Vec::new();
        for kind in kinds {
            match self.open_with(record, kind) {
                Ok(opened) => return Ok(opened),
                Err(error) => failures.push(((*kind).clone(), error)),
            }
        }
        match (failures.len(), failures.pop()) {
            (1, Some((_, error))) => Err(error),
            (_, Some(last)) => {
                failures.push(last);
                Err(HomeError::NoRoot(failures))
            }
            (_, None) => Err(RootError::Last.into()),
        }
    }

    fn open_with(&self, record: &RootRecord, kind: &RootKind) -> Result<(Root, Opened), HomeError> {
        let root = self.reach(record, kind)?;
        match record.open(&root) {
            Ok(opened) => Ok((root, opened)),
            Err(error) => {
                self.typed().retain(|typed| typed.kind != *kind);
                // The process that changed the root key file may have ended before it had its name.
                let next = self.directory.join(NEXT_KEY_FILE);
                if *kind != RootKind::File || !next.exists() {
                    return Err(error.into());
                }
                let root = self.root(RootKind::File, &read_root_key(&next)?)?;
                let opened = record.open(&root)?;
                self.rename_next()?;
                Ok((root, opened))
            }
        }
    }

    /// Those that need nobody to be asked come first, and of them those that take the least time.
    fn in_order<'r>(&self, record: &'r RootRecord) -> Vec<&'r RootKind> {
        let mut kinds: Vec<&RootKind> = record.kinds().collect();
        kinds.sort_by_key(|kind| match kind {
            kind if !self.is_at_hand(kind) => 2,
            RootKind::Passphrase { .. } => 1,
            _ => 0,
        });
        kinds
    }

    fn is_at_hand(&self, kind: &RootKind) -> bool {
        *kind == RootKind::File || self.source.is_at_hand(kind)
    }

    fn typed(&self) -> MutexGuard<'_, Vec<Typed>> {
        self.typed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the home that is wanted. Under the lock: of several processes that find it empty one
    /// makes it, the others find it made.
    pub(super) fn open_or_create(
        &self,
        store: &SqliteStore,
        place: &Home,
    ) -> Result<(Root, Opened), HomeError> {
        let _lock = lock(&self.directory)?;
        if let Some(record) = RootRecord::read(store)? {
            return self.open(&record);
        }
        let id = RootRecord::new_store_id(self.entropy.as_ref())?;
        let mut roots = self.make_all(&self.source.wanted(), id)?;
        let record = RootRecord::create(store, place, id, &roots, self.entropy.as_ref())?;
        let first = roots.swap_remove(0);
        let opened = record.open(&first)?;
        Ok((first, opened))
    }

    fn make_all(&self, wanted: &[Wanted], store_id: [u8; 16]) -> Result<Vec<Root>, HomeError> {
        if wanted.is_empty() {
            return Err(RootError::Last.into());
        }
        wanted.iter().map(|one| self.make(one, store_id)).collect()
    }

    /// A root key that is there or is made. Shares are handed out before the store hangs from them: what
    /// ends early leaves shares of nothing, and not a store that nobody can open.
    fn make(&self, wanted: &Wanted, store_id: [u8; 16]) -> Result<Root, HomeError> {
        let no_entropy = |_| self.no_entropy();
        match wanted {
            Wanted::File => {
                let path = self.directory.join(ROOT_KEY_FILE);
                if !path.exists() {
                    let mut key = SecretBytes::zeroed(ROOT_KEY_BYTES);
                    self.entropy.fill(key.expose_mut()).map_err(no_entropy)?;
                    write_secret(&self.directory, &path, &key)?;
                }
                self.root(RootKind::File, &read_root_key(&path)?)
            }
            Wanted::Passphrase => {
                let salt = random::array(self.entropy.as_ref()).map_err(no_entropy)?;
                let params = PasswordParams::recommended(salt);
                let passphrase = self.source.passphrase(true);
                let passphrase = passphrase.map_err(HomeError::NoPassphrase)?;
                let key = params.derive(&passphrase)?;
                self.root(RootKind::passphrase(&params), &key)
            }
            Wanted::Shares { need, of } => {
                let made = make_shares(store_id, *need, *of, self.entropy.as_ref())?;
                let (kind, key, shares) = made;
                let root = self.root(kind, &key)?;
                self.source.hand_out(&shares).map_err(HomeError::NoShares)?;
                Ok(root)
            }
            Wanted::Elsewhere(name) => self.source.make(name).map_err(HomeError::Elsewhere),
        }
    }

    /// A root that a store hangs from.
    fn reach(&self, record: &RootRecord, kind: &RootKind) -> Result<Root, HomeError> {
        if let Some(typed) = self.typed().iter().find(|typed| typed.kind == *kind) {
            return Ok(typed.root());
        }
        let key = match kind {
            RootKind::Pkcs11 { .. } | RootKind::Kms { .. } => {
                return self.source.reach(kind).map_err(HomeError::Elsewhere);
            }
            RootKind::File => read_root_key(&self.directory.join(ROOT_KEY_FILE))?,
            RootKind::Passphrase { .. } => {
                let passphrase = self.source.passphrase(false);
                let passphrase = passphrase.map_err(HomeError::NoPassphrase)?;
                kind.password_params()?.derive(&passphrase)?
            }
            RootKind::Shares { need, .. } => {
                let given = self.source.shares(*need).map_err(HomeError::NoShares)?;
                combine_shares(kind, record.store_id()?, given)?
            }
        };
        if self.is_at_hand(kind) {
            return self.root(kind.clone(), &key);
        }
        let keyring = Arc::new(kind.keyring(&key, self.entropy.clone())?);
        let kind = kind.clone();
        let typed = Typed { kind, keyring };
        let root = typed.root();
        self.typed().push(typed);
        Ok(root)
    }

    /// Gives the new root key file its name.
    fn rename_next(&self) -> Result<(), HomeError> {
        let (next, path) = (
            self.directory.join(NEXT_KEY_FILE),
            self.directory.join(ROOT_KEY_FILE),
        );
        let renamed = std::fs::rename(&next, &path);
        renamed
            .and_then(|()| sync_directory(&self.directory))
            .map_err(|source| HomeError::Io { path, source })
    }

    /// A new root of the same kind as one there is.
    fn make_another(&self, kind: &RootKind, store_id: [u8; 16]) -> Result<Root, HomeError> {
        match kind {
            RootKind::File => {
                let path = self.directory.join(NEXT_KEY_FILE);
                let mut key = SecretBytes::zeroed(ROOT_KEY_BYTES);
                let filled = self.entropy.fill(key.expose_mut());
                filled.map_err(|_| self.no_entropy())?;
                write_secret(&self.directory, &path, &key)?;
                self.root(RootKind::File, &key)
            }
            RootKind::Passphrase { .. } => self.make(&Wanted::Passphrase, store_id),
            RootKind::Shares { need, of, .. } => {
                let (need, of) = (*need, *of);
                self.make(&Wanted::Shares { need, of }, store_id)
            }
            elsewhere => Err(HomeError::Elsewhere(format!(
                "a new key in place of {elsewhere} has another name: add it, then remove this one"
            ))),
        }
    }

    fn no_entropy(&self) -> HomeError {
        HomeError::Io {
            path: self.directory.clone(),
            source: std::io::Error::other("the operating system gave no random bytes"),
        }
    }

    fn root(&self, kind: RootKind, key: &SecretBytes) -> Result<Root, HomeError> {
        let keyring = Box::new(kind.keyring(key, self.entropy.clone())?);
        Ok(Root { kind, keyring })
    }
}

impl Roots {
    /// Gives the store its next domain key, unless that was begun already.
    pub(super) fn begin_epoch(&self, engine: &Engine) -> Result<(), HomeError> {
        let store = SqliteStore::open(&self.directory.join(STORE_FILE))?;
        let record = present(&store)?;
        if record.epochs().1.is_some() {
            return Ok(());
        }
        let mut roots = Vec::new();
        for kind in record.kinds() {
            let (root, _) = self.open_with(&record, kind)?;
            roots.push(root);
        }
        let next = RootRecord::next_epoch(&store, &roots, self.entropy.as_ref())?;
        Ok(engine.begin_epoch(next)?)
    }
}

impl std::fmt::Debug for Roots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Roots({})", self.directory.display())
    }
}

impl Reopen for Arc<Roots> {
    fn reopen(&self, store: &dyn Store, by: By) -> Result<RowSealer, String> {
        let reopened = || {
            let record = present(store)?;
            let mut kinds = self.in_order(&record);
            let typed: Vec<RootKind> = self
                .typed()
                .iter()
                .map(|typed| typed.kind.clone())
                .collect();
            kinds.retain(|kind| match typed.contains(kind) {
                // What is in memory proves nothing.
                true => by == By::Any,
                false => self.is_at_hand(kind),
            });
            self.open_by(&record, &kinds)
        };
        let (_, opened) = reopened().map_err(|error: HomeError| error.to_string())?;
        Ok(opened.rows)
    }
}

/// What a home hangs from; nothing where there is none yet. No key is needed.
///
/// # Errors
/// [`HomeError::Store`], [`HomeError::Root`].
pub fn roots_of(directory: &Path) -> Result<Vec<RootKind>, HomeError> {
    let path = directory.join(STORE_FILE);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let record = RootRecord::read(&SqliteStore::open(&path)?)?;
    Ok(record.iter().flat_map(RootRecord::kinds).cloned().collect())
}

/// Tries every root of a home that can be tried without asking anybody; when none of them opens it,
/// the others too, until one does.
///
/// # Errors
/// [`HomeError::Store`], [`HomeError::Root`]. What is wrong with a root is in its [`Tried`].
pub fn try_roots(
    directory: &Path,
    source: Arc<dyn RootSource>,
    entropy: Arc<dyn Entropy>,
) -> Result<Vec<Tried>, HomeError> {
    let record = present(&SqliteStore::open(&directory.join(STORE_FILE))?)?;
    let roots = Roots::new(directory, source, entropy);
    let mut opens = false;
    let mut outcomes = Vec::new();
    for kind in roots.in_order(&record) {
        let is_tried = roots.is_at_hand(kind) || !opens;
        let outcome = is_tried.then(|| roots.open_with(&record, kind).map(drop));
        opens |= matches!(outcome, Some(Ok(())));
        outcomes.push((kind, outcome));
    }
    let tried = record.kinds().map(|root| {
        let found = outcomes.iter_mut().find(|(kind, _)| *kind == root);
        Tried {
            root: root.clone(),
            outcome: found.and_then(|(_, outcome)| outcome.take()),
        }
    });
    Ok(tried.collect())
}

fn present(store: &dyn Store) -> Result<RootRecord, HomeError> {
    let missing = || RootError::Damaged("there is no root record".to_owned());
    Ok(RootRecord::read(store)?.ok_or_else(missing)?)
}

/// Makes the home in `directory`, which hangs from all of `wanted`.
///
/// # Errors
/// [`HomeError::Exists`] where there is one already; others as [`EmbeddedHome::open`](super::EmbeddedHome::open).
pub fn init(
    directory: &Path,
    place: &Home,
    source: Arc<dyn RootSource>,
    wanted: &[Wanted],
    entropy: Arc<dyn Entropy>,
) -> Result<Vec<RootKind>, HomeError> {
    make_directory(directory)?;
    let _lock = lock(directory)?;
    let store = SqliteStore::open(&directory.join(STORE_FILE))?;
    if RootRecord::read(&store)?.is_some() {
        return Err(HomeError::Exists(directory.to_owned()));
    }
    let id = RootRecord::new_store_id(entropy.as_ref())?;
    let made = Roots::new(directory, source, entropy.clone()).make_all(wanted, id)?;
    let record = RootRecord::create(&store, place, id, &made, entropy.as_ref())?;
    Ok(record.kinds().cloned().collect())
}

/// Hangs the home in `directory` from one more root. One that it hangs from opens it first.
///
/// # Errors
/// [`HomeError`]; the home then hangs from what it hung from.
pub fn add_root(
    directory: &Path,
    source: Arc<dyn RootSource>,
    wanted: &Wanted,
    entropy: Arc<dyn Entropy>,
) -> Result<RootKind, HomeError> {
    let _lock = lock(directory)?;
    let store = SqliteStore::open(&directory.join(STORE_FILE))?;
    let roots = Roots::new(directory, source, entropy);
    let record = present(&store)?;
    if *wanted == Wanted::File && record.kinds().any(|kind| *kind == RootKind::File) {
        return Err(RootError::Twice(RootKind::File).into());
    }
    let (by, _) = roots.open(&record)?;
    let new = roots.make(wanted, record.store_id()?)?;
    RootRecord::add(&store, &by, &new)?;
    Ok(new.kind)
}

/// Lets the home in `directory` hang from `gone` no more. Another root opens it first, or nothing is
/// changed; a root key file that is not needed any more is removed.
///
/// # Errors
/// [`HomeError`]; the home then hangs from what it hung from.
pub fn remove_root(
    directory: &Path,
    source: Arc<dyn RootSource>,
    gone: &RootKind,
    entropy: Arc<dyn Entropy>,
) -> Result<(), HomeError> {
    let _lock = lock(directory)?;
    let store = SqliteStore::open(&directory.join(STORE_FILE))?;
    let record = hung_from(&store, gone)?;
    let roots = Roots::new(directory, source, entropy);
    let mut others = roots.in_order(&record);
    others.retain(|kind| *kind != gone);
    let (by, _) = roots.open_by(&record, &others)?;
    RootRecord::remove(&store, &by, gone)?;
    forget_file(directory, &[gone], &[])
}

/// Hangs the home in `directory` from `wanted` alone. Processes that have it open go on as before; a
/// root key file that is not needed any more is removed.
///
/// # Errors
/// [`HomeError`]; the home then hangs from what it hung from.
pub fn migrate_root(
    directory: &Path,
    source: Arc<dyn RootSource>,
    wanted: &[Wanted],
    entropy: Arc<dyn Entropy>,
) -> Result<Vec<RootKind>, HomeError> {
    let _lock = lock(directory)?;
    let store = SqliteStore::open(&directory.join(STORE_FILE))?;
    let roots = Roots::new(directory, source, entropy);
    let old = present(&store)?;
    // One that it hangs from opens the store, or nothing is made.
    let (by, _) = roots.open(&old)?;
    let made = roots.make_all(wanted, old.store_id()?)?;
    let new = RootRecord::replace(&store, &by, &made)?;
    let kept: Vec<RootKind> = new.kinds().cloned().collect();
    forget_file(directory, &old.kinds().collect::<Vec<_>>(), &kept)?;
    Ok(kept)
}

/// Puts a new root key of the same kind in the place of one: another file, another passphrase, other
/// shares. Processes that have the home open go on as before.
///
/// # Errors
/// [`HomeError`]; the home then hangs from what it hung from.
pub fn exchange_root(
    directory: &Path,
    source: Arc<dyn RootSource>,
    gone: &RootKind,
    entropy: Arc<dyn Entropy>,
) -> Result<(), HomeError> {
    let _lock = lock(directory)?;
    let store = SqliteStore::open(&directory.join(STORE_FILE))?;
    let record = hung_from(&store, gone)?;
    let roots = Roots::new(directory, source, entropy);
    let (by, _) = roots.open(&record)?;
    let new = roots.make_another(gone, record.store_id()?)?;
    RootRecord::exchange(&store, &by, gone, &new)?;
    match gone {
        RootKind::File => roots.rename_next(),
        _ => Ok(()),
    }
}

/// The roots of a store, of which `kind` is one.
fn hung_from(store: &SqliteStore, kind: &RootKind) -> Result<RootRecord, HomeError> {
    let record = present(store)?;
    let is_one = record.kinds().any(|other| other == kind);
    is_one
        .then_some(record)
        .ok_or_else(|| HomeError::NoSuchRoot(kind.to_string()))
}

/// Removes the root key file of a home that hung from it and does not any more.
fn forget_file(directory: &Path, gone: &[&RootKind], kept: &[RootKind]) -> Result<(), HomeError> {
    if !gone.contains(&&RootKind::File) || kept.contains(&RootKind::File) {
        return Ok(());
    }
    let path = directory.join(ROOT_KEY_FILE);
    match std::fs::remove_file(&path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(HomeError::Io { path, source }),
        _ => Ok(()),
    }
}
fn read_root_key(path: &Path) -> Result<SecretBytes, HomeError> {
    let root_key = |what| HomeError::RootKey {
        path: path.to_owned(),
        what,
    };
    let io = |source| HomeError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(root_key("missing")),
        Err(error) => return Err(io(error)),
    };
    let metadata = file.metadata().map_err(io)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(HomeError::WeakMode {
            path: path.to_owned(),
            mode,
        });
    }
    if metadata.len() != ROOT_KEY_BYTES as u64 {
        return Err(root_key("not 32 bytes long"));
    }
    let mut key = SecretBytes::zeroed(ROOT_KEY_BYTES);
    file.read_exact(key.expose_mut()).map_err(io)?;
    Ok(key)
}

/// Writes a file that is complete and durable before it has its name.
fn write_secret(directory: &Path, path: &Path, secret: &SecretBytes) -> Result<(), HomeError> {
    let temporary = path.with_extension("new");
    let io = |source| HomeError::Io {
        path: temporary.clone(),
        source,
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(io)?;
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(io)?;
    file.write_all(secret.expose()).map_err(io)?;
    file.sync_all().map_err(io)?;
    std::fs::rename(&temporary, path).map_err(io)?;
    sync_directory(directory).map_err(io)
}
