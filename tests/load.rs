//! The short version of the long run (`tests/soak.rs`): a few thousand operations for every storage.

mod endurance;

use endurance::Storage;

const OPERATIONS: u32 = 2000;
const ROUNDS: u32 = 4;

#[test]
fn memory_serves_everybody() {
    endurance::run(Storage::Memory, OPERATIONS, ROUNDS);
}

#[test]
fn sqlite_written_through_serves_everybody() {
    endurance::run(Storage::Sqlite(1), OPERATIONS, ROUNDS);
}

#[test]
fn sqlite_written_back_serves_everybody() {
    endurance::run(Storage::Sqlite(2), OPERATIONS, ROUNDS);
}

#[test]
fn sqlite_alone_serves_everybody() {
    endurance::run(Storage::Sqlite(3), OPERATIONS, ROUNDS);
}
