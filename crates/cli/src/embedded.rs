//! The KMS inside this program: its home, and its errors in our words.

use crate::failure::{Exit, Failure};
use crate::roots::Roots;
use crate::world::World;
use std::path::Path;
use std::sync::Arc;
use waxseal_core::arn::Home;
use waxseal_kms::Engine;
use waxseal_kms::home::{EmbeddedHome, HomeError};
use waxseal_kms::op::Perform;
use waxseal_kms::root::RootError;
use waxseal_kms::store::StoreError;
use waxseal_kms_api::{ErrorCode, KmsError};

/// Partition, Region and account of a home that is made here: names that no Amazon key has.
pub(crate) fn place() -> Home {
    Home {
        partition: "aws".into(),
        region: "local".into(),
        account: "000000000000".into(),
    }
}

/// How the audit log calls this program.
pub(crate) fn user_agent() -> String {
    let user = rustix::process::getuid().as_raw();
    format!(
        "waxseal/{} (embedded; uid {user})",
        env!("CARGO_PKG_VERSION")
    )
}

/// Where the embedded KMS keeps its data.
pub(crate) fn directory(world: &World) -> Result<&Path, Failure> {
    world.home.as_deref().ok_or_else(|| {
        Failure::configuration(
            "there is no place for the embedded KMS: neither HOME, XDG_DATA_HOME nor WAXSEAL_HOME is set",
            "set WAXSEAL_HOME to a directory",
        )
    })
}

/// Whether there is an embedded KMS already.
pub(crate) fn exists(world: &World) -> bool {
    world
        .home
        .as_deref()
        .is_some_and(|home| home.join("store.db").exists())
}

/// Opens the embedded KMS, and makes it on first use. A process opens it once: a passphrase is
/// asked for once.
pub(crate) fn open(world: &World) -> Result<Arc<EmbeddedHome>, Failure> {
    if let Some(home) = world.embedded.get() {
        return Ok(home.clone());
    }
    let home = Arc::new(open_now(world)?);
    Ok(world.embedded.get_or_init(|| home).clone())
}

fn open_now(world: &World) -> Result<EmbeddedHome, Failure> {
    open_at(world, directory(world)?, &place())
}

/// Opens the home in `directory`, and makes it there, at `place`, on first use.
pub(crate) fn open_at(
    world: &World,
    directory: &Path,
    place: &Home,
) -> Result<EmbeddedHome, Failure> {
    let roots = Arc::new(Roots::of(world)?);
    let (entropy, rollback) = (world.entropy.clone(), world.rollback());
    EmbeddedHome::open_with(directory, place, roots, entropy, rollback)
        .map_err(|error| failure(&error, directory))
}

/// One request by the owner.
pub(crate) fn call<O: Perform>(engine: &Engine, input: O) -> Result<O::Output, Failure> {
    let request = engine.by_owner(&user_agent(), input);
    Ok(request.and_then(|request| engine.call(request))?)
}

/// Sees to it that there is a key when none was named.
pub(crate) fn ensure_default_key(home: &EmbeddedHome, world: &World) -> Result<(), Failure> {
    let directory = directory(world)?;
    home.ensure_default_key(&user_agent())
        .map_err(|error| failure(&error, directory))
}

pub(crate) fn failure(error: &HomeError, directory: &Path) -> Failure {
    let what = error.to_string();
    let configuration = |hint: &str| Failure::configuration(what.clone(), hint);
    match error {
        HomeError::Io { path, source } => {
            let hint =
                "check that the directory can be written, or set WAXSEAL_HOME to one that can";
            let told = Failure::io("use", &path.display().to_string(), source);
            Failure {
                hint: hint.into(),
                ..told
            }
        }
        HomeError::WeakMode { path, .. } => configuration(&format!(
            "if nobody has read it: chmod 600 {}",
            path.display()
        )),
        HomeError::Changeable { path, .. } => {
            configuration(&format!("if nobody did: chmod go-w {}", path.display()))
        }
        HomeError::RootKey { .. } => {
            configuration("restore root.key from your backup: no data can be opened without it")
        }
        HomeError::Elsewhere(_) | HomeError::Root(RootError::Keyring(_)) => configuration(
            "check WAXSEAL_ROOT (pkcs11:token=NAME;object=LABEL?module-path=FILE&pin-source=FILE, or \
             aws-kms:///ARN), and the device or the other KMS; without it nothing can be opened",
        ),
        HomeError::NoRoot(_) => {
            configuration("one of them is enough: see docs/roots.md for what each of them needs")
        }
        HomeError::Exists(_) => Failure::usage(
            what,
            "waxseal root status shows what it hangs from; root add and root migrate change that",
        ),
        HomeError::NoSuchRoot(_) | HomeError::Root(RootError::Twice(_)) => {
            Failure::usage(what, "see waxseal root status")
        }
        HomeError::Root(RootError::Missing(_) | RootError::Rotating) => configuration(
            "see waxseal root status; a root that is not needed any more can be removed",
        ),
        HomeError::Root(RootError::Engine(error)) => error.clone().into(),
        HomeError::Root(RootError::Last | RootError::TooMany) => Failure::usage(
            what,
            "waxseal root migrate hangs the store from another root instead",
        ),
        HomeError::NoPassphrase(_) => configuration(
            "set WAXSEAL_PASSPHRASE_FILE to a file that holds it, or run on a terminal",
        ),
        HomeError::NoShares(_) => configuration(
            "name files with enough shares in WAXSEAL_SHARES, with colons between them, or run on a terminal",
        ),
        HomeError::Root(RootError::Shares { .. }) => Failure::new(
            Exit::AccessDenied,
            what,
            "try again with other shares; each names its store, and the shares it was made with",
        ),
        HomeError::Root(RootError::ShareNumbers) => Failure::usage(what, "write shares:3/5"),
        HomeError::Root(RootError::WrongKey("passphrase")) => Failure::new(
            Exit::AccessDenied,
            what,
            "try again with the passphrase that was chosen when the home was made",
        ),
        HomeError::Root(RootError::WrongKey("root key file")) => configuration(&format!(
            "restore the root.key that belongs to {}",
            directory.join("store.db").display()
        )),
        HomeError::Root(RootError::WrongKey(_)) => configuration(
            "it is not the key that the store was hung from, or not the store: restore both from one backup",
        ),
        HomeError::Root(RootError::Newer { .. })
        | HomeError::Store(StoreError::NewerVersion { .. }) => {
            configuration("use the version of waxseal that wrote it, or a newer one")
        }
        HomeError::Store(StoreError::NotAStore(_)) => {
            configuration("set WAXSEAL_HOME to another directory")
        }
        HomeError::PasswordParams(_) | HomeError::Root(RootError::Damaged(_)) => {
            configuration("restore the home directory from your backup")
        }
        HomeError::RolledBack(_) => Failure::new(
            Exit::Unauthentic,
            what,
            "put back what belongs together; or take it as it is, which is recorded, with waxseal audit \
             accept-rollback or serve --accept-rollback: what was revoked since may be in force again",
        ),
        HomeError::Engine(error) => error.clone().into(),
        _ => Failure::new(
            Exit::Io,
            what,
            format!("check disk and permissions of {}", directory.display()),
        ),
    }
}

impl From<KmsError> for Failure {
    fn from(error: KmsError) -> Self {
        let what = error
            .message
            .clone()
            .unwrap_or_else(|| error.code.name().to_owned());
        let (exit, hint) = match error.code {
            ErrorCode::AccessDenied => (Exit::AccessDenied, "the key's policy does not allow it"),
            ErrorCode::NotFound => (Exit::KeyState, "see the keys with waxseal key list"),
            ErrorCode::Disabled | ErrorCode::InvalidState => (
                Exit::KeyState,
                "waxseal key enable lets the key be used again",
            ),
            ErrorCode::InvalidCiphertext | ErrorCode::IncorrectKey => {
                return Self::unauthentic(what);
            }
            ErrorCode::LimitExceeded => (Exit::Policy, "stay below the limit"),
            ErrorCode::Conflict => (Exit::KeyState, "try again"),
            ErrorCode::KeyUnavailable => (
                Exit::Unreachable,
                "a root key is needed: see waxseal root status",
            ),
            ErrorCode::Internal => (
                Exit::Io,
                "check disk and permissions of the home directory; no key is used without its record",
            ),
            _ => (Exit::Usage, "correct the value and try again"),
        };
        Self::new(exit, what, hint)
    }
}
