//! Policies, names and grants.

use crate::support::{Attack, BOUND, Keys, full_of, nested, told};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// A policy under which the owner goes on, with another statement.
pub(crate) fn policy(statement: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":"*","Action":"kms:*",
        "Resource":"*"}},{statement}]}}"#
    )
}

/// Policies that are none, and policies that are hard to evaluate. Those that are taken are used.
pub(crate) fn policies(attack: &mut Attack<'_>, keys: &Keys) {
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

pub(crate) fn grants(attack: &mut Attack<'_>, keys: &Keys) {
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
