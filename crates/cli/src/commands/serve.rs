//! `waxseal serve`: the embedded KMS behind the AWS KMS API.

use super::Session;
use crate::args::Serve;
use crate::embedded;
use crate::failure::Failure;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use waxseal_core::arn::Home;
use waxseal_kms::clock::SystemClock;
use waxseal_server::access_key::{AccessKey, AccessKeyError};
use waxseal_server::{Callers, Front, listen};

/// The owner's access key, in the data directory.
const ACCESS_KEY_FILE: &str = "access-key";

/// Runs the command: until a signal ends it.
pub(super) fn run(args: &Serve, session: &Session) -> Result<(), Failure> {
    if !args.listen.ip().is_loopback() {
        return Err(Failure::usage(
            format!(
                "{} is no loopback address, and there is no TLS",
                args.listen
            ),
            "listen on 127.0.0.1 or [::1]; what crosses a network in the clear could be read",
        ));
    }
    let data = Data::of(args, session)?;
    let home = embedded::open_at(&session.world, data.path(), &place(args)?)?;
    let (callers, credentials) = callers(args, data.path(), session)?;
    let engine = home.engine();
    let place = engine.home().clone();
    let clock = Arc::new(SystemClock);
    let front = Front::new(
        engine.clone(),
        callers,
        clock,
        session.world.entropy.as_ref(),
    )?;
    let ready = |address| told(address, &place, credentials.as_deref(), session);
    listen::run(args.listen, Arc::new(front), ready)
        .map_err(|error| Failure::io("listen on", &args.listen.to_string(), &error))
}

/// The data directory.
enum Data {
    Kept(PathBuf),
    /// Removed at the end.
    New(TempDir),
}

impl Data {
    fn of(args: &Serve, session: &Session) -> Result<Self, Failure> {
        match &args.data {
            Some(path) => Ok(Self::Kept(path.clone())),
            None if args.dev => {
                let made = tempfile::Builder::new().prefix("waxseal-dev-").tempdir();
                made.map(Self::New)
                    .map_err(|error| Failure::io("make", "a temporary directory", &error))
            }
            None => Ok(Self::Kept(embedded::directory(&session.world)?.to_owned())),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::New(directory) => directory.path(),
        }
    }
}

/// Where the keys of a new data directory are.
fn place(args: &Serve) -> Result<Home, Failure> {
    if !args.dev {
        return Ok(embedded::place());
    }
    let is_region = |text: &str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=32).contains(&text.len()) && text.bytes().all(plain)
    };
    if !is_region(&args.region) {
        return Err(Failure::usage(
            format!("'{}' is no Region", args.region),
            "give one such as us-east-1",
        ));
    }
    if args.account.len() != 12 || !args.account.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Failure::usage(
            format!("'{}' is no account", args.account),
            "give 12 digits",
        ));
    }
    Ok(Home {
        partition: "aws".into(),
        region: args.region.clone(),
        account: args.account.clone(),
    })
}

/// Who may call, and the file with the credentials of the one who may.
fn callers(
    args: &Serve,
    data: &Path,
    session: &Session,
) -> Result<(Callers, Option<PathBuf>), Failure> {
    if args.dev {
        let warning = "INSECURE: everyone on this machine is the owner (--dev)";
        session.report.note(warning);
        return Ok((Callers::Anyone, None));
    }
    let path = data.join(ACCESS_KEY_FILE);
    let (key, made) = AccessKey::read_or_make(&path, session.world.entropy.as_ref())
        .map_err(|error| unusable(&error))?;
    if made {
        let told = format!(
            "made the owner's access key {} in {}",
            key.id,
            path.display()
        );
        session.report.note(&told);
    }
    Ok((Callers::Owner(key), Some(path)))
}

fn unusable(error: &AccessKeyError) -> Failure {
    let what = error.to_string();
    match error {
        AccessKeyError::WeakMode { path, .. } => Failure::configuration(
            what,
            format!(
                "remove it, so that a new one is made; or, if nobody has read it: chmod 600 {}",
                path.display()
            ),
        ),
        AccessKeyError::Malformed { .. } => {
            Failure::configuration(what, "mend it, or remove it so that a new one is made")
        }
        _ => Failure::configuration(what, "check the data directory's disk and permissions"),
    }
}

/// What clients need, on stdout, for scripts to read.
fn told(address: SocketAddr, place: &Home, credentials: Option<&Path>, session: &Session) {
    let mut lines = format!(
        "AWS_ENDPOINT_URL_KMS=http://{address}\nAWS_REGION={0}\nAWS_DEFAULT_REGION={0}\n",
        place.region
    );
    if let Some(path) = credentials {
        lines += &format!("AWS_SHARED_CREDENTIALS_FILE={}\n", path.display());
    }
    let mut stdout = std::io::stdout().lock();
    // Who does not read them needs no telling.
    let _ = stdout
        .write_all(lines.as_bytes())
        .and_then(|()| stdout.flush());
    let (region, account) = (&place.region, &place.account);
    session.report.note(&format!(
        "listening on http://{address} (Region {region}, account {account})"
    ));
}
