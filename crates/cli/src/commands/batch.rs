//! Small files that go to the disk together.
//!
//! ```text
//! write … write ─► syncfs ─► name … name ─► syncfs ─► told
//! ```
//!
//! A sync a file is what makes many small files slow, and one sync serves as many as wait for it.
//! The order keeps the promise: when the first name appears, everything that gets one is on the
//! disk; when a file is told done, its name is too. Until then the files have no names, and
//! whatever ends the process leaves nothing of them behind.

use crate::failure::Failure;
use crate::output::{Complete, Directory, Unnamed};
use crate::report::Done;
use crate::tree::Job;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, OnceLock};

/// Open files of all threads together. 1,024 is what a process may have by default, and each may
/// come with an open directory.
const FILES_MAX: usize = 384;
/// What a batch holds, in bytes of ciphertext.
const BYTES_MAX: u64 = 64 << 20;
/// A file that is longer is synced by itself: its sync costs no more than its data.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A file that is complete and has no name yet.
pub(super) struct Finished {
    /// Its place in the walk.
    pub(super) at: usize,
    pub(super) job: Job,
    pub(super) done: Done,
    pub(super) complete: Complete,
    /// Where it will be.
    pub(super) directory: Arc<Directory>,
}

/// One thread's files that wait for the disk.
pub(super) struct Batch {
    waiting: Vec<Finished>,
    bytes: u64,
    files_max: usize,
}

impl Batch {
    /// A batch for one of `threads`.
    pub(super) fn new(threads: usize) -> Self {
        Self {
            waiting: Vec::new(),
            bytes: 0,
            files_max: (FILES_MAX / threads.max(1)).max(1),
        }
    }

    /// Whether such a file is for a batch.
    pub(super) fn takes(&self, done: &Done) -> bool {
        largest(done) <= FILE_BYTES_MAX && syncfs_tells_errors()
    }

    /// Takes a file that [`Batch::takes`] and that is finished.
    pub(super) fn add(&mut self, finished: Finished) {
        self.bytes += largest(&finished.done);
        self.waiting.push(finished);
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= self.files_max || self.bytes >= BYTES_MAX
    }

    /// Gives all files their names, durably. What became of each.
    pub(super) fn settle(&mut self) -> Vec<Settled> {
        self.bytes = 0;
        let mut waiting = std::mem::take(&mut self.waiting);
        if waiting.len() < 2 || synced(&waiting).is_err() {
            // Each by itself, so that an error finds its file.
            return waiting.into_iter().map(Finished::committed).collect();
        }
        let mut named: Vec<_> = waiting
            .iter_mut()
            .map(|finished| finished.complete.name())
            .collect();
        if let Err(error) = synced(&waiting) {
            for outcome in named.iter_mut().filter(|outcome| outcome.is_ok()) {
                let failure = Failure::io("sync", "its directory", &error);
                *outcome = Err(Unnamed::Failed(failure));
            }
        }
        let settled = waiting.into_iter().zip(named);
        settled
            .map(|(finished, named)| Settled {
                at: finished.at,
                job: finished.job,
                done: finished.done,
                named,
            })
            .collect()
    }
}

/// A file that waits no more.
pub(super) struct Settled {
    pub(super) at: usize,
    pub(super) job: Job,
    pub(super) done: Done,
    pub(super) named: Result<(), Unnamed>,
}

impl Finished {
    fn committed(self) -> Settled {
        Settled {
            at: self.at,
            job: self.job,
            done: self.done,
            named: self.complete.commit(),
        }
    }
}

fn largest(done: &Done) -> u64 {
    done.plaintext_bytes.max(done.ciphertext_bytes)
}

/// One call for each file system. It is made through the directory that was opened first: an
/// error counts from then on.
fn synced(waiting: &[Finished]) -> io::Result<()> {
    let mut devices: BTreeMap<u64, &Directory> = BTreeMap::new();
    let mut last: Option<&Arc<Directory>> = None;
    for finished in waiting {
        let directory = &finished.directory;
        if last.is_none_or(|last| !Arc::ptr_eq(last, directory)) {
            devices.entry(directory.device()?).or_insert(directory);
            last = Some(directory);
        }
    }
    let mut directories = devices.values();
    directories.try_for_each(|directory| directory.sync_file_system())
}

/// Since Linux 5.8, syncfs(2) tells of data that could not be written. Before, each file has to be
/// synced by itself.
fn syncfs_tells_errors() -> bool {
    static TELLS: OnceLock<bool> = OnceLock::new();
    *TELLS.get_or_init(|| {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
        release.is_ok_and(|release| is_5_8(&release))
    })
}

fn is_5_8(release: &str) -> bool {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    let mut number = || numbers.next().and_then(|digits| digits.parse::<u32>().ok());
    let (major, minor) = (number(), number());
    (major, minor) >= (Some(5), Some(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_told_apart() {
        for told in [
            "5.8.0",
            "5.10.0-23-amd64",
            "6.1",
            "6.18.44-fc-v595\n",
            "10.0",
        ] {
            assert!(is_5_8(told), "{told}");
        }
        for silent in ["5.7.19", "4.19.0", "5", "", "x.y"] {
            assert!(!is_5_8(silent), "{silent}");
        }
    }
}
