//! Signatures of other people's making: the published test suite, and requests signed by the AWS
//! SDK's own signer.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "test code"
)]

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use proptest::prelude::*;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};
use waxseal_core::SecretBytes;
use waxseal_kms_api::sigv4::{Claim, Paths, SignedRequest, SigningKey};
use waxseal_kms_api::{ErrorCode, KmsError};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const NOW: i64 = 1_440_938_160;
const ACCESS_KEY_ID: &str = "AKIDEXAMPLE";

/// A request that owns its parts.
#[derive(Debug, Clone)]
struct Request {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn with<R>(&self, then: impl FnOnce(SignedRequest<'_>) -> R) -> R {
        let headers = self.headers.iter();
        let headers: Vec<(&str, &str)> = headers.map(|(n, v)| (n.as_str(), v.as_str())).collect();
        then(SignedRequest {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &headers,
            body: &self.body,
        })
    }

    /// Access key id, Region and service of the scope, and the time.
    fn verified(&self, service: &str, paths: Paths) -> Result<([String; 3], i64), KmsError> {
        self.with(|request| {
            let claim = Claim::parse(request)?;
            claim.check(&[service], NOW)?;
            let secret = SecretBytes::copy_of(SECRET.as_bytes());
            let key = SigningKey::derive(&secret, claim.scope());
            let verified = claim.verify(request, &key, paths)?;
            let scope = verified.scope;
            let told = [scope.access_key_id, scope.region, scope.service].map(str::to_owned);
            Ok((told, verified.seconds))
        })
    }

    fn kms(&self) -> Result<([String; 3], i64), KmsError> {
        self.verified("kms", Paths::Normalized)
    }

    fn refused(&self) -> ErrorCode {
        self.kms().unwrap_err().code
    }

    fn header(&mut self, name: &str) -> &mut String {
        let found = self.headers.iter_mut().find(|(other, _)| other == name);
        &mut found.unwrap().1
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self
    }

    fn and(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// As the Rust SDK signs it.
    fn signed(mut self, service: &str, token: Option<&str>, at: i64) -> Self {
        let token = token.map(str::to_owned);
        let identity = Credentials::new(ACCESS_KEY_ID, SECRET, token, None, "test").into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region("eu-west-1")
            .name(service)
            .time(UNIX_EPOCH + Duration::from_secs(at.try_into().unwrap()))
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let uri = match self.query.as_str() {
            "" => format!("https://kms.example{}", self.path),
            query => format!("https://kms.example{}?{query}", self.path),
        };
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_str(), value.as_str()));
        let body = SignableBody::Bytes(&self.body);
        let signable = SignableRequest::new(&self.method, uri, headers, body).unwrap();
        let (instructions, _) = sign(signable, &parameters).unwrap().into_parts();
        for (name, value) in instructions.headers() {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}

fn plain() -> Request {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Request {
        method: "POST".to_owned(),
        path: "/".to_owned(),
        query: String::new(),
        headers: vec![
            header("host", "kms.example"),
            header("content-type", "application/x-amz-json-1.1"),
            header("x-amz-target", "TrentService.Decrypt"),
        ],
        body: b"{}".to_vec(),
    }
}

fn good() -> Request {
    plain().signed("kms", None, NOW)
}

/// Where cargo keeps the sources of crate aws-sigv4.
fn suite() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let named = packages.iter().find(|p| p["name"] == "aws-sigv4").unwrap();
    let manifest = PathBuf::from(named["manifest_path"].as_str().unwrap());
    manifest.parent().unwrap().join("aws-signing-test-suite/v4")
}

fn parsed(text: &str) -> Request {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let first = lines.next().unwrap().strip_suffix(" HTTP/1.1").unwrap();
    let (method, uri) = first.split_once(' ').unwrap();
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        match line.strip_prefix(' ') {
            Some(more) => {
                let (_, value) = headers.last_mut().unwrap();
                *value = format!("{value} {}", more.trim());
            }
            None => {
                let (name, value) = line.split_once(':').unwrap();
                headers.push((name.to_owned(), value.to_owned()));
            }
        }
    }
    Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: body.as_bytes().to_vec(),
    }
}

#[test]
fn the_published_suite() {
    let mut seen = 0;
    for entry in std::fs::read_dir(suite()).unwrap() {
        let directory = entry.unwrap().path();
        let name = directory.file_name().unwrap().to_str().unwrap().to_owned();
        // Two are of the crate's own making, in another form.
        if !directory.join("context.json").is_file() {
            continue;
        }
        let read = |file: &str| std::fs::read_to_string(directory.join(file)).unwrap();
        let settings: Value = serde_json::from_str(&read("context.json")).unwrap();
        let paths = match settings["normalize"].as_bool() {
            Some(false) => Paths::AsGiven,
            _ => Paths::Normalized,
        };
        let request = parsed(&read("header-signed-request.txt"));
        let service = settings["service"].as_str().unwrap();
        let verified = request.verified(service, paths);
        seen += 1;
        if name == "post-sts-header-after" {
            // Its session token was added after signing, and is not covered.
            assert_eq!(verified.unwrap_err().code, ErrorCode::InvalidSignature);
            continue;
        }
        assert!(verified.is_ok(), "{name}: {verified:?}\n{request:?}");
        let mut other = request.clone();
        other.body.push(b'x');
        let refused = other.verified(service, paths).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidSignature, "{name}");
    }
    assert!(seen >= 38, "only {seen} cases");
    println!("{seen} cases of the suite");
}

#[test]
fn what_is_verified_is_told() {
    let (told, seconds) = good().kms().unwrap();
    assert_eq!(told, [ACCESS_KEY_ID, "eu-west-1", "kms"]);
    assert_eq!(seconds, NOW);
    let session = plain().signed("kms", Some("token/+="), NOW);
    assert!(session.kms().is_ok());
    let token = session.with(|request| Claim::parse(request).unwrap().session_token().is_some());
    assert!(token);
}

#[test]
fn the_window_is_five_minutes_each_way() {
    let skewed = |skew| plain().signed("kms", None, NOW + skew).kms();
    for skew in [-300, -299, 299, 300] {
        assert!(skewed(skew).is_ok(), "{skew}");
    }
    assert_eq!(
        skewed(-301).unwrap_err().message.unwrap(),
        "Signature expired: 20150830T123059Z is now earlier than 20150830T123100Z \
         (20150830T123600Z - 5 min.)"
    );
    assert_eq!(
        skewed(301).unwrap_err().message.unwrap(),
        "Signature not yet current: 20150830T124101Z is still later than 20150830T124100Z \
         (20150830T123600Z + 5 min.)"
    );
}

#[test]
fn scopes_of_others_are_refused() {
    let other = plain().signed("s3", None, NOW).kms().unwrap_err();
    assert_eq!(
        other.message.unwrap(),
        "Credential should be scoped to correct service: 'kms'. "
    );
    // The Region is part of the key: it cannot be exchanged.
    let mut moved = good();
    let header = moved.header("authorization");
    *header = header.replace("eu-west-1", "us-east-1");
    assert_eq!(moved.refused(), ErrorCode::InvalidSignature);
    let mut day = good();
    let header = day.header("authorization");
    *header = header.replace("20150830", "20150829");
    let message = day.kms().unwrap_err().message.unwrap();
    assert!(message.contains("does not match YYYYMMDD"), "{message}");
}

#[test]
fn what_must_be_covered_is_covered() {
    // Headers that came later and are not signed.
    for name in ["x-amz-security-token", "X-Amz-Anything"] {
        assert_eq!(good().and(name, "v").refused(), ErrorCode::InvalidSignature);
    }
    // Others may be added on the way.
    assert!(good().and("x-forwarded-for", "203.0.113.7").kms().is_ok());
    let nowhere = good().without("host");
    assert_eq!(nowhere.refused(), ErrorCode::InvalidSignature);
    let mut unsigned = good();
    let header = unsigned.header("authorization");
    *header = header.replace("host;", "");
    let message = unsigned.kms().unwrap_err().message.unwrap();
    assert!(message.starts_with("'Host'"), "{message}");
}

#[test]
fn what_is_there_twice_is_refused() {
    for name in ["authorization", "x-amz-date", "x-amz-target", "host"] {
        let request = good();
        let value = request.clone().header(name).clone();
        for twice in [value.as_str(), "other"] {
            let refused = request.clone().and(name, twice).refused();
            assert_eq!(refused, ErrorCode::IncompleteSignature, "{name}");
        }
    }
}

#[test]
fn headers_that_are_no_signature() {
    assert_eq!(plain().refused(), ErrorCode::MissingAuthenticationToken);
    let header = good().header("authorization").clone();
    for wrong in [
        String::new(),
        "AWS4-HMAC-SHA256".to_owned(),
        "Bearer abc".to_owned(),
        header.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        header.replace("Credential=", "Kredential="),
        header.replace("Signature=", ""),
        header.replace("SignedHeaders=", "SignedHeaders"),
        header.replace("/aws4_request", ""),
        header.replace("AKIDEXAMPLE", ""),
        header.replace("AKIDEXAMPLE", "AKID\u{e9}XAMPLE"),
        format!("{header}, Signature=00"),
        "A".repeat(100_000),
    ] {
        let mut request = good();
        request.header("authorization").clone_from(&wrong);
        let refused = request.refused();
        assert_eq!(refused, ErrorCode::IncompleteSignature, "{wrong:.80}");
    }
    for wrong in ["", "yesterday", "2015-08-30T12:36:00Z", "99999999T999999Z"] {
        let mut request = good();
        wrong.clone_into(request.header("x-amz-date"));
        assert_eq!(request.refused(), ErrorCode::IncompleteSignature, "{wrong}");
    }
    let dateless = good().without("x-amz-date");
    assert!(dateless.kms().is_err());
    // `Date` takes its place, and must then be what was signed.
    let dated = dateless.and("date", "20150830T123600Z");
    assert_eq!(dated.refused(), ErrorCode::InvalidSignature);
}

#[test]
fn every_digit_of_the_signature_counts() {
    let header = good().header("authorization").clone();
    let begin = header.len() - 64;
    let with = |text: String| {
        let mut request = good();
        *request.header("authorization") = text;
        request.kms()
    };
    for at in begin..header.len() {
        let mut changed = header.clone().into_bytes();
        changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
        assert!(with(String::from_utf8(changed).unwrap()).is_err());
    }
    let (before, signature) = header.split_at(begin);
    assert!(with(before.to_owned() + &signature[..63]).is_err());
    assert!(with(format!("{header}0")).is_err());
    assert!(with(before.to_owned() + &signature.to_ascii_uppercase()).is_err());
}

fn requests() -> impl Strategy<Value = Request> {
    let header = ("[a-z][a-z0-9-]{0,12}", "[ -~]{0,40}");
    let pair = ("[a-zA-Z0-9._~-]{1,6}", "[a-zA-Z0-9._~-]{0,6}");
    (
        prop::sample::select(vec!["GET", "POST", "PUT"]),
        prop::collection::vec("[a-zA-Z0-9._~-]{0,8}", 0..4),
        prop::collection::vec(pair, 0..4),
        prop::collection::vec(header, 0..5),
        prop::collection::vec(any::<u8>(), 0..200),
    )
        .prop_map(|(method, segments, pairs, headers, body)| {
            let mut request = plain();
            request.method = method.to_owned();
            request.path = format!("/{}", segments.join("/"));
            let pairs: Vec<String> = pairs.iter().map(|(n, v)| format!("{n}={v}")).collect();
            request.query = pairs.join("&");
            for (name, value) in headers {
                let known = request.headers.iter().any(|(other, _)| *other == name);
                let special = ["date", "authorization", "te", "user-agent", "connection"];
                if !known && !special.contains(&name.as_str()) && !name.starts_with("x-amz") {
                    request.headers.push((name, value));
                }
            }
            request.body = body;
            request
        })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_the_sdk_signs_verifies_and_nothing_else(
        request in requests(),
        token in prop::option::of("[!-~]{1,60}"),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let signed = request.signed("kms", token.as_deref(), NOW);
        let verified = signed.kms();
        prop_assert!(verified.is_ok(), "{verified:?} {signed:?}");

        let mut other = signed.clone();
        other.body.push(b'x');
        prop_assert!(other.kms().is_err());
        let mut other = signed.clone();
        other.method.push('X');
        prop_assert!(other.kms().is_err());
        if !signed.body.is_empty() {
            let mut other = signed.clone();
            let at = at.index(other.body.len());
            other.body[at] ^= 1 << bit;
            prop_assert!(other.kms().is_err());
        }
        let mut other = signed.clone();
        "TrentService.Encrypt".clone_into(other.header("x-amz-target"));
        prop_assert!(other.kms().is_err());
        let mut other = signed;
        other.query.push_str("&z=1");
        prop_assert!(other.kms().is_err());
    }
}
