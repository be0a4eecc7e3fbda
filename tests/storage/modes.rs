//! Every combination of `publ_cache` and `subs_db_mode` starts and serves.

use crate::{server, server_on};
use testkit::phone::pidf;
use testkit::{Database, Kamailio, Phone};

crate::on_each_database! {
    every_combination_serves_and_stops,
    what_ran_out_and_is_refreshed_before_the_sweep_is_told_again,
    a_mode_that_does_not_exist_is_refused_with_a_sentence,
    a_table_of_another_version_is_refused_with_a_sentence,
}

/// One round: subscribe, publish, be told, end.
pub fn serve(server: &Kamailio, what: &str) {
    let mut alice = Phone::new("alice", server.port);
    let mut bob = Phone::new("bob", server.port);
    let mut dialog = bob.subscribe("alice", "presence", 600);
    let first = bob.notify();
    assert!(first.state().starts_with("active"), "{what}: {first:?}");
    let reply = alice.publish("presence", None, Some(600), &pidf("alice", "open", "here"));
    assert_eq!(reply.code(), 200, "{what}: {reply:?}");
    let etag = reply.header("SIP-ETag").expect("a tag").to_owned();
    let told = bob.notify();
    assert!(told.body.contains("<note>here</note>") && told.cseq() > first.cseq(), "{what}: {told:?}");
    // A second watcher gets the state at once.
    let mut carol = Phone::new("carol", server.port);
    carol.subscribe("alice", "presence", 600);
    assert!(carol.notify().body.contains("<note>here</note>"), "{what}");
    assert_eq!(bob.resubscribe(&mut dialog, 0).code(), 200, "{what}");
    assert!(bob.notify().state().starts_with("terminated"), "{what}");
    assert_eq!(alice.publish("presence", Some("a.b.1"), Some(600), "").code(), 412, "{what}");
    assert_eq!(alice.publish("presence", Some(&etag), Some(0), "").code(), 200, "{what}");
    assert!(!carol.notify().body.contains("<note>here</note>"), "{what}");
}

fn what_ran_out_and_is_refreshed_before_the_sweep_is_told_again(db: &Database) {
    for publ in 0..=2 {
        let mut server = server(db, publ, 1).param("clean_period", 100).start();
        let mut alice = Phone::new("alice", server.port);
        let mut bob = Phone::new("bob", server.port);
        let mut dialog = bob.subscribe("alice", "presence", 600);
        bob.notify();
        let reply = alice.publish("presence", None, Some(1), &pidf("alice", "open", "here"));
        let tag = reply.header("SIP-ETag").expect("a tag").to_owned();
        assert!(bob.notify().body.contains("<note>here</note>"), "publ_cache {publ}");
        testkit::wait_for("the end of the publication", 5.0, || {
            assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 200, "publ_cache {publ}");
            (!bob.notify().body.contains("<note>here</note>")).then_some(())
        });
        let reply = alice.publish("presence", Some(&tag), Some(600), "");
        assert_eq!(reply.code(), 200, "publ_cache {publ}: {reply:?}");
        assert!(bob.notify().body.contains("<note>here</note>"), "publ_cache {publ}");
        assert!(server.stop().success());
    }
}

fn every_combination_serves_and_stops(db: &Database) {
    for publ in 0..=2 {
        for subs in 0..=3 {
            let what = format!("publ_cache {publ}, subs_db_mode {subs}");
            let mut server = server(db, publ, subs).start();
            serve(&server, &what);
            assert!(server.is_running(), "{what}");
            assert!(server.stop().success(), "{what}");
            let errors: Vec<String> =
                server.log_lines("ERROR").into_iter().filter(|l| l.contains("presence")).collect();
            assert!(errors.is_empty(), "{what}: {errors:?}");
            // Carol is still there, where subscriptions are kept at all.
            let rows = server.tables().number("SELECT count(*) FROM active_watchers");
            assert_eq!(rows, i64::from(subs != 0), "{what}");
        }
    }
}

#[test]
fn only_memory_needs_no_database() {
    let memory = Kamailio::builder().param("publ_cache", 2).param("subs_db_mode", 0).start();
    serve(&memory, "no database");
    for subs in 1..=3 {
        let refused = Kamailio::builder().param("publ_cache", 2).param("subs_db_mode", subs).try_start();
        let log = refused.err().unwrap_or_else(|| panic!("subs_db_mode {subs} started without a database"));
        assert!(log.contains("db_url"), "subs_db_mode {subs}: no word about db_url in\n{log}");
    }
}

#[test]
fn publ_cache_says_where_publications_are_looked_for() {
    for (publ, stored, seen) in [(0, 1, ["one", "two"]), (1, 1, ["one", ""]), (2, 0, ["one", ""])] {
        let server = server(&Database::Sqlite("WAL"), publ, 1).children(1).param("notifier_processes", 0).start();
        let mut alice = Phone::new("alice", server.port);
        assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "one")).code(), 200);
        let rows = server.tables().number("SELECT count(*) FROM presentity");
        assert_eq!(rows, stored, "publ_cache {publ}");
        // What another program publishes is seen where the table is asked each time.
        server.tables().script(&format!(
            "INSERT INTO presentity (username, domain, event, etag, expires, received_time, body, sender, priority, ruid) \
             VALUES ('dave', 'test.local', 'presence', 'a.1', strftime('%s','now') + 600, strftime('%s','now'), '{}', '', \
             0, 'r1');",
            pidf("dave", "open", "two")
        ));
        for (user, note) in ["alice", "dave"].into_iter().zip(seen) {
            let mut bob = Phone::new("bob", server.port);
            bob.subscribe(user, "presence", 600);
            let body = bob.notify().body;
            let found = body.split("<note>").nth(1).and_then(|rest| rest.split('<').next()).unwrap_or_default();
            assert_eq!(found, note, "publ_cache {publ}: {user}");
        }
    }
}

/// The stock module fails here: unless the parameter is 0 it locks tables, and MariaDB then refuses others (error 1100).
#[test]
fn whatever_db_table_lock_type_says_no_table_is_locked() {
    let db = &Database::MariaDb;
    for value in [0, 1, 2] {
        for (publ, subs) in [(1, 1), (1, 2), (0, 3)] {
            let what = format!("db_table_lock_type {value}, publ_cache {publ}, subs_db_mode {subs}");
            let mut server = server(db, publ, subs).param("db_table_lock_type", value).start();
            serve(&server, &what);
            assert!(server.stop().success(), "{what}");
            let locks = server.tables().run("SHOW GLOBAL STATUS LIKE 'Com_lock_tables'");
            assert_eq!(locks, ["Com_lock_tables|0"], "{what}");
        }
    }
}

fn a_mode_that_does_not_exist_is_refused_with_a_sentence(db: &Database) {
    for (name, value) in [("publ_cache", 3), ("publ_cache", -1), ("subs_db_mode", 4), ("subs_db_mode", -1)] {
        let log =
            server(db, 1, 2).param(name, value).try_start().err().unwrap_or_else(|| panic!("{name} {value} started"));
        assert!(log.contains(&format!("modparam {name} is {value}")), "{name} {value}:\n{log}");
    }
}

fn a_table_of_another_version_is_refused_with_a_sentence(db: &Database) {
    for table in ["presentity", "active_watchers", "watchers"] {
        let mut server = server(db, 1, 2).start();
        server.stop();
        server.tables().script(&format!("UPDATE version SET table_version=1 WHERE table_name='{table}';"));
        let again = server_on(server.tables(), 1, 2).try_start();
        let log = again.err().unwrap_or_else(|| panic!("started with {table} of version 1"));
        assert!(log.contains(table) && log.contains("version"), "{log}");
    }
}
