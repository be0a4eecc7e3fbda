//! Commands of the host's RPC interface.

use crate::str::{Str, borrow, bytes, none};
use core::ffi::{CStr, c_char, c_void};
use core::ptr::null_mut;
use kamailio_shim as raw;
use std::ffi::CString;

/// One call of a command: its arguments and its answer.
#[derive(Debug)]
pub struct Call {
    rpc: *mut raw::rpc_t,
    context: *mut c_void,
}

/// A structure of an answer that is being filled.
#[derive(Debug)]
pub struct Struct<'c> {
    call: &'c Call,
    handle: *mut c_void,
}

impl Call {
    /// The call behind what the host passes to a command.
    ///
    /// # Safety
    /// Both are the host's own pointers of the call in progress.
    #[must_use]
    pub unsafe fn new(rpc: *mut raw::rpc_t, context: *mut c_void) -> Self {
        Self { rpc, context }
    }

    fn table(&self) -> &raw::rpc_t {
        // SAFETY: the host's table, valid for the call.
        unsafe { &*self.rpc }
    }

    /// The next argument, which is a text; none when there is no further one, or it is something else.
    #[must_use]
    pub fn text(&self) -> Option<Vec<u8>> {
        self.scan_text(c"*S")
    }

    /// The next argument as text, whether it is a text or a number; none when there is no further one.
    #[must_use]
    pub fn word(&self) -> Option<Vec<u8>> {
        self.scan_text(c"*.S")
    }

    fn scan_text(&self, format: &CStr) -> Option<Vec<u8>> {
        let mut s: Str = none();
        // SAFETY: '*' makes it optional, '.' converts, 'S' stores a `str` that lives as long as the call.
        unsafe {
            let found = self.table().scan?(self.context, format.as_ptr().cast_mut(), &raw mut s);
            (found > 0).then(|| bytes(&s).to_vec())
        }
    }

    /// The next argument as a number.
    #[must_use]
    pub fn number(&self) -> Option<i32> {
        let mut n: core::ffi::c_int = 0;
        // SAFETY: 'd' stores an int.
        unsafe {
            let found = self.table().scan?(self.context, c"*d".as_ptr().cast_mut(), &raw mut n);
            (found > 0).then_some(n)
        }
    }

    /// Answers with a fault instead.
    pub fn fault(&self, code: i32, sentence: &str) {
        let text = CString::new(sentence).unwrap_or_default();
        if let Some(fault) = self.table().fault {
            // SAFETY: '%s' with a terminated text; the host formats at once.
            unsafe { fault(self.context, code, c"%s".as_ptr().cast_mut(), text.as_ptr()) };
        }
    }

    /// Adds a line of text to the answer.
    pub fn line(&self, text: &str) {
        let text = CString::new(text).unwrap_or_default();
        if let Some(print) = self.table().rpl_printf {
            // SAFETY: as in `fault`.
            unsafe { print(self.context, c"%s".as_ptr().cast_mut(), text.as_ptr()) };
        }
    }

    /// Adds a structure to the answer; none when the host cannot.
    #[must_use]
    pub fn add_struct(&self) -> Option<Struct<'_>> {
        let mut handle: *mut c_void = null_mut();
        // SAFETY: '{' stores the handle of the new structure.
        let added = unsafe { self.table().add?(self.context, c"{".as_ptr().cast_mut(), &raw mut handle) };
        (added >= 0 && !handle.is_null()).then_some(Struct { call: self, handle })
    }
}

impl Struct<'_> {
    /// Adds a text member. False when the host cannot.
    pub fn text(&self, name: &CStr, value: &[u8]) -> bool {
        let mut s = borrow(if value.is_empty() { b"" } else { value });
        let Some(add) = self.call.table().struct_add else { return false };
        // SAFETY: 'S' takes a `str*`; the host copies the value.
        unsafe { add(self.handle, c"S".as_ptr().cast_mut(), name.as_ptr().cast_mut(), &raw mut s) >= 0 }
    }

    /// Adds a structure as a member; none when the host cannot.
    #[must_use]
    pub fn add_struct(&self, name: &CStr) -> Option<Struct<'_>> {
        let mut handle: *mut c_void = null_mut();
        // SAFETY: '{' stores the handle of the new structure; the host copies the name.
        let added = unsafe {
            let add = self.call.table().struct_add?;
            add(self.handle, c"{".as_ptr().cast_mut(), name.as_ptr().cast_mut(), &raw mut handle)
        };
        (added >= 0 && !handle.is_null()).then_some(Struct { call: self.call, handle })
    }

    /// Adds a number of any size. RPC interfaces that have no such numbers send it as a floating one.
    pub fn long(&self, name: &CStr, value: u64) -> bool {
        let Some(add) = self.call.table().struct_add else { return false };
        // SAFETY: 'J' takes an unsigned long long.
        unsafe { add(self.handle, c"J".as_ptr().cast_mut(), name.as_ptr().cast_mut(), value) >= 0 }
    }

    /// Adds a signed number.
    pub fn int(&self, name: &CStr, value: i32) -> bool {
        self.number(name, c"d", value)
    }

    /// Adds an unsigned number.
    pub fn uint(&self, name: &CStr, value: u32) -> bool {
        self.number(name, c"u", value as i32)
    }

    fn number(&self, name: &CStr, format: &CStr, value: i32) -> bool {
        let Some(add) = self.call.table().struct_add else { return false };
        // SAFETY: 'd' and 'u' take an int.
        unsafe { add(self.handle, format.as_ptr().cast_mut(), name.as_ptr().cast_mut(), value) >= 0 }
    }
}

/// A command as the host registers it.
pub type Function = unsafe extern "C" fn(*mut raw::rpc_t, *mut c_void);

/// An entry of the table of commands. `array`: the answer is a list.
#[must_use]
pub const fn command(
    name: &'static CStr,
    function: Function,
    doc: &'static crate::module::Table<*const c_char, 2>,
    array: bool,
) -> raw::rpc_export_t {
    raw::rpc_export_t {
        name: name.as_ptr(),
        function: Some(function),
        doc_str: doc.address().cast(),
        flags: if array { raw::RPC_ANSWERS_ARRAY as _ } else { 0 },
    }
}

/// The end of the table of commands.
#[must_use]
pub const fn last_command() -> raw::rpc_export_t {
    raw::rpc_export_t { name: core::ptr::null(), function: None, doc_str: null_mut(), flags: 0 }
}

/// Registers a table of commands; once, in `mod_init`.
#[must_use]
pub fn register<const N: usize>(table: &'static crate::module::Table<raw::rpc_export_t, N>) -> bool {
    // SAFETY: the table lives as long as the process and ends with an empty entry.
    unsafe { raw::rpc_register_array(table.address()) == 0 }
}
