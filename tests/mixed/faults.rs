//! Faults: what they are, and how they are brought about.

use super::orders::{Lasting, Order};
use super::watchers::Mood;
use super::{Mode, Trial};
use crate::plan::{Fault, Plan};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::Sender;
use std::thread::sleep;
use std::time::{Duration, Instant};
use testkit::kamailio::kill_all;
use testkit::mutation::Random;
use testkit::{Database, Kamailio};

/// How long a server may take to go down by itself when one of its processes has died.
const DOWN: Duration = Duration::from_secs(15);
/// Shared memory that is left, in bytes, when it is scarce.
const SCARCE: &str = "65536";

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Another program keeps the database locked.
    Locked,
    /// Each step of a statement takes long.
    Slow,
    /// Each step fails.
    Failing,
    /// The files of the database cannot grow.
    Full,
    /// Watchers do not answer.
    Silent,
    /// They answer with codes, and with garbage.
    Refusing,
    /// Connections are cut.
    Cut,
    /// Hardly any shared memory is left.
    Scarce,
    /// A worker does not run for a second.
    Stopped,
    /// Somebody types commands.
    Commands,
    /// All processes are killed.
    KilledServer,
    /// A worker is killed.
    KilledWorker,
}

impl Kind {
    const OF_DATABASE: [Self; 4] = [Self::Locked, Self::Slow, Self::Failing, Self::Full];
    const OTHERS: [Self; 6] = [Self::Silent, Self::Refusing, Self::Cut, Self::Scarce, Self::Stopped, Self::Commands];
    const KILLS: [Self; 2] = [Self::KilledServer, Self::KilledWorker];

    /// Whether requests may be put off (503) because of it.
    pub fn puts_off(self) -> bool {
        // A worker may be stopped while it is the one that writes.
        Self::OF_DATABASE.contains(&self) || Self::KILLS.contains(&self) || matches!(self, Self::Scarce | Self::Stopped)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Locked => "database locked",
            Self::Slow => "database slow",
            Self::Failing => "database fails",
            Self::Full => "disk full",
            Self::Silent => "watchers silent",
            Self::Refusing => "watchers refuse",
            Self::Cut => "connections cut",
            Self::Scarce => "shared memory scarce",
            Self::Stopped => "worker stopped",
            Self::Commands => "commands",
            Self::KilledServer => "server killed",
            Self::KilledWorker => "worker killed",
        }
    }
}

/// The kinds one after the other, each as often as the others, in an order that the seed gives.
pub struct Draw {
    random: Random,
    all: Vec<Kind>,
    left: Vec<Kind>,
}

impl Draw {
    /// Of those whose names contain `only`.
    pub fn new(mode: Mode, seed: u64, only: &str) -> Self {
        let of_database = if mode == Mode::Memory { &[][..] } else { &Kind::OF_DATABASE };
        let all = [&Kind::OTHERS[..], &Kind::KILLS, of_database].concat();
        let all: Vec<Kind> = all.into_iter().filter(|kind| kind.name().contains(only)).collect();
        assert!(all.iter().any(|kind| !Kind::KILLS.contains(kind)), "SOAK_FAULTS={only}: no fault for the whole time");
        Self { random: Random::new(seed), all, left: Vec::new() }
    }

    /// The next one; without `kills` it is none of these.
    pub fn next(&mut self, kills: bool) -> Kind {
        loop {
            if self.left.is_empty() {
                self.left.clone_from(&self.all);
            }
            let place = self.random.below(self.left.len());
            let kind = self.left.swap_remove(place);
            if kills || !Kind::KILLS.contains(&kind) {
                return kind;
            }
        }
    }
}

/// The server under test, and what can be done to it.
pub struct Stage {
    pub server: Kamailio,
    plan: Plan,
    mode: Mode,
    random: Random,
    orders: Sender<Order>,
    pub done: BTreeMap<Kind, u32>,
    /// Ways down after the death of a worker that took too long, and were ended with SIGKILL.
    pub slow_ways_down: u32,
    pub crashes: u32,
}

/// What is left of it at the end.
pub struct Ended {
    pub server: Kamailio,
    pub server_processes: usize,
    pub done: BTreeMap<Kind, u32>,
    pub slow_ways_down: u32,
    pub crashes: u32,
}

impl Stage {
    pub fn set(trial: &Trial, orders: Sender<Order>) -> Self {
        let plan = Plan::new();
        Self {
            server: server(trial, &plan),
            plan,
            mode: trial.mode,
            random: Random::new(trial.seed ^ 0xfa17),
            orders,
            done: BTreeMap::new(),
            slow_ways_down: 0,
            crashes: 0,
        }
    }

    /// The phones get no more orders.
    pub fn ended(self) -> Ended {
        let Self { server, done, slow_ways_down, crashes, .. } = self;
        Ended { server_processes: server.pids().len(), server, done, slow_ways_down, crashes }
    }

    pub fn tell(&self, order: Order) {
        self.orders.send(order).expect("the phones are at work");
    }

    fn seconds(&mut self, from: usize, to: usize) -> Duration {
        Duration::from_secs((from + self.random.below(to - from + 1)) as u64)
    }

    /// Brings a fault about, from its beginning to its end.
    pub fn bring_about(&mut self, kind: Kind) {
        *self.done.entry(kind).or_default() += 1;
        self.tell(Order::Begin(kind));
        // The phones know of it first.
        sleep(Duration::from_millis(200));
        match kind {
            Kind::Locked => {
                let time = self.seconds(3, 8);
                let mut other = self.server.tables().session();
                other.lock(&["active_watchers"]);
                sleep(time);
                other.unlock();
            }
            Kind::Slow => self.fault_for(Fault::Slow(Duration::from_millis(5))),
            Kind::Failing => self.fault_for(Fault::All),
            Kind::Full => {
                limit_files(&self.server, "0");
                sleep(self.seconds(2, 6));
                limit_files(&self.server, "unlimited");
            }
            Kind::Silent => {
                self.tell(Order::Behave(Mood::Silent, 15));
                sleep(self.seconds(2, 12));
            }
            Kind::Refusing => {
                for mood in [Mood::Code(481), Mood::Code(408), Mood::Code(500), Mood::Busy, Mood::Garbage] {
                    self.tell(Order::Behave(mood, 5));
                }
                sleep(self.seconds(3, 8));
            }
            Kind::Cut => {
                for _ in 0..3 {
                    self.tell(Order::Cut(2));
                    sleep(Duration::from_secs(1));
                }
            }
            Kind::Scarce => {
                let time = self.seconds(3, 6);
                let _ = self.server.rpc(&["scarce.leave", SCARCE]);
                sleep(time);
                let _ = self.server.rpc(&["scarce.restore"]);
            }
            Kind::Stopped => {
                let worker = self.worker();
                kill_all("STOP", &[worker.to_string()]);
                sleep(Duration::from_secs(1));
                kill_all("CONT", &[worker.to_string()]);
            }
            Kind::Commands => self.type_commands(),
            Kind::KilledServer => {
                let pids: Vec<String> = self.server.pids().iter().map(u32::to_string).collect();
                kill_all("KILL", &pids);
                self.start_again();
            }
            Kind::KilledWorker => {
                let worker = self.worker();
                kill_all("KILL", &[worker.to_string()]);
                self.start_again();
            }
        }
        self.tell(Order::End);
    }

    fn fault_for(&mut self, fault: Fault) {
        let time = self.seconds(3, 8);
        self.plan.set(fault);
        sleep(time);
        self.plan.set(Fault::None);
    }

    fn type_commands(&mut self) {
        for round in 0..20 {
            let user = format!("sip:u{}@test.local", self.random.below(50));
            let kind = (round % 2).to_string();
            let _ = match round % 5 {
                0 => self.server.rpc(&["presence.cleanup"]),
                1 => self.server.rpc(&["presence.refreshWatchers", &user, "presence", &kind]),
                2 => self.server.rpc(&["presence.updateWatchers", &user, "presence"]),
                3 => self.server.rpc(&["presence.watcher_list", "full", "*", "limit=50"]),
                _ => self.server.rpc(&["presence.status", "check"]),
            };
        }
    }

    fn worker(&mut self) -> u32 {
        let all = self.server.processes();
        let is_worker = |what: &str| what.contains("receiver") && !what.contains("main");
        let workers: Vec<u32> = all.iter().filter(|(_, what)| is_worker(what)).map(|(pid, _)| *pid).collect();
        assert!(!workers.is_empty(), "no worker in {all:?}");
        self.random.pick(&workers)
    }

    /// A server that is not there, or on its way down, is started again; nobody is told of a fault.
    pub fn start_again(&mut self) {
        let start = Instant::now();
        while self.server.is_running() {
            if start.elapsed() > DOWN {
                self.slow_ways_down += 1;
                let pids: Vec<String> = self.server.pids().iter().map(u32::to_string).collect();
                kill_all("KILL", &pids);
            }
            sleep(Duration::from_millis(20));
        }
        self.tell(Order::Down(self.mode.lasting()));
        // While it is down nothing fails, or it would not start.
        self.plan.set(Fault::None);
        self.server.try_start_again().unwrap_or_else(|log| panic!("it does not start again:\n{log}"));
        self.tell(Order::Up);
    }

    /// Rows that are there twice.
    pub fn rows_twice(&self) -> Vec<String> {
        if self.mode == Mode::Memory {
            return Vec::new();
        }
        let tables = self.server.tables();
        let mut twice =
            tables.run("SELECT callid FROM active_watchers GROUP BY callid, to_tag, from_tag HAVING count(*) > 1");
        twice.extend(
            tables.run("SELECT etag FROM presentity GROUP BY username, domain, event, etag HAVING count(*) > 1"),
        );
        twice.extend(tables.run("PRAGMA integrity_check").into_iter().filter(|line| line != "ok"));
        twice
    }
}

impl Mode {
    fn lasting(self) -> Lasting {
        match self {
            Self::Memory => Lasting::Nothing,
            Self::Sqlite(2) => Lasting::Until(Duration::from_secs(3)),
            Self::Sqlite(_) => Lasting::All,
        }
    }
}

/// How far the files of the server's processes may grow.
fn limit_files(server: &Kamailio, bytes: &str) {
    for pid in server.pids() {
        let mut prlimit = Command::new("prlimit");
        // A process may have ended meanwhile.
        let _ = prlimit.arg(format!("--pid={pid}")).arg(format!("--fsize={bytes}:unlimited")).status();
    }
}

fn server(trial: &Trial, plan: &Plan) -> Kamailio {
    let scarce =
        testkit::cmodule::build(&testkit::root().join("tests/faults/scarce.c"), Path::new(env!("CARGO_TARGET_TMPDIR")));
    let builder = Kamailio::builder()
        .children(8)
        .memory(4096, 8)
        .debug(-1)
        .listen("LISTEN_TCP")
        .before(&format!("tcp_children=4\nloadmodule \"{}\"", scarce.display()))
        .extra(&format!("modparam(\"tm\", \"fr_timer\", {})", super::FR_TIMER.as_millis()))
        .extra(&format!("modparam(\"tm\", \"wt_timer\", {})", trial.mode.remembers().as_millis()))
        .param("max_expires", super::MAX_EXPIRES)
        .param("clean_period", 1)
        .param("db_update_period", 1)
        .param("db_wait_time", 1500);
    match trial.mode {
        Mode::Memory => builder.start(),
        Mode::Sqlite(mode) => {
            let builder = builder.database(Database::Sqlite("WAL")).param("subs_db_mode", mode);
            // Beyond its limit a file's writer would be ended.
            plan.applied_to_with(builder.param("publ_cache", u8::from(mode != 3)), "--ignore-signal=XFSZ").start()
        }
    }
}
