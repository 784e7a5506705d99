//! CreateAlias, UpdateAlias, DeleteAlias, ListAliases.

use super::{Needs, Perform, invalid as invalid_member, paginate, put, spec, stays};
use crate::authorize::{Access, Resource};
use crate::engine::{AliasEntry, Aliases, KeyEntry, View, internal};
use crate::model::AliasRecord;
use crate::request::{Change, Done};
use crate::store::Expect;
use waxseal_core::{AliasName, KeyRef};
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::Timestamp;
use waxseal_kms_api::{Action, ErrorCode, KmsError};

impl Perform for CreateAliasRequest {
    type Target = (AliasName, KeyEntry);
    const MUTATES: bool = true;

    fn needs(&self, view: &View<'_>) -> Result<Needs<(AliasName, KeyEntry)>, KmsError> {
        let name = name(&self.alias_name)?;
        let key = target(view, &self.target_key_id)?;
        let accesses = accesses::<Self>(view, &name, [&key]);
        let target = (name, key);
        Ok(Needs { target, accesses })
    }

    fn run(
        self,
        (name, key): (AliasName, KeyEntry),
        view: &View<'_>,
    ) -> Result<Done<Empty>, KmsError> {
        stays(&key)?;
        if view.alias(&name)?.is_some() {
            let arn = view.home().alias_arn(&name);
            let message = format!("An alias with the name {arn} already exists");
            return Err(KmsError::new(ErrorCode::AlreadyExists, message));
        }
        let now = view.seconds();
        let record = AliasRecord {
            target: key.record.id.clone(),
            created: now,
            updated: now,
        };
        let mut done = Done::read(Empty {});
        done.changes = vec![put(view.alias_document(&name), Expect::Absent, &record)?];
        Ok(done)
    }
}

impl Perform for UpdateAliasRequest {
    type Target = Moved;
    const MUTATES: bool = true;

    fn needs(&self, view: &View<'_>) -> Result<Needs<Moved>, KmsError> {
        let name = name(&self.alias_name)?;
        let alias = view.alias(&name)?.ok_or_else(|| view.no_alias(&name))?;
        let to = target(view, &self.target_key_id)?;
        let from = view.key(&alias.record.target.parse().map_err(internal)?)?;
        let keys = from.iter().filter(|from| from.arn != to.arn).chain([&to]);
        Ok(Needs {
            accesses: accesses::<Self>(view, &name, keys),
            target: Moved { alias, from, to },
        })
    }

    fn run(self, moved: Moved, view: &View<'_>) -> Result<Done<Empty>, KmsError> {
        if let Some(from) = &moved.from {
            alike(&self.alias_name, from, &moved.to)?;
        }
        let Moved { alias, to: key, .. } = moved;
        stays(&key)?;
        let record = AliasRecord {
            target: key.record.id.clone(),
            created: alias.record.created,
            updated: view.seconds(),
        };
        let expect = Expect::Revision(alias.revision);
        let mut done = Done::read(Empty {});
        done.changes = vec![put(view.alias_document(&alias.name), expect, &record)?];
        Ok(done)
    }
}

impl Perform for DeleteAliasRequest {
    type Target = AliasEntry;
    const MUTATES: bool = true;

    fn needs(&self, view: &View<'_>) -> Result<Needs<AliasEntry>, KmsError> {
        let name = name(&self.alias_name)?;
        let alias = view.alias(&name)?.ok_or_else(|| view.no_alias(&name))?;
        let id = alias.record.target.parse().map_err(internal)?;
        Ok(match view.key(&id)? {
            Some(key) => Needs {
                accesses: accesses::<Self>(view, &name, [&key]),
                target: alias,
            },
            // Its key is gone already.
            None => Needs {
                accesses: vec![Access {
                    action: Action::of::<Self>(),
                    resource: Resource::Alias(view.home().alias_arn(&name), view.home().clone()),
                }],
                target: alias,
            },
        })
    }

    fn run(self, alias: AliasEntry, view: &View<'_>) -> Result<Done<Empty>, KmsError> {
        let mut done = Done::read(Empty {});
        done.changes = vec![Change {
            key: view.alias_document(&alias.name),
            expect: Expect::Revision(alias.revision),
            body: None,
        }];
        Ok(done)
    }
}

impl Perform for ListAliasesRequest {
    type Target = Option<KeyEntry>;
    const MUTATES: bool = false;

    fn needs(&self, view: &View<'_>) -> Result<Needs<Option<KeyEntry>>, KmsError> {
        let key = match &self.key_id {
            Some(key) => Some(view.resolve(key, Aliases::Refused)?),
            None => None,
        };
        let Needs { accesses, .. } = Needs::account::<Self>(view);
        Ok(Needs {
            target: key,
            accesses,
        })
    }

    fn run(
        self,
        key: Option<KeyEntry>,
        view: &View<'_>,
    ) -> Result<Done<ListAliasesResponse>, KmsError> {
        let mut aliases = view.aliases()?;
        if let Some(key) = key {
            aliases.retain(|alias| alias.record.target == key.record.id);
        }
        let name = |alias: &AliasEntry| alias.name.to_string();
        let page = paginate(aliases, name, self.marker.as_deref(), self.limit, 50)?;
        let entry = |alias: AliasEntry| AliasListEntry {
            alias_arn: view.home().alias_arn(&alias.name),
            alias_name: alias.name.to_string(),
            target_key_id: alias.record.target.clone(),
            creation_date: Timestamp(alias.record.created),
            last_updated_date: Timestamp(alias.record.updated),
        };
        Ok(Done::read(ListAliasesResponse {
            aliases: page.items.into_iter().map(entry).collect(),
            truncated: page.next.is_some(),
            next_marker: page.next,
        }))
    }
}

/// An alias on its way from one key, which may be gone already, to another.
#[derive(Debug)]
pub struct Moved {
    alias: AliasEntry,
    from: Option<KeyEntry>,
    to: KeyEntry,
}

/// Refuses to move an alias between keys that are not used alike (API reference, UpdateAlias): whoever uses
/// the alias would be left with ciphertexts or signatures that its key knows nothing of.
fn alike(alias: &str, from: &KeyEntry, to: &KeyEntry) -> Result<(), KmsError> {
    let (was, is) = (&from.record.usage, &to.record.usage);
    if was != is {
        return Err(invalid_member(format!(
            "Alias {alias} cannot be changed from a CMK with key usage {was} to a CMK with key usage {is}. The \
             key usage of the current CMK and the new CMK must be the same."
        )));
    }
    // Keys for MACs have a usage of their own.
    let kind = |key| {
        Ok(if spec(key)?.is_symmetric() {
            "a symmetric"
        } else {
            "an asymmetric"
        })
    };
    let (was, is): (&str, &str) = (kind(from)?, kind(to)?);
    if was != is {
        return Err(invalid_member(format!(
            "Alias {alias} cannot be changed from {was} CMK to {is} CMK. The key type of the current CMK and \
             the new CMK must be the same."
        )));
    }
    Ok(())
}

/// Changing an alias needs the action on the alias and on each key that has it, or is to have it.
fn accesses<'k, O: Perform>(
    view: &View<'_>,
    name: &AliasName,
    keys: impl IntoIterator<Item = &'k KeyEntry>,
) -> Vec<Access> {
    let action = Action::of::<O>();
    let alias = Resource::Alias(view.home().alias_arn(name), view.home().clone());
    let keys = keys.into_iter().map(Resource::key);
    let resources = std::iter::once(alias).chain(keys);
    resources
        .map(|resource| Access { action, resource })
        .collect()
}

fn name(text: &str) -> Result<AliasName, KmsError> {
    let invalid = |message: String| KmsError::new(ErrorCode::InvalidAliasName, message);
    if !text.starts_with("alias/") {
        return Err(invalid_member(
            "Alias must start with the prefix \"alias/\". Please see \
             https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html",
        ));
    }
    // The pattern of the service model admits colons; names have none.
    if text.contains(':') {
        return Err(invalid_member(format!(
            "{text} contains invalid characters for an alias"
        )));
    }
    let name: AliasName = text
        .parse()
        .map_err(|error: waxseal_core::arn::NameError| invalid(error.to_string()))?;
    match name.is_reserved() {
        true => Err(KmsError {
            code: ErrorCode::NotAuthorized,
            message: None,
        }),
        false => Ok(name),
    }
}

/// The key that an alias is to name.
fn target(view: &View<'_>, name: &str) -> Result<KeyEntry, KmsError> {
    match name.parse() {
        Ok(KeyRef::Alias(_) | KeyRef::AliasArn(..)) => {
            Err(invalid_member("Aliases must refer to keys. Not aliases"))
        }
        _ => view.resolve(name, Aliases::Refused),
    }
}
