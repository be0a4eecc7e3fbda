//! One server under load, round after round.

use crate::endurance::Storage;
use crate::endurance::memory::{Growth, Held};
use loadgen::{Load, Mix, Part, Phase, Publish, Settings, Subscribe, Tally};
use std::fmt;
use std::thread::sleep;
use std::time::{Duration, Instant};
use testkit::Kamailio;

/// Requests in the life of a publication, and of a dialog.
const PUBLISHES: u32 = 5;
const SUBSCRIBES: u32 = 4;
/// Rounds before memory is looked at: pools fill, caches grow.
const WARM_UP: u32 = 3;
/// How long the server has to empty its tables: several periods of write-back.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    pub storage: Storage,
    pub workers: u32,
    /// PUBLISHes, and as many SUBSCRIBEs, of all rounds together.
    pub operations: u32,
    pub rounds: u32,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    trial: Trial,
    tally: Tally,
    held: Vec<Held>,
    time: Duration,
    /// Rows that were still in the tables when nothing was left; the most of all rounds.
    left: i64,
    /// Lines in the server's log that tell of a mistake.
    logged: Vec<String>,
}

impl Trial {
    pub fn run(self) -> Outcome {
        let start = Instant::now();
        let mut server = self.server();
        let settings = Settings { afterwards: Duration::ZERO, ..Settings::new(([127, 0, 0, 1], server.port).into()) };
        let mut load = Load::new(settings).expect("a socket");
        let mut tally = Tally::default();
        let mut held = Vec::new();
        let mut left = 0;
        for round in 0..WARM_UP + self.rounds {
            self.round(round, &mut load, &mut tally);
            left = left.max(self.rows_left(&server));
            // Processes tell how much pkg memory they use when they handle a message.
            tally.merge(load.run(&Phase::Options { count: 50 * self.workers }).tally);
            if round >= WARM_UP {
                held.push(Held::at_rest(&server));
            }
        }
        assert!(server.is_running(), "{}", server.log());
        let mut logged = server.log_lines("CRITICAL");
        logged.extend(server.log_lines("BUG"));
        let status = server.stop();
        assert!(status.success(), "{status}: {}", server.log());
        Outcome { trial: self, tally, held, left, time: start.elapsed(), logged }
    }

    fn operations_per_round(&self) -> u32 {
        self.operations * 2 / self.rounds
    }

    fn server(&self) -> Kamailio {
        self.storage.builder(self.workers).packages(&["presence_xml"]).param("db_update_period", 2).start()
    }

    /// Everybody comes, changes and goes. After each phase everybody who watches must show the newest state.
    fn round(&self, round: u32, load: &mut Load, tally: &mut Tally) {
        let publishers = self.operations / self.rounds / PUBLISHES;
        let watchers = self.operations / self.rounds / SUBSCRIBES;
        let arrive = Phase::Mix(Mix {
            publishers,
            publish: vec![Publish::Initial, Publish::Refresh, Publish::Modify],
            watchers,
            watched: publishers,
            subscribe: vec![Subscribe::Initial, Subscribe::Refresh],
            seed: round.into(),
        });
        let then = [
            Phase::Republish(Publish::Modify, Part::WHOLE),
            Phase::Resubscribe(Subscribe::Refresh, Part::WHOLE),
            Phase::Republish(Publish::Remove, Part::WHOLE),
            Phase::Resubscribe(Subscribe::End, Part::WHOLE),
        ];
        let before = tally.accepted() + tally.refused();
        for phase in std::iter::once(&arrive).chain(&then) {
            tally.merge(load.run(phase).tally);
        }
        let asked = tally.accepted() + tally.refused() - before;
        let due = u64::from(publishers * PUBLISHES + watchers * SUBSCRIBES);
        assert!(due > 0 && (asked == due || tally.refused() > 0), "{asked} of {due} requests were sent");
    }

    /// Rows of what was removed: the tables must be empty soon, too.
    fn rows_left(&self, server: &Kamailio) -> i64 {
        let end = Instant::now() + PATIENCE;
        loop {
            let rows = self.storage.rows(server);
            if rows == 0 || Instant::now() > end {
                return rows;
            }
            sleep(Duration::from_millis(100));
        }
    }
}

impl Outcome {
    fn growth(&self) -> Growth {
        Growth::over(&self.held, self.trial.operations_per_round())
    }

    /// Everything that must not be.
    pub fn wrong(&self) -> Vec<String> {
        let growth = self.growth();
        let mut wrong = self.tally.complaints();
        wrong.extend(self.logged.iter().cloned());
        if self.left > 0 {
            wrong.push(format!("{} rows were left in the tables", self.left));
        }
        wrong.extend(
            growth
                .complaints(self.trial.operations_per_round())
                .into_iter()
                .map(|what| format!("{what}: {:?}", self.held)),
        );
        let Trial { storage, workers, .. } = self.trial;
        wrong.into_iter().map(|what| format!("{storage}, {workers} workers: {what}")).collect()
    }

    /// Above the lines that outcomes print.
    pub fn heading() -> String {
        format!(
            "{:<16}{:>8}{:>10}{:>10}{:>10}{:>8}{:>8}{:>10}{:>8}{:>8}{:>8}",
            "storage",
            "workers",
            "requests",
            "NOTIFYs",
            "not 200",
            "lost",
            "stale",
            "CSeq back",
            "shm/op",
            "pkg/op",
            "heap/op"
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Trial { storage, workers, .. }, tally) = (self.trial, &self.tally);
        let (requests, notifies) = (tally.accepted() + tally.refused(), tally.notifies);
        write!(f, "{storage:<16}{workers:>8}{requests:>10}{:>10}{:>10}", notifies.seen, tally.refused())?;
        write!(f, "{:>8}{:>8}{:>10}{}", notifies.lost, notifies.stale, notifies.back, self.growth())?;
        write!(f, "  {:.0} s", self.time.as_secs_f64())
    }
}
