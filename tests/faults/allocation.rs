//! Each allocation of the module in shared memory fails in turn while a publication and a dialog live their lives: each on
//! a server that has just started, because the pool asks only once.
//!
//! Every request is answered 200, or 503 with Retry-After; whoever insists gets everywhere, the last state is told, and
//! nothing is left behind, in memory or in the tables. The stock module has neither `presence.status` nor a 503.

use crate::scarce::{fail, is_up, runs_out, seen, stands_before};
use crate::{MODES, SQLITE, is_put_off};
use testkit::phone::{Dialog, pidf};
use testkit::{Builder, Database, Kamailio, Message, Phone};

/// Servers at the same time: they mostly wait for something to run out.
const LANES: u32 = 3;

fn builder(database: &Database, (publ, subs): (u8, u8)) -> Builder {
    let builder = stands_before(Kamailio::builder())
        .extra("modparam(\"tm\", \"wt_timer\", 200)")
        .packages(&["presence_xml"])
        .debug(-1);
    match database {
        Database::None => builder,
        database => builder.database(database.clone()).param("publ_cache", publ).param("subs_db_mode", subs),
    }
}

/// The life of a publication and of a dialog, as somebody has them who insists.
struct Scenario<'a> {
    server: &'a Kamailio,
    what: String,
    alice: Phone,
    bob: Phone,
    put_off: u32,
}

impl Scenario<'_> {
    fn insist(&mut self, mut ask: impl FnMut(&mut Self) -> Message) -> Message {
        for _ in 0..8 {
            let reply = ask(self);
            if is_put_off(&reply, &self.what) {
                self.put_off += 1;
                continue;
            }
            return reply;
        }
        panic!("{}: put off again and again", self.what);
    }

    fn publish(&mut self, etag: Option<&str>, expires: u32, note: &str) -> String {
        let user = self.alice.user.clone();
        let body = if note.is_empty() { String::new() } else { pidf(&user, "open", note) };
        let reply = self.insist(|s| s.alice.publish("presence", etag, Some(expires), &body));
        reply.header("SIP-ETag").expect("a tag").to_owned()
    }

    fn subscribe(&mut self, watcher: fn(&mut Self) -> &mut Phone, event: &str) -> Dialog {
        let user = self.alice.user.clone();
        let mut dialog = Dialog::new(&user, event);
        let reply = self.insist(|s| {
            dialog = Dialog::new(&user, event);
            watcher(s).resubscribe(&mut dialog, 600)
        });
        dialog.to_tag = reply.to_tag().to_owned();
        dialog
    }

    fn run(&mut self) {
        let user = self.alice.user.clone();
        let mut dialog = self.subscribe(|s| &mut s.bob, "presence");
        let etag = self.publish(None, 600, "one");
        let mut winfo = self.subscribe(|s| &mut s.alice, "presence.winfo");
        self.insist(|s| s.bob.resubscribe(&mut dialog, 900));
        let etag = self.publish(Some(&etag), 600, "two");
        let mut etag = self.publish(Some(&etag), 700, "");
        // Texts of every size, and more records than there is room for at first.
        for size in [1, 40, 90, 200, 400, 800, 1500, 3000, 9000, 30_000] {
            etag = self.publish(Some(&etag), 600, &"x".repeat(size));
        }
        for _ in 0..20 {
            let mut more = self.subscribe(|s| &mut s.bob, "presence");
            self.insist(|s| s.bob.resubscribe(&mut more, 1));
        }
        let etag = self.publish(Some(&etag), 600, "last");
        self.insist(|s| s.bob.resubscribe(&mut Dialog::new(&user, "presence"), 0));
        testkit::wait_for(&format!("{}: the last state", self.what), 8.0, || {
            self.bob.listen(std::time::Duration::from_millis(5));
            let own = self.bob.inbox.iter().filter(|n| n.header("Call-ID") == Some(&dialog.call_id));
            own.max_by_key(|n| n.cseq())?.body.contains("<note>last</note>").then_some(())
        });
        for list in [["presence.watcher_list", "full", "*"], ["presence.presentity_list", "full", "limit=9"]] {
            let _ = self.server.list(&list);
        }
        // One publication and one subscription run out.
        self.insist(|s| s.bob.resubscribe(&mut dialog, 1));
        self.publish(Some(&etag), 1, "");
        self.insist(|s| s.alice.resubscribe(&mut winfo, 0));
    }

    /// Nothing is left, every list is whole, and the tables are empty.
    fn look(&mut self, texts: i64, has_tables: bool) {
        let Self { server, what, alice, bob, .. } = self;
        runs_out(server, texts, what, || {
            for phone in [&mut *alice, &mut *bob] {
                phone.listen(std::time::Duration::from_millis(5));
            }
        });
        for table in ["active_watchers", "presentity"].iter().filter(|_| has_tables) {
            testkit::wait_for(&format!("{what}: no rows left in {table}"), 5.0, || {
                let _ = server.rpc(&["presence.cleanup"]);
                (server.tables().number(&format!("SELECT count(*) FROM {table}")) == 0).then_some(())
            });
        }
    }
}

fn scenario(server: &Kamailio, number: u32, what: String) -> Scenario<'_> {
    let phone = |name: &str| Phone::new(&format!("{name}{number}"), server.port);
    Scenario { server, what, alice: phone("a"), bob: phone("b"), put_off: 0 }
}

/// Every allocation of the module since the start fails once, and so many in all from there on.
fn own(database: &Database, modes: (u8, u8), count: u32) {
    let mode = format!("publ_cache {}, subs_db_mode {}", modes.0, modes.1);
    let lane = |first: u32| {
        let (mut last, mut failed, mut put_off) = (0, 0, 0);
        for number in (first..).step_by(LANES as usize) {
            let mut server = builder(database, modes).start();
            let texts = server.status("text_bytes");
            fail(&server, "presence", number, count);
            let mut run = scenario(&server, number, format!("{mode}: allocation {number} and {} more", count - 1));
            run.run();
            run.look(texts, !matches!(database, Database::None));
            put_off += run.put_off;
            let what = run.what;
            let (seen, hit) = seen(&server);
            is_up(&mut server, &what);
            failed += hit;
            if seen < number {
                break;
            }
            last = number;
        }
        (last, failed, put_off)
    };
    let lanes: Vec<(u32, u32, u32)> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (1..=LANES).map(|number| scope.spawn(move || lane(number))).collect();
        lanes.into_iter().map(|lane| lane.join().expect("a lane that found nothing wrong")).collect()
    });
    let last = lanes.iter().map(|lane| lane.0).max().unwrap_or(0);
    let sum = |of: fn(&(u32, u32, u32)) -> u32| lanes.iter().map(of).sum::<u32>();
    println!("{mode}: {last} allocations, {} failed, {} requests put off", sum(|l| l.1), sum(|l| l.2));
    assert!(last > 5, "hardly anything was allocated");
}

#[test]
fn each_allocation_of_ours_fails_once_and_nothing_is_lost() {
    own(&Database::None, (2, 0), 1);
}

#[test]
fn with_tables_each_allocation_of_ours_fails_once_and_nothing_is_lost() {
    in_each_mode(1);
}

#[test]
#[ignore = "takes a minute: make soak"]
fn three_allocations_of_ours_in_a_row_fail() {
    own(&Database::None, (2, 0), 3);
    own(&SQLITE, (2, 1), 3);
    in_each_mode(3);
}

fn in_each_mode(count: u32) {
    std::thread::scope(|scope| {
        for modes in MODES {
            scope.spawn(move || own(&SQLITE, modes, count));
        }
    });
}
