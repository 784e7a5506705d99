//! `raw-aes:FILE?namespace=NS&name=NAME`: a wrapping key that is a file.

use crate::failure::Failure;
use crate::world::World;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use waxseal_core::SecretBytes;
use waxseal_core::keyring::RawAesKeyring;

/// The namespace of raw AES keys that name none.
const NAMESPACE_DEFAULT: &str = "waxseal";
/// The longest file that can hold a raw key: 64 hexadecimal digits and room for white space.
const KEY_FILE_BYTES_MAX: u64 = 256;

/// `FILE?namespace=NS&name=NAME`, each part percent-encoded where it must be.
pub(super) fn keyring(uri: &str, world: &World) -> Result<RawAesKeyring, Failure> {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let path = percent_decoded(path)?;
    if path.is_empty() {
        return Err(malformed(uri));
    }
    let (mut namespace, mut name) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| malformed(uri))?;
        let place = match key {
            "namespace" => &mut namespace,
            "name" => &mut name,
            _ => return Err(malformed(uri)),
        };
        if place.replace(percent_decoded(value)?).is_some() {
            return Err(malformed(uri));
        }
    }
    let path = Path::new(&path);
    let file_name = || path.file_name().map(|name| name.to_string_lossy().into());
    let name = name.or_else(file_name).unwrap_or_default();
    let namespace = namespace.unwrap_or_else(|| NAMESPACE_DEFAULT.into());
    let key = key_of_file(path)?;
    RawAesKeyring::new(namespace, name, &key, world.entropy.clone())
        .map_err(|error| Failure::usage(error.to_string(), "see waxseal --help, Keys"))
}

fn malformed(uri: &str) -> Failure {
    Failure::usage(
        format!("'raw-aes:{uri}' is not a raw AES key"),
        "write raw-aes:FILE?namespace=NS&name=NAME, with %3F for a '?' and %25 for a '%' in a part",
    )
}

/// A part of a URI (RFC 3986, section 2.1).
fn percent_decoded(text: &str) -> Result<String, Failure> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let digits = bytes.get(at + 1..at + 3).ok_or_else(|| malformed(text))?;
            out.extend(hex::decode(digits).map_err(|_| malformed(text))?);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).map_err(|_| malformed(text))
}

fn key_of_file(path: &Path) -> Result<SecretBytes, Failure> {
    let name = path.display().to_string();
    let failed = |error: &std::io::Error| Failure {
        exit: crate::failure::Exit::Configuration,
        ..Failure::io("read the key file", &name, error)
    };
    let file = File::open(path).map_err(|error| failed(&error))?;
    let mut content = SecretBytes::zeroed(KEY_FILE_BYTES_MAX as usize);
    let mut len = 0;
    while len < content.len() {
        match (&file).read(&mut content.expose_mut()[len..]) {
            Ok(0) => break,
            Ok(bytes) => len += bytes,
            Err(error) => return Err(failed(&error)),
        }
    }
    key_in(&content.expose()[..len]).ok_or_else(|| {
        Failure::configuration(
            format!("the key file {name} holds no AES key"),
            "it must hold 16, 24 or 32 raw bytes, or their hex or base64",
        )
    })
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

    #[test]
    fn parts_are_percent_decoded() {
        assert_eq!(percent_decoded("a%20b%3f%C3%A4").unwrap(), "a b?ä");
        for wrong in ["%", "%2", "%zz", "%ff"] {
            assert!(percent_decoded(wrong).is_err(), "{wrong}");
        }
    }
}
