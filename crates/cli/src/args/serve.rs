//! The server, and what it is run with.

use clap::{Args as ClapArgs, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use waxseal_core::bucket::BucketName;

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

/// `waxseal config`
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Print what serve would be run with, given the same flags, and where each value is from
    Show(Box<Serve>),
}
