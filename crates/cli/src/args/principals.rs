//! Users, roles, and whose web identities may assume them.

use clap::{Args as ClapArgs, Subcommand};
use std::path::PathBuf;

/// `waxseal user`
#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Make a user; the secret access key is printed once, and kept sealed
    Create {
        /// Its name
        name: String,
        /// Identity policy: a file with JSON, or - for stdin
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        #[command(flatten)]
        account: Account,
    },
    /// List users, their access keys and policies
    List {
        #[command(flatten)]
        account: Account,
    },
    /// Let a user in no more
    Disable(Principal),
    /// Let a user in again
    Enable(Principal),
    /// Make a new access key in the place of those there are
    RotateKey {
        /// The user's name
        name: String,
        /// Let the access key there is stay valid; a user has at most two
        #[arg(long)]
        keep: bool,
        #[command(flatten)]
        account: Account,
    },
    /// Put an identity policy, or remove it
    Policy {
        /// The user's name
        name: String,
        #[command(flatten)]
        policy: PolicyChange,
        #[command(flatten)]
        account: Account,
    },
    /// Remove a user
    Delete(Principal),
}

/// `waxseal oidc`
#[derive(Debug, Subcommand)]
pub(crate) enum Oidc {
    /// Let an issuer's tokens begin sessions of roles, or give it other keys
    Create {
        /// The issuer, as in its tokens: https://…
        url: String,
        /// Its public keys: a file with a JWK Set, or - for stdin
        #[arg(long, value_name = "FILE")]
        keys: PathBuf,
        /// Whom tokens must be for: their audience; can be repeated
        #[arg(
            long = "client-id",
            value_name = "ID",
            default_value = "sts.amazonaws.com"
        )]
        client_ids: Vec<String>,
        #[command(flatten)]
        account: Account,
    },
    /// List issuers
    List {
        #[command(flatten)]
        account: Account,
    },
    /// Let an issuer's tokens begin no more sessions
    Delete {
        /// The issuer
        url: String,
        #[command(flatten)]
        account: Account,
    },
}

/// `waxseal role`
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Make a role, or give one another trust policy
    Create {
        /// Its name
        name: String,
        /// Trust policy, who may assume it: a file with JSON, or - for stdin
        #[arg(long, value_name = "FILE")]
        trust: PathBuf,
        /// The longest session, in seconds: 3600 to 43200 [default: 3600]
        #[arg(long, value_name = "SECONDS")]
        max_session: Option<i64>,
        #[command(flatten)]
        account: Account,
    },
    /// List roles and their policies
    List {
        #[command(flatten)]
        account: Account,
    },
    /// Put an identity policy, or remove it
    Policy {
        /// The role's name
        name: String,
        #[command(flatten)]
        policy: PolicyChange,
        #[command(flatten)]
        account: Account,
    },
    /// Remove a role; its sessions end
    Delete(Principal),
}

/// A user or role that is there.
#[derive(Debug, ClapArgs)]
pub(crate) struct Principal {
    /// Its name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) account: Account,
}

/// Which account principals are in.
#[derive(Debug, ClapArgs)]
pub(crate) struct Account {
    /// Account of the user or role: 12 digits [default: that of the embedded KMS]
    #[arg(long, value_name = "ID", value_parser = account)]
    pub(crate) account: Option<String>,
}

/// What is done to a policy.
#[derive(Debug, ClapArgs)]
pub(crate) struct PolicyChange {
    /// JSON, or - for stdin
    #[arg(required_unless_present = "remove")]
    pub(crate) file: Option<PathBuf>,
    /// Which of several policies
    #[arg(long, value_name = "NAME", default_value = "policy")]
    pub(crate) policy_name: String,
    /// Remove it
    #[arg(long, conflicts_with = "file")]
    pub(crate) remove: bool,
}

fn account(text: &str) -> Result<String, String> {
    match waxseal_core::arn::is_account(text) {
        true => Ok(text.to_owned()),
        false => Err("an account is 12 digits".to_owned()),
    }
}
