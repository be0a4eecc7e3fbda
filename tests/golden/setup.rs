//! The three set-ups in which the stock module was recorded.

use crate::trace::Trace;
use std::path::PathBuf;
use std::time::Duration;
use testkit::{Builder, Database, Kamailio};

/// Where the state lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetUp {
    /// In shared memory only.
    Memory,
    /// In shared memory, written back to SQLite.
    Sqlite,
    /// In SQLite only, NOTIFYs buffered and sent by a notifier process.
    DbOnly,
}

/// A NOTIFY that is kept back waits this long at most (`waitn_time`), and for the next look of a notifier.
const ROUND: Duration = Duration::from_secs(1);

impl SetUp {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Sqlite, Self::DbOnly];

    /// Its name in README and in `recorded/`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::DbOnly => "dbonly",
        }
    }

    /// Whether NOTIFYs are buffered, so that only the outcome of a case is certain.
    pub fn is_buffered(self) -> bool {
        self == Self::DbOnly
    }

    /// The server, as it was recorded.
    pub fn server(self) -> Builder {
        let server = Kamailio::builder().packages(&["presence_xml"]);
        let server = server
            .extra("modparam(\"tm\", \"wt_timer\", 5000)\nmodparam(\"tm\", \"fr_timer\", 2500)")
            .param("min_expires", 10)
            .param("max_expires", 36000)
            .param("db_update_period", 3)
            .param("clean_period", 3)
            .param("fetch_rows", 1000)
            .param("subs_htable_size", 9)
            .param("pres_htable_size", 9);
        match self {
            Self::Memory => server.param("publ_cache", 2).param("subs_db_mode", 0),
            Self::Sqlite => server.database(Database::Sqlite("wal")).param("publ_cache", 1).param("subs_db_mode", 2),
            Self::DbOnly => server
                .database(Database::Sqlite("wal"))
                .param("publ_cache", 0)
                .param("subs_db_mode", 3)
                .param("notifier_processes", 1)
                .param("send_fast_notify", 0)
                .param("notifier_poll_rate", 1)
                .param("waitn_time", ROUND.as_secs()),
        }
    }

    /// How long the wire is quiet before the next step of a case. With buffered NOTIFYs a case is played in one go,
    /// before the notifier comes round.
    pub fn quiet(self) -> Duration {
        Duration::from_millis(if self.is_buffered() { 5 } else { 150 })
    }

    /// The most that the requests of a case may take, where it has to be played in one go.
    pub fn in_one_go(self) -> Option<Duration> {
        self.is_buffered().then_some(ROUND / 2)
    }

    /// How long the wire is quiet before a case counts as over.
    pub fn settled(self) -> Duration {
        if self.is_buffered() { 2 * ROUND + Duration::from_millis(300) } else { Duration::from_millis(300) }
    }

    /// What was recorded of a case; nothing if the case was not recorded in this set-up.
    pub fn recorded(self, case: &str) -> Result<Option<Trace>, String> {
        let file = self.recordings().join(format!("{case}.norm"));
        if !file.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        Trace::parse(&text).map(Some).map_err(|e| format!("{}: {e}", file.display()))
    }

    /// Where its recordings are.
    pub fn recordings(self) -> PathBuf {
        testkit::root().join("tests/golden/recorded").join(self.name())
    }
}
