//! One presentity whose watchers become more and more: what each of them costs, and how others fare meanwhile.

use crate::options::Options;
use crate::row::{Probe, Row, told_about};
use crate::run::{CROWDED, Sample, Server, Subject, Take, measure};
use crate::setup::Setup;
use loadgen::{Load, Part, Phase, Publish, Settings, Tally, Times};
use std::thread;
use std::time::Duration;

/// Requests of a watcher that joins a crowd, of each kind.
const JOINING: u32 = 1000;
/// Requests whose answers are waited for, where their number is not given by what goes on.
const PROBES: u32 = 100;
/// NOTIFYs of the fan-outs during which others wait, at least.
const WHILE: u32 = 20_000;

/// All rows of a crowd, size after size. A server leaves when its side is not asked for more.
pub fn run(setup: &Setup, servers: &mut Vec<Server>, rows: &[Row], options: &Options, take: &mut Take<'_>) {
    for probe in [Probe::Options, Probe::Publish] {
        wait(servers, rows, Row::Waiting(probe, 0), take);
    }
    let mut size = 0;
    for level in options.mode.levels().iter().copied().filter(|level| rows.iter().any(|row| row.crowd() == *level)) {
        let here = |row: &&Row| row.crowd() == level;
        servers.retain(|server| rows.iter().filter(here).any(|row| row.concerns(server.side)));
        servers.retain_mut(|server| {
            let before = server.kamailio.shm_used();
            let complete = server.gather(CROWDED, level - size);
            thread::sleep(setup.afterwards());
            let grown = server.kamailio.shm_used() - before;
            let per_watcher = Sample { amount: grown as f64, operations: (level - size).into(), tally: Tally::default() };
            for row in rows.iter().filter(here).filter(|row| row.concerns(server.side)) {
                match row {
                    // Nothing was done: the rows are void.
                    _ if !complete => take(*row, server.side, Sample { operations: 0, ..per_watcher.clone() }),
                    Row::Memory(_) => take(*row, server.side, per_watcher.clone()),
                    _ => {}
                }
            }
            complete
        });
        size = level;
        let fanout = Row::Fanout(level);
        if let Some(phase) = fanout.phase(options.operations, CROWDED).filter(|_| rows.contains(&fanout)) {
            measure(servers.iter_mut().map(Subject::from).collect(), fanout, &phase, setup.afterwards(), take);
        }
        join(setup, servers, rows, (level, options.operations.min(JOINING)), take);
        for probe in [Probe::Options, Probe::Publish] {
            wait(servers, rows, Row::Waiting(probe, level), take);
        }
    }
}

/// More watchers come, stay, and go: from a socket of their own, so that the crowd stays as it is.
fn join(setup: &Setup, servers: &[Server], rows: &[Row], (level, operations): (u32, u32), take: &mut Take<'_>) {
    let beside = |server: &Server| server.load.beside(server.load.settings().clone()).expect("a socket");
    let mut guests: Vec<Load> = servers.iter().map(beside).collect();
    for row in rows.iter().filter(|row| matches!(row, Row::Joining(_, crowd) if *crowd == level)) {
        let subjects = servers.iter().zip(&mut guests);
        let subjects =
            subjects.map(|(server, load)| Subject { side: server.side, kamailio: &server.kamailio, load }).collect();
        if let Some(phase) = row.phase(operations, CROWDED) {
            measure(subjects, *row, &phase, setup.afterwards(), take);
        }
    }
}

/// How long requests wait for their answers, one at a time, each a few milliseconds after the one before was answered.
/// They leave from a socket and a thread of their own: their answers do not queue behind NOTIFYs.
fn wait(servers: &mut [Server], rows: &[Row], row: Row, take: &mut Take<'_>) {
    let Row::Waiting(probe, crowd) = row else { return };
    for server in servers.iter_mut().filter(|server| rows.contains(&row) && row.concerns(server.side)) {
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
