//! Holes in the host's two heaps, so that its default allocator finds room at once.
//!
//! `qm` keeps free blocks in lists by size, 16 bytes apart, and a fresh heap is one single block behind a thousand empty
//! lists: every small allocation of the core, of tm and of the parsers walks over all of them (measured: 80 % of the
//! instructions of a PUBLISH). A module that keeps its records in the host's heap litters these lists by and by; one
//! that does not has to leave the holes on purpose.

use core::ffi::c_void;
use kamailio_shim as raw;

/// Sizes of holes: from `step` to `largest`, and how many of each.
#[derive(Clone, Copy, Debug)]
struct Holes {
    step: usize,
    largest: usize,
    each: usize,
}

/// For what lives as long as a message is processed: 0.3 MB of each process.
const PRIVATE: [Holes; 2] = [Holes { step: 16, largest: 1024, each: 3 }, Holes { step: 128, largest: 8192, each: 1 }];
/// For transactions: 2 MB.
const SHARED: [Holes; 1] = [Holes { step: 64, largest: 8192, each: 4 }];

/// What `qm` needs beside a block, and the rest of the block itself.
const OVERHEAD: usize = 128;

/// Leaves the holes, if `qm` is what the host runs with; in the first process, before it forks.
pub fn leave_holes() {
    // SAFETY: the host's own pairs of functions.
    unsafe {
        if raw::ksr_pkg_is_qm() != 0 {
            PRIVATE.iter().for_each(|holes| holes.leave(raw::ksr_pkg_malloc, raw::ksr_pkg_realloc));
        }
        if raw::ksr_shm_is_qm() != 0 {
            SHARED.iter().for_each(|holes| holes.leave(raw::ksr_shm_malloc, raw::ksr_shm_realloc));
        }
    }
}

impl Holes {
    /// A block shrinks to almost nothing where it is: what it leaves free cannot grow together with the next hole,
    /// and is too small for the block that comes next.
    ///
    /// # Safety
    /// The two functions belong to one heap.
    unsafe fn leave(
        self,
        malloc: unsafe extern "C" fn(usize) -> *mut c_void,
        realloc: unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void,
    ) {
        let sizes = (self.step..=self.largest).step_by(self.step);
        for size in sizes.flat_map(|size| core::iter::repeat_n(size, self.each)) {
            // SAFETY: plain allocation; what remains of the block stays for ever.
            unsafe {
                let block = malloc(size + OVERHEAD);
                if block.is_null() {
                    return;
                }
                realloc(block, 1);
            }
        }
    }
}
