//! What was agreed outlives the server, and the change between this module and the stock one on the same tables.

use crate::{for_stock, server, wait_for_number};
use testkit::kamailio::Module;
use testkit::phone::{Dialog, pidf};
use testkit::{Database, Kamailio, Phone};

crate::on_each_database! {
    a_restart_changes_nothing,
    the_stock_module_carries_on_and_so_do_we_again,
    we_carry_on_where_the_stock_module_began,
    what_was_acknowledged_outlives_a_kill,
    what_was_flushed_outlives_a_kill_and_no_cseq_is_used_twice,
    no_cseq_is_used_twice_however_soon_it_is_killed_again,
}

/// A watcher and a publisher, and what they know.
pub struct Pair {
    alice: Phone,
    bob: Phone,
    dialog: Dialog,
    etag: String,
    cseq: u32,
    round: u32,
}

impl Pair {
    pub fn meet(server: &Kamailio) -> Self {
        let mut alice = Phone::new("alice", server.port);
        let mut bob = Phone::new("bob", server.port);
        let dialog = bob.subscribe("alice", "presence", 3000);
        let cseq = bob.notify().cseq();
        let reply = alice.publish("presence", None, Some(3000), &pidf("alice", "open", "at first"));
        let etag = reply.header("SIP-ETag").expect("a tag").to_owned();
        let mut pair = Self { alice, bob, dialog, etag, cseq, round: 0 };
        pair.told("at first");
        pair
    }

    /// The watcher is told, in its dialog and with a higher CSeq.
    fn told(&mut self, note: &str) {
        let notify = self.bob.notify();
        assert!(notify.cseq() > self.cseq, "CSeq {} after {}", notify.cseq(), self.cseq);
        assert_eq!(notify.header("Call-ID"), Some(self.dialog.call_id.as_str()));
        assert_eq!(notify.to_tag(), self.dialog.from_tag);
        assert!(notify.body.contains(note), "no \"{note}\" in {}", notify.body);
        assert!(notify.state().starts_with("active"), "{}", notify.state());
        self.cseq = notify.cseq();
    }

    /// Everything goes on: a publication by its tag, the dialog by its tags.
    pub fn go_on(&mut self) {
        self.round += 1;
        self.bob.inbox.clear();
        let note = format!("round {}", self.round);
        let reply = self.alice.publish("presence", Some(&self.etag), Some(3000), &pidf("alice", "open", &note));
        assert_eq!(reply.code(), 200, "PUBLISH in {note}: {reply:?}");
        self.etag = reply.header("SIP-ETag").expect("a tag").to_owned();
        self.told(&note);
        let reply = self.bob.resubscribe(&mut self.dialog, 3000);
        assert_eq!(reply.code(), 200, "refresh in {note}: {reply:?}");
        self.told(&note);
        // The answer to the last NOTIFY has to be in before the server stops.
        self.bob.listen(std::time::Duration::from_millis(50));
    }

    pub fn part(&mut self) {
        let reply = self.bob.resubscribe(&mut self.dialog, 0);
        assert_eq!(reply.code(), 200, "{reply:?}");
        let last = self.bob.notify();
        assert!(last.cseq() > self.cseq && last.state().starts_with("terminated"), "{last:?}");
        let reply = self.alice.publish("presence", Some(&self.etag), Some(0), "");
        assert_eq!(reply.code(), 200, "{reply:?}");
        // The stock module answers before it deletes.
        self.bob.listen(std::time::Duration::from_millis(200));
    }
}

/// Serves with one module after the other, on one file.
fn take_turns(db: &Database, subs: u8, modules: &[Module]) {
    println!("subs_db_mode {subs}: {modules:?}");
    // One worker and no notifier: the stock module loses writes when two processes meet at the file.
    let alone = server(db, 1, subs).children(1).param("notifier_processes", 0);
    let alone = for_stock(db, alone);
    let mut server = alone.module(modules[0].clone()).start();
    let mut pair = Pair::meet(&server);
    pair.go_on();
    for module in &modules[1..] {
        server.restart_with(module.clone());
        pair.go_on();
    }
    pair.part();
    server.stop();
    let left = "SELECT (SELECT count(*) FROM active_watchers) + (SELECT count(*) FROM presentity)";
    assert_eq!(server.tables().number(left), 0, "rows are left");
}

fn a_restart_changes_nothing(db: &Database) {
    for subs in [1, 2, 3] {
        take_turns(db, subs, &[Module::from_env(), Module::from_env(), Module::from_env()]);
    }
}

fn the_stock_module_carries_on_and_so_do_we_again(db: &Database) {
    for subs in [1, 2, 3] {
        take_turns(db, subs, &[Module::from_env(), Module::Stock, Module::from_env()]);
    }
}

fn we_carry_on_where_the_stock_module_began(db: &Database) {
    for subs in [1, 2, 3] {
        take_turns(db, subs, &[Module::Stock, Module::from_env(), Module::Stock]);
    }
}

/// All processes die at once, as when the power goes; then it starts again.
fn die_and_start_again(server: &mut Kamailio) {
    let pids: Vec<String> = server.pids().iter().map(u32::to_string).collect();
    testkit::kamailio::kill_all("KILL", &pids);
    server.restart();
}

fn what_was_acknowledged_outlives_a_kill(db: &Database) {
    for subs in [1, 3] {
        let mut server = server(db, 1, subs).start();
        let mut pair = Pair::meet(&server);
        (0..3).for_each(|_| pair.go_on());
        die_and_start_again(&mut server);
        pair.go_on();
        pair.part();
    }
}

fn what_was_flushed_outlives_a_kill_and_no_cseq_is_used_twice(db: &Database) {
    let mut server = server(db, 1, 2).param("db_update_period", 1).start();
    let mut pair = Pair::meet(&server);
    wait_for_number(&server, "SELECT count(*) FROM active_watchers", 1);
    // These NOTIFYs are not in the row any more, or only in part.
    (0..10).for_each(|_| pair.go_on());
    die_and_start_again(&mut server);
    pair.go_on();
    pair.part();
}

/// Killed again and again before the first flush: `pair` sees to it that every CSeq is above all before, and the table is
/// not written but at the start.
fn no_cseq_is_used_twice_however_soon_it_is_killed_again(db: &Database) {
    let mut server = server(db, 1, 2).param("db_update_period", 1).start();
    let mut pair = Pair::meet(&server);
    wait_for_number(&server, "SELECT count(*) FROM active_watchers", 1);
    server.stop();
    let tables = Database::At(server.tables().clone());
    let mut rarely = crate::server(&tables, 1, 2).param("db_update_period", 3600).port(server.port).start();
    for _ in 0..4 {
        (0..3).for_each(|_| pair.go_on());
        die_and_start_again(&mut rarely);
    }
    pair.go_on();
    assert!(rarely.stop().success());
    rarely.restart();
    pair.go_on();
    pair.part();
}
