//! `waxseal explain`: why somebody may do something, or may not.

use super::Session;
use crate::args::Explain;
use crate::embedded;
use crate::failure::Failure;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use waxseal_kms::audit::{self, AuditError};
use waxseal_kms::explain::Ask;
use waxseal_kms::home::EmbeddedHome;

/// Runs the command.
pub(super) fn run(args: Explain, session: &Session) -> Result<(), Failure> {
    let home = embedded::open(&session.world)?;
    if let Some(id) = &args.request_id {
        let directory = embedded::directory(&session.world)?;
        let event = found(&EmbeddedHome::audit_directory(directory), id)?;
        tell_event(&event, session)?;
        for ask in asks(&event) {
            explain(&home, &ask, session)?;
        }
        return Ok(());
    }
    let (Some(principal), Some(action), Some(key)) = (args.principal, args.action, args.key) else {
        return Err(Failure::usage(
            "neither a request nor a question",
            "give REQUEST-ID, or --principal, --action and --key",
        ));
    };
    let ask = Ask {
        principal,
        action,
        key,
        context: args.context.into_iter().collect(),
    };
    explain(&home, &ask, session)
}

fn explain(home: &EmbeddedHome, ask: &Ask, session: &Session) -> Result<(), Failure> {
    let explained = home.engine().explain(ask)?;
    let verdict = if explained.allowed {
        "allowed"
    } else {
        "denied"
    };
    let line = format!(
        "{verdict}: {} {} on {}: {}",
        ask.principal, ask.action, explained.key, explained.because
    );
    session.tell(&line, || {
        json!({
            "allowed": explained.allowed,
            "because": explained.because,
            "principal": ask.principal,
            "action": ask.action,
            "key": explained.key,
        })
    })
}

/// The record of a request.
fn found(log: &std::path::Path, id: &str) -> Result<Value, Failure> {
    let unreadable =
        |error: AuditError| Failure::configuration(error.to_string(), "waxseal audit verify");
    for record in audit::records(log).containing(id) {
        let event = record
            .and_then(|record| record.event())
            .map_err(unreadable)?;
        if event.get("requestID").and_then(Value::as_str) == Some(id) {
            return Ok(event);
        }
    }
    Err(Failure::usage(
        format!("no request {id} is in the audit log"),
        "request ids are in the header x-amzn-RequestId and in waxseal audit list --json",
    ))
}

fn text<'e>(event: &'e Value, path: &str) -> &'e str {
    event
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn tell_event(event: &Value, session: &Session) -> Result<(), Failure> {
    let outcome = match text(event, "/errorCode") {
        "" => "done".to_owned(),
        code => format!("{code} {}", text(event, "/errorMessage")),
    };
    let line = format!(
        "{} {} by {}: {outcome}",
        text(event, "/eventTime"),
        text(event, "/eventName"),
        text(event, "/userIdentity/arn"),
    );
    session.tell(line.trim_end(), || event.clone())
}

/// What the policies are asked about a request, now: one question for each key.
fn asks(event: &Value) -> Vec<Ask> {
    let keys = event.get("resources").and_then(Value::as_array);
    let keys = keys.into_iter().flatten().map(|key| text(key, "/ARN"));
    let name = text(event, "/eventName");
    let parameters = event.get("requestParameters");
    keys.filter(|arn| arn.contains(":kms:"))
        .enumerate()
        .map(|(at, arn)| {
            let (action, context) = match (name, at) {
                ("ReEncrypt", 0) => ("ReEncryptFrom", "sourceEncryptionContext"),
                ("ReEncrypt", _) => ("ReEncryptTo", "destinationEncryptionContext"),
                _ => (name, "encryptionContext"),
            };
            let pairs = parameters.and_then(|all| all.get(context)?.as_object());
            let pairs = pairs.into_iter().flatten();
            let context: BTreeMap<_, _> = pairs
                .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect();
            Ask {
                principal: text(event, "/userIdentity/arn").to_owned(),
                action: action.to_owned(),
                key: arn.to_owned(),
                context,
            }
        })
        .collect()
}
