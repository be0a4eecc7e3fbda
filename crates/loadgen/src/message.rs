//! The few things that are read from what the server sends, in one pass over a datagram.

use crate::document::{self, State};

/// What came.
#[derive(PartialEq, Eq, Debug)]
pub enum Incoming<'a> {
    /// A final reply to one of our requests.
    Reply(Reply<'a>),
    /// A NOTIFY.
    Notify(Notify<'a>),
}

/// A final reply.
#[derive(PartialEq, Eq, Debug, Default)]
pub struct Reply<'a> {
    /// The status code.
    pub code: u16,
    /// The number of the request, from the branch of our Via.
    pub transaction: u64,
    /// The server's tag.
    pub to_tag: &'a str,
    /// SIP-ETag; empty if there is none.
    pub etag: &'a str,
}

/// A NOTIFY.
#[derive(PartialEq, Eq, Debug, Default)]
pub struct Notify<'a> {
    /// Call-ID.
    pub call_id: &'a str,
    /// CSeq.
    pub cseq: u32,
    /// Subscription-State says that it was the last one.
    pub terminated: bool,
    /// The branch of the topmost Via: a NOTIFY that is sent again has the same one.
    pub branch: &'a str,
    /// The versions in the document.
    pub state: State,
}

/// Header field lines that a reply repeats (RFC 3261 8.2.6.2).
const ECHOED: [&str; 5] = ["Via", "From", "To", "Call-ID", "CSeq"];

/// Takes a datagram apart. None for what is neither a final reply nor a NOTIFY.
#[must_use]
pub fn parse(datagram: &[u8]) -> Option<Incoming<'_>> {
    let (head, body) = split(datagram)?;
    if head.starts_with("NOTIFY ") {
        return notify(head, body).map(Incoming::Notify);
    }
    let code = head.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()?;
    if code < 200 {
        return None;
    }
    reply(code, head).map(Incoming::Reply)
}

fn split(datagram: &[u8]) -> Option<(&str, &[u8])> {
    let end = datagram.windows(4).position(|w| w == b"\r\n\r\n")?;
    Some((std::str::from_utf8(&datagram[..end]).ok()?, &datagram[end + 4..]))
}

/// Header fields with their names, in their order.
fn fields(head: &str) -> impl Iterator<Item = (&str, &str)> {
    head.split('\n').skip(1).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name, value.trim()))
    })
}

fn reply(code: u16, head: &str) -> Option<Reply<'_>> {
    let mut reply = Reply { code, ..Reply::default() };
    let mut transaction = None;
    for (name, value) in fields(head) {
        if name.eq_ignore_ascii_case("Via") && transaction.is_none() {
            transaction = number_of_branch(value);
        } else if name.eq_ignore_ascii_case("To") {
            reply.to_tag = parameter(value, ";tag=").unwrap_or_default();
        } else if name.eq_ignore_ascii_case("SIP-ETag") {
            reply.etag = value;
        }
    }
    reply.transaction = transaction?;
    Some(reply)
}

fn notify<'a>(head: &'a str, body: &[u8]) -> Option<Notify<'a>> {
    let mut notify = Notify { state: document::state_in(body), ..Notify::default() };
    for (name, value) in fields(head) {
        if name.eq_ignore_ascii_case("Via") && notify.branch.is_empty() {
            notify.branch = parameter(value, ";branch=").unwrap_or_default();
        } else if name.eq_ignore_ascii_case("Call-ID") {
            notify.call_id = value;
        } else if name.eq_ignore_ascii_case("CSeq") {
            notify.cseq = value.split(' ').next()?.parse().ok()?;
        } else if name.eq_ignore_ascii_case("Subscription-State") {
            notify.terminated = value.starts_with("terminated");
        }
    }
    Some(notify)
}

fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = value.split_once(name)?;
    rest.split([';', '>', ',']).next()
}

/// Our branches end in the number of the request.
fn number_of_branch(via: &str) -> Option<u64> {
    parameter(via, ";branch=")?.rsplit('-').next()?.parse().ok()
}

/// The answer to a NOTIFY with this code, into `out`.
pub fn answer(notify: &[u8], code: u16, out: &mut Vec<u8>) {
    out.clear();
    let phrase = if code == 200 { "OK" } else { "Answered" };
    out.extend_from_slice(format!("SIP/2.0 {code} {phrase}\r\n").as_bytes());
    let head = split(notify).map_or("", |(head, _)| head);
    for line in head.split('\n').skip(1) {
        let name = line.split(':').next().unwrap_or_default();
        if ECHOED.iter().any(|echoed| name.eq_ignore_ascii_case(echoed)) {
            out.extend_from_slice(line.trim_end().as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_final_reply_is_known_by_its_branch() {
        let text = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 1.2.3.4:5;branch=z9hG4bK-a-17;rport=5\r\nTo: <sip:a@b>;tag=x-1\r\nSIP-ETag: e.1\r\n\r\n";
        let expected = Reply { code: 200, transaction: 17, to_tag: "x-1", etag: "e.1" };
        assert_eq!(parse(text), Some(Incoming::Reply(expected)));
        assert_eq!(parse(b"SIP/2.0 100 Trying\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK-a-17\r\n\r\n"), None);
    }

    #[test]
    fn a_notify_tells_its_place_and_what_it_shows() {
        let text = b"NOTIFY sip:w SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=b1\r\nVia: SIP/2.0/UDP b;branch=b2\r\nCall-ID: w1\r\nCSeq: 7 NOTIFY\r\nSubscription-State: terminated;reason=timeout\r\n\r\n<note>v3</note>";
        let expected = Notify { call_id: "w1", cseq: 7, terminated: true, branch: "b1", state: [Some(3), None] };
        assert_eq!(parse(text), Some(Incoming::Notify(expected)));
    }

    #[test]
    fn an_answer_repeats_what_the_rfc_wants() {
        let mut out = b"old".to_vec();
        let lines = "Via: a\r\nVia: b\r\nTo: t\r\nFrom: f\r\nCSeq: 7 NOTIFY\r\nCall-ID: w1\r\n";
        answer(format!("NOTIFY sip:w SIP/2.0\r\n{lines}Event: presence\r\n\r\nbody").as_bytes(), 481, &mut out);
        assert_eq!(out, format!("SIP/2.0 481 Answered\r\n{lines}Content-Length: 0\r\n\r\n").as_bytes());
    }
}
