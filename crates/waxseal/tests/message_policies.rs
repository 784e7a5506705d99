//! Who may write and read what, and pairs that readers must know.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod message_support;

use message_support::*;
use waxseal::EncryptionContext;
use waxseal::SystemEntropy;
use waxseal::message::{
    self, CommitmentPolicy, Incoming, Limits, OpenError, OpenOptions, SealError, SealOptions,
    Sealer, Suite,
};

#[test]
fn policies_admit_what_the_specification_says() {
    use CommitmentPolicy::*;
    for policy in CommitmentPolicy::ALL {
        assert_eq!(policy.name().parse(), Ok(policy));
        assert_eq!(
            policy.name().to_uppercase().replace('-', "_").parse(),
            Ok(policy)
        );
        assert!(policy.may_seal(policy.default_suite()));
        for suite in Suite::all() {
            let options = SealOptions {
                commitment: policy,
                ..options(suite, 64)
            };
            let sealer = pollster::block_on(Sealer::new(&keyring(), options, &SystemEntropy));
            let writes = suite.is_committing() == (policy != ForbidEncryptAllowDecrypt);
            match sealer {
                Ok(_) => assert!(writes, "{policy} wrote {suite:?}"),
                Err(SealError::Commitment { .. }) => assert!(!writes, "{policy}, {suite:?}"),
                Err(error) => panic!("{error}"),
            }
            let sealed = seal(suite, 64, b"text");
            let demands = OpenOptions {
                commitment: policy,
                ..OpenOptions::default()
            };
            let reads = suite.is_committing() || policy != RequireEncryptRequireDecrypt;
            match pollster::block_on(message::decrypt(&keyring(), &sealed, &demands)) {
                Ok((plaintext, _)) => assert!(reads && plaintext.expose() == b"text"),
                Err(OpenError::Commitment { suite: id }) => assert!(!reads && id == suite.id()),
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!("require".parse::<CommitmentPolicy>().is_err());
}

fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
    let mut context = EncryptionContext::new();
    for (name, value) in pairs {
        context.insert(*name, *value).unwrap();
    }
    context
}

/// Seals under `purpose` (stored) and `tenant` (not).
fn sealed_for_tenant(suite: Suite) -> Vec<u8> {
    let mut options = options(suite, 64);
    options.context.insert("tenant", "blue").unwrap();
    options.required_names.insert("tenant".into());
    let keyring = keyring();
    let sealed = message::encrypt(&keyring, b"text", options, &SystemEntropy);
    pollster::block_on(sealed).unwrap()
}

#[test]
fn pairs_that_are_not_stored_must_be_known() {
    for suite in Suite::all() {
        let sealed = sealed_for_tenant(suite);
        let claimed = Incoming::read(&sealed[..], &Limits::default()).unwrap();
        assert_eq!(claimed.header().context().value("tenant"), None);
        assert!(!sealed.windows(4).any(|window| window == b"blue"));
        let open = |pairs: &[(&str, &str)]| {
            let options = OpenOptions {
                required_context: context(pairs),
                ..lenient()
            };
            pollster::block_on(message::decrypt(&keyring(), &sealed, &options))
        };
        for known in [
            &[("tenant", "blue")][..],
            &[("tenant", "blue"), ("purpose", "test")],
        ] {
            let (plaintext, header) = open(known).unwrap();
            assert_eq!(plaintext.expose(), b"text");
            assert_eq!(header.context().value("tenant"), Some("blue"));
            assert_eq!(header.context().value("purpose"), Some("test"));
        }
        for unknown in [
            &[][..],
            &[("purpose", "test")],
            &[("tenant", "red")],
            &[("tenant", "blue"), ("other", "x")],
        ] {
            let error = open(unknown).unwrap_err();
            assert!(
                matches!(error, OpenError::NoDataKey(_) | OpenError::Unauthentic),
                "{suite:?} {unknown:?}: {error}"
            );
        }
        let error = open(&[("tenant", "blue"), ("purpose", "other")]).unwrap_err();
        assert!(
            matches!(&error, OpenError::ContextMismatch { name } if name == "purpose"),
            "{suite:?}: {error}"
        );
    }
}

/// A pair that the message never had is told from one that is wrong, as long as the message is
/// authentic without it.
#[test]
fn a_pair_too_many_is_named() {
    for suite in Suite::all() {
        let sealed = seal(suite, 64, b"text");
        let options = OpenOptions {
            required_context: context(&[("tenant", "blue")]),
            ..lenient()
        };
        let open = |sealed: &[u8]| {
            let keyring = keyring_of(7);
            let opened = message::decrypt(&keyring, sealed, &options);
            pollster::block_on(opened).unwrap_err()
        };
        let error = open(&sealed);
        assert!(
            matches!(&error, OpenError::ContextMismatch { name } if name == "tenant"),
            "{suite:?}: {error}"
        );
        let header_bytes = Incoming::read(&sealed[..], &Limits::default())
            .unwrap()
            .header()
            .header_bytes();
        let mut altered = sealed;
        altered[header_bytes - 1] ^= 1;
        let error = open(&altered);
        assert!(
            !matches!(error, OpenError::ContextMismatch { .. }),
            "{error}"
        );
    }
}

#[test]
fn names_of_the_format_are_nobody_elses() {
    let mut reserved = options(Suite::COMMITTING, 64);
    reserved.context.insert("aws-crypto-x", "y").unwrap();
    let keyring = keyring();
    let sealed = message::encrypt(&keyring, b"", reserved, &SystemEntropy);
    assert!(matches!(
        pollster::block_on(sealed),
        Err(SealError::ReservedContext(name)) if name == "aws-crypto-x"
    ));
    let mut missing = options(Suite::COMMITTING, 64);
    missing.required_names.insert("tenant".into());
    let sealed = message::encrypt(&keyring, b"", missing, &SystemEntropy);
    assert!(matches!(
        pollster::block_on(sealed),
        Err(SealError::RequiredName(name)) if name == "tenant"
    ));
    // A reader may demand a certain signer, and adds none.
    let signed = seal(Suite::COMMITTING_SIGNED, 64, b"text");
    let unsigned = seal(Suite::COMMITTING, 64, b"text");
    let key = Incoming::read(&signed[..], &Limits::default()).unwrap();
    let key = key
        .header()
        .context()
        .value("aws-crypto-public-key")
        .unwrap()
        .to_owned();
    let options = OpenOptions {
        required_context: context(&[("aws-crypto-public-key", &key)]),
        ..OpenOptions::default()
    };
    assert!(pollster::block_on(message::decrypt(&keyring, &signed, &options)).is_ok());
    for other in [unsigned, seal(Suite::COMMITTING_SIGNED, 64, b"text")] {
        let error = pollster::block_on(message::decrypt(&keyring, &other, &options)).unwrap_err();
        assert!(
            matches!(error, OpenError::ContextMismatch { .. }),
            "{error}"
        );
    }
}

/// The option tries more; it does not accept more.
#[test]
fn the_net_option_opens_nothing_else() {
    for suite in Suite::all() {
        let sealed = seal(suite, 64, b"text");
        let options = OpenOptions {
            net_4_0_0: true,
            ..lenient()
        };
        let open =
            |sealed: &[u8]| pollster::block_on(message::decrypt(&keyring(), sealed, &options));
        assert_eq!(open(&sealed).unwrap().0.expose(), b"text");
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 0x20;
            assert!(open(&altered).is_err(), "{suite:?} {at}");
        }
    }
}
