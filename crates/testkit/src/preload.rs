//! Libraries that stand between a server and what it calls (`LD_PRELOAD`), and words that a test shares with them.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Builds a library from these sources, below the project's folder, into a folder: `name` and `.so`. One that a server has
/// mapped stays as it is.
#[must_use]
pub fn library(folder: &Path, name: &str, sources: &[&str], options: &[&str]) -> PathBuf {
    let built = folder.join(name).with_extension("so");
    let fresh = built.with_extension(format!("so.{}", std::process::id()));
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-Wall", "-Werror"]).args(options).arg("-o").arg(&fresh);
    let status = cc.args(sources.iter().map(|source| crate::root().join(source))).status();
    assert!(status.expect("runs cc").success());
    std::fs::rename(&fresh, &built).expect("renames");
    built
}

/// Numbers of 64 bits in a file that every process of a server may map; all 0 in the beginning. Gone with the test.
#[derive(Debug)]
pub struct Words {
    file: File,
    path: PathBuf,
}

impl Words {
    /// New ones, in a file in this folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("presence-words-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = folder.join(name);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).expect("a file");
        file.set_len(4096).expect("its length");
        Self { file, path }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The word at this place.
    #[must_use]
    pub fn get(&self, place: u64) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, place * 8).expect("reads");
        u64::from_ne_bytes(bytes)
    }

    /// Puts words to their places, one after the other.
    pub fn set(&self, words: &[(u64, u64)]) {
        for (place, value) in words {
            self.file.write_all_at(&value.to_ne_bytes(), place * 8).expect("writes");
        }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
