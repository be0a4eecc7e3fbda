//! What is to go wrong, shared with all processes of a server: the library of `plan.c` reads it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use testkit::Builder;

/// What happens to what is asked: of SQLite steps of statements, of a server statements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing.
    None,
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

/// The file that is shared.
#[derive(Debug)]
pub struct Plan {
    file: File,
    path: PathBuf,
}

/// The library, built once.
fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let sources = ["plan.c", "sqlite.c", "servers.c"].map(|name| testkit::root().join("tests/faults").join(name));
        let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults.so");
        let fresh = built.with_extension(format!("so.{}", std::process::id()));
        let mut cc = Command::new("cc");
        let status = cc.args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]).arg(&fresh).args(&sources).status();
        assert!(status.expect("runs cc").success());
        std::fs::rename(&fresh, &built).expect("renames");
        built
    })
}

impl Plan {
    /// Nothing goes wrong yet.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("presence-faults-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).expect("a file");
        file.set_len(4096).expect("its length");
        Self { file, path }
    }

    /// A server to which this happens.
    pub fn applied_to(&self, server: Builder) -> Builder {
        self.applied_to_with(server, "")
    }

    /// The same, with an option of `env`.
    pub fn applied_to_with(&self, server: Builder, option: &str) -> Builder {
        server.under(&format!("env {option} LD_PRELOAD={} FAULTS={}", library().display(), self.path.display()))
    }

    fn word(&self, place: u64) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, place * 8).expect("reads");
        u64::from_ne_bytes(bytes)
    }

    fn set_word(&self, place: u64, value: u64) {
        self.file.write_all_at(&value.to_ne_bytes(), place * 8).expect("writes");
    }

    /// From now on this happens; steps are counted from 1 on.
    pub fn set(&self, fault: Fault) {
        let (what, at, count, delay) = match fault {
            Fault::None => (0, 0, 0, 0),
            Fault::NotDone(at, count) => (1, at, count, 0),
            Fault::DoneAndDenied(at) => (2, at, 1, 0),
            Fault::All => (3, 0, 0, 0),
            Fault::Slow(delay) => (4, 0, 0, delay.as_micros() as u64),
            Fault::Deadlock(at) => (5, at, 1, 0),
            Fault::Cut(at) => (6, at, 1, 0),
            Fault::CutAfter(at) => (7, at, 1, 0),
        };
        let words = [(0, 0), (1, 0), (2, at), (3, count), (4, 0), (5, delay), (0, what)];
        words.into_iter().for_each(|(place, value)| self.set_word(place, value));
    }

    /// Steps that failed since then.
    pub fn failed(&self) -> u64 {
        self.word(4)
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
