//! A payload as bytes: one gob value behind its type definitions.

use super::definition::{DEFINITION_BYTES_MAX, Definition, Field};
use super::gob::{Reader, put_counted, put_int, put_uint};
use super::{NONCE_BYTES, TAG_BYTES};
use std::ops::Range;

/// The longest plaintext that is sealed or opened unless a caller raises it: 1 GiB. The whole of
/// it must fit in memory, twice (plaintext and payload).
pub const PLAINTEXT_BYTES_MAX_DEFAULT: u64 = 1 << 30;

/// The longest wrapped data key: the limit of AWS KMS for a ciphertext blob (`Decrypt`,
/// `CiphertextBlob`).
pub const WRAPPED_KEY_BYTES_MAX: usize = 6144;

/// What a reader accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest plaintext in bytes.
    pub plaintext_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            plaintext_bytes_max: PLAINTEXT_BYTES_MAX_DEFAULT,
        }
    }
}

impl Limits {
    /// The longest payload that can pass these limits, in bytes: no reader need buffer more.
    pub fn payload_bytes_max(&self) -> u64 {
        // Two definitions with their lengths; length, type id and end of the value; the key and
        // the message with field number and length; the nonce, two bytes for each of its own.
        const AROUND: u64 = 2 * (3 + DEFINITION_BYTES_MAX)
            + (9 + 5 + 1)
            + (1 + 3 + WRAPPED_KEY_BYTES_MAX as u64)
            + (1 + 1 + 2 * NONCE_BYTES as u64)
            + (1 + 9 + TAG_BYTES as u64);
        self.plaintext_bytes_max.saturating_add(AROUND)
    }
}

/// Why bytes are no payload. Offsets count bytes from the payload's start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The bytes end too early.
    #[error("the payload ends at byte {offset}, within {expected}")]
    Truncated {
        /// Where the bytes end.
        offset: usize,
        /// What was being read.
        expected: &'static str,
    },
    /// Something else stands there.
    #[error("byte {offset} of the payload is not {expected}")]
    Unexpected {
        /// Where.
        offset: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// The struct has another name than `payload`.
    #[error("the struct is called {type_name:?}, not \"payload\"")]
    TypeName {
        /// Its name.
        type_name: String,
    },
    /// The struct does not have three fields.
    #[error(
        "byte {offset} of the payload: the struct has {count} fields, not the three of a payload: Key, Nonce, Message"
    )]
    FieldCount {
        /// Where.
        offset: usize,
        /// How many it has.
        count: u64,
    },
    /// A field's name is none of the three, or one of them again.
    #[error(
        "byte {offset} of the payload: the field {name:?} is not one of Key, Nonce and Message, each once"
    )]
    UnknownField {
        /// Where.
        offset: usize,
        /// The name, at most [`DEFINITION_BYTES_MAX`] bytes.
        name: String,
    },
    /// A field has another type than in a payload.
    #[error(
        "byte {offset} of the payload: the field {field} has another type (Key and Message are []byte, Nonce is [24]byte)"
    )]
    FieldType {
        /// Where.
        offset: usize,
        /// Which field.
        field: &'static str,
    },
    /// The value leaves out a field. Go does so with an empty `[]byte` only, and an empty message
    /// is no box.
    #[error("byte {offset} of the payload: the value has no {field}")]
    MissingField {
        /// Where the field should be.
        offset: usize,
        /// Which field.
        field: &'static str,
    },
    /// The message cannot even hold the tag.
    #[error("byte {offset} of the payload: a message of {bytes} bytes; the tag alone has 16")]
    MessageTooShort {
        /// Where the message starts.
        offset: usize,
        /// Its length in bytes.
        bytes: usize,
    },
    /// Bytes behind the value. A payload is one value and nothing else.
    #[error("the payload ends at byte {offset}, and more bytes follow")]
    TrailingBytes {
        /// Where the payload ends.
        offset: usize,
    },
    /// A length is beyond its limit.
    #[error("byte {offset} of the payload: {what} has {bytes} bytes; the limit is {bytes_max}")]
    Limit {
        /// Where the length stands.
        offset: usize,
        /// What is too long.
        what: &'static str,
        /// Its length in bytes.
        bytes: u64,
        /// The limit in bytes.
        bytes_max: u64,
    },
}

/// A payload: wrapped key, nonce and box, as they travel together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The wrapped data key; empty when the payload carries none.
    pub key: Vec<u8>,
    /// The nonce.
    pub nonce: [u8; NONCE_BYTES],
    /// The box: `tag 16 | ciphertext`.
    pub message: Vec<u8>,
}

impl Payload {
    /// The bytes that Go's encoder writes for this value (as package `main`'s only gob type).
    pub fn encode(&self) -> Vec<u8> {
        self.borrowed().encode()
    }

    /// Reads a payload (see [`PayloadRef::decode`]).
    ///
    /// # Errors
    /// [`PayloadError`].
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, PayloadError> {
        Ok(PayloadRef::decode(bytes, limits)?.to_owned())
    }

    /// The same, borrowed.
    pub fn borrowed(&self) -> PayloadRef<'_> {
        PayloadRef {
            key: &self.key,
            nonce: self.nonce,
            message: &self.message,
        }
    }
}

/// A [`Payload`] whose long parts lie in somebody else's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadRef<'a> {
    /// The wrapped data key; empty when the payload carries none.
    pub key: &'a [u8],
    /// The nonce.
    pub nonce: [u8; NONCE_BYTES],
    /// The box: `tag 16 | ciphertext`.
    pub message: &'a [u8],
}

impl<'a> PayloadRef<'a> {
    /// Reads the payload that `bytes` are: nothing else, nothing behind it. One pass, and no
    /// allocation.
    ///
    /// # Errors
    /// [`PayloadError`]. What a Go program with the payload's struct writes is read, whatever the
    /// ids of its types and the order of its fields; a field more, less or of another type is
    /// refused, and so is an encoding that Go's encoder would not choose. The struct is called
    /// `payload` or nothing at all: no tag covers its name, and so that no altered byte of a
    /// payload goes unnoticed, no other name is taken.
    pub fn decode(bytes: &'a [u8], limits: &Limits) -> Result<Self, PayloadError> {
        let (definition, payload) = Self::decode_with_definition(bytes, limits)?;
        if !matches!(definition.type_name, "" | "payload") {
            return Err(PayloadError::TypeName {
                type_name: definition.type_name.to_owned(),
            });
        }
        Ok(payload)
    }

    /// The same, whatever the struct is called, with what the type definitions say: from both,
    /// [`Self::encode_as`] makes the same bytes again.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_with_definition(
        bytes: &'a [u8],
        limits: &Limits,
    ) -> Result<(Definition<'a>, Self), PayloadError> {
        let bytes_max = limits.payload_bytes_max();
        if bytes.len() as u64 > bytes_max {
            return Err(PayloadError::Limit {
                offset: 0,
                what: "the payload",
                bytes: bytes.len() as u64,
                bytes_max,
            });
        }
        let mut reader = Reader::new(bytes);
        let definition = Definition::parse(&mut reader)?;
        let len = reader.uint("the length of the value")?;
        let mut value = reader.message(len, "the value")?;
        if !reader.is_empty() {
            return Err(PayloadError::TrailingBytes {
                offset: reader.offset(),
            });
        }
        value.exactly(
            (definition.type_id as u64) << 1,
            "the id of the payload's type",
        )?;
        let payload = Self::fields(&mut value, definition.fields, limits)?;
        Ok((definition, payload))
    }

    fn fields(
        value: &mut Reader<'a>,
        order: [Field; 3],
        limits: &Limits,
    ) -> Result<Self, PayloadError> {
        let mut payload = Self {
            key: &[],
            nonce: [0; NONCE_BYTES],
            message: &[],
        };
        // How many fields further the next one that was sent is; zero after the last.
        let (mut offset, mut distance) = (value.offset(), value.uint(NEXT_FIELD)?);
        for field in order {
            match (field, distance) {
                (Field::Key, 1) => {
                    payload.key = value.counted(WRAPPED_KEY_BYTES_MAX as u64, "the wrapped key")?;
                }
                (Field::Nonce, 1) => payload.nonce = nonce(value)?,
                (Field::Message, 1) => payload.message = message(value, limits)?,
                (Field::Key, _) => {
                    distance = distance.saturating_sub(1);
                    continue;
                }
                (Field::Nonce | Field::Message, _) => {
                    let field = field.name();
                    return Err(PayloadError::MissingField { offset, field });
                }
            }
            (offset, distance) = (value.offset(), value.uint(NEXT_FIELD)?);
        }
        let expected = "the end of the value";
        if distance != 0 {
            return Err(PayloadError::Unexpected { offset, expected });
        }
        let offset = value.offset();
        if value.is_empty() {
            Ok(payload)
        } else {
            Err(PayloadError::Unexpected { offset, expected })
        }
    }

    /// See [`Payload::encode`].
    pub fn encode(&self) -> Vec<u8> {
        self.encode_as(&Definition::WRITTEN)
    }

    /// Writes the payload as a Go program does whose types are as `definition` says.
    pub fn encode_as(&self, definition: &Definition<'_>) -> Vec<u8> {
        let (mut bytes, place) = place(definition, self.key, &self.nonce, self.message.len());
        bytes[place].copy_from_slice(self.message);
        bytes
    }

    /// Copies.
    pub fn to_owned(&self) -> Payload {
        Payload {
            key: self.key.to_vec(),
            nonce: self.nonce,
            message: self.message.to_vec(),
        }
    }

    /// Length in bytes of what the box holds.
    pub fn plaintext_bytes(&self) -> usize {
        self.message.len().saturating_sub(TAG_BYTES)
    }
}

/// A whole payload but for its message, and where that belongs: one allocation, zeroed by the
/// operating system when it is large, so that a box can be sealed in its place.
pub(super) fn place(
    definition: &Definition<'_>,
    key: &[u8],
    nonce: &[u8; NONCE_BYTES],
    message_bytes: usize,
) -> (Vec<u8>, Range<usize>) {
    let mut before = Vec::with_capacity(64 + key.len());
    let mut after = Vec::with_capacity(8);
    put_int(&mut before, definition.type_id.into());
    let mut distance = 0;
    let mut out = &mut before;
    for field in definition.fields {
        distance += 1;
        match field {
            // Go leaves empty fields out, and the next one counts from the last one sent.
            Field::Key if key.is_empty() => continue,
            Field::Message if message_bytes == 0 => continue,
            _ => put_uint(out, distance),
        }
        distance = 0;
        match field {
            Field::Key => put_counted(out, key),
            Field::Nonce => {
                // An array is sent even when it is all zero, as 24 numbers.
                put_uint(out, NONCE_BYTES as u64);
                nonce
                    .iter()
                    .for_each(|byte| put_uint(out, u64::from(*byte)));
            }
            Field::Message => {
                put_uint(out, message_bytes as u64);
                out = &mut after;
            }
        }
    }
    put_uint(out, 0);

    let value_bytes = before.len() + message_bytes + after.len();
    let mut head = Vec::with_capacity(96);
    definition.put(&mut head);
    put_uint(&mut head, value_bytes as u64);
    let start = head.len() + before.len();
    let mut bytes = vec![0; head.len() + value_bytes];
    bytes[..head.len()].copy_from_slice(&head);
    bytes[head.len()..start].copy_from_slice(&before);
    bytes[start + message_bytes..].copy_from_slice(&after);
    (bytes, start..start + message_bytes)
}

const NEXT_FIELD: &str = "the distance to the next field, or the end";

fn nonce(value: &mut Reader<'_>) -> Result<[u8; NONCE_BYTES], PayloadError> {
    value.exactly(NONCE_BYTES as u64, "the length of the nonce, 24")?;
    let mut nonce = [0; NONCE_BYTES];
    for byte in &mut nonce {
        let offset = value.offset();
        let expected = "a byte of the nonce";
        *byte = u8::try_from(value.uint(expected)?)
            .map_err(|_| PayloadError::Unexpected { offset, expected })?;
    }
    Ok(nonce)
}

fn message<'a>(value: &mut Reader<'a>, limits: &Limits) -> Result<&'a [u8], PayloadError> {
    let bytes_max = limits.plaintext_bytes_max.saturating_add(TAG_BYTES as u64);
    let message = value.counted(bytes_max, "the message")?;
    if message.len() < TAG_BYTES {
        return Err(PayloadError::MessageTooShort {
            offset: value.offset() - message.len(),
            bytes: message.len(),
        });
    }
    Ok(message)
}
