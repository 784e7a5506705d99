//! Manifests of messages to be opened, in the formats that the makers of the AWS Encryption SDK
//! publish their vectors in: `awses-decrypt`, versions 1 to 5 (test vector framework,
//! `features/0004-awses-message-decryption.md`, and the SDK's own `framework/test-vectors`), with
//! keys manifests of versions 1 to 4 (`features/0002-keys.md`).
//!
//! | version | plaintext | keys | context |
//! |---|---|---|---|
//! | 1 | `plaintext` | `master-keys` | – |
//! | 2, 3 | `result.output.plaintext`, or `result.error` | `master-keys` | – |
//! | 4 | the same | `master-keys` | `encryption-context`: demanded or reproduced |
//! | 5 | `result` | `decryptKeyDescription` | `reproduced-encryption-context` |

mod keys;

pub use keys::{Branch, Ecdh, Key, NotLocal};

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// One message and what must come of it.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its name in the manifest.
    pub name: String,
    /// The message.
    pub sealed: PathBuf,
    /// Who opens it: the first that can.
    pub keys: Vec<Key>,
    /// Keys that the manifest names and that are in a KMS, or that nobody here knows.
    pub elsewhere: Vec<NotLocal>,
    /// Pairs that are demanded when the message has them, and reproduced when it has not.
    pub context: Vec<(String, String)>,
    /// The plaintext; `None` when the message must be refused.
    pub plaintext: Option<PathBuf>,
    /// Only as a stream that releases frames before the end: a signed message is then refused.
    pub unsigned_stream_only: bool,
}

impl Case {
    /// Whether some key can be had without a KMS.
    pub fn is_local(&self) -> bool {
        !self.keys.is_empty()
    }
}

/// The cases of a manifest.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Version of the format.
    pub version: u64,
    /// In the order of their names.
    pub cases: Vec<Case>,
}

impl Manifest {
    /// Reads the manifest at `path`: the file itself, or the first of `decrypt-manifest.json`,
    /// `decrypt_message.json` and `manifest.json` in a folder.
    ///
    /// # Panics
    /// When it is none that we know: a case that is not understood must not pass in silence.
    pub fn read(path: &Path) -> Self {
        let file = file_of(path);
        let root = json(&file);
        let folder = file.parent().expect("a file has a folder");
        let (kind, version) = (&root["manifest"]["type"], &root["manifest"]["version"]);
        assert_eq!(*kind, "awses-decrypt", "{}", file.display());
        let version = version.as_u64().expect("a version");
        assert!(
            (1..=5).contains(&version),
            "{}: version {version}",
            file.display()
        );
        let keys = json(&uri(folder, &root["keys"]));
        let tests = root["tests"].as_object().expect("tests by name");
        let cases = tests
            .iter()
            .map(|(name, test)| match test.get("decryption-scenario") {
                Some(scenario) => scenario_case(name, scenario, folder, &keys["keys"]),
                None => classic_case(name, test, folder, &keys["keys"]),
            });
        let mut cases: Vec<_> = cases.collect();
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        Self { version, cases }
    }
}

fn file_of(path: &Path) -> PathBuf {
    if path.is_file() {
        return path.to_owned();
    }
    let names = [
        "decrypt-manifest.json",
        "decrypt_message.json",
        "manifest.json",
    ];
    let found = names
        .iter()
        .map(|name| path.join(name))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{} holds none of {names:?}", path.display()))
}

/// Versions 1 to 4.
fn classic_case(name: &str, test: &Value, folder: &Path, keys: &Value) -> Case {
    let (local, elsewhere) = keys::all(&test["master-keys"], keys);
    let result = &test["result"];
    let plaintext = match (
        test.get("plaintext"),
        result.get("output"),
        result.get("error"),
    ) {
        (Some(plaintext), None, None) => Some(uri(folder, plaintext)),
        (None, Some(output), None) => Some(uri(folder, &output["plaintext"])),
        (None, None, Some(_)) => None,
        _ => panic!("{name}: what is expected? {test}"),
    };
    let unsigned_stream_only = match test.get("decryption-method").map(|method| method.as_str()) {
        None => false,
        Some(Some("streaming-unsigned-only")) => true,
        other => panic!("{name}: decryption method {other:?}"),
    };
    Case {
        name: name.to_owned(),
        sealed: uri(folder, &test["ciphertext"]),
        keys: local,
        elsewhere,
        context: pairs(&test["encryption-context"]),
        plaintext,
        unsigned_stream_only,
    }
}

/// Version 5.
fn scenario_case(name: &str, scenario: &Value, folder: &Path, keys: &Value) -> Case {
    let description = &scenario["decryptKeyDescription"];
    let (local, elsewhere) = keys::all(&Value::Array(vec![description.clone()]), keys);
    let result = &scenario["result"];
    let plaintext = match scenario["type"].as_str().expect("a type") {
        "positive-esdk" => Some(uri(
            folder,
            result.get("output").map_or(result, |o| &o["plaintext"]),
        )),
        kind if kind.starts_with("negative") => None,
        kind => panic!("{name}: a scenario of type {kind}"),
    };
    Case {
        name: name.to_owned(),
        sealed: uri(folder, &scenario["ciphertext"]),
        keys: local,
        elsewhere,
        context: pairs(&scenario["reproduced-encryption-context"]),
        plaintext,
        unsigned_stream_only: false,
    }
}

/// Pairs in the order of the file; none when there is no such member.
fn pairs(object: &Value) -> Vec<(String, String)> {
    let pair = |(name, value): (&String, &Value)| (name.clone(), text(value).to_owned());
    object.as_object().into_iter().flatten().map(pair).collect()
}

/// `file://` and a path from the folder of the manifest.
fn uri(folder: &Path, value: &Value) -> PathBuf {
    let uri = text(value);
    let path = uri
        .strip_prefix("file://")
        .unwrap_or_else(|| panic!("{uri} is no file"));
    folder.join(path)
}

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("text, not {value}"))
}

/// A JSON file.
///
/// # Panics
/// When it cannot be read, or is none.
pub fn json(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
