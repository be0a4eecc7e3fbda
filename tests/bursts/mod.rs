//! Two clients publish for one presentity at the same time, or one as fast as it is answered, and many watch: two PUBLISHes
//! back to back, and bursts of fifty, with eight workers. Every watcher ends up with the last state of all clients, no NOTIFY shows an older state than one
//! with a lower CSeq, and no CSeq is used twice or goes back.
//!
//! The stock module fails: a worker's NOTIFYs pass those of another one, and the older state wins.

use loadgen::{Fanout, Load, Phase, Settings, Tally};
use std::time::{Duration, Instant};
use testkit::{Database, Kamailio};

const WORKERS: u32 = 8;
/// PUBLISHes of a round.
const BURSTS: [u32; 2] = [2, 50];

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// `subs_db_mode`: 0 without a database, the others with SQLite.
    pub mode: u8,
    pub watchers: u32,
    pub clients: u32,
    /// Of each kind of burst.
    pub rounds: u32,
}

impl Trial {
    fn server(self) -> Kamailio {
        let builder = Kamailio::builder()
            .children(WORKERS)
            .memory(1024, 8)
            .debug(0)
            .packages(&["presence_xml"])
            .extra("modparam(\"tm\", \"wt_timer\", 2000)");
        if self.mode == 0 {
            return builder.start();
        }
        let publ_cache = if self.mode == 3 { 0 } else { 1 };
        let builder = builder.database(Database::Sqlite("WAL")).param("publ_cache", publ_cache);
        builder.param("subs_db_mode", self.mode).param("db_update_period", 2).start()
    }

    /// Runs it, and panics with everything that was wrong.
    pub fn run(self) {
        let mut server = self.server();
        let settings = Settings {
            agents: 2,
            patience: Duration::from_secs(5),
            afterwards: Duration::ZERO,
            ..Settings::new(([127, 0, 0, 1], server.port).into())
        };
        let mut load = Load::new(settings).expect("sockets");
        let mut all = load.run(&Phase::Subscribe { count: self.watchers, presentities: 1, first: 0 }).tally;
        for burst in BURSTS {
            let start = Instant::now();
            let fanout = Fanout { presentity: 0, rounds: self.rounds, burst, clients: self.clients, probe: None };
            let tally = load.run(&Phase::Fanout(fanout)).tally;
            println!("{}", self.line(burst, &tally, start.elapsed()));
            all.merge(tally);
        }
        let due = u64::from(self.watchers + self.rounds * BURSTS.iter().sum::<u32>());
        assert!(all.accepted() == due || all.refused() > 0, "{} of {due} requests were sent", all.accepted());
        assert!(server.is_running(), "{}", server.log());
        let wrong = all.complaints();
        assert!(wrong.is_empty(), "subs_db_mode {}, {} watchers: {}", self.mode, self.watchers, wrong.join(", "));
        server.stop();
    }

    fn line(self, burst: u32, tally: &Tally, took: Duration) -> String {
        let n = &tally.notifies;
        format!(
            "subs_db_mode {}, {} watchers, {} rounds of {burst} PUBLISHes from {}: {} NOTIFYs; {} watchers with an old state at a \
             round's end, {} NOTIFYs with an older state, {} CSeqs back, {} used again; {:.1} s",
            self.mode,
            self.watchers,
            self.rounds,
            self.clients,
            n.seen,
            n.lost,
            n.stale,
            n.back,
            n.reused,
            took.as_secs_f64()
        )
    }
}
