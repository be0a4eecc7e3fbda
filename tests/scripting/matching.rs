//! Parameters that say which subscriptions and publications belong together, and what is stored of them.

use crate::probe::with_tables;
use std::time::Duration;
use testkit::phone::{Dialog, pidf};
use testkit::{Database, Kamailio, Phone, sqlite};

/// A subscription with this Call-ID.
fn subscribe(bob: &mut Phone, presentity: &str, call_id: &str) -> Dialog {
    let dialog = Dialog { cseq: 1, call_id: call_id.into(), ..Dialog::new(presentity, "presence") };
    let request = bob.subscribe_request(&dialog, Some(600), &[]);
    let reply = bob.ask(&request);
    assert_eq!(reply.code(), 200);
    bob.notify();
    Dialog { to_tag: reply.to_tag().into(), ..dialog }
}

#[test]
fn delete_same_subs_replaces_an_older_subscription_with_the_same_call_id() {
    for (value, told) in [(0, 2), (1, 1)] {
        for subs in [0, 1] {
            let what = format!("delete_same_subs {value}, subs_db_mode {subs}");
            let builder = if subs == 0 { Kamailio::builder() } else { with_tables().param("subs_db_mode", subs) };
            let server = builder.param("delete_same_subs", value).start();
            let mut bob = Phone::new("bob", server.port);
            let call_id = format!("same-{}", testkit::phone::unique());
            let mut first = subscribe(&mut bob, "alice", &call_id);
            let mut second = subscribe(&mut bob, "alice", &call_id);
            // The same Call-ID with another presentity is another one.
            let mut other = subscribe(&mut bob, "carol", &call_id);
            if subs == 1 {
                let rows = "SELECT count(*) FROM active_watchers WHERE presentity_uri='sip:alice@test.local'";
                assert_eq!(sqlite::number(&server.database_file(), rows), told, "{what}");
            }
            let mut alice = Phone::new("alice", server.port);
            assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "here")).code(), 200);
            for _ in 0..told {
                assert!(bob.notify().body.contains("here"), "{what}");
            }
            assert_eq!(bob.notify_within(0.2), None, "{what}");
            let code = if value == 1 { 481 } else { 200 };
            assert_eq!(bob.resubscribe(&mut first, 600).code(), code, "{what}");
            assert_eq!(bob.resubscribe(&mut second, 600).code(), 200, "{what}");
            assert_eq!(bob.resubscribe(&mut other, 600).code(), 200, "{what}");
        }
    }
}

#[test]
fn subs_remove_match_removes_the_one_that_is_meant() {
    for value in [0, 1] {
        for subs in [0, 1, 3] {
            let what = format!("subs_remove_match {value}, subs_db_mode {subs}");
            let builder = if subs == 0 { Kamailio::builder() } else { with_tables().param("subs_db_mode", subs) };
            let server = builder.param("subs_remove_match", value).start();
            let mut bob = Phone::new("bob", server.port);
            let mut first = bob.subscribe("alice", "presence", 600);
            bob.notify();
            let mut second = bob.subscribe("alice", "presence", 600);
            bob.notify();
            assert_eq!(bob.resubscribe(&mut first, 0).code(), 200, "{what}");
            assert!(bob.notify().state().starts_with("terminated"), "{what}");
            // The stock module deletes with the answer.
            bob.listen(Duration::from_millis(150));
            let mut alice = Phone::new("alice", server.port);
            assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "here")).code(), 200);
            assert_eq!(bob.notify().header("Call-ID"), Some(second.call_id.as_str()), "{what}");
            assert_eq!(bob.notify_within(0.2), None, "{what}");
            assert_eq!(bob.resubscribe(&mut first, 600).code(), 481, "{what}");
            assert_eq!(bob.resubscribe(&mut second, 600).code(), 200, "{what}");
        }
    }
}

#[test]
fn sip_uri_match_says_whether_case_matters() {
    for (value, told) in [(0, false), (1, true)] {
        let server = Kamailio::builder().param("sip_uri_match", value).start();
        let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
        bob.subscribe("ALICE", "presence", 600);
        bob.notify();
        assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "here")).code(), 200);
        let notify = bob.notify_within(if told { 5.0 } else { 0.3 });
        assert_eq!(notify.is_some_and(|n| n.body.contains("here")), told, "sip_uri_match {value}");
    }
}

#[test]
fn branch_flags_are_stored() {
    for subs in [1, 3] {
        let routes =
            testkit::kamailio::ROUTES.replace("handle_subscribe()", "setbflag(0); setbflag(7); handle_subscribe()");
        let server = with_tables().param("subs_db_mode", subs).routes(&routes).start();
        let mut bob = Phone::new("bob", server.port);
        bob.subscribe("alice", "presence", 600);
        bob.notify();
        let flags = "SELECT flags FROM active_watchers";
        assert_eq!(sqlite::number(&server.database_file(), flags), 129, "subs_db_mode {subs}");
    }
}

#[test]
fn tables_can_have_other_names() {
    let mut first = with_tables().start();
    first.stop();
    let file = first.database_file();
    for table in ["presentity", "active_watchers", "watchers"] {
        sqlite::run(
            &file,
            &format!(
                "ALTER TABLE {table} RENAME TO my_{table}; \
                 UPDATE version SET table_name='my_{table}' WHERE table_name='{table}'"
            ),
        );
    }
    let server = Kamailio::builder()
        .database(Database::SqliteFile(file.clone()))
        .children(1)
        .param("notifier_processes", 0)
        .param("subs_db_mode", 1)
        .param("presentity_table", "\"my_presentity\"")
        .param("active_watchers_table", "\"my_active_watchers\"")
        .param("watchers_table", "\"my_watchers\"")
        .extra(crate::probe::ASK_FIRST)
        .start();
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    bob.subscribe("alice", "presence", 600);
    bob.notify();
    assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "here")).code(), 200);
    for table in ["presentity", "active_watchers", "watchers"] {
        assert_eq!(sqlite::number(&file, &format!("SELECT count(*) FROM my_{table}")), 1, "my_{table}");
    }
}
