//! A phone: it sends requests, takes NOTIFYs and answers them, over UDP or over a connection of its own.

use crate::sip::Message;
use crate::wire::{Transport, Wire};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

static NEXT: AtomicU32 = AtomicU32::new(1);

/// A number that no other part of the test run uses.
#[must_use]
pub fn unique() -> String {
    let start = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
    format!("{}x{:x}x{:x}", NEXT.fetch_add(1, Ordering::Relaxed), std::process::id(), start)
}

/// A phone, a publisher, a watcher.
#[derive(Debug)]
pub struct Phone {
    wire: Wire,
    /// Its user name.
    pub user: String,
    /// Its domain, and that of everybody whom it deals with.
    pub domain: String,
    /// What it calls itself in Via and Contact, instead of its address: a browser does not know where it is.
    pub host: Option<String>,
    /// The code with which NOTIFYs are answered; none: not at all.
    pub answer: Option<u16>,
    /// NOTIFYs that came and were not taken yet.
    pub inbox: Vec<Message>,
    /// Replies that came and belong to no request that is waited for.
    pub strays: Vec<Message>,
    /// Every message that it sent and took, if this is wanted.
    pub trace: Option<Vec<Traced>>,
}

/// A message on its way between a phone and the server.
#[derive(Clone, Debug)]
pub struct Traced {
    /// When it was sent or taken.
    pub at: Instant,
    /// Whether the phone sent it.
    pub sent: bool,
    /// The message.
    pub message: Message,
}

/// A subscription that a phone holds.
#[derive(Clone, Debug)]
pub struct Dialog {
    /// The presentity's user.
    pub presentity: String,
    /// The package.
    pub event: String,
    /// Call-ID.
    pub call_id: String,
    /// The server's tag.
    pub to_tag: String,
    /// The phone's tag.
    pub from_tag: String,
    /// CSeq of the last SUBSCRIBE.
    pub cseq: u32,
}

impl Dialog {
    /// A dialog that is about to begin.
    #[must_use]
    pub fn new(presentity: &str, event: &str) -> Self {
        Self {
            presentity: presentity.into(),
            event: event.into(),
            call_id: format!("sub-{}", unique()),
            to_tag: String::new(),
            from_tag: format!("f{}", unique()),
            cseq: 0,
        }
    }
}

/// A minimal presence document.
#[must_use]
pub fn pidf(user: &str, basic: &str, note: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
         entity=\"sip:{user}@test.local\"><tuple id=\"t1\"><status><basic>{basic}</basic></status><note>{note}</note>\
         </tuple></presence>\r\n"
    )
}

/// A minimal dialog-info document with one dialog.
#[must_use]
pub fn dialog_info(user: &str, id: &str, state: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\r\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"0\" state=\"full\" \
         entity=\"sip:{user}@test.local\"><dialog id=\"{id}\" direction=\"recipient\"><state>{state}</state></dialog>\
         </dialog-info>\r\n"
    )
}

/// The content type of a package's documents.
#[must_use]
pub fn content_type(event: &str) -> &'static str {
    match event.split(';').next().unwrap_or_default() {
        "dialog" => "application/dialog-info+xml",
        "message-summary" => "application/simple-message-summary",
        "xcap-diff" => "application/xcap-diff+xml",
        "conference" => "application/conference-info+xml",
        "reg" => "application/reginfo+xml",
        "ua-profile" => "text/xml",
        "weather" => "text/plain",
        _ => "application/pidf+xml",
    }
}

impl Phone {
    /// A phone that talks to the server on this port of 127.0.0.1, over UDP.
    #[must_use]
    pub fn new(user: &str, port: u16) -> Self {
        Self::of(user, ([127, 0, 0, 1], port).into()).expect("a socket")
    }

    /// A phone that talks to the server at this address over UDP, from the address that leads there.
    pub fn of(user: &str, server: SocketAddr) -> std::io::Result<Self> {
        Wire::udp(server).map(|wire| Self::on(user, wire))
    }

    /// A phone on this wire.
    #[must_use]
    pub fn on(user: &str, wire: Wire) -> Self {
        Self {
            wire,
            user: user.into(),
            domain: "test.local".into(),
            host: None,
            answer: Some(200),
            inbox: Vec::new(),
            strays: Vec::new(),
            trace: None,
        }
    }

    /// The URI of a user of its domain.
    #[must_use]
    pub fn uri_of(&self, user: &str) -> String {
        format!("sip:{user}@{}", self.domain)
    }

    fn note(&mut self, sent: bool, message: &Message) {
        if let Some(trace) = &mut self.trace {
            trace.push(Traced { at: Instant::now(), sent, message: message.clone() });
        }
    }

    /// Its own address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.wire.address()
    }

    /// Its Contact URI.
    #[must_use]
    pub fn contact(&self) -> String {
        format!("sip:{}@{}{}", self.user, self.host(), self.wire.transport().parameter())
    }

    fn host(&self) -> String {
        self.host.clone().unwrap_or_else(|| self.address().to_string())
    }

    /// Sends bytes as they are.
    pub fn send_raw(&self, bytes: &[u8]) {
        self.wire.send(bytes, None).expect("sends");
    }

    /// Builds a request. `to_tag` empty: outside of a dialog.
    #[must_use]
    #[allow(clippy::too_many_arguments)]
    pub fn request(
        &self,
        method: &str,
        uri: &str,
        from: &str,
        to: &str,
        tags: (&str, &str),
        call_id: &str,
        cseq: u32,
        headers: &[String],
        body: &str,
    ) -> String {
        let (from_tag, to_tag) = tags;
        let mut text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{} {};branch=z9hG4bK{}\r\nMax-Forwards: 70\r\nFrom: <{from}>;tag={from_tag}\r\n",
            self.wire.transport().name(),
            self.host(),
            unique()
        );
        let tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
        let _ = write!(text, "To: <{to}>{tag}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n");
        for header in headers {
            let _ = write!(text, "{header}\r\n");
        }
        let _ = write!(text, "Content-Length: {}\r\n\r\n{body}", body.len());
        text
    }

    /// Sends a request and waits up to 5 s for its final reply; NOTIFYs that come meanwhile go to the inbox.
    pub fn ask(&mut self, request: &str) -> Message {
        self.try_ask(request).unwrap_or_else(|| panic!("no final reply within 5 s to\n{request}"))
    }

    /// As [`Self::ask`]; none without a final reply.
    pub fn try_ask(&mut self, request: &str) -> Option<Message> {
        let parsed = Message::parse(request.as_bytes());
        let branch = parsed.header("Via").unwrap_or_default().to_owned();
        self.note(true, &parsed);
        self.send_raw(request.as_bytes());
        let end = Instant::now() + Duration::from_secs(5);
        let mut again = Instant::now() + Duration::from_millis(500);
        while Instant::now() < end {
            if let Some(message) = self.receive(Duration::from_millis(20)) {
                if message.code() >= 200 && message.header("Via").is_some_and(|v| branch_of(v) == branch_of(&branch)) {
                    return Some(message);
                }
                self.strays.push(message);
            }
            if self.wire.transport() == Transport::Udp && Instant::now() > again {
                self.send_raw(request.as_bytes());
                again += Duration::from_secs(1);
            }
        }
        None
    }

    /// The next reply, or none within `wait`. NOTIFYs are answered and go to the inbox.
    pub fn receive(&mut self, wait: Duration) -> Option<Message> {
        let end = Instant::now() + wait;
        loop {
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            if let Some((bytes, source)) = self.wire.receive(left) {
                let message = Message::parse(&bytes);
                self.note(false, &message);
                if message.method() != "NOTIFY" {
                    return Some(message);
                }
                self.answer_to(&message, source);
                self.inbox.push(message);
            }
            if Instant::now() >= end {
                return None;
            }
        }
    }

    fn answer_to(&mut self, request: &Message, source: Option<SocketAddr>) {
        let Some(code) = self.answer else { return };
        self.answer_with(request, source, code, "", &[]);
    }

    /// Answers a request that came from the server, with a tag of its own.
    pub fn reply(&mut self, request: &Message, code: u16, tag: &str, headers: &[String]) {
        self.answer_with(request, None, code, tag, headers);
    }

    fn answer_with(&mut self, request: &Message, to: Option<SocketAddr>, code: u16, tag: &str, more: &[String]) {
        let phrase = if code == 200 { "OK" } else { "Answered" };
        let mut text = format!("SIP/2.0 {code} {phrase}\r\n");
        for (name, value) in &request.headers {
            let lower = name.to_ascii_lowercase();
            if ["via", "record-route", "from", "to", "call-id", "cseq"].contains(&lower.as_str()) {
                let tagged = lower == "to" && !tag.is_empty() && !value.contains(";tag=");
                let _ = if tagged {
                    write!(text, "{name}: {value};tag={tag}\r\n")
                } else {
                    write!(text, "{name}: {value}\r\n")
                };
            }
        }
        for header in more {
            let _ = write!(text, "{header}\r\n");
        }
        text.push_str("Content-Length: 0\r\n\r\n");
        self.note(true, &Message::parse(text.as_bytes()));
        let _ = self.wire.send(text.as_bytes(), to);
    }

    /// The next request with this method, other than NOTIFY, within 5 s; it is not answered.
    pub fn request_of(&mut self, method: &str) -> Message {
        self.stray(|m| m.method() == method).unwrap_or_else(|| panic!("{}: no {method} within 5 s", self.user))
    }

    /// The next message that fits, of those that no request waits for, within 5 s.
    pub fn stray(&mut self, fits: impl Fn(&Message) -> bool) -> Option<Message> {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            if let Some(place) = self.strays.iter().position(&fits) {
                return Some(self.strays.remove(place));
            }
            if Instant::now() >= end {
                return None;
            }
            if let Some(stray) = self.receive(Duration::from_millis(20)) {
                self.strays.push(stray);
            }
        }
    }

    /// Takes NOTIFYs for some time.
    pub fn listen(&mut self, time: Duration) {
        while let Some(stray) = self.receive(time) {
            self.strays.push(stray);
        }
    }

    /// The next NOTIFY, within 5 s.
    pub fn notify(&mut self) -> Message {
        self.notify_within(5.0).unwrap_or_else(|| panic!("{}: no NOTIFY within 5 s", self.user))
    }

    /// The next NOTIFY, or none.
    pub fn notify_within(&mut self, seconds: f64) -> Option<Message> {
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        while self.inbox.is_empty() && Instant::now() < end {
            if let Some(stray) = self.receive(Duration::from_millis(20)) {
                self.strays.push(stray);
            }
        }
        (!self.inbox.is_empty()).then(|| self.inbox.remove(0))
    }

    /// Publishes a document for itself. Returns the reply.
    pub fn publish(&mut self, event: &str, etag: Option<&str>, expires: Option<u32>, body: &str) -> Message {
        let user = self.user.clone();
        self.publish_for(&user, event, etag, expires, body)
    }

    /// Publishes a document for another presentity.
    pub fn publish_for(
        &mut self,
        user: &str,
        event: &str,
        etag: Option<&str>,
        expires: Option<u32>,
        body: &str,
    ) -> Message {
        let request = self.publish_request(user, event, etag, expires, body, &[]);
        self.ask(&request)
    }

    /// The text of a PUBLISH.
    #[must_use]
    pub fn publish_request(
        &self,
        user: &str,
        event: &str,
        etag: Option<&str>,
        expires: Option<u32>,
        body: &str,
        more: &[String],
    ) -> String {
        let mut headers = vec![format!("Event: {event}")];
        headers.extend(expires.map(|e| format!("Expires: {e}")));
        headers.extend(etag.map(|e| format!("SIP-If-Match: {e}")));
        if !body.is_empty() {
            headers.push(format!("Content-Type: {}", content_type(event)));
        }
        headers.extend_from_slice(more);
        let uri = self.uri_of(user);
        self.request("PUBLISH", &uri, &uri, &uri, ("ptag", ""), &format!("pub-{}", unique()), 1, &headers, body)
    }

    /// Subscribes; panics unless the answer is a 2xx. The first NOTIFY is left in the inbox.
    pub fn subscribe(&mut self, presentity: &str, event: &str, expires: u32) -> Dialog {
        let mut dialog = Dialog::new(presentity, event);
        let reply = self.resubscribe(&mut dialog, expires);
        assert_eq!(reply.code() / 100, 2, "{reply:?}");
        dialog.to_tag = reply.to_tag().to_owned();
        dialog
    }

    /// Sends the next SUBSCRIBE of a dialog; `expires` 0 ends it. Returns the reply.
    pub fn resubscribe(&mut self, dialog: &mut Dialog, expires: u32) -> Message {
        dialog.cseq += 1;
        let request = self.subscribe_request(dialog, Some(expires), &[]);
        self.ask(&request)
    }

    /// The text of a SUBSCRIBE in a dialog as it stands.
    #[must_use]
    pub fn subscribe_request(&self, dialog: &Dialog, expires: Option<u32>, more: &[String]) -> String {
        let mut headers = vec![format!("Event: {}", dialog.event), format!("Contact: <{}>", self.contact())];
        headers.extend(expires.map(|e| format!("Expires: {e}")));
        headers.extend_from_slice(more);
        let (uri, from) = (self.uri_of(&dialog.presentity), self.uri_of(&self.user));
        self.request(
            "SUBSCRIBE",
            &uri,
            &from,
            &uri,
            (&dialog.from_tag, &dialog.to_tag),
            &dialog.call_id,
            dialog.cseq,
            &headers,
            "",
        )
    }
}

fn branch_of(via: &str) -> &str {
    via.split("branch=").nth(1).map_or("", |b| b.split(';').next().unwrap_or(b))
}
