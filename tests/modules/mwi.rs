//! presence_mwi: message waiting (RFC 3842).

use crate::{publish, with};
use testkit::Phone;

const ONE: &str = "Messages-Waiting: yes\r\nMessage-Account: sip:bob@vm.test.local\r\nVoice-Message: 1/0 (0/0)\r\n";
const NONE: &str = "Messages-Waiting: no\r\nMessage-Account: sip:bob@vm.test.local\r\nVoice-Message: 0/1 (0/0)\r\n";

#[test]
fn the_lamp_follows_the_mailbox() {
    let server = with(&["presence_mwi"]).start();
    let (mut mailbox, mut bob) = (Phone::new("bob", server.port), Phone::new("bob", server.port));
    bob.subscribe("bob", "message-summary", 600);
    assert_eq!(bob.notify().body, "");
    let etag = publish(&mut mailbox, "message-summary", None, ONE);
    let notify = bob.notify();
    assert_eq!(notify.header("Content-Type"), Some("application/simple-message-summary"));
    assert_eq!(notify.body, ONE);
    publish(&mut mailbox, "message-summary", Some(&etag), NONE);
    assert_eq!(bob.notify().body, NONE);
}

#[test]
fn what_is_no_summary_is_refused() {
    let server = with(&["presence_mwi"]).start();
    let mut mailbox = Phone::new("bob", server.port);
    for bad in ["hello there, this is none", "Messages-Waiting: maybe\r\n", "Messages-Waiting: yes\r\n\u{1}\r\n"] {
        assert_eq!(mailbox.publish("message-summary", None, Some(600), bad).code(), 500, "{bad}");
    }
}

#[test]
fn a_summary_without_expires_lasts_as_long_as_the_package_says() {
    let parameter = "modparam(\"presence_mwi\", \"default_expires\", 1234)";
    let server = with(&["presence_mwi"]).extra(parameter).start();
    let mut mailbox = Phone::new("bob", server.port);
    let reply = mailbox.publish("message-summary", None, None, ONE);
    assert_eq!((reply.code(), reply.header("Expires")), (200, Some("1234")));
}
