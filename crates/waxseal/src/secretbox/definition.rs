//! The two type definitions with which every payload starts.
//!
//! A definition is a message of its own: `uint length | int -id | wireType`, and a struct in gob is
//! `{ uint distance to the next field that is not zero | its value }* 00`. So what Go 1.19 writes
//! for `type payload struct { Key []byte; Nonce [24]byte; Message []byte }` is always
//!
//! ```text
//! 34 ff81                 52 bytes: type 65 is
//!    03                     wireType.StructT (third field)
//!      01                     CommonType
//!        01 07 "payload"        Name
//!        01 ff82 00             Id 65; end
//!      01 03                  Field: three
//!        01 03 "Key"     01 0a   00     of type 5, []byte
//!        01 05 "Nonce"   01 ff84 00     of type 66
//!        01 07 "Message" 01 0a   00
//!      00 00                  end, end
//! 19 ff83                 25 bytes: type 66 is
//!    01                     wireType.ArrayT (first field)
//!      01 01 09 "[24]uint8" 01 ff84 00  CommonType
//!      01 06                  Elem: type 3, uint
//!      01 30                  Len: 24
//!      00 00
//! ```
//!
//! The struct's name and the ids are the writer's own affair: a program that met other types first,
//! that calls the struct something else or nothing at all, writes other ones. The reader takes
//! them. Field names are what gob matches by, so they must be these three; their order is free, as
//! it is for Go.
//!
//! Nothing authenticates a definition. An altered one is refused here, but for the struct's name,
//! where another identifier would do as well: that one is refused by
//! [`PayloadRef::decode`](super::PayloadRef::decode).

use super::gob::{Reader, put_counted, put_int, put_uint};
use super::{NONCE_BYTES, PayloadError};

/// The most bytes that one type definition may have.
pub const DEFINITION_BYTES_MAX: u64 = 512;

/// The fields of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The wrapped data key, `[]byte`.
    Key,
    /// The nonce, `[24]byte`.
    Nonce,
    /// Tag and ciphertext, `[]byte`.
    Message,
}

impl Field {
    /// The field's name in Go.
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "Key",
            Self::Nonce => "Nonce",
            Self::Message => "Message",
        }
    }
}

/// What the type definitions of a payload say: everything but the values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition<'a> {
    /// The struct's name, an identifier; empty for a struct without one.
    pub type_name: &'a str,
    /// The struct's type id.
    pub type_id: i32,
    /// The array's name: `[24]uint8`, or nothing when the program sent such an array by itself
    /// before.
    pub nonce_type_name: &'a str,
    /// The array's type id.
    pub nonce_type_id: i32,
    /// The fields in their declared order, each once.
    pub fields: [Field; 3],
}

impl Definition<'static> {
    /// The definitions that this crate writes.
    pub const WRITTEN: Self = Self {
        type_name: "payload",
        type_id: 65,
        nonce_type_name: NONCE_TYPE,
        nonce_type_id: 66,
        fields: [Field::Key, Field::Nonce, Field::Message],
    };
}

impl<'a> Definition<'a> {
    /// Reads the two definitions at the front of `bytes`, struct first, as Go's encoder sends
    /// them. Whatever follows is not looked at.
    ///
    /// # Errors
    /// [`PayloadError`]: anything but these two definitions, or more than
    /// [`DEFINITION_BYTES_MAX`] bytes in one of them.
    pub fn read(bytes: &'a [u8]) -> Result<Self, PayloadError> {
        Self::parse(&mut Reader::new(bytes))
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, PayloadError> {
        let mut message = definition(reader)?;
        let type_id = defined_id(&mut message)?;
        message.exactly(STRUCT, "the definition of a struct")?;
        let type_name = common(&mut message, type_id, is_identifier)?;
        let (fields, nonce_type_id) = fields(&mut message)?;
        end(&mut message)?;

        let mut message = definition(reader)?;
        let offset = message.offset();
        if defined_id(&mut message)? != nonce_type_id || nonce_type_id == type_id {
            let expected = "the definition of the type of Nonce";
            return Err(PayloadError::Unexpected { offset, expected });
        }
        message.exactly(ARRAY, "the definition of an array")?;
        let nonce_type_name = common(&mut message, nonce_type_id, |name| name == NONCE_TYPE)?;
        let of_uint8 = "an array of 24 uint8";
        for value in [1, UINT << 1, 1, (NONCE_BYTES as u64) << 1] {
            message.exactly(value, of_uint8)?;
        }
        end(&mut message)?;
        Ok(Self {
            type_name,
            type_id,
            nonce_type_name,
            nonce_type_id,
            fields,
        })
    }

    /// Writes both definitions as Go's encoder does.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let mut message = Vec::with_capacity(64);
        put_int(&mut message, -i64::from(self.type_id));
        put_uint(&mut message, STRUCT);
        put_common(&mut message, self.type_name, self.type_id);
        put_uint(&mut message, 1);
        put_uint(&mut message, 3);
        for field in self.fields {
            put_uint(&mut message, 1);
            put_counted(&mut message, field.name().as_bytes());
            put_uint(&mut message, 1);
            put_int(
                &mut message,
                match field {
                    Field::Nonce => self.nonce_type_id.into(),
                    Field::Key | Field::Message => BYTES,
                },
            );
            put_uint(&mut message, 0);
        }
        message.extend_from_slice(&[0, 0]);
        put_counted(out, &message);

        message.clear();
        put_int(&mut message, -i64::from(self.nonce_type_id));
        put_uint(&mut message, ARRAY);
        put_common(&mut message, self.nonce_type_name, self.nonce_type_id);
        for value in [1, UINT << 1, 1, (NONCE_BYTES as u64) << 1, 0, 0] {
            put_uint(&mut message, value);
        }
        put_counted(out, &message);
    }
}

fn definition<'a>(reader: &mut Reader<'a>) -> Result<Reader<'a>, PayloadError> {
    let expected = "a type definition";
    let offset = reader.offset();
    let bytes = reader.uint(expected)?;
    if bytes > DEFINITION_BYTES_MAX {
        return Err(PayloadError::Limit {
            offset,
            what: expected,
            bytes,
            bytes_max: DEFINITION_BYTES_MAX,
        });
    }
    reader.message(bytes, expected)
}

/// The id that a definition defines: written negative, and never one that gob reserves.
fn defined_id(message: &mut Reader<'_>) -> Result<i32, PayloadError> {
    let expected = "the id of a new type, 64 or more, negated";
    let offset = message.offset();
    message
        .int(expected)?
        .checked_neg()
        .and_then(|id| i32::try_from(id).ok())
        .filter(|id| *id >= FIRST_USER_ID)
        .ok_or(PayloadError::Unexpected { offset, expected })
}

/// `CommonType { Name string; Id int }`, where the id repeats the defined one and a name, if there
/// is one, is as `fits` says.
fn common<'a>(
    message: &mut Reader<'a>,
    id: i32,
    fits: fn(&str) -> bool,
) -> Result<&'a str, PayloadError> {
    message.exactly(1, "the name and id of the type")?;
    let offset = message.offset();
    let expected = "the name of the type, or its id";
    let name = match message.uint(expected)? {
        1 => {
            let offset = message.offset();
            let expected = "the name of the type";
            let name = text(message, expected)?;
            if !fits(name) {
                return Err(PayloadError::Unexpected { offset, expected });
            }
            message.exactly(1, "the id of the type")?;
            name
        }
        2 => "",
        _ => return Err(PayloadError::Unexpected { offset, expected }),
    };
    message.exactly((id as u64) << 1, "the id of the type")?;
    message.exactly(0, "the end of the name and id of the type")?;
    Ok(name)
}

fn put_common(message: &mut Vec<u8>, name: &str, id: i32) {
    put_uint(message, 1);
    if name.is_empty() {
        put_uint(message, 2);
    } else {
        put_uint(message, 1);
        put_counted(message, name.as_bytes());
        put_uint(message, 1);
    }
    put_int(message, id.into());
    put_uint(message, 0);
}

/// As Go has it, but for the letters and digits that Go's version of Unicode does not know yet.
fn is_identifier(name: &str) -> bool {
    !name.starts_with(char::is_numeric) && name.chars().all(|c| c == '_' || c.is_alphanumeric())
}

/// The three fields in their order, and the type id of `Nonce`.
fn fields(message: &mut Reader<'_>) -> Result<([Field; 3], i32), PayloadError> {
    message.exactly(1, "the fields of the struct")?;
    let offset = message.offset();
    let count = message.uint("a struct of three fields")?;
    if count != 3 {
        return Err(PayloadError::FieldCount { offset, count });
    }
    let mut order = [None; 3];
    let mut nonce_type_id = 0;
    for place in 0..order.len() {
        message.exactly(1, "the name of a field")?;
        let field = field(message, &order)?;
        message.exactly(1, "the type of a field")?;
        let offset = message.offset();
        let id = message.int("the type of a field")?;
        match (field, i32::try_from(id)) {
            (Field::Key | Field::Message, Ok(5)) => {}
            (Field::Nonce, Ok(id)) if id >= FIRST_USER_ID => nonce_type_id = id,
            _ => {
                let field = field.name();
                return Err(PayloadError::FieldType { offset, field });
            }
        }
        message.exactly(0, "the end of a field")?;
        order[place] = Some(field);
    }
    match order {
        [Some(first), Some(second), Some(third)] => Ok(([first, second, third], nonce_type_id)),
        // Three names, each known and each new, leave no gap.
        _ => Err(PayloadError::FieldCount { offset, count }),
    }
}

fn field(message: &mut Reader<'_>, before: &[Option<Field>]) -> Result<Field, PayloadError> {
    let offset = message.offset();
    let name = text(message, "the name of a field")?;
    [Field::Key, Field::Nonce, Field::Message]
        .into_iter()
        .find(|field| field.name() == name && !before.contains(&Some(*field)))
        .ok_or_else(|| PayloadError::UnknownField {
            offset,
            name: name.to_owned(),
        })
}

fn text<'a>(message: &mut Reader<'a>, expected: &'static str) -> Result<&'a str, PayloadError> {
    let offset = message.offset();
    std::str::from_utf8(message.counted(DEFINITION_BYTES_MAX, expected)?)
        .map_err(|_| PayloadError::Unexpected { offset, expected })
}

/// The struct ends, the wireType around it ends, and with them the message.
fn end(message: &mut Reader<'_>) -> Result<(), PayloadError> {
    let expected = "the end of the type definition";
    message.exactly(0, expected)?;
    message.exactly(0, expected)?;
    let offset = message.offset();
    if message.is_empty() {
        Ok(())
    } else {
        Err(PayloadError::Unexpected { offset, expected })
    }
}

const NONCE_TYPE: &str = "[24]uint8";
/// Places of the fields of gob's `wireType`, counted from one.
const ARRAY: u64 = 1;
const STRUCT: u64 = 3;
/// Type ids that gob gives itself.
const UINT: u64 = 3;
const BYTES: i64 = 5;
/// Ids below belong to gob.
const FIRST_USER_ID: i32 = 64;
