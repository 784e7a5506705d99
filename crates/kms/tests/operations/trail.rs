//! The trail: what was recorded is delivered once, in order, under digests that are signed.

use crate::support::{World, refused};
use flate2::read::GzDecoder;
use serde_json::Value;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use waxseal_core::bucket::BucketName;
use waxseal_core::crypto::hash::sha256;
use waxseal_core::crypto::rsa::RsaVerifyingKey;
use waxseal_kms::Engine;
use waxseal_kms::audit::{self, CheckpointError, SignedCheckpoint};
use waxseal_kms::trail;
use waxseal_kms_api::trail::*;
use waxseal_kms_api::{ErrorCode, KmsError};

impl World {
    fn pass(&self, time: time::Duration) {
        *self.clock.0.lock().unwrap() += time;
    }

    fn objects(&self, prefix: &str) -> Vec<String> {
        let (mut keys, mut marker) = (Vec::new(), String::new());
        loop {
            let page = self.page(prefix, &marker, 3).unwrap();
            keys.extend(page.objects.into_iter().map(|object| object.key));
            match page.is_truncated {
                true => marker = keys.last().unwrap().clone(),
                false => break,
            }
        }
        // Each digest has its signature beside it, in its metadata and in no other object's.
        let (signatures, mut objects): (Vec<_>, Vec<_>) =
            keys.into_iter().partition(|key| key.ends_with(SIGNATURE));
        for signature in &signatures {
            let signed = signature.strip_suffix(SIGNATURE).unwrap();
            let text = self.object(signature).unwrap().body.0;
            let metadata = self.object(signed).unwrap().signature.unwrap();
            assert_eq!(text, metadata.as_bytes());
        }
        let digests = objects.iter().filter(|key| key.contains("Digest"));
        assert_eq!(digests.count(), signatures.len());
        objects.sort();
        objects
    }

    fn page(
        &self,
        prefix: &str,
        marker: &str,
        limit: i64,
    ) -> Result<ListObjectsResponse, KmsError> {
        self.call(ListObjectsRequest {
            bucket: "waxseal-trail".to_owned(),
            prefix: prefix.to_owned(),
            marker: marker.to_owned(),
            max_keys: Some(limit),
        })
    }

    fn object(&self, key: &str) -> Result<GetObjectResponse, KmsError> {
        self.call(GetObjectRequest {
            bucket: "waxseal-trail".to_owned(),
            key: key.to_owned(),
        })
    }

    fn json(&self, key: &str) -> (Vec<u8>, Value) {
        let mut bytes = Vec::new();
        let object = self.object(key).unwrap();
        GzDecoder::new(object.body.0.as_slice())
            .read_to_end(&mut bytes)
            .unwrap();
        let value = serde_json::from_slice(&bytes).unwrap();
        (bytes, value)
    }
}

const SIGNATURE: &str = ".signature";
const DIGESTS: &str = "AWSLogs/000000000000/CloudTrail-Digest/local";
const HOUR: time::Duration = time::Duration::HOUR;

#[test]
fn every_record_is_in_one_file_and_every_file_in_one_digest() {
    let world = World::new();
    // 1,800,000,000 is a full hour.
    assert!(!world.engine.deliver().unwrap(), "no hour is over");
    let mut hours = 0;
    for hour in 0..30 {
        for _ in 0..hour % 4 {
            world.symmetric();
        }
        world.pass(HOUR - time::Duration::SECOND);
        assert!(!world.engine.deliver().unwrap());
        world.symmetric();
        world.pass(time::Duration::SECOND);
        assert!(world.engine.deliver().unwrap());
        assert!(!world.engine.deliver().unwrap());
        hours += 1;
    }
    // Nothing happened for a day: one digest tells so.
    world.pass(HOUR * 24);
    assert!(world.engine.deliver().unwrap());
    hours += 1;

    let (mut previous, mut end, mut sequence) = (Value::Null, Value::Null, 0);
    let digests = world.objects(DIGESTS);
    assert_eq!(digests.len(), hours);
    for key in &digests {
        let (bytes, digest) = world.json(key);
        assert_eq!(&digest["digestS3Object"], key.as_str());
        assert_eq!(digest["previousDigestSignature"], previous);
        if !end.is_null() {
            assert_eq!(digest["digestStartTime"], end);
        }
        end = digest["digestEndTime"].clone();
        for file in digest["logFiles"].as_array().unwrap() {
            let (bytes, file_of) = world.json(file["s3Object"].as_str().unwrap());
            assert_eq!(file["hashValue"], hex::encode(sha256(&[&bytes])));
            for record in file_of["Records"].as_array().unwrap() {
                sequence += 1;
                assert_eq!(record["additionalEventData"]["sequence"], sequence);
                assert!(record["eventTime"].as_str() < end.as_str());
            }
        }
        assert_eq!(digest["waxsealLastSequence"], sequence);
        assert!(bytes.starts_with(b"{"));
        previous = world.object(key).unwrap().signature.unwrap().into();
    }
    let last = digests.last().unwrap();
    assert_eq!(world.json(last).1["logFiles"].as_array().unwrap().len(), 0);
    let keys = world.call(ListPublicKeysRequest::default()).unwrap().keys;
    assert_eq!(keys.len(), 1);
    assert_eq!(
        world.json(last).1["digestPublicKeyFingerprint"],
        keys[0].fingerprint
    );
}

#[test]
fn what_a_crash_kept_from_being_noted_is_delivered_again() {
    let world = World::new();
    world.engine.deliver().unwrap();
    world.symmetric();
    world.pass(HOUR);
    let trail = world.directory.path().join("trail");
    // The folder cannot be written: nothing is noted, and nothing lost.
    std::fs::write(&trail, b"in the way").unwrap();
    assert!(world.engine.deliver().is_err());
    std::fs::remove_file(&trail).unwrap();
    // Half of a file that never got its name is passed over, and written anew.
    let day = trail.join("AWSLogs/000000000000/CloudTrail/local/2027/01/15");
    std::fs::create_dir_all(&day).unwrap();
    std::fs::write(day.join("half.json.gz.new"), b"half").unwrap();
    assert!(world.engine.deliver().unwrap());
    let digests = world.objects(DIGESTS);
    assert_eq!(digests.len(), 1);
    assert_eq!(
        world.json(&digests[0]).1["logFiles"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert!(
        world
            .objects("AWSLogs")
            .iter()
            .all(|key| !key.ends_with(".new"))
    );
}

#[test]
fn nothing_beside_the_trail_is_an_object() {
    let world = World::new();
    world.engine.deliver().unwrap();
    world.pass(HOUR);
    world.engine.deliver().unwrap();
    let beside: PathBuf = world.directory.path().join("secret.json.gz");
    std::fs::write(&beside, b"secret").unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    for key in [
        "../secret.json.gz".to_owned(),
        "AWSLogs/../../secret.json.gz".to_owned(),
        path(&beside),
        "lock".to_owned(),
        "./lock".to_owned(),
        format!("{}.new", world.objects(DIGESTS)[0]),
        "absent.json.gz".to_owned(),
    ] {
        assert_eq!(refused(world.object(&key)).0, ErrorCode::NotFound, "{key}");
    }
    let mut request = GetObjectRequest {
        bucket: "other".to_owned(),
        key: "lock".to_owned(),
    };
    assert_eq!(refused(world.call(request)).0, ErrorCode::NoSuchBucket);
    request = GetObjectRequest {
        bucket: "waxseal-trail".to_owned(),
        key: "a b".to_owned(),
    };
    assert_eq!(refused(world.call(request)).0, ErrorCode::Validation);
}

#[test]
fn a_bucket_keeps_what_was_delivered_to_it() {
    let world = World::new();
    let bucket = |engine: &Engine| engine.trail_bucket().unwrap();
    let named = |name: &str| name.parse::<BucketName>().unwrap();
    let listed = |bucket: &str| {
        let request = ListObjectsRequest {
            bucket: bucket.to_owned(),
            ..ListObjectsRequest::default()
        };
        let answer = world.call(request)?;
        let keys = answer.objects.into_iter().map(|object| object.key);
        Ok::<Vec<String>, KmsError>(keys.collect())
    };
    let read = |bucket: &str, key: &str| {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        world.call(GetObjectRequest { bucket, key })
    };
    let deliver = || {
        world.symmetric();
        world.pass(HOUR);
        assert!(world.engine.deliver().unwrap());
    };
    world.engine.deliver().unwrap();
    assert_eq!(bucket(&world.engine), "waxseal-trail");
    deliver();
    deliver();
    world.engine.set_trail_bucket(&named("one")).unwrap();
    world.engine.set_trail_bucket(&named("two")).unwrap();
    world.engine.set_trail_bucket(&named("two")).unwrap();
    assert_eq!(bucket(&world.engine()), "two", "the store says so");
    deliver();
    let described = world.call(DescribeTrailsRequest::default()).unwrap();
    assert_eq!(described.trails[0].bucket, "two");
    assert_eq!(refused(listed("one")).0, ErrorCode::NoSuchBucket);

    let (old, new) = (listed("waxseal-trail").unwrap(), listed("two").unwrap());
    // Of each digest the log, itself and its signature.
    assert_eq!((old.len(), new.len()), (6, 3));
    let digest_of = |bucket: &str, key: &str| -> Value {
        let body = read(bucket, key).unwrap().body.0;
        serde_json::from_reader(GzDecoder::new(body.as_slice())).unwrap()
    };
    let is_digest = |key: &&String| key.contains("Digest") && key.ends_with(".gz");
    let last_old = old.iter().rfind(is_digest).unwrap();
    let first_new = new.iter().find(is_digest).unwrap();
    assert_eq!(
        digest_of("waxseal-trail", last_old)["digestS3Bucket"],
        "waxseal-trail"
    );
    let digest = digest_of("two", first_new);
    assert_eq!(digest["digestS3Bucket"], "two");
    assert_eq!(digest["logFiles"][0]["s3Bucket"], "two");
    assert_eq!(digest["previousDigestS3Bucket"], "waxseal-trail");
    assert_eq!(&digest["previousDigestS3Object"], last_old.as_str());
    assert_eq!(refused(read("two", last_old)).0, ErrorCode::NotFound);
    assert_eq!(
        refused(read("waxseal-trail", first_new)).0,
        ErrorCode::NotFound
    );

    // And back.
    world
        .engine
        .set_trail_bucket(&named("waxseal-trail"))
        .unwrap();
    deliver();
    assert_eq!(listed("waxseal-trail").unwrap().len(), 9);
    assert_eq!(listed("two").unwrap(), new);
    let keys = world.engine.digest_public_keys().unwrap();
    let keys = [RsaVerifyingKey::from_der(&keys[0]).unwrap()];
    let trail = world.directory.path().join(trail::FOLDER);
    assert_eq!(trail::verify(&trail, &keys).unwrap().digests, 4);
    let updates = world.log().matches("\"eventName\":\"UpdateTrail\"").count();
    assert_eq!(updates, 3);
}

#[test]
fn events_are_looked_up_newest_first_and_page_by_page() {
    let world = World::new();
    let key = world.symmetric();
    for _ in 0..7 {
        world.describe(&key).unwrap();
        world.pass(time::Duration::MINUTE);
    }
    let attribute = |name: &str, value: &str| LookupAttribute {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let (mut ids, mut next_token) = (Vec::new(), None);
    loop {
        let page = world
            .call(LookupEventsRequest {
                attributes: vec![attribute("EventName", "DescribeKey")],
                max_results: Some(3),
                next_token,
                ..LookupEventsRequest::default()
            })
            .unwrap();
        assert!(
            page.events
                .is_sorted_by(|one, other| one.time >= other.time)
        );
        ids.extend(page.events.into_iter().map(|event| event.id));
        next_token = page.next_token;
        if next_token.is_none() {
            break;
        }
    }
    assert_eq!(ids.len(), 7);
    let found = |attributes, start_time| {
        let request = LookupEventsRequest {
            attributes,
            start_time,
            ..LookupEventsRequest::default()
        };
        world.call(request).unwrap().events.len()
    };
    assert_eq!(found(vec![attribute("EventId", &ids[2])], None), 1);
    let arn = world.describe(&key).unwrap().arn;
    assert_eq!(found(vec![attribute("ResourceName", &arn)], None), 9);
    assert_eq!(found(vec![attribute("ReadOnly", "false")], None), 1);
    let late = Some(waxseal_kms_api::shape::Timestamp(1_800_000_000.0 + 300.0));
    assert_eq!(found(vec![attribute("EventName", "DescribeKey")], late), 3);
}

#[test]
fn a_log_that_lost_its_end_is_shorter_than_its_checkpoint() {
    let world = World::new();
    let log = world.directory.path();
    for _ in 0..5 {
        world.symmetric();
    }
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = folder.path().join("checkpoint");
    let note = world.engine.checkpoint(Some(&elsewhere)).unwrap();
    assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), note);
    assert_eq!(
        std::fs::read_to_string(log.join("checkpoint")).unwrap(),
        note
    );
    // Nothing came since: nothing is signed.
    world.pass(HOUR);
    assert_eq!(world.engine.checkpoint(Some(&elsewhere)).unwrap(), note);

    let key = world.engine.checkpoint_public_key().unwrap().unwrap();
    let read = || {
        SignedCheckpoint::parse(&note)
            .unwrap()
            .verified(&key)
            .unwrap()
    };
    let records = audit::verify(log).unwrap().records;
    assert_eq!(read().records, records);
    assert_eq!(read().head, audit::verify(log).unwrap().head);
    world.symmetric();
    assert_eq!(read().check(log), Ok(true), "a log may grow");
    assert_ne!(world.engine.checkpoint(Some(&elsewhere)).unwrap(), note);

    let segment = log.join(format!("{:020}.jsonl", 1));
    let sound = std::fs::read_to_string(&segment).unwrap();
    let lines: Vec<&str> = sound.lines().collect();
    let lost = CheckpointError::Lost {
        records,
        time: "2027-01-15T08:00:00Z".to_owned(),
    };
    let cut = |lines: &[&str]| {
        std::fs::write(&segment, lines.join("\n") + "\n").unwrap();
        audit::verify(log).unwrap();
        assert_eq!(read().check(log), Err(lost.clone()));
    };
    let last = usize::try_from(records).unwrap() - 1;
    cut(&lines[..last]);
    let altered = lines[last].replace("\"test\"", "\"tesT\"");
    cut(&[&lines[..last], &[altered.as_str()]].concat());
}
