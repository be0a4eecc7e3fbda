//! The order of NOTIFYs under bursts of PUBLISHes, in short; `tests/soak.rs` has it with 1,500 watchers and 100 rounds.

mod bursts;

use bursts::Trial;

const WATCHERS: u32 = 200;
const ROUNDS: u32 = 5;

#[test]
fn in_memory_the_last_state_is_told_last() {
    Trial { mode: 0, watchers: WATCHERS, rounds: ROUNDS }.run();
}

#[test]
fn with_write_through_the_last_state_is_told_last() {
    Trial { mode: 1, watchers: WATCHERS, rounds: ROUNDS }.run();
}

#[test]
fn with_write_back_the_last_state_is_told_last() {
    Trial { mode: 2, watchers: WATCHERS, rounds: ROUNDS }.run();
}

#[test]
fn with_the_database_alone_the_last_state_is_told_last() {
    Trial { mode: 3, watchers: WATCHERS, rounds: ROUNDS }.run();
}
