//! The KMS engine behind HTTP, speaking the AWS KMS API.
//!
//! ```text
//! connection ─ limits ─▶ request ─ read, bounded ─▶ signature ─ verified ─▶ engine ─ recorded ─▶ answer
//! ```
//!
//! * [`access_key`]: the owner's access key, in a file that AWS tools read.
//! * [`front`]: from a request to an answer: who calls, which operation, what came of it.
//! * [`listen`]: connections, their limits, and the end. [`tls`]: certificates. `workers`: a thread for each
//!   core, with connections of its own.
//! * [`metrics`]: what is counted.
//!
//! Without TLS, [`listen::bind`] takes loopback addresses only.

pub mod access_key;
mod count;
pub mod front;
pub mod listen;
pub mod metrics;
pub mod tls;
mod workers;

pub use access_key::AccessKey;
pub use front::{Callers, Front};
