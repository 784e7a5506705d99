//! The keyrings: raw AES against data keys that the official Python SDK wrapped, and the rules of
//! the multi-keyring.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside #[test] may fail too

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use waxseal_core::crypto::kdf::{HkdfHash, extract};
use waxseal_core::crypto::random::SystemEntropy;
use waxseal_core::keyring::{
    BoxFuture, Generated, MultiKeyring, RawAesError, RawAesKeyring, Unwrapped, unwrap_any,
};
use waxseal_core::{
    DataKey, EncryptedDataKey, EncryptionContext, Keyring, KeyringError, SecretBytes,
};

/// Runs a future that waits for nothing outside this process.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a local keyring does not wait"),
    }
}

fn raw_aes(namespace: &str, name: &str, key: &[u8]) -> RawAesKeyring {
    RawAesKeyring::new(
        namespace,
        name,
        &SecretBytes::copy_of(key),
        Arc::new(SystemEntropy),
    )
    .unwrap()
}

/// A message header of the vectors `python-4.0.7-raw-aes` (namespace `bench`, name `k`, key
/// 00 01 02 … 1f): its serialized context, its one encrypted data key and, in version 2, what
/// proves the data key.
struct Case {
    file: &'static str,
    key_bytes: usize,
    context: &'static str,
    provider_info: &'static str,
    ciphertext: &'static str,
    message_id: &'static str,
    commitment: &'static str,
}

impl Case {
    fn context(&self) -> EncryptionContext {
        EncryptionContext::parse(&hex::decode(self.context).unwrap()).unwrap()
    }

    fn encrypted(&self) -> EncryptedDataKey {
        EncryptedDataKey {
            provider_id: "bench".to_owned(),
            provider_info: hex::decode(self.provider_info).unwrap(),
            ciphertext: hex::decode(self.ciphertext).unwrap(),
        }
    }
}

const PYTHON: [Case; 6] = [
    Case {
        file: "0014-fl128-p200-ec0.bin",
        key_bytes: 16,
        context: "",
        provider_info: "6b000000800000000c680baf3ad89cf4da46fc0e30",
        ciphertext: "859e7cec127adc2e0f27a88e2381fea51b7a64ca9963537d92113712ac92e422",
        message_id: "",
        commitment: "",
    },
    Case {
        file: "0346-fl128-p200-ec2.bin",
        key_bytes: 24,
        context: "000300156177732d63727970746f2d7075626c69632d6b6579004441703268584d714d342f617a4731785234457a3068554f63376872356c70706a7a4e583369795744424d3934567344776c785755573966684c754b376c65624d37673d3d00026b310005c3bce282ac00026b3200027632",
        provider_info: "6b000000800000000c96b41c7ff2f64c8b1e853d0a",
        ciphertext: "534d3301faf1d31e05dac425acc734fe85745393a899417d1a1a0fb29bc31a9f89434b5114d56269",
        message_id: "",
        commitment: "",
    },
    Case {
        file: "0478-fl4096-p200-ec0.bin",
        key_bytes: 32,
        context: "",
        provider_info: "6b000000800000000c0bf31c7d65a5f4b291740e32",
        ciphertext: "da6c147644eee3c265ec3b4577635d3748dff027e098eb7b0d78fe861287ace158086ccc2e95add98a21c47a036cb22f",
        message_id: "faea7079032959217548571992338ab345c63d99399d8f04137481527b999737",
        commitment: "14ac2ea7a0a27b3f66d78f90bbeb0081a99fc395043d966d28d6ea094be00aa0",
    },
    Case {
        file: "0478-fl4096-p200-ec2.bin",
        key_bytes: 32,
        context: "000200026b310005c3bce282ac00026b3200027632",
        provider_info: "6b000000800000000c742d5264f1edb297598f326e",
        ciphertext: "bb1219c582ba75d3f5fda21a2eac219d69f3af7424832e6055f3097aa81ac8a5113fbc5482ced3fdfabf40b1a9fbea5e",
        message_id: "e7ad868fc02dbdb3354e643cc01c1f2e9d191233f355e1e2a83ca69aaeded445",
        commitment: "82dcd47e49d7724292b535002089ea7970e38f008e92d291bf2916414803ccae",
    },
    Case {
        file: "0578-fl4096-p200-ec0.bin",
        key_bytes: 32,
        context: "000100156177732d63727970746f2d7075626c69632d6b65790044416731524149542f6b73436f6155593257764f433637714539386b44424d705a4b646c4b72497970315a39744e33563778434c517a35736550763935635335716f773d3d",
        provider_info: "6b000000800000000cb74a99c3abfbea11799809be",
        ciphertext: "9ce87b1960c3be31bb1b59da6a5e277fae595b70fc69bf92933d9783dbbfaefee2a2ea28f8bb9fae48d7aa2dc0b2faa6",
        message_id: "0fd0a90492debb0a27ff7fd163146983905a527c6c630c58b45030a859a564dd",
        commitment: "14d2ecd8c906a63558c0db6eb1d78ae5bbc9a30bffa39b7b00925300742c38f5",
    },
    Case {
        file: "0578-fl4096-p200-ec2.bin",
        key_bytes: 32,
        context: "000300156177732d63727970746f2d7075626c69632d6b6579004441773648716c6563524d30513153446154754e41395064326c764e555652552b6c346f6b6c4e30363061576a384a526875523443514f323965384932302b763139513d3d00026b310005c3bce282ac00026b3200027632",
        provider_info: "6b000000800000000c47f5fc0fa43166b86f30fd0c",
        ciphertext: "c9de1f0388f9475c85e610f7f8fcac27564991636c42d44adb3fa57a25acf7ddb16f0e09c99de80443796183c3dfb2d7",
        message_id: "093f442bd11bd17ee42be86a202da0e06892c0548d4c3a1512c157e9862a4323",
        commitment: "1ec4089c9a90eb4fbad787f720e94bda35fb6d1fb39ec2cc3459fd0adb62ab73",
    },
];

fn wrapping_key() -> [u8; 32] {
    std::array::from_fn(|i| i as u8)
}

#[test]
fn raw_aes_unwraps_what_the_python_sdk_wrapped() {
    let keyring = raw_aes("bench", "k", &wrapping_key());
    for case in &PYTHON {
        let Ok(Unwrapped::Key(key)) = now(keyring.unwrap(&case.encrypted(), &case.context()))
        else {
            panic!("{} did not open", case.file);
        };
        assert_eq!(key.len(), case.key_bytes, "{}", case.file);
        if case.commitment.is_empty() {
            continue;
        }
        let mut commitment = [0; 32];
        extract(
            HkdfHash::Sha512,
            &hex::decode(case.message_id).unwrap(),
            key.expose(),
        )
        .expand(&[b"COMMITKEY"], &mut commitment)
        .unwrap();
        assert_eq!(hex::encode(commitment), case.commitment, "{}", case.file);
    }
}

fn unauthentic(
    keyring: &RawAesKeyring,
    encrypted: &EncryptedDataKey,
    context: &EncryptionContext,
) -> bool {
    matches!(
        now(keyring.unwrap(encrypted, context)),
        Err(KeyringError::Unauthentic { .. })
    )
}

#[test]
fn raw_aes_tells_foreign_keys_from_broken_ones() {
    let case = &PYTHON[3];
    let (encrypted, context) = (case.encrypted(), case.context());
    for (namespace, name) in [
        ("bench", "l"),
        ("bench", "kk"),
        ("bench", ""),
        ("other", "k"),
    ] {
        let keyring = raw_aes(namespace, name, &wrapping_key());
        let unwrapped = now(keyring.unwrap(&encrypted, &context));
        assert!(
            matches!(unwrapped, Ok(Unwrapped::NotMine)),
            "{namespace}/{name}: {unwrapped:?}"
        );
    }
    let mut other_key = wrapping_key();
    other_key[31] ^= 1;
    let right = raw_aes("bench", "k", &wrapping_key());
    assert!(unauthentic(
        &raw_aes("bench", "k", &other_key),
        &encrypted,
        &context
    ));
    assert!(unauthentic(
        &raw_aes("bench", "k", &other_key[..16]),
        &encrypted,
        &context
    ));

    // The context is bound: none, one pair less, one more, another value.
    assert!(unauthentic(&right, &encrypted, &EncryptionContext::new()));
    let mut less = context.clone();
    let value = less.remove("k2").unwrap();
    assert!(unauthentic(&right, &encrypted, &less));
    let mut other = less.clone();
    other.insert("k2", format!("{value}!")).unwrap();
    assert!(unauthentic(&right, &encrypted, &other));
    let mut more = context.clone();
    more.insert("k3", "").unwrap();
    assert!(unauthentic(&right, &encrypted, &more));

    // Every bit of the ciphertext and of the nonce counts; lengths too short for a tag do not panic.
    for bit in 0..encrypted.ciphertext.len() * 8 {
        let mut changed = encrypted.clone();
        changed.ciphertext[bit / 8] ^= 1 << (bit % 8);
        assert!(unauthentic(&right, &changed, &context), "bit {bit}");
    }
    for len in 0..encrypted.ciphertext.len() {
        let mut changed = encrypted.clone();
        changed.ciphertext.truncate(len);
        assert!(unauthentic(&right, &changed, &context), "length {len}");
    }
    for bit in 0..encrypted.provider_info.len() * 8 {
        let mut changed = encrypted.clone();
        changed.provider_info[bit / 8] ^= 1 << (bit % 8);
        match now(right.unwrap(&changed, &context)) {
            Ok(Unwrapped::NotMine) => assert!(bit < 9 * 8, "bit {bit} is in the nonce"),
            Err(KeyringError::Unauthentic { .. }) => assert!(bit >= 9 * 8, "bit {bit}"),
            other => panic!("bit {bit}: {other:?}"),
        }
    }
}

#[test]
fn raw_aes_unwraps_its_own() {
    let mut context = EncryptionContext::new();
    context.insert("purpose", "test").unwrap();
    for wrapping_bytes in [16, 24, 32] {
        let keyring = raw_aes("ns", "name", &[7; 32][..wrapping_bytes]);
        for key_bytes in [16, 24, 32] {
            let generated = now(keyring.generate(key_bytes, &context)).unwrap();
            assert_eq!(generated.encrypted.len(), 1);
            assert_eq!(generated.key.len(), key_bytes);
            assert!(!generated.encrypted[0].is_self_describing());
            let key = now(unwrap_any(
                &keyring,
                &generated.encrypted,
                &context,
                Some(key_bytes),
            ));
            assert_eq!(key.unwrap().expose(), generated.key.expose());
            let again = now(keyring.wrap(&generated.key, &context)).unwrap();
            assert_ne!(again, generated.encrypted, "each wrapping draws its nonce");
        }
    }
}

#[test]
fn raw_aes_checks_its_configuration() {
    let new = |namespace: &str, name: String, key: &[u8]| {
        RawAesKeyring::new(
            namespace,
            name,
            &SecretBytes::copy_of(key),
            Arc::new(SystemEntropy),
        )
    };
    assert_eq!(
        new("", "k".into(), &[0; 32]).unwrap_err(),
        RawAesError::Namespace
    );
    assert_eq!(
        new("aws-kms", "k".into(), &[0; 32]).unwrap_err(),
        RawAesError::Namespace
    );
    assert_eq!(
        new(&"n".repeat(65_536), "k".into(), &[0; 32]).unwrap_err(),
        RawAesError::Namespace
    );
    assert!(new(&"n".repeat(65_535), "k".repeat(65_515), &[0; 32]).is_ok());
    assert_eq!(
        new("n", "k".repeat(65_516), &[0; 32]).unwrap_err(),
        RawAesError::Name
    );
    for key_bytes in [0, 15, 17, 31, 33] {
        let refused = new("n", "k".into(), &vec![0; key_bytes]).unwrap_err();
        assert!(
            matches!(refused, RawAesError::KeyLength(_)),
            "{key_bytes} bytes"
        );
    }
}

/// Answers as told and writes down that it was asked.
struct Scripted {
    name: &'static str,
    answer: Answer,
    asked: Arc<Mutex<Vec<&'static str>>>,
}

#[derive(Clone, Copy)]
enum Answer {
    NotMine,
    Fails,
    Key(usize),
}

impl Keyring for Scripted {
    fn generate<'a>(
        &'a self,
        key_bytes: usize,
        context: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
        Box::pin(async move {
            let key = DataKey::new(SecretBytes::new(vec![1; key_bytes]));
            let encrypted = self.wrap(&key, context).await?;
            Ok(Generated { key, encrypted })
        })
    }

    fn wrap<'a>(
        &'a self,
        _: &'a DataKey,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(self.name);
            match self.answer {
                Answer::Fails => Err(self.failure()),
                _ => Ok(vec![EncryptedDataKey::bare(self.name.into())]),
            }
        })
    }

    fn unwrap<'a>(
        &'a self,
        _: &'a EncryptedDataKey,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(self.name);
            match self.answer {
                Answer::NotMine => Ok(Unwrapped::NotMine),
                Answer::Fails => Err(self.failure()),
                Answer::Key(bytes) => {
                    let key = SecretBytes::new(vec![self.name.as_bytes()[0]; bytes]);
                    Ok(Unwrapped::Key(DataKey::new(key)))
                }
            }
        })
    }
}

impl Scripted {
    fn failure(&self) -> KeyringError {
        KeyringError::Unauthentic {
            key: self.name.to_owned(),
        }
    }
}

type Asked = Arc<Mutex<Vec<&'static str>>>;

fn multi(answers: [Answer; 3]) -> (MultiKeyring, Asked) {
    let asked = Asked::default();
    let mut keyrings = ["generator", "first", "second"]
        .into_iter()
        .zip(answers)
        .map(|(name, answer)| {
            let asked = asked.clone();
            Arc::new(Scripted {
                name,
                answer,
                asked,
            }) as Arc<dyn Keyring>
        });
    let generator = keyrings.next().unwrap();
    (MultiKeyring::new(generator, keyrings.collect()), asked)
}

fn all_failed(names: &[&str]) -> KeyringError {
    let failure = |name: &&str| KeyringError::Unauthentic {
        key: (*name).to_owned(),
    };
    KeyringError::AllFailed(names.iter().map(failure).collect())
}

#[test]
fn multi_keyring_wraps_in_order() {
    let (keyring, asked) = multi([Answer::Key(32); 3]);
    let context = EncryptionContext::new();
    let generated = now(keyring.generate(32, &context)).unwrap();
    let names: Vec<_> = generated
        .encrypted
        .iter()
        .map(|e| &e.ciphertext[..])
        .collect();
    assert_eq!(names, [&b"generator"[..], b"first", b"second"]);
    assert_eq!(
        now(keyring.wrap(&generated.key, &context)).unwrap(),
        generated.encrypted
    );
    assert_eq!(
        *asked.lock().unwrap(),
        ["generator", "first", "second"].repeat(2)
    );
}

#[test]
fn multi_keyring_wraps_for_all_or_for_none() {
    for failing in 0..3 {
        let mut answers = [Answer::Key(32); 3];
        answers[failing] = Answer::Fails;
        let (keyring, _) = multi(answers);
        assert!(
            now(keyring.generate(32, &EncryptionContext::new())).is_err(),
            "keyring {failing}"
        );
    }
}

#[test]
fn multi_keyring_takes_the_first_success() {
    let encrypted = EncryptedDataKey::bare(vec![1]);
    let context = EncryptionContext::new();
    let (keyring, asked) = multi([Answer::NotMine, Answer::Key(32), Answer::Key(32)]);
    let Ok(Unwrapped::Key(key)) = now(keyring.unwrap(&encrypted, &context)) else {
        panic!("the first child has the key");
    };
    assert_eq!(key.expose(), [b'f'; 32]);
    assert_eq!(*asked.lock().unwrap(), ["generator", "first"]);

    let (keyring, asked) = multi([Answer::Fails, Answer::NotMine, Answer::Key(32)]);
    assert!(matches!(
        now(keyring.unwrap(&encrypted, &context)),
        Ok(Unwrapped::Key(_))
    ));
    assert_eq!(asked.lock().unwrap().len(), 3);
}

#[test]
fn multi_keyring_reports_every_failure() {
    let encrypted = EncryptedDataKey::bare(vec![1]);
    let context = EncryptionContext::new();
    let (keyring, _) = multi([Answer::Fails, Answer::NotMine, Answer::Fails]);
    let error = now(keyring.unwrap(&encrypted, &context)).unwrap_err();
    assert_eq!(error, all_failed(&["generator", "second"]));
    let text = error.to_string();
    assert!(
        text.contains("generator") && text.contains("second"),
        "{text}"
    );
    let (keyring, _) = multi([Answer::NotMine; 3]);
    assert!(matches!(
        now(keyring.unwrap(&encrypted, &context)),
        Ok(Unwrapped::NotMine)
    ));
}

#[test]
fn unwrap_any_minds_the_length() {
    let encrypted = [vec![1], vec![2]].map(EncryptedDataKey::bare);
    let context = EncryptionContext::new();
    let (keyring, _) = multi([Answer::Key(16), Answer::NotMine, Answer::NotMine]);
    let unwrap = |bytes| now(unwrap_any(&keyring, &encrypted, &context, bytes));
    assert_eq!(unwrap(None).unwrap().len(), 16);
    assert_eq!(unwrap(Some(16)).unwrap().len(), 16);
    for bytes in [15, 17, 32] {
        let Err(KeyringError::AllFailed(failures)) = unwrap(Some(bytes)) else {
            panic!("a key of another length was taken");
        };
        assert_eq!(failures.len(), 2);
        assert!(
            failures
                .iter()
                .all(|f| matches!(f, KeyringError::Limit { .. })),
            "{failures:?}"
        );
    }
}

#[test]
fn unwrap_any_reports_flat_and_knows_nobodys_key() {
    let encrypted = [vec![1], vec![2]].map(EncryptedDataKey::bare);
    let context = EncryptionContext::new();
    let (keyring, _) = multi([Answer::Fails, Answer::NotMine, Answer::Fails]);
    let error = now(unwrap_any(&keyring, &encrypted, &context, None)).unwrap_err();
    assert_eq!(
        error,
        all_failed(&["generator", "second", "generator", "second"])
    );
    let (keyring, _) = multi([Answer::NotMine; 3]);
    for encrypted in [&encrypted[..], &[]] {
        let error = now(unwrap_any(&keyring, encrypted, &context, None)).unwrap_err();
        assert_eq!(error, all_failed(&[]));
    }
}

#[test]
fn raw_aes_tries_a_context_as_it_was_stored() {
    use waxseal_core::crypto::aead::AesGcm;
    // As a writer did that sorted by locale: wrapped under, and stored in, that order.
    let stored = b"\0\x02\0\x01b\0\0\0\x01A\0\0";
    let context = EncryptionContext::parse(stored).unwrap();
    let keyring = raw_aes("ns", "name", &wrapping_key());
    let mut ciphertext = vec![5; 32];
    let tag = AesGcm::new(&wrapping_key())
        .unwrap()
        .seal([9; 12], stored, &mut ciphertext)
        .unwrap();
    ciphertext.extend_from_slice(&tag);
    let encrypted = EncryptedDataKey {
        provider_id: "ns".to_owned(),
        provider_info: [&b"name\0\0\0\x80\0\0\0\x0c"[..], &[9; 12]].concat(),
        ciphertext,
    };
    let Ok(Unwrapped::Key(key)) = now(keyring.unwrap(&encrypted, &context)) else {
        panic!("the stored order was not tried");
    };
    assert_eq!(key.expose(), [5; 32]);
    // Canonical order comes first, and is what is written.
    let canonical = now(keyring.wrap(&key, &context)).unwrap();
    assert!(matches!(
        now(keyring.unwrap(&canonical[0], &context)),
        Ok(Unwrapped::Key(_))
    ));
    // Without the stored bytes the first one is not opened.
    let mut same = context.clone();
    same.remove("b").unwrap();
    same.insert("b", "").unwrap();
    assert_eq!(same, context);
    assert!(unauthentic(&keyring, &encrypted, &same));
}
