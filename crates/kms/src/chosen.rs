//! Keys whose id and material a request chooses: CreateKey with the tags `_custom_id_` (a UUID, or
//! `mrk-` and 32 hexadecimal digits) and `_custom_key_material_` (base64: bytes, or a private key in
//! PKCS#8), as LocalStack has them. For development alone.
//!
//! Such a request is a planting ([`seed`](crate::seed)), so that no tag with a secret in it comes to
//! the log or to the key.

use crate::caller::Caller;
use crate::dispatch::Answered;
use crate::engine::Engine;
use crate::seed::SeedKey;
use crate::spec::{Material, Spec};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use waxseal_core::SecretBytes;
use waxseal_core::arn::Home;
use waxseal_kms_api::op::{CreateKeyRequest, DescribeKeyRequest, SYMMETRIC_DEFAULT, Tag};
use waxseal_kms_api::{ErrorCode, KmsError, Operation, wire};

const ID: &str = "_custom_id_";
const MATERIAL: &str = "_custom_key_material_";

/// Whether the body of a CreateKey chooses. One that mentions a tag elsewhere is parsed once more
/// than it need be.
pub(crate) fn chooses(body: &[u8]) -> bool {
    let names = [ID.as_bytes(), MATERIAL.as_bytes()];
    names
        .iter()
        .any(|name| body.windows(name.len()).any(|window| window == *name))
}

impl Engine {
    /// CreateKey with a chosen id, a chosen material, or both.
    pub(crate) fn answer_chosen(
        &self,
        caller: Caller,
        region: &str,
        body: &[u8],
    ) -> Result<Answered, KmsError> {
        let refuse = |error| {
            let name = CreateKeyRequest::NAME;
            self.refuse(&caller, ("kms", region), name, error)
        };
        let planted = wire::input::<CreateKeyRequest>(body)
            .and_then(|request| self.seed_of(&caller, region, request));
        let seed = match planted {
            Ok(seed) => seed,
            Err(error) => return refuse(error),
        };
        let key = json!({ "KeyId": seed.id }).to_string();
        let planting = self.by_caller(caller.clone(), region, seed)?;
        if let Err(error) = self.call(planting) {
            return refuse(error);
        }
        // Its answer is CreateKey's.
        self.answer_input::<DescribeKeyRequest>(caller.clone(), region, key.as_bytes())
    }

    fn seed_of(
        &self,
        caller: &Caller,
        region: &str,
        mut request: CreateKeyRequest,
    ) -> Result<SeedKey, KmsError> {
        let place = Home {
            partition: self.home().partition.clone(),
            region: region.to_owned(),
            account: caller.account().to_owned(),
        };
        let view = self.view(&place, Some(caller));
        let id = match taken(&mut request.tags, ID) {
            Some(id) => id,
            None => view
                .new_key_id(request.multi_region.unwrap_or(false))?
                .to_string(),
        };
        if let Ok(known) = id.parse()
            && view.key(&known)?.is_some()
        {
            let message = format!("The key {} already exists.", place.key_arn(known));
            return Err(KmsError::new(ErrorCode::AlreadyExists, message));
        }
        let spec = request.key_spec.or(request.customer_master_key_spec);
        let spec = spec.unwrap_or_else(|| SYMMETRIC_DEFAULT.to_owned());
        let (mut material, mut private_key) = (Vec::new(), None);
        if let Some(given) = taken(&mut request.tags, MATERIAL) {
            match Spec::of(&spec).map(|spec| spec.material) {
                Some(Material::Pair(_)) => private_key = Some(pem(&given)),
                _ => material.push(hexadecimal(&given)?),
            }
        }
        let tags = request.tags.into_iter();
        Ok(SeedKey {
            id,
            region: None,
            account: None,
            spec,
            usage: request.key_usage,
            description: request.description.unwrap_or_default(),
            enabled: true,
            policy: request.policy.map(Value::String),
            tags: tags.map(|tag| (tag.tag_key, tag.tag_value)).collect(),
            aliases: Vec::new(),
            material,
            private_key,
        })
    }
}

/// Takes the value of a tag out of the list.
fn taken(tags: &mut Vec<Tag>, name: &str) -> Option<String> {
    let at = tags.iter().position(|tag| tag.tag_key == name)?;
    Some(tags.remove(at).tag_value)
}

fn pem(der: &str) -> String {
    format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n")
}

fn hexadecimal(text: &str) -> Result<String, KmsError> {
    let bytes = STANDARD.decode(text).map(SecretBytes::new);
    let bytes = bytes.map_err(|_| {
        let message = format!("The tag {MATERIAL} is no base64.");
        KmsError::new(ErrorCode::Validation, message)
    })?;
    Ok(hex::encode(bytes.expose()))
}
