//! Shamir's secret sharing, each byte by itself over GF(2⁸) with the polynomial of AES: any `need` of
//! the shares make the secret, fewer say nothing about it.
//!
//! Nothing tells a share that was altered from one of another secret: bind the secret to something
//! that shows whether it is the right one.

use super::random::Entropy;
use crate::secret::SecretBytes;
use rand_core::{TryCryptoRng, TryRng};
use std::collections::BTreeSet;
use std::convert::Infallible;
use vsss_rs::{Gf256, IdentifierGf256};
use zeroize::Zeroizing;

/// One share of a secret.
#[derive(Debug)]
pub struct Share {
    /// Where the polynomials were evaluated: 1 to 255.
    pub number: u8,
    /// As many bytes as the secret has.
    pub bytes: SecretBytes,
}

/// Why a secret was not split or put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SharesError {
    /// Fewer than two are to be needed, or more than there are.
    #[error("of up to 255 shares at least 2 are needed, and at most all of them")]
    Numbers,
    /// The secret has no bytes.
    #[error("there is nothing to split")]
    Empty,
    /// Shares of different lengths, the same share twice, one that is numbered 0, or fewer than two.
    #[error("the shares do not belong together")]
    Unfit,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    NoEntropy,
}

/// Splits `secret` into `of` shares, numbered from 1, of which any `need` make it again.
///
/// # Errors
/// [`SharesError`].
pub fn split(
    secret: &SecretBytes,
    need: u8,
    of: u8,
    entropy: &dyn Entropy,
) -> Result<Vec<Share>, SharesError> {
    if need < 2 || need > of {
        return Err(SharesError::Numbers);
    }
    if secret.is_empty() {
        return Err(SharesError::Empty);
    }
    let mut source = Source {
        entropy,
        has_failed: false,
    };
    let numbers = (1..=of).map(|number| IdentifierGf256(Gf256(number)));
    let split = Gf256::split_bytes_with_participant_ids_iter(
        need.into(),
        of.into(),
        secret.expose(),
        &mut source,
        numbers,
    );
    let split = Zeroizing::new(split.map_err(|_| SharesError::Numbers)?);
    if source.has_failed {
        return Err(SharesError::NoEntropy);
    }
    let share = |bytes: &Vec<u8>| {
        let (number, bytes) = bytes.split_first().ok_or(SharesError::Unfit)?;
        Ok(Share {
            number: *number,
            bytes: SecretBytes::copy_of(bytes),
        })
    };
    split.iter().map(share).collect()
}

/// Puts the secret together. With too few shares, or others, it is another one.
///
/// # Errors
/// [`SharesError::Unfit`].
pub fn combine(shares: &[Share]) -> Result<SecretBytes, SharesError> {
    let numbers: BTreeSet<u8> = shares.iter().map(|share| share.number).collect();
    if numbers.len() != shares.len() || numbers.len() < 2 || numbers.contains(&0) {
        return Err(SharesError::Unfit);
    }
    let bytes = |share: &Share| [&[share.number], share.bytes.expose()].concat();
    let bytes: Zeroizing<Vec<Vec<u8>>> = Zeroizing::new(shares.iter().map(bytes).collect());
    Gf256::combine_bytes(bytes.as_slice())
        .map(SecretBytes::new)
        .map_err(|_| SharesError::Unfit)
}

/// Our randomness as the library takes it. It cannot be told of a failure: that is looked at afterwards,
/// and what was made is thrown away.
struct Source<'e> {
    entropy: &'e dyn Entropy,
    has_failed: bool,
}

impl TryRng for Source<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.has_failed |= self.entropy.fill(out).is_err();
        Ok(())
    }
}

impl TryCryptoRng for Source<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::random::{EntropyError, SystemEntropy};

    fn secret() -> SecretBytes {
        SecretBytes::copy_of(b"thirty-two bytes of a root key!!")
    }

    fn some(shares: &[Share], numbers: &[u8]) -> Vec<Share> {
        let one = |number: &u8| {
            let share = shares.iter().find(|share| share.number == *number).unwrap();
            Share {
                number: share.number,
                bytes: SecretBytes::copy_of(share.bytes.expose()),
            }
        };
        numbers.iter().map(one).collect()
    }

    #[test]
    fn any_that_are_enough_make_the_secret_and_fewer_do_not() {
        let shares = split(&secret(), 3, 5, &SystemEntropy).unwrap();
        let opens = |numbers: &[u8]| {
            combine(&some(&shares, numbers)).is_ok_and(|made| made.ct_eq(secret().expose()))
        };
        for first in 1..=5 {
            for second in first + 1..=5 {
                assert!(!opens(&[first, second]));
                for third in second + 1..=5 {
                    assert!(opens(&[third, first, second]));
                }
            }
        }
        assert!(opens(&[1, 2, 3, 4, 5]));
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let shares = split(&secret(), 2, 3, &SystemEntropy).unwrap();
        let unfit = |shares: &[Share]| combine(shares).unwrap_err() == SharesError::Unfit;
        assert!(unfit(&[]));
        assert!(unfit(&some(&shares, &[1])));
        assert!(unfit(&some(&shares, &[1, 1])));
        let mut short = some(&shares, &[1, 2]);
        short[1].bytes = SecretBytes::copy_of(b"short");
        assert!(unfit(&short));
        let mut zero = some(&shares, &[1, 2]);
        zero[0].number = 0;
        assert!(unfit(&zero));
    }

    #[test]
    fn numbers_out_of_bounds_are_refused() {
        let refused = |need, of| split(&secret(), need, of, &SystemEntropy).unwrap_err();
        for (need, of) in [(0, 3), (1, 3), (4, 3), (2, 1)] {
            assert_eq!(refused(need, of), SharesError::Numbers);
        }
        assert_eq!(
            split(&secret(), 255, 255, &SystemEntropy).unwrap().len(),
            255
        );
        let nothing = SecretBytes::zeroed(0);
        assert_eq!(
            split(&nothing, 2, 3, &SystemEntropy).unwrap_err(),
            SharesError::Empty
        );
    }

    #[test]
    fn without_randomness_there_are_no_shares() {
        struct Broken;
        impl Entropy for Broken {
            fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
                Err(EntropyError)
            }
        }
        assert_eq!(
            split(&secret(), 2, 3, &Broken).unwrap_err(),
            SharesError::NoEntropy
        );
    }

    /// Computed by hand from the definition, in the field of AES: f(x) = 53 + ca·x, and 53·ca = 1.
    #[test]
    fn the_field_is_that_of_aes() {
        struct Fixed;
        impl Entropy for Fixed {
            fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
                out.fill(0xca);
                Ok(())
            }
        }
        let shares = split(&SecretBytes::copy_of(&[0x53]), 2, 0x53, &Fixed).unwrap();
        assert_eq!(shares[0].bytes.expose(), [0x53 ^ 0xca]);
        assert_eq!(shares[0x52].number, 0x53);
        assert_eq!(shares[0x52].bytes.expose(), [0x53 ^ 0x01]);
    }
}
