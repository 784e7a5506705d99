//! Randomness, handed in wherever it is needed so that tests can choose it.

/// The operating system refused to give random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct EntropyError;

/// A source of random bytes that are fit for keys and nonces.
pub trait Entropy: Send + Sync {
    /// Fills `out` entirely or fails.
    ///
    /// # Errors
    /// [`EntropyError`] when the source has failed; nothing may then be encrypted.
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError>;
}

/// Fresh random bytes in an array: nonces, salts, message ids.
///
/// # Errors
/// As [`Entropy::fill`].
pub fn array<const N: usize>(entropy: &dyn Entropy) -> Result<[u8; N], EntropyError> {
    let mut out = [0; N];
    entropy.fill(&mut out)?;
    Ok(out)
}

/// The kernel's generator, asked each time: there is no pool in this process that a fork or a
/// restored snapshot could repeat.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(out).map_err(|_| EntropyError)
    }
}
