//! The server under attack, what is noted of its answers, and what several attacks are made of.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use waxseal_conformance::served::Answer;
use waxseal_conformance::{Served, World};
use waxseal_kms_api::ErrorCode;

/// What an answer may take on a machine that does other things. What it takes is told.
pub(crate) const BOUND: Duration = Duration::from_secs(2);
/// How long the rest of something is waited for that is perhaps no whole request.
pub(crate) const PATIENCE: Duration = Duration::from_millis(30);
/// A body as long as it may be.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;

/// A server under attack, and what it made of it.
pub(crate) struct Attack<'s> {
    pub(crate) server: &'s Served,
    /// How long refusals took, and of what.
    pub(crate) took: Vec<(Duration, String)>,
    /// Requests that must be in the log, by their ids.
    pub(crate) ids: HashMap<String, String>,
    /// How many there were of each kind.
    pub(crate) kinds: BTreeMap<&'static str, usize>,
    /// How many the protocol refused.
    pub(crate) by_protocol: usize,
    pub(crate) done: usize,
    /// The longest answer, in bytes, and to what.
    pub(crate) longest: (usize, String),
    pub(crate) faults: Vec<String>,
}

impl<'s> Attack<'s> {
    pub(crate) fn new(server: &'s Served) -> Self {
        Self {
            server,
            took: Vec::new(),
            ids: HashMap::new(),
            kinds: BTreeMap::new(),
            by_protocol: 0,
            done: 0,
            longest: (0, String::new()),
            faults: Vec::new(),
        }
    }

    /// A request of the KMS that is a whole one, whatever its body is.
    pub(crate) fn ask(&mut self, kind: &'static str, operation: &str, body: &[u8]) -> Answer {
        let answer = self.server.send(operation, body, "");
        self.request(kind, answer, || told(operation, body))
    }

    /// Notes the answer to what is a whole request.
    pub(crate) fn request(
        &mut self,
        kind: &'static str,
        answer: Answer,
        what: impl Fn() -> String,
    ) -> Answer {
        match answer.header("x-amzn-requestid") {
            Some(id) => drop(self.ids.insert(id.to_owned(), what())),
            None => self.faults.push(format!("no id: {}: {answer:?}", what())),
        }
        self.bytes(kind, answer, what)
    }

    /// Notes the answer to bytes that need not be a request.
    pub(crate) fn bytes(
        &mut self,
        kind: &'static str,
        answer: Answer,
        what: impl Fn() -> String,
    ) -> Answer {
        *self.kinds.entry(kind).or_default() += 1;
        let status = answer.status();
        if answer.body.len() > self.longest.0 {
            self.longest = (answer.body.len(), what());
        }
        let is_no_http = answer.body.is_empty() && (400..500).contains(&status);
        if answer.head.is_empty() || is_no_http {
            self.by_protocol += 1;
        } else if status == 200 {
            self.done += 1;
            // Whatever came before: what was done is recorded.
            let id = answer.header("x-amzn-requestid").map(str::to_owned);
            self.ids.extend(id.map(|id| (id, what())));
            return answer;
        } else if !is_typed(&answer) {
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            let fault = format!("{}: {} {body}", what(), answer.head);
            self.faults.push(fault);
        }
        if answer.took > BOUND {
            self.faults.push(format!("{:?}: {}", answer.took, what()));
        }
        self.took.push((answer.took, what()));
        answer
    }

    /// What somebody else saw besides.
    pub(crate) fn take(&mut self, other: Self) {
        self.took.extend(other.took);
        self.ids.extend(other.ids);
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
        self.by_protocol += other.by_protocol;
        self.done += other.done;
        if other.longest.0 > self.longest.0 {
            self.longest = other.longest;
        }
        self.faults.extend(other.faults);
    }

    pub(crate) fn count(&self) -> usize {
        self.kinds.values().sum()
    }
}

/// The beginning of a case, for whoever has to find it.
pub(crate) fn told(operation: &str, body: &[u8]) -> String {
    let body = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
    format!("{operation} {body:?}")
}

/// An error as AWS's clients understand it, and not one of the server's own: of these S3 alone has one, for
/// what it does not do.
fn is_typed(answer: &Answer) -> bool {
    if answer.status() >= 500 && answer.status() != 501 {
        return false;
    }
    let text = String::from_utf8_lossy(&answer.body);
    match answer.header("content-type") {
        Some("application/x-amz-json-1.1") => {
            let json = answer.json();
            let code = ErrorCode::ALL
                .iter()
                .find(|code| json["__type"] == code.name());
            code.is_some_and(|code| code.status() == answer.status())
        }
        Some("text/xml" | "application/xml") => {
            let code = text.split_once("<Code>").map(|(_, rest)| rest);
            code.is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_alphabetic()))
        }
        _ => false,
    }
}

pub(crate) fn assert_no_panic(world: &World) {
    let said = String::from_utf8_lossy(&world.read("served.err")).into_owned();
    assert!(!said.contains("panick"), "{said}");
}

/// Keys that are used as they should be.
pub(crate) struct Keys {
    pub(crate) symmetric: String,
    pub(crate) blob: Vec<u8>,
    pub(crate) mac: String,
    pub(crate) pair: String,
    pub(crate) agreement: String,
    pub(crate) kem: String,
    pub(crate) external: String,
}

impl Keys {
    pub(crate) fn new(server: &Served) -> Self {
        let made = |spec: &str, usage: &str| {
            let made = server.done("CreateKey", &json!({ "KeySpec": spec, "KeyUsage": usage }));
            made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
        };
        let symmetric = made("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT");
        let sealed = server.done(
            "Encrypt",
            &json!({ "KeyId": symmetric, "Plaintext": STANDARD.encode("text") }),
        );
        let external = server.done("CreateKey", &json!({ "Origin": "EXTERNAL" }));
        Self {
            symmetric,
            blob: STANDARD
                .decode(sealed["CiphertextBlob"].as_str().unwrap())
                .unwrap(),
            mac: made("HMAC_256", "GENERATE_VERIFY_MAC"),
            pair: made("ECC_NIST_P256", "SIGN_VERIFY"),
            agreement: made("ECC_NIST_P256", "KEY_AGREEMENT"),
            kem: made("ML_KEM_768", "ENCAPSULATE_DECAPSULATE"),
            external: external["KeyMetadata"]["KeyId"]
                .as_str()
                .unwrap()
                .to_owned(),
        }
    }

    pub(crate) fn opened(&self, server: &Served) -> Vec<u8> {
        let body = json!({ "CiphertextBlob": STANDARD.encode(&self.blob) });
        let opened = server.done("Decrypt", &body);
        STANDARD
            .decode(opened["Plaintext"].as_str().unwrap())
            .unwrap()
    }
}

/// `text` so often that a body is full of it.
pub(crate) fn full_of(text: &str) -> String {
    text.repeat((BODY_BYTES_MAX - 100) / text.len())
}

pub(crate) fn nested(depth: usize, open: &str, close: &str) -> String {
    format!("{}1{}", open.repeat(depth), close.repeat(depth))
}
