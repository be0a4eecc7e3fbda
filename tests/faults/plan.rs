//! What is to go wrong, shared with all processes of a server: the library of `plan.c` reads it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;
use testkit::Builder;
use testkit::preload::{self, Words};

const FOLDER: &str = env!("CARGO_TARGET_TMPDIR");

/// What happens to what is asked: of SQLite steps of statements, of a server statements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing.
    None,
    /// Nothing either, but steps are counted.
    Counted,
    /// This one fails, and so many in all from there on, and they are not done.
    NotDone(u64, u64),
    /// This one is done, and then said to have failed.
    DoneAndDenied(u64),
    /// All fail.
    All,
    /// Each statement takes this much longer.
    Slow(Duration),
    /// The server has ended this one's transaction because of another one.
    Deadlock(u64),
    /// The connection is cut before this one.
    Cut(u64),
    /// The connection is cut when this one is done, and nobody knows that it is.
    CutAfter(u64),
}

/// What is shared.
#[derive(Debug)]
pub struct Plan(Words);

/// The library, built once.
fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let sources = ["tests/faults/plan.c", "tests/faults/sqlite.c", "tests/faults/servers.c"];
    BUILT.get_or_init(|| preload::library(Path::new(FOLDER), "faults", &sources, &[]))
}

impl Plan {
    /// Nothing goes wrong yet.
    pub fn new() -> Self {
        Self(Words::new(Path::new(FOLDER)))
    }

    /// A server to which this happens.
    pub fn applied_to(&self, server: Builder) -> Builder {
        self.applied_to_with(server, "")
    }

    /// The same, with an option of `env`.
    pub fn applied_to_with(&self, server: Builder, option: &str) -> Builder {
        server.under(&format!("env {option} LD_PRELOAD={} FAULTS={}", library().display(), self.0.path().display()))
    }

    /// From now on this happens; steps are counted from 1 on.
    pub fn set(&self, fault: Fault) {
        let (what, at, count, delay) = match fault {
            Fault::None => (0, 0, 0, 0),
            Fault::Counted => (1, u64::MAX, 0, 0),
            Fault::NotDone(at, count) => (1, at, count, 0),
            Fault::DoneAndDenied(at) => (2, at, 1, 0),
            Fault::All => (3, 0, 0, 0),
            Fault::Slow(delay) => (4, 0, 0, delay.as_micros() as u64),
            Fault::Deadlock(at) => (5, at, 1, 0),
            Fault::Cut(at) => (6, at, 1, 0),
            Fault::CutAfter(at) => (7, at, 1, 0),
        };
        self.0.set(&[(0, 0), (1, 0), (2, at), (3, count), (4, 0), (5, delay), (0, what)]);
    }

    /// Steps since then, unless nothing was set.
    pub fn steps(&self) -> u64 {
        self.0.get(1)
    }

    /// Steps that failed since then.
    pub fn failed(&self) -> u64 {
        self.0.get(4)
    }
}
