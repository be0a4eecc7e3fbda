//! Replies: stateless, or through the transaction where the script opened one (the host decides).

use crate::msg::Message;
use crate::str::{Str, borrow, bytes, none};
use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU32, Ordering};
use kamailio_shim as raw;
use std::sync::OnceLock;

static API: OnceLock<Api> = OnceLock::new();

struct Api(raw::sl_api_t);
// SAFETY: a table of function pointers, filled once before the fork and only read later.
unsafe impl Send for Api {}
// SAFETY: as above.
unsafe impl Sync for Api {}

/// Whether the sl module is loaded.
#[must_use]
pub fn is_loaded() -> bool {
    // SAFETY: only asked whether it is there.
    unsafe { crate::module::find::<raw::cmd_function>(c"bind_sl", 0) }.is_some()
}

/// Binds to the sl module; once, in `mod_init`.
#[must_use]
pub fn bind() -> bool {
    let mut api = MaybeUninit::<raw::sl_api_t>::zeroed();
    // SAFETY: the host fills the table or fails.
    unsafe {
        if raw::ksr_load_sl(api.as_mut_ptr()) != 0 {
            return false;
        }
        let api = api.assume_init();
        let mut counter: raw::sl_cbelem_t = core::mem::zeroed();
        counter.type_ = raw::SLCB_REPLY_READY as _;
        counter.cbf = Some(count_reply);
        api.register_cb.is_some_and(|register| register(&raw mut counter) >= 0) && API.set(Api(api)).is_ok()
    }
}

/// Final replies that this process has sent statelessly.
static STATELESS: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" fn count_reply(reply: *mut raw::sl_cbp) {
    // SAFETY: null or the host's description of the reply.
    if unsafe { reply.as_ref() }.is_some_and(|r| r.code >= 200) {
        STATELESS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Watches whether somebody answers a request: another module's function may, without saying so.
#[derive(Clone, Copy, Debug)]
pub struct Watch(u32);

impl Watch {
    /// From now on.
    #[must_use]
    pub fn start() -> Self {
        Self(STATELESS.load(Ordering::Relaxed))
    }

    /// Whether a final reply was sent meanwhile, statelessly or through the request's transaction.
    #[must_use]
    pub fn replied(self) -> bool {
        STATELESS.load(Ordering::Relaxed) != self.0 || crate::tm::reply_status().is_some_and(|code| code >= 200)
    }
}

/// Sends a final reply with extra header lines (each ended by CRLF; may be empty). False when the host could not.
pub fn reply(msg: &mut Message<'_>, code: u16, reason: &CStr, headers: &[u8]) -> bool {
    debug_assert_eq!(crate::lock::held(), 0, "no reply under a lock");
    let Some(send) = API.get().and_then(|api| api.0.freply) else { return false };
    if !headers.is_empty() && !msg.add_reply_headers(headers) {
        return false;
    }
    // With the terminating 0 counted the host uses the text as it is; otherwise it makes a terminated copy.
    let mut reason = borrow(reason.to_bytes_with_nul());
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
