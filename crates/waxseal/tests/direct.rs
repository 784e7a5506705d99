//! Direct blobs: lengths, and keyrings that cannot make them.

use std::sync::Arc;
use waxseal::direct::{self, BLOB_BYTES_MAX, Error, PLAINTEXT_BYTES_MAX};
use waxseal::{
    DataKey, EncryptedDataKey, EncryptionContext, Keyring, KeyringError, MultiKeyring,
    RawAesKeyring, SecretBytes, SystemEntropy,
};
use waxseal_core::keyring::{BoxFuture, Generated, Unwrapped};

/// A key service whose blobs are a letter and the bytes turned over.
struct Service(u8);

impl Keyring for Service {
    fn generate<'a>(
        &'a self,
        _: usize,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
        unreachable!("direct blobs need no data key")
    }

    fn wrap<'a>(
        &'a self,
        key: &'a DataKey,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>> {
        let mut blob = vec![self.0];
        blob.extend(key.expose().iter().map(|byte| !byte));
        Box::pin(async { Ok(vec![EncryptedDataKey::bare(blob)]) })
    }

    fn unwrap<'a>(
        &'a self,
        encrypted: &'a EncryptedDataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>> {
        Box::pin(async {
            match encrypted.ciphertext.split_first() {
                Some((letter, _)) if *letter == self.0 && !context.is_empty() => {
                    Err(KeyringError::Unauthentic { key: "k".into() })
                }
                Some((letter, rest)) if *letter == self.0 => {
                    let plaintext = rest.iter().map(|byte| !byte).collect();
                    Ok(Unwrapped::Key(DataKey::new(SecretBytes::new(plaintext))))
                }
                _ => Ok(Unwrapped::NotMine),
            }
        })
    }
}

fn seal(keyring: &dyn Keyring, bytes: usize) -> Result<Vec<u8>, Error> {
    let plaintext = SecretBytes::new(vec![5; bytes]);
    pollster::block_on(direct::seal(keyring, plaintext, &EncryptionContext::new()))
}

fn open(keyring: &dyn Keyring, blob: &[u8]) -> Result<Vec<u8>, Error> {
    let opened = pollster::block_on(direct::open(keyring, blob, &EncryptionContext::new()));
    opened.map(|plaintext| plaintext.expose().to_vec())
}

#[test]
fn what_is_sealed_opens() {
    for bytes in [1, 20, PLAINTEXT_BYTES_MAX] {
        let blob = seal(&Service(b'a'), bytes).unwrap();
        assert_eq!(open(&Service(b'a'), &blob).unwrap(), vec![5; bytes]);
        assert_eq!(open(&Service(b'b'), &blob), Err(Error::NobodysKey));
    }
}

#[test]
fn plaintexts_have_1_to_4096_bytes() {
    for bytes in [0, 4097, 100_000] {
        assert_eq!(
            seal(&Service(b'a'), bytes),
            Err(Error::PlaintextBytes { bytes })
        );
    }
}

#[test]
fn blobs_have_1_to_6144_bytes() {
    let mut blob = vec![b'a'; BLOB_BYTES_MAX];
    assert!(open(&Service(b'a'), &blob).is_ok());
    blob.push(0);
    assert_eq!(
        open(&Service(b'a'), &blob),
        Err(Error::BlobBytes { bytes: 6145 })
    );
    assert_eq!(
        open(&Service(b'a'), b""),
        Err(Error::BlobBytes { bytes: 0 })
    );
}

#[test]
fn one_key_that_names_itself() {
    let key = SecretBytes::new(vec![1; 32]);
    let raw = RawAesKeyring::new("ns", "k", &key, Arc::new(SystemEntropy)).unwrap();
    assert_eq!(seal(&raw, 10), Err(Error::NotSelfDescribing));
    let two = MultiKeyring::new(Arc::new(Service(b'a')), vec![Arc::new(Service(b'b'))]);
    assert_eq!(seal(&two, 10), Err(Error::NotSelfDescribing));
    // Either of the two opens what it made alone.
    let blob = seal(&Service(b'b'), 10).unwrap();
    assert_eq!(open(&two, &blob).unwrap(), vec![5; 10]);
}

#[test]
fn a_keyrings_failure_is_handed_on() {
    let blob = seal(&Service(b'a'), 10).unwrap();
    let mut context = EncryptionContext::new();
    context.insert("other", "context").unwrap();
    let opened = pollster::block_on(direct::open(&Service(b'a'), &blob, &context));
    assert!(matches!(
        opened,
        Err(Error::Keyring(KeyringError::Unauthentic { .. }))
    ));
}
