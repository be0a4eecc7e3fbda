//! The host's process-shared lock as a `lock_api` mutex, and the count of locks that this process holds.

use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use kamailio_shim as raw;

/// For the locks of structures that C code shares.
pub use lock_api::RawMutex;

/// `gen_lock_t`. Lives in shared memory, at the same address in every process.
#[repr(transparent)]
pub struct GenLock(UnsafeCell<raw::gen_lock_t>);

impl core::fmt::Debug for GenLock {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("GenLock")
    }
}

// SAFETY: a lock is made to be used by many; all access goes through the host's atomic operations.
unsafe impl Send for GenLock {}
// SAFETY: as above.
unsafe impl Sync for GenLock {}

impl GenLock {
    /// Makes the lock of a structure that C code shares.
    ///
    /// # Safety
    /// `lock` is a place in shared memory that nobody else uses yet.
    pub unsafe fn init(lock: *mut raw::gen_lock_t) -> bool {
        // SAFETY: the caller's promise.
        unsafe { raw::ksr_lock_init(lock) != 0 }
    }

    /// The lock of a structure that C code shares.
    ///
    /// # Safety
    /// `lock` was initialised and lives as long as `'a`.
    #[must_use]
    pub unsafe fn of<'a>(lock: *mut raw::gen_lock_t) -> &'a Self {
        // SAFETY: the same layout (transparent); the rest is the caller's promise.
        unsafe { &*lock.cast() }
    }
}

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

/// A gate that one process at a time goes through, for work that takes long (a database write). Not a [`GenLock`]: who
/// waits sleeps, waits no longer than it wants to, and a process that died inside does not keep it closed.
#[derive(Debug)]
pub struct Gate(*mut libc::pthread_mutex_t);

// SAFETY: the mutex is in shared memory and made for several processes.
unsafe impl Send for Gate {}
// SAFETY: as above.
unsafe impl Sync for Gate {}

impl Gate {
    /// Makes a gate in shared memory; before the fork.
    #[must_use]
    pub fn create() -> Option<Self> {
        // SAFETY: the block is large enough; all attributes are set before the mutex is used.
        unsafe {
            let mutex = raw::ksr_shm_malloc(size_of::<libc::pthread_mutex_t>()).cast::<libc::pthread_mutex_t>();
            if mutex.is_null() {
                return None;
            }
            let mut attributes: libc::pthread_mutexattr_t = core::mem::zeroed();
            let made = libc::pthread_mutexattr_init(&raw mut attributes) == 0
                && libc::pthread_mutexattr_setpshared(&raw mut attributes, libc::PTHREAD_PROCESS_SHARED) == 0
                && libc::pthread_mutexattr_setrobust(&raw mut attributes, libc::PTHREAD_MUTEX_ROBUST) == 0
                && libc::pthread_mutex_init(mutex, &raw const attributes) == 0;
            made.then_some(Self(mutex))
        }
    }

    /// Goes in, or gives up after `patience`.
    #[must_use]
    pub fn enter(&self, patience: Duration) -> Option<Inside<'_>> {
        // SAFETY: the mutex lives as long as the server.
        self.entered(unsafe { libc::pthread_mutex_trylock(self.0) }).or_else(|| {
            let until = from_now(patience);
            // SAFETY: as above; the time is on the clock that the call uses.
            self.entered(unsafe { libc::pthread_mutex_timedlock(self.0, &raw const until) })
        })
    }

    /// What an attempt came to. Who died inside left nothing half done: the database took all of it or nothing.
    fn entered(&self, status: c_int) -> Option<Inside<'_>> {
        if status == libc::EOWNERDEAD {
            // SAFETY: this process is the owner now.
            unsafe { libc::pthread_mutex_consistent(self.0) };
        }
        matches!(status, 0 | libc::EOWNERDEAD).then_some(Inside(self))
    }
}

/// A time on the clock of the wall.
fn from_now(patience: Duration) -> libc::timespec {
    let mut until = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the one structure.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut until) };
    let nanos = until.tv_nsec as u64 + u64::from(patience.subsec_nanos());
    until.tv_sec += patience.as_secs() as i64 + (nanos / 1_000_000_000) as i64;
    until.tv_nsec = (nanos % 1_000_000_000) as i64;
    until
}

/// Inside of a gate; leaves when dropped.
#[derive(Debug)]
pub struct Inside<'g>(&'g Gate);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        // SAFETY: this process is the owner.
        unsafe { libc::pthread_mutex_unlock(self.0.0) };
    }
}
