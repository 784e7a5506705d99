//! What a request says of its signer, and the comparison.

use super::canonical::{self, Ascii, Paths, hex};
use super::{SignedRequest, SigningKey, WINDOW_SECONDS, does_not_match, split, split_where, time};
use crate::error::{ErrorCode, KmsError};
use memchr::memchr2;
use waxseal_core::crypto::hash::sha256;
use waxseal_core::secret::ct_eq;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The longest `Authorization` header that is looked at.
const AUTHORIZATION_BYTES_MAX: usize = 8 * 1024;
const SIGNED_HEADERS_MAX: usize = 100;

/// What a signing key is good for, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope<'a> {
    /// All of it, as it stands in the header.
    pub(super) text: &'a str,
    /// `AKIA…` of a user, `ASIA…` of a session.
    pub access_key_id: &'a str,
    /// `YYYYMMDD`.
    pub date: &'a str,
    /// The Region that the request is for.
    pub region: &'a str,
    /// `kms`, for instance.
    pub service: &'a str,
}

impl<'a> Scope<'a> {
    /// `AKID/YYYYMMDD/REGION/SERVICE/aws4_request`.
    pub(super) fn parse(credential: &'a str) -> Result<Self, KmsError> {
        let mut parts = split(credential, b'/');
        let mut part = || parts.next();
        let (Some(access_key_id), Some(date), Some(region), Some(service), Some(end), None) =
            (part(), part(), part(), part(), part(), part())
        else {
            return Err(incomplete(
                "Credential must have exactly 5 slash-delimited elements, e.g. \
                 keyid/date/region/service/term.",
            ));
        };
        if end != "aws4_request" {
            return Err(invalid(
                "Credential should be scoped with a valid terminator: 'aws4_request'. ".to_owned(),
            ));
        }
        let named = |text: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            (1..=128).contains(&text.len()) && text.bytes().all(plain)
        };
        if ![access_key_id, date, region, service]
            .into_iter()
            .all(named)
        {
            return Err(incomplete("Credential has an element that is malformed."));
        }
        Ok(Self {
            text: credential,
            access_key_id,
            date,
            region,
            service,
        })
    }
}

/// What a request claims. Nothing of it is proved.
#[derive(Debug, Clone)]
pub struct Claim<'a> {
    scope: Scope<'a>,
    /// The names of the headers that are signed: see [`check_names`].
    names: &'a str,
    signature: &'a str,
    seconds: i64,
    /// The same as ISO 8601 has it, however the request does.
    printed: Ascii<16>,
    session_token: Option<&'a str>,
}

/// A request whose signature is right. Made by [`Claim::verify`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<'a> {
    /// Whose secret signed it, and for what.
    pub scope: Scope<'a>,
    /// When it was signed, in seconds since 1970.
    pub seconds: i64,
}

impl<'a> Claim<'a> {
    /// Reads the headers that speak of the signer.
    ///
    /// # Errors
    /// `MissingAuthenticationTokenException` when there is no signature,
    /// `IncompleteSignatureException` when a part of it is missing, malformed or repeated,
    /// `InvalidSignatureException` when it leaves out a header that it must cover.
    pub fn parse(request: SignedRequest<'a>) -> Result<Self, KmsError> {
        let Some(header) = request.value("authorization")? else {
            return Err(missing());
        };
        if header.len() > AUTHORIZATION_BYTES_MAX {
            return Err(incomplete("The Authorization header is too long."));
        }
        let Some(rest) = header.strip_prefix(ALGORITHM) else {
            return Err(incomplete(&format!(
                "Unsupported algorithm in the Authorization header: {ALGORITHM} is required."
            )));
        };
        let parts = Parts::parse(rest)?;
        let seconds = request_time(request)?;
        let session_token = request.value("x-amz-security-token")?;
        let scope = Scope::parse(parts.credential)?;
        check_names(request, parts.signed_headers)?;
        Ok(Self {
            scope,
            names: parts.signed_headers,
            signature: parts.signature,
            seconds,
            printed: time::print(seconds),
            session_token,
        })
    }

    /// Whose secret, day, Region and service are claimed.
    pub fn scope(&self) -> &Scope<'a> {
        &self.scope
    }

    /// `X-Amz-Security-Token`, of sessions.
    pub fn session_token(&self) -> Option<&'a str> {
        self.session_token
    }

    /// Checks what needs no secret: that the scope is for one of `services` and for the day of the
    /// request, and that the request is at most 5 minutes from `now` (seconds since 1970).
    ///
    /// # Errors
    /// `InvalidSignatureException`, with AWS's sentences.
    pub fn check(&self, services: &[&str], now: i64) -> Result<(), KmsError> {
        let Scope { date, service, .. } = self.scope;
        let printed = self.printed;
        if !services.contains(&service) {
            let named = services.first().copied().unwrap_or_default();
            return Err(invalid(format!(
                "Credential should be scoped to correct service: '{named}'. "
            )));
        }
        if !printed.as_str().starts_with(date) {
            let day = printed.as_str().get(..8).unwrap_or_default();
            return Err(invalid(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date \
                 from HTTP: '{date}' != '{day}', from '{printed}'."
            )));
        }
        if self.seconds < now - WINDOW_SECONDS {
            let (ours, edge) = (time::print(now), time::print(now - WINDOW_SECONDS));
            return Err(invalid(format!(
                "Signature expired: {printed} is now earlier than {edge} ({ours} - 5 min.)"
            )));
        }
        if self.seconds > now + WINDOW_SECONDS {
            let (ours, edge) = (time::print(now), time::print(now + WINDOW_SECONDS));
            return Err(invalid(format!(
                "Signature not yet current: {printed} is still later than {edge} ({ours} + 5 min.)"
            )));
        }
        Ok(())
    }

    /// Compares the signature with the one that `key` makes, in constant time.
    ///
    /// # Errors
    /// `InvalidSignatureException`.
    pub fn verify(
        self,
        request: SignedRequest<'_>,
        key: &SigningKey,
        paths: Paths,
    ) -> Result<Verified<'a>, KmsError> {
        let expected = key.sign(self.string_to_sign(request, paths).as_bytes());
        if !ct_eq(&hex(&expected).0, self.signature.as_bytes()) {
            return Err(does_not_match());
        }
        Ok(Verified {
            scope: self.scope,
            seconds: self.seconds,
        })
    }

    fn string_to_sign(&self, request: SignedRequest<'_>, paths: Paths) -> String {
        let mut text = canonical::request(request, self.names, paths);
        let digest = hex(&sha256(&[text.as_bytes()]));
        let Scope {
            date,
            region,
            service,
            ..
        } = self.scope;
        // In the same memory.
        text.clear();
        for part in [
            ALGORITHM,
            "\n",
            self.printed.as_str(),
            "\n",
            date,
            "/",
            region,
            "/",
            service,
            "/aws4_request\n",
            digest.as_str(),
        ] {
            text.push_str(part);
        }
        text
    }
}

/// The three parts of the header.
struct Parts<'a> {
    credential: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn parse(text: &'a str) -> Result<Self, KmsError> {
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        let parts = split_where(text, |bytes| memchr2(b',', b' ', bytes));
        for part in parts.filter(|part| !part.is_empty()) {
            let Some((name, value)) = part.split_once('=') else {
                return Err(incomplete(
                    "A part of the Authorization header is not a valid key=value pair (missing \
                     equal-sign).",
                ));
            };
            let place = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(incomplete(&format!(
                    "Authorization header has '{name}' more than once."
                )));
            }
        }
        let required = |part: Option<&'a str>, name: &str| {
            part.filter(|part| !part.is_empty()).ok_or_else(|| {
                incomplete(&format!(
                    "Authorization header requires '{name}' parameter."
                ))
            })
        };
        Ok(Self {
            credential: required(credential, "Credential")?,
            signed_headers: required(signed_headers, "SignedHeaders")?,
            signature: required(signature, "Signature")?,
        })
    }
}

/// `X-Amz-Date`, else `Date`.
fn request_time(request: SignedRequest<'_>) -> Result<i64, KmsError> {
    let text = match request.value("x-amz-date")? {
        Some(text) => Some(text),
        None => request.value("date")?,
    };
    let Some(text) = text else {
        return Err(incomplete(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
        ));
    };
    time::parse(text).ok_or_else(|| {
        incomplete(
            "Date must be in ISO-8601 'basic format'. See \
             http://en.wikipedia.org/wiki/ISO_8601",
        )
    })
}

/// Whether the signed names, with `;` between them, are in their one order and cover what matters.
fn check_names(request: SignedRequest<'_>, list: &str) -> Result<(), KmsError> {
    let is_upper = |byte: u8| byte.is_ascii_uppercase();
    // All of it is looked at, which is several bytes at once.
    let has_upper = list.bytes().fold(false, |any, byte| any | is_upper(byte));
    let (mut before, mut count) = ("", 0);
    let (mut absent, mut is_host_signed) = (None, false);
    for name in split(list, b';') {
        count += 1;
        // None is before the empty name, so that it is not among them.
        if has_upper || count > SIGNED_HEADERS_MAX || name <= before {
            return Err(invalid(
                "'SignedHeaders' must be lower-case names in their order, each once.".to_owned(),
            ));
        }
        if absent.is_none() && request.values(name).next().is_none() {
            absent = Some(name);
        }
        is_host_signed |= name == "host";
        before = name;
    }
    if let Some(absent) = absent {
        return Err(invalid(format!(
            "The signed header '{absent}' is not in the request."
        )));
    }
    if !is_host_signed {
        return Err(unsigned("host"));
    }
    let must = |name: &str| {
        let begins = name.get(..6).unwrap_or_default();
        let matters = begins.eq_ignore_ascii_case("x-amz-") || name.eq_ignore_ascii_case("host");
        let is_signed = || split(list, b';').any(|signed| name.eq_ignore_ascii_case(signed));
        (matters && !is_signed()).then(|| name.to_ascii_lowercase())
    };
    if let Some(name) = request.headers.iter().find_map(|(name, _)| must(name)) {
        return Err(unsigned(&name));
    }
    for once in ["host", "x-amz-target", "x-amz-content-sha256"] {
        request.value(once)?;
    }
    Ok(())
}

fn unsigned(name: &str) -> KmsError {
    invalid(match name {
        "host" => {
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".to_owned()
        }
        other => format!("'{other}' must be a 'SignedHeader' in the AWS Authorization."),
    })
}

fn missing() -> KmsError {
    KmsError::new(
        ErrorCode::MissingAuthenticationToken,
        "Missing Authentication Token",
    )
}

fn incomplete(what: &str) -> KmsError {
    KmsError::new(ErrorCode::IncompleteSignature, what)
}

fn invalid(what: String) -> KmsError {
    KmsError::new(ErrorCode::InvalidSignature, what)
}
