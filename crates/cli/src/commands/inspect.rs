//! `waxseal inspect`: everything a header says, without any key.

use super::blob::{BlobFacts, blob_facts};
use super::{Session, decrypt};
use crate::args::{Format, Inspect};
use crate::failure::Failure;
use crate::input::{Input, Whole};
use crate::terminal::plain;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use waxseal::message::{Header, Incoming, Limits};
use waxseal::{EncryptedDataKey, direct, secretbox};

/// Provider parameters behind the name of a raw AES key: tag bits, nonce length, nonce.
const RAW_AES_PARAMETERS_BYTES: usize = 4 + 4 + 12;

/// Runs the command.
pub(super) fn run(args: &Inspect, session: &Session) -> Result<(), Failure> {
    let mut input = Input::open(args.input.as_deref())?;
    let (format, base64) = decrypt::recognised(&mut input, None)?;
    let (file, name, bytes) = (input.label.clone(), input.name.clone(), input.bytes);
    let reader = match base64 {
        true => input.into_base64_reader(),
        false => input.into_reader(),
    };
    let bytes = bytes.filter(|_| !base64);
    let facts = match format {
        Format::Message => message(reader, &name, bytes)?,
        Format::Direct => direct_blob(reader, &name)?,
        Format::Secretbox => payload(reader, &name, bytes)?,
    };
    let seen = Seen {
        file,
        base64,
        authenticated: false,
        facts,
    };
    match session.report.json {
        true => session.report.item(&seen, false),
        false => print(&seen)?,
    }
    Ok(())
}

/// What was seen in one file.
#[derive(Serialize)]
struct Seen {
    file: String,
    base64: bool,
    /// Never: that takes a key.
    authenticated: bool,
    #[serde(flatten)]
    facts: Facts,
}

#[derive(Serialize)]
#[serde(tag = "format", rename_all = "lowercase")]
enum Facts {
    Message(Box<MessageFacts>),
    Direct {
        ciphertext_bytes: u64,
        blob: Option<BlobFacts>,
    },
    Secretbox {
        algorithm: &'static str,
        wrapped_key_bytes: u64,
        wrapped_key: Option<BlobFacts>,
        nonce: String,
        ciphertext_bytes: u64,
        plaintext_bytes: u64,
    },
}

#[derive(Serialize)]
struct MessageFacts {
    version: u8,
    suite: String,
    suite_name: &'static str,
    signed: bool,
    message_id: String,
    encrypted_data_keys: Vec<WrappedKey>,
    context: BTreeMap<String, String>,
    frame_bytes: Option<u32>,
    header_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    body: Option<Body>,
}

/// What the length of a message says about its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Body {
    pub(super) frames: u64,
    pub(super) plaintext_bytes: u64,
}

#[derive(Serialize)]
struct WrappedKey {
    provider: String,
    key: String,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    blob: Option<BlobFacts>,
}

fn message(reader: impl Read, name: &str, bytes: Option<u64>) -> Result<Facts, Failure> {
    let mut counted = Counted { reader, bytes: 0 };
    let incoming = Incoming::read(&mut counted, &Limits::default());
    let header = incoming.map_err(|error| Failure::opening(error, name, ""))?;
    let header = header.header().clone();
    // The length of a regular file is known; of anything else it is found out by reading on.
    let bytes = match bytes {
        Some(bytes) => bytes,
        None => {
            let rest = std::io::copy(&mut counted, &mut std::io::sink());
            rest.map_err(|error| Failure::reading(name, &error))?;
            counted.bytes
        }
    };
    let suite = header.suite();
    Ok(Facts::Message(Box::new(MessageFacts {
        version: header.version(),
        suite: format!("0x{:04x}", suite.id()),
        suite_name: suite.name(),
        signed: suite.is_signed(),
        message_id: hex::encode(header.message_id()),
        encrypted_data_keys: header.encrypted_data_keys().iter().map(wrapped).collect(),
        context: pairs(&header),
        frame_bytes: header.frame_bytes().map(std::num::NonZeroU32::get),
        header_bytes: header.header_bytes() as u64,
        ciphertext_bytes: Some(bytes),
        body: body_of(&header, bytes),
    })))
}

fn pairs(header: &Header) -> BTreeMap<String, String> {
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    header.context().iter().map(own).collect()
}

/// The body of a message of `message_bytes` bytes; `None` when no message has that length.
/// (AWS Encryption SDK specification, `data-format/message-body.md` and `message-footer.md`.)
///
/// ```text
/// regular frame   sequence 4 | nonce 12 | text L | tag 16
/// final frame     ffffffff 4 | sequence 4 | nonce 12 | length 4 | text 0…L | tag 16
/// no frames       nonce 12 | length 8 | text | tag 16
/// footer          length 2 | signature 71 or 103, when the suite signs
/// ```
pub(super) fn body_of(header: &Header, message_bytes: u64) -> Option<Body> {
    let footer_bytes = header.suite().footer_bytes() as u64;
    let outside = header.header_bytes() as u64 + footer_bytes;
    let body_bytes = message_bytes.checked_sub(outside)?;
    let frame_bytes = header.frame_bytes().map(|bytes| u64::from(bytes.get()));
    body_of_bytes(frame_bytes, body_bytes)
}

fn body_of_bytes(frame_bytes: Option<u64>, body_bytes: u64) -> Option<Body> {
    let Some(frame_bytes) = frame_bytes else {
        let plaintext_bytes = body_bytes.checked_sub(12 + 8 + 16)?;
        return Some(Body {
            frames: 1,
            plaintext_bytes,
        });
    };
    let behind = body_bytes.checked_sub(4 + 4 + 12 + 4 + 16)?;
    let regular = behind / (frame_bytes + 32);
    let final_bytes = behind % (frame_bytes + 32);
    (final_bytes <= frame_bytes).then_some(Body {
        frames: regular + 1,
        plaintext_bytes: regular * frame_bytes + final_bytes,
    })
}

fn wrapped(encrypted: &EncryptedDataKey) -> WrappedKey {
    let info = &encrypted.provider_info;
    let name = match encrypted.is_self_describing() {
        true => &info[..],
        false => raw_key_name(info),
    };
    WrappedKey {
        provider: encrypted.provider_id.clone(),
        key: String::from_utf8_lossy(name).into_owned(),
        bytes: encrypted.ciphertext.len() as u64,
        blob: encrypted
            .is_self_describing()
            .then(|| blob_facts(&encrypted.ciphertext))
            .flatten(),
    }
}

/// The name of a raw AES key stands before its parameters; that of a raw RSA key stands alone.
/// (AWS Encryption SDK specification, `framework/raw-aes-keyring.md`.)
fn raw_key_name(info: &[u8]) -> &[u8] {
    match info.len().checked_sub(RAW_AES_PARAMETERS_BYTES) {
        Some(at) if info[at..].starts_with(&[0, 0, 0, 128, 0, 0, 0, 12]) => &info[..at],
        _ => info,
    }
}

fn direct_blob(reader: impl Read, name: &str) -> Result<Facts, Failure> {
    let blob = whole(reader, name, None, direct::BLOB_BYTES_MAX as u64)?;
    Ok(Facts::Direct {
        ciphertext_bytes: blob.expose().len() as u64,
        blob: blob_facts(blob.expose()),
    })
}

fn payload(reader: impl Read, name: &str, bytes: Option<u64>) -> Result<Facts, Failure> {
    let limits = secretbox::Limits::default();
    let whole = whole(reader, name, bytes, limits.payload_bytes_max())?;
    let payload = secretbox::PayloadRef::decode(whole.expose(), &limits);
    let payload = payload.map_err(|error| Failure::secretbox(error.into()))?;
    Ok(Facts::Secretbox {
        algorithm: "XSalsa20-Poly1305",
        wrapped_key_bytes: payload.key.len() as u64,
        wrapped_key: blob_facts(payload.key),
        nonce: hex::encode(payload.nonce),
        ciphertext_bytes: whole.expose().len() as u64,
        plaintext_bytes: payload.plaintext_bytes() as u64,
    })
}

fn whole(
    reader: impl Read,
    name: &str,
    bytes: Option<u64>,
    bytes_max: u64,
) -> Result<Whole, Failure> {
    let read = Whole::read(reader, bytes, bytes_max);
    let read = read.map_err(|error| Failure::reading(name, &error))?;
    read.ok_or_else(|| {
        Failure::policy(
            format!("{name} is longer than its format may be: {bytes_max} bytes"),
            "check that this is what you meant",
        )
    })
}

/// Counts what is read.
struct Counted<R> {
    reader: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let bytes = self.reader.read(buffer)?;
        self.bytes += bytes as u64;
        Ok(bytes)
    }
}

fn print(seen: &Seen) -> Result<(), Failure> {
    let mut lines = Lines(String::new());
    lines.say("file", &seen.file);
    lines.describe(&seen.facts, seen.base64);
    let written = std::io::stdout().lock().write_all(lines.0.as_bytes());
    written.map_err(|error| Failure::io("write", "stdout", &error))
}

/// `name  value` in two columns, everything escaped that could play with a terminal.
struct Lines(String);

impl Lines {
    fn say(&mut self, name: &str, value: impl std::fmt::Display) {
        let value = value.to_string();
        let _ = writeln!(self.0, "{:<20} {}", plain(name), plain(&value));
    }

    fn describe(&mut self, facts: &Facts, base64: bool) {
        let encoding = if base64 { ", in base64" } else { "" };
        match facts {
            Facts::Message(facts) => {
                let version = facts.version;
                let kind = format!("message (AWS Encryption SDK, version {version}){encoding}");
                self.say("format", kind);
                self.message(facts);
            }
            Facts::Direct {
                ciphertext_bytes,
                blob,
            } => {
                self.say("format", format!("direct (KMS ciphertext blob){encoding}"));
                self.say("ciphertext", format!("{ciphertext_bytes} bytes"));
                let plaintext_bytes = blob.as_ref().and_then(|blob| blob.plaintext_bytes);
                if let Some(plaintext_bytes) = plaintext_bytes {
                    self.say("plaintext", format!("{plaintext_bytes} bytes"));
                }
                self.blob("", blob.as_ref());
            }
            Facts::Secretbox {
                algorithm,
                wrapped_key_bytes,
                wrapped_key,
                nonce,
                ciphertext_bytes,
                plaintext_bytes,
            } => {
                self.say("format", format!("secretbox (Go gob payload){encoding}"));
                self.say("algorithm", algorithm);
                self.say("encrypted data key", format!("{wrapped_key_bytes} bytes"));
                self.blob("  ", wrapped_key.as_ref());
                self.say("nonce", nonce);
                self.say("ciphertext", format!("{ciphertext_bytes} bytes"));
                self.say("plaintext", format!("{plaintext_bytes} bytes"));
            }
        }
        self.say(
            "authenticated",
            "no: nothing above was verified, which takes a key",
        );
    }

    fn message(&mut self, facts: &MessageFacts) {
        self.say("suite", format!("{} {}", facts.suite, facts.suite_name));
        self.say("signed", if facts.signed { "yes" } else { "no" });
        self.say("message id", &facts.message_id);
        self.say("encrypted data keys", facts.encrypted_data_keys.len());
        for key in &facts.encrypted_data_keys {
            let (provider, name, bytes) = (&key.provider, &key.key, key.bytes);
            self.say("  provider", provider);
            self.say("  key", name);
            self.say("  length", format!("{bytes} bytes"));
            self.blob("  ", key.blob.as_ref());
        }
        match facts.context.len() {
            0 => self.say("context", "none"),
            pairs => self.say("context", pairs),
        }
        for (name, value) in &facts.context {
            let _ = writeln!(self.0, "  {}={}", plain(name), plain(value));
        }
        match facts.frame_bytes {
            Some(bytes) => self.say("frame length", format!("{bytes} bytes")),
            None => self.say("frame length", "no frames"),
        }
        self.say("header", format!("{} bytes", facts.header_bytes));
        if let Some(bytes) = facts.ciphertext_bytes {
            self.say("ciphertext", format!("{bytes} bytes"));
        }
        match facts.body {
            Some(body) => {
                self.say("frames", body.frames);
                self.say("plaintext", format!("{} bytes", body.plaintext_bytes));
            }
            None => self.say("plaintext", "unknown: no whole message has this length"),
        }
    }

    fn blob(&mut self, indent: &str, facts: Option<&BlobFacts>) {
        let Some(facts) = facts else {
            return;
        };
        self.say(&format!("{indent}made by"), facts.kms);
        if let Some(id) = &facts.key_id {
            self.say(&format!("{indent}key id"), id);
        }
        if let Some(version) = facts.backing_key_version {
            self.say(&format!("{indent}key version"), version);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_says_how_long_the_plaintext_is() {
        for frame_bytes in [1_u64, 10, 4096] {
            for plaintext_bytes in [0, 1, 9, 10, 11, 20, 4095, 4096, 4097, 100_000] {
                // A writer ends with a frame that is empty, partial or full.
                for empty_end in [false, true] {
                    let whole = plaintext_bytes / frame_bytes;
                    let regular = match plaintext_bytes % frame_bytes {
                        0 if !empty_end && whole > 0 => whole - 1,
                        _ => whole,
                    };
                    let body_bytes = plaintext_bytes + 32 * (regular + 1) + 8;
                    let body = body_of_bytes(Some(frame_bytes), body_bytes).unwrap();
                    assert_eq!(body.plaintext_bytes, plaintext_bytes);
                    assert_eq!(body.frames, regular + 1);
                }
            }
        }
        assert_eq!(body_of_bytes(Some(10), 39), None);
        assert_eq!(body_of_bytes(Some(10), 40 + 11), None);
        let unframed = body_of_bytes(None, 36 + 5).unwrap();
        assert_eq!((unframed.frames, unframed.plaintext_bytes), (1, 5));
        assert_eq!(body_of_bytes(None, 35), None);
    }

    #[test]
    fn raw_names_lose_their_parameters() {
        let mut info = b"key".to_vec();
        info.extend([0, 0, 0, 128, 0, 0, 0, 12]);
        info.extend([9; 12]);
        assert_eq!(raw_key_name(&info), b"key");
        assert_eq!(raw_key_name(b"an RSA key"), b"an RSA key");
    }
}
