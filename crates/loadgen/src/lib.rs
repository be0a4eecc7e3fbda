//! A load generator for presence servers: publishers and watchers that keep account of every answer and every NOTIFY.
//!
//! A [`Load`] has agents, each a socket and a thread with its own publishers and watchers. It runs [`Phase`]s, in
//! closed loops with a window, and gives a [`Report`] of each: final codes, NOTIFYs that were owed and came, CSeqs that
//! went back, times, and what the server's processes used. Every document carries a version, so that a watcher knows
//! whether it ended up with the newest state.

mod actor;
mod agent;
pub mod cpu;
mod document;
mod load;
pub mod message;
mod pending;
mod phase;
mod request;
mod sequence;
mod tally;
mod wire;
mod work;

pub use crate::document::State;
pub use crate::load::{Load, Report};
pub use crate::phase::{Fanout, Mix, Part, Phase};
pub use crate::request::{Publish, Request, Subscribe};
pub use crate::sequence::{Arrival, Sequence};
pub use crate::tally::{Notifies, Tally, Times};

use std::net::SocketAddr;
use std::time::Duration;

/// How a load is put on a server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server.
    pub server: SocketAddr,
    /// Its main process, to see what it uses.
    pub pid: Option<u32>,
    /// Sockets, each with a thread.
    pub agents: usize,
    /// Requests under way at the same time, of all agents together.
    pub window: usize,
    /// Which of a presentity's clients publishes (a fan-out has its own): 0 or 1.
    pub client: usize,
    /// How long a reply, or the next of the NOTIFYs that are due, is waited for.
    pub patience: Duration,
    /// How long the server has after a phase to clean up, as a part of what the phase costs.
    pub afterwards: Duration,
}

impl Settings {
    /// One socket, 64 requests at a time, and time for tm's timers (`wt_timer` of 500 ms).
    #[must_use]
    pub fn new(server: SocketAddr) -> Self {
        Self {
            server,
            pid: None,
            agents: 1,
            window: 64,
            client: 0,
            patience: Duration::from_secs(10),
            afterwards: Duration::from_millis(1000),
        }
    }
}
