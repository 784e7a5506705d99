//! Configuration, loaded once, and a client for each Region.

use crate::ecdh::{AwsKmsEcdhKeyring, Role};
use crate::failure::{Failure, failure};
use crate::keyring::AwsKmsKeyring;
use crate::rsa::{AwsKmsRsaKeyring, KmsRsaAlgorithm};
use crate::scope::{DiscoveryFilter, SameMultiRegionKey, Scope, assert_unique};
use crate::settings::{AwsOptions, Misconfigured, Settings, is_region};
use crate::worker::Worker;
use aws_config::SdkConfig;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_kms::Client;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;
use waxseal_core::crypto::ecdh::EcdhPublicKey;
use waxseal_core::crypto::random::Entropy;
use waxseal_core::crypto::rsa::RsaPublicKey;
use waxseal_core::keyring::MultiKeyring;
use waxseal_core::{KeyArn, KeyRef, Keyring, KeyringError};

/// Amazon KMS as one configuration sees it; makes keyrings.
///
/// Making one does no I/O and initialises nothing of the SDK. The first call of a keyring reads the
/// configuration and starts the thread; a call that finds the configuration wrong leaves nothing
/// behind, and the next one reads it anew.
pub struct AwsKms {
    options: AwsOptions,
    connection: OnceCell<Connection>,
}

impl AwsKms {
    /// Takes the settings.
    pub fn new(options: AwsOptions) -> Arc<Self> {
        Arc::new(Self {
            options,
            connection: OnceCell::new(),
        })
    }

    /// A keyring that generates and wraps with `key` and unwraps only what `key` has wrapped.
    pub fn keyring(self: &Arc<Self>, key: KeyRef) -> AwsKmsKeyring {
        AwsKmsKeyring::new(self.clone(), Scope::Key(key))
    }

    /// A keyring that generates and wraps with `key` and unwraps, by asking `key`, what any of its
    /// replicas in other Regions has wrapped. Unwrapping needs an ARN. A key of one Region has no
    /// replicas; the keyring is then that of [`AwsKms::keyring`].
    ///
    /// Where several are combined, [`assert_unique`] tells whether it is clear
    /// which Region is asked; [`AwsKms::multi_region_keyrings`] asserts it.
    pub fn multi_region_keyring(self: &Arc<Self>, key: KeyRef) -> AwsKmsKeyring {
        AwsKmsKeyring::new(self.clone(), Scope::MultiRegionKey(key))
    }

    /// Several multi-Region keys as one keyring: `generator` makes the data key, `children` wrap it
    /// too (`aws-kms-mrk-multi-keyrings.md`).
    ///
    /// # Errors
    /// Two of them are replicas of the same key.
    pub fn multi_region_keyrings(
        self: &Arc<Self>,
        generator: KeyArn,
        children: Vec<KeyArn>,
    ) -> Result<MultiKeyring, SameMultiRegionKey> {
        let generator = KeyRef::Arn(generator);
        let children: Vec<_> = children.into_iter().map(KeyRef::Arn).collect();
        assert_unique(std::iter::once(&generator).chain(&children))?;
        let keyring = |key| -> Arc<dyn Keyring> { Arc::new(self.multi_region_keyring(key)) };
        let children = children.into_iter().map(keyring).collect();
        Ok(MultiKeyring::new(keyring(generator), children))
    }

    /// A keyring that unwraps whatever the caller's credentials may decrypt and `filter`, if given,
    /// lets pass, in the Region that each encrypted data key names. It cannot generate or wrap.
    pub fn discovery(self: &Arc<Self>, filter: Option<DiscoveryFilter>) -> AwsKmsKeyring {
        AwsKmsKeyring::new(self.clone(), Scope::Discovery(filter))
    }

    /// A keyring that asks `region` and no other, also for what replicas of its multi-Region keys
    /// have wrapped elsewhere; else as [`AwsKms::discovery`].
    pub fn region_discovery(
        self: &Arc<Self>,
        region: impl Into<String>,
        filter: Option<DiscoveryFilter>,
    ) -> AwsKmsKeyring {
        let region = region.into();
        AwsKmsKeyring::new(self.clone(), Scope::RegionDiscovery { region, filter })
    }

    /// A keyring that wraps with the public half of the RSA key `key`, and unwraps by asking the
    /// service. The public key is asked of the service on first use unless it is given; whether it
    /// is that of `key` is then not checked, and a wrong one makes data that nobody can open.
    pub fn rsa_keyring(
        self: &Arc<Self>,
        key: KeyArn,
        algorithm: KmsRsaAlgorithm,
        public: Option<RsaPublicKey>,
        entropy: Arc<dyn Entropy>,
    ) -> AwsKmsRsaKeyring {
        AwsKmsRsaKeyring::new(self.clone(), key, algorithm, public, entropy)
    }

    /// A keyring that wraps and unwraps under the secret that `key` shares with `peer`. The public
    /// half of `key` is asked of the service on first use unless it is given as `own`.
    pub fn ecdh_keyring(
        self: &Arc<Self>,
        key: KeyArn,
        peer: EcdhPublicKey,
        own: Option<EcdhPublicKey>,
        entropy: Arc<dyn Entropy>,
    ) -> AwsKmsEcdhKeyring {
        AwsKmsEcdhKeyring::new(self.clone(), key, own, Role::WithPeer(peer, entropy))
    }

    /// A keyring that unwraps what anybody has wrapped for `key`, and cannot wrap. The sender is not
    /// known then. `own` as for [`AwsKms::ecdh_keyring`].
    pub fn ecdh_discovery(
        self: &Arc<Self>,
        key: KeyArn,
        own: Option<EcdhPublicKey>,
    ) -> AwsKmsEcdhKeyring {
        AwsKmsEcdhKeyring::new(self.clone(), key, own, Role::Discovery)
    }

    /// Sends one request to the key service of `region` (the configured one when `None`) and waits
    /// for the answer. `label` names the wrapping key in errors.
    pub(crate) async fn send<T, E, F>(
        &self,
        region: Option<&str>,
        label: &str,
        request: impl FnOnce(Client) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, SdkError<E>>> + Send + 'static,
        T: Send + 'static,
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let connection = self.connection(region, label).await?;
        let client = connection.client(region, &self.options, label).await?;
        match connection.worker.run(request(client)).await {
            Ok(answer) => answer.map_err(|error| failure(label, &error)),
            Err(lost) => Err(service(label, lost).into()),
        }
    }

    async fn connection(
        &self,
        region: Option<&str>,
        label: &str,
    ) -> Result<&Connection, KeyringError> {
        self.connection
            .get_or_try_init(|| Connection::open(self.options.clone(), region, label))
            .await
    }
}

impl fmt::Debug for AwsKms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsKms")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

struct Connection {
    worker: Worker,
    config: SdkConfig,
    /// The Region of keys whose name does not say it.
    region: Option<String>,
    /// The same as the EC2 instance tells it, asked for only when needed.
    instance_region: OnceCell<Option<String>>,
    clients: Mutex<HashMap<String, Client>>,
}

impl Connection {
    async fn open(
        options: AwsOptions,
        key_region: Option<&str>,
        label: &str,
    ) -> Result<Self, KeyringError> {
        let worker = Worker::start().map_err(|error| service(label, error))?;
        let key_region = key_region.map(str::to_owned);
        let (config, region) = worker
            .run(async move { load(&options, key_region).await })
            .await
            .map_err(|lost| service(label, lost))?
            .map_err(|wrong| configuration(label, wrong))?;
        Ok(Self {
            worker,
            config,
            region,
            instance_region: OnceCell::new(),
            clients: Mutex::default(),
        })
    }

    async fn client(
        &self,
        key_region: Option<&str>,
        options: &AwsOptions,
        label: &str,
    ) -> Result<Client, KeyringError> {
        let region = match key_region.or(self.region.as_deref()) {
            Some(region) => region.to_owned(),
            None => self.instance_region(label).await?,
        };
        if !is_region(&region) {
            return Err(configuration(label, format!("'{region}' is no AWS Region")));
        }
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let client = clients.entry(region).or_insert_with_key(|region| {
            let mut config = aws_sdk_kms::config::Builder::from(&self.config)
                .region(Region::new(region.clone()));
            // Here and not in the shared configuration: it is the key service's URL, not that of
            // the services that credentials come from.
            if options.endpoint_url.is_some() {
                config.set_endpoint_url(options.endpoint_url.clone());
            }
            Client::from_conf(config.build())
        });
        Ok(client.clone())
    }

    async fn instance_region(&self, label: &str) -> Result<String, KeyringError> {
        let ask = || async {
            let answer = self.worker.run(ask_instance()).await;
            answer.map_err(|lost| service(label, lost))
        };
        let region = self.instance_region.get_or_try_init(ask).await?;
        region
            .clone()
            .ok_or_else(|| configuration(label, NO_REGION))
    }
}

/// The SDK's configuration, and the Region of keys whose name does not say it, as far as it had to
/// be found out.
pub(crate) async fn load(
    options: &AwsOptions,
    key_region: Option<String>,
) -> Result<(SdkConfig, Option<String>), Misconfigured> {
    let mut settings = Settings::read(options).await?;
    if settings.region.is_none() && key_region.is_none() {
        // Here, and only once: the SDK would ask the instance for each part of its configuration.
        let found = ask_instance().await;
        settings.region = Some(found.ok_or_else(|| Misconfigured(NO_REGION.to_owned()))?);
    }
    // For the services that credentials come from the key's Region is as good as any.
    let region = settings.region.clone().or(key_region).map(Region::new);
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(region.clone())
        .retry_config(settings.retry)
        .timeout_config(options.timeouts());
    let mut provider = ProviderConfig::without_region().with_region(region);
    if let Some(client) = settings.http_client {
        provider = provider.with_http_client(client.clone());
        loader = loader.http_client(client);
    }
    if let Some(profile) = &options.profile {
        let credentials = ProfileFileCredentialsProvider::builder()
            .configure(&provider)
            .profile_name(profile);
        loader = loader
            .profile_name(profile)
            .credentials_provider(credentials.build());
    }
    Ok((loader.load().await, settings.region))
}

/// The Region of the EC2 instance, if this is one. Takes a second when nobody answers.
async fn ask_instance() -> Option<String> {
    let provider = ImdsRegionProvider::builder()
        .configure(&ProviderConfig::without_region())
        .build();
    let region = provider.region().await;
    region.map(|region| region.to_string())
}

fn service(label: &str, error: impl fmt::Display) -> KeyringError {
    KeyringError::Service {
        key: label.to_owned(),
        reason: error.to_string(),
    }
}

fn configuration(label: &str, error: impl fmt::Display) -> KeyringError {
    KeyringError::Configuration {
        key: label.to_owned(),
        reason: error.to_string(),
    }
}

const NO_REGION: &str = "no AWS Region is known: name the key by its ARN, set AWS_REGION, or set \
    `region` in the AWS profile";
