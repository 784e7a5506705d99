//! Signing keys: derived from a secret for a day, a Region and a service, and kept for that long.

use super::Scope;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use waxseal_core::SecretBytes;
use waxseal_core::crypto::hash::sha256;
use waxseal_core::crypto::mac::{MacHash, PreparedKey, hmac};
use waxseal_core::secret::ct_eq;

/// How many are kept. They are a matter of speed: when there are more, all are forgotten.
const KEYS_MAX: usize = 10_000;

/// What a day's requests to one service in one Region are signed with.
#[derive(Debug)]
pub struct SigningKey(PreparedKey);

impl SigningKey {
    /// Four HMACs, from `secret` on.
    pub fn derive(secret: &SecretBytes, scope: &Scope<'_>) -> Self {
        Self(PreparedKey::new(derived(secret, scope).expose()))
    }

    /// The signature of a string to sign.
    pub(super) fn sign(&self, text: &[u8]) -> [u8; 32] {
        self.0.sign(text)
    }
}

fn derived(secret: &SecretBytes, scope: &Scope<'_>) -> SecretBytes {
    let first = SecretBytes::new([b"AWS4", secret.expose()].concat());
    let parts = [scope.date, scope.region, scope.service, "aws4_request"];
    parts.iter().fold(first, |key, part| {
        let mac = hmac(MacHash::Sha256, key.expose(), &[part.as_bytes()]);
        SecretBytes::new(mac)
    })
}

/// Signing keys that were derived before. A key serves only the secret that it was derived from:
/// a secret that was replaced is not verified against any more.
#[derive(Debug, Default)]
pub struct SigningKeys {
    /// By the text of the scope.
    kept: RwLock<HashMap<String, Kept>>,
}

#[derive(Debug)]
struct Kept {
    /// Where the secret was. While this is here nothing else comes to be there.
    from: Weak<SecretBytes>,
    /// SHA-256 of it, for a secret that is read anew for each request.
    fingerprint: [u8; 32],
    key: Arc<SigningKey>,
}

impl SigningKeys {
    /// The key for `secret` and `scope`.
    pub fn key(&self, secret: &Arc<SecretBytes>, scope: &Scope<'_>) -> Arc<SigningKey> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let known = kept.get(scope.text);
        if let Some(known) = known
            && known.from.as_ptr() == Arc::as_ptr(secret)
        {
            return known.key.clone();
        }
        let fingerprint = sha256(&[secret.expose()]);
        if let Some(known) = known
            && ct_eq(&known.fingerprint, &fingerprint)
        {
            return known.key.clone();
        }
        drop(kept);
        let key = Arc::new(SigningKey::derive(secret, scope));
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEYS_MAX {
            kept.clear();
        }
        let known = Kept {
            from: Arc::downgrade(secret),
            fingerprint,
            key: key.clone(),
        };
        kept.insert(scope.text.to_owned(), known);
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_documentation() {
        let secret = SecretBytes::copy_of(b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let scope = Scope::parse("AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request").unwrap();
        let expected = "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9";
        let key = derived(&secret, &scope);
        let bytes: String = key.expose().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn kept_keys_are_those_of_their_secret_and_scope() {
        let keys = SigningKeys::default();
        let [one, two] = [b"one", b"two"].map(|secret| Arc::new(SecretBytes::copy_of(secret)));
        let scope = |text| Scope::parse(text).unwrap();
        let first = scope("AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request");
        let key = keys.key(&one, &first);
        assert!(Arc::ptr_eq(&key, &keys.key(&one, &first)));
        for other in [
            keys.key(&two, &first),
            keys.key(
                &one,
                &scope("AKIDEXAMPLE/20150831/us-east-1/iam/aws4_request"),
            ),
            keys.key(
                &one,
                &scope("AKIDEXAMPLE/20150830/us-east-2/iam/aws4_request"),
            ),
        ] {
            assert_ne!(key.sign(b"text"), other.sign(b"text"));
        }
        // The same secret elsewhere, as of a session's token that was opened again.
        let again = Arc::new(SecretBytes::copy_of(b"one"));
        assert!(Arc::ptr_eq(
            &keys.key(&one, &first),
            &keys.key(&again, &first)
        ));
        // What was kept for the other secret is not there any more, or is not taken.
        assert_eq!(keys.key(&one, &first).sign(b"text"), key.sign(b"text"));
    }
}
