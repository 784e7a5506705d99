//! What may be shown on a terminal.

use std::borrow::Cow;

/// `text` with everything escaped that could move a cursor, recolour, reorder or hide what is
/// shown: file names, key names and contexts come from outside.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unprintable(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Whether `bytes` are text that a terminal shows as it is: UTF-8 without control characters
/// other than line ends and tabs.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| {
        text.chars()
            .all(|c| matches!(c, '\n' | '\r' | '\t') || !is_unprintable(c))
    })
}

/// Control characters (C0, DEL, C1), line and paragraph separators, and the characters that
/// change the direction of text (Unicode Standard Annex #9, section 2).
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_escaped_and_letters_are_not() {
        assert_eq!(plain("häßlich 名前"), "häßlich 名前");
        assert_eq!(plain("a\x1b[31mb\n"), "a\\u{1b}[31mb\\n");
        assert_eq!(plain("x\u{202e}y\u{9b}"), "x\\u{202e}y\\u{9b}");
    }

    #[test]
    fn text_is_told_from_binary() {
        assert!(is_text("Grüße\r\n\t!".as_bytes()));
        assert!(is_text(b""));
        for binary in [&b"\x1b[2J"[..], b"\0", b"\xff", b"\x7f"] {
            assert!(!is_text(binary), "{binary:?}");
        }
    }
}
