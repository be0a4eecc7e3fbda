//! Private memory of the host, for what C code frees. Everything else uses Rust's own heap, which the host's pool
//! (8 MB by default) does not limit.

use crate::str::{Str, none};
use core::ffi::{c_char, c_void};
use kamailio_shim as raw;

/// A copy of `bytes` in pkg memory, with a terminating 0 behind it (not counted); none when the pool is exhausted.
#[must_use]
pub fn copy(bytes: &[u8]) -> Option<Str> {
    let len = i32::try_from(bytes.len()).ok()?;
    // SAFETY: plain allocation; checked for null; the copy stays within len + 1 bytes.
    unsafe {
        let p = raw::ksr_pkg_malloc(bytes.len() + 1).cast::<u8>();
        if p.is_null() {
            return None;
        }
        core::ptr::copy_nonoverlapping(bytes.as_ptr(), p, bytes.len());
        *p.add(bytes.len()) = 0;
        Some(Str { s: p.cast::<c_char>(), len })
    }
}

/// A `str` structure itself in pkg memory, over `content` (which the receiver frees apart).
#[must_use]
pub fn boxed(content: Str) -> Option<*mut Str> {
    // SAFETY: plain allocation; checked for null; pkg memory is aligned for pointers.
    unsafe {
        let p = raw::ksr_pkg_malloc(size_of::<Str>()).cast::<Str>();
        if p.is_null() {
            return None;
        }
        p.write(content);
        Some(p)
    }
}

/// Frees what the host or another module allocated in pkg memory. Null is nothing.
///
/// # Safety
/// `p` is null or came from this process's pkg memory and is not used afterwards.
pub unsafe fn free<T>(p: *mut T) {
    if !p.is_null() {
        // SAFETY: the caller's promise.
        unsafe { raw::ksr_pkg_free(p.cast::<c_void>()) };
    }
}

/// Frees a `str*` whose text and structure were both allocated in pkg memory. Null is nothing.
///
/// # Safety
/// As [`free`], for the structure and for its text.
pub unsafe fn free_boxed(p: *mut Str) {
    if p.is_null() {
        return;
    }
    // SAFETY: the caller's promise.
    unsafe {
        free((*p).s);
        p.write(none());
        free(p);
    }
}
