//! Watcher information with presence_xml: what arrives is valid (RFC 3858).

use crate::rules::{self, Rule, ruleset};
use crate::xmllint;
use testkit::{Kamailio, Message, Phone};

/// The body of a NOTIFY, after a look whether it is valid.
fn valid(notify: &Message) -> &str {
    assert_eq!(notify.header("Content-Type"), Some("application/watcherinfo+xml"));
    let schema = testkit::root().join("tests/schema/watcherinfo.xsd");
    let checked = xmllint(&["--noout", "--schema", &schema.display().to_string()], &notify.body);
    checked.unwrap_or_else(|complaint| panic!("{complaint}\n{}", notify.body));
    &notify.body
}

/// A server on which alice wants to confirm bob and blocks carol.
fn start() -> Kamailio {
    let server = rules::builder().start();
    let rule = |watcher, handling| Rule { watcher, handling, ..Rule::default() };
    let rules = ruleset(&[rule("bob", "confirm"), rule("carol", "block"), rule("dave", "allow")]);
    rules::store_rules(&server, "alice", &rules);
    server
}

#[test]
fn full_and_partial_documents_are_valid() {
    let server = start();
    let mut alice = Phone::new("alice", server.port);
    let mut dialog = alice.subscribe("alice", "presence.winfo", 600);
    let none = alice.notify();
    assert!(valid(&none).contains("state=\"full\""));
    for (user, status) in [("bob", "pending"), ("dave", "active")] {
        Phone::new(user, server.port).subscribe("alice", "presence", 600);
        let come = alice.notify();
        let body = valid(&come);
        assert!(body.contains("state=\"partial\"") && body.contains(&format!("status=\"{status}\"")), "{body}");
        assert!(body.contains(&format!(">sip:{user}@test.local</watcher>")), "{body}");
    }
    assert_eq!(alice.resubscribe(&mut dialog, 600).code(), 200);
    let all = alice.notify();
    let body = valid(&all);
    assert!(body.contains("state=\"full\"") && body.contains("sip:bob@") && body.contains("sip:dave@"), "{body}");
    let mut dave = Phone::new("dave", server.port);
    let mut watching = dave.subscribe("alice", "presence", 600);
    valid(&alice.notify());
    assert_eq!(dave.resubscribe(&mut watching, 0).code(), 200);
    let gone = alice.notify();
    assert!(valid(&gone).contains("<watcher"));
}

#[test]
fn a_watcher_who_is_blocked_is_shown_in_a_valid_document() {
    let server = start();
    let mut alice = Phone::new("alice", server.port);
    alice.subscribe("alice", "presence.winfo", 600);
    valid(&alice.notify());
    Phone::new("carol", server.port).subscribe("alice", "presence", 600);
    while let Some(notify) = alice.notify_within(1.0) {
        valid(&notify);
    }
    // Who asks anew sees who is there.
    let mut again = Phone::new("alice", server.port);
    again.subscribe("alice", "presence.winfo", 600);
    valid(&again.notify());
}

/// The C module's document has a watcher without a URI there.
#[test]
fn letters_that_mean_something_in_xml_are_escaped() {
    let server = start();
    let mut alice = Phone::new("alice", server.port);
    alice.subscribe("alice", "presence.winfo", 600);
    alice.notify();
    Phone::new("b&b", server.port).subscribe("alice", "presence", 600);
    let notify = alice.notify();
    assert!(valid(&notify).contains("sip:b&amp;b@test.local"), "{notify:?}");
}
