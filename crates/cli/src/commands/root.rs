//! `waxseal root`: what the embedded KMS hangs from.

use super::Session;
use crate::args::Root;
use crate::embedded;
use crate::failure::Failure;
use serde_json::{Value, json};
use waxseal_kms::home::root_of;
use waxseal_kms::root::RootKind;

/// Runs one of the commands.
pub(super) fn run(command: Root, session: &Session) -> Result<(), Failure> {
    let world = &session.world;
    let directory = embedded::directory(world)?;
    match command {
        Root::Status => {
            let root = root_of(directory).map_err(|error| embedded::failure(&error, directory))?;
            let Some(root) = root else {
                let told = "there is no store yet; it is made on first use";
                return session.tell(told, || json!({ "kind": null }));
            };
            // Opening it shows that the root key is there, and that it is the one.
            embedded::open(world)?;
            session.tell(&format!("{}; it opens the store", words(&root)), || {
                value(&root)
            })
        }
        Root::Migrate { to } => {
            let root = embedded::migrate_root(world, &to)?;
            session.tell(
                &format!("the store hangs from {} now", words(&root)),
                || value(&root),
            )
        }
    }
}

fn words(root: &RootKind) -> String {
    match root {
        RootKind::File => "a root key file".to_owned(),
        RootKind::Passphrase { memory_kib, .. } => {
            format!("a passphrase (Argon2id, {memory_kib} KiB)")
        }
        RootKind::Pkcs11 { serial, object } => {
            format!("the key '{object}' in the PKCS #11 device {serial}")
        }
    }
}

fn value(root: &RootKind) -> Value {
    match root {
        RootKind::File => json!({ "kind": "file" }),
        RootKind::Passphrase { memory_kib, .. } => {
            json!({ "kind": "passphrase", "memoryKib": memory_kib })
        }
        RootKind::Pkcs11 { serial, object } => {
            json!({ "kind": "pkcs11", "serial": serial, "object": object })
        }
    }
}
