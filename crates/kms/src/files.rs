//! What every file of a home is made with.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Makes a directory that is its owner's alone, and those above it that are missing.
pub(crate) fn make_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

/// The mode of what is there, where others than its owner can change it.
pub(crate) fn changeable(path: &Path) -> io::Result<Option<u32>> {
    match std::fs::metadata(path) {
        Ok(metadata) => {
            let mode = metadata.permissions().mode() & 0o7777;
            Ok((mode & 0o022 != 0).then_some(mode))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Writes a file that is old or new and whole, and durable. Several processes may do so at once: the
/// last one's stays.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let new = Path::new(&name);
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(new).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(new, path)
    });
    if written.is_err() {
        // What was begun is of no use; it may not even be there.
        let _ = std::fs::remove_file(new);
    }
    written?;
    match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => sync_directory(above),
        _ => sync_directory(Path::new(".")),
    }
}
