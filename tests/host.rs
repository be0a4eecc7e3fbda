//! Behaviour on a real Kamailio: the same tests run with this module and, with `PRESENCE_SO=stock`, with Kamailio's.

use testkit::phone::pidf;
use testkit::{Kamailio, Phone};

#[test]
fn a_watcher_follows_a_publication_from_beginning_to_end() {
    let server = Kamailio::builder().start();
    let mut alice = Phone::new("alice", server.port);
    let mut bob = Phone::new("bob", server.port);
    let mut dialog = bob.subscribe("alice", "presence", 600);
    let first = bob.notify();
    assert_eq!(first.body, "");
    let start = first.cseq();
    let reply = alice.publish("presence", None, Some(600), &pidf("alice", "open", "here"));
    assert_eq!(reply.code(), 200);
    let etag = reply.header("SIP-ETag").expect("a tag").to_owned();
    let second = bob.notify();
    assert_eq!(second.cseq(), start + 1);
    assert!(second.body.contains("<note>here</note>"), "{}", second.body);
    let reply = alice.publish("presence", Some(&etag), Some(600), &pidf("alice", "open", "there"));
    let etag = reply.header("SIP-ETag").expect("a tag").to_owned();
    assert!(bob.notify().body.contains("<note>there</note>"));
    assert_eq!(alice.publish("presence", Some(&etag), Some(0), "").code(), 200);
    let last = bob.notify();
    assert_eq!(last.cseq(), start + 3);
    let reply = bob.resubscribe(&mut dialog, 0);
    assert_eq!(reply.code(), 200);
    assert!(bob.notify().state().starts_with("terminated"));
}
