//! `raw-rsa:FILE.pem?namespace=NS&name=NAME&padding=PADDING`: an RSA key pair, or half of one.
//!
//! A public key seals, a private key opens, a file with both does both. The public key is not
//! taken from the private one when sealing, as the format's specification has it. Without a name
//! the key is known by its fingerprint: both halves have the same, however their files are called.

use super::uri::Uri;
use super::{NAMESPACE_DEFAULT, file};
use crate::failure::Failure;
use crate::world::World;
use std::path::Path;
use waxseal_core::crypto::rsa::{RsaKeys, RsaPadding};
use waxseal_core::keyring::RawRsaKeyring;

/// The padding of keys that name none.
const PADDING_DEFAULT: RsaPadding = RsaPadding::OaepSha256;

/// The keyring that is typed so.
pub(super) fn keyring(typed: &str, world: &World) -> Result<RawRsaKeyring, Failure> {
    let form = "raw-rsa:FILE.pem?namespace=NS&name=NAME&padding=oaep-sha256";
    let uri = Uri::parse(typed, &["namespace", "name", "padding"], form)?;
    let padding = match uri.value("padding") {
        None => PADDING_DEFAULT,
        Some(name) => name.parse().map_err(|error| {
            Failure::usage(
                format!("{error}"),
                "name the padding that the data was encrypted with; oaep-sha256 is the default",
            )
        })?,
    };
    let keys = file::pem(Path::new(uri.path()), RsaKeys::from_pem)?;
    let name = match uri.value("name") {
        Some(name) => name.to_owned(),
        None => hex::encode(&keys.fingerprint()[..16]),
    };
    let namespace = uri.value("namespace").unwrap_or(NAMESPACE_DEFAULT);
    let entropy = world.entropy.clone();
    RawRsaKeyring::new(namespace, name, padding, keys, entropy)
        .map_err(|error| Failure::usage(error.to_string(), "see waxseal --help, Keys"))
}
