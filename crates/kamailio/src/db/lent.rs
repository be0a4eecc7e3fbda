//! A connection whose table is in use already: this module's own after `use_table`, or another module's that lends it
//! for a call.

use super::{Assign, Bound, Column, Condition, Failed, check};
use crate::str::{Str, bytes};
use core::ptr::{NonNull, null, null_mut};
use kamailio_shim as raw;

/// A connection with a table in use.
#[derive(Debug)]
pub struct Lent<'c> {
    pub(super) functions: &'c raw::db_func_t,
    pub(super) handle: NonNull<raw::db1_con_t>,
}

impl<'c> Lent<'c> {
    /// The connection that another module passes; none if it passes none.
    ///
    /// # Safety
    /// `handle` is null or an open connection of this process, `functions` null or its driver's table, for `'c`.
    #[must_use]
    pub unsafe fn from_raw(handle: *mut raw::db1_con_t, functions: *mut raw::db_func_t) -> Option<Self> {
        // SAFETY: the caller's promise.
        Some(Self { functions: unsafe { functions.as_ref()? }, handle: NonNull::new(handle)? })
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
        let (mut of, mut set) = (Bound::conditions(of), Bound::assigns(set));
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
        let mut of = Bound::conditions(of);
        let keys = of.keys();
        let delete = self.functions.delete.ok_or(Failed)?;
        // SAFETY: as in `insert`.
        check(unsafe { delete(self.handle.as_ptr(), keys.as_ptr(), of.ops.as_ptr(), of.values.as_ptr(), of.count()) })
    }

    /// The columns of `known` that the table in use has. Asks for the rows that meet the conditions: let them be none.
    pub fn columns(&mut self, known: &[Column], of: &[Condition<'_>]) -> Result<Vec<Column>, Failed> {
        let mut of = Bound::conditions(of);
        let keys = of.keys();
        let mut result = null_mut();
        let query = self.functions.query.ok_or(Failed)?;
        // SAFETY: as in `insert`; no list of columns means all of them. The result is freed by `Answer`.
        let status = unsafe {
            query(
                self.handle.as_ptr(),
                keys.as_ptr(),
                of.ops.as_ptr(),
                of.values.as_ptr(),
                null(),
                of.count(),
                0,
                null_mut(),
                &raw mut result,
            )
        };
        let answer = Answer { of: self, result };
        check(status)?;
        let names = answer.names();
        Ok(known.iter().copied().filter(|k| names.iter().any(|n| n.eq_ignore_ascii_case(k.as_bytes()))).collect())
    }
}

/// The result of a query; freed when dropped.
struct Answer<'l, 'c> {
    of: &'l Lent<'c>,
    result: *mut raw::db1_res_t,
}

impl Answer<'_, '_> {
    fn names(&self) -> Vec<&[u8]> {
        // SAFETY: null, or a result that lists the names of `n` columns.
        unsafe {
            let Some(result) = self.result.as_ref() else { return Vec::new() };
            let (names, n) = (result.col.names, usize::try_from(result.col.n).unwrap_or(0));
            if names.is_null() {
                return Vec::new();
            }
            (0..n).filter_map(|i| (*names.add(i)).cast::<Str>().as_ref()).map(|name| bytes(name)).collect()
        }
    }
}

impl Drop for Answer<'_, '_> {
    fn drop(&mut self) {
        if let (false, Some(free)) = (self.result.is_null(), self.of.functions.free_result) {
            // SAFETY: a result of this connection, freed once.
            unsafe { free(self.of.handle.as_ptr(), self.result) };
        }
    }
}
