//! `waxseal serve`: the embedded KMS behind the AWS KMS API.

use super::config::Settings;
use super::seed::Seeds;
use super::{Session, read_file, ship};
use crate::args::Serve;
use crate::clusters::{self, Clusters};
use crate::embedded;
use crate::failure::Failure;
use crate::shelter;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use waxseal_core::arn::Home;
use waxseal_core::bucket::BucketName;
use waxseal_core::crypto::certificate::{ROOTS_BYTES_MAX, TrustRoots};
use waxseal_kms::Engine;
use waxseal_kms::clock::SystemClock;
use waxseal_kms::engine::By;
use waxseal_kms::home::{EmbeddedHome, FileRoot, Keeper, LeaseNotice};
use waxseal_server::access_key::{AccessKey, AccessKeyError};
use waxseal_server::front::Anew;
use waxseal_server::listen::{Door, Notice};
use waxseal_server::tls::Tls;
use waxseal_server::{Callers, Front, listen};

/// How long a server goes on without a root that is in a device or another KMS, unless somebody says.
const ROOT_LEASE: Duration = Duration::from_secs(300);
/// The owner's access key, in the data directory.
const ACCESS_KEY_FILE: &str = "access-key";
/// Marks a data directory that was made for development.
const DEV_MARKER: &str = "dev";
/// What `POST /reset` removes there.
const DEV_STATE: [&str; 5] = [
    "store.db",
    "store.db-wal",
    "store.db-shm",
    "store.db-mark",
    "root.key",
];
/// What the folder of the audit log is called on its way out.
const DEV_OLD_AUDIT: &str = "audit.old";

/// Runs the command: until a signal ends it.
pub(super) fn run(args: &Serve, session: &Session) -> Result<(), Failure> {
    if args.accept_rollback {
        // Nothing has opened the home before.
        let _ = session.world.accepts_rollback.set(());
    }
    let args = &Settings::of(args)?;
    // For development, everyone on the machine may have everything anyway.
    if !args.dev()
        && let Some(note) = shelter::serve(args.allow_swap())?
    {
        session.report.note(&note);
    }
    let tls = tls(args)?;
    allow_files();
    let data = Data::of(args, session)?;
    let seeds = args.seed().map(Seeds::read).transpose()?;
    let beginning = Arc::new(Beginning {
        place: place(args),
        is_dev: args.dev(),
        seeds: seeds.unwrap_or_default(),
        enclaves: args.attestation_root().map(enclaves).transpose()?,
        clusters: clusters::configured(args.hsm_clusters(), args.hsm_trust_anchors())?,
        trail_bucket: args.trail_bucket().cloned(),
    });
    let home = embedded::open_at(&session.world, data.path(), &beginning.place)?;
    beginning.prepare(home.engine())?;
    let _keeper = keeper(args, &home, session)?;
    let (callers, credentials) = callers(args, &data, &beginning, session)?;
    let shipping = args.shipping();
    let engine = home.engine();
    let errand = shipping.map(|(to, days)| ship::errand(to, days, engine, session));
    let errand = errand.transpose()?;
    let place = engine.home().clone();
    let clock = Arc::new(SystemClock);
    let front = Front::new(
        engine.clone(),
        callers,
        clock,
        session.world.entropy.as_ref(),
    )?
    .over_tls(tls.is_some())
    .with_checkpoint_file(args.checkpoint_file().map(Path::to_owned))
    .with_errand(errand);
    let scheme = if tls.is_some() { "https" } else { "http" };
    connect_stores(engine, session);
    let door = Door {
        address: args.listen(),
        tls,
    };
    let told = |notice| match notice {
        Notice::Listening(address) => {
            let url = format!("{scheme}://{address}");
            told(&url, &place, credentials.as_deref(), session);
        }
        Notice::Reloaded => session.report.note("the certificate was replaced"),
        Notice::ReloadFailed(error) => session
            .report
            .note(&format!("the certificate in use stays: {error}")),
        Notice::TendFailed(error) => session
            .report
            .note(&format!("rotation, removal or the trail waits: {error}")),
        Notice::CheckpointFailed(error) => session.report.note(&format!(
            "no checkpoint of the audit log is written: {error}"
        )),
    };
    listen::run(door, Arc::new(front), told)
        .map_err(|error| Failure::io("listen on", &args.listen().to_string(), &error))
}

/// Custom key stores that were connected are connected again, while the server serves already: devices
/// take their time.
fn connect_stores(engine: &Arc<Engine>, session: &Session) {
    let engine = engine.clone();
    let spawned = std::thread::Builder::new().spawn(move || {
        // What fails here is tried again each minute, and at each use.
        let _ = engine.follow_stores();
    });
    if let Err(error) = spawned {
        session
            .report
            .note(&format!("custom key stores wait to be connected: {error}"));
    }
}

/// As many open files as connections need, as far as the system lets us. With fewer, connections
/// wait to be accepted once there are too many.
fn allow_files() {
    let wanted = 2 * listen::CONNECTIONS_MAX as u64;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(limit.maximum.map_or(wanted, |most| most.min(wanted)));
        // What cannot be raised stays.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

/// The certificate, where there is one; without it the address is a loopback address.
fn tls(args: &Settings) -> Result<Option<Tls>, Failure> {
    if let Some((certificate, key)) = args.tls() {
        let advice = "give a certificate chain and its key, both in PEM";
        shelter::check_secret_at(key)?;
        let kept = |path: &Path| shelter::check_secret_at(path).map_err(|failure| failure.what);
        let tls = Tls::load(certificate, key, kept);
        return tls
            .map(Some)
            .map_err(|error| Failure::configuration(error.to_string(), advice));
    }
    Ok(None)
}

/// The data directory.
enum Data {
    Kept(PathBuf),
    /// Removed at the end.
    New(TempDir),
}

impl Data {
    fn of(args: &Settings, session: &Session) -> Result<Self, Failure> {
        match args.data() {
            Some(path) if args.dev() => dev_home(path).map(Self::Kept),
            Some(path) => Ok(Self::Kept(path.to_owned())),
            None if args.dev() => {
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

/// A directory that was made for development. Any other one is refused: everyone would be its
/// owner, and could empty it.
fn dev_home(path: &Path) -> Result<PathBuf, Failure> {
    let io = |error| Failure::io("make", &path.display().to_string(), &error);
    std::fs::create_dir_all(path).map_err(io)?;
    let marker = path.join(DEV_MARKER);
    let is_empty = std::fs::read_dir(path).map_err(io)?.next().is_none();
    if is_empty {
        std::fs::write(&marker, b"").map_err(io)?;
    }
    if !marker.exists() {
        return Err(Failure::usage(
            format!("{} was not made with --dev", path.display()),
            "name a new directory: with --dev everyone is the owner, and can empty it",
        ));
    }
    Ok(path.to_owned())
}

/// Where the keys of a new data directory are.
fn place(args: &Settings) -> Home {
    if !args.dev() {
        return embedded::place();
    }
    Home {
        partition: "aws".into(),
        region: args.region().to_owned(),
        account: args.account().to_owned(),
    }
}

/// What an engine begins with, when the server starts and when it is emptied.
struct Beginning {
    place: Home,
    is_dev: bool,
    seeds: Seeds,
    enclaves: Option<TrustRoots>,
    clusters: Clusters,
    trail_bucket: Option<BucketName>,
}

impl Beginning {
    fn prepare(&self, engine: &Engine) -> Result<(), Failure> {
        if let Some(roots) = &self.enclaves {
            engine.trust_enclaves(roots.clone());
        }
        if !self.clusters.is_empty() {
            engine.attach(self.clusters.clone());
        }
        if self.is_dev {
            engine.let_tags_choose();
        }
        if let Some(bucket) = &self.trail_bucket {
            engine.set_trail_bucket(bucket)?;
        }
        self.seeds.plant(engine)
    }
}

/// Holds the engine to its lease, where it has one.
fn keeper(
    args: &Settings,
    home: &EmbeddedHome,
    session: &Session,
) -> Result<Option<Keeper>, Failure> {
    let default = home.opened_by().is_elsewhere().then_some(ROOT_LEASE);
    let Some(lease) = args.root_lease().or(default) else {
        return Ok(None);
    };
    if let Some(Err(why)) = home.engine().open_root(By::Reachable) {
        return Err(Failure::configuration(
            format!("a lease needs a root key that is there, and none is: {why}"),
            "leave out --root-lease, or add a root that nobody has to be asked for",
        ));
    }
    let report = session.report;
    let seconds = lease.as_secs();
    let told = move |notice| match notice {
        LeaseNotice::Lost(why) => report.note(&format!(
            "no root key opens the store; it is sealed in {seconds} s unless one does: {why}"
        )),
        LeaseNotice::Sealed(why) => report.note(&format!("sealed: {why}")),
        LeaseNotice::Regained => report.note("a root key opens the store again"),
    };
    let keeper = home.keep_lease(lease, told);
    keeper
        .map(Some)
        .map_err(|error| Failure::io("start", "a thread", &error))
}

/// The root certificates of enclaves.
fn enclaves(path: &Path) -> Result<TrustRoots, Failure> {
    let name = path.display().to_string();
    let text = read_file(path, ROOTS_BYTES_MAX)?;
    TrustRoots::from_pem(&text).map_err(|error| {
        Failure::configuration(
            format!("{name}: {error}"),
            "give the root certificate in PEM, as AWS publishes it for Nitro Enclaves",
        )
    })
}

/// Who may call, and the file with the credentials of the one who may.
fn callers(
    args: &Settings,
    data: &Data,
    beginning: &Arc<Beginning>,
    session: &Session,
) -> Result<(Callers, Option<PathBuf>), Failure> {
    if args.dev() {
        let warning = "INSECURE: everyone on this machine is the owner (--dev)";
        session.report.note(warning);
        let anew = anew(data.path(), beginning, session);
        return Ok((Callers::Anyone(anew), None));
    }
    let path = data.path().join(ACCESS_KEY_FILE);
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

/// Empties the data directory of a server for development, opens it anew, and lets it begin
/// as before. Requests that are under way end with what they had.
fn anew(data: &Path, beginning: &Arc<Beginning>, session: &Session) -> Anew {
    let (data, beginning) = (data.to_owned(), beginning.clone());
    let entropy = session.world.entropy.clone();
    Anew(Box::new(move || {
        let removed = DEV_STATE.map(|name| std::fs::remove_file(data.join(name)));
        // Out of the way first: whoever still writes there finds no folder to make another file in.
        let (audit, old) = (
            EmbeddedHome::audit_directory(&data),
            data.join(DEV_OLD_AUDIT),
        );
        let removed_audit = [
            std::fs::remove_dir_all(&old),
            std::fs::rename(audit, &old),
            std::fs::remove_dir_all(&old),
        ];
        for removed in removed.into_iter().chain(removed_audit) {
            match removed {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.to_string()),
                _ => {}
            }
        }
        let home = EmbeddedHome::open(&data, &beginning.place, Arc::new(FileRoot), entropy.clone());
        let engine = home.map_err(|error| error.to_string())?.engine().clone();
        beginning.prepare(&engine).map_err(|failure| failure.what)?;
        Ok(engine)
    }))
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
fn told(url: &str, place: &Home, credentials: Option<&Path>, session: &Session) {
    let mut lines = format!(
        "AWS_ENDPOINT_URL_KMS={url}\nAWS_ENDPOINT_URL_STS={url}\nAWS_ENDPOINT_URL_CLOUDTRAIL={url}\nAWS_REGION={0}\nAWS_DEFAULT_REGION={0}\n",
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
        "listening on {url} (Region {region}, account {account})"
    ));
}
