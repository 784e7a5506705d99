//! Times in digits, as signatures and audit records spell them.

use time::{OffsetDateTime, UtcOffset};

/// A time in UTC, to the second, where `pattern` has `0`: year, month, day, hour, minute and second, 14 digits
/// in all. Whatever else the pattern has stays. Years that have a sign or five digits are of no request.
pub fn stamped<const N: usize>(mut pattern: [u8; N], time: OffsetDateTime) -> [u8; N] {
    let time = time.to_offset(UtcOffset::UTC);
    let year = time.year().unsigned_abs();
    let digits = [
        year / 100,
        year,
        u8::from(time.month()).into(),
        time.day().into(),
        time.hour().into(),
        time.minute().into(),
        time.second().into(),
    ];
    // Two of each, each less than ten.
    let digits = digits.iter().flat_map(|number| [number / 10, *number]);
    let places = pattern.iter_mut().filter(|byte| **byte == b'0');
    for (place, digit) in places.zip(digits) {
        *place += (digit % 10) as u8;
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_digit_has_its_place() {
        let time = OffsetDateTime::from_unix_timestamp(1_709_251_199).unwrap();
        let west = time.to_offset(UtcOffset::from_hms(-5, -30, 0).unwrap());
        for time in [time, west] {
            assert_eq!(
                &stamped(*b"0000-00-00T00:00:00Z", time),
                b"2024-02-29T23:59:59Z"
            );
            assert_eq!(&stamped(*b"00000000T000000Z", time), b"20240229T235959Z");
        }
    }
}
