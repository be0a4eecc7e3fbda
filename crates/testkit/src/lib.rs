//! What the tests share: a real Kamailio on its own loopback port, phones that speak SIP, database servers of a test's
//! own, a look into the tables.
//!
//! `PRESENCE_SO` picks the module under test: a path, or `stock` for Kamailio's own C module. Default: the release
//! build of this project. `KAMAILIO_BIN`, `KAMAILIO_MODULES` and `KAMAILIO_SHARE` pick another Kamailio.

pub mod cmodule;
pub mod database;
pub mod engine;
pub mod jsonrpc;
pub mod kamailio;
pub mod listing;
pub mod mutation;
pub mod phone;
pub mod place;
pub mod preload;
pub mod sip;
pub mod sqlite;
pub mod tables;
pub mod wire;

pub use crate::kamailio::{Builder, Database, Kamailio, Module};
pub use crate::phone::Phone;
pub use crate::sip::Message;
pub use crate::tables::Tables;
pub use crate::wire::{Transport, Wire};

use std::path::PathBuf;

/// The project's top folder.
#[must_use]
pub fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).canonicalize().expect("the project's folder")
}

/// Waits until `done` gives something, for at most `seconds`; panics with `what` otherwise.
pub fn wait_for<T>(what: &str, seconds: f64, mut done: impl FnMut() -> Option<T>) -> T {
    let end = std::time::Instant::now() + std::time::Duration::from_secs_f64(seconds);
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(std::time::Instant::now() < end, "not within {seconds} s: {what}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
