//! Requests within a dialog that the module sends: what they are made of, and what becomes of them.

use crate::str::{Str, borrow, bytes, none};
use core::ptr::null_mut;
use kamailio_shim as raw;
use std::ffi::CString;

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

/// What became of a request that was sent.
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

/// Runs something with the host's form of the dialog of a request. None if the route set is none.
pub(crate) fn with_dialog<R>(request: &Request<'_>, run: impl FnOnce(&mut raw::dlg_t) -> R) -> Option<R> {
    // SAFETY: a zeroed dialog is an empty one. All pieces live on this stack or in the caller's slices through the call.
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
                return None;
            }
        }
        let mut alias = Alias::new();
        alias.apply(&mut dialog);
        let done = run(&mut dialog);
        if !dialog.route_set.is_null() {
            raw::free_rr(&raw mut dialog.route_set);
        }
        Some(done)
    }
}

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
