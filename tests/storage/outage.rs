//! The database server goes away or hangs, or its tables do, and comes back: what is in memory goes on, the rest is refused
//! within bounds, and afterwards all is as before.

use crate::{server, wait_for_number};
use std::time::{Duration, Instant};
use testkit::phone::{Dialog, pidf};
use testkit::{Builder, Database, Kamailio, Message, Phone};

crate::on_each_database! {
    tables_that_are_away_are_done_without_until_they_are_back,
    tables_that_are_made_anew_are_filled_by_refreshes,
    ;
    what_is_in_memory_goes_on_without_the_database,
    what_needs_the_database_is_refused_until_it_is_back,
    a_database_that_hangs_is_waited_for_within_bounds,
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

/// Asks once, and waits for longer than a phone would.
fn patiently(phone: &mut Phone, request: impl FnOnce(&Phone) -> String) -> Message {
    let request = request(phone);
    phone.send_raw(request.as_bytes());
    testkit::wait_for("a reply", 20.0, || phone.receive(Duration::from_millis(20)).filter(|reply| reply.code() >= 200))
}

/// How long a driver waits for a server that does not answer, and how it connects again: once.
fn impatient(db: &Database, server: Builder) -> Builder {
    match db {
        Database::Postgres => server.extra(
            "modparam(\"db_postgres\", \"timeout\", 1)\nmodparam(\"db_postgres\", \"retries\", 0)\n\
             modparam(\"db_postgres\", \"con_param\", \"connect_timeout=2\")",
        ),
        _ => server.extra("modparam(\"db_mysql\", \"timeout_interval\", 1)"),
    }
}

/// The longest answer then: the patience, and one statement more, for which a driver may connect twice.
const HUNG: Duration = Duration::from_secs(5);

fn a_database_that_hangs_is_waited_for_within_bounds(db: &Database) {
    for (publ, subs) in [(1, 1), (2, 2), (0, 3)] {
        let what = format!("publ_cache {publ}, subs_db_mode {subs}");
        let server = server(db, publ, subs).param("db_wait_time", 1000).param("db_update_period", 1).children(4);
        let mut server = impatient(db, server).start();
        let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
        let mut dialog = bob.subscribe("alice", "presence", 600);
        let reply = alice.publish("presence", None, Some(600), &pidf("alice", "open", "before"));
        let mut tag = reply.header("SIP-ETag").expect("a tag").to_owned();
        let mut new: Vec<Phone> = (0..2).map(|n| Phone::new(&format!("w{n}"), server.port)).collect();
        // A process that finds no database when it begins ends the server.
        server.is_complete();
        engine(&server).freeze();
        let body = pidf("alice", "open", "meanwhile");
        let answers: Vec<(u16, Duration)> = std::thread::scope(|scope| {
            let publish = scope.spawn(|| {
                timed(|| {
                    let reply = patiently(&mut alice, |p| {
                        p.publish_request("alice", "presence", Some(&tag), Some(600), &body, &[])
                    });
                    reply.header("SIP-ETag").unwrap_or_default().clone_into(&mut tag);
                    reply
                })
            });
            let refresh = scope.spawn(|| {
                dialog.cseq += 1;
                timed(|| patiently(&mut bob, |p| p.subscribe_request(&dialog, Some(600), &[])))
            });
            let anew = move |phone: &mut Phone| {
                let dialog = Dialog { cseq: 1, ..Dialog::new("alice", "presence") };
                timed(|| patiently(phone, |p| p.subscribe_request(&dialog, Some(600), &[])))
            };
            let [first, second] = &mut new[..] else { unreachable!() };
            let subscribe = scope.spawn(move || anew(first));
            let mut all: Vec<_> = [publish, refresh, subscribe].map(|asked| asked.join().expect("answered")).into();
            // By now it is known that it hangs.
            all.push(anew(second));
            all
        });
        println!("{db:?}, {what}: {answers:?}");
        let codes: Vec<u16> = answers.iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, if subs == 2 { [200; 4] } else { [503; 4] }, "{what}");
        let at_once = if subs == 2 { vec![0, 1, 3] } else { vec![] };
        for (n, (_, took)) in answers.iter().enumerate() {
            let most = if at_once.contains(&n) { AT_ONCE } else { HUNG };
            assert!(*took < most, "{what}: request {n} took {took:?}");
        }
        engine(&server).thaw();
        // What was written after all, though nobody heard of it, has another tag.
        testkit::wait_for(&format!("{what}: it answers again"), 20.0, || {
            (bob.resubscribe(&mut dialog, 600).code() == 200).then_some(())
        });
        let body = pidf("alice", "open", "afterwards");
        let code = alice.publish("presence", (publ == 2).then_some(tag.as_str()), Some(600), &body).code();
        assert_eq!(code, 200, "{what}");
        testkit::wait_for(&format!("{what}: the state"), 8.0, || {
            bob.notify().body.contains("afterwards").then_some(())
        });
        let kept = if subs == 2 { 3 } else { 1 };
        wait_for_number(&server, "SELECT count(DISTINCT watcher_username) FROM active_watchers", kept);
        assert!(server.stop().success(), "{what}");
    }
}

/// Tables under another name, as while somebody works at them.
fn rename(server: &Kamailio, from: &str, to: &str) {
    for table in ["active_watchers", "presentity", "watchers"] {
        server.tables().script(&format!("ALTER TABLE {table}{from} RENAME TO {table}{to};"));
    }
}

fn tables_that_are_away_are_done_without_until_they_are_back(db: &Database) {
    for (publ, subs) in [(1, 1), (2, 2), (0, 3)] {
        let what = format!("publ_cache {publ}, subs_db_mode {subs}");
        let server = server(db, publ, subs).param("db_wait_time", 1000).param("db_update_period", 1);
        let mut server = server.start();
        let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
        let mut dialog = bob.subscribe("alice", "presence", 600);
        let reply = alice.publish("presence", None, Some(600), &pidf("alice", "open", "before"));
        let mut tag = reply.header("SIP-ETag").expect("a tag").to_owned();
        wait_for_number(&server, "SELECT count(*) FROM active_watchers", 1);
        rename(&server, "", "_away");
        let wanted = if subs == 2 { 200 } else { 503 };
        for round in 0..3 {
            let body = pidf("alice", "open", "meanwhile");
            let (code, took) = timed(|| {
                let reply = alice.publish("presence", Some(&tag.clone()), Some(600), &body);
                tag = reply.header("SIP-ETag").map_or_else(|| tag.clone(), str::to_owned);
                reply
            });
            assert!(code == wanted && took < AT_ONCE, "{what}, {round}: PUBLISH {code} after {took:?}");
            let (code, took) = timed(|| bob.resubscribe(&mut dialog, 600));
            assert!(code == wanted && took < AT_ONCE, "{what}, {round}: refresh {code} after {took:?}");
            let mut new = Phone::new(&format!("w{round}"), server.port);
            let (code, took) = timed(|| new.resubscribe(&mut Dialog::new("alice", "presence"), 600));
            assert!(code == wanted && took < AT_ONCE, "{what}, {round}: SUBSCRIBE {code} after {took:?}");
        }
        rename(&server, "_away", "");
        let body = pidf("alice", "open", "afterwards");
        assert_eq!(alice.publish("presence", Some(&tag), Some(600), &body).code(), 200, "{what}");
        assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 200, "{what}");
        testkit::wait_for(&format!("{what}: the state"), 8.0, || {
            bob.notify().body.contains("afterwards").then_some(())
        });
        wait_for_number(&server, "SELECT count(*) FROM active_watchers", if subs == 2 { 4 } else { 1 });
        let cseq = dialog.cseq;
        wait_for_number(&server, &format!("SELECT count(*) FROM active_watchers WHERE remote_cseq={cseq}"), 1);
        assert!(server.stop().success(), "{what}");
    }
}

fn tables_that_are_made_anew_are_filled_by_refreshes(db: &Database) {
    for subs in [1, 2] {
        let mut server = server(db, 2, subs).param("db_update_period", 1).start();
        let mut bob = Phone::new("bob", server.port);
        let mut dialog = bob.subscribe("alice", "presence", 600);
        wait_for_number(&server, "SELECT count(*) FROM active_watchers", 1);
        // As dropped and made anew.
        server.tables().script("DELETE FROM active_watchers;");
        assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 200, "subs_db_mode {subs}");
        wait_for_number(&server, "SELECT count(*) FROM active_watchers WHERE watcher_username='bob'", 1);
        let mut alice = Phone::new("alice", server.port);
        assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "here")).code(), 200);
        server.restart();
        assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 200, "subs_db_mode {subs}");
    }
}
