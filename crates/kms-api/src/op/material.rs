//! Operations on key material of one's own.

use crate::model::{Rule, patterns, shapes, values};
use crate::shape::{Blob, Timestamp};

shapes! {
    /// Gives a public key to wrap key material with, and a token.
    #[derive(Clone, PartialEq)]
    GetParametersForImportRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// How the material is wrapped.
        wrapping_algorithm: String => "WrappingAlgorithm", Rule::one_of(values::ALGORITHM_SPEC).required();
        /// What kind of wrapping key.
        wrapping_key_spec: String => "WrappingKeySpec", Rule::one_of(values::WRAPPING_KEY_SPEC).required();
    }

    /// Answer of GetParametersForImport.
    #[derive(Clone, PartialEq)]
    GetParametersForImportResponse {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
        /// Ties the import to this key; valid for 24 hours.
        import_token: Blob => "ImportToken", Rule::blob(1, 6144);
        /// A public key (SubjectPublicKeyInfo DER).
        public_key: Blob => "PublicKey", Rule::blob(1, 4096);
        /// Until when both can be used.
        parameters_valid_to: Timestamp => "ParametersValidTo", Rule::time();
    }

    /// Gives a key material that was made elsewhere.
    #[derive(Clone, PartialEq)]
    ImportKeyMaterialRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// Ties the import to this key; valid for 24 hours.
        import_token: Blob => "ImportToken", Rule::blob(1, 6144).required();
        /// The wrapped material.
        encrypted_key_material: Blob => "EncryptedKeyMaterial", Rule::blob(1, 6144).required();
        /// When the material expires.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        valid_to: Option<Timestamp> => "ValidTo", Rule::time();
        /// Whether the material expires.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expiration_model: Option<String> => "ExpirationModel", Rule::one_of(values::EXPIRATION_MODEL_TYPE);
        /// Whether the material is new for the key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        import_type: Option<String> => "ImportType", Rule::one_of(values::IMPORT_TYPE);
        /// What was said of the material at its import.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_material_description: Option<String> => "KeyMaterialDescription", Rule::text(0, 256).matching(&patterns::DESCRIPTION);
        /// Which material of the key: 64 hexadecimal digits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_material_id: Option<String> => "KeyMaterialId", Rule::text(64, 64).matching(&patterns::LOWER_HEX);
    }

    /// Answer of ImportKeyMaterial.
    #[derive(Clone, PartialEq)]
    ImportKeyMaterialResponse {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
        /// Which material of the key: 64 hexadecimal digits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_material_id: Option<String> => "KeyMaterialId", Rule::text(64, 64).matching(&patterns::LOWER_HEX);
    }

    /// Removes imported key material.
    #[derive(Clone, PartialEq)]
    DeleteImportedKeyMaterialRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// Which material of the key: 64 hexadecimal digits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_material_id: Option<String> => "KeyMaterialId", Rule::text(64, 64).matching(&patterns::LOWER_HEX);
    }

    /// Answer of DeleteImportedKeyMaterial.
    #[derive(Clone, PartialEq)]
    DeleteImportedKeyMaterialResponse {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
        /// Which material of the key: 64 hexadecimal digits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_material_id: Option<String> => "KeyMaterialId", Rule::text(0, 64).matching(&patterns::LOWER_HEX);
    }
}
