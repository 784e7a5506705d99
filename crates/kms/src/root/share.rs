//! A root key in shares: text that people keep in safes.
//!
//! ```text
//! WXSHARE1-3of5-2-STORE-SET-SHARE-CHECK
//!               │ │     │   │     └─ the first 4 bytes of
//!               │ │     │   │        SHA-256("waxseal-kms/share/1" | all before the last hyphen)
//!               │ │     │   └─────── 32 bytes: the share, see `waxseal_core::crypto::shares`
//!               │ │     └─────────── 4 bytes, random: which splitting of a key
//!               │ └───────────────── 16 bytes: the store
//!               └─────────────────── the number of the share, from 1
//! ```
//!
//! Bytes are hexadecimal digits, upper or lower case. The check finds typing errors: that it does not
//! hold is the one thing that is said of a single share. Everything else that can be wrong with several
//! of them is [`RootError::Shares`].

use super::{RootError, RootKind};
use waxseal_core::SecretBytes;
use waxseal_core::crypto::hash::sha256;
use waxseal_core::crypto::random::{self, Entropy};
use waxseal_core::crypto::shares::{self, SharesError};

/// The most shares of a root key, so that each has room in its safe.
pub const SHARES_MAX: u8 = 32;
/// The most bytes of a share's text.
pub const SHARE_BYTES_MAX: usize = 256;

const MAGIC: &str = "WXSHARE1";
const CHECK_LABEL: &[u8] = b"waxseal-kms/share/1";
const CHECK_BYTES: usize = 4;
const KEY_BYTES: usize = 32;

/// A share as it was read.
#[derive(Debug)]
pub struct RootShare {
    need: u8,
    of: u8,
    store_id: [u8; 16],
    set: [u8; 4],
    share: shares::Share,
}

/// What was read is no share, or was mistyped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no share, or it was mistyped: its check does not hold")]
pub struct Illegible;

impl RootShare {
    /// Reads a share, spaces around it left out.
    ///
    /// # Errors
    /// [`Illegible`].
    pub fn read(text: &[u8]) -> Result<Self, Illegible> {
        let text = std::str::from_utf8(text).map_err(|_| Illegible)?.trim();
        if text.len() > SHARE_BYTES_MAX {
            return Err(Illegible);
        }
        let (covered, check) = text.rsplit_once('-').ok_or(Illegible)?;
        // What it covers is as it was written, whatever the case it was typed in.
        let covered = SecretBytes::new(normal(covered));
        if digits::<CHECK_BYTES>(check)? != check_of(&covered) {
            return Err(Illegible);
        }
        let covered = std::str::from_utf8(covered.expose()).map_err(|_| Illegible)?;
        let mut parts = covered.split('-');
        let mut part = || parts.next().ok_or(Illegible);
        if part()? != MAGIC {
            return Err(Illegible);
        }
        let number = |text: &str| text.parse::<u8>().map_err(|_| Illegible);
        let (need, of) = part()?.split_once("of").ok_or(Illegible)?;
        let (need, of, index) = (number(need)?, number(of)?, number(part()?)?);
        let (store_id, set) = (digits(part()?)?, digits(part()?)?);
        let mut bytes = SecretBytes::zeroed(KEY_BYTES);
        hex::decode_to_slice(part()?, bytes.expose_mut()).map_err(|_| Illegible)?;
        Ok(Self {
            need,
            of,
            store_id,
            set,
            share: shares::Share {
                number: index,
                bytes,
            },
        })
    }

    /// As it is handed out.
    fn text(&self) -> SecretBytes {
        let share = SecretBytes::new(hex::encode(self.share.bytes.expose()).into_bytes());
        let head = format!(
            "{MAGIC}-{}of{}-{}-{}-{}-",
            self.need,
            self.of,
            self.share.number,
            hex::encode(self.store_id),
            hex::encode(self.set)
        );
        let covered = SecretBytes::new([head.as_bytes(), share.expose()].concat());
        let check = hex::encode(check_of(&covered));
        SecretBytes::new([covered.expose(), b"-", check.as_bytes()].concat())
    }
}

/// A new root key of the store, and its shares as text.
///
/// # Errors
/// [`RootError::ShareNumbers`], [`RootError::Keyring`] when there is no randomness.
pub fn make_shares(
    store_id: [u8; 16],
    need: u8,
    of: u8,
    entropy: &dyn Entropy,
) -> Result<(RootKind, SecretBytes, Vec<SecretBytes>), RootError> {
    if of > SHARES_MAX {
        return Err(RootError::ShareNumbers);
    }
    let set: [u8; 4] = random::array(entropy).map_err(super::no_entropy)?;
    let mut key = SecretBytes::zeroed(KEY_BYTES);
    let filled = entropy.fill(key.expose_mut());
    filled.map_err(super::no_entropy)?;
    let split = shares::split(&key, need, of, entropy).map_err(|error| match error {
        SharesError::NoEntropy => super::no_entropy(error),
        _ => RootError::ShareNumbers,
    })?;
    let texts = split.into_iter().map(|share| {
        let share = RootShare {
            need,
            of,
            store_id,
            set,
            share,
        };
        share.text()
    });
    let set = hex::encode(set);
    Ok((RootKind::Shares { need, of, set }, key, texts.collect()))
}

/// Puts the root key of this kind together.
///
/// # Errors
/// [`RootError::Shares`] when they are too few, repeated, or not all of this splitting. That one of them
/// was altered shows only when the key does not open the store.
pub fn combine_shares(
    kind: &RootKind,
    store_id: [u8; 16],
    given: Vec<RootShare>,
) -> Result<SecretBytes, RootError> {
    let RootKind::Shares { need, of, set } = kind else {
        return Err(RootError::Damaged("there are no shares".to_owned()));
    };
    let wrong = RootError::Shares { need: *need };
    let fits = |share: &RootShare| {
        (share.need, share.of, share.store_id) == (*need, *of, store_id)
            && hex::encode(share.set) == *set
    };
    if given.len() < usize::from(*need) || !given.iter().all(fits) {
        return Err(wrong);
    }
    let shares: Vec<shares::Share> = given.into_iter().map(|share| share.share).collect();
    shares::combine(&shares).map_err(|_| wrong)
}

/// Digits in lower case, the letters of the form in theirs.
fn normal(text: &str) -> Vec<u8> {
    let mut normal = text.to_ascii_lowercase().into_bytes();
    let magic = MAGIC.len().min(normal.len());
    normal[..magic].make_ascii_uppercase();
    normal
}

fn digits<const N: usize>(text: &str) -> Result<[u8; N], Illegible> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| Illegible)?;
    Ok(bytes)
}

fn check_of(covered: &SecretBytes) -> [u8; CHECK_BYTES] {
    let hash = sha256(&[CHECK_LABEL, covered.expose()]);
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&hash[..CHECK_BYTES]);
    check
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxseal_core::crypto::random::SystemEntropy;

    const STORE: [u8; 16] = [7; 16];

    fn made() -> (RootKind, SecretBytes, Vec<SecretBytes>) {
        make_shares(STORE, 3, 5, &SystemEntropy).unwrap()
    }

    fn read(texts: &[SecretBytes], numbers: &[usize]) -> Vec<RootShare> {
        let one = |number: &usize| RootShare::read(texts[number - 1].expose()).unwrap();
        numbers.iter().map(one).collect()
    }

    #[test]
    fn shares_make_the_key_in_any_order_and_case() {
        let (kind, key, texts) = made();
        assert_eq!(texts.len(), 5);
        let made = combine_shares(&kind, STORE, read(&texts, &[5, 1, 3])).unwrap();
        assert!(made.ct_eq(key.expose()));
        let upper = texts[0].expose().to_ascii_uppercase();
        let share = RootShare::read(&[b"  ", &upper[..], b"\n"].concat()).unwrap();
        assert_eq!(share.share.number, 1);
        assert!(texts.iter().all(|text| text.len() < SHARE_BYTES_MAX));
    }

    #[test]
    fn every_wrong_set_of_shares_is_refused_with_the_same_words() {
        let (kind, _, texts) = made();
        let (other_kind, _, others) = made();
        let words = |kind: &RootKind, store, given| {
            let error = combine_shares(kind, store, given).unwrap_err();
            assert!(matches!(error, RootError::Shares { need: 3 }));
            error.to_string()
        };
        let few = words(&kind, STORE, read(&texts, &[1, 2]));
        let mut foreign = read(&texts, &[1, 2]);
        foreign.extend(read(&others, &[3]));
        for given in [read(&texts, &[1, 2, 2]), read(&others, &[1, 2, 3]), foreign] {
            assert_eq!(words(&kind, STORE, given), few);
        }
        assert_eq!(words(&kind, [8; 16], read(&texts, &[1, 2, 3])), few);
        assert_eq!(words(&other_kind, STORE, read(&texts, &[1, 2, 3])), few);
    }

    #[test]
    fn every_typing_error_is_seen() {
        let (_, _, texts) = made();
        let text = texts[0].expose();
        for at in 0..text.len() {
            for typed in [b'0', b'1', b'-', b'x', b' '] {
                let mut wrong = text.to_vec();
                if wrong[at].eq_ignore_ascii_case(&typed) {
                    continue;
                }
                wrong[at] = typed;
                assert!(RootShare::read(&wrong).is_err(), "{at}");
            }
            assert!(RootShare::read(&text[..at]).is_err());
        }
        assert!(RootShare::read(&vec![b'a'; 1 << 20]).is_err());
        assert!(RootShare::read(b"\xff").is_err());
    }

    #[test]
    fn numbers_of_shares_have_bounds() {
        for (need, of) in [(0, 0), (1, 5), (6, 5), (2, SHARES_MAX + 1)] {
            let refused = make_shares(STORE, need, of, &SystemEntropy);
            assert!(matches!(refused, Err(RootError::ShareNumbers)));
        }
    }
}
