//! `waxseal audit`: the log of all key usage of the embedded KMS.

use super::Session;
use crate::args::Audit;
use crate::embedded;
use crate::failure::{Exit, Failure};
use crate::terminal::plain;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use waxseal_kms::audit::{AuditError, Record, VerifyError, records, verify};
use waxseal_kms::home::EmbeddedHome;

/// Runs one of the commands.
pub(super) fn run(command: Audit, session: &Session) -> Result<(), Failure> {
    let log = log(session)?;
    match command {
        Audit::List { last } => list(&log, last.map(|last| usize::from(last.get())), session),
        Audit::Verify => verified(&log, session),
    }
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

fn list(log: &Path, last: Option<usize>, session: &Session) -> Result<(), Failure> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut kept = VecDeque::new();
    for record in records(log) {
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

/// JSON is the record as it stands in the log; words are its main points.
fn tell(record: &Record, session: &Session, out: &mut impl Write) -> Result<(), Failure> {
    let told = match session.report.json {
        true => writeln!(out, "{}", record.line),
        false => writeln!(out, "{}", plain(&words(record.sequence, &record.event))),
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
