//! One session with a device, in the one thread that it belongs to.

use super::{SALT_BYTES, VaultError, gone};
use crate::token::{KEY_BYTES, PEDIGREE, TAG_BITS, elsewhere, may_be_unauthentic, told, unlike};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::ekdf::AesCbcDeriveParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use std::collections::HashMap;
use waxseal_core::SecretBytes;

const TAG_BYTES: usize = 16;
const NONCE: [u8; 12] = [0; 12];
const TRIAL: [u8; 32] = [0x57; 32];

/// A session, and the keys that it found. Keys were looked at before they were kept.
pub(super) struct Desk {
    session: Session,
    keys: HashMap<String, ObjectHandle>,
}

impl Desk {
    pub(super) fn new(session: Session) -> Self {
        Self {
            session,
            keys: HashMap::new(),
        }
    }

    pub(super) fn generate(&mut self, label: &str) -> Result<(), VaultError> {
        if !self.labelled(label)?.is_empty() {
            return Err(VaultError::Key(format!("there is a key '{label}' already")));
        }
        let template = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Modifiable(false),
            Attribute::Derive(true),
            Attribute::Encrypt(false),
            Attribute::Decrypt(false),
            Attribute::Sign(false),
            Attribute::Verify(false),
            Attribute::Wrap(false),
            Attribute::Unwrap(false),
            Attribute::ValueLen(KEY_BYTES.into()),
            Attribute::Label(label.as_bytes().to_vec()),
        ];
        let made = self.session.generate_key(&Mechanism::AesKeyGen, &template);
        let made = made.map_err(|error| failed(&error))?;
        let tried = self.check(made).and_then(|()| self.try_out(label));
        if tried.is_err() {
            self.keys.remove(label);
            // It is not what was asked for, and nobody is told of it.
            let _ = self.session.destroy_object(made);
        }
        tried
    }

    /// A device that does not give back what it was given is no place for keys.
    fn try_out(&mut self, label: &str) -> Result<(), VaultError> {
        let salt = [1; SALT_BYTES];
        let key = self.message_key(label, &salt)?;
        let leaves = self.attributes(key, &[AttributeType::Sensitive, AttributeType::Extractable]);
        let _ = self.session.destroy_object(key);
        let leaves = leaves?;
        if !leaves.contains(&Attribute::Sensitive(true))
            || !leaves.contains(&Attribute::Extractable(false))
        {
            return Err(VaultError::Unfit("derived keys can leave it".to_owned()));
        }
        let plaintext = SecretBytes::copy_of(&TRIAL);
        let sealed = self.encrypt(label, &salt, b"trial", &plaintext)?;
        let other = self.encrypt(label, &[2; SALT_BYTES], b"trial", &plaintext)?;
        let opened = self.decrypt(label, &salt, b"trial", &sealed)?;
        let unbound = self.decrypt(label, &salt, b"other", &sealed);
        let is_bound = matches!(unbound, Err(VaultError::Unauthentic));
        match opened.ct_eq(&TRIAL) && sealed != other && is_bound {
            true => Ok(()),
            false => Err(VaultError::Unfit(
                "it does not open what it sealed".to_owned(),
            )),
        }
    }

    pub(super) fn encrypt(
        &mut self,
        label: &str,
        salt: &[u8; SALT_BYTES],
        associated: &[u8],
        plaintext: &SecretBytes,
    ) -> Result<Vec<u8>, VaultError> {
        let key = self.message_key(label, salt)?;
        let mut nonce = NONCE;
        let sealed = GcmParams::new(&mut nonce, associated, TAG_BITS.into()).and_then(|params| {
            let mechanism = Mechanism::AesGcm(params);
            self.session.encrypt(&mechanism, key, plaintext.expose())
        });
        self.end_of(key);
        let sealed = sealed.map_err(|error| failed(&error))?;
        // Some devices choose a nonce of their own, and say so here: nobody could open that again.
        match nonce == NONCE && sealed.len() == plaintext.len() + TAG_BYTES {
            true => Ok(sealed),
            false => Err(VaultError::Unfit(
                "it does not use the nonce that it is given".to_owned(),
            )),
        }
    }

    pub(super) fn decrypt(
        &mut self,
        label: &str,
        salt: &[u8; SALT_BYTES],
        associated: &[u8],
        sealed: &[u8],
    ) -> Result<SecretBytes, VaultError> {
        let key = self.message_key(label, salt)?;
        let mut nonce = NONCE;
        let opened = GcmParams::new(&mut nonce, associated, TAG_BITS.into()).and_then(|params| {
            let mechanism = Mechanism::AesGcm(params);
            self.session.decrypt(&mechanism, key, sealed)
        });
        self.end_of(key);
        opened.map(SecretBytes::new).map_err(|error| match error {
            // The device is there: it has just derived a key.
            error if may_be_unauthentic(&error) => VaultError::Unauthentic,
            error => failed(&error),
        })
    }

    pub(super) fn destroy(&mut self, label: &str) -> Result<(), VaultError> {
        self.keys.remove(label);
        for key in self.labelled(label)? {
            match self.session.destroy_object(key) {
                // Another session was faster.
                Ok(()) | Err(Error::Pkcs11(RvError::ObjectHandleInvalid, _)) => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        Ok(())
    }

    pub(super) fn random(&self, bytes: usize) -> Result<SecretBytes, VaultError> {
        let mut random = SecretBytes::zeroed(bytes);
        let drawn = self.session.generate_random_slice(random.expose_mut());
        drawn.map_err(|error| failed(&error))?;
        Ok(random)
    }

    /// The key of one message; who asks ends it. A key that another session destroyed is looked for
    /// anew, once.
    fn message_key(
        &mut self,
        label: &str,
        salt: &[u8; SALT_BYTES],
    ) -> Result<ObjectHandle, VaultError> {
        let was_kept = self.keys.contains_key(label);
        let key = self.key(label)?;
        match self.derived(key, salt) {
            Err(Error::Pkcs11(RvError::KeyHandleInvalid | RvError::ObjectHandleInvalid, _))
                if was_kept =>
            {
                self.keys.remove(label);
                let key = self.key(label)?;
                self.derived(key, salt).map_err(|error| failed(&error))
            }
            derived => derived.map_err(|error| failed(&error)),
        }
    }

    fn derived(&self, key: ObjectHandle, salt: &[u8; SALT_BYTES]) -> Result<ObjectHandle, Error> {
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Token(false),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::ValueLen(KEY_BYTES.into()),
        ];
        let by = AesCbcDeriveParams::new([0; 16], salt);
        self.session
            .derive_key(&Mechanism::AesCbcEncryptData(by), key, &template)
    }

    fn end_of(&self, message_key: ObjectHandle) {
        // It ends with the session anyway.
        let _ = self.session.destroy_object(message_key);
    }

    /// The one key of this label, which is as it must be.
    fn key(&mut self, label: &str) -> Result<ObjectHandle, VaultError> {
        if let Some(key) = self.keys.get(label) {
            return Ok(*key);
        }
        let key = match self.labelled(label)?[..] {
            [one] => one,
            [] => {
                return Err(VaultError::Key(
                    "the device has no such key any more".to_owned(),
                ));
            }
            _ => {
                return Err(VaultError::Key(
                    "the device has several keys of its label".to_owned(),
                ));
            }
        };
        self.check(key)?;
        self.keys.insert(label.to_owned(), key);
        Ok(key)
    }

    fn labelled(&self, label: &str) -> Result<Vec<ObjectHandle>, VaultError> {
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::Label(label.as_bytes().to_vec()),
        ];
        let found = self.session.find_objects(&template);
        found.map_err(|error| failed(&error))
    }

    fn attributes(
        &self,
        key: ObjectHandle,
        asked: &[AttributeType],
    ) -> Result<Vec<Attribute>, VaultError> {
        let told_of = self.session.get_attributes(key, asked);
        told_of.map_err(|error| failed(&error))
    }

    /// Refuses a key that ever was, or could be, anywhere else, or that does more than it should.
    fn check(&self, key: ObjectHandle) -> Result<(), VaultError> {
        let uses = [
            (
                Attribute::Encrypt(false),
                "it encrypts, and must only derive",
            ),
            (
                Attribute::Decrypt(false),
                "it decrypts, and must only derive",
            ),
        ];
        let mut asked = PEDIGREE.to_vec();
        asked.extend([AttributeType::Encrypt, AttributeType::Decrypt]);
        let told_of = self.attributes(key, &asked)?;
        match elsewhere(&told_of).or_else(|| unlike(&told_of, &uses)) {
            None => Ok(()),
            Some(otherwise) => Err(VaultError::Key(format!(
                "the key in the device is not fit: {otherwise}"
            ))),
        }
    }
}

/// What a call's failure says of the device.
fn failed(error: &Error) -> VaultError {
    match error {
        Error::Pkcs11(
            RvError::DeviceRemoved
            | RvError::DeviceError
            | RvError::DeviceMemory
            | RvError::SessionHandleInvalid
            | RvError::SessionClosed
            | RvError::TokenNotPresent
            | RvError::TokenNotRecognized
            | RvError::UserNotLoggedIn
            | RvError::CryptokiNotInitialized
            | RvError::SlotIdInvalid
            | RvError::GeneralError
            | RvError::FunctionFailed,
            _,
        ) => gone(error),
        error => VaultError::Key(told(error)),
    }
}
