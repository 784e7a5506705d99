//! The SP 800-108 KDF in counter mode: published vectors of its exact form, and NIST's.

use proptest::prelude::*;
use waxseal_core::crypto::kdf::{OutputLength, sp800_108};
use waxseal_core::crypto::mac::{MacHash, hmac};

/// SMB 3 derives its keys with exactly this KDF: HMAC-SHA-256, 32-bit counter in front, label, a
/// zero byte, context, 32-bit length (\[MS-SMB2\] 3.1.4.2). Values from Microsoft's Open
/// Specifications blog, *SMB 2 and SMB 3 security in Windows 10: the anatomy of signing and
/// cryptographic keys*, appendix *Key derivation examples*.
#[test]
fn smb3_keys() {
    let preauth = "0dd13628cc3ed218ef9df9772d436d0887ab9814bfae63a80aa845f36909db79\
                   28622dddad522d9751640a459762c5a9d6bb084cbb3ce6bdadef5d5bce3c6c01";
    let preauth = &hex::decode(preauth).unwrap()[..];
    let session = "7cd451825d0450d235424e44ba6e78cc";
    let bound = "4e01a2b313bcf660cc250bef021aede6";
    let session_311 = "270e1ba896585eeb7af3472d3b4c75a7";
    let cases: [(&str, &[u8], &[u8], &str); 9] = [
        (
            session,
            b"SMB2AESCMAC\0",
            b"SmbSign\0",
            "0b7e9c5cac36c0f6ea9ab275298cedce",
        ),
        (
            session,
            b"SMB2AESCCM\0",
            b"ServerIn \0",
            "fad27796665b313ebb578f388632b4f7",
        ),
        (
            session,
            b"SMB2AESCCM\0",
            b"ServerOut\0",
            "b0f0427f7ceb416d1d9dcc0cd4f99447",
        ),
        (
            session,
            b"SMB2APP\0",
            b"SmbRpc\0",
            "bb23a4575aa26c721af525af15a87b4f",
        ),
        (
            bound,
            b"SMB2AESCMAC\0",
            b"SmbSign\0",
            "ba1a17dbbfec349bca105563d598952f",
        ),
        (
            session_311,
            b"SMBSigningKey\0",
            preauth,
            "73fe7a9a77bef0bde49c650d8ccb5f76",
        ),
        (
            session_311,
            b"SMBC2SCipherKey\0",
            preauth,
            "629bcbc54422a0f572b97f45989b6073",
        ),
        (
            session_311,
            b"SMBS2CCipherKey\0",
            preauth,
            "e2af0dcefac68da71a0dfbd0d1350d74",
        ),
        (
            session_311,
            b"SMBAppKey\0",
            preauth,
            "6d7ad7954e9ec61e907b4d473dc178ff",
        ),
    ];
    for (key, label, context, expected) in cases {
        let mut out = [0; 16];
        sp800_108(&hex::decode(key).unwrap(), label, &[context], &mut out).unwrap();
        assert_eq!(hex::encode(out), expected, "{}", label.escape_ascii());
    }
}

/// `HMAC(key, i u32 | fixed)` for i = 1, 2, …, written down independently of the KDF.
fn composed(key: &[u8], fixed: &[&[u8]], out_bytes: usize) -> Vec<u8> {
    (1u32..)
        .flat_map(|i| {
            hmac(
                MacHash::Sha256,
                key,
                &[&[&i.to_be_bytes()[..]], fixed].concat(),
            )
        })
        .take(out_bytes)
        .collect()
}

/// NIST CAVP, *KDF in Counter Mode* (CAVS 14.4, KDFCTR_gen.rsp): `[PRF=HMAC_SHA256]
/// [CTRLOCATION=BEFORE_FIXED] [RLEN=32_BITS]`, counts 0, 10, 20 and 30. Their fixed input is
/// opaque: it is no label, zero, context and length, so they prove the composition here, and the
/// property below proves the KDF by the composition.
#[test]
fn nist_counter_mode() {
    for (key, fixed, expected) in [
        (
            "dd1d91b7d90b2bd3138533ce92b272fbf8a369316aefe242e659cc0ae238afe0",
            "01322b96b30acd197979444e468e1c5c6859bf1b1cf951b7e725303e237e46b864a145fab25e517b08f8683d0315bb2911d80a0e8aba17f3b413faac",
            "10621342bfb0fd40046c0e29f2cfdbf0",
        ),
        (
            "e204d6d466aad507ffaf6d6dab0a5b26152c9e21e764370464e360c8fbc765c6",
            "7b03b98d9f94b899e591f3ef264b71b193fba7043c7e953cde23bc5384bc1a6293580115fae3495fd845dadbd02bd6455cf48d0f62b33e62364a3a80",
            "770dfab6a6a4a4bee0257ff335213f78d8287b4fd537d5c1fffa956910e7c779",
        ),
        (
            "dc60338d884eecb72975c603c27b360605011756c697c4fc388f5176ef81efb1",
            "44d7aa08feba26093c14979c122c2437c3117b63b78841cd10a4bc5ed55c56586ad8986d55307dca1d198edcffbc516a8fbe6152aa428cdd800c062d",
            "29ac07dccf1f28d506cd623e6e3fc2fa255bd60b",
        ),
        (
            "c4bedbddb66493e7c7259a3bbbc25f8c7e0ca7fe284d92d431d9cd99a0d214ac",
            "1c69c54766791e315c2cc5c47ecd3ffab87d0d273dd920e70955814c220eacace6a5946542da3dfe24ff626b4897898cafb7db83bdff3c14fa46fd4b",
            "1da47638d6c9c4d04d74d4640bbd42ab814d9e8cc22f4326695239f96b0693f12d0dd1152cf44430",
        ),
    ] {
        let [key, fixed] = [key, fixed].map(|text| hex::decode(text).unwrap());
        let out = composed(&key, &[&fixed], expected.len() / 2);
        assert_eq!(hex::encode(out), expected);
    }
}

proptest! {
    #[test]
    fn is_the_composition(
        key in proptest::collection::vec(any::<u8>(), 1..100),
        label in proptest::collection::vec(any::<u8>(), 0..80),
        context in proptest::collection::vec(any::<u8>(), 0..200),
        split in any::<prop::sample::Index>(),
        out_bytes in 1usize..200,
    ) {
        let bits = (out_bytes as u32 * 8).to_be_bytes();
        let expected = composed(&key, &[&label, &[0], &context, &bits], out_bytes);
        let (head, tail) = context.split_at(split.index(context.len() + 1));
        let mut out = vec![0; out_bytes];
        sp800_108(&key, &label, &[head, tail], &mut out).unwrap();
        prop_assert_eq!(out, expected);
    }
}

#[test]
fn refuses_an_empty_key_and_an_empty_output() {
    assert_eq!(
        sp800_108(b"", b"label", &[], &mut [0; 16]),
        Err(OutputLength)
    );
    assert_eq!(sp800_108(b"key", b"label", &[], &mut []), Err(OutputLength));
}
