//! Values, conditions and assignments, and the host's arrays of them.

use crate::str::{borrow, literal, none};
use core::ffi::{CStr, c_char, c_int};
use core::marker::PhantomData;
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
    /// A text that is not there: NULL or empty, as the driver writes a null pointer. To write, not to compare with.
    Absent,
}

impl<'a> Value<'a> {
    /// A text; an empty one is not there.
    #[must_use]
    pub const fn text_if_any(text: &'a [u8]) -> Self {
        if text.is_empty() { Self::Absent } else { Self::Text(text) }
    }
}

/// A column's name.
pub type Column = &'static str;

/// How a column is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Op {
    /// Letter for letter, whatever the column's collation says.
    Eq,
    /// Whatever the case of ASCII letters. With MySQL as its collation says, which usually is so; without SQL as with `Eq`.
    Alike,
    Ne,
    Lt,
    Gt,
    Le,
    Ge,
}

/// What databases do differently when they compare texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Nothing is known of it.
    Plain,
    Sqlite,
    Postgres,
    /// Its `=` may ignore the case.
    MySql,
}

impl Op {
    const fn text(self, dialect: Dialect) -> &'static CStr {
        match self {
            Self::Alike if matches!(dialect, Dialect::Sqlite) => c" COLLATE NOCASE=",
            Self::Alike if matches!(dialect, Dialect::Postgres) => c" ILIKE ",
            Self::Eq | Self::Alike => c"=",
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

/// MySQL's operator for [`Op::Eq`], where its `=` has found the row in the index.
const EXACTLY: &CStr = c"= BINARY ";

/// A text as a pattern that only it matches.
fn pattern_of(text: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(text.len());
    for &byte in text {
        if matches!(byte, b'%' | b'_' | b'\\') {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern
}

/// Keys and values as the host's arrays. The names live as long as the slice that they were made of.
pub(super) struct Bound<'a> {
    /// Texts that were made for the values.
    patterns: Vec<Vec<u8>>,
    names: Vec<raw::str_>,
    pub(super) ops: Vec<*const c_char>,
    pub(super) values: Vec<raw::db_val_t>,
    life: PhantomData<&'a ()>,
}

impl<'a> Bound<'a> {
    fn of(parts: impl Iterator<Item = (Column, &'static CStr, Value<'a>)>) -> Self {
        let count = parts.size_hint().0;
        let mut bound = Self {
            patterns: Vec::new(),
            names: Vec::with_capacity(count),
            ops: Vec::with_capacity(count),
            values: Vec::with_capacity(count),
            life: PhantomData,
        };
        for (column, op, value) in parts {
            bound.names.push(borrow(column.as_bytes()));
            bound.ops.push(op.as_ptr());
            bound.values.push(to_raw(value));
        }
        bound
    }

    pub(super) fn conditions(conditions: &[Condition<'a>], dialect: Dialect) -> Self {
        let all = conditions.iter().map(|c| (c.0, c.1.text(dialect), c.2));
        // Bytes above 127 may be others in the table than on the way there: these are left to `=`.
        let exact = |c: &&Condition<'_>| matches!(c, Condition(_, Op::Eq, Value::Text(text)) if text.is_ascii());
        let again = conditions.iter().filter(exact).filter(|_| dialect == Dialect::MySql).map(|c| (c.0, EXACTLY, c.2));
        let mut bound = Self::of(all.chain(again));
        if dialect == Dialect::Postgres {
            for (condition, value) in conditions.iter().zip(&mut bound.values) {
                if let Condition(_, Op::Alike, Value::Text(text)) = condition {
                    let pattern = pattern_of(text);
                    // The bytes stay where they are when the vector is moved.
                    *value = to_raw(Value::Text(&pattern));
                    bound.patterns.push(pattern);
                }
            }
        }
        bound
    }

    pub(super) fn assigns(assigns: &[Assign<'a>]) -> Self {
        Self::of(assigns.iter().map(|a| (a.0, Op::Eq.text(Dialect::Plain), a.1)))
    }

    pub(super) fn keys(&mut self) -> Vec<raw::db_key_t> {
        self.names.iter_mut().map(|n| n as raw::db_key_t).collect()
    }

    pub(super) fn count(&self) -> c_int {
        self.values.len() as c_int
    }
}

fn to_raw(value: Value<'_>) -> raw::db_val_t {
    let (type_, val) = match value {
        Value::Int(i) => (raw::DB1_INT, raw::db_val_t__bindgen_ty_1 { int_val: i }),
        Value::Text(t) => (raw::DB1_STR, raw::db_val_t__bindgen_ty_1 { str_val: text_or_empty(t) }),
        Value::Blob(b) => (raw::DB1_BLOB, raw::db_val_t__bindgen_ty_1 { blob_val: text_or_empty(b) }),
        Value::Absent => (raw::DB1_STR, raw::db_val_t__bindgen_ty_1 { str_val: none() }),
    };
    raw::db_val_t { type_, nul: 0, free: 0, val }
}

/// Drivers take a null pointer for NULL; an empty slice of Rust's has a dangling one.
fn text_or_empty(text: &[u8]) -> raw::str_ {
    if text.is_empty() { literal("") } else { borrow(text) }
}
