//! What was typed, and nothing more: no file is opened and no key looked up here.

use crate::tree::filter::Pattern;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use waxseal::message::{CommitmentPolicy, Suite};
use waxseal_core::bucket::BucketName;
use waxseal_kms::audit::{self, Filter};

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

/// `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// AWS Encryption SDK message, any size
    Message,
    /// The KMS ciphertext blob itself, at most 4,096 bytes
    Direct,
    /// XSalsa20-Poly1305 in a Go gob struct, whole in memory
    Secretbox,
}

/// Encrypt files, or stdin to stdout
///
/// One input goes to stdout or to -o. With several inputs, -r, --suffix, or -o naming a
/// directory, each FILE becomes FILE.wax beside it or under that directory; a failure of one is
/// reported and counted, the others go on.
#[derive(Debug, ClapArgs)]
pub(crate) struct Encrypt {
    #[command(flatten)]
    pub(crate) sealing: Sealing,
    /// Format to write
    #[arg(short, long, value_name = "FORMAT", default_value = "message")]
    pub(crate) format: Format,
    /// Write base64 in lines instead of bytes
    #[arg(long)]
    pub(crate) base64: bool,
    #[command(flatten)]
    pub(crate) caching: Caching,
    #[command(flatten)]
    pub(crate) files: Files,
}

/// How to seal.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Sealing {
    /// Key: id, alias/NAME, ARN, or a local key as in 'Keys' of --help; repeat for several recipients
    /// [default: alias/default of the embedded KMS]
    #[arg(short, long = "key", value_name = "KEY")]
    pub(crate) keys: Vec<String>,
    /// Encryption context: not secret, authenticated with the data; repeat for several pairs
    #[arg(short, long = "context", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) context: Vec<(String, String)>,
    /// Pair that is authenticated and not stored: readers must give it with -c; repeat for several
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) required_context: Vec<(String, String)>,
    /// Algorithm suite: an id such as 0x0178, or its name in the AWS Encryption SDK
    /// [default: 0x0478; 0x0378 where the policy forbids commitment]
    #[arg(long, value_name = "SUITE", conflicts_with = "signed")]
    pub(crate) suite: Option<Suite>,
    #[command(flatten)]
    pub(crate) policy: Policy,
    /// Sign the message (suite 0x0578); the default suite is 0x0478: committing, unsigned
    ///
    /// Unsigned is the default because a signature makes every reader wait for the end before
    /// trusting a byte, costs a serial SHA-384 and forbids random access. Sign when writers and
    /// readers hold different rights: whoever can decrypt an unsigned message could also have
    /// written it.
    #[arg(long)]
    pub(crate) signed: bool,
    /// Plaintext in a frame, 1 B to 64 MiB [default: 64KiB]
    ///
    /// For example 4096, 64KiB or 1MiB. 64 KiB because larger frames save next to nothing (36
    /// bytes a frame are 0.05 %) and smaller ones let a reader have its first byte sooner.
    #[arg(long, value_name = "SIZE", value_parser = frame_bytes)]
    pub(crate) frame: Option<NonZeroU32>,
    /// Largest plaintext of a secretbox, which is held in memory whole [default: 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) max_size: Option<u64>,
}

/// Which suites are admitted.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub(crate) struct Policy {
    /// Which suites may be written and read: forbid-encrypt-allow-decrypt,
    /// require-encrypt-allow-decrypt or require-encrypt-require-decrypt
    ///
    /// It is about key commitment. A message of a suite without it can be made to open differently
    /// under two keys; such messages (header version 1) are read only where the policy says
    /// allow-decrypt, and written only where it says forbid-encrypt.
    #[arg(
        long,
        value_name = "POLICY",
        default_value = "require-encrypt-require-decrypt",
        hide_possible_values = true
    )]
    pub(crate) commitment_policy: CommitmentPolicy,
}

/// How long and how often one data key is used for many files.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub(crate) struct Caching {
    /// Seconds for which a data key serves many files; 0 asks the KMS for each file
    ///
    /// Each file is still encrypted under a key of its own, derived from the data key. For so long
    /// a key that was disabled meanwhile goes on being used.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub(crate) cache_max_age: u32,
    /// Files that one data key encrypts, at most
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    pub(crate) cache_max_messages: u64,
}

/// `--compat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compat {
    /// Messages of the AWS Encryption SDK for .NET 4.0.0, which had two faults
    #[value(name = "net-4.0.0")]
    Net400,
}

/// Decrypt files, or stdin to stdout
///
/// The format, and base64 of it, is recognised. An output file appears under its name only when
/// the whole message has been verified. To a pipe, unsigned messages flow frame by frame as they
/// verify; signed ones are kept back, as ciphertext in an unnamed temporary file, until the
/// signature has been verified.
#[derive(Debug, ClapArgs)]
pub(crate) struct Decrypt {
    /// Key that may open it; repeat for several [default: the embedded KMS, or the KMS that the
    /// message names with --kms aws]
    #[arg(short, long = "key", value_name = "KEY")]
    pub(crate) keys: Vec<String>,
    /// Encryption context: for messages, pairs that must be there, stored in the header or not;
    /// for direct and secretbox, the whole context that was given when encrypting
    #[arg(short, long = "context", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) context: Vec<(String, String)>,
    /// Take the input for this format instead of recognising it
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// Let the plaintext of a signed message out before its signature was verified
    #[arg(long)]
    pub(crate) release_unverified: bool,
    /// Only these bytes of the plaintext: START..END, START.., ..END or START..+LENGTH
    ///
    /// For example 1MiB..2MiB or 4096..+20. The first byte is 0, END is not included, and an END
    /// beyond the end is the end. Only the frames that cover the range are read, and the final one,
    /// which proves the length. The input must be a file, with a message in binary.
    #[arg(long, value_name = "RANGE", value_parser = span)]
    pub(crate) range: Option<Span>,
    /// Read a range of a signed message without checking its signature
    ///
    /// Only a pass over the whole message can check it. What is read is still authentic to those
    /// who can open the message, each of whom could have written it.
    #[arg(long, requires = "range")]
    pub(crate) signature_unchecked: bool,
    #[command(flatten)]
    pub(crate) policy: Policy,
    /// Also open what a faulty writer wrote
    #[arg(long, value_name = "WRITER")]
    pub(crate) compat: Option<Compat>,
    #[command(flatten)]
    pub(crate) caching: Caching,
    /// Largest secretbox payload, which is held in memory whole [default: 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) max_size: Option<u64>,
    #[command(flatten)]
    pub(crate) files: Files,
}

/// Bytes of a plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u64,
    end: Option<u64>,
}

impl Span {
    /// Where it ends in a plaintext of so many bytes.
    pub(crate) fn end(self, plaintext_bytes: u64) -> u64 {
        self.end.unwrap_or(plaintext_bytes)
    }
}

/// Encrypt again: a new data key, other recipients, another suite or frame length, in one pass
///
/// The new message is for the keys given with -k and no others. The encryption context is kept;
/// -c adds pairs, and replaces those of the same name. Anything that decrypt reads becomes a
/// message of the default suite, unless told otherwise; suites without commitment are read under
/// --commitment-policy require-encrypt-allow-decrypt. The old message is verified to its end,
/// its signature included, before the new one has its name; what fails is left as it was.
#[derive(Debug, ClapArgs)]
pub(crate) struct Reencrypt {
    #[command(flatten)]
    pub(crate) sealing: Sealing,
    /// Key that may open the old data; repeat for several [default: as in decrypt]
    #[arg(long = "from-key", value_name = "KEY")]
    pub(crate) from_keys: Vec<String>,
    /// Pair that the old message must have; for direct and secretbox, the whole context that was
    /// given when encrypting
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) from_context: Vec<(String, String)>,
    /// Also open what a faulty writer wrote
    #[arg(long, value_name = "WRITER")]
    pub(crate) compat: Option<Compat>,
    #[command(flatten)]
    pub(crate) caching: Caching,
    /// Largest secretbox payload that is read, which is held in memory whole [default: 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) from_max_size: Option<u64>,
    /// Replace each file by its new message
    ///
    /// At once and only when it is complete: whatever happens, a file is the old message or the
    /// new one. It keeps its permissions.
    #[arg(long, conflicts_with = "output")]
    pub(crate) in_place: bool,
    /// Write base64 in lines instead of bytes
    #[arg(long)]
    pub(crate) base64: bool,
    /// Refused: a message cannot get other recipients without being encrypted again
    #[arg(long, hide = true)]
    pub(crate) rewrap: bool,
    #[command(flatten)]
    pub(crate) files: Files,
}

/// Where to read and where to write.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Files {
    /// Files to read; none or '-' is stdin
    #[arg(value_name = "IN")]
    pub(crate) inputs: Vec<PathBuf>,
    /// File, or directory for several files; '-' is stdout [default: stdout for one input]
    ///
    /// A file gets its name, and mode 0600, when it is complete and synced. An existing file is
    /// replaced on success and never touched on failure; a symbolic link keeps pointing to the
    /// file, which is replaced. Plaintext that is no short text goes onto a terminal only with
    /// '-o -'; ciphertext never does.
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,
    /// Walk into directories, and rebuild them under -o. Symbolic links in them are not followed
    ///
    /// What is below IN/ goes to OUT/IN/, empty directories too; new directories have mode 0700.
    /// Links, devices, sockets and pipes in a tree are left out and counted; a link that is named
    /// as IN is followed. Without -o, outputs are written beside the inputs, and files that end
    /// with the suffix are not encrypted again.
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// With -r: only files that match, or lie in a directory that matches; repeatable
    ///
    /// GLOB is held against names below IN, as they are read. Without a '/' it is a name at any
    /// depth: '*.jpg'. With one it is a path from IN on: '/a/*.jpg', 'a/**/b'. With one at the end
    /// it matches directories only: 'cache/'. '*', '?' and '[a-z]' match within a name, leading
    /// dots too, '**' any number of directories, '{a,b}' either. Directories in which nothing
    /// matches are not rebuilt.
    #[arg(long, value_name = "GLOB", requires = "recursive")]
    pub(crate) include: Vec<Pattern>,
    /// With -r: not what matches, whatever --include says; directories are not entered; repeatable
    #[arg(long, value_name = "GLOB", requires = "recursive")]
    pub(crate) exclude: Vec<Pattern>,
    /// Leave alone what an earlier run has done: 'quick' or, byte for byte, 'verify'
    ///
    /// For instance after an interruption: outputs appear only when they are complete. 'quick'
    /// (also --skip-done alone) takes an output for done when it was written after the input last
    /// changed, its header is authentic under the keys and context given, and the lengths fit to
    /// the byte. 'verify' decrypts all of it and compares. What is not proved done is done again.
    /// Messages in base64, direct and secretbox are always compared.
    #[arg(
        long,
        value_name = "HOW",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "quick"
    )]
    pub(crate) skip_done: Option<SkipDone>,
    /// Only tell which files would be written: one line, or with --json one object, a file
    ///
    /// Nothing is made, written or asked of a key service, except to open headers for
    /// --skip-done. The exit code is that of the run where it can be known before.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Files worked on at once, or threads for one file, 1 to 64 [default: the number of cores,
    /// at most 16]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: Option<u16>,
    /// What is added to names when encrypting and taken off when decrypting [default: .wax]
    #[arg(long, value_name = "SUFFIX", value_parser = suffix)]
    pub(crate) suffix: Option<String>,
    /// Do not wait until outputs are on the disk: faster, but a power cut may lose them
    #[arg(long)]
    pub(crate) no_sync: bool,
}

/// `--skip-done`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SkipDone {
    /// Written after the input changed, header authentic, lengths right
    Quick,
    /// Decrypted and compared
    Verify,
}

/// Show everything a header says, without any key
///
/// Nothing shown is authenticated: whoever altered the data may have altered this too.
#[derive(Debug, ClapArgs)]
pub(crate) struct Inspect {
    /// File to read; none or '-' is stdin
    #[arg(value_name = "IN")]
    pub(crate) input: Option<PathBuf>,
}

/// The tour: read stdin, encrypt, print, decrypt, print, and name each step
#[derive(Debug, ClapArgs)]
pub(crate) struct Demo {
    /// Format to show
    #[arg(short, long, value_name = "FORMAT", default_value = "message")]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) sealing: Sealing,
}

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

/// `waxseal audit`.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// List the uses of keys, oldest first
    List {
        /// Only the last N
        #[arg(long, value_name = "N")]
        last: Option<NonZeroU16>,
        #[command(flatten)]
        filter: AuditFilter,
    },
    /// Write records to a file, as they stand in the log, one a line; an old file is replaced once the
    /// new one is complete
    Export {
        /// The file; without it, stdout
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// As CloudTrail's files: one JSON object with all of them as Records
        #[arg(long)]
        cloudtrail: bool,
        #[command(flatten)]
        filter: AuditFilter,
    },
    /// Deliver what was recorded until the last full hour to the trail, with a signed digest; a
    /// server does it by itself
    Deliver,
    /// Copy the trail into an S3 bucket: what is not there yet, each object read back; with the
    /// configuration of the AWS tools (AWS_ENDPOINT_URL_S3, profiles)
    Ship {
        /// The bucket, and what keys begin with: s3://BUCKET or s3://BUCKET/PREFIX
        #[arg(long, value_name = "URL")]
        to: String,
        /// Then remove segments of the log whose records are older than this, if they were shipped
        #[arg(long, value_name = "DAYS")]
        retain: Option<u32>,
    },
    /// Verify the chain of hashes that ties each record to the one before it; with --public-key the
    /// trail as well, and that the log has all that was delivered
    Verify {
        /// The public keys of the trail's digests, in PEM, and that of checkpoints (audit public-key)
        #[arg(long, value_name = "FILE")]
        public_key: Option<PathBuf>,
        /// A copy of the trail, with AWSLogs in it; no data directory is needed then [default: that
        /// of the data directory]
        #[arg(long, value_name = "DIR", requires = "public_key")]
        trail: Option<PathBuf>,
        /// A checkpoint that was kept elsewhere: the log must have all that it speaks of
        #[arg(long, value_name = "FILE", conflicts_with = "trail")]
        checkpoint: Option<PathBuf>,
    },
    /// Sign how far the log is, and print it: a checkpoint, to be kept elsewhere. A server signs one
    /// every five seconds
    Checkpoint,
    /// Print the public keys that the trail's digests and the log's checkpoints are verified with
    PublicKey,
    /// Take a store and an audit log that do not belong together, an older copy of either, as they are;
    /// it is recorded. What was revoked since the copy may be in force again: look first
    AcceptRollback,
}

/// Which records are listed: those that everything given fits.
#[derive(Debug, Default, ClapArgs)]
pub(crate) struct AuditFilter {
    /// Of this key: its ARN, or its id
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Of this principal: an ARN, the name of a user or role session, or an access key id
    #[arg(long, value_name = "WHO")]
    pub(crate) principal: Option<String>,
    /// Of this operation, such as Decrypt
    #[arg(long, value_name = "NAME")]
    pub(crate) operation: Option<String>,
    /// With this outcome
    #[arg(long, value_name = "OUTCOME")]
    pub(crate) outcome: Option<Outcome>,
    /// From this time on: 2026-01-31T23:59:59Z
    #[arg(long, value_name = "TIME", value_parser = rfc3339)]
    pub(crate) since: Option<OffsetDateTime>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = rfc3339)]
    pub(crate) until: Option<OffsetDateTime>,
}

impl AuditFilter {
    /// As the log is asked.
    pub(crate) fn wanted(&self) -> Filter {
        Filter {
            key: self.key.clone(),
            principal: self.principal.clone(),
            operation: self.operation.clone(),
            outcome: self.outcome.map(|outcome| match outcome {
                Outcome::Done => audit::Outcome::Done,
                Outcome::Refused => audit::Outcome::Refused,
            }),
            since: self.since,
            until: self.until,
        }
    }
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Outcome {
    /// It was answered
    Done,
    /// It was refused, or failed
    Refused,
}

fn rfc3339(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339).map_err(|_| "write 2026-01-31T23:59:59Z".to_owned())
}

/// Look at what stands between you and a key: data directory, endpoint, clock, credentials, policy
#[derive(Debug, ClapArgs)]
pub(crate) struct Doctor {
    /// The keys to look at; the embedded KMS alone when none is named. Nothing is encrypted or opened
    #[arg(short = 'k', long = "key", value_name = "KEY")]
    pub(crate) keys: Vec<String>,
}

/// Serve the embedded KMS to programs that speak the AWS KMS API
///
/// Once it listens, the variables that lead clients to it are printed, one a line. Requests are
/// signed with the access key in the data directory, which is made on first use; whoever has it is
/// the owner. Plain HTTP on loopback addresses only; any address with a certificate. SIGTERM or
/// SIGINT ends it when the requests under way are answered; SIGHUP has certificates read again.
#[derive(Debug, ClapArgs)]
pub(crate) struct Serve {
    /// Configuration file: TOML with these flags under their own names; flags win
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Address and port to listen on; port 0 takes one that is free [default: 127.0.0.1:8470]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Data directory [default: that of the embedded KMS; with --dev a new one that is removed at
    /// the end]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Certificate chain in PEM: serve HTTPS
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's private key in PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Root certificates of enclaves in PEM: answers can be encrypted for those that attest
    /// themselves (Recipient)
    #[arg(long, value_name = "FILE")]
    pub(crate) attestation_root: Option<PathBuf>,
    /// How long to go on when no root key opens the store any more; the KMS is sealed then, and serves
    /// again when one does [default: 300 when a device or another KMS opened it, else no end]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) root_lease: Option<u64>,
    /// Device for custom key stores: the id of a cluster, as requests name it, and the token that it
    /// stands for; repeat for several
    #[arg(long, value_name = "CLUSTER=pkcs11:token=…?module-path=…")]
    pub(crate) hsm_cluster: Vec<String>,
    /// Certificate in PEM that CreateCustomKeyStore must name for a cluster; repeat for several
    #[arg(long, value_name = "CLUSTER=FILE")]
    pub(crate) hsm_trust_anchor: Vec<String>,
    /// Take a store and an audit log that do not belong together, an older copy of either, as they
    /// are; it is recorded
    #[arg(long)]
    pub(crate) accept_rollback: bool,
    /// Where checkpoints of the audit log are written as well, every five seconds: a file on the disk
    /// of another machine, so that a log that loses its end is noticed
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint_file: Option<PathBuf>,
    /// Start though memory cannot be locked and this machine swaps: keys may come to lie on its disk
    #[arg(long)]
    pub(crate) allow_swap: bool,
    /// The bucket that the trail's digests name from the next one on, which aws cloudtrail validate-logs
    /// looks for them in; it is kept in the store [default: what it was, at first waxseal-trail]
    #[arg(long, value_name = "NAME")]
    pub(crate) trail_bucket: Option<BucketName>,
    /// Copy the trail into an S3 bucket, each hour: s3://BUCKET or s3://BUCKET/PREFIX
    #[arg(long, value_name = "URL")]
    pub(crate) ship_to: Option<String>,
    /// Remove segments of the audit log whose records are older than this, once they were shipped
    /// [default: everything is kept]
    #[arg(long, value_name = "DAYS")]
    pub(crate) retain: Option<u32>,
    /// INSECURE: everyone on this machine is the owner, with any credentials or none
    #[arg(long)]
    pub(crate) dev: bool,
    /// With --dev: keys, users and roles to plant where they are not there yet, a file with YAML
    #[arg(long, value_name = "FILE")]
    pub(crate) seed: Option<PathBuf>,
    /// With --dev: Region of the keys of a new data directory [default: us-east-1]
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// With --dev: account of the keys of a new data directory [default: 000000000000]
    #[arg(long, value_name = "ID")]
    pub(crate) account: Option<String>,
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

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".into()),
    }
}

fn suffix(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains('/') {
        return Err("a suffix has at least one character and no '/'".into());
    }
    Ok(text.to_owned())
}

/// `START..END`, either of them left out, or `START..+LENGTH`.
fn span(text: &str) -> Result<Span, String> {
    const FORM: &str = "write START..END, START.., ..END or START..+LENGTH, as in 1MiB..+20";
    let (start, end) = text.split_once("..").ok_or(FORM)?;
    let bytes = |text: &str| size(text).map_err(|_| FORM.to_owned());
    let start = if start.is_empty() { 0 } else { bytes(start)? };
    let end = match (end, end.strip_prefix('+')) {
        ("", _) => None,
        (_, Some(length)) => Some(start.saturating_add(bytes(length)?)),
        (end, None) => Some(bytes(end)?),
    };
    if end.is_some_and(|end| end < start) {
        return Err("the range ends before it begins".into());
    }
    Ok(Span { start, end })
}

fn frame_bytes(text: &str) -> Result<NonZeroU32, String> {
    let bytes = u32::try_from(size(text)?).ok().and_then(NonZeroU32::new);
    bytes.ok_or_else(|| "a frame has 1 to 4,294,967,295 bytes".into())
}

/// Bytes from `4096`, `4096B`, `64KiB` or `64K`, `1MiB` or `1M`, `1GiB` or `1G`.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        _ => return Err("write a size like 4096, 64KiB, 1MiB or 1GiB".into()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "write a size like 4096, 64KiB, 1MiB or 1GiB".to_owned())?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| "the size is too large".into())
}

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

/// `waxseal config`
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Print what serve would be run with, given the same flags, and where each value is from
    Show(Box<Serve>),
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_declarations_hold_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("1mib"), Ok(1 << 20));
        assert_eq!(size("2G"), Ok(2 << 30));
        for wrong in [
            "",
            "KiB",
            "1KB",
            "-1",
            "1.5MiB",
            "99999999999999999999",
            "20000000000GiB",
        ] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        assert!(frame_bytes("4GiB").is_err());
        assert!(frame_bytes("0").is_err());
        assert_eq!(frame_bytes("4294967295").map(NonZeroU32::get), Ok(u32::MAX));
    }

    #[test]
    fn ranges_have_ends_or_lengths() {
        let span = |text: &str| span(text).map(|span| (span.start, span.end));
        assert_eq!(span("1..2"), Ok((1, Some(2))));
        assert_eq!(span("5.."), Ok((5, None)));
        assert_eq!(span("..7"), Ok((0, Some(7))));
        assert_eq!(span(".."), Ok((0, None)));
        assert_eq!(span("3..3"), Ok((3, Some(3))));
        assert_eq!(span("1KiB..+1MiB"), Ok((1024, Some(1024 + (1 << 20)))));
        assert_eq!(span("9..+18446744073709551615"), Ok((9, Some(u64::MAX))));
        for wrong in ["", "1", "2..1", "-1..", "..-1", "1..+", "a..b", "1..2..3"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn pairs_split_at_the_first_sign() {
        assert_eq!(pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(pair("a="), Ok(("a".into(), String::new())));
        assert!(pair("a").is_err());
        assert!(pair("=b").is_err());
    }
}
