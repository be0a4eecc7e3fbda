//! `bench table`: what an operation costs with this project's presence.so and with Kamailio's own, side by side.
//!
//! Both run side by side on the same machine, in the same seconds, under the same load; only the ratio of their CPU times
//! means anything. A row counts only if everything was answered 200 and nobody missed a NOTIFY.

mod options;
mod run;
mod setup;
mod table;

use options::Options;
use std::process::ExitCode;
use table::Table;

/// How many times the rounds are repeated until the ratios are exact enough.
const PATIENCE: u32 = 5;

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(mistake) => {
            eprintln!("{mistake}\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    println!("{}", table::heading(&options));
    let mut failures = Vec::new();
    for setup in &options.setups {
        let mut table = Table::default();
        for round in 0..options.rounds * PATIENCE {
            if round >= options.rounds && table.is_decided(setup) {
                break;
            }
            eprintln!("{}: round {} of {}", setup.name(), round + 1, options.rounds);
            run::run(setup, round, &options, |row, parts| table.add(row, parts));
        }
        println!("\n{}\n{table}", setup.heading());
        failures.extend(table.failures(setup));
    }
    for failure in &failures {
        println!("FAILED: {failure}");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
