//! The program under test, and what came of a run.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The built program: what `WAXSEAL` names, else `waxseal` in the directory above this test's.
/// When nothing lies there it is built once.
///
/// # Panics
/// With a sentence that says how to build it, when it cannot be had.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(find)
}

fn find() -> PathBuf {
    if let Some(named) = std::env::var_os("WAXSEAL") {
        let named = PathBuf::from(named);
        assert!(
            named.is_file(),
            "WAXSEAL names {}, which is no file",
            named.display()
        );
        return std::path::absolute(named).expect("a working directory");
    }
    let this = std::env::current_exe().expect("a test knows its own path");
    let target = this
        .parent()
        .and_then(Path::parent)
        .expect("tests lie in target/release/deps");
    let beside = target.join("waxseal");
    if !beside.is_file() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--release", "-p", "waxseal-cli"])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .status();
        assert!(
            built.is_ok_and(|status| status.success()) && beside.is_file(),
            "there is no {}: build it with cargo build --release -p waxseal-cli, and run the tests \
             with --release, or name another with WAXSEAL",
            beside.display()
        );
    }
    beside
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Ran {
    /// What was run, for messages.
    pub line: String,
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// All of stdout.
    pub stdout: Vec<u8>,
    /// All of stderr, which is text.
    pub stderr: String,
}

impl Ran {
    /// Runs `command` with `stdin` to its end.
    pub fn of(mut command: Command, stdin: &[u8]) -> Self {
        let line = format!("{:?}", command.get_args().collect::<Vec<_>>());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{line}: {error}"));
        let mut pipe = child.stdin.take().expect("it is piped");
        let input = stdin.to_vec();
        // A program that fails early does not read on: that is no failure of ours.
        let feeder = std::thread::spawn(move || drop(pipe.write_all(&input)));
        let output = child.wait_with_output().expect("a child can be waited for");
        feeder.join().expect("writing does not panic");
        Self {
            line,
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).expect("stderr is text"),
        }
    }

    /// Fails unless the exit code is `code`.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "exit code of {}: {}",
            self.line,
            self.stderr
        );
        self
    }

    /// stdout as text.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("stdout is text")
    }

    /// The lines of stdout as JSON.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        let parse = |line: &str| serde_json::from_str(line).expect("stdout is JSON lines");
        self.text().lines().map(parse).collect()
    }
}
