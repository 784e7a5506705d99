//! Prints what is known here of the service model, for the comparison with the published one
//! (`conformance/interop/kms-model.sh`).

use serde_json::{Value, json};
use std::io::Write as _;
use waxseal_kms_api::ErrorCode;
use waxseal_kms_api::model::{Kind, Member, Rule};
use waxseal_kms_api::op::{OPERATIONS, shapes};

fn rule(rule: &Rule) -> Value {
    let kind = match rule.kind {
        Kind::Text => "string",
        Kind::Number => "integer",
        Kind::Blob => "blob",
        Kind::Flag => "boolean",
        Kind::Time => "timestamp",
        Kind::Pairs => "map",
        Kind::List => "list",
        Kind::Structure => "structure",
    };
    json!({
        "type": kind,
        "required": rule.is_required,
        "range": rule.range,
        "pattern": rule.pattern.map(|pattern| pattern.text),
        "enum": rule.values,
        "item": rule.item.map(self::rule),
        "members": rule.members.map(|members| members.iter().map(|one| one.name).collect::<Vec<_>>()),
    })
}

fn members(members: &[Member]) -> Value {
    let named = members.iter();
    named
        .map(|member| (member.name.to_owned(), rule(&member.rule)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn main() -> std::io::Result<()> {
    let shapes: serde_json::Map<_, _> = shapes()
        .map(|(name, all)| ((*name).to_owned(), members(all)))
        .collect();
    let errors = ErrorCode::ALL.iter();
    let errors: serde_json::Map<_, _> = errors
        .map(|code| (code.name().to_owned(), code.status().into()))
        .collect();
    let all = json!({
        "operations": OPERATIONS,
        "shapes": shapes,
        "errors": errors,
    });
    writeln!(std::io::stdout(), "{all}")
}
