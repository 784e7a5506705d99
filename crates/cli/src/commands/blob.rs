//! What the ciphertext blob of a KMS says about itself, without any key.

use serde::Serialize;

/// Facts of a blob, none of them authenticated.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct BlobFacts {
    /// Whose blob it is.
    pub(super) kms: &'static str,
    /// Version of the layout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<u8>,
    /// The wrapping key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key_id: Option<String>,
    /// Which version of its material.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) backing_key_version: Option<u32>,
    /// Bytes that were encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) plaintext_bytes: Option<u64>,
}

/// Reads the blob; `None` when it is neither ours nor Amazon's.
pub(super) fn blob_facts(blob: &[u8]) -> Option<BlobFacts> {
    if let [1, 2, 2 | 3, 0, 0x78, ..] = blob {
        return Some(BlobFacts {
            kms: "Amazon KMS",
            version: None,
            key_id: None,
            backing_key_version: None,
            plaintext_bytes: None,
        });
    }
    let facts = waxseal_kms::blob::BlobFacts::parse(blob).ok()?;
    Some(BlobFacts {
        kms: "embedded KMS",
        version: Some(waxseal_kms::blob::LAYOUT),
        key_id: Some(facts.key_id.to_string()),
        backing_key_version: Some(facts.backing_key_version),
        plaintext_bytes: Some(facts.plaintext_bytes as u64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_blobs_name_their_key() {
        let mut blob = b"WXKB\x01\x01\x00".to_vec();
        blob.extend(0x10..0x20);
        blob.extend(7_u32.to_be_bytes());
        blob.extend([0; 24 + 32 + 20 + 16]);
        let facts = blob_facts(&blob).unwrap();
        let id = "10111213-1415-1617-1819-1a1b1c1d1e1f";
        assert_eq!(facts.key_id.as_deref(), Some(id));
        assert_eq!(facts.backing_key_version, Some(7));
        assert_eq!(facts.plaintext_bytes, Some(20));
        for len in 0..=waxseal_kms::blob::OVERHEAD_BYTES {
            assert_eq!(blob_facts(&blob[..len]), None);
        }
    }

    #[test]
    fn other_blobs_are_told_apart() {
        assert_eq!(
            blob_facts(&[1, 2, 2, 0, 0x78, 9]).unwrap().kms,
            "Amazon KMS"
        );
        assert_eq!(blob_facts(b"anything"), None);
    }
}
