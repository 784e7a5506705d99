//! The evaluator against a second one, written from the documentation for nothing but to be plain:
//! it walks over JSON, matches recursively, and asks the questions of the flow chart one by one.
//!
//! 100,000 random questions; 1,000,000 with `WAXSEAL_LONG=1`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the point"
)]

use serde_json::{Value, json};
use std::sync::Arc;
use waxseal_kms::policy::{Facts, Kind, Policy, PolicyKind, Principal, Question, decide};

/// A small generator: the same questions in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())]
    }

    fn some<T: Copy>(&mut self, from: &[T]) -> Vec<T> {
        (0..1 + self.roll(2)).map(|_| self.pick(from)).collect()
    }
}

const ACCOUNTS: [&str; 2] = ["111111111111", "222222222222"];
const ACTIONS: [&str; 3] = ["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"];
const ACTION_PATTERNS: [&str; 6] = [
    "kms:*",
    "kms:Encrypt",
    "kms:De*",
    "*",
    "KMS:DECRYPT",
    "kms:?ncrypt",
];
const KEY: &str = "arn:aws:kms:eu-west-1:111111111111:key/k";
const RESOURCES: [&str; 4] = ["*", KEY, "arn:aws:kms:*:*:key/*", "arn:aws:kms:*:*:alias/*"];
const PRINCIPALS: [&str; 9] = [
    "*",
    "111111111111",
    "arn:aws:iam::111111111111:root",
    "arn:aws:iam::222222222222:root",
    "arn:aws:iam::111111111111:user/ann",
    "arn:aws:iam::222222222222:user/bob",
    "arn:aws:iam::111111111111:role/ops",
    "arn:aws:sts::111111111111:assumed-role/ops/s",
    "arn:aws:iam::111111111111:user/eve",
];

fn statement(dice: &mut Dice, with_principal: bool) -> Value {
    let mut statement = json!({ "Effect": dice.pick(&["Allow", "Allow", "Allow", "Deny"]) });
    let not = |dice: &mut Dice, name: &str| match dice.roll(8) {
        0 => format!("Not{name}"),
        _ => name.to_owned(),
    };
    let name = not(dice, "Action");
    statement[name] = json!(dice.some(&ACTION_PATTERNS));
    let name = not(dice, "Resource");
    statement[name] = json!(dice.some(&RESOURCES));
    if with_principal {
        let name = not(dice, "Principal");
        statement[name] = json!({ "AWS": dice.some(&PRINCIPALS) });
    }
    if dice.roll(2) == 0 {
        let operator = dice.pick(&[
            "StringEquals",
            "StringNotEquals",
            "StringLike",
            "StringEqualsIfExists",
            "StringNotEqualsIfExists",
            "ForAllValues:StringEquals",
            "ForAnyValue:StringEquals",
            "ForAnyValue:StringNotEquals",
            "ForAllValues:StringNotEquals",
            "Null",
        ]);
        let values = match operator {
            "Null" => vec![dice.pick(&["true", "false"])],
            _ => dice.some(&["a", "b", "a*", "${kms:One}"]),
        };
        let fact = dice.pick(&["kms:One", "kms:Many", "kms:None"]);
        statement["Condition"] = json!({ operator: { fact: values } });
    }
    statement
}

fn document(dice: &mut Dice, with_principal: bool) -> Value {
    let statements: Vec<_> = (0..1 + dice.roll(3))
        .map(|_| statement(dice, with_principal))
        .collect();
    json!({ "Version": "2012-10-17", "Statement": statements })
}

// --- the plain evaluator ---

fn like(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.first(), text.first()) {
        (None, None) => true,
        (Some(b'*'), _) => {
            like(&pattern[1..], text) || (!text.is_empty() && like(pattern, &text[1..]))
        }
        (Some(b'?'), Some(_)) => like(&pattern[1..], &text[1..]),
        (Some(left), Some(right)) if left == right => like(&pattern[1..], &text[1..]),
        _ => false,
    }
}

fn list(value: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    match value {
        Value::Array(values) => values.iter().map(text).collect(),
        value => vec![text(value)],
    }
}

struct Who {
    arn: &'static str,
    account: &'static str,
    kind: Kind,
    role: Option<&'static str>,
}

const WHO: [Who; 5] = [
    Who {
        arn: "arn:aws:iam::111111111111:root",
        account: ACCOUNTS[0],
        kind: Kind::Root,
        role: None,
    },
    Who {
        arn: "arn:aws:iam::111111111111:user/ann",
        account: ACCOUNTS[0],
        kind: Kind::User,
        role: None,
    },
    Who {
        arn: "arn:aws:iam::222222222222:user/bob",
        account: ACCOUNTS[1],
        kind: Kind::User,
        role: None,
    },
    Who {
        arn: "arn:aws:sts::111111111111:assumed-role/ops/s",
        account: ACCOUNTS[0],
        kind: Kind::Session,
        role: Some("arn:aws:iam::111111111111:role/ops"),
    },
    Who {
        arn: "arn:aws:iam::222222222222:root",
        account: ACCOUNTS[1],
        kind: Kind::Root,
        role: None,
    },
];

struct Case<'a> {
    who: &'a Who,
    action: &'a str,
    one: Option<&'a str>,
    many: Option<&'a [&'a str]>,
}

fn condition_holds(operator: &str, fact: &str, own: &[String], case: &Case<'_>) -> bool {
    let given: Option<Vec<&str>> = match fact {
        "kms:One" => case.one.map(|one| vec![one]),
        "kms:Many" => case.many.map(<[_]>::to_vec),
        _ => None,
    };
    let missing = given.as_ref().is_none_or(Vec::is_empty);
    if operator == "Null" {
        return (own[0] == "true") == missing;
    }
    let (set, rest) = operator.split_once(':').unwrap_or(("", operator));
    let if_exists = rest.ends_with("IfExists");
    let rest = rest.trim_end_matches("IfExists");
    let negated = rest.contains("Not");
    if missing {
        return match set {
            "ForAllValues" => true,
            "ForAnyValue" => false,
            _ => if_exists || negated,
        };
    }
    let equals = |value: &str| {
        own.iter().any(|own| {
            let own = match (own.as_str(), case.one) {
                ("${kms:One}", None) => return false,
                ("${kms:One}", Some(one)) => one,
                (own, _) => own,
            };
            match rest {
                "StringLike" => like(own.as_bytes(), value.as_bytes()),
                _ => own == value,
            }
        })
    };
    let given = given.unwrap();
    let mut values = given.iter();
    match (set, negated) {
        ("ForAllValues", _) => values.all(|value| equals(value) != negated),
        ("ForAnyValue", _) => values.any(|value| equals(value) != negated),
        (_, true) => values.all(|value| !equals(value)),
        (_, false) => values.any(|value| equals(value)),
    }
}

/// 0 not at all, 1 by its account, 2 itself, 3 the very session.
fn named(principal: &str, who: &Who) -> u8 {
    let account = principal
        .strip_prefix("arn:aws:iam::")
        .and_then(|rest| rest.strip_suffix(":root"))
        .unwrap_or(principal);
    if principal == "*" {
        2
    } else if account == who.account {
        if who.kind == Kind::Root { 2 } else { 1 }
    } else if principal == who.arn {
        if who.kind == Kind::Session { 3 } else { 2 }
    } else if Some(principal) == who.role {
        2
    } else {
        0
    }
}

/// What a policy comes to: whether it denies, and how strongly it allows.
fn verdict(policy: &Value, case: &Case<'_>) -> (bool, u8) {
    let (mut denies, mut allows) = (false, 0);
    for statement in policy["Statement"].as_array().unwrap() {
        let strength = match (statement.get("Principal"), statement.get("NotPrincipal")) {
            (Some(given), _) => {
                let all = list(&given["AWS"]);
                all.iter().map(|one| named(one, case.who)).max().unwrap()
            }
            (None, Some(given)) => {
                let all = list(&given["AWS"]);
                if all.iter().any(|one| named(one, case.who) > 0) {
                    0
                } else {
                    2
                }
            }
            (None, None) => 2,
        };
        let matched = |name: &str, text: &str, lower: bool| {
            let not = format!("Not{name}");
            let (patterns, expected) = match statement.get(name) {
                Some(patterns) => (patterns, true),
                None => (&statement[&not], false),
            };
            let any = list(patterns).iter().any(|pattern| match lower {
                true => like(
                    pattern.to_lowercase().as_bytes(),
                    text.to_lowercase().as_bytes(),
                ),
                false => like(pattern.as_bytes(), text.as_bytes()),
            });
            any == expected
        };
        let mut holds =
            strength > 0 && matched("Action", case.action, true) && matched("Resource", KEY, false);
        if let Some(Value::Object(operators)) = statement.get("Condition") {
            for (operator, facts) in operators {
                for (fact, own) in facts.as_object().unwrap() {
                    holds &= condition_holds(operator, fact, &list(own), case);
                }
            }
        }
        if holds && statement["Effect"] == "Deny" {
            denies = true;
        } else if holds {
            allows = allows.max(strength);
        }
    }
    (denies, allows)
}

fn plainly(
    key: &Value,
    identity: &[Value],
    session: &[Value],
    grant: bool,
    case: &Case<'_>,
) -> bool {
    let (key_denies, key_allows) = verdict(key, case);
    let all = |policies: &[Value]| {
        let each = policies.iter().map(|policy| verdict(policy, case));
        each.fold((false, false), |(denies, allows), (one, strength)| {
            (denies | one, allows | (strength > 0))
        })
    };
    let (identity_denies, identity_allows) = all(identity);
    let (session_denies, session_allows) = all(session);
    if key_denies || identity_denies || session_denies {
        return false;
    }
    let account_lets = identity_allows || case.who.kind == Kind::Root;
    let allowed = if case.who.account == ACCOUNTS[0] {
        key_allows >= 2 || (key_allows == 1 && account_lets) || grant
    } else {
        (key_allows >= 1 || grant) && account_lets
    };
    allowed && (session.is_empty() || session_allows || key_allows == 3)
}

#[test]
fn two_evaluators_agree() {
    let rounds = if std::env::var_os("WAXSEAL_LONG").is_some() {
        1_000_000
    } else {
        100_000
    };
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut yes, mut no) = (0, 0);
    for round in 0..rounds {
        let key = document(&mut dice, true);
        let identity: Vec<_> = (0..dice.roll(3))
            .map(|_| document(&mut dice, false))
            .collect();
        let session: Vec<_> = (0..dice.roll(5) / 4)
            .map(|_| document(&mut dice, false))
            .collect();
        let case = Case {
            who: &WHO[dice.roll(WHO.len())],
            action: dice.pick(&ACTIONS),
            one: dice.pick(&[None, Some("a"), Some("b"), Some("ab")]),
            many: dice.pick(&[None, Some(&[][..]), Some(&["a"]), Some(&["a", "b"])]),
        };
        let grant = dice.roll(6) == 0;
        let expected = plainly(&key, &identity, &session, grant, &case);

        let mut facts = Facts::default();
        if let Some(one) = case.one {
            facts.set("kms:one", one);
        }
        if let Some(many) = case.many {
            let many = many.iter().map(|value| (*value).to_owned());
            facts.set_all("KMS:Many", many.collect());
        }
        let parse = |document: &Value, kind| Policy::parse(&document.to_string(), kind).unwrap();
        let read = |documents: &[Value]| -> Vec<Arc<Policy>> {
            let each = documents.iter();
            each.map(|one| Arc::new(parse(one, PolicyKind::Identity)))
                .collect()
        };
        let (own, limits) = (read(&identity), read(&session));
        let seen = decide(&Question {
            principal: Principal {
                arn: case.who.arn,
                account: case.who.account,
                kind: case.who.kind,
                role_arn: case.who.role,
            },
            action: case.action,
            resource: KEY,
            account: ACCOUNTS[0],
            facts: &facts,
            key_policy: Some(&parse(&key, PolicyKind::Key)),
            identity: &own,
            session: &limits,
            has_grant: grant,
        });
        assert_eq!(
            seen.allowed, expected,
            "round {round}: {} {} {:?} {:?}\n{key}\n{identity:?}\n{session:?}\n{grant} {:?}",
            case.who.arn, case.action, case.one, case.many, seen.reason
        );
        if expected { yes += 1 } else { no += 1 }
    }
    // Both answers were asked for.
    assert!(yes > rounds / 20 && no > rounds / 20, "{yes} {no}");
}
