//! The long run: 100,000 PUBLISHes and 100,000 SUBSCRIBEs (`SOAK_OPS` for another number) for every storage, with two
//! and with eight workers. `make soak` runs it and prints the table.

mod endurance;

use endurance::Storage;

/// Enough to tell a leak from a pool that grows.
const ROUNDS: u32 = 20;

fn soak(storage: Storage) {
    let operations = match std::env::var("SOAK_OPS") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("SOAK_OPS={text}: not a number")),
        Err(_) => 100_000,
    };
    endurance::run(storage, operations, ROUNDS);
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
