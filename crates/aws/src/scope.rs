//! Whose encrypted data keys are ours and whom to ask about them: decided by names alone.
//!
//! After the AWS Encryption SDK specification, `framework/aws-kms/`: the filters of
//! `aws-kms-keyring.md`, `aws-kms-mrk-keyring.md`, `aws-kms-discovery-keyring.md` and
//! `aws-kms-mrk-discovery-keyring.md`, with `aws-kms-mrk-match-for-decrypt.md` and
//! `aws-kms-mrk-are-unique.md`.

use std::collections::{BTreeMap, BTreeSet};
use waxseal_core::{EncryptedDataKey, KeyArn, KeyId, KeyRef, KeyringError};

/// The partition and the accounts whose keys a discovery keyring may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveryFilter {
    partition: String,
    accounts: BTreeSet<String>,
}

/// Why a discovery filter was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// Not the partition of an ARN: `aws`, `aws-cn`, `aws-us-gov`, …
    #[error("'{0}' is not an AWS partition")]
    Partition(String),
    /// Not the account of an ARN.
    #[error("'{0}' is not an AWS account")]
    Account(String),
    /// A filter without accounts lets nothing pass.
    #[error("a discovery filter needs an account at least")]
    NoAccount,
}

impl DiscoveryFilter {
    /// Lets pass the keys of `accounts` in `partition` (`aws` for most).
    ///
    /// # Errors
    /// [`FilterError`]: an account or the partition is empty or no part of an ARN, or there is no
    /// account.
    pub fn new<A: Into<String>>(
        partition: impl Into<String>,
        accounts: impl IntoIterator<Item = A>,
    ) -> Result<Self, FilterError> {
        let partition = partition.into();
        if !is_token(&partition) {
            return Err(FilterError::Partition(partition));
        }
        let accounts: BTreeSet<String> = accounts.into_iter().map(Into::into).collect();
        if let Some(wrong) = accounts.iter().find(|account| !is_token(account)) {
            return Err(FilterError::Account(wrong.clone()));
        }
        if accounts.is_empty() {
            return Err(FilterError::NoAccount);
        }
        Ok(Self {
            partition,
            accounts,
        })
    }

    /// Whether keys with this ARN may be used.
    pub fn admits(&self, arn: &KeyArn) -> bool {
        self.partition == arn.home.partition && self.accounts.contains(&arn.home.account)
    }
}

/// What an ARN can have for partition and account.
fn is_token(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !text.is_empty() && text.bytes().all(plain)
}

/// Whether `left` and `right` are replicas of one multi-Region key, or the same key: equal in all
/// but the Region, which may differ when the id starts with `mrk-`
/// (`aws-kms-mrk-match-for-decrypt.md`).
pub fn is_related(left: &KeyArn, right: &KeyArn) -> bool {
    left == right
        || left.id.is_multi_region()
            && left.id == right.id
            && left.home.partition == right.home.partition
            && left.home.account == right.home.account
}

/// Several replicas of one multi-Region key where it must be clear which Region is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the same multi-Region key is named more than once: {}", list(.0))]
pub struct SameMultiRegionKey(pub Vec<KeyRef>);

fn list(keys: &[KeyRef]) -> String {
    let texts: Vec<_> = keys.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// Asserts that no two of `keys` name the same multi-Region key, in whatever Region. Keys of one
/// Region and aliases may repeat (`aws-kms-mrk-are-unique.md`).
///
/// # Errors
/// [`SameMultiRegionKey`] with every name that has a double.
pub fn assert_unique<'a>(
    keys: impl IntoIterator<Item = &'a KeyRef>,
) -> Result<(), SameMultiRegionKey> {
    let mut by_id = BTreeMap::<&KeyId, Vec<&KeyRef>>::new();
    for key in keys {
        let (KeyRef::Id(id) | KeyRef::Arn(KeyArn { id, .. })) = key else {
            continue;
        };
        if id.is_multi_region() {
            by_id.entry(id).or_default().push(key);
        }
    }
    let doubles: Vec<KeyRef> = by_id
        .into_values()
        .filter(|keys| keys.len() > 1)
        .flat_map(|keys| keys.into_iter().cloned())
        .collect();
    match doubles.is_empty() {
        true => Ok(()),
        false => Err(SameMultiRegionKey(doubles)),
    }
}

/// The keys that a keyring of symmetric KMS keys stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// This key.
    Key(KeyRef),
    /// This key and, on unwrapping, its replicas: asked is this one.
    MultiRegionKey(KeyRef),
    /// Every key that passes the filter, in whatever Region.
    Discovery(Option<DiscoveryFilter>),
    /// Every key of the Region that passes the filter, and multi-Region keys of other Regions, whose
    /// replica in this Region is asked.
    RegionDiscovery {
        region: String,
        filter: Option<DiscoveryFilter>,
    },
}

/// Whom `Decrypt` asks, and which answer counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// `KeyId` of the request; `None` when only the blob knows.
    pub(crate) key: Option<KeyRef>,
    /// The Region to ask; `None` for the configured one.
    pub(crate) region: Option<String>,
    /// The `KeyId` that the answer must have, when it is known beforehand.
    pub(crate) answer: Option<KeyArn>,
}

impl Question {
    /// Whether the encrypted data key claims the very key that is asked: it is then forged or
    /// broken when that key knows nothing of it.
    pub(crate) fn is_exact(&self) -> bool {
        matches!(&self.key, Some(KeyRef::Arn(_))) && self.answer.is_some()
    }

    /// How errors name the key.
    pub(crate) fn label(&self) -> String {
        label(self.key.as_ref())
    }
}

impl Scope {
    /// The key that generates and wraps.
    pub(crate) fn wrapping_key(&self) -> Option<&KeyRef> {
        match self {
            Self::Key(key) | Self::MultiRegionKey(key) => Some(key),
            Self::Discovery(_) | Self::RegionDiscovery { .. } => None,
        }
    }

    /// Whom to ask about this encrypted data key; `None` when it is not ours.
    ///
    /// # Errors
    /// It says that it is a KMS key's, and names none; or its key may be ours, but the configured
    /// name does not tell.
    pub(crate) fn question(
        &self,
        encrypted: &EncryptedDataKey,
    ) -> Result<Option<Question>, KeyringError> {
        let named = match encrypted.provider_info.as_slice() {
            [] => return Ok(Some(self.blind_question())),
            info => named_key(info, &self.label())?,
        };
        Ok(match self {
            Self::Key(key) => may_be(key, &named).then(|| Question {
                key: Some(key.clone()),
                region: region_of(key),
                answer: Some(named),
            }),
            Self::MultiRegionKey(KeyRef::Arn(own)) => {
                is_related(own, &named).then(|| ask(own.clone()))
            }
            Self::MultiRegionKey(key) => return Err(arn_needed(key)),
            Self::Discovery(filter) => passes(filter.as_ref(), &named).then(|| ask(named)),
            Self::RegionDiscovery { region, filter } => {
                let here = named.home.region == *region;
                let ours = (here || named.id.is_multi_region()) && passes(filter.as_ref(), &named);
                ours.then(|| ask(replica(named, region)))
            }
        })
    }

    /// For a blob that travels alone: there is no name to go by before the answer.
    fn blind_question(&self) -> Question {
        let key = self.wrapping_key().cloned();
        let region = match self {
            Self::RegionDiscovery { region, .. } => Some(region.clone()),
            _ => key.as_ref().and_then(region_of),
        };
        Question {
            key,
            region,
            answer: None,
        }
    }

    /// Whether an answer of this key is one of ours.
    pub(crate) fn admits(&self, answered: &KeyArn) -> bool {
        match self {
            Self::Key(key) | Self::MultiRegionKey(key) => may_be(key, answered),
            Self::Discovery(filter) => passes(filter.as_ref(), answered),
            Self::RegionDiscovery { region, filter } => {
                answered.home.region == *region && passes(filter.as_ref(), answered)
            }
        }
    }

    /// How errors name the keyring.
    pub(crate) fn label(&self) -> String {
        label(self.wrapping_key())
    }
}

fn label(key: Option<&KeyRef>) -> String {
    match key {
        Some(key) => key.to_string(),
        None => "the KMS key of this blob".to_owned(),
    }
}

/// The ARN in the provider information of a key wrapped by KMS. `label` names the keyring.
///
/// # Errors
/// There is none. The specification fails here as well: it is not somebody else's, it is broken.
pub(crate) fn named_key(provider_info: &[u8], label: &str) -> Result<KeyArn, KeyringError> {
    let arn = std::str::from_utf8(provider_info)
        .ok()
        .and_then(|text| text.parse().ok());
    arn.ok_or_else(|| KeyringError::Unsupported {
        key: label.to_owned(),
        reason: "the provider information of an encrypted data key is not the ARN of a KMS key"
            .to_owned(),
    })
}

fn ask(key: KeyArn) -> Question {
    Question {
        region: Some(key.home.region.clone()),
        answer: Some(key.clone()),
        key: Some(KeyRef::Arn(key)),
    }
}

fn replica(mut key: KeyArn, region: &str) -> KeyArn {
    region.clone_into(&mut key.home.region);
    key
}

fn passes(filter: Option<&DiscoveryFilter>, arn: &KeyArn) -> bool {
    filter.is_none_or(|filter| filter.admits(arn))
}

fn region_of(key: &KeyRef) -> Option<String> {
    key.home().map(|home| home.region.clone())
}

/// Whether `key` can be a name of the key with this ARN, as far as the name tells.
fn may_be(key: &KeyRef, arn: &KeyArn) -> bool {
    match key {
        KeyRef::Arn(own) => own == arn,
        KeyRef::Id(id) => *id == arn.id,
        // An alias lives with its key.
        KeyRef::AliasArn(home, _) => *home == arn.home,
        KeyRef::Alias(_) => true,
    }
}

fn arn_needed(key: &KeyRef) -> KeyringError {
    KeyringError::Unsupported {
        key: key.to_string(),
        reason: "an id or alias does not tell which replicas are meant; unwrapping needs the ARN \
            of the multi-Region key"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MRK: &str = "key/mrk-1234abcd12ab34cd56ef1234567890ab";
    const SINGLE: &str = "key/1234abcd-12ab-34cd-56ef-1234567890ab";

    fn arn(home: &str, resource: &str) -> String {
        format!("arn:{home}:{resource}")
    }

    fn key(text: &str) -> KeyArn {
        text.parse().unwrap()
    }

    #[test]
    fn replicas_are_related_and_nothing_else() {
        let home = "aws:kms:eu-west-1:111122223333";
        let other_mrk = MRK.replace("mrk-1", "mrk-2");
        for (left, right, related) in [
            (arn(home, MRK), arn(home, MRK), true),
            (arn(home, SINGLE), arn(home, SINGLE), true),
            (
                arn(home, MRK),
                arn("aws:kms:us-east-1:111122223333", MRK),
                true,
            ),
            (
                arn(home, SINGLE),
                arn("aws:kms:us-east-1:111122223333", SINGLE),
                false,
            ),
            (
                arn(home, MRK),
                arn("aws:kms:us-east-1:444455556666", MRK),
                false,
            ),
            (
                arn(home, MRK),
                arn("aws-cn:kms:us-east-1:111122223333", MRK),
                false,
            ),
            (arn(home, MRK), arn(home, &other_mrk), false),
            (arn(home, MRK), arn(home, SINGLE), false),
            (
                arn(home, "key/MRK-1"),
                arn("aws:kms:us-east-1:111122223333", "key/MRK-1"),
                false,
            ),
            (
                arn(home, "key/x-mrk-1"),
                arn("aws:kms:us-east-1:111122223333", "key/x-mrk-1"),
                false,
            ),
        ] {
            assert_eq!(
                is_related(&key(&left), &key(&right)),
                related,
                "{left} {right}"
            );
            assert_eq!(
                is_related(&key(&right), &key(&left)),
                related,
                "{right} {left}"
            );
        }
    }

    #[test]
    fn doubles_of_multi_region_keys_are_all_named() {
        let (ireland, virginia) = (
            arn("aws:kms:eu-west-1:111122223333", MRK),
            arn("aws:kms:us-east-1:111122223333", MRK),
        );
        let id = MRK.replace("key/", "");
        let single = arn("aws:kms:eu-west-1:111122223333", SINGLE);
        let third = virginia.replace("mrk-1", "mrk-3");
        let unique = |keys: &[&str]| {
            let keys: Vec<KeyRef> = keys.iter().map(|key| key.parse().unwrap()).collect();
            assert_unique(&keys).map_err(|doubles| doubles.0.len())
        };
        assert_eq!(unique(&[]), Ok(()));
        assert_eq!(unique(&[&ireland, &third, &single]), Ok(()));
        // Only multi-Region keys are ambiguous; an alias is none, whatever its name.
        assert_eq!(
            unique(&[&single, &single, "alias/mrk-1", "alias/mrk-1"]),
            Ok(())
        );
        assert_eq!(unique(&[&ireland, &virginia]), Err(2));
        assert_eq!(unique(&[&ireland, &id, &single]), Err(2));
        let other_third = third.replace("us-east-1", "eu-west-1");
        assert_eq!(
            unique(&[&ireland, &virginia, &ireland, &third, &other_third]),
            Err(5)
        );
    }

    #[test]
    fn filters_are_checked() {
        let filter = |partition: &str, accounts: &[&str]| {
            DiscoveryFilter::new(partition, accounts.iter().copied())
        };
        assert_eq!(filter("aws", &[]), Err(FilterError::NoAccount));
        assert_eq!(
            filter("", &["1"]),
            Err(FilterError::Partition(String::new()))
        );
        assert_eq!(
            filter("aws", &["1", ""]),
            Err(FilterError::Account(String::new()))
        );
        assert_eq!(
            filter("aws", &["1:2"]),
            Err(FilterError::Account("1:2".into()))
        );
        let filter = filter("aws", &["111122223333", "444455556666"]).unwrap();
        assert!(filter.admits(&key(&arn("aws:kms:eu-west-1:444455556666", SINGLE))));
        assert!(!filter.admits(&key(&arn("aws:kms:eu-west-1:777788889999", SINGLE))));
        assert!(!filter.admits(&key(&arn("aws-cn:kms:eu-west-1:111122223333", SINGLE))));
    }
}
