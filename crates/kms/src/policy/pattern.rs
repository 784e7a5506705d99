//! Texts with `*`, `?` and policy variables.
//!
//! `*` stands for any characters, `?` for one. In policies of version 2012-10-17, `${name}` stands
//! for a fact of the request, `${name, 'text'}` for the text where there is no such fact, and
//! `${*}`, `${?}`, `${$}` for the characters themselves.

use super::condition::{Facts, Known};
use std::borrow::Cow;
use std::str::Chars;

/// A text as it stands in a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    pieces: Vec<Piece>,
    /// What the pieces are, where there are no variables among them.
    fixed: Option<Vec<Token>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// Characters of which `*` and `?` are wildcards where wildcards are looked for.
    Text(String),
    /// A character that is itself.
    Literal(char),
    Variable {
        name: String,
        otherwise: Option<String>,
    },
}

/// One character of a pattern whose variables are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// This character.
    Is(char),
    /// Any one.
    One,
    /// Any number of them.
    Any,
}

impl Pattern {
    /// Reads a text; variables only where the policy's version has them. What is no variable by
    /// its form is itself.
    pub fn new(text: &str, has_variables: bool) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        while has_variables && let Some(at) = rest.find("${") {
            let Some(end) = rest[at..].find('}') else {
                break;
            };
            if at > 0 {
                pieces.push(Piece::Text(rest[..at].to_owned()));
            }
            pieces.push(variable(&rest[at + 2..at + end]));
            rest = &rest[at + end + 1..];
        }
        if !rest.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        let is_variable = |piece: &Piece| matches!(piece, Piece::Variable { .. });
        let is_fixed = !pieces.iter().any(is_variable);
        let fixed = is_fixed.then(|| filled_in(&pieces, &Facts::default()));
        Self {
            fixed: fixed.flatten(),
            pieces,
        }
    }

    /// The pattern with its variables filled in; none when a fact is missing.
    pub fn tokens(&self, facts: &dyn Known) -> Option<Cow<'_, [Token]>> {
        match &self.fixed {
            Some(tokens) => Some(tokens.into()),
            None => filled_in(&self.pieces, facts).map(Cow::from),
        }
    }

    /// The text with its variables filled in, `*` and `?` being themselves.
    pub fn text(&self, facts: &dyn Known) -> Option<Cow<'_, str>> {
        if let [Piece::Text(text)] = &self.pieces[..] {
            return Some(text.into());
        }
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Literal(char) => out.push(*char),
                Piece::Variable { name, otherwise } => {
                    out.push_str(facts.single(name).or(otherwise.as_deref())?);
                }
            }
        }
        Some(out.into())
    }

    /// Whether all of `text` matches.
    pub fn matches(&self, text: &str, facts: &dyn Known) -> bool {
        self.tokens(facts)
            .is_some_and(|tokens| matches(&tokens, text))
    }
}

fn filled_in(pieces: &[Piece], facts: &dyn Known) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => tokens.extend(text.chars().map(|char| match char {
                '*' => Token::Any,
                '?' => Token::One,
                char => Token::Is(char),
            })),
            Piece::Literal(char) => tokens.push(Token::Is(*char)),
            Piece::Variable { name, otherwise } => {
                let value = facts.single(name).or(otherwise.as_deref())?;
                tokens.extend(value.chars().map(Token::Is));
            }
        }
    }
    Some(tokens)
}

fn variable(inside: &str) -> Piece {
    match inside {
        "*" => return Piece::Literal('*'),
        "?" => return Piece::Literal('?'),
        "$" => return Piece::Literal('$'),
        _ => {}
    }
    let (name, otherwise) = match inside.split_once(',') {
        Some((name, rest)) => (name, Some(rest.trim().trim_matches('\'').to_owned())),
        None => (inside, None),
    };
    Piece::Variable {
        name: name.trim().to_owned(),
        otherwise,
    }
}

/// Whether all of `text` matches, in time proportional to both lengths multiplied at most: after a
/// mismatch only the last `*` takes one more character.
pub fn matches(tokens: &[Token], text: &str) -> bool {
    let (mut rest, mut token) = (text.chars(), 0);
    // The last `*`, and what is left behind the characters that it stands for.
    let mut last: Option<(usize, Chars<'_>)> = None;
    loop {
        let mut behind = rest.clone();
        let Some(char) = behind.next() else {
            return tokens[token..].iter().all(|token| *token == Token::Any);
        };
        match tokens.get(token) {
            Some(Token::Any) if token + 1 == tokens.len() => return true,
            Some(Token::Any) => {
                last = Some((token, rest.clone()));
                token += 1;
                continue;
            }
            Some(Token::One) => {
                (rest, token) = (behind, token + 1);
                continue;
            }
            Some(Token::Is(own)) if *own == char => {
                (rest, token) = (behind, token + 1);
                continue;
            }
            _ => {}
        }
        let Some((star, left)) = &mut last else {
            return false;
        };
        // It takes one more.
        left.next();
        (rest, token) = (left.clone(), *star + 1);
    }
}

/// As [`matches()`], segment by segment between colons: six segments, the last of which may hold
/// colons. A wildcard does not reach over a colon but in the last segment.
pub fn arn_matches(tokens: &[Token], arn: &str) -> bool {
    let segments: Vec<&str> = arn.splitn(6, ':').collect();
    let patterns: Vec<&[Token]> = tokens.splitn(6, |token| *token == Token::Is(':')).collect();
    if patterns.len() != 6 || segments.len() != 6 {
        // `*` alone is every ARN.
        return patterns.len() == 1 && matches(tokens, arn);
    }
    let mut pairs = patterns.iter().zip(segments);
    pairs.all(|(pattern, segment)| matches(pattern, segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(pattern: &str, text: &str) -> bool {
        let mut facts = Facts::default();
        facts.set("aws:username", "ann*");
        Pattern::new(pattern, true).matches(text, &facts)
    }

    #[test]
    fn wildcards_and_variables() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*abc", "ababc", true),
            ("user/${aws:username}", "user/ann*", true),
            ("user/${aws:username}", "user/anna", false),
            ("${aws:none}", "", false),
            ("${aws:none, 'x'}", "x", true),
            ("${*}${?}${$}", "*?$", true),
            ("${*}", "x", false),
            ("${open", "${open", true),
        ] {
            assert_eq!(is(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn hostile_patterns_end() {
        let pattern = "*a".repeat(2_000);
        let text = "a".repeat(1_999) + "b";
        assert!(!is(&pattern, &text));
    }

    #[test]
    fn arns_match_by_segments() {
        let arn = |pattern: &str, text: &str| {
            let pattern = Pattern::new(pattern, false);
            let tokens = pattern.tokens(&Facts::default()).unwrap();
            arn_matches(&tokens, text)
        };
        assert!(arn(
            "arn:aws:kms:*:111122223333:key/*",
            "arn:aws:kms:eu-west-1:111122223333:key/k"
        ));
        assert!(!arn(
            "arn:aws:*:key/*",
            "arn:aws:kms:eu-west-1:111122223333:key/k"
        ));
        assert!(arn("*", "arn:aws:kms:eu-west-1:111122223333:key/k"));
        assert!(arn("arn:aws:sns:*:*:a*", "arn:aws:sns:x:y:a:b:c"));
    }
}
