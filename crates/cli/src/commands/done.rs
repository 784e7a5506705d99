//! `--skip-done`: whether an output is there already, and what proves it.
//!
//! Outputs get their names only when they are complete, so that a name is worth something. *quick*
//! asks for: a regular file, written after the input last changed (its data or its inode, so that
//! a file moved into the input's place counts as changed); a header that is authentic under the
//! given keys, context and suite; and lengths of message and plaintext that belong together to the
//! byte. *verify* opens the whole message and compares every byte. What is not proved is done
//! again: nothing here fails.

use super::inspect;
use crate::args::{Format, SkipDone};
use crate::input::Input;
use crate::tree::Job;
use pollster::block_on;
use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use waxseal::materials::MaterialsManager;
use waxseal::message::{Incoming, Limits, OpenOptions, Release, Suite};
use waxseal::{direct, secretbox};
use waxseal_core::EncryptionContext;
use waxseal_core::keyring::Keyring;

/// How much is compared at once.
const STEP_BYTES: usize = 64 * 1024;

/// How messages of this command are opened.
pub(super) struct Opening<'a> {
    /// For messages.
    pub(super) manager: &'a dyn MaterialsManager,
    /// For direct blobs and secretboxes.
    pub(super) keyring: &'a dyn Keyring,
    pub(super) options: OpenOptions,
    pub(super) context: &'a EncryptionContext,
    pub(super) secretbox_limits: secretbox::Limits,
    /// What it must be, where that was asked for.
    pub(super) format: Option<Format>,
    /// The suite that would be written.
    pub(super) suite: Option<Suite>,
}

/// Which of a job's files is the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// The input is plaintext.
    Seal,
    /// The input is the message.
    Open,
    /// Both are messages.
    Again,
}

/// Whether the output of `job` stands for its input already.
pub(super) fn is_done(job: &Job, how: SkipDone, way: Direction, opening: &Opening<'_>) -> bool {
    proved(job, how, way, opening).unwrap_or(false)
}

/// `None` when a proof broke off.
fn proved(job: &Job, how: SkipDone, way: Direction, opening: &Opening<'_>) -> Option<bool> {
    // The output through a link, as it would be written.
    let (from, to) = (job.from.metadata().ok()?, job.to.metadata().ok()?);
    if !(from.is_file() && to.is_file()) {
        return Some(false);
    }
    let (message, plaintext) = match way {
        Direction::Seal => (&job.to, &job.from),
        Direction::Open => (&job.from, &job.to),
        // Both are, and nothing tells the new from the old.
        Direction::Again => return Some(false),
    };
    let plaintext_bytes = match way {
        Direction::Seal => from.len(),
        Direction::Open | Direction::Again => to.len(),
    };
    let mut input = Input::open(Some(message)).ok()?;
    let (format, is_base64) = super::decrypt::recognised(&mut input, opening.format).ok()?;
    if format == Format::Message && !is_base64 && how == SkipDone::Quick {
        return Some(
            changed_ns(&from) < written_ns(&to) && opening.header_fits(input, plaintext_bytes)?,
        );
    }
    let mut reader: Box<dyn Read> = match is_base64 {
        true => input.into_base64_reader(),
        false => input.into_reader(),
    };
    let mut compared = Compared::new(File::open(plaintext).ok()?);
    match format {
        Format::Message => opening.message(reader, &mut compared)?,
        Format::Direct => {
            let blob = bounded(&mut reader, direct::BLOB_BYTES_MAX as u64)?;
            let text = block_on(direct::open(opening.keyring, &blob, opening.context)).ok()?;
            compared.write_all(text.expose()).ok()?;
        }
        Format::Secretbox => {
            let limits = &opening.secretbox_limits;
            let payload = bounded(&mut reader, limits.payload_bytes_max())?;
            let text = secretbox::open_bytes(opening.keyring, &payload, opening.context, limits);
            compared.write_all(block_on(text).ok()?.expose()).ok()?;
        }
    }
    compared.is_at_end().ok()
}

impl Opening<'_> {
    /// Whether the header is authentic and announces so many bytes of plaintext.
    fn header_fits(&self, input: Input, plaintext_bytes: u64) -> Option<bool> {
        let message_bytes = input.bytes?;
        let incoming = self.incoming(input.into_reader())?;
        let body = inspect::body_of(incoming.header(), message_bytes)?;
        if body.plaintext_bytes != plaintext_bytes {
            return Some(false);
        }
        block_on(incoming.open_with(self.manager, &self.options))
            .ok()
            .map(|_| true)
    }

    fn message(&self, reader: Box<dyn Read>, compared: &mut Compared) -> Option<()> {
        let incoming = self.incoming(reader)?;
        let opener = block_on(incoming.open_with(self.manager, &self.options)).ok()?;
        // Nothing is released: the bytes are compared and forgotten.
        opener.open_stream(compared, Release::Unverified).ok()?;
        Some(())
    }

    fn incoming<R: Read>(&self, reader: R) -> Option<Incoming<R>> {
        let incoming = Incoming::read(reader, &Limits::default()).ok()?;
        let suite = incoming.header().suite();
        self.suite
            .is_none_or(|wanted| wanted == suite)
            .then_some(incoming)
    }
}

/// When the file, its data or its inode, last changed: nanoseconds.
fn changed_ns(metadata: &Metadata) -> i128 {
    let data = nanoseconds(metadata.mtime(), metadata.mtime_nsec());
    data.max(nanoseconds(metadata.ctime(), metadata.ctime_nsec()))
}

/// When its data was last written: nanoseconds.
fn written_ns(metadata: &Metadata) -> i128 {
    nanoseconds(metadata.mtime(), metadata.mtime_nsec())
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}

fn bounded(reader: &mut dyn Read, bytes_max: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = reader
        .take(bytes_max.checked_add(1)?)
        .read_to_end(&mut bytes);
    (read.ok()? as u64 <= bytes_max).then_some(bytes)
}

/// Takes what is written only as long as it is what a file has, too.
struct Compared {
    file: BufReader<File>,
    piece: Vec<u8>,
}

impl Compared {
    fn new(file: File) -> Self {
        Self {
            file: BufReader::with_capacity(STEP_BYTES, file),
            piece: vec![0; STEP_BYTES],
        }
    }

    fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(self.file.read(&mut self.piece[..1])? == 0)
    }
}

impl Write for Compared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(STEP_BYTES)];
        let piece = &mut self.piece[..bytes.len()];
        self.file.read_exact(piece)?;
        match piece == bytes {
            true => Ok(bytes.len()),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Compared {
    fn drop(&mut self) {
        // The plaintext is in a file anyway; here it is not to stay longer than needed.
        self.piece.fill(0);
    }
}
