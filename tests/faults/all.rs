//! The database is gone for a while, or slow.

use crate::plan::{Fault, Plan};
use crate::whole::is_whole;
use crate::{MODES, SQLITE, is_put_off, own, server};
use std::time::{Duration, Instant};
use testkit::phone::{Dialog, pidf};
use testkit::{Database, Kamailio, Message, Phone};

/// A watcher and a publisher who insist.
struct Pair {
    alice: Phone,
    bob: Phone,
    etag: String,
    dialog: Dialog,
    longest: Duration,
}

impl Pair {
    fn meet(server: &Kamailio) -> Self {
        let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
        let dialog = bob.subscribe("alice", "presence", 600);
        let reply = alice.publish("presence", None, Some(600), &pidf("alice", "open", "before"));
        let etag = reply.header("SIP-ETag").expect("a tag").to_owned();
        Self { alice, bob, etag, dialog, longest: Duration::ZERO }
    }

    fn timed(&mut self, ask: impl FnOnce(&mut Self) -> Message, what: &str) -> bool {
        let start = Instant::now();
        let reply = ask(self);
        self.longest = self.longest.max(start.elapsed());
        if is_put_off(&reply, what) {
            return false;
        }
        if let Some(tag) = reply.header("SIP-ETag") {
            self.etag = tag.to_owned();
        }
        true
    }

    /// A change, a refresh and a new watcher: which of them were accepted.
    fn round(&mut self, note: &str, what: &str) -> [bool; 3] {
        let body = pidf("alice", "open", note);
        [
            self.timed(|p| p.alice.publish("presence", Some(&p.etag.clone()), Some(600), &body), what),
            self.timed(|p| p.bob.resubscribe(&mut p.dialog, 600), what),
            self.timed(|p| p.bob.resubscribe(&mut Dialog::new("alice", "presence"), 600), what),
        ]
    }

    /// What the watcher's first dialog shows last.
    fn shown(&mut self, note: &str, what: &str) {
        testkit::wait_for(&format!("{what}: {note}"), 8.0, || {
            self.bob.listen(Duration::from_millis(5));
            let call = self.dialog.call_id.as_str();
            let own = self.bob.inbox.iter().filter(|n| n.header("Call-ID") == Some(call));
            own.max_by_key(|n| n.cseq())?.body.contains(&format!("<note>{note}</note>")).then_some(())
        });
    }
}

#[test]
fn without_the_database_requests_are_put_off_and_memory_goes_on() {
    for (publ, subs) in MODES {
        let what = format!("publ_cache {publ}, subs_db_mode {subs}");
        let plan = Plan::new();
        let server = plan.applied_to(server(&SQLITE, publ, subs)).param("db_update_period", 1).start();
        let mut pair = Pair::meet(&server);
        plan.set(Fault::All);
        for round in 0..5 {
            let note = format!("meanwhile {round}");
            let accepted = pair.round(&note, &what);
            // What needs no database goes on; a new watcher, with write-back, does.
            assert_eq!(accepted, [publ == 2, subs == 2, subs == 2], "{what}: {note}");
            if publ == 2 {
                pair.shown(&note, &what);
            }
        }
        let failed = plan.failed();
        plan.set(Fault::None);
        assert!(failed > 0, "{what}: the database was not asked");
        assert!(pair.longest < Duration::from_millis(1500), "{what}: {:?}", pair.longest);
        assert_eq!(pair.round("afterwards", &what), [true; 3], "{what}");
        pair.shown("afterwards", &what);
        // What a flush could not write meanwhile is written by now.
        testkit::wait_for(&format!("{what}: the rows"), 5.0, || {
            let behind = if subs == 2 { server.status("rows_behind") } else { 0 };
            (behind == 0).then_some(())
        });
        is_whole(&server, false, &what);
    }
}

/// How long each statement takes, and what is more than it takes at most: one that has begun is not interrupted.
const DELAY: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_millis(700);
/// `db_wait_time` of these servers.
const PATIENCE: Duration = Duration::from_secs(1);

/// With two seconds for each statement: the patience, and after it the end of the statement that is under way and of its
/// transaction.
fn with_slow_statements(db: &Database) {
    std::thread::scope(|scope| {
        for (publ, subs) in MODES {
            let db = own(db);
            scope.spawn(move || slowly(&db, publ, subs));
        }
    });
}

fn slowly(db: &Database, publ: u8, subs: u8) {
    let what = format!("publ_cache {publ}, subs_db_mode {subs}");
    let plan = Plan::new();
    let server = plan.applied_to(server(db, publ, subs)).children(4).start();
    let mut pair = Pair::meet(&server);
    server.is_complete();
    plan.set(Fault::Slow(DELAY));
    let body = pidf("alice", "open", "slowly");
    let publish = pair.alice.publish_request("alice", "presence", Some(&pair.etag), Some(600), &body, &[]);
    pair.dialog.cseq += 1;
    let refresh = pair.bob.subscribe_request(&pair.dialog, Some(600), &[]);
    let subscribe = pair.bob.subscribe_request(&Dialog { cseq: 1, ..Dialog::new("alice", "presence") }, Some(600), &[]);
    // A new watcher is looked for in a table, until that has taken too long.
    let requests = [(publish, publ == 2), (refresh, subs == 2), (subscribe, false)];
    for (n, (request, in_memory)) in requests.iter().enumerate() {
        let start = Instant::now();
        let phone = if n == 0 { &mut pair.alice } else { &mut pair.bob };
        phone.send_raw(request.as_bytes());
        let reply = loop {
            let reply = phone.receive(Duration::from_secs(30)).unwrap_or_else(|| panic!("{what}: {request}"));
            if reply.code() >= 200 {
                break reply;
            }
        };
        let took = start.elapsed();
        println!("{what}: {} after {took:?}", reply.code());
        let put_off = is_put_off(&reply, &what);
        assert!(took < PATIENCE + 2 * DELAY + SLACK, "{what}: {} after {took:?}", reply.code());
        assert!(!in_memory || !put_off && took < Duration::from_millis(500), "{what}: {took:?} {reply:?}");
        assert!(n < 2 || subs != 2 || !put_off, "{what}: {reply:?}");
        if let Some(tag) = reply.header("SIP-ETag") {
            pair.etag = tag.to_owned();
        }
    }
    plan.set(Fault::None);
    // The last slow statement may still be under way.
    testkit::wait_for(&format!("{what}: all is as before"), 15.0, || {
        (pair.round("afterwards", &what) == [true; 3]).then_some(())
    });
    pair.shown("afterwards", &what);
    let _ = server.rpc(&["presence.cleanup"]);
    is_whole(&server, false, &what);
}

#[test]
fn with_a_slow_database_everybody_is_answered_in_sqlite() {
    with_slow_statements(&SQLITE);
}

#[test]
fn with_a_slow_database_everybody_is_answered_in_postgres() {
    with_slow_statements(&Database::Postgres);
}

#[test]
fn with_a_slow_database_everybody_is_answered_in_mariadb() {
    with_slow_statements(&Database::MariaDb);
}
