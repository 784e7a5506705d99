//! The first message: a secret in memory is encrypted under a local key, and decrypted again.
//!
//! ```text
//! cargo run --release -p waxseal --example first_message
//! ```
#![allow(clippy::print_stdout, reason = "an example tells what it does")]

use std::error::Error;
use std::sync::Arc;
use waxseal::message::{self, OpenError, OpenOptions, SealOptions};
use waxseal::{RawAesKeyring, SecretBytes, SystemEntropy};

fn main() -> Result<(), Box<dyn Error>> {
    pollster::block_on(first_message())
}

async fn first_message() -> Result<(), Box<dyn Error>> {
    // The wrapping key. It must be the same for whoever decrypts, so yours comes from a safe place.
    let wrapping_key = SecretBytes::new(vec![7; 32]);
    let entropy = Arc::new(SystemEntropy);
    let keyring = RawAesKeyring::new("my-company", "key-2026", &wrapping_key, entropy)?;

    // The encryption context is not secret. It is authenticated with the data, so that a message
    // cannot be passed off as one for another purpose.
    let mut options = SealOptions::default();
    options.context.insert("purpose", "database password")?;
    let message = message::encrypt(&keyring, b"hunter2", options, &SystemEntropy).await?;
    println!("the message has {} bytes", message.len());

    // Who decrypts says what the message must be for.
    let mut demands = OpenOptions::default();
    demands
        .required_context
        .insert("purpose", "database password")?;
    let (plaintext, header) = message::decrypt(&keyring, &message, &demands).await?;
    assert_eq!(plaintext.expose(), b"hunter2");
    println!("decrypted; suite {}", header.suite().name());

    // A changed bit anywhere, and nothing comes out.
    let mut altered = message.clone();
    if let Some(last) = altered.last_mut() {
        *last ^= 1;
    }
    let refused = message::decrypt(&keyring, &altered, &demands).await;
    assert!(matches!(refused, Err(OpenError::Unauthentic)));
    println!("altered: refused");
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs() {
        super::main().unwrap();
    }
}
