//! The little of Go's `encoding/gob` that a payload needs: counts, signed numbers, strings.
//!
//! ```text
//! uint   below 128: that byte; else FF - n for n + 1 bytes, which follow, big-endian, no leading zero
//! int    the uint of (i << 1), or of (!i << 1 | 1) when i is negative
//! bytes  uint length | the bytes
//! ```
//!
//! Go's reader takes a number with leading zeros; its writer never makes one. This reader refuses
//! them, so that one value has one encoding.

use super::PayloadError;

/// Bytes of a payload, read from the front; knows where it is for the errors.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// How many bytes of the payload lie before the next one.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next `len` bytes.
    pub(super) fn take(
        &mut self,
        len: u64,
        expected: &'static str,
    ) -> Result<&'a [u8], PayloadError> {
        let truncated = PayloadError::Truncated {
            offset: self.offset + self.bytes.len(),
            expected,
        };
        let len = usize::try_from(len).map_err(|_| truncated.clone())?;
        let (head, tail) = self.bytes.split_at_checked(len).ok_or(truncated)?;
        self.bytes = tail;
        self.offset += len;
        Ok(head)
    }

    /// The next `len` bytes as a reader of their own: a message inside the stream.
    pub(super) fn message(
        &mut self,
        len: u64,
        expected: &'static str,
    ) -> Result<Self, PayloadError> {
        let offset = self.offset;
        let bytes = self.take(len, expected)?;
        Ok(Self { bytes, offset })
    }

    pub(super) fn uint(&mut self, expected: &'static str) -> Result<u64, PayloadError> {
        let offset = self.offset;
        let first = self.byte(expected)?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let unexpected = PayloadError::Unexpected { offset, expected };
        let len = 0x100 - usize::from(first);
        if len > 8 {
            return Err(unexpected);
        }
        let value = self
            .take(len as u64, expected)?
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte));
        if uint_bytes(value) == 1 + len {
            Ok(value)
        } else {
            Err(unexpected)
        }
    }

    pub(super) fn int(&mut self, expected: &'static str) -> Result<i64, PayloadError> {
        let bits = self.uint(expected)?;
        let magnitude = (bits >> 1) as i64; // 63 bits: never negative
        Ok(if bits & 1 == 1 { !magnitude } else { magnitude })
    }

    /// A number that can only be `value` here.
    pub(super) fn exactly(
        &mut self,
        value: u64,
        expected: &'static str,
    ) -> Result<(), PayloadError> {
        let offset = self.offset;
        if self.uint(expected)? == value {
            Ok(())
        } else {
            Err(PayloadError::Unexpected { offset, expected })
        }
    }

    /// Counted bytes: `1` to `max` of them.
    pub(super) fn counted(
        &mut self,
        max: u64,
        expected: &'static str,
    ) -> Result<&'a [u8], PayloadError> {
        let offset = self.offset;
        let bytes = self.uint(expected)?;
        if bytes == 0 {
            // Go leaves an empty field out; it never writes one.
            return Err(PayloadError::Unexpected { offset, expected });
        }
        if bytes > max {
            return Err(PayloadError::Limit {
                offset,
                what: expected,
                bytes,
                bytes_max: max,
            });
        }
        self.take(bytes, expected)
    }

    fn byte(&mut self, expected: &'static str) -> Result<u8, PayloadError> {
        let offset = self.offset;
        let (first, rest) = self
            .bytes
            .split_first()
            .ok_or(PayloadError::Truncated { offset, expected })?;
        self.bytes = rest;
        self.offset += 1;
        Ok(*first)
    }
}

pub(super) fn put_uint(out: &mut Vec<u8>, value: u64) {
    if value < 0x80 {
        out.push(value as u8);
        return;
    }
    let len = uint_bytes(value) - 1;
    out.push((0x100 - len) as u8);
    out.extend_from_slice(&value.to_be_bytes()[8 - len..]);
}

pub(super) fn put_int(out: &mut Vec<u8>, value: i64) {
    // For a negative number both shifts leave ones where the complement has zeros.
    put_uint(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub(super) fn put_counted(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Length in bytes of the encoding of `value`.
pub(super) fn uint_bytes(value: u64) -> usize {
    match value {
        0..0x80 => 1,
        _ => 1 + (71 - value.leading_zeros() as usize) / 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// From the documentation of `encoding/gob`, section *Encoding Details*.
    #[test]
    fn numbers_of_the_documentation() {
        let uint = |value| {
            let mut out = Vec::new();
            put_uint(&mut out, value);
            out
        };
        let int = |value| {
            let mut out = Vec::new();
            put_int(&mut out, value);
            out
        };
        assert_eq!(uint(0), [0]);
        assert_eq!(uint(7), [7]);
        assert_eq!(uint(127), [0x7f]);
        assert_eq!(uint(128), [0xff, 0x80]);
        assert_eq!(uint(256), [0xfe, 0x01, 0x00]);
        assert_eq!(
            uint(u64::MAX),
            [0xf8, 255, 255, 255, 255, 255, 255, 255, 255]
        );
        assert_eq!(int(0), [0]);
        assert_eq!(int(-1), [1]);
        assert_eq!(int(2), [4]);
        assert_eq!(int(-129), [0xfe, 0x01, 0x01]);
    }

    #[test]
    fn one_value_has_one_encoding() {
        for padded in [
            &[0xff, 0x7f][..],
            &[0xfe, 0x00, 0x80],
            &[0xf7, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        ] {
            assert_eq!(
                Reader::new(padded).uint("a number"),
                Err(PayloadError::Unexpected {
                    offset: 0,
                    expected: "a number"
                })
            );
        }
        assert_eq!(
            Reader::new(&[0xfe, 0x01]).uint("a number"),
            Err(PayloadError::Truncated {
                offset: 2,
                expected: "a number"
            })
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in any::<i64>(), shift in 0u32..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            put_int(&mut out, value);
            put_uint(&mut out, value as u64);
            prop_assert_eq!(uint_bytes(value as u64) + uint_bytes(((value << 1) ^ (value >> 63)) as u64), out.len());
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.int("an int").unwrap(), value);
            prop_assert_eq!(reader.uint("a uint").unwrap(), value as u64);
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn what_is_read_prints_the_same(bytes in proptest::collection::vec(any::<u8>(), 1..12)) {
            let mut reader = Reader::new(&bytes);
            if let Ok(value) = reader.uint("a number") {
                let mut out = Vec::new();
                put_uint(&mut out, value);
                prop_assert_eq!(&out[..], &bytes[..reader.offset()]);
            }
        }
    }
}
