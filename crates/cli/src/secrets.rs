//! Passphrases, PINs and shares, from files and from the terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use waxseal_core::SecretBytes;
use waxseal_kms::root::RootShare;

/// The most bytes that such a file may have.
const SECRET_BYTES_MAX: u64 = 4_096;

/// The PIN of the device with this key.
pub(crate) fn pin_from_terminal(object: &str) -> Result<SecretBytes, String> {
    let prompt = format!("PIN of the device with the root key '{object}': ");
    let pin = rpassword::prompt_password(prompt)
        .map(|text| SecretBytes::new(text.into_bytes()))
        .map_err(|error| format!("no terminal to ask for the PIN on ({error}); give pin-source"))?;
    match pin.is_empty() {
        true => Err("the PIN is empty".to_owned()),
        false => Ok(pin),
    }
}

/// One that is mistyped is asked for again.
pub(crate) fn share_from_terminal(number: u8, need: u8) -> Result<RootShare, String> {
    loop {
        let typed = rpassword::prompt_password(format!("Share {number} of {need}: "))
            .map(|text| SecretBytes::new(text.into_bytes()))
            .map_err(|error| {
                format!("no terminal to ask for shares on ({error}); give files in WAXSEAL_SHARES")
            })?;
        if typed.is_empty() {
            return Err("no share was typed".to_owned());
        }
        match RootShare::read(typed.expose()) {
            Ok(share) => return Ok(share),
            Err(error) => drop(writeln!(std::io::stderr(), "{error}")),
        }
    }
}

/// The passphrase; one that is chosen is asked for twice.
pub(crate) fn passphrase_from_terminal(new: bool) -> Result<SecretBytes, String> {
    let ask = |prompt: &str| {
        rpassword::prompt_password(prompt)
            .map(|text| SecretBytes::new(text.into_bytes()))
            .map_err(|error| format!("no terminal to ask on ({error})"))
    };
    let passphrase = ask(match new {
        true => "New passphrase of the waxseal home: ",
        false => "Passphrase of the waxseal home: ",
    })?;
    if passphrase.is_empty() {
        return Err("it is empty".to_owned());
    }
    if new && !ask("The same again: ")?.ct_eq(passphrase.expose()) {
        return Err("the two differ".to_owned());
    }
    Ok(passphrase)
}

/// The file's bytes without a line end at their end. A file that others can read is refused: what is
/// in it is no secret any more.
pub(crate) fn secret_file(what: &str, path: &Path) -> Result<SecretBytes, String> {
    let io = |error| format!("{what} {}: {error}", path.display());
    let mut file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if metadata.is_file() && mode & others(path) != 0 {
        return Err(format!(
            "{what} {} has mode {mode:04o}: others can read it; if nobody has: chmod 600 {}",
            path.display(),
            path.display()
        ));
    }
    let mut bytes = SecretBytes::zeroed(SECRET_BYTES_MAX as usize + 1);
    let mut len = 0;
    loop {
        match file.read(&mut bytes.expose_mut()[len..]).map_err(io)? {
            0 => break,
            read => len += read,
        }
    }
    if len as u64 > SECRET_BYTES_MAX {
        return Err(format!(
            "{} has more than {SECRET_BYTES_MAX} bytes",
            path.display()
        ));
    }
    let mut text = &bytes.expose()[..len];
    text = text.strip_suffix(b"\n").unwrap_or(text);
    text = text.strip_suffix(b"\r").unwrap_or(text);
    if text.is_empty() {
        return Err(format!("{} is empty", path.display()));
    }
    Ok(SecretBytes::copy_of(text))
}

/// The permission bits that a secret's file may not have. systemd hands credentials to a service by an
/// access control list, which looks like a right of the group.
fn others(path: &Path) -> u32 {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY");
    match credentials.is_some_and(|directory| path.starts_with(directory)) {
        true => 0o007,
        false => 0o077,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pin");
        std::fs::write(&path, b"1234\n").unwrap();
        for (mode, is_fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let read = secret_file("pin-source", &path);
            assert_eq!(
                read.is_ok_and(|pin| pin.ct_eq(b"1234")),
                is_fine,
                "{mode:o}"
            );
        }
    }
}
