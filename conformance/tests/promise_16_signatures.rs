//! Signatures by botocore, which we did not write: 100,000 random requests are verified, and each of
//! them spoilt in several ways is refused. `WAXSEAL_BOTOCORE_CASES` names the file; where `CI=true` it
//! must be there; elsewhere the test says that it did not run.
//!
//! ```text
//! python3 conformance/interop/py/sigv4_random.py 100000 > /tmp/cases.jsonl      # with botocore
//! WAXSEAL_BOTOCORE_CASES=/tmp/cases.jsonl cargo test --release -p waxseal-conformance \
//!     --test promise_16_signatures
//! ```
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside #[test] may fail too

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use waxseal_conformance::{Dice, promise};
use waxseal_core::SecretBytes;
use waxseal_kms_api::sigv4::{Claim, Paths, SignedRequest, SigningKey};

/// As many as must be in the file.
const CASES: usize = 100_000;
/// How many spoilt requests are made of each.
const SPOILT: usize = 4;

#[derive(Clone)]
struct Request {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    secret: String,
    service: String,
    now: i64,
}

impl Request {
    fn read(line: &str) -> Self {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        let pair = |pair: &Value| {
            let text = |at: usize| pair[at].as_str().unwrap().to_owned();
            (text(0), text(1))
        };
        Self {
            method: text("method"),
            path: text("path"),
            query: text("query"),
            headers: line["headers"]
                .as_array()
                .unwrap()
                .iter()
                .map(pair)
                .collect(),
            body: STANDARD.decode(text("body")).unwrap(),
            secret: text("secret"),
            service: text("service"),
            now: line["at"].as_i64().unwrap(),
        }
    }

    fn is_let_in(&self) -> bool {
        let headers: Vec<(&str, &str)> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let request = SignedRequest {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &headers,
            body: &self.body,
        };
        let Ok(claim) = Claim::parse(request) else {
            return false;
        };
        if claim.check(&[&self.service], self.now).is_err() {
            return false;
        }
        let secret = SecretBytes::copy_of(self.secret.as_bytes());
        let key = SigningKey::derive(&secret, claim.scope());
        claim.verify(request, &key, Paths::Normalized).is_ok()
    }

    fn header(&mut self, name: &str) -> &mut String {
        let mut headers = self.headers.iter_mut();
        let found = headers.find(|(other, _)| other.eq_ignore_ascii_case(name));
        &mut found.unwrap().1
    }

    /// A header that the signature covers, by its place.
    fn signed_header(&mut self, dice: &mut Dice) -> usize {
        let authorization = self.header("authorization").clone();
        let names = authorization.split("SignedHeaders=").nth(1).unwrap();
        let names: Vec<&str> = names.split(',').next().unwrap().split(';').collect();
        let name = names[dice.below(names.len() as u64) as usize];
        let mut headers = self.headers.iter();
        headers
            .position(|(other, _)| other.eq_ignore_ascii_case(name))
            .unwrap()
    }
}

/// Another digit in a text, from `from` on.
fn other_digit(text: &mut String, from: usize, dice: &mut Dice) {
    let at = from + dice.below((text.len() - from) as u64) as usize;
    let digit = if text.as_bytes()[at] == b'0' {
        "1"
    } else {
        "0"
    };
    text.replace_range(at..=at, digit);
}

/// A request that nobody signed: one thing is another one. What was done, for when it is let in.
fn spoil(request: &mut Request, dice: &mut Dice) -> &'static str {
    match dice.below(14) {
        0 => {
            let header = request.header("authorization");
            let from = header.rfind('=').unwrap() + 1;
            other_digit(header, from, dice);
            "signature"
        }
        1 => {
            let at = dice.below(request.body.len() as u64 + 1) as usize;
            request.body.insert(at, 0);
            "longer body"
        }
        2 if !request.body.is_empty() => {
            let at = dice.below(request.body.len() as u64) as usize;
            request.body[at] ^= 1 << dice.below(8);
            "body"
        }
        3 => {
            // At its end: what stands before a `..` does not count.
            request.path.push('x');
            "path"
        }
        4 => {
            let more = if request.query.is_empty() {
                "a=b"
            } else {
                "&a=b"
            };
            request.query.push_str(more);
            "query"
        }
        5 => {
            request.method = if request.method == "POST" {
                "GET"
            } else {
                "POST"
            }
            .to_owned();
            "method"
        }
        6 => {
            let at = request.signed_header(dice);
            request.headers[at].1.push('x');
            "header"
        }
        7 => {
            let at = request.signed_header(dice);
            request.headers.remove(at);
            "header left out"
        }
        8 => {
            let at = request.signed_header(dice);
            let again = request.headers[at].clone();
            request.headers.push((again.0, format!("{}y", again.1)));
            "header twice"
        }
        9 => {
            let unsigned = ("X-Amz-Unsigned".to_owned(), "1".to_owned());
            request.headers.push(unsigned);
            "header that is not covered"
        }
        10 => {
            let (from, to) = (dice.below(2), ["us-west-2", "eu-central-1"]);
            let header = request.header("authorization");
            let scope = header.split('/').nth(2).unwrap().to_owned();
            *header = header.replacen(
                &format!("/{scope}/"),
                &format!("/{}/", to[from as usize]),
                1,
            );
            "region"
        }
        11 => {
            let other = if request.service == "kms" {
                "sts"
            } else {
                "kms"
            };
            let header = request.header("authorization");
            let own = if other == "kms" { "/sts/" } else { "/kms/" };
            *header = header.replacen(own, &format!("/{other}/"), 1);
            other.clone_into(&mut request.service);
            "service"
        }
        12 => {
            request.now += if dice.below(2) == 0 { 301 } else { -301 };
            "too late or too early"
        }
        _ => {
            other_digit(&mut request.secret, 0, dice);
            "secret"
        }
    }
}

#[test]
fn botocore_is_let_in_and_nobody_who_alters_what_it_signed() {
    let Some(path) = std::env::var_os("WAXSEAL_BOTOCORE_CASES") else {
        let missing = "100,000 requests signed by botocore were NOT verified: \
                       WAXSEAL_BOTOCORE_CASES names no file (conformance/interop/py/sigv4_random.py \
                       makes one)";
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{missing}");
        eprintln!("{missing}");
        return;
    };
    let (mut dice, _) = Dice::new(16);
    let lines = BufReader::new(std::fs::File::open(path).unwrap()).lines();
    let (mut count, mut refused) = (0_usize, 0_usize);
    for line in lines {
        let line = line.unwrap();
        let request = Request::read(&line);
        assert!(request.is_let_in(), "{line}");
        count += 1;
        // The window holds to the second, each way.
        for seconds in [300, -300] {
            let mut late = request.clone();
            late.now += seconds;
            assert!(late.is_let_in(), "{seconds}: {line}");
        }
        for _ in 0..SPOILT {
            let mut spoilt = request.clone();
            let what = spoil(&mut spoilt, &mut dice);
            assert!(!spoilt.is_let_in(), "{what}: {line}");
            refused += 1;
        }
    }
    assert!(count >= CASES, "{count} cases, not {CASES}");
    promise(
        "16",
        format_args!(
            "{count} requests signed by botocore verified, {refused} altered ones refused"
        ),
    );
}
