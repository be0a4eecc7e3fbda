//! Parameters that change what a request is answered: times, numbers, addresses.

use testkit::phone::{Dialog, pidf};
use testkit::{Database, Kamailio, Phone, sqlite, wait_for};

/// The Expires of the answer to a PUBLISH.
fn published(alice: &mut Phone, expires: u32) -> Option<String> {
    let reply = alice.publish("presence", None, Some(expires), &pidf("alice", "open", "here"));
    assert_eq!(reply.code(), 200);
    reply.header("Expires").map(str::to_owned)
}

#[test]
fn max_expires_cuts_a_publish() {
    let server = Kamailio::builder().param("max_expires", 700).start();
    let mut alice = Phone::new("alice", server.port);
    assert_eq!(published(&mut alice, 5000).as_deref(), Some("700"));
    assert_eq!(published(&mut alice, 600).as_deref(), Some("600"));
}

#[test]
fn min_expires_is_not_for_publish_and_not_for_a_fetch() {
    for action in [1, 2] {
        let server = Kamailio::builder().param("min_expires", 60).param("min_expires_action", action).start();
        let mut alice = Phone::new("alice", server.port);
        assert_eq!(published(&mut alice, 30).as_deref(), Some("30"));
        let mut bob = Phone::new("bob", server.port);
        bob.subscribe("alice", "presence", 0);
        assert!(bob.notify().state().starts_with("terminated"));
    }
}

#[test]
fn min_expires_action_refuses_or_raises_a_refresh_too() {
    let server = Kamailio::builder().param("min_expires", 60).start();
    let mut bob = Phone::new("bob", server.port);
    let mut dialog = bob.subscribe("alice", "presence", 600);
    bob.notify();
    let reply = bob.resubscribe(&mut dialog, 30);
    assert_eq!((reply.code(), reply.header("Min-Expires")), (423, Some("60")));
    let server = Kamailio::builder().param("min_expires", 60).param("min_expires_action", 2).start();
    let mut bob = Phone::new("bob", server.port);
    let mut dialog = bob.subscribe("alice", "presence", 600);
    bob.notify();
    assert_eq!(bob.resubscribe(&mut dialog, 30).header("Expires"), Some("60"));
    assert!(bob.notify().state().starts_with("active;expires=60"));
}

#[test]
fn expires_offset_shortens_what_a_publish_is_told_and_not_what_is_stored() {
    let server = Kamailio::builder().database(Database::Sqlite("wal")).param("expires_offset", 100).start();
    let mut alice = Phone::new("alice", server.port);
    assert_eq!(published(&mut alice, 600).as_deref(), Some("500"));
    let stored = "SELECT expires - received_time FROM presentity";
    assert_eq!(sqlite::number(&server.database_file(), stored), 600);
    let etag = sqlite::run(&server.database_file(), "SELECT etag FROM presentity").remove(0);
    let reply = alice.publish("presence", Some(&etag), Some(0), "");
    assert_eq!((reply.code(), reply.header("Expires")), (200, Some("0")));
}

#[test]
fn server_address_is_the_contact_of_answers_and_notifies() {
    for (address, contact) in
        [("\"sip:presence@example.net:5070\"", Some("<sip:presence@example.net:5070>")), ("\"\"", None)]
    {
        let server = Kamailio::builder().param("server_address", address).start();
        let own = format!("<sip:127.0.0.1:{};transport=udp>", server.port);
        let contact = contact.unwrap_or(&own);
        let mut bob = Phone::new("bob", server.port);
        let dialog = Dialog { cseq: 1, ..Dialog::new("alice", "presence") };
        let request = bob.subscribe_request(&dialog, Some(600), &[]);
        let reply = bob.ask(&request);
        assert_eq!((reply.code(), reply.header("Contact")), (200, Some(contact)), "{address}");
        assert_eq!(bob.notify().header("Contact"), Some(contact), "{address}");
    }
}

#[test]
fn cseq_offset_says_how_far_a_refresh_may_lie_behind() {
    for subs in [0, 1, 3] {
        for (offset, last, code) in [(0, 10, 400), (0, 11, 200), (5, 6, 200), (5, 5, 400)] {
            let what = format!("subs_db_mode {subs}, cseq_offset {offset}, CSeq {last} after 10");
            let builder =
                if subs == 0 { Kamailio::builder() } else { crate::probe::with_tables().param("subs_db_mode", subs) };
            let server = builder.param("cseq_offset", offset).start();
            let mut bob = Phone::new("bob", server.port);
            let mut dialog = Dialog { cseq: 10, ..Dialog::new("alice", "presence") };
            let request = bob.subscribe_request(&dialog, Some(600), &[]);
            let reply = bob.ask(&request);
            dialog.to_tag = reply.to_tag().to_owned();
            dialog.cseq = last - 1;
            assert_eq!(bob.resubscribe(&mut dialog, 600).code(), code, "{what}");
        }
    }
}

#[test]
fn timeout_rm_subs_says_whether_silence_ends_a_subscription() {
    for (value, code) in [(0, 200), (1, 481)] {
        let quick = "modparam(\"tm\", \"fr_timer\", 300)\nmodparam(\"tm\", \"wt_timer\", 200)";
        let server = Kamailio::builder().param("timeout_rm_subs", value).extra(quick).start();
        let mut bob = Phone::new("bob", server.port);
        bob.answer = None;
        let mut dialog = bob.subscribe("alice", "presence", 600);
        bob.notify();
        wait_for("tm gives up", 5.0, || server.rpc(&["tm.stats"]).contains("current: 0").then_some(()));
        bob.answer = Some(200);
        assert_eq!(bob.resubscribe(&mut dialog, 600).code(), code, "timeout_rm_subs {value}");
    }
}
