//! The host's database API (srdb1): tables, typed columns, conditions.
//!
//! Values of a request travel as bound values or through the driver's own escaping, never in the text of a statement:
//! [`Connection::command`] takes constant text only.

mod lent;
mod rows;
mod values;

use crate::str::{Str, borrow, none};
use core::ffi::c_int;
use core::mem::MaybeUninit;
use core::ptr::{NonNull, null, null_mut};
use kamailio_shim as raw;
pub use lent::Lent;
pub use rows::{Row, Rows};
use std::time::Instant;
pub use values::{Assign, Column, Condition, Op, Value};
use values::{Bound, Dialect};

/// A part of what a query finds: so many rows, in this order.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Column names, constant text.
    pub by: &'a [u8],
    /// So many rows at most; but all where the driver knows no parts ([`Driver::knows_parts`]).
    pub rows: usize,
    /// After so many that are left out.
    pub after: usize,
}

/// The driver failed. It has logged why; most drivers say no more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed;

/// How long a statement may be that a driver makes, in bytes (the core's `sql_buffer_size`). Not with SQLite, which
/// binds values.
#[must_use]
pub fn longest_statement() -> usize {
    // SAFETY: a number of the core's, set while the configuration was read.
    unsafe { raw::sql_buffer_size as usize }
}

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
        Some(Connection { driver: self, handle: NonNull::new(handle)?, table: Box::new(none()), until: None })
    }

    fn dialect(&self) -> Dialect {
        match self.name() {
            "sqlite" => Dialect::Sqlite,
            "postgres" => Dialect::Postgres,
            "mysql" => Dialect::MySql,
            _ => Dialect::Plain,
        }
    }

    /// Whether it can give a part of what a query finds. These two have no SQL.
    #[must_use]
    pub fn knows_parts(&self) -> bool {
        !matches!(self.name(), "text" | "redis")
    }

    /// What stands behind ORDER BY.
    fn order_of(&self, Part { by, rows, after }: Part<'_>) -> Vec<u8> {
        match after {
            _ if !self.knows_parts() => by.to_vec(),
            0 => [by, format!(" LIMIT {rows}").as_bytes()].concat(),
            _ => [by, format!(" LIMIT {rows} OFFSET {after}").as_bytes()].concat(),
        }
    }

    /// Whether it has transactions.
    #[must_use]
    pub fn has_transactions(&self) -> bool {
        self.functions.start_transaction.is_some()
    }

    /// Whether it takes statements as text.
    #[must_use]
    pub fn takes_statements(&self) -> bool {
        self.functions.raw_query.is_some()
    }

    /// Whether it says how many rows a statement changed.
    #[must_use]
    pub fn counts_rows(&self) -> bool {
        self.functions.affected_rows.is_some()
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
    /// After this moment nothing more is asked.
    until: Option<Instant>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(close) = self.driver.functions.close {
            // SAFETY: opened by this process, closed once.
            unsafe { close(self.handle.as_ptr()) };
        }
    }
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

    /// Lets every statement fail that begins after this moment; one that is under way is not interrupted, as the host's
    /// interface has no way to.
    pub fn ask_until(&mut self, until: Option<Instant>) {
        self.until = until;
    }

    /// Asks something that has to be asked however late it is: what ends a transaction, or says how a statement went.
    pub fn however_late<R>(&mut self, ask: impl FnOnce(&mut Self) -> R) -> R {
        let until = self.until.take();
        let answer = ask(self);
        self.until = until;
        answer
    }

    fn check_time(&self) -> Result<(), Failed> {
        debug_assert_eq!(crate::lock::held(), 0, "no SQL under a lock");
        if self.until.is_some_and(|until| Instant::now() >= until) { Err(Failed) } else { Ok(()) }
    }

    fn use_table(&mut self, table: &'static [u8]) -> Result<(), Failed> {
        self.check_time()?;
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
        Lent { functions: &self.driver.functions, handle: self.handle, dialect: self.driver.dialect() }
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

    /// Reads `columns` of the rows that meet all conditions.
    pub fn query(
        &mut self,
        table: &'static [u8],
        columns: &[Column],
        of: &[Condition<'_>],
        part: Option<Part<'_>>,
    ) -> Result<Rows<'_>, Failed> {
        self.use_table(table)?;
        let mut of = Bound::conditions(of, self.driver.dialect());
        let keys = of.keys();
        let mut names: Vec<raw::str_> = columns.iter().map(|c| borrow(c.as_bytes())).collect();
        let wanted: Vec<raw::db_key_t> = names.iter_mut().map(|n| n as raw::db_key_t).collect();
        let order = part.map(|part| self.driver.order_of(part));
        let mut order = order.as_deref().map(borrow);
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
        self.check_time()?;
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

    /// Begins a transaction. No table is locked: the driver would lock the one that was used last.
    pub fn begin(&mut self) -> Result<(), Failed> {
        self.check_time()?;
        let begin = self.functions().start_transaction.ok_or(Failed)?;
        // SAFETY: a handle of this process.
        check(unsafe { begin(self.handle.as_ptr(), raw::DB_LOCKING_NONE) })
    }

    /// Ends it well.
    pub fn commit(&mut self) -> Result<(), Failed> {
        self.check_time()?;
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
