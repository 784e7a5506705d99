//! Policies as JSON text (IAM User Guide, "Grammar of the IAM JSON policy language").
//!
//! Strict where a lenient reader would guess: unknown elements, elements that are there twice,
//! statements without effect or action, and principals where there can be none are refused.

use super::condition::{Condition, Known};
use super::json::Json;
use super::pattern::Pattern;
use waxseal_core::arn::is_account;

/// The most bytes of a key policy (KMS quotas).
pub const KEY_POLICY_BYTES_MAX: usize = 32 * 1024;
/// The most bytes of any other policy that is read.
pub const POLICY_BYTES_MAX: usize = 128 * 1024;

/// Where a policy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyKind {
    /// With a key: its statements name principals.
    Key,
    /// With a user, a role or a session: its statements name none.
    Identity,
    /// With a role, and says who may be it: its statements name principals, and no resource, which
    /// is the role.
    Trust,
}

/// Why a text is no policy, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(String);

fn wrong<T>(what: impl Into<String>) -> Result<T, PolicyError> {
    Err(PolicyError(what.into()))
}

/// A policy that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub(super) statements: Vec<Statement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) sid: Option<String>,
    pub(super) allows: bool,
    pub(super) principals: Principals,
    actions: Matching,
    resources: Matching,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Principals {
    /// In policies that name none: whose policy it is.
    Unnamed,
    Only(Vec<Named>),
    AllBut(Vec<Named>),
}

/// One principal, as a key policy names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    Anyone,
    /// Everyone in an account, as far as the account lets them.
    Account(String),
    Arn(String),
    Service(String),
    /// Whom the tokens of an OpenID Connect provider name. The ARNs and names of others are nobody's
    /// here.
    Federated(String),
    /// A canonical user: nobody here.
    Other,
}

/// `Action` or `NotAction`, `Resource` or `NotResource`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Matching {
    is_negated: bool,
    patterns: Vec<Pattern>,
}

impl Matching {
    fn everything() -> Self {
        Self {
            is_negated: false,
            patterns: vec![Pattern::new("*", false)],
        }
    }

    fn holds(&self, text: &str, facts: &dyn Known) -> bool {
        let mut patterns = self.patterns.iter();
        patterns.any(|pattern| pattern.matches(text, facts)) != self.is_negated
    }
}

impl Statement {
    /// Whether it speaks of this action, in lower case, on this resource, under what is known; principals
    /// aside.
    pub(super) fn speaks_of(&self, action: &str, resource: &str, facts: &dyn Known) -> bool {
        self.actions.holds(action, facts)
            && self.resources.holds(resource, facts)
            && self
                .conditions
                .iter()
                .all(|condition| condition.holds(facts))
    }
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// [`PolicyError`], which AWS answers as `MalformedPolicyDocumentException`.
    pub fn parse(text: &str, kind: PolicyKind) -> Result<Self, PolicyError> {
        let most = match kind {
            PolicyKind::Key => KEY_POLICY_BYTES_MAX,
            PolicyKind::Identity | PolicyKind::Trust => POLICY_BYTES_MAX,
        };
        if text.len() > most {
            return wrong(format!("The policy is longer than {most} bytes."));
        }
        let json: Json = serde_json::from_str(text)
            .map_err(|error| PolicyError(format!("The policy is no JSON: {error}")))?;
        let Json::Object(members) = json else {
            return wrong("The policy is no JSON object.");
        };
        let (mut has_variables, mut statements) = (false, None);
        for (name, value) in members {
            match (name.as_str(), value) {
                ("Version", Json::Text(version)) if version == "2012-10-17" => has_variables = true,
                ("Version", Json::Text(version)) if version == "2008-10-17" => {}
                ("Version", _) => return wrong("Version must be 2012-10-17 or 2008-10-17."),
                ("Id", Json::Text(_)) => {}
                ("Statement", value) => statements = Some(value),
                _ => return wrong(format!("A policy has no element {name} of this form.")),
            }
        }
        let statements = match statements {
            Some(Json::List(statements)) => statements,
            Some(statement @ Json::Object(_)) => vec![statement],
            _ => return wrong("Statement must be an object or a list of objects."),
        };
        let read = |statement| statement_of(statement, kind, has_variables);
        let statements: Vec<_> = statements.into_iter().map(read).collect::<Result<_, _>>()?;
        if statements.is_empty() {
            return wrong("A policy must have a statement.");
        }
        for (at, statement) in statements.iter().enumerate() {
            let same = |other: &Statement| other.sid.is_some() && other.sid == statement.sid;
            if statements[..at].iter().any(same) {
                return wrong("Statement ids must be unique.");
            }
        }
        Ok(Self { statements })
    }
}

fn statement_of(
    json: Json,
    kind: PolicyKind,
    has_variables: bool,
) -> Result<Statement, PolicyError> {
    let Json::Object(members) = json else {
        return wrong("A statement must be an object.");
    };
    let (mut sid, mut allows, mut principals) = (None, None, None);
    let (mut actions, mut resources, mut conditions) = (None, None, Vec::new());
    for (name, value) in members {
        match name.as_str() {
            "Sid" => match value {
                Json::Text(text) => sid = Some(text).filter(|text| !text.is_empty()),
                _ => return wrong("Sid must be a text."),
            },
            "Effect" => match value {
                Json::Text(text) if text == "Allow" => allows = Some(true),
                Json::Text(text) if text == "Deny" => allows = Some(false),
                _ => return wrong("Effect must be Allow or Deny."),
            },
            "Principal" | "NotPrincipal" => {
                let named = principals_of(value)?;
                let all_but = name == "NotPrincipal";
                let new = if all_but {
                    Principals::AllBut(named)
                } else {
                    Principals::Only(named)
                };
                once(&mut principals, new, "Principal")?;
            }
            "Action" | "NotAction" => {
                let new = matching(&name, value, |text| {
                    Pattern::new(&text.to_ascii_lowercase(), has_variables)
                })?;
                once(&mut actions, new, "Action")?;
            }
            "Resource" | "NotResource" => {
                let new = matching(&name, value, |text| Pattern::new(text, has_variables))?;
                once(&mut resources, new, "Resource")?;
            }
            "Condition" => conditions = conditions_of(value, has_variables)?,
            _ => return wrong(format!("A statement has no element {name}.")),
        }
    }
    let Some(allows) = allows else {
        return wrong("A statement must have an Effect.");
    };
    let Some(actions) = actions else {
        return wrong("A statement must have an Action or NotAction.");
    };
    let resources = match (kind, resources) {
        (PolicyKind::Trust, None) => Matching::everything(),
        (PolicyKind::Trust, Some(_)) => {
            return wrong("A statement of a trust policy must not have a Resource.");
        }
        (_, Some(resources)) => resources,
        (_, None) => return wrong("A statement must have a Resource or NotResource."),
    };
    let principals = match (kind, principals) {
        (PolicyKind::Key | PolicyKind::Trust, Some(principals)) => principals,
        (PolicyKind::Key, None) => {
            return wrong("A statement of a key policy must have a Principal.");
        }
        (PolicyKind::Trust, None) => {
            return wrong("A statement of a trust policy must have a Principal.");
        }
        (PolicyKind::Identity, None) => Principals::Unnamed,
        (PolicyKind::Identity, Some(_)) => {
            return wrong("A statement of an identity policy must not have a Principal.");
        }
    };
    Ok(Statement {
        sid,
        allows,
        principals,
        actions,
        resources,
        conditions,
    })
}

fn once<T>(place: &mut Option<T>, new: T, what: &str) -> Result<(), PolicyError> {
    match place.replace(new) {
        None => Ok(()),
        Some(_) => wrong(format!(
            "A statement has either {what} or Not{what}, not both."
        )),
    }
}

/// One text or a list of texts.
fn texts(name: &str, value: Json) -> Result<Vec<String>, PolicyError> {
    let items = match value {
        Json::List(items) => items,
        item => vec![item],
    };
    let text = |item| match item {
        Json::Text(text) => Ok(text),
        _ => wrong(format!("{name} must be a text or a list of texts.")),
    };
    items.into_iter().map(text).collect()
}

fn matching(
    name: &str,
    value: Json,
    pattern: impl Fn(&str) -> Pattern,
) -> Result<Matching, PolicyError> {
    let texts = texts(name, value)?;
    if texts.is_empty() {
        return wrong(format!("{name} must not be empty."));
    }
    if name.ends_with("Action")
        && let Some(text) = texts
            .iter()
            .find(|text| *text != "*" && !text.contains(':'))
    {
        return wrong(format!("'{text}' is no action: one has the form kms:Name."));
    }
    Ok(Matching {
        is_negated: name.starts_with("Not"),
        patterns: texts.iter().map(|text| pattern(text)).collect(),
    })
}

fn principals_of(value: Json) -> Result<Vec<Named>, PolicyError> {
    let kinds = match value {
        Json::Text(text) if text == "*" => return Ok(vec![Named::Anyone]),
        Json::Object(kinds) if !kinds.is_empty() => kinds,
        _ => return wrong("Principal must be \"*\" or an object."),
    };
    let mut named = Vec::new();
    for (kind, value) in kinds {
        let texts = texts("Principal", value)?;
        if texts.is_empty() {
            return wrong("Principal must not be empty.");
        }
        for text in texts {
            named.push(match kind.as_str() {
                "AWS" => aws_principal(text)?,
                "Service" => Named::Service(text),
                "Federated" => Named::Federated(text),
                "CanonicalUser" => Named::Other,
                _ => return wrong(format!("There are no principals of kind {kind}.")),
            });
        }
    }
    Ok(named)
}

fn aws_principal(text: String) -> Result<Named, PolicyError> {
    if text == "*" {
        return Ok(Named::Anyone);
    }
    if is_account(&text) {
        return Ok(Named::Account(text));
    }
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", _, service @ ("iam" | "sts"), "", account, rest] = parts[..] else {
        return wrong(format!("Invalid principal in policy: \"AWS\":\"{text}\""));
    };
    if !is_account(account) || rest.is_empty() || rest.contains(['*', '?']) {
        return wrong(format!("Invalid principal in policy: \"AWS\":\"{text}\""));
    }
    match (service, rest) {
        ("iam", "root") => Ok(Named::Account(account.to_owned())),
        _ => Ok(Named::Arn(text)),
    }
}

fn conditions_of(value: Json, has_variables: bool) -> Result<Vec<Condition>, PolicyError> {
    let Json::Object(operators) = value else {
        return wrong("Condition must be an object.");
    };
    let mut conditions = Vec::new();
    for (operator, facts) in operators {
        let Json::Object(facts) = facts else {
            return wrong(format!("{operator} must be an object."));
        };
        for (fact, values) in facts {
            let values = match values {
                Json::List(values) => values,
                value => vec![value],
            };
            let pattern = |value: &Json| {
                value
                    .scalar()
                    .map(|text| Pattern::new(&text, has_variables))
            };
            let Some(values) = values.iter().map(pattern).collect::<Option<Vec<_>>>() else {
                return wrong(format!("{fact} must have texts for values."));
            };
            let condition = Condition::new(&operator, &fact, values);
            let Some(condition) = condition else {
                return wrong(format!("There is no condition operator {operator}."));
            };
            conditions.push(condition);
        }
    }
    Ok(conditions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_policy_is_one() {
        let text = crate::policy::default_key_policy("aws", "111122223333");
        assert!(Policy::parse(&text, PolicyKind::Key).is_ok());
        assert!(Policy::parse(&text, PolicyKind::Identity).is_err());
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        let statement =
            |inside: &str| format!(r#"{{"Version":"2012-10-17","Statement":[{{{inside}}}]}}"#);
        let good = r#""Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*""#;
        assert!(Policy::parse(&statement(good), PolicyKind::Key).is_ok());
        for bad in [
            String::new(),
            "[]".to_owned(),
            "{}".to_owned(),
            r#"{"Statement":[]}"#.to_owned(),
            r#"{"Version":"2020-01-01","Statement":[]}"#.to_owned(),
            statement(&good.replace("Allow", "allow")),
            statement(&good.replace("\"Action\"", "\"Actions\"")),
            statement(&good.replace("kms:*", "kms")),
            statement(&good.replace(r#""Principal":"*","#, "")),
            statement(&good.replace(r#","Resource":"*""#, "")),
            statement(&good.replace(r#""Principal":"*""#, r#""Principal":{"AWS":"ann"}"#)),
            statement(&good.replace(
                r#""Principal":"*""#,
                r#""Principal":{"AWS":"arn:aws:iam::111122223333:user/*"}"#,
            )),
            statement(&format!(r#"{good},"Effect":"Deny""#)),
            statement(&format!(r#"{good},"NotAction":"kms:Encrypt""#)),
            statement(&format!(r#"{good},"Condition":{{"StringIs":{{"a":"b"}}}}"#)),
            statement(&format!(
                r#"{good},"Condition":{{"StringLike":{{"a":{{}}}}}}"#
            )),
            format!(r#"{{"Statement":[{{"Sid":"1",{good}}},{{"Sid":"1",{good}}}]}}"#),
            statement(&good.replace("kms:*", &format!("kms:{}", "x".repeat(40_000)))),
        ] {
            assert!(Policy::parse(&bad, PolicyKind::Key).is_err(), "{bad:.200}");
        }
    }
}
