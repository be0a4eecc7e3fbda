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

/// Blocks of the host are this far apart at most, beside their sizes.
const OVERHEAD: usize = 512;
/// How many small blocks are tried for one that comes to lie right behind a hole.
const TRIES: usize = 64;

type Malloc = unsafe extern "C" fn(usize) -> *mut c_void;
type Free = unsafe extern "C" fn(*mut c_void);

/// Leaves the holes, if `qm` is what the host runs with; in the first process, before it forks.
pub fn leave_holes() {
    // SAFETY: the host's own pairs of functions.
    unsafe {
        if raw::ksr_pkg_is_qm() != 0 {
            leave(&PRIVATE, raw::ksr_pkg_malloc, raw::ksr_pkg_free);
        }
        if raw::ksr_shm_is_qm() != 0 {
            leave(&SHARED, raw::ksr_shm_malloc, raw::ksr_shm_free);
        }
    }
}

/// Allocates all blocks before the first is freed; a small block behind each stays for ever, or the holes would grow
/// together. (Shrinking a block in place would do as well, but `qm` then goes on counting what it gave up as used.)
///
/// # Safety
/// The two functions belong to one heap.
unsafe fn leave(holes: &[Holes], malloc: Malloc, free: Free) {
    let sizes = holes.iter().flat_map(|h| {
        let steps = (h.step..=h.largest).step_by(h.step);
        steps.flat_map(|size| core::iter::repeat_n(size, h.each))
    });
    let mut to_free = Vec::new();
    for size in sizes {
        // SAFETY: plain allocation; addresses are compared, not followed.
        unsafe {
            let hole = malloc(size);
            to_free.push(hole);
            for _ in 0..TRIES {
                let small = malloc(1);
                if (small as usize).wrapping_sub(hole as usize) < size + OVERHEAD {
                    break;
                }
                // It fills a gap elsewhere.
                to_free.push(small);
            }
        }
    }
    for block in to_free.into_iter().filter(|block| !block.is_null()) {
        // SAFETY: allocated above, used by nobody.
        unsafe { free(block) };
    }
}
