//! Pseudo-variables.

use crate::str::borrow;
use core::ffi::c_int;
use kamailio_shim as raw;

/// What a pseudo-variable evaluates to.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// `$null`.
    Null,
    /// A text.
    Text(&'a [u8]),
    /// An unsigned number.
    Unsigned(u32),
    /// A signed number.
    Signed(i32),
}

/// Stores a value where the host wants it.
///
/// # Safety
/// The pointers are those that the host passed to the pseudo-variable's function; a text stays unchanged until the
/// script evaluates the next one.
pub unsafe fn give(
    msg: *mut raw::sip_msg_t,
    param: *mut raw::pv_param_t,
    result: *mut raw::pv_value_t,
    value: Value<'_>,
) -> c_int {
    // SAFETY: passed on from the host to the host.
    unsafe {
        match value {
            Value::Null => raw::pv_get_null(msg, param, result),
            Value::Text(text) => {
                let mut s = if text.is_empty() { crate::str::literal("") } else { borrow(text) };
                raw::pv_get_strval(msg, param, result, &raw mut s)
            }
            Value::Unsigned(n) => raw::pv_get_uintval(msg, param, result, n as _),
            Value::Signed(n) => raw::pv_get_sintval(msg, param, result, n as _),
        }
    }
}
