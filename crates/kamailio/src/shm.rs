//! Shared memory, fallible only: exhaustion is an answer, never an abort.
//!
//! [`Pool`] takes memory from the host in pieces and gives blocks out of them by size class, with a lock of a few
//! instructions per class: the host's own allocator (one lock for everything, long searches, 56 bytes and more of
//! bookkeeping per block) is asked a hundred times less often. Pieces are kept for ever: a server that had a busy
//! hour has room for the next one.

use crate::lock::{GenLock, Mutex};
use allocator_api2::alloc::{AllocError, Allocator, Layout};
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use kamailio_shim as raw;

/// Block sizes are multiples of 16 bytes up to the first bound, of 128 up to the second; larger blocks come from the host
/// one by one.
const FINE: usize = 1 << 10;
const COARSE: usize = 1 << 11;
const COARSE_STEP: usize = 1 << 7;
const FINE_CLASSES: usize = FINE / ALIGN;
const CLASSES: usize = FINE_CLASSES + (COARSE - FINE) / COARSE_STEP;
/// Blocks of the pool are aligned so.
const ALIGN: usize = 16;
/// The first piece of a class, and the largest.
const FIRST_PIECE: usize = 1 << 10;
const LARGEST_PIECE: usize = 1 << 14;
/// Fresh memory from this size on is touched page by page before it is used, so that nobody meets a page fault while
/// holding a lock.
const PAGE: usize = 4096;

/// One size class.
struct Class {
    /// Blocks that were given back; each begins with the address of the next.
    free: *mut u8,
    /// What is left of the last piece.
    rest: *mut u8,
    end: *mut u8,
    next_piece: usize,
}

// SAFETY: the addresses are of shared memory, the same in every process; the mutex around it guards them.
unsafe impl Send for Class {}

struct State {
    classes: [Mutex<Class>; CLASSES],
    in_use: AtomicU64,
    held: AtomicU64,
}

static STATE: AtomicPtr<State> = AtomicPtr::new(null_mut());

/// The pool. A value without content: there is one pool per module, made by [`Pool::create`] before the fork.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pool;

impl Pool {
    /// Makes the pool; once, in `mod_init`. False when shared memory is exhausted.
    #[must_use]
    pub fn create() -> bool {
        // SAFETY: the block is large and aligned enough for State and initialised before anybody sees it.
        unsafe {
            let Some(state) = from_host(Layout::new::<State>()) else { return false };
            let state = state.as_ptr().cast::<State>();
            state.write(State {
                classes: [const {
                    Mutex::const_new(
                        <GenLock as lock_api::RawMutex>::INIT,
                        Class { free: null_mut(), rest: null_mut(), end: null_mut(), next_piece: FIRST_PIECE },
                    )
                }; CLASSES],
                in_use: AtomicU64::new(0),
                held: AtomicU64::new(size_of::<State>() as u64),
            });
            STATE.store(state, Ordering::Release);
        }
        true
    }

    /// Bytes in blocks that are given out.
    #[must_use]
    pub fn in_use() -> u64 {
        Self::state().map_or(0, |s| s.in_use.load(Ordering::Relaxed))
    }

    /// Bytes that were taken from the host, given out or not.
    #[must_use]
    pub fn held() -> u64 {
        Self::state().map_or(0, |s| s.held.load(Ordering::Relaxed))
    }

    fn state() -> Option<&'static State> {
        // SAFETY: null, or the state that `create` made, which stays.
        unsafe { STATE.load(Ordering::Acquire).as_ref() }
    }
}

fn class_of(layout: Layout) -> Option<usize> {
    match layout.size() {
        _ if layout.align() > ALIGN => None,
        size @ 1..=FINE => Some((size - 1) / ALIGN),
        size @ 1..=COARSE => Some(FINE_CLASSES + (size - 1 - FINE) / COARSE_STEP),
        _ => None,
    }
}

/// Bytes of the blocks of a class.
fn size_of_class(class: usize) -> usize {
    match class.checked_sub(FINE_CLASSES) {
        None => (class + 1) * ALIGN,
        Some(coarse) => FINE + (coarse + 1) * COARSE_STEP,
    }
}

/// A block straight from the host, aligned as asked. The host aligns to 8 only: for more, the address of its own block
/// is kept in the word before ours.
fn from_host(layout: Layout) -> Option<NonNull<u8>> {
    debug_assert_eq!(crate::lock::held(), 0, "nothing is allocated under a lock");
    // SAFETY: all arithmetic stays within the block that the host gave.
    unsafe {
        if layout.align() <= 8 {
            return touched(NonNull::new(raw::ksr_shm_malloc(layout.size()).cast::<u8>())?, layout.size());
        }
        let own = NonNull::new(raw::ksr_shm_malloc(layout.size() + layout.align() + 8).cast::<u8>())?;
        let address = (own.as_ptr() as usize + 8).next_multiple_of(layout.align());
        let block = own.as_ptr().add(address - own.as_ptr() as usize);
        block.cast::<*mut u8>().sub(1).write(own.as_ptr());
        touched(NonNull::new(block)?, layout.size())
    }
}

/// A block straight from the host, for C code that frees it; none when shared memory is exhausted.
#[must_use]
pub fn block(size: usize) -> Option<NonNull<u8>> {
    from_host(Layout::from_size_align(size, 8).ok()?)
}

/// Gives back what came from the host's shared memory. Null is nothing.
///
/// # Safety
/// `p` is null or a block of the host's shared memory that is not used afterwards.
pub unsafe fn free<T>(p: *mut T) {
    debug_assert_eq!(crate::lock::held(), 0, "nothing is freed under a lock");
    if !p.is_null() {
        // SAFETY: the caller's promise.
        unsafe { raw::ksr_shm_free(p.cast()) };
    }
}

fn touched(block: NonNull<u8>, size: usize) -> Option<NonNull<u8>> {
    if size >= PAGE {
        for at in (0..size).step_by(PAGE) {
            // SAFETY: within the block.
            unsafe { block.as_ptr().add(at).write_volatile(0) };
        }
    }
    Some(block)
}

/// Gives a block back to the host.
///
/// # Safety
/// `block` came from [`from_host`] with the same layout and is not used any more.
unsafe fn to_host(block: NonNull<u8>, layout: Layout) {
    debug_assert_eq!(crate::lock::held(), 0, "nothing is freed under a lock");
    // SAFETY: the caller's promise.
    unsafe {
        let own = if layout.align() <= 8 { block.as_ptr() } else { block.as_ptr().cast::<*mut u8>().sub(1).read() };
        raw::ksr_shm_free(own.cast());
    }
}

impl State {
    /// A block of a class; the piece that it is cut from is taken from the host without the lock.
    fn take(&self, class: usize) -> Option<NonNull<u8>> {
        let size = size_of_class(class);
        loop {
            let wanted = {
                let mut class = self.classes[class].lock();
                if let Some(block) = NonNull::new(class.free) {
                    // SAFETY: a free block begins with the address of the next one.
                    class.free = unsafe { block.as_ptr().cast::<*mut u8>().read() };
                    return Some(block);
                }
                if (class.end as usize) - (class.rest as usize) >= size {
                    let block = class.rest;
                    // SAFETY: within the piece.
                    class.rest = unsafe { block.add(size) };
                    return NonNull::new(block);
                }
                class.next_piece.max(size * 4)
            };
            let len = wanted / size * size;
            let piece = from_host(Layout::from_size_align(len, ALIGN).ok()?)?;
            self.held.fetch_add(len as u64, Ordering::Relaxed);
            let mut class = self.classes[class].lock();
            // Somebody may have brought a piece meanwhile: what is left of it stays unused, at most once per piece.
            class.rest = piece.as_ptr();
            // SAFETY: the end of the piece.
            class.end = unsafe { piece.as_ptr().add(len) };
            class.next_piece = (wanted * 2).min(LARGEST_PIECE);
        }
    }

    /// # Safety
    /// `block` is of this class and not used any more.
    unsafe fn give_back(&self, class: usize, block: NonNull<u8>) {
        let mut class = self.classes[class].lock();
        // SAFETY: the caller's promise; every block holds at least an address.
        unsafe { block.as_ptr().cast::<*mut u8>().write(class.free) };
        class.free = block.as_ptr();
    }
}

// SAFETY: blocks stay valid until they are given back, at the same address in every process; a block belongs to the
// class or the host by its layout alone, which is the same for both calls.
unsafe impl Allocator for Pool {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            let nowhere = NonNull::new(core::ptr::without_provenance_mut(layout.align())).ok_or(AllocError)?;
            return Ok(NonNull::slice_from_raw_parts(nowhere, 0));
        }
        let state = Self::state().ok_or(AllocError)?;
        let block = match class_of(layout) {
            Some(class) => state.take(class),
            None => from_host(layout).inspect(|_| {
                state.held.fetch_add(layout.size() as u64, Ordering::Relaxed);
            }),
        };
        let block = block.ok_or(AllocError)?;
        state.in_use.fetch_add(layout.size() as u64, Ordering::Relaxed);
        Ok(NonNull::slice_from_raw_parts(block, layout.size()))
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        let Some(state) = Self::state().filter(|_| layout.size() > 0) else { return };
        state.in_use.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe {
            match class_of(layout) {
                Some(class) => state.give_back(class, block),
                None => {
                    state.held.fetch_sub(layout.size() as u64, Ordering::Relaxed);
                    to_host(block, layout);
                }
            }
        }
    }
}
