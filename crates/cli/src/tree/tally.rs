//! What a run over many files comes to: counted as it happens, told at the end.

use crate::failure::Failure;
use crate::report::{Report, Summary};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How many failures are listed again at the end. All are told when they happen.
const LISTED_MAX: usize = 100;

/// Tells how many data keys the keyrings were asked for so far.
pub(crate) type DataKeyCount = Box<dyn Fn() -> u64 + Send + Sync>;

/// The counts. Whoever is interrupted tells them from another thread.
pub(crate) struct Tally {
    started: Instant,
    done: AtomicU64,
    skipped: AtomicU64,
    left_out: AtomicU64,
    failed: AtomicU64,
    plaintext_bytes: AtomicU64,
    ciphertext_bytes: AtomicU64,
    data_keys: Option<DataKeyCount>,
    failures: Mutex<Failures>,
}

#[derive(Debug, Default)]
struct Failures {
    /// Place in the walk, and what went wrong there.
    first: Option<(usize, Failure)>,
    /// Place, file, what.
    listed: Vec<(usize, PathBuf, String)>,
}

impl Tally {
    /// `data_keys` where files share them.
    pub(crate) fn new(data_keys: Option<DataKeyCount>) -> Self {
        Self {
            started: Instant::now(),
            done: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            plaintext_bytes: AtomicU64::new(0),
            ciphertext_bytes: AtomicU64::new(0),
            data_keys,
            failures: Mutex::default(),
        }
    }

    /// A file is done.
    pub(crate) fn done(&self, plaintext_bytes: u64, ciphertext_bytes: u64) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.plaintext_bytes
            .fetch_add(plaintext_bytes, Ordering::Relaxed);
        self.ciphertext_bytes
            .fetch_add(ciphertext_bytes, Ordering::Relaxed);
    }

    /// A file was done before.
    pub(crate) fn skipped(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }

    /// A link, a device, or what else is no file.
    pub(crate) fn left_out(&self) {
        self.left_out.fetch_add(1, Ordering::Relaxed);
    }

    /// A file failed; `at` is its place in the walk.
    pub(crate) fn failed(&self, at: usize, file: &Path, failure: Failure) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.listed.len() < LISTED_MAX {
            let what = failure.what.clone();
            failures.listed.push((at, file.to_path_buf(), what));
        }
        if failures.first.as_ref().is_none_or(|(first, _)| at < *first) {
            failures.first = Some((at, failure));
        }
    }

    /// The counts as they are now.
    pub(crate) fn summary(&self) -> Summary {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Summary {
            done: count(&self.done),
            skipped: count(&self.skipped),
            failed: count(&self.failed),
            left_out: count(&self.left_out),
            plaintext_bytes: count(&self.plaintext_bytes),
            ciphertext_bytes: count(&self.ciphertext_bytes),
            data_keys: self.data_keys.as_ref().map(|count| count()),
            seconds: self.started.elapsed().as_secs_f64(),
            interrupted: false,
            dry_run: false,
        }
    }

    /// The same for what would be done.
    pub(crate) fn conclude_plan(&self, report: &Report) -> Result<(), Failure> {
        self.told(report, true)
    }

    /// Tells the failures again, and the summary. The failure of the whole is that of the first
    /// file that failed, in the order of the walk, and has been told.
    pub(crate) fn conclude(&self, report: &Report) -> Result<(), Failure> {
        self.told(report, false)
    }

    fn told(&self, report: &Report, dry_run: bool) -> Result<(), Failure> {
        let mut summary = self.summary();
        summary.dry_run = dry_run;
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.listed.sort_by_key(|(at, ..)| *at);
        let Some((_, first)) = &failures.first else {
            report.summary(&summary);
            return Ok(());
        };
        for (_, path, what) in &failures.listed {
            report.note(&format!("failed: {}: {what}", path.display()));
        }
        let unlisted = summary.failed - failures.listed.len() as u64;
        if unlisted > 0 {
            report.note(&format!("failed: {unlisted} more"));
        }
        let files = summary.done + summary.skipped + summary.failed;
        let whole = Failure::new(
            first.exit,
            format!("{} of {files} files failed", summary.failed),
            match dry_run {
                true => "see the errors above; the other files would be done",
                false => "see the errors above; the other files are done",
            },
        );
        report.summary_of_failure(&summary, &whole);
        Err(Failure::new(first.exit, "", ""))
    }
}
