//! The name of a device alone: a PKCS #11 URI without `object`.
//!
//! ```text
//! pkcs11:token=NAME?module-path=/usr/lib/softhsm/libsofthsm2.so
//! ```

use super::{Attributes, UriError, wrong};
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
        let form = "a device is named pkcs11:token=NAME?module-path=FILE";
        let mut given = Attributes::parse(text, form)?;
        for name in ["pin-value", "pin-source"] {
            if given.take(name).is_some() {
                return wrong(format!(
                    "{name} is not said here: the PIN is the KeyStorePassword"
                ));
            }
        }
        given.device()
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
