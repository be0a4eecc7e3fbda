//! How the database has done so far, for all processes together.

use crate::host::now;
use allocator_api2::boxed::Box;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use kamailio::shm::Pool;
use presence_core::time::Timestamp;
use std::sync::OnceLock;

/// What failed. Drivers do not say why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Failure {
    /// Something could not be read.
    Read = 1,
    /// Something could not be written.
    Write = 2,
    /// There was no turn to write within `db_wait_time`.
    Busy = 3,
}

impl Failure {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Read => "a read failed",
            Self::Write => "a write failed",
            Self::Busy => "no turn to write within db_wait_time",
        }
    }

    const fn of(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Read),
            2 => Some(Self::Write),
            3 => Some(Self::Busy),
            _ => None,
        }
    }
}

#[derive(Default)]
struct Health {
    failures: AtomicU64,
    last: AtomicU32,
    last_at: AtomicU32,
}

static HEALTH: OnceLock<Box<Health, Pool>> = OnceLock::new();

/// Makes room for it; once, in `mod_init`, after the pool.
pub fn create() -> bool {
    Box::try_new_in(Health::default(), Pool).is_ok_and(|health| HEALTH.set(health).is_ok())
}

/// Something failed.
pub fn failed(what: Failure) {
    let Some(health) = HEALTH.get() else { return };
    health.failures.fetch_add(1, Ordering::Relaxed);
    health.last.store(what as u32, Ordering::Relaxed);
    health.last_at.store(now().unix.0, Ordering::Relaxed);
}

/// Whether something has failed since the start.
pub fn has_failed() -> bool {
    HEALTH.get().is_some_and(|health| health.failures.load(Ordering::Relaxed) > 0)
}

/// How many reads and writes failed, and the last of them.
pub fn report() -> (u64, Option<(Failure, Timestamp)>) {
    let Some(health) = HEALTH.get() else { return (0, None) };
    let last = Failure::of(health.last.load(Ordering::Relaxed));
    (
        health.failures.load(Ordering::Relaxed),
        last.map(|last| (last, Timestamp(health.last_at.load(Ordering::Relaxed)))),
    )
}
