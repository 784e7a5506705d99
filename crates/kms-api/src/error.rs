//! Errors as clients of the AWS KMS API know them.

use serde_json::{Value, json};

macro_rules! error_codes {
    ($( $(#[$doc:meta])* $variant:ident => $name:literal, $status:literal; )*) => {
        /// The name of an error, as in `__type` on the wire.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode { $( $(#[$doc])* $variant, )* }

        impl ErrorCode {
            /// All of them.
            pub const ALL: &[Self] = &[$( Self::$variant, )*];

            /// The name on the wire.
            pub fn name(self) -> &'static str {
                match self { $( Self::$variant => $name, )* }
            }

            /// The HTTP status it is sent with.
            pub fn status(self) -> u16 {
                match self { $( Self::$variant => $status, )* }
            }
        }
    };
}

error_codes! {
    /// The caller may not do this (also sent for a ciphertext whose key is not here).
    AccessDenied => "AccessDeniedException", 400;
    /// An alias of that name exists.
    AlreadyExists => "AlreadyExistsException", 400;
    /// The request met another change of the same thing.
    Conflict => "ConflictException", 400;
    /// The cluster belongs to a custom key store already.
    CloudHsmClusterInUse => "CloudHsmClusterInUseException", 400;
    /// The cluster cannot do what a custom key store needs.
    CloudHsmClusterInvalidConfiguration => "CloudHsmClusterInvalidConfigurationException", 400;
    /// The cluster of a custom key store does not answer.
    CloudHsmClusterNotActive => "CloudHsmClusterNotActiveException", 400;
    /// The cluster of a custom key store is not there.
    CloudHsmClusterNotFound => "CloudHsmClusterNotFoundException", 400;
    /// The cluster has another certificate than the one before.
    CloudHsmClusterNotRelated => "CloudHsmClusterNotRelatedException", 400;
    /// Keys are in the custom key store.
    CustomKeyStoreHasCmks => "CustomKeyStoreHasCMKsException", 400;
    /// The connection state of the custom key store does not allow this.
    CustomKeyStoreInvalidState => "CustomKeyStoreInvalidStateException", 400;
    /// Another custom key store has this name.
    CustomKeyStoreNameInUse => "CustomKeyStoreNameInUseException", 400;
    /// A custom key store has an id that is not there.
    CustomKeyStoreNotFound => "CustomKeyStoreNotFoundException", 400;
    /// Something the service leans on took too long.
    DependencyTimeout => "DependencyTimeoutException", 500;
    /// The key is disabled.
    Disabled => "DisabledException", 400;
    /// All checks passed, and nothing else was asked for.
    DryRun => "DryRunOperationException", 400;
    /// An import token is too old.
    ExpiredImportToken => "ExpiredImportTokenException", 400;
    /// The token of a web identity is over (STS).
    ExpiredIdentityToken => "ExpiredIdentityToken", 400;
    /// The token of a session is over.
    ExpiredToken => "ExpiredTokenException", 400;
    /// A part of the signature is missing or malformed.
    IncompleteSignature => "IncompleteSignatureException", 400;
    /// The ciphertext was made by another key than the one named.
    IncorrectKey => "IncorrectKeyException", 400;
    /// The key material is not the one that the key had.
    IncorrectKeyMaterial => "IncorrectKeyMaterialException", 400;
    /// The certificate is not the cluster's.
    IncorrectTrustAnchor => "IncorrectTrustAnchorException", 400;
    /// The service itself failed; nothing may be assumed about the request.
    Internal => "KMSInternalException", 500;
    /// An alias name that is not allowed.
    InvalidAliasName => "InvalidAliasNameException", 400;
    /// An ARN that is not allowed.
    InvalidArn => "InvalidArnException", 400;
    /// The ciphertext is not one of ours, was altered, or has another encryption context.
    InvalidCiphertext => "InvalidCiphertextException", 400;
    /// A grant id that no grant has.
    InvalidGrantId => "InvalidGrantIdException", 400;
    /// A text that is no grant token.
    InvalidGrantToken => "InvalidGrantTokenException", 400;
    /// An import token of another key, or none at all.
    InvalidImportToken => "InvalidImportTokenException", 400;
    /// The token of a web identity is not one that counts here (STS).
    InvalidIdentityToken => "InvalidIdentityToken", 400;
    /// The key's usage does not allow this.
    InvalidKeyUsage => "InvalidKeyUsageException", 400;
    /// A message authentication code that is not the message's.
    InvalidMac => "KMSInvalidMacException", 400;
    /// A pagination marker that was not given out.
    InvalidMarker => "InvalidMarkerException", 400;
    /// The signature of the request is wrong, too old, or for another service.
    InvalidSignature => "InvalidSignatureException", 400;
    /// A signature (of Verify) that is not the message's.
    InvalidMessageSignature => "KMSInvalidSignatureException", 400;
    /// The key's state does not allow this.
    InvalidState => "KMSInvalidStateException", 400;
    /// The key cannot be reached.
    KeyUnavailable => "KeyUnavailableException", 500;
    /// A quota is used up.
    LimitExceeded => "LimitExceededException", 400;
    /// A policy that is none, or that is not allowed.
    MalformedPolicyDocument => "MalformedPolicyDocumentException", 400;
    /// The request is not signed.
    MissingAuthenticationToken => "MissingAuthenticationTokenException", 400;
    /// A time range that ends before it begins (CloudTrail).
    InvalidTimeRange => "InvalidTimeRangeException", 400;
    /// No such bucket (S3).
    NoSuchBucket => "NoSuchBucket", 404;
    /// The name is one that AWS keeps for itself. The service model does not have it.
    NotAuthorized => "NotAuthorizedException", 400;
    /// No such key or alias.
    NotFound => "NotFoundException", 400;
    /// The body is no JSON, or a member has a value of the wrong type.
    Serialization => "SerializationException", 400;
    /// A tag that is not allowed.
    Tag => "TagException", 400;
    /// More requests at once than are served.
    Throttling => "ThrottlingException", 400;
    /// There is no operation of this name.
    UnknownOperation => "UnknownOperationException", 400;
    /// Nobody has this access key id.
    UnrecognizedClient => "UnrecognizedClientException", 400;
    /// The key cannot do this.
    UnsupportedOperation => "UnsupportedOperationException", 400;
    /// A member of the request breaks a constraint of the model.
    Validation => "ValidationException", 400;
    /// The proxy of an external key store cannot be reached.
    XksProxyUriUnreachable => "XksProxyUriUnreachableException", 400;
}

/// An error with its message. Some errors are sent without one, so that they tell nothing apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsError {
    /// Which error.
    pub code: ErrorCode,
    /// For the caller; never holds a secret.
    pub message: Option<String>,
}

impl KmsError {
    /// An error with a message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: Some(message.into()),
        }
    }

    /// `InvalidCiphertextException`, which carries no message: whatever was wrong looks the same.
    pub fn invalid_ciphertext() -> Self {
        Self {
            code: ErrorCode::InvalidCiphertext,
            message: None,
        }
    }

    /// `ThrottlingException`: too much is asked for at once.
    pub fn throttled() -> Self {
        Self::new(
            ErrorCode::Throttling,
            "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.",
        )
    }

    /// The validation sentence for one member: `constraint` follows "Member must".
    pub fn validation(member: &str, constraint: &str) -> Self {
        Self::new(
            ErrorCode::Validation,
            format!(
                "1 validation error detected: Value at '{member}' failed to satisfy constraint: Member must {constraint}"
            ),
        )
    }

    /// The JSON body: `{"__type": NAME, "message": TEXT}`, the message left out where there is
    /// none and spelled `Message` for `AccessDeniedException`, as AWS sends them.
    pub fn body(&self) -> Value {
        let key = if self.code == ErrorCode::AccessDenied {
            "Message"
        } else {
            "message"
        };
        match &self.message {
            Some(message) => json!({ "__type": self.code.name(), key: message }),
            None => json!({ "__type": self.code.name() }),
        }
    }
}

impl std::fmt::Display for KmsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.message {
            Some(message) => write!(f, "{}: {message}", self.code.name()),
            None => f.write_str(self.code.name()),
        }
    }
}

impl std::error::Error for KmsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_as_recorded_from_aws() {
        assert_eq!(
            KmsError::invalid_ciphertext().body().to_string(),
            r#"{"__type":"InvalidCiphertextException"}"#
        );
        assert_eq!(
            KmsError::new(ErrorCode::AccessDenied, "no")
                .body()
                .to_string(),
            r#"{"Message":"no","__type":"AccessDeniedException"}"#
        );
        assert_eq!(ErrorCode::Internal.status(), 500);
    }
}
