//! Random policies, and requests for them: most of the statements fit some of the requests.

use crate::Dice;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use waxseal_kms::policy::Facts;

/// What is asked for.
pub const ACTIONS: [&str; 3] = ["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"];
/// The key that it is asked of.
pub const KEY: &str = "arn:aws:kms:eu-west-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab";
/// An action of the patterns in another case than that of [`ACTIONS`].
pub const OTHER_CASE: &str = "kms:DECRYPT";

const ACTION_PATTERNS: [&str; 6] = [
    "kms:*",
    "kms:Encrypt",
    "kms:De*",
    "*",
    OTHER_CASE,
    "kms:?ncrypt",
];
const RESOURCES: [&str; 5] = [
    "*",
    KEY,
    "arn:aws:kms:*:*:key/*",
    "arn:aws:kms:*:*:alias/*",
    "arn:aws:kms:eu-west-?:111111111111:key/1234*",
];

/// A condition key, the operators that fit its values, what policies say, and what requests have.
#[derive(Debug)]
pub struct Subject {
    /// What ends with `Many` has several values in a request, with spaces between.
    pub key: &'static str,
    /// Operators without `IfExists`.
    pub operators: &'static [&'static str],
    /// Values in policies.
    pub said: &'static [&'static str],
    /// Values in requests; none has this key when there are none.
    pub had: &'static [&'static str],
}

/// What a request has, by condition key.
pub type Request = BTreeMap<&'static str, &'static str>;

/// The values of a key that has several.
pub fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Policies about these subjects.
#[derive(Debug)]
pub struct Policies {
    /// What conditions may be about.
    pub subjects: &'static [Subject],
    /// Whom key policies may name.
    pub principals: &'static [&'static str],
}

impl Policies {
    /// The policy of a user, a role or a session.
    pub fn identity(&self, dice: &mut Dice) -> Value {
        document(dice, |dice| self.statement(dice))
    }

    /// The policy of a key.
    pub fn key(&self, dice: &mut Dice) -> Value {
        document(dice, |dice| {
            let mut statement = self.statement(dice);
            let name = not(dice, "Principal");
            statement[name] = json!({ "AWS": some(dice, self.principals) });
            statement
        })
    }

    fn statement(&self, dice: &mut Dice) -> Value {
        let mut statement = json!({ "Effect": dice.pick(&["Allow", "Allow", "Allow", "Deny"]) });
        let name = not(dice, "Action");
        statement[name] = json!(some(dice, &ACTION_PATTERNS));
        let name = not(dice, "Resource");
        statement[name] = json!(some(dice, &RESOURCES));
        let mut conditions = Map::new();
        for _ in 0..dice.below(3) {
            let subject = dice.pick(self.subjects);
            let operator = *dice.pick(subject.operators);
            let (operator, said) = match dice.below(8) {
                0 => ("Null".to_owned(), vec![*dice.pick(&["true", "false"])]),
                1 if !operator.starts_with("For") => {
                    (format!("{operator}IfExists"), some(dice, subject.said))
                }
                _ => (operator.to_owned(), some(dice, subject.said)),
            };
            conditions.insert(operator, json!({ subject.key: said }));
        }
        if !conditions.is_empty() {
            statement["Condition"] = Value::Object(conditions);
        }
        statement
    }

    /// A request; not every one has everything.
    pub fn request(&self, dice: &mut Dice) -> Request {
        let mut request = Request::new();
        for subject in self.subjects.iter().filter(|one| !one.had.is_empty()) {
            if dice.below(4) != 0 {
                request.insert(subject.key, *dice.pick(subject.had));
            }
        }
        request
    }
}

fn document(dice: &mut Dice, statement: impl Fn(&mut Dice) -> Value) -> Value {
    let statements: Vec<_> = (0..1 + dice.below(3)).map(|_| statement(dice)).collect();
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// The name of an element, or of its opposite.
fn not(dice: &mut Dice, name: &str) -> String {
    match dice.below(8) {
        0 => format!("Not{name}"),
        _ => name.to_owned(),
    }
}

fn some<'a>(dice: &mut Dice, from: &[&'a str]) -> Vec<&'a str> {
    (0..1 + dice.below(2)).map(|_| *dice.pick(from)).collect()
}

/// A request as the evaluator takes it: condition keys have no case.
pub fn facts(request: &Request) -> Facts<'static> {
    let mut facts = Facts::default();
    for (key, value) in request {
        match key.ends_with("Many") {
            true => facts.set_all(key.to_uppercase(), words(value)),
            false => facts.set(key.to_lowercase(), (*value).to_owned()),
        }
    }
    facts
}
