//! Values that the script leaves in an xavp.

use crate::str::borrow;
use kamailio_shim as raw;

/// The integer `$xavp(root=>child)`; none if it is not set or not an integer.
#[must_use]
pub fn int(root: &[u8], child: &[u8]) -> Option<i32> {
    if root.is_empty() {
        return None;
    }
    let (mut root, mut child) = (borrow(root), borrow(child));
    // SAFETY: both names live through the call; the host returns null or a value of this process. An int is the low
    // half of the long on every platform that the host runs on (5.6 stores an int, 6.0 a long).
    unsafe {
        let value = raw::xavp_get_child_with_ival(&raw mut root, &raw mut child);
        if value.is_null() { None } else { Some((*value).val.v.l as i32) }
    }
}
