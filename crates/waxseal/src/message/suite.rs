//! The algorithm suites (AWS Encryption SDK specification, `framework/algorithm-suites.md`):
//! one row each.

use waxseal_core::crypto::ecdsa::Curve;
use waxseal_core::crypto::kdf::HkdfHash;

/// An algorithm suite: how the data key becomes a message key, and what else protects a message.
#[derive(Clone, Copy)]
pub struct Suite(&'static Row);

struct Row {
    id: u16,
    name: &'static str,
    /// The header version in which the suite stands.
    version: u8,
    /// Length of the data key and of the key derived from it.
    key_bytes: usize,
    /// HKDF under this hash, from the data key to the message key and the commitment.
    hash: HkdfHash,
    /// Length of the message id in bytes.
    message_id_bytes: usize,
    /// Length of the suite data, which is the key commitment; zero for none.
    commitment_bytes: usize,
    signature: Option<Curve>,
}

static TABLE: [Row; 2] = [
    Row {
        id: 0x0478,
        name: "AES-256-GCM, HKDF-SHA-512, key commitment",
        version: 2,
        key_bytes: 32,
        hash: HkdfHash::Sha512,
        message_id_bytes: 32,
        commitment_bytes: 32,
        signature: None,
    },
    Row {
        id: 0x0578,
        name: "AES-256-GCM, HKDF-SHA-512, key commitment, ECDSA P-384",
        version: 2,
        key_bytes: 32,
        hash: HkdfHash::Sha512,
        message_id_bytes: 32,
        commitment_bytes: 32,
        signature: Some(Curve::P384),
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

    /// The suite with this id, when it can stand in a message of this header `version`.
    pub fn from_id(id: u16, version: u8) -> Option<Self> {
        TABLE
            .iter()
            .find(|row| row.id == id && row.version == version)
            .map(Self)
    }

    /// The id that stands in the header.
    pub fn id(self) -> u16 {
        self.0.id
    }

    /// What the suite consists of, in words.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Whether messages end with a signature.
    pub fn is_signed(self) -> bool {
        self.0.signature.is_some()
    }

    /// Whether the header commits to the data key, so that no ciphertext opens under two keys.
    pub fn is_committing(self) -> bool {
        self.0.commitment_bytes > 0
    }

    /// Length of the data key in bytes.
    pub fn key_bytes(self) -> usize {
        self.0.key_bytes
    }

    pub(crate) fn version(self) -> u8 {
        self.0.version
    }

    pub(crate) fn hash(self) -> HkdfHash {
        self.0.hash
    }

    pub(crate) fn message_id_bytes(self) -> usize {
        self.0.message_id_bytes
    }

    pub(crate) fn commitment_bytes(self) -> usize {
        self.0.commitment_bytes
    }

    pub(crate) fn signature(self) -> Option<Curve> {
        self.0.signature
    }
}

impl PartialEq for Suite {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Suite {}

impl std::fmt::Debug for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Suite(0x{:04x})", self.0.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_stands_in_its_version_alone() {
        assert_eq!(Suite::from_id(0x0478, 2), Some(Suite::COMMITTING));
        assert_eq!(Suite::from_id(0x0578, 2), Some(Suite::COMMITTING_SIGNED));
        assert_eq!(Suite::from_id(0x0478, 1), None);
        assert_eq!(Suite::from_id(0x0378, 2), None);
    }
}
