//! SIGKILL under load, in short; `tests/soak.rs` has it for longer.
//!
//! The stock module fails: with SQLite it answers 500 when two workers meet at the file.

mod killed;

use killed::Trial;

#[test]
fn write_through_keeps_what_it_acknowledged() {
    Trial { mode: 1, rounds: 1, seed: 1 }.run();
}

#[test]
fn write_back_keeps_all_but_the_last_period() {
    Trial { mode: 2, rounds: 1, seed: 2 }.run();
}

#[test]
fn the_database_alone_keeps_what_it_acknowledged() {
    Trial { mode: 3, rounds: 1, seed: 3 }.run();
}
