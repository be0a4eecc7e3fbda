//! One run: a server of its own, all phases in their order.

use crate::options::Options;
use crate::setup::{Row, Setup};
use loadgen::{Load, Mix, Phase, Publish, Report, Settings, Subscribe};
use testkit::Module;

/// Attempts to get all watchers of a fan-out subscribed.
const ATTEMPTS: u32 = 20;
/// Publications and dialogs that come and go on a server before it counts as warm.
const WARM_UP: u32 = 300;

/// Both modules; each second round in the other order, so that neither always runs on a warmer machine.
pub fn in_turn(round: u32) -> [Module; 2] {
    let (ours, stock) = (Module::from_env(), Module::Stock);
    if round % 2 == 0 { [ours, stock] } else { [stock, ours] }
}

/// Runs the rows that are asked for, and those that they need; reports the former.
pub fn run(setup: &Setup, module: &Module, options: &Options, mut report: impl FnMut(Row, Report)) {
    let server = setup.server().module(module.clone()).start();
    let settings = Settings {
        pid: Some(server.pid()),
        afterwards: setup.afterwards(),
        ..Settings::new(([127, 0, 0, 1], server.port).into())
    };
    let mut load = Load::new(settings).expect("a socket");
    if !setup.is_cold() {
        load.run(&warm_up());
    }
    for row in options.rows_to_run() {
        if let Row::Fanout(watchers) = row {
            gather(&mut load, row.presentity(), watchers);
        }
        let result = load.run(&row.phase(options.operations));
        if options.rows.contains(&row) {
            report(row, result);
        }
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
