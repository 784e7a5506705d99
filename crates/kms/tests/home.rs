//! Homes with a passphrase root: asked for once, and needed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the point"
)]

use std::sync::{Arc, Mutex};
use waxseal_core::SecretBytes;
use waxseal_core::arn::Home;
use waxseal_core::crypto::random::SystemEntropy;
use waxseal_kms::home::{EmbeddedHome, HomeError, RootSource, Wanted};
use waxseal_kms::root::{RootError, RootKind};

struct Asked {
    passphrase: Vec<u8>,
    /// Whether each time a new one was asked for.
    times: Mutex<Vec<bool>>,
}

impl RootSource for Asked {
    fn wanted(&self) -> Vec<Wanted> {
        vec![Wanted::Passphrase]
    }

    fn is_at_hand(&self, _: &RootKind) -> bool {
        false
    }

    fn passphrase(&self, new: bool) -> Result<SecretBytes, String> {
        self.times.lock().unwrap().push(new);
        Ok(SecretBytes::copy_of(&self.passphrase))
    }
}

fn place() -> Home {
    Home {
        partition: "aws".into(),
        region: "local".into(),
        account: "000000000000".into(),
    }
}

#[test]
fn a_passphrase_is_asked_for_once_and_must_be_right() {
    let directory = tempfile::tempdir().unwrap();
    let open = |passphrase: &[u8]| {
        let times = Mutex::default();
        let passphrase = passphrase.to_owned();
        let asked = Arc::new(Asked { passphrase, times });
        let entropy = Arc::new(SystemEntropy);
        let home = EmbeddedHome::open(directory.path(), &place(), asked.clone(), entropy);
        let times = asked.times.lock().unwrap().clone();
        (home, times)
    };
    let (home, times) = open(b"right");
    home.unwrap().ensure_default_key("test").unwrap();
    assert_eq!(times, [true]);
    let (home, times) = open(b"right");
    assert!(home.unwrap().engine().has_alias("alias/default").unwrap());
    assert_eq!(times, [false]);
    let (home, times) = open(b"wrong");
    assert!(matches!(
        home,
        Err(HomeError::Root(RootError::WrongKey("passphrase")))
    ));
    assert_eq!(times, [false]);
    assert!(!directory.path().join("root.key").exists());
}
