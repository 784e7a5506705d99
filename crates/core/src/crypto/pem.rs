//! Keys in PEM text (RFC 7468).
//!
//! | label | holds |
//! |---|---|
//! | `PRIVATE KEY` | PKCS#8 `PrivateKeyInfo` (RFC 5958) |
//! | `RSA PRIVATE KEY` | PKCS#1 `RSAPrivateKey` (RFC 8017, appendix A.1.2) |
//! | `EC PRIVATE KEY` | SEC 1 `ECPrivateKey` (RFC 5915) |
//! | `PUBLIC KEY` | X.509 `SubjectPublicKeyInfo` (RFC 5280, section 4.1) |
//! | `RSA PUBLIC KEY` | PKCS#1 `RSAPublicKey` (RFC 8017, appendix A.1.1) |
//!
//! Text around the sections and sections with other labels (`EC PARAMETERS`, certificates) are
//! passed over. A private key under a passphrase is refused by name. The parser leaves one copy
//! of the section's base64 in freed memory; what it returns is zeroed.

use crate::secret::SecretBytes;

/// The most bytes of PEM text that are read: an RSA key of 8,192 bits takes 6.4 KiB.
pub const PEM_BYTES_MAX: usize = 65_536;

/// Why a key was not taken. No variant holds a byte of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A section is broken, or there is none.
    #[error("this is no key in PEM form")]
    NotPem,
    /// More text than any key takes.
    #[error("a key in PEM form has at most {PEM_BYTES_MAX} bytes")]
    TooLong,
    /// The private key is wrapped by a passphrase.
    #[error("the private key is encrypted with a passphrase")]
    Encrypted,
    /// What was asked for is not in the text.
    #[error("the PEM text has no {0}")]
    Missing(&'static str),
    /// Which of several is meant cannot be told.
    #[error("the PEM text has more than one {0}")]
    Several(&'static str),
    /// The library refused the key.
    #[error("the {kind} was refused: {reason}")]
    Refused {
        /// What it was taken for.
        kind: &'static str,
        /// The library's word, such as `TooSmall`.
        reason: String,
    },
    /// A public and a private key do not belong together.
    #[error("the public key is not that of the private key")]
    NotAPair,
}

/// What a section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    Pkcs8,
    Pkcs1Private,
    Sec1Private,
    Spki,
    Pkcs1Public,
}

impl Label {
    pub(crate) fn is_private(self) -> bool {
        matches!(self, Self::Pkcs8 | Self::Pkcs1Private | Self::Sec1Private)
    }
}

/// One key in DER.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) label: Label,
    pub(crate) der: SecretBytes,
}

/// The keys in `text`: at most one private and one public one.
///
/// # Errors
/// As the variants of [`KeyError`] say.
pub(crate) fn keys(text: &[u8]) -> Result<(Option<Section>, Option<Section>), KeyError> {
    let (mut private, mut public) = (None, None);
    for section in sections(text)? {
        let (place, name) = match section.label.is_private() {
            true => (&mut private, "private key"),
            false => (&mut public, "public key"),
        };
        if place.replace(section).is_some() {
            return Err(KeyError::Several(name));
        }
    }
    match (&private, &public) {
        (None, None) => Err(KeyError::NotPem),
        _ => Ok((private, public)),
    }
}

/// The public keys in `text`, in their order; one at least. Private ones are passed over.
///
/// # Errors
/// [`KeyError`].
pub(crate) fn public_keys(text: &[u8]) -> Result<Vec<Section>, KeyError> {
    let mut found = sections(text)?;
    found.retain(|section| !section.label.is_private());
    match found.is_empty() {
        true => Err(KeyError::Missing("public key")),
        false => Ok(found),
    }
}

fn sections(text: &[u8]) -> Result<Vec<Section>, KeyError> {
    if text.len() > PEM_BYTES_MAX {
        return Err(KeyError::TooLong);
    }
    let mut sections = Vec::new();
    for parsed in pem::parse_many(text).map_err(|_| KeyError::NotPem)? {
        let encrypted = parsed.headers().iter().any(|(name, _)| name == "DEK-Info");
        let label = match parsed.tag() {
            "ENCRYPTED PRIVATE KEY" => return Err(KeyError::Encrypted),
            "PRIVATE KEY" => Some(Label::Pkcs8),
            "RSA PRIVATE KEY" => Some(Label::Pkcs1Private),
            "EC PRIVATE KEY" => Some(Label::Sec1Private),
            "PUBLIC KEY" => Some(Label::Spki),
            "RSA PUBLIC KEY" => Some(Label::Pkcs1Public),
            _ => None,
        };
        let der = SecretBytes::new(parsed.into_contents());
        match label {
            Some(label) if label.is_private() && encrypted => return Err(KeyError::Encrypted),
            Some(label) => sections.push(Section { label, der }),
            None => {}
        }
    }
    Ok(sections)
}

/// A SubjectPublicKeyInfo as a section `PUBLIC KEY` (RFC 7468).
pub fn spki_pem(der: &[u8]) -> String {
    pem::encode_config(
        &pem::Pem::new("PUBLIC KEY", der),
        pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
    )
}
