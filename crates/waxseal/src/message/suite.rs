//! The algorithm suites (AWS Encryption SDK specification, `framework/algorithm-suites.md`):
//! one row each.

use std::fmt;
use std::str::FromStr;
use waxseal_core::crypto::ecdsa::Curve;
use waxseal_core::crypto::kdf::HkdfHash;

/// An algorithm suite: how the data key becomes a message key, and what else protects a message.
///
/// It parses from its id (`0x0478`, `0478`) and from the name that the specification gives it.
///
/// ```
/// use waxseal::message::Suite;
///
/// let suite: Suite = "AES_256_GCM_HKDF_SHA512_COMMIT_KEY".parse()?;
/// assert_eq!(suite, Suite::COMMITTING);
/// assert_eq!("0x0478".parse(), Ok(suite));
/// # Ok::<(), waxseal::message::UnknownSuite>(())
/// ```
#[derive(Clone, Copy)]
pub struct Suite(&'static Row);

struct Row {
    id: u16,
    /// As the specification names it.
    aws_name: &'static str,
    /// In words.
    words: &'static str,
    /// Length of the data key and of the key derived from it.
    key_bytes: usize,
    derivation: Derivation,
    signature: Option<Curve>,
}

/// From the data key to the message key; it decides the header's version, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Derivation {
    /// The data key is the message key. Version 1.
    None,
    /// HKDF over suite id and message id. Version 1.
    Hkdf(HkdfHash),
    /// HKDF salted with the message id, and a commitment in the header. Version 2.
    Committing(HkdfHash),
}

use Derivation::{Committing, Hkdf};
use HkdfHash::{Sha256, Sha384, Sha512};

static TABLE: [Row; 11] = [
    Row {
        id: 0x0478,
        aws_name: "AES_256_GCM_HKDF_SHA512_COMMIT_KEY",
        words: "AES-256-GCM, HKDF-SHA-512, key commitment",
        key_bytes: 32,
        derivation: Committing(Sha512),
        signature: None,
    },
    Row {
        id: 0x0578,
        aws_name: "AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384",
        words: "AES-256-GCM, HKDF-SHA-512, key commitment, ECDSA P-384",
        key_bytes: 32,
        derivation: Committing(Sha512),
        signature: Some(Curve::P384),
    },
    Row {
        id: 0x0378,
        aws_name: "AES_256_GCM_IV12_TAG16_HKDF_SHA384_ECDSA_P384",
        words: "AES-256-GCM, HKDF-SHA-384, ECDSA P-384",
        key_bytes: 32,
        derivation: Hkdf(Sha384),
        signature: Some(Curve::P384),
    },
    Row {
        id: 0x0346,
        aws_name: "AES_192_GCM_IV12_TAG16_HKDF_SHA384_ECDSA_P384",
        words: "AES-192-GCM, HKDF-SHA-384, ECDSA P-384",
        key_bytes: 24,
        derivation: Hkdf(Sha384),
        signature: Some(Curve::P384),
    },
    Row {
        id: 0x0214,
        aws_name: "AES_128_GCM_IV12_TAG16_HKDF_SHA256_ECDSA_P256",
        words: "AES-128-GCM, HKDF-SHA-256, ECDSA P-256",
        key_bytes: 16,
        derivation: Hkdf(Sha256),
        signature: Some(Curve::P256),
    },
    Row {
        id: 0x0178,
        aws_name: "AES_256_GCM_IV12_TAG16_HKDF_SHA256",
        words: "AES-256-GCM, HKDF-SHA-256",
        key_bytes: 32,
        derivation: Hkdf(Sha256),
        signature: None,
    },
    Row {
        id: 0x0146,
        aws_name: "AES_192_GCM_IV12_TAG16_HKDF_SHA256",
        words: "AES-192-GCM, HKDF-SHA-256",
        key_bytes: 24,
        derivation: Hkdf(Sha256),
        signature: None,
    },
    Row {
        id: 0x0114,
        aws_name: "AES_128_GCM_IV12_TAG16_HKDF_SHA256",
        words: "AES-128-GCM, HKDF-SHA-256",
        key_bytes: 16,
        derivation: Hkdf(Sha256),
        signature: None,
    },
    Row {
        id: 0x0078,
        aws_name: "AES_256_GCM_IV12_TAG16",
        words: "AES-256-GCM, no key derivation",
        key_bytes: 32,
        derivation: Derivation::None,
        signature: None,
    },
    Row {
        id: 0x0046,
        aws_name: "AES_192_GCM_IV12_TAG16",
        words: "AES-192-GCM, no key derivation",
        key_bytes: 24,
        derivation: Derivation::None,
        signature: None,
    },
    Row {
        id: 0x0014,
        aws_name: "AES_128_GCM_IV12_TAG16",
        words: "AES-128-GCM, no key derivation",
        key_bytes: 16,
        derivation: Derivation::None,
        signature: None,
    },
];

impl Suite {
    /// 0x0478: AES-256-GCM under HKDF-SHA-512 with key commitment. The default: each frame can be
    /// trusted as soon as its own tag has verified.
    pub const COMMITTING: Self = Self(&TABLE[0]);

    /// 0x0578: as 0x0478, and signed with a key pair made for the message (ECDSA P-384). For
    /// writers and readers who hold different rights; a reader must see the end of the message
    /// before it may trust the beginning.
    pub const COMMITTING_SIGNED: Self = Self(&TABLE[1]);

    /// 0x0378: what the AWS Encryption SDKs write where commitment is forbidden. For readers that
    /// know nothing newer.
    pub const UNCOMMITTED_SIGNED: Self = Self(&TABLE[2]);

    /// All suites there are.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        TABLE.iter().map(Self)
    }

    /// The suite with this id.
    pub fn by_id(id: u16) -> Option<Self> {
        Self::all().find(|suite| suite.id() == id)
    }

    /// The suite with this id, when it can stand in a message of this header `version`.
    pub fn from_id(id: u16, version: u8) -> Option<Self> {
        Self::by_id(id).filter(|suite| suite.version() == version)
    }

    /// The id that stands in the header.
    pub fn id(self) -> u16 {
        self.0.id
    }

    /// The suite's name in the specification.
    pub fn aws_name(self) -> &'static str {
        self.0.aws_name
    }

    /// What the suite consists of, in words.
    pub fn name(self) -> &'static str {
        self.0.words
    }

    /// Whether messages end with a signature.
    pub fn is_signed(self) -> bool {
        self.0.signature.is_some()
    }

    /// Whether the header commits to the data key, so that no ciphertext opens under two keys.
    pub fn is_committing(self) -> bool {
        matches!(self.0.derivation, Committing(_))
    }

    /// Length of the data key in bytes.
    pub fn key_bytes(self) -> usize {
        self.0.key_bytes
    }

    /// Whether each message has a key of its own, also when messages share a data key. Where it
    /// has not, a data key must serve one message only.
    pub fn derives_keys(self) -> bool {
        self.0.derivation != Derivation::None
    }

    /// The version of the header in which the suite stands: 1 or 2.
    pub fn version(self) -> u8 {
        if self.is_committing() { 2 } else { 1 }
    }

    /// Length in bytes of the footer as this and the other current libraries write it; zero without
    /// a signature. Older ones wrote signatures that are one or two bytes shorter or longer
    /// (`data-format/message-footer.md`).
    pub fn footer_bytes(self) -> usize {
        let signature = self.0.signature.map(Curve::signature_bytes);
        signature.map_or(0, |bytes| 2 + bytes)
    }

    pub(crate) fn derivation(self) -> Derivation {
        self.0.derivation
    }

    /// Length of the message id in bytes (`data-format/message-header.md`, *Message ID*).
    pub(crate) fn message_id_bytes(self) -> usize {
        if self.is_committing() { 32 } else { 16 }
    }

    /// Length of the suite data, which is the key commitment; zero for none.
    pub(crate) fn commitment_bytes(self) -> usize {
        if self.is_committing() { 32 } else { 0 }
    }

    pub(crate) fn signature(self) -> Option<Curve> {
        self.0.signature
    }
}

/// A text that names no algorithm suite.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no algorithm suite: give an id such as 0x0478, or a name such as AES_256_GCM_HKDF_SHA512_COMMIT_KEY"
)]
pub struct UnknownSuite(pub String);

impl FromStr for Suite {
    type Err = UnknownSuite;

    fn from_str(text: &str) -> Result<Self, UnknownSuite> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let is_id = digits.len() == 4 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let by_id = u16::from_str_radix(digits, 16).ok().filter(|_| is_id);
        by_id
            .and_then(Self::by_id)
            .or_else(|| Self::all().find(|suite| suite.aws_name().eq_ignore_ascii_case(text)))
            .ok_or_else(|| UnknownSuite(text.to_owned()))
    }
}

impl PartialEq for Suite {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Suite {}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Suite(0x{:04x})", self.0.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_stands_in_its_version_alone() {
        for suite in Suite::all() {
            let version = if suite.id() & 0x0400 != 0 { 2 } else { 1 };
            assert_eq!(suite.version(), version, "{suite:?}");
            assert_eq!(Suite::from_id(suite.id(), version), Some(suite));
            assert_eq!(Suite::from_id(suite.id(), 3 - version), None);
        }
        assert_eq!(Suite::by_id(0x0477), None);
    }

    /// In ids the last byte says the key's length, the first the derivation and the signature.
    #[test]
    fn ids_say_what_the_rows_say() {
        for suite in Suite::all() {
            let key_bytes = match suite.id() & 0xff {
                0x14 => 16,
                0x46 => 24,
                _ => 32,
            };
            assert_eq!(suite.key_bytes(), key_bytes, "{suite:?}");
            let signed = matches!(suite.id() >> 8, 2 | 3 | 5);
            assert_eq!(suite.is_signed(), signed, "{suite:?}");
            assert_eq!(suite.derives_keys(), suite.id() >> 8 != 0, "{suite:?}");
        }
    }

    #[test]
    fn ids_and_names_parse() {
        for suite in Suite::all() {
            let id = format!("{:04x}", suite.id());
            for text in [
                &id,
                &format!("0x{id}"),
                &id.to_uppercase(),
                suite.aws_name(),
            ] {
                assert_eq!(text.parse(), Ok(suite), "{text}");
            }
        }
        for text in ["", "478", "0x00478", "+478", "0x", "AES_256"] {
            assert!(text.parse::<Suite>().is_err(), "{text}");
        }
    }
}
