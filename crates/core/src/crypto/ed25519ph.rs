//! Ed25519ph (RFC 8032, section 5.1): Ed25519 of a message's SHA-512, without a context. AWS-LC's
//! bindings do not have it.

use super::Unauthentic;
use ed25519_dalek::{Digest as _, Sha512, Signature, SigningKey, VerifyingKey};

/// Signs `message`, which is hashed first, with the key that `seed` (32 bytes) makes.
pub(super) fn sign(seed: &[u8], message: &[u8]) -> Result<Vec<u8>, Unauthentic> {
    // It zeroes itself.
    let key = SigningKey::from_bytes(seed.try_into().map_err(|_| Unauthentic)?);
    let signature = key.sign_prehashed(Sha512::new_with_prefix(message), None);
    Ok(signature.map_err(|_| Unauthentic)?.to_bytes().to_vec())
}

/// Verifies a signature by the holder of `public` (32 bytes).
pub(super) fn verify(public: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Unauthentic> {
    let public = public.try_into().map_err(|_| Unauthentic)?;
    let public = VerifyingKey::from_bytes(public).map_err(|_| Unauthentic)?;
    let signature = Signature::from_slice(signature).map_err(|_| Unauthentic)?;
    public
        .verify_prehashed(Sha512::new_with_prefix(message), None, &signature)
        .map_err(|_| Unauthentic)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.3.
    #[test]
    fn the_vector_of_the_rfc() {
        let seed = hex::decode("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42");
        let public =
            hex::decode("ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf");
        let expected = hex::decode(concat!(
            "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41",
            "31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406"
        ));
        let (seed, public, expected) = (seed.unwrap(), public.unwrap(), expected.unwrap());
        assert_eq!(sign(&seed, b"abc").unwrap(), expected);
        verify(&public, b"abc", &expected).unwrap();
        verify(&public, b"abd", &expected).unwrap_err();
        verify(&public, b"abc", &expected[1..]).unwrap_err();
        verify(&public[1..], b"abc", &expected).unwrap_err();
        sign(&seed[1..], b"abc").unwrap_err();
    }
}
