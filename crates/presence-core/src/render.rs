//! Header lines of what the server sends.

use crate::status::Status;

/// The transports that a Contact of ours names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
    Sctp,
    Ws,
}

impl Transport {
    /// From the name of a socket ("tcp:127.0.0.1:5060").
    #[must_use]
    pub fn of_socket(name: &[u8]) -> Self {
        match name.get(..3).map(<[u8]>::to_ascii_lowercase).as_deref() {
            Some(b"tcp") => Self::Tcp,
            Some(b"tls") => Self::Tls,
            Some(b"sct") => Self::Sctp,
            _ => Self::Udp,
        }
    }

    /// As a `transport` parameter has it (RFC 3261 19.1.1).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Sctp => "sctp",
            Self::Ws => "ws",
        }
    }
}

/// A number in decimal digits. Without the machinery of `write!`, which is never warm when a request comes.
pub(crate) fn push_number(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// `Contact: <address[;transport=...]>`: the transport is named unless it is UDP, or the address names one itself.
pub fn push_contact(out: &mut Vec<u8>, address: &[u8], transport: Transport) {
    out.extend_from_slice(b"Contact: <");
    out.extend_from_slice(address);
    let param: &[u8] = b";transport=";
    if transport != Transport::Udp && !address.windows(param.len()).any(|w| w == param) {
        out.extend_from_slice(param);
        out.extend_from_slice(transport.name().as_bytes());
    }
    out.extend_from_slice(b">\r\n");
}

/// The header lines of a positive reply to SUBSCRIBE (RFC 6665 4.2.1.1).
#[must_use]
pub fn subscribe_reply(expires: u32, address: &[u8], transport: Transport) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + address.len());
    out.extend_from_slice(b"Expires: ");
    push_number(&mut out, expires);
    out.extend_from_slice(b"\r\n");
    push_contact(&mut out, address, transport);
    out
}

/// The header lines of a positive reply to PUBLISH (RFC 3903 6, step 6).
#[must_use]
pub fn publish_reply(expires: u32, etag: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(40 + etag.len());
    out.extend_from_slice(b"Expires: ");
    push_number(&mut out, expires);
    out.extend_from_slice(b"\r\nSIP-ETag: ");
    out.extend_from_slice(etag);
    out.extend_from_slice(b"\r\n");
    out
}

/// What the header lines of a NOTIFY say.
#[derive(Clone, Copy, Debug)]
pub struct Notify<'a> {
    /// The package's name.
    pub event: &'a [u8],
    /// The parameters of the subscription's Event header field, from the first semicolon on; may be empty.
    pub event_params: &'a [u8],
    /// The address in Contact.
    pub contact: &'a [u8],
    /// The transport named there.
    pub transport: Transport,
    /// The state of the subscription.
    pub status: Status,
    /// Why it ended, if it did.
    pub reason: &'a [u8],
    /// How long it goes on.
    pub expires: u32,
    /// The type of the body, if there is one.
    pub content_type: Option<&'a [u8]>,
}

/// The header lines of a NOTIFY that this server adds (RFC 6665 4.2.2).
pub fn push_notify_headers(out: &mut Vec<u8>, notify: &Notify<'_>) {
    out.extend_from_slice(b"Max-Forwards: 70\r\nEvent: ");
    out.extend_from_slice(notify.event);
    out.extend_from_slice(notify.event_params);
    out.extend_from_slice(b"\r\n");
    push_contact(out, notify.contact, notify.transport);
    out.extend_from_slice(b"Subscription-State: ");
    out.extend_from_slice(notify.status.word().as_bytes());
    if notify.status == Status::Terminated {
        out.extend_from_slice(b";reason=");
        out.extend_from_slice(notify.reason);
    } else {
        out.extend_from_slice(b";expires=");
        push_number(out, notify.expires);
    }
    out.extend_from_slice(b"\r\n");
    if let Some(content_type) = notify.content_type {
        out.extend_from_slice(b"Content-Type: ");
        out.extend_from_slice(content_type);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_names_its_transport_once() {
        let line = |address: &[u8], t| {
            let mut out = Vec::new();
            push_contact(&mut out, address, t);
            String::from_utf8(out).expect("ascii")
        };
        assert_eq!(line(b"sip:h:5060", Transport::Udp), "Contact: <sip:h:5060>\r\n");
        assert_eq!(line(b"sip:h:5060", Transport::Tls), "Contact: <sip:h:5060;transport=tls>\r\n");
        assert_eq!(line(b"sip:h;transport=tcp", Transport::Tls), "Contact: <sip:h;transport=tcp>\r\n");
    }

    #[test]
    fn an_ended_subscription_has_a_reason_and_no_expires() {
        let mut out = Vec::new();
        push_notify_headers(
            &mut out,
            &Notify {
                event: b"presence",
                event_params: b";id=7",
                contact: b"sip:s",
                transport: Transport::Udp,
                status: Status::Terminated,
                reason: b"timeout",
                expires: 0,
                content_type: None,
            },
        );
        assert_eq!(
            String::from_utf8_lossy(&out),
            "Max-Forwards: 70\r\nEvent: presence;id=7\r\nContact: <sip:s>\r\nSubscription-State: \
             terminated;reason=timeout\r\n"
        );
    }
}
