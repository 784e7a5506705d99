//! What the caller sets, and what environment and files say.

use crate::trust::http_client_trusting;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::ProfileSet;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_kms::config::SharedHttpClient;
use std::net::Ipv6Addr;
use std::time::Duration;

/// Explicit settings. What is `None` comes from the environment and the files in `~/.aws`, as in
/// every AWS tool.
///
/// The longest a call can take is `operation_timeout`; with the defaults an endpoint that refuses
/// connections is reported after at most 3 s (two waits between three attempts), one that does not
/// even refuse after at most 13 s, and one that accepts and never answers after at most 48 s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsOptions {
    /// The profile. As with `--profile` of the AWS CLI, its credentials then win over those in the
    /// environment. Otherwise `AWS_PROFILE`, otherwise `default`.
    pub profile: Option<String>,
    /// The Region of keys whose name does not say it. Otherwise `AWS_REGION`,
    /// `AWS_DEFAULT_REGION`, the profile's `region`, that of the EC2 instance.
    pub region: Option<String>,
    /// The URL of the key service, for every Region. Otherwise `AWS_ENDPOINT_URL_KMS`,
    /// `AWS_ENDPOINT_URL`, `endpoint_url` of the profile, Amazon's own.
    pub endpoint_url: Option<String>,
    /// How long a connection may take to stand. 3.1 s unless set.
    pub connect_timeout: Duration,
    /// How long one attempt may take, connection and credentials included. 15 s unless set.
    pub attempt_timeout: Duration,
    /// How long a call may take with all its attempts. 60 s unless set.
    pub operation_timeout: Duration,
    /// How often a call is tried when the service is throttling, failing or silent; at least 1.
    /// Otherwise `AWS_MAX_ATTEMPTS`, `max_attempts` of the profile, 3.
    pub attempts: Option<u32>,
}

impl Default for AwsOptions {
    fn default() -> Self {
        Self {
            profile: None,
            region: None,
            endpoint_url: None,
            connect_timeout: Duration::from_millis(3_100),
            attempt_timeout: Duration::from_secs(15),
            operation_timeout: Duration::from_secs(60),
            attempts: None,
        }
    }
}

impl AwsOptions {
    /// The three timeouts in the SDK's form.
    pub(crate) fn timeouts(&self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.connect_timeout)
            .operation_attempt_timeout(self.attempt_timeout)
            .operation_timeout(self.operation_timeout)
            .build()
    }
}

/// What the environment and the files say, checked.
#[derive(Debug)]
pub(crate) struct Settings {
    /// `None`: only a key's ARN or the instance can tell.
    pub(crate) region: Option<String>,
    /// Attempts and mode.
    pub(crate) retry: RetryConfig,
    /// `None`: the SDK's own client with the system's certificates.
    pub(crate) http_client: Option<SharedHttpClient>,
}

/// What is wrong with the configuration, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misconfigured(pub(crate) String);

impl Settings {
    /// Reads environment and files.
    pub(crate) async fn read(options: &AwsOptions) -> Result<Self, Misconfigured> {
        let profiles = read_profiles(options).await?;
        check_endpoints(options, profiles.get("endpoint_url"))?;
        let setting = |variable: &str, property: &str| {
            variable_text(variable).or_else(|| profiles.get(property).map(str::to_owned))
        };
        let region = match options.region.clone() {
            Some(region) => Some(region),
            None => configured_region(options).await,
        };
        let http_client = setting("AWS_CA_BUNDLE", "ca_bundle")
            .map(|file| http_client_trusting(&file))
            .transpose()?;
        Ok(Self {
            region,
            retry: retry_config(
                setting("AWS_RETRY_MODE", "retry_mode"),
                setting("AWS_MAX_ATTEMPTS", "max_attempts"),
                options.attempts,
            )?,
            http_client,
        })
    }
}

async fn read_profiles(options: &AwsOptions) -> Result<ProfileSet, Misconfigured> {
    let profiles = aws_config::profile::load(
        &Default::default(),
        &Default::default(),
        &Default::default(),
        options.profile.clone().map(Into::into),
    )
    .await
    .map_err(|error| {
        let text = crate::failure::chain(&error);
        Misconfigured(format!(
            "the AWS configuration files cannot be read: {text}"
        ))
    })?;
    let named = options.profile.is_some() || variable_text("AWS_PROFILE").is_some();
    let profile = profiles.selected_profile();
    if named && profiles.get_profile(profile).is_none() {
        return Err(Misconfigured(format!(
            "there is no profile '{profile}' in the AWS configuration files; \
             `aws configure list-profiles` shows which there are"
        )));
    }
    Ok(profiles)
}

/// The SDK panics at an empty URL, and at others fails with the whole request in its error.
fn check_endpoints(options: &AwsOptions, profile: Option<&str>) -> Result<(), Misconfigured> {
    let variable = |name: &'static str| (name, std::env::var(name).ok());
    let mut named = vec![("the endpoint URL", options.endpoint_url.clone())];
    if !ignores_configured_endpoints() {
        named.push(variable("AWS_ENDPOINT_URL_KMS"));
        named.push(variable("AWS_ENDPOINT_URL"));
        named.push((
            "endpoint_url of the AWS profile",
            profile.map(str::to_owned),
        ));
    }
    for (source, url) in named {
        if let Some(url) = url.filter(|url| !is_endpoint(url)) {
            return Err(Misconfigured(format!(
                "{source} is '{url}'; write http://HOST or https://HOST, with :PORT if need be, or unset it"
            )));
        }
    }
    Ok(())
}

fn ignores_configured_endpoints() -> bool {
    variable_text("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
        .is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

/// Scheme, host, perhaps a port, perhaps a path; nothing that does not belong into a URI.
fn is_endpoint(url: &str) -> bool {
    let lower = url.to_ascii_lowercase();
    let Some(rest) = lower
        .strip_prefix("https://")
        .or_else(|| lower.strip_prefix("http://"))
    else {
        return false;
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        // The colon may be one of an IPv6 address.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .map_or_else(
            || is_host_name(host),
            |host| host.parse::<Ipv6Addr>().is_ok(),
        );
    let path = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%+=@:".contains(&byte);
    host && port.is_none_or(|port| port.parse::<u16>().is_ok())
        && rest[authority.len()..].bytes().all(path)
}

fn is_host_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !name.is_empty() && name.bytes().all(allowed)
}

/// A Region becomes part of a host name (RFC 1035: 63 letters, digits and hyphens).
pub(crate) fn is_region(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(allowed)
}

async fn configured_region(options: &AwsOptions) -> Option<String> {
    if let Some(region) =
        variable_text("AWS_REGION").or_else(|| variable_text("AWS_DEFAULT_REGION"))
    {
        return Some(region);
    }
    let mut profile = ProfileFileRegionProvider::builder();
    if let Some(name) = &options.profile {
        profile = profile.profile_name(name);
    }
    let region = profile.build();
    ProvideRegion::region(&region)
        .await
        .map(|region| region.to_string())
}

/// A variable that is set to nothing counts as not set, as in the AWS CLI.
fn variable_text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn retry_config(
    mode: Option<String>,
    attempts: Option<String>,
    attempts_override: Option<u32>,
) -> Result<RetryConfig, Misconfigured> {
    let mode = mode.unwrap_or_else(|| "standard".to_owned());
    let config = match mode.to_ascii_lowercase().as_str() {
        // `legacy` is the default of older tools and means: no wish in particular.
        "standard" | "legacy" => RetryConfig::standard(),
        "adaptive" => RetryConfig::adaptive(),
        _ => {
            return Err(Misconfigured(format!(
                "the AWS retry mode '{mode}' (AWS_RETRY_MODE or retry_mode) is unknown; \
                 write standard or adaptive"
            )));
        }
    };
    let attempts = match (attempts_override, attempts) {
        (Some(attempts), _) => attempts.to_string(),
        (None, Some(text)) => text,
        (None, None) => return Ok(config),
    };
    match attempts.trim().parse::<u32>() {
        Ok(attempts @ 1..) => Ok(config.with_max_attempts(attempts)),
        _ => Err(Misconfigured(format!(
            "'{attempts}' is no number of attempts (AWS_MAX_ATTEMPTS or max_attempts); \
             write 1 or more"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(mode: &str, attempts: &str, explicit: Option<u32>) -> Result<RetryConfig, String> {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        retry_config(text(mode), text(attempts), explicit).map_err(|error| error.0)
    }

    #[test]
    fn retries_are_standard_unless_said_otherwise() {
        assert_eq!(retry("", "", None).unwrap(), RetryConfig::standard());
        assert_eq!(retry("legacy", "", None).unwrap(), RetryConfig::standard());
        assert_eq!(
            retry("Adaptive", "", None).unwrap(),
            RetryConfig::adaptive()
        );
        assert_eq!(retry("", "5", None).unwrap().max_attempts(), 5);
        assert_eq!(retry("", "5", Some(1)).unwrap().max_attempts(), 1);
    }

    #[test]
    fn nonsense_about_retries_is_named() {
        assert!(
            retry("sometimes", "", None)
                .unwrap_err()
                .contains("sometimes")
        );
        for attempts in ["0", "-1", "many", "4294967296"] {
            assert!(retry("", attempts, None).unwrap_err().contains(attempts));
        }
        assert!(retry("", "", Some(0)).is_err());
    }

    #[test]
    fn endpoints_have_scheme_and_host() {
        for url in [
            "http://h",
            "HTTPS://kms.eu-west-1.amazonaws.com/",
            "http://h_1:65535/a/b%20c",
            "http://127.0.0.1:80",
            "http://[::1]:80",
            "http://[::1]",
        ] {
            assert!(is_endpoint(url), "{url}");
        }
        for url in [
            "",
            "h",
            "h:80",
            "ftp://h",
            "http:h",
            "https://",
            "http:///",
            "http://:1",
            "http://h:65536",
            "http://h:",
            "http://a b",
            "http://h/a b",
            "http://h/\u{e4}",
            "http://[::1",
            "http://[h]:1",
            "http://user@h",
        ] {
            assert!(!is_endpoint(url), "{url}");
        }
    }

    #[test]
    fn regions_are_host_labels() {
        assert!(is_region("eu-west-1") && is_region(&"r".repeat(63)));
        assert!(!is_region("") && !is_region("a.b") && !is_region(&"r".repeat(64)));
    }
}
