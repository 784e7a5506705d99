//! The values that members of an enumerated type may have, in the order of the service model.

/// `AlgorithmSpec`.
pub const ALGORITHM_SPEC: &[&str] = &[
    "RSAES_PKCS1_V1_5",
    "RSAES_OAEP_SHA_1",
    "RSAES_OAEP_SHA_256",
    "RSA_AES_KEY_WRAP_SHA_1",
    "RSA_AES_KEY_WRAP_SHA_256",
    "SM2PKE",
];
/// `ConnectionErrorCodeType`.
pub const CONNECTION_ERROR_CODE_TYPE: &[&str] = &[
    "INVALID_CREDENTIALS",
    "CLUSTER_NOT_FOUND",
    "NETWORK_ERRORS",
    "INTERNAL_ERROR",
    "INSUFFICIENT_CLOUDHSM_HSMS",
    "USER_LOCKED_OUT",
    "USER_NOT_FOUND",
    "USER_LOGGED_IN",
    "SUBNET_NOT_FOUND",
    "INSUFFICIENT_FREE_ADDRESSES_IN_SUBNET",
    "XKS_PROXY_ACCESS_DENIED",
    "XKS_PROXY_NOT_REACHABLE",
    "XKS_VPC_ENDPOINT_SERVICE_NOT_FOUND",
    "XKS_PROXY_INVALID_RESPONSE",
    "XKS_PROXY_INVALID_CONFIGURATION",
    "XKS_VPC_ENDPOINT_SERVICE_INVALID_CONFIGURATION",
    "XKS_PROXY_TIMED_OUT",
    "XKS_PROXY_INVALID_TLS_CONFIGURATION",
];
/// `ConnectionStateType`.
pub const CONNECTION_STATE_TYPE: &[&str] = &[
    "CONNECTED",
    "CONNECTING",
    "FAILED",
    "DISCONNECTED",
    "DISCONNECTING",
];
/// `CustomKeyStoreType`.
pub const CUSTOM_KEY_STORE_TYPE: &[&str] = &["AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"];
/// `CustomerMasterKeySpec`.
pub const CUSTOMER_MASTER_KEY_SPEC: &[&str] = &[
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "ECC_SECG_P256K1",
    "SYMMETRIC_DEFAULT",
    "HMAC_224",
    "HMAC_256",
    "HMAC_384",
    "HMAC_512",
    "SM2",
];
/// `DataKeyPairSpec`.
pub const DATA_KEY_PAIR_SPEC: &[&str] = &[
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "ECC_SECG_P256K1",
    "SM2",
    "ECC_NIST_EDWARDS25519",
    "ML_KEM_512",
    "ML_KEM_768",
    "ML_KEM_1024",
];
/// `DataKeySpec`.
pub const DATA_KEY_SPEC: &[&str] = &["AES_256", "AES_128"];
/// `DryRunModifierType`.
pub const DRYRUN_MODIFIER_TYPE: &[&str] = &["IGNORE_CIPHERTEXT"];
/// `EncapsulationAlgorithmSpec`.
pub const ENCAPSULATION_ALGORITHM_SPEC: &[&str] = &["ML_KEM"];
/// `EncryptionAlgorithmSpec`.
pub const ENCRYPTION_ALGORITHM_SPEC: &[&str] = &[
    "SYMMETRIC_DEFAULT",
    "RSAES_OAEP_SHA_1",
    "RSAES_OAEP_SHA_256",
    "SM2PKE",
];
/// `ExpirationModelType`.
pub const EXPIRATION_MODEL_TYPE: &[&str] =
    &["KEY_MATERIAL_EXPIRES", "KEY_MATERIAL_DOES_NOT_EXPIRE"];
/// `GrantOperation`.
pub const GRANT_OPERATION: &[&str] = &[
    "Decrypt",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
    "Sign",
    "Verify",
    "GetPublicKey",
    "CreateGrant",
    "RetireGrant",
    "DescribeKey",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "GenerateMac",
    "VerifyMac",
    "DeriveSharedSecret",
    "Encapsulate",
    "Decapsulate",
];
/// `ImportState`.
pub const IMPORT_STATE: &[&str] = &["IMPORTED", "PENDING_IMPORT"];
/// `ImportType`.
pub const IMPORT_TYPE: &[&str] = &["NEW_KEY_MATERIAL", "EXISTING_KEY_MATERIAL"];
/// `IncludeKeyMaterial`.
pub const INCLUDE_KEY_MATERIAL: &[&str] = &["ALL_KEY_MATERIAL", "ROTATIONS_ONLY"];
/// `KeyAgreementAlgorithmSpec`.
pub const KEY_AGREEMENT_ALGORITHM_SPEC: &[&str] = &["ECDH"];
/// `KeyEncryptionMechanism`.
pub const KEY_ENCRYPTION_MECHANISM: &[&str] = &["RSAES_OAEP_SHA_256"];
/// `KeyLastUsageTrackingOperation`.
pub const KEY_LAST_USAGE_TRACKING_OPERATION: &[&str] = &[
    "Decrypt",
    "DeriveSharedSecret",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "GenerateDataKeyWithoutPlaintext",
    "GenerateMac",
    "ReEncrypt",
    "Sign",
    "Verify",
    "VerifyMac",
    "Encapsulate",
    "Decapsulate",
];
/// `KeyManagerType`.
pub const KEY_MANAGER_TYPE: &[&str] = &["AWS", "CUSTOMER"];
/// `KeyMaterialState`.
pub const KEY_MATERIAL_STATE: &[&str] = &[
    "NON_CURRENT",
    "CURRENT",
    "PENDING_ROTATION",
    "PENDING_MULTI_REGION_IMPORT_AND_ROTATION",
];
/// `KeySpec`.
pub const KEY_SPEC: &[&str] = &[
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "ECC_SECG_P256K1",
    "SYMMETRIC_DEFAULT",
    "HMAC_224",
    "HMAC_256",
    "HMAC_384",
    "HMAC_512",
    "SM2",
    "ML_DSA_44",
    "ML_DSA_65",
    "ML_DSA_87",
    "ECC_NIST_EDWARDS25519",
    "ML_KEM_512",
    "ML_KEM_768",
    "ML_KEM_1024",
];
/// `KeyState`.
pub const KEY_STATE: &[&str] = &[
    "Creating",
    "Enabled",
    "Disabled",
    "PendingDeletion",
    "PendingImport",
    "PendingReplicaDeletion",
    "Unavailable",
    "Updating",
];
/// `KeyUsageType`.
pub const KEY_USAGE_TYPE: &[&str] = &[
    "SIGN_VERIFY",
    "ENCRYPT_DECRYPT",
    "GENERATE_VERIFY_MAC",
    "KEY_AGREEMENT",
    "ENCAPSULATE_DECAPSULATE",
];
/// `MacAlgorithmSpec`.
/// In the order of AWS's errors.
pub const MAC_ALGORITHM_SPEC: &[&str] = &[
    "HMAC_SHA_384",
    "HMAC_SHA_256",
    "HMAC_SHA_224",
    "HMAC_SHA_512",
];
/// `MessageType`.
pub const MESSAGE_TYPE: &[&str] = &["RAW", "DIGEST", "EXTERNAL_MU"];
/// `MultiRegionKeyType`.
pub const MULTI_REGION_KEY_TYPE: &[&str] = &["PRIMARY", "REPLICA"];
/// `OriginType`.
pub const ORIGIN_TYPE: &[&str] = &["AWS_KMS", "EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"];
/// `ResourceOwnerType`.
pub const RESOURCE_OWNER_TYPE: &[&str] = &["SELF", "OTHER_ACCOUNTS_VIA_RAM"];
/// `RotationType`.
pub const ROTATION_TYPE: &[&str] = &["AUTOMATIC", "ON_DEMAND"];
/// `SigningAlgorithmSpec`.
pub const SIGNING_ALGORITHM_SPEC: &[&str] = &[
    "RSASSA_PSS_SHA_256",
    "RSASSA_PSS_SHA_384",
    "RSASSA_PSS_SHA_512",
    "RSASSA_PKCS1_V1_5_SHA_256",
    "RSASSA_PKCS1_V1_5_SHA_384",
    "RSASSA_PKCS1_V1_5_SHA_512",
    "ECDSA_SHA_256",
    "ECDSA_SHA_384",
    "ECDSA_SHA_512",
    "SM2DSA",
    "ML_DSA_SHAKE_256",
    "ED25519_SHA_512",
    "ED25519_PH_SHA_512",
];
/// `WrappingKeySpec`.
pub const WRAPPING_KEY_SPEC: &[&str] = &["RSA_2048", "RSA_3072", "RSA_4096", "SM2"];
/// `XksProxyConnectivityType`.
pub const XKS_PROXY_CONNECTIVITY_TYPE: &[&str] = &["PUBLIC_ENDPOINT", "VPC_ENDPOINT_SERVICE"];
