//! What keeps the secrets of this process to itself: no core file, nobody who looks on, no swap, and no
//! file that others can read or change.

use crate::failure::Failure;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit, umask,
};
use rustix::thread::{CapabilitySet, capabilities};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// What others than owner and group may not have of a secret: the group may read it, as with
/// `ssl-cert`.
const SECRET: u32 = 0o037;
/// What others than the owner may not have of what the program goes by.
const CHANGEABLE: u32 = 0o022;

/// No core file is written of this process, and nobody but the administrator can look into it.
///
/// # Errors
/// As the system says it.
pub(crate) fn conceal() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Where somebody saw to it already, it may be forbidden to say it again.
    if getrlimit(Resource::Core) != none {
        setrlimit(Resource::Core, none)?;
    }
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// What a server does before it opens anything: [`conceal`], files that are its owner's alone, and
/// memory that is never swapped. What is to be said of it, where something is.
///
/// # Errors
/// [`Failure`] where memory cannot be locked, there is swap, and nobody allowed it.
pub(crate) fn serve(allows_swap: bool) -> Result<Option<String>, Failure> {
    umask(rustix::fs::Mode::from_raw_mode(0o077));
    conceal().map_err(|error| {
        Failure::configuration(
            format!("core files cannot be ruled out: {error}"),
            "let the process use prctl(PR_SET_DUMPABLE) and setrlimit",
        )
    })?;
    let Err(why) = lock() else {
        return Ok(None);
    };
    if allows_swap {
        return Ok(Some(format!("memory may be swapped (--allow-swap): {why}")));
    }
    match has_swap() {
        false => Ok(Some(format!(
            "memory is not locked, and there is no swap now: {why}"
        ))),
        true => Err(Failure::configuration(
            format!("memory cannot be locked, and this machine swaps: {why}"),
            "raise the limit (LimitMEMLOCK=infinity in the unit, or ulimit -l), or start with \
             --allow-swap: keys may then come to lie on the disk",
        )),
    }
}

/// Locks all memory that there is and will be, page by page as it is used.
fn lock() -> Result<(), String> {
    let limit = getrlimit(Resource::Memlock);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // What cannot be raised stays, and is looked at next.
    let _ = setrlimit(Resource::Memlock, raised);
    let is_free =
        capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    // Past a limit, memory could not be had any more: a server that was started would end.
    if let (Some(bytes), false) = (getrlimit(Resource::Memlock).current, is_free) {
        return Err(format!("RLIMIT_MEMLOCK is {bytes} bytes"));
    }
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
        .map_err(|error| error.to_string())
}

/// Whether anything can be swapped. Where that cannot be told, it can.
fn has_swap() -> bool {
    match std::fs::read_to_string("/proc/swaps") {
        Ok(text) => text.lines().nth(1).is_some(),
        Err(_) => true,
    }
}

/// Refuses a file with a secret that others can read.
pub(crate) fn check_secret(path: &Path, file: &File) -> Result<(), Failure> {
    let metadata = file.metadata();
    let metadata =
        metadata.map_err(|error| Failure::io("look at", &path.display().to_string(), &error))?;
    is_kept(&metadata, SECRET).map_err(|mode| weak(path, mode, "others can read or change it"))
}

/// The same by name.
pub(crate) fn check_secret_at(path: &Path) -> Result<(), Failure> {
    let file = File::open(path);
    let file = file.map_err(|error| Failure::io("read", &path.display().to_string(), &error))?;
    check_secret(path, &file)
}

/// Refuses a file that others can change, and that the program goes by.
pub(crate) fn check_own(path: &Path) -> Result<(), Failure> {
    let metadata = std::fs::metadata(path);
    let metadata =
        metadata.map_err(|error| Failure::io("read", &path.display().to_string(), &error))?;
    is_kept(&metadata, CHANGEABLE).map_err(|mode| weak(path, mode, "others can change it"))
}

/// The mode of a regular file, where it has one of these bits. A pipe is whoever's who made it.
fn is_kept(metadata: &Metadata, bits: u32) -> Result<(), u32> {
    let mode = metadata.permissions().mode() & 0o7777;
    match metadata.is_file() && mode & bits != 0 {
        true => Err(mode),
        false => Ok(()),
    }
}

fn weak(path: &Path, mode: u32, what: &str) -> Failure {
    let name = path.display();
    Failure::configuration(
        format!("{name} has mode {mode:04o}: {what}"),
        format!("if nobody did: chmod 600 {name}"),
    )
}
