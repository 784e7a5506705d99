//! X.509 certificates (RFC 5280): whether a chain leads to a root that is trusted.

use super::Unauthentic;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use std::time::Duration;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// The most bytes of a file of roots.
pub const ROOTS_BYTES_MAX: usize = 262_144;

/// Why a text holds no roots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RootsError {
    /// No section `CERTIFICATE`, or one that is broken.
    #[error("this is no certificate in PEM form")]
    NotPem,
    /// A section that is no X.509 certificate.
    #[error("the PEM text holds something that is no X.509 certificate")]
    Malformed,
    /// More text than any roots take.
    #[error("a file of root certificates has at most {ROOTS_BYTES_MAX} bytes")]
    TooLong,
}

/// The one certificate in a PEM text, in DER.
///
/// # Errors
/// As the variants of [`RootsError`] say; [`RootsError::Malformed`] also for several.
pub fn only_in_pem(text: &[u8]) -> Result<Vec<u8>, RootsError> {
    if text.len() > ROOTS_BYTES_MAX {
        return Err(RootsError::TooLong);
    }
    let sections = pem::parse_many(text).map_err(|_| RootsError::NotPem)?;
    match sections.as_slice() {
        [one] if one.tag() == "CERTIFICATE" => {
            let certificate = CertificateDer::from(one.contents());
            match anchor_from_trusted_cert(&certificate) {
                Ok(_) => Ok(one.contents().to_vec()),
                Err(_) => Err(RootsError::Malformed),
            }
        }
        [] => Err(RootsError::NotPem),
        _ => Err(RootsError::Malformed),
    }
}

/// Certificates that are trusted as they are.
#[derive(Debug, Clone)]
pub struct TrustRoots(Vec<TrustAnchor<'static>>);

impl TrustRoots {
    /// Reads one or more certificates in PEM.
    ///
    /// # Errors
    /// As the variants of [`RootsError`] say.
    pub fn from_pem(text: &[u8]) -> Result<Self, RootsError> {
        if text.len() > ROOTS_BYTES_MAX {
            return Err(RootsError::TooLong);
        }
        let sections = pem::parse_many(text).map_err(|_| RootsError::NotPem)?;
        let certificates = sections.iter().filter(|one| one.tag() == "CERTIFICATE");
        let anchor = |one: &pem::Pem| {
            let certificate = CertificateDer::from(one.contents());
            let anchor = anchor_from_trusted_cert(&certificate);
            anchor
                .map(|anchor| anchor.to_owned())
                .map_err(|_| RootsError::Malformed)
        };
        let roots: Vec<_> = certificates.map(anchor).collect::<Result<_, _>>()?;
        match roots.is_empty() {
            true => Err(RootsError::NotPem),
            false => Ok(Self(roots)),
        }
    }

    /// Verifies a certificate in DER, by others in `chain` in any order, at `seconds` since 1970, and
    /// gives its public key as SubjectPublicKeyInfo in DER. Names, revocation, and what the key is for
    /// beyond authentication are not looked at.
    ///
    /// # Errors
    /// [`Unauthentic`] for whatever is wrong.
    pub fn verify(
        &self,
        certificate: &[u8],
        chain: &[Vec<u8>],
        seconds: u64,
    ) -> Result<Vec<u8>, Unauthentic> {
        let certificate = CertificateDer::from(certificate);
        let chain: Vec<_> = chain
            .iter()
            .map(|one| CertificateDer::from(one.as_slice()))
            .collect();
        let leaf = EndEntityCert::try_from(&certificate).map_err(|_| Unauthentic)?;
        leaf.verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &self.0,
            &chain,
            UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
            KeyUsage::client_auth(),
            None,
            None,
        )
        .map_err(|_| Unauthentic)?;
        Ok(leaf.subject_public_key_info().as_ref().to_vec())
    }
}
