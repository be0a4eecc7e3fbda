//! One presentity whose watchers become more and more: what each of them costs, and how others fare meanwhile.

use crate::options::Options;
use crate::row::{Probe, Row, Side, Step, told_about};
use crate::run::{CROWDED, Sample, Server, Take, measure};
use crate::setup::Setup;
use loadgen::{Load, Part, Phase, Publish, Settings, Tally, Times};
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

/// Requests whose answers are waited for, where their number is not given by what goes on.
const PROBES: u32 = 100;
/// NOTIFYs of the fan-outs during which others wait, at least.
const WHILE: u32 = 20_000;

/// All rows of a crowd, size after size. A server leaves when its side is not asked for more.
pub fn run(setup: &Setup, servers: &mut Vec<Server>, rows: &[Row], options: &Options, take: &mut Take<'_>) {
    for idle in rows.iter().filter(|row| row.crowd() == 0) {
        wait(servers, *idle, take);
    }
    let mut sizes: BTreeMap<Side, u32> = BTreeMap::new();
    for level in options.mode.levels().iter().copied().filter(|level| rows.iter().any(|row| row.crowd() == *level)) {
        let rows: Vec<Row> = rows.iter().copied().filter(|row| row.crowd() == level).collect();
        servers.retain(|server| rows.iter().any(|row| row.concerns(server.side)));
        servers.retain_mut(|server| {
            let size = sizes.insert(server.side, level).unwrap_or(0);
            grow(setup, server, &rows, level.saturating_sub(size), take)
        });
        for row in &rows {
            // Who comes and goes changes the crowd: the next size begins with what is left.
            let mut count = |row, side, sample: Sample| {
                let accepted = sample.tally.accepted() as u32;
                let size = sizes.entry(side).or_default();
                match row {
                    Row::Joining(Step::First, _) => *size += accepted,
                    Row::Joining(Step::Third, _) => *size = size.saturating_sub(accepted),
                    _ => {}
                }
                take(row, side, sample);
            };
            if let Some(phase) = row.phase(options.operations, CROWDED) {
                measure(servers, *row, &phase, setup.afterwards(), &mut count);
            }
            wait(servers, *row, take);
        }
    }
}

/// Lets the crowd grow. False if not all are there in the end.
fn grow(setup: &Setup, server: &mut Server, rows: &[Row], watchers: u32, take: &mut Take<'_>) -> bool {
    let before = server.kamailio.shm_used();
    let is_complete = server.gather(CROWDED, watchers);
    thread::sleep(setup.afterwards());
    let grown = (server.kamailio.shm_used() - before) as f64;
    // Without its crowd nothing is done, and the rows are void.
    let operations = if is_complete { watchers.into() } else { 0 };
    for row in rows.iter().filter(|row| row.concerns(server.side)) {
        if !is_complete || matches!(row, Row::Memory(_)) {
            take(*row, server.side, Sample { amount: grown, operations, tally: Tally::default() });
        }
    }
    is_complete
}

/// How long requests wait for their answers, one at a time, each a few milliseconds after the one before was answered.
/// They leave from a socket and a thread of their own: their answers do not queue behind NOTIFYs.
fn wait(servers: &mut [Server], row: Row, take: &mut Take<'_>) {
    let Row::Waiting(probe, crowd) = row else { return };
    for server in servers.iter_mut().filter(|server| row.concerns(server.side)) {
        let settings = Settings { window: 1, client: 1, ..server.load.settings().clone() };
        let mut beside = server.load.beside(settings).expect("a socket");
        let (times, tally) = match probe {
            Probe::Options => wait_as_another(&mut beside, &mut server.load, crowd),
            Probe::Publish => wait_as_a_client(&mut beside, &mut server.load, crowd),
        };
        let wait = times.percentile(0.99).map(|time| time.as_secs_f64() * 1e3);
        take(row, server.side, Sample { amount: wait.unwrap_or(0.0), operations: wait.map_or(0, |_| 1), tally });
    }
}

fn wait_as_another(beside: &mut Load, telling: &mut Load, crowd: u32) -> (Times, Tally) {
    let options = Phase::Options { count: 1 };
    let mut sum = Tally::default();
    if crowd == 0 {
        (0..PROBES).for_each(|_| sum.merge(beside.run(&options).tally));
        return (sum.replies.clone(), sum);
    }
    let told = told_about(CROWDED, (WHILE / crowd).max(2));
    let told = thread::scope(|scope| {
        let told = scope.spawn(|| telling.run(&told).tally);
        while !told.is_finished() {
            sum.merge(beside.run(&options).tally);
        }
        told.join().expect("a load does not panic")
    });
    let times = sum.replies.clone();
    sum.merge(told);
    (times, sum)
}

/// Each of these PUBLISHes is told to the crowd, which has not been told of the one before by then.
fn wait_as_a_client(beside: &mut Load, crowded: &mut Load, crowd: u32) -> (Times, Tally) {
    let first = if crowd == 0 { CROWDED + 1 } else { CROWDED };
    let mut sum = beside.run(&Phase::Publish { count: 1, first }).tally;
    sum.merge(crowded.run(&Phase::Listen(Duration::ZERO)).tally);
    // The first of them begins the fan-out.
    sum.merge(beside.run(&Phase::Republish(Publish::Modify, Part::WHOLE)).tally);
    let mut during = Tally::default();
    (0..PROBES).for_each(|_| during.merge(beside.run(&Phase::Republish(Publish::Modify, Part::WHOLE)).tally));
    let times = during.replies.clone();
    sum.merge(during);
    sum.merge(crowded.run(&Phase::Listen(Duration::ZERO)).tally);
    sum.merge(beside.run(&Phase::Republish(Publish::Remove, Part::WHOLE)).tally);
    sum.merge(crowded.run(&Phase::Listen(Duration::ZERO)).tally);
    (times, sum)
}
