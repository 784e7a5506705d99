//! From options to files: one input and one output, or many.
//!
//! ```text
//! one    input ─► work ─► output
//! many   walk ─► crew of workers, each: input ─► work ─► complete ┬─► named            --no-sync
//!                                                                 └─► batch: synced, named, synced
//! ```

use super::batch::{Batch, Finished, Settled};
use super::caching::Manager;
use super::done::{self, Direction, Opening};
use super::{Session, Totals};
use crate::args::Files;
use crate::failure::Failure;
use crate::input::Input;
use crate::interrupt;
use crate::output::{Complete, Content, Directory, Output, Unnamed, stale};
use crate::progress::Progress;
use crate::report::{Done, Planned};
use crate::tree::crew::{self, Worker};
use crate::tree::filter::Filter;
use crate::tree::tally::Tally;
use crate::tree::{self, Item, Job, Layout, Naming};
use std::collections::BTreeSet;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The suffix of sealed files unless another is asked for.
const SUFFIX_DEFAULT: &str = ".wax";
/// Only the owner may look into directories of what was sealed or opened, as into the files.
const DIRECTORY_MODE: u32 = 0o700;

/// What [`over_files`] does with one input and one output, both open. The output is committed by
/// the caller, when the work has succeeded.
pub(super) type Work<'a> = dyn Fn(Input, &mut Output) -> Result<Totals, Failure> + Sync + 'a;

/// What a command does with files.
pub(super) struct Task<'a> {
    pub(super) content: Content,
    pub(super) way: Direction,
    pub(super) work: &'a Work<'a>,
    /// How `--skip-done` opens messages.
    pub(super) opening: Opening<'a>,
    /// What this command takes its data keys from.
    pub(super) manager: &'a Manager,
}

/// Does `task` from the one input to the one output, or on each of many files.
pub(super) fn over_files(files: &Files, session: &Session, task: &Task<'_>) -> Result<(), Failure> {
    if files.dry_run {
        return plan(files, session, task.way, Some(&task.opening));
    }
    match is_many(files) {
        true => many_files(files, session, task),
        false => one_file(files, session, task),
    }
}

/// Whether files become files by rule, rather than one input one output.
pub(super) fn is_many(files: &Files) -> bool {
    let one = files.inputs.len() < 2 && !files.recursive && files.suffix.is_none();
    !one || files.output.as_deref().is_some_and(is_directory)
}

/// Threads for one file: as many as there are cores (`None`) unless others are asked for. Of many
/// files each has one, because several are worked on at once.
pub(super) fn workers(files: &Files) -> Option<NonZeroUsize> {
    match (is_many(files), files.jobs) {
        (false, None) => None,
        (false, Some(jobs)) => NonZeroUsize::new(usize::from(jobs)),
        (true, _) => Some(NonZeroUsize::MIN),
    }
}

fn one_file(files: &Files, session: &Session, task: &Task<'_>) -> Result<(), Failure> {
    if let (Some(how), Some(job)) = (files.skip_done, one_job(files))
        && done::is_done(&job, how, task.way, &task.opening)
    {
        session
            .report
            .note(&format!("{} is done already", job.to.display()));
        session.report.skipped(&planned(&job, "skip"));
        return Ok(());
    }
    let input = Input::open(files.inputs.first().map(AsRef::as_ref))?;
    let output = files.output.as_deref();
    let sync = !files.no_sync;
    let output = Output::open(output, task.content, sync, input.identity, &session.world)?;
    let progress = Progress::new(session.shows_progress(), input.bytes);
    let through = through(input, output, &progress, task.work);
    let done = through.and_then(|(done, complete)| {
        complete.commit()?;
        Ok(done)
    });
    progress.finish();
    session.report.done(&done?);
    Ok(())
}

/// The files of a run over one, where both are files.
fn one_job(files: &Files) -> Option<Job> {
    let named = |path: &&PathBuf| path.as_os_str() != "-";
    Some(Job {
        from: files.inputs.first().filter(named)?.clone(),
        to: files.output.as_ref().filter(named)?.clone(),
    })
}

/// Does `task` on each of many files.
pub(super) fn many_files(files: &Files, session: &Session, task: &Task<'_>) -> Result<(), Failure> {
    let layout = layout(files, task.way)?;
    if let Some(directory) = &files.output {
        make_directory(directory)?;
    }
    let items = tree::items(&files.inputs, &layout)?;
    let progress = Progress::new(session.shows_progress(), None);
    let tally = Arc::new(Tally::new(task.manager.data_key_count()));
    let (report, counts) = (session.report, tally.clone());
    interrupt::with_last_words(move || {
        let mut summary = counts.summary();
        summary.interrupted = true;
        report.summary(&summary);
    });
    let threads = crew::thread_count(files.jobs);
    let swept = Mutex::new(BTreeSet::new());
    crew::run(items, threads, || Hand {
        files,
        session,
        task,
        progress: &progress,
        tally: &tally,
        swept: &swept,
        directory: None,
        batch: Batch::new(threads),
    });
    progress.finish();
    interrupt::without_last_words();
    tally.conclude(&session.report)
}

fn layout(files: &Files, way: Direction) -> Result<Layout, Failure> {
    if files.inputs.is_empty() {
        return Err(Failure::usage(
            "-r, --suffix and an output directory need files",
            "name the files or directories to work on",
        ));
    }
    if files
        .output
        .as_deref()
        .is_some_and(|path| path.as_os_str() == "-")
    {
        return Err(Failure::usage(
            "several files cannot go to stdout",
            "name a directory with -o, or leave it out to write beside the inputs",
        ));
    }
    let suffix = files.suffix.as_deref().unwrap_or(SUFFIX_DEFAULT).to_owned();
    let filter = Filter::new(&files.include, &files.exclude);
    Ok(Layout {
        naming: match way {
            Direction::Seal => Naming::Add(suffix),
            Direction::Open => Naming::Strip(suffix),
            Direction::Again => Naming::Keep,
        },
        filter: filter.map_err(|what| Failure::usage(what, "give fewer or simpler patterns"))?,
        directory: files.output.clone(),
        recursive: files.recursive,
    })
}

/// One of the threads that work on many files.
struct Hand<'a> {
    files: &'a Files,
    session: &'a Session,
    task: &'a Task<'a>,
    progress: &'a Progress,
    tally: &'a Tally,
    /// Directories whose stale files were removed, where the walk does not see them.
    swept: &'a Mutex<BTreeSet<PathBuf>>,
    /// Where the last output went.
    directory: Option<Arc<Directory>>,
    batch: Batch,
}

impl Worker for Hand<'_> {
    fn work(&mut self, at: usize, item: Item) {
        match item {
            Item::File(job) => self.file(at, job),
            Item::Directory { to, even_empty } => {
                let made = match self.files.output.is_some() && even_empty && !to.is_dir() {
                    true => make_directory(&to),
                    false => {
                        stale::sweep(&to, None);
                        Ok(())
                    }
                };
                if let Err(failure) = made {
                    self.failed(at, &to, failure);
                }
            }
            Item::LeftOut => self.tally.left_out(),
            Item::Stale(path) => drop(stale::remove_if_stale(&path)),
            Item::Failed(path, failure) => self.failed(at, &path, failure),
        }
    }

    fn finish(&mut self) {
        self.settle();
    }
}

/// An output that waits for its name.
struct Made {
    done: Done,
    complete: Complete,
    directory: Arc<Directory>,
}

impl Hand<'_> {
    fn file(&mut self, at: usize, job: Job) {
        let opening = &self.task.opening;
        let is_done = |how| done::is_done(&job, how, self.task.way, opening);
        if self.files.skip_done.is_some_and(is_done) {
            self.tally.skipped();
            let skipped = planned(&job, "skip");
            let tell = || self.session.report.skipped(&skipped);
            return self.progress.suspended(tell);
        }
        match self.made(&job) {
            Ok(made) if !self.files.no_sync && self.batch.takes(&made.done) => {
                self.wait(at, job, made);
            }
            Ok(Made { done, complete, .. }) => {
                let named = complete.commit();
                self.conclude(Settled {
                    at,
                    job,
                    done,
                    named,
                });
            }
            Err(failure) => self.failed(at, &job.from, failure),
        }
    }

    /// Leaves a file to the next sync.
    fn wait(&mut self, at: usize, job: Job, made: Made) {
        let Made {
            done,
            mut complete,
            directory,
        } = made;
        if let Err(unnamed) = complete.finish() {
            let named = Err(unnamed);
            return self.conclude(Settled {
                at,
                job,
                done,
                named,
            });
        }
        self.batch.add(Finished {
            at,
            job,
            done,
            complete,
            directory,
        });
        if self.batch.is_full() {
            self.settle();
        }
    }

    /// The output in its directory, complete and without its name.
    fn made(&mut self, job: &Job) -> Result<Made, Failure> {
        let input = Input::open(Some(&job.from))?;
        let directory = self.directory_of(&job.to)?;
        let (content, sync) = (self.task.content, !self.files.no_sync);
        let output = Output::open_in(&directory, &job.to, content, sync, &self.session.world)?;
        let (done, complete) = through(input, output, self.progress, self.task.work)?;
        Ok(Made {
            done,
            complete,
            directory,
        })
    }

    /// What comes of a file that got its name, or did not.
    fn conclude(&self, settled: Settled) {
        let Settled {
            at,
            job,
            done,
            named,
        } = settled;
        let done = match named {
            Ok(()) => Ok(done),
            Err(Unnamed::Special) => self.again(&job),
            Err(Unnamed::Failed(failure)) => Err(failure),
        };
        match done {
            Ok(done) => {
                self.tally.done(done.plaintext_bytes, done.ciphertext_bytes);
                self.progress.suspended(|| self.session.report.done(&done));
            }
            Err(failure) => self.failed(at, &job.from, failure),
        }
    }

    /// The same by the output's path: it leads to a link, or to no file.
    fn again(&self, job: &Job) -> Result<Done, Failure> {
        let input = Input::open(Some(&job.from))?;
        let (to, sync) = (Some(job.to.as_path()), !self.files.no_sync);
        let output = Output::open(to, self.task.content, sync, None, &self.session.world)?;
        let (done, complete) = through(input, output, self.progress, self.task.work)?;
        complete.commit()?;
        Ok(done)
    }

    fn settle(&mut self) {
        for settled in self.batch.settle() {
            self.conclude(settled);
        }
    }

    fn failed(&self, at: usize, path: &Path, failure: Failure) {
        let tell = || self.session.report.failure(&failure, Some(path));
        self.progress.suspended(tell);
        self.tally.failed(at, path, failure);
    }

    /// The directory that `path` is in, open; made if it is below the output directory.
    fn directory_of(&mut self, path: &Path) -> Result<Arc<Directory>, Failure> {
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if let Some(known) = self
            .directory
            .as_ref()
            .filter(|known| known.path() == parent)
        {
            return Ok(known.clone());
        }
        let mut opened = Directory::open(parent);
        let absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        if self.files.output.is_some() && opened.as_ref().is_err_and(absent) {
            make_directory(parent)?;
            opened = Directory::open(parent);
        }
        let opened = opened
            .map_err(|error| Failure::io("write into", &parent.display().to_string(), &error))?;
        if !self.files.recursive {
            let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
            if swept.insert(parent.to_path_buf()) {
                stale::sweep(parent, None);
            }
        }
        Ok(self.directory.insert(Arc::new(opened)).clone())
    }
}

/// `--dry-run`: tells what would be done. `opening` is needed for `--skip-done` alone.
pub(super) fn plan(
    files: &Files,
    session: &Session,
    way: Direction,
    opening: Option<&Opening<'_>>,
) -> Result<(), Failure> {
    let action = |job: &Job| plan_one(job, files, way, opening);
    if !is_many(files) {
        let job = one_job(files).unwrap_or_else(|| Job {
            from: files.inputs.first().map_or("-".into(), Clone::clone),
            to: files.output.clone().unwrap_or_else(|| "-".into()),
        });
        let action = action(&job)?;
        session.report.planned(&planned(&job, action));
        return Ok(());
    }
    let tally = Tally::new(None);
    for (at, item) in tree::items(&files.inputs, &layout(files, way)?)?.enumerate() {
        let (path, found) = match item {
            Item::File(job) => {
                let found = action(&job).map(|action| planned(&job, action));
                (job.from, found)
            }
            Item::Failed(path, failure) => (path, Err(failure)),
            Item::LeftOut | Item::Stale(_) | Item::Directory { .. } => continue,
        };
        match found {
            Ok(planned) => {
                session.report.planned(&planned);
                match planned.action {
                    "skip" => tally.skipped(),
                    _ => tally.done(0, 0),
                }
            }
            Err(failure) => {
                session.report.failure(&failure, Some(&path));
                tally.failed(at, &path, failure);
            }
        }
    }
    tally.conclude_plan(&session.report)
}

/// What would become of one file, as far as a look at it tells.
fn plan_one(
    job: &Job,
    files: &Files,
    way: Direction,
    opening: Option<&Opening<'_>>,
) -> Result<&'static str, Failure> {
    if job.from.as_os_str() != "-" {
        // Whether it is there, is a file, and may be read.
        Input::open(Some(&job.from))?;
    }
    let is_done = |how| opening.is_some_and(|opening| done::is_done(job, how, way, opening));
    if files.skip_done.is_some_and(is_done) {
        return Ok("skip");
    }
    match std::fs::metadata(&job.to) {
        Ok(there) if there.is_dir() => Err(Failure::usage(
            format!("{} is a directory", job.to.display()),
            "move it away, or write elsewhere with -o",
        )),
        Ok(_) => Ok("replace"),
        Err(_) => Ok("write"),
    }
}

fn planned(job: &Job, action: &'static str) -> Planned {
    Planned {
        file: job.from.display().to_string(),
        output: job.to.display().to_string(),
        action,
    }
}

/// A directory, or what is written like one.
fn is_directory(path: &Path) -> bool {
    path.is_dir() || path.as_os_str().as_bytes().ends_with(b"/")
}

fn make_directory(path: &Path) -> Result<(), Failure> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = std::fs::DirBuilder::new();
    let made = builder.recursive(true).mode(DIRECTORY_MODE).create(path);
    made.map_err(|error| Failure::io("make the directory", &path.display().to_string(), &error))
}

/// The work from `input` to `output`, which is complete then.
fn through(
    input: Input,
    mut output: Output,
    progress: &Progress,
    work: &Work<'_>,
) -> Result<(Done, Complete), Failure> {
    let (file, name) = (input.label.clone(), output.label.clone());
    let input = input.watched(progress);
    let totals = work(input, &mut output)?;
    let complete = output.complete()?;
    let done = Done {
        file,
        output: name,
        format: totals.format,
        plaintext_bytes: totals.plaintext_bytes,
        ciphertext_bytes: totals.ciphertext_bytes,
    };
    Ok((done, complete))
}
