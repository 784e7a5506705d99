//! DescribeTrails, ListPublicKeys, LookupEvents; and of S3 GetBucketLocation, ListObjects, GetObject.

use super::{Needs, Perform, invalid};
use crate::audit::{self, AuditError, Go, Needles, Record, SeenResource};
use crate::authorize::{Access, Resource};
use crate::engine::{View, internal};
use crate::request::Done;
use crate::trail::{DigestKey, TRAIL};
use time::OffsetDateTime;
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
                bucket: view.engine().trail_bucket()?,
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
        let now = view.seconds();
        let (start, end) = (self.start_time, self.end_time);
        let start = start.map_or(now, |time| time.0);
        let end = end.map_or(now, |time| time.0);
        if start > end {
            return Err(KmsError::new(
                ErrorCode::InvalidTimeRange,
                "The time range ends before it begins.",
            ));
        }
        let keys = view.engine().digest_keys()?.into_iter();
        let keys = keys.map(|key| public_key(key, now));
        let signed = |key: &PublicKey| key.start.0 <= end && start <= key.end.0;
        Ok(Done::read(ListPublicKeysResponse {
            keys: keys.filter(signed).collect(),
        }))
    }
}

fn public_key(key: DigestKey, now: f64) -> PublicKey {
    let end = match key.is_current {
        // Where nothing was delivered for long it is overdue, and signs on until something is.
        true => now.max(key.until as f64),
        false => key.until as f64,
    };
    PublicKey {
        fingerprint: key.fingerprint(),
        value: Blob(key.public),
        start: Timestamp(key.since as f64),
        end: Timestamp(end),
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
        let mut found: Vec<(u64, FoundEvent)> = Vec::new();
        let (log, before) = (view.engine().audit_directory(), before.unwrap_or(u64::MAX));
        audit::backwards(log, before, 0, &self.needles(), |record| {
            let event = event(&record)?;
            if self.is_met(&event) {
                found.push((record.sequence, event));
            }
            Ok(match found.len() > limit {
                true => Go::Stop,
                false => Go::On,
            })
        })
        .map_err(internal)?;
        let has_more = found.len() > limit;
        found.truncate(limit);
        let last = found.last().filter(|_| has_more);
        Ok(Done::read(LookupEventsResponse {
            next_token: last.map(|(sequence, _)| sequence.to_string()),
            events: found.into_iter().map(|(_, event)| event).collect(),
        }))
    }
}

/// What lookups are asked for.
trait Meets {
    fn needles(&self) -> Needles;
    fn is_met(&self, found: &FoundEvent) -> bool;
}

impl Meets for LookupEventsRequest {
    /// What stands in the line of every event that meets it, word by word.
    fn needles(&self) -> Needles {
        let named = self
            .attributes
            .iter()
            .filter(|attribute| attribute.name != "ReadOnly");
        Needles::of(named.map(|attribute| attribute.value.as_str()))
    }

    fn is_met(&self, found: &FoundEvent) -> bool {
        let time = found.time.0;
        let is_in_time = self.start_time.is_none_or(|start| time >= start.0)
            && self.end_time.is_none_or(|end| time <= end.0);
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

fn event(record: &Record) -> Result<FoundEvent, AuditError> {
    let event = record.glance()?;
    let seconds = event.time().map_or(0, OffsetDateTime::unix_timestamp);
    let resource = |one: SeenResource| FoundResource {
        kind: one.kind,
        name: one.arn,
    };
    let who = event.user_identity;
    let session = |arn: String| Some(arn.rsplit_once('/')?.1.to_owned());
    Ok(FoundEvent {
        id: event.event_id.into_owned(),
        name: event.event_name.into_owned(),
        read_only: event.read_only.to_string(),
        access_key_id: who.access_key_id,
        time: Timestamp(seconds as f64),
        source: event.event_source.into_owned(),
        username: who.user_name.or_else(|| who.arn.and_then(session)),
        resources: event.resources.into_iter().map(resource).collect(),
        event: record.line.clone(),
    })
}

fn is_bucket(view: &View<'_>, name: &str) -> Result<(), KmsError> {
    match view.engine().trail_buckets()?.has(name) {
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
        is_bucket(view, &self.bucket)?;
        let location = view.own_home().region.clone();
        Ok(Done::read(GetBucketLocationResponse { location }))
    }
}

impl Perform for ListObjectsRequest {
    on_trail!("s3", "ListBucket");

    fn run(self, (): (), view: &View<'_>) -> Result<Done<ListObjectsResponse>, KmsError> {
        is_bucket(view, &self.bucket)?;
        let most = self.max_keys.and_then(|most| usize::try_from(most).ok());
        let most = most.map_or(KEYS_MAX, |most| most.min(KEYS_MAX));
        let engine = view.engine();
        let (objects, is_truncated) =
            engine.trail_objects(&self.bucket, &self.prefix, &self.marker, most)?;
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
        is_bucket(view, &self.bucket)?;
        let found = view.engine().trail_object(&self.bucket, &self.key)?;
        let found = found.ok_or_else(|| {
            KmsError::new(ErrorCode::NotFound, "The specified key does not exist.")
        })?;
        Ok(Done::read(GetObjectResponse {
            body: Blob(found.content),
            signature: found.signature,
        }))
    }
}
