//! Keys in Amazon KMS, spelled out.
//!
//! | typed | means |
//! |---|---|
//! | `aws-kms:///NAME` | the key with this ARN, id or alias |
//! | `aws-kms-mrk:///ARN` | a multi-Region key; it also opens what its replicas have wrapped |
//! | `aws-kms-discovery:?account=N&partition=aws&region=R` | opening: whatever keys the accounts have, all if none is given; in the Regions, all if none is given |
//! | `aws-kms-rsa:///ARN?padding=oaep-sha256&public-key=FILE` | an RSA key; its public half is asked of KMS unless a PEM file is given |
//! | `aws-kms-ecdh:///ARN?peer=FILE&public-key=FILE` | a key that agrees with the peer's public key on a secret; without peer, opening: from any sender. Its own public half is asked of KMS unless a PEM file is given |
//!
//! The slashes may be left out.

use super::uri::percent_decoded;
use super::{file, wrong_name};
use crate::failure::Failure;
use crate::world::World;
use std::path::Path;
use std::sync::Arc;
use waxseal_aws::{AwsKms, DiscoveryFilter, KmsRsaAlgorithm, assert_unique};
use waxseal_core::crypto::ecdh::EcdhPublicKey;
use waxseal_core::crypto::rsa::{RsaPadding, RsaPublicKey};
use waxseal_core::keyring::{Keyring, MultiKeyring};
use waxseal_core::{KeyArn, KeyRef};

/// The partition of a filter that names none.
const PARTITION_DEFAULT: &str = "aws";

/// A kind of key in Amazon KMS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Strict,
    MultiRegion,
    Discovery,
    Rsa,
    Ecdh,
}

impl Kind {
    /// The kind and what follows the colon.
    fn of(typed: &str) -> Option<(Self, &str)> {
        let (scheme, rest) = typed.split_once(':')?;
        let kind = match scheme {
            "aws-kms" => Self::Strict,
            "aws-kms-mrk" => Self::MultiRegion,
            "aws-kms-discovery" => Self::Discovery,
            "aws-kms-rsa" => Self::Rsa,
            "aws-kms-ecdh" => Self::Ecdh,
            _ => return None,
        };
        Some((kind, rest))
    }
}

/// Whether `typed` is one of the forms above.
pub(super) fn is_key(typed: &str) -> bool {
    Kind::of(typed).is_some()
}

/// Whether a key of this form opens blobs that name their key themselves.
pub(super) fn opens_blobs(typed: &str) -> bool {
    Kind::of(typed).is_some_and(|(kind, _)| !matches!(kind, Kind::Rsa | Kind::Ecdh))
}

/// The keyring that is typed in one of the forms above.
pub(super) fn keyring(
    typed: &str,
    aws: &Arc<AwsKms>,
    world: &World,
) -> Result<Arc<dyn Keyring>, Failure> {
    let uri = Uri::parse(typed)?;
    Ok(match uri.kind {
        Kind::Strict => Arc::new(aws.keyring(uri.key()?)),
        Kind::MultiRegion => Arc::new(aws.multi_region_keyring(uri.key()?)),
        Kind::Discovery => discovery(&uri, aws)?,
        Kind::Rsa => rsa(&uri, aws, world)?,
        Kind::Ecdh => ecdh(&uri, aws, world)?,
    })
}

/// Refuses replicas of one key side by side: it would not be clear which Region is asked
/// (AWS Encryption SDK specification, `framework/aws-kms/aws-kms-mrk-multi-keyrings.md`).
pub(super) fn check_multi_region(keys: &[String]) -> Result<(), Failure> {
    let mut names = Vec::new();
    for typed in keys {
        if matches!(Kind::of(typed), Some((Kind::MultiRegion, _))) {
            names.push(Uri::parse(typed)?.key()?);
        }
    }
    assert_unique(&names).map_err(|error| {
        Failure::usage(
            error.to_string(),
            "keep the replica of the Region to ask; it opens what the others have wrapped",
        )
    })
}

fn discovery(uri: &Uri<'_>, aws: &Arc<AwsKms>) -> Result<Arc<dyn Keyring>, Failure> {
    uri.allow(&["account", "partition", "region"])?;
    if !uri.path.is_empty() {
        return Err(uri.malformed("a key that is known is written aws-kms:///ARN"));
    }
    let accounts = uri.values("account");
    let partition = uri.value("partition")?;
    let filter = match (accounts.is_empty(), partition) {
        (true, None) => None,
        (_, partition) => {
            let filter = DiscoveryFilter::new(partition.unwrap_or(PARTITION_DEFAULT), accounts);
            Some(filter.map_err(|error| uri.malformed(&error.to_string()))?)
        }
    };
    let in_region = |region: &str| -> Arc<dyn Keyring> {
        Arc::new(aws.region_discovery(region, filter.clone()))
    };
    let regions = uri.values("region");
    Ok(match regions.as_slice() {
        [] => Arc::new(aws.discovery(filter)),
        [region] => in_region(region),
        [first, others @ ..] => {
            let others = others.iter().map(|region| in_region(region)).collect();
            Arc::new(MultiKeyring::new(in_region(first), others))
        }
    })
}

fn rsa(uri: &Uri<'_>, aws: &Arc<AwsKms>, world: &World) -> Result<Arc<dyn Keyring>, Failure> {
    uri.allow(&["padding", "public-key"])?;
    let padding = uri.value("padding")?.map(str::parse::<RsaPadding>);
    let padding = padding.unwrap_or(Ok(RsaPadding::OaepSha256));
    let algorithm = padding
        .ok()
        .and_then(|padding| KmsRsaAlgorithm::try_from(padding).ok())
        .ok_or_else(|| uri.malformed("KMS has the paddings oaep-sha256 and oaep-sha1"))?;
    let public = uri.value("public-key")?;
    let public = public.map(|path| file::pem(Path::new(path), RsaPublicKey::from_pem));
    let (arn, entropy) = (uri.arn()?, world.entropy.clone());
    let keyring = aws.rsa_keyring(arn, algorithm, public.transpose()?, entropy);
    Ok(Arc::new(keyring))
}

fn ecdh(uri: &Uri<'_>, aws: &Arc<AwsKms>, world: &World) -> Result<Arc<dyn Keyring>, Failure> {
    uri.allow(&["peer", "public-key"])?;
    let key = |name| {
        let path = uri.value(name)?;
        path.map(|path| file::pem(Path::new(path), EcdhPublicKey::from_pem))
            .transpose()
    };
    let (arn, own) = (uri.arn()?, key("public-key")?);
    Ok(match key("peer")? {
        Some(peer) => Arc::new(aws.ecdh_keyring(arn, peer, own, world.entropy.clone())),
        None => Arc::new(aws.ecdh_discovery(arn, own)),
    })
}

/// `SCHEME:[//[/]]PATH[?NAME=VALUE[&NAME=VALUE]…]`, values percent-encoded where they must be.
struct Uri<'t> {
    typed: &'t str,
    kind: Kind,
    path: &'t str,
    parameters: Vec<(&'t str, String)>,
}

impl<'t> Uri<'t> {
    fn parse(typed: &'t str) -> Result<Self, Failure> {
        let malformed = |why: &str| malformed(typed, why);
        let (kind, rest) = Kind::of(typed).ok_or_else(|| malformed("no such kind of key"))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = path.strip_prefix("//").unwrap_or(path);
        let mut parameters = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| malformed("after the '?' it takes NAME=VALUE"))?;
            let value =
                percent_decoded(value).ok_or_else(|| malformed("a '%' must be written as %25"))?;
            // As a script writes it whose variable is empty: that must not mean no filter.
            if value.is_empty() {
                return Err(malformed(&format!("'{name}=' is empty")));
            }
            parameters.push((name, value));
        }
        Ok(Self {
            typed,
            kind,
            path: path.trim_start_matches('/'),
            parameters,
        })
    }

    fn key(&self) -> Result<KeyRef, Failure> {
        self.allow(&[])?;
        self.path.parse().map_err(wrong_name)
    }

    fn arn(&self) -> Result<KeyArn, Failure> {
        self.path.parse().map_err(wrong_name)
    }

    fn allow(&self, names: &[&str]) -> Result<(), Failure> {
        let strange = |(name, _): &&(&str, String)| !names.contains(name);
        match self.parameters.iter().find(strange) {
            Some((name, _)) => Err(self.malformed(&format!("it takes no '{name}='"))),
            None => Ok(()),
        }
    }

    fn values(&self, name: &str) -> Vec<&str> {
        let found = self.parameters.iter().filter(|(given, _)| *given == name);
        found.map(|(_, value)| value.as_str()).collect()
    }

    fn value(&self, name: &str) -> Result<Option<&str>, Failure> {
        match self.values(name).as_slice() {
            [] => Ok(None),
            [value] => Ok(Some(value)),
            _ => Err(self.malformed(&format!("'{name}=' is given twice"))),
        }
    }

    fn malformed(&self, why: &str) -> Failure {
        malformed(self.typed, why)
    }
}

fn malformed(typed: &str, why: &str) -> Failure {
    Failure::usage(
        format!("'{typed}' is no key: {why}"),
        "see waxseal --help, Keys",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxseal_aws::AwsOptions;

    const ARN: &str = "arn:aws:kms:eu-west-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab";

    fn uri(typed: &str) -> Result<Uri<'_>, Failure> {
        Uri::parse(typed)
    }

    fn is_discovery(typed: &str) -> bool {
        uri(typed).is_ok_and(|uri| discovery(&uri, &AwsKms::new(AwsOptions::default())).is_ok())
    }

    #[test]
    fn names_are_taken_with_and_without_slashes() {
        for scheme in ["aws-kms", "aws-kms-mrk"] {
            for slashes in ["", "//", "///"] {
                let typed = format!("{scheme}:{slashes}{ARN}");
                assert_eq!(uri(&typed).unwrap().key().unwrap().to_string(), ARN);
            }
            assert!(
                uri(&format!("{scheme}:{ARN}?region=x"))
                    .unwrap()
                    .key()
                    .is_err()
            );
            assert!(uri(&format!("{scheme}:///alias/a")).unwrap().key().is_ok());
            assert!(uri(&format!("{scheme}:")).unwrap().key().is_err());
        }
        assert!(!is_key(ARN) && !is_key("alias/aws-kms:x") && !is_key("raw-aes:f"));
    }

    #[test]
    fn filters_are_read() {
        for good in [
            "aws-kms-discovery:",
            "aws-kms-discovery:?account=111122223333",
            "aws-kms-discovery:///?account=1&account=2&partition=aws-cn&region=cn-north-1",
            "aws-kms-discovery:?region=eu-west-1&region=us-east-1",
        ] {
            assert!(is_discovery(good), "{good}");
        }
        for bad in [
            "aws-kms-discovery:?partition=aws",
            "aws-kms-discovery:?account=a:b",
            "aws-kms-discovery:?account=1&partition=aws&partition=aws",
            "aws-kms-discovery:?acount=1",
            "aws-kms-discovery:?account",
            "aws-kms-discovery:?account=%zz",
            "aws-kms-discovery:///alias/a",
        ] {
            assert!(!is_discovery(bad), "{bad}");
        }
    }

    #[test]
    fn an_empty_account_is_no_missing_filter() {
        assert!(!is_discovery("aws-kms-discovery:?account="));
        assert!(!is_discovery("aws-kms-discovery:?account=1&account="));
        assert!(!is_discovery("aws-kms-discovery:?region="));
        assert!(!is_discovery("aws-kms-discovery:?account=1&partition="));
    }

    #[test]
    fn replicas_are_not_given_side_by_side() {
        let replica = ARN.replace("eu-west-1", "us-east-1");
        let keys = |schemes: [&str; 2]| {
            let [one, two] = schemes;
            check_multi_region(&[format!("{one}:{ARN}"), format!("{two}:///{replica}")])
        };
        assert!(keys(["aws-kms-mrk", "aws-kms"]).is_ok());
        let failure = keys(["aws-kms-mrk", "aws-kms-mrk"]).unwrap_err();
        assert!(failure.what.contains(ARN) && failure.what.contains(&replica));
    }
}
