//! TLS 1.2 and 1.3 by rustls, with certificates that can be replaced while the server runs.

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, crypto::aws_lc_rs};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;
use tokio_rustls::TlsAcceptor;

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// As the system says it.
        source: std::io::Error,
    },
    /// A file holds no PEM of the kind that was expected.
    #[error("{path} holds no {what} in PEM")]
    NoPem {
        /// Which one.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// The key is of a kind that is not supported, or not the certificate's.
    #[error("{path} does not fit the certificate, or cannot be used: {reason}")]
    Key {
        /// The key's file.
        path: PathBuf,
        /// As rustls says it.
        reason: String,
    },
    /// Others than the owner of the key's file may have read the key.
    #[error("{0}")]
    Exposed(String),
}

/// Says why a file is not as a secret is to be kept, if it is not.
pub type Kept = fn(&Path) -> Result<(), String>;

/// A certificate chain and its key, in two PEM files.
pub struct Tls {
    shown: Arc<Shown>,
    config: Arc<ServerConfig>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tls({})", self.shown.certificate.display())
    }
}

impl Tls {
    /// Reads `certificate` (the server's first, then those that signed it) and `key` (PKCS#8,
    /// PKCS#1 or SEC1), whose file is to be `kept` as it says, now and whenever it is replaced.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn load(certificate: &Path, key: &Path, kept: Kept) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let stamp = stamp(certificate, key);
        kept(key).map_err(TlsError::Exposed)?;
        let current = certified(certificate, key, &provider)?;
        let shown = Arc::new(Shown {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            kept,
            provider: provider.clone(),
            current: RwLock::new((stamp, Arc::new(current))),
        });
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Key {
                path: key.to_owned(),
                reason: error.to_string(),
            })?;
        let mut config = builder
            .with_no_client_auth()
            .with_cert_resolver(shown.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            shown,
            config: Arc::new(config),
        })
    }

    /// Reads the files again if they have changed since; new connections are shown what they hold.
    /// Whether they had changed.
    ///
    /// # Errors
    /// [`TlsError`]; what was shown before is shown still.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let shown = &self.shown;
        let stamp = stamp(&shown.certificate, &shown.key);
        let current = shown.current.read().unwrap_or_else(PoisonError::into_inner);
        if current.0 == stamp {
            return Ok(false);
        }
        drop(current);
        (shown.kept)(&shown.key).map_err(TlsError::Exposed)?;
        let anew = certified(&shown.certificate, &shown.key, &shown.provider)?;
        *shown
            .current
            .write()
            .unwrap_or_else(PoisonError::into_inner) = (stamp, Arc::new(anew));
        Ok(true)
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.clone())
    }
}

/// What tells that a file was replaced.
type Stamp = [Option<(SystemTime, u64)>; 2];

fn stamp(certificate: &Path, key: &Path) -> Stamp {
    [certificate, key].map(|path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

struct Shown {
    certificate: PathBuf,
    key: PathBuf,
    kept: Kept,
    provider: Arc<CryptoProvider>,
    current: RwLock<(Stamp, Arc<CertifiedKey>)>,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shown({})", self.certificate.display())
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(current.1.clone())
    }
}

fn certified(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| TlsError::Io {
            path: path.to_owned(),
            source,
        })
    };
    let no_pem = |path: &Path, what| TlsError::NoPem {
        path: path.to_owned(),
        what,
    };
    let text = read(certificate)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|_| no_pem(certificate, "certificate"))?;
    if chain.is_empty() {
        return Err(no_pem(certificate, "certificate"));
    }
    let text = waxseal_core::SecretBytes::new(read(key)?);
    let private =
        PrivateKeyDer::from_pem_slice(text.expose()).map_err(|_| no_pem(key, "private key"))?;
    CertifiedKey::from_der(chain, private, provider).map_err(|error| TlsError::Key {
        path: key.to_owned(),
        reason: error.to_string(),
    })
}
