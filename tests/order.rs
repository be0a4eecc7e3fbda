//! The order of what watchers are told: under bursts of PUBLISHes, in short (`tests/soak.rs` has it with 1,500 watchers
//! and 100 rounds), and of the states of calls.

mod bursts;
mod lamps;
mod rests;

use bursts::Trial;
use testkit::Database;

const WATCHERS: u32 = 200;
const ROUNDS: u32 = 5;

#[test]
fn in_memory_the_last_state_is_told_last() {
    Trial { mode: 0, watchers: WATCHERS, clients: 2, rounds: ROUNDS }.run();
}

#[test]
fn with_write_through_the_last_state_is_told_last() {
    Trial { mode: 1, watchers: WATCHERS, clients: 2, rounds: ROUNDS }.run();
}

#[test]
fn with_write_back_the_last_state_is_told_last() {
    Trial { mode: 2, watchers: WATCHERS, clients: 2, rounds: ROUNDS }.run();
}

#[test]
fn with_the_database_alone_the_last_state_is_told_last() {
    Trial { mode: 3, watchers: WATCHERS, clients: 2, rounds: ROUNDS }.run();
}

/// What only one client publishes is not read from the table again.
#[test]
fn from_one_client_the_last_state_is_told_last() {
    [1, 2].iter().for_each(|mode| Trial { mode: *mode, watchers: WATCHERS, clients: 1, rounds: ROUNDS }.run());
}

/// With the database alone whoever brings a change tells all, as only that one knows how far it has come.
#[test]
fn many_watchers_leave_the_worker_to_the_next_request() {
    [0, 1, 2].iter().for_each(|mode| rests::run(*mode));
}

#[test]
fn a_call_that_is_over_stays_over_in_memory() {
    lamps::run(&Database::Sqlite("WAL"), 2);
}

#[test]
fn a_call_that_is_over_stays_over_in_sqlite() {
    [0, 1].iter().for_each(|publ| lamps::run(&Database::Sqlite("WAL"), *publ));
}

#[test]
fn a_call_that_is_over_stays_over_in_postgres() {
    lamps::run(&Database::Postgres, 0);
}

#[test]
fn a_call_that_is_over_stays_over_in_mariadb() {
    lamps::run(&Database::MariaDb, 0);
}

#[test]
fn of_several_dialogs_in_one_document_each_goes_its_way() {
    [0, 1, 2].iter().for_each(|publ| lamps::several_in_one(*publ));
}

#[test]
fn the_end_of_one_branch_does_not_hide_another() {
    [0, 1, 2].iter().for_each(|publ| lamps::branches(*publ));
}
