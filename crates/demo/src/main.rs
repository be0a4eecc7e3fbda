//! `make run`: starts Kamailio with presence.so and `examples/sqlite.cfg` on a free port of 127.0.0.1, and shows the
//! main job with real packets; its log and database are below `target/run`. Every step checks what it shows; the first one that fails ends the program with a
//! sentence. `ONCE=1` ends it after the last step; otherwise the server runs on until Ctrl-C.

mod screen;
mod stage;
mod steps;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use stage::Stage;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use testkit::{Database, Kamailio};

/// A step's outcome: a sentence either way.
type Outcome = Result<String, String>;

fn main() -> ExitCode {
    let folder = testkit::root().join("target/run");
    // What the last run left; the first time there is nothing.
    let _ = std::fs::remove_dir_all(&folder);
    match run(folder.clone()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("\nFAILED: {sentence}\nThe server's log and database are in {}", folder.display());
            ExitCode::FAILURE
        }
    }
}

fn run(folder: PathBuf) -> Result<(), String> {
    // The server is in a process group of its own: a Ctrl-C comes here only, and is looked for between the steps.
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|e| format!("signals cannot be caught: {e}"))?;
    let mut stage = Stage::new(start(folder)?);
    for (number, (title, step)) in steps::ALL.iter().enumerate() {
        screen::title(number + 1, title);
        let outcome = step(&mut stage);
        stage.print_packets();
        screen::done(&outcome?);
        if signals.pending().next().is_some() {
            return stop(stage, "interrupted");
        }
    }
    if std::env::var("ONCE").is_ok_and(|v| !v.is_empty() && v != "0") {
        return stop(stage, "all steps done");
    }
    stage.say_how_to_reach();
    while signals.pending().next().is_none() {
        if !stage.server.is_running() {
            return Err("the server ended by itself".into());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    stop(stage, "bye")
}

fn start(folder: PathBuf) -> Result<Kamailio, String> {
    let configuration = testkit::root().join("examples/sqlite.cfg");
    let server = Kamailio::builder().file(&configuration).database(Database::Sqlite("WAL")).folder(folder).detached();
    println!("Kamailio with {}", server.module_path().display());
    println!("configuration {}", configuration.display());
    let server = server.try_start().map_err(|log| format!("the server did not start: {}", first_errors(&log)))?;
    println!("answers on 127.0.0.1:{} (UDP), database {}", server.port, server.database_file().display());
    Ok(server)
}

/// The lines of a log that say why; all of it if none does.
fn first_errors(log: &str) -> String {
    let errors: Vec<&str> = log.lines().filter(|l| l.contains("ERROR") || l.contains("CRITICAL")).take(3).collect();
    if errors.is_empty() { log.to_owned() } else { errors.join("\n") }
}

fn stop(mut stage: Stage, word: &str) -> Result<(), String> {
    stage.stop()?;
    println!("\n{word}; the server is stopped");
    Ok(())
}
