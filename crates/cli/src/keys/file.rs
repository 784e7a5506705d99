//! Key files, read whole.

use crate::failure::{Exit, Failure};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use waxseal_core::SecretBytes;
use waxseal_core::crypto::pem::{KeyError, PEM_BYTES_MAX};

/// At most `bytes_max` bytes of a file; what is behind them is not read.
pub(super) fn head_of(path: &Path, bytes_max: usize) -> Result<SecretBytes, Failure> {
    let failed = |error: &std::io::Error| Failure {
        exit: Exit::Configuration,
        ..Failure::io("read the key file", &path.display().to_string(), error)
    };
    let file = File::open(path).map_err(|error| failed(&error))?;
    let mut content = SecretBytes::zeroed(bytes_max);
    let mut len = 0;
    while len < content.len() {
        match (&file).read(&mut content.expose_mut()[len..]) {
            Ok(0) => break,
            Ok(bytes) => len += bytes,
            Err(error) => return Err(failed(&error)),
        }
    }
    Ok(SecretBytes::copy_of(&content.expose()[..len]))
}

/// The keys in a PEM file, as `parse` reads them.
pub(super) fn pem<T>(
    path: &Path,
    parse: impl Fn(&[u8]) -> Result<T, KeyError>,
) -> Result<T, Failure> {
    let text = head_of(path, PEM_BYTES_MAX + 1)?;
    parse(text.expose()).map_err(|error| {
        let hint = match &error {
            KeyError::Encrypted => {
                "take the passphrase off with openssl pkey, or keep the key in a KMS"
            }
            KeyError::Several(_) => "keep one pair of keys in a file",
            KeyError::NotAPair => "leave one of the two out, or put the right one there",
            KeyError::Refused { .. } => {
                "RSA keys have 2,048 to 8,192 bits; EC keys are on P-256, P-384 or P-521"
            }
            _ => "it must hold a private key (PKCS#8, PKCS#1, SEC 1) or a public key (SPKI, PKCS#1) as PEM",
        };
        Failure::configuration(format!("the key file {}: {error}", path.display()), hint)
    })
}
