//! From a SIP message to a request of the core.

use crate::params::settings;
use kamailio::msg::{Expires, Message, Socket};
use kamailio::uri::{self, UserHost};
use presence_core::dialog::DialogId;
use presence_core::publish::Publish;
use presence_core::refusal::Refusal;
use presence_core::render::Transport;
use presence_core::subscribe::{Party, Subscribe};
use presence_core::time::Seconds;

/// The longest User-Agent that is remembered.
const MAX_USER_AGENT: usize = 255;

/// The longest `+sip.instance` that is remembered: a URN in angle brackets.
const MAX_INSTANCE: usize = 128;

fn party(uri: UserHost<'_>) -> Party<'_> {
    Party { user: uri.user, host: uri.host }
}

fn expires(msg: &mut Message<'_>) -> Result<Option<Seconds>, Refusal> {
    match msg.expires() {
        Expires::Absent => Ok(None),
        Expires::Seconds(s) => Ok(Some(Seconds(s))),
        Expires::Malformed => Err(Refusal::BadRequest),
    }
}

/// Takes a PUBLISH apart (RFC 3903 6).
pub fn publish<'a>(msg: &mut Message<'a>) -> Result<Publish<'a>, Refusal> {
    if !msg.parse_headers() {
        return Err(Refusal::BadRequest);
    }
    // Without a Content-Length over UDP the end of the body is a guess: refused, as by the C module.
    let body = match msg.content_length() {
        None => return Err(Refusal::BadRequest),
        Some(0) => b"",
        Some(_) => msg.body().ok_or(Refusal::BadRequest)?,
    };
    Ok(Publish {
        event: msg.event(),
        expires: expires(msg)?,
        request_uri: msg.request_uri().map(party),
        if_match: msg.header(b"SIP-If-Match"),
        conditions: msg.headers(b"SIP-If-Match").count(),
        content_type: msg.content_type(),
        body,
        sender: None,
    })
}

/// Texts that a [`Subscribe`] borrows and that are not in the message.
#[derive(Debug, Default)]
pub struct Texts {
    reply_tag: Vec<u8>,
    record_route: Vec<u8>,
    local_contact: Vec<u8>,
    accept: Vec<u8>,
}

/// Takes a SUBSCRIBE apart (RFC 6665 4.2.1). `watcher` is the one that the script named, or From.
pub fn subscribe<'a, 'm: 'a>(
    msg: &mut Message<'m>,
    watcher: Option<UserHost<'a>>,
    server_address: &[u8],
    texts: &'a mut Texts,
) -> Result<Subscribe<'a>, Refusal> {
    if !msg.parse_headers() {
        return Err(Refusal::BadRequest);
    }
    let event = msg.event();
    let from = msg.from().ok_or(Refusal::BadRequest)?;
    let from_uri = uri::parse(from.uri).ok_or(Refusal::BadRequest)?;
    let to = msg.to().ok_or(Refusal::BadRequest)?;
    let to_uri = uri::parse(to.uri).ok_or(Refusal::BadRequest)?;
    // DIFFERS: what is missing in the request is a 400, not a 500 of the server (RFC 3261 21.4.1).
    let contact = msg.contact().ok_or(Refusal::BadRequest)?;
    // DIFFERS: a watcher whom no NOTIFY can ever reach is refused; the C module takes it, and fails to send each one.
    let contact_uri = uri::parse(contact.uri).ok_or(Refusal::BadRequest)?;
    if from.tag.is_empty() {
        return Err(Refusal::BadRequest);
    }
    let in_dialog = !to.tag.is_empty();
    if !in_dialog {
        texts.reply_tag = kamailio::sl::to_tag(msg).ok_or(Refusal::ServerError)?;
        texts.record_route = msg.record_route();
    }
    let socket = msg.socket().ok_or(Refusal::ServerError)?;
    let transport = transport(msg.transport());
    texts.local_contact =
        if server_address.is_empty() { contact_of(&socket, transport) } else { server_address.to_vec() };
    let accept: Vec<&[u8]> = if settings().core.strict { msg.headers(b"Accept").collect() } else { Vec::new() };
    texts.accept = accept.join(&b", "[..]);
    let texts = &*texts;
    Ok(Subscribe {
        event,
        accept: (!accept.is_empty()).then_some(&texts.accept),
        expires: expires(msg)?,
        request_uri: if in_dialog { None } else { msg.request_uri().map(party) },
        to: party(to_uri),
        from: party(from_uri),
        watcher: party(watcher.unwrap_or(from_uri)),
        dialog: DialogId {
            call_id: msg.call_id().ok_or(Refusal::BadRequest)?,
            to_tag: if in_dialog { to.tag } else { &texts.reply_tag },
            from_tag: from.tag,
        },
        in_dialog,
        cseq: msg.cseq_number().and_then(number).ok_or(Refusal::BadRequest)?,
        contact: contact.uri,
        contact_user: contact_uri.user,
        // One that is too long to be one is none: the Contact counts.
        instance: Some(contact.instance).filter(|text| text.len() <= MAX_INSTANCE).unwrap_or_default(),
        record_route: &texts.record_route,
        user_agent: msg.user_agent().filter(|ua| ua.len() < MAX_USER_AGENT).unwrap_or_default(),
        socket: socket.name,
        transport,
        local_contact: &texts.local_contact,
        branch_flags: msg.branch_flags(),
    })
}

fn number(text: &[u8]) -> Option<u32> {
    core::str::from_utf8(text).ok()?.parse().ok()
}

const fn transport(of: kamailio::msg::Transport) -> Transport {
    use kamailio::msg::Transport as Host;
    match of {
        Host::Udp => Transport::Udp,
        Host::Tcp => Transport::Tcp,
        Host::Tls => Transport::Tls,
        Host::Sctp => Transport::Sctp,
        Host::Ws => Transport::Ws,
    }
}

/// Our address in a dialog where none is configured: the receiving socket's.
fn contact_of(socket: &Socket<'_>, transport: Transport) -> Vec<u8> {
    let (open, close): (&[u8], &[u8]) =
        if socket.is_v6 && !socket.host.starts_with(b"[") { (b"[", b"]") } else { (b"", b"") };
    let scheme: &[u8] = if socket.host.starts_with(b"sip:") { b"" } else { b"sip:" };
    let tail = format!(":{};transport={}", socket.port, transport.name());
    [scheme, open, socket.host, close, tail.as_bytes()].concat()
}
