//! Where the vectors of others lie. Some are in the repository, some beside it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A file or folder of the shared vectors: below `WAXSEAL_VECTORS`, else beside the repository in
/// `../shared/vectors`. `None` when it is not there, which is told on stderr with the number of
/// cases that are lost, and which fails where `CI=true`.
///
/// # Panics
/// When the vectors are missing and `CI=true`.
pub fn shared(path: &str, cases: usize) -> Option<PathBuf> {
    let root = std::env::var_os("WAXSEAL_VECTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors"),
        PathBuf::from,
    );
    let path = root.join(path);
    if path.exists() {
        return Some(path);
    }
    let lost = format!(
        "{} is missing: {cases} cases were NOT run; WAXSEAL_VECTORS names the folder",
        path.display()
    );
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{lost}");
    // Written past the test harness, which would swallow what a passing test prints.
    writeln!(std::io::stderr(), "{lost}").expect("stderr");
    None
}

/// A file or folder of the vectors in the repository.
pub fn own(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("vectors")
        .join(path)
}
