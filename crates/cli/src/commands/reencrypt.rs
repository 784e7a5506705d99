//! `waxseal reencrypt`: a new data key, other recipients, another suite, in one pass.
//!
//! ```text
//! input ─► opener ─► sealer ─► output       frame by frame, each verified before it is sealed
//! ```
//!
//! Nothing gets a name before the old message has verified to its end, its signature included.

use super::caching::{self, Manager};
use super::done::{Direction, Opening};
use super::encrypt::Recipe as Sealing;
use super::files::{self, Task};
use super::{Session, Totals, context_of, decrypt, inspect};
use crate::args::{Caching, Files, Format, Reencrypt};
use crate::failure::Failure;
use crate::input::{Input, Whole};
use crate::keys;
use crate::output::{Content, Output};
use pollster::block_on;
use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;
use waxseal::materials::DefaultManager;
use waxseal::message::{self, Incoming, Limits, OpenError, OpenOptions, Release, SealError};
use waxseal::{direct, secretbox};
use waxseal_core::EncryptionContext;
use waxseal_core::keyring::Keyring;

/// Runs the command.
pub(super) fn run(args: Reencrypt, session: &Session) -> Result<(), Failure> {
    refuse(&args)?;
    let mut recipe = Recipe::new(&args, session)?;
    if args.files.inputs.len() > 1 || args.files.recursive {
        recipe.cache(&args.caching)?;
    }
    let work = |input: Input, output: &mut Output| recipe.reencrypt(input, output);
    let content = match args.base64 {
        true => Content::Base64,
        false => Content::Ciphertext,
    };
    let task = Task {
        content,
        way: Direction::Again,
        work: &work,
        opening: recipe.opening(),
        manager: recipe.sealing.manager(),
    };
    match one_in_place(&args.files) {
        Some(files) if args.in_place => files::over_files(&files, session, &task),
        None if args.in_place && !args.files.dry_run => {
            files::many_files(&args.files, session, &task)
        }
        _ => files::over_files(&args.files, session, &task),
    }
}

/// What cannot be done, and what was not said clearly enough to be done to files that are there.
fn refuse(args: &Reencrypt) -> Result<(), Failure> {
    if args.rewrap {
        return Err(Failure::policy(
            "a message cannot get other recipients without being encrypted again: a second header under its key gives the key of all its tags away",
            "leave out --rewrap: reencrypt makes a new data key in one pass; or rotate the KMS key, which changes no message",
        ));
    }
    if args.files.skip_done.is_some() {
        return Err(Failure::usage(
            "--skip-done cannot tell what was encrypted again from what was not",
            "reencrypt all of it, or the files that are left by name",
        ));
    }
    if args.sealing.keys.is_empty() {
        return Err(Failure::usage(
            "no key was named for the new messages",
            "give them with -k, those that are to stay as well; --from-key is for the old ones",
        ));
    }
    let files = &args.files;
    let several = files.inputs.len() > 1 || files.recursive || files.suffix.is_some();
    if several && !args.in_place && files.output.is_none() {
        return Err(Failure::usage(
            "it was not said where several files are to go",
            "name a directory with -o, or replace them with --in-place",
        ));
    }
    let stdin = files.inputs.is_empty() || files.inputs.iter().any(|path| path.as_os_str() == "-");
    if args.in_place && stdin {
        return Err(Failure::usage(
            "stdin cannot be replaced in place",
            "name the files",
        ));
    }
    Ok(())
}

/// One file that replaces itself, with no summary of one.
fn one_in_place(files: &Files) -> Option<Files> {
    match &files.inputs[..] {
        [path] if !path.is_dir() => Some(Files {
            output: Some(path.clone()),
            recursive: false,
            suffix: None,
            ..files.clone()
        }),
        _ => None,
    }
}

/// How everything of one command is opened and sealed again.
struct Recipe {
    in_place: bool,
    base64: bool,
    from: Arc<dyn Keyring>,
    from_manager: Manager,
    from_context: EncryptionContext,
    from_options: OpenOptions,
    secretbox_limits: secretbox::Limits,
    sealing: Sealing,
}

impl Recipe {
    fn new(args: &Reencrypt, session: &Session) -> Result<Self, Failure> {
        let from_context = context_of(&args.from_context)?;
        let mut secretbox_limits = secretbox::Limits::default();
        if let Some(bytes) = args.from_max_size {
            secretbox_limits.plaintext_bytes_max = bytes;
        }
        let from = keys::for_opening(&session.keys(&args.from_keys), &session.world)?;
        let policy = args.sealing.policy;
        Ok(Self {
            in_place: args.in_place,
            base64: args.base64,
            from_manager: Manager::Asking(DefaultManager::new(from.clone())),
            from,
            from_options: decrypt::open_options(from_context.clone(), policy, args.compat),
            from_context,
            secretbox_limits,
            sealing: Sealing::new(
                Format::Message,
                &args.sealing,
                files::workers(&args.files),
                session,
            )?,
        })
    }

    /// One data key for many files, and one question for those that share one.
    fn cache(&mut self, args: &Caching) -> Result<(), Failure> {
        self.from_manager = caching::manager(self.from.clone(), args)?;
        self.sealing.cache(args)
    }

    fn opening(&self) -> Opening<'_> {
        Opening {
            manager: &self.from_manager,
            keyring: self.from.as_ref(),
            options: self.from_options.clone(),
            context: &self.from_context,
            secretbox_limits: self.secretbox_limits,
            format: None,
            suite: None,
        }
    }

    fn reencrypt(&self, mut input: Input, output: &mut Output) -> Result<Totals, Failure> {
        let (format, is_base64) = decrypt::recognised(&mut input, None)?;
        if self.in_place && is_base64 && !self.base64 {
            return Err(Failure::usage(
                format!("{} is base64 and would be replaced by binary", input.name),
                "say --base64 to keep it base64, or write to another file with -o",
            ));
        }
        if self.in_place {
            output.set_mode(input.mode)?;
        }
        let old = Old {
            name: input.name.clone(),
            bytes: input.bytes.filter(|_| !is_base64),
            reader: match is_base64 {
                true => input.into_base64_reader(),
                false => input.into_reader(),
            },
        };
        match format {
            Format::Message => self.message(old, output),
            Format::Direct => self.direct(old, output),
            Format::Secretbox => self.secretbox(old, output),
        }
    }

    fn message(&self, old: Old, output: &mut Output) -> Result<Totals, Failure> {
        let (from, to) = (old.name, output.name.clone());
        let opening = |error| Failure::opening(error, &from, &to);
        let sealing = |error| match error {
            // What the sealer reads is what the opener gives.
            SealError::Read(error) => Failure::opening(OpenError::from_io(error), &from, &to),
            other => Failure::sealing(other, &from, &to),
        };
        let incoming = Incoming::read(old.reader, &Limits::default()).map_err(opening)?;
        let is_signed = incoming.header().suite().is_signed();
        if is_signed && !output.withholds() {
            return Err(Failure::usage(
                format!(
                    "{from} is signed: nothing of it may leave before its signature is verified"
                ),
                "write to a file with -o, or replace it with --in-place",
            ));
        }
        // What was authenticated and not stored is not stored again.
        let stored = incoming.header().context().clone();
        let given = self.from_context.iter().map(|(name, _)| name);
        let unstored = given.filter(|name| stored.value(name).is_none());
        let unstored: BTreeSet<String> = unstored.map(str::to_owned).collect();
        let opener = incoming.open_with(&self.from_manager, &self.from_options);
        let opener = block_on(opener).map_err(opening)?;
        let header = opener.header();
        let body = old.bytes.and_then(|bytes| inspect::body_of(header, bytes));
        let plaintext_bytes = body.map(|body| body.plaintext_bytes);
        let sealer = self
            .sealing
            .sealer(header.context(), &unstored, plaintext_bytes);
        let sealer = sealer?.map_err(sealing)?;
        if let Some(bytes) = plaintext_bytes.and_then(|bytes| sealer.message_bytes(bytes)) {
            output.expect(bytes)?;
        }
        // The output is withheld until the end, or there is no signature to wait for.
        let mut plaintext = opener.into_reader(Release::Unverified).map_err(opening)?;
        let totals = message::seal_stream(sealer, &mut plaintext, output).map_err(sealing)?;
        Ok(totals_of(totals))
    }

    fn direct(&self, old: Old, output: &mut Output) -> Result<Totals, Failure> {
        let blob = old.whole(direct::BLOB_BYTES_MAX as u64)?;
        let plaintext = direct::open(self.from.as_ref(), blob.expose(), &self.from_context);
        let plaintext = block_on(plaintext).map_err(Failure::direct)?;
        self.seal(plaintext.expose(), output)
    }

    fn secretbox(&self, old: Old, output: &mut Output) -> Result<Totals, Failure> {
        let payload = old.whole(self.secretbox_limits.payload_bytes_max())?;
        let plaintext = secretbox::open_bytes(
            self.from.as_ref(),
            payload.expose(),
            &self.from_context,
            &self.secretbox_limits,
        );
        let plaintext = block_on(plaintext).map_err(Failure::secretbox)?;
        self.seal(plaintext.expose(), output)
    }

    /// A message of what another format held. Its context was the one that opened it.
    fn seal(&self, plaintext: &[u8], output: &mut Output) -> Result<Totals, Failure> {
        let to = output.name.clone();
        let failed = |error| Failure::sealing(error, "the plaintext", &to);
        let bytes = plaintext.len() as u64;
        let sealer = self
            .sealing
            .sealer(&self.from_context, &BTreeSet::new(), Some(bytes));
        let sealer = sealer?.map_err(failed)?;
        if let Some(bytes) = sealer.message_bytes(bytes) {
            output.expect(bytes)?;
        }
        let totals = message::seal_stream(sealer, &mut &*plaintext, output).map_err(failed)?;
        Ok(totals_of(totals))
    }
}

fn totals_of(totals: message::Totals) -> Totals {
    Totals {
        format: "message",
        plaintext_bytes: totals.plaintext_bytes,
        ciphertext_bytes: totals.message_bytes,
    }
}

/// What is replaced, out of its base64.
struct Old {
    name: String,
    /// Its length, where it is known.
    bytes: Option<u64>,
    reader: Box<dyn Read + Send>,
}

impl Old {
    fn whole(self, bytes_max: u64) -> Result<Whole, Failure> {
        let read = Whole::read(self.reader, self.bytes, bytes_max);
        let read = read.map_err(|error| Failure::reading(&self.name, &error))?;
        read.ok_or_else(|| {
            Failure::policy(
                format!("{} is longer than {bytes_max} bytes", self.name),
                "check that this is what you meant; --from-max-size raises the limit of a secretbox",
            )
        })
    }
}
