//! A fresh world for each test: a directory of its own, a home, an environment without surprises.

use crate::program::{self, Ran};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use waxseal_kms::audit::{self, Verified};

/// A temporary directory with a place for a home, in which commands run.
#[derive(Debug)]
pub struct World {
    directory: tempfile::TempDir,
    variables: BTreeMap<String, String>,
}

/// What stands before `-o` outputs in many tests.
pub const OLD: &[u8] = b"what was there before";

impl World {
    /// An empty directory; the home is not made before a command makes it.
    pub fn new() -> Self {
        let world = Self {
            directory: tempfile::Builder::new()
                .prefix("waxseal-")
                .tempdir()
                .expect("a directory"),
            variables: BTreeMap::new(),
        };
        fs::create_dir(world.path("tmp")).expect("a directory");
        world
    }

    /// Sets an environment variable for all later commands.
    #[must_use]
    pub fn with(mut self, variable: &str, value: impl AsRef<Path>) -> Self {
        self.variables.insert(
            variable.into(),
            value.as_ref().to_str().expect("text").into(),
        );
        self
    }

    /// A path in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The home.
    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// The audit log of the home.
    pub fn audit(&self) -> PathBuf {
        self.path("home/audit")
    }

    /// Writes a file that nobody else can read, and returns its path.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        path
    }

    /// Reads a file.
    #[track_caller]
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The program with `args`, not started yet: in the directory, with no environment but ours.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program::binary());
        self.furnish(&mut command);
        command.args(args);
        command
    }

    /// The program behind other programs: `wrapper` ends where the program begins.
    pub fn command_behind(&self, wrapper: &[&str], args: &[&str]) -> Command {
        let mut command = Command::new(wrapper[0]);
        self.furnish(&mut command);
        command
            .args(&wrapper[1..])
            .arg(program::binary())
            .args(args);
        command
    }

    fn furnish(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("WAXSEAL_HOME", self.home())
            .env("TMPDIR", self.path("tmp"))
            .envs(&self.variables)
            .current_dir(self.directory.path());
    }

    /// Runs the program to its end.
    pub fn run(&self, args: &[&str], stdin: &[u8]) -> Ran {
        Ran::of(self.command(args), stdin)
    }

    /// Runs the program, which must succeed; gives its stdout.
    #[track_caller]
    pub fn ok(&self, args: &[&str], stdin: &[u8]) -> Vec<u8> {
        self.run(args, stdin).exits(0).stdout
    }

    /// Names in a directory of the world, sorted; `.` is the world itself.
    pub fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(directory)).expect("a directory");
        let mut names: Vec<_> = entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("text")
            })
            .collect();
        names.sort();
        names
    }

    /// Every regular file below the world's directory, with what is in it.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let (mut found, mut left) = (Vec::new(), vec![self.directory.path().to_owned()]);
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(directory).expect("a directory") {
                let path = entry.expect("an entry").path();
                match path.is_dir() {
                    true => left.push(path),
                    false => found.push((path.clone(), fs::read(&path).expect("a file"))),
                }
            }
        }
        found
    }

    /// Temporary files that kills left in a directory of the world.
    ///
    /// # Panics
    /// When one of them could be read by others.
    pub fn leftovers(&self, directory: &str) -> Vec<PathBuf> {
        let names = self.names(directory).into_iter();
        let left: Vec<_> = names
            .filter(|name| name.starts_with('.') && name.ends_with(".tmp"))
            .inspect(|name| assert!(name.contains(".waxseal-"), "{name} says not whose it is"))
            .map(|name| self.path(directory).join(name))
            .collect();
        for path in &left {
            let mode = fs::metadata(path).expect("a file").permissions().mode() & 0o7777;
            assert_eq!(mode, 0o600, "{} can be read by others", path.display());
        }
        left
    }

    /// The audit chain of the home, which must hold.
    #[track_caller]
    pub fn verified(&self) -> Verified {
        audit::verify(&self.audit()).unwrap_or_else(|error| panic!("the audit chain: {error}"))
    }

    /// The event names of the audit log; an error's code follows behind a colon.
    pub fn events(&self) -> Vec<String> {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        audit::records(&self.audit())
            .map(|record| {
                record
                    .and_then(|record| record.event())
                    .expect("a readable record")
            })
            .map(|event| match text(&event["errorCode"]) {
                code if code.is_empty() => text(&event["eventName"]),
                code => format!("{}:{code}", text(&event["eventName"])),
            })
            .collect()
    }

    /// Makes everything in the world somebody's: files that a test needs another user to meet.
    pub fn give_to(&self, uid: u32) {
        let mut left = vec![self.directory.path().to_owned()];
        while let Some(path) = left.pop() {
            std::os::unix::fs::lchown(&path, Some(uid), Some(uid)).expect("root may");
            if path.is_dir() && !path.is_symlink() {
                left.extend(
                    fs::read_dir(&path)
                        .expect("a directory")
                        .map(|e| e.expect("one").path()),
                );
            }
        }
    }

    /// Inode of a file: it changes when the file is replaced.
    pub fn inode(&self, name: &str) -> u64 {
        fs::metadata(self.path(name)).expect("a file").ino()
    }
}

/// A temporary directory in memory where the machine has one: for suites that make many homes, and do
/// not mean the disk.
pub fn quick_place() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("waxseal-");
    let made = match memory.is_dir() {
        true => builder.tempdir_in(memory),
        false => builder.tempdir(),
    };
    made.expect("a directory")
}

/// Copies a directory to a place where there is nothing, modes and all.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a directory");
    let permissions = fs::metadata(from).expect("a directory").permissions();
    fs::set_permissions(to, permissions).expect("a directory of ours");
    for entry in fs::read_dir(from).expect("a directory") {
        let from = entry.expect("an entry").path();
        let to = to.join(from.file_name().expect("a name"));
        match from.is_dir() {
            true => copy_tree(&from, &to),
            false => drop(fs::copy(&from, &to).expect("a file")),
        }
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}
