//! Our own signatures: fixed length, verify, and nothing else does.

use waxseal_core::crypto::ecdsa::{Curve, Hasher, SigningKey, VerifyingKey};

const CURVES: [Curve; 2] = [Curve::P256, Curve::P384];

fn hashed(curve: Curve, bytes: &[u8]) -> Hasher {
    let mut hasher = Hasher::new(curve);
    hasher.update(bytes);
    hasher
}

#[test]
fn signatures_have_one_length_and_verify() {
    for curve in CURVES {
        for round in 0..50u8 {
            let key = SigningKey::generate(curve).unwrap();
            let point = key.public_key().unwrap();
            assert_eq!(point.len(), curve.public_key_bytes());
            assert!(matches!(point[0], 2 | 3), "a compressed point");
            let signature = key.sign(hashed(curve, &[round])).unwrap();
            assert_eq!(signature.len(), curve.signature_bytes());
            let verifying = VerifyingKey::from_point(curve, &point).unwrap();
            verifying
                .verify(hashed(curve, &[round]), &signature)
                .unwrap();
            assert!(
                verifying
                    .verify(hashed(curve, &[round + 1]), &signature)
                    .is_err()
            );
        }
    }
}

#[test]
fn no_changed_bit_verifies() {
    for curve in CURVES {
        let key = SigningKey::generate(curve).unwrap();
        let signature = key.sign(hashed(curve, b"message")).unwrap();
        let point = key.public_key().unwrap();
        let verifying = VerifyingKey::from_point(curve, &point).unwrap();
        for bit in 0..signature.len() * 8 {
            let mut changed = signature.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(
                verifying
                    .verify(hashed(curve, b"message"), &changed)
                    .is_err(),
                "bit {bit}"
            );
        }
        for len in 0..signature.len() {
            assert!(
                verifying
                    .verify(hashed(curve, b"message"), &signature[..len])
                    .is_err()
            );
        }
        let longer = [&signature[..], &[0]].concat();
        assert!(
            verifying
                .verify(hashed(curve, b"message"), &longer)
                .is_err()
        );
    }
}

#[test]
fn what_is_no_point_is_refused() {
    for curve in CURVES {
        let point = SigningKey::generate(curve).unwrap().public_key().unwrap();
        let field_bytes = point.len() - 1;
        let mut off_the_curve = vec![4];
        off_the_curve.extend_from_slice(&point[1..]);
        off_the_curve.extend(std::iter::repeat_n(1, field_bytes));
        let beyond_the_field = [&[2][..], &vec![0xff; field_bytes]].concat();
        for bad in [
            &[][..],
            &[0],
            &point[..field_bytes],
            &off_the_curve,
            &beyond_the_field,
        ] {
            assert!(
                VerifyingKey::from_point(curve, bad).is_err(),
                "{curve:?} {bad:02x?}"
            );
        }
    }
    let p256 = SigningKey::generate(Curve::P256)
        .unwrap()
        .public_key()
        .unwrap();
    assert!(VerifyingKey::from_point(Curve::P384, &p256).is_err());
}
