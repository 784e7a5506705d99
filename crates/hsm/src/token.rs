//! What every key in a device needs: the library, the one token that a name fits, and the proof that
//! a key never was anywhere else.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::object::{Attribute, AttributeType, KeyType};
use cryptoki::slot::{Slot, TokenInfo};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The bytes of every key that is made or found.
pub(crate) const KEY_BYTES: u64 = 32;
pub(crate) const TAG_BITS: u64 = 128;

/// Why there is not one token, in a sentence.
pub(crate) enum NotOne {
    /// The device could not be asked.
    Failed(String),
    Absent(String),
    Several(String),
}

/// Libraries that were loaded. They are never unloaded: a process that ends while a thread does that
/// crashes in some of them.
static LOADED: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

/// The library of a device, ready to be used; or why not.
pub(crate) fn loaded(module: &Path) -> Result<Pkcs11, String> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let device = match loaded.get(module) {
        Some(device) => device.clone(),
        None => {
            let device = Pkcs11::new(module)
                .map_err(|error| format!("{} cannot be loaded: {error}", module.display()))?;
            loaded.insert(module.to_owned(), device.clone());
            device
        }
    };
    // What is slow from here on keeps nobody else waiting.
    drop(loaded);
    match device.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // Another key of this process has it open already.
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(device),
        Err(error) => Err(told(&error)),
    }
}

/// The one token with this label and this serial number, as far as they are given.
pub(crate) fn one(
    device: &Pkcs11,
    label: Option<&str>,
    serial: Option<&str>,
) -> Result<(Slot, TokenInfo), NotOne> {
    let failed = |error| NotOne::Failed(told(&error));
    let fits = |wanted: Option<&str>, is: &str| wanted.is_none_or(|one| one == is.trim_end());
    let mut found = Vec::new();
    for slot in device.get_slots_with_initialized_token().map_err(failed)? {
        let token = device.get_token_info(slot).map_err(failed)?;
        if fits(label, token.label()) && fits(serial, token.serial_number()) {
            found.push((slot, token));
        }
    }
    let named = label.or(serial).unwrap_or_default();
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(_), false) => Err(NotOne::Several(format!(
            "there are several tokens '{named}': give serial as well"
        ))),
        (None, _) => Err(NotOne::Absent(format!("there is no token '{named}'"))),
    }
}

/// What is asked of a key for [`elsewhere`].
pub(crate) const PEDIGREE: [AttributeType; 7] = [
    AttributeType::KeyType,
    AttributeType::ValueLen,
    AttributeType::Local,
    AttributeType::Sensitive,
    AttributeType::AlwaysSensitive,
    AttributeType::NeverExtractable,
    AttributeType::Extractable,
];

/// Why a key is none of 256 bits for AES that was made in the device, and never was nor ever can be
/// anywhere else.
pub(crate) fn elsewhere(told_of: &[Attribute]) -> Option<&'static str> {
    let wanted = [
        (Attribute::KeyType(KeyType::AES), "it is no AES key"),
        (Attribute::ValueLen(KEY_BYTES.into()), "it has not 256 bits"),
        (Attribute::Local(true), "it was not generated on the device"),
        (Attribute::Sensitive(true), "it can be read"),
        (Attribute::AlwaysSensitive(true), "it could once be read"),
        (Attribute::Extractable(false), "it can be taken out"),
        (
            Attribute::NeverExtractable(true),
            "it could once be taken out",
        ),
    ];
    unlike(told_of, &wanted)
}

/// The first of `wanted` that a key is unlike, in its words.
pub(crate) fn unlike(
    told_of: &[Attribute],
    wanted: &[(Attribute, &'static str)],
) -> Option<&'static str> {
    let mut unlike = wanted.iter().filter(|(one, _)| !told_of.contains(one));
    unlike.next().map(|(_, otherwise)| *otherwise)
}

/// The error's name in the standard, where it has one.
pub(crate) fn told(error: &Error) -> String {
    match error {
        Error::Pkcs11(value, function) => format!("{function}: {value}"),
        other => other.to_string(),
    }
}

/// Whether an error may mean that a tag is wrong: what that is called differs.
pub(crate) fn may_be_unauthentic(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(
            RvError::EncryptedDataInvalid
                | RvError::EncryptedDataLenRange
                | RvError::GeneralError
                | RvError::FunctionFailed,
            _,
        )
    )
}
