//! Requests through the host's transaction module.

use crate::request::{Completed, Request, Sent, with_dialog};
use crate::str::{borrow, bytes};
use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr::null_mut;
use kamailio_shim as raw;
use std::sync::OnceLock;

static API: OnceLock<Api> = OnceLock::new();

struct Api(raw::tm_api_t);
// SAFETY: a table of function pointers, filled once before the fork and only read later.
unsafe impl Send for Api {}
// SAFETY: as above.
unsafe impl Sync for Api {}

/// Binds to the tm module; once, in `mod_init`.
#[must_use]
pub fn bind() -> bool {
    let mut api = MaybeUninit::<raw::tm_api_t>::zeroed();
    // SAFETY: the host fills the table or fails.
    unsafe {
        if raw::ksr_load_tm(api.as_mut_ptr()) != 0 {
            return false;
        }
        API.set(Api(api.assume_init())).is_ok()
    }
}

/// The status of the last reply in the transaction of the request that is being processed; none without one.
#[must_use]
pub fn reply_status() -> Option<i32> {
    let get = API.get().and_then(|api| api.0.t_gett)?;
    // SAFETY: reads the transaction that the host has set for this process, or its mark for "none".
    unsafe {
        let cell = get();
        (raw::ksr_tm_is_transaction(cell) != 0).then(|| raw::ksr_tm_reply_status(cell))
    }
}

/// Called when a request was answered or given up.
pub type OnCompleted = fn(&Completed<'_>);

static ON_COMPLETED: OnceLock<OnCompleted> = OnceLock::new();

/// Says who is called when a request is completed; once, before the first is sent.
pub fn on_completed(callback: OnCompleted) {
    let _ = ON_COMPLETED.set(callback);
}

unsafe extern "C" fn completed(cell: *mut raw::cell, _type: c_int, params: *mut raw::tmcb_params) {
    crate::entry::guard("tm callback", (), || {
        let Some(callback) = ON_COMPLETED.get() else { return };
        // SAFETY: tm passes its transaction and parameters, valid for the call. `param` points to tm's own copy of the
        // word that was passed as callback parameter: a number in disguise, never memory (rule T1).
        unsafe {
            let params = &*params;
            let request = raw::ksr_tm_request_buffer(cell);
            // The host marks a reply that it made up itself with the pointer -1.
            let reply = if params.rpl.is_null() || params.rpl as isize == -1 { null_mut() } else { params.rpl };
            callback(&Completed {
                token: *params.param as u64,
                code: u16::try_from(params.code).unwrap_or(500),
                request: bytes(&request),
                reply,
            });
        }
    });
}

/// Hands a request to tm. `token` comes back with the completion; it is a number, so nothing can leak (rule T1).
/// `sent` is told the next hop of a request that is under way.
pub fn send(request: &Request<'_>, token: u64, sent: impl FnOnce(&[u8])) -> Sent {
    debug_assert_eq!(crate::lock::held(), 0, "no request is sent under a lock");
    let Some(uac) = API.get().and_then(|api| api.0.t_uac_with_ids) else { return Sent::Failed };
    let under_way = |dialog: &mut raw::dlg_t| {
        let mut method = borrow(request.method.as_bytes());
        let mut headers = borrow(request.headers);
        let mut body = borrow(request.body);
        let (mut index, mut label) = (UNTOUCHED, UNTOUCHED);
        // SAFETY: all pieces live on this stack or in the caller's slices through the call; tm copies what it keeps.
        let result = unsafe {
            let mut req: raw::uac_req_t = core::mem::zeroed();
            req.method = &raw mut method;
            req.headers = &raw mut headers;
            req.body = if request.body.is_empty() { null_mut() } else { &raw mut body };
            req.dialog = dialog;
            req.cb_flags = raw::TMCB_LOCAL_COMPLETED as _;
            req.cb = Some(completed);
            req.cbp = token as *mut c_void;
            uac(&raw mut req, &raw mut index, &raw mut label)
        };
        // A request that the script dropped is reported as success, with the ids left alone.
        let outcome = match result {
            raw::E_OUT_OF_MEM => Sent::Failed,
            r if r < 0 => Sent::Unreachable,
            _ if index == UNTOUCHED && label == UNTOUCHED => Sent::Dropped,
            _ => Sent::UnderWay,
        };
        if outcome == Sent::UnderWay {
            // SAFETY: tm set it to null or to one of the texts of the dialog.
            sent(unsafe { dialog.hooks.next_hop.as_ref().map(|hop| bytes(hop)).unwrap_or_default() });
        }
        outcome
    };
    with_dialog(request, under_way).unwrap_or(Sent::Unreachable)
}

const UNTOUCHED: u32 = u32::MAX;
