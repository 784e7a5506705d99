//! Several recipients: one message that any of three keys opens, streamed through `std::io`.
//!
//! ```text
//! cargo run --release -p waxseal --example multi_recipient
//! ```
#![allow(clippy::print_stdout, reason = "an example tells what it does")]

use std::error::Error;
use std::io;
use std::sync::Arc;
use waxseal::message::{
    Incoming, Limits, OpenError, OpenOptions, Release, SealOptions, Sealer, seal_stream,
};
use waxseal::{Keyring, MultiKeyring, RawAesKeyring, SecretBytes, SystemEntropy};

fn main() -> Result<(), Box<dyn Error>> {
    pollster::block_on(multi_recipient())
}

fn key_of(name: &str, byte: u8) -> Result<Arc<dyn Keyring>, Box<dyn Error>> {
    let key = SecretBytes::new(vec![byte; 32]);
    let keyring = RawAesKeyring::new("my-company", name, &key, Arc::new(SystemEntropy))?;
    Ok(Arc::new(keyring))
}

async fn multi_recipient() -> Result<(), Box<dyn Error>> {
    let (ann, ben, backup) = (key_of("ann", 1)?, key_of("ben", 2)?, key_of("backup", 3)?);

    // The first keyring makes the data key; each of the others wraps it once more.
    let everybody = MultiKeyring::new(ann.clone(), vec![ben.clone(), backup.clone()]);
    let sealer = Sealer::new(&everybody, SealOptions::default(), &SystemEntropy).await?;
    let mut message = Vec::new();
    let plaintext = vec![b'x'; 1_000_000];
    let totals = seal_stream(sealer, &mut &plaintext[..], &mut message)?;
    println!("{} frames in {} bytes", totals.frames, totals.message_bytes);

    for keyring in [&ann, &ben, &backup] {
        let incoming = Incoming::read(&message[..], &Limits::default())?;
        assert_eq!(incoming.header().encrypted_data_keys().len(), 3);
        let opener = incoming
            .open(keyring.as_ref(), &OpenOptions::default())
            .await?;
        // The message is not signed, so each frame is trusted as soon as it has verified.
        let totals = opener.open_stream(&mut io::sink(), Release::Verified)?;
        assert_eq!(totals.plaintext_bytes, 1_000_000);
    }
    println!("each of the three opens it");

    let stranger = key_of("stranger", 4)?;
    let incoming = Incoming::read(&message[..], &Limits::default())?;
    match incoming
        .open(stranger.as_ref(), &OpenOptions::default())
        .await
    {
        Err(error @ OpenError::NoDataKey(_)) => println!("a stranger: {error}"),
        _ => return Err("a stranger opened it".into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs() {
        super::main().unwrap();
    }
}
