//! Safe wrappers of the Kamailio host, in the host's own nouns. No word of presence.
//!
//! Everything that a module needs of its server: shared memory, locks, messages and replies, transactions, the
//! database API, timers and processes, logs, parameters, RPC, pseudo-variables, KEMI. The rules that the `SAFETY`
//! comments cite are in the project's `SAFETY.md`.

// A request must not stop the server.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod bell;
pub mod db;
pub mod direct;
pub mod entry;
pub mod heap;
pub mod kemi;
pub mod lock;
pub mod log;
pub mod module;
pub mod msg;
pub mod param;
pub mod pkg;
pub mod proc;
pub mod pv;
pub mod request;
pub mod route;
pub mod rpc;
pub mod shm;
pub mod sl;
pub mod str;
pub mod tcp;
pub mod timer;
pub mod tm;
pub mod uri;
pub mod xavp;

/// The raw host, for the one room (the C interface of a module) that has to speak C itself.
pub use kamailio_shim as raw;
