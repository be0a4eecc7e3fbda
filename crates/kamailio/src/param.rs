//! `modparam`: cells that the host writes while it reads kamailio.cfg, before anything else runs.

use crate::str::{Str, bytes, none};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicI32, Ordering};

/// An integer parameter. The host writes it through a plain pointer before the first process is forked.
#[derive(Debug)]
pub struct Int(AtomicI32);

impl Int {
    /// A parameter with its default.
    #[must_use]
    pub const fn new(default: i32) -> Self {
        Self(AtomicI32::new(default))
    }

    /// The value from kamailio.cfg, or the default.
    #[must_use]
    pub fn get(&self) -> i32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Where the host writes the value.
    #[must_use]
    pub const fn cell(&self) -> *mut core::ffi::c_void {
        self.0.as_ptr().cast()
    }
}

/// A string parameter.
#[derive(Debug)]
pub struct Text {
    cell: UnsafeCell<Str>,
    default: Option<&'static str>,
}

// SAFETY: written by the host only while kamailio.cfg is read, by the one process that there is then (rule H2).
unsafe impl Sync for Text {}

impl Text {
    /// A parameter with its default.
    #[must_use]
    pub const fn new(default: Option<&'static str>) -> Self {
        Self { cell: UnsafeCell::new(none()), default }
    }

    /// The value from kamailio.cfg, or the default. An empty string counts as not set.
    #[must_use]
    pub fn get(&self) -> Option<&'static [u8]> {
        // SAFETY: the host allocated the text for the life of the process and does not write it any more (H2).
        let set = unsafe { bytes(&*self.cell.get()) };
        if set.is_empty() { self.default.map(str::as_bytes) } else { Some(set) }
    }

    /// Where the host writes the value.
    #[must_use]
    pub const fn cell(&self) -> *mut core::ffi::c_void {
        self.cell.get().cast()
    }
}
