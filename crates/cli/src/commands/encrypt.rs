//! `waxseal encrypt`.

use super::caching::{self, Manager};
use super::done::{Direction, Opening};
use super::files::{self, Task};
use super::{Session, Totals, context_of};
use crate::args::{Caching, Encrypt, Format, Sealing};
use crate::failure::Failure;
use crate::input::{Input, Whole};
use crate::keys;
use crate::output::{Content, Output};
use pollster::block_on;
use std::collections::BTreeSet;
use std::io::Write;
use std::num::NonZeroUsize;
use std::sync::Arc;
use waxseal::direct;
use waxseal::materials::DefaultManager;
use waxseal::message::{self, OpenOptions, SealError, SealOptions, Sealer, Source, Suite};
use waxseal::secretbox;
use waxseal_core::crypto::random::Entropy;
use waxseal_core::keyring::Keyring;
use waxseal_core::{EncryptionContext, SecretBytes};

/// Names in a context with this prefix belong to the format.
const RESERVED_PREFIX: &str = "aws-crypto-";

/// Runs the command.
pub(super) fn run(args: Encrypt, session: &Session) -> Result<(), Failure> {
    if args.files.dry_run && args.files.skip_done.is_none() {
        return files::plan(&args.files, session, Direction::Seal, None);
    }
    let mut recipe = Recipe::new(
        args.format,
        &args.sealing,
        files::workers(&args.files),
        session,
    )?;
    if files::is_many(&args.files) {
        recipe.cache(&args.caching)?;
    }
    let content = match args.base64 {
        true => Content::Base64,
        false => Content::Ciphertext,
    };
    let work = |input: Input, output: &mut Output| recipe.seal(input, output);
    let task = Task {
        content,
        way: Direction::Seal,
        work: &work,
        opening: recipe.opening(),
        manager: recipe.manager(),
    };
    files::over_files(&args.files, session, &task)
}

/// How everything of one command is sealed.
pub(super) struct Recipe {
    format: Format,
    options: SealOptions,
    secretbox_limits: secretbox::Limits,
    /// Threads for one message; `None` is the number of cores.
    workers: Option<NonZeroUsize>,
    keyring: Arc<dyn Keyring>,
    manager: Manager,
    entropy: Arc<dyn Entropy>,
}

impl Recipe {
    /// Checks the options against each other and finds the keys.
    pub(super) fn new(
        format: Format,
        args: &Sealing,
        workers: Option<NonZeroUsize>,
        session: &Session,
    ) -> Result<Self, Failure> {
        refuse_misplaced(format, args)?;
        let commitment = args.policy.commitment_policy;
        let mut options = SealOptions {
            context: context_of(&args.context)?,
            suite: suite_of(args),
            commitment,
            ..SealOptions::default()
        };
        for (name, value) in &args.required_context {
            options.context.insert(name, value)?;
            options.required_names.insert(name.clone());
        }
        if let Some(frame_bytes) = args.frame {
            options.frame_bytes = frame_bytes;
        }
        let mut secretbox_limits = secretbox::Limits::default();
        if let Some(bytes) = args.max_size {
            secretbox_limits.plaintext_bytes_max = bytes;
        }
        let keyring = keys::for_sealing(&session.keys(&args.keys), &session.world)?;
        Ok(Self {
            format,
            options,
            secretbox_limits,
            manager: Manager::Asking(DefaultManager::new(keyring.clone())),
            workers,
            keyring,
            entropy: session.world.entropy.clone(),
        })
    }

    /// Seals `input` into `output`.
    fn seal(&self, input: Input, output: &mut Output) -> Result<Totals, Failure> {
        match self.format {
            Format::Message => self.message(input, output),
            Format::Direct => {
                let plaintext = whole(input, direct::PLAINTEXT_BYTES_MAX as u64, |bytes| {
                    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                    Failure::direct(direct::Error::PlaintextBytes { bytes })
                })?;
                let plaintext_bytes = plaintext.expose().len() as u64;
                let blob = self.direct(plaintext.into_secret())?;
                written(output, &blob, plaintext_bytes, "direct")
            }
            Format::Secretbox => {
                let bytes_max = self.secretbox_limits.plaintext_bytes_max;
                let plaintext = whole(input, bytes_max, |bytes| {
                    Failure::secretbox(secretbox::Error::PlaintextLength { bytes, bytes_max })
                })?;
                let payload = self.secretbox(plaintext.expose())?;
                written(
                    output,
                    &payload,
                    plaintext.expose().len() as u64,
                    "secretbox",
                )
            }
        }
    }

    fn message(&self, input: Input, output: &mut Output) -> Result<Totals, Failure> {
        let (from, to, bytes) = (input.name.clone(), output.name.clone(), input.bytes);
        let failed = |error| Failure::sealing(error, &from, &to);
        let options = self.options.clone();
        let sealer = Sealer::with(&self.manager, options, bytes, self.entropy.as_ref());
        let sealer = block_on(sealer).map_err(failed)?;
        if let Some(bytes) = bytes.and_then(|bytes| sealer.message_bytes(bytes)) {
            output.expect(bytes)?;
        }
        let region = input.region();
        let mut reader = input.into_reader();
        let source = match &region {
            Some(region) => Source::Positioned(region),
            None => Source::Stream(&mut reader),
        };
        let sealed = message::seal_parallel(sealer, source, output.as_sink(), self.workers);
        let totals = sealed.map_err(failed)?;
        output.ends_at(totals.message_bytes);
        Ok(Totals {
            format: "message",
            plaintext_bytes: totals.plaintext_bytes,
            ciphertext_bytes: totals.message_bytes,
        })
    }

    /// How what is there already is opened, to see whether it is what would be written.
    fn opening(&self) -> Opening<'_> {
        Opening {
            manager: &self.manager,
            keyring: self.keyring.as_ref(),
            options: OpenOptions {
                required_context: self.options.context.clone(),
                commitment: self.options.commitment,
                ..OpenOptions::default()
            },
            context: &self.options.context,
            secretbox_limits: self.secretbox_limits,
            format: Some(self.format),
            suite: Some(self.options.suite),
        }
    }

    /// One data key for many files.
    pub(super) fn cache(&mut self, args: &Caching) -> Result<(), Failure> {
        self.manager = caching::manager(self.keyring.clone(), args)?;
        Ok(())
    }

    /// Where the data keys come from.
    pub(super) fn manager(&self) -> &Manager {
        &self.manager
    }

    /// A sealer whose context has the pairs of `kept` too, those aside that the format adds itself
    /// and those that were given anew. The names in `unstored` stay out of the header.
    pub(super) fn sealer(
        &self,
        kept: &EncryptionContext,
        unstored: &BTreeSet<String>,
        plaintext_bytes: Option<u64>,
    ) -> Result<Result<Sealer, SealError>, Failure> {
        let mut options = self.options.clone();
        for (name, value) in kept.iter() {
            if name.starts_with(RESERVED_PREFIX) || options.context.value(name).is_some() {
                continue;
            }
            options.context.insert(name, value)?;
            if unstored.contains(name) {
                options.required_names.insert(name.to_owned());
            }
        }
        let entropy = self.entropy.as_ref();
        let sealer = Sealer::with(&self.manager, options, plaintext_bytes, entropy);
        Ok(block_on(sealer))
    }

    /// A direct blob.
    pub(super) fn direct(&self, plaintext: SecretBytes) -> Result<Vec<u8>, Failure> {
        let blob = direct::seal(self.keyring.as_ref(), plaintext, self.context());
        block_on(blob).map_err(Failure::direct)
    }

    /// A secretbox payload.
    pub(super) fn secretbox(&self, plaintext: &[u8]) -> Result<Vec<u8>, Failure> {
        let payload = secretbox::seal_bytes(
            self.keyring.as_ref(),
            plaintext,
            self.context(),
            self.entropy.as_ref(),
            &self.secretbox_limits,
        );
        block_on(payload).map_err(Failure::secretbox)
    }

    /// A message that is in memory.
    pub(super) fn message_of(&self, plaintext: &[u8]) -> Result<Vec<u8>, Failure> {
        let options = self.options.clone();
        let keyring = self.keyring.as_ref();
        let message = message::encrypt(keyring, plaintext, options, self.entropy.as_ref());
        block_on(message).map_err(|error| Failure::sealing(error, "stdin", "stdout"))
    }

    /// The encryption context.
    pub(super) fn context(&self) -> &EncryptionContext {
        &self.options.context
    }
}

fn suite_of(args: &Sealing) -> Suite {
    match (args.suite, args.signed) {
        (Some(suite), _) => suite,
        (None, true) => Suite::COMMITTING_SIGNED,
        (None, false) => args.policy.commitment_policy.default_suite(),
    }
}

/// Options that the format has no place for are refused rather than passed over.
fn refuse_misplaced(format: Format, args: &Sealing) -> Result<(), Failure> {
    let misplaced = match format {
        Format::Message => args.max_size.map(|_| "--max-size"),
        Format::Direct => args.max_size.map(|_| "--max-size"),
        Format::Secretbox => None,
    };
    let misplaced = misplaced.or(match format {
        Format::Message => None,
        _ if args.signed => Some("--signed"),
        _ if args.suite.is_some() => Some("--suite"),
        _ if !args.required_context.is_empty() => Some("--required-context"),
        _ => args.frame.map(|_| "--frame"),
    });
    let Some(option) = misplaced else {
        return Ok(());
    };
    let hint = match option {
        "--max-size" => "it bounds -f secretbox; the default format has any size",
        _ => "it belongs to the default format: leave out -f",
    };
    let what = format!("{option} means nothing for this format");
    Err(Failure::usage(what, hint))
}

/// All of the input, or `too_long` with a length that it has at least.
fn whole(
    input: Input,
    bytes_max: u64,
    too_long: impl FnOnce(u64) -> Failure,
) -> Result<Whole, Failure> {
    let (name, bytes) = (input.name.clone(), input.bytes);
    if let Some(bytes) = bytes.filter(|bytes| *bytes > bytes_max) {
        return Err(too_long(bytes));
    }
    let read = Whole::read(input.into_reader(), bytes, bytes_max);
    let read = read.map_err(|error| Failure::io("read", &name, &error))?;
    read.ok_or_else(|| too_long(bytes_max.saturating_add(1)))
}

fn written(
    output: &mut Output,
    ciphertext: &[u8],
    plaintext_bytes: u64,
    format: &'static str,
) -> Result<Totals, Failure> {
    let written = output.write_all(ciphertext);
    written.map_err(|error| Failure::io("write", &output.name, &error))?;
    Ok(Totals {
        format,
        plaintext_bytes,
        ciphertext_bytes: ciphertext.len() as u64,
    })
}
