//! `max_subs_per_watcher` and `max_subs_per_presentity`.

use crate::{MODES, asks, builder, opens};
use testkit::{Message, Phone};

fn assert_refused(reply: &Message, what: &str) {
    // Not a 503, with which a phone leaves the server.
    assert_eq!(reply.start, "SIP/2.0 403 Too many subscriptions", "{what}");
    assert_eq!(reply.header("Retry-After"), None, "{what}");
}

#[test]
fn a_watcher_may_have_so_many_subscriptions_and_no_more() {
    for subs in MODES {
        let what = format!("subs_db_mode {subs}");
        let server = builder(subs).children(1).param("max_subs_per_watcher", 2).start();
        let (mut bob, mut carol) = (Phone::new("bob", server.port), Phone::new("carol", server.port));
        let mut first = opens(&mut bob, "alice", "presence", "");
        let mut second = opens(&mut bob, "dave", "dialog", "");
        for _ in 0..20 {
            assert_refused(&asks(&mut bob, "erin", "presence", "").0, &what);
        }
        assert_eq!(bob.notify_within(0.1), None, "{what}");
        let lines = server.log_lines("max_subs_per_watcher");
        assert_eq!(lines.len(), 1, "{what}: one line for all: {lines:?}");
        assert!(lines[0].contains("sip:bob@test.local has the 2 subscriptions"), "{what}: {lines:?}");
        opens(&mut carol, "erin", "presence", "");
        assert_eq!(bob.resubscribe(&mut first, 600).code(), 200, "{what}");
        bob.notify();
        assert_eq!(bob.resubscribe(&mut second, 0).code(), 200, "{what}");
        bob.notify();
        opens(&mut bob, "erin", "presence", "");
        assert_refused(&asks(&mut bob, "dave", "presence", "").0, &what);
        assert_eq!(server.status("subscriptions"), 3, "{what}: all lists are whole");
    }
}

#[test]
fn a_presentity_may_have_so_many_watchers_and_no_more() {
    for subs in MODES {
        let what = format!("subs_db_mode {subs}");
        let server = builder(subs).children(1).param("max_subs_per_presentity", 3).start();
        let mut phones = ["bob", "carol", "dave"].map(|user| Phone::new(user, server.port));
        let mut dialogs: Vec<_> = phones.iter_mut().map(|phone| opens(phone, "alice", "presence", "")).collect();
        let mut erin = Phone::new("erin", server.port);
        assert_refused(&asks(&mut erin, "alice", "presence", "").0, &what);
        let lines = server.log_lines("max_subs_per_presentity");
        assert!(lines.len() == 1 && lines[0].contains("sip:alice@test.local has the 3"), "{what}: {lines:?}");
        // Each package has a limit of its own.
        opens(&mut erin, "alice", "dialog", "");
        opens(&mut erin, "frank", "presence", "");
        assert_eq!(phones[0].resubscribe(&mut dialogs[0], 0).code(), 200, "{what}");
        opens(&mut erin, "alice", "presence", "");
        assert_refused(&asks(&mut phones[0], "alice", "presence", "").0, &what);
    }
}

#[test]
fn subscriptions_from_before_a_restart_count_and_those_that_are_replaced_do_not() {
    for subs in [1, 2, 3] {
        let what = format!("subs_db_mode {subs}");
        let mut server = builder(subs)
            .param("max_subs_per_watcher", 2)
            .param("max_subs_per_presentity", 1)
            .param("replace_subs", 1)
            .start();
        let mut bob = Phone::new("bob", server.port);
        opens(&mut bob, "alice", "presence", "");
        opens(&mut bob, "dave", "presence", "");
        server.restart();
        assert_refused(&asks(&mut bob, "erin", "presence", "").0, &what);
        let mut carol = Phone::new("carol", server.port);
        assert_refused(&asks(&mut carol, "alice", "presence", "").0, &what);
        for _ in 0..3 {
            opens(&mut bob, "alice", "presence", "");
        }
        assert_refused(&asks(&mut bob, "erin", "presence", "").0, &what);
    }
}
