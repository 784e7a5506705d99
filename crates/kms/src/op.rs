//! What each operation means: one function an operation.
//!
//! [`Perform::needs`] resolves every name in a request and says which actions on which resources
//! the caller must be allowed; [`Perform::run`] is reached only when all of them are. The wire
//! side of each operation is in `waxseal_kms_api::op`, in a module of the same name.

mod agreement;
mod aliases;
mod cryptography;
mod deletion;
mod grants;
mod hosted;
mod keys;
mod material;
mod pairs;
mod policies;
mod principals;
mod providers;
mod regions;
mod rotation;
mod sessions;
mod signing;
mod stores;
mod tags;
mod trail;
mod usage;

pub(crate) use hosted::destroyed;
pub use keys::NewKey;
pub(crate) use keys::kept;
pub(crate) use material::unkept;
pub(crate) use rotation::{material_id, material_row, rotated};
pub(crate) use usage::Uses;

use crate::authorize::{Access, Resource};
use crate::engine::{Aliases, KeyEntry, View};
use crate::model::KeyState;
use crate::request::{Change, Done};
use crate::reserve::takes_rights_away;
use crate::spec::Spec;
use crate::store::Expect;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use std::sync::Arc;
use waxseal_core::SecretBytes;
use waxseal_core::arn::Home;
use waxseal_kms_api::op::{RecipientInfo, Tag, TagResourceRequest};
use waxseal_kms_api::{Action, ErrorCode, KmsError, Operation};

/// An operation that the engine can do. Implemented here for every input of the wire, and by
/// nobody else: what it is handed cannot be made outside this crate.
pub trait Perform: Operation {
    /// What the request names, resolved.
    type Target: Send;
    /// Whether it may change state.
    const MUTATES: bool;
    /// Whether it may use the room that is kept on the disk: it takes rights away.
    const USES_RESERVE: bool = takes_rights_away(Self::NAME);
    /// Whether it takes microseconds, and changes nothing: a server does it without a thread of its
    /// own.
    const IS_QUICK: bool = false;

    /// Whether it connects custom key stores, or disconnects them: that is seen to before it is
    /// answered.
    const CONNECTS: bool = false;

    /// Whether it deletes material, so that more has to be seen to than a change.
    const FORGETS: bool = false;

    /// Whether it waits for a device, so that a server needs a thread for it all the same.
    fn waits(&self, _: &View<'_>) -> bool {
        false
    }

    /// Whether it may make what takes long: key pairs, and keys in devices. That is done before the log is
    /// held, for whoever holds it holds up everybody.
    const MAKES: bool = false;

    /// Makes it, for a caller who may have it. What cannot be made is told by [`Perform::run`].
    fn made_ahead(&self, _: &View<'_>) -> Option<NewKey> {
        None
    }

    /// Whether nothing is to be done but the checks.
    fn is_dry_run(&self) -> bool {
        false
    }

    /// Whom the answer is to be encrypted for, where the request says so.
    fn recipient(&self) -> Option<&RecipientInfo> {
        None
    }

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

/// What operations on one key, named by their member `KeyId`, have in common: all of [`Perform`]
/// but `run`.
///
/// | kind | names of the key | changes state | `DryRun` |
/// |---|---|---|---|
/// | `used` | id, ARN, alias | no | yes |
/// | `shown` | id, ARN, alias | no | no |
/// | `listed` | id, ARN | no | no |
/// | `changed` | id, ARN | yes | no |
/// | `granted` | id, ARN | yes | yes |
macro_rules! one_key {
    (used) => {
        $crate::op::one_key!(@ false, Allowed);
        $crate::op::one_key!(@dry_run);
    };
    (shown) => { $crate::op::one_key!(@ false, Allowed); };
    (listed) => { $crate::op::one_key!(@ false, Refused); };
    (changed) => { $crate::op::one_key!(@ true, Refused); };
    (granted) => {
        $crate::op::one_key!(@ true, Refused);
        $crate::op::one_key!(@dry_run);
    };
    (@ $mutates:literal, $aliases:ident) => {
        type Target = $crate::engine::KeyEntry;
        const MUTATES: bool = $mutates;

        fn needs(
            &self,
            view: &$crate::engine::View<'_>,
        ) -> Result<$crate::op::Needs<Self::Target>, waxseal_kms_api::KmsError> {
            let aliases = $crate::engine::Aliases::$aliases;
            $crate::op::Needs::named::<Self>(view, &self.key_id, aliases)
        }
    };
    (@dry_run) => {
        fn is_dry_run(&self) -> bool {
            self.dry_run.unwrap_or(false)
        }
    };
}

/// What operations on an account have in common: all of [`Perform`] but `run`. What is there is looked
/// up when the operation runs.
macro_rules! of_account {
    ($mutates:literal) => {
        type Target = ();
        const MUTATES: bool = $mutates;

        fn needs(
            &self,
            view: &$crate::engine::View<'_>,
        ) -> Result<$crate::op::Needs<()>, waxseal_kms_api::KmsError> {
            Ok($crate::op::Needs::account::<Self>(view))
        }
    };
}

/// [`Perform::recipient`] of operations that have the member.
macro_rules! for_recipient {
    () => {
        fn recipient(&self) -> Option<&waxseal_kms_api::op::RecipientInfo> {
            self.recipient.as_ref()
        }
    };
}

use {for_recipient, of_account, one_key};

/// Refuses a key that the operation `O` cannot use by `algorithm`: its state, its usage, its spec.
fn used_by<O: Operation>(key: &KeyEntry, usage: &str, algorithm: &str) -> Result<(), KmsError> {
    usable(key)?;
    used_for::<O>(key, usage)?;
    fits(key, algorithm)
}

/// Refuses a key that is not for `usage`, in the words of the operation `O`.
fn used_for<O: Operation>(key: &KeyEntry, usage: &str) -> Result<(), KmsError> {
    if key.record.usage == usage {
        return Ok(());
    }
    let (arn, own) = (&key.arn, &key.record.usage);
    Err(KmsError::new(
        ErrorCode::InvalidKeyUsage,
        format!(
            "{arn} key usage is {own} which is not valid for {}.",
            O::NAME
        ),
    ))
}

/// Refuses an algorithm that a key does not have.
fn fits(key: &KeyEntry, algorithm: &str) -> Result<(), KmsError> {
    if spec(key)?
        .algorithms(&key.record.usage)
        .contains(&algorithm)
    {
        return Ok(());
    }
    let spec = &key.record.spec;
    Err(KmsError::new(
        ErrorCode::InvalidKeyUsage,
        format!("Algorithm {algorithm} is incompatible with key spec {spec}."),
    ))
}

/// The spec of a key.
fn spec(key: &KeyEntry) -> Result<&'static Spec, KmsError> {
    let unknown = || crate::engine::internal("the key's spec is not known here");
    Spec::of(&key.record.spec).ok_or_else(unknown)
}

/// Refuses a key whose deletion is pending.
fn stays(key: &KeyEntry) -> Result<(), KmsError> {
    match key.record.state {
        KeyState::PendingDeletion | KeyState::PendingReplicaDeletion => usable(key),
        _ => Ok(()),
    }
}

/// The material of a key that has one version.
fn only_material(view: &View<'_>, key: &KeyEntry) -> Result<Arc<SecretBytes>, KmsError> {
    view.material(&key.arn, key.record.current_version())
}

fn invalid(message: impl Into<String>) -> KmsError {
    KmsError::new(ErrorCode::Validation, message)
}

/// `UnsupportedOperationException`, which tells no more.
fn unsupported() -> KmsError {
    KmsError {
        code: ErrorCode::UnsupportedOperation,
        message: None,
    }
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
            resource: Resource::key(&key),
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
    pub(crate) fn account<O: Operation>(view: &View<'_>) -> Self {
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

/// What tags of a new key need besides: TagResource, by a policy that is about no key in particular.
fn tagged(tags: &[Tag], home: &Home) -> Option<Access> {
    (!tags.is_empty()).then(|| Access {
        action: Action::of::<TagResourceRequest>(),
        resource: Resource::AnyKey(home.clone()),
    })
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

/// Refuses a key whose material is of another origin.
fn of_origin(key: &KeyEntry, origin: &str) -> Result<(), KmsError> {
    if key.record.origin == origin {
        return Ok(());
    }
    let (arn, own) = (&key.arn, &key.record.origin);
    Err(KmsError::new(
        ErrorCode::UnsupportedOperation,
        format!("{arn} origin is {own} which is not valid for this operation."),
    ))
}

/// Refuses a replica.
fn is_primary(key: &KeyEntry) -> Result<(), KmsError> {
    match key.record.is_primary() {
        true => Ok(()),
        false => Err(not_primary(key)),
    }
}

fn not_primary(key: &KeyEntry) -> KmsError {
    KmsError::new(
        ErrorCode::UnsupportedOperation,
        format!("{} is not a multi-region primary key.", key.arn),
    )
}

/// A change that writes `record` as JSON.
pub(crate) fn put<T: Serialize>(
    key: String,
    expect: Expect,
    record: &T,
) -> Result<Change, KmsError> {
    let body = serde_json::to_vec(record).map_err(crate::engine::internal)?;
    Ok(Change {
        key,
        expect,
        body: Some(SecretBytes::new(body)),
    })
}

/// A page of a list, and the marker of the next one.
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

/// Which page is asked for.
struct PageAsked {
    /// The name of the last item of the page before.
    after: Option<String>,
    /// The most items.
    limit: usize,
}

impl PageAsked {
    /// # Errors
    /// `InvalidMarkerException` for a text that never was a marker.
    fn of(
        marker: Option<&str>,
        limit: Option<i64>,
        limit_default: usize,
    ) -> Result<Self, KmsError> {
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        Ok(Self {
            after: marker.map(name_in).transpose()?,
            limit: limit.unwrap_or(limit_default),
        })
    }

    /// The page, out of `items`. `name_of` gives the text that names an item, by which they are in order.
    /// Nothing is kept for a marker: it holds the name of the last item of its page, so that it leads on
    /// when that one is gone.
    fn out_of<T>(self, items: Vec<T>, name_of: impl Fn(&T) -> String) -> Page<T> {
        let Self { after, limit } = self;
        let is_after = |item: &T| after.as_ref().is_none_or(|after| name_of(item) > *after);
        // One more tells whether there is another page.
        let mut items: Vec<T> = items.into_iter().filter(is_after).take(limit + 1).collect();
        let mut next = None;
        if items.len() > limit {
            items.truncate(limit);
            let last = items.last().map(name_of);
            next = last.map(|last| STANDARD.encode([MARKER, last.as_bytes()].concat()));
        }
        Page { items, next }
    }
}

/// One page of `items`: those after `marker`, at most `limit`. See [`PageAsked::out_of`].
fn paginate<T>(
    items: Vec<T>,
    name_of: impl Fn(&T) -> String,
    marker: Option<&str>,
    limit: Option<i64>,
    limit_default: usize,
) -> Result<Page<T>, KmsError> {
    Ok(PageAsked::of(marker, limit, limit_default)?.out_of(items, name_of))
}

/// What a marker begins with, in base64.
const MARKER: &[u8] = b"waxseal-marker/1/";

/// The name in a marker; a text that never was one is refused.
fn name_in(marker: &str) -> Result<String, KmsError> {
    let bytes = STANDARD.decode(marker).ok();
    let name = bytes
        .as_deref()
        .and_then(|bytes| bytes.strip_prefix(MARKER));
    let name = name.and_then(|name| String::from_utf8(name.to_vec()).ok());
    name.ok_or_else(|| KmsError::new(ErrorCode::InvalidMarker, "The marker is not valid."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_join_to_the_whole() {
        let items: Vec<String> = (0..7).map(|n| format!("item{n}")).collect();
        let (mut seen, mut marker) = (Vec::new(), None);
        loop {
            let page = paginate(
                items.clone(),
                String::clone,
                marker.as_deref(),
                Some(3),
                100,
            );
            let page = page.unwrap();
            assert!(page.items.len() <= 3);
            seen.extend(page.items);
            marker = page.next;
            if marker.is_none() {
                break;
            }
        }
        assert_eq!(seen, items);
    }

    #[test]
    fn what_never_was_a_marker_is_refused() {
        let items = vec!["item".to_owned()];
        for marker in [
            "",
            "bad-marker",
            "item",
            "aXRlbQ==",
            "d2F4c2VhbC1tYXJrZXIvMS//",
        ] {
            let page = paginate(items.clone(), String::clone, Some(marker), None, 100);
            let error = page.map(|page| page.items).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidMarker, "{marker}");
        }
    }
}
