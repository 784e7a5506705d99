//! A file that replaces another at once and only when it is complete.
//!
//! Where the file system can, the file has no name at all while it is written (`O_TMPFILE`,
//! open(2)): whatever happens to the process, the system takes it away. Where nothing has the
//! target's name it gets that name at once; otherwise a temporary one beside the target
//! (`.NAME.waxseal-XXXXXX.tmp`), and the next system call renames it. File systems without unnamed
//! files have the temporary name from the beginning.
//!
//! ```text
//! create ─► write … ─► fsync ─► name, or temporary name and rename ─► fsync, and of the directory
//! ```
//!
//! The first fsync sees to it that a name never stands for less than the whole file; the file is
//! synced again behind its name because btrfs writes nothing down for a file that has none.
//!
//! A SIGKILL or a power cut leaves a file behind only between the temporary name and the rename,
//! or, where there are no unnamed files, at any time: mode 0600, under the temporary name. While
//! its process lives the file is locked; the next run that writes to its target, or to the
//! directory with `-r`, removes it ([`super::stale`]).

use super::directory::Directory;
use super::stale;
use crate::interrupt;
use rustix::fs::{AtFlags, CWD, FallocateFlags, FlockOperation, Mode, OFlags};
use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use waxseal::message::WriteAt;
use waxseal_core::crypto::random::{self, Entropy};

/// What temporary names have after the target's name and before six random letters.
pub(crate) const TEMPORARY_MARK: &str = ".waxseal-";
/// What temporary names end with.
pub(crate) const TEMPORARY_END: &str = ".tmp";

/// Only the owner may read what was sealed or opened.
const MODE: u32 = 0o600;
/// Files below this length are not reserved: the system allocates them better by itself.
const RESERVED_BYTES_MIN: u64 = 1 << 20;
/// How much is written between two calls that start writing it to the disk.
const WRITE_BACK_BYTES: u64 = 32 << 20;
/// The longest file name that Linux file systems have.
const NAME_BYTES_MAX: usize = 255;
/// The letters of temporary names, and how many there are in one.
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const LETTERS_COUNT: usize = 6;
/// How often a temporary file may disappear under its maker's hands.
const ATTEMPTS: usize = 16;

/// A file being written.
pub(super) struct Staged {
    file: File,
    target: PathBuf,
    /// The target's directory, where it is open already.
    directory: Option<Arc<Directory>>,
    /// The temporary name, while the file has it.
    temporary: Option<PathBuf>,
    sync: bool,
    /// Counted by whoever writes, to see when it is time to write back.
    written_bytes: AtomicU64,
    reserved_bytes: u64,
    /// Where the file ends, when it was written by places.
    end: Option<u64>,
    write_back: OnceLock<WriteBack>,
    entropy: Arc<dyn Entropy>,
}

impl Staged {
    /// Begins a file that will be `target`, which is no symbolic link.
    pub(super) fn create(
        target: PathBuf,
        sync: bool,
        entropy: Arc<dyn Entropy>,
    ) -> io::Result<Self> {
        Self::begin(target, None, sync, entropy)
    }

    /// Begins a file that will be `target`, in a `directory` that is open. Nobody has looked yet
    /// whether anything is there.
    pub(super) fn create_in(
        directory: Arc<Directory>,
        target: PathBuf,
        sync: bool,
        entropy: Arc<dyn Entropy>,
    ) -> io::Result<Self> {
        Self::begin(target, Some(directory), sync, entropy)
    }

    fn begin(
        target: PathBuf,
        directory: Option<Arc<Directory>>,
        sync: bool,
        entropy: Arc<dyn Entropy>,
    ) -> io::Result<Self> {
        let made = match &directory {
            Some(directory) => unnamed(directory.as_fd(), Path::new("."))?,
            None => unnamed(CWD, directory_of(&target))?,
        };
        let (file, temporary) = match made {
            Some(file) => (file, None),
            None => {
                if directory.is_none() {
                    sweep(&target);
                }
                let (file, temporary) = create_locked(&target, entropy.as_ref())?;
                (file, Some(temporary))
            }
        };
        Ok(Self {
            file,
            target,
            directory,
            temporary,
            sync,
            written_bytes: AtomicU64::new(0),
            reserved_bytes: 0,
            end: None,
            write_back: OnceLock::new(),
            entropy,
        })
    }

    /// Gives the file these permissions.
    pub(super) fn set_mode(&mut self, mode: u32) -> io::Result<()> {
        self.file.set_permissions(Permissions::from_mode(mode))
    }

    /// Reserves blocks for `bytes`.
    pub(super) fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        if bytes < RESERVED_BYTES_MIN {
            return Ok(());
        }
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, bytes) {
            Ok(()) => self.reserved_bytes = bytes,
            Err(full @ (rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT)) => {
                return Err(full.into());
            }
            // Not every file system can; what is lost is speed.
            Err(_) => {}
        }
        Ok(())
    }

    /// So many bytes count, from the first on; what was written beyond them does not.
    pub(super) fn ends_at(&mut self, bytes: u64) {
        self.end = Some(bytes);
    }

    /// Gives the file its name.
    pub(super) fn commit(mut self) -> io::Result<()> {
        self.finish()?;
        if self.sync {
            self.file.sync_all()?;
        }
        self.name()?;
        self.settle()
    }

    /// Nothing more is written. What was written need not be on the disk.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let written = *self.written_bytes.get_mut();
        let end = self.end.unwrap_or(written);
        if written != end || end < self.reserved_bytes {
            self.file.set_len(end)?;
            self.reserved_bytes = 0;
        }
        match self.write_back.take() {
            Some(write_back) => write_back.finish(),
            None => Ok(()),
        }
    }

    /// Gives a finished file its name, whether it is on the disk or not.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`]: something is there that is no regular file.
    pub(super) fn name(&mut self) -> io::Result<()> {
        let linked = || self.link(&self.target, self.directory.as_deref());
        if self.temporary.is_none() && interrupt::naming(linked).is_ok() {
            return Ok(());
        }
        if self.directory.is_some() && !is_file_or_nothing(&self.target)? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let temporary = match self.temporary.clone() {
            Some(temporary) => temporary,
            None => self.name_for_now()?,
        };
        interrupt::vanishing(&temporary, || std::fs::rename(&temporary, &self.target))?;
        self.temporary = None;
        Ok(())
    }

    /// Gives an unnamed file a temporary name. It is locked before: see [`stale`].
    fn name_for_now(&mut self) -> io::Result<PathBuf> {
        // Who has the directory open has swept it once, for all files in it.
        if self.directory.is_none() {
            sweep(&self.target);
        }
        let temporary = temporary_name(&self.target, self.entropy.as_ref())?;
        // Without locks, nobody takes the name away.
        let _ = rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive);
        interrupt::appearing(&temporary, || self.link(&temporary, None))?;
        Ok(self.temporary.insert(temporary).clone())
    }

    /// Waits until the name is on the disk.
    fn settle(&self) -> io::Result<()> {
        if !self.sync {
            return Ok(());
        }
        self.file.sync_all()?;
        if let Some(directory) = &self.directory {
            return directory.sync();
        }
        match File::open(directory_of(&self.target)) {
            Ok(directory) => directory.sync_all(),
            // A directory may be writable and not readable: its whole file system, then.
            Err(_) => Ok(rustix::fs::syncfs(&self.file)?),
        }
    }

    /// Names the unnamed file; fails when the name is taken.
    fn link(&self, path: &Path, directory: Option<&Directory>) -> io::Result<()> {
        // Without a look at /proc where the kernel lets us: for privileged processes, and since
        // Linux 6.10 for whoever opened the file.
        static BY_DESCRIPTOR: AtomicBool = AtomicBool::new(true);
        let (at, path) = match (directory, path.file_name()) {
            (Some(directory), Some(name)) => (directory.as_fd(), Path::new(name)),
            _ => (CWD, path),
        };
        if BY_DESCRIPTOR.load(Ordering::Relaxed) {
            match rustix::fs::linkat(&self.file, "", at, path, AtFlags::EMPTY_PATH) {
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::PERM) => {}
                other => return Ok(other?),
            }
        }
        let unnamed = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        rustix::fs::linkat(CWD, unnamed, at, path, AtFlags::SYMLINK_FOLLOW)?;
        BY_DESCRIPTOR.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn count(&self, written: usize) -> io::Result<usize> {
        let before = self
            .written_bytes
            .fetch_add(written as u64, Ordering::Relaxed);
        let after = before + written as u64;
        if self.sync && before / WRITE_BACK_BYTES != after / WRITE_BACK_BYTES {
            self.start_write_back()?;
        }
        Ok(written)
    }

    /// Starts writing to the disk while there is more to come, so that the sync at the end has
    /// little left to do.
    fn start_write_back(&self) -> io::Result<()> {
        if self.write_back.get().is_none() {
            // Two threads may come here at once: the second one's is not needed.
            let _ = self
                .write_back
                .set(WriteBack::start(self.file.try_clone()?)?);
        }
        if let Some(write_back) = self.write_back.get() {
            write_back.nudge();
        }
        Ok(())
    }
}

impl WriteAt for Staged {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let written = WriteAt::write_at(&self.file, bytes, offset)?;
        self.count(written)
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let written = self.file.write_vectored_at(parts, offset)?;
        self.count(written)
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.count(written)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = self.file.write_vectored(parts)?;
        self.count(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // An error has been reported already, or will be.
            let _ = interrupt::vanishing(temporary, || std::fs::remove_file(temporary));
        }
    }
}

/// A thread that syncs a file again and again while it grows.
struct WriteBack {
    nudges: SyncSender<()>,
    thread: std::thread::JoinHandle<io::Result<()>>,
}

impl WriteBack {
    fn start(file: File) -> io::Result<Self> {
        let (nudges, nudged) = sync_channel(1);
        let work = move || nudged.iter().try_for_each(|()| file.sync_data());
        let thread = std::thread::Builder::new()
            .name("write-back".into())
            .spawn(work)?;
        Ok(Self { nudges, thread })
    }

    /// Nobody waits: when a sync is running, the next one will do.
    fn nudge(&self) {
        let _ = self.nudges.try_send(());
    }

    /// An error of an earlier sync is not told again by a later one (fsync(2)): it must not get
    /// lost here.
    fn finish(self) -> io::Result<()> {
        drop(self.nudges);
        self.thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the write-back thread failed")))
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn is_file_or_nothing(path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(metadata.is_file()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// A file without a name in `directory`, counted from `from`; `None` where there are none.
fn unnamed(from: BorrowedFd<'_>, directory: &Path) -> io::Result<Option<File>> {
    use rustix::io::Errno;
    // Without /proc there would be no way to a name later.
    static NAMEABLE: OnceLock<bool> = OnceLock::new();
    if !NAMEABLE.get_or_init(|| Path::new("/proc/self/fd").exists()) {
        return Ok(None);
    }
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    match rustix::fs::openat(from, directory, flags, Mode::from_raw_mode(MODE)) {
        Ok(file) => Ok(Some(file.into())),
        // File systems and kernels that have no unnamed files (open(2)).
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOSYS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn create_named(temporary: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true).mode(MODE);
    interrupt::appearing(temporary, || options.open(temporary))
}

/// A file under a temporary name for `target`, locked so that nobody takes it for a dead one's.
fn create_locked(target: &Path, entropy: &dyn Entropy) -> io::Result<(File, PathBuf)> {
    for _ in 0..ATTEMPTS {
        let temporary = temporary_name(target, entropy)?;
        let file = create_named(&temporary)?;
        let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
        // Who sweeps may have had it between the two calls, and then it is gone, or about to be.
        let taken = locked == Err(rustix::io::Errno::WOULDBLOCK);
        if !taken && rustix::fs::fstat(&file)?.st_nlink > 0 {
            return Ok((file, temporary));
        }
        let _ = interrupt::vanishing(&temporary, || match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        });
    }
    Err(io::Error::other("temporary files disappear"))
}

/// Removes what dead processes left behind on their way to `target`.
fn sweep(target: &Path) {
    let stem = stem_of(target.file_name().unwrap_or_default());
    stale::sweep(directory_of(target), Some(OsStr::new(&stem)));
}

/// `.NAME.waxseal-XXXXXX.tmp` beside `target`; a long name is cut.
fn temporary_name(target: &Path, entropy: &dyn Entropy) -> io::Result<PathBuf> {
    let random: [u8; LETTERS_COUNT] = random::array(entropy).map_err(io::Error::other)?;
    let letters = random.map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    let letters = letters.iter().collect::<String>();
    let stem = stem_of(target.file_name().unwrap_or_default());
    Ok(target.with_file_name(format!("{stem}{letters}{TEMPORARY_END}")))
}

/// What is before the letters.
fn stem_of(name: &OsStr) -> String {
    let mut stem = name.to_string_lossy().into_owned();
    let rest_bytes = 1 + TEMPORARY_MARK.len() + LETTERS_COUNT + TEMPORARY_END.len();
    let mut kept = stem.len().min(NAME_BYTES_MAX - rest_bytes);
    while !stem.is_char_boundary(kept) {
        kept -= 1;
    }
    stem.truncate(kept);
    format!(".{stem}{TEMPORARY_MARK}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use waxseal_core::crypto::random::SystemEntropy;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn created(path: &Path, sync: bool) -> Staged {
        Staged::create(path.to_path_buf(), sync, Arc::new(SystemEntropy)).unwrap()
    }

    /// As on a file system without unnamed files.
    fn named(path: &Path, sync: bool) -> Staged {
        let mut staged = created(path, sync);
        let temporary = temporary_name(path, &SystemEntropy).unwrap();
        staged.file = create_named(&temporary).unwrap();
        staged.temporary = Some(temporary);
        staged
    }

    #[test]
    fn an_existing_file_is_replaced_on_commit_and_not_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        for (way, sync) in [(0, true), (0, false), (1, true), (1, false)] {
            let create = [created, named][way];
            fs::write(&path, "old").unwrap();
            let mut dropped = create(&path, sync);
            dropped.write_all(b"half").unwrap();
            drop(dropped);
            assert_eq!(fs::read(&path).unwrap(), b"old");
            assert_eq!(names(directory.path()), ["out"]);

            let mut committed = create(&path, sync);
            committed.write_all(b"new").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"old");
            committed.commit().unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new");
            assert_eq!(names(directory.path()), ["out"]);

            fs::remove_file(&path).unwrap();
            let mut fresh = create(&path, sync);
            fresh.write_all(b"first").unwrap();
            assert!(!path.exists());
            fresh.commit().unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"first");
            assert_eq!(names(directory.path()), ["out"]);
        }
    }

    #[test]
    fn a_target_that_became_a_directory_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        for create in [created, named] {
            let staged = create(&path, true);
            fs::create_dir(&path).unwrap();
            assert!(staged.commit().is_err());
            assert_eq!(names(directory.path()), ["out"]);
            fs::remove_dir(&path).unwrap();
        }
    }

    #[test]
    fn a_reserved_file_that_stays_short_is_short() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let mut staged = created(&path, false);
        staged.reserve(8 << 20).unwrap();
        staged.write_all(b"short").unwrap();
        staged.commit().unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.len(), 5);
        assert!(metadata.blocks() * 512 < 1 << 20);
        assert_eq!(metadata.mode() & 0o777, MODE);
    }

    #[test]
    fn temporary_names_fit() {
        let long = "ä".repeat(127);
        let name = temporary_name(Path::new(&long), &SystemEntropy).unwrap();
        let bytes = name.as_os_str().len();
        assert!((NAME_BYTES_MAX - 1..=NAME_BYTES_MAX).contains(&bytes));
        assert_eq!(name.parent(), Some(Path::new("")));
    }
}
