//! Temporary files that a killed process left behind.
//!
//! Whoever writes under a temporary name holds a lock on the file (flock(2)), which the system
//! takes away with the process. A file of such a name that can be locked is nobody's any more.
//! Where there are no such locks nothing is removed. (A network file system that keeps its locks
//! to each host tells nothing of processes elsewhere; one whose file was removed fails, and what
//! stands under the target's name stays.)

use super::staged::{TEMPORARY_END, TEMPORARY_MARK};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Whether this is a name that files have only while they are written: `.NAME.waxseal-XXXXXX.tmp`.
pub(crate) fn is_temporary(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let Some(stem) = name.strip_suffix(TEMPORARY_END.as_bytes()) else {
        return false;
    };
    let at = stem.len().checked_sub(6 + TEMPORARY_MARK.len());
    let marked = at.is_some_and(|at| stem[at..].starts_with(TEMPORARY_MARK.as_bytes()));
    let letters = stem.iter().rev().take(6);
    marked
        && name.starts_with(b".")
        && letters
            .copied()
            .all(|letter| matches!(letter, b'a'..=b'z' | b'2'..=b'7'))
}

/// Removes the temporary files in `directory` whose processes have ended: all of them, or those
/// that begin with `stem`. Nobody is told of what fails: it is tidying up.
pub(crate) fn sweep(directory: &Path, stem: Option<&OsStr>) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let wanted = stem.is_none_or(|stem| name.as_bytes().starts_with(stem.as_bytes()));
        if wanted && is_temporary(&name) {
            remove_if_stale(&entry.path());
        }
    }
}

/// Removes the file at `path` if nobody writes it any more. Whether it did.
pub(crate) fn remove_if_stale(path: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) else {
        return false;
    };
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return false;
    }
    // Its writer may have given it its name meanwhile.
    let (Ok(held), Ok(named)) = (rustix::fs::fstat(&file), path.symlink_metadata()) else {
        return false;
    };
    let same = (held.st_dev, held.st_ino) == (named.dev(), named.ino());
    same && named.is_file() && std::fs::remove_file(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn only_names_of_ours_are_temporary() {
        for name in [".a.waxseal-abcdef.tmp", "..waxseal-a2b7cd.tmp"] {
            assert!(is_temporary(OsStr::new(name)), "{name}");
        }
        for name in [
            "a.waxseal-abcdef.tmp",
            ".a.waxseal-abcde.tmp",
            ".a.waxseal-abcde1.tmp",
            ".a.waxseal-ABCDEF.tmp",
            ".a.waxseal-abcdef.tmp.wax",
            ".waxseal.tmp",
            ".tmp",
        ] {
            assert!(!is_temporary(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn what_is_locked_or_is_something_else_stays() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let (dead, alive) = (at(".a.waxseal-aaaaaa.tmp"), at(".b.waxseal-bbbbbb.tmp"));
        for path in [&dead, &alive, &at("a")] {
            std::fs::write(path, "half").unwrap();
        }
        std::os::unix::fs::symlink("a", at(".l.waxseal-cccccc.tmp")).unwrap();
        let held = std::fs::File::open(&alive).unwrap();
        rustix::fs::flock(&held, FlockOperation::LockExclusive).unwrap();
        sweep(directory.path(), Some(OsStr::new(".b.")));
        assert!(dead.exists() && alive.exists());
        sweep(directory.path(), None);
        assert!(!dead.exists() && alive.exists() && at("a").exists());
        assert!(at(".l.waxseal-cccccc.tmp").is_symlink());
        drop(held);
        // A process that another test starts has the lock, too, until it runs its program.
        let is_gone = |_| {
            std::thread::sleep(Duration::from_millis(10));
            sweep(directory.path(), Some(OsStr::new(".b.")));
            !alive.exists()
        };
        assert!((0..500).any(is_gone));
    }
}
