//! From `-k KEY` to keyrings.
//!
//! | typed | means |
//! |---|---|
//! | `raw-aes:FILE?…`, `raw-rsa:FILE?…`, `raw-ecdh:FILE?…` | a local key |
//! | `hierarchy:DIR?branch=ID…` | a branch key in a folder, wrapped by another of these keys |
//! | `aws-kms:///ARN` (or id, alias) | Amazon KMS, or what `AWS_ENDPOINT_URL_KMS` names |
//! | `aws-kms-mrk:`, `aws-kms-discovery:`, `aws-kms-rsa:`, `aws-kms-ecdh:` | the same, see `keys/aws.rs` |
//! | an ARN of another account or Region than the embedded KMS has | the same |
//! | id, `alias/NAME`, any ARN with `--kms aws` | the same |
//! | id, `alias/NAME`, an ARN of the embedded KMS | the embedded KMS |
//! | nothing, sealing | `alias/default` of the embedded KMS, made on first use |
//! | nothing, opening | any key of the embedded KMS; with `--kms aws`, any of Amazon KMS |

mod aws;
pub(crate) mod branch_files;
mod file;
mod hierarchy;
mod raw_aes;
mod raw_ecdh;
mod raw_rsa;
mod uri;

use crate::args::KmsChoice;
use crate::embedded;
use crate::failure::Failure;
use crate::world::World;
use std::sync::{Arc, OnceLock};
use waxseal_aws::{AwsKms, AwsOptions};
use waxseal_core::keyring::{BoxFuture, Generated, Keyring, MultiKeyring, Unwrapped};
use waxseal_core::{DataKey, EncryptedDataKey, EncryptionContext, KeyRef, KeyringError};
use waxseal_kms::EngineKeyring;
use waxseal_kms::home::DEFAULT_ALIAS;

/// The namespace of raw keys that name none.
const NAMESPACE_DEFAULT: &str = "waxseal";

/// The keys as they were typed.
#[derive(Debug, Clone)]
pub(crate) struct KeyArgs {
    pub(crate) keys: Vec<String>,
    pub(crate) kms: Option<KmsChoice>,
}

impl KeyArgs {
    /// Whether Amazon KMS is named: by `--kms aws`, or by a key that lives there.
    pub(crate) fn name_amazon(&self) -> bool {
        let elsewhere = |key: &String| {
            aws::opens_blobs(key)
                || key
                    .parse::<KeyRef>()
                    .is_ok_and(|name| name.home().is_some_and(|home| *home != embedded::place()))
        };
        self.kms == Some(KmsChoice::Aws) || self.keys.iter().any(elsewhere)
    }
}

/// Where a key that a KMS has is.
#[derive(Debug)]
pub(crate) enum Place {
    /// In this program.
    Embedded(KeyRef),
    /// With Amazon KMS, or whoever speaks its API.
    Aws(KeyRef),
}

/// Where the key with this id, alias or ARN is.
pub(crate) fn place_of(typed: &str, kms: Option<KmsChoice>) -> Result<Place, Failure> {
    let name: KeyRef = typed.parse().map_err(wrong_name)?;
    let elsewhere = name.home().is_some_and(|home| *home != embedded::place());
    match (kms, elsewhere) {
        (Some(KmsChoice::Embedded), true) => Err(Failure::usage(
            format!("{typed} is not a key of the embedded KMS"),
            "leave out --kms embedded, or see waxseal key list",
        )),
        (Some(KmsChoice::Aws), _) | (None, true) => Ok(Place::Aws(name)),
        (Some(KmsChoice::Embedded) | None, false) => Ok(Place::Embedded(name)),
    }
}

/// The keyring that seals: the first key generates, the others wrap too.
pub(crate) fn for_sealing(args: &KeyArgs, world: &World) -> Result<Arc<dyn Keyring>, Failure> {
    let resolver = Resolver::new(args, world);
    if !args.keys.is_empty() {
        return resolver.all();
    }
    if args.kms == Some(KmsChoice::Aws) {
        return Err(Failure::usage(
            "no key was named for Amazon KMS",
            "give a key id, alias/NAME or ARN with -k",
        ));
    }
    let home = embedded::open(world)?;
    embedded::ensure_default_key(&home, world)?;
    let key = KeyRef::Alias(DEFAULT_ALIAS.parse().map_err(wrong_name)?);
    Ok(Arc::new(EngineKeyring::strict(
        home.engine().clone(),
        key,
        embedded::user_agent(),
    )))
}

/// The keyring that opens: any of the keys.
pub(crate) fn for_opening(args: &KeyArgs, world: &World) -> Result<Arc<dyn Keyring>, Failure> {
    let resolver = Resolver::new(args, world);
    if !args.keys.is_empty() {
        return resolver.all();
    }
    if args.kms == Some(KmsChoice::Aws) {
        return Ok(Arc::new(resolver.aws().discovery(None)));
    }
    // Looking for a key that cannot be there makes no home.
    if !embedded::exists(world) {
        return Ok(Arc::new(Nobody));
    }
    let engine = embedded::open(world)?.engine().clone();
    Ok(Arc::new(EngineKeyring::discovery(
        engine,
        embedded::user_agent(),
    )))
}

/// Turns typed keys into keyrings; what they share is set up once, and only when needed.
struct Resolver<'w> {
    args: &'w KeyArgs,
    world: &'w World,
    aws: OnceLock<Arc<AwsKms>>,
}

impl<'w> Resolver<'w> {
    fn new(args: &'w KeyArgs, world: &'w World) -> Self {
        Self {
            args,
            world,
            aws: OnceLock::new(),
        }
    }

    fn all(&self) -> Result<Arc<dyn Keyring>, Failure> {
        aws::check_multi_region(&self.args.keys)?;
        let keyrings = self.args.keys.iter().map(|key| self.one(key));
        let mut keyrings = keyrings.collect::<Result<Vec<_>, _>>()?.into_iter();
        let Some(first) = keyrings.next() else {
            return Ok(Arc::new(Nobody));
        };
        let others: Vec<_> = keyrings.collect();
        Ok(match others.is_empty() {
            true => first,
            false => Arc::new(MultiKeyring::new(first, others)),
        })
    }

    fn one(&self, typed: &str) -> Result<Arc<dyn Keyring>, Failure> {
        if aws::is_key(typed) {
            return aws::keyring(typed, self.aws(), self.world);
        }
        let world = self.world;
        match typed.split_once(':').map(|(scheme, _)| scheme) {
            Some("raw-aes") => return Ok(Arc::new(raw_aes::keyring(typed, world)?)),
            Some("raw-rsa") => return Ok(Arc::new(raw_rsa::keyring(typed, world)?)),
            Some("raw-ecdh") => return Ok(Arc::new(raw_ecdh::keyring(typed, world)?)),
            Some("hierarchy") => {
                let wrapping = |typed: &str| self.one(typed);
                return Ok(Arc::new(hierarchy::keyring(typed, world, &wrapping)?));
            }
            None | Some("arn") => {}
            Some(scheme) => {
                return Err(Failure::usage(
                    format!("'{scheme}:' is no kind of key"),
                    KINDS_OF_KEY,
                ));
            }
        }
        match place_of(typed, self.args.kms)? {
            Place::Aws(name) => Ok(Arc::new(self.aws().keyring(name))),
            Place::Embedded(name) => self.embedded(name),
        }
    }

    fn embedded(&self, name: KeyRef) -> Result<Arc<dyn Keyring>, Failure> {
        let home = embedded::open(self.world)?;
        // The default key is made for whoever names it, too.
        if matches!(&name, KeyRef::Alias(alias) if alias.as_str() == DEFAULT_ALIAS) {
            embedded::ensure_default_key(&home, self.world)?;
        }
        Ok(Arc::new(EngineKeyring::strict(
            home.engine().clone(),
            name,
            embedded::user_agent(),
        )))
    }

    fn aws(&self) -> &Arc<AwsKms> {
        self.aws.get_or_init(|| AwsKms::new(AwsOptions::default()))
    }
}

fn wrong_name(error: waxseal_core::arn::NameError) -> Failure {
    Failure::usage(error.to_string(), KINDS_OF_KEY)
}

const KINDS_OF_KEY: &str = "write an id, alias/NAME, an ARN, aws-kms:///ARN, raw-aes:FILE, raw-rsa:FILE, raw-ecdh:FILE or hierarchy:DIR; see waxseal --help, Keys";

/// A keyring without a key: nothing is its own.
struct Nobody;

impl Nobody {
    fn unsupported() -> KeyringError {
        KeyringError::Unsupported {
            key: "no key".to_owned(),
            reason: "there is nothing to wrap with".to_owned(),
        }
    }
}

impl Keyring for Nobody {
    fn generate<'a>(
        &'a self,
        _: usize,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
        Box::pin(async { Err(Self::unsupported()) })
    }

    fn wrap<'a>(
        &'a self,
        _: &'a DataKey,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>> {
        Box::pin(async { Err(Self::unsupported()) })
    }

    fn unwrap<'a>(
        &'a self,
        _: &'a EncryptedDataKey,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>> {
        Box::pin(async { Ok(Unwrapped::NotMine) })
    }
}
