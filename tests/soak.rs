//! The long run: 100,000 PUBLISHes and 100,000 SUBSCRIBEs (`SOAK_OPS` for another number) for every storage, with two
//! and with eight workers; bursts of PUBLISHes to 1,500 watchers, 100 rounds each (`SOAK_ROUNDS`); servers that are killed,
//! 20 rounds of three kills in each mode (`SOAK_KILLS`). `make soak` runs it and prints the table.

mod bursts;
mod endurance;
mod killed;

use endurance::Storage;

/// Enough to tell a leak from a pool that grows.
const ROUNDS: u32 = 20;

fn number(name: &str, default: u32) -> u32 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")),
        Err(_) => default,
    }
}

fn soak(storage: Storage) {
    endurance::run(storage, number("SOAK_OPS", 100_000), ROUNDS);
}

#[test]
#[ignore = "takes minutes: make soak"]
fn the_last_state_is_told_last() {
    let rounds = number("SOAK_ROUNDS", 100);
    (0..=3).for_each(|mode| bursts::Trial { mode, watchers: 1500, rounds }.run());
}

#[test]
#[ignore = "takes minutes: make soak"]
fn what_was_acknowledged_outlives_kills() {
    let rounds = number("SOAK_KILLS", 20);
    let trial = |mode| killed::Trial {
        mode,
        rounds,
        seed: 100 + u64::from(mode),
        victims: killed::Victim::ANYWHERE,
        inside: false,
    };
    (1..=3).for_each(|mode| trial(mode).run());
}

#[test]
#[ignore = "takes minutes: make soak"]
fn what_was_acknowledged_outlives_kills_under_a_lock() {
    let rounds = number("SOAK_KILLS", 20);
    let trial = |mode| killed::Trial {
        mode,
        rounds,
        seed: 200 + u64::from(mode),
        victims: killed::Victim::under_a_lock(mode),
        inside: true,
    };
    (0..=3).for_each(|mode| trial(mode).run());
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
