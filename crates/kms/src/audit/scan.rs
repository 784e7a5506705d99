//! The members of an object, found without building anything.
//!
//! What is accepted here is a part of JSON (RFC 8259): no white space, no escapes in names, whole
//! numbers, at most [`DEPTH_MAX`] levels. All that the log writes is so, or almost all. What is not
//! is left to a parser of everything, which also says what is wrong with it.

/// Levels of objects and arrays within the object.
const DEPTH_MAX: u32 = 63;
/// Digits of a number: as many as a sequence number can have.
const DIGITS_MAX: usize = 20;

/// Calls `each` with the name and the value, as they are written, of every member of the object
/// that `text` is. `None` when the text is not all of one such object.
pub(super) fn members<'a>(text: &'a str, mut each: impl FnMut(&'a str, &'a str)) -> Option<()> {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'{') {
        return None;
    }
    let mut at = 1;
    if bytes.get(at) == Some(&b'}') {
        return (bytes.len() == 2).then_some(());
    }
    loop {
        let (name, begin) = name(text, at)?;
        at = value_end(bytes, begin)?;
        each(name, text.get(begin..at)?);
        match bytes.get(at)? {
            b',' => at += 1,
            b'}' => return (bytes.len() == at + 1).then_some(()),
            _ => return None,
        }
    }
}

/// The text of a string that has no escapes.
pub(super) fn plain(value: &str) -> Option<&str> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    (!inner.contains('\\')).then_some(inner)
}

/// A name, and where its value begins.
fn name(text: &str, at: usize) -> Option<(&str, usize)> {
    let bytes = text.as_bytes();
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let begin = at + 1;
    let end = special(bytes, begin)?;
    if bytes[end] != b'"' || bytes.get(end + 1) != Some(&b':') {
        return None;
    }
    Some((text.get(begin..end)?, end + 2))
}

/// Where the value that begins at `at` ends.
fn value_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    // The levels that are open: a bit each, set for an object.
    let (mut open, mut depth) = (0_u64, 0);
    loop {
        at = match bytes.get(at)? {
            b'"' => string_end(bytes, at + 1)?,
            b'{' | b'[' if depth == DEPTH_MAX => return None,
            b'{' => {
                open = open << 1 | 1;
                depth += 1;
                match bytes.get(at + 1)? {
                    b'}' => at + 1,
                    _ => {
                        at = name_end(bytes, at + 1)?;
                        continue;
                    }
                }
            }
            b'[' => {
                open <<= 1;
                depth += 1;
                match bytes.get(at + 1)? {
                    b']' => at + 1,
                    _ => {
                        at += 1;
                        continue;
                    }
                }
            }
            b't' => literal_end(bytes, at, b"true")?,
            b'f' => literal_end(bytes, at, b"false")?,
            b'n' => literal_end(bytes, at, b"null")?,
            _ => number_end(bytes, at)?,
        };
        loop {
            if depth == 0 {
                return Some(at);
            }
            match (bytes.get(at)?, open & 1) {
                (b',', 1) => {
                    at = name_end(bytes, at + 1)?;
                    break;
                }
                (b',', _) => {
                    at += 1;
                    break;
                }
                (b'}', 1) | (b']', 0) => {
                    open >>= 1;
                    depth -= 1;
                    at += 1;
                }
                _ => return None,
            }
        }
    }
}

/// Where the value of the member whose name begins at `at` begins.
fn name_end(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let end = string_end(bytes, at + 1)?;
    (bytes.get(end) == Some(&b':')).then_some(end + 1)
}

fn literal_end(bytes: &[u8], at: usize, literal: &[u8]) -> Option<usize> {
    bytes[at..]
        .starts_with(literal)
        .then_some(at + literal.len())
}

/// A whole number, which is all but the end of the text.
fn number_end(bytes: &[u8], at: usize) -> Option<usize> {
    let digits = at + usize::from(bytes[at] == b'-');
    let count = bytes[digits..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    let end = digits + count.take(DIGITS_MAX + 1).count();
    let is_whole = match bytes.get(digits)? {
        b'0' => end == digits + 1,
        b'1'..=b'9' => end - digits <= DIGITS_MAX,
        _ => false,
    };
    let goes_on = matches!(bytes.get(end)?, b'.' | b'e' | b'E');
    (is_whole && !goes_on).then_some(end)
}

/// Behind the quote that ends a string, whose text begins at `at`.
fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at = special(bytes, at)?;
        match (bytes[at], bytes.get(at + 1)) {
            (b'"', _) => return Some(at + 1),
            (b'\\', Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't')) => at += 2,
            (b'\\', Some(b'u')) => {
                let digits = bytes.get(at + 2..at + 6)?;
                // A half of a pair needs its other half: not looked at here.
                let is_half = matches!(
                    digits,
                    [b'd' | b'D', b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F', ..]
                );
                if is_half || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                at += 6;
            }
            _ => return None,
        }
    }
}

/// Where the next quote, backslash or control character is: eight bytes at a time, each of them a
/// digit of the word to base 256.
#[inline]
fn special(bytes: &[u8], mut at: usize) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    while let Some(Ok(eight)) = bytes.get(at..at + 8).map(<[u8; 8]>::try_from) {
        let word = u64::from_le_bytes(eight);
        // The lowest byte whose high bit is set is one that was looked for; others may have borrowed.
        let below = |limit: u64, word: u64| word.wrapping_sub(ONES * limit) & !word;
        let found = below(0x20, word)
            | below(1, word ^ (ONES * u64::from(b'"')))
            | below(1, word ^ (ONES * u64::from(b'\\')));
        match found & HIGH {
            0 => at += 8,
            found => return Some(at + found.trailing_zeros() as usize / 8),
        }
    }
    let is_special = |byte: &u8| matches!(byte, 0..0x20 | b'"' | b'\\');
    Some(at + bytes.get(at..)?.iter().position(is_special)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn read(text: &str) -> Option<Vec<(String, Value)>> {
        let mut found = Vec::new();
        members(text, |name, value| {
            found.push((name.to_owned(), value.to_owned()));
        })?;
        let parsed = |(name, value): (String, String)| {
            let value = serde_json::from_str(&value);
            (name, value.expect("what is accepted here is JSON"))
        };
        Some(found.into_iter().map(parsed).collect())
    }

    /// The text is JSON, and what was found is what a parser of everything finds.
    fn agrees(text: &str) -> bool {
        let Some(found) = read(text) else {
            return true;
        };
        let all: Result<Value, _> = serde_json::from_str(text);
        let Ok(Value::Object(all)) = all else {
            return false;
        };
        // Of names that are there twice a map has the last.
        found.iter().all(|(name, _)| all.contains_key(name))
            && all.iter().all(|(name, value)| {
                found
                    .iter()
                    .rev()
                    .find(|(other, _)| other == name)
                    .map(|(_, found)| found)
                    == Some(value)
            })
    }

    #[test]
    fn members_are_found() {
        let text = r#"{"a":1,"b":"x\"y\\","c":[{"a":[]},{},-20,"é\u00e9"],"d":{"e":{"f":null}},"g":true,"h":false}"#;
        let found = read(text).unwrap();
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "d", "g", "h"]);
        assert!(agrees(text));
        assert_eq!(read("{}").unwrap().len(), 0);
    }

    #[test]
    fn everything_else_is_left_alone() {
        for text in [
            "",
            "{",
            "}",
            "[]",
            "1",
            "{}x",
            "{ }",
            r#"{"a": 1}"#,
            r#"{"a":1 }"#,
            r#"{"a":01}"#,
            r#"{"a":1.5}"#,
            r#"{"a":1e3}"#,
            r#"{"a":-}"#,
            r#"{"a":100000000000000000000}"#,
            r#"{"a":+1}"#,
            r#"{"a":}"#,
            r#"{"a"}"#,
            r#"{"a":1,}"#,
            r#"{,"a":1}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":[1}"#,
            r#"{"a":{"b":1]}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\u12"}"#,
            "{\"a\":\"\n\"}",
            "{\"a\":\"\u{0}\"}",
            r#"{"a\"":1}"#,
            r#"{"a":tru}"#,
            r#"{"a":nul}"#,
            r#"{"a":"b"#,
            r#"{"a":[[[]]}"#,
            r#"{"a":1"#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        let deep =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(read(&deep(DEPTH_MAX as usize)).is_some());
        assert!(read(&deep(DEPTH_MAX as usize + 1)).is_none());
    }

    #[test]
    fn strings_have_no_escapes_or_are_not_plain() {
        assert_eq!(plain("\"abc\""), Some("abc"));
        for other in ["abc", "\"a\\nb\"", "1", "\""] {
            assert_eq!(plain(other), None);
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[a-z\"\\\\]{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::vec(("[a-z]{0,9}", inner), 0..6)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]
        #[test]
        fn what_a_parser_finds(
            pairs in proptest::collection::vec(("[a-z]{0,9}", value()), 0..8),
            bends in proptest::collection::vec((any::<prop::sample::Index>(), 0x20..0x7f_u8), 0..3),
        ) {
            let text = Value::Object(pairs.into_iter().collect()).to_string();
            prop_assert!(agrees(&text), "{}", text);
            let mut bent = text.into_bytes();
            for (at, byte) in bends {
                let at = at.index(bent.len());
                bent[at] = byte;
            }
            if let Ok(bent) = String::from_utf8(bent) {
                prop_assert!(agrees(&bent), "{}", bent);
            }
        }
    }
}
