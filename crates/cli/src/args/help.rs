//! Commands that help: why something works or does not, completion, manual pages.

use super::values::pair;
use clap::Args as ClapArgs;
use clap_complete::Shell;

/// Look at what stands between you and a key: data directory, endpoint, clock, credentials, policy
#[derive(Debug, ClapArgs)]
pub(crate) struct Doctor {
    /// The keys to look at; the embedded KMS alone when none is named. Nothing is encrypted or opened
    #[arg(short = 'k', long = "key", value_name = "KEY")]
    pub(crate) keys: Vec<String>,
}

/// Print a script that completes commands and options in a shell
#[derive(Debug, ClapArgs)]
pub(crate) struct Completion {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// Print a manual page, for man -l or a file in man1
#[derive(Debug, ClapArgs)]
pub(crate) struct Man {
    /// The command; none is waxseal itself, with keys, examples and exit codes
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Option<String>,
}

/// Say which statement or grant lets somebody do something, or does not
///
/// With REQUEST-ID, what the audit log has of that request, and what the policies say of it now.
#[derive(Debug, ClapArgs)]
pub(crate) struct Explain {
    /// As in the header x-amzn-RequestId, and in the audit log
    #[arg(conflicts_with_all = ["principal", "action", "key", "context"])]
    pub(crate) request_id: Option<String>,
    /// ARN of a user, a role, a session or root
    #[arg(long, value_name = "ARN")]
    pub(crate) principal: Option<String>,
    /// Action, such as kms:Decrypt
    #[arg(long)]
    pub(crate) action: Option<String>,
    /// Key: id, alias/NAME or ARN
    #[arg(short, long)]
    pub(crate) key: Option<String>,
    /// Encryption context of the request; repeat for several pairs
    #[arg(short, long = "context", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) context: Vec<(String, String)>,
}
