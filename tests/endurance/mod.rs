//! Long and short runs of everything at once: whole lives of publications and dialogs, round after round. Every answer
//! is 200, everybody is told, CSeqs only grow, and a round leaves nothing behind: in the tables, in shared memory, in the
//! pkg memory of any process.

pub mod memory;
mod storage;
mod trial;

pub use storage::Storage;
use trial::{Outcome, Trial};

/// Runs a trial with few and with many workers; panics with everything that was wrong.
pub fn run(storage: Storage, operations: u32, rounds: u32) {
    println!("{}", Outcome::heading());
    let wrong: Vec<String> = [2, 8]
        .into_iter()
        .flat_map(|workers| {
            let outcome = Trial { storage, workers, operations, rounds }.run();
            println!("{outcome}");
            outcome.wrong()
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
