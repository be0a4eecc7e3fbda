//! SIGKILL under load, in short; `tests/soak.rs` has it for longer.
//!
//! The stock module fails: with SQLite it answers 500 when two workers meet at the file. And it has no count of its locks.

mod killed;

use killed::Trial;

fn anywhere(mode: u8) {
    Trial { mode, rounds: 1, seed: mode.into(), inside: false }.run();
}

/// While the victim holds a lock: the way down does not wait for it.
fn under_a_lock(mode: u8) {
    Trial { mode, rounds: 1, seed: 10 + u64::from(mode), inside: true }.run();
}

#[test]
fn write_through_keeps_what_it_acknowledged() {
    anywhere(1);
}

#[test]
fn write_back_keeps_all_but_the_last_period() {
    anywhere(2);
}

#[test]
fn the_database_alone_keeps_what_it_acknowledged() {
    anywhere(3);
}

#[test]
fn memory_goes_down_without_the_lock_of_one_who_died() {
    under_a_lock(0);
}

#[test]
fn write_through_goes_down_without_the_lock_of_one_who_died() {
    under_a_lock(1);
}

#[test]
fn write_back_goes_down_without_the_lock_of_one_who_died() {
    under_a_lock(2);
}

#[test]
fn the_database_alone_goes_down_without_the_lock_of_one_who_died() {
    under_a_lock(3);
}
