//! Operations on versions of key material.

use crate::model::{Rule, patterns, shapes, values};
use crate::shape::Timestamp;

shapes! {
    /// Gives a key new material at regular intervals from now on.
    #[derive(Clone, PartialEq)]
    EnableKeyRotationRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// Days between rotations, 90 to 2,560; 365 when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rotation_period_in_days: Option<i64> => "RotationPeriodInDays", Rule::number(90, 2560);
    }

    /// Ends rotation at intervals.
    #[derive(Clone, PartialEq)]
    DisableKeyRotationRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
    }

    /// Tells whether and when a key is rotated.
    #[derive(Clone, PartialEq)]
    GetKeyRotationStatusRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
    }

    /// Answer of GetKeyRotationStatus.
    #[derive(Clone, PartialEq)]
    GetKeyRotationStatusResponse {
        /// Whether the key is rotated at intervals.
        key_rotation_enabled: bool => "KeyRotationEnabled", Rule::flag();
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
        /// Days between rotations, 90 to 2,560; 365 when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rotation_period_in_days: Option<i64> => "RotationPeriodInDays", Rule::number(90, 2560);
        /// When it is rotated next.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_rotation_date: Option<Timestamp> => "NextRotationDate", Rule::time();
        /// When a rotation that is under way began.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on_demand_rotation_start_date: Option<Timestamp> => "OnDemandRotationStartDate", Rule::time();
    }

    /// Gives a key new material now; all earlier material keeps decrypting.
    #[derive(Clone, PartialEq)]
    RotateKeyOnDemandRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
    }

    /// Answer of RotateKeyOnDemand.
    #[derive(Clone, PartialEq)]
    RotateKeyOnDemandResponse {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
    }

    /// Lists the rotations of a key.
    #[derive(Clone, PartialEq)]
    ListKeyRotationsRequest {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048).required();
        /// `ALL_KEY_MATERIAL`, or `ROTATIONS_ONLY` when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        include_key_material: Option<String> => "IncludeKeyMaterial", Rule::one_of(values::INCLUDE_KEY_MATERIAL);
        /// The most entries of a page, 1 to 1,000.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<i64> => "Limit", Rule::number(1, 1000);
        /// `NextMarker` of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        marker: Option<String> => "Marker", Rule::text(1, 1024).matching(&patterns::MARKER);
    }

    /// Answer of ListKeyRotations.
    #[derive(Clone, PartialEq)]
    ListKeyRotationsResponse {
        /// Oldest first.
        #[serde(default)]
        rotations: Vec<RotationsListEntry> => "Rotations", Rule::list_of(RotationsListEntry::MEMBERS);
        /// Where the next page starts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_marker: Option<String> => "NextMarker", Rule::text(1, 1024).matching(&patterns::MARKER);
        /// Whether there is a next page.
        truncated: bool => "Truncated", Rule::flag();
    }

    /// A material of a key.
    #[derive(Clone, PartialEq)]
    RotationsListEntry {
        /// The key.
        key_id: String => "KeyId", Rule::text(1, 2048);
        /// Which material of the key: 64 hexadecimal digits.
        key_material_id: String => "KeyMaterialId", Rule::text(64, 64).matching(&patterns::LOWER_HEX);
        /// What was said of the material at its import.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_material_description: Option<String> => "KeyMaterialDescription", Rule::text(0, 256).matching(&patterns::DESCRIPTION);
        /// Whether the material is there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        import_state: Option<String> => "ImportState", Rule::one_of(values::IMPORT_STATE);
        /// Whether it encrypts.
        key_material_state: String => "KeyMaterialState", Rule::one_of(values::KEY_MATERIAL_STATE);
        /// Whether the material expires.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expiration_model: Option<String> => "ExpirationModel", Rule::one_of(values::EXPIRATION_MODEL_TYPE);
        /// When the material expires.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        valid_to: Option<Timestamp> => "ValidTo", Rule::time();
        /// When the material came into use; absent for the first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rotation_date: Option<Timestamp> => "RotationDate", Rule::time();
        /// `AUTOMATIC` or `ON_DEMAND`; absent for the first material.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rotation_type: Option<String> => "RotationType", Rule::one_of(values::ROTATION_TYPE);
    }
}
