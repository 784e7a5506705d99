//! What a message claims costs no memory; only what it has does.
//!
//! A process of its own, whose peak resident size the kernel knows; and the command under a limit
//! of address space.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Read;
use waxseal::message::{CommitmentPolicy, Incoming, Limits, OpenError, OpenOptions, Release};
use waxseal_conformance::opening::GivenKey;
use waxseal_conformance::{Ran, World, promise};
use waxseal_core::crypto::aead::AesGcm;

const DATA_KEY: [u8; 32] = [7; 32];
const MESSAGE_ID: [u8; 16] = [0x5a; 16];

/// A header of suite 0x0078, whose message key is the data key itself.
struct Claim {
    encrypted_data_keys: u16,
    /// How many of them are there.
    present: u16,
    content: u8,
    frame_bytes: u32,
}

impl Claim {
    fn plain() -> Self {
        Self {
            encrypted_data_keys: 1,
            present: 1,
            content: 2,
            frame_bytes: 4096,
        }
    }

    /// The header, and its tag, which verifies.
    fn header(&self) -> Vec<u8> {
        let mut header = vec![1, 0x80, 0, 0x78];
        header.extend(MESSAGE_ID);
        header.extend([0, 0]);
        header.extend(self.encrypted_data_keys.to_be_bytes());
        for _ in 0..self.present {
            header.extend([0, 1, b'p', 0, 1, b'i', 0, 1, b'c']);
        }
        if self.present < self.encrypted_data_keys {
            return header;
        }
        header.extend([self.content, 0, 0, 0, 0, 12]);
        header.extend(self.frame_bytes.to_be_bytes());
        let tag = gcm().seal([0; 12], &header, &mut []).unwrap();
        header.extend([0; 12]);
        header.extend(tag);
        header
    }
}

fn gcm() -> AesGcm {
    AesGcm::new(&DATA_KEY).unwrap()
}

const IV: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

fn final_frame(text: &[u8]) -> Vec<u8> {
    let mut aad = MESSAGE_ID.to_vec();
    aad.extend(b"AWSKMSEncryptionClient Final Frame");
    aad.extend(1_u32.to_be_bytes());
    aad.extend((text.len() as u64).to_be_bytes());
    let mut sealed = text.to_vec();
    let tag = gcm().seal(IV, &aad, &mut sealed).unwrap();
    let mut frame = vec![0xff; 4];
    frame.extend(1_u32.to_be_bytes());
    frame.extend(IV);
    frame.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
    frame.extend(sealed);
    frame.extend(tag);
    frame
}

/// Counts what is taken from it.
struct Counted<R> {
    inner: R,
    taken: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let taken = self.inner.read(buffer)?;
        self.taken += taken as u64;
        Ok(taken)
    }
}

/// Opens; gives what came of it, and how much was read.
fn open(message: impl Read, limits: &Limits) -> (Result<Vec<u8>, OpenError>, u64) {
    let mut counted = Counted {
        inner: message,
        taken: 0,
    };
    let options = OpenOptions {
        commitment: CommitmentPolicy::RequireEncryptAllowDecrypt,
        ..OpenOptions::default()
    };
    let mut out = Vec::new();
    let keyring = GivenKey(DATA_KEY.to_vec());
    let opened = Incoming::read(&mut counted, limits)
        .and_then(|incoming| pollster::block_on(incoming.open(&keyring, &options)))
        .and_then(|opener| opener.open_stream(&mut out, Release::Verified));
    (opened.map(|_| out), counted.taken)
}

/// Peak resident size of this process so far, in bytes (proc(5), `VmHWM`).
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// Some buffers of 1 MiB, and the longest header.
const NOT_MUCH_BYTES: u64 = 8 << 20;

#[test]
fn claims_cost_nothing() {
    // What everything needs once is not counted.
    let plain = [Claim::plain().header(), final_frame(b"text")].concat();
    assert_eq!(open(&plain[..], &Limits::default()).0.unwrap(), b"text");
    let before = peak_bytes();

    // 65,535 data keys, of which none, one or many follow, and then zeros for ever.
    let mut read_most = 0;
    for present in [0, 1, 1000] {
        let header = Claim {
            encrypted_data_keys: u16::MAX,
            present,
            ..Claim::plain()
        }
        .header();
        let endless = (&header[..]).chain(std::io::repeat(0));
        let (opened, taken) = open(endless, &Limits::default());
        assert!(
            matches!(opened, Err(OpenError::Limit { .. })),
            "{:?}",
            opened.err()
        );
        read_most = read_most.max(taken);
        // With the count permitted, the length of the header still is limited.
        let limits = Limits {
            encrypted_data_keys_max: 65_535,
            ..Limits::default()
        };
        let endless = (&header[..]).chain(std::io::repeat(0));
        let (opened, taken) = open(endless, &limits);
        assert!(opened.is_err());
        assert!(taken <= 2 * limits.header_bytes_max as u64, "read {taken}");
    }
    assert!(
        read_most <= 64 * 1024,
        "read {read_most} bytes of a header that is over the limit"
    );

    // Frames of 4 GiB − 1: the message is short, and opens.
    let large = Claim {
        frame_bytes: u32::MAX,
        ..Claim::plain()
    };
    let message = [large.header(), final_frame(b"text")].concat();
    assert_eq!(open(&message[..], &Limits::default()).0.unwrap(), b"text");
    // One that begins and ends at once; and a final frame that says it is as long.
    for body in [&[0, 0, 0, 1][..], &[0xff; 4]] {
        let begun = [&large.header()[..], body, &IV, &IV].concat();
        assert!(open(&begun[..], &Limits::default()).0.is_err());
    }
    let mut claimed = [large.header(), final_frame(b"text")].concat();
    let at = claimed.len() - 16 - 4 - 4;
    claimed[at..at + 4].copy_from_slice(&u32::MAX.to_be_bytes());
    let (opened, _) = open((&claimed[..]).chain(std::io::repeat(0)), &Limits::default());
    assert!(
        matches!(opened, Err(OpenError::Limit { .. })),
        "{:?}",
        opened.err()
    );

    // A body without frames of 64 GiB, and of 2⁶⁴ − 1 bytes.
    let unframed = Claim {
        content: 1,
        frame_bytes: 0,
        ..Claim::plain()
    }
    .header();
    for bytes in [(1_u64 << 36) - 32, u64::MAX] {
        let claimed = [&unframed[..], &IV, &bytes.to_be_bytes()].concat();
        let (opened, taken) = open((&claimed[..]).chain(std::io::repeat(0)), &Limits::default());
        assert!(
            matches!(opened, Err(OpenError::Limit { .. })),
            "{:?}",
            opened.err()
        );
        // One buffer.
        assert!(taken <= 2 << 20, "read {taken}");
    }
    let grown = peak_bytes() - before;
    assert!(grown < NOT_MUCH_BYTES, "the peak grew by {grown} bytes");
    promise(
        "memory-claims",
        format!(
            "65,535 data keys, frames of 4 GiB, bodies of 64 GiB and 16 EiB: the peak grew by {} KiB",
            grown / 1024
        ),
    );
}

/// The command with little more address space than a small message needs.
#[test]
fn claims_cost_the_command_nothing() {
    let world = World::new();
    world.write("key", DATA_KEY);
    let key = "raw-aes:key?namespace=ns&name=name";
    world.write("plain", b"text");
    world.ok(&["encrypt", "-k", key, "-o", "small", "plain"], b"");
    let under = |mib: u64, input: &str| {
        let script = format!("ulimit -v {}; exec \"$0\" \"$@\"", mib << 10);
        let args = [
            "decrypt",
            "-k",
            key,
            "--commitment-policy",
            "require-encrypt-allow-decrypt",
            input,
        ];
        Ran::of(world.command_behind(&["sh", "-c", &script], &args), b"")
    };
    let mib = (1..=64)
        .map(|step| step * 16)
        .find(|mib| under(*mib, "small").code == Some(0));
    let mib = mib.expect("a small message opens in 1 GiB") + 16;
    assert!(
        mib <= 512,
        "a small message needs {mib} MiB of address space"
    );
    let keys = Claim {
        encrypted_data_keys: u16::MAX,
        present: 100,
        ..Claim::plain()
    }
    .header();
    let frames = Claim {
        frame_bytes: u32::MAX,
        ..Claim::plain()
    }
    .header();
    let unframed = Claim {
        content: 1,
        frame_bytes: 0,
        ..Claim::plain()
    }
    .header();
    let body = ((1_u64 << 36) - 32).to_be_bytes();
    for (name, message) in [
        ("keys", keys),
        (
            "frames",
            [&frames[..], &[0, 0, 0, 1], &IV, &[0; 64]].concat(),
        ),
        ("unframed", [&unframed[..], &IV, &body, &[0; 64]].concat()),
    ] {
        world.write(name, message);
        let ran = under(mib, name);
        assert!(
            matches!(ran.code, Some(3 | 4 | 8)),
            "{name}: {:?} {}",
            ran.code,
            ran.stderr
        );
        assert_eq!(ran.stdout, b"");
    }
    promise(
        "memory-command",
        format!("the same claims within {mib} MiB of address space: refused, not aborted"),
    );
}
