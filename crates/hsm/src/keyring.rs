//! One AES key in a device as a keyring.
//!
//! With a device that has AES-GCM:
//!
//! ```text
//! provider info   label
//! ciphertext      nonce 12 | AES-256-GCM by the device of ( "WXRK" | data key ) | tag 16
//! ```
//!
//! With one that has not, such as a TPM:
//!
//! ```text
//! provider info   label | 00 | "aes-cbc" or "aes-ecb"
//! ciphertext      salt 32 | AES-256-GCM of ( "WXRK" | data key ) under K, nonce of zeros | tag 16
//! blocks          SHA-256( "waxseal-hsm/prf/1" | salt )
//! secret          AES by the device of blocks, in CBC mode with an IV of zeros, or in ECB mode
//! K               HKDF-SHA-256( salt, secret, "waxseal-hsm/key/1" | SHA-256( context ) )
//! ```
//!
//! The associated data is in both cases the encryption context, serialized (AWS Encryption SDK,
//! structures). The four letters are a known answer: a device that opens anything to something else is
//! not believed.

use crate::device::{Failed, HsmError, Line, Mode, Wrapping};
use crate::token::{may_be_unauthentic, told};
use crate::uri::KeyUri;
use crate::worker::Worker;
use std::sync::Arc;
use std::time::Duration;
use waxseal_core::crypto::aead::AesGcm;
use waxseal_core::crypto::hash::sha256;
use waxseal_core::crypto::kdf::{self, HkdfHash};
use waxseal_core::crypto::random::{self, Entropy};
use waxseal_core::keyring::{BoxFuture, Generated, Unwrapped, fresh_data_key};
use waxseal_core::{
    DataKey, EncryptedDataKey, EncryptionContext, Keyring, KeyringError, SecretBytes,
};

/// How long a device may take for what it is asked, unless somebody says otherwise.
pub const DEADLINE: Duration = Duration::from_secs(10);

const KNOWN: &[u8; 4] = b"WXRK";
const NONCE_BYTES: usize = 12;
const SALT_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const PRF_LABEL: &[u8] = b"waxseal-hsm/prf/1";
const KEY_LABEL: &[u8] = b"waxseal-hsm/key/1";
/// Two blocks.
const SECRET_BYTES: usize = 32;

/// Gives the PIN, whenever the device is logged in to.
pub type Pin = Box<dyn Fn() -> Result<SecretBytes, String> + Send>;

/// An AES key in a device.
pub struct HsmKeyring {
    provider_id: String,
    object: String,
    entropy: Arc<dyn Entropy>,
    deadline: Duration,
    line: Worker<Line>,
}

impl std::fmt::Debug for HsmKeyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HsmKeyring({})", self.object)
    }
}

impl HsmKeyring {
    /// The key that `uri` names. The device is asked for nothing yet. Wrapped keys get `provider_id`.
    ///
    /// Each call may take as long as `deadline` ([`DEADLINE`]). A PIN that the device refused is not tried
    /// again.
    ///
    /// # Errors
    /// [`HsmError::Library`] when there can be no thread.
    pub fn new(
        provider_id: impl Into<String>,
        uri: KeyUri,
        pin: Pin,
        entropy: Arc<dyn Entropy>,
        deadline: Duration,
    ) -> Result<Self, HsmError> {
        let object = uri.object.clone();
        let line = Worker::start(Line::new(uri, pin), deadline);
        Ok(Self {
            provider_id: provider_id.into(),
            object,
            entropy,
            deadline,
            line: line.map_err(|error| HsmError::Library(error.to_string()))?,
        })
    }

    /// The serial number of the device. Nobody logs in for that.
    ///
    /// # Errors
    /// [`HsmError::Library`], [`HsmError::Token`], [`HsmError::Late`].
    pub fn serial(&self) -> Result<String, HsmError> {
        let serial = self.line.run(Line::serial);
        serial.unwrap_or_else(|_| Err(self.late()))
    }

    /// Finds the key, or makes it in the device when `make` says so and there is none.
    ///
    /// The key is checked: AES of 256 bits, generated on the device, never readable and never to be.
    ///
    /// # Errors
    /// As the variants of [`HsmError`] say.
    pub fn connect(&self, make: bool) -> Result<(), HsmError> {
        let connected = self.line.run(move |line| line.connect(make).map(drop));
        connected.unwrap_or_else(|_| Err(self.late()))
    }

    /// The label of the key.
    pub fn object(&self) -> &str {
        &self.object
    }

    fn seal(
        &self,
        key: &DataKey,
        context: &EncryptionContext,
    ) -> Result<EncryptedDataKey, KeyringError> {
        let aad = self.serialized(context)?;
        let text = SecretBytes::new([KNOWN.as_slice(), key.expose()].concat());
        let connected = self.line.run(|line| Ok(line.connect(false)?.wrapping()));
        let wrapping = self.answered(connected)?;
        let mut provider_info = self.object.as_bytes().to_vec();
        provider_info.extend_from_slice(mark(wrapping));
        let ciphertext = match wrapping {
            Wrapping::Gcm => self.seal_there(aad, text)?,
            Wrapping::Prf(mode) => self.seal_here(mode, &aad, text)?,
        };
        Ok(EncryptedDataKey {
            provider_id: self.provider_id.clone(),
            provider_info,
            ciphertext,
        })
    }

    /// By the device's own AES-GCM.
    fn seal_there(&self, aad: Vec<u8>, text: SecretBytes) -> Result<Vec<u8>, KeyringError> {
        let nonce: [u8; NONCE_BYTES] = self.random()?;
        let sealed_bytes = text.len() + TAG_BYTES;
        let sealed = self
            .line
            .run(move |line| line.with(|key| key.seal_gcm(&nonce, &aad, &text)));
        let sealed = self.answered(sealed)?;
        if sealed.len() != sealed_bytes {
            return Err(self.failed("it sealed to another length".to_owned()));
        }
        Ok([&nonce[..], &sealed].concat())
    }

    /// Under a key that is derived from what the device makes of a fresh salt.
    fn seal_here(
        &self,
        mode: Mode,
        aad: &[u8],
        text: SecretBytes,
    ) -> Result<Vec<u8>, KeyringError> {
        let salt: [u8; SALT_BYTES] = self.random()?;
        let cipher = self.derived(mode, &salt, aad)?;
        let mut out = [&salt[..], text.expose()].concat();
        // Each salt has a key of its own.
        let tag = cipher
            .seal([0; NONCE_BYTES], aad, &mut out[SALT_BYTES..])
            .map_err(|error| self.failed(error.to_string()))?;
        out.extend_from_slice(&tag);
        Ok(out)
    }

    fn derived(&self, mode: Mode, salt: &[u8], aad: &[u8]) -> Result<AesGcm, KeyringError> {
        let blocks = sha256(&[PRF_LABEL, salt]);
        let secret = self
            .line
            .run(move |line| line.with(|key| key.secret(mode, &blocks)));
        let secret = self.answered(secret)?;
        if secret.len() != SECRET_BYTES || secret.ct_eq(&blocks) {
            return Err(self.failed("what it computed is no secret".to_owned()));
        }
        let mut key = SecretBytes::zeroed(32);
        let failed = |error: &dyn std::fmt::Display| self.failed(error.to_string());
        kdf::extract(HkdfHash::Sha256, salt, secret.expose())
            .expand(&[KEY_LABEL, &sha256(&[aad])], key.expose_mut())
            .map_err(|error| failed(&error))?;
        AesGcm::new(key.expose()).map_err(|error| failed(&error))
    }

    fn open_sealed(
        &self,
        encrypted: &EncryptedDataKey,
        context: &EncryptionContext,
    ) -> Result<Unwrapped, KeyringError> {
        let mark_of = encrypted
            .provider_info
            .strip_prefix(self.object.as_bytes())
            .filter(|_| encrypted.provider_id == self.provider_id);
        let wrapping = mark_of.and_then(|found| {
            let mut known = WRAPPINGS.iter();
            known.find(|wrapping| mark(**wrapping) == found)
        });
        let Some(wrapping) = wrapping else {
            return Ok(Unwrapped::NotMine);
        };
        let aad = self.serialized(context)?;
        let opened = match wrapping {
            Wrapping::Gcm => self.open_there(&encrypted.ciphertext, aad)?,
            Wrapping::Prf(mode) => self.open_here(*mode, &encrypted.ciphertext, &aad)?,
        };
        match opened.expose().strip_prefix(KNOWN) {
            Some(key) => Ok(Unwrapped::Key(DataKey::new(SecretBytes::copy_of(key)))),
            None => Err(self.unauthentic()),
        }
    }

    fn open_there(&self, ciphertext: &[u8], aad: Vec<u8>) -> Result<SecretBytes, KeyringError> {
        let (nonce, sealed) = ciphertext
            .split_at_checked(NONCE_BYTES)
            .ok_or_else(|| self.unauthentic())?;
        let (nonce, sealed) = (nonce.to_vec(), sealed.to_vec());
        let opened = self
            .line
            .run(move |line| line.with(|key| key.open_gcm(&nonce, &aad, &sealed)));
        match opened {
            Ok(Err(Failed::Call(error))) if may_be_unauthentic(&error) => Err(self.unauthentic()),
            opened => self.answered(opened),
        }
    }

    fn open_here(
        &self,
        mode: Mode,
        ciphertext: &[u8],
        aad: &[u8],
    ) -> Result<SecretBytes, KeyringError> {
        let (salt, sealed) = ciphertext
            .split_at_checked(SALT_BYTES)
            .ok_or_else(|| self.unauthentic())?;
        let cipher = self.derived(mode, salt, aad)?;
        let mut text = SecretBytes::copy_of(sealed);
        let bytes = cipher
            .open([0; NONCE_BYTES], aad, text.expose_mut())
            .map_err(|_| self.unauthentic())?;
        Ok(SecretBytes::copy_of(&text.expose()[..bytes]))
    }

    fn serialized(&self, context: &EncryptionContext) -> Result<Vec<u8>, KeyringError> {
        let serialized = context.serialize();
        serialized.map_err(|error| self.failed(error.to_string()))
    }

    fn random<const N: usize>(&self) -> Result<[u8; N], KeyringError> {
        random::array(self.entropy.as_ref()).map_err(|error| self.failed(error.to_string()))
    }

    /// What the device answered, if it did.
    fn answered<T, L>(&self, answer: Result<Result<T, Failed>, L>) -> Result<T, KeyringError> {
        let error = match answer {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(Failed::Call(error))) => return Err(self.failed(told(&error))),
            Ok(Err(Failed::Device(error))) => error,
            Err(_) => self.late(),
        };
        let (key, reason) = (self.object.clone(), error.to_string());
        Err(match error {
            HsmError::Late(_) | HsmError::Token(_) => KeyringError::Unreachable { key, reason },
            HsmError::Pin => KeyringError::AccessDenied { key, reason },
            _ => KeyringError::Service { key, reason },
        })
    }

    fn late(&self) -> HsmError {
        HsmError::Late(self.deadline)
    }

    fn failed(&self, reason: String) -> KeyringError {
        KeyringError::Service {
            key: self.object.clone(),
            reason: format!("the device: {reason}"),
        }
    }

    fn unauthentic(&self) -> KeyringError {
        KeyringError::Unauthentic {
            key: self.object.clone(),
        }
    }
}

const WRAPPINGS: [Wrapping; 3] = [
    Wrapping::Gcm,
    Wrapping::Prf(Mode::Cbc),
    Wrapping::Prf(Mode::Ecb),
];

/// What follows the label in the provider info.
fn mark(wrapping: Wrapping) -> &'static [u8] {
    match wrapping {
        Wrapping::Gcm => b"",
        Wrapping::Prf(Mode::Cbc) => b"\0aes-cbc",
        Wrapping::Prf(Mode::Ecb) => b"\0aes-ecb",
    }
}

impl Drop for HsmKeyring {
    /// Ends the session, unless the device hangs.
    fn drop(&mut self) {
        // One that hangs is left to itself.
        let _ = self.line.run(Line::close);
    }
}

impl Keyring for HsmKeyring {
    fn generate<'a>(
        &'a self,
        key_bytes: usize,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
        Box::pin(async move {
            let label = || self.object.clone();
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
