//! What is read: a file or stdin, as it is or out of base64.

use crate::failure::Failure;
use crate::progress::{Progress, Watched};
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::read::DecoderReader;
use rustix::fs::FileType;
use std::fs::File;
use std::io::{self, BufReader, Cursor, IoSliceMut, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use waxseal::message::ReadAt;
use waxseal_core::SecretBytes;

/// How much base64 is read at a time, and by how much room for a whole input grows at least.
const BUFFER_BYTES: usize = 128 * 1024;
/// How much of the beginning is looked at to recognise the format.
const PREFIX_BYTES: usize = 4096;

/// What files have at least that are read by their places.
const REGION_BYTES_MIN: u64 = 256 * 1024;
/// What pipes are made to hold: the most that Linux allows to everybody.
const PIPE_BYTES: usize = 1 << 20;

/// Which file a descriptor stands for: device and inode.
pub(crate) type Identity = (u64, u64);

/// An open input.
pub(crate) struct Input {
    /// For messages: the path, or `stdin`.
    pub(crate) name: String,
    /// For JSON: the path, or `-`.
    pub(crate) label: String,
    /// Length of a regular file in bytes; `None` where the end is not known beforehand.
    pub(crate) bytes: Option<u64>,
    /// Permissions of a regular file.
    pub(crate) mode: Option<u32>,
    /// The file behind it, where there is one that could also be written to.
    pub(crate) identity: Option<Identity>,
    prefix: Vec<u8>,
    reader: Box<dyn Read + Send>,
    /// What is left of a regular file, to be read by its places.
    region: Option<Region>,
    progress: Progress,
}

impl Input {
    /// Opens `path`; `None` and `-` are stdin.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        match path {
            Some(path) if path.as_os_str() != "-" => Self::file(path),
            _ => Self::stdin(),
        }
    }

    fn stdin() -> Result<Self, Failure> {
        let owned = io::stdin().as_fd().try_clone_to_owned();
        let file = File::from(owned.map_err(|error| Failure::io("read", "stdin", &error))?);
        Self::of(file, "stdin".into(), "-".into())
    }

    fn file(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| Failure::io("read", &name, &error))?;
        Self::of(file, name.clone(), name)
    }

    fn of(file: File, name: String, label: String) -> Result<Self, Failure> {
        let stat = rustix::fs::fstat(&file).map_err(|e| Failure::io("read", &name, &e.into()))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            return Err(Failure::usage(
                format!("{name} is a directory"),
                "walk into directories with -r",
            ));
        }
        if kind == FileType::Fifo {
            widen_pipe(&file);
        }
        let file = Arc::new(file);
        let region =
            (kind == FileType::RegularFile).then(|| Region::of(file.clone(), stat.st_size));
        Ok(Self {
            name,
            label,
            mode: region.as_ref().map(|_| stat.st_mode & 0o777),
            bytes: region.as_ref().map(|region| region.bytes),
            identity: region.as_ref().map(|_| (stat.st_dev, stat.st_ino)),
            prefix: Vec::new(),
            reader: Box::new(file),
            region,
            progress: Progress::none(),
        })
    }

    /// The first bytes, up to 4,096. They will be read again by whoever reads the input.
    pub(crate) fn prefix(&mut self) -> Result<&[u8], Failure> {
        if self.prefix.is_empty() {
            self.prefix.reserve_exact(PREFIX_BYTES);
            (&mut self.reader)
                .take(PREFIX_BYTES as u64)
                .read_to_end(&mut self.prefix)
                .map_err(|error| Failure::io("read", &self.name, &error))?;
        }
        Ok(&self.prefix)
    }

    /// Shows how much was read.
    pub(crate) fn watched(mut self, progress: &Progress) -> Self {
        self.reader = Box::new(progress.watch(self.reader));
        self.progress = progress.clone();
        self
    }

    /// A file long enough to be read by several threads, from its first byte on. What was read
    /// through the reader is read again.
    pub(crate) fn region(&self) -> Option<Watched<Region>> {
        let region = self.region.as_ref();
        let long = region.filter(|region| region.bytes >= REGION_BYTES_MIN)?;
        // What was read to recognise the format was counted.
        self.progress.discount(self.prefix.len() as u64);
        Some(self.progress.watch(long.clone()))
    }

    /// Everything from the first byte on. There is no buffer: the library reads in large pieces.
    pub(crate) fn into_reader(self) -> Box<dyn Read + Send> {
        match self.prefix.is_empty() {
            true => self.reader,
            false => Box::new(Cursor::new(self.prefix).chain(self.reader)),
        }
    }

    /// What the base64 text stands for: standard or URL-safe, padded or not. White space does not
    /// count; anything else that is no base64 is [`io::ErrorKind::InvalidData`].
    pub(crate) fn into_base64_reader(self) -> Box<dyn Read + Send> {
        let text = Dense(BufReader::with_capacity(BUFFER_BYTES, self.into_reader()));
        let decoded = DecoderReader::new(text, &LENIENT);
        Box::new(BufReader::with_capacity(BUFFER_BYTES, decoded))
    }
}

/// What is left of a regular file behind the place where it was given to this process.
#[derive(Clone)]
pub(crate) struct Region {
    file: Arc<File>,
    from: u64,
    bytes: u64,
}

impl Region {
    fn of(file: Arc<File>, file_bytes: i64) -> Self {
        // A shell may have read some of stdin before.
        let from = rustix::fs::tell(&file).unwrap_or(0);
        let bytes = u64::try_from(file_bytes).unwrap_or(0).saturating_sub(from);
        Self { file, from, bytes }
    }
}

impl ReadAt for Region {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        ReadAt::read_at(&*self.file, buffer, self.from.saturating_add(offset))
    }

    fn read_vectored_at(&self, buffers: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
        self.file
            .read_vectored_at(buffers, self.from.saturating_add(offset))
    }
}

/// Lets more bytes wait in a pipe, so that its two sides wake each other less often. What is no
/// pipe, or may not grow, stays as it is.
pub(crate) fn widen_pipe(pipe: &File) {
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
}

/// A whole input in memory that is wiped.
pub(crate) struct Whole {
    secret: SecretBytes,
    len: usize,
}

impl Whole {
    /// Reads all of `reader`, or nothing (`None`) when there are more than `bytes_max` bytes.
    /// `expected_bytes` saves growing where the length is known.
    pub(crate) fn read(
        mut reader: impl Read,
        expected_bytes: Option<u64>,
        bytes_max: u64,
    ) -> io::Result<Option<Self>> {
        // One byte more than is expected, so that the end is seen without growing.
        let room = expected_bytes.unwrap_or(0).min(bytes_max).saturating_add(1);
        let room = usize::try_from(room).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut secret = SecretBytes::zeroed(room);
        let mut len = 0;
        loop {
            match reader.read(&mut secret.expose_mut()[len..]) {
                Ok(0) => return Ok(Some(Self { secret, len })),
                Ok(bytes) => len += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if len as u64 > bytes_max {
                return Ok(None);
            }
            if len == secret.len() {
                secret = larger(&secret);
            }
        }
    }

    /// The bytes.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.secret.expose()[..self.len]
    }

    /// The bytes alone.
    pub(crate) fn into_secret(self) -> SecretBytes {
        SecretBytes::copy_of(self.expose())
    }
}

/// Growing by hand: a growing `Vec` would leave the old copy behind unwiped.
fn larger(secret: &SecretBytes) -> SecretBytes {
    let mut larger = SecretBytes::zeroed(secret.len().saturating_mul(2).max(BUFFER_BYTES));
    larger.expose_mut()[..secret.len()].copy_from_slice(secret.expose());
    larger
}

/// Padding may be left out. What the text stands for is authenticated in any case.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Leaves out white space and turns the URL-safe alphabet into the standard one.
struct Dense<R>(R);

impl<R: Read> Read for Dense<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let bytes = self.0.read(buffer)?;
            let mut kept = 0;
            for at in 0..bytes {
                let digit = match buffer[at] {
                    space if space.is_ascii_whitespace() => continue,
                    b'-' => b'+',
                    b'_' => b'/',
                    other => other,
                };
                buffer[kept] = digit;
                kept += 1;
            }
            // Nothing but white space is not the end.
            if kept > 0 || bytes == 0 {
                return Ok(kept);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    fn input(bytes: Vec<u8>) -> Input {
        Input {
            name: "test".into(),
            label: "test".into(),
            bytes: None,
            mode: None,
            identity: None,
            prefix: Vec::new(),
            reader: Box::new(Cursor::new(bytes)),
            region: None,
            progress: Progress::none(),
        }
    }

    #[test]
    fn the_prefix_is_read_again() {
        let bytes: Vec<u8> = (0..10_000_u32).map(|at| at as u8).collect();
        let mut input = input(bytes.clone());
        assert_eq!(input.prefix().unwrap(), &bytes[..PREFIX_BYTES]);
        let mut all = Vec::new();
        input.into_reader().read_to_end(&mut all).unwrap();
        assert_eq!(all, bytes);
    }

    #[test]
    fn base64_is_read_over_line_ends() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|at| (at * 7) as u8).collect();
        let text = STANDARD.encode(&bytes);
        let lines: Vec<&[u8]> = text.as_bytes().chunks(61).collect();
        let lines = lines.join(&b"\r\n"[..]);
        let mut all = Vec::new();
        let mut reader = input(lines).into_base64_reader();
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(all, bytes);

        let text = URL_SAFE_NO_PAD.encode(&bytes);
        all.clear();
        let mut reader = input(text.into()).into_base64_reader();
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(all, bytes);
    }

    #[test]
    fn broken_base64_is_invalid_data() {
        for text in ["QUJD$EVG", "QUJDR", "QUI=QUI="] {
            let mut reader = input(text.into()).into_base64_reader();
            let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{text}");
        }
    }

    #[test]
    fn the_bound_is_exact() {
        for (expected, len) in [
            (None, 300_000),
            (Some(10), 300_000),
            (Some(300_000), 300_000),
        ] {
            let bytes = vec![7; len as usize];
            let read = |max| Whole::read(&bytes[..], expected, max).unwrap();
            assert_eq!(read(len).unwrap().expose(), bytes);
            assert!(read(len - 1).is_none());
        }
        assert!(
            Whole::read(&b""[..], None, 0)
                .unwrap()
                .unwrap()
                .expose()
                .is_empty()
        );
    }
}
