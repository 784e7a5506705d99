//! The environment, read once at the start.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use waxseal_core::crypto::random::{Entropy, SystemEntropy};
use waxseal_kms::engine::Rollback;
use waxseal_kms::home::EmbeddedHome;

/// What the process was born into. Nothing else reads environment variables of ours.
pub(crate) struct World {
    /// Where the embedded KMS keeps its data: `$WAXSEAL_HOME`, else `$XDG_DATA_HOME/waxseal`,
    /// else `~/.local/share/waxseal`. `None` when no variable says where.
    pub(crate) home: Option<PathBuf>,
    /// `$WAXSEAL_PASSPHRASE_FILE`: holds the passphrase of the root key.
    pub(crate) passphrase_file: Option<PathBuf>,
    /// `$WAXSEAL_NEW_PASSPHRASE_FILE`: holds one that is being chosen, where it is another one.
    pub(crate) new_passphrase_file: Option<PathBuf>,
    /// `$WAXSEAL_SHARES`: files with shares of the root key, with colons between them.
    pub(crate) share_files: Vec<PathBuf>,
    /// `$WAXSEAL_ROOT`: the names of roots, see [`crate::roots`].
    pub(crate) root: Option<String>,
    /// Set when whoever opens the embedded KMS takes a store and an audit log that do not belong
    /// together as they are.
    pub(crate) accepts_rollback: OnceLock<()>,
    /// The embedded KMS, once it was needed.
    pub(crate) embedded: OnceLock<Arc<EmbeddedHome>>,
    /// The source of all randomness.
    pub(crate) entropy: Arc<dyn Entropy>,
    /// Whether stdin is a terminal.
    pub(crate) stdin_is_terminal: bool,
    /// Whether stdout is a terminal.
    pub(crate) stdout_is_terminal: bool,
    /// Whether stderr is a terminal.
    pub(crate) stderr_is_terminal: bool,
}

impl World {
    /// Reads the environment.
    pub(crate) fn read() -> Self {
        Self {
            home: home(&path_of),
            passphrase_file: path_of("WAXSEAL_PASSPHRASE_FILE"),
            new_passphrase_file: path_of("WAXSEAL_NEW_PASSPHRASE_FILE"),
            share_files: path_of("WAXSEAL_SHARES")
                .map(|paths| std::env::split_paths(&paths).collect())
                .unwrap_or_default(),
            root: std::env::var("WAXSEAL_ROOT")
                .ok()
                .filter(|root| !root.is_empty()),
            accepts_rollback: OnceLock::new(),
            embedded: OnceLock::new(),
            entropy: Arc::new(SystemEntropy),
            stdin_is_terminal: std::io::stdin().is_terminal(),
            stdout_is_terminal: std::io::stdout().is_terminal(),
            stderr_is_terminal: std::io::stderr().is_terminal(),
        }
    }
}

impl World {
    /// What to do with a store and an audit log that do not belong together.
    pub(crate) fn rollback(&self) -> Rollback {
        match self.accepts_rollback.get() {
            Some(()) => Rollback::Accepted,
            None => Rollback::Refused,
        }
    }
}

/// A variable that names a path; an empty one counts as not set.
fn path_of(variable: &str) -> Option<PathBuf> {
    let value = std::env::var_os(variable)?;
    (!value.is_empty()).then(|| value.into())
}

fn home(variable: &dyn Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    if let Some(home) = variable("WAXSEAL_HOME") {
        return Some(home);
    }
    // The XDG base directory specification has relative paths ignored.
    if let Some(data) = variable("XDG_DATA_HOME").filter(|path| path.is_absolute()) {
        return Some(data.join("waxseal"));
    }
    variable("HOME").map(|home| home.join(".local/share/waxseal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home_with(variables: &[(&str, &str)]) -> Option<PathBuf> {
        home(&|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| PathBuf::from(value))
        })
    }

    #[test]
    fn the_first_variable_that_says_where_wins() {
        let all = [
            ("WAXSEAL_HOME", "w"),
            ("XDG_DATA_HOME", "/x"),
            ("HOME", "/h"),
        ];
        assert_eq!(home_with(&all), Some("w".into()));
        assert_eq!(home_with(&all[1..]), Some("/x/waxseal".into()));
        assert_eq!(home_with(&all[2..]), Some("/h/.local/share/waxseal".into()));
        assert_eq!(home_with(&[]), None);
        let relative = [("XDG_DATA_HOME", "x"), ("HOME", "/h")];
        assert_eq!(home_with(&relative), Some("/h/.local/share/waxseal".into()));
    }
}
