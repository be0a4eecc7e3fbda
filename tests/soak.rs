//! The long run: 100,000 PUBLISHes and 100,000 SUBSCRIBEs (`SOAK_OPS` for another number) for every storage, with two
//! and with eight workers; bursts of PUBLISHes to 1,500 watchers, 100 rounds each (`SOAK_ROUNDS`); servers that are killed,
//! 20 rounds of three kills in each mode (`SOAK_KILLS`). `make soak` runs it and prints the table.

mod bursts;
mod endurance;
mod killed;
mod kinds;
mod mixed;
#[allow(dead_code)]
#[path = "faults/plan.rs"]
mod plan;
#[allow(dead_code)]
#[path = "faults/whole.rs"]
mod whole;
mod wires;

use endurance::Storage;
use std::time::Duration;

/// Enough to tell a leak from a pool that grows.
const ROUNDS: u32 = 20;

fn number<T: std::str::FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")),
        Err(_) => default,
    }
}

fn soak(storage: Storage) {
    endurance::run(storage, number("SOAK_OPS", 100_000), ROUNDS);
}

/// `SOAK_MINUTES` (10), `SOAK_LOAD` (0.6 of what the server can do), `SOAK_FAULT_EVERY` (30 s), `SOAK_FAULTS` (only those
/// whose names contain this), `SOAK_MODE` (1, or some of memory, 1, 2 and 3 with commas between them), `SOAK_SEED`.
#[test]
#[ignore = "takes minutes: make soak"]
fn mixed_traffic_with_faults() {
    let modes = std::env::var("SOAK_MODE").unwrap_or_else(|_| "1".into());
    let faults: &str = std::env::var("SOAK_FAULTS").unwrap_or_default().leak();
    for mode in modes.split(',').map(mixed::Mode::named) {
        let trial = mixed::Trial {
            mode,
            time: Duration::from_secs_f64(number("SOAK_MINUTES", 10.0) * 60.0),
            load: number("SOAK_LOAD", 0.6),
            fault_every: Duration::from_secs_f64(number("SOAK_FAULT_EVERY", 30.0)),
            faults,
            seed: number("SOAK_SEED", 1),
        };
        trial.run();
    }
}

#[test]
#[ignore = "takes minutes: make soak"]
fn the_last_state_is_told_last() {
    let rounds: u32 = number("SOAK_ROUNDS", 100);
    (0..=3).for_each(|mode| bursts::Trial { mode, watchers: 1500, clients: 2, rounds }.run());
}

#[test]
#[ignore = "takes minutes: make soak"]
fn what_was_acknowledged_outlives_kills() {
    let rounds = number("SOAK_KILLS", 20);
    (1..=3).for_each(|mode| killed::Trial { mode, rounds, seed: 100 + u64::from(mode), inside: false }.run());
}

#[test]
#[ignore = "takes minutes: make soak"]
fn what_was_acknowledged_outlives_kills_under_a_lock() {
    let rounds = number("SOAK_KILLS", 20);
    (0..=3).for_each(|mode| killed::Trial { mode, rounds, seed: 200 + u64::from(mode), inside: true }.run());
}

/// `SOAK_OPS` of each kind (10^6 in memory, 10^5 with a database), `SOAK_KIND`: only those whose name contains this.
fn kinds_leave_nothing(storage: Storage, workers: u32) {
    let operations = number("SOAK_OPS", if storage == Storage::Memory { 1_000_000 } else { 100_000 });
    let wanted = std::env::var("SOAK_KIND").unwrap_or_default();
    let kinds: Vec<_> = kinds::all().into_iter().filter(|kind| kind.name.contains(&wanted)).collect();
    assert!(!kinds.is_empty(), "SOAK_KIND={wanted}: no such kind");
    kinds::Trial { storage, workers, operations, warm_up: 3, rounds: 10, apart: true }.run(&kinds);
}

#[test]
#[ignore = "takes an hour: make soak"]
fn no_kind_of_operation_leaves_anything_in_memory() {
    kinds_leave_nothing(Storage::Memory, 2);
}

#[test]
#[ignore = "takes an hour: make soak"]
fn no_kind_of_operation_leaves_anything_in_memory_with_many_workers() {
    kinds_leave_nothing(Storage::Memory, 8);
}

#[test]
#[ignore = "takes minutes: make soak"]
fn no_kind_of_operation_leaves_anything_with_write_through() {
    kinds_leave_nothing(Storage::Sqlite(1), 2);
}

#[test]
#[ignore = "takes minutes: make soak"]
fn no_kind_of_operation_leaves_anything_with_write_back() {
    kinds_leave_nothing(Storage::Sqlite(2), 2);
}

#[test]
#[ignore = "takes minutes: make soak"]
fn no_kind_of_operation_leaves_anything_with_the_database_alone() {
    kinds_leave_nothing(Storage::Sqlite(3), 2);
}

#[test]
#[ignore = "takes minutes: make soak"]
fn memory_holds_out() {
    soak(Storage::Memory);
}

#[test]
#[ignore = "takes minutes: make soak"]
fn sqlite_written_through_holds_out() {
    soak(Storage::Sqlite(1));
}

#[test]
#[ignore = "takes minutes: make soak"]
fn sqlite_written_back_holds_out() {
    soak(Storage::Sqlite(2));
}

#[test]
#[ignore = "takes minutes: make soak"]
fn sqlite_alone_holds_out() {
    soak(Storage::Sqlite(3));
}
