//! GetParametersForImport, ImportKeyMaterial and DeleteImportedKeyMaterial.
//!
//! An import token is sealed by the KMS and holds the private wrapping key, so that nothing is kept
//! for imports that never come:
//!
//! ```text
//! token   sealed as the row import/KEY-ARN: JSON { algorithm, valid_to, private_key }
//! ```
//!
//! The states of a material follow the Developer Guide (*Importing key material*): the first one
//! is current at once; another, for symmetric keys, is pending until RotateKeyOnDemand. A key is
//! usable while everything is there that was ever in use. A multi-Region key takes another one in its
//! primary, then the same in each replica, and only then rotates.

use super::keys::{changed, kept};
use super::rotation::{material_id, material_row};
use super::{Perform, invalid, is_primary, of_origin, one_key, spec, stays, unsupported};
use crate::engine::{KeyEntry, View, internal};
use crate::making;
use crate::model::{
    DAY, EXTERNAL, ImportRecord, KeyRecord, KeyState, MaterialKind, MaterialRecord,
    material_document,
};
use crate::request::{Change, Done};
use crate::store::Expect;
use serde::{Deserialize, Serialize};
use serde_json::json;
use waxseal_core::crypto::key_pair::{KeyPair, PairSpec};
use waxseal_core::crypto::key_wrap;
use waxseal_core::crypto::rsa::RsaPadding;
use waxseal_core::{KeyArn, SecretBytes};
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::{Blob, SecretBlob, Timestamp};
use waxseal_kms_api::{ErrorCode, KmsError};

/// The longest that imported material may last, in days.
const VALID_DAYS_MAX: f64 = 365.0;

/// How long a wrapping key and its token can be used, in days.
const TOKEN_DAYS: f64 = 1.0;

impl Perform for GetParametersForImportRequest {
    one_key!(listed);

    fn run(
        self,
        key: KeyEntry,
        view: &View<'_>,
    ) -> Result<Done<GetParametersForImportResponse>, KmsError> {
        of_origin(&key, EXTERNAL)?;
        stays(&key)?;
        Wrapping::of(&self.wrapping_algorithm).ok_or_else(unsupported)?;
        let (size, _) = wrapping_key(&self.wrapping_key_spec)?;
        let pair = making::in_turn(|| KeyPair::generate(size).map_err(internal))?;
        let token = Token {
            algorithm: self.wrapping_algorithm,
            size: self.wrapping_key_spec,
            valid_to: view.seconds() + TOKEN_DAYS * DAY,
            private_key: SecretBlob(pair.pkcs8().map_err(internal)?),
        };
        Ok(Done::read(GetParametersForImportResponse {
            key_id: key.arn.to_string(),
            import_token: Blob(token.seal(view, &key.arn)?),
            public_key: Blob(pair.spki().map_err(internal)?),
            parameters_valid_to: Timestamp(token.valid_to),
        }))
    }
}

/// What a wrapping key of this spec is, and the bytes of its modulus; SM2 is none.
fn wrapping_key(spec: &str) -> Result<(PairSpec, usize), KmsError> {
    match spec {
        "RSA_2048" => Ok((PairSpec::Rsa2048, 256)),
        "RSA_3072" => Ok((PairSpec::Rsa3072, 384)),
        "RSA_4096" => Ok((PairSpec::Rsa4096, 512)),
        _ => Err(unsupported()),
    }
}

/// How material is wrapped.
struct Wrapping {
    padding: RsaPadding,
    /// Whether RSA wraps an AES key, and that the material (PKCS #11, `CKM_RSA_AES_KEY_WRAP`).
    has_aes_key: bool,
}

impl Wrapping {
    fn of(algorithm: &str) -> Option<Self> {
        let (padding, has_aes_key) = match algorithm {
            "RSAES_OAEP_SHA_1" => (RsaPadding::OaepSha1, false),
            "RSAES_OAEP_SHA_256" => (RsaPadding::OaepSha256, false),
            "RSA_AES_KEY_WRAP_SHA_1" => (RsaPadding::OaepSha1, true),
            "RSA_AES_KEY_WRAP_SHA_256" => (RsaPadding::OaepSha256, true),
            _ => return None,
        };
        Some(Self {
            padding,
            has_aes_key,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Token {
    algorithm: String,
    size: String,
    valid_to: f64,
    private_key: SecretBlob,
}

impl Token {
    fn row(key: &KeyArn) -> String {
        format!("import/{key}")
    }

    fn seal(&self, view: &View<'_>, key: &KeyArn) -> Result<Vec<u8>, KmsError> {
        let body = serde_json::to_vec(self).map(SecretBytes::new);
        view.seal(&Self::row(key), body.map_err(internal)?.expose())
    }

    fn open(view: &View<'_>, key: &KeyArn, sealed: &[u8]) -> Result<Self, KmsError> {
        let refused = |code| KmsError {
            code,
            message: None,
        };
        let body = view.open(&Self::row(key), sealed);
        let body = body.map_err(|_| refused(ErrorCode::InvalidImportToken))?;
        let token: Self = serde_json::from_slice(body.expose())
            .map_err(|_| refused(ErrorCode::InvalidImportToken))?;
        match token.valid_to > view.seconds() {
            true => Ok(token),
            false => Err(refused(ErrorCode::ExpiredImportToken)),
        }
    }

    /// The material that a wrapping holds.
    fn unwrap(&self, wrapped: &[u8]) -> Result<SecretBytes, KmsError> {
        let broken = |_| KmsError::invalid_ciphertext();
        let wrapping = Wrapping::of(&self.algorithm).ok_or_else(unsupported)?;
        let (size, bytes) = wrapping_key(&self.size)?;
        let pair = KeyPair::from_pkcs8(size, self.private_key.0.expose()).map_err(internal)?;
        if !wrapping.has_aes_key {
            return pair.decrypt(wrapping.padding, wrapped).map_err(broken);
        }
        let parts = wrapped.split_at_checked(bytes);
        let (aes_key, wrapped) = parts.ok_or_else(KmsError::invalid_ciphertext)?;
        let aes_key = pair.decrypt(wrapping.padding, aes_key).map_err(broken)?;
        key_wrap::unwrap(aes_key.expose(), wrapped).map_err(broken)
    }
}

impl Perform for ImportKeyMaterialRequest {
    one_key!(changed);

    fn run(
        self,
        key: KeyEntry,
        view: &View<'_>,
    ) -> Result<Done<ImportKeyMaterialResponse>, KmsError> {
        of_origin(&key, EXTERNAL)?;
        stays(&key)?;
        let valid_to = self.end(view)?;
        let token = Token::open(view, &key.arn, &self.import_token.0)?;
        let given = token.unwrap(&self.encrypted_key_material.0)?;
        let material = spec(&key)?.imported(&given).ok_or_else(|| {
            let spec = &key.record.spec;
            unexpected(format!(
                "The key material is none of a key with spec {spec}."
            ))
        })?;
        let id = material_id(&key.arn, &material)?;
        if self
            .key_material_id
            .as_ref()
            .is_some_and(|named| *named != id)
        {
            return Err(unexpected(
                "The key material is not the one that KeyMaterialId names.".to_owned(),
            ));
        }
        let version = self.version(&key, &id, view)?;
        let mut record = KeyRecord::clone(&key.record);
        let was_here = record
            .material(version)
            .is_some_and(MaterialRecord::is_here);
        let import = ImportRecord {
            is_here: true,
            valid_to,
            description: self.key_material_description,
        };
        match record.materials.get_mut(version as usize - 1) {
            Some(known) => {
                let described = known.import.take().and_then(|import| import.description);
                let description = import.description.clone().or(described);
                known.import = Some(ImportRecord {
                    description,
                    ..import
                });
            }
            None => {
                record.is_last_pending = !record.materials.is_empty();
                record.materials.push(MaterialRecord {
                    material_id: id.clone(),
                    since: view.seconds(),
                    kind: MaterialKind::Created,
                    import: Some(import),
                });
            }
        }
        if record.state == KeyState::PendingImport && record.is_complete() {
            record.state = KeyState::Enabled;
        }
        let arn = key.arn.to_string();
        let mut done = Done::read(ImportKeyMaterialResponse {
            key_id: arn.clone(),
            key_material_id: spec(&key)?.is_symmetric().then_some(id),
        });
        done.response_elements = Some(json!({ "keyId": arn }));
        done.changes = vec![kept(&key, &record)?];
        if !was_here {
            done.changes.push(material_row(&key.arn, version, material));
        }
        if record.is_primary() && record.pending().is_some() {
            done.changes
                .extend(without_another(view, &key.arn, &record)?);
        }
        Ok(done)
    }
}

trait Import {
    fn end(&self, view: &View<'_>) -> Result<Option<f64>, KmsError>;
    fn version(&self, key: &KeyEntry, id: &str, view: &View<'_>) -> Result<u32, KmsError>;
}

impl Import for ImportKeyMaterialRequest {
    /// When the material will expire.
    fn end(&self, view: &View<'_>) -> Result<Option<f64>, KmsError> {
        let expires = self.expiration_model.as_deref() != Some("KEY_MATERIAL_DOES_NOT_EXPIRE");
        match self.valid_to {
            None if expires => Err(invalid(
                "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES",
            )),
            None => Ok(None),
            Some(_) if !expires => Err(invalid(
                "A validTo date cannot be set if the ExpirationModel is \
                 KEY_MATERIAL_DOES_NOT_EXPIRE",
            )),
            Some(Timestamp(end)) => {
                let now = view.seconds();
                match end > now && end <= now + VALID_DAYS_MAX * DAY {
                    true => Ok(Some(end)),
                    false => Err(invalid(
                        "ValidTo must be in the future, and at most 365 days from now.",
                    )),
                }
            }
        }
    }

    /// Which version the material with this id is, or becomes.
    fn version(&self, key: &KeyEntry, id: &str, view: &View<'_>) -> Result<u32, KmsError> {
        let record = &key.record;
        let known = (1..).zip(&record.materials);
        let known = known.clone().find(|(_, one)| one.material_id == id);
        let is_new = match self.import_type.as_deref() {
            Some(kind) => kind == "NEW_KEY_MATERIAL",
            None => record.materials.is_empty(),
        };
        match known {
            Some((version, _)) if !is_new => return Ok(version),
            Some(_) => {
                return Err(unexpected(
                    "The key material is already associated with the key.".to_owned(),
                ));
            }
            None if !is_new && !awaits(view, key, id)? => {
                return Err(unexpected(
                    "The key material is not one that was imported into the key before.".to_owned(),
                ));
            }
            None => {}
        }
        if !record.materials.is_empty() {
            // More than one is for rotation, which these keys do not have.
            if !spec(key)?.is_symmetric() {
                return Err(unsupported());
            }
            if is_new {
                is_primary(key)?;
            }
        }
        if let Some(pending) = record.pending() {
            let (arn, other) = (&key.arn, &pending.material_id);
            return Err(KmsError::new(
                ErrorCode::InvalidState,
                format!(
                    "New key material (id: {id}) cannot be imported into KMS key {arn}, because \
                     another key material (id: {other}) is pending rotation."
                ),
            ));
        }
        // 2³² materials would be needed for it not to fit.
        u32::try_from(record.materials.len() + 1).map_err(internal)
    }
}

/// Whether a replica may take this material because its primary has it pending.
fn awaits(view: &View<'_>, key: &KeyEntry, id: &str) -> Result<bool, KmsError> {
    let mut siblings = view.siblings(&key.arn)?.into_iter();
    let primary = siblings.find(|sibling| sibling.record.is_primary());
    let pending = primary
        .as_ref()
        .and_then(|primary| primary.record.pending());
    Ok(pending.is_some_and(|pending| pending.material_id == id))
}

/// The changes that take from the replicas what waits there for a rotation that will never be: the
/// primary, whose record this is, has another material pending.
fn without_another(
    view: &View<'_>,
    primary: &KeyArn,
    record: &KeyRecord,
) -> Result<Vec<Change>, KmsError> {
    let own = record.pending().map(|pending| &pending.material_id);
    let mut changes = Vec::new();
    for sibling in view.siblings(primary)? {
        let other = sibling.record.pending().map(|pending| &pending.material_id);
        if other.is_some() && other != own {
            let version = sibling.record.current_version() + 1;
            changes.extend(changed(&sibling, |record| record.lose(version))?.changes);
            changes.push(unkept(&sibling.arn, version));
        }
    }
    Ok(changes)
}

fn unexpected(message: String) -> KmsError {
    KmsError::new(ErrorCode::IncorrectKeyMaterial, message)
}

impl Perform for DeleteImportedKeyMaterialRequest {
    one_key!(changed);
    const FORGETS: bool = true;

    fn run(
        self,
        key: KeyEntry,
        _: &View<'_>,
    ) -> Result<Done<DeleteImportedKeyMaterialResponse>, KmsError> {
        of_origin(&key, EXTERNAL)?;
        let record = &key.record;
        let version = match &self.key_material_id {
            None => record.current_version(),
            Some(id) => {
                let mut known = (1..).zip(&record.materials);
                let found = known.find(|(_, material)| material.material_id == *id);
                let unknown = || {
                    let message = format!("Key material {id} is not found.");
                    KmsError::new(ErrorCode::NotFound, message)
                };
                found.ok_or_else(unknown)?.0
            }
        };
        let material = record.material(version);
        let is_symmetric = spec(&key)?.is_symmetric();
        let told = material.filter(|_| is_symmetric);
        let mut done = Done::read(DeleteImportedKeyMaterialResponse {
            key_id: key.arn.to_string(),
            key_material_id: told.map(|material| material.material_id.clone()),
        });
        done.response_elements = Some(json!({ "keyId": key.arn.to_string() }));
        if material.is_some_and(MaterialRecord::is_here) {
            done.changes = changed(&key, |record| record.lose(version))?.changes;
            done.changes.push(unkept(&key.arn, version));
        }
        Ok(done)
    }
}

/// The change that removes the material of a version.
pub(crate) fn unkept(key: &KeyArn, version: u32) -> Change {
    Change {
        key: material_document(&key.home.region, &key.id, version),
        // A material is written once.
        expect: Expect::Revision(1),
        body: None,
    }
}
