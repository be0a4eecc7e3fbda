//! Mixed traffic at a fixed part of what the server can do, and a fault every half a minute. Phones keep account of
//! everything: every request has one final answer, and only a fault that explains it makes that a 503; CSeqs and versions
//! of documents grow, across restarts too; a higher CSeq carries no older state; the last state reaches every watcher
//! soon after each fault; what was acknowledged outlives kills; at the end memory and table agree, and nothing is left.

mod account;
mod driver;
mod faults;
mod orders;
mod publishers;
mod state;
mod traffic;
mod watchers;

use crate::endurance::memory::Held;
use crate::whole;
use account::Account;
use driver::{Driver, Gauge};
use faults::{Draw, Kind, Stage};
use loadgen::cpu;
use orders::Order;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// How long a NOTIFY may be without an answer (tm's `fr_timer`), and until that has been noticed by all.
const FR_TIMER: Duration = Duration::from_secs(30);
const NOTIFY_PATIENCE: Duration = Duration::from_secs(34);
/// How long a request is sent again (64 * T1 of RFC 3261 17.1.2).
const REQUEST_PATIENCE: Duration = Duration::from_secs(32);
/// A fault explains answers that come so long after it.
const GRACE: Duration = Duration::from_secs(4);
/// Until then, after a fault and after a change, every watcher has been told.
const TOLD_WITHIN: Duration = Duration::from_secs(10);
/// Until then what has run out is swept.
const SWEEP: Duration = Duration::from_secs(4);
/// `max_expires`, in seconds.
const MAX_EXPIRES: u32 = 60;
/// How long capacity is measured, and requests that are under way at a time meanwhile.
const MEASURED: Duration = Duration::from_secs(20);
const WINDOW: usize = 64;
/// Of the whole time kills have this part: what the server holds at the end has to have had time to grow.
const KILLS_UNTIL: f64 = 0.75;
/// What may be held at the end more than at the beginning, in bytes: of shared memory beside the module's own pool (which
/// keeps what it once took), and of private memory by each process.
const SHM_LIMIT: i64 = 64 << 10;
const PKG_LIMIT: i64 = 16 << 10;

/// Presentities of each package, and sockets.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    presence: usize,
    dialog: usize,
    waiting: usize,
    udp: usize,
    tcp: usize,
}

const SIZE: Size = Size { presence: 500, dialog: 250, waiting: 250, udp: 5, tcp: 5 };

/// Where things are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Memory,
    /// SQLite, with this `subs_db_mode`.
    Sqlite(u8),
}

impl Mode {
    /// From its name in `SOAK_MODE`.
    pub fn named(name: &str) -> Self {
        match name {
            "memory" => Self::Memory,
            "1" | "2" | "3" => Self::Sqlite(name.as_bytes()[0] - b'0'),
            _ => panic!("SOAK_MODE={name}: memory, 1, 2 or 3"),
        }
    }
}

impl Mode {
    /// How long tm remembers a request that it has answered (`wt_timer`): as long as RFC 3261 17.2.2 has it. A copy may
    /// wait in the server's socket while all workers do for the database; with tm's 5 s it would be a new request. In
    /// memory nobody waits, and three times as many requests would fill the server's memory.
    fn remembers(self) -> Duration {
        Duration::from_secs(if self == Self::Memory { 8 } else { 32 })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Sqlite(mode) => write!(f, "SQLite, subs_db_mode {mode}"),
        }
    }
}

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    pub mode: Mode,
    pub time: Duration,
    /// The part of the capacity that is used.
    pub load: f64,
    pub fault_every: Duration,
    /// Only faults whose names contain this.
    pub faults: &'static str,
    pub seed: u64,
}

/// What the server's memory has in it when everything is over.
#[derive(Clone, Copy, Debug)]
struct Level {
    /// Of the module's records.
    texts: i64,
    /// Shared memory that is not the module's pool.
    host: i64,
    pkg: i64,
    heap: i64,
}

/// The running trial.
struct Run {
    trial: Trial,
    stage: Stage,
    gauge: Arc<Gauge>,
    capacity: f64,
    cpu: Duration,
    counted: (u32, Duration),
    wrong: Vec<String>,
}

impl Trial {
    /// Runs it, prints the table, and panics with everything that was wrong.
    pub fn run(self) {
        let (orders, received) = mpsc::channel();
        let gauge = Arc::new(Gauge::default());
        let stage = Stage::set(&self, orders);
        let server = ([127, 0, 0, 1], stage.server.port).into();
        let driver = Driver::new(server, SIZE, self.seed, Arc::clone(&gauge));
        let phones = thread::spawn(move || driver.work(&received));
        let counted = (stage.server.pid(), Duration::ZERO);
        let mut run = Run { trial: self, stage, gauge, capacity: 0.0, cpu: Duration::ZERO, counted, wrong: Vec::new() };
        let before = run.measure();
        let start = Instant::now();
        run.go_on(start);
        let took = start.elapsed();
        run.look_at_tables();
        let after = run.end();
        let Run { stage, capacity, cpu, mut wrong, .. } = run;
        // Nobody gives orders any more.
        let mut stage = stage.ended();
        let account = phones.join().expect("the phones' account");
        if stage.server.is_running() {
            let status = stage.server.stop();
            if !status.success() {
                wrong.push(format!("the server ended with {status}"));
            }
        }
        wrong.extend(account.complaints());
        let leaked = after.leaked(&before, stage.server_processes);
        wrong.extend(leaked.iter().map(|what| format!("leaked: {what}")));
        let figures = Figures { capacity, cpu, took, before, after, leaked };
        println!("{}", self.table(&stage, &account, &figures, &wrong));
        for example in &account.examples {
            println!("{example}");
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    fn table(&self, stage: &faults::Ended, account: &Account, figures: &Figures, wrong: &[String]) -> String {
        let Figures { capacity, cpu, took, before, after, leaked } = figures;
        let faults: Vec<String> = stage.done.iter().map(|(kind, n)| format!("{n} {}", kind.name())).collect();
        let all: u32 = stage.done.values().sum();
        let others: Vec<&str> =
            wrong.iter().map(String::as_str).filter(|w| !w.starts_with("lost") && !w.starts_with("leaked")).collect();
        format!(
            "\n| {} | {:.0} min, {:.0} requests/s ({:.0} % of {:.0}), seed {} |\n|---|---|\n{}\
             | CPU of the server | {:.2} of {} cores |\n| faults injected | {all}: {} |\n\
             | **leaked** | {} |\n| memory, bytes | module's records {} before, {} after; host's shared {} and {}; private (pkg) {} and {}; heap {} and {} |\n\
             | **crashes** | {} ({} ways down of more than 15 s after a worker was killed) |\n| not as it must be | {} |\n",
            self.mode,
            took.as_secs_f64() / 60.0,
            capacity * self.load,
            self.load * 100.0,
            capacity,
            self.seed,
            account.lines(took.as_secs_f64() + MEASURED.as_secs_f64()),
            cpu.as_secs_f64() / took.as_secs_f64(),
            thread::available_parallelism().map_or(1, usize::from),
            faults.join(", "),
            if leaked.is_empty() { "0".to_owned() } else { leaked.join("; ") },
            before.texts,
            after.texts,
            before.host,
            after.host,
            before.pkg,
            after.pkg,
            before.heap,
            after.heap,
            stage.crashes,
            stage.slow_ways_down,
            if others.is_empty() { "nothing".to_owned() } else { others.join("; ") }
        )
    }
}

struct Figures {
    capacity: f64,
    cpu: Duration,
    took: Duration,
    before: Level,
    after: Level,
    leaked: Vec<String>,
}

impl Level {
    fn leaked(&self, before: &Self, processes: usize) -> Vec<String> {
        let mut leaked = Vec::new();
        if self.texts != before.texts {
            leaked.push(format!("{} bytes of the module's records", self.texts - before.texts));
        }
        if self.host - before.host > SHM_LIMIT {
            leaked.push(format!("{} bytes of shared memory", self.host - before.host));
        }
        if self.pkg - before.pkg > PKG_LIMIT * processes as i64 {
            leaked.push(format!("{} bytes of private memory", self.pkg - before.pkg));
        }
        leaked
    }
}

impl Run {
    /// What the server can do, and what it holds when nobody is there.
    fn measure(&mut self) -> Level {
        self.stage.tell(Order::Closed(WINDOW));
        sleep(MEASURED / 4);
        let (from, start) = (self.gauge.answered.load(Ordering::Relaxed), Instant::now());
        sleep(MEASURED * 3 / 4);
        let answered = self.gauge.answered.load(Ordering::Relaxed) - from;
        self.capacity = answered as f64 / start.elapsed().as_secs_f64();
        println!("capacity: {:.0} requests/s", self.capacity);
        self.leave()
    }

    /// Everybody goes, until nothing is left.
    fn leave(&mut self) -> Level {
        self.stage.tell(Order::Quiet);
        self.wait("an answer to every request", 60, |run| run.gauge.pending.load(Ordering::Relaxed) == 0);
        self.stage.tell(Order::Leave(self.capacity.max(50.0)));
        self.wait("everybody to go", 120, |run| run.gauge.open.load(Ordering::Relaxed) == 0);
        self.stage.tell(Order::Quiet);
        let names = ["subscriptions", "publications", "subscriptions_leaving"];
        self.wait("everything to run out", 150, |run| names.iter().all(|name| run.stage.server.status(name) == 0));
        // tm frees what has ended after some seconds.
        sleep(self.trial.mode.remembers() + FR_TIMER);
        let server = &self.stage.server;
        let Held { shm, pkg, heap } = Held::at_rest(server);
        Level { texts: server.status("text_bytes"), host: shm - server.status("shm_bytes"), pkg, heap }
    }

    /// Waits for so many seconds at most; what does not come is wrong.
    fn wait(&mut self, what: &str, seconds: u64, mut done: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(seconds);
        while !done(self) {
            if Instant::now() > end {
                let status = self.stage.server.rpc(&["presence.status"]);
                self.wrong.push(format!("waited {seconds} s for {what}: {status}"));
                return;
            }
            sleep(Duration::from_millis(200));
        }
    }

    /// The load, and the faults.
    fn go_on(&mut self, start: Instant) {
        let mut draw = Draw::new(self.trial.mode, self.trial.seed, self.trial.faults);
        self.stage.tell(Order::Rate(self.capacity * self.trial.load));
        self.counted = (self.stage.server.pid(), cpu::used(self.stage.server.pid()));
        let mut next = self.trial.fault_every;
        while start.elapsed() < self.trial.time {
            self.rest_until(start + next.min(self.trial.time));
            if next + self.trial.fault_every / 2 > self.trial.time {
                self.rest_until(start + self.trial.time);
                break;
            }
            next += self.trial.fault_every;
            let kind = draw.next(start.elapsed() < self.trial.time.mul_f64(KILLS_UNTIL));
            self.count_cpu();
            self.stage.bring_about(kind);
            self.count_cpu();
            // The phones have taken note of it by then.
            sleep(Duration::from_millis(300));
            let complaints = self.gauge.complaints.lock().expect("nobody panics with it").join(", ");
            println!("{:>5.0} s: {} {complaints}", start.elapsed().as_secs_f64(), kind.name());
            if matches!(kind, Kind::KilledServer | Kind::KilledWorker) {
                self.wrong.extend(self.stage.rows_twice().iter().map(|row| format!("a row twice: {row}")));
            }
        }
        self.count_cpu();
    }

    fn rest_until(&mut self, end: Instant) {
        while Instant::now() < end {
            if !self.stage.server.is_running() {
                self.stage.crashes += 1;
                self.wrong.push(format!("the server is gone: {}", last_lines(&self.stage.server.log())));
                self.stage.tell(Order::Begin(Kind::KilledServer));
                self.stage.start_again();
                self.stage.tell(Order::End);
            }
            sleep(Duration::from_millis(200));
        }
    }

    fn count_cpu(&mut self) {
        let pid = self.stage.server.pid();
        let used = cpu::used(pid);
        let (of, before) = self.counted;
        self.cpu += if of == pid { used.saturating_sub(before) } else { used };
        self.counted = (pid, used);
    }

    /// When nothing moves: rows and memory, and who is subscribed.
    fn look_at_tables(&mut self) {
        self.stage.tell(Order::Quiet);
        self.wait("an answer to every request", 60, |run| run.gauge.pending.load(Ordering::Relaxed) == 0);
        self.stage.tell(Order::Settle(self.capacity * self.trial.load));
        // Who was not refreshed in time runs out meanwhile; who was is told the last state.
        sleep(TOLD_WITHIN * 2 + SWEEP);
        self.stage.tell(Order::Quiet);
        self.wrong.extend(self.stage.rows_twice().iter().map(|row| format!("a row twice: {row}")));
        let subscribed = self.gauge.subscribed.load(Ordering::Relaxed) as i64;
        let there = self.stage.server.status("subscriptions");
        println!("{subscribed} watchers are subscribed, the server has {there} subscriptions");
        if there < subscribed {
            self.wrong.push(format!("lost: {subscribed} watchers are subscribed, the server knows {there}"));
        }
        if let Mode::Sqlite(_) = self.trial.mode {
            let _ = self.stage.server.rpc(&["presence.cleanup"]);
            if let Err(difference) = whole::agree(&self.stage.server, false) {
                self.wrong.push(format!("memory and table do not agree: {difference}"));
            }
        }
    }

    fn end(&mut self) -> Level {
        let level = self.leave();
        if let Mode::Sqlite(_) = self.trial.mode {
            let rows = "SELECT (SELECT count(*) FROM presentity) + (SELECT count(*) FROM active_watchers)";
            let rows = self.stage.server.tables().number(rows);
            if rows > 0 {
                self.wrong.push(format!("{rows} rows are left in the tables"));
            }
        }
        let log = self.stage.server.log();
        let signs = ["CRITICAL", "BUG:", "panic"];
        let bad = |line: &&str| line.contains(": presence [") && signs.iter().any(|sign| line.contains(sign));
        self.wrong.extend(log.lines().filter(bad).take(10).map(|line| format!("in the log: {line}")));
        level
    }
}

fn last_lines(log: &str) -> String {
    let mut lines: Vec<&str> = log.lines().rev().take(20).collect();
    lines.reverse();
    lines.join("\n")
}
