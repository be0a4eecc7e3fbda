//! A process that ends in the middle of a critical section: the library of `inside.c` sees to it. The shipped module knows
//! nothing of that; where its count of held locks lies, its own table of symbols says.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use testkit::Builder;

/// Which process ends where, shared with all processes of a server.
#[derive(Debug)]
pub struct Inside {
    file: File,
    path: PathBuf,
}

/// The library, built once.
fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = testkit::root().join("tests/killed/inside.c");
        let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("inside.so");
        let fresh = built.with_extension(format!("so.{}", std::process::id()));
        let mut cc = Command::new("cc");
        // Its loops must not become calls of what they are.
        let options =
            ["-shared", "-fPIC", "-Wall", "-Werror", "-O1", "-fno-builtin", "-fno-tree-loop-distribute-patterns"];
        let status = cc.args(options).arg("-o").arg(&fresh).arg(&source).status();
        assert!(status.expect("runs cc").success());
        std::fs::rename(&fresh, &built).expect("renames");
        built
    })
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
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("presence-inside-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).expect("a file");
        file.set_len(4096).expect("its length");
        Self { file, path }
    }

    /// A server to which this happens.
    pub fn applied_to(&self, server: Builder) -> Builder {
        let held = count_of_locks(&server.module_path());
        server.under(&format!(
            "env LD_PRELOAD={} INSIDE={} INSIDE_HELD={held}",
            library().display(),
            self.path.display()
        ))
    }

    /// This process ends when it does something for so many times while it holds a lock.
    pub fn kill(&self, pid: u32, after: u64) {
        for (place, value) in [(0, 0), (1, after), (2, 0), (0, u64::from(pid))] {
            self.file.write_all_at(&value.to_ne_bytes(), place * 8).expect("writes");
        }
    }

    /// Whether it has.
    pub fn has_killed(&self) -> bool {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, 16).expect("reads");
        u64::from_ne_bytes(bytes) != 0
    }

    /// Nothing happens any more.
    pub fn rest(&self) {
        self.file.write_all_at(&0u64.to_ne_bytes(), 0).expect("writes");
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
