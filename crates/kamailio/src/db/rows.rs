//! What a query gives.

use super::Connection;
use crate::str::bytes;
use core::ffi::CStr;
use core::marker::PhantomData;
use kamailio_shim as raw;

/// The rows of a query; freed when dropped.
#[derive(Debug)]
pub struct Rows<'c> {
    pub(super) connection: &'c mut Connection,
    pub(super) result: *mut raw::db1_res_t,
}

impl Rows<'_> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        // SAFETY: null or a result of this connection.
        unsafe { self.result.as_ref() }.map_or(0, |r| usize::try_from(r.n).unwrap_or(0))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One row.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Row<'_>> {
        if index >= self.len() {
            return None;
        }
        // SAFETY: the result has `n` rows; they live until it is freed.
        unsafe {
            let row = &*(*self.result).rows.add(index);
            Some(Row { values: row.values, count: usize::try_from(row.n).unwrap_or(0), life: PhantomData })
        }
    }

    /// All rows.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.len()).filter_map(|i| self.get(i))
    }
}

impl Drop for Rows<'_> {
    fn drop(&mut self) {
        if self.result.is_null() {
            return;
        }
        if let Some(free) = self.connection.functions().free_result {
            // SAFETY: a result of this connection, freed once.
            unsafe { free(self.connection.handle.as_ptr(), self.result) };
        }
    }
}

/// One row of a result.
#[derive(Debug, Clone, Copy)]
pub struct Row<'r> {
    values: *mut raw::db_val_t,
    count: usize,
    life: PhantomData<&'r ()>,
}

impl<'r> Row<'r> {
    fn value(&self, column: usize) -> Option<&'r raw::db_val_t> {
        // SAFETY: the row has `count` values that live as long as the result.
        (column < self.count).then(|| unsafe { &*self.values.add(column) }).filter(|v| v.nul == 0)
    }

    /// An integer column; 0 for NULL or what is no number.
    #[must_use]
    pub fn int(&self, column: usize) -> i32 {
        let Some(v) = self.value(column) else { return 0 };
        // SAFETY: the member that the type says.
        unsafe {
            match v.type_ {
                raw::DB1_INT => v.val.int_val,
                raw::DB1_UINT => v.val.uint_val as i32,
                raw::DB1_BIGINT => v.val.ll_val as i32,
                raw::DB1_UBIGINT => v.val.ull_val as i32,
                raw::DB1_BITMAP => v.val.bitmap_val as i32,
                raw::DB1_STRING | raw::DB1_STR | raw::DB1_BLOB => {
                    core::str::from_utf8(self.text(column)).ok().and_then(|t| t.parse().ok()).unwrap_or(0)
                }
                _ => 0,
            }
        }
    }

    /// A text or blob column; empty for NULL.
    #[must_use]
    pub fn text(&self, column: usize) -> &'r [u8] {
        let Some(v) = self.value(column) else { return &[] };
        // SAFETY: the member that the type says; texts live as long as the result.
        unsafe {
            match v.type_ {
                raw::DB1_STRING if !v.val.string_val.is_null() => CStr::from_ptr(v.val.string_val).to_bytes(),
                raw::DB1_STR => bytes(&v.val.str_val),
                raw::DB1_BLOB => bytes(&v.val.blob_val),
                _ => &[],
            }
        }
    }
}
