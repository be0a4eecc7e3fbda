//! A Contact that no NOTIFY can be sent to.

use crate::{in_sqlite, set_ups};
use testkit::phone::{Dialog, pidf};
use testkit::{Builder, Kamailio, Message, Phone, sqlite, wait_for};

/// A name that DNS cannot know (RFC 2606); it is asked for once, and not for long.
const DNS: &str = "dns_retr_time=1\ndns_retr_no=1\ndns_use_search_list=no\nuse_dns_cache=off\n";
const NOWHERE: &str = "sip:bob@nowhere.invalid";

fn subscribe(bob: &mut Phone, contact: &str) -> (Dialog, Message) {
    let dialog = Dialog { cseq: 1, ..Dialog::new("alice", "presence") };
    let own = format!("Contact: <{}>", bob.contact());
    let request = bob.subscribe_request(&dialog, Some(600), &[]).replace(&own, &format!("Contact: {contact}"));
    let reply = bob.ask(&request);
    (Dialog { to_tag: reply.to_tag().into(), ..dialog }, reply)
}

#[test]
fn a_contact_that_is_no_uri_is_refused() {
    // The stock module accepts it, and fails to send each NOTIFY.
    for (name, builder) in set_ups() {
        let server = builder.start();
        let mut bob = Phone::new("bob", server.port);
        for contact in ["<nonsense>", "<>", "<bob@127.0.0.1>", "<http://127.0.0.1/>"] {
            assert_eq!(subscribe(&mut bob, contact).1.code(), 400, "{name}: {contact}");
        }
        // In a dialog, too: what was agreed stays.
        let mut dialog = bob.subscribe("alice", "presence", 600);
        bob.notify();
        dialog.cseq += 1;
        let own = format!("Contact: <{}>", bob.contact());
        let request = bob.subscribe_request(&dialog, Some(600), &[]).replace(&own, "Contact: <nonsense>");
        assert_eq!(bob.ask(&request).code(), 400, "{name}");
        let mut alice = Phone::new("alice", server.port);
        assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "here")).code(), 200);
        assert!(bob.notify().body.contains("here"), "{name}");
    }
}

fn reported(server: &Kamailio) -> Vec<String> {
    server.log_lines("the NOTIFY for watcher sip:bob@test.local of sip:alice@test.local (presence) could not be sent")
}

fn unresolvable(builder: Builder) -> Builder {
    builder.before(DNS).param("notify_hold_time", 100).param("notifier_poll_rate", 50)
}

#[test]
fn a_contact_that_cannot_be_resolved_is_reported_with_its_watcher() {
    // The stock module's lines do not say who the watcher is.
    let server = unresolvable(Kamailio::builder()).start();
    let mut bob = Phone::new("bob", server.port);
    let (mut dialog, reply) = subscribe(&mut bob, &format!("<{NOWHERE}>"));
    assert_eq!(reply.code(), 200);
    let lines = wait_for("the report", 20.0, || Some(reported(&server)).filter(|lines| !lines.is_empty()));
    assert!(lines[0].contains(NOWHERE), "{lines:?}");
    // It is not forgotten: with a Contact that can be reached the dialog goes on.
    assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 200);
    assert!(bob.notify().state().starts_with("active"));
}

#[test]
fn a_watcher_who_cannot_be_reached_keeps_no_other_from_being_told() {
    for (name, builder) in [("memory", Kamailio::builder()), ("mode 1", in_sqlite(1, 1)), ("mode 3", in_sqlite(3, 0))] {
        let server = builder.before(DNS).start();
        let mut alice = Phone::new("alice", server.port);
        let mut first = Phone::new("first", server.port);
        let mut last = Phone::new("last", server.port);
        first.subscribe("alice", "presence", 600);
        first.notify();
        assert_eq!(subscribe(&mut Phone::new("bob", server.port), &format!("<{NOWHERE}>")).1.code(), 200, "{name}");
        last.subscribe("alice", "presence", 600);
        last.notify();
        let mut told = |what: &str| {
            for phone in [&mut first, &mut last] {
                let notify = phone.notify_within(15.0);
                assert!(notify.is_some_and(|notify| notify.body.contains("here")), "{name}, {what}: {}", phone.user);
            }
        };
        assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "here")).code(), 200, "{name}");
        told("published");
        // The stock module stops at the first one that it cannot tell.
        let answer = server.rpc(&["presence.refreshWatchers", "sip:alice@test.local", "presence", "1"]);
        assert!(!answer.contains("error"), "{name}: {answer}");
        told("refreshed by command");
    }
}

#[test]
fn with_notify_fail_max_a_watcher_who_cannot_be_reached_is_given_up() {
    for (name, builder) in [("memory", Kamailio::builder()), ("mode 1", in_sqlite(1, 1)), ("mode 3", in_sqlite(3, 0))] {
        let server = unresolvable(builder).param("notify_fail_max", 3).start();
        let mut bob = Phone::new("bob", server.port);
        let (mut dialog, reply) = subscribe(&mut bob, &format!("<{NOWHERE}>"));
        assert_eq!(reply.code(), 200, "{name}");
        wait_for("three attempts", 20.0, || (reported(&server).len() >= 3).then_some(()));
        wait_for("the end", 5.0, || (bob.resubscribe(&mut dialog, 600).code() == 481).then_some(()));
        assert_eq!(reported(&server).len(), 3, "{name}");
        assert_eq!(server.status("notifies_waiting"), 0, "{name}");
        if name != "memory" {
            assert_eq!(sqlite::number(&server.database_file(), "SELECT count(*) FROM active_watchers"), 0, "{name}");
        }
    }
}
