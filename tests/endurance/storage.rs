//! Where the state of a server under test is kept.

use std::fmt;
use testkit::{Builder, Database, Kamailio, sqlite};

/// Where things are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Storage {
    /// No database.
    Memory,
    /// SQLite, with this `subs_db_mode`.
    Sqlite(u32),
}

impl Storage {
    /// A server whose private memory is Kamailio's default, whatever the load; transactions go soon after their end.
    pub fn builder(self, workers: u32) -> Builder {
        let builder =
            Kamailio::builder().children(workers).memory(512, 8).debug(0).extra("modparam(\"tm\", \"wt_timer\", 300)");
        match self {
            Self::Memory => builder,
            Self::Sqlite(mode) => {
                builder.database(Database::Sqlite("WAL")).param("publ_cache", 1).param("subs_db_mode", mode)
            }
        }
    }

    /// Rows of publications and subscriptions in the tables.
    pub fn rows(self, server: &Kamailio) -> i64 {
        let count = "SELECT (SELECT count(*) FROM presentity) + (SELECT count(*) FROM active_watchers)";
        match self {
            Self::Memory => 0,
            Self::Sqlite(_) => sqlite::number(&server.database_file(), count),
        }
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.pad("memory"),
            Self::Sqlite(mode) => f.pad(&format!("SQLite, mode {mode}")),
        }
    }
}
