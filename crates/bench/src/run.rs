//! One round: a server with each module, side by side, all phases in their order.
//!
//! What else the machine does makes a second dearer than the next by half. So both servers live at the same time and get
//! each phase in small parts, in turn: what disturbs one disturbs the other as much. How much the parts differ says how
//! exact their sum is.

use crate::options::Options;
use crate::setup::{Row, Setup};
use loadgen::{Load, Mix, Part, Phase, Publish, Report, Settings, Subscribe, cpu};
use std::thread;
use std::time::Duration;
use testkit::{Kamailio, Module};

/// Parts of a phase.
const PARTS: u32 = 16;
/// Attempts to get all watchers of a fan-out subscribed.
const ATTEMPTS: u32 = 20;
/// Publications and dialogs that come and go on a server before it counts as warm.
const WARM_UP: u32 = 300;

/// A server and the load on it.
struct Side {
    module: Module,
    load: Load,
    server: Kamailio,
}

impl Side {
    fn start(setup: &Setup, module: Module) -> Self {
        let server = setup.server().module(module.clone()).start();
        let settings = Settings { afterwards: Duration::ZERO, ..Settings::new(([127, 0, 0, 1], server.port).into()) };
        let mut load = Load::new(settings).expect("a socket");
        if !setup.is_cold() {
            load.run(&warm_up());
        }
        Self { module, load, server }
    }

    fn cpu(&self) -> Duration {
        cpu::used(self.server.pid())
    }
}

/// Runs the rows that are asked for, and those that they need; reports the former, part by part. Each second round begins
/// with the other module.
pub fn run(setup: &Setup, round: u32, options: &Options, mut report: impl FnMut(Row, [(&Module, Report); 2])) {
    let modules =
        if round % 2 == 0 { [Module::from_env(), Module::Stock] } else { [Module::Stock, Module::from_env()] };
    let mut sides = modules.map(|module| Side::start(setup, module));
    for row in options.rows_to_run() {
        if let Row::Fanout(watchers) = row {
            for side in &mut sides {
                gather(&mut side.load, row.presentity(), watchers);
            }
            thread::sleep(setup.afterwards());
        }
        let is_asked_for = options.rows.contains(&row);
        measure(&mut sides, &row.phase(options.operations), setup.afterwards(), |parts| {
            if is_asked_for {
                report(row, parts);
            }
        });
    }
}

/// A phase on both servers, part by part. The CPU time of a part is what a server used until both had done it; the last
/// part includes what they clean up afterwards.
fn measure(sides: &mut [Side; 2], phase: &Phase, afterwards: Duration, mut report: impl FnMut([(&Module, Report); 2])) {
    let mut before = [sides[0].cpu(), sides[1].cpu()];
    for index in 0..PARTS {
        let part = phase.part(Part { index, of: PARTS });
        let first = index as usize % 2;
        let mut reports = [first, 1 - first].map(|place| sides[place].load.run(&part));
        if first == 1 {
            reports.reverse();
        }
        if index + 1 == PARTS {
            thread::sleep(afterwards);
        }
        let now = [sides[0].cpu(), sides[1].cpu()];
        for (place, report) in reports.iter_mut().enumerate() {
            report.cpu = now[place].saturating_sub(before[place]);
        }
        before = now;
        let [one, other] = reports;
        report([(&sides[0].module, one), (&sides[1].module, other)]);
    }
}

fn warm_up() -> Phase {
    Phase::Mix(Mix {
        publishers: WARM_UP,
        publish: vec![Publish::Initial, Publish::Refresh, Publish::Modify, Publish::Remove],
        watchers: WARM_UP,
        watched: WARM_UP,
        subscribe: vec![Subscribe::Initial, Subscribe::Refresh, Subscribe::End],
        seed: 1,
    })
}

/// Subscribes the watchers of a fan-out. Those who are refused try again: that is not what is measured.
fn gather(load: &mut Load, presentity: u32, watchers: u32) {
    let mut missing = watchers;
    for _ in 0..ATTEMPTS {
        let report = load.run(&Phase::Subscribe { count: missing, presentities: 1, first: presentity });
        missing -= u32::try_from(report.tally.accepted()).unwrap_or(missing).min(missing);
        if missing == 0 {
            return;
        }
    }
}
