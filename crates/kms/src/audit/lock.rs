//! The lock between processes, and who wrote last.

use super::AuditError;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The file `lock`. Whoever holds it writes to the log, and nobody else does.
///
/// The file holds the mark of the one who wrote last: while it is still one's own nobody else has written,
/// and the end of the log is where one left it. It is a hint for processes that live, and never synced.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
    mark: [u8; MARK_BYTES],
}

/// Process, time and number, each in 8 bytes.
const MARK_BYTES: usize = 24;

impl Lock {
    pub(super) fn open(dir: &Path) -> Result<Self, AuditError> {
        let path = dir.join("lock");
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let opened = options.mode(0o600).open(&path);
        Ok(Self {
            file: opened.map_err(|error| AuditError::io("open", &path, &error))?,
            path,
            mark: new_mark(),
        })
    }

    /// Takes the lock.
    pub(super) fn wait(&self, limit: Duration) -> Result<(), AuditError> {
        // Not the blocking call: a process that was stopped while it holds the lock must not stop
        // every other for ever.
        let deadline = Instant::now() + limit;
        let mut pause = Duration::from_micros(50);
        loop {
            match self.file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {}
                Err(TryLockError::WouldBlock) => return Err(AuditError::Busy),
                Err(TryLockError::Error(error)) => {
                    return Err(AuditError::io("lock", &self.path, &error));
                }
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(1));
        }
    }

    /// Whether nobody held it.
    pub(super) fn try_take(&self) -> bool {
        self.file.try_lock().is_ok()
    }

    pub(super) fn release(&self) {
        // Failing to unlock a file that is open and locked has no cause that could be mended; the
        // lock goes with the descriptor at the latest.
        let _ = self.file.unlock();
    }

    /// Whether nobody else has written since [`Lock::claim`]. Needs the lock.
    pub(super) fn is_ours(&self) -> bool {
        let mut found = [0; MARK_BYTES];
        self.file.read_exact_at(&mut found, 0).is_ok() && found == self.mark
    }

    /// Says that whatever is written from now on is ours. Needs the lock.
    pub(super) fn claim(&self) -> Result<(), AuditError> {
        let written = self.file.write_all_at(&self.mark, 0);
        written.map_err(|error| AuditError::io("write", &self.path, &error))
    }
}

/// One that nobody else has.
fn new_mark() -> [u8; MARK_BYTES] {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since.unwrap_or_default().as_nanos() as u64;
    let parts = [
        std::process::id().into(),
        nanos,
        COUNT.fetch_add(1, Ordering::Relaxed),
    ];
    let mut mark = [0; MARK_BYTES];
    for (bytes, part) in mark.chunks_exact_mut(8).zip(parts) {
        bytes.copy_from_slice(&u64::to_le_bytes(part));
    }
    mark
}
