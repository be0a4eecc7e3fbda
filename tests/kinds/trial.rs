//! Servers that are put through kinds of operations, and what that leaves behind.

use super::account::Account;
use super::client::Client;
use super::kind::{Kind, SetUp, options};
use super::rest::{self, Left};
use crate::endurance::Storage;
use crate::endurance::memory::{Growth, slope};
use std::time::{Duration, Instant};
use testkit::Kamailio;

/// Bytes of text that may be left behind by each operation, for the median to be called none.
const TEXT_LIMIT: f64 = 0.5;
/// The same of memory that the module takes from the host, for a whole round: it comes in pieces of several sizes for each
/// part of the store, and each keeps what it once needed. (Records that are lost are found by `presence.status check`.)
const POOL_LIMIT_PER_ROUND: f64 = 256.0 * 1024.0;
/// What the host may take more for itself in a round, if that is more: of one kind, which may have thousands of dialogs open
/// at a time, and of all kinds together.
const SHM_LIMIT_PER_ROUND: f64 = 16.0 * 1024.0;
const SHM_LIMIT_TOGETHER: f64 = 64.0 * 1024.0;
/// tm's `fr_timer` where NOTIFYs are not waited for, in milliseconds.
const IMPATIENCE: u32 = 2000;

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    pub storage: Storage,
    pub workers: u32,
    /// Of each kind, of all measured rounds together.
    pub operations: u32,
    /// Rounds before memory is looked at (pools fill, caches grow), and rounds after that.
    pub warm_up: u32,
    pub rounds: u32,
    /// Each kind has rounds of its own; otherwise a round has all kinds, which takes less time and does not tell which
    /// kind leaves something behind.
    pub apart: bool,
}

/// Kinds that share their rounds, and what came of them.
struct Course<'a> {
    kinds: Vec<(&'a Kind, u32)>,
    accounts: Vec<Account>,
    time: Duration,
    left: Vec<Left>,
    wrong: Vec<String>,
}

impl Trial {
    /// Puts a server through these kinds; panics with everything that was wrong.
    pub fn run(self, kinds: &[Kind]) {
        println!("{}", heading());
        let mut wrong = Vec::new();
        for set_up in [SetUp::Usual, SetUp::Strict] {
            let kinds: Vec<&Kind> = kinds.iter().filter(|kind| kind.set_up == set_up).collect();
            if !kinds.is_empty() {
                wrong.extend(self.serve(set_up, &kinds));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    fn server(&self, set_up: SetUp) -> Kamailio {
        let builder =
            self.storage.builder(self.workers).jsonrpc().param("clean_period", 1).param("db_update_period", 1);
        match set_up {
            SetUp::Usual => builder.start(),
            SetUp::Strict => {
                let builder = builder.param("rfc_strict", 1).param("min_expires", 60);
                builder.extra(&format!("modparam(\"tm\", \"fr_timer\", {IMPATIENCE})")).start()
            }
        }
    }

    /// One server, and all the kinds that it is set up for.
    fn serve(&self, set_up: SetUp, kinds: &[&Kind]) -> Vec<String> {
        let mut server = self.server(set_up);
        let mut client = Client::new(&server);
        let mut wrong = Vec::new();
        let size = if self.apart { 1 } else { kinds.len() };
        for kinds in kinds.chunks(size) {
            let kinds = kinds.iter().map(|kind| (*kind, self.operations.min(kind.most) / self.rounds)).collect();
            let mut course =
                Course { kinds, accounts: Vec::new(), time: Duration::ZERO, left: Vec::new(), wrong: Vec::new() };
            course.run(self, &server, &mut client);
            course.print(self);
            wrong.extend(course.complaints(self));
        }
        assert!(server.is_running(), "{}", server.log());
        wrong.extend(server.log_lines("CRITICAL"));
        wrong.extend(server.log_lines("BUG"));
        let status = server.stop();
        assert!(status.success(), "{status}: {}", server.log());
        wrong
    }
}

impl Course<'_> {
    fn run(&mut self, trial: &Trial, server: &Kamailio, client: &mut Client) {
        let start = Instant::now();
        self.accounts = vec![Account::default(); self.kinds.len()];
        for round in 0..trial.warm_up + trial.rounds {
            for (account, more) in self.accounts.iter_mut().zip(client.play(server, &self.kinds)) {
                account.merge(more);
            }
            let left = rest::at_rest(server, trial.storage);
            if !left.is_empty() {
                self.wrong.push(format!("left after round {round}: {}", left.join(", ")));
            }
            rest::forget_decisions(server, trial.storage);
            // Processes tell how much pkg memory they use when they handle a message.
            let probe = client.play(server, &[(&Kind::new("OPTIONS", [options()]), 50 * trial.workers)]);
            self.wrong.extend(probe.iter().flat_map(Account::complaints));
            if round >= trial.warm_up {
                self.left.push(Left::now(server));
            }
        }
        self.time = start.elapsed();
    }

    /// Operations in a round: of one kind, also where there are several, so that the limit for a byte that is left behind
    /// is that of one kind.
    fn operations(&self) -> u32 {
        self.kinds.iter().map(|(_, operations)| *operations).min().unwrap_or(0)
    }

    fn growth(&self) -> Growth {
        let held: Vec<_> = self.left.iter().map(|left| left.held).collect();
        Growth::over(&held, self.operations())
    }

    /// Bytes for each operation of the module's own part of shared memory, and of texts in it.
    fn own_growth(&self) -> (f64, f64) {
        let of = |part: fn(&Left) -> i64| {
            slope(&self.left.iter().map(part).collect::<Vec<_>>()) / f64::from(self.operations())
        };
        (of(|left| left.pool), of(|left| left.texts))
    }

    fn complaints(&self, trial: &Trial) -> Vec<String> {
        let (pool, texts) = self.own_growth();
        let mut wrong = self.wrong.clone();
        let mut growth = self.growth();
        let allowed = if self.kinds.len() > 1 { SHM_LIMIT_TOGETHER } else { SHM_LIMIT_PER_ROUND };
        if growth.shm * f64::from(self.operations()) < allowed {
            growth.shm = 0.0;
        }
        let mut grown = growth.complaints(self.operations());
        let pieces = POOL_LIMIT_PER_ROUND / f64::from(self.operations());
        for (name, bytes, limit) in [("text", texts, TEXT_LIMIT), ("the module's memory", pool, pieces)] {
            if bytes >= limit {
                grown.push(format!("{bytes:.2} bytes of {name} per operation are not given back"));
            }
        }
        wrong.extend(grown.into_iter().map(|what| format!("{what}: {:?}", self.left)));
        let rounds = u64::from(trial.warm_up + trial.rounds);
        for ((kind, operations), account) in self.kinds.iter().zip(&self.accounts) {
            wrong.extend(account.complaints().into_iter().map(|what| format!("{}: {what}", kind.name)));
            if account.operations != rounds * u64::from(*operations) {
                wrong.push(format!("{}: {} operations were done", kind.name, account.operations));
            }
        }
        let name = self.name();
        wrong.into_iter().map(|what| format!("{}, {} workers, {name}: {what}", trial.storage, trial.workers)).collect()
    }

    fn name(&self) -> String {
        match self.kinds.as_slice() {
            [(kind, _)] => kind.name.clone(),
            several => format!("{} kinds together", several.len()),
        }
    }

    fn print(&self, trial: &Trial) {
        let storage = format!("{}, {} workers", trial.storage, trial.workers);
        let (pool, texts) = self.own_growth();
        let bytes = format!("{:>9.1}{texts:>8.3}{pool:>8.3}{}", self.time.as_secs_f64(), self.growth());
        for ((kind, _), account) in self.kinds.iter().zip(&self.accounts) {
            let bytes = if self.kinds.len() == 1 { bytes.as_str() } else { "" };
            println!("{:<48}{storage:<26}{account}{bytes}", kind.name);
        }
        if self.kinds.len() > 1 {
            println!("{:<48}{storage:<26}{:>50}{bytes}", self.name(), "");
        }
    }
}

/// Above the lines of all kinds.
fn heading() -> String {
    let bytes = ["text/op", "pool/op", "shm/op", "pkg/op", "heap/op"].map(|name| format!("{name:>8}")).concat();
    let counts = format!("{:>10}  {:<28}{:>10}", "operations", "answers", "NOTIFYs");
    format!("{:<48}{:<26}{counts}{:>9}{bytes}", "kind", "storage", "seconds")
}
