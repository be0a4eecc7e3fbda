//! Functions for scripts in other languages (KEMI).

use core::ffi::{CStr, c_int, c_void};
use kamailio_shim as raw;

/// The type of a parameter.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A number.
    Int,
    /// A text.
    Text,
}

/// An entry of the table: `function` takes the message, then the parameters (`int` or `str*`), and returns an int.
/// The names are terminated: app_lua and app_python3 read them without their lengths.
#[must_use]
pub const fn function(
    module: &'static CStr,
    name: &'static CStr,
    function: *mut c_void,
    params: &[Kind],
) -> raw::sr_kemi_t {
    let mut ptypes = [raw::SR_KEMIP_NONE as c_int; 6];
    let mut i = 0;
    while i < params.len() {
        ptypes[i] = match params[i] {
            Kind::Int => raw::SR_KEMIP_INT,
            Kind::Text => raw::SR_KEMIP_STR,
        } as c_int;
        i += 1;
    }
    raw::sr_kemi_t {
        mname: crate::str::terminated(module),
        fname: crate::str::terminated(name),
        rtype: raw::SR_KEMIP_INT as c_int,
        func: function,
        ptypes,
    }
}

/// The end of the table.
#[must_use]
pub const fn last_function() -> raw::sr_kemi_t {
    raw::sr_kemi_t {
        mname: crate::str::none(),
        fname: crate::str::none(),
        rtype: 0,
        func: core::ptr::null_mut(),
        ptypes: [0; 6],
    }
}

/// Registers the table; when the module is registered.
pub fn register<const N: usize>(table: &'static crate::module::Table<raw::sr_kemi_t, N>) -> bool {
    // SAFETY: the table lives as long as the process and ends with an empty entry.
    unsafe { raw::sr_kemi_modules_add(table.address()) == 0 }
}
