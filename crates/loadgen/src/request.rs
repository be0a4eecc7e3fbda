//! Requests as texts.

use crate::document::document;
use std::net::SocketAddr;

/// What a publisher asks for (RFC 3903 4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Publish {
    /// A new publication.
    Initial,
    /// Another document.
    Modify,
    /// Another lifetime: without a document.
    Refresh,
    /// The end.
    Remove,
}

/// What a watcher asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subscribe {
    /// A new dialog.
    Initial,
    /// Another lifetime.
    Refresh,
    /// The end.
    End,
}

/// Lifetime of what is not removed: nothing expires while it is measured.
const EXPIRES: u32 = 3600;

/// The parts of a request.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: &'static str,
    /// The Request-URI.
    pub uri: String,
    /// The value of From, with its tag.
    pub from: String,
    /// The value of To; with a tag within a dialog.
    pub to: String,
    /// Call-ID.
    pub call_id: String,
    /// The number in CSeq.
    pub cseq: u32,
    /// The lines of all other header fields, each with its end.
    pub headers: String,
    /// The body.
    pub body: String,
}

impl Request {
    /// As it goes over the wire. `branch` ends in `-` and the number of the request.
    #[must_use]
    pub fn text(&self, own: SocketAddr, branch: &str) -> Vec<u8> {
        let Self { method, uri, from, to, call_id, cseq, headers, body } = self;
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK-{branch}\r\nMax-Forwards: 70\r\n\
             From: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n{headers}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}

/// OPTIONS, which the routing script answers.
pub(crate) fn options(server: SocketAddr, call_id: String) -> Request {
    let uri = format!("sip:{server}");
    Request {
        method: "OPTIONS",
        from: "<sip:probe@test.local>;tag=1".into(),
        to: format!("<{uri}>"),
        uri,
        call_id,
        cseq: 1,
        headers: String::new(),
        body: String::new(),
    }
}

/// A PUBLISH of one of a presentity's clients. `etag` is not used by an initial one.
pub(crate) fn publish(
    step: Publish,
    (presentity, client): (u32, usize),
    etag: &str,
    version: u32,
    call_id: String,
) -> Request {
    let uri = format!("sip:p{presentity}@test.local");
    let expires = if step == Publish::Remove { 0 } else { EXPIRES };
    let mut headers = format!("Event: presence\r\nExpires: {expires}\r\n");
    if step != Publish::Initial {
        headers += &format!("SIP-If-Match: {etag}\r\n");
    }
    let mut body = String::new();
    if matches!(step, Publish::Initial | Publish::Modify) {
        headers += "Content-Type: application/pidf+xml\r\n";
        body = document(presentity, client, version);
    }
    let from = format!("<{uri}>;tag=p{presentity}");
    Request { method: "PUBLISH", from, to: format!("<{uri}>"), uri, call_id, cseq: 1, headers, body }
}

/// Where a watcher stands.
#[derive(Debug)]
pub(crate) struct Dialog<'a> {
    pub watcher: u32,
    pub presentity: u32,
    pub call_id: &'a str,
    pub to_tag: &'a str,
    pub cseq: u32,
}

/// A SUBSCRIBE; without a tag of the server it is outside of a dialog.
pub(crate) fn subscribe(step: Subscribe, dialog: &Dialog<'_>, own: SocketAddr, server: SocketAddr) -> Request {
    let Dialog { watcher, presentity, call_id, to_tag, cseq } = dialog;
    let expires = if step == Subscribe::End { 0 } else { EXPIRES };
    let presentity = format!("sip:p{presentity}@test.local");
    let in_dialog = !to_tag.is_empty();
    Request {
        method: "SUBSCRIBE",
        to: if in_dialog { format!("<{presentity}>;tag={to_tag}") } else { format!("<{presentity}>") },
        uri: if in_dialog { format!("sip:{server}") } else { presentity },
        from: format!("<sip:w{watcher}@test.local>;tag=w{watcher}"),
        call_id: (*call_id).to_owned(),
        cseq: *cseq,
        headers: format!(
            "Event: presence\r\nExpires: {expires}\r\nAccept: application/pidf+xml\r\nContact: <sip:w{watcher}@{own}>\r\n\
             User-Agent: loadgen\r\n"
        ),
        body: String::new(),
    }
}
