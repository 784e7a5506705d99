//! Names of S3 buckets (Amazon S3 user guide, "General purpose bucket naming rules"): 3 to 63 lower-case
//! letters, digits, dots and hyphens. Such a name needs no encoding anywhere.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// Prefixes and suffixes that Amazon keeps for itself.
const RESERVED_PREFIXES: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];
const RESERVED_SUFFIXES: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];

/// A text that can be no name of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no name of a bucket: 3 to 63 lower-case letters, digits, '-' and '.'")]
pub struct BucketNameError(String);

/// The name of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketName(String);

impl BucketName {
    /// The name in text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BucketName {
    type Err = BucketNameError;

    fn from_str(text: &str) -> Result<Self, BucketNameError> {
        match is_bucket(text) {
            true => Ok(Self(text.to_owned())),
            false => Err(BucketNameError(text.to_owned())),
        }
    }
}

fn is_bucket(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    (3..=63).contains(&bytes.len())
        && bytes
            .iter()
            .all(|byte| is_plain(*byte) || matches!(byte, b'-' | b'.'))
        && [bytes[0], bytes[bytes.len() - 1]].into_iter().all(is_plain)
        && !name.contains("..")
        && name.parse::<Ipv4Addr>().is_err()
        && !RESERVED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
        && !RESERVED_SUFFIXES
            .iter()
            .any(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_buckets() {
        for name in [
            "abc",
            "waxseal-trail",
            "a.b-c",
            "1.2.3",
            "1.2.3.4.5",
            &"a".repeat(63),
        ] {
            let parsed: BucketName = name.parse().unwrap();
            assert_eq!(parsed.to_string(), name);
        }
        for name in [
            "",
            "ab",
            "Abc",
            "a_b",
            "-ab",
            "ab-",
            ".ab",
            "ab.",
            "a..b",
            "a/b",
            "a b",
            "é-bucket",
            "192.168.5.4",
            "xn--bucket",
            "sthree-bucket",
            "bucket-s3alias",
            "bucket--x-s3",
            &"a".repeat(64),
        ] {
            assert!(name.parse::<BucketName>().is_err(), "{name}");
        }
    }
}
