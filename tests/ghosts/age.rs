//! `dialog_max_age`: a call that nobody ends is not shown for ever.

use testkit::phone::dialog_info;
use testkit::{Builder, Database, Kamailio, Message, Phone};

/// A server with this `publ_cache`.
fn builder(publ: u8) -> Builder {
    let builder = Kamailio::builder().param("publ_cache", publ).param("clean_period", 1).param("dialog_max_age", 2);
    if publ == 2 { builder } else { builder.database(Database::Sqlite("wal")).param("subs_db_mode", 1) }
}

fn expires(reply: &Message) -> &str {
    assert_eq!(reply.code(), 200, "{reply:?}");
    reply.header("Expires").unwrap_or_default()
}

fn tag(reply: &Message) -> String {
    reply.header("SIP-ETag").expect("a tag").to_owned()
}

#[test]
fn a_lamp_goes_out_when_nobody_says_any_more_that_the_call_goes_on() {
    for publ in [0, 1, 2] {
        let what = format!("publ_cache {publ}");
        let server = builder(publ).start();
        let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
        bob.subscribe("alice", "dialog", 600);
        bob.notify();
        let ringing = alice.publish("dialog", None, Some(600), &dialog_info("alice", "d1", "early"));
        assert_eq!(expires(&ringing), "600", "{what}");
        assert!(bob.notify().body.contains("early"), "{what}");
        let talking = dialog_info("alice", "d1", "confirmed");
        let mut reply = alice.publish("dialog", Some(&tag(&ringing)), Some(600), &talking);
        assert_eq!(expires(&reply), "2", "{what}: the publisher is told");
        assert!(bob.notify().body.contains("confirmed"), "{what}");
        // One that is still there says so, as it was told.
        for _ in 0..5 {
            // Times are whole seconds: of two there may be little more than one.
            assert_eq!(bob.notify_within(0.6), None, "{what}: it is shown on");
            reply = alice.publish("dialog", Some(&tag(&reply)), Some(600), "");
            assert_eq!(expires(&reply), "2", "{what}");
        }
        // Then it breaks down.
        let out = bob.notify_within(6.0).unwrap_or_else(|| panic!("{what}: the lamp stays lit"));
        assert!(!out.body.contains("confirmed"), "{what}: {out:?}");
        let over = out.body.contains("<dialog id=\"d1\">") && out.body.contains("<state>terminated</state>");
        assert!(over, "{what}: {}", out.body);
        let late = alice.publish("dialog", Some(&tag(&reply)), Some(600), "");
        assert_eq!(late.code(), 412, "{what}");
        let mut carol = Phone::new("carol", server.port);
        carol.subscribe("alice", "dialog", 600);
        assert!(!carol.notify().body.contains("confirmed"), "{what}");
    }
}

#[test]
fn what_is_no_call_that_goes_on_lasts_as_long_as_its_publisher_wants() {
    let server = builder(2).start();
    let mut alice = Phone::new("alice", server.port);
    for state in ["trying", "early", "terminated"] {
        let reply = alice.publish("dialog", None, Some(600), &dialog_info("alice", state, state));
        assert_eq!(expires(&reply), "600", "{state}");
    }
    let reply = alice.publish("presence", None, Some(600), &testkit::phone::pidf("alice", "open", "confirmed"));
    assert_eq!(expires(&reply), "600");
    let reply = alice.publish("dialog", None, Some(1), &dialog_info("alice", "d9", "confirmed"));
    assert_eq!(expires(&reply), "1", "less than that is less");
}
