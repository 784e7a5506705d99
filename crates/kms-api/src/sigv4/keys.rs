//! Signing keys: derived from a secret for a day, a Region and a service, and kept for that long.

use super::Scope;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use waxseal_core::SecretBytes;
use waxseal_core::crypto::hash::sha256;
use waxseal_core::crypto::mac::{MacHash, hmac};

/// How many are kept. They are a matter of speed: when there are more, all are forgotten.
const KEYS_MAX: usize = 10_000;

/// What a day's requests to one service in one Region are signed with.
#[derive(Debug)]
pub struct SigningKey(SecretBytes);

impl SigningKey {
    /// Four HMACs, from `secret` on.
    pub fn derive(secret: &SecretBytes, scope: &Scope<'_>) -> Self {
        let first = SecretBytes::new([b"AWS4", secret.expose()].concat());
        let parts = [scope.date, scope.region, scope.service, "aws4_request"];
        let key = parts.iter().fold(first, |key, part| {
            let mac = hmac(MacHash::Sha256, key.expose(), &[part.as_bytes()]);
            SecretBytes::new(mac)
        });
        Self(key)
    }

    /// The signature of a string to sign.
    pub(super) fn sign(&self, text: &[u8]) -> Vec<u8> {
        hmac(MacHash::Sha256, self.0.expose(), &[text])
    }
}

/// Signing keys that were derived before. A key serves only the secret that it was derived from:
/// a secret that was replaced is not verified against any more.
#[derive(Debug, Default)]
pub struct SigningKeys {
    kept: RwLock<HashMap<[u8; 32], Arc<SigningKey>>>,
}

impl SigningKeys {
    /// The key for `secret` and `scope`.
    pub fn key(&self, secret: &SecretBytes, scope: &Scope<'_>) -> Arc<SigningKey> {
        // Lengths in between keep two different lists of parts from being one text. The secret is
        // in it by its hash, as it is in what is derived.
        let parts = [scope.date, scope.region, scope.service];
        let lengths = parts.map(|part| part.len() as u8);
        let [date, region, service] = parts.map(str::as_bytes);
        let name = sha256(&[&lengths, date, region, service, secret.expose()]);
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = kept.get(&name) {
            return key.clone();
        }
        drop(kept);
        let key = Arc::new(SigningKey::derive(secret, scope));
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEYS_MAX {
            kept.clear();
        }
        kept.insert(name, key.clone());
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope<'a>(date: &'a str, region: &'a str) -> Scope<'a> {
        Scope {
            access_key_id: "AKIDEXAMPLE",
            date,
            region,
            service: "iam",
        }
    }

    #[test]
    fn the_example_of_the_documentation() {
        let secret = SecretBytes::copy_of(b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let key = SigningKey::derive(&secret, &scope("20150830", "us-east-1"));
        let expected = "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9";
        let bytes: String = key.0.expose().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn kept_keys_are_those_of_their_secret_and_scope() {
        let keys = SigningKeys::default();
        let [one, two] = [b"one", b"two"].map(|secret| SecretBytes::copy_of(secret));
        let key = keys.key(&one, &scope("20150830", "us-east-1"));
        assert!(Arc::ptr_eq(
            &key,
            &keys.key(&one, &scope("20150830", "us-east-1"))
        ));
        for other in [
            keys.key(&two, &scope("20150830", "us-east-1")),
            keys.key(&one, &scope("20150831", "us-east-1")),
            keys.key(&one, &scope("20150830", "us-east-2")),
        ] {
            assert!(!key.0.ct_eq(other.0.expose()));
        }
    }
}
