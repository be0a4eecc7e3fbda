//! Servers that are put through kinds of operations, and what that leaves behind.

use super::account::Account;
use super::client::Client;
use super::kind::{Kind, SetUp, options};
use super::rest::{self, Left};
use crate::endurance::Storage;
use crate::endurance::memory::Growth;
use std::fmt;
use std::time::{Duration, Instant};
use testkit::Kamailio;

/// Bytes of text that may be left behind by each operation, for the median to be called none.
const TEXT_LIMIT: f64 = 0.5;
/// tm's `fr_timer` where NOTIFYs are not waited for, in milliseconds.
const IMPATIENCE: u32 = 1000;

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
    accounts: Vec<(Account, Duration)>,
    /// The whole course: with the waiting for rest.
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
        self.accounts = self.kinds.iter().map(|_| (Account::default(), Duration::ZERO)).collect();
        for round in 0..trial.warm_up + trial.rounds {
            for ((kind, operations), (account, time)) in self.kinds.iter().zip(&mut self.accounts) {
                let start = Instant::now();
                account.merge(client.play(server, kind, *operations));
                *time += start.elapsed();
            }
            let left = rest::at_rest(server, trial.storage);
            if !left.is_empty() {
                self.wrong.push(format!("left after round {round}: {}", left.join(", ")));
            }
            rest::forget_decisions(server, trial.storage);
            // Processes tell how much pkg memory they use when they handle a message.
            let probe = client.play(server, &Kind::new("OPTIONS", [options()]), 50 * trial.workers);
            self.wrong.extend(probe.complaints());
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

    /// Bytes for each operation: of shared memory, of which texts, of pkg, of heap.
    fn growth(&self) -> (Growth, f64) {
        let held: Vec<_> = self.left.iter().map(|left| left.held).collect();
        let texts: Vec<i64> = self.left.iter().map(|left| left.texts).collect();
        (Growth::over(&held, self.operations()), crate::endurance::memory::slope(&texts) / f64::from(self.operations()))
    }

    fn complaints(&self, trial: &Trial) -> Vec<String> {
        let (growth, texts) = self.growth();
        let mut wrong = self.wrong.clone();
        let mut grown = growth.complaints(self.operations());
        if texts >= TEXT_LIMIT {
            grown.push(format!("{texts:.2} bytes of text per operation are not given back"));
        }
        wrong.extend(grown.into_iter().map(|what| format!("{what}: {:?}", self.left)));
        for ((kind, _), (account, _)) in self.kinds.iter().zip(&self.accounts) {
            wrong.extend(account.complaints().into_iter().map(|what| format!("{}: {what}", kind.name)));
        }
        let rounds = u64::from(trial.warm_up + trial.rounds);
        for ((kind, operations), (account, _)) in self.kinds.iter().zip(&self.accounts) {
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
        let (growth, texts) = self.growth();
        let bytes = format!("{texts:>8.3}{growth}");
        for ((kind, _), (account, time)) in self.kinds.iter().zip(&self.accounts) {
            let bytes = if self.kinds.len() == 1 { bytes.as_str() } else { "" };
            println!("{:<46}{storage:<26}{account}{:>9.1}{bytes}", kind.name, time.as_secs_f64());
        }
        if self.kinds.len() > 1 {
            println!("{:<46}{storage:<26}{:>50}{:>9.1}{bytes}", self.name(), "", self.time.as_secs_f64());
        }
    }
}

fn heading() -> impl fmt::Display {
    format!(
        "{:<46}{:<26}{:>10}  {:<28}{:>10}{:>9}{:>8}{:>8}{:>8}{:>8}",
        "kind", "storage", "operations", "answers", "NOTIFYs", "seconds", "text/op", "shm/op", "pkg/op", "heap/op"
    )
}
