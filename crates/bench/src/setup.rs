//! In which configurations it is measured.

use crate::row::{Row, Side};
use std::time::Duration;
use testkit::{Builder, Database, Kamailio, Module};

/// A configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setup {
    scene: Scene,
    storage: Storage,
    pub allocator: &'static str,
    workers: u32,
    start: Start,
    /// Our NOTIFYs do not go through tm.
    direct: bool,
}

/// Who watches whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scene {
    /// Each presentity has a watcher.
    Many,
    /// One presentity has them all.
    One,
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
        let with_both = |(scene, (storage, workers, start), direct)| {
            ["qm", "tlsf"].map(|allocator| Self { scene, storage, allocator, workers, start, direct })
        };
        let warm = (Storage::Memory, 2, Start::Warm);
        let many = storages.into_iter().map(|storage| (Scene::Many, storage, false));
        many.chain([(Scene::One, warm, false), (Scene::Many, warm, true)]).flat_map(with_both).collect()
    }

    /// The name for `--setup`.
    pub fn name(&self) -> String {
        let what = match (self.scene, self.storage) {
            _ if self.direct => "direct".to_owned(),
            (Scene::One, _) => "crowd".to_owned(),
            (Scene::Many, Storage::Memory) => "memory".to_owned(),
            (Scene::Many, Storage::Sqlite(mode)) => format!("sqlite{mode}"),
        };
        let start = if self.is_cold() { "-cold" } else { "" };
        format!("{what}-{}-{}w{start}", self.allocator, self.workers)
    }

    /// Whether one presentity has all watchers.
    pub fn has_a_crowd(&self) -> bool {
        self.scene == Scene::One
    }

    /// Whether anything is in a database.
    pub fn is_in_memory(&self) -> bool {
        self.storage == Storage::Memory
    }

    /// What can be measured in it; a crowd grows over these sizes.
    pub fn rows(&self, levels: &[u32]) -> Vec<Row> {
        let notifies = |row: &Row| !self.direct || !matches!(row, Row::Publish(_));
        let rows = if self.has_a_crowd() { Row::of_one(levels) } else { Row::OF_MANY.into() };
        rows.into_iter().filter(notifies).collect()
    }

    /// The servers that are measured beside each other. A database is nothing that the host does by itself.
    pub fn sides(&self, rows: &[Row]) -> Vec<Side> {
        let is_asked = |side: &Side| rows.iter().any(|row| row.concerns(*side));
        let all = [Side::Ours, Side::Stock, Side::Floor].into_iter();
        all.filter(|side| is_asked(side) && (*side != Side::Floor || self.is_in_memory())).collect()
    }

    /// Whether our NOTIFYs do without tm (`notify_transport`).
    pub fn is_direct(&self) -> bool {
        self.direct
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
        let scene = if self.has_a_crowd() { ", one presentity" } else { "" };
        let direct = if self.direct { ", our NOTIFYs direct (notify_transport)" } else { "" };
        format!("{}: {storage}, allocator {allocator}, workers {workers}, {start}{scene}{direct}", self.name())
    }

    /// How long the server has after each phase for what the phase left to do.
    pub fn afterwards(&self) -> Duration {
        Duration::from_millis(if self.storage == Storage::Sqlite(2) { 1300 } else { 500 })
    }

    /// A server, not yet started.
    pub fn server(&self, side: Side) -> Builder {
        let builder = Kamailio::builder().memory(1024, 8).allocator(self.allocator);
        let module = match side {
            Side::Ours => Module::from_env(),
            Side::Stock => Module::Stock,
            Side::Floor => {
                let file = testkit::root().join("crates/bench/floor.cfg");
                return builder.file(file).define("WORKERS", &self.workers.to_string());
            }
        };
        let builder = builder
            .module(module)
            .children(self.workers)
            .debug(-1)
            .packages(&["presence_xml"])
            // Ended transactions are freed within the phase to which they belong.
            .extra("modparam(\"tm\", \"wt_timer\", 200)")
            .routes(ROUTES);
        let is_direct = self.direct && side == Side::Ours;
        let builder = if is_direct { builder.param("notify_transport", "\"direct\"") } else { builder };
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
