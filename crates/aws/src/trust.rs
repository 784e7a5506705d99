//! `AWS_CA_BUNDLE`: whom to trust in place of the system's certificate authorities.
//!
//! The SDK does not know the variable. As in the AWS CLI, the bundle replaces the system's
//! certificates; to add to those, set `SSL_CERT_FILE` to a file that holds both.

use crate::settings::Misconfigured;
use aws_sdk_kms::config::SharedHttpClient;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, ConnectorBuilder};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The SDK's own HTTPS client, but with the certificates in `file`.
pub(crate) fn http_client_trusting(file: &str) -> Result<SharedHttpClient, Misconfigured> {
    let context = context_trusting(file)?;
    Ok(
        Builder::new().build_with_connector_fn(move |settings, components| {
            let mut connector = ConnectorBuilder::default()
                .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
                .tls_context(context.clone())
                .proxy_config(ProxyConfig::from_env());
            connector.set_connector_settings(settings.cloned());
            connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
            connector.build()
        }),
    )
}

/// Connections that trust the certificates in `file` and no others.
pub(crate) fn context_trusting(file: &str) -> Result<TlsContext, Misconfigured> {
    let wrong = |what: String| {
        Misconfigured(format!(
            "the certificates in '{file}' (AWS_CA_BUNDLE or ca_bundle) cannot be used: {what}"
        ))
    };
    let pem = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
    check_certificates(&pem).map_err(wrong)?;
    TlsContext::builder()
        .with_trust_store(TrustStore::empty().with_pem_certificate(pem))
        .build()
        .map_err(|error| wrong(error.to_string()))
}

/// The HTTP client takes the certificates in these very steps, and panics where one fails.
fn check_certificates(pem: &[u8]) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    match roots.is_empty() {
        true => Err("there is no PEM certificate in it".to_owned()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Self-signed, P-256, made for this test with `openssl req -x509`.
    const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBdTCCARugAwIBAgIUBwwWOncvX6gf3lnvSc08qFcNKxgwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjMyMTIyMThaGA8yMTI2MTAzMDIxMjIx
OFowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABB2i
87UZ8tQQgKbumuyuedS4sm7HNmzToQ3d36LLoiI5Aih/OTNSKgzt6kQi/iHTt3gz
0pcjUjrtBxZLFxbYpgyjUzBRMB0GA1UdDgQWBBTW3+KuoV6YAK/Cbsd/3kWWPtIe
yDAfBgNVHSMEGDAWgBTW3+KuoV6YAK/Cbsd/3kWWPtIeyDAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0gAMEUCIQCU4WEI4T6Sv72owlHFAjAnM3Ws30RnuIot
lkTqiOqhDwIgP+fVDjdtkzNZQXsfjLlnmJ58wfX00MiTfGWzEx5EXRY=
-----END CERTIFICATE-----";

    #[test]
    fn certificates_are_checked_before_they_are_used() {
        assert_eq!(check_certificates(CERTIFICATE.as_bytes()), Ok(()));
        let two = format!("a comment\n{CERTIFICATE}\n{CERTIFICATE}");
        assert_eq!(check_certificates(two.as_bytes()), Ok(()));
        for bad in [
            "",
            "no PEM",
            "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
            "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nM!A=\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nMAA=\n",
        ] {
            assert!(check_certificates(bad.as_bytes()).is_err(), "{bad}");
        }
        let cut = CERTIFICATE.replace("-----END", "-----STOP");
        assert!(check_certificates(cut.as_bytes()).is_err());
    }
}
