//! Folders, ports and signals.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub(crate) fn new_folder() -> Result<PathBuf, String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let base = if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
    make_folder(base.join(format!("presence-test-{}-{number}", std::process::id())))
}

pub(crate) fn make_folder(dir: PathBuf) -> Result<PathBuf, String> {
    match fs::create_dir_all(&dir) {
        Ok(()) => Ok(dir),
        Err(e) => Err(format!("the folder {} cannot be made: {e}", dir.display())),
    }
}

/// A free port below those that the system gives to phones: while the server restarts, none of them takes it. The place
/// to begin at differs from server to server, because others look for a port at the same time.
pub fn free_port() -> u16 {
    const PORTS: u64 = 20_000;
    let start = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), "port");
    let ports = (0..PORTS).map(|n| 10_000 + (start.wrapping_add(n) % PORTS) as u16);
    ports
        .into_iter()
        .find(|&port| UdpSocket::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok())
        .expect("a free port")
}

/// Sends a signal to processes, or to groups (numbers below zero). The shell has this built in; not every machine has
/// it as a program.
pub fn kill_all(signal: &str, pids: &[String]) {
    let script = "signal=$1; shift; kill -s \"$signal\" -- \"$@\"";
    let _ = Command::new("sh").args(["-c", script, "sh", signal]).args(pids).stderr(Stdio::null()).status();
}

/// Removes a folder in which killed processes may still have a last file made or deleted.
pub(crate) fn remove(folder: &Path) {
    for _ in 0..50 {
        if fs::remove_dir_all(folder).is_ok() || !folder.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
