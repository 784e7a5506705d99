//! The log of all key usage, and which of it.

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use std::num::NonZeroU16;
use std::path::PathBuf;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use waxseal_kms::audit::{self, Filter};

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
