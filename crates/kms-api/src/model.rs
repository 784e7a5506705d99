//! What the service model says of each member: whether it must be there, its length, range,
//! pattern and values; and the sentence that AWS answers with when a request breaks that.
//!
//! ```text
//! N validation error(s) detected: Value 'VALUE' at 'PATH' failed to satisfy constraint:
//! Member must CONSTRAINT; Value …
//! ```
//!
//! `PATH` is the member's name in camel case, `tags.2.member.tagKey` inside a list. Values of blobs
//! and of secrets are left out. The rules stand beside the members in [`crate::op`], in the macro
//! `shapes!`; a test compares them with the published model.

use crate::error::{ErrorCode, KmsError};
use crate::members::Members;
use crate::shape::{Blob, SecretBlob, Timestamp};
use regex_lite::Regex;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::OnceLock;

pub(crate) mod items;
pub(crate) mod patterns;
pub mod values;

/// A member of a request or an answer, as in the service model.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// The name on the wire.
    pub name: &'static str,
    /// What its value must satisfy.
    pub rule: Rule,
}

/// Something that has members.
pub trait Shape {
    /// In the order of the model.
    const MEMBERS: &'static [Member];

    /// Collects what is wrong with the members; `path` leads here.
    fn check(&self, path: &Path<'_>, found: &mut Violations);

    /// The members as the audit log names them, `keyId` for `KeyId`. Bytes and what is secret are
    /// left out without being looked at.
    fn logged(&self) -> Members;
}

/// The kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `string`
    Text,
    /// `integer`
    Number,
    /// `blob`: base64 on the wire
    Blob,
    /// `boolean`
    Flag,
    /// `timestamp`: seconds since 1970
    Time,
    /// `map` of strings to strings
    Pairs,
    /// `list`
    List,
    /// `structure`
    Structure,
}

/// What a value must satisfy.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Its type.
    pub kind: Kind,
    /// Whether it must be there.
    pub is_required: bool,
    /// Whether its value is left out of errors.
    pub is_secret: bool,
    /// The least and greatest length, count or number.
    pub range: Option<(i64, i64)>,
    /// A pattern for all of it.
    pub pattern: Option<&'static Pattern>,
    /// All that it may be.
    pub values: Option<&'static [&'static str]>,
    /// What the items of a list must satisfy.
    pub item: Option<&'static Self>,
    /// The members of a structure, or of the structures in a list.
    pub members: Option<&'static [Member]>,
}

impl Rule {
    const fn of(kind: Kind) -> Self {
        Self {
            kind,
            is_required: false,
            is_secret: false,
            range: None,
            pattern: None,
            values: None,
            item: None,
            members: None,
        }
    }

    pub(crate) const fn any_text() -> Self {
        Self::of(Kind::Text)
    }

    /// `least` to `greatest` characters.
    pub(crate) const fn text(least: i64, greatest: i64) -> Self {
        Self::of(Kind::Text).sized(least, greatest)
    }

    pub(crate) const fn number(least: i64, greatest: i64) -> Self {
        Self::of(Kind::Number).sized(least, greatest)
    }

    /// `least` to `greatest` bytes.
    pub(crate) const fn blob(least: i64, greatest: i64) -> Self {
        let mut rule = Self::of(Kind::Blob).sized(least, greatest);
        rule.is_secret = true;
        rule
    }

    pub(crate) const fn one_of(values: &'static [&'static str]) -> Self {
        let mut rule = Self::of(Kind::Text);
        rule.values = Some(values);
        rule
    }

    pub(crate) const fn flag() -> Self {
        Self::of(Kind::Flag)
    }

    pub(crate) const fn time() -> Self {
        Self::of(Kind::Time)
    }

    pub(crate) const fn pairs() -> Self {
        Self::of(Kind::Pairs)
    }

    pub(crate) const fn list(item: &'static Self) -> Self {
        let mut rule = Self::of(Kind::List);
        rule.item = Some(item);
        rule
    }

    pub(crate) const fn list_of(members: &'static [Member]) -> Self {
        let mut rule = Self::of(Kind::List);
        rule.members = Some(members);
        rule
    }

    pub(crate) const fn structure(members: &'static [Member]) -> Self {
        let mut rule = Self::of(Kind::Structure);
        rule.members = Some(members);
        rule
    }

    pub(crate) const fn sized(mut self, least: i64, greatest: i64) -> Self {
        self.range = Some((least, greatest));
        self
    }

    pub(crate) const fn matching(mut self, pattern: &'static Pattern) -> Self {
        self.pattern = Some(pattern);
        self
    }

    pub(crate) const fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    pub(crate) const fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }

    /// What `Member must` do, where `size` is its length, count or number.
    fn size_broken(&self, size: i64) -> Option<String> {
        let (least, greatest) = self.range?;
        let what = match self.kind {
            Kind::Number => "value",
            _ => "length",
        };
        if size < least {
            return Some(format!("have {what} greater than or equal to {least}"));
        }
        (size > greatest).then(|| format!("have {what} less than or equal to {greatest}"))
    }

    /// All that a text breaks.
    fn text_broken(&self, text: &str) -> Vec<String> {
        let mut broken = Vec::new();
        if self.range.is_some() {
            let chars = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
            broken.extend(self.size_broken(chars));
        }
        if let Some(pattern) = self.pattern
            && !pattern.matches(text)
        {
            broken.push(format!(
                "satisfy regular expression pattern: {}",
                pattern.text
            ));
        }
        if let Some(values) = self.values
            && !values.contains(&text)
        {
            broken.push(format!("satisfy enum value set: [{}]", values.join(", ")));
        }
        broken
    }
}

/// A regular expression that must match the whole.
pub struct Pattern {
    /// As in the model, and in errors.
    pub text: &'static str,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    const fn new(text: &'static str) -> Self {
        Self {
            text,
            compiled: OnceLock::new(),
        }
    }

    fn matches(&self, text: &str) -> bool {
        let compiled = self
            .compiled
            .get_or_init(|| Regex::new(&format!("^(?:{})$", self.text)).ok());
        compiled.as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pattern({})", self.text)
    }
}

/// The way to a member.
#[derive(Debug, Clone, Copy)]
pub struct Path<'a> {
    before: Option<&'a Self>,
    name: &'a str,
    /// From 1, in a list.
    at: Option<usize>,
}

impl<'a> Path<'a> {
    /// The way to a request itself.
    pub const ROOT: Path<'static> = Path {
        before: None,
        name: "",
        at: None,
    };

    /// On to a member.
    pub fn member(&'a self, name: &'a str) -> Self {
        Self {
            before: Some(self),
            name,
            at: None,
        }
    }

    fn item(&'a self, at: usize) -> Self {
        Self {
            before: Some(self),
            name: "",
            at: Some(at + 1),
        }
    }
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(before) = self.before else {
            return Ok(());
        };
        before.fmt(f)?;
        if before.before.is_some() {
            f.write_str(".")?;
        }
        match self.at {
            Some(at) => write!(f, "{at}.member"),
            None => {
                let (first, rest) = self.name.split_at_checked(1).unwrap_or((self.name, ""));
                write!(f, "{}{rest}", first.to_ascii_lowercase())
            }
        }
    }
}

/// How many things that are wrong with a request are told; the others are counted. A body of 64 KiB can have
/// ten thousand, and each of them would be a hundred bytes of an answer and of a record.
const TOLD_MAX: usize = 100;

/// What is wrong with a request, in the order of its members.
#[derive(Debug, Default)]
pub struct Violations {
    told: Vec<String>,
    count: usize,
}

impl Violations {
    fn add(&mut self, value: Option<&str>, path: &Path<'_>, constraint: &str) {
        self.tell(|| {
            let value = value.map(|value| format!(" '{value}'")).unwrap_or_default();
            format!(
                "Value{value} at '{path}' failed to satisfy constraint: Member must {constraint}"
            )
        });
    }

    fn missing(&mut self, path: &Path<'_>) {
        self.tell(|| {
            format!("Value null at '{path}' failed to satisfy constraint: Member must not be null")
        });
    }

    fn tell(&mut self, sentence: impl FnOnce() -> String) {
        self.count += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(sentence());
        }
    }

    /// The error, if there is anything wrong.
    ///
    /// # Errors
    /// `ValidationException`.
    pub fn into_result(self) -> Result<(), KmsError> {
        let (count, plural) = match self.count {
            0 => return Ok(()),
            1 => (1, ""),
            count => (count, "s"),
        };
        Err(KmsError::new(
            ErrorCode::Validation,
            format!(
                "{count} validation error{plural} detected: {}",
                self.told.join("; ")
            ),
        ))
    }
}

/// Collects the required members that are not in `value`.
pub(crate) fn find_missing(
    members: &[Member],
    value: &Value,
    path: &Path<'_>,
    found: &mut Violations,
) {
    for member in members {
        let path = path.member(member.name);
        match (value.get(member.name), member.rule.members) {
            (None, _) if member.rule.is_required => found.missing(&path),
            (Some(Value::Array(items)), Some(members)) => {
                for (at, item) in items.iter().enumerate() {
                    find_missing(members, item, &path.item(at), found);
                }
            }
            (Some(inner @ Value::Object(_)), Some(members)) => {
                find_missing(members, inner, &path, found);
            }
            _ => {}
        }
    }
}

/// A value that can be held against a rule.
pub(crate) trait Checked {
    fn check(&self, rule: &Rule, path: &Path<'_>, found: &mut Violations);

    /// As the audit log has it, where it may be there and says anything.
    fn logged(&self, rule: &Rule) -> Option<Value>;
}

impl Checked for String {
    fn check(&self, rule: &Rule, path: &Path<'_>, found: &mut Violations) {
        for broken in rule.text_broken(self) {
            found.add((!rule.is_secret).then_some(self), path, &broken);
        }
    }

    fn logged(&self, _: &Rule) -> Option<Value> {
        Some(Value::from(self.as_str()))
    }
}

impl Checked for i64 {
    fn check(&self, rule: &Rule, path: &Path<'_>, found: &mut Violations) {
        if let Some(broken) = rule.size_broken(*self) {
            found.add(Some(&self.to_string()), path, &broken);
        }
    }

    fn logged(&self, _: &Rule) -> Option<Value> {
        Some(Value::from(*self))
    }
}

impl Checked for Blob {
    fn check(&self, rule: &Rule, path: &Path<'_>, found: &mut Violations) {
        let bytes = i64::try_from(self.0.len()).unwrap_or(i64::MAX);
        if let Some(broken) = rule.size_broken(bytes) {
            found.add(None, path, &broken);
        }
    }

    fn logged(&self, _: &Rule) -> Option<Value> {
        None
    }
}

impl Checked for SecretBlob {
    fn check(&self, rule: &Rule, path: &Path<'_>, found: &mut Violations) {
        let bytes = i64::try_from(self.0.len()).unwrap_or(i64::MAX);
        if let Some(broken) = rule.size_broken(bytes) {
            found.add(None, path, &broken);
        }
    }

    fn logged(&self, _: &Rule) -> Option<Value> {
        None
    }
}

macro_rules! unchecked {
    ($($type:ty: |$value:ident| $logged:expr;)*) => {$(
        impl Checked for $type {
            fn check(&self, _: &Rule, _: &Path<'_>, _: &mut Violations) {}

            fn logged(&self, _: &Rule) -> Option<Value> {
                let $value = self;
                $logged
            }
        }
    )*};
}

unchecked! {
    bool: |flag| Some(Value::from(*flag));
    Timestamp: |time| Some(Value::from(time.0));
    BTreeMap<String, String>: |pairs| {
        let said = pairs.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        (!pairs.is_empty()).then(|| Value::Object(said.collect()))
    };
}

impl<T: Checked> Checked for Option<T> {
    fn check(&self, rule: &Rule, path: &Path<'_>, found: &mut Violations) {
        if let Some(value) = self {
            value.check(rule, path, found);
        }
    }

    fn logged(&self, rule: &Rule) -> Option<Value> {
        self.as_ref()?.logged(rule)
    }
}

impl Checked for Vec<String> {
    fn check(&self, rule: &Rule, path: &Path<'_>, found: &mut Violations) {
        let is_secret = rule.item.is_some_and(|item| item.is_secret);
        let all = || (!is_secret).then(|| format!("[{}]", self.join(", ")));
        // A list that may be absent is empty then.
        if self.is_empty() && !rule.is_required {
            return;
        }
        let count = i64::try_from(self.len()).unwrap_or(i64::MAX);
        if let Some(broken) = rule.size_broken(count) {
            found.add(all().as_deref(), path, &broken);
        }
        let Some(item) = rule.item else { return };
        for text in self {
            let broken = item.text_broken(text);
            if !broken.is_empty() {
                let musts = broken.iter().map(|one| format!("Member must {one}"));
                let musts: Box<[String]> = musts.collect();
                let broken = format!("satisfy constraint: [{}]", musts.join(", "));
                found.add(all().as_deref(), path, &broken);
                return;
            }
        }
    }

    fn logged(&self, rule: &Rule) -> Option<Value> {
        let is_said = rule.is_required || !self.is_empty();
        is_said.then(|| Value::from(self.as_slice()))
    }
}

/// `keyId` for `KeyId`. `N` is the length of the name.
pub(crate) const fn camel_case<const N: usize>(name: &str) -> [u8; N] {
    let (bytes, mut spelled) = (name.as_bytes(), [0; N]);
    spelled.copy_from_slice(bytes);
    if let Some(first) = spelled.first_mut() {
        first.make_ascii_lowercase();
    }
    spelled
}

/// Adds a member to what is logged, unless it is secret.
pub(crate) fn log(name: &'static str, rule: &Rule, value: &impl Checked, named: &mut Members) {
    if rule.is_secret || rule.item.is_some_and(|item| item.is_secret) {
        return;
    }
    if let Some(value) = value.logged(rule) {
        named.insert(name, value);
    }
}

/// What can be an item of a list, or a member, and has members itself.
pub(crate) trait Structure: Shape {}

impl<T: Structure> Checked for Vec<T> {
    fn check(&self, rule: &Rule, path: &Path<'_>, found: &mut Violations) {
        let count = i64::try_from(self.len()).unwrap_or(i64::MAX);
        if let Some(broken) = rule.size_broken(count) {
            found.add(None, path, &broken);
        }
        for (at, item) in self.iter().enumerate() {
            Shape::check(item, &path.item(at), found);
        }
    }

    fn logged(&self, rule: &Rule) -> Option<Value> {
        let is_said = rule.is_required || !self.is_empty();
        is_said.then(|| {
            self.iter()
                .map(|item| Value::from(Shape::logged(item)))
                .collect()
        })
    }
}

/// Types of the wire, each with what the model says of its members.
///
/// ```text
/// /// What it is.
/// NAME { /// What the member is.
///        MEMBER: TYPE => "Name", RULE; … }
/// ```
macro_rules! shapes {
    ($(
        $(#[$meta:meta])*
        $name:ident {
            $( $(#[$member_meta:meta])* $field:ident: $type:ty => $wire:literal, $rule:expr; )*
        }
    )*) => {
        $(
            $(#[$meta])*
            #[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
            pub struct $name {
                $( $(#[$member_meta])* #[serde(rename = $wire)] pub $field: $type, )*
            }

            impl $crate::model::Shape for $name {
                const MEMBERS: &'static [$crate::model::Member] = &[
                    $( $crate::model::Member { name: $wire, rule: $rule }, )*
                ];

                #[allow(unused_variables, reason = "some shapes have no members")]
                fn check(
                    &self,
                    path: &$crate::model::Path<'_>,
                    found: &mut $crate::model::Violations,
                ) {
                    $({
                        const RULE: Rule = $rule;
                        let path = path.member($wire);
                        $crate::model::Checked::check(&self.$field, &RULE, &path, found);
                    })*
                }

                #[allow(unused_mut, reason = "some shapes have no members")]
                fn logged(&self) -> $crate::members::Members {
                    let mut named = $crate::members::Members::new();
                    $({
                        const RULE: Rule = $rule;
                        const SPELLED: &[u8] = &$crate::model::camel_case::<{ $wire.len() }>($wire);
                        // A name of the model is ASCII.
                        const NAME: &str = match str::from_utf8(SPELLED) {
                            Ok(name) => name,
                            Err(_) => $wire,
                        };
                        $crate::model::log(NAME, &RULE, &self.$field, &mut named);
                    })*
                    named
                }
            }

            impl $crate::model::Structure for $name {}

            impl $crate::model::Checked for $name {
                fn check(
                    &self,
                    _: &Rule,
                    path: &$crate::model::Path<'_>,
                    found: &mut $crate::model::Violations,
                ) {
                    $crate::model::Shape::check(self, path, found);
                }

                fn logged(&self, _: &Rule) -> Option<serde_json::Value> {
                    Some($crate::model::Shape::logged(self).into())
                }
            }
        )*

        /// The types of this module and their members.
        #[allow(dead_code, reason = "those of the service model are compared with it")]
        pub(crate) const SHAPES: &[(&str, &[$crate::model::Member])] = &[
            $( (stringify!($name), <$name as $crate::model::Shape>::MEMBERS), )*
        ];
    };
}

pub(crate) use shapes;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_not_logged() {
        let input = crate::op::EncryptRequest {
            key_id: "k".to_owned(),
            plaintext: SecretBlob(waxseal_core::SecretBytes::copy_of(b"p")),
            encryption_context: [("a".to_owned(), "b".to_owned())].into(),
            grant_tokens: vec!["t".to_owned()],
            dry_run: Some(false),
            ..Default::default()
        };
        let expected = r#"{"dryRun":false,"encryptionContext":{"a":"b"},"keyId":"k"}"#;
        assert_eq!(
            serde_json::json!(Shape::logged(&input)).to_string(),
            expected
        );
    }

    #[test]
    fn every_pattern_is_one() {
        for pattern in patterns::ALL {
            assert!(
                Regex::new(&format!("^(?:{})$", pattern.text)).is_ok(),
                "{pattern:?}"
            );
        }
        assert!(patterns::POLICY.matches("{\"a\":\n\t1}"));
        assert!(!patterns::POLICY.matches("\u{100}"));
        assert!(patterns::XKS_KEY_ID.matches("a-b_c.9"));
        assert!(!patterns::NAME.matches("a b"));
    }
}
