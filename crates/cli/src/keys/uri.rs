//! `SCHEME:PATH?NAME=VALUE&NAME=VALUE`, each part percent-encoded where it must be.

use crate::failure::Failure;

/// The parts of a key that is spelled out.
pub(super) struct Uri<'t> {
    typed: &'t str,
    form: &'static str,
    path: String,
    query: Vec<(String, String)>,
}

impl<'t> Uri<'t> {
    /// Takes `typed` apart. `names` are the names it may have, each once; `form` is how it is
    /// written, for whoever wrote it otherwise.
    pub(super) fn parse(
        typed: &'t str,
        names: &[&str],
        form: &'static str,
    ) -> Result<Self, Failure> {
        let mut uri = Self {
            typed,
            form,
            path: String::new(),
            query: Vec::new(),
        };
        let (_, rest) = typed.split_once(':').unwrap_or(("", typed));
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        uri.path = percent_decoded(path).ok_or_else(|| uri.malformed())?;
        if uri.path.is_empty() {
            return Err(uri.malformed());
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| uri.malformed())?;
            if !names.contains(&name) || uri.value(name).is_some() {
                return Err(uri.malformed());
            }
            let value = percent_decoded(value).ok_or_else(|| uri.malformed())?;
            uri.query.push((name.to_owned(), value));
        }
        Ok(uri)
    }

    /// What stands before the question mark; never empty.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The value of a name.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let mut pairs = self.query.iter();
        let found = pairs.find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// This is not how such a key is written.
    pub(super) fn malformed(&self) -> Failure {
        Failure::usage(
            format!("'{}' is not spelled as a key of its kind is", self.typed),
            format!(
                "write {}, with %3F for a '?', %26 for a '&' and %25 for a '%' in a part",
                self.form
            ),
        )
    }
}

/// A part of a URI (RFC 3986, section 2.1).
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        if bytes[at] == b'%' {
            out.extend(hex::decode(bytes.get(at + 1..at + 3)?).ok()?);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_percent_decoded() {
        assert_eq!(percent_decoded("a%20b%3f%C3%A4").unwrap(), "a b?ä");
        for wrong in ["%", "%2", "%zz", "%ff"] {
            assert!(percent_decoded(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn names_are_known_and_stand_once() {
        let parse = |typed| Uri::parse(typed, &["a", "b"], "x:PATH?a=A&b=B");
        let uri = parse("x:some/path?b=1%262&").unwrap();
        assert_eq!((uri.path(), uri.value("b")), ("some/path", Some("1&2")));
        assert_eq!(uri.value("a"), None);
        assert_eq!(parse("x:p?a=").unwrap().value("a"), Some(""));
        for wrong in [
            "x:",
            "x:?a=1",
            "x:p?c=1",
            "x:p?a",
            "x:p?a=1&a=2",
            "x:%zz",
            "x:p?a=%",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
