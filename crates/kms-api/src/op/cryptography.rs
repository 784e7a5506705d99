//! Operations that use a key: Encrypt, Decrypt, ReEncrypt, data keys, random bytes.

use super::{key_id, length, number};
use crate::error::KmsError;
use crate::shape::{Blob, SecretBlob};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most bytes that Encrypt takes.
pub const PLAINTEXT_BYTES_MAX: usize = 4_096;
/// The most bytes of a ciphertext blob.
pub const CIPHERTEXT_BYTES_MAX: usize = 6_144;
/// The most bytes of GenerateRandom and of a data key.
pub const RANDOM_BYTES_MAX: i64 = 1_024;
/// The one algorithm of symmetric keys.
pub const SYMMETRIC_DEFAULT: &str = "SYMMETRIC_DEFAULT";

/// Encryption context pairs on the wire.
pub type ContextMap = BTreeMap<String, String>;

/// Encrypts up to 4,096 bytes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EncryptRequest {
    /// Id, ARN, alias or alias ARN.
    pub key_id: String,
    /// 1 to 4,096 bytes.
    pub plaintext: SecretBlob,
    /// Must be given again on decryption.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub encryption_context: ContextMap,
}

impl EncryptRequest {
    pub(super) fn check(&self) -> Result<(), KmsError> {
        key_id("keyId", &self.key_id)?;
        length("plaintext", self.plaintext.0.len(), 1..=PLAINTEXT_BYTES_MAX)
    }
}

/// Answer of Encrypt.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EncryptResponse {
    /// At most 6,144 bytes; opaque.
    pub ciphertext_blob: Blob,
    /// The key's ARN.
    pub key_id: String,
    /// `SYMMETRIC_DEFAULT`.
    pub encryption_algorithm: String,
}

/// Decrypts a blob. The blob names its key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DecryptRequest {
    /// The blob.
    pub ciphertext_blob: Blob,
    /// As on encryption.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub encryption_context: ContextMap,
    /// When given, the blob must have been made by this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
}

impl DecryptRequest {
    pub(super) fn check(&self) -> Result<(), KmsError> {
        if let Some(key) = &self.key_id {
            key_id("keyId", key)?;
        }
        length(
            "ciphertextBlob",
            self.ciphertext_blob.0.len(),
            1..=CIPHERTEXT_BYTES_MAX,
        )
    }
}

/// Answer of Decrypt.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DecryptResponse {
    /// The key's ARN.
    pub key_id: String,
    /// 1 to 4,096 bytes.
    pub plaintext: SecretBlob,
    /// `SYMMETRIC_DEFAULT`.
    pub encryption_algorithm: String,
    /// Which material opened it: 64 hexadecimal digits.
    pub key_material_id: String,
}

/// Decrypts under one key and encrypts under another without showing the plaintext.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReEncryptRequest {
    /// The blob.
    pub ciphertext_blob: Blob,
    /// Context of the blob.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub source_encryption_context: ContextMap,
    /// When given, the blob must have been made by this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_key_id: Option<String>,
    /// The new key.
    pub destination_key_id: String,
    /// Context of the new blob.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub destination_encryption_context: ContextMap,
}

impl ReEncryptRequest {
    pub(super) fn check(&self) -> Result<(), KmsError> {
        if let Some(key) = &self.source_key_id {
            key_id("sourceKeyId", key)?;
        }
        key_id("destinationKeyId", &self.destination_key_id)?;
        length(
            "ciphertextBlob",
            self.ciphertext_blob.0.len(),
            1..=CIPHERTEXT_BYTES_MAX,
        )
    }
}

/// Answer of ReEncrypt.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReEncryptResponse {
    /// The new blob.
    pub ciphertext_blob: Blob,
    /// ARN of the key that opened the old blob.
    pub source_key_id: String,
    /// ARN of the key that made the new one.
    pub key_id: String,
    /// `SYMMETRIC_DEFAULT`.
    pub source_encryption_algorithm: String,
    /// `SYMMETRIC_DEFAULT`.
    pub destination_encryption_algorithm: String,
    /// Material that opened the old blob.
    pub source_key_material_id: String,
    /// Material that made the new one.
    pub destination_key_material_id: String,
}

/// Length of a data key by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DataKeySpec {
    /// 16 bytes.
    #[serde(rename = "AES_128")]
    Aes128,
    /// 32 bytes.
    #[serde(rename = "AES_256")]
    Aes256,
}

macro_rules! data_key_request {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Serialize, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        pub struct $name {
            /// Id, ARN, alias or alias ARN of the wrapping key.
            pub key_id: String,
            /// Must be given again on decryption.
            #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
            pub encryption_context: ContextMap,
            /// Length by name; exactly one of this and `number_of_bytes`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub key_spec: Option<DataKeySpec>,
            /// Length in bytes, 1 to 1,024.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub number_of_bytes: Option<i64>,
        }

        impl $name {
            pub(super) fn check(&self) -> Result<(), KmsError> {
                key_id("keyId", &self.key_id)?;
                self.bytes().map(drop)
            }

            /// The length that was asked for, in bytes.
            ///
            /// # Errors
            /// `ValidationException` unless exactly one of the two members is there and in range.
            pub fn bytes(&self) -> Result<usize, KmsError> {
                data_key_bytes(self.key_spec, self.number_of_bytes)
            }
        }
    };
}

data_key_request! {
    /// Makes a data key: in plaintext and wrapped.
    GenerateDataKeyRequest
}

data_key_request! {
    /// Makes a data key that only its wrapped form leaves the service.
    GenerateDataKeyWithoutPlaintextRequest
}

fn data_key_bytes(spec: Option<DataKeySpec>, bytes: Option<i64>) -> Result<usize, KmsError> {
    match (spec, bytes) {
        (Some(DataKeySpec::Aes128), None) => Ok(16),
        (Some(DataKeySpec::Aes256), None) => Ok(32),
        (None, Some(bytes)) => {
            number("numberOfBytes", bytes, 1..=RANDOM_BYTES_MAX)?;
            Ok(bytes.unsigned_abs() as usize)
        }
        _ => Err(KmsError::new(
            crate::ErrorCode::Validation,
            "Please specify either number of bytes or key spec.",
        )),
    }
}

/// Answer of GenerateDataKey.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GenerateDataKeyResponse {
    /// The wrapped data key.
    pub ciphertext_blob: Blob,
    /// The data key.
    pub plaintext: SecretBlob,
    /// ARN of the wrapping key.
    pub key_id: String,
    /// Which material wrapped it.
    pub key_material_id: String,
}

/// Answer of GenerateDataKeyWithoutPlaintext.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GenerateDataKeyWithoutPlaintextResponse {
    /// The wrapped data key.
    pub ciphertext_blob: Blob,
    /// ARN of the wrapping key.
    pub key_id: String,
    /// Which material wrapped it.
    pub key_material_id: String,
}

/// Gives random bytes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GenerateRandomRequest {
    /// 1 to 1,024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number_of_bytes: Option<i64>,
}

impl GenerateRandomRequest {
    pub(super) fn check(&self) -> Result<(), KmsError> {
        let bytes = self.number_of_bytes.ok_or_else(|| {
            KmsError::new(crate::ErrorCode::Validation, "NumberOfBytes is required.")
        })?;
        number("numberOfBytes", bytes, 1..=RANDOM_BYTES_MAX)
    }
}

/// Answer of GenerateRandom.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GenerateRandomResponse {
    /// The bytes.
    pub plaintext: SecretBlob,
}
