//! Bytes of every evil kind against a server: bodies that are no JSON or too much of it, values of the
//! wrong kind for every member of every operation, policies, grants, ciphertexts, public keys and
//! attestation documents that are none, heads that are no HTTP, and requests with anything altered.
//!
//! Each is answered with an error that clients know, or, where it is no HTTP, refused by the protocol;
//! none with an error of the server's own, none by a panic, none without its record where it became a
//! request. Memory stays bounded, and afterwards everything works.
//!
//! What stands at the edges of the model's constraints is in `conformance/interop/py/kms_bounds.py`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;
use waxseal_conformance::inputs::{members, required};
use waxseal_conformance::served::Answer;
use waxseal_conformance::world::quick_place;
use waxseal_conformance::{Dice, Served, World, promise, tier};
use waxseal_kms::audit;
use waxseal_kms_api::ErrorCode;
use waxseal_kms_api::model::Kind;
use waxseal_kms_api::op::OPERATIONS;

/// What an answer may take on a machine that does other things. What it takes is told.
const BOUND: Duration = Duration::from_secs(2);
/// The promise on a machine of its own.
const PROMISED: Duration = Duration::from_millis(10);
/// What may be added to the memory of the server, in KiB, whatever it is sent: keys that were made on
/// the way are in it.
const GROWTH_KIB_MAX: u64 = 64 * 1024;
/// The longest answer that a body as long as it may be can have.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// How long the rest of something is waited for that is perhaps no whole request.
const PATIENCE: Duration = Duration::from_millis(30);
/// A body as long as it may be.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// A server under attack, and what it made of it.
struct Attack<'s> {
    server: &'s Served,
    /// How long refusals took, and of what.
    took: Vec<(Duration, String)>,
    /// Requests that must be in the log, by their ids.
    ids: HashMap<String, String>,
    /// How many there were of each kind.
    kinds: BTreeMap<&'static str, usize>,
    /// How many the protocol refused.
    by_protocol: usize,
    done: usize,
    /// The longest answer, in bytes, and to what.
    longest: (usize, String),
    faults: Vec<String>,
}

impl<'s> Attack<'s> {
    fn new(server: &'s Served) -> Self {
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
    fn ask(&mut self, kind: &'static str, operation: &str, body: &[u8]) -> Answer {
        let answer = self.server.send(operation, body, "");
        self.request(kind, answer, || told(operation, body))
    }

    /// Notes the answer to what is a whole request.
    fn request(&mut self, kind: &'static str, answer: Answer, what: impl Fn() -> String) -> Answer {
        match answer.header("x-amzn-requestid") {
            Some(id) => drop(self.ids.insert(id.to_owned(), what())),
            None => self.faults.push(format!("no id: {}: {answer:?}", what())),
        }
        self.bytes(kind, answer, what)
    }

    /// Notes the answer to bytes that need not be a request.
    fn bytes(&mut self, kind: &'static str, answer: Answer, what: impl Fn() -> String) -> Answer {
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

    fn count(&self) -> usize {
        self.kinds.values().sum()
    }
}

/// The beginning of a case, for whoever has to find it.
fn told(operation: &str, body: &[u8]) -> String {
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

#[test]
fn whatever_comes_is_answered_as_it_should_be() {
    let (mut dice, seed) = Dice::new(0x5ea1_1515);
    let world = World::new();
    let place = quick_place();
    let data = place.path().join("data");
    let data = data.to_str().unwrap().to_owned();
    // Without a root no attestation document is looked at.
    let root = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../crates/kms/tests/data/customer-ca.pem"
    );
    let more = ["--dev", "--data", &data, "--attestation-root", root];
    let mut server = Served::start(&world, &more);
    // So that what is needed anyway is there.
    for _ in 0..50 {
        assert_eq!(Keys::new(&server).opened(&server), b"text");
    }
    let before = server.resident_kib("VmRSS");
    let mut attack = Attack::new(&server);
    bodies(&mut attack);
    values(&mut attack);
    let keys = Keys::new(&server);
    policies(&mut attack, &keys);
    grants(&mut attack, &keys);
    ciphertexts(&mut attack, &keys, &mut dice);
    structures(&mut attack, &keys);
    other_services(&mut attack);
    heads(&mut attack);
    altered(&mut attack, &keys, &mut dice);
    let (after, most) = (server.resident_kib("VmRSS"), server.resident_kib("VmHWM"));
    assert_eq!(keys.opened(&server), b"text", "it works as before");
    let count = attack.count();
    let Attack {
        mut took,
        ids,
        kinds,
        by_protocol,
        done,
        longest,
        faults,
        ..
    } = attack;
    assert_eq!(server.end_by("TERM").code(), Some(0));
    assert_no_panic(&world);
    assert!(
        after.saturating_sub(before) < GROWTH_KIB_MAX && most < before + 2 * GROWTH_KIB_MAX,
        "{before} KiB, then {after}, at most {most}"
    );
    let log = std::path::Path::new(&data).join("audit");
    audit::verify(&log).unwrap();
    let recorded: HashSet<String> = audit::records(&log)
        .map(|record| record.unwrap().event().unwrap()["requestID"].clone())
        .filter_map(|id| id.as_str().map(str::to_owned))
        .collect();
    took.sort();
    println!("{kinds:?}; the longest answer has {longest:?}; the slowest:");
    for (time, what) in took.iter().rev().take(12) {
        println!("{time:.1?} {what}");
    }
    assert!(
        faults.is_empty(),
        "seed {seed}, {} faults:\n{}",
        faults.len(),
        faults[..faults.len().min(20)].join("\n")
    );
    assert!(longest.0 < ANSWER_BYTES_MAX, "{longest:?}");
    let missing: Vec<_> = ids
        .iter()
        .filter(|(id, _)| !recorded.contains(*id))
        .collect();
    assert!(missing.is_empty(), "without a record: {missing:?}");
    let strangers = strangers(&mut dice);
    let within = took.partition_point(|(time, _)| *time <= PROMISED);
    promise(
        "15",
        format!(
            "{count} hostile requests of {} kinds (seed {seed}): {} refused, {by_protocol} of them by the \
             protocol, {done} harmless, {} recorded; {:.2} % of the refusals within {PROMISED:?}, 99.9 % \
             within {:.1?}, all within {:.1?}; {} MiB of memory more; {strangers}",
            kinds.len(),
            took.len(),
            ids.len(),
            100.0 * within as f64 / took.len() as f64,
            took[took.len() * 999 / 1000].0,
            took[took.len() - 1].0,
            after.saturating_sub(before).div_ceil(1024),
        ),
    );
}

fn assert_no_panic(world: &World) {
    let said = String::from_utf8_lossy(&world.read("served.err")).into_owned();
    assert!(!said.contains("panick"), "{said}");
}

/// Keys that are used as they should be.
struct Keys {
    symmetric: String,
    blob: Vec<u8>,
    mac: String,
    pair: String,
    agreement: String,
    kem: String,
    external: String,
}

impl Keys {
    fn new(server: &Served) -> Self {
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

    fn opened(&self, server: &Served) -> Vec<u8> {
        let body = json!({ "CiphertextBlob": STANDARD.encode(&self.blob) });
        let opened = server.done("Decrypt", &body);
        STANDARD
            .decode(opened["Plaintext"].as_str().unwrap())
            .unwrap()
    }
}

/// `text` so often that a body is full of it.
fn full_of(text: &str) -> String {
    text.repeat((BODY_BYTES_MAX - 100) / text.len())
}

fn nested(depth: usize, open: &str, close: &str) -> String {
    format!("{}1{}", open.repeat(depth), close.repeat(depth))
}

/// Bodies that are no input of any operation.
fn bodies(attack: &mut Attack<'_>) {
    let numbers: String = (0..9_000).map(|n| format!("\"m{n}\":{n},")).collect();
    let mut bodies: Vec<Vec<u8>> = [
        " ",
        "{",
        "}",
        "[]",
        "null",
        "true",
        "5",
        "1e400",
        "\"\"",
        "{]",
        "[}",
        "{}{}",
        "{} x",
        "{\"\"}",
        "{\"KeyId\"}",
        "{\"KeyId\":}",
        "{\"KeyId\":\"x\"",
        "{\"KeyId\":\"x",
        "{\"KeyId\":\"x\\",
        "{\"KeyId\":\"x\",}",
        "{,}",
        "{KeyId:\"x\"}",
        "{'KeyId':'x'}",
        "// a comment\n{}",
        "{\"KeyId\":\"x\" /* a comment */}",
        "\u{feff}{}",
        "\0{}",
        "{}\0",
        "{\"a\tb\":1}",
        "{\"\\ud800\":1}",
        "{\"KeyId\":\"\\udfff\\ud800\"}",
        "{\"KeyId\":\"\\u12\"}",
        "{\"__proto__\":{\"KeyId\":\"x\"},\"constructor\":1}",
        "{\"keyid\":\"x\",\"KEYID\":\"x\",\"Key\\u0049d\":\"x\"}",
        "<KeyId>x</KeyId>",
        "KeyId=x&Plaintext=y",
    ]
    .map(Vec::from)
    .into();
    bodies.extend([
        b"{\"KeyId\":\"\xff\xfe\"}".to_vec(),
        b"{\"\xc0\xaf\":1}".to_vec(),
        b"{\"KeyId\":\"\xed\xa0\x80\"}".to_vec(),
        vec![0; BODY_BYTES_MAX],
        vec![0xff; BODY_BYTES_MAX],
    ]);
    bodies.extend(
        [
            nested(17, "[", "]"),
            nested(17, "{\"a\":", "}"),
            nested(30_000, "[", "]"),
            format!("{{\"KeyId\":{}", "[".repeat(60_000)),
            full_of("{\"a\":"),
            full_of("[[],"),
            full_of("{}"),
            full_of(" "),
            format!("{{\"a\":{}}}", full_of("9")),
            format!("{{\"a\":0.{}}}", full_of("9")),
            format!("{{\"a\":1e{}}}", full_of("9")),
            format!("{{\"a\":\"{}\"}}", full_of("\\u0000")),
            format!("{{\"{}\":1}}", full_of("a")),
            format!("{{{numbers}\"m\":1}}")
                .chars()
                .take(BODY_BYTES_MAX)
                .collect(),
            format!("{{{}\"a\":1}}", full_of("\"a\":1,")),
            format!("{{\"a\":[{}1]}}", full_of("1,")),
        ]
        .map(String::into_bytes),
    );
    for operation in OPERATIONS {
        for body in &bodies {
            attack.ask("bodies", operation, body);
        }
    }
}

/// JSON, or nearly, that is the value of no member, or of few.
fn wrong_values() -> Vec<String> {
    let mut wrong: Vec<String> = [
        "null",
        "true",
        "0",
        "-1",
        "0.1",
        "2147483648",
        "-9223372036854775809",
        "18446744073709551616",
        "1e400",
        "-1e-400",
        "01",
        "NaN",
        "-Infinity",
        "\"\"",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"\\udc00\\ud800\"",
        "\"\\x41\"",
        "\"\u{1}\"",
        "\"\u{202e}\u{feff}\u{fffd}\"",
        "\"../../etc/passwd\"",
        "\"arn:aws:kms:::key/\"",
        "\"=====\"",
        "\"QQ\"",
        "\"QR==\"",
        "\"QUI_\"",
        "\"QUJD\\n\"",
        "[]",
        "[null]",
        "[[]]",
        "[\"\",1,{}]",
        "{}",
        "{\"\":\"\"}",
        "{\"a\":null}",
        "{\"a\":{\"a\":{}}}",
        "nul",
    ]
    .map(str::to_owned)
    .into();
    wrong.extend([
        nested(15, "[", "]"),
        nested(16, "[", "]"),
        nested(16, "{\"a\":", "}"),
        format!("\"{}\"", "x".repeat(60_000)),
        format!("[{}\"x\"]", "\"x\",".repeat(10_000)),
        format!("[{}{{}}]", "{},".repeat(10_000)),
        "9".repeat(60_000),
    ]);
    let pairs: Vec<String> = (0..4_000).map(|n| format!("\"{n}\":\"v\"")).collect();
    wrong.push(format!("{{{}}}", pairs.join(",")));
    wrong
}

/// An object of some members, and of one more whose value is any text.
fn object(others: &Map<String, Value>, name: &str, value: &str) -> String {
    let others = others.iter().filter(|(other, _)| *other != name);
    let others: String = others
        .map(|(other, value)| format!("{other:?}:{value},"))
        .collect();
    format!("{{{others}\"{name}\":{value}}}")
}

/// Each member of each operation with each wrong value, and there twice; and each member of these.
fn values(attack: &mut Attack<'_>) {
    let wrong = wrong_values();
    for operation in OPERATIONS {
        let made = attack.server.done("CreateKey", &json!({}));
        let key = made["KeyMetadata"]["KeyId"].as_str().unwrap();
        let whole = required(members(operation), key);
        for member in members(operation) {
            let mut spoil = |value: &str| {
                let body = object(&whole, member.name, value);
                attack.ask("values", operation, body.as_bytes());
            };
            wrong.iter().for_each(|value| spoil(value));
            spoil(&format!("\"x\",\"{}\":\"x\"", member.name));
            let inner = member.rule.members.unwrap_or_default();
            let others = required(inner, key);
            for one in inner {
                for value in &wrong {
                    let value = object(&others, one.name, value);
                    match member.rule.kind {
                        Kind::List => spoil(&format!("[{value}]")),
                        _ => spoil(&value),
                    }
                }
            }
        }
    }
}

/// A policy under which the owner goes on, with another statement.
fn policy(statement: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":"*","Action":"kms:*",
        "Resource":"*"}},{statement}]}}"#
    )
}

/// Policies that are none, and policies that are hard to evaluate. Those that are taken are used.
fn policies(attack: &mut Attack<'_>, keys: &Keys) {
    let deny = |condition: &str| {
        policy(&format!(
            r#"{{"Effect":"Deny","Principal":"*","Action":"kms:Encrypt","Resource":"*","Condition":{condition}}}"#
        ))
    };
    let like = |pattern: &str| {
        deny(&format!(
            r#"{{"StringLike":{{"kms:EncryptionContext:a":"{pattern}"}}}}"#
        ))
    };
    let many: Vec<String> = (0..60)
        .map(|n| format!("\"{}{n}\"", "*a?".repeat(100)))
        .collect();
    let actions: Vec<String> = (0..1_500).map(|n| format!("\"kms:*{n}*\"")).collect();
    let hostile = [
        String::new(),
        "x".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        r#"{"Version":"2012-10-17"}"#.to_owned(),
        r#"{"Version":"2012-10-17","Statement":[]}"#.to_owned(),
        r#"{"Version":5,"Statement":{}}"#.to_owned(),
        r#"{"Version":"2012-10-17","Version":"2008-10-17","Statement":{}}"#.to_owned(),
        r#"{"Version":"2012-10-17","Statement":[[]]}"#.to_owned(),
        policy("null"),
        policy("{}"),
        policy(r#"{"Effect":"allow","Principal":"*","Action":"kms:*","Resource":"*"}"#),
        policy(
            r#"{"Effect":"Allow","Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*"}"#,
        ),
        policy(r#"{"Effect":"Allow","Principal":{"AWS":{}},"Action":"kms:*","Resource":"*"}"#),
        policy(r#"{"Effect":"Allow","Principal":{"AWS":[[]]},"Action":"kms:*","Resource":"*"}"#),
        policy(r#"{"Effect":"Allow","Principal":{"Nobody":"*"},"Action":"kms:*","Resource":"*"}"#),
        policy(r#"{"Effect":"Allow","Principal":"\ud800","Action":"kms:*","Resource":"*"}"#),
        policy(r#"{"Effect":"Allow","Principal":"*","Action":["kms:*",5],"Resource":"*"}"#),
        policy(r#"{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","More":1}"#),
        deny("[]"),
        deny(r#"{"StringLike":[]}"#),
        deny(r#"{"Rhyme":{"kms:ViaService":"x"}}"#),
        deny(r#"{"ForAllValues:ForAnyValue:StringLike":{"kms:ViaService":"x"}}"#),
        deny(r#"{"NumericLessThan":{"kms:GrantIsForAWSResource":"1e999"}}"#),
        deny(r#"{"DateLessThan":{"aws:CurrentTime":"+999999999-01-01T00:00:00Z"}}"#),
        deny(r#"{"IpAddress":{"aws:SourceIp":"::/999"}}"#),
        deny(r#"{"BinaryEquals":{"kms:ViaService":"====="}}"#),
        deny(r#"{"StringLike":{"kms:EncryptionContext:a":"${${aws:a}"}}"#),
        deny(r#"{"StringLike":{"kms:EncryptionContext:a":"${aws:username"}}"#),
        deny(&nested(20, "[", "]")),
        deny(&nested(5_000, "{\"a\":", "}")),
        deny(&nested(10_000, "[", "]")),
        like(&"*a".repeat(10_000)),
        like(&format!("{}b", "*a".repeat(10_000))),
        like(&format!("{}b", "*?a".repeat(5_000))),
        like(&"*".repeat(30_000)),
        like(&"?".repeat(30_000)),
        deny(&format!(
            r#"{{"StringLike":{{"kms:EncryptionContext:a":[{}]}}}}"#,
            many.join(",")
        )),
        policy(&format!(
            r#"{{"Effect":"Deny","Principal":"*","NotAction":[{},"*"],"Resource":"*"}}"#,
            actions.join(",")
        )),
        policy(&full_of("x")[..32_000]),
        full_of(" "),
        full_of("{"),
    ];
    let text = STANDARD.encode("text");
    let context = json!({ "a": "a".repeat(8_000) });
    for document in &hostile {
        for is_meant in [false, true] {
            let made = attack.server.done("CreateKey", &json!({}));
            let key = &made["KeyMetadata"]["KeyId"];
            let put = json!({ "KeyId": key, "Policy": document,
                              "BypassPolicyLockoutSafetyCheck": is_meant });
            let put = attack.ask("policies", "PutKeyPolicy", put.to_string().as_bytes());
            if put.status() == 200 {
                let used = json!({ "KeyId": key, "Plaintext": text, "EncryptionContext": context });
                let used = attack.ask("policies", "Encrypt", used.to_string().as_bytes());
                assert!(used.took < BOUND, "{document}");
            }
        }
        let made = json!({ "Policy": document });
        attack.ask("policies", "CreateKey", made.to_string().as_bytes());
    }
    // Names that are none, or lead elsewhere.
    for name in [
        "alias/",
        "alias//",
        "alias/aws/x",
        "alias/\u{202e}",
        "key/",
        "arn:aws:kms:local:000000000000:key",
        "arn:aws:kms:local:000000000000:key/../..",
        "arn::::::::::::",
        "%00",
        "x\n",
    ] {
        for operation in [
            "DescribeKey",
            "Encrypt",
            "ScheduleKeyDeletion",
            "ListGrants",
        ] {
            let body = json!({ "KeyId": name, "Plaintext": text });
            attack.ask("names", operation, body.to_string().as_bytes());
        }
        let body = json!({ "AliasName": name, "TargetKeyId": keys.symmetric });
        attack.ask("names", "CreateAlias", body.to_string().as_bytes());
    }
    // What is told and recorded of them in another spelling is longer.
    let agent = format!("User-Agent: {}\r\n", "\"".repeat(28_000));
    for name in ["\"".repeat(30_000), "\0".repeat(10_000)] {
        let body = json!({ "AliasName": name, "TargetKeyId": keys.symmetric }).to_string();
        let answer = attack.server.send("CreateAlias", body.as_bytes(), &agent);
        attack.request("names", answer, || told("CreateAlias", body.as_bytes()));
    }
}

fn grants(attack: &mut Attack<'_>, keys: &Keys) {
    let long = "x".repeat(8_192);
    let pairs: Map<String, Value> = (0..3_000).map(|n| (n.to_string(), json!("v"))).collect();
    let hostile = [
        json!({ "GranteePrincipal": "*" }),
        json!({ "GranteePrincipal": "arn:aws:iam::000000000000:user/\u{0}" }),
        json!({ "GranteePrincipal": "arn:aws:iam::0:root" }),
        json!({ "GranteePrincipal": long }),
        json!({ "Operations": vec!["Encrypt"; 2_000] }),
        json!({ "Operations": ["encrypt", "*", ""] }),
        json!({ "Operations": [long] }),
        json!({ "Name": "\n" }),
        json!({ "Name": long }),
        json!({ "GrantTokens": vec![&long; 7] }),
        json!({ "GrantTokens": vec![""; 5_000] }),
        json!({ "Constraints": { "EncryptionContextSubset": pairs } }),
        json!({ "Constraints": { "EncryptionContextSubset": { "": "" },
                                 "EncryptionContextEquals": { "": "" } } }),
        json!({ "RetiringPrincipal": "arn:aws:sts::000000000000:assumed-role//" }),
    ];
    let whole = json!({
        "KeyId": keys.symmetric,
        "GranteePrincipal": "arn:aws:iam::111122223333:root",
        "Operations": ["Encrypt"],
    });
    for more in &hostile {
        let mut body = whole.clone();
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        attack.ask("grants", "CreateGrant", body.to_string().as_bytes());
    }
    for token in ["", "x", "AAAA", "....", &long] {
        for body in [
            json!({ "GrantToken": token }),
            json!({ "GrantId": token, "KeyId": keys.symmetric }),
            json!({ "GrantId": token, "KeyId": token }),
        ] {
            for operation in ["RetireGrant", "RevokeGrant"] {
                attack.ask("grants", operation, body.to_string().as_bytes());
            }
        }
        let body = json!({ "KeyId": keys.symmetric, "Plaintext": "AAAA", "GrantTokens": [token] });
        attack.ask("grants", "Encrypt", body.to_string().as_bytes());
        let body = json!({ "Marker": token, "Limit": 1, "KeyId": keys.symmetric });
        for operation in ["ListKeys", "ListGrants", "ListAliases", "ListKeyRotations"] {
            attack.ask("grants", operation, body.to_string().as_bytes());
        }
    }
}

/// Bytes that were altered, cut and lengthened at every place.
fn spoilt(bytes: &[u8]) -> Vec<Vec<u8>> {
    let flipped = (0..8 * bytes.len()).map(|bit| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    let cut = (0..bytes.len()).map(|length| bytes[..length].to_vec());
    let longer = [&b"\0"[..], bytes].map(|more| [bytes, more].concat());
    flipped.chain(cut).chain(longer).collect()
}

fn ciphertexts(attack: &mut Attack<'_>, keys: &Keys, dice: &mut Dice) {
    let mut blobs = spoilt(&keys.blob);
    for bytes in [1, 4, 100, 6_143, 6_144, 6_145, 40_000] {
        blobs.push(dice.bytes(bytes));
        blobs.push([&keys.blob[..20.min(bytes)], &dice.bytes(bytes)].concat());
    }
    // As Amazon KMS makes them.
    blobs.push([&[1, 2, 2, 0, 0x78][..], &dice.bytes(180)].concat());
    for blob in &blobs {
        let blob = STANDARD.encode(blob);
        let body = json!({ "CiphertextBlob": blob });
        let opened = attack.ask("ciphertexts", "Decrypt", body.to_string().as_bytes());
        assert_ne!(opened.status(), 200, "{blob} was opened");
    }
    for blob in blobs.iter().step_by(7) {
        let body =
            json!({ "CiphertextBlob": STANDARD.encode(blob), "DestinationKeyId": keys.symmetric });
        let made = attack.ask("ciphertexts", "ReEncrypt", body.to_string().as_bytes());
        assert_ne!(made.status(), 200, "{blob:?} was opened");
    }
}

/// What is DER, or was to be; CBOR as well.
fn structures(attack: &mut Attack<'_>, keys: &Keys) {
    let mut hostile = vec![
        vec![],
        vec![0x30],
        vec![0x30, 0x80],
        vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        [&[0x30, 0x89][..], &[0xff; 9]].concat(),
        [0x30, 0x00].repeat(2_000),
        [0x30, 0x82, 0x0f, 0xff].repeat(1_000),
        [&[0x02, 0x82, 0x10, 0x00][..], &[0xff; 4_096]].concat(),
        [&[0x06, 0x82, 0x10, 0x00][..], &[0xff; 4_096]].concat(),
        // Lists in lists, lists without an end, a list as long as all memory, tags of tags.
        vec![0x81; 6_000],
        vec![0x9f; 6_000],
        [&[0x9b][..], &[0xff; 8]].concat(),
        [&[0x5b][..], &[0x7f; 8]].concat(),
        vec![0xc6; 6_000],
        vec![0xa1; 6_000],
        vec![0x84, 0x43, 0xa1, 0x01, 0x38, 0x22, 0xa0, 0x41, 0x00, 0x40],
        [
            &[
                0xd2, 0x84, 0x44, 0xa1, 0x01, 0x38, 0x22, 0xa0, 0x59, 0xff, 0xff,
            ][..],
            &[0xbf; 90],
        ]
        .concat(),
    ];
    let public = attack
        .server
        .done("GetPublicKey", &json!({ "KeyId": keys.agreement }));
    let public = STANDARD
        .decode(public["PublicKey"].as_str().unwrap())
        .unwrap();
    hostile.extend(spoilt(&public).into_iter().step_by(3));
    let message = STANDARD.encode("message");
    let signed =
        json!({ "KeyId": keys.pair, "Message": message, "SigningAlgorithm": "ECDSA_SHA_256" });
    let signature = attack.server.done("Sign", &signed);
    let signature = STANDARD
        .decode(signature["Signature"].as_str().unwrap())
        .unwrap();
    let signatures = spoilt(&signature).into_iter().step_by(3);
    for bytes in hostile.into_iter().chain(signatures) {
        let bytes = STANDARD.encode(bytes);
        let recipient = json!({ "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256",
                                "AttestationDocument": bytes });
        for (operation, body) in [
            (
                "DeriveSharedSecret",
                json!({ "KeyId": keys.agreement, "KeyAgreementAlgorithm": "ECDH", "PublicKey": bytes }),
            ),
            (
                "Verify",
                json!({ "KeyId": keys.pair, "Message": message, "Signature": bytes,
                        "SigningAlgorithm": "ECDSA_SHA_256" }),
            ),
            (
                "VerifyMac",
                json!({ "KeyId": keys.mac, "Message": message, "Mac": bytes,
                        "MacAlgorithm": "HMAC_SHA_256" }),
            ),
            (
                "Decapsulate",
                json!({ "KeyId": keys.kem, "EncapsulationAlgorithm": "ML_KEM", "SharedSecretCiphertextBlob": bytes }),
            ),
            (
                "ImportKeyMaterial",
                json!({ "KeyId": keys.external, "ImportToken": bytes, "EncryptedKeyMaterial": bytes,
                        "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE" }),
            ),
            (
                "GenerateRandom",
                json!({ "NumberOfBytes": 8, "Recipient": recipient }),
            ),
            (
                "CreateCustomKeyStore",
                json!({ "CustomKeyStoreName": "x", "CloudHsmClusterId": "cluster-2a23b4cdefg",
                        "TrustAnchorCertificate": bytes, "KeyStorePassword": "password" }),
            ),
        ] {
            attack.ask("structures", operation, body.to_string().as_bytes());
        }
    }
}

/// STS, CloudTrail and S3, which are served as well.
fn other_services(attack: &mut Attack<'_>) {
    let names: String = (0..13_000).map(|n| format!("{n:x}&")).collect();
    let forms = [
        String::new(),
        "&&&&".to_owned(),
        "=".to_owned(),
        "Action".to_owned(),
        "Action=%".to_owned(),
        "Action=%4".to_owned(),
        "Action=%zz".to_owned(),
        "Action=%ff%fe".to_owned(),
        "Action=GetCallerIdentity&Action=AssumeRole".to_owned(),
        "Action=AssumeRole".to_owned(),
        "Action=AssumeRole&RoleArn=x&RoleSessionName=%00&DurationSeconds=1e9".to_owned(),
        "Action=AssumeRole&RoleArn=x&RoleSessionName=x&DurationSeconds=99999999999999999999"
            .to_owned(),
        format!(
            "Action=AssumeRole&RoleArn=x&RoleSessionName=x&Policy={}",
            full_of("%7B")
        ),
        format!(
            "Action=AssumeRoleWithWebIdentity&RoleArn=x&RoleSessionName=x&WebIdentityToken={}",
            full_of("a.")
        ),
        "Action=AssumeRoleWithWebIdentity&RoleArn=x&RoleSessionName=x&WebIdentityToken=e30.e30."
            .to_owned(),
        names,
        full_of("a=b&"),
        full_of("%00"),
    ];
    for form in &forms {
        let answer = attack.server.form(form);
        attack.request("forms", answer, || told("STS", form.as_bytes()));
    }
    let values = wrong_values();
    for name in [
        "DescribeTrails",
        "ListPublicKeys",
        "LookupEvents",
        "",
        "\u{e9}",
    ] {
        for value in &values {
            for member in ["StartTime", "LookupAttributes", "trailNameList"] {
                let body = format!("{{\"{member}\":{value}}}");
                let head = format!(
                    "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\
                     X-Amz-Target: com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.{name}\r\n\r\n",
                    body.len()
                );
                let answer = attack.server.raw(head.as_bytes(), body.as_bytes());
                attack.request("trail", answer, || told(name, body.as_bytes()));
            }
        }
    }
    for path in [
        "/",
        "//",
        "/%",
        "/%zz",
        "/%ff",
        "/..",
        "/x/../..",
        "/x/%2e%2e/%2e%2e/etc/passwd",
        "/waxseal/%00",
        "/waxseal?prefix=%00&max-keys=-1",
        "/waxseal?max-keys=99999999999999999999",
        "/waxseal?location&location",
        "/waxseal?acl",
        "/waxseal?marker=%zz",
    ] {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Amz-Date: 20260101T000000Z\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/s3/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature={}\r\n\r\n",
            "0".repeat(64)
        );
        let answer = attack.server.raw(head.as_bytes(), b"");
        attack.request("objects", answer, || told(path, b""));
    }
}

/// Heads that are no HTTP, or should not be.
fn heads(attack: &mut Attack<'_>) {
    let x = |bytes| "x".repeat(bytes);
    let lines: Vec<String> = [
        "POST / HTTP/1.1",
        "post / HTTP/1.1",
        "POST  /  HTTP/1.1",
        "POST / HTTP/1.0",
        "POST / HTTP/0.9",
        "POST / HTTP/9.9",
        "POST / HTTP/1.1 x",
        "POST / FTP/1.1",
        "POST /",
        "POST",
        "",
        " ",
        "\0",
        "GET / HTTP/1.1",
        "PUT / HTTP/1.1",
        "DELETE / HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "TRACE / HTTP/1.1",
        "CONNECT x:443 HTTP/1.1",
        "PATCH / HTTP/1.1",
        "PROPFIND / HTTP/1.1",
        "POST /x HTTP/1.1",
        "POST // HTTP/1.1",
        "POST /.. HTTP/1.1",
        "POST /%00 HTTP/1.1",
        "POST /%zz HTTP/1.1",
        "POST /?Action=x&%zz HTTP/1.1",
        "POST /# HTTP/1.1",
        "POST * HTTP/1.1",
        "POST x HTTP/1.1",
        "POST http://x/ HTTP/1.1",
        "POST http://[::1 HTTP/1.1",
        "POST http://user:password@x:99999999/ HTTP/1.1",
        "POST /\u{e9} HTTP/1.1",
        "GET /healthz/.. HTTP/1.1",
        "GET /metrics?x HTTP/1.1",
        "GET /reset HTTP/1.1",
        "PRI * HTTP/2.0",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([
        format!("POST /{} HTTP/1.1", x(70_000)),
        format!("{} / HTTP/1.1", x(40_000)),
    ])
    .collect();
    let target = "X-Amz-Target: TrentService.ListKeys";
    let headers = [
        "",
        target,
        "X-Amz-Target: TrentService.",
        "X-Amz-Target: TrentService.Dance",
        "X-Amz-Target: TrentService.ListKeys\r\nX-Amz-Target: TrentService.Encrypt",
        "X-Amz-Target: \u{0}",
        "X-Amz-Target: \u{e9}",
        &format!("X-Amz-Target: TrentService.{}", x(20_000)),
        &format!("{target}\r\nX-Long: {}", x(40_000)),
        &format!("{target}\r\n{}", "X-Many: x\r\n".repeat(2_000)),
        &format!("{target}\r\n{}: x", x(20_000)),
        &format!("{target}\r\n folded: x"),
        &format!("{target}\r\nno colon"),
        &format!("{target}\r\n: no name"),
        &format!("{target}\r\nbad name: x"),
        &format!("{target}\r\nContent-Type: application/x-www-form-urlencoded"),
        &format!("{target}\r\nContent-Type: {}", x(10_000)),
        &format!("{target}\r\nContent-Encoding: gzip"),
        &format!("{target}\r\nExpect: the-worst"),
        &format!("{target}\r\nUpgrade: websocket\r\nConnection: Upgrade"),
        &format!("{target}\r\nUser-Agent: \u{1b}[2J{}", x(9_000)),
        &format!("{target}\r\nAuthorization: Basic eDp4"),
        &format!("{target}\r\nX-Forwarded-For: 127.0.0.1\r\nX-Amz-Date: x\r\nDate: x"),
    ]
    .map(str::to_owned);
    let lengths = [
        "Content-Length: 2",
        "Content-Length: 1",
        "Content-Length: 200",
        "Content-Length: -2",
        "Content-Length: 0x2",
        "Content-Length: 2, 2",
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 2",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked, chunked",
    ];
    let bodies = [
        "{}",
        "2\r\n{}\r\n0\r\n\r\n",
        "ffffffffffffffff\r\n{}",
        "2;x=y\r\n{}\r\n0\r\nX: y\r\n\r\n",
        "-2\r\n{}",
    ];
    let mut all: Vec<String> = Vec::new();
    let plain = (&lines[0], target, lengths[0], bodies[0]);
    let mut add = |(line, header, length, body): (&String, &str, &str, &str)| {
        all.push(format!(
            "{line}\r\nHost: x\r\nConnection: close\r\n{header}\r\n{length}\r\n\r\n{body}"
        ));
    };
    for line in &lines {
        add((line, plain.1, plain.2, plain.3));
    }
    for header in &headers {
        add((plain.0, header, plain.2, plain.3));
    }
    for length in lengths {
        for body in bodies {
            add((plain.0, plain.1, length, body));
        }
    }
    let whole = all[0].clone();
    all.extend([
        whole.replace("Host: x\r\n", ""),
        whole.replace("Host: x\r\n", "Host: x\r\nHost: y\r\n"),
        whole.replace("Host: x", "Host: \u{e9}"),
        whole.replace("\r\n", "\n"),
        whole.replace("\r\n", "\r"),
        whole.replace(": ", " : "),
        whole.replace('x', "\u{1}"),
        format!("\r\n\r\n{whole}"),
        format!("{whole}{whole}"),
    ]);
    // And what is meant for another door: TLS, HTTP/2 with frames that are none.
    let mut bytes: Vec<Vec<u8>> = all.into_iter().map(String::into_bytes).collect();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    bytes.extend([
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        vec![0; 5_000],
        vec![0xff; 50_000],
        b"\n".repeat(50_000),
    ]);
    for frames in [
        &b""[..],
        &[0; 900],
        &[0xff; 900],
        b"GET / HTTP/1.1\r\n\r\n",
        &[0, 0, 0, 4, 0, 0, 0, 0, 0],
    ] {
        let cut = attack
            .server
            .exchange(&[&preface[..], frames].concat(), Some(PATIENCE));
        assert!(cut.took < BOUND, "{frames:?}");
        *attack.kinds.entry("frames").or_default() += 1;
    }
    // Every beginning of a request.
    bytes.extend(
        (0..whole.len())
            .step_by(9)
            .map(|length| whole.as_bytes()[..length].to_vec()),
    );
    for bytes in &bytes {
        let answer = attack.server.exchange(bytes, Some(PATIENCE));
        attack.bytes("heads", answer, || told("", bytes));
    }
}

/// Requests that are right, with some bytes altered, removed, doubled and added.
fn altered(attack: &mut Attack<'_>, keys: &Keys, dice: &mut Dice) {
    let request = |operation: &str, body: Value| {
        let body = body.to_string();
        format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Amz-Target: \
             TrentService.{operation}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    let (key, blob) = (&keys.symmetric, STANDARD.encode(&keys.blob));
    let whole = [
        request(
            "Encrypt",
            json!({ "KeyId": key, "Plaintext": "AAAA", "EncryptionContext": { "a": "b" } }),
        ),
        request(
            "Decrypt",
            json!({ "CiphertextBlob": blob, "GrantTokens": ["x"], "DryRun": true }),
        ),
        request(
            "GenerateDataKey",
            json!({ "KeyId": key, "NumberOfBytes": 32 }),
        ),
        request(
            "TagResource",
            json!({ "KeyId": key, "Tags": [{ "TagKey": "a", "TagValue": "b" }] }),
        ),
        request(
            "PutKeyPolicy",
            json!({ "KeyId": keys.mac, "Policy": policy("{}") }),
        ),
    ];
    const EVIL: &[&[u8]] = &[
        b"\0",
        b"\r",
        b"\n",
        b"\r\n",
        b":",
        b"\"",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"\xff",
        b"\xc3",
        b"\\u",
        b"-",
        b"1e9999",
        b"99999999999",
        b"%",
        b" ",
        b",",
    ];
    for _ in 0..tier(3_000, 300_000) {
        let mut bytes = dice.pick(&whole).clone();
        for _ in 0..1 + dice.below(3) {
            let at = dice.below(bytes.len() as u64) as usize;
            let end = bytes.len().min(at + 1 + dice.below(8) as usize);
            match dice.below(5) {
                0 => bytes[at] ^= 1 << dice.below(8),
                1 => drop(bytes.drain(at..end)),
                2 => {
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again.repeat(1 + dice.below(40) as usize));
                }
                3 => drop(bytes.splice(at..at, dice.pick(EVIL).iter().copied())),
                _ => drop(bytes.splice(at..end, dice.pick(EVIL).iter().copied())),
            }
        }
        let answer = attack.server.exchange(&bytes, Some(PATIENCE));
        attack.bytes("altered", answer, || told("", &bytes));
    }
}

/// A server that knows who calls, and people whom it does not know: what they send to be let in is as
/// hostile. Each is refused, and recorded or counted; the owner is let in all the same.
fn strangers(dice: &mut Dice) -> String {
    let world = World::new();
    world.ok(&["encrypt"], b"makes the key");
    let mut server = Served::start(&world, &[]);
    let mut attack = Attack::new(&server);
    let file = String::from_utf8(world.read("home/access-key")).unwrap();
    let id = file
        .lines()
        .find_map(|line| line.strip_prefix("aws_access_key_id = "));
    let now = time::OffsetDateTime::now_utc();
    let day = format!("{}{:02}{:02}", now.year(), u8::from(now.month()), now.day());
    let date = format!(
        "{day}T{:02}{:02}{:02}Z",
        now.hour(),
        now.minute(),
        now.second()
    );
    let signed = format!(
        "Authorization: AWS4-HMAC-SHA256 Credential={}/{day}/local/kms/aws4_request, \
         SignedHeaders=host;x-amz-date;x-amz-target, Signature={}\r\nX-Amz-Date: {date}\r\n",
        id.unwrap(),
        "0123456789abcdef".repeat(4)
    );
    for _ in 0..tier(1_500, 100_000) {
        let mut headers = signed.clone();
        for _ in 0..dice.below(3) {
            // Where a letter begins.
            let whole = |at: usize| (0..=at).rfind(|at| headers.is_char_boundary(*at)).unwrap();
            let begin = dice.below(headers.len() as u64 - 2) as usize;
            let end = (begin + dice.below(12) as usize).min(headers.len() - 2);
            let (begin, end) = (whole(begin), whole(end));
            let other = *dice.pick(&[
                "",
                "/",
                ",",
                ";",
                "=",
                " ",
                "x",
                "\u{e9}",
                "AKIA",
                "a;b;a",
                "99991231",
                "aws4_request",
                "Signature=",
                "Credential=",
                "SignedHeaders=",
                "host;host",
                "UNSIGNED-PAYLOAD",
                "%00",
            ]);
            headers.replace_range(begin..end, &other.repeat(1 + dice.below(3) as usize));
        }
        let answer = server.send("ListKeys", b"{}", &headers);
        let id = answer.header("x-amzn-requestid").map(str::to_owned);
        let answer = attack.bytes("strangers", answer, || told("", headers.as_bytes()));
        assert_ne!(answer.status(), 200, "{headers} was let in");
        attack.ids.extend(id.map(|id| (id, String::new())));
    }
    let (count, seen, faults) = (attack.count(), attack.ids.len(), attack.faults);
    assert!(faults.is_empty(), "{faults:?}");
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    let unrecorded = metrics
        .lines()
        .find_map(|line| line.strip_prefix("waxseal_unrecorded_refusals_total "));
    let unrecorded: usize = unrecorded.unwrap().parse().unwrap();
    let url = format!("http://{}", server.address);
    let mut owner = world.command(&["encrypt", "-k", "alias/default", "--kms", "aws"]);
    owner
        .env("AWS_ENDPOINT_URL_KMS", &url)
        .env("AWS_REGION", "local")
        .env("AWS_SHARED_CREDENTIALS_FILE", world.path("home/access-key"));
    waxseal_conformance::Ran::of(owner, b"text").exits(0);
    assert_eq!(server.end_by("TERM").code(), Some(0));
    assert_no_panic(&world);
    let events = world.events();
    let recorded = events.iter().filter(|event| event.starts_with("ListKeys:"));
    let recorded = recorded.count();
    assert_eq!(recorded + unrecorded, seen, "{recorded} and {unrecorded}");
    format!(
        "{count} unsigned or wrongly signed requests, all refused, {recorded} recorded and {unrecorded} counted"
    )
}
