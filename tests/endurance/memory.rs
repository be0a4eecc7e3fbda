//! What a server holds, and whether it holds more and more.

use loadgen::cpu;
use std::fmt;
use std::thread::sleep;
use std::time::Duration;
use testkit::Kamailio;

/// How often, and with what pause, the server is looked at until two looks agree: tm frees ended transactions later.
const LOOKS: u32 = 40;
const PAUSE: Duration = Duration::from_millis(250);
/// What each operation may leave behind, in bytes, for the median to be called none: far less than any record.
const LIMIT: f64 = 0.5;
/// The same for the heap and a whole round, because it is counted in pages, and SQLite's caches fill slowly.
const HEAP_LIMIT_PER_ROUND: f64 = 160.0 * 1024.0;

/// Bytes held between two rounds, when no publication and no dialog is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// Shared memory.
    pub shm: i64,
    /// Kamailio's private memory, of all processes.
    pub pkg: i64,
    /// Private memory that Kamailio knows nothing of: Rust's heap, SQLite's caches.
    pub heap: i64,
}

impl Held {
    /// Looks until shared memory is at rest.
    pub fn at_rest(server: &Kamailio) -> Self {
        let mut last = server.shm_used();
        for _ in 0..LOOKS {
            sleep(PAUSE);
            let shm = server.shm_used();
            if shm == last {
                break;
            }
            last = shm;
        }
        Self { shm: last, ..Self::now(server) }
    }

    /// As it is.
    pub fn now(server: &Kamailio) -> Self {
        Self {
            shm: server.shm_used(),
            pkg: server.pkg_used_by_each().into_values().sum(),
            heap: cpu::private_memory(server.pid()),
        }
    }
}

/// Bytes that each operation leaves behind.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Growth {
    pub shm: f64,
    pub pkg: f64,
    pub heap: f64,
}

impl Growth {
    /// Over rounds of so many operations each.
    pub fn over(rounds: &[Held], operations: u32) -> Self {
        let of = |part: fn(&Held) -> i64| slope(&rounds.iter().map(part).collect::<Vec<_>>()) / f64::from(operations);
        Self { shm: of(|held| held.shm), pkg: of(|held| held.pkg), heap: of(|held| held.heap) }
    }

    /// What is not given back, over rounds of so many operations each.
    pub fn complaints(&self, operations: u32) -> Vec<String> {
        let heap = HEAP_LIMIT_PER_ROUND / f64::from(operations);
        [("shm", self.shm, LIMIT), ("pkg", self.pkg, LIMIT), ("heap", self.heap, heap)]
            .into_iter()
            .filter(|(_, bytes, limit)| bytes >= limit)
            .map(|(name, bytes, _)| format!("{bytes:.2} bytes of {name} per operation are not given back"))
            .collect()
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8.3}{:>8.3}{:>8.2}", self.shm, self.pkg, self.heap)
    }
}

/// The median of the slopes between any two rounds (Theil-Sen), or of those from one round to the next, whichever is
/// less: a pool that grows once does not count, whenever it does; a leak does.
pub fn slope(values: &[i64]) -> f64 {
    let mut slopes = Vec::new();
    for (later, value) in values.iter().enumerate() {
        for (earlier, before) in values[..later].iter().enumerate() {
            slopes.push((value - before) as f64 / (later - earlier) as f64);
        }
    }
    let steps = values.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
    let (any, next) = (median(slopes), median(steps));
    if any.abs() < next.abs() { any } else { next }
}

fn median(mut slopes: Vec<f64>) -> f64 {
    assert!(!slopes.is_empty(), "a slope needs two rounds");
    slopes.sort_by(f64::total_cmp);
    slopes[(slopes.len() - 1) / 2]
}

#[test]
fn a_step_is_no_slope_and_a_leak_is_one() {
    assert!(slope(&[100, 500, 500, 500, 500, 500]).abs() < 1e-9);
    assert!(slope(&[100, 100, 100, 500, 500, 500]).abs() < 1e-9);
    assert!(slope(&[100, 104, 99, 101, 100]).abs() < 1.0);
    assert!((slope(&[100, 110, 120, 130]) - 10.0).abs() < 1e-9);
    let leak = Growth::over(&[Held { shm: 0, pkg: 0, heap: 0 }, Held { shm: 80, pkg: 0, heap: 0 }], 10);
    assert!((leak.shm - 8.0).abs() < 1e-9);
}
