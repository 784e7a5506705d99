//! From a description of keys to keys.

use super::text;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// A key that needs no KMS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// Bytes.
    Aes {
        /// Provider id.
        namespace: String,
        /// What the provider information begins with.
        name: String,
        /// 16, 24 or 32 bytes.
        key: Vec<u8>,
    },
    /// PEM, public or private.
    Rsa {
        /// Provider id.
        namespace: String,
        /// Provider information.
        name: String,
        /// PKCS#1, PKCS#8 or SubjectPublicKeyInfo.
        pem: String,
        /// `pkcs1`, or `oaep-` and the hash, as on our command line.
        padding: String,
    },
    /// Key agreement.
    Ecdh(Ecdh),
    /// A branch key that is given.
    Branch(Branch),
}

/// Key agreement with keys that are given as PEM and DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ecdh {
    /// Bits of the curve: 256, 384 or 521.
    pub curve_bits: u64,
    /// `static`, `ephemeral` or `discovery`.
    pub schema: String,
    /// The private key, PEM: the sender's when static, the recipient's otherwise.
    pub private: String,
    /// The recipient's public key, DER.
    pub recipient: Vec<u8>,
}

/// One version of a branch key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Identifier of the branch.
    pub id: String,
    /// The version, a UUID.
    pub version: String,
    /// The key, 32 bytes.
    pub key: Vec<u8>,
}

/// Why a key cannot be had: the kind that the manifest names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotLocal(pub String);

/// The keys of a list of descriptions, and those that are elsewhere. Multi-keyrings and materials
/// managers are taken apart: what is inside them is tried in their order.
pub(super) fn all(descriptions: &Value, keys: &Value) -> (Vec<Key>, Vec<NotLocal>) {
    let (mut local, mut elsewhere) = (Vec::new(), Vec::new());
    let mut left: Vec<&Value> = descriptions
        .as_array()
        .expect("a list of keys")
        .iter()
        .rev()
        .collect();
    while let Some(description) = left.pop() {
        match text(&description["type"]) {
            "multi-keyring" => {
                let children = description["childKeyrings"].as_array();
                left.extend(children.into_iter().flatten().rev());
                left.extend(
                    description
                        .get("generator")
                        .filter(|generator| !generator.is_null()),
                );
            }
            "required-encryption-context-cmm" => left.push(&description["underlying"]),
            "raw" => local.push(raw(description, keys)),
            "raw-ecdh" => local.push(Key::Ecdh(ecdh(description, keys))),
            "aws-kms-hierarchy" => match branch(&keys[text(&description["key"])]) {
                Some(branch) => local.push(Key::Branch(branch)),
                None => elsewhere.push(NotLocal("aws-kms-hierarchy".to_owned())),
            },
            other => {
                assert!(
                    other.starts_with("aws-kms"),
                    "a key of type {other}: {description}"
                );
                elsewhere.push(NotLocal(other.to_owned()));
            }
        }
    }
    (local, elsewhere)
}

fn raw(description: &Value, keys: &Value) -> Key {
    let known_as = text(&description["key"]);
    let entry = &keys[known_as];
    assert!(!entry.is_null(), "there is no key {known_as}");
    let namespace = text(&description["provider-id"]).to_owned();
    let named = description.get("key-id").or(entry.get("key-id"));
    let name = named.map_or(known_as, text).to_owned();
    match text(&description["encryption-algorithm"]) {
        "aes" => Key::Aes {
            namespace,
            name,
            key: decoded(entry),
        },
        "rsa" => Key::Rsa {
            namespace,
            name,
            pem: joined(entry),
            padding: match (
                text(&description["padding-algorithm"]),
                description.get("padding-hash"),
            ) {
                ("pkcs1", _) => "pkcs1".to_owned(),
                ("oaep-mgf1", Some(hash)) => format!("oaep-{}", text(hash)),
                other => panic!("padding {other:?}"),
            },
        },
        other => panic!("a raw key for {other}"),
    }
}

/// The material as text: one string, or lines with what stands between them.
fn joined(entry: &Value) -> String {
    match &entry["material"] {
        Value::Array(lines) => {
            let between = entry.get("line-separator").map_or("", text);
            lines.iter().map(text).collect::<Vec<_>>().join(between)
        }
        one => text(one).to_owned(),
    }
}

fn decoded(entry: &Value) -> Vec<u8> {
    assert_eq!(entry["encoding"], "base64");
    let key = STANDARD.decode(joined(entry)).expect("base64");
    assert_eq!(Some(key.len() as u64 * 8), entry["bits"].as_u64());
    key
}

fn ecdh(description: &Value, keys: &Value) -> Ecdh {
    let entry = |who: &str| &keys[text(&description[who])];
    let schema = text(&description["schema"]).to_owned();
    let recipient = entry("recipient");
    let private = match schema.as_str() {
        "static" => &entry("sender")["sender-material"],
        _ => &recipient["recipient-material"],
    };
    Ecdh {
        curve_bits: recipient["bits"].as_u64().expect("bits"),
        schema,
        private: text(private).to_owned(),
        recipient: STANDARD
            .decode(text(&recipient["recipient-material-public-key"]))
            .expect("base64"),
    }
}

fn branch(entry: &Value) -> Option<Branch> {
    if entry["type"] != "static-branch-key" {
        return None;
    }
    Some(Branch {
        id: text(&entry["key-id"]).to_owned(),
        version: text(&entry["branchKeyVersion"]).to_owned(),
        key: STANDARD.decode(text(&entry["branchKey"])).expect("base64"),
    })
}
