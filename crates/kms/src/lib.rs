//! The KMS engine: what the operations of the AWS KMS API mean.
//!
//! The same engine serves the embedded KMS of the command line and the server. A request passes
//! through four types, and each step can be reached only from the one before:
//!
//! ```text
//! Authenticated ─ who calls ─▶ Authorized ─ what they may ─▶ Outcome ─ done or refused ─▶ Recorded ─▶ answer
//! ```
//!
//! * [`request`]: those types. [`caller`]: who calls. [`principals`]: whom a credential stands for.
//!   [`federation`]: whom a token does. [`attestation`]: enclaves that answers are encrypted for.
//! * [`authorize`]: who may do what; default deny.
//! * [`explain`]: why, for whoever asks.
//! * [`engine`]: [`Engine`], which runs requests one after the other on a snapshot of the state.
//! * [`op`]: one function for each operation. [`policy`]: policies, evaluated as AWS does.
//! * [`dispatch`]: a request as a name and bytes.
//! * [`device`]: devices that keys live in, and the custom key stores that hang from them.
//! * [`blob`]: the ciphertext blob, byte by byte. [`seal`]: rows at rest.
//! * [`store`]: state as documents under keys. [`audit`]: the hash-chained log. [`trail`]: the same as
//!   signed files. [`backup`]: copies of it all.
//! * [`seed`]: keys and principals that are planted, for development; `chosen`: by tags.
//! * [`root`]: what the hierarchy hangs from. [`home`]: the directory of an embedded KMS.
//! * [`turn`]: how long a disk is waited for.
//! * [`keyring`]: the engine as a [`Keyring`](waxseal_core::Keyring).
//!
//! Time and randomness are handed in. Files are touched only in [`home`], [`store`], [`audit`], [`trail`]
//! and [`backup`].

pub mod attestation;
pub mod audit;
pub mod authorize;
pub mod backup;
pub mod blob;
pub mod caller;
mod chosen;
pub mod clock;
pub mod device;
pub mod dispatch;
pub mod engine;
pub mod explain;
pub mod federation;
mod files;
pub mod home;
pub mod keyring;
mod making;
mod model;
pub mod op;
pub mod policy;
pub mod principals;
pub mod request;
mod reserve;
pub mod root;
pub mod seal;
pub mod seed;
mod spec;
pub mod store;
mod tend;
pub mod trail;
pub mod turn;

pub use engine::Engine;
pub use keyring::EngineKeyring;
