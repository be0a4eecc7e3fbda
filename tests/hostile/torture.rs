//! Shapes in the manner of RFC 4475, on PUBLISH and SUBSCRIBE: what is odd and valid is served, what is not is refused
//! with one final reply or, where no reply could find its way, dropped.

use crate::level::{Level, assert_serves, brief};
use crate::storm::branch;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use testkit::phone::{Dialog, pidf};
use testkit::{Database, Message, Phone};

/// What is right for a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    /// 2xx: odd, but valid (RFC 4475 3.1.1).
    Served,
    /// One final reply, 4xx to 6xx.
    Refused,
    /// 2xx, or one refusal: the RFC leaves it open.
    Either,
    /// One final reply or none: the host drops what its own parser cannot read, before the module sees it.
    AtMostOne,
}

/// A message that is changed line by line.
struct Shape {
    lines: Vec<String>,
    body: Vec<u8>,
    /// As bytes, where text cannot say it; `{}` in a line stands for it.
    raw: Vec<u8>,
    /// A length of its own, instead of the body's.
    length: Option<String>,
}

impl Shape {
    fn of(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("a whole message");
        let lines = head.split("\r\n").filter(|l| !l.starts_with("Content-Length")).map(str::to_owned).collect();
        Self { lines, body: body.into(), raw: Vec::new(), length: None }
    }

    fn place(&self, name: &str) -> usize {
        let found = self.lines.iter().position(|l| l.starts_with(&format!("{name}:")));
        found.unwrap_or_else(|| panic!("no {name} in {:?}", self.lines))
    }

    fn value(&self, name: &str) -> String {
        self.lines[self.place(name)][name.len() + 1..].trim().to_owned()
    }

    /// Another line in the place of a header field.
    fn line(mut self, name: &str, line: impl Into<String>) -> Self {
        let place = self.place(name);
        self.lines[place] = line.into();
        self
    }

    /// Another value of a header field.
    fn set(self, name: &str, value: impl AsRef<str>) -> Self {
        let line = format!("{name}: {}", value.as_ref());
        self.line(name, line)
    }

    fn without(mut self, name: &str) -> Self {
        let place = self.place(name);
        self.lines.remove(place);
        self
    }

    fn add(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    fn start(mut self, change: impl Fn(&str) -> String) -> Self {
        self.lines[0] = change(&self.lines[0]);
        self
    }

    fn bytes(mut self, raw: &[u8]) -> Self {
        self.raw = raw.into();
        self
    }

    fn length(mut self, text: impl Into<String>) -> Self {
        self.length = Some(text.into());
        self
    }

    fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    fn build(self) -> Vec<u8> {
        let length = self.length.clone().unwrap_or_else(|| format!("Content-Length: {}", self.body.len()));
        let mut out = Vec::new();
        for line in self.lines.iter().chain(std::iter::once(&length)).filter(|line| !line.is_empty()) {
            let (before, after) = line.split_once("{}").unwrap_or((line, ""));
            out.extend(before.bytes());
            if line.contains("{}") {
                out.extend(&self.raw);
            }
            out.extend(after.bytes());
            out.extend(b"\r\n");
        }
        out.extend(b"\r\n");
        out.extend(self.body);
        out
    }
}

type Change = Box<dyn Fn(Shape) -> Shape>;

fn row(name: &'static str, right: Right, change: impl Fn(Shape) -> Shape + 'static) -> (&'static str, Right, Change) {
    (name, right, Box::new(change))
}

/// Shapes that a PUBLISH and a SUBSCRIBE may have.
fn of_both() -> Vec<(&'static str, Right, Change)> {
    use Right::{AtMostOne, Either, Refused, Served};
    let mut rows = vec![
        row("folded Event", Served, |s| s.line("Event", "Event:\r\n  presence")),
        row("folded Expires", Served, |s| s.line("Expires", "Expires:\r\n\t 3")),
        row("folded To", Served, |s| {
            let to = s.value("To");
            s.line("To", format!("To :\r\n\t{to}"))
        }),
        row("spaces before the colon", Served, |s| s.line("Event", "Event \t :   presence  ")),
        row("no space behind the colon", Served, |s| s.line("Event", "Event:presence")),
        row("capitals", Served, |s| s.line("Event", "EVENT: presence").line("Expires", "eXpIrEs: 3")),
        row("compact forms", Served, |s| {
            ["Via v", "From f", "To t", "Call-ID i", "Event o"].iter().fold(s, |s, pair| {
                let (long, short) = pair.split_once(' ').unwrap_or_default();
                let value = s.value(long);
                s.line(long, format!("{short}: {value}"))
            })
        }),
        row("a name with quotes and backslashes", Served, |s| {
            let from = s.value("From");
            s.set("From", format!("\"J Rosenberg \\\\\\\" <sip:x@y>;tag=z\" {from}"))
        }),
        row("an unknown parameter with a quoted value", Served, |s| {
            let from = s.value("From");
            s.set("From", format!("{from} ;note=\"a;b,<c>\" ; x"))
        }),
        row("an unknown header field, a thousand times", Served, |s| {
            (0..1000).fold(s, |s, n| s.add(format!("X-{n}: y")))
        }),
        // The host's own parser drops it.
        row("a header field of all that a token may have", AtMostOne, |s| {
            s.add("!interesting-Message0123456789_*+`.%indeed'~: y")
        }),
        row("escaped letters in the Request-URI", Served, |s| s.start(|l| l.replacen("alice", "%61lice", 1))),
        row("an escaped NUL in the Request-URI", Served, |s| s.start(|l| l.replacen("alice", "null-%00-null", 1))),
        row("parameters in the user part", Either, |s| s.start(|l| l.replacen("alice", "alice;p=1:pw", 1))),
        row("an unknown scheme in the Request-URI", Refused, |s| {
            s.start(|l| l.replacen("sip:alice@test.local", "nobody:opaque", 1))
        }),
        row("no scheme in the Request-URI", AtMostOne, |s| s.start(|l| l.replacen("sip:alice@test.local", "alice", 1))),
        row("a Request-URI in angle brackets", AtMostOne, |s| {
            s.start(|l| l.replacen("sip:alice@test.local", "<sip:alice@test.local>", 1))
        }),
        row("a Request-URI with a space", AtMostOne, |s| s.start(|l| l.replacen("alice", "al ice", 1))),
        row("spaces within the request line", AtMostOne, |s| s.start(|l| l.replace(' ', "  "))),
        row("another version", AtMostOne, |s| s.start(|l| l.replace("SIP/2.0", "SIP/7.0"))),
        row("a method in small letters", AtMostOne, |s| s.start(str::to_lowercase)),
        row("another method in CSeq", AtMostOne, |s| s.set("CSeq", "1 OPTIONS")),
        row("a tel URI", Either, |s| s.start(|l| l.replacen("sip:alice@test.local", "tel:+15551234", 1))),
        row("a huge CSeq", AtMostOne, |s| {
            let method = s.value("CSeq").split(' ').next_back().unwrap_or_default().to_owned();
            s.set("CSeq", format!("36893488147419103232 {method}"))
        }),
        row("a CSeq of 2^32-1", Either, |s| {
            let method = s.value("CSeq").split(' ').next_back().unwrap_or_default().to_owned();
            s.set("CSeq", format!("4294967295 {method}"))
        }),
        row("a CSeq that is no number", AtMostOne, |s| s.set("CSeq", "x PUBLISH")),
        row("Expires of 2^32", Either, |s| s.set("Expires", "4294967296")),
        row("Expires of hundred digits", Either, |s| s.set("Expires", "9".repeat(100))),
        row("negative Expires", Either, |s| s.set("Expires", "-1")),
        row("Expires that is no number", Either, |s| s.set("Expires", "soon")),
        row("empty Expires", Either, |s| s.set("Expires", "")),
        row("a negative Content-Length", AtMostOne, |s| s.length("Content-Length: -999")),
        row("a Content-Length beyond the datagram", AtMostOne, |s| s.length("Content-Length: 9999")),
        row("a Content-Length of 2^64", AtMostOne, |s| s.length("Content-Length: 18446744073709551616")),
        row("a Content-Length that is no number", AtMostOne, |s| s.length("Content-Length: many")),
        row("no From", AtMostOne, |s| s.without("From")),
        row("no To", AtMostOne, |s| s.without("To")),
        row("no Call-ID", AtMostOne, |s| s.without("Call-ID")),
        row("no CSeq", AtMostOne, |s| s.without("CSeq")),
        row("no Via", AtMostOne, |s| s.without("Via")),
        row("no Max-Forwards", Served, |s| s.without("Max-Forwards")),
        row("no Event", Refused, |s| s.without("Event")),
        row("no Expires", Served, |s| s.without("Expires")),
        row("an Event that is no token", Refused, |s| s.set("Event", "pre@sence")),
        row("an empty Event", Refused, |s| s.set("Event", "")),
        row("an Event of another world", Refused, |s| s.set("Event", "unknown-package")),
        row("hundred parameters of Event", Refused, |s| s.set("Event", format!("presence{}", ";a=b".repeat(100)))),
        row("two Events", Either, |s| s.add("Event: dialog")),
        row("two Events in one", Refused, |s| s.set("Event", "presence, dialog")),
        row("two Expires", Either, |s| s.add("Expires: 0")),
        row("two Froms", AtMostOne, |s| s.add("From: <sip:mallory@test.local>;tag=other")),
        row("two Tos", AtMostOne, |s| s.add("To: <sip:mallory@test.local>;tag=other")),
        row("two Call-IDs", AtMostOne, |s| s.add("Call-ID: other")),
        row("two CSeqs", AtMostOne, |s| s.add("CSeq: 99 OPTIONS")),
        row("two Content-Lengths", AtMostOne, |s| s.add("Content-Length: 1")),
        row("two Content-Types", Either, |s| s.add("Content-Type: text/plain")),
        row("From of an unknown scheme", Either, |s| s.set("From", "isbn:2983792873;tag=1")),
        row("From without a URI", AtMostOne, |s| s.set("From", "\"nobody\";tag=1")),
        row("From that is never closed", AtMostOne, |s| s.set("From", "<sip:x@y;tag=1")),
        row("a quote that is never closed", AtMostOne, |s| s.set("From", "\"x <sip:x@y>;tag=1")),
        row("no tag in From", Either, |s| s.set("From", "<sip:bob@test.local>")),
        row("an empty tag in From", AtMostOne, |s| s.set("From", "<sip:bob@test.local>;tag=")),
        row("a port of 99999", Either, |s| s.start(|l| l.replacen("test.local", "test.local:99999", 1))),
        row("an IPv6 address that is never closed", AtMostOne, |s| {
            s.start(|l| l.replacen("test.local", "[2001:db8", 1))
        }),
        row("hundred hops of Via", Served, |s| {
            (0..100).fold(s, |s, n| s.add(format!("Via: SIP/2.0/UDP h{n}.invalid;branch=z9hG4bKx{n}")))
        }),
        row("a Via that is none, further down", AtMostOne, |s| s.add("Via: SIP/2.0/// ;;;branch=")),
        row("hundred Record-Routes", Either, |s| {
            (0..100).fold(s, |s, n| s.add(format!("Record-Route: <sip:127.0.0.{n}:1;lr>")))
        }),
        row("a Record-Route that is none", Either, |s| s.add("Record-Route: <<sip:>>,,\"")),
        row("a Route that is none", Either, |s| s.add("Route: <sip:,>;;lr=\"")),
        row("a Max-Forwards of 300 digits", Either, |s| s.set("Max-Forwards", "7".repeat(300))),
        row("an unknown transport in Via", AtMostOne, |s| {
            let via = s.value("Via").replace("SIP/2.0/UDP", "SIP/2.0/UNKNOWN");
            s.set("Via", via)
        }),
        row("a header field without a colon", AtMostOne, |s| s.add("nothing here")),
        row("a header field without a name", AtMostOne, |s| s.add(": value")),
    ];
    for (name, value) in [
        ("a NUL in a header field", &b"\0"[..]),
        ("bytes that are no UTF-8 in a header field", b"\xff\xfe\x80\xc0"),
        ("a lone CR in a header field", b"a\rb"),
        ("control characters in a header field", b"\x01\x02\x1b[2J\x7f"),
        ("a byte order mark", b"\xef\xbb\xbf"),
    ] {
        rows.push(row(name, AtMostOne, move |s| s.add("Subject: {}").bytes(value)));
    }
    for (name, field, left, right) in [
        ("a NUL in Event", "Event", "presence;x=", ""),
        ("a NUL in From's user", "From", "<sip:bo", "b@test.local>;tag=n"),
        ("a NUL in a tag", "From", "<sip:bob@test.local>;tag=n", "n"),
        ("a NUL in Call-ID", "Call-ID", "a", "b"),
    ] {
        rows.push(row(name, AtMostOne, move |s| s.set(field, format!("{left}{{}}{right}")).bytes(b"\0")));
    }
    for (name, field, left, right) in [
        ("a Call-ID of 20,000 letters", "Call-ID", "", ""),
        ("a tag of 20,000 letters", "From", "<sip:bob@test.local>;tag=", ""),
        ("a user of 20,000 letters", "From", "<sip:", "@test.local>;tag=l"),
        ("a host of 20,000 letters", "From", "<sip:bob@", ">;tag=h"),
        ("a name of 20,000 letters", "From", "\"", "\" <sip:bob@test.local>;tag=d"),
        ("an Event parameter of 20,000 letters", "Event", "presence;id=", ""),
        ("an Event of 20,000 letters", "Event", "p", ""),
    ] {
        rows.push(row(name, Either, move |s| s.set(field, format!("{left}{}{right}", "x".repeat(20_000)))));
    }
    rows
}

/// Shapes of a PUBLISH.
fn of_publish() -> Vec<(&'static str, Right, Change)> {
    use Right::{AtMostOne, Either, Refused, Served};
    vec![
        row("a compact Content-Type", Served, |s| s.line("Content-Type", "c: application/pidf+xml")),
        row("no Content-Type", Either, |s| s.without("Content-Type")),
        row("a Content-Type that is none", Either, |s| s.set("Content-Type", ";;;/")),
        row("a boundary that is none", Either, |s| s.set("Content-Type", "multipart/mixed;boundary=\"")),
        row("an unknown Content-Encoding", Either, |s| s.add("Content-Encoding: rot13")),
        row("an unknown tag", Refused, |s| s.add("SIP-If-Match: nobody.knows.it.1")),
        row("two tags", Refused, |s| s.add("SIP-If-Match: a.1").add("SIP-If-Match: b.2")),
        row("an empty tag", Either, |s| s.add("SIP-If-Match: ")),
        row("a tag of 20,000 letters", Refused, |s| s.add(format!("SIP-If-Match: {}", "x".repeat(20_000)))),
        row("a tag with a NUL", AtMostOne, |s| s.add("SIP-If-Match: a{}b").bytes(b"\0")),
        row("a tag with quotes and percent signs", Refused, |s| s.add("SIP-If-Match: '\"%s%n%x' OR 1=1; --")),
        row("no body", Refused, |s| s.body("").without("Content-Type")),
        row("a body of NULs", Refused, |s| s.body(vec![0; 2000])),
        row("a body of noise", Refused, |s| s.body((0..2000u32).map(|n| (n * 7 % 251) as u8).collect::<Vec<_>>())),
        row("a body that ends too soon", Refused, |s| {
            let half = s.body[..s.body.len() / 2].to_vec();
            s.body(half)
        }),
        row("a body that is no UTF-8", Refused, |s| {
            let mut body = s.body.clone();
            let middle = body.windows(4).position(|w| w == b"here").unwrap_or(0);
            body.splice(middle..middle, *b"\xff\xfe");
            s.body(body)
        }),
        row("Sender that is no URI", Either, |s| s.add("Sender: <<>>")),
    ]
}

/// Shapes of a SUBSCRIBE.
fn of_subscribe() -> Vec<(&'static str, Right, Change)> {
    use Right::{AtMostOne, Either, Refused};
    let mut rows = vec![
        row("no Contact", Refused, |s| s.without("Contact")),
        row("a Contact of everything", Refused, |s| s.set("Contact", "*")),
        row("an empty Contact", Either, |s| s.set("Contact", "")),
        row("two Contacts", Either, |s| s.add("Contact: <sip:other@127.0.0.1:9>")),
        row("hundred Contacts in one", Either, |s| {
            let more = ", <sip:x@127.0.0.1:9>;q=0.1".repeat(100);
            let contact = s.value("Contact");
            s.set("Contact", contact + &more)
        }),
        row("a body in a SUBSCRIBE", Either, |s| s.add("Content-Type: application/x").body("<?xml?>")),
        row("a tag of no dialog in To", Refused, |s| s.set("To", "<sip:alice@test.local>;tag=nobody.knows")),
        row("a CSeq of 0", Either, |s| s.set("CSeq", "0 SUBSCRIBE")),
        row("an Accept that is none", Either, |s| s.add("Accept: ;;,,\"")),
        row("a thousand Accepts", Either, |s| (0..1000).fold(s, |s, n| s.add(format!("Accept: a/b{n};q=0.{n}")))),
        row("a User-Agent of 20,000 letters", Either, |s| s.add(format!("User-Agent: {}", "x".repeat(20_000)))),
    ];
    for contact in [
        "<>",
        "<sip:>",
        "sip:",
        "<sip:a@b",
        "\"<sip:a@b>",
        "<nobody:opaque>",
        "<sip:a@[::1>",
        "<sip:a@127.0.0.1:99999>",
        "<sip:a@127.0.0.1:0>",
        "<sip:;@;?;>",
        "<sip:a@127.0.0.1;transport=nonsense>",
        "<sip:a@no.such.host.invalid>",
        "<sip:a@127.0.0.1>;+sip.instance=\"",
        "<sip:a@255.255.255.255>",
    ] {
        rows.push(row(contact, AtMostOne, move |s| s.set("Contact", contact)));
    }
    rows.push(row("a Contact of 20,000 letters", Either, |s| {
        s.set("Contact", format!("<sip:{}@127.0.0.1:9>", "x".repeat(20_000)))
    }));
    rows
}

/// So many shapes are sent before the server is looked at.
const BATCH: usize = 16;

/// A shape as it was sent.
struct Sent {
    what: String,
    right: Right,
    branch: String,
    message: Vec<u8>,
}

impl Sent {
    fn of(phone: &Phone, method: &str, name: &str, right: Right, change: &Change) -> Self {
        let text = match method {
            "PUBLISH" => phone.publish_request("alice", "presence", None, Some(3), &pidf("alice", "open", "here"), &[]),
            _ => phone.subscribe_request(&Dialog { cseq: 1, ..Dialog::new("alice", "presence") }, Some(3), &[]),
        };
        let branch = branch(&Message::parse(text.as_bytes()));
        Self { what: format!("{method}, {name}"), right, branch, message: change(Shape::of(&text)).build() }
    }

    fn fits(&self, codes: &[u16]) -> bool {
        match (self.right, codes) {
            (Right::Served, [code]) => code / 100 == 2,
            (Right::Refused, [code]) => *code >= 400,
            (Right::Either, [_]) | (Right::AtMostOne, [] | [_]) => true,
            _ => false,
        }
    }
}

/// Every shape once.
fn all_shapes(phone: &Phone) -> Vec<Sent> {
    let of = |method: &'static str, own: Vec<(&'static str, Right, Change)>| {
        let rows = of_both().into_iter().chain(own);
        rows.map(move |(name, right, change)| Sent::of(phone, method, name, right, &change)).collect::<Vec<_>>()
    };
    of("PUBLISH", of_publish()).into_iter().chain(of("SUBSCRIBE", of_subscribe())).collect()
}

/// The final replies to a batch, by branch: those that have to come within seconds, others within a moment.
fn finals(phone: &mut Phone, batch: &[Sent]) -> HashMap<String, Vec<u16>> {
    let mut found = HashMap::<String, Vec<u16>>::new();
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let is_open = |sent: &Sent| sent.right != Right::AtMostOne && !found.contains_key(&sent.branch);
        let waits = Instant::now() < end && batch.iter().any(is_open);
        match phone.receive(Duration::from_millis(150)) {
            Some(reply) if reply.code() >= 200 => found.entry(branch(&reply)).or_default().push(reply.code()),
            Some(_) => {}
            None if waits => {}
            None => break,
        }
    }
    phone.inbox.clear();
    found
}

fn torture(database: Database, mode: u8, cache: u8) {
    let mut server = brief().database(database).param("subs_db_mode", mode).param("publ_cache", cache).start();
    let mut phone = Phone::new("bob", server.port);
    let mut answers = BTreeMap::<Vec<u16>, u32>::new();
    let (mut wrong, mut before) = (Vec::new(), None);
    // What is made once and kept is there after the first round.
    for _ in 0..2 {
        for batch in all_shapes(&phone).chunks(BATCH) {
            batch.iter().for_each(|sent| phone.send_raw(&sent.message));
            let found = finals(&mut phone, batch);
            let names: Vec<&str> = batch.iter().map(|sent| sent.what.as_str()).collect();
            assert!(server.is_running(), "the server is down after one of {names:?}\n{}", server.log());
            for sent in batch {
                let codes = found.get(&sent.branch).cloned().unwrap_or_default();
                if !sent.fits(&codes) {
                    wrong.push(format!("{}: {codes:?} instead of {:?}", sent.what, sent.right));
                }
                *answers.entry(codes).or_default() += 1;
            }
        }
        match &before {
            None => before = Some(Level::settled(&server, Some(&mut phone))),
            Some(before) => drop(Level::assert_back_at(before, 256 * 1024, &server, Some(&mut phone))),
        }
    }
    println!("shapes of RFC 4475, by final reply: {answers:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_serves(&mut server);
}

#[test]
fn shapes_of_rfc_4475_are_served_or_refused_once_in_memory() {
    torture(Database::None, 0, 2);
}

#[test]
fn shapes_of_rfc_4475_are_served_or_refused_once_with_sqlite() {
    torture(Database::Sqlite("wal"), 1, 1);
}
