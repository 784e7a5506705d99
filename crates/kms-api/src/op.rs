//! The operations: for each one its input and output on the wire.
//!
//! An operation is one struct pair, one row of the table in [`each_operation!`](crate::each_operation) and one function in
//! `waxseal_kms::op`. The inputs check the constraints of the service model in
//! [`Operation::validate`]; the meaning is the engine's.

mod aliases;
mod cryptography;
mod keys;
mod rotation;
mod tags;

pub use aliases::*;
pub use cryptography::*;
pub use keys::*;
pub use rotation::*;
pub use tags::*;

use crate::error::KmsError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What the input of an operation is called, what it answers with, and what it must satisfy.
pub trait Operation: DeserializeOwned + Serialize + Send {
    /// The name in `X-Amz-Target: TrentService.NAME` and in the audit log.
    const NAME: &'static str;
    /// The answer.
    type Output: Serialize + DeserializeOwned + Send;

    /// Checks lengths, ranges and patterns of the model; no state is consulted.
    ///
    /// # Errors
    /// `ValidationException` with the sentence that names the member.
    fn validate(&self) -> Result<(), KmsError>;
}

/// Hands the table of all operations to another macro: `$callback! { INPUT -> OUTPUT: "NAME"; … }`.
/// The types are in [`op`](crate::op), and must be in scope where this is called.
#[macro_export]
macro_rules! each_operation {
    ($callback:ident) => {
        $callback! {
            CreateAliasRequest -> Empty: "CreateAlias";
            CreateKeyRequest -> CreateKeyResponse: "CreateKey";
            DecryptRequest -> DecryptResponse: "Decrypt";
            DeleteAliasRequest -> Empty: "DeleteAlias";
            DescribeKeyRequest -> DescribeKeyResponse: "DescribeKey";
            DisableKeyRequest -> Empty: "DisableKey";
            EnableKeyRequest -> Empty: "EnableKey";
            EncryptRequest -> EncryptResponse: "Encrypt";
            GenerateDataKeyRequest -> GenerateDataKeyResponse: "GenerateDataKey";
            GenerateDataKeyWithoutPlaintextRequest -> GenerateDataKeyWithoutPlaintextResponse:
                "GenerateDataKeyWithoutPlaintext";
            GenerateRandomRequest -> GenerateRandomResponse: "GenerateRandom";
            ListAliasesRequest -> ListAliasesResponse: "ListAliases";
            ListKeyRotationsRequest -> ListKeyRotationsResponse: "ListKeyRotations";
            ListKeysRequest -> ListKeysResponse: "ListKeys";
            ListResourceTagsRequest -> ListResourceTagsResponse: "ListResourceTags";
            ReEncryptRequest -> ReEncryptResponse: "ReEncrypt";
            RotateKeyOnDemandRequest -> RotateKeyOnDemandResponse: "RotateKeyOnDemand";
            TagResourceRequest -> Empty: "TagResource";
            UntagResourceRequest -> Empty: "UntagResource";
            UpdateAliasRequest -> Empty: "UpdateAlias";
            UpdateKeyDescriptionRequest -> Empty: "UpdateKeyDescription";
        }
    };
}

macro_rules! operations {
    ($( $input:ident -> $output:ident: $name:literal; )*) => {
        $(
            impl Operation for $input {
                const NAME: &'static str = $name;
                type Output = $output;
                fn validate(&self) -> Result<(), KmsError> {
                    self.check()
                }
            }
        )*
        /// The names of all operations that there are.
        pub const OPERATIONS: &[&str] = &[$( $name, )*];
    };
}

each_operation!(operations);

/// What a caller must be allowed to do: the `kms:` actions of policies. Most operations need the
/// action of their own name; `ReEncrypt` needs two others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Action(pub &'static str);

impl Action {
    /// The action named like operation `O`.
    pub const fn of<O: Operation>() -> Self {
        Self(O::NAME)
    }

    /// Reading side of `ReEncrypt`.
    pub const RE_ENCRYPT_FROM: Self = Self("ReEncryptFrom");
    /// Writing side of `ReEncrypt`.
    pub const RE_ENCRYPT_TO: Self = Self("ReEncryptTo");
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "kms:{}", self.0)
    }
}

/// The answer of operations that say nothing but that they are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Empty {}

/// Checks that a length lies in `range`.
pub(crate) fn length(
    member: &str,
    len: usize,
    range: std::ops::RangeInclusive<usize>,
) -> Result<(), KmsError> {
    if len < *range.start() {
        let constraint = format!("have length greater than or equal to {}", range.start());
        return Err(KmsError::validation(member, &constraint));
    }
    if len > *range.end() {
        let constraint = format!("have length less than or equal to {}", range.end());
        return Err(KmsError::validation(member, &constraint));
    }
    Ok(())
}

/// Checks that a number lies in `range`.
pub(crate) fn number(
    member: &str,
    value: i64,
    range: std::ops::RangeInclusive<i64>,
) -> Result<(), KmsError> {
    if value < *range.start() {
        let constraint = format!("have value greater than or equal to {}", range.start());
        return Err(KmsError::validation(member, &constraint));
    }
    if value > *range.end() {
        let constraint = format!("have value less than or equal to {}", range.end());
        return Err(KmsError::validation(member, &constraint));
    }
    Ok(())
}

/// The members that every paginated request has.
pub(crate) fn page(limit: Option<i64>, marker: Option<&str>) -> Result<(), KmsError> {
    if let Some(limit) = limit {
        number("limit", limit, 1..=1000)?;
    }
    if let Some(marker) = marker {
        length("marker", marker.len(), 1..=1024)?;
    }
    Ok(())
}

/// A key id, ARN, alias or alias ARN in a request.
pub(crate) fn key_id(member: &str, text: &str) -> Result<(), KmsError> {
    length(member, text.len(), 1..=waxseal_core::arn::KEY_REF_CHARS_MAX)
}
