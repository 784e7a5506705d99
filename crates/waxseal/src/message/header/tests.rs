use super::*;
use crate::message::FRAME_BYTES_DEFAULT;
use proptest::collection::vec;
use proptest::prelude::*;

fn fields() -> Fields {
    Fields {
        suite: Suite::COMMITTING,
        message_id: vec![1; 32],
        context: EncryptionContext::new(),
        stored_context: Vec::new(),
        encrypted_data_keys: vec![EncryptedDataKey::bare(vec![2; 40])],
        frame_bytes: Some(FRAME_BYTES_DEFAULT),
        commitment: vec![3; 32],
    }
}

fn printed(fields: &Fields) -> Vec<u8> {
    let mut bytes = fields.print().unwrap();
    bytes.resize(bytes.len() + auth_bytes(fields.suite), 4);
    bytes
}

/// Length of what stands behind the body.
fn auth_bytes(suite: Suite) -> usize {
    match suite.version() {
        1 => NONCE_BYTES + TAG_BYTES,
        _ => TAG_BYTES,
    }
}

fn parsed(bytes: &[u8]) -> Result<Header, OpenError> {
    match parse(bytes, &Limits::default())? {
        Parsed::Header(header) => Ok(*header),
        Parsed::NeedMore(_) => Err(OpenError::Truncated),
    }
}

fn any_fields() -> impl Strategy<Value = Fields> {
    let pair = (".{1,9}", ".{0,9}");
    let key = (".{0,9}", vec(any::<u8>(), 0..99), vec(any::<u8>(), 0..99));
    (
        prop::sample::select(Suite::all().collect::<Vec<_>>()),
        any::<[u8; 32]>(),
        vec(pair, 0..5),
        vec(key, 1..5),
        any::<u32>(),
    )
        .prop_map(|(suite, id, pairs, keys, frame_bytes)| {
            let mut context = EncryptionContext::new();
            let mut stored = Vec::new();
            for (name, value) in pairs {
                if context.insert(name.clone(), value.clone()).is_ok() {
                    print_field(&mut stored, name.as_bytes()).unwrap();
                    print_field(&mut stored, value.as_bytes()).unwrap();
                }
            }
            // As drawn, so that the order is seldom the canonical one.
            if !context.is_empty() {
                stored.splice(0..0, (context.len() as u16).to_be_bytes());
            }
            Fields {
                suite,
                message_id: id[..suite.message_id_bytes()].to_vec(),
                context,
                stored_context: stored,
                encrypted_data_keys: keys
                    .into_iter()
                    .map(
                        |(provider_id, provider_info, ciphertext)| EncryptedDataKey {
                            provider_id,
                            provider_info,
                            ciphertext,
                        },
                    )
                    .collect(),
                frame_bytes: NonZeroU32::new(frame_bytes),
                commitment: id[..suite.commitment_bytes()].to_vec(),
            }
        })
}

proptest! {
    #[test]
    fn what_is_printed_parses(fields in any_fields(), body in vec(any::<u8>(), 0..20)) {
        let bytes = printed(&fields);
        let header = parsed(&[bytes.clone(), body].concat()).unwrap();
        prop_assert_eq!(header.bytes(), &bytes);
        prop_assert_eq!(header.fields, fields);
    }

    #[test]
    fn what_parses_prints_back(fields in any_fields(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = printed(&fields);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(header) = parsed(&bytes) {
            let body = header.fields.print().unwrap();
            prop_assert_eq!(&body[..], &header.bytes[..header.bytes.len() - auth_bytes(header.suite())]);
        }
    }

    #[test]
    fn the_need_is_never_overstated(fields in any_fields(), at in any::<prop::sample::Index>()) {
        let bytes = printed(&fields);
        let at = at.index(bytes.len());
        let Ok(Parsed::NeedMore(need)) = parse(&bytes[..at], &Limits::default()) else {
            panic!("{at} of {} bytes were enough", bytes.len());
        };
        prop_assert!(at < need && need <= bytes.len());
    }

    #[test]
    fn random_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..200)) {
        let _ = parsed(&bytes);
        let _ = parsed(&[&[2, 4, 0x78], &bytes[..]].concat());
        let _ = parsed(&[&[1, 0x80, 1, 0x78], &bytes[..]].concat());
    }
}

#[test]
fn the_number_of_keys_is_limited() {
    let mut fields = fields();
    let edges = [(64, true), (65, false)];
    for (count, fits) in edges {
        fields.encrypted_data_keys = vec![EncryptedDataKey::bare(vec![2; 40]); count];
        assert_eq!(parsed(&printed(&fields)).is_ok(), fits, "{count} keys");
    }
    fields.encrypted_data_keys.clear();
    assert!(matches!(
        fields.print(),
        Err(SealError::EncryptedDataKeys { count: 0 })
    ));
    let count_at = 1 + 2 + 32 + 2;
    let mut none = printed(&self::fields());
    none[count_at..count_at + 2].fill(0);
    assert!(matches!(parsed(&none), Err(OpenError::Malformed { .. })));
}

#[test]
fn the_length_is_limited() {
    let bytes = printed(&fields());
    let with = |header_bytes_max| Limits {
        header_bytes_max,
        ..Limits::default()
    };
    assert!(matches!(
        parse(&bytes, &with(bytes.len())),
        Ok(Parsed::Header(_))
    ));
    assert!(matches!(
        parse(&bytes, &with(bytes.len() - 1)),
        Err(OpenError::Limit { .. })
    ));
}

#[test]
fn a_hostile_count_is_refused_before_its_keys_are_read() {
    let mut bytes = printed(&fields())[..35].to_vec();
    bytes.extend_from_slice(&[0, 0, 0xff, 0xff]);
    assert!(matches!(
        parsed(&bytes),
        Err(OpenError::Limit {
            value: 65_535,
            max: 64,
            ..
        })
    ));
}

#[test]
fn content_and_frame_length_go_together() {
    let good = printed(&fields());
    let content_at = good.len() - TAG_BYTES - 32 - 5;
    for (content, frame_bytes, fits) in [
        (2, 1, true),
        (2, u32::MAX, true),
        (2, 0, false),
        (1, 0, true),
        (1, 1, false),
        (0, 0, false),
        (3, 1, false),
    ] {
        let mut bytes = good.clone();
        bytes[content_at] = content;
        bytes[content_at + 1..content_at + 5].copy_from_slice(&u32::to_be_bytes(frame_bytes));
        assert_eq!(parsed(&bytes).is_ok(), fits, "{content} {frame_bytes}");
    }
}

#[test]
fn other_versions_and_suites_are_named() {
    let mut bytes = printed(&fields());
    bytes[0] = 3;
    assert!(matches!(
        parsed(&bytes),
        Err(OpenError::UnsupportedVersion(3))
    ));
    bytes[..3].copy_from_slice(&[2, 0x03, 0x78]);
    assert!(matches!(
        parsed(&bytes),
        Err(OpenError::UnsupportedSuite {
            suite: 0x0378,
            version: 2
        })
    ));
    bytes[..4].copy_from_slice(&[1, 0x80, 0x04, 0x78]);
    assert!(matches!(
        parsed(&bytes),
        Err(OpenError::UnsupportedSuite {
            suite: 0x0478,
            version: 1
        })
    ));
}

/// The bytes of version 1 that say nothing must say it rightly.
#[test]
fn the_constants_of_version_1_are_checked() {
    let suite = Suite::UNCOMMITTED_SIGNED;
    let good = printed(&Fields {
        suite,
        message_id: vec![1; 16],
        commitment: Vec::new(),
        ..fields()
    });
    assert_eq!(parsed(&good).unwrap().suite(), suite);
    let reserved_at = good.len() - auth_bytes(suite) - 4 - RESERVED_V1.len();
    for at in [1]
        .into_iter()
        .chain(reserved_at..reserved_at + RESERVED_V1.len())
    {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        let found = parsed(&bytes);
        assert!(
            matches!(found, Err(OpenError::Malformed { .. })),
            "byte {at}"
        );
    }
}

/// The tag of version 1 goes by the stored IV; that of version 2 has none.
#[test]
fn headers_authenticate_under_their_key_and_unstored_pairs() {
    for suite in Suite::all() {
        let fields = Fields {
            suite,
            message_id: vec![1; suite.message_id_bytes()],
            commitment: vec![3; suite.commitment_bytes()],
            ..fields()
        };
        let key = |byte| AesGcm::new(&vec![byte; suite.key_bytes()]).unwrap();
        for unstored in [&b""[..], b"\0\x01\0\x01a\0\x01b"] {
            let sealed = Header::seal(fields.clone(), unstored, &key(7)).unwrap();
            let header = parsed(sealed.bytes()).unwrap();
            assert_eq!(header, sealed);
            assert!(header.authenticate(&key(7), unstored).is_ok());
            assert!(header.authenticate(&key(8), unstored).is_err());
            assert!(header.authenticate(&key(7), b"other").is_err());
            for at in 0..header.bytes.len() {
                let mut altered = header.clone();
                altered.bytes[at] ^= 0x10;
                assert!(
                    altered.authenticate(&key(7), unstored).is_err(),
                    "{suite:?} {at}"
                );
            }
        }
    }
}
