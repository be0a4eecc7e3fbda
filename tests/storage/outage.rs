//! The database server goes away and comes back: what is in memory goes on, the rest is refused within bounds, and
//! afterwards all is as before.

use crate::{server, wait_for_number};
use std::time::{Duration, Instant};
use testkit::phone::{Dialog, pidf};
use testkit::{Database, Kamailio, Message, Phone};

crate::on_each_database! {
    ;
    what_is_in_memory_goes_on_without_the_database,
    what_needs_the_database_is_refused_until_it_is_back,
}

/// An answer, and how long it took.
fn timed(ask: impl FnOnce() -> Message) -> (u16, Duration) {
    let start = Instant::now();
    (ask().code(), start.elapsed())
}

/// How long an answer may take: the driver's attempts to connect, and ours.
const AT_ONCE: Duration = Duration::from_millis(1500);

fn engine(server: &Kamailio) -> &testkit::engine::Engine {
    server.tables().engine().expect("a database server")
}

fn what_is_in_memory_goes_on_without_the_database(db: &Database) {
    let mut server = server(db, 2, 2).param("db_update_period", 1).start();
    let mut alice = Phone::new("alice", server.port);
    let mut bob = Phone::new("bob", server.port);
    let mut before = bob.subscribe("alice", "presence", 600);
    bob.notify();
    wait_for_number(&server, "SELECT count(*) FROM active_watchers", 1);
    engine(&server).kill();
    let mut tag = None;
    for round in 0..10 {
        let note = format!("round {round}");
        let (code, took) = timed(|| {
            let reply = alice.publish("presence", tag.as_deref(), Some(600), &pidf("alice", "open", &note));
            tag = reply.header("SIP-ETag").map(str::to_owned);
            reply
        });
        assert!(code == 200 && took < AT_ONCE, "{note}: PUBLISH {code} after {took:?}");
        assert!(bob.notify().body.contains(&note), "{note}");
        let (code, took) = timed(|| bob.resubscribe(&mut before, 600));
        assert!(code == 200 && took < AT_ONCE, "{note}: refresh {code} after {took:?}");
        bob.notify();
        let mut new = Phone::new(&format!("w{round}"), server.port);
        let (code, took) = timed(|| new.resubscribe(&mut Dialog::new("alice", "presence"), 600));
        assert!(code == 200 && took < AT_ONCE, "{note}: SUBSCRIBE {code} after {took:?}");
        assert!(new.notify().body.contains(&note), "{note}");
    }
    // A flush comes by, and gives up.
    testkit::wait_for("a flush that fails", 5.0, || {
        (!server.log_lines("could not be written").is_empty()).then_some(())
    });
    engine(&server).start_again().expect("the database comes back");
    wait_for_number(&server, "SELECT count(*) FROM active_watchers", 11);
    wait_for_number(&server, "SELECT count(*) FROM active_watchers WHERE remote_cseq = 11", 1);
    assert!(server.is_running());
    assert!(server.stop().success());
}

fn what_needs_the_database_is_refused_until_it_is_back(db: &Database) {
    for (publ, subs) in [(1, 1), (0, 3)] {
        let what = format!("publ_cache {publ}, subs_db_mode {subs}");
        let mut server = server(db, publ, subs).param("db_wait_time", 2000).children(4).start();
        let mut alice = Phone::new("alice", server.port);
        let mut bob = Phone::new("bob", server.port);
        let mut dialog = bob.subscribe("alice", "presence", 600);
        let mut cseq = bob.notify().cseq();
        let reply = alice.publish("presence", None, Some(600), &pidf("alice", "open", "before"));
        let tag = reply.header("SIP-ETag").expect("a tag").to_owned();
        cseq = bob.notify().cseq().max(cseq);
        engine(&server).kill();
        for round in 0..3 {
            let body = pidf("alice", "open", "meanwhile");
            let (code, took) = timed(|| alice.publish("presence", Some(&tag), Some(600), &body));
            assert!(code == 503 && took < AT_ONCE, "{what}, {round}: PUBLISH by its tag {code} after {took:?}");
            let (code, took) = timed(|| alice.publish("presence", None, Some(600), &body));
            assert!(code == 503 && took < AT_ONCE, "{what}, {round}: first PUBLISH {code} after {took:?}");
            let (code, took) = timed(|| bob.resubscribe(&mut Dialog::new("alice", "presence"), 600));
            assert!(code == 503 && took < AT_ONCE, "{what}, {round}: SUBSCRIBE {code} after {took:?}");
            let (code, took) = timed(|| bob.resubscribe(&mut dialog, 600));
            assert!(code == 503 && took < AT_ONCE, "{what}, {round}: refresh {code} after {took:?}");
        }
        assert!(bob.notify_within(0.1).is_none(), "{what}: nothing was accepted, so there is nothing to tell");
        engine(&server).start_again().expect("the database comes back");
        // Each of the workers finds out by itself.
        let mut tag = tag;
        for round in 0..8 {
            let note = format!("round {round}");
            let reply = alice.publish("presence", Some(&tag), Some(600), &pidf("alice", "open", &note));
            assert_eq!(reply.code(), 200, "{what}, {note}: {reply:?}");
            tag = reply.header("SIP-ETag").expect("a tag").to_owned();
            // With write-through a refresh is in memory when it is refused: its NOTIFY may come now.
            let mut told = bob.notify();
            if round == 0 && told.body.contains("<note>before</note>") {
                told = bob.notify();
            }
            assert!(told.body.contains(&note) && told.cseq() > cseq, "{what}, {note}: {told:?}");
            assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 200, "{what}, {note}");
            cseq = bob.notify().cseq();
        }
        assert_eq!(bob.resubscribe(&mut dialog, 0).code(), 200, "{what}");
        assert!(bob.notify().state().starts_with("terminated"), "{what}");
        assert_eq!(alice.publish("presence", Some(&tag), Some(0), "").code(), 200, "{what}");
        let left = "SELECT (SELECT count(*) FROM active_watchers) + (SELECT count(*) FROM presentity)";
        assert_eq!(server.tables().number(left), 0, "{what}: rows are left");
        assert!(server.is_running(), "{what}");
    }
}
