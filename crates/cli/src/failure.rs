//! Every error as an exit code, one line what and one line what to do.

use std::io;
use std::process::ExitCode;
use waxseal::direct;
use waxseal::message::{Attempt, OpenError, SealError};
use waxseal::secretbox;
use waxseal_core::context::ContextError;
use waxseal_core::keyring::KeyringError;

/// The exit codes of the command: a contract (see `waxseal --help`). 0 is no failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// The command line cannot be followed.
    Usage = 2,
    /// Altered, truncated, or another key's.
    Unauthentic = 3,
    /// The key refuses this caller, or no key given can open the data.
    AccessDenied = 4,
    /// The key cannot be used now, or is not there.
    KeyState = 5,
    /// The key service was not reached.
    Unreachable = 6,
    /// The encryption context is another than was demanded.
    Context = 7,
    /// A limit or the commitment policy.
    Policy = 8,
    /// Files and pipes (`EX_IOERR`).
    Io = 74,
    /// Key files, regions, credentials, directories (`EX_CONFIG`).
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What went wrong and what to do about it. Neither is escaped yet: that happens when it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// One line. Empty when there is nobody to tell: the reader of stdout has gone.
    pub(crate) what: String,
    /// One line.
    pub(crate) hint: String,
}

impl Failure {
    /// A failure from its three parts.
    pub(crate) fn new(exit: Exit, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            hint: hint.into(),
        }
    }

    /// The command line cannot be followed.
    pub(crate) fn usage(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what, hint)
    }

    /// Something failed that is configured.
    pub(crate) fn configuration(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Exit::Configuration, what, hint)
    }

    /// `name` could not be read or written (`doing`, a verb in its base form).
    pub(crate) fn io(doing: &str, name: &str, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Io, "", "");
        }
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "check the name and the directory",
            io::ErrorKind::PermissionDenied => {
                "check the permissions of the file and its directory"
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "free some space or write elsewhere with -o; nothing was replaced"
            }
            io::ErrorKind::ReadOnlyFilesystem => "write elsewhere with -o",
            io::ErrorKind::IsADirectory => "name a file, or walk into directories with -r",
            _ => "check the file and its device; nothing was replaced",
        };
        Self::new(
            Exit::Io,
            format!("cannot {doing} {name}: {}", reason(error)),
            hint,
        )
    }

    /// A message was not written. `from` and `to` name input and output.
    pub(crate) fn sealing(error: SealError, from: &str, to: &str) -> Self {
        let what = error.to_string();
        match error {
            SealError::Keyring(error) => error.into(),
            SealError::Context(error) => error.into(),
            SealError::Read(error) => Self::io("read", from, &error),
            SealError::Write(error) => Self::io("write", to, &error),
            SealError::ReservedContext(_) => Self::usage(what, "choose another name for the pair"),
            SealError::FrameBytes { .. } => Self::policy(what, "choose a smaller --frame"),
            SealError::TooManyFrames { .. } => Self::policy(what, "choose a larger --frame"),
            SealError::RequiredName(_) => {
                Self::usage(what, "give the pair with --required-context")
            }
            SealError::Commitment { .. } => Self::policy(
                what,
                "choose another --suite, or --commitment-policy forbid-encrypt-allow-decrypt for readers that know no commitment",
            ),
            SealError::EncryptedDataKeys { .. } => Self::policy(what, "give fewer keys with -k"),
            SealError::Entropy(_) | SealError::Crypto => {
                Self::new(Exit::Io, what, "nothing was encrypted; try again")
            }
            _ => Self::new(Exit::Configuration, what, "give another key with -k"),
        }
    }

    /// A message was not opened. `from` and `to` name input and output.
    pub(crate) fn opening(error: OpenError, from: &str, to: &str) -> Self {
        let what = error.to_string();
        match error {
            OpenError::NoDataKey(attempts) => Self::no_data_key(&attempts),
            OpenError::Read(error) => Self::reading(from, &error),
            OpenError::Write(error) => Self::io("write", to, &error),
            OpenError::ContextMismatch { .. } => Self::new(
                Exit::Context,
                what,
                "see the message's context with waxseal inspect, and check -c",
            ),
            OpenError::Commitment { .. } => Self::policy(
                what,
                "open it with --commitment-policy require-encrypt-allow-decrypt, and encrypt it again",
            ),
            OpenError::Limit { .. } => Self::policy(
                what,
                "such a message is refused before it costs memory or calls to a key service",
            ),
            OpenError::SignedRange => Self::usage(
                what,
                "say --signature-unchecked, or decrypt all of it and cut the range out",
            ),
            OpenError::RangeStart { .. } => Self::usage(what, "begin within the plaintext"),
            OpenError::SignedRelease => {
                Self::usage(what, "write to a file with -o, or say --release-unverified")
            }
            _ => Self::unauthentic(what),
        }
    }

    /// A direct blob was neither made nor opened.
    pub(crate) fn direct(error: direct::Error) -> Self {
        let what = error.to_string();
        match error {
            direct::Error::Keyring(error) => error.into(),
            direct::Error::NobodysKey => Self::nobodys_key(&[]),
            direct::Error::PlaintextBytes { .. } => Self::policy(
                what,
                "use the default format, which has no such limit: leave out -f direct",
            ),
            direct::Error::NotSelfDescribing => Self::usage(
                what,
                "give exactly one KMS key with -k, or leave out -f direct",
            ),
            _ => Self::unauthentic(what),
        }
    }

    /// A secretbox payload was neither made nor opened.
    pub(crate) fn secretbox(error: secretbox::Error) -> Self {
        let what = error.to_string();
        match error {
            secretbox::Error::Keyring(error) => error.into(),
            secretbox::Error::NobodysKey => Self::nobodys_key(&[]),
            secretbox::Error::PlaintextLength { .. }
            | secretbox::Error::Payload(secretbox::PayloadError::Limit { .. }) => Self::policy(
                what,
                "raise --max-size, or use the default format, which streams",
            ),
            secretbox::Error::NotSelfDescribing { .. }
            | secretbox::Error::WrappedKeyCount { .. } => Self::usage(
                what,
                "give exactly one KMS key with -k, or leave out -f secretbox",
            ),
            secretbox::Error::Entropy(_) => {
                Self::new(Exit::Io, what, "nothing was encrypted; try again")
            }
            _ => Self::unauthentic(what),
        }
    }

    /// The data is bad, or the keys are: which one is not told.
    pub(crate) fn unauthentic(what: impl Into<String>) -> Self {
        Self::new(
            Exit::Unauthentic,
            what,
            "check that the data is complete and unaltered, and that key and context are the ones it was encrypted with",
        )
    }

    /// A limit or the commitment policy.
    pub(crate) fn policy(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Exit::Policy, what, hint)
    }

    /// Input that cannot be read; bytes that are no base64 are bad data, not a bad file.
    pub(crate) fn reading(name: &str, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::InvalidData {
            return Self::unauthentic(format!(
                "{name} begins as base64 and does not go on as such"
            ));
        }
        Self::io("read", name, error)
    }

    /// With one encrypted data key its failure says it all; with several each one is accounted for.
    fn no_data_key(attempts: &[Attempt]) -> Self {
        let failures: Vec<_> = attempts
            .iter()
            .flat_map(|each| each.failures.clone())
            .collect();
        if failures.is_empty() {
            let providers: Vec<_> = attempts.iter().map(|each| each.provider.clone()).collect();
            return Self::nobodys_key(&providers);
        }
        let told = all_failed(&failures);
        if attempts.len() == 1 && failures.len() == 1 {
            return told;
        }
        let mut what = format!("none of the {} encrypted data keys opens:", attempts.len());
        for (at, attempt) in attempts.iter().enumerate() {
            let end = if at + 1 < attempts.len() { ";" } else { "" };
            what += &format!(" ({}) {attempt}{end}", at + 1);
        }
        Self { what, ..told }
    }

    fn nobodys_key(providers: &[String]) -> Self {
        let what = "no key given can open this";
        let what = match providers {
            [] => what.to_owned(),
            known => format!("{what}: it was encrypted under {}", known.join(", ")),
        };
        Self::new(
            Exit::AccessDenied,
            what,
            "give the key with -k; waxseal inspect shows which it is",
        )
    }
}

/// The system's own words, without the number that Rust appends.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

impl From<ContextError> for Failure {
    fn from(error: ContextError) -> Self {
        let what = error.to_string();
        match error {
            ContextError::TooLong { .. } => {
                Self::policy(what, "give fewer or shorter pairs with -c")
            }
            _ => Self::usage(what, "give each pair once, as -c NAME=VALUE"),
        }
    }
}

impl From<KeyringError> for Failure {
    fn from(error: KeyringError) -> Self {
        let what = error.to_string();
        let (exit, hint) = match &error {
            KeyringError::AllFailed(failures) => return all_failed(failures),
            KeyringError::AccessDenied { .. } => (
                Exit::AccessDenied,
                "check the credentials, and that the key's policy lets them use it",
            ),
            KeyringError::KeyState { .. } => (
                Exit::KeyState,
                "see the key with waxseal key show; waxseal key enable lets it be used again",
            ),
            KeyringError::NotFound { .. } => (
                Exit::KeyState,
                "see the keys with waxseal key list, and check -k, account and region",
            ),
            KeyringError::Unreachable { .. } => (
                Exit::Unreachable,
                "check the network and the endpoint, and try again",
            ),
            KeyringError::Unauthentic { .. } => return Self::unauthentic(what),
            KeyringError::Limit { .. } => {
                (Exit::Policy, "stay below the limit, or give another key")
            }
            KeyringError::Configuration { .. } => (Exit::Configuration, "set what is missing"),
            KeyringError::Service { .. } => {
                (Exit::Io, "check the data directory's disk and permissions")
            }
            _ => (Exit::Configuration, "give another key with -k"),
        };
        Self::new(exit, what, hint)
    }
}

/// Of several failures the one that somebody can do most about. That a key did not fit is said
/// only when nothing else went wrong.
fn all_failed(failures: &[KeyringError]) -> Failure {
    let told = failures.iter().map(|error| Failure::from(error.clone()));
    let told = told.min_by_key(|failure| match failure.exit {
        Exit::AccessDenied => 0,
        Exit::KeyState => 1,
        Exit::Unreachable => 2,
        Exit::Configuration => 3,
        Exit::Io => 4,
        Exit::Unauthentic => 6,
        _ => 5,
    });
    told.unwrap_or_else(|| Failure::nobodys_key(&[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> String {
        "alias/x".into()
    }

    #[test]
    fn the_most_actionable_of_several_failures_is_told() {
        let unauthentic = KeyringError::Unauthentic { key: key() };
        let away = KeyringError::Unreachable {
            key: key(),
            reason: "timed out".into(),
        };
        let disabled = KeyringError::KeyState {
            key: key(),
            reason: "disabled".into(),
        };
        let denied = KeyringError::AccessDenied {
            key: key(),
            reason: "no".into(),
        };
        let exit = |errors: &[&KeyringError]| {
            let errors = errors.iter().map(|&error| error.clone()).collect();
            Failure::from(KeyringError::AllFailed(errors)).exit
        };
        assert_eq!(exit(&[&unauthentic]), Exit::Unauthentic);
        assert_eq!(exit(&[&unauthentic, &away]), Exit::Unreachable);
        assert_eq!(exit(&[&away, &unauthentic, &disabled]), Exit::KeyState);
        assert_eq!(exit(&[&disabled, &denied, &away]), Exit::AccessDenied);
        assert_eq!(exit(&[]), Exit::AccessDenied);
    }

    #[test]
    fn a_closed_pipe_is_not_commented() {
        let failure = Failure::io("write", "stdout", &io::ErrorKind::BrokenPipe.into());
        assert_eq!((failure.exit, failure.what.as_str()), (Exit::Io, ""));
    }

    #[test]
    fn bad_data_is_no_bad_file() {
        let corrupt = io::Error::new(io::ErrorKind::InvalidData, "base64");
        let opening = |error| Failure::opening(OpenError::Read(error), "in", "out");
        assert_eq!(opening(corrupt).exit, Exit::Unauthentic);
        assert_eq!(opening(io::ErrorKind::TimedOut.into()).exit, Exit::Io);
    }
}
