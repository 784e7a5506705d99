//! AWS Signature Version 4 in the `Authorization` header: who signed a request, and whether the
//! signature is right. (IAM User Guide, *Create a signed AWS API request*.)
//!
//! ```text
//! canonical request  method | path | query | headers | signed header names | SHA-256 of the body
//! string to sign     AWS4-HMAC-SHA256 | time | scope | SHA-256 of the canonical request
//! scope              YYYYMMDD/REGION/SERVICE/aws4_request
//! signing key        HMAC(HMAC(HMAC(HMAC("AWS4" secret, date), region), service), "aws4_request")
//! signature          HMAC(signing key, string to sign), 64 hexadecimal digits
//! ```
//!
//! Everything here is a function of bytes, a secret and the time. [`Claim::parse`] reads what a
//! request claims, which is not trusted; [`Claim::verify`] compares the signature, in constant
//! time, and gives [`Verified`].
//!
//! What a valid signature must cover: `host`, and every `x-amz-…` header that is there. A header
//! that the signature speaks of must not be there twice with different meanings: those that decide
//! who calls, when and what for are refused when they are repeated.

mod canonical;
mod claim;
mod keys;
mod time;

pub use canonical::Paths;
pub use claim::{Claim, Scope, Verified};
pub use keys::{SigningKey, SigningKeys};

use crate::error::{ErrorCode, KmsError};
use memchr::memchr;

/// How far the time of a request may be from ours, in seconds: 5 minutes each way.
pub const WINDOW_SECONDS: i64 = 300;

/// A request as it came, before anything in it is believed.
#[derive(Debug, Clone, Copy)]
pub struct SignedRequest<'a> {
    /// `POST`, for instance.
    pub method: &'a str,
    /// The path as it stands in the request line, percent-encoding included.
    pub path: &'a str,
    /// What follows the question mark, or nothing.
    pub query: &'a str,
    /// Names in any case, values as they came. HTTP/2's `:authority` is given as `host`.
    pub headers: &'a [(&'a str, &'a str)],
    /// The whole body.
    pub body: &'a [u8],
}

impl<'a> SignedRequest<'a> {
    /// The values of a header, in their order.
    fn values(self, name: &str) -> impl Iterator<Item = &'a str> {
        let headers = self.headers.iter();
        let named = headers.filter(move |(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.trim())
    }

    /// The value of a header that may be there once.
    pub fn value(self, name: &str) -> Result<Option<&'a str>, KmsError> {
        let mut values = self.values(name);
        let first = values.next();
        match values.next() {
            None => Ok(first),
            Some(_) => Err(KmsError::new(
                ErrorCode::IncompleteSignature,
                format!("The header '{name}' is in the request more than once."),
            )),
        }
    }
}

/// The parts of a text between bytes of ASCII, which are in no longer character.
fn split(text: &str, between: u8) -> impl Iterator<Item = &str> {
    split_where(text, move |bytes| memchr(between, bytes))
}

/// The same between bytes that `find` finds the next of.
fn split_where(text: &str, find: impl Fn(&[u8]) -> Option<usize>) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(at) = find(text.as_bytes()) else {
            return rest.take();
        };
        rest = text.get(at + 1..);
        text.get(..at)
    })
}

/// The answer to a wrong signature: the same whatever was wrong.
fn does_not_match() -> KmsError {
    KmsError::new(
        ErrorCode::InvalidSignature,
        "The request signature we calculated does not match the signature you provided. Check \
         your AWS Secret Access Key and signing method. Consult the service documentation for \
         details.",
    )
}

/// The answer to an access key id that is not known, or not any more.
pub fn unknown_access_key() -> KmsError {
    KmsError::new(
        ErrorCode::UnrecognizedClient,
        "The security token included in the request is invalid.",
    )
}
