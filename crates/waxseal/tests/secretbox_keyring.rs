//! Sealing and opening through keyrings.
#![allow(clippy::unwrap_used)] // helpers outside #[test] may fail too

use pollster::block_on;
use std::sync::Arc;
use waxseal::secretbox::{
    Error, KEY_BYTES, Limits, Payload, generate, open, open_bytes, seal, seal_bytes, seal_into,
};
use waxseal::{
    DataKey, EncryptedDataKey, EncryptionContext, Entropy, EntropyError, Keyring, KeyringError,
    MultiKeyring, RawAesKeyring, SecretBytes, SystemEntropy,
};
use waxseal_core::keyring::{BoxFuture, Generated, PROVIDER_AWS_KMS, Unwrapped};

/// A KMS in a few lines: a raw AES key whose blobs are `K | parameters length u8 | parameters |
/// ciphertext`, so that they describe themselves.
struct Kms {
    key: RawAesKeyring,
    key_bytes: Option<usize>,
}

const MAGIC: u8 = b'K';
const NAMESPACE: &str = "local";

impl Kms {
    fn new(name: &str) -> Self {
        let key = SecretBytes::new(vec![name.len() as u8; 32]);
        let key = RawAesKeyring::new(NAMESPACE, name, &key, Arc::new(SystemEntropy)).unwrap();
        Self {
            key,
            key_bytes: None,
        }
    }

    fn blob(encrypted: Vec<EncryptedDataKey>) -> Vec<EncryptedDataKey> {
        let blob = |e: EncryptedDataKey| {
            let head = [MAGIC, e.provider_info.len() as u8];
            EncryptedDataKey::bare([&head[..], &e.provider_info, &e.ciphertext].concat())
        };
        encrypted.into_iter().map(blob).collect()
    }
}

impl Keyring for Kms {
    fn generate<'a>(
        &'a self,
        key_bytes: usize,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
        Box::pin(async move {
            let key_bytes = self.key_bytes.unwrap_or(key_bytes);
            let Generated { key, encrypted } = self.key.generate(key_bytes, context).await?;
            Ok(Generated {
                key,
                encrypted: Self::blob(encrypted),
            })
        })
    }

    fn wrap<'a>(
        &'a self,
        key: &'a DataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>> {
        Box::pin(async move { Ok(Self::blob(self.key.wrap(key, context).await?)) })
    }

    fn unwrap<'a>(
        &'a self,
        encrypted: &'a EncryptedDataKey,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>> {
        Box::pin(async move {
            let [MAGIC, len, rest @ ..] = &encrypted.ciphertext[..] else {
                return Ok(Unwrapped::NotMine);
            };
            let Some((info, ciphertext)) = rest.split_at_checked(usize::from(*len)) else {
                return Ok(Unwrapped::NotMine);
            };
            assert_eq!(encrypted.provider_id, PROVIDER_AWS_KMS);
            assert!(encrypted.provider_info.is_empty());
            let inner = EncryptedDataKey {
                provider_id: NAMESPACE.to_owned(),
                provider_info: info.to_vec(),
                ciphertext: ciphertext.to_vec(),
            };
            self.key.unwrap(&inner, context).await
        })
    }
}

fn context(value: &str) -> EncryptionContext {
    let mut context = EncryptionContext::new();
    context.insert("purpose", value).unwrap();
    context
}

fn limits() -> Limits {
    Limits::default()
}

#[test]
fn what_is_sealed_opens_under_its_context_only() {
    block_on(async {
        let (kms, here) = (Kms::new("one"), context("here"));
        for plaintext in [&b""[..], b"My very secret data", &[9; 70_000]] {
            let payload = seal(&kms, plaintext, &here, &SystemEntropy).await.unwrap();
            let opened = open(&kms, &payload, &here).await.unwrap();
            assert_eq!(opened.expose(), plaintext);
            let bytes = seal_bytes(&kms, plaintext, &here, &SystemEntropy, &limits())
                .await
                .unwrap();
            let opened = open_bytes(&kms, &bytes, &here, &limits()).await.unwrap();
            assert_eq!(opened.expose(), plaintext);
            for other in [context("there"), EncryptionContext::new()] {
                let error = open_bytes(&kms, &bytes, &other, &limits())
                    .await
                    .unwrap_err();
                let Error::Keyring(KeyringError::AllFailed(failures)) = error else {
                    unreachable!("{error}");
                };
                assert!(matches!(failures[..], [KeyringError::Unauthentic { .. }]));
            }
        }
    });
}

#[test]
fn each_payload_has_its_own_key_and_nonce() {
    block_on(async {
        let (kms, none) = (Kms::new("one"), EncryptionContext::new());
        let first = seal(&kms, b"same", &none, &SystemEntropy).await.unwrap();
        let second = seal(&kms, b"same", &none, &SystemEntropy).await.unwrap();
        assert_ne!(first.key, second.key);
        assert_ne!(first.nonce, second.nonce);
        assert_ne!(first.message, second.message);
    });
}

/// A data key may be generated once and used again.
#[test]
fn one_data_key_seals_several_payloads() {
    block_on(async {
        let (kms, none) = (Kms::new("one"), EncryptionContext::new());
        let (key, wrapped) = generate(&kms, &none).await.unwrap();
        let key = key.expose().try_into().unwrap();
        for nonce in [[1; 24], [2; 24]] {
            let bytes = seal_into(key, &wrapped, nonce, &nonce).unwrap();
            let opened = open_bytes(&kms, &bytes, &none, &limits()).await.unwrap();
            assert_eq!(opened.expose(), nonce);
        }
    });
}

/// The whole road with a KMS at its end: no flipped bit and no truncation opens to anything, but
/// for the name of the struct, which means nothing and opens to the same.
#[test]
fn no_flipped_bit_opens_to_another_plaintext() {
    block_on(async {
        let (kms, here) = (Kms::new("one"), context("here"));
        let plaintext = [0x5a; 200];
        let sealed = seal_bytes(&kms, &plaintext, &here, &SystemEntropy, &limits())
            .await
            .unwrap();
        assert_eq!(&sealed[7..14], b"payload");
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            if let Ok(opened) = open_bytes(&kms, &changed, &here, &limits()).await {
                assert!((7 * 8..14 * 8).contains(&bit), "bit {bit}");
                assert_eq!(opened.expose(), plaintext, "bit {bit}");
            }
        }
        for len in 0..sealed.len() {
            let opened = open_bytes(&kms, &sealed[..len], &here, &limits()).await;
            assert!(matches!(opened, Err(Error::Payload(_))), "length {len}");
        }
    });
}

#[test]
fn a_foreign_wrapped_key_is_nobodys() {
    block_on(async {
        let none = EncryptionContext::new();
        let payload = seal(&Kms::new("one"), b"x", &none, &SystemEntropy)
            .await
            .unwrap();
        let other = Kms::new("other");
        assert_eq!(
            open(&other, &payload, &none).await.unwrap_err(),
            Error::NobodysKey
        );
        let raw = raw_aes();
        assert_eq!(
            open(&raw, &payload, &none).await.unwrap_err(),
            Error::NobodysKey
        );
        let without = Payload {
            key: Vec::new(),
            ..payload.clone()
        };
        let error = open(&Panics, &without, &none).await.unwrap_err();
        assert_eq!(error, Error::NoWrappedKey);
        let garbage = Payload {
            key: vec![0; 10],
            ..payload
        };
        assert_eq!(
            open(&other, &garbage, &none).await.unwrap_err(),
            Error::NobodysKey
        );
    });
}

fn raw_aes() -> RawAesKeyring {
    RawAesKeyring::new("ns", "k", &SecretBytes::zeroed(32), Arc::new(SystemEntropy)).unwrap()
}

#[test]
fn raw_keys_and_several_keys_are_refused_with_a_way_out() {
    block_on(async {
        let none = EncryptionContext::new();
        let error = seal(&raw_aes(), b"x", &none, &SystemEntropy)
            .await
            .unwrap_err();
        assert_eq!(
            error,
            Error::NotSelfDescribing {
                provider_id: "ns".into()
            }
        );
        assert!(
            error
                .to_string()
                .contains("KMS key, or the format 'message'"),
            "{error}"
        );

        let kms = |name| Arc::new(Kms::new(name)) as Arc<dyn Keyring>;
        let two = MultiKeyring::new(kms("one"), vec![kms("three")]);
        let error = seal(&two, b"x", &none, &SystemEntropy).await.unwrap_err();
        assert_eq!(error, Error::WrappedKeyCount { count: 2 });
        assert!(error.to_string().contains("format 'message'"), "{error}");

        let mixed = MultiKeyring::new(kms("one"), vec![Arc::new(raw_aes())]);
        let error = seal(&mixed, b"x", &none, &SystemEntropy).await.unwrap_err();
        assert_eq!(
            error,
            Error::NotSelfDescribing {
                provider_id: "ns".into()
            }
        );

        // Reading through several is fine.
        let payload = seal(&Kms::new("three"), b"x", &none, &SystemEntropy)
            .await
            .unwrap();
        assert_eq!(open(&two, &payload, &none).await.unwrap().expose(), b"x");
    });
}

#[test]
fn a_data_key_of_another_length_is_refused() {
    block_on(async {
        let none = EncryptionContext::new();
        let mut kms = Kms::new("one");
        kms.key_bytes = Some(16);
        let error = seal(&kms, b"x", &none, &SystemEntropy).await.unwrap_err();
        assert_eq!(error, Error::DataKeyLength { bytes: 16 });

        // And when it comes out of a payload.
        let Generated { encrypted, .. } = kms.generate(KEY_BYTES, &none).await.unwrap();
        let bytes = seal_into(&[0; 32], &encrypted[0].ciphertext, [0; 24], b"x").unwrap();
        let error = open_bytes(&kms, &bytes, &none, &limits())
            .await
            .unwrap_err();
        let Error::Keyring(KeyringError::AllFailed(failures)) = error else {
            unreachable!("{error}");
        };
        assert!(matches!(failures[..], [KeyringError::Limit { .. }]));
    });
}

#[test]
fn a_box_under_another_data_key_is_not_authentic() {
    block_on(async {
        let (kms, none) = (Kms::new("one"), EncryptionContext::new());
        let first = seal(&kms, b"first", &none, &SystemEntropy).await.unwrap();
        let second = seal(&kms, b"second", &none, &SystemEntropy).await.unwrap();
        let mixed = Payload {
            key: second.key,
            ..first
        };
        assert_eq!(
            open(&kms, &mixed, &none).await.unwrap_err(),
            Error::Unauthentic
        );
    });
}

#[test]
fn the_plaintext_limit_holds_on_both_sides_and_before_the_kms_is_asked() {
    block_on(async {
        let (kms, none) = (Kms::new("one"), EncryptionContext::new());
        let limits = Limits {
            plaintext_bytes_max: 100,
        };
        let sealed = seal_bytes(&kms, &[1; 100], &none, &SystemEntropy, &limits)
            .await
            .unwrap();
        assert!(open_bytes(&kms, &sealed, &none, &limits).await.is_ok());
        let tight = Limits {
            plaintext_bytes_max: 99,
        };
        let error = open_bytes(&Panics, &sealed, &none, &tight)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Payload(_)), "{error}");
        let error = seal_bytes(&Panics, &[1; 101], &none, &SystemEntropy, &limits)
            .await
            .unwrap_err();
        assert_eq!(
            error,
            Error::PlaintextLength {
                bytes: 101,
                bytes_max: 100
            }
        );
    });
}

#[test]
fn without_randomness_nothing_is_sealed() {
    struct Empty;
    impl Entropy for Empty {
        fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
            Err(EntropyError)
        }
    }
    let sealed = block_on(seal(
        &Kms::new("one"),
        b"x",
        &EncryptionContext::new(),
        &Empty,
    ));
    assert_eq!(sealed, Err(Error::Entropy(EntropyError)));
}

/// Must not be asked.
struct Panics;

impl Keyring for Panics {
    fn generate<'a>(
        &'a self,
        _: usize,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
        unreachable!()
    }

    fn wrap<'a>(
        &'a self,
        _: &'a DataKey,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>> {
        unreachable!()
    }

    fn unwrap<'a>(
        &'a self,
        _: &'a EncryptedDataKey,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>> {
        unreachable!()
    }
}
