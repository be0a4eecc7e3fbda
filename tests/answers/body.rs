//! The body is as long as Content-Length says (RFC 3261 18.3).

use crate::set_ups;
use testkit::Phone;
use testkit::phone::pidf;

#[test]
fn what_follows_the_body_in_a_datagram_is_not_stored() {
    // The stock module stores what follows, and sends it on.
    for (name, builder) in set_ups() {
        let server = builder.start();
        let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
        // Of a package that shows documents as they are.
        bob.subscribe("alice", "message-summary", 600);
        bob.notify();
        let body = "Messages-Waiting: yes\r\nVoice-Message: 2/8\r\n";
        let request = alice.publish_request("alice", "message-summary", None, Some(600), body, &[]);
        assert_eq!(alice.ask(&format!("{request}Messages-Secret: 1\r\n")).code(), 200, "{name}");
        assert_eq!(bob.notify().body, body, "{name}");
    }
}

#[test]
fn a_body_that_is_shorter_than_it_says_is_400() {
    // The stock module takes what there is.
    for (name, builder) in set_ups() {
        let server = builder.start();
        let mut alice = Phone::new("alice", server.port);
        let body = pidf("alice", "open", "here");
        let request = alice.publish_request("alice", "presence", None, Some(600), &body, &[]);
        let length = format!("Content-Length: {}\r\n", body.len());
        assert!(request.contains(&length));
        let longer = request.replace(&length, &format!("Content-Length: {}\r\n", body.len() + 1));
        let reply = alice.try_ask(&longer);
        // The host itself may drop it.
        assert!(reply.as_ref().is_none_or(|reply| reply.code() == 400), "{name}: {reply:?}");
    }
}
