//! Operations that make data key pairs.

use crate::model::{Rule, items, patterns, shapes, values};
use crate::op::{ContextMap, RecipientInfo};
use crate::shape::{Blob, SecretBlob};
use std::collections::BTreeMap;

shapes! {
    /// Makes a key pair whose private key is given in plaintext and wrapped.
    #[derive(Clone, PartialEq)]
    GenerateDataKeyPairRequest {
        /// Must be the same on decryption.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        encryption_context: ContextMap => "EncryptionContext", Rule::pairs();
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// What kind of key pair.
        key_pair_spec: String => "KeyPairSpec", Rule::one_of(values::DATA_KEY_PAIR_SPEC).required();
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

    /// Answer of GenerateDataKeyPair.
    GenerateDataKeyPairResponse {
        /// The wrapped private key (PKCS#8 DER).
        private_key_ciphertext_blob: Blob => "PrivateKeyCiphertextBlob", Rule::blob(1, 6144);
        /// The private key (PKCS#8 DER).
        #[serde(default, skip_serializing_if = "SecretBlob::is_empty")]
        private_key_plaintext: SecretBlob => "PrivateKeyPlaintext", Rule::blob(1, 4096);
        /// A public key (SubjectPublicKeyInfo DER).
        public_key: Blob => "PublicKey", Rule::blob(1, 8192);
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
        /// What kind of key pair.
        key_pair_spec: String => "KeyPairSpec", Rule::one_of(values::DATA_KEY_PAIR_SPEC);
        /// The secret, encrypted for the recipient.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ciphertext_for_recipient: Option<Blob> => "CiphertextForRecipient", Rule::blob(1, 6144);
        /// Which material of the key: 64 hexadecimal digits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_material_id: Option<String> => "KeyMaterialId", Rule::text(64, 64).matching(&patterns::LOWER_HEX);
    }

    /// Makes a key pair whose private key leaves the service wrapped only.
    #[derive(Clone, PartialEq)]
    GenerateDataKeyPairWithoutPlaintextRequest {
        /// Must be the same on decryption.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        encryption_context: ContextMap => "EncryptionContext", Rule::pairs();
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// What kind of key pair.
        key_pair_spec: String => "KeyPairSpec", Rule::one_of(values::DATA_KEY_PAIR_SPEC).required();
        /// Tokens of grants that may not be known everywhere yet; at most 10.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        grant_tokens: Vec<String> => "GrantTokens", Rule::list(&items::GRANT_TOKEN_TYPE).sized(0, 10);
        /// Whether nothing is to be done but the checks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dry_run: Option<bool> => "DryRun", Rule::flag();
    }

    /// Answer of GenerateDataKeyPairWithoutPlaintext.
    #[derive(Clone, PartialEq)]
    GenerateDataKeyPairWithoutPlaintextResponse {
        /// The wrapped private key (PKCS#8 DER).
        private_key_ciphertext_blob: Blob => "PrivateKeyCiphertextBlob", Rule::blob(1, 6144);
        /// A public key (SubjectPublicKeyInfo DER).
        public_key: Blob => "PublicKey", Rule::blob(1, 8192);
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
        /// What kind of key pair.
        key_pair_spec: String => "KeyPairSpec", Rule::one_of(values::DATA_KEY_PAIR_SPEC);
        /// Which material of the key: 64 hexadecimal digits.
        key_material_id: String => "KeyMaterialId", Rule::text(64, 64).matching(&patterns::LOWER_HEX);
    }
}
