//! An S3 bucket that objects are put into: two requests, signed and sent with the SDK's own parts. The
//! whole S3 client would be the largest dependency there is.

use crate::failure::chain;
use crate::settings::{AwsOptions, is_region};
use crate::trust::context_trusting;
use crate::worker::Worker;
use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Connector, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use waxseal_core::bucket::BucketName;

/// How often a request is tried when the service fails, is throttling or cannot be reached.
const ATTEMPTS: u32 = 4;
/// The pause before the second attempt; each later one is twice as long.
const PAUSE: Duration = Duration::from_millis(500);
const METADATA: &str = "x-amz-meta-";

/// Why an object is not in a bucket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BucketError {
    /// The configuration names no Region or credentials.
    #[error("{0}")]
    Configuration(String),
    /// Nobody answered, or nobody who is well.
    #[error("{0}")]
    Unreachable(String),
    /// The service refused.
    #[error("S3 answered {status} to {method} {key}: {what}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What was asked.
        method: &'static str,
        /// Of which object.
        key: String,
        /// What it said.
        what: String,
    },
    /// What was read back is not what was put.
    #[error("{key} was put, and something else was read back")]
    Different {
        /// Which object.
        key: String,
    },
}

/// A bucket, reached with the configuration and the credentials of the AWS tools:
/// `AWS_ENDPOINT_URL_S3`, profiles, Regions.
pub struct Bucket {
    worker: Worker,
    inner: Arc<Inner>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({})", self.inner.base)
    }
}

struct Inner {
    config: SdkConfig,
    region: String,
    connector: Connector,
    /// What keys are put behind.
    base: String,
}

impl Bucket {
    /// The bucket with this name.
    ///
    /// # Errors
    /// [`BucketError::Configuration`]. Nothing is asked of S3 yet.
    pub async fn open(name: &BucketName, options: AwsOptions) -> Result<Self, BucketError> {
        let wrong = |what: String| BucketError::Configuration(what);
        let worker = Worker::start().map_err(|error| wrong(error.to_string()))?;
        let loaded = worker.run(async move { crate::connection::load(&options, None).await });
        let (config, region) = loaded
            .await
            .map_err(|lost| wrong(lost.to_string()))?
            .map_err(|error| wrong(error.to_string()))?;
        let region = region.filter(|region| is_region(region));
        let region =
            region.ok_or_else(|| wrong("no AWS Region is known: set AWS_REGION".into()))?;
        let mut connector = ConnectorBuilder::default()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .proxy_config(ProxyConfig::from_env());
        let given = |variable| std::env::var(variable).ok().filter(|text| !text.is_empty());
        if let Some(file) = given("AWS_CA_BUNDLE") {
            let context = context_trusting(&file).map_err(|error| wrong(error.to_string()))?;
            connector = connector.tls_context(context);
        }
        let endpoint = given("AWS_ENDPOINT_URL_S3").or_else(|| given("AWS_ENDPOINT_URL"));
        let base = match endpoint.as_deref() {
            Some(url) => format!("{}/{name}", url.trim_end_matches('/')),
            None if name.as_str().contains('.') => {
                format!("https://s3.{region}.amazonaws.com/{name}")
            }
            None => format!("https://{name}.s3.{region}.amazonaws.com"),
        };
        Ok(Self {
            worker,
            inner: Arc::new(Inner {
                config,
                region,
                connector: connector.build(),
                base,
            }),
        })
    }

    /// Puts an object, and reads it back: it counts only when both are the same, its metadata included.
    ///
    /// # Errors
    /// [`BucketError`]; whether the object is there is not known then.
    pub async fn put(
        &self,
        key: &str,
        content: Vec<u8>,
        metadata: BTreeMap<String, String>,
    ) -> Result<(), BucketError> {
        let (inner, key) = (self.inner.clone(), key.to_owned());
        let work = self
            .worker
            .run(async move { inner.put(&key, &content, &metadata).await });
        let done = work.await;
        done.map_err(|lost| BucketError::Unreachable(lost.to_string()))?
    }
}

/// What came back.
struct Answer {
    status: u16,
    metadata: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Inner {
    async fn put(
        &self,
        key: &str,
        content: &[u8],
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), BucketError> {
        self.request("PUT", key, content, metadata).await?;
        let read = self.request("GET", key, b"", &BTreeMap::new()).await?;
        let has_all = metadata
            .iter()
            .all(|(name, value)| read.metadata.get(name) == Some(value));
        match read.body == content && has_all {
            true => Ok(()),
            false => Err(BucketError::Different {
                key: key.to_owned(),
            }),
        }
    }

    async fn request(
        &self,
        method: &'static str,
        key: &str,
        content: &[u8],
        metadata: &BTreeMap<String, String>,
    ) -> Result<Answer, BucketError> {
        let mut pause = PAUSE;
        for attempt in 1.. {
            let answered = self.attempt(method, key, content, metadata).await;
            let is_last = attempt == ATTEMPTS;
            match answered {
                Ok(answer) if (200..300).contains(&answer.status) => return Ok(answer),
                Ok(answer) if is_last || !(answer.status == 429 || answer.status >= 500) => {
                    return Err(BucketError::Refused {
                        status: answer.status,
                        method,
                        key: key.to_owned(),
                        what: said(&answer.body),
                    });
                }
                Err(error @ BucketError::Unreachable(_)) if is_last => return Err(error),
                Ok(_) | Err(BucketError::Unreachable(_)) => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(BucketError::Unreachable("S3 did not answer".to_owned()))
    }

    async fn attempt(
        &self,
        method: &'static str,
        key: &str,
        content: &[u8],
        metadata: &BTreeMap<String, String>,
    ) -> Result<Answer, BucketError> {
        let wrong = |what: String| BucketError::Configuration(what);
        let provider = self.config.credentials_provider();
        let provider = provider.ok_or_else(|| wrong("there are no AWS credentials".to_owned()))?;
        let credentials = provider.provide_credentials().await;
        let credentials = credentials.map_err(|error| wrong(chain(&error)))?;
        let identity = credentials.into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .map_err(|error| wrong(error.to_string()))?
            .into();
        let uri = format!("{}/{key}", self.base);
        let headers: Vec<(String, &str)> = metadata
            .iter()
            .map(|(name, value)| (format!("{METADATA}{name}"), value.as_str()))
            .collect();
        let signable = SignableRequest::new(
            method,
            uri.as_str(),
            headers.iter().map(|(name, value)| (name.as_str(), *value)),
            SignableBody::Bytes(content),
        );
        let signed = signable.and_then(|signable| sign(signable, &params));
        let (instructions, _) = signed.map_err(|error| wrong(chain(&error)))?.into_parts();

        let mut request = HttpRequest::new(SdkBody::from(content.to_vec()));
        let made = request
            .set_method(method)
            .and_then(|()| request.set_uri(uri));
        made.map_err(|error| wrong(error.to_string()))?;
        for (name, value) in &headers {
            request
                .headers_mut()
                .insert(name.clone(), (*value).to_owned());
        }
        request
            .headers_mut()
            .insert("content-length", content.len().to_string());
        for (name, value) in instructions.headers() {
            request
                .headers_mut()
                .insert(name.to_owned(), value.to_owned());
        }
        let unreachable = |error: String| BucketError::Unreachable(error);
        let response = self.connector.call(request).await;
        let response = response.map_err(|error| unreachable(chain(&error)))?;
        let status = response.status().as_u16();
        let metadata = response.headers().iter().filter_map(|(name, value)| {
            let name = name.strip_prefix(METADATA)?;
            Some((name.to_owned(), value.to_owned()))
        });
        let metadata = metadata.collect();
        let body = ByteStream::new(response.into_body()).collect().await;
        Ok(Answer {
            status,
            metadata,
            body: body
                .map_err(|error| unreachable(error.to_string()))?
                .to_vec(),
        })
    }
}

/// The code in an error's XML, or what there is of it.
fn said(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let code = text
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"));
    let code = code.map_or_else(
        || text.chars().take(200).collect(),
        |(code, _)| code.to_owned(),
    );
    code.chars().filter(|letter| !letter.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_their_code() {
        assert_eq!(
            said(b"<Error><Code>NoSuchBucket</Code></Error>"),
            "NoSuchBucket"
        );
        assert_eq!(said(b"no\x1b[31m XML"), "no[31m XML");
    }
}
