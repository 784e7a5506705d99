//! Many files: what is read, what it becomes, and some threads that do it.

use crate::commands::Session;
use crate::failure::Failure;
use crate::output::{TEMPORARY_END, TEMPORARY_MARK};
use crate::progress::Progress;
use crate::report::Done;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use walkdir::{DirEntry, WalkDir};

/// The most threads unless more are asked for.
const THREADS_MAX_DEFAULT: usize = 16;

/// A file to read and the file it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
}

/// What happens to names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Naming {
    /// Sealing: the suffix is added.
    Add(String),
    /// Opening: the suffix is taken off, and must be there.
    Strip(String),
    /// Sealing again: the name stays.
    Keep,
}

/// Where outputs go.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) naming: Naming,
    /// A directory that the trees are rebuilt in; `None` is beside each input.
    pub(crate) directory: Option<PathBuf>,
    pub(crate) recursive: bool,
}

/// One input of the command line and where its outputs begin.
#[derive(Debug)]
struct Root {
    from: PathBuf,
    /// What the input itself becomes, the suffix not considered.
    to: PathBuf,
}

/// What the walk yields: a job, or a file that has failed already.
type Found = Result<Job, (PathBuf, Failure)>;

/// Every file that the inputs name, in their order. Directories are read as the walk comes to
/// them, in order of names, so that what is written beside the inputs is not walked into.
pub(crate) fn jobs(
    inputs: &[PathBuf],
    layout: &Layout,
) -> Result<impl Iterator<Item = Found> + Send + use<>, Failure> {
    let roots = roots(inputs, layout)?;
    let out = layout.directory.as_deref().and_then(identity);
    let (recursive, naming) = (layout.recursive, layout.naming.clone());
    let beside = layout.directory.is_none();
    let walk = move |root: Root| {
        let depth = if recursive { usize::MAX } else { 0 };
        let entries = WalkDir::new(&root.from)
            .max_depth(depth)
            .sort_by_file_name()
            .into_iter()
            .filter_entry(move |entry| out.is_none() || directory_identity(entry) != out);
        let naming = naming.clone();
        entries.filter_map(move |entry| match entry {
            Ok(entry) if !recursive && entry.path().is_dir() => Some(Err(directory(&entry))),
            Ok(entry) if is_skipped(&entry, beside, &naming) => None,
            Ok(entry) => Some(job(&root, &entry, &naming)),
            Err(error) => Some(Err(unwalkable(&root, &error))),
        })
    };
    Ok(roots.into_iter().flat_map(walk))
}

/// Two inputs that would become the same output are refused before anything is written.
fn roots(inputs: &[PathBuf], layout: &Layout) -> Result<Vec<Root>, Failure> {
    let mut taken = BTreeSet::new();
    let mut roots = Vec::with_capacity(inputs.len());
    for from in inputs {
        if from.as_os_str() == "-" {
            return Err(Failure::usage(
                "stdin cannot be one of several inputs",
                "give stdin alone, with -o FILE or to stdout",
            ));
        }
        let to = match (&layout.directory, from.file_name()) {
            (None, _) => from.clone(),
            (Some(directory), Some(name)) => directory.join(name),
            (Some(directory), None) => directory.clone(),
        };
        let whole = layout.directory.as_ref() == Some(&to) && inputs.len() > 1;
        if whole || !taken.insert(to.clone()) {
            return Err(Failure::usage(
                format!(
                    "another input would be written to the place of {}",
                    from.display()
                ),
                "give such inputs one by one, with different output directories",
            ));
        }
        roots.push(Root {
            from: from.clone(),
            to,
        });
    }
    Ok(roots)
}

/// What is no input although the walk comes by: directories themselves, links, devices, files
/// half-written by a process like this one, and, beside their plaintexts, files sealed already.
/// What the command line names itself is never skipped.
fn is_skipped(entry: &DirEntry, beside: bool, naming: &Naming) -> bool {
    if entry.depth() == 0 {
        return entry.path().is_dir();
    }
    let name = entry.file_name();
    let sealed = match naming {
        Naming::Add(suffix) => beside && stripped(name, suffix).is_some(),
        Naming::Strip(_) | Naming::Keep => false,
    };
    !entry.file_type().is_file() || sealed || is_temporary(name)
}

fn job(root: &Root, entry: &DirEntry, naming: &Naming) -> Found {
    let from = entry.path().to_path_buf();
    let below = from.strip_prefix(&root.from).unwrap_or(Path::new(""));
    let mut to = root.to.clone();
    if !below.as_os_str().is_empty() {
        to.push(below);
    }
    let name = to.file_name().unwrap_or_default().to_owned();
    match naming {
        Naming::Keep => {}
        Naming::Add(suffix) => {
            let mut longer = name;
            longer.push(suffix);
            to.set_file_name(longer);
        }
        Naming::Strip(suffix) => match stripped(&name, suffix) {
            Some(shorter) => to.set_file_name(shorter),
            None => {
                let what = format!("its name does not end with {suffix}");
                let hint = "name the output with -o, or the suffix with --suffix";
                return Err((from, Failure::usage(what, hint)));
            }
        },
    }
    Ok(Job { from, to })
}

/// `name` without `suffix`; a name that is nothing but the suffix does not have it.
fn stripped<'a>(name: &'a OsStr, suffix: &str) -> Option<&'a OsStr> {
    let shorter = name.as_bytes().strip_suffix(suffix.as_bytes())?;
    (!shorter.is_empty()).then(|| OsStr::from_bytes(shorter))
}

fn is_temporary(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with('.') && name.contains(TEMPORARY_MARK) && name.ends_with(TEMPORARY_END)
}

fn directory(entry: &DirEntry) -> (PathBuf, Failure) {
    let failure = Failure::usage("this is a directory", "walk into directories with -r");
    (entry.path().to_path_buf(), failure)
}

fn unwalkable(root: &Root, error: &walkdir::Error) -> (PathBuf, Failure) {
    let path = error.path().unwrap_or(&root.from).to_path_buf();
    let failure = match error.io_error() {
        Some(error) => Failure::io("read", &path.display().to_string(), error),
        None => Failure::usage(
            "a link leads back into its own tree",
            "give another directory",
        ),
    };
    (path, failure)
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let of = |metadata: Metadata| (metadata.dev(), metadata.ino());
    std::fs::metadata(path).ok().map(of)
}

fn directory_identity(entry: &DirEntry) -> Option<(u64, u64)> {
    match entry.file_type().is_dir() {
        true => identity(entry.path()),
        false => None,
    }
}

/// Does `work` on every job, some at a time. A failure is told and counted and stops nobody; the
/// result is the failure of the first file that failed, in the order of the walk.
pub(crate) fn run(
    jobs: impl Iterator<Item = Found> + Send,
    threads: Option<u16>,
    session: &Session,
    progress: &Progress,
    work: impl Fn(&Job) -> Result<Done, Failure> + Sync,
) -> Result<(), Failure> {
    let jobs = Mutex::new(jobs.enumerate());
    let counts = Mutex::new(Counts::default());
    let worker = || {
        loop {
            let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((at, found)) = next else {
                return;
            };
            let outcome = match found {
                Ok(job) => work(&job).map_err(|failure| (job.from, failure)),
                Err(failed) => Err(failed),
            };
            let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            progress.suspended(|| tell(session, &outcome));
            counts.add(at, outcome.map_err(|(_, failure)| failure));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..thread_count(threads) {
            scope.spawn(worker);
        }
        worker();
    });
    progress.finish();
    let counts = counts.into_inner().unwrap_or_else(PoisonError::into_inner);
    counts.conclude(session)
}

fn thread_count(asked: Option<u16>) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    asked.map_or_else(|| cores().min(THREADS_MAX_DEFAULT), usize::from)
}

fn tell(session: &Session, outcome: &Result<Done, (PathBuf, Failure)>) {
    match outcome {
        Ok(done) => session.report.done(done),
        Err((path, failure)) => session.report.failure(failure, Some(path)),
    }
}

#[derive(Default)]
struct Counts {
    done: u64,
    failed: u64,
    /// Place in the walk, and what went wrong there.
    first: Option<(usize, Failure)>,
}

impl Counts {
    fn add(&mut self, at: usize, outcome: Result<Done, Failure>) {
        let failure = match outcome {
            Ok(_) => {
                self.done += 1;
                return;
            }
            Err(failure) => failure,
        };
        self.failed += 1;
        if self.first.as_ref().is_none_or(|(first, _)| at < *first) {
            self.first = Some((at, failure));
        }
    }

    /// The summary, and the exit code of the first failure.
    fn conclude(self, session: &Session) -> Result<(), Failure> {
        let Some((_, first)) = self.first else {
            session.report.note(&format!("{} files done", self.done));
            return Ok(());
        };
        Err(Failure::new(
            first.exit,
            format!(
                "{} of {} files failed",
                self.failed,
                self.done + self.failed
            ),
            "see the errors above; the other files are done",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn layout(naming: Naming, directory: Option<&Path>) -> Layout {
        Layout {
            naming,
            directory: directory.map(Path::to_path_buf),
            recursive: true,
        }
    }

    fn wax() -> String {
        ".wax".into()
    }

    /// The jobs relative to `base`, as `from>to`; failures as `from!`.
    fn walked(inputs: &[PathBuf], layout: &Layout, base: &Path) -> Vec<String> {
        let short = |path: &Path| path.strip_prefix(base).unwrap().display().to_string();
        jobs(inputs, layout)
            .unwrap()
            .map(|found| match found {
                Ok(job) => format!("{}>{}", short(&job.from), short(&job.to)),
                Err((path, _)) => format!("{}!", short(&path)),
            })
            .collect()
    }

    fn tree() -> tempfile::TempDir {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir_all(base.path().join("in/sub")).unwrap();
        for name in ["b", "a.wax", "sub/c", ".b.waxseal-abcdef.tmp"] {
            fs::write(base.path().join("in").join(name), "x").unwrap();
        }
        std::os::unix::fs::symlink("..", base.path().join("in/loop")).unwrap();
        std::os::unix::fs::symlink("b", base.path().join("in/link")).unwrap();
        base
    }

    #[test]
    fn beside_their_inputs_sealed_files_are_left_alone() {
        let base = tree();
        let inputs = [base.path().join("in")];
        let found = walked(&inputs, &layout(Naming::Add(wax()), None), base.path());
        assert_eq!(found, ["in/b>in/b.wax", "in/sub/c>in/sub/c.wax"]);
    }

    #[test]
    fn a_directory_gets_the_tree_and_is_not_walked_into() {
        let base = tree();
        let (inputs, out) = ([base.path().join("in")], base.path().join("in/out"));
        fs::create_dir(&out).unwrap();
        fs::write(out.join("z"), "x").unwrap();
        let found = walked(
            &inputs,
            &layout(Naming::Add(wax()), Some(&out)),
            base.path(),
        );
        assert_eq!(
            found,
            [
                "in/a.wax>in/out/in/a.wax.wax",
                "in/b>in/out/in/b.wax",
                "in/sub/c>in/out/in/sub/c.wax"
            ]
        );
    }

    #[test]
    fn opening_takes_the_suffix_off() {
        let base = tree();
        let inputs = [base.path().join("in")];
        let found = walked(&inputs, &layout(Naming::Strip(wax()), None), base.path());
        assert_eq!(found, ["in/a.wax>in/a", "in/b!", "in/sub/c!"]);
        assert_eq!(stripped(OsStr::new(".wax"), ".wax"), None);
    }

    #[test]
    fn a_directory_needs_recursion() {
        let base = tree();
        let flat = Layout {
            recursive: false,
            ..layout(Naming::Add(wax()), None)
        };
        let inputs = [base.path().join("in"), base.path().join("in/b")];
        assert_eq!(
            walked(&inputs, &flat, base.path()),
            ["in!", "in/b>in/b.wax"]
        );
    }

    #[test]
    fn inputs_that_meet_are_refused() {
        let out = Path::new("out");
        let refused = |inputs: &[&str], directory| {
            let inputs: Vec<_> = inputs.iter().map(PathBuf::from).collect();
            jobs(&inputs, &layout(Naming::Add(wax()), directory)).is_err()
        };
        assert!(refused(&["a/x", "b/x"], Some(out)));
        assert!(refused(&["x", "x"], None));
        assert!(refused(&[".", "x"], Some(out)));
        assert!(refused(&["x", "-"], None));
        assert!(!refused(&["a/x", "b/y"], Some(out)));
        assert!(!refused(&["a/x", "b/x"], None));
    }
}
