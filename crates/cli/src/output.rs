//! What is written: stdout, a device, or a file that appears under its name when it is complete.

use crate::failure::Failure;
use crate::input::{Identity, widen_pipe};
use crate::world::World;
use rustix::fs::FileType;
use std::fs::File;
use std::io::{self, BufWriter, IoSlice, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use waxseal::message::Sink;
use waxseal_core::SecretBytes;

mod base64_lines;
mod directory;
mod staged;
pub(crate) mod stale;

use base64_lines::Base64Lines;
pub(crate) use directory::Directory;
use staged::Staged;

/// Writes below this length are gathered; the library's are larger but for short data. Memory of
/// this size is reused from file to file, which larger pieces are not.
const BUFFER_BYTES: usize = 32 * 1024;
/// The most plaintext that is shown on a terminal.
const TERMINAL_BYTES_MAX: usize = 64 * 1024;

/// What will be written, which decides what a terminal may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Never onto a terminal.
    Ciphertext,
    /// The same in base64, which any terminal may get.
    Base64,
    /// Onto a terminal when it turns out to be text of at most 64 KiB.
    Plaintext,
}

/// An open output. What was written counts only once it is [`Complete`] and that was committed;
/// dropped before, a file is left as it was.
pub(crate) struct Output {
    /// For messages: the path, or `stdout`.
    pub(crate) name: String,
    /// For JSON: the path, or `-`.
    pub(crate) label: String,
    base64: Option<Base64Lines>,
    sink: Target,
}

enum Target {
    /// What is written cannot be taken back.
    Open(BufWriter<File>),
    /// A terminal gets all or nothing.
    Terminal(BufWriter<File>, Held),
    /// A file under another name, or under none.
    Staged(BufWriter<Staged>),
}

impl Output {
    /// Opens `path`; `None` and `-` are stdout, `-` even when that is a terminal and the content
    /// plaintext. `source` is the input's file, which stdout must not be.
    ///
    /// # Errors
    /// A directory, a device that cannot be meant, ciphertext onto a terminal, and whatever the
    /// system refuses.
    pub(crate) fn open(
        path: Option<&Path>,
        content: Content,
        sync: bool,
        source: Option<Identity>,
        world: &World,
    ) -> Result<Self, Failure> {
        let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
            return Self::stdout(path.is_some(), content, source, world);
        };
        if path == Path::new("/dev/stdout") || path == Path::new("/dev/fd/1") {
            return Self::stdout(false, content, source, world);
        }
        let name = path.display().to_string();
        let base64 = base64_for(content);
        let failed = |error| Failure::io("write", &name, &error);
        let sink = match place(path).map_err(failed)? {
            Place::Special(metadata) => Target::Open(special(path, &name, &metadata)?),
            Place::File(target) => {
                let staged = Staged::create(target, sync, world.entropy.clone());
                Target::Staged(BufWriter::with_capacity(
                    BUFFER_BYTES,
                    staged.map_err(failed)?,
                ))
            }
        };
        if content == Content::Ciphertext && sink.is_terminal() {
            return Err(binary_onto_terminal());
        }
        Ok(Self {
            label: name.clone(),
            name,
            base64,
            sink,
        })
    }

    /// A file in a `directory` that is open. What is there already is looked at in the end: when
    /// it is no regular file, [`Complete::commit`] and [`Complete::name`] say so, and the work is
    /// to be done again with [`Output::open`].
    ///
    /// # Errors
    /// What the system refuses.
    pub(crate) fn open_in(
        directory: &Arc<Directory>,
        path: &Path,
        content: Content,
        sync: bool,
        world: &World,
    ) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let entropy = world.entropy.clone();
        let staged = Staged::create_in(directory.clone(), path.to_path_buf(), sync, entropy);
        let staged = staged.map_err(|error| Failure::io("write", &name, &error))?;
        Ok(Self {
            label: name.clone(),
            name,
            base64: base64_for(content),
            sink: Target::Staged(BufWriter::with_capacity(BUFFER_BYTES, staged)),
        })
    }

    fn stdout(
        asked_for: bool,
        content: Content,
        source: Option<Identity>,
        world: &World,
    ) -> Result<Self, Failure> {
        let name = "stdout".to_owned();
        if world.stdout_is_terminal && content == Content::Ciphertext {
            return Err(binary_onto_terminal());
        }
        let failed = |error: &io::Error| Failure::io("write", "stdout", error);
        // Not through std's stdout, which goes line by line.
        let owned = io::stdout().as_fd().try_clone_to_owned();
        let file = File::from(owned.map_err(|error| failed(&error))?);
        refuse_own_input(&file, source)?;
        widen_pipe(&file);
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        let held = world.stdout_is_terminal && content == Content::Plaintext && !asked_for;
        Ok(Self {
            name,
            label: "-".into(),
            base64: base64_for(content),
            sink: match held {
                true => Target::Terminal(file, Held::new()),
                false => Target::Open(file),
            },
        })
    }

    /// Whether nothing of what is written is seen by anybody before [`Output::complete`].
    pub(crate) fn withholds(&self) -> bool {
        !matches!(self.sink, Target::Open(_))
    }

    /// Gives a file other permissions than 0600.
    pub(crate) fn set_mode(&mut self, mode: Option<u32>) -> Result<(), Failure> {
        let (Target::Staged(staged), Some(mode)) = (&mut self.sink, mode) else {
            return Ok(());
        };
        let set = staged.get_mut().set_mode(mode);
        set.map_err(|error| Failure::io("write", &self.name, &error))
    }

    /// Reserves room for a file of so many bytes, so that a full disk is found out first.
    pub(crate) fn expect(&mut self, bytes: u64) -> Result<(), Failure> {
        let (Target::Staged(staged), None) = (&mut self.sink, &self.base64) else {
            return Ok(());
        };
        let reserved = staged.get_mut().reserve(bytes);
        reserved.map_err(|error| Failure::io("write", &self.name, &error))
    }

    /// Where a message or plaintext goes whose parts may come from several threads. After
    /// anything was written, [`Output::ends_at`] must follow.
    pub(crate) fn as_sink(&mut self) -> Sink<'_> {
        let gathered = matches!(&self.sink, Target::Staged(file) if !file.buffer().is_empty());
        if self.base64.is_some() || gathered {
            return Sink::Stream(self);
        }
        match &mut self.sink {
            Target::Staged(file) => Sink::Withheld(file.get_ref()),
            Target::Open(file) => Sink::Stream(file),
            Target::Terminal(_, held) => Sink::Stream(held),
        }
    }

    /// So many bytes went through [`Output::as_sink`]: a file has no more.
    pub(crate) fn ends_at(&mut self, bytes: u64) {
        if let (None, Target::Staged(staged)) = (&self.base64, &mut self.sink) {
            staged.get_mut().ends_at(bytes);
        }
    }

    /// Nothing more is written. A file has yet to get its name.
    pub(crate) fn complete(mut self) -> Result<Complete, Failure> {
        let name = std::mem::take(&mut self.name);
        let failed = |error| Failure::io("write", &name, &error);
        if let Some(mut lines) = self.base64.take() {
            lines.finish(&mut self.sink).map_err(failed)?;
        }
        let staged = match self.sink {
            Target::Open(mut file) => file.flush().map(|()| None),
            Target::Terminal(mut file, held) => {
                let text = held.text()?;
                file.write_all(text)
                    .and_then(|()| file.flush())
                    .map(|()| None)
            }
            Target::Staged(file) => match file.into_inner() {
                Ok(staged) => Ok(Some(staged)),
                Err(error) => Err(error.into_error()),
            },
        };
        let staged = staged.map_err(failed)?;
        Ok(Complete { name, staged })
    }
}

/// An output that is written to its end. Dropped, a file is left as it was.
pub(crate) struct Complete {
    name: String,
    staged: Option<Staged>,
}

/// Why a complete output did not get its name.
pub(crate) enum Unnamed {
    /// Something is there that is no regular file.
    Special,
    /// Anything else.
    Failed(Failure),
}

impl From<Unnamed> for Failure {
    fn from(unnamed: Unnamed) -> Self {
        match unnamed {
            Unnamed::Failed(failure) => failure,
            Unnamed::Special => Self::usage(
                "something that is no file appeared under the output's name",
                "nothing was replaced; try again",
            ),
        }
    }
}

impl Complete {
    /// Gives a file its name; synced, if it is to be.
    pub(crate) fn commit(mut self) -> Result<(), Unnamed> {
        let staged = self.staged.take();
        self.told(staged.map_or(Ok(()), Staged::commit))
    }

    /// Ends the writing of a file that will be synced by its file system.
    pub(crate) fn finish(&mut self) -> Result<(), Unnamed> {
        let finished = self.staged.as_mut().map_or(Ok(()), Staged::finish);
        self.told(finished)
    }

    /// Gives a finished file its name without syncing anything.
    pub(crate) fn name(&mut self) -> Result<(), Unnamed> {
        let named = self.staged.as_mut().map_or(Ok(()), Staged::name);
        self.told(named)
    }

    fn told(&self, outcome: io::Result<()>) -> Result<(), Unnamed> {
        outcome.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Unnamed::Special,
            _ => Unnamed::Failed(Failure::io("write", &self.name, &error)),
        })
    }
}

fn base64_for(content: Content) -> Option<Base64Lines> {
    (content == Content::Base64).then(Base64Lines::default)
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(lines) = &mut self.base64 else {
            return self.sink.write(bytes);
        };
        lines.write(bytes, &mut self.sink)?;
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(lines) = &mut self.base64 else {
            return self.sink.write_vectored(parts);
        };
        for part in parts {
            lines.write(part, &mut self.sink)?;
        }
        Ok(parts.iter().map(|part| part.len()).sum())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Open(file) => file.write(bytes),
            Self::Terminal(_, held) => held.write(bytes),
            Self::Staged(file) => file.write(bytes),
        }
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Open(file) => file.write_vectored(parts),
            Self::Terminal(_, held) => held.write_vectored(parts),
            Self::Staged(file) => file.write_vectored(parts),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Open(file) => file.flush(),
            // Both come out at the end.
            Self::Terminal(..) | Self::Staged(_) => Ok(()),
        }
    }
}

impl Target {
    fn is_terminal(&self) -> bool {
        match self {
            Self::Open(file) => io::IsTerminal::is_terminal(file.get_ref()),
            Self::Terminal(..) => true,
            Self::Staged(_) => false,
        }
    }
}

/// Plaintext that waits to be looked at as a whole.
struct Held {
    bytes: SecretBytes,
    len: usize,
}

impl Held {
    fn new() -> Self {
        Self {
            bytes: SecretBytes::zeroed(TERMINAL_BYTES_MAX),
            len: 0,
        }
    }

    fn text(&self) -> Result<&[u8], Failure> {
        let text = self.bytes.expose().get(..self.len);
        let text = text.filter(|bytes| crate::terminal::is_text(bytes));
        text.ok_or_else(|| {
            Failure::usage(
                "the plaintext is not shown on the terminal: it is binary or longer than 64 KiB",
                "write it to a file with -o FILE, into a pipe, or to the terminal all the same with -o -",
            )
        })
    }
}

impl Write for Held {
    /// Counts what does not fit and forgets it.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(room) = self.bytes.expose_mut().get_mut(self.len..) {
            let fitting = bytes.len().min(room.len());
            room[..fitting].copy_from_slice(&bytes[..fitting]);
        }
        self.len = self.len.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Names of descriptors this process was given, which are files already open.
fn is_descriptor(path: &Path) -> bool {
    let prefixes = ["/dev/fd/", "/proc/self/fd/"];
    path == Path::new("/dev/stderr") || prefixes.iter().any(|prefix| path.starts_with(prefix))
}

/// Opens what is no regular file and is written to as it is.
fn special(
    path: &Path,
    name: &str,
    metadata: &std::fs::Metadata,
) -> Result<BufWriter<File>, Failure> {
    let kind = metadata.file_type();
    let meant = is_descriptor(path) || kind.is_fifo() || path == Path::new("/dev/null");
    if kind.is_dir() {
        return Err(Failure::usage(
            format!("{name} is a directory"),
            "name a file with -o, or give files to be written into the directory",
        ));
    }
    if !meant {
        return Err(Failure::usage(
            format!("{name} is a device or a socket"),
            "write to stdout and redirect it when this is what you want",
        ));
    }
    let file = File::options().write(true).open(path);
    let file = file.map_err(|error| Failure::io("write", name, &error))?;
    widen_pipe(&file);
    Ok(BufWriter::with_capacity(BUFFER_BYTES, file))
}

/// What stands at an output's path.
enum Place {
    /// A regular file, or nothing.
    File(PathBuf),
    /// Anything else, which is written to as it is.
    Special(std::fs::Metadata),
}

/// A symbolic link stays what it is: the place is what it points to. That must be there.
fn place(path: &Path) -> io::Result<Place> {
    let here = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.file_name().is_some() => {
            return Ok(Place::File(path.to_path_buf()));
        }
        here => here?,
    };
    if !here.is_symlink() {
        return Ok(match here.is_file() {
            true => Place::File(path.to_path_buf()),
            false => Place::Special(here),
        });
    }
    let there = std::fs::metadata(path)?;
    Ok(match there.is_file() && !is_descriptor(path) {
        true => Place::File(std::fs::canonicalize(path)?),
        false => Place::Special(there),
    })
}

/// `waxseal encrypt FILE >> FILE` would read what it writes, for ever.
fn refuse_own_input(stdout: &File, source: Option<Identity>) -> Result<(), Failure> {
    let Some(source) = source else {
        return Ok(());
    };
    let metadata = stdout.metadata();
    let metadata = metadata.map_err(|error| Failure::io("write", "stdout", &error))?;
    let regular = FileType::from_raw_mode(metadata.mode()) == FileType::RegularFile;
    if regular && (metadata.dev(), metadata.ino()) == source {
        return Err(Failure::usage(
            "input and stdout are the same file",
            "replace a file by naming it with -o",
        ));
    }
    Ok(())
}

fn binary_onto_terminal() -> Failure {
    Failure::usage(
        "ciphertext is binary and stdout is a terminal",
        "write to a file with -o FILE, into a pipe, or as text with --base64",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_its_file_and_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let file_at = |path: &Path| match place(path) {
            Ok(Place::File(path)) => path.file_name().map(|name| name.to_owned()),
            _ => None,
        };
        std::os::unix::fs::symlink("target", at("link")).unwrap();
        assert!(place(&at("link")).is_err());
        assert_eq!(file_at(&at("target")), Some("target".into()));
        std::fs::write(at("target"), "old").unwrap();
        assert_eq!(file_at(&at("link")), Some("target".into()));
        assert_eq!(file_at(&at("target")), Some("target".into()));
        assert_eq!(file_at(directory.path()), None);
        assert!(place(&at("target/below")).is_err());
    }

    #[test]
    fn a_terminal_gets_text_up_to_the_limit() {
        let mut held = Held::new();
        held.write_all("Grüße\n".as_bytes()).unwrap();
        assert_eq!(held.text().unwrap(), "Grüße\n".as_bytes());
        held.write_all(b"\x1b[2J").unwrap();
        assert!(held.text().is_err());

        let mut held = Held::new();
        held.write_all(&[b'x'; TERMINAL_BYTES_MAX]).unwrap();
        assert_eq!(held.text().unwrap().len(), TERMINAL_BYTES_MAX);
        held.write_all(b"x").unwrap();
        assert!(held.text().is_err());
        held.write_all(b"x").unwrap();
        assert!(held.text().is_err());
    }
}
