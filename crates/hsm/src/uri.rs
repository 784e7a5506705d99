//! The name of a key in a device: a PKCS #11 URI (RFC 7512).
//!
//! ```text
//! pkcs11:token=NAME;object=LABEL?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/etc/waxseal/pin
//! ```
//!
//! `token` or `serial` says which device, `object` which key in it; `module-path` is the device's
//! library. `pin-source` is a file with the PIN, `x-pin-env` an environment variable; without either it
//! is asked for. The PIN itself (`pin-value`) is refused: it would stand in process lists and shell
//! histories.

pub mod token;

use std::path::PathBuf;
use token::TokenUri;

/// Which key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUri {
    /// The label of the token.
    pub token: Option<String>,
    /// The serial number of the token.
    pub serial: Option<String>,
    /// The label of the key.
    pub object: String,
    /// The device's library.
    pub module: PathBuf,
    /// A file with the PIN.
    pub pin_source: Option<PathBuf>,
    /// An environment variable with the PIN.
    pub pin_env: Option<String>,
}

/// What is wrong with a name, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UriError(String);

fn wrong<T>(what: impl Into<String>) -> Result<T, UriError> {
    Err(UriError(what.into()))
}

impl std::str::FromStr for KeyUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let form = "a key in a device is named pkcs11:token=NAME;object=LABEL?module-path=FILE";
        let mut given = Attributes::parse(text, form)?;
        if given.take("pin-value").is_some() {
            return wrong(
                "pin-value would be seen by others: put the PIN in a file, and give pin-source",
            );
        }
        if given.take("type").is_some_and(|kind| kind != "secret-key") {
            return wrong("the type of a root is secret-key");
        }
        let (object, pin_source) = (given.take("object"), given.take("pin-source"));
        let pin_env = given.take("x-pin-env");
        let TokenUri {
            token,
            serial,
            module,
        } = given.device()?;
        // What a device wraps is marked with the label, up to a zero byte.
        let object = object.filter(|object| !object.is_empty() && !object.contains('\0'));
        let Some(object) = object else {
            return wrong("object is needed, to say which key");
        };
        if pin_source.is_some() && pin_env.is_some() {
            return wrong("give pin-source or x-pin-env, not both");
        }
        let pin_source =
            pin_source.map(|source| PathBuf::from(source.strip_prefix("file:").unwrap_or(&source)));
        Ok(Self {
            token,
            serial,
            object,
            module,
            pin_source,
            pin_env,
        })
    }
}

/// The attributes of a PKCS #11 URI, of path and query, each there once.
struct Attributes<'t>(Vec<(&'t str, String)>);

impl<'t> Attributes<'t> {
    /// `form` says how such a URI looks, to those who write something else.
    fn parse(text: &'t str, form: &str) -> Result<Self, UriError> {
        let Some(rest) = text.strip_prefix("pkcs11:") else {
            return wrong(form);
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut found = Self(Vec::new());
        let parts = path.split(';').chain(query.split('&'));
        for part in parts.filter(|part| !part.is_empty()) {
            let Some((name, value)) = part.split_once('=') else {
                return wrong(format!("'{part}' has not the form NAME=VALUE"));
            };
            if found.0.iter().any(|(other, _)| *other == name) {
                return wrong(format!("{name} is there twice"));
            }
            found.0.push((name, decoded(value)?));
        }
        Ok(found)
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let place = self.0.iter().position(|(other, _)| *other == name)?;
        Some(self.0.swap_remove(place).1)
    }

    /// Which device they name. What is left besides is nothing that is known.
    fn device(mut self) -> Result<TokenUri, UriError> {
        let (token, serial) = (self.take("token"), self.take("serial"));
        let module = self.take("module-path").map(PathBuf::from);
        if let Some((name, _)) = self.0.first() {
            return wrong(format!("the attribute {name} is not known here"));
        }
        if token.is_none() && serial.is_none() {
            return wrong("token or serial is needed, to say which device");
        }
        let Some(module) = module.filter(|path| path.is_absolute()) else {
            return wrong("module-path is needed: the absolute path of the device's library");
        };
        Ok(TokenUri {
            token,
            serial,
            module,
        })
    }
}

/// A value without its percent signs.
fn decoded(text: &str) -> Result<String, UriError> {
    let broken = || UriError(format!("'{text}' is not percent-encoded"));
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let high = digit(bytes.next()).ok_or_else(broken)?;
        let low = digit(bytes.next()).ok_or_else(broken)?;
        out.push((high * 16 + low) as u8);
    }
    String::from_utf8(out).map_err(|_| broken())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_by_device_and_label() {
        let uri: KeyUri =
            "pkcs11:token=My%20HSM;object=root?module-path=/lib/p.so&pin-source=file:/etc/pin"
                .parse()
                .unwrap();
        assert_eq!(uri.token.as_deref(), Some("My HSM"));
        assert_eq!(uri.object, "root");
        assert_eq!(uri.module, PathBuf::from("/lib/p.so"));
        assert_eq!(uri.pin_source, Some(PathBuf::from("/etc/pin")));
    }

    #[test]
    fn names_that_say_too_little_or_too_much_are_refused() {
        for (text, word) in [
            ("file", "pkcs11:"),
            ("pkcs11:object=o?module-path=/p", "token or serial"),
            ("pkcs11:token=t?module-path=/p", "object"),
            ("pkcs11:token=t;object=o", "module-path"),
            ("pkcs11:token=t;object=o?module-path=p.so", "absolute"),
            ("pkcs11:token=t;token=u;object=o?module-path=/p", "twice"),
            (
                "pkcs11:token=t;object=o?module-path=/p&pin-value=1",
                "pin-source",
            ),
            ("pkcs11:token=t;object=o;id=1?module-path=/p", "id"),
            ("pkcs11:token=%zz;object=o?module-path=/p", "percent"),
            ("pkcs11:token", "NAME=VALUE"),
            ("pkcs11:token=t;object=%00?module-path=/p", "object"),
            (
                "pkcs11:token=t;object=o?module-path=/p&pin-source=/f&x-pin-env=P",
                "not both",
            ),
        ] {
            let error = text.parse::<KeyUri>().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
