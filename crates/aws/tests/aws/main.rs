//! The keyring against a stand-in for the key service, in this process, on loopback.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed expectation is how a test fails; the exception for tests does not reach helpers"
)]

mod configuration;
mod ecdh;
mod failures;
mod requests;
mod rsa;
mod scopes;
mod support;
mod unwrapping;
