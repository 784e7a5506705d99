//! The header (AWS Encryption SDK specification, `data-format/message-header.md`).
//!
//! ```text
//! version 2
//! body  02 | suite u16 | message id 32 | context | encrypted data keys
//!       | content 01 unframed, 02 framed | frame length u32 | commitment 32
//! auth  tag 16
//!
//! version 1
//! body  01 | type 80 | suite u16 | message id 16 | context | encrypted data keys
//!       | content 01 unframed, 02 framed | reserved 00000000 | IV length 0c | frame length u32
//! auth  IV 12 | tag 16
//!
//! context              length u16 | serialized context
//! encrypted data keys  count u16 | { length u16 | provider id | length u16 | provider info
//!                                  | length u16 | ciphertext }*
//! ```
//!
//! The tag is AES-GCM over nothing under the message key. Its IV is 0 in version 2 and the stored
//! one in version 1, where we write 0, too. Its associated data is the body, and behind it the
//! serialized pairs of the encryption context that are authenticated and not stored.
//!
//! The tag covers the bytes as they were read, so those are kept. A context whose pairs are not
//! in canonical order is accepted: published messages have it.

use super::Limits;
use super::error::{OpenError, SealError};
use super::suite::Suite;
use std::num::NonZeroU32;
use waxseal_core::context::EncryptionContext;
use waxseal_core::crypto::Unauthentic;
use waxseal_core::crypto::aead::{AesGcm, NONCE_BYTES, TAG_BYTES};
use waxseal_core::keyring::EncryptedDataKey;

/// The context entry that carries the public key of a signed message, in base64.
pub(crate) const PUBLIC_KEY_NAME: &str = "aws-crypto-public-key";
/// Names with this prefix belong to the format.
pub(crate) const RESERVED_PREFIX: &str = "aws-crypto-";

const UNFRAMED: u8 = 1;
const FRAMED: u8 = 2;
/// Three empty fields.
const ENCRYPTED_DATA_KEY_BYTES_MIN: usize = 3 * 2;
/// Content type, frame length, tag: what follows the encrypted data keys, at least.
const REST_BYTES_MIN: usize = 1 + 4 + TAG_BYTES;
/// The message type of version 1: customer authenticated encrypted data.
const TYPE_V1: u8 = 0x80;
/// What stands between content type and frame length in version 1: reserved, and the IV's length.
const RESERVED_V1: [u8; 5] = [0, 0, 0, 0, NONCE_BYTES as u8];

/// What the header of a message says. It is authentic when it comes from an
/// [`Opener`](super::Opener) or a [`Sealer`](super::Sealer), and a mere claim when it comes from
/// an [`Incoming`](super::Incoming).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    fields: Fields,
    /// Body and tag, as read or as written.
    bytes: Vec<u8>,
}

/// What stands in the body of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) suite: Suite,
    pub(crate) message_id: Vec<u8>,
    /// The pairs that stand in the header, and those that the reader added.
    pub(crate) context: EncryptionContext,
    /// The pairs that stand in the header, in the order they have there.
    pub(crate) stored_context: Vec<u8>,
    pub(crate) encrypted_data_keys: Vec<EncryptedDataKey>,
    /// `None`: the body has no frames.
    pub(crate) frame_bytes: Option<NonZeroU32>,
    pub(crate) commitment: Vec<u8>,
}

impl Header {
    /// The header's version: 1 or 2.
    pub fn version(&self) -> u8 {
        self.fields.suite.version()
    }

    /// The algorithm suite.
    pub fn suite(&self) -> Suite {
        self.fields.suite
    }

    /// The message id, random and unique.
    pub fn message_id(&self) -> &[u8] {
        &self.fields.message_id
    }

    /// The encryption context, the public key of a signed message included. Once the header is
    /// authentic that includes the pairs that are not stored and that the reader had to know.
    pub fn context(&self) -> &EncryptionContext {
        &self.fields.context
    }

    /// The data key in its wrappings; any one of them opens the message.
    pub fn encrypted_data_keys(&self) -> &[EncryptedDataKey] {
        &self.fields.encrypted_data_keys
    }

    /// Plaintext bytes in each frame but the last; `None` when the body has no frames.
    pub fn frame_bytes(&self) -> Option<NonZeroU32> {
        self.fields.frame_bytes
    }

    /// The key commitment; empty in version 1.
    pub fn commitment(&self) -> &[u8] {
        &self.fields.commitment
    }

    /// The header as it stands in the message: body and tag.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Length of the header in bytes, its tag included: where the body begins.
    pub fn header_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// A header of our own: printed, and authenticated under the message key. `unstored` are the
    /// serialized pairs of the context that are not in it.
    ///
    /// # Errors
    /// More or longer encrypted data keys than the layout can say.
    pub(crate) fn seal(fields: Fields, unstored: &[u8], key: &AesGcm) -> Result<Self, SealError> {
        let mut bytes = fields.print()?;
        let body_bytes = bytes.len();
        bytes.extend_from_slice(unstored);
        let tag = key
            .seal(HEADER_NONCE, &bytes, &mut [])
            .map_err(|_| SealError::Crypto)?;
        bytes.truncate(body_bytes);
        if fields.suite.version() == 1 {
            bytes.extend_from_slice(&HEADER_NONCE);
        }
        bytes.extend_from_slice(&tag);
        Ok(Self { fields, bytes })
    }

    /// Verifies the tag. `unstored` is what stands behind the body in the associated data.
    ///
    /// # Errors
    /// The header is not what the holder of the message key wrote.
    pub(crate) fn authenticate(&self, key: &AesGcm, unstored: &[u8]) -> Result<(), Unauthentic> {
        let (rest, tag) = self.bytes.split_at(self.bytes.len() - TAG_BYTES);
        let (body, nonce) = match self.version() {
            1 => rest.split_last_chunk().ok_or(Unauthentic)?,
            _ => (rest, &HEADER_NONCE),
        };
        let mut tag = tag.to_vec();
        match unstored {
            [] => key.open(*nonce, body, &mut tag)?,
            _ => key.open(*nonce, &[body, unstored].concat(), &mut tag)?,
        };
        Ok(())
    }

    /// Takes in pairs that are authenticated and not stored.
    pub(crate) fn complete(&mut self, context: EncryptionContext) {
        self.fields.context = context;
    }
}

/// The one use of this nonce under a message key: frames begin at 1. (This is why a header must
/// never be written twice for one message.)
const HEADER_NONCE: [u8; NONCE_BYTES] = [0; NONCE_BYTES];

/// What [`parse`] makes of the beginning of a message.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// At least this many bytes are needed, counted from the beginning.
    NeedMore(usize),
    /// The header; [`Header::header_bytes`] says where it ends.
    Header(Box<Header>),
}

/// Reads the header at the beginning of `bytes`.
///
/// # Errors
/// Whatever is no header, and whatever passes `limits`.
pub(crate) fn parse(bytes: &[u8], limits: &Limits) -> Result<Parsed, OpenError> {
    let mut cursor = Cursor {
        bytes,
        at: 0,
        bytes_max: limits.header_bytes_max,
    };
    match parse_fields(&mut cursor, limits) {
        Ok(fields) => Ok(Parsed::Header(Box::new(Header {
            fields,
            bytes: bytes[..cursor.at].to_vec(),
        }))),
        Err(Stop::NeedMore(bytes)) => Ok(Parsed::NeedMore(bytes)),
        Err(Stop::Refused(error)) => Err(error),
    }
}

fn parse_fields(cursor: &mut Cursor<'_>, limits: &Limits) -> Result<Fields, Stop> {
    let [version] = cursor.array()?;
    match version {
        1 => match cursor.array()? {
            [TYPE_V1] => {}
            _ => return Err(malformed("the message type is not 0x80")),
        },
        2 => {}
        other => return Err(OpenError::UnsupportedVersion(other).into()),
    }
    let id = u16::from_be_bytes(cursor.array()?);
    let suite =
        Suite::from_id(id, version).ok_or(OpenError::UnsupportedSuite { suite: id, version })?;
    let message_id = cursor.take(suite.message_id_bytes())?.to_vec();
    let stored_context = cursor.field()?.to_vec();
    let context = EncryptionContext::parse(&stored_context).map_err(OpenError::MalformedContext)?;
    let encrypted_data_keys = parse_encrypted_data_keys(cursor, limits)?;
    let frame_bytes = parse_content(cursor, version)?;
    let commitment = cursor.take(suite.commitment_bytes())?.to_vec();
    if version == 1 {
        cursor.take(NONCE_BYTES)?;
    }
    cursor.take(TAG_BYTES)?;
    Ok(Fields {
        suite,
        message_id,
        context,
        stored_context,
        encrypted_data_keys,
        frame_bytes,
        commitment,
    })
}

fn parse_encrypted_data_keys(
    cursor: &mut Cursor<'_>,
    limits: &Limits,
) -> Result<Vec<EncryptedDataKey>, Stop> {
    let count = usize::from(u16::from_be_bytes(cursor.array()?));
    if count == 0 {
        return Err(malformed("there is no encrypted data key"));
    }
    if count > limits.encrypted_data_keys_max {
        return Err(limit(
            "a number of encrypted data keys",
            count,
            limits.encrypted_data_keys_max,
        ));
    }
    cursor.expect(count * ENCRYPTED_DATA_KEY_BYTES_MIN + REST_BYTES_MIN)?;
    let mut keys = Vec::with_capacity(count);
    for _ in 0..count {
        let provider_id = std::str::from_utf8(cursor.field()?)
            .map_err(|_| malformed("a provider id is not UTF-8"))?;
        keys.push(EncryptedDataKey {
            provider_id: provider_id.to_owned(),
            provider_info: cursor.field()?.to_vec(),
            ciphertext: cursor.field()?.to_vec(),
        });
    }
    Ok(keys)
}

fn parse_content(cursor: &mut Cursor<'_>, version: u8) -> Result<Option<NonZeroU32>, Stop> {
    let [content] = cursor.array()?;
    if version == 1 && cursor.array()? != RESERVED_V1 {
        return Err(malformed(
            "the reserved bytes are not zero, or the IV length is not 12",
        ));
    }
    let frame_bytes = NonZeroU32::new(u32::from_be_bytes(cursor.array()?));
    match (content, frame_bytes) {
        (FRAMED, Some(_)) | (UNFRAMED, None) => Ok(frame_bytes),
        (FRAMED, None) => Err(malformed("a framed body has frames of no length")),
        (UNFRAMED, Some(_)) => Err(malformed("an unframed body has a frame length")),
        _ => Err(malformed("the content type is neither 1 nor 2")),
    }
}

impl Fields {
    /// The body of the header. What was parsed is printed back byte for byte.
    ///
    /// # Errors
    /// More or longer encrypted data keys than the layout can say.
    fn print(&self) -> Result<Vec<u8>, SealError> {
        let count = self.encrypted_data_keys.len();
        let stated = u16::try_from(count).ok().filter(|count| *count > 0);
        let stated = stated.ok_or(SealError::EncryptedDataKeys { count })?;
        let version = self.suite.version();
        let mut out = vec![version];
        if version == 1 {
            out.push(TYPE_V1);
        }
        out.extend_from_slice(&self.suite.id().to_be_bytes());
        out.extend_from_slice(&self.message_id);
        print_field(&mut out, &self.stored_context)?;
        out.extend_from_slice(&stated.to_be_bytes());
        for key in &self.encrypted_data_keys {
            print_field(&mut out, key.provider_id.as_bytes())?;
            print_field(&mut out, &key.provider_info)?;
            print_field(&mut out, &key.ciphertext)?;
        }
        out.push(if self.frame_bytes.is_some() {
            FRAMED
        } else {
            UNFRAMED
        });
        if version == 1 {
            out.extend_from_slice(&RESERVED_V1);
        }
        let frame_bytes = self.frame_bytes.map_or(0, NonZeroU32::get);
        out.extend_from_slice(&frame_bytes.to_be_bytes());
        out.extend_from_slice(&self.commitment);
        Ok(out)
    }
}

fn print_field(out: &mut Vec<u8>, field: &[u8]) -> Result<(), SealError> {
    let bytes = field.len();
    let stated = u16::try_from(bytes).map_err(|_| SealError::EncryptedDataKeyField { bytes })?;
    out.extend_from_slice(&stated.to_be_bytes());
    out.extend_from_slice(field);
    Ok(())
}

/// Why parsing stopped.
enum Stop {
    NeedMore(usize),
    Refused(OpenError),
}

impl From<OpenError> for Stop {
    fn from(error: OpenError) -> Self {
        Self::Refused(error)
    }
}

fn malformed(rule: &'static str) -> Stop {
    OpenError::Malformed { rule }.into()
}

fn limit(what: &'static str, value: usize, max: usize) -> Stop {
    Stop::Refused(OpenError::Limit {
        what,
        value: value as u64,
        max: max as u64,
    })
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    bytes_max: usize,
}

impl<'a> Cursor<'a> {
    /// Makes sure that `count` more bytes are allowed and there.
    fn expect(&self, count: usize) -> Result<(), Stop> {
        let end = self.at.saturating_add(count);
        if end > self.bytes_max {
            return Err(limit("a header length in bytes", end, self.bytes_max));
        }
        if end > self.bytes.len() {
            return Err(Stop::NeedMore(end));
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        self.expect(count)?;
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// A field behind its length.
    fn field(&mut self) -> Result<&'a [u8], Stop> {
        let count = u16::from_be_bytes(self.array()?);
        self.take(usize::from(count))
    }
}

#[cfg(test)]
mod tests;
