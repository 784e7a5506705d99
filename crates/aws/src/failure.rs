//! What the SDK reports, in the keyring's terms.

use aws_config::imds::client::error::ImdsError;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::operation::RequestId;
use std::error::Error;
use waxseal_core::KeyringError;

/// A call that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The service says that another key has wrapped this.
    pub(crate) incorrect_key: bool,
    /// The whole, for the caller.
    pub(crate) error: KeyringError,
}

impl From<KeyringError> for Failure {
    fn from(error: KeyringError) -> Self {
        Self {
            incorrect_key: false,
            error,
        }
    }
}

impl From<Failure> for KeyringError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// Sorts an error of the SDK. `label` names the wrapping key.
pub(crate) fn failure<E>(label: &str, error: &SdkError<E>) -> Failure
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let kind = match error {
        SdkError::ServiceError(answer) => {
            Kind::of_answer(error.code(), answer.raw().status().as_u16())
        }
        SdkError::TimeoutError(_) => Kind::Unreachable,
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => Kind::of_request(error),
        // The answer was cut off or is no answer of a key service.
        _ => Kind::Service,
    };
    let reason = match kind {
        Kind::NoCredentials => format!("{NO_CREDENTIALS}{}", instance_text(error)),
        _ => reason(error),
    };
    Failure {
        incorrect_key: error.code() == Some(INCORRECT_KEY),
        error: kind.error(label.to_owned(), reason),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    AccessDenied,
    KeyState,
    NotFound,
    Unreachable,
    Unauthentic,
    Limit,
    Unsupported,
    Configuration,
    NoCredentials,
    Service,
}

impl Kind {
    /// By the service's error name (KMS API reference, *Errors* and *Common errors*), else by the
    /// HTTP status.
    fn of_answer(code: Option<&str>, status: u16) -> Self {
        match (code.unwrap_or_default(), status) {
            (
                "AccessDeniedException"
                | "AccessDenied"
                | "NotAuthorized"
                | "OptInRequired"
                | "UnrecognizedClientException"
                | "InvalidClientTokenId"
                | "InvalidClientTokenIdException"
                | "MissingAuthenticationToken"
                | "MissingAuthenticationTokenException"
                | "IncompleteSignature"
                | "IncompleteSignatureException"
                | "InvalidSignature"
                | "InvalidSignatureException"
                | "SignatureDoesNotMatch"
                | "ExpiredToken"
                | "ExpiredTokenException"
                | "RequestExpired"
                | "RequestTimeTooSkewed",
                _,
            ) => Self::AccessDenied,
            (
                "DisabledException"
                | "KMSInvalidStateException"
                | "KeyUnavailableException"
                | "InvalidKeyUsageException",
                _,
            ) => Self::KeyState,
            ("NotFoundException" | "InvalidArnException", _) => Self::NotFound,
            ("InvalidCiphertextException" | INCORRECT_KEY, _) => Self::Unauthentic,
            ("ValidationException", _) => Self::Limit,
            ("UnsupportedOperationException" | "UnknownOperationException", _) => Self::Unsupported,
            (
                "ThrottlingException"
                | "Throttling"
                | "ThrottledException"
                | "RequestThrottled"
                | "RequestThrottledException"
                | "TooManyRequestsException"
                | "RequestLimitExceeded"
                | "LimitExceededException"
                | "SlowDown"
                | "KMSInternalException"
                | "DependencyTimeoutException"
                | "InternalFailure"
                | "InternalError"
                | "InternalServerError"
                | "ServiceUnavailable"
                | "ServiceUnavailableException"
                | "RequestTimeout"
                | "RequestTimeoutException",
                _,
            ) => Self::Unreachable,
            (_, 429 | 500..) => Self::Unreachable,
            ("", 401 | 403) => Self::AccessDenied,
            _ => Self::Service,
        }
    }

    /// When no answer came: the credentials, the network, or what was to be sent.
    fn of_request<E>(error: &SdkError<E>) -> Self
    where
        E: Error + Send + Sync + 'static,
    {
        if let Some(credentials) = find::<CredentialsError>(error) {
            return match credentials {
                CredentialsError::CredentialsNotLoaded(_) => Self::NoCredentials,
                // The instance is asked last, when nothing else gave credentials.
                _ if find::<ImdsError>(credentials).is_some() => Self::NoCredentials,
                CredentialsError::InvalidConfiguration(_) => Self::Configuration,
                CredentialsError::ProviderTimedOut(_) => Self::Unreachable,
                // A role that may not be assumed, an SSO session that is over, a failing process.
                _ => Self::AccessDenied,
            };
        }
        match error {
            // Connection refused, unknown host, failed TLS handshake, lost connection.
            SdkError::DispatchFailure(failure) if !failure.is_user() => Self::Unreachable,
            // An endpoint that is no URL, a Region that cannot be part of a host name.
            _ => Self::Configuration,
        }
    }

    fn error(self, key: String, reason: String) -> KeyringError {
        match self {
            Self::AccessDenied => KeyringError::AccessDenied { key, reason },
            Self::KeyState => KeyringError::KeyState { key, reason },
            Self::NotFound => KeyringError::NotFound { key, reason },
            Self::Unreachable => KeyringError::Unreachable { key, reason },
            Self::Unauthentic => KeyringError::Unauthentic { key },
            Self::Limit => KeyringError::Limit { key, reason },
            Self::Unsupported => KeyringError::Unsupported { key, reason },
            Self::Configuration | Self::NoCredentials => {
                KeyringError::Configuration { key, reason }
            }
            Self::Service => KeyringError::Service { key, reason },
        }
    }
}

/// What went wrong, in one line.
///
/// Some of the SDK's errors print the whole request in their text, body and all, and the body of an
/// `Encrypt` request is the key. So only causes of known kinds are printed in full.
fn reason<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let text = match (error, find::<CredentialsError>(error)) {
        (_, Some(credentials)) => chain(credentials),
        (SdkError::ServiceError(answer), _) => answer_text(error, answer.raw().status().as_u16()),
        (SdkError::TimeoutError(_), _) => chain(error),
        (SdkError::DispatchFailure(failure), _) => match failure.as_connector_error() {
            Some(connector) if connector.is_io() || connector.is_timeout() => chain(connector),
            _ => innermost(error),
        },
        (SdkError::ConstructionFailure(_), _) => innermost(error),
        _ => NO_KEY_SERVICE.to_owned(),
    };
    // Part of it is the service's own text; it goes to terminals and logs.
    text.replace(char::is_control, " ")
}

/// `CODE: message (request ID)`, each part as far as the service gave it.
fn answer_text<E>(error: &SdkError<E>, status: u16) -> String
where
    E: ProvideErrorMetadata,
{
    let mut text = match error.code() {
        Some(code) => code.to_owned(),
        None if status == 200 => NO_KEY_SERVICE.to_owned(),
        None => format!("HTTP status {status} without an error that KMS knows"),
    };
    if let Some(message) = error.message() {
        text.push_str(": ");
        text.push_str(message);
    }
    if let Some(id) = error.request_id() {
        text.push_str(&format!(" (request {id})"));
    }
    text
}

/// What the instance metadata service said, when it was there to say something.
fn instance_text(error: &(dyn Error + 'static)) -> String {
    find::<ImdsError>(error).map_or_else(String::new, |error| {
        format!(" (the EC2 instance gave none: {})", chain(error))
    })
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = printable(error);
    let mut next = error.source();
    while let Some(cause) = next {
        let said = printable(cause);
        // Many errors print their cause themselves.
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| (*error).source())
        .last()
        .map_or_else(String::new, printable)
}

/// The second fence before a printed request.
fn printable(error: &dyn Error) -> String {
    let text = error.to_string();
    if text.contains("SdkBody") {
        return "the request cannot be made".to_owned();
    }
    text
}

fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    std::iter::successors(Some(error), |error| (*error).source())
        .find_map(|error| error.downcast_ref())
}

const INCORRECT_KEY: &str = "IncorrectKeyException";

const NO_KEY_SERVICE: &str = "the endpoint's answer is not that of a key service";

const NO_CREDENTIALS: &str = "no AWS credentials were found: set AWS_ACCESS_KEY_ID and \
    AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run `aws configure` or `aws sso login`";

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Cause {
        text: &'static str,
        source: Option<Box<Self>>,
    }

    fn cause(text: &'static str, source: Option<Cause>) -> Cause {
        Cause {
            text,
            source: source.map(Box::new),
        }
    }

    #[test]
    fn causes_are_told_once() {
        let inner = || Some(cause("inner", None));
        assert_eq!(chain(&cause("outer", inner())), "outer: inner");
        assert_eq!(chain(&cause("outer: inner", inner())), "outer: inner");
        assert_eq!(innermost(&cause("outer", inner())), "inner");
    }

    #[test]
    fn printed_requests_are_left_out() {
        let request = || cause("failed: Request { body: SdkBody { secret } }", None);
        for text in [chain(&cause("x", Some(request()))), innermost(&request())] {
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
