//! `raw-aes:FILE?namespace=NS&name=NAME`: a wrapping key that is a file.

use super::uri::Uri;
use super::{NAMESPACE_DEFAULT, file};
use crate::failure::Failure;
use crate::world::World;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::path::Path;
use waxseal_core::SecretBytes;
use waxseal_core::keyring::RawAesKeyring;

/// The longest file that can hold a raw key: 64 hexadecimal digits and room for white space.
const KEY_FILE_BYTES_MAX: usize = 256;

/// The keyring that is typed so.
pub(super) fn keyring(typed: &str, world: &World) -> Result<RawAesKeyring, Failure> {
    let form = "raw-aes:FILE?namespace=NS&name=NAME";
    let uri = Uri::parse(typed, &["namespace", "name"], form)?;
    let path = Path::new(uri.path());
    let name = match uri.value("name") {
        Some(name) => name.to_owned(),
        None => (path.file_name())
            .map(|name| name.to_string_lossy().into())
            .unwrap_or_default(),
    };
    let namespace = uri.value("namespace").unwrap_or(NAMESPACE_DEFAULT);
    let content = file::head_of(path, KEY_FILE_BYTES_MAX)?;
    let key = key_in(content.expose()).ok_or_else(|| {
        Failure::configuration(
            format!("the key file {} holds no AES key", path.display()),
            "it must hold 16, 24 or 32 raw bytes, or their hex or base64",
        )
    })?;
    RawAesKeyring::new(namespace, name, &key, world.entropy.clone())
        .map_err(|error| Failure::usage(error.to_string(), "see waxseal --help, Keys"))
}

/// Raw bytes, or their hex or base64. No text form has the length of a raw form: 32 hexadecimal
/// digits are told from 32 raw bytes, and 24 and 32 base64 digits from as many raw bytes, only by
/// being text. That a random key is such text happens once in 2⁷¹ at most (24 bytes of base64
/// alphabet with padding: (65/256)²⁴ is below 2⁻⁴⁷ and the padding makes it rarer).
fn key_in(content: &[u8]) -> Option<SecretBytes> {
    let text = content.trim_ascii_end();
    let decoded = match text.len() {
        32 | 48 | 64 if text.iter().all(u8::is_ascii_hexdigit) => hex::decode(text).ok(),
        24 | 32 | 44 => STANDARD.decode(text).ok(),
        _ => None,
    };
    let decoded = decoded.map(SecretBytes::new);
    let is_key = |bytes: usize| matches!(bytes, 16 | 24 | 32);
    match decoded.filter(|key| is_key(key.len())) {
        Some(key) => Some(key),
        None => is_key(content.len()).then(|| SecretBytes::copy_of(content)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_raw_or_hex_or_base64() {
        for bytes in [16, 24, 32] {
            let raw: Vec<u8> = (0..bytes).map(|at| 200_u8.wrapping_add(at * 3)).collect();
            let forms = [
                hex::encode(&raw),
                hex::encode_upper(&raw),
                STANDARD.encode(&raw),
            ];
            assert!(key_in(&raw).unwrap().ct_eq(&raw));
            for form in forms {
                for end in ["", "\n", "\r\n"] {
                    let content = format!("{form}{end}");
                    assert!(key_in(content.as_bytes()).unwrap().ct_eq(&raw), "{content}");
                }
            }
        }
        for wrong in [&b""[..], &[7; 15], &[7; 17], &[7; 33], b"abcd", &[b'z'; 64]] {
            assert!(key_in(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn raw_bytes_that_end_like_a_line_are_still_a_key() {
        let mut raw = [0xd0; 32];
        raw[31] = b'\n';
        assert!(key_in(&raw).unwrap().ct_eq(&raw));
    }
}
