//! The buckets that digests name. A digest is bound to the bucket it was delivered to, so one that was
//! named before keeps what was delivered then: the next digest names the new one, and the bucket of the
//! one before (`previousDigestS3Bucket`). The store knows them, so that every process says the same.

use super::{MINUTE_CHARS, STATE_DOCUMENT, State, compact};
use crate::engine::{Engine, internal};
use crate::op;
use crate::store::Expect;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use waxseal_core::bucket::BucketName;
use waxseal_kms_api::KmsError;
use waxseal_kms_api::members::Members;

const DOCUMENT: &str = "trail/buckets";
/// The bucket's name, unless somebody says another one.
const DEFAULT: &str = "waxseal-trail";

/// A bucket of digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Bucket {
    name: String,
    /// Digests that end after this are in it, in seconds since 1970.
    after: Option<i64>,
}

/// All of them, the oldest first: one at least.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Buckets(Vec<Bucket>);

impl Default for Buckets {
    fn default() -> Self {
        Self::one(DEFAULT)
    }
}

/// The bucket of digests from before there was a choice.
pub(super) fn first() -> String {
    DEFAULT.to_owned()
}

impl Buckets {
    fn one(name: &str) -> Self {
        Self(vec![Bucket {
            name: name.to_owned(),
            after: None,
        }])
    }

    /// The one that the next digest names.
    pub(crate) fn current(&self) -> &str {
        self.0.last().map_or(DEFAULT, |bucket| &bucket.name)
    }

    /// Whether there are digests of this one, or will be.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|bucket| bucket.name == name)
    }

    /// The one that an object was delivered to, by the time in its name.
    pub(super) fn of_object(&self, key: &str) -> &str {
        let Some(minute) = minute(key) else {
            return self.current();
        };
        let is_in = |bucket: &&Bucket| {
            bucket
                .after
                .and_then(moment)
                .is_none_or(|end| *minute > *end)
        };
        let found = self.0.iter().rev().find(is_in);
        found.map_or(DEFAULT, |bucket| &bucket.name)
    }

    /// The same, with `name` for all digests that end after `end`, which is that of the last one.
    fn changed(&self, name: &str, end: i64) -> Self {
        let mut buckets = self.0.clone();
        // One that got nothing meanwhile is none.
        buckets.retain(|bucket| bucket.after.is_none_or(|after| after < end));
        if buckets.last().is_none_or(|last| last.name != name) {
            buckets.push(Bucket {
                name: name.to_owned(),
                after: Some(end),
            });
        }
        Self(buckets)
    }
}

/// `20260131T2300`
fn moment(seconds: i64) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    Some(compact(time)[..MINUTE_CHARS].to_owned())
}

/// The minute in an object's name: where its digest ends.
fn minute(key: &str) -> Option<&str> {
    let (_, name) = key.rsplit_once('/')?;
    let is_time = |part: &&str| {
        part.bytes().enumerate().all(|(at, byte)| match at {
            8 => byte == b'T',
            _ => byte.is_ascii_digit(),
        })
    };
    let mut parts = name.rsplit('_').filter_map(|part| part.get(..MINUTE_CHARS));
    parts.find(is_time)
}

impl Engine {
    /// The bucket that the next digest names: `aws cloudtrail validate-logs` finds it in one of this name.
    ///
    /// # Errors
    /// `KMSInternalException` when the store cannot be read.
    pub fn trail_bucket(&self) -> Result<String, KmsError> {
        Ok(self.trail_buckets()?.current().to_owned())
    }

    /// All buckets that digests name.
    pub(crate) fn trail_buckets(&self) -> Result<Buckets, KmsError> {
        let kept = self.kept::<Buckets>(DOCUMENT)?;
        Ok(kept.map(|(_, buckets)| buckets).unwrap_or_default())
    }

    /// Has digests name this bucket from the next one on, and records that, unless they do already.
    ///
    /// # Errors
    /// `KMSInternalException` when log, store or folder cannot be read or written.
    pub fn set_trail_bucket(&self, name: &BucketName) -> Result<(), KmsError> {
        if self.trail_bucket()? == name.as_str() {
            return Ok(());
        }
        // Nothing is delivered meanwhile.
        let _lock = self.trail().wait().map_err(internal)?;
        self.change_itself(|engine| {
            let (expect, buckets) = match engine.kept::<Buckets>(DOCUMENT)? {
                Some((revision, buckets)) => (Expect::Revision(revision), buckets),
                None => (Expect::Absent, Buckets::default()),
            };
            let state = engine.kept::<State>(STATE_DOCUMENT)?;
            let last = state.and_then(|(_, state)| state.previous.map(|_| state.end));
            let changed = match last {
                Some(end) => buckets.changed(name.as_str(), end),
                None => Buckets::one(name.as_str()),
            };
            if changed == buckets {
                return Ok(None);
            }
            let additional = Members::from_iter([("s3BucketName", name.as_str())]);
            let event = engine.event_itself(engine.home(), "UpdateTrail", additional)?;
            let change = op::put(DOCUMENT.to_owned(), expect, &changed)?;
            Ok(Some((vec![change], event)))
        })
        .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600;

    #[test]
    fn objects_stay_in_the_bucket_they_were_delivered_to() {
        let digest = |hour: u32| {
            format!(
                "AWSLogs/1/CloudTrail-Digest/local/1970/01/01/\
                 1_CloudTrail-Digest_local_waxseal_local_19700101T{hour:02}0000Z.json.gz"
            )
        };
        let log = |hour: u32| {
            format!(
                "AWSLogs/1/CloudTrail/local/1970/01/01/1_CloudTrail_local_19700101T{hour:02}00Z_\
                 0000000000000001.json.gz"
            )
        };
        let buckets = Buckets::default()
            .changed("one", 3 * HOUR)
            .changed("two", 5 * HOUR);
        for (hour, name) in [
            (1, DEFAULT),
            (3, DEFAULT),
            (4, "one"),
            (5, "one"),
            (6, "two"),
        ] {
            assert_eq!(buckets.of_object(&digest(hour)), name);
            assert_eq!(buckets.of_object(&log(hour)), name);
            let signature = digest(hour) + ".signature";
            assert_eq!(buckets.of_object(&signature), name);
        }
        assert_eq!(buckets.current(), "two");
        assert_eq!(buckets.of_object("AWSLogs/else.json.gz"), "two");
        assert!(buckets.has("one") && !buckets.has("three"));
    }

    #[test]
    fn a_bucket_that_got_nothing_is_forgotten() {
        let one = Buckets::default().changed("one", HOUR);
        assert_eq!(one.changed("two", HOUR).changed("one", HOUR), one);
        assert_eq!(one.changed(DEFAULT, HOUR), Buckets::default());
        assert!(!one.changed("two", HOUR).has("one"));
    }
}
