//! Each way to fail, in the keyring's terms, within bounded time.

use crate::support::{ARN, Reply, Stub, block_on, edk, error, hermetic, ok};
use serde_json::json;
use std::net::TcpListener;
use std::time::{Duration, Instant};
use waxseal_aws::{AwsKms, AwsOptions};
use waxseal_core::{DataKey, EncryptionContext, Keyring, KeyringError, SecretBytes};

/// How one request with these options fails.
fn fail(options: AwsOptions) -> KeyringError {
    let keyring = AwsKms::new(options).keyring(ARN.parse().unwrap());
    block_on(keyring.unwrap(&edk(ARN), &EncryptionContext::new())).unwrap_err()
}

fn kind(error: &KeyringError) -> &'static str {
    match error {
        KeyringError::AccessDenied { .. } => "access denied",
        KeyringError::KeyState { .. } => "key state",
        KeyringError::NotFound { .. } => "not found",
        KeyringError::Unreachable { .. } => "unreachable",
        KeyringError::Unauthentic { .. } => "unauthentic",
        KeyringError::Limit { .. } => "limit",
        KeyringError::Unsupported { .. } => "unsupported",
        KeyringError::Configuration { .. } => "configuration",
        KeyringError::Service { .. } => "service",
        _ => "?",
    }
}

hermetic! {
    fn each_code_has_its_kind() => {
        for (code, status, expected) in [
            ("AccessDeniedException", 400, "access denied"),
            ("UnrecognizedClientException", 400, "access denied"),
            ("InvalidSignatureException", 400, "access denied"),
            ("SignatureDoesNotMatch", 403, "access denied"),
            ("ExpiredTokenException", 400, "access denied"),
            ("ExpiredToken", 400, "access denied"),
            ("InvalidClientTokenId", 403, "access denied"),
            ("MissingAuthenticationToken", 403, "access denied"),
            ("IncompleteSignature", 400, "access denied"),
            ("DisabledException", 400, "key state"),
            ("KMSInvalidStateException", 400, "key state"),
            ("KeyUnavailableException", 500, "key state"),
            ("InvalidKeyUsageException", 400, "key state"),
            ("NotFoundException", 400, "not found"),
            ("InvalidArnException", 400, "not found"),
            ("InvalidCiphertextException", 400, "unauthentic"),
            ("IncorrectKeyException", 400, "unauthentic"),
            ("ThrottlingException", 400, "unreachable"),
            ("LimitExceededException", 400, "unreachable"),
            ("KMSInternalException", 500, "unreachable"),
            ("DependencyTimeoutException", 500, "unreachable"),
            ("SomethingNew", 503, "unreachable"),
            ("SomethingNew", 429, "unreachable"),
            ("ValidationException", 400, "limit"),
            ("UnsupportedOperationException", 400, "unsupported"),
            ("SomethingNew", 400, "service"),
            ("com.amazonaws.kms#DisabledException", 400, "key state"),
        ] {
            let stub = Stub::start(move |_, _| error(status, code));
            let found = fail(stub.options());
            assert_eq!(kind(&found), expected, "{code} {status}: {found}");
            let text = found.to_string();
            assert!(text.contains(ARN), "{text}");
            if expected != "unauthentic" {
                let code = code.rsplit('#').next().unwrap();
                assert!(text.contains(&format!("{code}: as told (request request-0)")), "{text}");
            }
        }
    }

    fn capital_message_and_no_message_are_read() => {
        let stub = Stub::start(|_, _| Reply::Json(400, json!({
            "__type": "AccessDeniedException", "Message": "with a capital M",
        })));
        assert!(fail(stub.options()).to_string().contains("with a capital M"));
        let stub = Stub::start(|_, _| Reply::Json(400, json!({"__type": "InvalidCiphertextException"})));
        assert_eq!(kind(&fail(stub.options())), "unauthentic");
    }

    fn answers_of_something_else_are_no_key() => {
        let raw = |head: &str, body: &str| {
            format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        };
        for (answer, expected) in [
            (raw("404 Not Found", "<html>no</html>"), "service"),
            (raw("403 Forbidden", ""), "access denied"),
            (raw("502 Bad Gateway", "<html>"), "unreachable"),
            (raw("200 OK", "<html>hello</html>"), "service"),
            (raw("301 Moved", ""), "service"),
        ] {
            let sent = answer.clone();
            let stub = Stub::start(move |_, _| Reply::Raw(sent.clone()));
            let found = fail(stub.options());
            assert_eq!(kind(&found), expected, "{answer} {found}");
        }
        // Something that speaks no HTTP at all.
        let stub = Stub::start(|_, _| Reply::Raw("SSH-2.0-OpenSSH\r\n\r\n".to_owned()));
        assert_ne!(kind(&fail(stub.options())), "?");
    }

    fn server_errors_and_throttling_are_tried_again() => {
        let stub = Stub::start(|_, count| match count {
            0 => error(500, "KMSInternalException"),
            1 => error(400, "ThrottlingException"),
            _ => ok(json!({"KeyId": ARN, "Plaintext": "a2V5"})),
        });
        let options = AwsOptions { attempts: None, ..stub.options() };
        let keyring = AwsKms::new(options).keyring(ARN.parse().unwrap());
        block_on(keyring.unwrap(&edk(ARN), &EncryptionContext::new())).unwrap();
        assert_eq!(stub.requests().len(), 3);
    }

    fn refusals_are_not_tried_again() => {
        let stub = Stub::start(|_, _| error(400, "AccessDeniedException"));
        fail(AwsOptions { attempts: None, ..stub.options() });
        assert_eq!(stub.requests().len(), 1);
    }

    fn attempts_are_counted() => {
        let stub = Stub::start(|_, _| error(500, "KMSInternalException"));
        let found = fail(AwsOptions { attempts: Some(2), ..stub.options() });
        assert_eq!(kind(&found), "unreachable");
        assert_eq!(stub.requests().len(), 2);
    }

    fn silence_ends_with_the_attempt_and_with_the_operation() => {
        let stub = Stub::start(|_, _| Reply::Hang);
        let options = AwsOptions {
            attempt_timeout: Duration::from_millis(200),
            operation_timeout: Duration::from_secs(5),
            ..stub.options()
        };
        let start = Instant::now();
        assert_eq!(kind(&fail(options.clone())), "unreachable");
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());

        let start = Instant::now();
        let found = fail(AwsOptions {
            attempt_timeout: Duration::from_secs(30),
            operation_timeout: Duration::from_millis(300),
            attempts: Some(3),
            ..options
        });
        assert_eq!(kind(&found), "unreachable");
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }

    fn nobody_listening_is_unreachable() => {
        let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for url in [format!("http://{unused}"), format!("https://{unused}"), "http://no.such.host.invalid".to_owned()] {
            let found = fail(AwsOptions {
                endpoint_url: Some(url.clone()),
                attempts: Some(1),
                ..AwsOptions::default()
            });
            assert_eq!(kind(&found), "unreachable", "{url} {found}");
        }
    }

    fn tls_with_a_plain_server_is_unreachable() => {
        let stub = Stub::answering(json!({}));
        let found = fail(AwsOptions {
            endpoint_url: Some(stub.url.replace("http:", "https:")),
            ..stub.options()
        });
        assert_eq!(kind(&found), "unreachable", "{found}");
    }

    fn the_key_is_in_no_error() => {
        let secret = || DataKey::new(SecretBytes::copy_of(b"a secret of some length"));
        let bytes = "YSBzZWNyZXQgb2Ygc29tZSBsZW5ndGg=";
        let raw = |head: &str, body: &str| Reply::Raw(format!(
            "HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len() + 5
        ));
        let stub = Stub::start(move |_, count| match count {
            0 => error(400, "AccessDeniedException"),
            1 => raw("200 OK", &format!("{{\"Plaintext\": \"{bytes}")),
            2 => Reply::Raw("HTTP/1.1 700 what\r\n\r\n".to_owned()),
            3 => ok(json!({"KeyId": ARN, "CiphertextBlob": bytes.replace('Y', "!")})),
            4 => ok(json!({"KeyId": [bytes], "CiphertextBlob": bytes})),
            5 => Reply::Raw("\0\0\0".to_owned()),
            _ => Reply::Hang,
        });
        let options = AwsOptions { operation_timeout: Duration::from_millis(500), ..stub.options() };
        let kms = AwsKms::new(options);
        let keyring = kms.keyring(ARN.parse().unwrap());
        let mut found: Vec<_> = (0..7).map(|_| {
            block_on(keyring.wrap(&secret(), &EncryptionContext::new())).unwrap_err()
        }).collect();
        for url in ["http://a b", "http://\u{e4}", "https://127.0.0.1:1"] {
            let options = AwsOptions { endpoint_url: Some(url.to_owned()), ..stub.options() };
            let keyring = AwsKms::new(options).keyring(ARN.parse().unwrap());
            found.push(block_on(keyring.wrap(&secret(), &EncryptionContext::new())).unwrap_err());
        }
        for error in found {
            for text in [error.to_string(), format!("{error:?}")] {
                assert!(!text.contains(bytes) && !text.contains("a secret") && !text.contains("97, 32"), "{text}");
            }
        }
    }

    fn text_of_the_service_cannot_steer_a_terminal() => {
        let stub = Stub::start(|_, _| Reply::Json(400, json!({
            "__type": "AccessDeniedException", "message": "\u{1b}[2Jred\nline",
        })));
        let text = fail(stub.options()).to_string();
        assert!(!text.contains(char::is_control) && text.contains("red line"), "{text:?}");
    }

    fn endpoints_and_regions_that_make_no_sense_are_configuration() => {
        for url in ["", "localhost:80", "not a url", "ftp://localhost", "http://", "http://a b", "http://h:99999"] {
            let found = fail(AwsOptions {
                endpoint_url: Some(url.to_owned()),
                attempts: Some(1),
                ..AwsOptions::default()
            });
            assert_eq!(kind(&found), "configuration", "{url:?}: {found}");
        }
        let keyring = AwsKms::new(AwsOptions {
            region: Some("eu west/1".to_owned()),
            attempts: Some(1),
            ..AwsOptions::default()
        })
        .keyring("alias/a".parse().unwrap());
        let found = block_on(keyring.unwrap(&edk(ARN), &EncryptionContext::new())).unwrap_err();
        assert_eq!(kind(&found), "configuration", "{found}");
    }
}
