//! DescribeTrails, ListPublicKeys, LookupEvents; and of S3 GetBucketLocation, ListObjects, GetObject.

use super::{Needs, Perform, invalid};
use crate::audit::{self, Record};
use crate::authorize::{Access, Resource};
use crate::engine::{View, internal};
use crate::request::Done;
use crate::trail::{BUCKET, TRAIL};
use serde_json::Value;
use std::collections::VecDeque;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use waxseal_kms_api::shape::{Blob, Timestamp};
use waxseal_kms_api::trail::*;
use waxseal_kms_api::{Action, ErrorCode, KmsError};

/// The most objects of a page.
const KEYS_MAX: usize = 1_000;
/// The most events of a page.
const EVENTS_MAX: usize = 50;

/// The action that lets somebody do it, on the trail, which is the home account's.
macro_rules! on_trail {
    ($service:literal, $name:literal) => {
        type Target = ();
        const MUTATES: bool = false;

        fn needs(&self, view: &View<'_>) -> Result<Needs<()>, KmsError> {
            Ok(Needs {
                target: (),
                accesses: vec![Access {
                    action: Action {
                        service: $service,
                        name: $name,
                    },
                    resource: Resource::Account(view.own_home().clone()),
                }],
            })
        }
    };
}

impl Perform for DescribeTrailsRequest {
    on_trail!("cloudtrail", "DescribeTrails");

    fn run(self, (): (), view: &View<'_>) -> Result<Done<DescribeTrailsResponse>, KmsError> {
        Ok(Done::read(DescribeTrailsResponse {
            trails: vec![Trail {
                name: TRAIL.to_owned(),
                bucket: BUCKET.to_owned(),
                arn: view.engine().trail_arn(),
                home_region: view.own_home().region.clone(),
                is_multi_region: true,
                validates: true,
                includes_global: true,
                is_organization: false,
            }],
        }))
    }
}

impl Perform for ListPublicKeysRequest {
    on_trail!("cloudtrail", "ListPublicKeys");

    fn run(self, (): (), view: &View<'_>) -> Result<Done<ListPublicKeysResponse>, KmsError> {
        let key = view.engine().digest_key()?;
        let keys = key.into_iter().map(|key| PublicKey {
            fingerprint: key.fingerprint(),
            value: Blob(key.public),
            start: Timestamp(key.created as f64),
            // It signs on.
            end: Timestamp(view.seconds()),
        });
        let asked = |key: &PublicKey| self.end_time.is_none_or(|end| key.start.0 <= end.0);
        Ok(Done::read(ListPublicKeysResponse {
            keys: keys.filter(asked).collect(),
        }))
    }
}

impl Perform for LookupEventsRequest {
    on_trail!("cloudtrail", "LookupEvents");

    fn run(self, (): (), view: &View<'_>) -> Result<Done<LookupEventsResponse>, KmsError> {
        let limit = self
            .max_results
            .and_then(|most| usize::try_from(most).ok())
            .unwrap_or(EVENTS_MAX);
        let before = self.next_token.as_deref().map(str::parse::<u64>);
        let before = before
            .transpose()
            .map_err(|_| invalid("The NextToken is not one that was given out."))?;
        // The newest of those that fit, and one more, which says that there are others.
        let mut found: VecDeque<Record> = VecDeque::new();
        for record in audit::records(view.engine().audit_directory()) {
            let record = record.map_err(internal)?;
            if before.is_some_and(|before| record.sequence >= before) {
                break;
            }
            if self.is_met(&record) {
                found.push_back(record);
                if found.len() > limit + 1 {
                    found.pop_front();
                }
            }
        }
        let has_more = found.len() > limit;
        let page = found.iter().rev().take(limit);
        let next_token = page.clone().next_back().filter(|_| has_more);
        Ok(Done::read(LookupEventsResponse {
            next_token: next_token.map(|record| record.sequence.to_string()),
            events: page.map(event).collect(),
        }))
    }
}

/// What lookups are asked for.
trait Meets {
    fn is_met(&self, record: &Record) -> bool;
}

impl Meets for LookupEventsRequest {
    fn is_met(&self, record: &Record) -> bool {
        let time = seconds(record);
        let is_in_time = self.start_time.is_none_or(|start| time >= start.0)
            && self.end_time.is_none_or(|end| time <= end.0);
        let found = about(record);
        let has = |attribute: &LookupAttribute| {
            let value = &attribute.value;
            let resource = |of: fn(&FoundResource) -> &String| {
                found.resources.iter().any(|one| of(one) == value)
            };
            match attribute.name.as_str() {
                "EventId" => found.id == *value,
                "EventName" => found.name == *value,
                "ReadOnly" => found.read_only == *value,
                "Username" => found.username.as_ref() == Some(value),
                "EventSource" => found.source == *value,
                "AccessKeyId" => found.access_key_id.as_ref() == Some(value),
                "ResourceType" => resource(|one| &one.kind),
                "ResourceName" => resource(|one| &one.name),
                _ => false,
            }
        };
        is_in_time && self.attributes.iter().all(has)
    }
}

fn seconds(record: &Record) -> f64 {
    let time = record.event.get("eventTime").and_then(Value::as_str);
    let time = time.and_then(|time| OffsetDateTime::parse(time, &Rfc3339).ok());
    time.map_or(0.0, |time| time.unix_timestamp() as f64)
}

fn event(record: &Record) -> FoundEvent {
    FoundEvent {
        event: record.line.clone(),
        ..about(record)
    }
}

/// An event, without all of it.
fn about(record: &Record) -> FoundEvent {
    let text = |path: &str| record.event.pointer(path)?.as_str().map(str::to_owned);
    let resources = record.event.get("resources").and_then(Value::as_array);
    let resource = |one: &Value| FoundResource {
        kind: one["type"].as_str().unwrap_or_default().to_owned(),
        name: one["ARN"].as_str().unwrap_or_default().to_owned(),
    };
    let session = || {
        let arn = text("/userIdentity/arn")?;
        Some(arn.rsplit_once('/')?.1.to_owned())
    };
    FoundEvent {
        id: text("/eventID").unwrap_or_default(),
        name: text("/eventName").unwrap_or_default(),
        read_only: record.event["readOnly"].to_string(),
        access_key_id: text("/userIdentity/accessKeyId"),
        time: Timestamp(seconds(record)),
        source: text("/eventSource").unwrap_or_default(),
        username: text("/userIdentity/userName").or_else(session),
        resources: resources.into_iter().flatten().map(resource).collect(),
        event: String::new(),
    }
}

fn is_bucket(name: &str) -> Result<(), KmsError> {
    match name == BUCKET {
        true => Ok(()),
        false => Err(KmsError::new(
            ErrorCode::NoSuchBucket,
            "The specified bucket does not exist",
        )),
    }
}

impl Perform for GetBucketLocationRequest {
    on_trail!("s3", "GetBucketLocation");

    fn run(self, (): (), view: &View<'_>) -> Result<Done<GetBucketLocationResponse>, KmsError> {
        is_bucket(&self.bucket)?;
        let location = view.own_home().region.clone();
        Ok(Done::read(GetBucketLocationResponse { location }))
    }
}

impl Perform for ListObjectsRequest {
    on_trail!("s3", "ListBucket");

    fn run(self, (): (), view: &View<'_>) -> Result<Done<ListObjectsResponse>, KmsError> {
        is_bucket(&self.bucket)?;
        let most = self.max_keys.and_then(|most| usize::try_from(most).ok());
        let most = most.map_or(KEYS_MAX, |most| most.min(KEYS_MAX));
        let engine = view.engine();
        let (objects, is_truncated) = engine.trail_objects(&self.prefix, &self.marker, most)?;
        let objects = objects.into_iter().map(|object| ObjectEntry {
            key: object.key,
            bytes: i64::try_from(object.bytes).unwrap_or(i64::MAX),
        });
        Ok(Done::read(ListObjectsResponse {
            objects: objects.collect(),
            is_truncated,
            bucket: self.bucket,
            prefix: self.prefix,
            marker: self.marker,
        }))
    }
}

impl Perform for GetObjectRequest {
    on_trail!("s3", "GetObject");

    fn run(self, (): (), view: &View<'_>) -> Result<Done<GetObjectResponse>, KmsError> {
        is_bucket(&self.bucket)?;
        let found = view.engine().trail_object(&self.key)?.ok_or_else(|| {
            KmsError::new(ErrorCode::NotFound, "The specified key does not exist.")
        })?;
        Ok(Done::read(GetObjectResponse {
            body: Blob(found.content),
            signature: found.signature,
        }))
    }
}
