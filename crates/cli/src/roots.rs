//! Root keys as the environment and the command line name them.
//!
//! | named | means |
//! |---|---|
//! | `file` | `root.key` in the data directory |
//! | `passphrase` | what `WAXSEAL_PASSPHRASE_FILE` holds, else what somebody types |
//! | `shares:3/5` | a key that any 3 of 5 shares make: files in `WAXSEAL_SHARES`, else typed |
//! | `pkcs11:token=NAME;object=LABEL?module-path=FILE…` | an AES key in a device, see [`KeyUri`] |
//! | `aws-kms:///ARN` | a key in Amazon KMS, or in what `AWS_ENDPOINT_URL_KMS` names |
//!
//! `WAXSEAL_ROOT` names one or several, with spaces between them: what a new home hangs from, and the
//! way to those that a home hangs from. No part of a name holds a space; in a PKCS #11 URI it is `%20`.

use crate::failure::Failure;
use crate::secrets::{
    passphrase_from_terminal, pin_from_terminal, secret_file, share_from_terminal,
};
use crate::world::World;
use std::collections::HashMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use waxseal_aws::{AwsKms, AwsOptions};
use waxseal_core::crypto::random::Entropy;
use waxseal_core::{KeyArn, KeyRef, SecretBytes};
use waxseal_hsm::uri::KeyUri;
use waxseal_hsm::{DEADLINE, HsmKeyring, Pin};
use waxseal_kms::home::{RootSource, Wanted};
use waxseal_kms::root::{PROVIDER_ROOT, Root, RootKind, RootShare};

/// How long another KMS may take, with all attempts.
const KMS_SECONDS: u64 = 10;

const HINT: &str = "a root is 'file', 'passphrase', shares:3/5, pkcs11:token=NAME;object=LABEL?module-path=FILE \
                    or aws-kms:///ARN";

/// A root by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    File,
    Passphrase,
    Shares { need: u8, of: u8 },
    Device(KeyUri),
    Kms(KeyArn),
}

impl Named {
    pub(crate) fn parse(name: &str) -> Result<Self, Failure> {
        match name {
            "file" => return Ok(Self::File),
            "passphrase" => return Ok(Self::Passphrase),
            _ => {}
        }
        if let Some(numbers) = name.strip_prefix("shares:") {
            let numbers = numbers.split_once('/').and_then(|(need, of)| {
                let (need, of) = (need.parse().ok()?, of.parse().ok()?);
                Some(Self::Shares { need, of })
            });
            return numbers.ok_or_else(|| {
                Failure::configuration(
                    format!("'{name}' does not say how many shares"),
                    "write shares:3/5 for five shares of which any three make the root key",
                )
            });
        }
        if name.starts_with("pkcs11:") {
            let uri = name.parse::<KeyUri>();
            return uri
                .map(Self::Device)
                .map_err(|error| Failure::configuration(error.to_string(), HINT));
        }
        if let Some(key) = name.strip_prefix("aws-kms:") {
            let arn = key.trim_start_matches('/').parse::<KeyArn>();
            return arn.map(Self::Kms).map_err(|error| {
                Failure::configuration(
                    format!("'{name}' does not name a root key by its ARN: {error}"),
                    "write aws-kms:///arn:aws:kms:REGION:ACCOUNT:key/ID: an alias could lead to another key \
                     tomorrow",
                )
            });
        }
        Err(Failure::configuration(
            format!("'{name}' is no kind of root key"),
            HINT,
        ))
    }

    /// Whether it is the root of this kind, as far as the name tells: that of a device need not say which
    /// one it is.
    pub(crate) fn fits(&self, kind: &RootKind) -> bool {
        match (self, kind) {
            (Self::File, RootKind::File) | (Self::Passphrase, RootKind::Passphrase { .. }) => true,
            (
                Self::Shares { need, of },
                RootKind::Shares {
                    need: wanted,
                    of: there,
                    ..
                },
            ) => (need, of) == (wanted, there),
            (Self::Device(uri), RootKind::Pkcs11 { serial, object }) => {
                uri.object == *object && uri.serial.as_ref().is_none_or(|one| one == serial)
            }
            (Self::Kms(arn), RootKind::Kms { key }) => arn.to_string() == *key,
            _ => false,
        }
    }
}

/// The roots of `names`, which were checked, for a store to hang from.
pub(crate) fn wanted(names: &[String]) -> Result<Vec<Wanted>, Failure> {
    let wanted = |name: &String| {
        Ok(match Named::parse(name)? {
            Named::File => Wanted::File,
            Named::Passphrase => Wanted::Passphrase,
            Named::Shares { need, of } => Wanted::Shares { need, of },
            Named::Device(_) | Named::Kms(_) => Wanted::Elsewhere(name.clone()),
        })
    };
    names.iter().map(wanted).collect()
}

/// Root keys as the environment has them.
pub(crate) struct Roots {
    names: Vec<String>,
    named: Vec<Named>,
    wanted: Vec<Wanted>,
    passphrase_file: Option<PathBuf>,
    new_passphrase_file: Option<PathBuf>,
    share_files: Vec<PathBuf>,
    /// Whether new shares may be printed: the command is about roots, and nothing else goes to stdout.
    may_hand_out: bool,
    entropy: Arc<dyn Entropy>,
    devices: Mutex<HashMap<String, Arc<Device>>>,
    aws: OnceLock<Arc<AwsKms>>,
}

impl Roots {
    /// What `WAXSEAL_ROOT` and the variables beside it say.
    pub(crate) fn of(world: &World) -> Result<Self, Failure> {
        let names = world.root.as_deref().unwrap_or_default();
        let mut names: Vec<String> = names.split_whitespace().map(str::to_owned).collect();
        if names.is_empty() && world.passphrase_file.is_some() {
            names.push("passphrase".to_owned());
        }
        let named = names.iter().map(|name| Named::parse(name));
        let named = named.collect::<Result<_, _>>()?;
        let mut wanted = wanted(&names)?;
        if wanted.is_empty() {
            wanted.push(Wanted::File);
        }
        Ok(Self {
            named,
            names,
            wanted,
            passphrase_file: world.passphrase_file.clone(),
            new_passphrase_file: world.new_passphrase_file.clone(),
            share_files: world.share_files.clone(),
            may_hand_out: false,
            entropy: world.entropy.clone(),
            devices: Mutex::default(),
            aws: OnceLock::new(),
        })
    }

    /// The same for a command that may print new shares.
    pub(crate) fn handing_out(mut self) -> Self {
        self.may_hand_out = true;
        self
    }

    /// The device of this name: one for the whole process, so that a PIN is tried once.
    fn device(&self, name: &str, uri: &KeyUri) -> Result<Arc<Device>, String> {
        let mut devices = self.devices();
        if let Some(device) = devices.get(name) {
            return Ok(device.clone());
        }
        let typed = Arc::default();
        let pin = pin(uri, &typed);
        let (uri, entropy) = (uri.clone(), self.entropy.clone());
        let keyring = HsmKeyring::new(PROVIDER_ROOT, uri, pin, entropy, DEADLINE);
        let keyring = Arc::new(keyring.map_err(|error| error.to_string())?);
        let device = Arc::new(Device { keyring, typed });
        devices.insert(name.to_owned(), device.clone());
        Ok(device)
    }

    fn devices(&self) -> MutexGuard<'_, HashMap<String, Arc<Device>>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody has to be asked for the device's PIN.
    fn has_pin(&self, name: &str, uri: &KeyUri) -> bool {
        let is_typed = |device: &Arc<Device>| device.typed.get().is_some();
        uri.pin_source.is_some()
            || uri.pin_env.is_some()
            || self.devices().get(name).is_some_and(is_typed)
    }

    /// The key of this kind in one of the devices that are named.
    fn reach_device(&self, kind: &RootKind) -> Result<Root, String> {
        let mut failures = Vec::new();
        for (name, named) in self.names.iter().zip(&self.named) {
            let Named::Device(uri) = named else { continue };
            if !named.fits(kind) {
                continue;
            }
            // Which device it is, is known before anybody logs in.
            let device = self.device(name, uri)?;
            match device.found() {
                Ok(found) if found == *kind => match device.connected(uri, found, false) {
                    Ok(root) => return Ok(root),
                    Err(failure) => failures.push(failure),
                },
                Ok(found) => failures.push(format!("WAXSEAL_ROOT leads to {found}")),
                Err(failure) => failures.push(failure),
            }
        }
        if failures.is_empty() {
            return Err(format!(
                "the store hangs from {kind}, and WAXSEAL_ROOT does not say how to reach it"
            ));
        }
        Err(failures.join("; "))
    }

    fn make_device(&self, name: &str, uri: &KeyUri) -> Result<Root, String> {
        let device = self.device(name, uri)?;
        device.connected(uri, device.found()?, true)
    }

    fn kms_root(&self, key: &KeyArn) -> Root {
        let limit = Duration::from_secs(KMS_SECONDS);
        let options = AwsOptions {
            attempt_timeout: limit / 2,
            operation_timeout: limit,
            ..AwsOptions::default()
        };
        let aws = self.aws.get_or_init(|| AwsKms::new(options));
        Root {
            kind: RootKind::Kms {
                key: key.to_string(),
            },
            keyring: Box::new(aws.keyring(KeyRef::Arn(key.clone()))),
        }
    }
}

/// A key in a device, and its PIN where it was typed: it is kept, for when the device was away.
struct Device {
    keyring: Arc<HsmKeyring>,
    typed: Arc<OnceLock<SecretBytes>>,
}

impl Device {
    /// Which key in which device it is. Nobody logs in for that.
    fn found(&self) -> Result<RootKind, String> {
        let serial = self.keyring.serial().map_err(|error| error.to_string())?;
        let object = self.keyring.object().to_owned();
        Ok(RootKind::Pkcs11 { serial, object })
    }

    fn connected(&self, uri: &KeyUri, kind: RootKind, make: bool) -> Result<Root, String> {
        // A device is waited for; somebody who types is not hurried.
        if uri.pin_source.is_none() && uri.pin_env.is_none() && self.typed.get().is_none() {
            // Whoever was first typed it.
            let _ = self.typed.set(pin_from_terminal(&uri.object)?);
        }
        let connected = self.keyring.connect(make);
        connected.map_err(|error| error.to_string())?;
        let keyring = Box::new(self.keyring.clone());
        Ok(Root { kind, keyring })
    }
}

/// Where the PIN of a device comes from.
fn pin(uri: &KeyUri, typed: &Arc<OnceLock<SecretBytes>>) -> Pin {
    let (source, variable) = (uri.pin_source.clone(), uri.pin_env.clone());
    let typed = typed.clone();
    Box::new(move || {
        if let Some(path) = &source {
            return secret_file("pin-source", path);
        }
        if let Some(variable) = &variable {
            let pin = std::env::var_os(variable).unwrap_or_default();
            let pin = SecretBytes::new(pin.into_encoded_bytes());
            return match pin.is_empty() {
                true => Err(format!("the variable {variable}, for the PIN, is not set")),
                false => Ok(pin),
            };
        }
        let typed = typed.get().ok_or("nobody typed the PIN")?;
        Ok(SecretBytes::copy_of(typed.expose()))
    })
}

impl RootSource for Roots {
    fn wanted(&self) -> Vec<Wanted> {
        self.wanted.clone()
    }

    fn is_at_hand(&self, root: &RootKind) -> bool {
        match root {
            RootKind::Passphrase { .. } => self.passphrase_file.is_some(),
            RootKind::Shares { .. } => !self.share_files.is_empty(),
            root => self
                .names
                .iter()
                .zip(&self.named)
                .any(|(name, named)| match named {
                    Named::Device(uri) => named.fits(root) && self.has_pin(name, uri),
                    _ => named.fits(root),
                }),
        }
    }

    fn passphrase(&self, new: bool) -> Result<SecretBytes, String> {
        let new_file = self.new_passphrase_file.as_ref().filter(|_| new);
        match (new_file, &self.passphrase_file) {
            (Some(path), _) => secret_file("WAXSEAL_NEW_PASSPHRASE_FILE", path),
            (None, Some(path)) => secret_file("WAXSEAL_PASSPHRASE_FILE", path),
            (None, None) => passphrase_from_terminal(new),
        }
    }

    fn shares(&self, need: u8) -> Result<Vec<RootShare>, String> {
        if self.share_files.is_empty() {
            return (1..=need)
                .map(|number| share_from_terminal(number, need))
                .collect();
        }
        let mut shares = Vec::new();
        for path in &self.share_files {
            let text = secret_file("WAXSEAL_SHARES", path)?;
            for line in text.expose().split(|byte| *byte == b'\n') {
                if line.trim_ascii().is_empty() {
                    continue;
                }
                let share = RootShare::read(line);
                shares.push(share.map_err(|error| format!("{}: {error}", path.display()))?);
            }
        }
        Ok(shares)
    }

    fn hand_out(&self, shares: &[SecretBytes]) -> Result<(), String> {
        if !self.may_hand_out {
            return Err("make the home with waxseal root init, which prints them".to_owned());
        }
        let mut stdout = std::io::stdout().lock();
        for share in shares {
            let told = stdout.write_all(share.expose());
            told.and_then(|()| stdout.write_all(b"\n"))
                .map_err(|error| format!("they cannot be printed: {error}"))?;
        }
        let flushed = stdout.flush();
        flushed.map_err(|error| format!("they cannot be printed: {error}"))
    }

    fn reach(&self, root: &RootKind) -> Result<Root, String> {
        if !matches!(root, RootKind::Kms { .. }) {
            return self.reach_device(root);
        }
        // Whose key it is, those say who configured it: what the store says could be somebody else's.
        let named = self.named.iter().find_map(|named| match named {
            Named::Kms(arn) if named.fits(root) => Some(arn),
            _ => None,
        });
        let named = named.ok_or_else(|| {
            format!("the store hangs from {root}, and WAXSEAL_ROOT does not name it")
        })?;
        Ok(self.kms_root(named))
    }

    fn make(&self, name: &str) -> Result<Root, String> {
        match Named::parse(name).map_err(|failure| failure.what)? {
            Named::Device(uri) => self.make_device(name, &uri),
            Named::Kms(arn) => Ok(self.kms_root(&arn)),
            Named::File | Named::Passphrase | Named::Shares { .. } => {
                Err(format!("'{name}' is not elsewhere"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

    #[test]
    fn roots_are_named() {
        let named = |name: &str| Named::parse(name).map_err(|failure| failure.what);
        assert_eq!(named("file"), Ok(Named::File));
        assert_eq!(named("passphrase"), Ok(Named::Passphrase));
        for slashes in ["", "//", "///"] {
            let kms = named(&format!("aws-kms:{slashes}{ARN}"));
            assert_eq!(kms, Ok(Named::Kms(ARN.parse().unwrap())));
        }
        assert_eq!(named("shares:3/5"), Ok(Named::Shares { need: 3, of: 5 }));
        for (name, word) in [
            ("disk", "no kind"),
            ("shares:3", "how many"),
            ("aws-kms:///alias/root", "ARN"),
            ("pkcs11:object=o", "token or serial"),
        ] {
            assert!(named(name).unwrap_err().contains(word), "{name}");
        }
    }

    #[test]
    fn a_device_may_be_named_without_its_serial() {
        let kind = |serial: &str, object: &str| RootKind::Pkcs11 {
            serial: serial.to_owned(),
            object: object.to_owned(),
        };
        let fits = |name: &str, kind: &RootKind| Named::parse(name).unwrap().fits(kind);
        let by_label = "pkcs11:token=t;object=o?module-path=/p";
        let by_serial = "pkcs11:serial=1;object=o?module-path=/p";
        assert!(fits(by_label, &kind("1", "o")) && fits(by_label, &kind("2", "o")));
        assert!(fits(by_serial, &kind("1", "o")) && !fits(by_serial, &kind("2", "o")));
        assert!(!fits(by_label, &kind("1", "p")) && !fits(by_label, &RootKind::File));
    }
}
