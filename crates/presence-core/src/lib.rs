//! The presence server without its host.
//!
//! Subscriptions, publications, event packages, authorisation, watcher information, the order of notifications and
//! expiry: everything that can be decided without a socket, a clock, a database or a Kamailio. The surroundings are
//! traits ([`host::Host`] and its parts); time and randomness come in as values. The data structures live in whatever memory
//! the allocator parameter names, so the same code runs on shared memory in the server and on the heap in tests.

#![forbid(unsafe_code)]
// A request must not stop the server.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod body;
pub mod config;
pub mod dialog;
pub mod etag;
pub mod event;
pub mod expire;
pub mod host;
pub mod media;
pub mod notify;
pub mod outcome;
pub mod package;
pub mod publish;
pub mod refusal;
pub mod render;
pub mod replace;
pub mod row;
pub mod server;
pub mod status;
pub mod store;
pub mod subscribe;
pub mod subscription;
pub mod time;
pub mod uri;
pub mod winfo;
