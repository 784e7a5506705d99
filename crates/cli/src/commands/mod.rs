//! One file a command.

mod audit;
mod blob;
mod completion;
mod decrypt;
mod demo;
mod encrypt;
mod inspect;
mod key;
mod man;

use crate::args::{Command, Files, KmsChoice};
use crate::failure::Failure;
use crate::input::Input;
use crate::keys::KeyArgs;
use crate::output::{Content, Output};
use crate::progress::Progress;
use crate::report::{Done, Report};
use crate::tree::{self, Layout, Naming};
use crate::world::World;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use waxseal_core::EncryptionContext;

/// What every command is given besides its own arguments.
pub(crate) struct Session {
    /// Where results, notes and errors are told.
    pub(crate) report: Report,
    /// `--kms`.
    pub(crate) kms: Option<KmsChoice>,
    /// The environment.
    pub(crate) world: World,
}

/// Runs one command.
pub(crate) fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Encrypt(args) => encrypt::run(args, session),
        Command::Decrypt(args) => decrypt::run(args, session),
        Command::Inspect(args) => inspect::run(&args, session),
        Command::Demo(args) => demo::run(&args, session),
        Command::Key(args) => key::run(args, session),
        Command::Audit(args) => audit::run(args, session),
        Command::Completion(args) => completion::run(&args),
        Command::Man(args) => man::run(&args),
    }
}

impl Session {
    /// The keys as typed, with the KMS that bare names mean.
    fn keys(&self, keys: &[String]) -> KeyArgs {
        KeyArgs {
            keys: keys.to_vec(),
            kms: self.kms,
        }
    }

    fn shows_progress(&self) -> bool {
        self.world.stderr_is_terminal && !self.report.quiet && !self.report.json
    }
}

/// The suffix of sealed files unless another is asked for.
const SUFFIX_DEFAULT: &str = ".wax";

/// What [`over_files`] does with one input and one output, both open. The output is committed by
/// the caller, when the work has succeeded.
type Work<'a> = dyn Fn(Input, &mut Output) -> Result<Totals, Failure> + Sync + 'a;

/// What went through one file.
struct Totals {
    format: &'static str,
    plaintext_bytes: u64,
    ciphertext_bytes: u64,
}

/// Does `work` from the one input to the one output, or on each of many files.
fn over_files(
    files: &Files,
    content: Content,
    naming: fn(String) -> Naming,
    session: &Session,
    work: &Work<'_>,
) -> Result<(), Failure> {
    if is_one(files) {
        return one_file(files, content, session, work);
    }
    many_files(files, content, naming, session, work)
}

/// Whether there is one input and one output.
fn is_one(files: &Files) -> bool {
    let into_directory = files.output.as_deref().is_some_and(is_directory);
    let one = files.inputs.len() < 2 && !files.recursive && files.suffix.is_none();
    one && !into_directory
}

/// Threads for one file: as many as there are cores (`None`) unless others are asked for. Of many
/// files each has one, because several are worked on at once.
fn workers(files: &Files) -> Option<NonZeroUsize> {
    match (is_one(files), files.jobs) {
        (true, None) => None,
        (true, Some(jobs)) => NonZeroUsize::new(usize::from(jobs)),
        (false, _) => Some(NonZeroUsize::MIN),
    }
}

fn one_file(
    files: &Files,
    content: Content,
    session: &Session,
    work: &Work<'_>,
) -> Result<(), Failure> {
    let input = Input::open(files.inputs.first().map(AsRef::as_ref))?;
    let output = files.output.as_deref();
    let sync = !files.no_sync;
    let output = Output::open(output, content, sync, input.identity, &session.world)?;
    let progress = Progress::new(session.shows_progress(), input.bytes);
    let done = through(input, output, &progress, work);
    progress.finish();
    session.report.done(&done?);
    Ok(())
}

fn many_files(
    files: &Files,
    content: Content,
    naming: fn(String) -> Naming,
    session: &Session,
    work: &Work<'_>,
) -> Result<(), Failure> {
    if files.inputs.is_empty() {
        return Err(Failure::usage(
            "-r, --suffix and an output directory need files",
            "name the files or directories to work on",
        ));
    }
    let suffix = files.suffix.as_deref().unwrap_or(SUFFIX_DEFAULT);
    if let Some(directory) = &files.output {
        make_directory(directory)?;
    }
    let layout = Layout {
        naming: naming(suffix.to_owned()),
        directory: files.output.clone(),
        recursive: files.recursive,
    };
    let jobs = tree::jobs(&files.inputs, &layout)?;
    let progress = Progress::new(session.shows_progress(), None);
    let made = Mutex::new(PathBuf::new());
    tree::run(jobs, files.jobs, session, &progress, |job| {
        let input = Input::open(Some(&job.from))?;
        if let Some(parent) = job.to.parent().filter(|_| files.output.is_some()) {
            // One directory's files come one after the other.
            let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
            if *made != parent {
                make_directory(parent)?;
                *made = parent.to_path_buf();
            }
        }
        let (to, sync) = (Some(job.to.as_path()), !files.no_sync);
        let output = Output::open(to, content, sync, None, &session.world)?;
        through(input, output, &progress, work)
    })
}

/// A directory, or what is written like one.
fn is_directory(path: &Path) -> bool {
    path.is_dir() || path.as_os_str().as_bytes().ends_with(b"/")
}

fn make_directory(path: &Path) -> Result<(), Failure> {
    if path.as_os_str() == "-" {
        return Err(Failure::usage(
            "several files cannot go to stdout",
            "name a directory with -o, or leave it out to write beside the inputs",
        ));
    }
    if path.is_dir() {
        return Ok(());
    }
    let made = std::fs::create_dir_all(path);
    made.map_err(|error| Failure::io("make the directory", &path.display().to_string(), &error))
}

fn through(
    input: Input,
    mut output: Output,
    progress: &Progress,
    work: &Work<'_>,
) -> Result<Done, Failure> {
    let (file, name) = (input.label.clone(), output.label.clone());
    let input = input.watched(progress);
    let totals = work(input, &mut output)?;
    output.commit()?;
    Ok(Done {
        file,
        output: name,
        format: totals.format,
        plaintext_bytes: totals.plaintext_bytes,
        ciphertext_bytes: totals.ciphertext_bytes,
    })
}

fn context_of(pairs: &[(String, String)]) -> Result<EncryptionContext, Failure> {
    let mut context = EncryptionContext::new();
    for (name, value) in pairs {
        context.insert(name, value)?;
    }
    Ok(context)
}
