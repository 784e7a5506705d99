//! Running with fewer rights, or on a disk of our own, where the machine permits it.

use std::process::{Command, Stdio};

/// User and group of nobody.
pub const NOBODY: u32 = 65_534;

/// Whether permission bits do not bind us.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What to put before a program so that permission bits bind it: nothing unless we are root.
pub fn bound() -> &'static [&'static str] {
    match is_root() {
        true => &[
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ],
        false => &[],
    }
}

/// Whether we may mount a file system that nobody else sees.
pub fn may_mount() -> bool {
    Command::new("unshare")
        .args(["-m", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
