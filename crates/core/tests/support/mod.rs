//! What the keyring suites share: a place to run futures, the vectors, and just enough of a
//! message's header to prove that a data key is the right one.
#![allow(dead_code, unreachable_pub)] // each suite uses a part
#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::Value;
use std::future::Future;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use waxseal_core::crypto::aead::AesGcm;
use waxseal_core::crypto::kdf::{HkdfHash, extract};
use waxseal_core::crypto::random::{Entropy, SystemEntropy};
use waxseal_core::keyring::Unwrapped;
use waxseal_core::{DataKey, EncryptedDataKey, EncryptionContext, Keyring, KeyringError};

/// Runs a future that waits for nothing outside this process.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a local keyring does not wait"),
    }
}

pub fn entropy() -> Arc<dyn Entropy> {
    Arc::new(SystemEntropy)
}

pub fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
    let mut context = EncryptionContext::new();
    for (name, value) in pairs {
        context.insert(*name, *value).unwrap();
    }
    context
}

/// What a keyring made of an encrypted data key.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    NotMine,
    Key(Vec<u8>),
    Unauthentic,
    Unsupported,
    Other(String),
}

pub fn unwrap(
    keyring: &dyn Keyring,
    encrypted: &EncryptedDataKey,
    context: &EncryptionContext,
) -> Outcome {
    match now(keyring.unwrap(encrypted, context)) {
        Ok(Unwrapped::NotMine) => Outcome::NotMine,
        Ok(Unwrapped::Key(key)) => Outcome::Key(key.expose().to_vec()),
        Err(KeyringError::Unauthentic { .. }) => Outcome::Unauthentic,
        Err(KeyringError::Unsupported { .. }) => Outcome::Unsupported,
        Err(other) => Outcome::Other(other.to_string()),
    }
}

/// Generates with `sealer` and unwraps with `opener`, for every length of data key.
pub fn round_trip(sealer: &dyn Keyring, opener: &dyn Keyring) {
    let context = context(&[("purpose", "test"), ("ä", "€")]);
    for key_bytes in [16, 24, 32] {
        let generated = now(sealer.generate(key_bytes, &context)).unwrap();
        assert_eq!(generated.key.len(), key_bytes);
        assert_eq!(generated.encrypted.len(), 1);
        let expected = Outcome::Key(generated.key.expose().to_vec());
        assert_eq!(unwrap(opener, &generated.encrypted[0], &context), expected);
        let again = now(sealer.wrap(&generated.key, &context)).unwrap();
        assert_ne!(again, generated.encrypted, "wrapping is randomized");
        assert_eq!(unwrap(opener, &again[0], &context), expected);
    }
}

pub fn wrap(keyring: &dyn Keyring, key: &[u8], context: &EncryptionContext) -> EncryptedDataKey {
    let key = DataKey::new(waxseal_core::SecretBytes::copy_of(key));
    now(keyring.wrap(&key, context)).unwrap().remove(0)
}

/// A folder of the shared vectors, beside the workspace or where `WAXSEAL_VECTORS` says.
pub fn vectors(folder: &str, cases: usize) -> Option<PathBuf> {
    let root = std::env::var_os("WAXSEAL_VECTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"),
        PathBuf::from,
    );
    let path = root.join(folder);
    if path.exists() {
        return Some(path);
    }
    let lost = format!("{} is missing: {cases} cases were NOT run", path.display());
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{lost}");
    // Written past the test harness, which would swallow what a passing test prints.
    let mut stderr = std::io::stderr();
    writeln!(stderr, "{lost}").unwrap();
    None
}

pub fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The file that a `file://` reference of a manifest names.
pub fn file(folder: &Path, reference: &Value) -> Vec<u8> {
    let name = reference.as_str().unwrap().strip_prefix("file://").unwrap();
    std::fs::read(folder.join(name)).unwrap()
}

/// A message's header, of either version.
pub struct Header {
    pub suite: u16,
    pub context: EncryptionContext,
    pub encrypted: Vec<EncryptedDataKey>,
    version: u8,
    message_id: Vec<u8>,
    commitment: Vec<u8>,
    body: Vec<u8>,
    nonce: [u8; 12],
    tag: Vec<u8>,
}

impl Header {
    pub fn parse(message: &[u8]) -> Self {
        let mut rest = message;
        let version = take(&mut rest, 1)[0];
        if version == 1 {
            take(&mut rest, 1);
        }
        let suite = number(&mut rest) as u16;
        let message_id = take(&mut rest, if version == 1 { 16 } else { 32 }).to_vec();
        let context = EncryptionContext::parse(field(&mut rest)).unwrap();
        let encrypted = (0..number(&mut rest)).map(|_| EncryptedDataKey {
            provider_id: String::from_utf8(field(&mut rest).to_vec()).unwrap(),
            provider_info: field(&mut rest).to_vec(),
            ciphertext: field(&mut rest).to_vec(),
        });
        let encrypted: Vec<_> = encrypted.collect();
        // Content type; in version 1 also the reserved bytes and the nonce length; frame length.
        take(&mut rest, if version == 1 { 1 + 4 + 1 + 4 } else { 1 + 4 });
        let commitment = take(&mut rest, if version == 1 { 0 } else { 32 }).to_vec();
        let body = message[..message.len() - rest.len()].to_vec();
        let mut nonce = [0; 12];
        if version == 1 {
            nonce.copy_from_slice(take(&mut rest, 12));
        }
        let tag = take(&mut rest, 16).to_vec();
        Self {
            suite,
            context,
            encrypted,
            version,
            message_id,
            commitment,
            body,
            nonce,
            tag,
        }
    }

    /// Derives the message's key, compares the commitment and opens the header's tag. `required`
    /// is authenticated and not stored.
    pub fn proves(&self, data_key: &[u8], required: &EncryptionContext) -> bool {
        let key_bytes = self.key_bytes();
        if data_key.len() != key_bytes {
            return false;
        }
        let mut key = vec![0; key_bytes];
        let suite = self.suite.to_be_bytes();
        if self.version == 2 {
            let prk = extract(HkdfHash::Sha512, &self.message_id, data_key);
            let mut commitment = [0; 32];
            prk.expand(&[b"COMMITKEY"], &mut commitment).unwrap();
            if commitment[..] != self.commitment {
                return false;
            }
            prk.expand(&[&suite, b"DERIVEKEY"], &mut key).unwrap();
        } else {
            let hash = match self.suite >> 8 {
                0 => None,
                1 | 2 => Some(HkdfHash::Sha256),
                _ => Some(HkdfHash::Sha384),
            };
            match hash {
                None => key.copy_from_slice(data_key),
                Some(hash) => extract(hash, b"", data_key)
                    .expand(&[&suite, &self.message_id], &mut key)
                    .unwrap(),
            }
        }
        let aad = [&self.body[..], &required.serialize().unwrap()].concat();
        let mut tag = self.tag.clone();
        let opened = AesGcm::new(&key).unwrap().open(self.nonce, &aad, &mut tag);
        opened.is_ok()
    }

    pub fn key_bytes(&self) -> usize {
        match self.suite & 0xff {
            0x14 => 16,
            0x46 => 24,
            _ => 32,
        }
    }
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> &'a [u8] {
    let (head, tail) = rest.split_at(bytes);
    *rest = tail;
    head
}

fn number(rest: &mut &[u8]) -> usize {
    usize::from(u16::from_be_bytes(take(rest, 2).try_into().unwrap()))
}

fn field<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let bytes = number(rest);
    take(rest, bytes)
}
