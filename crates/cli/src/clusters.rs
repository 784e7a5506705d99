//! Devices for custom key stores, as an operator configures them.

use crate::failure::Failure;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use waxseal_core::SecretBytes;
use waxseal_core::crypto::certificate;
use waxseal_hsm::{OpenVault, Vault, VaultError};
use waxseal_kms::device::{Cluster, Device, DeviceError, Refusal, SALT_BYTES, is_cluster_id};

/// Devices under the ids of their clusters.
pub(crate) type Clusters = BTreeMap<String, Arc<dyn Cluster>>;

/// The most bytes of a certificate in a file.
const CERTIFICATE_BYTES_MAX: u64 = 64 * 1024;

/// Reads `CLUSTER=pkcs11:…` and `CLUSTER=FILE`. No device is opened.
pub(crate) fn configured(clusters: &[String], anchors: &[String]) -> Result<Clusters, Failure> {
    let mut found: BTreeMap<String, Token> = BTreeMap::new();
    for text in clusters {
        let (id, uri) = named(text, "--hsm-cluster")?;
        let uri = uri.parse().map_err(|error: waxseal_hsm::uri::UriError| {
            Failure::configuration(
                format!("{id}: {error}"),
                "write CLUSTER=pkcs11:token=NAME?module-path=FILE",
            )
        })?;
        let token = Token {
            vault: Vault::new(uri),
            trust_anchor: None,
        };
        if found.insert(id.to_owned(), token).is_some() {
            return Err(Failure::configuration(
                format!("there are two devices for {id}"),
                "give each cluster one --hsm-cluster",
            ));
        }
    }
    for text in anchors {
        let (id, file) = named(text, "--hsm-trust-anchor")?;
        let token = found.get_mut(id).ok_or_else(|| {
            Failure::configuration(
                format!("there is a certificate for {id}, and no device"),
                "give --hsm-cluster as well",
            )
        })?;
        token.trust_anchor = Some(certificate_in(Path::new(file))?);
    }
    let shared = |(id, token)| (id, Arc::new(token) as Arc<dyn Cluster>);
    Ok(found.into_iter().map(shared).collect())
}

/// What is said of a cluster, and its id.
fn named<'t>(text: &'t str, flag: &str) -> Result<(&'t str, &'t str), Failure> {
    let parts = text.split_once('=');
    parts.filter(|(id, _)| is_cluster_id(id)).ok_or_else(|| {
        Failure::configuration(
            format!("{flag} '{text}' does not begin with the id of a cluster"),
            "write cluster- and 11 to 16 letters and digits from 2 to 7, then '='",
        )
    })
}

fn certificate_in(path: &Path) -> Result<Vec<u8>, Failure> {
    let name = path.display().to_string();
    let failed = |error: std::io::Error| Failure::io("read", &name, &error);
    let advice = "give the one certificate that the cluster was initialized with, in PEM";
    if std::fs::metadata(path).map_err(failed)?.len() > CERTIFICATE_BYTES_MAX {
        return Err(Failure::configuration(
            format!("{name} is too long"),
            advice,
        ));
    }
    let text = std::fs::read(path).map_err(failed)?;
    certificate::only_in_pem(&text)
        .map_err(|error| Failure::configuration(format!("{name}: {error}"), advice))
}

/// A PKCS #11 token as the engine sees it.
struct Token {
    vault: Vault,
    trust_anchor: Option<Vec<u8>>,
}

impl Cluster for Token {
    fn trust_anchor(&self) -> Option<&[u8]> {
        self.trust_anchor.as_deref()
    }

    fn look(&self) -> Result<(), Refusal> {
        self.vault.look().map_err(refusal)
    }

    fn connect(&self, pin: &SecretBytes) -> Result<Arc<dyn Device>, Refusal> {
        let open = self.vault.connect(pin).map_err(refusal)?;
        Ok(Arc::new(LoggedIn(open)))
    }
}

struct LoggedIn(OpenVault);

impl Device for LoggedIn {
    fn generate(&self, label: &str) -> Result<(), DeviceError> {
        self.0.generate(label).map_err(error)
    }

    fn encrypt(
        &self,
        label: &str,
        salt: [u8; SALT_BYTES],
        associated: Vec<u8>,
        plaintext: SecretBytes,
    ) -> Result<Vec<u8>, DeviceError> {
        let sealed = self.0.encrypt(label, salt, associated, plaintext);
        sealed.map_err(error)
    }

    fn decrypt(
        &self,
        label: &str,
        salt: [u8; SALT_BYTES],
        associated: Vec<u8>,
        sealed: Vec<u8>,
    ) -> Result<SecretBytes, DeviceError> {
        let opened = self.0.decrypt(label, salt, associated, sealed);
        opened.map_err(error)
    }

    fn destroy(&self, label: &str) -> Result<(), DeviceError> {
        self.0.destroy(label).map_err(error)
    }

    fn random(&self, bytes: usize) -> Result<SecretBytes, DeviceError> {
        self.0.random(bytes).map_err(error)
    }

    fn close(&self) {
        self.0.close();
    }
}

fn refusal(error: VaultError) -> Refusal {
    match error {
        VaultError::Gone(what) => Refusal::Absent(what),
        VaultError::Unfit(what) => Refusal::Unfit(what),
        VaultError::WrongPin => Refusal::WrongPin,
        VaultError::Locked => Refusal::Locked,
        VaultError::NoUser => Refusal::NoUser,
        VaultError::LoggedIn => Refusal::LoggedIn,
        VaultError::Late => Refusal::Late,
        other => Refusal::Failed(other.to_string()),
    }
}

fn error(error: VaultError) -> DeviceError {
    match error {
        VaultError::Unauthentic => DeviceError::Unauthentic,
        VaultError::Late => DeviceError::Late,
        VaultError::Gone(what) => DeviceError::Gone(what),
        other => DeviceError::Key(other.to_string()),
    }
}
