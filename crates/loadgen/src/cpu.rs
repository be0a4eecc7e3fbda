//! What the processes of a server have used.

use std::fs;
use std::time::Duration;

/// Clock ticks of `/proc/<pid>/stat`.
const TICKS_PER_SECOND: u64 = 100;

/// The processes of a server: the main one and its children.
#[must_use]
pub fn processes(main: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{main}/task/{main}/children")).unwrap_or_default();
    std::iter::once(main).chain(children.split_whitespace().filter_map(|pid| pid.parse().ok())).collect()
}

/// CPU time of all processes of a server so far.
#[must_use]
pub fn used(main: u32) -> Duration {
    processes(main).into_iter().filter_map(|pid| scheduled(pid).or_else(|| ticked(pid))).sum()
}

/// In nanoseconds, from the scheduler, which counts each thread for itself.
fn scheduled(pid: u32) -> Option<Duration> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    let nanos: u64 = threads
        .filter_map(|thread| {
            fs::read_to_string(thread.path().join("schedstat")).ok()?.split(' ').next()?.parse::<u64>().ok()
        })
        .sum();
    (nanos > 0).then(|| Duration::from_nanos(nanos))
}

/// In clock ticks: where the kernel has no scheduler statistics.
fn ticked(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// Private memory that is not a file's, of all processes of a server, in bytes.
#[must_use]
pub fn private_memory(main: u32) -> i64 {
    processes(main).into_iter().filter_map(anonymous).sum()
}

fn anonymous(pid: u32) -> Option<i64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kilobytes: i64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_tell_of_this_process() {
        let own = std::process::id();
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_millis(60) {
            std::hint::black_box(processes(own));
        }
        assert!(used(own) >= Duration::from_millis(10));
        assert!(ticked(own).expect("a process has a stat file") >= Duration::from_millis(10));
        assert!(private_memory(own) > 0);
    }
}
