//! A process that ends in the middle of a critical section: the library of `inside.c` sees to it. The shipped module knows
//! nothing of that; where its count of held locks lies, its own table of symbols says.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use testkit::Builder;
use testkit::preload::{self, Words};

const FOLDER: &str = env!("CARGO_TARGET_TMPDIR");

/// Which process ends where, shared with all processes of a server.
#[derive(Debug)]
pub struct Inside(Words);

/// The library, built once.
fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    // Its loops must not become calls of what they are.
    let options = ["-O1", "-fno-builtin", "-fno-tree-loop-distribute-patterns"];
    BUILT.get_or_init(|| preload::library(Path::new(FOLDER), "inside", &["tests/killed/inside.c"], &options))
}

/// Where the module counts the locks that a process holds.
fn count_of_locks(module: &Path) -> String {
    let symbols = Command::new("nm").arg(module).output().expect("runs nm");
    let symbols = String::from_utf8_lossy(&symbols.stdout);
    let line = symbols.lines().find(|line| line.contains("kamailio4lock4HELD"));
    let place = line.and_then(|line| line.split_whitespace().next());
    place.unwrap_or_else(|| panic!("{} has no symbol HELD", module.display())).to_owned()
}

impl Inside {
    pub fn new() -> Self {
        Self(Words::new(Path::new(FOLDER)))
    }

    /// A server to which this happens.
    pub fn applied_to(&self, server: Builder) -> Builder {
        let held = count_of_locks(&server.module_path());
        server.under(&format!(
            "env LD_PRELOAD={} INSIDE={} INSIDE_HELD={held}",
            library().display(),
            self.0.path().display()
        ))
    }

    /// This process ends when it does something for so many times while it holds a lock.
    pub fn kill(&self, pid: u32, after: u64) {
        self.0.set(&[(0, 0), (1, after), (2, 0), (0, u64::from(pid))]);
    }

    /// Whether it has.
    pub fn has_killed(&self) -> bool {
        self.0.get(2) != 0
    }

    /// Nothing happens any more.
    pub fn rest(&self) {
        self.0.set(&[(0, 0)]);
    }
}
