//! Encrypt, Decrypt, ReEncrypt, GenerateDataKey, GenerateDataKeyWithoutPlaintext, GenerateRandom.

use super::{Needs, Perform, usable};
use crate::authorize::{Access, Resource};
use crate::blob::{self, BlobFacts};
use crate::engine::{Aliases, KeyEntry, View, internal};
use crate::request::Done;
use serde_json::{Map, Value, json};
use waxseal_core::{EncryptionContext, SecretBytes};
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::{Blob, SecretBlob};
use waxseal_kms_api::{Action, ErrorCode, KmsError};

impl Perform for EncryptRequest {
    type Target = KeyEntry;
    const MUTATES: bool = false;

    fn parameters(&self) -> Value {
        parameters(
            &[("keyId", Some(self.key_id.as_str()))],
            &[("encryptionContext", &self.encryption_context)],
        )
    }

    fn needs(&self, view: &View<'_>) -> Result<Needs<KeyEntry>, KmsError> {
        Needs::named::<Self>(view, &self.key_id, Aliases::Allowed)
    }

    fn run(self, key: KeyEntry, view: &View<'_>) -> Result<Done<EncryptResponse>, KmsError> {
        let context = context(&self.encryption_context)?;
        let sealed = seal(view, &key, self.plaintext.0.expose(), &context)?;
        Ok(used(
            &sealed.material_id,
            EncryptResponse {
                ciphertext_blob: Blob(sealed.blob),
                key_id: key.arn.to_string(),
                encryption_algorithm: SYMMETRIC_DEFAULT.to_owned(),
            },
        ))
    }
}

impl Perform for DecryptRequest {
    type Target = Source;
    const MUTATES: bool = false;

    fn parameters(&self) -> Value {
        parameters(
            &[
                ("keyId", self.key_id.as_deref()),
                ("encryptionAlgorithm", Some(SYMMETRIC_DEFAULT)),
            ],
            &[("encryptionContext", &self.encryption_context)],
        )
    }

    fn needs(&self, view: &View<'_>) -> Result<Needs<Source>, KmsError> {
        let source = Source::of(view, &self.ciphertext_blob.0, self.key_id.as_deref())?;
        let accesses = vec![source.access(Action::of::<Self>())];
        Ok(Needs {
            target: source,
            accesses,
        })
    }

    fn run(self, source: Source, view: &View<'_>) -> Result<Done<DecryptResponse>, KmsError> {
        let context = context(&self.encryption_context)?;
        let opened = source.open(view, &self.ciphertext_blob.0, &context)?;
        Ok(used(
            &opened.material_id,
            DecryptResponse {
                key_id: source.key.arn.to_string(),
                plaintext: SecretBlob(opened.plaintext),
                encryption_algorithm: SYMMETRIC_DEFAULT.to_owned(),
                key_material_id: opened.material_id.clone(),
            },
        ))
    }
}

impl Perform for ReEncryptRequest {
    type Target = (Source, KeyEntry);
    const MUTATES: bool = false;

    fn parameters(&self) -> Value {
        parameters(
            &[
                ("sourceKeyId", self.source_key_id.as_deref()),
                ("destinationKeyId", Some(self.destination_key_id.as_str())),
                ("sourceEncryptionAlgorithm", Some(SYMMETRIC_DEFAULT)),
                ("destinationEncryptionAlgorithm", Some(SYMMETRIC_DEFAULT)),
            ],
            &[
                ("sourceEncryptionContext", &self.source_encryption_context),
                (
                    "destinationEncryptionContext",
                    &self.destination_encryption_context,
                ),
            ],
        )
    }

    fn needs(&self, view: &View<'_>) -> Result<Needs<(Source, KeyEntry)>, KmsError> {
        let source = Source::of(view, &self.ciphertext_blob.0, self.source_key_id.as_deref())?;
        let destination = view.resolve(&self.destination_key_id, Aliases::Allowed)?;
        let accesses = vec![
            source.access(Action::RE_ENCRYPT_FROM),
            Access {
                action: Action::RE_ENCRYPT_TO,
                resource: Resource::Key(destination.arn.clone()),
            },
        ];
        Ok(Needs {
            target: (source, destination),
            accesses,
        })
    }

    fn run(
        self,
        (source, destination): (Source, KeyEntry),
        view: &View<'_>,
    ) -> Result<Done<ReEncryptResponse>, KmsError> {
        usable(&destination)?;
        let from = context(&self.source_encryption_context)?;
        let to = context(&self.destination_encryption_context)?;
        let opened = source.open(view, &self.ciphertext_blob.0, &from)?;
        let sealed = seal(view, &destination, opened.plaintext.expose(), &to)?;
        let mut done = Done::read(ReEncryptResponse {
            ciphertext_blob: Blob(sealed.blob),
            source_key_id: source.key.arn.to_string(),
            key_id: destination.arn.to_string(),
            source_encryption_algorithm: SYMMETRIC_DEFAULT.to_owned(),
            destination_encryption_algorithm: SYMMETRIC_DEFAULT.to_owned(),
            source_key_material_id: opened.material_id.clone(),
            destination_key_material_id: sealed.material_id.clone(),
        });
        done.additional
            .insert("sourceKeyMaterialId".to_owned(), json!(opened.material_id));
        done.additional.insert(
            "destinationKeyMaterialId".to_owned(),
            json!(sealed.material_id),
        );
        Ok(done)
    }
}

impl Perform for GenerateDataKeyRequest {
    type Target = KeyEntry;
    const MUTATES: bool = false;

    fn parameters(&self) -> Value {
        data_key_parameters(
            &self.key_id,
            &self.encryption_context,
            self.key_spec,
            self.number_of_bytes,
        )
    }

    fn needs(&self, view: &View<'_>) -> Result<Needs<KeyEntry>, KmsError> {
        Needs::named::<Self>(view, &self.key_id, Aliases::Allowed)
    }

    fn run(
        self,
        key: KeyEntry,
        view: &View<'_>,
    ) -> Result<Done<GenerateDataKeyResponse>, KmsError> {
        let (plaintext, sealed) = data_key(view, &key, self.bytes()?, &self.encryption_context)?;
        Ok(used(
            &sealed.material_id,
            GenerateDataKeyResponse {
                ciphertext_blob: Blob(sealed.blob),
                plaintext: SecretBlob(plaintext),
                key_id: key.arn.to_string(),
                key_material_id: sealed.material_id.clone(),
            },
        ))
    }
}

impl Perform for GenerateDataKeyWithoutPlaintextRequest {
    type Target = KeyEntry;
    const MUTATES: bool = false;

    fn parameters(&self) -> Value {
        data_key_parameters(
            &self.key_id,
            &self.encryption_context,
            self.key_spec,
            self.number_of_bytes,
        )
    }

    fn needs(&self, view: &View<'_>) -> Result<Needs<KeyEntry>, KmsError> {
        Needs::named::<Self>(view, &self.key_id, Aliases::Allowed)
    }

    fn run(
        self,
        key: KeyEntry,
        view: &View<'_>,
    ) -> Result<Done<GenerateDataKeyWithoutPlaintextResponse>, KmsError> {
        let (_, sealed) = data_key(view, &key, self.bytes()?, &self.encryption_context)?;
        Ok(used(
            &sealed.material_id,
            GenerateDataKeyWithoutPlaintextResponse {
                ciphertext_blob: Blob(sealed.blob),
                key_id: key.arn.to_string(),
                key_material_id: sealed.material_id.clone(),
            },
        ))
    }
}

impl Perform for GenerateRandomRequest {
    type Target = ();
    const MUTATES: bool = false;

    fn parameters(&self) -> Value {
        json!({ "numberOfBytes": self.number_of_bytes })
    }

    fn needs(&self, view: &View<'_>) -> Result<Needs<()>, KmsError> {
        Ok(Needs::account::<Self>(view))
    }

    fn run(self, (): (), view: &View<'_>) -> Result<Done<GenerateRandomResponse>, KmsError> {
        let bytes = self
            .number_of_bytes
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or_default();
        Ok(Done::read(GenerateRandomResponse {
            plaintext: SecretBlob(random(view, bytes)?),
        }))
    }
}

/// A blob's key, and which of its materials made the blob.
#[derive(Debug)]
pub struct Source {
    key: KeyEntry,
    version: u32,
}

struct Opened {
    plaintext: SecretBytes,
    material_id: String,
}

struct Sealed {
    blob: Vec<u8>,
    material_id: String,
}

impl Source {
    /// A key that is not here is answered like one that may not be used: whoever sends a foreign
    /// blob does not learn which keys exist.
    fn of(view: &View<'_>, blob: &[u8], named: Option<&str>) -> Result<Self, KmsError> {
        let facts = BlobFacts::parse(blob)?;
        let named = named
            .map(|name| view.resolve(name, Aliases::Allowed))
            .transpose()?;
        if let Some(named) = named
            && named.arn.id != facts.key_id
        {
            return Err(KmsError::new(
                ErrorCode::IncorrectKey,
                "The key ID in the request does not identify a CMK that can perform this operation.",
            ));
        }
        let key = view.key(&facts.key_id)?.ok_or_else(|| {
            KmsError::new(
                ErrorCode::AccessDenied,
                "The ciphertext refers to a customer master key that does not exist, does not \
                 exist in this region, or you are not allowed to access.",
            )
        })?;
        Ok(Self {
            key,
            version: facts.backing_key_version,
        })
    }

    fn access(&self, action: Action) -> Access {
        Access {
            action,
            resource: Resource::Key(self.key.arn.clone()),
        }
    }

    fn open(
        &self,
        view: &View<'_>,
        blob: &[u8],
        context: &EncryptionContext,
    ) -> Result<Opened, KmsError> {
        usable(&self.key)?;
        let material = self
            .key
            .record
            .material(self.version)
            .ok_or_else(KmsError::invalid_ciphertext)?;
        let backing_key = view
            .material(&self.key.arn, self.version)?
            .ok_or_else(|| internal("the material of the key is missing from the store"))?;
        let plaintext = blob::open(&backing_key, blob, context)?;
        Ok(Opened {
            plaintext,
            material_id: material.material_id.clone(),
        })
    }
}

fn seal(
    view: &View<'_>,
    key: &KeyEntry,
    plaintext: &[u8],
    context: &EncryptionContext,
) -> Result<Sealed, KmsError> {
    usable(key)?;
    let missing = || internal("the material of the key is missing from the store");
    let version = key.record.current_version();
    let material = key.record.material(version).ok_or_else(missing)?;
    let backing_key = view.material(&key.arn, version)?.ok_or_else(missing)?;
    let context = serialized(context)?;
    let blob = blob::seal(
        &backing_key,
        &key.arn.id,
        version,
        plaintext,
        &context,
        view.entropy(),
    )?;
    Ok(Sealed {
        blob,
        material_id: material.material_id.clone(),
    })
}

/// A fresh data key, in plaintext and wrapped.
fn data_key(
    view: &View<'_>,
    key: &KeyEntry,
    bytes: usize,
    pairs: &ContextMap,
) -> Result<(SecretBytes, Sealed), KmsError> {
    let plaintext = random(view, bytes)?;
    let sealed = seal(view, key, plaintext.expose(), &context(pairs)?)?;
    Ok((plaintext, sealed))
}

fn random(view: &View<'_>, bytes: usize) -> Result<SecretBytes, KmsError> {
    let mut secret = SecretBytes::zeroed(bytes);
    view.entropy().fill(secret.expose_mut()).map_err(internal)?;
    Ok(secret)
}

/// The context of a request, within its limits.
fn context(pairs: &ContextMap) -> Result<EncryptionContext, KmsError> {
    let mut context = EncryptionContext::new();
    for (name, value) in pairs {
        context
            .insert(name, value)
            .map_err(|error| validation(&error))?;
    }
    serialized(&context)?;
    Ok(context)
}

fn serialized(context: &EncryptionContext) -> Result<Vec<u8>, KmsError> {
    context.serialize().map_err(|error| validation(&error))
}

fn validation(error: &waxseal_core::context::ContextError) -> KmsError {
    KmsError::new(ErrorCode::Validation, error.to_string())
}

/// The answer of an operation that used a key: which material is said in the record.
fn used<T>(material_id: &str, output: T) -> Done<T> {
    let mut done = Done::read(output);
    done.additional
        .insert("keyMaterialId".to_owned(), json!(material_id));
    done
}

fn parameters(members: &[(&str, Option<&str>)], contexts: &[(&str, &ContextMap)]) -> Value {
    let mut map = Map::new();
    for (name, value) in members {
        if let Some(value) = value {
            map.insert((*name).to_owned(), json!(value));
        }
    }
    for (name, context) in contexts {
        if !context.is_empty() {
            map.insert((*name).to_owned(), json!(context));
        }
    }
    Value::Object(map)
}

fn data_key_parameters(
    key_id: &str,
    context: &ContextMap,
    spec: Option<DataKeySpec>,
    number_of_bytes: Option<i64>,
) -> Value {
    let mut value = parameters(
        &[("keyId", Some(key_id))],
        &[("encryptionContext", context)],
    );
    if let Some(spec) = spec {
        value["keySpec"] = json!(spec);
    }
    if let Some(bytes) = number_of_bytes {
        value["numberOfBytes"] = json!(bytes);
    }
    value
}
