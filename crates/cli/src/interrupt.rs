//! Signals: a file that is written under a temporary name is removed before the process ends by
//! SIGINT, SIGTERM or SIGHUP. (Most files are written without any name, and need none of this.)
//!
//! The thread that waits for signals starts with the first such name, or where a run over many
//! files wants to say how far it came. When a signal comes it
//! takes [`GATE`] for good, so that no name can appear after the removal, and then lets the
//! signal do what it does by default: the caller sees a process that died of it.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError, RwLock, RwLockReadGuard};

/// Held for reading while a name appears, changes or disappears.
static GATE: RwLock<()> = RwLock::new(());
static NAMES: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
static WATCHER: Once = Once::new();

/// What is told before the process ends, where there is something to tell.
type LastWords = Box<dyn Fn() + Send>;
static LAST_WORDS: Mutex<Option<LastWords>> = Mutex::new(None);

/// Has `tell` run, by another thread, before a signal ends the process: when no name can appear
/// any more. It must not wait for anything that is held while names appear.
pub(crate) fn with_last_words(tell: impl Fn() + Send + 'static) {
    *LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(tell));
    WATCHER.call_once(watch);
}

/// From now on a signal ends the process without a word.
pub(crate) fn without_last_words() {
    *LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Runs `name`, which gives a complete file its name, unless a signal has come.
pub(crate) fn naming<T>(name: impl FnOnce() -> T) -> T {
    let _gate = gate();
    name()
}

/// Runs `create`, which makes a file called `path`, and remembers the name when it succeeds.
pub(crate) fn appearing<T>(path: &Path, create: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    WATCHER.call_once(watch);
    let _gate = gate();
    let made = create()?;
    names(|names| names.insert(path.to_path_buf()));
    Ok(made)
}

/// Runs `rename`, after which `path` is no temporary name any more, and forgets it.
pub(crate) fn vanishing(path: &Path, rename: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let _gate = gate();
    rename()?;
    names(|names| names.remove(path));
    Ok(())
}

fn gate() -> RwLockReadGuard<'static, ()> {
    GATE.read().unwrap_or_else(PoisonError::into_inner)
}

fn names<T>(change: impl FnOnce(&mut BTreeSet<PathBuf>) -> T) -> T {
    change(&mut NAMES.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Without a thread or handlers the signals keep their default effect; all that is lost is the
/// removal, so a failure here stops nobody.
fn watch() {
    // An ignored signal (nohup) stays ignored: a handler would undo what the caller asked for.
    let ignored = ignored();
    let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter();
    let wanted = wanted.filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let Ok(mut signals) = Signals::new(wanted) else {
        return;
    };
    let waiting = move || {
        for signal in signals.forever() {
            let _closed = GATE.write().unwrap_or_else(PoisonError::into_inner);
            names(|names| {
                for name in names.iter() {
                    // Nothing can be told any more, and another signal may be waiting.
                    let _ = std::fs::remove_file(name);
                }
            });
            let words = LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(tell) = words.as_ref() {
                tell();
            }
            drop(words);
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    };
    let _ = std::thread::Builder::new()
        .name("signals".into())
        .spawn(waiting);
}

/// The signals that the process was started to ignore, as `/proc/self/status` says (`SigIgn`, a
/// mask in hexadecimal, proc(5)). Unknown counts as none.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    /// Names the file for [`waits_to_be_killed`], which this binary runs in a process of its own.
    const VARIABLE: &str = "WAXSEAL_TEST_INTERRUPT";

    #[test]
    #[ignore = "the other process of the next test"]
    fn waits_to_be_killed() {
        let path = PathBuf::from(std::env::var_os(VARIABLE).unwrap());
        appearing(&path, || std::fs::write(&path, "half")).unwrap();
        let gone = path.with_extension("gone");
        appearing(&gone, || std::fs::write(&gone, "done")).unwrap();
        vanishing(&gone, || Ok(())).unwrap();
        // Whoever waits for the name sees it last of all.
        std::fs::write(path.with_extension("ready"), "").unwrap();
        std::thread::sleep(std::time::Duration::from_secs(60));
    }

    #[test]
    fn a_signal_removes_the_name_and_still_kills() {
        use rustix::process::Signal;
        for (signal, sent) in [
            (SIGINT, Signal::INT),
            (SIGTERM, Signal::TERM),
            (SIGHUP, Signal::HUP),
        ] {
            // Started by nohup, for instance: the other process would ignore it as well.
            if ignored() >> (signal - 1) & 1 == 1 {
                continue;
            }
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("half");
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "interrupt::tests::waits_to_be_killed",
                    "--ignored",
                ])
                .env(VARIABLE, &path)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            while !path.with_extension("ready").exists() {
                assert!(child.try_wait().unwrap().is_none());
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            assert!(path.exists());
            let id = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(id, sent).unwrap();
            let status = child.wait().unwrap();
            assert_eq!(status.signal(), Some(signal));
            assert!(!path.exists());
            assert!(path.with_extension("gone").exists());
            let _ = child.stdout.take().unwrap().read_to_end(&mut Vec::new());
        }
    }
}
