//! Encrypt, Decrypt, ReEncrypt, GenerateDataKey, GenerateDataKeyWithoutPlaintext, GenerateRandom.

use super::signing::pair;
use super::{Needs, Perform, for_recipient, hosted, invalid, one_key, stores, used_by};
use crate::authorize::{Access, Resource};
use crate::blob::{self, BlobFacts};
use crate::engine::{Aliases, KeyEntry, View, internal};
use crate::request::Done;
use crate::spec::ENCRYPT_DECRYPT;
use waxseal_core::crypto::rsa::RsaPadding;
use waxseal_core::{EncryptionContext, SecretBytes};
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::Blob;
use waxseal_kms_api::{Action, ErrorCode, KmsError, Operation};

impl Perform for EncryptRequest {
    one_key!(used);
    const IS_QUICK: bool = true;

    fn waits(&self, view: &View<'_>) -> bool {
        hosted::is_named(view, &self.key_id)
    }

    fn run(self, key: KeyEntry, view: &View<'_>) -> Result<Done<EncryptResponse>, KmsError> {
        let algorithm = algorithm(self.encryption_algorithm.as_deref());
        encrypting::<Self>(&key, algorithm, &self.encryption_context)?;
        let context = context(&self.encryption_context)?;
        let sealed = encrypted(view, &key, algorithm, self.plaintext.0.expose(), &context)?;
        Ok(used(
            sealed.material_id,
            EncryptResponse {
                ciphertext_blob: Blob(sealed.blob),
                key_id: key.arn.text(),
                encryption_algorithm: algorithm.to_owned(),
            },
        ))
    }
}

impl Perform for DecryptRequest {
    type Target = Source;
    const MUTATES: bool = false;
    const IS_QUICK: bool = true;
    for_recipient!();

    fn waits(&self, _: &View<'_>) -> bool {
        hosted::is_of_device(blob(&self.ciphertext_blob).ok())
    }

    fn is_dry_run(&self) -> bool {
        self.dry_run.unwrap_or(false)
    }

    fn needs(&self, view: &View<'_>) -> Result<Needs<Source>, KmsError> {
        let algorithm = algorithm(self.encryption_algorithm.as_deref());
        let source = Source::of(view, self.given()?, self.key_id.as_deref(), algorithm)?;
        let accesses = vec![source.access(Action::of::<Self>())];
        Ok(Needs {
            target: source,
            accesses,
        })
    }

    fn run(self, source: Source, view: &View<'_>) -> Result<Done<DecryptResponse>, KmsError> {
        let algorithm = algorithm(self.encryption_algorithm.as_deref());
        encrypting::<Self>(&source.key, algorithm, &self.encryption_context)?;
        let context = context(&self.encryption_context)?;
        if self.ignores_ciphertext() {
            return Ok(Done::read(DecryptResponse::default()));
        }
        let opened = source.open(view, algorithm, blob(&self.ciphertext_blob)?, &context)?;
        let (plaintext, ciphertext_for_recipient) = view.handed(opened.plaintext)?;
        let key_material_id = source.told(&opened.material_id);
        Ok(used(
            opened.material_id,
            DecryptResponse {
                key_id: source.key.arn.text(),
                plaintext,
                encryption_algorithm: algorithm.to_owned(),
                ciphertext_for_recipient,
                key_material_id,
            },
        ))
    }
}

impl Perform for ReEncryptRequest {
    type Target = (Source, KeyEntry);
    const MUTATES: bool = false;
    const IS_QUICK: bool = true;

    fn waits(&self, view: &View<'_>) -> bool {
        hosted::is_of_device(blob(&self.ciphertext_blob).ok())
            || hosted::is_named(view, &self.destination_key_id)
    }

    fn is_dry_run(&self) -> bool {
        self.dry_run.unwrap_or(false)
    }

    fn needs(&self, view: &View<'_>) -> Result<Needs<(Source, KeyEntry)>, KmsError> {
        let algorithm = algorithm(self.source_encryption_algorithm.as_deref());
        let source = Source::of(
            view,
            self.given()?,
            self.source_key_id.as_deref(),
            algorithm,
        )?;
        let destination = view.resolve(&self.destination_key_id, Aliases::Allowed)?;
        let accesses = vec![
            source.access(Action::RE_ENCRYPT_FROM),
            Access {
                action: Action::RE_ENCRYPT_TO,
                resource: Resource::key(&destination),
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
        let source_algorithm = algorithm(self.source_encryption_algorithm.as_deref());
        let algorithm = algorithm(self.destination_encryption_algorithm.as_deref());
        encrypting::<Self>(
            &source.key,
            source_algorithm,
            &self.source_encryption_context,
        )?;
        encrypting::<Self>(
            &destination,
            algorithm,
            &self.destination_encryption_context,
        )?;
        let from = context(&self.source_encryption_context)?;
        let to = context(&self.destination_encryption_context)?;
        if self.ignores_ciphertext() {
            return Ok(Done::read(ReEncryptResponse::default()));
        }
        let given = blob(&self.ciphertext_blob)?;
        let opened = source.open(view, source_algorithm, given, &from)?;
        let sealed = encrypted(
            view,
            &destination,
            algorithm,
            opened.plaintext.expose(),
            &to,
        )?;
        let mut done = Done::read(ReEncryptResponse {
            ciphertext_blob: Blob(sealed.blob),
            source_key_id: source.key.arn.text(),
            key_id: destination.arn.text(),
            source_encryption_algorithm: source_algorithm.to_owned(),
            destination_encryption_algorithm: algorithm.to_owned(),
            source_key_material_id: source.told(&opened.material_id),
            destination_key_material_id: told(&destination, &sealed.material_id),
        });
        for (name, id) in [
            ("sourceKeyMaterialId", opened.material_id),
            ("destinationKeyMaterialId", sealed.material_id),
        ] {
            if !id.is_empty() {
                done.additional.insert(name, id);
            }
        }
        Ok(done)
    }
}

impl Perform for GenerateDataKeyRequest {
    one_key!(used);
    for_recipient!();
    const IS_QUICK: bool = true;

    fn waits(&self, view: &View<'_>) -> bool {
        hosted::is_named(view, &self.key_id)
    }

    fn run(
        self,
        key: KeyEntry,
        view: &View<'_>,
    ) -> Result<Done<GenerateDataKeyResponse>, KmsError> {
        let bytes = data_key_bytes(self.key_spec.as_deref(), self.number_of_bytes)?;
        wrapping::<Self>(&key)?;
        let (plaintext, sealed) = data_key(view, &key, bytes, &self.encryption_context)?;
        let (plaintext, ciphertext_for_recipient) = view.handed(plaintext)?;
        Ok(used(
            sealed.material_id.clone(),
            GenerateDataKeyResponse {
                ciphertext_blob: Blob(sealed.blob),
                plaintext,
                key_id: key.arn.text(),
                ciphertext_for_recipient,
                key_material_id: sealed.material_id,
            },
        ))
    }
}

impl Perform for GenerateDataKeyWithoutPlaintextRequest {
    one_key!(used);
    const IS_QUICK: bool = true;

    fn waits(&self, view: &View<'_>) -> bool {
        hosted::is_named(view, &self.key_id)
    }

    fn run(
        self,
        key: KeyEntry,
        view: &View<'_>,
    ) -> Result<Done<GenerateDataKeyWithoutPlaintextResponse>, KmsError> {
        let bytes = data_key_bytes(self.key_spec.as_deref(), self.number_of_bytes)?;
        wrapping::<Self>(&key)?;
        let (_, sealed) = data_key(view, &key, bytes, &self.encryption_context)?;
        Ok(used(
            sealed.material_id.clone(),
            GenerateDataKeyWithoutPlaintextResponse {
                ciphertext_blob: Blob(sealed.blob),
                key_id: key.arn.text(),
                key_material_id: sealed.material_id,
            },
        ))
    }
}

impl Perform for GenerateRandomRequest {
    type Target = ();
    const MUTATES: bool = false;
    const IS_QUICK: bool = true;
    for_recipient!();

    fn waits(&self, _: &View<'_>) -> bool {
        self.custom_key_store_id.is_some()
    }

    fn needs(&self, view: &View<'_>) -> Result<Needs<()>, KmsError> {
        Ok(Needs::account::<Self>(view))
    }

    fn run(self, (): (), view: &View<'_>) -> Result<Done<GenerateRandomResponse>, KmsError> {
        let bytes = self
            .number_of_bytes
            .ok_or_else(|| invalid("NumberOfBytes is required."))?;
        let bytes = usize::try_from(bytes).map_err(internal)?;
        let random = match &self.custom_key_store_id {
            Some(id) => {
                let (store, _) = stores::named(view, id)?;
                hosted::random(view, &store, bytes)?
            }
            None => random(view, bytes)?,
        };
        let (plaintext, ciphertext_for_recipient) = view.handed(random)?;
        Ok(Done::read(GenerateRandomResponse {
            plaintext,
            ciphertext_for_recipient,
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

pub(super) struct Sealed {
    pub(super) blob: Vec<u8>,
    pub(super) material_id: String,
}

impl Source {
    /// The key that made a blob. That of a symmetric key names it; for other algorithms the key
    /// must be named. A key that is not here is answered like one that may not be used: whoever
    /// sends a foreign blob does not learn which keys exist.
    ///
    /// Without a blob it is the key that is named: for a dry run that only asks who may.
    fn of(
        view: &View<'_>,
        blob: Option<&[u8]>,
        named: Option<&str>,
        algorithm: &str,
    ) -> Result<Self, KmsError> {
        let Some(blob) = blob else {
            let named = named.ok_or_else(|| invalid("KeyId is required without a ciphertext."))?;
            let key = view.resolve(named, Aliases::Allowed)?;
            return Ok(Self { key, version: 1 });
        };
        if algorithm != SYMMETRIC_DEFAULT {
            let named = named
                .ok_or_else(|| invalid(format!("KeyId is required for algorithm {algorithm}.")))?;
            let key = view.resolve(named, Aliases::Allowed)?;
            return Ok(Self { key, version: 1 });
        }
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
            resource: Resource::key(&self.key),
        }
    }

    /// What an answer says of the material; that of key pairs, and in devices, has no name.
    fn told(&self, material_id: &str) -> Option<String> {
        told(&self.key, material_id)
    }

    fn open(
        &self,
        view: &View<'_>,
        algorithm: &str,
        blob: &[u8],
        context: &EncryptionContext,
    ) -> Result<Opened, KmsError> {
        if let Some(padding) = padding(algorithm) {
            let plaintext = pair(view, &self.key)?.decrypt(padding, blob);
            return Ok(Opened {
                plaintext: plaintext.map_err(|_| KmsError::invalid_ciphertext())?,
                material_id: String::new(),
            });
        }
        let material = self
            .key
            .record
            .material(self.version)
            .ok_or_else(KmsError::invalid_ciphertext)?;
        let plaintext = match self.key.record.is_hosted() {
            true => hosted::open(view, &self.key, blob, context)?,
            false => {
                let backing_key = view.material(&self.key.arn, self.version)?;
                blob::open(&backing_key, blob, context)?
            }
        };
        Ok(Opened {
            plaintext,
            material_id: material.material_id.clone(),
        })
    }
}

macro_rules! ignores_ciphertext {
    ($($request:ident),*) => {$(
        impl IgnoresCiphertext for $request {
            fn ignores_ciphertext(&self) -> bool {
                let mut modifiers = self.dry_run_modifiers.iter();
                self.is_dry_run() && modifiers.any(|one| one == "IGNORE_CIPHERTEXT")
            }

            fn given(&self) -> Result<Option<&[u8]>, KmsError> {
                match self.ignores_ciphertext() {
                    true => Ok(None),
                    false => blob(&self.ciphertext_blob).map(Some),
                }
            }
        }
    )*};
}

/// Whether a dry run asks only who may.
trait IgnoresCiphertext {
    fn ignores_ciphertext(&self) -> bool;

    /// The ciphertext, unless it is ignored.
    fn given(&self) -> Result<Option<&[u8]>, KmsError>;
}

ignores_ciphertext!(DecryptRequest, ReEncryptRequest);

fn told(key: &KeyEntry, material_id: &str) -> Option<String> {
    (key.record.spec == SYMMETRIC_DEFAULT && !material_id.is_empty())
        .then(|| material_id.to_owned())
}

/// The blob of a request; only a dry run may be without.
fn blob(given: &Option<Blob>) -> Result<&[u8], KmsError> {
    given.as_ref().map(|blob| blob.0.as_slice()).ok_or_else(|| {
        invalid(
            "1 validation error detected: Value null at 'ciphertextBlob' failed to satisfy \
             constraint: Member must not be null",
        )
    })
}

fn algorithm(given: Option<&str>) -> &str {
    given.unwrap_or(SYMMETRIC_DEFAULT)
}

fn padding(algorithm: &str) -> Option<RsaPadding> {
    match algorithm {
        "RSAES_OAEP_SHA_1" => Some(RsaPadding::OaepSha1),
        "RSAES_OAEP_SHA_256" => Some(RsaPadding::OaepSha256),
        _ => None,
    }
}

/// Refuses a key that does not encrypt by `algorithm`, and a context where there can be none.
fn encrypting<O: Operation>(
    key: &KeyEntry,
    algorithm: &str,
    context: &ContextMap,
) -> Result<(), KmsError> {
    used_by::<O>(key, ENCRYPT_DECRYPT, algorithm)?;
    if algorithm != SYMMETRIC_DEFAULT && !context.is_empty() {
        return Err(invalid(
            "EncryptionContext is not supported with asymmetric KMS keys.",
        ));
    }
    Ok(())
}

fn encrypted(
    view: &View<'_>,
    key: &KeyEntry,
    algorithm: &str,
    plaintext: &[u8],
    context: &EncryptionContext,
) -> Result<Sealed, KmsError> {
    let Some(padding) = padding(algorithm) else {
        return seal(view, key, plaintext, context);
    };
    let blob = pair(view, key)?.encrypt(padding, plaintext).map_err(|_| {
        let spec = &key.record.spec;
        // Modulus, without two hashes and two bytes (RFC 8017, section 7.1.1).
        let modulus = match spec.as_str() {
            "RSA_2048" => 256,
            "RSA_3072" => 384,
            _ => 512,
        };
        let hash = if padding == RsaPadding::OaepSha1 { 20 } else { 32 };
        let most = modulus - 2 * hash - 2;
        invalid(format!(
            "Algorithm {algorithm} and key spec {spec} cannot encrypt data larger than {most} bytes."
        ))
    })?;
    Ok(Sealed {
        blob,
        material_id: String::new(),
    })
}

/// Refuses a key that wraps no data keys.
pub(super) fn wrapping<O: Operation>(key: &KeyEntry) -> Result<(), KmsError> {
    used_by::<O>(key, ENCRYPT_DECRYPT, SYMMETRIC_DEFAULT)
}

/// Seals with a symmetric key, which was found fit for it.
pub(super) fn seal(
    view: &View<'_>,
    key: &KeyEntry,
    plaintext: &[u8],
    context: &EncryptionContext,
) -> Result<Sealed, KmsError> {
    let version = key.record.current_version();
    let missing = || internal("the key has no material");
    let material = key.record.material(version).ok_or_else(missing)?;
    let context = serialized(context)?;
    let blob = match key.record.is_hosted() {
        true => hosted::seal(view, key, plaintext, &context)?,
        false => {
            let backing_key = view.material(&key.arn, version)?;
            let id = &key.arn.id;
            blob::seal(
                &backing_key,
                id,
                version,
                plaintext,
                &context,
                view.entropy(),
            )?
        }
    };
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

pub(super) fn random(view: &View<'_>, bytes: usize) -> Result<SecretBytes, KmsError> {
    let mut secret = SecretBytes::zeroed(bytes);
    view.entropy().fill(secret.expose_mut()).map_err(internal)?;
    Ok(secret)
}

/// The context of a request, within its limits.
pub(super) fn context(pairs: &ContextMap) -> Result<EncryptionContext, KmsError> {
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
pub(super) fn used<T>(material_id: String, output: T) -> Done<T> {
    let mut done = Done::read(output);
    if !material_id.is_empty() {
        done.additional.insert("keyMaterialId", material_id);
    }
    done
}

/// The length of the data key that was asked for, in bytes.
fn data_key_bytes(spec: Option<&str>, bytes: Option<i64>) -> Result<usize, KmsError> {
    match (spec, bytes) {
        (Some("AES_128"), None) => Ok(16),
        (Some(_), None) => Ok(32),
        // In range, by the model.
        (None, Some(bytes)) => usize::try_from(bytes).map_err(internal),
        _ => Err(invalid(
            "Please specify either number of bytes or key spec.",
        )),
    }
}
