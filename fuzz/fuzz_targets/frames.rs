//! The body: the input is a script that builds frames, right and wrong ones, all sealed under the
//! right key, so that no tag keeps the fuzzer out. A body opens exactly when the specification says
//! so (`data-format/message-body.md`), to exactly what was put into it.
//!
//! ```text
//! script     frame length 1..=32 | framed? | frame*
//! frame      kind: regular, final, unframed, rubbish | sequence +0..3 | length | spoilt? | text
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use waxseal::message::{CommitmentPolicy, Incoming, Limits, OpenOptions, Release};
use waxseal::{DataKey, EncryptedDataKey, EncryptionContext, Keyring, KeyringError, SecretBytes};
use waxseal_core::crypto::aead::AesGcm;
use waxseal_core::keyring::{BoxFuture, Generated, Unwrapped};

/// Suite 0x0014: the message key is the data key.
const DATA_KEY: [u8; 16] = [7; 16];
const MESSAGE_ID: [u8; 16] = [0x5a; 16];

static GCM: LazyLock<AesGcm> = LazyLock::new(|| AesGcm::new(&DATA_KEY).unwrap());

fuzz_target!(|script: &[u8]| {
    let mut script = script.iter().copied();
    let mut next = || script.next();
    let (Some(length), Some(framed)) = (next(), next()) else {
        return;
    };
    let frame_bytes = if framed % 4 == 0 {
        0
    } else {
        u32::from(length % 32) + 1
    };
    let mut message = header(frame_bytes);
    let mut model = Model::new(frame_bytes);
    while let (Some(kind), Some(step), Some(length), Some(spoilt)) =
        (next(), next(), next(), next())
    {
        let number = model.expected.wrapping_add(u32::from(step % 8 / 6));
        // Mostly the right length.
        let length = match length {
            0..=31 => u32::from(length),
            _ => frame_bytes.max(1),
        };
        let text: Vec<u8> = (0..length).map(|_| next().unwrap_or(0)).collect();
        let good = spoilt < 0xf0;
        // Any IV is used as it stands.
        let iv = [spoilt % 3; 12];
        match kind % 8 {
            0..=4 => {
                frame(
                    &mut message,
                    &number.to_be_bytes(),
                    b"AWSKMSEncryptionClient Frame",
                    number,
                    iv,
                    &[],
                    &text,
                    good,
                );
                model.regular(number, &text, good);
            }
            5 => {
                let head = [[0xff; 4], number.to_be_bytes()].concat();
                let stated = length.to_be_bytes();
                frame(
                    &mut message,
                    &head,
                    b"AWSKMSEncryptionClient Final Frame",
                    number,
                    iv,
                    &stated,
                    &text,
                    good,
                );
                model.last(number, &text, good);
            }
            6 => {
                let stated = u64::from(length).to_be_bytes();
                frame(
                    &mut message,
                    &[],
                    b"AWSKMSEncryptionClient Single Block",
                    1,
                    iv,
                    &stated,
                    &text,
                    good,
                );
                model.single(&text, good);
            }
            _ => {
                message.extend(&text);
                model.rubbish(&text);
            }
        }
    }

    let options = OpenOptions {
        commitment: CommitmentPolicy::ForbidEncryptAllowDecrypt,
        ..OpenOptions::default()
    };
    let incoming = Incoming::read(&message[..], &Limits::default()).unwrap();
    let opener = pollster::block_on(incoming.open(&Given, &options)).unwrap();
    let mut out = Vec::new();
    let opened = opener.open_stream(&mut out, Release::Verified);
    match model.state {
        State::Complete => {
            opened.unwrap();
            assert_eq!(out, model.text);
        }
        State::Open => {
            opened.unwrap_err();
            assert!(model.text.starts_with(&out));
        }
        State::Broken => {
            opened.unwrap_err();
            assert!(model.text.starts_with(&out));
        }
        // Rubbish may be a frame by chance: only that nothing panics.
        State::Unknown => {}
    }
});

/// What the specification says about what was written so far.
struct Model {
    frame_bytes: u32,
    expected: u32,
    text: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Complete,
    Broken,
    Unknown,
}

impl Model {
    fn new(frame_bytes: u32) -> Self {
        Self {
            frame_bytes,
            expected: 1,
            text: Vec::new(),
            state: State::Open,
        }
    }

    /// Whether something may still follow; what follows the end is one byte too many.
    fn is_open(&mut self) -> bool {
        if self.state == State::Complete {
            self.state = State::Broken;
        }
        self.state == State::Open
    }

    fn regular(&mut self, number: u32, text: &[u8], good: bool) {
        if !self.is_open() {
            return;
        }
        if self.frame_bytes == 0 || text.len() != self.frame_bytes as usize {
            // What follows is read at other places.
            self.state = State::Unknown;
        } else if !good || number != self.expected {
            self.state = State::Broken;
        } else {
            self.text.extend(text);
            self.expected += 1;
        }
    }

    fn last(&mut self, number: u32, text: &[u8], good: bool) {
        if !self.is_open() {
            return;
        }
        if self.frame_bytes == 0 {
            self.state = State::Unknown;
        } else if !good || number != self.expected || text.len() > self.frame_bytes as usize {
            self.state = State::Broken;
        } else {
            self.text.extend(text);
            self.state = State::Complete;
        }
    }

    fn single(&mut self, text: &[u8], good: bool) {
        if !self.is_open() {
            return;
        }
        if self.frame_bytes != 0 {
            self.state = State::Unknown;
        } else if !good {
            self.state = State::Broken;
        } else {
            self.text.extend(text);
            self.state = State::Complete;
        }
    }

    fn rubbish(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() && self.is_open() {
            self.state = State::Unknown;
        }
    }
}

#[allow(clippy::too_many_arguments)]
fn frame(
    out: &mut Vec<u8>,
    head: &[u8],
    kind: &[u8],
    number: u32,
    iv: [u8; 12],
    stated: &[u8],
    text: &[u8],
    good: bool,
) {
    let mut aad = MESSAGE_ID.to_vec();
    aad.extend(kind);
    aad.extend(number.to_be_bytes());
    aad.extend((text.len() as u64).to_be_bytes());
    let mut sealed = text.to_vec();
    let mut tag = GCM.seal(iv, &aad, &mut sealed).unwrap();
    if !good {
        tag[0] ^= 1;
    }
    out.extend(head);
    out.extend(iv);
    out.extend(stated);
    out.extend(sealed);
    out.extend(tag);
}

fn header(frame_bytes: u32) -> Vec<u8> {
    let mut header = vec![1, 0x80, 0, 0x14];
    header.extend(MESSAGE_ID);
    header.extend([0, 0, 0, 1, 0, 1, b'p', 0, 1, b'i', 0, 1, b'c']);
    header.push(if frame_bytes == 0 { 1 } else { 2 });
    header.extend([0, 0, 0, 0, 12]);
    header.extend(frame_bytes.to_be_bytes());
    let tag = GCM.seal([0; 12], &header, &mut []).unwrap();
    header.extend([0; 12]);
    header.extend(tag);
    header
}

/// Gives the one data key there is.
struct Given;

impl Keyring for Given {
    fn generate<'a>(
        &'a self,
        _: usize,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
        unreachable!("nothing is sealed")
    }

    fn wrap<'a>(
        &'a self,
        _: &'a DataKey,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>> {
        unreachable!("nothing is sealed")
    }

    fn unwrap<'a>(
        &'a self,
        _: &'a EncryptedDataKey,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>> {
        Box::pin(async {
            Ok(Unwrapped::Key(DataKey::new(SecretBytes::copy_of(
                &DATA_KEY,
            ))))
        })
    }
}
