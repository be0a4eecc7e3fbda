//! A server that is killed with SIGKILL under load, as a whole or by one of its processes, and started again: what was
//! acknowledged is there, as far as its mode promises, and CSeqs go on.

mod client;
mod inside;

use client::Client;
use inside::Inside;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use testkit::kamailio::kill_all;
use testkit::{Database, Kamailio, Phone};

const CLIENTS: usize = 6;
/// With write-back, `db_update_period`, and how late a flush may be on a busy machine.
const PERIOD: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_millis(1500);
/// How long a server may take to go down when one of its processes has died. Kamailio's tm may wait for a lock of a dead
/// process; after 60 s Kamailio aborts itself.
const DOWN: Duration = Duration::from_secs(75);
/// How long until the module has done its part of that. Modules end in the reverse order of their loading: what the driver
/// says at its end comes after.
const OWN_PART: Duration = Duration::from_secs(20);
const AFTER_OWN_PART: &str = "mod_destroy(): SQlite terminate";

/// Who is killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Victim {
    /// All processes at once, as when the power goes.
    Server,
    /// A process that serves requests.
    Worker,
    /// A process that sends NOTIFYs which wait.
    Notifier,
    /// The process that sweeps and flushes.
    Timer,
}

impl Victim {
    /// What its processes are called in Kamailio's list.
    fn name(self) -> &'static str {
        match self {
            Self::Server => "",
            Self::Worker => "udp receiver",
            Self::Notifier => "notifier",
            Self::Timer => "secondary timer",
        }
    }

    /// The process to kill, of those that would do the one at `place`; none if all are killed.
    fn pid(self, server: &Kamailio, place: u64) -> Option<u32> {
        if self == Self::Server {
            return None;
        }
        // It answers while it still makes its processes.
        let found = testkit::wait_for("its processes", 10.0, || {
            let mut found = server.processes();
            found.retain(|(_, what)| what.contains(self.name()));
            (!found.is_empty()).then_some(found)
        });
        Some(found[place as usize % found.len()].0)
    }
}

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// `subs_db_mode`.
    pub mode: u8,
    /// Each kills every one of the victims once.
    pub rounds: u32,
    pub seed: u64,
    /// While it holds a lock of the module's; otherwise wherever it is.
    pub inside: bool,
}

/// Under a lock a victim ends at one of so many places.
const PLACES: u64 = 40;
/// What is waited for until one comes there.
const COMES: Duration = Duration::from_secs(20);

/// What the rounds came to.
#[derive(Default)]
struct Sum {
    kills: u32,
    checked: usize,
    /// Acknowledged later than the last flush, and not there.
    unflushed: usize,
    slowest: Duration,
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills, {} subscriptions and publications looked for, {} lost since the last flush, down in {:.1} s at most",
            self.kills,
            self.checked,
            self.unflushed,
            self.slowest.as_secs_f64()
        )
    }
}

impl Trial {
    /// Anybody; or who holds locks often enough, and with write-back that is also who flushes.
    fn victims(self) -> &'static [Victim] {
        match (self.inside, self.mode) {
            (false, _) => &[Victim::Server, Victim::Worker, Victim::Notifier],
            (true, 2) => &[Victim::Worker, Victim::Notifier, Victim::Timer],
            (true, _) => &[Victim::Worker, Victim::Notifier],
        }
    }

    /// Runs it, and panics with the first thing that was wrong.
    pub fn run(self) {
        let inside = self.inside.then(Inside::new);
        let mut server = self.server(inside.as_ref());
        let clients_of = |port| (0..CLIENTS).map(|n| Client::new(&format!("c{n}"), port)).collect::<Vec<_>>();
        let mut clients = clients_of(server.port);
        let mut random = self.seed;
        let mut sum = Sum::default();
        for round in 0..self.rounds {
            for &victim in self.victims() {
                let what = format!("subs_db_mode {}, round {round}, {victim:?} (seed {})", self.mode, self.seed);
                let inside = inside.as_ref();
                let killed = self.load_and_kill(&mut server, &mut clients, (victim, inside), &mut random, &mut sum);
                clients.iter_mut().for_each(Client::hear_the_rest);
                server.try_start_again().unwrap_or_else(|log| panic!("{what}: it does not start again:\n{log}"));
                if self.mode == 0 {
                    // Nothing is promised; that it serves again is seen in the next round.
                    clients = clients_of(server.port);
                    continue;
                }
                self.look(&server, &mut clients, killed, &what, &mut sum);
            }
        }
        println!("subs_db_mode {}: {sum}", self.mode);
        assert!(sum.checked > 0 || self.mode == 0, "nothing was acknowledged");
        server.stop();
    }

    fn server(self, inside: Option<&Inside>) -> Kamailio {
        let publ_cache = match self.mode {
            0 => 2,
            3 => 0,
            _ => 1,
        };
        let server = Kamailio::builder()
            .database(Database::Sqlite("WAL"))
            .children(4)
            .memory(1024, 8)
            // What tm keeps of so many requests.
            .extra("modparam(\"tm\", \"wt_timer\", 2000)")
            .packages(&["presence_xml"])
            .param("publ_cache", publ_cache)
            .param("subs_db_mode", self.mode)
            .param("db_update_period", PERIOD.as_secs())
            .param("notifier_processes", 2);
        match inside {
            // NOTIFYs that nobody answers make work for the notifiers.
            Some(inside) => inside.applied_to(server.param("notify_hold_time", 20)).start(),
            None => server.start(),
        }
    }

    /// Puts a load on the server and kills it in the middle. Gives the moment.
    fn load_and_kill(
        self,
        server: &mut Kamailio,
        clients: &mut [Client],
        (victim, inside): (Victim, Option<&Inside>),
        random: &mut u64,
        sum: &mut Sum,
    ) -> Instant {
        let stop = AtomicBool::new(false);
        // With write-back long enough for a flush.
        let least = if self.mode == 2 { PERIOD + LATE } else { Duration::from_millis(150) };
        let at = least + Duration::from_micros(next(random) % 400_000);
        let pid = victim.pid(server, next(random));
        let mut mute = Phone::new("mute", server.port);
        if inside.is_some() {
            (0..CLIENTS).for_each(|n| drop(mute.subscribe(&format!("c{n}"), "presence", 3000)));
        }
        let ends = server.log_lines(AFTER_OWN_PART).len();
        let (killed, down) = thread::scope(|scope| {
            for client in clients {
                scope.spawn(|| client.go_on(&stop));
            }
            thread::sleep(at);
            // Only now all of them are there: a server answers while it still makes its processes.
            let killed = match (inside, pid) {
                (Some(inside), Some(pid)) => kill_inside(inside, pid, 1 + next(random) % PLACES),
                _ => {
                    let pids = pid.map_or_else(|| server.pids(), |pid| vec![pid]);
                    let killed = Instant::now();
                    kill_all("KILL", &pids.iter().map(u32::to_string).collect::<Vec<_>>());
                    killed
                }
            };
            if inside.is_some() {
                testkit::wait_for("the module ends without the lock", OWN_PART.as_secs_f64(), || {
                    (server.log_lines(AFTER_OWN_PART).len() > ends).then_some(())
                });
            }
            let down = wait_until_down(server);
            stop.store(true, Ordering::Relaxed);
            (killed, down)
        });
        sum.kills += 1;
        sum.slowest = sum.slowest.max(down);
        killed
    }

    /// Looks for everything that was acknowledged.
    fn look(self, server: &Kamailio, clients: &mut [Client], killed: Instant, what: &str, sum: &mut Sum) {
        let flushed = if self.mode == 2 { killed.checked_sub(PERIOD + LATE) } else { None };
        for client in clients.iter_mut() {
            let (checked, unflushed) = client.look(flushed, what);
            sum.checked += checked;
            sum.unflushed += unflushed;
        }
        let twice = "SELECT callid FROM active_watchers GROUP BY callid, to_tag, from_tag HAVING count(*) > 1";
        assert_eq!(server.tables().run(twice), Vec::<String>::new(), "{what}: rows twice");
        let twice = "SELECT username FROM presentity GROUP BY username, domain, event HAVING count(*) > 1";
        assert_eq!(server.tables().run(twice), Vec::<String>::new(), "{what}: publications twice");
        assert_eq!(server.tables().run("PRAGMA integrity_check"), ["ok"], "{what}");
    }
}

/// Ends a process under a lock. Gives the moment.
fn kill_inside(inside: &Inside, pid: u32, after: u64) -> Instant {
    inside.kill(pid, after);
    testkit::wait_for("the victim holds a lock", COMES.as_secs_f64(), || inside.has_killed().then_some(()));
    let killed = Instant::now();
    inside.rest();
    killed
}

fn wait_until_down(server: &mut Kamailio) -> Duration {
    let start = Instant::now();
    while server.is_running() {
        assert!(start.elapsed() < DOWN, "the server hangs on its way down:\n{}", server.log());
        thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}

/// SplitMix64: the same kills for the same seed.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
