//! The evaluator of policies against two that we did not write: iam-rs and scratchstack-aspen, on random
//! identity policies and requests. 100,000 questions; 1,000,000 with `WAXSEAL_LONG=1`.
//!
//! Where another one says something else it has to be for a known reason ([`rewritten`]): the policy is
//! said in other words that avoid it, and then they agree, or the test fails.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the point"
)]

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use waxseal_conformance::policies::{
    ACTIONS, KEY, OTHER_CASE, Policies, Request, Subject, facts, words,
};
use waxseal_conformance::{Dice, campaign, promise};
use waxseal_kms::policy::decision::Reason;
use waxseal_kms::policy::{Kind, Policy, PolicyKind, Principal, Question, decide};

const ACCOUNT: &str = "111111111111";
const ANN: &str = "arn:aws:iam::111111111111:user/ann";

const SUBJECTS: &[Subject] = &[
    Subject {
        key: "aws:One",
        operators: &[
            "StringEquals",
            "StringNotEquals",
            "StringEqualsIgnoreCase",
            "StringNotEqualsIgnoreCase",
            "StringLike",
            "StringNotLike",
        ],
        said: &["a", "b", "A", "a*", "?b", "${aws:One}", "${aws:None}"],
        had: &["a", "b", "ab", "B"],
    },
    Subject {
        key: "aws:Many",
        operators: &[
            "ForAllValues:StringEquals",
            "ForAllValues:StringLike",
            "ForAllValues:StringNotEquals",
            "ForAnyValue:StringEquals",
            "ForAnyValue:StringLike",
            "ForAnyValue:StringNotEquals",
        ],
        said: &["a", "b", "a*", "c"],
        had: &["", "a", "a b", "b c"],
    },
    Subject {
        key: "aws:Count",
        operators: &[
            "NumericEquals",
            "NumericNotEquals",
            "NumericLessThan",
            "NumericLessThanEquals",
            "NumericGreaterThan",
            "NumericGreaterThanEquals",
        ],
        said: &["1", "7", "30", "-2"],
        had: &["1", "7", "8", "-2"],
    },
    Subject {
        key: "aws:Flag",
        operators: &["Bool"],
        said: &["true", "false"],
        had: &["true", "false"],
    },
    Subject {
        key: "aws:Address",
        operators: &["IpAddress", "NotIpAddress"],
        said: &["10.0.0.0/8", "10.1.2.3/32", "2001:db8::/32", "0.0.0.0/0"],
        had: &["10.1.2.3", "192.0.2.1", "2001:db8::1"],
    },
    Subject {
        key: "aws:Moment",
        operators: &[
            "DateEquals",
            "DateNotEquals",
            "DateLessThan",
            "DateLessThanEquals",
            "DateGreaterThan",
            "DateGreaterThanEquals",
        ],
        said: &["2024-06-01T00:00:00Z", "2025-01-01T12:30:00Z"],
        had: &["2024-06-01T00:00:00Z", "2024-12-31T23:59:59Z"],
    },
];

const POLICIES: Policies = Policies {
    subjects: SUBJECTS,
    principals: &[],
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Allow,
    Deny,
    Silent,
    /// It cannot read the policy, or cannot answer.
    Refused,
}

fn ours(document: &Value, action: &str, request: &Request) -> Verdict {
    let policy = Policy::parse(&document.to_string(), PolicyKind::Identity).unwrap();
    let facts = facts(request);
    let decision = decide(&Question {
        principal: Principal {
            arn: ANN,
            account: ACCOUNT,
            kind: Kind::User,
            role_arn: None,
        },
        action,
        resource: KEY,
        account: ACCOUNT,
        facts: &facts,
        key_policy: None,
        identity: &[Arc::new(policy)],
        session: &[],
        has_grant: false,
    });
    match (decision.allowed, decision.reason) {
        (true, _) => Verdict::Allow,
        (false, Reason::Identity(_)) => Verdict::Deny,
        _ => Verdict::Silent,
    }
}

fn iam_rs(document: &Value, action: &str, request: &Request) -> Verdict {
    use iam_rs::{Context, ContextValue, Decision, IAMPolicy, IAMRequest, PrincipalId};
    let Ok(policy) = serde_json::from_value::<IAMPolicy>(document.clone()) else {
        return Verdict::Refused;
    };
    let mut context = Context::new();
    for (key, value) in request {
        let value = match *key {
            "aws:Many" => ContextValue::StringList(words(value)),
            "aws:Count" => ContextValue::Number(value.parse().unwrap()),
            "aws:Flag" => ContextValue::Boolean(value.parse().unwrap()),
            "aws:Moment" => ContextValue::DateTime(value.parse().unwrap()),
            _ => ContextValue::String((*value).to_owned()),
        };
        context.insert((*key).to_owned(), value);
    }
    let request = IAMRequest::new_with_context(
        iam_rs::Principal::Aws(PrincipalId::String(ANN.to_owned())),
        action,
        iam_rs::Arn::parse(KEY).unwrap(),
        context,
    );
    match iam_rs::evaluate_policy(&policy, &request) {
        Ok(Decision::Allow) => Verdict::Allow,
        Ok(Decision::Deny) => Verdict::Deny,
        Ok(Decision::NotApplicable) => Verdict::Silent,
        Err(_) => Verdict::Refused,
    }
}

fn aspen(document: &Value, action: &str, request: &Request) -> Verdict {
    use scratchstack_aspen::{Context, Decision, Policy};
    use scratchstack_aws_principal::{Principal, SessionData, SessionValue, User};
    let Ok(policy) = document.to_string().parse::<Policy>() else {
        return Verdict::Refused;
    };
    let mut data = SessionData::new();
    for (key, value) in request {
        let value = match *key {
            "aws:Count" => SessionValue::Integer(value.parse().unwrap()),
            "aws:Flag" => SessionValue::Bool(value.parse().unwrap()),
            "aws:Address" => SessionValue::IpAddr(value.parse().unwrap()),
            "aws:Moment" => SessionValue::Timestamp(value.parse().unwrap()),
            _ => SessionValue::String((*value).to_owned()),
        };
        data.insert(key, value);
    }
    let (service, api) = action.split_once(':').unwrap();
    let ann = User::new("aws", ACCOUNT, "/", "ann").unwrap();
    let context = Context::builder()
        .service(service)
        .api(api)
        .actor(Principal::from(ann))
        .resources(vec![KEY.parse::<scratchstack_arn::Arn>().unwrap()])
        .session_data(data)
        .build()
        .unwrap();
    match policy.evaluate(&context) {
        Ok(Decision::Allow) => Verdict::Allow,
        Ok(Decision::Deny) => Verdict::Deny,
        Ok(Decision::DefaultDeny) => Verdict::Silent,
        Err(_) => Verdict::Refused,
    }
}

// --- where the others differ, in words that they understand as AWS does ---

/// What the others do not do as the IAM User Guide says; a policy is rewritten so that it does not matter,
/// and then they have to agree.
///
/// | who | what | IAM User Guide |
/// |---|---|---|
/// | both | variables in the values of conditions: iam-rs leaves them as they are, aspen takes a missing one for an empty text | "IAM policy elements: variables and tags" |
/// | iam-rs | a key without values is there for `Null` | "Conditions with multiple context keys or values": a null data set is none |
/// | aspen | the first statement that fits decides | "Policy evaluation logic": an explicit deny overrides any allow |
/// | aspen | actions are compared with their case | "IAM JSON policy elements: Action": not case sensitive |
/// | aspen | a negated operator with several values holds when one of them differs | "Conditions with multiple context keys or values": NOR |
/// | aspen | a negated operator fails without the key | "Condition operators": if the key is not present, the condition is true |
/// | aspen | `ForAllValues` and `ForAnyValue` cannot be read | such policies are put to iam-rs alone |
fn rewritten(document: &Value, request: &Request, for_aspen: bool) -> Value {
    let mut document = document.clone();
    let statements = document["Statement"].as_array_mut().unwrap();
    if for_aspen {
        statements.sort_by_key(|statement| statement["Effect"] != "Deny");
    }
    for statement in statements {
        if let Some(conditions) = statement.get_mut("Condition") {
            *conditions = conditions_rewritten(conditions, request, for_aspen);
        }
        for name in ["Action", "NotAction"] {
            let actions = statement.get_mut(name).filter(|_| for_aspen);
            for action in actions.and_then(Value::as_array_mut).into_iter().flatten() {
                if action == OTHER_CASE {
                    *action = json!("kms:Decrypt");
                }
            }
        }
    }
    document
}

fn conditions_rewritten(conditions: &Value, request: &Request, for_aspen: bool) -> Value {
    let mut out = serde_json::Map::new();
    for (operator, test) in conditions.as_object().unwrap() {
        let (key, said) = test.as_object().unwrap().iter().next().unwrap();
        let said = said.as_array().unwrap().iter();
        let said: Vec<String> = said
            .filter_map(|value| match value.as_str().unwrap() {
                "${aws:None}" => None,
                "${aws:One}" => request.get("aws:One").map(|one| (*one).to_owned()),
                other => Some(other.to_owned()),
            })
            .collect();
        let is_negated = operator.contains("Not");
        let is_there = request.contains_key(key.as_str());
        let is_set = operator.starts_with("For");
        if is_negated && !is_set && (said.is_empty() || (for_aspen && !is_there)) {
            continue;
        }
        let said = match said.is_empty() {
            // No request has it.
            true => vec!["nothing".to_owned()],
            false => said,
        };
        match (&said[..], for_aspen && is_negated) {
            ([first, second], true) => {
                let plain = operator.trim_end_matches("IfExists");
                let lists = [
                    (plain.to_owned(), first),
                    (format!("{plain}IfExists"), second),
                ];
                for (operator, value) in lists {
                    let tests = out.entry(operator).or_insert_with(|| json!({}));
                    tests[key] = match tests.get(key) {
                        None => json!([value]),
                        // Two conditions on one key: both differ, or it is not to be said.
                        Some(_) => return json!({ UNSAID: { key: [] } }),
                    };
                }
            }
            _ => {
                let tests = out.entry(operator.clone()).or_insert_with(|| json!({}));
                match tests.get(key) {
                    None => tests[key] = json!(said),
                    Some(_) => return json!({ UNSAID: { key: [] } }),
                }
            }
        }
    }
    Value::Object(out)
}

/// In the place of conditions that cannot be said in other words.
const UNSAID: &str = "Unsaid";

/// What was compared with one evaluator.
#[derive(Debug, Default)]
struct Tally {
    agreed: usize,
    agreed_rewritten: usize,
    unread: usize,
}

#[test]
fn evaluators_agree_or_it_is_known_why() {
    let rounds = campaign(100_000);
    let (mut dice, seed) = Dice::new(0x5ea1_1717);
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    let mut verdicts: BTreeMap<Verdict, usize> = BTreeMap::new();
    for _ in 0..rounds {
        let document = POLICIES.identity(&mut dice);
        let request = POLICIES.request(&mut dice);
        let action = *dice.pick(&ACTIONS);
        let own = ours(&document, action, &request);
        *verdicts.entry(own).or_default() += 1;
        for (name, evaluate) in [
            ("iam-rs", iam_rs as fn(&Value, &str, &Request) -> Verdict),
            ("scratchstack-aspen", aspen),
        ] {
            let tally = tallies.entry(name).or_default();
            if evaluate(&document, action, &request) == own {
                tally.agreed += 1;
                continue;
            }
            let for_aspen = name == "scratchstack-aspen";
            let rewritten = rewritten(&document, &request, for_aspen);
            let is_unread = rewritten.to_string().contains(UNSAID);
            if for_aspen && (is_unread || document.to_string().contains("ForA")) {
                tally.unread += 1;
                continue;
            }
            let mut request = request.clone();
            request.retain(|_, value| !value.is_empty());
            let theirs = evaluate(&rewritten, action, &request);
            assert_eq!(
                theirs, own,
                "{name}: {action} {request:?}\n{document}\n{rewritten}"
            );
            tally.agreed_rewritten += 1;
        }
    }
    // All three answers were asked for.
    assert!(verdicts.len() == 3 && verdicts.values().all(|count| *count > rounds / 50));
    let told: Vec<String> = tallies
        .iter()
        .map(|(name, tally)| {
            format!(
                "{name} agrees on {}, on {} after known differences, and cannot read {}",
                tally.agreed, tally.agreed_rewritten, tally.unread
            )
        })
        .collect();
    promise(
        "17",
        format_args!(
            "{rounds} random policies and requests (seed {seed}): {}",
            told.join("; ")
        ),
    );
}
