//! Keys that two parties agree on.
//!
//! | typed | seals | opens |
//! |---|---|---|
//! | `raw-ecdh:PRIVATE.pem?peer=PUBLIC.pem` | for the peer | what either one sealed for the other |
//! | `raw-ecdh:PUBLIC.pem` | for that key, from a fresh one | nothing |
//! | `raw-ecdh:PRIVATE.pem` | nothing | what anybody sealed for that key |

use super::file;
use super::uri::Uri;
use crate::failure::Failure;
use crate::world::World;
use std::path::Path;
use waxseal_core::crypto::ecdh::{EcdhKeys, EcdhPublicKey};
use waxseal_core::keyring::RawEcdhKeyring;

/// The keyring that is typed so.
pub(super) fn keyring(typed: &str, world: &World) -> Result<RawEcdhKeyring, Failure> {
    let form = "raw-ecdh:PRIVATE.pem?peer=PUBLIC.pem, raw-ecdh:PUBLIC.pem or raw-ecdh:PRIVATE.pem";
    let uri = Uri::parse(typed, &["peer"], form)?;
    let own = file::pem(Path::new(uri.path()), EcdhKeys::from_pem)?;
    let peer = uri.value("peer").map(|path| {
        let parse = |text: &[u8]| EcdhPublicKey::from_pem(text);
        file::pem(Path::new(path), parse)
    });
    let entropy = world.entropy.clone();
    match (own.private, own.public, peer.transpose()?) {
        (Some(private), _, Some(peer)) => RawEcdhKeyring::with_peer(private, peer, entropy)
            .map_err(|error| {
                Failure::configuration(error.to_string(), "both keys must be on one curve")
            }),
        (Some(private), _, None) => Ok(RawEcdhKeyring::discovery(private, entropy)),
        (None, Some(public), None) => Ok(RawEcdhKeyring::to_recipient(public, entropy)),
        (None, ..) => Err(Failure::configuration(
            format!("the key file {} has no private key", uri.path()),
            "with a peer, name your own private key; without, a public key seals for its owner",
        )),
    }
}
