//! Conditions: what is known of a request, and the operators that look at it (IAM User Guide, "IAM
//! JSON policy elements: Condition operators").

use super::pattern::{self, Pattern};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::net::IpAddr;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What is known of a request, by the names that conditions use. Names are compared without case.
pub trait Known: std::fmt::Debug {
    /// All values of a fact, if it is known.
    fn all(&self, name: &str) -> Option<&[Cow<'_, str>]>;

    /// The value of a fact that has one.
    fn single(&self, name: &str) -> Option<&str> {
        match self.all(name)? {
            [value] => Some(value),
            _ => None,
        }
    }
}

/// Facts that were put together.
#[derive(Debug, Clone, Default)]
pub struct Facts<'a> {
    /// Where a name is there twice, what was said last holds.
    said: Vec<(Cow<'a, str>, Values<'a>)>,
    /// Where in `said` each name is, in lower case. For facts that are many: an encryption context may
    /// have thousands of pairs, and a policy as many conditions.
    places: OnceCell<HashMap<String, usize>>,
}

/// Up to so many are looked through one by one.
const FEW: usize = 64;

#[derive(Debug, Clone)]
enum Values<'a> {
    One([Cow<'a, str>; 1]),
    All(Vec<Cow<'a, str>>),
}

impl<'a> Facts<'a> {
    /// Sets a fact that has one value.
    pub fn set(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) {
        self.say(name.into(), Values::One([value.into()]));
    }

    /// Sets a fact that has any number of values.
    pub fn set_all<V: Into<Cow<'a, str>>>(
        &mut self,
        name: impl Into<Cow<'a, str>>,
        values: impl IntoIterator<Item = V>,
    ) {
        let values = values.into_iter().map(Into::into);
        self.say(name.into(), Values::All(values.collect()));
    }

    fn say(&mut self, name: Cow<'a, str>, values: Values<'a>) {
        self.said.push((name, values));
        self.places.take();
    }

    fn place(&self, name: &str) -> Option<usize> {
        let all = || self.said.iter().enumerate();
        if self.said.len() <= FEW {
            let mut last_first = all().rev();
            let found = last_first.find(|(_, (said, _))| said.eq_ignore_ascii_case(name));
            return found.map(|(at, _)| at);
        }
        let places = self.places.get_or_init(|| {
            let places = all().map(|(at, (said, _))| (said.to_ascii_lowercase(), at));
            places.collect()
        });
        places.get(&name.to_ascii_lowercase()).copied()
    }
}

impl Known for Facts<'_> {
    fn all(&self, name: &str) -> Option<&[Cow<'_, str>]> {
        let (_, values) = self.said.get(self.place(name)?)?;
        Some(match values {
            Values::One(value) => value,
            Values::All(values) => values,
        })
    }
}

/// How many of the request's values must satisfy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    /// The one there is.
    One,
    /// `ForAllValues:`; no value at all satisfies.
    All,
    /// `ForAnyValue:`.
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn holds<T: PartialOrd>(self, left: T, right: T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Text,
    TextWithoutCase,
    TextLike,
    Number(Order),
    Date(Order),
    Flag,
    Binary,
    Address,
    Arn,
    Null,
}

/// One operator on one fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    set: Set,
    compare: Compare,
    is_negated: bool,
    if_exists: bool,
    fact: String,
    values: Vec<Pattern>,
}

impl Condition {
    /// With the operator's name as it stands in a policy; none when there is no such operator.
    pub(super) fn new(operator: &str, fact: &str, values: Vec<Pattern>) -> Option<Self> {
        let (set, rest) = match operator.split_once(':') {
            Some((name, rest)) if name.eq_ignore_ascii_case("ForAllValues") => (Set::All, rest),
            Some((name, rest)) if name.eq_ignore_ascii_case("ForAnyValue") => (Set::Any, rest),
            Some(_) => return None,
            None => (Set::One, operator),
        };
        let lower = rest.to_ascii_lowercase();
        let (name, if_exists) = match lower.strip_suffix("ifexists") {
            Some(name) => (name, true),
            None => (lower.as_str(), false),
        };
        let (compare, is_negated) = compare(name)?;
        if compare == Compare::Null && (if_exists || set != Set::One) {
            return None;
        }
        Some(Self {
            set,
            compare,
            is_negated,
            if_exists,
            fact: fact.to_owned(),
            values,
        })
    }

    /// Whether it holds.
    pub fn holds(&self, facts: &dyn Known) -> bool {
        let given = facts.all(&self.fact);
        if self.compare == Compare::Null {
            let is_missing = given.is_none_or(<[_]>::is_empty);
            let wanted = |value: &Pattern| match value.text(facts).as_deref() {
                Some("true") => is_missing,
                Some("false") => !is_missing,
                _ => false,
            };
            return self.values.iter().any(wanted);
        }
        let given = match given {
            Some(given) if !given.is_empty() => given,
            _ => {
                return match self.set {
                    Set::All => true,
                    Set::Any => self.if_exists,
                    Set::One => self.if_exists || self.is_negated,
                };
            }
        };
        let satisfies = |value: &Cow<'_, str>| {
            let any = self.values.iter().any(|own| self.equal(value, own, facts));
            any != self.is_negated
        };
        match (self.set, self.is_negated) {
            (Set::All, _) | (Set::One, true) => given.iter().all(satisfies),
            (Set::Any, _) | (Set::One, false) => given.iter().any(satisfies),
        }
    }

    /// Whether a value of the request is as one of the policy, negation aside.
    fn equal(&self, value: &str, own: &Pattern, facts: &dyn Known) -> bool {
        let text = || own.text(facts);
        let tokens = || own.tokens(facts);
        match self.compare {
            Compare::Text => text().is_some_and(|own| own == value),
            Compare::TextWithoutCase => {
                text().is_some_and(|own| own.to_lowercase() == value.to_lowercase())
            }
            Compare::TextLike => tokens().is_some_and(|own| pattern::matches(&own, value)),
            Compare::Arn => tokens().is_some_and(|own| pattern::arn_matches(&own, value)),
            Compare::Flag => text().is_some_and(|own| own.eq_ignore_ascii_case(value)),
            Compare::Number(order) => {
                let own = text().and_then(|own| own.trim().parse::<f64>().ok());
                let value = value.trim().parse::<f64>().ok();
                own.zip(value)
                    .is_some_and(|(own, value)| order.holds(value, own))
            }
            Compare::Date(order) => {
                let own = text().and_then(|own| seconds(&own));
                let value = seconds(value);
                own.zip(value)
                    .is_some_and(|(own, value)| order.holds(value, own))
            }
            Compare::Binary => {
                let own = text().and_then(|own| STANDARD.decode(own.as_bytes()).ok());
                own.is_some_and(|own| STANDARD.decode(value).is_ok_and(|value| value == own))
            }
            Compare::Address => text().is_some_and(|own| is_within(value, &own)),
            Compare::Null => false,
        }
    }
}

fn compare(name: &str) -> Option<(Compare, bool)> {
    let dated = |order| Compare::Date(order);
    let numbered = |order| Compare::Number(order);
    Some(match name {
        "stringequals" => (Compare::Text, false),
        "stringnotequals" => (Compare::Text, true),
        "stringequalsignorecase" => (Compare::TextWithoutCase, false),
        "stringnotequalsignorecase" => (Compare::TextWithoutCase, true),
        "stringlike" => (Compare::TextLike, false),
        "stringnotlike" => (Compare::TextLike, true),
        "numericequals" => (numbered(Order::Equal), false),
        "numericnotequals" => (numbered(Order::Equal), true),
        "numericlessthan" => (numbered(Order::Less), false),
        "numericlessthanequals" => (numbered(Order::LessOrEqual), false),
        "numericgreaterthan" => (numbered(Order::Greater), false),
        "numericgreaterthanequals" => (numbered(Order::GreaterOrEqual), false),
        "dateequals" => (dated(Order::Equal), false),
        "datenotequals" => (dated(Order::Equal), true),
        "datelessthan" => (dated(Order::Less), false),
        "datelessthanequals" => (dated(Order::LessOrEqual), false),
        "dategreaterthan" => (dated(Order::Greater), false),
        "dategreaterthanequals" => (dated(Order::GreaterOrEqual), false),
        "bool" => (Compare::Flag, false),
        "binaryequals" => (Compare::Binary, false),
        "ipaddress" => (Compare::Address, false),
        "notipaddress" => (Compare::Address, true),
        // Both names of each pair mean the same.
        "arnequals" | "arnlike" => (Compare::Arn, false),
        "arnnotequals" | "arnnotlike" => (Compare::Arn, true),
        "null" => (Compare::Null, false),
        _ => return None,
    })
}

/// Seconds since 1970, of a date as RFC 3339 or ISO 8601 without a time, or a number of them.
fn seconds(text: &str) -> Option<f64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Some(seconds);
    }
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        _ => text.to_owned(),
    };
    let time = OffsetDateTime::parse(&whole, &Rfc3339).ok()?;
    Some(time.unix_timestamp_nanos() as f64 / 1e9)
}

/// Whether an address is within `ADDRESS` or `ADDRESS/BITS`.
fn is_within(address: &str, block: &str) -> bool {
    let (network, bits) = match block.split_once('/') {
        Some((network, bits)) => (network, bits.parse::<u32>().ok()),
        None => (block, Some(128)),
    };
    let (Ok(address), Ok(network), Some(bits)) =
        (address.parse::<IpAddr>(), network.parse::<IpAddr>(), bits)
    else {
        return false;
    };
    let shared = |left: u128, right: u128, width: u32| {
        let bits = bits.min(width);
        bits == 0 || (left ^ right) >> (width - bits) == 0
    };
    match (address, network) {
        (IpAddr::V4(left), IpAddr::V4(right)) => {
            shared(u32::from(left).into(), u32::from(right).into(), 32)
        }
        (IpAddr::V6(left), IpAddr::V6(right)) => shared(left.into(), right.into(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts<'static> {
        let mut facts = Facts::default();
        facts.set("kms:EncryptionContext:team", "blue");
        facts.set("aws:SourceIp", "10.1.2.3");
        facts.set("aws:CurrentTime", "2026-11-24T00:00:00Z");
        facts.set("kms:RotationPeriodInDays", "90");
        facts.set("aws:SecureTransport", "true");
        facts.set("aws:PrincipalArn", "arn:aws:iam::111122223333:user/ann");
        facts.set_all("kms:EncryptionContextKeys", ["team", "unit"]);
        facts.set_all("aws:TagKeys", [""; 0]);
        facts
    }

    fn holds(operator: &str, fact: &str, values: &[&str]) -> bool {
        let values = values.iter().map(|value| Pattern::new(value, true));
        Condition::new(operator, fact, values.collect())
            .unwrap()
            .holds(&facts())
    }

    /// Few or many, in any case, and the last word holds.
    #[test]
    fn facts_are_found_by_their_names() {
        let mut facts = Facts::default();
        for number in 0..3 * FEW {
            facts.set("aws:PrincipalArn", format!("before {number}"));
            facts.set(format!("kms:EncryptionContext:K{number}"), "v");
            facts.set_all("aws:tagKeys", [number.to_string(), "x".to_owned()]);
            assert_eq!(
                facts.single("AWS:principalARN"),
                Some(&*format!("before {number}"))
            );
            assert_eq!(
                facts.single(&format!("kms:encryptioncontext:k{number}")),
                Some("v")
            );
            assert_eq!(facts.all("aws:TagKeys").unwrap()[0], number.to_string());
            assert_eq!(facts.single("aws:TagKeys"), None);
            assert_eq!(facts.all("aws:PrincipalArn2"), None);
        }
    }

    #[test]
    fn operators_hold_as_documented() {
        let team = "kms:encryptioncontext:TEAM";
        for (operator, fact, values, expected) in [
            ("StringEquals", team, &["red", "blue"][..], true),
            ("StringEquals", team, &["Blue"], false),
            ("StringEqualsIgnoreCase", team, &["Blue"], true),
            ("StringNotEquals", team, &["red", "blue"], false),
            ("StringNotEquals", team, &["red"], true),
            ("StringLike", team, &["b*"], true),
            ("StringEquals", team, &["b*"], false),
            ("StringNotLike", team, &["b*"], false),
            ("StringEquals", "kms:none", &["x"], false),
            ("StringEqualsIfExists", "kms:none", &["x"], true),
            ("StringEqualsIfExists", team, &["x"], false),
            ("StringNotEquals", "kms:none", &["x"], true),
            ("Null", "kms:none", &["true"], true),
            ("Null", team, &["true"], false),
            ("Null", team, &["false"], true),
            (
                "NumericLessThanEquals",
                "kms:RotationPeriodInDays",
                &["90"],
                true,
            ),
            (
                "NumericGreaterThan",
                "kms:RotationPeriodInDays",
                &["90"],
                false,
            ),
            (
                "DateLessThan",
                "aws:CurrentTime",
                &["2026-11-25T00:00:00Z"],
                true,
            ),
            ("DateGreaterThan", "aws:CurrentTime", &["2026-11-25"], false),
            ("Bool", "aws:SecureTransport", &["true"], true),
            ("Bool", "aws:SecureTransport", &["false"], false),
            ("IpAddress", "aws:SourceIp", &["10.1.0.0/16"], true),
            ("IpAddress", "aws:SourceIp", &["10.2.0.0/16", "::/0"], false),
            ("NotIpAddress", "aws:SourceIp", &["10.2.0.0/16"], true),
            (
                "ArnLike",
                "aws:PrincipalArn",
                &["arn:aws:iam::*:user/*"],
                true,
            ),
            (
                "ArnNotLike",
                "aws:PrincipalArn",
                &["arn:aws:iam::*:role/*"],
                true,
            ),
            (
                "ForAllValues:StringEquals",
                "kms:EncryptionContextKeys",
                &["team"],
                false,
            ),
            (
                "ForAllValues:StringEquals",
                "kms:EncryptionContextKeys",
                &["team", "unit", "x"],
                true,
            ),
            (
                "ForAnyValue:StringEquals",
                "kms:EncryptionContextKeys",
                &["team"],
                true,
            ),
            (
                "ForAnyValue:StringNotEquals",
                "kms:EncryptionContextKeys",
                &["team"],
                true,
            ),
            ("ForAllValues:StringEquals", "aws:TagKeys", &["x"], true),
            ("ForAnyValue:StringEquals", "aws:TagKeys", &["x"], false),
            ("ForAllValues:StringEquals", "kms:none", &["x"], true),
            ("StringEquals", team, &["${kms:none}"], false),
            (
                "StringEquals",
                team,
                &["${kms:EncryptionContext:team}"],
                true,
            ),
        ] {
            assert_eq!(
                holds(operator, fact, values),
                expected,
                "{operator} {fact} {values:?}"
            );
        }
        assert!(Condition::new("StringSomething", "x", Vec::new()).is_none());
        assert!(Condition::new("ForSomeValues:StringLike", "x", Vec::new()).is_none());
    }
}
