//! Bodies that are no JSON or too much of it, and values of the wrong kind for every member.

use crate::support::{Attack, BODY_BYTES_MAX, full_of, nested};
use serde_json::{Map, Value, json};
use waxseal_conformance::inputs::{members, required};
use waxseal_kms_api::model::Kind;
use waxseal_kms_api::op::OPERATIONS;

/// Bodies that are no input of any operation.
pub(crate) fn bodies(attack: &mut Attack<'_>) {
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
pub(crate) fn wrong_values() -> Vec<String> {
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
pub(crate) fn values(attack: &mut Attack<'_>) {
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
