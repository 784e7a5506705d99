//! CreateGrant, ListGrants, ListRetirableGrants, RetireGrant and RevokeGrant.
//!
//! A grant holds from its answer on, so that a grant token has nothing to bridge: it names the
//! grant for RetireGrant, and that is all. It is `ARN/GRANT-ID` of the key, in base64.

use super::{Needs, Perform, invalid, one_key, paginate, put, spec, usable};
use crate::authorize::{Access, Resource};
use crate::engine::{Aliases, GrantEntry, KeyEntry, View};
use crate::model::{GrantRecord, GrantTerms, grants_prefix};
use crate::request::{Change, Done};
use crate::spec::{ENCAPSULATE_DECAPSULATE, ENCRYPT_DECRYPT, GENERATE_VERIFY_MAC, SIGN_VERIFY};
use crate::store::Expect;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use waxseal_core::KeyArn;
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::Timestamp;
use waxseal_kms_api::{Action, ErrorCode, KmsError};

/// The most grants of one key (KMS quotas).
const GRANTS_MAX: usize = 50_000;
const PAGE_DEFAULT: usize = 50;

impl Perform for CreateGrantRequest {
    one_key!(granted);

    fn run(self, key: KeyEntry, view: &View<'_>) -> Result<Done<CreateGrantResponse>, KmsError> {
        usable(&key)?;
        let terms = terms(self, &key)?;
        let grants = view.grants(&key.arn)?;
        let same = |grant: &&GrantEntry| terms.name.is_some() && grant.record.terms == terms;
        if let Some(grant) = grants.iter().find(same) {
            return Ok(answered(&key.arn, &grant.record.id));
        }
        if grants.len() >= GRANTS_MAX {
            return Err(KmsError::new(
                ErrorCode::LimitExceeded,
                format!("{} has {GRANTS_MAX} grants; that is the limit.", key.arn),
            ));
        }
        let record = GrantRecord {
            id: view.new_grant_id()?,
            created: view.seconds(),
            issuing_account: view.caller()?.account().to_owned(),
            terms,
        };
        let prefix = grants_prefix(&key.arn.home.region, &key.arn.id);
        let document = format!("{prefix}{}", record.id);
        let mut done = answered(&key.arn, &record.id);
        done.changes = vec![put(document, Expect::Absent, &record)?];
        Ok(done)
    }
}

fn answered(key: &KeyArn, id: &str) -> Done<CreateGrantResponse> {
    let mut done = Done::read(CreateGrantResponse {
        grant_token: STANDARD.encode(format!("{key}/{id}")),
        grant_id: id.to_owned(),
    });
    done.response_elements = Some(json!({ "grantId": id, "keyId": key.to_string() }));
    done
}

/// What is asked for, if it makes sense for the key.
fn terms(request: CreateGrantRequest, key: &KeyEntry) -> Result<GrantTerms, KmsError> {
    match (
        &request.grantee_principal,
        &request.grantee_service_principal,
    ) {
        (Some(_), None) | (None, Some(_)) => {}
        _ => {
            return Err(invalid(
                "Specify exactly one of GranteePrincipal and GranteeServicePrincipal.",
            ));
        }
    }
    if request.retiring_principal.is_some() && request.retiring_service_principal.is_some() {
        return Err(invalid(
            "Specify at most one of RetiringPrincipal and RetiringServicePrincipal.",
        ));
    }
    if request.operations.is_empty() {
        return Err(invalid("A grant must allow at least one operation."));
    }
    let possible = possible(key)?;
    let mut operations = request.operations.iter();
    if let Some(other) = operations.find(|operation| !possible.contains(&operation.as_str())) {
        let (spec, usage) = (&key.record.spec, &key.record.usage);
        return Err(invalid(format!(
            "Grant operation {other} is not supported by a key with spec {spec} and usage {usage}."
        )));
    }
    let constraints = request.constraints.unwrap_or_default();
    let (subset, equals) = (
        constraints.encryption_context_subset,
        constraints.encryption_context_equals,
    );
    if !subset.is_empty() && !equals.is_empty() {
        return Err(invalid(
            "Specify at most one of EncryptionContextSubset and EncryptionContextEquals.",
        ));
    }
    let is_bound = !subset.is_empty() || !equals.is_empty();
    if is_bound && !spec(key)?.is_symmetric() {
        return Err(invalid(
            "Encryption context constraints are for symmetric encryption keys only.",
        ));
    }
    let mut operations = request.operations;
    operations.sort_unstable();
    operations.dedup();
    Ok(GrantTerms {
        name: request.name,
        grantee: request.grantee_principal,
        grantee_service: request.grantee_service_principal,
        retiring: request.retiring_principal,
        retiring_service: request.retiring_service_principal,
        operations,
        context_subset: subset,
        context_equals: equals,
        source_arn: constraints.source_arn,
    })
}

/// The operations that a grant on the key can allow.
fn possible(key: &KeyEntry) -> Result<Vec<&'static str>, KmsError> {
    let is_symmetric = spec(key)?.is_symmetric();
    let own: &[&str] = match key.record.usage.as_str() {
        ENCRYPT_DECRYPT if is_symmetric => &[
            "Decrypt",
            "Encrypt",
            "GenerateDataKey",
            "GenerateDataKeyWithoutPlaintext",
            "GenerateDataKeyPair",
            "GenerateDataKeyPairWithoutPlaintext",
            "ReEncryptFrom",
            "ReEncryptTo",
        ],
        ENCRYPT_DECRYPT => &[
            "Decrypt",
            "Encrypt",
            "GetPublicKey",
            "ReEncryptFrom",
            "ReEncryptTo",
        ],
        SIGN_VERIFY => &["Sign", "Verify", "GetPublicKey"],
        GENERATE_VERIFY_MAC => &["GenerateMac", "VerifyMac"],
        ENCAPSULATE_DECAPSULATE => &["Encapsulate", "Decapsulate", "GetPublicKey"],
        _ => &["DeriveSharedSecret", "GetPublicKey"],
    };
    Ok([own, &["CreateGrant", "RetireGrant", "DescribeKey"]].concat())
}

fn entry(key: &KeyArn, grant: GrantRecord) -> GrantListEntry {
    let terms = grant.terms;
    let is_bound = !terms.context_subset.is_empty()
        || !terms.context_equals.is_empty()
        || terms.source_arn.is_some();
    let constraints = is_bound.then_some(GrantConstraints {
        encryption_context_subset: terms.context_subset,
        encryption_context_equals: terms.context_equals,
        source_arn: terms.source_arn,
    });
    GrantListEntry {
        key_id: key.to_string(),
        grant_id: grant.id,
        name: terms.name,
        creation_date: Timestamp(grant.created),
        grantee_principal: terms.grantee,
        retiring_principal: terms.retiring,
        issuing_account: format!(
            "arn:{}:iam::{}:root",
            key.home.partition, grant.issuing_account
        ),
        operations: terms.operations,
        constraints,
        grantee_service_principal: terms.grantee_service,
        retiring_service_principal: terms.retiring_service,
    }
}

fn listed(
    entries: Vec<GrantListEntry>,
    marker: Option<&str>,
    limit: Option<i64>,
) -> Result<Done<ListGrantsResponse>, KmsError> {
    let id = |grant: &GrantListEntry| grant.grant_id.clone();
    let page = paginate(entries, id, marker, limit, PAGE_DEFAULT)?;
    Ok(Done::read(ListGrantsResponse {
        grants: page.items,
        truncated: page.next.is_some(),
        next_marker: page.next,
    }))
}

impl Perform for ListGrantsRequest {
    one_key!(listed);

    fn run(self, key: KeyEntry, view: &View<'_>) -> Result<Done<ListGrantsResponse>, KmsError> {
        let is = |wanted: &Option<String>, seen: Option<&String>| {
            wanted.as_ref().is_none_or(|wanted| seen == Some(wanted))
        };
        let grants = view.grants(&key.arn)?;
        let entries = grants
            .iter()
            .map(|grant| entry(&key.arn, grant.record.clone()));
        let wanted = entries.filter(|grant| {
            is(&self.grant_id, Some(&grant.grant_id))
                && is(&self.grantee_principal, grant.grantee_principal.as_ref())
                && is(
                    &self.grantee_service_principal,
                    grant.grantee_service_principal.as_ref(),
                )
        });
        listed(wanted.collect(), self.marker.as_deref(), self.limit)
    }
}

impl Perform for ListRetirableGrantsRequest {
    type Target = ();
    const MUTATES: bool = false;

    fn needs(&self, view: &View<'_>) -> Result<Needs<()>, KmsError> {
        if self.retiring_principal.is_some() == self.retiring_service_principal.is_some() {
            return Err(invalid(
                "Specify exactly one of RetiringPrincipal and RetiringServicePrincipal.",
            ));
        }
        Ok(Needs::account::<Self>(view))
    }

    fn run(self, (): (), view: &View<'_>) -> Result<Done<ListGrantsResponse>, KmsError> {
        let mut entries = Vec::new();
        for key in view.keys()? {
            let grants = view.grants(&key.arn)?;
            let grants = grants
                .iter()
                .map(|grant| entry(&key.arn, grant.record.clone()));
            entries.extend(grants.filter(|grant| {
                grant.retiring_principal == self.retiring_principal
                    && grant.retiring_service_principal == self.retiring_service_principal
            }));
        }
        entries.sort_unstable_by(|left, right| left.grant_id.cmp(&right.grant_id));
        listed(entries, self.marker.as_deref(), self.limit)
    }
}

impl Perform for RevokeGrantRequest {
    one_key!(granted);

    fn run(self, key: KeyEntry, view: &View<'_>) -> Result<Done<Empty>, KmsError> {
        Ok(removed(found(view, &key.arn, &self.grant_id)?))
    }
}

impl Perform for RetireGrantRequest {
    type Target = GrantEntry;
    const MUTATES: bool = true;

    fn is_dry_run(&self) -> bool {
        self.dry_run.unwrap_or(false)
    }

    /// Who may retire a grant stands in the grant: its retiring principal, its grantee where the
    /// grant allows RetireGrant, and the account it was issued in.
    fn needs(&self, view: &View<'_>) -> Result<Needs<GrantEntry>, KmsError> {
        let (key, id) = match (&self.grant_token, &self.key_id, &self.grant_id) {
            (Some(token), key, id) => {
                let (found, its_id) = of_token(view, token)?;
                let named = key.as_ref().map(|key| view.resolve(key, Aliases::Refused));
                let other_key = named
                    .transpose()?
                    .is_some_and(|named| named.arn != found.arn);
                if other_key || id.as_ref().is_some_and(|id| *id != its_id) {
                    return Err(invalid(
                        "GrantToken, KeyId and GrantId name different grants.",
                    ));
                }
                (found, its_id)
            }
            (None, Some(key), Some(id)) => (view.resolve(key, Aliases::Refused)?, id.clone()),
            _ => {
                return Err(invalid(
                    "Specify either GrantToken, or both KeyId and GrantId.",
                ));
            }
        };
        let grant = found(view, &key.arn, &id)?;
        let caller = view.caller()?;
        let (terms, principal) = (&grant.record.terms, caller.principal());
        let by_itself = terms
            .operations
            .iter()
            .any(|operation| operation == "RetireGrant");
        let may = principal.is_named(terms.retiring.as_deref())
            || (principal.is_named(terms.grantee.as_deref()) && by_itself)
            || (caller.is_root() && caller.account() == grant.record.issuing_account);
        let access = Access {
            action: Action::of::<Self>(),
            resource: Resource::key(&key),
        };
        Ok(Needs {
            target: grant,
            accesses: if may { Vec::new() } else { vec![access] },
        })
    }

    fn run(self, grant: GrantEntry, _: &View<'_>) -> Result<Done<Empty>, KmsError> {
        Ok(removed(grant))
    }
}

/// The key and the id of the grant that a token stands for.
fn of_token(view: &View<'_>, token: &str) -> Result<(KeyEntry, String), KmsError> {
    let unknown = || {
        KmsError::new(
            ErrorCode::InvalidGrantToken,
            "The grant token is not valid.",
        )
    };
    let text = STANDARD.decode(token).ok();
    let text = text.and_then(|text| String::from_utf8(text).ok());
    let text = text.ok_or_else(unknown)?;
    let (key, id) = text.rsplit_once('/').ok_or_else(unknown)?;
    let key = view.resolve(key, Aliases::Refused).map_err(|_| unknown())?;
    Ok((key, id.to_owned()))
}

fn found(view: &View<'_>, key: &KeyArn, id: &str) -> Result<GrantEntry, KmsError> {
    let grants = view.grants(key)?;
    let found = grants.iter().find(|grant| grant.record.id == id);
    found
        .cloned()
        .ok_or_else(|| KmsError::new(ErrorCode::NotFound, format!("Grant ID {id} not found")))
}

fn removed(grant: GrantEntry) -> Done<Empty> {
    let mut done = Done::read(Empty {});
    done.changes = vec![Change {
        key: grant.document,
        expect: Expect::Revision(grant.revision),
        body: None,
    }];
    done
}
