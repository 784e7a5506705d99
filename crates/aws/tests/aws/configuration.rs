//! Where credentials, Region, endpoint and retries come from.

use crate::support::{
    ARN, Reply, Request, Stub, block_on, error, hermetic, is_child, ok, run_child,
};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};
use waxseal_aws::{AwsKms, AwsOptions};
use waxseal_core::{EncryptionContext, Keyring, KeyringError};

fn wrap(options: AwsOptions, key: &str) -> Result<(), KeyringError> {
    let keyring = AwsKms::new(options).keyring(key.parse().unwrap());
    block_on(keyring.generate(1, &EncryptionContext::new())).map(drop)
}

fn stub() -> Stub {
    Stub::answering(json!({"KeyId": ARN, "Plaintext": "aw==", "CiphertextBlob": "YmxvYg=="}))
}

fn reason(result: Result<(), KeyringError>) -> String {
    match result {
        Err(KeyringError::Configuration { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

/// Writes a file and gives its path.
fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The child wraps with `alias/a` and nothing but its environment, which may name the stub's URL
/// and files in a folder of its own; the parent gets the request that arrived.
fn wrap_in_child(
    name: &str,
    environment: impl FnOnce(&str, &Path) -> Vec<(&'static str, String)>,
) -> Option<Request> {
    if is_child() {
        wrap(AwsOptions::default(), "alias/a").unwrap();
        return None;
    }
    let (stub, folder) = (stub(), tempfile::tempdir().unwrap());
    let environment = environment(&stub.url, folder.path());
    let borrowed: Vec<_> = environment.iter().map(|(n, v)| (*n, v.as_str())).collect();
    run_child(name, &borrowed);
    Some(stub.only_request())
}

fn without_credentials(mut rest: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
    rest.push(("AWS_ACCESS_KEY_ID", String::new()));
    rest.push(("AWS_SECRET_ACCESS_KEY", String::new()));
    rest
}

/// `fn name => environment, then check`.
macro_rules! from_environment {
    ($(fn $name:ident($url:ident, $folder:ident) => $environment:expr, then |$request:ident| $check:block)*) => {$(
        #[test]
        fn $name() {
            let name = concat!(module_path!(), "::", stringify!($name));
            let Some($request) = wrap_in_child(name, |$url, $folder| $environment) else { return };
            $check
        }
    )*};
}

from_environment! {
    fn endpoint_of_the_service(url, _folder) => vec![
        ("AWS_ENDPOINT_URL_KMS", url.to_owned()),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1".to_owned()),
    ], then |request| {
        assert_eq!(request.scope(), "eu-west-1/kms/aws4_request");
    }

    fn endpoint_of_all_services(url, _folder) => vec![
        ("AWS_ENDPOINT_URL", url.to_owned()),
    ], then |request| {
        assert_eq!(request.operation(), "GenerateDataKey");
    }

    fn default_region_counts(url, _folder) => vec![
        ("AWS_ENDPOINT_URL", url.to_owned()),
        ("AWS_REGION", String::new()),
        ("AWS_DEFAULT_REGION", "sa-east-1".to_owned()),
    ], then |request| {
        assert_eq!(request.scope(), "sa-east-1/kms/aws4_request");
    }

    fn region_comes_before_default_region(url, _folder) => vec![
        ("AWS_ENDPOINT_URL", url.to_owned()),
        ("AWS_DEFAULT_REGION", "sa-east-1".to_owned()),
    ], then |request| {
        assert_eq!(request.scope(), "eu-west-1/kms/aws4_request");
    }

    fn adaptive_retries_are_understood(url, _folder) => vec![
        ("AWS_ENDPOINT_URL", url.to_owned()),
        ("AWS_RETRY_MODE", "adaptive".to_owned()),
    ], then |request| {
        assert_eq!(request.operation(), "GenerateDataKey");
    }

    fn session_token_is_sent(url, _folder) => vec![
        ("AWS_ENDPOINT_URL", url.to_owned()),
        ("AWS_SESSION_TOKEN", "token".to_owned()),
    ], then |request| {
        assert_eq!(request.header("x-amz-security-token"), "token");
    }

    fn profile_gives_credentials_region_and_endpoint(url, folder) => without_credentials(vec![
        ("AWS_CONFIG_FILE", file(folder, "config", &format!(
            "[profile work]\nregion = us-west-2\nendpoint_url = {url}\n\
             aws_access_key_id = AKIDWORK\naws_secret_access_key = x\n\
             retry_mode = legacy\nmax_attempts = 1\n"
        ))),
        ("AWS_PROFILE", "work".to_owned()),
        ("AWS_REGION", String::new()),
    ]), then |request| {
        assert_eq!(request.scope(), "us-west-2/kms/aws4_request");
        assert!(request.header("authorization").contains("Credential=AKIDWORK/"));
    }

    fn credentials_file_and_services_section_count(url, folder) => without_credentials(vec![
        ("AWS_CONFIG_FILE", file(folder, "config", &format!(
            "[default]\nservices = here\n[services here]\nkms =\n  endpoint_url = {url}\n"
        ))),
        ("AWS_SHARED_CREDENTIALS_FILE", file(folder, "credentials",
            "[default]\naws_access_key_id = AKIDFILE\naws_secret_access_key = x\n"
        )),
    ]), then |request| {
        assert!(request.header("authorization").contains("Credential=AKIDFILE/"));
    }

    fn credential_process_is_run(url, folder) => without_credentials(vec![
        ("AWS_ENDPOINT_URL", url.to_owned()),
        ("AWS_CONFIG_FILE", file(folder, "config", &format!(
            "[default]\ncredential_process = /bin/cat {}\n",
            file(folder, "answer", r#"{"Version": 1, "AccessKeyId": "AKIDPROCESS", "SecretAccessKey": "x"}"#)
        ))),
        ("PATH", "/usr/bin:/bin".to_owned()),
    ]), then |request| {
        assert!(request.header("authorization").contains("Credential=AKIDPROCESS/"));
    }
}

#[test]
fn ignored_endpoints_are_ignored() {
    if is_child() {
        // Then only Amazon's own is left, and this name does not exist there.
        let options = AwsOptions {
            region: Some("no-such-region-1".to_owned()),
            attempts: Some(1),
            ..AwsOptions::default()
        };
        assert!(wrap(options, "alias/a").is_err());
        return;
    }
    let stub = stub();
    let environment = [
        ("AWS_ENDPOINT_URL_KMS", stub.url.as_str()),
        ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
    ];
    let name = concat!(module_path!(), "::ignored_endpoints_are_ignored");
    run_child(name, &environment);
    assert!(stub.requests().is_empty());
}

/// The instance metadata service of a laptop: it does not answer at all.
#[test]
fn silent_instance_metadata_delays_little() {
    if is_child() {
        for (key, hint) in [(ARN, "AWS_ACCESS_KEY_ID"), ("alias/a", "AWS_REGION")] {
            let start = Instant::now();
            let reason = reason(wrap(AwsOptions::default(), key));
            assert!(reason.contains(hint), "{reason}");
            assert!(
                start.elapsed() < Duration::from_millis(2_500),
                "{key}: {:?}",
                start.elapsed()
            );
        }
        return;
    }
    let silent = Stub::start(|_, _| Reply::Hang);
    let name = concat!(module_path!(), "::silent_instance_metadata_delays_little");
    run_child(
        name,
        &[
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", silent.url.as_str()),
            ("AWS_EC2_METADATA_DISABLED", ""),
            ("AWS_ACCESS_KEY_ID", ""),
            ("AWS_SECRET_ACCESS_KEY", ""),
            ("AWS_REGION", ""),
        ],
    );
}

#[test]
fn attempts_come_from_the_environment() {
    if is_child() {
        return wrap(AwsOptions::default(), "alias/a").unwrap();
    }
    let stub = Stub::start(|_, count| match count {
        0 => error(500, "KMSInternalException"),
        _ => ok(json!({"KeyId": ARN, "Plaintext": "aw==", "CiphertextBlob": "YmxvYg=="})),
    });
    let name = concat!(module_path!(), "::attempts_come_from_the_environment");
    let url = ("AWS_ENDPOINT_URL", stub.url.as_str());
    run_child(name, &[url, ("AWS_MAX_ATTEMPTS", "2")]);
    assert_eq!(stub.requests().len(), 2);
}

#[test]
fn explicit_profile_wins_over_credentials_in_the_environment() {
    if is_child() {
        let profile = Some("work".to_owned());
        return wrap(
            AwsOptions {
                profile,
                ..AwsOptions::default()
            },
            "alias/a",
        )
        .unwrap();
    }
    let stub = stub();
    let text = format!(
        "[profile work]\nendpoint_url = {}\naws_access_key_id = AKIDWORK\naws_secret_access_key = x\n",
        stub.url
    );
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "config", &text);
    let name = concat!(
        module_path!(),
        "::explicit_profile_wins_over_credentials_in_the_environment"
    );
    run_child(name, &[("AWS_CONFIG_FILE", path.as_str())]);
    assert!(
        stub.only_request()
            .header("authorization")
            .contains("Credential=AKIDWORK/")
    );
}

#[test]
fn failing_credential_process_is_a_denial() {
    if is_child() {
        let result = wrap(AwsOptions::default(), ARN);
        let Err(KeyringError::AccessDenied { reason, .. }) = &result else {
            panic!("{result:?}")
        };
        assert!(reason.contains("process"), "{reason}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = file(
        folder.path(),
        "config",
        "[default]\ncredential_process = /bin/false\n",
    );
    let name = concat!(module_path!(), "::failing_credential_process_is_a_denial");
    run_child(
        name,
        &[
            ("AWS_CONFIG_FILE", path.as_str()),
            ("AWS_ACCESS_KEY_ID", ""),
            ("AWS_SECRET_ACCESS_KEY", ""),
            ("PATH", "/usr/bin:/bin"),
        ],
    );
}

#[test]
fn broken_configuration_file_is_named() {
    if is_child() {
        let reason = reason(wrap(AwsOptions::default(), ARN));
        assert!(reason.contains("config"), "{reason}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "config", "[default\nregion = x\n");
    let name = concat!(module_path!(), "::broken_configuration_file_is_named");
    run_child(name, &[("AWS_CONFIG_FILE", path.as_str())]);
}

hermetic! {
    fn explicit_region_wins() => {
        let stub = stub();
        let region = Some("sa-east-1".to_owned());
        wrap(AwsOptions { region, ..stub.options() }, "alias/a").unwrap();
        assert_eq!(stub.only_request().scope(), "sa-east-1/kms/aws4_request");
    }

    fn explicit_endpoint_wins() with [("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1")] => {
        let stub = stub();
        wrap(stub.options(), "alias/a").unwrap();
        stub.only_request();
    }

    fn no_region_anywhere_says_how_to_set_it() with [("AWS_REGION", "")] => {
        let stub = stub();
        let reason = reason(wrap(stub.options(), "alias/a"));
        assert!(reason.contains("AWS_REGION") && reason.contains("ARN"), "{reason}");
        // The key's ARN is enough.
        wrap(stub.options(), ARN).unwrap();
    }

    fn no_credentials_say_what_to_do() with [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")] => {
        let stub = stub();
        let start = Instant::now();
        let reason = reason(wrap(AwsOptions { attempts: None, ..stub.options() }, "alias/a"));
        assert!(reason.contains("AWS_ACCESS_KEY_ID") && reason.contains("AWS_PROFILE"), "{reason}");
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        assert!(stub.requests().is_empty());
    }

    fn no_credentials_on_a_laptop_are_noticed_soon() with [
        ("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", ""), ("AWS_EC2_METADATA_DISABLED", ""),
    ] => {
        let stub = stub();
        let start = Instant::now();
        let result = wrap(AwsOptions { attempts: None, ..stub.options() }, "alias/a");
        assert!(result.is_err() && start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }

    fn missing_profile_is_named() => {
        let profile = Some("nowhere".to_owned());
        let reason = reason(wrap(AwsOptions { profile, ..AwsOptions::default() }, ARN));
        assert!(reason.contains("'nowhere'"), "{reason}");
    }

    fn missing_profile_of_the_environment_is_named() with [("AWS_PROFILE", "nowhere")] => {
        let reason = reason(wrap(AwsOptions::default(), ARN));
        assert!(reason.contains("'nowhere'"), "{reason}");
    }

    fn nonsense_about_retries_is_no_panic() with [("AWS_RETRY_MODE", "sometimes")] => {
        assert!(reason(wrap(AwsOptions::default(), ARN)).contains("sometimes"));
    }

    fn nonsense_about_attempts_is_no_panic() with [("AWS_MAX_ATTEMPTS", "0")] => {
        assert!(reason(wrap(AwsOptions::default(), ARN)).contains("AWS_MAX_ATTEMPTS"));
    }

    fn empty_endpoint_is_named() with [("AWS_ENDPOINT_URL_KMS", " ")] => {
        assert!(reason(wrap(AwsOptions::default(), ARN)).contains("AWS_ENDPOINT_URL_KMS"));
    }

    fn endpoint_that_is_no_url_is_never_passed_over() with [("AWS_ENDPOINT_URL", "localhost:4566")] => {
        assert!(reason(wrap(AwsOptions::default(), ARN)).contains("localhost:4566"));
    }

    fn missing_certificates_are_named() with [("AWS_CA_BUNDLE", "/nowhere/ca.pem")] => {
        assert!(reason(wrap(AwsOptions::default(), ARN)).contains("/nowhere/ca.pem"));
    }

    fn certificates_change_nothing_without_tls() with [("AWS_CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt")] => {
        if Path::new("/etc/ssl/certs/ca-certificates.crt").exists() {
            wrap(stub().options(), ARN).unwrap();
        }
    }

    fn wrong_certificates_are_named() with [("AWS_CA_BUNDLE", "/dev/null")] => {
        assert!(reason(wrap(AwsOptions::default(), ARN)).contains("/dev/null"));
    }

    fn configuration_is_read_anew_after_a_mistake() => {
        let options = AwsOptions { profile: Some("nowhere".to_owned()), ..stub().options() };
        let keyring = AwsKms::new(options).keyring(ARN.parse().unwrap());
        for _ in 0..3 {
            let result = block_on(keyring.generate(1, &EncryptionContext::new()));
            assert!(matches!(result, Err(KeyringError::Configuration { .. })), "{result:?}");
        }
    }
}
