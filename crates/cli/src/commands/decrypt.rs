//! `waxseal decrypt`.

use super::caching::{self, Manager};
use super::done::{Direction, Opening};
use super::files::{self, Task};
use super::{Session, Totals, context_of, inspect, range};
use crate::args::{Compat, Decrypt, Format, Policy};
use crate::failure::Failure;
use crate::input::{Input, Region, Whole};
use crate::keys;
use crate::output::{Content, Output};
use crate::progress::Watched;
use pollster::block_on;
use std::io::{self, Read, Seek, Write};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tempfile::SpooledTempFile;
use waxseal::materials::{DefaultManager, MaterialsManager};
use waxseal::message::{self, Incoming, Limits, OpenOptions, ReadAt, Release, Sink};
use waxseal::{detect, direct, secretbox};
use waxseal_core::keyring::Keyring;
use waxseal_core::{EncryptionContext, SecretBytes};

/// How much of a signed message is kept in memory until its signature has been verified. What is
/// longer goes to a file without a name in `$TMPDIR`: as ciphertext, so nothing secret touches a
/// disk.
const SPOOL_MEMORY_BYTES: usize = 4 << 20;

/// Runs the command.
pub(super) fn run(args: Decrypt, session: &Session) -> Result<(), Failure> {
    if let Some(span) = args.range {
        return range::run(&args, span, session);
    }
    if args.files.dry_run && args.files.skip_done.is_none() {
        return files::plan(&args.files, session, Direction::Open, None);
    }
    let mut recipe = Recipe::new(&args, session)?;
    if files::is_many(&args.files) {
        recipe.manager = caching::manager(recipe.keyring.clone(), &args.caching)?;
    }
    let work = |input: Input, output: &mut Output| recipe.open(input, output, session);
    let task = Task {
        content: Content::Plaintext,
        way: Direction::Open,
        work: &work,
        opening: recipe.opening(),
        manager: &recipe.manager,
    };
    files::over_files(&args.files, session, &task)
}

/// How everything of one command is opened.
struct Recipe {
    format: Option<Format>,
    context: EncryptionContext,
    open_options: OpenOptions,
    secretbox_limits: secretbox::Limits,
    release_unverified: bool,
    /// Threads for one message; `None` is the number of cores.
    workers: Option<NonZeroUsize>,
    /// Input that no format is recognised in goes to Amazon KMS as a direct blob: such blobs are
    /// opaque, and every service has its own.
    opaque_blobs: bool,
    keyring: Arc<dyn Keyring>,
    manager: Manager,
}

impl Recipe {
    fn new(args: &Decrypt, session: &Session) -> Result<Self, Failure> {
        let mut secretbox_limits = secretbox::Limits::default();
        if let Some(bytes) = args.max_size {
            secretbox_limits.plaintext_bytes_max = bytes;
        }
        let keys = session.keys(&args.keys);
        let keyring = keys::for_opening(&keys, &session.world)?;
        let context = context_of(&args.context)?;
        Ok(Self {
            format: args.format,
            opaque_blobs: keys.name_amazon(),
            open_options: open_options(context.clone(), args.policy, args.compat),
            context,
            secretbox_limits,
            release_unverified: args.release_unverified,
            workers: files::workers(&args.files),
            manager: Manager::Asking(DefaultManager::new(keyring.clone())),
            keyring,
        })
    }

    fn open(
        &self,
        mut input: Input,
        output: &mut Output,
        session: &Session,
    ) -> Result<Totals, Failure> {
        let forced = match (self.format, input.prefix()?) {
            (None, prefix) if self.opaque_blobs && detect::detect(prefix).is_none() => {
                Some(Format::Direct)
            }
            (format, _) => format,
        };
        let (format, is_base64) = recognised(&mut input, forced)?;
        let sealed = Sealed::new(input, is_base64);
        if is_base64 {
            session.report.note(&format!("{} is base64", sealed.name));
        }
        match format {
            Format::Message => self.message(sealed, output),
            Format::Direct => self.direct(sealed, output),
            Format::Secretbox => self.secretbox(sealed, output),
        }
    }

    /// How it is seen whether an output that is there already is what would be written.
    fn opening(&self) -> Opening<'_> {
        Opening {
            manager: &self.manager,
            keyring: self.keyring.as_ref(),
            options: self.open_options.clone(),
            context: &self.context,
            secretbox_limits: self.secretbox_limits,
            format: self.format,
            suite: None,
        }
    }

    fn direct(&self, sealed: Sealed, output: &mut Output) -> Result<Totals, Failure> {
        let bytes_max = direct::BLOB_BYTES_MAX as u64;
        let blob = sealed.whole(bytes_max, "a direct blob")?;
        let plaintext = direct::open(self.keyring.as_ref(), blob.expose(), &self.context);
        let plaintext = block_on(plaintext).map_err(Failure::direct)?;
        written(output, &plaintext, &blob, "direct")
    }

    fn secretbox(&self, sealed: Sealed, output: &mut Output) -> Result<Totals, Failure> {
        let bytes_max = self.secretbox_limits.payload_bytes_max();
        let payload = sealed.whole(bytes_max, "a secretbox payload")?;
        let plaintext = secretbox::open_bytes(
            self.keyring.as_ref(),
            payload.expose(),
            &self.context,
            &self.secretbox_limits,
        );
        let plaintext = block_on(plaintext).map_err(Failure::secretbox)?;
        written(output, &plaintext, &payload, "secretbox")
    }

    /// One pass where the output withholds what it gets, or where the message is not signed;
    /// otherwise a pass that verifies and one that releases.
    fn message(&self, sealed: Sealed, output: &mut Output) -> Result<Totals, Failure> {
        let name = sealed.name.clone();
        let failed = |error, output: &Output| Failure::opening(error, &name, &output.name);
        let bytes = sealed.bytes;
        let withheld = output.withholds() || self.release_unverified;
        let spool = Spool::default();
        let reader: Box<dyn Read + Send> = match withheld {
            true => sealed.reader,
            false => Box::new(spool.tee(sealed.reader)),
        };
        let incoming = Incoming::read(reader, &Limits::default());
        let incoming = incoming.map_err(|error| failed(error, output))?;
        if withheld || !incoming.header().suite().is_signed() {
            spool.stop();
            let sizes = bytes.and_then(|bytes| inspect::body_of(incoming.header(), bytes));
            if let Some(sizes) = sizes {
                output.expect(sizes.plaintext_bytes)?;
            }
            let region = sealed.region.as_ref();
            let message = region.map(|region| region as &dyn ReadAt);
            let released = self.release(incoming, message, &self.manager, output.as_sink());
            let totals = released.map_err(|error| failed(error, output))?;
            output.ends_at(totals.plaintext_bytes);
            return Ok(totals);
        }
        // Nothing leaves before the signature is verified, and what leaves is what was verified:
        // the input itself might be another one the second time.
        let manager = caching::for_two_passes(&self.manager)?;
        let nowhere = &mut io::sink();
        let verified = self.release(incoming, None, &manager, Sink::Stream(nowhere));
        verified.map_err(|error| failed(error, output))?;
        let copy = spool.into_reader();
        let copy = copy.map_err(|error| Failure::io("read back", &name, &error))?;
        let again = Incoming::read(io::BufReader::new(copy), &Limits::default());
        again
            .and_then(|incoming| self.release(incoming, None, &manager, Sink::Stream(output)))
            .map_err(|error| failed(error, output))
    }

    /// For a signed message the caller withholds the plaintext, has verified the message before,
    /// or was told not to wait. `region` is the whole message, where it is a file.
    fn release<R: Read + Send>(
        &self,
        incoming: Incoming<R>,
        region: Option<&dyn ReadAt>,
        manager: &dyn MaterialsManager,
        plaintext: Sink<'_>,
    ) -> Result<Totals, message::OpenError> {
        let opener = block_on(incoming.open_with(manager, &self.open_options))?;
        let (release, workers) = (Release::Unverified, self.workers);
        let totals = match region {
            Some(region) => opener.open_parallel_at(region, plaintext, release, workers),
            None => opener.open_parallel(plaintext, release, workers),
        }?;
        Ok(Totals {
            format: "message",
            plaintext_bytes: totals.plaintext_bytes,
            ciphertext_bytes: totals.message_bytes,
        })
    }
}

/// What is demanded of a message.
pub(super) fn open_options(
    required_context: EncryptionContext,
    policy: Policy,
    compat: Option<Compat>,
) -> OpenOptions {
    OpenOptions {
        required_context,
        commitment: policy.commitment_policy,
        net_4_0_0: compat == Some(Compat::Net400),
    }
}

/// The format of `input` and whether it is in base64. `forced` overrides the format.
pub(super) fn recognised(
    input: &mut Input,
    forced: Option<Format>,
) -> Result<(Format, bool), Failure> {
    let name = input.name.clone();
    let prefix = input.prefix()?;
    let is_empty = prefix.is_empty();
    let detected = detect::detect(prefix);
    let is_base64 = match detected {
        Some((_, encoding)) => encoding == detect::Encoding::Base64,
        // A blob of unknown make: bytes that are text by chance do not happen.
        None => forced == Some(Format::Direct) && is_base64_text(prefix),
    };
    let format = match (forced, detected) {
        (Some(format), _) => format,
        (None, Some((detect::Format::Message { .. }, _))) => Format::Message,
        (None, Some((detect::Format::Direct, _))) => Format::Direct,
        (None, Some((detect::Format::Secretbox, _))) => Format::Secretbox,
        (None, None) if is_empty => {
            return Err(Failure::unauthentic(format!("{name} is empty")));
        }
        (None, None) => {
            return Err(Failure {
                hint: "check that this is sealed data, from its first byte on".into(),
                ..Failure::unauthentic(format!("{name} is in no format that is known"))
            });
        }
    };
    Ok((format, is_base64))
}

fn is_base64_text(bytes: &[u8]) -> bool {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=\r\n\t ".contains(byte);
    bytes.len() >= 32 && bytes.iter().all(digit)
}

/// An input whose format is known, out of its base64.
struct Sealed {
    name: String,
    /// Its length, where it is known.
    bytes: Option<u64>,
    reader: Box<dyn Read + Send>,
    /// The same once more, where it is a file that is long enough to be read by several threads.
    region: Option<Watched<Region>>,
}

impl Sealed {
    fn new(input: Input, is_base64: bool) -> Self {
        Self {
            name: input.name.clone(),
            bytes: input.bytes.filter(|_| !is_base64),
            region: if is_base64 { None } else { input.region() },
            reader: match is_base64 {
                true => input.into_base64_reader(),
                false => input.into_reader(),
            },
        }
    }

    fn whole(self, bytes_max: u64, what: &str) -> Result<Whole, Failure> {
        let read = Whole::read(self.reader, self.bytes, bytes_max);
        let read = read.map_err(|error| Failure::reading(&self.name, &error))?;
        read.ok_or_else(|| {
            Failure::policy(
                format!(
                    "{} is longer than {what} may be: {bytes_max} bytes",
                    self.name
                ),
                "check that this is what you meant; --max-size raises the limit of a secretbox",
            )
        })
    }
}

fn written(
    output: &mut Output,
    plaintext: &SecretBytes,
    ciphertext: &Whole,
    format: &'static str,
) -> Result<Totals, Failure> {
    let written = output.write_all(plaintext.expose());
    written.map_err(|error| Failure::io("write", &output.name, &error))?;
    Ok(Totals {
        format,
        plaintext_bytes: plaintext.len() as u64,
        ciphertext_bytes: ciphertext.expose().len() as u64,
    })
}

/// A copy of what was read, until it turns out not to be needed.
#[derive(Default)]
struct Spool(Arc<Mutex<Option<SpooledTempFile>>>);

impl Spool {
    fn tee<R: Read>(&self, reader: R) -> Tee<R> {
        *locked(&self.0) = Some(SpooledTempFile::new(SPOOL_MEMORY_BYTES));
        Tee {
            reader,
            copy: self.0.clone(),
        }
    }

    fn stop(&self) {
        *locked(&self.0) = None;
    }

    fn into_reader(self) -> io::Result<SpooledTempFile> {
        let copy = locked(&self.0).take();
        let mut copy = copy.unwrap_or_else(|| SpooledTempFile::new(SPOOL_MEMORY_BYTES));
        copy.rewind()?;
        Ok(copy)
    }
}

fn locked(copy: &Mutex<Option<SpooledTempFile>>) -> MutexGuard<'_, Option<SpooledTempFile>> {
    copy.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A reader that copies what it reads.
struct Tee<R> {
    reader: R,
    copy: Arc<Mutex<Option<SpooledTempFile>>>,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.reader.read(buffer)?;
        if let Some(copy) = locked(&self.copy).as_mut() {
            copy.write_all(&buffer[..bytes]).map_err(|error| {
                let what = format!("its temporary copy in $TMPDIR cannot be written: {error}");
                io::Error::new(error.kind(), what)
            })?;
        }
        Ok(bytes)
    }
}
