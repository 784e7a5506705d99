//! Limits at both sides of their edges, and errors that are told apart.
#![allow(clippy::unwrap_used, reason = "test code")]

mod message_support;

use message_support::*;
use std::io::{self, Read, Write};
use std::num::NonZeroU32;
use waxseal::message::{
    self, FRAME_BYTES_MAX_DEFAULT, Incoming, Limits, OpenError, OpenOptions, Release, SealError,
    SealOptions, Sealer, Suite, seal_stream,
};
use waxseal::{
    DataKey, EncryptedDataKey, EncryptionContext, Keyring, KeyringError, SecretBytes, SystemEntropy,
};
use waxseal_core::context::CONTEXT_BYTES_MAX;
use waxseal_core::keyring::{BoxFuture, Generated, Unwrapped};

fn new_sealer(keyring: &dyn Keyring, options: SealOptions) -> Result<Sealer, SealError> {
    pollster::block_on(Sealer::new(keyring, options, &SystemEntropy))
}

fn with_context(suite: Suite, name: &str, value: &str) -> SealOptions {
    let mut context = EncryptionContext::new();
    context.insert(name, value).unwrap();
    SealOptions {
        suite,
        context,
        ..SealOptions::default()
    }
}

#[test]
fn frames_that_are_written() {
    let options = |bytes| SealOptions {
        frame_bytes: NonZeroU32::new(bytes).unwrap(),
        ..SealOptions::default()
    };
    let max = FRAME_BYTES_MAX_DEFAULT as u32;
    assert!(new_sealer(&keyring(), options(max)).is_ok());
    for over in [max + 1, u32::MAX] {
        assert!(matches!(
            new_sealer(&keyring(), options(over)),
            Err(SealError::FrameBytes { bytes, .. }) if bytes == over
        ));
    }
}

#[test]
fn frames_that_are_read() {
    let limits = Limits {
        frame_bytes_max: 100,
        ..Limits::default()
    };
    let open = |frame_bytes, count| {
        let message = seal(Suite::COMMITTING, frame_bytes, &pattern(count));
        let mut out = Vec::new();
        open_into(&message[..], &limits, &mut out).map(|_| out.len())
    };
    assert_eq!(open(100, 250).unwrap(), 250);
    assert!(matches!(
        open(101, 250),
        Err(OpenError::Limit {
            value: 101,
            max: 100,
            ..
        })
    ));
    // What counts is the frames that are there.
    assert_eq!(open(101, 100).unwrap(), 100);
    assert!(matches!(
        open(101, 101),
        Err(OpenError::Limit {
            value: 101,
            max: 100,
            ..
        })
    ));
    assert_eq!(open(60_000_000, 100).unwrap(), 100);
}

#[test]
fn headers_that_are_read() {
    let message = seal(Suite::COMMITTING, 64, b"text");
    let header_bytes = message.len() - 44;
    for (header_bytes_max, fits) in [(header_bytes, true), (header_bytes - 1, false), (0, false)] {
        let limits = Limits {
            header_bytes_max,
            ..Limits::default()
        };
        match Incoming::read(&message[..], &limits) {
            Ok(incoming) => assert!(fits && incoming.header().header_bytes() == header_bytes),
            Err(error) => assert!(!fits && matches!(error, OpenError::Limit { .. }), "{error}"),
        }
    }
    for (encrypted_data_keys_max, fits) in [(1, true), (0, false)] {
        let limits = Limits {
            encrypted_data_keys_max,
            ..Limits::default()
        };
        assert_eq!(Incoming::read(&message[..], &limits).is_ok(), fits);
    }
}

#[test]
fn contexts_that_are_written() {
    let fits = "v".repeat(CONTEXT_BYTES_MAX - 2 - 4 - 1);
    let over = format!("{fits}v");
    let try_one = |suite, value: &str| new_sealer(&keyring(), with_context(suite, "n", value));
    assert!(try_one(Suite::COMMITTING, &fits).is_ok());
    assert!(matches!(
        try_one(Suite::COMMITTING, &over),
        Err(SealError::Context(_))
    ));
    // The public key takes 4 + 21 + 68 bytes.
    let signed = &fits[..fits.len() - 93];
    assert!(try_one(Suite::COMMITTING_SIGNED, signed).is_ok());
    assert!(matches!(
        try_one(Suite::COMMITTING_SIGNED, &fits[..signed.len() + 1]),
        Err(SealError::Context(_))
    ));
}

#[test]
fn reserved_names() {
    for suite in COMMITTING {
        for name in ["aws-crypto-", "aws-crypto-public-key", "aws-crypto-x"] {
            assert!(matches!(
                new_sealer(&keyring(), with_context(suite, name, "")),
                Err(SealError::ReservedContext(refused)) if refused == name
            ));
        }
        for name in ["aws-crypto", "AWS-crypto-x", "x-aws-crypto-"] {
            assert!(new_sealer(&keyring(), with_context(suite, name, "")).is_ok());
        }
    }
}

/// Answers as it is told to.
struct Scripted {
    key_bytes: usize,
    encrypted: Vec<EncryptedDataKey>,
    unwrapped: fn() -> Result<Unwrapped, KeyringError>,
}

fn not_mine() -> Result<Unwrapped, KeyringError> {
    Ok(Unwrapped::NotMine)
}

impl Scripted {
    fn generating(key_bytes: usize, encrypted: Vec<EncryptedDataKey>) -> Self {
        Self {
            key_bytes,
            encrypted,
            unwrapped: not_mine,
        }
    }

    fn unwrapping(unwrapped: fn() -> Result<Unwrapped, KeyringError>) -> Self {
        Self {
            key_bytes: 32,
            encrypted: vec![],
            unwrapped,
        }
    }
}

impl Keyring for Scripted {
    fn generate<'a>(
        &'a self,
        _: usize,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
        Box::pin(async {
            Ok(Generated {
                key: DataKey::new(SecretBytes::zeroed(self.key_bytes)),
                encrypted: self.encrypted.clone(),
            })
        })
    }

    fn wrap<'a>(
        &'a self,
        _: &'a DataKey,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>> {
        unreachable!("a message asks for fresh keys")
    }

    fn unwrap<'a>(
        &'a self,
        _: &'a EncryptedDataKey,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>> {
        Box::pin(async { (self.unwrapped)() })
    }
}

#[test]
fn keyrings_that_give_too_much_or_too_little() {
    let try_keys = |keys| new_sealer(&Scripted::generating(32, keys), SealOptions::default());
    let some = |count, bytes| vec![EncryptedDataKey::bare(vec![0; bytes]); count];
    assert!(try_keys(some(1, 65_535)).is_ok());
    assert!(try_keys(some(65_535, 0)).is_ok());
    assert!(matches!(
        try_keys(vec![]),
        Err(SealError::EncryptedDataKeys { count: 0 })
    ));
    assert!(matches!(
        try_keys(some(65_536, 0)),
        Err(SealError::EncryptedDataKeys { count: 65_536 })
    ));
    assert!(matches!(
        try_keys(some(1, 65_536)),
        Err(SealError::EncryptedDataKeyField { bytes: 65_536 })
    ));
    for key_bytes in [0, 16, 31, 33] {
        let keyring = Scripted::generating(key_bytes, some(1, 1));
        assert!(matches!(
            new_sealer(&keyring, SealOptions::default()),
            Err(SealError::DataKeyBytes { expected: 32, found }) if found == key_bytes
        ));
    }
}

#[test]
fn keyrings_that_do_not_open() {
    let message = seal(Suite::COMMITTING, 64, b"text");
    let open = |unwrapped| {
        let keyring = Scripted::unwrapping(unwrapped);
        pollster::block_on(message::decrypt(
            &keyring,
            &message,
            &OpenOptions::default(),
        ))
        .map(|_| ())
        .unwrap_err()
    };
    let error = open(not_mine);
    assert!(
        error
            .to_string()
            .ends_with("ns name: no keyring given holds this key"),
        "{error}"
    );
    let failure = |error| match error {
        OpenError::NoDataKey(attempts) => match &attempts[..] {
            [attempt] => attempt.failures.first().cloned(),
            _ => None,
        },
        _ => None,
    };
    assert_eq!(failure(error), None);
    let denied = || {
        Err(KeyringError::AccessDenied {
            key: "k".into(),
            reason: "no".into(),
        })
    };
    assert!(matches!(
        failure(open(denied)),
        Some(KeyringError::AccessDenied { .. })
    ));
    let short = || Ok(Unwrapped::Key(DataKey::new(SecretBytes::zeroed(16))));
    assert!(matches!(
        failure(open(short)),
        Some(KeyringError::Limit { .. })
    ));
    // A key of the right length that is not the one committed to.
    let other = || Ok(Unwrapped::Key(DataKey::new(SecretBytes::zeroed(32))));
    assert!(matches!(open(other), OpenError::Unauthentic));
    let wrong = pollster::block_on(message::decrypt(
        &keyring_of(8),
        &message,
        &OpenOptions::default(),
    ));
    assert!(matches!(
        failure(wrong.unwrap_err()),
        Some(KeyringError::Unauthentic { .. })
    ));
}

#[test]
fn a_signed_message_is_not_released_as_verified() {
    let message = seal(Suite::COMMITTING_SIGNED, 64, b"text");
    let incoming = Incoming::read(&message[..], &Limits::default()).unwrap();
    let opener = pollster::block_on(incoming.open(&keyring(), &OpenOptions::default())).unwrap();
    let mut out = Vec::new();
    let refused = opener.open_stream(&mut out, Release::Verified);
    assert!(matches!(refused, Err(OpenError::SignedRelease)));
    assert!(out.is_empty());
}

#[test]
fn required_pairs_must_be_there() {
    let message = seal(Suite::COMMITTING, 64, b"text");
    for (name, value, fits) in [
        ("purpose", "test", true),
        ("purpose", "Test", false),
        ("purpose", "", false),
        ("other", "", false),
    ] {
        let mut options = OpenOptions::default();
        options.required_context.insert(name, value).unwrap();
        match pollster::block_on(message::decrypt(&keyring(), &message, &options)) {
            Ok(_) => assert!(fits),
            Err(error) => {
                assert!(
                    !fits && matches!(error, OpenError::ContextMismatch { .. }),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn other_versions() {
    let error = Incoming::read(&b"hello"[..], &Limits::default()).unwrap_err();
    assert!(matches!(error, OpenError::UnsupportedVersion(b'h')));
    let error = Incoming::read(&b""[..], &Limits::default()).unwrap_err();
    assert!(matches!(error, OpenError::Truncated));
}

/// Fails after so many bytes.
struct Failing(usize);

impl Failing {
    fn spend(&mut self, bytes: usize) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::other("broken"));
        }
        let spent = bytes.min(self.0);
        self.0 -= spent;
        Ok(spent)
    }
}

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.spend(buffer.len())
    }
}

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.spend(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes nothing.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Ok(0)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn reading_and_writing_fail_each_by_name() {
    let suite = Suite::COMMITTING;
    for after in [0, 1, 64, 5000, 2_000_000] {
        let sealed = seal_stream(sealer(suite, 64), &mut Failing(after), &mut io::sink());
        assert!(matches!(sealed, Err(SealError::Read(_))), "{after}");
    }
    let plaintext = pattern(200_000);
    let message = seal(suite, 64, &plaintext);
    for after in [0, 1, 64, 5000, 200_000 - 1] {
        let sealed = seal_stream(sealer(suite, 64), &mut &plaintext[..], &mut Failing(after));
        assert!(matches!(sealed, Err(SealError::Write(_))), "{after}");
        let opened = open_into(&message[..], &Limits::default(), &mut Failing(after));
        assert!(matches!(opened, Err(OpenError::Write(_))), "{after}");
        let reader = (&message[..after]).chain(Failing(0));
        let opened = open_into(reader, &Limits::default(), &mut io::sink());
        assert!(matches!(opened, Err(OpenError::Read(_))), "{after}");
    }
    let sealed = seal_stream(sealer(suite, 64), &mut &plaintext[..], &mut Full);
    assert!(matches!(sealed, Err(SealError::Write(_))));
    let opened = open_into(&message[..], &Limits::default(), &mut Full);
    assert!(matches!(opened, Err(OpenError::Write(_))));
}

/// Breaks the contract of its trait.
struct Boaster;

impl Read for Boaster {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(buffer.len() + 1)
    }
}

#[test]
fn a_reader_that_overstates_is_refused() {
    let sealed = seal_stream(sealer(Suite::COMMITTING, 64), &mut Boaster, &mut io::sink());
    assert!(matches!(sealed, Err(SealError::Read(_))));
    assert!(Incoming::read(Boaster, &Limits::default()).is_err());
    let message = seal(Suite::COMMITTING, 64, &pattern(100_000));
    let reader = (&message[..50_000]).chain(Boaster);
    let opened = open_into(reader, &Limits::default(), &mut io::sink());
    assert!(matches!(opened, Err(OpenError::Read(_))));
}
