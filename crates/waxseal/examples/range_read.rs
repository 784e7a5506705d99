//! Random access: a file is written through a `SealWriter`, and a few bytes from its middle are
//! read without reading the rest.
//!
//! ```text
//! cargo run --release -p waxseal --example range_read
//! ```
#![allow(clippy::print_stdout, reason = "an example tells what it does")]

use std::error::Error;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use waxseal::message::{
    Incoming, Limits, OpenOptions, SealOptions, SealWriter, Sealer, SignedRange,
};
use waxseal::{RawAesKeyring, SecretBytes, SystemEntropy};

fn main() -> Result<(), Box<dyn Error>> {
    pollster::block_on(range_read())
}

async fn range_read() -> Result<(), Box<dyn Error>> {
    let key = SecretBytes::new(vec![7; 32]);
    let keyring = RawAesKeyring::new("my-company", "key-2026", &key, Arc::new(SystemEntropy))?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("log.wax");

    // Whatever writes can write a message. `finish` ends it: a message that was only begun is
    // refused by every reader.
    let sealer = Sealer::new(&keyring, SealOptions::default(), &SystemEntropy).await?;
    let mut writer = SealWriter::new(sealer, File::create(&path)?);
    for line in 0..1_000_000 {
        writeln!(writer, "line {line:09}")?;
    }
    let (_, totals) = writer.finish()?;
    println!("{} bytes in {} frames", totals.message_bytes, totals.frames);

    // The final frame is read first: it proves how long the plaintext is.
    let incoming = Incoming::read(File::open(&path)?, &Limits::default())?;
    let opener = incoming.open(&keyring, &OpenOptions::default()).await?;
    let mut reader = opener.into_range_reader(SignedRange::Refused)?;
    assert_eq!(reader.plaintext_bytes(), 15_000_000);

    // A line has 15 bytes. Only the frame that holds this one is read, and verified.
    let mut line = [0; 15];
    reader.seek(SeekFrom::Start(500_000 * 15))?;
    reader.read_exact(&mut line)?;
    assert_eq!(&line, b"line 000500000\n");
    print!("{}", String::from_utf8_lossy(&line));

    // A range at once, into any writer.
    let mut last_lines = Vec::new();
    reader.copy_range(999_998 * 15..u64::MAX, &mut last_lines)?;
    assert_eq!(last_lines, b"line 000999998\nline 000999999\n");
    print!("{}", String::from_utf8_lossy(&last_lines));
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs() {
        super::main().unwrap();
    }
}
