//! Messages that other implementations wrote.
#![allow(clippy::unwrap_used, clippy::explicit_write, reason = "test code")]

use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use waxseal::message::{self, CommitmentPolicy, OpenError, OpenOptions, Suite};
use waxseal::{
    DataKey, EncryptedDataKey, EncryptionContext, Keyring, KeyringError, RawAesKeyring,
    SecretBytes, SystemEntropy,
};
use waxseal_core::keyring::{BoxFuture, Generated, Unwrapped};

/// Hands out the data key that a vector gives, whatever the header lists.
struct Given(Vec<u8>);

impl Keyring for Given {
    fn generate<'a>(
        &'a self,
        _: usize,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
        unreachable!("these vectors are read only")
    }

    fn wrap<'a>(
        &'a self,
        _: &'a DataKey,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>> {
        unreachable!("these vectors are read only")
    }

    fn unwrap<'a>(
        &'a self,
        _: &'a EncryptedDataKey,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>> {
        Box::pin(async {
            let key = DataKey::new(SecretBytes::copy_of(&self.0));
            Ok(Unwrapped::Key(key))
        })
    }
}

/// The shared vectors, beside the workspace or where `WAXSEAL_VECTORS` says.
fn shared(file: &str, cases: usize) -> Option<Value> {
    let root = std::env::var_os("WAXSEAL_VECTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"),
        PathBuf::from,
    );
    let path = root.join(file);
    if !path.exists() {
        let lost = format!("{} is missing: {cases} cases were NOT run", path.display());
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{lost}");
        // Written past the test harness, which would swallow what a passing test prints.
        writeln!(std::io::stderr(), "{lost}").unwrap();
        return None;
    }
    Some(json(&path))
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn base64(value: &Value) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(value.as_str().unwrap())
        .unwrap()
}

#[test]
fn commitment_vectors() {
    let Some(vectors) = shared("esdk/commitment-test-vectors.json", 46) else {
        return;
    };
    let (mut good, mut bad, mut unframed) = (0, 0, 0);
    for vector in vectors["tests"].as_array().unwrap() {
        let comment = vector["comment"].as_str().unwrap();
        let keyring = Given(base64(&vector["decrypted-dek"]));
        let sealed = base64(&vector["ciphertext"]);
        let opened =
            pollster::block_on(message::decrypt(&keyring, &sealed, &OpenOptions::default()));
        if vector["status"] == Value::Bool(false) {
            assert!(matches!(opened, Err(OpenError::Unauthentic)), "{comment}");
            bad += 1;
            continue;
        }
        let (plaintext, header) = opened.unwrap_or_else(|error| panic!("{comment}: {error}"));
        assert_eq!(
            String::from_utf8_lossy(plaintext.expose()),
            plaintext_of(vector),
            "{comment}"
        );
        assert_eq!(
            header.commitment(),
            base64(&vector["commitment"]),
            "{comment}"
        );
        assert_eq!(
            header.message_id(),
            base64(&vector["message-id"]),
            "{comment}"
        );
        unframed += usize::from(header.frame_bytes().is_none());
        good += 1;
    }
    assert_eq!((good, bad, unframed), (41, 5, 7));
}

/// The frames, given as a list, or as a list in the notation of Python.
fn plaintext_of(vector: &Value) -> String {
    let list = match &vector["plaintext-frames"] {
        Value::String(python) => serde_json::from_str(&python.replace('\'', "\"")).unwrap(),
        other => other.clone(),
    };
    list.as_array()
        .unwrap()
        .iter()
        .map(|frame| frame.as_str().unwrap())
        .collect()
}

#[test]
fn messages_of_the_python_sdk() {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/vectors/esdk-python-raw-aes");
    let manifest = json(&folder.join("manifest.json"));
    let hex = |value: &Value| hex::decode(value.as_str().unwrap()).unwrap();
    let wrapping = &manifest["wrapping"];
    let keyring = RawAesKeyring::new(
        wrapping["namespace"].as_str().unwrap(),
        wrapping["name"].as_str().unwrap(),
        &SecretBytes::new(hex(&wrapping["key-hex"])),
        Arc::new(SystemEntropy),
    )
    .unwrap();
    let tests = manifest["tests"].as_array().unwrap();
    assert_eq!(tests.len(), 198);
    for test in tests {
        let file = test["file"].as_str().unwrap();
        let sealed = std::fs::read(folder.join(file)).unwrap();
        let suite: Suite = test["suite"].as_str().unwrap().parse().unwrap();
        let mut options = OpenOptions::default();
        for (name, value) in test["encryption-context"].as_object().unwrap() {
            let value = value.as_str().unwrap();
            options.required_context.insert(name, value).unwrap();
        }
        if !suite.is_committing() {
            let refused = pollster::block_on(message::decrypt(&keyring, &sealed, &options));
            assert!(
                matches!(refused, Err(OpenError::Commitment { .. })),
                "{file}"
            );
            options.commitment = CommitmentPolicy::RequireEncryptAllowDecrypt;
        }
        let (plaintext, header) = pollster::block_on(message::decrypt(&keyring, &sealed, &options))
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(plaintext.expose(), hex(&test["plaintext-hex"]), "{file}");
        assert_eq!(header.suite(), suite);
        let frame_bytes = header
            .frame_bytes()
            .map_or(0, |bytes| u64::from(bytes.get()));
        assert_eq!(Some(frame_bytes), test["frame-length"].as_u64());
        let context_pairs = test["encryption-context"].as_object().unwrap().len();
        assert_eq!(
            header.context().len(),
            context_pairs + usize::from(suite.is_signed())
        );
    }
}
