//! Inputs of operations, made from what the service model says of their members.

use serde_json::{Map, Value, json};
use waxseal_kms_api::model::{Kind, Member, Rule};
use waxseal_kms_api::op::shapes;

/// The members of the input of an operation.
///
/// # Panics
/// When there is no such operation.
pub fn members(operation: &str) -> &'static [Member] {
    let name = format!("{operation}Request");
    let found = shapes().find(|(shape, _)| **shape == *name);
    found.unwrap_or_else(|| panic!("{name}")).1
}

/// What must be there, each of the right kind and as short as it may be: enough to be looked at, not
/// enough to be done in every case. Names of keys are `key`.
pub fn required(members: &[Member], key: &str) -> Map<String, Value> {
    let required = members.iter().filter(|member| member.rule.is_required);
    required
        .map(|member| {
            (
                member.name.to_owned(),
                plain(member.name, &member.rule, key),
            )
        })
        .collect()
}

fn plain(name: &str, rule: &Rule, key: &str) -> Value {
    let least = rule.range.map_or(0, |(least, _)| least);
    match rule.kind {
        Kind::Text => match rule.values {
            // Pairs of RSA keys take a second to make.
            Some(values) => {
                let quick = values.iter().find(|value| !value.starts_with("RSA_"));
                json!(quick.unwrap_or(&values[0]))
            }
            None if name.ends_with("KeyId") => json!(key),
            None if name == "AliasName" => json!("alias/x"),
            None => json!("x".repeat(least.max(1) as usize)),
        },
        Kind::Number => json!(least),
        Kind::Blob => json!("AAAA"),
        Kind::Flag => json!(false),
        Kind::Time => json!(2_000_000_000),
        Kind::Pairs => json!({}),
        Kind::Structure => required(rule.members.unwrap_or_default(), key).into(),
        Kind::List => json!([match (rule.item, rule.members) {
            (Some(item), _) => plain(name, item, key),
            (None, Some(members)) => required(members, key).into(),
            (None, None) => Value::Null,
        }]),
    }
}
