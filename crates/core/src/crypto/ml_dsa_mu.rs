//! ML-DSA of a message that somebody else has hashed: the representative μ of FIPS 204, section 6.2,
//! which AWS-LC's bindings do not take.
//!
//! ```text
//! μ = SHAKE256(SHAKE256(public key, 64) | 0 | bytes of the context | context | message, 64)
//! ```
//!
//! A signature of μ is one of the message.

use super::Unauthentic;
use super::key_pair::PairSpec;
use crate::secret::SecretBytes;
use getrandom::SysRng;
use ml_dsa::{
    EncodedSignature, EncodedVerifyingKey, MlDsa44, MlDsa65, MlDsa87, MlDsaParams, Seed, Signature,
    SigningKey, VerifyingKey,
};

/// Bytes of μ.
pub const MU_BYTES: usize = 64;

/// What stands before the seed in a `PrivateKeyInfo` (RFC 9881): all but the object identifier's
/// last arc, which tells the parameter set.
const PREFIX: &[u8] = &[
    0x30, 0x34, 0x02, 0x01, 0x00, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04,
    0x03,
];
const BEFORE_SEED: &[u8] = &[0x04, 0x22, 0x80, 0x20];

/// Signs μ with the key in `pkcs8`, which holds its seed. The library draws randomness of its own.
pub(super) fn sign(spec: PairSpec, pkcs8: &[u8], mu: &[u8]) -> Result<Vec<u8>, Unauthentic> {
    let seed = seed(pkcs8)?;
    match spec {
        PairSpec::MlDsa44 => sign_with::<MlDsa44>(&seed, mu),
        PairSpec::MlDsa65 => sign_with::<MlDsa65>(&seed, mu),
        PairSpec::MlDsa87 => sign_with::<MlDsa87>(&seed, mu),
        _ => Err(Unauthentic),
    }
}

fn sign_with<P: MlDsaParams>(seed: &SecretBytes, mu: &[u8]) -> Result<Vec<u8>, Unauthentic> {
    let seed = <&Seed>::try_from(seed.expose()).map_err(|_| Unauthentic)?;
    let mu = mu.try_into().map_err(|_| Unauthentic)?;
    // It zeroes itself.
    let key = SigningKey::<P>::from_seed(seed);
    let signature = key.expanded_key().sign_mu_randomized(mu, &mut SysRng);
    Ok(signature.map_err(|_| Unauthentic)?.encode().to_vec())
}

/// Verifies a signature of μ by the holder of `public`, the bytes of FIPS 204.
pub(super) fn verify(
    spec: PairSpec,
    public: &[u8],
    mu: &[u8],
    signature: &[u8],
) -> Result<(), Unauthentic> {
    match spec {
        PairSpec::MlDsa44 => verify_with::<MlDsa44>(public, mu, signature),
        PairSpec::MlDsa65 => verify_with::<MlDsa65>(public, mu, signature),
        PairSpec::MlDsa87 => verify_with::<MlDsa87>(public, mu, signature),
        _ => Err(Unauthentic),
    }
}

fn verify_with<P: MlDsaParams>(
    public: &[u8],
    mu: &[u8],
    signature: &[u8],
) -> Result<(), Unauthentic> {
    let public = <&EncodedVerifyingKey<P>>::try_from(public).map_err(|_| Unauthentic)?;
    let signature = <&EncodedSignature<P>>::try_from(signature).map_err(|_| Unauthentic)?;
    let signature = Signature::<P>::decode(signature).ok_or(Unauthentic)?;
    let mu = mu.try_into().map_err(|_| Unauthentic)?;
    match VerifyingKey::<P>::decode(public).verify_mu(mu, &signature) {
        true => Ok(()),
        false => Err(Unauthentic),
    }
}

/// The seed of a key, as this door writes keys.
fn seed(pkcs8: &[u8]) -> Result<SecretBytes, Unauthentic> {
    let rest = pkcs8.strip_prefix(PREFIX).ok_or(Unauthentic)?;
    let (_, rest) = rest.split_first().ok_or(Unauthentic)?;
    let seed = rest.strip_prefix(BEFORE_SEED).ok_or(Unauthentic)?;
    Ok(SecretBytes::copy_of(seed))
}
