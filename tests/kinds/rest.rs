//! The server at rest between two rounds, and what it holds then.

use crate::endurance::Storage;
use crate::endurance::memory::Held;
use std::thread::sleep;
use std::time::{Duration, Instant};
use testkit::{Kamailio, sqlite};

/// How long it may take until nothing is left: sweeps once a second, and transactions that are kept for a while.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);
/// What `presence.status` must show as 0.
const COUNTS: [&str; 7] = [
    "subscriptions",
    "publications",
    "resources",
    "notifies_waiting",
    "notifies_elsewhere",
    "subscriptions_leaving",
    "changes_postponed",
];

/// What was held at the end of a round.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    /// Of shared memory without the module's own part.
    pub held: Held,
    /// The module's own part of shared memory, which is taken in pieces and kept, and texts and documents in it.
    pub pool: i64,
    pub texts: i64,
}

/// Waits until no transaction, no record and no row is left; what is left all the same, in words.
pub fn at_rest(server: &Kamailio, storage: Storage) -> Vec<String> {
    let end = Instant::now() + PATIENCE;
    loop {
        let left = not_gone(server, storage);
        if left.is_empty() || Instant::now() > end {
            return left;
        }
        sleep(PAUSE);
    }
}

fn not_gone(server: &Kamailio, storage: Storage) -> Vec<String> {
    let status = server.json_datagram("presence.status", &serde_json::json!(["check"]));
    let transactions = server.json_datagram("tm.stats", &serde_json::json!([]));
    let (Ok(status), Ok(transactions)) = (&status, &transactions) else {
        // The tables are looked at one part after the other.
        return vec![format!("{status:?}, {transactions:?}")];
    };
    let counts = COUNTS.iter().map(|name| (*name, status[*name].as_i64()));
    let behind = ["rows_behind", "rows_to_delete"].map(|name| (name, status["database"][name].as_i64().or(Some(0))));
    let rest = [("transactions", transactions["current"].as_i64()), ("rows", Some(storage.rows(server)))];
    let all = counts.chain(behind).chain(rest);
    all.filter(|(_, count)| *count != Some(0)).map(|(name, count)| format!("{name}: {count:?}")).collect()
}

impl Left {
    pub fn now(server: &Kamailio) -> Self {
        let (pool, texts, held) = (server.status("shm_bytes"), server.status("text_bytes"), Held::now(server));
        Self { held: Held { shm: held.shm - pool, ..held }, pool, texts }
    }
}

/// Takes out what was decided about watchers, which stays in its table, as with the stock module.
pub fn forget_decisions(server: &Kamailio, storage: Storage) {
    if storage != Storage::Memory {
        sqlite::run(&server.database_file(), "DELETE FROM watchers");
    }
}
