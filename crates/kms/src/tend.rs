//! What comes due by itself: rotation, the end of imported material, and waiting periods.

use crate::audit::{Event, Resource};
use crate::engine::{Engine, KeyEntry, View};
use crate::model::{DAY, KeyRecord, KeyState, MaterialKind, key_document, last_use_document};
use crate::op;
use crate::request::Change;
use crate::store::Expect;
use serde_json::json;
use waxseal_core::KeyArn;
use waxseal_core::arn::Home;
use waxseal_kms_api::KmsError;
use waxseal_kms_api::members::Members;

/// Who does it, in the audit log.
pub(crate) const SERVICE: &str = "kms.amazonaws.com";

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Rotation,
    /// Imported material is removed.
    Expiry,
    /// The last replica is gone: the waiting period of the primary key begins.
    Waiting,
    Deletion,
}

/// What is due for a key. A disabled key is rotated once it is enabled again.
pub(crate) fn what(
    view: &View<'_>,
    key: &KeyArn,
    record: &KeyRecord,
) -> Result<Option<What>, KmsError> {
    let now = view.steady_seconds();
    let is_due = |time: Option<f64>| time.is_some_and(|due| due <= now);
    Ok(match record.state {
        KeyState::PendingDeletion if is_due(record.deletion) => Some(What::Deletion),
        _ if record.without_expired(now).is_some() => Some(What::Expiry),
        KeyState::Enabled if is_due(record.next_rotation()) => Some(What::Rotation),
        KeyState::PendingReplicaDeletion if view.siblings(key)?.is_empty() => Some(What::Waiting),
        _ => None,
    })
}

/// Something that is due.
pub(crate) struct Due {
    pub(crate) what: What,
    pub(crate) key: KeyEntry,
}

impl Due {
    /// Whether nothing has to happen first. A key goes from its device before it goes from the store,
    /// or its record would be lost while its material is still there; a device that is not there is
    /// waited for. Nobody can have the key back: its time is over.
    pub(crate) fn is_clear(&self, engine: &Engine) -> Result<bool, KmsError> {
        if self.what != What::Deletion || !self.key.record.is_hosted() {
            return Ok(true);
        }
        op::destroyed(engine, &self.key.record)
    }

    /// The changes that do it.
    pub(crate) fn changes(&self, view: &View<'_>) -> Result<Vec<Change>, KmsError> {
        match self.what {
            What::Rotation => op::rotated(view, &self.key, MaterialKind::Automatic),
            What::Deletion => self.removal(view),
            What::Expiry => {
                let Some((versions, record)) =
                    self.key.record.without_expired(view.steady_seconds())
                else {
                    return Ok(Vec::new());
                };
                let mut changes = vec![op::kept(&self.key, &record)?];
                changes.extend(
                    versions
                        .into_iter()
                        .map(|version| op::unkept(&self.key.arn, version)),
                );
                Ok(changes)
            }
            What::Waiting => {
                let mut record = KeyRecord::clone(&self.key.record);
                let days = record.deletion_days.take().unwrap_or_default();
                record.state = KeyState::PendingDeletion;
                record.deletion = Some(view.steady_seconds() + days as f64 * DAY);
                Ok(vec![op::kept(&self.key, &record)?])
            }
        }
    }

    fn removal(&self, view: &View<'_>) -> Result<Vec<Change>, KmsError> {
        let remove = |key, revision| Change {
            key,
            expect: Expect::Revision(revision),
            body: None,
        };
        let (region, id) = (&self.key.arn.home.region, &self.key.arn.id);
        let mut changes = vec![remove(key_document(region, id), self.key.revision)];
        for (version, material) in (1..).zip(&self.key.record.materials) {
            if material.is_here() && !self.key.record.is_hosted() {
                changes.push(op::unkept(&self.key.arn, version));
            }
        }
        if let Some(used) = view.engine().document(&last_use_document(region, id))? {
            changes.push(remove(used.key, used.revision));
        }
        for grant in view.grants(&self.key.arn)?.iter() {
            changes.push(remove(grant.document.clone(), grant.revision));
        }
        for alias in view.aliases()? {
            if alias.record.target == self.key.record.id {
                changes.push(remove(view.alias_document(&alias.name), alias.revision));
            }
        }
        Ok(changes)
    }

    /// The record of it.
    pub(crate) fn event(&self, view: &View<'_>, event_id: String, request_id: String) -> Event<'_> {
        let Home {
            region, account, ..
        } = &self.key.arn.home;
        let event_name = match self.what {
            What::Rotation => "RotateKey",
            What::Expiry => "DeleteExpiredKeyMaterial",
            What::Waiting => "ScheduleKeyDeletion",
            What::Deletion => "DeleteKey",
        };
        let mut additional = Members::new();
        if self.what == What::Rotation {
            additional.insert("rotationType", "AUTOMATIC");
        }
        Event {
            event_id: event_id.into(),
            event_time: view.now,
            event_source: "kms.amazonaws.com".into(),
            event_name: event_name.into(),
            aws_region: region.into(),
            account_id: account.into(),
            user_identity: json!({ "type": "AWSService", "invokedBy": SERVICE }).into(),
            source_ip_address: SERVICE.into(),
            user_agent: SERVICE.into(),
            request_id: request_id.into(),
            request_parameters: None,
            response_elements: None,
            additional,
            resources: vec![Resource {
                arn: self.key.name.as_ref().into(),
                account_id: account.into(),
            }],
            read_only: false,
            error: None,
        }
    }
}
