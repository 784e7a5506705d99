//! `waxseal doctor`: what stands between somebody and a key.

use super::Session;
use crate::args::Doctor;
use crate::embedded;
use crate::failure::{Exit, Failure};
use crate::keys::{Place, place_of};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use waxseal_aws::{AwsKms, AwsOptions};
use waxseal_core::KeyRef;
use waxseal_kms_api::op::{DecryptRequest, DescribeKeyRequest, GenerateDataKeyRequest};
use waxseal_kms_api::{ErrorCode, KmsError};

/// How far a clock may be off before signatures are refused, in seconds (AWS Signature Version 4).
const SKEW_SECONDS_MAX: i64 = 300;

/// Runs the command: every check, and then the exit code of the first that failed.
pub(super) fn run(args: &Doctor, session: &Session) -> Result<(), Failure> {
    let mut ward = Ward {
        session,
        failed: None,
    };
    let places = args.keys.iter().map(|key| place_of(key, session.kms));
    let places = places.collect::<Result<Vec<_>, _>>()?;
    let is_embedded = |place: &Place| matches!(place, Place::Embedded(_));
    if places.is_empty() || places.iter().any(is_embedded) {
        ward.home()?;
    }
    for place in places {
        match place {
            Place::Embedded(key) => ward.embedded(&key)?,
            Place::Aws(key) => ward.aws(&key)?,
        }
    }
    match ward.failed {
        None => Ok(()),
        Some(exit) => Err(Failure::new(
            exit,
            "not everything is as it should be",
            "see the lines that say FAIL",
        )),
    }
}

struct Ward<'s> {
    session: &'s Session,
    /// The exit code of the first failure.
    failed: Option<Exit>,
}

impl Ward<'_> {
    /// One line, or two when something is wrong.
    fn found(&mut self, what: &str, found: Result<String, Failure>) -> Result<(), Failure> {
        match found {
            Ok(how) => self.session.tell(
                &format!("ok    {what}: {how}"),
                || json!({ "check": what, "ok": true, "found": how }),
            ),
            Err(Failure {
                exit,
                what: why,
                hint,
            }) => {
                self.failed.get_or_insert(exit);
                self.session.tell(
                    &format!("FAIL  {what}: {why}"),
                    || json!({ "check": what, "ok": false, "found": why, "advice": hint }),
                )?;
                match self.session.report.json || hint.is_empty() {
                    true => Ok(()),
                    false => self.session.tell(&format!("      {hint}"), || json!(null)),
                }
            }
        }
    }

    /// The embedded KMS itself.
    fn home(&mut self) -> Result<(), Failure> {
        let world = &self.session.world;
        let directory = embedded::directory(world)?.display().to_string();
        if !embedded::exists(world) {
            let none = format!("{directory} is not there yet; it is made on first use");
            return self.found("data directory", Ok(none));
        }
        let opened = embedded::open(world);
        let opened = match opened {
            Ok(home) => home,
            Err(failure) => return self.found("data directory", Err(failure)),
        };
        self.found("data directory", Ok(format!("{directory} opens")))?;
        let health = opened.engine().check_health();
        let well = "rows are sealed and opened, and the audit log can be written".to_owned();
        self.found(
            "store and log",
            health
                .map(|()| well)
                .map_err(|unhealthy| Failure::from(unhealthy.error)),
        )
    }

    fn embedded(&mut self, key: &KeyRef) -> Result<(), Failure> {
        let world = &self.session.world;
        if !embedded::exists(world) {
            let what = format!("{key} is not there");
            let hint = "waxseal key create makes a key; encrypt makes the default one";
            return self.found("key", Err(Failure::new(Exit::KeyState, what, hint)));
        }
        let Ok(home) = embedded::open(world) else {
            // That was told.
            return Ok(());
        };
        let engine = home.engine();
        let key_id = key.to_string();
        let describe = DescribeKeyRequest {
            key_id: key_id.clone(),
            ..DescribeKeyRequest::default()
        };
        let described = embedded::call(engine, describe).map(|answer| {
            let known = answer.key_metadata;
            format!(
                "{} is {}, for {}",
                known.arn, known.key_state, known.key_usage
            )
        });
        self.found("key", described)?;
        let request = GenerateDataKeyRequest {
            key_id: key_id.clone(),
            key_spec: Some("AES_256".to_owned()),
            dry_run: Some(true),
            ..GenerateDataKeyRequest::default()
        };
        let user = embedded::user_agent();
        let request = engine.by_owner(&user, request)?;
        self.found("encrypt", passed(engine.call(request)))?;
        let request = DecryptRequest {
            key_id: Some(key_id),
            dry_run: Some(true),
            dry_run_modifiers: vec!["IGNORE_CIPHERTEXT".to_owned()],
            ..DecryptRequest::default()
        };
        let request = engine.by_owner(&user, request)?;
        self.found("decrypt", passed(engine.call(request)))
    }

    fn aws(&mut self, key: &KeyRef) -> Result<(), Failure> {
        let kms = AwsKms::new(AwsOptions::default());
        let found = pollster::block_on(kms.examine(key));
        let now = OffsetDateTime::now_utc();
        match found.date {
            Some(date) => {
                self.found("endpoint", Ok("it answers".to_owned()))?;
                self.found("clock", clock(&date, now))?;
            }
            None => {
                let none = Failure::new(
                    Exit::Unreachable,
                    "no answer",
                    "check AWS_ENDPOINT_URL_KMS, the Region, credentials and the network; the \
                     reason follows",
                );
                self.found("endpoint", Err(none))?;
            }
        }
        let key = found.key.map_err(Failure::from);
        // Who may use a key need not be who may look at it; with every other failure nothing more
        // would be learned.
        let is_all = matches!(&key, Err(failure) if failure.exit != Exit::AccessDenied);
        self.found("key", key)?;
        if is_all {
            return Ok(());
        }
        let would = |()| "would succeed".to_owned();
        self.found("encrypt", found.generate.map(would).map_err(Failure::from))?;
        self.found("decrypt", found.decrypt.map(would).map_err(Failure::from))
    }
}

/// The one error of a dry run that means yes.
fn passed<T>(answer: Result<T, KmsError>) -> Result<String, Failure> {
    match answer {
        Err(error) if error.code != ErrorCode::DryRun => Err(error.into()),
        _ => Ok("would succeed".to_owned()),
    }
}

/// How far the clock here is from one that tells the time in the form of RFC 9110.
fn clock(date: &str, now: OffsetDateTime) -> Result<String, Failure> {
    // `Sun, 06 Nov 1994 08:49:37 GMT` is a date of RFC 2822 but for the name of its zone.
    let there = OffsetDateTime::parse(&date.replace("GMT", "+0000"), &Rfc2822);
    let Ok(there) = there else {
        return Err(Failure::new(
            Exit::Configuration,
            "the service does not say what time it is",
            "check that the endpoint is a key service",
        ));
    };
    let off = (now - there).whole_seconds();
    let told = match off {
        -1..=1 => "as that of the service".to_owned(),
        2.. => format!("{off} s ahead of the service"),
        _ => format!("{} s behind the service", -off),
    };
    match off.abs() < SKEW_SECONDS_MAX {
        true => Ok(told),
        false => Err(Failure::new(
            Exit::Configuration,
            told,
            "set the clock: requests signed more than five minutes off are refused",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_compared() {
        let now = OffsetDateTime::from_unix_timestamp(784_111_777).unwrap();
        let at = |date| clock(date, now);
        assert_eq!(
            at("Sun, 06 Nov 1994 08:49:37 GMT").unwrap(),
            "as that of the service"
        );
        assert_eq!(
            at("Sun, 06 Nov 1994 08:49:00 GMT").unwrap(),
            "37 s ahead of the service"
        );
        assert_eq!(
            at("Sun, 06 Nov 1994 08:54:30 GMT").unwrap(),
            "293 s behind the service"
        );
        for off in [
            "Sun, 06 Nov 1994 08:54:37 GMT",
            "Sun, 06 Nov 1994 08:44:37 GMT",
        ] {
            assert_eq!(at(off).unwrap_err().exit, Exit::Configuration, "{off}");
        }
        assert!(at("now").is_err() && at("").is_err());
    }
}
