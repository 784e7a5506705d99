//! One AES key in a device as a keyring.
//!
//! ```text
//! ciphertext = nonce 12 | AES-256-GCM by the device of ( "WXRK" | data key ) | tag 16
//! associated data = the encryption context, serialized (AWS Encryption SDK, structures)
//! ```
//!
//! The four letters are a known answer: a device that opens anything to something else is not
//! believed.

use crate::uri::KeyUri;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use std::sync::{Arc, Mutex, PoisonError};
use waxseal_core::crypto::random::{self, Entropy};
use waxseal_core::keyring::{BoxFuture, Generated, Unwrapped, fresh_data_key};
use waxseal_core::{
    DataKey, EncryptedDataKey, EncryptionContext, Keyring, KeyringError, SecretBytes,
};

const KNOWN: &[u8; 4] = b"WXRK";
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const KEY_BYTES: u64 = 32;
const TAG_BITS: u64 = 128;

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HsmError {
    /// The library could not be loaded, or answered with an error.
    #[error("the device's library {0}")]
    Library(String),
    /// No token, or more than one, of that name.
    #[error("{0}")]
    Token(String),
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
}

/// An AES key in a device, and a session that is logged in.
pub struct HsmKeyring {
    provider_id: String,
    uri: KeyUri,
    /// Of the token that was found.
    serial: String,
    entropy: Arc<dyn Entropy>,
    /// One request at a time: sessions are not for several threads.
    session: Mutex<(Session, ObjectHandle)>,
}

impl std::fmt::Debug for HsmKeyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HsmKeyring({} in {})", self.uri.object, self.serial)
    }
}

impl HsmKeyring {
    /// Opens the device and finds the key, or makes it there when `make` says so and there is none.
    /// Wrapped keys get `provider_id`.
    ///
    /// The key is checked: AES of 256 bits, generated on the device, never readable and never to be.
    ///
    /// # Errors
    /// As the variants of [`HsmError`] say.
    pub fn open(
        provider_id: impl Into<String>,
        uri: KeyUri,
        pin: &SecretBytes,
        make: bool,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, HsmError> {
        let library = |error: Error| HsmError::Library(told(&error));
        let device = Pkcs11::new(&uri.module).map_err(|error| {
            HsmError::Library(format!(
                "{} cannot be loaded: {error}",
                uri.module.display()
            ))
        })?;
        match device.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            // Another store of this process has it open already.
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(library(error)),
        }
        let (slot, serial) = token(&device, &uri)?;
        if !device
            .get_mechanism_list(slot)
            .map_err(library)?
            .contains(&MechanismType::AES_GCM)
        {
            return Err(HsmError::Unfit("the device has no AES-GCM (CKM_AES_GCM)"));
        }
        let session = match make {
            true => device.open_rw_session(slot),
            false => device.open_ro_session(slot),
        };
        let session = session.map_err(library)?;
        login(&session, pin)?;
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
        Ok(Self {
            provider_id: provider_id.into(),
            uri,
            serial,
            entropy,
            session: Mutex::new((session, key)),
        })
    }

    /// The serial number of the device.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The label of the key.
    pub fn object(&self) -> &str {
        &self.uri.object
    }

    fn seal(
        &self,
        key: &DataKey,
        context: &EncryptionContext,
    ) -> Result<EncryptedDataKey, KeyringError> {
        let failed = |reason: String| self.failed(reason);
        let aad = context
            .serialize()
            .map_err(|error| failed(error.to_string()))?;
        let nonce: [u8; NONCE_BYTES] =
            random::array(self.entropy.as_ref()).map_err(|error| failed(error.to_string()))?;
        let mut iv = nonce;
        let plaintext = SecretBytes::new([KNOWN.as_slice(), key.expose()].concat());
        let params = GcmParams::new(&mut iv, &aad, TAG_BITS.into());
        let params = params.map_err(|error| failed(told(&error)))?;
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let sealed = session
            .0
            .encrypt(&Mechanism::AesGcm(params), session.1, plaintext.expose());
        let sealed = sealed.map_err(|error| failed(told(&error)))?;
        if sealed.len() != plaintext.len() + TAG_BYTES {
            return Err(failed("it sealed to another length".to_owned()));
        }
        Ok(EncryptedDataKey {
            provider_id: self.provider_id.clone(),
            provider_info: self.uri.object.as_bytes().to_vec(),
            ciphertext: [&nonce[..], &sealed].concat(),
        })
    }

    fn open_sealed(
        &self,
        encrypted: &EncryptedDataKey,
        context: &EncryptionContext,
    ) -> Result<Unwrapped, KeyringError> {
        if encrypted.provider_id != self.provider_id
            || encrypted.provider_info != self.uri.object.as_bytes()
        {
            return Ok(Unwrapped::NotMine);
        }
        let unauthentic = || KeyringError::Unauthentic {
            key: self.uri.object.clone(),
        };
        let (nonce, sealed) = encrypted
            .ciphertext
            .split_at_checked(NONCE_BYTES)
            .ok_or_else(unauthentic)?;
        let aad = context
            .serialize()
            .map_err(|error| self.failed(error.to_string()))?;
        let mut iv = nonce.to_vec();
        let params = GcmParams::new(&mut iv, &aad, TAG_BITS.into());
        let params = params.map_err(|error| self.failed(told(&error)))?;
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = session
            .0
            .decrypt(&Mechanism::AesGcm(params), session.1, sealed)
            .map(SecretBytes::new);
        let opened = opened.map_err(|error| match error {
            // What a wrong tag is called differs.
            Error::Pkcs11(
                RvError::EncryptedDataInvalid
                | RvError::EncryptedDataLenRange
                | RvError::GeneralError
                | RvError::FunctionFailed,
                _,
            ) => unauthentic(),
            error => self.failed(told(&error)),
        })?;
        match opened.expose().strip_prefix(KNOWN) {
            Some(key) => Ok(Unwrapped::Key(DataKey::new(SecretBytes::copy_of(key)))),
            None => Err(unauthentic()),
        }
    }

    fn failed(&self, reason: String) -> KeyringError {
        KeyringError::Service {
            key: self.uri.object.clone(),
            reason: format!("the device {}: {reason}", self.serial),
        }
    }
}

impl Keyring for HsmKeyring {
    fn generate<'a>(
        &'a self,
        key_bytes: usize,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
        Box::pin(async move {
            let label = || self.uri.object.clone();
            let key = fresh_data_key(key_bytes, self.entropy.as_ref(), label)?;
            let encrypted = vec![self.seal(&key, context)?];
            Ok(Generated { key, encrypted })
        })
    }

    fn wrap<'a>(
        &'a self,
        key: &'a DataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>> {
        Box::pin(async move { Ok(vec![self.seal(key, context)?]) })
    }

    fn unwrap<'a>(
        &'a self,
        encrypted: &'a EncryptedDataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>> {
        Box::pin(async move { self.open_sealed(encrypted, context) })
    }
}

/// The error's name in the standard, where it has one.
fn told(error: &Error) -> String {
    match error {
        Error::Pkcs11(value, function) => format!("{function}: {value}"),
        other => other.to_string(),
    }
}

/// The one token that the name fits.
fn token(device: &Pkcs11, uri: &KeyUri) -> Result<(Slot, String), HsmError> {
    let library = |error: Error| HsmError::Library(told(&error));
    let mut found = Vec::new();
    for slot in device.get_slots_with_initialized_token().map_err(library)? {
        let token = device.get_token_info(slot).map_err(library)?;
        let fits = |wanted: &Option<String>, is: &str| {
            wanted.as_deref().is_none_or(|one| one == is.trim_end())
        };
        if fits(&uri.token, token.label()) && fits(&uri.serial, token.serial_number()) {
            found.push((slot, token.serial_number().trim_end().to_owned()));
        }
    }
    let named = uri
        .token
        .as_deref()
        .or(uri.serial.as_deref())
        .unwrap_or_default();
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(_), false) => Err(HsmError::Token(format!(
            "there are several tokens '{named}': give serial as well"
        ))),
        (None, _) => Err(HsmError::Token(format!("there is no token '{named}'"))),
    }
}

fn login(session: &Session, pin: &SecretBytes) -> Result<(), HsmError> {
    let text = std::str::from_utf8(pin.expose()).map_err(|_| HsmError::Pin)?;
    let pin = AuthPin::from(text.to_owned());
    match session.login(UserType::User, Some(&pin)) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Error::Pkcs11(
            RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange | RvError::PinLocked,
            _,
        )) => Err(HsmError::Pin),
        Err(error) => Err(HsmError::Library(told(&error))),
    }
}

fn find(session: &Session, uri: &KeyUri) -> Result<Option<ObjectHandle>, HsmError> {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::Label(uri.object.as_bytes().to_vec()),
    ];
    let found = session.find_objects(&template);
    let found = found.map_err(|error| HsmError::Library(told(&error)))?;
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
    session
        .generate_key(&Mechanism::AesKeyGen, &template)
        .map_err(|error| HsmError::Library(told(&error)))
}

/// Refuses a key that ever was, or could be, anywhere else.
fn check(session: &Session, key: ObjectHandle) -> Result<(), HsmError> {
    let asked = [
        AttributeType::KeyType,
        AttributeType::ValueLen,
        AttributeType::Local,
        AttributeType::Sensitive,
        AttributeType::AlwaysSensitive,
        AttributeType::NeverExtractable,
        AttributeType::Extractable,
    ];
    let told_of = session.get_attributes(key, &asked);
    let told_of = told_of.map_err(|error| HsmError::Library(told(&error)))?;
    for (wanted, otherwise) in [
        (Attribute::KeyType(KeyType::AES), "it is no AES key"),
        (Attribute::ValueLen(KEY_BYTES.into()), "it has not 256 bits"),
        (Attribute::Local(true), "it was not generated on the device"),
        (Attribute::Sensitive(true), "it can be read"),
        (Attribute::AlwaysSensitive(true), "it could once be read"),
        (Attribute::Extractable(false), "it can be taken out"),
        (
            Attribute::NeverExtractable(true),
            "it could once be taken out",
        ),
    ] {
        if !told_of.contains(&wanted) {
            return Err(HsmError::Unfit(otherwise));
        }
    }
    Ok(())
}
