//! Secretbox against libsodium: random cases that PyNaCl made, named by `WAXSEAL_PYNACL_CASES`.
//! Where `CI=true` they must be there; elsewhere the test says that it did not run.
//!
//! ```text
//! python3 conformance/interop/py/secretbox_random.py 10000 > /tmp/cases.jsonl   # with PyNaCl
//! WAXSEAL_PYNACL_CASES=/tmp/cases.jsonl cargo test --release -p waxseal-core --test secretbox_pynacl
//! ```
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside #[test] may fail too

use serde_json::Value;
use waxseal_core::crypto::secretbox::{TAG_BYTES, open, seal};

#[test]
fn ten_thousand_cases_of_libsodium() {
    let Some(path) = std::env::var_os("WAXSEAL_PYNACL_CASES") else {
        let missing = "10,000 secretbox cases were NOT run: WAXSEAL_PYNACL_CASES names no file \
                       (conformance/interop/py/secretbox_random.py makes one)";
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{missing}");
        eprintln!("{missing}");
        return;
    };
    let lines = std::fs::read_to_string(&path).unwrap();
    let mut count = 0;
    for (index, line) in lines.lines().enumerate() {
        let case: Value = serde_json::from_str(line).unwrap();
        let field = |name: &str| hex::decode(case[name].as_str().unwrap()).unwrap();
        let key = field("key").try_into().unwrap();
        let nonce = field("nonce").try_into().unwrap();
        let (plaintext, boxed) = (field("plaintext"), field("box"));

        let mut sealed = vec![0; plaintext.len() + TAG_BYTES];
        seal(&key, &nonce, &plaintext, &mut sealed).unwrap();
        assert_eq!(sealed, boxed, "line {}", index + 1);
        let mut opened = vec![0; plaintext.len()];
        open(&key, &nonce, &boxed, &mut opened).unwrap();
        assert_eq!(opened, plaintext, "line {}", index + 1);
        count += 1;
    }
    assert!(count >= 10_000, "{path:?} holds {count} cases, not 10,000");
}
