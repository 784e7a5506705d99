//! Keys in a device: SoftHSM, which is configured by an environment variable, so that the test runs
//! itself once more with it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the point"
)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use waxseal_core::SecretBytes;
use waxseal_hsm::{OpenVault, SALT_BYTES, Vault, VaultError};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const INSIDE: &str = "WAXSEAL_TEST_TOKENS";
const PIN: &str = "kmsuser-4321";

/// Runs the test of this name in a process whose SoftHSM has a token `keys` of its own. Whether this is
/// that process.
fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    assert!(
        Path::new(MODULE).exists(),
        "there is no {MODULE}: install softhsm2"
    );
    let directory = tempfile::tempdir().unwrap();
    let configuration = directory.path().join("softhsm2.conf");
    let tokens = directory.path().display();
    let text = format!("directories.tokendir = {tokens}\nobjectstore.backend = file\n");
    std::fs::write(&configuration, text).unwrap();
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "keys"])
        .args(["--so-pin", "12345678", "--pin", PIN])
        .env("SOFTHSM2_CONF", &configuration)
        .output()
        .unwrap();
    assert!(made.status.success());
    let ran = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env("SOFTHSM2_CONF", &configuration)
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(ran.success(), "{test} failed (see above)");
    false
}

fn vault(token: &str) -> Vault {
    let uri = format!("pkcs11:token={token}?module-path={MODULE}");
    Vault::new(uri.parse().unwrap())
}

fn pin(text: &str) -> SecretBytes {
    SecretBytes::copy_of(text.as_bytes())
}

fn open() -> OpenVault {
    vault("keys").connect(&pin(PIN)).unwrap()
}

fn sealed(vault: &OpenVault, label: &str, salt: u8, plaintext: &[u8]) -> Vec<u8> {
    let plaintext = SecretBytes::copy_of(plaintext);
    vault
        .encrypt(label, [salt; SALT_BYTES], b"context".to_vec(), plaintext)
        .unwrap()
}

#[test]
fn what_a_key_sealed_it_opens() {
    if !inside("what_a_key_sealed_it_opens") {
        return;
    }
    let vault = open();
    vault.generate("one").unwrap();
    vault.generate("two").unwrap();
    assert!(matches!(vault.generate("one"), Err(VaultError::Key(_))));
    for len in [0, 1, 16, 31, 4096 + 32] {
        let plaintext = vec![7; len];
        let blob = sealed(&vault, "one", 1, &plaintext);
        assert_eq!(blob.len(), len + 16);
        assert_ne!(
            blob,
            sealed(&vault, "one", 2, &plaintext),
            "the salt counts"
        );
        assert_ne!(blob, sealed(&vault, "two", 1, &plaintext), "the key counts");
        let salt = [1; SALT_BYTES];
        let opened = vault.decrypt("one", salt, b"context".to_vec(), blob.clone());
        assert!(opened.unwrap().ct_eq(&plaintext));
        for (label, salt, associated) in [
            ("two", [1; SALT_BYTES], &b"context"[..]),
            ("one", [2; SALT_BYTES], b"context"),
            ("one", [1; SALT_BYTES], b"other"),
        ] {
            let opened = vault.decrypt(label, salt, associated.to_vec(), blob.clone());
            assert_eq!(opened.map(drop), Err(VaultError::Unauthentic));
        }
        let mut altered = blob;
        altered[len / 2] ^= 1;
        let opened = vault.decrypt("one", salt, b"context".to_vec(), altered);
        assert_eq!(opened.map(drop), Err(VaultError::Unauthentic));
    }
    let (one, other) = (vault.random(32).unwrap(), vault.random(32).unwrap());
    assert!(one.len() == 32 && !one.ct_eq(other.expose()));
    vault.destroy("one").unwrap();
    vault.destroy("one").unwrap();
    // Every session forgets it, whichever had used it.
    for _ in 0..8 {
        let plaintext = SecretBytes::copy_of(b"x");
        let again = vault.encrypt("one", [1; SALT_BYTES], Vec::new(), plaintext);
        assert!(matches!(again, Err(VaultError::Key(_))), "{again:?}");
    }
}

#[test]
fn many_threads_share_the_sessions() {
    if !inside("many_threads_share_the_sessions") {
        return;
    }
    let vault = Arc::new(open());
    vault.generate("shared").unwrap();
    let threads: Vec<_> = (0..16_u8)
        .map(|n| {
            let vault = vault.clone();
            std::thread::spawn(move || {
                for _ in 0..20 {
                    let blob = sealed(&vault, "shared", n, &[n; 100]);
                    let salt = [n; SALT_BYTES];
                    let opened = vault.decrypt("shared", salt, b"context".to_vec(), blob);
                    assert!(opened.unwrap().ct_eq(&[n; 100]));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn logins_and_what_is_wrong_with_them() {
    if !inside("logins_and_what_is_wrong_with_them") {
        return;
    }
    assert_eq!(vault("keys").look(), Ok(()));
    assert!(matches!(vault("absent").look(), Err(VaultError::Gone(_))));
    let refused = |text: &str| vault("keys").connect(&pin(text)).map(drop);
    assert_eq!(refused("wrong-pin"), Err(VaultError::WrongPin));
    let open = open();
    // The device would not look at the PIN now, so that any would do.
    assert_eq!(refused("wrong-pin"), Err(VaultError::LoggedIn));
    assert_eq!(refused(PIN), Err(VaultError::LoggedIn));
    open.generate("kept").unwrap();
    let blob = sealed(&open, "kept", 1, b"x");
    open.close();
    assert!(matches!(open.random(1), Err(VaultError::Gone(_))));
    assert_eq!(refused("wrong-pin"), Err(VaultError::WrongPin));
    let again = vault("keys").connect(&pin(PIN)).unwrap();
    let opened = again.decrypt("kept", [1; SALT_BYTES], b"context".to_vec(), blob);
    assert!(opened.unwrap().ct_eq(b"x"));
}
