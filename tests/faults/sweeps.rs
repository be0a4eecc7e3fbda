//! What happens by itself happens without memory, or later: flushes of write-back, and the sweeps of what has run out, while
//! each allocation of the module in shared memory fails in turn, and while all fail. The next sweep makes up for it: those
//! who watch are told, and memory and tables agree row by row.
//!
//! The stock module fails these tests: it has no `presence.status`.

use crate::scarce::{fail, is_up, relent, seen, stands_before};
use crate::whole::is_whole;
use crate::{MODES, SQLITE, server};
use std::time::Duration;
use testkit::phone::{Dialog, pidf};
use testkit::{Kamailio, Message, Phone};

/// All of them.
const ALL: u32 = 1 << 30;
/// Dialogs that live on.
const KEPT: usize = 5;

struct Pair {
    alice: Phone,
    bob: Phone,
    kept: Vec<Dialog>,
}

impl Pair {
    fn meet(server: &Kamailio) -> Self {
        let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
        let reply = alice.publish("presence", None, Some(600), &pidf("alice", "open", &"here ".repeat(800)));
        assert_eq!(reply.code(), 200, "{reply:?}");
        let kept = (0..KEPT).map(|_| bob.subscribe("alice", "presence", 600)).collect();
        Self { alice, bob, kept }
    }

    /// A publication and a dialog run out, and the rows of the other dialogs are behind with write-back.
    fn prepare(&mut self, note: &str) -> Dialog {
        self.bob.inbox.clear();
        let brief = self.bob.subscribe("alice", "presence", 1);
        let reply = self.alice.publish("presence", None, Some(1), &pidf("alice", "closed", note));
        assert_eq!(reply.code(), 200, "{reply:?}");
        for dialog in &mut self.kept {
            assert_eq!(self.bob.resubscribe(dialog, 700).code(), 200);
        }
        let end = std::time::Instant::now() + Duration::from_millis(2100);
        while let Some(left) = end.checked_duration_since(std::time::Instant::now()) {
            self.bob.listen(left.max(Duration::from_millis(1)));
        }
        assert!(self.kept.iter().all(|dialog| self.last(dialog).is_some_and(|n| n.body.contains(note))), "{note}");
        brief
    }

    /// What a dialog was told last.
    fn last(&self, dialog: &Dialog) -> Option<&Message> {
        let own = self.bob.inbox.iter().filter(|n| n.header("Call-ID") == Some(&dialog.call_id));
        own.max_by_key(|n| n.cseq())
    }

    /// Whether all were told that the publication is gone, and the brief dialog that it is over.
    fn is_told(&self, note: &str, brief: &Dialog) -> bool {
        let over = |n: &Message| n.header("Subscription-State").is_some_and(|s| s.starts_with("terminated"));
        self.kept.iter().all(|dialog| self.last(dialog).is_some_and(|n| !n.body.contains(note)))
            && self.last(brief).is_some_and(over)
    }

    /// With memory again the next sweep tells everybody, and memory and tables agree.
    fn catch_up(&mut self, server: &mut Kamailio, what: &str, brief: &Dialog) {
        testkit::wait_for(&format!("{what}: everybody to be told"), 8.0, || {
            let _ = server.rpc(&["presence.cleanup"]);
            self.bob.listen(Duration::from_millis(50));
            self.is_told(what, brief).then_some(())
        });
        assert_eq!(is_whole(server, false, what), KEPT, "{what}");
        is_up(server, what);
    }
}

/// Sweeps, the first one without any memory, then each without another one of its allocations. `prepare` lets something run
/// out, and gives the dialog that does; what it is told is what is tried.
fn each_fails(
    (publ, subs): (u8, u8),
    server: &mut Kamailio,
    pair: &mut Pair,
    prepare: impl Fn(&mut Kamailio, &mut Pair, &str) -> Dialog,
) {
    let mode = format!("publ_cache {publ}, subs_db_mode {subs}");
    let (mut number, mut failures) = (0, 0);
    loop {
        let (from, count) = if number == 0 { (1, ALL) } else { (number, 1) };
        let what = format!("{mode}: {count} allocations from {from} on");
        let brief = prepare(server, pair, &what);
        fail(server, "presence", from, count);
        let _ = server.rpc(&["presence.cleanup"]);
        pair.bob.listen(Duration::from_millis(50));
        let (seen, failed) = seen(server);
        relent(server);
        failures += failed;
        // Nothing that lives on was taken for something else.
        let kept = server.tables().number("SELECT count(*) FROM active_watchers WHERE callid <> ''");
        assert!(subs == 2 || kept >= KEPT as i64, "{what}");
        pair.catch_up(server, &what, &brief);
        if number > 0 && seen < number {
            break;
        }
        number += 1;
    }
    println!("{mode}: {} allocations by a sweep, {failures} failures", number - 1);
}

fn start((publ, subs): (u8, u8)) -> (Kamailio, Pair) {
    let builder = stands_before(server(&SQLITE, publ, subs)).packages(&["presence_xml"]);
    let server = builder.extra("modparam(\"tm\", \"wt_timer\", 200)").start();
    let pair = Pair::meet(&server);
    (server, pair)
}

/// The server runs on from one sweep to the next.
fn sweeps(modes: (u8, u8)) {
    let (mut server, mut pair) = start(modes);
    each_fails(modes, &mut server, &mut pair, |_, pair, what| pair.prepare(what));
    // Whoever stops without memory has written everything, too.
    for dialog in &mut pair.kept {
        assert_eq!(pair.bob.resubscribe(dialog, 800).code(), 200);
    }
    fail(&server, "presence", 1, ALL);
    server.stop();
    let rows = server.tables().number(
        "SELECT count(*) FROM active_watchers WHERE remote_cseq = (SELECT max(remote_cseq) FROM active_watchers)",
    );
    assert_eq!(rows, KEPT as i64, "{modes:?}: the last flush");
}

/// With the table alone the server's memory is empty when it starts: whoever is told by the first sweep needs some.
fn first_sweeps(publ: u8) {
    let (mut server, mut pair) = start((publ, 3));
    each_fails((publ, 3), &mut server, &mut pair, |server, pair, what| {
        pair.bob.inbox.clear();
        let brief = pair.bob.subscribe("alice", "presence", 300);
        let reply = pair.alice.publish("presence", None, Some(300), &pidf("alice", "closed", what));
        assert_eq!(reply.code(), 200, "{reply:?}");
        pair.bob.listen(Duration::from_millis(300));
        server.stop();
        server.tables().script(
            "UPDATE active_watchers SET expires = strftime('%s','now') - 3 WHERE expires < strftime('%s','now') + 400; \
             UPDATE presentity SET expires = strftime('%s','now') - 3 WHERE expires < strftime('%s','now') + 400;",
        );
        server.try_start_again().expect("a start");
        brief
    });
}

#[test]
fn the_first_sweep_of_the_table_alone_loses_nothing() {
    std::thread::scope(|scope| {
        for publ in [0, 1] {
            scope.spawn(move || first_sweeps(publ));
        }
    });
}

#[test]
fn a_sweep_without_memory_loses_nothing() {
    std::thread::scope(|scope| {
        for modes in MODES {
            scope.spawn(move || sweeps(modes));
        }
    });
}
