//! The two spellings of a request's time.

use super::canonical::Ascii;
use crate::stamp::stamped;
use time::format_description::well_known::Rfc2822;
use time::{Date, Month, OffsetDateTime, Time};

/// `YYYYMMDDTHHMMSSZ`, as in `X-Amz-Date`; in `Date` also as HTTP writes it (RFC 9110, section
/// 5.6.7). Seconds since 1970.
pub(super) fn parse(text: &str) -> Option<i64> {
    basic(text).or_else(|| {
        // GMT is a zone that RFC 2822 knows as obsolete.
        let parsed = OffsetDateTime::parse(text, &Rfc2822).ok()?;
        Some(parsed.unix_timestamp())
    })
}

fn basic(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| -> Option<u16> {
        let digits = bytes.get(range)?;
        digits.iter().try_fold(0, |sum: u16, digit| {
            digit
                .is_ascii_digit()
                .then(|| sum * 10 + u16::from(digit - b'0'))
        })
    };
    let small = |range| u8::try_from(number(range)?).ok();
    let month = Month::try_from(small(4..6)?).ok()?;
    let date = Date::from_calendar_date(i32::from(number(0..4)?), month, small(6..8)?).ok()?;
    let time = Time::from_hms(small(9..11)?, small(11..13)?, small(13..15)?).ok()?;
    Some(date.with_time(time).assume_utc().unix_timestamp())
}

/// `YYYYMMDDTHHMMSSZ`; of seconds that no date has, the zero of it.
pub(super) fn print(seconds: i64) -> Ascii<16> {
    const ZERO: [u8; 16] = *b"00000000T000000Z";
    let time = OffsetDateTime::from_unix_timestamp(seconds);
    Ascii(time.map_or(ZERO, |time| stamped(ZERO, time)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_read() {
        assert_eq!(parse("20150830T123600Z"), Some(1_440_938_160));
        assert_eq!(parse("Sun, 30 Aug 2015 12:36:00 GMT"), Some(1_440_938_160));
        assert_eq!(print(1_440_938_160).as_str(), "20150830T123600Z");
        for wrong in [
            "",
            "20150830T123600",
            "20150830 123600Z",
            "20151330T123600Z",
            "20150230T123600Z",
            "20150830T243600Z",
            "2015083aT123600Z",
            "2015-08-30T12:36:00Z",
            "20150830T123600Ü",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
