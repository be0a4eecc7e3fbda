//! What is measured, and in which configurations.

use loadgen::{Fanout, Part, Phase, Publish, Subscribe};
use std::fmt;
use std::time::Duration;
use testkit::{Builder, Database, Kamailio};

/// An operation that is measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Row {
    /// A request with what follows from it, each answered before the next one of its publication or dialog.
    Publish(Step),
    Subscribe(Step),
    /// One PUBLISH, and the NOTIFYs to so many watchers.
    Fanout(u32),
}

/// Where a publication or a dialog stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    First,
    Second,
    Third,
}

impl Row {
    /// In the order in which they run: each needs those before it, but a fan-out needs none.
    pub const ALL: [Self; 8] = [
        Self::Publish(Step::First),
        Self::Publish(Step::Second),
        Self::Publish(Step::Third),
        Self::Subscribe(Step::First),
        Self::Subscribe(Step::Second),
        Self::Subscribe(Step::Third),
        Self::Fanout(100),
        Self::Fanout(1000),
    ];

    /// Whether this row has to run so that another one can.
    pub fn is_needed_by(self, other: Self) -> bool {
        self == other || !matches!(other, Self::Fanout(_)) && self < other
    }

    /// The load: `operations` of it, or, in a fan-out, about as many NOTIFYs.
    pub fn phase(self, operations: u32) -> Phase {
        match self {
            Self::Publish(Step::First) => Phase::Publish { count: operations, first: 0 },
            // The refresh before the new document: the stock module loses the document here (publ_cache 2), and the
            // watchers of the next rows are to see one.
            Self::Publish(Step::Second) => Phase::Republish(Publish::Refresh, Part::WHOLE),
            Self::Publish(Step::Third) => Phase::Republish(Publish::Modify, Part::WHOLE),
            Self::Subscribe(Step::First) => Phase::Subscribe { count: operations, presentities: operations, first: 0 },
            Self::Subscribe(Step::Second) => Phase::Resubscribe(Subscribe::Refresh, Part::WHOLE),
            Self::Subscribe(Step::Third) => Phase::Resubscribe(Subscribe::End, Part::WHOLE),
            Self::Fanout(watchers) => {
                let rounds = (operations / watchers).max(2);
                Phase::Fanout(Fanout { presentity: self.presentity(), rounds, burst: 1, clients: 1, probe: None })
            }
        }
    }

    /// The presentity of a fan-out: none of those that the other rows use.
    pub fn presentity(self) -> u32 {
        match self {
            Self::Fanout(watchers) => 10_000_000 + watchers,
            _ => 0,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Publish(Step::First) => "PUBLISH initial",
            Self::Publish(Step::Second) => "PUBLISH refresh",
            Self::Publish(Step::Third) => "PUBLISH modify",
            Self::Subscribe(Step::First) => "SUBSCRIBE initial + NOTIFY",
            Self::Subscribe(Step::Second) => "SUBSCRIBE refresh + NOTIFY",
            Self::Subscribe(Step::Third) => "SUBSCRIBE end + NOTIFY",
            Self::Fanout(100) => "NOTIFY, fan-out to 100",
            Self::Fanout(_) => "NOTIFY, fan-out to 1000",
        })
    }
}

/// A configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setup {
    storage: Storage,
    allocator: &'static str,
    workers: u32,
    start: Start,
}

/// What the server has behind it when it is measured. With qm this decides more than the module: on a heap that nothing
/// was freed in yet, each allocation walks all empty free lists, and what the stock module frees shortens that walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Start {
    /// Nothing.
    Cold,
    /// Publications and dialogs that came and went.
    Warm,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Storage {
    /// No database.
    Memory,
    /// SQLite with `publ_cache` 1, the default, and this `subs_db_mode`.
    Sqlite(u32),
}

/// The script of a presence server and nothing else: the less the host does, the more of a row is the module's.
const ROUTES: &str = "\
request_route {
    if (is_method(\"OPTIONS\")) { sl_send_reply(\"200\", \"OK\"); exit; }
    if (!t_newtran()) { sl_reply_error(); exit; }
    if (is_method(\"PUBLISH\")) { handle_publish(); t_release(); exit; }
    if (is_method(\"SUBSCRIBE\")) { handle_subscribe(); t_release(); exit; }
    t_reply(\"405\", \"Method Not Allowed\");
    exit;
}
";

impl Setup {
    /// All configurations.
    pub fn all() -> Vec<Self> {
        let storages = [
            (Storage::Memory, 2, Start::Cold),
            (Storage::Memory, 2, Start::Warm),
            (Storage::Sqlite(1), 2, Start::Warm),
            (Storage::Sqlite(2), 2, Start::Warm),
            // With one worker nobody contends for SQLite, and the stock module answers everything.
            (Storage::Sqlite(1), 1, Start::Warm),
            (Storage::Sqlite(2), 1, Start::Warm),
        ];
        let with_both =
            |(storage, workers, start)| ["qm", "tlsf"].map(|allocator| Self { storage, allocator, workers, start });
        storages.into_iter().flat_map(with_both).collect()
    }

    /// The name for `--setup`.
    pub fn name(&self) -> String {
        let storage = match self.storage {
            Storage::Memory => "memory".to_owned(),
            Storage::Sqlite(mode) => format!("sqlite{mode}"),
        };
        let start = if self.is_cold() { "-cold" } else { "" };
        format!("{storage}-{}-{}w{start}", self.allocator, self.workers)
    }

    /// Whether the server has nothing behind it.
    pub fn is_cold(&self) -> bool {
        self.start == Start::Cold
    }

    /// Memory only, with Debian's default allocator: here a PUBLISH has to be clearly cheaper.
    pub fn is_the_plain_one(&self) -> bool {
        self.storage == Storage::Memory && self.allocator == "qm"
    }

    /// What the table says about it.
    pub fn heading(&self) -> String {
        let Self { allocator, workers, .. } = self;
        let storage = match self.storage {
            Storage::Memory => "memory only (publ_cache 2, subs_db_mode 0)".to_owned(),
            Storage::Sqlite(mode) => {
                let flush = if mode == 2 { ", written back every second" } else { "" };
                format!("SQLite in WAL mode (publ_cache 1, subs_db_mode {mode}{flush})")
            }
        };
        let start = if self.is_cold() { "just started" } else { "warm" };
        format!("{}: {storage}, allocator {allocator}, workers {workers}, {start}", self.name())
    }

    /// How long the server has after each phase for what the phase left to do.
    pub fn afterwards(&self) -> Duration {
        Duration::from_millis(if self.storage == Storage::Sqlite(2) { 1300 } else { 500 })
    }

    /// The server.
    pub fn server(&self) -> Builder {
        let builder = Kamailio::builder()
            .children(self.workers)
            .memory(1024, 8)
            .allocator(self.allocator)
            .debug(-1)
            .packages(&["presence_xml"])
            // Ended transactions are freed within the phase to which they belong.
            .extra("modparam(\"tm\", \"wt_timer\", 200)")
            .routes(ROUTES);
        match self.storage {
            Storage::Memory => builder,
            Storage::Sqlite(mode) => builder
                .database(Database::Sqlite("WAL"))
                .param("publ_cache", 1)
                .param("subs_db_mode", mode)
                .param("db_update_period", if mode == 2 { 1 } else { 100 }),
        }
    }
}
