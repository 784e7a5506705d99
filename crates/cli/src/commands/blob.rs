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

/// Magic of our own blobs.
const MAGIC: &[u8; 4] = b"WXKB";
/// Magic, version, suite, key kind, key id, backing key version, salt, commitment, tag.
const OVERHEAD_BYTES: usize = 4 + 1 + 1 + 1 + 16 + 4 + 24 + 32 + 16;

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
    let rest = blob.strip_prefix(MAGIC)?;
    let plaintext_bytes = blob.len().checked_sub(OVERHEAD_BYTES)?;
    let (&[version, _suite, kind], rest) = rest.split_first_chunk::<3>()?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let (backing, _) = rest.split_first_chunk::<4>()?;
    Some(BlobFacts {
        kms: "embedded KMS",
        version: Some(version),
        key_id: Some(key_id(kind, id)),
        backing_key_version: Some(u32::from_be_bytes(*backing)),
        plaintext_bytes: Some(plaintext_bytes as u64),
    })
}

/// Kind 1 is a multi-Region key; every other id is a UUID.
fn key_id(kind: u8, id: &[u8; 16]) -> String {
    let hex = hex::encode(id);
    if kind == 1 {
        return format!("mrk-{hex}");
    }
    let groups = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    groups.join("-")
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
        for len in 0..OVERHEAD_BYTES {
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
