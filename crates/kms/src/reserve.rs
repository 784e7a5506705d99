//! Room on the disk that is kept for taking rights away.
//!
//! ```text
//! HOME/reserve         1 MiB     for the store
//! HOME/audit/reserve   256 KiB   for the log, which may lie on a disk of its own
//! ```
//!
//! A key that must not be used any more is disabled on a full disk too: the first operation of those that
//! [`takes_rights_away`] names which finds no room has both files removed, and goes on. From then on
//! nothing else is done, so that nothing else takes the room, until both can be made again. Whoever opens
//! the store on a disk too full for that does the same.

use crate::files::sync_directory;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Whether an operation may use the reserve: those alone that take rights away. The one list.
pub(crate) const fn takes_rights_away(operation: &str) -> bool {
    matches!(
        operation.as_bytes(),
        b"DisableKey"
            | b"ScheduleKeyDeletion"
            | b"RevokeGrant"
            | b"RetireGrant"
            | b"DisableUser"
            | b"DeleteUser"
            | b"DeleteRole"
    )
}

/// The files, and whether they are there.
#[derive(Debug)]
pub(crate) struct Reserve {
    files: [(PathBuf, u64); 2],
    /// Whether the room is given up, or could not be had.
    is_low: AtomicBool,
    tried: Mutex<Instant>,
}

impl Reserve {
    /// The reserve of the home in `directory`, made where it is not there.
    pub(crate) fn keep(directory: &Path) -> Self {
        let reserve = Self::of(directory);
        let is_full = matches!(reserve.make(), Err(error) if is_full(&error));
        reserve.is_low.store(is_full, Ordering::Relaxed);
        reserve
    }

    fn of(directory: &Path) -> Self {
        Self {
            files: files(directory),
            is_low: AtomicBool::new(false),
            tried: Mutex::new(Instant::now()),
        }
    }

    /// Gives up the room that is kept in `directory`. Whether there was any.
    pub(crate) fn give_up_in(directory: &Path) -> bool {
        remove(&files(directory))
    }

    /// Gives up the room. Whether there was any.
    pub(crate) fn give_up(&self) -> bool {
        self.is_low.store(true, Ordering::Relaxed);
        remove(&self.files)
    }

    /// Whether anything may be done: the room is kept, or was made again just now.
    pub(crate) fn is_kept(&self) -> bool {
        if !self.is_low.load(Ordering::Relaxed) {
            return true;
        }
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if tried.elapsed() < PAUSE {
            return false;
        }
        *tried = Instant::now();
        let made = self.make().is_ok();
        if made {
            self.is_low.store(false, Ordering::Relaxed);
        }
        made
    }

    fn make(&self) -> io::Result<()> {
        self.files
            .iter()
            .try_for_each(|(path, bytes)| make(path, *bytes))
    }
}

impl Drop for Reserve {
    /// Room that was given up is kept again, if there is any by now.
    fn drop(&mut self) {
        if self.is_low.load(Ordering::Relaxed) && self.make().is_err() {
            // What the store gave back when it was closed is there once the journal says so.
            for (path, _) in &self.files {
                let _ = path.parent().map(sync_directory);
            }
            let _ = self.make();
        }
    }
}

fn files(directory: &Path) -> [(PathBuf, u64); 2] {
    [
        (directory.join(NAME), STORE_BYTES),
        (directory.join("audit").join(NAME), LOG_BYTES),
    ]
}

/// Removes the files. Whether there were any.
fn remove(files: &[(PathBuf, u64)]) -> bool {
    let mut gave = false;
    for (path, _) in files {
        gave |= std::fs::remove_file(path).is_ok();
        // A journal gives blocks back with the transaction that frees them.
        let _ = path.parent().map(sync_directory);
    }
    gave
}

/// Makes a file whose bytes have their place on the disk, unless it is there.
fn make(path: &Path, bytes: u64) -> io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|found| found.len() == bytes) {
        return Ok(());
    }
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(path)?;
    let made = match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP) => fill(&file, bytes),
        made => made.map_err(io::Error::from),
    };
    if made.is_err() {
        // Half a reserve is none.
        let _ = std::fs::remove_file(path);
    }
    made
}

fn fill(mut file: &File, bytes: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    for _ in 0..bytes.div_ceil(ZEROS.len() as u64) {
        file.write_all(&ZEROS)?;
    }
    file.sync_all()
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

const NAME: &str = "reserve";
const STORE_BYTES: u64 = 1 << 20;
const LOG_BYTES: u64 = 256 << 10;
/// How often it is tried to have the room again.
const PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_is_given_up_and_had_again() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("audit")).unwrap();
        let reserve = Reserve::keep(home.path());
        let bytes = |name: &str| std::fs::metadata(home.path().join(name)).map(|found| found.len());
        assert!(reserve.is_kept());
        assert_eq!(bytes("reserve").unwrap(), STORE_BYTES);
        assert_eq!(bytes("audit/reserve").unwrap(), LOG_BYTES);
        assert!(reserve.give_up());
        assert!(!reserve.give_up(), "there was none any more");
        assert!(bytes("reserve").is_err() && bytes("audit/reserve").is_err());
        while !reserve.is_kept() {
            std::thread::sleep(PAUSE / 10);
        }
        assert_eq!(bytes("reserve").unwrap(), STORE_BYTES);
        assert!(Reserve::give_up_in(home.path()));
    }

    #[test]
    fn only_what_takes_rights_away() {
        assert!(takes_rights_away("DisableKey") && takes_rights_away("RevokeGrant"));
        for other in [
            "EnableKey",
            "CreateGrant",
            "Decrypt",
            "PutKeyPolicy",
            "",
            "DisableKeyX",
        ] {
            assert!(!takes_rights_away(other), "{other}");
        }
    }
}
