//! The AWS KMS wire (service model `kms/2014-11-01`, protocol JSON 1.1): what each operation
//! carries in and out, the errors by name, and nothing of what an operation means.
//!
//! * [`op`]: one input and one output struct for each operation, and [`Operation`], which ties
//!   them to a name. `waxseal_kms::op` has a module of the same name for the meaning.
//! * [`model`]: what the service model says of each member.
//! * [`error`]: [`KmsError`] with the names, HTTP statuses and JSON body that clients match on.
//! * [`sigv4`]: who signed a request, and whether the signature is right.
//! * [`wire`]: from the bytes of a body to an input, and back.
//! * [`iam`], [`sts`]: principals and sessions, which requests are made by.
//! * [`trail`]: the audit log, as CloudTrail and S3 show one.
//! * [`shape`]: base64 blobs, secret blobs and timestamps in epoch seconds.
//!
//! There are no sockets here, and no clock.

pub mod error;
pub mod iam;
pub mod members;
pub mod model;
pub mod op;
pub mod shape;
pub mod sigv4;
pub mod stamp;
pub mod sts;
pub mod trail;
pub mod wire;

pub use error::{ErrorCode, KmsError};
pub use op::{Action, Operation};
