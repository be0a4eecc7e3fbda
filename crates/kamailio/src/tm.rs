//! Requests that the module sends itself, through the host's transaction module.

use crate::str::{Str, borrow, bytes, none};
use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr::null_mut;
use kamailio_shim as raw;
use std::ffi::CString;
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

/// A request within a dialog. All texts are borrowed for the call only.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// Call-ID of the dialog.
    pub call_id: &'a [u8],
    /// Our tag: the From tag of the request.
    pub local_tag: &'a [u8],
    /// The peer's tag: the To tag of the request.
    pub remote_tag: &'a [u8],
    /// Our URI: the From URI.
    pub local_uri: &'a [u8],
    /// The peer's URI: the To URI.
    pub remote_uri: &'a [u8],
    /// Where the peer is reached: its Contact.
    pub target: &'a [u8],
    /// The route set, as Record-Route values; may be empty.
    pub route_set: &'a [u8],
    /// The socket to send from, as the host names it; may be empty.
    pub socket: &'a [u8],
    /// The CSeq number of the request.
    pub cseq: u32,
    /// Header lines, each ended by CRLF.
    pub headers: &'a [u8],
    /// The body; may be empty.
    pub body: &'a [u8],
}

/// What became of a request that was handed to tm.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is under way; the callback will come, or has come already, maybe in another process.
    UnderWay,
    /// `event_route[tm:local-request]` dropped it: no callback comes.
    Dropped,
    /// Memory ran out, or tm is not there: no callback comes.
    Failed,
    /// There is no way to where it should go: the name is unknown, or no socket leads there. No callback comes.
    Unreachable,
}

/// A final reply, or its absence.
#[derive(Debug)]
pub struct Completed<'a> {
    /// The number that was passed with the request.
    pub token: u64,
    /// The status code; 408 if none came in time.
    pub code: u16,
    /// The request as it was sent.
    pub request: &'a [u8],
    /// The reply; null where the host made the code up. For pseudo-variables only.
    pub reply: *mut raw::sip_msg_t,
}

impl Completed<'_> {
    /// The reply as it was received; empty where the host made the code up.
    #[must_use]
    pub fn reply_text(&self) -> &[u8] {
        // SAFETY: null, or a message that tm keeps during the callback, whose buffer has `len` bytes.
        unsafe {
            self.reply
                .as_ref()
                .map_or(b"", |reply| bytes(&Str { s: reply.buf, len: i32::try_from(reply.len).unwrap_or(0) }))
        }
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

/// A socket by the host's name for it ("udp:127.0.0.1:5060"); null if it is not one of ours.
fn socket(name: &[u8]) -> *mut raw::socket_info {
    let Ok(name) = CString::new(name) else { return null_mut() };
    let mut host: Str = none();
    let (mut port, mut proto) = (0, 0);
    // SAFETY: parses the terminated copy, which lives to the end of this function; the search only reads.
    unsafe {
        if raw::parse_phostport(
            name.as_ptr().cast_mut(),
            &raw mut host.s,
            &raw mut host.len,
            &raw mut port,
            &raw mut proto,
        ) != 0
        {
            return null_mut();
        }
        raw::grep_sock_info(&raw mut host, port as u16, proto as u16)
    }
}

/// Hands a request to tm. `token` comes back with the completion; it is a number, so nothing can leak (rule T1).
/// `sent` is told the next hop of a request that is under way.
pub fn send(request: &Request<'_>, token: u64, sent: impl FnOnce(&[u8])) -> Sent {
    debug_assert_eq!(crate::lock::held(), 0, "no request is sent under a lock");
    let Some(uac) = API.get().and_then(|api| api.0.t_uac_with_ids) else { return Sent::Failed };
    // SAFETY: all pieces live on this stack or in the caller's slices through the call; tm copies what it keeps.
    // The route set is parsed into pkg memory and freed below.
    unsafe {
        let mut dialog: raw::dlg_t = core::mem::zeroed();
        dialog.loc_seq.value = request.cseq;
        dialog.loc_seq.is_set = 1;
        dialog.id.call_id = borrow(request.call_id);
        dialog.id.loc_tag = borrow(request.local_tag);
        dialog.id.rem_tag = borrow(request.remote_tag);
        dialog.loc_uri = borrow(request.local_uri);
        dialog.rem_uri = borrow(request.remote_uri);
        dialog.rem_target = borrow(if request.target.is_empty() { request.remote_uri } else { request.target });
        dialog.state = raw::DLG_CONFIRMED;
        if !request.socket.is_empty() {
            dialog.send_sock = socket(request.socket);
        }
        if !request.route_set.is_empty() {
            let routes = borrow(request.route_set);
            if raw::parse_rr_body(routes.s, routes.len, &raw mut dialog.route_set) < 0 {
                return Sent::Unreachable;
            }
        }
        let mut alias = Alias::new();
        alias.apply(&mut dialog);

        let mut method = borrow(request.method.as_bytes());
        let mut headers = borrow(request.headers);
        let mut body = borrow(request.body);
        let mut req: raw::uac_req_t = core::mem::zeroed();
        req.method = &raw mut method;
        req.headers = &raw mut headers;
        req.body = if request.body.is_empty() { null_mut() } else { &raw mut body };
        req.dialog = &raw mut dialog;
        req.cb_flags = raw::TMCB_LOCAL_COMPLETED as _;
        req.cb = Some(completed);
        req.cbp = token as *mut c_void;

        let (mut index, mut label) = (UNTOUCHED, UNTOUCHED);
        let result = uac(&raw mut req, &raw mut index, &raw mut label);
        // A request that the script dropped is reported as success, with the ids left alone.
        let outcome = match result {
            raw::E_OUT_OF_MEM => Sent::Failed,
            r if r < 0 => Sent::Unreachable,
            _ if index == UNTOUCHED && label == UNTOUCHED => Sent::Dropped,
            _ => Sent::UnderWay,
        };
        if outcome == Sent::UnderWay {
            sent(dialog.hooks.next_hop.as_ref().map(|hop| bytes(hop)).unwrap_or_default());
        }
        if !dialog.route_set.is_null() {
            raw::free_rr(&raw mut dialog.route_set);
        }
        outcome
    }
}

const UNTOUCHED: u32 = u32::MAX;

/// The `;alias=` parameter of a Contact says by which connection the peer was seen: the request goes there.
struct Alias {
    uri: [u8; raw::MAX_URI_SIZE as usize],
    destination: [u8; 128],
}

impl Alias {
    const fn new() -> Self {
        Self { uri: [0; raw::MAX_URI_SIZE as usize], destination: [0; 128] }
    }

    /// Uses the alias where there is no route set, as tm does for its own in-dialog requests.
    ///
    /// # Safety
    /// `self` outlives the use of `dialog`.
    unsafe fn apply(&mut self, dialog: &mut raw::dlg_t) {
        if !dialog.route_set.is_null() {
            return;
        }
        let (mut uri, mut destination) = (borrow(&self.uri), borrow(&self.destination));
        // SAFETY: both buffers are as long as their `str` says; the host writes within and sets the lengths.
        let found =
            unsafe { raw::uri_restore_rcv_alias(&raw mut dialog.rem_target, &raw mut uri, &raw mut destination) >= 0 };
        if found && uri.len > 0 && destination.len > 0 {
            dialog.rem_target = uri;
            dialog.dst_uri = destination;
        }
    }
}
