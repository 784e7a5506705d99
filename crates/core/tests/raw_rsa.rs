//! The raw RSA keyring: published messages, forms of keys, and what it refuses.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside #[test] may fail too

mod support;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use serde_json::Value;
use std::sync::OnceLock;
use support::{
    Header, Outcome, context, entropy, file, json, now, round_trip, unwrap, vectors, wrap,
};
use waxseal_core::crypto::pem::KeyError;
use waxseal_core::crypto::rsa::{RsaKeys, RsaPadding, RsaPrivateKey, RsaPublicKey};
use waxseal_core::keyring::{RawRsaError, RawRsaKeyring};
use waxseal_core::{EncryptionContext, Keyring, KeyringError};

/// A key pair of 2,048 bits: PKCS#8, SPKI.
fn pair() -> &'static (String, String) {
    static PAIR: OnceLock<(String, String)> = OnceLock::new();
    PAIR.get_or_init(|| {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let private = pem("PRIVATE KEY", key.as_der().unwrap().as_ref());
        let public = key.public_key().as_der().unwrap();
        (private, pem("PUBLIC KEY", public.as_ref()))
    })
}

fn pem(label: &str, der: &[u8]) -> String {
    pem::encode(&pem::Pem::new(label, der))
}

fn keyring(text: &str, padding: RsaPadding) -> RawRsaKeyring {
    let keys = RsaKeys::from_pem(text.as_bytes()).unwrap();
    RawRsaKeyring::new("ns", "name", padding, keys, entropy()).unwrap()
}

#[test]
fn unwraps_what_the_dafny_and_net_libraries_wrapped() {
    for (folder, manifest, cases) in [
        ("esdk/dafny-4.1.0", "decrypt-manifest.json", 55),
        ("esdk/v4-Net-4.0.1", "manifest.json", 66),
    ] {
        let Some(folder) = vectors(folder, cases) else {
            continue;
        };
        let keys = &json(&folder.join("keys.json"))["keys"];
        let mut opened = 0;
        for (id, test) in json(&folder.join(manifest))["tests"].as_object().unwrap() {
            let scenario = test.get("decryption-scenario").unwrap_or(test);
            let description = match &scenario["master-keys"] {
                Value::Array(list) => &list[0],
                _ => &scenario["decryptKeyDescription"],
            };
            if description["encryption-algorithm"] != "rsa" {
                continue;
            }
            let header = Header::parse(&file(&folder, &scenario["ciphertext"]));
            let required = required(&header, &scenario["encryption-context"]);
            let keyring = described(description, keys);
            let key = header.encrypted.iter().find_map(|encrypted| {
                match unwrap(&keyring, encrypted, &EncryptionContext::new()) {
                    Outcome::Key(key) => Some(key),
                    _ => None,
                }
            });
            assert!(header.proves(&key.unwrap(), &required), "{id}");
            opened += 1;
        }
        assert_eq!(opened, cases, "{}", folder.display());
    }
}

/// The pairs of a manifest that the header does not store.
fn required(header: &Header, all: &Value) -> EncryptionContext {
    let mut required = EncryptionContext::new();
    for (name, value) in all.as_object().into_iter().flatten() {
        if header.context.value(name).is_none() {
            required.insert(name, value.as_str().unwrap()).unwrap();
        }
    }
    required
}

fn described(description: &Value, keys: &Value) -> RawRsaKeyring {
    let key = &keys[description["key"].as_str().unwrap()];
    let padding = match description["padding-algorithm"].as_str().unwrap() {
        "pkcs1" => "pkcs1".to_owned(),
        _ => format!("oaep-{}", description["padding-hash"].as_str().unwrap()),
    };
    RawRsaKeyring::new(
        description["provider-id"].as_str().unwrap(),
        key["key-id"].as_str().unwrap(),
        padding.parse().unwrap(),
        RsaKeys::from_pem(key["material"].as_str().unwrap().as_bytes()).unwrap(),
        entropy(),
    )
    .unwrap()
}

#[test]
fn public_wraps_and_private_unwraps() {
    let (private, public) = pair();
    for padding in RsaPadding::ALL {
        assert_eq!(padding.name().parse(), Ok(padding));
        let (sealer, opener) = (keyring(public, padding), keyring(private, padding));
        let both = keyring(&format!("{private}{public}"), padding);
        round_trip(&sealer, &opener);
        round_trip(&both, &both);
        let encrypted = wrap(&sealer, &[7; 32], &context(&[]));
        assert_eq!(encrypted.ciphertext.len(), 256);
        assert_eq!(encrypted.provider_info, b"name");
        assert_eq!(
            unwrap(&sealer, &encrypted, &context(&[])),
            Outcome::Unsupported
        );
        assert!(matches!(
            now(opener.generate(32, &context(&[]))),
            Err(KeyringError::Unsupported { .. })
        ));
        assert!(now(opener.wrap(&data_key(32), &context(&[]))).is_err());
        for other in RsaPadding::ALL {
            if other != padding {
                let outcome = unwrap(&keyring(private, other), &encrypted, &context(&[]));
                assert_eq!(outcome, Outcome::Unauthentic, "{padding} read as {other}");
            }
        }
    }
    assert!("oaep".parse::<RsaPadding>().is_err());
    assert!("OAEP-SHA256".parse::<RsaPadding>().is_err());
}

fn data_key(bytes: usize) -> waxseal_core::DataKey {
    waxseal_core::DataKey::new(waxseal_core::SecretBytes::zeroed(bytes))
}

#[test]
fn foreign_is_told_from_broken_and_broken_is_uniform() {
    let (private, public) = pair();
    let other = PrivateDecryptingKey::generate(KeySize::Rsa3072).unwrap();
    let other = pem("PRIVATE KEY", other.as_der().unwrap().as_ref());
    let context = context(&[("a", "b")]);
    for padding in [RsaPadding::Pkcs1, RsaPadding::OaepSha256] {
        let encrypted = wrap(&keyring(public, padding), &[1; 32], &context);
        let opener = keyring(private, padding);
        for (namespace, name) in [("NS", "name"), ("ns", "nam"), ("ns", "name2"), ("ns", "")] {
            let keys = RsaKeys::from_pem(private.as_bytes()).unwrap();
            let keyring = RawRsaKeyring::new(namespace, name, padding, keys, entropy()).unwrap();
            assert_eq!(unwrap(&keyring, &encrypted, &context), Outcome::NotMine);
        }
        let outcome = unwrap(&keyring(&other, padding), &encrypted, &context);
        assert_eq!(outcome, Outcome::Unauthentic);
        let error = |ciphertext: Vec<u8>| {
            let mut changed = encrypted.clone();
            changed.ciphertext = ciphertext;
            match now(opener.unwrap(&changed, &context)) {
                Err(error) => error.to_string(),
                Ok(_) => panic!("an altered ciphertext was opened"),
            }
        };
        let expected = "raw-rsa key ns/name did not open the encrypted data key";
        for bit in (0..256 * 8).step_by(37) {
            let mut changed = encrypted.ciphertext.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(error(changed), expected, "bit {bit}");
        }
        for bytes in [0, 1, 255, 257, 65_535] {
            let mut changed = encrypted.ciphertext.clone();
            changed.resize(bytes, 0);
            assert_eq!(error(changed), expected, "{bytes} bytes");
        }
        assert_eq!(error(vec![0xff; 256]), expected);
    }
}

#[test]
fn pkcs1_carries_data_keys_only() {
    let (private, public) = pair();
    let sealer = keyring(public, RsaPadding::Pkcs1);
    for bytes in [0, 15, 17, 31, 33, 245] {
        let error = now(sealer.wrap(&data_key(bytes), &context(&[])));
        assert!(matches!(error, Err(KeyringError::Limit { .. })), "{bytes}");
        // What another program wrapped at such a length fails as a wrong padding does.
        let mut encrypted = wrap(&sealer, &[1; 32], &context(&[]));
        let key = RsaPublicKey::from_pem(public.as_bytes()).unwrap();
        encrypted.ciphertext = key.encrypt(RsaPadding::Pkcs1, &vec![1; bytes]).unwrap();
        let outcome = unwrap(
            &keyring(private, RsaPadding::Pkcs1),
            &encrypted,
            &context(&[]),
        );
        assert_eq!(outcome, Outcome::Unauthentic, "{bytes}");
    }
    // OAEP wraps up to modulus − 2 × hash − 2 bytes.
    for (padding, most) in [(RsaPadding::OaepSha1, 214), (RsaPadding::OaepSha512, 126)] {
        let sealer = keyring(public, padding);
        let encrypted = wrap(&sealer, &vec![3; most], &context(&[]));
        let opened = unwrap(&keyring(private, padding), &encrypted, &context(&[]));
        assert_eq!(opened, Outcome::Key(vec![3; most]));
        let error = now(sealer.wrap(&data_key(most + 1), &context(&[])));
        assert!(matches!(error, Err(KeyringError::Limit { .. })));
    }
}

#[test]
fn every_form_of_key_is_read() {
    let (private, public) = pair();
    let spki = pem::parse(public).unwrap().into_contents();
    let pkcs8 = pem::parse(private).unwrap().into_contents();
    // Both PKCS#1 forms are the tail of the other, behind a header of fixed length.
    let pkcs1_public = pem("RSA PUBLIC KEY", &spki[24..]);
    let pkcs1_private = pem("RSA PRIVATE KEY", &pkcs8[26..]);
    let around = format!(
        "Bag Attributes\r\n\r\n{}\nthe end\n",
        private.replace('\n', "\r\n")
    );
    let other = format!("{}{private}", pem("EC PARAMETERS", b"\x06\x01\x00"));
    for public in [public.as_str(), &pkcs1_public] {
        for private in [private.as_str(), &pkcs1_private, &around, &other] {
            let sealer = keyring(public, RsaPadding::OaepSha384);
            round_trip(&sealer, &keyring(private, RsaPadding::OaepSha384));
        }
    }
    assert_eq!(
        RsaPrivateKey::from_pem(private.as_bytes()).unwrap().bits(),
        2048
    );
}

#[test]
fn what_is_no_key_is_refused() {
    let (private, public) = pair();
    let refusal = |text: &str| RsaKeys::from_pem(text.as_bytes()).unwrap_err();
    assert_eq!(refusal(""), KeyError::NotPem);
    assert_eq!(refusal("no key"), KeyError::NotPem);
    assert_eq!(refusal(&pem("CERTIFICATE", b"0")), KeyError::NotPem);
    assert_eq!(refusal(&private[..private.len() / 2]), KeyError::NotPem);
    assert_eq!(refusal(&private.replace('M', "!")), KeyError::NotPem);
    assert_eq!(
        refusal(&format!("{public}{public}")),
        KeyError::Several("public key")
    );
    assert_eq!(
        refusal(&format!("{private}{private}")),
        KeyError::Several("private key")
    );
    assert_eq!(refusal(&" ".repeat(65_537)), KeyError::TooLong);
    assert_eq!(
        refusal(&pem("ENCRYPTED PRIVATE KEY", b"0")),
        KeyError::Encrypted
    );
    let legacy = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMAA=\n-----END RSA PRIVATE KEY-----\n";
    assert_eq!(refusal(legacy), KeyError::Encrypted);
    let stranger = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let stranger = pem("PRIVATE KEY", stranger.as_der().unwrap().as_ref());
    assert_eq!(refusal(&format!("{stranger}{public}")), KeyError::NotAPair);
    for label in [
        "PRIVATE KEY",
        "PUBLIC KEY",
        "RSA PRIVATE KEY",
        "RSA PUBLIC KEY",
        "EC PRIVATE KEY",
    ] {
        let error = refusal(&pem(label, &[0x30, 0x03, 0x02, 0x01, 0x00]));
        assert!(
            matches!(error, KeyError::Refused { .. }),
            "{label}: {error}"
        );
    }
    // An EC key where an RSA key is expected.
    let ec = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEWMX/wHhEbtmd1bQ6JKZQ7P2rAAAA\n-----END PUBLIC KEY-----\n";
    assert!(RsaKeys::from_pem(ec.as_bytes()).is_err());
    assert_eq!(
        RsaPublicKey::from_pem(private.as_bytes()).unwrap_err(),
        KeyError::Missing("public key")
    );
}

#[test]
fn moduli_have_2048_to_8192_bits() {
    for (bits, taken) in [
        (1024, false),
        (2047, false),
        (2048, true),
        (4096, true),
        (8192, true),
        (8193, false),
        (16_384, false),
    ] {
        let text = pem("RSA PUBLIC KEY", &public_der(bits));
        let key = RsaPublicKey::from_pem(text.as_bytes());
        assert_eq!(key.is_ok(), taken, "{bits} bits: {key:?}");
        if let Ok(key) = key {
            assert_eq!(key.bits(), bits);
        }
    }
}

/// `RSAPublicKey` with an odd modulus of `bits` bits and the exponent 65,537.
fn public_der(bits: usize) -> Vec<u8> {
    let mut modulus = vec![0xa5; bits.div_ceil(8)];
    modulus[0] = match bits % 8 {
        0 => 0x80,
        rest => 1 << (rest - 1),
    };
    if bits.is_multiple_of(8) {
        modulus.insert(0, 0);
    }
    let integers = [&tlv(2, &modulus)[..], &tlv(2, &[1, 0, 1])].concat();
    tlv(0x30, &integers)
}

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = (value.len() as u16).to_be_bytes();
    match value.len() {
        short @ 0..128 => [&[tag, short as u8], value].concat(),
        128..256 => [&[tag, 0x81, length[1]], value].concat(),
        _ => [&[tag, 0x82, length[0], length[1]], value].concat(),
    }
}

#[test]
fn configuration_is_checked_and_nothing_secret_is_shown() {
    let (private, public) = pair();
    let new = |namespace: &str, name: &str| {
        let keys = RsaKeys::from_pem(public.as_bytes()).unwrap();
        RawRsaKeyring::new(namespace, name, RsaPadding::Pkcs1, keys, entropy()).map(|_| ())
    };
    assert_eq!(new("aws-kms", "n"), Err(RawRsaError::Namespace));
    assert_eq!(new("", "n"), Err(RawRsaError::Namespace));
    assert_eq!(new(&"n".repeat(65_535), ""), Ok(()));
    assert_eq!(new(&"n".repeat(65_536), ""), Err(RawRsaError::Namespace));
    assert_eq!(new("n", &"n".repeat(65_535)), Ok(()));
    assert_eq!(new("n", &"n".repeat(65_536)), Err(RawRsaError::Name));
    let none = RsaKeys {
        public: None,
        private: None,
    };
    let none = RawRsaKeyring::new("n", "n", RsaPadding::Pkcs1, none, entropy());
    assert_eq!(none.unwrap_err(), RawRsaError::NoKey);
    let shown = format!(
        "{:?}",
        RsaKeys::from_pem(format!("{private}{public}").as_bytes()).unwrap()
    );
    assert_eq!(
        shown,
        "RsaKeys { public: Some(RsaPublicKey(2048 bits)), private: Some(RsaPrivateKey(2048 bits)) }"
    );
}
