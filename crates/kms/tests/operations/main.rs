//! What the engine and its operations promise, through its one public way in.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the point"
)]

mod access;
mod answers;
mod cryptography;
mod deletion;
mod device;
mod digest_keys;
mod engine;
mod federation;
mod lifetime;
mod material;
mod matrix;
mod principals;
mod regions;
mod retention;
mod stores;
mod support;
mod trail;
