//! The evaluator against a second one, written from the documentation for nothing but to be plain:
//! it walks over JSON, matches recursively, and asks the questions of the flow chart one by one.
//!
//! 100,000 random questions; 1,000,000 with `WAXSEAL_LONG=1`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the point"
)]

use serde_json::Value;
use std::sync::Arc;
use waxseal_conformance::policies::{ACTIONS, KEY, Policies, Request, Subject, facts, words};
use waxseal_conformance::{Dice, campaign, promise};
use waxseal_kms::policy::{Kind, Policy, PolicyKind, Principal, Question, decide};

const ACCOUNTS: [&str; 2] = ["111111111111", "222222222222"];

/// Of whichever kind its values are, each key meets each of these.
const OPERATORS: &[&str] = &[
    "StringEquals",
    "StringNotEquals",
    "StringLike",
    "ForAllValues:StringEquals",
    "ForAnyValue:StringEquals",
    "ForAnyValue:StringNotEquals",
    "ForAllValues:StringNotEquals",
];
const SAID: &[&str] = &["a", "b", "a*", "${kms:One}"];

const POLICIES: Policies = Policies {
    subjects: &[
        Subject {
            key: "kms:One",
            operators: OPERATORS,
            said: SAID,
            had: &["a", "b", "ab"],
        },
        Subject {
            key: "kms:Many",
            operators: OPERATORS,
            said: SAID,
            had: &["", "a", "a b"],
        },
        Subject {
            key: "kms:None",
            operators: OPERATORS,
            said: SAID,
            had: &[],
        },
    ],
    principals: &[
        "*",
        "111111111111",
        "arn:aws:iam::111111111111:root",
        "arn:aws:iam::222222222222:root",
        "arn:aws:iam::111111111111:user/ann",
        "arn:aws:iam::222222222222:user/bob",
        "arn:aws:iam::111111111111:role/ops",
        "arn:aws:sts::111111111111:assumed-role/ops/s",
        "arn:aws:iam::111111111111:user/eve",
    ],
};

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
    has: Request,
}

fn condition_holds(operator: &str, fact: &str, own: &[String], case: &Case<'_>) -> bool {
    let given = case.has.get(fact).map(|value| words(value));
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
            let own = match (own.as_str(), case.has.get("kms:One")) {
                ("${kms:One}", None) => return false,
                ("${kms:One}", Some(one)) => *one,
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
    let rounds = campaign(100_000);
    let (mut dice, seed) = Dice::new(0x5ea1_1718);
    let (mut yes, mut no) = (0, 0);
    for round in 0..rounds {
        let key = POLICIES.key(&mut dice);
        let identity: Vec<_> = (0..dice.below(3))
            .map(|_| POLICIES.identity(&mut dice))
            .collect();
        let session: Vec<_> = (0..dice.below(5) / 4)
            .map(|_| POLICIES.identity(&mut dice))
            .collect();
        let action = *dice.pick(&ACTIONS);
        let case = Case {
            who: dice.pick(&WHO),
            action,
            has: POLICIES.request(&mut dice),
        };
        let grant = dice.below(6) == 0;
        let expected = plainly(&key, &identity, &session, grant, &case);

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
            facts: &facts(&case.has),
            key_policy: Some(&parse(&key, PolicyKind::Key)),
            identity: &own,
            session: &limits,
            has_grant: grant,
        });
        assert_eq!(
            seen.allowed, expected,
            "seed {seed}, round {round}: {} {} {:?}\n{key}\n{identity:?}\n{session:?}\n{grant} {:?}",
            case.who.arn, case.action, case.has, seen.reason
        );
        if expected { yes += 1 } else { no += 1 }
    }
    // Both answers were asked for.
    assert!(yes > rounds / 20 && no > rounds / 20, "{yes} {no}");
    promise(
        "policy-reference",
        format_args!(
            "{rounds} random questions (seed {seed}): {yes} allowed, {no} denied, by both evaluators"
        ),
    );
}
