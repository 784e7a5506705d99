//! Operations that agree on a secret.

use crate::model::{Rule, items, shapes, values};
use crate::op::RecipientInfo;
use crate::shape::{Blob, SecretBlob};

shapes! {
    /// Agrees on a secret with the holder of another key pair.
    #[derive(Clone, PartialEq)]
    DeriveSharedSecretRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// `ECDH`.
        key_agreement_algorithm: String => "KeyAgreementAlgorithm", Rule::one_of(values::KEY_AGREEMENT_ALGORITHM_SPEC).required();
        /// A public key (SubjectPublicKeyInfo DER).
        public_key: Blob => "PublicKey", Rule::blob(1, 8192).required();
        /// Tokens of grants that may not be known everywhere yet; at most 10.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        grant_tokens: Vec<String> => "GrantTokens", Rule::list(&items::GRANT_TOKEN_TYPE).sized(0, 10);
        /// Whether nothing is to be done but the checks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dry_run: Option<bool> => "DryRun", Rule::flag();
        /// Who gets the answer encrypted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recipient: Option<RecipientInfo> => "Recipient", Rule::structure(RecipientInfo::MEMBERS);
    }

    /// Answer of DeriveSharedSecret.
    DeriveSharedSecretResponse {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
        /// Secret.
        #[serde(default, skip_serializing_if = "SecretBlob::is_empty")]
        shared_secret: SecretBlob => "SharedSecret", Rule::blob(1, 4096);
        /// The secret, encrypted for the recipient.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ciphertext_for_recipient: Option<Blob> => "CiphertextForRecipient", Rule::blob(1, 6144);
        /// `ECDH`.
        key_agreement_algorithm: String => "KeyAgreementAlgorithm", Rule::one_of(values::KEY_AGREEMENT_ALGORITHM_SPEC);
        /// Where the material is from.
        key_origin: String => "KeyOrigin", Rule::one_of(values::ORIGIN_TYPE);
    }

    /// Makes a secret and the ciphertext that carries it to the holder of the key.
    #[derive(Clone, PartialEq)]
    EncapsulateRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// `ML_KEM`.
        encapsulation_algorithm: String => "EncapsulationAlgorithm", Rule::one_of(values::ENCAPSULATION_ALGORITHM_SPEC).required();
        /// Tokens of grants that may not be known everywhere yet; at most 10.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        grant_tokens: Vec<String> => "GrantTokens", Rule::list(&items::GRANT_TOKEN_TYPE).sized(0, 10);
        /// Whether nothing is to be done but the checks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dry_run: Option<bool> => "DryRun", Rule::flag();
    }

    /// Answer of Encapsulate.
    EncapsulateResponse {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
        /// Secret.
        shared_secret: SecretBlob => "SharedSecret", Rule::blob(1, 4096);
        /// The ciphertext that carries the secret.
        shared_secret_ciphertext_blob: Blob => "SharedSecretCiphertextBlob", Rule::blob(1, 6144);
        /// `ML_KEM`.
        encapsulation_algorithm: String => "EncapsulationAlgorithm", Rule::one_of(values::ENCAPSULATION_ALGORITHM_SPEC);
    }

    /// Takes the secret out of its ciphertext.
    #[derive(Clone, PartialEq)]
    DecapsulateRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// The ciphertext that carries the secret.
        shared_secret_ciphertext_blob: Blob => "SharedSecretCiphertextBlob", Rule::blob(1, 6144).required();
        /// `ML_KEM`.
        encapsulation_algorithm: String => "EncapsulationAlgorithm", Rule::one_of(values::ENCAPSULATION_ALGORITHM_SPEC).required();
        /// Tokens of grants that may not be known everywhere yet; at most 10.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        grant_tokens: Vec<String> => "GrantTokens", Rule::list(&items::GRANT_TOKEN_TYPE).sized(0, 10);
        /// Whether nothing is to be done but the checks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dry_run: Option<bool> => "DryRun", Rule::flag();
    }

    /// Answer of Decapsulate.
    DecapsulateResponse {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
        /// Secret.
        shared_secret: SecretBlob => "SharedSecret", Rule::blob(1, 4096);
        /// `ML_KEM`.
        encapsulation_algorithm: String => "EncapsulationAlgorithm", Rule::one_of(values::ENCAPSULATION_ALGORITHM_SPEC);
    }
}
