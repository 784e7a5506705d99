//! Keys of the embedded KMS, and branch keys in folders.

use super::values::pair;
use clap::Subcommand;
use std::path::PathBuf;

/// `waxseal key`.
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key
    Create {
        /// Alias for it, with or without 'alias/'; repeat for several
        #[arg(long = "alias", value_name = "NAME")]
        aliases: Vec<String>,
        /// What the key is for
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// Tag; repeat for several
        #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = pair)]
        tags: Vec<(String, String)>,
    },
    /// List the keys with their aliases and states
    List,
    /// Show everything about a key except the key
    Show {
        /// Id, alias/NAME or ARN
        key: String,
    },
    /// Point an alias to a key: make it, or move it
    Alias {
        /// Alias, with or without 'alias/'
        name: String,
        /// Id, alias/NAME or ARN of the key
        #[arg(required_unless_present = "delete", conflicts_with = "delete")]
        key: Option<String>,
        /// Delete the alias; the key stays
        #[arg(long)]
        delete: bool,
    },
    /// Give a key new material; what the old one encrypted still opens
    Rotate {
        /// Id, alias/NAME or ARN
        key: String,
    },
    /// List the rotations of a key
    Rotations {
        /// Id, alias/NAME or ARN
        key: String,
    },
    /// Let a disabled key be used again
    Enable {
        /// Id, alias/NAME or ARN
        key: String,
    },
    /// Delete a key once a waiting period is over: what it encrypted is lost then
    ///
    /// Who used it last, and when, is said first, as the audit log has it.
    Delete {
        /// Id, alias/NAME or ARN
        key: String,
        /// Waiting period in days, 7 to 30
        #[arg(long, value_name = "N", default_value_t = 30)]
        days: i64,
        /// Do not ask, on a terminal either
        #[arg(short, long)]
        yes: bool,
    },
    /// Keep a key that waits for its deletion; it is disabled then
    CancelDeletion {
        /// Id, alias/NAME or ARN
        key: String,
    },
    /// Refuse every use of a key until it is enabled again
    Disable {
        /// Id, alias/NAME or ARN
        key: String,
    },
}

/// `waxseal branch-key`.
#[derive(Debug, Subcommand)]
pub(crate) enum BranchKey {
    /// Make a branch key with its first version
    Create {
        /// Folder to keep it in; made if it is not there
        #[arg(long, value_name = "DIR")]
        store: PathBuf,
        /// Key that wraps it, written as for -k; repeat for several [default: alias/default]
        #[arg(long, value_name = "KEY")]
        wrap: Vec<String>,
        /// Id [default: a fresh UUID]
        id: Option<String>,
    },
    /// Make a new active version; what older ones wrapped still opens
    Rotate {
        /// Folder that it is in
        #[arg(long, value_name = "DIR")]
        store: PathBuf,
        /// Key that wraps it, written as for -k; repeat for several [default: alias/default]
        #[arg(long, value_name = "KEY")]
        wrap: Vec<String>,
        /// Id
        id: String,
    },
    /// List the branch keys in a folder and their versions; needs no key
    List {
        /// The folder
        #[arg(long, value_name = "DIR")]
        store: PathBuf,
    },
}
