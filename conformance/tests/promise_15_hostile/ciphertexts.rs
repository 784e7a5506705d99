//! Ciphertexts, public keys, signatures, attestation documents and certificates that are none.

use crate::support::{Attack, Keys};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use waxseal_conformance::Dice;

/// Bytes that were altered, cut and lengthened at every place.
fn spoilt(bytes: &[u8]) -> Vec<Vec<u8>> {
    let flipped = (0..8 * bytes.len()).map(|bit| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    let cut = (0..bytes.len()).map(|length| bytes[..length].to_vec());
    let longer = [&b"\0"[..], bytes].map(|more| [bytes, more].concat());
    flipped.chain(cut).chain(longer).collect()
}

pub(crate) fn ciphertexts(attack: &mut Attack<'_>, keys: &Keys, dice: &mut Dice) {
    let mut blobs = spoilt(&keys.blob);
    for bytes in [1, 4, 100, 6_143, 6_144, 6_145, 40_000] {
        blobs.push(dice.bytes(bytes));
        blobs.push([&keys.blob[..20.min(bytes)], &dice.bytes(bytes)].concat());
    }
    // As Amazon KMS makes them.
    blobs.push([&[1, 2, 2, 0, 0x78][..], &dice.bytes(180)].concat());
    for blob in &blobs {
        let blob = STANDARD.encode(blob);
        let body = json!({ "CiphertextBlob": blob });
        let opened = attack.ask("ciphertexts", "Decrypt", body.to_string().as_bytes());
        assert_ne!(opened.status(), 200, "{blob} was opened");
    }
    for blob in blobs.iter().step_by(7) {
        let body =
            json!({ "CiphertextBlob": STANDARD.encode(blob), "DestinationKeyId": keys.symmetric });
        let made = attack.ask("ciphertexts", "ReEncrypt", body.to_string().as_bytes());
        assert_ne!(made.status(), 200, "{blob:?} was opened");
    }
}

/// What is DER, or was to be; CBOR as well.
pub(crate) fn structures(attack: &mut Attack<'_>, keys: &Keys) {
    let mut hostile = vec![
        vec![],
        vec![0x30],
        vec![0x30, 0x80],
        vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        [&[0x30, 0x89][..], &[0xff; 9]].concat(),
        [0x30, 0x00].repeat(2_000),
        [0x30, 0x82, 0x0f, 0xff].repeat(1_000),
        [&[0x02, 0x82, 0x10, 0x00][..], &[0xff; 4_096]].concat(),
        [&[0x06, 0x82, 0x10, 0x00][..], &[0xff; 4_096]].concat(),
        // Lists in lists, lists without an end, a list as long as all memory, tags of tags.
        vec![0x81; 6_000],
        vec![0x9f; 6_000],
        [&[0x9b][..], &[0xff; 8]].concat(),
        [&[0x5b][..], &[0x7f; 8]].concat(),
        vec![0xc6; 6_000],
        vec![0xa1; 6_000],
        vec![0x84, 0x43, 0xa1, 0x01, 0x38, 0x22, 0xa0, 0x41, 0x00, 0x40],
        [
            &[
                0xd2, 0x84, 0x44, 0xa1, 0x01, 0x38, 0x22, 0xa0, 0x59, 0xff, 0xff,
            ][..],
            &[0xbf; 90],
        ]
        .concat(),
    ];
    let public = attack
        .server
        .done("GetPublicKey", &json!({ "KeyId": keys.agreement }));
    let public = STANDARD
        .decode(public["PublicKey"].as_str().unwrap())
        .unwrap();
    hostile.extend(spoilt(&public).into_iter().step_by(3));
    let message = STANDARD.encode("message");
    let signed =
        json!({ "KeyId": keys.pair, "Message": message, "SigningAlgorithm": "ECDSA_SHA_256" });
    let signature = attack.server.done("Sign", &signed);
    let signature = STANDARD
        .decode(signature["Signature"].as_str().unwrap())
        .unwrap();
    let signatures = spoilt(&signature).into_iter().step_by(3);
    for bytes in hostile.into_iter().chain(signatures) {
        let bytes = STANDARD.encode(bytes);
        let recipient = json!({ "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256",
                                "AttestationDocument": bytes });
        for (operation, body) in [
            (
                "DeriveSharedSecret",
                json!({ "KeyId": keys.agreement, "KeyAgreementAlgorithm": "ECDH", "PublicKey": bytes }),
            ),
            (
                "Verify",
                json!({ "KeyId": keys.pair, "Message": message, "Signature": bytes,
                        "SigningAlgorithm": "ECDSA_SHA_256" }),
            ),
            (
                "VerifyMac",
                json!({ "KeyId": keys.mac, "Message": message, "Mac": bytes,
                        "MacAlgorithm": "HMAC_SHA_256" }),
            ),
            (
                "Decapsulate",
                json!({ "KeyId": keys.kem, "EncapsulationAlgorithm": "ML_KEM", "SharedSecretCiphertextBlob": bytes }),
            ),
            (
                "ImportKeyMaterial",
                json!({ "KeyId": keys.external, "ImportToken": bytes, "EncryptedKeyMaterial": bytes,
                        "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE" }),
            ),
            (
                "GenerateRandom",
                json!({ "NumberOfBytes": 8, "Recipient": recipient }),
            ),
            (
                "CreateCustomKeyStore",
                json!({ "CustomKeyStoreName": "x", "CloudHsmClusterId": "cluster-2a23b4cdefg",
                        "TrustAnchorCertificate": bytes, "KeyStorePassword": "password" }),
            ),
        ] {
            attack.ask("structures", operation, body.to_string().as_bytes());
        }
    }
}
