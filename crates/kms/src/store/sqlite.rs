//! The embedded store: one SQLite file that several processes share.
//!
//! ```text
//! document   key TEXT | changed_at INTEGER | revision INTEGER | body BLOB
//!            the head of the store is the greatest changed_at; a deleted document stays as a row
//!            with revision 0 and without body, so that `watch` can name it
//! header     application_id 0x5761_7853 ("WaxS"), user_version 1
//! ```
//!
//! The file has mode 0600 before SQLite sees it; SQLite gives `-wal` and `-shm` the same mode. Beside
//! them `-mark` says whether anything was committed since somebody looked.
//! Commits are written ahead (`journal_mode=WAL`) and synced before they are answered
//! (`synchronous=FULL`); a process that dies in between leaves the commit whole or absent.
//! Readers see whole commits only.

use super::{
    Action, BODY_BYTES_MAX, Batch, Change, Changes, Document, Store, StoreError, validate_key,
    validate_prefix,
};
use crate::files::sync_directory;
use crate::turn::{STALL, Taken, Turn};
use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, TransactionBehavior};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Documents in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    inner: Turn<Inner>,
    looked: Looked,
}

impl SqliteStore {
    /// Opens the store at `path`, and makes it when nothing lies there. The folder must exist.
    ///
    /// # Errors
    /// [`StoreError::NotAStore`] and [`StoreError::NewerVersion`] leave the file as it is;
    /// [`StoreError::ReadOnly`] when the file cannot be written; [`StoreError::Busy`] when others
    /// keep it locked for five seconds.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        // Absolute, because SQLite reads names such as `file:x` and `:memory:` its own way.
        let path = std::path::absolute(path).map_err(|e| os_error(path, &e))?;
        create_file(&path)?;
        let connection = patiently(|| connect(&path))?;
        let looked = Looked::open(&with_suffix(&path, "-mark"))?;
        Ok(Self {
            looked,
            inner: Turn::new(Inner {
                connection,
                wal: with_suffix(&path, "-wal"),
                seen: None,
                wrote: false,
            }),
        })
    }

    /// The connection, unless another thread has waited with it for the disk for too long.
    fn inner(&self) -> Result<Taken<'_, Inner>, StoreError> {
        // A panic elsewhere cannot leave a transaction open: dropping one rolls it back.
        self.inner.take(INNER_WAIT_MAX).ok_or(StoreError::Stalled)
    }

    /// Writes a copy of everything as it is now to a new file.
    ///
    /// # Errors
    /// As the other methods; also when there is a file of that name.
    pub fn snapshot(&self, path: &Path) -> Result<(), StoreError> {
        let inner = self.inner()?;
        let copied = inner
            .connection
            .execute("VACUUM INTO ?1", [path.to_string_lossy().as_ref()]);
        copied.map(drop).map_err(translate)
    }

    /// Looks at every page and index.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when something does not fit.
    pub fn check_integrity(&self) -> Result<(), StoreError> {
        let inner = self.inner()?;
        let told: String = inner
            .connection
            .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
            .map_err(translate)?;
        match told.as_str() {
            "ok" => Ok(()),
            _ => Err(StoreError::Corrupt(told)),
        }
    }
}

impl Store for SqliteStore {
    fn get(&self, key: &str) -> Result<Option<Document>, StoreError> {
        validate_key(key)?;
        let inner = self.inner()?;
        patiently(|| inner.read(key))
    }

    fn scan(&self, prefix: &str) -> Result<Vec<Document>, StoreError> {
        validate_prefix(prefix)?;
        let inner = self.inner()?;
        patiently(|| inner.scan(prefix))
    }

    fn names(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        validate_prefix(prefix)?;
        let inner = self.inner()?;
        patiently(|| inner.names(prefix))
    }

    fn commit(&self, batch: &Batch) -> Result<u64, StoreError> {
        batch.validate()?;
        let mut inner = self.inner()?;
        if !batch.writes() {
            return patiently(|| inner.commit(batch));
        }
        self.looked.mark(UNDER_WAY)?;
        let committed = patiently(|| inner.commit(batch));
        // When this fails everybody goes on looking, which is right and slower.
        let _ = self.looked.mark(match &committed {
            Ok(head) => *head,
            Err(_) => self.looked.unused(),
        });
        committed
    }

    fn watch(&self, since: u64) -> Result<Changes, StoreError> {
        if self.looked.is_current(since)? {
            return Ok(Changes {
                head: since,
                keys: Vec::new(),
            });
        }
        let mut inner = self.inner()?;
        // Read before the look: a commit in between is marked later, and looked at again.
        let mark = self.looked.read()?;
        let changes = patiently(|| inner.watch(since))?;
        self.looked.at(mark, changes.head);
        Ok(changes)
    }

    fn is_stalled(&self) -> bool {
        self.inner.is_stalled()
    }

    /// Pages are overwritten as they are freed (`secure_delete`); the write-ahead log has them as they
    /// were, until it is moved into the file and cut off.
    fn scrub(&self) -> Result<bool, StoreError> {
        let inner = self.inner()?;
        let is_busy: i64 = inner
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .map_err(translate)?;
        Ok(is_busy == 0)
    }
}

/// What the last look at the store found, and whether it still holds.
///
/// Eight bytes in a file beside the store (`-mark`) change with every commit: whoever commits writes
/// [`UNDER_WAY`] before, and what was never there before the commit is answered. As long as they stay
/// the same there is nothing new of what was answered, and finding that out costs one read instead of
/// a question to SQLite, which takes locks. While a commit is under way, or its writer died, everybody
/// looks each time. The file is a hint, and never synced: the machine's next start finds no process
/// that relied on it.
#[derive(Debug)]
struct Looked {
    file: File,
    path: PathBuf,
    /// What the file said before the last look.
    mark: AtomicU64,
    /// What the look found.
    head: AtomicU64,
    begin: Instant,
    /// When the last look was, in milliseconds since `begin`.
    millis: AtomicU64,
}

/// After this long the store is looked at whatever the mark says: for a commit that was never
/// answered, because its writer died while another one marked its own.
const LOOK_MILLIS_MAX: u64 = 1_000;
/// No look yet: no store has so many commits.
const NEVER: u64 = u64::MAX;
/// A commit may be made at any moment.
const UNDER_WAY: u64 = u64::MAX - 1;

impl Looked {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.mode(0o600).open(path);
        Ok(Self {
            file: file.map_err(|error| os_error(path, &error))?,
            path: path.to_owned(),
            mark: AtomicU64::new(NEVER),
            head: AtomicU64::new(NEVER),
            begin: Instant::now(),
            millis: AtomicU64::new(0),
        })
    }

    /// Whether `since` is the head still, as far as anybody was told.
    fn is_current(&self, since: u64) -> Result<bool, StoreError> {
        let mark = self.mark.load(Ordering::Acquire);
        Ok(mark == self.read()?
            && mark != UNDER_WAY
            && self.head.load(Ordering::Acquire) == since
            && self
                .now()
                .saturating_sub(self.millis.load(Ordering::Relaxed))
                < LOOK_MILLIS_MAX)
    }

    fn read(&self) -> Result<u64, StoreError> {
        let mut bytes = [0; 8];
        match self.file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(u64::from_le_bytes(bytes)),
            // Nobody has committed since the file was made.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            Err(error) => Err(os_error(&self.path, &error)),
        }
    }

    fn at(&self, mark: u64, head: u64) {
        self.millis.store(self.now(), Ordering::Relaxed);
        self.head.store(head, Ordering::Release);
        self.mark.store(mark, Ordering::Release);
    }

    fn mark(&self, head: u64) -> Result<(), StoreError> {
        let written = self.file.write_all_at(&head.to_le_bytes(), 0);
        written.map_err(|error| os_error(&self.path, &error))
    }

    /// A mark that nobody wrote: no head is as great as the time in nanoseconds.
    fn unused(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(UNDER_WAY)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(NEVER)
    }
}

#[derive(Debug)]
struct Inner {
    connection: Connection,
    wal: PathBuf,
    seen: Option<Seen>,
    wrote: bool,
}

/// What the last look at the file found. While `data_version` stays the same, nobody else has
/// committed, and `head` is kept up to date by our own commits.
#[derive(Debug)]
struct Seen {
    data_version: i64,
    head: u64,
}

impl Inner {
    fn read(&self, key: &str) -> Result<Option<Document>, StoreError> {
        self.connection
            .prepare_cached(GET)
            .and_then(|mut get| get.query_row([key], |row| Ok(document(row))).optional())
            .map_err(translate)?
            .transpose()
    }

    fn scan(&self, prefix: &str) -> Result<Vec<Document>, StoreError> {
        let end = end_of(prefix);
        let mut scan = self.connection.prepare_cached(SCAN).map_err(translate)?;
        let mut rows = scan.query([prefix, end.as_str()]).map_err(translate)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(translate)? {
            found.push(document(row)?);
        }
        Ok(found)
    }

    fn names(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let end = end_of(prefix);
        let mut names = self.connection.prepare_cached(NAMES).map_err(translate)?;
        names
            .query_map([prefix, end.as_str()], |row| row.get(0))
            .and_then(Iterator::collect)
            .map_err(translate)
    }

    fn commit(&mut self, batch: &Batch) -> Result<u64, StoreError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(translate)?;
        let mut head = head(&transaction)?;
        if batch.writes() {
            head += 1;
        }
        for change in &batch.changes {
            apply(&transaction, change, head)?;
        }
        if !batch.writes() {
            return Ok(head);
        }
        self.wrote = true;
        transaction.commit().map_err(translate)?;
        if let Some(seen) = &mut self.seen {
            seen.head = head;
        }
        Ok(head)
    }

    fn watch(&mut self, since: u64) -> Result<Changes, StoreError> {
        let data_version = self
            .connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut pragma| pragma.query_row([], |row| row.get(0)))
            .map_err(translate)?;
        let current = matches!(&self.seen, Some(seen) if seen.data_version == data_version);
        if !current {
            // Read before the head: whoever commits in between is seen by the next look.
            let head = head(&self.connection)?;
            self.seen = Some(Seen { data_version, head });
        }
        match &self.seen {
            Some(seen) if seen.head == since => Ok(Changes {
                head: since,
                keys: Vec::new(),
            }),
            _ => self.changes(since),
        }
    }

    fn changes(&mut self, since: u64) -> Result<Changes, StoreError> {
        let snapshot = self.connection.transaction().map_err(translate)?;
        let head = head(&snapshot)?;
        if head < since {
            return Err(StoreError::RolledBack { head, known: since });
        }
        let mut changed = snapshot.prepare(CHANGED).map_err(translate)?;
        let mut keys = changed
            .query_map([to_integer(since)?], |row| row.get(0))
            .and_then(Iterator::collect::<Result<Vec<String>, _>>)
            .map_err(translate)?;
        keys.sort_unstable();
        Ok(Changes { head, keys })
    }
}

impl Drop for Inner {
    /// Closing the last connection moves the write-ahead log into the file and syncs both. A
    /// process that only read has no reason to, unless a log was left behind by one that died.
    fn drop(&mut self) {
        let log_bytes = std::fs::metadata(&self.wal).map_or(0, |found| found.len());
        if !self.wrote && log_bytes == 0 {
            // Were it refused, closing would be slower and nothing else.
            let _ = self
                .connection
                .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
    }
}

/// What is above every key that begins with `prefix`. Keys are printable: the byte after '~' is above every
/// continuation.
fn end_of(prefix: &str) -> String {
    format!("{prefix}\u{7f}")
}

fn head(connection: &Connection) -> Result<u64, StoreError> {
    let head: Option<i64> = connection
        .prepare("SELECT max(changed_at) FROM document")
        .and_then(|mut head| head.query_row([], |row| row.get(0)))
        .map_err(translate)?;
    from_integer(head.unwrap_or(0))
}

fn apply(connection: &Connection, change: &Change, head: u64) -> Result<(), StoreError> {
    let found: Option<i64> = connection
        .prepare("SELECT revision FROM document WHERE key = ?1 AND body IS NOT NULL")
        .and_then(|mut found| found.query_row([&change.key], |row| row.get(0)).optional())
        .map_err(translate)?;
    let found = found.map(from_integer).transpose()?;
    let revision = change.next_revision(found)?;
    let (revision, body) = match &change.action {
        Action::Check => return Ok(()),
        Action::Delete => (0, None),
        Action::Put(body) => (revision, Some(body)),
    };
    let row = (&change.key, to_integer(head)?, to_integer(revision)?, body);
    connection
        .prepare(PUT)
        .and_then(|mut put| put.execute(row))
        .map_err(translate)?;
    Ok(())
}

fn document(row: &Row<'_>) -> Result<Document, StoreError> {
    let body = match row.get_ref(2).map_err(translate)? {
        ValueRef::Blob(body) if body.len() <= BODY_BYTES_MAX => body.to_vec(),
        ValueRef::Blob(_) => return Err(corrupt("a body is longer than the limit")),
        _ => return Err(corrupt("a body is not a sequence of bytes")),
    };
    let revision = from_integer(row.get(1).map_err(translate)?)?;
    let key = row.get(0).map_err(translate)?;
    Ok(Document {
        key,
        revision,
        body,
    })
}

fn to_integer(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| corrupt("a number is beyond 2^63"))
}

fn from_integer(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| corrupt("a number is negative"))
}

fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}

/// Makes an empty file with mode 0600 unless something lies there.
fn create_file(path: &Path) -> Result<(), StoreError> {
    // Closing any descriptor of a file drops the locks that this process has on it (POSIX), those
    // of SQLite included: nobody may open the file in SQLite while we hold ours.
    static CREATING: Mutex<()> = Mutex::new(());
    let _guard = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => return Ok(()),
        Ok(_) => return Err(StoreError::NotAStore(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(os_error(path, &error)),
    }
    let mut options = OpenOptions::new();
    match options.write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => sync_folder(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(os_error(path, &error)),
    }
}

fn sync_folder(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(path);
    sync_directory(folder).map_err(|error| os_error(folder, &error))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let opening = |error| translate_opening(path, error);
    let mut connection = Connection::open_with_flags(path, flags).map_err(opening)?;
    // SQLite falls back to reading when it may not write.
    if connection.is_readonly("main").map_err(opening)? {
        return Err(StoreError::ReadOnly);
    }
    connection.busy_timeout(BUSY_WAIT_MAX).map_err(opening)?;
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)
        .map_err(opening)?;
    let layout = Layout::of(&connection).map_err(opening)?;
    connection.execute_batch(SETTINGS).map_err(opening)?;
    if layout.accept(path)? == Acceptance::Blank {
        initialise(&mut connection, path)?;
    }
    Ok(connection)
}

/// What a file says that it is.
#[derive(Debug, PartialEq, Eq)]
struct Layout {
    application_id: i32,
    user_version: i32,
    objects: i64,
}

#[derive(Debug, PartialEq, Eq)]
enum Acceptance {
    Ours,
    Blank,
}

impl Layout {
    fn of(connection: &Connection) -> rusqlite::Result<Self> {
        // One transaction, so that a store in the making is seen before or after, never between.
        let snapshot = connection.unchecked_transaction()?;
        let application_id = snapshot.query_row("PRAGMA application_id", [], |row| row.get(0))?;
        let user_version = snapshot.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let objects = match application_id {
            APPLICATION_ID => 0,
            _ => snapshot.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0))?,
        };
        Ok(Self {
            application_id,
            user_version,
            objects,
        })
    }

    fn accept(&self, path: &Path) -> Result<Acceptance, StoreError> {
        match (self.application_id, self.user_version, self.objects) {
            (APPLICATION_ID, LAYOUT_VERSION, _) => Ok(Acceptance::Ours),
            (APPLICATION_ID, version, _) if version > LAYOUT_VERSION => {
                Err(StoreError::NewerVersion {
                    found: version.unsigned_abs(),
                    known: LAYOUT_VERSION.unsigned_abs(),
                })
            }
            (APPLICATION_ID, version, _) => Err(StoreError::Corrupt(format!(
                "there never was a layout {version}"
            ))),
            (0, 0, 0) => Ok(Acceptance::Blank),
            _ => Err(StoreError::NotAStore(path.to_owned())),
        }
    }
}

fn initialise(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let opening = |error| translate_opening(path, error);
    connection
        .query_row("PRAGMA journal_mode=WAL", [], |_| Ok(()))
        .map_err(opening)?;
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(opening)?;
    let objects: i64 = transaction
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(opening)?;
    if objects > 0 {
        // Another process was faster; what it made is judged like any other file.
        return Err(StoreError::Busy);
    }
    transaction.execute_batch(SCHEMA).map_err(opening)?;
    transaction
        .pragma_update(None, "application_id", APPLICATION_ID)
        .and_then(|()| transaction.pragma_update(None, "user_version", LAYOUT_VERSION))
        .and_then(|()| transaction.commit())
        .map_err(opening)
}

/// Repeats what was refused because of a lock. SQLite waits by itself in most places, but not
/// while another process switches a new file to its write-ahead log.
fn patiently<T>(mut attempt: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let deadline = Instant::now() + BUSY_WAIT_MAX;
    let mut outcome = attempt();
    let mut pause = Duration::from_millis(1);
    while matches!(outcome, Err(StoreError::Busy)) && Instant::now() < deadline {
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
        outcome = attempt();
    }
    outcome
}

fn translate_opening(path: &Path, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => StoreError::NotAStore(path.to_owned()),
        _ => translate(error),
    }
}

fn translate(error: rusqlite::Error) -> StoreError {
    let text = error.to_string();
    let rusqlite::Error::SqliteFailure(failure, _) = &error else {
        return StoreError::Corrupt(text);
    };
    match failure.code {
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::FileLockingProtocolFailed => StoreError::Busy,
        ErrorCode::DiskFull => StoreError::Full,
        // The shared memory beside the file could not be made longer.
        _ if failure.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE => StoreError::Full,
        ErrorCode::ReadOnly => StoreError::ReadOnly,
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown => {
            StoreError::Corrupt(text)
        }
        _ => StoreError::Io(text),
    }
}

fn os_error(path: &Path, error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
        _ => StoreError::Io(format!("{}: {error}", path.display())),
    }
}

/// "WaxS".
const APPLICATION_ID: i32 = 0x5761_7853;

const LAYOUT_VERSION: i32 = 1;

const BUSY_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long a thread may have the connection before the others stop waiting for it.
const INNER_WAIT_MAX: Duration = STALL;

/// Of the connection, not of the file. What SQLite's own defaults promise already is said again,
/// because the promise is ours.
const SETTINGS: &str = "
    PRAGMA synchronous = FULL;
    PRAGMA secure_delete = ON;
    PRAGMA cell_size_check = ON;
    PRAGMA mmap_size = 0;
";

const SCHEMA: &str = "
    CREATE TABLE document (
        key        TEXT    NOT NULL PRIMARY KEY,
        changed_at INTEGER NOT NULL,
        revision   INTEGER NOT NULL,
        body       BLOB
    ) WITHOUT ROWID, STRICT;
    CREATE INDEX document_changed_at ON document (changed_at);
";

const GET: &str = "SELECT key, revision, body FROM document WHERE key = ?1 AND body IS NOT NULL";

const SCAN: &str = "SELECT key, revision, body FROM document
    WHERE key >= ?1 AND key < ?2 AND body IS NOT NULL ORDER BY key";

const NAMES: &str = "SELECT key FROM document
    WHERE key >= ?1 AND key < ?2 AND body IS NOT NULL ORDER BY key";

const PUT: &str = "INSERT INTO document (key, changed_at, revision, body) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (key) DO UPDATE
    SET changed_at = excluded.changed_at, revision = excluded.revision, body = excluded.body";

const CHANGED: &str = "SELECT key FROM document WHERE changed_at > ?1";
