//! Commands that encrypt and decrypt, with what they have in common, and those that show it.

use super::Files;
use super::values::{Span, frame_bytes, pair, size, span};
use clap::{Args as ClapArgs, ValueEnum};
use std::num::NonZeroU32;
use std::path::PathBuf;
use waxseal::message::{CommitmentPolicy, Suite};

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
