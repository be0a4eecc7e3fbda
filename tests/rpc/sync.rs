//! `presence.publish_cache_sync`: what another program did to the table.

use crate::{lacks, with_sqlite};
use serde_json::json;
use testkit::phone::pidf;
use testkit::{Kamailio, Phone, sqlite};

fn put(server: &Kamailio, user: &str, etag: &str, expires: i64) {
    let body = pidf(user, "open", etag).replace('\'', "''");
    sqlite::run(
        &server.database_file(),
        &format!(
            "INSERT INTO presentity (username, domain, event, etag, expires, received_time, body, sender, priority, ruid) \
             VALUES ('{user}', 'test.local', 'presence', '{etag}', strftime('%s','now') + {expires}, \
             strftime('%s','now'), '{body}', '', 0, 'row-{etag}')"
        ),
    );
}

fn sync(server: &Kamailio) {
    assert_eq!(server.json("presence.publish_cache_sync", &json!([])), Ok(json!("OK")));
}

fn counted(server: &Kamailio) -> i64 {
    server.json("presence.status", &json!([])).expect("an answer")["publications"].as_i64().expect("a number")
}

/// What a new watcher is told.
fn state(server: &Kamailio, of: &str) -> String {
    let mut bob = Phone::new("bob", server.port);
    let mut dialog = bob.subscribe(of, "presence", 600);
    let body = bob.notify().body;
    bob.resubscribe(&mut dialog, 0);
    body
}

#[test]
fn what_another_program_published_is_shown_after_a_sync() {
    if lacks("presence.publish_cache_sync") {
        return;
    }
    let server = with_sqlite(0, 1).start();
    put(&server, "alice", "one", 600);
    put(&server, "alice", "two", 600);
    put(&server, "dave", "three", 600);
    assert_eq!(state(&server, "alice"), "");
    sync(&server);
    assert_eq!(counted(&server), 3);
    assert!(state(&server, "alice").contains("<note>"));
    assert!(state(&server, "dave").contains("<note>three</note>"));
    // Again: nothing is counted twice.
    sync(&server);
    assert_eq!(counted(&server), 3);
    let mut alice = Phone::new("alice", server.port);
    assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "own")).code(), 200);
    assert_eq!(counted(&server), 4);
}

#[test]
fn what_another_program_took_away_is_forgotten_after_a_sync() {
    if lacks("presence.publish_cache_sync") {
        return;
    }
    let server = with_sqlite(0, 1).param("db_wait_time", 300).start();
    let mut alice = Phone::new("alice", server.port);
    let mut etags = Vec::new();
    for note in ["a", "b"] {
        let reply = alice.publish("presence", None, Some(600), &pidf("alice", "open", note));
        etags.push(reply.header("SIP-ETag").expect("a tag").to_owned());
    }
    alice.publish_for("dave", "presence", None, Some(600), &pidf("dave", "open", "gone"));
    let delete = format!("DELETE FROM presentity WHERE etag = '{}' OR username = 'dave'", etags[0]);
    sqlite::run(&server.database_file(), &delete);
    assert_eq!(counted(&server), 3);
    sync(&server);
    assert_eq!(counted(&server), 1);
    assert!(state(&server, "alice").contains("<note>b</note>"));
    assert_eq!(state(&server, "dave"), "");
    assert_eq!(alice.publish("presence", Some(&etags[1]), Some(0), "").code(), 200);
    assert_eq!((counted(&server), state(&server, "alice").as_str()), (0, ""));
}

#[test]
fn counts_stay_right_beside_publishers() {
    if lacks("presence.publish_cache_sync") {
        return;
    }
    let server = with_sqlite(0, 1).param("db_wait_time", 300).children(4).start();
    let port = server.port;
    let publishers: Vec<_> = (0..3)
        .map(|n| {
            std::thread::spawn(move || {
                let user = format!("user{n}");
                let mut phone = Phone::new(&user, port);
                for _ in 0..150 {
                    let reply = phone.publish("presence", None, Some(600), &pidf(&user, "open", "x"));
                    let etag = reply.header("SIP-ETag").expect("a tag").to_owned();
                    assert_eq!(phone.publish("presence", Some(&etag), Some(0), "").code(), 200);
                }
                let last = phone.publish("presence", None, Some(600), &pidf(&user, "open", "last"));
                assert_eq!(last.code(), 200);
            })
        })
        .collect();
    while !publishers.iter().all(std::thread::JoinHandle::is_finished) {
        sync(&server);
    }
    publishers.into_iter().for_each(|p| p.join().expect("a publisher"));
    // Nobody's document is hidden.
    for n in 0..3 {
        assert!(state(&server, &format!("user{n}")).contains("<note>last</note>"), "user{n}");
    }
    sync(&server);
    assert_eq!(counted(&server), 3);
}

// Fails with the stock module: it counts at start what lives only, and takes from that count what it sweeps.
#[test]
fn a_sweep_of_what_had_expired_before_the_start_hides_nothing_that_lives() {
    let mut server = with_sqlite(0, 1).start();
    server.stop();
    put(&server, "alice", "old", -50);
    put(&server, "alice", "new", 600);
    server.restart();
    assert!(state(&server, "alice").contains("<note>new</note>"));
    let _ = server.rpc(&["presence.cleanup"]);
    testkit::wait_for("the sweep", 5.0, || {
        (sqlite::number(&server.database_file(), "SELECT count(*) FROM presentity") == 1).then_some(())
    });
    assert!(state(&server, "alice").contains("<note>new</note>"));
}
