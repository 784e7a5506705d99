//! What was typed, and nothing more: no file is opened and no key looked up here.

mod audit;
mod encryption;
mod files;
mod help;
mod keys;
mod principals;
mod root;
mod serve;
mod values;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

pub(crate) use audit::{Audit, AuditFilter};
pub(crate) use encryption::{
    Caching, Compat, Decrypt, Demo, Encrypt, Format, Inspect, Policy, Reencrypt, Sealing,
};
pub(crate) use files::{Files, SkipDone};
pub(crate) use help::{Completion, Doctor, Explain, Man};
pub(crate) use keys::{BranchKey, Key};
pub(crate) use principals::{Account, Oidc, PolicyChange, Principal, Role, User};
pub(crate) use root::{Backup, Restore, Root};
pub(crate) use serve::{Config, Serve};
pub(crate) use values::Span;

/// Encrypts data with keys that never leave their KMS.
///
/// Data is encrypted with a fresh data key; the data key is wrapped by a key that stays in a KMS;
/// wrapped key and ciphertext travel together. Without -k the key is alias/default of the
/// embedded KMS, made on first use, so that encrypt and decrypt work with no set-up.
#[derive(Debug, Parser)]
#[command(name = "waxseal", version, after_long_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  echo 'My very secret data' | waxseal demo
  waxseal encrypt -o secret.wax secret.txt
  waxseal decrypt secret.wax
  tar c photos | waxseal encrypt -c owner=ann > photos.tar.wax
  waxseal encrypt -r photos -o sealed
  waxseal encrypt -k arn:aws:kms:eu-west-1:111122223333:key/ID -o out.wax in

Keys (-k, repeated for several recipients):
  ID or alias/NAME              a key of the embedded KMS
  ARN, or --kms aws             a key of Amazon KMS, with the usual AWS_* variables and profiles
  aws-kms:///ARN                the same, spelled out
  aws-kms-mrk:///ARN            a multi-Region key; opens what its replicas have wrapped, too
  aws-kms-discovery:?account=N&partition=aws&region=R
                                to open: any key of these accounts (account= may be repeated;
                                partition is 'aws' unless given), asking these Regions alone, also
                                about keys with a replica there; each part may be left out
  aws-kms-rsa:///ARN?padding=oaep-sha256&public-key=FILE
                                an RSA key, wrapping with its public half: from a PEM file, or
                                asked of KMS; padding oaep-sha256 (the default) or oaep-sha1
  aws-kms-ecdh:///ARN?peer=FILE
                                a key that shares a secret with the peer's public key, in PEM form;
                                without peer, to open: whatever anybody encrypted for it
  raw-aes:FILE?namespace=NS&name=NAME
                                a file of 16, 24 or 32 raw bytes, or their hex or base64;
                                namespace is 'waxseal' and name the file's own name unless given
  raw-rsa:FILE.pem?namespace=NS&name=NAME&padding=oaep-sha256
                                an RSA key: a public one encrypts, a private one decrypts, a
                                file with both does both; padding is pkcs1 or oaep-sha1, -sha256
                                (the default), -sha384, -sha512; name is the key's fingerprint
                                unless given
  raw-ecdh:PUBLIC.pem           an EC key (P-256, P-384, P-521) to encrypt to
  raw-ecdh:PRIVATE.pem          the same, to decrypt what anybody encrypted to it
  raw-ecdh:PRIVATE.pem?peer=PUBLIC.pem
                                your key and another's: either end opens what the other sealed
  hierarchy:DIR?branch=ID&wrap=KEY&ttl=SECONDS
                                a branch key in a folder (waxseal branch-key create), itself
                                wrapped by KEY (alias/default unless given), which is used once
                                in SECONDS (600) instead of once a message

Embedded data live in $WAXSEAL_HOME, else $XDG_DATA_HOME/waxseal, else ~/.local/share/waxseal.

Exit codes:
   0  done
   2  usage: the command line cannot be followed
   3  not authentic or corrupt: altered, truncated, or another key's
   4  access denied, or no given key can open it
   5  key state: disabled, pending deletion, or not there
   6  KMS unreachable
   7  encryption context mismatch or missing
   8  refused by policy: commitment, or a limit
  74  I/O: a file, a full disk, a closed pipe (which is not commented)
  78  configuration: a key file, a region, credentials, a home directory
With several files the code is that of the first file that failed.";

/// Options of every command.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Global {
    /// Print one JSON line a file or item; errors are JSON lines on stderr.
    ///
    /// The lines go to stdout, or to stderr when stdout carries the data. The last line on stderr
    /// of a run over many files has a member "summary" with its counts.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress and no notes; errors are still told.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Which KMS bare ids and aliases mean.
    ///
    /// Without it, bare names mean the embedded KMS and ARNs of another account or region
    /// mean Amazon KMS.
    #[arg(long, global = true, value_name = "KMS")]
    pub(crate) kms: Option<KmsChoice>,
}

/// Which KMS bare names mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KmsChoice {
    /// The engine inside this program
    Embedded,
    /// Amazon KMS, or what AWS_ENDPOINT_URL_KMS names
    Aws,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Encrypt(Encrypt),
    Decrypt(Decrypt),
    Reencrypt(Reencrypt),
    Inspect(Inspect),
    Demo(Demo),
    /// Manage the keys of the embedded KMS
    #[command(subcommand)]
    Key(Key),
    /// Manage branch keys in a folder, for -k hierarchy:DIR?branch=ID
    #[command(subcommand)]
    BranchKey(BranchKey),
    /// Manage the users of the server: who may call besides the owner
    #[command(subcommand)]
    User(User),
    /// Manage the roles that users and sessions may assume
    #[command(subcommand)]
    Role(Role),
    /// Manage whose web identities may assume roles: Kubernetes, CI, sign-on services
    #[command(subcommand)]
    Oidc(Oidc),
    /// Show or change what the embedded KMS hangs from: a file, a passphrase, keys in devices
    #[command(subcommand)]
    Root(Root),
    Backup(Backup),
    Restore(Restore),
    /// Read the log of all key usage of the embedded KMS
    #[command(subcommand)]
    Audit(Audit),
    Explain(Explain),
    Doctor(Doctor),
    Serve(Serve),
    /// Look at what the server is run with
    #[command(subcommand)]
    Config(Config),
    Completion(Completion),
    Man(Man),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_declarations_hold_together() {
        Args::command().debug_assert();
    }
}
