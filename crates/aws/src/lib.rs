//! A keyring on Amazon KMS, or on any endpoint that speaks its API.
//!
//! [`AwsKms`] owns configuration, connections and the runtime they need; its keyrings name what is
//! unwrapped and with which key:
//!
//! ```no_run
//! use waxseal_aws::{AwsKms, AwsOptions};
//! use waxseal_core::{EncryptionContext, Keyring};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let kms = AwsKms::new(AwsOptions::default());
//! let keyring = kms.keyring("alias/backup".parse()?);
//! let generated = keyring.generate(32, &EncryptionContext::new()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Configuration
//! Credentials, Region, endpoint, retries and proxies come from where every AWS tool takes them:
//! environment, `~/.aws/config` and `~/.aws/credentials`, SSO, `credential_process`, container and
//! instance roles. [`AwsOptions`] overrides. What this crate adds to the official SDK:
//!
//! * `AWS_CA_BUNDLE` and `ca_bundle` replace the system's certificates, as in the AWS CLI.
//! * A profile that is named and does not exist, and values of `AWS_RETRY_MODE` or
//!   `AWS_MAX_ATTEMPTS` that make no sense, are errors with a reason (the SDK ignores the former
//!   and panics at the latter); `legacy` means `standard`.
//! * The instance metadata service is asked for a Region only when nothing else names one, and
//!   never for longer than a second.
//!
//! # Runtime
//! The futures run on any executor. The SDK needs tokio; it runs on one thread that the first call
//! starts and the last owner of the [`AwsKms`] ends. Before the first call nothing of the SDK is
//! initialised.
//!
//! # Secrets
//! Plaintext data keys are moved out of the SDK's types without a copy into
//! [`SecretBytes`](waxseal_core::SecretBytes), which wipes them. What cannot be wiped: the request
//! and response bodies in the HTTP client's and TLS library's buffers (they hold the key in base64)
//! and the copy that `Encrypt` takes as its input. They are freed at the end of the call.

mod bucket;
mod connection;
mod ecdh;
mod examine;
mod failure;
mod keyring;
mod rsa;
mod scope;
mod settings;
mod trust;
mod worker;

pub use bucket::{Bucket, BucketError};
pub use connection::AwsKms;
pub use ecdh::AwsKmsEcdhKeyring;
pub use examine::Examination;
pub use keyring::AwsKmsKeyring;
pub use rsa::{AwsKmsRsaKeyring, KmsRsaAlgorithm, PROVIDER_AWS_KMS_RSA};
pub use scope::{DiscoveryFilter, FilterError, SameMultiRegionKey, assert_unique, is_related};
pub use settings::AwsOptions;
