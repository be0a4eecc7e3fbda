//! The host's process-shared lock as a `lock_api` mutex, and the count of locks that this process holds.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use kamailio_shim as raw;
use std::time::Instant;

/// `gen_lock_t`. Lives in shared memory, at the same address in every process.
#[repr(transparent)]
pub struct GenLock(UnsafeCell<raw::gen_lock_t>);

// SAFETY: a lock is made to be used by many; all access goes through the host's atomic operations.
unsafe impl Send for GenLock {}
// SAFETY: as above.
unsafe impl Sync for GenLock {}

/// A value in shared memory behind the host's lock.
pub type Mutex<T> = lock_api::Mutex<GenLock, T>;

/// Locks that this process holds now. At most one (rule L1), and while it is one: no call out, no allocation (L2).
static HELD: AtomicU32 = AtomicU32::new(0);

/// How many locks this process holds: 0 wherever the module calls out of itself.
#[must_use]
pub fn held() -> u32 {
    HELD.load(Ordering::Relaxed)
}

// SAFETY: `lock` returns only when the host granted the lock, `try_lock` true likewise; `unlock` is called by the
// owner of a guard only.
unsafe impl lock_api::RawMutex for GenLock {
    // An all-zero lock is a free one, in every lock implementation that the host compiles on Linux.
    #[allow(clippy::declare_interior_mutable_const)]
    // SAFETY: gen_lock_t is an integer or an array of integers.
    const INIT: Self = GenLock(UnsafeCell::new(unsafe { core::mem::zeroed() }));
    type GuardMarker = lock_api::GuardNoSend;

    fn lock(&self) {
        debug_assert_eq!(held(), 0, "one lock at a time");
        // SAFETY: the lock was initialised by INIT and lives as long as the value that it guards.
        unsafe { raw::ksr_lock_get(self.0.get()) };
        HELD.fetch_add(1, Ordering::Relaxed);
    }

    fn try_lock(&self) -> bool {
        // SAFETY: as in `lock`.
        let taken = unsafe { raw::ksr_lock_try(self.0.get()) == 0 };
        if taken {
            HELD.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    unsafe fn unlock(&self) {
        HELD.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: the caller owns the lock.
        unsafe { raw::ksr_lock_release(self.0.get()) };
    }
}

/// Takes the lock within `patience`, or gives up: what the way down uses, where a dead worker may hold it for ever.
#[must_use]
pub fn lock_within<T>(mutex: &Mutex<T>, patience: Duration) -> Option<lock_api::MutexGuard<'_, GenLock, T>> {
    let end = Instant::now() + patience;
    loop {
        if let Some(guard) = mutex.try_lock() {
            return Some(guard);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
