//! What the message tests share: a keyring, and readers and writers with habits.
#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code, of which each binary uses its own part"
)]

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::num::NonZeroU32;
use std::sync::Arc;
use waxseal::message::{
    CommitmentPolicy, Incoming, Limits, OpenError, OpenOptions, Release, SealOptions, Sealer,
    Suite, Totals, seal_stream,
};
use waxseal::{EncryptionContext, RawAesKeyring, SecretBytes, SystemEntropy};

pub const COMMITTING: [Suite; 2] = [Suite::COMMITTING, Suite::COMMITTING_SIGNED];

/// The policy under which the suite may be written and read.
pub fn policy(suite: Suite) -> CommitmentPolicy {
    match suite.is_committing() {
        true => CommitmentPolicy::RequireEncryptRequireDecrypt,
        false => CommitmentPolicy::ForbidEncryptAllowDecrypt,
    }
}

/// Reads every suite.
pub fn lenient() -> OpenOptions {
    OpenOptions {
        commitment: CommitmentPolicy::RequireEncryptAllowDecrypt,
        ..OpenOptions::default()
    }
}

pub fn keyring() -> RawAesKeyring {
    keyring_of(7)
}

pub fn keyring_of(byte: u8) -> RawAesKeyring {
    let key = SecretBytes::new(vec![byte; 32]);
    RawAesKeyring::new("ns", "name", &key, Arc::new(SystemEntropy)).unwrap()
}

pub fn options(suite: Suite, frame_bytes: u32) -> SealOptions {
    let mut context = EncryptionContext::new();
    context.insert("purpose", "test").unwrap();
    SealOptions {
        suite,
        frame_bytes: NonZeroU32::new(frame_bytes).unwrap(),
        context,
        commitment: policy(suite),
        ..SealOptions::default()
    }
}

pub fn sealer(suite: Suite, frame_bytes: u32) -> Sealer {
    let options = options(suite, frame_bytes);
    pollster::block_on(Sealer::new(&keyring(), options, &SystemEntropy)).unwrap()
}

pub fn seal(suite: Suite, frame_bytes: u32, plaintext: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    seal_stream(sealer(suite, frame_bytes), &mut &*plaintext, &mut message).unwrap();
    message
}

/// Opens whatever it is, and records what leaves.
pub fn open_into(
    message: impl Read,
    limits: &Limits,
    out: &mut dyn Write,
) -> Result<Totals, OpenError> {
    let incoming = Incoming::read(message, limits)?;
    let opener = pollster::block_on(incoming.open(&keyring(), &lenient()))?;
    let release = if opener.header().suite().is_signed() {
        Release::Unverified
    } else {
        Release::Verified
    };
    opener.open_stream(out, release)
}

pub fn open(message: &[u8]) -> (Result<Totals, OpenError>, Vec<u8>) {
    let mut out = Vec::new();
    let result = open_into(message, &Limits::default(), &mut out);
    (result, out)
}

/// `count` bytes that differ from place to place.
pub fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at * 31 + at / 251) as u8).collect()
}

/// Reads or writes a little at a time, is interrupted now and then, and notes the most room that
/// it was ever offered beyond four times what had gone through before.
pub struct Dribble<T> {
    pub inner: T,
    pub step_bytes: usize,
    pub calls: usize,
    pub through: usize,
    pub room_beyond: usize,
}

impl<T> Dribble<T> {
    pub fn new(inner: T, step_bytes: usize) -> Self {
        Self {
            inner,
            step_bytes,
            calls: 0,
            through: 0,
            room_beyond: 0,
        }
    }

    fn call(&mut self, offered: usize) -> io::Result<()> {
        let beyond = offered.saturating_sub(4 * self.through);
        self.room_beyond = self.room_beyond.max(beyond);
        self.calls += 1;
        if self.calls.is_multiple_of(3) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(())
    }
}

impl<T: Read> Read for Dribble<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.call(buffer.len())?;
        let upto = buffer.len().min(self.step_bytes);
        let read = self.inner.read(&mut buffer[..upto])?;
        self.through += read;
        Ok(read)
    }

    fn read_vectored(&mut self, rooms: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.call(rooms.iter().map(|room| room.len()).sum())?;
        let mut left = self.step_bytes;
        let mut total = 0;
        for room in rooms {
            let upto = room.len().min(left);
            let read = self.inner.read(&mut room[..upto])?;
            total += read;
            left -= read;
            if read < room.len() {
                break;
            }
        }
        self.through += total;
        Ok(total)
    }
}

impl<T: Write> Write for Dribble<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.call(0)?;
        self.inner.write(&bytes[..bytes.len().min(self.step_bytes)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.call(0)?;
        let bytes = parts.iter().flat_map(|part| part.iter().copied());
        let some: Vec<u8> = bytes.take(self.step_bytes).collect();
        self.inner.write(&some)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
