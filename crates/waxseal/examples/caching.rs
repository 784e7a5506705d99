//! Data key caching: a thousand small messages with a handful of calls to the key service.
//!
//! Each message is still encrypted under a key of its own, derived from the data key and a fresh
//! message id. What is traded away is time: a wrapping key that is disabled goes on being used
//! until the cache lets go.
//!
//! ```text
//! cargo run --release -p waxseal --example caching
//! ```
#![allow(clippy::print_stdout, reason = "an example tells what it does")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use waxseal::materials::{CacheLimits, CachingManager, DefaultManager, SystemClock};
use waxseal::message::{Incoming, Limits, OpenOptions, Release, SealOptions, Sealer, seal_stream};
use waxseal::{RawAesKeyring, SecretBytes, SystemEntropy};

fn main() -> Result<(), Box<dyn Error>> {
    pollster::block_on(caching())
}

async fn caching() -> Result<(), Box<dyn Error>> {
    let key = SecretBytes::new(vec![7; 32]);
    let keyring = RawAesKeyring::new("my-company", "key-2026", &key, Arc::new(SystemEntropy))?;

    // An age is mandatory; messages and bytes may be limited too.
    let limits = CacheLimits::by_age(Duration::from_secs(60))?.with_messages_max(100)?;
    let clock = Arc::new(SystemClock::start());
    let manager = CachingManager::new(DefaultManager::new(keyring), limits, clock);

    for number in 0..1000 {
        let plaintext = format!("record {number}");
        let bytes = Some(plaintext.len() as u64);
        let sealer = Sealer::with(&manager, SealOptions::default(), bytes, &SystemEntropy).await?;
        let mut message = Vec::new();
        seal_stream(sealer, &mut plaintext.as_bytes(), &mut message)?;

        let incoming = Incoming::read(&message[..], &Limits::default())?;
        let opener = incoming
            .open_with(&manager, &OpenOptions::default())
            .await?;
        let mut out = Vec::new();
        opener.open_stream(&mut out, Release::Verified)?;
        assert_eq!(out, plaintext.as_bytes());
    }
    let statistics = manager.statistics();
    println!(
        "2000 operations, {} calls, {} answered from the cache",
        statistics.misses, statistics.hits
    );
    assert!(statistics.misses <= 20);
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs() {
        super::main().unwrap();
    }
}
