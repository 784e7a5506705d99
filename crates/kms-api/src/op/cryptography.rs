//! Operations that use a symmetric key: Encrypt, Decrypt, ReEncrypt, data keys; random bytes.

use crate::model::{Rule, items, patterns, shapes, values};
use crate::op::ContextMap;
use crate::shape::{Blob, SecretBlob};
use std::collections::BTreeMap;

/// The most bytes that Encrypt takes.
pub const PLAINTEXT_BYTES_MAX: usize = 4_096;
/// The most bytes of a ciphertext blob.
pub const CIPHERTEXT_BYTES_MAX: usize = 6_144;
/// The most bytes of GenerateRandom and of a data key.
pub const RANDOM_BYTES_MAX: i64 = 1_024;
/// The one algorithm of symmetric keys.
pub const SYMMETRIC_DEFAULT: &str = "SYMMETRIC_DEFAULT";

shapes! {
    /// Encrypts up to 4,096 bytes.
    EncryptRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// Secret.
        plaintext: SecretBlob => "Plaintext", Rule::blob(1, 4096).required();
        /// Must be the same on decryption.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        encryption_context: ContextMap => "EncryptionContext", Rule::pairs();
        /// Tokens of grants that may not be known everywhere yet; at most 10.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        grant_tokens: Vec<String> => "GrantTokens", Rule::list(&items::GRANT_TOKEN_TYPE).sized(0, 10);
        /// `SYMMETRIC_DEFAULT`, or an algorithm of an RSA key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        encryption_algorithm: Option<String> => "EncryptionAlgorithm", Rule::one_of(values::ENCRYPTION_ALGORITHM_SPEC);
        /// Whether nothing is to be done but the checks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dry_run: Option<bool> => "DryRun", Rule::flag();
    }

    /// Answer of Encrypt.
    #[derive(Clone, PartialEq)]
    EncryptResponse {
        /// The blob; opaque.
        ciphertext_blob: Blob => "CiphertextBlob", Rule::blob(1, 6144);
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
        /// `SYMMETRIC_DEFAULT`, or an algorithm of an RSA key.
        encryption_algorithm: String => "EncryptionAlgorithm", Rule::one_of(values::ENCRYPTION_ALGORITHM_SPEC);
    }

    /// Decrypts a blob. The blob of a symmetric key names its key.
    #[derive(Clone, PartialEq)]
    DecryptRequest {
        /// The blob; opaque.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ciphertext_blob: Option<Blob> => "CiphertextBlob", Rule::blob(1, 6144);
        /// Must be the same on decryption.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        encryption_context: ContextMap => "EncryptionContext", Rule::pairs();
        /// Tokens of grants that may not be known everywhere yet; at most 10.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        grant_tokens: Vec<String> => "GrantTokens", Rule::list(&items::GRANT_TOKEN_TYPE).sized(0, 10);
        /// The key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_id: Option<String> => "KeyId", Rule::text(1, 2048);
        /// `SYMMETRIC_DEFAULT`, or an algorithm of an RSA key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        encryption_algorithm: Option<String> => "EncryptionAlgorithm", Rule::one_of(values::ENCRYPTION_ALGORITHM_SPEC);
        /// Who gets the answer encrypted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recipient: Option<RecipientInfo> => "Recipient", Rule::structure(RecipientInfo::MEMBERS);
        /// Whether nothing is to be done but the checks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dry_run: Option<bool> => "DryRun", Rule::flag();
        /// What a dry run leaves out.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        dry_run_modifiers: Vec<String> => "DryRunModifiers", Rule::list(&items::DRYRUN_MODIFIER_TYPE);
    }

    /// Answer of Decrypt.
    DecryptResponse {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
        /// Secret.
        #[serde(default, skip_serializing_if = "SecretBlob::is_empty")]
        plaintext: SecretBlob => "Plaintext", Rule::blob(1, 4096);
        /// `SYMMETRIC_DEFAULT`, or an algorithm of an RSA key.
        encryption_algorithm: String => "EncryptionAlgorithm", Rule::one_of(values::ENCRYPTION_ALGORITHM_SPEC);
        /// The secret, encrypted for the recipient.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ciphertext_for_recipient: Option<Blob> => "CiphertextForRecipient", Rule::blob(1, 6144);
        /// Which material of the key: 64 hexadecimal digits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_material_id: Option<String> => "KeyMaterialId", Rule::text(64, 64).matching(&patterns::LOWER_HEX);
    }

    /// Decrypts a blob and encrypts it anew, without showing the plaintext.
    #[derive(Clone, PartialEq)]
    ReEncryptRequest {
        /// The blob; opaque.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ciphertext_blob: Option<Blob> => "CiphertextBlob", Rule::blob(1, 6144);
        /// Of the blob that is given.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        source_encryption_context: ContextMap => "SourceEncryptionContext", Rule::pairs();
        /// The key of the blob that is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source_key_id: Option<String> => "SourceKeyId", Rule::text(1, 2048);
        /// The key of the new blob.
        destination_key_id: String => "DestinationKeyId", Rule::text(1, 2048).required();
        /// Of the new blob.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        destination_encryption_context: ContextMap => "DestinationEncryptionContext", Rule::pairs();
        /// Of the blob that is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source_encryption_algorithm: Option<String> => "SourceEncryptionAlgorithm", Rule::one_of(values::ENCRYPTION_ALGORITHM_SPEC);
        /// Of the new blob.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        destination_encryption_algorithm: Option<String> => "DestinationEncryptionAlgorithm", Rule::one_of(values::ENCRYPTION_ALGORITHM_SPEC);
        /// Tokens of grants that may not be known everywhere yet; at most 10.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        grant_tokens: Vec<String> => "GrantTokens", Rule::list(&items::GRANT_TOKEN_TYPE).sized(0, 10);
        /// Whether nothing is to be done but the checks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dry_run: Option<bool> => "DryRun", Rule::flag();
        /// What a dry run leaves out.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        dry_run_modifiers: Vec<String> => "DryRunModifiers", Rule::list(&items::DRYRUN_MODIFIER_TYPE);
    }

    /// Answer of ReEncrypt.
    #[derive(Clone, PartialEq)]
    ReEncryptResponse {
        /// The blob; opaque.
        ciphertext_blob: Blob => "CiphertextBlob", Rule::blob(1, 6144);
        /// The key of the blob that is given.
        source_key_id: String => "SourceKeyId", Rule::text(1, 2048);
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
        /// Of the blob that is given.
        source_encryption_algorithm: String => "SourceEncryptionAlgorithm", Rule::one_of(values::ENCRYPTION_ALGORITHM_SPEC);
        /// Of the new blob.
        destination_encryption_algorithm: String => "DestinationEncryptionAlgorithm", Rule::one_of(values::ENCRYPTION_ALGORITHM_SPEC);
        /// Which material opened the blob.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source_key_material_id: Option<String> => "SourceKeyMaterialId", Rule::text(64, 64).matching(&patterns::LOWER_HEX);
        /// Which material sealed the new blob.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        destination_key_material_id: Option<String> => "DestinationKeyMaterialId", Rule::text(64, 64).matching(&patterns::LOWER_HEX);
    }

    /// Makes a data key: in plaintext and wrapped.
    #[derive(Clone, PartialEq)]
    GenerateDataKeyRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// Must be the same on decryption.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        encryption_context: ContextMap => "EncryptionContext", Rule::pairs();
        /// Length in bytes, 1 to 1,024.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number_of_bytes: Option<i64> => "NumberOfBytes", Rule::number(1, 1024);
        /// What kind of key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_spec: Option<String> => "KeySpec", Rule::one_of(values::DATA_KEY_SPEC);
        /// Tokens of grants that may not be known everywhere yet; at most 10.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        grant_tokens: Vec<String> => "GrantTokens", Rule::list(&items::GRANT_TOKEN_TYPE).sized(0, 10);
        /// Who gets the answer encrypted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recipient: Option<RecipientInfo> => "Recipient", Rule::structure(RecipientInfo::MEMBERS);
        /// Whether nothing is to be done but the checks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dry_run: Option<bool> => "DryRun", Rule::flag();
    }

    /// Answer of GenerateDataKey.
    GenerateDataKeyResponse {
        /// The blob; opaque.
        ciphertext_blob: Blob => "CiphertextBlob", Rule::blob(1, 6144);
        /// Secret.
        #[serde(default, skip_serializing_if = "SecretBlob::is_empty")]
        plaintext: SecretBlob => "Plaintext", Rule::blob(1, 4096);
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
        /// The secret, encrypted for the recipient.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ciphertext_for_recipient: Option<Blob> => "CiphertextForRecipient", Rule::blob(1, 6144);
        /// Which material of the key: 64 hexadecimal digits; that in a device has no id.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        key_material_id: String => "KeyMaterialId", Rule::text(64, 64).matching(&patterns::LOWER_HEX);
    }

    /// Makes a data key of which only the wrapped form leaves the service.
    #[derive(Clone, PartialEq)]
    GenerateDataKeyWithoutPlaintextRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// Must be the same on decryption.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        encryption_context: ContextMap => "EncryptionContext", Rule::pairs();
        /// What kind of key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_spec: Option<String> => "KeySpec", Rule::one_of(values::DATA_KEY_SPEC);
        /// Length in bytes, 1 to 1,024.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number_of_bytes: Option<i64> => "NumberOfBytes", Rule::number(1, 1024);
        /// Tokens of grants that may not be known everywhere yet; at most 10.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        grant_tokens: Vec<String> => "GrantTokens", Rule::list(&items::GRANT_TOKEN_TYPE).sized(0, 10);
        /// Whether nothing is to be done but the checks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dry_run: Option<bool> => "DryRun", Rule::flag();
    }

    /// Answer of GenerateDataKeyWithoutPlaintext.
    #[derive(Clone, PartialEq)]
    GenerateDataKeyWithoutPlaintextResponse {
        /// The blob; opaque.
        ciphertext_blob: Blob => "CiphertextBlob", Rule::blob(1, 6144);
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
        /// Which material of the key: 64 hexadecimal digits; that in a device has no id.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        key_material_id: String => "KeyMaterialId", Rule::text(64, 64).matching(&patterns::LOWER_HEX);
    }

    /// Gives random bytes.
    #[derive(Clone, PartialEq)]
    GenerateRandomRequest {
        /// Length in bytes, 1 to 1,024.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number_of_bytes: Option<i64> => "NumberOfBytes", Rule::number(1, 1024);
        /// A custom key store.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        custom_key_store_id: Option<String> => "CustomKeyStoreId", Rule::text(1, 64);
        /// Who gets the answer encrypted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recipient: Option<RecipientInfo> => "Recipient", Rule::structure(RecipientInfo::MEMBERS);
    }

    /// Answer of GenerateRandom.
    GenerateRandomResponse {
        /// Secret.
        #[serde(default, skip_serializing_if = "SecretBlob::is_empty")]
        plaintext: SecretBlob => "Plaintext", Rule::blob(1, 4096);
        /// The secret, encrypted for the recipient.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ciphertext_for_recipient: Option<Blob> => "CiphertextForRecipient", Rule::blob(1, 6144);
    }

    /// Who gets the answer encrypted: an enclave that attests itself.
    #[derive(Clone, PartialEq)]
    RecipientInfo {
        /// How the answer is encrypted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_encryption_algorithm: Option<String> => "KeyEncryptionAlgorithm", Rule::one_of(values::KEY_ENCRYPTION_MECHANISM);
        /// A signed document with a public key in it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attestation_document: Option<Blob> => "AttestationDocument", Rule::blob(1, 262144);
    }
}
