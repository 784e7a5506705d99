//! Names of keys: ids, ARNs and aliases, each parsed once into a type that cannot be wrong.
//!
//! Shapes (KMS API reference, `KeyId` parameters; AWS Encryption SDK specification,
//! `framework/aws-kms/aws-kms-key-arn.md`):
//!
//! ```text
//! key id      1234abcd-12ab-34cd-56ef-1234567890ab | mrk-1234abcd12ab34cd56ef1234567890ab
//! key ARN     arn:aws:kms:REGION:ACCOUNT:key/KEY-ID
//! alias       alias/NAME
//! alias ARN   arn:aws:kms:REGION:ACCOUNT:alias/NAME
//! ```

use std::fmt;
use std::str::FromStr;

/// The most characters of an alias name, `alias/` included (KMS API, `AliasNameType`).
pub const ALIAS_CHARS_MAX: usize = 256;
/// The most characters of a key id, ARN or alias in a request (KMS API, `KeyIdType`).
pub const KEY_REF_CHARS_MAX: usize = 2048;

/// Why a name was refused. Each variant carries the text that was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Not a key id: neither a UUID nor `mrk-` and 32 hexadecimal digits, nor a plain token.
    #[error("'{0}' is not a key id")]
    KeyId(String),
    /// Not `alias/` and letters, digits, `/`, `_`, `-` (`:` too, as AWS has it).
    #[error(
        "'{0}' is not an alias: write alias/NAME with letters, digits, '/', '_' and '-' (256 characters at most)"
    )]
    Alias(String),
    /// An ARN of something else, or with missing parts.
    #[error("'{0}' is not the ARN of a KMS key: write arn:aws:kms:REGION:ACCOUNT:key/ID")]
    Arn(String),
}

/// The id of a key: a UUID, `mrk-` and 32 hexadecimal digits, or another plain token of letters,
/// digits, `-` and `_` as compatible servers use it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(String);

impl KeyId {
    /// The id in text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the id is a UUID in lower-case text form.
    pub fn is_uuid(&self) -> bool {
        let bytes = self.0.as_bytes();
        bytes.len() == 36
            && bytes.iter().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => *byte == b'-',
                _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            })
    }

    /// Whether the id is one that a KMS gives: a UUID, or `mrk-` and 32 hexadecimal digits.
    pub fn is_well_formed(&self) -> bool {
        let digits = self.0.strip_prefix("mrk-").map(str::as_bytes);
        let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        self.is_uuid()
            || digits.is_some_and(|digits| digits.len() == 32 && digits.iter().all(is_hex))
    }

    /// Whether the id is that of a multi-Region key.
    pub fn is_multi_region(&self) -> bool {
        self.0.starts_with("mrk-")
    }
}

impl FromStr for KeyId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if text.is_empty() || text.len() > 256 || !text.bytes().all(plain) {
            return Err(NameError::KeyId(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

/// An alias: `alias/NAME`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AliasName(String);

impl AliasName {
    /// The whole name, `alias/` included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name is in the space that AWS keeps for itself (`alias/aws/`).
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with("alias/aws/")
    }
}

impl FromStr for AliasName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = || NameError::Alias(text.to_owned());
        let name = text.strip_prefix("alias/").ok_or_else(wrong)?;
        let allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'/' | b'_' | b'-');
        if name.is_empty() || text.len() > ALIAS_CHARS_MAX || !name.bytes().all(allowed) {
            return Err(wrong());
        }
        Ok(Self(text.to_owned()))
    }
}

/// Whether a text has the form of an account: 12 digits.
pub fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Where a key or an alias lives: partition, Region and account of its ARN.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Home {
    /// `aws`, `aws-cn`, `aws-us-gov`, …
    pub partition: String,
    /// For example `eu-west-1`.
    pub region: String,
    /// Twelve digits at Amazon; any non-empty token elsewhere.
    pub account: String,
}

impl Home {
    /// The ARN of a key that lives here.
    pub fn key_arn(&self, id: KeyId) -> KeyArn {
        KeyArn {
            home: self.clone(),
            id,
        }
    }

    /// The ARN of an alias that lives here, in text.
    pub fn alias_arn(&self, alias: &AliasName) -> String {
        format!("{self}:{}", alias.as_str())
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            "arn:",
            &self.partition,
            ":kms:",
            &self.region,
            ":",
            &self.account,
        ];
        parts.into_iter().try_for_each(|part| f.write_str(part))
    }
}

/// The ARN of a KMS key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyArn {
    /// Partition, Region, account.
    pub home: Home,
    /// The key's id.
    pub id: KeyId,
}

impl KeyArn {
    /// As `to_string`, in one piece of memory.
    pub fn text(&self) -> String {
        let Home {
            partition,
            region,
            account,
        } = &self.home;
        let id = self.id.as_str();
        [
            "arn:", partition, ":kms:", region, ":", account, ":key/", id,
        ]
        .concat()
    }
}

impl FromStr for KeyArn {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = || NameError::Arn(text.to_owned());
        let (home, resource) = split_arn(text).ok_or_else(wrong)?;
        let id = resource.strip_prefix("key/").ok_or_else(wrong)?;
        Ok(Self {
            home,
            id: id.parse().map_err(|_| wrong())?,
        })
    }
}

/// Any form in which a user or a request names a key.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum KeyRef {
    /// A bare id.
    Id(KeyId),
    /// A key ARN.
    Arn(KeyArn),
    /// A bare alias.
    Alias(AliasName),
    /// An alias ARN.
    AliasArn(Home, AliasName),
}

impl KeyRef {
    /// Partition, Region and account, when the form carries them.
    pub fn home(&self) -> Option<&Home> {
        match self {
            Self::Arn(arn) => Some(&arn.home),
            Self::AliasArn(home, _) => Some(home),
            Self::Id(_) | Self::Alias(_) => None,
        }
    }
}

impl FromStr for KeyRef {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.starts_with("alias/") {
            return Ok(Self::Alias(text.parse()?));
        }
        if !text.starts_with("arn:") {
            return Ok(Self::Id(text.parse()?));
        }
        let (home, resource) = split_arn(text).ok_or_else(|| NameError::Arn(text.to_owned()))?;
        if resource.starts_with("alias/") {
            return Ok(Self::AliasArn(home, resource.parse()?));
        }
        let key = resource.strip_prefix("key/").map(KeyId::from_str);
        match key {
            Some(Ok(id)) => Ok(Self::Arn(KeyArn { home, id })),
            _ => Err(NameError::Arn(text.to_owned())),
        }
    }
}

/// Splits `arn:PARTITION:kms:REGION:ACCOUNT:RESOURCE`; every part must be there.
fn split_arn(text: &str) -> Option<(Home, &str)> {
    if text.len() > KEY_REF_CHARS_MAX {
        return None;
    }
    let mut parts = text.splitn(6, ':');
    let ("arn", partition, "kms", region, account, resource) = (
        parts.next()?,
        parts.next()?,
        parts.next()?,
        parts.next()?,
        parts.next()?,
        parts.next()?,
    ) else {
        return None;
    };
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if !(token(partition) && token(region) && token(account)) {
        return None;
    }
    let home = Home {
        partition: partition.to_owned(),
        region: region.to_owned(),
        account: account.to_owned(),
    };
    Some((home, resource))
}

macro_rules! text_form {
    ($type:ty, |$self:ident, $f:ident| $write:expr) => {
        impl fmt::Display for $type {
            fn fmt(&$self, $f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $write
            }
        }
    };
}

text_form!(KeyId, |self, f| f.write_str(&self.0));
text_form!(AliasName, |self, f| f.write_str(&self.0));
text_form!(KeyArn, |self, f| {
    self.home.fmt(f)?;
    f.write_str(":key/")?;
    f.write_str(&self.id.0)
});
text_form!(KeyRef, |self, f| match self {
    Self::Id(id) => id.fmt(f),
    Self::Arn(arn) => arn.fmt(f),
    Self::Alias(alias) => alias.fmt(f),
    Self::AliasArn(home, alias) => f.write_str(&home.alias_arn(alias)),
});

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl fmt::Debug for AliasName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AliasName({self})")
    }
}

impl fmt::Debug for KeyArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyArn({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";

    #[test]
    fn every_form_prints_back_as_given() {
        for text in [
            ID,
            "mrk-1234abcd12ab34cd56ef1234567890ab",
            "alias/default",
            "alias/a/b_c-d",
            &format!("arn:aws:kms:eu-west-1:123456789012:key/{ID}"),
            "arn:aws-cn:kms:cn-north-1:123456789012:alias/x",
        ] {
            assert_eq!(text.parse::<KeyRef>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn kinds_of_ids_are_told_apart() {
        assert!(ID.parse::<KeyId>().unwrap().is_uuid());
        assert!(!ID.to_uppercase().parse::<KeyId>().unwrap().is_uuid());
        assert!("mrk-00".parse::<KeyId>().unwrap().is_multi_region());
        assert!("alias/aws/ebs".parse::<AliasName>().unwrap().is_reserved());
    }

    #[test]
    fn wrong_names_are_refused() {
        for text in [
            "",
            "key with space",
            "alias/",
            "alias/ä",
            "arn:aws:kms:eu-west-1:123456789012",
            "arn:aws:s3:eu-west-1:123456789012:key/x",
            "arn:aws:kms::123456789012:key/x",
            "arn:aws:kms:eu-west-1::key/x",
            "arn:aws:kms:eu-west-1:123456789012:key/",
            "arn:aws:kms:eu-west-1:123456789012:store/x",
            "arn::kms:eu-west-1:123456789012:key/x",
        ] {
            assert!(text.parse::<KeyRef>().is_err(), "{text:?} must be refused");
        }
        let long = format!("alias/{}", "a".repeat(ALIAS_CHARS_MAX - 6));
        assert!(long.parse::<AliasName>().is_ok());
        assert!(format!("{long}a").parse::<AliasName>().is_err());
    }
}
