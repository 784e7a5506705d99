//! Does one secretbox step whenever it is told to, so that another program can measure it in turn
//! with something else: `bench/py/secretbox_libsodium.py` does.
//!
//! `secretbox_worker --serve BYTES` reads lines with the name of a step and answers each with a
//! line of nanoseconds. Without `--serve`, as `cargo bench` calls it, it does nothing.

#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot be set up has nothing to say"
)]

use std::hint::black_box;
use std::io::{self, Write as _};
use std::time::Instant;
use waxseal::secretbox::{self, Limits, PayloadRef};
use waxseal_core::crypto::secretbox as primitive;

const KEY: [u8; 32] = [7; 32];
const NONCE: [u8; 24] = [9; 24];

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() != Some("--serve") {
        return Ok(());
    }
    let bytes: usize = args.next().unwrap().parse().unwrap();
    let mut work = Work::new(bytes);
    for step in io::stdin().lines() {
        let begin = Instant::now();
        work.run(&step?);
        writeln!(io::stdout(), "{}", begin.elapsed().as_nanos())?;
    }
    Ok(())
}

struct Work {
    plaintext: Vec<u8>,
    boxed: Vec<u8>,
    payload: Vec<u8>,
}

impl Work {
    fn new(bytes: usize) -> Self {
        let plaintext = vec![1; bytes];
        let mut boxed = vec![0; bytes + primitive::TAG_BYTES];
        primitive::seal(&KEY, &NONCE, &plaintext, &mut boxed).unwrap();
        let payload = secretbox::seal_into(&KEY, &[8; 200], NONCE, &plaintext).unwrap();
        Self {
            plaintext,
            boxed,
            payload,
        }
    }

    /// `box-…` are the primitive between buffers that are there already; the others are the whole
    /// library call, output allocated, wiped where it is secret, and freed.
    fn run(&mut self, step: &str) {
        match step {
            "box-seal" => {
                let text = black_box(&self.plaintext);
                primitive::seal(&KEY, &NONCE, text, &mut self.boxed).unwrap();
            }
            "box-open" => {
                let boxed = black_box(&self.boxed);
                primitive::open(&KEY, &NONCE, boxed, &mut self.plaintext).unwrap();
            }
            "seal" => {
                let text = black_box(&self.plaintext);
                black_box(secretbox::seal_into(&KEY, &[8; 200], NONCE, text).unwrap());
            }
            "open" => {
                let bytes = black_box(&self.payload);
                let payload = PayloadRef::decode(bytes, &Limits::default()).unwrap();
                black_box(secretbox::open_in(&KEY, payload).unwrap());
            }
            other => unreachable!("no step is called {other}"),
        }
    }
}
