//! Keys that stay in a PKCS #11 device (OASIS PKCS #11, version 2.40 and later): an HSM, or
//! SoftHSM.
//!
//! * [`uri`]: how a key in a device is named (RFC 7512).
//! * [`HsmKeyring`]: a [`Keyring`](waxseal_core::Keyring) over one AES key of the device.
//!
//! * [`Vault`]: a device that many keys live in, each made there and used there (custom key stores).
//!
//! A root key's device seals one domain key when a store is made, and opens it when the store is opened and now
//! and then to prove that it is there: it is not on the way of any request. What is asked of it is
//! asked by a thread of its own, and waited for no longer than [`DEADLINE`].
//!
//! There is no unsafe code here: cryptoki has it, with the device's own library behind it, which is
//! code that is trusted like the device.

mod device;
mod keyring;
mod token;
pub mod uri;
mod vault;
mod worker;

pub use device::HsmError;
pub use keyring::{DEADLINE, HsmKeyring, Pin};
pub use vault::{OpenVault, SALT_BYTES, Vault, VaultError};
