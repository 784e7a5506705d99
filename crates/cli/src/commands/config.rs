//! What the server is run with: flags, then a file, then what nobody said. And `waxseal config show`.

use super::Session;
use super::ship::Destination;
use crate::args::{Config, Serve};
use crate::failure::Failure;
use crate::shelter;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::fmt::Display;
use std::io::Write as _;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use waxseal_core::arn::is_account;
use waxseal_core::bucket::BucketName;
use waxseal_server::front::is_region;

/// Where the server listens when nobody says where.
const LISTEN: &str = "127.0.0.1:8470";
/// Region of a server for development.
const DEV_REGION: &str = "us-east-1";
/// Account of a server for development.
const DEV_ACCOUNT: &str = "000000000000";
/// What a lease may be: up to a day.
const LEASE_SECONDS: RangeInclusive<u64> = 1..=86_400;
/// The most bytes of a configuration file.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The file, in TOML: the flags of `serve` under their own names.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    listen: Option<SocketAddr>,
    data: Option<PathBuf>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    attestation_root: Option<PathBuf>,
    root_lease: Option<u64>,
    hsm_cluster: Option<Vec<String>>,
    hsm_trust_anchor: Option<Vec<String>>,
    checkpoint_file: Option<PathBuf>,
    allow_swap: Option<bool>,
    #[serde(default, deserialize_with = "parsed")]
    trail_bucket: Option<BucketName>,
    ship_to: Option<String>,
    retain: Option<u32>,
    dev: Option<bool>,
    seed: Option<PathBuf>,
    region: Option<String>,
    account: Option<String>,
}

/// A value, and who said it.
#[derive(Debug)]
struct Said<T> {
    value: T,
    by: &'static str,
}

/// What the server is run with.
#[derive(Debug)]
pub(super) struct Settings {
    /// The name of the file, where there is one.
    file: Option<String>,
    listen: Said<SocketAddr>,
    data: Said<Option<PathBuf>>,
    tls_cert: Said<Option<PathBuf>>,
    tls_key: Said<Option<PathBuf>>,
    attestation_root: Said<Option<PathBuf>>,
    root_lease: Said<Option<u64>>,
    hsm_cluster: Said<Vec<String>>,
    hsm_trust_anchor: Said<Vec<String>>,
    checkpoint_file: Said<Option<PathBuf>>,
    allow_swap: Said<bool>,
    trail_bucket: Said<Option<BucketName>>,
    ship_to: Said<Option<String>>,
    retain: Said<Option<u32>>,
    dev: Said<bool>,
    seed: Said<Option<PathBuf>>,
    region: Said<String>,
    account: Said<String>,
}

fn said<T>(flag: Option<T>, file: Option<T>, default: T) -> Said<T> {
    match (flag, file) {
        (Some(value), _) => Said { value, by: "flag" },
        (None, Some(value)) => Said { value, by: "file" },
        (None, None) => Said {
            value: default,
            by: "default",
        },
    }
}

impl Settings {
    /// Flags and file together.
    pub(super) fn of(args: &Serve) -> Result<Self, Failure> {
        let file = args.config.as_deref().map(File::read).transpose()?;
        let file = file.unwrap_or_default();
        let path = |flag: &Option<PathBuf>, file: Option<PathBuf>| {
            said(flag.clone().map(Some), file.map(Some), None)
        };
        let all = |flags: &Vec<String>, file: Option<Vec<String>>| {
            let flags = (!flags.is_empty()).then(|| flags.clone());
            said(flags, file, Vec::new())
        };
        let settings = Self {
            file: args.config.as_ref().map(|path| path.display().to_string()),
            listen: said(args.listen, file.listen, default_address()?),
            data: path(&args.data, file.data),
            tls_cert: path(&args.tls_cert, file.tls_cert),
            tls_key: path(&args.tls_key, file.tls_key),
            attestation_root: path(&args.attestation_root, file.attestation_root),
            root_lease: said(args.root_lease.map(Some), file.root_lease.map(Some), None),
            hsm_cluster: all(&args.hsm_cluster, file.hsm_cluster),
            hsm_trust_anchor: all(&args.hsm_trust_anchor, file.hsm_trust_anchor),
            checkpoint_file: path(&args.checkpoint_file, file.checkpoint_file),
            allow_swap: said(args.allow_swap.then_some(true), file.allow_swap, false),
            trail_bucket: said(
                args.trail_bucket.clone().map(Some),
                file.trail_bucket.map(Some),
                None,
            ),
            ship_to: said(args.ship_to.clone().map(Some), file.ship_to.map(Some), None),
            retain: said(args.retain.map(Some), file.retain.map(Some), None),
            dev: said(args.dev.then_some(true), file.dev, false),
            seed: path(&args.seed, file.seed),
            region: said(args.region.clone(), file.region, DEV_REGION.to_owned()),
            account: said(args.account.clone(), file.account, DEV_ACCOUNT.to_owned()),
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), Failure> {
        if self.tls_cert.value.is_some() != self.tls_key.value.is_some() {
            return Err(self.wrong(
                &[self.tls_cert.by, self.tls_key.by],
                "--tls-cert without --tls-key, or the reverse",
                "give both the certificate and its key, or neither",
            ));
        }
        if self
            .root_lease
            .value
            .is_some_and(|seconds| !LEASE_SECONDS.contains(&seconds))
        {
            return Err(self.wrong(
                &[self.root_lease.by],
                "--root-lease of that length",
                "give 1 to 86400 seconds, or leave it out",
            ));
        }
        if self.retain.value.is_some() && self.ship_to.value.is_none() {
            return Err(self.wrong(
                &[self.retain.by],
                "--retain without --ship-to",
                "the log is removed only where it was shipped: say where to",
            ));
        }
        if let Some(url) = &self.ship_to.value
            && let Err(failure) = Destination::parse(url)
        {
            let what = format!("--ship-to: {}", failure.what);
            return Err(self.wrong(&[self.ship_to.by], what, &failure.hint));
        }
        if self.tls_cert.value.is_none() && !self.listen.value.ip().is_loopback() {
            return Err(self.wrong(
                &[self.listen.by],
                format!(
                    "--listen: {} is no loopback address, and there is no TLS",
                    self.listen.value
                ),
                "listen on 127.0.0.1 or [::1], or give --tls-cert and --tls-key: what crosses a \
                 network in the clear could be read",
            ));
        }
        if self.dev.value {
            return self.check_dev();
        }
        let only_dev = [
            ("--seed", self.seed.by),
            ("--region", self.region.by),
            ("--account", self.account.by),
        ];
        match only_dev.iter().find(|(_, by)| *by != "default") {
            None => Ok(()),
            Some((name, by)) => Err(self.wrong(
                &[by],
                format!("{name} without --dev"),
                "it is for servers for development: add --dev, or leave it out",
            )),
        }
    }

    fn check_dev(&self) -> Result<(), Failure> {
        if self.tls_cert.value.is_some() {
            return Err(self.wrong(
                &[self.tls_cert.by, self.dev.by],
                "--dev with a certificate",
                "leave one of them out: --dev lets everyone in who reaches the server",
            ));
        }
        if !is_region(&self.region.value) {
            return Err(self.wrong(
                &[self.region.by],
                format!("--region: '{}' is no Region", self.region.value),
                "give one such as us-east-1",
            ));
        }
        if !is_account(&self.account.value) {
            return Err(self.wrong(
                &[self.account.by],
                format!("--account: '{}' is no account", self.account.value),
                "give 12 digits",
            ));
        }
        Ok(())
    }

    /// What somebody said cannot be: of the command line, or, where the file is among those who said it,
    /// of the configuration.
    fn wrong(&self, said_by: &[&str], what: impl Into<String>, hint: &str) -> Failure {
        match &self.file {
            Some(file) if said_by.contains(&"file") => {
                Failure::configuration(format!("{file}: {}", what.into()), hint)
            }
            _ => Failure::usage(what, hint),
        }
    }

    pub(super) fn listen(&self) -> SocketAddr {
        self.listen.value
    }

    pub(super) fn data(&self) -> Option<&Path> {
        self.data.value.as_deref()
    }

    /// The certificate chain and its key.
    pub(super) fn tls(&self) -> Option<(&Path, &Path)> {
        self.tls_cert
            .value
            .as_deref()
            .zip(self.tls_key.value.as_deref())
    }

    pub(super) fn attestation_root(&self) -> Option<&Path> {
        self.attestation_root.value.as_deref()
    }

    /// How long the server goes on without its root, where somebody said so.
    pub(super) fn root_lease(&self) -> Option<Duration> {
        self.root_lease.value.map(Duration::from_secs)
    }

    /// Clusters and their tokens, as they were written.
    pub(super) fn hsm_clusters(&self) -> &[String] {
        &self.hsm_cluster.value
    }

    /// Clusters and files with their certificates, as they were written.
    pub(super) fn hsm_trust_anchors(&self) -> &[String] {
        &self.hsm_trust_anchor.value
    }

    /// What digests are to name, where somebody said so.
    pub(super) fn trail_bucket(&self) -> Option<&BucketName> {
        self.trail_bucket.value.as_ref()
    }

    /// Where the trail is shipped to, and after how many days the log is removed.
    pub(super) fn shipping(&self) -> Option<(&str, Option<u32>)> {
        let to = self.ship_to.value.as_deref()?;
        Some((to, self.retain.value))
    }

    pub(super) fn checkpoint_file(&self) -> Option<&Path> {
        self.checkpoint_file.value.as_deref()
    }

    pub(super) fn allow_swap(&self) -> bool {
        self.allow_swap.value
    }

    pub(super) fn dev(&self) -> bool {
        self.dev.value
    }

    pub(super) fn seed(&self) -> Option<&Path> {
        self.seed.value.as_deref()
    }

    pub(super) fn region(&self) -> &str {
        &self.region.value
    }

    pub(super) fn account(&self) -> &str {
        &self.account.value
    }

    /// As a file that says the same, with who said what.
    fn text(&self) -> String {
        let quoted = |text: &str| format!("{:?}", text);
        let path = |path: &Option<PathBuf>| {
            let path = path.as_ref()?;
            Some(quoted(&path.to_string_lossy()))
        };
        let list = |all: &[String]| {
            let items: Vec<String> = all.iter().map(|one| quoted(one)).collect();
            (!items.is_empty()).then(|| format!("[{}]", items.join(", ")))
        };
        let lines = [
            (
                "listen",
                Some(quoted(&self.listen.value.to_string())),
                self.listen.by,
            ),
            ("data", path(&self.data.value), self.data.by),
            ("tls-cert", path(&self.tls_cert.value), self.tls_cert.by),
            ("tls-key", path(&self.tls_key.value), self.tls_key.by),
            (
                "attestation-root",
                path(&self.attestation_root.value),
                self.attestation_root.by,
            ),
            (
                "root-lease",
                self.root_lease.value.map(|seconds| seconds.to_string()),
                self.root_lease.by,
            ),
            (
                "hsm-cluster",
                list(&self.hsm_cluster.value),
                self.hsm_cluster.by,
            ),
            (
                "hsm-trust-anchor",
                list(&self.hsm_trust_anchor.value),
                self.hsm_trust_anchor.by,
            ),
            (
                "checkpoint-file",
                path(&self.checkpoint_file.value),
                self.checkpoint_file.by,
            ),
            (
                "allow-swap",
                Some(self.allow_swap.value.to_string()),
                self.allow_swap.by,
            ),
            (
                "trail-bucket",
                self.trail_bucket
                    .value
                    .as_ref()
                    .map(|bucket| quoted(bucket.as_str())),
                self.trail_bucket.by,
            ),
            (
                "ship-to",
                self.ship_to.value.as_deref().map(quoted),
                self.ship_to.by,
            ),
            (
                "retain",
                self.retain.value.map(|days| days.to_string()),
                self.retain.by,
            ),
            ("dev", Some(self.dev.value.to_string()), self.dev.by),
            ("seed", path(&self.seed.value), self.seed.by),
            ("region", Some(quoted(&self.region.value)), self.region.by),
            (
                "account",
                Some(quoted(&self.account.value)),
                self.account.by,
            ),
        ];
        let shown = lines
            .into_iter()
            .filter(|(name, ..)| self.dev.value || !matches!(*name, "region" | "account" | "seed"));
        let line = |(name, value, by)| match value {
            Some(value) => format!("{name} = {value}  # {by}\n"),
            None => format!("# {name} is not set\n"),
        };
        shown.map(line).collect()
    }
}

/// A text that means something else.
fn parsed<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(D::Error::custom)
}

fn default_address() -> Result<SocketAddr, Failure> {
    LISTEN
        .parse()
        .map_err(|_| Failure::configuration("no address to listen on", "give --listen"))
}

impl File {
    fn read(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let failed = |error: std::io::Error| Failure::io("read", &name, &error);
        let advice =
            "it is TOML with the flags of serve under their own names; docs/server.md has one";
        if std::fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
            return Err(Failure::configuration(
                format!("{name} is too long"),
                advice,
            ));
        }
        // It names libraries that are loaded, and whom enclaves are.
        shelter::check_own(path)?;
        let bytes = std::fs::read(path).map_err(failed)?;
        // `upto` is where it goes wrong.
        let wrong = |upto: Option<usize>, what: &str| {
            let before = upto.and_then(|end| bytes.get(..end));
            let line = before.map(|before| {
                let ends = before.iter().filter(|byte| **byte == b'\n');
                format!(", line {}", ends.count() + 1)
            });
            let line = line.unwrap_or_default();
            Failure::configuration(format!("{name}{line}: {what}"), advice)
        };
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| wrong(Some(error.valid_up_to()), "it is no text in UTF-8"))?;
        toml::from_str(text).map_err(|error| {
            let what = error.message().lines().next().unwrap_or_default();
            wrong(error.span().map(|span| span.start), what)
        })
    }
}

/// Runs `config show`.
pub(super) fn run(command: &Config, _: &Session) -> Result<(), Failure> {
    let Config::Show(args) = command;
    let text = Settings::of(args)?.text();
    std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::io("write", "stdout", &error))
}
