//! The chain: whatever is done to a log afterwards, `verify` names the first record it touched.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use time::OffsetDateTime;
use waxseal_kms::audit::{
    AuditError, AuditLog, BrokenRecord, Event, Reason, Receipt, VerifyError, records, verify,
};
use waxseal_kms_api::members::Members;

/// Ten records in segments of three, the first of which are 1, 4, 7 and 10.
struct Log(TempDir);

impl Log {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let one = AuditLog::open(dir.path()).unwrap();
        one.append(&event(0)).unwrap();
        let bytes = fs::metadata(dir.path().join(name(1))).unwrap().len();
        fs::remove_file(dir.path().join(name(1))).unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        let log = log.with_segment_bytes_max(3 * bytes + bytes / 2);
        for number in 1..=10 {
            log.append(&event(number)).unwrap();
        }
        let this = Self(dir);
        assert_eq!(this.segments(), [name(1), name(4), name(7), name(10)]);
        this
    }

    fn path(&self, first: u64) -> PathBuf {
        self.0.path().join(name(first))
    }

    fn segments(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "lock")
            .collect();
        names.sort_unstable();
        names
    }

    /// Changes the lines of a segment.
    fn edit(&self, first: u64, change: impl FnOnce(&mut Vec<String>)) {
        let text = fs::read_to_string(self.path(first)).unwrap();
        let mut lines = text.lines().map(str::to_owned).collect();
        change(&mut lines);
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(self.path(first), text).unwrap();
    }

    fn broken(&self) -> BrokenRecord {
        match verify(self.0.path()) {
            Err(VerifyError::Broken(broken)) => broken,
            other => panic!("{other:?}"),
        }
    }

    fn check(&self, first: u64, line: u64, sequence: u64, reason: Reason) {
        let segment = name(first);
        let expected = BrokenRecord {
            segment,
            line,
            sequence,
            reason,
        };
        assert_eq!(self.broken(), expected);
    }
}

#[test]
fn an_untouched_log_verifies() {
    let log = Log::new();
    let verified = verify(log.0.path()).unwrap();
    assert_eq!((verified.records, verified.segments), (10, 4));
    assert_eq!(verified.torn_tail, None);
    assert_eq!(verify(log.0.path()).unwrap().head, verified.head);
    let empty = tempfile::tempdir().unwrap();
    let verified = verify(empty.path()).unwrap();
    assert_eq!((verified.records, verified.segments), (0, 0));
    assert_eq!(verified.head, [0; 32]);
    let missing = verify(&empty.path().join("none")).unwrap_err();
    assert!(matches!(missing, VerifyError::Unreadable(_)));
}

#[test]
fn records_are_read_back_in_order() {
    let log = Log::new();
    let read: Vec<_> = records(log.0.path()).map(Result::unwrap).collect();
    assert_eq!(read.len(), 10);
    for (index, record) in read.iter().enumerate() {
        let number = index as u64 + 1;
        assert_eq!(record.sequence, number);
        assert_eq!(record.event().unwrap()["eventID"], id(number));
        assert_eq!(
            record.event().unwrap()["additionalEventData"]["sequence"],
            number
        );
        assert_eq!(
            record.event().unwrap(),
            serde_json::from_str::<serde_json::Value>(&record.line).unwrap()
        );
    }
    log.edit(4, |lines| lines[1] = "{}".into());
    let read: Vec<_> = records(log.0.path()).collect();
    assert_eq!(read.len(), 5);
    assert!(matches!(read[4], Err(AuditError::Corrupt { .. })));
    let missing = log.0.path().join("none");
    assert!(matches!(
        records(&missing).next(),
        Some(Err(AuditError::Io { .. }))
    ));
}

#[test]
fn a_changed_value_names_its_record() {
    for (first, line, sequence) in [(1, 1, 1), (1, 3, 3), (4, 1, 4), (7, 3, 9)] {
        let log = Log::new();
        log.edit(first, |lines| {
            let line = &mut lines[line as usize - 1];
            *line = line.replace("alice", "mallo");
        });
        log.check(first, line, sequence, Reason::Altered);
    }
}

#[test]
fn a_changed_link_names_its_record() {
    let log = Log::new();
    let relink = |line: &mut String| {
        let at = line.find("previousHash").unwrap() + 15;
        let other = if &line[at..=at] == "0" { "1" } else { "0" };
        line.replace_range(at..=at, other);
    };
    log.edit(4, |lines| relink(&mut lines[1]));
    log.check(4, 2, 5, Reason::PreviousHash);
    let log = Log::new();
    log.edit(1, |lines| relink(&mut lines[0]));
    log.check(1, 1, 1, Reason::PreviousHash);
    // Nothing vouches for the last record: the one before it is the first in doubt.
    let log = Log::new();
    log.edit(10, |lines| relink(&mut lines[0]));
    log.check(7, 3, 9, Reason::Altered);
}

/// Every byte of every line, all but one bit of it kept. The last record has no successor: what
/// touches only its own values is seen by comparing the head.
#[test]
fn every_byte_counts() {
    let log = Log::new();
    let head = verify(log.0.path()).unwrap().head;
    let (mut sequence, mut unseen) = (0, 0);
    for first in [1, 4, 7, 10] {
        let sound = fs::read(log.path(first)).unwrap();
        let mut damaged = sound.clone();
        sequence = first;
        for place in 0..sound.len() {
            damaged[place] ^= 1 << (place % 8);
            fs::write(log.path(first), &damaged).unwrap();
            damaged[place] = sound[place];
            match verify(log.0.path()) {
                Err(VerifyError::Broken(broken)) if sequence < 10 => {
                    assert_eq!(broken.sequence, sequence, "{place}: {broken}");
                }
                Err(VerifyError::Broken(broken)) => assert!((9..=10).contains(&broken.sequence)),
                Err(error) => panic!("{error}"),
                Ok(verified) => {
                    assert_eq!(sequence, 10);
                    assert!(verified.head != head || verified.torn_tail.is_some());
                    unseen += 1;
                }
            }
            sequence += u64::from(sound[place] == b'\n');
        }
        fs::write(log.path(first), &sound).unwrap();
    }
    assert_eq!(sequence, 11);
    assert!(unseen > 0);
    assert_eq!(verify(log.0.path()).unwrap().head, head);
}

#[test]
fn removed_lines_are_missed() {
    let log = Log::new();
    log.edit(4, |lines| drop(lines.remove(1)));
    log.check(4, 2, 5, Reason::Sequence { found: 6 });
    let log = Log::new();
    log.edit(1, |lines| drop(lines.remove(0)));
    log.check(1, 1, 1, Reason::Sequence { found: 2 });
    // The last line of a segment: the next segment begins too late.
    let log = Log::new();
    log.edit(4, |lines| drop(lines.pop()));
    log.check(7, 1, 6, Reason::SegmentMissing { found: 7 });
}

#[test]
fn inserted_lines_are_seen() {
    let log = Log::new();
    log.edit(4, |lines| lines.insert(1, lines[0].clone()));
    log.check(4, 2, 5, Reason::Sequence { found: 4 });
    // A forged record in the place of another, which is renumbered behind it.
    let log = Log::new();
    log.edit(7, |lines| {
        let forged = lines[1].replace("alice", "mallory");
        let moved = lines[1].replace(r#""sequence":8,"#, r#""sequence":9,"#);
        lines.insert(1, forged);
        lines[2] = moved;
    });
    let broken = log.broken();
    assert_eq!((broken.sequence, broken.reason), (8, Reason::Altered));
    let log = Log::new();
    log.edit(7, |lines| lines.insert(1, String::new()));
    let broken = log.broken();
    assert_eq!((broken.line, broken.sequence), (2, 8));
    assert!(matches!(broken.reason, Reason::Malformed(_)));
    let log = Log::new();
    log.edit(7, |lines| lines.insert(1, "x".repeat(300_000)));
    log.check(7, 2, 8, Reason::TooLong);
}

#[test]
fn swapped_lines_are_seen() {
    let log = Log::new();
    log.edit(4, |lines| lines.swap(0, 2));
    log.check(4, 1, 4, Reason::Sequence { found: 6 });
}

#[test]
fn missing_segments_are_missed() {
    for (first, next) in [(1, 4), (4, 7), (7, 10)] {
        let log = Log::new();
        fs::remove_file(log.path(first)).unwrap();
        log.check(next, 1, first, Reason::SegmentMissing { found: next });
    }
}

#[test]
fn renamed_segments_are_seen() {
    let log = Log::new();
    fs::rename(log.path(4), log.path(5)).unwrap();
    log.check(5, 1, 4, Reason::SegmentMissing { found: 5 });
    let log = Log::new();
    fs::rename(log.path(7), log.path(11)).unwrap();
    log.check(10, 1, 7, Reason::SegmentMissing { found: 10 });
    let log = Log::new();
    let (four, seven) = (
        fs::read(log.path(4)).unwrap(),
        fs::read(log.path(7)).unwrap(),
    );
    fs::write(log.path(4), seven).unwrap();
    fs::write(log.path(7), four).unwrap();
    log.check(4, 1, 4, Reason::Sequence { found: 7 });
    let log = Log::new();
    fs::rename(log.path(10), log.0.path().join("old.jsonl")).unwrap();
    let broken = log.broken();
    assert_eq!(broken.sequence, 10);
    assert_eq!(broken.reason, Reason::StrayFile("old.jsonl".into()));
}

#[test]
fn segments_that_end_early_are_seen() {
    let log = Log::new();
    let bytes = fs::read(log.path(4)).unwrap();
    fs::write(log.path(4), &bytes[..bytes.len() - 1]).unwrap();
    log.check(4, 3, 6, Reason::Unfinished);
    let read: Vec<_> = records(log.0.path()).collect();
    assert!(matches!(read.last(), Some(Err(AuditError::Corrupt { .. }))));
}

/// Nothing in the log shows that it was longer. Its head does, and so does a handle that was open.
#[test]
fn a_shorter_log_needs_a_memory() {
    let log = Log::new();
    let open = AuditLog::open(log.0.path()).unwrap();
    open.append(&event(11)).unwrap();
    let head = verify(log.0.path()).unwrap().head;
    log.edit(10, |lines| drop(lines.pop()));
    let verified = verify(log.0.path()).unwrap();
    assert_eq!(verified.records, 10);
    assert_ne!(verified.head, head);
    let (found, known) = (11, 11);
    let error = open.append(&event(12)).unwrap_err();
    assert_eq!(error, AuditError::RolledBack { found, known });
    fs::remove_file(log.path(10)).unwrap();
    assert_eq!(verify(log.0.path()).unwrap().records, 9);
    let (found, known) = (10, 11);
    let error = open.append(&event(12)).unwrap_err();
    assert_eq!(error, AuditError::RolledBack { found, known });
}

#[test]
fn a_torn_tail_is_cut_off_and_the_chain_goes_on() {
    let sound = Log::new();
    let line = fs::read(sound.path(10)).unwrap();
    for torn in 1..line.len() {
        let log = Log::new();
        let mut bytes = line.clone();
        bytes.extend_from_slice(&line[..torn]);
        fs::write(log.path(10), &bytes).unwrap();
        let verified = verify(log.0.path()).unwrap();
        assert_eq!(verified.records, 10);
        assert_eq!(verified.torn_tail.unwrap().bytes, torn as u64);
        assert_eq!(records(log.0.path()).filter(|r| r.is_ok()).count(), 10);
        let open = AuditLog::open(log.0.path()).unwrap();
        assert_eq!(open.append(&event(11)), Ok(Receipt { sequence: 11 }));
        let verified = verify(log.0.path()).unwrap();
        assert_eq!((verified.records, verified.torn_tail), (11, None));
        if torn > 20 && torn < line.len() - 20 && torn % 40 != 0 {
            continue;
        }
        // The first record of a segment, torn.
        let log = Log::new();
        fs::write(log.path(10), &line[..torn]).unwrap();
        let verified = verify(log.0.path()).unwrap();
        assert_eq!((verified.records, verified.segments), (9, 4));
        assert_eq!(verified.torn_tail.unwrap().segment, name(10));
        let open = AuditLog::open(log.0.path()).unwrap();
        assert_eq!(open.append(&event(10)), Ok(Receipt { sequence: 10 }));
        assert_eq!(verify(log.0.path()).unwrap().records, 10);
    }
}

#[test]
fn nobody_appends_after_damage() {
    let damage: [fn(&Log); 5] = [
        |log| log.edit(10, |lines| lines.push("{}".into())),
        |log| log.edit(10, |lines| lines.push(String::new())),
        |log| log.edit(10, |lines| lines.push("x".repeat(300_000))),
        |log| {
            log.edit(10, |lines| {
                lines[0] = lines[0].replace(r#""sequence":10"#, r#""sequence":9"#);
            });
        },
        |log| {
            fs::write(log.path(10), "").unwrap();
            fs::remove_file(log.path(7)).unwrap();
        },
    ];
    for (number, damage) in damage.iter().enumerate() {
        let log = Log::new();
        damage(&log);
        let before = fs::read(log.path(10)).unwrap();
        let open = AuditLog::open(log.0.path()).unwrap();
        let error = open.append(&event(11)).unwrap_err();
        assert!(
            matches!(error, AuditError::Corrupt { .. }),
            "{number}: {error}"
        );
        assert_eq!(fs::read(log.path(10)).unwrap(), before);
    }
}

#[test]
fn what_was_recorded_is_found() {
    let log = Log::new();
    let open = AuditLog::open(log.0.path()).unwrap();
    let mut held = open.exclusive().unwrap();
    assert_eq!(held.next_sequence(), 11);
    for number in 1..=10 {
        for since in 0..=12 {
            let found = held.contains(since, &id(number)).unwrap();
            assert_eq!(found, since <= number, "{number} since {since}");
        }
    }
    assert!(!held.contains(0, "none").unwrap());
    assert_eq!(held.append(&event(11)), Ok(Receipt { sequence: 11 }));
    assert!(held.contains(11, &id(11)).unwrap());
    assert!(!held.contains(12, &id(11)).unwrap());
    assert_eq!(held.next_sequence(), 12);
    drop(held);
    open.append(&event(12)).unwrap();
    assert_eq!(verify(log.0.path()).unwrap().records, 12);
}

fn name(first: u64) -> String {
    format!("{first:020}.jsonl")
}

fn id(number: u64) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn event(number: u64) -> Event<'static> {
    Event {
        event_id: id(number).into(),
        event_time: OffsetDateTime::from_unix_timestamp(1_420_070_400).unwrap(),
        event_source: "kms.amazonaws.com".into(),
        event_name: "Decrypt".into(),
        aws_region: "eu-west-1".into(),
        account_id: "111122223333".into(),
        user_identity: json!({"type": "IAMUser", "userName": "alice"}).into(),
        source_ip_address: "127.0.0.1".into(),
        user_agent: "test".into(),
        request_id: id(number).into(),
        request_parameters: Some(Members::from_iter([(
            "encryptionAlgorithm",
            "SYMMETRIC_DEFAULT",
        )])),
        response_elements: None,
        additional: Members::new(),
        resources: vec![],
        read_only: true,
        error: None,
    }
}

#[test]
fn files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("audit");
    AuditLog::open(&dir).unwrap().append(&event(1)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("lock")), 0o600);
    assert_eq!(mode(&dir.join(name(1))), 0o600);
    let error = AuditLog::open(&home.path().join("no/audit")).unwrap_err();
    assert!(matches!(
        error,
        AuditError::Io {
            action: "create",
            ..
        }
    ));
}
