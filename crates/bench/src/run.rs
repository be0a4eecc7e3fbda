//! One round: a server of each side, all rows in their order.
//!
//! What else the machine does makes a second dearer than the next by half. So all servers live at the same time and get
//! each phase in small parts, in turn: what disturbs one disturbs the others as much. How much the parts differ says how
//! exact their sum is.

use crate::crowd;
use crate::options::Options;
use crate::row::{Row, Side};
use crate::setup::Setup;
use loadgen::{Load, Mix, Part, Phase, Publish, Report, Settings, Subscribe, Tally, cpu};
use std::thread;
use std::time::Duration;
use testkit::Kamailio;

/// Parts of a phase.
const PARTS: u32 = 16;
/// How long an answer, or the next of the NOTIFYs that are due, is waited for: what has not come by then is lost. A server
/// that loses some in each part costs as much time in each.
const PATIENCE: Duration = Duration::from_secs(4);
/// Attempts to get all watchers subscribed.
const ATTEMPTS: u32 = 20;
/// Publications and dialogs that come and go on a server before it counts as warm.
const WARM_UP: u32 = 300;
/// The presentities that have a crowd: none of those of the other rows.
pub const CROWDED: u32 = 10_000_000;

/// What was measured in a part of a row.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Microseconds, milliseconds or bytes.
    pub amount: f64,
    /// Of how many operations.
    pub operations: u64,
    /// What happened.
    pub tally: Tally,
}

impl From<Report> for Sample {
    fn from(report: Report) -> Self {
        let Report { cpu, operations, tally, .. } = report;
        Self { amount: cpu.as_secs_f64() * 1e6, operations, tally }
    }
}

/// A server and the load on it.
pub struct Server {
    pub side: Side,
    pub load: Load,
    pub kamailio: Kamailio,
}

impl Server {
    fn start(setup: &Setup, side: Side) -> Self {
        let kamailio = setup.server(side).start();
        let address = ([127, 0, 0, 1], kamailio.port).into();
        let settings = Settings { afterwards: Duration::ZERO, patience: PATIENCE, ..Settings::new(address) };
        let mut load = Load::new(settings).expect("a socket");
        if !setup.is_cold() {
            load.run(&warm_up(side));
        }
        Self { side, load, kamailio }
    }

    fn cpu(&self) -> Duration {
        cpu::used(self.kamailio.pid())
    }

    /// Subscribes this many more watchers. Those who are refused try again: that is not what is measured. False if some
    /// still are not there in the end.
    pub fn gather(&mut self, presentity: u32, watchers: u32) -> bool {
        let mut missing = watchers;
        for _ in 0..ATTEMPTS {
            let report = self.load.run(&Phase::Subscribe { count: missing, presentities: 1, first: presentity });
            missing -= u32::try_from(report.tally.accepted()).unwrap_or(missing).min(missing);
            if missing == 0 {
                return true;
            }
        }
        false
    }
}

/// What takes the samples.
pub type Take<'a> = dyn FnMut(Row, Side, Sample) + 'a;

/// Runs the rows that are asked for, and those that they need; gives the samples of the former. Each round begins with
/// another side.
pub fn run(setup: &Setup, round: u32, options: &Options, take: &mut Take<'_>) {
    let rows = options.rows_to_run(setup);
    let mut sides = setup.sides(&rows);
    let first = round as usize % sides.len().max(1);
    sides.rotate_left(first);
    let mut servers: Vec<Server> = sides.into_iter().map(|side| Server::start(setup, side)).collect();
    let mut take_if_asked = |row, side, sample| {
        if options.rows.contains(&row) {
            take(row, side, sample);
        }
    };
    if setup.has_a_crowd() {
        return crowd::run(setup, &mut servers, &rows, options, &mut take_if_asked);
    }
    for row in rows {
        let mut crowded = CROWDED;
        if let Row::Fanout(watchers) = row {
            crowded += watchers;
            for server in servers.iter_mut().filter(|server| row.concerns(server.side)) {
                server.gather(crowded, watchers);
            }
            thread::sleep(setup.afterwards());
        }
        if let Some(phase) = row.phase(options.operations, crowded) {
            measure(&mut servers, row, &phase, setup.afterwards(), &mut take_if_asked);
        }
    }
}

/// A phase on all servers that it concerns, part by part. The CPU time of a part is what a server used until all had done
/// it; the last part includes what they clean up afterwards.
pub fn measure(servers: &mut [Server], row: Row, phase: &Phase, afterwards: Duration, take: &mut Take<'_>) {
    let mut servers: Vec<&mut Server> = servers.iter_mut().filter(|server| row.concerns(server.side)).collect();
    let count = servers.len();
    let mut before: Vec<Duration> = servers.iter().map(|server| server.cpu()).collect();
    for index in 0..PARTS {
        let part = phase.part(Part { index, of: PARTS });
        let mut reports: Vec<Option<Report>> = vec![None; count];
        for turn in 0..count {
            let place = (turn + index as usize) % count;
            reports[place] = Some(servers[place].load.run(&part));
        }
        if index + 1 == PARTS {
            thread::sleep(afterwards);
        }
        for ((server, before), report) in servers.iter().zip(&mut before).zip(reports) {
            let now = server.cpu();
            let cpu = now.saturating_sub(*before);
            *before = now;
            if let Some(report) = report {
                take(row, server.side, Report { cpu, ..report }.into());
            }
        }
    }
}

/// Nothing is watched where there is no presence.
fn warm_up(side: Side) -> Phase {
    Phase::Mix(Mix {
        publishers: WARM_UP,
        publish: vec![Publish::Initial, Publish::Refresh, Publish::Modify, Publish::Remove],
        watchers: if side == Side::Floor { 0 } else { WARM_UP },
        watched: WARM_UP,
        subscribe: vec![Subscribe::Initial, Subscribe::Refresh, Subscribe::End],
        seed: 1,
    })
}
