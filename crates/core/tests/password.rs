//! Argon2id against answers of another implementation: the reference library, by way of
//! `argon2-cffi` 25.1.0 (PyPI). RFC 9106's own example uses a secret and associated data, which
//! [`PasswordParams`] has no place for. To get the answers again:
//!
//! ```text
//! python3 -m venv venv && venv/bin/pip install argon2-cffi && venv/bin/python -c '
//! from argon2.low_level import hash_secret_raw, Type
//! print(hash_secret_raw(PASSPHRASE, SALT, time_cost=PASSES, memory_cost=MEMORY_KIB,
//!     parallelism=LANES, hash_len=32, type=Type.ID, version=0x13).hex())'
//! ```
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside #[test] may fail too

use waxseal_core::SecretBytes;
use waxseal_core::crypto::password::PasswordParams;

fn derive(passphrase: &[u8], params: &PasswordParams) -> Option<String> {
    let key = params.derive(&SecretBytes::copy_of(passphrase)).ok()?;
    Some(hex::encode(key.expose()))
}

fn params(memory_kib: u32, passes: u32, lanes: u32, salt: [u8; 16]) -> PasswordParams {
    PasswordParams {
        memory_kib,
        passes,
        lanes,
        salt,
    }
}

#[test]
fn answers_of_the_reference_library() {
    let count = |first: u8| std::array::from_fn(|i| first + i as u8);
    let recommended = PasswordParams::recommended(count(0));
    assert_eq!(recommended, params(65536, 3, 4, count(0)));
    let cases: [(&[u8], PasswordParams, &str); 5] = [
        (
            b"correct horse battery staple",
            recommended,
            "853b272a44db1421c02962669a55eb0994f3cab385ed1c4c79253eee19bab49e",
        ),
        (
            b"password",
            params(8, 1, 1, *b"somesaltsomesalt"),
            "05b6ca8f8038b683887ad4916533858b49cb52040126c134f4c6e9d8711b8c09",
        ),
        (
            b"",
            params(32, 2, 4, [0; 16]),
            "f470dcb91cbc4b6b2107b28b8fb538c5c6ec97415db39677e213d1568b5d63a9",
        ),
        (
            &[255; 200],
            params(64, 64, 1, [255; 16]),
            "97a3cad8ed47338b92c85378e562a4d59a8f4cfb38ebb6f34bcdf6bf2e47184c",
        ),
        (
            b"lanes",
            params(128, 1, 16, count(16)),
            "4bf4c780d6c555f7404bd8c611cf3a2a97f4a85602f6f6ded8ba4895ae286aa6",
        ),
    ];
    for (passphrase, params, expected) in cases {
        assert_eq!(
            derive(passphrase, &params).as_deref(),
            Some(expected),
            "{params:?}"
        );
    }
}

#[test]
fn costs_are_bounded() {
    let salt = [7; 16];
    assert!(derive(b"p", &params(8, 64, 1, salt)).is_some());
    assert!(derive(b"p", &params(128, 1, 16, salt)).is_some());
    for (memory_kib, passes, lanes) in [
        (8, 65, 1),
        (136, 1, 17),
        (1024 * 1024 + 1, 1, 1),
        (u32::MAX, 1, 1),
        (7, 1, 1),
        (31, 1, 4),
        (8, 0, 1),
        (8, 1, 0),
    ] {
        let params = params(memory_kib, passes, lanes, salt);
        assert_eq!(derive(b"p", &params), None, "{params:?}");
    }
}
