//! `waxseal audit`: the log of all key usage of the embedded KMS.

use super::{Session, read_file, ship};
use crate::args::{Audit, AuditFilter};
use crate::embedded;
use crate::failure::{Exit, Failure};
use crate::output::{Content, Output};
use crate::terminal::plain;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use waxseal_core::crypto::hash::sha256;
use waxseal_core::crypto::pem::{PEM_BYTES_MAX, spki_pem};
use waxseal_core::crypto::rsa::RsaVerifyingKey;
use waxseal_kms::audit::{
    AuditError, BEGIN_FILE, CHECKPOINT_BYTES_MAX, CHECKPOINT_FILE, Checkpoint, CheckpointError,
    CheckpointKey, Record, SignedCheckpoint, VerifyError, begin, records_after, verify,
};
use waxseal_kms::home::EmbeddedHome;
use waxseal_kms::trail::{self, TrailError, VerifiedTrail};

const EXPORT_BUFFER_BYTES: usize = 1 << 20;

/// Runs one of the commands.
pub(super) fn run(command: Audit, session: &Session) -> Result<(), Failure> {
    if let Audit::Verify {
        public_key: Some(key),
        trail: Some(folder),
        ..
    } = &command
    {
        let verified = verified_trail(folder, key)?;
        return tell_trail(&verified, session);
    }
    let log = log(session)?;
    match command {
        Audit::List { last, filter } => {
            let last = last.map(|last| usize::from(last.get()));
            list(&log, last, &filter, session)
        }
        Audit::Export {
            output,
            cloudtrail,
            filter,
        } => export(&log, output.as_deref(), cloudtrail, &filter, session),
        Audit::Deliver => deliver(session),
        Audit::Ship { to, retain } => ship::run(&to, retain, session),
        Audit::Checkpoint => checkpoint(session),
        Audit::Verify {
            public_key,
            checkpoint,
            ..
        } => {
            verified(&log, session)?;
            against_begin(&log, public_key.as_deref(), session)?;
            against_checkpoints(&log, checkpoint.as_deref(), public_key.as_deref(), session)?;
            match public_key {
                Some(key) => with_trail(&log, &key, session),
                None => Ok(()),
            }
        }
        Audit::PublicKey => public_key(session),
        Audit::AcceptRollback => accept_rollback(session),
    }
}

fn accept_rollback(session: &Session) -> Result<(), Failure> {
    let world = &session.world;
    // Nothing has opened it before.
    let _ = world.accepts_rollback.set(());
    embedded::open(world)?;
    session.tell(
        "store and audit log are taken as they are",
        || json!({ "together": true }),
    )
}

/// Reading the log opens no key and makes no home.
fn log(session: &Session) -> Result<PathBuf, Failure> {
    let directory = embedded::directory(&session.world)?;
    let log = EmbeddedHome::audit_directory(directory);
    if !log.is_dir() {
        return Err(Failure::configuration(
            format!("there is no audit log in {}", directory.display()),
            "use the embedded KMS once, or set WAXSEAL_HOME to its directory",
        ));
    }
    Ok(log)
}

fn deliver(session: &Session) -> Result<(), Failure> {
    let home = embedded::open(&session.world)?;
    let delivered = home.engine().deliver()?;
    home.engine().pack_log()?;
    let line = match delivered {
        true => "delivered",
        false => "nothing is due: no hour is over since the last digest",
    };
    session.tell(line, || json!({ "delivered": delivered }))
}

fn list(
    log: &Path,
    last: Option<usize>,
    filter: &AuditFilter,
    session: &Session,
) -> Result<(), Failure> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut kept = VecDeque::new();
    for record in filter.wanted().records(log) {
        let record = record.map_err(|error| unreadable(&error))?;
        match last {
            None => tell(&record, session, &mut out)?,
            Some(last) => {
                if kept.len() == last {
                    kept.pop_front();
                }
                kept.push_back(record);
            }
        }
    }
    for record in &kept {
        tell(record, session, &mut out)?;
    }
    out.flush()
        .map_err(|error| Failure::io("write", "stdout", &error))
}

/// Writes what fits, as it stands in the log. The file is old or whole.
fn export(
    log: &Path,
    to: Option<&Path>,
    as_cloudtrail: bool,
    filter: &AuditFilter,
    session: &Session,
) -> Result<(), Failure> {
    let out = Output::open(to, Content::Plaintext, true, None, &session.world)?;
    let name = out.name.clone();
    let failed = |error: std::io::Error| Failure::io("write", &name, &error);
    let mut out = BufWriter::with_capacity(EXPORT_BUFFER_BYTES, out);
    let (begin, between, end) = match as_cloudtrail {
        true => ("{\"Records\":[", ",", "]}"),
        false => ("", "\n", "\n"),
    };
    out.write_all(begin.as_bytes()).map_err(failed)?;
    let mut count = 0_u64;
    for record in filter.wanted().records(log) {
        let record = record.map_err(|error| unreadable(&error))?;
        if count > 0 {
            out.write_all(between.as_bytes()).map_err(failed)?;
        }
        out.write_all(record.line.as_bytes()).map_err(failed)?;
        count += 1;
    }
    if as_cloudtrail || count > 0 {
        out.write_all(end.as_bytes()).map_err(failed)?;
    }
    let out = out.into_inner();
    out.map_err(|error| failed(error.into_error()))?
        .complete()?
        .commit()?;
    session.report.note(&format!("{count} records"));
    Ok(())
}

/// JSON is the record as it stands in the log; words are its main points.
fn tell(record: &Record, session: &Session, out: &mut impl Write) -> Result<(), Failure> {
    let told = match session.report.json {
        true => writeln!(out, "{}", record.line),
        false => {
            let event = record.event().map_err(|error| unreadable(&error))?;
            writeln!(out, "{}", plain(&words(record.sequence, &event)))
        }
    };
    told.map_err(|error| Failure::io("write", "stdout", &error))
}

fn words(sequence: u64, event: &Value) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let keys: Vec<&str> = event["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|resource| resource["ARN"].as_str())
        .collect();
    let context: String = match &event["requestParameters"]["encryptionContext"] {
        Value::Object(pairs) => pairs
            .iter()
            .map(|(name, value)| format!(" {name}={}", value.as_str().unwrap_or_default()))
            .collect(),
        _ => String::new(),
    };
    let outcome = match text("errorCode") {
        "" => "ok",
        code => code,
    };
    let line = format!(
        "{sequence:>6}  {}  {:<20}  {outcome}  {}{context}",
        text("eventTime"),
        text("eventName"),
        keys.join(" "),
    );
    line.trim_end().to_owned()
}

fn verified(log: &Path, session: &Session) -> Result<(), Failure> {
    let verified = verify(log).map_err(|error| match error {
        VerifyError::Unreadable(error) => unreadable(&error),
        broken => Failure::new(
            Exit::Unauthentic,
            broken.to_string(),
            "records from there on cannot be trusted; compare them with a copy kept elsewhere",
        ),
    })?;
    let head = hex::encode(verified.head);
    if session.report.json {
        let value = json!({
            "records": verified.records,
            "removed": verified.removed,
            "segments": verified.segments,
            "head": head,
            "tornTail": verified.torn_tail.is_some(),
        });
        session.report.item(&value, false);
        return Ok(());
    }
    if verified.torn_tail.is_some() {
        session.report.note(
            "the log ends within a record that was never acknowledged, as a crash leaves it; the next writer cuts it off",
        );
    }
    let told = writeln!(
        std::io::stdout().lock(),
        "{} records in {} segments: the chain holds; head {head}",
        verified.records,
        verified.segments,
    );
    told.map_err(|error| Failure::io("write", "stdout", &error))
}

/// That the log begins where the KMS said that it would, once retention removed what was before.
fn against_begin(log: &Path, key: Option<&Path>, session: &Session) -> Result<(), Failure> {
    let Some(begin) = begin(log).map_err(|error| unreadable(&error))? else {
        return Ok(());
    };
    let key = key.map(checkpoint_key).transpose()?.flatten();
    let signature = match key {
        None => "the signature of that was not looked at",
        Some(key) => {
            let forged = |error: CheckpointError| {
                Failure::new(
                    Exit::Unauthentic,
                    format!("{BEGIN_FILE}: {error}"),
                    "somebody else than retention removed the beginning of the log: take it from the trail",
                )
            };
            let text = read_file(&log.join(BEGIN_FILE), CHECKPOINT_BYTES_MAX)?;
            let note = SignedCheckpoint::parse(&String::from_utf8_lossy(&text)).map_err(forged)?;
            note.verified(&key.for_begin()).map_err(forged)?;
            "the signature of that is good"
        }
    };
    session.report.note(&format!(
        "retention removed the records up to {}, at {}; {signature}",
        begin.records, begin.time
    ));
    Ok(())
}

fn checkpoint(session: &Session) -> Result<(), Failure> {
    let note = embedded::open(&session.world)?.engine().checkpoint(None)?;
    if session.report.json {
        session.report.item(&json!({ "checkpoint": note }), false);
        return Ok(());
    }
    let written = std::io::stdout().lock().write_all(note.as_bytes());
    written.map_err(|error| Failure::io("write", "stdout", &error))
}

/// That the log has what its newest checkpoint speaks of, and the one that was kept elsewhere.
fn against_checkpoints(
    log: &Path,
    elsewhere: Option<&Path>,
    key: Option<&Path>,
    session: &Session,
) -> Result<(), Failure> {
    let key = key.map(checkpoint_key).transpose()?.flatten();
    let beside = log.join(CHECKPOINT_FILE);
    let beside = beside.exists().then_some(beside);
    for path in beside.as_deref().into_iter().chain(elsewhere) {
        let name = path.display().to_string();
        let unbelieved = |error: CheckpointError| match error {
            CheckpointError::Unreadable(error) => unreadable(&error),
            error => Failure::new(
                Exit::Unauthentic,
                format!("{name}: {error}"),
                "compare the log with a copy kept elsewhere: whoever wrote the one or the other \
                 altered it",
            ),
        };
        let text = read_file(path, CHECKPOINT_BYTES_MAX)?;
        let text = String::from_utf8(text).map_err(|_| unbelieved(CheckpointError::Malformed))?;
        let signed = SignedCheckpoint::parse(&text).map_err(unbelieved)?;
        let checkpoint = match &key {
            Some(key) => signed.verified(key).map_err(unbelieved)?,
            None => signed.unverified(),
        };
        let is_there = checkpoint.check(log).map_err(unbelieved)?;
        let Checkpoint { records, time, .. } = &checkpoint;
        let signature = match key {
            Some(_) => "its signature is good",
            None => "its signature was not looked at",
        };
        let found = match is_there {
            true => "the log has all of it",
            false => "the log begins later",
        };
        session.report.note(&format!(
            "{name}: {records} records at {time}: {found}; {signature}"
        ));
    }
    Ok(())
}

/// The key of checkpoints, in the file that `audit public-key` printed; there is none in a file of an
/// earlier version.
fn checkpoint_key(path: &Path) -> Result<Option<CheckpointKey>, Failure> {
    let text = read_file(path, PEM_BYTES_MAX)?;
    Ok(CheckpointKey::find(&String::from_utf8_lossy(&text)).ok())
}

fn public_key(session: &Session) -> Result<(), Failure> {
    let home = embedded::open(&session.world)?;
    let engine = home.engine();
    let digests = engine.digest_public_keys()?;
    let digests: String = digests.iter().map(|der| spki_pem(der)).collect();
    let digests = (!digests.is_empty()).then_some(digests);
    let checkpoints = engine.checkpoint_public_key()?;
    let checkpoints = checkpoints.map(|key| key.to_string());
    if digests.is_none() && checkpoints.is_none() {
        return Err(Failure::configuration(
            "there is neither digest nor checkpoint yet, and so no key",
            "a server makes them; waxseal audit checkpoint does it now, waxseal audit deliver once \
             an hour is over",
        ));
    }
    if session.report.json {
        let keys = json!({ "publicKey": digests, "checkpointKey": checkpoints });
        session.report.item(&keys, false);
        return Ok(());
    }
    let checkpoints = checkpoints.map(|key| key + "\n");
    let text: String = digests.into_iter().chain(checkpoints).collect();
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    written.map_err(|error| Failure::io("write", "stdout", &error))
}

fn verified_trail(folder: &Path, key: &Path) -> Result<VerifiedTrail, Failure> {
    let name = key.display().to_string();
    let text = read_file(key, PEM_BYTES_MAX)?;
    let keys = RsaVerifyingKey::all_from_pem(&text).map_err(|error| {
        Failure::configuration(
            format!("{name}: {error}"),
            "give the public keys of the trail's digests: waxseal audit public-key",
        )
    })?;
    trail::verify(folder, &keys).map_err(|error| match error {
        TrailError::Io(error) => Failure::io("read", &folder.display().to_string(), &error),
        unknown @ TrailError::UnknownKey { .. } => Failure::new(
            Exit::Unauthentic,
            unknown.to_string(),
            "give all public keys of the KMS: waxseal audit public-key. If it is none of them, somebody \
             else signed",
        ),
        broken => Failure::new(
            Exit::Unauthentic,
            broken.to_string(),
            "what was delivered from there on cannot be trusted; compare it with a copy kept elsewhere",
        ),
    })
}

/// The trail of the log's own folder, and that the log has all that was delivered.
fn with_trail(log: &Path, key: &Path, session: &Session) -> Result<(), Failure> {
    let verified = verified_trail(&log.join(trail::FOLDER), key)?;
    let before = verified.records.saturating_sub(1);
    let delivered = records_after(log, before).next().transpose();
    let delivered = delivered.map_err(|error| unreadable(&error))?;
    let is_there = verified.records == 0
        || delivered.is_some_and(|record| {
            record.sequence == verified.records
                && sha256(&[record.line.as_bytes()]) == verified.head
        });
    if !is_there {
        return Err(Failure::new(
            Exit::Unauthentic,
            format!(
                "the log has lost its end, or is another one: record {}, which was delivered, is not in it",
                verified.records
            ),
            "take the records from the trail; compare the log with a copy kept elsewhere",
        ));
    }
    tell_trail(&verified, session)
}

fn tell_trail(verified: &VerifiedTrail, session: &Session) -> Result<(), Failure> {
    let VerifiedTrail {
        digests,
        files,
        records,
        head,
        end,
    } = verified;
    let head = hex::encode(head);
    session.tell(
        &format!(
            "{records} records in {files} files under {digests} digests until {end}: the trail holds; \
             head {head}"
        ),
        || {
            json!({
                "digests": digests, "files": files, "records": records, "head": head, "until": end,
            })
        },
    )
}

fn unreadable(error: &AuditError) -> Failure {
    match error {
        AuditError::Corrupt { .. } => Failure::new(
            Exit::Unauthentic,
            error.to_string(),
            "waxseal audit verify names the first bad record",
        ),
        _ => Failure::new(
            Exit::Io,
            error.to_string(),
            "check disk and permissions of the home directory",
        ),
    }
}
