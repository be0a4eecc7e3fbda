//! Behaviour on a real Kamailio: the same tests run with this module and, with `PRESENCE_SO=stock`, with Kamailio's.

use testkit::phone::{content_type, dialog_info, pidf};
use testkit::{Database, Kamailio, Phone};

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

#[test]
fn every_package_of_the_stock_modules_carries_its_document() {
    let server = Kamailio::builder().extra("modparam(\"presence_xml\", \"disable_bla\", 0)").start();
    let documents = [
        ("presence", pidf("alice", "open", "in the garden"), "in the garden"),
        ("dialog", dialog_info("alice", "d7", "confirmed"), "confirmed"),
        ("dialog;sla", dialog_info("alice", "d8", "early"), "early"),
        ("message-summary", "Messages-Waiting: yes\r\nVoice-Message: 3/8 (0/2)\r\n".into(), "Voice-Message: 3/8 (0/2)"),
        (
            "xcap-diff",
            "<?xml version=\"1.0\"?><xcap-diff xcap-root=\"http://x/\"><document sel=\"new.xml\"/></xcap-diff>".into(),
            "new.xml",
        ),
    ];
    for (event, document, mark) in documents {
        let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
        bob.subscribe("alice", event, 600);
        assert_eq!(bob.notify().header("Event"), Some(event));
        // A shared line is that of the watcher's Contact, and the publisher says who it is.
        let line = if event == "dialog;sla" { "bob" } else { "alice" };
        let sender = [format!("Sender: {}", alice.contact())];
        let request = alice.publish_request(line, event, None, Some(600), &document, &sender);
        let reply = alice.ask(&request);
        assert_eq!(reply.code(), 200, "{event}: {reply:?}");
        let notify = bob.notify();
        assert!(notify.body.contains(mark), "{event}: {notify:?}");
        assert_eq!(notify.header("Content-Type"), Some(content_type(event)));
    }
}

#[test]
fn who_watches_the_watchers_sees_them_come_and_go() {
    // The C module falls over winfo subscriptions without a database.
    let server = Kamailio::builder().database(Database::Sqlite("wal")).start();
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    alice.subscribe("alice", "presence.winfo", 600);
    assert!(alice.notify().body.contains("state=\"full\""));
    let mut dialog = bob.subscribe("alice", "presence", 600);
    bob.notify();
    let come = alice.notify();
    assert!(come.body.contains("sip:bob@test.local") && come.body.contains("status=\"active\""), "{}", come.body);
    bob.resubscribe(&mut dialog, 0);
    let gone = alice.notify();
    assert!(gone.cseq() > come.cseq());
    assert!(!gone.body.contains("bob"), "{}", gone.body);
}
