//! The short version of the long run (`tests/soak.rs`): a few thousand operations for every storage.

mod endurance;
mod kinds;
#[allow(dead_code)]
mod wires;

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

/// Every kind of operation in each round, with every storage at the same time: they mostly wait for what runs out. (Kamailio
/// 5.6.3's own module has no `presence.status`, with which the trial looks at what is left: there it fails.)
#[test]
fn no_kind_of_operation_leaves_anything() {
    let trial = |storage, operations| {
        move || {
            kinds::Trial { storage, workers: 2, operations, warm_up: 1, rounds: ROUNDS, apart: false }
                .run(&kinds::all())
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(trial(Storage::Memory, OPERATIONS / 2));
        (1..=3).for_each(|mode| drop(scope.spawn(trial(Storage::Sqlite(mode), OPERATIONS / 20))));
    });
}
