//! The one door to cryptography.
//!
//! Every primitive comes from a library; this module gives each one the shape that the formats
//! need and nothing more. Two libraries serve AES-GCM (see [`aead`]); all else comes from
//! aws-lc-rs, but for XSalsa20-Poly1305 (dryoc), Argon2id (argon2), secret sharing (vsss-rs), signed
//! tokens (jsonwebtoken, over aws-lc-rs) and what aws-lc-rs lacks: Ed25519ph (ed25519-dalek) and signatures of ML-DSA's
//! external μ (ml-dsa).

pub mod aead;
pub mod certificate;
pub mod cms;
pub mod ecdh;
pub mod ecdsa;
pub mod ed25519;
mod ed25519ph;
pub mod hash;
pub mod kdf;
pub mod kem;
pub mod key_pair;
pub mod key_wrap;
pub mod mac;
pub mod ml_dsa_mu;
pub mod password;
pub mod pem;
pub mod random;
pub mod rsa;
pub mod secretbox;
pub mod shares;
pub mod token;

/// A ciphertext, tag, commitment or signature does not verify. It says nothing more on purpose:
/// telling the reasons apart would help only somebody who forges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("authentication failed")]
pub struct Unauthentic;
