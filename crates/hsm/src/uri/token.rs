//! The name of a device alone: a PKCS #11 URI without `object`.
//!
//! ```text
//! pkcs11:token=NAME?module-path=/usr/lib/softhsm/libsofthsm2.so
//! ```

use super::{UriError, decoded, wrong};
use std::path::PathBuf;

/// Which device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenUri {
    /// The label of the token.
    pub token: Option<String>,
    /// The serial number of the token.
    pub serial: Option<String>,
    /// The device's library.
    pub module: PathBuf,
}

impl std::str::FromStr for TokenUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let Some(rest) = text.strip_prefix("pkcs11:") else {
            return wrong("a device is named pkcs11:token=NAME?module-path=FILE");
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (mut token, mut serial, mut module) = (None, None, None);
        let parts = path.split(';').chain(query.split('&'));
        for part in parts.filter(|part| !part.is_empty()) {
            let Some((name, value)) = part.split_once('=') else {
                return wrong(format!("'{part}' has not the form NAME=VALUE"));
            };
            let place = match name {
                "token" => &mut token,
                "serial" => &mut serial,
                "module-path" => &mut module,
                "pin-value" | "pin-source" => {
                    return wrong(format!(
                        "{name} is not said here: the PIN is the KeyStorePassword"
                    ));
                }
                other => return wrong(format!("the attribute {other} is not known here")),
            };
            if place.replace(decoded(value)?).is_some() {
                return wrong(format!("{name} is there twice"));
            }
        }
        if token.is_none() && serial.is_none() {
            return wrong("token or serial is needed, to say which device");
        }
        let Some(module) = module.map(PathBuf::from).filter(|path| path.is_absolute()) else {
            return wrong("module-path is needed: the absolute path of the device's library");
        };
        Ok(Self {
            token,
            serial,
            module,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_named_by_label_or_serial() {
        let uri: TokenUri = "pkcs11:token=My%20HSM?module-path=/lib/p.so"
            .parse()
            .unwrap();
        assert_eq!(uri.token.as_deref(), Some("My HSM"));
        assert_eq!(uri.module, PathBuf::from("/lib/p.so"));
        let uri: TokenUri = "pkcs11:serial=12?module-path=/lib/p.so".parse().unwrap();
        assert_eq!(uri.serial.as_deref(), Some("12"));
    }

    #[test]
    fn names_that_say_too_little_or_too_much_are_refused() {
        for (text, word) in [
            ("token=t", "pkcs11:"),
            ("pkcs11:?module-path=/p", "token or serial"),
            ("pkcs11:token=t", "module-path"),
            ("pkcs11:token=t?module-path=p.so", "absolute"),
            ("pkcs11:token=t;token=u?module-path=/p", "twice"),
            ("pkcs11:token=t;object=o?module-path=/p", "object"),
            (
                "pkcs11:token=t?module-path=/p&pin-value=1",
                "KeyStorePassword",
            ),
            (
                "pkcs11:token=t?module-path=/p&pin-source=/q",
                "KeyStorePassword",
            ),
        ] {
            let error = text.parse::<TokenUri>().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
