//! Key derivation: HKDF (RFC 5869) and the SP 800-108 counter-mode KDF.

use aws_lc_rs::{hkdf, kdf};

/// The hash under HKDF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HkdfHash {
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-384.
    Sha384,
    /// HMAC-SHA-512.
    Sha512,
}

impl HkdfHash {
    fn algorithm(self) -> hkdf::Algorithm {
        match self {
            Self::Sha256 => hkdf::HKDF_SHA256,
            Self::Sha384 => hkdf::HKDF_SHA384,
            Self::Sha512 => hkdf::HKDF_SHA512,
        }
    }
}

/// More output was asked for than the KDF can give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key derivation cannot give that many bytes")]
pub struct OutputLength;

/// A pseudorandom key: `PRK = HMAC-Hash(salt, input)`, from which several outputs may be expanded.
#[derive(Debug)]
pub struct Prk(hkdf::Prk);

/// `HKDF-Extract(salt, input)`. An empty salt means hash-length zeros, as RFC 5869 has it.
pub fn extract(hash: HkdfHash, salt: &[u8], input: &[u8]) -> Prk {
    Prk(hkdf::Salt::new(hash.algorithm(), salt).extract(input))
}

impl Prk {
    /// `HKDF-Expand(PRK, info, out.len())`.
    ///
    /// # Errors
    /// More than 255 × the hash length.
    pub fn expand(&self, info: &[&[u8]], out: &mut [u8]) -> Result<(), OutputLength> {
        let okm = self
            .0
            .expand(info, Length(out.len()))
            .map_err(|_| OutputLength)?;
        okm.fill(out).map_err(|_| OutputLength)
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// KDF in counter mode with HMAC-SHA-256 (NIST SP 800-108r1, section 4.1):
/// `K(i) = HMAC(key, i u32 | label | 00 | context | out bits u32)`.
///
/// # Errors
/// An empty key or output, or more output than 2³² − 1 bits.
pub fn sp800_108(
    key: &[u8],
    label: &[u8],
    context: &[&[u8]],
    out: &mut [u8],
) -> Result<(), OutputLength> {
    let hash = kdf::KbkdfCtrHmacAlgorithmId::Sha256;
    counter_mode(hash, key, label, context, out)
}

/// The same with HMAC-SHA-384.
///
/// # Errors
/// As [`sp800_108`].
pub fn sp800_108_sha384(
    key: &[u8],
    label: &[u8],
    context: &[&[u8]],
    out: &mut [u8],
) -> Result<(), OutputLength> {
    let hash = kdf::KbkdfCtrHmacAlgorithmId::Sha384;
    counter_mode(hash, key, label, context, out)
}

fn counter_mode(
    hash: kdf::KbkdfCtrHmacAlgorithmId,
    key: &[u8],
    label: &[u8],
    context: &[&[u8]],
    out: &mut [u8],
) -> Result<(), OutputLength> {
    let bits = u32::try_from(out.len())
        .ok()
        .and_then(|n| n.checked_mul(8))
        .ok_or(OutputLength)?;
    let mut fixed =
        Vec::with_capacity(label.len() + 5 + context.iter().map(|c| c.len()).sum::<usize>());
    fixed.extend_from_slice(label);
    fixed.push(0);
    for part in context {
        fixed.extend_from_slice(part);
    }
    fixed.extend_from_slice(&bits.to_be_bytes());
    let algorithm = kdf::get_kbkdf_ctr_hmac_algorithm(hash).ok_or(OutputLength)?;
    kdf::kbkdf_ctr_hmac(algorithm, key, &fixed, out).map_err(|_| OutputLength)
}
