//! One event, as it is handed in and as it is written.

use super::scan::{members, plain};
use super::{AuditError, RECORD_BYTES_MAX};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::io::Write;
use std::sync::Arc;
use time::OffsetDateTime;
use waxseal_kms_api::members::Members;
use waxseal_kms_api::stamp::stamped;

/// What happened: the fields of a CloudTrail event that differ from call to call.
///
/// It never holds plaintext, ciphertext, data keys, grant tokens or PINs. Control characters in
/// any text are escaped when it is written.
///
/// `Serialize` keeps an event until it is recorded, under the names of the fields here. The line
/// in the log has another layout: see [the module](super).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event<'a> {
    /// `eventID`: a UUID, unique to the event.
    pub event_id: Cow<'a, str>,
    /// `eventTime`: written in UTC, to the second.
    #[serde(with = "time::serde::timestamp")]
    pub event_time: OffsetDateTime,
    /// `eventSource`: the service, as in `kms.amazonaws.com`.
    #[serde(default = "kms")]
    pub event_source: Cow<'a, str>,
    /// `eventName`: the operation, as in `GenerateDataKey`.
    pub event_name: Cow<'a, str>,
    /// `awsRegion`.
    pub aws_region: Cow<'a, str>,
    /// `recipientAccountId`: 12 digits.
    pub account_id: Cow<'a, str>,
    /// `userIdentity`: who asked.
    pub user_identity: Written,
    /// `sourceIPAddress`.
    pub source_ip_address: Cow<'a, str>,
    /// `userAgent`.
    pub user_agent: Cow<'a, str>,
    /// `requestID`.
    pub request_id: Cow<'a, str>,
    /// `requestParameters`; `null` when there are none.
    pub request_parameters: Option<Members>,
    /// `responseElements`; `null` for cryptographic operations.
    pub response_elements: Option<Value>,
    /// Further members of `additionalEventData`, such as `keyMaterialId`. The names `sequence`,
    /// `previousHash` and `lastChange` belong to the chain.
    pub additional: Members,
    /// `resources`: the keys that were used.
    pub resources: Vec<Resource<'a>>,
    /// `readOnly`: whether the operation leaves the key's state alone.
    pub read_only: bool,
    /// `errorCode` and `errorMessage` of a refused or failed call.
    pub error: Option<EventError>,
}

#[cfg(test)]
impl<'a> Event<'a> {
    /// An event that says as little as one can.
    pub(crate) fn blank(event_id: impl Into<Cow<'a, str>>) -> Self {
        Self {
            event_id: event_id.into(),
            event_time: OffsetDateTime::UNIX_EPOCH,
            event_source: kms(),
            event_name: "Encrypt".into(),
            aws_region: "".into(),
            account_id: "".into(),
            user_identity: Value::Null.into(),
            source_ip_address: "".into(),
            user_agent: "".into(),
            request_id: "".into(),
            request_parameters: None,
            response_elements: None,
            additional: Members::new(),
            resources: vec![],
            read_only: true,
            error: None,
        }
    }
}

fn kms() -> Cow<'static, str> {
    "kms.amazonaws.com".into()
}

/// JSON that is written once, for many events.
#[derive(Clone)]
pub struct Written(Arc<RawValue>);

impl From<Value> for Written {
    fn from(value: Value) -> Self {
        // What is a value already can be written.
        let written = RawValue::from_string(value.to_string());
        Self(written.unwrap_or_else(|_| RawValue::NULL.to_owned()).into())
    }
}

impl PartialEq for Written {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.get())
    }
}

impl Serialize for Written {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|written| Self(written.into()))
    }
}

/// A key that an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource<'a> {
    /// Its ARN.
    pub arn: Cow<'a, str>,
    /// The account that owns it.
    pub account_id: Cow<'a, str>,
}

impl Resource<'_> {
    fn kind(&self) -> &'static str {
        match self.arn.split(':').nth(2) {
            Some("iam") => "AWS::IAM::Role",
            _ => "AWS::KMS::Key",
        }
    }
}

/// Why a call was refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventError {
    /// `errorCode`, as in `AccessDenied`.
    pub code: String,
    /// `errorMessage`.
    pub message: String,
}

/// A record's line but for the two members that are known only when it is written.
#[derive(Debug)]
pub(super) struct Encoded {
    text: Vec<u8>,
    /// Where the two are to stand in `text`.
    link_at: usize,
    /// Whether the store is changed with it.
    pub(super) is_change: bool,
}

impl Encoded {
    pub(super) fn new(event: &Event<'_>) -> Result<Self, AuditError> {
        Self::within(event, Vec::new())
    }

    /// The same in memory that another record had.
    pub(super) fn within(event: &Event<'_>, mut text: Vec<u8>) -> Result<Self, AuditError> {
        text.clear();
        text.reserve(USUAL_BYTES);
        for reserved in ["sequence", "previousHash", "lastChange"] {
            if event.additional.get(reserved).is_some() {
                return Err(AuditError::ReservedMember(reserved));
            }
        }
        let mut line = Line(&mut text);
        line.opening(event)?;
        line.json(r#","additionalEventData":{"sequence":"#);
        let link_at = line.0.len();
        for (name, value) in event.additional.iter() {
            line.json(",");
            line.named(name, value)?;
        }
        line.json("}");
        line.closing(event)?;
        let record = Self {
            text,
            link_at,
            is_change: false,
        };
        let bytes = record.bytes_max();
        match bytes <= RECORD_BYTES_MAX {
            true => Ok(record),
            false => Err(AuditError::RecordTooLong { bytes }),
        }
    }

    /// Its memory, for another record.
    pub(super) fn into_text(self) -> Vec<u8> {
        self.text
    }

    /// The most bytes that the line has.
    pub(super) fn bytes_max(&self) -> usize {
        self.text.len() + LINK_BYTES_MAX
    }

    /// Appends the line, without its newline, to `out`. `last_change` is the newest record of a change,
    /// perhaps this one; 0 where there is none.
    pub(super) fn write(
        &self,
        sequence: u64,
        previous: &[u8; 32],
        last_change: u64,
        out: &mut Vec<u8>,
    ) {
        let (before, after) = self.text.split_at(self.link_at);
        out.extend_from_slice(before);
        // Writing to a vector does not fail.
        let _ = write!(out, r#"{sequence},"previousHash":""#);
        let begin = out.len();
        out.resize(begin + 2 * previous.len(), 0);
        // The room is as long as it must be.
        let _ = hex::encode_to_slice(previous, &mut out[begin..]);
        out.push(b'"');
        if last_change > 0 {
            let _ = write!(out, r#","lastChange":{last_change}"#);
        }
        out.extend_from_slice(after);
    }
}

/// The most bytes between the two parts of [`Encoded`]: two numbers of 20 digits, two names, a hash.
const LINK_BYTES_MAX: usize = 20 + r#","previousHash":"","lastChange":"#.len() + 64 + 20;

/// Room for most lines, so that few grow.
const USUAL_BYTES: usize = 1536;

/// JSON as it is written. There is a record for every request and its names are always the same, so
/// they are not written one by one.
struct Line<'t>(&'t mut Vec<u8>);

impl Line<'_> {
    /// What stands before the members that the log adds.
    fn opening(&mut self, event: &Event<'_>) -> Result<(), AuditError> {
        self.json(r#"{"eventVersion":"1.11","userIdentity":"#);
        self.json(event.user_identity.0.get());
        self.json(r#","eventTime":""#);
        self.0.extend_from_slice(&digits(event.event_time));
        self.member(r#"","eventSource":"#, &event.event_source)?;
        self.member(r#","eventName":"#, &event.event_name)?;
        self.member(r#","awsRegion":"#, &event.aws_region)?;
        self.member(r#","sourceIPAddress":"#, &event.source_ip_address)?;
        self.member(r#","userAgent":"#, &event.user_agent)?;
        if let Some(EventError { code, message }) = &event.error {
            self.member(r#","errorCode":"#, code)?;
            self.member(r#","errorMessage":"#, message)?;
        }
        self.json(r#","requestParameters":"#);
        match &event.request_parameters {
            Some(parameters) => self.members(parameters.iter())?,
            None => self.json("null"),
        }
        self.json(r#","responseElements":"#);
        self.value(event.response_elements.as_ref().unwrap_or(&Value::Null))
    }

    /// What stands after them, to the end of the line.
    fn closing(&mut self, event: &Event<'_>) -> Result<(), AuditError> {
        self.member(r#","requestID":"#, &event.request_id)?;
        self.member(r#","eventID":"#, &event.event_id)?;
        self.json(match event.read_only {
            true => r#","readOnly":true"#,
            false => r#","readOnly":false"#,
        });
        for (number, resource) in event.resources.iter().enumerate() {
            self.json(match number {
                0 => r#","resources":["#,
                _ => ",",
            });
            self.member(r#"{"accountId":"#, &resource.account_id)?;
            self.member(r#","type":"#, resource.kind())?;
            self.member(r#","ARN":"#, &resource.arn)?;
            self.json("}");
        }
        if !event.resources.is_empty() {
            self.json("]");
        }
        self.json(r#","eventType":"AwsApiCall","managementEvent":true"#);
        self.member(r#","recipientAccountId":"#, &event.account_id)?;
        self.json(r#","eventCategory":"Management"}"#);
        Ok(())
    }

    /// `before` is all that stands before the value, its name included.
    fn member(&mut self, before: &str, value: &str) -> Result<(), AuditError> {
        self.json(before);
        self.text(value)
    }

    /// What is JSON already.
    fn json(&mut self, json: &str) {
        self.0.extend_from_slice(json.as_bytes());
    }

    /// A string, escaped where it must be (RFC 8259, section 7).
    fn text(&mut self, text: &str) -> Result<(), AuditError> {
        let is_escaped = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
        // All of it is looked at, which is several bytes at once.
        let is_plain = !text.bytes().fold(false, |any, byte| any | is_escaped(byte));
        if !is_plain {
            return self.serialized(text);
        }
        self.json("\"");
        self.json(text);
        self.json("\"");
        Ok(())
    }

    fn named(&mut self, name: &str, value: &Value) -> Result<(), AuditError> {
        self.text(name)?;
        self.json(":");
        self.value(value)
    }

    fn value(&mut self, value: &Value) -> Result<(), AuditError> {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(values) => {
                self.json("[");
                for (number, value) in values.iter().enumerate() {
                    self.json(if number == 0 { "" } else { "," });
                    self.value(value)?;
                }
                self.json("]");
                Ok(())
            }
            Value::Object(members) => {
                self.members(members.iter().map(|(name, value)| (name.as_str(), value)))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => self.serialized(value),
        }
    }

    fn members<'v>(
        &mut self,
        members: impl Iterator<Item = (&'v str, &'v Value)>,
    ) -> Result<(), AuditError> {
        self.json("{");
        for (number, (name, value)) in members.enumerate() {
            self.json(if number == 0 { "" } else { "," });
            self.named(name, value)?;
        }
        self.json("}");
        Ok(())
    }

    fn serialized<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), AuditError> {
        serde_json::to_writer(&mut *self.0, value)
            .map_err(|error| AuditError::Unserializable(error.to_string()))
    }
}

/// `2026-01-31T23:59:59Z`
pub(crate) fn timestamp(time: OffsetDateTime) -> String {
    digits(time).iter().copied().map(char::from).collect()
}

/// The same in ASCII.
fn digits(time: OffsetDateTime) -> [u8; 20] {
    stamped(*b"0000-00-00T00:00:00Z", time)
}

/// What the log itself needs to know of a line that was read.
#[derive(Debug, Deserialize)]
pub(crate) struct Link<'a> {
    #[serde(rename = "eventID", borrow)]
    pub(super) event_id: Cow<'a, str>,
    #[serde(rename = "additionalEventData", borrow)]
    chain: Chain<'a>,
}

#[derive(Debug, Deserialize)]
struct Chain<'a> {
    sequence: u64,
    #[serde(rename = "previousHash", borrow)]
    previous_hash: Cow<'a, str>,
    #[serde(rename = "lastChange", default)]
    last_change: u64,
}

impl<'a> Link<'a> {
    pub(crate) fn parse(line: &'a [u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(line).map_err(|error| error.to_string())?;
        match Self::seen(text) {
            Some(link) => Ok(link),
            None => serde_json::from_str(text).map_err(|error| error.to_string()),
        }
    }

    /// The same of a line as the log writes it, several times as fast.
    fn seen(text: &'a str) -> Option<Self> {
        let (mut event_id, mut chain) = (Once::default(), Once::default());
        members(text, |name, value| match name {
            "eventID" => event_id.put(value),
            "additionalEventData" => chain.put(value),
            _ => {}
        })?;
        let (mut sequence, mut previous_hash) = (Once::default(), Once::default());
        let mut last_change = Once::default();
        members(chain.taken()?, |name, value| match name {
            "sequence" => sequence.put(value),
            "previousHash" => previous_hash.put(value),
            "lastChange" => last_change.put(value),
            _ => {}
        })?;
        Some(Self {
            event_id: plain(event_id.taken()?)?.into(),
            chain: Chain {
                sequence: sequence.taken()?.parse().ok()?,
                previous_hash: plain(previous_hash.taken()?)?.into(),
                last_change: match last_change.value {
                    None => 0,
                    Some(_) => last_change.taken()?.parse().ok()?,
                },
            },
        })
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.chain.sequence
    }

    /// The newest record of a change up to this one; 0 where there is none.
    pub(super) fn last_change(&self) -> u64 {
        self.chain.last_change
    }

    /// Whether `previous` is the hash that this line names, letter by letter.
    pub(crate) fn follows(&self, previous: &[u8; 32]) -> bool {
        let mut written = [0; 64];
        // The room is as long as it must be.
        hex::encode_to_slice(previous, &mut written).is_ok()
            && self.chain.previous_hash.as_bytes() == written
    }

    /// The hash that this line names; nothing when that is none.
    pub(super) fn previous(&self) -> Option<[u8; 32]> {
        let mut hash = [0; 32];
        hex::decode_to_slice(self.chain.previous_hash.as_bytes(), &mut hash).ok()?;
        self.follows(&hash).then_some(hash)
    }
}

/// A member that must be there once.
#[derive(Default)]
struct Once<'a> {
    value: Option<&'a str>,
    is_twice: bool,
}

impl<'a> Once<'a> {
    fn put(&mut self, value: &'a str) {
        self.is_twice |= self.value.replace(value).is_some();
    }

    fn taken(self) -> Option<&'a str> {
        self.value.filter(|_| !self.is_twice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event() -> Event<'static> {
        Event {
            event_id: "f3b5e7a4-0000-4000-8000-000000000001".into(),
            event_time: OffsetDateTime::from_unix_timestamp(1_420_070_400).unwrap(),
            event_source: kms(),
            event_name: "Decrypt".into(),
            aws_region: "eu-west-1".into(),
            account_id: "111122223333".into(),
            user_identity: json!({"type": "Root"}).into(),
            source_ip_address: "127.0.0.1".into(),
            user_agent: "waxseal".into(),
            request_id: "r".into(),
            request_parameters: Some(Members::from_iter([(
                "encryptionContext",
                json!({"a": "b"}),
            )])),
            response_elements: None,
            additional: Members::new(),
            resources: vec![Resource {
                arn: "arn:aws:kms:eu-west-1:111122223333:key/k".into(),
                account_id: "111122223333".into(),
            }],
            read_only: true,
            error: None,
        }
    }

    fn line(event: &Event<'_>, sequence: u64) -> String {
        let mut out = Vec::new();
        Encoded::new(event)
            .unwrap()
            .write(sequence, &[0xab; 32], 0, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_whole_line() {
        let hash = "ab".repeat(32);
        let expected = [
            r#"{"eventVersion":"1.11","userIdentity":{"type":"Root"},"#,
            r#""eventTime":"2015-01-01T00:00:00Z","eventSource":"kms.amazonaws.com","#,
            r#""eventName":"Decrypt","awsRegion":"eu-west-1","sourceIPAddress":"127.0.0.1","#,
            r#""userAgent":"waxseal","requestParameters":{"encryptionContext":{"a":"b"}},"#,
            r#""responseElements":null,"additionalEventData":{"sequence":7,"previousHash":""#,
            &hash,
            r#""},"requestID":"r","eventID":"f3b5e7a4-0000-4000-8000-000000000001","#,
            r#""readOnly":true,"resources":[{"accountId":"111122223333","#,
            r#""type":"AWS::KMS::Key","ARN":"arn:aws:kms:eu-west-1:111122223333:key/k"}],"#,
            r#""eventType":"AwsApiCall","managementEvent":true,"#,
            r#""recipientAccountId":"111122223333","eventCategory":"Management"}"#,
        ];
        assert_eq!(line(&event(), 7), expected.concat());
    }

    #[test]
    fn the_last_change_is_part_of_the_chain_s_members() {
        let mut out = Vec::new();
        let encoded = Encoded::new(&event()).unwrap();
        encoded.write(7, &[0xab; 32], 5, &mut out);
        let plain = line(&event(), 7);
        let expected = plain.replace(
            r#"abab"},"requestID""#,
            r#"abab","lastChange":5},"requestID""#,
        );
        assert_eq!(String::from_utf8(out.clone()).unwrap(), expected);
        assert_eq!(Link::parse(&out).unwrap().last_change(), 5);
        assert_eq!(Link::parse(plain.as_bytes()).unwrap().last_change(), 0);
    }

    #[test]
    fn members_that_apply_only_sometimes() {
        let mut event = event();
        event.resources.clear();
        event.additional.insert("keyMaterialId", "m");
        event.error = Some(EventError {
            code: "AccessDenied".into(),
            message: "no".into(),
        });
        event.response_elements = Some(json!({"x": 1}));
        event.request_parameters = None;
        let parsed: Value = serde_json::from_str(&line(&event, u64::MAX)).unwrap();
        assert_eq!(parsed["errorCode"], "AccessDenied");
        assert_eq!(parsed["errorMessage"], "no");
        assert_eq!(parsed["responseElements"], json!({"x": 1}));
        assert_eq!(parsed["requestParameters"], Value::Null);
        assert_eq!(parsed["additionalEventData"]["keyMaterialId"], "m");
        assert_eq!(parsed["additionalEventData"]["sequence"], u64::MAX);
        assert_eq!(parsed.get("resources"), None);
    }

    #[test]
    fn no_text_breaks_a_line() {
        let mut event = event();
        let hostile = "a\nb\r\u{1b}[31m\u{0}\u{7f}\",\"readOnly\":true}\u{2028}";
        event.user_agent = hostile.into();
        event.event_id = hostile.into();
        event.additional.insert(hostile, json!([hostile]));
        let line = line(&event, 1);
        assert!(line.bytes().all(|byte| byte >= b' '));
        assert_eq!(Link::parse(line.as_bytes()).unwrap().event_id, hostile);
        let parsed: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(parsed["userAgent"], hostile);
        assert_eq!(parsed["additionalEventData"][hostile], json!([hostile]));
    }

    #[test]
    fn the_chain_s_own_members_are_reserved() {
        for name in ["sequence", "previousHash", "lastChange"] {
            let mut event = event();
            event.additional.insert(name, 1);
            let error = Encoded::new(&event).unwrap_err();
            assert_eq!(error, AuditError::ReservedMember(name));
        }
    }

    #[test]
    fn the_limit_holds_on_both_sides() {
        let mut event = event();
        event.user_agent = "".into();
        let longest = |event: &Event<'_>| {
            let mut line = Vec::new();
            let encoded = Encoded::new(event).unwrap();
            encoded.write(u64::MAX, &[0xab; 32], u64::MAX, &mut line);
            line.len()
        };
        event.user_agent = "x".repeat(RECORD_BYTES_MAX - longest(&event)).into();
        assert_eq!(longest(&event), RECORD_BYTES_MAX);
        event.user_agent.to_mut().push('x');
        let bytes = RECORD_BYTES_MAX + 1;
        let error = Encoded::new(&event).unwrap_err();
        assert_eq!(error, AuditError::RecordTooLong { bytes });
    }

    #[test]
    fn times_are_written_in_utc() {
        let offset = time::UtcOffset::from_hms(-5, -30, 0).unwrap();
        let time = OffsetDateTime::from_unix_timestamp(1_709_251_199).unwrap();
        assert_eq!(timestamp(time.to_offset(offset)), "2024-02-29T23:59:59Z");
    }

    #[test]
    fn a_link_is_strict() {
        let good = line(&event(), 3);
        let link = Link::parse(good.as_bytes()).unwrap();
        assert_eq!(link.sequence(), 3);
        assert!(link.follows(&[0xab; 32]));
        assert!(!link.follows(&[0xac; 32]));
        let upper = good.replace(&"ab".repeat(32), &"AB".repeat(32));
        assert!(!Link::parse(upper.as_bytes()).unwrap().follows(&[0xab; 32]));
        for bad in [
            String::new(),
            "{}".into(),
            "[]".into(),
            format!("{good} x"),
            good.replace(r#""sequence":3"#, r#""sequence":-3"#),
            good.replace(r#""sequence":3"#, r#""sequence":"3""#),
            good.replace(r#""sequence":3"#, r#""sequence":3,"sequence":3"#),
            good.replace(r#""requestID""#, r#""additionalEventData""#),
        ] {
            assert!(Link::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Link::parse(b"{\"eventID\":\"\xff\"}").is_err());
    }
}
