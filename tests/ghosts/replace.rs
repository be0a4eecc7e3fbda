//! `replace_subs`: a phone that subscribes anew takes the place of its old dialog.

use crate::{MODES, asks, builder, opens, publishes, told};
use testkit::{Kamailio, Phone, sqlite};

/// The rows of a presentity, after what is behind was written.
fn rows(server: &Kamailio, presentity: &str) -> i64 {
    let _ = server.rpc(&["presence.cleanup"]);
    let of = format!("SELECT count(*) FROM active_watchers WHERE presentity_uri='sip:{presentity}@test.local'");
    sqlite::number(&server.database_file(), &of)
}

#[test]
fn a_phone_that_was_started_again_is_told_in_its_new_dialog_only() {
    for subs in MODES {
        let server = builder(subs).param("replace_subs", 1).start();
        let (mut bob, mut carol) = (Phone::new("bob", server.port), Phone::new("carol", server.port));
        let mut first = opens(&mut bob, "alice", "presence", "");
        if subs != 0 {
            assert_eq!(rows(&server, "alice"), 1, "subs_db_mode {subs}");
        }
        // Another watcher, another presentity and another id stay.
        let others = [opens(&mut carol, "alice", "presence", ""), opens(&mut bob, "dave", "presence", "")];
        let other_id = opens(&mut bob, "alice", "presence;id=7", "");
        let mut second = opens(&mut bob, "alice", "presence", "");
        let mut third = opens(&mut bob, "alice", "presence", "");
        publishes(&server, "alice", "here");
        let mut calls = told(&mut bob, "here");
        calls.sort();
        let mut wanted = [third.call_id.clone(), other_id.call_id];
        wanted.sort();
        assert_eq!(calls, wanted, "subs_db_mode {subs}");
        assert_eq!(told(&mut carol, "here"), [others[0].call_id.as_str()], "subs_db_mode {subs}");
        assert_eq!(bob.resubscribe(&mut first, 600).code(), 481, "subs_db_mode {subs}");
        assert_eq!(bob.resubscribe(&mut second, 0).code(), 481, "subs_db_mode {subs}");
        assert_eq!(bob.resubscribe(&mut third, 600).code(), 200, "subs_db_mode {subs}");
        if subs == 0 {
            assert_eq!(server.status("subscriptions"), 4);
        } else {
            assert_eq!([rows(&server, "alice"), rows(&server, "dave")], [3, 1], "subs_db_mode {subs}");
        }
    }
}

#[test]
fn the_old_address_of_a_phone_that_has_moved_gets_nothing_any_more() {
    let instance = ";+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000a95a0e128>\"";
    // The table has no column for the instance.
    for subs in [0, 1, 2] {
        let server = builder(subs).param("replace_subs", 1).start();
        let (mut bob, mut moved) = (Phone::new("bob", server.port), Phone::new("bob", server.port));
        let mut desk = Phone::new("bob", server.port);
        opens(&mut bob, "alice", "presence", instance);
        let other = opens(&mut desk, "alice", "presence", &instance.replace("e128", "e129"));
        // Not answered from here on: a NOTIFY would come again and again.
        bob.answer = None;
        let new = opens(&mut moved, "alice", "presence", instance);
        publishes(&server, "alice", "here");
        assert_eq!(told(&mut moved, "here"), [new.call_id], "subs_db_mode {subs}");
        assert_eq!(told(&mut desk, "here"), [other.call_id], "subs_db_mode {subs}: another phone of the user");
        assert_eq!(bob.notify_within(0.7), None, "subs_db_mode {subs}");
        assert_eq!(server.status("subscriptions"), 2, "subs_db_mode {subs}");
        assert_eq!(server.status("notifies_waiting"), 0, "subs_db_mode {subs}");
    }
}

#[test]
fn after_a_restart_and_in_the_table_alone_the_contact_says_which_phone_it_is() {
    let instance = ";+sip.instance=\"<urn:uuid:1>\"";
    for subs in [1, 2, 3] {
        let mut server = builder(subs).param("replace_subs", 1).start();
        let (mut bob, mut moved) = (Phone::new("bob", server.port), Phone::new("bob", server.port));
        opens(&mut bob, "alice", "presence", instance);
        server.restart();
        let away = opens(&mut moved, "alice", "presence", instance);
        assert_eq!(rows(&server, "alice"), 2, "subs_db_mode {subs}");
        let back = opens(&mut bob, "alice", "presence", instance);
        publishes(&server, "alice", "here");
        assert_eq!(told(&mut bob, "here"), [back.call_id], "subs_db_mode {subs}");
        let known = told_if_known(&mut moved, subs);
        assert_eq!(known, (subs == 3).then_some(away.call_id), "subs_db_mode {subs}");
    }
}

/// Where the instance is known, the phone that is back has taken the place of the one that was away, too.
fn told_if_known(phone: &mut Phone, subs: u8) -> Option<String> {
    if subs == 3 { told(phone, "here").pop() } else { phone.notify_within(0.3).map(|n| n.body) }
}

#[test]
fn who_watches_the_watchers_is_told_once() {
    for subs in MODES {
        let server = builder(subs).param("replace_subs", 1).start();
        let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
        opens(&mut alice, "alice", "presence.winfo", "");
        let old = opens(&mut bob, "alice", "presence", "");
        assert!(alice.notify().body.contains(&old.call_id), "subs_db_mode {subs}");
        let new = opens(&mut bob, "alice", "presence", "");
        let list = alice.notify().body;
        assert!(list.contains(&new.call_id) && !list.contains(&old.call_id), "subs_db_mode {subs}: {list}");
        assert!(list.contains("state=\"full\""), "subs_db_mode {subs}: {list}");
        assert_eq!(alice.notify_within(0.3), None, "subs_db_mode {subs}");
    }
}

#[test]
fn without_replace_subs_both_dialogs_stay() {
    for subs in MODES {
        let server = builder(subs).start();
        let mut bob = Phone::new("bob", server.port);
        let dialogs = [0, 1].map(|_| opens(&mut bob, "alice", "presence", ";+sip.instance=\"<urn:uuid:1>\""));
        publishes(&server, "alice", "here");
        let mut calls = told(&mut bob, "here");
        let mut wanted = dialogs.map(|dialog| dialog.call_id);
        calls.sort();
        wanted.sort();
        assert_eq!(calls, wanted, "subs_db_mode {subs}");
    }
}

#[test]
fn an_instance_of_any_shape_is_taken() {
    let server = builder(0).param("replace_subs", 1).start();
    let mut bob = Phone::new("bob", server.port);
    let long = format!(";+sip.instance=\"<{}>\"", "x".repeat(5000));
    for contact in [";+sip.instance", ";+sip.instance=", ";+sip.instance=\"\"", ";+sip.instance=x", long.as_str()] {
        let (reply, _) = asks(&mut bob, "alice", "presence", contact);
        assert!([200, 400].contains(&reply.code()), "{contact}: {reply:?}");
    }
    assert_eq!(server.status("subscriptions"), 1, "all from the same Contact");
}
