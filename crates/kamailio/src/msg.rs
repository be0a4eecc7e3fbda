//! The SIP message that the host is processing.

use crate::str::{Str, bytes, none};
use crate::uri::UserHost;
use core::marker::PhantomData;
use core::ptr::NonNull;
use kamailio_shim as raw;

/// A request or a reply, borrowed from the host while a function of ours runs.
///
/// What its methods return borrows the message's buffer, which the host keeps unchanged meanwhile (rule H1).
#[derive(Debug)]
pub struct Message<'a> {
    msg: NonNull<raw::sip_msg_t>,
    life: PhantomData<&'a mut raw::sip_msg_t>,
}

/// A From or To header field.
#[derive(Clone, Copy, Debug)]
pub struct Party<'a> {
    /// The URI between the angle brackets.
    pub uri: &'a [u8],
    /// The tag; empty if there is none.
    pub tag: &'a [u8],
}

/// A Contact.
#[derive(Clone, Copy, Debug)]
pub struct Contact<'a> {
    /// Its URI.
    pub uri: &'a [u8],
    /// Its `+sip.instance`, without the quotes; empty if there is none.
    pub instance: &'a [u8],
}

/// What is in the Expires header field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expires {
    /// There is no such header field.
    Absent,
    /// Seconds; what is not a number counts as 0, as the host's parser has it.
    Seconds(u32),
    /// Empty or too long.
    Malformed,
}

/// The transport over which a request came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
    Sctp,
    Ws,
}

/// The socket that received a request.
#[derive(Clone, Copy, Debug)]
pub struct Socket<'a> {
    /// As the host writes it: "udp:127.0.0.1:5060".
    pub name: &'a [u8],
    /// The advertised host or the address.
    pub host: &'a [u8],
    /// The advertised port or the port.
    pub port: u16,
    /// Whether the address is IPv6.
    pub is_v6: bool,
}

impl<'a> Message<'a> {
    /// The message behind the pointer that the host gave to a script function.
    ///
    /// # Safety
    /// `msg` is null or the message that the host is processing, for as long as `'a`.
    #[must_use]
    pub unsafe fn from_raw(msg: *mut raw::sip_msg_t) -> Option<Self> {
        NonNull::new(msg).map(|msg| Self { msg, life: PhantomData })
    }

    /// The pointer for C code that takes the message.
    #[must_use]
    pub fn as_ptr(&mut self) -> *mut raw::sip_msg_t {
        self.msg.as_ptr()
    }

    /// The host's number for the message, different for every one that a process receives.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.raw().id
    }

    fn raw(&self) -> &raw::sip_msg_t {
        // SAFETY: valid for 'a by the contract of `from_raw`; the host runs one thread per process.
        unsafe { self.msg.as_ref() }
    }

    /// Parses all header fields. False if the host cannot.
    pub fn parse_headers(&mut self) -> bool {
        // SAFETY: as `raw`.
        unsafe { raw::ksr_parse_all_headers(self.as_ptr()) >= 0 }
    }

    /// The status code of a reply; 0 for a request.
    #[must_use]
    pub fn status(&self) -> u16 {
        // SAFETY: the first line of a message that the host has parsed.
        u16::try_from(unsafe { raw::ksr_reply_status(self.msg.as_ptr()) }).unwrap_or(0)
    }

    /// The branch parameter of the topmost Via; empty if there is none.
    #[must_use]
    pub fn branch(&self) -> &'a [u8] {
        // SAFETY: null, or what the host has parsed of this message.
        unsafe {
            let via = self.raw().via1.as_ref();
            via.and_then(|via| via.branch.as_ref()).map_or(&[], |branch| bytes(&branch.value))
        }
    }

    fn field_body(&self, field: *mut raw::hdr_field) -> Option<&'a [u8]> {
        // SAFETY: null, or a parsed header field of this message.
        unsafe { field.as_ref().map(|f| bytes(&f.body)) }
    }

    /// The body of the first header field with this name, whatever its case; after [`Self::parse_headers`].
    #[must_use]
    pub fn header(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.headers(name).next()
    }

    /// The bodies of all header fields with this name, in order.
    pub fn headers<'n>(&self, name: &'n [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let mut field = self.raw().headers;
        core::iter::from_fn(move || {
            // SAFETY: the list of this message's parsed header fields.
            while let Some(f) = unsafe { field.as_ref() } {
                field = f.next;
                // SAFETY: name and body lie in the message's buffer.
                let (have, body) = unsafe { (bytes(&f.name), bytes(&f.body)) };
                if have.eq_ignore_ascii_case(name) {
                    return Some(body);
                }
            }
            None
        })
    }

    /// The Event header field, in its long or short form.
    #[must_use]
    pub fn event(&self) -> Option<&'a [u8]> {
        self.field_body(self.raw().event)
    }

    /// The Expires header field.
    pub fn expires(&mut self) -> Expires {
        let field = self.raw().expires;
        // SAFETY: null or a header field of this message; the parsed form lives with it.
        unsafe {
            match field.as_ref() {
                None => Expires::Absent,
                Some(f) if f.body.len <= 0 => Expires::Absent,
                Some(_) if raw::parse_expires(field) < 0 => Expires::Malformed,
                Some(_) => {
                    raw::ksr_parsed_expires(field).as_ref().map_or(Expires::Malformed, |e| Expires::Seconds(e.val))
                }
            }
        }
    }

    /// User and host of the Request-URI.
    pub fn request_uri(&mut self) -> Option<UserHost<'a>> {
        // SAFETY: parses into the message itself; the parts borrow its buffer.
        unsafe {
            if raw::parse_sip_msg_uri(self.as_ptr()) < 0 {
                return None;
            }
            let uri = &self.raw().parsed_uri;
            Some(UserHost { user: bytes(&uri.user), host: bytes(&uri.host) })
        }
    }

    /// The From header field.
    pub fn from(&mut self) -> Option<Party<'a>> {
        // SAFETY: parses into the message; the parts borrow its buffer.
        unsafe {
            if self.raw().from.is_null() || raw::parse_from_header(self.as_ptr()) < 0 {
                return None;
            }
        }
        Self::party(self.raw().from)
    }

    /// The To header field.
    #[must_use]
    pub fn to(&self) -> Option<Party<'a>> {
        Self::party(self.raw().to)
    }

    fn party(field: *mut raw::hdr_field) -> Option<Party<'a>> {
        // SAFETY: null or a header field whose `parsed` is null or a to_body.
        unsafe {
            let parsed = raw::ksr_parsed_to(field.as_mut()?).as_ref()?;
            Some(Party { uri: bytes(&parsed.uri), tag: bytes(&parsed.tag_value) })
        }
    }

    /// The Call-ID.
    #[must_use]
    pub fn call_id(&self) -> Option<&'a [u8]> {
        self.field_body(self.raw().callid)
    }

    /// The number of the CSeq header field, as text.
    #[must_use]
    pub fn cseq_number(&self) -> Option<&'a [u8]> {
        let field = self.raw().cseq;
        // SAFETY: null or a header field whose `parsed` is null or a cseq_body.
        unsafe { Some(bytes(&raw::ksr_parsed_cseq(field.as_mut()?).as_ref()?.number)) }
    }

    /// The first Contact; none for "*", for no contact and for one that the host cannot parse.
    pub fn contact(&mut self) -> Option<Contact<'a>> {
        let field = self.raw().contact;
        // SAFETY: null or a header field of this message; the parsed form lives with it.
        unsafe {
            field.as_ref()?;
            if raw::parse_contact(field) < 0 {
                return None;
            }
            let parsed = raw::ksr_parsed_contact(field).as_ref()?;
            if parsed.star != 0 {
                return None;
            }
            let contact = parsed.contacts.as_ref()?;
            let instance = contact.instance.as_ref().map_or(&[][..], |param| bytes(&param.body));
            Some(Contact { uri: bytes(&contact.uri), instance })
        }
    }

    /// The route set of the dialog that this request opens: the Record-Route values in the order received.
    /// An empty text if there are none, or if the host cannot print them.
    #[must_use]
    pub fn record_route(&self) -> Vec<u8> {
        let field = self.raw().record_route;
        if field.is_null() {
            return Vec::new();
        }
        let mut out: Str = none();
        // SAFETY: prints into pkg memory that is copied and freed here.
        unsafe {
            if raw::print_rr_body(field, &raw mut out, 0, core::ptr::null_mut()) != 0 {
                return Vec::new();
            }
            let text = bytes(&out).to_vec();
            crate::pkg::free(out.s);
            text
        }
    }

    /// The User-Agent header field.
    #[must_use]
    pub fn user_agent(&self) -> Option<&'a [u8]> {
        self.field_body(self.raw().user_agent)
    }

    /// Whether there is a Content-Length, and its value.
    #[must_use]
    pub fn content_length(&self) -> Option<usize> {
        if self.raw().content_length.is_null() {
            return None;
        }
        // SAFETY: the header field is there; the host keeps the parsed number in its pointer.
        usize::try_from(unsafe { raw::ksr_content_length(self.msg.as_ptr()) }).ok()
    }

    /// The body: as many bytes as Content-Length says. None if there is no body or it is shorter than that.
    pub fn body(&mut self) -> Option<&'a [u8]> {
        let len = self.content_length()?;
        // SAFETY: the body lies within the message's buffer; the length is checked against its end.
        unsafe {
            let start = raw::ksr_body(self.as_ptr());
            if start.is_null() {
                return None;
            }
            let raw = self.raw();
            let end = raw.buf.add(raw.len as usize);
            let available = usize::try_from(end.offset_from(start)).ok()?;
            (len <= available).then(|| core::slice::from_raw_parts(start.cast::<u8>(), len))
        }
    }

    /// The Content-Type header field, as text.
    #[must_use]
    pub fn content_type(&self) -> Option<&'a [u8]> {
        self.field_body(self.raw().content_type)
    }

    /// The transport over which the request came.
    #[must_use]
    pub fn transport(&self) -> Transport {
        // SAFETY: reads a bit field.
        match unsafe { raw::ksr_transport(self.msg.as_ptr()) } {
            p if p == raw::PROTO_TCP as i32 => Transport::Tcp,
            p if p == raw::PROTO_TLS as i32 => Transport::Tls,
            p if p == raw::PROTO_SCTP as i32 => Transport::Sctp,
            p if p == raw::PROTO_WS as i32 || p == raw::PROTO_WSS as i32 => Transport::Ws,
            _ => Transport::Udp,
        }
    }

    /// The connection over which the request came: the host's number for it, which no other one gets. None for a
    /// datagram, and for SCTP, whose associations the host counts otherwise.
    #[must_use]
    pub fn connection(&self) -> Option<i32> {
        match self.transport() {
            Transport::Udp | Transport::Sctp => None,
            // SAFETY: reads an integer.
            _ => Some(unsafe { raw::ksr_connection(self.msg.as_ptr()) }).filter(|id| *id != 0),
        }
    }

    /// The socket that received the request.
    #[must_use]
    pub fn socket(&self) -> Option<Socket<'a>> {
        // SAFETY: null or one of the host's listening sockets, which live as long as the server.
        unsafe {
            let socket = self.raw().rcv.bind_address.as_ref()?;
            let advertised = bytes(&socket.useinfo.name);
            let host = if advertised.is_empty() { bytes(&socket.address_str) } else { advertised };
            let port = if socket.useinfo.port_no > 0 { socket.useinfo.port_no } else { socket.port_no };
            let is_v6 = u32::from(socket.address.af as u16) == libc::AF_INET6 as u32;
            Some(Socket { name: bytes(&socket.sock_str), host, port, is_v6 })
        }
    }

    /// The branch flags that the script set on the request's first branch.
    #[must_use]
    pub fn branch_flags(&self) -> u32 {
        let mut flags: raw::flag_t = 0;
        // SAFETY: writes one integer.
        unsafe { raw::getbflagsval(0, &raw mut flags) };
        flags
    }

    /// Adds header lines (each ended by CRLF) to the reply that will be sent.
    pub(crate) fn add_reply_headers(&mut self, headers: &[u8]) -> bool {
        let Ok(len) = i32::try_from(headers.len()) else { return false };
        // SAFETY: the host copies the text (LUMP_RPL_HDR without NODUP).
        unsafe { raw::ksr_add_reply_headers(self.as_ptr(), headers.as_ptr().cast_mut().cast(), len) != 0 }
    }
}
