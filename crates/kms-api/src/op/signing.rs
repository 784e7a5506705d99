//! Operations of asymmetric keys and MAC keys: signatures, MACs, public keys.

use crate::model::{Rule, items, shapes, values};
use crate::shape::Blob;

shapes! {
    /// Gives the public key of a key pair.
    #[derive(Clone, PartialEq)]
    GetPublicKeyRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// Tokens of grants that may not be known everywhere yet; at most 10.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        grant_tokens: Vec<String> => "GrantTokens", Rule::list(&items::GRANT_TOKEN_TYPE).sized(0, 10);
    }

    /// Answer of GetPublicKey.
    #[derive(Clone, PartialEq)]
    GetPublicKeyResponse {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
        /// A public key (SubjectPublicKeyInfo DER).
        public_key: Blob => "PublicKey", Rule::blob(1, 8192);
        /// The older name of the key spec.
        customer_master_key_spec: String => "CustomerMasterKeySpec", Rule::one_of(values::CUSTOMER_MASTER_KEY_SPEC);
        /// What kind of key.
        key_spec: String => "KeySpec", Rule::one_of(values::KEY_SPEC);
        /// What the key is for.
        key_usage: String => "KeyUsage", Rule::one_of(values::KEY_USAGE_TYPE);
        /// Those the key can do.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        encryption_algorithms: Vec<String> => "EncryptionAlgorithms", Rule::list(&items::ENCRYPTION_ALGORITHM_SPEC);
        /// Those the key can do.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        signing_algorithms: Vec<String> => "SigningAlgorithms", Rule::list(&items::SIGNING_ALGORITHM_SPEC);
        /// Those the key can do.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        key_agreement_algorithms: Vec<String> => "KeyAgreementAlgorithms", Rule::list(&items::KEY_AGREEMENT_ALGORITHM_SPEC);
        /// Those the key can do.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        encapsulation_algorithms: Vec<String> => "EncapsulationAlgorithms", Rule::list(&items::ENCAPSULATION_ALGORITHM_SPEC);
    }

    /// Signs a message or its digest.
    #[derive(Clone, PartialEq)]
    SignRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// The message, its digest, or what the message type says; at most 4,096 bytes.
        message: Blob => "Message", Rule::blob(1, 4096).required();
        /// `RAW`, `DIGEST` or `EXTERNAL_MU`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_type: Option<String> => "MessageType", Rule::one_of(values::MESSAGE_TYPE);
        /// Tokens of grants that may not be known everywhere yet; at most 10.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        grant_tokens: Vec<String> => "GrantTokens", Rule::list(&items::GRANT_TOKEN_TYPE).sized(0, 10);
        /// The signature algorithm.
        signing_algorithm: String => "SigningAlgorithm", Rule::one_of(values::SIGNING_ALGORITHM_SPEC).required();
        /// Whether nothing is to be done but the checks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dry_run: Option<bool> => "DryRun", Rule::flag();
    }

    /// Answer of Sign.
    #[derive(Clone, PartialEq)]
    SignResponse {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
        /// The signature; DER for ECDSA.
        signature: Blob => "Signature", Rule::blob(1, 6144);
        /// The signature algorithm.
        signing_algorithm: String => "SigningAlgorithm", Rule::one_of(values::SIGNING_ALGORITHM_SPEC);
    }

    /// Verifies a signature.
    #[derive(Clone, PartialEq)]
    VerifyRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// The message, its digest, or what the message type says; at most 4,096 bytes.
        message: Blob => "Message", Rule::blob(1, 4096).required();
        /// `RAW`, `DIGEST` or `EXTERNAL_MU`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_type: Option<String> => "MessageType", Rule::one_of(values::MESSAGE_TYPE);
        /// The signature; DER for ECDSA.
        signature: Blob => "Signature", Rule::blob(1, 6144).required();
        /// The signature algorithm.
        signing_algorithm: String => "SigningAlgorithm", Rule::one_of(values::SIGNING_ALGORITHM_SPEC).required();
        /// Tokens of grants that may not be known everywhere yet; at most 10.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        grant_tokens: Vec<String> => "GrantTokens", Rule::list(&items::GRANT_TOKEN_TYPE).sized(0, 10);
        /// Whether nothing is to be done but the checks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dry_run: Option<bool> => "DryRun", Rule::flag();
    }

    /// Answer of Verify.
    #[derive(Clone, PartialEq)]
    VerifyResponse {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
        /// Always true: a wrong one is an error.
        signature_valid: bool => "SignatureValid", Rule::flag();
        /// The signature algorithm.
        signing_algorithm: String => "SigningAlgorithm", Rule::one_of(values::SIGNING_ALGORITHM_SPEC);
    }

    /// Makes a message authentication code.
    #[derive(Clone, PartialEq)]
    GenerateMacRequest {
        /// The message, its digest, or what the message type says; at most 4,096 bytes.
        message: Blob => "Message", Rule::blob(1, 4096).required();
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// The algorithm.
        mac_algorithm: String => "MacAlgorithm", Rule::one_of(values::MAC_ALGORITHM_SPEC).required();
        /// Tokens of grants that may not be known everywhere yet; at most 10.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        grant_tokens: Vec<String> => "GrantTokens", Rule::list(&items::GRANT_TOKEN_TYPE).sized(0, 10);
        /// Whether nothing is to be done but the checks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dry_run: Option<bool> => "DryRun", Rule::flag();
    }

    /// Answer of GenerateMac.
    #[derive(Clone, PartialEq)]
    GenerateMacResponse {
        /// The code.
        mac: Blob => "Mac", Rule::blob(1, 6144);
        /// The algorithm.
        mac_algorithm: String => "MacAlgorithm", Rule::one_of(values::MAC_ALGORITHM_SPEC);
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
    }

    /// Verifies a message authentication code.
    #[derive(Clone, PartialEq)]
    VerifyMacRequest {
        /// The message, its digest, or what the message type says; at most 4,096 bytes.
        message: Blob => "Message", Rule::blob(1, 4096).required();
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// The algorithm.
        mac_algorithm: String => "MacAlgorithm", Rule::one_of(values::MAC_ALGORITHM_SPEC).required();
        /// The code.
        mac: Blob => "Mac", Rule::blob(1, 6144).required();
        /// Tokens of grants that may not be known everywhere yet; at most 10.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        grant_tokens: Vec<String> => "GrantTokens", Rule::list(&items::GRANT_TOKEN_TYPE).sized(0, 10);
        /// Whether nothing is to be done but the checks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dry_run: Option<bool> => "DryRun", Rule::flag();
    }

    /// Answer of VerifyMac.
    #[derive(Clone, PartialEq)]
    VerifyMacResponse {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
        /// Always true: a wrong one is an error.
        mac_valid: bool => "MacValid", Rule::flag();
        /// The algorithm.
        mac_algorithm: String => "MacAlgorithm", Rule::one_of(values::MAC_ALGORITHM_SPEC);
    }
}
