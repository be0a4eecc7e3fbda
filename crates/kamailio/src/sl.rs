//! Replies: stateless, or through the transaction where the script opened one (the host decides).

use crate::msg::Message;
use crate::str::{Str, borrow, bytes, none};
use core::mem::MaybeUninit;
use kamailio_shim as raw;
use std::sync::OnceLock;

static API: OnceLock<Api> = OnceLock::new();

struct Api(raw::sl_api_t);
// SAFETY: a table of function pointers, filled once before the fork and only read later.
unsafe impl Send for Api {}
// SAFETY: as above.
unsafe impl Sync for Api {}

/// Binds to the sl module; once, in `mod_init`.
#[must_use]
pub fn bind() -> bool {
    let mut api = MaybeUninit::<raw::sl_api_t>::zeroed();
    // SAFETY: the host fills the table or fails.
    unsafe {
        if raw::ksr_load_sl(api.as_mut_ptr()) != 0 {
            return false;
        }
        API.set(Api(api.assume_init())).is_ok()
    }
}

/// Sends a final reply with extra header lines (each ended by CRLF; may be empty). False when the host could not.
pub fn reply(msg: &mut Message<'_>, code: u16, reason: &str, headers: &[u8]) -> bool {
    debug_assert_eq!(crate::lock::held(), 0, "no reply under a lock");
    let Some(send) = API.get().and_then(|api| api.0.freply) else { return false };
    if !headers.is_empty() && !msg.add_reply_headers(headers) {
        return false;
    }
    let mut reason = borrow(reason.as_bytes());
    // SAFETY: the message is the one that the host is processing; the reason outlives the call.
    unsafe { send(msg.as_ptr(), i32::from(code), &raw mut reason) >= 0 }
}

/// The To tag that the reply to this request carries or will carry.
#[must_use]
pub fn to_tag(msg: &mut Message<'_>) -> Option<Vec<u8>> {
    let get = API.get().and_then(|api| api.0.get_reply_totag)?;
    let mut tag: Str = none();
    // SAFETY: as in `reply`; the tag is copied at once, it may lie in a static buffer of the host.
    unsafe {
        if get(msg.as_ptr(), &raw mut tag) < 0 || tag.len <= 0 {
            return None;
        }
        Some(bytes(&tag).to_vec())
    }
}
