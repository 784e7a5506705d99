//! A KMS key: data keys come from a key service that keeps the wrapping key to itself, here the
//! embedded one. Amazon KMS is `waxseal_aws::AwsKms` in its place; nothing else changes.
//!
//! (The example is here because `waxseal` and `waxseal-kms` do not know each other; this crate
//! knows both.)
//!
//! ```text
//! cargo run --release -p waxseal-conformance --example kms_key
//! ```
#![allow(clippy::print_stdout, reason = "an example tells what it does")]

use std::error::Error;
use std::sync::Arc;
use waxseal::SystemEntropy;
use waxseal::message::{self, OpenOptions, SealOptions};
use waxseal_core::arn::Home;
use waxseal_kms::EngineKeyring;
use waxseal_kms::home::{DEFAULT_ALIAS, EmbeddedHome, FileRoot};
use waxseal_kms_api::op::RotateKeyOnDemandRequest;

const USER_AGENT: &str = "kms_key example";

fn main() -> Result<(), Box<dyn Error>> {
    pollster::block_on(kms_key())
}

async fn kms_key() -> Result<(), Box<dyn Error>> {
    // The service: a directory with a store, a root key and an audit log.
    let directory = tempfile::tempdir()?;
    let place = Home {
        partition: "aws".into(),
        region: "local".into(),
        account: "000000000000".into(),
    };
    let home = EmbeddedHome::open(
        &directory.path().join("kms"),
        &place,
        Arc::new(FileRoot),
        Arc::new(SystemEntropy),
    )?;
    home.ensure_default_key(USER_AGENT)?;
    let engine = home.engine().clone();

    // Who encrypts names the key.
    let key = DEFAULT_ALIAS.parse()?;
    let sealing = EngineKeyring::strict(engine.clone(), key, USER_AGENT);
    let mut options = SealOptions::default();
    options.context.insert("tenant", "7")?;
    let message = message::encrypt(&sealing, b"hunter2", options, &SystemEntropy).await?;

    // A new version of the key changes no message: old versions go on opening what they wrapped.
    let arn = engine_key_arn(&message)?;
    println!("encrypted under {arn}");
    let rotate = RotateKeyOnDemandRequest { key_id: arn };
    engine.call(engine.by_owner(USER_AGENT, rotate)?)?;

    // Who decrypts need not name it: the message does.
    let opening = EngineKeyring::discovery(engine, USER_AGENT);
    let opened = message::decrypt(&opening, &message, &OpenOptions::default()).await?;
    assert_eq!(opened.0.expose(), b"hunter2");
    println!("decrypted after a rotation; each use is in the audit log");
    Ok(())
}

/// The key that the header names. Nobody vouches for it before the message was opened.
fn engine_key_arn(message: &[u8]) -> Result<String, Box<dyn Error>> {
    let incoming = message::Incoming::read(message, &message::Limits::default())?;
    let wrapped = incoming.header().encrypted_data_keys().first();
    let info = wrapped.map(|key| key.provider_info.clone());
    Ok(String::from_utf8(info.unwrap_or_default())?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs() {
        super::main().unwrap();
    }
}
