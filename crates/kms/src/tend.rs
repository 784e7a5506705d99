//! What comes due by itself: rotation, and the end of a waiting period.

use crate::audit::{Event, Resource};
use crate::engine::{KeyEntry, View};
use crate::model::{KeyRecord, KeyState, MaterialKind, key_document, material_document};
use crate::op;
use crate::request::Change;
use crate::store::Expect;
use serde_json::{Map, json};
use std::sync::Arc;
use waxseal_core::KeyArn;
use waxseal_kms_api::KmsError;

/// Who does it, in the audit log.
const SERVICE: &str = "kms.amazonaws.com";

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Rotation,
    Deletion,
}

/// What is due for a key at `now`, in seconds since 1970. A disabled key is rotated once it is
/// enabled again.
pub(crate) fn what(record: &KeyRecord, now: f64) -> Option<What> {
    match record.state {
        KeyState::PendingDeletion => {
            let is_due = record.deletion.is_some_and(|due| due <= now);
            is_due.then_some(What::Deletion)
        }
        KeyState::Enabled => {
            let is_due = record.next_rotation().is_some_and(|due| due <= now);
            is_due.then_some(What::Rotation)
        }
        _ => None,
    }
}

/// Something that is due.
pub(crate) struct Due {
    pub(crate) what: What,
    pub(crate) arn: KeyArn,
    pub(crate) record: Arc<KeyRecord>,
    pub(crate) revision: u64,
}

impl Due {
    /// The changes that do it.
    pub(crate) fn changes(&self, view: &View<'_>) -> Result<Vec<Change>, KmsError> {
        let key = KeyEntry {
            arn: self.arn.clone(),
            record: self.record.clone(),
            policy: None,
            revision: self.revision,
        };
        match self.what {
            What::Rotation => op::rotated(view, &key, MaterialKind::Automatic),
            What::Deletion => self.removal(view),
        }
    }

    fn removal(&self, view: &View<'_>) -> Result<Vec<Change>, KmsError> {
        let remove = |key, revision| Change {
            key,
            expect: Expect::Revision(revision),
            body: None,
        };
        let (region, id) = (&self.arn.home.region, &self.arn.id);
        let mut changes = vec![remove(key_document(region, id), self.revision)];
        for version in 1..=self.record.current_version() {
            // A material is written once.
            changes.push(remove(material_document(region, id, version), 1));
        }
        for grant in view.grants(&self.arn)? {
            changes.push(remove(grant.document, grant.revision));
        }
        for alias in view.aliases()? {
            if alias.record.target == self.record.id {
                changes.push(remove(view.alias_document(&alias.name), alias.revision));
            }
        }
        Ok(changes)
    }

    /// The record of it.
    pub(crate) fn event(&self, view: &View<'_>, event_id: String, request_id: String) -> Event {
        let (arn, account_id) = (self.arn.to_string(), self.arn.home.account.clone());
        let event_name = match self.what {
            What::Rotation => "RotateKey",
            What::Deletion => "DeleteKey",
        };
        let mut additional = Map::new();
        if self.what == What::Rotation {
            additional.insert("rotationType".to_owned(), json!("AUTOMATIC"));
        }
        Event {
            event_id,
            event_time: view.now,
            event_name: event_name.into(),
            aws_region: self.arn.home.region.clone(),
            account_id: account_id.clone(),
            user_identity: json!({ "type": "AWSService", "invokedBy": SERVICE }),
            source_ip_address: SERVICE.to_owned(),
            user_agent: SERVICE.to_owned(),
            request_id,
            request_parameters: None,
            response_elements: None,
            additional,
            resources: vec![Resource { arn, account_id }],
            read_only: false,
            error: None,
        }
    }
}
