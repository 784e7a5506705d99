//! AES-GCM with 96-bit nonces and 128-bit tags (NIST SP 800-38D).
//!
//! Two backends answer, the faster one for the CPU at hand. With AVX-512 that is aws-lc-rs (1.75
//! times ring at 64 KiB); without it ring, whose AVX2 path is 1.8 times aws-lc-rs. 192 bits are
//! aws-lc-rs's alone. `cargo bench -p waxseal-conformance --bench primitives` compares them.

use super::Unauthentic;
use zeroize::Zeroize;

/// Length of a nonce in bytes.
pub const NONCE_BYTES: usize = 12;
/// Length of a tag in bytes.
pub const TAG_BYTES: usize = 16;

/// An expanded AES-GCM key.
///
/// The nonce is the caller's: each type that holds such a key states why no nonce repeats.
pub struct AesGcm {
    backend: Backend,
}

#[expect(
    clippy::large_enum_variant,
    reason = "a key is made once a message, and never moved in bulk"
)]
enum Backend {
    Ring(ring::aead::LessSafeKey),
    AwsLc(aws_lc_rs::aead::LessSafeKey),
}

/// A key of a length that AES does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an AES key has 16, 24 or 32 bytes, not {0}")]
pub struct KeyLength(pub usize);

impl AesGcm {
    /// Expands a key of 16, 24 or 32 bytes.
    ///
    /// # Errors
    /// Any other length.
    pub fn new(key: &[u8]) -> Result<Self, KeyLength> {
        if key.len() == 24 || aws_lc_is_faster() {
            return Self::new_aws_lc(key);
        }
        Self::new_ring(key)
    }

    /// The same through ring, for measuring and testing.
    ///
    /// # Errors
    /// Any other length than 16 or 32 bytes.
    pub fn new_ring(key: &[u8]) -> Result<Self, KeyLength> {
        let algorithm = match key.len() {
            16 => &ring::aead::AES_128_GCM,
            32 => &ring::aead::AES_256_GCM,
            other => return Err(KeyLength(other)),
        };
        let backend = Backend::ring(algorithm, key).ok_or(KeyLength(key.len()))?;
        Ok(Self { backend })
    }

    /// The same through aws-lc-rs, for measuring and testing.
    ///
    /// # Errors
    /// Any other length than 16, 24 or 32 bytes.
    pub fn new_aws_lc(key: &[u8]) -> Result<Self, KeyLength> {
        let algorithm = match key.len() {
            16 => &aws_lc_rs::aead::AES_128_GCM,
            24 => &aws_lc_rs::aead::AES_192_GCM,
            32 => &aws_lc_rs::aead::AES_256_GCM,
            other => return Err(KeyLength(other)),
        };
        let backend = Backend::aws_lc(algorithm, key).ok_or(KeyLength(key.len()))?;
        Ok(Self { backend })
    }

    /// Encrypts `text` in place and returns the tag.
    ///
    /// # Errors
    /// [`Unauthentic`] when `text` is longer than AES-GCM allows (2³⁶ − 32 bytes).
    pub fn seal(
        &self,
        nonce: [u8; NONCE_BYTES],
        aad: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], Unauthentic> {
        let mut out = [0; TAG_BYTES];
        match &self.backend {
            Backend::Ring(key) => {
                let nonce = ring::aead::Nonce::assume_unique_for_key(nonce);
                let tag = key
                    .seal_in_place_separate_tag(nonce, ring::aead::Aad::from(aad), text)
                    .map_err(|_| Unauthentic)?;
                out.copy_from_slice(tag.as_ref());
            }
            Backend::AwsLc(key) => {
                let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(nonce);
                let tag = key
                    .seal_in_place_separate_tag(nonce, aws_lc_rs::aead::Aad::from(aad), text)
                    .map_err(|_| Unauthentic)?;
                out.copy_from_slice(tag.as_ref());
            }
        }
        Ok(out)
    }

    /// Decrypts in place. `sealed` is ciphertext and tag; on success its front holds the
    /// plaintext, whose length is returned.
    ///
    /// # Errors
    /// [`Unauthentic`] when the tag does not verify; `sealed` is then all zero.
    pub fn open(
        &self,
        nonce: [u8; NONCE_BYTES],
        aad: &[u8],
        sealed: &mut [u8],
    ) -> Result<usize, Unauthentic> {
        let opened = match &self.backend {
            Backend::Ring(key) => {
                let nonce = ring::aead::Nonce::assume_unique_for_key(nonce);
                key.open_in_place(nonce, ring::aead::Aad::from(aad), sealed)
                    .map(|text| text.len())
                    .map_err(|_| Unauthentic)
            }
            Backend::AwsLc(key) => {
                let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(nonce);
                key.open_in_place(nonce, aws_lc_rs::aead::Aad::from(aad), sealed)
                    .map(|text| text.len())
                    .map_err(|_| Unauthentic)
            }
        };
        if opened.is_err() {
            sealed.zeroize();
        }
        opened
    }
}

/// Whether the CPU has what AWS-LC's wide path for AES-GCM needs.
fn aws_lc_is_faster() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx512dq")
            && std::arch::is_x86_feature_detected!("avx512vl")
            && std::arch::is_x86_feature_detected!("vaes")
            && std::arch::is_x86_feature_detected!("vpclmulqdq")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

impl Backend {
    fn ring(algorithm: &'static ring::aead::Algorithm, key: &[u8]) -> Option<Self> {
        let key = ring::aead::UnboundKey::new(algorithm, key).ok()?;
        Some(Self::Ring(ring::aead::LessSafeKey::new(key)))
    }

    fn aws_lc(algorithm: &'static aws_lc_rs::aead::Algorithm, key: &[u8]) -> Option<Self> {
        let key = aws_lc_rs::aead::UnboundKey::new(algorithm, key).ok()?;
        Some(Self::AwsLc(aws_lc_rs::aead::LessSafeKey::new(key)))
    }
}

impl std::fmt::Debug for AesGcm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.backend {
            Backend::Ring(_) => "AesGcm(ring)",
            Backend::AwsLc(_) => "AesGcm(aws-lc)",
        })
    }
}
