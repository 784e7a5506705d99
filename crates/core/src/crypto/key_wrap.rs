//! AES key wrap with padding (RFC 5649, NIST SP 800-38F KWP), under a 256-bit key.
//!
//! ```text
//! wrapped   8 bytes of check value and length, and the key, padded to a multiple of 8 bytes
//! ```

use super::Unauthentic;
use crate::SecretBytes;
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded as _};

/// Bytes of the wrapping key.
pub const KEY_BYTES: usize = 32;

/// Wraps `secret`, which has any length but none.
///
/// # Errors
/// [`Unauthentic`] when the wrapping key has not [`KEY_BYTES`] bytes, or `secret` none.
pub fn wrap(key: &[u8], secret: &[u8]) -> Result<Vec<u8>, Unauthentic> {
    let kek = AesKek::new(&AES_256, key).map_err(|_| Unauthentic)?;
    let mut out = vec![0; secret.len().next_multiple_of(8) + 8];
    let wrapped = kek.wrap_with_padding(secret, &mut out);
    let len = wrapped.map_err(|_| Unauthentic)?.len();
    out.truncate(len);
    Ok(out)
}

/// Opens what was wrapped.
///
/// # Errors
/// [`Unauthentic`] when it was not wrapped by this key, or the key has not [`KEY_BYTES`] bytes.
pub fn unwrap(key: &[u8], wrapped: &[u8]) -> Result<SecretBytes, Unauthentic> {
    let kek = AesKek::new(&AES_256, key).map_err(|_| Unauthentic)?;
    let mut out = SecretBytes::zeroed(wrapped.len());
    let opened = kek.unwrap_with_padding(wrapped, out.expose_mut());
    let len = opened.map_err(|_| Unauthentic)?.len();
    Ok(SecretBytes::copy_of(&out.expose()[..len]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back_and_every_bit_counts() {
        let key = [9; KEY_BYTES];
        for len in 1..=40_u8 {
            let secret: Vec<u8> = (0..len).collect();
            let wrapped = wrap(&key, &secret).unwrap();
            assert_eq!(wrapped.len(), usize::from(len).next_multiple_of(8) + 8);
            assert!(unwrap(&key, &wrapped).unwrap().ct_eq(&secret));
            for bit in 0..wrapped.len() * 8 {
                let mut bad = wrapped.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(unwrap(&key, &bad).is_err(), "{len} bytes, bit {bit}");
            }
            for cut in 0..wrapped.len() {
                assert!(unwrap(&key, &wrapped[..cut]).is_err());
            }
        }
        assert!(wrap(&key, &[]).is_err());
        assert!(wrap(&key[1..], b"x").is_err() && unwrap(&key[1..], &[0; 16]).is_err());
    }
}
