//! `waxseal decrypt --range`: a part of the plaintext, from the frames that cover it.

use super::{Session, context_of, decrypt};
use crate::args::{Decrypt, Format, Span};
use crate::failure::Failure;
use crate::input::Identity;
use crate::keys;
use crate::output::{Content, Output};
use crate::report::Done;
use pollster::block_on;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use waxseal::detect::{self, Encoding};
use waxseal::message::{Incoming, Limits, SignedRange};

/// How much of the beginning is looked at to recognise the format.
const PREFIX_BYTES: u64 = 4096;

/// Runs the command for one range of one file.
pub(super) fn run(args: &Decrypt, span: Span, session: &Session) -> Result<(), Failure> {
    refuse_misplaced(args)?;
    let path = args.files.inputs.first().map(AsRef::as_ref);
    let mut sealed = Sealed::open(path)?;
    sealed.refuse_other_formats(args.format)?;
    let keyring = keys::for_opening(&session.keys(&args.keys), &session.world)?;
    let context = context_of(&args.context)?;
    let options = decrypt::open_options(context, args.policy, args.compat);
    let signed = match args.signature_unchecked {
        true => SignedRange::SignatureUnchecked,
        false => SignedRange::Refused,
    };

    let failed = |error| Failure::opening(error, &sealed.name, "the output");
    let incoming = Incoming::read(&sealed.file, &Limits::default()).map_err(failed)?;
    let opener = block_on(incoming.open(keyring.as_ref(), &options)).map_err(failed)?;
    let mut plaintext = opener.into_range_reader(signed).map_err(failed)?;
    let range = span.start..span.end(plaintext.plaintext_bytes());
    // The length is proved: only now is an output touched.
    let mut output = Output::open(
        args.files.output.as_deref(),
        Content::Plaintext,
        !args.files.no_sync,
        Some(sealed.identity),
        &session.world,
    )?;
    let copied = plaintext.copy_range(range, &mut output);
    let plaintext_bytes = copied.map_err(|e| Failure::opening(e, &sealed.name, &output.name))?;
    let done = Done {
        file: sealed.label,
        output: output.label.clone(),
        format: "message",
        plaintext_bytes,
        ciphertext_bytes: sealed.bytes,
    };
    output.complete()?.commit()?;
    session.report.done(&done);
    Ok(())
}

/// Options that mean nothing for one range of one file are refused rather than passed over.
fn refuse_misplaced(args: &Decrypt) -> Result<(), Failure> {
    let files = &args.files;
    if files.inputs.len() > 1 || files.recursive || files.suffix.is_some() {
        return Err(Failure::usage(
            "a range is of one file",
            "give one file, and the output with -o",
        ));
    }
    Ok(())
}

/// A file to seek in.
struct Sealed {
    file: File,
    /// For messages: the path, or `stdin`.
    name: String,
    /// For JSON: the path, or `-`.
    label: String,
    bytes: u64,
    identity: Identity,
}

impl Sealed {
    fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let (file, name, label) = match path.filter(|path| path.as_os_str() != "-") {
            Some(path) => (File::open(path), path.display().to_string(), None),
            None => {
                let owned = io::stdin().as_fd().try_clone_to_owned();
                (owned.map(File::from), "stdin".to_owned(), Some("-"))
            }
        };
        let failed = |error| Failure::io("read", &name, &error);
        let mut file = file.map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        // What can be sought in but has no length, like a terminal, is no file either.
        if !metadata.is_file() || file.stream_position().is_err() {
            return Err(Failure::usage(
                format!("{name} is not a file, and a range cannot be read from anything else"),
                "name a file, or redirect it to stdin; a pipe can be decrypted and then cut",
            ));
        }
        Ok(Self {
            file,
            label: label.map_or_else(|| name.clone(), str::to_owned),
            name,
            bytes: metadata.len(),
            identity: (metadata.dev(), metadata.ino()),
        })
    }

    /// A range is of a message in binary.
    fn refuse_other_formats(&mut self, forced: Option<Format>) -> Result<(), Failure> {
        let prefix = self.prefix();
        let prefix = prefix.map_err(|error| Failure::io("read", &self.name, &error))?;
        let refused = match (forced, detect::detect(&prefix)) {
            (_, Some((_, Encoding::Base64))) => "base64",
            (Some(Format::Direct), _) | (None, Some((detect::Format::Direct, _))) => {
                "a direct blob"
            }
            (Some(Format::Secretbox), _) | (None, Some((detect::Format::Secretbox, _))) => {
                "a secretbox payload"
            }
            _ => return Ok(()),
        };
        Err(Failure::usage(
            format!("{} is {refused}, which is only read as a whole", self.name),
            "leave out --range; only messages in binary have ranges",
        ))
    }

    fn prefix(&mut self) -> io::Result<Vec<u8>> {
        let here = self.file.stream_position()?;
        let mut prefix = Vec::new();
        (&self.file).take(PREFIX_BYTES).read_to_end(&mut prefix)?;
        self.file.seek(SeekFrom::Start(here))?;
        Ok(prefix)
    }
}
