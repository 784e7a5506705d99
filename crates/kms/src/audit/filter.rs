//! Which records are asked for, and what most readers want to know of one.

use super::AuditError;
use super::records::{Record, Records, records_after};
use memchr::memmem::Finder;
use serde::Deserialize;
use std::borrow::Cow;
use std::path::Path;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Which records are asked for: those that everything given fits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this key: its ARN, or its id.
    pub key: Option<String>,
    /// Of this principal: an ARN, the name of a user or role session, or an access key id.
    pub principal: Option<String>,
    /// Of this operation, as in `Decrypt`.
    pub operation: Option<String>,
    /// With this outcome.
    pub outcome: Option<Outcome>,
    /// From this time on.
    pub since: Option<OffsetDateTime>,
    /// Before this time.
    pub until: Option<OffsetDateTime>,
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Done,
    /// It was refused, or failed.
    Refused,
}

impl Filter {
    /// The records of the log in `dir` that fit, in order.
    pub fn records(&self, dir: &Path) -> impl Iterator<Item = Result<Record, AuditError>> {
        let records = records_after(dir, 0).with(self.needles());
        records.filter(move |record| match record {
            Ok(record) => match record.glance() {
                Ok(glance) => self.fits(&glance),
                // Told by whoever reads it.
                Err(_) => true,
            },
            Err(_) => true,
        })
    }

    fn needles(&self) -> Needles {
        let named = [&self.key, &self.principal, &self.operation];
        Needles::of(named.into_iter().flatten().map(String::as_str))
    }

    fn fits(&self, event: &Glance<'_>) -> bool {
        let is_key = |key: &String| {
            let mut arns = event.resources.iter().map(|resource| &resource.arn);
            arns.any(|arn| arn == key || arn.rsplit_once('/').is_some_and(|(_, id)| id == key))
        };
        let is_principal = |who: &String| {
            let arn = event.user_identity.arn.as_deref().unwrap_or_default();
            let name = arn.rsplit_once('/').map_or("", |(_, name)| name);
            [arn, name].contains(&who.as_str())
                || event.user_identity.access_key_id.as_deref() == Some(who)
        };
        let outcome = match event.error_code {
            None => Outcome::Done,
            Some(_) => Outcome::Refused,
        };
        let time = match (self.since, self.until) {
            (None, None) => None,
            _ => event.time(),
        };
        let is_in_time =
            |wanted: Option<OffsetDateTime>, is: fn(&OffsetDateTime, &OffsetDateTime) -> bool| {
                wanted.is_none_or(|wanted| time.is_some_and(|time| is(&time, &wanted)))
            };
        self.key.as_ref().is_none_or(is_key)
            && self.principal.as_ref().is_none_or(is_principal)
            && self
                .operation
                .as_deref()
                .is_none_or(|name| event.event_name == name)
            && self.outcome.is_none_or(|wanted| wanted == outcome)
            && is_in_time(self.since, OffsetDateTime::ge)
            && is_in_time(self.until, OffsetDateTime::lt)
    }
}

impl Records {
    /// Only records that have this text somewhere: others are passed over unread, which is much
    /// faster.
    #[must_use]
    pub fn containing(self, text: &str) -> Self {
        self.with(Needles::of([text]))
    }
}

/// Texts that a line must have somewhere to be of interest.
#[derive(Debug, Clone, Default)]
pub(crate) struct Needles(Vec<Finder<'static>>);

impl Needles {
    /// Texts as they are in strings of the event.
    pub(crate) fn of<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        // What would be written with escapes is looked for in the event only.
        let is_plain = |text: &&str| {
            !text
                .bytes()
                .any(|byte| matches!(byte, 0..0x20 | b'"' | b'\\'))
        };
        let finder = |text: &str| Finder::new(text).into_owned();
        Self(texts.into_iter().filter(is_plain).map(finder).collect())
    }

    /// Whether a line has them all.
    pub(super) fn are_in(&self, line: &[u8]) -> bool {
        self.0.iter().all(|text| text.find(line).is_some())
    }
}

/// What most readers want to know of an event.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Glance<'a> {
    #[serde(rename = "eventID", borrow, default)]
    pub(crate) event_id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) event_time: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) event_source: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) event_name: Cow<'a, str>,
    #[serde(rename = "requestID", borrow, default)]
    pub(crate) request_id: Cow<'a, str>,
    pub(crate) error_code: Option<String>,
    #[serde(default)]
    pub(crate) read_only: bool,
    #[serde(default)]
    pub(crate) user_identity: Identity,
    #[serde(default)]
    pub(crate) resources: Vec<SeenResource>,
}

/// Who asked.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity {
    pub(crate) arn: Option<String>,
    pub(crate) access_key_id: Option<String>,
    pub(crate) user_name: Option<String>,
}

/// What was used.
#[derive(Debug, Deserialize)]
pub(crate) struct SeenResource {
    #[serde(rename = "ARN", default)]
    pub(crate) arn: String,
    #[serde(rename = "type", default)]
    pub(crate) kind: String,
}

impl Glance<'_> {
    pub(crate) fn time(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::parse(&self.event_time, &Rfc3339).ok()
    }
}
