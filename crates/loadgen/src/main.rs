//! `loadgen`: puts a load on a running presence server, phase by phase.

use loadgen::{Load, Phase, Settings};
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "\
usage: loadgen --server ADDRESS:PORT [--pid MAIN_PROCESS] [--agents N] [--window N] [--patience SECONDS]
               [--afterwards MILLISECONDS] PHASE...
phases: options:count=  publish:count=,first=  modify  refresh  remove
        subscribe:count=,presentities=,first=  resubscribe  unsubscribe
        mix:publishers=,watchers=,watched=,seed=  fanout:presentity=,rounds=,burst=,clients=,probe=MILLISECONDS  listen:seconds=
One line per phase; the exit status says whether everything was answered 200 and everybody was told.";

fn main() -> ExitCode {
    let (settings, phases) = match read(std::env::args().skip(1)) {
        Ok(read) => read,
        Err(mistake) => {
            eprintln!("{mistake}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut load = match Load::new(settings) {
        Ok(load) => load,
        Err(error) => {
            eprintln!("no socket: {error}");
            return ExitCode::from(2);
        }
    };
    let mut fine = true;
    for (name, phase) in phases {
        let report = load.run(&phase);
        fine &= report.tally.complaints().is_empty();
        println!("{name}: {report}");
    }
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(mut words: impl Iterator<Item = String>) -> Result<(Settings, Vec<(String, Phase)>), String> {
    let mut settings = Settings::new(([127, 0, 0, 1], 5060).into());
    let mut phases = Vec::new();
    while let Some(word) = words.next() {
        let Some(option) = word.strip_prefix("--") else {
            let phase = word.parse()?;
            phases.push((word, phase));
            continue;
        };
        let value = words.next().ok_or_else(|| format!("--{option} needs a value"))?;
        let number = || value.parse::<u32>().map_err(|_| format!("--{option} {value}: not a number"));
        match option {
            "server" => settings.server = value.parse().map_err(|_| format!("--server {value}: not ADDRESS:PORT"))?,
            "pid" => settings.pid = Some(number()?),
            "agents" => settings.agents = number()? as usize,
            "window" => settings.window = number()? as usize,
            "patience" => settings.patience = Duration::from_secs(number()?.into()),
            "afterwards" => settings.afterwards = Duration::from_millis(number()?.into()),
            _ => return Err(format!("--{option}: no such option")),
        }
    }
    if phases.is_empty() { Err("no phase given".into()) } else { Ok((settings, phases)) }
}
