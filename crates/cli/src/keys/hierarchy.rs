//! `hierarchy:DIR?branch=ID&wrap=KEY&ttl=SECONDS`: data keys under a branch key that lies in a
//! folder, wrapped by another key. Many messages then cost one use of that key.

use super::branch_files::{BranchFiles, is_id, not_an_id};
use super::uri::Uri;
use crate::failure::Failure;
use crate::world::World;
use std::sync::Arc;
use std::time::{Duration, Instant};
use waxseal_core::keyring::branch_key::WrappedBranchKeys;
use waxseal_core::keyring::{BranchKeyOf, HierarchicalKeyring, Keyring};
use waxseal_kms::home::DEFAULT_ALIAS;

/// How long a branch key is used before it is read and unwrapped again.
const TTL_SECONDS_DEFAULT: u64 = 600;

/// From a key as it was typed to its keyring.
type Resolve<'r> = dyn Fn(&str) -> Result<Arc<dyn Keyring>, Failure> + 'r;

/// The keyring that is typed so; `resolve` makes the keyring of the wrapping key.
pub(super) fn keyring(
    typed: &str,
    world: &World,
    resolve: &Resolve<'_>,
) -> Result<HierarchicalKeyring, Failure> {
    let form = "hierarchy:DIR?branch=ID&wrap=KEY&ttl=SECONDS";
    let uri = Uri::parse(typed, &["branch", "wrap", "ttl"], form)?;
    let branch = uri.value("branch").ok_or_else(|| uri.malformed())?;
    if !is_id(branch) {
        return Err(not_an_id(branch));
    }
    let seconds = match uri.value("ttl") {
        Some(text) => text.parse().map_err(|_| uri.malformed())?,
        None => TTL_SECONDS_DEFAULT,
    };
    let wrapping = resolve(uri.value("wrap").unwrap_or(DEFAULT_ALIAS))?;
    let files = Arc::new(BranchFiles::new(uri.path()));
    let start = Instant::now();
    HierarchicalKeyring::new(
        BranchKeyOf::Id(branch.to_owned()),
        Arc::new(WrappedBranchKeys::new(files, wrapping)),
        Duration::from_secs(seconds),
        Arc::new(move || start.elapsed()),
        world.entropy.clone(),
    )
    .map_err(|error| Failure::usage(error.to_string(), "see waxseal --help, Keys"))
}
