//! What each operation means: one function an operation.
//!
//! [`Perform::needs`] resolves every name in a request and says which actions on which resources
//! the caller must be allowed; [`Perform::run`] is reached only when all of them are. The wire
//! side of each operation is in `waxseal_kms_api::op`, in a module of the same name.

mod aliases;
mod cryptography;
mod keys;
mod rotation;
mod tags;

use crate::authorize::{Access, Resource};
use crate::engine::{Aliases, KeyEntry, View};
use crate::model::KeyState;
use crate::request::{Change, Done};
use crate::store::Expect;
use serde::Serialize;
use serde_json::Value;
use waxseal_core::SecretBytes;
use waxseal_kms_api::{Action, ErrorCode, KmsError, Operation};

/// An operation that the engine can do. Implemented here for every input of the wire, and by
/// nobody else: what it is handed cannot be made outside this crate.
pub trait Perform: Operation {
    /// What the request names, resolved.
    type Target: Send;
    /// Whether it may change state.
    const MUTATES: bool;

    /// `requestParameters` of the audit record. Never holds a secret or a ciphertext.
    fn parameters(&self) -> Value;

    /// Resolves names and states what must be allowed.
    ///
    /// # Errors
    /// Names that mean nothing here.
    fn needs(&self, view: &View<'_>) -> Result<Needs<Self::Target>, KmsError>;

    /// Does it. Nothing is changed yet: changes are part of what is returned.
    ///
    /// # Errors
    /// Whatever the operation refuses.
    fn run(self, target: Self::Target, view: &View<'_>) -> Result<Done<Self::Output>, KmsError>;
}

/// A resolved request and the accesses it needs.
#[derive(Debug)]
pub struct Needs<T> {
    pub(crate) target: T,
    pub(crate) accesses: Vec<Access>,
}

impl Needs<KeyEntry> {
    /// The action named like the operation, on one key.
    fn key<O: Operation>(key: KeyEntry) -> Self {
        let access = Access {
            action: Action::of::<O>(),
            resource: Resource::Key(key.arn.clone()),
        };
        Self {
            target: key,
            accesses: vec![access],
        }
    }

    /// The same for a key that is named by id or ARN, or by alias too.
    fn named<O: Operation>(
        view: &View<'_>,
        name: &str,
        aliases: Aliases,
    ) -> Result<Self, KmsError> {
        Ok(Self::key::<O>(view.resolve(name, aliases)?))
    }
}

impl Needs<()> {
    /// The action named like the operation, on the account.
    fn account<O: Operation>(view: &View<'_>) -> Self {
        let resource = Resource::Account(view.home().clone());
        Self {
            target: (),
            accesses: vec![Access {
                action: Action::of::<O>(),
                resource,
            }],
        }
    }
}

/// Refuses a key that is not enabled.
fn usable(key: &KeyEntry) -> Result<(), KmsError> {
    let pending = |what: &str| {
        let message = format!("{} is pending {what}.", key.arn);
        Err(KmsError::new(ErrorCode::InvalidState, message))
    };
    match key.record.state {
        KeyState::Enabled => Ok(()),
        KeyState::Disabled => Err(KmsError::new(
            ErrorCode::Disabled,
            format!("{} is disabled.", key.arn),
        )),
        KeyState::PendingDeletion => pending("deletion"),
        KeyState::PendingImport => pending("import"),
        KeyState::PendingReplicaDeletion => pending("replica deletion"),
    }
}

/// A change that writes `record` as JSON.
fn put<T: Serialize>(key: String, expect: Expect, record: &T) -> Result<Change, KmsError> {
    let body = serde_json::to_vec(record).map_err(crate::engine::internal)?;
    Ok(Change {
        key,
        expect,
        body: Some(SecretBytes::new(body)),
    })
}

/// One page of `items`: those after `marker`, at most `limit`, and the marker of the next page.
/// `marker_of` gives the text that names an item.
fn paginate<T>(
    items: Vec<T>,
    marker_of: impl Fn(&T) -> String,
    marker: Option<&str>,
    limit: Option<i64>,
    limit_default: usize,
) -> (Vec<T>, Option<String>) {
    let limit = limit
        .and_then(|limit| usize::try_from(limit).ok())
        .unwrap_or(limit_default);
    let after = |item: &T| marker.is_none_or(|marker| marker_of(item).as_str() > marker);
    let mut page: Vec<T> = items.into_iter().filter(after).take(limit + 1).collect();
    if page.len() <= limit {
        return (page, None);
    }
    page.truncate(limit);
    let next = page.last().map(marker_of);
    (page, next)
}

#[cfg(test)]
mod tests {
    use super::paginate;

    #[test]
    fn pages_join_to_the_whole() {
        let items: Vec<String> = (0..7).map(|n| format!("item{n}")).collect();
        let (mut seen, mut marker) = (Vec::new(), None);
        loop {
            let (page, next) = paginate(
                items.clone(),
                String::clone,
                marker.as_deref(),
                Some(3),
                100,
            );
            assert!(page.len() <= 3);
            seen.extend(page);
            marker = next;
            if marker.is_none() {
                break;
            }
        }
        assert_eq!(seen, items);
    }
}
