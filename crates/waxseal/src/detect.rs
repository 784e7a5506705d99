//! Which format is this? Told from the first bytes, without any key and without trusting them.
//!
//! ```text
//! message v1    01 80 | suite                      (AWS Encryption SDK)
//! message v2    02 | 04 78 or 05 78
//! direct        57 58 4B 42 "WXKB"                 (our own KMS)
//!               01 02 02|03 00 78                  (Amazon KMS)
//! secretbox     length | FF odd | 03 01 01 | name  (Go's gob: the definition of a struct type)
//! ```

use crate::message::Suite;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A format of sealed data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An AWS Encryption SDK message ([`message`](crate::message)).
    Message {
        /// Its header version: 1 or 2.
        version: u8,
    },
    /// A ciphertext blob of a KMS ([`direct`](crate::direct)).
    Direct,
    /// A secretbox payload in Go's `gob` encoding.
    Secretbox,
}

/// How the bytes are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    Binary,
    /// In base64, standard or URL-safe, perhaps broken into lines.
    Base64,
}

/// Recognises the format from the beginning of the data; a few dozen bytes suffice, and 4,096 are
/// the most that is worth giving (spaces and line ends may stand before base64). `None`: none of
/// ours.
///
/// Recognition is no verification: a reader of the format still refuses what is wrong with it.
pub fn detect(prefix: &[u8]) -> Option<(Format, Encoding)> {
    if let Some(format) = binary(prefix) {
        return Some((format, Encoding::Binary));
    }
    let decoded = base64_front(prefix)?;
    binary(&decoded).map(|format| (format, Encoding::Base64))
}

fn binary(bytes: &[u8]) -> Option<Format> {
    match bytes {
        [1, 0x80, high, low, ..] => {
            Suite::from_id(u16::from_be_bytes([*high, *low]), 1)?;
            Some(Format::Message { version: 1 })
        }
        [2, high, low, ..] => {
            Suite::from_id(u16::from_be_bytes([*high, *low]), 2)?;
            Some(Format::Message { version: 2 })
        }
        [b'W', b'X', b'K', b'B', ..] | [1, 2, 2 | 3, 0, 0x78, ..] => Some(Format::Direct),
        _ if is_gob_struct(bytes) => Some(Format::Secretbox),
        _ => None,
    }
}

/// Whether a gob stream begins that defines a struct type, whatever its name.
///
/// The definition is a message of its own: `length | type id, negative | wireType`. The first type
/// of a stream has an id of −65 or below, written as `FF` and an odd byte. A `wireType` whose first
/// field is the third (a struct), in it the first (common), in it the first (the name) begins with
/// `03 01 01`; one of a struct without a name with `03 01 02` and the type id again.
fn is_gob_struct(bytes: &[u8]) -> bool {
    match bytes {
        [length, 0xff, id, 3, 1, 1, name_bytes, name @ ..] => {
            let name_bytes = usize::from(*name_bytes);
            let is_length = (usize::from(*length) > 6 + name_bytes) && *length < 0x80;
            let is_definition = *id >= 0x81 && id % 2 == 1;
            let is_name = name
                .iter()
                .take(name_bytes)
                .all(|byte| byte.is_ascii_graphic() || *byte >= 0x80);
            is_length && is_definition && name_bytes > 0 && is_name
        }
        [length, 0xff, id, 3, 1, 2, 0xff, named, ..] => {
            (8..0x80).contains(length)
                && *id >= 0x81
                && id % 2 == 1
                && u16::from(*named) == u16::from(*id) + 1
        }
        _ => false,
    }
}

/// Decodes the front of `text`, up to 48 bytes, when that much is base64.
fn base64_front(text: &[u8]) -> Option<Vec<u8>> {
    let mut digits: Vec<u8> = text
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .take(64)
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        })
        .collect();
    // A front that was cut within a group of four is decoded up to that group.
    digits.truncate(digits.len() / 4 * 4);
    STANDARD.decode(digits).ok()
}
