//! CreateAlias, UpdateAlias, DeleteAlias, ListAliases.

use super::{Needs, Perform, invalid as invalid_member, paginate, put, stays};
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
        Ok(both::<Self, _>(
            view,
            &name.clone(),
            &key.clone(),
            (name, key),
        ))
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
    type Target = (AliasEntry, KeyEntry);
    const MUTATES: bool = true;

    fn needs(&self, view: &View<'_>) -> Result<Needs<(AliasEntry, KeyEntry)>, KmsError> {
        let name = name(&self.alias_name)?;
        let alias = view.alias(&name)?.ok_or_else(|| view.no_alias(&name))?;
        let key = target(view, &self.target_key_id)?;
        Ok(both::<Self, _>(view, &name, &key.clone(), (alias, key)))
    }

    fn run(
        self,
        (alias, key): (AliasEntry, KeyEntry),
        view: &View<'_>,
    ) -> Result<Done<Empty>, KmsError> {
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
            Some(key) => both::<Self, _>(view, &name, &key, alias),
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

/// Changing an alias needs the action on the alias and on the key.
fn both<O: Perform, T>(view: &View<'_>, name: &AliasName, key: &KeyEntry, target: T) -> Needs<T> {
    let action = Action::of::<O>();
    let alias = Resource::Alias(view.home().alias_arn(name), view.home().clone());
    let accesses = [alias, Resource::key(key)]
        .map(|resource| Access { action, resource })
        .to_vec();
    Needs { target, accesses }
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
