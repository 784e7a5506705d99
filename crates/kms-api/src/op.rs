//! The operations: for each one its input and output on the wire.
//!
//! An operation is one struct pair, one row of the table in
//! [`each_operation!`](crate::each_operation) and one function in `waxseal_kms::op`. What the
//! service model says of a member stands beside it; [`Operation::validate`] holds inputs to it. The
//! meaning is the engine's.

mod agreement;
mod aliases;
mod cryptography;
mod deletion;
mod grants;
mod keys;
mod material;
mod pairs;
mod policies;
mod regions;
mod rotation;
mod signing;
mod stores;
mod tags;

pub use agreement::*;
pub use aliases::*;
pub use cryptography::*;
pub use deletion::*;
pub use grants::*;
pub use keys::*;
pub use material::*;
pub use pairs::*;
pub use policies::*;
pub use regions::*;
pub use rotation::*;
pub use signing::*;
pub use stores::*;
pub use tags::*;

use crate::error::KmsError;
use crate::model::{Member, Path, Shape, Violations};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// Encryption context pairs on the wire.
pub type ContextMap = BTreeMap<String, String>;

/// What the input of an operation is called, what it answers with, and what it must satisfy.
pub trait Operation: DeserializeOwned + Serialize + Shape + Send {
    /// The name in `X-Amz-Target: TrentService.NAME` and in the audit log.
    const NAME: &'static str;
    /// The service, as actions name it.
    const SERVICE: &'static str = "kms";
    /// The answer.
    type Output: Serialize + DeserializeOwned + Send;

    /// Checks lengths, ranges, patterns and values of the model; no state is consulted.
    ///
    /// # Errors
    /// `ValidationException` with a sentence for each member that breaks a rule.
    fn validate(&self) -> Result<(), KmsError> {
        let mut found = Violations::default();
        self.check(&Path::ROOT, &mut found);
        found.into_result()
    }
}

/// Hands the table of all operations that the engine does to another macro:
/// `$callback! { INPUT -> OUTPUT: "NAME"; … }`. The types are in [`op`](crate::op), and must be in
/// scope where this is called.
#[macro_export]
macro_rules! each_operation {
    ($callback:ident) => {
        $callback! {
            CancelKeyDeletionRequest -> CancelKeyDeletionResponse: "CancelKeyDeletion";
            ConnectCustomKeyStoreRequest -> Empty: "ConnectCustomKeyStore";
            CreateAliasRequest -> Empty: "CreateAlias";
            CreateCustomKeyStoreRequest -> CreateCustomKeyStoreResponse: "CreateCustomKeyStore";
            CreateGrantRequest -> CreateGrantResponse: "CreateGrant";
            CreateKeyRequest -> CreateKeyResponse: "CreateKey";
            DecapsulateRequest -> DecapsulateResponse: "Decapsulate";
            DecryptRequest -> DecryptResponse: "Decrypt";
            DeleteAliasRequest -> Empty: "DeleteAlias";
            DeleteCustomKeyStoreRequest -> Empty: "DeleteCustomKeyStore";
            DeleteImportedKeyMaterialRequest -> DeleteImportedKeyMaterialResponse: "DeleteImportedKeyMaterial";
            DeriveSharedSecretRequest -> DeriveSharedSecretResponse: "DeriveSharedSecret";
            DescribeCustomKeyStoresRequest -> DescribeCustomKeyStoresResponse: "DescribeCustomKeyStores";
            DescribeKeyRequest -> DescribeKeyResponse: "DescribeKey";
            DisableKeyRequest -> Empty: "DisableKey";
            DisableKeyRotationRequest -> Empty: "DisableKeyRotation";
            DisconnectCustomKeyStoreRequest -> Empty: "DisconnectCustomKeyStore";
            EnableKeyRequest -> Empty: "EnableKey";
            EnableKeyRotationRequest -> Empty: "EnableKeyRotation";
            EncapsulateRequest -> EncapsulateResponse: "Encapsulate";
            EncryptRequest -> EncryptResponse: "Encrypt";
            GenerateDataKeyRequest -> GenerateDataKeyResponse: "GenerateDataKey";
            GenerateDataKeyPairRequest -> GenerateDataKeyPairResponse: "GenerateDataKeyPair";
            GenerateDataKeyPairWithoutPlaintextRequest -> GenerateDataKeyPairWithoutPlaintextResponse: "GenerateDataKeyPairWithoutPlaintext";
            GenerateDataKeyWithoutPlaintextRequest -> GenerateDataKeyWithoutPlaintextResponse: "GenerateDataKeyWithoutPlaintext";
            GenerateMacRequest -> GenerateMacResponse: "GenerateMac";
            GenerateRandomRequest -> GenerateRandomResponse: "GenerateRandom";
            GetKeyLastUsageRequest -> GetKeyLastUsageResponse: "GetKeyLastUsage";
            GetKeyPolicyRequest -> GetKeyPolicyResponse: "GetKeyPolicy";
            GetKeyRotationStatusRequest -> GetKeyRotationStatusResponse: "GetKeyRotationStatus";
            GetParametersForImportRequest -> GetParametersForImportResponse: "GetParametersForImport";
            GetPublicKeyRequest -> GetPublicKeyResponse: "GetPublicKey";
            ImportKeyMaterialRequest -> ImportKeyMaterialResponse: "ImportKeyMaterial";
            ListAliasesRequest -> ListAliasesResponse: "ListAliases";
            ListGrantsRequest -> ListGrantsResponse: "ListGrants";
            ListKeyPoliciesRequest -> ListKeyPoliciesResponse: "ListKeyPolicies";
            ListKeyRotationsRequest -> ListKeyRotationsResponse: "ListKeyRotations";
            ListKeysRequest -> ListKeysResponse: "ListKeys";
            ListResourceTagsRequest -> ListResourceTagsResponse: "ListResourceTags";
            ListRetirableGrantsRequest -> ListGrantsResponse: "ListRetirableGrants";
            PutKeyPolicyRequest -> Empty: "PutKeyPolicy";
            ReEncryptRequest -> ReEncryptResponse: "ReEncrypt";
            ReplicateKeyRequest -> ReplicateKeyResponse: "ReplicateKey";
            RetireGrantRequest -> Empty: "RetireGrant";
            RevokeGrantRequest -> Empty: "RevokeGrant";
            RotateKeyOnDemandRequest -> RotateKeyOnDemandResponse: "RotateKeyOnDemand";
            ScheduleKeyDeletionRequest -> ScheduleKeyDeletionResponse: "ScheduleKeyDeletion";
            SignRequest -> SignResponse: "Sign";
            TagResourceRequest -> Empty: "TagResource";
            UntagResourceRequest -> Empty: "UntagResource";
            UpdateAliasRequest -> Empty: "UpdateAlias";
            UpdateCustomKeyStoreRequest -> Empty: "UpdateCustomKeyStore";
            UpdateKeyDescriptionRequest -> Empty: "UpdateKeyDescription";
            UpdatePrimaryRegionRequest -> Empty: "UpdatePrimaryRegion";
            VerifyRequest -> VerifyResponse: "Verify";
            VerifyMacRequest -> VerifyMacResponse: "VerifyMac";
        }
    };
}

macro_rules! operations {
    ($( $input:ident -> $output:ident: $name:literal; )*) => {
        $(
            impl Operation for $input {
                const NAME: &'static str = $name;
                type Output = $output;
            }
        )*
    };
}

each_operation!(operations);

macro_rules! names {
    ($( $input:ident -> $output:ident: $name:literal; )*) => {
        &[$( $name, )*]
    };
}

/// The names of the operations that the engine does.
pub const OPERATIONS: &[&str] = each_operation!(names);

/// A type's name in the service model, and its members.
pub type ShapeEntry = (&'static str, &'static [Member]);

/// All types of the wire, by name and with their members.
#[allow(unused_qualifications, reason = "each module has a SHAPES of its own")]
pub fn shapes() -> impl Iterator<Item = &'static ShapeEntry> {
    [
        agreement::SHAPES,
        aliases::SHAPES,
        cryptography::SHAPES,
        deletion::SHAPES,
        grants::SHAPES,
        material::SHAPES,
        keys::SHAPES,
        pairs::SHAPES,
        policies::SHAPES,
        regions::SHAPES,
        rotation::SHAPES,
        signing::SHAPES,
        stores::SHAPES,
        tags::SHAPES,
    ]
    .into_iter()
    .flatten()
}

/// What a caller must be allowed to do: the `kms:` actions of policies. Most operations need the
/// action of their own name; `ReEncrypt` needs two others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Action {
    /// `kms`, for instance.
    pub service: &'static str,
    /// Without the service.
    pub name: &'static str,
}

impl Action {
    /// The action that is named like an operation.
    pub fn of<O: Operation>() -> Self {
        Self {
            service: O::SERVICE,
            name: O::NAME,
        }
    }

    const fn kms(name: &'static str) -> Self {
        Self {
            service: "kms",
            name,
        }
    }

    /// Reading side of `ReEncrypt`.
    pub const RE_ENCRYPT_FROM: Self = Self::kms("ReEncryptFrom");
    /// Writing side of `ReEncrypt`.
    pub const RE_ENCRYPT_TO: Self = Self::kms("ReEncryptTo");
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.service, self.name)
    }
}

/// The answer of operations that say nothing but that they are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Empty {}
