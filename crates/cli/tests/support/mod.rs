//! The real binary in a directory of its own.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    reason = "what fails to unwrap here fails its test"
)]

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A directory with two raw AES keys, `key` and `other`, and no embedded KMS.
pub(crate) struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        place.write("key", [0x11; 32]);
        place.write("other", [0x22; 32]);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        // Secrets are among them.
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// `waxseal` in this directory, with nothing of the tester's environment.
    pub(crate) fn waxseal(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waxseal"));
        command.current_dir(self.directory.path());
        command.env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("WAXSEAL_HOME", self.path("home"));
        command
    }

    /// Runs with arguments and stdin.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: &[A], stdin: &[u8]) -> Outcome {
        outcome(self.waxseal().args(arguments), stdin)
    }

    /// Encrypts `plaintext` with `-k raw-aes:key` and more arguments.
    pub(crate) fn sealed(&self, plaintext: &[u8], more: &[&str]) -> Vec<u8> {
        let arguments = [&["encrypt", "-k", "raw-aes:key"], more].concat();
        self.run(&arguments, plaintext).ok().0.stdout
    }

    /// Decrypts `ciphertext` with `-k raw-aes:key` and more arguments.
    pub(crate) fn opened(&self, ciphertext: &[u8], more: &[&str]) -> Outcome {
        let arguments = [&["decrypt", "-k", "raw-aes:key"], more].concat();
        self.run(&arguments, ciphertext)
    }

    /// Every name in a directory, the hidden ones too.
    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        names(&self.path(directory))
    }
}

/// Runs a command with stdin.
pub(crate) fn outcome(command: &mut Command, stdin: &[u8]) -> Outcome {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let stdin = stdin.to_vec();
    // From a thread: who refuses early does not read all of it.
    let writer = std::thread::spawn(move || drop(pipe.write_all(&stdin)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Outcome(output)
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Bytes that no two places have alike.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend(state.to_le_bytes());
    }
    out.truncate(bytes);
    out
}

/// What a run came to.
pub(crate) struct Outcome(pub(crate) Output);

impl Outcome {
    /// Exit code 0.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.exits(0)
    }

    /// That exit code; for errors, one line what and one line what to do.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.0.status.code(),
            Some(code),
            "stderr: {}",
            self.stderr()
        );
        self
    }

    /// That exit code, nothing on stdout, an error of two lines, and `what` in it.
    #[track_caller]
    pub(crate) fn refused(self, code: i32, what: &str) -> Self {
        let told = self.exits(code);
        let stderr = told.stderr();
        assert!(stderr.contains(what), "{what:?} is not in: {stderr}");
        assert!(stderr.starts_with("waxseal: error: "), "{stderr}");
        assert_eq!(stderr.lines().count(), 2, "{stderr}");
        assert!(stderr.lines().all(|line| line.len() > 10), "{stderr}");
        assert_eq!(told.0.stdout, b"");
        told
    }

    pub(crate) fn stdout(&self) -> &[u8] {
        &self.0.stdout
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }
}
