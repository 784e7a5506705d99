//! What the embedded KMS hangs from, and copies of it.

use clap::{Args as ClapArgs, Subcommand};
use std::path::PathBuf;

/// Copy the embedded KMS as it is now, while it is used: keys sealed, log and trail
///
/// The root key is not in it: keep it, or a device, or the passphrase, elsewhere. The copy is a tar
/// archive; without -o it goes to stdout.
#[derive(Debug, ClapArgs)]
pub(crate) struct Backup {
    /// The archive; an old one is replaced once the new one is complete
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// Make the data directory from a copy, where there is none
///
/// Everything is verified first, and no key is needed for that: lengths, hashes, the chain of the audit
/// log, the store.
#[derive(Debug, ClapArgs)]
pub(crate) struct Restore {
    /// The archive; - for stdin
    #[arg(value_name = "FILE")]
    pub(crate) archive: PathBuf,
    /// Verify it, and make nothing
    #[arg(long)]
    pub(crate) check: bool,
}

/// `waxseal root`
#[derive(Debug, Subcommand)]
pub(crate) enum Root {
    /// Show what the store hangs from, and which of it opens it now
    Status,
    /// Make the data directory, hanging from all of these; refused where there is one
    Init {
        /// file, passphrase, shares:3/5, aws-kms:///ARN or
        /// pkcs11:token=NAME;object=LABEL?module-path=FILE&pin-source=FILE; new shares are printed, once
        /// [default: what WAXSEAL_ROOT names, else file]
        #[arg(value_name = "ROOT")]
        roots: Vec<String>,
    },
    /// Hang the store from one more root key: each of them alone opens it
    Add {
        /// As of root init; a key that is not in the device is made there
        #[arg(value_name = "ROOT")]
        root: String,
    },
    /// Let a root key open the store no more; another one opens it first
    Remove {
        /// Its number, as root status shows it, or its name as of root init
        #[arg(value_name = "NUMBER|ROOT")]
        root: String,
    },
    /// Give the store a new domain key and seal every row anew, while it is served; goes on where it ended
    /// early. With a root: a new root key in its place instead
    Rotate {
        /// Number or name of a root that is a file, a passphrase or shares: it gets a new key
        #[arg(value_name = "NUMBER|ROOT")]
        root: Option<String>,
    },
    /// Hang the store from other root keys, while it is served; the old ones open it no more
    Migrate {
        /// As of root init; a key that is not in the device is made there
        #[arg(value_name = "ROOT", required = true)]
        to: Vec<String>,
    },
}
