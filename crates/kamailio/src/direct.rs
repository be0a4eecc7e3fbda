//! Requests within a dialog that are sent without the transaction module. Whoever sends them looks after the reply.

use crate::request::{Request, with_dialog};
use crate::route::EventRoute;
use crate::str::{bytes, show};
use core::ffi::c_uint;
use core::net::IpAddr;
use kamailio_shim as raw;

/// Where a request goes, and from which socket: the host's addresses, the same in every process.
#[derive(Clone, Copy)]
pub struct Destination(raw::dest_info_t);

impl core::fmt::Debug for Destination {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Destination").field("proto", &self.0.proto).finish_non_exhaustive()
    }
}

// SAFETY: the socket it points to was made before the fork and stays; nobody writes to it.
unsafe impl Send for Destination {}

impl Destination {
    /// Whether the transport repeats by itself what gets lost.
    #[must_use]
    pub fn is_reliable(&self) -> bool {
        self.0.proto as u32 != raw::PROTO_UDP
    }

    /// Sends a whole message, as the host sends its own: others may look at it and change it on its way (topos). The host
    /// logs why one could not be sent.
    pub fn send(&self, message: &[u8]) {
        debug_assert_eq!(crate::lock::held(), 0, "nothing is sent under a lock");
        let mut to = self.0;
        // SAFETY: the host reads the destination and `len` bytes; it copies what it keeps or changes.
        unsafe { raw::ksr_send(&raw mut to, message.as_ptr().cast_mut().cast(), message.len() as c_uint) };
    }

    /// The address of the next hop of a request: none where it has a name that only the resolver knows, or where the
    /// host has no socket for it.
    fn of(next_hop: &raw::str_, socket: *mut raw::socket_info) -> Option<Self> {
        // SAFETY: zeroed structures are empty ones; the host reads the texts of the URI, and writes the address.
        unsafe {
            let mut uri: raw::sip_uri_t = core::mem::zeroed();
            if raw::parse_uri(next_hop.s, next_hop.len, &raw mut uri) != 0 || !bytes(&uri.maddr_val).is_empty() {
                return None;
            }
            let name = show(bytes(&uri.host));
            let number: Result<IpAddr, _> = name.trim_start_matches('[').trim_end_matches(']').parse();
            number.ok()?;
            let secure = uri.type_ == raw::SIPS_URI_T;
            let transport = match uri.proto as u32 {
                raw::PROTO_UDP if secure => return None,
                raw::PROTO_WS => raw::PROTO_WS,
                _ if secure => raw::PROTO_TLS,
                raw::PROTO_NONE => raw::PROTO_UDP,
                known @ (raw::PROTO_UDP | raw::PROTO_TCP | raw::PROTO_TLS) => known,
                _ => return None,
            };
            let mut to: raw::dest_info_t = core::mem::zeroed();
            to.proto = transport as _;
            if raw::sip_hostport2su(&raw mut to.to, &raw mut uri.host, uri.port_no, &raw mut to.proto) != 0 {
                return None;
            }
            if !socket.is_null() {
                raw::ksr_force_socket(&raw mut to);
            }
            to.send_sock = raw::get_send_socket2(socket, &raw mut to.to, to.proto.into(), core::ptr::null_mut());
            (!to.send_sock.is_null()).then_some(Self(to))
        }
    }
}

/// A request, ready to be sent.
#[derive(Debug)]
pub struct Prepared {
    /// The whole message.
    pub message: Vec<u8>,
    /// Where in the message the branch parameter's value begins.
    pub branch_at: usize,
    /// Where it goes.
    pub to: Destination,
    /// The URI that this was found out from.
    pub next_hop: Vec<u8>,
}

/// Writes a request as tm would, with this branch. None where only tm can send it: the next hop has a name instead of an
/// address, or wants to be reached by strict routing, or cannot be reached.
#[must_use]
pub fn prepare(request: &Request<'_>, branch: &[u8]) -> Option<Prepared> {
    with_dialog(request, |dialog| {
        let mut next_hop = if dialog.dst_uri.len > 0 { dialog.dst_uri } else { dialog.rem_target };
        // SAFETY: null, or the parsed route set, whose texts are those of the request.
        unsafe {
            if let Some(first) = dialog.route_set.as_ref() {
                next_hop = first.nameaddr.uri;
                let mut uri: raw::sip_uri_t = core::mem::zeroed();
                if raw::parse_uri(next_hop.s, next_hop.len, &raw mut uri) != 0 || uri.lr.s.is_null() {
                    return None;
                }
            }
        }
        let to = Destination::of(&next_hop, dialog.send_sock)?;
        // SAFETY: what the dialog names are the texts of the request, which outlive this.
        let target = unsafe { bytes(&dialog.rem_target) };
        let (message, branch_at) = write(request, target, branch, to)?;
        // SAFETY: as above.
        let next_hop = unsafe { bytes(&next_hop) }.to_vec();
        Some(Prepared { message, branch_at, to, next_hop })
    })?
}

/// The message, and where its branch begins.
fn write(request: &Request<'_>, target: &[u8], branch: &[u8], to: Destination) -> Option<(Vec<u8>, usize)> {
    let mut m = Vec::with_capacity(768 + request.headers.len() + request.body.len());
    [request.method.as_bytes(), b" ", target, b" SIP/2.0\r\n"].iter().for_each(|part| m.extend_from_slice(part));
    let branch_at = push_via(&mut m, branch, to)?;
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| m.extend_from_slice(part));
    put(&[b"To: <", request.remote_uri, b">;tag=", request.remote_tag]);
    put(&[b"\r\nFrom: <", request.local_uri, b">;tag=", request.local_tag]);
    put(&[b"\r\nCSeq: ", request.cseq.to_string().as_bytes(), b" ", request.method.as_bytes()]);
    put(&[b"\r\nCall-ID: ", request.call_id]);
    if !request.route_set.is_empty() {
        put(&[b"\r\nRoute: ", request.route_set]);
    }
    put(&[b"\r\nContent-Length: ", request.body.len().to_string().as_bytes(), b"\r\n"]);
    // SAFETY: set while kamailio.cfg was read, and not changed later.
    let (signs, signature) = unsafe { (raw::server_signature != 0, raw::user_agent_hdr) };
    // SAFETY: as above.
    let signature = if signs { unsafe { bytes(&signature) } } else { &[] };
    if !signature.is_empty() {
        put(&[signature, b"\r\n"]);
    }
    put(&[request.headers, b"\r\n", request.body]);
    Some((m, branch_at))
}

/// The Via header field for a destination. Gives the place of the branch.
fn push_via(message: &mut Vec<u8>, branch: &[u8], mut to: Destination) -> Option<usize> {
    let (mut value, mut len, begin) = (crate::str::borrow(branch), 0, message.len());
    // SAFETY: the host writes a header field into pkg memory, which is given back here.
    unsafe {
        let via = raw::ksr_via(&raw mut to.0, &raw mut value, &raw mut len);
        if via.is_null() {
            return None;
        }
        message.extend_from_slice(core::slice::from_raw_parts(via.cast(), len as usize));
        raw::ksr_pkg_free(via.cast());
    }
    message[begin..].windows(branch.len().max(1)).position(|part| part == branch).map(|at| begin + at)
}

/// Why requests that do not go through tm would pass somebody by: a sentence's end. None if nobody would mind.
#[must_use]
pub fn obstacle() -> Option<&'static str> {
    if EventRoute::find(c"tm:local-request", None).is_some() {
        return Some("the script has an event_route[tm:local-request]");
    }
    // SAFETY: the tables of routes and modules are filled while kamailio.cfg is read, and only read later.
    unsafe {
        if raw::ksr_tm_event_callback() != 0 {
            return Some("modparam event_callback of tm names a function");
        }
        if raw::ksr_onsend_route_is_set() != 0 {
            return Some("the script has an onsend_route");
        }
        if raw::ksr_tm_answers_first() != 0 {
            return Some("presence is loaded before tm, which then sees the replies first");
        }
    }
    None
}
