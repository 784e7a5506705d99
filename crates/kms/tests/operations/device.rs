//! A device that is none: keys in memory, and whatever else a test wants of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use waxseal_core::SecretBytes;
use waxseal_core::crypto::aead::AesGcm;
use waxseal_core::crypto::kdf;
use waxseal_core::crypto::random::{Entropy as _, SystemEntropy};
use waxseal_kms::device::{Cluster, Device, DeviceError, Refusal, SALT_BYTES};

pub(crate) const CLUSTER: &str = "cluster-a2b3c4defgh";
pub(crate) const OTHER_CLUSTER: &str = "cluster-zzzzzzzzzzz";
pub(crate) const PIN: &str = "4321abcd";

/// A certificate of nobody.
pub(crate) const CERTIFICATE: &str = include_str!("../data/customer-ca.pem");
pub(crate) const OTHER_CERTIFICATE: &str = include_str!("../data/other-ca.pem");

/// What the device is like, from outside.
#[derive(Default)]
pub(crate) struct Token {
    pub(crate) keys: Mutex<BTreeMap<String, SecretBytes>>,
    pub(crate) is_absent: AtomicBool,
    pub(crate) is_unfit: AtomicBool,
    pub(crate) is_late: AtomicBool,
    /// How often a PIN was tried.
    pub(crate) attempts: AtomicUsize,
    pub(crate) trust_anchor: Option<Vec<u8>>,
    pub(crate) refusal: Mutex<Option<Refusal>>,
    /// What happens while a key is generated.
    pub(crate) meanwhile: Mutex<Option<Meanwhile>>,
}

pub(crate) type Meanwhile = Box<dyn FnMut() + Send>;

impl Token {
    pub(crate) fn labels(&self) -> Vec<String> {
        self.keys.lock().unwrap().keys().cloned().collect()
    }

    pub(crate) fn tried(&self) -> usize {
        self.attempts.load(Ordering::SeqCst)
    }

    fn is(&self, what: &AtomicBool) -> bool {
        what.load(Ordering::SeqCst)
    }
}

pub(crate) struct Fake(pub(crate) Arc<Token>);

impl Cluster for Fake {
    fn trust_anchor(&self) -> Option<&[u8]> {
        self.0.trust_anchor.as_deref()
    }

    fn look(&self) -> Result<(), Refusal> {
        if self.0.is(&self.0.is_absent) {
            return Err(Refusal::Absent("it was pulled out".to_owned()));
        }
        match self.0.is(&self.0.is_unfit) {
            true => Err(Refusal::Unfit("it has no AES".to_owned())),
            false => Ok(()),
        }
    }

    fn connect(&self, pin: &SecretBytes) -> Result<Arc<dyn Device>, Refusal> {
        self.look()?;
        self.0.attempts.fetch_add(1, Ordering::SeqCst);
        if let Some(refusal) = self.0.refusal.lock().unwrap().clone() {
            return Err(refusal);
        }
        match pin.ct_eq(PIN.as_bytes()) {
            true => Ok(Arc::new(Session {
                token: self.0.clone(),
                is_closed: AtomicBool::new(false),
            })),
            false => Err(Refusal::WrongPin),
        }
    }
}

struct Session {
    token: Arc<Token>,
    is_closed: AtomicBool,
}

impl Session {
    fn answers(&self) -> Result<(), DeviceError> {
        if self.token.is(&self.token.is_late) {
            return Err(DeviceError::Late);
        }
        let is_gone = self.token.is(&self.token.is_absent) || self.is_closed.load(Ordering::SeqCst);
        match is_gone {
            true => Err(DeviceError::Gone("CKR_DEVICE_REMOVED".to_owned())),
            false => Ok(()),
        }
    }

    fn cipher(&self, label: &str, salt: &[u8]) -> Result<AesGcm, DeviceError> {
        self.answers()?;
        let keys = self.token.keys.lock().unwrap();
        let key = keys.get(label);
        let key = key.ok_or_else(|| DeviceError::Key("there is no such key".to_owned()))?;
        let mut derived = [0; 32];
        kdf::sp800_108(key.expose(), b"fake", &[salt], &mut derived).unwrap();
        Ok(AesGcm::new(&derived).unwrap())
    }
}

impl Device for Session {
    fn generate(&self, label: &str) -> Result<(), DeviceError> {
        if let Some(meanwhile) = self.token.meanwhile.lock().unwrap().as_mut() {
            meanwhile();
        }
        self.answers()?;
        let mut key = SecretBytes::zeroed(32);
        SystemEntropy.fill(key.expose_mut()).unwrap();
        self.token
            .keys
            .lock()
            .unwrap()
            .insert(label.to_owned(), key);
        Ok(())
    }

    fn encrypt(
        &self,
        label: &str,
        salt: [u8; SALT_BYTES],
        associated: Vec<u8>,
        plaintext: SecretBytes,
    ) -> Result<Vec<u8>, DeviceError> {
        let cipher = self.cipher(label, &salt)?;
        let mut text = plaintext.expose().to_vec();
        let tag = cipher.seal([0; 12], &associated, &mut text).unwrap();
        text.extend_from_slice(&tag);
        Ok(text)
    }

    fn decrypt(
        &self,
        label: &str,
        salt: [u8; SALT_BYTES],
        associated: Vec<u8>,
        mut sealed: Vec<u8>,
    ) -> Result<SecretBytes, DeviceError> {
        let cipher = self.cipher(label, &salt)?;
        let opened = cipher.open([0; 12], &associated, &mut sealed);
        opened.map_err(|_| DeviceError::Unauthentic)?;
        sealed.truncate(sealed.len() - 16);
        Ok(SecretBytes::new(sealed))
    }

    fn destroy(&self, label: &str) -> Result<(), DeviceError> {
        self.answers()?;
        self.token.keys.lock().unwrap().remove(label);
        Ok(())
    }

    fn random(&self, bytes: usize) -> Result<SecretBytes, DeviceError> {
        self.answers()?;
        Ok(SecretBytes::new(vec![0xd5; bytes]))
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }
}
