//! The host's database API (srdb1): tables, typed columns, conditions.
//!
//! Values of a request travel as bound values or through the driver's own escaping, never in the text of a statement:
//! [`Connection::command`] takes constant text only.

mod lent;

pub use lent::Lent;

use crate::str::{Str, borrow, bytes, none};
use core::ffi::{CStr, c_char, c_int};
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::{NonNull, null, null_mut};
use kamailio_shim as raw;

/// A value to write or to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// An integer column.
    Int(i32),
    /// A text column.
    Text(&'a [u8]),
    /// A blob column.
    Blob(&'a [u8]),
    /// NULL. To write, not to compare with: nothing equals it.
    Null,
}

impl<'a> Value<'a> {
    /// A text, or NULL in place of an empty one.
    #[must_use]
    pub const fn text_or_null(text: &'a [u8]) -> Self {
        if text.is_empty() { Self::Null } else { Self::Text(text) }
    }
}

/// A column's name.
pub type Column = &'static str;

/// How a column is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Op {
    Eq,
    Ne,
    Lt,
    Gt,
    Le,
    Ge,
}

impl Op {
    const fn text(self) -> &'static CStr {
        match self {
            Self::Eq => c"=",
            Self::Ne => c"!=",
            Self::Lt => c"<",
            Self::Gt => c">",
            Self::Le => c"<=",
            Self::Ge => c">=",
        }
    }
}

/// A condition on one column; several are combined with AND.
#[derive(Clone, Copy, Debug)]
pub struct Condition<'a>(pub Column, pub Op, pub Value<'a>);

/// An assignment to one column.
#[derive(Clone, Copy, Debug)]
pub struct Assign<'a>(pub Column, pub Value<'a>);

/// The driver failed. It has logged why; most drivers say no more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed;

/// A driver, bound by URL.
#[derive(Debug)]
pub struct Driver {
    functions: raw::db_func_t,
    url: Vec<u8>,
}

// SAFETY: a table of function pointers and a text, only read after the fork.
unsafe impl Send for Driver {}
// SAFETY: as above.
unsafe impl Sync for Driver {}

impl Driver {
    /// Binds to the driver that the URL names; none if its module is not loaded or lacks query, insert, update, delete.
    #[must_use]
    pub fn bind(url: &[u8]) -> Option<Self> {
        let mut functions = MaybeUninit::<raw::db_func_t>::zeroed();
        let mut text = url.to_vec();
        text.push(0);
        let s = borrow(&text[..url.len()]);
        let needed = (raw::DB_CAP_QUERY | raw::DB_CAP_INSERT | raw::DB_CAP_UPDATE | raw::DB_CAP_DELETE) as c_int;
        // SAFETY: the URL is terminated; the host fills the table or fails.
        unsafe {
            if raw::db_bind_mod(&raw const s, functions.as_mut_ptr()) != 0 {
                return None;
            }
            let functions = functions.assume_init();
            (raw::ksr_db_has_caps(&raw const functions, needed) != 0).then_some(Self { functions, url: text })
        }
    }

    fn url(&self) -> raw::str_ {
        borrow(&self.url[..self.url.len() - 1])
    }

    /// The name of the driver: what stands before the colon of the URL.
    #[must_use]
    pub fn name(&self) -> &str {
        let end = self.url.iter().position(|&b| b == b':').unwrap_or(0);
        core::str::from_utf8(&self.url[..end]).unwrap_or_default()
    }

    /// Opens a connection of this process. Pooled: other modules of the process with the same URL share it.
    #[must_use]
    pub fn connect(&'static self) -> Option<Connection> {
        let init = self.functions.init?;
        let url = self.url();
        // SAFETY: the URL outlives the call; the handle is closed by `Drop`.
        let handle = unsafe { init(&raw const url) };
        self.opened(handle)
    }

    /// Opens a connection that no other module of this process shares: their transactions are not ours.
    #[must_use]
    pub fn connect_alone(&'static self) -> Option<Connection> {
        // db_sqlite pools by URL and has no other way: a host in the URL, which it does not use, makes it another one.
        if let Some(path) = self.url[..self.url.len() - 1].strip_prefix(b"sqlite:///") {
            let own = [b"sqlite://presence/", path].concat();
            let own = borrow(&own);
            let init = self.functions.init?;
            // SAFETY: the URL outlives the call; the handle is closed by `Drop`.
            let handle = unsafe { init(&raw const own) };
            return self.opened(handle);
        }
        let Some(init) = self.functions.init2 else { return self.connect() };
        let url = self.url();
        // SAFETY: as in `connect`.
        let handle = unsafe { init(&raw const url, raw::DB_POOLING_NONE) };
        self.opened(handle)
    }

    fn opened(&'static self, handle: *mut raw::db1_con_t) -> Option<Connection> {
        Some(Connection { driver: self, handle: NonNull::new(handle)?, table: Box::new(none()) })
    }

    /// Whether the driver has a REPLACE statement.
    #[must_use]
    pub fn can_replace(&self) -> bool {
        self.functions.replace.is_some()
    }
}

/// An open connection. Belongs to the process that opened it.
#[derive(Debug)]
pub struct Connection {
    driver: &'static Driver,
    handle: NonNull<raw::db1_con_t>,
    /// The name of the table in use: the host keeps a pointer to this structure.
    table: Box<Str>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(close) = self.driver.functions.close {
            // SAFETY: opened by this process, closed once.
            unsafe { close(self.handle.as_ptr()) };
        }
    }
}

/// Keys and values as the host's arrays. The names live as long as the slice that they were made of.
struct Bound<'a> {
    names: Vec<raw::str_>,
    ops: Vec<*const c_char>,
    values: Vec<raw::db_val_t>,
    life: PhantomData<&'a ()>,
}

impl<'a> Bound<'a> {
    fn of(parts: impl Iterator<Item = (Column, Op, Value<'a>)>) -> Self {
        let count = parts.size_hint().0;
        let mut bound = Self {
            names: Vec::with_capacity(count),
            ops: Vec::with_capacity(count),
            values: Vec::with_capacity(count),
            life: PhantomData,
        };
        for (column, op, value) in parts {
            bound.names.push(borrow(column.as_bytes()));
            bound.ops.push(op.text().as_ptr());
            bound.values.push(to_raw(value));
        }
        bound
    }

    fn conditions(conditions: &[Condition<'a>]) -> Self {
        Self::of(conditions.iter().map(|c| (c.0, c.1, c.2)))
    }

    fn assigns(assigns: &[Assign<'a>]) -> Self {
        Self::of(assigns.iter().map(|a| (a.0, Op::Eq, a.1)))
    }

    fn keys(&mut self) -> Vec<raw::db_key_t> {
        self.names.iter_mut().map(|n| n as raw::db_key_t).collect()
    }

    fn count(&self) -> c_int {
        self.values.len() as c_int
    }
}

fn to_raw(value: Value<'_>) -> raw::db_val_t {
    let (type_, val) = match value {
        Value::Int(i) => (raw::DB1_INT, raw::db_val_t__bindgen_ty_1 { int_val: i }),
        Value::Text(t) => (raw::DB1_STR, raw::db_val_t__bindgen_ty_1 { str_val: text_or_empty(t) }),
        Value::Blob(b) => (raw::DB1_BLOB, raw::db_val_t__bindgen_ty_1 { blob_val: text_or_empty(b) }),
        Value::Null => (raw::DB1_STR, raw::db_val_t__bindgen_ty_1 { str_val: text_or_empty(b"") }),
    };
    raw::db_val_t { type_, nul: c_int::from(value == Value::Null), free: 0, val }
}

/// Drivers take a null pointer for NULL; an empty slice of Rust's has a dangling one.
fn text_or_empty(text: &[u8]) -> raw::str_ {
    if text.is_empty() { crate::str::literal("") } else { borrow(text) }
}

/// Outcome of a call that answers below zero for failure.
fn check(result: c_int) -> Result<(), Failed> {
    if result < 0 { Err(Failed) } else { Ok(()) }
}

impl Connection {
    fn functions(&self) -> &raw::db_func_t {
        &self.driver.functions
    }

    /// The driver of this connection.
    #[must_use]
    pub fn driver(&self) -> &'static Driver {
        self.driver
    }

    fn use_table(&mut self, table: &'static [u8]) -> Result<(), Failed> {
        debug_assert_eq!(crate::lock::held(), 0, "no SQL under a lock");
        *self.table = borrow(table);
        // SAFETY: the host keeps the pointer: the structure lives as long as the connection, the name for ever.
        check(unsafe { self.functions().use_table.ok_or(Failed)?(self.handle.as_ptr(), &raw const *self.table) })
    }

    /// Checks that the `version` table has `version` for this table.
    #[must_use]
    pub fn table_version_is(&mut self, table: &[u8], version: u32) -> bool {
        let mut functions = self.driver.functions;
        let mut name = borrow(table);
        // SAFETY: reads one row; the copy of the function table lives through the call.
        unsafe { raw::db_check_table_version(&raw mut functions, self.handle.as_ptr(), &raw mut name, version) >= 0 }
    }

    fn lent(&mut self) -> Lent<'_> {
        Lent { functions: &self.driver.functions, handle: self.handle }
    }

    /// Inserts one row.
    pub fn insert(&mut self, table: &'static [u8], row: &[Assign<'_>]) -> Result<(), Failed> {
        self.use_table(table)?;
        self.lent().insert(row)
    }

    /// Updates the rows that meet all conditions.
    pub fn update(&mut self, table: &'static [u8], of: &[Condition<'_>], set: &[Assign<'_>]) -> Result<(), Failed> {
        self.use_table(table)?;
        self.lent().update(of, set)
    }

    /// Deletes the rows that meet all conditions; with none, all rows.
    pub fn delete(&mut self, table: &'static [u8], of: &[Condition<'_>]) -> Result<(), Failed> {
        self.use_table(table)?;
        self.lent().delete(of)
    }

    /// Replaces the row that has these values in the first `unique` columns, or inserts it. Only where the driver
    /// can ([`Driver::can_replace`]).
    pub fn replace(&mut self, table: &'static [u8], row: &[Assign<'_>], unique: usize) -> Result<(), Failed> {
        self.use_table(table)?;
        let mut bound = Bound::assigns(row);
        let keys = bound.keys();
        let replace = self.functions().replace.ok_or(Failed)?;
        // SAFETY: as in `insert`.
        check(unsafe {
            replace(self.handle.as_ptr(), keys.as_ptr(), bound.values.as_ptr(), bound.count(), unique as c_int, 0)
        })
    }

    /// Reads `columns` of the rows that meet all conditions, ordered by `order` (column names, constant text).
    pub fn query(
        &mut self,
        table: &'static [u8],
        columns: &[Column],
        of: &[Condition<'_>],
        order: Option<&[u8]>,
    ) -> Result<Rows<'_>, Failed> {
        self.use_table(table)?;
        let mut of = Bound::conditions(of);
        let keys = of.keys();
        let mut names: Vec<raw::str_> = columns.iter().map(|c| borrow(c.as_bytes())).collect();
        let wanted: Vec<raw::db_key_t> = names.iter_mut().map(|n| n as raw::db_key_t).collect();
        let mut order = order.map(borrow);
        let order = order.as_mut().map_or(null_mut(), |o| o as raw::db_key_t);
        let mut result = null_mut();
        let query = self.functions().query.ok_or(Failed)?;
        // SAFETY: as in `insert`; the result is freed by `Rows`.
        let status = unsafe {
            query(
                self.handle.as_ptr(),
                if of.values.is_empty() { null() } else { keys.as_ptr() },
                if of.values.is_empty() { null() } else { of.ops.as_ptr() },
                if of.values.is_empty() { null() } else { of.values.as_ptr() },
                wanted.as_ptr(),
                of.count(),
                wanted.len() as c_int,
                order,
                &raw mut result,
            )
        };
        self.rows(status, result)
    }

    /// Runs a statement of constant text, or of numbers that the module made itself. No value of a request may be
    /// part of it.
    pub fn command(&mut self, text: &str) -> Result<Rows<'_>, Failed> {
        debug_assert_eq!(crate::lock::held(), 0, "no SQL under a lock");
        let text = borrow(text.as_bytes());
        let mut result = null_mut();
        let raw_query = self.functions().raw_query.ok_or(Failed)?;
        // SAFETY: the text lives through the call; the result is freed by `Rows`.
        let status = unsafe { raw_query(self.handle.as_ptr(), &raw const text, &raw mut result) };
        self.rows(status, result)
    }

    fn rows(&mut self, status: c_int, result: *mut raw::db1_res_t) -> Result<Rows<'_>, Failed> {
        let rows = Rows { connection: self, result };
        check(status)?;
        Ok(rows)
    }

    /// Begins a transaction; the driver locks the table that was used last, if it does such a thing.
    pub fn begin(&mut self, lock_table: bool) -> Result<(), Failed> {
        let begin = self.functions().start_transaction.ok_or(Failed)?;
        let locking = if lock_table { raw::DB_LOCKING_WRITE } else { raw::DB_LOCKING_NONE };
        // SAFETY: a handle of this process.
        check(unsafe { begin(self.handle.as_ptr(), locking) })
    }

    /// Ends it well.
    pub fn commit(&mut self) -> Result<(), Failed> {
        let end = self.functions().end_transaction.ok_or(Failed)?;
        // SAFETY: a handle of this process.
        check(unsafe { end(self.handle.as_ptr()) })
    }

    /// Ends it without a trace.
    pub fn roll_back(&mut self) -> Result<(), Failed> {
        let abort = self.functions().abort_transaction.ok_or(Failed)?;
        // SAFETY: a handle of this process.
        check(unsafe { abort(self.handle.as_ptr()) })
    }

    /// How many rows the last statement changed, where the driver says so.
    #[must_use]
    pub fn affected(&mut self) -> Option<usize> {
        let affected = self.functions().affected_rows?;
        // SAFETY: reads the driver's counter.
        usize::try_from(unsafe { affected(self.handle.as_ptr()) }).ok()
    }
}

/// The rows of a query; freed when dropped.
#[derive(Debug)]
pub struct Rows<'c> {
    connection: &'c mut Connection,
    result: *mut raw::db1_res_t,
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
