//! Signed tokens: JSON Web Tokens (RFC 7519) in the compact form of JWS (RFC 7515), and the public
//! keys of whoever issues them, a JWK Set (RFC 7517).
//!
//! Only signatures are checked here; what the claims mean, and when they hold, is for the caller
//! to judge. Tokens without a signature, and those under a shared secret, are never accepted.

use super::Unauthentic;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, dangerous, decode, decode_header};
use serde_json::{Map, Value};

/// The most bytes of a JWK Set.
pub const KEYS_BYTES_MAX: usize = 65_536;

/// What tokens may be signed with (RFC 7518, section 3.1, and RFC 8037).
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Why a text is no set of keys that tokens can be verified with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenKeysError {
    /// No JSON object with a list `keys` of keys.
    #[error("this is no JWK Set: JSON of the form {{\"keys\":[…]}} is needed")]
    Malformed,
    /// More text than any set takes.
    #[error("a JWK Set has at most {KEYS_BYTES_MAX} bytes")]
    TooLong,
    /// A shared secret, or the private half of a pair.
    #[error("the JWK Set holds a private or shared key: give the public keys only")]
    Private,
    /// Nothing to verify a signature with.
    #[error("the JWK Set holds no RSA, P-256, P-384 or Ed25519 key for signatures")]
    Unusable,
}

/// The public keys of whoever issues tokens.
#[derive(Debug)]
pub struct TokenKeys(Vec<(Option<String>, DecodingKey)>);

impl TokenKeys {
    /// Reads a JWK Set: `{"keys":[{"kty":"RSA","kid":…,"n":…,"e":…},…]}`. Keys that are for
    /// encryption are passed over.
    ///
    /// # Errors
    /// As the variants of [`TokenKeysError`] say.
    pub fn parse(text: &str) -> Result<Self, TokenKeysError> {
        if text.len() > KEYS_BYTES_MAX {
            return Err(TokenKeysError::TooLong);
        }
        let json: Value = serde_json::from_str(text).map_err(|_| TokenKeysError::Malformed)?;
        let given = json.get("keys").and_then(Value::as_array);
        let given = given.ok_or(TokenKeysError::Malformed)?;
        if given
            .iter()
            .any(|key| key.get("d").is_some() || key.get("k").is_some())
        {
            return Err(TokenKeysError::Private);
        }
        let set: JwkSet = serde_json::from_value(json).map_err(|_| TokenKeysError::Malformed)?;
        let keys: Vec<_> = set.keys.iter().filter_map(usable).collect();
        match keys.is_empty() {
            true => Err(TokenKeysError::Unusable),
            false => Ok(Self(keys)),
        }
    }

    /// Verifies the signature of a token by the key that it names, or by any if it names none, and
    /// gives its claims.
    ///
    /// # Errors
    /// [`Unauthentic`] for whatever is wrong with it.
    pub fn verify(&self, token: &str) -> Result<Map<String, Value>, Unauthentic> {
        let header = decode_header(token).map_err(|_| Unauthentic)?;
        if !ALGORITHMS.contains(&header.alg) || header.crit.is_some() {
            return Err(Unauthentic);
        }
        let mut validation = Validation::new(header.alg);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let named = |id: &Option<String>| header.kid.is_none() || *id == header.kid;
        let mut keys = self.0.iter().filter(|(id, _)| named(id));
        let claims = keys.find_map(|(_, key)| decode(token, key, &validation).ok());
        claims.map(|token| token.claims).ok_or(Unauthentic)
    }
}

fn usable(key: &Jwk) -> Option<(Option<String>, DecodingKey)> {
    let is_for_signatures = match &key.common.public_key_use {
        None | Some(PublicKeyUse::Signature) => true,
        Some(_) => false,
    };
    let is_public = !matches!(key.algorithm, AlgorithmParameters::OctetKey(_));
    let decoding = DecodingKey::from_jwk(key).ok();
    let usable = decoding.filter(|_| is_for_signatures && is_public)?;
    Some((key.common.key_id.clone(), usable))
}

/// The claims of a token that nothing vouches for: to find out whose keys to verify it with.
pub fn unverified_claims(token: &str) -> Option<Map<String, Value>> {
    let decoded = dangerous::insecure_decode(token).ok()?;
    Some(decoded.claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515, appendix A.2: a token under RS256, and its key.
    const RSA_TOKEN: &str = concat!(
        "eyJhbGciOiJSUzI1NiJ9.",
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5",
        "jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb",
        "1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QO",
        "YEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    );
    const RSA_KEY: &str = r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#;
    /// RFC 7515, appendix A.3: ES256.
    const EC_TOKEN: &str = concat!(
        "eyJhbGciOiJFUzI1NiJ9.",
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    );
    const EC_KEY: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    /// RFC 7515, appendix A.1: under a shared secret.
    const HMAC_TOKEN: &str = concat!(
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.",
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    );

    fn keys(keys: &[&str]) -> TokenKeys {
        TokenKeys::parse(&format!(r#"{{"keys":[{}]}}"#, keys.join(","))).unwrap()
    }

    #[test]
    fn the_tokens_of_the_standard_verify() {
        let both = keys(&[EC_KEY, RSA_KEY]);
        for token in [RSA_TOKEN, EC_TOKEN] {
            let claims = both.verify(token).unwrap();
            assert_eq!(claims["iss"], "joe");
            assert_eq!(unverified_claims(token).unwrap(), claims);
        }
        assert_eq!(keys(&[RSA_KEY]).verify(EC_TOKEN), Err(Unauthentic));
        assert_eq!(keys(&[EC_KEY]).verify(RSA_TOKEN), Err(Unauthentic));
    }

    #[test]
    fn no_altered_token_verifies() {
        let both = keys(&[EC_KEY, RSA_KEY]);
        for token in [RSA_TOKEN, EC_TOKEN] {
            for at in 0..token.len() {
                let mut altered = token.as_bytes().to_vec();
                altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
                let altered = String::from_utf8(altered).unwrap();
                assert_eq!(both.verify(&altered), Err(Unauthentic), "{at}");
            }
        }
    }

    #[test]
    fn tokens_that_anybody_could_make_are_refused() {
        let both = keys(&[EC_KEY, RSA_KEY]);
        assert_eq!(both.verify(HMAC_TOKEN), Err(Unauthentic));
        // {"alg":"none"}
        let (_, rest) = EC_TOKEN.split_once('.').unwrap();
        let (body, _) = rest.split_once('.').unwrap();
        for token in [
            format!("eyJhbGciOiJub25lIn0.{body}."),
            format!("eyJhbGciOiJub25lIn0.{body}"),
            body.to_owned(),
            String::new(),
        ] {
            assert_eq!(both.verify(&token), Err(Unauthentic), "{token}");
        }
    }

    #[test]
    fn a_key_is_looked_for_by_its_id() {
        let named = RSA_KEY.replacen('{', r#"{"kid":"one","#, 1);
        // The token names none: every key is tried.
        assert!(keys(&[&named]).verify(RSA_TOKEN).is_ok());
        let other = RSA_KEY.replacen('{', r#"{"use":"enc","#, 1);
        let refused = TokenKeys::parse(&format!(r#"{{"keys":[{other}]}}"#));
        assert_eq!(refused.err(), Some(TokenKeysError::Unusable));
    }

    #[test]
    fn what_is_no_set_of_public_keys_is_refused() {
        for (text, error) in [
            ("", TokenKeysError::Malformed),
            ("[]", TokenKeysError::Malformed),
            (r#"{"keys":{}}"#, TokenKeysError::Malformed),
            (r#"{"keys":[{"kty":"RSA"}]}"#, TokenKeysError::Malformed),
            (r#"{"keys":[]}"#, TokenKeysError::Unusable),
            (
                r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#,
                TokenKeysError::Private,
            ),
            (
                r#"{"keys":[{"kty":"EC","crv":"P-256","x":"","y":"","d":""}]}"#,
                TokenKeysError::Private,
            ),
        ] {
            assert_eq!(TokenKeys::parse(text).err(), Some(error), "{text}");
        }
        let long = " ".repeat(KEYS_BYTES_MAX + 1);
        assert_eq!(TokenKeys::parse(&long).err(), Some(TokenKeysError::TooLong));
    }
}
