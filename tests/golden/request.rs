//! Requests of the ends, as the cases spell them.

use crate::names::RUN;
use crate::scene::Scene;
use crate::trace::End;

/// A request that is being put together; [`Request::send`] sends it.
#[derive(Debug)]
pub struct Request<'s> {
    scene: &'s mut Scene,
    end: End,
    method: &'static str,
    uri: String,
    from: String,
    from_tag: &'static str,
    to: String,
    to_tag: String,
    call_id: String,
    cseq: u32,
    branch: Option<&'static str>,
    event: Option<&'static str>,
    expires: Option<&'static str>,
    etag: String,
    contact: Option<String>,
    content_type: Option<&'static str>,
    more: Vec<String>,
    length: Length,
    body: String,
}

/// What Content-Length says.
#[derive(Debug)]
enum Length {
    True,
    Claimed(usize),
    Missing,
}

/// What a case needs of a reply.
#[derive(Clone, Default, Debug)]
pub struct Answer {
    /// SIP-ETag; empty without.
    pub etag: String,
    /// The tag in To; empty without.
    pub tag: String,
}

/// A minimal presence document of a user.
pub fn pidf(user: &str, basic: &str, tuple: &str, more: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
         entity=\"sip:{user}@test.local\"><tuple id=\"{tuple}\"><status><basic>{basic}</basic></status></tuple>{more}\
         </presence>\r\n"
    )
}

impl<'s> Request<'s> {
    /// A PUBLISH with an open document, for an hour.
    pub fn publish(scene: &'s mut Scene) -> Self {
        scene.publications += 1;
        let user = scene.name;
        let own = format!("<sip:{user}@test.local>");
        let call_id = format!("{user}-pub{}", scene.publications);
        let body = pidf(user, "open", "t1", "");
        let base = Self::new(scene, End::Pub, "PUBLISH", own, call_id);
        Self { content_type: Some("application/pidf+xml"), body, ..base }
    }

    /// A SUBSCRIBE for an hour.
    pub fn subscribe(scene: &'s mut Scene, end: End) -> Self {
        let contact = format!("<sip:{}@{}>", end.name(), scene.address(end));
        let call_id = format!("{}-{}", scene.name, end.name());
        let base = Self::new(scene, end, "SUBSCRIBE", format!("<sip:{}@test.local>", end.name()), call_id);
        Self { contact: Some(contact), ..base }
    }

    /// An OPTIONS, which the routing script answers.
    pub fn options(scene: &'s mut Scene) -> Self {
        Self::new(scene, End::Pub, "OPTIONS", "<sip:pub@test.local>".into(), "options".into())
    }

    fn new(scene: &'s mut Scene, end: End, method: &'static str, from: String, call_id: String) -> Self {
        let uri = format!("sip:{}@test.local", scene.name);
        Self {
            scene,
            end,
            method,
            to: format!("<{uri}>"),
            uri,
            from,
            from_tag: "ft",
            to_tag: String::new(),
            call_id,
            cseq: 1,
            branch: None,
            event: Some("presence"),
            expires: Some("3600"),
            etag: String::new(),
            contact: None,
            content_type: None,
            more: Vec::new(),
            length: Length::True,
            body: String::new(),
        }
    }

    /// Another Request-URI.
    pub fn uri(mut self, uri: &str) -> Self {
        self.uri = uri.into();
        self
    }

    /// Another To.
    pub fn to(mut self, to: &str) -> Self {
        self.to = to.into();
        self
    }

    /// Another presentity, in the Request-URI and in To.
    pub fn presentity(self, uri: &str) -> Self {
        self.uri(uri).to(&format!("<{uri}>"))
    }

    /// No tag in From.
    pub fn no_from_tag(mut self) -> Self {
        self.from_tag = "";
        self
    }

    /// In the dialog with this tag, with this CSeq.
    pub fn dialog(mut self, tag: &str, cseq: u32) -> Self {
        self.to_tag = tag.into();
        self.cseq(cseq)
    }

    /// Another CSeq than 1.
    pub fn cseq(mut self, cseq: u32) -> Self {
        self.cseq = cseq;
        self
    }

    /// Another Call-ID.
    pub fn call_id(mut self, call_id: &str) -> Self {
        self.call_id = call_id.into();
        self
    }

    /// This branch, for a repetition.
    pub fn branch(mut self, branch: &'static str) -> Self {
        self.branch = Some(branch);
        self
    }

    /// Another Event.
    pub fn event(mut self, event: &'static str) -> Self {
        self.event = Some(event);
        self
    }

    /// No Event.
    pub fn no_event(mut self) -> Self {
        self.event = None;
        self
    }

    /// Another Expires.
    pub fn expires(mut self, expires: &'static str) -> Self {
        self.expires = Some(expires);
        self
    }

    /// No Expires.
    pub fn no_expires(mut self) -> Self {
        self.expires = None;
        self
    }

    /// SIP-If-Match.
    pub fn etag(mut self, etag: &str) -> Self {
        self.etag = etag.into();
        self
    }

    /// Another Contact.
    pub fn contact(mut self, contact: &str) -> Self {
        self.contact = Some(contact.into());
        self
    }

    /// No Contact.
    pub fn no_contact(mut self) -> Self {
        self.contact = None;
        self
    }

    /// Another Content-Type.
    pub fn content_type(mut self, content_type: &'static str) -> Self {
        self.content_type = Some(content_type);
        self
    }

    /// No Content-Type.
    pub fn no_content_type(mut self) -> Self {
        self.content_type = None;
        self
    }

    /// A header field after all others.
    pub fn header(mut self, line: &str) -> Self {
        self.more.push(line.into());
        self
    }

    /// Another body.
    pub fn body(mut self, body: &str) -> Self {
        self.body = body.into();
        self
    }

    /// The closed document.
    pub fn closed(self) -> Self {
        let body = pidf(self.scene.name, "closed", "t1", "");
        self.body(&body)
    }

    /// The closed document with another tuple.
    pub fn closed_elsewhere(self) -> Self {
        let body = pidf(self.scene.name, "closed", "t2", "");
        self.body(&body)
    }

    /// No body.
    pub fn no_body(self) -> Self {
        self.no_content_type().body("")
    }

    /// A Content-Length of this value.
    pub fn length(mut self, length: usize) -> Self {
        self.length = Length::Claimed(length);
        self
    }

    /// No Content-Length.
    pub fn no_length(mut self) -> Self {
        self.length = Length::Missing;
        self
    }

    /// Sends it; what the final reply says.
    pub fn send(self) -> Answer {
        self.scene.requests += 1;
        let text = self.text();
        let reply = self.scene.ask(self.end, &text);
        reply.map_or_else(Answer::default, |reply| Answer {
            etag: reply.header("SIP-ETag").unwrap_or_default().into(),
            tag: reply.to_tag().into(),
        })
    }

    /// Its text.
    pub fn text(&self) -> String {
        let branch =
            self.branch.map_or_else(|| format!("-{RUN}-{}-{}", self.scene.name, self.scene.requests), String::from);
        let mut lines = vec![
            format!("{} {} SIP/2.0", self.method, self.uri),
            format!("Via: SIP/2.0/UDP {};branch=z9hG4bK{branch}", self.scene.address(self.end)),
            "Max-Forwards: 70".into(),
            format!("From: {}{}", self.from, tag(self.from_tag)),
            format!("To: {}{}", self.to, tag(&self.to_tag)),
            format!("Call-ID: {}-{RUN}", self.call_id),
            format!("CSeq: {} {}", self.cseq, self.method),
        ];
        lines.extend(self.event.map(|e| format!("Event: {e}")));
        lines.extend(self.expires.map(|e| format!("Expires: {e}")));
        lines.extend((!self.etag.is_empty()).then(|| format!("SIP-If-Match: {}", self.etag)));
        lines.extend(self.contact.as_ref().map(|c| format!("Contact: {c}")));
        lines.extend(self.content_type.map(|c| format!("Content-Type: {c}")));
        lines.extend_from_slice(&self.more);
        match self.length {
            Length::True => lines.push(format!("Content-Length: {}", self.body.len())),
            Length::Claimed(length) => lines.push(format!("Content-Length: {length}")),
            Length::Missing => {}
        }
        format!("{}\r\n\r\n{}", lines.join("\r\n"), self.body)
    }
}

fn tag(tag: &str) -> String {
    if tag.is_empty() { String::new() } else { format!(";tag={tag}") }
}
