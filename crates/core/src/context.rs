//! The encryption context: non-secret name/value pairs that are authenticated together with a
//! data key.
//!
//! Canonical bytes, as in the AWS Encryption SDK specification (`framework/structures.md`,
//! *Encryption Context*), all integers big-endian:
//!
//! ```text
//! (nothing)                                            for an empty context
//! count u16 | { name len u16 | name | value len u16 | value }*   otherwise,
//!                                                      sorted by the names' UTF-8 bytes
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The most bytes that a serialized context may have (AWS Encryption SDK specification,
/// `framework/structures.md`: its length is written as a `u16`).
pub const CONTEXT_BYTES_MAX: usize = 65_535;

/// Name/value pairs, unique by name and ordered by the names' UTF-8 bytes.
///
/// A context that was read in another order remembers those bytes ([`EncryptionContext::stored`]).
/// They are no part of its value: two contexts with the same pairs are equal.
#[derive(Clone, Debug, Default)]
pub struct EncryptionContext {
    pairs: BTreeMap<String, String>,
    stored: Option<Arc<[u8]>>,
}

impl PartialEq for EncryptionContext {
    fn eq(&self, other: &Self) -> bool {
        self.pairs == other.pairs
    }
}

impl Eq for EncryptionContext {}

/// Why a context was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// The same name was given twice.
    #[error("the encryption context names '{0}' twice")]
    DuplicateName(String),
    /// A name was empty.
    #[error("the encryption context has a pair with an empty name")]
    EmptyName,
    /// The serialized form would be longer than [`CONTEXT_BYTES_MAX`].
    #[error("the encryption context takes {bytes} bytes; the limit is {CONTEXT_BYTES_MAX}")]
    TooLong {
        /// Length of the serialized form in bytes.
        bytes: usize,
    },
    /// Serialized bytes do not follow the layout.
    #[error("the serialized encryption context is malformed: {0}")]
    Malformed(&'static str),
}

impl EncryptionContext {
    /// An empty context.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a pair.
    ///
    /// # Errors
    /// An empty name and a name that is there already are refused.
    pub fn insert(
        &mut self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<(), ContextError> {
        let name = name.into();
        if name.is_empty() {
            return Err(ContextError::EmptyName);
        }
        if self.pairs.contains_key(&name) {
            return Err(ContextError::DuplicateName(name));
        }
        self.pairs.insert(name, value.into());
        self.stored = None;
        Ok(())
    }

    /// The value of `name`.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.pairs.get(name).map(String::as_str)
    }

    /// Removes a pair and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        let removed = self.pairs.remove(name)?;
        self.stored = None;
        Some(removed)
    }

    /// The bytes this context was parsed from, when they are not the canonical ones and no pair
    /// was added or removed since.
    ///
    /// Some writers sorted by locale, and wrapped their data keys under those bytes: a keyring
    /// that authenticates the serialized context tries them after the canonical ones.
    pub fn stored(&self) -> Option<&[u8]> {
        self.stored.as_deref()
    }

    /// Two contexts: the pairs with these names, and the others.
    pub fn split(&self, names: &BTreeSet<String>) -> (Self, Self) {
        let (inside, outside): (BTreeMap<_, _>, BTreeMap<_, _>) = self
            .pairs
            .clone()
            .into_iter()
            .partition(|(name, _)| names.contains(name));
        let of = |pairs| Self {
            pairs,
            stored: None,
        };
        (of(inside), of(outside))
    }

    /// All pairs in canonical order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The canonical bytes (see the module's documentation).
    ///
    /// # Errors
    /// [`ContextError::TooLong`] when they would exceed [`CONTEXT_BYTES_MAX`].
    pub fn serialize(&self) -> Result<Vec<u8>, ContextError> {
        if self.pairs.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = 2 + self
            .pairs
            .iter()
            .map(|(n, v)| 4 + n.len() + v.len())
            .sum::<usize>();
        if bytes > CONTEXT_BYTES_MAX {
            return Err(ContextError::TooLong { bytes });
        }
        let mut out = Vec::with_capacity(bytes);
        // A whole of at most 65,535 bytes has no count and no part that overflows a u16.
        out.extend_from_slice(&(self.pairs.len() as u16).to_be_bytes());
        for (name, value) in &self.pairs {
            for part in [name, value] {
                out.extend_from_slice(&(part.len() as u16).to_be_bytes());
                out.extend_from_slice(part.as_bytes());
            }
        }
        Ok(out)
    }

    /// Reads serialized bytes. The order of the pairs is free, as published messages demand
    /// (some writers sorted by locale); everything else is strict.
    ///
    /// # Errors
    /// Truncated or trailing bytes, invalid UTF-8, duplicate names, and a count of zero (an empty
    /// context is serialized as no bytes at all).
    pub fn parse(bytes: &[u8]) -> Result<Self, ContextError> {
        if bytes.is_empty() {
            return Ok(Self::new());
        }
        if bytes.len() > CONTEXT_BYTES_MAX {
            return Err(ContextError::TooLong { bytes: bytes.len() });
        }
        let mut rest = bytes;
        let count = take_u16(&mut rest)?;
        if count == 0 {
            return Err(ContextError::Malformed(
                "a count of zero must be written as no bytes",
            ));
        }
        let mut context = Self::new();
        let mut sorted = true;
        for _ in 0..count {
            let name = take_string(&mut rest)?;
            let value = take_string(&mut rest)?;
            if context.pairs.contains_key(&name) {
                return Err(ContextError::DuplicateName(name));
            }
            sorted &= context
                .pairs
                .last_key_value()
                .is_none_or(|(last, _)| *last < name);
            context.pairs.insert(name, value);
        }
        if !rest.is_empty() {
            return Err(ContextError::Malformed("bytes after the last pair"));
        }
        context.stored = (!sorted).then(|| bytes.into());
        Ok(context)
    }
}

fn take_u16(rest: &mut &[u8]) -> Result<usize, ContextError> {
    let (head, tail) = rest
        .split_first_chunk::<2>()
        .ok_or(ContextError::Malformed("truncated"))?;
    *rest = tail;
    Ok(usize::from(u16::from_be_bytes(*head)))
}

fn take_string(rest: &mut &[u8]) -> Result<String, ContextError> {
    let len = take_u16(rest)?;
    let (head, tail) = rest
        .split_at_checked(len)
        .ok_or(ContextError::Malformed("truncated"))?;
    *rest = tail;
    let text = std::str::from_utf8(head)
        .map_err(|_| ContextError::Malformed("a name or value is not UTF-8"))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
        let mut context = EncryptionContext::new();
        for (name, value) in pairs {
            context.insert(*name, *value).unwrap();
        }
        context
    }

    #[test]
    fn empty_is_no_bytes() {
        assert_eq!(EncryptionContext::new().serialize().unwrap(), b"");
        assert!(EncryptionContext::parse(b"").unwrap().is_empty());
        assert!(EncryptionContext::parse(b"\0\0").is_err());
    }

    #[test]
    fn order_is_by_utf8_bytes() {
        // U+FF21 sorts after U+10000 in UTF-16 and before it in UTF-8.
        let bytes = context(&[("\u{10000}", "2"), ("\u{ff21}", "1"), ("B", ""), ("a", "")])
            .serialize()
            .unwrap();
        let order: Vec<String> = EncryptionContext::parse(&bytes)
            .unwrap()
            .iter()
            .map(|(name, _)| name.to_owned())
            .collect();
        assert_eq!(order, ["B", "a", "\u{ff21}", "\u{10000}"]);
    }

    #[test]
    fn limit_holds_on_both_sides() {
        let fits = "v".repeat(CONTEXT_BYTES_MAX - 2 - 4 - 1);
        assert_eq!(
            context(&[("n", &fits)]).serialize().unwrap().len(),
            CONTEXT_BYTES_MAX
        );
        let over = context(&[("n", &format!("{fits}v"))]);
        assert_eq!(
            over.serialize(),
            Err(ContextError::TooLong {
                bytes: CONTEXT_BYTES_MAX + 1
            })
        );
    }

    #[test]
    fn names_are_unique_and_not_empty() {
        let mut context = context(&[("a", "1")]);
        assert_eq!(
            context.insert("a", "2"),
            Err(ContextError::DuplicateName("a".into()))
        );
        assert_eq!(context.insert("", "2"), Err(ContextError::EmptyName));
        assert!(EncryptionContext::parse(b"\0\x02\0\x01a\0\0\0\x01a\0\0").is_err());
    }

    #[test]
    fn unsorted_is_read_and_trailing_is_not() {
        let read = EncryptionContext::parse(b"\0\x02\0\x01b\0\0\0\x01a\0\0").unwrap();
        assert_eq!(read, context(&[("a", ""), ("b", "")]));
        assert_eq!(read.stored(), Some(&b"\0\x02\0\x01b\0\0\0\x01a\0\0"[..]));
        assert!(EncryptionContext::parse(b"\0\x01\0\x01a\0\0x").is_err());
        assert!(EncryptionContext::parse(b"\0\x01\0\x01\xff\0\0").is_err());
    }

    #[test]
    fn stored_bytes_last_until_a_change() {
        let read = EncryptionContext::parse(b"\0\x02\0\x01b\0\0\0\x01a\0\0").unwrap();
        assert!(read.clone().stored().is_some());
        let mut changed = read.clone();
        assert!(changed.insert("a", "x").is_err() && changed.remove("c").is_none());
        assert!(changed.stored().is_some(), "nothing changed");
        changed.insert("c", "").unwrap();
        assert_eq!(changed.stored(), None);
        let mut changed = read;
        changed.remove("a").unwrap();
        assert_eq!(changed.stored(), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(pairs in proptest::collection::btree_map(".{1,20}", ".{0,20}", 0..8)) {
            let mut context = EncryptionContext::new();
            for (name, value) in pairs {
                context.insert(name, value).unwrap();
            }
            let bytes = context.serialize().unwrap();
            prop_assert_eq!(EncryptionContext::parse(&bytes).unwrap(), context);
        }

        #[test]
        fn what_parses_has_one_canonical_form(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(context) = EncryptionContext::parse(&bytes) {
                let canonical = context.serialize().unwrap();
                prop_assert_eq!(canonical.len(), bytes.len());
                match context.stored() {
                    None => prop_assert_eq!(canonical, bytes),
                    Some(stored) => prop_assert!(stored == bytes && canonical != bytes),
                }
            }
        }
    }
}
