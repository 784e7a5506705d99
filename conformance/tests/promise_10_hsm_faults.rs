//! Promise 10: devices that fail. A library between us and SoftHSM (`shim/pkcs11.c`) answers each call
//! that is made with each error that the standard knows, hangs, and gives altered bytes. Never is another
//! key taken for the domain key, nor a PIN tried twice; another device is used instead; without one an
//! engine goes on for its lease, is sealed, and serves again when the device is back.
//!
//! Needs softhsm2 and cc (`conformance/interop/setup`).
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "a failed expectation is the point"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use waxseal_conformance::promise;
use waxseal_core::arn::Home;
use waxseal_core::crypto::random::SystemEntropy;
use waxseal_core::keyring::Unwrapped;
use waxseal_core::{DataKey, EncryptedDataKey, EncryptionContext, Keyring, SecretBytes};
use waxseal_hsm::{HsmError, HsmKeyring};
use waxseal_kms::Engine;
use waxseal_kms::home::{EmbeddedHome, RootSource, Wanted, add_root, init};
use waxseal_kms::root::{PROVIDER_ROOT, Root, RootKind};
use waxseal_kms_api::ErrorCode;
use waxseal_kms_api::op::{CreateKeyRequest, EncryptRequest};
use waxseal_kms_api::shape::SecretBlob;

const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PIN: &[u8] = b"4321";
/// Set in the process that has SoftHSM's configuration in its environment.
const DIRECTORY: &str = "WAXSEAL_PROMISE_10";
/// Before the figure, in what that process prints.
const SHOWN: &str = "figure: ";
const DEADLINE: Duration = Duration::from_millis(1_500);
const HANG_MILLIS: u64 = 8_000;
const PATIENCE: Duration = Duration::from_secs(30);

/// The errors of PKCS #11 2.40 (`CKR_…`).
const CODES: &[u64] = &[
    0x01,
    0x02,
    0x03,
    0x05,
    0x06,
    0x07,
    0x08,
    0x09,
    0x0a,
    0x10,
    0x11,
    0x12,
    0x13,
    0x1b,
    0x20,
    0x21,
    0x30,
    0x31,
    0x32,
    0x40,
    0x41,
    0x50,
    0x51,
    0x54,
    0x60,
    0x62,
    0x63,
    0x64,
    0x65,
    0x66,
    0x67,
    0x68,
    0x69,
    0x6a,
    0x70,
    0x71,
    0x82,
    0x90,
    0x91,
    0xa0,
    0xa1,
    0xa2,
    0xa3,
    0xa4,
    0xb0,
    0xb1,
    0xb3,
    0xb4,
    0xb5,
    0xb6,
    0xb7,
    0xb8,
    0xc0,
    0xc1,
    0xd0,
    0xd1,
    0xe0,
    0xe1,
    0xe2,
    0xf0,
    0xf1,
    0xf2,
    0x100,
    0x101,
    0x102,
    0x103,
    0x104,
    0x105,
    0x110,
    0x112,
    0x113,
    0x114,
    0x115,
    0x120,
    0x121,
    0x130,
    0x140,
    0x150,
    0x160,
    0x170,
    0x180,
    0x190,
    0x191,
    0x1a0,
    0x1a1,
    0x1b0,
    0x1b1,
    0x1b2,
    0x1b3,
    0x1b4,
    0x1b5,
    0x1b6,
    0x1b7,
    0x1b8,
    0x1b9,
    0x200,
    0x8000_0000,
];
/// Those that every call is answered with in a short run.
const FEW_CODES: &[u64] = &[
    0x05, 0x30, 0x32, 0x40, 0xa0, 0xb3, 0xe0, 0x101, 0x150, 0x190,
];
const PIN_INCORRECT: u64 = 0xa0;
const DEVICE_ERROR: u64 = 0x30;
const TOKEN_NOT_PRESENT: u64 = 0xe0;
const SESSION_HANDLE_INVALID: u64 = 0xb3;

#[test]
fn promise_10() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return faults(Path::new(&directory));
    }
    assert!(
        Path::new(SOFTHSM).exists(),
        "{SOFTHSM} is missing: run conformance/interop/setup, which installs softhsm2"
    );
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let configuration = directory.join("softhsm2.conf");
    let tokens = directory.join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        tokens.display()
    );
    std::fs::write(&configuration, text).unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/shim/pkcs11.c");
    for token in ["one", "two"] {
        let library = directory.join(format!("{token}.so"));
        let built = Command::new("cc")
            .args(["-O1", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .args([source, "-ldl", "-lpthread"])
            .status();
        assert!(built.unwrap().success());
        let made = Command::new("softhsm2-util")
            .env("SOFTHSM2_CONF", &configuration)
            .args(["--init-token", "--free", "--label", token])
            .args(["--so-pin", "12345678", "--pin", "4321"])
            .output();
        assert!(made.unwrap().status.success());
    }
    let told = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "promise_10", "--nocapture"])
        .env(DIRECTORY, directory)
        .env("SOFTHSM2_CONF", &configuration)
        .output()
        .unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&told.stdout),
        String::from_utf8_lossy(&told.stderr),
    );
    assert!(told.status.success(), "{stdout}{stderr}");
    let figure = stdout.lines().find_map(|line| {
        let at = line.find(SHOWN)? + SHOWN.len();
        Some(line[at..].to_owned())
    });
    promise("10", figure.unwrap());
}

/// A device behind the shim.
struct Device {
    module: PathBuf,
    uri: String,
}

impl Device {
    fn new(directory: &Path, token: &str) -> Self {
        let module = directory.join(format!("{token}.so"));
        let uri = format!(
            "pkcs11:token={token};object=root?module-path={}",
            module.display()
        );
        Self { module, uri }
    }

    /// A keyring as a process that starts has it.
    fn keyring(&self, pin: &'static [u8]) -> HsmKeyring {
        let uri = self.uri.parse().unwrap();
        let pin = Box::new(move || Ok(SecretBytes::copy_of(pin)));
        HsmKeyring::new(PROVIDER_ROOT, uri, pin, Arc::new(SystemEntropy), DEADLINE).unwrap()
    }

    fn beside(&self, what: &str) -> PathBuf {
        let mut name = self.module.clone().into_os_string();
        name.push(what);
        name.into()
    }

    /// What goes wrong from now on. The log of calls begins anew.
    fn plan(&self, plan: &str) {
        let new = self.beside(".new");
        std::fs::write(&new, plan).unwrap();
        std::fs::rename(&new, self.beside(".plan")).unwrap();
        std::fs::write(self.beside(".log"), "").unwrap();
    }

    /// How often each function was called since.
    fn calls(&self) -> BTreeMap<String, usize> {
        let log = std::fs::read_to_string(self.beside(".log")).unwrap();
        let mut calls = BTreeMap::new();
        for line in log.lines() {
            *calls.entry(line.to_owned()).or_default() += 1;
        }
        calls
    }

    fn logins(&self) -> usize {
        self.calls().get("C_Login").copied().unwrap_or(0)
    }
}

/// The two devices as one process knows them.
struct Devices {
    keyrings: Vec<Arc<HsmKeyring>>,
    reached: AtomicUsize,
}

impl Devices {
    fn of(devices: &[&Device]) -> Arc<Self> {
        let keyrings = devices.iter().map(|device| Arc::new(device.keyring(PIN)));
        Arc::new(Self {
            keyrings: keyrings.collect(),
            reached: AtomicUsize::new(0),
        })
    }
}

fn root_of(keyring: &Arc<HsmKeyring>) -> Result<Root, HsmError> {
    let kind = RootKind::Pkcs11 {
        serial: keyring.serial()?,
        object: keyring.object().to_owned(),
    };
    let keyring = Box::new(keyring.clone());
    Ok(Root { kind, keyring })
}

impl RootSource for Devices {
    fn wanted(&self) -> Vec<Wanted> {
        vec![Wanted::Elsewhere("0".to_owned())]
    }

    fn is_at_hand(&self, _: &RootKind) -> bool {
        true
    }

    fn passphrase(&self, _: bool) -> Result<SecretBytes, String> {
        Err("there is none".to_owned())
    }

    fn reach(&self, root: &RootKind) -> Result<Root, String> {
        let mut failures = Vec::new();
        for keyring in &self.keyrings {
            match root_of(keyring) {
                Ok(found) if found.kind == *root => {
                    self.reached.fetch_add(1, Ordering::SeqCst);
                    return Ok(found);
                }
                Ok(_) => {}
                Err(error) => failures.push(error.to_string()),
            }
        }
        Err(format!("{root}: {}", failures.join("; ")))
    }

    fn make(&self, name: &str) -> Result<Root, String> {
        let keyring = &self.keyrings[name.parse::<usize>().unwrap()];
        let made = keyring.connect(true).and_then(|()| root_of(keyring));
        made.map_err(|error| error.to_string())
    }
}

fn place() -> Home {
    Home {
        partition: "aws".into(),
        region: "local".into(),
        account: "000000000000".into(),
    }
}

fn encrypts(engine: &Engine, key: &str) -> Result<(), ErrorCode> {
    let input = EncryptRequest {
        key_id: key.to_owned(),
        plaintext: SecretBlob(SecretBytes::copy_of(b"secret")),
        ..EncryptRequest::default()
    };
    let request = engine.by_owner("test", input).map_err(|error| error.code)?;
    engine.call(request).map(drop).map_err(|error| error.code)
}

fn within(limit: Duration, holds: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < limit {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// In the process that has SoftHSM's configuration.
fn faults(directory: &Path) {
    let (one, two) = (Device::new(directory, "one"), Device::new(directory, "two"));
    one.plan("");
    two.plan("");
    let home = directory.join("home");
    let devices = Devices::of(&[&one, &two]);
    let entropy = || Arc::new(SystemEntropy);
    let first = [Wanted::Elsewhere("0".to_owned())];
    init(&home, &place(), devices.clone(), &first, entropy()).unwrap();
    let second = Wanted::Elsewhere("1".to_owned());
    add_root(&home, devices.clone(), &second, entropy()).unwrap();
    drop(devices);

    let (faults, calls) = every_error_at_every_call(&one);
    let altered = altered_bytes(&one);
    let openings = another_device_is_used(&home, &one, &two);
    let hung = a_device_that_hangs_is_given_up(&home, &one);
    wrong_pins(&one);
    let edges = sealed_after_the_lease(directory, &one);
    println!(
        "{SHOWN}{faults} faults ({calls} calls x {} codes) and {altered} altered answers, no wrong key, \
         no second PIN; {openings} failovers, {hung} with a device that hangs; {edges} seals and recoveries",
        CODES.len()
    );
}

fn context() -> EncryptionContext {
    let mut context = EncryptionContext::new();
    context.insert("purpose", "promise 10").unwrap();
    context
}

/// A key, as the device wrapped it.
fn wrapped(device: &Device) -> (DataKey, EncryptedDataKey) {
    let keyring = device.keyring(PIN);
    let key = DataKey::new(SecretBytes::copy_of(b"a domain key of thirty-two bytes"));
    let wrapped = pollster::block_on(keyring.wrap(&key, &context()));
    (key, wrapped.unwrap().remove(0))
}

/// Opens it as a process that starts, with a fault; it may fail, and may not give another key. Whether it
/// was opened.
fn opens(device: &Device, key: &DataKey, wrapped: &EncryptedDataKey) -> bool {
    let keyring = device.keyring(PIN);
    match pollster::block_on(keyring.unwrap(wrapped, &context())) {
        Ok(Unwrapped::Key(found)) => {
            assert_eq!(found.expose(), key.expose());
            true
        }
        Ok(Unwrapped::NotMine) => panic!("it is its own"),
        Err(_) => false,
    }
}

fn every_error_at_every_call(device: &Device) -> (usize, usize) {
    let (key, wrapped) = wrapped(device);
    device.plan("");
    assert!(opens(device, &key, &wrapped));
    let calls = device.calls();
    for function in [
        "C_Login",
        "C_FindObjects",
        "C_GetAttributeValue",
        "C_Decrypt",
    ] {
        assert!(calls.contains_key(function), "{calls:?}");
    }
    let (mut faults, mut survived) = (0, 0);
    for (function, count) in &calls {
        for call in 1..=*count {
            for code in CODES {
                device.plan(&format!("{function} {call} fail {code}"));
                let opened = opens(device, &key, &wrapped);
                assert!(device.logins() <= 1, "{function} {call} {code:#x}");
                // On a connection that is new, what fails has failed.
                survived += usize::from(opened);
                faults += 1;
            }
        }
    }
    // Such as "initialized already", and failures while a session is closed.
    assert!(survived < faults / 4, "{survived} of {faults}");
    device.plan("");
    assert!(opens(device, &key, &wrapped));
    (faults, calls.values().sum())
}

fn altered_bytes(device: &Device) -> usize {
    let (key, wrapped) = wrapped(device);
    device.plan("C_Decrypt 0 xor");
    assert!(!opens_bytes(device, &key, &wrapped));
    device.plan("");
    assert!(opens_bytes(device, &key, &wrapped));
    1
}

/// As [`opens`], where altered bytes may come out of the device: what is compared with the known answer of
/// the store is in [`another_device_is_used`].
fn opens_bytes(device: &Device, key: &DataKey, wrapped: &EncryptedDataKey) -> bool {
    let keyring = device.keyring(PIN);
    let opened = pollster::block_on(keyring.unwrap(wrapped, &context()));
    matches!(opened, Ok(Unwrapped::Key(found)) if found.expose() == key.expose())
}

/// A home that hangs from two devices opens, whatever one of them does, and opens as the same.
fn another_device_is_used(home: &Path, one: &Device, two: &Device) -> usize {
    let open = || {
        let devices = Devices::of(&[one, two]);
        EmbeddedHome::open(home, &place(), devices, Arc::new(SystemEntropy))
    };
    one.plan("");
    let opened = open().unwrap();
    let request = opened
        .engine()
        .by_owner("test", CreateKeyRequest::default());
    let made = opened.engine().call(request.unwrap()).unwrap();
    let key = made.key_metadata.key_id;
    drop(opened);
    let calls = one.calls();
    let codes = match std::env::var_os("WAXSEAL_LONG") {
        Some(_) => CODES,
        None => FEW_CODES,
    };
    let mut plans: Vec<String> = Vec::new();
    for (function, count) in &calls {
        for code in codes {
            plans.push(format!("{function} 0 fail {code}"));
            if *count > 1 {
                plans.push(format!("{function} {count} fail {code}"));
            }
        }
    }
    plans.push("C_Decrypt 0 xor".to_owned());
    for plan in &plans {
        one.plan(plan);
        let begun = Instant::now();
        let opened = open().unwrap_or_else(|error| panic!("{plan}: {error}"));
        assert!(begun.elapsed() < PATIENCE);
        encrypts(opened.engine(), &key).unwrap();
        assert!(one.logins() <= 1, "{plan}");
    }
    one.plan("C_Decrypt 0 xor");
    two.plan(&format!("C_OpenSession 0 fail {TOKEN_NOT_PRESENT}"));
    let error = open().unwrap_err().to_string();
    assert!(error.contains("does not open this store"), "{error}");
    assert!(
        error.contains("C_OpenSession") || error.contains("OpenSession"),
        "{error}"
    );
    one.plan("");
    two.plan("");
    plans.len()
}

fn a_device_that_hangs_is_given_up(home: &Path, one: &Device) -> usize {
    let two = Device::new(one.module.parent().unwrap(), "two");
    let mut hung = 0;
    for function in ["C_GetTokenInfo", "C_OpenSession", "C_Login", "C_Decrypt"] {
        one.plan(&format!("{function} 0 hang {HANG_MILLIS}"));
        let devices = Devices::of(&[one, &two]);
        let begun = Instant::now();
        let opened = EmbeddedHome::open(home, &place(), devices, Arc::new(SystemEntropy));
        opened.unwrap_or_else(|error| panic!("{function}: {error}"));
        // It is not waited for to its end.
        assert!(
            begun.elapsed() < Duration::from_millis(HANG_MILLIS),
            "{function}"
        );
        hung += 1;
    }
    one.plan("");
    // What hung comes to its end, in a thread that nobody waits for.
    std::thread::sleep(Duration::from_millis(HANG_MILLIS + 500));
    hung
}

/// A PIN that the device refused is never tried again, nor is one that it knows nothing of.
fn wrong_pins(device: &Device) {
    let (key, wrapped) = wrapped(device);
    for code in [PIN_INCORRECT, 0xa1, 0xa2, 0xa3, 0xa4] {
        device.plan(&format!("C_Login 0 fail {code}"));
        let keyring = device.keyring(PIN);
        for _ in 0..5 {
            assert!(pollster::block_on(keyring.unwrap(&wrapped, &context())).is_err());
            assert_eq!(keyring.connect(false), Err(HsmError::Pin));
        }
        assert_eq!(device.logins(), 1);
    }
    // One that was accepted is used again when the session was lost, and only once when it is refused then.
    device.plan("");
    let keyring = device.keyring(PIN);
    let unwrap = || pollster::block_on(keyring.unwrap(&wrapped, &context()));
    assert!(matches!(unwrap(), Ok(Unwrapped::Key(_))));
    device.plan(&format!("C_DecryptInit 1 fail {SESSION_HANDLE_INVALID}"));
    assert!(matches!(unwrap(), Ok(Unwrapped::Key(_))));
    assert_eq!(device.logins(), 1);
    device.plan(&format!(
        "C_DecryptInit 0 fail {SESSION_HANDLE_INVALID}\nC_Login 0 fail {PIN_INCORRECT}"
    ));
    for _ in 0..5 {
        assert!(unwrap().is_err());
    }
    assert_eq!(device.logins(), 1);
    device.plan("");
    assert!(unwrap().is_err());
    assert_eq!(device.logins(), 0);
    assert!(opens(device, &key, &wrapped));
}

/// Without its one device an engine goes on for its lease, then is sealed; with it, it serves again.
fn sealed_after_the_lease(directory: &Path, one: &Device) -> usize {
    one.plan("");
    let home = directory.join("leased");
    let devices = Devices::of(&[one]);
    let opened = EmbeddedHome::open(&home, &place(), devices, Arc::new(SystemEntropy)).unwrap();
    let engine = opened.engine();
    let request = engine.by_owner("test", CreateKeyRequest::default());
    let key = engine.call(request.unwrap()).unwrap().key_metadata.key_id;
    let lease = Duration::from_secs(2);
    let _keeper = opened.keep_lease(lease, |_| {}).unwrap();
    let plans = [
        format!("C_DecryptInit 0 fail {DEVICE_ERROR}"),
        format!(
            "C_GetSlotList 0 fail {DEVICE_ERROR}\nC_DecryptInit 0 fail {SESSION_HANDLE_INVALID}"
        ),
        "C_Decrypt 0 hang 6000".to_owned(),
        "C_Decrypt 0 xor".to_owned(),
    ];
    for plan in &plans {
        encrypts(engine, &key).unwrap();
        one.plan(plan);
        encrypts(engine, &key).unwrap();
        let lost = Instant::now();
        assert!(within(PATIENCE, || engine.why_sealed().is_some()), "{plan}");
        assert!(lost.elapsed() > lease / 3, "{plan}: {:?}", lost.elapsed());
        assert_eq!(encrypts(engine, &key), Err(ErrorCode::KeyUnavailable));
        one.plan("");
        assert!(within(PATIENCE, || engine.why_sealed().is_none()), "{plan}");
        encrypts(engine, &key).unwrap();
    }
    // A session that was lost is begun anew, and nobody notices.
    one.plan(&format!("C_DecryptInit 1 fail {SESSION_HANDLE_INVALID}"));
    assert!(within(PATIENCE, || one.logins() == 1));
    std::thread::sleep(2 * lease);
    assert!(engine.why_sealed().is_none());
    plans.len()
}
