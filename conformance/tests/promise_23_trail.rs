//! A record that was altered, removed, inserted or moved is found, in the log and in the trail, and the
//! first one that does not hold is named; a day that nobody touched is valid.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failed expectation is the point"
)]

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use time::Duration;
use waxseal_conformance::engines::{Hands, home, parts};
use waxseal_conformance::{Dice, campaign, promise};
use waxseal_core::crypto::rsa::RsaVerifyingKey;
use waxseal_kms::audit::{self, AuditLog, Checkpoint, SignedCheckpoint, VerifyError};
use waxseal_kms::engine::{Engine, Parts};
use waxseal_kms::request::Caller;
use waxseal_kms::store::MemoryStore;
use waxseal_kms::trail;
use waxseal_kms_api::op::{CreateKeyRequest, ListKeysRequest};

const HOURS: u32 = 24;
/// About seven records.
const SEGMENT_BYTES: u64 = 6_000;
const MUTATIONS_OF_THE_LOG: usize = 7_000;
const MUTATIONS_OF_THE_TRAIL: usize = 3_000;

/// A day of a KMS with several accounts and Regions.
struct Day {
    folder: tempfile::TempDir,
    engine: Engine,
    clock: Arc<Hands>,
    keys: Vec<RsaVerifyingKey>,
    checkpoint: Checkpoint,
}

impl Day {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(Hands::default());
        // Over midnight.
        clock.pass(Duration::hours(8));
        let log = AuditLog::open(&folder.path().join("audit")).unwrap();
        let log = log.with_segment_bytes_max(SEGMENT_BYTES);
        let engine = Engine::new(Parts {
            clock: clock.clone(),
            ..parts(MemoryStore::new(), log)
        })
        .unwrap();
        engine.deliver().unwrap();
        for hour in 0..HOURS {
            for region in ["local", "eu-west-1"] {
                for account in ["000000000000", "111122223333"] {
                    let caller = || Caller::owner(&home(region, account), "day");
                    let list = ListKeysRequest::default();
                    let asked = engine.by_caller(caller(), region, list).unwrap();
                    engine.call(asked).unwrap();
                    if hour % 6 == 0 {
                        let create = CreateKeyRequest::default();
                        let asked = engine.by_caller(caller(), region, create).unwrap();
                        engine.call(asked).unwrap();
                    }
                }
            }
            clock.pass(Duration::HOUR);
            assert!(engine.deliver().unwrap());
            engine.pack_log().unwrap();
        }
        let keys = engine.digest_public_keys().unwrap();
        let note = engine.checkpoint(None).unwrap();
        let checkpoint_key = engine.checkpoint_public_key().unwrap().unwrap();
        let checkpoint = SignedCheckpoint::parse(&note).unwrap();
        Self {
            folder,
            engine,
            clock,
            keys: keys
                .iter()
                .map(|key| RsaVerifyingKey::from_der(key).unwrap())
                .collect(),
            checkpoint: checkpoint.verified(&checkpoint_key).unwrap(),
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("audit")
    }

    fn trail(&self) -> PathBuf {
        self.log().join(trail::FOLDER)
    }

    /// What is wrong with the log: the record, where one is named.
    fn log_is_wrong(&self) -> Option<u64> {
        match audit::verify(&self.log()) {
            Err(VerifyError::Broken(broken)) => Some(broken.sequence),
            Err(error) => panic!("{error}"),
            Ok(_) => self
                .checkpoint
                .check(&self.log())
                .err()
                .map(|_| self.checkpoint.records),
        }
    }

    fn trail_is_wrong(&self) -> bool {
        match trail::verify(&self.trail(), &self.keys) {
            Ok(verified) => {
                (verified.records, verified.head) != (self.checkpoint.records, self.checkpoint.head)
            }
            Err(_) => true,
        }
    }
}

/// All files below a folder, by their content.
fn files(folder: &Path, is_wanted: fn(&str) -> bool) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => left.push(path),
                false if is_wanted(path.to_str().unwrap()) => {
                    found.insert(path.clone(), fs::read(&path).unwrap());
                }
                false => {}
            }
        }
    }
    found
}

fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut content).ok()?;
    Some(content)
}

fn packed(content: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    out.write_all(content).unwrap();
    out.finish().unwrap()
}

fn below(dice: &mut Dice, end: usize) -> usize {
    usize::try_from(dice.below(end as u64)).unwrap()
}

fn flipped(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let place = below(dice, bytes.len());
    bytes[place] ^= 1 << below(dice, 8);
    bytes
}

/// A segment, bent in its lines: its new content, and the first line of it that cannot hold any more.
fn bent_lines(content: &[u8], dice: &mut Dice) -> (Vec<u8>, usize) {
    let mut lines: Vec<&[u8]> = content.split_inclusive(|byte| *byte == b'\n').collect();
    let line = below(dice, lines.len());
    let altered;
    let first = match below(dice, 5) {
        0 => {
            lines.remove(line);
            line
        }
        1 => {
            let copy = lines[below(dice, lines.len())];
            lines.insert(line, copy);
            line
        }
        2 => {
            let other = (line + 1 + below(dice, lines.len() - 1)) % lines.len();
            lines.swap(line, other);
            line.min(other)
        }
        _ => {
            altered = flipped(&lines[line][..lines[line].len() - 1], dice);
            lines[line] = &altered;
            let mut all: Vec<u8> = lines[..=line].concat();
            all.push(b'\n');
            all.extend(lines[line + 1..].concat());
            return (all, line);
        }
    };
    (lines.concat(), first)
}

#[test]
fn every_mutation_is_found() {
    let day = Day::new();
    let verified = audit::verify(&day.log()).unwrap();
    assert_eq!(day.log_is_wrong(), None);
    let sound = trail::verify(&day.trail(), &day.keys).unwrap();
    assert_eq!(sound.digests, u64::from(HOURS));
    assert_eq!(sound.records, verified.records);
    assert!(!day.trail_is_wrong());

    let (mut dice, seed) = Dice::new(23);
    println!("seed {seed}");
    let log = mutations_of_the_log(&day, &mut dice, campaign(MUTATIONS_OF_THE_LOG));
    let trail = mutations_of_the_trail(&day, &mut dice, campaign(MUTATIONS_OF_THE_TRAIL));
    assert_eq!(day.log_is_wrong(), None);
    assert!(!day.trail_is_wrong());
    promise(
        "23",
        format!(
            "{log} mutations of the log and {trail} of the trail all found, the first bad record named; \
             {HOURS} h of digests over {} records valid",
            verified.records
        ),
    );
}

/// What is old goes once it was shipped, and what is left is verified from there.
#[test]
fn retention_leaves_a_log_that_holds() {
    let day = Day::new();
    let (log, engine) = (day.log(), &day.engine);
    let whole = audit::verify(&log).unwrap();
    day.clock.pass(Duration::days(10));
    assert_eq!(engine.retain_log(5).unwrap(), 0, "nothing was shipped");

    let mut shipped = Vec::new();
    for _ in 0..HOURS / 2 {
        let shipment = engine.next_shipment("s3://one").unwrap().unwrap();
        let signed = [&shipment.signature, &shipment.digest];
        for key in shipment.files.iter().chain(signed) {
            let parcel = engine.parcel(key).unwrap();
            assert_eq!(parcel.content, fs::read(day.trail().join(key)).unwrap());
            assert_eq!(
                parcel.metadata.len(),
                if *key == shipment.digest { 2 } else { 0 }
            );
        }
        engine.note_shipped("s3://one", &shipment).unwrap();
        shipped.push(shipment);
    }
    assert!(shipped.is_sorted_by(|one, other| one.digest < other.digest));
    assert_eq!(
        engine.next_shipment("s3://two").unwrap().as_ref(),
        shipped.first()
    );
    assert_eq!(engine.retain_log(11).unwrap(), 0, "nothing is as old");
    let removed = engine.retain_log(5).unwrap();
    assert!(removed > 2);
    assert_eq!(engine.retain_log(5).unwrap(), 0);

    let kept = audit::verify(&log).unwrap();
    assert_eq!((kept.records, kept.head), (whole.records, whole.head));
    assert_eq!(kept.segments, whole.segments - removed as u64);
    assert!(kept.removed > 0);
    let digest = shipped.last().unwrap();
    let delivered = trail::verify(&day.trail(), &day.keys).unwrap().records;
    assert!(kept.removed < delivered, "{digest:?}");
    assert_eq!(
        audit::records(&log).next().unwrap().unwrap().sequence,
        kept.removed + 1
    );
    let key = engine.checkpoint_public_key().unwrap().unwrap();
    let note = fs::read_to_string(log.join(audit::BEGIN_FILE)).unwrap();
    let begin = SignedCheckpoint::parse(&note).unwrap();
    assert_eq!(
        begin.clone().verified(&key.for_begin()).unwrap().records,
        kept.removed
    );
    assert!(begin.verified(&key).is_err(), "it is no checkpoint");

    // A crash kept one of them from being removed; it is not of the log any more, and goes.
    let left = log.join(format!("{:020}.jsonl", 1));
    fs::write(&left, b"left").unwrap();
    assert_eq!(audit::verify(&log).unwrap(), kept);
    assert_eq!(engine.retain_log(5).unwrap(), 1);
    // One more is missing; or nothing says where the log begins.
    let first = files(&log, |name| name.contains(".jsonl"))
        .into_iter()
        .next()
        .unwrap();
    fs::remove_file(&first.0).unwrap();
    assert_eq!(day.log_is_wrong(), Some(kept.removed + 1));
    fs::write(&first.0, &first.1).unwrap();
    fs::remove_file(log.join(audit::BEGIN_FILE)).unwrap();
    assert_eq!(day.log_is_wrong(), Some(1));
}

fn mutations_of_the_log(day: &Day, dice: &mut Dice, count: usize) -> usize {
    let segments = files(&day.log(), |name| name.contains(".jsonl"));
    let paths: Vec<&PathBuf> = segments.keys().collect();
    assert!(
        paths
            .iter()
            .any(|path| path.extension().is_some_and(|end| end == "gz"))
    );
    let first_of = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name[..20].parse::<u64>().unwrap()
    };
    let mut done = 0;
    while done < count {
        let index = below(dice, paths.len());
        let (path, bytes) = (paths[index], &segments[paths[index]]);
        let is_packed = path.extension().is_some_and(|end| end == "gz");
        let content = match is_packed {
            true => unpacked(bytes).unwrap(),
            false => bytes.clone(),
        };
        let first = first_of(path);
        let last = paths
            .get(index + 1)
            .map_or(day.checkpoint.records, |next| first_of(next) - 1);
        // The earliest and the latest record that may be named.
        let mut named = first.saturating_sub(1).max(1)..=last + 1;
        match below(dice, 10) {
            0 => fs::remove_file(path).unwrap(),
            1 if is_packed => {
                let tail: &[u8] = [&b"\0"[..], b"x", bytes.as_slice()][below(dice, 3)];
                fs::write(path, [bytes, tail].concat()).unwrap();
            }
            2 if is_packed => fs::write(path, &bytes[..below(dice, bytes.len())]).unwrap(),
            3 | 4 if is_packed => {
                let bent = flipped(bytes, dice);
                if unpacked(&bent).as_deref() == Some(&content) {
                    // Bits that mean nothing: they change no record.
                    continue;
                }
                fs::write(path, bent).unwrap();
            }
            _ => {
                let (bent, line) = bent_lines(&content, dice);
                if bent == content {
                    continue;
                }
                let record = first + line as u64;
                // What makes a line another's successor is told of the one before as well; and of a line
                // that is there twice, the second is too much.
                named = record.saturating_sub(1).max(1)..=record + 1;
                fs::write(path, if is_packed { packed(&bent) } else { bent }).unwrap();
            }
        }
        let found = day.log_is_wrong();
        assert!(
            found.is_some_and(|record| named.contains(&record)),
            "{path:?}: {found:?} is not in {named:?}"
        );
        fs::write(path, bytes).unwrap();
        done += 1;
    }
    done
}

fn mutations_of_the_trail(day: &Day, dice: &mut Dice, count: usize) -> usize {
    let objects = files(&day.trail(), |name| name.contains(".json.gz"));
    let paths: Vec<&PathBuf> = objects.keys().collect();
    let mut done = 0;
    while done < count {
        let path = paths[below(dice, paths.len())];
        let bytes = &objects[path];
        let content = unpacked(bytes);
        match below(dice, 6) {
            0 => fs::remove_file(path).unwrap(),
            1 => fs::write(path, [bytes.as_slice(), b"\0"].concat()).unwrap(),
            2 => {
                let bent = flipped(bytes, dice);
                if content.is_some() && unpacked(&bent) == content {
                    continue;
                }
                fs::write(path, bent).unwrap();
            }
            3 => {
                let other = paths[below(dice, paths.len())];
                if objects[other] == *bytes {
                    continue;
                }
                fs::write(path, &objects[other]).unwrap();
            }
            4 => {
                let extra = path.with_file_name("extra.json.gz");
                fs::write(&extra, packed(b"{\"Records\":[]}")).unwrap();
                assert!(day.trail_is_wrong(), "{extra:?}");
                fs::remove_file(extra).unwrap();
                done += 1;
                continue;
            }
            _ => {
                let Some(content) = content else { continue };
                fs::write(path, packed(&flipped(&content, dice))).unwrap();
            }
        }
        assert!(day.trail_is_wrong(), "{path:?}");
        fs::write(path, bytes).unwrap();
        done += 1;
    }
    done
}
