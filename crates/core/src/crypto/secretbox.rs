//! NaCl `secretbox`: XSalsa20-Poly1305 (Bernstein, *Cryptography in NaCl*, sections 7 to 9).
//!
//! A box is `tag 16 | ciphertext`, as libsodium's `crypto_secretbox_easy` and Go's
//! `x/crypto/nacl/secretbox` write it.

use super::Unauthentic;
use dryoc::classic::crypto_secretbox as nacl;
use zeroize::{Zeroize, Zeroizing};

/// Length of a key in bytes.
pub const KEY_BYTES: usize = 32;
/// Length of a nonce in bytes.
pub const NONCE_BYTES: usize = 24;
/// Length of the tag in bytes.
pub const TAG_BYTES: usize = 16;

/// Seals `message` into `boxed`, which must be [`TAG_BYTES`] longer.
///
/// # Errors
/// [`Unauthentic`] when the lengths do not fit.
pub fn seal(
    key: &[u8; KEY_BYTES],
    nonce: &[u8; NONCE_BYTES],
    message: &[u8],
    boxed: &mut [u8],
) -> Result<(), Unauthentic> {
    let (tag, ciphertext) = boxed
        .split_first_chunk_mut::<TAG_BYTES>()
        .ok_or(Unauthentic)?;
    if ciphertext.len() != message.len() {
        return Err(Unauthentic);
    }
    let key = Zeroizing::new(*key);
    nacl::crypto_secretbox_detached(ciphertext, tag, message, nonce, &key).map_err(|_| Unauthentic)
}

/// Opens `boxed` into `message`, which must be [`TAG_BYTES`] shorter.
///
/// # Errors
/// [`Unauthentic`] when the tag does not verify or the lengths do not fit; `message` is then all
/// zero.
pub fn open(
    key: &[u8; KEY_BYTES],
    nonce: &[u8; NONCE_BYTES],
    boxed: &[u8],
    message: &mut [u8],
) -> Result<(), Unauthentic> {
    let (tag, ciphertext) = boxed.split_first_chunk::<TAG_BYTES>().ok_or(Unauthentic)?;
    if ciphertext.len() != message.len() {
        return Err(Unauthentic);
    }
    let key = Zeroizing::new(*key);
    nacl::crypto_secretbox_open_detached(message, ciphertext, tag, nonce, &key).map_err(|_| {
        message.zeroize();
        Unauthentic
    })
}
