//! `bench table`: what an operation costs with this project's presence.so and with Kamailio's own, side by side.
//!
//! Both run side by side on the same machine, in the same seconds, under the same load; only the ratio of what they use
//! means anything. A row counts only if everything was answered 200 and nobody missed a NOTIFY.

mod cell;
mod crowd;
mod options;
mod plot;
mod report;
mod row;
mod run;
mod setup;
mod table;
mod target;

use options::Options;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use table::Table;

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(mistake) => {
            eprintln!("{mistake}\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    let start = Instant::now();
    let machine = report::Machine::look();
    let mut text = String::new();
    let mut say = |part: &str| {
        print!("{part}");
        text.push_str(part);
    };
    say(&machine.heading(&options));
    let tables = measure(&options, start);
    for table in &tables {
        say(&report::section(table));
    }
    let failures: Vec<String> = tables.iter().flat_map(Table::failures).collect();
    say(&report::end(&tables, &failures, start.elapsed()));
    if options.is_whole() {
        let name = format!("{}{}", machine.date, options.mode.suffix());
        match report::save(&testkit::root().join("benches/results"), &name, &text, &tables) {
            Ok(file) => println!("saved as {}", file.display()),
            Err(error) => {
                eprintln!("the results cannot be saved: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Round by round through all set-ups: what changes on the machine concerns each of them. A round that would not end in
/// time is left out, but for the first.
fn measure(options: &Options, start: Instant) -> Vec<Table> {
    let mut tables: Vec<Table> = options.setups.iter().map(|setup| Table::new(*setup)).collect();
    let mut longest = vec![Duration::ZERO; tables.len()];
    for round in 0..options.rounds * options.mode.patience() {
        for (table, longest) in tables.iter_mut().zip(&mut longest) {
            let late = options.mode.time().is_some_and(|time| start.elapsed() + *longest > time);
            if round > 0 && late || round >= options.rounds && table.is_decided() {
                continue;
            }
            eprintln!("{}: round {} of {}", table.setup.name(), round + 1, options.rounds);
            let begin = Instant::now();
            let setup = table.setup;
            run::run(&setup, round, options, &mut |row, side, sample| table.add(round, row, side, sample));
            *longest = begin.elapsed().max(*longest);
        }
    }
    tables
}
