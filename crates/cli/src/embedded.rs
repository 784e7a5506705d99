//! The KMS inside this program: its home, its passphrase, and its errors in our words.

use crate::failure::{Exit, Failure};
use crate::world::World;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use waxseal_core::arn::Home;
use waxseal_core::{Keyring, SecretBytes};
use waxseal_hsm::HsmKeyring;
use waxseal_hsm::uri::KeyUri;
use waxseal_kms::Engine;
use waxseal_kms::home::{EmbeddedHome, HomeError, NewRoot, Passphrases};
use waxseal_kms::op::Perform;
use waxseal_kms::root::{PROVIDER_ROOT, RootError, RootKind};
use waxseal_kms::store::StoreError;
use waxseal_kms_api::{ErrorCode, KmsError};

/// The most bytes that a passphrase file may have.
const PASSPHRASE_BYTES_MAX: u64 = 4_096;

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
    let roots = Roots::of(world, world.root.as_deref())?;
    let (entropy, rollback) = (world.entropy.clone(), world.rollback());
    EmbeddedHome::open_with(directory, place, &roots, entropy, rollback)
        .map_err(|error| failure(&error, directory))
}

/// Hangs the home from another root key.
pub(crate) fn migrate_root(world: &World, to: &str) -> Result<RootKind, Failure> {
    let directory = directory(world)?;
    let from = Roots::of(world, world.root.as_deref())?;
    let to = Roots::of(world, Some(to))?;
    waxseal_kms::home::migrate_root(directory, &from, &to, world.entropy.clone())
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

/// Root keys as the environment and the command line have them.
struct Roots<'w> {
    world: &'w World,
    wanted: Option<Wanted>,
}

/// What a home is to hang from.
enum Wanted {
    File,
    Passphrase,
    Device(KeyUri),
}

impl<'w> Roots<'w> {
    fn of(world: &'w World, root: Option<&str>) -> Result<Self, Failure> {
        let wanted = match root {
            None => None,
            Some("file") => Some(Wanted::File),
            Some("passphrase") => Some(Wanted::Passphrase),
            Some(uri) if uri.starts_with("pkcs11:") => {
                let uri: Result<KeyUri, _> = uri.parse();
                let uri = uri.map_err(|error| {
                    Failure::configuration(
                        error.to_string(),
                        "write pkcs11:token=NAME;object=LABEL?module-path=FILE&pin-source=FILE",
                    )
                })?;
                Some(Wanted::Device(uri))
            }
            Some(root) => {
                return Err(Failure::configuration(
                    format!("'{root}' is no kind of root key"),
                    "WAXSEAL_ROOT is 'file', 'passphrase' or pkcs11:…, or not set",
                ));
            }
        };
        Ok(Self { world, wanted })
    }

    fn device_keyring(&self, uri: &KeyUri, make: bool) -> Result<HsmKeyring, String> {
        let pin = match &uri.pin_source {
            Some(path) => from_file("pin-source", path)?,
            None => pin_from_terminal(&uri.object)?,
        };
        let entropy = self.world.entropy.clone();
        HsmKeyring::open(PROVIDER_ROOT, uri.clone(), &pin, make, entropy)
            .map_err(|error| error.to_string())
    }
}

impl Passphrases for Roots<'_> {
    fn wanted_for_new_home(&self) -> bool {
        match &self.wanted {
            Some(wanted) => matches!(wanted, Wanted::Passphrase),
            None => self.world.passphrase_file.is_some(),
        }
    }

    fn passphrase(&self, new: bool) -> Result<SecretBytes, String> {
        match &self.world.passphrase_file {
            Some(path) => from_file("WAXSEAL_PASSPHRASE_FILE", path),
            None => from_terminal(new),
        }
    }

    fn device_for_new_home(&self) -> Result<Option<NewRoot>, String> {
        let Some(Wanted::Device(uri)) = &self.wanted else {
            return Ok(None);
        };
        let keyring = self.device_keyring(uri, true)?;
        let kind = RootKind::Pkcs11 {
            serial: keyring.serial().to_owned(),
            object: keyring.object().to_owned(),
        };
        Ok(Some((kind, Box::new(keyring))))
    }

    fn device(&self, serial: &str, object: &str) -> Result<Box<dyn Keyring>, String> {
        let Some(Wanted::Device(uri)) = &self.wanted else {
            return Err(format!(
                "the store hangs from the key '{object}' in the PKCS #11 device {serial}, and WAXSEAL_ROOT \
                 does not say how to reach it"
            ));
        };
        let keyring = self.device_keyring(uri, false)?;
        match keyring.serial() == serial && keyring.object() == object {
            true => Ok(Box::new(keyring)),
            false => Err(format!(
                "the store hangs from the key '{object}' in the device {serial}, and WAXSEAL_ROOT leads to \
                 '{}' in {}",
                keyring.object(),
                keyring.serial()
            )),
        }
    }
}

fn pin_from_terminal(object: &str) -> Result<SecretBytes, String> {
    let prompt = format!("PIN of the device with the root key '{object}': ");
    let pin = rpassword::prompt_password(prompt)
        .map(|text| SecretBytes::new(text.into_bytes()))
        .map_err(|error| format!("no terminal to ask for the PIN on ({error}); give pin-source"))?;
    match pin.is_empty() {
        true => Err("the PIN is empty".to_owned()),
        false => Ok(pin),
    }
}

/// The file's bytes without a line end at their end.
fn from_file(what: &str, path: &Path) -> Result<SecretBytes, String> {
    let io = |error| format!("{what} {}: {error}", path.display());
    let mut bytes = SecretBytes::zeroed(PASSPHRASE_BYTES_MAX as usize + 1);
    let mut file = File::open(path).map_err(io)?;
    let mut len = 0;
    loop {
        match file.read(&mut bytes.expose_mut()[len..]).map_err(io)? {
            0 => break,
            read => len += read,
        }
    }
    if len as u64 > PASSPHRASE_BYTES_MAX {
        return Err(format!(
            "{} has more than {PASSPHRASE_BYTES_MAX} bytes",
            path.display()
        ));
    }
    let mut text = &bytes.expose()[..len];
    text = text.strip_suffix(b"\n").unwrap_or(text);
    text = text.strip_suffix(b"\r").unwrap_or(text);
    if text.is_empty() {
        return Err(format!("{} is empty", path.display()));
    }
    Ok(SecretBytes::copy_of(text))
}

fn from_terminal(new: bool) -> Result<SecretBytes, String> {
    let ask = |prompt: &str| {
        rpassword::prompt_password(prompt)
            .map(|text| SecretBytes::new(text.into_bytes()))
            .map_err(|error| format!("no terminal to ask on ({error})"))
    };
    let passphrase = ask("Passphrase of the waxseal home: ")?;
    if passphrase.is_empty() {
        return Err("it is empty".to_owned());
    }
    if new && !ask("The same again: ")?.ct_eq(passphrase.expose()) {
        return Err("the two differ".to_owned());
    }
    Ok(passphrase)
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
        HomeError::RootKey { .. } => {
            configuration("restore root.key from your backup: no data can be opened without it")
        }
        HomeError::Device(_) => configuration(
            "check WAXSEAL_ROOT (pkcs11:token=NAME;object=LABEL?module-path=FILE&pin-source=FILE) and the \
             device; without it nothing can be opened",
        ),
        HomeError::NoPassphrase(_) => configuration(
            "set WAXSEAL_PASSPHRASE_FILE to a file that holds it, or run on a terminal",
        ),
        HomeError::Root(RootError::WrongKey("passphrase")) => Failure::new(
            Exit::AccessDenied,
            what,
            "try again with the passphrase that was chosen when the home was made",
        ),
        HomeError::Root(RootError::WrongKey(_)) => configuration(&format!(
            "restore the root.key that belongs to {}",
            directory.join("store.db").display()
        )),
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
            ErrorCode::Internal => (
                Exit::Io,
                "check disk and permissions of the home directory; no key is used without its record",
            ),
            _ => (Exit::Usage, "correct the value and try again"),
        };
        Self::new(exit, what, hint)
    }
}
