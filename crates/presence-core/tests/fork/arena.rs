//! Memory that forked processes share: an anonymous mapping with an allocator and a lock for several processes.

use allocator_api2::alloc::{AllocError, Allocator, Layout};
use core::cell::Cell;
use core::hint::spin_loop;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

thread_local! {
    /// Locks of the store that this process holds.
    static HELD: Cell<u32> = const { Cell::new(0) };
}

/// A mapping of zeroes that all children share, at the same address in each. It stays until the last one ends.
fn map(len: usize) -> NonNull<u8> {
    // SAFETY: a fresh mapping, no file, any address.
    let address = unsafe {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        libc::mmap(core::ptr::null_mut(), len, access, kind | libc::MAP_NORESERVE, -1, 0)
    };
    assert_ne!(address, libc::MAP_FAILED, "a mapping of {len} bytes");
    NonNull::new(address.cast()).expect("an address")
}

/// A value in a mapping of its own.
///
/// # Safety
/// Zeroes are a valid `T`, and `T` may be used by several processes at once (atomics and arrays of them).
pub unsafe fn shared<T>() -> &'static T {
    assert!(align_of::<T>() <= 4096);
    // SAFETY: large and aligned enough, zeroed, never unmapped; the caller vouches for the type.
    unsafe { map(size_of::<T>()).cast::<T>().as_ref() }
}

/// A lock that waits by spinning and, soon, by giving the processor away.
#[derive(Debug)]
pub struct Spin(AtomicU32);

impl Spin {
    pub fn lock(&self) {
        let mut tries = 0;
        while !self.try_lock() {
            tries += 1;
            if tries % 64 == 0 {
                std::thread::yield_now();
            }
            spin_loop();
        }
    }
    pub fn try_lock(&self) -> bool {
        self.0.compare_exchange(0, 1, Acquire, Relaxed).is_ok()
    }
    pub fn unlock(&self) {
        self.0.store(0, Release);
    }
}

/// The lock of the store's parts: refuses a second one in the same process, and tells the arena.
#[derive(Debug)]
pub struct SharedLock(Spin);

// SAFETY: an atomic compare-and-swap lets one in at a time, also between processes, as the word is in shared memory.
unsafe impl lock_api::RawMutex for SharedLock {
    #[allow(clippy::declare_interior_mutable_const)]
    const INIT: Self = Self(Spin(AtomicU32::new(0)));
    type GuardMarker = lock_api::GuardNoSend;

    fn lock(&self) {
        assert_eq!(HELD.get(), 0, "one lock at a time");
        self.0.lock();
        HELD.set(1);
    }
    fn try_lock(&self) -> bool {
        assert_eq!(HELD.get(), 0, "one lock at a time");
        let taken = self.0.try_lock();
        HELD.set(u32::from(taken));
        taken
    }
    unsafe fn unlock(&self) {
        HELD.set(0);
        self.0.unlock();
    }
}

/// Whether this process holds a lock of the store.
pub fn is_locked() -> bool {
    HELD.get() > 0
}

const ROOM: usize = 256 << 20;
const CLASSES: usize = 28;
/// What is given back is filled with this, so that whoever goes on reading it is found out.
const FREED: u8 = 0xDD;

struct Head {
    lock: Spin,
    /// Blocks that were given back, by the power of two of their size; each begins with the address of the next.
    free: [AtomicUsize; CLASSES],
    next: AtomicUsize,
    end: AtomicUsize,
    in_use: AtomicUsize,
    limit: AtomicUsize,
    refused: AtomicU64,
}

/// The allocator. Refuses what would bring the bytes in use above a limit.
#[derive(Clone, Copy)]
pub struct Arena(&'static Head);

impl core::fmt::Debug for Arena {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Arena").field("in_use", &self.0.in_use).finish_non_exhaustive()
    }
}

impl Arena {
    pub fn new() -> Self {
        // SAFETY: nothing but atomics, for which zeroes are valid.
        let head: &'static Head = unsafe { shared() };
        let start = map(ROOM).as_ptr() as usize;
        head.next.store(start, Relaxed);
        head.end.store(start + ROOM, Relaxed);
        head.limit.store(ROOM, Relaxed);
        Self(head)
    }

    /// Bytes in blocks that are given out.
    pub fn in_use(&self) -> u64 {
        self.0.in_use.load(Relaxed) as u64
    }

    /// How many allocations were refused.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Relaxed)
    }

    /// From now on so many bytes more can be had.
    pub fn leave(&self, bytes: usize) {
        self.0.limit.store(self.0.in_use.load(Relaxed) + bytes, Relaxed);
    }

    fn take(&self, size: usize, class: usize) -> Option<NonNull<u8>> {
        let head = self.0;
        if head.in_use.load(Relaxed) + size > head.limit.load(Relaxed) {
            return None;
        }
        let first = head.free.get(class)?.load(Relaxed);
        let block = if first != 0 {
            // SAFETY: a free block of this class, which begins with the address of the next; the lock is held.
            let next = unsafe { core::ptr::with_exposed_provenance::<usize>(first).read() };
            head.free[class].store(next, Relaxed);
            first
        } else {
            let block = head.next.load(Relaxed).next_multiple_of((1 << class).min(4096));
            if block + (1 << class) > head.end.load(Relaxed) {
                return None;
            }
            head.next.store(block + (1 << class), Relaxed);
            block
        };
        head.in_use.fetch_add(size, Relaxed);
        NonNull::new(core::ptr::with_exposed_provenance_mut(block))
    }
}

fn class_of(layout: Layout) -> usize {
    layout.size().max(layout.align()).max(16).next_power_of_two().trailing_zeros() as usize
}

// SAFETY: blocks are disjoint, aligned to their power of two (at most a page), stay until they are given back, and are
// at the same address in every process.
unsafe impl Allocator for Arena {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        assert!(!is_locked(), "nothing is allocated while a lock is held");
        assert!(layout.align() <= 4096);
        if layout.size() == 0 {
            let nowhere = NonNull::new(core::ptr::without_provenance_mut(layout.align())).ok_or(AllocError)?;
            return Ok(NonNull::slice_from_raw_parts(nowhere, 0));
        }
        self.0.lock.lock();
        let block = self.take(layout.size(), class_of(layout));
        self.0.lock.unlock();
        if block.is_none() {
            self.0.refused.fetch_add(1, Relaxed);
        }
        Ok(NonNull::slice_from_raw_parts(block.ok_or(AllocError)?, layout.size()))
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        assert!(!is_locked(), "nothing is freed while a lock is held");
        if layout.size() == 0 {
            return;
        }
        let list = &self.0.free[class_of(layout)];
        // SAFETY: the block is the caller's to give back, and holds at least an address.
        unsafe {
            block.as_ptr().write_bytes(FREED, layout.size());
            self.0.lock.lock();
            block.as_ptr().cast::<usize>().write(list.load(Relaxed));
        }
        list.store(block.as_ptr().expose_provenance(), Relaxed);
        self.0.in_use.fetch_sub(layout.size(), Relaxed);
        self.0.lock.unlock();
    }
}
