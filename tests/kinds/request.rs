//! The requests of an actor.

use super::kind::{Ask, Command, Dialog, Document, Flaw, Role, Tag};
use loadgen::{Request, Sequence};
use serde_json::{Value, json};
use std::net::SocketAddr;
use testkit::phone::{content_type, dialog_info, pidf};

/// A dialog of one of an actor's phones.
#[derive(Clone, Default, Debug)]
pub struct Held {
    /// Tells it from all dialogs before.
    pub life: u64,
    pub call_id: String,
    /// The server's tag.
    pub tag: String,
    pub cseq: u32,
    pub sequence: Sequence,
    /// The last NOTIFY has come.
    pub over: bool,
}

/// What requests are made of.
#[derive(Clone, Default, Debug)]
pub struct Identity {
    pub user: String,
    pub etag: String,
    pub dialogs: [Held; 2],
}

fn document(event: &str, user: &str, number: u64) -> String {
    match event {
        "dialog" => dialog_info(user, &number.to_string(), "confirmed"),
        "message-summary" => format!("Messages-Waiting: yes\r\nVoice-Message: {number}/0\r\n"),
        _ => pidf(user, "open", &number.to_string()),
    }
}

fn event_line(event: &str) -> String {
    if event.is_empty() { String::new() } else { format!("Event: {event}\r\n") }
}

impl Identity {
    pub fn uri(&self) -> String {
        format!("sip:{}@test.local", self.user)
    }

    /// The request; `number` tells it from all others. None: nothing goes over the wire.
    pub fn request(&mut self, ask: Ask, number: u64, own: SocketAddr, server: SocketAddr) -> Option<Request> {
        match ask {
            Ask::Publish { event, tag, document, expires } => Some(self.publish(event, tag, document, expires, number)),
            Ask::Subscribe { role, event, dialog, flaw, expires } => {
                let headers = format!("{}Expires: {expires}\r\n{}", event_line(event), promises(role, flaw, own));
                Some(self.subscribe(role, dialog, headers, number, server))
            }
            Ask::Options => {
                let from = format!("<sip:probe@test.local>;tag={number}");
                Some(self.outside("OPTIONS", from, String::new(), String::new(), number))
            }
            Ask::Command(_) | Ask::Wait => None,
        }
    }

    fn outside(&self, method: &'static str, from: String, headers: String, body: String, number: u64) -> Request {
        let (uri, call_id) = (self.uri(), format!("r{number}.{}", self.user));
        Request { method, to: format!("<{uri}>"), uri, from, call_id, cseq: 1, headers, body }
    }

    fn publish(&self, event: &str, tag: Tag, carried: Document, expires: u32, number: u64) -> Request {
        let mut headers = format!("{}Expires: {expires}\r\n", event_line(event));
        match tag {
            Tag::None => {}
            Tag::Own => headers += &format!("SIP-If-Match: {}\r\n", self.etag),
            Tag::Unknown => headers += &format!("SIP-If-Match: nobody.{number}\r\n"),
        }
        let whole = || document(event, &self.user, number);
        let (kind, body) = match carried {
            Document::None => ("", String::new()),
            Document::Whole => (content_type(event), whole()),
            Document::Malformed => (content_type(event), whole().replace("</tuple>", "")),
            Document::Mistyped => ("text/plain", whole()),
        };
        if !kind.is_empty() {
            headers += &format!("Content-Type: {kind}\r\n");
        }
        self.outside("PUBLISH", format!("<{}>;tag=p{number}", self.uri()), headers, body, number)
    }

    fn subscribe(&mut self, role: Role, dialog: Dialog, headers: String, number: u64, server: SocketAddr) -> Request {
        let presentity = self.uri();
        let mut unknown = Held { call_id: format!("u{number}"), tag: "nobody".into(), ..Held::default() };
        let held = if dialog == Dialog::Unknown { &mut unknown } else { &mut self.dialogs[role as usize] };
        held.cseq += 1;
        let in_dialog = !held.tag.is_empty();
        Request {
            method: "SUBSCRIBE",
            to: if in_dialog { format!("<{presentity}>;tag={}", held.tag) } else { format!("<{presentity}>") },
            uri: if in_dialog { format!("sip:{server}") } else { presentity },
            from: format!("<sip:w{}@test.local>;tag={}", self.user, role as usize),
            call_id: held.call_id.clone(),
            cseq: if dialog == Dialog::Late { 1 } else { held.cseq },
            headers,
            body: String::new(),
        }
    }

    /// The name and the parameters of a command, and what its answer has to show.
    pub fn command(&self, command: Command) -> (&'static str, Value, String) {
        let (uri, user) = (self.uri(), self.user.clone());
        match command {
            Command::Refresh(what) => ("presence.refreshWatchers", json!([uri, "presence", what]), String::new()),
            Command::Update => ("presence.updateWatchers", json!([uri, "presence"]), String::new()),
            Command::Cleanup => ("presence.cleanup", json!([]), String::new()),
            Command::Watchers => ("presence.watcher_list", json!(["full", uri]), user),
            Command::Publications => ("presence.presentity_show", json!(["full", user, "test.local"]), user),
            Command::Some => ("presence.presentity_list", json!(["full", "limit=20"]), "test.local".into()),
        }
    }
}

/// Where the phone is, and what it takes.
fn promises(role: Role, flaw: Flaw, own: SocketAddr) -> String {
    let contact = match flaw {
        Flaw::Contact => "<nonsense>".into(),
        Flaw::None | Flaw::Accept => format!("<sip:w{}@{own}>", role as usize),
    };
    let accept = if flaw == Flaw::Accept { "Accept: application/foo\r\n" } else { "" };
    format!("Contact: {contact}\r\n{accept}User-Agent: kinds\r\n")
}
