//! One key in a device, found or made, checked, and used.

use crate::token::{self, KEY_BYTES, NotOne, PEDIGREE, TAG_BITS, told};
use crate::uri::KeyUri;
use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use std::time::Duration;
use waxseal_core::SecretBytes;

/// The length of a block of AES.
const BLOCK_BYTES: usize = 16;

/// Why a device cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HsmError {
    /// The library could not be loaded, or answered with an error.
    #[error("the device's library {0}")]
    Library(String),
    /// No token, or more than one, of that name.
    #[error("{0}")]
    Token(String),
    /// There is no PIN to be had.
    #[error("{0}")]
    NoPin(String),
    /// The device refused the PIN. It was tried once: devices lock after a few.
    #[error(
        "the device refused the PIN; it was not tried again, since devices lock after a few attempts"
    )]
    Pin,
    /// The key is not there, or there twice.
    #[error("{0}")]
    Key(String),
    /// The key is not as a root key must be.
    #[error("the key in the device is not fit for a root key: {0}")]
    Unfit(&'static str),
    /// The device did not answer in time.
    #[error("the device did not answer within {0:?}")]
    Late(Duration),
}

/// How a device wraps, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrapping {
    /// By AES-GCM, all of it in the device.
    Gcm,
    /// The device computes a secret by AES in this mode; what it is for is done here.
    Prf(Mode),
}

/// A mode of AES that a device without AES-GCM has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// With an initialization vector of zeros.
    Cbc,
    Ecb,
}

impl Wrapping {
    /// The strongest that a device with these mechanisms has.
    fn of(mechanisms: &[MechanismType]) -> Result<Self, HsmError> {
        let known = [
            (MechanismType::AES_GCM, Self::Gcm),
            (MechanismType::AES_CBC, Self::Prf(Mode::Cbc)),
            (MechanismType::AES_ECB, Self::Prf(Mode::Ecb)),
        ];
        let found = known.iter().find(|(needs, _)| mechanisms.contains(needs));
        let none = HsmError::Unfit("the device has neither AES-GCM nor AES-CBC nor AES-ECB");
        found.map(|(_, wrapping)| *wrapping).ok_or(none)
    }
}

/// The way to a key, which begins anew after a failure.
pub(crate) struct Line {
    pub(crate) uri: KeyUri,
    pub(crate) pin: Box<dyn Fn() -> Result<SecretBytes, String> + Send>,
    device: Option<Pkcs11>,
    connection: Option<Connection>,
    /// The PIN is wrong, and is not tried again.
    is_refused: bool,
}

/// A key, and a session that is logged in.
pub(crate) struct Connection {
    session: Session,
    key: ObjectHandle,
    serial: String,
    wrapping: Wrapping,
}

impl Line {
    pub(crate) fn new(
        uri: KeyUri,
        pin: Box<dyn Fn() -> Result<SecretBytes, String> + Send>,
    ) -> Self {
        Self {
            uri,
            pin,
            device: None,
            connection: None,
            is_refused: false,
        }
    }

    /// The serial number of the token. Nobody logs in for that.
    pub(crate) fn serial(&mut self) -> Result<String, HsmError> {
        if let Some(connection) = &self.connection {
            return Ok(connection.serial.clone());
        }
        let uri = self.uri.clone();
        found(self.device()?, &uri).map(|(_, serial)| serial)
    }

    /// Does `work` with the key. What fails on a connection from before is tried once more on a new one:
    /// the device may have been away meanwhile.
    pub(crate) fn with<T>(
        &mut self,
        mut work: impl FnMut(&Connection) -> Result<T, Error>,
    ) -> Result<T, Failed> {
        if let Some(connection) = &self.connection {
            if let Ok(done) = work(connection) {
                return Ok(done);
            }
            self.connection = None;
        }
        let done = work(self.connect(false)?);
        if done.is_err() {
            self.connection = None;
        }
        done.map_err(Failed::Call)
    }

    /// Finds the key, or makes it when `make` says so and there is none, and checks it.
    pub(crate) fn connect(&mut self, make: bool) -> Result<&Connection, HsmError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connected(make)?,
        };
        Ok(self.connection.insert(connection))
    }

    fn connected(&mut self, make: bool) -> Result<Connection, HsmError> {
        if self.is_refused {
            return Err(HsmError::Pin);
        }
        let uri = self.uri.clone();
        let device = self.device()?;
        let (slot, serial) = found(device, &uri)?;
        let wrapping = Wrapping::of(&device.get_mechanism_list(slot).map_err(library)?)?;
        let session = match make {
            true => device.open_rw_session(slot),
            false => device.open_ro_session(slot),
        };
        let session = session.map_err(library)?;
        let pin = (self.pin)().map_err(HsmError::NoPin)?;
        let logged_in = login(&session, &pin);
        self.is_refused = logged_in == Err(HsmError::Pin);
        logged_in?;
        let key = match find(&session, &uri)? {
            Some(key) => key,
            None if make => generate(&session, &uri)?,
            None => {
                return Err(HsmError::Key(format!(
                    "there is no key '{}' in the device {serial}",
                    uri.object
                )));
            }
        };
        check(&session, key)?;
        Ok(Connection {
            session,
            key,
            serial,
            wrapping,
        })
    }

    /// Ends the session.
    pub(crate) fn close(&mut self) {
        self.connection = None;
    }

    fn device(&mut self) -> Result<&Pkcs11, HsmError> {
        let device = match self.device.take() {
            Some(device) => device,
            None => loaded(&self.uri)?,
        };
        Ok(self.device.insert(device))
    }
}

/// Why something was not done.
pub(crate) enum Failed {
    /// There was nobody to do it.
    Device(HsmError),
    /// The device answered with an error.
    Call(Error),
}

impl From<HsmError> for Failed {
    fn from(error: HsmError) -> Self {
        Self::Device(error)
    }
}

impl Connection {
    pub(crate) fn wrapping(&self) -> Wrapping {
        self.wrapping
    }

    pub(crate) fn seal_gcm(
        &self,
        nonce: &[u8],
        aad: &[u8],
        text: &SecretBytes,
    ) -> Result<Vec<u8>, Error> {
        let mut iv = nonce.to_vec();
        let params = GcmParams::new(&mut iv, aad, TAG_BITS.into())?;
        let mechanism = Mechanism::AesGcm(params);
        self.session.encrypt(&mechanism, self.key, text.expose())
    }

    pub(crate) fn open_gcm(
        &self,
        nonce: &[u8],
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<SecretBytes, Error> {
        let mut iv = nonce.to_vec();
        let params = GcmParams::new(&mut iv, aad, TAG_BITS.into())?;
        let mechanism = Mechanism::AesGcm(params);
        let opened = self.session.decrypt(&mechanism, self.key, sealed)?;
        Ok(SecretBytes::new(opened))
    }

    /// What AES under the key makes of some blocks.
    pub(crate) fn secret(&self, mode: Mode, blocks: &[u8]) -> Result<SecretBytes, Error> {
        let mechanism = match mode {
            Mode::Cbc => Mechanism::AesCbc([0; BLOCK_BYTES]),
            Mode::Ecb => Mechanism::AesEcb,
        };
        let secret = self.session.encrypt(&mechanism, self.key, blocks)?;
        Ok(SecretBytes::new(secret))
    }
}

fn library(error: Error) -> HsmError {
    HsmError::Library(told(&error))
}

fn loaded(uri: &KeyUri) -> Result<Pkcs11, HsmError> {
    token::loaded(&uri.module).map_err(HsmError::Library)
}

/// The one token that the name fits, and its serial number.
fn found(device: &Pkcs11, uri: &KeyUri) -> Result<(Slot, String), HsmError> {
    match token::one(device, uri.token.as_deref(), uri.serial.as_deref()) {
        Ok((slot, token)) => Ok((slot, token.serial_number().trim_end().to_owned())),
        Err(NotOne::Failed(why)) => Err(HsmError::Library(why)),
        Err(NotOne::Absent(why) | NotOne::Several(why)) => Err(HsmError::Token(why)),
    }
}

fn login(session: &Session, pin: &SecretBytes) -> Result<(), HsmError> {
    let text = std::str::from_utf8(pin.expose()).map_err(|_| HsmError::Pin)?;
    let pin = AuthPin::from(text.to_owned());
    match session.login(UserType::User, Some(&pin)) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Error::Pkcs11(
            RvError::PinIncorrect
            | RvError::PinInvalid
            | RvError::PinLenRange
            | RvError::PinExpired
            | RvError::PinLocked,
            _,
        )) => Err(HsmError::Pin),
        Err(error) => Err(library(error)),
    }
}

fn find(session: &Session, uri: &KeyUri) -> Result<Option<ObjectHandle>, HsmError> {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::Label(uri.object.as_bytes().to_vec()),
    ];
    let found = session.find_objects(&template).map_err(library)?;
    match found[..] {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => Err(HsmError::Key(format!(
            "there are {} keys '{}' in the device: give the one that is meant a label of its own",
            found.len(),
            uri.object
        ))),
    }
}

fn generate(session: &Session, uri: &KeyUri) -> Result<ObjectHandle, HsmError> {
    let template = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Modifiable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::ValueLen(KEY_BYTES.into()),
        Attribute::Label(uri.object.as_bytes().to_vec()),
    ];
    let made = session.generate_key(&Mechanism::AesKeyGen, &template);
    made.map_err(|error| match error {
        Error::Pkcs11(RvError::FunctionNotSupported | RvError::MechanismInvalid, _) => {
            HsmError::Key(format!(
                "the device makes no AES keys for others: make '{}' with its own tool (for a TPM: \
                 tpm2_ptool addkey --algorithm=aes256)",
                uri.object
            ))
        }
        error => library(error),
    })
}

/// Refuses a key that ever was, or could be, anywhere else.
fn check(session: &Session, key: ObjectHandle) -> Result<(), HsmError> {
    let told_of = session.get_attributes(key, &PEDIGREE).map_err(library)?;
    token::elsewhere(&told_of).map_or(Ok(()), |otherwise| Err(HsmError::Unfit(otherwise)))
}
