//! What happens by itself: rows that are written later, and rows that run out.

use crate::{server, wait_for_number};
use std::time::Duration;
use testkit::phone::pidf;
use testkit::{Database, Phone};

crate::on_each_database! {
    a_flush_writes_changes_and_takes_away_what_ended,
    without_flushes_the_last_one_writes_everything,
    a_subscription_that_runs_out_is_terminated_by_timeout,
    a_publication_that_runs_out_is_taken_away_and_told,
    what_ran_out_while_the_server_was_down_is_swept_too,
    watchers_who_wait_for_a_day_are_forgotten,
    a_sweep_takes_all_that_ran_out,
}

const SUBSCRIPTIONS: &str = "SELECT count(*) FROM active_watchers";
const PUBLICATIONS: &str = "SELECT count(*) FROM presentity";

fn a_flush_writes_changes_and_takes_away_what_ended(db: &Database) {
    let server = server(db, 1, 2).param("db_update_period", 1).start();
    let tables = server.tables().clone();
    let mut bob = Phone::new("bob", server.port);
    let mut dialogs: Vec<_> = (0..5).map(|n| bob.subscribe(&format!("alice{n}"), "presence", 600)).collect();
    wait_for_number(&server, SUBSCRIPTIONS, 5);
    assert_eq!(bob.resubscribe(&mut dialogs[0], 1200).code(), 200);
    assert_eq!(bob.resubscribe(&mut dialogs[1], 0).code(), 200);
    wait_for_number(&server, SUBSCRIPTIONS, 4);
    wait_for_number(&server, "SELECT count(*) FROM active_watchers WHERE remote_cseq=2", 1);
    let span =
        "SELECT CASE WHEN max(expires) - min(expires) BETWEEN 590 AND 620 THEN 1 ELSE 0 END FROM active_watchers";
    assert_eq!(tables.number(span), 1, "the refresh has its new end");
}

fn without_flushes_the_last_one_writes_everything(db: &Database) {
    let mut server = server(db, 1, 2).param("db_update_period", 0).start();
    let tables = server.tables().clone();
    let mut bob = Phone::new("bob", server.port);
    let mut dialogs: Vec<_> = (0..20).map(|n| bob.subscribe(&format!("alice{n}"), "presence", 600)).collect();
    bob.resubscribe(&mut dialogs[0], 0);
    bob.listen(Duration::from_millis(1200));
    assert_eq!(tables.number(SUBSCRIPTIONS), 0, "nothing is written before the end");
    server.stop();
    assert_eq!(tables.number(SUBSCRIPTIONS), 19);
    // Who left without answering the last NOTIFY is gone all the same.
    server.restart();
    bob.answer = None;
    assert_eq!(bob.resubscribe(&mut dialogs[3], 0).code(), 200);
    bob.notify();
    bob.answer = Some(200);
    server.stop();
    assert_eq!(tables.number(SUBSCRIPTIONS), 18);
    // Rows that are there are changed and deleted by the next last flush.
    server.restart();
    assert_eq!(bob.resubscribe(&mut dialogs[1], 0).code(), 200);
    assert_eq!(bob.resubscribe(&mut dialogs[2], 1800).code(), 200);
    bob.subscribe("another", "presence", 600);
    server.stop();
    assert_eq!(tables.number(SUBSCRIPTIONS), 18);
    assert_eq!(tables.number("SELECT count(*) FROM active_watchers WHERE remote_cseq=2"), 1);
}

fn a_subscription_that_runs_out_is_terminated_by_timeout(db: &Database) {
    // All modes at once: this is mostly waiting.
    let begin = |subs| {
        let server = server(db, 1, subs).param("db_update_period", 1).start();
        let mut bob = Phone::new("bob", server.port);
        let dialog = bob.subscribe("alice", "presence", 1);
        let first = bob.notify();
        (subs, server, bob, dialog, first, String::new())
    };
    let mut runs: Vec<_> = (0..=3).map(begin).collect();
    for (subs, server, bob, dialog, first, via) in &mut runs {
        let last = bob.notify_within(6.0).unwrap_or_else(|| panic!("subs_db_mode {subs}: no NOTIFY at the end"));
        assert_eq!(last.state(), "terminated;reason=timeout", "subs_db_mode {subs}");
        assert!(last.cseq() > first.cseq(), "subs_db_mode {subs}");
        via.push_str(last.header("Via").unwrap_or_default());
        assert_eq!(last.header("Call-ID"), Some(dialog.call_id.as_str()));
        wait_for_number(server, SUBSCRIPTIONS, 0);
        assert_eq!(bob.resubscribe(dialog, 600).code(), 481, "subs_db_mode {subs}");
    }
    std::thread::sleep(Duration::from_millis(1200));
    for (subs, _, bob, _, _, via) in &mut runs {
        bob.listen(Duration::from_millis(20));
        // One that was sent again, because the phone was busy with another server, is not another one.
        let others: Vec<_> = bob.inbox.iter().filter(|n| n.header("Via") != Some(via)).collect();
        assert!(others.is_empty(), "subs_db_mode {subs}: one last NOTIFY, not two: {others:?}");
    }
}

fn a_publication_that_runs_out_is_taken_away_and_told(db: &Database) {
    let begin = |publ| {
        let server = server(db, publ, 2).param("clean_period", 1).start();
        let mut alice = Phone::new("alice", server.port);
        let mut bob = Phone::new("bob", server.port);
        bob.subscribe("alice", "presence", 600);
        bob.notify();
        let reply = alice.publish("presence", None, Some(1), &pidf("alice", "open", "short"));
        assert_eq!(reply.code(), 200);
        assert!(bob.notify().body.contains("short"), "publ_cache {publ}");
        (publ, server, alice, bob, reply)
    };
    let mut runs: Vec<_> = (0..=2).map(begin).collect();
    for (publ, server, alice, bob, reply) in &mut runs {
        let after = bob.notify_within(6.0).unwrap_or_else(|| panic!("publ_cache {publ}: nobody was told"));
        assert!(!after.body.contains("short"), "publ_cache {publ}: {}", after.body);
        assert!(after.state().starts_with("active"), "publ_cache {publ}");
        wait_for_number(server, PUBLICATIONS, 0);
        let etag = reply.header("SIP-ETag").expect("a tag");
        assert_eq!(alice.publish("presence", Some(etag), Some(600), "").code(), 412, "publ_cache {publ}");
    }
}

fn what_ran_out_while_the_server_was_down_is_swept_too(db: &Database) {
    let begin = |subs| {
        let mut server = server(db, 1, subs).param("db_update_period", 1).param("clean_period", 1).start();
        let mut bob = Phone::new("bob", server.port);
        let mut alice = Phone::new("alice", server.port);
        bob.subscribe("alice", "presence", 2);
        bob.subscribe("alice", "presence", 600);
        assert_eq!(alice.publish("presence", None, Some(2), &pidf("alice", "open", "short")).code(), 200);
        server.stop();
        let rows = server.tables().number(SUBSCRIPTIONS);
        assert_eq!(rows, 2, "subs_db_mode {subs}: both outlive the server");
        server
    };
    let mut servers: Vec<_> = [1, 2, 3].into_iter().map(begin).collect();
    std::thread::sleep(Duration::from_millis(3000));
    for server in &mut servers {
        server.restart();
        wait_for_number(server, SUBSCRIPTIONS, 1);
        wait_for_number(server, PUBLICATIONS, 0);
    }
}

fn watchers_who_wait_for_a_day_are_forgotten(db: &Database) {
    let server = server(db, 1, 2).extra(crate::ASK_FIRST).param("clean_period", 1).start();
    let tables = server.tables().clone();
    let mut bob = Phone::new("bob", server.port);
    bob.subscribe("old", "presence", 600);
    bob.subscribe("new", "presence", 600);
    tables.script("UPDATE watchers SET inserted_time = inserted_time - 86500 WHERE presentity_uri LIKE '%old%';");
    wait_for_number(&server, "SELECT count(*) FROM watchers", 1);
    let left = tables.run("SELECT presentity_uri FROM watchers");
    assert_eq!(left, ["sip:new@test.local"]);
}

/// More than one page of either table, and more than one step of the sweep.
fn a_sweep_takes_all_that_ran_out(db: &Database) {
    const MANY: i64 = 150;
    for (publ, subs) in [(1, 1), (0, 3)] {
        let server = server(db, publ, subs).param("clean_period", 100).param("db_update_period", 100).start();
        for n in 0..MANY {
            let mut phone = Phone::new(&format!("u{n}"), server.port);
            phone.subscribe("nobody", "presence", 1);
            let body = pidf(&format!("u{n}"), "open", "here");
            assert_eq!(phone.publish("presence", None, Some(1), &body).code(), 200);
        }
        let rows = "SELECT (SELECT count(*) FROM presentity) + (SELECT count(*) FROM active_watchers)";
        assert_eq!(server.tables().number(rows), 2 * MANY);
        // Times in the tables are whole seconds.
        std::thread::sleep(std::time::Duration::from_millis(2100));
        let _ = server.rpc(&["presence.cleanup"]);
        assert_eq!(server.tables().number(rows), 0, "publ_cache {publ}, subs_db_mode {subs}");
    }
}
