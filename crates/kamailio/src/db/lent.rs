//! A connection whose table is in use already: this module's own after `use_table`, or another module's that lends it
//! for a call.

use super::{Assign, Bound, Condition, Dialect, Failed, check};
use crate::str::bytes;
use core::ptr::NonNull;
use kamailio_shim as raw;

/// A connection with a table in use.
#[derive(Debug)]
pub struct Lent<'c> {
    pub(super) functions: &'c raw::db_func_t,
    pub(super) handle: NonNull<raw::db1_con_t>,
    /// How its database compares texts; not known of another module's.
    pub(super) dialect: Dialect,
}

impl<'c> Lent<'c> {
    /// The connection that another module passes; none if it passes none.
    ///
    /// # Safety
    /// `handle` is null or an open connection of this process, `functions` null or its driver's table, for `'c`.
    #[must_use]
    pub unsafe fn from_raw(handle: *mut raw::db1_con_t, functions: *mut raw::db_func_t) -> Option<Self> {
        // SAFETY: the caller's promise.
        Some(Self { functions: unsafe { functions.as_ref()? }, handle: NonNull::new(handle)?, dialect: Dialect::Plain })
    }

    /// Inserts one row.
    pub fn insert(&mut self, row: &[Assign<'_>]) -> Result<(), Failed> {
        let mut bound = Bound::assigns(row);
        let keys = bound.keys();
        let insert = self.functions.insert.ok_or(Failed)?;
        // SAFETY: arrays of `count` entries that live through the call.
        check(unsafe { insert(self.handle.as_ptr(), keys.as_ptr(), bound.values.as_ptr(), bound.count()) })
    }

    /// Updates the rows that meet all conditions.
    pub fn update(&mut self, of: &[Condition<'_>], set: &[Assign<'_>]) -> Result<(), Failed> {
        let (mut of, mut set) = (Bound::conditions(of, self.dialect), Bound::assigns(set));
        let (of_keys, set_keys) = (of.keys(), set.keys());
        let update = self.functions.update.ok_or(Failed)?;
        // SAFETY: as in `insert`.
        check(unsafe {
            update(
                self.handle.as_ptr(),
                of_keys.as_ptr(),
                of.ops.as_ptr(),
                of.values.as_ptr(),
                set_keys.as_ptr(),
                set.values.as_ptr(),
                of.count(),
                set.count(),
            )
        })
    }

    /// Deletes the rows that meet all conditions; with none, all rows.
    pub fn delete(&mut self, of: &[Condition<'_>]) -> Result<(), Failed> {
        let mut of = Bound::conditions(of, self.dialect);
        let keys = of.keys();
        let delete = self.functions.delete.ok_or(Failed)?;
        // SAFETY: as in `insert`.
        check(unsafe { delete(self.handle.as_ptr(), keys.as_ptr(), of.ops.as_ptr(), of.values.as_ptr(), of.count()) })
    }

    /// The name of the table in use.
    #[must_use]
    pub fn table(&self) -> &'c [u8] {
        // SAFETY: an open connection; the host keeps the pointer that `use_table` was given.
        unsafe { self.handle.as_ref().table.as_ref() }.map_or(&[], |name| unsafe { bytes(name) })
    }
}
