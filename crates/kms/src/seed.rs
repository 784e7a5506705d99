//! Keys and principals that are planted, with ids, material and secrets that somebody chose: for
//! development and tests, where the same ciphertexts are to open again and again.
//!
//! Planting goes the way of every request and is recorded. It is never offered over the network,
//! and what is there already is left as it is.

use crate::engine::{View, internal};
use crate::model::{AliasRecord, KeyRecord, KeyState, MaterialKind, MaterialRecord, key_document};
use crate::op::{Needs, Perform, material_id, material_row, put};
use crate::policy::{Policy, PolicyKind};
use crate::principals::{AccessKeyRecord, PrincipalRecord, Sort, access_key_document, new_id};
use crate::request::Done;
use crate::spec::{self, Material, Spec};
use crate::store::Expect;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use waxseal_core::crypto::key_pair::KeyPair;
use waxseal_core::{AliasName, KeyId, SecretBytes};
use waxseal_kms_api::members::Members;
use waxseal_kms_api::model::{Member, Path, Shape, Violations};
use waxseal_kms_api::op::{Empty, SYMMETRIC_DEFAULT};
use waxseal_kms_api::shape::SecretBlob;
use waxseal_kms_api::{ErrorCode, KmsError, Operation};

/// The longest HMAC key that can be planted.
const MAC_KEY_BYTES_MAX: usize = 1024;

/// A key to be planted.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SeedKey {
    /// A UUID, or `mrk-` and 32 hexadecimal digits.
    pub id: String,
    /// For whoever plants it: the request's Region is where it goes.
    pub region: Option<String>,
    /// As `region`: the account of the caller.
    pub account: Option<String>,
    /// `SYMMETRIC_DEFAULT` when not given.
    #[serde(default = "symmetric")]
    pub spec: String,
    /// The first one of the spec when not given.
    pub usage: Option<String>,
    /// Empty when not given.
    #[serde(default)]
    pub description: String,
    /// Whether it is enabled; it is when not given.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// A key policy: an object, or its text.
    pub policy: Option<Value>,
    /// Tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Names, each with `alias/`.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Hexadecimal digits, oldest first: 32 bytes each, 1 to 1,024 for HMAC keys. Random when not
    /// given.
    #[serde(default)]
    pub material: Vec<String>,
    /// The private key in PEM, for key pairs. Random when not given.
    pub private_key: Option<String>,
}

/// A user to be planted.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SeedUser {
    /// 1 to 64 characters.
    pub name: String,
    /// For whoever plants it: the caller's account is where it goes.
    pub account: Option<String>,
    /// What requests are signed with.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// Identity policies by name: objects, or their text.
    #[serde(default)]
    pub policies: BTreeMap<String, Value>,
}

fn symmetric() -> String {
    SYMMETRIC_DEFAULT.to_owned()
}

fn yes() -> bool {
    true
}

/// The text of a policy that was given as an object or as a text.
pub fn policy_text(policy: Value) -> String {
    match policy {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

macro_rules! seeds {
    ($($seed:ident: $name:literal, $logged:literal = $member:ident;)*) => {$(
        impl Shape for $seed {
            const MEMBERS: &'static [Member] = &[];

            fn check(&self, _: &Path<'_>, _: &mut Violations) {}

            fn logged(&self) -> Members {
                Members::from_iter([($logged, self.$member.as_str())])
            }
        }

        impl std::fmt::Debug for $seed {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({})", $name, self.$member)
            }
        }

        impl Operation for $seed {
            const NAME: &'static str = $name;
            type Output = Empty;
        }
    )*};
}

seeds! {
    SeedKey: "SeedKey", "keyId" = id;
    SeedUser: "SeedUser", "userName" = name;
}

fn wrong(what: String) -> KmsError {
    KmsError::new(ErrorCode::Validation, what)
}

impl SeedKey {
    /// The materials, as their rows have them.
    fn materials(&self, spec: &Spec, view: &View<'_>) -> Result<Vec<SecretBytes>, KmsError> {
        let id = &self.id;
        let unfit = || {
            wrong(format!(
                "key {id}: the material is none of spec {}",
                spec.name
            ))
        };
        if let Some(pem) = &self.private_key {
            let pair = spec.pair().ok_or_else(unfit)?;
            let pair = KeyPair::from_pem(pair, pem.as_bytes());
            let pair = pair.map_err(|error| wrong(format!("key {id}: {error}")))?;
            return Ok(vec![pair.pkcs8().map_err(internal)?]);
        }
        if self.material.len() > 1 && !spec.is_symmetric() {
            return Err(wrong(format!("key {id}: {} has one material", spec.name)));
        }
        let given = self.material.iter().map(|digits| {
            let bytes = hex::decode(digits).map(SecretBytes::new);
            let bytes = bytes.map_err(|_| wrong(format!("key {id}: material is hexadecimal")))?;
            match spec.material {
                // Whoever tests against a known MAC has the key that it was made with.
                Material::Mac(_) if (1..=MAC_KEY_BYTES_MAX).contains(&bytes.len()) => Ok(bytes),
                _ => spec.imported(&bytes).ok_or_else(unfit),
            }
        });
        let given: Vec<SecretBytes> = given.collect::<Result<_, _>>()?;
        match given.is_empty() {
            true => Ok(vec![spec.new_material(view.entropy())?]),
            false => Ok(given),
        }
    }
}

impl Perform for SeedKey {
    type Target = ();
    const MUTATES: bool = true;

    fn needs(&self, view: &View<'_>) -> Result<Needs<()>, KmsError> {
        Ok(Needs::account::<Self>(view))
    }

    fn run(self, (): (), view: &View<'_>) -> Result<Done<Empty>, KmsError> {
        let home = view.home();
        let malformed = || wrong(format!("'{}' is no id of a key: give a UUID", self.id));
        let id: KeyId = self.id.parse().map_err(|_| malformed())?;
        if !id.is_well_formed() {
            return Err(malformed());
        }
        let mut done = Done::read(Empty {});
        if view.key(&id)?.is_some() {
            return Ok(done);
        }
        let spec = Spec::of(&self.spec)
            .ok_or_else(|| wrong(format!("key {id}: there is no spec {}", self.spec)))?;
        let mut usages = spec.usages.iter().map(|(usage, _)| *usage);
        let usage = match &self.usage {
            None => usages.next(),
            Some(usage) => usages.find(|own| own == usage),
        };
        let usage = usage.ok_or_else(|| {
            let usage = self.usage.as_deref().unwrap_or(spec::ENCRYPT_DECRYPT);
            wrong(format!("key {id}: {} is not used for {usage}", spec.name))
        })?;
        let policy = self.policy.clone().map(policy_text);
        if let Some(text) = &policy {
            Policy::parse(text, PolicyKind::Key)
                .map_err(|error| wrong(format!("key {id}: {error}")))?;
        }
        let arn = home.key_arn(id.clone());
        let mut records = Vec::new();
        for (version, material) in (1..).zip(self.materials(spec, view)?) {
            records.push(MaterialRecord {
                material_id: material_id(&arn, &material)?,
                since: view.seconds(),
                kind: match version {
                    1 => MaterialKind::Created,
                    _ => MaterialKind::OnDemand,
                },
                import: None,
            });
            done.changes.push(material_row(&arn, version, material));
        }
        let record = KeyRecord {
            description: self.description,
            state: match self.enabled {
                true => KeyState::Enabled,
                false => KeyState::Disabled,
            },
            policy,
            tags: self.tags,
            materials: records,
            ..KeyRecord::new(home, &id, view.seconds(), spec.name, usage)
        };
        let document = key_document(&home.region, &id);
        done.changes.push(put(document, Expect::Absent, &record)?);
        for alias in &self.aliases {
            let name: AliasName = alias
                .parse()
                .map_err(|error| wrong(format!("key {id}: {error}")))?;
            if view.alias(&name)?.is_some() {
                return Err(wrong(format!("key {id}: {name} names another key")));
            }
            let record = AliasRecord {
                target: id.to_string(),
                created: view.seconds(),
                updated: view.seconds(),
            };
            let document = view.alias_document(&name);
            done.changes.push(put(document, Expect::Absent, &record)?);
        }
        done.created = Some(arn);
        Ok(done)
    }
}

impl Perform for SeedUser {
    type Target = ();
    const MUTATES: bool = true;

    fn needs(&self, view: &View<'_>) -> Result<Needs<()>, KmsError> {
        Ok(Needs::account::<Self>(view))
    }

    fn run(self, (): (), view: &View<'_>) -> Result<Done<Empty>, KmsError> {
        let (name, home) = (&self.name, view.home());
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !(16..=128).contains(&self.access_key_id.len()) || !plain(&self.access_key_id) {
            return Err(wrong(format!(
                "user {name}: an access key id has 16 to 128 letters"
            )));
        }
        if name.is_empty() || name.len() > 64 || name.contains('/') {
            return Err(wrong(format!("'{name}' is no name of a user")));
        }
        let mut done = Done::read(Empty {});
        if view.principal(Sort::User, name)?.is_some() {
            return Ok(done);
        }
        let policies = self.policies.into_iter();
        let policies: BTreeMap<String, String> = policies
            .map(|(name, policy)| (name, policy_text(policy)))
            .collect();
        for text in policies.values() {
            Policy::parse(text, PolicyKind::Identity)
                .map_err(|error| wrong(format!("user {name}: {error}")))?;
        }
        let key = AccessKeyRecord {
            account: home.account.clone(),
            user: name.clone(),
            created: view.seconds(),
            secret: SecretBlob(SecretBytes::new(self.secret_access_key.into_bytes())),
        };
        let record = PrincipalRecord {
            id: new_id("AIDA", view.entropy()).map_err(internal)?,
            created: view.seconds(),
            is_enabled: true,
            policies,
            access_keys: vec![self.access_key_id.clone()],
            trust: None,
            session_seconds_max: 0,
        };
        let document = format!("{}{name}", Sort::User.prefix(&home.account));
        done.changes = vec![
            put(document, Expect::Absent, &record)?,
            put(
                access_key_document(&self.access_key_id),
                Expect::Absent,
                &key,
            )?,
        ];
        Ok(done)
    }
}
