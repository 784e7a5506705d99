//! Values of options: pairs, suffixes, sizes and ranges.

use std::num::NonZeroU32;

/// Bytes of a plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u64,
    end: Option<u64>,
}

impl Span {
    /// Where it ends in a plaintext of so many bytes.
    pub(crate) fn end(self, plaintext_bytes: u64) -> u64 {
        self.end.unwrap_or(plaintext_bytes)
    }
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".into()),
    }
}

pub(super) fn suffix(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains('/') {
        return Err("a suffix has at least one character and no '/'".into());
    }
    Ok(text.to_owned())
}

/// `START..END`, either of them left out, or `START..+LENGTH`.
pub(super) fn span(text: &str) -> Result<Span, String> {
    const FORM: &str = "write START..END, START.., ..END or START..+LENGTH, as in 1MiB..+20";
    let (start, end) = text.split_once("..").ok_or(FORM)?;
    let bytes = |text: &str| size(text).map_err(|_| FORM.to_owned());
    let start = if start.is_empty() { 0 } else { bytes(start)? };
    let end = match (end, end.strip_prefix('+')) {
        ("", _) => None,
        (_, Some(length)) => Some(start.saturating_add(bytes(length)?)),
        (end, None) => Some(bytes(end)?),
    };
    if end.is_some_and(|end| end < start) {
        return Err("the range ends before it begins".into());
    }
    Ok(Span { start, end })
}

pub(super) fn frame_bytes(text: &str) -> Result<NonZeroU32, String> {
    let bytes = u32::try_from(size(text)?).ok().and_then(NonZeroU32::new);
    bytes.ok_or_else(|| "a frame has 1 to 4,294,967,295 bytes".into())
}

/// Bytes from `4096`, `4096B`, `64KiB` or `64K`, `1MiB` or `1M`, `1GiB` or `1G`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        _ => return Err("write a size like 4096, 64KiB, 1MiB or 1GiB".into()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "write a size like 4096, 64KiB, 1MiB or 1GiB".to_owned())?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| "the size is too large".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("1mib"), Ok(1 << 20));
        assert_eq!(size("2G"), Ok(2 << 30));
        for wrong in [
            "",
            "KiB",
            "1KB",
            "-1",
            "1.5MiB",
            "99999999999999999999",
            "20000000000GiB",
        ] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        assert!(frame_bytes("4GiB").is_err());
        assert!(frame_bytes("0").is_err());
        assert_eq!(frame_bytes("4294967295").map(NonZeroU32::get), Ok(u32::MAX));
    }

    #[test]
    fn ranges_have_ends_or_lengths() {
        let span = |text: &str| span(text).map(|span| (span.start, span.end));
        assert_eq!(span("1..2"), Ok((1, Some(2))));
        assert_eq!(span("5.."), Ok((5, None)));
        assert_eq!(span("..7"), Ok((0, Some(7))));
        assert_eq!(span(".."), Ok((0, None)));
        assert_eq!(span("3..3"), Ok((3, Some(3))));
        assert_eq!(span("1KiB..+1MiB"), Ok((1024, Some(1024 + (1 << 20)))));
        assert_eq!(span("9..+18446744073709551615"), Ok((9, Some(u64::MAX))));
        for wrong in ["", "1", "2..1", "-1..", "..-1", "1..+", "a..b", "1..2..3"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn pairs_split_at_the_first_sign() {
        assert_eq!(pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(pair("a="), Ok(("a".into(), String::new())));
        assert!(pair("a").is_err());
        assert!(pair("=b").is_err());
    }
}
