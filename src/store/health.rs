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

/// How long after a wait in vain the database counts as one that hangs, in milliseconds.
const HANGS: u64 = 4000;

#[derive(Default)]
struct Health {
    failures: AtomicU64,
    last: AtomicU32,
    last_at: AtomicU32,
    /// When somebody waited in vain, in milliseconds of the steady clock.
    hung_at: AtomicU64,
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

/// Somebody's patience was over.
pub fn hangs() {
    if let Some(health) = HEALTH.get() {
        health.hung_at.store(now().steady.0, Ordering::Relaxed);
    }
}

/// Whether somebody has just waited in vain. Who can do without the database then does, instead of waiting too.
pub fn is_hanging() -> bool {
    let hung_at = HEALTH.get().map_or(0, |health| health.hung_at.load(Ordering::Relaxed));
    hung_at > 0 && now().steady.0.saturating_sub(hung_at) < HANGS
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
