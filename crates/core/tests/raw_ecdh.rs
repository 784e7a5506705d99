//! The raw ECDH keyring: published messages, its three roles, and what it refuses.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside #[test] may fail too

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use support::{
    Header, Outcome, context, entropy, file, json, now, round_trip, unwrap, vectors, wrap,
};
use waxseal_core::crypto::aead::AesGcm;
use waxseal_core::crypto::ecdh::{EcdhCurve, EcdhKeys, EcdhPrivateKey, EcdhPublicKey};
use waxseal_core::crypto::kdf;
use waxseal_core::crypto::pem::KeyError;
use waxseal_core::keyring::RawEcdhKeyring;
use waxseal_core::keyring::key_agreement::{self, PROVIDER_AWS_KMS_ECDH, Parties};
use waxseal_core::{EncryptionContext, Keyring, KeyringError};

#[test]
fn unwraps_what_the_dafny_library_wrapped() {
    let Some(folder) = vectors("esdk/dafny-4.1.0", 99) else {
        return;
    };
    let keys = &json(&folder.join("keys.json"))["keys"];
    let (mut opened, mut reversed) = (0, 0);
    for (id, test) in json(&folder.join("decrypt-manifest.json"))["tests"]
        .as_object()
        .unwrap()
    {
        let scenario = &test["decryption-scenario"];
        let description = &scenario["decryptKeyDescription"];
        if description["type"] != "raw-ecdh" {
            continue;
        }
        let header = Header::parse(&file(&folder, &scenario["ciphertext"]));
        let open =
            |keyring: &RawEcdhKeyring| match unwrap(keyring, &header.encrypted[0], &header.context)
            {
                Outcome::Key(key) => assert!(header.proves(&key, &context(&[])), "{id}"),
                other => panic!("{id}: {other:?}"),
            };
        open(&described(description, keys));
        opened += 1;
        if description["schema"] == "static" {
            open(&from_the_other_end(description, keys));
            reversed += 1;
        }
    }
    assert_eq!((opened, reversed), (99, 33));
}

fn described(description: &Value, keys: &Value) -> RawEcdhKeyring {
    let key = &keys[description["recipient"].as_str().unwrap()];
    if description["schema"] == "discovery" {
        return RawEcdhKeyring::discovery(private(&key["recipient-material"]), entropy());
    }
    let peer = public(&key["recipient-material-public-key"]);
    RawEcdhKeyring::with_peer(private(&key["sender-material"]), peer, entropy()).unwrap()
}

fn from_the_other_end(description: &Value, keys: &Value) -> RawEcdhKeyring {
    let key = &keys[description["recipient"].as_str().unwrap()];
    let peer = public(&key["sender-material-public-key"]);
    RawEcdhKeyring::with_peer(private(&key["recipient-material"]), peer, entropy()).unwrap()
}

fn private(text: &Value) -> EcdhPrivateKey {
    EcdhPrivateKey::from_pem(text.as_str().unwrap().as_bytes()).unwrap()
}

fn public(der: &Value) -> EcdhPublicKey {
    EcdhPublicKey::from_spki(&STANDARD.decode(der.as_str().unwrap()).unwrap()).unwrap()
}

/// Two parties on a curve, each able to hand out its keys again.
struct Pair([String; 2]);

impl Pair {
    fn new(curve: EcdhCurve) -> Self {
        Self([(); 2].map(|()| private_pem(curve)))
    }

    fn private(&self, at: usize) -> EcdhPrivateKey {
        EcdhPrivateKey::from_pem(self.0[at].as_bytes()).unwrap()
    }

    fn public(&self, at: usize) -> EcdhPublicKey {
        self.private(at).public_key().clone()
    }

    fn with_peer(&self, own: usize) -> RawEcdhKeyring {
        RawEcdhKeyring::with_peer(self.private(own), self.public(1 - own), entropy()).unwrap()
    }

    fn to(&self, recipient: usize) -> RawEcdhKeyring {
        RawEcdhKeyring::to_recipient(self.public(recipient), entropy())
    }

    fn discovery(&self, own: usize) -> RawEcdhKeyring {
        RawEcdhKeyring::discovery(self.private(own), entropy())
    }
}

fn private_pem(curve: EcdhCurve) -> String {
    use aws_lc_rs::agreement::{ECDH_P256, ECDH_P384, ECDH_P521, PrivateKey};
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    let algorithm = match curve {
        EcdhCurve::P256 => &ECDH_P256,
        EcdhCurve::P384 => &ECDH_P384,
        EcdhCurve::P521 => &ECDH_P521,
    };
    let key = PrivateKey::generate(algorithm).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    pem("PRIVATE KEY", der.as_ref())
}

fn pem(label: &str, der: &[u8]) -> String {
    pem::encode(&pem::Pem::new(label, der))
}

#[test]
fn each_role_wraps_and_unwraps_what_it_should() {
    for curve in EcdhCurve::ALL {
        let pair = Pair::new(curve);
        let (alice, bob) = (pair.with_peer(0), pair.with_peer(1));
        round_trip(&alice, &bob);
        round_trip(&bob, &alice);
        round_trip(&alice, &alice);
        round_trip(&pair.to(1), &pair.discovery(1));
        // Discovery opens what a static sender wrapped for it, and not what it wrapped itself.
        round_trip(&alice, &pair.discovery(1));
        let context = context(&[("a", "b")]);
        let static_one = wrap(&alice, &[5; 32], &context);
        let ephemeral = wrap(&pair.to(1), &[5; 32], &context);
        let stranger = Pair::new(curve);
        for (keyring, encrypted, expected) in [
            (pair.discovery(0), &static_one, Outcome::NotMine),
            (pair.to(1), &static_one, Outcome::Unsupported),
            (pair.to(0), &static_one, Outcome::NotMine),
            (pair.to(1), &ephemeral, Outcome::Unsupported),
            (pair.discovery(0), &ephemeral, Outcome::NotMine),
            (pair.with_peer(1), &ephemeral, Outcome::NotMine),
            (stranger.with_peer(0), &static_one, Outcome::NotMine),
            (stranger.discovery(0), &ephemeral, Outcome::NotMine),
        ] {
            assert_eq!(
                unwrap(&keyring, encrypted, &context),
                expected,
                "{keyring:?}"
            );
        }
        let refused = now(pair.discovery(0).generate(32, &context));
        assert!(matches!(refused, Err(KeyringError::Unsupported { .. })));
        assert_eq!(ephemeral.provider_id, "raw-ecdh");
        assert_eq!(
            ephemeral.provider_info.len(),
            9 + 2 * curve.compressed_bytes()
        );
        assert_eq!(ephemeral.ciphertext.len(), 32 + 32 + 32 + 16);
    }
    let (one, other) = (Pair::new(EcdhCurve::P256), Pair::new(EcdhCurve::P384));
    let mixed = RawEcdhKeyring::with_peer(one.private(0), other.public(0), entropy());
    let text = mixed.unwrap_err().to_string();
    assert_eq!(
        text,
        "the private key is on p256 and the peer's public key on p384"
    );
}

#[test]
fn keys_of_a_kms_are_opened_by_whoever_shares_the_secret() {
    let pair = Pair::new(EcdhCurve::P384);
    let context = context(&[("a", "b")]);
    let mut encrypted = wrap(&pair.with_peer(0), &[5; 24], &context);
    encrypted.provider_id = PROVIDER_AWS_KMS_ECDH.to_owned();
    let opened = unwrap(&pair.with_peer(1), &encrypted, &context);
    assert_eq!(opened, Outcome::Key(vec![5; 24]));

    // As a KMS keyring does it: a secret from elsewhere, the parties from the provider info.
    let parties = Parties::parse(&encrypted.provider_info).unwrap();
    assert!(parties.are(&pair.public(0), &pair.public(1)));
    let sender = EcdhPublicKey::from_point(parties.curve, parties.sender).unwrap();
    assert_eq!(sender, pair.public(0));
    assert_eq!(sender.spki().len(), 120);
    let secret = pair.private(1).shared_secret(&sender).unwrap();
    let key = key_agreement::unwrap(&parties, &secret, &encrypted.ciphertext, &context).unwrap();
    assert_eq!(key.expose(), [5; 24]);

    encrypted.provider_id = "raw-aes".to_owned();
    assert_eq!(
        unwrap(&pair.with_peer(1), &encrypted, &context),
        Outcome::NotMine
    );
}

#[test]
fn every_bit_counts() {
    let pair = Pair::new(EcdhCurve::P256);
    let context = context(&[("a", "b"), ("c", "d")]);
    let encrypted = wrap(&pair.to(1), &[5; 32], &context);
    let opener = pair.discovery(1);
    for bit in 0..encrypted.ciphertext.len() * 8 {
        let mut changed = encrypted.clone();
        changed.ciphertext[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            unwrap(&opener, &changed, &context),
            Outcome::Unauthentic,
            "bit {bit}"
        );
    }
    for len in 0..encrypted.ciphertext.len() {
        let mut changed = encrypted.clone();
        changed.ciphertext.truncate(len);
        assert_eq!(
            unwrap(&opener, &changed, &context),
            Outcome::Unauthentic,
            "{len} bytes"
        );
    }
    let sender_at = 1 + 4 + 33 + 4;
    for bit in 0..encrypted.provider_info.len() * 8 {
        let mut changed = encrypted.clone();
        changed.provider_info[bit / 8] ^= 1 << (bit % 8);
        let expected = match bit / 8 >= sender_at {
            // Another sender, or no point at all.
            true => Outcome::Unauthentic,
            false => Outcome::NotMine,
        };
        assert_eq!(unwrap(&opener, &changed, &context), expected, "bit {bit}");
    }
    for len in 0..encrypted.provider_info.len() {
        let mut changed = encrypted.clone();
        changed.provider_info.truncate(len);
        assert_eq!(
            unwrap(&opener, &changed, &context),
            Outcome::NotMine,
            "{len} bytes"
        );
    }
    let mut longer = encrypted.clone();
    longer.provider_info.push(0);
    assert_eq!(unwrap(&opener, &longer, &context), Outcome::NotMine);
    for other in [&[][..], &[("a", "b")], &[("a", "b"), ("c", "e")]] {
        let other = support::context(other);
        assert_eq!(unwrap(&opener, &encrypted, &other), Outcome::Unauthentic);
    }
}

#[test]
fn a_context_in_another_order_is_tried_as_stored() {
    let pair = Pair::new(EcdhCurve::P256);
    let stored = b"\0\x02\0\x01b\0\0\0\x01a\0\0";
    let read = EncryptionContext::parse(stored).unwrap();
    let keyring = pair.with_peer(0);
    let canonical = wrap(&keyring, &[5; 32], &read);
    let sorted = context(&[("a", ""), ("b", "")]);
    for context in [&read, &sorted] {
        assert_eq!(
            unwrap(&keyring, &canonical, context),
            Outcome::Key(vec![5; 32])
        );
    }

    // As a writer did that sorted by locale; the layout spelled out once more.
    let (sender, recipient) = (pair.public(0), pair.public(1));
    let fixed_info = [
        &b"ecdh-key-derivation\0p256\0HMAC_SHA384\0"[..],
        sender.compressed(),
        recipient.compressed(),
        b"\0\x01\0",
        stored,
    ]
    .concat();
    let secret = pair.private(1).shared_secret(&sender).unwrap();
    let mut derived = [0; 64];
    kdf::sp800_108_sha384(secret.expose(), &fixed_info, &[&[9; 32]], &mut derived).unwrap();
    let mut sealed = vec![6; 32];
    let tag = AesGcm::new(&derived[32..])
        .unwrap()
        .seal([0; 12], &fixed_info, &mut sealed)
        .unwrap();
    let mut unsorted = canonical;
    unsorted.ciphertext = [&[9; 32], &derived[..32], &sealed, &tag].concat();
    assert_eq!(
        unwrap(&keyring, &unsorted, &read),
        Outcome::Key(vec![6; 32])
    );
    assert_eq!(unwrap(&keyring, &unsorted, &sorted), Outcome::Unauthentic);
}

#[test]
fn limits_hold_on_both_sides() {
    let pair = Pair::new(EcdhCurve::P521);
    let keyring = pair.with_peer(0);
    let most = 65_535 - 32 - 32 - 16;
    let encrypted = wrap(&keyring, &vec![1; most], &context(&[]));
    assert_eq!(encrypted.ciphertext.len(), 65_535);
    let opened = unwrap(&keyring, &encrypted, &context(&[]));
    assert_eq!(opened, Outcome::Key(vec![1; most]));
    let key = |bytes| waxseal_core::DataKey::new(waxseal_core::SecretBytes::zeroed(bytes));
    let refused = now(keyring.wrap(&key(most + 1), &context(&[])));
    assert!(matches!(refused, Err(KeyringError::Limit { .. })));
    let fits = "v".repeat(65_535 - 2 - 4 - 1);
    assert!(now(keyring.wrap(&key(32), &context(&[("n", &fits)]))).is_ok());
    let over = format!("{fits}v");
    let refused = now(keyring.wrap(&key(32), &context(&[("n", &over)])));
    assert!(matches!(refused, Err(KeyringError::Limit { .. })));
}

#[test]
fn every_form_of_key_is_read() {
    for (curve, spki_bytes) in EcdhCurve::ALL.into_iter().zip([91, 120, 158]) {
        let text = private_pem(curve);
        let private = EcdhPrivateKey::from_pem(text.as_bytes()).unwrap();
        let public = private.public_key();
        assert_eq!((private.curve(), public.curve()), (curve, curve));
        assert_eq!(public.spki().len(), spki_bytes);
        assert_eq!(public.compressed().len(), curve.compressed_bytes());
        let point = &public.spki()[spki_bytes - 1 - 2 * curve.field_bytes()..];
        for read in [
            EcdhPublicKey::from_spki(public.spki()),
            EcdhPublicKey::from_point(curve, public.compressed()),
            EcdhPublicKey::from_point(curve, point),
            EcdhPublicKey::from_pem(pem("PUBLIC KEY", public.spki()).as_bytes()),
        ] {
            assert_eq!(read.as_ref(), Ok(public));
        }
        let both = format!("{text}{}", pem("PUBLIC KEY", public.spki()));
        let keys = EcdhKeys::from_pem(both.as_bytes()).unwrap();
        assert_eq!(keys.public.as_ref(), Some(public));
        let shown = format!("{:?}", keys.private.unwrap());
        assert_eq!(shown, format!("EcdhPrivateKey({})", curve.name()));
        let stranger = format!("{}{}", private_pem(curve), pem("PUBLIC KEY", public.spki()));
        let refused = EcdhKeys::from_pem(stranger.as_bytes()).unwrap_err();
        assert_eq!(refused, KeyError::NotAPair);

        // Points: the one at infinity, hybrid, off the curve, of another length or curve.
        let mut hybrid = point.to_vec();
        hybrid[0] = 6 | (point[point.len() - 1] & 1);
        let mut off = point.to_vec();
        let last = off.len() - 1;
        off[last] ^= 1;
        for wrong in [&[0][..], &[], &hybrid, &off, &point[..last], public.spki()] {
            assert!(EcdhPublicKey::from_point(curve, wrong).is_err());
        }
        for other in EcdhCurve::ALL {
            let read = EcdhPublicKey::from_point(other, public.compressed());
            assert_eq!(read.is_ok(), other == curve);
        }
        assert!(EcdhPublicKey::from_spki(public.compressed()).is_err());
        assert!(EcdhPublicKey::from_spki(point).is_err());
        assert!(EcdhPublicKey::from_spki(&public.spki()[..spki_bytes - 1]).is_err());
        let wrapped = |tail: &[u8]| EcdhPublicKey::from_spki(&[public.spki(), tail].concat());
        assert!(wrapped(&[0]).is_err() && wrapped(public.compressed()).is_err());
        // A compressed point in an SPKI: the same header, with shorter lengths.
        let head = match curve {
            EcdhCurve::P256 => "3039301306072a8648ce3d020106082a8648ce3d030107032200",
            EcdhCurve::P384 => "3046301006072a8648ce3d020106052b81040022033200",
            EcdhCurve::P521 => "3058301006072a8648ce3d020106052b81040023034400",
        };
        let short = [&hex::decode(head).unwrap(), public.compressed()].concat();
        assert_eq!(EcdhPublicKey::from_spki(&short).as_ref(), Ok(public));
        let longer = [&short[..], &[0]].concat();
        assert!(EcdhPublicKey::from_spki(&longer).is_err());
    }
    for label in ["PRIVATE KEY", "EC PRIVATE KEY", "PUBLIC KEY"] {
        let text = pem(label, &[0x30, 0x03, 0x02, 0x01, 0x00]);
        let refused = EcdhKeys::from_pem(text.as_bytes()).unwrap_err();
        assert!(
            matches!(refused, KeyError::Refused { .. }),
            "{label}: {refused}"
        );
    }
}
