//! Randomness, handed in wherever it is needed so that tests can choose it.

use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroize as _;

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

/// What one piece of work draws: a source is asked once for several small needs. What was given
/// out is wiped here, and so is what is left in the end. It is not to outlive the work: a copy of
/// the process that is made meanwhile goes on with the same bytes.
pub struct Drawn {
    source: Arc<dyn Entropy>,
    /// Where it stays: whoever hands the whole on would leave bytes of later keys behind on the stack.
    rest: Box<Mutex<Rest>>,
}

/// Enough for a data key, its salt and two ids.
const DRAWN_BYTES: usize = 96;

struct Rest {
    bytes: [u8; DRAWN_BYTES],
    /// How many at the end are still to be given out.
    left: usize,
}

impl Drawn {
    /// Nothing is drawn before it is needed.
    pub fn new(source: Arc<dyn Entropy>) -> Self {
        let rest = Rest {
            bytes: [0; DRAWN_BYTES],
            left: 0,
        };
        Self {
            source,
            rest: Box::new(Mutex::new(rest)),
        }
    }
}

impl Entropy for Drawn {
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        if out.len() > DRAWN_BYTES / 2 {
            return self.source.fill(out);
        }
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        if rest.left < out.len() {
            rest.left = 0;
            self.source.fill(&mut rest.bytes)?;
            rest.left = DRAWN_BYTES;
        }
        let begin = DRAWN_BYTES - rest.left;
        let given = &mut rest.bytes[begin..begin + out.len()];
        out.copy_from_slice(given);
        given.zeroize();
        rest.left -= out.len();
        Ok(())
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl std::fmt::Debug for Drawn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Drawn(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Gives 1, 2, 3, … and counts how often it is asked.
    #[derive(Default)]
    struct Counting {
        next: AtomicUsize,
        asked: AtomicUsize,
    }

    impl Entropy for Counting {
        fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            for byte in out {
                *byte = self.next.fetch_add(1, Ordering::Relaxed) as u8;
            }
            Ok(())
        }
    }

    struct Failing;

    impl Entropy for Failing {
        fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
            Err(EntropyError)
        }
    }

    #[test]
    fn no_byte_is_given_twice() {
        let source = Arc::new(Counting::default());
        let drawn = Drawn::new(source.clone());
        assert_eq!(source.asked.load(Ordering::Relaxed), 0);
        let mut seen = std::collections::BTreeSet::new();
        for bytes in [16, 32, 24, 16, 48, 1, 0, 47] {
            let mut out = vec![0; bytes];
            drawn.fill(&mut out).unwrap();
            assert!(out.iter().all(|byte| seen.insert(*byte)), "{out:?}");
        }
        assert_eq!(source.asked.load(Ordering::Relaxed), 2);
        let mut long = [0; DRAWN_BYTES];
        drawn.fill(&mut long).unwrap();
        assert_eq!(source.asked.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn what_was_given_out_is_wiped() {
        let source = Counting::default();
        source.next.store(1, Ordering::Relaxed);
        let drawn = Drawn::new(Arc::new(source));
        array::<32>(&drawn).unwrap();
        let rest = drawn.rest.lock().unwrap();
        assert_eq!(rest.bytes[..32], [0; 32]);
        assert_ne!(rest.bytes[32], 0);
    }

    #[test]
    fn a_source_that_fails_gives_nothing() {
        let drawn = Drawn::new(Arc::new(Failing));
        assert_eq!(array::<16>(&drawn), Err(EntropyError));
        assert_eq!(array::<16>(&drawn), Err(EntropyError));
    }
}
