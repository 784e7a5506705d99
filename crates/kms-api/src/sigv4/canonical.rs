//! The canonical request: one text for all the ways in which HTTP can spell a request.

use super::{SignedRequest, split};
use memchr::memchr;
use std::fmt::Write as _;
use waxseal_core::crypto::hash::sha256;

/// How a path is brought into its one form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paths {
    /// Empty, `.` and `..` segments resolved, then percent-encoded once more: every service but
    /// Amazon S3.
    Normalized,
    /// Percent-encoded once more as it is.
    AsGiven,
}

/// The canonical request. `names` are the signed headers, in lower case and sorted, with `;` between them.
pub(super) fn request(request: SignedRequest<'_>, names: &str, paths: Paths) -> String {
    let mut text = String::with_capacity(1024);
    text.push_str(request.method);
    text.push('\n');
    path(request.path, paths, &mut text);
    text.push('\n');
    query(request.query, &mut text);
    text.push('\n');
    for name in split(names, b';') {
        header(request, name, &mut text);
    }
    text.push('\n');
    text.push_str(names);
    text.push('\n');
    // S3's clients leave the payload to TLS (S3 API reference, "Signature calculations").
    let payload = request.values("x-amz-content-sha256").next();
    match payload {
        Some(UNSIGNED) if paths == Paths::AsGiven && request.body.is_empty() => {
            text.push_str(UNSIGNED);
        }
        _ => text.push_str(hex(&sha256(&[request.body])).as_str()),
    }
    text
}

const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8; 32]) -> Ascii<64> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 64];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    Ascii(digits)
}

/// Characters of ASCII, as many as there always are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ascii<const N: usize>(pub(super) [u8; N]);

impl<const N: usize> Ascii<N> {
    pub(super) fn as_str(&self) -> &str {
        // Made of nothing else.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl<const N: usize> std::fmt::Display for Ascii<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

fn path(path: &str, paths: Paths, text: &mut String) {
    if paths == Paths::AsGiven {
        let path = if path.is_empty() { "/" } else { path };
        return path.bytes().for_each(|byte| match byte {
            b'/' => text.push('/'),
            other => encoded(other, text),
        });
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    for segment in &segments {
        text.push('/');
        segment.bytes().for_each(|byte| encoded(byte, text));
    }
    let ends_open = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
    if segments.is_empty() || ends_open {
        text.push('/');
    }
}

fn query(query: &str, text: &mut String) {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (recoded(name), recoded(value))
        })
        .collect();
    pairs.sort();
    for (at, (name, value)) in pairs.iter().enumerate() {
        let before = if at == 0 { "" } else { "&" };
        let _ = write!(text, "{before}{name}={value}");
    }
}

/// `name:value,value`, blanks around values removed and runs of blanks made one.
fn header(request: SignedRequest<'_>, name: &str, text: &mut String) {
    text.push_str(name);
    text.push(':');
    for (at, value) in request.values(name).enumerate() {
        if at > 0 {
            text.push(',');
        }
        if memchr(b' ', value.as_bytes()).is_none() {
            text.push_str(value);
            continue;
        }
        let mut words = value.split(' ').filter(|word| !word.is_empty());
        if let Some(first) = words.next() {
            text.push_str(first);
        }
        for word in words {
            text.push(' ');
            text.push_str(word);
        }
    }
    text.push('\n');
}

/// Percent-decoded and encoded again, in the one way that counts.
fn recoded(part: &str) -> String {
    let bytes = part.as_bytes();
    let (mut at, mut text) = (0, String::with_capacity(bytes.len()));
    while at < bytes.len() {
        let escaped = part.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let decoded = escaped.and_then(|digits| {
            let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            plain.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
        });
        encoded(decoded.unwrap_or(bytes[at]), &mut text);
        at += if decoded.is_some() { 3 } else { 1 };
    }
    text
}

/// RFC 3986: unreserved characters stay, everything else becomes `%XX`.
fn encoded(byte: u8, text: &mut String) {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            text.push(char::from(byte));
        }
        other => {
            let _ = write!(text, "%{other:02X}");
        }
    }
}
