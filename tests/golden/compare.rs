//! Two traces of one case, taken apart and compared field by field.
//!
//! Messages are compared per end and, for NOTIFYs, per dialog: what two sockets of one machine receive first is an
//! accident. Times count only where they are an expiry.

use crate::trace::{End, Entry, Trace};
use std::collections::BTreeMap;
use testkit::{Message, sip};

/// One field in which two traces differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The message and its field.
    pub field: String,
    /// What was recorded.
    pub stock: String,
    /// What was seen.
    pub here: String,
}

/// In place of a value that is not there.
pub const NONE: &str = "(none)";

/// The host's header fields: neither their presence nor their value is the module's.
const OF_THE_HOST: [&str; 6] = ["Via", "Content-Length", "Server", "User-Agent", "Max-Forwards", "Date"];

/// An expiry may be off by this, in seconds: clocks of whole seconds, on both sides.
const EXPIRY_SLACK: f64 = 2.0;

/// A message may come earlier or later by this, in seconds: a period of the module's timers, and some load.
const TIME_SLACK: f64 = 5.0;

/// A message of the server, ready to be compared.
#[derive(Clone, Debug)]
struct Part {
    name: String,
    fields: Vec<(String, String)>,
    seconds: f64,
}

/// Every message in full, and their order at each end.
pub fn exact(stock: &Trace, here: &Trace) -> Vec<Difference> {
    let mut found = requests(stock, here);
    for end in End::ALL {
        let (stock, here) = (parts(stock, end), parts(here, end));
        found.extend(pairs(&stock, &here));
        found.extend(order(end, &stock, &here));
    }
    found
}

/// The outcome where NOTIFYs are buffered: every reply in full, and of each dialog its last NOTIFY.
pub fn settled(stock: &Trace, here: &Trace) -> Vec<Difference> {
    let mut found = requests(stock, here);
    for end in End::ALL {
        found.extend(backward(end, here));
        found.extend(pairs(&outcome(parts(stock, end)), &outcome(parts(here, end))));
    }
    found
}

fn difference(field: String, stock: impl Into<String>, here: impl Into<String>) -> Difference {
    Difference { field, stock: stock.into(), here: here.into() }
}

/// The requests of the ends: they differ if a case was written down wrongly, or if it continues with other values.
fn requests(stock: &Trace, here: &Trace) -> Vec<Difference> {
    let of = |trace: &Trace, end| -> Vec<String> {
        let sent = trace.0.iter().filter(|e| e.sent && e.end == end && !e.text.starts_with("SIP/2.0"));
        sent.map(|e| e.text.clone()).collect()
    };
    let mut found = Vec::new();
    for end in End::ALL {
        let (stock, here) = (of(stock, end), of(here, end));
        for number in 0..stock.len().max(here.len()) {
            let [stock, here] = [&stock, &here].map(|r| r.get(number).map_or(NONE, String::as_str));
            if stock != here {
                let (stock, here) = body(stock, here);
                found.push(difference(format!("{} request {}", end.name(), number + 1), stock, here));
            }
        }
    }
    found
}

/// What the server sent to an end, in its order.
fn parts(trace: &Trace, end: End) -> Vec<Part> {
    let mut sent: Vec<Message> = Vec::new();
    let mut dialogs: Vec<String> = Vec::new();
    let mut names: BTreeMap<String, u32> = BTreeMap::new();
    let mut parts = Vec::new();
    for entry in trace.0.iter().filter(|e| e.end == end) {
        let message = entry.message();
        if entry.sent {
            sent.push(message);
            continue;
        }
        let kind = if message.code() > 0 { reply(&sent, &message) } else { notify(&mut dialogs, &message) };
        let count = names.entry(kind.clone()).or_default();
        *count += 1;
        let name = match (message.code(), *count) {
            (0, n) => format!("{} {kind} {n}", end.name()),
            (_, 1) => format!("{} {kind}", end.name()),
            (_, n) => format!("{} {kind} again {n}", end.name()),
        };
        parts.push(Part { name, fields: fields(&message), seconds: entry.seconds });
    }
    parts
}

/// `reply 2` is the reply to the second request of this end.
fn reply(sent: &[Message], message: &Message) -> String {
    let requests = sent.iter().filter(|m| m.code() == 0).enumerate();
    let own = requests.filter(|(_, m)| m.header("Via") == message.header("Via")).last();
    own.map_or_else(|| "stray reply".into(), |(number, _)| format!("reply {}", number + 1))
}

/// `NOTIFY` in the first dialog that this end sees, `dialog 2 NOTIFY` in the second.
fn notify(dialogs: &mut Vec<String>, message: &Message) -> String {
    let [call_id, from] = ["Call-ID", "From"].map(|n| message.header(n).unwrap_or_default());
    let dialog = format!("{call_id} {}", sip::tag(from));
    let number = dialogs.iter().position(|d| *d == dialog).unwrap_or_else(|| {
        dialogs.push(dialog);
        dialogs.len() - 1
    });
    if number == 0 { message.method().to_owned() } else { format!("dialog {} {}", number + 1, message.method()) }
}

fn fields(message: &Message) -> Vec<(String, String)> {
    let start = if message.code() > 0 {
        ("status".to_owned(), message.start.trim_start_matches("SIP/2.0 ").to_owned())
    } else {
        ("Request-URI".to_owned(), message.start.split(' ').nth(1).unwrap_or_default().to_owned())
    };
    let mut fields = vec![start];
    for (name, value) in message.headers.iter().filter(|(n, _)| !OF_THE_HOST.contains(&n.as_str())) {
        match fields.iter_mut().find(|(n, _)| n == name) {
            Some((_, values)) => *values = format!("{values}, {value}"),
            None => fields.push((name.clone(), value.clone())),
        }
    }
    if !message.body.is_empty() {
        fields.push(("body".into(), message.body.clone()));
    }
    fields
}

fn value<'p>(part: &'p Part, field: &str) -> &'p str {
    part.fields.iter().find(|(n, _)| n == field).map_or(NONE, |(_, v)| v)
}

/// Parts of the same name beside each other.
fn pairs(stock: &[Part], here: &[Part]) -> Vec<Difference> {
    let find = |parts: &[Part], name: &str| parts.iter().find(|p| p.name == name).cloned();
    let mut found = Vec::new();
    for part in stock {
        match find(here, &part.name) {
            Some(other) => found.extend(pair(part, &other)),
            None => found.push(difference(part.name.clone(), summary(part), NONE)),
        }
    }
    let extra = here.iter().filter(|p| find(stock, &p.name).is_none());
    found.extend(extra.map(|p| difference(p.name.clone(), NONE, summary(p))));
    found
}

fn pair(stock: &Part, here: &Part) -> Vec<Difference> {
    let mut names: Vec<&str> = stock.fields.iter().map(|(n, _)| n.as_str()).collect();
    names.extend(here.fields.iter().map(|(n, _)| n.as_str()).filter(|n| value(stock, n) == NONE));
    let mut found = Vec::new();
    for name in names {
        let values = (value(stock, name), value(here, name));
        if values.0 == values.1 || (name == "Subscription-State" && same_expiry(stock, here)) {
            continue;
        }
        let values = if name == "body" { body(values.0, values.1) } else { (values.0.into(), values.1.into()) };
        found.push(difference(format!("{} {name}", here.name), values.0, values.1));
    }
    let delay = here.seconds - stock.seconds;
    if delay.abs() > TIME_SLACK {
        let [stock, seen] = if delay > 0.0 { ["earlier", "later"] } else { ["later", "earlier"] };
        found.push(difference(format!("{} time", here.name), stock, seen));
    }
    found
}

/// Whether both states end at the same moment of the case.
fn same_expiry(stock: &Part, here: &Part) -> bool {
    let ends = [stock, here].map(|part| {
        let (state, expires) = value(part, "Subscription-State").split_once(";expires=")?;
        Some((state, expires.parse::<f64>().ok()? + part.seconds))
    });
    matches!(ends, [Some((a, at)), Some((b, other))] if a == b && (at - other).abs() <= EXPIRY_SLACK)
}

/// Two bodies, each cut down to the lines in which they differ.
fn body(stock: &str, here: &str) -> (String, String) {
    let [a, b] = [stock, here].map(|b| b.lines().map(str::trim).collect::<Vec<_>>());
    let shorter = a.len().min(b.len());
    let head = (0..shorter).take_while(|&i| a[i] == b[i]).count();
    let tail = (0..shorter - head).take_while(|&i| a[a.len() - 1 - i] == b[b.len() - 1 - i]).count();
    let [a, b] = [a, b].map(|lines| lines[head..lines.len() - tail].join(" "));
    let text = |cut: String, all: &str| if all == NONE || cut.is_empty() { NONE.to_owned() } else { cut };
    if a == b { ("other line ends".into(), "line ends".into()) } else { (text(a, stock), text(b, here)) }
}

/// A message that only one of them has, in a line.
fn summary(part: &Part) -> String {
    if value(part, "status") != NONE {
        return value(part, "status").to_owned();
    }
    let cseq = part.fields.iter().find(|(name, _)| name == "CSeq").map(|(_, v)| format!("CSeq {v}"));
    let cseq = cseq.map(|text| text.trim_end_matches(" NOTIFY").to_owned());
    let state = value(part, "Subscription-State").split(";expires").next().map(str::to_owned);
    let body = value(part, "body").lines().map(str::trim).collect::<Vec<_>>().join(" ");
    cseq.into_iter().chain(state).chain([body]).collect::<Vec<_>>().join(", ")
}

/// The order of the messages that both have.
fn order(end: End, stock: &[Part], here: &[Part]) -> Option<Difference> {
    let common = |of: &[Part], other: &[Part]| -> Vec<String> {
        let names = of.iter().map(|p| p.name.clone());
        names.filter(|n| other.iter().any(|p| p.name == *n)).collect()
    };
    let (stock, here) = (common(stock, here), common(here, stock));
    (stock != here).then(|| difference(format!("{} order", end.name()), stock.join(", "), here.join(", ")))
}

/// A CSeq that does not grow within a dialog. A repetition has the same branch and is no NOTIFY of its own.
fn backward(end: End, trace: &Trace) -> Vec<Difference> {
    let mut last: BTreeMap<String, (u32, String)> = BTreeMap::new();
    let mut found = Vec::new();
    for message in trace.0.iter().filter(|e| !e.sent && e.end == end).map(Entry::message) {
        if message.code() > 0 {
            continue;
        }
        let dialog = format!("{:?}", ["Call-ID", "From"].map(|n| message.header(n)));
        let (before, text) = last.entry(dialog).or_default();
        let is_repeated = message.cseq() == *before && message.body == *text;
        if message.cseq() <= *before && !is_repeated {
            let now = format!("{} after {before}", message.cseq());
            found.push(difference(format!("{} NOTIFY CSeq", end.name()), "grows", now));
        }
        (*before, *text) = (message.cseq(), message.body.clone());
    }
    found
}

/// The replies, and the last NOTIFY of each dialog without what depends on how many there were.
fn outcome(parts: Vec<Part>) -> Vec<Part> {
    let mut kept: Vec<Part> = Vec::new();
    for mut part in parts {
        if value(&part, "status") == NONE {
            part.name = part.name.rsplit_once(' ').map_or_else(String::new, |(kind, _)| format!("last {kind}"));
            part.fields.retain(|(name, _)| name != "CSeq");
            for (_, body) in part.fields.iter_mut().filter(|(name, _)| name == "body") {
                *body = without_counters(body);
            }
            kept.retain(|p| p.name != part.name);
        }
        kept.push(part);
    }
    kept
}

/// A document of watchers (RFC 3858) without its version, and whether it is full: they say how many there were.
fn without_counters(body: &str) -> String {
    let Some((before, root)) = body.split_once("<watcherinfo ") else { return body.to_owned() };
    let Some((attributes, after)) = root.split_once('>') else { return body.to_owned() };
    let is_counter = |a: &&str| a.starts_with("version=") || a.starts_with("state=");
    let kept: Vec<&str> = attributes.split(' ').filter(|a| !is_counter(a)).collect();
    format!("{before}<watcherinfo {}>{after}", kept.join(" "))
}
