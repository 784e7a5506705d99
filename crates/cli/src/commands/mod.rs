//! One file a command.

mod audit;
mod backup;
mod batch;
mod blob;
mod branch_key;
mod caching;
mod completion;
mod config;
mod decrypt;
mod demo;
mod doctor;
mod done;
mod encrypt;
mod explain;
mod files;
mod inspect;
mod key;
mod man;
mod principals;
mod range;
mod reencrypt;
mod root;
mod seed;
mod serve;
mod ship;

use crate::args::{Command, KmsChoice};
use crate::failure::Failure;
use crate::keys::KeyArgs;
use crate::report::Report;
use crate::terminal::plain;
use crate::world::World;
use serde_json::Value;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
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
        Command::Reencrypt(args) => reencrypt::run(args, session),
        Command::Inspect(args) => inspect::run(&args, session),
        Command::Demo(args) => demo::run(&args, session),
        Command::Key(args) => key::run(args, session),
        Command::BranchKey(args) => branch_key::run(args, session),
        Command::User(args) => principals::user(args, session),
        Command::Role(args) => principals::role(args, session),
        Command::Oidc(args) => principals::oidc(args, session),
        Command::Backup(args) => backup::backup(&args, session),
        Command::Restore(args) => backup::restore(&args, session),
        Command::Root(args) => root::run(args, session),
        Command::Audit(args) => audit::run(args, session),
        Command::Serve(args) => serve::run(&args, session),
        Command::Explain(args) => explain::run(args, session),
        Command::Doctor(args) => doctor::run(&args, session),
        Command::Config(args) => config::run(&args, session),
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

    /// A line in words, or one of JSON.
    fn tell(&self, line: &str, value: impl FnOnce() -> Value) -> Result<(), Failure> {
        if self.report.json {
            self.report.item(&value(), false);
            return Ok(());
        }
        writeln!(std::io::stdout().lock(), "{}", plain(line))
            .map_err(|error| Failure::io("write", "stdout", &error))
    }

    fn shows_progress(&self) -> bool {
        self.world.stderr_is_terminal && !self.report.quiet && !self.report.json
    }
}

/// What went through one file.
struct Totals {
    format: &'static str,
    plaintext_bytes: u64,
    ciphertext_bytes: u64,
}

fn context_of(pairs: &[(String, String)]) -> Result<EncryptionContext, Failure> {
    let mut context = EncryptionContext::new();
    for (name, value) in pairs {
        context.insert(name, value)?;
    }
    Ok(context)
}

/// The bytes of a file, and no more of them than one beyond `bytes_max`, for the parser to refuse.
fn read_file(path: &Path, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(bytes_max as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| Failure::io("read", &path.display().to_string(), &error))?;
    Ok(bytes)
}
